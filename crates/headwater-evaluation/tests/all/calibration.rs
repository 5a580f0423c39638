//! Calibration metrics against published values, other implementations, and exhaustive enumeration.

use approx::{assert_abs_diff_eq, assert_relative_eq};
use headwater_evaluation::EvaluationError;
use headwater_evaluation::calibration::*;
use proptest::prelude::*;

/// 40 distinct confidences and outcomes from fixed arithmetic; 25 right.
fn example() -> (Vec<f64>, Vec<bool>) {
    let confidence = (0..40).map(|i| f64::from(i * 37 % 101) / 100.0).collect();
    let correct = (0..40).map(|i| (7 * i * i + 3 * i) % 11 < 5).collect();
    (confidence, correct)
}

fn entries() -> impl Strategy<Value = (Vec<f64>, Vec<bool>)> {
    prop::collection::vec((0u32..=20, any::<bool>()), 1..40)
        .prop_map(|v| v.into_iter().map(|(q, c)| (f64::from(q) / 20.0, c)).unzip())
}

#[test]
fn the_published_four_entry_example() {
    // Top bin 0.5 * |0.95 - 0.5|, bin [0.1, 0.2) 0.5 * 0.15.
    let ece = ece_equal_width(&[0.95, 0.95, 0.15, 0.15], &[true, false, false, false], 10).unwrap();
    assert_relative_eq!(ece, 0.30, max_relative = 1e-12);
}

#[test]
fn values_of_other_implementations() {
    let (confidence, correct) = example();
    // scikit-learn 1.9.1: brier_score_loss, roc_auc_score (also on confidences rounded to 0.1).
    assert_relative_eq!(brier(&confidence, &correct).unwrap(), 0.26995, max_relative = 1e-12);
    assert_relative_eq!(auroc(&confidence, &correct).unwrap(), 0.64, max_relative = 1e-12);
    let tied: Vec<f64> = confidence.iter().map(|q| (q * 10.0).round_ties_even() / 10.0).collect();
    assert_relative_eq!(auroc(&tied, &correct).unwrap(), 0.644, max_relative = 1e-12);
    // numpy 2.4.6: digitize on edges b/10 with -inf, inf outside; array_split of the sorted
    // entries.
    let width = ece_equal_width(&confidence, &correct, 10).unwrap();
    assert_relative_eq!(width, 0.3795, max_relative = 1e-12);
    let mass = |bins| ece_equal_mass(&confidence, &correct, bins).unwrap();
    assert_relative_eq!(mass(5), 0.2405, max_relative = 1e-12);
    assert_relative_eq!(mass(6), 0.257, max_relative = 1e-12);
    // Mean of gap² - var(confidence - correct, ddof=1)/n_b over the same parts.
    let debiased = |bins| squared_ece_debiased(&confidence, &correct, bins).unwrap();
    assert_relative_eq!(debiased(5), 0.043_105_714_285_714_28, max_relative = 1e-10);
    assert_relative_eq!(debiased(6), 0.075_238_333_333_333_35, max_relative = 1e-10);
}

#[test]
fn a_confidence_on_an_edge_opens_the_bin_above_it() {
    // For every b/B: the entry at the edge and one just below land in different bins, so their
    // errors, one over- and one under-confident, do not cancel.
    for bins in [3usize, 7, 10, 20, 101] {
        for b in 1..bins {
            let edge = b as f64 / bins as f64;
            let confidence = [edge, edge.next_down()];
            let ece = ece_equal_width(&confidence, &[true, false], bins).unwrap();
            assert_relative_eq!(ece, 0.5, max_relative = 1e-9);
        }
    }
    // The outer edges are inside: 0 and 1 are counted.
    assert_relative_eq!(ece_equal_width(&[0.0, 1.0], &[true, false], 10).unwrap(), 1.0);
}

#[test]
fn equal_mass_bins_split_no_tie() {
    // Two stated confidences, interleaved: bins by count alone would mix them.
    let confidence = [0.9, 0.1, 0.9, 0.1, 0.9, 0.9];
    let correct = [true, false, true, true, false, true];
    // 4/6 * |0.9 - 0.75| + 2/6 * |0.1 - 0.5|
    let expected = 4.0 / 6.0 * 0.15 + 2.0 / 6.0 * 0.4;
    for bins in [2, 3, 6] {
        let ece = ece_equal_mass(&confidence, &correct, bins).unwrap();
        assert_relative_eq!(ece, expected, max_relative = 1e-12);
    }
}

#[test]
fn one_number_is_never_enough() {
    // Constant confidence at the base rate: no calibration error, no information.
    let correct: Vec<bool> = (0..100).map(|i| i % 10 != 0).collect();
    let confidence = vec![accuracy(&correct).unwrap(); 100];
    assert_abs_diff_eq!(ece_equal_width(&confidence, &correct, 10).unwrap(), 0.0, epsilon = 1e-12);
    assert_relative_eq!(auroc(&confidence, &correct).unwrap(), 0.5);
    let parts = brier_decomposition(&confidence, &correct, 10).unwrap();
    assert_abs_diff_eq!(parts.resolution, 0.0, epsilon = 1e-12);
    assert_relative_eq!(parts.total(), 0.09, max_relative = 1e-9);
}

#[test]
fn the_debiased_estimate_is_unbiased_by_enumeration() {
    // Two bins of three; an entry is one of three (confidence, true probability) pairs, equally
    // likely within its bin. Every draw of pairs and outcomes is visited with its probability.
    let types = [[(0.1, 0.3), (0.2, 0.1), (0.4, 0.9)], [(0.6, 0.5), (0.8, 0.9), (0.9, 0.4)]];
    let truth: f64 = types
        .iter()
        .map(|bin| 0.5 * (bin.iter().map(|(q, p)| q - p).sum::<f64>() / 3.0).powi(2))
        .sum();
    let (mut debiased, mut plug_in, mut mass) = (0.0, 0.0, 0.0);
    for draw in 0..6usize.pow(6) {
        let (mut confidence, mut correct, mut weight) = (Vec::new(), Vec::new(), 1.0);
        for entry in 0..6 {
            let choice = draw / 6usize.pow(entry) % 6;
            let (q, p) = types[entry as usize / 3][choice / 2];
            let right = choice % 2 == 1;
            confidence.push(q);
            correct.push(right);
            weight *= if right { p } else { 1.0 - p } / 3.0;
        }
        // Ties may move the border between equal-mass bins: keep the two bins apart by taking each
        // alone.
        for half in [0..3, 3..6] {
            let (q, c) = (&confidence[half.clone()], &correct[half]);
            debiased += weight * 0.5 * squared_ece_debiased(q, c, 1).unwrap();
            plug_in += weight * 0.5 * ece_equal_width(q, c, 1).unwrap().powi(2);
        }
        mass += weight;
    }
    assert_relative_eq!(mass, 1.0, max_relative = 1e-9);
    assert_relative_eq!(debiased, truth, max_relative = 1e-9);
    assert!(plug_in > 2.0 * truth, "the plug-in should be badly biased here: {plug_in} {truth}");
}

#[test]
fn reliability_points_carry_counts_and_intervals() {
    let curve =
        reliability_curve(&[0.05, 0.95, 0.91, 1.0], &[false, true, false, true], 10, 0.95).unwrap();
    assert_eq!(curve.len(), 2);
    assert_eq!((curve[0].low, curve[0].high, curve[0].accuracy.n), (0.0, 0.1, 1));
    assert_eq!((curve[1].low, curve[1].high, curve[1].accuracy.n), (0.9, 1.0, 3));
    assert_relative_eq!(curve[1].accuracy.estimate, 2.0 / 3.0, max_relative = 1e-12);
    assert_relative_eq!(curve[1].mean_confidence, 2.86 / 3.0, max_relative = 1e-12);
    assert!(curve[1].accuracy.low < 0.3 && curve[1].accuracy.high < 1.0);
}

#[test]
fn bad_input_is_named() {
    let error = brier(&[0.5, 1.5], &[true, true]).unwrap_err();
    assert_eq!(error.to_string(), "`confidence[1]` = 1.5: allowed is a number in [0, 1]");
    let error = ece_equal_width(&[0.5], &[true, true], 10).unwrap_err();
    assert_eq!(error.to_string(), "`confidence` has 1 entries but `correct` has 2");
    for bins in [0, MOST_BINS + 1, usize::MAX] {
        let refused = [
            ece_equal_width(&[0.5], &[true], bins).unwrap_err(),
            ece_equal_mass(&[0.5], &[true], bins).unwrap_err(),
            squared_ece_debiased(&[0.5, 0.5], &[true, true], bins).unwrap_err(),
            brier_decomposition(&[0.5], &[true], bins).unwrap_err(),
            reliability_curve(&[0.5], &[true], bins, 0.95).unwrap_err(),
        ];
        for error in refused {
            let message = error.to_string();
            assert!(message.ends_with("allowed is an integer in 1..=100000"), "{message}");
        }
    }
    assert_relative_eq!(ece_equal_width(&[0.5], &[true], MOST_BINS).unwrap(), 0.5);
    assert!(ece_equal_mass(&[f64::NAN], &[true], 10).is_err());
    assert!(accuracy(&[]).is_err());
    assert!(squared_ece_debiased(&[0.5], &[true], 1).is_err());
    assert!(matches!(
        auroc(&[0.1, 0.2], &[true, true]),
        Err(EvaluationError::OneClass { value: true, count: 2, .. })
    ));
    assert!(auroc(&[0.1, f64::INFINITY], &[true, false]).is_err());
}

proptest! {
    #[test]
    fn auroc_equals_the_share_of_pairs((score, positive) in entries()) {
        let mut won = Vec::new();
        for i in 0..score.len() {
            for j in 0..score.len() {
                if positive[i] && !positive[j] {
                    let tie = f64::from(u8::from(score[i] == score[j])) / 2.0;
                    won.push(f64::from(u8::from(score[i] > score[j])) + tie);
                }
            }
        }
        match auroc(&score, &positive) {
            Ok(found) => {
                let expected = won.iter().sum::<f64>() / won.len() as f64;
                prop_assert!((found - expected).abs() < 1e-12);
                // Any increasing transformation leaves it as it is.
                let cubed: Vec<f64> = score.iter().map(|s| s.powi(3) - 7.0).collect();
                prop_assert_eq!(auroc(&cubed, &positive).unwrap(), found);
            }
            Err(_) => prop_assert!(won.is_empty()),
        }
    }

    #[test]
    fn the_decomposition_sums_to_the_brier_score((q, c) in entries(), bins in 1usize..30) {
        let parts = brier_decomposition(&q, &c, bins).unwrap();
        prop_assert!((parts.total() - brier(&q, &c).unwrap()).abs() < 1e-12);
        prop_assert!(parts.reliability >= 0.0 && parts.resolution >= 0.0);
    }

    #[test]
    fn metrics_do_not_depend_on_the_order_of_entries((q, c) in entries(), bins in 1usize..12) {
        let reversed_q: Vec<f64> = q.iter().rev().copied().collect();
        let reversed_c: Vec<bool> = c.iter().rev().copied().collect();
        for metric in [ece_equal_width, ece_equal_mass] {
            let (forward, backward) =
                (metric(&q, &c, bins).unwrap(), metric(&reversed_q, &reversed_c, bins).unwrap());
            prop_assert!((forward - backward).abs() < 1e-12);
            prop_assert!((0.0..=1.0).contains(&forward));
        }
    }

    #[test]
    fn one_bin_shows_the_bias_of_the_mean_and_more_bins_no_less((q, c) in entries()) {
        let mean = q.iter().sum::<f64>() / q.len() as f64;
        let gap = (mean - accuracy(&c).unwrap()).abs();
        prop_assert!((ece_equal_width(&q, &c, 1).unwrap() - gap).abs() < 1e-12);
        prop_assert!((ece_equal_mass(&q, &c, 1).unwrap() - gap).abs() < 1e-12);
        // Splitting bins cannot lower the sum of absolute gaps (triangle inequality).
        let (coarse, fine) =
            (ece_equal_width(&q, &c, 5).unwrap(), ece_equal_width(&q, &c, 20).unwrap());
        prop_assert!(gap <= coarse + 1e-12 && coarse <= fine + 1e-12);
    }

    #[test]
    fn honest_confidence_minimises_the_expected_brier_score(p in 0.0f64..=1.0, q in 0.0f64..=1.0) {
        let expected = |q: f64| {
            p * brier(&[q], &[true]).unwrap() + (1.0 - p) * brier(&[q], &[false]).unwrap()
        };
        prop_assert!(expected(p) <= expected(q) + 1e-15);
    }
}

#[test]
fn brier_over_classes() {
    let rows = [
        [0.7, 0.2, 0.1],
        [0.1, 0.5, 0.4],
        [0.0, 0.0, 1.0],
        [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0],
        [0.25, 0.6, 0.15],
    ];
    // scikit-learn 1.9.1: brier_score_loss with scale_by_half=False.
    let found = brier_classes(&rows, &[0, 2, 2, 1, 0]).unwrap();
    assert_relative_eq!(found, 0.474_333_333_333_333_33, max_relative = 1e-12);
    // Of two classes it is twice the score of one event.
    let (confidence, correct) = ([0.9, 0.2, 0.5], [true, true, false]);
    let two = confidence.map(|q| [1.0 - q, q]);
    let found = brier_classes(&two, &correct.map(usize::from)).unwrap();
    assert_relative_eq!(found, 2.0 * brier(&confidence, &correct).unwrap(), max_relative = 1e-12);
    // The worst there is, and a constant that says nothing.
    assert_eq!(brier_classes(&[[1.0, 0.0, 0.0]], &[2]).unwrap(), 2.0);
    assert_relative_eq!(brier_classes(&[[0.25; 4]], &[1]).unwrap(), 0.75, max_relative = 1e-12);

    let text =
        |rows: &[Vec<f64>], class: &[usize]| brier_classes(rows, class).unwrap_err().to_string();
    let good = vec![0.5, 0.5];
    assert_eq!(
        text(&[good.clone(), vec![0.9, 0.2]], &[0, 0]),
        "`probability[1]`: `sum of probability` = 1.1: allowed is 1 within 1e-3"
    );
    assert_eq!(
        text(&[good.clone(), good.clone()], &[0, 2]),
        "`probability[1]`: `class` = 2: allowed is an integer below the number of classes"
    );
    assert!(text(&[good.clone(), vec![1.0]], &[0, 0]).starts_with("`probability[1]`: `classes`"));
    assert!(text(&[vec![f64::NAN, 1.0]], &[0]).contains("`row[0]` = NaN"));
    assert!(text(&[], &[]).contains("`probability` has 0"));
    assert!(text(&[good], &[0, 1]).contains("`class` has 2"));
}
