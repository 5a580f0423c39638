//! What a reward from a long reference says of the chain of thought, and what it teaches.

use headwater_core::{Check, Group, Prompt, Score, Streams, Vocabulary};
use headwater_evaluation::calibration::auroc;
use headwater_nn::{
    AdamWConfig, Checkpoint, Decoder, Device, SamplingConfig, SequenceBatch, sample,
};
use headwater_optimizers::{
    Environment, Grade, Objective, ObjectiveConfig, Trainer, TrainerConfig,
};
use headwater_protocol::{CellError, Metrics};
use headwater_rewards::{
    Certainty, ReferenceRewardConfig, ReferenceScores, SpreadFilter, SpreadFilterConfig, Weighting,
};
use serde::{Deserialize, Serialize};

use super::{
    ACCURACY, AREA_BY_OMEGA, LENGTHS, OMEGA, OMEGAS, STEPS_TO_80, THOUGHT, TRAINING_ACCURACY,
    TRAINING_TOKENS, WEIGHT_BY_OMEGA, area, weight,
};
use crate::training::pretrain;
use headwater_tasks::diluted_reference::{
    ANSWER, Author, Question, Reference, THOUGHT_TOKENS, context, thought, vocabulary,
};

/// A reward from a reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// The log-likelihood of the reference.
    SumOfLogs,
    /// The mean probability of its tokens.
    MeanOfProbabilities,
    /// R3: probabilities weighted by how much they vary within the group.
    R3 {
        /// How sharply the weights follow the variation.
        omega: f64,
    },
    /// The same of log-probabilities.
    R3OfLogs {
        /// How sharply the weights follow the variation.
        omega: f64,
    },
    /// The mean probability of the results alone.
    Oracle,
}

/// The rewards that are compared, by name.
pub const READINGS: [(&str, Reading); 5] = [
    ("log-likelihood", Reading::SumOfLogs),
    ("mean probability", Reading::MeanOfProbabilities),
    ("R3", Reading::R3 { omega: OMEGA }),
    ("R3 of logs", Reading::R3OfLogs { omega: OMEGA }),
    ("oracle slots", Reading::Oracle),
];

impl Reading {
    fn config(self, reference: &Reference) -> ReferenceRewardConfig {
        let (certainty, weighting) = match self {
            Self::SumOfLogs => (Certainty::LogProbability, Weighting::Sum),
            Self::MeanOfProbabilities => (Certainty::Probability, Weighting::Mean),
            Self::R3 { omega } => return ReferenceRewardConfig::r3(omega),
            Self::R3OfLogs { omega } => {
                (Certainty::LogProbability, Weighting::Spread { omega, exclude: None })
            }
            Self::Oracle => (Certainty::Probability, Weighting::Slots(reference.slots.to_vec())),
        };
        ReferenceRewardConfig { certainty, weighting }
    }

    fn score(self, reference: &Reference, logs: &[Vec<f64>]) -> Result<ReferenceScores, CellError> {
        Ok(self.config(reference).check()?.score(logs)?)
    }
}

/// An arm: which reward, at which length of the reference.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DilutionArm {
    pub(super) reading: Reading,
    pub(super) fillers: usize,
    /// Rejects groups whose reference tokens hardly vary.
    pub(super) filter: Option<SpreadFilterConfig>,
    pub(super) trainer: TrainerConfig,
    pub(super) steps: usize,
}

/// How chains of thought are sampled: to `|`, without the answer, which no reward here looks at.
pub(super) fn sampling() -> SamplingConfig {
    SamplingConfig {
        max_new_tokens: THOUGHT_TOKENS,
        stop: Some(ANSWER),
        ..SamplingConfig::default()
    }
}

/// The policy that arms fork.
pub(super) fn imitate(
    start: Decoder,
    author: &Author,
    adamw: AdamWConfig,
    (steps, batch): (usize, usize),
    streams: &Streams,
) -> Result<(Decoder, Vec<f64>), CellError> {
    let vocabulary = vocabulary();
    pretrain(start, adamw, (steps, batch), streams, |step, stream| {
        // All answers of a batch are of one length. Of the loss of a long one hardly anything is
        // the results: they are learnt on short ones first.
        let fillers = if 2 * step < steps { LENGTHS[0] } else { [4, 64, 16, 64][step % 4] };
        Ok(Question::draw(stream).demonstration(author, fillers, stream, &vocabulary))
    })
}

/// A prompt, its reference, and the chains of thought that the reference is put behind.
type Forced<'a> = (&'a [u32], &'a Reference, Vec<Vec<u32>>);

/// Log-probabilities of one reference after every chain of each group, `[groups][G][T]`.
fn after_thoughts(model: &Decoder, groups: &[Forced<'_>]) -> Result<Vec<Vec<Vec<f64>>>, CellError> {
    let contexts: Vec<(Vec<u32>, &[u32])> = groups
        .iter()
        .flat_map(|(prompt, reference, thoughts)| {
            thoughts.iter().map(|t| (context(prompt, t), reference.tokens.as_slice()))
        })
        .collect();
    let pairs = contexts.iter().map(|(context, reference)| (context.as_slice(), *reference));
    let rows = SequenceBatch::new(pairs, model.shape())?.log_probs(model);
    let mut rows = rows.into_iter().map(|row| row.iter().map(|l| f64::from(*l).min(0.0)).collect());
    Ok(groups.iter().map(|(_, _, thoughts)| rows.by_ref().take(thoughts.len()).collect()).collect())
}

/// What every reward tells of the base's own chains: AUC within the group of "the chain is right",
/// at every length of the reference; and the same for R3 at every omega and the longest.
pub(super) fn measure(
    base: &Decoder,
    (questions, group): (usize, usize),
    streams: &Streams,
    mut metrics: Metrics,
) -> Result<Metrics, CellError> {
    let vocabulary = vocabulary();
    let mut stream = streams.stream("test questions", &[]);
    let drawn: Vec<Question> = (0..questions).map(|_| Question::draw(&mut stream)).collect();
    let prompts: Vec<Vec<u32>> = drawn.iter().map(|q| q.prompt(&vocabulary).tokens).collect();
    let sampled = sample(base, &prompts, group, &sampling().check()?, streams)?;
    let thoughts: Vec<Vec<Vec<u32>>> = sampled
        .iter()
        .map(|group| group.iter().map(|c| thought(&c.tokens).to_vec()).collect())
        .collect();
    let solved: Vec<Vec<bool>> = drawn
        .iter()
        .zip(&thoughts)
        .map(|(question, group)| group.iter().map(|t| question.solved_by(t)).collect())
        .collect();
    let right = solved.iter().flatten().filter(|solved| **solved).count();
    metrics = metrics.scalar(&ACCURACY, right as f64 / (questions * group) as f64);
    let mut by_length = vec![Vec::new(); READINGS.len()];
    let mut on_slots = vec![Vec::new(); READINGS.len()];
    for fillers in LENGTHS {
        let mut stream = streams.stream("test references", &[fillers as u64]);
        let references: Vec<Reference> =
            drawn.iter().map(|q| q.reference(fillers, &mut stream)).collect();
        let groups: Vec<_> = prompts
            .iter()
            .zip(&references)
            .zip(&thoughts)
            .map(|((prompt, reference), thoughts)| (prompt.as_slice(), reference, thoughts.clone()))
            .collect();
        let logs = after_thoughts(base, &groups)?;
        let told = |reading: Reading| -> Result<(f64, f64), CellError> {
            let (mut areas, mut weight) = (Vec::new(), 0.0);
            for ((reference, logs), solved) in references.iter().zip(&logs).zip(&solved) {
                let scores = reading.score(reference, logs)?;
                let total: f64 = scores.weights.iter().sum();
                let slots: f64 = reference.slots.iter().map(|&slot| scores.weights[slot]).sum();
                weight += if total > 0.0 { slots / total } else { 0.0 };
                if solved.contains(&true) && solved.contains(&false) {
                    areas.push(auroc(&scores.rewards, solved)?);
                }
            }
            // Where no group has both kinds nothing can be told: chance.
            let n = areas.len() as f64;
            let mean = if areas.is_empty() { 0.5 } else { areas.iter().sum::<f64>() / n };
            Ok((mean, weight / questions as f64))
        };
        for (at, (_, reading)) in READINGS.iter().enumerate() {
            let (told, on_slot) = told(*reading)?;
            by_length[at].push(told);
            on_slots[at].push(on_slot);
        }
        if fillers == LENGTHS[LENGTHS.len() - 1] {
            let sweep = OMEGAS.iter().map(|omega| told(Reading::R3 { omega: *omega }));
            let sweep = sweep.collect::<Result<Vec<_>, _>>()?;
            metrics = metrics
                .series(&AREA_BY_OMEGA, sweep.iter().map(|(area, _)| *area).collect::<Vec<_>>())
                .series(&WEIGHT_BY_OMEGA, sweep.iter().map(|(_, w)| *w).collect::<Vec<_>>());
        }
    }
    for (((name, _), areas), weights) in READINGS.iter().zip(by_length).zip(on_slots) {
        metrics = metrics.series(&area(name), areas).series(&weight(name), weights);
    }
    Ok(metrics)
}

/// Reads rewards off the references of an arm's questions, under the frozen reference model.
struct Judge<'a> {
    arm: &'a DilutionArm,
    model: Decoder,
    vocabulary: Vocabulary,
    streams: &'a Streams,
    filter: Option<SpreadFilter>,
    /// By step: the share of chains that are right, and their mean number of tokens.
    seen: Vec<(f64, f64)>,
}

impl Judge<'_> {
    fn questions(&self, step: u64) -> Vec<(Question, Reference)> {
        let mut stream = self.streams.stream("questions", &[step]);
        let draw = |_| {
            let question = Question::draw(&mut stream);
            let reference = question.reference(self.arm.fillers, &mut stream);
            (question, reference)
        };
        (0..self.arm.trainer.prompts_per_step).map(draw).collect()
    }
}

impl Environment for Judge<'_> {
    type Error = CellError;

    fn prompts(&mut self, step: u64, _attempt: u64) -> Result<Vec<Prompt>, CellError> {
        let questions = self.questions(step);
        Ok(questions.iter().map(|(question, _)| question.prompt(&self.vocabulary)).collect())
    }

    fn decode(&self, tokens: &[u32]) -> String {
        self.vocabulary.decode(tokens)
    }

    fn grade(&mut self, groups: &[Group], step: u64) -> Result<Vec<Grade>, CellError> {
        let questions = self.questions(step);
        let mut parts = Vec::with_capacity(groups.len());
        for group in groups {
            let read = |text: &String| Ok(thought(&self.vocabulary.encode(text)?).to_vec());
            let thoughts: Result<Vec<_>, CellError> = group.completions.iter().map(read).collect();
            parts.push(thoughts?);
        }
        let prompt = |(question, _): &(Question, Reference)| question.prompt(&self.vocabulary);
        let prompts: Vec<Prompt> = questions.iter().map(prompt).collect();
        let groups: Vec<_> = prompts
            .iter()
            .zip(&questions)
            .zip(parts)
            .map(|((prompt, (_, reference)), thoughts)| {
                (prompt.tokens.as_slice(), reference, thoughts)
            })
            .collect();
        let logs = after_thoughts(&self.model, &groups)?;
        let mut grades = Vec::new();
        let (mut right, mut tokens, mut count) = (0.0, 0.0, 0.0);
        for (((question, reference), logs), (_, _, thoughts)) in
            questions.iter().zip(&logs).zip(&groups)
        {
            let scores = self.arm.reading.score(reference, logs)?;
            let passes = match &mut self.filter {
                Some(filter) => filter.passes(&scores.spreads)?,
                None => true,
            };
            for (reward, thought) in scores.rewards.iter().zip(thoughts) {
                right += f64::from(u8::from(question.solved_by(thought)));
                tokens += thought.len() as f64;
                count += 1.0;
                let reward = if passes {
                    Score::finite(*reward)
                } else {
                    Score::Abstained("no token of the reference varies enough".into())
                };
                grades.push(Grade { reward, correct: None });
            }
        }
        self.seen.push((right / count, tokens / count));
        Ok(grades)
    }
}

/// Trains a policy's chains of thought by a reward from references, under the base as the frozen
/// reference model.
pub(super) fn train(
    arm: &DilutionArm,
    base: &Checkpoint,
    streams: &Streams,
    device: &Device,
) -> Result<Metrics, CellError> {
    let mut judge = Judge {
        arm,
        model: base.decoder(&device.clone().without_autodiff())?,
        vocabulary: vocabulary(),
        streams,
        filter: arm.filter.map(Check::check).transpose()?,
        seen: Vec::new(),
    };
    let objective = ObjectiveConfig { kl: None, ..Objective::grpo().config() }.check()?;
    let settings = arm.trainer.clone().check()?;
    let policy = base.decoder(device)?;
    let mut trainer = Trainer::new(policy, objective, settings, streams.child("training", &[]));
    trainer.train_until(arm.steps as u64, &mut judge)?;
    let (accuracy, lengths): (Vec<f64>, Vec<f64>) = judge.seen.into_iter().unzip();
    let last = accuracy.len().div_ceil(5);
    let tail = |series: &[f64]| series[series.len() - last..].iter().sum::<f64>() / last as f64;
    Ok(Metrics::new()
        .scalar(&ACCURACY, tail(&accuracy))
        .scalar(&THOUGHT, tail(&lengths))
        .scalar(&STEPS_TO_80, steps_to(0.8, &accuracy) as f64)
        .series(&TRAINING_ACCURACY, accuracy)
        .series(&TRAINING_TOKENS, lengths))
}

/// The first step after which the mean of eight steps is at least `level`; all steps where it never
/// is.
fn steps_to(level: f64, accuracy: &[f64]) -> usize {
    const SPAN: usize = 8;
    let reached = accuracy.windows(SPAN).position(|w| w.iter().sum::<f64>() / SPAN as f64 >= level);
    reached.map_or(accuracy.len(), |at| at + SPAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_to_the_end_of_the_first_span_that_reaches_the_level() {
        let curve: Vec<f64> = (0..40).map(|step| if step < 10 { 0.2 } else { 1.0 }).collect();
        // Six of eight steps at 1 and two at 0.2 make 0.8.
        assert_eq!(steps_to(0.8, &curve), 16);
        assert_eq!(steps_to(0.8, &[0.5; 40]), 40);
        assert_eq!(steps_to(0.8, &[]), 0);
    }
}
