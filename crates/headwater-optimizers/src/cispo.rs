//! CISPO: REINFORCE with a clipped, constant importance weight (MiniMax-M1, arXiv 2506.13585).
//!
//! `loss_t = -sg[clip(rho_t)] A log pi`: unlike under PPO's clip, every token keeps a gradient.
//!
//! Implementations disagree on what the setting means. verl clips to `[1 - low, 1 + high]`, by
//! default [0.8, 1.2]. TRL takes `min(rho, epsilon_high)`, an **absolute** cap without lower clip
//! (5 in ScaleRL, arXiv 2510.13786); left unset it falls back to 0.2, which makes every weight
//! about 0.2. TRL's cap of 5 is verl's `low = 1, high = 4`.

use burn::tensor::Tensor;
use headwater_core::{ConfigError, require, require_non_negative};
use serde::{Deserialize, Serialize};

use crate::TokenBatch;
use crate::aggregation::Mode;
use crate::grpo::GroupRelative;
use crate::tokens::ratio;
use crate::{AdvantageEstimator, Objective, ObjectiveConfig, PolicyLoss};

/// The limits of the importance weight.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WeightClip {
    /// `clip(rho, 1 - low, 1 + high)` (verl).
    Relative {
        /// In `[0, 1]`; 1 is no lower limit.
        low: f64,
        /// Finite, at least 0.
        high: f64,
    },
    /// `min(rho, cap)` (TRL).
    Cap {
        /// Finite, at least 1: below 1 it would scale down every on-policy token.
        cap: f64,
    },
}

impl WeightClip {
    /// The interval the weight is held in.
    #[must_use]
    pub fn interval(&self) -> [f64; 2] {
        match *self {
            Self::Relative { low, high } => [1.0 - low, 1.0 + high],
            Self::Cap { cap } => [0.0, cap],
        }
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        match *self {
            Self::Relative { low, high } => {
                require((0.0..=1.0).contains(&low), "WeightClip", "low", low, "in [0, 1]")?;
                require_non_negative("WeightClip", "high", high)
            }
            Self::Cap { cap } => {
                let allowed = "a finite number of at least 1";
                require(cap.is_finite() && cap >= 1.0, "WeightClip", "cap", cap, allowed)
            }
        }
    }
}

/// CISPO's loss per token, `[n, t]`. `log_ratio_limit` bounds `|log rho|`.
#[must_use]
pub fn token_loss(
    tokens: &TokenBatch,
    clip: &WeightClip,
    log_ratio_limit: Option<f64>,
) -> Tensor<2> {
    let [low, high] = clip.interval();
    let weight = ratio(tokens.log_ratio(), log_ratio_limit).clamp(low, high).detach();
    (weight * tokens.advantages() * tokens.logp()).neg()
}

impl Objective {
    /// CISPO with ScaleRL's cap of 5 and no lower limit, GRPO's advantages, token mean, no KL.
    #[must_use]
    pub fn cispo() -> Self {
        Self::published(ObjectiveConfig::new(
            AdvantageEstimator::GroupRelative(GroupRelative::UNBIASED),
            PolicyLoss::Cispo(WeightClip::Cap { cap: 5.0 }),
            Mode::TokenMean,
        ))
    }
}
