//! Maximum mean discrepancy against plain double-precision code, its gradients against its finite differences, and what
//! is known of it.

use crate::common::{check_gradients, double, sets, values};
use headwater_kernels::{
    MmdEstimator, SamplePair, median_distance, mmd_squared, mmd_squared_gradient_of_x,
    mmd_squared_gradients, with_instruction_set, with_threads,
};
use proptest::prelude::*;

const ESTIMATORS: [MmdEstimator; 2] = [MmdEstimator::Biased, MmdEstimator::Unbiased];

fn square(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Tensors: x, y.
fn plain(tensors: &[Vec<f64>], width: usize, bandwidths: &[f32], estimator: MmdEstimator) -> f64 {
    let mean = |a: &[f64], b: &[f64], same: bool| {
        let (n, m) = (a.len() / width, b.len() / width);
        let mut sum = 0.0;
        for (i, a) in a.chunks(width).enumerate() {
            for (j, b) in b.chunks(width).enumerate() {
                if !(same && i == j && estimator == MmdEstimator::Unbiased) {
                    let kernel =
                        |s: &f32| (-square(a, b) / (2.0 * f64::from(*s) * f64::from(*s))).exp();
                    sum += bandwidths.iter().map(kernel).sum::<f64>();
                }
            }
        }
        let others = if same && estimator == MmdEstimator::Unbiased { m - 1 } else { m };
        sum / (n * others) as f64
    };
    let (x, y) = (&tensors[0], &tensors[1]);
    mean(x, x, true) + mean(y, y, true) - 2.0 * mean(x, y, false)
}

fn normal(count: usize, seed: u64) -> Vec<f32> {
    let uniform = values(2 * count, seed);
    let pairs = uniform.chunks(2);
    pairs
        .map(|pair| {
            let radius = (-2.0 * (0.5 - 0.499_999 * pair[0]).ln()).sqrt();
            radius * (std::f32::consts::PI * pair[1]).cos()
        })
        .collect()
}

fn scaled(values: &[f32], factor: f32) -> Vec<f32> {
    values.iter().map(|v| v * factor).collect()
}

/// Mean, and its standard error.
fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (count - 1.0);
    (mean, (variance / count).sqrt())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_value_and_its_gradients(
        (n, m) in (1usize..90, 1usize..90),
        width in prop_oneof![3 => 1usize..20, 1 => 60usize..70],
        bandwidths in prop::collection::vec(0.3f32..3.0, 1..4),
        unbiased: bool,
        set in sets(),
        threads in 1usize..4,
        seed in 1u64..1000,
    ) {
        let (n, m) = if unbiased { (n + 1, m + 1) } else { (n, m) };
        let estimator = ESTIMATORS[usize::from(unbiased)];
        let bandwidths = scaled(&bandwidths, (width as f32).sqrt());
        let (x, y) = (values(n * width, seed), scaled(&values(m * width, seed + 1), 1.5));
        let samples = SamplePair { x: &x, y: &y, width };
        let (value, (value_x, only_dx), (both, dx, dy)) =
            with_instruction_set(set, || with_threads(threads, || (
                mmd_squared(samples, &bandwidths, estimator),
                mmd_squared_gradient_of_x(samples, &bandwidths, estimator),
                mmd_squared_gradients(samples, &bandwidths, estimator),
            )));
        prop_assert_eq!((value, value), (value_x, both));
        prop_assert_eq!(&only_dx, &dx);
        let doubles = [double(&x), double(&y)];
        let exact = plain(&doubles, width, &bandwidths, estimator);
        let most = bandwidths.len() as f64;
        prop_assert!((value - exact).abs() < 1e-6 * most, "{value} instead of {exact}");
        // A point's share of the value falls with their number.
        let most = n.max(m) as f64;
        let (dx, dy) = (scaled(&dx, most as f32), scaled(&dy, most as f32));
        check_gradients(&doubles, &[&dx, &dy], |t| {
            most * plain(t, width, &bandwidths, estimator)
        });
    }

    #[test]
    fn it_is_symmetric_and_does_not_depend_on_the_points_order(
        (n, m, width) in (2usize..100, 2usize..100, 1usize..12),
        unbiased: bool, set in sets(), seed in 1u64..1000,
    ) {
        let estimator = ESTIMATORS[usize::from(unbiased)];
        let (x, y) = (values(n * width, seed), values(m * width, seed + 1));
        let reversed: Vec<f32> = x.chunks(width).rev().flatten().copied().collect();
        let of = |x: &[f32], y: &[f32]| {
            let samples = SamplePair { x, y, width };
            with_instruction_set(set, || mmd_squared_gradients(samples, &[0.5, 2.0], estimator))
        };
        let (value, dx, dy) = of(&x, &y);
        let (swapped, dy_swapped, dx_swapped) = of(&y, &x);
        let (permuted, dx_permuted, dy_permuted) = of(&reversed, &y);
        prop_assert!((value - swapped).abs() < 1e-6);
        prop_assert!((value - permuted).abs() < 1e-6);
        let back: Vec<f32> = dx_permuted.chunks(width).rev().flatten().copied().collect();
        let pairs = [(&dx, &dx_swapped), (&dy, &dy_swapped), (&dx, &back), (&dy, &dy_permuted)];
        // What a gradient could be at most, of which sums that cancel leave little.
        let most = 2.0 / (0.5 * 0.5 * n.min(m) as f32);
        for (a, b) in pairs {
            prop_assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6 * most));
        }
    }

    #[test]
    fn a_sample_is_at_no_discrepancy_from_itself(
        (n, width) in (1usize..150, 1usize..40), bandwidth in 0.1f32..4.0, set in sets(),
        seed in 1u64..1000,
    ) {
        let x = values(n * width, seed);
        let samples = SamplePair { x: &x, y: &x, width };
        let (value, dx, dy) = with_instruction_set(set, || {
            mmd_squared_gradients(samples, &[bandwidth], MmdEstimator::Biased)
        });
        prop_assert!(value.abs() < 1e-7, "{value}");
        let slope = 1.0 / (bandwidth * bandwidth * n as f32);
        prop_assert!(dx.iter().chain(&dy).all(|d| d.abs() < 2e-6 * slope), "{dx:?}");
    }

    #[test]
    fn the_median_distance_is_the_middle_one(
        (n, m, width) in (1usize..90, 0usize..90, 1usize..20),
        doubled: bool, set in sets(), threads in 1usize..4, seed in 1u64..1000,
    ) {
        let x = values(n * width, seed);
        let mut y = values(m * width, seed + 1);
        if doubled {
            y = x.iter().chain(&x).copied().collect();
        }
        let samples = SamplePair { x: &x, y: &y, width };
        let median =
            with_instruction_set(set, || with_threads(threads, || median_distance(samples)));
        let all = double(&[&x[..], &y].concat());
        let points: Vec<&[f64]> = all.chunks(width).collect();
        let mut distances: Vec<f64> = (0..points.len())
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| square(points[i], points[j]).sqrt())
            .collect();
        distances.sort_by(f64::total_cmp);
        let exact =
            distances.get(distances.len().saturating_sub(1) / 2).copied().unwrap_or_default();
        prop_assert!((f64::from(median) - exact).abs() < 1e-5, "{median} instead of {exact}");
    }
}

#[test]
fn threads_change_last_bits_at_most() {
    let (x, y) = (normal(700 * 5, 1), normal(500 * 5, 2));
    let samples = SamplePair { x: &x, y: &y, width: 5 };
    let of = |threads| {
        with_threads(threads, || {
            let gradients = mmd_squared_gradients(samples, &[1.5], MmdEstimator::Unbiased);
            assert_eq!(gradients, mmd_squared_gradients(samples, &[1.5], MmdEstimator::Unbiased));
            (gradients, median_distance(samples))
        })
    };
    let ((value, dx, dy), median) = of(1);
    for threads in 2..4 {
        let ((other_value, other_dx, other_dy), other_median) = of(threads);
        assert_eq!(median, other_median);
        assert!((value - other_value).abs() < 1e-12);
        let pairs = dx.iter().zip(&other_dx).chain(dy.iter().zip(&other_dy));
        pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-8, "{a} and {b}"));
    }
}

#[test]
fn points_far_from_the_origin_are_as_good_as_near_it() {
    // Distances of 0.01 at 1000: without centring, |a|^2 would drown them.
    for width in [1, 3, 20] {
        let near = |seed| scaled(&values(90 * width, seed), 0.01);
        let far = |near: &[f32]| near.iter().map(|v| v + 1000.0).collect::<Vec<f32>>();
        let (x, y) = (far(&near(1)), far(&scaled(&near(2), 1.3)));
        let bandwidth = 0.005 * (width as f32).sqrt();
        let (value, dx, dy) = mmd_squared_gradients(
            SamplePair { x: &x, y: &y, width },
            &[bandwidth],
            MmdEstimator::Biased,
        );
        let doubles = [double(&x), double(&y)];
        let exact = plain(&doubles, width, &[bandwidth], MmdEstimator::Biased);
        assert!((value - exact).abs() < 1e-6, "{value} instead of {exact}");
        check_gradients(&doubles, &[&dx, &dy], |t| {
            plain(t, width, &[bandwidth], MmdEstimator::Biased)
        });
    }
}

#[test]
fn unbiased_means_what_it_says() {
    let repeated = |estimator, shift: f32| {
        let one = |seed: u64| {
            let x = normal(20 * 3, 2 * seed + 1);
            let y: Vec<f32> = normal(15 * 3, 2 * seed + 2).iter().map(|v| v + shift).collect();
            mmd_squared(SamplePair { x: &x, y: &y, width: 3 }, &[1.0, 2.0], estimator)
        };
        mean(&(0..400).map(one).collect::<Vec<_>>())
    };
    let (value, error) = repeated(MmdEstimator::Unbiased, 0.0);
    assert!(value.abs() < 3.5 * error, "{value} +- {error}");
    // The same many samples tell a bias, and a small difference.
    let (value, error) = repeated(MmdEstimator::Biased, 0.0);
    assert!(value > 10.0 * error, "{value} +- {error}");
    let (value, error) = repeated(MmdEstimator::Unbiased, 0.2);
    assert!(value > 5.0 * error, "{value} +- {error}");
}

#[test]
fn two_normal_distributions_are_at_their_known_discrepancy() {
    // E k = v^-1/2 exp(-D^2 / (2 s^2 v)) with v = 1 + 2 / s^2, for unit variances and means D apart.
    let (bandwidth, apart) = (0.8f64, 1.0);
    let v = 1.0 + 2.0 / (bandwidth * bandwidth);
    let within = 1.0 / v.sqrt();
    let between = within * (-apart * apart / (2.0 * bandwidth * bandwidth * v)).exp();
    let one = |seed: u64| {
        let x = normal(150, 2 * seed + 1);
        let y: Vec<f32> = normal(150, 2 * seed + 2).iter().map(|v| v + apart as f32).collect();
        let samples = SamplePair { x: &x, y: &y, width: 1 };
        mmd_squared(samples, &[bandwidth as f32], MmdEstimator::Unbiased)
    };
    let (value, error) = mean(&(0..200).map(one).collect::<Vec<_>>());
    let exact = 2.0 * (within - between);
    assert!(
        error < 0.02 * exact && (value - exact).abs() < 3.5 * error,
        "{value} +- {error}, {exact}"
    );
}

#[test]
fn a_kernel_out_of_reach_is_zero_and_what_is_not_finite_is_told() {
    let samples = SamplePair { x: &[0.0, 1.0], y: &[500.0, 501.0], width: 1 };
    let (value, dx, dy) = mmd_squared_gradients(samples, &[0.01], MmdEstimator::Biased);
    assert_eq!(value, 1.0);
    assert!(dx.iter().chain(&dy).all(|d| *d == 0.0));
    for bad in [f32::NAN, f32::INFINITY, 1e30] {
        let samples = SamplePair { x: &[0.0, 1.0], y: &[2.0, bad], width: 1 };
        assert!(mmd_squared(samples, &[1.0], MmdEstimator::Biased).is_nan());
    }
}
