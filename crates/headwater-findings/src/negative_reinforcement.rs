//! Finding `negative-reinforcement`: learning from right answers alone loses pass@k, learning from wrong ones
//! alone keeps it.
//!
//! Claim (Zhu et al. 2025, arXiv 2506.01347): positive sample reinforcement (PSR) raises pass@1 and loses
//! pass@k at large k; negative sample reinforcement (NSR) raises pass@1 and keeps pass@k, and the policy's
//! entropy; W-REINFORCE (positives at weight 0.1) is best of both.
//!
//! Arms differ in the objective only. They fork one base policy per seed, read the same prompts in the same
//! order, and take one optimiser step per batch of the same number of rollouts. The task has several right
//! answers per prompt and a base whose pass@256 lies far above its pass@1; pass@k is measured on held-out
//! puzzles. As a policy of lower entropy has less coverage at equal temperature, every arm is also
//! measured at the temperature at which its token entropy equals the base's.
//!
//! The control gives PSR and NSR verdicts permuted at random within each batch: the same number of
//! positives and negatives, saying nothing about the answers. What separates the two must then vanish.

use std::collections::BTreeMap;

use headwater_core::{Check, Group, Streams};
use headwater_nn::{
    AdamW, AdamWConfig, Checkpoint, Decoder, DecoderConfig, SamplingConfig, supervised_step,
};
use headwater_optimizers::{Objective, Prompt, Task, Trainer, TrainerConfig, Verdict, graded_by};
use headwater_protocol::{
    Cell, CellError, Contrast, Control, Direction, Figure, Finding, Outcome, Plan, Point, Preset,
    ProtocolError, Records, Registered, Scale, Settings, Table, TableValue, Workbench,
};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::device::device;
use crate::schedule::warmup_then_cosine;
use crate::seeds::SHOWN_SEEDS;
use crate::tasks::countdown::{ANSWER_TOKENS, Puzzle, Split, checked_verifier, vocabulary};

mod measure;

use measure::Test;

/// The finding.
#[derive(Debug, Clone, Copy)]
pub struct NegativeReinforcement;

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum CellConfig {
    /// Supervised training of the base policy that every arm is forked from.
    Base {
        decoder: DecoderConfig,
        adamw: AdamWConfig,
        steps: usize,
        batch: usize,
        slip: f64,
        test: TestConfig,
    },
    /// Policy gradient from the base.
    Arm {
        objective: Box<Objective>,
        permuted: bool,
        trainer: TrainerConfig,
        steps: usize,
        test: TestConfig,
    },
}

/// How pass@k is measured.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestConfig {
    puzzles: usize,
    samples: usize,
}

/// The k of the pass@k curves.
const KS: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// Every arm: its objective, and whether its verdicts are permuted.
fn arms() -> Vec<(&'static str, Objective, bool)> {
    let weighted = Objective::weighted_reinforce(0.1).expect("0.1 is an allowed weight");
    vec![
        ("psr", Objective::psr(), false),
        ("nsr", Objective::nsr(), false),
        ("w-reinforce", weighted, false),
        ("grpo", Objective::grpo(), false),
        ("ppo", Objective::ppo(), false),
        ("psr-permuted", Objective::psr(), true),
        ("nsr-permuted", Objective::nsr(), true),
    ]
}

/// The largest k.
const LARGE: &str = "pass@256";

impl Finding for NegativeReinforcement {
    fn id(&self) -> &'static str {
        "negative-reinforcement"
    }

    fn claim(&self) -> &'static str {
        "Learning from wrong answers alone raises pass@1 and keeps pass@k, where learning from right answers \
         alone loses it."
    }

    fn source(&self) -> &'static str {
        "Zhu et al. 2025, The Surprising Effectiveness of Negative Reinforcement in LLM Reasoning, \
         arXiv 2506.01347"
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let test = if smoke {
            TestConfig { puzzles: 4, samples: 256 }
        } else {
            TestConfig { puzzles: 128, samples: 256 }
        };
        let base = CellConfig::Base {
            decoder: DecoderConfig {
                vocabulary: vocabulary().size(),
                width: 64,
                layers: 2,
                heads: 4,
                key_value_heads: 4,
                hidden: 160,
                context: 13,
                ..DecoderConfig::default()
            },
            adamw: AdamWConfig { learning_rate: 3e-3, ..AdamWConfig::default() },
            steps: if smoke { 20 } else { 600 },
            batch: 128,
            slip: 0.05,
            test,
        };
        let trainer = TrainerConfig {
            prompts_per_step: 8,
            group_size: 8,
            warmup_steps: 40,
            sampling: sampling_config(1.0),
            adamw: AdamWConfig {
                learning_rate: 1.5e-5,
                weight_decay: 0.0,
                ..AdamWConfig::default()
            },
            critic_adamw: AdamWConfig { learning_rate: 3e-3, ..AdamWConfig::default() },
            ..TrainerConfig::default()
        };
        // Many small steps, as in `calibration`: permuted verdicts must not move the policy by their noise alone.
        let steps = if smoke { 3 } else { 900 };
        let mut plan = Plan::default();
        for seed in settings.seed_range(5) {
            plan.cells.push(Cell::new(self.id(), "base", seed, &base)?);
            for (arm, objective, permuted) in arms() {
                let (objective, trainer) = (Box::new(objective), trainer.clone());
                let config = CellConfig::Arm { objective, permuted, trainer, steps, test };
                plan.cells.push(Cell::new(self.id(), arm, seed, &config)?.needing(&["base"]));
            }
        }
        plan.thin(self, SHOWN_SEEDS, |_| true)?;
        Ok(plan)
    }

    fn run(&self, cell: &Cell, workbench: &Workbench) -> Result<Outcome, CellError> {
        let streams = workbench.streams;
        let device = device(workbench.device)?.autodiff();
        match cell.config()? {
            CellConfig::Base { decoder, adamw, steps, batch, slip, test } => {
                let shape = decoder.check()?;
                let mut policy =
                    Decoder::initialise(&shape, &mut streams.stream("weights", &[]), &device);
                let mut optimizer = AdamW::new(adamw.check()?);
                let vocabulary = vocabulary();
                let mut losses = Vec::new();
                for step in 0..steps {
                    let mut stream = streams.stream("demonstrations", &[step as u64]);
                    let examples = (0..batch).map(|_| {
                        let puzzle = Puzzle::draw(Split::Demonstrated, &mut stream);
                        puzzle.demonstration(slip, &vocabulary, &mut stream)
                    });
                    let examples = examples.collect::<Result<Vec<_>, _>>()?;
                    let rate = warmup_then_cosine(step, steps);
                    losses.push(supervised_step(&mut policy, &mut optimizer, &examples, rate)?);
                }
                let test = Test::new(test, &streams)?;
                let metrics = test.measure(&policy, None)?.series("loss", losses);
                Ok(Outcome::with_artifact(metrics, Checkpoint::of(&policy).to_bytes()))
            }
            CellConfig::Arm { objective, permuted, trainer, steps, test } => {
                let base = Checkpoint::from_bytes(workbench.artifact("base")?)?.decoder(&device)?;
                let test = Test::new(test, &streams)?;
                let target = test.entropy(&base, 1.0)?;
                let (policy, training) =
                    train(base, *objective, permuted, trainer, steps, &streams)?;
                let mut metrics = test.measure(&policy, Some(target))?;
                let rows = &training["frac_rows_kept"];
                let share = rows.iter().sum::<f64>() / rows.len() as f64;
                metrics = metrics.scalar("rows", share);
                for (name, values) in training {
                    metrics = metrics.series(format!("training/{name}"), values);
                }
                Ok(metrics.into())
            }
        }
    }

    fn contrasts(&self) -> Vec<Contrast> {
        vec![
            Contrast {
                name: "pass@256: NSR - PSR",
                direction: Direction::Increase,
                smallest_effect: 0.03,
                registered: Registered::AfterPilot,
                published: Some("+.057 (MATH, .912 to .969)"),
                attainable: Some(|seed| Ok(1.0 - seed.scalar("psr", LARGE)?)),
                per_seed: |seed| seed.difference(LARGE, "nsr", "psr"),
            },
            Contrast {
                name: "pass@256: PSR - base",
                direction: Direction::Decrease,
                smallest_effect: 0.03,
                registered: Registered::AfterPilot,
                published: Some("-.057 (MATH, .969 to .912)"),
                attainable: None,
                per_seed: |seed| seed.difference(LARGE, "psr", "base"),
            },
            Contrast {
                name: "pass@256: NSR - base",
                direction: Direction::NotBelow,
                smallest_effect: 0.03,
                registered: Registered::AfterPilot,
                published: Some("0 (MATH, .969 both)"),
                attainable: None,
                per_seed: |seed| seed.difference(LARGE, "nsr", "base"),
            },
            Contrast {
                name: "pass@1: NSR - base",
                direction: Direction::Increase,
                smallest_effect: 0.03,
                registered: Registered::AfterPilot,
                published: Some("+.125 (MATH, .632 to .757)"),
                attainable: Some(|seed| Ok(1.0 - seed.scalar("base", "pass@1")?)),
                per_seed: |seed| seed.difference("pass@1", "nsr", "base"),
            },
            Contrast {
                name: "pass@1: PSR - base",
                direction: Direction::Increase,
                smallest_effect: 0.03,
                registered: Registered::AfterPilot,
                published: Some("+.109 (MATH, .632 to .741)"),
                attainable: Some(|seed| Ok(1.0 - seed.scalar("base", "pass@1")?)),
                per_seed: |seed| seed.difference("pass@1", "psr", "base"),
            },
            Contrast {
                name: "token entropy (nats): NSR - PSR",
                direction: Direction::Increase,
                smallest_effect: 0.02,
                registered: Registered::AfterPilot,
                published: Some("NSR stays near the base, PSR falls fastest"),
                attainable: Some(|seed| seed.scalar("base", "entropy")),
                per_seed: |seed| seed.difference("entropy", "nsr", "psr"),
            },
        ]
    }

    fn controls(&self) -> Vec<Control> {
        vec![
            Control {
                name: "verdicts permuted: pass@256, NSR - PSR",
                margin: 0.03,
                per_seed: |seed| seed.difference(LARGE, "nsr-permuted", "psr-permuted"),
            },
            Control {
                name: "verdicts permuted: pass@1, NSR - base",
                margin: 0.03,
                per_seed: |seed| seed.difference("pass@1", "nsr-permuted", "base"),
            },
        ]
    }

    fn figures(&self, records: &Records) -> Result<Vec<Figure>, ProtocolError> {
        let n = records.seeds().len();
        let curve = |title: &str, prefix: &str, caption: &str| -> Result<Figure, ProtocolError> {
            let mut figure = Figure::lines(title, "k", "pass@k on held-out puzzles", n)
                .x_scale(Scale::Log2)
                .value_range(0.0, 1.0)
                .caption(caption);
            for arm in ["base", "psr", "nsr", "w-reinforce", "grpo", "ppo"] {
                let series = if arm == "base" { "pass@k" } else { prefix };
                let effects = records.series_effect(arm, series)?;
                let points = KS.iter().zip(&effects);
                let points = points.filter_map(|(k, effect)| Point::measured(*k as f64, effect));
                figure = figure.series(arm, points);
            }
            Ok(figure)
        };
        let mut entropy = Figure::lines("Entropy in training", "step", "token entropy, nats", n)
            .caption(
                "Mean entropy of the distributions the rollouts were sampled from, every 20th step. W-REINFORCE, GRPO and PPO have three \
                 seeds.",
            );
        for arm in ["psr", "nsr", "w-reinforce", "grpo", "ppo"] {
            let effects = records.series_effect(arm, "training/entropy")?;
            let points = effects.iter().enumerate().step_by(20);
            let points = points.filter_map(|(step, effect)| Point::measured(step as f64, effect));
            entropy = entropy.series(arm, points);
        }
        Ok(vec![
            curve(
                "pass@k at temperature 1",
                "pass@k",
                "256 samples per puzzle, unbiased estimate. W-REINFORCE, GRPO and PPO have three seeds.",
            )?,
            curve(
                "pass@k at equal entropy",
                "matched/pass@k",
                "Every arm sampled at the temperature at which its token entropy equals the base's. W-REINFORCE, GRPO and PPO have \
                 three seeds.",
            )?,
            entropy,
        ])
    }

    fn tables(&self, records: &Records) -> Result<Vec<Table>, ProtocolError> {
        let metrics = [
            ("pass@1", "pass@1"),
            ("pass@16", "pass@16"),
            (LARGE, LARGE),
            ("entropy", "token entropy"),
            ("unique answers", "unique answers of 256"),
            ("temperature", "matched temperature"),
            ("matched/pass@1", "pass@1, equal entropy"),
            ("matched/pass@256", "pass@256, equal entropy"),
            ("rows", "rows used"),
        ];
        let mut columns = vec!["arm"];
        columns.extend(metrics.map(|(_, heading)| heading));
        let mut table = Table::new("Every arm", columns).note(
            "Held-out puzzles. Rows used is the share of rollouts that carried a gradient: PSR drops wrong \
             answers, NSR right ones; every arm takes one optimiser step per batch. Arms that no contrast needs have \
             three seeds.",
        );
        let mut names = vec!["base"];
        names.extend(arms().iter().map(|(arm, ..)| *arm));
        for arm in names {
            let mut row = vec![TableValue::from(arm)];
            row.extend(metrics.map(|(metric, _)| records.value(arm, metric)));
            table = table.row(row);
        }
        Ok(vec![table])
    }

    fn differs(&self) -> &'static [&'static str] {
        &[
            "A decoder of about 100,000 parameters trained here on countdown puzzles, instead of \
             Qwen2.5-Math-7B on MATH; answers are seven tokens long.",
            "Strictly on-policy with one optimiser step per batch for every arm; the published code takes up \
             to four, fewer for PSR and NSR because rows are dropped.",
            "Token means are taken over the rows kept in the whole batch, not per micro-batch.",
        ]
    }
}

fn sampling_config(temperature: f64) -> SamplingConfig {
    SamplingConfig {
        max_new_tokens: ANSWER_TOKENS,
        temperature,
        stop: None,
        ..SamplingConfig::default()
    }
}

/// Trains a fork of the base; returns the policy and the training curves by name.
fn train(
    base: Decoder,
    objective: Objective,
    permuted: bool,
    config: TrainerConfig,
    steps: usize,
    streams: &Streams,
) -> Result<(Decoder, BTreeMap<&'static str, Vec<f64>>), CellError> {
    let vocabulary = vocabulary();
    let verifier = checked_verifier()?;
    let honest = graded_by(&verifier);
    let grader = |groups: &[Group], step: u64| -> Vec<Verdict> {
        let mut verdicts = honest(groups, step);
        if permuted {
            verdicts.shuffle(&mut streams.stream("permuted verdicts", &[step]));
        }
        verdicts
    };
    let draw = |step: u64, attempt: u64| -> Vec<Prompt> {
        let mut stream = streams.stream("prompts", &[step, attempt]);
        let puzzles =
            (0..config.prompts_per_step).map(|_| Puzzle::draw(Split::Optimised, &mut stream));
        puzzles.filter_map(|puzzle| puzzle.prompt(&vocabulary).ok()).collect()
    };
    let decode = |tokens: &[u32]| vocabulary.decode(tokens);
    let task = Task { prompts: &draw, decode: &decode, grader: &grader };
    let settings = config.clone().check()?;
    let mut trainer = Trainer::new(base, objective, settings, streams.child("training", &[]));
    let mut curves: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for _ in 0..steps {
        let metrics = trainer.step(&task)?;
        for name in ["accuracy", "entropy", "grad_norm", "frac_rows_kept"] {
            curves.entry(name).or_default().push(metrics[name]);
        }
    }
    Ok((trainer.policy().clone(), curves))
}
