//! One arm's training, and what is measured of it.

use std::collections::BTreeMap;

use headwater_core::{Check, Streams};
use headwater_decisions::{Architecture, Objective, Training, TrainingConfig, train};
use headwater_evaluation::calibration::{auroc, ece_equal_mass};
use headwater_evaluation::decision::{ClassWeights, log_loss, logit, sigmoid};
use headwater_evaluation::recalibration::{Isotonic, Scored, decision_scores};
use headwater_protocol::{CellError, Metrics, Scalar, Series};
use serde::{Deserialize, Serialize};

use super::populations::Rows;
use super::{
    AUC, AUC_OFFICIAL, ECE, EPOCH, LOSS_OF_POSTERIOR, STATED, TRUE, acts, choosing, cost,
    curvature, excess, incentive, learning, loss,
};

/// What an arm is trained on. A share is b of the mean-one weights w_1 = 2 b and w_0 = 2 (1 - b).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Method {
    /// The plain log loss; scored under all weights after the shift of its logit. This is ex-post
    /// weighting.
    Unweighted,
    /// The weighted log loss.
    Weighted { share: f64 },
    /// The log loss of a shifted logit.
    LogitAdjusted { share: f64 },
    /// The representation of the unweighted arm under a new last layer trained on the weighted
    /// loss.
    Decoupled { share: f64 },
    /// Focal loss with the paper's constants, recalibrated and then shifted.
    Focal { share: f64 },
}

/// Names of the weights in metrics, with their share b.
pub const WEIGHTS: [(&str, f64); 2] = [("10", 0.1), ("90", 0.9)];

/// Groups of the reliability curve.
pub const GROUPS: usize = 10;

/// Logits of the parts that are scored.
struct Logits {
    calibration: Vec<f64>,
    test: Vec<f64>,
    official: Option<Vec<f64>>,
}

impl Logits {
    fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        let map = |logits: &[f64]| logits.iter().map(|z| f(*z)).collect();
        Self {
            calibration: map(&self.calibration),
            test: map(&self.test),
            official: self.official.as_deref().map(map),
        }
    }
}

/// Numbers and series of numbers by name.
#[derive(Default)]
struct Numbers {
    scalars: BTreeMap<Scalar, f64>,
    series: BTreeMap<Series, Vec<f64>>,
}

impl Numbers {
    /// Adds `share` times a number to what is there.
    fn add(&mut self, metric: Scalar, share: f64, value: f64) {
        *self.scalars.entry(metric).or_default() += share * value;
    }

    fn add_series(&mut self, metric: Series, share: f64, values: &[f64]) {
        let series = self.series.entry(metric).or_insert_with(|| vec![0.0; values.len()]);
        for (sum, value) in series.iter_mut().zip(values) {
            *sum += share * value;
        }
    }

    fn metrics(self) -> Metrics {
        let metrics = self
            .scalars
            .into_iter()
            .fold(Metrics::new(), |metrics, (metric, value)| metrics.scalar(&metric, value));
        self.series
            .into_iter()
            .fold(metrics, |metrics, (metric, values)| metrics.series(&metric, values))
    }
}

/// Trains `repeats` networks on `rows` and scores them under the weights that the method is for;
/// means over the networks.
pub(super) fn run(
    method: Method,
    rows: &Rows,
    training: &TrainingConfig,
    repeats: usize,
    streams: &Streams,
) -> Result<Metrics, CellError> {
    let mut numbers = Numbers::default();
    for repeat in 0..repeats {
        let streams = streams.child("network", &[repeat as u64]);
        let (epoch, logits) = logits(method, rows, training, &streams)?;
        let share = 1.0 / repeats as f64;
        numbers.add(EPOCH, share, epoch as f64);
        score(&mut numbers, share, method, &logits, rows)?;
    }
    Ok(numbers.metrics())
}

/// The epoch that one network's training was stopped at, and its logits.
fn logits(
    method: Method,
    rows: &Rows,
    training: &TrainingConfig,
    streams: &Streams,
) -> Result<(usize, Logits), CellError> {
    let objective = match method {
        Method::Unweighted | Method::Decoupled { .. } => Objective::plain(),
        Method::Weighted { share } => Objective::Weighted(ClassWeights::mean_one(share)?),
        Method::LogitAdjusted { share } => Objective::LogitAdjusted(ClassWeights::mean_one(share)?),
        Method::Focal { .. } => Objective::Focal { focusing: 2.0, share: 0.25 },
    };
    let config = training.clone().check()?;
    let trained = train(&rows.train, &rows.validation, objective, &config, streams)?;
    let mut scored = vec![&rows.calibration, &rows.test];
    scored.extend(&rows.official);
    let parts = match method {
        Method::Decoupled { share } => {
            let objective = Objective::Weighted(ClassWeights::mean_one(share)?);
            let (head, seen) = (head(training)?, [&rows.train, &rows.validation]);
            trained.with_new_head(seen, objective, &head, &streams.child("head", &[]), &scored)?
        }
        _ => scored.iter().map(|part| trained.network.logits(part.features())).collect(),
    };
    let mut parts = parts.into_iter();
    let mut next = || parts.next().expect("logits of every part that was asked for");
    let (calibration, test) = (next(), next());
    let official = rows.official.as_ref().map(|_| next());
    Ok((trained.epoch, Logits { calibration, test, official }))
}

/// A last layer alone, trained for as many epochs at ten times the rate: it has one layer, not
/// several, to move.
fn head(training: &TrainingConfig) -> Result<Training, CellError> {
    let head = TrainingConfig {
        architecture: Architecture::Dense { hidden: Vec::new() },
        learning_rate: 10.0 * training.learning_rate,
        ..training.clone()
    };
    Ok(head.check()?)
}

/// Adds `share` of every score of one network.
fn score(
    numbers: &mut Numbers,
    share_of_mean: f64,
    method: Method,
    logits: &Logits,
    rows: &Rows,
) -> Result<(), CellError> {
    let mut add = |metric: Scalar, value: f64| numbers.add(metric, share_of_mean, value);
    let (calibration, test) = (rows.calibration.positive(), rows.test.positive());
    let map = Isotonic::fit(&logits.calibration, calibration)?;
    // The logits of the posterior that the arm's weighted prediction stands for.
    let posterior = match method {
        Method::Unweighted => logits.map(|z| z),
        Method::Weighted { share }
        | Method::LogitAdjusted { share }
        | Method::Decoupled { share } => {
            let shift = ClassWeights::mean_one(share)?.shift();
            logits.map(|z| z - shift)
        }
        Method::Focal { .. } => {
            let recalibrated = |z: f64| {
                logit(map.probability(z)).expect("a recalibrated probability is inside (0, 1)")
            };
            logits.map(recalibrated)
        }
    };
    for (name, share) in WEIGHTS {
        let own = match method {
            Method::Unweighted => true,
            Method::Weighted { share: own }
            | Method::LogitAdjusted { share: own }
            | Method::Decoupled { share: own }
            | Method::Focal { share: own } => own == share,
        };
        if own {
            let weights = ClassWeights::mean_one(share)?;
            let predictions = posterior.map(|z| z + weights.shift());
            let scores = decision_scores(
                weights,
                Scored { logits: &predictions.calibration, positive: calibration },
                Scored { logits: &predictions.test, positive: test },
            )?;
            let acting = predictions.test.iter().filter(|z| **z > 0.0).count();
            for (metric, value) in [
                (loss(name), scores.loss),
                (learning(name), scores.learning),
                (choosing(name), scores.choosing),
                (cost(name), scores.cost),
                (acts(name), acting as f64 / test.len() as f64),
            ] {
                add(metric, value);
            }
        }
        if method == Method::Unweighted {
            // What theory predicts from: posteriors of the test rows, recalibrated on others.
            let weights = ClassWeights::mean_one(share)?;
            let posteriors: Vec<f64> = logits.test.iter().map(|z| map.probability(*z)).collect();
            add(incentive(name), weights.expected_incentive(&posteriors)?);
            add(curvature(name), weights.expected_curvature_ratio(&posteriors)?);
            add(excess(name), weights.excess_ratio(&posteriors)? - 1.0);
        }
    }
    let stated: Vec<f64> = posterior.test.iter().map(|z| sigmoid(*z)).collect();
    let losses = posterior.test.iter().zip(test).map(|(z, y)| log_loss(*z, *y));
    let (said, seen) = reliability(&stated, test);
    add(AUC, auroc(&logits.test, test)?);
    add(LOSS_OF_POSTERIOR, losses.sum::<f64>() / test.len() as f64);
    add(ECE, ece_equal_mass(&stated, test, GROUPS)?);
    if let (Some(logits), Some(rows)) = (&logits.official, &rows.official) {
        add(AUC_OFFICIAL, auroc(logits, rows.positive())?);
    }
    numbers.add_series(STATED, share_of_mean, &said);
    numbers.add_series(TRUE, share_of_mean, &seen);
    Ok(())
}

/// Mean stated probability and share of positives in [`GROUPS`] groups of equal size, from the
/// lowest stated.
fn reliability(stated: &[f64], positive: &[bool]) -> (Vec<f64>, Vec<f64>) {
    let mut order: Vec<usize> = (0..stated.len()).collect();
    order.sort_by(|a, b| stated[*a].total_cmp(&stated[*b]));
    let group = |at: usize| {
        let of = |at: usize| at * order.len() / GROUPS;
        let rows = &order[of(at)..of(at + 1)];
        let count = rows.len().max(1) as f64;
        let said: f64 = rows.iter().map(|row| stated[*row]).sum();
        let seen = rows.iter().filter(|row| positive[**row]).count();
        (said / count, seen as f64 / count)
    };
    (0..GROUPS).map(group).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reliability_curve_by_hand() {
        // 20 rows, two a group: stated 0, .05, .1, ...; every second is positive.
        let stated: Vec<f64> = (0..20).rev().map(|at| f64::from(at) / 20.0).collect();
        let positive: Vec<bool> = (0..20).map(|at| at % 2 == 0).collect();
        let (said, seen) = reliability(&stated, &positive);
        assert_eq!(seen, vec![0.5; GROUPS]);
        assert!((said[0] - 0.025).abs() < 1e-12 && (said[9] - 0.925).abs() < 1e-12);
    }
}
