//! A policy as its own verifier: the same decoder reads question, answer and a query, and says right or wrong in one
//! token.
//!
//! What it learns to say is trained on a limited set of labelled answers like any other text, so that its
//! true and false positive rates are measured and never set. This is the multiple-choice verification of Song et al.
//! 2024 (arXiv 2412.02674): the probability of `right` among the two verdicts.

use burn::module::Module;
use headwater_core::{Example, require};
use headwater_evaluation::decision::sigmoid;
use headwater_nn::{Decoder, SequenceBatch};

use crate::SelfImprovementError;

/// The three tokens of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerificationFormat {
    /// What asks for a verdict on what stands before it.
    pub query: u32,
    /// The verdict on a right answer.
    pub right: u32,
    /// The verdict on a wrong answer.
    pub wrong: u32,
}

/// Sequences scored in one forward pass: memory, not mathematics.
const SEQUENCES: usize = 1024;

impl VerificationFormat {
    /// What the verifier reads: prompt, answer, query.
    fn question(&self, prompt: &[u32], answer: &[u32]) -> Vec<u32> {
        [prompt, answer, &[self.query]].concat()
    }

    /// A labelled answer as a demonstration of the right verdict.
    #[must_use]
    pub fn example(&self, prompt: &[u32], answer: &[u32], is_right: bool) -> Example {
        let verdict = if is_right { self.right } else { self.wrong };
        Example { prompt: self.question(prompt, answer), completion: vec![verdict] }
    }

    /// The self-score of each (prompt, answer): probability in [0, 1] that `verifier` says `right`, given that it says
    /// one of the two verdicts. At 1/2 and above the greedy verdict is `right`.
    ///
    /// # Errors
    /// Verdicts that are the same token, or tokens and lengths that do not fit the verifier.
    pub fn scores<'a>(
        &self,
        verifier: &Decoder,
        answers: impl IntoIterator<Item = (&'a [u32], &'a [u32])>,
    ) -> Result<Vec<f64>, SelfImprovementError> {
        let differ = self.right != self.wrong;
        require(differ, "VerificationFormat", "wrong", self.wrong, "a token other than `right`")?;
        let verifier = verifier.valid();
        let vocabulary = verifier.shape().vocabulary;
        let target = [self.right.max(self.wrong)];
        let questions: Vec<Vec<u32>> =
            answers.into_iter().map(|(prompt, answer)| self.question(prompt, answer)).collect();
        let mut scores = Vec::with_capacity(questions.len());
        for chunk in questions.chunks(SEQUENCES) {
            let pairs = chunk.iter().map(|question| (question.as_slice(), &target[..]));
            let batch = SequenceBatch::new(pairs, verifier.shape())?;
            let log_probs = batch.log_distributions(&verifier, 1.0).try_into_vec_as::<f32>();
            let log_probs = log_probs.expect("every float tensor here is f32");
            scores.extend(log_probs.chunks(vocabulary).map(|row| {
                sigmoid(f64::from(row[self.right as usize] - row[self.wrong as usize]))
            }));
        }
        Ok(scores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::{Check, Streams};
    use headwater_nn::{DecoderConfig, Device};

    const FORMAT: VerificationFormat = VerificationFormat { query: 7, right: 8, wrong: 9 };

    fn verifier() -> Decoder {
        let config =
            DecoderConfig { vocabulary: 10, width: 16, context: 8, ..DecoderConfig::default() };
        let mut weights = Streams::new(5).stream("weights", &[]);
        Decoder::initialise(&config.check().unwrap(), &mut weights, &Device::flex())
    }

    #[test]
    fn a_score_is_the_share_of_right_among_the_verdicts() {
        let verifier = verifier();
        let answers: [(&[u32], &[u32]); 2] = [(&[3, 4], &[5]), (&[4], &[5, 6])];
        let scores = FORMAT.scores(&verifier, answers).unwrap();
        for ((prompt, answer), score) in answers.into_iter().zip(scores) {
            // The independent way: the likelihood of the two demonstrations.
            let [right, wrong] = [true, false].map(|is_right| {
                let Example { prompt, completion } = FORMAT.example(prompt, answer, is_right);
                let pair = [(prompt.as_slice(), completion.as_slice())];
                let batch = SequenceBatch::new(pair, verifier.shape()).unwrap();
                f64::from(batch.log_probs(&verifier)[0][0]).exp()
            });
            approx::assert_abs_diff_eq!(score, right / (right + wrong), epsilon = 1e-6);
        }
    }

    #[test]
    fn verdicts_that_cannot_be_told_apart_are_an_error() {
        let format = VerificationFormat { wrong: 8, ..FORMAT };
        let error = format.scores(&verifier(), [(&[3][..], &[4][..])]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "VerificationFormat.wrong = 8: allowed is a token other than `right`"
        );
    }
}
