//! The crate's one error.

use headwater_core::ConfigError;
use headwater_evaluation::EvaluationError;

/// Data or settings no classifier can be trained on, or a training that failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecisionError {
    /// The number of features is not rows times width.
    #[error(
        "{features} features for {rows} rows of {width}: allowed is {rows} x {width}, both at least 1"
    )]
    Shape {
        /// Numbers given.
        features: usize,
        /// Labels given.
        rows: usize,
        /// Features per row.
        width: usize,
    },
    /// A feature that is NaN or infinite.
    #[error("row {row}, feature {feature} is {value}: allowed is a finite number")]
    Feature {
        /// The row, from 0.
        row: usize,
        /// The feature, from 0.
        feature: usize,
        /// Its value.
        value: f32,
    },
    /// Too few rows of a class for a split.
    #[error("the split takes {needed} rows that are {class}, there are {found}")]
    TooFewRows {
        /// `positive` or `negative`.
        class: &'static str,
        /// How many the split takes.
        needed: usize,
        /// How many there are.
        found: usize,
    },
    /// Images that are not as wide as the architecture says.
    #[error("rows have {found} features: the architecture takes {expected}")]
    Width {
        /// Features per row.
        found: usize,
        /// What the architecture takes.
        expected: usize,
    },
    /// The validation objective is no number any more.
    #[error("the validation objective is {value} after epoch {epoch}: lower the learning rate")]
    Diverged {
        /// The epoch, from 1.
        epoch: usize,
        /// What the objective came to.
        value: f64,
    },
    /// A config failed its check.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A metric refused its input.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
}
