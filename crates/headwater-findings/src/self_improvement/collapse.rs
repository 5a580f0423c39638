//! Regressions and a Gaussian on their own outputs: what is replaced, kept or added decides whether errors add up.

use headwater_core::{Check, Streams};
use headwater_protocol::{
    CellError, Contrast, Control, Direction, Figure, Metrics, Point, ProtocolError, Records,
    Registered, SeedRecords, Table, TableValue,
};
use headwater_self_improvement::collapse::{
    DataPolicy, RegressionConfig, first_error, gaussian_variances,
};
use serde::{Deserialize, Serialize};

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CollapseConfig {
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

const FEATURES: usize = 10;
const ROWS: usize = 60;
const ROUNDS: usize = 20;
/// Rows of the Gaussian.
const DRAWS: usize = 20;

const POLICIES: [(&str, &str, DataPolicy); 6] = [
    ("replace", "replaced", DataPolicy::Replace),
    ("accumulate", "accumulated", DataPolicy::Accumulate),
    ("real-0.1-kept", "1 of 10 real, the same", DataPolicy::RealShare { share: 0.1, fresh: false }),
    ("real-0.1-fresh", "1 of 10 real, new", DataPolicy::RealShare { share: 0.1, fresh: true }),
    ("real-0.5-kept", "half real, the same", DataPolicy::RealShare { share: 0.5, fresh: false }),
    ("real", "all real, new", DataPolicy::RealShare { share: 1.0, fresh: true }),
];

const GAUSSIAN: &str = "gaussian";

fn arm(policy: &str) -> String {
    format!("regression-{policy}")
}

/// The arms with what decides their results.
pub(super) fn arms(smoke: bool) -> Vec<(String, CollapseConfig)> {
    let runs = if smoke { 4 } else { 200 };
    let regression = |data| {
        let config =
            RegressionConfig { features: FEATURES, rows: ROWS, noise: 1.0, rounds: ROUNDS, data };
        CollapseConfig { model: Model::Regression(config), runs }
    };
    let mut arms: Vec<(String, CollapseConfig)> =
        POLICIES.iter().map(|(name, _, data)| (arm(name), regression(*data))).collect();
    let gaussian = Model::Gaussian { rows: DRAWS, rounds: ROUNDS };
    // One run's variance is nearly all chance.
    arms.push((GAUSSIAN.into(), CollapseConfig { model: gaussian, runs: 20 * runs }));
    arms
}

/// Runs the loops of one cell.
pub(super) fn run(config: &CollapseConfig, streams: &Streams) -> Result<Metrics, CellError> {
    let regression = match config.model {
        Model::Regression(config) => Some(config.check()?),
        Model::Gaussian { .. } => None,
    };
    let mut mean = vec![0.0; ROUNDS];
    for run in 0..config.runs {
        let streams = streams.child("run", &[run]);
        let values = match (&regression, config.model) {
            (Some(regression), _) => regression.run(&streams),
            (None, Model::Gaussian { rows, rounds }) => {
                gaussian_variances(rows, rounds, &mut streams.stream("gaussian", &[]))
            }
            (None, Model::Regression(_)) => unreachable!("it was checked above"),
        };
        mean.iter_mut().zip(values).for_each(|(sum, value)| *sum += value / config.runs as f64);
    }
    let (first, middle, last) = (mean[0], mean[ROUNDS / 2 - 1], mean[ROUNDS - 1]);
    Ok(Metrics::new()
        .scalar("first", first)
        .scalar("last", last)
        .scalar("last over first", last / first)
        .scalar("last over middle", last / middle)
        .series("by round", mean))
}

/// Error of the last round over another's, less 1.
fn growth(seed: &SeedRecords<'_>, policy: &str, since: &str) -> Result<f64, ProtocolError> {
    Ok(seed.scalar(&arm(policy), &format!("last over {since}"))? - 1.0)
}

pub(super) fn contrasts() -> Vec<Contrast> {
    use Direction::{Decrease, Increase, NotBelow, Unchanged};
    let contrast = |name, direction, smallest_effect, per_seed| {
        Contrast::new(name, direction, smallest_effect, Registered::Before, per_seed)
    };
    vec![
        Contrast {
            published: Some(
                "n times the first error: 19 here; loss 2.85 to 3.45 in 10 rounds (125M model)",
            ),
            ..contrast("error, rows replaced: round 20 over round 1 - 1", Increase, 10.0, |seed| {
                growth(seed, "replace", "first")
            })
        },
        Contrast {
            published: Some("at most 0.60 here; loss 2.85 to 2.78 (125M model)"),
            ..contrast("error: accumulated over replaced - 1, round 20", Decrease, 0.5, |seed| {
                let of = |policy| seed.scalar(&arm(policy), "last");
                Ok(of("accumulate")? / of("replace")? - 1.0)
            })
        },
        contrast("error, rows accumulated: round 20 over round 10 - 1", Unchanged, 0.1, |seed| {
            growth(seed, "accumulate", "middle")
        }),
        // It keeps the first round's quality at best.
        contrast("error, rows accumulated: round 20 over round 1 - 1", NotBelow, 0.05, |seed| {
            growth(seed, "accumulate", "first")
        }),
        contrast(
            "error: 1 of 10 real and new over replaced - 1, round 20",
            Decrease,
            0.5,
            |seed| {
                let of = |policy| seed.scalar(&arm(policy), "last");
                Ok(of("real-0.1-fresh")? / of("replace")? - 1.0)
            },
        ),
        Contrast {
            published: Some("(1 - 1/20)^20 = 0.358"),
            ..contrast(
                "Gaussian: variance left after 20 rounds, less its formula",
                Unchanged,
                0.05,
                |seed| {
                    Ok(seed.scalar(GAUSSIAN, "last")?
                        - (1.0 - 1.0 / DRAWS as f64).powi(ROUNDS as i32))
                },
            )
        },
    ]
}

pub(super) fn controls() -> Vec<Control> {
    vec![Control {
        name: "all rows real and new: error, round 20 over round 1 - 1",
        margin: 0.2,
        per_seed: |seed| growth(seed, "real", "first"),
    }]
}

pub(super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let n = records.seeds().len();
    let mut figure = Figure::lines(
        "Error of a regression on its own outputs",
        "round",
        "squared distance of the weights from the truth",
        n,
    )
    .caption("10 features, 60 rows a round, mean of 200 runs a seed. Theory: n times the first error where rows are replaced.");
    for (name, label, _) in POLICIES {
        let effects = records.series_effect(&arm(name), "by round")?;
        let points = effects.iter().enumerate();
        let points = points.filter_map(|(at, effect)| Point::measured((at + 1) as f64, effect));
        figure = figure.series(label, points);
    }
    let first = first_error(FEATURES, ROWS, 1.0);
    let theory = (1..=ROUNDS).map(|round| Point::bare(round as f64, round as f64 * first));
    Ok(vec![figure.series("theory, replaced", theory)])
}

pub(super) fn tables(records: &Records) -> Vec<Table> {
    let first = first_error(FEATURES, ROWS, 1.0);
    let columns =
        ["rows", "round 1", "round 20", "over round 1", "over round 10", "theory, round 20"];
    let mut table = Table::new("Errors, and the Gaussian's variance", columns)
        .note("Theory: exact where rows are replaced and all real, a bound where they accumulate, none for shares.");
    let bound: f64 = (1..=ROUNDS).map(|i| (i as f64).powi(-2)).sum();
    let theory = |name: &str| match name {
        "replace" => Some(ROUNDS as f64 * first),
        "accumulate" => Some(bound * first),
        "real" => Some(first),
        _ => None,
    };
    let metrics = ["first", "last", "last over first", "last over middle"];
    for (name, label, _) in POLICIES {
        let mut row = vec![TableValue::from(label)];
        row.extend(metrics.map(|metric| records.value(&arm(name), metric)));
        row.push(theory(name).map_or(TableValue::Absent, |value| TableValue::Number(value, 3)));
        table = table.row(row);
    }
    let mut row = vec![TableValue::from("Gaussian, its own draws")];
    row.extend(metrics.map(|metric| records.value(GAUSSIAN, metric)));
    let left = (1.0 - 1.0 / DRAWS as f64).powi(ROUNDS as i32);
    row.push(TableValue::Number(left, 3));
    vec![table.row(row)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arm_runs_and_has_a_name_of_its_own() {
        let arms = arms(true);
        for (at, (name, config)) in arms.iter().enumerate() {
            assert!(arms[..at].iter().all(|(other, _)| other != name), "{name}");
            assert!(run(config, &Streams::new(1)).is_ok(), "{name}");
        }
    }
}
