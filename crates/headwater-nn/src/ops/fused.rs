//! The operations as functions of slices: where shapes meet kernels.

use std::sync::Arc;

use headwater_kernels as kernels;
use headwater_kernels::{
    Activation, AttentionKept, AttentionShape, AttentionWeights, DenseLayer, ExpertLayer,
    FeedForwardKept, FeedForwardWeights, MlpKept, MmdEstimator, MmoeKept, MmoeWeights, Rotary,
    SamplePair, Scored, ScoresKept, SparseRows, Tree,
};

use super::host::{Gradient, HostOp};

/// Inputs: embedding.
#[derive(Debug)]
pub(super) struct Embed {
    pub(super) tokens: Vec<usize>,
    pub(super) width: usize,
}

impl HostOp<1> for Embed {
    type Kept = ();

    fn keeping(&self, [embedding]: [&[f32]; 1], _wanted: [bool; 1]) -> (Vec<f32>, ()) {
        (kernels::embed(embedding, self.width, &self.tokens), ())
    }

    fn backward(
        &self,
        [embedding]: [&[f32]; 1],
        (): &(),
        gradient: &mut [f32],
        _wanted: [bool; 1],
    ) -> [Gradient; 1] {
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
    type Kept = ();

    fn keeping(&self, [weights]: [&[f32]; 1], _wanted: [bool; 1]) -> (Vec<f32>, ()) {
        (kernels::sparse_product(&self.rows, weights, self.channels), ())
    }

    fn backward(
        &self,
        [weights]: [&[f32]; 1],
        (): &(),
        gradient: &mut [f32],
        _wanted: [bool; 1],
    ) -> [Gradient; 1] {
        let (rows, channels) = (&self.rows, self.channels);
        let width = weights.len() / channels;
        [Gradient::New(kernels::sparse_product_backward(rows, gradient, width, channels))]
    }
}

/// Inputs: x, gain.
#[derive(Debug)]
pub(super) struct RmsNorm {
    pub(super) epsilon: f32,
}

impl HostOp<2> for RmsNorm {
    type Kept = ();

    fn keeping(&self, [x, gain]: [&[f32]; 2], _wanted: [bool; 2]) -> (Vec<f32>, ()) {
        (kernels::rms_norm(x, gain, self.epsilon), ())
    }

    fn backward(
        &self,
        [x, gain]: [&[f32]; 2],
        (): &(),
        gradient: &mut [f32],
        _wanted: [bool; 2],
    ) -> [Gradient; 2] {
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
    type Kept = AttentionKept;

    fn forward(&self, [x, weights @ ..]: [&[f32]; 6]) -> Vec<f32> {
        let Self { shape, rotary, trees } = self;
        kernels::attention(shape, rotary, attention_weights(weights), trees, x)
    }

    fn keeping(
        &self,
        [x, weights @ ..]: [&[f32]; 6],
        _wanted: [bool; 6],
    ) -> (Vec<f32>, AttentionKept) {
        let Self { shape, rotary, trees } = self;
        kernels::attention_keeping(shape, rotary, attention_weights(weights), trees, x)
    }

    fn backward(
        &self,
        [x, weights @ ..]: [&[f32]; 6],
        kept: &AttentionKept,
        gradient: &mut [f32],
        _wanted: [bool; 6],
    ) -> [Gradient; 6] {
        let Self { shape, rotary, trees } = self;
        let weights = attention_weights(weights);
        let sums = kernels::attention_backward(shape, rotary, weights, trees, x, kept, gradient);
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
    type Kept = FeedForwardKept;

    fn forward(&self, [x, weights @ ..]: [&[f32]; 5]) -> Vec<f32> {
        kernels::feed_forward(self.weights(weights), x)
    }

    fn keeping(
        &self,
        [x, weights @ ..]: [&[f32]; 5],
        _wanted: [bool; 5],
    ) -> (Vec<f32>, FeedForwardKept) {
        kernels::feed_forward_keeping(self.weights(weights), x)
    }

    fn backward(
        &self,
        [x, weights @ ..]: [&[f32]; 5],
        kept: &FeedForwardKept,
        gradient: &mut [f32],
        _wanted: [bool; 5],
    ) -> [Gradient; 5] {
        let sums = kernels::feed_forward_backward(self.weights(weights), x, kept, gradient);
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
    type Kept = ScoresKept;

    fn keeping(&self, inputs: [&[f32]; 2], _wanted: [bool; 2]) -> (Vec<f32>, ScoresKept) {
        kernels::token_scores(&self.scored(inputs), &self.targets)
    }

    fn backward(
        &self,
        inputs: [&[f32]; 2],
        kept: &ScoresKept,
        gradient: &mut [f32],
        _wanted: [bool; 2],
    ) -> [Gradient; 2] {
        let scored = self.scored(inputs);
        let (hidden, embedding) =
            kernels::token_scores_backward(&scored, &self.targets, kept, gradient);
        [Gradient::New(hidden), Gradient::New(embedding)]
    }
}

/// Inputs: hidden and embedding of p, hidden and embedding of q. Result `[rows]`.
#[derive(Debug)]
pub(super) struct Divergence {
    pub(super) widths: [usize; 2],
    /// Every row, of both sides.
    pub(super) at: Vec<usize>,
    pub(super) temperature: f32,
}

impl Divergence {
    fn sides<'a>(&'a self, inputs: [&'a [f32]; 4]) -> [Scored<'a>; 2] {
        let Self { widths, at, temperature } = self;
        [0, 1].map(|side| Scored {
            hidden: inputs[2 * side],
            embedding: inputs[2 * side + 1],
            width: widths[side],
            at,
            temperature: *temperature,
        })
    }
}

impl HostOp<4> for Divergence {
    type Kept = ();

    fn keeping(&self, inputs: [&[f32]; 4], _wanted: [bool; 4]) -> (Vec<f32>, ()) {
        let [p, q] = self.sides(inputs);
        (kernels::divergence(&p, &q), ())
    }

    fn backward(
        &self,
        inputs: [&[f32]; 4],
        (): &(),
        gradient: &mut [f32],
        _wanted: [bool; 4],
    ) -> [Gradient; 4] {
        let [p, q] = self.sides(inputs);
        let (p, q) = kernels::divergence_backward(&p, &q, gradient);
        [p.0, p.1, q.0, q.1].map(Gradient::New)
    }
}

/// Inputs: x, weights, bias.
#[derive(Debug)]
pub(super) struct Dense {
    pub(super) activation: Activation,
}

impl Dense {
    fn layer<'a>(&self, [weights, bias]: [&'a [f32]; 2]) -> DenseLayer<'a> {
        DenseLayer { weights, bias, activation: self.activation }
    }
}

impl HostOp<3> for Dense {
    type Kept = MlpKept;

    fn forward(&self, [x, layer @ ..]: [&[f32]; 3]) -> Vec<f32> {
        kernels::mlp(&[self.layer(layer)], x)
    }

    fn keeping(&self, [x, layer @ ..]: [&[f32]; 3], _wanted: [bool; 3]) -> (Vec<f32>, MlpKept) {
        kernels::mlp_keeping(&[self.layer(layer)], x)
    }

    fn backward(
        &self,
        [x, layer @ ..]: [&[f32]; 3],
        kept: &MlpKept,
        gradient: &mut [f32],
        wanted: [bool; 3],
    ) -> [Gradient; 3] {
        let mut dx = wanted[0].then(|| vec![0.0; x.len()]);
        let layer = [self.layer(layer)];
        let mut sums = kernels::mlp_backward(&layer, x, kept, gradient, dx.as_deref_mut());
        let sums = sums.pop().expect("one layer, one gradient");
        [dx, Some(sums.weights), Some(sums.bias)].map(Gradient::of)
    }
}

/// Inputs: x, first weights and bias, second weights and bias, gates. Result `[rows, tasks, width]`.
#[derive(Debug)]
pub(super) struct MixtureOfExperts {
    pub(super) experts: usize,
    /// `[rows][tasks][experts]`: false where a gate drops an expert.
    pub(super) keep: Option<Vec<bool>>,
}

impl MixtureOfExperts {
    fn with<T>(
        &self,
        [first, first_bias, second, second_bias, gates]: [&[f32]; 5],
        run: impl FnOnce(MmoeWeights<'_>, Option<&[bool]>) -> T,
    ) -> T {
        let layers = [
            ExpertLayer { weights: first, bias: first_bias },
            ExpertLayer { weights: second, bias: second_bias },
        ];
        let weights = MmoeWeights { experts: self.experts, layers: &layers, gates };
        run(weights, self.keep.as_deref())
    }
}

impl HostOp<6> for MixtureOfExperts {
    type Kept = MmoeKept;

    fn forward(&self, [x, weights @ ..]: [&[f32]; 6]) -> Vec<f32> {
        self.with(weights, |weights, keep| kernels::mmoe(weights, x, keep))
    }

    fn keeping(&self, [x, weights @ ..]: [&[f32]; 6], _wanted: [bool; 6]) -> (Vec<f32>, MmoeKept) {
        self.with(weights, |weights, keep| kernels::mmoe_keeping(weights, x, keep))
    }

    fn backward(
        &self,
        [x, weights @ ..]: [&[f32]; 6],
        kept: &MmoeKept,
        gradient: &mut [f32],
        wanted: [bool; 6],
    ) -> [Gradient; 6] {
        let mut dx = wanted[0].then(|| vec![0.0; x.len()]);
        let sums = self.with(weights, |weights, _| {
            kernels::mmoe_backward(weights, x, kept, gradient, dx.as_deref_mut())
        });
        let layers: [_; 2] = sums.layers.try_into().expect("two layers, two gradients");
        let [first, second] = layers.map(|layer| (layer.weights, layer.bias));
        let sums = [first.0, first.1, second.0, second.1, sums.gates].map(Gradient::New);
        let [first, first_bias, second, second_bias, gates] = sums;
        [Gradient::of(dx), first, first_bias, second, second_bias, gates]
    }
}

/// Inputs: x, y. Result `[1]`.
#[derive(Debug)]
pub(super) struct MmdSquared {
    pub(super) width: usize,
    pub(super) bandwidths: Vec<f32>,
    pub(super) estimator: MmdEstimator,
}

impl HostOp<2> for MmdSquared {
    /// Gradients of x and y that are wanted: they come with the value, from the same tiles.
    type Kept = [Option<Vec<f32>>; 2];

    fn forward(&self, [x, y]: [&[f32]; 2]) -> Vec<f32> {
        let samples = SamplePair { x, y, width: self.width };
        vec![kernels::mmd_squared(samples, &self.bandwidths, self.estimator) as f32]
    }

    fn keeping(&self, [x, y]: [&[f32]; 2], wanted: [bool; 2]) -> (Vec<f32>, Self::Kept) {
        let Self { width, ref bandwidths, estimator } = *self;
        // The statistic is symmetric.
        let of_one = |x, y| {
            let samples = SamplePair { x, y, width };
            kernels::mmd_squared_gradient_of_x(samples, bandwidths, estimator)
        };
        let (value, gradients) = match wanted {
            [true, false] => {
                let (value, dx) = of_one(x, y);
                (value, [Some(dx), None])
            }
            [false, true] => {
                let (value, dy) = of_one(y, x);
                (value, [None, Some(dy)])
            }
            _ => {
                let samples = SamplePair { x, y, width };
                let (value, dx, dy) =
                    kernels::mmd_squared_gradients(samples, bandwidths, estimator);
                (value, [Some(dx), Some(dy)])
            }
        };
        (vec![value as f32], gradients)
    }

    fn backward(
        &self,
        _inputs: [&[f32]; 2],
        kept: &Self::Kept,
        gradient: &mut [f32],
        _wanted: [bool; 2],
    ) -> [Gradient; 2] {
        let outer = gradient[0];
        let scaled = |side: &Vec<f32>| side.iter().map(|v| outer * v).collect();
        kept.each_ref().map(|side| Gradient::of(side.as_ref().map(scaled)))
    }
}
