//! The estimators, each a sum over decisions.

use headwater_core::StreamRng;
use headwater_evaluation::intervals::Bootstrap;
use headwater_evaluation::{EvaluationError, Interval};
use serde::{Deserialize, Serialize};

use crate::error::RecsysError;
use crate::off_policy::LoggedBandit;

/// An estimator of the target policy's mean reward; D is the mean over decisions.
///
/// In words: importance weighting is unbiased and varies, the direct method is as good as its model, the doubly
/// robust ones are unbiased if either propensities or model are right and trade between the two.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum OffPolicyEstimator {
    /// Inverse propensity scoring: `D[w r]` (Horvitz and Thompson 1952).
    Ips,
    /// IPS with weights of at most `most`: `D[min(w, most) r]` (Ionides 2008).
    ClippedIps {
        /// At least 0.
        most: f64,
    },
    /// Self-normalised: `D[w r]/D[w]` (Swaminathan and Joachims 2015). A factor common to all propensities drops out.
    Snips,
    /// Direct method: `D[Σ_a π_e q̂]`.
    Dm,
    /// Doubly robust: `D[Σ_a π_e q̂ + w (r - q̂)]` (Dudík et al. 2014).
    Dr,
    /// Self-normalised doubly robust: `D[Σ_a π_e q̂] + D[w (r - q̂)]/D[w]`.
    Sndr,
    /// Switch-DR: as DR where w is at most `most`, as DM elsewhere (Wang, Agarwal and Dudík 2017; the doubly robust
    /// variant). At 0 it is DM, at infinity DR.
    SwitchDr {
        /// At least 0; infinity is allowed.
        most: f64,
    },
    /// DR with optimistic shrinkage: DR with the weights λ w/(w² + λ) (Su et al. 2020). At 0 it is DM, at infinity DR.
    DrOs {
        /// At least 0; infinity is allowed.
        lambda: f64,
    },
}

/// A sum over the decisions of one unit of resampling.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// What is averaged over decisions.
    plain: f64,
    /// What is divided by `scale`.
    weighted: f64,
    /// Decisions, or for a self-normalised estimator weights.
    scale: f64,
    decisions: f64,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.plain += other.plain;
        self.weighted += other.weighted;
        self.scale += other.scale;
        self.decisions += other.decisions;
    }

    fn value(self) -> f64 {
        self.plain / self.decisions + self.weighted / self.scale
    }
}

impl OffPolicyEstimator {
    /// The name used in errors and tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ips => "IPS",
            Self::ClippedIps { .. } => "clipped IPS",
            Self::Snips => "SNIPS",
            Self::Dm => "DM",
            Self::Dr => "DR",
            Self::Sndr => "SNDR",
            Self::SwitchDr { .. } => "SWITCH-DR",
            Self::DrOs { .. } => "DRos",
        }
    }

    /// Whether it needs [`crate::off_policy::ModelColumns`].
    #[must_use]
    pub fn needs_model(&self) -> bool {
        !matches!(self, Self::Ips | Self::ClippedIps { .. } | Self::Snips)
    }

    /// The estimate.
    ///
    /// # Errors
    /// A missing model, a parameter that is negative or NaN, no overlap for a self-normalised estimator, or sums that
    /// overflow.
    pub fn value(&self, log: &LoggedBandit) -> Result<f64, RecsysError> {
        let total = total(&self.units(log)?);
        let value = total.value();
        if value.is_finite() {
            return Ok(value);
        }
        let (argument, what) = ("weight times reward", "sum");
        Err(EvaluationError::OutOfRange { argument, what, value }.into())
    }

    /// The estimate with a percentile bootstrap interval, over sessions where the log has them.
    ///
    /// # Errors
    /// As [`OffPolicyEstimator::value`]; fewer than two sessions; or [`RecsysError::TooLittleOverlap`], with
    /// the estimate in it, at a resample without overlap, which a self-normalised estimator has no
    /// value for (a sign that the log is worth a dozen decisions or fewer).
    pub fn estimate(
        &self,
        log: &LoggedBandit,
        bootstrap: &Bootstrap,
        rng: &mut StreamRng,
    ) -> Result<Interval, RecsysError> {
        let value = self.value(log)?;
        let units = self.units(log)?;
        let mut without_overlap = false;
        let statistic = |chosen: &[usize]| {
            let mut sums = Sums::default();
            chosen.iter().for_each(|&unit| sums.add(units[unit]));
            without_overlap |= sums.scale <= 0.0;
            Ok(sums.value())
        };
        let interval = bootstrap.percentile(units.len(), statistic, rng);
        if without_overlap {
            let shared = log.weights().iter().filter(|&&w| w > 0.0).count();
            let (estimator, rows) = (self.name(), log.weights().len());
            return Err(RecsysError::TooLittleOverlap { estimator, value, shared, rows });
        }
        Ok(interval?)
    }

    fn units(&self, log: &LoggedBandit) -> Result<Vec<Sums>, RecsysError> {
        let columns = log.columns();
        let model = match (&columns.model, self.needs_model()) {
            (None, true) => return Err(RecsysError::NoModel { estimator: self.name() }),
            (model, needed) => model.as_ref().filter(|_| needed),
        };
        let parameter = match *self {
            Self::ClippedIps { most } | Self::SwitchDr { most } => Some(("most", most)),
            Self::DrOs { lambda } => Some(("lambda", lambda)),
            _ => None,
        };
        if let Some((argument, value)) =
            parameter.filter(|&(_, value)| value.is_nan() || value < 0.0)
        {
            let allowed = "a number of at least 0";
            return Err(EvaluationError::Argument { argument, value, allowed }.into());
        }
        let normalised = matches!(self, Self::Snips | Self::Sndr);
        let mut units = vec![Sums::default(); log.unit_count];
        for (row, (&w, &reward)) in log.weights().iter().zip(&columns.reward).enumerate() {
            let (direct, predicted) =
                model.map_or((0.0, 0.0), |model| (model.target[row], model.logged[row]));
            let weight = self.weight(w);
            units[log.units[row]].add(Sums {
                plain: direct,
                // Of DM nothing is corrected, not even by infinite residuals.
                weighted: if weight == 0.0 { 0.0 } else { weight * (reward - predicted) },
                scale: if normalised { w } else { 1.0 },
                decisions: 1.0,
            });
        }
        if normalised && total(&units).scale == 0.0 {
            let rows = log.weights().len();
            return Err(RecsysError::NoOverlap { estimator: self.name(), rows });
        }
        Ok(units)
    }

    /// What the estimator makes of w.
    fn weight(&self, w: f64) -> f64 {
        match *self {
            Self::Ips | Self::Snips | Self::Dr | Self::Sndr => w,
            Self::ClippedIps { most } => w.min(most),
            Self::Dm => 0.0,
            Self::SwitchDr { most } => {
                if w <= most {
                    w
                } else {
                    0.0
                }
            }
            Self::DrOs { lambda } if lambda == f64::INFINITY => w,
            // λ w/(w² + λ) in a form that no w or λ makes overflow.
            Self::DrOs { lambda } if w > 0.0 => (w.recip() + w / lambda).recip(),
            Self::DrOs { .. } => 0.0,
        }
    }
}

fn total(units: &[Sums]) -> Sums {
    let mut total = Sums::default();
    units.iter().for_each(|&unit| total.add(unit));
    total
}
