//! What a classifier with one logit is trained on.

use headwater_core::{ConfigError, require, require_non_negative};
use headwater_evaluation::decision::{ClassWeights, log_loss, sigmoid};

/// An objective per row, to be averaged over rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Objective {
    /// -w_y ln p_y. With weights 1 and 1 the plain log loss.
    ///
    /// The logit then estimates that of p^w, see [`headwater_evaluation::decision`].
    Weighted(ClassWeights),
    /// The plain log loss of the logit less ln(w_1/w_0), so that the logit itself estimates that of p^w.
    ///
    /// With weights 1/pi_y it is the logit-adjusted loss of Menon et al. (2020), arXiv 2007.07314, at tau = 1; with
    /// other weights its form for costs (Narasimhan and Menon 2021). A bias takes up the shift, so with
    /// [`crate::train`], which starts at the best constant, it is ex-post weighting up to rounding.
    LogitAdjusted(ClassWeights),
    /// -alpha_t (1 - p_t)^gamma ln p_t, alpha_1 = `share` and alpha_0 = 1 - `share` (Lin et al. 2017, "Focal loss for
    /// dense object detection", arXiv 1708.02002).
    ///
    /// Not proper: its logit needs recalibration before it says anything of a probability.
    Focal {
        /// gamma, at least 0; 2 in the paper.
        focusing: f64,
        /// alpha of positives, in (0, 1); 0.25 in the paper.
        share: f64,
    },
}

impl Objective {
    /// The log loss without weights.
    #[must_use]
    pub fn plain() -> Self {
        Self::Weighted(ClassWeights::new(1.0, 1.0).expect("1 is an allowed weight"))
    }

    /// Errors where a parameter is none.
    pub(crate) fn check(self) -> Result<(), ConfigError> {
        let Self::Focal { focusing, share } = self else { return Ok(()) };
        require_non_negative("Objective::Focal", "focusing", focusing)?;
        let holds = share > 0.0 && share < 1.0;
        require(holds, "Objective::Focal", "share", share, "a number in (0, 1)")
    }

    /// The logit that is best for all rows alike where a share `prevalence`, in (0, 1), is
    /// positive: by bisection in [-30, 30], to 1e-12. Where the best one lies outside (few of a
    /// class and weights to match, or a class without rows) it is the nearer end.
    #[must_use]
    pub fn best_constant(self, prevalence: f64) -> f64 {
        let slope = |z: f64| {
            let [positive, negative] = [true, false].map(|y| self.value_and_slope(z, y).1);
            prevalence * positive + (1.0 - prevalence) * negative
        };
        let (mut low, mut high) = (-30.0, 30.0);
        for _ in 0..50 {
            let middle = 0.5 * (low + high);
            if slope(middle) < 0.0 {
                low = middle;
            } else {
                high = middle;
            }
        }
        0.5 * (low + high)
    }

    /// Value and derivative in the logit, in nats.
    #[must_use]
    pub fn value_and_slope(self, logit: f64, positive: bool) -> (f64, f64) {
        let plain = |logit: f64| {
            let outcome = f64::from(u8::from(positive));
            (log_loss(logit, positive), sigmoid(logit) - outcome)
        };
        match self {
            Self::Weighted(weights) => {
                let (value, slope) = plain(logit);
                (weights.of(positive) * value, weights.of(positive) * slope)
            }
            Self::LogitAdjusted(weights) => plain(logit - weights.shift()),
            Self::Focal { focusing, share } => {
                // In terms of the logit of what happened; the other class is its mirror image.
                let (sign, alpha) = if positive { (1.0, share) } else { (-1.0, 1.0 - share) };
                let (surprise, right) = (log_loss(logit, positive), sigmoid(sign * logit));
                let wrong = sigmoid(-sign * logit);
                let focus = alpha * wrong.powf(focusing);
                (focus * surprise, -sign * focus * (focusing * right * surprise + wrong))
            }
        }
    }
}
