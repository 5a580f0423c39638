//! The operations as ordinary tensor operations: what runs on every device but the CPU backend, and what the
//! fused ones are tested against. Shapes as in the functions of the same name one level up.

use burn::module::Param;
use burn::tensor::activation::{log_softmax, silu, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};
use headwater_kernels::{Rotary, SparseRows, Tree};

use super::{Attention, FeedForward, TokenScores};
use crate::shape::DecoderShape;

/// Rows of the embedding `[vocabulary, width]` for `tokens` `[tokens]`.
pub fn embed(embedding: Tensor<2>, tokens: Tensor<1, Int>) -> Tensor<2> {
    embedding.select(0, tokens)
}

/// Root-mean-square norm (Zhang & Sennrich 2019) of the rows of x `[tokens, width]`.
pub fn rms_norm(x: Tensor<2>, gain: Tensor<1>, epsilon: f64) -> Tensor<2> {
    let scale = x.clone().square().mean_dim(1).add_scalar(epsilon).sqrt();
    x / scale * gain.unsqueeze()
}

/// The sequences of trees, each with the whole of its trunk, padded on the right to one length.
struct Padded {
    /// Sequences and positions.
    dims: [usize; 2],
    /// The token at each position, `[sequences * positions]`; any one on padding.
    tokens: Vec<i64>,
    /// For each token one place in `tokens`, `[tokens]`.
    places: Vec<i64>,
}

impl Padded {
    fn new(trees: &[Tree]) -> Self {
        let positions = trees.iter().map(Tree::positions).max().unwrap_or(0);
        let mut padded = Self { dims: [0, positions], tokens: Vec::new(), places: Vec::new() };
        for tree in trees {
            let trunk = padded.places.len()..padded.places.len() + tree.trunk;
            padded.places.extend((0..tree.trunk).map(|at| (padded.tokens.len() + at) as i64));
            for rows in if tree.branches.is_empty() { &[0] } else { &tree.branches[..] } {
                let (first, start) = (padded.places.len(), padded.tokens.len());
                let branch = first..first + rows;
                padded.places.extend((0..*rows).map(|at| (start + tree.trunk + at) as i64));
                padded.tokens.extend(trunk.clone().chain(branch).map(|token| token as i64));
                padded.dims[0] += 1;
                padded.tokens.resize(padded.dims[0] * positions, 0);
            }
        }
        padded
    }
}

/// The rows `at` of x.
fn rows(x: Tensor<2>, at: Vec<i64>) -> Tensor<2> {
    let (count, device) = (at.len(), x.device());
    x.select(0, Tensor::from_data(TensorData::new(at, [count]), &device))
}

/// Rotary tables and causal mask on a device, for one length.
struct Positions {
    /// `[1, 1, positions, head width / 2]`.
    cosine: Tensor<4>,
    /// `[1, 1, positions, head width / 2]`.
    sine: Tensor<4>,
    /// `[1, 1, positions, positions]`: 0 where attention is allowed, a large negative number elsewhere.
    causal: Tensor<4>,
}

impl Positions {
    fn new(tables: &Rotary, positions: usize, shape: &DecoderShape, device: &Device) -> Self {
        let half = shape.head_width() / 2;
        let table = |values: &[f32]| {
            let values = values[..positions * half].to_vec();
            Tensor::from_data(TensorData::new(values, [1, 1, positions, half]), device)
        };
        let causal: Vec<f32> = (0..positions * positions)
            .map(|i| if i % positions > i / positions { -1e9 } else { 0.0 })
            .collect();
        let causal = TensorData::new(causal, [1, 1, positions, positions]);
        Self {
            cosine: table(tables.cosine()),
            sine: table(tables.sine()),
            causal: Tensor::from_data(causal, device),
        }
    }

    /// Turns the pairs (i, i + half) of each head; `x` is `[sequences, heads, positions, head width]`.
    fn turn(&self, x: Tensor<4>) -> Tensor<4> {
        let half = x.dims()[3] / 2;
        let (first, second) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
        let (cosine, sine) = (self.cosine.clone(), self.sine.clone());
        Tensor::cat(
            vec![
                first.clone() * cosine.clone() - second.clone() * sine.clone(),
                second * cosine + first * sine,
            ],
            3,
        )
    }
}

/// The attention half block with its norm and residual; `x` is `[tokens, width]`, laid out as `trees`.
pub fn attention(
    x: Tensor<2>,
    weights: &Attention,
    tables: &Rotary,
    trees: &[Tree],
    shape: &DecoderShape,
) -> Tensor<2> {
    let Padded { dims: [sequences, positions], tokens, places } = Padded::new(trees);
    let rotary = Positions::new(tables, positions, shape, &x.device());
    let head_width = shape.head_width();
    let normed = rows(rms_norm(x.clone(), weights.norm.val(), shape.norm_epsilon), tokens);
    let split = |weight: &Param<Tensor<2>>, heads: usize| {
        normed
            .clone()
            .matmul(weight.val())
            .reshape([sequences, positions, heads, head_width])
            .swap_dims(1, 2)
    };
    let query = rotary.turn(split(&weights.query, shape.heads));
    let key = rotary.turn(split(&weights.key, shape.key_value_heads));
    let value = split(&weights.value, shape.key_value_heads);
    let (key, value) = (share_heads(key, shape), share_heads(value, shape));

    let scale = 1.0 / (head_width as f64).sqrt();
    let scores = query.matmul(key.swap_dims(2, 3)).mul_scalar(scale) + rotary.causal.clone();
    let mixed = softmax(scores, 3).matmul(value).swap_dims(1, 2);
    let mixed = rows(mixed.reshape([sequences * positions, shape.width]), places);
    x + mixed.matmul(weights.output.val())
}

/// Repeats each key or value head for the query heads that share it (Ainslie et al. 2023).
fn share_heads(x: Tensor<4>, shape: &DecoderShape) -> Tensor<4> {
    let groups = shape.heads / shape.key_value_heads;
    if groups == 1 {
        return x;
    }
    let [sequences, heads, positions, head_width] = x.dims();
    x.unsqueeze_dim::<5>(2).expand([sequences, heads, groups, positions, head_width]).reshape([
        sequences,
        heads * groups,
        positions,
        head_width,
    ])
}

/// The feed-forward half block, `x + (silu(n W_gate) * n W_up) W_down` with n the normed x (Shazeer 2020).
pub fn feed_forward(x: Tensor<2>, weights: &FeedForward, epsilon: f64) -> Tensor<2> {
    let normed = rms_norm(x.clone(), weights.norm.val(), epsilon);
    let gate = silu(normed.clone().matmul(weights.gate.val()));
    x + (gate * normed.matmul(weights.up.val())).matmul(weights.down.val())
}

/// Log-probabilities of the whole vocabulary, `[rows, vocabulary]`.
fn log_probs(hidden: Tensor<2>, embedding: Tensor<2>, temperature: f64) -> Tensor<2> {
    log_distribution(hidden.matmul(embedding.transpose()), temperature)
}

/// Log-probabilities over the last dimension of logits, at a temperature above 0.
///
/// A small temperature divides what is left of the logits without their largest, so that nothing
/// overflows and no difference loses its digits.
pub(crate) fn log_distribution<const D: usize>(logits: Tensor<D>, temperature: f64) -> Tensor<D> {
    if temperature >= COLD {
        return log_softmax(logits.div_scalar(temperature), D - 1);
    }
    let top = logits.clone().detach().max_dim(D - 1);
    let scaled = (logits - top).div_scalar(temperature.max(COLDEST)).clamp_min(-1e37);
    log_softmax(scaled, D - 1)
}

/// At temperatures below this, logits of a usual size are too coarse once they are divided.
const COLD: f64 = 0.1;

/// Small enough to be the limit; its inverse is far from the end of f32.
const COLDEST: f64 = 1e-30;

/// Log-probability of targets and entropy of the next-token distribution, for the rows `at` of `hidden`.
pub fn token_scores(
    hidden: Tensor<2>,
    at: Tensor<1, Int>,
    embedding: Tensor<2>,
    targets: Tensor<1, Int>,
    temperature: f64,
) -> TokenScores {
    let rows = targets.dims()[0];
    let log_probs = log_probs(hidden.select(0, at), embedding, temperature);
    let entropy = (log_probs.clone().exp() * log_probs.clone()).sum_dim(1).neg();
    let chosen = log_probs.gather(1, targets.reshape([rows, 1]));
    TokenScores { log_probs: chosen.reshape([rows]), entropy: entropy.reshape([rows]) }
}

/// Sparse rows times weights, the rows written out.
pub fn sparse_matmul(rows: &SparseRows, weights: Tensor<2>) -> Tensor<2> {
    let width = weights.dims()[0];
    let mut dense = vec![0.0f32; rows.len() * width];
    for (row, entries) in dense.chunks_exact_mut(width).zip(rows.rows()) {
        entries.for_each(|(column, value)| row[column as usize] += value);
    }
    let dense = TensorData::new(dense, [rows.len(), width]);
    Tensor::<2>::from_data(dense, &weights.device()).matmul(weights)
}
