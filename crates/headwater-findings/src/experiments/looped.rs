//! What the experiments with a recommender share: a loop of serving, logging and retraining in one
//! world, and what is measured of it.
//!
//! Whatever users do comes from the streams of the seed alone, so arms are paired in every draw,
//! and share their first round. Of each round's metrics the finding uses the utility ratio
//! (expected clicks on what was shown over those on the ideal lists), how exposure is spread, and
//! how it goes with the legacy prior.

use headwater_core::{Check, Streams};
use headwater_evaluation::calibration::auroc;
use headwater_protocol::{CellError, Metric, Metrics, Scalar, Series, metrics};
use headwater_recsys::metrics::calibration_by_position;
use headwater_recsys::{
    Arm, At, BiasCurve, Catalogue, Head, Log, LogShape, LoopConfig, NeuralRanker,
    NeuralRankerConfig, PositionGraph, Ranker, RecsysError, Requests, Round, RoundMetrics, World,
    WorldConfig, run as run_loop,
};
use serde::{Deserialize, Serialize};

use relabelling::Relabelling;

mod relabelling;

/// Items that two slots have to share for their biases to be compared.
const LEAST_SHARED: usize = 5;

/// Bins of the calibration error on a slot.
const BINS: usize = 10;

/// Expected clicks on what was shown over those on the ideal lists, by round.
pub const UTILITY: Series = Series::new("utility");
/// The same of likes.
pub const LIKES: Series = Series::new("likes");
/// Expected clicks that were missed so far, by round.
pub const REGRET: Series = Series::new("regret");
/// Gini coefficient of exposure by round.
pub const GINI: Series = Series::new("gini");
/// Share of items shown, by round.
pub const COVERAGE: Series = Series::new("coverage");
/// Effective number of items shown, by round.
pub const EFFECTIVE_ITEMS: Series = Series::new("effective items");
/// Correlation of exposure with the legacy prior, by round.
pub const LEGACY: Series = Series::new("legacy");
/// Mean Jaccard index of what two users have clicked so far, by round.
pub const HOMOGENEITY: Series = Series::new("homogeneity");
/// Those numbers of each round.
const BY_ROUND: [Series; 8] =
    [UTILITY, LIKES, REGRET, GINI, COVERAGE, EFFECTIVE_ITEMS, LEGACY, HOMOGENEITY];

/// The mean of all rounds but the first, which is the same in every arm.
#[must_use]
pub fn mean(of: &Series) -> Scalar {
    Scalar::from(format!("{}, mean", of.name()))
}

/// The last round.
#[must_use]
pub fn last(of: &Series) -> Scalar {
    Scalar::from(format!("{}, last", of.name()))
}

/// The slope per round, without the first.
#[must_use]
pub fn slope(of: &Series) -> Scalar {
    Scalar::from(format!("{}, slope", of.name()))
}

/// Share of exposure that falls on items which were not there at the start; of all rounds but the
/// first.
pub const ARRIVED: Scalar =
    Scalar::labelled("exposure of arrived, mean", "exposure of arrived items");
/// AUC of predicted clicks on a log of lists by chance.
pub const CLICK_AUC: Scalar = Scalar::new("click AUC");
/// AUC of predicted likes on clicked impressions of that log.
pub const LIKE_AUC: Scalar = Scalar::new("like AUC");
/// Mean prediction less click rate by slot, the place given; before the last training.
pub const CALIBRATION_GIVEN: Series = Series::new("calibration, given place");
/// The same as it is served, without a place.
pub const CALIBRATION_SERVED: Series = Series::new("calibration, served");
/// ECE by slot, mean over slots, the place given.
pub const ECE_GIVEN: Scalar = Scalar::labelled("ECE, given place", "ECE, place given");
/// The same as it is served.
pub const ECE_SERVED: Scalar = Scalar::new("ECE, served");
/// Share of trainings whose log identifies a bias curve.
pub const IDENTIFIED: Scalar = Scalar::labelled("identified", "curves reported");
/// The last bias curve that was identified: log theta by slot, less that of the first.
pub const CURVE: Series = Series::new("curve");
/// log theta of its first slot less that of its last.
pub const CURVE_DEPTH: Scalar = Scalar::labelled("curve, depth", "depth");
/// Its root mean square error.
pub const CURVE_RMSE: Scalar = Scalar::labelled("curve, RMSE", "RMSE");
/// Its depth over the true one.
pub const CURVE_SHARE: Scalar = Scalar::labelled("curve, share of depth", "share of it");
/// log theta by slot as it is.
pub const TRUE_CURVE: Series = Series::new("true curve");

/// Everything that a loop may record.
pub(crate) fn metrics() -> Vec<Metric> {
    let mut metrics = metrics![
        ARRIVED,
        CLICK_AUC,
        LIKE_AUC,
        CALIBRATION_GIVEN,
        CALIBRATION_SERVED,
        ECE_GIVEN,
        ECE_SERVED,
        IDENTIFIED,
        CURVE,
        CURVE_DEPTH,
        CURVE_RMSE,
        CURVE_SHARE,
        TRUE_CURVE,
    ];
    for series in BY_ROUND {
        metrics.extend(metrics![mean(&series), last(&series), slope(&series), series]);
    }
    metrics
}

/// What decides a cell's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoopedConfig {
    pub(crate) world: WorldConfig,
    pub(crate) rounds: LoopConfig,
    pub(crate) server: Server,
}

/// Who serves all rounds but the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Server {
    /// A ranker that is retrained on its own log after every round.
    Retrained(NeuralRankerConfig),
    /// The same, trained on the first round only.
    Frozen(NeuralRankerConfig),
    /// The same, retrained on what the legacy prior is told by the same sessions: as much training
    /// without a loop.
    OpenLoop(NeuralRankerConfig),
    /// The same, retrained on its own log with clicks replaced by fresh draws of whether the user
    /// would click had they looked.
    Relevance(NeuralRankerConfig),
    /// Chance.
    Random,
    /// The truth.
    Oracle,
}

/// Runs a loop.
pub(crate) fn run(config: &LoopedConfig, streams: &Streams) -> Result<Metrics, CellError> {
    let world = config.world.clone().check()?;
    let settings = config.rounds.clone().check()?;
    let streams = streams.child("users and items, of the third run", &[]);
    let fresh = |config: &NeuralRankerConfig| -> Result<NeuralRanker, CellError> {
        let (shape, streams) = (LogShape::from(&world), streams.child("ranker", &[]));
        Ok(NeuralRanker::new(&config.clone().check()?, shape, &streams))
    };
    let mut arrived = Vec::new();
    let mut go = |arm: Arm<'_>| {
        run_loop(&world, &streams, arm, &settings, |round| {
            arrived.push(exposure_of_arrived(round, config.world.items));
            Ok(())
        })
    };
    let (rounds, watched) = match &config.server {
        Server::Random => (go(Arm::Random)?, None),
        Server::Oracle => (go(Arm::Oracle(Head::Click))?, None),
        Server::Relevance(ranker) => {
            let mut ranker = Relabelling::new(fresh(ranker)?, &world, &streams);
            (go(Arm::Retrained(&mut ranker))?, None)
        }
        Server::Retrained(ranker) => {
            let mut watched = Watched::new(fresh(ranker)?, &world, config.rounds.rounds);
            (go(Arm::Retrained(&mut watched))?, Some(watched))
        }
        Server::Frozen(ranker) => {
            let mut watched = Watched::new(fresh(ranker)?, &world, config.rounds.rounds);
            (go(Arm::Frozen(&mut watched))?, Some(watched))
        }
        Server::OpenLoop(ranker) => {
            let mut watched = Watched::new(fresh(ranker)?, &world, config.rounds.rounds);
            (go(Arm::OpenLoop(&mut watched))?, Some(watched))
        }
    };
    let mut metrics = of_rounds(&rounds);
    if config.world.arriving_items > 0 {
        let later = &arrived[1..];
        let share = later.iter().sum::<f64>() / later.len() as f64;
        metrics = metrics.scalar(&ARRIVED, share);
    }
    match watched {
        None => Ok(metrics),
        Some(watched) => {
            let metrics = watched.common(metrics, &world, &streams)?;
            watched.measure(metrics, &world)
        }
    }
}

/// Share of a round's exposure that falls on items which were not there at the start.
fn exposure_of_arrived(round: &Round<'_>, initial: usize) -> f64 {
    let (mut all, mut arrived) = (0.0, 0.0);
    for row in round.log.rows_of(round.metrics.round) {
        let exposure = f64::from(round.log.examinations()[row]);
        all += exposure;
        arrived += if round.log.items()[row] as usize >= initial { exposure } else { 0.0 };
    }
    arrived / all
}

/// What is recorded of the rounds. Means and slopes leave out the first, which is the same in every
/// arm.
fn of_rounds(rounds: &[RoundMetrics]) -> Metrics {
    let of = |value: fn(&RoundMetrics) -> Option<f64>| -> Option<Vec<f64>> {
        rounds.iter().map(value).collect()
    };
    let mut metrics = Metrics::new();
    for (metric, series) in [
        (UTILITY, of(|round| Some(round.served.clicks.ratio()))),
        (LIKES, of(|round| round.served.likes.map(|likes| likes.ratio()))),
        (REGRET, of(|round| Some(round.cumulative_regret))),
        (GINI, of(|round| Some(round.gini))),
        (COVERAGE, of(|round| Some(round.coverage))),
        (EFFECTIVE_ITEMS, of(|round| Some(round.effective_items))),
        (LEGACY, of(|round| round.legacy_correlation)),
        (HOMOGENEITY, of(|round| round.homogeneity)),
    ] {
        let Some(series) = series else { continue };
        let later = &series[1..];
        metrics = metrics
            .scalar(&mean(&metric), later.iter().sum::<f64>() / later.len() as f64)
            .scalar(&last(&metric), series[series.len() - 1])
            .scalar(&slope(&metric), least_squares_slope(later))
            .series(&metric, series);
    }
    metrics
}

/// Least-squares slope per round; 0 of a single round.
fn least_squares_slope(values: &[f64]) -> f64 {
    let middle = (values.len() as f64 - 1.0) / 2.0;
    let centred = |at: usize| at as f64 - middle;
    let rise: f64 = values.iter().enumerate().map(|(at, value)| centred(at) * value).sum();
    let run: f64 = (0..values.len()).map(|at| centred(at).powi(2)).sum();
    if run == 0.0 { 0.0 } else { rise / run }
}

/// A ranker that is looked at around its trainings.
struct Watched {
    ranker: NeuralRanker,
    shape: LogShape,
    rounds: usize,
    trainings: usize,
    /// Of every training, the curve as far as the log identified it; nothing where the remedy
    /// learns none.
    curves: Vec<Option<BiasCurve>>,
    last: Option<LastRound>,
}

/// What was predicted of the last round before it was trained on.
struct LastRound {
    slots: Vec<u8>,
    clicks: Vec<bool>,
    with_position: Vec<f64>,
    served: Vec<f64>,
}

impl Watched {
    fn new(ranker: NeuralRanker, world: &World, rounds: usize) -> Self {
        let shape = LogShape::from(world);
        Self { ranker, shape, rounds, trainings: 0, curves: Vec::new(), last: None }
    }

    fn evaluate(&self, catalogue: Catalogue<'_>, log: &Log) -> Result<LastRound, RecsysError> {
        let rows = log.rounds().next_back().map_or(0..0, |round| log.rows_of(round));
        let predict = |head, at| -> Result<Vec<f64>, RecsysError> {
            let all = self.ranker.predict(catalogue, log, head, at)?;
            Ok(all[rows.clone()].iter().map(|&prediction| f64::from(prediction)).collect())
        };
        let clicks: Vec<bool> =
            log.clicks()[rows.clone()].iter().map(|&click| click > 0.0).collect();
        Ok(LastRound {
            slots: log.slots()[rows.clone()].to_vec(),
            clicks,
            with_position: predict(Head::Click, At::Logged)?,
            served: predict(Head::Click, At::Serving)?,
        })
    }

    /// AUC of what is served on a log that is the same for every arm: of lists by chance. On an
    /// arm's own log the better server would have the harder task, as what it shows is more alike.
    fn common(
        &self,
        mut metrics: Metrics,
        world: &World,
        streams: &Streams,
    ) -> Result<Metrics, CellError> {
        if world.config().arriving_items > 0 {
            return Ok(metrics);
        }
        let settings = LoopConfig { rounds: 2, window: 1, ..LoopConfig::default() }.check()?;
        let mut by_chance = None;
        run_loop(world, &streams.child("lists by chance", &[]), Arm::Random, &settings, |round| {
            by_chance = Some((round.log.clone(), round.items.clone()));
            Ok(())
        })?;
        let (log, items) = by_chance.expect("there are two rounds");
        let predict = |head| self.ranker.predict(items.catalogue(), &log, head, At::Serving);
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
        let clicked: Vec<bool> = log.clicks().iter().map(|&click| click > 0.0).collect();
        metrics = metrics.scalar(&CLICK_AUC, auroc(&wide(predict(Head::Click)?), &clicked)?);
        let Some(labels) = log.labels(Head::Like) else { return Ok(metrics) };
        let predicted = match predict(Head::Like) {
            // A ranker without the head.
            Err(RecsysError::NoLabels { .. }) => return Ok(metrics),
            predicted => wide(predicted?),
        };
        let rows = predicted.into_iter().zip(labels.values.iter().map(|&like| like > 0.0));
        let rows = rows.zip(clicked).filter(|(_, clicked)| *clicked);
        let (predicted, liked): (Vec<f64>, Vec<bool>) = rows.map(|(row, _)| row).unzip();
        Ok(metrics.scalar(&LIKE_AUC, auroc(&predicted, &liked)?))
    }

    fn measure(self, mut metrics: Metrics, world: &World) -> Result<Metrics, CellError> {
        if let Some(last) = &self.last {
            for (calibration, error, predicted) in [
                (CALIBRATION_GIVEN, ECE_GIVEN, &last.with_position),
                (CALIBRATION_SERVED, ECE_SERVED, &last.served),
            ] {
                let by_slot = calibration_by_position(&last.slots, predicted, &last.clicks, BINS)?;
                let excess = by_slot.iter().map(|slot| slot.predicted - slot.clicked);
                let ece = by_slot.iter().map(|slot| slot.ece).sum::<f64>() / by_slot.len() as f64;
                metrics =
                    metrics.series(&calibration, excess.collect::<Vec<f64>>()).scalar(&error, ece);
            }
        }
        if self.curves.is_empty() {
            return Ok(metrics);
        }
        let identified = self.curves.iter().flatten().count() as f64 / self.curves.len() as f64;
        metrics = metrics.scalar(&IDENTIFIED, identified);
        // Read position by position on one device, or there is no true curve to compare with.
        let [_] = &world.config().devices[..] else { return Ok(metrics) };
        let theta = world.examination(0).and_then(|examination| examination.theta());
        let Some(theta) = theta else { return Ok(metrics) };
        let truth: Vec<f64> = theta.iter().map(|theta| theta.ln()).collect();
        let true_depth = truth[0] - truth[truth.len() - 1];
        // The last one that may be reported: where all are, the one after the last round.
        if let Some(curve) = self.curves.iter().flatten().next_back() {
            let values = curve.values();
            metrics = metrics
                .series(&CURVE, values.iter().map(|value| value - values[0]).collect::<Vec<f64>>())
                .scalar(&CURVE_DEPTH, values[0] - values[values.len() - 1])
                .scalar(&CURVE_RMSE, curve.rmse(&truth)?);
            if true_depth > 0.0 {
                let depth = values[0] - values[values.len() - 1];
                metrics = metrics.scalar(&CURVE_SHARE, depth / true_depth);
            }
        }
        Ok(metrics.series(&TRUE_CURVE, truth))
    }
}

impl Ranker for Watched {
    fn score(
        &mut self,
        catalogue: Catalogue<'_>,
        requests: &Requests<'_>,
        scores: &mut [f32],
    ) -> Result<(), RecsysError> {
        self.ranker.score(catalogue, requests, scores)
    }

    fn train(&mut self, catalogue: Catalogue<'_>, log: &Log) -> Result<(), RecsysError> {
        self.trainings += 1;
        if self.trainings == self.rounds {
            self.last = Some(self.evaluate(catalogue, log)?);
        }
        self.ranker.train(catalogue, log)?;
        let graph = PositionGraph::of_log(log, self.shape.slots, self.shape.devices)?;
        match self.ranker.bias_curve(&graph, LEAST_SHARED) {
            Ok(None) => {}
            Ok(Some(curve)) => self.curves.push(Some(curve)),
            Err(RecsysError::Unidentified { .. }) => self.curves.push(None),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_protocol::Records;

    pub(super) fn small(theta: f64) -> LoopedConfig {
        let mut world = WorldConfig { items: 30, sessions: 300, ..WorldConfig::b() };
        world.devices[0].examination =
            headwater_recsys::ExaminationConfig::Ultra { exponent: theta };
        let rounds = LoopConfig { rounds: 3, ..LoopConfig::default() };
        LoopedConfig { world, rounds, server: Server::Retrained(NeuralRankerConfig::default()) }
    }

    #[test]
    fn slopes_by_hand() {
        assert_eq!(least_squares_slope(&[1.0, 3.0, 5.0]), 2.0);
        assert_eq!(least_squares_slope(&[2.0, 2.0, 2.0, 2.0]), 0.0);
        assert_eq!(least_squares_slope(&[7.0]), 0.0);
        // (-1.5·0 - 0.5·0 + 0.5·0 + 1.5·4) / 5.
        assert_eq!(least_squares_slope(&[0.0, 0.0, 0.0, 4.0]), 1.2);
    }

    #[test]
    fn arms_share_the_first_round_and_a_frozen_one_is_as_retrained_until_that_is_trained_anew() {
        let Server::Retrained(ranker) = small(1.0).server else { unreachable!() };
        let of = |server| run(&LoopedConfig { server, ..small(1.0) }, &Streams::new(1)).unwrap();
        let cells = [
            ("random", of(Server::Random)),
            ("retrained", of(Server::Retrained(ranker.clone()))),
            ("frozen", of(Server::Frozen(ranker))),
        ];
        let cells = cells.map(|(arm, metrics)| (headwater_protocol::Arm::new(arm), 0, metrics));
        let records = Records::new(cells);
        let series = |arm: &str| records.series(&arm.into(), &UTILITY)[0].1.to_vec();
        assert_eq!(series("random")[0], series("frozen")[0]);
        assert_eq!(series("retrained")[..2], series("frozen")[..2]);
        assert_ne!(series("retrained")[2], series("frozen")[2]);
        let series_of_retrained = series("retrained");
        assert!(records.by_seed(&CLICK_AUC.of("retrained")).unwrap()[0].1 > 0.5);
        assert!(
            records.by_seed(&ECE_SERVED.of("frozen")).is_err(),
            "never trained on the last round"
        );
        let Server::Retrained(ranker) = small(1.0).server else { unreachable!() };
        let records = Records::new([("open".into(), 0, of(Server::OpenLoop(ranker)))]);
        let open = records.series(&"open".into(), &UTILITY)[0].1.to_vec();
        assert_eq!(open[..2], series_of_retrained[..2], "the first training is the same");
        assert_ne!(open[2], series_of_retrained[2]);
    }
}
