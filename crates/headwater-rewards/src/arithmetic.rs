//! Bounded, exact evaluation of arithmetic text. Nothing is ever executed.

use headwater_core::{Check, ConfigError, Sample, Score, require};
use num_traits::{CheckedAdd, CheckedDiv, CheckedMul, CheckedSub, Zero};
use serde::{Deserialize, Serialize};

use crate::error::{RewardError, shown};
use crate::extraction::Extraction;
use crate::latex::{command, skip_spaces, unwrapped};
use crate::numeral::take_numeral;
use crate::rational::{Rational, from_decimal};
use crate::verifiable::{binary, verifier_invariances};
use crate::{Invariance, Range, Reward};

/// How large an expression may be. Time and stack are bounded by these and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpressionLimits {
    /// Largest length in bytes, checked before anything is read.
    pub bytes: usize,
    /// Deepest nesting of parentheses and signs, at most [`ExpressionLimits::DEEPEST`].
    pub depth: usize,
    /// Most binary operations.
    pub operations: usize,
}

impl ExpressionLimits {
    /// The largest `depth` there may be: the parser recurses, and this keeps it far from any
    /// stack's end.
    pub const DEEPEST: usize = 256;

    pub(crate) fn require(self, config: &'static str) -> Result<(), ConfigError> {
        require(self.bytes > 0, config, "limits.bytes", self.bytes, "at least 1")?;
        let depth_fits = (1..=Self::DEEPEST).contains(&self.depth);
        require(depth_fits, config, "limits.depth", self.depth, "from 1 to 256")
    }
}

impl Default for ExpressionLimits {
    /// 1,024 bytes, 32 levels, 64 operations.
    fn default() -> Self {
        Self { bytes: 1024, depth: 32, operations: 64 }
    }
}

/// What an expression came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// The exact value.
    pub value: Rational,
    /// The numbers written in it, from left to right, without signs.
    pub numbers: Vec<Rational>,
}

/// Evaluates `text` exactly.
///
/// Grammar: unsigned decimals (whole part optionally grouped in threes, as in
/// [`FORMS`](crate::FORMS)), `+ - * /` with the usual precedence, also written `−`, `×`, `·`, `÷`,
/// `\times`, `\cdot` and `\div`, unary signs, parentheses, `\frac{a}{b}` (a division; single digits
/// need no braces), any whitespace and spacing commands between. No powers, no exponents, no names,
/// no implicit products.
///
/// # Errors
/// The limit that was broken, the byte at which the grammar was, a division by zero, or an exact
/// value that does not fit a fraction of 128-bit integers. A `limits.depth` above
/// [`ExpressionLimits::DEEPEST`] counts as that.
///
/// ```
/// use headwater_rewards::{ExpressionLimits, evaluate};
///
/// let third = evaluate("(1 + 1/3) / 4", ExpressionLimits::default()).unwrap();
/// assert_eq!(third.value.to_string(), "1/3");
/// assert_eq!(third.numbers.len(), 4);
/// assert!(evaluate("2 ** 999999999", ExpressionLimits::default()).is_err());
/// ```
pub fn evaluate(text: &str, limits: ExpressionLimits) -> Result<Evaluation, RewardError> {
    if text.len() > limits.bytes {
        return Err(RewardError::ExpressionLimit { what: "bytes", limit: limits.bytes });
    }
    let limits = ExpressionLimits { depth: limits.depth.min(ExpressionLimits::DEEPEST), ..limits };
    let mut parser =
        Parser { text, position: 0, depth: 0, operations: 0, limits, numbers: Vec::new() };
    let value = parser.sum()?;
    match parser.peek() {
        None => Ok(Evaluation { value, numbers: parser.numbers }),
        Some(_) => Err(parser.unexpected("an operator or the end")),
    }
}

/// Stands for the command `\frac`; as a character it is in no grammar.
const FRACTION: char = '\u{1}';

/// Recursive descent: `sum = product {(+|-) product}`, `product = factor {(*|/) factor}`,
/// `factor = (+|-) factor | "(" sum ")" | \frac argument argument | number`.
struct Parser<'t> {
    text: &'t str,
    position: usize,
    depth: usize,
    operations: usize,
    limits: ExpressionLimits,
    numbers: Vec<Rational>,
}

impl Parser<'_> {
    fn sum(&mut self) -> Result<Rational, RewardError> {
        let mut value = self.product()?;
        while let Some(operator @ ('+' | '-')) = self.peek() {
            self.operator()?;
            let right = self.product()?;
            let result =
                if operator == '+' { value.checked_add(&right) } else { value.checked_sub(&right) };
            value = self.fitting(result)?;
        }
        Ok(value)
    }

    fn product(&mut self) -> Result<Rational, RewardError> {
        let mut value = self.factor()?;
        while let Some(operator @ ('*' | '/')) = self.peek() {
            self.operator()?;
            let position = self.position;
            let right = self.factor()?;
            if operator == '/' && right.is_zero() {
                return Err(RewardError::DivisionByZero { position });
            }
            let result =
                if operator == '*' { value.checked_mul(&right) } else { value.checked_div(&right) };
            value = self.fitting(result)?;
        }
        Ok(value)
    }

    fn factor(&mut self) -> Result<Rational, RewardError> {
        let opening = match self.peek() {
            Some(opening @ ('+' | '-' | '(' | FRACTION)) => opening,
            _ => return self.number(),
        };
        if self.depth == self.limits.depth {
            return Err(RewardError::ExpressionLimit { what: "levels", limit: self.limits.depth });
        }
        self.depth += 1;
        let value = match opening {
            '(' => self.enclosed(')', "an operator or ')'")?,
            FRACTION => self.fraction()?,
            sign => {
                self.advance();
                let value = self.factor()?;
                if sign == '-' { -value } else { value }
            }
        };
        self.depth -= 1;
        Ok(value)
    }

    /// A sum behind an opening mark and before its closing one.
    fn enclosed(&mut self, closing: char, expected: &'static str) -> Result<Rational, RewardError> {
        self.advance();
        let value = self.sum()?;
        if self.peek() != Some(closing) {
            return Err(self.unexpected(expected));
        }
        self.advance();
        Ok(value)
    }

    fn fraction(&mut self) -> Result<Rational, RewardError> {
        self.operator()?;
        let numerator = self.argument()?;
        let position = self.position;
        let denominator = self.argument()?;
        if denominator.is_zero() {
            return Err(RewardError::DivisionByZero { position });
        }
        self.fitting(numerator.checked_div(&denominator))
    }

    /// A sum in braces, or a single digit.
    fn argument(&mut self) -> Result<Rational, RewardError> {
        match self.peek() {
            Some('{') => self.enclosed('}', "an operator or '}'"),
            Some(digit) if digit.is_ascii_digit() => {
                let value = from_decimal(&digit.to_string());
                self.advance();
                let value = self.fitting(value)?;
                self.numbers.push(value);
                Ok(value)
            }
            _ => Err(self.unexpected("'{' or a digit")),
        }
    }

    fn number(&mut self) -> Result<Rational, RewardError> {
        let Some((numeral, rest)) = take_numeral(&self.text[self.position..]) else {
            return Err(self.unexpected("a number, a sign or '('"));
        };
        self.position = self.text.len() - rest.len();
        let value = self.fitting(from_decimal(&numeral))?;
        self.numbers.push(value);
        Ok(value)
    }

    /// The next mark behind whitespace, spacing commands and `\left` and `\right`, typographic
    /// operators as their ASCII ones; and its length in bytes. Not consumed.
    fn mark(&mut self) -> Option<(char, usize)> {
        loop {
            let rest = skip_spaces(&self.text[self.position..]);
            self.position = self.text.len() - rest.len();
            let length = |after: &str| rest.len() - after.len();
            return match command(rest) {
                Some(("left" | "right", after)) => {
                    self.position += length(after);
                    continue;
                }
                Some(("times" | "cdot", after)) => Some(('*', length(after))),
                Some(("div", after)) => Some(('/', length(after))),
                Some(("frac" | "dfrac" | "tfrac", after)) => Some((FRACTION, length(after))),
                _ => rest.chars().next().map(|character| {
                    let plain = match character {
                        '−' => '-',
                        '×' | '·' => '*',
                        '÷' => '/',
                        // No text may write it.
                        FRACTION => char::REPLACEMENT_CHARACTER,
                        other => other,
                    };
                    (plain, character.len_utf8())
                }),
            };
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.mark().map(|(mark, _)| mark)
    }

    fn advance(&mut self) {
        self.position += self.mark().map_or(0, |(_, length)| length);
    }

    /// Consumes a binary operator, counted against its limit.
    fn operator(&mut self) -> Result<(), RewardError> {
        if self.operations == self.limits.operations {
            let limit = self.limits.operations;
            return Err(RewardError::ExpressionLimit { what: "operations", limit });
        }
        self.operations += 1;
        self.advance();
        Ok(())
    }

    fn fitting(&self, value: Option<Rational>) -> Result<Rational, RewardError> {
        // The sign of the lowest integer cannot be flipped.
        let fits = |value: &Rational| *value.numer() != i128::MIN;
        value.filter(fits).ok_or(RewardError::ExpressionOverflow { position: self.position })
    }

    fn unexpected(&self, expected: &'static str) -> RewardError {
        let found = match self.text[self.position..].chars().next() {
            Some(character) => format!("{character:?}"),
            None => "the end".to_owned(),
        };
        RewardError::ExpressionSyntax { position: self.position, expected, found }
    }
}

/// Config of [`ArithmeticMatch`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArithmeticMatchConfig {
    /// Where the answer stands.
    pub extraction: Extraction,
    /// Bounds on both the answer's and the reference's expression.
    #[serde(default)]
    pub limits: ExpressionLimits,
}

/// 1 when the answer, read as an arithmetic expression, equals the reference exactly, else 0.
/// LaTeX around all of either is read over (`\(...\)`, `\text{...}`).
///
/// The reference is an expression too. Beware that an answer may restate the question: `3*4` equals
/// 12. Where the model is to compute, use [`NumericMatch`](crate::NumericMatch). Abstains without a
/// reference, fails on a reference that does not evaluate. An answer that does not evaluate is
/// wrong.
#[derive(Debug, Clone)]
pub struct ArithmeticMatch {
    config: ArithmeticMatchConfig,
    invariances: Vec<Invariance>,
}

impl Check for ArithmeticMatchConfig {
    type Checked = ArithmeticMatch;

    fn check(self) -> Result<ArithmeticMatch, ConfigError> {
        self.extraction.require("ArithmeticMatchConfig")?;
        self.limits.require("ArithmeticMatchConfig")?;
        let invariances = verifier_invariances(&EXPRESSION_INVARIANCES, &self.extraction);
        Ok(ArithmeticMatch { config: self, invariances })
    }
}

/// Not markdown: an asterisk is a product.
pub(crate) const EXPRESSION_INVARIANCES: [Invariance; 3] =
    [Invariance::Whitespace, Invariance::IdentityTerms, Invariance::NumberFormat];

impl Reward for ArithmeticMatch {
    fn name(&self) -> &str {
        "arithmetic_match"
    }

    fn range(&self) -> Range {
        Range::UNIT
    }

    fn invariances(&self) -> &[Invariance] {
        &self.invariances
    }

    fn score(&self, sample: Sample<'_>) -> Score {
        let Some(reference) = sample.reference else {
            return Score::Abstained("no reference to compare with".into());
        };
        let reference = unwrapped(reference);
        let wanted = match evaluate(reference, self.config.limits) {
            Ok(evaluation) => evaluation.value,
            Err(error) => {
                return Score::Failed(format!("the reference {}: {error}", shown(reference)));
            }
        };
        let answer = self.config.extraction.extract(sample.completion);
        binary(answer.is_some_and(|answer| {
            let found = evaluate(unwrapped(answer), self.config.limits);
            found.is_ok_and(|found| found.value == wanted)
        }))
    }
}
