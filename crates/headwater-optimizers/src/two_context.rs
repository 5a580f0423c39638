//! Two-context scoring: the same response under a plain and under an informed prompt, over the full
//! vocabulary.
//!
//! Hindsight distillation and self-distillation are both this, with different second prompts. The
//! response is one list of token ids scored twice; it is never decoded and tokenised again.
//! Releases that do that get rows of unequal length and pad log-probabilities with 0, which reads
//! as a teacher that is certain, hence as an advantage of `-log pi_old > 0` on tokens that do not
//! exist.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use headwater_nn::{Decoder, DecoderShape, SequenceBatch};

use crate::{OptimizerError, TokenRows, mask_from_lengths};

/// Responses of `n` rows, padded to `t` tokens, under two prompts each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwoContexts {
    plain: SequenceBatch,
    informed: SequenceBatch,
}

impl TwoContexts {
    /// Rows of (plain prompt, informed prompt, response). A row nothing is known about beyond its
    /// prompt has the plain prompt twice: under one model its two scores are the same bits.
    ///
    /// # Errors
    /// An empty prompt or response, either prompt with the response longer than the context, a
    /// token outside the vocabulary.
    pub fn new<'a>(
        rows: impl IntoIterator<Item = (&'a [u32], &'a [u32], &'a [u32])>,
        shape: &DecoderShape,
    ) -> Result<Self, OptimizerError> {
        let rows: Vec<_> = rows.into_iter().collect();
        let plain = rows.iter().map(|(plain, _, response)| (*plain, *response));
        let informed = rows.iter().map(|(_, informed, response)| (*informed, *response));
        Ok(Self {
            plain: SequenceBatch::new(plain, shape)?,
            informed: SequenceBatch::new(informed, shape)?,
        })
    }

    /// Tokens per response, `[n]`.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        &self.plain.lengths
    }

    /// `t`: tokens of the longest response.
    #[must_use]
    pub fn width(&self) -> usize {
        self.plain.width
    }

    /// 1 on tokens of the responses, 0 on padding, `[n, t]`.
    #[must_use]
    pub fn mask(&self, device: &Device) -> Tensor<2> {
        mask_from_lengths(self.lengths(), self.width(), device)
            .expect("the width is that of the longest response")
    }

    /// The tokens of the responses, `[n, t]`.
    #[must_use]
    pub fn targets(&self, device: &Device) -> Tensor<2, Int> {
        self.plain.targets(device)
    }

    /// Log-probabilities of every next token under the plain prompts, `[n, t, vocabulary]`, tracked
    /// for gradients where `policy` is; on padding they mean nothing.
    #[must_use]
    pub fn student(&self, policy: &Decoder, temperature: f64) -> Tensor<3> {
        self.plain.log_distributions(policy, temperature)
    }

    /// The same under the informed prompts, never tracked. Any decoder with the shape's vocabulary
    /// and context may teach: the policy itself, a frozen copy, one that [follows](crate::ema_update)
    /// it.
    #[must_use]
    pub fn teacher(&self, teacher: &Decoder, temperature: f64) -> Tensor<3> {
        self.informed.log_distributions(&teacher.valid(), temperature)
    }

    /// Log-probabilities of the responses' own tokens on the host: under `student` and the plain
    /// prompts, and under `teacher` and the informed ones.
    #[must_use]
    pub fn log_probs(
        &self,
        student: &Decoder,
        teacher: &Decoder,
        temperature: f64,
    ) -> (TokenRows, TokenRows) {
        let score = |batch: &SequenceBatch, decoder: &Decoder| {
            self.rows(batch.scores(&decoder.valid(), temperature).log_probs)
        };
        (score(&self.plain, student), score(&self.informed, teacher))
    }

    /// A tensor `[n, t]` on the host, without its padding.
    #[must_use]
    pub fn rows(&self, tokens: Tensor<2>) -> TokenRows {
        let padded = tokens.inner().try_into_vec_as::<f32>();
        let padded = padded.expect("every float tensor here is f32");
        let rows = padded.chunks(self.width().max(1)).zip(self.lengths());
        rows.map(|(row, length)| row[..*length].iter().map(|x| f64::from(*x)).collect()).collect()
    }
}

/// The log-probabilities `[n, t]` of `targets` `[n, t]` in whole distributions `[n, t, v]`.
#[must_use]
pub fn at_targets(log_distributions: Tensor<3>, targets: Tensor<2, Int>) -> Tensor<2> {
    log_distributions.gather(2, targets.unsqueeze_dim(2)).squeeze_dim(2)
}
