//! Reward models: scores of (prompt, response) pairs learnt from labels.
//!
//! - [`BagOfWords`] and [`Logistic`]: hashed word and word-pair counts under an L2-penalised logistic
//!   regression, for label budgets at which nothing larger can be learnt.
//! - [`TextModel`]: the decoder of `headwater-nn` with a scalar head.
//! - [`ScalarJudge`]: the same body, trained step by step on pairs by the Bradley-Terry likelihood.
//! - [`combine`]: ensembles by mean, worst case and uncertainty-weighted mean.
//! - [`judging`]: votes, early stopping, tournaments and ratings over any judge of pairs.
//!
//! Invariants: no file or network access, no clock, no environment; everything random draws from a stream
//! handed in.
//!
//! ```
//! use headwater_core::{Check, Streams};
//! use headwater_reward_models::{BagOfWords, Labelled, Logistic, LogisticConfig};
//!
//! let words = BagOfWords::new(256);
//! let train: Vec<Labelled<_>> = [("a fine answer", 1.0), ("no comment", 0.0)]
//!     .into_iter()
//!     .map(|(text, label)| Labelled { input: words.features("", text), label })
//!     .collect();
//! let config = LogisticConfig::default().check()?;
//! let model = Logistic::fit(&train, 256, &config, &mut Streams::new(1).stream("fit", &[]))?;
//! assert!(model.score(&words.features("", "fine")) > model.score(&words.features("", "comment")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod bag_of_words;
mod ensemble;
mod error;
pub mod judging;
mod logistic;
mod scalar_judge;
mod text_model;

pub use bag_of_words::{BagOfWords, SparseFeatures, words};
pub use ensemble::{Combination, combine};
pub use error::RewardModelError;
pub use logistic::{Logistic, LogisticConfig, LogisticSettings};
pub use scalar_judge::{CandidatePair, ScalarJudge};
pub use text_model::{TextModel, TextModelConfig, TextModelSettings, WordVocabulary};

/// An input with its label.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled<T> {
    /// What the model reads.
    pub input: T,
    /// The label as a probability: 0 or 1, or between them for soft labels.
    pub label: f64,
}
