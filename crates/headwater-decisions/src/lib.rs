//! Classifiers for decisions under unequal costs: should the costs be in the training loss, or be applied to
//! predictions afterwards?
//!
//! [`compare`] answers for a user's own features and labels: it trains both ways over several splits and says which
//! wins, with intervals, beside what the theory predicts. Under it are the parts: [`Objective`]s on one logit
//! (weighted, logit-adjusted, focal) with their slopes, a small [`Network`] of dense or convolutional layers, and
//! [`train`], which stops early on an arm's own validation objective. Formulas without models are in
//! [`headwater_evaluation::decision`].
//!
//! # Invariants
//! - No tensor library, no file or network access, no clock. What is random takes named streams, so the same
//!   streams give the same network, bit for bit.
//! - An objective is a pure function of one logit and one label, in double precision; the network carries its slope
//!   on in single precision.
//! - Arms that are compared share split, initial weights and the order of batches.
//!
//! ```
//! use headwater_core::{Check, Streams};
//! use headwater_decisions::{ComparisonConfig, Examples, compare};
//! use rand::RngExt;
//!
//! // 1,500 rows of two features; the second tells nothing. A missed positive costs nine false alarms.
//! let mut rng = Streams::new(1).stream("rows", &[]);
//! let features: Vec<f32> = (0..3000).map(|_| rng.random::<f32>() - 0.5).collect();
//! let positive = features.chunks(2).map(|x| rng.random::<f32>() < 0.1 + 0.5 * x[0].max(0.0));
//! let examples = Examples::new(features.clone(), 2, positive.collect())?;
//! let config = ComparisonConfig { positive_weight: 9.0, seeds: 3, ..ComparisonConfig::default() };
//! let report = compare(&examples, &config.check()?, &Streams::new(2))?;
//! assert_eq!(report.seeds.len(), 3);
//! println!("weighted - ex post: {} [{}, {}]", report.loss.estimate, report.loss.low, report.loss.high);
//! # Ok::<(), headwater_decisions::DecisionError>(())
//! ```
#![forbid(unsafe_code)]

mod comparison;
mod error;
mod examples;
mod network;
mod objective;
mod training;

pub use comparison::{Arm, Comparison, ComparisonConfig, ComparisonReport, SeedReport, compare};
pub use error::DecisionError;
pub use examples::{Examples, Split};
pub use network::{Architecture, Network};
pub use objective::Objective;
pub use training::{Optimizer, Trained, Training, TrainingConfig, mean_objective, train};
