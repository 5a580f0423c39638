//! The judges: what each is trained to write, on which tokens, and how a verdict is rewarded.

use headwater_core::{Check, Example, Prompt, Sample, Score, StreamRng, Streams};
use headwater_nn::{
    AdamW, AdamWSettings, Checkpoint, Decoder, Device, Schedule, supervised_training,
};
use headwater_optimizers::{Objective, RewardEnvironment, Trainer, TrainerConfig};
use headwater_protocol::{CellError, Metrics};
use headwater_reward_models::{CandidatePair, ScalarJudge};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{ENTROPY, GENERATED, LABELS, LOSS, LOSS_AT_THE_END, REWARD, TOKENS};
use headwater_tasks::chains::{Pair, Tags, judgement, verdict_text, vocabulary};

/// A judge of pairs.
pub(super) enum Judge {
    /// Scores one candidate at a time.
    Scalar(ScalarJudge),
    /// Reads both candidates and writes its verdict, with or without a derivation before it.
    Writing(Decoder),
}

/// What a judge is taught to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Form {
    /// A score per candidate.
    Scalar,
    /// The verdict at once.
    Direct,
    /// The partial result of every step, then the verdict.
    Derivation,
    /// The partial results of another pair of the batch, then the verdict on this one.
    ForeignDerivation,
    /// For every other pair of a batch a derivation, for the rest the verdict at once.
    Either,
}

/// How a judge is trained on labelled pairs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Supervision {
    pub(super) form: Form,
    pub(super) steps: usize,
    pub(super) batch: usize,
    /// Probability that a derivation slips at a step, and goes on from there to the same verdict.
    pub(super) slip: f64,
    pub(super) pairs: TrainingPairs,
}

/// The pairs that judges learn from.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrainingPairs {
    /// Chains have 1 to this many steps.
    pub(super) longest: usize,
    /// Share of the pairs with one tag in which the right candidate has it.
    pub(super) planted: f64,
}

impl TrainingPairs {
    /// A pair and the place, 0 or 1, in which its right candidate is shown.
    fn draw(self, stream: &mut StreamRng) -> (Pair, usize) {
        let length = stream.random_range(1..=self.longest);
        let pair = Pair::draw(length, Tags::Planted(self.planted), stream);
        (pair, usize::from(stream.random::<bool>()))
    }
}

/// A judge and what it cost to train.
pub(super) struct Trained {
    pub(super) judge: Judge,
    pub(super) metrics: Metrics,
}

/// Trains `start` on fresh pairs of one stream, so that judges of a seed see the same pairs and
/// labels in the same order; one with more steps sees further ones.
pub(super) fn supervise(
    config: &Supervision,
    start: Decoder,
    adamw: AdamWSettings,
    streams: &Streams,
) -> Result<Trained, CellError> {
    let (mut optimizer, schedule) = (AdamW::new(adamw), Schedule::cosine(config.steps));
    let draw = |step: usize| -> Vec<(Pair, usize)> {
        let mut stream = streams.stream("training pairs", &[step as u64]);
        (0..config.batch).map(|_| config.pairs.draw(&mut stream)).collect()
    };
    let mut tokens = 0;
    let (judge, losses) = if config.form == Form::Scalar {
        let (mut judge, mut losses) = (ScalarJudge::new(start), Vec::with_capacity(config.steps));
        for step in 0..config.steps {
            let pairs: Vec<CandidatePair> =
                draw(step).iter().map(|(pair, _)| alone(pair)).collect();
            tokens += pairs.iter().map(|p| p.chosen.len() + p.rejected.len()).sum::<usize>();
            losses.push(judge.step(&mut optimizer, &pairs, schedule.rate(step))?);
        }
        (Judge::Scalar(judge), losses)
    } else {
        let mut judge = start;
        let losses = supervised_training(&mut judge, &mut optimizer, schedule, |step| {
            let mut stream = streams.stream("slips", &[step as u64]);
            let examples = written(&draw(step), config.form, config.slip, &mut stream);
            tokens += examples.iter().map(|e| e.prompt.len() + e.completion.len()).sum::<usize>();
            Ok::<_, CellError>(examples)
        })?;
        (Judge::Writing(judge), losses)
    };
    let last = &losses[losses.len() - losses.len().div_ceil(10)..];
    let metrics = Metrics::new()
        .scalar(&LABELS, (config.steps * config.batch) as f64)
        .scalar(&TOKENS, tokens as f64)
        .scalar(&LOSS_AT_THE_END, last.iter().sum::<f64>() / last.len() as f64)
        .series(&LOSS, losses);
    Ok(Trained { judge, metrics })
}

fn alone(pair: &Pair) -> CandidatePair {
    let [chosen, rejected] = pair.candidates.map(|candidate| pair.chain.tokens_with(candidate));
    CandidatePair { chosen, rejected }
}

/// Demonstrations of a form. The verdict is the label's, whatever the derivation came to.
fn written(pairs: &[(Pair, usize)], form: Form, slip: f64, stream: &mut StreamRng) -> Vec<Example> {
    let examples = pairs.iter().enumerate().map(|(at, (pair, right))| {
        let derived_from = match form {
            Form::Derivation => Some(pair),
            // Pairs of a batch are independent: the next one's derivation is a random one.
            Form::ForeignDerivation => Some(&pairs[(at + 1) % pairs.len()].0),
            Form::Either if at % 2 == 0 => Some(pair),
            Form::Scalar | Form::Direct | Form::Either => None,
        };
        let slips = |_, stream: &mut StreamRng| stream.random::<f64>() < slip;
        let results = derived_from.map(|pair| pair.chain.results_with_slips(stream, slips));
        let prompt = pair.shown(*right).tokens();
        Example { prompt, completion: judgement(&results.unwrap_or_default(), *right) }
    });
    examples.collect()
}

/// The reward of a judgement: +1 for the right verdict, -1 for the wrong one or none (Guo et al.
/// 2025, arXiv 2505.14674; Chen et al. 2025, arXiv 2505.02387). What is written before the verdict
/// is not looked at.
pub(super) fn verdict_reward(sample: Sample<'_>) -> Score {
    let right = verdict_text(sample.completion).is_some_and(|v| Some(v) == sample.reference);
    Score::Scored(if right { 1.0 } else { -1.0 })
}

/// GRPO from a trained judge, with [`verdict_reward`].
pub(super) fn reinforce(
    from: &Checkpoint,
    config: &TrainerConfig,
    steps: usize,
    pairs: TrainingPairs,
    streams: &Streams,
    device: &Device,
) -> Result<Trained, CellError> {
    let vocabulary = vocabulary();
    let prompts = |step: u64, attempt: u64| -> Vec<Prompt> {
        let mut stream = streams.stream("prompts", &[step, attempt]);
        let drawn = (0..config.prompts_per_step).map(|_| pairs.draw(&mut stream));
        drawn.map(|(pair, right)| pair.shown(right).prompt(&vocabulary)).collect()
    };
    let mut shown = RewardEnvironment { reward: &verdict_reward, vocabulary: &vocabulary, prompts };
    let settings = config.clone().check()?;
    let policy = from.decoder(device)?;
    let own = streams.child("reinforcement", &[]);
    let mut trainer = Trainer::new(policy, Objective::grpo(), settings, own);
    let (mut rewards, mut entropies, mut tokens) = (Vec::new(), Vec::new(), 0.0);
    for metrics in trainer.train_until(steps as u64, &mut shown)? {
        rewards.push(metrics["reward"]);
        entropies.push(metrics["entropy"]);
        tokens += metrics["num_tokens"];
    }
    let metrics = Metrics::new()
        .scalar(&LABELS, (steps * config.prompts_per_step) as f64)
        .scalar(&GENERATED, tokens)
        .series(&REWARD, rewards)
        .series(&ENTROPY, entropies);
    Ok(Trained { judge: Judge::Writing(trainer.policy().clone()), metrics })
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_optimizers::Experience;

    fn pairs(count: usize) -> Vec<(Pair, usize)> {
        let mut stream = Streams::new(3).stream("pairs", &[]);
        (0..count).map(|_| TrainingPairs { longest: 6, planted: 0.8 }.draw(&mut stream)).collect()
    }

    fn demonstrations(pairs: &[(Pair, usize)], form: Form) -> Vec<Example> {
        written(pairs, form, 0.0, &mut Streams::new(3).stream("slips", &[]))
    }

    #[test]
    fn every_form_ends_in_the_verdict_on_its_own_pair() {
        let (pairs, vocabulary) = (pairs(64), vocabulary());
        for form in [Form::Direct, Form::Derivation, Form::ForeignDerivation] {
            for ((pair, right), example) in pairs.iter().zip(demonstrations(&pairs, form)) {
                let text = vocabulary.decode(&example.completion);
                let prompt = pair.shown(*right).prompt(&vocabulary);
                let sample = |completion| Sample {
                    prompt: &prompt.text,
                    completion,
                    reference: prompt.reference.as_deref(),
                };
                assert_eq!(verdict_reward(sample(&text)), Score::Scored(1.0), "{text}");
                let other = text.replace('A', "C").replace('B', "A").replace('C', "B");
                assert_eq!(verdict_reward(sample(&other)), Score::Scored(-1.0), "{other}");
                assert_eq!(verdict_reward(sample(&text[..text.len() - 1])), Score::Scored(-1.0));
                assert_eq!(form == Form::Direct, text.len() == 1);
            }
        }
        let foreign = demonstrations(&pairs, Form::ForeignDerivation);
        let own = demonstrations(&pairs, Form::Derivation);
        let same = foreign.iter().zip(&own).filter(|(a, b)| a.completion == b.completion).count();
        assert!(same < 8, "{same} of 64 derivations are their own");
    }

    #[test]
    fn a_group_that_agrees_has_no_advantage() {
        let lengths = [2; 8];
        let batch = |rewards: [f64; 8]| {
            Objective::grpo().advantages(&Experience::new(&rewards, 4, &lengths)).unwrap()
        };
        let advantages = batch([1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, 1.0]);
        assert!(advantages.tokens[..4].iter().flatten().all(|a| *a == 0.0));
        assert!(advantages.tokens[4][0] < 0.0 && advantages.tokens[7][0] > 0.0);
    }
}
