//! Everything that can go wrong in this crate, with the operands.

use headwater_core::ConfigError;

/// Why a reward could not be built, an expression not evaluated, or a batch of scores not accepted.
///
/// A single sample that cannot be scored is not an error: it is a
/// [`Score::Failed`](headwater_core::Score::Failed) with the reason.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RewardError {
    /// A config field out of its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Range bounds that are NaN or in the wrong order.
    #[error("the range [{low}, {high}] is not a range: allowed is low <= high, neither NaN")]
    NotARange {
        /// Lower bound given.
        low: f64,
        /// Upper bound given.
        high: f64,
    },
    /// A number given as a probability that is not one.
    #[error("{argument} = {value}: allowed is a probability in [0, 1]")]
    NotAProbability {
        /// Name of the argument.
        argument: &'static str,
        /// The value given.
        value: f64,
    },
    /// A composite reward given a part it cannot work with.
    #[error("{composite}: {field} of part {index} (`{part}`) is {value}: allowed is {allowed}")]
    Part {
        /// Which composite, e.g. `Mixture`.
        composite: &'static str,
        /// Position of the part.
        index: usize,
        /// Name of the part's reward.
        part: String,
        /// Which property of the part.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A composite reward without parts, or whose weights sum to 0 where they may not.
    #[error("{composite} has no parts with a positive weight")]
    NoParts {
        /// Which composite.
        composite: &'static str,
    },
    /// Inputs of different lengths that must agree, e.g. a batch reward that returned too few
    /// scores.
    #[error("{what}: {found} given, {expected} expected")]
    Count {
        /// What was counted.
        what: String,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A number that must be finite and is not.
    #[error("{what} at index {index} is {value}: allowed is a finite number")]
    NotFinite {
        /// What the number is.
        what: &'static str,
        /// Where it is.
        index: usize,
        /// The value.
        value: f64,
    },
    /// A number given as a log-probability that is not one.
    #[error(
        "log-probability of {what} {index} is {value}: allowed is a finite number of at most 0"
    )]
    NotALogProbability {
        /// What it is of.
        what: &'static str,
        /// Where it is.
        index: usize,
        /// The value.
        value: f64,
    },
    /// More samples of a batch failed than the caller tolerates.
    #[error(
        "`{reward}` failed on {failed} of {total} samples, a fraction of {tolerated} is tolerated; \
         first at index {index}: {reason}"
    )]
    TooManyFailures {
        /// Name of the reward.
        reward: String,
        /// Number of failed samples.
        failed: usize,
        /// Number of samples.
        total: usize,
        /// Fraction of failures tolerated, in [0, 1].
        tolerated: f64,
        /// Index of the first failed sample.
        index: usize,
        /// Its reason.
        reason: String,
    },
    /// A text that breaks a size limit of the expression evaluator.
    #[error("the expression exceeds its limit of {limit} {what}")]
    ExpressionLimit {
        /// Which limit: bytes, levels of nesting, or operations.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A text that is not an arithmetic expression.
    #[error("at byte {position} of the expression: expected {expected}, found {found}")]
    ExpressionSyntax {
        /// Byte offset.
        position: usize,
        /// What may stand there.
        expected: &'static str,
        /// What does stand there.
        found: String,
    },
    /// A division by zero inside an expression.
    #[error("at byte {position} of the expression: division by zero")]
    DivisionByZero {
        /// Byte offset of the divisor.
        position: usize,
    },
    /// A number in or produced by an expression that does not fit 128 bits.
    #[error("at byte {position} of the expression: the exact value does not fit 128-bit integers")]
    ExpressionOverflow {
        /// Byte offset after the operand that overflowed.
        position: usize,
    },
    /// A countdown reference that is not `n1 n2 ... = target`, or has a negative number to use.
    #[error(
        "the countdown puzzle {text} is malformed: allowed is e.g. \"3 7 25 = 46\", whole numbers \
         from 0 to 2^63 - 1, at most {limit} of them"
    )]
    CountdownPuzzle {
        /// The start of the text, in quotes.
        text: String,
        /// How many numbers a puzzle may have.
        limit: usize,
    },
}

/// A text in quotes for a message, cut to 60 characters.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}", format!("{}…", &text[..end])),
        None => format!("{text:?}"),
    }
}

/// `value` if it is a probability.
pub(crate) fn probability(argument: &'static str, value: f64) -> Result<f64, RewardError> {
    // `contains` is false for NaN.
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(RewardError::NotAProbability { argument, value })
    }
}
