//! REINFORCE: the plain policy gradient (Williams 1992).
//!
//! `A_i = R_i - b`, `loss_it = -A_i log pi(y_it)`, summed over tokens and averaged over sequences,
//! so that the gradient is that of the expected reward. `pi_old` does not enter: exact only
//! on-policy.
//!
//! Implementations: verl has this loss only in its bypass mode, with the aggregation used here;
//! small re-implementations (nano-aha-moment, GRPO-Zero) take the token mean, which re-weights by
//! length.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::aggregation::Mode;
use crate::statistics::{mean, require_finite};
use crate::{AdvantageEstimator, Objective, ObjectiveConfig, PolicyLoss};
use crate::{OptimizerError, TokenBatch};

/// What is subtracted from every reward.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// Nothing.
    None,
    /// A constant (finite).
    Constant(f64),
    /// The mean over the batch, the sample itself included: biased by a factor `(n - 1) / n`.
    BatchMean,
}

/// `R_i - b` for rewards `[n]`.
///
/// # Errors
/// [`OptimizerError::NotFinite`] when a reward, or what the baseline leaves of it, is not a number.
pub fn advantages(rewards: &[f64], baseline: Baseline) -> Result<Vec<f64>, OptimizerError> {
    require_finite("rewards", rewards)?;
    let baseline = match baseline {
        Baseline::None => 0.0,
        Baseline::Constant(constant) => constant,
        Baseline::BatchMean => mean(rewards),
    };
    let advantages: Vec<f64> = rewards.iter().map(|reward| reward - baseline).collect();
    require_finite("advantages", &advantages)?;
    Ok(advantages)
}

/// `-A log pi` per token, `[n, t]`.
#[must_use]
pub fn token_loss(tokens: &TokenBatch) -> Tensor<2> {
    (tokens.advantages() * tokens.logp()).neg()
}

impl Objective {
    /// REINFORCE without a baseline, mean over sequences of the sum over tokens.
    #[must_use]
    pub fn reinforce() -> Self {
        Self::published(ObjectiveConfig::new(
            AdvantageEstimator::Reinforce { baseline: Baseline::None },
            PolicyLoss::Reinforce,
            Mode::SequenceMeanTokenSum,
        ))
    }
}
