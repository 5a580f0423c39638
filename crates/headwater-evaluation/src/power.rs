//! How many seeds a paired design needs, and what a number of seeds can show.
//!
//! The design: n seeds, one difference per seed, normal with a known standard deviation, judged by
//! [`crate::intervals::t_interval`], or by [`crate::intervals::resplit_interval`] where the seeds
//! are resplits of one data set. All probabilities are exact under that model, not approximations
//! by the normal distribution.
//!
//! ```
//! use headwater_core::Check;
//! use headwater_evaluation::power::PairedDesignConfig;
//!
//! // Differences scatter by 0.05 between seeds, and an effect matters from 0.04 on.
//! let design = PairedDesignConfig { deviation: 0.05, level: 0.95, overlap: 0.0 }.check()?;
//! assert_eq!(design.seeds_to_see(0.04, 0.0, 0.9)?, 19);
//! // To show that there is none of that size takes more.
//! assert_eq!(design.seeds_to_exclude(0.0, 0.04, 0.9)?, 23);
//! assert!(design.minimum_detectable_effect(5, 0.9)? > 0.09);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use headwater_core::{Check, ConfigError, require, require_non_negative, require_positive};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::error::{EvaluationError, argument, in_range};
use crate::intervals::{in_unit, student};

/// The most seeds that are considered; beyond, the quantiles of t lose digits.
pub const MOST_SEEDS: usize = 10_000;

/// A paired design.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairedDesignConfig {
    /// Standard deviation of the differences between seeds, a finite number > 0, in their unit. Of
    /// resplits: of the differences between resplits.
    pub deviation: f64,
    /// Coverage of the two-sided interval, in (0, 1).
    pub level: f64,
    /// Test rows per training row where the seeds are resplits of one data set, a finite number
    /// >= 0; 0 where they are independent.
    pub overlap: f64,
}

impl Check for PairedDesignConfig {
    type Checked = PairedDesign;

    fn check(self) -> Result<PairedDesign, ConfigError> {
        const NAME: &str = "PairedDesignConfig";
        require_positive(NAME, "deviation", self.deviation)?;
        require(in_unit(self.level), NAME, "level", self.level, "a number in (0, 1)")?;
        require_non_negative(NAME, "overlap", self.overlap)?;
        Ok(PairedDesign { config: self })
    }
}

/// A paired design with a valid config.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedDesign {
    config: PairedDesignConfig,
}

impl PairedDesign {
    /// The settings.
    #[must_use]
    pub fn config(&self) -> PairedDesignConfig {
        self.config
    }

    /// Probability that the interval lies beyond `bound`, on the side of the true `effect`; with
    /// `bound` 0, that the effect is seen and its sign is right.
    ///
    /// The upper tail of a noncentral t: P(T > t) = E Φ(δ - t S), δ = |effect - bound|/(deviation
    /// √(1/n + overlap)), t the interval's quantile, S = χ/√(n - 1). Where the effect is the bound
    /// it is (1 - level)/2. Source: Johnson, Kotz and Balakrishnan (1995), chapter 31.
    ///
    /// # Errors
    /// `n` outside 2 to [`MOST_SEEDS`], or NaN or infinity.
    pub fn power(&self, n: usize, effect: f64, bound: f64) -> Result<f64, EvaluationError> {
        check_seeds(n)?;
        finite("effect", effect)?;
        finite("bound", bound)?;
        Ok(self.beyond(n, (effect - bound).abs() / self.error(n)))
    }

    /// Probability that the interval lies within ±`margin` where the true effect is `effect`
    /// (equivalence, two one-sided tests).
    ///
    /// E [Φ(a - t S) - Φ(t S - b)]⁺, a and b the distances from the effect to the two margins in
    /// standard errors, t and S as in [`PairedDesign::power`]. For an effect at the margin or
    /// beyond, it is how often equivalence is concluded wrongly, at most (1 - level)/2. Source:
    /// Schuirmann (1987); Owen (1965) for the exact power.
    ///
    /// # Errors
    /// `n` outside 2 to [`MOST_SEEDS`], a margin that is not above 0, or NaN or infinity.
    pub fn power_inside(&self, n: usize, effect: f64, margin: f64) -> Result<f64, EvaluationError> {
        check_seeds(n)?;
        finite("effect", effect)?;
        positive("margin", margin)?;
        let (quantile, error) = (self.quantile(n), self.error(n));
        let (above, below) = ((margin - effect) / error, (margin + effect) / error);
        // Beyond the first cut the interval is wider than the margins lie apart.
        let mut cuts = vec![margin / error / quantile];
        for centre in [above, below] {
            cuts.extend([centre - REACH, centre, centre + REACH].map(|cut| cut / quantile));
        }
        let normal = Normal::standard();
        Ok(expectation(n - 1, cuts, |s| {
            (normal.cdf(above - quantile * s) - normal.cdf(quantile * s - below)).max(0.0)
        }))
    }

    /// The fewest seeds with which the interval lies beyond `bound` with probability `power` where
    /// the true effect is `effect`.
    ///
    /// About (z_{(1+level)/2} + z_power)² (deviation/(effect - bound))², for 95% and 90% with the
    /// factor 10.5, and 2 or 3 seeds more, for the deviation is estimated.
    ///
    /// # Errors
    /// An effect that is the bound, a power outside (0, 1) or that [`MOST_SEEDS`] do not reach
    /// (resplits of one data set may never), or NaN or infinity.
    pub fn seeds_to_see(
        &self,
        effect: f64,
        bound: f64,
        power: f64,
    ) -> Result<usize, EvaluationError> {
        finite("effect", effect)?;
        finite("bound", bound)?;
        argument(effect != bound, "effect", effect, "a number other than the bound")?;
        fewest(power, |n| self.power(n, effect, bound))
    }

    /// The fewest seeds with which the interval lies within ±`margin` with probability `power`
    /// where the true effect is `effect`; with effect 0, those that a control of that margin needs.
    ///
    /// For effect 0 about (z_{(1+level)/2} + z_{(1+power)/2})² (deviation/margin)², for 95% and 90%
    /// with the factor 13, and 2 or 3 seeds more.
    ///
    /// # Errors
    /// An effect that does not lie between the margins, and as [`PairedDesign::seeds_to_see`].
    pub fn seeds_to_exclude(
        &self,
        effect: f64,
        margin: f64,
        power: f64,
    ) -> Result<usize, EvaluationError> {
        positive("margin", margin)?;
        argument(effect.abs() < margin, "effect", effect, "a number between the margins")?;
        fewest(power, |n| self.power_inside(n, effect, margin))
    }

    /// The smallest effect, as a size, of which `n` seeds exclude 0 with probability `power`.
    ///
    /// # Errors
    /// `n` outside 2 to [`MOST_SEEDS`], a power outside ((1 - level)/2, 1), or an effect beyond the
    /// range of 64-bit floats.
    pub fn minimum_detectable_effect(&self, n: usize, power: f64) -> Result<f64, EvaluationError> {
        check_seeds(n)?;
        let least = (1.0 - self.config.level) / 2.0;
        let allowed = "a number above (1 - level)/2, which no effect has, and below 1";
        argument(least < power && power < 1.0, "power", power, allowed)?;
        let mut high = 1.0;
        while self.beyond(n, high) < power {
            high *= 2.0;
        }
        let mut low = 0.0;
        // The last half of the bracket that floats can tell apart.
        loop {
            let middle = low + (high - low) / 2.0;
            if middle <= low || middle >= high {
                break;
            }
            if self.beyond(n, middle) < power { low = middle } else { high = middle }
        }
        in_range("detectable effect", "deviation", high * self.error(n))
    }

    /// Standard error of the mean of n differences.
    fn error(&self, n: usize) -> f64 {
        self.config.deviation * (1.0 / n as f64 + self.config.overlap).sqrt()
    }

    /// Half the interval's width in estimated standard errors.
    fn quantile(&self, n: usize) -> f64 {
        student(n - 1).inverse_cdf(0.5 + self.config.level / 2.0)
    }

    /// P(noncentral t of noncentrality `distance` > the interval's quantile).
    fn beyond(&self, n: usize, distance: f64) -> f64 {
        let (quantile, normal) = (self.quantile(n), Normal::standard());
        let cuts = [distance - REACH, distance, distance + REACH].map(|cut| cut / quantile);
        expectation(n - 1, cuts.into(), |s| normal.cdf(distance - quantile * s))
    }
}

/// Standard deviations beyond which a normal distribution has nothing left.
const REACH: f64 = 9.0;

/// Positive nodes and weights of Gauss-Legendre quadrature with 16 points on [-1, 1].
const NODES: [(f64, f64); 8] = [
    (0.095_012_509_837_637_44, 0.189_450_610_455_068_64),
    (0.281_603_550_779_258_9, 0.182_603_415_044_923_64),
    (0.458_016_777_657_227_37, 0.169_156_519_395_002_65),
    (0.617_876_244_402_643_8, 0.149_595_988_816_576_7),
    (0.755_404_408_355_003, 0.124_628_971_255_534_07),
    (0.865_631_202_387_831_8, 0.095_158_511_682_492_6),
    (0.944_575_023_073_232_6, 0.062_253_523_938_647_456),
    (0.989_400_934_991_649_9, 0.027_152_459_411_754_176),
];

/// E f(S) for S = χ_ν/√ν, the ratio of an estimated standard deviation to the true one.
///
/// Gauss-Legendre over panels between `cuts`, where f bends. Divided by the same quadrature of the
/// density, so that no constant of it is needed.
fn expectation(degrees: usize, cuts: Vec<f64>, f: impl Fn(f64) -> f64) -> f64 {
    const PANELS: usize = 8;
    let degrees = degrees as f64;
    // S has mean about 1 and deviation about 1/√(2ν).
    let spread = 12.0 / (2.0 * degrees).sqrt();
    let (start, end) = ((1.0 - spread).max(0.0), 1.0 + spread);
    let mut edges = cuts;
    edges.retain(|cut| start < *cut && *cut < end);
    edges.extend([start, end]);
    edges.sort_by(f64::total_cmp);
    let mode = ((degrees - 1.0) / degrees).sqrt();
    // Relative to its value at the mode.
    let density = |s: f64| {
        let power = if degrees > 1.0 { (degrees - 1.0) * (s / mode).ln() } else { 0.0 };
        (power - degrees * (s - mode) * (s + mode) / 2.0).exp()
    };
    let (mut sum, mut mass) = (0.0, 0.0);
    for edge in edges.windows(2) {
        let half = (edge[1] - edge[0]) / (2 * PANELS) as f64;
        for panel in 0..PANELS {
            let centre = edge[0] + (2 * panel + 1) as f64 * half;
            for (node, weight) in NODES {
                for s in [centre - half * node, centre + half * node] {
                    let weight = half * weight * density(s);
                    mass += weight;
                    sum += weight * f(s);
                }
            }
        }
    }
    (sum / mass).clamp(0.0, 1.0)
}

/// The smallest number of seeds with which `probability`, which rises with them, reaches `power`.
fn fewest(
    power: f64,
    probability: impl Fn(usize) -> Result<f64, EvaluationError>,
) -> Result<usize, EvaluationError> {
    argument(0.0 < power && power < 1.0, "power", power, "a number in (0, 1)")?;
    let (mut low, mut high) = (1, 2);
    while probability(high)? < power {
        let allowed = "a probability that at most 10000 seeds reach";
        argument(high < MOST_SEEDS, "power", power, allowed)?;
        (low, high) = (high, (2 * high).min(MOST_SEEDS));
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if probability(middle)? < power { low = middle } else { high = middle }
    }
    Ok(high)
}

fn check_seeds(n: usize) -> Result<(), EvaluationError> {
    let allowed = "an integer in 2..=10000";
    argument((2..=MOST_SEEDS).contains(&n), "n", n as f64, allowed)
}

fn finite(name: &'static str, value: f64) -> Result<(), EvaluationError> {
    argument(value.is_finite(), name, value, "a finite number")
}

fn positive(name: &'static str, value: f64) -> Result<(), EvaluationError> {
    argument(value.is_finite() && value > 0.0, name, value, "a finite number above 0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::{assert_abs_diff_eq, assert_relative_eq};
    use headwater_core::Streams;
    use rand_distr::{Distribution, StandardNormal};

    use crate::intervals::t_interval;

    fn design(deviation: f64, level: f64, overlap: f64) -> PairedDesign {
        PairedDesignConfig { deviation, level, overlap }.check().unwrap()
    }

    fn standard() -> PairedDesign {
        design(1.0, 0.95, 0.0)
    }

    #[test]
    fn golden_powers() {
        // scipy 1.17.1, q = t.ppf(.5 + level/2, n - 1), e = sd*sqrt(1/n + overlap):
        // nct.sf(q, n - 1, abs(effect - bound)/e).
        for (n, sd, level, overlap, effect, bound, expected) in [
            (2, 1.0, 0.95, 0.0, 3.0, 0.0, 0.260_770_565_294_538_35),
            (5, 1.0, 0.95, 0.0, 1.0, 0.0, 0.401_320_285_199_505_3),
            (5, 0.05, 0.95, 0.0, -0.04, 0.0, 0.280_689_458_505_015_75),
            (13, 1.0, 0.95, 0.0, 1.0, 0.0, 0.910_708_422_825_824_3),
            (16, 2.0, 0.99, 0.0, 1.0, -0.5, 0.537_144_822_457_924_3),
            (40, 1.0, 0.8, 0.0, 0.1, 0.3, 0.488_027_286_357_475_5),
            (1000, 1.0, 0.95, 0.0, 0.1, 0.0, 0.884_788_945_478_768_1),
            (10, 1.0, 0.95, 0.25, 1.0, 0.0, 0.327_045_618_417_991_4),
            (3, 1.0, 0.9999, 0.0, 50.0, 0.0, 0.527_662_971_607_762_5),
        ] {
            let found = design(sd, level, overlap).power(n, effect, bound).unwrap();
            assert_abs_diff_eq!(found, expected, epsilon = 1e-9);
        }
        // scipy 1.17.1, v = n - 1, m the margin: integrate.quad over s from 0 to m/e/q of
        // chi.pdf(s*sqrt(v), v)*sqrt(v)*(norm.cdf((m - effect)/e - q*s) - norm.cdf(q*s - (m +
        // effect)/e)).
        for (n, sd, level, overlap, effect, margin, expected) in [
            (2, 1.0, 0.95, 0.0, 0.0, 10.0, 0.705_837_540_408_805_3),
            (5, 1.0, 0.95, 0.0, 0.0, 1.0, 0.148_156_146_104_651_33),
            (8, 1.0, 0.95, 0.0, 0.2, 1.0, 0.369_922_482_048_122_5),
            (13, 1.0, 0.95, 0.0, 0.0, 1.0, 0.821_531_495_893_535_5),
            (16, 1.0, 0.95, 0.0, 1.0, 1.0, 0.024_999_977_149_570_432),
            (40, 2.0, 0.9, 0.0, -0.3, 0.8, 0.425_495_702_219_235_8),
            (1000, 1.0, 0.95, 0.0, 0.02, 0.1, 0.681_246_019_745_609),
            (10, 1.0, 0.95, 0.1, 0.0, 1.0, 0.169_553_573_029_593_04),
        ] {
            let found = design(sd, level, overlap).power_inside(n, effect, margin).unwrap();
            assert_abs_diff_eq!(found, expected, epsilon = 1e-9);
        }
    }

    #[test]
    fn golden_seeds_and_detectable_effects() {
        // The first n from 2 up at which the scipy expressions above reach the power.
        for (sd, effect, power, to_see, to_exclude) in [
            (1.0, 1.0, 0.9, 13, 16),
            (0.05, 0.04, 0.9, 19, 23),
            (1.0, 0.2, 0.8, 199, 265),
            (1.0, 10.0, 0.9, 3, 3),
            (1.0, 3.0, 0.9, 4, 4),
        ] {
            let design = design(sd, 0.95, 0.0);
            assert_eq!(design.seeds_to_see(effect, 0.0, power).unwrap(), to_see);
            assert_eq!(design.seeds_to_see(-effect, 0.0, power).unwrap(), to_see);
            assert_eq!(design.seeds_to_exclude(0.0, effect, power).unwrap(), to_exclude);
        }
        // scipy 1.17.1: optimize.brentq of nct.sf(q, n - 1, d) - power, divided by sqrt(n).
        for (n, power, expected) in [
            (2, 0.9, 14.824_121_319_357_703),
            (5, 0.9, 1.965_888_845_214_457_2),
            (8, 0.8, 1.156_035_494_354_792),
            (40, 0.9, 0.525_638_013_472_500_6),
        ] {
            let found = standard().minimum_detectable_effect(n, power).unwrap();
            assert_relative_eq!(found, expected, max_relative = 1e-8);
            let scaled = design(3.0, 0.95, 0.0).minimum_detectable_effect(n, power).unwrap();
            assert_relative_eq!(scaled, 3.0 * found, max_relative = 1e-12);
        }
    }

    #[test]
    fn one_seed_less_is_too_few() {
        for deviation in [0.3, 0.7, 1.3, 2.9] {
            for power in [0.5, 0.9, 0.99] {
                let design = design(deviation, 0.95, 0.0);
                let n = design.seeds_to_see(1.0, 0.25, power).unwrap();
                assert!(design.power(n, 1.0, 0.25).unwrap() >= power);
                assert!(n == 2 || design.power(n - 1, 1.0, 0.25).unwrap() < power);
                let n = design.seeds_to_exclude(0.25, 1.0, power).unwrap();
                assert!(design.power_inside(n, 0.25, 1.0).unwrap() >= power);
                assert!(n == 2 || design.power_inside(n - 1, 0.25, 1.0).unwrap() < power);
            }
        }
    }

    #[test]
    fn what_power_is_where_nothing_is_to_be_seen() {
        for n in [2, 3, 10, 1000, MOST_SEEDS] {
            let at_the_bound = standard().power(n, 0.4, 0.4).unwrap();
            assert_abs_diff_eq!(at_the_bound, 0.025, epsilon = 1e-9);
            // An effect at the margin passes for none in 2.5% at most.
            assert!(standard().power_inside(n, 1.0, 1.0).unwrap() <= 0.025 + 1e-9);
            assert!(standard().power_inside(n, 1.5, 1.0).unwrap() <= 0.025);
        }
        assert_abs_diff_eq!(standard().power(MOST_SEEDS, 1.0, 0.0).unwrap(), 1.0);
        assert_abs_diff_eq!(standard().power_inside(MOST_SEEDS, 0.0, 1.0).unwrap(), 1.0);
    }

    #[test]
    fn the_interval_does_what_the_design_says() {
        let (trials, n) = (4000, 7);
        let mut seen = [0.0; 2];
        for trial in 0..trials {
            let mut rng = Streams::new(17).stream("power", &[trial]);
            let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
            let values: Vec<f64> = (0..n).map(|_| 0.3 + normal()).collect();
            let interval = t_interval(&values, 0.95).unwrap();
            seen[0] += f64::from(u8::from(interval.low > -0.8));
            seen[1] += f64::from(u8::from(interval.low > -1.1 && interval.high < 1.1));
        }
        let expected = [
            standard().power(n, 0.3, -0.8).unwrap(),
            standard().power_inside(n, 0.3, 1.1).unwrap(),
        ];
        for (seen, expected) in seen.into_iter().zip(expected) {
            // Three binomial standard errors.
            let error = 3.0 * (expected * (1.0 - expected) / trials as f64).sqrt();
            assert_abs_diff_eq!(seen / trials as f64, expected, epsilon = error);
        }
    }

    #[test]
    fn resplits_of_one_data_set_have_a_limit() {
        // With half as many test rows as training rows the error never falls below 0.7 deviations.
        let design = design(1.0, 0.95, 0.5);
        assert!(design.seeds_to_see(3.0, 0.0, 0.9).unwrap() > 2);
        let error = design.seeds_to_see(1.0, 0.0, 0.9).unwrap_err().to_string();
        assert_eq!(error, "`power` = 0.9: allowed is a probability that at most 10000 seeds reach");
    }

    #[test]
    fn bad_arguments_are_named() {
        let config = PairedDesignConfig { deviation: 1.0, level: 0.95, overlap: 0.0 };
        for (config, field) in [
            (PairedDesignConfig { deviation: 0.0, ..config }, "deviation"),
            (PairedDesignConfig { deviation: f64::NAN, ..config }, "deviation"),
            (PairedDesignConfig { level: 1.0, ..config }, "level"),
            (PairedDesignConfig { overlap: -0.1, ..config }, "overlap"),
        ] {
            assert_eq!(config.check().unwrap_err().field, field);
        }
        let design = standard();
        let errors = [
            (design.power(1, 1.0, 0.0), "`n` = 1"),
            (design.power(MOST_SEEDS + 1, 1.0, 0.0), "`n` = 10001"),
            (design.power(5, f64::NAN, 0.0), "`effect` = NaN"),
            (design.power(5, 1.0, f64::INFINITY), "`bound` = inf"),
            (design.power_inside(5, 0.0, 0.0), "`margin` = 0"),
            (design.power_inside(5, f64::NAN, 1.0), "`effect` = NaN"),
            (design.seeds_to_see(1.0, 1.0, 0.9).map(|n| n as f64), "`effect` = 1"),
            (design.seeds_to_see(1.0, 0.0, 1.0).map(|n| n as f64), "`power` = 1"),
            (design.seeds_to_see(1.0, 0.0, f64::NAN).map(|n| n as f64), "`power` = NaN"),
            (design.seeds_to_exclude(1.0, 1.0, 0.9).map(|n| n as f64), "`effect` = 1"),
            (design.seeds_to_exclude(f64::NAN, 1.0, 0.9).map(|n| n as f64), "`effect` = NaN"),
            (design.minimum_detectable_effect(5, 0.025), "`power` = 0.025"),
            (design.minimum_detectable_effect(5, 1.0), "`power` = 1"),
            (design.minimum_detectable_effect(1, 0.9), "`n` = 1"),
        ];
        for (found, start) in errors {
            let error = found.unwrap_err().to_string();
            assert!(error.starts_with(start), "{error} should start with {start}");
        }
    }
}
