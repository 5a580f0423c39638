//! Everything that can go wrong between a batch of rewards and a loss.

use headwater_core::{ConfigError, Score};
use headwater_nn::NnError;

/// Why an advantage, a weight or a loss could not be computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OptimizerError {
    /// A config field out of its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// NaN or infinity where a number is needed.
    #[error("{what}[{index}] = {value}: allowed is a finite number")]
    NotFinite {
        /// The input, e.g. `rewards` or `values[3]`.
        what: String,
        /// Index in it.
        index: usize,
        /// The offending value.
        value: f64,
    },
    /// A finite number that is infinite in the single precision of tensors.
    #[error("{what}[{index}] = {value:e}: allowed is a number of at most 3.4e38")]
    TooLarge {
        /// The input.
        what: String,
        /// Index in it.
        index: usize,
        /// The offending value.
        value: f64,
    },
    /// A number outside the set a method is defined on.
    #[error("{what}[{index}] = {value}: allowed is 0 or 1")]
    NotBinary {
        /// The input.
        what: &'static str,
        /// Index in it.
        index: usize,
        /// The offending value.
        value: f64,
    },
    /// Two inputs that must have one entry each per sequence, or per token, do not.
    #[error("{what} has {found} entries: expected {expected}")]
    Length {
        /// The input, e.g. `lengths` or `values[3]`.
        what: String,
        /// Entries it has.
        found: usize,
        /// Entries it must have.
        expected: usize,
    },
    /// The batch is not a whole number of groups.
    #[error("{rewards} rewards are not a whole number of groups of {group_size} (at least 1)")]
    Groups {
        /// Rewards in the batch.
        rewards: usize,
        /// Completions per prompt asked for.
        group_size: usize,
    },
    /// A group too small for the statistic the method needs.
    #[error("{method} needs groups of at least {needed} completions: got {group_size}")]
    SmallGroup {
        /// The estimator.
        method: &'static str,
        /// Completions per prompt.
        group_size: usize,
        /// The least it is defined for.
        needed: usize,
    },
    /// Too few numbers for a variance.
    #[error("{what} needs at least {needed} values: got {found}")]
    TooFew {
        /// The statistic.
        what: &'static str,
        /// Values there are.
        found: usize,
        /// Values it needs.
        needed: usize,
    },
    /// The config needs an input that was not given.
    #[error("{needed_by} needs `{input}`, which is None")]
    Missing {
        /// The missing input.
        input: &'static str,
        /// The option that needs it.
        needed_by: &'static str,
    },
    /// A completion without a reward: its grader failed or abstained, and nobody said what that is
    /// worth.
    #[error("completion {index} has no reward: {score:?}")]
    Unscored {
        /// Index in group-major order.
        index: usize,
        /// What the grader said.
        score: Score,
    },
    /// The policy, its sampler or its optimiser.
    #[error(transparent)]
    Model(#[from] NnError),
    /// A tensor of the wrong shape.
    #[error("tensor {what} has shape {found:?}: expected {expected:?}")]
    Shape {
        /// Which tensor.
        what: &'static str,
        /// Its shape: sequences, tokens and, for whole distributions, the vocabulary.
        found: Vec<usize>,
        /// The shape that goes with the current log-probabilities.
        expected: Vec<usize>,
    },
}
