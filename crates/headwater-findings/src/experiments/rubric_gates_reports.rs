//! Experiment `rubric-gates-reports`: a rubric as a gate on groups of rollouts, and as dense
//! reward.
//!
//! *Budgeted reports*: read values, then state the requested ones, in 26 tokens. The judge of the
//! rubric is fallible and falls for one boilerplate token; R3, the certainty of the reference after
//! the chain of thought, cannot see the budget. Arms differ in what they make of rubric and R3, and
//! fork one base per seed; they are compared by steps and by groups used.

use headwater_core::Check;
use headwater_nn::{AdamWConfig, Checkpoint, Decoder, DecoderConfig, SamplingConfig};
use headwater_optimizers::TrainerConfig;
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan,
    Preset, ProtocolError, Scalar, Series, Settings, metrics,
};
use headwater_rewards::{GroupGateConfig, ReferenceRewardConfig};
use serde::{Deserialize, Serialize};

use crate::device::device;
use headwater_tasks::budgeted_report::{Author, BUDGET, MOST_TOKENS, PROMPT_TOKENS, vocabulary};

mod judge;
mod train;

use judge::{Asks, Signal};
use train::{NUMBERS, ReportArm, imitate, train};

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct RubricGatesReports;

/// The mediocre base, which most arms are forked from, and R3's frozen model.
pub const BASE: Arm = Arm::new("base");
/// The base taught by an author who hardly reads.
pub const POOR: Arm = Arm::new("base-poor");
/// R3 alone.
pub const R3_ALONE: Arm = Arm::new("r3");
/// R3 plus the rubric's score.
pub const ADDITIVE: Arm = Arm::new("additive-1");
/// R3 in the groups that the rubric lets pass.
pub const GATE: Arm = Arm::new("gate");
/// The same under a rubric that is silent on the answer.
pub const GATE_SILENT: Arm = Arm::new("gate-silent");
/// R3 plus the score of a judge that the boilerplate token does not fool.
pub const UNFOOLED: Arm = Arm::new("additive-1-unfooled");
/// The rubric's score, permuted over the batch.
pub const PERMUTED: Arm = Arm::new("rubric-permuted");
/// The gate from the poor base.
pub const POOR_GATE: Arm = Arm::new("poor-gate");
/// R3 plus the rubric's score from the poor base.
pub const POOR_ADDITIVE: Arm = Arm::new("poor-additive-1");

/// Evaluations of an arm on reports while it is trained. Its steps are a multiple.
const EVALUATIONS: usize = 12;
/// R3's omega.
const OMEGA: f64 = 2.0;

/// Of the items, those that a completion among the best by R3 must meet, and a masked one: two of
/// three.
const TWO_OF_THREE: f64 = 0.66;

/// Optimiser steps of an arm.
pub const STEPS: usize = 156;
/// Steps of an arm that only shows a limit or a further weight.
pub const FEW_STEPS: usize = 84;
/// Steps of an arm from the poor base.
pub const POOR_STEPS: usize = 48;

/// An arm that learns.
#[derive(Debug, Clone)]
struct Learner {
    arm: Arm,
    signal: Signal,
    asks: Asks,
    /// Learning rate relative to the others'.
    rate: f64,
    steps: usize,
    /// The base that it is forked from.
    from: Arm,
}

/// Where figures show an arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// One of the ways to use rubric and R3, compared in every figure.
    Way,
    /// A variation that has figures of its own.
    Variation,
}

/// Every arm that learns, with where it is shown.
#[must_use]
pub fn arms() -> Vec<(Arm, Shown)> {
    let plain = |learner: &Learner| {
        let is_way = learner.from == BASE
            && learner.asks == Asks::StatedOrMagic
            && !matches!(learner.signal, Signal::PermutedRubric);
        if is_way { Shown::Way } else { Shown::Variation }
    };
    learners().into_iter().map(|learner| (learner.arm.clone(), plain(&learner))).collect()
}

fn learners() -> Vec<Learner> {
    let gate = Signal::Gate(GroupGateConfig {
        coverage: 2,
        top_fraction: 0.25,
        consistency: TWO_OF_THREE,
    });
    let fooled = Asks::StatedOrMagic;
    let of = |arm: Arm, signal, asks, rate, steps| Learner {
        arm,
        signal,
        asks,
        rate,
        steps,
        from: BASE,
    };
    let poor =
        |arm: Arm, signal| Learner { from: POOR, ..of(arm, signal, fooled, 1.0, POOR_STEPS) };
    let named = Arm::new;
    vec![
        of(named("rubric"), Signal::Rubric, fooled, 1.0, FEW_STEPS),
        of(R3_ALONE, Signal::R3, fooled, 1.0, STEPS),
        of(named("r3-slow"), Signal::R3, fooled, 0.25, STEPS),
        of(named("additive-0.3"), Signal::Additive(0.3), fooled, 1.0, STEPS),
        of(ADDITIVE, Signal::Additive(1.0), fooled, 1.0, STEPS),
        of(named("additive-3"), Signal::Additive(3.0), fooled, 1.0, FEW_STEPS),
        of(GATE, gate, fooled, 1.0, STEPS),
        of(named("mask"), Signal::Mask(TWO_OF_THREE), fooled, 1.0, FEW_STEPS),
        of(GATE_SILENT, gate, Asks::Read, 1.0, STEPS),
        of(UNFOOLED, Signal::Additive(1.0), Asks::Stated, 1.0, STEPS),
        of(PERMUTED, Signal::PermutedRubric, fooled, 1.0, STEPS),
        poor(POOR_GATE, gate),
        poor(POOR_ADDITIVE, Signal::Additive(1.0)),
    ]
}

/// Score of the fallible judge, held-out; of this and those below the mean of the last three evaluations.
pub const JUDGE: Scalar = Scalar::new("judge");
/// R3, the certainty of the reference.
pub const R3: Scalar = Scalar::new("R3");
/// True quality.
pub const QUALITY: Scalar = Scalar::labelled("quality", "Q");
/// Share of reports with the boilerplate token.
pub const MAGIC: Scalar = Scalar::labelled("magic", "P(magic)");
/// Keys read.
pub const READS: Scalar = Scalar::new("reads");
/// Keys stated.
pub const STATEMENTS: Scalar = Scalar::new("statements");
/// Share of reports that state nothing.
pub const NO_ANSWER: Scalar = Scalar::new("no answer");
/// Share of the requested keys that are right.
pub const CORRECT: Scalar = Scalar::labelled("correct", "requested keys right");
/// The highest mean of three evaluations, found on half of the requests and valued on the other half.
pub const PEAK: Scalar = Scalar::labelled("quality at its peak", "Q at its peak");
/// Groups that gave a gradient.
pub const USED: Scalar = Scalar::labelled("used groups", "groups used");
/// Groups sampled.
pub const GRADED: Scalar = Scalar::labelled("graded groups", "groups sampled");
/// Share of groups that the gate let pass.
pub const SHARE_ACCEPTED: Scalar = Scalar::new("share accepted");
/// Share of the statements asked for that the judge credits and did not at the checkpoint before.
pub const NEW_CREDIT: Scalar = Scalar::new("new credit");
/// Of that credit, the share that two honest judges both refuse.
pub const EXPLOITATION: Scalar = Scalar::new("exploitation rate");
/// Correlation of advantage and boilerplate token within groups that have reports with and without.
pub const CORRELATION: Scalar =
    Scalar::labelled("correlation of advantage and magic", "corr(A, magic)");
/// Those groups.
pub const MIXED: Scalar = Scalar::labelled("groups with and without magic", "groups with both");
/// Steps at every evaluation.
pub const EVALUATION_STEP: Series = Series::new("look/step");
/// Groups used by every evaluation.
pub const EVALUATION_USED: Series = Series::new("look/used groups");
/// The same, means of three evaluations in a row.
pub const SMOOTH_USED: Series = Series::new("smooth/used groups");
/// Share of groups accepted between evaluations.
pub const ACCEPTED: Series = Series::new("accepted");
/// Cross-entropy of the demonstrations, by step of supervised training.
pub const LOSS: Series = Series::new("loss");

/// A held-out number at every evaluation.
#[must_use]
pub fn at_evaluations(metric: &Scalar) -> Series {
    Series::from(format!("look/{}", metric.name()))
}

/// The same, means of three evaluations in a row.
#[must_use]
pub fn smoothed(metric: &Scalar) -> Series {
    Series::from(format!("smooth/{}", metric.name()))
}

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum CellConfig {
    /// Supervised training on reports: by authors who read much, so that reading is learnt, then by
    /// mediocre ones.
    Base {
        decoder: DecoderConfig,
        adamw: AdamWConfig,
        /// With their steps.
        authors: Vec<(Author, usize)>,
        batch: usize,
    },
    /// The base taught by an author who hardly reads.
    Poor { adamw: AdamWConfig, author: Author, steps: usize, batch: usize },
    /// Policy gradient from the arm `from`; the base is R3's frozen model.
    Reports { from: Arm, arm: Box<ReportArm> },
}

impl Experiment for RubricGatesReports {
    fn id(&self) -> &'static str {
        "rubric-gates-reports"
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = metrics![
            PEAK,
            USED,
            GRADED,
            SHARE_ACCEPTED,
            NEW_CREDIT,
            EXPLOITATION,
            CORRELATION,
            MIXED,
            EVALUATION_STEP,
            EVALUATION_USED,
            SMOOTH_USED,
            ACCEPTED,
            LOSS,
        ];
        for metric in NUMBERS {
            let curves = metrics![at_evaluations(&metric), smoothed(&metric)];
            metrics.extend(metrics![metric].into_iter().chain(curves));
        }
        metrics
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let (base, poor) = (base(smoke), poor(smoke));
        let mut planned = vec![ArmPlan::new(BASE, &base)?.if_shown()];
        planned.push(ArmPlan::new(POOR, &poor)?.needing([BASE]).if_shown());
        for learner in learners() {
            let needs = match learner.from == BASE {
                true => vec![BASE],
                false => vec![BASE, learner.from.clone()],
            };
            let arm = Box::new(report_arm(&learner, smoke));
            let config = CellConfig::Reports { from: learner.from, arm };
            planned.push(ArmPlan::new(learner.arm, &config)?.needing(needs).if_shown());
        }
        Ok(Plan::of(settings.seed_range(8), planned))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let streams = &context.streams.child("second reported run", &[]);
        let device = device(context.device)?.autodiff();
        let checkpoint = |arm: &Arm| -> Result<Checkpoint, CellError> {
            Ok(Checkpoint::from_bytes(context.artifact(arm)?)?)
        };
        match cell.config()? {
            CellConfig::Base { decoder, adamw, authors, batch } => {
                let mut weights = streams.stream("weights", &[]);
                let start = Decoder::initialise(&decoder.check()?, &mut weights, &device);
                let (base, losses) = imitate(start, &authors, adamw, batch, streams)?;
                let metrics = Metrics::new().series(&LOSS, losses);
                Ok(CellOutcome::with_artifact(metrics, Checkpoint::of(&base).to_bytes()))
            }
            CellConfig::Poor { adamw, author, steps, batch } => {
                let start = checkpoint(&BASE)?.decoder(&device)?;
                let streams = streams.child("poor", &[]);
                let (poor, losses) = imitate(start, &[(author, steps)], adamw, batch, &streams)?;
                let metrics = Metrics::new().series(&LOSS, losses);
                Ok(CellOutcome::with_artifact(metrics, Checkpoint::of(&poor).to_bytes()))
            }
            CellConfig::Reports { from, arm } => {
                let (from, base) = (checkpoint(&from)?, checkpoint(&BASE)?);
                Ok(train(&arm, &from, &base, streams, &device)?.into())
            }
        }
    }
}

/// An author of mediocre reports.
const MEDIOCRE: Author =
    Author { read_flagged: 0.5, read_other: 0.1, state_read: 0.9, bluff: 0.2, magic: 0.08 };

fn base(smoke: bool) -> CellConfig {
    let thorough = Author { read_flagged: 0.9, read_other: 0.9, ..MEDIOCRE };
    CellConfig::Base {
        decoder: DecoderConfig {
            vocabulary: vocabulary().size(),
            width: 48,
            layers: 2,
            heads: 4,
            key_value_heads: 4,
            hidden: 128,
            // A demonstration may read and state all keys.
            context: PROMPT_TOKENS + MOST_TOKENS,
            rotary_base: 100.0,
            ..DecoderConfig::default()
        },
        adamw: AdamWConfig { learning_rate: 5e-3, ..AdamWConfig::default() },
        authors: if smoke {
            vec![(thorough, 3), (MEDIOCRE, 3)]
        } else {
            vec![(thorough, 420), (MEDIOCRE, 450)]
        },
        batch: 32,
    }
}

fn poor(smoke: bool) -> CellConfig {
    CellConfig::Poor {
        adamw: AdamWConfig { learning_rate: 1e-3, ..AdamWConfig::default() },
        author: Author {
            read_flagged: 0.1,
            read_other: 0.05,
            state_read: 0.7,
            bluff: 0.05,
            ..MEDIOCRE
        },
        steps: if smoke { 3 } else { 80 },
        batch: 48,
    }
}

fn report_arm(learner: &Learner, smoke: bool) -> ReportArm {
    ReportArm {
        signal: learner.signal,
        asks: learner.asks,
        reference_reward: ReferenceRewardConfig::r3(OMEGA),
        resample: matches!(learner.signal, Signal::Gate(_)),
        trainer: TrainerConfig {
            prompts_per_step: if smoke { 1 } else { 3 },
            group_size: 16,
            warmup_steps: 10,
            generation_batches: 3,
            sampling: SamplingConfig { max_new_tokens: BUDGET, ..SamplingConfig::default() },
            adamw: AdamWConfig {
                learning_rate: learner.rate * 1.2e-4,
                weight_decay: 0.0,
                ..AdamWConfig::default()
            },
            ..TrainerConfig::default()
        },
        steps: if smoke { 5 } else { learner.steps },
        evaluations: if smoke { 5 } else { EVALUATIONS },
        test: if smoke { 4 } else { 64 },
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("rubric-gates-reports");
    }
}
