//! Causal attention of one sequence, or of several that continue one, all heads.

use std::ops::Range;

use pulp::Simd;

use crate::buffer::Buffer;
use crate::matmul::{Out, Strided, matmul, transpose_rows};
use crate::simd::{arch, exp, largest, sum};

/// Sizes of an attention half.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
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
}

/// Query rows worked off together: what lies right of their last diagonal element is never computed.
const BLOCK: usize = 12;

/// Rows of a branch that are worked off together.
struct Block {
    /// The first of them.
    first: usize,
    rows: usize,
    /// All rows of the branch.
    branch: Range<usize>,
}

impl Block {
    /// Rows of the branch up to the block's last one.
    fn seen(&self) -> usize {
        self.first + self.rows - self.branch.start
    }
}

/// The blocks of branches of `lengths` rows.
fn blocks(lengths: &[usize]) -> impl Iterator<Item = Block> {
    let mut end = 0;
    lengths.iter().flat_map(move |length| {
        let branch = end..end + length;
        end = branch.end;
        let block = move |first| Block {
            first,
            rows: BLOCK.min(branch.end - first),
            branch: branch.clone(),
        };
        (end - length..end).step_by(BLOCK).map(block)
    })
}

/// What queries read, of their own branches or of the past: rotated keys, and values, `[tokens][key-value width]` each.
pub(crate) type Memory<'a> = (&'a [f32], &'a [f32]);

/// Columns of one head, turned: `[head width][tokens]`.
fn turn(turned: &mut [f32], rows: &[f32], shared: usize, shape: &AttentionShape) {
    let narrow = shape.key_value_width();
    if let Some(from) = rows.get(shared..) {
        transpose_rows(turned, from, narrow, (rows.len() / narrow, shape.head_width()));
    }
}

/// `mixed` and `log_sums` `[heads][tokens]` of branches that lie one after another, of `lengths` tokens. A token
/// reads the whole past and of its own branch what stands up to it.
///
/// A sequence by itself is one branch without a past.
pub(crate) fn attend(
    shape: &AttentionShape,
    lengths: &[usize],
    (mixed, log_sums): (&mut [f32], &mut [f32]),
    query: &[f32],
    [(key, value), (past_key, past_value)]: [Memory<'_>; 2],
) {
    let (width, narrow, head_width) = (shape.width, shape.key_value_width(), shape.head_width());
    let (tokens, past) = (query.len() / width, past_key.len() / narrow);
    // A token's scores: with the past, then with its branch. Those with the past come from one product for all tokens;
    // without one a block's scores need not outlive it.
    let stride = past + lengths.iter().max().unwrap_or(&0);
    let kept = if past > 0 { tokens } else { BLOCK.min(tokens) };
    let mut scores = Buffer::any(kept * stride);
    let [mut turned, mut turned_past] = [tokens, past].map(|n| Buffer::any(head_width * n));
    let scale = 1.0 / (head_width as f32).sqrt();
    let sharing = shape.heads / shape.key_value_heads;
    for head in 0..shape.heads {
        let (at, shared) = (head * head_width, head / sharing * head_width);
        if head % sharing == 0 {
            turn(&mut turned, key, shared, shape);
            turn(&mut turned_past, past_key, shared, shape);
        }
        if past > 0 {
            let (queries, all) = (Strided::rows(&query[at..], width), (tokens, head_width, past));
            matmul(&mut scores, stride, queries, &turned_past, past, all, Out::Set);
        }
        // The past before the rest, as one chain of sums: a row is the same bits whether it follows its past in one
        // sequence or branches off.
        let mix = |out: &mut [f32], scores: &[f32], values: &[f32], (rows, read), into| {
            let (scores, all) = (Strided::rows(scores, stride), (rows, read, head_width));
            matmul(out, width, scores, &values[shared..], narrow, all, into);
        };
        let sums = &mut log_sums[head * tokens..(head + 1) * tokens];
        for block in blocks(lengths) {
            let Block { first, rows, ref branch } = block;
            let from = if past > 0 { first * stride } else { 0 };
            let (seen, scores) = (block.seen(), &mut scores[from..]);
            let queries = Strided::rows(&query[first * width + at..], width);
            let keys = &turned[branch.start..];
            let dimensions = (rows, head_width, seen);
            matmul(&mut scores[past..], stride, queries, keys, tokens, dimensions, Out::Set);
            let from = (past + seen - rows, stride);
            softmax_rows(&mut scores[..rows * stride], &mut sums[first..first + rows], from, scale);
            if past == 0 {
                mix(
                    &mut mixed[first * width + at..],
                    scores,
                    &value[branch.start * narrow..],
                    (rows, seen),
                    Out::Set,
                );
            }
        }
        if past > 0 {
            mix(&mut mixed[at..], &scores, past_value, (tokens, past), Out::Set);
            for block in blocks(lengths) {
                let Block { first, rows, ref branch } = block;
                let scores = &scores[first * stride + past..];
                mix(
                    &mut mixed[first * width + at..],
                    scores,
                    &value[branch.start * narrow..],
                    (rows, block.seen()),
                    Out::Add,
                );
            }
        }
    }
}

/// Softmax of each row of scaled scores up to its diagonal element; zeros right of it, as far as the block
/// reaches.
///
/// Row r is the query at position `first + r`; rows are `stride` apart.
#[pulp::with_simd(softmax_rows = arch())]
#[inline(always)]
fn softmax_rows_with<'a, S: Simd>(
    simd: S,
    scores: &'a mut [f32],
    log_sums: &'a mut [f32],
    (first, stride): (usize, usize),
    scale: f32,
) {
    let end = first + log_sums.len();
    for (row, (scores, log_sum)) in scores.chunks_exact_mut(stride).zip(log_sums).enumerate() {
        let (seen, unseen) = scores[..end].split_at_mut(first + row + 1);
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

/// Gradients of [`attend`]; those of queries are written, those of keys and values, which several queries and heads
/// may share, are added.
// Long: one backward pass over a head, whose buffers every step of it reads or adds to.
pub(crate) fn attend_backward(
    shape: &AttentionShape,
    lengths: &[usize],
    (query, log_sums, dmixed): (&[f32], &[f32], &[f32]),
    [(key, value), (past_key, past_value)]: [Memory<'_>; 2],
    dquery: &mut [f32],
    [(dkey, dvalue), (dpast_key, dpast_value)]: [(&mut [f32], &mut [f32]); 2],
) {
    let (width, narrow, head_width) = (shape.width, shape.key_value_width(), shape.head_width());
    let (tokens, past) = (query.len() / width, past_key.len() / narrow);
    let stride = past + lengths.iter().max().unwrap_or(&0);
    let [mut weights, mut dscores] = [(); 2].map(|()| Buffer::any(tokens * stride));
    let [mut turned_key, mut turned_value] = [(); 2].map(|()| Buffer::any(head_width * tokens));
    let [mut turned_past_key, mut turned_past_value] =
        [(); 2].map(|()| Buffer::any(head_width * past));
    let scale = 1.0 / (head_width as f32).sqrt();
    let sharing = shape.heads / shape.key_value_heads;
    for head in 0..shape.heads {
        let (at, shared) = (head * head_width, head / sharing * head_width);
        if head % sharing == 0 {
            turn(&mut turned_key, key, shared, shape);
            turn(&mut turned_value, value, shared, shape);
            turn(&mut turned_past_key, past_key, shared, shape);
            turn(&mut turned_past_value, past_value, shared, shape);
        }
        let (queries, outer) = (&query[at..], &dmixed[at..]);
        if past > 0 {
            for (out, left, right) in [
                (&mut weights, queries, &turned_past_key),
                (&mut dscores, outer, &turned_past_value),
            ] {
                let (left, all) = (Strided::rows(left, width), (tokens, head_width, past));
                matmul(out, stride, left, right, past, all, Out::Set);
            }
        }
        let sums = &log_sums[head * tokens..(head + 1) * tokens];
        for block in blocks(lengths) {
            let Block { first, rows, ref branch } = block;
            let (seen, all) = (block.seen(), first * stride..(first + rows) * stride);
            let (weights, dscores) = (&mut weights[all.clone()], &mut dscores[all]);
            for (out, left, right) in
                [(&mut *weights, queries, &turned_key), (&mut *dscores, outer, &turned_value)]
            {
                let left = Strided::rows(&left[first * width..], width);
                let (right, dimensions) = (&right[branch.start..], (rows, head_width, seen));
                matmul(&mut out[past..], stride, left, right, tokens, dimensions, Out::Set);
            }
            let (sums, from) = (&sums[first..first + rows], (past + seen - rows, stride));
            softmax_rows_backward(weights, dscores, sums, from, scale);
            matmul(
                &mut dquery[first * width + at..],
                width,
                Strided::rows(&dscores[past..], stride),
                &key[branch.start * narrow + shared..],
                narrow,
                (rows, seen, head_width),
                Out::Set,
            );
        }
        // A key is read by the queries of its branch from its own position on.
        for Block { first, rows, branch } in blocks(lengths) {
            let corner = first * stride + past + first - branch.start;
            for (out, left, right) in
                [(&mut *dkey, &dscores, queries), (&mut *dvalue, &weights, outer)]
            {
                matmul(
                    &mut out[first * narrow + shared..],
                    narrow,
                    Strided::columns(&left[corner..], stride),
                    &right[first * width..],
                    width,
                    (rows, branch.end - first, head_width),
                    Out::Add,
                );
            }
        }
        if past > 0 {
            let (left, keys) = (Strided::rows(&dscores, stride), &past_key[shared..]);
            let all = (tokens, past, head_width);
            matmul(&mut dquery[at..], width, left, keys, narrow, all, Out::Add);
            for (out, left, right) in
                [(&mut *dpast_key, &dscores, queries), (&mut *dpast_value, &weights, outer)]
            {
                let (left, all) = (Strided::columns(left, stride), (past, tokens, head_width));
                matmul(&mut out[shared..], narrow, left, right, width, all, Out::Add);
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
    (first, stride): (usize, usize),
    scale: f32,
) {
    let end = first + log_sums.len();
    let rows = weights.chunks_exact_mut(stride).zip(gradients.chunks_exact_mut(stride));
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
