//! Accuracy of pairwise choices by which side carries the factor.

use serde::{Deserialize, Serialize};

use super::{ScoredPair, check_pairs};
use crate::error::EvaluationError;
use crate::intervals::{Interval, clustered_share_difference, clustered_share_interval};

/// The pairs of one cell and how often the score is right about them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Pairs whose better answer scores higher.
    pub right: usize,
    /// Pairs whose worse answer scores higher.
    pub wrong: usize,
    /// Pairs whose answers score alike.
    pub tied: usize,
    /// (right + tied/2)/pairs, with its Wilson interval over prompts. `None` without pairs.
    pub accuracy: Option<Interval>,
}

/// Accuracy by which side carries the factor; see [`accuracy_by_factor`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AccuracyByFactor {
    /// Only the better answer carries the factor, or it has more: the factor points the right way.
    pub chosen: Cell,
    /// Only the worse answer carries the factor, or it has more: the *hard* pairs.
    pub rejected: Cell,
    /// Both carry the factor, or the same amount above or below 0.
    pub both: Cell,
    /// Neither does: both have 0.
    pub neither: Cell,
    /// Accuracy of `chosen` minus accuracy of `rejected`: above 0 the factor is rewarded, below 0
    /// punished. `None` where one of the cells is empty.
    pub gap: Option<Interval>,
}

/// Accuracy in the four cells of (better answer carries the factor) x (worse one does), and the gap
/// between the two cells in which it differs.
///
/// A high accuracy on the hard pairs is no evidence of invariance: a score that punishes the factor has
/// the highest. Invariance is a gap of 0, as long as the two cells are equally difficult otherwise; where
/// they may not be, only [`super::toggle_effect`] tells. Intervals are
/// [`clustered_share_interval`] and [`clustered_share_difference`] over prompts.
///
/// # Errors
/// No pair, a score or factor that is NaN or infinite, or a level outside (0, 1).
pub fn accuracy_by_factor(
    pairs: &[ScoredPair],
    level: f64,
) -> Result<AccuracyByFactor, EvaluationError> {
    check_pairs(pairs)?;
    let members = |held: &dyn Fn(f64, f64) -> bool| -> (Vec<f64>, Vec<usize>) {
        let kept = pairs.iter().filter(|p| held(p.chosen.factor, p.rejected.factor));
        kept.map(|p| (p.right(), p.prompt)).unzip()
    };
    let chosen = members(&|chosen, rejected| chosen > rejected);
    let rejected = members(&|chosen, rejected| chosen < rejected);
    let both = members(&|chosen, rejected| chosen == rejected && chosen != 0.0);
    let neither = members(&|chosen, rejected| chosen == rejected && chosen == 0.0);
    let gap = if chosen.0.is_empty() || rejected.0.is_empty() {
        None
    } else {
        let (chosen, rejected) =
            ((&chosen.0[..], &chosen.1[..]), (&rejected.0[..], &rejected.1[..]));
        Some(clustered_share_difference(chosen, rejected, level)?)
    };
    Ok(AccuracyByFactor {
        chosen: cell(&chosen, level)?,
        rejected: cell(&rejected, level)?,
        both: cell(&both, level)?,
        neither: cell(&neither, level)?,
        gap,
    })
}

fn cell((right, prompts): &(Vec<f64>, Vec<usize>), level: f64) -> Result<Cell, EvaluationError> {
    let count = |value: f64| right.iter().filter(|r| **r == value).count();
    let accuracy = if right.is_empty() {
        None
    } else {
        Some(clustered_share_interval(right, prompts, level)?)
    };
    Ok(Cell { right: count(1.0), wrong: count(0.0), tied: count(0.5), accuracy })
}
