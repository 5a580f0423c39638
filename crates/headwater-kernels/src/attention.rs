//! The attention half of a decoder block: norm, projections, rotary positions, causal grouped-query
//! attention, output projection, residual.
//!
//! Rows are tokens, `[sequences][positions]`; matrices are row-major `[in][out]`. Sequences are independent, so
//! they are worked off a few at a time, to stay in cache, and spread over threads. The scores
//! `[positions][positions]` of one head are never kept: the backward pass computes them again from the kept
//! queries, keys and log-sums.

use std::ops::Range;

use crate::Rotary;
use crate::buffer::{Buffer, zeros};
use crate::heads::{AttentionShape, attend, attend_backward};
use crate::matmul::{Into, Strided, product, transpose};
use crate::norm::{normalise, normalise_backward};
use crate::threads::{cut, parts, run, total};

/// Weights of an attention half, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct AttentionWeights<'a> {
    /// Gain of the norm, `[width]`.
    pub norm: &'a [f32],
    /// `[width][width]`.
    pub query: &'a [f32],
    /// `[width][key-value width]`.
    pub key: &'a [f32],
    /// `[width][key-value width]`.
    pub value: &'a [f32],
    /// `[width][width]`.
    pub output: &'a [f32],
}

/// Gradients of the weights, shaped as the weights.
#[derive(Debug)]
pub struct AttentionGradients {
    /// Of the norm's gain.
    pub norm: Vec<f32>,
    /// Of the query projection.
    pub query: Vec<f32>,
    /// Of the key projection.
    pub key: Vec<f32>,
    /// Of the value projection.
    pub value: Vec<f32>,
    /// Of the output projection.
    pub output: Vec<f32>,
}

/// What the backward pass needs of the forward pass.
#[derive(Debug)]
pub struct AttentionKept {
    /// Rotated queries, `[tokens][width]`.
    query: Buffer,
    /// Rotated keys, `[tokens][key-value width]`.
    pub(crate) key: Buffer,
    /// Values, `[tokens][key-value width]`.
    pub(crate) value: Buffer,
    /// What the heads read, before the output projection, `[tokens][width]`.
    mixed: Buffer,
    /// Log of the sum of the exponentiated scores, `[sequences][heads][positions]`.
    log_sums: Buffer,
}

/// Slices of the intermediate results for the tokens in hand.
struct Slices<'a> {
    query: &'a mut [f32],
    key: &'a mut [f32],
    value: &'a mut [f32],
    mixed: &'a mut [f32],
    log_sums: &'a mut [f32],
}

impl AttentionKept {
    fn new(shape: &AttentionShape, tokens: usize) -> Self {
        Self {
            query: Buffer::any(tokens * shape.width),
            key: Buffer::any(tokens * shape.key_value_width()),
            value: Buffer::any(tokens * shape.key_value_width()),
            mixed: Buffer::any(tokens * shape.width),
            log_sums: Buffer::any(tokens * shape.heads),
        }
    }

    fn slices(&mut self) -> Slices<'_> {
        Slices {
            query: &mut self.query,
            key: &mut self.key,
            value: &mut self.value,
            mixed: &mut self.mixed,
            log_sums: &mut self.log_sums,
        }
    }
}

impl<'a> Slices<'a> {
    /// Cut at the bounds of `parts`, which count sequences.
    fn cut(self, shape: &AttentionShape, parts: &[Range<usize>]) -> Vec<Slices<'a>> {
        let wide = shape.positions * shape.width;
        let narrow = shape.positions * shape.key_value_width();
        let rows = cut(self.query, parts, wide)
            .into_iter()
            .zip(cut(self.key, parts, narrow))
            .zip(cut(self.value, parts, narrow))
            .zip(cut(self.mixed, parts, wide))
            .zip(cut(self.log_sums, parts, shape.positions * shape.heads));
        rows.map(|((((query, key), value), mixed), log_sums)| Slices {
            query,
            key,
            value,
            mixed,
            log_sums,
        })
        .collect()
    }
}

/// `x` plus the attention of its sequences; `x` is `[sequences][positions][width]`.
///
/// # Panics
/// When slices do not fit the shape, or `rotary` has fewer positions.
#[must_use]
pub fn attention(
    shape: &AttentionShape,
    rotary: &Rotary,
    weights: AttentionWeights<'_>,
    x: &[f32],
) -> Vec<f32> {
    let mut out = x.to_vec();
    let sequences = x.len() / (shape.positions * shape.width);
    let parts = parts(sequences, 1);
    let tasks = cut(&mut out, &parts, shape.positions * shape.width);
    run(tasks, |out| {
        // Nothing is kept: one chunk's intermediate results are the next one's.
        let size = shape.positions * shape.width;
        let chunk = shape.chunk().min(out.len() / size).max(1);
        let mut kept = AttentionKept::new(shape, chunk * shape.positions);
        for out in out.chunks_mut(chunk * size) {
            let part = 0..out.len() / size;
            for slices in kept.slices().cut(shape, std::slice::from_ref(&part)) {
                forward_chunk(shape, rotary, weights, out, slices);
            }
        }
    });
    out
}

/// [`attention`], keeping what [`attention_backward`] needs.
#[must_use]
pub fn attention_keeping(
    shape: &AttentionShape,
    rotary: &Rotary,
    weights: AttentionWeights<'_>,
    x: &[f32],
) -> (Vec<f32>, AttentionKept) {
    let mut out = x.to_vec();
    let size = shape.positions * shape.width;
    let sequences = x.len() / size;
    let mut kept = AttentionKept::new(shape, sequences * shape.positions);
    let parts = parts(sequences, 1);
    let outs = cut(&mut out, &parts, size);
    let tasks = outs.into_iter().zip(kept.slices().cut(shape, &parts)).collect();
    run(tasks, |(out, slices)| {
        let sequences = out.len() / size;
        let chunks: Vec<_> = (0..sequences)
            .step_by(shape.chunk())
            .map(|first| first..sequences.min(first + shape.chunk()))
            .collect();
        for (out, slices) in cut(out, &chunks, size).into_iter().zip(slices.cut(shape, &chunks)) {
            forward_chunk(shape, rotary, weights, out, slices);
        }
    });
    (out, kept)
}

/// `out` holds x and receives x plus the attention.
fn forward_chunk(
    shape: &AttentionShape,
    rotary: &Rotary,
    weights: AttentionWeights<'_>,
    out: &mut [f32],
    Slices { query, key, value, mixed, log_sums }: Slices<'_>,
) {
    let (positions, width, narrow) = (shape.positions, shape.width, shape.key_value_width());
    let tokens = out.len() / width;
    let mut normed = Buffer::any(out.len());
    normalise(&mut normed, out, weights.norm, shape.epsilon);
    let normed = Strided::rows(&normed, width);
    product(query, width, normed, weights.query, width, (tokens, width, width), Into::Set);
    product(key, narrow, normed, weights.key, narrow, (tokens, width, narrow), Into::Set);
    product(value, narrow, normed, weights.value, narrow, (tokens, width, narrow), Into::Set);
    rotary.turn(query, width, 0, positions);
    rotary.turn(key, narrow, 0, positions);
    for sequence in 0..tokens / positions {
        let wide = sequence * positions * width..(sequence + 1) * positions * width;
        let slim = sequence * positions * narrow..(sequence + 1) * positions * narrow;
        let sums = sequence * positions * shape.heads..(sequence + 1) * positions * shape.heads;
        attend(
            shape,
            &mut mixed[wide.clone()],
            &mut log_sums[sums],
            &query[wide],
            &key[slim.clone()],
            &value[slim],
        );
    }
    let mixed = Strided::rows(mixed, width);
    product(out, width, mixed, weights.output, width, (tokens, width, width), Into::Add);
}

/// Gradients of [`attention`]: of the weights, returned, and of `x`, into `gradient`, which holds that of the
/// result.
///
/// # Panics
/// When slices do not fit the shape.
#[must_use]
pub fn attention_backward(
    shape: &AttentionShape,
    rotary: &Rotary,
    weights: AttentionWeights<'_>,
    x: &[f32],
    kept: &AttentionKept,
    gradient: &mut [f32],
) -> AttentionGradients {
    let size = shape.positions * shape.width;
    let parts = parts(x.len() / size, 1);
    let pass = Backward { shape, rotary, norm: weights.norm, turned: Turned::new(shape, weights) };
    let tasks = parts.iter().zip(cut(gradient, &parts, size)).collect();
    let sums = run(tasks, |(part, gradient)| {
        let mut sums = Sums::new(shape);
        for first in part.clone().step_by(shape.chunk()) {
            let chunk = first..part.end.min(first + shape.chunk());
            let rows = (first - part.start) * size..(chunk.end - part.start) * size;
            pass.chunk(x, kept, chunk, &mut gradient[rows], &mut sums);
        }
        sums
    });
    let mut columns: [Vec<Vec<f32>>; 5] = Default::default();
    for Sums([norm, query, key, value, output]) in sums {
        for (column, sum) in columns.iter_mut().zip([norm, query, key, value, output]) {
            column.push(sum);
        }
    }
    let [norm, query, key, value, output] = columns.map(total);
    AttentionGradients { norm, query, key, value, output }
}

/// Projections transposed, `[out][in]`.
struct Turned {
    query: Buffer,
    key: Buffer,
    value: Buffer,
    output: Buffer,
}

impl Turned {
    fn new(shape: &AttentionShape, weights: AttentionWeights<'_>) -> Self {
        let turn = |matrix: &[f32], columns| {
            let mut turned = Buffer::any(matrix.len());
            transpose(&mut turned, matrix, (shape.width, columns));
            turned
        };
        Self {
            query: turn(weights.query, shape.width),
            key: turn(weights.key, shape.key_value_width()),
            value: turn(weights.value, shape.key_value_width()),
            output: turn(weights.output, shape.width),
        }
    }
}

/// Sums of weight gradients: norm, query, key, value, output.
struct Sums([Vec<f32>; 5]);

impl Sums {
    fn new(shape: &AttentionShape) -> Self {
        let (square, slim) = (shape.width * shape.width, shape.width * shape.key_value_width());
        Self([shape.width, square, slim, slim, square].map(zeros))
    }
}

/// What every chunk of the backward pass shares.
struct Backward<'a> {
    shape: &'a AttentionShape,
    rotary: &'a Rotary,
    norm: &'a [f32],
    turned: Turned,
}

impl Backward<'_> {
    /// Turns the gradient of `chunk`'s result into that of its x, and adds to the weights' sums.
    fn chunk(
        &self,
        x: &[f32],
        kept: &AttentionKept,
        chunk: Range<usize>,
        gradient: &mut [f32],
        Sums([dnorm, dquery_weights, dkey_weights, dvalue_weights, doutput]): &mut Sums,
    ) {
        let Self { shape, rotary, norm, turned } = self;
        let (positions, width, narrow) = (shape.positions, shape.width, shape.key_value_width());
        let tokens = chunk.len() * positions;
        let at = |width: usize| chunk.start * positions * width..chunk.end * positions * width;
        let x = &x[at(width)];
        let (query, mixed) = (&kept.query[at(width)], &kept.mixed[at(width)]);
        let (key, value) = (&kept.key[at(narrow)], &kept.value[at(narrow)]);
        let log_sums = &kept.log_sums[at(shape.heads)];

        let mut dmixed = Buffer::any(tokens * width);
        let square = (tokens, width, width);
        product(
            &mut dmixed,
            width,
            Strided::rows(gradient, width),
            &turned.output,
            width,
            square,
            Into::Set,
        );
        let by_weight = |out: &mut [f32], left: &[f32], right: &[f32], columns: usize| {
            let left = Strided::columns(left, width);
            product(out, columns, left, right, columns, (width, tokens, columns), Into::Add);
        };
        by_weight(doutput, mixed, gradient, width);

        let mut dquery = Buffer::any(tokens * width);
        let (mut dkey, mut dvalue) =
            (Buffer::zeros(tokens * narrow), Buffer::zeros(tokens * narrow));
        for sequence in 0..chunk.len() {
            let of =
                |width: usize| sequence * positions * width..(sequence + 1) * positions * width;
            attend_backward(
                shape,
                (&mut dquery[of(width)], &mut dkey[of(narrow)], &mut dvalue[of(narrow)]),
                (&query[of(width)], &key[of(narrow)], &value[of(narrow)]),
                &log_sums[of(shape.heads)],
                &dmixed[of(width)],
            );
        }
        rotary.turn_back(&mut dquery, width, 0, positions);
        rotary.turn_back(&mut dkey, narrow, 0, positions);

        let mut normed = Buffer::any(tokens * width);
        normalise(&mut normed, x, norm, shape.epsilon);
        by_weight(dquery_weights, &normed, &dquery, width);
        by_weight(dkey_weights, &normed, &dkey, narrow);
        by_weight(dvalue_weights, &normed, &dvalue, narrow);
        let mut dnormed = dmixed;
        let back = |out: &mut [f32], left: &[f32], right: &[f32], columns: usize, into: Into| {
            let left = Strided::rows(left, columns);
            product(out, width, left, right, width, (tokens, columns, width), into);
        };
        back(&mut dnormed, &dquery, &turned.query, width, Into::Set);
        back(&mut dnormed, &dkey, &turned.key, narrow, Into::Add);
        back(&mut dnormed, &dvalue, &turned.value, narrow, Into::Add);
        normalise_backward(gradient, dnorm, &dnormed, x, norm, shape.epsilon);
    }
}
