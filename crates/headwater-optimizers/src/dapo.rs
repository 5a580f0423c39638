//! DAPO: four changes to GRPO for long reasoning (Yu et al., arXiv 2503.14476).
//!
//! 1. *Clip-Higher*: `1 - 0.2 <= rho <= 1 + 0.28`, so that unlikely tokens may rise.
//! 2. *Dynamic sampling*: groups whose **accuracy** is constant are dropped, and prompts sampled
//!    until the batch is full again. Accuracy, not the shaped reward: a length penalty would give a
//!    group that is all wrong a spread. The loop belongs to the trainer; [`informative`] is its
//!    test.
//! 3. *Token mean* over the whole batch.
//! 4. *Soft overlong penalty*, [`OverlongPenalty`], added to the outcome reward.
//!
//! No KL. Implementations: TRL has no dynamic sampling; it can mask truncated completions instead
//! of penalising them (*overlong filtering*, `mask_truncated`), which verl leaves out on purpose.

use headwater_core::{ConfigError, require};
use serde::{Deserialize, Serialize};

use crate::OptimizerError;
use crate::aggregation::Mode;
use crate::grpo::GroupRelative;
use crate::ppo::Clip;
use crate::statistics::{all_alike, groups};
use crate::{AdvantageEstimator, Objective, ObjectiveConfig, PolicyLoss};

/// The soft penalty on length: 0 up to `limit - buffer` tokens, falling linearly to `-factor` at
/// `limit`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverlongPenalty {
    /// Hard limit on the completion, tokens (DAPO 20480).
    pub limit: usize,
    /// Tokens before the limit over which the penalty grows, in `1..=limit` (DAPO 4096).
    pub buffer: usize,
    /// Penalty at the limit, at least 0 (DAPO 1).
    pub factor: f64,
}

impl OverlongPenalty {
    /// `-factor * clip((length - (limit - buffer)) / buffer, 0, 1)`, in `[-factor, 0]`. verl's
    /// formula has no upper clip; it needs none, since no completion is longer than the limit.
    #[must_use]
    pub fn penalty(&self, length: usize) -> f64 {
        let over = length as f64 - (self.limit as f64 - self.buffer as f64);
        // `0.0 -` and not a minus sign: a penalty of -0 would be odd to print.
        0.0 - self.factor * (over / self.buffer as f64).clamp(0.0, 1.0)
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        const CONFIG: &str = "OverlongPenalty";
        let buffer = self.buffer;
        require((1..=self.limit).contains(&buffer), CONFIG, "buffer", buffer, "in 1..=limit")?;
        let allowed = "a finite number of at least 0";
        let factor = self.factor;
        require(factor.is_finite() && factor >= 0.0, CONFIG, "factor", factor, allowed)
    }
}

/// For each completion of a group-major batch, whether its group's accuracies differ by more than
/// rounding (1e-12 of the largest): `[n]`.
///
/// # Errors
/// [`OptimizerError::Groups`], [`OptimizerError::NotFinite`].
pub fn informative(accuracy: &[f64], group_size: usize) -> Result<Vec<bool>, OptimizerError> {
    let differs = |group: &[f64]| vec![!all_alike(group); group.len()];
    Ok(groups(accuracy, group_size)?.flat_map(differs).collect())
}

impl Objective {
    /// DAPO. `completion_limit` is the most tokens a completion may have (raised to 1); the
    /// penalty's buffer is the published fifth of it (4096 of 20480), at least one token.
    #[must_use]
    pub fn dapo(completion_limit: usize) -> Self {
        let limit = completion_limit.max(1);
        let overlong = OverlongPenalty { limit, buffer: (limit / 5).max(1), factor: 1.0 };
        Self::published(ObjectiveConfig {
            overlong: Some(overlong),
            dynamic_sampling: true,
            ..ObjectiveConfig::new(
                AdvantageEstimator::GroupRelative(GroupRelative::UNBIASED),
                PolicyLoss::Clipped(Clip { low: 0.2, high: 0.28, dual: None }),
                Mode::TokenMean,
            )
        })
    }
}
