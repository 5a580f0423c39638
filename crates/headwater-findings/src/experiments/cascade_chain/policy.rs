//! Policies under a reward: policy gradient with or without a remedy, and a round of training on
//! what came out.

use std::cell::RefCell;

use headwater_core::{Check, Example, Group, Score, Streams};
use headwater_nn::{AdamW, AdamWConfig, Checkpoint, Decoder, Device, supervised_step};
use headwater_optimizers::{Objective, Task, Trainer, TrainerConfig, Verdict};
use headwater_protocol::{CellError, Metrics};
use headwater_rewards::{Criterion, Rubric};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::measure::{Measured, look_metrics, path_metrics};
use super::reward::Proxy;
use super::texts::Texts;
use crate::schedule::{train_with_looks, warmup_then_cosine};
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
    pub(super) looks: usize,
}

/// Trains from `base` and measures on the way. The trained policy comes back.
pub(super) fn run(
    config: PolicyConfig,
    base: &Checkpoint,
    proxy: &Proxy,
    streams: &Streams,
    device: &Device,
) -> Result<(Metrics, Decoder), CellError> {
    let (vocabulary, format) = (vocabulary(), confidence_format());
    let rubric = rubric()?;
    let group_size = config.trainer.group_size;
    let failed: RefCell<Option<CellError>> = RefCell::new(None);
    let all = (0..COUNT).map(|topic| prompt(topic, &vocabulary)).collect::<Result<Vec<_>, _>>()?;
    let prompts = |step: u64, attempt: u64| {
        let mut topics: Vec<usize> = (0..COUNT).collect();
        topics.shuffle(&mut streams.stream("topics", &[step, attempt]));
        let topics = topics.into_iter().cycle().take(config.trainer.prompts_per_step);
        topics.map(|topic| all[topic].clone()).collect()
    };
    let grader = |groups: &[Group], _step: u64| -> Vec<Verdict> {
        let samples: Vec<_> = groups.iter().flat_map(Group::samples).collect();
        let topics: Vec<usize> = groups
            .iter()
            .flat_map(|g| {
                let topic = all.iter().position(|prompt| prompt.text == g.prompt);
                vec![topic.expect("every prompt is one of these"); group_size]
            })
            .collect();
        let statements: Vec<_> = samples.iter().map(|s| format.parse(s.completion)).collect();
        let pairs = topics.iter().zip(&statements);
        let pairs: Vec<(&str, &str)> =
            pairs.map(|(topic, statement)| (name(*topic), statement.answer.trim())).collect();
        let scores = proxy.scores(&pairs).unwrap_or_else(|error| {
            failed.borrow_mut().get_or_insert(error);
            vec![f64::NAN; pairs.len()]
        });
        let all = scores.into_iter().zip(&samples).zip(topics.iter().zip(&statements));
        all.map(|((score, sample), (topic, statement))| {
            let reward = match config.shaping {
                Shaping::None => score,
                Shaping::Gold => quality(*topic, statement.answer),
                Shaping::Brier { weight } => {
                    let outcome = f64::from(u8::from(is_good(*topic, statement.answer)));
                    // Without a confidence the loss is the largest there is.
                    let loss = statement.confidence.map_or(1.0, |said| (said - outcome).powi(2));
                    score - weight * loss
                }
                Shaping::Rubric => match rubric.judge(*sample) {
                    Ok(met) if met.iter().all(|met| *met) => score,
                    _ => VETO,
                },
            };
            // What the methods that know only right and wrong are told: above 0, which of a
            // standardised reward is the base's average.
            Verdict { reward: Score::finite(reward), correct: Some(reward > 0.0) }
        })
        .collect()
    };
    let decode = |tokens: &[u32]| vocabulary.decode(tokens);
    let task = Task { prompts: &prompts, decode: &decode, grader: &grader };
    let reference = base.decoder(device)?;
    let test = streams.child("test", &[]);
    let mut path = vec![Measured::of(&reference, &reference, proxy, &test)?];
    let mut trainer = Trainer::new(
        base.decoder(&device.clone().autodiff())?,
        *config.objective,
        config.trainer.clone().check()?,
        streams.child("training", &[]),
    );
    let schedule = (config.steps, config.looks);
    path.extend(train_with_looks(&mut trainer, &task, schedule, &failed, |policy| {
        Measured::of(policy, &reference, proxy, &test)
    })?);
    let metrics = path_metrics(&path, config.steps, proxy.predicted_peak);
    Ok((metrics, trainer.policy().clone()))
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
    for step in 0..config.steps {
        let mut stream = streams.stream("examples", &[step as u64]);
        let batch: Vec<Example> = (0..config.batch)
            .map(|_| examples[rand::RngExt::random_range(&mut stream, 0..examples.len())].clone())
            .collect();
        let rate = warmup_then_cosine(step, config.steps);
        supervised_step(&mut next, &mut optimizer, &batch, rate)?;
    }
    let test = streams.child("test", &[]);
    let before = Measured::of(&reference, &reference, proxy, &test)?;
    let after = Measured::of(&next, &reference, proxy, &test)?;
    Ok(look_metrics(Metrics::new(), &after, &before, |metric| metric))
}
