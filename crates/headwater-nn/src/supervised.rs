//! Supervised (maximum-likelihood) training on prompt and completion pairs.

use std::collections::HashMap;
use std::f64::consts::PI;
use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};
use headwater_core::{Example, PAD, require};
use tracing::{info, info_span};

use crate::ops::plain::log_distribution;
use crate::ops::{TokenScores, Tree, require_temperature};
use crate::sampler::check_tokens;
use crate::weights::host_values;
use crate::{AdamW, Decoder, DecoderShape, NnError};

/// Prompt-completion pairs, packed: no padding is read, and a prompt that several pairs begin with is read once. A pair's
/// numbers are the same bits whatever other pairs are beside it.
///
/// What is computed per token is computed for the tokens of *completions*: prompts have no column in per-token
/// tensors, which are padded on the right to the longest completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceBatch {
    /// Tokens per completion, `[sequences]`.
    pub lengths: Vec<usize>,
    /// Tokens of the longest completion: the width of the per-token tensors.
    pub width: usize,
    /// Tokens read: of each tree its prompt and then its completions, each without its last token.
    inputs: Vec<u32>,
    /// How `inputs` are laid out.
    trees: Arc<[Tree]>,
    /// Rows of `inputs` that predict something, ascending.
    predicting: Vec<usize>,
    /// Which of `predicting` predicts each target, `[sequences][width]`; the first, on padding.
    predicted_by: Vec<usize>,
    /// The tokens of the completions, `[sequences][width]`.
    targets: Vec<u32>,
}

impl SequenceBatch {
    /// Packs pairs of (prompt, completion).
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
        let width = pairs.iter().map(|(_, c)| c.len()).max().unwrap_or(0);
        let mut batch = Self {
            lengths: pairs.iter().map(|(_, completion)| completion.len()).collect(),
            width,
            inputs: Vec::new(),
            trees: Arc::new([]),
            predicting: Vec::new(),
            predicted_by: vec![0; pairs.len() * width],
            targets: vec![PAD; pairs.len() * width],
        };
        let mut trees = Vec::new();
        for (prompt, rows) in by_prompt(&pairs) {
            batch.inputs.extend(prompt);
            // The last token of the prompt predicts the first one of every completion.
            let first = batch.predicting.len();
            batch.predicting.push(batch.inputs.len() - 1);
            let mut branches = Vec::with_capacity(rows.len());
            for row in rows {
                let completion = pairs[row].1;
                let read = &completion[..completion.len() - 1];
                let next = batch.predicting.len()..batch.predicting.len() + read.len();
                let by = std::iter::once(first).chain(next);
                for (column, (token, by)) in completion.iter().zip(by).enumerate() {
                    batch.targets[row * width + column] = *token;
                    batch.predicted_by[row * width + column] = by;
                }
                batch.predicting.extend(batch.inputs.len()..batch.inputs.len() + read.len());
                batch.inputs.extend(read);
                branches.push(read.len());
            }
            // One completion is worked off faster as one sequence, and is the same bits.
            trees.push(match branches[..] {
                [alone] => Tree::sequence(prompt.len() + alone),
                _ => Tree { trunk: prompt.len(), branches },
            });
        }
        batch.trees = trees.into();
        Ok(batch)
    }

    /// Number of sequences.
    #[must_use]
    pub fn sequences(&self) -> usize {
        self.lengths.len()
    }

    /// Hidden states of the tokens that predict something, `[tokens, model width]`, and which of them predicts
    /// each completion token, `[sequences * width]` (any, on padding).
    fn read(&self, decoder: &Decoder) -> (Tensor<2>, Tensor<1, Int>) {
        let device = decoder.device();
        let inputs = integers(self.inputs.iter().map(|t| i64::from(*t)), &device);
        let hidden = decoder.hidden_at(inputs, &self.trees, &self.predicting);
        (hidden, integers(self.predicted_by.iter().map(|by| *by as i64), &device))
    }

    /// Hidden states that predict the completion tokens, `[sequences, width, model width]`; on padding
    /// they mean nothing.
    pub fn hidden(&self, decoder: &Decoder) -> Tensor<3> {
        let (hidden, by) = self.read(decoder);
        hidden.select(0, by).reshape([self.sequences(), self.width, decoder.shape().width])
    }

    /// Log-probability and entropy of every completion token under `decoder` at `temperature`, each
    /// `[sequences, width]`; on padding they mean nothing.
    ///
    /// # Panics
    /// When the temperature is not above 0.
    pub fn scores(&self, decoder: &Decoder, temperature: f64) -> TokenScores<2> {
        let (hidden, by) = self.read(decoder);
        let shape = [self.sequences(), self.width];
        let targets = self.targets(&decoder.device()).reshape([shape[0] * shape[1]]);
        let scores = decoder.score_hidden(hidden, by, targets, temperature);
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
    ///
    /// # Panics
    /// When the temperature is not above 0.
    pub fn log_distributions(&self, decoder: &Decoder, temperature: f64) -> Tensor<3> {
        require_temperature(temperature);
        log_distribution(decoder.read_out(self.hidden(decoder)), temperature)
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

/// The pairs of every prompt, prompts in the order in which they first occur.
fn by_prompt<'a>(pairs: &[(&'a [u32], &'a [u32])]) -> Vec<(&'a [u32], Vec<usize>)> {
    let mut seen = HashMap::new();
    let mut all: Vec<(_, Vec<_>)> = Vec::new();
    for (row, (prompt, _)) in pairs.iter().enumerate() {
        let at = *seen.entry(*prompt).or_insert(all.len());
        if at == all.len() {
            all.push((*prompt, Vec::new()));
        }
        all[at].1.push(row);
    }
    all
}

fn integers(values: impl Iterator<Item = i64>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

/// Mean negative log-likelihood per completion token, a tensor of one element.
///
/// # Panics
/// When the batch has no sequences.
pub fn supervised_loss(decoder: &Decoder, batch: &SequenceBatch) -> Tensor<1> {
    assert!(batch.sequences() > 0, "a batch without sequences has no mean");
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
/// No examples, examples that do not fit the decoder, or a loss or gradient that is not finite.
pub fn supervised_step(
    decoder: &mut Decoder,
    optimizer: &mut AdamW,
    examples: &[Example],
    rate: f64,
) -> Result<f64, NnError> {
    require(!examples.is_empty(), "supervised_step", "examples", 0, "1 or more")?;
    let pairs = examples.iter().map(|e| (e.prompt.as_slice(), e.completion.as_slice()));
    let batch = SequenceBatch::new(pairs, decoder.shape())?;
    let loss = supervised_loss(decoder, &batch);
    optimizer.minimise(decoder, loss, rate)
}

/// How the learning rate goes over supervised training: a linear rise, then a fall to 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Optimiser steps in all.
    pub steps: usize,
    /// Steps over which the rate rises linearly from 0; 0 and 1 for none.
    pub warmup: usize,
    /// How it falls, from the first step on.
    pub decay: Decay,
}

/// How a learning rate falls from 1 to 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decay {
    /// In equal parts.
    Linear,
    /// Half a cosine.
    Cosine,
}

impl Schedule {
    /// A rise over the first tenth of the steps, times half a cosine.
    #[must_use]
    pub fn cosine(steps: usize) -> Self {
        Self { steps, warmup: steps / 10, decay: Decay::Cosine }
    }

    /// Factor of the learning rate at `step` (from 0): in [0, 1].
    #[must_use]
    pub fn rate(&self, step: usize) -> f64 {
        let rise = ((step + 1) as f64 / self.warmup.max(1) as f64).min(1.0);
        let (step, steps) = (step as f64, self.steps as f64);
        rise * match self.decay {
            Decay::Linear => 1.0 - step / steps,
            Decay::Cosine => 0.5 * (1.0 + (PI * step / steps).cos()),
        }
    }
}

/// Supervised training by a schedule, on the examples that `draw` gives for each step (from 0);
/// returns the loss before every step.
///
/// # Errors
/// What `draw` returns; otherwise as [`supervised_step`].
pub fn supervised_training<E: From<NnError>>(
    decoder: &mut Decoder,
    optimizer: &mut AdamW,
    schedule: Schedule,
    mut draw: impl FnMut(usize) -> Result<Vec<Example>, E>,
) -> Result<Vec<f64>, E> {
    let mut losses = Vec::with_capacity(schedule.steps);
    for step in 0..schedule.steps {
        let _span = info_span!("supervised_step", step).entered();
        let loss = supervised_step(decoder, optimizer, &draw(step)?, schedule.rate(step))?;
        info!(loss, "step taken");
        losses.push(loss);
    }
    Ok(losses)
}

#[cfg(test)]
mod tests {
    use headwater_core::Check;

    use super::*;
    use crate::DecoderConfig;

    #[test]
    fn rates_rise_and_fall_to_nearly_nothing() {
        let linear = Schedule { steps: 10, warmup: 2, decay: Decay::Linear };
        let rates: Vec<f64> = (0..10).map(|step| linear.rate(step)).collect();
        assert_eq!(rates[..3], [0.5, 0.9, 0.8]);
        assert_eq!(rates[5], 0.5);
        let cosine = Schedule::cosine(40);
        assert_eq!((cosine.rate(0), cosine.rate(20)), (0.25, 0.5));
        assert!(cosine.rate(39) > 0.0 && cosine.rate(39) < 0.002);
        assert_eq!(Schedule { warmup: 0, ..linear }.rate(0), 1.0);
    }

    #[test]
    fn a_prompt_in_common_is_read_once_and_nothing_is_padded() {
        let shape = DecoderConfig::default().check().expect("the defaults are valid");
        let pairs: [(&[u32], &[u32]); 4] =
            [(&[5, 6, 7], &[8, 9, 2]), (&[4], &[3, 2]), (&[5, 6, 7], &[2]), (&[5, 6, 7], &[9, 2])];
        let batch = SequenceBatch::new(pairs, &shape).expect("pairs fit");
        assert_eq!(batch.inputs, [5, 6, 7, 8, 9, 9, 4, 3]);
        let trees = [Tree { trunk: 3, branches: vec![2, 0, 1] }, Tree::sequence(2)];
        assert_eq!(batch.trees[..], trees);
        // Row by row the token that predicts: the last one of the prompt, then the one before.
        assert_eq!(batch.predicting, [2, 3, 4, 5, 6, 7]);
        assert_eq!(batch.predicted_by, [0, 1, 2, 4, 5, 0, 0, 0, 0, 0, 3, 0]);
        assert_eq!(batch.targets[..3], [8, 9, 2]);
    }
}
