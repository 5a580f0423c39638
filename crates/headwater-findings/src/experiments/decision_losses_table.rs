//! Experiment `decision-losses-table`: the two ways on a model that can represent the posterior.
//!
//! A table is fitted to a whole population and scored on it, by weighted training and by ex-post
//! weighting. That the two coincide is so by construction.

use headwater_core::{Check, Streams};
use headwater_decisions::{
    Architecture, DecisionError, Examples, Objective, TrainingConfig, train,
};
use headwater_evaluation::decision::ClassWeights;
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan,
    Preset, ProtocolError, Scalar, Settings, metrics,
};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct DecisionLossesTable;

/// Both ways, on one table.
pub const TABLE: Arm = Arm::new("table");

/// Weighted loss after weighted training.
pub const WEIGHTED: Scalar = Scalar::new("weighted");
/// Weighted loss after plain training and a shift.
pub const EX_POST: Scalar = Scalar::new("ex post");
/// Weighted loss after plain training alone.
pub const UNSHIFTED: Scalar = Scalar::new("unshifted");

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    cells: usize,
    share: f64,
    training: TrainingConfig,
}

impl Experiment for DecisionLossesTable {
    fn id(&self) -> &'static str {
        "decision-losses-table"
    }

    fn metrics(&self) -> Vec<Metric> {
        metrics![WEIGHTED, EX_POST, UNSHIFTED]
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let config = Config {
            cells: if smoke { 4 } else { 24 },
            share: 0.9,
            training: TrainingConfig {
                architecture: Architecture::Dense { hidden: Vec::new() },
                learning_rate: 0.05,
                // All rows in one batch: gradient descent on the whole population.
                batch: 1_000_000,
                epochs: if smoke { 20 } else { 600 },
                ..TrainingConfig::default()
            },
        };
        Ok(Plan::of(settings.seed_range(8), vec![ArmPlan::new(TABLE, &config)?]))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let streams = context.streams.child("splits and networks of the second run", &[]);
        let Config { cells, share, training } = cell.config()?;
        Ok(measure(cells, share, &training, &streams)?.into())
    }
}

/// Weighted training and ex-post weighting, fitted to the whole population and scored on it.
fn measure(
    cells: usize,
    share: f64,
    training: &TrainingConfig,
    streams: &Streams,
) -> Result<Metrics, CellError> {
    let rows = table(cells, streams)?;
    let weights = ClassWeights::mean_one(share)?;
    let training = training.clone().check()?;
    let logits = |objective| -> Result<Vec<f64>, DecisionError> {
        let trained = train(&rows, &rows, objective, &training, streams)?;
        Ok(trained.network.logits(rows.features()))
    };
    let weighted = weights.log_loss(&logits(Objective::Weighted(weights))?, rows.positive())?;
    let plain = logits(Objective::plain())?;
    let shifted: Vec<f64> = plain.iter().map(|z| z + weights.shift()).collect();
    Ok(Metrics::new()
        .scalar(&WEIGHTED, weighted)
        .scalar(&EX_POST, weights.log_loss(&shifted, rows.positive())?)
        .scalar(&UNSHIFTED, weights.log_loss(&plain, rows.positive())?))
}

/// A population of cells, each a feature of its own, with posteriors between 0.02 and 0.6: what a
/// table can represent without error. The rows *are* the population, so that nothing is left to
/// sampling.
fn table(cells: usize, streams: &Streams) -> Result<Examples, DecisionError> {
    let mut rng = streams.stream("table", &[]);
    let (mut features, mut positive) = (Vec::new(), Vec::new());
    for cell in 0..cells {
        let rows = rng.random_range(50..150);
        let posterior = 0.02 + 0.58 * rng.random::<f64>();
        let positives = ((f64::from(rows) * posterior).round() as i32).clamp(1, rows - 1);
        for row in 0..rows {
            features.extend((0..cells).map(|at| f32::from(u8::from(at == cell))));
            positive.push(row < positives);
        }
    }
    Examples::new(features, cells, positive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("decision-losses-table");
    }

    #[test]
    fn a_table_has_posteriors_strictly_inside_and_is_the_same_for_a_seed() {
        let rows = table(24, &Streams::new(1)).unwrap();
        assert_eq!(rows, table(24, &Streams::new(1)).unwrap());
        assert_eq!(rows.width(), 24);
        for cell in 0..24 {
            let labels: Vec<bool> = (0..rows.rows())
                .filter(|row| rows.features()[row * 24 + cell] == 1.0)
                .map(|row| rows.positive()[row])
                .collect();
            assert!(labels.len() >= 50 && labels.contains(&true) && labels.contains(&false));
        }
    }

    #[test]
    fn on_a_table_the_two_coincide_and_no_shift_at_all_does_not() {
        let training = TrainingConfig {
            architecture: Architecture::Dense { hidden: Vec::new() },
            learning_rate: 0.05,
            batch: 10_000,
            epochs: 600,
            ..TrainingConfig::default()
        };
        let metrics = measure(8, 0.9, &training, &Streams::new(1)).unwrap();
        let records = headwater_protocol::Records::new([(TABLE, 0, metrics)]);
        let of = |metric: Scalar| records.seed(0).scalar(&TABLE, &metric).unwrap();
        assert!((of(WEIGHTED) / of(EX_POST) - 1.0).abs() < 1e-3);
        assert!(of(UNSHIFTED) > 1.2 * of(EX_POST));
    }
}
