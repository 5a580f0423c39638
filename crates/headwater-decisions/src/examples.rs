//! Rows of features with binary labels, and how they are split.

use headwater_core::{StreamRng, require};
use rand::seq::SliceRandom;

use crate::DecisionError;

/// Rows of features and whether each is positive.
#[derive(Debug, Clone, PartialEq)]
pub struct Examples {
    features: Vec<f32>,
    width: usize,
    positive: Vec<bool>,
}

impl Examples {
    /// Rows of `width` features, row-major, and their labels.
    ///
    /// # Errors
    /// No row, no feature, a number of features that is not rows times width, or a feature that is not finite.
    pub fn new(
        features: Vec<f32>,
        width: usize,
        positive: Vec<bool>,
    ) -> Result<Self, DecisionError> {
        let rows = positive.len();
        if rows == 0 || width == 0 || Some(features.len()) != rows.checked_mul(width) {
            return Err(DecisionError::Shape { features: features.len(), rows, width });
        }
        if let Some(at) = features.iter().position(|value| !value.is_finite()) {
            let (row, feature) = (at / width, at % width);
            return Err(DecisionError::Feature { row, feature, value: features[at] });
        }
        Ok(Self { features, width, positive })
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.positive.len()
    }

    /// Features per row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// All features, row-major.
    #[must_use]
    pub fn features(&self) -> &[f32] {
        &self.features
    }

    /// Whether each row is positive.
    #[must_use]
    pub fn positive(&self) -> &[bool] {
        &self.positive
    }

    /// Share of positive rows.
    #[must_use]
    pub fn prevalence(&self) -> f64 {
        self.positive.iter().filter(|p| **p).count() as f64 / self.rows() as f64
    }

    /// The rows at these indices, in this order.
    ///
    /// # Panics
    /// When an index is not that of a row, or there is none.
    #[must_use]
    pub fn subset(&self, rows: &[usize]) -> Self {
        assert!(!rows.is_empty(), "a subset of at least one row");
        let mut features = Vec::with_capacity(rows.len() * self.width);
        rows.iter().for_each(|row| features.extend_from_slice(self.row(*row)));
        Self {
            features,
            width: self.width,
            positive: rows.iter().map(|row| self.positive[*row]).collect(),
        }
    }

    /// The same labels with other features, e.g. a network's representation of these.
    pub(crate) fn with_features(&self, features: Vec<f32>, width: usize) -> Self {
        assert_eq!(features.len(), self.rows() * width, "features of every row");
        Self { features, width, positive: self.positive.clone() }
    }

    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.features[row * self.width..(row + 1) * self.width]
    }

    /// Every feature less its mean and over its standard deviation, both taken over the rows of `by` (those that are
    /// trained on); 0 where it does not vary there.
    ///
    /// # Panics
    /// As [`Examples::subset`].
    #[must_use]
    pub fn standardised(&self, by: &[usize]) -> Self {
        assert!(!by.is_empty(), "statistics of at least one row");
        let count = by.len() as f64;
        let mut features = self.features.clone();
        for at in 0..self.width {
            let value = |row: &usize| f64::from(self.row(*row)[at]);
            let mean = by.iter().map(value).sum::<f64>() / count;
            let square = by.iter().map(|row| (value(row) - mean).powi(2)).sum::<f64>() / count;
            // Compared directly: the mean of equal values may be a rounding away from them.
            let varies = by.iter().any(|row| value(row) != value(&by[0]));
            let scale = if varies { square.sqrt().recip() } else { 0.0 };
            for feature in features.iter_mut().skip(at).step_by(self.width) {
                *feature = ((f64::from(*feature) - mean) * scale) as f32;
            }
        }
        Self { features, width: self.width, positive: self.positive.clone() }
    }
}

/// Rows by what they are for; no row is in two parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Trained on.
    pub train: Vec<usize>,
    /// Decides when training stops.
    pub validation: Vec<usize>,
    /// Recalibration is learnt on these.
    pub calibration: Vec<usize>,
    /// Scored.
    pub test: Vec<usize>,
}

impl Split {
    /// A random split with these numbers of train, validation, calibration and test rows, a share `prevalence` of each
    /// being positive up to rounding, and at least one row of either class.
    ///
    /// So the population that a posterior belongs to has that prevalence in all four parts.
    ///
    /// # Errors
    /// A part of fewer than 2 rows, a prevalence that is not in (0, 1), and [`DecisionError::TooFewRows`] where the rows of a
    /// class do not suffice.
    pub fn stratified(
        positive: &[bool],
        sizes: [usize; 4],
        prevalence: f64,
        rng: &mut StreamRng,
    ) -> Result<Self, DecisionError> {
        let config = "Split";
        let shown = format!("{sizes:?}");
        let holds = sizes.iter().all(|size| *size >= 2);
        require(holds, config, "sizes", shown, "2 rows or more in every part, one of each class")?;
        let holds = prevalence > 0.0 && prevalence < 1.0;
        require(holds, config, "prevalence", prevalence, "a number in (0, 1)")?;
        // Rounded in sums over the parts, so that a split of all rows by their own prevalence takes every row.
        let mut before = 0;
        let positives = sizes.map(|size| {
            let rounded = |rows: usize| (rows as f64 * prevalence).round() as usize;
            let (start, end) = (before, size.saturating_add(before));
            before = end;
            let share = rounded(end) - rounded(start);
            share.clamp(1, size - 1)
        });
        let mut parts: [Vec<usize>; 4] = Default::default();
        for (class, is_positive) in [("positive", true), ("negative", false)] {
            let wanted: Vec<usize> = sizes
                .iter()
                .zip(positives)
                .map(|(size, positives)| if is_positive { positives } else { size - positives })
                .collect();
            let mut rows: Vec<usize> =
                (0..positive.len()).filter(|row| positive[*row] == is_positive).collect();
            let needed = wanted.iter().fold(0_usize, |sum, rows| sum.saturating_add(*rows));
            if rows.len() < needed {
                return Err(DecisionError::TooFewRows { class, needed, found: rows.len() });
            }
            rows.shuffle(rng);
            let mut rest = rows.into_iter();
            for (part, wanted) in parts.iter_mut().zip(wanted) {
                part.extend(rest.by_ref().take(wanted));
            }
        }
        for part in &mut parts {
            part.sort_unstable();
        }
        let [train, validation, calibration, test] = parts;
        Ok(Self { train, validation, calibration, test })
    }
}
