//! A decoder that answers questions and verifies answers, and learns from what it accepts.
//!
//! The task is [`crate::tasks::two_sum`]: two of the numbers shown that sum to a target. One base per seed is trained on
//! imperfect demonstrations and, in a format of its own, on verdicts over a limited set of labelled answers, so that it
//! verifies with error rates of its own. Every arm forks it and generates the same number of answers (with second attempts about
//! as many: the report has the number); arms differ
//! in who says which of them to learn from: the policy itself, the policy as it was, a better verifier trained apart, both,
//! the exact checker (with fits that go on, that restart from the base, and that learn from second attempts with a hint), its
//! own majority. All is measured on held-out questions after every round.
//!
//! A policy trained the same but for verification shows that a task which is easy to check is of no use to one who never
//! learnt to check it. Controls: verdicts permuted among the answers of a round, and
//! rewards by votes among the answers to a question.

use headwater_core::{Check, Streams};
use headwater_nn::{AdamWConfig, Checkpoint, Decoder, DecoderConfig, SamplingConfig};
use headwater_optimizers::TrainerConfig;
use headwater_protocol::{CellError, Metrics, Outcome, Workbench};
use headwater_self_improvement::fit::FitConfig;
use headwater_self_improvement::rejection::RejectionConfig;
use headwater_self_improvement::self_judging::SelfJudgingConfig;
use headwater_self_improvement::verification::VerificationFormat;
use serde::{Deserialize, Serialize};

use crate::device::device;
use crate::tasks::two_sum::{ANSWER_TOKENS, PROMPT_TOKENS, VERIFICATION, vocabulary};

mod loops;
mod measure;
mod report;
mod supervised;

use loops::{Again, Loop, Source};
use measure::{Test, TestConfig};
pub(super) use report::{contrasts, controls, figures, tables};
use supervised::{Supervision, supervise};

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) enum PolicyConfig {
    /// Training on demonstrations and labelled answers.
    Supervised { decoder: DecoderConfig, supervision: Supervision, test: TestConfig },
    /// Rounds of a loop from the base.
    Loop { rounds: usize, of: Box<Loop>, test: TestConfig },
}

/// The base that every loop starts from, the verifier trained apart, and the base that did not learn to verify.
const BASE: &str = "policy-base";
const JUDGE: &str = "policy-judge";
const UNVERIFIED: &str = "policy-unverified";

impl PolicyConfig {
    /// Arms whose artifact the cell starts from.
    pub(super) fn needs(&self) -> &'static [&'static str] {
        match self {
            Self::Supervised { .. } => &[],
            Self::Loop { .. } => &[BASE, JUDGE],
        }
    }
}

/// Rounds of every loop.
const ROUNDS: usize = 4;
/// Prompts and answers per prompt in a round.
const PROMPTS: usize = 256;
const SAMPLES: usize = 16;
/// Policy-gradient steps that generate as much as a round.
const STEPS: usize = 16;

/// Share of wrong demonstrations.
const SLIP: f64 = 0.3;

pub(super) fn arms(smoke: bool) -> Vec<(String, PolicyConfig)> {
    let test = TestConfig {
        prompts: if smoke { 16 } else { 64 },
        // Twice the largest k, so that pass@k is more than "any right".
        samples: 2 * measure::LARGEST,
    };
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
    let supervised =
        |supervision| PolicyConfig::Supervised { decoder: decoder(), supervision, test };
    let (prompts, steps) = if smoke { (4, 1) } else { (PROMPTS, STEPS) };
    let adamw =
        |learning_rate| AdamWConfig { learning_rate, weight_decay: 0.0, ..AdamWConfig::default() };
    let fit = |steps, batch, learning_rate| FitConfig {
        steps: if smoke { 2 } else { steps },
        batch,
        warmup_steps: 5,
        adamw: adamw(learning_rate),
    };
    let kept_of =
        |samples| RejectionConfig { samples, sampling: sampling(), fit: fit(36, 160, 1e-3) };
    let rejection = |source, restart| Loop::Rejection {
        source,
        restart,
        again: Again::No,
        prompts,
        round: kept_of(SAMPLES),
    };
    // One attempt at each of many questions. With a second one at those that failed, fewer questions make about as many attempts.
    let single = |again| Loop::Rejection {
        source: Source::Tool,
        restart: true,
        again,
        prompts: if again == Again::No { prompts * SAMPLES } else { prompts * SAMPLES * 5 / 8 },
        round: kept_of(1),
    };
    let majority = |fixed, permuted| Loop::Majority {
        trainer: TrainerConfig {
            prompts_per_step: prompts / steps,
            group_size: SAMPLES,
            warmup_steps: 10,
            sampling: sampling(),
            // Small enough for rewards that say nothing to cost little coverage; at 7e-4 they cost 0.03.
            adamw: adamw(4e-4),
            ..TrainerConfig::default()
        },
        steps,
        fixed,
        permuted,
    };
    let self_judging = |temporal| Loop::SelfJudging {
        temporal,
        prompts,
        round: SelfJudgingConfig {
            samples: SAMPLES,
            sampling: sampling(),
            beta: 0.3,
            fit: fit(20, 64, 1e-3),
        },
    };
    let spin = Loop::Spin {
        demonstrations: prompts * SAMPLES,
        slip: SLIP,
        lambda: 0.3,
        sampling: sampling(),
        fit: fit(20, 160, 3e-4),
    };
    let proposer_solver = Loop::ProposerSolver {
        proposals: prompts / steps,
        attempts: SAMPLES - 1,
        steps,
        sampling: sampling(),
        adamw: adamw(7e-4),
    };
    let looped = |of| PolicyConfig::Loop { rounds: ROUNDS, of: Box::new(of), test };
    [
        (BASE, supervised(base)),
        (JUDGE, supervised(judge)),
        (UNVERIFIED, supervised(unverified)),
        ("policy-self", looped(rejection(Source::Own, false))),
        ("policy-self-restart", looped(rejection(Source::Own, true))),
        ("policy-frozen", looped(rejection(Source::Frozen, false))),
        ("policy-third-party", looped(rejection(Source::ThirdParty, false))),
        ("policy-both", looped(rejection(Source::Both, false))),
        ("policy-gold", looped(rejection(Source::Tool, false))),
        ("policy-gold-restart", looped(rejection(Source::Tool, true))),
        ("policy-star", looped(single(Again::Hinted))),
        ("policy-star-no-hint", looped(single(Again::Plain))),
        ("policy-single", looped(single(Again::No))),
        ("policy-permuted", looped(rejection(Source::Permuted, false))),
        ("policy-majority", looped(majority(false, false))),
        ("policy-majority-fixed", looped(majority(true, false))),
        ("policy-majority-permuted", looped(majority(false, true))),
        ("policy-self-judging", looped(self_judging(false))),
        ("policy-temporal", looped(self_judging(true))),
        ("policy-spin", looped(spin)),
        ("policy-proposer-solver", looped(proposer_solver)),
    ]
    .map(|(arm, config)| (arm.to_string(), config))
    .into()
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

/// Answers have a fixed length and are sampled from the whole distribution.
fn sampling() -> SamplingConfig {
    SamplingConfig { max_new_tokens: ANSWER_TOKENS, stop: None, ..SamplingConfig::default() }
}

/// How the policy is asked for verdicts.
fn format() -> VerificationFormat {
    let [query, right, wrong] = VERIFICATION;
    VerificationFormat { query, right, wrong }
}

pub(super) fn run(
    config: PolicyConfig,
    workbench: &Workbench,
    streams: &Streams,
) -> Result<Outcome, CellError> {
    let streams = streams.child("policy", &[]);
    let device = device(workbench.device)?.autodiff();
    match config {
        PolicyConfig::Supervised { decoder, supervision, test } => {
            let mut weights = streams.child(&supervision.streams, &[]).stream("weights", &[]);
            let start = Decoder::initialise(&decoder.check()?, &mut weights, &device);
            let (policy, losses) = supervise(start, &supervision, &streams)?;
            let test = Test::new(test, &streams)?;
            let look = test.look(&policy, &policy, &|policy, answers| {
                format().scores(policy, answers.pairs())
            })?;
            let metrics = look.report(Metrics::new()).series("loss", losses);
            Ok(Outcome::with_artifact(metrics, Checkpoint::of(&policy).to_bytes()))
        }
        PolicyConfig::Loop { rounds, of, test } => {
            let decoder = |arm: &str| -> Result<Decoder, CellError> {
                Ok(Checkpoint::from_bytes(workbench.artifact(arm)?)?.decoder(&device)?)
            };
            let (base, judge) = (decoder(BASE)?, decoder(JUDGE)?);
            let test = Test::new(test, &streams)?;
            Ok(loops::run(*of, rounds, &base, &judge, &test, &streams)?.into())
        }
    }
}
