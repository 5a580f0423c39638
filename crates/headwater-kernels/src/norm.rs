//! RMS norm over the last dimension (Zhang & Sennrich 2019): `x / sqrt(mean(x^2) + epsilon) * gain`.

use pulp::Simd;

use crate::buffer::zeros;
use crate::simd::{arch, map, sum, update};
use crate::threads::{cut, parts, run, total};

/// Rows a thread takes at the least.
const LEAST_ROWS: usize = 64;

/// The norm of each row of `x`, rows as wide as `gain`.
#[must_use]
pub fn rms_norm(x: &[f32], gain: &[f32], epsilon: f32) -> Vec<f32> {
    let width = gain.len();
    let mut out = zeros(x.len());
    let parts = parts(x.len() / width, LEAST_ROWS);
    let tasks = parts.iter().zip(cut(&mut out, &parts, width)).collect();
    run(tasks, |(part, out)| {
        normalise(out, &x[part.start * width..part.end * width], gain, epsilon)
    });
    out
}

/// Gradients of [`rms_norm`] with respect to `x` and `gain`, given that of its result.
#[must_use]
pub fn rms_norm_backward(
    x: &[f32],
    gain: &[f32],
    epsilon: f32,
    gradient: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let width = gain.len();
    let mut dx = zeros(x.len());
    let parts = parts(x.len() / width, LEAST_ROWS);
    let tasks = parts.iter().zip(cut(&mut dx, &parts, width)).collect();
    let gains = run(tasks, |(part, dx)| {
        let rows = part.start * width..part.end * width;
        let mut dgain = zeros(width);
        normalise_backward(dx, &mut dgain, &gradient[rows.clone()], &x[rows], gain, epsilon);
        dgain
    });
    (dx, total(gains))
}

#[inline(always)]
fn scale<S: Simd>(simd: S, row: &[f32], epsilon: f32) -> f32 {
    let square = sum(
        simd,
        [row],
        #[inline(always)]
        |[x]| simd.mul_f32s(x, x),
    );
    if square.is_finite() {
        return 1.0 / (square / row.len() as f32 + epsilon).sqrt();
    }
    // Squares end in f32 long before the numbers do.
    let square: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum();
    (1.0 / (square / row.len() as f64 + f64::from(epsilon)).sqrt()) as f32
}

/// Writes the norm of each row of `x` to `out`.
#[pulp::with_simd(normalise = arch())]
#[inline(always)]
pub(crate) fn normalise_with<'a, S: Simd>(
    simd: S,
    out: &'a mut [f32],
    x: &'a [f32],
    gain: &'a [f32],
    epsilon: f32,
) {
    for (out, x) in out.chunks_exact_mut(gain.len()).zip(x.chunks_exact(gain.len())) {
        let scale = simd.splat_f32s(scale(simd, x, epsilon));
        map(
            simd,
            out,
            [x, gain],
            #[inline(always)]
            |[x, gain]| simd.mul_f32s(simd.mul_f32s(x, scale), gain),
        );
    }
}

/// Adds the gradients of [`normalise`] to `dx` and `dgain`.
///
/// With s the row's scale and g = gradient * gain: dx = s g - x s^3 mean(g x), dgain = sum of gradient x s.
#[pulp::with_simd(normalise_backward = arch())]
#[inline(always)]
pub(crate) fn normalise_backward_with<'a, S: Simd>(
    simd: S,
    dx: &'a mut [f32],
    dgain: &'a mut [f32],
    gradient: &'a [f32],
    x: &'a [f32],
    gain: &'a [f32],
    epsilon: f32,
) {
    let width = gain.len();
    let rows = x.chunks_exact(width).zip(gradient.chunks_exact(width));
    for (dx, (x, gradient)) in dx.chunks_exact_mut(width).zip(rows) {
        let s = scale(simd, x, epsilon);
        let product = sum(
            simd,
            [gradient, gain, x],
            #[inline(always)]
            |[d, g, x]| simd.mul_f32s(simd.mul_f32s(d, g), x),
        );
        let along = -s * s * s * product / width as f32;
        if !(s * s * s).is_normal() {
            // Of a row so large that the cube is lost, every factor is scaled by itself.
            let rows = x.iter().zip(gradient.iter().zip(gain));
            let product: f32 = rows.map(|(x, (d, g))| d * g * (x * s)).sum();
            let along = -product / width as f32;
            for (dx, (x, (d, g))) in dx.iter_mut().zip(x.iter().zip(gradient.iter().zip(gain))) {
                *dx += s * (d * g + along * (x * s));
            }
            for (dgain, (x, d)) in dgain.iter_mut().zip(x.iter().zip(gradient)) {
                *dgain += d * (x * s);
            }
            continue;
        }
        let along = simd.splat_f32s(along);
        let s = simd.splat_f32s(s);
        update(
            simd,
            dx,
            [gradient, gain, x],
            #[inline(always)]
            |dx, [d, g, x]| {
                let dx = simd.mul_add_e_f32s(simd.mul_f32s(d, g), s, dx);
                simd.mul_add_e_f32s(x, along, dx)
            },
        );
        update(
            simd,
            dgain,
            [gradient, x],
            #[inline(always)]
            |dgain, [d, x]| simd.mul_add_e_f32s(simd.mul_f32s(d, x), s, dgain),
        );
    }
}
