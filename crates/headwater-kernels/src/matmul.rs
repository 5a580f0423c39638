//! Matrix products: the one file with unsafe code.
//!
//! The factors of this project are small (tens to hundreds in each dimension) and read from a cache, so
//! nothing is packed; at these sizes that is a few percent faster than a general multiplication, which packs.
//! And it is *row-invariant*: a row of the result is the same bits whatever other rows are computed with it,
//! because every element is one chain of fused products in the order of k. A sampled token does not depend on
//! its company for that reason.

#![allow(unsafe_code)]

use pulp::{Simd, WithSimd};

use crate::simd::{arch, inline};
use crate::threads::{cut, parts, run};

/// A matrix in a slice: element (i, j) at `i * row + j * column`.
#[derive(Debug, Clone, Copy)]
pub struct Strided<'a> {
    values: &'a [f32],
    row: usize,
    column: usize,
}

impl<'a> Strided<'a> {
    /// Row-major, `width` columns, rows `stride` apart.
    #[must_use]
    pub fn rows(values: &'a [f32], stride: usize) -> Self {
        Self { values, row: stride, column: 1 }
    }

    /// The transpose of [`Strided::rows`].
    #[must_use]
    pub fn columns(values: &'a [f32], stride: usize) -> Self {
        Self { values, row: 1, column: stride }
    }

    fn covers(&self, rows: usize, columns: usize) -> bool {
        rows == 0
            || columns == 0
            || (rows - 1) * self.row + (columns - 1) * self.column < self.values.len()
    }
}

/// What becomes of the values that were in the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Out {
    /// Overwritten.
    Set,
    /// Added to: the sum over k goes on from them, as if they were its first part.
    Add,
}

/// `out[m][n] = a[m][k] b[k][n]` (or `+=`); rows of `b` are contiguous and `b_stride` apart, rows of
/// `out` `out_stride` apart.
///
/// # Panics
/// When a slice is too short for its dimensions.
pub fn matmul(
    out: &mut [f32],
    out_stride: usize,
    a: Strided<'_>,
    b: &[f32],
    b_stride: usize,
    (m, k, n): (usize, usize, usize),
    into: Out,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * out_stride + n <= out.len(), "result too short");
    assert!(a.covers(m, k), "left factor too short");
    assert!(k == 0 || (k - 1) * b_stride + n <= b.len(), "right factor too short");
    arch().dispatch(Matmul { out, out_stride, a, b, b_stride, dimensions: (m, k, n), into });
}

/// A product whose slices have been found long enough.
struct Matmul<'a> {
    out: &'a mut [f32],
    out_stride: usize,
    a: Strided<'a>,
    b: &'a [f32],
    b_stride: usize,
    dimensions: (usize, usize, usize),
    into: Out,
}

impl WithSimd for Matmul<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // SAFETY: `product`, the only maker of this, has asserted what `panels` asks for.
        unsafe { panels(simd, self) }
    }
}

/// # Safety
/// Every element of the m x k, k x n and m x n matrices lies in its slice.
#[inline(always)]
unsafe fn panels<S: Simd>(simd: S, product: Matmul<'_>) {
    let Matmul { out, out_stride, a, b, b_stride, dimensions: (m, k, n), into } = product;
    let lanes = S::F32_LANES;
    let add = into == Out::Add;
    let (out, left, b) = (out.as_mut_ptr(), a.values.as_ptr(), b.as_ptr());
    let mut j = 0;
    while j < n {
        let left_over = n - j;
        let (out, b) = unsafe { (out.add(j), b.add(j)) };
        let mut i = 0;
        macro_rules! rows {
            ($m:literal, $n:literal, $masked:literal) => {
                while m - i >= $m {
                    unsafe {
                        let (out, a_at) = (out.add(i * out_stride), left.add(i * a.row));
                        tile::<S, $m, $n, $masked>(
                            simd,
                            (out, out_stride),
                            (a_at, a.row, a.column),
                            (b, b_stride),
                            k,
                            add,
                            left_over,
                        );
                    }
                    i += $m;
                }
            };
        }
        macro_rules! panel {
            ($n:literal, $masked:literal) => {{
                rows!(6, $n, $masked);
                rows!(4, $n, $masked);
                rows!(2, $n, $masked);
                rows!(1, $n, $masked);
            }};
        }
        if S::REGISTER_COUNT >= 32 && left_over >= 4 * lanes {
            panel!(4, false);
            j += 4 * lanes;
        } else if left_over >= 2 * lanes {
            panel!(2, false);
            j += 2 * lanes;
        } else if left_over >= lanes {
            panel!(1, false);
            j += lanes;
        } else {
            panel!(1, true);
            j = n;
        }
    }
}

/// `M` rows and `N` vectors of the result; each element is one chain of fused products in the order of k, which starts
/// from what is there if they are added. So a product in two parts along k is the same bits as the whole.
///
/// # Safety
/// `M` rows and `N` vectors (when `MASKED`, `width` elements) lie behind each pointer.
#[inline(always)]
unsafe fn tile<S: Simd, const M: usize, const N: usize, const MASKED: bool>(
    simd: S,
    (out, out_stride): (*mut f32, usize),
    (a, a_row, a_column): (*const f32, usize, usize),
    (b, b_stride): (*const f32, usize),
    k: usize,
    add: bool,
    width: usize,
) {
    let lanes = S::F32_LANES;
    let mask = simd.mask_between_m32s(0, if MASKED { width as u32 } else { lanes as u32 });
    let load = inline(
        #[inline(always)]
        |at: *const f32| unsafe {
            if MASKED {
                simd.mask_load_ptr_f32s(mask, at)
            } else {
                at.cast::<S::f32s>().read_unaligned()
            }
        },
    );
    let mut sums = [[simd.splat_f32s(0.0); N]; M];
    if add {
        for (i, sums) in sums.iter_mut().enumerate() {
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum = load(unsafe { out.add(i * out_stride + j * lanes) });
            }
        }
    }
    for l in 0..k {
        let row = unsafe { b.add(l * b_stride) };
        let right: [S::f32s; N] = std::array::from_fn(
            #[inline(always)]
            |j| load(unsafe { row.add(j * lanes) }),
        );
        for (i, sums) in sums.iter_mut().enumerate() {
            let left = simd.splat_f32s(unsafe { *a.add(i * a_row + l * a_column) });
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = simd.mul_add_e_f32s(left, right, *sum);
            }
        }
    }
    for (i, sums) in sums.into_iter().enumerate() {
        for (j, sum) in sums.into_iter().enumerate() {
            let at = unsafe { out.add(i * out_stride + j * lanes) };
            unsafe {
                if MASKED {
                    simd.mask_store_ptr_f32s(mask, at, sum);
                } else {
                    at.cast::<S::f32s>().write_unaligned(sum);
                }
            }
        }
    }
}

/// `out[columns][rows] = a[rows][columns]` transposed, both dense.
pub(crate) fn transpose(out: &mut [f32], a: &[f32], (rows, columns): (usize, usize)) {
    let parts = parts(columns, (1 << 14) / rows.max(1));
    run(parts.iter().zip(cut(out, &parts, rows)).collect(), |(part, out)| {
        if !part.is_empty() {
            transpose_rows(out, &a[part.start..], columns, (rows, part.len()));
        }
    });
}

/// [`transpose`] of rows that are `stride` apart, on this thread.
pub(crate) fn transpose_rows(
    out: &mut [f32],
    a: &[f32],
    stride: usize,
    (rows, columns): (usize, usize),
) {
    const BLOCK: usize = 16;
    for i in (0..rows).step_by(BLOCK) {
        for j in (0..columns).step_by(BLOCK) {
            let (high, wide) = (BLOCK.min(rows - i), BLOCK.min(columns - j));
            // By way of a block in the first cache, so that both sides are read and written in runs.
            let mut block = [[0.0; BLOCK]; BLOCK];
            for (row, block) in block[..high].iter_mut().enumerate() {
                block[..wide].copy_from_slice(&a[(i + row) * stride + j..][..wide]);
            }
            for column in 0..wide {
                let out = &mut out[(j + column) * rows + i..][..high];
                for (out, block) in out.iter_mut().zip(&block) {
                    *out = block[column];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{InstructionSet, with_instruction_set};
    use proptest::prelude::*;

    /// Small integers, so that every sum is exact in every order.
    fn integers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 37 + seed * 11) % 17) as f32 - 8.0).collect()
    }

    proptest! {
        #[test]
        fn it_is_the_sum_of_products(
            (m, k, n) in (1usize..15, 0usize..20, 1usize..150),
            seed in 0usize..1000,
            transposed: bool,
            add: bool,
            set in prop::sample::select(vec![
                InstructionSet::Detected, InstructionSet::Avx2, InstructionSet::Scalar,
            ]),
        ) {
            let (a, b, c) = (integers(m * k, seed), integers(k * n, seed + 1), integers(m * n, 7));
            let left = if transposed { Strided::columns(&a, m) } else { Strided::rows(&a, k) };
            let at = |i: usize, l: usize| if transposed { a[l * m + i] } else { a[i * k + l] };
            let into = if add { Out::Add } else { Out::Set };
            let mut own = c.clone();
            with_instruction_set(set, || matmul(&mut own, n, left, &b, n, (m, k, n), into));
            for i in 0..m {
                for j in 0..n {
                    let sum: f32 = (0..k).map(|l| at(i, l) * b[l * n + j]).sum();
                    let expected = if add { c[i * n + j] + sum } else { sum };
                    prop_assert_eq!(own[i * n + j], expected);
                }
            }
        }

        #[test]
        fn a_row_is_the_same_bits_alone_and_in_company(
            (m, k, n) in (1usize..20, 1usize..40, 1usize..140), row in 0usize..20,
        ) {
            let a: Vec<f32> = (0..m * k).map(|i| (i as f32 * 0.7).sin()).collect();
            let b: Vec<f32> = (0..k * n).map(|i| (i as f32 * 1.3).cos()).collect();
            let row = row % m;
            let (mut all, mut one) = (vec![0.0; m * n], vec![0.0; n]);
            matmul(&mut all, n, Strided::rows(&a, k), &b, n, (m, k, n), Out::Set);
            let alone = Strided::rows(&a[row * k..(row + 1) * k], k);
            matmul(&mut one, n, alone, &b, n, (1, k, n), Out::Set);
            prop_assert_eq!(&all[row * n..(row + 1) * n], &one[..]);
        }
    }

    #[test]
    fn a_transpose_large_enough_to_be_shared_out_has_every_element_in_its_place() {
        for (rows, columns) in [(130, 401), (401, 130), (1, 40_000), (40_000, 1)] {
            let a: Vec<f32> = (0..rows * columns).map(|at| at as f32).collect();
            for threads in 1..4 {
                let mut out = vec![-1.0; a.len()];
                crate::with_threads(threads, || transpose(&mut out, &a, (rows, columns)));
                let placed = |at: usize| a[at % rows * columns + at / rows];
                assert!(out.iter().enumerate().all(|(at, v)| *v == placed(at)));
            }
        }
    }
}
