//! The one place that knows every advantage estimator.

use headwater_core::{ConfigError, require, require_finite};
use serde::{Deserialize, Serialize};

use crate::grpo::GroupRelative;
use crate::kl::KlOrder;
use crate::ppo::Critic;
use crate::psr_nsr::Signed;
use crate::reinforce::{self, Baseline};
use crate::reinforce_plus_plus::{self, centre_on_group};
use crate::rloo;
use crate::statistics::{self, return_to_go};
use crate::{OptimizerError, TokenRows, Whitening};

/// From rewards to advantages.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AdvantageEstimator {
    /// [`reinforce::advantages`].
    Reinforce {
        /// What is subtracted from every reward.
        baseline: Baseline,
    },
    /// [`rloo::advantages`].
    LeaveOneOut {
        /// When a KL penalty in the reward meets the baseline.
        #[serde(default)]
        kl: KlOrder,
        /// Whether to apply [`rloo::normalise`]; only with [`KlOrder::BeforeBaseline`].
        #[serde(default)]
        normalise: bool,
    },
    /// [`reinforce_plus_plus::advantages`].
    ReinforcePlusPlus {
        /// Whether the group's mean is subtracted from the outcome first.
        group_baseline: bool,
        /// The whitening.
        whitening: Whitening,
    },
    /// [`GroupRelative::advantages`]: GRPO and its kin.
    GroupRelative(GroupRelative),
    /// [`Critic::advantages`]: PPO.
    Critic(Critic),
    /// [`Signed::advantages`]: PSR, NSR, W-REINFORCE.
    Signed(Signed),
}

/// The rewards an estimator sees, for the rows that are in the batch.
#[derive(Debug, Clone)]
pub(crate) struct ShapedRewards {
    /// Task accuracy, `[n]`.
    pub(crate) accuracy: Vec<f64>,
    /// Reward and length penalty, `[n]`.
    pub(crate) outcome: Vec<f64>,
    /// `beta * KL estimate` of every token; zeros without a penalty in the reward.
    pub(crate) kl: TokenRows,
    /// Values of a critic, if there is one.
    pub(crate) values: Option<TokenRows>,
}

/// What an estimator makes of them.
#[derive(Debug, Clone)]
pub(crate) struct Estimate {
    pub(crate) tokens: TokenRows,
    pub(crate) keep: Vec<bool>,
    pub(crate) returns: Option<TokenRows>,
}

impl ShapedRewards {
    /// One number per completion: the outcome less the penalty of all its tokens.
    fn totals(&self) -> Result<Vec<f64>, OptimizerError> {
        let rows = self.outcome.iter().zip(&self.kl);
        let totals: Vec<f64> = rows.map(|(r, kl)| r - kl.iter().sum::<f64>()).collect();
        statistics::require_finite("rewards less the KL penalty", &totals)?;
        Ok(totals)
    }

    /// Advantages of whole completions, less the penalty still to come at each token.
    fn less_penalty(&self, advantages: &[f64]) -> TokenRows {
        self.per_token(advantages).iter().map(|row| return_to_go(row)).collect()
    }

    /// Each token's penalty, and the `outcome` at the last token of its completion.
    fn per_token(&self, outcome: &[f64]) -> TokenRows {
        let row = |(outcome, kl): (&f64, &Vec<f64>)| {
            let mut row: Vec<f64> = kl.iter().map(|kl| 0.0 - kl).collect();
            if let Some(last) = row.last_mut() {
                *last += outcome;
            }
            row
        };
        outcome.iter().zip(&self.kl).map(row).collect()
    }

    /// One advantage per completion, repeated over its tokens.
    fn broadcast(&self, advantages: &[f64]) -> TokenRows {
        advantages.iter().zip(&self.kl).map(|(&a, kl)| vec![a; kl.len()]).collect()
    }
}

impl AdvantageEstimator {
    pub(crate) fn estimate(
        &self,
        rewards: &ShapedRewards,
        group_size: usize,
    ) -> Result<Estimate, OptimizerError> {
        let mut keep = vec![true; rewards.outcome.len()];
        let mut returns = None;
        let tokens = match self {
            Self::Reinforce { baseline } => {
                rewards.broadcast(&reinforce::advantages(&rewards.totals()?, *baseline)?)
            }
            Self::GroupRelative(relative) => match relative.kl {
                KlOrder::BeforeBaseline => {
                    rewards.broadcast(&relative.advantages(&rewards.totals()?, group_size)?)
                }
                KlOrder::AfterBaseline => {
                    rewards.less_penalty(&relative.advantages(&rewards.outcome, group_size)?)
                }
            },
            Self::LeaveOneOut { kl: KlOrder::BeforeBaseline, normalise } => {
                let mut advantages = rloo::advantages(&rewards.totals()?, group_size)?;
                if *normalise {
                    advantages = rloo::normalise(&advantages)?;
                }
                rewards.broadcast(&advantages)
            }
            Self::LeaveOneOut { kl: KlOrder::AfterBaseline, .. } => {
                rewards.less_penalty(&rloo::advantages(&rewards.outcome, group_size)?)
            }
            Self::ReinforcePlusPlus { group_baseline: false, whitening } => {
                let token_rewards = rewards.per_token(&rewards.outcome);
                reinforce_plus_plus::advantages(&token_rewards, *whitening)?
            }
            Self::ReinforcePlusPlus { group_baseline: true, whitening } => {
                let centred = centre_on_group(&rewards.outcome, group_size)?;
                reinforce_plus_plus::advantages(&rewards.per_token(&centred), *whitening)?
            }
            Self::Critic(critic) => {
                let missing = OptimizerError::Missing { input: "values", needed_by: "a critic" };
                let values = rewards.values.as_ref().ok_or(missing)?;
                let (tokens, targets) =
                    critic.advantages(&rewards.per_token(&rewards.outcome), values)?;
                returns = Some(targets);
                tokens
            }
            Self::Signed(signed) => {
                let (advantages, kept) = signed.advantages(&rewards.accuracy)?;
                keep = kept;
                rewards.broadcast(&advantages)
            }
        };
        Ok(Estimate { tokens, keep, returns })
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        match self {
            Self::Reinforce { baseline: Baseline::Constant(constant) } => {
                require_finite("Baseline", "constant", *constant)
            }
            Self::LeaveOneOut { kl, normalise } => require(
                !normalise || *kl == KlOrder::BeforeBaseline,
                "LeaveOneOut",
                "normalise",
                normalise,
                "false when the KL penalty comes after the baseline",
            ),
            Self::GroupRelative(relative) => relative.validate(),
            Self::Critic(critic) => critic.validate(),
            Self::Signed(signed) => signed.validate(),
            Self::Reinforce { .. } | Self::ReinforcePlusPlus { .. } => Ok(()),
        }
    }
}
