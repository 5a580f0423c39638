//! Signed toggle effect: the same text with the factor and without it.

use serde::{Deserialize, Serialize};
use statrs::distribution::ContinuousCDF;

use crate::error::{EvaluationError, all_finite, at_least, in_range, same_length};
use crate::intervals::{
    Interval, clustered_share_interval, mean_and_error, paired_differences, robust_error, student,
};

/// What a score pays for the factor; see [`toggle_effect`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ToggleEffect {
    /// E[r(T(1)) - r(T(0))]/σ_r: above 0 the factor is rewarded, below 0 punished, 0 is invariance.
    pub effect: Interval,
    /// σ_r, the unit of `effect` in units of the score.
    pub reference_deviation: f64,
    /// Share of texts whose score the factor raises.
    pub raised: Interval,
    /// Share of texts whose score it lowers. The rest is unchanged.
    pub lowered: Interval,
}

/// E[r(T(1)) - r(T(0))]/σ_r over texts scored with the factor (`with[i]`) and without it
/// (`without[i]`), all else equal.
///
/// `clusters[i]` names what texts share (several toggles of one prompt). σ_r is the sample standard
/// deviation of `reference`: scores of independent natural texts, whose spread is what the factor
/// competes with. The sign is kept, so over-correction through zero shows. Unlike an error rate it
/// does not shrink when a model gets worse or its scale goes to 0.
///
/// Interval: t_{G-1} times √(se² + effect² var(σ̂)/σ²), se cluster-robust, var(σ̂) with the kurtosis
/// of `reference` (delta method; `reference` taken as independent of the toggled texts). A toggle
/// that changes no score gives the interval [0, 0]: on these texts the score is blind to it.
/// Source: counterfactual invariance of Veitch et al. (2021), arXiv 2106.00545, in units of σ_r.
///
/// # Errors
/// Lengths that differ, fewer than two clusters or reference scores, NaN, infinity or overflow,
/// reference scores that are all equal, or a level outside (0, 1).
pub fn toggle_effect(
    with: &[f64],
    without: &[f64],
    clusters: &[usize],
    reference: &[f64],
    level: f64,
) -> Result<ToggleEffect, EvaluationError> {
    at_least("with", with.len(), 2)?;
    same_length("with", with.len(), "without", without.len())?;
    same_length("with", with.len(), "clusters", clusters.len())?;
    all_finite("with", with)?;
    all_finite("without", without)?;
    let share = |holds: fn(f64, f64) -> bool| {
        let held: Vec<f64> =
            with.iter().zip(without).map(|(w, o)| f64::from(u8::from(holds(*w, *o)))).collect();
        clustered_share_interval(&held, clusters, level)
    };
    let (deviation, relative_variance) = deviation(reference)?;
    let effects: Vec<f64> =
        paired_differences(with, without)?.iter().map(|d| d / deviation).collect();
    let mean = in_range("mean", "with", effects.iter().sum::<f64>() / effects.len() as f64)?;
    let residuals: Vec<f64> = effects.iter().map(|e| e - mean).collect();
    let (error, n) = robust_error(&residuals, clusters)?;
    let raised = share(|with, without| with > without)?;
    let quantile = student(n - 1).inverse_cdf(0.5 + level / 2.0);
    let reach = quantile * error.hypot(mean * relative_variance.sqrt());
    let reach = in_range("interval", "with", reach)?;
    Ok(ToggleEffect {
        effect: Interval { estimate: mean, low: mean - reach, high: mean + reach, level, n },
        reference_deviation: deviation,
        raised,
        lowered: share(|with, without| with < without)?,
    })
}

/// Sample standard deviation s of the reference scores, and var(s)/s² = (kurtosis - (n-3)/(n-1))/4n.
fn deviation(reference: &[f64]) -> Result<(f64, f64), EvaluationError> {
    at_least("reference", reference.len(), 2)?;
    all_finite("reference", reference)?;
    let n = reference.len() as f64;
    let (mean, error) = mean_and_error(reference)?;
    let deviation = error * n.sqrt();
    if deviation == 0.0 {
        return Err(EvaluationError::Constant { argument: "reference", value: mean });
    }
    let fourth = reference.iter().map(|r| ((r - mean) / deviation).powi(4)).sum::<f64>() / n;
    let relative_variance = (fourth - (n - 3.0) / (n - 1.0)) / (4.0 * n);
    Ok((deviation, relative_variance.max(0.0)))
}
