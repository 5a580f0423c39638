//! Means, deviations and whitening, exact on constant input.

use serde::{Deserialize, Serialize};

use crate::{OptimizerError, TokenRows};

/// What is left of numbers that would be equal but for rounding, relative to the largest of them.
const ROUNDING: f64 = 1e-12;

/// Whether values are all alike up to rounding: rewards that are sums, like 0.1 + 0.2 and 0.3,
/// carry no signal in their last digits.
pub(crate) fn all_alike(values: &[f64]) -> bool {
    let (least, most) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), v| (v.min(least), v.max(most)));
    values.is_empty() || most - least <= ROUNDING * most.abs().max(least.abs())
}

/// Mean, taken about the first value so that equal values have exactly that mean. 0 for an empty
/// slice.
pub(crate) fn mean(values: &[f64]) -> f64 {
    let Some(&first) = values.first() else { return 0.0 };
    let count = values.len() as f64;
    let mean = first + values.iter().map(|v| v - first).sum::<f64>() / count;
    // A difference of two finite numbers may be none.
    if mean.is_finite() { mean } else { values.iter().map(|v| v / count).sum() }
}

/// Each value less the mean, and exactly 0 where they are all alike.
pub(crate) fn centred(values: &[f64]) -> Vec<f64> {
    if all_alike(values) {
        return vec![0.0; values.len()];
    }
    let mean = mean(values);
    values.iter().map(|value| value - mean).collect()
}

/// Sum of squared deviations from the mean over `len - correction`; `correction` 1 is the unbiased
/// variance, 0 the population's.
pub(crate) fn variance(values: &[f64], correction: usize) -> f64 {
    let mean = mean(values);
    values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() - correction) as f64
}

/// Root of [`variance`], also where the squares leave the range of f64 at either end.
pub(crate) fn deviation(values: &[f64], correction: usize) -> f64 {
    let square = variance(values, correction);
    if square.is_normal() {
        return square.sqrt();
    }
    let mean = mean(values);
    let largest = values.iter().map(|v| (v - mean).abs()).fold(0.0, f64::max);
    if largest == 0.0 {
        return 0.0;
    }
    let squares: f64 = values.iter().map(|v| ((v - mean) / largest).powi(2)).sum();
    largest * (squares / (values.len() - correction) as f64).sqrt()
}

/// How advantages are whitened over all tokens of a batch: `(A - mean) / deviation`.
///
/// Every token counts once, so long completions dominate both statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whitening {
    /// Unbiased variance, 1e-8 added to it under the root (verl; TRL's PPO).
    UnbiasedAdded,
    /// Population variance, raised to at least 1e-8 (OpenRLHF).
    PopulationClamped,
}

impl Whitening {
    /// The rows whitened with the statistics of all their tokens together.
    ///
    /// # Errors
    /// [`OptimizerError::TooFew`] for the unbiased variance of fewer than 2 tokens;
    /// [`OptimizerError::NotFinite`].
    pub fn apply(self, rows: TokenRows) -> Result<TokenRows, OptimizerError> {
        const EPSILON: f64 = 1e-8;
        let all: Vec<f64> = rows.iter().flatten().copied().collect();
        let needed = match self {
            Self::UnbiasedAdded => 2,
            Self::PopulationClamped => 1,
        };
        if all.len() < needed {
            return Err(OptimizerError::TooFew { what: "whitening", found: all.len(), needed });
        }
        require_finite("values to whiten", &all)?;
        let mean = mean(&all);
        let spread = match self {
            Self::UnbiasedAdded => (variance(&all, 1) + EPSILON).sqrt(),
            Self::PopulationClamped => variance(&all, 0).max(EPSILON).sqrt(),
        };
        // Beside a square that has left f64 the epsilon is nothing.
        let correction = usize::from(self == Self::UnbiasedAdded);
        let spread = if spread.is_finite() { spread } else { deviation(&all, correction) };
        let whitened = |row: Vec<f64>| row.into_iter().map(|a| (a - mean) / spread).collect();
        let rows: TokenRows = rows.into_iter().map(whitened).collect();
        rows.iter().try_for_each(|row| require_finite("whitened values", row))?;
        Ok(rows)
    }
}

/// Errors on the first NaN or infinity.
pub(crate) fn require_finite(what: &str, values: &[f64]) -> Result<(), OptimizerError> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(index) => {
            Err(OptimizerError::NotFinite { what: what.into(), index, value: values[index] })
        }
    }
}

/// The groups of a group-major batch.
///
/// # Errors
/// [`OptimizerError::Groups`] when the batch is not a whole number of groups,
/// [`OptimizerError::NotFinite`] when a reward is not a number.
pub(crate) fn groups(
    rewards: &[f64],
    group_size: usize,
) -> Result<std::slice::ChunksExact<'_, f64>, OptimizerError> {
    require_finite("rewards", rewards)?;
    if group_size == 0 || !rewards.len().is_multiple_of(group_size) {
        return Err(OptimizerError::Groups { rewards: rewards.len(), group_size });
    }
    Ok(rewards.chunks_exact(group_size))
}

/// Return-to-go `sum_{s >= t} r_s` of one row of per-token rewards (discount 1).
pub(crate) fn return_to_go(rewards: &[f64]) -> Vec<f64> {
    let mut returns = rewards.to_vec();
    for t in (0..returns.len().saturating_sub(1)).rev() {
        returns[t] += returns[t + 1];
    }
    returns
}

pub(crate) fn require_length(
    what: &str,
    found: usize,
    expected: usize,
) -> Result<(), OptimizerError> {
    if found == expected {
        return Ok(());
    }
    Err(OptimizerError::Length { what: what.into(), found, expected })
}
