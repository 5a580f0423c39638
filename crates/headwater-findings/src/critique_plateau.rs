//! Finding `critique-plateau`: a numeric reward plateaus on questions that a policy is surely wrong about; a critique
//! breaks through.
//!
//! Claim (Zhang et al. 2025, "Critique-GRPO", arXiv 2506.03106): policies trained on a numeric reward reach a plateau, on
//! which more prompts do not help and persistently failed questions stay failed; refinements written under a critique
//! and trained under the plain prompt break through, if the critique says where the error is, and most of the gain is
//! owed to the shaping of their weight. And (its Proposition 4.1) feedback that localises the first error turns a search over
//! `S^L` sequences into one over about `S L`, one that corrects it into one over about `L`.
//!
//! The task is arithmetic with confident misconceptions ([`crate::tasks::misconceptions`]); about 30% of the training
//! questions meet one. Arms fork one base per seed and initial probability of the right result on a misconception, read the same
//! questions in the same order, and stop at the same number of sampled responses, refinements included. They differ in the
//! critique, in the weight of refinements, or (8 or 16 rollouts, eight times as many questions) in having none. All is
//! measured without critiques on held-out questions, greedily.
//!
//! Controls: refinements without a critique, refinements under critiques that name another step than the first wrong one, and permuted verdicts.
//! The second part opens combination locks ([`crate::tasks::lock`]) and fits how many samples that takes.

use headwater_core::{Check, Streams};
use headwater_nn::{AdamW, AdamWConfig, Checkpoint, Decoder, DecoderConfig};
use headwater_optimizers::CritiqueGrpoConfig;
use headwater_optimizers::critique_grpo::{CritiqueTrainerConfig, Refine, RefinementWeight};
use headwater_protocol::{
    Cell, CellError, Contrast, Control, Direction, Figure, Finding, Metrics, Outcome, PerSeed,
    Plan, Preset, ProtocolError, Records, Registered, SeedRecords, Settings, Table, Workbench,
};
use serde::{Deserialize, Serialize};

use crate::device::device;
use crate::seeds::SHOWN_SEEDS;
use crate::tasks::misconceptions::{
    Arithmetic, Critique, Doubt, PROMPT_TOKENS, STEPS, Shares, vocabulary,
};

mod lock;
mod measure;
mod report;
mod train;

use lock::LockTest;
use measure::{Test, dynamics, record, rescues, sampling};
use train::{Optimisation, Supervision, Tamper, imitate, optimise};

/// The finding.
#[derive(Debug, Clone, Copy)]
pub struct CritiquePlateau;

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
    /// More of it, at an initial probability of the right result on a misconception; what every arm is forked from.
    Base { world: World, adamw: AdamWConfig, supervision: Supervision },
    /// Reinforcement from a base.
    Arm { world: World, from: String, optimisation: Box<Optimisation> },
    /// Combination locks.
    Lock { test: LockTest },
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

/// Times that an arm is looked at, at equal distances in generations.
const LOOKS: usize = 9;

/// Initial probabilities (of each result that is not believed) in demonstrations, the bases trained on them, and the suffix
/// of their arms' names. The first is that of the main comparison; it was chosen in pilots.
const STARTS: [(f64, &str, &str); 4] = [
    (8e-3, "base", ""),
    (1e-4, "base.p1e-4", ".p1e-4"),
    (1.5e-3, "base.p1.5e-3", ".p1.5e-3"),
    (3e-2, "base.p3e-2", ".p3e-2"),
];

/// An arm from the published method by changing one thing.
struct Arm {
    name: &'static str,
    objective: CritiqueGrpoConfig,
    critique: Critique,
    tamper: Tamper,
    rollouts: usize,
    /// Times the usual number of training questions.
    questions: usize,
}

/// Every arm at the main start; those marked are also run from the other bases.
fn arms() -> Vec<(Arm, bool)> {
    let published = CritiqueGrpoConfig::default();
    let critique_grpo = |name, critique, objective| Arm {
        name,
        objective,
        critique,
        tamper: Tamper::Nothing,
        rollouts: 7,
        questions: 1,
    };
    let grpo = |name, rollouts, questions| {
        let objective = CritiqueGrpoConfig { refine: Refine::Never, ..published };
        Arm { rollouts, questions, ..critique_grpo(name, Critique::Blank, objective) }
    };
    let with = |name, critique| critique_grpo(name, critique, published);
    let weighted = |name, weight| {
        let objective = CritiqueGrpoConfig { weight, refinement_clip: None, ..published };
        critique_grpo(name, Critique::Step, objective)
    };
    let tampered = |name, tamper| Arm { tamper, ..with(name, Critique::Step) };
    let four = CritiqueGrpoConfig { kept: 4, ..published };
    let every = CritiqueGrpoConfig { refine: Refine::EveryPrompt, ..published };
    vec![
        (grpo("grpo-8", 8, 1), true),
        (grpo("grpo-16", 16, 1), false),
        (grpo("grpo-8-questions-x8", 8, 8), false),
        (with("indicative", Critique::Indicative), false),
        (with("final-result", Critique::FinalResult), false),
        (with("step", Critique::Step), true),
        (with("correction", Critique::Correction), false),
        (weighted("step-unshaped", RefinementWeight::Probability), true),
        (weighted("step-weight-1", RefinementWeight::Likelihood), true),
        (weighted("step-baseline-only", RefinementWeight::BaselineOnly), false),
        (weighted("step-importance", RefinementWeight::ImportanceRatio { cap: 2.0 }), false),
        (Arm { rollouts: 4, ..critique_grpo("step-4-4", Critique::Step, four) }, false),
        (critique_grpo("step-every", Critique::Step, every), false),
        (tampered("step-exchanged", Tamper::Exchanged), false),
        (with("blank", Critique::Blank), false),
        (tampered("step-misplaced", Tamper::Misplaced), false),
        (tampered("step-permuted", Tamper::Verdicts), false),
    ]
}

/// A contrast whose size was fixed after pilots on other seeds and streams, and before the runs that are reported.
const fn piloted(
    name: &'static str,
    direction: Direction,
    smallest_effect: f64,
    per_seed: PerSeed,
) -> Contrast {
    Contrast::new(name, direction, smallest_effect, Registered::AfterPilot, per_seed)
}

/// Where the method should stop working, or not be needed: this project's expectation, not the paper's claim. It counts all
/// the same, as it was written down before the first whole run.
const fn boundary(name: &'static str, direction: Direction, per_seed: PerSeed) -> Contrast {
    piloted(name, direction, 0.15, per_seed)
}

/// Change of an arm's probability of right answers to held-out questions that meet a misconception, over the last third of its generations.
fn last_third(seed: &SeedRecords<'_>, arm: &str) -> Result<f64, ProtocolError> {
    seed.scalar(arm, "last third")
}

impl Finding for CritiquePlateau {
    fn id(&self) -> &'static str {
        "critique-plateau"
    }

    fn claim(&self) -> &'static str {
        "A numeric reward plateaus on what a policy is surely wrong about; a critique that says where the error is breaks \
         through."
    }

    fn source(&self) -> &'static str {
        "Zhang et al. 2025, Critique-GRPO: Advancing LLM Reasoning with Natural Language and Numerical Feedback, arXiv \
         2506.03106 (v6)"
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let world = World { misconceptions: 12, questions: if smoke { 16 } else { 128 } };
        let supervision = |steps: usize, p0, shares| Supervision {
            steps: if smoke { 4 } else { steps },
            batch: 96,
            doubt: Doubt { p0, slip: 0.08 },
            shares,
        };
        let pretrained = CellConfig::Pretrained {
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
            // The lowest start: a probability is raised in fewer steps than it is lowered.
            supervision: supervision(1200, STARTS[1].0, Shares { refinements: 0.5, stuck: 0.0 }),
        };
        let lock = CellConfig::Lock {
            test: LockTest {
                adamw: AdamWConfig { learning_rate: 5e-3, ..AdamWConfig::default() },
                steps: if smoke { 4 } else { 900 },
                batch: 32,
                reward_locks: if smoke { 2 } else { 24 },
                marked_locks: if smoke { 2 } else { 256 },
                most: if smoke { 64 } else { 1 << 16 },
            },
        };
        let adamw =
            AdamWConfig { learning_rate: 6e-4, weight_decay: 0.0, ..AdamWConfig::default() };
        let optimisation = |arm: &Arm| Optimisation {
            objective: arm.objective,
            critique: arm.critique,
            tamper: arm.tamper,
            trainer: CritiqueTrainerConfig {
                group_size: arm.rollouts,
                sampling: sampling(),
                warmup_steps: 10,
                adamw: adamw.clone(),
            },
            prompts_per_step: 16,
            pool: 512 * arm.questions,
            stuck: 0.3,
            generations: if smoke { 24 * 16 } else { 32_000 },
        };
        let mut plan = Plan::default();
        for seed in settings.seed_range(8) {
            plan.cells.push(Cell::new(self.id(), "pretrained", seed, &pretrained)?);
            for (at, (p0, base, suffix)) in STARTS.iter().enumerate() {
                let config = CellConfig::Base {
                    world,
                    adamw: AdamWConfig { learning_rate: 3e-3, ..AdamWConfig::default() },
                    // Misconceptions are shown often, so that every one is believed to about the same degree.
                    supervision: supervision(300, *p0, Shares { refinements: 0.4, stuck: 0.3 }),
                };
                let cell = Cell::new(self.id(), base, seed, &config)?;
                plan.cells.push(cell.needing(&["pretrained"]));
                for (arm, elsewhere) in arms() {
                    let name = format!("{}{suffix}", arm.name);
                    if at > 0 && !elsewhere {
                        continue;
                    }
                    let optimisation = Box::new(optimisation(&arm));
                    let config = CellConfig::Arm { world, from: (*base).into(), optimisation };
                    plan.cells.push(Cell::new(self.id(), &name, seed, &config)?.needing(&[base]));
                }
            }
            plan.cells.push(Cell::new(self.id(), "lock", seed, &lock)?);
        }
        plan.thin(self, SHOWN_SEEDS, |_| true)?;
        Ok(plan)
    }

    fn run(&self, cell: &Cell, workbench: &Workbench) -> Result<Outcome, CellError> {
        // Everything was tuned on other streams.
        let streams = &workbench.streams.child("fourth set of data, which no earlier run saw", &[]);
        let device = device(workbench.device)?.autodiff();
        let arithmetic = |world: World| tables(world, streams);
        match cell.config()? {
            CellConfig::Pretrained { world, decoder, adamw, supervision } => {
                let mut weights = streams.stream("weights", &[]);
                let mut policy = Decoder::initialise(&decoder.check()?, &mut weights, &device);
                let mut optimizer = AdamW::new(adamw.check()?);
                let (arithmetic, streams) = (arithmetic(world), streams.child("pretraining", &[]));
                let losses =
                    imitate(&mut policy, &mut optimizer, &supervision, &arithmetic, &streams)?;
                let metrics = Metrics::new().series("loss", losses);
                Ok(Outcome::with_artifact(metrics, Checkpoint::of(&policy).to_bytes()))
            }
            CellConfig::Base { world, adamw, supervision } => {
                let pretrained = Checkpoint::from_bytes(workbench.artifact("pretrained")?)?;
                let mut policy = pretrained.decoder(&device)?;
                let mut optimizer = AdamW::new(adamw.check()?);
                let arithmetic = arithmetic(world);
                imitate(&mut policy, &mut optimizer, &supervision, &arithmetic, streams)?;
                let test = Test::new(&arithmetic, world.questions, streams);
                let metrics = record(Metrics::new(), &[test.look(&policy)?]);
                let metrics = rescues(metrics, &test, &policy)?;
                Ok(Outcome::with_artifact(metrics, Checkpoint::of(&policy).to_bytes()))
            }
            CellConfig::Arm { world, from, optimisation } => {
                let base = Checkpoint::from_bytes(workbench.artifact(&from)?)?.decoder(&device)?;
                let arithmetic = arithmetic(world);
                let test = Test::new(&arithmetic, world.questions, streams);
                let mut looks = Vec::with_capacity(LOOKS);
                let curves =
                    optimise(base, &optimisation, &arithmetic, streams, LOOKS, |policy| {
                        looks.push(test.look(policy)?);
                        Ok(())
                    })?;
                let mut metrics = dynamics(record(Metrics::new(), &looks), &looks, &curves);
                for (name, values) in curves {
                    metrics = metrics.series(format!("training/{name}"), values);
                }
                Ok(metrics.into())
            }
            CellConfig::Lock { test } => Ok(lock::measure(&test, &device, streams)?.into()),
        }
    }

    fn contrasts(&self) -> Vec<Contrast> {
        use Direction::{Increase, Unchanged};
        let breaks = |name, per_seed| Contrast {
            published: Some("+.044 (mean of 8 test sets, .427 Dr. GRPO to .471; Qwen2.5-7B)"),
            ..piloted(name, Increase, 0.15, per_seed)
        };
        // A plateau is flat, and low: two thirds of what is believed still is. Shown with the sign turned.
        let level = |name, per_seed| piloted(name, Direction::NotBelow, 0.35, per_seed);
        vec![
            breaks("misconceptions: step critique - GRPO, 8 rollouts", |seed| {
                seed.difference("stuck", "step", "grpo-8")
            }),
            breaks("misconceptions: step critique - GRPO, 16 rollouts", |seed| {
                seed.difference("stuck", "step", "grpo-16")
            }),
            breaks("misconceptions: step critique - GRPO, 8 x questions", |seed| {
                seed.difference("stuck", "step", "grpo-8-questions-x8")
            }),
            piloted("probability, last third: GRPO, 8 rollouts", Unchanged, 0.1, |seed| {
                last_third(seed, "grpo-8")
            }),
            piloted("probability, last third: GRPO, 16 rollouts", Unchanged, 0.1, |seed| {
                last_third(seed, "grpo-16")
            }),
            piloted("probability, last third: GRPO, 8 x questions", Unchanged, 0.1, |seed| {
                last_third(seed, "grpo-8-questions-x8")
            }),
            level("probability at the end, up to 0.35: GRPO, 8 rollouts", |seed| {
                Ok(-seed.scalar("grpo-8", "probability/stuck")?)
            }),
            level("probability at the end, up to 0.35: GRPO, 16 rollouts", |seed| {
                Ok(-seed.scalar("grpo-16", "probability/stuck")?)
            }),
            level("probability at the end, up to 0.35: GRPO, 8 x questions", |seed| {
                Ok(-seed.scalar("grpo-8-questions-x8", "probability/stuck")?)
            }),
            Contrast {
                published: Some("+.031 (mean of 8 test sets, .440 to .471; Qwen2.5-7B)"),
                ..piloted("misconceptions: shaped - unshaped", Increase, 0.1, |seed| {
                    seed.difference("stuck", "step", "step-unshaped")
                })
            },
            piloted("misconceptions: in the loss - only in the mean", Increase, 0.1, |seed| {
                seed.difference("stuck", "step", "step-baseline-only")
            }),
            Contrast {
                published: Some("+.483 (.071 to .554 of the stuck questions)"),
                ..piloted("stuck questions rescued: step - indicative", Increase, 0.1, |seed| {
                    Ok(seed.scalar("base", "rescued/step")?
                        - seed.scalar("base", "rescued/indicative")?)
                })
            },
            Contrast::new(
                "misconceptions: step critique - critiques exchanged",
                Increase,
                0.1,
                Registered::PostHoc,
                |seed| seed.difference("stuck", "step", "step-exchanged"),
            ),
            boundary("from p0 = 1e-4: step critique - GRPO", Unchanged, |seed| {
                seed.difference("stuck", "step.p1e-4", "grpo-8.p1e-4")
            }),
            boundary("from p0 = 1e-4: weight 1 - shaped", Increase, |seed| {
                seed.difference("stuck", "step-weight-1.p1e-4", "step.p1e-4")
            }),
            boundary("from p0 = 3e-2: GRPO - base", Increase, |seed| {
                Ok(seed.scalar("grpo-8.p3e-2", "stuck")? - seed.scalar("base.p3e-2", "stuck")?)
            }),
            piloted("lock, growth per place: reward - localised", Increase, 0.5, |seed| {
                Ok(seed.scalar("lock", "growth per place/reward")?
                    - seed.scalar("lock", "growth per place/place")?)
            }),
            piloted("lock, exponent of length, localised, less 1", Unchanged, 0.3, |seed| {
                Ok(seed.scalar("lock", "exponent of length/place")? - 1.0)
            }),
            piloted("lock, ln samples at 4 places: localised - corrected", Increase, 1.0, |seed| {
                let samples = |name: &str| seed.scalar("lock", name).map(f64::ln);
                Ok(samples("samples at 4/place")? - samples("samples at 4/correction")?)
            }),
        ]
    }

    fn controls(&self) -> Vec<Control> {
        vec![
            Control {
                name: "refinements without a critique: misconceptions, less GRPO's",
                margin: 0.15,
                per_seed: |seed| seed.difference("stuck", "blank", "grpo-8"),
            },
            Control {
                name: "critiques that name another step: misconceptions, less GRPO's",
                margin: 0.15,
                per_seed: |seed| seed.difference("stuck", "step-misplaced", "grpo-8"),
            },
            Control {
                name: "verdicts permuted: misconceptions, less the base's",
                margin: 0.15,
                per_seed: |seed| seed.difference("stuck", "step-permuted", "base"),
            },
        ]
    }

    fn figures(&self, records: &Records) -> Result<Vec<Figure>, ProtocolError> {
        report::figures(records)
    }

    fn tables(&self, records: &Records) -> Result<Vec<Table>, ProtocolError> {
        report::tables(records)
    }

    fn differs(&self) -> &'static [&'static str] {
        &[
            "A decoder of about 60,000 parameters trained here on three-step arithmetic, instead of Qwen models of 7B and 8B \
             on competition mathematics; answers are three tokens long.",
            "That a policy can take a critique is pretrained, on questions that meet no misconception: it does not emerge at \
             this size. So rescue rates are those of what was demonstrated, and of how far it carries over.",
            "Critiques are made by rule and always true; the published ones are written by a model, and 60% of the \
             step-by-step ones are valid.",
            "The stuck questions are planted, about 30% of all, and are surely wrong from the start, instead of being what \
             GRPO leaves over.",
            "One optimiser step per batch, so that the rollouts' clip never acts; Adam at 6e-4 over about 250 steps, half as many with \
             16 rollouts.",
            "Locks are opened by a policy that takes marks and does not learn between attempts: what is counted is samples \
             to the first success, not regret of a learner.",
        ]
    }
}

/// The tables of one seed and their misconceptions.
fn tables(world: World, streams: &Streams) -> Arithmetic {
    Arithmetic::draw(world.misconceptions, &mut streams.stream("tables", &[]))
}
