//! Maximum mean discrepancy of two samples (Gretton et al. 2012), squared, with Gaussian kernels, and its gradients.
//!
//! `k(a, b) = sum over bandwidths s of exp(-|a - b|^2 / (2 s^2))`; the value is the mean of k within x, plus
//! that within y, less twice that between them. [`MmdEstimator`] says whether points are paired with themselves.
//!
//! k is computed a tile at a time, once for both orders of a pair, and never held as a whole. With c_ij the
//! coefficient of a pair and `w = sum over s of k_s / s^2`, the gradient of point i is
//! `-2 (z_i sum_j c_ij w_ij - sum_j c_ij w_ij z_j)`: two products a tile. Sums of k
//! over a few rows of a tile are added in double precision.
//!
//! A kernel value is off by about 1e-7 (|a|^2 + |b|^2) / (2 s^2), lengths taken from the pooled mean, and one below
//! e^-80 counts as 0.

use pulp::Simd;

use crate::buffer::{Buffer, zeros};
use crate::matmul::{Into, Strided, product};
use crate::pairwise::{Block, Points, SamplePair, TILE, squared_distance};
use crate::simd::{arch, exp2_below_zero, sum};

/// Rows of a tile worked off together.
const TOGETHER: usize = 4;

/// Points of fewer dimensions than this are summed by scalar products.
const FEW_DIMENSIONS: usize = 4;

/// Which mean within a sample is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MmdEstimator {
    /// Over all pairs, a point with itself too (V-statistic): never negative, 0 between a sample and itself.
    Biased,
    /// Over pairs of different points (U-statistic): has mean 0 when the distributions are equal.
    Unbiased,
}

/// Squared maximum mean discrepancy; NaN if a point or its squared length is not finite.
///
/// # Panics
/// When a sample has no point (unbiased: fewer than two), or there is no bandwidth, or one is not
/// positive or out of a square's range.
#[must_use]
pub fn mmd_squared(samples: SamplePair<'_>, bandwidths: &[f32], estimator: MmdEstimator) -> f64 {
    let points = Points::new(samples);
    let kernel = Kernel::new(&points, bandwidths, estimator);
    kernel.value(&points, &kernel.sums(&points, 0))
}

/// [`mmd_squared`], and its gradient with respect to x: less work than both, when y is only compared with.
///
/// # Panics
/// As [`mmd_squared`].
#[must_use]
pub fn mmd_squared_gradient_of_x(
    samples: SamplePair<'_>,
    bandwidths: &[f32],
    estimator: MmdEstimator,
) -> (f64, Vec<f32>) {
    let points = Points::new(samples);
    let kernel = Kernel::new(&points, bandwidths, estimator);
    let sums = kernel.sums(&points, points.blocks_of_x);
    let mut dx = zeros(samples.x.len());
    sums.gradients(&points, kernel.scale, &mut dx, 0);
    (kernel.value(&points, &sums), dx)
}

/// [`mmd_squared`], and its gradients with respect to x and y.
///
/// # Panics
/// As [`mmd_squared`].
#[must_use]
pub fn mmd_squared_gradients(
    samples: SamplePair<'_>,
    bandwidths: &[f32],
    estimator: MmdEstimator,
) -> (f64, Vec<f32>, Vec<f32>) {
    let points = Points::new(samples);
    let kernel = Kernel::new(&points, bandwidths, estimator);
    let sums = kernel.sums(&points, points.blocks.len());
    let [mut dx, mut dy] = [samples.x, samples.y].map(|sample| zeros(sample.len()));
    sums.gradients(&points, kernel.scale, &mut dx, 0);
    sums.gradients(&points, kernel.scale, &mut dy, points.blocks_of_x);
    (kernel.value(&points, &sums), dx, dy)
}

/// Kernel and estimator, as numbers.
struct Kernel {
    /// Of every bandwidth `-log2(e) / (2 s^2)` and `1 / s^2`.
    bandwidths: Vec<(f32, f32)>,
    /// Coefficients of pairs within x, between, and within y, times n m: around 1.
    coefficients: [f64; 3],
    /// What pairs of a point with itself, which the tiles contain, have too much in the three sums.
    own: [f64; 3],
    /// `1 / (n m)`.
    share: f64,
    /// What the gradients' sums are multiplied by.
    scale: f32,
}

/// Which of the three kinds of pairs a tile has.
fn kind(left: &Block, right: &Block) -> usize {
    usize::from(left.of_y) + usize::from(right.of_y)
}

impl Kernel {
    fn new(points: &Points, bandwidths: &[f32], estimator: MmdEstimator) -> Self {
        assert!(!bandwidths.is_empty(), "at least one bandwidth");
        let usable = |s: &f32| *s > 0.0 && (s * s).is_normal();
        assert!(bandwidths.iter().all(usable), "bandwidths are positive: {bandwidths:?}");
        let of_x: usize = points.blocks[..points.blocks_of_x].iter().map(|b| b.points).sum();
        let (n, m) = (of_x as f64, (points.values.len() / points.width - of_x) as f64);
        let own = match estimator {
            MmdEstimator::Biased => 0.0,
            MmdEstimator::Unbiased => 1.0,
        };
        assert!(n > own && m > own, "samples of {n} and {m} points, each of more than {own}");
        let share = 1.0 / (n * m);
        let log2_e = std::f32::consts::LOG2_E;
        // The kernel of a point with itself is 1 a bandwidth.
        let kernel = own * bandwidths.len() as f64;
        Self {
            bandwidths: bandwidths
                .iter()
                .map(|s| (-0.5 * log2_e / (s * s), 1.0 / (s * s)))
                .collect(),
            coefficients: [m / (n - own), -1.0, n / (m - own)],
            own: [kernel * n, 0.0, kernel * m],
            share,
            scale: (-2.0 * share) as f32,
        }
    }

    fn value(&self, points: &Points, sums: &Sums) -> f64 {
        if !points.are_finite() {
            return f64::NAN;
        }
        let terms = self.coefficients.iter().zip(sums.kernel.iter().zip(self.own));
        terms.map(|(coefficient, (sum, own))| coefficient * (sum - own)).sum::<f64>() * self.share
    }

    /// Sums over all pairs; those for gradients of the first `differentiated` blocks.
    fn sums(&self, points: &Points, differentiated: usize) -> Sums {
        let shares = points.share_tiles(|tiles| {
            let mut sums = Sums::new(points, differentiated);
            let mut tile = Buffer::any(TILE * TILE);
            for (left, right) in tiles {
                self.add_tile(&mut sums, points, &mut tile, left, right);
            }
            sums
        });
        let sums = shares.into_iter().reduce(|mut sums, share| {
            sums.add(&share);
            sums
        });
        sums.expect("at least one share")
    }

    fn add_tile(
        &self,
        sums: &mut Sums,
        points: &Points,
        tile: &mut [f32],
        left: usize,
        right: usize,
    ) {
        points.products(tile, left, right);
        let (above, beside) = (&points.blocks[left], &points.blocks[right]);
        let (rows, columns) = (above.points, beside.padded());
        let tile = &mut tile[..rows * TILE];
        let kind = kind(above, beside);
        let (mut of_rows, mut of_columns) = ([0.0; TILE], [0.0; TILE]);
        let total = kernel_tile(
            tile,
            &points.squares(left)[..rows],
            &points.squares(right)[..columns],
            &self.bandwidths,
            self.coefficients[kind] as f32,
            &mut of_rows[..rows],
            &mut of_columns[..columns],
        );
        sums.kernel[kind] += if left == right { total } else { 2.0 * total };
        if left < sums.blocks {
            sums.add_weights(left, &of_rows);
            sums.add_rows(points, tile, left, right);
        }
        if right < sums.blocks && left != right {
            sums.add_weights(right, &of_columns);
            sums.add_columns(points, tile, left, right);
        }
    }
}

/// From scalar products to c w, with its sums over columns and rows; returns the sum of k.
#[pulp::with_simd(kernel_tile = arch())]
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn kernel_tile_with<'a, S: Simd>(
    simd: S,
    tile: &'a mut [f32],
    left: &'a [f32],
    right: &'a [f32],
    bandwidths: &'a [(f32, f32)],
    coefficient: f32,
    of_rows: &'a mut [f32],
    of_columns: &'a mut [f32],
) -> f64 {
    let right = S::as_simd_f32s(right).0;
    let of_columns = S::as_mut_simd_f32s(of_columns).0;
    let kernel = (bandwidths, coefficient);
    let mut total = 0.0;
    let (left, last_left) = left.as_chunks::<TOGETHER>();
    let (of_rows, of_last_rows) = of_rows.as_chunks_mut::<TOGETHER>();
    let (rows, last_rows) = tile.split_at_mut(left.len() * TOGETHER * TILE);
    let rows = rows.chunks_exact_mut(TOGETHER * TILE);
    for (rows, (left, of_rows)) in rows.zip(left.iter().zip(of_rows)) {
        total += f64::from(kernel_rows(simd, rows, left, right, kernel, of_rows, of_columns));
    }
    let rows = last_rows.chunks_exact_mut(TILE);
    for (row, (left, of_row)) in rows.zip(last_left.iter().zip(of_last_rows)) {
        let (left, of_row) = (std::array::from_ref(left), std::array::from_mut(of_row));
        total += f64::from(kernel_rows(simd, row, left, right, kernel, of_row, of_columns));
    }
    total
}

/// [`kernel_tile`] of a few rows.
#[inline(always)]
fn kernel_rows<S: Simd, const N: usize>(
    simd: S,
    rows: &mut [f32],
    left: &[f32; N],
    right: &[S::f32s],
    (bandwidths, coefficient): (&[(f32, f32)], f32),
    of_rows: &mut [f32; N],
    of_columns: &mut [S::f32s],
) -> f32 {
    let zero = simd.splat_f32s(0.0);
    let coefficient = simd.splat_f32s(coefficient);
    let mut rows = rows.chunks_exact_mut(TILE);
    let rows: [&mut [S::f32s]; N] = std::array::from_fn(|_| {
        S::as_mut_simd_f32s(rows.next().expect("as many rows as lengths")).0
    });
    let mut kernels = zero;
    let mut weights = [zero; N];
    for (at, (right, of_column)) in right.iter().zip(of_columns).enumerate() {
        let (mut squares, mut slopes) = ([zero; N], [zero; N]);
        for i in 0..N {
            squares[i] = squared_distance(simd, rows[i][at], simd.splat_f32s(left[i]), *right);
        }
        // Summed here first: the longer a chain of single-precision sums, the less exact.
        let mut few = zero;
        for (scale, slope) in bandwidths {
            let (scale, slope) = (simd.splat_f32s(*scale), simd.splat_f32s(*slope));
            let mut exponents = squares;
            for exponent in &mut exponents {
                *exponent = simd.mul_f32s(*exponent, scale);
            }
            for (kernel, sum) in exp2_below_zero(simd, exponents).into_iter().zip(&mut slopes) {
                few = simd.add_f32s(few, kernel);
                *sum = simd.mul_add_e_f32s(kernel, slope, *sum);
            }
        }
        kernels = simd.add_f32s(kernels, few);
        let mut column = *of_column;
        for i in 0..N {
            let weight = simd.mul_f32s(slopes[i], coefficient);
            weights[i] = simd.add_f32s(weights[i], weight);
            column = simd.add_f32s(column, weight);
            rows[i][at] = weight;
        }
        *of_column = column;
    }
    for (of_row, weights) in of_rows.iter_mut().zip(weights) {
        *of_row = simd.reduce_sum_f32s(weights);
    }
    simd.reduce_sum_f32s(kernels)
}

/// Sums over pairs. Not of reused buffers: they are made by one thread and dropped by another, whose idle list would
/// grow without end.
struct Sums {
    /// Of k within x, between (both orders), and within y.
    kernel: [f64; 3],
    /// How many blocks the others are of.
    blocks: usize,
    /// Of c w, `[blocks][TILE]`.
    weights: Vec<f32>,
    /// Of c w z over a tile's columns, `[points][width]`.
    rows: Vec<f32>,
    /// Of c w z over a tile's rows, `[blocks][width][TILE]`.
    columns: Vec<f32>,
}

impl Sums {
    fn new(points: &Points, blocks: usize) -> Self {
        let count: usize = points.blocks[..blocks].iter().map(|block| block.points).sum();
        Self {
            kernel: [0.0; 3],
            blocks,
            weights: zeros(blocks * TILE),
            rows: zeros(count * points.width),
            columns: zeros(blocks * points.width * TILE),
        }
    }

    fn add(&mut self, other: &Self) {
        for (sum, other) in self.kernel.iter_mut().zip(other.kernel) {
            *sum += other;
        }
        for (sum, other) in [
            (&mut self.weights, &other.weights),
            (&mut self.rows, &other.rows),
            (&mut self.columns, &other.columns),
        ] {
            for (sum, other) in sum.iter_mut().zip(other.iter()) {
                *sum += other;
            }
        }
    }

    fn add_weights(&mut self, block: usize, weights: &[f32; TILE]) {
        let sums = &mut self.weights[block * TILE..(block + 1) * TILE];
        for (sum, weight) in sums.iter_mut().zip(weights) {
            *sum += weight;
        }
    }

    /// Adds `tile * right` to the sums of the left block.
    fn add_rows(&mut self, points: &Points, tile: &[f32], left: usize, right: usize) {
        let (width, start) = (points.width, points.blocks[left].start);
        let (rows, columns) = (points.blocks[left].points, points.blocks[right].points);
        let sums = &mut self.rows[start * width..(start + rows) * width];
        if width < FEW_DIMENSIONS {
            add_scalar_products(sums, tile, points.columns(right), width, columns);
        } else {
            let factor = Strided::rows(tile, TILE);
            let dimensions = (rows, columns, width);
            product(sums, width, factor, points.rows(right), width, dimensions, Into::Add);
        }
    }

    /// Adds `left^T * tile` to the sums of the right block.
    fn add_columns(&mut self, points: &Points, tile: &[f32], left: usize, right: usize) {
        let width = points.width;
        let sums = &mut self.columns[right * width * TILE..(right + 1) * width * TILE];
        let factor = Strided::columns(points.rows(left), width);
        let (rows, columns) = (points.blocks[left].points, points.blocks[right].padded());
        product(sums, TILE, factor, tile, TILE, (width, rows, columns), Into::Add);
    }

    /// Gradients of the points of one sample, whose first block is `first`.
    fn gradients(&self, points: &Points, scale: f32, out: &mut [f32], first: usize) {
        let width = points.width;
        for (at, out) in out.chunks_mut(TILE * width).enumerate() {
            let block = first + at;
            let start = points.blocks[block].start * width;
            gradients_of_block(
                out,
                points.rows(block),
                &self.weights[block * TILE..(block + 1) * TILE],
                &self.rows[start..start + out.len()],
                &self.columns[block * width * TILE..(block + 1) * width * TILE],
                scale,
            );
        }
    }
}

/// `out[point][c] += sum over j of tile[point][j] columns[c][j]`: [`product`] would leave most of its vectors empty.
#[pulp::with_simd(add_scalar_products = arch())]
#[inline(always)]
fn add_scalar_products_with<'a, S: Simd>(
    simd: S,
    out: &'a mut [f32],
    tile: &'a [f32],
    columns: &'a [f32],
    width: usize,
    length: usize,
) {
    for (out, tile) in out.chunks_exact_mut(width).zip(tile.chunks_exact(TILE)) {
        for (out, column) in out.iter_mut().zip(columns.chunks_exact(TILE)) {
            let factors = [&tile[..length], &column[..length]];
            *out += sum(simd, factors, |[a, b]| simd.mul_f32s(a, b));
        }
    }
}

/// `scale (z weight - rows - columns)`; a plain loop, to be compiled for the instruction set.
#[pulp::with_simd(gradients_of_block = arch())]
#[inline(always)]
fn gradients_of_block_with<'a, S: Simd>(
    _: S,
    out: &'a mut [f32],
    values: &'a [f32],
    weights: &'a [f32],
    rows: &'a [f32],
    columns: &'a [f32],
    scale: f32,
) {
    let width = columns.len() / TILE;
    let inputs = values.chunks_exact(width).zip(rows.chunks_exact(width)).zip(weights);
    for (point, (out, ((value, row), weight))) in
        out.chunks_exact_mut(width).zip(inputs).enumerate()
    {
        for (c, (out, (value, row))) in out.iter_mut().zip(value.iter().zip(row)).enumerate() {
            *out = scale * (value * weight - row - columns[c * TILE + point]);
        }
    }
}
