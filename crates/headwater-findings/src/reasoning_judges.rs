//! Finding `reasoning-judges`: what a judge gains by reasoning before its verdict, and by more compute per verdict.
//!
//! Claim (Guo et al. 2025, "Reward Reasoning Model", arXiv 2505.14674; Chen et al. 2025, "RM-R1", arXiv 2505.02387;
//! Liu et al. 2025, "Inference-Time Scaling for Generalist Reward Modeling", arXiv 2504.02495): a judge that
//! reasons before its verdict is right more often than one that scores directly, and test-time compute helps.
//!
//! The task is a chain of modular arithmetic with two candidate answers ([`crate::tasks::chains`]); how many
//! dependent look-ups a verdict takes is the chain's length. Judges are one small decoder that gives a score, a
//! verdict at once, or a derivation and then the verdict. All start from one base per seed, which judges chains of one
//! step either way, and learn from the same stream of labelled pairs on chains of up to 6 steps; a tag goes with the
//! right candidate in 80% of the pairs that have one tag. The direct judge is given as many training tokens as the
//! reasoning one, and therefore more labels. Then GRPO on the verdict alone, +1 or -1.
//!
//! Tests are on chains of up to 12 steps on which the tag tells nothing: greedy, by votes, by filtered votes, stopped
//! at a lead; then each judge selects among 16 candidates. Controls: judges of chains of one step, where one look
//! suffices, and the votes of a judge that says the same every time.

use std::ops::RangeInclusive;

use headwater_core::Check;
use headwater_nn::{AdamWConfig, Checkpoint, Decoder, DecoderConfig, EOS, SamplingConfig};
use headwater_optimizers::TrainerConfig;
use headwater_protocol::{
    Cell, CellError, Contrast, Control, Direction, Figure, Finding, Outcome, PerSeed, Plan, Preset,
    ProtocolError, Records, Registered, Settings, Table, Workbench,
};
use serde::{Deserialize, Serialize};

use crate::device::device;
use crate::seeds::SHOWN_SEEDS;
use crate::tasks::chains::{COMPLETION_TOKENS, PROMPT_TOKENS, vocabulary};

mod cap;
mod measure;
mod report;
mod select;
mod train;

use cap::cap;
use measure::measure;
use select::select;
use train::{Form, Judge, Supervision, Trained, TrainingPairs, reinforce, supervise};

/// The finding.
#[derive(Debug, Clone, Copy)]
pub struct ReasoningJudges;

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
        from: String,
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

/// Share of the training pairs with one tag in which the right candidate has it.
const PLANTED: f64 = 0.8;
/// Probability that a demonstrated derivation slips at a step.
const DEMONSTRATION_SLIP: f64 = 0.05;
/// Lengths of the test.
const LENGTHS: [usize; 9] = [1, 2, 3, 4, 5, 6, 8, 10, 12];
/// Lengths that were trained on, well beyond one look-up; the last is the longest.
const TRAINED: RangeInclusive<usize> = 4..=6;
/// Lengths that were not trained on.
const LONGER: RangeInclusive<usize> = 8..=12;
/// Both.
const DEEP: RangeInclusive<usize> = 4..=12;
/// Numbers of votes.
const VOTES: [usize; 5] = [1, 3, 5, 9, 15];
/// Leads at which voting stops; at most as many votes are taken as the largest of [`VOTES`].
const LEADS: [usize; 4] = [1, 2, 3, 4];
/// Candidates of a pool.
const MOST: usize = 16;
/// Votes per match of a knockout.
const KNOCKOUT_VOTES: [usize; 3] = [1, 3, 5];

/// Steps over which a judge without derivations reads as many tokens as one that writes them: prompt, verdict and end,
/// and on average `(longest + 1) / 2` partial results more.
fn steps_of_equal_tokens(steps: usize, longest: usize) -> usize {
    let direct = (PROMPT_TOKENS + 2) as f64;
    let derivation = direct + (longest + 1) as f64 / 2.0;
    (steps as f64 * derivation / direct).round() as usize
}

/// A contrast that was fixed after pilots of the task, whose claim is an increase of at least `smallest_effect`.
fn increase(name: &'static str, smallest_effect: f64, per_seed: PerSeed) -> Contrast {
    Contrast {
        name,
        direction: Direction::Increase,
        smallest_effect,
        registered: Registered::AfterPilot,
        published: None,
        attainable: None,
        per_seed,
    }
}

impl Finding for ReasoningJudges {
    fn id(&self) -> &'static str {
        "reasoning-judges"
    }

    fn claim(&self) -> &'static str {
        "A judge that reasons before its verdict is right more often than one that scores directly, and \
         test-time compute helps."
    }

    fn source(&self) -> &'static str {
        "Guo et al. 2025, Reward Reasoning Model, arXiv 2505.14674; Chen et al. 2025, RM-R1, arXiv 2505.02387; Liu et \
         al. 2025, Inference-Time Scaling for Generalist Reward Modeling, arXiv 2504.02495"
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let (base_steps, steps, one_steps) = if smoke { (4, 4, 4) } else { (1500, 1400, 500) };
        let test = TestConfig {
            lengths: LENGTHS.to_vec(),
            pairs: if smoke { 4 } else { 64 },
            draws: VOTES[VOTES.len() - 1] + 1,
            filter_pairs: if smoke { 8 } else { 512 },
            pools: if smoke { 2 } else { 48 },
        };
        // On chains of one step nothing but accuracy is measured.
        let one = TestConfig { lengths: vec![1], pairs: 4 * test.pairs, pools: 0, ..test.clone() };
        let base = CellConfig::Base {
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
                steps: base_steps,
                batch: 32,
                slip: 0.0,
                // Tags tell nothing yet.
                pairs: TrainingPairs { longest: 1, planted: 0.5 },
            },
            test: one.clone(),
        };
        let longest = *TRAINED.end();
        let supervised = |form, steps, longest, test: &TestConfig| CellConfig::Supervised {
            adamw: AdamWConfig { learning_rate: 2e-3, ..AdamWConfig::default() },
            supervision: Supervision {
                form,
                steps,
                batch: 64,
                slip: DEMONSTRATION_SLIP,
                pairs: TrainingPairs { longest, planted: PLANTED },
            },
            test: test.clone(),
        };
        let reinforced = |from: &str| CellConfig::Reinforced {
            from: from.to_string(),
            trainer: TrainerConfig {
                prompts_per_step: 8,
                group_size: 8,
                warmup_steps: 10,
                sampling: SamplingConfig {
                    max_new_tokens: COMPLETION_TOKENS,
                    stop: Some(EOS),
                    ..SamplingConfig::default()
                },
                adamw: AdamWConfig {
                    learning_rate: 3e-4,
                    weight_decay: 0.0,
                    ..AdamWConfig::default()
                },
                ..TrainerConfig::default()
            },
            steps: if smoke { 2 } else { 200 },
            pairs: TrainingPairs { longest, planted: PLANTED },
            test: test.clone(),
        };
        let direct_steps = steps_of_equal_tokens(steps, longest);
        let one_direct_steps = steps_of_equal_tokens(one_steps, 1);
        let arms = [
            ("scalar", supervised(Form::Scalar, steps, longest, &test)),
            ("direct", supervised(Form::Direct, direct_steps, longest, &test)),
            ("direct-equal-labels", supervised(Form::Direct, steps, longest, &test)),
            ("reasoning", supervised(Form::Derivation, steps, longest, &test)),
            ("reasoning-foreign", supervised(Form::ForeignDerivation, steps, longest, &test)),
            ("direct-rl", reinforced("direct")),
            ("reasoning-rl", reinforced("reasoning")),
            ("rl-only", reinforced("base")),
            ("one-step-direct", supervised(Form::Direct, one_direct_steps, 1, &one)),
            ("one-step-reasoning", supervised(Form::Derivation, one_steps, 1, &one)),
        ];
        let mut plan = Plan::default();
        for seed in settings.seed_range(5) {
            plan.cells.push(Cell::new(self.id(), "base", seed, &base)?);
            for (arm, config) in &arms {
                let from = match config {
                    CellConfig::Reinforced { from, .. } => from,
                    _ => "base",
                };
                plan.cells.push(Cell::new(self.id(), arm, seed, config)?.needing(&[from]));
            }
        }
        plan.thin(self, SHOWN_SEEDS, |_| true)?;
        Ok(plan)
    }

    fn run(&self, cell: &Cell, workbench: &Workbench) -> Result<Outcome, CellError> {
        let (streams, device) = (&workbench.streams, device(workbench.device)?.autodiff());
        let (Trained { judge, metrics }, test) = match cell.config()? {
            CellConfig::Base { decoder, adamw, supervision, test } => {
                let mut weights = streams.stream("weights", &[]);
                let start = Decoder::initialise(&decoder.check()?, &mut weights, &device);
                // Streams of its own: the arms' pairs are not those of the base.
                let streams = streams.child("base", &[]);
                (supervise(&supervision, start, adamw.check()?, &streams)?, test)
            }
            CellConfig::Supervised { adamw, supervision, test } => {
                let base = Checkpoint::from_bytes(workbench.artifact("base")?)?;
                (supervise(&supervision, base.decoder(&device)?, adamw.check()?, streams)?, test)
            }
            CellConfig::Reinforced { from, trainer, steps, pairs, test } => {
                let from = Checkpoint::from_bytes(workbench.artifact(&from)?)?;
                (reinforce(&from, &trainer, steps, pairs, streams, &device)?, test)
            }
        };
        let metrics = measure(metrics, &judge, &test, streams)?;
        let metrics = cap(metrics, &judge, &test, streams)?;
        let metrics = select(metrics, &judge, &test, streams)?;
        Ok(match &judge {
            Judge::Scalar(_) => metrics.into(),
            Judge::Writing(policy) => {
                Outcome::with_artifact(metrics, Checkpoint::of(policy).to_bytes())
            }
        })
    }

    fn contrasts(&self) -> Vec<Contrast> {
        vec![
            Contrast {
                published: Some("+.038 (mean of three benchmarks, .774 to .812; RM-R1, 32B)"),
                attainable: Some(|seed| Ok(1.0 - seed.scalar("direct", "accuracy/trained")?)),
                ..increase("accuracy, 4 to 6 steps: reasoning - direct", 0.1, |seed| {
                    seed.difference("accuracy/trained", "reasoning", "direct")
                })
            },
            Contrast {
                published: Some(
                    "+.013 (mean of four benchmarks, .686 to .699 greedy; DeepSeek-GRM, 27B)",
                ),
                attainable: Some(|seed| Ok(1.0 - seed.scalar("scalar", "accuracy/trained")?)),
                ..increase("accuracy, 4 to 6 steps: reasoning - scalar", 0.1, |seed| {
                    seed.difference("accuracy/trained", "reasoning", "scalar")
                })
            },
            Contrast {
                attainable: Some(|seed| Ok(1.0 - seed.scalar("direct", "accuracy/longer")?)),
                ..increase("accuracy, untrained 8 to 12 steps: reasoning - direct", 0.05, |seed| {
                    seed.difference("accuracy/longer", "reasoning", "direct")
                })
            },
            Contrast {
                attainable: Some(|seed| Ok(1.0 - seed.scalar("direct", "accuracy/tag on wrong")?)),
                ..increase(
                    "accuracy, tag on the wrong candidate: reasoning - direct",
                    0.1,
                    |seed| seed.difference("accuracy/tag on wrong", "reasoning", "direct"),
                )
            },
            Contrast {
                attainable: Some(|seed| {
                    Ok(1.0 - seed.scalar("reasoning-foreign", "accuracy/trained")?)
                }),
                ..increase("accuracy: own derivations - foreign derivations", 0.1, |seed| {
                    seed.difference("accuracy/trained", "reasoning", "reasoning-foreign")
                })
            },
            Contrast {
                published: Some("+.006 (RewardBench, .908 to .914; RM-R1, 32B)"),
                attainable: Some(|seed| Ok(1.0 - seed.scalar("rl-only", "accuracy/trained")?)),
                ..increase(
                    "accuracy: reinforced with - without supervised derivations",
                    0.05,
                    |seed| seed.difference("accuracy/trained", "reasoning-rl", "rl-only"),
                )
            },
            Contrast {
                attainable: Some(|seed| Ok(1.0 - seed.scalar("reasoning", "accuracy/deep")?)),
                ..increase("accuracy, 4 to 12 steps: reinforced - supervised only", 0.01, |seed| {
                    seed.difference("accuracy/deep", "reasoning-rl", "reasoning")
                })
            },
            Contrast {
                published: Some("+.031 (32 votes, .679 to .710; DeepSeek-GRM, 27B)"),
                attainable: Some(|seed| Ok(1.0 - seed.series("reasoning", "votes/plain")?[0])),
                ..increase("reasoning, 4 to 12 steps: 15 votes - one vote", 0.01, |seed| {
                    let votes = seed.series("reasoning", "votes/plain")?;
                    Ok(votes[VOTES.len() - 1] - votes[0])
                })
            },
            Contrast {
                published: Some("+.011 (32 votes, .699 to .710; DeepSeek-GRM, 27B)"),
                attainable: Some(|seed| Ok(1.0 - seed.scalar("reasoning", "accuracy/deep")?)),
                ..increase("reasoning, 4 to 12 steps: 15 votes - greedy", 0.01, |seed| {
                    Ok(seed.scalar("reasoning", "votes/most")?
                        - seed.scalar("reasoning", "accuracy/deep")?)
                })
            },
            Contrast {
                published: Some("+.018 (best 16 of 32, .710 to .728; DeepSeek-GRM, 27B)"),
                attainable: Some(|seed| Ok(1.0 - seed.scalar("reasoning", "votes/most")?)),
                ..increase("reasoning, 4 to 12 steps: best 8 of 15 votes - all 15", 0.01, |seed| {
                    Ok(seed.scalar("reasoning", "votes/most filtered")?
                        - seed.scalar("reasoning", "votes/most")?)
                })
            },
            Contrast {
                direction: Direction::NotBelow,
                ..increase(
                    "reasoning, 4 to 12 steps: stopped at a lead of 3 - 15 votes",
                    0.02,
                    |seed| {
                        Ok(seed.series("reasoning", "votes/stopped")?[2]
                            - seed.scalar("reasoning", "votes/most")?)
                    },
                )
            },
            Contrast {
                attainable: Some(|seed| Ok(1.0 - seed.scalar("direct", "best of 16")?)),
                ..increase("right answers, best of 16: by reasoning - by direct", 0.1, |seed| {
                    seed.difference("best of 16", "reasoning", "direct")
                })
            },
            // In place of "best of 16 - peak over n", which is 0 wherever the curve rises to its end.
            Contrast {
                direction: Direction::NotBelow,
                registered: Registered::PostHoc,
                ..increase("right answers, by reasoning: best of 16 - best of 4", 0.02, |seed| {
                    let right = seed.series("reasoning", "best of n")?;
                    Ok(right[15] - right[3])
                })
            },
        ]
    }

    fn controls(&self) -> Vec<Control> {
        vec![Control {
            name: "one look suffices (chains of one step): accuracy, reasoning - direct",
            margin: 0.03,
            per_seed: |seed| {
                let accuracy = |arm| seed.series(arm, "accuracy/length").map(|of| of[0]);
                Ok(accuracy("one-step-reasoning")? - accuracy("one-step-direct")?)
            },
        }]
    }

    fn figures(&self, records: &Records) -> Result<Vec<Figure>, ProtocolError> {
        report::figures(records)
    }

    fn tables(&self, records: &Records) -> Result<Vec<Table>, ProtocolError> {
        report::tables(records)
    }

    fn differs(&self) -> &'static [&'static str] {
        &[
            "Decoders of about 28,000 parameters trained here on chains of arithmetic modulo 5, instead of language \
             models of 7 to 32 billion on human preferences: this shows the mechanism (serial compute and sampling), not \
             that the gains on benchmarks transfer.",
            "Demonstrated derivations come from a generator that slips with probability 0.05 at a step and states the \
             labelled verdict in the end; the published ones are written by larger models and filtered by the label.",
            "Reinforcement without a supervised stage starts from the base, which has seen derivations of one step only; the \
             published runs start from a model that can already reason at length. It has the same number of rollouts as after \
             a supervised stage, 1600 labels in all.",
            "The filter is a logistic regression on five numbers about a judgement (its length, how sure of its tokens the \
             judge was, whether the verdict names what the derivation came to), instead of a reward model that reads it.",
            "Stopping at a lead is this project's addition: none of the three sources stops by confidence.",
            "Candidates for selection are made by chains with random slips, not by a policy; identical ones are not judged \
             against each other. Ratings are Bradley-Terry strengths of a round robin of distinct candidates, where the \
             source says Elo.",
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_judges_get_as_many_tokens_and_more_labels() {
        // 20 tokens a pair, and 3.5 more with the derivation of a chain of 1 to 6 steps.
        assert_eq!(steps_of_equal_tokens(1000, 6), 1175);
        assert_eq!(steps_of_equal_tokens(1000, 1), 1050);
    }
}
