//! Recalibration of scores, and a weighted loss taken apart into what was learnt and how it was used.

use crate::calibration::auroc;
use crate::decision::{ClassWeights, logit};
use crate::error::{EvaluationError, all_finite, at_least, same_length};

/// A non-decreasing step function from scores to probabilities: isotonic regression by pooling adjacent violators
/// (Ayer et al. 1955; for classifiers Zadrozny and Elkan 2002).
///
/// One positive is added below all scores and one negative above all, so that no probability is 0 or 1 and every log
/// loss is finite. A score between two steps belongs to the nearer one.
#[derive(Debug, Clone, PartialEq)]
pub struct Isotonic {
    /// Ascending: the score from which on each step holds (the first from minus infinity), and its probability.
    steps: Vec<(f64, f64)>,
}

/// Rows pooled: their scores' range, their number, their positives.
struct Block {
    low: f64,
    high: f64,
    count: f64,
    positives: f64,
}

impl Block {
    fn rate(&self) -> f64 {
        self.positives / self.count
    }

    /// Takes in the block of the next higher scores.
    fn pool(&mut self, next: Self) {
        self.high = next.high;
        self.count += next.count;
        self.positives += next.positives;
    }
}

impl Isotonic {
    /// The least-squares non-decreasing fit of outcomes on scores, equal scores pooled first.
    ///
    /// # Errors
    /// No row, lengths that differ, or a score that is not finite.
    pub fn fit(score: &[f64], positive: &[bool]) -> Result<Self, EvaluationError> {
        at_least("score", score.len(), 1)?;
        same_length("score", score.len(), "positive", positive.len())?;
        all_finite("score", score)?;
        let mut order: Vec<usize> = (0..score.len()).collect();
        order.sort_by(|a, b| score[*a].total_cmp(&score[*b]));
        let (lowest, highest) = (score[order[0]], score[order[order.len() - 1]]);
        let row = |score: f64, positive: bool| Block {
            low: score,
            high: score,
            count: 1.0,
            positives: f64::from(u8::from(positive)),
        };
        let rows = order.iter().map(|at| row(score[*at], positive[*at]));
        let rows = [row(lowest, true)].into_iter().chain(rows).chain([row(highest, false)]);
        // Equal scores are one block before any are compared: which of them comes first must not matter.
        let mut ties: Vec<Block> = Vec::with_capacity(score.len());
        for next in rows {
            match ties.last_mut() {
                Some(last) if last.high == next.low => last.pool(next),
                _ => ties.push(next),
            }
        }
        let mut blocks: Vec<Block> = Vec::new();
        for next in ties {
            blocks.push(next);
            while let [.., before, last] = &blocks[..]
                && before.rate() >= last.rate()
            {
                let last = blocks.pop().expect("two blocks");
                blocks.last_mut().expect("one block").pool(last);
            }
        }
        let mut steps = vec![(f64::NEG_INFINITY, blocks[0].rate())];
        let edges = blocks.windows(2).map(|pair| {
            // Halved first, for a sum may overflow; between neighbours the middle may be the lower
            // one.
            let (high, low) = (pair[0].high, pair[1].low);
            let middle = 0.5 * high + 0.5 * low;
            (if middle > high { middle } else { low }, &pair[1])
        });
        steps.extend(edges.map(|(from, block)| (from, block.rate())));
        Ok(Self { steps })
    }

    /// The probability of a positive at `score`; in (0, 1), and NaN for NaN.
    #[must_use]
    pub fn probability(&self, score: f64) -> f64 {
        if score.is_nan() {
            return score;
        }
        let above = self.steps.partition_point(|(from, _)| *from <= score);
        self.steps[above.saturating_sub(1)].1
    }

    /// Number of steps.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps.len()
    }
}

/// Scores of one model's rows: logits and what is true of them.
#[derive(Debug, Clone, Copy)]
pub struct Scored<'a> {
    /// Logits of the weighted prediction p^w.
    pub logits: &'a [f64],
    /// Whether each row is positive.
    pub positive: &'a [bool],
}

/// How well weighted predictions serve decisions; see [`decision_scores`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecisionScores {
    /// Mean weighted log loss, nats; lower is better.
    pub loss: f64,
    /// Its *learning* part: what is left after the best monotone recalibration.
    pub learning: f64,
    /// Its *choosing* part: the rest. Below 0 where recalibration, learnt from finitely many rows, cost more than it
    /// repaired.
    pub choosing: f64,
    /// Mean cost of the decisions.
    pub cost: f64,
    /// Area under the ROC curve, which no increasing map of the scores changes: the other measure of learning.
    pub auc: f64,
}

/// Scores `test` under `weights`; `calibration` rows, which must be others, teach the recalibration.
///
/// The learning part is the weighted log loss of p^w(g(z)), where g is [`Isotonic`], fitted on the calibration rows
/// without weights: learnt as a posterior, then shifted by ln(w_1/w_0). So it is the same for a model trained on the
/// weighted loss and for one adjusted afterwards if they rank rows alike.
///
/// # Errors
/// No row, lengths that differ, a logit that is not finite, or test rows of one class.
pub fn decision_scores(
    weights: ClassWeights,
    calibration: Scored<'_>,
    test: Scored<'_>,
) -> Result<DecisionScores, EvaluationError> {
    let map = Isotonic::fit(calibration.logits, calibration.positive)?;
    let loss = weights.log_loss(test.logits, test.positive)?;
    let mut recalibrated = Vec::with_capacity(test.logits.len());
    for z in test.logits {
        recalibrated.push(logit(map.probability(*z))? + weights.shift());
    }
    let learning = weights.log_loss(&recalibrated, test.positive)?;
    Ok(DecisionScores {
        loss,
        learning,
        choosing: loss - learning,
        cost: weights.cost(test.logits, test.positive)?,
        auc: auroc(test.logits, test.positive)?,
    })
}
