//! Numbers that would be equal but for rounding.

/// What rounding leaves, relative to the largest number: sums of some hundred terms.
const ROUNDING: f64 = 1e-12;

/// Whether two numbers are the same up to rounding.
pub(crate) fn alike(a: f64, b: f64) -> bool {
    (a - b).abs() <= ROUNDING * a.abs().max(b.abs())
}

/// Whether all numbers are finite, and the same up to rounding.
pub(crate) fn all_alike(values: &[f64]) -> bool {
    if values.iter().any(|value| !value.is_finite()) {
        return false;
    }
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    values.is_empty() || alike(least, most)
}
