//! How gold reward bends down as a proxy is optimised: Gao et al.'s two forms, fitted by least
//! squares.
//!
//! d = √KL(policy ‖ initial policy), nats under the root; R = gold reward, **recentred so that R(0)
//! = 0**. Source: Gao, Schulman and Hilton (2022), arXiv 2210.10760. KL spent by
//! best-of-n and by reinforcement learning buys different amounts of reward: do not put both on one
//! curve.

use std::collections::BTreeSet;

use headwater_core::StreamRng;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::error::{EvaluationError, all_finite, at_least, every, in_range, same_length};
use crate::intervals::{Bootstrap, Interval};

/// Which of the two functional forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// R = d (α - β d), for best-of-n.
    BestOfN,
    /// R = d (α - β ln d), for reinforcement learning. Its slope is infinite at 0, so points near
    /// the origin must be left out of the fit; d = 0 is an error.
    Reinforcement,
}

/// One run's gold reward along its optimisation (one seed, one reward model).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    /// d at each point, at least 0.
    pub distance: Vec<f64>,
    /// Recentred gold reward at each point.
    pub reward: Vec<f64>,
}

/// A fitted form.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Which form.
    pub form: Form,
    /// α: initial gain per unit of d.
    pub alpha: f64,
    /// β: over-optimisation; above 0 where the curve bends down.
    pub beta: f64,
    /// Root mean squared residual, in units of reward.
    pub residual: f64,
}

/// Where a fitted curve stops rising.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// d at the peak.
    pub distance: f64,
    /// R at the peak.
    pub height: f64,
}

impl Fit {
    /// R at distance d (0 at d = 0).
    #[must_use]
    pub fn reward(&self, distance: f64) -> f64 {
        if distance == 0.0 {
            return 0.0;
        }
        let bend = match self.form {
            Form::BestOfN => distance,
            Form::Reinforcement => distance.ln(),
        };
        distance * (self.alpha - self.beta * bend)
    }

    /// The peak: d* = α/2β, R* = α²/4β for best-of-n; d* = exp(α/β - 1), R* = β d* for
    /// reinforcement learning.
    ///
    /// `None` where the fitted curve has none: β ≤ 0, for best-of-n also α ≤ 0, or a d* too large
    /// for a number. Extrapolated if d* lies beyond the last point.
    #[must_use]
    pub fn peak(&self) -> Option<Peak> {
        let (alpha, beta) = (self.alpha, self.beta);
        if beta <= 0.0 || (self.form == Form::BestOfN && alpha <= 0.0) {
            return None;
        }
        let distance = match self.form {
            Form::BestOfN => alpha / (2.0 * beta),
            Form::Reinforcement => (alpha / beta - 1.0).exp(),
        };
        let height = self.reward(distance);
        (distance.is_finite() && height.is_finite()).then_some(Peak { distance, height })
    }
}

/// Least squares fit of one form to all points of all curves, each point weighted alike.
///
/// # Errors
/// No curve, lengths that differ, NaN or infinity, a negative distance (or 0 for
/// [`Form::Reinforcement`]), fewer than two distinct distances above 0, or distances or rewards so
/// far out or so close together that the sums of the fit leave the range of numbers.
pub fn fit(form: Form, curves: &[Curve]) -> Result<Fit, EvaluationError> {
    check(form, curves)?;
    least_squares(form, &curves.iter().collect::<Vec<_>>())
}

/// A fit with bootstrap intervals over curves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FitIntervals {
    /// The fit to all curves.
    pub fit: Fit,
    /// α.
    pub alpha: Interval,
    /// β; over-optimisation is shown where the interval lies above 0.
    pub beta: Interval,
    /// d at the peak. `None` if the fit has no peak, or so many resamples have none that the upper
    /// end would be infinite.
    pub peak_distance: Option<Interval>,
    /// R at the peak, under the same condition.
    pub peak_height: Option<Interval>,
}

/// [`fit`], with percentile intervals from resampling whole curves (points of one run share its
/// luck).
///
/// With fewer than about 10 curves the intervals cover less than they state, as any percentile
/// bootstrap does. A resample without a peak counts as a peak at infinity.
///
/// # Errors
/// As [`fit`]; fewer than two curves; or a resample that cannot be fitted.
pub fn fit_with_intervals(
    form: Form,
    curves: &[Curve],
    bootstrap: &Bootstrap,
    rng: &mut StreamRng,
) -> Result<FitIntervals, EvaluationError> {
    at_least("curves", curves.len(), 2)?;
    let fit = fit(form, curves)?;
    let resamples = (0..bootstrap.config().resamples)
        .map(|_| {
            let drawn: Vec<&Curve> =
                (0..curves.len()).map(|_| &curves[rng.random_range(0..curves.len())]).collect();
            least_squares(form, &drawn)
        })
        .collect::<Result<Vec<Fit>, _>>()?;
    let interval = |estimate: f64, of: &dyn Fn(&Fit) -> f64| {
        let (low, high) = bootstrap.ends(resamples.iter().map(of).collect());
        Interval { estimate, low, high, level: bootstrap.config().level, n: curves.len() }
    };
    let of_peak = |coordinate: fn(Peak) -> f64| {
        let found = interval(coordinate(fit.peak()?), &|resample| {
            resample.peak().map_or(f64::INFINITY, coordinate)
        });
        found.high.is_finite().then_some(found)
    };
    Ok(FitIntervals {
        fit,
        alpha: interval(fit.alpha, &|resample| resample.alpha),
        beta: interval(fit.beta, &|resample| resample.beta),
        peak_distance: of_peak(|peak| peak.distance),
        peak_height: of_peak(|peak| peak.height),
    })
}

fn check(form: Form, curves: &[Curve]) -> Result<(), EvaluationError> {
    at_least("curves", curves.len(), 1)?;
    for (index, curve) in curves.iter().enumerate() {
        check_curve(form, curve).map_err(|error| error.of_item("curves", index))?;
    }
    Ok(())
}

fn check_curve(form: Form, curve: &Curve) -> Result<(), EvaluationError> {
    same_length("distance", curve.distance.len(), "reward", curve.reward.len())?;
    all_finite("reward", &curve.reward)?;
    let (allowed, zero_allowed) = match form {
        Form::BestOfN => ("a finite number of at least 0", true),
        Form::Reinforcement => ("a finite number above 0", false),
    };
    every("distance", &curve.distance, allowed, |d| {
        d.is_finite() && (d > 0.0 || (zero_allowed && d == 0.0))
    })
}

/// The bend is the slope's if less than this share of its square is left without it.
const DEPENDENT: f64 = 1e-20;

/// R = α d + β b with b = -d² or -d ln d, by orthogonalising b against d.
fn least_squares(form: Form, curves: &[&Curve]) -> Result<Fit, EvaluationError> {
    let points: Vec<(f64, f64, f64)> = curves
        .iter()
        .flat_map(|curve| curve.distance.iter().zip(&curve.reward))
        .map(|(&d, &r)| match form {
            Form::BestOfN => (d, -d * d, r),
            Form::Reinforcement => (d, -d * d.ln(), r),
        })
        .collect();
    let distinct: BTreeSet<u64> =
        points.iter().filter(|point| point.0 > 0.0).map(|point| point.0.to_bits()).collect();
    let singular = EvaluationError::Singular { points: points.len(), distinct: distinct.len() };
    if distinct.len() < 2 {
        return Err(singular);
    }
    let sum = |term: &dyn Fn(&(f64, f64, f64)) -> f64| points.iter().map(term).sum::<f64>();
    let square = sum(&|&(d, _, _)| d * d);
    let overlap = sum(&|&(d, b, _)| d * b) / square;
    let left = sum(&|&(d, b, _)| (b - overlap * d).powi(2));
    // Distances that differ by rounding leave nothing of the bend but rounding.
    if left <= DEPENDENT * sum(&|&(_, b, _)| b * b) {
        return Err(singular);
    }
    let beta = sum(&|&(d, b, r)| (b - overlap * d) * r) / left;
    let alpha = sum(&|&(d, _, r)| d * r) / square - beta * overlap;
    let squares = sum(&|&(d, b, r)| (r - alpha * d - beta * b).powi(2));
    let residual = (squares / points.len() as f64).sqrt();
    // Any of the sums that overflowed or vanished shows in one of the three.
    for (what, value) in [("alpha", alpha), ("beta", beta), ("residual", residual)] {
        in_range(what, "curves", value)?;
    }
    Ok(Fit { form, alpha, beta, residual })
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;
    use headwater_core::Streams;
    use proptest::prelude::*;
    use rand_distr::{Distribution, Normal};

    const FORMS: [Form; 2] = [Form::BestOfN, Form::Reinforcement];

    fn curve(truth: Fit, noise: f64, shift: f64, seed: u64) -> Curve {
        let mut rng = Streams::new(seed).stream("curve", &[]);
        let normal = Normal::new(0.0, noise).unwrap();
        let distance: Vec<f64> = (1..=12).map(|i| 0.25 * f64::from(i)).collect();
        let tilt = shift * normal.sample(&mut rng);
        let reward = distance
            .iter()
            .map(|&d| truth.reward(d) + tilt * d + normal.sample(&mut rng))
            .collect();
        Curve { distance, reward }
    }

    #[test]
    fn least_squares_golden_values() {
        // numpy 2.4.6: linalg.lstsq of r on the columns d and -d² (or -d ln d).
        let data = Curve {
            distance: vec![0.5, 1.0, 1.5, 2.0, 3.0],
            reward: vec![0.40, 0.71, 0.86, 0.90, 0.62],
        };
        for (form, alpha, beta, residual) in GOLDEN {
            let found = fit(form, std::slice::from_ref(&data)).unwrap();
            assert_relative_eq!(found.alpha, alpha, max_relative = 1e-10);
            assert_relative_eq!(found.beta, beta, max_relative = 1e-10);
            assert_relative_eq!(found.residual, residual, max_relative = 1e-9);
        }
    }
    const GOLDEN: [(Form, f64, f64, f64); 2] = [
        (
            Form::BestOfN,
            0.943_122_512_162_760_6,
            0.245_608_137_992_039_1,
            0.007_471_603_325_812_489,
        ),
        (
            Form::Reinforcement,
            0.722_679_481_699_409_1,
            0.452_583_185_921_732_36,
            0.073_033_826_643_248,
        ),
    ];

    #[test]
    fn a_curve_that_never_turns_has_no_peak() {
        let rising = Fit { form: Form::BestOfN, alpha: 1.0, beta: -0.1, residual: 0.0 };
        assert_eq!(rising.peak(), None);
        assert_eq!(Fit { form: Form::Reinforcement, ..rising }.peak(), None);
        assert_eq!(Fit { alpha: -1.0, beta: 0.1, ..rising }.peak(), None);
    }

    #[test]
    fn unfit_data_are_errors() {
        let points = |d: &[f64], r: &[f64]| [Curve { distance: d.to_vec(), reward: r.to_vec() }];
        let fit_to = |form, d: &[f64], r: &[f64]| fit(form, &points(d, r));
        assert!(fit_to(Form::BestOfN, &[0.0, 1.0], &[0.0, 1.0]).is_err());
        assert!(fit_to(Form::BestOfN, &[1.0, 1.0], &[0.0, 1.0]).is_err());
        assert!(fit_to(Form::BestOfN, &[-1.0, 1.0], &[0.0, 1.0]).is_err());
        assert!(fit_to(Form::BestOfN, &[0.0, 1.0, 2.0], &[0.0, 1.0, 2.0]).is_ok());
        let error = fit_to(Form::Reinforcement, &[0.0, 1.0, 2.0], &[0.0, 1.0, 2.0]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`curves[0]`: `distance[0]` = 0: allowed is a finite number above 0"
        );
        for form in FORMS {
            let error = fit_to(form, &[2.0, 2.0 + 1e-15], &[1.0, 0.9]).unwrap_err();
            assert!(matches!(error, EvaluationError::Singular { .. }), "{error}");
        }
        assert!(fit_to(Form::BestOfN, &[2.0, 2.0 + 1e-8], &[1.0, 0.9]).is_ok());
        assert!(fit_to(Form::BestOfN, &[1.0, 2.0], &[0.0, f64::NAN]).is_err());
        assert!(fit_to(Form::BestOfN, &[1.0, 2.0], &[0.0]).is_err());
        let error = fit_to(Form::BestOfN, &[1e200, 2e200], &[0.0, 1.0]).unwrap_err();
        assert!(matches!(error, EvaluationError::OutOfRange { argument: "curves", .. }), "{error}");
        assert!(fit_to(Form::BestOfN, &[1.0, 2.0], &[1.7e308, 1.7e308]).is_err());
    }

    #[test]
    fn intervals_cover_the_truth_and_treat_missing_peaks_as_infinite() {
        let bootstrap = Bootstrap::default();
        let truth = Fit { form: Form::BestOfN, alpha: 1.0, beta: 0.25, residual: 0.0 };
        let mut covered = [0u32; 4];
        let trials = 200;
        for trial in 0..trials {
            let curves: Vec<Curve> =
                (0..20).map(|seed| curve(truth, 0.05, 1.0, 1000 * trial + seed)).collect();
            let mut rng = Streams::new(trial).stream("bootstrap", &[]);
            let found = fit_with_intervals(truth.form, &curves, &bootstrap, &mut rng).unwrap();
            let peak = truth.peak().unwrap();
            let (distance, height) = (found.peak_distance.unwrap(), found.peak_height.unwrap());
            let held = [
                found.alpha.contains(truth.alpha),
                found.beta.contains(truth.beta),
                distance.contains(peak.distance),
                height.contains(peak.height),
            ];
            for (count, held) in covered.iter_mut().zip(held) {
                *count += u32::from(held);
            }
        }
        // Percentile intervals of 20 curves: about 0.93 (t quantile against normal: 2 Φ-tail
        // 0.064); three binomial standard errors of 200 trials are 0.05.
        for count in covered {
            let rate = f64::from(count) / trials as f64;
            assert!((0.88..=0.985).contains(&rate), "{covered:?}");
        }
    }

    #[test]
    fn resamples_without_a_peak_count_as_a_peak_at_infinity() {
        // Four runs bend down, four bend up by slightly less: the fit to all has a peak, but hardly
        // more than half of the resamples do.
        let curves: Vec<Curve> = [0.05, -0.04]
            .repeat(4)
            .into_iter()
            .map(|beta| Fit { form: Form::BestOfN, alpha: 1.0, beta, residual: 0.0 })
            .map(|truth| curve(truth, 0.0, 0.0, 0))
            .collect();
        let mut rng = Streams::new(5).stream("bootstrap", &[]);
        let found =
            fit_with_intervals(Form::BestOfN, &curves, &Bootstrap::default(), &mut rng).unwrap();
        assert!(found.fit.peak().is_some() && found.beta.contains(0.0));
        assert_eq!((found.peak_distance, found.peak_height), (None, None));
    }

    proptest! {
        #[test]
        fn noiseless_curves_are_recovered_with_their_peak(
            alpha in 0.1f64..3.0, beta in 0.05f64..2.0,
        ) {
            for form in FORMS {
                let truth = Fit { form, alpha, beta, residual: 0.0 };
                let found = fit(form, &[curve(truth, 0.0, 0.0, 0)]).unwrap();
                prop_assert!((found.alpha - alpha).abs() < 1e-9);
                prop_assert!((found.beta - beta).abs() < 1e-9);
                prop_assert!(found.residual < 1e-9);
                // The closed form of the height, and that the curve falls on both sides of the
                // peak.
                let peak = truth.peak().unwrap();
                let height = match form {
                    Form::BestOfN => alpha * alpha / (4.0 * beta),
                    Form::Reinforcement => beta * peak.distance,
                };
                prop_assert!((peak.height / height - 1.0).abs() < 1e-9);
                for side in [0.9, 1.1] {
                    prop_assert!(truth.reward(side * peak.distance) < peak.height);
                }
            }
        }
    }
}
