//! Reward models: scores of (prompt, response) texts learnt from preferences or labels, and what is known to
//! keep biases out of them.
//!
//! - [`RewardModel`]: Bradley-Terry over an [`Encoder`] ([`HashedWords`], or a decoder, fresh or pretrained:
//!   [`DecoderEncoder`]), with ties and margins. Remedies are settings of one [`RewardModelConfig`]: causal
//!   rewards ([`InvariancePenaltyConfig`]), ODIN's two heads, InfoRM's bottleneck, a paraphrase penalty. Each objective is a
//!   pure function of scores in a file of its own, with its equation and its gradient.
//! - [`augmented`]: pairs that teach which prompt a response answers. [`FactorPenalty`]: corrections after training.
//! - [`combine`]: ensembles by mean, worst case and uncertainty-weighted mean.
//! - [`Logistic`] on [`BagOfWords`]: for label budgets at which nothing larger can be learnt.
//! - [`judging`]: votes, early stopping, tournaments and ratings over any judge of pairs; [`ScalarJudge`], one that is
//!   trained step by step.
//!
//! Invariants: no file or network access, no clock, no environment; everything random draws from a stream
//! handed in. A model sees texts only, never the factor whose influence is penalised.
//!
//! ```
//! use headwater_core::{Check, Streams};
//! use headwater_nn::Device;
//! use headwater_reward_models::{
//!     BagOfWordsConfig, HashedWords, Preference, Response, RewardModel, RewardModelConfig,
//! };
//!
//! let pair = |good: &str, bad: &str| {
//!     Preference::new("How do I boil an egg?", Response::new(good), Response::new(bad))
//! };
//! let pairs = [pair("In water, for ten minutes.", "No idea."), pair("In hot water.", "No idea at all.")];
//! let words = HashedWords::new(BagOfWordsConfig { buckets: 256, ..Default::default() }.check()?);
//! let settings = RewardModelConfig { epochs: 50, ..Default::default() }.check()?;
//! let (model, _) =
//!     RewardModel::fit(words, &pairs, &[], &[], &settings, &Streams::new(1), &Device::flex())?;
//! let scores = model.scores(&[("Eggs?", "Hot water."), ("Eggs?", "No idea.")])?;
//! assert!(scores[0] > scores[1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod audit;
mod bag_of_words;
mod bottleneck;
mod bradley_terry;
mod correction;
mod encoder;
mod ensemble;
mod error;
mod gaussian_sums;
mod head;
mod invariance;
pub mod judging;
mod logistic;
mod model;
mod objective;
mod odin;
mod preference;
mod rounding;
mod rows;
mod scalar_judge;
mod vocabulary;

pub use audit::scored_pairs;
pub use bag_of_words::{BagOfWords, BagOfWordsConfig, Scaling, SparseFeatures, words};
pub use bottleneck::{BottleneckConfig, divergence_from_standard_normal};
pub use bradley_terry::{bradley_terry, bradley_terry_loss};
pub use correction::FactorPenalty;
pub use encoder::{DecoderEncoder, Encoder, HashedWords, Tokens};
pub use ensemble::{Combination, combine};
pub use error::RewardModelError;
pub use head::HeadConfig;
pub use invariance::{Grouping, InvariancePenaltyConfig, LEAST_IN_BIN, invariance_penalty};
pub use logistic::{Logistic, LogisticConfig, LogisticSettings};
pub use model::{Epoch, Paraphrase, RewardModel, RewardModelConfig, RewardModelSettings};
pub use odin::{OdinConfig, correlation_penalty, orthogonality_penalty};
pub use preference::{Augmentation, Preference, Response, augmented};
pub use rows::{ResponseRow, Rows, read_preferences, read_responses};
pub use scalar_judge::{CandidatePair, ScalarJudge};
pub use vocabulary::WordVocabulary;

/// An input with its label.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled<T> {
    /// What the model reads.
    pub input: T,
    /// The label as a probability: 0 or 1, or between them for soft labels.
    pub label: f64,
}
