//! Experiment `self-improvement-language`: a decoder on its own text, of a source whose every
//! probability is known.
//!
//! What of its data is real decides whether it drifts from the source, and its tails go first.
//! Every round trains new weights. All rounds of all arms but one take the same number of optimiser
//! steps; where text accumulates they see more of it, each text less often, which is why one arm's
//! steps grow with its text. Where a round is trained on new real text only there is no loop, and
//! nothing may drift.

use headwater_core::{Check, Streams};
use headwater_nn::Device;
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan,
    Preset, ProtocolError, Scalar, Series, Settings, metrics,
};
use headwater_self_improvement::collapse::DataPolicy;
use headwater_self_improvement::collapse::language::{LanguageConfig as LoopConfig, RoundMeasure};
use headwater_self_improvement::collapse::source::{Source, SourceConfig};
use serde::{Deserialize, Serialize};

use crate::device::device;

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct SelfImprovementLanguage;

/// Text replaces that of the round before.
pub const REPLACE: Arm = Arm::new("language-replace");
/// The same, written at temperature 0.8.
pub const COOL: Arm = Arm::new("language-cool");
/// Text is added to that of all rounds before.
pub const ACCUMULATE: Arm = Arm::new("language-accumulate");
/// One text in ten is real, the same ones in every round.
pub const REAL_TENTH_KEPT: Arm = Arm::new("language-real-0.1-kept");
/// One text in ten is real and new.
pub const REAL_TENTH_FRESH: Arm = Arm::new("language-real-0.1-fresh");
/// Half of the texts are real, the same ones in every round.
pub const REAL_HALF_KEPT: Arm = Arm::new("language-real-0.5-kept");
/// All text is real and new: no loop.
pub const REAL: Arm = Arm::new("language-real");

/// Rounds of every loop.
const ROUNDS: usize = 8;

/// A loop on text: its arm, what tables and figures call it, and its settings.
pub type Course = (Arm, &'static str, LoopConfig);

/// Every loop.
#[must_use]
pub fn courses() -> [Course; 8] {
    let replace = LoopConfig { rounds: ROUNDS, ..LoopConfig::default() };
    let cool = LoopConfig { temperature: 0.8, ..replace };
    let accumulate = LoopConfig { data: DataPolicy::Accumulate, ..replace };
    let in_proportion = LoopConfig { steps_grow: true, ..accumulate };
    let steps_grow = Arm::new("language-accumulate-steps");
    let real =
        |share, fresh| LoopConfig { data: DataPolicy::RealShare { share, fresh }, ..replace };
    [
        (REPLACE, "replaced", replace),
        (COOL, "replaced, temperature 0.8", cool),
        (ACCUMULATE, "accumulated", accumulate),
        (steps_grow, "accumulated, steps in proportion", in_proportion),
        (REAL_TENTH_KEPT, "1 of 10 real, the same", real(0.1, false)),
        (REAL_TENTH_FRESH, "1 of 10 real, new", real(0.1, true)),
        (REAL_HALF_KEPT, "half real, the same", real(0.5, false)),
        (REAL, "all real, new", real(1.0, true)),
    ]
}

/// KL of the source from the model, nats a symbol, by round.
pub const EXCESS: Series = Series::new("excess");
/// Mean log of the model's probability over the source's, of the least common quarter of symbols.
pub const RARE: Series = Series::labelled("rare", "rare, log left");
/// The same of the most common quarter.
pub const FREQUENT: Series = Series::labelled("frequent", "frequent, log left");
/// Mass of the rare symbols over what the source gives them.
pub const RARE_MASS: Series = Series::labelled("rare mass", "rare mass, of 1");
/// Entropy of the next symbol, nats.
pub const ENTROPY: Series = Series::new("entropy");
/// Log-probability under the source of what the model writes, nats a symbol.
pub const QUALITY: Series = Series::new("quality");
/// Entropy of the source's next symbol, nats.
pub const SOURCE_ENTROPY: Scalar = Scalar::labelled("source entropy", "source's entropy");

type Measured = (Series, fn(&RoundMeasure) -> f64);

/// What is measured after every round.
const MEASURED: [Measured; 6] = [
    (EXCESS, |round| round.excess),
    (RARE, |round| round.rare),
    (FREQUENT, |round| round.frequent),
    (RARE_MASS, |round| round.rare_mass),
    (ENTROPY, |round| round.entropy),
    (QUALITY, |round| round.quality),
];

fn part(series: &Series, part: &str) -> Scalar {
    Scalar::from(format!("{}, {part}", series.name())).shown_as(series.label().to_owned())
}

/// What is measured, after the first round.
#[must_use]
pub fn first(series: &Series) -> Scalar {
    part(series, "first")
}

/// What is measured, after half of the rounds.
#[must_use]
pub fn middle(series: &Series) -> Scalar {
    part(series, "middle")
}

/// What is measured, after the last round.
#[must_use]
pub fn last(series: &Series) -> Scalar {
    part(series, "last")
}

/// The mean over the rounds of the second half.
#[must_use]
pub fn second_half(series: &Series) -> Scalar {
    part(series, "second half")
}

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LanguageConfig {
    source: SourceConfig,
    course: LoopConfig,
}

/// Every arm with what decides its results.
fn arms(smoke: bool) -> Vec<(Arm, LanguageConfig)> {
    let shortened = |course: LoopConfig| {
        if smoke { LoopConfig { steps: 5, rows: 20, test_rows: 8, ..course } } else { course }
    };
    let config =
        |course| LanguageConfig { source: SourceConfig::default(), course: shortened(course) };
    courses().into_iter().map(|(arm, _, course)| (arm, config(course))).collect()
}

impl Experiment for SelfImprovementLanguage {
    fn id(&self) -> &'static str {
        "self-improvement-language"
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = metrics![SOURCE_ENTROPY];
        for (series, _) in MEASURED {
            let scalars = [first(&series), middle(&series), last(&series), second_half(&series)];
            metrics.extend(scalars.map(Metric::from));
            metrics.push(series.into());
        }
        metrics
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let arms = arms(settings.preset == Preset::Smoke);
        let mut planned = Vec::new();
        for (arm, config) in &arms {
            planned.push(ArmPlan::new(arm, config)?.if_shown());
        }
        Ok(Plan::of(settings.seed_range(8), planned))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let streams = context.streams.child("tasks that no pilot saw", &[]);
        let device = device(context.device)?.autodiff();
        Ok(run(&cell.config()?, &device, &streams)?.into())
    }
}

/// Runs one loop.
fn run(config: &LanguageConfig, device: &Device, streams: &Streams) -> Result<Metrics, CellError> {
    let streams = streams.child("language", &[]);
    let source = Source::new(config.source.check()?, &streams);
    let rounds = config.course.check()?.run(&source, device, &streams)?;
    let mut metrics = Metrics::new().scalar(&SOURCE_ENTROPY, source.entropy());
    for (series, of) in &MEASURED {
        let values: Vec<f64> = rounds.iter().map(of).collect();
        metrics = metrics
            .scalar(&first(series), values[0])
            .scalar(&middle(series), values[ROUNDS / 2 - 1])
            .scalar(&last(series), values[ROUNDS - 1])
            .scalar(&second_half(series), mean(&values[ROUNDS / 2..]))
            .series(series, values);
    }
    Ok(metrics)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("self-improvement-language");
    }

    #[test]
    fn every_arm_runs_and_has_a_name_of_its_own() {
        let arms = arms(true);
        for (at, (name, config)) in arms.iter().enumerate() {
            assert!(arms[..at].iter().all(|(other, _)| other != name), "{name}");
            let device = Device::flex().autodiff();
            assert!(run(config, &device, &Streams::new(1)).is_ok(), "{name}");
        }
    }
}
