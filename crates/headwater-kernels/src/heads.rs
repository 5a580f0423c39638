//! Causal attention of one sequence, all heads.

use pulp::Simd;

use crate::buffer::Buffer;
use crate::matmul::{Into, Strided, product, transpose_rows};
use crate::simd::{arch, exp, largest, sum};

/// Sizes of an attention half.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Tokens per sequence.
    pub positions: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Query heads; divides `width`.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub key_value_heads: usize,
    /// Added to the mean square in the norm.
    pub epsilon: f32,
}

impl AttentionShape {
    pub(crate) fn head_width(&self) -> usize {
        self.width / self.heads
    }

    /// Width of the keys (and of the values) of all heads together.
    #[must_use]
    pub fn key_value_width(&self) -> usize {
        self.head_width() * self.key_value_heads
    }

    /// Sequences worked off together: about 256 tokens.
    pub(crate) fn chunk(&self) -> usize {
        (256 / self.positions).max(1)
    }
}

/// Query rows worked off together: what lies right of their last diagonal element is never computed.
const BLOCK: usize = 12;

/// `mixed` and `log_sums` from rotated queries and keys, and values.
pub(crate) fn attend(
    shape: &AttentionShape,
    mixed: &mut [f32],
    log_sums: &mut [f32],
    query: &[f32],
    key: &[f32],
    value: &[f32],
) {
    let (positions, width, narrow) = (shape.positions, shape.width, shape.key_value_width());
    let head_width = shape.head_width();
    let scale = 1.0 / (head_width as f32).sqrt();
    let mut turned = Buffer::any(head_width * positions);
    let mut scores = Buffer::any(BLOCK.min(positions) * positions);
    let sharing = shape.heads / shape.key_value_heads;
    for head in 0..shape.heads {
        let (at, shared) = (head * head_width, head / sharing * head_width);
        if head % sharing == 0 {
            transpose_rows(&mut turned, &key[shared..], narrow, (positions, head_width));
        }
        let sums = &mut log_sums[head * positions..(head + 1) * positions];
        for first in (0..positions).step_by(BLOCK) {
            let end = positions.min(first + BLOCK);
            let rows = end - first;
            let queries = Strided::rows(&query[first * width + at..], width);
            product(
                &mut scores,
                end,
                queries,
                &turned,
                positions,
                (rows, head_width, end),
                Into::Set,
            );
            softmax_rows(&mut scores[..rows * end], &mut sums[first..end], first, scale);
            product(
                &mut mixed[first * width + at..],
                width,
                Strided::rows(&scores, end),
                &value[shared..],
                narrow,
                (rows, end, head_width),
                Into::Set,
            );
        }
    }
}

/// Softmax of each row of scaled scores up to its diagonal element, zeros right of it.
///
/// Row r is the query at position `first + r`; rows are as wide as the block's last position.
#[pulp::with_simd(softmax_rows = arch())]
#[inline(always)]
fn softmax_rows_with<'a, S: Simd>(
    simd: S,
    scores: &'a mut [f32],
    log_sums: &'a mut [f32],
    first: usize,
    scale: f32,
) {
    let end = first + log_sums.len();
    for (row, (scores, log_sum)) in scores.chunks_exact_mut(end).zip(log_sums).enumerate() {
        let (seen, unseen) = scores.split_at_mut(first + row + 1);
        let top = scale * largest(simd, seen);
        exponentiate(simd, seen, scale, top);
        let total = sum(
            simd,
            [&*seen],
            #[inline(always)]
            |[weight]| weight,
        );
        *log_sum = top + total.ln();
        let share = simd.splat_f32s(1.0 / total);
        let (body, tail) = S::as_mut_simd_f32s(seen);
        for weight in body {
            *weight = simd.mul_f32s(*weight, share);
        }
        for weight in tail {
            *weight /= total;
        }
        unseen.fill(0.0);
    }
}

/// `x = e^(scale x - shift)` in place.
#[inline(always)]
fn exponentiate<S: Simd>(simd: S, x: &mut [f32], scale: f32, shift: f32) {
    let (scale, shift) = (simd.splat_f32s(scale), simd.splat_f32s(-shift));
    let (body, tail) = S::as_mut_simd_f32s(x);
    for x in body {
        *x = exp(simd, simd.mul_add_e_f32s(*x, scale, shift));
    }
    if !tail.is_empty() {
        let last = simd.partial_load_f32s(tail);
        simd.partial_store_f32s(tail, exp(simd, simd.mul_add_e_f32s(last, scale, shift)));
    }
}

/// Gradients of [`attend`]; that of the queries is written, those of keys and values (which several heads
/// may share) are added.
pub(crate) fn attend_backward(
    shape: &AttentionShape,
    (dquery, dkey, dvalue): (&mut [f32], &mut [f32], &mut [f32]),
    (query, key, value): (&[f32], &[f32], &[f32]),
    log_sums: &[f32],
    dmixed: &[f32],
) {
    let (positions, width, narrow) = (shape.positions, shape.width, shape.key_value_width());
    let head_width = shape.head_width();
    let scale = 1.0 / (head_width as f32).sqrt();
    let mut turned_key = Buffer::any(head_width * positions);
    let mut turned_value = Buffer::any(head_width * positions);
    let mut weights = Buffer::any(positions * positions);
    let mut dscores = Buffer::any(positions * positions);
    let sharing = shape.heads / shape.key_value_heads;
    for head in 0..shape.heads {
        let (at, shared) = (head * head_width, head / sharing * head_width);
        if head % sharing == 0 {
            transpose_rows(&mut turned_key, &key[shared..], narrow, (positions, head_width));
            transpose_rows(&mut turned_value, &value[shared..], narrow, (positions, head_width));
        }
        let sums = &log_sums[head * positions..(head + 1) * positions];
        for first in (0..positions).step_by(BLOCK) {
            let end = positions.min(first + BLOCK);
            let (rows, block) = (end - first, first * positions..end * positions);
            let dimensions = (rows, head_width, end);
            let (weights, dscores) = (&mut weights[block.clone()], &mut dscores[block]);
            let queries = Strided::rows(&query[first * width + at..], width);
            product(weights, positions, queries, &turned_key, positions, dimensions, Into::Set);
            let dmixed = Strided::rows(&dmixed[first * width + at..], width);
            product(dscores, positions, dmixed, &turned_value, positions, dimensions, Into::Set);
            softmax_rows_backward(weights, dscores, &sums[first..end], (first, positions), scale);
            product(
                &mut dquery[first * width + at..],
                width,
                Strided::rows(dscores, positions),
                &key[shared..],
                narrow,
                (rows, end, head_width),
                Into::Set,
            );
        }
        // A key is read by the queries from its own position on.
        for first in (0..positions).step_by(BLOCK) {
            let rows = BLOCK.min(positions - first);
            let dimensions = (rows, positions - first, head_width);
            let corner = first * positions + first;
            for (out, left, right) in
                [(&mut *dkey, &dscores, query), (&mut *dvalue, &weights, dmixed)]
            {
                product(
                    &mut out[first * narrow + shared..],
                    narrow,
                    Strided::columns(&left[corner..], positions),
                    &right[first * width + at..],
                    width,
                    dimensions,
                    Into::Add,
                );
            }
        }
    }
}

/// From raw scores to softmax weights, and from the weights' gradients to the scores', in place; zeros right
/// of the diagonal, as far as the block reaches.
#[pulp::with_simd(softmax_rows_backward = arch())]
#[inline(always)]
fn softmax_rows_backward_with<'a, S: Simd>(
    simd: S,
    weights: &'a mut [f32],
    gradients: &'a mut [f32],
    log_sums: &'a [f32],
    (first, positions): (usize, usize),
    scale: f32,
) {
    let end = first + log_sums.len();
    let rows = weights.chunks_exact_mut(positions).zip(gradients.chunks_exact_mut(positions));
    for (row, ((weights, gradients), log_sum)) in rows.zip(log_sums).enumerate() {
        let (weights, unseen) = weights[..end].split_at_mut(first + row + 1);
        let (gradients, unseen_gradients) = gradients[..end].split_at_mut(first + row + 1);
        exponentiate(simd, weights, scale, *log_sum);
        let mean = sum(
            simd,
            [&*weights, &*gradients],
            #[inline(always)]
            |[w, g]| simd.mul_f32s(w, g),
        );
        let (minus_mean, scales) = (simd.splat_f32s(-mean), simd.splat_f32s(scale));
        let (body, tail) = S::as_mut_simd_f32s(gradients);
        let (weight_body, weight_tail) = S::as_simd_f32s(weights);
        for (gradient, weight) in body.iter_mut().zip(weight_body) {
            let centred = simd.add_f32s(*gradient, minus_mean);
            *gradient = simd.mul_f32s(simd.mul_f32s(*weight, scales), centred);
        }
        for (gradient, weight) in tail.iter_mut().zip(weight_tail) {
            *gradient = scale * weight * (*gradient - mean);
        }
        unseen.fill(0.0);
        unseen_gradients.fill(0.0);
    }
}
