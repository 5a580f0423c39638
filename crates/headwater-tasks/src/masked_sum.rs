//! Sums with an uncertain operand, so that the best possible accuracy and confidence are known.
//!
//! The prompt `3+4C` shows two digits and a reliability level. The second operand is the digit
//! shown with the level's probability p, and each of the nine other digits with probability
//! (1-p)/9. Nobody who sees only the prompt can do better than to answer with the sum shown, and to
//! be sure of it to degree p.
//!
//! The answer is two digits and a stated confidence: `07@0.6`.

use headwater_core::{Example, Prompt, StreamRng, Untokenizable, Vocabulary};
use headwater_rewards::{ConfidenceFormat, ConfidencePlace, ConfidenceScale};
use rand::RngExt;

/// Reliability levels: the letter in the prompt and the probability that the digit shown is true.
pub const LEVELS: [(char, f64); 5] = [('A', 1.0), ('B', 0.8), ('C', 0.6), ('D', 0.4), ('E', 0.2)];

/// Tokens of every completion: two digits and a confidence.
pub const COMPLETION_TOKENS: usize = 3;

/// Confidences that can be stated: 0, 0.1, ..., 1.
pub const CONFIDENCES: usize = 11;

/// One question with its hidden truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskedSum {
    /// The operand that is always true.
    pub first: u32,
    /// The digit shown as second operand.
    pub shown: u32,
    /// Index into [`LEVELS`].
    pub level: usize,
    /// The second operand as it really is.
    pub hidden: u32,
}

/// The vocabulary of the task.
#[must_use]
pub fn vocabulary() -> Vocabulary {
    let digits = (0..10).map(|d| d.to_string());
    let levels = LEVELS.iter().map(|(letter, _)| letter.to_string());
    let confidences = (0..CONFIDENCES).map(confidence_text);
    Vocabulary::words(digits.chain(["+".to_string()]).chain(levels).chain(confidences))
}

/// How the stated confidence is read.
#[must_use]
pub fn confidence_format() -> ConfidenceFormat {
    ConfidenceFormat {
        place: ConfidencePlace::AfterMarker("@".into()),
        scale: ConfidenceScale::Unit,
    }
}

fn confidence_text(bin: usize) -> String {
    format!("@{:.1}", bin as f64 / (CONFIDENCES - 1) as f64)
}

impl MaskedSum {
    /// A question of the given prompt with its truth drawn.
    #[must_use]
    pub fn draw_truth(first: u32, shown: u32, level: usize, stream: &mut StreamRng) -> Self {
        let hidden = if stream.random::<f64>() < LEVELS[level].1 {
            shown
        } else {
            (shown + stream.random_range(1..10)) % 10
        };
        Self { first, shown, level, hidden }
    }

    /// A question drawn at random, its level uniformly from `levels` (indices into [`LEVELS`]).
    #[must_use]
    pub fn draw(levels: &[usize], stream: &mut StreamRng) -> Self {
        let (first, shown) = (stream.random_range(0..10), stream.random_range(0..10));
        let level = levels[stream.random_range(0..levels.len())];
        Self::draw_truth(first, shown, level, stream)
    }

    /// What the policy reads.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}+{}{}", self.first, self.shown, LEVELS[self.level].0)
    }

    /// The true answer, two digits.
    #[must_use]
    pub fn answer(&self) -> String {
        format!("{:02}", self.first + self.hidden)
    }

    /// The question as a prompt with the true answer as its reference.
    ///
    /// # Errors
    /// Never for this task's own vocabulary.
    pub fn prompt(&self, vocabulary: &Vocabulary) -> Result<Prompt, Untokenizable> {
        let text = self.text();
        let tokens = vocabulary.encode(&text)?;
        Ok(Prompt { tokens, text, reference: Some(self.answer()) })
    }

    /// Probability that `answer` is right, given only the prompt: what an ideal judge would say.
    #[must_use]
    pub fn success_probability(&self, answer: &str) -> f64 {
        let reliability = LEVELS[self.level].1;
        match answer.parse::<u32>() {
            Ok(sum) if answer.len() == 2 && sum >= self.first && sum <= self.first + 9 => {
                let operand_is_shown = sum == self.first + self.shown;
                if operand_is_shown { reliability } else { (1.0 - reliability) / 9.0 }
            }
            _ => 0.0,
        }
    }

    /// An imperfect demonstration: the author knows the hidden operand, slips to a random sum with
    /// probability `slip`, and states the level's reliability with probability `informed`,
    /// otherwise full confidence, as one does who believes the digit shown.
    ///
    /// A policy that imitates it samples answers from the posterior, so that its likelihood is
    /// calibrated; what it states carries some information and is overconfident wherever something
    /// is uncertain.
    ///
    /// # Errors
    /// Never for this task's own vocabulary.
    pub fn demonstration(
        &self,
        (slip, informed): (f64, f64),
        vocabulary: &Vocabulary,
        stream: &mut StreamRng,
    ) -> Result<Example, Untokenizable> {
        let answer = if stream.random::<f64>() < slip {
            format!("{:02}", stream.random_range(0..19))
        } else {
            self.answer()
        };
        let confidence = if stream.random::<f64>() < informed { LEVELS[self.level].1 } else { 1.0 };
        let confidence = confidence_text((confidence * (CONFIDENCES - 1) as f64).round() as usize);
        Ok(Example {
            prompt: vocabulary.encode(&self.text())?,
            completion: vocabulary.encode(&format!("{answer}{confidence}"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Streams;

    #[test]
    fn success_probabilities_are_those_of_the_generator() {
        let mut stream = Streams::new(1).stream("truth", &[]);
        for (level, (_, reliability)) in LEVELS.iter().enumerate() {
            let draws: Vec<MaskedSum> =
                (0..4000).map(|_| MaskedSum::draw_truth(7, 5, level, &mut stream)).collect();
            let total: f64 =
                (0..100).map(|sum| draws[0].success_probability(&format!("{sum:02}"))).sum();
            assert!((total - 1.0).abs() < 1e-12);
            for answer in ["12", "07", "16", "06", "17", "99"] {
                let p = draws[0].success_probability(answer);
                let share = draws.iter().filter(|d| d.answer() == answer).count() as f64 / 4000.0;
                // Five standard errors.
                assert!((share - p).abs() <= 5.0 * (p * (1.0 - p) / 4000.0).sqrt());
            }
            assert_eq!(draws[0].success_probability("12"), *reliability);
        }
        let question = MaskedSum { first: 7, shown: 5, level: 1, hidden: 5 };
        assert_eq!(question.success_probability("7"), 0.0);
    }

    #[test]
    fn a_demonstration_is_read_back_as_answer_and_confidence() {
        let vocabulary = vocabulary();
        let question = MaskedSum { first: 2, shown: 5, level: 0, hidden: 5 };
        let mut stream = Streams::new(2).stream("demonstration", &[]);
        let example = question.demonstration((0.0, 0.5), &vocabulary, &mut stream).unwrap();
        assert_eq!(example.completion.len(), COMPLETION_TOKENS);
        let text = vocabulary.decode(&example.completion);
        let statement = confidence_format().parse(&text);
        assert_eq!(statement.answer, "07");
        assert!(statement.confidence.is_some());
    }
}
