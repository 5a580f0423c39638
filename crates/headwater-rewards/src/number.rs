//! Reading a final answer as a number, as models and data sets write them.

use serde::{Deserialize, Serialize};

use crate::decimal::Decimal;
use crate::latex::{closing_brace, command, skip_spaces, unwrapped, unwrapped_of};
use crate::numeral::take_numeral;

/// What a percent sign means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PercentReading {
    /// `5%` is 0.05.
    Hundredth,
    /// `5%` is 5: for references given in percent.
    Ignored,
}

/// The longest text, in bytes out of its wrapping, that is read as a number.
const LONGEST: usize = 128;

/// Signs of money, before or behind a number. They are not compared.
const CURRENCIES: [&str; 8] = ["\\$", "$", "€", "£", "¥", "\\pounds", "\\euro", "\\yen"];

/// What may stand around a number: marks of Markdown and signs of money.
const AROUND: [&str; 11] =
    ["*", "_", "#", "`", "\\$", "€", "£", "¥", "\\pounds", "\\euro", "\\yen"];

const PERCENTS: [&str; 4] = ["%", "\\%", "percent", "per cent"];

const DEGREES: [&str; 7] =
    ["°", "^\\circ", "^{\\circ}", "\\degree", "\\degrees", "degrees", "degree"];

const FRACTIONS: [&str; 4] = ["frac", "dfrac", "tfrac", "cfrac"];

/// Reads all of `text` as one number; `None` when it is not one, or not finite as `f64`.
///
/// [`FORMS`](crate::FORMS) says which forms are read and which are refused; a reference is read by
/// the same rules as an answer. Beyond them:
/// - The longest number has 128 bytes out of its wrapping; an exponent has up to three digits.
/// - Signs of money and of degrees are read over. No other unit is, nor any word but `percent`.
/// - What may mean two numbers is none.
///
/// The value is the nearest `f64`, a zero never negative. [`NumericMatch`](crate::NumericMatch)
/// compares the numbers as they were written, without that rounding.
#[must_use]
pub fn parse_number(text: &str, percent: PercentReading) -> Option<f64> {
    Number::read(text, percent).map(|number| number.value())
}

/// A number exactly as it was written: a fraction of decimals, the denominator not 0.
#[derive(Debug, Clone)]
pub(crate) struct Number {
    negative: bool,
    numerator: Decimal,
    denominator: Decimal,
}

impl Number {
    /// See [`parse_number`].
    pub(crate) fn read(whole: &str, percent: PercentReading) -> Option<Self> {
        let text = bare(whole);
        // A final full stop, but not the end of `0.333...`.
        let text = match text.strip_suffix('.') {
            Some(rest) if rest.ends_with('.') => return None,
            Some(rest) => bare(rest),
            None => text,
        };
        if text.len() > LONGEST {
            return None;
        }
        let (negative, rest) = take_sign(text);
        let (magnitude, rest) =
            take_magnitude(skip_currency(rest), is_evenly_starred(whole, text))?;
        let rest = bare(skip_gap(rest));
        let percent = match rest {
            "" => PercentReading::Ignored,
            _ if PERCENTS.contains(&rest) => percent,
            _ if DEGREES.contains(&rest) => PercentReading::Ignored,
            _ => return None,
        };
        let shift = if percent == PercentReading::Hundredth { -2 } else { 0 };
        let number = Self {
            negative: negative != magnitude.negative,
            numerator: magnitude.numerator.times_ten_to(shift),
            denominator: magnitude.denominator,
        };
        // A division by zero and an exponent too large end here.
        number.value().is_finite().then_some(number)
    }

    /// The nearest `f64`; of a fraction, the quotient of the nearest two.
    pub(crate) fn value(&self) -> f64 {
        let magnitude = self.numerator.value() / self.denominator.value();
        // No negative zero.
        if self.negative { 0.0 - magnitude } else { magnitude }
    }

    /// Whether `|self - reference| <= max(absolute, relative * |reference|)`, without rounding.
    pub(crate) fn is_within(
        &self,
        reference: &Self,
        absolute: &Decimal,
        relative: &Decimal,
    ) -> bool {
        // Over the common denominator.
        let own = self.numerator.times(&reference.denominator);
        let other = reference.numerator.times(&self.denominator);
        let difference = if self.negative == reference.negative {
            own.distance(&other)
        } else {
            own.plus(&other)
        };
        let shared = self.denominator.times(&reference.denominator);
        difference.is_at_most(&absolute.times(&shared))
            || difference.is_at_most(&relative.times(&other))
    }

    fn plain(numerator: Decimal) -> Self {
        Self { negative: false, numerator, denominator: Decimal::one() }
    }
}

/// `text` out of all that may stand around a number. A tie at its start stays: `~5` is about 5.
fn bare(text: &str) -> &str {
    // Taken at once, so that a text of a million marks costs no more than one pass.
    let text = text.trim_matches(|c: char| c.is_whitespace() || "*_#`$".contains(c));
    let mut text = text;
    loop {
        let rest = unwrapped_of(text, &AROUND).trim_end_matches('~');
        if rest.len() == text.len() {
            return rest;
        }
        text = rest;
    }
}

/// Whether a minus stands before the number, and what stands behind its sign.
fn take_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix(['-', '−']) {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn skip_currency(text: &str) -> &str {
    CURRENCIES.iter().find_map(|sign| text.strip_prefix(sign)).map_or(text, skip_spaces)
}

/// Whether as many asterisks stand right before `text` as right behind it, which is a part of
/// `whole`. In `*2* 10^4` the second one is no sign of multiplication.
fn is_evenly_starred(whole: &str, text: &str) -> bool {
    let start = text.as_ptr() as usize - whole.as_ptr() as usize;
    let (before, after) = (&whole[..start], &whole[start + text.len()..]);
    let after = after.strip_prefix('.').unwrap_or(after);
    before.len() - before.trim_end_matches('*').len()
        == after.len() - after.trim_start_matches('*').len()
}

/// Takes a number without its sign. `stars` says whether an asterisk may be a product.
fn take_magnitude(text: &str, stars: bool) -> Option<(Number, &str)> {
    if let Some(fraction) = take_fraction(text) {
        return Some(fraction);
    }
    let (digits, rest) = take_numeral(text)?;
    if let Some(mixed) = take_mixed(&digits, rest) {
        return Some(mixed);
    }
    let number = Decimal::from_plain(&digits);
    if let Some(divisor) = skip_gap(rest).strip_prefix('/') {
        let (divisor, rest) = take_numeral(skip_gap(divisor))?;
        let denominator = Decimal::from_plain(&divisor);
        return Some((Number { denominator, ..Number::plain(number) }, rest));
    }
    let (power, rest) = if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        take_integer(exponent)?
    } else if let Some(power) = take_power_of_ten(text) {
        return Some((Number::plain(Decimal::one().times_ten_to(power.0)), power.1));
    } else {
        take_product(rest, stars).and_then(take_power_of_ten).unwrap_or((0, rest))
    };
    Some((Number::plain(number.times_ten_to(power)), rest))
}

/// `text` behind blanks, ties and the marks that Markdown may have put around a part.
fn skip_gap(text: &str) -> &str {
    let mut text = text;
    loop {
        let rest = skip_spaces(text).trim_start_matches(['~', '*', '_', '`']);
        if rest.len() == text.len() {
            return rest;
        }
        text = rest;
    }
}

/// What stands behind a sign of multiplication. An asterisk is one if `stars`, and alone.
fn take_product(text: &str, stars: bool) -> Option<&str> {
    let rest = skip_gap(text);
    if let Some((name, after)) = command(rest) {
        return matches!(name, "times" | "cdot").then_some(after);
    }
    if let Some(after) = rest.strip_prefix(['×', '·', '⋅']) {
        return Some(after);
    }
    let gap = &text[..text.len() - rest.len()];
    (stars && gap.matches('*').count() == 1).then_some(rest)
}

/// The exponent of a power of ten: `10^4`, `10^{-4}`, `10⁴`.
fn take_power_of_ten(text: &str) -> Option<(i32, &str)> {
    let rest = skip_gap(text).strip_prefix("10")?;
    if let Some(exponent) = rest.strip_prefix("^{") {
        let end = closing_brace(exponent)?;
        let (power, left) = take_integer(unwrapped(&exponent[..end]))?;
        return left.is_empty().then_some((power, &exponent[end + 1..]));
    }
    if let Some(exponent) = rest.strip_prefix('^') {
        return take_integer(exponent);
    }
    const RAISED: &str = "⁰¹²³⁴⁵⁶⁷⁸⁹";
    let lowered = |c: char| match c {
        '⁻' => Some('-'),
        _ => RAISED.chars().position(|r| r == c).map(|d| char::from(b'0' + d as u8)),
    };
    let plain: String = rest.chars().map_while(lowered).collect();
    let length = rest.chars().take_while(|c| lowered(*c).is_some()).map(char::len_utf8).sum();
    let (power, left) = take_integer(&plain)?;
    left.is_empty().then(|| (power, &rest[length..]))
}

/// A sign and one to three digits.
fn take_integer(text: &str) -> Option<(i32, &str)> {
    let (negative, rest) = take_sign(text);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let value: i32 = if digits <= 3 { rest[..digits].parse().ok()? } else { return None };
    Some((if negative { -value } else { value }, &rest[digits..]))
}

/// `\frac{a}{b}`, with or without the braces around one digit.
fn take_fraction(text: &str) -> Option<(Number, &str)> {
    let (name, rest) = command(text)?;
    if !FRACTIONS.contains(&name) {
        return None;
    }
    let (numerator, rest) = take_argument(rest)?;
    let (denominator, rest) = take_argument(rest)?;
    let number = Number {
        negative: numerator.negative != denominator.negative,
        numerator: numerator.numerator,
        denominator: denominator.numerator,
    };
    Some((number, rest))
}

/// A decimal in braces, or a single digit.
fn take_argument(text: &str) -> Option<(Number, &str)> {
    let text = skip_spaces(text);
    let (inner, rest) = match text.strip_prefix('{') {
        Some(inner) => {
            let end = closing_brace(inner)?;
            (&inner[..end], &inner[end + 1..])
        }
        None if text.starts_with(|c: char| c.is_ascii_digit()) => text.split_at(1),
        None => return None,
    };
    let (negative, numeral) = take_sign(unwrapped(inner));
    let (digits, left) = take_numeral(numeral)?;
    let number = Number { negative, ..Number::plain(Decimal::from_plain(&digits)) };
    left.is_empty().then_some((number, rest))
}

/// A mixed number, `1\frac{1}{2}`: a whole number and behind it a proper fraction of whole numbers.
/// Not `1 1/2`, which may be two numbers.
fn take_mixed<'t>(whole: &str, text: &'t str) -> Option<(Number, &'t str)> {
    let text = text.strip_prefix("\\,").unwrap_or(text);
    let (fraction, rest) = take_fraction(text)?;
    let (n, d) = (fraction.numerator.as_u64()?, fraction.denominator.as_u64()?);
    let whole: u64 = whole.parse().ok()?;
    let proper = whole > 0 && 0 < n && n < d && !fraction.negative;
    let [whole, n, d] = [whole, n, d].map(u128::from);
    let numerator = Decimal::whole(whole.checked_mul(d)?.checked_add(n)?);
    proper.then_some((Number { numerator, ..fraction }, rest))
}
