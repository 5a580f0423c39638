//! What every kernel needs of the processor: the instruction set, and functions of vectors.

use pulp::{Arch, Simd};
use std::cell::Cell;

/// A set of vector instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstructionSet {
    /// The widest this processor has: what is used unless told otherwise.
    Detected,
    /// AVX2 and FMA at most.
    Avx2,
    /// None.
    Scalar,
}

thread_local! {
    static LIMIT: Cell<InstructionSet> = const { Cell::new(InstructionSet::Detected) };
}

/// Runs `body` with this thread's kernels limited to `set`: for tests, and to compare.
pub fn with_instruction_set<T>(set: InstructionSet, body: impl FnOnce() -> T) -> T {
    let before = LIMIT.replace(set);
    let result = body();
    LIMIT.set(before);
    result
}

/// What this thread's kernels are limited to.
pub(crate) fn limit() -> InstructionSet {
    LIMIT.get()
}

/// The instruction set kernels are dispatched to.
pub(crate) fn arch() -> Arch {
    match LIMIT.get() {
        InstructionSet::Detected => Arch::new(),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => pulp::x86::V3::try_new().map_or(Arch::Scalar, Arch::V3),
        _ => Arch::Scalar,
    }
}

/// The closure itself: an attribute may stand on an argument, not on the right of a `let`.
///
/// A closure that is not inlined leaves the dispatched instruction set, and every vector operation in it becomes
/// a call. So all closures of vector code say `inline(always)`.
pub(crate) fn inline<F>(closure: F) -> F {
    closure
}

/// Below this [`exp`] falls no further.
pub(crate) const LEAST_EXPONENT: f32 = -87.3;

/// e to the x, to about one unit in the last place; 1e-38 below -87.3, about 1e38 above 88.
///
/// x = n ln 2 + r with |r| <= ln 2 / 2; a polynomial in r of degree 6, and n added to its exponent.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let splat = inline(
        #[inline(always)]
        |v: f32| simd.splat_f32s(v),
    );
    // In this order of operands NaN stays NaN.
    let x = simd.min_f32s(splat(88.0), simd.max_f32s(splat(LEAST_EXPONENT), x));
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the lowest bits.
    let magic = splat(12_582_912.0);
    let shifted = simd.mul_add_e_f32s(x, splat(std::f32::consts::LOG2_E), magic);
    let n = simd.sub_f32s(shifted, magic);
    // ln 2 in two parts, so that r keeps its low bits.
    let r = simd.mul_add_e_f32s(n, splat(-0.693_359_4), x);
    let r = simd.mul_add_e_f32s(n, splat(2.121_944_4e-4), r);
    let mut y = splat(1.0 / 720.0);
    for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        y = simd.mul_add_e_f32s(y, r, splat(c));
    }
    let exponent =
        simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(y), exponent))
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let negative = simd.sub_f32s(simd.splat_f32s(0.0), x);
    simd.div_f32s(one, simd.add_f32s(one, exp(simd, negative)))
}

/// Applies `f` to whole vectors of the zipped slices, the last one padded with zeros.
///
/// `out` is written; `inputs` are slices of the same length.
#[inline(always)]
pub(crate) fn map<S: Simd, const N: usize>(
    simd: S,
    out: &mut [f32],
    inputs: [&[f32]; N],
    f: impl Fn([S::f32s; N]) -> S::f32s,
) {
    let (body, tail) = S::as_mut_simd_f32s(out);
    let parts = inputs.map(|input| S::as_simd_f32s(input));
    for (i, out) in body.iter_mut().enumerate() {
        *out = f(std::array::from_fn(
            #[inline(always)]
            |n| parts[n].0[i],
        ));
    }
    if !tail.is_empty() {
        let last = std::array::from_fn(
            #[inline(always)]
            |n| simd.partial_load_f32s(parts[n].1),
        );
        simd.partial_store_f32s(tail, f(last));
    }
}

/// `out = f(out, inputs)` over whole vectors, the last one padded with zeros.
#[inline(always)]
pub(crate) fn update<S: Simd, const N: usize>(
    simd: S,
    out: &mut [f32],
    inputs: [&[f32]; N],
    f: impl Fn(S::f32s, [S::f32s; N]) -> S::f32s,
) {
    let (body, tail) = S::as_mut_simd_f32s(out);
    let parts = inputs.map(|input| S::as_simd_f32s(input));
    for (i, out) in body.iter_mut().enumerate() {
        *out = f(
            *out,
            std::array::from_fn(
                #[inline(always)]
                |n| parts[n].0[i],
            ),
        );
    }
    if !tail.is_empty() {
        let last = std::array::from_fn(
            #[inline(always)]
            |n| simd.partial_load_f32s(parts[n].1),
        );
        let value = f(simd.partial_load_f32s(tail), last);
        simd.partial_store_f32s(tail, value);
    }
}

/// Sum over whole vectors of `f` of the zipped slices; `f` of zeros must be 0.
#[inline(always)]
pub(crate) fn sum<S: Simd, const N: usize>(
    simd: S,
    inputs: [&[f32]; N],
    f: impl Fn([S::f32s; N]) -> S::f32s,
) -> f32 {
    let parts = inputs.map(|input| S::as_simd_f32s(input));
    let mut total = simd.splat_f32s(0.0);
    for i in 0..parts[0].0.len() {
        total = simd.add_f32s(
            total,
            f(std::array::from_fn(
                #[inline(always)]
                |n| parts[n].0[i],
            )),
        );
    }
    if !parts[0].1.is_empty() {
        let last = std::array::from_fn(
            #[inline(always)]
            |n| simd.partial_load_f32s(parts[n].1),
        );
        total = simd.add_f32s(total, f(last));
    }
    simd.reduce_sum_f32s(total)
}

/// Largest value of a slice, -infinity of an empty one.
#[inline(always)]
pub(crate) fn largest<S: Simd>(simd: S, values: &[f32]) -> f32 {
    let (body, tail) = S::as_simd_f32s(values);
    let mut top = simd.splat_f32s(f32::NEG_INFINITY);
    for v in body {
        top = simd.max_f32s(top, *v);
    }
    tail.iter().copied().fold(simd.reduce_max_f32s(top), f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[pulp::with_simd(exp_all = arch())]
    #[inline(always)]
    fn exp_all_with<'a, S: Simd>(simd: S, out: &'a mut [f32], x: &'a [f32]) {
        map(
            simd,
            out,
            [x],
            #[inline(always)]
            |[x]| exp(simd, x),
        );
    }

    #[test]
    fn exp_is_right_to_two_units_in_the_last_place_under_every_instruction_set() {
        for set in [InstructionSet::Detected, InstructionSet::Avx2, InstructionSet::Scalar] {
            let x: Vec<f32> = (0..200_001).map(|i| -87.0 + i as f32 * 8.75e-4).collect();
            let mut y = vec![0.0; x.len()];
            with_instruction_set(set, || exp_all(&mut y, &x));
            for (x, y) in x.iter().zip(&y) {
                let exact = f64::from(*x).exp();
                let error = (f64::from(*y) - exact).abs() / exact;
                assert!(error < 2.5e-7, "{set:?}: exp({x}) = {y}, exactly {exact}");
            }
        }
        let mut y = [0.0; 3];
        exp_all(&mut y, &[-1e9, f32::NEG_INFINITY, 0.0]);
        assert!(y[0] < 1e-37 && y[1] < 1e-37 && y[2] == 1.0, "{y:?}");
        exp_all(&mut y, &[f32::NAN; 3]);
        assert!(cfg!(not(target_arch = "x86_64")) || y.iter().all(|y| y.is_nan()), "{y:?}");
    }
}
