//! Intervals and tests: golden values, and the coverage and false-positive rates they promise, by
//! simulation.

use approx::{assert_abs_diff_eq, assert_relative_eq};
use headwater_core::{Check, StreamRng, Streams};
use headwater_evaluation::intervals::*;
use headwater_evaluation::significance::*;
use headwater_evaluation::{EvaluationError, Interval};
use rand::RngExt;
use rand_distr::{Distribution, Exp1, StandardNormal};

fn stream(name: &str, index: u64) -> StreamRng {
    Streams::new(2024).stream(name, &[index])
}

fn normals(n: usize, rng: &mut StreamRng) -> Vec<f64> {
    (0..n).map(|_| StandardNormal.sample(rng)).collect()
}

/// A bootstrap small enough to be simulated by the thousand.
fn quick() -> Bootstrap {
    BootstrapConfig { resamples: 499, ..BootstrapConfig::default() }
        .check()
        .expect("39 resamples or more are valid")
}

/// Share of `trials` for which `event` holds.
fn rate(trials: u64, mut event: impl FnMut(u64) -> bool) -> f64 {
    (0..trials).filter(|&trial| event(trial)).count() as f64 / trials as f64
}

/// Three binomial standard errors of a rate p over `trials`.
fn three_errors(p: f64, trials: u64) -> f64 {
    3.0 * (p * (1.0 - p) / trials as f64).sqrt()
}

#[test]
fn golden_values_of_scipy() {
    // scipy 1.17.1: stats.ttest_1samp(values, 2.0) and its confidence_interval.
    let values = [2.1, 3.4, 1.9, 5.0, 2.8];
    let interval = t_interval(&values, 0.95).unwrap();
    assert_relative_eq!(interval.estimate, 3.04, max_relative = 1e-12);
    assert_relative_eq!(interval.low, 1.492_645_519_175_354, max_relative = 1e-9);
    assert_relative_eq!(interval.high, 4.587_354_480_824_646, max_relative = 1e-9);
    assert_eq!((interval.n, interval.level), (5, 0.95));
    let wide = t_interval(&values, 0.99).unwrap();
    assert_relative_eq!(wide.low, 0.474_068_904_878_399_26, max_relative = 1e-8);
    assert_relative_eq!(
        t_test(&values, 2.0).unwrap(),
        0.135_442_374_797_435_65,
        max_relative = 1e-9
    );

    // scipy 1.17.1: stats.binomtest(k, n).proportion_ci(level, method="wilson").
    for (successes, trials, level, low, high) in [
        (0, 10, 0.95, 0.0, 0.277_532_799_862_889_26),
        (7, 10, 0.95, 0.396_778_147_461_145_26, 0.892_208_732_593_699),
        (10, 10, 0.9, 0.787_058_029_916_593, 1.0),
        (130, 400, 0.99, 0.267_958_774_803_549_24, 0.387_752_033_171_290_9),
    ] {
        let interval = wilson_interval(successes, trials, level).unwrap();
        assert_abs_diff_eq!(interval.low, low, epsilon = 1e-9);
        assert_abs_diff_eq!(interval.high, high, epsilon = 1e-9);
    }

    // scipy 1.17.1: stats.permutation_test, every permutation: |sum| over sign flips; |difference
    // of means|.
    let mut rng = stream("golden", 0);
    let differences = [0.3, -0.1, 0.4, 0.2, 0.5, 0.1, -0.2, 0.6];
    assert_eq!(sign_flip_test(&differences, 0.0, 1, &mut rng).unwrap(), 0.085_937_5);
    let (first, second) = ([1.2, 3.4, 2.2, 5.1], [0.3, 1.1, 2.0, 0.7, 1.5]);
    let p = permutation_test(&first, &second, 200_000, &mut rng).unwrap();
    assert_abs_diff_eq!(p, 1.0 / 21.0, epsilon = three_errors(1.0 / 21.0, 200_000));
}

#[test]
fn the_t_interval_covers_and_agrees_with_its_test() {
    let mut agree = true;
    let covered = rate(20_000, |trial| {
        let values = normals(5, &mut stream("t", trial));
        let held = t_interval(&values, 0.95).unwrap().contains(0.0);
        agree &= held == (t_test(&values, 0.0).unwrap() > 0.05);
        held
    });
    assert!(agree, "the test rejects exactly where the interval excludes the null");
    assert_abs_diff_eq!(covered, 0.95, epsilon = three_errors(0.95, 20_000));
}

#[test]
fn wilson_covers_by_exact_enumeration() {
    // Coverage at p is a sum of binomial probabilities; its mean over p is within a percent of
    // nominal already at n = 10 (Brown, Cai and DasGupta 2001), while the Wald
    // interval's is far below.
    for trials in [10usize, 40] {
        let (mut wilson, mut wald) = (0.0, 0.0);
        let grid = 499;
        for step in 1..=grid {
            let p = f64::from(step) / f64::from(grid + 1);
            let mut mass = (1.0 - p).powi(trials as i32);
            for successes in 0..=trials {
                let interval = wilson_interval(successes, trials, 0.95).unwrap();
                let estimate = interval.estimate;
                let reach = 1.96 * (estimate * (1.0 - estimate) / trials as f64).sqrt();
                wilson += mass * f64::from(u8::from(interval.contains(p))) / f64::from(grid);
                wald += mass * f64::from(u8::from((estimate - p).abs() <= reach)) / f64::from(grid);
                mass *= (trials - successes) as f64 / (successes + 1) as f64 * p / (1.0 - p);
            }
        }
        assert_abs_diff_eq!(wilson, 0.953, epsilon = 0.006);
        assert!(wald < 0.92, "{trials}: {wald}");
    }
}

#[test]
fn the_studentised_bootstrap_covers_for_normal_and_skewed_values() {
    let trials = 2000;
    let bootstrap = quick();
    let normal = rate(trials, |trial| {
        let mut rng = stream("normal", trial);
        let values = normals(15, &mut rng);
        bootstrap.mean(&values, &mut rng).unwrap().contains(0.0)
    });
    assert_abs_diff_eq!(normal, 0.95, epsilon = three_errors(0.95, trials));

    // Exponential values, n = 20: studentising keeps the coverage, plain t and percentile intervals
    // fall short.
    let (mut by_t, mut by_percentile) = (0.0, 0.0);
    let studentised = rate(trials, |trial| {
        let mut rng = stream("skewed", trial);
        let values: Vec<f64> = (0..20).map(|_| Exp1.sample(&mut rng)).collect();
        let mean = |indices: &[usize]| Ok(indices.iter().map(|&i| values[i]).sum::<f64>() / 20.0);
        let percentile = bootstrap.percentile(20, mean, &mut rng).unwrap();
        by_t += f64::from(u8::from(t_interval(&values, 0.95).unwrap().contains(1.0)));
        by_percentile += f64::from(u8::from(percentile.contains(1.0)));
        bootstrap.mean(&values, &mut rng).unwrap().contains(1.0)
    });
    assert_abs_diff_eq!(studentised, 0.95, epsilon = three_errors(0.95, trials));
    assert!(by_t / (trials as f64) < 0.93 && by_percentile / (trials as f64) < 0.92);
}

#[test]
fn pairing_removes_what_the_arms_share() {
    // Each seed's luck moves both arms: the paired interval is as short as if it were not there,
    // and covers.
    let trials = 2000;
    let mut shorter = true;
    let covered = rate(trials, |trial| {
        let mut rng = stream("paired", trial);
        let luck = normals(15, &mut rng);
        let arm = |shift: f64, rng: &mut StreamRng| -> Vec<f64> {
            luck.iter().zip(normals(15, rng)).map(|(l, e)| 5.0 * l + 0.1 * e + shift).collect()
        };
        let (treated, control) = (arm(0.3, &mut rng), arm(0.0, &mut rng));
        let differences = paired_differences(&treated, &control).unwrap();
        let paired = quick().mean(&differences, &mut rng).unwrap();
        shorter &= paired.half_width() < 0.1 * t_interval(&treated, 0.95).unwrap().half_width();
        paired.contains(0.3)
    });
    assert!(shorter);
    assert_abs_diff_eq!(covered, 0.95, epsilon = three_errors(0.95, trials));
}

/// 30 clusters of 1 to 12 values that share their cluster's luck; mean 0.
fn clustered(rng: &mut StreamRng) -> (Vec<f64>, Vec<usize>) {
    let (mut values, mut clusters) = (Vec::new(), Vec::new());
    for cluster in 0..30 {
        let luck: f64 = StandardNormal.sample(rng);
        for noise in normals(rng.random_range(1..=12), rng) {
            values.push(luck + noise);
            clusters.push(cluster);
        }
    }
    (values, clusters)
}

#[test]
fn only_the_clustered_bootstrap_covers_for_clustered_values() {
    let trials = 2000;
    let mut ignoring = 0.0;
    let covered = rate(trials, |trial| {
        let mut rng = stream("clustered", trial);
        let (values, clusters) = clustered(&mut rng);
        ignoring += f64::from(u8::from(t_interval(&values, 0.95).unwrap().contains(0.0)));
        quick().clustered_mean(&values, &clusters, &mut rng).unwrap().contains(0.0)
    });
    // 30 unequal clusters: within a percent of nominal, beyond three binomial errors.
    assert_abs_diff_eq!(covered, 0.95, epsilon = 0.01 + three_errors(0.95, trials));
    assert!(ignoring / (trials as f64) < 0.75, "{ignoring}");
}

#[test]
fn clusters_of_one_are_the_plain_bootstrap() {
    let values = normals(20, &mut stream("single", 0));
    let names: Vec<usize> = (0..20).collect();
    let plain = quick().mean(&values, &mut stream("single", 1)).unwrap();
    assert_eq!(quick().clustered_mean(&values, &names, &mut stream("single", 1)).unwrap(), plain);
    // The same cluster names in another order name the same clusters.
    let (values, mut clusters) = clustered(&mut stream("single", 2));
    let first = quick().clustered_mean(&values, &clusters, &mut stream("single", 3)).unwrap();
    clusters.iter_mut().for_each(|c| *c += 7);
    let second = quick().clustered_mean(&values, &clusters, &mut stream("single", 3)).unwrap();
    assert_eq!((first, first.n), (second, 30));
}

#[test]
fn the_percentile_interval_covers_for_a_median() {
    let trials = 2000;
    let covered = rate(trials, |trial| {
        let mut rng = stream("median", trial);
        let values = normals(101, &mut rng);
        let median = |indices: &[usize]| {
            let mut drawn: Vec<f64> = indices.iter().map(|&i| values[i]).collect();
            drawn.sort_by(f64::total_cmp);
            Ok(drawn[50])
        };
        quick().percentile(101, median, &mut rng).unwrap().contains(0.0)
    });
    assert_abs_diff_eq!(covered, 0.95, epsilon = three_errors(0.95, trials));
}

#[test]
fn tests_keep_their_level_and_have_power() {
    let trials = 4000;
    // Skewed values against their mean would break symmetry; a difference of two exponentials is
    // symmetric, not normal.
    let exponential =
        |n: usize, rng: &mut StreamRng| -> Vec<f64> { (0..n).map(|_| Exp1.sample(rng)).collect() };
    let differences = |n: usize, shift: f64, rng: &mut StreamRng| {
        let (first, second) = (exponential(n, rng), exponential(n, rng));
        let shifted: Vec<f64> = first.iter().map(|v| v + shift).collect();
        paired_differences(&shifted, &second).unwrap()
    };
    let rejections = |name: &str, p: &dyn Fn(&mut StreamRng) -> f64| {
        rate(trials, |trial| p(&mut stream(name, trial)) <= 0.05)
    };
    let t = |rng: &mut StreamRng| t_test(&normals(6, rng), 0.0).unwrap();
    assert_abs_diff_eq!(rejections("t", &t), 0.05, epsilon = three_errors(0.05, trials));

    // Exact, n = 8: p comes in steps of 2/256, the largest at most 0.05 is 12/256.
    let exact =
        |rng: &mut StreamRng| sign_flip_test(&differences(8, 0.0, rng), 0.0, 1, rng).unwrap();
    let level = 12.0 / 256.0;
    assert_abs_diff_eq!(rejections("exact", &exact), level, epsilon = three_errors(level, trials));

    let drawn = |shift: f64| {
        move |rng: &mut StreamRng| {
            sign_flip_test(&differences(20, shift, rng), 0.0, 199, rng).unwrap()
        }
    };
    let null = rejections("drawn", &drawn(0.0));
    assert_abs_diff_eq!(null, 0.05, epsilon = three_errors(0.05, trials));
    assert!(rejections("drawn shifted", &drawn(1.5)) > 0.9);

    let samples = |shift: f64| {
        move |rng: &mut StreamRng| {
            let second = exponential(9, rng);
            let first: Vec<f64> = exponential(14, rng).iter().map(|v| v + shift).collect();
            permutation_test(&first, &second, 199, rng).unwrap()
        }
    };
    let null = rejections("labels", &samples(0.0));
    assert_abs_diff_eq!(null, 0.05, epsilon = three_errors(0.05, trials));
    assert!(rejections("labels shifted", &samples(2.0)) > 0.9);
}

#[test]
fn drawn_sign_flips_approach_the_exact_test() {
    // Zeros change no sum, so they lengthen the values past the exact limit without changing the
    // exact p.
    let short = [0.3, -0.1, 0.4, 0.2, 0.5, 0.1, -0.2, 0.6];
    let mut long = short.to_vec();
    long.resize(EXACT_SIGN_FLIP_LIMIT + 4, 0.0);
    let drawn = sign_flip_test(&long, 0.0, 100_000, &mut stream("long", 0)).unwrap();
    assert_abs_diff_eq!(drawn, 0.085_937_5, epsilon = three_errors(0.086, 100_000));
    // Where no drawn pattern is as extreme, the observed one still counts: p is never 0.
    let shifted: Vec<f64> = (1..=20).map(f64::from).collect();
    let p = sign_flip_test(&shifted, 0.0, 99, &mut stream("long", 2)).unwrap();
    assert_relative_eq!(p, 0.01, max_relative = 1e-12);
    let p = permutation_test(&shifted, &[-1.0; 20], 99, &mut stream("long", 3)).unwrap();
    assert_relative_eq!(p, 0.01, max_relative = 1e-12);
    // Against its own centre of symmetry, nothing is more extreme.
    assert_eq!(sign_flip_test(&[1.1, 0.9], 1.0, 1, &mut stream("long", 1)).unwrap(), 1.0);
}

#[test]
fn what_never_varies_has_no_width_and_what_hardly_varies_is_refused() {
    let mut rng = stream("degenerate", 0);
    // The mean of three 0.1 is 0.10000000000000002, and their spread about it is not quite 0.
    for (value, n) in [(0.5, 6), (0.1, 3), (0.1, 10), (1e9 + 0.1, 7), (-0.0, 2), (1e300, 5)] {
        let values = vec![value; n];
        let clusters: Vec<usize> = (0..n).map(|i| i * 2 / n).collect();
        for interval in [
            t_interval(&values, 0.95).unwrap(),
            Bootstrap::default().mean(&values, &mut rng).unwrap(),
            Bootstrap::default().clustered_mean(&values, &clusters, &mut rng).unwrap(),
        ] {
            assert_eq!((interval.low, interval.estimate, interval.high), (value, value, value));
        }
        assert_eq!(t_test(&values, value).unwrap(), 1.0);
        assert_eq!(t_test(&values, value.next_up()).unwrap(), 0.0);
    }
    // Clusters that vary inside but agree on their mean, one of them only up to rounding.
    let values = [0.2, 0.4, 0.3, 0.1, 0.2, 0.6];
    let alike = Bootstrap::default().clustered_mean(&values, &[1, 1, 2, 3, 3, 3], &mut rng);
    assert!(alike.is_ok_and(|found| found.low == found.high && (found.low - 0.3).abs() < 1e-15));
    // One ulp is a spread, and no reason for a value that is none.
    let nearly = t_interval(&[0.1, 0.1, 0.1_f64.next_up()], 0.95).unwrap();
    assert!(nearly.half_width() > 0.0 && nearly.contains(0.1));
    // A resample of (0, 0, 0, 0, 1) misses the 1 with probability 0.8^5 = 0.33.
    let error = Bootstrap::default().mean(&[0.0, 0.0, 0.0, 0.0, 1.0], &mut rng).unwrap_err();
    let EvaluationError::DegenerateBootstrap { degenerate, resamples, .. } = error else {
        panic!("{error}");
    };
    assert_abs_diff_eq!(degenerate as f64 / resamples as f64, 0.328, epsilon = 0.04);
}

#[test]
fn values_that_cannot_be_added_or_squared_are_refused() {
    let mut rng = stream("overflow", 0);
    let bootstrap = Bootstrap::default();
    let clusters = [0, 1, 2];
    // Squares that overflow, or vanish although the values differ: t does without them.
    let (plain, p) = (t_interval(&[1.0, 2.0, 4.0], 0.95).unwrap(), t_test(&[1.0, 2.0, 4.0], 0.0));
    for unit in [1e200, 1e-200] {
        let values = [unit, 2.0 * unit, 4.0 * unit];
        let scaled = t_interval(&values, 0.95).unwrap();
        assert_relative_eq!(scaled.low / unit, plain.low, max_relative = 1e-12);
        assert_relative_eq!(scaled.high / unit, plain.high, max_relative = 1e-12);
        assert_relative_eq!(t_test(&values, 0.0).unwrap(), p.clone().unwrap(), max_relative = 1e-9);
        for error in [
            bootstrap.mean(&values, &mut rng).unwrap_err(),
            bootstrap.clustered_mean(&values, &clusters, &mut rng).unwrap_err(),
        ] {
            assert!(matches!(error, EvaluationError::OutOfRange { argument: "values", .. }));
        }
    }
    // A sum that overflows.
    let values = [1.7e308, 1.7e308, 1.0];
    let error = t_interval(&values, 0.95).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the mean of `values` comes to inf, outside the range of 64-bit floats: rescale the entries"
    );
    assert!(t_test(&values, 0.0).is_err());
    assert!(bootstrap.mean(&values, &mut rng).is_err());
    assert!(bootstrap.clustered_mean(&values, &clusters, &mut rng).is_err());
    // An interval that does.
    assert!(t_interval(&[1.7e308, -1.7e308], 0.95).is_err());
    // Tests by rearrangement add but do not square.
    assert_eq!(sign_flip_test(&[1e200, 1e200], 0.0, 1, &mut rng).unwrap(), 0.5);
    assert!(sign_flip_test(&[1.7e308, 1.7e308], 0.0, 1, &mut rng).is_err());
    assert!(sign_flip_test(&[1.7e308, 1.0], -1.7e308, 1, &mut rng).is_err());
    assert!(permutation_test(&[1.7e308], &[1.7e308], 9, &mut rng).is_err());
    let error = paired_differences(&[1.0, 1.7e308], &[1.0, -1.7e308]).unwrap_err();
    assert_eq!(error.to_string(), "`treated - control[1]` = inf: allowed is a finite number");
    // So close to 1 that nothing is left for a tail.
    assert!(t_interval(&[0.0, 1.0], 1_f64.next_down()).is_err());
    assert!(wilson_interval(1, 2, 1_f64.next_down()).is_err());
}

#[test]
fn bad_input_is_named() {
    let mut rng = stream("bad", 0);
    let error = t_interval(&[1.0, f64::NAN], 0.95).unwrap_err();
    assert_eq!(error.to_string(), "`values[1]` = NaN: allowed is a finite number");
    assert!(t_interval(&[1.0], 0.95).is_err());
    assert!(t_interval(&[1.0, 2.0], 1.0).is_err());
    assert!(wilson_interval(3, 2, 0.95).is_err());
    assert!(wilson_interval(0, 0, 0.95).is_err());
    assert!(paired_differences(&[1.0], &[1.0, 2.0]).is_err());
    assert!(quick().clustered_mean(&[1.0, 2.0], &[4, 4], &mut rng).is_err());
    assert!(quick().percentile(3, |_| Ok(f64::NAN), &mut rng).is_err());
    assert!(sign_flip_test(&[1.0], 0.0, 0, &mut rng).is_err());
    assert!(permutation_test(&[], &[1.0], 10, &mut rng).is_err());
    let few = BootstrapConfig { level: 0.95, resamples: 38 }.check().unwrap_err();
    assert_eq!((few.field, few.value.as_str()), ("resamples", "38"));
    assert!(BootstrapConfig { level: 0.95, resamples: 39 }.check().is_ok());
    assert!(BootstrapConfig { level: 0.0, resamples: 999 }.check().is_err());
}

#[test]
fn resplit_interval_golden_values() {
    // scipy 1.17.1: mean(x) +- t.ppf(.5 + level/2, n - 1)*sqrt((1/n + test/train)*var(x, ddof=1)).
    let values = [0.021, 0.034, 0.008, 0.027, -0.004, 0.019, 0.030, 0.012, 0.016, 0.025];
    for (train, test, level, low, high) in RESPLITS {
        let interval = resplit_interval(&values, train, test, level).unwrap();
        assert_relative_eq!(interval.estimate, 0.0188, max_relative = 1e-12);
        assert_relative_eq!(interval.low, low, max_relative = 1e-8);
        assert_relative_eq!(interval.high, high, max_relative = 1e-8);
        assert_eq!((interval.n, interval.level), (10, level));
    }
    assert_eq!(resplit_interval(&[0.1; 4], 9, 1, 0.95).unwrap().half_width(), 0.0);
    for (found, name) in [
        (resplit_interval(&values, 0, 1, 0.95), "`train` = 0"),
        (resplit_interval(&values, 9, 0, 0.95), "`test` = 0"),
        (resplit_interval(&values, 9, 1, 1.0), "`level` = 1"),
        (resplit_interval(&[1.0], 9, 1, 0.95), "`values` has 1 entries"),
    ] {
        let error = found.unwrap_err().to_string();
        assert!(error.starts_with(name), "{error}");
    }
}

/// Errors of two predictors on `splits` random splits of `rows` normal rows of mean `mean`: test
/// loss of always 0, less that of the training rows' mean where `fitted`, of always 1 otherwise.
fn resplits(
    rows: usize,
    train: usize,
    splits: usize,
    mean: f64,
    fitted: bool,
    trial: u64,
) -> Vec<f64> {
    let mut rng = stream("resplits", trial);
    let mut data: Vec<f64> = normals(rows, &mut rng).iter().map(|x| mean + x).collect();
    let one = |_| {
        for at in 0..train {
            let other = rng.random_range(at..rows);
            data.swap(at, other);
        }
        let (training, test) = data.split_at(train);
        let guess = if fitted { training.iter().sum::<f64>() / train as f64 } else { 1.0 };
        test.iter().map(|y| y * y - (y - guess) * (y - guess)).sum::<f64>() / test.len() as f64
    };
    (0..splits).map(one).collect()
}

#[test]
fn the_resplit_interval_covers_where_the_t_interval_does_not() {
    let (rows, train, splits, mean, trials) = (100, 80, 15, 0.5, 2000);
    // E of y² - (y - g)² is 2 g E y - g²; of a mean of `train` rows, mean² - 1/train.
    for (fitted, truth) in [(false, 2.0 * mean - 1.0), (true, mean * mean - 1.0 / train as f64)] {
        let covered = |interval: &dyn Fn(&[f64]) -> Interval| {
            rate(trials, |trial| {
                interval(&resplits(rows, train, splits, mean, fitted, trial)).contains(truth)
            })
        };
        let corrected = covered(&|x| resplit_interval(x, train, rows - train, 0.95).unwrap());
        let plain = covered(&|x| t_interval(x, 0.95).unwrap());
        // Three binomial standard errors at 2000 trials are 1.5%; with fitting the correlation is
        // an approximation.
        assert!((0.93..=0.97).contains(&corrected), "{fitted}: {corrected}");
        assert!(plain < 0.75, "{fitted}: {plain}");
    }
}

/// Rows to train on, rows to test on, level, ends.
const RESPLITS: [(usize, usize, f64, f64, f64); 3] = [
    (900, 100, 0.95, 0.007012103222486726, 0.030587896777513283),
    (2, 1, 0.9, 0.002696404582757085, 0.03490359541724292),
    (50, 50, 0.99, -0.019855894819277478, 0.05745589481927749),
];
