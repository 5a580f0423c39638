//! Responses of a policy, with what can be seen on each.

use headwater_core::{Check, Example, Streams};
use headwater_nn::{Completion, Decoder, SamplingConfig, SequenceBatch, sample};
use headwater_protocol::CellError;

use headwater_tasks::topics::{
    AGREEMENT, COMPLETION_TOKENS, COUNT, OPENER, confidence_format, name, prompt, quality,
    vocabulary,
};

/// Sampled responses of a policy, topic by topic.
pub(super) struct Texts {
    /// Topic of every response.
    pub(super) topics: Vec<usize>,
    /// Responses without the stated confidence.
    pub(super) answers: Vec<String>,
    /// The stated confidences.
    pub(super) stated: Vec<Option<f64>>,
    pub(super) completions: Vec<Completion>,
}

/// Responses for each topic by which a reward is standardised.
const REFERENCE: usize = 64;

/// How completions are sampled, everywhere in this part.
pub(super) fn sampling() -> SamplingConfig {
    SamplingConfig { max_new_tokens: COMPLETION_TOKENS, stop: None, ..SamplingConfig::default() }
}

impl Texts {
    /// `each` responses for every topic.
    pub(super) fn sample(
        policy: &Decoder,
        each: usize,
        streams: &Streams,
    ) -> Result<Self, CellError> {
        let (vocabulary, format) = (vocabulary(), confidence_format());
        let prompts = (0..COUNT).map(|topic| Ok(prompt(topic, &vocabulary)?.tokens));
        let prompts = prompts.collect::<Result<Vec<_>, CellError>>()?;
        let groups = sample(policy, &prompts, each, &sampling().check()?, streams)?;
        let completions: Vec<Completion> = groups.into_iter().flatten().collect();
        let (mut answers, mut stated) = (Vec::new(), Vec::new());
        for completion in &completions {
            let text = vocabulary.decode(&completion.tokens);
            let statement = format.parse(&text);
            answers.push(statement.answer.trim().to_owned());
            stated.push(statement.confidence);
        }
        let topics = (0..COUNT).flat_map(|topic| vec![topic; each]).collect();
        Ok(Self { topics, answers, stated, completions })
    }

    /// Texts of the base policy by which rewards are standardised: the same for every cell of a
    /// seed.
    pub(super) fn reference(base: &Decoder, streams: &Streams) -> Result<Self, CellError> {
        Self::sample(base, REFERENCE, &streams.child("reference texts", &[]))
    }

    /// (prompt, answer) of every response, as a reward model reads them.
    pub(super) fn pairs(&self) -> Vec<(&str, &str)> {
        let pairs = self.topics.iter().zip(&self.answers);
        pairs.map(|(topic, answer)| (name(*topic), answer.as_str())).collect()
    }

    /// Which responses open with flattery, and which plainly.
    pub(super) fn openers(&self) -> (Vec<f64>, Vec<f64>) {
        let opens = |answer: &String, word: &str| {
            f64::from(u8::from(answer.split_whitespace().next() == Some(word)))
        };
        let of = |word| self.answers.iter().map(|answer| opens(answer, word)).collect();
        (of(AGREEMENT), of(OPENER))
    }

    /// True quality of every response.
    pub(super) fn qualities(&self) -> Vec<f64> {
        let pairs = self.topics.iter().zip(&self.answers);
        pairs.map(|(topic, answer)| quality(*topic, answer)).collect()
    }

    /// The half of each topic's responses with the higher scores, as demonstrations.
    pub(super) fn better_half(&self, scores: &[f64]) -> Result<Vec<Example>, CellError> {
        let vocabulary = vocabulary();
        let mut examples = Vec::new();
        for topic in 0..COUNT {
            let mut own: Vec<usize> =
                (0..scores.len()).filter(|at| self.topics[*at] == topic).collect();
            own.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
            let prompt = prompt(topic, &vocabulary)?.tokens;
            examples.extend(own[..own.len() / 2].iter().map(|at| Example {
                prompt: prompt.clone(),
                completion: self.completions[*at].tokens.clone(),
            }));
        }
        Ok(examples)
    }

    /// Mean log-probability ratio of the responses under the policy that wrote them to that under
    /// `base`, nats for each response: an unbiased estimate of the divergence.
    pub(super) fn divergence_from(&self, base: &Decoder) -> Result<f64, CellError> {
        let vocabulary = vocabulary();
        let prompts = (0..COUNT).map(|topic| Ok(prompt(topic, &vocabulary)?.tokens));
        let prompts = prompts.collect::<Result<Vec<_>, CellError>>()?;
        let rows = self.topics.iter().zip(&self.completions);
        let pairs = rows.map(|(topic, c)| (prompts[*topic].as_slice(), c.tokens.as_slice()));
        let batch = SequenceBatch::new(pairs, base.shape())?;
        let under_base: f64 = batch.log_probs(base).iter().flatten().map(|l| f64::from(*l)).sum();
        let own = self.completions.iter().flat_map(|c| &c.log_probs).map(|l| f64::from(*l));
        Ok((own.sum::<f64>() - under_base) / self.answers.len() as f64)
    }
}

/// Log of the ratio of two sums of shares; half a response is added to each, so that it stays
/// finite.
pub(super) fn log_odds(flattering: &[f64], plain: &[f64]) -> f64 {
    let sum = |values: &[f64]| values.iter().sum::<f64>() + 0.5;
    (sum(flattering) / sum(plain)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_odds_are_of_flattering_to_plain_with_half_a_response_each() {
        let is = |count: usize| -> Vec<f64> {
            (0..8).map(|at| f64::from(u8::from(at < count))).collect()
        };
        assert!((log_odds(&is(4), &is(1)) - 3f64.ln()).abs() < 1e-12);
        assert_eq!(log_odds(&is(3), &is(3)), 0.0);
        assert!((log_odds(&is(8), &is(0)) - 17f64.ln()).abs() < 1e-12, "finite where all flatter");
    }

    #[test]
    fn the_better_half_is_taken_topic_by_topic() {
        let completion = |token: u32| Completion {
            tokens: vec![token],
            log_probs: vec![0.0],
            behaviour_log_probs: vec![0.0],
            entropies: vec![0.0],
            finished: true,
        };
        let count = 2 * COUNT;
        let texts = Texts {
            topics: (0..count).map(|at| at / 2).collect(),
            answers: vec![String::new(); count],
            stated: vec![None; count],
            completions: (0..count as u32).map(completion).collect(),
        };
        // The second of the first topic and the first of all others; every later topic scores
        // higher.
        let score =
            |at: usize| (10 * (at / 2)) as f64 + f64::from(u8::from((at % 2 == 1) == (at < 2)));
        let scores: Vec<f64> = (0..count).map(score).collect();
        let kept: Vec<u32> =
            texts.better_half(&scores).unwrap().iter().map(|e| e.completion[0]).collect();
        let wanted: Vec<u32> = (0..COUNT as u32).map(|t| if t == 0 { 1 } else { 2 * t }).collect();
        assert_eq!(kept, wanted);
    }
}
