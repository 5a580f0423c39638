//! A scalar judge: one score per candidate, trained on pairs by the Bradley-Terry likelihood.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use headwater_core::PAD;
use headwater_nn::{AdamW, Decoder, SequenceBatch};

use crate::{RewardModelError, bradley_terry_loss};

/// A decoder whose hidden state at the last token gives a score. It reads one candidate at a time, so its
/// preferences are transitive and have no place; asked again it says the same.
#[derive(Module, Debug)]
pub struct ScalarJudge {
    body: Decoder,
    head: Param<Tensor<2>>,
}

/// Two candidates to the same question, as token sequences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidatePair {
    /// The preferred one.
    pub chosen: Vec<u32>,
    /// The other.
    pub rejected: Vec<u32>,
}

impl ScalarJudge {
    /// A judge on the given body with a head of zeros, which scores everything 0; trainable where the body is on
    /// an autodiff device.
    #[must_use]
    pub fn new(body: Decoder) -> Self {
        let width = body.shape().width;
        let zeros = TensorData::new(vec![0.0f32; width], [width, 1]);
        Self { head: Param::from_data(zeros, &body.device()), body }
    }

    /// One AdamW step at `rate` times the learning rate on the mean of
    /// `-log sigmoid(score(chosen) - score(rejected))`; returns that loss before the step.
    ///
    /// # Errors
    /// No pairs, a sequence that does not fit the body, or a loss or gradient that is not finite.
    pub fn step(
        &mut self,
        optimizer: &mut AdamW,
        pairs: &[CandidatePair],
        rate: f64,
    ) -> Result<f64, RewardModelError> {
        if pairs.is_empty() {
            return Err(RewardModelError::Empty);
        }
        let chosen = pairs.iter().map(|pair| pair.chosen.as_slice());
        let rejected = pairs.iter().map(|pair| pair.rejected.as_slice());
        let scores = self.scores(chosen.chain(rejected))?;
        let [chosen, rejected] =
            [0, 1].map(|half| scores.clone().narrow(0, half * pairs.len(), pairs.len()));
        Ok(optimizer.minimise(self, bradley_terry_loss(chosen, rejected), rate)?)
    }

    /// Scores of token sequences, one each; only their differences within a question mean something.
    ///
    /// # Errors
    /// A sequence that is empty, longer than the context less one, or holds a token outside the vocabulary.
    pub fn score(&self, inputs: &[Vec<u32>]) -> Result<Vec<f64>, RewardModelError> {
        let judge = self.valid();
        let mut scores = Vec::with_capacity(inputs.len());
        for chunk in inputs.chunks(256) {
            let values = judge.scores(chunk.iter().map(Vec::as_slice))?.try_into_vec_as::<f32>();
            let values = values.expect("every float tensor here is f32");
            scores.extend(values.into_iter().map(f64::from));
        }
        Ok(scores)
    }

    /// Scores `[sequences, 1]`. What a decoder predicts the next token from is the hidden state at the last
    /// one, whatever the next token is: here it is padding.
    fn scores<'a>(
        &self,
        inputs: impl Iterator<Item = &'a [u32]>,
    ) -> Result<Tensor<2>, RewardModelError> {
        let batch = SequenceBatch::new(inputs.map(|input| (input, &[PAD][..])), self.body.shape())?;
        let width = self.body.shape().width;
        let hidden = batch.hidden(&self.body).reshape([batch.sequences(), width]);
        Ok(hidden.matmul(self.head.val()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::{Check, Streams};
    use headwater_nn::{AdamWConfig, DecoderConfig, Device};

    #[test]
    fn learns_which_of_two_repeats_the_question_and_says_the_same_in_any_company() {
        let config = DecoderConfig { vocabulary: 12, context: 4, ..DecoderConfig::default() };
        let mut stream = Streams::new(4).stream("weights", &[]);
        let device = Device::flex().autodiff();
        let shape = config.check().unwrap();
        let mut judge = ScalarJudge::new(Decoder::initialise(&shape, &mut stream, &device));
        let mut optimizer =
            AdamW::new(AdamWConfig { learning_rate: 3e-3, ..Default::default() }.check().unwrap());
        let pairs: Vec<CandidatePair> = (3..12)
            .flat_map(|q| (3..12).filter(move |other| *other != q).map(move |other| (q, other)))
            .map(|(q, other)| CandidatePair { chosen: vec![q, q], rejected: vec![q, other] })
            .collect();
        let first = judge.step(&mut optimizer, &pairs, 1.0).unwrap();
        assert!((first - 2f64.ln()).abs() < 1e-6, "a head of zeros has no preference: {first}");
        for _ in 0..150 {
            judge.step(&mut optimizer, &pairs, 1.0).unwrap();
        }
        let chosen: Vec<Vec<u32>> = pairs.iter().map(|pair| pair.chosen.clone()).collect();
        let rejected: Vec<Vec<u32>> = pairs.iter().map(|pair| pair.rejected.clone()).collect();
        let (good, bad) = (judge.score(&chosen).unwrap(), judge.score(&rejected).unwrap());
        assert!(good.iter().zip(&bad).all(|(g, b)| g > b));
        assert_eq!(judge.score(&chosen[7..8]).unwrap()[0], good[7]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let config = DecoderConfig { vocabulary: 5, context: 4, ..DecoderConfig::default() };
        let mut stream = Streams::new(4).stream("weights", &[]);
        let device = Device::flex().autodiff();
        let shape = config.check().unwrap();
        let mut judge = ScalarJudge::new(Decoder::initialise(&shape, &mut stream, &device));
        for bad in [vec![], vec![1; 4], vec![5]] {
            assert!(judge.score(&[bad]).is_err());
        }
        let mut optimizer = AdamW::new(AdamWConfig::default().check().unwrap());
        assert_eq!(judge.step(&mut optimizer, &[], 1.0), Err(RewardModelError::Empty));
    }
}
