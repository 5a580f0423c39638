//! The difference of two shares of the same few seeds.

use statrs::distribution::ContinuousCDF;

use super::{Interval, check_level, student};
use crate::error::{EvaluationError, at_least, same_length};

/// Interval of the share of `first` minus the share of `second` where entry i of both is the same
/// seed, prompt or pair; within [-1, 1], and with a width also where all pairs agree.
///
/// Inverts the score test of pairs: with b pairs of success only in the first and c only in the
/// second, (b - c - nδ)/√(n (2q + δ(1 - δ))), q the probability of c that is likeliest where the
/// difference is δ. It is compared with a quantile of t_{n-1} in place of the normal one, which
/// keeps the level with few pairs: by enumeration, 0 is excluded where there is no difference in at
/// most 4.6% for n from 5 to 40 (with the normal quantile, in up to 7.8%). So the fewest pairs of
/// which 95% can exclude 0 are 7. For many clusters of several values each take
/// [`super::clustered_share_difference`]. Source: Tango (1998).
///
/// # Errors
/// Fewer than two pairs, lengths that differ, or a level outside (0, 1).
pub fn paired_share_difference(
    first: &[bool],
    second: &[bool],
    level: f64,
) -> Result<Interval, EvaluationError> {
    check_level(level)?;
    at_least("first", first.len(), 2)?;
    same_length("first", first.len(), "second", second.len())?;
    let n = first.len();
    let only = |one: &[bool], other: &[bool]| {
        one.iter().zip(other).filter(|(one, other)| **one && !**other).count() as f64
    };
    let (b, c) = (only(first, second), only(second, first));
    let estimate = (b - c) / n as f64;
    let quantile = student(n - 1).inverse_cdf(0.5 + level / 2.0);
    let low = -reach(-estimate, c, b, n as f64, quantile);
    let high = reach(estimate, b, c, n as f64, quantile);
    Ok(Interval { estimate, low, high, level, n })
}

/// The largest difference that the score test does not reject; it rises with the difference.
fn reach(estimate: f64, b: f64, c: f64, n: f64, quantile: f64) -> f64 {
    let is_inside = |delta: f64| {
        // q solves 2n q² - (b + c - (2n - b + c) δ) q - c δ (1 - δ) = 0.
        let linear = (2.0 * n - b + c) * delta - b - c;
        let constant = -c * delta * (1.0 - delta);
        let root = (linear * linear - 8.0 * n * constant).max(0.0).sqrt();
        // The larger root, without the difference of two close numbers.
        let q = if linear > 0.0 {
            -2.0 * constant / (linear + root)
        } else {
            (root - linear) / (4.0 * n)
        };
        let variance = n * (2.0 * q + delta * (1.0 - delta));
        let distance = n * delta - b + c;
        distance * distance <= quantile * quantile * variance
    };
    let (mut low, mut high) = (estimate, 1.0);
    if is_inside(high) {
        return high;
    }
    loop {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            return low;
        }
        if is_inside(middle) { low = middle } else { high = middle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    /// The interval of b pairs of success only in the first, c only in the second, of n pairs.
    fn of(b: usize, c: usize, n: usize, level: f64) -> Interval {
        let first: Vec<bool> = (0..n).map(|at| at < b || at >= b + c && at % 2 == 0).collect();
        let second: Vec<bool> = (0..n).map(|at| at >= b && (at < b + c || at % 2 == 0)).collect();
        paired_share_difference(&first, &second, level).unwrap()
    }

    #[test]
    fn golden_values() {
        // scipy 1.17.1: optimize.brentq over the difference D of (b - c - n*D)/sqrt(n*(2*q + D*(1 -
        // D))) -+ t.ppf(.5 + level/2, n - 1), q from optimize.minimize_scalar of the trinomial
        // likelihood b*log(q + D) + c*log(q) + (n - b - c)*log(1 - 2*q - D).
        for (b, c, n, level, low, high) in [
            (7, 2, 16, 0.95, -0.093_529_552_196_628_4, 0.621_221_350_810_083_3),
            (1, 0, 8, 0.95, -0.337_818_892_000_067_04, 0.541_563_696_809_121_1),
            (3, 5, 24, 0.9, -0.289_501_039_898_872_44, 0.127_452_376_783_356_9),
            (12, 1, 40, 0.99, 0.039_775_952_896_938_555, 0.498_475_469_604_601_04),
        ] {
            let found = of(b, c, n, level);
            assert_abs_diff_eq!(found.low, low, epsilon = 1e-7);
            assert_abs_diff_eq!(found.high, high, epsilon = 1e-7);
            assert_abs_diff_eq!(found.estimate, (b as f64 - c as f64) / n as f64);
            let mirrored = of(c, b, n, level);
            assert_eq!((mirrored.low, mirrored.high), (-found.high, -found.low));
        }
        // Where all pairs agree: t²/(n + t²).
        let agree = of(0, 0, 8, 0.95);
        assert_abs_diff_eq!(agree.high, 0.411_394_570_499_605_04, epsilon = 1e-9);
        assert_eq!((agree.estimate, agree.low), (0.0, -agree.high));
        let all = of(8, 0, 8, 0.95);
        assert_eq!((all.estimate, all.high), (1.0, 1.0));
        assert!(all.low > 0.1 && all.low < 1.0, "{all:?}");
        // 6 of 6 are not enough.
        assert!(of(6, 0, 6, 0.95).low < 0.0 && of(7, 0, 7, 0.95).low > 0.0);
    }

    #[test]
    fn no_difference_is_excluded_at_the_level_by_enumeration() {
        let mut worst: f64 = 0.0;
        for n in 5..=40 {
            let cells = (0..=n).flat_map(|b| (0..=n - b).map(move |c| (b, c)));
            let excluded: Vec<(usize, usize)> =
                cells.filter(|&(b, c)| !of(b, c, n, 0.95).contains(0.0)).collect();
            for step in 1..20 {
                // Each of the two kinds of pairs that disagree has this probability.
                let p = f64::from(step) / 40.0;
                let rate: f64 = excluded.iter().map(|&(b, c)| trinomial(b, c, n, p)).sum();
                worst = worst.max(rate);
            }
        }
        assert!((0.04..=0.046).contains(&worst), "{worst}");
    }

    fn trinomial(b: usize, c: usize, n: usize, p: f64) -> f64 {
        use statrs::function::factorial::ln_factorial;
        let rest = n - b - c;
        let ways = [b, c, rest].map(|k| ln_factorial(k as u64)).iter().sum::<f64>();
        let agree = rest as f64 * (1.0 - 2.0 * p).ln();
        (ln_factorial(n as u64) - ways + (b + c) as f64 * p.ln() + agree).exp()
    }

    #[test]
    fn bad_arguments_are_named() {
        let error = |first: &[bool], second: &[bool], level| {
            paired_share_difference(first, second, level).unwrap_err().to_string()
        };
        assert!(error(&[true], &[true], 0.95).starts_with("`first` has 1 entries"));
        assert!(
            error(&[true; 3], &[true; 2], 0.95).starts_with("`first` has 3 entries but `second`")
        );
        assert!(error(&[true; 3], &[true; 3], 1.0).starts_with("`level` = 1"));
    }
}
