//! Pairs of points of two samples, a tile at a time: their distances, never held as a whole, and the median of these.
//!
//! `|a - b|^2` is taken as `|a|^2 + |b|^2 - 2 a b` around the pooled mean, and so is off by about
//! 1e-7 (|a|^2 + |b|^2). Equal points are at distance 0 exactly.

use pulp::Simd;

use crate::buffer::Buffer;
use crate::matmul::{Into, Strided, product, transpose};
use crate::simd::arch;
use crate::threads::{parts, run};

/// Most points in a block; a tile is the pairs of two blocks.
pub(crate) const TILE: usize = 64;

/// Columns of a tile are padded to a multiple of this, the longest vector.
const PAD: usize = 16;

/// Tiles a thread takes at the least: some tens of microseconds.
fn least_tiles(width: usize) -> usize {
    (400 / (width + 16)).max(1)
}

/// Two samples of points, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct SamplePair<'a> {
    /// `[n][width]`.
    pub x: &'a [f32],
    /// `[m][width]`.
    pub y: &'a [f32],
    /// Dimensions of a point.
    pub width: usize,
}

/// Median of the distances between all pairs of different points of the pooled samples (of an even number of
/// pairs the lower one): the usual bandwidth of a Gaussian kernel. 0 if there are not two points.
///
/// # Panics
/// When a sample does not consist of whole points.
#[must_use]
pub fn median_distance(samples: SamplePair<'_>) -> f32 {
    let points = Points::new(samples);
    let count = (points.values.len() / points.width) as u64;
    let pairs = count * count.saturating_sub(1) / 2;
    if pairs == 0 {
        return 0.0;
    }
    let mut rank = (pairs - 1) / 2;
    let mut digit_of_rank = |counts: Vec<u64>| {
        let mut digit = 0;
        while counts[digit as usize] <= rank {
            rank -= counts[digit as usize];
            digit += 1;
        }
        digit
    };
    // The bits of numbers that are not negative are in the numbers' order.
    let upper: u32 = digit_of_rank(points.count_distances(None));
    let lower: u32 = digit_of_rank(points.count_distances(Some(upper)));
    f32::from_bits(upper << 16 | lower).sqrt()
}

/// Consecutive points of one sample.
pub(crate) struct Block {
    pub(crate) start: usize,
    pub(crate) points: usize,
    pub(crate) of_y: bool,
}

impl Block {
    /// Columns of a tile right of this block.
    pub(crate) fn padded(&self) -> usize {
        self.points.next_multiple_of(PAD)
    }
}

/// The pooled samples around their mean, x first, in blocks.
pub(crate) struct Points {
    pub(crate) width: usize,
    pub(crate) blocks: Vec<Block>,
    /// How many blocks are of x.
    pub(crate) blocks_of_x: usize,
    /// `[points][width]`.
    pub(crate) values: Buffer,
    /// The same transposed by blocks, `[blocks][width][TILE]`, zeros past a block's last point.
    turned: Buffer,
    /// Squared lengths, `[blocks][TILE]`, infinity past a block's last point: nothing is near it.
    squares: Buffer,
}

impl Points {
    pub(crate) fn new(samples: SamplePair<'_>) -> Self {
        let SamplePair { x, y, width } = samples;
        let whole = |sample: &[f32]| width > 0 && sample.len().is_multiple_of(width);
        assert!(whole(x) && whole(y), "points of {width} dimensions");
        let (n, m) = (x.len() / width, y.len() / width);
        let blocks = |from: usize, to: usize, of_y| {
            let starts = (from..to).step_by(TILE);
            starts.map(move |start| Block { start, points: TILE.min(to - start), of_y })
        };
        let blocks: Vec<_> = blocks(0, n, false).chain(blocks(n, n + m, true)).collect();

        let mut values = Buffer::any(x.len() + y.len());
        centre(&mut values, x, y, width);
        let mut turned = Buffer::any(blocks.len() * width * TILE);
        let mut squares = Buffer::any(blocks.len() * TILE);
        let slices = turned.chunks_exact_mut(width * TILE).zip(squares.chunks_exact_mut(TILE));
        for (block, (turned, squares)) in blocks.iter().zip(slices) {
            let rows = &values[block.start * width..(block.start + block.points) * width];
            if block.points == TILE {
                transpose(turned, rows, (TILE, width));
            } else {
                let mut padded = Buffer::zeros(TILE * width);
                padded[..rows.len()].copy_from_slice(rows);
                transpose(turned, &padded, (TILE, width));
            }
            squared_lengths(squares, turned);
            squares[block.points..].fill(f32::INFINITY);
        }
        Self { width, blocks, blocks_of_x: n.div_ceil(TILE), values, turned, squares }
    }

    /// Values of a block, `[points][width]`.
    pub(crate) fn rows(&self, block: usize) -> &[f32] {
        let Block { start, points, .. } = self.blocks[block];
        &self.values[start * self.width..(start + points) * self.width]
    }

    /// Values of a block transposed, `[width][TILE]`.
    pub(crate) fn columns(&self, block: usize) -> &[f32] {
        &self.turned[block * self.width * TILE..(block + 1) * self.width * TILE]
    }

    /// Squared lengths of a block's points; those of its padding are infinite.
    pub(crate) fn squares(&self, block: usize) -> &[f32] {
        &self.squares[block * TILE..(block + 1) * TILE]
    }

    /// Whether squared lengths are finite; one point that is not finite makes the mean, and so all, not finite.
    pub(crate) fn are_finite(&self) -> bool {
        let blocks = self.squares.chunks_exact(TILE).zip(&self.blocks);
        blocks.flat_map(|(squares, block)| &squares[..block.points]).all(|v| v.is_finite())
    }

    /// Scalar products of the points of two blocks, `[points of left][TILE]`, 0 for padding on the right.
    pub(crate) fn products(&self, tile: &mut [f32], left: usize, right: usize) {
        let (rows, columns) = (self.blocks[left].points, self.blocks[right].padded());
        let dimensions = (rows, self.width, columns);
        let factor = Strided::rows(self.rows(left), self.width);
        product(tile, TILE, factor, self.columns(right), TILE, dimensions, Into::Set);
    }

    /// `work` on the tiles that contain every pair of blocks once, in as many shares as threads; results in order.
    ///
    /// Every share has tiles of all kinds, so that those of one sample may cost less than those of the other.
    pub(crate) fn share_tiles<R: Send>(
        &self,
        work: impl Fn(Vec<(usize, usize)>) -> R + Sync,
    ) -> Vec<R> {
        let blocks = self.blocks.len();
        let tiles = || (0..blocks).flat_map(|left| (left..blocks).map(move |right| (left, right)));
        let count = parts(blocks * (blocks + 1) / 2, least_tiles(self.width)).len();
        run((0..count).map(|share| tiles().skip(share).step_by(count).collect()).collect(), work)
    }

    /// How many squared distances have which upper half of bits; given one, how many of those have which lower.
    fn count_distances(&self, upper: Option<u32>) -> Vec<u64> {
        let shares = self.share_tiles(|tiles| {
            let mut counts = vec![0; 1 << 16];
            let mut tile = Buffer::any(TILE * TILE);
            for (left, right) in tiles {
                self.products(&mut tile, left, right);
                squared_distances(&mut tile, self.squares(left), self.squares(right));
                let (rows, columns) = (self.blocks[left].points, self.blocks[right].points);
                for (i, row) in tile.chunks_exact(TILE).take(rows).enumerate() {
                    // Of pairs of one block, those right of the diagonal.
                    let first = if left == right { i + 1 } else { 0 };
                    for bits in row[..columns].iter().skip(first).map(|square| square.to_bits()) {
                        match upper {
                            None => counts[(bits >> 16) as usize] += 1,
                            Some(upper) if bits >> 16 == upper => {
                                counts[(bits & 0xffff) as usize] += 1;
                            }
                            Some(_) => {}
                        }
                    }
                }
            }
            counts
        });
        (0..1 << 16).map(|digit| shares.iter().map(|counts| counts[digit]).sum()).collect()
    }
}

/// The two samples, one after the other, less their common mean.
fn centre(values: &mut [f32], x: &[f32], y: &[f32], width: usize) {
    let mut mean = vec![0.0; width];
    for sample in [x, y] {
        add_to_mean(&mut mean, sample, width as f64 / values.len() as f64);
    }
    let (of_x, of_y) = values.split_at_mut(x.len());
    for (values, sample) in [(of_x, x), (of_y, y)] {
        subtract(values, sample, &mean);
    }
}

/// Plain loops, to be compiled for the instruction set.
#[pulp::with_simd(add_to_mean = arch())]
#[inline(always)]
fn add_to_mean_with<'a, S: Simd>(_: S, mean: &'a mut [f64], sample: &'a [f32], share: f64) {
    for row in sample.chunks_exact(mean.len()) {
        for (mean, value) in mean.iter_mut().zip(row) {
            *mean += f64::from(*value) * share;
        }
    }
}

#[pulp::with_simd(subtract = arch())]
#[inline(always)]
fn subtract_with<'a, S: Simd>(_: S, out: &'a mut [f32], sample: &'a [f32], mean: &'a [f64]) {
    let rows = sample.chunks_exact(mean.len());
    for (out, row) in out.chunks_exact_mut(mean.len()).zip(rows) {
        for ((out, value), mean) in out.iter_mut().zip(row).zip(mean) {
            *out = (f64::from(*value) - mean) as f32;
        }
    }
}

/// Sums of squares down the columns in the order of [`product`], so that equal points are at distance 0.
#[pulp::with_simd(squared_lengths = arch())]
#[inline(always)]
fn squared_lengths_with<'a, S: Simd>(simd: S, squares: &'a mut [f32], turned: &'a [f32]) {
    squares.fill(0.0);
    let squares = S::as_mut_simd_f32s(squares).0;
    for row in turned.chunks_exact(TILE) {
        for (sum, value) in squares.iter_mut().zip(S::as_simd_f32s(row).0) {
            *sum = simd.mul_add_e_f32s(*value, *value, *sum);
        }
    }
}

/// From the scalar product of two points and their squared lengths.
#[inline(always)]
pub(crate) fn squared_distance<S: Simd>(
    simd: S,
    product: S::f32s,
    left: S::f32s,
    right: S::f32s,
) -> S::f32s {
    let sum = simd.add_f32s(left, right);
    let square = simd.mul_add_e_f32s(product, simd.splat_f32s(-2.0), sum);
    simd.max_f32s(square, simd.splat_f32s(0.0))
}

/// [`squared_distance`] of a tile.
#[pulp::with_simd(squared_distances = arch())]
#[inline(always)]
fn squared_distances_with<'a, S: Simd>(
    simd: S,
    tile: &'a mut [f32],
    left: &'a [f32],
    right: &'a [f32],
) {
    let right = S::as_simd_f32s(right).0;
    for (row, left) in tile.chunks_exact_mut(TILE).zip(left) {
        let left = simd.splat_f32s(*left);
        for (value, right) in S::as_mut_simd_f32s(row).0.iter_mut().zip(right) {
            *value = squared_distance(simd, *value, left, *right);
        }
    }
}
