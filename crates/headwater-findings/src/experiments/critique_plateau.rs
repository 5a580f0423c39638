//! Experiment `critique-plateau`: one base policy that is surely wrong about some questions,
//! reinforced with numbers alone and with refinements written under critiques.
//!
//! The task is arithmetic with confident misconceptions ([`headwater_tasks::misconceptions`]); about
//! 30% of the training questions meet one. Arms fork one base per seed and initial probability of
//! the right result on a misconception, read the same questions in the same order, and stop at the
//! same number of sampled responses, refinements included. They differ in the critique, in the
//! weight of refinements, or (8 or 16 rollouts, eight times as many questions) in having none. All
//! is measured without critiques on held-out questions, greedily.
//!
//! In four arms the cause is removed: refinements without a critique, under critiques that name
//! another step than the first wrong one, under those of another attempt, and permuted verdicts.

use headwater_core::{Check, Streams};
use headwater_nn::{AdamWConfig, Checkpoint, Decoder, DecoderConfig, Device};
use headwater_optimizers::CritiqueGrpoConfig;
use headwater_optimizers::critique_grpo::{CritiqueTrainerConfig, Refine, RefinementWeight};
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan,
    Preset, ProtocolError, Series, Settings, metrics,
};
use serde::{Deserialize, Serialize};

use crate::device::device;
use headwater_tasks::misconceptions::{
    Arithmetic, Critique, Doubt, PROMPT_TOKENS, STEPS, Shares, vocabulary,
};

mod measure;
mod train;

pub use measure::{
    CRITICAL, ENTROPY_RISE, LARGEST_FALL, LAST_THIRD, PASS_8, REST, REST_PROBABILITY,
    REST_PROBABILITY_BY_EVALUATION, STUCK, STUCK_BY_EVALUATION, STUCK_PROBABILITY, critique_name,
    exchanged_rescued, exchanged_valid, rescued, valid,
};
pub use train::{ENTROPY, GENERATIONS, STEPS_TAKEN};

use measure::{Test, dynamics, record, rescues, sampling};
use train::{Optimisation, Supervision, Tamper, imitate, optimise, training};

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct CritiquePlateau;

/// Supervised training from random weights, which every base goes on from.
const PRETRAINED: Arm = Arm::new("pretrained");
/// The main base, which the arms are forked from.
pub const BASE: Arm = Arm::new("base");
/// Numeric reward alone, 8 rollouts.
pub const GRPO_8: Arm = Arm::new("grpo-8");
/// Numeric reward alone, 16 rollouts.
pub const GRPO_16: Arm = Arm::new("grpo-16");
/// Numeric reward alone on eight times as many questions.
pub const GRPO_QUESTIONS: Arm = Arm::new("grpo-8-questions-x8");
/// Critiques that say that an attempt is wrong.
pub const INDICATIVE: Arm = Arm::new("indicative");
/// Critiques that give the right final result.
pub const FINAL_RESULT: Arm = Arm::new("final-result");
/// Critiques that name the first wrong step: the published method.
pub const STEP: Arm = Arm::new("step");
/// Critiques that name the first wrong step and its right result.
pub const CORRECTION: Arm = Arm::new("correction");
/// Refinements weighted with their probability.
pub const STEP_UNSHAPED: Arm = Arm::new("step-unshaped");
/// Refinements imitated.
pub const STEP_WEIGHT_1: Arm = Arm::new("step-weight-1");
/// Refinements in the mean of rewards only.
pub const STEP_BASELINE_ONLY: Arm = Arm::new("step-baseline-only");
/// Refinements weighted by the ratio of their probabilities without and with the critique.
pub const STEP_IMPORTANCE: Arm = Arm::new("step-importance");
/// Four rollouts and four refinements.
pub const STEP_4_4: Arm = Arm::new("step-4-4");
/// Critiques of another attempt.
pub const STEP_EXCHANGED: Arm = Arm::new("step-exchanged");
/// Refinements without a critique.
pub const BLANK: Arm = Arm::new("blank");
/// Critiques that name a sound step.
pub const STEP_MISPLACED: Arm = Arm::new("step-misplaced");
/// Permuted verdicts.
pub const STEP_PERMUTED: Arm = Arm::new("step-permuted");

/// A base, by the probability of each result that is not believed in its demonstrations.
#[derive(Debug, Clone)]
pub struct Start {
    p0: f64,
    /// The base.
    pub base: Arm,
    suffix: &'static str,
}

impl Start {
    const fn new(p0: f64, base: &'static str, suffix: &'static str) -> Self {
        Self { p0, base: Arm::new(base), suffix }
    }

    /// The name of an arm that is forked from this base.
    #[must_use]
    pub fn arm(&self, arm: &Arm) -> Arm {
        Arm::from(format!("{arm}{}", self.suffix))
    }
}

const MAIN: Start = Start::new(8e-3, "base", "");
/// The lowest start.
pub const LOWEST: Start = Start::new(1e-4, "base.p1e-4", ".p1e-4");
/// The highest start.
pub const HIGHEST: Start = Start::new(3e-2, "base.p3e-2", ".p3e-2");

/// Every base. The first is that of the main comparison; it was chosen in pilots.
#[must_use]
pub fn starts() -> [Start; 4] {
    [MAIN, LOWEST, Start::new(1.5e-3, "base.p1.5e-3", ".p1.5e-3"), HIGHEST]
}

/// Every base, by ascending initial probability.
#[must_use]
pub fn by_probability() -> [Start; 4] {
    let mut starts = starts();
    starts.sort_by(|a, b| a.p0.total_cmp(&b.p0));
    starts
}

/// An arm that learns from a base: the published method but for one thing.
#[derive(Debug, Clone)]
pub struct Learner {
    /// Its name at the main base.
    pub arm: Arm,
    /// It is also run from the other bases.
    pub everywhere: bool,
    objective: CritiqueGrpoConfig,
    critique: Critique,
    tamper: Tamper,
    rollouts: usize,
    /// Times the usual number of training questions.
    questions: usize,
}

/// Every arm that learns.
#[must_use]
pub fn learners() -> Vec<Learner> {
    let published = CritiqueGrpoConfig::default();
    let critique_grpo = |arm, critique, objective| Learner {
        arm,
        everywhere: false,
        objective,
        critique,
        tamper: Tamper::Nothing,
        rollouts: 7,
        questions: 1,
    };
    let grpo = |arm, rollouts, questions| {
        let objective = CritiqueGrpoConfig { refine: Refine::Never, ..published };
        Learner { rollouts, questions, ..critique_grpo(arm, Critique::Blank, objective) }
    };
    let with = |arm, critique| critique_grpo(arm, critique, published);
    let weighted = |arm, weight| {
        let objective = CritiqueGrpoConfig { weight, refinement_clip: None, ..published };
        critique_grpo(arm, Critique::Step, objective)
    };
    let tampered = |arm, tamper| Learner { tamper, ..with(arm, Critique::Step) };
    let everywhere = |learner| Learner { everywhere: true, ..learner };
    let four = CritiqueGrpoConfig { kept: 4, ..published };
    let every = CritiqueGrpoConfig { refine: Refine::EveryPrompt, ..published };
    vec![
        everywhere(grpo(GRPO_8, 8, 1)),
        grpo(GRPO_16, 16, 1),
        grpo(GRPO_QUESTIONS, 8, 8),
        with(INDICATIVE, Critique::Indicative),
        with(FINAL_RESULT, Critique::FinalResult),
        everywhere(with(STEP, Critique::Step)),
        with(CORRECTION, Critique::Correction),
        everywhere(weighted(STEP_UNSHAPED, RefinementWeight::Probability)),
        everywhere(weighted(STEP_WEIGHT_1, RefinementWeight::Likelihood)),
        weighted(STEP_BASELINE_ONLY, RefinementWeight::BaselineOnly),
        weighted(STEP_IMPORTANCE, RefinementWeight::ImportanceRatio { cap: 2.0 }),
        Learner { rollouts: 4, ..critique_grpo(STEP_4_4, Critique::Step, four) },
        critique_grpo(Arm::new("step-every"), Critique::Step, every),
        tampered(STEP_EXCHANGED, Tamper::Exchanged),
        with(BLANK, Critique::Blank),
        tampered(STEP_MISPLACED, Tamper::Misplaced),
        tampered(STEP_PERMUTED, Tamper::Verdicts),
    ]
}

/// Cross-entropy of the demonstrations, by step of supervised training.
const LOSS: Series = Series::new("loss");

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum CellConfig {
    /// Supervised training from random weights.
    Pretrained {
        world: World,
        decoder: DecoderConfig,
        adamw: AdamWConfig,
        supervision: Supervision,
    },
    /// More of it, at an initial probability of the right result on a misconception.
    Base { world: World, adamw: AdamWConfig, supervision: Supervision },
    /// Reinforcement from a base.
    Arm { world: World, from: Arm, optimisation: Box<Optimisation> },
}

/// What a seed's questions are.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct World {
    /// Operand pairs of the table that are misconceptions.
    misconceptions: usize,
    /// Held-out questions of each kind.
    questions: usize,
}

impl World {
    /// The tables of one seed and their misconceptions.
    fn tables(self, streams: &Streams) -> Arithmetic {
        Arithmetic::draw(self.misconceptions, &mut streams.stream("tables", &[]))
    }
}

/// Times that an arm is looked at, at equal distances in generations.
const EVALUATIONS: usize = 9;

impl Experiment for CritiquePlateau {
    fn id(&self) -> &'static str {
        "critique-plateau"
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = metrics![LOSS];
        metrics.extend(measure::metrics());
        metrics.extend(train::metrics());
        metrics
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let world = World { misconceptions: 12, questions: if smoke { 16 } else { 128 } };
        let pretrained = pretrained(world, smoke);
        let mut planned = vec![ArmPlan::new(PRETRAINED, &pretrained)?.if_shown()];
        for start in starts() {
            let config = base(world, start.p0, smoke);
            let cell = ArmPlan::new(&start.base, &config)?.needing([PRETRAINED]);
            planned.push(cell.if_shown());
            let is_main = start.base == BASE;
            for learner in learners().iter().filter(|one| is_main || one.everywhere) {
                let optimisation = Box::new(optimisation(learner, smoke));
                let config = CellConfig::Arm { world, from: start.base.clone(), optimisation };
                let cell = ArmPlan::new(start.arm(&learner.arm), &config)?;
                planned.push(cell.needing([&start.base]).if_shown());
            }
        }
        Ok(Plan::of(settings.seed_range(8), planned))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        // Everything was tuned on other streams.
        let streams = &context.streams.child("fourth set of data, which no earlier run saw", &[]);
        let device = device(context.device)?.autodiff();
        match cell.config()? {
            CellConfig::Pretrained { world, decoder, adamw, supervision } => {
                let mut weights = streams.stream("weights", &[]);
                let start = Decoder::initialise(&decoder.check()?, &mut weights, &device);
                let (tables, streams) = (world.tables(streams), streams.child("pretraining", &[]));
                let (policy, losses) = imitate(start, adamw, &supervision, &tables, &streams)?;
                let metrics = Metrics::new().series(&LOSS, losses);
                Ok(CellOutcome::with_artifact(metrics, Checkpoint::of(&policy).to_bytes()))
            }
            CellConfig::Base { world, adamw, supervision } => {
                let start = forked(&PRETRAINED, context, &device)?;
                let tables = world.tables(streams);
                let (policy, _) = imitate(start, adamw, &supervision, &tables, streams)?;
                let test = Test::new(&tables, world.questions, streams);
                let metrics = record(Metrics::new(), &[test.evaluate(&policy)?]);
                let metrics = rescues(metrics, &test, &policy)?;
                Ok(CellOutcome::with_artifact(metrics, Checkpoint::of(&policy).to_bytes()))
            }
            CellConfig::Arm { world, from, optimisation } => {
                let base = forked(&from, context, &device)?;
                let tables = world.tables(streams);
                let test = Test::new(&tables, world.questions, streams);
                let mut evaluations = Vec::with_capacity(EVALUATIONS);
                let curves =
                    optimise(base, &optimisation, &tables, streams, EVALUATIONS, |policy| {
                        evaluations.push(test.evaluate(policy)?);
                        Ok(())
                    })?;
                let mut metrics =
                    dynamics(record(Metrics::new(), &evaluations), &evaluations, &curves);
                for (name, values) in curves {
                    metrics = metrics.series(&training(name), values);
                }
                Ok(metrics.into())
            }
        }
    }
}

fn forked(from: &Arm, context: &CellContext, device: &Device) -> Result<Decoder, CellError> {
    Ok(Checkpoint::from_bytes(context.artifact(from)?)?.decoder(device)?)
}

fn pretrained(world: World, smoke: bool) -> CellConfig {
    // The lowest start: a probability is raised in fewer steps than it is lowered.
    let shares = Shares { refinements: 0.5, stuck: 0.0 };
    CellConfig::Pretrained {
        world,
        decoder: DecoderConfig {
            vocabulary: vocabulary().size(),
            width: 48,
            layers: 2,
            heads: 4,
            key_value_heads: 4,
            hidden: 128,
            context: PROMPT_TOKENS + STEPS,
            rotary_base: 100.0,
            ..DecoderConfig::default()
        },
        adamw: AdamWConfig { learning_rate: 6e-3, ..AdamWConfig::default() },
        supervision: supervision(if smoke { 4 } else { 1200 }, LOWEST.p0, shares),
    }
}

fn base(world: World, p0: f64, smoke: bool) -> CellConfig {
    // Misconceptions are shown often, so that every one is believed to about the same degree.
    let shares = Shares { refinements: 0.4, stuck: 0.3 };
    CellConfig::Base {
        world,
        adamw: AdamWConfig { learning_rate: 3e-3, ..AdamWConfig::default() },
        supervision: supervision(if smoke { 4 } else { 300 }, p0, shares),
    }
}

fn supervision(steps: usize, p0: f64, shares: Shares) -> Supervision {
    Supervision { steps, batch: 96, doubt: Doubt { p0, slip: 0.08 }, shares }
}

fn optimisation(learner: &Learner, smoke: bool) -> Optimisation {
    Optimisation {
        objective: learner.objective,
        critique: learner.critique,
        tamper: learner.tamper,
        trainer: CritiqueTrainerConfig {
            group_size: learner.rollouts,
            sampling: sampling(),
            warmup_steps: 10,
            adamw: AdamWConfig { learning_rate: 6e-4, weight_decay: 0.0, ..AdamWConfig::default() },
        },
        prompts_per_step: 16,
        pool: 512 * learner.questions,
        stuck: 0.3,
        generations: if smoke { 24 * 16 } else { 32_000 },
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("critique-plateau");
    }
}
