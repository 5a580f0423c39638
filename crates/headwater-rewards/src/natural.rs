//! Natural numbers and decimals of any size, for comparing what was written without rounding.

use std::cmp::Ordering;
use std::fmt;

/// Digits to a limb.
const WIDTH: usize = 9;
const BASE: u64 = 1_000_000_000;

/// A natural number: limbs of nine digits, the lowest first, the highest not 0.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Natural(Vec<u32>);

impl Natural {
    fn from_digits(digits: &[u8]) -> Self {
        let limb = |chunk: &[u8]| chunk.iter().fold(0, |sum, b| sum * 10 + u32::from(b - b'0'));
        Self::trimmed(digits.rchunks(WIDTH).map(limb).collect())
    }

    fn trimmed(mut limbs: Vec<u32>) -> Self {
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        Self(limbs)
    }

    fn limb(&self, index: usize) -> u64 {
        self.0.get(index).copied().map_or(0, u64::from)
    }

    fn plus(&self, other: &Self) -> Self {
        let mut carry = 0;
        let limbs = (0..=self.0.len().max(other.0.len())).map(|index| {
            let sum = self.limb(index) + other.limb(index) + carry;
            carry = sum / BASE;
            (sum % BASE) as u32
        });
        Self::trimmed(limbs.collect())
    }

    /// `|self - other|`.
    fn distance(&self, other: &Self) -> Self {
        let (large, small) = if self < other { (other, self) } else { (self, other) };
        let mut borrowed = 0;
        let limbs = (0..large.0.len()).map(|index| {
            let difference = large.limb(index) + BASE - small.limb(index) - borrowed;
            borrowed = u64::from(difference < BASE);
            (difference % BASE) as u32
        });
        Self::trimmed(limbs.collect())
    }

    fn times(&self, other: &Self) -> Self {
        let mut limbs = vec![0; self.0.len() + other.0.len()];
        for (i, left) in self.0.iter().enumerate() {
            let mut carry = 0;
            for j in 0..limbs.len() - i {
                let sum = u64::from(limbs[i + j]) + u64::from(*left) * other.limb(j) + carry;
                limbs[i + j] = (sum % BASE) as u32;
                carry = sum / BASE;
            }
        }
        Self::trimmed(limbs)
    }

    fn times_ten_to(&self, power: usize) -> Self {
        let mut limbs = vec![0; power / WIDTH];
        limbs.extend(self.times(&Self(vec![10_u32.pow((power % WIDTH) as u32)])).0);
        Self::trimmed(limbs)
    }
}

impl Ord for Natural {
    fn cmp(&self, other: &Self) -> Ordering {
        let limbs = |number: &Self| number.0.iter().rev().copied().collect::<Vec<u32>>();
        self.0.len().cmp(&other.0.len()).then_with(|| limbs(self).cmp(&limbs(other)))
    }
}

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Natural {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut limbs = self.0.iter().rev();
        write!(f, "{}", limbs.next().unwrap_or(&0))?;
        limbs.try_for_each(|limb| write!(f, "{limb:09}"))
    }
}

/// `mantissa * 10^exponent`, at least 0, exactly.
#[derive(Debug, Clone)]
pub(crate) struct Decimal {
    mantissa: Natural,
    exponent: i32,
}

impl Decimal {
    /// 1.
    pub(crate) fn one() -> Self {
        Self { mantissa: Natural(vec![1]), exponent: 0 }
    }

    /// A whole number.
    pub(crate) fn whole(value: u128) -> Self {
        Self { mantissa: Natural::from_digits(value.to_string().as_bytes()), exponent: 0 }
    }

    /// ASCII digits with at most one point among them, e.g. `12` or `.125`.
    pub(crate) fn from_plain(text: &str) -> Self {
        let decimals = text.find('.').map_or(0, |point| text.len() - point - 1);
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).collect();
        Self { mantissa: Natural::from_digits(&digits), exponent: -(decimals as i32) }
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
        Self { mantissa: self.mantissa.times(&other.mantissa), exponent }
    }

    /// `self + other`.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        let (left, right, exponent) = self.aligned(other);
        Self { mantissa: left.plus(&right), exponent }
    }

    /// `|self - other|`.
    pub(crate) fn distance(&self, other: &Self) -> Self {
        let (left, right, exponent) = self.aligned(other);
        Self { mantissa: left.distance(&right), exponent }
    }

    pub(crate) fn is_at_most(&self, other: &Self) -> bool {
        let (left, right, _) = self.aligned(other);
        left <= right
    }

    /// The value, if it was written as a whole number below 2^64.
    pub(crate) fn as_u64(&self) -> Option<u64> {
        if self.exponent == 0 { self.mantissa.to_string().parse().ok() } else { None }
    }

    /// The nearest `f64`; infinite when too large.
    pub(crate) fn value(&self) -> f64 {
        format!("{}e{}", self.mantissa, self.exponent).parse().unwrap_or(f64::NAN)
    }

    /// Both mantissas at the lower exponent, which is the last.
    fn aligned(&self, other: &Self) -> (Natural, Natural, i32) {
        let exponent = self.exponent.min(other.exponent);
        let at = |decimal: &Self| {
            decimal.mantissa.times_ten_to((decimal.exponent - exponent).unsigned_abs() as usize)
        };
        (at(self), at(other), exponent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn natural(value: u128) -> Natural {
        Decimal::whole(value).mantissa
    }

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
            a in any::<u64>(), b in any::<u64>(), tens in 0_usize..19,
        ) {
            let (a, b) = (u128::from(a), u128::from(b));
            let (x, y) = (natural(a), natural(b));
            prop_assert_eq!(x.plus(&y), natural(a + b));
            prop_assert_eq!(x.distance(&y), natural(a.abs_diff(b)));
            prop_assert_eq!(x.times(&y), natural(a * b));
            prop_assert_eq!(x.times_ten_to(tens), natural(a * 10_u128.pow(tens as u32)));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(natural(a * b).to_string(), (a * b).to_string());
        }
    }
}
