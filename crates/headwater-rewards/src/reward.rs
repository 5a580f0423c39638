//! The reward trait, its declared range and invariances, and checked scoring of groups and batches.

use std::fmt;

use headwater_core::{Group, Sample, Score};
use serde::{Deserialize, Serialize};

use crate::error::{RewardError, probability};

/// A function from one sample to a score, with what it promises about itself.
///
/// Object-safe: composites hold `Box<dyn Reward>`. Every `Fn(Sample) -> Score` is a reward named
/// after its type, with an unbounded range and no declared invariance, so an ad-hoc closure can be
/// mixed and tested like a shipped one.
pub trait Reward: Send + Sync {
    /// The name used in messages.
    fn name(&self) -> &str;

    /// The interval every scored value lies in. [`checked_score`] turns a value outside it into a
    /// failure.
    fn range(&self) -> Range;

    /// The edits of a sample that must not move the score;
    /// `headwater_invariance::assert_declared_invariances` tests each of them.
    fn invariances(&self) -> &[Invariance];

    /// Scores one sample.
    ///
    /// [`Score::Abstained`] when the reward does not apply (no reference); [`Score::Failed`] when
    /// it should have applied but could not be computed (a malformed reference). A malformed
    /// *completion* is the policy's doing and is scored, never failed: otherwise malformed output
    /// would be a way out.
    fn score(&self, sample: Sample<'_>) -> Score;
}

impl<F> Reward for F
where
    F: Fn(Sample<'_>) -> Score + Send + Sync,
{
    fn name(&self) -> &str {
        std::any::type_name::<F>()
    }

    fn range(&self) -> Range {
        Range::UNBOUNDED
    }

    fn invariances(&self) -> &[Invariance] {
        &[]
    }

    fn score(&self, sample: Sample<'_>) -> Score {
        self(sample)
    }
}

/// So that a reward chosen at run time can be a part of a composite.
impl Reward for Box<dyn Reward> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn range(&self) -> Range {
        (**self).range()
    }

    fn invariances(&self) -> &[Invariance] {
        (**self).invariances()
    }

    fn score(&self, sample: Sample<'_>) -> Score {
        (**self).score(sample)
    }
}

/// A counterfactual edit of a sample that changes nothing a reward should pay for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invariance {
    /// Wider gaps between words, blank lines at either end of the completion.
    Whitespace,
    /// Emphasis around a word, a heading mark before the completion.
    Markdown,
    /// Sentences without content before or after the completion.
    NeutralPadding,
    /// Praise of the asker before the completion.
    FlatteringPrefix,
    /// A hedge before the completion.
    HedgingPrefix,
    /// Two terms of identity (origin, faith, names), or all terms of gender, exchanged in prompt,
    /// completion and reference.
    IdentityTerms,
    /// Two options of a multiple-choice prompt exchanged, the answer's letter following its option.
    OptionOrder,
    /// The same number written differently: `1234` and `1,234`, `12` and `12.0`.
    NumberFormat,
    /// Phrases exchanged by a table the reward's author supplies.
    Paraphrase,
}

impl Invariance {
    /// All but [`Invariance::Paraphrase`], which has no edit of its own.
    pub const STANDARD: [Self; 8] = [
        Self::Whitespace,
        Self::Markdown,
        Self::NeutralPadding,
        Self::FlatteringPrefix,
        Self::HedgingPrefix,
        Self::IdentityTerms,
        Self::OptionOrder,
        Self::NumberFormat,
    ];
}

/// The invariances every one of `rewards` declares; a function of their values alone has those too.
pub(crate) fn shared_invariances<'r>(
    mut rewards: impl Iterator<Item = &'r dyn Reward>,
) -> Vec<Invariance> {
    let mut shared = rewards.next().map(|first| first.invariances().to_vec()).unwrap_or_default();
    for reward in rewards {
        shared.retain(|invariance| reward.invariances().contains(invariance));
    }
    shared
}

/// A closed interval of scores; a bound may be infinite.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Range {
    low: f64,
    high: f64,
}

impl Range {
    /// [0, 1].
    pub const UNIT: Self = Self { low: 0.0, high: 1.0 };
    /// Every finite number.
    pub const UNBOUNDED: Self = Self { low: f64::NEG_INFINITY, high: f64::INFINITY };

    /// The interval from `low` to `high`.
    ///
    /// # Errors
    /// When either is NaN, `low > high`, or no finite number lies between.
    pub fn new(low: f64, high: f64) -> Result<Self, RewardError> {
        // False for NaN.
        if low <= high && low < f64::INFINITY && high > f64::NEG_INFINITY {
            Ok(Self::spanning(low, high))
        } else {
            Err(RewardError::NotARange { low, high })
        }
    }

    /// The interval spanned by `a` and `b` in whichever order, for bounds already known to be
    /// numbers.
    pub(crate) fn spanning(a: f64, b: f64) -> Self {
        // No negative zero.
        Self { low: a.min(b) + 0.0, high: a.max(b) + 0.0 }
    }

    /// The lowest value.
    #[must_use]
    pub fn low(self) -> f64 {
        self.low
    }

    /// The highest value.
    #[must_use]
    pub fn high(self) -> f64 {
        self.high
    }

    /// Whether `value` is finite and inside, up to a rounding slack of 1e-9 of the bound (at least
    /// 1e-9): a weighted sum may miss its exact bound by an ulp without breaking any promise.
    #[must_use]
    pub fn contains(self, value: f64) -> bool {
        let slack = |bound: f64| if bound.is_finite() { 1e-9 * bound.abs().max(1.0) } else { 0.0 };
        value.is_finite()
            && value >= self.low - slack(self.low)
            && value <= self.high + slack(self.high)
    }

    /// The interval of `weight * value`, for a finite weight other than 0; `None` when a finite
    /// bound does not stay finite.
    pub(crate) fn scaled(self, weight: f64) -> Option<Self> {
        let bound = |b: f64| ((b * weight).is_finite() || !b.is_finite()).then_some(b * weight);
        Some(Self::spanning(bound(self.low)?, bound(self.high)?))
    }

    /// The interval of sums of a value of each; `None` when finite bounds have no finite sum.
    pub(crate) fn plus(self, other: Self) -> Option<Self> {
        let bound = |a: f64, b: f64| {
            ((a + b).is_finite() || !a.is_finite() || !b.is_finite()).then_some(a + b)
        };
        Some(Self { low: bound(self.low, other.low)?, high: bound(self.high, other.high)? })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}]", self.low, self.high)
    }
}

/// What a composite does when a part abstains. There is no silent default.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenAbstained {
    /// The composite abstains too.
    Abstain,
    /// The part counts as this value, which must lie in the part's declared range.
    Substitute(f64),
}

/// Whether `value` is `wanted` up to rounding, by the slack of [`Range::contains`].
pub(crate) fn is_near(value: f64, wanted: f64) -> bool {
    (value - wanted).abs() <= 1e-9 * wanted.abs().max(1.0)
}

/// Whether `value` reaches `bound`, or misses it by rounding alone.
pub(crate) fn reaches(value: f64, bound: f64) -> bool {
    value >= bound - 1e-12 * bound.abs().max(1.0)
}

/// The score of `sample`, with a value outside the declared range (or not finite) turned into a
/// failure that names the reward, the value and the range.
pub fn checked_score(reward: &(impl Reward + ?Sized), sample: Sample<'_>) -> Score {
    match reward.score(sample) {
        Score::Scored(value) if !reward.range().contains(value) => Score::Failed(format!(
            "`{}` returned {value}, outside its declared range {}",
            reward.name(),
            reward.range()
        )),
        score => score,
    }
}

/// [`checked_score`] of every completion of a group, in order.
pub fn score_group(reward: &(impl Reward + ?Sized), group: &Group) -> Vec<Score> {
    group.samples().map(|sample| checked_score(reward, sample)).collect()
}

/// [`checked_score`] of every sample, in order, refused as a whole when too many failed.
///
/// `tolerated` is the largest fraction of failed samples in [0, 1] with which training should go
/// on; 0 is the safe choice. Failures below it stay in the result as [`Score::Failed`].
///
/// # Errors
/// [`RewardError::TooManyFailures`] with the first reason; a `tolerated` outside [0, 1].
pub fn score_batch(
    reward: &(impl Reward + ?Sized),
    samples: &[Sample<'_>],
    tolerated: f64,
) -> Result<Vec<Score>, RewardError> {
    let scores = samples.iter().map(|sample| checked_score(reward, *sample)).collect();
    check_scores(reward.name(), reward.range(), samples.len(), scores, tolerated)
}

/// Validates scores computed elsewhere, e.g. by a judge that scores a whole batch in one request.
///
/// `expected` is the number of samples: a list of another length is refused, never broadcast or
/// cut. Values outside `range` become [`Score::Failed`]; `tolerated` is as in [`score_batch`].
///
/// # Errors
/// A wrong number of scores, too many failures, or a `tolerated` outside [0, 1].
pub fn check_scores(
    reward: &str,
    range: Range,
    expected: usize,
    scores: Vec<Score>,
    tolerated: f64,
) -> Result<Vec<Score>, RewardError> {
    probability("tolerated", tolerated)?;
    if scores.len() != expected {
        let what = format!("scores of `{reward}`");
        return Err(RewardError::Count { what, found: scores.len(), expected });
    }
    let scores: Vec<Score> = scores
        .into_iter()
        .map(|score| match score {
            Score::Scored(value) if !range.contains(value) => Score::Failed(format!(
                "`{reward}` returned {value}, outside its declared range {range}"
            )),
            score => score,
        })
        .collect();
    let mut failures = scores.iter().enumerate().filter_map(|(index, score)| match score {
        Score::Failed(reason) => Some((index, reason)),
        _ => None,
    });
    if let Some((index, reason)) = failures.next() {
        let failed = 1 + failures.count();
        // As a quotient, which is the double that a decimal such as 0.29 is read as too.
        if failed as f64 / expected as f64 > tolerated {
            return Err(RewardError::TooManyFailures {
                reward: reward.to_owned(),
                failed,
                total: expected,
                tolerated,
                index,
                reason: reason.clone(),
            });
        }
    }
    Ok(scores)
}
