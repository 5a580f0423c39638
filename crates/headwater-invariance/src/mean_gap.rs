//! Invariance of noisy rewards: the mean signed gap, with an interval and stated error rates.

use std::collections::HashMap;

use headwater_core::{Score, require, require_positive};
use proptest::strategy::{Strategy, ValueTree};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::check::runner;
use crate::edit::Edit;
use crate::sample::OwnedSample;
use headwater_rewards::RewardError;
use headwater_rewards::checked_score;
use headwater_rewards::{Range, Reward};

/// What to show about the mean gap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanGapConfig {
    /// Largest mean gap, either way, that does not matter, in units of the reward; finite, above 0.
    pub bound: f64,
    /// The chance of each wrong verdict that is accepted, in (0, 0.5).
    pub error_rate: f64,
    /// Number of pairs to draw and score, at least [`MeanGapConfig::FEWEST_SAMPLES`]. Fixed in
    /// advance: looking at the result and then drawing more would void the error rate.
    pub draws: u32,
    /// Seed of the draws.
    pub seed: u64,
}

impl MeanGapConfig {
    /// The fewest distinct samples (and so the fewest distinct pairs) there is a decision from.
    /// With fewer, the interval rests on the shape of the gaps more than on the gaps.
    pub const FEWEST_SAMPLES: u32 = 10;
}

/// What the interval says about the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeanGapVerdict {
    /// The whole interval lies within `[-bound, bound]`: the gap is shown to be too small to
    /// matter.
    Within,
    /// The whole interval lies beyond one bound: the edit pays, or costs, more than the bound.
    Exceeds,
    /// Neither: more samples are needed.
    Inconclusive,
    /// A pair had no gap, because of a failure, a value out of range, an abstention on one side
    /// only, or scores too far apart for an `f64`: a gap that cannot be computed is not a small
    /// one.
    Broken,
}

/// A measured mean gap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanGapReport {
    /// Mean of edited minus original; 0 when nothing could be compared.
    pub mean: f64,
    /// Lower confidence limit, one-sided at level 1 - `error_rate`.
    pub low: f64,
    /// Upper confidence limit, one-sided at level 1 - `error_rate`.
    pub high: f64,
    /// Distinct samples in the mean: what the interval is taken over.
    pub samples: u32,
    /// Distinct pairs of a sample and its edited self in the mean.
    pub pairs: u32,
    /// Comparisons in the mean, repeats of a pair included.
    pub comparisons: u32,
    /// Comparisons in which the reward abstained on both sides, left out of the mean.
    pub abstained: u32,
    /// Comparisons that make the verdict [`MeanGapVerdict::Broken`].
    pub broken: u32,
    /// Those of them in which the reward failed on the original already: it is broken whatever the
    /// edit.
    pub broken_originals: u32,
    /// Draws in which the edit found nothing to edit.
    pub not_applicable: u32,
    /// The verdict.
    pub verdict: MeanGapVerdict,
}

/// Scores pairs of samples and their edited selves and compares the mean signed gap with a bound.
///
/// The gaps of a pair drawn again are averaged, then the pairs of a sample, and the mean and its
/// limits `mean -+ t(1 - error_rate, n - 1) s / sqrt(n)` (Student's t) are taken over the n
/// distinct samples, each weighing alike. So the answer is for *samples like these*, and their
/// number is what counts: drawing the same few more often narrows the noise of the reward on each,
/// and nothing else. From fewer than [`MeanGapConfig::FEWEST_SAMPLES`] there is no decision.
/// Samples that share a prompt count as distinct, so take few of each prompt where the reward's
/// bias may depend on it.
///
/// Both error rates are exact where the samples' gaps are normally distributed, and hold about as
/// well for any symmetric ones:
///
/// - *false alarm*: when the true mean gap is within the bound, the verdict is `Exceeds` with
///   probability at most `error_rate` (reached when it sits exactly on the bound);
/// - *false pass*: when it is on the bound or beyond, the verdict is `Within` with probability at
///   most `error_rate` (two one-sided tests; Schuirmann 1987).
///
/// Skewed gaps exceed them on the side of the tail. From 20 samples and for an `error_rate` of
/// 0.05, exponentially distributed gaps pass falsely about one time in eight. A gap that only one
/// sample in k shows is not seen at all in n samples with probability `(1 - 1/k)^n`, so where such
/// a bias is to be found, take several times k of them.
///
/// Where no sample's gap differs (by more than a millionth of the bound), s says nothing. Then the
/// limits allow for the largest share of samples with another gap that could have been missed at
/// `error_rate`, `1 - error_rate^(1/n)`, every one with the largest gap the declared range has room
/// for: infinite for an unbounded reward, which leaves the verdict `Inconclusive`. Deterministic
/// rewards are a matter for [`find_violation`](crate::find_violation), which needs a single pair.
///
/// Samples and changes are drawn independently. Draws to which the edit does not apply are drawn
/// anew, up to ten times `draws` in all.
///
/// # Errors
/// A config field out of range.
pub fn mean_gap(
    reward: &(impl Reward + ?Sized),
    samples: impl Strategy<Value = OwnedSample>,
    edit: &Edit,
    config: MeanGapConfig,
) -> Result<MeanGapReport, RewardError> {
    const CONFIG: &str = "MeanGapConfig";
    let MeanGapConfig { bound, error_rate, draws, seed } = config;
    require_positive(CONFIG, "bound", bound)?;
    let rate = error_rate > 0.0 && error_rate < 0.5;
    require(rate, CONFIG, "error_rate", error_rate, "a number in (0, 0.5)")?;
    let enough = draws >= MeanGapConfig::FEWEST_SAMPLES;
    require(enough, CONFIG, "draws", draws, "at least 10, the fewest samples to decide from")?;

    let mut runner = runner(seed);
    let strategy = (samples, edit.changes().clone());
    let mut gaps = Gaps::default();
    let (mut comparisons, mut abstained, mut not_applicable) = (0, 0, 0);
    let (mut broken, mut broken_originals) = (0, 0);
    for _ in 0..u64::from(draws) * 10 {
        if comparisons + abstained + broken == draws {
            break;
        }
        let drawn = strategy.new_tree(&mut runner).ok().map(|tree| tree.current());
        let pair = drawn.and_then(|(sample, change)| Some((change.apply(&sample)?, sample)));
        let Some((edited, original)) = pair else {
            not_applicable += 1;
            continue;
        };
        let before = checked_score(reward, original.as_sample());
        let after = checked_score(reward, edited.as_sample());
        match (&before, &after) {
            (Score::Scored(before), Score::Scored(after)) if (after - before).is_finite() => {
                gaps.add(original, edited, after - before);
                comparisons += 1;
            }
            (Score::Abstained(_), Score::Abstained(_)) => abstained += 1,
            _ => {
                broken += 1;
                broken_originals += u32::from(matches!(before, Score::Failed(_)));
            }
        }
    }

    let means = gaps.by_sample();
    let samples = means.len() as u32;
    let (mean, reach) = one_sided_limits(&means, config, reward.range());
    let (low, high) = (mean - reach, mean + reach);
    let verdict = if broken > 0 {
        MeanGapVerdict::Broken
    } else if samples < MeanGapConfig::FEWEST_SAMPLES {
        MeanGapVerdict::Inconclusive
    } else if low > bound || high < -bound {
        MeanGapVerdict::Exceeds
    } else if low >= -bound && high <= bound {
        MeanGapVerdict::Within
    } else {
        MeanGapVerdict::Inconclusive
    };
    Ok(MeanGapReport {
        mean,
        low,
        high,
        samples,
        pairs: gaps.pairs(),
        comparisons,
        abstained,
        broken,
        broken_originals,
        not_applicable,
        verdict,
    })
}

/// Gaps by sample and pair, in the order of their first appearance, so that sums do not depend on
/// the order of a hash map.
#[derive(Default)]
struct Gaps {
    index: HashMap<OwnedSample, usize>,
    samples: Vec<Pairs>,
}

/// The pairs of one sample: what it was edited into, and the sum and number of the gaps.
#[derive(Default)]
struct Pairs {
    index: HashMap<OwnedSample, usize>,
    gaps: Vec<(f64, u32)>,
}

impl Gaps {
    fn add(&mut self, original: OwnedSample, edited: OwnedSample, gap: f64) {
        let sample = *self.index.entry(original).or_insert(self.samples.len());
        if sample == self.samples.len() {
            self.samples.push(Pairs::default());
        }
        let Pairs { index, gaps } = &mut self.samples[sample];
        let pair = *index.entry(edited).or_insert(gaps.len());
        if pair == gaps.len() {
            gaps.push((0.0, 0));
        }
        gaps[pair].0 += gap;
        gaps[pair].1 += 1;
    }

    fn pairs(&self) -> u32 {
        self.samples.iter().map(|sample| sample.gaps.len() as u32).sum()
    }

    /// The mean gap of each sample, its pairs weighing alike.
    fn by_sample(&self) -> Vec<f64> {
        let mean = |pairs: &Pairs| {
            let sum: f64 = pairs.gaps.iter().map(|(sum, count)| sum / f64::from(*count)).sum();
            sum / pairs.gaps.len() as f64
        };
        self.samples.iter().map(mean).collect()
    }
}

/// The mean and the distance to each one-sided limit; infinite for fewer than two samples.
fn one_sided_limits(means: &[f64], config: MeanGapConfig, range: Range) -> (f64, f64) {
    let n = means.len() as f64;
    if means.len() < 2 {
        return (means.first().copied().unwrap_or(0.0), f64::INFINITY);
    }
    let mean = means.iter().sum::<f64>() / n;
    let spread = means.iter().map(|gap| (gap - mean).abs()).fold(0.0, f64::max);
    if spread <= 1e-6 * config.bound {
        let missed = 1.0 - config.error_rate.powf(1.0 / n);
        return (mean, missed * (range.high() - range.low() + mean.abs()));
    }
    let variance = means.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let student = StudentsT::new(0.0, 1.0, n - 1.0).expect("n - 1 is at least 1");
    (mean, student.inverse_cdf(1.0 - config.error_rate) * (variance / n).sqrt())
}

/// Asserts that the mean gap is shown to lie within the bound: passes on [`MeanGapVerdict::Within`]
/// alone.
///
/// A reward whose true gap reaches the bound passes with probability at most `error_rate`, as far
/// as [`mean_gap`] holds. A perfectly invariant but noisy reward fails as inconclusive when there
/// are too few samples; the message says how wide the interval was. For a standard deviation s of
/// the samples' gaps and an `error_rate` of 0.05, `(3.3 s / bound)^2` samples let an invariant
/// reward pass nine times in ten, and `(4.3 s / bound)^2` 99 times in a hundred. Drawing each of
/// them m times makes the reward's noise in s smaller by `sqrt(m)`.
///
/// # Panics
/// With the reason and the report when the verdict is another one, or the config is out of range.
#[track_caller]
pub fn assert_mean_gap_within(
    reward: &(impl Reward + ?Sized),
    samples: impl Strategy<Value = OwnedSample>,
    edit: &Edit,
    config: MeanGapConfig,
) -> MeanGapReport {
    let (reward_name, edit_name, bound) = (reward.name(), edit.name(), config.bound);
    match mean_gap(reward, samples, edit, config) {
        Ok(report) if report.verdict == MeanGapVerdict::Within => report,
        Ok(report) => panic!(
            "the mean gap of `{reward_name}` under the edit `{edit_name}` is not shown to be \
             within {bound}: {}: {report:?}",
            reason(&report)
        ),
        Err(error) => panic!("{error}"),
    }
}

/// Why a report does not say [`MeanGapVerdict::Within`].
fn reason(report: &MeanGapReport) -> String {
    let MeanGapReport { mean, low, high, samples, broken, broken_originals, .. } = report;
    match report.verdict {
        MeanGapVerdict::Broken if *broken_originals > 0 => format!(
            "the reward is broken whatever the edit: it fails on {broken_originals} originals"
        ),
        MeanGapVerdict::Broken => format!("{broken} comparisons have no gap"),
        MeanGapVerdict::Inconclusive if *samples < MeanGapConfig::FEWEST_SAMPLES => format!(
            "{samples} distinct samples were compared and {} are needed",
            MeanGapConfig::FEWEST_SAMPLES
        ),
        MeanGapVerdict::Inconclusive if high.is_infinite() => format!(
            "the gap is {mean} in all {samples} samples and the declared range is unbounded, so it \
             may be any size elsewhere"
        ),
        _ => format!("it lies in [{low}, {high}]"),
    }
}
