//! Products of sparse rows with a dense matrix: linear models on hashed features.

/// A sparse matrix by rows (CSR).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SparseRows {
    /// Where each row's entries end.
    ends: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl SparseRows {
    /// Rows of (column, value) entries; a column that stands twice in a row counts twice.
    pub fn new<'a>(rows: impl IntoIterator<Item = &'a [(u32, f32)]>) -> Self {
        let mut all = Self::default();
        for row in rows {
            all.columns.extend(row.iter().map(|(column, _)| *column));
            all.values.extend(row.iter().map(|(_, value)| *value));
            all.ends.push(all.columns.len());
        }
        all
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True if there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Entries of every row.
    pub fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = (u32, f32)> + '_> + '_ {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| {
            let columns = self.columns[start..*end].iter().copied();
            columns.zip(self.values[start..*end].iter().copied())
        })
    }
}

/// `rows` times `weights` `[width][channels]`: `[rows][channels]`.
///
/// # Panics
/// When an entry's column has no row of `weights`.
#[must_use]
pub fn sparse_matmul(rows: &SparseRows, weights: &[f32], channels: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows.len() * channels];
    for (out, row) in out.chunks_exact_mut(channels).zip(rows.rows()) {
        for (column, value) in row {
            let weights = &weights[column as usize * channels..][..channels];
            out.iter_mut().zip(weights).for_each(|(out, weight)| *out += value * weight);
        }
    }
    out
}

/// Gradient of the weights `[width][channels]`, given that of the product `[rows][channels]`.
///
/// # Panics
/// When an entry's column is `width` or more.
#[must_use]
pub fn sparse_matmul_backward(
    rows: &SparseRows,
    gradient: &[f32],
    width: usize,
    channels: usize,
) -> Vec<f32> {
    let mut slopes = vec![0.0; width * channels];
    for (gradient, row) in gradient.chunks_exact(channels).zip(rows.rows()) {
        for (column, value) in row {
            let slopes = &mut slopes[column as usize * channels..][..channels];
            slopes.iter_mut().zip(gradient).for_each(|(slope, g)| *slope += value * g);
        }
    }
    slopes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_products_and_slopes() {
        let entries: [&[(u32, f32)]; 3] = [&[(0, 2.0), (2, -1.0)], &[], &[(1, 0.5), (1, 0.5)]];
        let rows = SparseRows::new(entries);
        assert_eq!(rows.len(), 3);
        let weights = [1.0, 10.0, 2.0, 20.0, 3.0, 30.0];
        assert_eq!(sparse_matmul(&rows, &weights, 2), [-1.0, -10.0, 0.0, 0.0, 2.0, 20.0]);
        // The transpose: gradient (1, 0), (5, 5), (0, 1).
        let slopes = sparse_matmul_backward(&rows, &[1.0, 0.0, 5.0, 5.0, 0.0, 1.0], 3, 2);
        assert_eq!(slopes, [2.0, 0.0, 0.0, 1.0, -1.0, 0.0]);
    }
}
