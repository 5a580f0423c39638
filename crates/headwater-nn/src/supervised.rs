//! Supervised (maximum-likelihood) training on prompt and completion pairs.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::ops::TokenScores;
use crate::sampler::check_tokens;
use crate::tokenizer::PAD;
use crate::weights::host_values;
use crate::{AdamW, Decoder, DecoderShape, NnError};

/// One demonstration: the loss is taken on the completion only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Tokens the completion is conditioned on, at least one.
    pub prompt: Vec<u32>,
    /// Tokens to be learnt, at least one (usually ending in the end token).
    pub completion: Vec<u32>,
}

/// Prompt-completion pairs as padded host arrays, laid out by completion token.
///
/// Row i of `inputs` is `prompt ++ completion` without its last token. Column j of everything else is token
/// j of the *completion*: prompts have no column, so what is computed per token is computed for
/// completion tokens only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceBatch {
    /// Tokens per completion, `[sequences]`.
    pub lengths: Vec<usize>,
    /// Tokens of the longest completion: the width of the per-token tensors.
    pub width: usize,
    /// Padded length of `inputs`.
    positions: usize,
    /// Tokens read, `[sequences][positions]`.
    inputs: Vec<u32>,
    /// The tokens of the completions, `[sequences][width]`.
    targets: Vec<u32>,
    /// Flat index into `inputs` of the position that predicts each target.
    predicted_at: Vec<usize>,
}

impl SequenceBatch {
    /// Pads pairs of (prompt, completion) to one length.
    ///
    /// # Errors
    /// An empty prompt or completion, a pair longer than the context, a token outside the vocabulary.
    pub fn new<'a>(
        pairs: impl IntoIterator<Item = (&'a [u32], &'a [u32])>,
        shape: &DecoderShape,
    ) -> Result<Self, NnError> {
        let pairs: Vec<_> = pairs.into_iter().collect();
        for (prompt, completion) in &pairs {
            let length = prompt.len() + completion.len();
            for (what, part) in [("prompt", prompt), ("completion", completion)] {
                if part.is_empty() || length > shape.context {
                    let allowed =
                        format!("1 or more, prompt and completion together {}", shape.context);
                    return Err(NnError::Length { what, length: part.len(), allowed });
                }
                check_tokens(part, shape)?;
            }
        }
        let positions = pairs.iter().map(|(p, c)| p.len() + c.len() - 1).max().unwrap_or(0);
        let width = pairs.iter().map(|(_, c)| c.len()).max().unwrap_or(0);
        let mut batch = Self {
            lengths: pairs.iter().map(|(_, completion)| completion.len()).collect(),
            width,
            positions,
            inputs: vec![PAD; pairs.len() * positions],
            targets: vec![PAD; pairs.len() * width],
            predicted_at: vec![0; pairs.len() * width],
        };
        for (row, (prompt, completion)) in pairs.iter().enumerate() {
            let start = row * positions;
            let read = prompt.iter().chain(&completion[..completion.len() - 1]);
            for (input, token) in batch.inputs[start..].iter_mut().zip(read) {
                *input = *token;
            }
            for (column, token) in completion.iter().enumerate() {
                batch.targets[row * width + column] = *token;
                batch.predicted_at[row * width + column] = start + prompt.len() - 1 + column;
            }
        }
        Ok(batch)
    }

    /// Number of sequences.
    #[must_use]
    pub fn sequences(&self) -> usize {
        self.lengths.len()
    }

    /// Hidden states of every token read, `[sequences * positions, model width]`, and the rows of them that
    /// predict the completion tokens, `[sequences * width]` (any row, on padding).
    fn read(&self, decoder: &Decoder) -> (Tensor<2>, Tensor<1, Int>) {
        let device = decoder.device();
        let rows = [self.sequences(), self.positions];
        let inputs = integers(self.inputs.iter().map(|t| i64::from(*t)), &device);
        let hidden = decoder.hidden(inputs.reshape(rows));
        let at = integers(self.predicted_at.iter().map(|at| *at as i64), &device);
        (hidden.reshape([rows[0] * rows[1], decoder.shape().width]), at)
    }

    /// Hidden states that predict the completion tokens, `[sequences, width, model width]`; on padding
    /// they mean nothing.
    pub fn hidden(&self, decoder: &Decoder) -> Tensor<3> {
        let (hidden, at) = self.read(decoder);
        hidden.select(0, at).reshape([self.sequences(), self.width, decoder.shape().width])
    }

    /// Log-probability and entropy of every completion token under `decoder` at `temperature`, each
    /// `[sequences, width]`; on padding they mean nothing.
    pub fn scores(&self, decoder: &Decoder, temperature: f64) -> TokenScores<2> {
        let (hidden, at) = self.read(decoder);
        let shape = [self.sequences(), self.width];
        let targets = self.targets(&decoder.device()).reshape([shape[0] * shape[1]]);
        let scores = decoder.score_hidden(hidden, at, targets, temperature);
        TokenScores {
            log_probs: scores.log_probs.reshape(shape),
            entropy: scores.entropy.reshape(shape),
        }
    }

    /// The whole next-token distribution before every completion token, as log-probabilities at `temperature`,
    /// `[sequences, width, vocabulary]`; on padding they mean nothing.
    ///
    /// The vocabularies of the policies trained here are small; for the sampled token alone
    /// [`SequenceBatch::scores`] makes no tensor of this size.
    pub fn log_distributions(&self, decoder: &Decoder, temperature: f64) -> Tensor<3> {
        log_softmax(decoder.read_out(self.hidden(decoder)) / temperature, 2)
    }

    /// The completion tokens, `[sequences, width]`, padded with [`PAD`].
    pub fn targets(&self, device: &Device) -> Tensor<2, Int> {
        let targets = integers(self.targets.iter().map(|t| i64::from(*t)), device);
        targets.reshape([self.sequences(), self.width])
    }

    /// Log-probabilities of the completion tokens under `decoder` at temperature 1, on the host: one row for each
    /// sequence, as long as its completion.
    #[must_use]
    pub fn log_probs(&self, decoder: &Decoder) -> Vec<Vec<f32>> {
        let padded = host_values(self.scores(decoder, 1.0).log_probs.inner());
        let rows = padded.chunks(self.width.max(1)).zip(&self.lengths);
        rows.map(|(row, length)| row[..*length].to_vec()).collect()
    }
}

fn integers(values: impl Iterator<Item = i64>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

/// Mean negative log-likelihood per completion token, a tensor of one element.
pub fn supervised_loss(decoder: &Decoder, batch: &SequenceBatch) -> Tensor<1> {
    let tokens: usize = batch.lengths.iter().sum();
    let mut weights = vec![0.0f32; batch.sequences() * batch.width];
    for (row, length) in weights.chunks_mut(batch.width).zip(&batch.lengths) {
        row[..*length].fill(-1.0 / tokens as f32);
    }
    let log_probs = batch.scores(decoder, 1.0).log_probs;
    let weights = TensorData::new(weights, [batch.sequences(), batch.width]);
    let weights = Tensor::from_data(weights, &log_probs.device());
    (log_probs * weights).sum()
}

/// One AdamW step on `examples` at `rate` times the learning rate; returns the loss before the step.
///
/// # Errors
/// Examples that do not fit the decoder, or a loss or gradient that is not finite.
pub fn supervised_step(
    decoder: &mut Decoder,
    optimizer: &mut AdamW,
    examples: &[Example],
    rate: f64,
) -> Result<f64, NnError> {
    let pairs = examples.iter().map(|e| (e.prompt.as_slice(), e.completion.as_slice()));
    let batch = SequenceBatch::new(pairs, decoder.shape())?;
    let loss = supervised_loss(decoder, &batch);
    optimizer.minimise(decoder, loss, rate)
}
