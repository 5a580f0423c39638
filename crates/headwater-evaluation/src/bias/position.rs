//! Does a pairwise judge read, or does it like a position? Every pair is shown in both orders.

use serde::{Deserialize, Serialize};

use super::win;
use crate::error::{EvaluationError, at_least};
use crate::intervals::{Interval, clustered_share_interval};

/// What a judge said about two answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionVerdict {
    /// The answer shown first is better.
    First,
    /// The answer shown second is better.
    Second,
    /// Neither is.
    Tie,
    /// Its text holds no verdict.
    Unparsed,
}

impl PositionVerdict {
    /// Preference for the first position: 1, 0, 1/2, and nothing for an unparsed verdict.
    fn for_first(self) -> Option<f64> {
        match self {
            Self::First => Some(1.0),
            Self::Second => Some(0.0),
            Self::Tie => Some(0.5),
            Self::Unparsed => None,
        }
    }
}

/// One pair shown in both orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BothOrders {
    /// Names the prompt: pairs of one prompt form a cluster.
    pub prompt: usize,
    /// The verdict where the better answer is shown first.
    pub better_first: PositionVerdict,
    /// The verdict where the better answer is shown second.
    pub better_second: PositionVerdict,
}

/// How a judge depends on the order; see [`position_bias`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PositionBias {
    /// Share of verdicts that are unparsed.
    pub unparsed: Interval,
    /// Share of pairs in which both orders name the same answer, or both a tie.
    pub consistency: Interval,
    /// Share of pairs in which the judge changes sides: both orders name the same *position*. What is
    /// neither this nor consistent is a tie in one order only.
    pub flip_rate: Interval,
    /// Preference for the first position, ties half: 1/2 is none.
    pub first_preference: Interval,
    /// Accuracy on the consistent pairs, a tie half. `None` if there are none.
    pub consistent_accuracy: Option<Interval>,
    /// Accuracy of the two verdicts taken together: right if their mean prefers the better answer, half
    /// if it prefers neither (a flip, for one).
    pub averaged_accuracy: Interval,
}

/// Consistency, position preference and accuracy of a judge that was shown each pair in both orders.
///
/// Each pair is in both places once, so content cancels in `first_preference` and what is left is the
/// position. It can be 1/2 while the flip rate is high: a judge may prefer the first position in one half of
/// the pairs and the second in the other. `consistent_accuracy` is over the pairs that the judge finds
/// easy; `averaged_accuracy` is over all pairs.
///
/// `unparsed` and `averaged_accuracy` are over all pairs, an unparsed verdict preferring neither answer;
/// the others are over the pairs with two parsed verdicts. Intervals are
/// [`clustered_share_interval`] over prompts. Source: Wang et al. (2023), arXiv 2305.17926; Zheng et
/// al. (2023), arXiv 2306.05685.
///
/// # Errors
/// No pair, no pair with two parsed verdicts, or a level outside (0, 1).
pub fn position_bias(pairs: &[BothOrders], level: f64) -> Result<PositionBias, EvaluationError> {
    at_least("pairs", pairs.len(), 1)?;
    let prompts: Vec<usize> = pairs.iter().map(|pair| pair.prompt).collect();
    let of_all = |value: fn(&BothOrders) -> f64| {
        let values: Vec<f64> = pairs.iter().map(value).collect();
        clustered_share_interval(&values, &prompts, level)
    };
    // Preference for the first position in either order, of the pairs that have both.
    let parsed: Vec<(usize, f64, f64)> = pairs
        .iter()
        .filter_map(|pair| {
            let better_second = pair.better_second.for_first()?;
            Some((pair.prompt, pair.better_first.for_first()?, better_second))
        })
        .collect();
    at_least("pairs with two parsed verdicts", parsed.len(), 1)?;
    let parsed_prompts: Vec<usize> = parsed.iter().map(|(prompt, ..)| *prompt).collect();
    let of_parsed = |value: fn(f64, f64) -> f64| {
        let values: Vec<f64> = parsed.iter().map(|(_, one, two)| value(*one, *two)).collect();
        clustered_share_interval(&values, &parsed_prompts, level)
    };
    // The same answer in both orders is the opposite position.
    let consistent: Vec<&(usize, f64, f64)> =
        parsed.iter().filter(|(_, one, two)| one + two == 1.0).collect();
    let consistent_accuracy = if consistent.is_empty() {
        None
    } else {
        let right: Vec<f64> = consistent.iter().map(|(_, one, _)| *one).collect();
        let prompts: Vec<usize> = consistent.iter().map(|(prompt, ..)| *prompt).collect();
        Some(clustered_share_interval(&right, &prompts, level)?)
    };
    Ok(PositionBias {
        unparsed: of_all(|pair| {
            let unparsed = |verdict| f64::from(u8::from(verdict == PositionVerdict::Unparsed));
            (unparsed(pair.better_first) + unparsed(pair.better_second)) / 2.0
        })?,
        consistency: of_parsed(|one, two| f64::from(u8::from(one + two == 1.0)))?,
        flip_rate: of_parsed(|one, two| f64::from(u8::from(one == two && one != 0.5)))?,
        first_preference: of_parsed(|one, two| (one + two) / 2.0)?,
        consistent_accuracy,
        averaged_accuracy: of_all(|pair| {
            let better_first = pair.better_first.for_first().unwrap_or(0.5);
            win(better_first, pair.better_second.for_first().unwrap_or(0.5))
        })?,
    })
}
