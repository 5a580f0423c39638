//! What is done about clicks that depend on where an item was shown.
//!
//! A *place* is a slot on a device (slot + slots × device): devices are read differently. Every remedy is a loss of
//! the click logits z of a batch with gradients for z and for the remedy's own values, one per place; each has a file
//! with its formula and source. In all of them s(z) = 1 / (1 + e^-z) is what is served: the probability of a click if
//! examined, or something that sorts like it.

mod adversary;
mod dual;
mod product;
mod propensity;
mod regression_em;
mod tower;

use std::ops::Range;

use headwater_core::{ConfigError, require};
use headwater_evaluation::decision::sigmoid;
use serde::{Deserialize, Serialize};

pub(crate) use adversary::{Adversary, AdversarySaved};
pub use propensity::swap_propensities;
use regression_em::RegressionEm;

use crate::error::RecsysError;
use crate::log::Log;
use crate::ranker::heads::log_loss;

/// A remedy for position bias, unchecked. All act on the click head alone: what is learnt from clicked rows only is
/// not exposed to it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum PositionConfig {
    /// None: clicks are taken for relevance.
    #[default]
    None,
    /// A shallow tower (Zhao et al. 2019): in training a bias of the place is added to the click logit; served is the
    /// logit without it.
    Tower {
        /// Probability with which training takes a row's place for missing, in [0, 1).
        #[serde(default = "tenth")]
        dropout: f64,
        /// Whether every device has a bias of its own for each slot, as in the paper; else all share one curve.
        #[serde(default = "yes")]
        crossed: bool,
    },
    /// The place as one more feature of the network, one-hot; all zeros when missing.
    Feature {
        /// Probability with which training takes a row's place for missing, in [0, 1). At 0 a missing place is
        /// something the network has never seen.
        #[serde(default = "tenth")]
        dropout: f64,
        /// What is served.
        serving: ServingPosition,
    },
    /// A linear head tells the slot from the hidden layer, which learns to keep it from doing so: the gradient it sends
    /// back is multiplied by -λ (Ganin et al. 2016; compared in Zhao et al. 2019).
    Adversarial {
        /// In [0, 1e6]: it multiplies gradients in single precision.
        lambda: f64,
    },
    /// PAL (Guo et al. 2019): P(click) = P(seen | place) P(click | seen), one loss on the product, served is the second
    /// factor. The scale of the two is not identified; P(seen) of each device's first slot is held at 1.
    Product,
    /// Inverse propensity scoring of the log-loss (Joachims et al. 2017, pointwise): the label c becomes c/θ.
    InversePropensity {
        /// Where θ comes from.
        propensities: Propensities,
        /// Least θ that is divided by, in (0, 1]: clipping trades bias for variance.
        #[serde(default = "tenth")]
        least: f64,
    },
    /// Dual learning (DLA, Ai et al. 2018): list-wise softmax losses of relevance and of propensity, each weighted by
    /// the other. It learns an order; its logits are not calibrated.
    DualLearning {
        /// Largest weight, at least 1. The original has no bound.
        #[serde(default = "hundred")]
        most_weight: f64,
    },
    /// Regression-EM (Wang et al. 2018): examination and relevance are latent; θ is the mean posterior of the one,
    /// the network is fitted to the posterior of the other.
    RegressionEm {
        /// Step size of θ from batch to batch, in (0, 1] (an online EM, Cappé & Moulines 2009).
        #[serde(default = "twentieth")]
        rate: f64,
    },
}

fn tenth() -> f64 {
    0.1
}

fn yes() -> bool {
    true
}

fn twentieth() -> f64 {
    0.05
}

fn hundred() -> f64 {
    100.0
}

/// What stands for the place where the network asks for one and there is none yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServingPosition {
    /// The device's first slot.
    First,
    /// The device's last slot.
    Last,
    /// None.
    Missing,
}

/// Where examination probabilities come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Propensities {
    /// The log's true ones.
    Known,
    /// [`swap_propensities`] of the log that is trained on.
    Estimated,
}

impl PositionConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        const NAME: &str = "PositionConfig";
        match *self {
            Self::None | Self::Product => Ok(()),
            Self::Tower { dropout, .. } | Self::Feature { dropout, .. } => {
                let holds = (0.0..1.0).contains(&dropout);
                require(holds, NAME, "dropout", dropout, "a number in [0, 1)")
            }
            Self::Adversarial { lambda } => {
                let holds = (0.0..=1e6).contains(&lambda);
                require(holds, NAME, "lambda", lambda, "a number in [0, 1e6]")
            }
            Self::InversePropensity { least, .. } => {
                require(least > 0.0 && least <= 1.0, NAME, "least", least, "a number in (0, 1]")
            }
            Self::DualLearning { most_weight } => {
                let holds = most_weight.is_finite() && most_weight >= 1.0;
                let allowed = "a finite number of at least 1";
                require(holds, NAME, "most_weight", most_weight, allowed)
            }
            Self::RegressionEm { rate } => {
                require(rate > 0.0 && rate <= 1.0, NAME, "rate", rate, "a number in (0, 1]")
            }
        }
    }

    /// Probability with which training takes a place for missing.
    pub(crate) fn dropout(&self) -> f64 {
        match *self {
            Self::Tower { dropout, .. } | Self::Feature { dropout, .. } => dropout,
            _ => 0.0,
        }
    }
}

/// The impressions of a batch as a click loss sees them, one entry per row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    /// 0 or 1.
    pub(crate) clicks: &'a [f32],
    /// True probability of examination.
    pub(crate) examinations: &'a [f32],
    pub(crate) places: &'a [usize],
    /// Whether the place is to be taken for missing.
    pub(crate) missing: &'a [bool],
    /// Rows of each list, from the top.
    pub(crate) lists: &'a [Range<usize>],
    /// Slots of a device.
    pub(crate) slots: usize,
}

/// Gradients that a click loss writes; those of the values are zeros before.
#[derive(Debug)]
pub(crate) struct ClickGradients<'a> {
    /// One per row.
    pub(crate) logits: &'a mut [f32],
    /// One per place.
    pub(crate) values: &'a mut [f32],
}

/// A remedy at work.
#[derive(Debug, Clone)]
pub(crate) enum ClickLoss {
    /// Clicks as they are: no remedy, or one that is not in the loss.
    Direct,
    Tower {
        crossed: bool,
    },
    Product,
    /// By the log's propensities.
    Known {
        least: f64,
    },
    /// By estimated ones, one per place.
    Estimated {
        least: f64,
        theta: Vec<f64>,
    },
    Dual {
        most_weight: f64,
    },
    Em(RegressionEm),
}

impl ClickLoss {
    pub(crate) fn new(config: &PositionConfig, places: usize, slots: usize) -> Self {
        match *config {
            PositionConfig::None
            | PositionConfig::Feature { .. }
            | PositionConfig::Adversarial { .. } => Self::Direct,
            PositionConfig::Tower { crossed, .. } => Self::Tower { crossed },
            PositionConfig::Product => Self::Product,
            PositionConfig::InversePropensity { propensities, least } => match propensities {
                Propensities::Known => Self::Known { least },
                Propensities::Estimated => Self::Estimated { least, theta: vec![1.0; places] },
            },
            PositionConfig::DualLearning { most_weight } => Self::Dual { most_weight },
            PositionConfig::RegressionEm { rate } => {
                Self::Em(RegressionEm::new(places, slots, rate))
            }
        }
    }

    /// Whether there is a value for each place that is trained by gradients.
    pub(crate) fn has_values(&self) -> bool {
        matches!(self, Self::Tower { .. } | Self::Product | Self::Dual { .. })
    }

    /// What is to be known of a log before training on it. `place` is that of a slot and a device.
    pub(crate) fn prepare(
        &mut self,
        log: &Log,
        place: impl Fn(u8, u8) -> usize,
    ) -> Result<(), RecsysError> {
        if let Self::Estimated { theta, .. } = self {
            let device = |session: u32| log.devices()[session as usize];
            let rows = log.slots().iter().zip(log.sessions());
            let shown_at: Vec<usize> =
                rows.map(|(&slot, &session)| place(slot, device(session))).collect();
            *theta = swap_propensities(log.items(), &shown_at, log.clicks(), theta.len())?;
        }
        Ok(())
    }

    /// The loss of a batch; writes its gradients.
    pub(crate) fn loss(
        &mut self,
        shown: &Shown<'_>,
        logits: &[f32],
        values: &[f32],
        gradients: &mut ClickGradients<'_>,
    ) -> f64 {
        let clicks = shown.clicks.iter().map(|&click| f64::from(click));
        match self {
            Self::Direct => labelled(clicks, logits, gradients.logits),
            Self::Tower { crossed } => tower::loss(shown, logits, values, *crossed, gradients),
            Self::Product => product::loss(shown, logits, values, gradients),
            Self::Known { least } => {
                let theta = shown.examinations.iter().map(|&theta| f64::from(theta).max(*least));
                let labels = clicks.zip(theta).map(|(click, theta)| click / theta);
                labelled(labels, logits, gradients.logits)
            }
            Self::Estimated { least, theta } => {
                let theta = shown.places.iter().map(|&place| theta[place].max(*least));
                let labels = clicks.zip(theta).map(|(click, theta)| click / theta);
                labelled(labels, logits, gradients.logits)
            }
            Self::Dual { most_weight } => {
                dual::loss(shown, logits, values, *most_weight, gradients)
            }
            Self::Em(em) => em.loss(shown, logits, gradients.logits),
        }
    }

    /// Probability of a click at a place with a true probability of examination, under what was learnt of places.
    pub(crate) fn probability(
        &self,
        z: f64,
        place: usize,
        examination: f64,
        values: &[f32],
        slots: usize,
    ) -> f64 {
        match self {
            Self::Direct | Self::Dual { .. } => sigmoid(z),
            Self::Tower { crossed } => sigmoid(z + tower::bias(values, place, slots, *crossed)),
            Self::Product => product::seen(values, place, slots) * sigmoid(z),
            Self::Known { .. } => examination * sigmoid(z),
            Self::Estimated { theta, .. } => theta[place] * sigmoid(z),
            Self::Em(em) => em.theta()[place] * sigmoid(z),
        }
    }

    /// What was learnt of each place, as log θ or as what is added to the logit; the level means nothing.
    pub(crate) fn log_theta(&self, values: &[f32], slots: usize) -> Option<Vec<f64>> {
        let logarithms = |theta: &[f64]| theta.iter().map(|theta| theta.ln()).collect();
        match self {
            Self::Direct | Self::Known { .. } => None,
            Self::Tower { crossed } => {
                let places = 0..values.len();
                Some(places.map(|place| tower::bias(values, place, slots, *crossed)).collect())
            }
            Self::Dual { .. } => Some(values.iter().map(|&value| f64::from(value)).collect()),
            Self::Product => {
                let places = 0..values.len();
                Some(places.map(|place| product::seen(values, place, slots).ln()).collect())
            }
            Self::Estimated { theta, .. } => Some(logarithms(theta)),
            Self::Em(em) => Some(logarithms(em.theta())),
        }
    }
}

/// Mean log-loss of labels; writes its slopes.
fn labelled(labels: impl Iterator<Item = f64>, logits: &[f32], gradient: &mut [f32]) -> f64 {
    let share = 1.0 / logits.len() as f64;
    let rows = labels.zip(logits).zip(gradient);
    rows.map(|((label, &z), gradient)| {
        let (loss, slope) = log_loss(label, f64::from(z));
        *gradient = (share * slope) as f32;
        share * loss
    })
    .sum()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use approx::assert_relative_eq;

    /// Two lists of three slots, on devices 0 and 1; the second row's place is dropped.
    pub(crate) fn shown(clicks: &[f32]) -> Shown<'_> {
        Shown {
            clicks,
            examinations: &[1.0, 0.5, 0.25, 1.0, 0.5, 0.05],
            places: &[0, 1, 2, 3, 4, 5],
            missing: &[false, true, false, false, false, false],
            lists: &[0..3, 3..6],
            slots: 3,
        }
    }
    pub(crate) const CLICKS: [f32; 6] = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0];
    pub(crate) const LOGITS: [f32; 6] = [0.5, -1.25, 0.75, -2.0, 1.5, -0.5];
    pub(crate) const VALUES: [f32; 6] = [0.25, -0.5, -1.5, 0.5, -0.75, -2.0];

    /// Loss and gradients of logits and values.
    pub(crate) fn run(
        loss: &mut ClickLoss,
        logits: &[f32],
        values: &[f32],
    ) -> (f64, [Vec<f32>; 2]) {
        let (mut dlogits, mut dvalues) = (vec![0.0; 6], vec![0.0; 6]);
        let mut gradients = ClickGradients { logits: &mut dlogits, values: &mut dvalues };
        let value = loss.loss(&shown(&CLICKS), logits, values, &mut gradients);
        (value, [dlogits, dvalues])
    }

    /// Holds both gradients against central differences of the loss.
    pub(crate) fn check_gradients(loss: &ClickLoss) {
        const STEP: f32 = 1.0 / 512.0;
        let (_, [dlogits, dvalues]) = run(&mut loss.clone(), &LOGITS, &VALUES);
        for at in 0..6 {
            let moved = |step: f32, which: usize| {
                let mut inputs = [LOGITS, VALUES];
                inputs[which][at] += step;
                run(&mut loss.clone(), &inputs[0], &inputs[1]).0
            };
            for (which, gradient) in [(0, dlogits[at]), (1, dvalues[at])] {
                let difference = (moved(STEP, which) - moved(-STEP, which)) / f64::from(2.0 * STEP);
                assert_relative_eq!(f64::from(gradient), difference, epsilon = 2e-6);
            }
        }
    }

    #[test]
    fn clicks_as_they_are_and_over_propensities() {
        let entropy = |labels: [f64; 6]| {
            let rows = labels.iter().zip(LOGITS).map(|(label, z)| {
                let p = sigmoid(f64::from(z));
                -label * p.ln() - (1.0 - label) * (1.0 - p).ln()
            });
            rows.sum::<f64>() / 6.0
        };
        let mut direct = ClickLoss::Direct;
        let naive = run(&mut direct, &LOGITS, &VALUES).0;
        assert_relative_eq!(naive, entropy(CLICKS.map(f64::from)), max_relative = 1e-9);
        // The last θ, 0.05, is clipped at 0.2.
        let mut known = ClickLoss::Known { least: 0.2 };
        let by_hand = entropy([1.0, 2.0, 0.0, 0.0, 2.0, 5.0]);
        assert_relative_eq!(run(&mut known, &LOGITS, &VALUES).0, by_hand, max_relative = 1e-9);
        let theta = vec![1.0, 0.5, 0.9, 0.9, 0.5, 0.01];
        let mut estimated = ClickLoss::Estimated { least: 0.2, theta };
        assert_relative_eq!(run(&mut estimated, &LOGITS, &VALUES).0, by_hand, max_relative = 1e-9);
        for loss in [direct, known, estimated] {
            check_gradients(&loss);
        }
    }

    #[test]
    fn a_config_is_read_with_its_defaults_and_refused_by_name() {
        let read = |text: &str| toml::from_str::<PositionConfig>(text).unwrap();
        let tower = PositionConfig::Tower { dropout: 0.1, crossed: true };
        assert_eq!(read("kind = \"tower\""), tower);
        let serving = ServingPosition::Missing;
        let feature = PositionConfig::Feature { dropout: 0.0, serving };
        assert_eq!(read("kind = \"feature\"\ndropout = 0\nserving = \"missing\""), feature);
        let least = 0.1;
        let propensities = Propensities::Estimated;
        let ips = PositionConfig::InversePropensity { propensities, least };
        assert_eq!(read("kind = \"inverse-propensity\"\npropensities = \"estimated\""), ips);
        assert!(toml::from_str::<PositionConfig>("kind = \"tower\"\nlambda = 1").is_err());
        for (config, field) in [
            (PositionConfig::Tower { dropout: 1.0, crossed: true }, "dropout"),
            (PositionConfig::Adversarial { lambda: -1.0 }, "lambda"),
            (PositionConfig::Adversarial { lambda: 1e300 }, "lambda"),
            (PositionConfig::InversePropensity { propensities, least: 0.0 }, "least"),
            (PositionConfig::DualLearning { most_weight: 0.5 }, "most_weight"),
            (PositionConfig::RegressionEm { rate: f64::NAN }, "rate"),
        ] {
            assert!(config.check().unwrap_err().to_string().contains(field));
        }
    }
}
