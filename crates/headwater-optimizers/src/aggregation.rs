//! From a matrix of token losses to one number: constant weights, fixed by the whole minibatch.
//!
//! The loss is `sum_it weight[i][t] * token_loss[i][t]`. The weights are a function of the lengths
//! of *all* sequences of the minibatch and of nothing else, so the gradient is the same however the
//! minibatch is cut into micro-batches. A mean taken inside each micro-batch, as several trainers
//! do, is not; it is here too, under a name that says so.
//!
//! | mode | weight of a token of sequence `i` | used by |
//! |---|---|---|
//! | [`Mode::TokenMean`] | `1 / sum_j T_j` | verl, OpenRLHF, TRL `dapo` |
//! | [`Mode::SequenceMeanTokenMean`] | `1 / (N T_i)` | GRPO (arXiv 2402.03300), TRL `grpo`, GSPO |
//! | [`Mode::SequenceMeanTokenSum`] | `1 / N` | the plain policy gradient |
//! | [`Mode::SequenceMeanTokenSumNormalised`] | `1 / (N L)` | Dr. GRPO (arXiv 2503.20783) |
//! | [`Mode::TokenSum`] | `1` | |
//! | [`Mode::TokenMeanPerMicroBatch`] | `1 / (M sum_{j in micro-batch of i} T_j)` | TRL `bnpo`, the PSR/NSR code |
//!
//! Dividing by `T_i` shrinks the penalty per token of long wrong answers, which lets them grow; a
//! constant `L` does not (arXiv 2503.20783).

use headwater_core::{ConfigError, require, require_positive};
use serde::{Deserialize, Serialize};

use crate::TokenRows;

/// How token losses are reduced to the loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mode {
    /// Mean over all tokens of the minibatch.
    TokenMean,
    /// Mean over sequences of the mean over each sequence's tokens.
    SequenceMeanTokenMean,
    /// Mean over sequences of the sum over each sequence's tokens.
    SequenceMeanTokenSum,
    /// Mean over sequences of the sum over tokens divided by a constant.
    SequenceMeanTokenSumNormalised {
        /// The constant `L`, above 0: the completion limit in Dr. GRPO's code and TRL. verl falls
        /// back to the padded width of the batch at hand, which is not a constant.
        length: f64,
    },
    /// Sum over all tokens.
    TokenSum,
    /// Mean over the tokens of each run of `rows` consecutive sequences, averaged over the runs.
    /// **Depends on `rows`**: a token in a micro-batch of short answers weighs more.
    TokenMeanPerMicroBatch {
        /// Sequences per micro-batch, at least 1. The last one may be smaller and weighs the same.
        rows: usize,
    },
}

/// Whether a sequence without a single unmasked token counts as one of the `N` sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmptySequences {
    /// It does not (verl, OpenRLHF).
    #[default]
    Excluded,
    /// It does, with a loss of 0: TRL's GRPO. TRL's RLOO has the loss of a masked row at minus its
    /// advantage, as the ratio of no tokens is 1: a constant, with the same gradients.
    Counted,
}

/// A mode, and what it makes of fully masked sequences.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aggregation {
    /// How token losses are reduced.
    pub mode: Mode,
    /// Whether fully masked sequences (and, per micro-batch, micro-batches without tokens) count.
    #[serde(default)]
    pub empty_sequences: EmptySequences,
}

impl From<Mode> for Aggregation {
    fn from(mode: Mode) -> Self {
        Self { mode, empty_sequences: EmptySequences::default() }
    }
}

impl Aggregation {
    /// The weight of every token, from the unmasked lengths of **every** sequence of the minibatch.
    /// Row `i` has `lengths[i]` equal entries. Without any tokens all rows are empty: no signal, no
    /// division by 0.
    ///
    /// # Errors
    /// A mode whose number is out of its range.
    pub fn weights(&self, lengths: &[usize]) -> Result<TokenRows, ConfigError> {
        self.validate()?;
        Ok(self.checked_weights(lengths))
    }

    /// [`Aggregation::weights`] of an aggregation that has been checked.
    pub(crate) fn checked_weights(&self, lengths: &[usize]) -> TokenRows {
        let sequences = self.count(lengths.iter().map(|&length| length > 0));
        let tokens = lengths.iter().sum::<usize>() as f64;
        let per_token = |i: usize| match self.mode {
            Mode::TokenMean => 1.0 / tokens,
            Mode::SequenceMeanTokenMean => 1.0 / (sequences * lengths[i] as f64),
            Mode::SequenceMeanTokenSum => 1.0 / sequences,
            Mode::SequenceMeanTokenSumNormalised { length } => 1.0 / (sequences * length),
            Mode::TokenSum => 1.0,
            Mode::TokenMeanPerMicroBatch { rows } => {
                let filled = |micro_batch: &[usize]| micro_batch.iter().any(|&length| length > 0);
                let start = i / rows * rows;
                let micro_batch = &lengths[start..lengths.len().min(start + rows)];
                let micro_batches = self.count(lengths.chunks(rows).map(filled));
                1.0 / (micro_batches * micro_batch.iter().sum::<usize>() as f64)
            }
        };
        lengths
            .iter()
            .enumerate()
            // An empty row asks for no weight, so its division by 0 tokens never happens.
            .map(|(i, &length)| if length == 0 { vec![] } else { vec![per_token(i); length] })
            .collect()
    }

    fn count(&self, filled: impl Iterator<Item = bool>) -> f64 {
        match self.empty_sequences {
            EmptySequences::Excluded => filled.filter(|&filled| filled).count() as f64,
            EmptySequences::Counted => filled.count() as f64,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        match self.mode {
            Mode::SequenceMeanTokenSumNormalised { length } => {
                require_positive("Aggregation", "length", length)
            }
            Mode::TokenMeanPerMicroBatch { rows } => {
                require(rows > 0, "Aggregation", "rows", rows, "at least 1")
            }
            _ => Ok(()),
        }
    }
}
