//! Means, deviations and whitening, exact on constant input.

use serde::{Deserialize, Serialize};

use crate::{OptimizerError, TokenRows};

/// Mean, taken about the first value so that equal values have exactly that mean: a group without
/// signal then gets advantages of exactly 0. 0 for an empty slice.
pub(crate) fn mean(values: &[f64]) -> f64 {
    let Some(&first) = values.first() else { return 0.0 };
    first + values.iter().map(|v| v - first).sum::<f64>() / values.len() as f64
}

/// Sum of squared deviations from the mean over `len - correction`; `correction` 1 is the unbiased
/// variance, 0 the population's.
pub(crate) fn variance(values: &[f64], correction: usize) -> f64 {
    let mean = mean(values);
    values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() - correction) as f64
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
    /// [`OptimizerError::TooFew`] for the unbiased variance of fewer than 2 tokens.
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
        let mean = mean(&all);
        let deviation = match self {
            Self::UnbiasedAdded => (variance(&all, 1) + EPSILON).sqrt(),
            Self::PopulationClamped => variance(&all, 0).max(EPSILON).sqrt(),
        };
        Ok(rows
            .into_iter()
            .map(|row| row.into_iter().map(|a| (a - mean) / deviation).collect())
            .collect())
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
