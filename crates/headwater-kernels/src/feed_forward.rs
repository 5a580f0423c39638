//! The feed-forward half of a decoder block (SwiGLU, Shazeer 2020):
//! `x + (silu(n W_gate) * n W_up) W_down` with n the RMS norm of x.

use pulp::Simd;

use crate::buffer::{Buffer, zeros};
use crate::matmul::{Out, Strided, matmul, transpose};
use crate::norm::{normalise, normalise_backward};
use crate::simd::{arch, inline, map, sigmoid};
use crate::threads::{cut, parts, run, total};

/// Tokens worked off together.
const CHUNK: usize = 192;

/// Weights of a feed-forward half, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct FeedForwardWeights<'a> {
    /// Gain of the norm, `[width]`.
    pub norm: &'a [f32],
    /// `[width][hidden]`.
    pub gate: &'a [f32],
    /// `[width][hidden]`.
    pub up: &'a [f32],
    /// `[hidden][width]`.
    pub down: &'a [f32],
    /// Added to the mean square in the norm.
    pub epsilon: f32,
}

impl FeedForwardWeights<'_> {
    fn width(&self) -> usize {
        self.norm.len()
    }

    fn hidden(&self) -> usize {
        self.gate.len() / self.norm.len()
    }
}

/// Gradients of the weights, shaped as the weights.
#[derive(Debug)]
pub struct FeedForwardGradients {
    /// Of the norm's gain.
    pub norm: Vec<f32>,
    /// Of the gate projection.
    pub gate: Vec<f32>,
    /// Of the up projection.
    pub up: Vec<f32>,
    /// Of the down projection.
    pub down: Vec<f32>,
}

/// What the backward pass needs of the forward pass: the two projections, `[tokens][hidden]`.
#[derive(Debug)]
pub struct FeedForwardSaved {
    gate: Buffer,
    up: Buffer,
}

/// The feed-forward half of every row of `x`, `[tokens][width]`.
#[must_use]
pub fn feed_forward(weights: FeedForwardWeights<'_>, x: &[f32]) -> Vec<f32> {
    let (width, hidden) = (weights.width(), weights.hidden());
    let mut out = x.to_vec();
    let parts = parts(x.len() / width, 32);
    run(cut(&mut out, &parts, width), |out| {
        let tokens = CHUNK.min(out.len() / width);
        let (mut gate, mut up) = (Buffer::any(tokens * hidden), Buffer::any(tokens * hidden));
        for out in out.chunks_mut(CHUNK * width) {
            let size = out.len() / width * hidden;
            forward_chunk(weights, out, &mut gate[..size], &mut up[..size]);
        }
    });
    out
}

/// [`feed_forward`], saving for backward what [`feed_forward_backward`] needs.
#[must_use]
pub fn feed_forward_saving(
    weights: FeedForwardWeights<'_>,
    x: &[f32],
) -> (Vec<f32>, FeedForwardSaved) {
    let (width, hidden) = (weights.width(), weights.hidden());
    let tokens = x.len() / width;
    let mut out = x.to_vec();
    let mut saved =
        FeedForwardSaved { gate: Buffer::any(tokens * hidden), up: Buffer::any(tokens * hidden) };
    let parts = parts(tokens, 32);
    let rows = cut(&mut out, &parts, width)
        .into_iter()
        .zip(cut(&mut saved.gate, &parts, hidden))
        .zip(cut(&mut saved.up, &parts, hidden));
    run(rows.collect(), |((out, gate), up)| {
        let chunks = out.chunks_mut(CHUNK * width);
        let saved = gate.chunks_mut(CHUNK * hidden).zip(up.chunks_mut(CHUNK * hidden));
        for (out, (gate, up)) in chunks.zip(saved) {
            forward_chunk(weights, out, gate, up);
        }
    });
    (out, saved)
}

/// `out` holds x and receives the result.
fn forward_chunk(
    weights: FeedForwardWeights<'_>,
    out: &mut [f32],
    gate: &mut [f32],
    up: &mut [f32],
) {
    let (width, hidden) = (weights.width(), weights.hidden());
    let tokens = out.len() / width;
    let mut normed = Buffer::any(out.len());
    normalise(&mut normed, out, weights.norm, weights.epsilon);
    let left = Strided::rows(&normed, width);
    matmul(gate, hidden, left, weights.gate, hidden, (tokens, width, hidden), Out::Set);
    matmul(up, hidden, left, weights.up, hidden, (tokens, width, hidden), Out::Set);
    let mut active = Buffer::any(tokens * hidden);
    activate(&mut active, gate, up);
    let left = Strided::rows(&active, hidden);
    matmul(out, width, left, weights.down, width, (tokens, hidden, width), Out::Add);
}

/// `out = silu(gate) * up`.
#[pulp::with_simd(activate = arch())]
#[inline(always)]
pub(crate) fn activate_with<'a, S: Simd>(
    simd: S,
    out: &'a mut [f32],
    gate: &'a [f32],
    up: &'a [f32],
) {
    map(
        simd,
        out,
        [gate, up],
        #[inline(always)]
        |[gate, up]| simd.mul_f32s(simd.mul_f32s(gate, sigmoid(simd, gate)), up),
    );
}

/// Gradients of [`feed_forward`]: of the weights, returned, and of `x`, into `gradient`, which holds that of
/// the result.
#[must_use]
// Long: one backward pass, whose buffers every step of it reads or adds to.
pub fn feed_forward_backward(
    weights: FeedForwardWeights<'_>,
    x: &[f32],
    saved: &FeedForwardSaved,
    gradient: &mut [f32],
) -> FeedForwardGradients {
    let (width, hidden) = (weights.width(), weights.hidden());
    let turn = |matrix: &[f32], dimensions| {
        let mut turned = Buffer::any(matrix.len());
        transpose(&mut turned, matrix, dimensions);
        turned
    };
    let gate_turned = turn(weights.gate, (width, hidden));
    let up_turned = turn(weights.up, (width, hidden));
    let down_turned = turn(weights.down, (hidden, width));
    let parts = parts(x.len() / width, 32);
    let tasks = parts.iter().zip(cut(gradient, &parts, width)).collect();
    let sums = run(tasks, |(part, gradient)| {
        let mut sums = [width, width * hidden, width * hidden, hidden * width].map(zeros);
        let [dnorm, dgate_weights, dup_weights, ddown] = &mut sums;
        let most = CHUNK.min(part.len());
        let [mut active, mut dgate, mut dup] = [(); 3].map(|()| Buffer::any(most * hidden));
        let [mut normed, mut dnormed] = [(); 2].map(|()| Buffer::any(most * width));
        for first in part.clone().step_by(CHUNK) {
            let tokens = CHUNK.min(part.end - first);
            let at = |width: usize| first * width..(first + tokens) * width;
            let (x, gate, up) = (&x[at(width)], &saved.gate[at(hidden)], &saved.up[at(hidden)]);
            let own = (first - part.start) * width..(first - part.start + tokens) * width;
            let gradient = &mut gradient[own];
            let inner = ..tokens * hidden;
            let (active, dgate, dup) = (&mut active[inner], &mut dgate[inner], &mut dup[inner]);
            let (normed, dnormed) = (&mut normed[..x.len()], &mut dnormed[..x.len()]);

            let widen = (tokens, width, hidden);
            matmul(
                dup,
                hidden,
                Strided::rows(gradient, width),
                &down_turned,
                hidden,
                widen,
                Out::Set,
            );
            activate_backward(active, dgate, dup, gate, up);
            normalise(normed, x, weights.norm, weights.epsilon);
            let by_weight = |out: &mut [f32], left: &[f32], right: &[f32], (m, n)| {
                matmul(out, n, Strided::columns(left, m), right, n, (m, tokens, n), Out::Add);
            };
            by_weight(ddown, active, gradient, (hidden, width));
            by_weight(dgate_weights, normed, dgate, (width, hidden));
            by_weight(dup_weights, normed, dup, (width, hidden));
            let narrow = (tokens, hidden, width);
            matmul(
                dnormed,
                width,
                Strided::rows(dgate, hidden),
                &gate_turned,
                width,
                narrow,
                Out::Set,
            );
            matmul(dnormed, width, Strided::rows(dup, hidden), &up_turned, width, narrow, Out::Add);
            normalise_backward(gradient, dnorm, dnormed, x, weights.norm, weights.epsilon);
        }
        sums
    });
    let mut columns: [Vec<Vec<f32>>; 4] = Default::default();
    for part in sums {
        for (column, sum) in columns.iter_mut().zip(part) {
            column.push(sum);
        }
    }
    let [norm, gate, up, down] = columns.map(total);
    FeedForwardGradients { norm, gate, up, down }
}

/// `active = silu(gate) * up` again, and the gradients of `gate` and `up`; `dup` holds that of `active`.
///
/// silu'(g) = s (1 + g (1 - s)) with s = sigmoid(g).
#[pulp::with_simd(activate_backward = arch())]
#[inline(always)]
fn activate_backward_with<'a, S: Simd>(
    simd: S,
    active: &'a mut [f32],
    dgate: &'a mut [f32],
    dup: &'a mut [f32],
    gate: &'a [f32],
    up: &'a [f32],
) {
    let one = simd.splat_f32s(1.0);
    let f = inline(
        #[inline(always)]
        |gate: S::f32s, up: S::f32s, gradient: S::f32s| {
            let s = sigmoid(simd, gate);
            let silu = simd.mul_f32s(gate, s);
            let slope = simd.mul_f32s(s, simd.mul_add_e_f32s(gate, simd.sub_f32s(one, s), one));
            let dgate = simd.mul_f32s(simd.mul_f32s(gradient, up), slope);
            (simd.mul_f32s(silu, up), dgate, simd.mul_f32s(gradient, silu))
        },
    );
    let (active, active_tail) = S::as_mut_simd_f32s(active);
    let (dgate, dgate_tail) = S::as_mut_simd_f32s(dgate);
    let (dup, dup_tail) = S::as_mut_simd_f32s(dup);
    let ((gate, gate_tail), (up, up_tail)) = (S::as_simd_f32s(gate), S::as_simd_f32s(up));
    let outputs = active.iter_mut().zip(dgate).zip(dup);
    for (((active, dgate), dup), (gate, up)) in outputs.zip(gate.iter().zip(up)) {
        (*active, *dgate, *dup) = f(*gate, *up, *dup);
    }
    if !gate_tail.is_empty() {
        let load = inline(
            #[inline(always)]
            |tail: &[f32]| simd.partial_load_f32s(tail),
        );
        let (a, g, u) = f(load(gate_tail), load(up_tail), load(dup_tail));
        simd.partial_store_f32s(active_tail, a);
        simd.partial_store_f32s(dgate_tail, g);
        simd.partial_store_f32s(dup_tail, u);
    }
}
