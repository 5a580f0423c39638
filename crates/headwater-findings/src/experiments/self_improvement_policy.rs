//! Experiment `self-improvement-policy`: a decoder that answers questions and verifies answers, and
//! learns from what it accepts.
//!
//! The task is [`headwater_tasks::two_sum`]: two of the numbers shown that sum to a target. One base
//! per seed is trained on imperfect demonstrations and, in a format of its own, on verdicts over a
//! limited set of labelled answers, so that it verifies with error rates of its own. Every arm
//! forks it and generates the same number of answers (with second attempts about as many: the
//! report has the number). Arms differ in who says which of them to learn from: the policy itself,
//! the policy as it was, a better verifier trained apart, both, the exact checker (with fits that
//! go on, that restart from the base, and that learn from second attempts with a hint), its own
//! majority. All is measured on held-out questions after every round.
//!
//! A policy trained the same but for verification shows that a task which is easy to check is of no
//! use to one who never learnt to check it. In two arms what is learnt from is dealt out at random:
//! verdicts among the answers of a round, and rewards by votes among the answers to a question.

use headwater_core::{Check, Streams};
use headwater_nn::{AdamWConfig, Checkpoint, Decoder, DecoderConfig, Device};
use headwater_optimizers::TrainerConfig;
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan,
    Preset, ProtocolError, Series, Settings, metrics,
};
use headwater_self_improvement::fit::FitConfig;
use headwater_self_improvement::rejection::RejectionConfig;
use headwater_self_improvement::self_judging::SelfJudgingConfig;
use serde::{Deserialize, Serialize};

use crate::device::device;
use headwater_tasks::two_sum::{ANSWER_TOKENS, PROMPT_TOKENS, vocabulary};

mod loops;
mod measure;
mod supervised;

pub use loops::{
    ATTEMPTS, CONTRAST, CONTRAST_BY_ROUND, KEPT, PAIRS, SCORE_CONTRAST_BY_ROUND, SECOND, SOLVED,
    Source, VALID,
};
pub use measure::{
    BIAS, BY_SIZE, CONSENSUS, DISTINCT, FPR, GAP, KL, MAJORITY_RIGHT, PASS_1, PASS_4, PASS_16,
    PASS_64, RELATIVE_GAP, TOP_ANSWER, TPR, by_round,
};

use loops::{Again, Loop, Majority, ProposerSolver, Rejection, SelfJudging, Spin};
use measure::{Test, TestConfig, sampling};
use supervised::{Supervision, format, supervise};

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct SelfImprovementPolicy;

/// The base that every loop starts from.
pub const BASE: Arm = Arm::new("policy-base");
/// The verifier trained apart.
pub const JUDGE: Arm = Arm::new("policy-judge");
/// A base that did not learn to verify.
pub const UNVERIFIED: Arm = Arm::new("policy-unverified");
/// Every decoder that is trained on demonstrations.
pub const SUPERVISED: [Arm; 3] = [BASE, JUDGE, UNVERIFIED];

/// The policy as it is verifies.
pub const OWN: Arm = Arm::new("policy-self");
/// A better verifier, trained apart, verifies.
pub const THIRD_PARTY: Arm = Arm::new("policy-third-party");
/// The policy as it was and the third party verify.
pub const BOTH: Arm = Arm::new("policy-both");
/// The exact checker verifies.
pub const GOLD: Arm = Arm::new("policy-gold");
/// The policy's own verdicts, permuted among the answers of a round.
pub const PERMUTED: Arm = Arm::new("policy-permuted");
/// The exact checker, and second attempts with a hint.
pub const STAR: Arm = Arm::new("policy-star");
/// The same without the hint.
pub const STAR_NO_HINT: Arm = Arm::new("policy-star-no-hint");
/// The own majority.
pub const MAJORITY: Arm = Arm::new("policy-majority");
/// The own majority's rewards, permuted among the answers to a question.
pub const MAJORITY_PERMUTED: Arm = Arm::new("policy-majority-permuted");
/// The best against the worst of one's own answers by one's own score.
pub const SELF_JUDGING: Arm = Arm::new("policy-self-judging");
/// The same with the rejected side from the base.
pub const TEMPORAL: Arm = Arm::new("policy-temporal");
/// Demonstrations like the base's against one's own answers.
pub const SPIN: Arm = Arm::new("policy-spin");
/// Targets of one's own, paid by the exact checker.
pub const PROPOSER_SOLVER: Arm = Arm::new("policy-proposer-solver");

/// An arm that fits to the answers that somebody accepts.
pub struct Filtered {
    /// The arm.
    pub arm: Arm,
    /// Who accepts them.
    pub source: Source,
    /// Whether every fit starts from the base.
    restart: bool,
    again: Again,
    /// Answers to a question.
    samples: usize,
}

const fn filtered(arm: Arm, source: Source, restart: bool) -> Filtered {
    Filtered { arm, source, restart, again: Again::No, samples: SAMPLES }
}

/// One attempt at each of many questions.
const fn single(arm: Arm, again: Again) -> Filtered {
    Filtered { arm, source: Source::Tool, restart: true, again, samples: 1 }
}

/// Arms that differ in who verifies, and in one whether fits go on.
pub const BY_VERIFIER: [Filtered; 7] = [
    filtered(OWN, Source::Own, false),
    filtered(Arm::new("policy-self-restart"), Source::Own, true),
    filtered(Arm::new("policy-frozen"), Source::Frozen, false),
    filtered(THIRD_PARTY, Source::ThirdParty, false),
    filtered(BOTH, Source::Both, false),
    filtered(GOLD, Source::Tool, false),
    filtered(PERMUTED, Source::Permuted, false),
];

/// Arms whose fits to what the exact checker accepts start from the base.
const RESTARTED: [Filtered; 4] = [
    filtered(Arm::new("policy-gold-restart"), Source::Tool, true),
    single(STAR, Again::Hinted),
    single(STAR_NO_HINT, Again::Plain),
    single(Arm::new("policy-single"), Again::No),
];

/// Arms rewarded by their own majority: whether questions are fixed, and rewards permuted.
pub const MAJORITIES: [(Arm, bool, bool); 3] = [
    (MAJORITY, false, false),
    (Arm::new("policy-majority-fixed"), true, false),
    (MAJORITY_PERMUTED, false, true),
];

/// Arms that score their own answers: whether the rejected side is the base's.
const SELF_JUDGED: [(Arm, bool); 2] = [(SELF_JUDGING, false), (TEMPORAL, true)];

/// Every arm that learns from the base, with its loop, in the order of the tables.
fn loops(size: Size) -> Vec<(Arm, Loop)> {
    let of = |filtered: Filtered| {
        let rejection = rejection(&filtered, size);
        (filtered.arm, Loop::Rejection(rejection))
    };
    let filtered = BY_VERIFIER.into_iter().chain(RESTARTED).map(of);
    let majorities = MAJORITIES.map(|(arm, fixed, permuted)| {
        (arm, Loop::Majority(Box::new(majority(fixed, permuted, size))))
    });
    let judged =
        SELF_JUDGED.map(|(arm, temporal)| (arm, Loop::SelfJudging(self_judging(temporal, size))));
    let others = [
        (SPIN, Loop::Spin(spin(size))),
        (PROPOSER_SOLVER, Loop::ProposerSolver(proposer_solver(size))),
    ];
    filtered.chain(majorities).chain(judged).chain(others).collect()
}

/// Every arm that learns from the base, in the order of the tables.
pub fn learners() -> impl Iterator<Item = Arm> {
    loops(Size::of(Preset::Quick)).into_iter().map(|(arm, _)| arm)
}

/// Cross-entropy of what is demonstrated, by step of supervised training.
pub const LOSS: Series = Series::new("loss");

/// Rounds of every loop.
pub const ROUNDS: usize = 4;
/// Prompts and answers per prompt in a round.
const PROMPTS: usize = 256;
const SAMPLES: usize = 16;
/// Policy-gradient steps that generate as much as a round.
const STEPS: usize = 16;
/// Share of wrong demonstrations.
const SLIP: f64 = 0.3;

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum PolicyConfig {
    /// Training on demonstrations and labelled answers.
    Supervised { decoder: DecoderConfig, supervision: Supervision, test: TestConfig },
    /// Rounds of a loop from the base.
    Loop { rounds: usize, of: Box<Loop>, test: TestConfig },
}

/// How much a preset runs.
#[derive(Clone, Copy)]
struct Size {
    smoke: bool,
    prompts: usize,
    /// Policy-gradient steps of a round.
    steps: usize,
}

impl Size {
    fn of(preset: Preset) -> Self {
        let smoke = preset == Preset::Smoke;
        let (prompts, steps) = if smoke { (4, 1) } else { (PROMPTS, STEPS) };
        Self { smoke, prompts, steps }
    }

    fn test(self) -> TestConfig {
        let prompts = if self.smoke { 16 } else { 64 };
        // Twice the largest k, so that pass@k is more than "any right".
        TestConfig { prompts, samples: 2 * measure::LARGEST }
    }

    fn fit(self, steps: usize, batch: usize, learning_rate: f64) -> FitConfig {
        let steps = if self.smoke { 2 } else { steps };
        FitConfig { steps, batch, warmup_steps: 5, adamw: adamw(learning_rate) }
    }
}

fn adamw(learning_rate: f64) -> AdamWConfig {
    AdamWConfig { learning_rate, weight_decay: 0.0, ..AdamWConfig::default() }
}

fn supervisions(smoke: bool) -> [Supervision; 3] {
    let base = Supervision {
        steps: if smoke { 3 } else { 1000 },
        demonstrations: 56,
        slip: SLIP,
        proposals: 8,
        verdicts: 64,
        labelled: Some(8192),
        adamw: AdamWConfig { learning_rate: 8e-3, ..AdamWConfig::default() },
        streams: "base".into(),
    };
    let judge = Supervision {
        steps: if smoke { 3 } else { 1300 },
        labelled: None,
        streams: "judge".into(),
        ..base.clone()
    };
    let unverified = Supervision { verdicts: 0, ..base.clone() };
    [base, judge, unverified]
}

fn rejection(of: &Filtered, size: Size) -> Rejection {
    let &Filtered { source, restart, again, samples, .. } = of;
    let attempts = size.prompts * SAMPLES / samples;
    // With a second attempt where the first failed, fewer questions make about as many attempts.
    let prompts = if again == Again::No { attempts } else { attempts * 5 / 8 };
    let fit = size.fit(36, 160, 1e-3);
    let round = RejectionConfig { samples, sampling: sampling(), fit };
    Rejection { source, restart, again, prompts, round }
}

fn majority(fixed: bool, permuted: bool, size: Size) -> Majority {
    let trainer = TrainerConfig {
        prompts_per_step: size.prompts / size.steps,
        group_size: SAMPLES,
        warmup_steps: 10,
        sampling: sampling(),
        // Small enough for rewards that say nothing to cost little coverage; at 7e-4 they cost
        // 0.03.
        adamw: adamw(4e-4),
        ..TrainerConfig::default()
    };
    Majority { trainer, steps: size.steps, fixed, permuted }
}

fn self_judging(temporal: bool, size: Size) -> SelfJudging {
    let fit = size.fit(20, 64, 1e-3);
    let round = SelfJudgingConfig { samples: SAMPLES, sampling: sampling(), beta: 0.3, fit };
    SelfJudging { temporal, prompts: size.prompts, round }
}

fn spin(size: Size) -> Spin {
    Spin {
        demonstrations: size.prompts * SAMPLES,
        slip: SLIP,
        lambda: 0.3,
        sampling: sampling(),
        fit: size.fit(20, 160, 3e-4),
    }
}

fn proposer_solver(size: Size) -> ProposerSolver {
    ProposerSolver {
        proposals: size.prompts / size.steps,
        attempts: SAMPLES - 1,
        steps: size.steps,
        sampling: sampling(),
        adamw: adamw(7e-4),
    }
}

fn decoder() -> DecoderConfig {
    DecoderConfig {
        vocabulary: vocabulary().size(),
        width: 32,
        layers: 2,
        heads: 4,
        key_value_heads: 4,
        hidden: 64,
        // A question, an answer, the query and the verdict.
        context: PROMPT_TOKENS + ANSWER_TOKENS + 2,
        rotary_base: 100.0,
        ..DecoderConfig::default()
    }
}

impl Experiment for SelfImprovementPolicy {
    fn id(&self) -> &'static str {
        "self-improvement-policy"
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = metrics![LOSS];
        metrics.extend(measure::metrics());
        metrics.extend(loops::metrics());
        metrics
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let size = Size::of(settings.preset);
        let test = size.test();
        let mut planned = Vec::new();
        for (arm, supervision) in SUPERVISED.into_iter().zip(supervisions(size.smoke)) {
            let decoder = decoder();
            let config = PolicyConfig::Supervised { decoder, supervision, test };
            planned.push(ArmPlan::new(arm, &config)?.if_shown());
        }
        for (arm, of) in loops(size) {
            let config = PolicyConfig::Loop { rounds: ROUNDS, of: Box::new(of), test };
            let cell = ArmPlan::new(arm, &config)?;
            planned.push(cell.needing([BASE, JUDGE]).if_shown());
        }
        Ok(Plan::of(settings.seed_range(8), planned))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        // Drawn anew after controls, step sizes and seeds were changed in view of results.
        let streams = context.streams.child("tasks drawn after the fourth run", &[]);
        let streams = streams.child("policy", &[]);
        let device = device(context.device)?.autodiff();
        match cell.config()? {
            PolicyConfig::Supervised { decoder, supervision, test } => {
                imitate(decoder, &supervision, test, &device, &streams)
            }
            PolicyConfig::Loop { rounds, of, test } => {
                let decoder = |arm: &Arm| -> Result<Decoder, CellError> {
                    Ok(Checkpoint::from_bytes(context.artifact(arm)?)?.decoder(&device)?)
                };
                let (base, judge) = (decoder(&BASE)?, decoder(&JUDGE)?);
                let test = Test::new(test, &streams)?;
                Ok(loops::run(*of, rounds, (&base, &judge), &test, &streams)?.into())
            }
        }
    }
}

/// Supervised training of new weights; the policy is the artifact.
fn imitate(
    decoder: DecoderConfig,
    supervision: &Supervision,
    test: TestConfig,
    device: &Device,
    streams: &Streams,
) -> Result<CellOutcome, CellError> {
    let mut weights = streams.child(&supervision.streams, &[]).stream("weights", &[]);
    let start = Decoder::initialise(&decoder.check()?, &mut weights, device);
    let (policy, losses) = supervise(start, supervision, streams)?;
    let evaluation = Test::new(test, streams)?
        .evaluate(&policy, &policy, &|policy, answers| format().scores(policy, answers.pairs()))?;
    let metrics = evaluation.report(Metrics::new()).series(&LOSS, losses);
    Ok(CellOutcome::with_artifact(metrics, Checkpoint::of(&policy).to_bytes()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("self-improvement-policy");
    }
}
