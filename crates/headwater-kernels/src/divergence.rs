//! KL divergence between the next-token distributions of two models, straight from hidden states.
//!
//! KL = sum p (log p - log q) with p = softmax(E h / temperature) and q likewise from the other model's E and
//! h. Its gradients with respect to the logits are `p (log p - log q - KL)` and `q - p`, over the temperature.

use pulp::Simd;

use crate::buffer::{Buffer, zeros};
use crate::embedding::{gather, scatter};
use crate::matmul::{Into, Strided, product, transpose};
use crate::scores::{Scored, probability, settle};
use crate::simd::{arch, exp, inline};
use crate::threads::{cut, parts, run, total};

/// Rows worked off together.
const CHUNK: usize = 192;

/// Gradients of one side's hidden states and embedding.
pub type SideGradients = (Vec<f32>, Vec<f32>);

/// `[rows]`: KL(p, q) in nats of every pair of rows `p.at[i]`, `q.at[i]`.
///
/// # Panics
/// When the sides differ in rows, vocabulary or temperature, or the temperature is not above 0.
#[must_use]
pub fn divergence(p: &Scored<'_>, q: &Scored<'_>) -> Vec<f32> {
    check(p, q);
    let mut out = zeros(p.at.len());
    let turned = [turned(p), turned(q)];
    let parts = parts(p.at.len(), 32);
    run(parts.iter().zip(cut(&mut out, &parts, 1)).collect(), |(part, out)| {
        for (chunk, out) in out.chunks_mut(CHUNK).enumerate() {
            let first = part.start + chunk * CHUNK;
            let rows = first..first + out.len();
            let mut z = logits(p, &turned[0], rows.clone());
            let mut other = logits(q, &turned[1], rows);
            compare_rows(out, &mut z, &mut other, p.temperature);
        }
    });
    out
}

/// Gradients of both sides, given that of [`divergence`]'s result.
///
/// # Panics
/// As [`divergence`].
#[must_use]
pub fn divergence_backward(
    p: &Scored<'_>,
    q: &Scored<'_>,
    gradient: &[f32],
) -> (SideGradients, SideGradients) {
    check(p, q);
    let vocabulary = p.embedding.len() / p.width;
    let turned = [turned(p), turned(q)];
    let parts = parts(p.at.len(), 32);
    let mut rows_p = Buffer::any(p.at.len() * p.width);
    let mut rows_q = Buffer::any(q.at.len() * q.width);
    let rows = cut(&mut rows_p, &parts, p.width).into_iter().zip(cut(&mut rows_q, &parts, q.width));
    let sums = run(parts.iter().zip(rows).collect(), |(part, (drows_p, drows_q))| {
        let mut sums = [zeros(p.embedding.len()), zeros(q.embedding.len())];
        for first in part.clone().step_by(CHUNK) {
            let rows = first..part.end.min(first + CHUNK);
            let mut z = logits(p, &turned[0], rows.clone());
            let mut other = logits(q, &turned[1], rows.clone());
            let mut value = Buffer::any(rows.len());
            compare_rows(&mut value, &mut z, &mut other, p.temperature);
            slopes(&mut z, &mut other, &value, &gradient[rows.clone()], p.slope());
            let own = rows.start - part.start..rows.end - part.start;
            for (side, dlogits, drows, sum) in
                [(p, &z, &mut *drows_p, 0), (q, &other, &mut *drows_q, 1)]
            {
                let width = side.width;
                let drows = &mut drows[own.start * width..own.end * width];
                let back = (rows.len(), vocabulary, width);
                let left = Strided::rows(dlogits, vocabulary);
                product(drows, width, left, side.embedding, width, back, Into::Set);
                let hidden = gather(side.hidden, width, &side.at[rows.clone()]);
                let left = Strided::columns(dlogits, vocabulary);
                let across = (vocabulary, rows.len(), width);
                product(&mut sums[sum], width, left, &hidden, width, across, Into::Add);
            }
        }
        sums
    });
    let (sums_p, sums_q) = sums.into_iter().map(|[p, q]| (p, q)).unzip();
    let side = |side: &Scored<'_>, rows: &[f32], sums| {
        let mut dhidden = zeros(side.hidden.len());
        scatter(&mut dhidden, side.width, side.at, rows);
        (dhidden, total(sums))
    };
    (side(p, &rows_p, sums_p), side(q, &rows_q, sums_q))
}

fn check(p: &Scored<'_>, q: &Scored<'_>) {
    p.check();
    let size = |side: &Scored<'_>| (side.at.len(), side.embedding.len() / side.width);
    assert_eq!(size(p), size(q), "rows and vocabulary of the two sides");
    assert_eq!(p.temperature, q.temperature, "temperature of the two sides");
}

fn turned(side: &Scored<'_>) -> Buffer {
    let mut turned = Buffer::any(side.embedding.len());
    transpose(&mut turned, side.embedding, (side.embedding.len() / side.width, side.width));
    turned
}

fn logits(side: &Scored<'_>, turned: &[f32], rows: std::ops::Range<usize>) -> Buffer {
    let (width, vocabulary) = (side.width, side.embedding.len() / side.width);
    let hidden = gather(side.hidden, width, &side.at[rows.clone()]);
    let mut logits = Buffer::any(rows.len() * vocabulary);
    let dimensions = (rows.len(), width, vocabulary);
    let left = Strided::rows(&hidden, width);
    product(&mut logits, vocabulary, left, turned, vocabulary, dimensions, Into::Set);
    logits
}

/// Turns both sides' logits into log-probabilities, and gives each row's divergence.
#[pulp::with_simd(compare_rows = arch())]
#[inline(always)]
fn compare_rows_with<'a, S: Simd>(
    simd: S,
    out: &'a mut [f32],
    z: &'a mut [f32],
    other: &'a mut [f32],
    temperature: f32,
) {
    let vocabulary = z.len() / out.len();
    let rows = z.chunks_exact_mut(vocabulary).zip(other.chunks_exact_mut(vocabulary));
    for ((z, other), out) in rows.zip(out) {
        log_probabilities(simd, z, temperature);
        log_probabilities(simd, other, temperature);
        let ((body, tail), (others, other_tail)) = (S::as_simd_f32s(z), S::as_simd_f32s(other));
        let sum = body.iter().zip(others).fold(
            simd.splat_f32s(0.0),
            #[inline(always)]
            |sum, (p, q)| {
                let apart = simd.sub_f32s(*p, *q);
                simd.mul_add_e_f32s(probability(simd, *p), apart, sum)
            },
        );
        let rest: f32 = tail.iter().zip(other_tail).map(|(p, q)| p.exp() * (p - q)).sum();
        *out = simd.reduce_sum_f32s(sum) + rest;
    }
}

#[inline(always)]
fn log_probabilities<S: Simd>(simd: S, z: &mut [f32], temperature: f32) {
    let scale = 1.0 / settle(simd, z, temperature);
    let top = z.iter().copied().fold(f32::NEG_INFINITY, f32::max) * scale;
    let (scales, shift) = (simd.splat_f32s(scale), simd.splat_f32s(-top));
    let (body, tail) = S::as_simd_f32s(z);
    let mass = body.iter().fold(
        simd.splat_f32s(0.0),
        #[inline(always)]
        |mass, z| simd.add_f32s(mass, exp(simd, simd.mul_add_e_f32s(*z, scales, shift))),
    );
    let rest: f32 = tail.iter().map(|z| (z * scale - top).exp()).sum();
    let log_sum = top + (simd.reduce_sum_f32s(mass) + rest).ln();
    for z in z {
        *z = *z * scale - log_sum;
    }
}

/// From log-probabilities to the gradients of the raw logits, in place.
#[pulp::with_simd(slopes = arch())]
#[inline(always)]
fn slopes_with<'a, S: Simd>(
    simd: S,
    log_p: &'a mut [f32],
    log_q: &'a mut [f32],
    value: &'a [f32],
    gradient: &'a [f32],
    scale: f32,
) {
    let vocabulary = log_p.len() / value.len();
    let rows = log_p.chunks_exact_mut(vocabulary).zip(log_q.chunks_exact_mut(vocabulary));
    for ((p, q), (value, gradient)) in rows.zip(value.iter().zip(gradient)) {
        let (values, factor) = (simd.splat_f32s(*value), simd.splat_f32s(gradient * scale));
        let f = inline(
            #[inline(always)]
            |log_p: S::f32s, log_q: S::f32s| {
                let (p, q) = (probability(simd, log_p), probability(simd, log_q));
                let above = simd.sub_f32s(simd.sub_f32s(log_p, log_q), values);
                let scaled = simd.mul_f32s(p, factor);
                (simd.mul_f32s(scaled, above), simd.mul_f32s(simd.sub_f32s(q, p), factor))
            },
        );
        let ((p, p_tail), (q, q_tail)) = (S::as_mut_simd_f32s(p), S::as_mut_simd_f32s(q));
        for (p, q) in p.iter_mut().zip(q) {
            (*p, *q) = f(*p, *q);
        }
        if !p_tail.is_empty() {
            let (p, q) = f(simd.partial_load_f32s(p_tail), simd.partial_load_f32s(q_tail));
            simd.partial_store_f32s(p_tail, p);
            simd.partial_store_f32s(q_tail, q);
        }
    }
}
