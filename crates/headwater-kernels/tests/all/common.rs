//! What the tests of several kernels need: values, comparisons with plain double-precision code, and checks of
//! gradients against its finite differences.

use headwater_kernels::InstructionSet;
use proptest::prelude::*;

/// Reproducible values in about (-1, 1).
pub(crate) fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Multiples of `unit` in (-1, 1). Products and sums of a few such are exact, in either precision: a ReLU is on
/// the same side of its kink in both.
pub(crate) fn on_grid(count: usize, seed: u64, unit: f32) -> Vec<f32> {
    values(count, seed).iter().map(|v| (v / unit).trunc() * unit).collect()
}

/// Odd multiples of `unit` in (-1, 1): a sum of even multiples with one of these is not 0, nor near it.
pub(crate) fn off_grid(count: usize, seed: u64, unit: f32) -> Vec<f32> {
    values(count, seed).iter().map(|v| ((v / unit / 2.0).trunc() * 2.0 + 1.0) * unit).collect()
}

pub(crate) fn double(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

/// Checks `gradient[tensor]` at up to 24 places of every tensor against central differences of
/// `loss(tensors)`.
pub(crate) fn check_gradients(
    tensors: &[Vec<f64>],
    gradients: &[&[f32]],
    loss: impl Fn(&[Vec<f64>]) -> f64,
) {
    check_gradients_by(1e-5, tensors, gradients, loss);
}

/// [`check_gradients`] with differences over `step` to either side: small where the loss has kinks.
pub(crate) fn check_gradients_by(
    step: f64,
    tensors: &[Vec<f64>],
    gradients: &[&[f32]],
    loss: impl Fn(&[Vec<f64>]) -> f64,
) {
    let largest =
        |gradient: &[f32]| gradient.iter().fold(0.0f64, |top, g| top.max(f64::from(g.abs())));
    // A gradient that cancels (of keys, if there is one position) is as far off as its terms.
    let overall = gradients.iter().fold(1.0f64, |top, gradient| top.max(largest(gradient)));
    let mut moved = tensors.to_vec();
    for (tensor, gradient) in gradients.iter().enumerate() {
        assert_eq!(gradient.len(), tensors[tensor].len());
        let top = largest(gradient).max(1e-2 * overall);
        for at in (0..gradient.len()).step_by(gradient.len().div_ceil(24).max(1)) {
            let value = tensors[tensor][at];
            let mut at_shift = |shift: f64| {
                moved[tensor][at] = value + shift;
                let loss = loss(&moved);
                moved[tensor][at] = value;
                loss
            };
            let slope = (at_shift(step) - at_shift(-step)) / (2.0 * step);
            let error = (slope - f64::from(gradient[at])).abs();
            assert!(
                error < 1e-4 * top,
                "tensor {tensor}, element {at}: {} by kernel, {slope} by differences",
                gradient[at]
            );
        }
    }
}

pub(crate) fn close(have: &[f32], want: &[f64]) {
    assert_eq!(have.len(), want.len());
    let top = want.iter().fold(1.0f64, |top, v| top.max(v.abs()));
    for (at, (have, want)) in have.iter().zip(want).enumerate() {
        let error = (f64::from(*have) - want).abs();
        assert!(error < 1e-5 * top, "element {at}: {have} instead of {want}");
    }
}

pub(crate) fn dot(a: &[f64], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * f64::from(*b)).sum()
}

/// `x[rows][inner] w[inner][columns]`.
pub(crate) fn times(x: &[f64], w: &[f64], inner: usize) -> Vec<f64> {
    let columns = w.len() / inner;
    let rows = x.chunks(inner);
    rows.flat_map(|row| {
        (0..columns).map(move |c| (0..inner).map(|i| row[i] * w[i * columns + c]).sum())
    })
    .collect()
}

pub(crate) fn sets() -> impl Strategy<Value = InstructionSet> {
    prop::sample::select(vec![
        InstructionSet::Detected,
        InstructionSet::Avx2,
        InstructionSet::Scalar,
    ])
}
