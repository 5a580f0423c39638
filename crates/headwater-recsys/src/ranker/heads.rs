//! What a ranker predicts: the losses of its heads, and how they make one score.

use headwater_core::{ConfigError, require};
use headwater_evaluation::decision::{sigmoid, softplus};
use serde::{Deserialize, Serialize};

use crate::log::Head;

/// One head, unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadConfig {
    /// Weight of its loss, in [0, 1e6].
    pub weight: f64,
    /// Its exponent in the score, in [-1e6, 1e6]: 0 leaves it out.
    pub exponent: f64,
    /// Whether it learns only from rows on which its label is defined.
    ///
    /// Without the mask an impression that was not clicked counts as one that was not liked, and the head becomes a second
    /// click head, with the position bias of clicks. It is an arm of an experiment, not a thing to do.
    pub masked: bool,
}

impl Default for HeadConfig {
    fn default() -> Self {
        Self { weight: 1.0, exponent: 1.0, masked: true }
    }
}

impl HeadConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        const NAME: &str = "HeadConfig";
        // Gradients and scores are in single precision, which larger ones overflow.
        require(
            (0.0..=1e6).contains(&self.weight),
            NAME,
            "weight",
            self.weight,
            "a number in [0, 1e6]",
        )?;
        let (exponent, allowed) = (self.exponent, "a number in [-1e6, 1e6]");
        require(exponent.abs() <= 1e6, NAME, "exponent", exponent, allowed)
    }
}

/// Cross-entropy -y log s(z) - (1 - y) log(1 - s(z)) = softplus(z) - y z, and its slope s(z) - y.
///
/// The label y may lie outside [0, 1], as inverse propensity scoring makes it.
pub(crate) fn log_loss(label: f64, z: f64) -> (f64, f64) {
    (softplus(z) - label * z, sigmoid(z) - label)
}

impl Head {
    /// Loss of a label and its slope: cross-entropy for what is 0 or 1, else the squared error.
    pub(crate) fn loss(self, label: f64, z: f64) -> (f64, f64) {
        match self {
            Self::Click | Self::Like => log_loss(label, z),
            Self::Dwell => ((z - label).powi(2), 2.0 * (z - label)),
        }
    }

    /// What the head predicts: a probability, or the logarithm of time spent.
    pub(crate) fn prediction(self, z: f64) -> f64 {
        match self {
            Self::Click | Self::Like => sigmoid(z),
            Self::Dwell => z,
        }
    }

    /// Logarithm of the head's factor in the score: of the probability, or of the time.
    pub(crate) fn log_factor(self, z: f64) -> f64 {
        match self {
            Self::Click | Self::Like => -softplus(-z),
            Self::Dwell => z,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;
    use proptest::prelude::*;

    #[test]
    fn golden_values() {
        // ln 2 at an even chance; -ln 0.9 at ln 9.
        assert_relative_eq!(log_loss(1.0, 0.0).0, 2.0_f64.ln());
        assert_relative_eq!(log_loss(1.0, 9.0_f64.ln()).0, -(0.9_f64.ln()), max_relative = 1e-12);
        assert_relative_eq!(log_loss(0.0, 9.0_f64.ln()).1, 0.9, max_relative = 1e-12);
        assert_eq!(Head::Dwell.loss(1.0, 3.0), (4.0, 4.0));
        // Far out there is no overflow.
        assert_relative_eq!(log_loss(0.0, 800.0).0, 800.0);
        assert_relative_eq!(Head::Like.log_factor(-800.0), -800.0);
    }

    proptest! {
        #[test]
        fn slopes_are_finite_differences(label in -1.0..4.0f64, z in -6.0..6.0f64) {
            for head in [Head::Click, Head::Dwell] {
                let at = |z| head.loss(label, z).0;
                let difference = (at(z + 1e-5) - at(z - 1e-5)) / 2e-5;
                prop_assert!((difference - head.loss(label, z).1).abs() < 1e-6);
            }
        }

        #[test]
        fn the_loss_of_a_reweighted_click_is_that_of_its_definition(theta in 0.1..1.0f64, z in -5.0..5.0f64) {
            let p = sigmoid(z);
            let by_definition = -p.ln() / theta - (1.0 - 1.0 / theta) * (1.0 - p).ln();
            prop_assert!((by_definition - log_loss(1.0 / theta, z).0).abs() < 1e-9);
        }
    }
}
