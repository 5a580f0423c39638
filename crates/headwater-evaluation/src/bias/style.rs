//! Content against style: three styles of the better answer crossed with three of the worse.

use serde::{Deserialize, Serialize};

use super::win;
use crate::error::{EvaluationError, all_finite, at_least};
use crate::intervals::{Interval, clustered_share_difference, clustered_share_interval};

/// Scores of one prompt's answers in three styles, from the plainest to the most elaborate (concise,
/// detailed, detailed with markup).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StyledPrompt {
    /// Scores of the better answer in each style.
    pub chosen: [f64; 3],
    /// Scores of the worse answer in each style.
    pub rejected: [f64; 3],
}

/// Accuracy by the style of either answer; see [`style_matrix`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StyleMatrix {
    /// `cells[i][j]`: better answer in style i against worse answer in style j.
    pub cells: [[Interval; 3]; 3],
    /// Mean of the cells in which the better answer has more style (i > j).
    pub easy: Interval,
    /// Mean of the diagonal.
    pub normal: Interval,
    /// Mean of the cells in which the worse answer has more style (i < j).
    pub hard: Interval,
    /// Mean of all nine.
    pub overall: Interval,
    /// easy - hard: above 0 style is rewarded, below 0 punished.
    pub gap: Interval,
}

/// The 3 x 3 accuracy matrix and its means, ties counting half.
///
/// Prompts weigh alike and are what varies: the nine comparisons of a prompt are one unit, and
/// intervals are [`clustered_share_interval`] and [`clustered_share_difference`] over prompts. Report domains apart, and the
/// worst: style goes with quality in some. Source: Liu et al. (2024), RM-Bench, arXiv 2410.16184.
///
/// # Errors
/// No prompt, a score that is NaN or infinite (index 3 p + style for prompt p), or a level outside
/// (0, 1).
pub fn style_matrix(prompts: &[StyledPrompt], level: f64) -> Result<StyleMatrix, EvaluationError> {
    at_least("prompts", prompts.len(), 1)?;
    all_finite("chosen", &prompts.iter().flat_map(|p| p.chosen).collect::<Vec<f64>>())?;
    all_finite("rejected", &prompts.iter().flat_map(|p| p.rejected).collect::<Vec<f64>>())?;
    let names: Vec<usize> = (0..prompts.len()).collect();
    // Per prompt, the mean of the cells (i, j) that `kept` names.
    let shares = |kept: &dyn Fn(usize, usize) -> bool| -> Vec<f64> {
        let cells: Vec<(usize, usize)> =
            (0..9).map(|cell| (cell / 3, cell % 3)).filter(|(i, j)| kept(*i, *j)).collect();
        let of = |p: &StyledPrompt| -> f64 {
            let wins = cells.iter().map(|&(i, j)| win(p.chosen[i], p.rejected[j]));
            // Whole and half numbers add exactly.
            wins.sum::<f64>() / cells.len() as f64
        };
        prompts.iter().map(of).collect()
    };
    let interval = |values: &[f64]| clustered_share_interval(values, &names, level);
    let mut cells = Vec::with_capacity(9);
    for cell in 0..9 {
        cells.push(interval(&shares(&|i, j| (i, j) == (cell / 3, cell % 3)))?);
    }
    let (easy, hard) = (shares(&|i, j| i > j), shares(&|i, j| i < j));
    Ok(StyleMatrix {
        cells: std::array::from_fn(|i| std::array::from_fn(|j| cells[3 * i + j])),
        easy: interval(&easy)?,
        normal: interval(&shares(&|i, j| i == j))?,
        hard: interval(&hard)?,
        overall: interval(&shares(&|_, _| true))?,
        gap: clustered_share_difference((&easy, &names), (&hard, &names), level)?,
    })
}
