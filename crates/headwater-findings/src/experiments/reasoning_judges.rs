//! Experiment `reasoning-judges`: judges that give a score, a verdict at once, or a derivation and
//! then the verdict.
//!
//! The task is a chain of modular arithmetic with two candidate answers ([`headwater_tasks::chains`]);
//! how many dependent look-ups a verdict takes is the chain's length. Judges are one small decoder.
//! All start from one base per seed, which judges chains of one step either way, and learn from the
//! same stream of labelled pairs on chains of up to 6 steps; a tag goes with the right candidate in
//! 80% of the pairs that have one tag. The direct judge is given as many training tokens as the
//! reasoning one, and therefore more labels. Then GRPO on the verdict alone, +1 or -1.
//!
//! Tests are on chains of up to 12 steps on which the tag tells nothing: greedy, by votes, by
//! filtered votes, stopped at a lead; then each judge selects among 16 candidates. Two arms judge
//! chains of one step, where one look suffices.

use std::ops::RangeInclusive;

use headwater_core::{Check, EOS};
use headwater_nn::{AdamWConfig, Checkpoint, Decoder, DecoderConfig, SamplingConfig};
use headwater_optimizers::TrainerConfig;
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Plan, Preset,
    ProtocolError, Scalar, Series, Settings, metrics,
};
use serde::{Deserialize, Serialize};

use crate::device::device;
use headwater_tasks::chains::{COMPLETION_TOKENS, PROMPT_TOKENS, vocabulary};

mod cap;
mod measure;
mod select;
mod train;

use cap::cap;
use measure::measure;
use select::select;
use train::{Form, Judge, Supervision, Trained, TrainingPairs, reinforce, supervise};

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct ReasoningJudges;

/// The judge of one-step chains that every arm is forked from.
pub const BASE: Arm = Arm::new("base");
/// Gives a score to one candidate at a time.
pub const SCALAR: Arm = Arm::new("scalar");
/// Gives its verdict at once; as many training tokens as the reasoning judge.
pub const DIRECT: Arm = Arm::new("direct");
/// Derives the answer, and then gives its verdict.
pub const REASONING: Arm = Arm::new("reasoning");
/// Taught the derivations of other pairs.
pub const FOREIGN: Arm = Arm::new("reasoning-foreign");
/// The reasoning judge after policy gradient.
pub const REASONING_RL: Arm = Arm::new("reasoning-rl");
/// Policy gradient from the base.
pub const RL_ONLY: Arm = Arm::new("rl-only");
/// The direct judge of one-step chains.
pub const ONE_STEP_DIRECT: Arm = Arm::new("one-step-direct");
/// The reasoning judge of one-step chains.
pub const ONE_STEP_REASONING: Arm = Arm::new("one-step-reasoning");

/// Every judge but the base, and how it is trained.
fn judges() -> [(Arm, Taught); 10] {
    use Taught::{Reinforced, Supervised};
    let (full, one) = (Scale::Full, Scale::OneStep);
    [
        (SCALAR, Supervised(Form::Scalar, Budget::Labels, full)),
        (DIRECT, Supervised(Form::Direct, Budget::Tokens, full)),
        (Arm::new("direct-equal-labels"), Supervised(Form::Direct, Budget::Labels, full)),
        (REASONING, Supervised(Form::Derivation, Budget::Labels, full)),
        (FOREIGN, Supervised(Form::ForeignDerivation, Budget::Labels, full)),
        (Arm::new("direct-rl"), Reinforced(DIRECT)),
        (REASONING_RL, Reinforced(REASONING)),
        (RL_ONLY, Reinforced(BASE)),
        (ONE_STEP_DIRECT, Supervised(Form::Direct, Budget::Tokens, one)),
        (ONE_STEP_REASONING, Supervised(Form::Derivation, Budget::Labels, one)),
    ]
}

/// How a judge is trained.
enum Taught {
    /// From the base, on labelled pairs.
    Supervised(Form, Budget, Scale),
    /// Policy gradient from another arm's judge.
    Reinforced(Arm),
}

/// As much of what as the reasoning judge.
enum Budget {
    Labels,
    Tokens,
}

/// Which chains.
#[derive(Clone, Copy, PartialEq)]
enum Scale {
    Full,
    OneStep,
}

/// Every judge of long chains, in the order of the tables.
#[must_use]
pub fn of_long_chains() -> Vec<Arm> {
    let is_long = |taught: &Taught| !matches!(taught, Taught::Supervised(_, _, Scale::OneStep));
    let long = judges().into_iter().filter(|(_, taught)| is_long(taught));
    long.map(|(arm, _)| arm).collect()
}

/// Every arm.
#[must_use]
pub fn everyone() -> Vec<Arm> {
    [BASE].into_iter().chain(judges().into_iter().map(|(arm, _)| arm)).collect()
}

/// Share of the training pairs with one tag in which the right candidate has it.
const PLANTED: f64 = 0.8;
/// Probability that a demonstrated derivation slips at a step.
const DEMONSTRATION_SLIP: f64 = 0.05;
/// Lengths of the test.
pub const LENGTHS: [usize; 9] = [1, 2, 3, 4, 5, 6, 8, 10, 12];
/// Lengths that were trained on, well beyond one look-up; the last is the longest.
pub const TRAINED: RangeInclusive<usize> = 4..=6;
/// Lengths that were not trained on.
const LONGER: RangeInclusive<usize> = 8..=12;
/// Both.
const DEEP: RangeInclusive<usize> = 4..=12;
/// Numbers of votes.
pub const VOTES: [usize; 5] = [1, 3, 5, 9, 15];
/// Leads at which voting stops; at most as many votes are taken as the largest of [`VOTES`].
pub const LEADS: [usize; 4] = [1, 2, 3, 4];
/// Candidates of a pool.
pub const MOST: usize = 16;
/// Votes per match of a knockout.
pub const KNOCKOUT_VOTES: [usize; 3] = [1, 3, 5];

/// Greedy accuracy on chains of trained lengths well beyond one look-up; a judgement without a
/// verdict counts one half.
pub const ACCURACY_TRAINED: Scalar = Scalar::labelled("accuracy/trained", "accuracy, 4 to 6 steps");
/// The same of longer chains.
pub const ACCURACY_LONGER: Scalar = Scalar::labelled("accuracy/longer", "accuracy, 8 to 12 steps");
/// The same of both.
pub const ACCURACY_DEEP: Scalar = Scalar::labelled("accuracy/deep", "greedy");
/// Accuracy on trained lengths where the right candidate has the tag.
pub const TAG_ON_RIGHT: Scalar = Scalar::labelled("accuracy/tag on right", "tag on the right one");
/// The same where the wrong one has it.
pub const TAG_ON_WRONG: Scalar = Scalar::labelled("accuracy/tag on wrong", "tag on the wrong one");
/// Share of pairs judged the same in both orders.
pub const CONSISTENT: Scalar = Scalar::labelled("consistent", "same in both orders");
/// Share of judgements without a verdict.
pub const NO_VERDICT: Scalar = Scalar::new("no verdict");
/// Greedy accuracy by length.
pub const BY_LENGTH: Series = Series::new("accuracy/length");
/// Tokens of a greedy judgement by length.
pub const TOKENS_BY_LENGTH: Series = Series::new("tokens/length");
/// Accuracy after so many of the judge's own partial results.
pub const BY_CAP: Series = Series::new("accuracy/cap");
/// What ever more votes would tend to.
pub const CEILING: Scalar = Scalar::labelled("votes/ceiling", "limit of votes");
/// Accuracy by the largest number of votes.
pub const MOST_VOTES: Scalar = Scalar::labelled("votes/most", "15 votes");
/// The same by the better half of them.
pub const MOST_FILTERED: Scalar = Scalar::labelled("votes/most filtered", "best 8 of 15");
/// Accuracy by number of votes.
pub const PLAIN: Series = Series::new("votes/plain");
/// The same by the better half of them.
pub const FILTERED: Series = Series::new("votes/filtered");
/// What independent votes would give.
pub const CONDORCET: Series = Series::new("votes/condorcet");
/// Accuracy where votes stop at a lead.
pub const STOPPED: Series = Series::new("votes/stopped");
/// Votes taken until then.
pub const STOPPED_CALLS: Series = Series::new("votes/stopped calls");
/// Share of right answers, best of 16.
pub const BEST_OF_16: Scalar = Scalar::new("best of 16");
/// The same by a rating that tells nothing.
pub const BLIND: Scalar = Scalar::new("best of 16/blind");
/// Judgements that the ratings took.
pub const CALLS: Scalar = Scalar::labelled("best of 16/calls", "calls");
/// Share of right answers by n.
pub const BEST_OF_N: Series = Series::new("best of n");
/// Share of the selected with the tag by n.
pub const TAGGED: Series = Series::new("best of n/tagged");
/// Share of right answers of a knockout by votes per match.
pub const KNOCKOUT: Series = Series::new("knockout");
/// Labelled pairs in training.
pub const LABELS: Scalar = Scalar::labelled("training/labels", "labels");
/// Tokens read in supervised training.
pub const TOKENS: Scalar = Scalar::labelled("training/tokens", "tokens, supervised");
/// Loss over the last tenth of supervised training.
pub const LOSS_AT_THE_END: Scalar = Scalar::labelled("training/loss at the end", "loss at the end");
/// Tokens generated in reinforcement.
pub const GENERATED: Scalar =
    Scalar::labelled("training/generated tokens", "tokens generated in reinforcement");
/// Loss by step of supervised training.
pub const LOSS: Series = Series::new("training/loss");
/// Reward by step of reinforcement.
pub const REWARD: Series = Series::new("training/reward");
/// Token entropy by step of reinforcement, nats.
pub const ENTROPY: Series = Series::new("training/entropy");

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum CellConfig {
    /// Supervised training of the judge of one-step chains that every arm is forked from.
    Base { decoder: DecoderConfig, adamw: AdamWConfig, supervision: Supervision, test: TestConfig },
    /// From the base, on labelled pairs.
    Supervised { adamw: AdamWConfig, supervision: Supervision, test: TestConfig },
    /// Policy gradient from another arm's judge, on pairs of the same kind.
    Reinforced {
        from: Arm,
        trainer: TrainerConfig,
        steps: usize,
        pairs: TrainingPairs,
        test: TestConfig,
    },
}

/// How much is measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestConfig {
    /// Lengths of the test's chains.
    lengths: Vec<usize>,
    /// Pairs per length, each judged in both orders.
    pairs: usize,
    /// Sampled judgements per order, at least the largest of [`VOTES`].
    draws: usize,
    /// Pairs the filter of judgements is fitted on.
    filter_pairs: usize,
    /// Questions with [`MOST`] candidates each; 0 for no selection.
    pools: usize,
}

/// Steps over which a judge without derivations reads as many tokens as one that writes them:
/// prompt, verdict and end, and on average `(longest + 1) / 2` partial results more.
fn steps_of_equal_tokens(steps: usize, longest: usize) -> usize {
    let direct = (PROMPT_TOKENS + 2) as f64;
    let derivation = direct + (longest + 1) as f64 / 2.0;
    (steps as f64 * derivation / direct).round() as usize
}

impl Experiment for ReasoningJudges {
    fn id(&self) -> &'static str {
        "reasoning-judges"
    }

    fn metrics(&self) -> Vec<Metric> {
        metrics![
            ACCURACY_TRAINED,
            ACCURACY_LONGER,
            ACCURACY_DEEP,
            TAG_ON_RIGHT,
            TAG_ON_WRONG,
            CONSISTENT,
            NO_VERDICT,
            BY_LENGTH,
            TOKENS_BY_LENGTH,
            BY_CAP,
            CEILING,
            MOST_VOTES,
            MOST_FILTERED,
            PLAIN,
            FILTERED,
            CONDORCET,
            STOPPED,
            STOPPED_CALLS,
            BEST_OF_16,
            BLIND,
            CALLS,
            BEST_OF_N,
            TAGGED,
            KNOCKOUT,
            LABELS,
            TOKENS,
            LOSS_AT_THE_END,
            GENERATED,
            LOSS,
            REWARD,
            ENTROPY,
        ]
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let base = base(smoke);
        let mut planned = vec![ArmPlan::new(BASE, &base)?.if_shown()];
        for (arm, taught) in judges() {
            let from = match &taught {
                Taught::Reinforced(from) => from.clone(),
                Taught::Supervised(..) => BASE,
            };
            let cell = ArmPlan::new(arm, &taught.config(smoke))?;
            planned.push(cell.needing([from]).if_shown());
        }
        Ok(Plan::of(settings.seed_range(5), planned))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let (streams, device) = (&context.streams, device(context.device)?.autodiff());
        let (Trained { judge, metrics }, test) = match cell.config()? {
            CellConfig::Base { decoder, adamw, supervision, test } => {
                let mut weights = streams.stream("weights", &[]);
                let start = Decoder::initialise(&decoder.check()?, &mut weights, &device);
                // Streams of its own: the arms' pairs are not those of the base.
                let streams = streams.child("base", &[]);
                (supervise(&supervision, start, adamw.check()?, &streams)?, test)
            }
            CellConfig::Supervised { adamw, supervision, test } => {
                let base = Checkpoint::from_bytes(context.artifact(&BASE)?)?;
                (supervise(&supervision, base.decoder(&device)?, adamw.check()?, streams)?, test)
            }
            CellConfig::Reinforced { from, trainer, steps, pairs, test } => {
                let from = Checkpoint::from_bytes(context.artifact(&from)?)?;
                (reinforce(&from, &trainer, steps, pairs, streams, &device)?, test)
            }
        };
        let metrics = measure(metrics, &judge, &test, streams)?;
        let metrics = cap(metrics, &judge, &test, streams)?;
        let metrics = select(metrics, &judge, &test, streams)?;
        Ok(match &judge {
            Judge::Scalar(_) => metrics.into(),
            Judge::Writing(policy) => {
                CellOutcome::with_artifact(metrics, Checkpoint::of(policy).to_bytes())
            }
        })
    }
}

fn test(scale: Scale, smoke: bool) -> TestConfig {
    let pairs = if smoke { 4 } else { 64 };
    let full = TestConfig {
        lengths: LENGTHS.to_vec(),
        pairs,
        draws: VOTES[VOTES.len() - 1] + 1,
        filter_pairs: if smoke { 8 } else { 512 },
        pools: if smoke { 2 } else { 48 },
    };
    match scale {
        Scale::Full => full,
        // On chains of one step nothing but accuracy is measured.
        Scale::OneStep => TestConfig { lengths: vec![1], pairs: 4 * pairs, pools: 0, ..full },
    }
}

fn base(smoke: bool) -> CellConfig {
    CellConfig::Base {
        decoder: DecoderConfig {
            vocabulary: vocabulary().size(),
            width: 32,
            layers: 2,
            heads: 4,
            key_value_heads: 4,
            hidden: 96,
            context: PROMPT_TOKENS + COMPLETION_TOKENS,
            rotary_base: 100.0,
            ..DecoderConfig::default()
        },
        adamw: AdamWConfig { learning_rate: 3e-3, ..AdamWConfig::default() },
        supervision: Supervision {
            form: Form::Either,
            steps: if smoke { 4 } else { 1500 },
            batch: 32,
            slip: 0.0,
            // Tags tell nothing yet.
            pairs: TrainingPairs { longest: 1, planted: 0.5 },
        },
        test: test(Scale::OneStep, smoke),
    }
}

impl Taught {
    fn config(&self, smoke: bool) -> CellConfig {
        match self {
            Self::Supervised(form, budget, scale) => {
                let (longest, steps) = match scale {
                    Scale::Full => (*TRAINED.end(), 1400),
                    Scale::OneStep => (1, 500),
                };
                let steps = if smoke { 4 } else { steps };
                CellConfig::Supervised {
                    adamw: AdamWConfig { learning_rate: 2e-3, ..AdamWConfig::default() },
                    supervision: Supervision {
                        form: *form,
                        steps: match budget {
                            Budget::Labels => steps,
                            Budget::Tokens => steps_of_equal_tokens(steps, longest),
                        },
                        batch: 64,
                        slip: DEMONSTRATION_SLIP,
                        pairs: TrainingPairs { longest, planted: PLANTED },
                    },
                    test: test(*scale, smoke),
                }
            }
            Self::Reinforced(from) => CellConfig::Reinforced {
                from: from.clone(),
                trainer: trainer(),
                steps: if smoke { 2 } else { 200 },
                pairs: TrainingPairs { longest: *TRAINED.end(), planted: PLANTED },
                test: test(Scale::Full, smoke),
            },
        }
    }
}

fn trainer() -> TrainerConfig {
    TrainerConfig {
        prompts_per_step: 8,
        group_size: 8,
        warmup_steps: 10,
        sampling: SamplingConfig {
            max_new_tokens: COMPLETION_TOKENS,
            stop: Some(EOS),
            ..SamplingConfig::default()
        },
        adamw: AdamWConfig { learning_rate: 3e-4, weight_decay: 0.0, ..AdamWConfig::default() },
        ..TrainerConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("reasoning-judges");
    }

    #[test]
    fn direct_judges_get_as_many_tokens_and_more_labels() {
        // 20 tokens a pair, and 3.5 more with the derivation of a chain of 1 to 6 steps.
        assert_eq!(steps_of_equal_tokens(1000, 6), 1175);
        assert_eq!(steps_of_equal_tokens(1000, 1), 1050);
    }
}
