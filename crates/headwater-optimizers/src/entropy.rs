//! The entropy bonus `- c_H * aggregate(H)` and its adaptive coefficient.
//!
//! `H_it` is the entropy (nats) of the policy's distribution at token `t`, at the sampling
//! temperature. The bonus flattens the policy whatever its prior was:
//! `dH/dz_v = -pi_v (log pi_v + H)`.

use headwater_core::{ConfigError, require, require_finite, require_positive};
use serde::{Deserialize, Serialize};

use crate::TokenRows;
use crate::aggregation::{Aggregation, Mode};

/// How token entropies are reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntropyAggregation {
    /// Mean over all tokens, whatever the loss does (TRL).
    #[default]
    TokenMean,
    /// As the loss (verl).
    LikeLoss,
}

/// An entropy bonus.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntropyConfig {
    /// The weight `c_H`; where the controller starts, if there is one. Finite; below 0 it penalises
    /// entropy.
    pub coefficient: f64,
    /// How token entropies are reduced.
    #[serde(default)]
    pub aggregation: EntropyAggregation,
    /// Moves the coefficient when the entropy falls under a target.
    #[serde(default)]
    pub adaptive: Option<AdaptiveEntropy>,
}

impl EntropyConfig {
    /// A constant coefficient on the token mean.
    #[must_use]
    pub fn constant(coefficient: f64) -> Self {
        Self { coefficient, aggregation: EntropyAggregation::TokenMean, adaptive: None }
    }

    /// Weights such that `sum_it weights[i][t] * H[i][t]` is the term to *add* to the loss: the
    /// sign and the current `coefficient` are in them. `lengths` are those of the whole minibatch.
    pub(crate) fn weights(
        &self,
        coefficient: f64,
        loss: &Aggregation,
        lengths: &[usize],
    ) -> TokenRows {
        let loss = match self.aggregation {
            EntropyAggregation::TokenMean => Aggregation::from(Mode::TokenMean),
            EntropyAggregation::LikeLoss => *loss,
        };
        let mut rows = loss.checked_weights(lengths);
        rows.iter_mut().flatten().for_each(|weight| *weight *= -coefficient);
        rows
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let coefficient = self.coefficient;
        require_finite("EntropyConfig", "coefficient", coefficient)?;
        let Some(adaptive) = self.adaptive else { return Ok(()) };
        adaptive.validate()?;
        require(
            (adaptive.minimum..=adaptive.maximum).contains(&coefficient),
            "EntropyConfig",
            "coefficient",
            coefficient,
            "between adaptive.minimum and adaptive.maximum",
        )
    }
}

/// The controller of Skywork-OR1 (arXiv 2505.22312) as TRL has it: the coefficient rises by `step`
/// after a batch whose mean entropy was at most `target` and falls by `step` after any other; it is
/// applied only while the last entropy seen was at most `target`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveEntropy {
    /// Entropy to defend, nats per token, above 0. TRL's default of 0.2 acts only near collapse:
    /// set it near the entropy early in training.
    pub target: f64,
    /// Change of the coefficient per update, above 0 (TRL 0.005).
    pub step: f64,
    /// Least coefficient (TRL 0).
    pub minimum: f64,
    /// Greatest coefficient (TRL 1).
    pub maximum: f64,
}

impl AdaptiveEntropy {
    /// TRL's defaults.
    pub const TRL: Self = Self { target: 0.2, step: 0.005, minimum: 0.0, maximum: 1.0 };

    /// Whether the bonus is applied in the update after `observed` (nats per token).
    #[must_use]
    pub fn applies(&self, observed: f64) -> bool {
        observed <= self.target
    }

    /// The coefficient after an update in which the mean token entropy was `observed` (nats).
    #[must_use]
    pub fn next(&self, coefficient: f64, observed: f64) -> f64 {
        let change = if self.applies(observed) { self.step } else { -self.step };
        (coefficient + change).clamp(self.minimum, self.maximum)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        for (field, value) in [("target", self.target), ("step", self.step)] {
            require_positive("AdaptiveEntropy", field, value)?;
        }
        let ordered = self.minimum.is_finite() && self.maximum.is_finite();
        require(
            ordered && self.minimum <= self.maximum,
            "AdaptiveEntropy",
            "minimum",
            self.minimum,
            "a finite number of at most maximum",
        )
    }
}
