//! Rotary positions (Su et al. 2021) on the pairs (i, i + half) of each head.

use pulp::Simd;

use crate::simd::arch;

/// Cosines and sines of every position's angles, `[positions][head width / 2]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotary {
    half: usize,
    cosine: Vec<f32>,
    sine: Vec<f32>,
}

impl Rotary {
    /// Tables for `positions` positions of heads of width `2 * half`: pair i turns by
    /// `position * base^(-i / half)` radians.
    #[must_use]
    pub fn new(positions: usize, half: usize, base: f64) -> Self {
        let angles: Vec<f64> = (0..positions * half)
            .map(|at| (at / half) as f64 * base.powf(-((at % half) as f64) / half as f64))
            .collect();
        Self {
            half,
            cosine: angles.iter().map(|angle| angle.cos() as f32).collect(),
            sine: angles.iter().map(|angle| angle.sin() as f32).collect(),
        }
    }

    /// Positions there are tables for.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.cosine.len() / self.half
    }

    /// Cosines, `[positions][head width / 2]`.
    #[must_use]
    pub fn cosine(&self) -> &[f32] {
        &self.cosine
    }

    /// Sines, `[positions][head width / 2]`.
    #[must_use]
    pub fn sine(&self) -> &[f32] {
        &self.sine
    }

    /// Turns every head of every row of `x`, `[rows][width]`; row r stands at position `first + r`.
    pub(crate) fn turn(&self, x: &mut [f32], width: usize, first: usize) {
        rotate(self, x, width, first, 1.0);
    }

    /// Undoes [`Rotary::turn`]: its transpose, for gradients.
    pub(crate) fn turn_back(&self, x: &mut [f32], width: usize, first: usize) {
        rotate(self, x, width, first, -1.0);
    }
}

#[pulp::with_simd(rotate = arch())]
#[inline(always)]
fn rotate_with<'a, S: Simd>(
    _simd: S,
    rotary: &'a Rotary,
    x: &'a mut [f32],
    width: usize,
    first: usize,
    sign: f32,
) {
    let half = rotary.half;
    for (row, x) in x.chunks_exact_mut(width).enumerate() {
        let at = (first + row) * half;
        let (cosine, sine) = (&rotary.cosine[at..at + half], &rotary.sine[at..at + half]);
        for head in x.chunks_exact_mut(2 * half) {
            let (first, second) = head.split_at_mut(half);
            for (((a, b), cosine), sine) in first.iter_mut().zip(second).zip(cosine).zip(sine) {
                let sine = sign * sine;
                (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
            }
        }
    }
}
