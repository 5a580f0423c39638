//! The countdown game: reach a target from given numbers by `+ - * /`.

use headwater_core::{Check, ConfigError, Sample, Score};
use serde::{Deserialize, Serialize};

use crate::arithmetic::{EXPRESSION_INVARIANCES, ExpressionLimits, evaluate};
use crate::error::{RewardError, shown};
use crate::extraction::Extraction;
use crate::latex::unwrapped;
use crate::rational::Rational;
use crate::verifiable::{binary, verifier_invariances};
use crate::{Invariance, Range, Reward};

/// How the given numbers are to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberUse {
    /// Each exactly as often as it is given.
    Exactly,
    /// Each at most as often as it is given.
    AtMost,
}

/// The given numbers and the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountdownPuzzle {
    numbers: Vec<i64>,
    target: i64,
}

impl CountdownPuzzle {
    /// The most numbers a puzzle may have.
    pub const MOST_NUMBERS: usize = 64;

    /// A puzzle.
    ///
    /// # Errors
    /// When there are no numbers, more than [`CountdownPuzzle::MOST_NUMBERS`], or a negative one,
    /// which no expression could use: its numbers are read without their signs.
    pub fn new(numbers: Vec<i64>, target: i64) -> Result<Self, RewardError> {
        if numbers.is_empty() || numbers.len() > Self::MOST_NUMBERS {
            return Err(malformed(&format!("{} numbers", numbers.len())));
        }
        if let Some(negative) = numbers.iter().find(|number| **number < 0) {
            return Err(malformed(&format!("{negative}")));
        }
        Ok(Self { numbers, target })
    }

    /// Reads `3 7 25 = 46`: whole numbers separated by spaces, then `=` and the target.
    ///
    /// # Errors
    /// When the text has another form, too many numbers, or a negative one before the `=`.
    pub fn parse(text: &str) -> Result<Self, RewardError> {
        let (numbers, target) = text.split_once('=').ok_or_else(|| malformed(text))?;
        // One past the limit is enough to see that it is broken, however long the text.
        let numbers: Result<Vec<i64>, _> =
            numbers.split_whitespace().take(Self::MOST_NUMBERS + 1).map(str::parse).collect();
        match (numbers, target.trim().parse()) {
            (Ok(numbers), Ok(target)) => Self::new(numbers, target).map_err(|_| malformed(text)),
            _ => Err(malformed(text)),
        }
    }

    /// Whether `expression` reaches the target with the numbers used as `number_use` demands.
    ///
    /// Numbers count by value (`5.0` is 5), so digits cannot be joined into new numbers.
    /// Intermediate results may be negative or fractions. Signs are allowed: they reach no positive
    /// target that subtraction does not.
    ///
    /// # Errors
    /// When the expression does not evaluate, see [`evaluate`].
    pub fn is_solved_by(
        &self,
        expression: &str,
        number_use: NumberUse,
        limits: ExpressionLimits,
    ) -> Result<bool, RewardError> {
        let evaluation = evaluate(expression, limits)?;
        let mut unused: Vec<Rational> =
            self.numbers.iter().map(|n| i128::from(*n).into()).collect();
        for number in &evaluation.numbers {
            match unused.iter().position(|given| given == number) {
                Some(index) => unused.swap_remove(index),
                None => return Ok(false),
            };
        }
        let all_used = unused.is_empty() || number_use == NumberUse::AtMost;
        Ok(all_used && evaluation.value == Rational::from(i128::from(self.target)))
    }
}

fn malformed(text: &str) -> RewardError {
    RewardError::CountdownPuzzle { text: shown(text), limit: CountdownPuzzle::MOST_NUMBERS }
}

/// Config of [`Countdown`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountdownConfig {
    /// Where the expression stands.
    pub extraction: Extraction,
    /// How the given numbers are to be used.
    pub number_use: NumberUse,
    /// Bounds on the expression.
    #[serde(default)]
    pub limits: ExpressionLimits,
}

/// 1 when the answer solves the puzzle in the reference (`3 7 25 = 46`), else 0.
#[derive(Debug, Clone)]
pub struct Countdown {
    config: CountdownConfig,
    invariances: Vec<Invariance>,
}

impl Check for CountdownConfig {
    type Checked = Countdown;

    fn check(self) -> Result<Countdown, ConfigError> {
        self.extraction.require("CountdownConfig")?;
        self.limits.require("CountdownConfig")?;
        let invariances = verifier_invariances(&EXPRESSION_INVARIANCES, &self.extraction);
        Ok(Countdown { config: self, invariances })
    }
}

impl Reward for Countdown {
    fn name(&self) -> &str {
        "countdown"
    }

    fn range(&self) -> Range {
        Range::UNIT
    }

    fn invariances(&self) -> &[Invariance] {
        &self.invariances
    }

    fn score(&self, sample: Sample<'_>) -> Score {
        let Some(reference) = sample.reference else {
            return Score::Abstained("no puzzle in the reference".into());
        };
        let puzzle = match CountdownPuzzle::parse(reference) {
            Ok(puzzle) => puzzle,
            Err(error) => return Score::Failed(error.to_string()),
        };
        let CountdownConfig { extraction, number_use, limits } = &self.config;
        let answer = extraction.extract(sample.completion);
        binary(answer.is_some_and(|expression| {
            puzzle.is_solved_by(unwrapped(expression), *number_use, *limits).unwrap_or(false)
        }))
    }
}
