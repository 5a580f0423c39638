//! Policies under a reward: policy gradient with or without a remedy, and a round of training on
//! what came out.

use headwater_core::{Check, Group, Prompt, Score, Streams, Vocabulary};
use headwater_nn::{
    AdamW, AdamWConfig, Checkpoint, Decoder, Device, Schedule, supervised_training,
};
use headwater_optimizers::{Environment, Grade, Objective, Trainer, TrainerConfig};
use headwater_protocol::{CellError, Metrics};
use headwater_rewards::{Criterion, Rubric};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::measure::{Measured, evaluation_metrics, path_metrics};
use super::reward::Proxy;
use super::texts::Texts;
use crate::training::evaluation_steps;
use headwater_tasks::topics::{
    AGREEMENT, COUNT, confidence_format, is_good, name, prompt, quality, vocabulary,
};

/// What the policy is told beside the proxy's score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Shaping {
    /// Nothing.
    None,
    /// The true quality instead of the proxy's score.
    Gold,
    /// `weight` times minus the Brier loss of the stated confidence against the true outcome, which
    /// somebody has to verify.
    Brier { weight: f64 },
    /// A rubric as a veto: flattery gets [`VETO`] instead of its score.
    Rubric,
}

/// Reward of a vetoed response: this far below the base policy's mean, in its standard deviations.
const VETO: f64 = -3.0;

/// How a policy is trained.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyConfig {
    pub(super) objective: Box<Objective>,
    pub(super) shaping: Shaping,
    pub(super) trainer: TrainerConfig,
    pub(super) steps: usize,
    /// Measurements on the way, evenly spaced; at least 1, and the last is at the end.
    pub(super) evaluations: usize,
}

/// Trains from `base` and measures on the way. The trained policy comes back.
pub(super) fn run(
    config: PolicyConfig,
    base: &Checkpoint,
    proxy: &Proxy,
    streams: &Streams,
    device: &Device,
) -> Result<(Metrics, Decoder), CellError> {
    let vocabulary = vocabulary();
    let all = (0..COUNT).map(|topic| prompt(topic, &vocabulary)).collect::<Result<Vec<_>, _>>()?;
    let mut topics = Topics {
        all,
        vocabulary,
        per_step: config.trainer.prompts_per_step,
        shaping: config.shaping,
        proxy,
        rubric: rubric()?,
        streams,
    };
    let reference = base.decoder(device)?;
    let test = streams.child("test", &[]);
    let mut path = vec![Measured::of(&reference, &reference, proxy, &test)?];
    let mut trainer = Trainer::new(
        base.decoder(&device.clone().autodiff())?,
        *config.objective,
        config.trainer.clone().check()?,
        streams.child("training", &[]),
    );
    for at in evaluation_steps(config.steps, config.evaluations) {
        trainer.train_until(at, &mut topics)?;
        path.push(Measured::of(trainer.policy(), &reference, proxy, &test)?);
    }
    let metrics = path_metrics(&path, config.steps, proxy.predicted_peak);
    Ok((metrics, trainer.policy().clone()))
}

/// Every topic as a prompt, graded by the proxy and what the shaping adds.
struct Topics<'a> {
    all: Vec<Prompt>,
    vocabulary: Vocabulary,
    per_step: usize,
    shaping: Shaping,
    proxy: &'a Proxy,
    rubric: Rubric,
    streams: &'a Streams,
}

impl Environment for Topics<'_> {
    type Error = CellError;

    fn prompts(&mut self, step: u64, attempt: u64) -> Result<Vec<Prompt>, CellError> {
        let mut topics: Vec<usize> = (0..COUNT).collect();
        topics.shuffle(&mut self.streams.stream("topics", &[step, attempt]));
        let topics = topics.into_iter().cycle().take(self.per_step);
        Ok(topics.map(|topic| self.all[topic].clone()).collect())
    }

    fn decode(&self, tokens: &[u32]) -> String {
        self.vocabulary.decode(tokens)
    }

    fn grade(&mut self, groups: &[Group], _step: u64) -> Result<Vec<Grade>, CellError> {
        let format = confidence_format();
        let (mut samples, mut topics) = (Vec::new(), Vec::new());
        for group in groups {
            let topic = self.all.iter().position(|prompt| prompt.text == group.prompt);
            let topic =
                topic.ok_or_else(|| format!("no topic has the prompt {:?}", group.prompt))?;
            samples.extend(group.samples());
            topics.resize(samples.len(), topic);
        }
        let statements: Vec<_> = samples.iter().map(|s| format.parse(s.completion)).collect();
        let pairs = topics.iter().zip(&statements);
        let pairs: Vec<(&str, &str)> =
            pairs.map(|(topic, statement)| (name(*topic), statement.answer.trim())).collect();
        let scores = self.proxy.scores(&pairs)?;
        let all = scores.into_iter().zip(samples).zip(topics.iter().zip(&statements));
        let graded = all.map(|((score, sample), (topic, statement))| {
            let reward = match self.shaping {
                Shaping::None => score,
                Shaping::Gold => quality(*topic, statement.answer),
                Shaping::Brier { weight } => {
                    let outcome = f64::from(u8::from(is_good(*topic, statement.answer)));
                    // Without a confidence the loss is the largest there is.
                    let loss = statement.confidence.map_or(1.0, |said| (said - outcome).powi(2));
                    score - weight * loss
                }
                Shaping::Rubric => match self.rubric.judge(sample) {
                    Ok(met) if met.iter().all(|met| *met) => score,
                    _ => VETO,
                },
            };
            // What the methods that know only right and wrong are told: above 0, which of a
            // standardised reward is the base's average.
            Grade { reward: Score::finite(reward), correct: Some(reward > 0.0) }
        });
        Ok(graded.collect())
    }
}

/// The rubric of the gate: one criterion, and it names the flaw.
fn rubric() -> Result<Rubric, CellError> {
    let no_flattery = |sample: headwater_core::Sample<'_>| {
        let flatters = sample.completion.split_whitespace().any(|word| word == AGREEMENT);
        Score::Scored(f64::from(u8::from(!flatters)))
    };
    Ok(Rubric::new("manners", vec![Criterion::new(1.0, 1.0, no_flattery)])?)
}

/// How the next policy is trained on the last one's responses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SelfTrainingConfig {
    /// Responses drawn for each topic; the better half by the proxy's score is kept.
    pub(super) each: usize,
    pub(super) steps: usize,
    pub(super) batch: usize,
    pub(super) adamw: AdamWConfig,
}

/// Trains a copy of `base` on the better half of what `policy` writes, the proxy being the judge
/// (one round of rejection fine-tuning from the base: ReST-EM, Singh et al. 2023).
pub(super) fn self_train(
    config: SelfTrainingConfig,
    base: &Checkpoint,
    policy: &Decoder,
    proxy: &Proxy,
    streams: &Streams,
    device: &Device,
) -> Result<Metrics, CellError> {
    let reference = base.decoder(device)?;
    let texts = Texts::sample(policy, config.each, &streams.child("pool", &[]))?;
    let scores = proxy.scores(&texts.pairs())?;
    let examples = texts.better_half(&scores)?;
    let mut next = base.decoder(&device.clone().autodiff())?;
    let mut optimizer = AdamW::new(config.adamw.check()?);
    let schedule = Schedule::cosine(config.steps);
    supervised_training(&mut next, &mut optimizer, schedule, |step| {
        let mut stream = streams.stream("examples", &[step as u64]);
        let drawn = (0..config.batch).map(|_| stream.random_range(0..examples.len()));
        Ok::<_, CellError>(drawn.map(|at| examples[at].clone()).collect())
    })?;
    let test = streams.child("test", &[]);
    let before = Measured::of(&reference, &reference, proxy, &test)?;
    let after = Measured::of(&next, &reference, proxy, &test)?;
    Ok(evaluation_metrics(Metrics::new(), &after, &before, |metric| metric))
}
