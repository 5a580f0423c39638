//! Metrics, intervals and tests for models trained on rewards: calibration, pass@k, diversity,
//! best-of-n, decisions under unequal costs, over-optimisation fits, exploitation of rubrics, content-blind baselines, probes of reward models and judges for
//! bias, and the statistics to compare two arms and to plan how many seeds that takes.
//!
//! # Invariants
//! - Every function is pure: slices in, numbers out; no file or network access, no clock, no global
//!   state. What is random takes a [`headwater_core::StreamRng`], so the same stream gives the same
//!   interval.
//! - A length mismatch, an empty input, NaN or infinity is an [`EvaluationError`] that names the
//!   argument, the index and the value. No metric silently returns 0 or skips an entry.
//! - Metrics know nothing of models, tokenisers or tasks: answers and tokens are any `Eq + Hash`
//!   type.
//!
//! Entropies and divergences are in nats. `docs/metrics.md` lists every metric with its formula,
//! range, source, and when it misleads.
//!
//! ```
//! use headwater_core::Streams;
//! use headwater_evaluation::{calibration, intervals, pass_at_k, significance};
//!
//! // A model that says 0.9 and is right half the time is overconfident by 0.4.
//! let confidence = [0.9, 0.9, 0.9, 0.9];
//! let correct = [true, false, true, false];
//! let ece = calibration::ece_equal_width(&confidence, &correct, 10)?;
//! assert!((ece - 0.4).abs() < 1e-12);
//!
//! // 2 of 8 samples are right: a draw of 4 holds a right one with probability 1 - C(6,4)/C(8,4).
//! assert!((pass_at_k::pass_at_k(8, 2, 4)? - (1.0 - 15.0 / 70.0)).abs() < 1e-12);
//!
//! // Two arms compared by seed: difference, studentised bootstrap interval, p-value.
//! let treated = [0.61, 0.58, 0.66, 0.63, 0.60, 0.64];
//! let control = [0.55, 0.54, 0.57, 0.58, 0.56, 0.55];
//! let differences = intervals::paired_differences(&treated, &control)?;
//! let bootstrap = intervals::Bootstrap::default();
//! let interval = bootstrap.mean(&differences, &mut Streams::new(1).stream("bootstrap", &[]))?;
//! assert!(interval.low > 0.0 && interval.n == 6);
//! assert!(significance::t_test(&differences, 0.0)? < 0.01);
//! # Ok::<(), headwater_evaluation::EvaluationError>(())
//! ```
#![forbid(unsafe_code)]

pub mod baselines;
pub mod best_of_n;
pub mod bias;
pub mod calibration;
pub mod decision;
pub mod decision_classes;
pub mod diversity;
mod error;
pub mod exploitation;
pub mod intervals;
pub mod multiplicity;
pub mod over_optimization;
pub mod pass_at_k;
pub mod power;
mod ranks;
pub mod recalibration;
pub mod significance;

pub use error::EvaluationError;
pub use intervals::Interval;
