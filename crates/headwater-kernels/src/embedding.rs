//! Rows of an embedding.

use crate::buffer::{Buffer, zeros};

/// The row of `embedding` (rows of `width`) of every token.
///
/// # Panics
/// When a token has no row.
#[must_use]
pub fn embed(embedding: &[f32], width: usize, tokens: &[usize]) -> Vec<f32> {
    let mut out = Vec::with_capacity(tokens.len() * width);
    for token in tokens {
        out.extend_from_slice(&embedding[token * width..(token + 1) * width]);
    }
    out
}

/// Gradient of the embedding of `rows` rows, given that of [`embed`]'s result.
///
/// # Panics
/// When a token has no row.
#[must_use]
pub fn embed_backward(rows: usize, width: usize, tokens: &[usize], gradient: &[f32]) -> Vec<f32> {
    let mut sums = zeros(rows * width);
    scatter(&mut sums, width, tokens, gradient);
    sums
}

/// `out[at[i]] += rows[i]`, in order.
pub(crate) fn scatter(out: &mut [f32], width: usize, at: &[usize], rows: &[f32]) {
    for (at, row) in at.iter().zip(rows.chunks_exact(width)) {
        let out = &mut out[at * width..(at + 1) * width];
        for (out, value) in out.iter_mut().zip(row) {
            *out += value;
        }
    }
}

/// `rows[at[i]]` for every i.
pub(crate) fn gather(rows: &[f32], width: usize, at: &[usize]) -> Buffer {
    let mut out = Buffer::any(at.len() * width);
    for (out, at) in out.chunks_exact_mut(width).zip(at) {
        out.copy_from_slice(&rows[at * width..(at + 1) * width]);
    }
    out
}
