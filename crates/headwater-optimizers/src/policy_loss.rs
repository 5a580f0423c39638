//! The one place that knows every policy loss.

use burn::tensor::Tensor;
use headwater_core::ConfigError;
use serde::{Deserialize, Serialize};

use crate::cispo::{self, WeightClip};
use crate::gspo::{self, RatioForm};
use crate::ppo::{self, Clip};
use crate::tokens::ratio;
use crate::{TokenBatch, reinforce, rloo};

/// From log-probabilities and advantages to token losses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PolicyLoss {
    /// [`reinforce::token_loss`].
    Reinforce,
    /// [`ppo::token_loss`].
    Clipped(Clip),
    /// [`rloo::sequence_token_loss`]; needs
    /// [`Mode::SequenceMeanTokenMean`](crate::aggregation::Mode).
    SequenceClipped(Clip),
    /// [`gspo::token_loss`]; needs [`Mode::SequenceMeanTokenMean`](crate::aggregation::Mode).
    Gspo {
        /// The clip of the sequence ratio.
        clip: Clip,
        /// Plain or token form.
        form: RatioForm,
    },
    /// [`cispo::token_loss`].
    Cispo(WeightClip),
}

/// Fractions of tokens whose ratio lay outside the clip *and* whose gradient was stopped by it
/// (under CISPO: whose weight was limited).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ClipFractions {
    /// Below the interval, with a negative advantage.
    pub low: f64,
    /// Above it, with a positive advantage.
    pub high: f64,
}

impl PolicyLoss {
    /// The loss of every token, `[n, t]`; see each method's file for `log_ratio_limit`.
    #[must_use]
    pub fn token_loss(&self, tokens: &TokenBatch, log_ratio_limit: Option<f64>) -> Tensor<2> {
        match self {
            Self::Reinforce => reinforce::token_loss(tokens),
            Self::Clipped(clip) => ppo::token_loss(tokens, clip, log_ratio_limit),
            Self::SequenceClipped(clip) => rloo::sequence_token_loss(tokens, clip, log_ratio_limit),
            Self::Gspo { clip, form } => gspo::token_loss(tokens, clip, *form, log_ratio_limit),
            Self::Cispo(clip) => cispo::token_loss(tokens, clip, log_ratio_limit),
        }
    }

    /// How many tokens the clip stopped. Reads back from the device.
    #[must_use]
    pub fn clip_fractions(
        &self,
        tokens: &TokenBatch,
        log_ratio_limit: Option<f64>,
    ) -> ClipFractions {
        let token_ratio = || ratio(tokens.log_ratio(), log_ratio_limit);
        let interval = |clip: &Clip| [1.0 - clip.low, 1.0 + clip.high];
        let (ratio, [low, high]) = match self {
            Self::Reinforce => return ClipFractions::default(),
            Self::Clipped(clip) => (token_ratio(), interval(clip)),
            Self::SequenceClipped(clip) => {
                (rloo::sequence_ratio(tokens, log_ratio_limit), interval(clip))
            }
            Self::Gspo { clip, form } => {
                (gspo::sequence_ratio(tokens, *form, log_ratio_limit), interval(clip))
            }
            Self::Cispo(clip) => (token_ratio(), clip.interval()),
        };
        let (mut below, mut above) = (ratio.clone().lower_scalar(low), ratio.greater_scalar(high));
        if !matches!(self, Self::Cispo(_)) {
            below = below.bool_and(tokens.advantages().lower_scalar(0.0));
            above = above.bool_and(tokens.advantages().greater_scalar(0.0));
        }
        let count = tokens.mask().sum().into_scalar::<f32>().max(1.0);
        let fraction = |stopped: Tensor<2, burn::tensor::Bool>| {
            f64::from((stopped.float() * tokens.mask()).sum().into_scalar::<f32>() / count)
        };
        ClipFractions { low: fraction(below), high: fraction(above) }
    }

    /// Whether the loss is one term per sequence, repeated over its tokens.
    pub(crate) fn is_by_sequence(&self) -> bool {
        matches!(self, Self::SequenceClipped(_) | Self::Gspo { .. })
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        match self {
            Self::Reinforce => Ok(()),
            Self::Clipped(clip) | Self::SequenceClipped(clip) | Self::Gspo { clip, .. } => {
                clip.validate()
            }
            Self::Cispo(clip) => clip.validate(),
        }
    }
}
