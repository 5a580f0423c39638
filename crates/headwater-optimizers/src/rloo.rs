//! RLOO: REINFORCE with the mean of the other completions of the prompt as baseline
//! (Kool et al. 2019; Ahmadian et al., arXiv 2402.14740).
//!
//! `A_i = R_i - mean_{j != i} R_j = G / (G - 1) (R_i - mean_j R_j)`: `G / (G - 1)` times Dr. GRPO's
//! advantage.
//!
//! Policy loss: the variant here is TRL's, PPO's clip on the ratio of whole sequences,
//! `rho_i = exp(sum_t log-ratio_it)`, one term per sequence. verl broadcasts `A_i` to tokens and
//! clips token ratios: that is [`PolicyLoss::Clipped`]. With one update per batch both have
//! REINFORCE's gradient.
//!
//! KL: TRL subtracts `beta sum_t k1` from `R` before the baseline; OpenRLHF takes the baseline of
//! `R` alone and folds `-beta k1` into returns-to-go per token ([`KlOrder`]).

use burn::tensor::Tensor;

use crate::aggregation::Mode;
use crate::kl::{KlConfig, KlOrder};
use crate::ppo::{Clip, clipped_surrogate};
use crate::statistics::{centred, deviation, groups, mean, require_finite};
use crate::{AdvantageEstimator, Objective, ObjectiveConfig, PolicyLoss};
use crate::{OptimizerError, TokenBatch};

/// Leave-one-out advantages `[n]` of group-major rewards `[n]`. They sum to 0 in each group, and
/// are exactly 0 in a group whose rewards are all alike, up to rounding.
///
/// # Errors
/// [`OptimizerError::SmallGroup`] for groups of one; [`OptimizerError::Groups`] when `n` is not a
/// multiple of the group size; [`OptimizerError::NotFinite`] for rewards, or advantages of them.
pub fn advantages(rewards: &[f64], group_size: usize) -> Result<Vec<f64>, OptimizerError> {
    if group_size == 1 {
        return Err(OptimizerError::SmallGroup { method: "rloo", group_size, needed: 2 });
    }
    let groups = groups(rewards, group_size)?;
    let scale = group_size as f64 / (group_size as f64 - 1.0);
    let advantages: Vec<f64> = groups.flat_map(centred).map(|centred| scale * centred).collect();
    require_finite("advantages", &advantages)?;
    Ok(advantages)
}

/// `(A - mean) / (deviation + 1e-4)` over the sequences of the batch, unbiased deviation (TRL's
/// `normalize_advantages`).
///
/// # Errors
/// [`OptimizerError::TooFew`] for fewer than 2 sequences; [`OptimizerError::NotFinite`].
pub fn normalise(advantages: &[f64]) -> Result<Vec<f64>, OptimizerError> {
    if advantages.len() < 2 {
        let found = advantages.len();
        return Err(OptimizerError::TooFew { what: "normalised advantages", found, needed: 2 });
    }
    require_finite("advantages", advantages)?;
    let mean = mean(advantages);
    let divisor = deviation(advantages, 1) + 1e-4;
    let normalised: Vec<f64> = advantages.iter().map(|a| (a - mean) / divisor).collect();
    require_finite("normalised advantages", &normalised)?;
    Ok(normalised)
}

/// PPO's clip on the likelihood ratio of whole sequences. Every token of a sequence carries the
/// sequence's term, so under [`Mode::SequenceMeanTokenMean`] the loss is the mean over sequences.
/// The advantage must be constant within each sequence. `[n, t]`.
#[must_use]
pub fn sequence_token_loss(
    tokens: &TokenBatch,
    clip: &Clip,
    log_ratio_limit: Option<f64>,
) -> Tensor<2> {
    clipped_surrogate(sequence_ratio(tokens, log_ratio_limit), tokens.advantages(), clip)
}

/// `exp(sum_t log-ratio)`, repeated over the tokens of each sequence, `[n, t]`.
pub(crate) fn sequence_ratio(tokens: &TokenBatch, log_ratio_limit: Option<f64>) -> Tensor<2> {
    let ratio = crate::tokens::ratio(tokens.sequence_log_ratio(), log_ratio_limit);
    ratio.expand(tokens.mask().dims())
}

impl Objective {
    /// RLOO with TRL's settings: sequence-level clip of 0.2, k1 with weight 0.05 in the reward.
    #[must_use]
    pub fn rloo() -> Self {
        Self::published(ObjectiveConfig {
            kl: Some(KlConfig::in_reward(0.05)),
            ..ObjectiveConfig::new(
                AdvantageEstimator::LeaveOneOut { kl: KlOrder::BeforeBaseline, normalise: false },
                PolicyLoss::SequenceClipped(Clip::symmetric(0.2)),
                Mode::SequenceMeanTokenMean,
            )
        })
    }
}
