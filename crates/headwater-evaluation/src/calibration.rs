//! Does stated confidence mean what it says? Accuracy, calibration error, Brier score, ranking.
//!
//! Throughout, `confidence[i]` in [0, 1] is the stated probability that answer i is right and
//! `correct[i]` says whether it is. **No single number suffices**: a constant confidence at the
//! base rate has an ECE near 0 and an AUROC of 0.5. Report ECE, Brier score and AUROC together.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{EvaluationError, argument, at_least, distribution, every, same_length};
use crate::intervals::{Interval, wilson_interval};
use crate::ranks::{ascending, mid_ranks, ties};

/// The most bins a binned metric takes. Far finer than confidence is ever stated; a number above it
/// is a mistake, and would only cost memory.
pub const MOST_BINS: usize = 100_000;

/// Share of right answers; in [0, 1].
///
/// # Errors
/// No entry.
pub fn accuracy(correct: &[bool]) -> Result<f64, EvaluationError> {
    at_least("correct", correct.len(), 1)?;
    Ok(correct.iter().filter(|&&c| c).count() as f64 / correct.len() as f64)
}

/// Brier score: mean (confidence - correct)²; in [0, 1], lower is better, 0.25 for a constant 0.5.
///
/// A strictly proper loss: only the true probability minimises it. Source: Brier (1950), the
/// one-event form.
///
/// # Errors
/// No entry, lengths that differ, or a confidence outside [0, 1].
pub fn brier(confidence: &[f64], correct: &[bool]) -> Result<f64, EvaluationError> {
    check(confidence, correct)?;
    let total: f64 = confidence.iter().zip(correct).map(|(q, &c)| (q - outcome(c)).powi(2)).sum();
    Ok(total / confidence.len() as f64)
}

/// Brier score over any number of classes: mean over rows of Σ_y (p_y - 1\[y happened\])²; in [0,
/// 2], lower is better, 1 - 1/K for a constant 1/K.
///
/// `probability[i]` is the distribution over the K classes, `class[i]` the one that happened. Two
/// classes give twice [`brier`] of the probability of either. Strictly proper. Source: Brier
/// (1950).
///
/// # Errors
/// No row, lengths that differ, a row of another number of classes than the first or whose entries
/// are not in [0, 1] with a sum of 1 within 1e-3 (the slack is for softmax rows in single
/// precision), or a class that is not below K; by the row.
pub fn brier_classes<R: AsRef<[f64]>>(
    probability: &[R],
    class: &[usize],
) -> Result<f64, EvaluationError> {
    at_least("probability", probability.len(), 1)?;
    same_length("probability", probability.len(), "class", class.len())?;
    let classes = probability[0].as_ref().len();
    let mut total = 0.0;
    for (index, (row, &class)) in probability.iter().zip(class).enumerate() {
        let row = row.as_ref();
        let score = || {
            same_length("classes", classes, "row", row.len())?;
            distribution("row", row)?;
            argument(
                class < classes,
                "class",
                class as f64,
                "an integer below the number of classes",
            )?;
            let square = |(y, p): (usize, &f64)| (p - outcome(y == class)).powi(2);
            Ok(row.iter().enumerate().map(square).sum::<f64>())
        };
        total += score().map_err(|error: EvaluationError| error.of_item("probability", index))?;
    }
    Ok(total / probability.len() as f64)
}

/// Expected calibration error over equal-width bins: Σ_b (n_b/N) |mean confidence - accuracy|; in
/// [0, 1].
///
/// Bin b of B is [b/B, (b+1)/B), the last one closed, so 0 and 1 are included; empty bins drop out.
/// Source: Guo et al. (2017), arXiv 1706.04599, with the half-open bins of Damani et al. (2025),
/// arXiv 2507.16806 (Guo et al. have them open on the left). Edges are b/B correctly rounded: a
/// stated 0.3 opens bin [0.3, 0.4), whereas edges made by adding steps of 0.1 (0.30000000000000004)
/// put it one bin lower.
///
/// Biased upwards in small samples (a perfectly calibrated model scores about 0.8 Σ_b √(n_b p_b(1 -
/// p_b))/N, p_b the accuracy in bin b); compare equal N and B only, or use
/// [`squared_ece_debiased`].
///
/// # Errors
/// No entry, lengths that differ, a confidence outside [0, 1], or bins outside 1..=[`MOST_BINS`].
pub fn ece_equal_width(
    confidence: &[f64],
    correct: &[bool],
    bins: usize,
) -> Result<f64, EvaluationError> {
    Ok(expected_error(&equal_width_bins(confidence, correct, bins)?, confidence.len()))
}

/// Expected calibration error over bins of (nearly) equal size: the same sum as
/// [`ece_equal_width`].
///
/// Less at the mercy of where confidence crowds together; the adaptive error of Nguyen and O'Connor
/// (2015) and Nixon et al. (2019), arXiv 1904.01685. Equal confidences are never split over two
/// bins, so the order of the entries does not matter and heavily tied confidences (a few confidence
/// tokens) give fewer bins than asked for; no bin holds a single entry.
///
/// # Errors
/// As [`ece_equal_width`].
pub fn ece_equal_mass(
    confidence: &[f64],
    correct: &[bool],
    bins: usize,
) -> Result<f64, EvaluationError> {
    Ok(expected_error(&equal_mass_bins(confidence, correct, bins)?, confidence.len()))
}

/// Debiased estimate of the *squared* calibration error over the bins of [`ece_equal_mass`].
///
/// Σ_b (n_b/N) [d̄_b² - s_b²/n_b], where d = confidence - correct and s_b² is its sample variance
/// in the bin. The plug-in square minus its sampling variance, as in Bröcker (2012) and Kumar,
/// Liang and Ma (2019), arXiv 1909.10155; theirs takes accuracy(1 - accuracy)/(n_b - 1)
/// for the variance, which this equals where confidence is constant within a bin, and which
/// over-corrects where it is not. Unbiased given the bins, and therefore **may be negative**:
/// average it over seeds first, and only then take a root.
///
/// # Errors
/// As [`ece_equal_width`]; fewer than two entries.
pub fn squared_ece_debiased(
    confidence: &[f64],
    correct: &[bool],
    bins: usize,
) -> Result<f64, EvaluationError> {
    at_least("confidence", confidence.len(), 2)?;
    let bins = equal_mass_bins(confidence, correct, bins)?;
    let total: f64 = bins
        .iter()
        .map(|bin| {
            let count = bin.count as f64;
            let gap = bin.mean_confidence() - bin.accuracy();
            let variance_of_mean = (bin.squared_error / count - gap * gap) / (count - 1.0);
            count * (gap * gap - variance_of_mean)
        })
        .sum();
    Ok(total / confidence.len() as f64)
}

/// The Brier score taken apart over bins; see [`brier_decomposition`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BrierDecomposition {
    /// Σ_b (n_b/N)(mean confidence - accuracy)²: miscalibration, lower is better.
    pub reliability: f64,
    /// Σ_b (n_b/N)(accuracy - base rate)²: how far confidence separates right from wrong, higher is
    /// better.
    pub resolution: f64,
    /// Base rate × (1 - base rate): what no forecaster can change.
    pub uncertainty: f64,
    /// Variance of confidence within bins.
    pub within_bin_variance: f64,
    /// Twice the covariance of confidence and correctness within bins.
    pub within_bin_covariance: f64,
}

impl BrierDecomposition {
    /// The Brier score: reliability - resolution + uncertainty + within-bin variance - within-bin
    /// covariance.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.reliability - self.generalised_resolution() + self.uncertainty
    }

    /// Resolution - within-bin variance + within-bin covariance: hardly depends on the binning.
    #[must_use]
    pub fn generalised_resolution(&self) -> f64 {
        self.resolution - self.within_bin_variance + self.within_bin_covariance
    }
}

/// Murphy's decomposition of the Brier score over equal-width bins, with the within-bin terms.
///
/// Reliability - resolution + uncertainty (Murphy 1973) equals the Brier score only where
/// confidence is constant within each bin; the two further terms (Stephenson, Coelho and Jolliffe
/// 2008) make the sum exact.
///
/// # Errors
/// As [`ece_equal_width`].
pub fn brier_decomposition(
    confidence: &[f64],
    correct: &[bool],
    bins: usize,
) -> Result<BrierDecomposition, EvaluationError> {
    let bins = equal_width_bins(confidence, correct, bins)?;
    let base_rate = accuracy(correct)?;
    let mean =
        |term: &dyn Fn(&Bin) -> f64| bins.iter().map(term).sum::<f64>() / confidence.len() as f64;
    Ok(BrierDecomposition {
        reliability: mean(&|b| b.count as f64 * (b.mean_confidence() - b.accuracy()).powi(2)),
        resolution: mean(&|b| b.count as f64 * (b.accuracy() - base_rate).powi(2)),
        uncertainty: base_rate * (1.0 - base_rate),
        within_bin_variance: mean(&|b| b.confidence_spread),
        within_bin_covariance: mean(&|b| 2.0 * b.confidence_outcome_spread),
    })
}

/// Area under the ROC curve of `score` for `positive`: the probability that a positive outranks a
/// negative, ties counting half; in [0, 1], 0.5 for a constant score.
///
/// The Mann-Whitney form, equal to the trapezoid under the curve. `score` may be any finite number;
/// for calibration it is the confidence and `positive` the correctness.
///
/// # Errors
/// No entry, lengths that differ, NaN or infinity, or one class only (then it is undefined, not
/// 0.5).
pub fn auroc(score: &[f64], positive: &[bool]) -> Result<f64, EvaluationError> {
    at_least("score", score.len(), 1)?;
    same_length("score", score.len(), "positive", positive.len())?;
    crate::error::all_finite("score", score)?;
    let positives = positive.iter().filter(|&&p| p).count();
    let negatives = positive.len() - positives;
    if positives == 0 || negatives == 0 {
        let (value, count) = (positives > 0, positive.len());
        return Err(EvaluationError::OneClass { argument: "positive", value, count });
    }
    let rank_sum: f64 =
        mid_ranks(score).iter().zip(positive).filter(|(_, p)| **p).map(|(r, _)| r).sum();
    let (positives, negatives) = (positives as f64, negatives as f64);
    Ok((rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives))
}

/// One point of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityPoint {
    /// Lower edge of the bin (included).
    pub low: f64,
    /// Upper edge (excluded, except for 1).
    pub high: f64,
    /// Mean confidence in the bin.
    pub mean_confidence: f64,
    /// Accuracy in the bin with its Wilson interval; `n` is the bin's size.
    pub accuracy: Interval,
}

/// The reliability diagram over equal-width bins: non-empty bins from low confidence to high.
///
/// # Errors
/// As [`ece_equal_width`], or a level outside (0, 1).
pub fn reliability_curve(
    confidence: &[f64],
    correct: &[bool],
    bins: usize,
    level: f64,
) -> Result<Vec<ReliabilityPoint>, EvaluationError> {
    equal_width_bins(confidence, correct, bins)?
        .iter()
        .map(|bin| {
            Ok(ReliabilityPoint {
                low: bin.low,
                high: bin.high,
                mean_confidence: bin.mean_confidence(),
                accuracy: wilson_interval(bin.right, bin.count, level)?,
            })
        })
        .collect()
}

/// The sums every binned metric is made of.
struct Bin {
    low: f64,
    high: f64,
    count: usize,
    right: usize,
    confidence: f64,
    /// Σ (confidence - correct)².
    squared_error: f64,
    /// Σ (confidence - bin mean)².
    confidence_spread: f64,
    /// Σ (confidence - bin mean)(correct - bin accuracy).
    confidence_outcome_spread: f64,
}

impl Bin {
    /// The bin of the entries `members`, which must not be empty.
    fn of(low: f64, high: f64, confidence: &[f64], correct: &[bool], members: &[usize]) -> Self {
        let count = members.len();
        let total: f64 = members.iter().map(|&i| confidence[i]).sum();
        let right = members.iter().filter(|&&i| correct[i]).count();
        let mean = total / count as f64;
        let sum = |term: &dyn Fn(f64, f64) -> f64| {
            members.iter().map(|&i| term(confidence[i], outcome(correct[i]))).sum::<f64>()
        };
        Self {
            low,
            high,
            count,
            right,
            confidence: total,
            squared_error: sum(&|q, c| (q - c).powi(2)),
            confidence_spread: sum(&|q, _| (q - mean).powi(2)),
            confidence_outcome_spread: sum(&|q, c| (q - mean) * (c - right as f64 / count as f64)),
        }
    }

    fn mean_confidence(&self) -> f64 {
        self.confidence / self.count as f64
    }

    fn accuracy(&self) -> f64 {
        self.right as f64 / self.count as f64
    }
}

fn outcome(correct: bool) -> f64 {
    f64::from(u8::from(correct))
}

fn expected_error(bins: &[Bin], entries: usize) -> f64 {
    bins.iter()
        .map(|bin| {
            bin.count as f64 / entries as f64 * (bin.mean_confidence() - bin.accuracy()).abs()
        })
        .sum()
}

fn check(confidence: &[f64], correct: &[bool]) -> Result<(), EvaluationError> {
    at_least("confidence", confidence.len(), 1)?;
    same_length("confidence", confidence.len(), "correct", correct.len())?;
    every("confidence", confidence, "a number in [0, 1]", |q| (0.0..=1.0).contains(&q))
}

fn check_bins(bins: usize) -> Result<(), EvaluationError> {
    let allowed = "an integer in 1..=100000";
    argument((1..=MOST_BINS).contains(&bins), "bins", bins as f64, allowed)
}

/// The non-empty bins [b/B, (b+1)/B), the last one closed.
fn equal_width_bins(
    confidence: &[f64],
    correct: &[bool],
    bins: usize,
) -> Result<Vec<Bin>, EvaluationError> {
    check(confidence, correct)?;
    check_bins(bins)?;
    let edge = |b: usize| b as f64 / bins as f64;
    let mut members = vec![Vec::new(); bins];
    for (index, &q) in confidence.iter().enumerate() {
        // q * bins may round across an edge by one: settle it against the edges themselves.
        let mut bin = ((q * bins as f64) as usize).min(bins - 1);
        if q < edge(bin) {
            bin -= 1;
        } else if bin + 1 < bins && q >= edge(bin + 1) {
            bin += 1;
        }
        members[bin].push(index);
    }
    Ok(members
        .iter()
        .enumerate()
        .filter(|(_, members)| !members.is_empty())
        .map(|(b, members)| Bin::of(edge(b), edge(b + 1), confidence, correct, members))
        .collect())
}

/// At most `bins` bins of nearly equal size that split no tie and hold two entries or more (unless
/// there is one in all).
fn equal_mass_bins(
    confidence: &[f64],
    correct: &[bool],
    bins: usize,
) -> Result<Vec<Bin>, EvaluationError> {
    check(confidence, correct)?;
    check_bins(bins)?;
    let order = ascending(confidence);
    let mut filled: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    for run in ties(confidence, &order) {
        let target = (order.len() - start).div_ceil(bins - filled.len());
        let (without, with) = (run.start - start, run.end - start);
        let closer = without.abs_diff(target) <= with.abs_diff(target);
        if closer && without >= 2 && order.len() - run.start >= 2 {
            filled.push(start..run.start);
            start = run.start;
        }
    }
    // With one bin to go the target is all that is left, so the loop never closes the last bin.
    filled.push(start..order.len());
    Ok(filled
        .into_iter()
        .map(|range| {
            let members = &order[range];
            let (low, high) = (confidence[members[0]], confidence[members[members.len() - 1]]);
            Bin::of(low, high, confidence, correct, members)
        })
        .collect())
}
