//! Exact fractions.

use num_rational::Ratio;

/// An exact fraction of 128-bit integers in lowest terms, the denominator positive.
///
/// The checked operations of `num_traits` return `None` when the exact result does not fit.
pub type Rational = Ratio<i128>;

/// A plain unsigned decimal such as `12` or `0.125`, exactly; `None` if it is not one or does not
/// fit.
pub(crate) fn from_decimal(text: &str) -> Option<Rational> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let decimals = decimals.trim_end_matches('0');
    let mut numerator = 0_i128;
    for digit in whole.chars().chain(decimals.chars()) {
        let digit = i128::from(digit.to_digit(10)?);
        numerator = numerator.checked_mul(10)?.checked_add(digit)?;
    }
    let scale = 10_i128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    Some(Rational::new(numerator, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_or_do_not_fit() {
        assert_eq!(from_decimal("0.125"), Some(Rational::new(1, 8)));
        assert_eq!(from_decimal("12"), Some(Rational::from(12)));
        assert_eq!(from_decimal(&"9".repeat(60)), None);
        assert_eq!(from_decimal("1.2.3"), None);
        // Zeros behind the point say nothing, however many.
        assert_eq!(from_decimal(&format!("1.5{}", "0".repeat(60))), Some(Rational::new(3, 2)));
    }
}
