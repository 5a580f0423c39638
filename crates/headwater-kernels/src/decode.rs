//! Decoding with a key-value cache, from borrowed weights.
//!
//! Every product is row-invariant (see [`crate::product`]) and attention is worked off row by row, so the
//! logits of a row are the same bits whatever other rows are decoded with it.

use pulp::Simd;

use crate::Rotary;
use crate::attention::{AttentionWeights, attention_saving};
use crate::buffer::{Buffer, zeros};
use crate::feed_forward::{FeedForwardWeights, activate, feed_forward};
use crate::heads::AttentionShape;
use crate::matmul::{Out, Strided, matmul, transpose};
use crate::norm::normalise;
use crate::scores::{settle, softmax_in_place};
use crate::simd::{arch, inline};
use crate::tree::Tree;

/// A decoder's weights, borrowed, and what is derived from them once.
#[derive(Debug)]
pub struct DecoderWeights<'a> {
    /// Sizes.
    pub shape: AttentionShape,
    /// Tables for at least as many positions as a row will have.
    pub rotary: &'a Rotary,
    /// Tied input and output embedding, `[vocabulary][width]`.
    pub embedding: &'a [f32],
    /// Both halves of every block.
    pub blocks: Vec<(AttentionWeights<'a>, FeedForwardWeights<'a>)>,
    /// Gain of the last norm, `[width]`.
    pub norm: &'a [f32],
}

/// Keys and values of the positions read so far.
#[derive(Debug)]
pub struct Cache {
    rows: usize,
    capacity: usize,
    /// `[layer][row][head][head width][capacity]`: scores are summed along the head's width.
    keys: Buffer,
    /// `[layer][row][head][capacity][head width]`.
    values: Buffer,
    /// Positions read, per row.
    lengths: Vec<usize>,
}

impl DecoderWeights<'_> {
    fn vocabulary(&self) -> usize {
        self.embedding.len() / self.shape.width
    }

    /// The embedding transposed, for [`DecoderWeights::step`].
    #[must_use]
    pub fn output(&self) -> Buffer {
        let mut turned = Buffer::any(self.embedding.len());
        transpose(&mut turned, self.embedding, (self.vocabulary(), self.shape.width));
        turned
    }

    /// Reads whole prompts, each once; a cache in which prompt p fills `copies[p]` rows in succession, each
    /// with room for `capacity` positions, and the next-token logits of every prompt,
    /// `[prompts][vocabulary]`.
    ///
    /// # Panics
    /// When a prompt is empty or a token outside the vocabulary.
    #[must_use]
    pub fn prefill(
        &self,
        output: &[f32],
        prompts: &[&[u32]],
        copies: &[usize],
        capacity: usize,
    ) -> (Cache, Vec<f32>) {
        let longest = prompts.iter().map(|prompt| prompt.len()).max().unwrap_or(0);
        let trees: Vec<_> = prompts.iter().map(|prompt| Tree::sequence(prompt.len())).collect();
        let width = self.shape.width;
        let mut x = Vec::new();
        for token in prompts.iter().copied().flatten() {
            x.extend_from_slice(&self.embedding[*token as usize * width..][..width]);
        }
        let mut cache = Cache::new(self, prompts, copies, capacity.max(longest));
        for (layer, (attention, forward)) in self.blocks.iter().enumerate() {
            let (y, kept) = attention_saving(&self.shape, self.rotary, *attention, &trees, &x);
            cache.fill(self, layer, prompts, &kept.key, &kept.value, copies);
            x = feed_forward(*forward, &y);
        }
        let mut last = Vec::with_capacity(prompts.len() * width);
        let mut end = 0;
        for prompt in prompts {
            end += prompt.len();
            last.extend_from_slice(&x[(end - 1) * width..end * width]);
        }
        let mut logits = zeros(prompts.len() * self.vocabulary());
        self.logits(&mut logits, output, &last);
        (cache, logits)
    }

    /// Reads one token for each of `rows`; writes the next-token logits, `[rows][vocabulary]`.
    ///
    /// # Panics
    /// When a row has no room left, or a token is outside the vocabulary.
    pub fn step(
        &self,
        output: &[f32],
        cache: &mut Cache,
        rows: &[usize],
        tokens: &[u32],
        logits: &mut [f32],
    ) {
        let shape = &self.shape;
        let (n, width, narrow) = (rows.len(), shape.width, shape.key_value_width());
        let mut x = Buffer::any(n * width);
        for (x, token) in x.chunks_exact_mut(width).zip(tokens) {
            x.copy_from_slice(&self.embedding[*token as usize * width..][..width]);
        }
        let [mut normed, mut query, mut mixed] = [(); 3].map(|()| Buffer::any(n * width));
        let [mut key, mut value] = [(); 2].map(|()| Buffer::any(n * narrow));
        let hidden = self.blocks.first().map_or(0, |(_, forward)| forward.gate.len() / width);
        let [mut gate, mut up, mut active] = [(); 3].map(|()| Buffer::any(n * hidden));
        for (layer, (attention, forward)) in self.blocks.iter().enumerate() {
            normalise(&mut normed, &x, attention.norm, shape.epsilon);
            let left = Strided::rows(&normed, width);
            matmul(&mut query, width, left, attention.query, width, (n, width, width), Out::Set);
            matmul(&mut key, narrow, left, attention.key, narrow, (n, width, narrow), Out::Set);
            matmul(&mut value, narrow, left, attention.value, narrow, (n, width, narrow), Out::Set);
            for (i, row) in rows.iter().enumerate() {
                let position = cache.lengths[*row];
                let query = &mut query[i * width..(i + 1) * width];
                let key = &mut key[i * narrow..(i + 1) * narrow];
                self.rotary.turn(query, width, position);
                self.rotary.turn(key, narrow, position);
                let value = &value[i * narrow..(i + 1) * narrow];
                cache.append(shape, (layer, *row), key, value);
                let mixed = &mut mixed[i * width..(i + 1) * width];
                cache.attend(shape, (layer, *row), query, mixed);
            }
            let left = Strided::rows(&mixed, width);
            matmul(&mut x, width, left, attention.output, width, (n, width, width), Out::Add);

            normalise(&mut normed, &x, forward.norm, shape.epsilon);
            let left = Strided::rows(&normed, width);
            matmul(&mut gate, hidden, left, forward.gate, hidden, (n, width, hidden), Out::Set);
            matmul(&mut up, hidden, left, forward.up, hidden, (n, width, hidden), Out::Set);
            activate(&mut active, &gate, &up);
            let left = Strided::rows(&active, hidden);
            matmul(&mut x, width, left, forward.down, width, (n, hidden, width), Out::Add);
        }
        for row in rows {
            cache.lengths[*row] += 1;
        }
        self.logits(logits, output, &x);
    }

    fn logits(&self, logits: &mut [f32], output: &[f32], states: &[f32]) {
        let (width, vocabulary) = (self.shape.width, self.vocabulary());
        let n = states.len() / width;
        let mut normed = Buffer::any(states.len());
        normalise(&mut normed, states, self.norm, self.shape.epsilon);
        let left = Strided::rows(&normed, width);
        matmul(logits, vocabulary, left, output, vocabulary, (n, width, vocabulary), Out::Set);
    }
}

impl Cache {
    fn new(
        weights: &DecoderWeights<'_>,
        prompts: &[&[u32]],
        copies: &[usize],
        capacity: usize,
    ) -> Self {
        let rows = prompts.iter().zip(copies);
        let lengths: Vec<usize> =
            rows.flat_map(|(prompt, copies)| std::iter::repeat_n(prompt.len(), *copies)).collect();
        // Whole vectors of positions.
        let capacity = capacity.next_multiple_of(16);
        let size =
            weights.blocks.len() * lengths.len() * weights.shape.key_value_width() * capacity;
        let (keys, values) = (Buffer::any(size), Buffer::any(size));
        Self { rows: lengths.len(), capacity, keys, values, lengths }
    }

    /// Where a row's keys (and its values) of a layer begin.
    fn at(&self, shape: &AttentionShape, (layer, row): (usize, usize)) -> usize {
        (layer * self.rows + row) * shape.key_value_width() * self.capacity
    }

    /// Copies the prompts' keys and values of a layer, `[tokens of all prompts][key-value width]`, to their rows.
    fn fill(
        &mut self,
        weights: &DecoderWeights<'_>,
        layer: usize,
        prompts: &[&[u32]],
        keys: &[f32],
        values: &[f32],
        copies: &[usize],
    ) {
        let shape = &weights.shape;
        let (narrow, capacity) = (shape.key_value_width(), self.capacity);
        let head_width = shape.head_width();
        let (mut row, mut first, size) = (0, 0, narrow * capacity);
        for (prompt, copies) in prompts.iter().zip(copies) {
            let tokens = first..first + prompt.len();
            first = tokens.end;
            if *copies == 0 {
                continue;
            }
            let at = self.at(shape, (layer, row));
            for (position, token) in tokens.enumerate() {
                let token = token * narrow;
                for column in 0..narrow {
                    let (head, within) = (column / head_width, column % head_width);
                    self.keys[at + column * capacity + position] = keys[token + column];
                    self.values[at + (head * capacity + position) * head_width + within] =
                        values[token + column];
                }
            }
            for copy in 1..*copies {
                self.keys.copy_within(at..at + size, at + copy * size);
                self.values.copy_within(at..at + size, at + copy * size);
            }
            row += copies;
        }
    }

    fn append(&mut self, shape: &AttentionShape, at: (usize, usize), key: &[f32], value: &[f32]) {
        let (position, head_width) = (self.lengths[at.1], shape.head_width());
        assert!(position < self.capacity, "row {} is full", at.1);
        let start = self.at(shape, at);
        for (column, key) in key.iter().enumerate() {
            self.keys[start + column * self.capacity + position] = *key;
        }
        for (head, value) in value.chunks_exact(head_width).enumerate() {
            let to = start + (head * self.capacity + position) * head_width;
            self.values[to..to + head_width].copy_from_slice(value);
        }
    }

    /// Attention of one row's query over its cached positions and the one just appended.
    fn attend(&self, shape: &AttentionShape, at: (usize, usize), query: &[f32], mixed: &mut [f32]) {
        let (length, head_width) = (self.lengths[at.1] + 1, shape.head_width());
        let (start, sharing) = (self.at(shape, at), shape.heads / shape.key_value_heads);
        let scale = (head_width as f32).sqrt();
        let mut scores = Buffer::any(sharing * length);
        for head in 0..shape.key_value_heads {
            let of_head = start + head * head_width * self.capacity;
            let keys = &self.keys[of_head..of_head + head_width * self.capacity];
            let values = &self.values[of_head..of_head + head_width * self.capacity];
            let first = head * sharing * head_width;
            let heads = first..first + sharing * head_width;
            let left = Strided::rows(&query[heads.clone()], head_width);
            let dimensions = (sharing, head_width, length);
            matmul(&mut scores, length, left, keys, self.capacity, dimensions, Out::Set);
            mix_values(&mut mixed[heads], &mut scores, values, (length, scale));
        }
    }
}

/// `mixed = softmax(scores / scale) values` for each of the heads that share `values`.
///
/// Four sums run side by side, over the positions that are 0, 1, 2, 3 modulo 4.
#[pulp::with_simd(mix_values = arch())]
#[inline(always)]
fn mix_values_with<'a, S: Simd>(
    simd: S,
    mixed: &'a mut [f32],
    scores: &'a mut [f32],
    values: &'a [f32],
    (length, scale): (usize, f32),
) {
    let heads = scores.len() / length;
    let head_width = mixed.len() / heads;
    let rows = mixed.chunks_exact_mut(head_width).zip(scores.chunks_exact_mut(length));
    for (mixed, weights) in rows {
        let scale = settle(simd, weights, scale);
        softmax_in_place(simd, weights, scale);
        for (vector, out) in mixed.chunks_mut(S::F32_LANES).enumerate() {
            let first = vector * S::F32_LANES;
            let load = inline(
                #[inline(always)]
                |position: usize| {
                    let from = position * head_width + first;
                    let values = &values[from..from + out.len()];
                    // A whole vector costs a load, a part of one a call.
                    match S::as_simd_f32s(values) {
                        ([whole], _) => *whole,
                        (_, part) => simd.partial_load_f32s(part),
                    }
                },
            );
            let mut sums = [simd.splat_f32s(0.0); 4];
            let (quads, rest) = weights.as_chunks::<4>();
            for (quad, weights) in quads.iter().enumerate() {
                for (i, sum) in sums.iter_mut().enumerate() {
                    let weight = simd.splat_f32s(weights[i]);
                    *sum = simd.mul_add_e_f32s(weight, load(quad * 4 + i), *sum);
                }
            }
            for (i, weight) in rest.iter().enumerate() {
                let weight = simd.splat_f32s(*weight);
                sums[i] = simd.mul_add_e_f32s(weight, load(length - rest.len() + i), sums[i]);
            }
            let [a, b, c, d] = sums;
            let sum = simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d));
            simd.partial_store_f32s(out, sum);
        }
    }
}
