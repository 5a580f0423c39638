//! A complete method: estimator, policy loss, aggregation, KL and entropy, behind one interface.
//!
//! The constructors that carry each method's published settings stand in the methods' own files.

use burn::tensor::Tensor;
use headwater_core::{
    Check, ConfigError, require, require_finite, require_non_negative, require_positive,
};
use serde::{Deserialize, Serialize};

use crate::aggregation::{Aggregation, Mode};
use crate::dapo::{self, OverlongPenalty};
use crate::entropy::EntropyConfig;
use crate::estimator::{AdvantageEstimator, ShapedRewards};
use crate::grpo::fraction_without_signal;
use crate::kl::{KlConfig, Placement};
use crate::policy_loss::{ClipFractions, PolicyLoss};
use crate::ppo::Critic;
use crate::statistics;
use crate::tokens::zero_padding;
use crate::{Advantages, Experience, OptimizerError, TokenBatch, TokenRows};

/// An unchecked method. Every point on which implementations disagree is a field in here.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectiveConfig {
    /// From rewards to advantages.
    pub advantage: AdvantageEstimator,
    /// From log-probabilities and advantages to token losses.
    pub policy: PolicyLoss,
    /// From token losses to the loss.
    pub aggregation: Aggregation,
    /// Limit on the absolute log-ratio (of tokens or of sequences, as the policy loss has it)
    /// before it is exponentiated, nats, finite, above 0; 20 where a file leaves it out, and 88,
    /// where f32 ends, where it is larger. verl and OpenRLHF
    /// 20 (GSPO in verl 10, from above only), TRL none, which in f32 turns a log-ratio of 89 into a
    /// NaN gradient.
    #[serde(default = "default_log_ratio_limit")]
    pub log_ratio_limit: Option<f64>,
    /// Penalty on the divergence from a reference policy.
    #[serde(default)]
    pub kl: Option<KlConfig>,
    /// Entropy bonus.
    #[serde(default)]
    pub entropy: Option<EntropyConfig>,
    /// Soft penalty on length.
    #[serde(default)]
    pub overlong: Option<OverlongPenalty>,
    /// Leave truncated completions out of the loss, though not out of the group statistics (TRL).
    #[serde(default)]
    pub mask_truncated: bool,
    /// Remove groups of constant accuracy, before any statistic of the batch is taken.
    #[serde(default)]
    pub dynamic_sampling: bool,
}

impl ObjectiveConfig {
    /// A method of these three parts, log-ratios limited to 20, everything else off.
    #[must_use]
    pub fn new(
        advantage: AdvantageEstimator,
        policy: PolicyLoss,
        aggregation: impl Into<Aggregation>,
    ) -> Self {
        Self {
            advantage,
            policy,
            aggregation: aggregation.into(),
            log_ratio_limit: default_log_ratio_limit(),
            kl: None,
            entropy: None,
            overlong: None,
            mask_truncated: false,
            dynamic_sampling: false,
        }
    }
}

fn default_log_ratio_limit() -> Option<f64> {
    Some(20.0)
}

impl Check for ObjectiveConfig {
    type Checked = Objective;

    fn check(self) -> Result<Objective, ConfigError> {
        const CONFIG: &str = "ObjectiveConfig";
        self.advantage.validate()?;
        self.policy.validate()?;
        require(
            !self.policy.is_by_sequence() || self.aggregation.mode == Mode::SequenceMeanTokenMean,
            CONFIG,
            "aggregation",
            format!("{:?}", self.aggregation.mode),
            "SequenceMeanTokenMean for a loss on sequence ratios: others re-weight it by length",
        )?;
        self.aggregation.validate()?;
        if let Some(limit) = self.log_ratio_limit {
            require_positive(CONFIG, "log_ratio_limit", limit)?;
        }
        self.kl.map_or(Ok(()), |kl| kl.validate())?;
        self.entropy.map_or(Ok(()), |entropy| entropy.validate())?;
        self.overlong.map_or(Ok(()), |overlong| overlong.validate())?;
        let signed = matches!(self.advantage, AdvantageEstimator::Signed(_));
        let shaped =
            self.kl.is_some_and(|kl| kl.placement == Placement::Reward) || self.overlong.is_some();
        let allowed = "no KL in the reward and no overlong penalty: signed advantages ignore both";
        require(!signed || !shaped, CONFIG, "advantage", "signed", allowed)?;
        Ok(Objective::published(self))
    }
}

/// A checked method, and the current coefficients of its controllers.
///
/// Serialises as its config; a restored objective starts its controllers afresh.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ObjectiveConfig", into = "ObjectiveConfig")]
pub struct Objective {
    config: ObjectiveConfig,
    kl_coefficient: f64,
    entropy_coefficient: f64,
    entropy_applies: bool,
}

impl TryFrom<ObjectiveConfig> for Objective {
    type Error = ConfigError;

    fn try_from(config: ObjectiveConfig) -> Result<Self, ConfigError> {
        config.check()
    }
}

impl From<Objective> for ObjectiveConfig {
    fn from(objective: Objective) -> Self {
        objective.config
    }
}

/// What the controllers are told about an update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observed {
    /// Mean divergence from the reference, nats, on the scale of the controller's target.
    pub kl: f64,
    /// Mean token entropy, nats.
    pub entropy: f64,
    /// Completions in the update.
    pub samples: usize,
}

impl Objective {
    /// A config known to be valid: checked, or a constructor's.
    pub(crate) fn published(config: ObjectiveConfig) -> Self {
        Self {
            config,
            kl_coefficient: config.kl.map_or(0.0, |kl| kl.coefficient),
            entropy_coefficient: config.entropy.map_or(0.0, |entropy| entropy.coefficient),
            entropy_applies: true,
        }
    }

    /// The config, to build a variant from:
    /// `ObjectiveConfig { kl: None, ..Objective::grpo().config() }`.
    #[must_use]
    pub fn config(&self) -> ObjectiveConfig {
        self.config
    }

    /// Whether log-probabilities under a reference policy are needed, by `advantages` or
    /// `token_loss`.
    #[must_use]
    pub fn needs_reference(&self) -> bool {
        self.config.kl.is_some()
    }

    /// Whether the method has a critic, i.e. `advantages` needs values and there is a value loss.
    #[must_use]
    pub fn critic(&self) -> Option<Critic> {
        match self.config.advantage {
            AdvantageEstimator::Critic(critic) => Some(critic),
            _ => None,
        }
    }

    /// The current weight of the KL penalty; 0 without one.
    #[must_use]
    pub fn kl_coefficient(&self) -> f64 {
        self.kl_coefficient
    }

    /// The current weight of the entropy bonus; 0 without one, or while its controller holds it
    /// back.
    #[must_use]
    pub fn entropy_coefficient(&self) -> f64 {
        if self.entropy_applies { self.entropy_coefficient } else { 0.0 }
    }

    /// What the controllers have come to: KL coefficient, entropy coefficient, whether the latter applies.
    /// With the config, this is all of an objective's state.
    #[must_use]
    pub fn controllers(&self) -> (f64, f64, bool) {
        (self.kl_coefficient, self.entropy_coefficient, self.entropy_applies)
    }

    /// The same objective with its controllers where [`Objective::controllers`] left them.
    ///
    /// # Errors
    /// Coefficients that no controller comes to.
    pub fn with_controllers(
        mut self,
        (kl, entropy, applies): (f64, f64, bool),
    ) -> Result<Self, ConfigError> {
        require_non_negative("Objective", "kl_coefficient", kl)?;
        require_finite("Objective", "entropy_coefficient", entropy)?;
        self.kl_coefficient = kl;
        self.entropy_coefficient = entropy;
        self.entropy_applies = applies;
        Ok(self)
    }

    /// Lets the controllers, if any, take account of the update just made.
    pub fn adapt(&mut self, observed: Observed) {
        if let Some(controller) = self.config.kl.and_then(|kl| kl.adaptive) {
            self.kl_coefficient =
                controller.next(self.kl_coefficient, observed.kl, observed.samples);
        }
        if let Some(controller) = self.config.entropy.and_then(|entropy| entropy.adaptive) {
            self.entropy_coefficient = controller.next(self.entropy_coefficient, observed.entropy);
            self.entropy_applies = controller.applies(observed.entropy);
        }
    }

    /// Advantages of a batch: shaping, dynamic sampling, the estimator, masking, in this order.
    ///
    /// # Errors
    /// When lengths of inputs disagree, a number is not finite, an input the method needs is
    /// missing, or a group or batch is too small for the method's statistics.
    pub fn advantages(&self, batch: &Experience) -> Result<Advantages, OptimizerError> {
        batch.check()?;
        let n = batch.rewards.len();
        let mut keep = vec![true; n];
        if self.config.dynamic_sampling {
            keep = dapo::informative(batch.accuracy(), batch.group_size)?;
        }
        let kept: Vec<usize> = (0..n).filter(|&i| keep[i]).collect();
        let mut result = Advantages {
            tokens: batch.lengths.iter().map(|&length| vec![0.0; length]).collect(),
            keep,
            lengths: batch.lengths.to_vec(),
            returns: None,
            constant_groups: fraction_without_signal(batch.rewards, batch.group_size)?,
        };
        if !kept.is_empty() {
            let rewards = self.shaped_rewards(batch, &kept)?;
            let estimate = self.config.advantage.estimate(&rewards, batch.group_size)?;
            result.scatter(&kept, estimate);
        }
        if self.config.mask_truncated {
            let missing =
                OptimizerError::Missing { input: "truncated", needed_by: "mask_truncated" };
            let truncated = batch.truncated.ok_or(missing)?;
            for (length, _) in result.lengths.iter_mut().zip(truncated).filter(|(_, cut)| **cut) {
                *length = 0;
            }
        }
        Ok(result)
    }

    /// What the estimator sees of the kept rows: accuracy, shaped outcomes, KL penalties, values.
    fn shaped_rewards(
        &self,
        batch: &Experience,
        kept: &[usize],
    ) -> Result<ShapedRewards, OptimizerError> {
        let overlong = |i: usize| {
            self.config.overlong.map_or(0.0, |overlong| overlong.penalty(batch.lengths[i]))
        };
        let mut kl: TokenRows = kept.iter().map(|&i| vec![0.0; batch.lengths[i]]).collect();
        if let Some(penalty) = self.config.kl.filter(|kl| kl.placement == Placement::Reward) {
            let missing =
                |input| OptimizerError::Missing { input, needed_by: "a KL penalty in the reward" };
            let logp = batch.old_logp.ok_or(missing("old_logp"))?;
            let reference = batch.reference_logp.ok_or(missing("reference_logp"))?;
            let estimates = penalty.estimate_rows(logp, reference)?;
            for (row, &i) in kl.iter_mut().zip(kept) {
                *row = estimates[i].iter().map(|kl| self.kl_coefficient * kl).collect();
                statistics::require_finite(&format!("KL penalty of completion {i}"), row)?;
            }
        }
        let outcome: Vec<f64> = kept.iter().map(|&i| batch.rewards[i] + overlong(i)).collect();
        statistics::require_finite("rewards with the penalty on length", &outcome)?;
        Ok(ShapedRewards {
            accuracy: kept.iter().map(|&i| batch.accuracy()[i]).collect(),
            outcome,
            kl,
            values: batch.values.map(|rows| kept.iter().map(|&i| rows[i].clone()).collect()),
        })
    }

    /// Constant weights of every token of a minibatch, from the unmasked lengths of **all** its
    /// rows (the kept rows of [`Advantages::lengths`]): the loss is `sum(weights * token_loss)`.
    #[must_use]
    pub fn token_weights(&self, lengths: &[usize]) -> TokenRows {
        self.config.aggregation.checked_weights(lengths)
    }

    /// Weights such that `sum(weights * token entropy)` is to be *added* to the loss: the sign and
    /// the current coefficient are in them. `None` when the coefficient is 0, so that the entropy
    /// need not be computed.
    #[must_use]
    pub fn entropy_weights(&self, lengths: &[usize]) -> Option<TokenRows> {
        let entropy = self.config.entropy.filter(|_| self.entropy_coefficient() != 0.0)?;
        Some(entropy.weights(self.entropy_coefficient(), &self.config.aggregation, lengths))
    }

    /// Policy loss plus KL penalty of every token, `[n, t]`, 0 on padding. All tensors are
    /// `[n, t]`; gradients flow through `logp` alone. Log-probabilities are those at the sampling
    /// temperature. Not reduced, and so to be multiplied with [`Objective::token_weights`].
    ///
    /// # Errors
    /// [`OptimizerError::Shape`]; [`OptimizerError::Missing`] without the reference a KL loss
    /// needs.
    pub fn token_loss(
        &self,
        logp: Tensor<2>,
        old_logp: Tensor<2>,
        reference_logp: Option<Tensor<2>>,
        advantages: Tensor<2>,
        mask: Tensor<2>,
    ) -> Result<Tensor<2>, OptimizerError> {
        let tokens = TokenBatch::new(logp, old_logp, advantages, mask)?;
        let limit = self.config.log_ratio_limit;
        let loss = self.config.policy.token_loss(&tokens, limit);
        let loss = zero_padding(loss, &tokens.mask());
        let Some(kl) = self.config.kl.filter(|kl| kl.placement == Placement::Loss) else {
            return Ok(loss);
        };
        let missing = OptimizerError::Missing {
            input: "reference_logp",
            needed_by: "a KL penalty in the loss",
        };
        let penalty = kl.token_penalty(&tokens, reference_logp.ok_or(missing)?, limit)?;
        Ok(loss + penalty.mul_scalar(self.kl_coefficient))
    }

    /// How much of a minibatch the clip stopped; zeros for a loss without one. Reads back from the
    /// device.
    ///
    /// # Errors
    /// [`OptimizerError::Shape`].
    pub fn clip_fractions(
        &self,
        logp: Tensor<2>,
        old_logp: Tensor<2>,
        advantages: Tensor<2>,
        mask: Tensor<2>,
    ) -> Result<ClipFractions, OptimizerError> {
        let tokens = TokenBatch::new(logp.detach(), old_logp, advantages, mask)?;
        Ok(self.config.policy.clip_fractions(&tokens, self.config.log_ratio_limit))
    }
}
