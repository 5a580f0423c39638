//! Corrections after training, on scores: they change no model and need no labels but the factor.

use crate::RewardModelError;
use crate::rounding::all_alike;

/// A penalty proportional to the factor: `score - weight * sigma_r * (z - mean z) / sigma_z`, with the standard
/// deviations of scores and factors over the reference it was made from.
///
/// The usual length penalty, in units that do not depend on the model's scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FactorPenalty {
    slope: f64,
    mean: f64,
}

impl FactorPenalty {
    /// A penalty of `weight` standard deviations of the score per standard deviation of the factor.
    ///
    /// # Errors
    /// A weight, score or factor that is not finite, no scores, another number of factors, or a factor that does not vary.
    pub fn new(weight: f64, scores: &[f64], factors: &[f64]) -> Result<Self, RewardModelError> {
        if !weight.is_finite() {
            return Err(RewardModelError::Weight { value: weight });
        }
        let moments = Moments::of(scores, factors)?;
        let slope = weight * (moments.score_square / moments.factor_square).sqrt();
        Self::of_slope(slope, &moments)
    }

    /// What least squares of score on factor removes: after it the two are uncorrelated over the reference
    /// (post-hoc reward calibration, Huang et al. 2024, arXiv 2409.17407, with one global line).
    ///
    /// # Errors
    /// As [`FactorPenalty::new`].
    pub fn regression(scores: &[f64], factors: &[f64]) -> Result<Self, RewardModelError> {
        let moments = Moments::of(scores, factors)?;
        Self::of_slope(moments.product / moments.factor_square, &moments)
    }

    fn of_slope(slope: f64, moments: &Moments) -> Result<Self, RewardModelError> {
        if !slope.is_finite() {
            return Err(RewardModelError::Slope { value: slope });
        }
        Ok(Self { slope, mean: moments.factor_mean })
    }

    /// The corrected score of a response with this factor.
    #[must_use]
    pub fn apply(&self, score: f64, factor: f64) -> f64 {
        score - self.slope * (factor - self.mean)
    }
}

struct Moments {
    factor_mean: f64,
    score_square: f64,
    factor_square: f64,
    product: f64,
}

impl Moments {
    fn of(scores: &[f64], factors: &[f64]) -> Result<Self, RewardModelError> {
        if scores.is_empty() {
            return Err(RewardModelError::Empty);
        }
        if scores.len() != factors.len() {
            let (found, expected) = (factors.len(), scores.len());
            return Err(RewardModelError::Factors { found, expected });
        }
        if let Some(index) = factors.iter().position(|factor| !factor.is_finite()) {
            return Err(RewardModelError::Factor { index, value: factors[index] });
        }
        if let Some(index) = scores.iter().position(|score| !score.is_finite()) {
            return Err(RewardModelError::Score { index, value: scores[index] });
        }
        let count = scores.len() as f64;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / count;
        let (score_mean, factor_mean) = (mean(scores), mean(factors));
        let sum = |term: &dyn Fn(f64, f64) -> f64| -> f64 {
            let pairs = scores.iter().zip(factors);
            pairs.map(|(s, z)| term(s - score_mean, z - factor_mean)).sum()
        };
        let factor_square = sum(&|_, z| z * z);
        if all_alike(factors) {
            return Err(RewardModelError::Factor { index: 0, value: factors[0] });
        }
        let (score_square, product) = (sum(&|s, _| s * s), sum(&|s, z| s * z));
        Ok(Self { factor_mean, score_square, factor_square, product })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn regression_leaves_no_correlation(scores in prop::collection::vec(-5.0..5.0f64, 9)) {
            let factors: Vec<f64> = (0..9).map(|i| f64::from(i * i)).collect();
            let line = FactorPenalty::regression(&scores, &factors).unwrap();
            let left: Vec<f64> =
                scores.iter().zip(&factors).map(|(s, z)| line.apply(*s, *z)).collect();
            let moments = Moments::of(&left, &factors).unwrap();
            prop_assert!(moments.product.abs() < 1e-8);
            // The mean stays.
            let sum = |v: &[f64]| v.iter().sum::<f64>();
            prop_assert!((sum(&left) - sum(&scores)).abs() < 1e-9);
        }
    }

    #[test]
    fn a_penalty_is_in_units_of_the_spread() {
        let (scores, factors) = ([0.0, 4.0, 0.0, 4.0], [1.0, 1.0, 3.0, 3.0]);
        let penalty = FactorPenalty::new(0.5, &scores, &factors).unwrap();
        // sigma_r 2, sigma_z 1, mean 2: one unit of the factor above the mean costs 1.
        assert_eq!(penalty.apply(4.0, 3.0), 3.0);
        assert!(FactorPenalty::new(f64::NAN, &scores, &factors).is_err());
        assert!(FactorPenalty::new(0.5, &scores, &[0.1; 4]).is_err());
        // Alike but for rounding: a slope on that would be 1e16.
        let residue = [0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2];
        for fitted in [
            FactorPenalty::new(0.5, &scores, &residue),
            FactorPenalty::regression(&scores, &residue),
        ] {
            assert!(matches!(fitted, Err(RewardModelError::Factor { index: 0, .. })), "{fitted:?}");
        }
        let error = FactorPenalty::new(0.5, &[1e200, -1e200, 0.0, 0.0], &factors).unwrap_err();
        let wanted = "slope of the score on the factor = inf: allowed is a finite number";
        assert_eq!(error.to_string(), wanted);
        assert!(FactorPenalty::regression(&[f64::NAN; 4], &factors).is_err());
        assert!(FactorPenalty::regression(&scores, &[0.0, f64::NAN, 1.0, 2.0]).is_err());
        let error = FactorPenalty::regression(&scores, &[1.0]).unwrap_err();
        assert_eq!(error.to_string(), "1 factors: expected 4, one for each score");
    }
}
