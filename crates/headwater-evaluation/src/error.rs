//! The crate's one error, and the argument checks every metric shares.

use headwater_core::ConfigError;

/// An input no metric can be computed from.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// Two arguments that run in parallel have different lengths.
    #[error("`{left}` has {left_length} entries but `{right}` has {right_length}")]
    LengthMismatch {
        /// The argument taken as the reference.
        left: &'static str,
        /// Its length.
        left_length: usize,
        /// The argument that should match it.
        right: &'static str,
        /// Its length.
        right_length: usize,
    },
    /// Fewer entries than the metric needs.
    #[error("`{argument}` has {found} entries: at least {needed} are needed")]
    TooFew {
        /// The argument.
        argument: &'static str,
        /// How many entries it has.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// An entry outside its allowed range (NaN and infinity included).
    #[error("`{argument}[{index}]` = {value}: allowed is {allowed}")]
    Entry {
        /// The argument.
        argument: &'static str,
        /// Position of the entry.
        index: usize,
        /// The entry.
        value: f64,
        /// The allowed range in words.
        allowed: &'static str,
    },
    /// A single-valued argument outside its allowed range.
    #[error("`{argument}` = {value}: allowed is {allowed}")]
    Argument {
        /// The argument.
        argument: &'static str,
        /// Its value.
        value: f64,
        /// The allowed range in words.
        allowed: &'static str,
    },
    /// One item of a list of prompts, rows, pools or curves has an error of its own.
    #[error("`{argument}[{index}]`: {error}")]
    Item {
        /// The list.
        argument: &'static str,
        /// Position of the item.
        index: usize,
        /// What is wrong with it.
        error: Box<EvaluationError>,
    },
    /// More samples drawn than there are, or none.
    #[error("`k` = {k}: allowed is an integer in 1..={samples}, the number of samples")]
    Draw {
        /// Samples to be drawn.
        k: usize,
        /// Samples there are.
        samples: usize,
    },
    /// An exact count that would take far too long.
    #[error("{what} takes about {steps:.0e} steps: allowed are at most {most:.0e}; {instead}")]
    TooManySteps {
        /// What is counted.
        what: &'static str,
        /// Steps it would take.
        steps: f64,
        /// The most allowed.
        most: f64,
        /// What to do instead.
        instead: &'static str,
    },
    /// A coefficient that the data do not determine, whatever its estimate says.
    #[error("{coefficient} is not identified: {reason}")]
    Unidentified {
        /// The coefficient.
        coefficient: String,
        /// Which columns are one, and what to do.
        reason: &'static str,
    },
    /// A ranking metric was given examples of one class only.
    #[error("all {count} entries of `{argument}` are {value}: both classes are needed")]
    OneClass {
        /// The argument.
        argument: &'static str,
        /// The only value found.
        value: bool,
        /// How many entries there are.
        count: usize,
    },
    /// All entries are equal where the metric divides by their spread.
    #[error("all entries of `{argument}` equal {value}: the metric needs some that differ")]
    Constant {
        /// The argument.
        argument: &'static str,
        /// The value they share.
        value: f64,
    },
    /// Finite entries whose sum, square or quotient leaves the range of numbers.
    #[error(
        "the {what} of `{argument}` comes to {value}, outside the range of 64-bit floats: rescale \
         the entries"
    )]
    OutOfRange {
        /// The argument.
        argument: &'static str,
        /// What was computed of it.
        what: &'static str,
        /// What it came to: NaN, an infinity, or a 0 that is none.
        value: f64,
    },
    /// Too many bootstrap resamples had no spread for a studentised interval to exist.
    #[error(
        "{degenerate} of {resamples} resamples of `{argument}` have zero standard error, so a \
         studentised interval does not exist: use a t or Wilson interval, or more distinct entries"
    )]
    DegenerateBootstrap {
        /// The argument.
        argument: &'static str,
        /// Resamples whose standard error was 0.
        degenerate: usize,
        /// Resamples drawn.
        resamples: usize,
    },
    /// The columns of a least-squares problem are linearly dependent.
    #[error(
        "the fit has {points} points at {distinct} distinct distances: at least 2 are needed, \
         apart by more than rounding"
    )]
    Singular {
        /// Points given.
        points: usize,
        /// Distinct usable distances among them.
        distinct: usize,
    },
    /// An iterative fit that did not come to rest.
    #[error("the fit has not converged after {steps} steps: rescale its inputs")]
    NotConverged {
        /// Steps taken.
        steps: usize,
    },
    /// A config failed its check.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

pub(crate) fn same_length(
    left: &'static str,
    left_length: usize,
    right: &'static str,
    right_length: usize,
) -> Result<(), EvaluationError> {
    if left_length == right_length {
        return Ok(());
    }
    Err(EvaluationError::LengthMismatch { left, left_length, right, right_length })
}

pub(crate) fn at_least(
    argument: &'static str,
    found: usize,
    needed: usize,
) -> Result<(), EvaluationError> {
    if found >= needed {
        return Ok(());
    }
    Err(EvaluationError::TooFew { argument, found, needed })
}

pub(crate) fn all_finite(argument: &'static str, values: &[f64]) -> Result<(), EvaluationError> {
    every(argument, values, "a finite number", |value| value.is_finite())
}

/// `value`, unless finite entries of `argument` have overflowed on the way to it.
pub(crate) fn in_range(
    what: &'static str,
    argument: &'static str,
    value: f64,
) -> Result<f64, EvaluationError> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(EvaluationError::OutOfRange { argument, what, value })
}

/// Errors at the first entry for which `holds` is false.
pub(crate) fn every(
    argument: &'static str,
    values: &[f64],
    allowed: &'static str,
    holds: impl Fn(f64) -> bool,
) -> Result<(), EvaluationError> {
    match values.iter().position(|&value| !holds(value)) {
        None => Ok(()),
        Some(index) => {
            Err(EvaluationError::Entry { argument, index, value: values[index], allowed })
        }
    }
}

/// Entries in [0, 1] whose sum is 1, with slack for softmax rows in single precision.
pub(crate) fn distribution(
    argument: &'static str,
    probability: &[f64],
) -> Result<(), EvaluationError> {
    at_least(argument, probability.len(), 1)?;
    every(argument, probability, "a number in [0, 1]", |p| (0.0..=1.0).contains(&p))?;
    let value: f64 = probability.iter().sum();
    if (value - 1.0).abs() <= 1e-3 {
        return Ok(());
    }
    let (argument, allowed) = ("sum of probability", "1 within 1e-3");
    Err(EvaluationError::Argument { argument, value, allowed })
}

impl EvaluationError {
    /// The error of item `index` of the list `argument`.
    pub(crate) fn of_item(self, argument: &'static str, index: usize) -> Self {
        Self::Item { argument, index, error: Box::new(self) }
    }
}

pub(crate) fn argument(
    holds: bool,
    argument: &'static str,
    value: f64,
    allowed: &'static str,
) -> Result<(), EvaluationError> {
    if holds {
        return Ok(());
    }
    Err(EvaluationError::Argument { argument, value, allowed })
}
