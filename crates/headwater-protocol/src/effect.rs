//! The one place where a number over seeds gets its interval and its p value: Student's t.
//!
//! Differences between arms are taken seed by seed before they come here, so this is the paired t
//! test.

use headwater_evaluation::intervals::t_interval;
use headwater_evaluation::significance::t_test;
use serde::{Deserialize, Serialize};

use crate::ProtocolError;

/// A mean over seeds with its 95% t interval and the two-sided p value of the t test against 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Mean over seeds; `None` without any seed.
    pub estimate: Option<f64>,
    /// Lower and upper end of the 95% interval; `None` with fewer than two seeds.
    pub interval: Option<(f64, f64)>,
    /// Two-sided p value against 0; `None` with fewer than two seeds, and where all of them agree.
    pub p: Option<f64>,
    /// Number of seeds.
    pub n: usize,
}

/// Spread, relative to the size of the values, below which they count as equal. A difference of two
/// numbers inherits their rounding, so it may be off by far more units in its own last place than
/// they are; what a run measures (shares of samples, single-precision losses) varies by 1e-7 or
/// more if it varies.
pub(crate) const ROUNDING: f64 = 1e-12;

/// The one value that all of `values` are up to rounding; `None` if they vary or there are none.
///
/// `unit` is a size that matters in the unit of the values, or 0: next to it what is only rounding
/// is 0.
pub(crate) fn common_value(values: &[f64], unit: f64) -> Option<f64> {
    let (&first, size) = (values.first()?, values.iter().fold(unit, |size, v| size.max(v.abs())));
    let low = values.iter().copied().fold(first, f64::min);
    let high = values.iter().copied().fold(first, f64::max);
    if high - low > ROUNDING * size {
        return None;
    }
    let is_rounding = low.abs().max(high.abs()) <= ROUNDING * unit;
    Some(if is_rounding { 0.0 } else { first })
}

impl Effect {
    /// The effect of one value per seed.
    ///
    /// With two or more values that are equal up to rounding the interval is that one value, and
    /// there is no p value: nothing varied, so there is nothing to test against.
    ///
    /// # Errors
    /// When a value is not finite.
    pub fn over_seeds(values: &[f64]) -> Result<Self, ProtocolError> {
        let n = values.len();
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let metric = format!("value {at} of {n}");
            return Err(ProtocolError::NotFinite { metric, value: values[at] });
        }
        if n < 2 {
            return Ok(Self { estimate: values.first().copied(), interval: None, p: None, n });
        }
        if let Some(value) = common_value(values, 0.0) {
            return Ok(Self { estimate: Some(value), interval: Some((value, value)), p: None, n });
        }
        let interval = t_interval(values, 0.95)?;
        Ok(Self {
            estimate: Some(interval.estimate),
            interval: Some((interval.low, interval.high)),
            p: Some(t_test(values, 0.0)?),
            n,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * (1.0 + b.abs())
    }

    #[test]
    fn interval_and_p_value_agree_with_scipy() {
        // scipy 1.17.1: ttest_1samp(x, 0); t.interval(0.95, n - 1, mean, sem(x)).
        for (values, low, high, p) in GOLDEN {
            let effect = Effect::over_seeds(values).unwrap();
            let (found_low, found_high) = effect.interval.unwrap();
            assert!(close(found_low, *low) && close(found_high, *high), "{effect:?}");
            assert!(close(effect.p.unwrap(), *p), "{effect:?}");
        }
    }

    #[test]
    fn few_or_equal_values_are_handled_as_documented() {
        let effect = |values: &[f64]| Effect::over_seeds(values).unwrap();
        assert_eq!(effect(&[]).estimate, None);
        assert_eq!((effect(&[2.0]).estimate, effect(&[2.0]).interval), (Some(2.0), None));
        let equal = effect(&[0.25; 3]);
        assert_eq!((equal.interval, equal.p), (Some((0.25, 0.25)), None));
        assert!(Effect::over_seeds(&[1.0, f64::NAN]).is_err());
    }

    #[test]
    fn values_that_differ_by_rounding_are_one_value() {
        // The same difference, 0.1, between numbers of other sizes.
        let differences = [0.9 - 0.8, 0.3 - 0.2, 0.1, 1.1 - 1.0];
        assert!(differences.iter().any(|d| *d != differences[0]), "{differences:?}");
        let effect = Effect::over_seeds(&differences).unwrap();
        assert_eq!(effect.interval, Some((differences[0], differences[0])));
        assert_eq!((effect.estimate, effect.p), (Some(differences[0]), None));
        // The mean of three times 0.1 is not 0.1; the value they share is.
        assert_eq!(Effect::over_seeds(&[0.1; 3]).unwrap().estimate, Some(0.1));

        let dust = [0.3 - (0.1 + 0.2), 0.0, (0.1 + 0.2) - 0.3];
        assert_eq!(common_value(&dust, 0.0), None, "without a unit nothing is small");
        assert_eq!(common_value(&dust, 0.01), Some(0.0));
        assert_eq!(common_value(&[0.1, 0.1 + 1e-9], 0.01), None, "a small variation is one");
        assert_eq!(common_value(&[], 1.0), None);
    }

    #[allow(clippy::type_complexity, reason = "a table: values, low, high, p")]
    const GOLDEN: &[(&[f64], f64, f64, f64)] = &[
        (
            &[0.1, 0.2, 0.35, 0.15, 0.25],
            0.09058058059500101,
            0.329419419404999,
            0.008146502916276832,
        ),
        (&[1.0, -1.0], -12.706204736174694, 12.706204736174694, 1.0),
        (
            &[0.02, -0.01, 0.03, 0.0, 0.01, -0.02, 0.04],
            -0.009978951602914078,
            0.029978951602914077,
            0.26656970338006897,
        ),
    ];
}
