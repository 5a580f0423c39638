//! Which groups of chains are worth a gradient, told from how sure a model is of the reference after them
//! (DRO, arXiv 2506.13351; see [`crate::ReferenceReward`]).

use std::collections::VecDeque;

use headwater_core::{Check, ConfigError, require, require_finite};
use serde::{Deserialize, Serialize};

use crate::RewardError;

/// Mean of the largest tenth of the spreads (at least one token): what a group has to tell its chains
/// apart by.
///
/// # Errors
/// No tokens, or a spread that is not finite, or so large that the mean is not.
pub fn top_spread(spreads: &[f64]) -> Result<f64, RewardError> {
    finite("the spread", spreads)?;
    let mut sorted = spreads.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let top = &sorted[..sorted.len().div_ceil(10)];
    let mean = top.iter().sum::<f64>() / top.len() as f64;
    finite("the mean of the largest spreads", &[mean])?;
    Ok(mean)
}

/// Config of [`SpreadFilter`]. The paper's values are not published, so there is no default.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpreadFilterConfig {
    /// q: the threshold is this quantile of recent groups' [`top_spread`], in [0, 1).
    pub quantile: f64,
    /// How many groups are recent, at least 1.
    pub window: usize,
    /// After how many groups the threshold is taken anew, at least 1.
    pub refresh: usize,
}

/// Dynamic filtering (second version of the paper): rejects groups whose [`top_spread`] lies below a
/// threshold, a quantile of the recent groups that is taken anew from time to time.
///
/// Until the first `refresh` groups were seen everything passes. Rejected groups count as seen: the
/// threshold follows what the policy produces, not what is left of it.
#[derive(Debug, Clone, PartialEq)]
pub struct SpreadFilter {
    config: SpreadFilterConfig,
    recent: VecDeque<f64>,
    seen: usize,
    threshold: Option<f64>,
}

impl Check for SpreadFilterConfig {
    type Checked = SpreadFilter;

    fn check(self) -> Result<SpreadFilter, ConfigError> {
        const CONFIG: &str = "SpreadFilterConfig";
        let quantile = (0.0..1.0).contains(&self.quantile);
        require(quantile, CONFIG, "quantile", self.quantile, "a number in [0, 1)")?;
        require(self.window > 0, CONFIG, "window", self.window, "at least 1")?;
        require(self.refresh > 0, CONFIG, "refresh", self.refresh, "at least 1")?;
        Ok(SpreadFilter { config: self, recent: VecDeque::new(), seen: 0, threshold: None })
    }
}

impl SpreadFilter {
    /// Whether a group with these spreads of its reference tokens passes; it is remembered either way.
    ///
    /// # Errors
    /// As [`top_spread`].
    pub fn passes(&mut self, spreads: &[f64]) -> Result<bool, RewardError> {
        let spread = top_spread(spreads)?;
        let passes = self.threshold.is_none_or(|threshold| spread >= threshold);
        if self.recent.len() == self.config.window {
            self.recent.pop_front();
        }
        self.recent.push_back(spread);
        self.seen += 1;
        if self.seen.is_multiple_of(self.config.refresh) {
            let mut sorted: Vec<f64> = self.recent.iter().copied().collect();
            sorted.sort_by(f64::total_cmp);
            // The value with a share q of the recent groups before it in order, rounded down.
            // The small step keeps 0.29 * 100, which rounds to just below 29, at 29.
            let at = (self.config.quantile * sorted.len() as f64 + 1e-9) as usize;
            self.threshold = Some(sorted[at.min(sorted.len() - 1)]);
        }
        Ok(passes)
    }

    /// tau, once there is one.
    #[must_use]
    pub fn threshold(&self) -> Option<f64> {
        self.threshold
    }
}

/// Filter 1 of the first version, *too hard*: `ranks[i][j]` is the rank (1 is the likeliest) of reference token
/// j in the model's distribution after chain i. Of each chain the worst `fraction` of ranks (at least one) is
/// averaged; where no chain's average is `within` or better, the prompt is beyond the policy.
///
/// # Errors
/// No chains or no tokens, a rank of 0, a fraction outside (0, 1], a `within` that is not finite.
pub fn too_hard(ranks: &[Vec<usize>], fraction: f64, within: f64) -> Result<bool, RewardError> {
    let holds = fraction > 0.0 && fraction <= 1.0;
    require(holds, "too_hard", "fraction", fraction, "a number in (0, 1]")?;
    require_finite("too_hard", "within", within)?;
    if ranks.is_empty() || ranks.iter().any(Vec::is_empty) {
        return Err(RewardError::NoParts { composite: "too_hard" });
    }
    require(!ranks.iter().flatten().any(|rank| *rank == 0), "too_hard", "ranks", 0, "from 1 up")?;
    let worst = |row: &Vec<usize>| {
        let mut sorted = row.clone();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        let top = ((fraction * row.len() as f64 - 1e-9).ceil() as usize).clamp(1, row.len());
        sorted[..top].iter().map(|rank| *rank as f64).sum::<f64>() / top as f64
    };
    Ok(ranks.iter().map(worst).all(|average| average > within))
}

/// Filter 2 of the first version, *too easy*: prompts are ranked by the largest spread of their reference
/// tokens, and the lowest `fraction` of them (rounded down) is dropped. Returns which to keep, in order; of
/// equal ones the earlier is dropped first.
///
/// # Errors
/// No prompts, a spread that is not finite, a fraction outside [0, 1).
pub fn informative_prompts(
    largest_spreads: &[f64],
    fraction: f64,
) -> Result<Vec<bool>, RewardError> {
    finite("the largest spread", largest_spreads)?;
    let holds = (0.0..1.0).contains(&fraction);
    require(holds, "informative_prompts", "fraction", fraction, "a number in [0, 1)")?;
    let mut order: Vec<usize> = (0..largest_spreads.len()).collect();
    // 0 and -0 are equal, too.
    order.sort_by(|a, b| (largest_spreads[*a] + 0.0).total_cmp(&(largest_spreads[*b] + 0.0)));
    let mut keep = vec![true; order.len()];
    let dropped = (fraction * order.len() as f64 + 1e-9) as usize;
    order[..dropped].iter().for_each(|&prompt| keep[prompt] = false);
    Ok(keep)
}

pub(crate) fn finite(what: &'static str, values: &[f64]) -> Result<(), RewardError> {
    if values.is_empty() {
        return Err(RewardError::Count { what: what.to_owned(), found: 0, expected: 1 });
    }
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(RewardError::NotFinite { what, index, value: values[index] }),
    }
}
