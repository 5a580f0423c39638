//! The attention half of a decoder block: norm, projections, rotary positions, causal grouped-query
//! attention, output projection, residual.
//!
//! Rows are tokens, laid out by [`Tree`]s, so that what several sequences begin with is computed once; matrices are
//! row-major `[in][out]`. Trees are independent, so they are worked off a few at a time, to stay in cache, and
//! spread over threads. The scores of one head are never saved: the backward pass computes them again from the
//! saved queries, keys and log-sums.

use std::ops::Range;

use crate::Rotary;
use crate::buffer::{Buffer, zeros};
use crate::heads::{AttentionShape, attend, attend_backward};
use crate::matmul::{Out, Strided, matmul, transpose};
use crate::norm::{normalise, normalise_backward};
use crate::threads::{cut, run, total};
use crate::tree::{Segment, Stretch, Tree, parts, rows};

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
pub struct AttentionSaved {
    /// Rotated queries, `[tokens][width]`.
    query: Buffer,
    /// Rotated keys, `[tokens][key-value width]`.
    pub(crate) key: Buffer,
    /// Values, `[tokens][key-value width]`.
    pub(crate) value: Buffer,
    /// What the heads read, before the output projection, `[tokens][width]`.
    mixed: Buffer,
    /// Log of the sum of the exponentiated scores, `[heads][tokens]` of each trunk and of all branches of a tree.
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

impl AttentionSaved {
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
    /// Cut at the bounds of `parts`, which count tokens.
    fn cut(self, shape: &AttentionShape, parts: &[Range<usize>]) -> Vec<Slices<'a>> {
        let (wide, narrow) = (shape.width, shape.key_value_width());
        let rows = cut(self.query, parts, wide)
            .into_iter()
            .zip(cut(self.key, parts, narrow))
            .zip(cut(self.value, parts, narrow))
            .zip(cut(self.mixed, parts, wide))
            .zip(cut(self.log_sums, parts, shape.heads));
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

/// Their rows, one after another.
fn bounds(stretches: &[Stretch<'_>]) -> Vec<Range<usize>> {
    stretches.iter().map(|stretch| stretch.rows.clone()).collect()
}

/// `x` plus the attention of its sequences; `x` is `[tokens][width]`, laid out as `trees`.
///
/// # Panics
/// When slices do not fit the shape or `trees`, or `rotary` has fewer positions.
#[must_use]
pub fn attention(
    shape: &AttentionShape,
    rotary: &Rotary,
    weights: AttentionWeights<'_>,
    trees: &[Tree],
    x: &[f32],
) -> Vec<f32> {
    assert_eq!(x.len(), rows(trees) * shape.width, "a row for each token of the trees");
    let mut out = x.to_vec();
    let parts = parts(trees);
    let tasks = parts.iter().zip(cut(&mut out, &bounds(&parts), shape.width)).collect();
    run(tasks, |(part, out)| {
        // Nothing is kept: one chunk's intermediate results are the next one's.
        let chunks = part.chunks();
        let longest = chunks.iter().map(|chunk| chunk.rows.len()).max().unwrap_or(0);
        let mut saved = AttentionSaved::new(shape, longest);
        for (chunk, out) in chunks.iter().zip(cut(out, &bounds(&chunks), shape.width)) {
            let all = 0..chunk.rows.len();
            for slices in saved.slices().cut(shape, std::slice::from_ref(&all)) {
                forward_chunk(shape, rotary, weights, chunk.trees, out, slices);
            }
        }
    });
    out
}

/// [`attention`], saving for backward what [`attention_backward`] needs.
#[must_use]
pub fn attention_saving(
    shape: &AttentionShape,
    rotary: &Rotary,
    weights: AttentionWeights<'_>,
    trees: &[Tree],
    x: &[f32],
) -> (Vec<f32>, AttentionSaved) {
    let tokens = rows(trees);
    assert_eq!(x.len(), tokens * shape.width, "a row for each token of the trees");
    let mut out = x.to_vec();
    let mut saved = AttentionSaved::new(shape, tokens);
    let parts = parts(trees);
    let outs = cut(&mut out, &bounds(&parts), shape.width);
    let slices = saved.slices().cut(shape, &bounds(&parts));
    let tasks = parts.iter().zip(outs).zip(slices).collect();
    run(tasks, |((part, out), slices)| {
        let chunks = part.chunks();
        let outs = cut(out, &bounds(&chunks), shape.width);
        let slices = slices.cut(shape, &bounds(&chunks));
        for ((chunk, out), slices) in chunks.iter().zip(outs).zip(slices) {
            forward_chunk(shape, rotary, weights, chunk.trees, out, slices);
        }
    });
    (out, saved)
}

/// `out` holds x and receives x plus the attention.
fn forward_chunk(
    shape: &AttentionShape,
    rotary: &Rotary,
    weights: AttentionWeights<'_>,
    trees: &[Tree],
    out: &mut [f32],
    Slices { query, key, value, mixed, log_sums }: Slices<'_>,
) {
    let (width, narrow) = (shape.width, shape.key_value_width());
    let tokens = out.len() / width;
    let mut normed = Buffer::any(out.len());
    normalise(&mut normed, out, weights.norm, shape.epsilon);
    let normed = Strided::rows(&normed, width);
    matmul(query, width, normed, weights.query, width, (tokens, width, width), Out::Set);
    matmul(key, narrow, normed, weights.key, narrow, (tokens, width, narrow), Out::Set);
    matmul(value, narrow, normed, weights.value, narrow, (tokens, width, narrow), Out::Set);
    let mut first = 0;
    for tree in trees {
        for Segment { past, rows } in tree.segments(first) {
            rotary.turn(&mut query[at(&rows, width)], width, past);
            rotary.turn(&mut key[at(&rows, narrow)], narrow, past);
        }
        let mut attend = |rows: Range<usize>, lengths: &[usize], past: Range<usize>| {
            let memory = |rows: &Range<usize>| (&key[at(rows, narrow)], &value[at(rows, narrow)]);
            let wide = at(&rows, width);
            let out = (&mut mixed[wide.clone()], &mut log_sums[at(&rows, shape.heads)]);
            attend(shape, lengths, out, &query[wide], [memory(&rows), memory(&past)]);
        };
        let [trunk, branches] = tree.halves(first);
        for (rows, lengths, past) in
            [(trunk.clone(), &[tree.trunk][..], first..first), (branches, &tree.branches, trunk)]
        {
            if !rows.is_empty() {
                attend(rows, lengths, past);
            }
        }
        first += tree.rows();
    }
    let mixed = Strided::rows(mixed, width);
    matmul(out, width, mixed, weights.output, width, (tokens, width, width), Out::Add);
}

/// Where `rows` of `width` lie.
fn at(rows: &Range<usize>, width: usize) -> Range<usize> {
    rows.start * width..rows.end * width
}

/// Gradients of [`attention`]: of the weights, returned, and of `x`, into `gradient`, which holds that of the
/// result.
///
/// # Panics
/// When slices do not fit the shape or `trees`.
#[must_use]
pub fn attention_backward(
    shape: &AttentionShape,
    rotary: &Rotary,
    weights: AttentionWeights<'_>,
    trees: &[Tree],
    x: &[f32],
    saved: &AttentionSaved,
    gradient: &mut [f32],
) -> AttentionGradients {
    assert_eq!(x.len(), rows(trees) * shape.width, "a row for each token of the trees");
    let parts = parts(trees);
    let pass = Backward { shape, rotary, norm: weights.norm, turned: Turned::new(shape, weights) };
    let tasks = parts.iter().zip(cut(gradient, &bounds(&parts), shape.width)).collect();
    let sums = run(tasks, |(part, gradient)| {
        let mut sums = Sums::new(shape);
        let chunks = part.chunks();
        for (chunk, gradient) in chunks.iter().zip(cut(gradient, &bounds(&chunks), shape.width)) {
            pass.chunk(x, saved, chunk, gradient, &mut sums);
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
    // Long: one backward pass over a chunk, whose buffers every step of it reads or adds to.
    fn chunk(
        &self,
        x: &[f32],
        saved: &AttentionSaved,
        chunk: &Stretch<'_>,
        gradient: &mut [f32],
        Sums([dnorm, dquery_weights, dkey_weights, dvalue_weights, doutput]): &mut Sums,
    ) {
        let Self { shape, rotary, norm, turned } = self;
        let (width, narrow) = (shape.width, shape.key_value_width());
        let tokens = chunk.rows.len();
        let (wide, slim) = (at(&chunk.rows, width), at(&chunk.rows, narrow));
        let x = &x[wide.clone()];
        let (query, mixed) = (&saved.query[wide.clone()], &saved.mixed[wide]);
        let (key, value) = (&saved.key[slim.clone()], &saved.value[slim]);
        let log_sums = &saved.log_sums[at(&chunk.rows, shape.heads)];

        let mut dmixed = Buffer::any(tokens * width);
        let square = (tokens, width, width);
        matmul(
            &mut dmixed,
            width,
            Strided::rows(gradient, width),
            &turned.output,
            width,
            square,
            Out::Set,
        );
        let by_weight = |out: &mut [f32], left: &[f32], right: &[f32], columns: usize| {
            let left = Strided::columns(left, width);
            matmul(out, columns, left, right, columns, (width, tokens, columns), Out::Add);
        };
        by_weight(doutput, mixed, gradient, width);

        let mut dquery = Buffer::any(tokens * width);
        let (mut dkey, mut dvalue) =
            (Buffer::zeros(tokens * narrow), Buffer::zeros(tokens * narrow));
        let mut first = 0;
        for tree in chunk.trees {
            let [trunk, branches] = tree.halves(first);
            let memory = |rows: &Range<usize>| (&key[at(rows, narrow)], &value[at(rows, narrow)]);
            let mut back = |rows: &Range<usize>, lengths: &[usize], past: &Range<usize>| {
                let wide = at(rows, width);
                let outer =
                    (&query[wide.clone()], &log_sums[at(rows, shape.heads)], &dmixed[wide.clone()]);
                // The past lies before.
                let [(dpast_key, dkey), (dpast_value, dvalue)] = [&mut dkey, &mut dvalue]
                    .map(|sums| sums[..rows.end * narrow].split_at_mut(rows.start * narrow));
                attend_backward(
                    shape,
                    lengths,
                    outer,
                    [memory(rows), memory(past)],
                    &mut dquery[wide],
                    [
                        (dkey, dvalue),
                        (
                            &mut dpast_key[past.start * narrow..],
                            &mut dpast_value[past.start * narrow..],
                        ),
                    ],
                );
            };
            for (rows, lengths, past) in
                [(&branches, &tree.branches[..], &trunk), (&trunk, &[tree.trunk], &(first..first))]
            {
                if !rows.is_empty() {
                    back(rows, lengths, past);
                }
            }
            for Segment { past, rows } in tree.segments(first) {
                rotary.turn_back(&mut dquery[at(&rows, width)], width, past);
                rotary.turn_back(&mut dkey[at(&rows, narrow)], narrow, past);
            }
            first += tree.rows();
        }

        let mut normed = Buffer::any(tokens * width);
        normalise(&mut normed, x, norm, shape.epsilon);
        by_weight(dquery_weights, &normed, &dquery, width);
        by_weight(dkey_weights, &normed, &dkey, narrow);
        by_weight(dvalue_weights, &normed, &dvalue, narrow);
        let mut dnormed = dmixed;
        let back = |out: &mut [f32], left: &[f32], right: &[f32], columns: usize, into: Out| {
            let left = Strided::rows(left, columns);
            matmul(out, width, left, right, width, (tokens, columns, width), into);
        };
        back(&mut dnormed, &dquery, &turned.query, width, Out::Set);
        back(&mut dnormed, &dkey, &turned.key, narrow, Out::Add);
        back(&mut dnormed, &dvalue, &turned.value, narrow, Out::Add);
        normalise_backward(gradient, dnorm, &dnormed, x, norm, shape.epsilon);
    }
}
