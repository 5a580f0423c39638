//! Experiment `self-improvement-collapse`: regressions and a Gaussian on their own outputs, where
//! theory says whether errors add up.
//!
//! Ten features, 60 rows a round, twenty rounds, each fitted to targets that the round before has
//! drawn. Arms differ in what a round's rows are: those of the round before, those of all rounds,
//! or partly real ones. Where all are real and new there is no loop, and the error stays.

use headwater_core::{Check, Streams};
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan,
    Preset, ProtocolError, Scalar, Series, Settings, metrics,
};
use headwater_self_improvement::collapse::{
    DataPolicy, RegressionConfig, first_error, gaussian_variances,
};
use serde::{Deserialize, Serialize};

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct SelfImprovementCollapse;

/// Rows replace those of the round before.
pub const REPLACE: Arm = Arm::new("regression-replace");
/// Rows are added to those of all rounds before.
pub const ACCUMULATE: Arm = Arm::new("regression-accumulate");
/// One row in ten is real and new.
pub const REAL_TENTH_FRESH: Arm = Arm::new("regression-real-0.1-fresh");
/// All rows are real and new: no loop.
pub const REAL: Arm = Arm::new("regression-real");
/// A Gaussian fitted to its own draws.
pub const GAUSSIAN: Arm = Arm::new("gaussian");

/// A loop of regressions: its arm, what tables and figures call it, and what a round is fitted to.
pub type Regressions = (Arm, &'static str, DataPolicy);

/// Every loop of regressions.
#[must_use]
pub fn regressions() -> [Regressions; 6] {
    let real = |share, fresh| DataPolicy::RealShare { share, fresh };
    [
        (REPLACE, "replaced", DataPolicy::Replace),
        (ACCUMULATE, "accumulated", DataPolicy::Accumulate),
        (Arm::new("regression-real-0.1-kept"), "1 of 10 real, the same", real(0.1, false)),
        (REAL_TENTH_FRESH, "1 of 10 real, new", real(0.1, true)),
        (Arm::new("regression-real-0.5-kept"), "half real, the same", real(0.5, false)),
        (REAL, "all real, new", real(1.0, true)),
    ]
}

/// Rounds of every loop.
pub const ROUNDS: usize = 20;
const FEATURES: usize = 10;
const ROWS: usize = 60;
const NOISE: f64 = 1.0;
/// Rows of the Gaussian.
const DRAWS: usize = 20;

/// Squared distance of the weights from the truth, or the Gaussian's variance, by round.
pub const BY_ROUND: Series = Series::new("by round");
/// The same after the first round.
pub const FIRST: Scalar = Scalar::labelled("first", "round 1");
/// The same after the last round.
pub const LAST: Scalar = Scalar::labelled("last", "round 20");
/// The last over the first.
pub const OVER_FIRST: Scalar = Scalar::labelled("last over first", "over round 1");
/// The last over that after half of the rounds.
pub const OVER_MIDDLE: Scalar = Scalar::labelled("last over middle", "over round 10");

/// Expected error of a regression that is fitted to real rows.
#[must_use]
pub fn error_of_real() -> f64 {
    first_error(FEATURES, ROWS, NOISE)
}

/// Expected error after the last round: exact where rows are replaced and where all are real, a
/// bound where they accumulate, none for shares.
#[must_use]
pub fn theory(data: DataPolicy) -> Option<f64> {
    match data {
        DataPolicy::Replace => Some(ROUNDS as f64 * error_of_real()),
        DataPolicy::Accumulate => {
            let bound: f64 = (1..=ROUNDS).map(|i| (i as f64).powi(-2)).sum();
            Some(bound * error_of_real())
        }
        DataPolicy::RealShare { share, .. } => (share >= 1.0).then(error_of_real),
    }
}

/// Expected variance of the Gaussian after the last round.
#[must_use]
pub fn variance_left() -> f64 {
    (1.0 - 1.0 / DRAWS as f64).powi(ROUNDS as i32)
}

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CollapseConfig {
    model: Model,
    /// Runs whose errors are averaged.
    runs: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum Model {
    Regression(RegressionConfig),
    Gaussian { rows: usize, rounds: usize },
}

/// Every arm with what decides its results.
fn arms(smoke: bool) -> Vec<(Arm, CollapseConfig)> {
    let runs = if smoke { 4 } else { 200 };
    let mut arms: Vec<(Arm, CollapseConfig)> = regressions()
        .into_iter()
        .map(|(arm, _, data)| {
            let (features, rows, noise, rounds) = (FEATURES, ROWS, NOISE, ROUNDS);
            let config = RegressionConfig { features, rows, noise, rounds, data };
            (arm, CollapseConfig { model: Model::Regression(config), runs })
        })
        .collect();
    let gaussian = Model::Gaussian { rows: DRAWS, rounds: ROUNDS };
    // One run's variance is nearly all chance.
    arms.push((GAUSSIAN, CollapseConfig { model: gaussian, runs: 20 * runs }));
    arms
}

impl Experiment for SelfImprovementCollapse {
    fn id(&self) -> &'static str {
        "self-improvement-collapse"
    }

    fn metrics(&self) -> Vec<Metric> {
        metrics![BY_ROUND, FIRST, LAST, OVER_FIRST, OVER_MIDDLE]
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let arms = arms(settings.preset == Preset::Smoke);
        let mut planned = Vec::new();
        for (arm, config) in &arms {
            let cell = ArmPlan::new(arm, config)?;
            // Regressions cost nothing.
            let is_cheap = matches!(config.model, Model::Regression(_));
            planned.push(if is_cheap { cell } else { cell.if_shown() });
        }
        Ok(Plan::of(settings.seed_range(8), planned))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let streams = context.streams.child("tasks that no pilot saw", &[]);
        Ok(run(&cell.config()?, &streams)?.into())
    }
}

/// Runs the loops of one cell.
fn run(config: &CollapseConfig, streams: &Streams) -> Result<Metrics, CellError> {
    let average = |of: &dyn Fn(&Streams) -> Vec<f64>| {
        let mut mean = vec![0.0; ROUNDS];
        for run in 0..config.runs {
            let values = of(&streams.child("run", &[run]));
            mean.iter_mut().zip(values).for_each(|(sum, value)| *sum += value / config.runs as f64);
        }
        mean
    };
    let mean = match config.model {
        Model::Regression(config) => {
            let regression = config.check()?;
            average(&|streams| regression.run(streams))
        }
        Model::Gaussian { rows, rounds } => average(&|streams| {
            gaussian_variances(rows, rounds, &mut streams.stream("gaussian", &[]))
        }),
    };
    let (first, middle, last) = (mean[0], mean[ROUNDS / 2 - 1], mean[ROUNDS - 1]);
    Ok(Metrics::new()
        .scalar(&FIRST, first)
        .scalar(&LAST, last)
        .scalar(&OVER_FIRST, last / first)
        .scalar(&OVER_MIDDLE, last / middle)
        .series(&BY_ROUND, mean))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("self-improvement-collapse");
    }

    #[test]
    fn every_arm_runs_and_has_a_name_of_its_own() {
        let arms = arms(true);
        for (at, (name, config)) in arms.iter().enumerate() {
            assert!(arms[..at].iter().all(|(other, _)| other != name), "{name}");
            assert!(run(config, &Streams::new(1)).is_ok(), "{name}");
        }
    }
}
