//! Training and comparison: what it converges to, what it is indifferent to, what it refuses.
use headwater_core::{Check, Streams};
use headwater_decisions::{
    Architecture, ComparisonConfig, DecisionError, Examples, Objective, Optimizer, Split,
    TrainingConfig, compare, train,
};
use headwater_evaluation::decision::{ClassWeights, logit};
use proptest::prelude::*;
use rand::RngExt;

/// A table of cells, each a feature of its own, with exactly these numbers of (positives, rows).
fn table(cells: &[(usize, usize)]) -> Examples {
    let (mut features, mut positive) = (Vec::new(), Vec::new());
    for (cell, (positives, rows)) in cells.iter().enumerate() {
        for row in 0..*rows {
            features.extend((0..cells.len()).map(|at| f32::from(u8::from(at == cell))));
            positive.push(row < *positives);
        }
    }
    Examples::new(features, cells.len(), positive).unwrap()
}

fn linear(optimizer: Optimizer, learning_rate: f64, epochs: usize) -> TrainingConfig {
    let architecture = Architecture::Dense { hidden: vec![] };
    TrainingConfig { architecture, optimizer, learning_rate, batch: 1000, epochs }
}

#[test]
fn a_table_learns_the_posterior_and_weighted_training_of_it_is_ex_post_weighting() {
    let cells = [(1, 20), (6, 20), (15, 20), (30, 40)];
    let rows = table(&cells);
    let weights = ClassWeights::mean_one(0.9).unwrap();
    for (optimizer, rate) in [(Optimizer::Adam, 0.05), (Optimizer::Sgd { momentum: 0.9 }, 0.3)] {
        let training = linear(optimizer, rate, 2000).check().unwrap();
        let logits = |objective| {
            let trained = train(&rows, &rows, objective, &training, &Streams::new(3)).unwrap();
            trained.network.logits(table(&[(0, 1); 4]).features())
        };
        let plain = logits(Objective::plain());
        let weighted = logits(Objective::Weighted(weights));
        let adjusted = logits(Objective::LogitAdjusted(weights));
        for (at, (positives, count)) in cells.iter().enumerate() {
            let q = logit(*positives as f64 / *count as f64).unwrap();
            assert!((plain[at] - q).abs() < 0.02, "{plain:?}");
            assert!((weighted[at] - q - weights.shift()).abs() < 0.02, "{weighted:?}");
            assert!((adjusted[at] - q - weights.shift()).abs() < 0.02, "{adjusted:?}");
        }
    }
}

/// 400 rows of three features, the first of which tells something.
fn noisy(seed: u64) -> Examples {
    let mut rng = Streams::new(seed).stream("rows", &[]);
    let features: Vec<f32> = (0..1200).map(|_| rng.random::<f32>() - 0.5).collect();
    let positive = features.chunks(3).map(|x| rng.random::<f32>() < 0.5 + 0.8 * x[0]).collect();
    Examples::new(features, 3, positive).unwrap()
}

#[test]
fn adam_does_not_feel_the_scale_of_the_loss_and_descent_does() {
    let rows = noisy(1);
    let logits = |optimizer, rate, scale: f64| {
        let training = TrainingConfig {
            optimizer,
            learning_rate: rate,
            epochs: 3,
            ..TrainingConfig::default()
        };
        let weights = ClassWeights::new(scale, scale).unwrap();
        let training = training.check().unwrap();
        let objective = Objective::Weighted(weights);
        train(&rows, &rows, objective, &training, &Streams::new(2))
            .unwrap()
            .network
            .logits(rows.features())
    };
    let gap =
        |a: Vec<f64>, b: Vec<f64>| a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let adam = gap(logits(Optimizer::Adam, 1e-3, 1.0), logits(Optimizer::Adam, 1e-3, 0.1));
    assert!(adam < 1e-2, "{adam}");
    let sgd = Optimizer::Sgd { momentum: 0.0 };
    assert!(gap(logits(sgd, 0.1, 1.0), logits(sgd, 0.1, 0.1)) > 0.1);
    // A tenth of the loss is a tenth of the rate.
    assert!(gap(logits(sgd, 0.1, 0.1), logits(sgd, 0.01, 1.0)) < 1e-4);
}

#[test]
fn a_logit_adjusted_loss_is_ex_post_weighting_up_to_rounding() {
    let rows = noisy(1);
    let training = TrainingConfig { epochs: 4, learning_rate: 0.01, ..TrainingConfig::default() };
    let training = training.check().unwrap();
    let weights = ClassWeights::mean_one(0.9).unwrap();
    let logits = |objective| {
        let trained = train(&rows, &rows, objective, &training, &Streams::new(2)).unwrap();
        trained.network.logits(rows.features())
    };
    let plain = logits(Objective::plain());
    let gap = |other: &[f64]| {
        let pairs = plain.iter().zip(other);
        pairs.map(|(z, other)| (z + weights.shift() - other).abs()).fold(0.0, f64::max)
    };
    assert!(gap(&logits(Objective::LogitAdjusted(weights))) < 1e-3);
    assert!(gap(&logits(Objective::Weighted(weights))) > 0.02);
}

#[test]
fn training_is_the_same_for_the_same_streams_and_stops_at_its_best_epoch() {
    let (rows, held_out) = (noisy(1), noisy(2));
    let training = TrainingConfig { learning_rate: 0.02, epochs: 12, ..TrainingConfig::default() };
    let training = training.check().unwrap();
    let run =
        |seed| train(&rows, &held_out, Objective::plain(), &training, &Streams::new(seed)).unwrap();
    let (first, again, other) = (run(1), run(1), run(2));
    assert_eq!(first.network, again.network);
    assert_ne!(first.network, other.network);
    let lowest = first.validation.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(first.validation[first.epoch - 1], lowest);
    assert!(first.epoch < 12, "an overfitting run is stopped early: {:?}", first.validation);
    let value = headwater_decisions::mean_objective(
        Objective::plain(),
        &first.network.logits(held_out.features()),
        &held_out,
    );
    assert_eq!(value, lowest, "the network is that of the best epoch");
}

#[test]
fn a_new_head_keeps_the_representation_and_learns_the_shift() {
    let rows = noisy(1);
    let training = TrainingConfig { epochs: 20, ..TrainingConfig::default() }.check().unwrap();
    let streams = Streams::new(4);
    let trained = train(&rows, &rows, Objective::plain(), &training, &streams).unwrap();
    let head = linear(Optimizer::Adam, 0.02, 1500).check().unwrap();
    let new_head = |objective| {
        let parts = [&rows, &rows];
        trained.with_new_head(parts, objective, &head, &streams, &[&rows]).unwrap().remove(0)
    };
    let (plain, weighted) = (
        new_head(Objective::plain()),
        new_head(Objective::Weighted(ClassWeights::mean_one(0.9).unwrap())),
    );
    let mean = |z: &[f64]| z.iter().sum::<f64>() / z.len() as f64;
    assert!(mean(&weighted) - mean(&plain) > 1.5, "{} {}", mean(&weighted), mean(&plain));
    let parts = [&rows, &rows];
    let error = trained.with_new_head(parts, Objective::plain(), &training, &streams, &[]);
    assert!(error.unwrap_err().to_string().contains("dense without hidden layers"));
}

#[test]
fn what_cannot_be_trained_on_is_named() {
    let text = |error: DecisionError| error.to_string();
    let error = text(Examples::new(vec![1.0; 5], 2, vec![true, false]).unwrap_err());
    assert!(error.starts_with("5 features for 2 rows of 2"), "{error}");
    let error = text(Examples::new(vec![1.0, f32::NAN], 1, vec![true, false]).unwrap_err());
    assert_eq!(error, "row 1, feature 0 is NaN: allowed is a finite number");
    let rows = noisy(1);
    let image = Architecture::Convolutional { side: 4, channels: vec![2] };
    let training = TrainingConfig { architecture: image, ..TrainingConfig::default() };
    let training = training.check().unwrap();
    let error = train(&rows, &rows, Objective::plain(), &training, &Streams::new(1)).unwrap_err();
    assert_eq!(text(error), "rows have 3 features: the architecture takes 16");
    let sgd = Optimizer::Sgd { momentum: 0.9 };
    let wild = TrainingConfig { optimizer: sgd, learning_rate: 1e30, ..TrainingConfig::default() };
    let wild = wild.check().unwrap();
    let error = train(&rows, &rows, Objective::plain(), &wild, &Streams::new(1)).unwrap_err();
    assert!(matches!(error, DecisionError::Diverged { epoch: 1, .. }), "{error}");

    let refused = |config: TrainingConfig| config.check().unwrap_err().to_string();
    let config = TrainingConfig { batch: 0, ..TrainingConfig::default() };
    assert_eq!(refused(config), "TrainingConfig.batch = 0: allowed is at least 1");
    let config = TrainingConfig { learning_rate: f64::NAN, ..TrainingConfig::default() };
    assert!(refused(config).starts_with("TrainingConfig.learning_rate = NaN"));
    let hidden = Architecture::Dense { hidden: vec![3, 0] };
    let config = TrainingConfig { architecture: hidden, ..TrainingConfig::default() };
    assert!(refused(config).starts_with("TrainingConfig.architecture = 0: allowed is widths in"));
    // What a config claims is checked before anything is allocated by it.
    let images = |side, channels| Architecture::Convolutional { side, channels };
    for (architecture, shown) in [
        (Architecture::Dense { hidden: vec![usize::MAX] }, usize::MAX),
        (Architecture::Dense { hidden: vec![1; 1000] }, 1000),
        (images(usize::MAX, vec![2]), usize::MAX),
        (images(4, vec![1 << 40]), 1 << 40),
    ] {
        let text = refused(TrainingConfig { architecture, ..TrainingConfig::default() });
        assert!(text.starts_with(&format!("TrainingConfig.architecture = {shown}: ")), "{text}");
    }
    let config = TrainingConfig { epochs: usize::MAX, ..TrainingConfig::default() };
    assert!(refused(config).ends_with("allowed is 1 to 1000000"));
    // Single precision has no such rates: one would learn nothing, the other ends in NaN.
    for learning_rate in [1e-60, 1e60] {
        let text = refused(TrainingConfig { learning_rate, ..TrainingConfig::default() });
        assert!(text.contains("learning_rate") && text.contains("3.4e38"), "{text}");
    }
    let training = TrainingConfig::default().check().unwrap();
    for (focusing, share, named) in [
        (f64::NAN, 0.25, "focusing = NaN"),
        (-1.0, 0.25, "focusing = -1"),
        (2.0, f64::NAN, "share = NaN"),
        (2.0, 1.0, "share = 1"),
    ] {
        let focal = Objective::Focal { focusing, share };
        let error = train(&rows, &rows, focal, &training, &Streams::new(1)).unwrap_err();
        assert!(text(error.clone()).starts_with(&format!("Objective::Focal.{named}")), "{error}");
    }
    let error = text(Examples::new(vec![], usize::MAX / 2 + 1, vec![true, false]).unwrap_err());
    assert!(error.starts_with("0 features for 2 rows"), "{error}");
    let mut rng = Streams::new(1).stream("split", &[]);
    let error = Split::stratified(rows.positive(), [usize::MAX; 4], 0.5, &mut rng).unwrap_err();
    assert!(matches!(error, DecisionError::TooFewRows { found: 1..=400, .. }), "{error}");

    let refused = |config: ComparisonConfig| config.check().unwrap_err().to_string();
    let config = ComparisonConfig { shares: [0.5, 0.3, 0.2], ..ComparisonConfig::default() };
    assert!(refused(config).starts_with("ComparisonConfig.shares = [0.5, 0.3, 0.2]"));
    let config = ComparisonConfig { positive_weight: 0.0, ..ComparisonConfig::default() };
    assert!(refused(config).starts_with("ComparisonConfig.positive_weight = 0"));
    let config = ComparisonConfig { seeds: 1, ..ComparisonConfig::default() };
    assert!(refused(config).starts_with("ComparisonConfig.seeds = 1"));
    let config = ComparisonConfig { seeds: usize::MAX, ..ComparisonConfig::default() };
    assert!(refused(config).starts_with("ComparisonConfig.seeds = 18446744073709551615"));
    for positive_weight in [f64::NAN, f64::INFINITY, 1e-320, 1e308, 1e12, 1e-12] {
        let config = ComparisonConfig { positive_weight, ..ComparisonConfig::default() };
        assert!(refused(config).starts_with("ComparisonConfig.positive_weight = "));
    }
}

#[test]
fn a_feature_that_is_all_but_constant_is_not_blown_up() {
    // The mean of 10 times 0.1 in single precision is not quite 0.1.
    let features = [vec![0.1_f32; 10], vec![0.7]].concat();
    let positive = (0..11).map(|at| at % 2 == 0).collect();
    let rows = Examples::new(features, 1, positive).unwrap();
    let train: Vec<usize> = (0..10).collect();
    assert_eq!(rows.standardised(&train).features(), [0.0; 11]);
    let varied = rows.standardised(&[0, 10]);
    assert!(
        (varied.features()[0] + 1.0).abs() < 1e-6 && (varied.features()[10] - 1.0).abs() < 1e-6
    );
}

#[test]
fn a_comparison_pairs_arms_and_says_which_wins_with_its_interval() {
    let rows = noisy(7);
    let training = TrainingConfig { epochs: 4, ..TrainingConfig::default() };
    let config = |positive_weight: f64, negative_weight: f64| ComparisonConfig {
        positive_weight,
        negative_weight,
        seeds: 4,
        training: training.clone(),
        ..ComparisonConfig::default()
    };
    let run = |config: ComparisonConfig| {
        compare(&rows, &config.check().unwrap(), &Streams::new(9)).unwrap()
    };
    // Equal weights are one objective: the arms are the same.
    let equal = run(config(1.0, 1.0));
    assert_eq!((equal.loss.estimate, equal.auc.estimate, equal.winner), (0.0, 0.0, None));
    assert!((equal.incentive - 1.0).abs() < 1e-12);
    let unequal = run(config(9.0, 1.0));
    assert_eq!((unequal.seeds.len(), unequal.loss.n), (4, 4));
    assert!(unequal.incentive < 1.0, "balanced classes: {}", unequal.incentive);
    let mean = unequal.seeds.iter().map(|s| s.weighted.loss - s.ex_post.loss).sum::<f64>() / 4.0;
    assert!((unequal.loss.estimate - mean).abs() < 1e-12 && unequal.loss.estimate != 0.0);
    let parts = unequal.learning.estimate + unequal.choosing.estimate;
    assert!((parts - unequal.loss.estimate).abs() < 1e-12);
    assert!(unequal.seeds.iter().all(|seed| seed.excess_ratio > 1.0));
    // The unit of the weights is the unit of the result, and nothing else.
    let scaled = run(config(90.0, 10.0));
    assert!((scaled.loss.estimate - 10.0 * unequal.loss.estimate).abs() < 1e-6);
    assert_eq!(scaled.winner, unequal.winner);
}

proptest! {
    #[test]
    fn a_split_has_its_sizes_its_prevalence_and_no_row_twice(
        positives in 20..60usize, negatives in 20..60usize,
        sizes in prop::array::uniform4(2..6usize), prevalence in 0.05..0.95f64, seed: u64,
    ) {
        let positive: Vec<bool> = (0..positives + negatives).map(|row| row % (1 + negatives / positives) == 0).collect();
        let mut rng = Streams::new(seed).stream("split", &[]);
        match Split::stratified(&positive, sizes, prevalence, &mut rng) {
            Ok(split) => {
                let parts = [&split.train, &split.validation, &split.calibration, &split.test];
                let mut all: Vec<usize> = parts.into_iter().flatten().copied().collect();
                let count = all.len();
                all.sort_unstable();
                all.dedup();
                prop_assert_eq!(all.len(), count);
                for (part, size) in parts.into_iter().zip(sizes) {
                    let found = part.iter().filter(|row| positive[**row]).count();
                    prop_assert_eq!(part.len(), size);
                    prop_assert!((found as f64 - prevalence * size as f64).abs() <= 1.0);
                    prop_assert!(found > 0 && found < size);
                }
            }
            Err(error) => prop_assert!(error.to_string().starts_with("the split takes "), "{error}"),
        }
    }
}
