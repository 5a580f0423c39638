//! Kullback-Leibler penalties to a reference policy: estimators, where they enter, and a
//! controller.
//!
//! With `d = log pi(y_t) - log ref(y_t)` at a token sampled from `pi` (Schulman, "Approximating KL
//! divergence", 2020):
//!
//! | estimator | value | expected value | expected gradient, as a loss, on-policy |
//! |---|---|---|---|
//! | k1 | `d` | `KL(pi, ref)` | **0** |
//! | k2 | `d^2 / 2` | biased | gradient of `KL(pi, ref)` |
//! | k3 | `exp(-d) - 1 + d` | `KL(pi, ref)`, never negative | gradient of the *forward* `KL(ref, pi)` |
//! | k3, straight through | k3's | k3's | k2's |
//!
//! So k1 and k3 are for measuring and for rewards, k2 (or the last row) for losses. Times the
//! importance ratio, and differentiated through it, k3 and k1 have the right gradient as well,
//! off-policy too.

use burn::tensor::Tensor;
use headwater_core::{ConfigError, require, require_non_negative, require_positive};
use serde::{Deserialize, Serialize};

use crate::statistics::require_finite;
use crate::statistics::require_length;
use crate::tokens::{EXPONENT_LIMIT, require_shape, zero_padding};
use crate::{OptimizerError, TokenBatch, TokenRows};

/// An estimator of the divergence from the reference at one token; see the table above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlEstimator {
    /// `d`.
    K1,
    /// `d^2 / 2`.
    K2,
    /// `exp(-d) - 1 + d`.
    K3,
    /// Value of k3, gradient of k2 (verl's "k3+"): `d`, whatever the limits.
    K3StraightThrough,
}

/// Symmetric limits. Beyond a limit the gradient is 0, except that of
/// [`KlEstimator::K3StraightThrough`], whose value alone is limited (as in verl).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KlClamp {
    /// Limit on `|d|` before the estimator, finite, above 0. On tensors, where k3 takes the
    /// exponential in f32, no more than 88.
    pub log_ratio: Option<f64>,
    /// Limit on the estimate's absolute value, finite, above 0; in f32 no more than 1e38.
    pub estimate: Option<f64>,
}

impl KlClamp {
    /// No limits (TRL).
    pub const NONE: Self = Self { log_ratio: None, estimate: None };
    /// 20 on the log-ratio, 10 on the estimate (verl, which applies both to k3).
    pub const VERL: Self = Self { log_ratio: Some(20.0), estimate: Some(10.0) };
    /// 10 on the estimate (OpenRLHF).
    pub const OPEN_RLHF: Self = Self { log_ratio: None, estimate: Some(10.0) };

    fn validate(&self) -> Result<(), ConfigError> {
        for (field, limit) in
            [("clamp.log_ratio", self.log_ratio), ("clamp.estimate", self.estimate)]
        {
            if let Some(limit) = limit {
                require_positive("KlConfig", field, limit)?;
            }
        }
        Ok(())
    }
}

/// Where the penalty enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Subtracted from the reward, as a constant: no gradient flows through it.
    Reward,
    /// Added to the token loss, aggregated with it.
    Loss,
}

/// When a KL penalty in the reward meets the baseline and what else a group of rewards is
/// normalised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlOrder {
    /// Summed over the sequence and subtracted from its reward first (TRL).
    #[default]
    BeforeBaseline,
    /// `A_it = A_i - beta sum_{s >= t} k_is`: per token, after the baseline (OpenRLHF).
    AfterBaseline,
}

/// A penalty on the divergence from the reference policy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KlConfig {
    /// The weight (beta), at least 0; where the controller starts, if there is one.
    pub coefficient: f64,
    /// The estimator. In the loss, k1 only with `importance_weighted`: its gradient averages to 0.
    pub estimator: KlEstimator,
    /// Reward or loss.
    pub placement: Placement,
    /// Limits on the estimate.
    #[serde(default)]
    pub clamp: KlClamp,
    /// Loss only: multiply the estimate by the token ratio `pi / pi_old`, gradient included (an
    /// option of TRL). Makes the gradient that of `KL(pi, ref)` off-policy.
    #[serde(default)]
    pub importance_weighted: bool,
    /// Moves the coefficient towards a target divergence.
    #[serde(default)]
    pub adaptive: Option<AdaptiveKl>,
}

impl KlConfig {
    /// k1 subtracted from the reward, without limits.
    #[must_use]
    pub fn in_reward(coefficient: f64) -> Self {
        Self {
            coefficient,
            estimator: KlEstimator::K1,
            placement: Placement::Reward,
            clamp: KlClamp::NONE,
            importance_weighted: false,
            adaptive: None,
        }
    }

    /// `estimator` added to the loss, with `|d|` limited to 20 so that k3 stays finite in f32.
    #[must_use]
    pub fn in_loss(coefficient: f64, estimator: KlEstimator) -> Self {
        let clamp = KlClamp { log_ratio: Some(20.0), estimate: None };
        Self { estimator, placement: Placement::Loss, clamp, ..Self::in_reward(coefficient) }
    }

    /// The estimate at one token from `d = logp - reference_logp` (nats), limits applied; not yet
    /// multiplied by the coefficient.
    ///
    /// # Panics
    /// When a limit is negative or NaN, which no checked objective has.
    #[must_use]
    pub fn estimate(&self, d: f64) -> f64 {
        let d = self.clamp.log_ratio.map_or(d, |limit| d.clamp(-limit, limit));
        let value = match self.estimator {
            KlEstimator::K1 => d,
            KlEstimator::K2 => d * d / 2.0,
            // exp_m1 keeps the small difference that exp(-d) - 1 + d would round away.
            KlEstimator::K3 | KlEstimator::K3StraightThrough => (-d).exp_m1() + d,
        };
        self.clamp.estimate.map_or(value, |limit| value.clamp(-limit, limit))
    }

    /// Estimates for whole rows of log-probabilities under the sampling policy and the reference.
    ///
    /// # Errors
    /// When the rows' lengths differ, a log-probability is not finite, or an estimate of it is not
    /// (k3's, of a log-ratio below -709 that is not limited); [`OptimizerError::Config`].
    pub fn estimate_rows(
        &self,
        logp: &[Vec<f64>],
        reference_logp: &[Vec<f64>],
    ) -> Result<TokenRows, OptimizerError> {
        self.clamp.validate()?;
        require_length("reference_logp", reference_logp.len(), logp.len())?;
        let mut rows = Vec::with_capacity(logp.len());
        for (i, (current, reference)) in logp.iter().zip(reference_logp).enumerate() {
            let name = format!("reference_logp[{i}]");
            require_length(&name, reference.len(), current.len())?;
            require_finite(&format!("old_logp[{i}]"), current)?;
            require_finite(&name, reference)?;
            let pairs = current.iter().zip(reference);
            let row: Vec<f64> = pairs.map(|(p, r)| self.estimate(p - r)).collect();
            require_finite(&format!("KL estimates of old_logp[{i}] and {name}"), &row)?;
            rows.push(row);
        }
        Ok(rows)
    }

    /// The estimate as a token tensor `[n, t]` for the loss, 0 on padding; not yet multiplied by
    /// the coefficient. `reference_logp` is detached.
    ///
    /// # Errors
    /// [`OptimizerError::Shape`] when `reference_logp` differs in shape;
    /// [`OptimizerError::Config`].
    pub fn token_penalty(
        &self,
        tokens: &TokenBatch,
        reference_logp: Tensor<2>,
        log_ratio_limit: Option<f64>,
    ) -> Result<Tensor<2>, OptimizerError> {
        self.clamp.validate()?;
        require_shape("reference_logp", &reference_logp, &tokens.mask())?;
        let d = tokens.logp() - zero_padding(reference_logp.detach(), &tokens.mask());
        let limited = clamp(d.clone(), self.clamp.log_ratio);
        let k2 = |d: Tensor<2>| d.square().mul_scalar(0.5);
        let estimate = match self.estimator {
            KlEstimator::K1 => clamp(limited, self.clamp.estimate),
            KlEstimator::K2 => clamp(k2(limited), self.clamp.estimate),
            KlEstimator::K3 => self.k3(d),
            KlEstimator::K3StraightThrough => {
                let gradient = k2(d.clone());
                // A difference that is exactly 0, so that a far d does not round the value away.
                (gradient.clone() - gradient.detach()) + self.k3(d).detach()
            }
        };
        if self.importance_weighted {
            return Ok(estimate * crate::tokens::ratio(tokens.log_ratio(), log_ratio_limit));
        }
        Ok(estimate)
    }

    /// k3 with its limits. The exponential ends where f32 does, and not in an infinity, whose
    /// gradient times the 0 of a limit would be NaN; without limits it is left to overflow, so that
    /// the loss tells.
    fn k3(&self, d: Tensor<2>) -> Tensor<2> {
        let d = clamp(d, self.clamp.log_ratio.map(|limit| limit.min(EXPONENT_LIMIT)));
        let exponent = match self.clamp.estimate {
            Some(_) => d.clone().clamp_min(-EXPONENT_LIMIT),
            None => d.clone(),
        };
        let k3 = exponent.neg().exp().sub_scalar(1.0) + d;
        // Below the largest exponential: beyond that end no gradient is to be left either.
        clamp(k3, self.clamp.estimate.map(|limit| limit.min(1e38)))
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        const CONFIG: &str = "KlConfig";
        let coefficient = self.coefficient;
        require_non_negative(CONFIG, "coefficient", coefficient)?;
        self.clamp.validate()?;
        let in_loss = self.placement == Placement::Loss;
        require(
            !in_loss || self.estimator != KlEstimator::K1 || self.importance_weighted,
            CONFIG,
            "estimator",
            "k1",
            "k2, k3 or k3_straight_through in the loss (k1's gradient averages to 0 there), or k1 \
             with importance_weighted",
        )?;
        require(
            in_loss || !self.importance_weighted,
            CONFIG,
            "importance_weighted",
            true,
            "false when the penalty is in the reward",
        )?;
        self.adaptive.map_or(Ok(()), |adaptive| adaptive.validate())
    }
}

/// The proportional controller of Ziegler et al. (arXiv 1909.08593), as verl has it:
/// `coefficient *= 1 + clip(observed / target - 1, -0.2, 0.2) * samples / horizon`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveKl {
    /// Divergence to hold, nats, above 0, on the scale of what is observed (per token or sequence).
    pub target: f64,
    /// Samples over which the full correction is made, above 0.
    pub horizon: f64,
}

impl AdaptiveKl {
    /// The coefficient after `samples` more samples, among which `observed` was the mean
    /// divergence. Never below 0, even if `samples` is many horizons, and finite. A divergence that
    /// is NaN says nothing, and leaves the coefficient as it is.
    #[must_use]
    pub fn next(&self, coefficient: f64, observed: f64, samples: usize) -> f64 {
        if observed.is_nan() {
            return coefficient;
        }
        let error = (observed / self.target - 1.0).clamp(-0.2, 0.2);
        let factor = (1.0 + error * samples as f64 / self.horizon).clamp(0.0, f64::MAX);
        (coefficient * factor).min(f64::MAX)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        for (field, value) in [("target", self.target), ("horizon", self.horizon)] {
            require_positive("AdaptiveKl", field, value)?;
        }
        Ok(())
    }
}

fn clamp(tensor: Tensor<2>, limit: Option<f64>) -> Tensor<2> {
    match limit {
        Some(limit) => tensor.clamp(-limit, limit),
        None => tensor,
    }
}
