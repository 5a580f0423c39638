//! Log-probability of a token and entropy of the distribution it is from, straight from hidden states: the
//! distributions of a whole batch are never held at once.
//!
//! With logits z = E h / temperature and p = softmax(z): log p_y = z_y - log-sum, H = log-sum - sum p z.
//! Their gradients with respect to z are `1[v = y] - p_v` and `-p_v (log p_v + H)`.
//!
//! Every temperature above 0 gives the exact distribution, however small it is: see [`settle`].

use pulp::Simd;

use crate::buffer::{Buffer, zeros};
use crate::embedding::{gather, scatter};
use crate::matmul::{Out, Strided, matmul, transpose};
use crate::simd::{LEAST_EXPONENT, arch, exp, inline, largest, sum};
use crate::threads::{cut, parts, run, total};

/// Rows worked off together.
const CHUNK: usize = 192;

/// The tied output: hidden states and embedding, and which rows are scored.
#[derive(Debug, Clone, Copy)]
pub struct Scored<'a> {
    /// `[tokens][width]`.
    pub hidden: &'a [f32],
    /// `[vocabulary][width]`.
    pub embedding: &'a [f32],
    /// Width of a hidden state.
    pub width: usize,
    /// Rows of `hidden` to score, in any order, a row as often as wanted.
    pub at: &'a [usize],
    /// Divides the logits; above 0. What is so small that f32 makes 0 of it is taken for its limit:
    /// all of the probability on the largest logit, shared where several are equal.
    pub temperature: f32,
}

/// What the backward pass needs: of every scored row the log-sum and the entropy.
#[derive(Debug)]
pub struct ScoresSaved {
    log_sums: Buffer,
}

impl Scored<'_> {
    fn vocabulary(&self) -> usize {
        self.embedding.len() / self.width
    }

    fn turned(&self) -> Buffer {
        let mut turned = Buffer::any(self.embedding.len());
        transpose(&mut turned, self.embedding, (self.vocabulary(), self.width));
        turned
    }

    /// What a slope in the scaled logits is multiplied by to be one in the logits: the
    /// temperature's inverse, at most 1e30, so that products with it are finite.
    pub(crate) fn slope(&self) -> f32 {
        1.0 / self.temperature.max(1e-30)
    }

    /// # Panics
    /// When the temperature is no number of at least 0.
    pub(crate) fn check(&self) {
        require_temperature(self.temperature);
    }
}

fn require_temperature(temperature: f32) {
    assert!(temperature >= 0.0, "temperature {temperature}: allowed is a number above 0");
}

/// Scaled logits of this size or more are rounded so coarsely that differences of them lose digits.
const COARSE: f32 = 256.0;

/// At temperatures below this, logits of a usual size would be.
const COLD: f32 = 0.1;

/// The least log-probability there is: what lies further below is no number that could be summed
/// up.
const LEAST_LOG: f32 = -1e37;

/// Prepares a row of logits for an extreme temperature, or for extreme logits at any: where scaled
/// logits would be too coarse, `(z - largest) / temperature` takes the place of z, and the
/// temperature left to divide by is 1.
///
/// The largest is taken off before the division, so that nothing overflows and every difference
/// keeps its digits. Other rows stay as they are, bit for bit.
#[inline(always)]
pub(crate) fn settle<S: Simd>(simd: S, logits: &mut [f32], temperature: f32) -> f32 {
    let top = largest(simd, logits);
    if temperature >= COLD && top.abs() < COARSE * temperature {
        return temperature;
    }
    let temperature = temperature.max(f32::MIN_POSITIVE);
    for z in logits {
        let scaled = (*z - top) / temperature;
        // In this order NaN stays NaN, and an infinite logit becomes one.
        *z = if scaled < LEAST_LOG { LEAST_LOG } else { scaled };
    }
    1.0
}

/// e to the x for log-probabilities: exactly 0 where [`exp`] has come to its end, which is not
/// quite 0.
#[inline(always)]
pub(crate) fn probability<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let beyond = simd.less_than_f32s(x, simd.splat_f32s(LEAST_EXPONENT));
    simd.select_f32s(beyond, simd.splat_f32s(0.0), exp(simd, x))
}

/// `[rows][2]`: log-probability of each target, and entropy in nats of its distribution.
///
/// # Panics
/// When a row or target is out of range, or the temperature is not above 0.
#[must_use]
pub fn token_scores(scored: &Scored<'_>, targets: &[usize]) -> (Vec<f32>, ScoresSaved) {
    scored.check();
    let (width, vocabulary) = (scored.width, scored.vocabulary());
    let mut out = zeros(scored.at.len() * 2);
    let mut saved = ScoresSaved { log_sums: Buffer::any(scored.at.len()) };
    let turned = scored.turned();
    let parts = parts(scored.at.len(), 32);
    let rows = cut(&mut out, &parts, 2).into_iter().zip(cut(&mut saved.log_sums, &parts, 1));
    run(parts.iter().zip(rows).collect(), |(part, (out, log_sums))| {
        let mut logits = Buffer::any(CHUNK.min(part.len()) * vocabulary);
        let chunks = out.chunks_mut(2 * CHUNK).zip(log_sums.chunks_mut(CHUNK));
        for (chunk, (out, log_sums)) in chunks.enumerate() {
            let first = part.start + chunk * CHUNK;
            let rows = first..first + log_sums.len();
            let hidden = gather(scored.hidden, width, &scored.at[rows.clone()]);
            let logits = &mut logits[..rows.len() * vocabulary];
            let left = Strided::rows(&hidden, width);
            let dimensions = (rows.len(), width, vocabulary);
            matmul(logits, vocabulary, left, &turned, vocabulary, dimensions, Out::Set);
            score_rows(out, log_sums, logits, &targets[rows], scored.temperature);
        }
    });
    (out, saved)
}

#[pulp::with_simd(score_rows = arch())]
#[inline(always)]
fn score_rows_with<'a, S: Simd>(
    simd: S,
    out: &'a mut [f32],
    log_sums: &'a mut [f32],
    logits: &'a mut [f32],
    targets: &'a [usize],
    temperature: f32,
) {
    let vocabulary = logits.len() / targets.len();
    let rows = logits.chunks_exact_mut(vocabulary).zip(targets);
    for ((logits, target), (out, log_sum)) in rows.zip(out.chunks_exact_mut(2).zip(log_sums)) {
        let temperature = settle(simd, logits, temperature);
        let chosen = logits[*target] / temperature;
        let (sum, mean) = softmax_in_place(simd, logits, temperature);
        *log_sum = sum;
        out[0] = chosen - sum;
        out[1] = sum - mean;
    }
}

/// Turns logits into probabilities; returns the log-sum and the mean of the scaled logits. Logits
/// and temperature are not extreme, or [`settle`]d.
#[inline(always)]
pub(crate) fn softmax_in_place<S: Simd>(
    simd: S,
    logits: &mut [f32],
    temperature: f32,
) -> (f32, f32) {
    let scale = 1.0 / temperature;
    let top = largest(simd, logits) * scale;
    let (scales, shift) = (simd.splat_f32s(scale), simd.splat_f32s(-top));
    // A share of 0 times minus infinity would be no number.
    let least = simd.splat_f32s(LEAST_LOG);
    let (mut mass, mut weighted) = (simd.splat_f32s(0.0), simd.splat_f32s(0.0));
    let (body, tail) = S::as_mut_simd_f32s(logits);
    for z in body.iter_mut() {
        let shifted = simd.max_f32s(least, simd.mul_add_e_f32s(*z, scales, shift));
        let weight = probability(simd, shifted);
        *z = weight;
        mass = simd.add_f32s(mass, weight);
        weighted = simd.mul_add_e_f32s(weight, shifted, weighted);
    }
    let (mut mass, mut weighted) = (simd.reduce_sum_f32s(mass), simd.reduce_sum_f32s(weighted));
    if !tail.is_empty() {
        let last = simd.partial_load_f32s(tail);
        let shifted = simd.max_f32s(least, simd.mul_add_e_f32s(last, scales, shift));
        simd.partial_store_f32s(tail, probability(simd, shifted));
        let mut shifts = [0.0f32; 64];
        simd.partial_store_f32s(&mut shifts[..tail.len()], shifted);
        for (weight, shifted) in tail.iter().zip(shifts) {
            mass += weight;
            weighted += weight * shifted;
        }
    }
    let share = 1.0 / mass;
    for z in body {
        *z = simd.mul_f32s(*z, simd.splat_f32s(share));
    }
    for z in tail {
        *z *= share;
    }
    (top + mass.ln(), top + weighted * share)
}

/// Gradients of hidden states and embedding, given those of [`token_scores`]'s `[rows][2]`.
///
/// # Panics
/// As [`token_scores`].
#[must_use]
pub fn token_scores_backward(
    scored: &Scored<'_>,
    targets: &[usize],
    saved: &ScoresSaved,
    gradient: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    scored.check();
    let (width, vocabulary) = (scored.width, scored.vocabulary());
    let turned = scored.turned();
    let mut rows = Buffer::any(scored.at.len() * width);
    let parts = parts(scored.at.len(), 32);
    let tasks = parts.iter().zip(cut(&mut rows, &parts, width)).collect();
    let sums = run(tasks, |(part, drows)| {
        let mut dembedding = zeros(scored.embedding.len());
        let mut logits = Buffer::any(CHUNK.min(part.len()) * vocabulary);
        for (chunk, drows) in drows.chunks_mut(CHUNK * width).enumerate() {
            let first = part.start + chunk * CHUNK;
            let rows = first..first + drows.len() / width;
            let hidden = gather(scored.hidden, width, &scored.at[rows.clone()]);
            let logits = &mut logits[..rows.len() * vocabulary];
            let left = Strided::rows(&hidden, width);
            let forward = (rows.len(), width, vocabulary);
            matmul(logits, vocabulary, left, &turned, vocabulary, forward, Out::Set);
            let outer = &gradient[2 * rows.start..2 * rows.end];
            let (targets, sums) = (&targets[rows.clone()], &saved.log_sums[rows.clone()]);
            let scales = (scored.temperature, scored.slope());
            score_rows_backward(logits, targets, sums, outer, scales);
            let back = (rows.len(), vocabulary, width);
            let dlogits = Strided::rows(logits, vocabulary);
            matmul(drows, width, dlogits, scored.embedding, width, back, Out::Set);
            let by_row = Strided::columns(logits, vocabulary);
            let dimensions = (vocabulary, rows.len(), width);
            matmul(&mut dembedding, width, by_row, &hidden, width, dimensions, Out::Add);
        }
        dembedding
    });
    let mut dhidden = zeros(scored.hidden.len());
    scatter(&mut dhidden, width, scored.at, &rows);
    (dhidden, total(sums))
}

/// From raw logits to the gradients of raw logits, in place.
#[pulp::with_simd(score_rows_backward = arch())]
#[inline(always)]
fn score_rows_backward_with<'a, S: Simd>(
    simd: S,
    logits: &'a mut [f32],
    targets: &'a [usize],
    log_sums: &'a [f32],
    gradient: &'a [f32],
    (temperature, slope): (f32, f32),
) {
    let vocabulary = logits.len() / targets.len();
    let rows = logits.chunks_exact_mut(vocabulary).zip(targets.iter().zip(log_sums));
    for ((logits, (target, log_sum)), gradient) in rows.zip(gradient.chunks_exact(2)) {
        let scale = 1.0 / settle(simd, logits, temperature);
        let (of_log_prob, of_entropy) = (gradient[0] * slope, gradient[1] * slope);
        let (scales, shift) = (simd.splat_f32s(scale), simd.splat_f32s(-log_sum));
        // exp of the padding's zeros is not 0, so the mean over p is summed from the slice itself.
        let entropy = if of_entropy == 0.0 {
            0.0
        } else {
            let (body, tail) = S::as_simd_f32s(logits);
            let mean = body.iter().fold(
                simd.splat_f32s(0.0),
                #[inline(always)]
                |mean, z| {
                    let log_p = simd.mul_add_e_f32s(*z, scales, shift);
                    // As forward: 0 times minus infinity would be no number.
                    let log_p = simd.max_f32s(simd.splat_f32s(LEAST_LOG), log_p);
                    simd.mul_add_e_f32s(probability(simd, log_p), log_p, mean)
                },
            );
            let rest: f32 = tail
                .iter()
                .map(|z| {
                    let log_p = z * scale - log_sum;
                    let log_p = if log_p < LEAST_LOG { LEAST_LOG } else { log_p };
                    log_p.exp() * log_p
                })
                .sum();
            -(simd.reduce_sum_f32s(mean) + rest)
        };
        let (plain, weighted) = (simd.splat_f32s(-of_log_prob), simd.splat_f32s(-of_entropy));
        let entropies = simd.splat_f32s(entropy);
        let f = inline(
            #[inline(always)]
            |z: S::f32s| {
                let log_p = simd.mul_add_e_f32s(z, scales, shift);
                // Where the probability is 0 the factor has to be finite, no more.
                let near = simd.max_f32s(simd.splat_f32s(LEAST_EXPONENT), log_p);
                let factor = simd.mul_add_e_f32s(weighted, simd.add_f32s(near, entropies), plain);
                simd.mul_f32s(probability(simd, log_p), factor)
            },
        );
        let (body, tail) = S::as_mut_simd_f32s(logits);
        for z in body {
            *z = f(*z);
        }
        if !tail.is_empty() {
            let last = f(simd.partial_load_f32s(tail));
            simd.partial_store_f32s(tail, last);
        }
        logits[*target] += of_log_prob;
    }
}

/// Turns one row of logits into log-probabilities, and fills `probabilities`; returns the entropy
/// in nats. The temperature is as in [`Scored`].
///
/// # Panics
/// When the slices differ in length, or the temperature is not above 0.
#[pulp::with_simd(log_softmax = arch())]
#[inline(always)]
#[allow(unreachable_pub)]
pub fn log_softmax_with<'a, S: Simd>(
    simd: S,
    logits: &'a mut [f32],
    probabilities: &'a mut [f32],
    temperature: f32,
) -> f32 {
    require_temperature(temperature);
    let temperature = settle(simd, logits, temperature);
    probabilities.copy_from_slice(logits);
    let (log_sum, mean) = softmax_in_place(simd, probabilities, temperature);
    let scale = 1.0 / temperature;
    for z in logits {
        *z = *z * scale - log_sum;
    }
    log_sum - mean
}

/// Sum of squares, in double precision over blocks.
#[must_use]
pub fn sum_of_squares(values: &[f32]) -> f64 {
    values.chunks(4096).map(|block| f64::from(square(block))).sum()
}

#[allow(clippy::needless_lifetimes)] // The macro needs the lifetime by name.
#[pulp::with_simd(square = arch())]
#[inline(always)]
fn square_with<'a, S: Simd>(simd: S, values: &'a [f32]) -> f32 {
    sum(
        simd,
        [values],
        #[inline(always)]
        |[x]| simd.mul_f32s(x, x),
    )
}
