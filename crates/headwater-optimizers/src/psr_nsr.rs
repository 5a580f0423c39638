//! PSR, NSR and W-REINFORCE: learning from the right answers, from the wrong ones, or from both at
//! unequal weight (Zhu et al., "The Surprising Effectiveness of Negative Reinforcement in LLM
//! Reasoning", arXiv 2506.01347).
//!
//! With `r = +1` for a right and `-1` for a wrong answer, `L_PSR = -E sum_{r = 1} pi(y|x)` and
//! `L_NSR = +E sum_{r = -1} pi(y|x)`; W-REINFORCE is `lambda L_PSR + L_NSR` with `lambda = 0.1`;
//! `lambda = 1` is REINFORCE without baseline.
//!
//! As trained (the paper's appendix C.1 and code): `A = +1` on right rows (`lambda` in
//! W-REINFORCE), `A = -1` on wrong ones, the other rows **dropped** before the update; PPO's clip
//! of 0.2, no KL, no baseline, no normalisation (a constant advantage would become 0), a small
//! entropy bonus. Two things to know:
//!
//! - The code's gradient is that of the ratio, `A (1[v = y] - pi_v)` per logit on-policy. The
//!   paper's formulas differentiate `pi` itself, which damps rarely sampled tokens by a further
//!   `pi_y`; the code does not.
//! - Dropping rows changes the number of updates and, in the authors' trainer, the size of the last
//!   one (scaled by its rows over the nominal minibatch). The token mean there is per micro-batch
//!   ([`Mode::TokenMeanPerMicroBatch`]); here it is over the minibatch.
//!
//! The entropy weight is the paper's 1e-4; the published scripts run at the code's default of 1e-3.

use headwater_core::{ConfigError, require, require_non_negative};
use serde::{Deserialize, Serialize};

use crate::OptimizerError;
use crate::aggregation::Mode;
use crate::entropy::EntropyConfig;
use crate::ppo::Clip;
use crate::{AdvantageEstimator, Objective, ObjectiveConfig, PolicyLoss};

/// Weights of right and wrong answers. Rows of weight 0 are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// Advantage of a right answer, at least 0.
    pub positive: f64,
    /// Minus the advantage of a wrong answer, at least 0.
    pub negative: f64,
}

impl Signed {
    /// Advantages `[n]` and the rows kept `[n]`, from correctness in {0, 1}.
    ///
    /// # Errors
    /// [`OptimizerError::NotBinary`] for any other value: what counts as right is not guessed.
    pub fn advantages(&self, correct: &[f64]) -> Result<(Vec<f64>, Vec<bool>), OptimizerError> {
        let mut advantages = Vec::with_capacity(correct.len());
        for (index, &value) in correct.iter().enumerate() {
            advantages.push(match value {
                1.0 => self.positive,
                // Not a minus sign, which would make -0 of a weight of 0.
                0.0 => 0.0 - self.negative,
                _ => return Err(OptimizerError::NotBinary { what: "accuracy", index, value }),
            });
        }
        let keep = advantages.iter().map(|a| *a != 0.0).collect();
        Ok((advantages, keep))
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        for (field, weight) in [("positive", self.positive), ("negative", self.negative)] {
            require_non_negative("Signed", field, weight)?;
        }
        let any = self.positive > 0.0 || self.negative > 0.0;
        require(any, "Signed", "positive", self.positive, "above 0, or negative above 0")
    }
}

impl Objective {
    /// Positive sample reinforcement: right answers only.
    #[must_use]
    pub fn psr() -> Self {
        Self::published(signed(Signed { positive: 1.0, negative: 0.0 }))
    }

    /// Negative sample reinforcement: wrong answers only.
    #[must_use]
    pub fn nsr() -> Self {
        Self::published(signed(Signed { positive: 0.0, negative: 1.0 }))
    }

    /// W-REINFORCE: right answers at weight `lambda` (0.1 in the paper), wrong ones at 1.
    ///
    /// # Errors
    /// When `lambda` is below 0 or not finite.
    pub fn weighted_reinforce(lambda: f64) -> Result<Self, ConfigError> {
        signed(Signed { positive: lambda, negative: 1.0 }).try_into()
    }
}

fn signed(weights: Signed) -> ObjectiveConfig {
    ObjectiveConfig {
        entropy: Some(EntropyConfig::constant(1e-4)),
        ..ObjectiveConfig::new(
            AdvantageEstimator::Signed(weights),
            PolicyLoss::Clipped(Clip::symmetric(0.2)),
            Mode::TokenMean,
        )
    }
}
