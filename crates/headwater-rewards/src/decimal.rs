//! Decimals of any size, for comparing what was written without rounding.

use num_bigint::BigUint;

/// `mantissa * 10^exponent`, at least 0, exactly.
#[derive(Debug, Clone)]
pub(crate) struct Decimal {
    mantissa: BigUint,
    exponent: i32,
}

impl Decimal {
    /// 1.
    pub(crate) fn one() -> Self {
        Self::whole(1)
    }

    /// A whole number.
    pub(crate) fn whole(value: u128) -> Self {
        Self { mantissa: value.into(), exponent: 0 }
    }

    /// ASCII digits with at most one point among them, e.g. `12` or `.125`.
    pub(crate) fn from_plain(text: &str) -> Self {
        let decimals = text.find('.').map_or(0, |point| text.len() - point - 1);
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).collect();
        let mantissa = BigUint::parse_bytes(&digits, 10).unwrap_or_default();
        Self { mantissa, exponent: -(decimals as i32) }
    }

    /// The shortest decimal that is read back as `value`, finite and at least 0: a tolerance of
    /// 0.01 means one hundredth, not the double next to it.
    pub(crate) fn shortest(value: f64) -> Self {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        Self::from_plain(mantissa).times_ten_to(exponent.parse().unwrap_or(0))
    }

    /// `self * 10^power`.
    pub(crate) fn times_ten_to(self, power: i32) -> Self {
        Self { exponent: self.exponent + power, ..self }
    }

    pub(crate) fn times(&self, other: &Self) -> Self {
        let exponent = self.exponent + other.exponent;
        Self { mantissa: &self.mantissa * &other.mantissa, exponent }
    }

    /// `self + other`.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        let (left, right, exponent) = self.aligned(other);
        Self { mantissa: left + right, exponent }
    }

    /// `|self - other|`.
    pub(crate) fn distance(&self, other: &Self) -> Self {
        let (left, right, exponent) = self.aligned(other);
        Self { mantissa: if left < right { right - left } else { left - right }, exponent }
    }

    pub(crate) fn is_at_most(&self, other: &Self) -> bool {
        let (left, right, _) = self.aligned(other);
        left <= right
    }

    /// The value, if it was written as a whole number below 2^64.
    pub(crate) fn as_u64(&self) -> Option<u64> {
        if self.exponent == 0 { u64::try_from(&self.mantissa).ok() } else { None }
    }

    /// The nearest `f64`; infinite when too large.
    pub(crate) fn value(&self) -> f64 {
        format!("{}e{}", self.mantissa, self.exponent).parse().unwrap_or(f64::NAN)
    }

    /// Both mantissas at the lower exponent, which is the last.
    fn aligned(&self, other: &Self) -> (BigUint, BigUint, i32) {
        let exponent = self.exponent.min(other.exponent);
        let at = |decimal: &Self| {
            &decimal.mantissa
                * BigUint::from(10_u8).pow((decimal.exponent - exponent).unsigned_abs())
        };
        (at(self), at(other), exponent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_what_was_written() {
        for (text, value) in [("12", 12.0), (".125", 0.125), ("0", 0.0), ("000.50", 0.5)] {
            assert_eq!(Decimal::from_plain(text).value(), value);
        }
        for value in [0.01, 0.1, 1e-300, 5e-324, 0.0, 123_456.5, f64::MAX] {
            assert_eq!(Decimal::shortest(value).value(), value);
        }
        let cent = Decimal::from_plain("0.01");
        let read = Decimal::shortest(0.01);
        assert!(cent.is_at_most(&read) && read.is_at_most(&cent));
        assert_eq!(Decimal::one().times_ten_to(400).value(), f64::INFINITY);
    }

    proptest! {
        #[test]
        fn arithmetic_agrees_with_128_bits(
            a in any::<u32>(), b in any::<u32>(), x in -9_i32..9, y in -9_i32..9,
        ) {
            let decimal = |value: u32, power| Decimal::whole(value.into()).times_ten_to(power);
            // In billionths, of which both are whole numbers.
            let whole = |value: u32, power: i32| u128::from(value) * 10_u128.pow((power + 9) as u32);
            let same = |ours: &Decimal, billionths: u128, scale: i32| {
                let other = Decimal::whole(billionths).times_ten_to(scale);
                ours.is_at_most(&other) && other.is_at_most(ours)
            };
            let (p, q) = (decimal(a, x), decimal(b, y));
            let (n, m) = (whole(a, x), whole(b, y));
            prop_assert!(same(&p.plus(&q), n + m, -9));
            prop_assert!(same(&p.distance(&q), n.abs_diff(m), -9));
            prop_assert!(same(&p.times(&q), u128::from(a) * u128::from(b), x + y));
            prop_assert_eq!(p.is_at_most(&q), n <= m);
        }
    }
}
