//! Experiment `calibration`: one base policy, reinforced by correctness and by proper scoring
//! rules.
//!
//! Arms differ in the reward: `correct - k S(q, correct)`. The task is a sum with an uncertain
//! operand ([`headwater_tasks::masked_sum`]), so the best accuracy and the right confidence are known
//! for every prompt. Two confidences are measured: the one *stated* (a token after the answer), and
//! the *likelihood* the policy gives its own answer. Two arms train on fully determined prompts,
//! where there is nothing to be overconfident about; in one, rewards are dealt out at random.

use headwater_core::{Check, Group, Prompt, Streams, Vocabulary};
use headwater_nn::{AdamWConfig, Checkpoint, Decoder, DecoderConfig, SamplingConfig};
use headwater_optimizers::{Environment, Grade, Objective, Trainer, TrainerConfig};
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan,
    Preset, ProtocolError, Scalar, Series, Settings, metrics,
};
use headwater_rewards::{
    CalibratedReward, ExactMatchConfig, Extraction, Normalisation, SchemeConfig, checked_score,
};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::confidence_rewards;
use crate::device::device;
use crate::training::pretrain;
use headwater_tasks::masked_sum::{COMPLETION_TOKENS, MaskedSum, confidence_format, vocabulary};

mod measure;

use measure::{mean, measure};

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct Calibration;

/// The base policy, which every other arm is forked from.
pub const BASE: Arm = Arm::new("base");
/// Correctness alone.
pub const BINARY: Arm = Arm::new("binary");
/// Correctness less the Brier score.
pub const WITH_BRIER: Arm = Arm::new("brier");
/// Correctness less the log score.
pub const LOG: Arm = Arm::new("log");
/// Correctness less twice the Brier score.
pub const DOUBLE_BRIER: Arm = Arm::new("double-brier");
/// The Brier score alone.
pub const BRIER_ONLY: Arm = Arm::new("brier-only");
/// Correctness, dealt out at random within the batch.
pub const BINARY_PERMUTED: Arm = Arm::new("binary-permuted");
/// Correctness on fully determined prompts.
pub const DETERMINED_BINARY: Arm = Arm::new("determined-binary");
/// Correctness less the Brier score on fully determined prompts.
pub const DETERMINED_BRIER: Arm = Arm::new("determined-brier");

/// An arm that learns: what it rewards, the levels it trains and is tested on, and whether its
/// rewards are dealt out at random within the batch.
pub type Learner = (Arm, SchemeConfig, &'static [usize], bool);

/// Every level of uncertainty.
const LEVELS: &[usize] = &[0, 1, 2, 3, 4];

/// Every arm that learns from the base.
pub const LEARNERS: [Learner; 8] = [
    (BINARY, confidence_rewards::BINARY, LEVELS, false),
    (WITH_BRIER, SchemeConfig::RLCR, LEVELS, false),
    (LOG, confidence_rewards::LOG, LEVELS, false),
    (DOUBLE_BRIER, confidence_rewards::DOUBLE_BRIER, LEVELS, false),
    (BRIER_ONLY, confidence_rewards::BRIER_ONLY, LEVELS, false),
    (BINARY_PERMUTED, confidence_rewards::BINARY, LEVELS, true),
    (DETERMINED_BINARY, confidence_rewards::BINARY, &[0], false),
    (DETERMINED_BRIER, SchemeConfig::RLCR, &[0], false),
];

/// Share of answers that are right.
pub const ACCURACY: Scalar = Scalar::new("accuracy");
/// The same where the digit shown is true with probability 0.2.
pub const ACCURACY_UNLIKELY: Scalar = Scalar::new("accuracy/unlikely");
/// The same where it is with probability 0.8.
pub const ACCURACY_LIKELY: Scalar = Scalar::new("accuracy/likely");
/// Share of answers without a confidence.
pub const MALFORMED: Scalar = Scalar::new("malformed");
/// Share of answers that have probability 0 of being right.
pub const IMPOSSIBLE: Scalar = Scalar::labelled("impossible", "impossible answers");
/// Mean stated confidence less accuracy.
pub const OVERCONFIDENCE: Scalar =
    Scalar::labelled("stated/overconfidence", "overconfidence, stated");
/// ECE of the stated confidence, ten bins of equal width.
pub const ECE: Scalar = Scalar::labelled("stated/ece", "ECE, stated");
/// Brier score of the stated confidence.
pub const BRIER: Scalar = Scalar::labelled("stated/brier", "Brier, stated");
/// AUROC of the stated confidence.
pub const AUROC: Scalar = Scalar::labelled("stated/auroc", "AUROC, stated");
/// Mean likelihood of the answers less accuracy.
pub const OVERCONFIDENCE_OF_LIKELIHOOD: Scalar =
    Scalar::labelled("likelihood/overconfidence", "overconfidence, likelihood");
/// ECE of the answers' likelihood, ten bins of equal width.
pub const ECE_OF_LIKELIHOOD: Scalar = Scalar::labelled("likelihood/ece", "ECE, likelihood");
/// Brier score of the answers' likelihood.
pub const BRIER_OF_LIKELIHOOD: Scalar = Scalar::labelled("likelihood/brier", "Brier, likelihood");
/// Accuracy by level.
pub const BY_LEVEL: Series = Series::new("level/accuracy");
/// Mean likelihood of the answers by level.
pub const LIKELIHOOD_BY_LEVEL: Series = Series::new("level/likelihood");
/// Mean stated confidence by level.
pub const STATED_BY_LEVEL: Series = Series::new("level/stated");
/// Cross-entropy of the demonstrations, by step of supervised training.
pub const LOSS: Series = Series::new("loss");
/// Accuracy of the rollouts by step.
pub const TRAINING_ACCURACY: Series = Series::new("training/accuracy");
/// Token entropy of the rollouts by step, nats.
pub const TRAINING_ENTROPY: Series = Series::new("training/entropy");
/// Mean confidence that the rollouts state, by step.
pub const TRAINING_STATED: Series = Series::new("training/stated");

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
}

/// The level whose reliability, 0.2, lies deepest below both hacking thresholds (0.648 for the log
/// score, 0.5 for twice the Brier score): the test of hacking.
const UNLIKELY: usize = 4;
/// The uncertain level that lies above both thresholds, 0.8: there nothing is to be gained by
/// hacking.
const LIKELY: usize = 1;

impl Experiment for Calibration {
    fn id(&self) -> &'static str {
        "calibration"
    }

    fn metrics(&self) -> Vec<Metric> {
        metrics![
            ACCURACY,
            ACCURACY_UNLIKELY,
            ACCURACY_LIKELY,
            MALFORMED,
            IMPOSSIBLE,
            OVERCONFIDENCE,
            ECE,
            BRIER,
            AUROC,
            OVERCONFIDENCE_OF_LIKELIHOOD,
            ECE_OF_LIKELIHOOD,
            BRIER_OF_LIKELIHOOD,
            BY_LEVEL,
            LIKELIHOOD_BY_LEVEL,
            STATED_BY_LEVEL,
            LOSS,
            TRAINING_ACCURACY,
            TRAINING_ENTROPY,
            TRAINING_STATED,
        ]
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let base = base(smoke);
        // Many small steps: under Adam a reward without information moves every weight by about
        // rate x sqrt(steps), one with it by up to rate x steps, and the permuted control needs the
        // former small.
        let steps = if smoke { 3 } else { 3000 };
        let mut planned = vec![ArmPlan::new(BASE, &base)?];
        for (arm, scheme, levels, permuted) in LEARNERS {
            let (levels, trainer) = (levels.to_vec(), trainer());
            let config = CellConfig::Arm { scheme, trainer, steps, levels, permuted };
            planned.push(ArmPlan::new(arm, &config)?.needing([BASE]));
        }
        Ok(Plan::of(settings.seed_range(5), planned))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let streams = context.streams;
        let device = device(context.device)?.autodiff();
        match cell.config()? {
            CellConfig::Base { decoder, adamw, steps, batch, slip, informed } => {
                let shape = decoder.check()?;
                let start =
                    Decoder::initialise(&shape, &mut streams.stream("weights", &[]), &device);
                let vocabulary = vocabulary();
                let (policy, losses) =
                    pretrain(start, adamw, (steps, batch), &streams, |_, stream| {
                        let question = MaskedSum::draw(LEVELS, stream);
                        Ok(question.demonstration((slip, informed), &vocabulary, stream)?)
                    })?;
                let metrics = measure(&policy, LEVELS, &streams)?.series(&LOSS, losses);
                Ok(CellOutcome::with_artifact(metrics, Checkpoint::of(&policy).to_bytes()))
            }
            CellConfig::Arm { scheme, trainer, steps, levels, permuted } => {
                let base = Checkpoint::from_bytes(context.artifact(&BASE)?)?;
                let learning = Learning { scheme, trainer, steps, levels, permuted };
                Ok(learning.run(base.decoder(&device)?, &streams)?.into())
            }
        }
    }
}

fn base(smoke: bool) -> CellConfig {
    CellConfig::Base {
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
    }
}

fn trainer() -> TrainerConfig {
    TrainerConfig {
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
    }
}

/// Policy gradient of one arm.
struct Learning {
    scheme: SchemeConfig,
    trainer: TrainerConfig,
    steps: usize,
    levels: Vec<usize>,
    permuted: bool,
}

impl Learning {
    fn run(self, base: Decoder, streams: &Streams) -> Result<Metrics, CellError> {
        let verifier = ExactMatchConfig {
            extraction: Extraction::Whole,
            normalisation: Normalisation::SPACES,
        };
        let scheme = self.scheme.check()?;
        let mut sums = Sums {
            reward: CalibratedReward::new(verifier.check()?, confidence_format(), scheme)?,
            vocabulary: vocabulary(),
            per_step: self.trainer.prompts_per_step,
            levels: &self.levels,
            permuted: self.permuted,
            streams,
            stated: Vec::new(),
        };
        let mut trainer = Trainer::new(
            base,
            Objective::dr_grpo(COMPLETION_TOKENS),
            self.trainer.clone().check()?,
            streams.child("training", &[]),
        );
        let steps = trainer.train_until(self.steps as u64, &mut sums)?;
        let curve = |name| steps.iter().map(|metrics| metrics[name]).collect::<Vec<f64>>();
        Ok(measure(trainer.policy(), &self.levels, streams)?
            .series(&TRAINING_ACCURACY, curve("accuracy"))
            .series(&TRAINING_ENTROPY, curve("entropy"))
            .series(&TRAINING_STATED, sums.stated))
    }
}

/// Sums with masked operands, rewarded for answer and stated confidence.
struct Sums<'a> {
    reward: CalibratedReward,
    vocabulary: Vocabulary,
    per_step: usize,
    levels: &'a [usize],
    /// Whether grades are dealt out at random within a step.
    permuted: bool,
    streams: &'a Streams,
    /// The mean confidence that completions state, by step.
    stated: Vec<f64>,
}

impl Environment for Sums<'_> {
    type Error = CellError;

    fn prompts(&mut self, step: u64, attempt: u64) -> Result<Vec<Prompt>, CellError> {
        let mut stream = self.streams.stream("prompts", &[step, attempt]);
        let sums = (0..self.per_step).map(|_| MaskedSum::draw(self.levels, &mut stream));
        sums.map(|sum| Ok(sum.prompt(&self.vocabulary)?)).collect()
    }

    fn decode(&self, tokens: &[u32]) -> String {
        self.vocabulary.decode(tokens)
    }

    fn grade(&mut self, groups: &[Group], step: u64) -> Result<Vec<Grade>, CellError> {
        let (mut confidences, mut grades) = (Vec::new(), Vec::new());
        for sample in groups.iter().flat_map(Group::samples) {
            let statement = confidence_format().parse(sample.completion);
            confidences.extend(statement.confidence);
            let correct = Some(statement.answer) == sample.reference;
            let reward = checked_score(&self.reward, sample);
            grades.push(Grade { reward, correct: Some(correct) });
        }
        self.stated.push(mean(&confidences));
        if self.permuted {
            grades.shuffle(&mut self.streams.stream("permuted rewards", &[step]));
        }
        Ok(grades)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("calibration");
    }
}
