//! The coarse operations a decoder is made of; the model calls nothing finer.
//!
//! On the CPU backend each is one fused kernel with a backward pass of its own; on other devices the body in
//! [`plain`] takes its place. The two agree in values and gradients to 1e-4 relative, and are tested to.

mod fused;
pub(crate) mod host;
pub mod plain;

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};
use headwater_kernels::Rotary;
pub use headwater_kernels::{SparseRows, Tree};

use crate::shape::DecoderShape;

/// Weights of an attention half block; matrices are `[in, out]`.
#[derive(Module, Debug)]
pub struct Attention {
    /// Gain of the norm, `[width]`.
    pub norm: Param<Tensor<1>>,
    /// `[width, width]`.
    pub query: Param<Tensor<2>>,
    /// `[width, key-value width]`.
    pub key: Param<Tensor<2>>,
    /// `[width, key-value width]`.
    pub value: Param<Tensor<2>>,
    /// `[width, width]`.
    pub output: Param<Tensor<2>>,
}

/// Weights of a feed-forward (SwiGLU) half block; matrices are `[in, out]`.
#[derive(Module, Debug)]
pub struct FeedForward {
    /// Gain of the norm, `[width]`.
    pub norm: Param<Tensor<1>>,
    /// `[width, hidden]`.
    pub gate: Param<Tensor<2>>,
    /// `[width, hidden]`.
    pub up: Param<Tensor<2>>,
    /// `[hidden, width]`.
    pub down: Param<Tensor<2>>,
}

/// Log-probability and entropy of target tokens under a decoder, of one shape.
#[derive(Debug, Clone)]
pub struct TokenScores<const D: usize = 1> {
    /// Natural log of the probability of the target token.
    pub log_probs: Tensor<D>,
    /// Entropy of the next-token distribution in nats.
    pub entropy: Tensor<D>,
}

/// Rows of the embedding `[vocabulary, width]` for `tokens` `[tokens]`: `[tokens, width]`.
pub fn embed(embedding: Tensor<2>, tokens: Tensor<1, Int>) -> Tensor<2> {
    let shape = [tokens.dims()[0], embedding.dims()[1]];
    let Some(inputs) = host::inputs([embedding.clone().into_dispatch()]) else {
        return plain::embed(embedding, tokens);
    };
    let op = fused::Embed { tokens: host::indices(tokens), width: shape[1] };
    Tensor::from_dispatch(host::apply(op, inputs, &shape))
}

/// Root-mean-square norm (Zhang & Sennrich 2019) of the rows of x `[tokens, width]`.
pub fn rms_norm(x: Tensor<2>, gain: Tensor<1>, epsilon: f64) -> Tensor<2> {
    let Some(inputs) = host::inputs([x.clone().into_dispatch(), gain.clone().into_dispatch()])
    else {
        return plain::rms_norm(x, gain, epsilon);
    };
    let op = fused::RmsNorm { epsilon: epsilon as f32 };
    Tensor::from_dispatch(host::apply(op, inputs, &x.dims()))
}

/// The attention half block with its norm and residual; `x` is `[tokens, width]`, laid out as `trees`. `rotary`
/// has at least as many positions as the longest sequence.
pub fn attention(
    x: Tensor<2>,
    weights: &Attention,
    rotary: &Arc<Rotary>,
    trees: &Arc<[Tree]>,
    shape: &DecoderShape,
) -> Tensor<2> {
    let Some(inputs) = host::inputs([
        x.clone().into_dispatch(),
        weights.norm.val().into_dispatch(),
        weights.query.val().into_dispatch(),
        weights.key.val().into_dispatch(),
        weights.value.val().into_dispatch(),
        weights.output.val().into_dispatch(),
    ]) else {
        return plain::attention(x, weights, rotary, trees, shape);
    };
    let (rotary, trees) = (Arc::clone(rotary), Arc::clone(trees));
    let op = fused::Attention { shape: shape.attention(), rotary, trees };
    Tensor::from_dispatch(host::apply(op, inputs, &x.dims()))
}

/// The feed-forward half block, `x + (silu(n W_gate) * n W_up) W_down` with n the normed x `[tokens, width]`
/// (Shazeer 2020).
pub fn feed_forward(x: Tensor<2>, weights: &FeedForward, epsilon: f64) -> Tensor<2> {
    let Some(inputs) = host::inputs([
        x.clone().into_dispatch(),
        weights.norm.val().into_dispatch(),
        weights.gate.val().into_dispatch(),
        weights.up.val().into_dispatch(),
        weights.down.val().into_dispatch(),
    ]) else {
        return plain::feed_forward(x, weights, epsilon);
    };
    let op = fused::FeedForward { epsilon: epsilon as f32 };
    Tensor::from_dispatch(host::apply(op, inputs, &x.dims()))
}

/// # Panics
/// When it is no number above 0.
pub(crate) fn require_temperature(temperature: f64) {
    assert!(temperature > 0.0, "temperature {temperature}: allowed is a number above 0");
}

/// Log-probability of `targets` `[rows]` and entropy of the distributions they are from, for the rows `at`
/// `[rows]` of the hidden states `[tokens, width]`, with the tied output embedding `[vocabulary, width]`.
///
/// # Panics
/// When the temperature is not above 0.
pub fn token_scores(
    hidden: Tensor<2>,
    at: Tensor<1, Int>,
    embedding: Tensor<2>,
    targets: Tensor<1, Int>,
    temperature: f64,
) -> TokenScores {
    require_temperature(temperature);
    let Some(inputs) =
        host::inputs([hidden.clone().into_dispatch(), embedding.clone().into_dispatch()])
    else {
        return plain::token_scores(hidden, at, embedding, targets, temperature);
    };
    let rows = targets.dims()[0];
    let op = fused::TokenScores {
        width: hidden.dims()[1],
        at: host::indices(at),
        targets: host::indices(targets),
        temperature: temperature as f32,
    };
    let both: Tensor<2> = Tensor::from_dispatch(host::apply(op, inputs, &[rows, 2]));
    let column = |at: usize| both.clone().narrow(1, at, 1).reshape([rows]);
    TokenScores { log_probs: column(0), entropy: column(1) }
}

/// Sparse rows times weights `[width, channels]`: `[rows, channels]`. Every column is below `width`.
pub fn sparse_matmul(rows: SparseRows, weights: Tensor<2>) -> Tensor<2> {
    let Some(inputs) = host::inputs([weights.clone().into_dispatch()]) else {
        return plain::sparse_matmul(&rows, weights);
    };
    let channels = weights.dims()[1];
    let shape = [rows.len(), channels];
    Tensor::from_dispatch(host::apply(fused::SparseProduct { rows, channels }, inputs, &shape))
}
