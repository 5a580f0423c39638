//! Finding `calibration`: what a correctness reward does to a policy's confidence, and what a proper scoring
//! rule does about it.
//!
//! Claim (Damani et al. 2025, "Beyond Binary Rewards", arXiv 2507.16806): a binary correctness reward makes
//! the policy overconfident; adding the Brier score keeps accuracy and repairs calibration; the log score
//! and an over-weighted Brier score can be hacked by answering wrongly on purpose and saying so.
//!
//! Arms differ in the reward only: `correct - k S(q, correct)`. The task is a sum with an uncertain operand
//! ([`crate::tasks::masked_sum`]), so the best accuracy and the right confidence are known for every prompt.
//! Two confidences are measured: the one *stated* (a token after the answer), and the *likelihood* the
//! policy gives its own answer. The control trains on fully determined prompts, where there is nothing
//! to be overconfident about.

use std::cell::RefCell;

use headwater_core::{Check, Group, Streams};
use headwater_nn::{
    AdamW, AdamWConfig, Checkpoint, Decoder, DecoderConfig, SamplingConfig, supervised_step,
};
use headwater_optimizers::{Objective, Prompt, Task, Trainer, TrainerConfig, Verdict};
use headwater_protocol::{
    Cell, CellError, Contrast, Control, Direction, Effect, Figure, Finding, Metrics, Outcome, Plan,
    Point, Preset, ProtocolError, Records, Registered, Settings, Table, TableValue, Workbench,
};
use headwater_rewards::{
    CalibratedReward, ExactMatchConfig, Extraction, Normalisation, SchemeConfig, ScoringRule,
    checked_score,
};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::device::device;
use crate::schedule::warmup_then_cosine;
use crate::tasks::masked_sum::{
    COMPLETION_TOKENS, LEVELS, MaskedSum, confidence_format, vocabulary,
};

mod bandit;
mod measure;

use measure::{mean, measure};

/// The finding.
#[derive(Debug, Clone, Copy)]
pub struct Calibration;

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
        informed: f64,
    },
    /// Policy gradient from the base.
    Arm {
        scheme: SchemeConfig,
        trainer: TrainerConfig,
        steps: usize,
        levels: Vec<usize>,
        permuted: bool,
    },
    /// Exact expected policy gradient on tabular bandits.
    Bandit { steps: usize, learning_rate: f64 },
}

const BINARY: SchemeConfig =
    SchemeConfig { correct_weight: 1.0, rule: ScoringRule::Brier, rule_weight: 0.0 };
const LOG: SchemeConfig = SchemeConfig {
    correct_weight: 1.0,
    rule: ScoringRule::Logarithmic { clip: 0.01 },
    rule_weight: 1.0,
};
const DOUBLE_BRIER: SchemeConfig =
    SchemeConfig { correct_weight: 1.0, rule: ScoringRule::Brier, rule_weight: 2.0 };
const BRIER_ONLY: SchemeConfig =
    SchemeConfig { correct_weight: 0.0, rule: ScoringRule::Brier, rule_weight: 1.0 };

/// Every arm: what it rewards, the levels it trains and is tested on, and whether its rewards are dealt out at
/// random within the batch.
const ARMS: [(&str, SchemeConfig, &[usize], bool); 8] = [
    ("binary", BINARY, &[0, 1, 2, 3, 4], false),
    ("brier", SchemeConfig::RLCR, &[0, 1, 2, 3, 4], false),
    ("log", LOG, &[0, 1, 2, 3, 4], false),
    ("double-brier", DOUBLE_BRIER, &[0, 1, 2, 3, 4], false),
    ("brier-only", BRIER_ONLY, &[0, 1, 2, 3, 4], false),
    ("binary-permuted", BINARY, &[0, 1, 2, 3, 4], true),
    ("determined-binary", BINARY, &[0], false),
    ("determined-brier", SchemeConfig::RLCR, &[0], false),
];

/// The level whose reliability, 0.2, lies deepest below both hacking thresholds (0.648 for the log score,
/// 0.5 for twice the Brier score): the test of hacking.
const UNLIKELY: usize = 4;
/// The uncertain level that lies above both thresholds, 0.8: there nothing is to be gained by hacking.
const LIKELY: usize = 1;

impl Finding for Calibration {
    fn id(&self) -> &'static str {
        "calibration"
    }

    fn claim(&self) -> &'static str {
        "A binary correctness reward makes the policy overconfident; adding the Brier score keeps \
         accuracy and repairs calibration; the log score and an over-weighted Brier score are hackable."
    }

    fn source(&self) -> &'static str {
        "Damani et al. 2025, Beyond Binary Rewards: Training LMs to Reason about Their Uncertainty, \
         arXiv 2507.16806"
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let base = CellConfig::Base {
            decoder: DecoderConfig {
                vocabulary: vocabulary().size(),
                width: 32,
                layers: 2,
                heads: 2,
                key_value_heads: 2,
                hidden: 64,
                context: 8,
                ..DecoderConfig::default()
            },
            adamw: AdamWConfig { learning_rate: 7.5e-3, ..AdamWConfig::default() },
            steps: if smoke { 20 } else { 1500 },
            batch: 128,
            slip: 0.1,
            informed: 0.5,
        };
        let trainer = TrainerConfig {
            prompts_per_step: 8,
            warmup_steps: 50,
            group_size: 8,
            sampling: SamplingConfig {
                max_new_tokens: COMPLETION_TOKENS,
                stop: None,
                ..SamplingConfig::default()
            },
            adamw: AdamWConfig { learning_rate: 3e-5, weight_decay: 0.0, ..AdamWConfig::default() },
            ..TrainerConfig::default()
        };
        // Many small steps: under Adam a reward without information moves every weight by about rate x
        // sqrt(steps), one with it by up to rate x steps, and the permuted control needs the former small.
        let steps = if smoke { 3 } else { 3000 };
        let mut plan = Plan::default();
        for seed in settings.seed_range(5) {
            plan.cells.push(Cell::new(self.id(), "base", seed, &base)?);
            for (arm, scheme, levels, permuted) in ARMS {
                let (levels, trainer) = (levels.to_vec(), trainer.clone());
                let config = CellConfig::Arm { scheme, trainer, steps, levels, permuted };
                plan.cells.push(Cell::new(self.id(), arm, seed, &config)?.needing(&["base"]));
            }
            let config =
                CellConfig::Bandit { steps: if smoke { 20 } else { 20_000 }, learning_rate: 1.0 };
            plan.cells.push(Cell::new(self.id(), "bandits", seed, &config)?);
        }
        Ok(plan)
    }

    fn run(&self, cell: &Cell, workbench: &Workbench) -> Result<Outcome, CellError> {
        let streams = workbench.streams;
        match cell.config()? {
            CellConfig::Base { decoder, adamw, steps, batch, slip, informed } => {
                let shape = decoder.check()?;
                let device = device(workbench.device)?.autodiff();
                let mut policy =
                    Decoder::initialise(&shape, &mut streams.stream("weights", &[]), &device);
                let mut optimizer = AdamW::new(adamw.check()?);
                let vocabulary = vocabulary();
                let mut losses = Vec::new();
                for step in 0..steps {
                    let mut stream = streams.stream("demonstrations", &[step as u64]);
                    let examples = (0..batch)
                        .map(|_| {
                            let question = MaskedSum::draw(&[0, 1, 2, 3, 4], &mut stream);
                            question.demonstration((slip, informed), &vocabulary, &mut stream)
                        })
                        .collect::<Result<Vec<_>, _>>()?;
                    let rate = warmup_then_cosine(step, steps);
                    losses.push(supervised_step(&mut policy, &mut optimizer, &examples, rate)?);
                }
                let metrics = measure(&policy, &[0, 1, 2, 3, 4], &streams)?.series("loss", losses);
                Ok(Outcome::with_artifact(metrics, Checkpoint::of(&policy).to_bytes()))
            }
            CellConfig::Arm { scheme, trainer, steps, levels, permuted } => {
                let device = device(workbench.device)?.autodiff();
                let base = Checkpoint::from_bytes(workbench.artifact("base")?)?;
                let arm = Arm { scheme, trainer, steps, levels, permuted };
                Ok(arm.run(base.decoder(&device)?, &streams)?.into())
            }
            CellConfig::Bandit { steps, learning_rate } => {
                Ok(bandit::run(steps, learning_rate, &streams)?.into())
            }
        }
    }

    fn contrasts(&self) -> Vec<Contrast> {
        vec![
            Contrast {
                name: "overconfidence of the answer's likelihood: binary - base",
                direction: Direction::Increase,
                smallest_effect: 0.1,
                registered: Registered::AfterPilot,
                published: None,
                attainable: None,
                per_seed: |seed| seed.difference("likelihood/overconfidence", "binary", "base"),
            },
            Contrast {
                name: "overconfidence of the stated confidence: binary - base",
                direction: Direction::Increase,
                smallest_effect: 0.05,
                registered: Registered::AfterPilot,
                published: Some(
                    "ECE out of domain .400 to .460, in domain .535 to .370 (Qwen2.5-7B)",
                ),
                attainable: None,
                per_seed: |seed| seed.difference("stated/overconfidence", "binary", "base"),
            },
            Contrast {
                name: "ECE of the stated confidence: with Brier - binary",
                direction: Direction::Decrease,
                smallest_effect: 0.05,
                registered: Registered::AfterPilot,
                published: Some("-.34 in domain (.370 to .030), -.25 out of domain"),
                attainable: Some(|seed| seed.scalar("binary", "stated/ece")),
                per_seed: |seed| seed.difference("stated/ece", "brier", "binary"),
            },
            Contrast {
                name: "AUROC of the stated confidence: with Brier - binary",
                direction: Direction::Increase,
                smallest_effect: 0.03,
                registered: Registered::AfterPilot,
                published: Some("+.19 in domain (.500 to .687)"),
                attainable: Some(|seed| Ok(1.0 - seed.scalar("binary", "stated/auroc")?)),
                per_seed: |seed| seed.difference("stated/auroc", "brier", "binary"),
            },
            Contrast {
                name: "accuracy: with Brier - binary",
                direction: Direction::NotBelow,
                smallest_effect: 0.03,
                registered: Registered::AfterPilot,
                published: Some("-.009 in domain (.630 to .621)"),
                attainable: None,
                per_seed: |seed| seed.difference("accuracy", "brier", "binary"),
            },
            Contrast {
                name: "accuracy where p = 0.2: with log score - binary",
                direction: Direction::Decrease,
                smallest_effect: 0.05,
                registered: Registered::AfterPilot,
                published: Some("accuracy 0 on a five-armed toy task"),
                attainable: Some(|seed| seed.scalar("binary", "accuracy/unlikely")),
                per_seed: |seed| seed.difference("accuracy/unlikely", "log", "binary"),
            },
            Contrast {
                name: "accuracy where p = 0.2: with twice the Brier score - binary",
                direction: Direction::Decrease,
                smallest_effect: 0.05,
                registered: Registered::AfterPilot,
                published: None,
                attainable: Some(|seed| seed.scalar("binary", "accuracy/unlikely")),
                per_seed: |seed| seed.difference("accuracy/unlikely", "double-brier", "binary"),
            },
            Contrast {
                name: "accuracy: Brier only - with Brier",
                direction: Direction::Decrease,
                smallest_effect: 0.1,
                registered: Registered::AfterPilot,
                published: Some("accuracy 0"),
                attainable: Some(|seed| seed.scalar("brier", "accuracy")),
                per_seed: |seed| seed.difference("accuracy", "brier-only", "brier"),
            },
        ]
    }

    fn controls(&self) -> Vec<Control> {
        vec![
            Control {
                name: "rewards permuted: overconfidence of the answer's likelihood, binary - base",
                margin: 0.05,
                per_seed: |seed| {
                    seed.difference("likelihood/overconfidence", "binary-permuted", "base")
                },
            },
            Control {
                name: "fully determined prompts: ECE of the stated confidence, with Brier - binary",
                margin: 0.05,
                per_seed: |seed| {
                    seed.difference("stated/ece", "determined-brier", "determined-binary")
                },
            },
            Control {
                name: "p = 0.8, above both thresholds: accuracy, with log score - binary",
                margin: 0.05,
                per_seed: |seed| seed.difference("accuracy/likely", "log", "binary"),
            },
            Control {
                name: "p = 0.8, above both thresholds: accuracy, with twice the Brier score - binary",
                margin: 0.05,
                per_seed: |seed| seed.difference("accuracy/likely", "double-brier", "binary"),
            },
        ]
    }

    fn figures(&self, records: &Records) -> Result<Vec<Figure>, ProtocolError> {
        let n = records.seeds().len();
        let trained = ["binary", "brier", "log", "double-brier", "brier-only"];
        let by_level = |metric: &str, arm: &str| -> Result<Vec<Point>, ProtocolError> {
            let effects = records.series_effect(arm, metric)?;
            let points = LEVELS.iter().zip(&effects);
            Ok(points.filter_map(|((_, p), effect)| Point::measured(*p, effect)).collect())
        };
        let diagonal: Vec<Point> = LEVELS.iter().map(|(_, p)| Point::bare(*p, *p)).collect();
        let mut accuracy = Figure::lines(
            "Accuracy by what can be known",
            "probability that the digit shown is true",
            "accuracy",
            n,
        )
        .value_range(0.0, 1.0)
        .caption(
            "The Bayes-optimal policy lies on the diagonal. Below p = 0.648 (log) and 0.5 (twice Brier) a wrong \
             answer stated with confidence 0 is worth more than the best guess.",
        )
        .series("Bayes-optimal", diagonal.clone());
        let mut stated = Figure::lines(
            "Stated confidence by what can be known",
            "probability that the digit shown is true",
            "mean stated confidence",
            n,
        )
        .value_range(0.0, 1.0)
        .caption("Calibrated best guesses lie on the diagonal.")
        .series("Bayes-optimal", diagonal);
        for arm in trained {
            accuracy = accuracy.series(arm, by_level("level/accuracy", arm)?);
            stated = stated.series(arm, by_level("level/stated", arm)?);
        }
        let arms = ["base", "binary", "brier"];
        let over = |metric: &str| -> Result<Vec<Effect>, ProtocolError> {
            arms.iter().map(|arm| records.effect(arm, metric)).collect()
        };
        let mechanism = Figure::dots(
            "Where the overconfidence sits",
            arms,
            "mean confidence - accuracy",
            n,
        )
        .reference("calibrated on average", 0.0)
        .by_category("likelihood of the answer", over("likelihood/overconfidence")?)
        .by_category("stated confidence", over("stated/overconfidence")?)
        .caption(
            "Mean confidence less accuracy, for the two confidences a policy has. In expectation a binary reward \
             gives the stated confidence no gradient; it moves by sampling noise and shared weights.",
        );
        Ok(vec![accuracy, stated, mechanism])
    }

    fn tables(&self, records: &Records) -> Result<Vec<Table>, ProtocolError> {
        let columns = [
            "arm",
            "accuracy",
            "ECE, stated",
            "Brier, stated",
            "AUROC, stated",
            "overconfidence, stated",
            "overconfidence, likelihood",
            "impossible answers",
        ];
        let mut arms = Table::new("Every arm", columns).note(
            "Sampled at temperature 1 on all prompts of the arm's levels. Overconfidence is mean confidence \
             minus accuracy. Impossible answers have probability 0 of being right. Half of the base's \
             demonstrations state the level's reliability, half full confidence.",
        );
        let mut names = vec!["base"];
        names.extend(ARMS.iter().map(|(arm, _, _, _)| *arm));
        for arm in names {
            let metrics = [
                "accuracy",
                "stated/ece",
                "stated/brier",
                "stated/auroc",
                "stated/overconfidence",
                "likelihood/overconfidence",
                "impossible",
            ];
            let mut row = vec![TableValue::from(arm)];
            row.extend(metrics.map(|metric| records.value(arm, metric)));
            arms = arms.row(row);
        }
        Ok(vec![arms, bandit::table(records)?])
    }

    fn differs(&self) -> &'static [&'static str] {
        &[
            "A 21,000-parameter decoder trained here on sums with an uncertain operand, instead of Qwen2.5-7B \
             on HotpotQA and mathematics; confidence is one token of eleven, and no analysis is written \
             before it.",
            "The base is overconfident in words because half of the authors it imitates state full confidence \
             whatever the prompt; what makes the published base models so is not known.",
            "A binary reward is independent of the stated confidence, so it cannot train it here. The published \
             policies state theirs after reasoning, through the same weights that the reward sharpens.",
            "Advantages are centred but not divided by the group's standard deviation, as published; updates \
             are strictly on-policy, 8 prompts x 8 samples.",
        ]
    }
}

struct Arm {
    scheme: SchemeConfig,
    trainer: TrainerConfig,
    steps: usize,
    levels: Vec<usize>,
    permuted: bool,
}

impl Arm {
    fn run(self, base: Decoder, streams: &Streams) -> Result<Metrics, CellError> {
        let vocabulary = vocabulary();
        let verifier = ExactMatchConfig {
            extraction: Extraction::Whole,
            normalisation: Normalisation::SPACES,
        };
        let verifier = verifier.check()?;
        let reward = CalibratedReward::new(verifier, confidence_format(), self.scheme.check()?)?;
        // What the policy states during training is logged here, as the grader sees every completion.
        let stated = RefCell::new(Vec::new());
        let grader = |groups: &[Group], step: u64| -> Vec<Verdict> {
            let mut confidences = Vec::new();
            let mut verdicts = Vec::new();
            for sample in groups.iter().flat_map(Group::samples) {
                let statement = confidence_format().parse(sample.completion);
                confidences.extend(statement.confidence);
                let correct = Some(statement.answer) == sample.reference;
                let reward = checked_score(&reward, sample);
                verdicts.push(Verdict { reward, correct: Some(correct) });
            }
            stated.borrow_mut().push(mean(&confidences));
            if self.permuted {
                verdicts.shuffle(&mut streams.stream("permuted rewards", &[step]));
            }
            verdicts
        };
        let draw = |step: u64, attempt: u64| -> Vec<Prompt> {
            let mut stream = streams.stream("prompts", &[step, attempt]);
            let prompts = (0..self.trainer.prompts_per_step).filter_map(|_| {
                MaskedSum::draw(&self.levels, &mut stream).prompt(&vocabulary).ok()
            });
            prompts.collect()
        };
        let decode = |tokens: &[u32]| vocabulary.decode(tokens);
        let task = Task { prompts: &draw, decode: &decode, grader: &grader };
        let mut trainer = Trainer::new(
            base,
            Objective::dr_grpo(COMPLETION_TOKENS),
            self.trainer.clone().check()?,
            streams.child("training", &[]),
        );
        let (mut accuracy, mut entropy) = (Vec::new(), Vec::new());
        for _ in 0..self.steps {
            let metrics = trainer.step(&task)?;
            accuracy.push(metrics["accuracy"]);
            entropy.push(metrics["entropy"]);
        }
        Ok(measure(trainer.policy(), &self.levels, streams)?
            .series("training/accuracy", accuracy)
            .series("training/entropy", entropy)
            .series("training/stated", stated.into_inner()))
    }
}
