//! Two-sided p-values for a mean (of paired differences) and for a difference between two samples.
//!
//! A p-value says how surprising the data are if the null were true; the size of the effect is the
//! interval's to tell. Several at once belong in [`crate::multiplicity`].

use headwater_core::StreamRng;
use rand::RngExt;
use statrs::distribution::ContinuousCDF;

use crate::error::{EvaluationError, all_finite, argument, at_least, in_range};
use crate::intervals::{mean_and_error, student};

/// Up to this many values every one of the 2^n sign patterns is visited; above, patterns are drawn.
pub const EXACT_SIGN_FLIP_LIMIT: usize = 16;

/// One-sample t test that the mean is `null`; of paired differences, the paired t test. Returns p
/// in [0, 1].
///
/// The same assumption and the same verdict as [`crate::intervals::t_interval`]: p < 0.05 where the
/// 95% interval excludes `null`. Equal values give 1 if they are `null` and 0 otherwise, the limit
/// as the spread vanishes; like an interval of width 0, that 0 is not certainty.
///
/// # Errors
/// Fewer than two values, NaN or infinity, or values so large that their sum overflows.
pub fn t_test(values: &[f64], null: f64) -> Result<f64, EvaluationError> {
    at_least("values", values.len(), 2)?;
    all_finite("values", values)?;
    argument(null.is_finite(), "null", null, "a finite number")?;
    let (mean, standard_error) = mean_and_error(values)?;
    if standard_error == 0.0 {
        return Ok(if mean == null { 1.0 } else { 0.0 });
    }
    let t = (mean - null) / standard_error;
    Ok((2.0 * student(values.len() - 1).sf(t.abs())).min(1.0))
}

/// Sign-flip permutation test that values are symmetric about `null`; of paired differences, the
/// paired permutation test. Returns p in (0, 1].
///
/// Statistic |Σ (value - null)|. Exact up to [`EXACT_SIGN_FLIP_LIMIT`] values: the share of the 2^n
/// sign patterns at least as extreme, so p is at least 2/2^n, and five seeds can never reach 0.05.
/// Above, `resamples` random patterns and p = (1 + extreme)/(1 + resamples), which keeps its level
/// at any number of them. Source: Fisher (1935); Phipson and Smyth (2010).
///
/// # Errors
/// No value, NaN or infinity, values whose sum overflows, or no resamples.
pub fn sign_flip_test(
    values: &[f64],
    null: f64,
    resamples: usize,
    rng: &mut StreamRng,
) -> Result<f64, EvaluationError> {
    at_least("values", values.len(), 1)?;
    all_finite("values", values)?;
    argument(null.is_finite(), "null", null, "a finite number")?;
    check_resamples(resamples)?;
    let shifted: Vec<f64> = values.iter().map(|v| v - null).collect();
    let threshold = threshold(shifted.iter().sum(), total_size(&shifted)?);
    let extreme = |signs: &mut dyn FnMut(usize) -> bool| {
        let sum: f64 =
            shifted.iter().enumerate().map(|(i, &d)| if signs(i) { -d } else { d }).sum();
        sum.abs() >= threshold
    };
    if shifted.len() <= EXACT_SIGN_FLIP_LIMIT {
        let patterns = 1u32 << shifted.len();
        let hits = (0..patterns).filter(|pattern| extreme(&mut |i| pattern >> i & 1 == 1)).count();
        return Ok(hits as f64 / f64::from(patterns));
    }
    let hits = (0..resamples).filter(|_| extreme(&mut |_| rng.random())).count();
    Ok((1 + hits) as f64 / (1 + resamples) as f64)
}

/// Label-permutation test that two independent samples share one distribution. Returns p in (0, 1].
///
/// Statistic |mean(first) - mean(second)|, over `resamples` random relabellings; p = (1 +
/// extreme)/(1 + resamples). It tests equal distributions: with unequal variances and sizes it may
/// reject although the means agree. For arms that share seeds or prompts, [`sign_flip_test`] of the
/// differences has more power. Source: Pitman (1937).
///
/// # Errors
/// An empty sample, NaN or infinity, values whose sum overflows, or no resamples.
pub fn permutation_test(
    first: &[f64],
    second: &[f64],
    resamples: usize,
    rng: &mut StreamRng,
) -> Result<f64, EvaluationError> {
    at_least("first", first.len(), 1)?;
    at_least("second", second.len(), 1)?;
    all_finite("first", first)?;
    all_finite("second", second)?;
    check_resamples(resamples)?;

    // Given the pooled values, the difference of means is a linear function of the first sample's
    // sum.
    let mut pooled: Vec<f64> = first.iter().chain(second).copied().collect();
    let mean = pooled.iter().sum::<f64>() / pooled.len() as f64;
    pooled.iter_mut().for_each(|v| *v -= mean);
    let size = first.len();
    let threshold = threshold(pooled[..size].iter().sum(), total_size(&pooled)?);
    let hits = (0..resamples)
        .filter(|_| {
            for i in 0..size {
                let other = rng.random_range(i..pooled.len());
                pooled.swap(i, other);
            }
            pooled[..size].iter().sum::<f64>().abs() >= threshold
        })
        .count();
    Ok((1 + hits) as f64 / (1 + resamples) as f64)
}

/// |observed| less a margin for rounding: a rearrangement equal to the observed one in exact
/// arithmetic must count as at least as extreme.
fn threshold(observed: f64, total_size: f64) -> f64 {
    observed.abs() - 1e-12 * total_size
}

/// Σ |value|, which bounds the sum of every rearrangement: where it is finite, all of them are.
fn total_size(values: &[f64]) -> Result<f64, EvaluationError> {
    in_range("sum of magnitudes", "values", values.iter().map(|v| v.abs()).sum())
}

fn check_resamples(resamples: usize) -> Result<(), EvaluationError> {
    argument(resamples > 0, "resamples", resamples as f64, "an integer above 0")
}
