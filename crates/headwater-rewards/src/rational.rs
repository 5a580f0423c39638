//! Exact fractions that refuse to overflow.

use std::fmt;

/// An exact fraction of 128-bit integers in lowest terms, the denominator positive, so that equal
/// values are equal as data.
///
/// Every operation returns `None` when the exact result does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rational {
    numerator: i128,
    denominator: i128,
}

impl Rational {
    /// `numerator / denominator`; `None` when the denominator is 0 or a sign cannot be flipped.
    #[must_use]
    pub fn new(numerator: i128, denominator: i128) -> Option<Self> {
        if denominator == 0 || numerator == i128::MIN || denominator == i128::MIN {
            return None;
        }
        let divisor = greatest_common_divisor(numerator, denominator) * denominator.signum();
        Some(Self { numerator: numerator / divisor, denominator: denominator / divisor })
    }

    /// A plain unsigned decimal such as `12` or `0.125`, exactly; `None` if it is not one or does
    /// not fit.
    pub(crate) fn from_decimal(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let decimals = decimals.trim_end_matches('0');
        let mut numerator = 0_i128;
        for digit in whole.chars().chain(decimals.chars()) {
            let digit = i128::from(digit.to_digit(10)?);
            numerator = numerator.checked_mul(10)?.checked_add(digit)?;
        }
        let scale = 10_i128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
        Self::new(numerator, scale)
    }

    /// The numerator in lowest terms; it carries the sign.
    #[must_use]
    pub fn numerator(self) -> i128 {
        self.numerator
    }

    /// The denominator in lowest terms, positive.
    #[must_use]
    pub fn denominator(self) -> i128 {
        self.denominator
    }

    /// `self + other`.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        // Over the least common denominator: the products stay as small as they can.
        let shared = greatest_common_divisor(self.denominator, other.denominator);
        let left = self.numerator.checked_mul(other.denominator / shared)?;
        let right = other.numerator.checked_mul(self.denominator / shared)?;
        let denominator = self.denominator.checked_mul(other.denominator / shared)?;
        Self::new(left.checked_add(right)?, denominator)
    }

    /// `self - other`.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.checked_add(other.negated())
    }

    /// `self * other`.
    #[must_use]
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        // Cancelling across first means only a result that is too large itself overflows.
        let left = greatest_common_divisor(self.numerator, other.denominator);
        let right = greatest_common_divisor(other.numerator, self.denominator);
        Self::new(
            (self.numerator / left).checked_mul(other.numerator / right)?,
            (self.denominator / right).checked_mul(other.denominator / left)?,
        )
    }

    /// `self / other`; `None` also when `other` is 0.
    #[must_use]
    pub fn checked_div(self, other: Self) -> Option<Self> {
        self.checked_mul(Self::new(other.denominator, other.numerator)?)
    }

    /// `-self`, which always fits because `i128::MIN` is never a numerator.
    #[must_use]
    pub fn negated(self) -> Self {
        Self { numerator: -self.numerator, denominator: self.denominator }
    }
}

impl From<i64> for Rational {
    fn from(value: i64) -> Self {
        Self { numerator: i128::from(value), denominator: 1 }
    }
}

impl fmt::Display for Rational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denominator {
            1 => write!(f, "{}", self.numerator),
            denominator => write!(f, "{}/{denominator}", self.numerator),
        }
    }
}

/// The greatest common divisor of the magnitudes, for arguments that are not both 0 nor
/// `i128::MIN`.
fn greatest_common_divisor(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.abs(), b.abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rational(numerator: i128, denominator: i128) -> Rational {
        Rational::new(numerator, denominator).expect("fits")
    }

    #[test]
    fn lowest_terms_signs_and_overflow() {
        assert_eq!(rational(2, -4), rational(-1, 2));
        assert_eq!(rational(0, -7), rational(0, 1));
        assert_eq!(Rational::new(1, 0), None);
        assert_eq!(Rational::from_decimal("0.125"), Rational::new(1, 8));
        assert_eq!(Rational::from_decimal(&"9".repeat(60)), None);
        // Zeros behind the point say nothing, however many.
        assert_eq!(Rational::from_decimal(&format!("1.5{}", "0".repeat(60))), Rational::new(3, 2));
        let largest = rational(i128::MAX, 1);
        assert_eq!(largest.checked_add(Rational::from(1)), None);
        assert_eq!(largest.checked_mul(Rational::from(2)), None);
        assert_eq!(largest.checked_mul(rational(1, i128::MAX)), Some(Rational::from(1)));
        assert_eq!(Rational::from(1).checked_div(Rational::from(0)), None);
    }

    proptest! {
        #[test]
        fn arithmetic_agrees_with_cross_multiplication(
            a in -999_i64..999, b in 1_i64..999, c in -999_i64..999, d in 1_i64..999,
        ) {
            let (wide, x) = (|v: i64| i128::from(v), rational(a.into(), b.into()));
            let y = rational(c.into(), d.into());
            let (a, b, c, d) = (wide(a), wide(b), wide(c), wide(d));
            prop_assert_eq!(x.checked_add(y), Rational::new(a * d + c * b, b * d));
            prop_assert_eq!(x.checked_sub(y), Rational::new(a * d - c * b, b * d));
            prop_assert_eq!(x.checked_mul(y), Rational::new(a * c, b * d));
            prop_assert_eq!(x.checked_div(y), Rational::new(a * d, b * c));
        }
    }
}
