//! PPO: a clipped surrogate with advantages from a critic (Schulman et al., arXiv 1707.06347; GAE:
//! 1506.02438).
//!
//! - `delta_t = r_t + gamma V_{t+1} - V_t`, `A_t = delta_t + gamma lambda A_{t+1}`, `V` after the
//!   last token 0; value target `A_t + V_t`; then `A` whitened over the batch. `r_t = -beta k1_t`,
//!   plus `R` at the last token.
//! - `loss_t = max(-A rho, -A clip(rho, 1 - low, 1 + high))`, `rho = pi / pi_old` at the token.
//! - Dual clip (arXiv 1912.09729): for `A < 0` also `loss_t <= -A c`. Without it a negative token
//!   that has become likely (`rho >> 1`) has no bound, which matters where most advantages are
//!   negative.
//!
//! | | lambda | value clip | dual clip | value coefficient |
//! |---|---|---|---|---|
//! | [`Objective::ppo`] | 1 | 0.5 | off | 1 |
//! | verl | 1 | 0.5 | **on, 3** | separate optimiser |
//! | OpenRLHF | 1 | 0.5 | off | separate optimiser |
//! | TRL | 0.95 | 0.2 | off (`delta`) | 0.1 |
//!
//! TRL's `delta` caps `rho` before the minimum: the same for `A < 0`, and for `A > 0` if
//! `delta > 1 + high`. verl and OpenRLHF limit the log-ratio to 20 in absolute value, TRL does not.

use burn::tensor::Tensor;
use headwater_core::{ConfigError, require, require_non_negative, require_positive};
use serde::{Deserialize, Serialize};

use crate::aggregation::Mode;
use crate::kl::KlConfig;
use crate::statistics::{Whitening, require_finite, require_length};
use crate::tokens::ratio;
use crate::{AdvantageEstimator, Objective, ObjectiveConfig, PolicyLoss};
use crate::{OptimizerError, TokenBatch, TokenRows};

/// The trust interval `[1 - low, 1 + high]` of a ratio.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clip {
    /// In `[0, 1]`.
    pub low: f64,
    /// Finite, at least 0.
    pub high: f64,
    /// The dual clip's `c`, above `1 + high`; `None` is off.
    #[serde(default)]
    pub dual: Option<f64>,
}

impl Clip {
    /// `[1 - epsilon, 1 + epsilon]` without dual clip.
    #[must_use]
    pub const fn symmetric(epsilon: f64) -> Self {
        Self { low: epsilon, high: epsilon, dual: None }
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        require((0.0..=1.0).contains(&self.low), "Clip", "low", self.low, "in [0, 1]")?;
        let high = self.high;
        require_non_negative("Clip", "high", high)?;
        let Some(dual) = self.dual else { return Ok(()) };
        let allowed = "a finite number above 1 + high";
        require(dual.is_finite() && dual > 1.0 + high, "Clip", "dual", dual, allowed)
    }
}

/// `max(-A rho, -A clip(rho))`, for `A < 0` at most `-A c`. Any ratio: of tokens or of sequences.
pub(crate) fn clipped_surrogate(ratio: Tensor<2>, advantages: Tensor<2>, clip: &Clip) -> Tensor<2> {
    let clipped = ratio.clone().clamp(1.0 - clip.low, 1.0 + clip.high);
    let plain = (advantages.clone() * ratio).neg();
    let loss = plain.max_pair((advantages.clone() * clipped).neg());
    let Some(dual) = clip.dual else { return loss };
    let bounded = loss.clone().min_pair(advantages.clone().mul_scalar(-dual));
    loss.mask_where(advantages.lower_scalar(0.0), bounded)
}

/// PPO's clipped loss per token, `[n, t]`. `log_ratio_limit` bounds `|log rho|`.
#[must_use]
pub fn token_loss(tokens: &TokenBatch, clip: &Clip, log_ratio_limit: Option<f64>) -> Tensor<2> {
    let ratio = ratio(tokens.log_ratio(), log_ratio_limit);
    clipped_surrogate(ratio, tokens.advantages(), clip)
}

/// Generalised advantage estimation, and the critic's loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Critic {
    /// Discount, in `[0, 1]`.
    pub gamma: f64,
    /// GAE's lambda, in `[0, 1]`: 1 is the return less the value, 0 the one-step error.
    pub lambda: f64,
    /// Whitening of the advantages over the batch.
    pub whitening: Option<Whitening>,
    /// Limit on the value's change since the rollout, finite, above 0.
    pub value_clip: Option<f64>,
    /// Weight of the value loss, at least 0.
    pub value_coefficient: f64,
}

impl Critic {
    /// Advantages (whitened) and value targets (not) of rows of per-token rewards and values.
    ///
    /// # Errors
    /// [`OptimizerError::Length`] when `values` and `token_rewards` differ in rows, or rows in
    /// length; [`OptimizerError::NotFinite`]; [`OptimizerError::TooFew`] when there are too few
    /// tokens to whiten; [`OptimizerError::Config`].
    pub fn advantages(
        &self,
        token_rewards: &[Vec<f64>],
        values: &[Vec<f64>],
    ) -> Result<(TokenRows, TokenRows), OptimizerError> {
        self.validate()?;
        require_length("values", values.len(), token_rewards.len())?;
        let (mut advantages, mut returns) = (TokenRows::new(), TokenRows::new());
        for (i, (rewards, values)) in token_rewards.iter().zip(values).enumerate() {
            require_length(&format!("values[{i}]"), values.len(), rewards.len())?;
            let row = generalised_advantages(rewards, values, self.gamma, self.lambda);
            require_finite(&format!("advantages of completion {i}"), &row)?;
            returns.push(row.iter().zip(values).map(|(a, v)| a + v).collect());
            advantages.push(row);
        }
        if let Some(whitening) = self.whitening {
            advantages = whitening.apply(advantages)?;
        }
        Ok((advantages, returns))
    }

    /// `0.5 max((V - target)^2, (V_old + clip(V - V_old) - target)^2)` per token, `[n, t]`, times
    /// the value coefficient; `old_values` and `returns` are detached. Weigh it like the policy's
    /// token loss.
    #[must_use]
    pub fn value_loss(
        &self,
        values: Tensor<2>,
        old_values: Tensor<2>,
        returns: Tensor<2>,
    ) -> Tensor<2> {
        let (old_values, returns) = (old_values.detach(), returns.detach());
        let mut error = (values.clone() - returns.clone()).square();
        if let Some(limit) = self.value_clip {
            let clipped = (values - old_values.clone()).clamp(-limit, limit) + old_values;
            error = error.max_pair((clipped - returns).square());
        }
        error.mul_scalar(0.5 * self.value_coefficient)
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        const CONFIG: &str = "Critic";
        for (field, value) in [("gamma", self.gamma), ("lambda", self.lambda)] {
            require((0.0..=1.0).contains(&value), CONFIG, field, value, "in [0, 1]")?;
        }
        if let Some(clip) = self.value_clip {
            require_positive(CONFIG, "value_clip", clip)?;
        }
        let coefficient = self.value_coefficient;
        require_non_negative(CONFIG, "value_coefficient", coefficient)
    }
}

/// GAE over one completion: rewards and values of its tokens, of one length; the value after the
/// last token is 0. The recursion runs backwards from the last token.
///
/// # Panics
/// When the two differ in length.
#[must_use]
pub fn generalised_advantages(
    rewards: &[f64],
    values: &[f64],
    gamma: f64,
    lambda: f64,
) -> Vec<f64> {
    assert_eq!(rewards.len(), values.len(), "one value for each reward");
    let mut advantages = vec![0.0; rewards.len()];
    let (mut next_value, mut next_advantage) = (0.0, 0.0);
    for t in (0..rewards.len()).rev() {
        let delta = rewards[t] + gamma * next_value - values[t];
        next_advantage = delta + gamma * lambda * next_advantage;
        next_value = values[t];
        advantages[t] = next_advantage;
    }
    advantages
}

impl Objective {
    /// PPO as verl and OpenRLHF set it up for language models: clip 0.2, gamma and lambda 1,
    /// whitened advantages, value clip 0.5, token mean, k1 with weight 1e-3 in the reward. Needs a
    /// critic's values.
    #[must_use]
    pub fn ppo() -> Self {
        let critic = Critic {
            gamma: 1.0,
            lambda: 1.0,
            whitening: Some(Whitening::UnbiasedAdded),
            value_clip: Some(0.5),
            value_coefficient: 1.0,
        };
        Self::published(ObjectiveConfig {
            kl: Some(KlConfig::in_reward(1e-3)),
            ..ObjectiveConfig::new(
                AdvantageEstimator::Critic(critic),
                PolicyLoss::Clipped(Clip::symmetric(0.2)),
                Mode::TokenMean,
            )
        })
    }
}
