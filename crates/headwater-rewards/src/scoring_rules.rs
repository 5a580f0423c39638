//! Proper scoring rules as losses of a stated probability.
//!
//! A rule S(q, c) is the loss of stating probability q for an event that happens (c = 1) or not (c
//! = 0). It is *strictly proper* when the expected loss under the true probability p is smallest at
//! q = p alone (Gneiting and Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation",
//! JASA 2007).

use headwater_core::{ConfigError, require};
use serde::{Deserialize, Serialize};

use crate::error::{RewardError, probability};

/// A proper scoring rule, as a loss: 0 is best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ScoringRule {
    /// `(q - c)^2`, in [0, 1]. Strictly proper.
    Brier,
    /// `1 - q_c / sqrt(q^2 + (1-q)^2)` with `q_c` the probability given to what happened, in [0,
    /// 1]. Strictly proper.
    Spherical,
    /// `-ln q_c` with q first clipped to `[clip, 1 - clip]`, in `[-ln(1-clip), -ln clip]`. Strictly
    /// proper for p inside the clipped interval; beyond it every q from the bound outward does
    /// equally well.
    Logarithmic {
        /// Distance kept from 0 and 1, in (0, 0.5). It bounds the loss: 1e-6 lets one sample cost
        /// 13.8.
        clip: f64,
    },
}

impl ScoringRule {
    /// The loss of stating `q` when the outcome is `correct`.
    ///
    /// # Errors
    /// When `q` is not a probability, or a logarithmic `clip` is outside (0, 0.5).
    pub fn loss(self, q: f64, correct: bool) -> Result<f64, RewardError> {
        self.check_clip("ScoringRule", "clip")?;
        Ok(self.loss_unchecked(probability("q", q)?, correct))
    }

    /// The expected loss of stating `q` when the outcome is correct with probability `p`.
    ///
    /// # Errors
    /// When `q` or `p` is not a probability, or a logarithmic `clip` is outside (0, 0.5).
    pub fn expected_loss(self, q: f64, p: f64) -> Result<f64, RewardError> {
        self.check_clip("ScoringRule", "clip")?;
        Ok(self.expected_loss_unchecked(probability("q", q)?, probability("p", p)?))
    }

    /// The largest loss of a single statement: fully confident and wrong.
    ///
    /// # Errors
    /// When a logarithmic `clip` is outside (0, 0.5).
    pub fn worst_loss(self) -> Result<f64, RewardError> {
        self.check_clip("ScoringRule", "clip")?;
        Ok(self.loss_unchecked(1.0, false))
    }

    pub(crate) fn loss_unchecked(self, q: f64, correct: bool) -> f64 {
        // What was stated for the thing that happened.
        let stated = if correct { q } else { 1.0 - q };
        match self {
            Self::Brier => (1.0 - stated).powi(2),
            Self::Spherical => 1.0 - stated / q.hypot(1.0 - q),
            Self::Logarithmic { clip } => 0.0 - stated.clamp(clip, 1.0 - clip).ln(),
        }
    }

    pub(crate) fn expected_loss_unchecked(self, q: f64, p: f64) -> f64 {
        p * self.loss_unchecked(q, true) + (1.0 - p) * self.loss_unchecked(q, false)
    }

    /// Refuses a logarithmic clip outside of its range, or NaN.
    pub(crate) fn check_clip(
        self,
        config: &'static str,
        field: &'static str,
    ) -> Result<(), ConfigError> {
        let Self::Logarithmic { clip } = self else { return Ok(()) };
        require(clip > 0.0 && clip < 0.5, config, field, clip, "a number in (0, 0.5)")
    }
}
