//! GRPO: advantages relative to the completions of the same prompt (Shao et al., arXiv 2402.03300).
//!
//! `A_i = (R_i - mean_g) / (deviation_g + eps)`, PPO's clip per token, mean over sequences of the
//! mean over tokens, k3 to the reference in the loss.
//!
//! | | deviation | eps | aggregation | KL weight |
//! |---|---|---|---|---|
//! | [`Objective::grpo`] | unbiased, `G - 1` | 1e-4 | sequence mean of token means (paper) | 0.04 (paper) |
//! | TRL | unbiased | 1e-4 | token mean by default (`dapo`) | 0 by default |
//! | verl | unbiased | 1e-6 | token mean in its GRPO examples | off; 1e-3 when on |
//! | OpenRLHF | unbiased | 1e-9 | token mean | |
//! | understand-r1-zero | unbiased | 1e-8 | | |
//! | nano-aha-moment, GRPO-Zero | population, `G` | 1e-4 | token mean | 1e-3, none |
//!
//! A KL penalty may stand in the reward instead ([`KlOrder`]). Before the group's statistics are
//! taken it is normalised with the rewards: in a group of equal rewards it is all there is, and is
//! scaled up to unit deviation however small its weight (TRL's `reward - beta KL` in RLOO, taken
//! over to groups). After them it is subtracted from the normalised advantage, at its own weight
//! (OpenRLHF).
//!
//! Dividing by the group's deviation gives easy and hard prompts (all but one alike) the largest
//! advantages; [`Spread::None`] is Dr. GRPO, [`Spread::Batch`] Lite-PPO (arXiv 2508.08221).

use headwater_core::{ConfigError, require_non_negative};
use serde::{Deserialize, Serialize};

use crate::OptimizerError;
use crate::aggregation::Mode;
use crate::kl::{KlConfig, KlEstimator, KlOrder};
use crate::ppo::Clip;
use crate::statistics::{all_alike, centred, deviation, groups, require_finite};
use crate::{AdvantageEstimator, Objective, ObjectiveConfig, PolicyLoss};

/// What centred rewards are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// The group's unbiased deviation.
    Unbiased,
    /// The group's population deviation.
    Population,
    /// The unbiased deviation of all rewards of the batch (Lite-PPO; TRL's
    /// `scale_rewards="batch"`).
    Batch,
    /// Nothing (Dr. GRPO).
    None,
}

/// What a group of one is worth: it has no one to be relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Singleton {
    /// An error.
    #[default]
    Reject,
    /// Mean 0 and deviation 1, so the advantage is the reward over `1 + eps` (verl).
    KeepReward,
}

/// The group-relative estimator.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRelative {
    /// The divisor.
    pub spread: Spread,
    /// Added to the divisor, at least 0; unused by [`Spread::None`].
    pub epsilon: f64,
    /// What to do with groups of one.
    #[serde(default)]
    pub singleton: Singleton,
    /// When a KL penalty in the reward meets the group's statistics.
    #[serde(default)]
    pub kl: KlOrder,
}

impl GroupRelative {
    /// Centred only: Dr. GRPO's estimator.
    pub const CENTRED: Self = Self { spread: Spread::None, epsilon: 0.0, ..Self::UNBIASED };
    /// Unbiased deviation and TRL's epsilon.
    pub const UNBIASED: Self = Self {
        spread: Spread::Unbiased,
        epsilon: 1e-4,
        singleton: Singleton::Reject,
        kl: KlOrder::BeforeBaseline,
    };

    /// Advantages `[n]` of group-major rewards `[n]`. They sum to 0 in each group of two or more,
    /// and are exactly 0 in a group whose rewards are all alike, up to rounding (1e-12 of the
    /// largest).
    ///
    /// # Errors
    /// [`OptimizerError::SmallGroup`] for groups of one unless [`Singleton::KeepReward`];
    /// [`OptimizerError::Groups`]; [`OptimizerError::NotFinite`] for rewards, or advantages of
    /// them.
    pub fn advantages(
        &self,
        rewards: &[f64],
        group_size: usize,
    ) -> Result<Vec<f64>, OptimizerError> {
        let groups = groups(rewards, group_size)?;
        if group_size == 1 && self.singleton == Singleton::Reject {
            return Err(OptimizerError::SmallGroup { method: "grpo", group_size, needed: 2 });
        }
        // One group of one is the only batch without a deviation; verl's rule covers it too.
        let batch = if rewards.len() > 1 { deviation(rewards, 1) } else { 1.0 };
        let relative = |group: &[f64]| {
            let alone = group.len() == 1;
            let divisor = match self.spread {
                Spread::None => 1.0,
                Spread::Batch => batch + self.epsilon,
                Spread::Unbiased | Spread::Population if alone => 1.0 + self.epsilon,
                Spread::Unbiased => deviation(group, 1) + self.epsilon,
                Spread::Population => deviation(group, 0) + self.epsilon,
            };
            let centred = if alone { group.to_vec() } else { centred(group) };
            let scaled = |reward: f64| match reward {
                // With epsilon 0 a group without spread would be 0 / 0.
                0.0 => 0.0,
                centred => centred / divisor,
            };
            centred.into_iter().map(scaled).collect::<Vec<_>>()
        };
        let advantages: Vec<f64> = groups.flat_map(relative).collect();
        require_finite("advantages", &advantages)?;
        Ok(advantages)
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        require_non_negative("GroupRelative", "epsilon", self.epsilon)
    }
}

/// Fraction of completions whose group's rewards are all alike, up to rounding (1e-12 of the
/// largest): they carry no group-relative signal.
///
/// # Errors
/// [`OptimizerError::Groups`], [`OptimizerError::NotFinite`].
pub fn fraction_without_signal(rewards: &[f64], group_size: usize) -> Result<f64, OptimizerError> {
    let constant = groups(rewards, group_size)?.filter(|group| all_alike(group));
    let silent = constant.count() * group_size;
    Ok(if rewards.is_empty() { 0.0 } else { silent as f64 / rewards.len() as f64 })
}

impl Objective {
    /// GRPO as published: clip 0.2, sequence mean of token means, k3 with weight 0.04 in the loss.
    #[must_use]
    pub fn grpo() -> Self {
        Self::published(ObjectiveConfig {
            kl: Some(KlConfig::in_loss(0.04, KlEstimator::K3)),
            ..ObjectiveConfig::new(
                AdvantageEstimator::GroupRelative(GroupRelative::UNBIASED),
                PolicyLoss::Clipped(Clip::symmetric(0.2)),
                Mode::SequenceMeanTokenMean,
            )
        })
    }
}
