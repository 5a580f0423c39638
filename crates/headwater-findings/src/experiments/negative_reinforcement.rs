//! Experiment `negative-reinforcement`: one base policy, reinforced from right answers alone, from
//! wrong ones alone, and from both.
//!
//! Arms differ in the objective only. They fork one base policy per seed, read the same prompts in
//! the same order, and take one optimiser step per batch of the same number of rollouts. The task
//! has several right answers per prompt and a base whose pass@256 lies far above its pass@1; pass@k
//! is measured on held-out puzzles. As a policy of lower entropy has less coverage at equal
//! temperature, every arm is also measured at the temperature at which its token entropy equals the
//! base's.
//!
//! Two arms are given verdicts permuted at random within each batch: the same number of positives
//! and negatives, saying nothing about the answers.

use std::collections::BTreeMap;

use headwater_core::{Check, Group, Prompt, Streams, Vocabulary};
use headwater_evaluation::diversity::unique_answers;
use headwater_evaluation::pass_at_k::{Tally, mean_pass_at_k};
use headwater_nn::{
    AdamWConfig, Checkpoint, Completion, Decoder, DecoderConfig, Sampling, SamplingConfig, sample,
};
use headwater_optimizers::{Environment, Grade, Objective, Trainer, TrainerConfig, graded_by};
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan,
    Preset, ProtocolError, Scalar, Series, Settings, metrics,
};
use headwater_rewards::{Countdown, checked_score};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::device::device;
use crate::training::pretrain;
use headwater_tasks::countdown::{ANSWER_TOKENS, Puzzle, Split, checked_verifier, vocabulary};

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct NegativeReinforcement;

/// The base policy, which every other arm is forked from.
pub const BASE: Arm = Arm::new("base");
/// Positive sample reinforcement: right answers only.
pub const PSR: Arm = Arm::new("psr");
/// Negative sample reinforcement: wrong answers only.
pub const NSR: Arm = Arm::new("nsr");
/// PSR under permuted verdicts.
pub const PSR_PERMUTED: Arm = Arm::new("psr-permuted");
/// NSR under permuted verdicts.
pub const NSR_PERMUTED: Arm = Arm::new("nsr-permuted");

/// An arm that learns: its objective, and whether its verdicts are permuted.
pub type Learner = (Arm, Objective, bool);

/// Every arm that learns from the base.
#[must_use]
pub fn learners() -> Vec<Learner> {
    let weighted = Objective::weighted_reinforce(0.1).expect("0.1 is an allowed weight");
    vec![
        (PSR, Objective::psr(), false),
        (NSR, Objective::nsr(), false),
        (Arm::new("w-reinforce"), weighted, false),
        (Arm::new("grpo"), Objective::grpo(), false),
        (Arm::new("ppo"), Objective::ppo(), false),
        (PSR_PERMUTED, Objective::psr(), true),
        (NSR_PERMUTED, Objective::nsr(), true),
    ]
}

/// The k of the pass@k curves.
pub const KS: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// pass@k for every k, at temperature 1.
pub const PASS_AT: Series = Series::new("pass@k");
/// The same at the temperature at which token entropy equals the base's.
pub const PASS_AT_EQUAL_ENTROPY: Series = Series::new("matched/pass@k");
/// pass@1 at temperature 1.
pub const PASS_1: Scalar = Scalar::new("pass@1");
/// pass@16 at temperature 1.
pub const PASS_16: Scalar = Scalar::new("pass@16");
/// pass@256 at temperature 1.
pub const PASS_256: Scalar = Scalar::new("pass@256");
/// pass@1 at equal entropy.
pub const PASS_1_EQUAL_ENTROPY: Scalar =
    Scalar::labelled("matched/pass@1", "pass@1, equal entropy");
/// pass@16 at equal entropy.
pub const PASS_16_EQUAL_ENTROPY: Scalar =
    Scalar::labelled("matched/pass@16", "pass@16, equal entropy");
/// pass@256 at equal entropy.
pub const PASS_256_EQUAL_ENTROPY: Scalar =
    Scalar::labelled("matched/pass@256", "pass@256, equal entropy");
/// Mean token entropy at temperature 1, nats.
pub const ENTROPY: Scalar = Scalar::labelled("entropy", "token entropy");
/// Mean token entropy at the matched temperature, nats: how well it was met.
pub const MATCHED_ENTROPY: Scalar =
    Scalar::labelled("matched/entropy", "token entropy, equal entropy");
/// The temperature at which token entropy equals the base's.
pub const TEMPERATURE: Scalar = Scalar::labelled("temperature", "matched temperature");
/// Different answers among 256 to a puzzle.
pub const UNIQUE: Scalar = Scalar::labelled("unique answers", "unique answers of 256");
/// Share of rollouts that carried a gradient.
pub const ROWS: Scalar = Scalar::labelled("rows", "rows used");
/// Mean entropy of the distributions that rollouts were sampled from, nats, by step.
pub const TRAINING_ENTROPY: Series = Series::new("training/entropy");
/// Cross-entropy of the demonstrations, by step of supervised training.
pub const LOSS: Series = Series::new("loss");

/// What is kept of the trainer's metrics, by step.
const TRAINING: [(&str, Series); 4] = [
    ("accuracy", Series::new("training/accuracy")),
    ("entropy", TRAINING_ENTROPY),
    ("grad_norm", Series::new("training/grad_norm")),
    ("frac_rows_kept", Series::new("training/frac_rows_kept")),
];

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

impl Experiment for NegativeReinforcement {
    fn id(&self) -> &'static str {
        "negative-reinforcement"
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = metrics![
            PASS_AT,
            PASS_AT_EQUAL_ENTROPY,
            PASS_1,
            PASS_16,
            PASS_256,
            PASS_1_EQUAL_ENTROPY,
            PASS_16_EQUAL_ENTROPY,
            PASS_256_EQUAL_ENTROPY,
            ENTROPY,
            MATCHED_ENTROPY,
            TEMPERATURE,
            UNIQUE,
            ROWS,
            LOSS,
        ];
        metrics.extend(TRAINING.map(|(_, series)| series.into()));
        metrics
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let test = TestConfig { puzzles: if smoke { 4 } else { 128 }, samples: 256 };
        let base = base(smoke, test);
        // Many small steps, as in `calibration`: permuted verdicts must not move the policy by
        // their noise alone.
        let steps = if smoke { 3 } else { 900 };
        let mut planned = vec![ArmPlan::new(BASE, &base)?];
        for (arm, objective, permuted) in learners() {
            let (objective, trainer) = (Box::new(objective), trainer());
            let config = CellConfig::Arm { objective, permuted, trainer, steps, test };
            planned.push(ArmPlan::new(arm, &config)?.needing([BASE]).if_shown());
        }
        Ok(Plan::of(settings.seed_range(5), planned))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let streams = context.streams;
        let device = device(context.device)?.autodiff();
        match cell.config()? {
            CellConfig::Base { decoder, adamw, steps, batch, slip, test } => {
                let start = Decoder::initialise(
                    &decoder.check()?,
                    &mut streams.stream("weights", &[]),
                    &device,
                );
                let vocabulary = vocabulary();
                let (policy, losses) =
                    pretrain(start, adamw, (steps, batch), &streams, |_, stream| {
                        let puzzle = Puzzle::draw(Split::Demonstrated, stream);
                        Ok(puzzle.demonstration(slip, &vocabulary, stream)?)
                    })?;
                let metrics = Test::new(test, &streams)?.measure(&policy, None)?;
                let metrics = metrics.series(&LOSS, losses);
                Ok(CellOutcome::with_artifact(metrics, Checkpoint::of(&policy).to_bytes()))
            }
            CellConfig::Arm { objective, permuted, trainer, steps, test } => {
                let base = Checkpoint::from_bytes(context.artifact(&BASE)?)?.decoder(&device)?;
                let test = Test::new(test, &streams)?;
                let target = test.entropy(&base, 1.0)?;
                let (policy, training) =
                    reinforce(base, *objective, permuted, trainer, steps, &streams)?;
                let mut metrics = test.measure(&policy, Some(target))?;
                let rows = &training["frac_rows_kept"];
                metrics = metrics.scalar(&ROWS, rows.iter().sum::<f64>() / rows.len() as f64);
                for (name, series) in &TRAINING {
                    metrics = metrics.series(series, training[name].clone());
                }
                Ok(metrics.into())
            }
        }
    }
}

fn base(smoke: bool, test: TestConfig) -> CellConfig {
    CellConfig::Base {
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
    }
}

fn trainer() -> TrainerConfig {
    TrainerConfig {
        prompts_per_step: 8,
        group_size: 8,
        warmup_steps: 40,
        sampling: sampling_config(1.0),
        adamw: AdamWConfig { learning_rate: 1.5e-5, weight_decay: 0.0, ..AdamWConfig::default() },
        critic_adamw: AdamWConfig { learning_rate: 3e-3, ..AdamWConfig::default() },
        ..TrainerConfig::default()
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

/// Puzzles to optimise on, graded by the verifier.
struct Puzzles<'a> {
    verifier: Countdown,
    vocabulary: Vocabulary,
    per_step: usize,
    /// Whether grades are dealt out at random within a step.
    permuted: bool,
    streams: &'a Streams,
}

impl Environment for Puzzles<'_> {
    type Error = CellError;

    fn prompts(&mut self, step: u64, attempt: u64) -> Result<Vec<Prompt>, CellError> {
        let mut stream = self.streams.stream("prompts", &[step, attempt]);
        let puzzles = (0..self.per_step).map(|_| Puzzle::draw(Split::Optimised, &mut stream));
        puzzles.map(|puzzle| Ok(puzzle.prompt(&self.vocabulary)?)).collect()
    }

    fn decode(&self, tokens: &[u32]) -> String {
        self.vocabulary.decode(tokens)
    }

    fn grade(&mut self, groups: &[Group], step: u64) -> Result<Vec<Grade>, CellError> {
        let mut grades = graded_by(&self.verifier, groups);
        if self.permuted {
            grades.shuffle(&mut self.streams.stream("permuted verdicts", &[step]));
        }
        Ok(grades)
    }
}

/// Trains a fork of the base; returns the policy and the training curves by name.
fn reinforce(
    base: Decoder,
    objective: Objective,
    permuted: bool,
    config: TrainerConfig,
    steps: usize,
    streams: &Streams,
) -> Result<(Decoder, BTreeMap<&'static str, Vec<f64>>), CellError> {
    let mut puzzles = Puzzles {
        verifier: checked_verifier()?,
        vocabulary: vocabulary(),
        per_step: config.prompts_per_step,
        permuted,
        streams,
    };
    let settings = config.check()?;
    let mut trainer = Trainer::new(base, objective, settings, streams.child("training", &[]));
    let mut curves: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for metrics in trainer.train_until(steps as u64, &mut puzzles)? {
        for (name, _) in TRAINING {
            curves.entry(name).or_default().push(metrics[name]);
        }
    }
    Ok((trainer.policy().clone(), curves))
}

/// The held-out puzzles of one seed and how they are sampled.
struct Test {
    config: TestConfig,
    vocabulary: Vocabulary,
    puzzles: Vec<Prompt>,
    streams: Streams,
}

/// Samples per puzzle for an estimate of the entropy.
const ENTROPY_SAMPLES: usize = 16;

impl Test {
    fn new(config: TestConfig, streams: &Streams) -> Result<Self, CellError> {
        let vocabulary = vocabulary();
        let mut stream = streams.stream("held-out puzzles", &[]);
        let puzzles = (0..config.puzzles).map(|_| Puzzle::draw(Split::HeldOut, &mut stream));
        let puzzles = puzzles.map(|puzzle| puzzle.prompt(&vocabulary)).collect::<Result<_, _>>()?;
        Ok(Self { config, vocabulary, puzzles, streams: streams.child("test", &[]) })
    }

    fn sample(
        &self,
        policy: &Decoder,
        samples: usize,
        sampling: &Sampling,
    ) -> Result<Vec<Vec<Completion>>, CellError> {
        let prompts: Vec<Vec<u32>> = self.puzzles.iter().map(|p| p.tokens.clone()).collect();
        Ok(sample(policy, &prompts, samples, sampling, &self.streams)?)
    }

    /// Mean token entropy of `policy` at `temperature`, nats.
    fn entropy(&self, policy: &Decoder, temperature: f64) -> Result<f64, CellError> {
        let sampling = sampling_config(temperature).check()?;
        Ok(mean_entropy(&self.sample(policy, ENTROPY_SAMPLES, &sampling)?))
    }

    /// Measures at temperature 1 and, given a `target` entropy, at the temperature that reaches it.
    fn measure(&self, policy: &Decoder, target: Option<f64>) -> Result<Metrics, CellError> {
        let groups = self.sample(policy, self.config.samples, &sampling_config(1.0).check()?)?;
        let names = (PASS_AT, [PASS_1, PASS_16, PASS_256]);
        let mut metrics = self.pass_at_k(Metrics::new(), names, &groups)?;
        metrics = metrics.scalar(&ENTROPY, mean_entropy(&groups));
        let unique = groups.iter().map(|group| {
            let answers: Vec<&[u32]> = group.iter().map(|c| c.tokens.as_slice()).collect();
            unique_answers(&answers) as f64
        });
        metrics = metrics.scalar(&UNIQUE, unique.sum::<f64>() / groups.len() as f64);
        if let Some(target) = target {
            let temperature = self.matched_temperature(policy, target)?;
            let groups =
                self.sample(policy, self.config.samples, &sampling_config(temperature).check()?)?;
            let equal = [PASS_1_EQUAL_ENTROPY, PASS_16_EQUAL_ENTROPY, PASS_256_EQUAL_ENTROPY];
            metrics = self.pass_at_k(metrics, (PASS_AT_EQUAL_ENTROPY, equal), &groups)?;
            metrics = metrics
                .scalar(&TEMPERATURE, temperature)
                .scalar(&MATCHED_ENTROPY, mean_entropy(&groups));
        }
        Ok(metrics)
    }

    /// Records pass@k for every k as `curve`, and for k = 1, 16 and 256 as `some`.
    fn pass_at_k(
        &self,
        metrics: Metrics,
        (curve, some): (Series, [Scalar; 3]),
        groups: &[Vec<Completion>],
    ) -> Result<Metrics, CellError> {
        let verifier = checked_verifier()?;
        let mut tallies = Vec::with_capacity(groups.len());
        for (puzzle, group) in self.puzzles.iter().zip(groups) {
            let texts = Group {
                prompt: puzzle.text.clone(),
                reference: puzzle.reference.clone(),
                completions: group.iter().map(|c| self.vocabulary.decode(&c.tokens)).collect(),
            };
            let correct: Vec<bool> =
                texts.samples().map(|s| checked_score(&verifier, s).value() == Some(1.0)).collect();
            tallies.push(Tally::of(&correct));
        }
        let values: Vec<f64> =
            KS.iter().map(|k| mean_pass_at_k(&tallies, *k)).collect::<Result<_, _>>()?;
        let at = |k: usize| KS.iter().position(|other| *other == k).map_or(0.0, |i| values[i]);
        let metrics = some
            .iter()
            .zip([1, 16, 256])
            .fold(metrics, |metrics, (metric, k)| metrics.scalar(metric, at(k)));
        Ok(metrics.series(&curve, values))
    }

    /// The temperature in [0.1, 10] at which the policy's token entropy is `target`, by bisection
    /// on its logarithm, to 0.3%: each of the ten steps samples anew. Whether it is met,
    /// `matched/entropy` tells beside it.
    fn matched_temperature(&self, policy: &Decoder, target: f64) -> Result<f64, CellError> {
        let (mut low, mut high) = (0.1f64.ln(), 10f64.ln());
        for _ in 0..10 {
            let middle = 0.5 * (low + high);
            if self.entropy(policy, middle.exp())? < target {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok((0.5 * (low + high)).exp())
    }
}

fn mean_entropy(groups: &[Vec<Completion>]) -> f64 {
    let entropies = groups.iter().flatten().flat_map(|completion| &completion.entropies);
    let (sum, count) =
        entropies.fold((0.0, 0usize), |(sum, count), e| (sum + f64::from(*e), count + 1));
    sum / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("negative-reinforcement");
    }
}
