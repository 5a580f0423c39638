//! Rows of numbers whose memory is used again from step to step.

use std::borrow::Cow;

use ndarray::{ArrayView2, ArrayViewMut2};

/// A matrix that is written before it is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    values: Vec<f32>,
    width: usize,
}

impl Rows {
    /// Makes it `rows` x `width`. Where it has that many numbers already they stay; new ones are 0.
    pub(crate) fn resize(&mut self, rows: usize, width: usize) -> &mut [f32] {
        self.width = width;
        self.values.resize(rows * width, 0.0);
        &mut self.values
    }

    pub(crate) fn clear(&mut self) {
        self.values.clear();
    }

    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(crate) fn view_mut(&mut self) -> ArrayViewMut2<'_, f32> {
        let rows = self.values.len().checked_div(self.width).unwrap_or(0);
        ArrayViewMut2::from_shape((rows, self.width), &mut self.values)
            .expect("rows x width numbers")
    }

    pub(crate) fn view(&self) -> ArrayView2<'_, f32> {
        let rows = self.values.len().checked_div(self.width).unwrap_or(0);
        ArrayView2::from_shape((rows, self.width), &self.values).expect("rows x width numbers")
    }
}

/// The numbers of a matrix row by row, copied only if they do not lie so; `what` is for the panic.
pub(crate) fn row_major<'a>(
    what: &str,
    matrix: ArrayView2<'a, f32>,
    shape: (Option<usize>, usize),
) -> Cow<'a, [f32]> {
    let found = matrix.dim();
    let fits = shape.0.is_none_or(|rows| rows == found.0) && shape.1 == found.1;
    let rows = shape.0.map_or("any number of".to_owned(), |rows| rows.to_string());
    assert!(
        fits,
        "{what} has {} rows x {} columns: allowed are {rows} x {}",
        found.0, found.1, shape.1
    );
    matrix.to_slice().map_or_else(|| Cow::Owned(matrix.iter().copied().collect()), Cow::Borrowed)
}

/// The numbers of a matrix that is to be written, row by row.
pub(crate) fn row_major_mut<'a>(
    what: &str,
    matrix: ArrayViewMut2<'a, f32>,
    shape: (usize, usize),
) -> &'a mut [f32] {
    let found = matrix.dim();
    assert!(
        found == shape,
        "{what} has {} rows x {} columns: allowed are {} x {}",
        found.0,
        found.1,
        shape.0,
        shape.1
    );
    matrix.into_slice().unwrap_or_else(|| panic!("{what} does not lie row by row in memory"))
}
