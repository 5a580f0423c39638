//! The operations as functions of slices: where shapes meet kernels.

use std::sync::Arc;

use headwater_kernels as kernels;
use headwater_kernels::{
    AttentionSaved, AttentionShape, AttentionWeights, FeedForwardSaved, FeedForwardWeights, Rotary,
    Scored, ScoresSaved, SparseRows, Tree,
};

use super::host::{Gradient, HostOp};

/// Inputs: embedding.
#[derive(Debug)]
pub(super) struct Embed {
    pub(super) tokens: Vec<usize>,
    pub(super) width: usize,
}

impl HostOp<1> for Embed {
    type Saved = ();

    fn saving(&self, [embedding]: [&[f32]; 1]) -> (Vec<f32>, ()) {
        (kernels::embed(embedding, self.width, &self.tokens), ())
    }

    fn backward(&self, [embedding]: [&[f32]; 1], (): &(), gradient: &mut [f32]) -> [Gradient; 1] {
        let rows = embedding.len() / self.width;
        [Gradient::New(kernels::embed_backward(rows, self.width, &self.tokens, gradient))]
    }
}

/// Inputs: weights.
#[derive(Debug)]
pub(super) struct SparseProduct {
    pub(super) rows: SparseRows,
    pub(super) channels: usize,
}

impl HostOp<1> for SparseProduct {
    type Saved = ();

    fn saving(&self, [weights]: [&[f32]; 1]) -> (Vec<f32>, ()) {
        (kernels::sparse_matmul(&self.rows, weights, self.channels), ())
    }

    fn backward(&self, [weights]: [&[f32]; 1], (): &(), gradient: &mut [f32]) -> [Gradient; 1] {
        let (rows, channels) = (&self.rows, self.channels);
        let width = weights.len() / channels;
        [Gradient::New(kernels::sparse_matmul_backward(rows, gradient, width, channels))]
    }
}

/// Inputs: x, gain.
#[derive(Debug)]
pub(super) struct RmsNorm {
    pub(super) epsilon: f32,
}

impl HostOp<2> for RmsNorm {
    type Saved = ();

    fn saving(&self, [x, gain]: [&[f32]; 2]) -> (Vec<f32>, ()) {
        (kernels::rms_norm(x, gain, self.epsilon), ())
    }

    fn backward(&self, [x, gain]: [&[f32]; 2], (): &(), gradient: &mut [f32]) -> [Gradient; 2] {
        let (dx, dgain) = kernels::rms_norm_backward(x, gain, self.epsilon, gradient);
        [Gradient::New(dx), Gradient::New(dgain)]
    }
}

/// Inputs: x, norm, query, key, value, output.
#[derive(Debug)]
pub(super) struct Attention {
    pub(super) shape: AttentionShape,
    pub(super) rotary: Arc<Rotary>,
    pub(super) trees: Arc<[Tree]>,
}

fn attention_weights([norm, query, key, value, output]: [&[f32]; 5]) -> AttentionWeights<'_> {
    AttentionWeights { norm, query, key, value, output }
}

impl HostOp<6> for Attention {
    type Saved = AttentionSaved;

    fn forward(&self, [x, weights @ ..]: [&[f32]; 6]) -> Vec<f32> {
        let Self { shape, rotary, trees } = self;
        kernels::attention(shape, rotary, attention_weights(weights), trees, x)
    }

    fn saving(&self, [x, weights @ ..]: [&[f32]; 6]) -> (Vec<f32>, AttentionSaved) {
        let Self { shape, rotary, trees } = self;
        kernels::attention_saving(shape, rotary, attention_weights(weights), trees, x)
    }

    fn backward(
        &self,
        [x, weights @ ..]: [&[f32]; 6],
        saved: &AttentionSaved,
        gradient: &mut [f32],
    ) -> [Gradient; 6] {
        let Self { shape, rotary, trees } = self;
        let weights = attention_weights(weights);
        let sums = kernels::attention_backward(shape, rotary, weights, trees, x, saved, gradient);
        let [norm, query, key, value, output] =
            [sums.norm, sums.query, sums.key, sums.value, sums.output].map(Gradient::New);
        [Gradient::InPlace, norm, query, key, value, output]
    }
}

/// Inputs: x, norm, gate, up, down.
#[derive(Debug)]
pub(super) struct FeedForward {
    pub(super) epsilon: f32,
}

impl FeedForward {
    fn weights<'a>(&self, [norm, gate, up, down]: [&'a [f32]; 4]) -> FeedForwardWeights<'a> {
        FeedForwardWeights { norm, gate, up, down, epsilon: self.epsilon }
    }
}

impl HostOp<5> for FeedForward {
    type Saved = FeedForwardSaved;

    fn forward(&self, [x, weights @ ..]: [&[f32]; 5]) -> Vec<f32> {
        kernels::feed_forward(self.weights(weights), x)
    }

    fn saving(&self, [x, weights @ ..]: [&[f32]; 5]) -> (Vec<f32>, FeedForwardSaved) {
        kernels::feed_forward_saving(self.weights(weights), x)
    }

    fn backward(
        &self,
        [x, weights @ ..]: [&[f32]; 5],
        saved: &FeedForwardSaved,
        gradient: &mut [f32],
    ) -> [Gradient; 5] {
        let sums = kernels::feed_forward_backward(self.weights(weights), x, saved, gradient);
        let [norm, gate, up, down] = [sums.norm, sums.gate, sums.up, sums.down].map(Gradient::New);
        [Gradient::InPlace, norm, gate, up, down]
    }
}

/// Inputs: hidden, embedding. Result `[rows, 2]`: log-probability, entropy.
#[derive(Debug)]
pub(super) struct TokenScores {
    pub(super) width: usize,
    pub(super) at: Vec<usize>,
    pub(super) targets: Vec<usize>,
    pub(super) temperature: f32,
}

impl TokenScores {
    fn scored<'a>(&'a self, [hidden, embedding]: [&'a [f32]; 2]) -> Scored<'a> {
        let Self { width, at, temperature, .. } = self;
        Scored { hidden, embedding, width: *width, at, temperature: *temperature }
    }
}

impl HostOp<2> for TokenScores {
    type Saved = ScoresSaved;

    fn saving(&self, inputs: [&[f32]; 2]) -> (Vec<f32>, ScoresSaved) {
        kernels::token_scores(&self.scored(inputs), &self.targets)
    }

    fn backward(
        &self,
        inputs: [&[f32]; 2],
        saved: &ScoresSaved,
        gradient: &mut [f32],
    ) -> [Gradient; 2] {
        let scored = self.scored(inputs);
        let (hidden, embedding) =
            kernels::token_scores_backward(&scored, &self.targets, saved, gradient);
        [Gradient::New(hidden), Gradient::New(embedding)]
    }
}
