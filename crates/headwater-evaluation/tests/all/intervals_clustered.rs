//! Clustered intervals of means, shares, differences of shares and correlations: golden values, coverage, limits.

use crate::simulation::{HARD, NOMINAL, assert_coverage, assert_false_alarms, normal, phi, stream};
use approx::{assert_abs_diff_eq, assert_relative_eq};
use headwater_core::StreamRng;
use headwater_evaluation::intervals::{
    Bootstrap, clustered_mean_interval, clustered_share_difference, clustered_share_interval,
    correlation_interval, t_interval, wilson_interval,
};
use rand::RngExt;

fn names(n: usize) -> Vec<usize> {
    (0..n).collect()
}

fn successes(right: usize, of: usize) -> Vec<f64> {
    (0..of).map(|i| f64::from(u8::from(i < right))).collect()
}

#[test]
fn clusters_of_one_give_wilson() {
    for (right, of) in [(0, 10), (7, 10), (10, 10), (130, 400), (1, 1)] {
        let clustered = clustered_share_interval(&successes(right, of), &names(of), 0.95).unwrap();
        let wilson = wilson_interval(right, of, 0.95).unwrap();
        assert_abs_diff_eq!(clustered.low, wilson.low, epsilon = 1e-12);
        assert_abs_diff_eq!(clustered.high, wilson.high, epsilon = 1e-12);
    }
}

#[test]
fn differences_of_separate_shares_are_newcombes() {
    // Newcombe (1998), Statistics in Medicine 17, table II, method 10.
    for ((a, m), (b, n), low, high) in [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ] {
        let other: Vec<usize> = (m..m + n).collect();
        let (first, second) = (successes(a, m), successes(b, n));
        let names = names(m);
        let found = clustered_share_difference((&first, &names), (&second, &other), 0.95).unwrap();
        assert_abs_diff_eq!(found.low, low, epsilon = 6e-5);
        assert_abs_diff_eq!(found.high, high, epsilon = 6e-5);
        assert_eq!(found.n, m + n);
    }
}

/// `clusters` clusters of 1 to `most` successes with probability `p` each that share their cluster's luck.
fn shares(p: f64, clusters: usize, most: usize, rng: &mut StreamRng) -> (Vec<f64>, Vec<usize>) {
    let threshold = {
        use statrs::distribution::{ContinuousCDF, Normal};
        Normal::standard().inverse_cdf(p)
    };
    let (mut values, mut of) = (Vec::new(), Vec::new());
    for cluster in 0..clusters {
        let luck = normal(rng);
        for _ in 0..rng.random_range(1..=most) {
            let draw = (luck + normal(rng)) / 2f64.sqrt();
            values.push(f64::from(u8::from(draw < threshold)));
            of.push(cluster);
        }
    }
    (values, of)
}

#[test]
fn shares_of_clusters_are_covered_and_ignoring_clusters_falls_short() {
    for (p, clusters) in [(0.5, 30), (0.9, 40), (0.97, 60)] {
        let mut ignoring = 0.0;
        assert_coverage(&format!("share {p}"), 1000, HARD, |rng| {
            let (values, of) = shares(p, clusters, 8, rng);
            let right = values.iter().sum::<f64>() as usize;
            let plain = wilson_interval(right, values.len(), 0.95).unwrap();
            ignoring += f64::from(u8::from(plain.contains(p))) / 1000.0;
            [("share", clustered_share_interval(&values, &of, 0.95).unwrap(), p)]
        });
        assert!(ignoring < 0.9, "{ignoring}");
    }
}

#[test]
fn away_from_0_and_1_the_interval_agrees_with_the_clustered_bootstrap() {
    let mut ratio = 0.0;
    for trial in 0..20 {
        let mut rng = stream("bootstrap", trial);
        let (values, of) = shares(0.6, 80, 5, &mut rng);
        let found = clustered_share_interval(&values, &of, 0.95).unwrap();
        let resampled = Bootstrap::default().clustered_mean(&values, &of, &mut rng).unwrap();
        ratio += found.half_width() / resampled.half_width() / 20.0;
    }
    assert_abs_diff_eq!(ratio, 1.0, epsilon = 0.05);
}

#[test]
fn paired_and_separate_differences_are_covered_and_pairing_shortens() {
    let (mut paired_width, mut separate_width) = (0.0, 0.0);
    assert_coverage("difference", 1000, NOMINAL, |rng| {
        // Two graders of the same 120 answers, right with probability 0.8 and 0.7, mostly on the same.
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for _ in 0..120 {
            let ease = normal(rng);
            let mut right = |p: f64| {
                let draw = 0.9 * ease + 0.19f64.sqrt() * normal(rng);
                f64::from(u8::from(phi(draw) < p))
            };
            first.push(right(0.8));
            second.push(right(0.7));
        }
        let (one, other): (Vec<usize>, Vec<usize>) = ((0..120).collect(), (120..240).collect());
        let paired = clustered_share_difference((&first, &one), (&second, &one), 0.95).unwrap();
        let apart = clustered_share_difference((&first, &one), (&second, &other), 0.95).unwrap();
        paired_width += paired.half_width();
        separate_width += apart.half_width();
        let (third, of) = shares(0.9, 40, 4, rng);
        let of: Vec<usize> = of.iter().map(|g| g + 1000).collect();
        let separate = clustered_share_difference((&first, &one), (&third, &of), 0.95).unwrap();
        [("paired", paired, 0.1), ("separate", separate, -0.1)]
    });
    assert!(paired_width < 0.75 * separate_width);
}

#[test]
fn a_correlation_by_hand_and_its_limits() {
    // The data of `pearson`'s golden values in clusters of two neighbours. Plain Python, each correlation
    // from its definition on the entries that are left.
    let x = [12.0, 3.0, 7.0, 7.0, 20.0, 1.0, 9.0, 7.0];
    let y = [0.4, 0.1, 0.5, 0.2, 3.0, 0.1, -0.2, 0.6];
    let found = correlation_interval(&x, &y, &[0, 0, 1, 1, 2, 2, 3, 3], 0.95).unwrap();
    assert_abs_diff_eq!(found.estimate, 0.820_773_886_747_667, epsilon = 1e-12);
    assert_abs_diff_eq!(found.low, CORRELATION_LOW, epsilon = 1e-9);
    assert_abs_diff_eq!(found.high, CORRELATION_HIGH, epsilon = 1e-9);
    assert_eq!(found.n, 4);
    let line: Vec<f64> = x.iter().map(|v| 3.0 - v).collect();
    let perfect = correlation_interval(&x, &line, &names(8), 0.95).unwrap();
    assert_eq!((perfect.low, perfect.high), (perfect.estimate, perfect.estimate));
    assert_abs_diff_eq!(perfect.estimate, -1.0, epsilon = 1e-12);
    // All that varies is one cluster: nothing is known.
    let single = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let found = correlation_interval(&x, &single, &[0, 0, 1, 1, 2, 2, 3, 3], 0.95).unwrap();
    assert_eq!((found.low, found.high), (-1.0, 1.0));
    assert!(correlation_interval(&x, &[1.0; 8], &names(8), 0.95).is_err());
    assert!(correlation_interval(&x, &y, &[5; 8], 0.95).is_err());
}
const CORRELATION_LOW: f64 = -0.955563110410;
const CORRELATION_HIGH: f64 = 0.999559752657;

/// 50 clusters of 1 to 4 pairs (x, y), each with a share of its cluster in common; correlation `rho`.
fn correlated(rho: f64, rng: &mut StreamRng) -> (Vec<f64>, Vec<f64>, Vec<usize>) {
    let (mut x, mut y, mut of) = (Vec::new(), Vec::new(), Vec::new());
    for cluster in 0..50 {
        let luck = (normal(rng), normal(rng));
        for _ in 0..rng.random_range(1..=4) {
            let first = 0.8 * luck.0 + 0.6 * normal(rng);
            let second = 0.8 * luck.1 + 0.6 * normal(rng);
            x.push(first);
            y.push(rho * first + (1.0 - rho * rho).sqrt() * second);
            of.push(cluster);
        }
    }
    (x, y, of)
}

#[test]
fn correlations_are_covered_and_none_raises_no_alarm() {
    assert_coverage("correlation", 1000, NOMINAL, |rng| {
        let (x, y, of) = correlated(0.6, rng);
        [("0.6", correlation_interval(&x, &y, &of, 0.95).unwrap(), 0.6)]
    });
    assert_false_alarms("no correlation", 1000, |rng| {
        let (x, y, of) = correlated(0.0, rng);
        let found = correlation_interval(&x, &y, &of, 0.95).unwrap();
        [("correlation", !found.contains(0.0))]
    });
}

#[test]
fn what_does_not_vary_keeps_a_width_and_bad_input_is_named() {
    // Three clusters that agree are three trials, however many values they hold.
    let clusters = [0, 0, 0, 1, 1, 1, 2, 2, 2];
    let all = clustered_share_interval(&[1.0; 9], &clusters, 0.95).unwrap();
    let three = wilson_interval(3, 3, 0.95).unwrap();
    assert_eq!((all.low, all.high, all.n), (three.low, three.high, 3));
    let halves = clustered_share_interval(&[0.5; 9], &clusters, 0.95).unwrap();
    assert!(halves.low < 0.2 && halves.high > 0.8);
    // Two rules that always agree differ by 0, and by little more than that with certainty.
    let values = successes(6, 9);
    let same = (&values[..], &clusters[..]);
    let none = clustered_share_difference(same, same, 0.95).unwrap();
    assert!(none.estimate == 0.0 && none.contains(0.0) && none.half_width() < 0.35);

    let error = clustered_share_interval(&[0.0, 1.5], &[0, 1], 0.95).unwrap_err();
    assert_eq!(error.to_string(), "`values[1]` = 1.5: allowed is a number in [0, 1]");
    assert!(clustered_share_interval(&[], &[], 0.95).is_err());
    assert!(clustered_share_interval(&[1.0], &[], 0.95).is_err());
    assert!(clustered_share_interval(&[1.0, f64::NAN], &[0, 1], 0.95).is_err());
    assert!(clustered_share_interval(&[1.0], &[0], 1.0).is_err());
}

#[test]
fn a_mean_of_single_values_has_the_t_interval_and_copies_add_nothing() {
    let values = [0.5, -1.25, 3.0, 2.5, 0.0];
    let plain = t_interval(&values, 0.9).unwrap();
    let single = clustered_mean_interval(&values, &[9, 2, 5, 1, 7], 0.9).unwrap();
    assert_relative_eq!(single.low, plain.low, max_relative = 1e-12);
    assert_relative_eq!(single.high, plain.high, max_relative = 1e-12);
    let copies = clustered_mean_interval(&values.repeat(4), &[9, 2, 5, 1, 7].repeat(4), 0.9);
    assert_relative_eq!(copies.unwrap().low, plain.low, max_relative = 1e-12);
    // By hand: clusters {1, 2} and {6}, mean 3, residuals -3 and 3, se = sqrt(2 * 18) / 3, t with one degree of freedom.
    let uneven = clustered_mean_interval(&[1.0, 2.0, 6.0], &[0, 0, 1], 0.5).unwrap();
    assert_relative_eq!(uneven.high, 3.0 + 2.0, max_relative = 1e-9);
    assert!(clustered_mean_interval(&values, &[1; 5], 0.9).is_err());
    assert!(clustered_mean_interval(&values, &[1, 2], 0.9).is_err());
    assert!(clustered_mean_interval(&[f64::NAN, 1.0], &[1, 2], 0.9).is_err());
}
