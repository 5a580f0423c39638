//! ODIN's two heads (Chen et al. 2024, arXiv 2402.07319): one score for quality, one for the factor that
//! shall be kept out of it (length in the paper); only the first is used as a reward.
//!
//! As the authors' code has it: Bradley-Terry on the sum of the two scores; the factor's score is pulled towards
//! correlation 1 with the factor, the quality score and the sum towards correlation 0; the heads' weights towards
//! orthogonality. The correlation of the *sum* pulls against the likelihood where labels depend on the factor.

use headwater_core::{ConfigError, require_non_negative};
use serde::{Deserialize, Serialize};

use crate::rounding::all_alike;

/// Weights of the two penalties; the paper's are 1 and 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OdinConfig {
    /// Of the size of the cosine between the heads, 0 or more.
    pub orthogonality: f64,
    /// Of the correlations, 0 or more.
    pub correlation: f64,
}

impl Default for OdinConfig {
    fn default() -> Self {
        Self { orthogonality: 1.0, correlation: 1.0 }
    }
}

impl OdinConfig {
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        for (field, value) in
            [("orthogonality", self.orthogonality), ("correlation", self.correlation)]
        {
            require_non_negative("OdinConfig", field, value)?;
        }
        Ok(())
    }
}

/// `(1 - corr(l, z)) + |corr(q, z)| + |corr(q + l, z)|` for quality scores q, factor scores l and the factor z
/// over a batch, with its gradients with respect to q and l. A correlation with a constant counts as 0.
///
/// # Panics
/// When the slices differ in length.
#[must_use]
pub fn correlation_penalty(
    quality: &[f64],
    factor_scores: &[f64],
    factors: &[f64],
) -> (f64, [Vec<f64>; 2]) {
    let sum: Vec<f64> = quality.iter().zip(factor_scores).map(|(q, l)| q + l).collect();
    let (of_factor, of_factor_slope) = correlation(factor_scores, factors);
    let (of_quality, of_quality_slope) = correlation(quality, factors);
    let (of_sum, of_sum_slope) = correlation(&sum, factors);
    let value = 1.0 - of_factor + of_quality.abs() + of_sum.abs();
    let both = |own: &[f64], sign: f64| -> Vec<f64> {
        let pairs = own.iter().zip(&of_sum_slope);
        pairs.map(|(own, of_sum_slope)| sign * own + sign_of(of_sum) * of_sum_slope).collect()
    };
    (value, [both(&of_quality_slope, sign_of(of_quality)), both(&of_factor_slope, -1.0)])
}

/// The size of the cosine of two weight vectors, each centred first, and its gradients.
///
/// # Panics
/// When the slices differ in length.
#[must_use]
pub fn orthogonality_penalty(first: &[f64], second: &[f64]) -> (f64, [Vec<f64>; 2]) {
    // The cosine of centred vectors is their correlation.
    let (cosine, of_first) = correlation(first, second);
    let (_, of_second) = correlation(second, first);
    let signed = |slope: Vec<f64>| slope.into_iter().map(|s| sign_of(cosine) * s).collect();
    (cosine.abs(), [signed(of_first), signed(of_second)])
}

fn sign_of(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value.signum() }
}

/// Pearson's correlation of x and z and its gradient with respect to x; 0 where one is constant up
/// to rounding.
fn correlation(x: &[f64], z: &[f64]) -> (f64, Vec<f64>) {
    assert_eq!(x.len(), z.len(), "one factor for each score");
    let count = x.len() as f64;
    let centred = |values: &[f64]| -> (Vec<f64>, f64) {
        let mean = values.iter().sum::<f64>() / count;
        let centred: Vec<f64> = values.iter().map(|v| v - mean).collect();
        let norm = centred.iter().map(|v| v * v).sum::<f64>().sqrt();
        (centred, norm)
    };
    let constant = all_alike(x) || all_alike(z);
    let ((x, x_norm), (z, z_norm)) = (centred(x), centred(z));
    if constant || x_norm < 1e-12 || z_norm < 1e-12 {
        return (0.0, vec![0.0; x.len()]);
    }
    let value = x.iter().zip(&z).map(|(a, b)| a * b).sum::<f64>() / (x_norm * z_norm);
    let slope = x.iter().zip(&z).map(|(a, b)| (b / z_norm - value * a / x_norm) / x_norm);
    (value, slope.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numeric(at: &[f64], i: usize, value: impl Fn(&[f64]) -> f64) -> f64 {
        let moved = |by: f64| {
            let mut at = at.to_vec();
            at[i] += by;
            value(&at)
        };
        (moved(1e-6) - moved(-1e-6)) / 2e-6
    }

    proptest! {
        #[test]
        fn gradients(
            q in prop::collection::vec(-2.0..2.0f64, 7), l in prop::collection::vec(-2.0..2.0f64, 7),
        ) {
            let z: Vec<f64> = vec![3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0];
            let (_, [dq, dl]) = correlation_penalty(&q, &l, &z);
            let (_, [da, db]) = orthogonality_penalty(&q, &l);
            for i in 0..7 {
                let close = |got: f64, want: f64| (got - want).abs() < 1e-5;
                prop_assert!(close(dq[i], numeric(&q, i, |q| correlation_penalty(q, &l, &z).0)));
                prop_assert!(close(dl[i], numeric(&l, i, |l| correlation_penalty(&q, l, &z).0)));
                prop_assert!(close(da[i], numeric(&q, i, |q| orthogonality_penalty(q, &l).0)));
                prop_assert!(close(db[i], numeric(&l, i, |l| orthogonality_penalty(&q, l).0)));
            }
        }
    }

    #[test]
    fn known_values() {
        // corr(l, z) = 1, corr(q, z) = 0, and q + l = (2, 1, 4) has corr 2 / sqrt(14/3 * 2).
        let (value, _) = correlation_penalty(&[1.0, -1.0, 1.0], &[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]);
        assert!((value - 2.0 / (28.0f64 / 3.0).sqrt()).abs() < 1e-12, "{value}");
        assert_eq!(correlation(&[1.0, 1.0], &[0.0, 1.0]), (0.0, vec![0.0; 2]));
        // The mean of three times 1e9 / 3 is not quite that.
        let large = [1e9 / 3.0, 1e9 / 3.0, 1e9 / 3.0 + 1e-7];
        assert_eq!(correlation(&large, &[0.0, 1.0, 3.0]), (0.0, vec![0.0; 3]));
        assert!((orthogonality_penalty(&[1.0, 2.0], &[5.0, 3.0]).0 - 1.0).abs() < 1e-12);
    }
}
