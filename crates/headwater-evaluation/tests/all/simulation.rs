//! What the simulations of the bias probes share.
use std::ops::RangeInclusive;

use headwater_core::{StreamRng, Streams};
use headwater_evaluation::Interval;
use rand_distr::{Distribution, StandardNormal};
use statrs::distribution::{ContinuousCDF, Normal};

pub(crate) fn stream(name: &str, index: u64) -> StreamRng {
    Streams::new(2025).stream(name, &[index])
}

pub(crate) fn normal(rng: &mut StreamRng) -> f64 {
    StandardNormal.sample(rng)
}

/// P(standard normal < x).
pub(crate) fn phi(x: f64) -> f64 {
    Normal::standard().cdf(x)
}

/// Where the coverage of a 95% interval may lie over 500 or 1000 simulated data sets: nominal, give or take
/// three binomial errors (2.9% and 2.1%).
pub(crate) const NOMINAL: RangeInclusive<f64> = 0.925..=0.975;
/// The same where the documentation of an interval says that it falls a little short: few successes or
/// failures, unequal clusters.
pub(crate) const HARD: RangeInclusive<f64> = 0.9..=0.975;

/// Asserts how often 95% intervals cover what is planted, over `trials` simulated data sets.
pub(crate) fn assert_coverage<const N: usize>(
    name: &str,
    trials: u64,
    allowed: RangeInclusive<f64>,
    mut simulate: impl FnMut(&mut StreamRng) -> [(&'static str, Interval, f64); N],
) {
    let mut covered = [("", 0u64); N];
    for trial in 0..trials {
        let found = simulate(&mut stream(name, trial));
        for (place, (what, interval, truth)) in found.into_iter().enumerate() {
            covered[place] = (what, covered[place].1 + u64::from(interval.contains(truth)));
        }
    }
    for (what, hits) in covered {
        let rate = hits as f64 / trials as f64;
        assert!(allowed.contains(&rate), "{name}, {what}: covers {rate}");
    }
}

/// Asserts how often alarms at 5% ring over `trials` simulated data sets without a bias: 2.5% to 7.5%.
pub(crate) fn assert_false_alarms<const N: usize>(
    name: &str,
    trials: u64,
    mut simulate: impl FnMut(&mut StreamRng) -> [(&'static str, bool); N],
) {
    let mut rung = [("", 0u64); N];
    for trial in 0..trials {
        for (place, (what, alarm)) in simulate(&mut stream(name, trial)).into_iter().enumerate() {
            rung[place] = (what, rung[place].1 + u64::from(alarm));
        }
    }
    for (what, count) in rung {
        let rate = count as f64 / trials as f64;
        assert!((0.025..=0.075).contains(&rate), "{name}, {what}: rings {rate}");
    }
}
