//! REINFORCE++ (Hu, arXiv 2501.03262): PPO without a critic, advantages whitened over the whole
//! batch.
//!
//! `A_it = sum_{s >= t} r_is` with `r_is = -beta k1_is`, plus `R_i` at the last token; then
//! whitened over all tokens of the batch; then PPO's clip with the token mean. The `-baseline`
//! variant subtracts the group's mean from `R_i` first.
//!
//! Implementations: verl whitens with the unbiased variance, OpenRLHF with the population's, both
//! token by token, so long answers dominate the statistics ([`Whitening`]). TRL only approximates
//! the method, as RLOO with batch normalisation. With a KL penalty in the reward, verl's baseline
//! variant centres `R_i - beta sum_t k1_it`; here, as in OpenRLHF, the penalty stays per token.
//! Without one they agree. A group of one keeps its raw reward in verl; here it is an error.

use crate::aggregation::Mode;
use crate::kl::KlConfig;
use crate::ppo::Clip;
use crate::statistics::{Whitening, centred, groups, require_finite, return_to_go};
use crate::{AdvantageEstimator, Objective, ObjectiveConfig, PolicyLoss};
use crate::{OptimizerError, TokenRows};

/// Outcome rewards `[n]` less the mean of their group: the `-baseline` variant's first step.
///
/// # Errors
/// [`OptimizerError::SmallGroup`] for groups of one, of whose rewards nothing would be left but
/// what whitening makes of a KL penalty; [`OptimizerError::Groups`]; [`OptimizerError::NotFinite`].
pub fn centre_on_group(rewards: &[f64], group_size: usize) -> Result<Vec<f64>, OptimizerError> {
    if group_size == 1 {
        let method = "reinforce++ with a group baseline";
        return Err(OptimizerError::SmallGroup { method, group_size, needed: 2 });
    }
    let rewards: Vec<f64> = groups(rewards, group_size)?.flat_map(centred).collect();
    require_finite("centred rewards", &rewards)?;
    Ok(rewards)
}

/// Whitened returns-to-go of rows of per-token rewards.
///
/// # Errors
/// [`OptimizerError::TooFew`] when there are too few tokens for a variance;
/// [`OptimizerError::NotFinite`].
pub fn advantages(
    token_rewards: &[Vec<f64>],
    whitening: Whitening,
) -> Result<TokenRows, OptimizerError> {
    whitening.apply(token_rewards.iter().map(|row| return_to_go(row)).collect())
}

impl Objective {
    /// REINFORCE++: clip 0.2, k1 with weight 1e-3 in the reward (verl's coefficient), verl's
    /// whitening.
    #[must_use]
    pub fn reinforce_plus_plus() -> Self {
        Self::published(ObjectiveConfig {
            kl: Some(KlConfig::in_reward(1e-3)),
            ..ObjectiveConfig::new(
                AdvantageEstimator::ReinforcePlusPlus {
                    group_baseline: false,
                    whitening: Whitening::UnbiasedAdded,
                },
                PolicyLoss::Clipped(Clip::symmetric(0.2)),
                Mode::TokenMean,
            )
        })
    }

    /// REINFORCE++ with the group mean as baseline.
    #[must_use]
    pub fn reinforce_plus_plus_baseline() -> Self {
        Self::published(ObjectiveConfig {
            advantage: AdvantageEstimator::ReinforcePlusPlus {
                group_baseline: true,
                whitening: Whitening::UnbiasedAdded,
            },
            ..Self::reinforce_plus_plus().config()
        })
    }
}
