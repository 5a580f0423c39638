//! Activations of dense layers and their slopes.

use pulp::Simd;

use crate::simd::{arch, exp, map, sigmoid, update};

/// What a dense layer applies to `x W + b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// z.
    Identity,
    /// max(z, 0).
    Relu,
    /// z Phi(z) with Phi the standard normal distribution function (Hendrycks & Gimpel 2016).
    Gelu,
    /// Its approximation `z / 2 (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3)))`.
    GeluTanh,
    /// z / (1 + e^-z).
    Silu,
}

impl Activation {
    /// Whether value and slope can be had from the result itself, f(f(z)) being f(z).
    pub(crate) fn is_piecewise_linear(self) -> bool {
        matches!(self, Self::Identity | Self::Relu)
    }
}

/// max(z, 0), and NaN of NaN.
#[inline(always)]
pub(crate) fn relu<S: Simd>(simd: S, z: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    simd.select_f32s(simd.less_than_f32s(z, zero), zero, z)
}

/// `x` where `y` is positive, else 0.
#[inline(always)]
pub(crate) fn where_positive<S: Simd>(simd: S, y: S::f32s, x: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    simd.select_f32s(simd.greater_than_f32s(y, zero), x, zero)
}

/// Standard normal distribution function and density.
///
/// Phi(-|z|) = e^(-z^2 / 2) P(t) with t = 1 / (1 + 0.3 |z|); P is our own minimax fit, relative error 1.2e-7.
#[inline(always)]
fn normal<S: Simd>(simd: S, z: S::f32s) -> (S::f32s, S::f32s) {
    let splat = |v: f32| simd.splat_f32s(v);
    let size = simd.abs_f32s(z);
    let t = simd.div_f32s(splat(1.0), simd.mul_add_e_f32s(size, splat(0.3), splat(1.0)));
    let mut p = splat(0.036_194_846);
    for c in [
        -0.159_378_27,
        0.210_118_32,
        -0.057_167_29,
        0.130_416_41,
        0.099_347_14,
        0.120_845_53,
        0.119_623_263,
    ] {
        p = simd.mul_add_e_f32s(p, t, splat(c));
    }
    let bell = exp(simd, simd.mul_f32s(simd.mul_f32s(z, z), splat(-0.5)));
    let tail = simd.mul_f32s(simd.mul_f32s(p, t), bell);
    let above = simd.greater_than_f32s(z, splat(0.0));
    let cumulative = simd.select_f32s(above, simd.sub_f32s(splat(1.0), tail), tail);
    (cumulative, simd.mul_f32s(bell, splat(0.398_942_3)))
}

/// The two coefficients of [`Activation::GeluTanh`] as `z sigmoid(z (A + B z^2))`: twice sqrt(2 / pi), and
/// that times 0.044715.
const TANH: (f32, f32) = (1.595_769, 0.071_354_81);

#[inline(always)]
fn value<S: Simd>(simd: S, activation: Activation, z: S::f32s) -> S::f32s {
    match activation {
        Activation::Identity => z,
        Activation::Relu => relu(simd, z),
        Activation::Gelu => simd.mul_f32s(z, normal(simd, z).0),
        Activation::GeluTanh => {
            let (a, b) = (simd.splat_f32s(TANH.0), simd.splat_f32s(TANH.1));
            let inner = simd.mul_f32s(z, simd.mul_add_e_f32s(simd.mul_f32s(z, z), b, a));
            simd.mul_f32s(z, sigmoid(simd, inner))
        }
        Activation::Silu => simd.mul_f32s(z, sigmoid(simd, z)),
    }
}

/// `gradient` times the slope at z (for a piecewise linear activation, its result will do as well).
#[inline(always)]
fn times_slope<S: Simd>(simd: S, activation: Activation, z: S::f32s, gradient: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    // (z s(u))' = s (1 + z u' (1 - s)) with s the sigmoid.
    let slope = |s: S::f32s, along: S::f32s| {
        simd.mul_f32s(s, simd.mul_add_e_f32s(along, simd.sub_f32s(one, s), one))
    };
    match activation {
        Activation::Identity => gradient,
        Activation::Relu => where_positive(simd, z, gradient),
        Activation::Gelu => {
            let (cumulative, density) = normal(simd, z);
            simd.mul_f32s(gradient, simd.mul_add_e_f32s(z, density, cumulative))
        }
        Activation::GeluTanh => {
            let (a, b) = (simd.splat_f32s(TANH.0), simd.splat_f32s(TANH.1));
            let square = simd.mul_f32s(z, z);
            let s = sigmoid(simd, simd.mul_f32s(z, simd.mul_add_e_f32s(square, b, a)));
            let b = simd.splat_f32s(3.0 * TANH.1);
            let along = simd.mul_f32s(z, simd.mul_add_e_f32s(square, b, a));
            simd.mul_f32s(gradient, slope(s, along))
        }
        Activation::Silu => simd.mul_f32s(gradient, slope(sigmoid(simd, z), z)),
    }
}

/// `rows = f(rows + bias)`, rows as wide as the bias.
#[pulp::with_simd(add_bias_and_activate = arch())]
#[inline(always)]
pub(crate) fn add_bias_and_activate_with<'a, S: Simd>(
    simd: S,
    activation: Activation,
    rows: &'a mut [f32],
    bias: &'a [f32],
) {
    for row in rows.chunks_exact_mut(bias.len()) {
        update(
            simd,
            row,
            [bias],
            #[inline(always)]
            |z, [b]| value(simd, activation, simd.add_f32s(z, b)),
        );
    }
}

/// `rows += bias`.
#[pulp::with_simd(add_bias = arch())]
#[inline(always)]
pub(crate) fn add_bias_with<'a, S: Simd>(simd: S, rows: &'a mut [f32], bias: &'a [f32]) {
    for row in rows.chunks_exact_mut(bias.len()) {
        update(simd, row, [bias], |z, [b]| simd.add_f32s(z, b));
    }
}

/// `out = f(z)`.
#[pulp::with_simd(activate = arch())]
#[inline(always)]
pub(crate) fn activate_with<'a, S: Simd>(
    simd: S,
    activation: Activation,
    out: &'a mut [f32],
    z: &'a [f32],
) {
    map(
        simd,
        out,
        [z],
        #[inline(always)]
        |[z]| value(simd, activation, z),
    );
}

/// Turns the gradient of f(z) into that of z, and adds its sum over rows to `dbias`.
#[pulp::with_simd(activate_backward = arch())]
#[inline(always)]
pub(crate) fn activate_backward_with<'a, S: Simd>(
    simd: S,
    activation: Activation,
    gradient: &'a mut [f32],
    z: &'a [f32],
    dbias: &'a mut [f32],
) {
    let width = dbias.len();
    for (gradient, z) in gradient.chunks_exact_mut(width).zip(z.chunks_exact(width)) {
        update(
            simd,
            gradient,
            [z],
            #[inline(always)]
            |g, [z]| times_slope(simd, activation, z, g),
        );
        update(simd, dbias, [gradient], |sum, [g]| simd.add_f32s(sum, g));
    }
}

/// Adds the sum over rows of `gradient` to `dbias`.
#[pulp::with_simd(add_rows = arch())]
#[inline(always)]
pub(crate) fn add_rows_with<'a, S: Simd>(simd: S, dbias: &'a mut [f32], gradient: &'a [f32]) {
    for gradient in gradient.chunks_exact(dbias.len()) {
        update(simd, dbias, [gradient], |sum, [g]| simd.add_f32s(sum, g));
    }
}
