//! Experiment `rubric-gates-dilution`: what a reward read off a long reference says of a chain of
//! thought.
//!
//! *Diluted references*: T fillers and two results. R3 weighs the few reference tokens that reflect
//! the reasoning; an average over all of them is diluted by the rest. Arms differ in how a reward
//! is read off the reference, and fork one base per seed.

use headwater_core::Check;
use headwater_nn::{AdamWConfig, Checkpoint, Decoder, DecoderConfig};
use headwater_optimizers::TrainerConfig;
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan,
    Preset, ProtocolError, Scalar, Series, Settings, metrics,
};
use headwater_rewards::SpreadFilterConfig;
use serde::{Deserialize, Serialize};

use crate::device::device;
use headwater_tasks::diluted_reference::{
    Author, PROMPT_TOKENS, THOUGHT_TOKENS, answer_tokens, vocabulary,
};

mod train;

use train::{DilutionArm, imitate, measure, sampling, train};
pub use train::{READINGS, Reading};

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct RubricGatesDilution;

/// Fillers of a reference.
pub const LENGTHS: [usize; 3] = [4, 16, 64];
/// The longest.
pub const LONGEST: usize = LENGTHS[LENGTHS.len() - 1];
/// The omegas of the sweep.
pub const OMEGAS: [f64; 6] = [0.0, 0.5, 1.0, 2.0, 4.0, 8.0];
/// R3's omega elsewhere.
pub const OMEGA: f64 = 2.0;
/// Omegas that R3 is trained with on the longest references.
pub const TRAINED_OMEGAS: [f64; 3] = [0.0, OMEGA, 8.0];

/// The base, and what every reward tells of its chains of thought.
pub const BASE: Arm = Arm::new("dilution-base");
/// R3 on the longest references, with dynamic filtering.
pub const FILTERED: Arm = Arm::new("R3-64-filtered");

/// The arm trained by a reading on references of this many fillers.
#[must_use]
pub fn trained(reading: &str, fillers: usize) -> Arm {
    format!("{}-{fillers}", reading.replace(' ', "-")).into()
}

/// The arm trained by R3 at this omega on the longest references.
#[must_use]
pub fn with_omega(omega: f64) -> Arm {
    if omega == OMEGA { trained("R3", LONGEST) } else { format!("R3-64-omega-{omega}").into() }
}

/// Every arm that learns: its reading, and the fillers of its references.
#[must_use]
pub fn learners() -> Vec<(Arm, Reading, usize)> {
    let mut arms = Vec::new();
    for fillers in [LENGTHS[0], LONGEST] {
        arms.extend(READINGS.map(|(name, reading)| (trained(name, fillers), reading, fillers)));
    }
    for omega in TRAINED_OMEGAS.into_iter().filter(|omega| *omega != OMEGA) {
        arms.push((with_omega(omega), Reading::R3 { omega }, LONGEST));
    }
    arms.push((FILTERED, Reading::R3 { omega: OMEGA }, LONGEST));
    arms
}

/// Share of chains that are right: of an arm that learns over the last fifth of training.
pub const ACCURACY: Scalar = Scalar::labelled("accuracy", "share right");
/// Steps until eight in a row reach 80%; all steps where it was not reached.
pub const STEPS_TO_80: Scalar = Scalar::new("steps to 80%");
/// Tokens of a chain of thought.
pub const THOUGHT: Scalar = Scalar::new("tokens of thought");
/// AUC of R3 on the longest references, by omega.
pub const AREA_BY_OMEGA: Series = Series::new("AUC/omega");
/// R3's weight on the results, by omega.
pub const WEIGHT_BY_OMEGA: Series = Series::new("weight/omega");
/// Share of chains right by step.
pub const TRAINING_ACCURACY: Series = Series::new("training/accuracy");
/// Tokens of thought by step.
pub const TRAINING_TOKENS: Series = Series::new("training/tokens");
/// Cross-entropy of the demonstrations, by step of supervised training.
pub const LOSS: Series = Series::new("loss");

/// AUC within the group of "the chain is right" under a reading, by length of the reference.
#[must_use]
pub fn area(reading: &str) -> Series {
    Series::from(format!("AUC/{reading}"))
}

/// Weight of a reading on the results, by length of the reference.
#[must_use]
pub fn weight(reading: &str) -> Series {
    Series::from(format!("weight/{reading}"))
}

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum CellConfig {
    /// Supervised training on diluted references, and what every reward tells of its chains of
    /// thought.
    DilutionBase {
        decoder: DecoderConfig,
        adamw: AdamWConfig,
        author: Author,
        steps: usize,
        batch: usize,
        test: (usize, usize),
    },
    /// Policy gradient from that base.
    Dilution(Box<DilutionArm>),
}

impl Experiment for RubricGatesDilution {
    fn id(&self) -> &'static str {
        "rubric-gates-dilution"
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = metrics![
            ACCURACY,
            STEPS_TO_80,
            THOUGHT,
            AREA_BY_OMEGA,
            WEIGHT_BY_OMEGA,
            TRAINING_ACCURACY,
            TRAINING_TOKENS,
            LOSS,
        ];
        for (name, _) in READINGS {
            metrics.extend(metrics![area(name), weight(name)]);
        }
        metrics
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let base = base(smoke);
        let mut planned = vec![ArmPlan::new(BASE, &base)?.if_shown()];
        for (arm, reading, fillers) in learners() {
            let filter = SpreadFilterConfig { quantile: 0.3, window: 32, refresh: 8 };
            let filter = (arm == FILTERED).then_some(filter);
            let config = learner(reading, fillers, filter, smoke);
            planned.push(ArmPlan::new(arm, &config)?.needing([BASE]).if_shown());
        }
        Ok(Plan::of(settings.seed_range(8), planned))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let streams = context.streams.child("second reported run", &[]);
        let streams = &streams.child("dilution", &[]);
        let device = device(context.device)?.autodiff();
        match cell.config()? {
            CellConfig::DilutionBase { decoder, adamw, author, steps, batch, test } => {
                let mut weights = streams.stream("weights", &[]);
                let start = Decoder::initialise(&decoder.check()?, &mut weights, &device);
                let (base, losses) = imitate(start, &author, adamw, (steps, batch), streams)?;
                let metrics = Metrics::new().series(&LOSS, losses);
                let metrics = measure(&base, test, streams, metrics)?;
                Ok(CellOutcome::with_artifact(metrics, Checkpoint::of(&base).to_bytes()))
            }
            CellConfig::Dilution(arm) => {
                let base = Checkpoint::from_bytes(context.artifact(&BASE)?)?;
                Ok(train(&arm, &base, streams, &device)?.into())
            }
        }
    }
}

fn base(smoke: bool) -> CellConfig {
    CellConfig::DilutionBase {
        decoder: DecoderConfig {
            vocabulary: vocabulary().size(),
            width: 32,
            layers: 2,
            heads: 4,
            key_value_heads: 4,
            hidden: 96,
            context: PROMPT_TOKENS + THOUGHT_TOKENS + answer_tokens(LONGEST),
            rotary_base: 10_000.0,
            ..DecoderConfig::default()
        },
        adamw: AdamWConfig { learning_rate: 5e-3, ..AdamWConfig::default() },
        author: Author { slip: 0.35, skip: 0.2, kept_style: 0.5 },
        steps: if smoke { 6 } else { 1000 },
        batch: 16,
        test: if smoke { (4, 16) } else { (96, 16) },
    }
}

fn learner(
    reading: Reading,
    fillers: usize,
    filter: Option<SpreadFilterConfig>,
    smoke: bool,
) -> CellConfig {
    let adamw = AdamWConfig { learning_rate: 5e-4, weight_decay: 0.0, ..AdamWConfig::default() };
    CellConfig::Dilution(Box::new(DilutionArm {
        reading,
        fillers,
        filter,
        trainer: TrainerConfig {
            prompts_per_step: if smoke { 1 } else { 4 },
            group_size: 16,
            warmup_steps: 5,
            sampling: sampling(),
            adamw,
            ..TrainerConfig::default()
        },
        steps: if smoke { 3 } else { 60 },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("rubric-gates-dilution");
    }

    #[test]
    fn every_arm_has_its_own_name() {
        let mut arms: Vec<Arm> = learners().into_iter().map(|(arm, ..)| arm).collect();
        let all = arms.len();
        arms.sort_unstable();
        arms.dedup();
        assert_eq!(arms.len(), all);
        assert!(arms.contains(&with_omega(OMEGA)) && arms.contains(&with_omega(8.0)));
    }
}
