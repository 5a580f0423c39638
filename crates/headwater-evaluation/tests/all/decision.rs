//! Weighted losses and decisions: golden values, numeric derivatives, and what must hold for all weights.

use approx::assert_relative_eq;
use headwater_evaluation::decision::{
    ClassWeights, at_base_rate, cost_threshold, log_loss, logit, sigmoid, softplus,
};
use headwater_evaluation::decision_classes::{
    adjusted_logits, best_action, prior_adjusted_logits, residual_curvature, residual_loss,
    weighted_prediction,
};
use headwater_evaluation::recalibration::{Isotonic, Scored, decision_scores};
use proptest::prelude::*;

#[test]
fn the_incentive_ratio_has_the_tabulated_values() {
    // Each row: b, and rho at q = .01, .05, .07, .2, .5, .8, rounded to two digits after the point.
    let posteriors = [0.01, 0.05, 0.07, 0.2, 0.5, 0.8];
    let table =
        [(0.9, [1.67, 1.29, 1.15, 0.69, 0.36, 0.24]), (0.1, [0.20, 0.21, 0.21, 0.24, 0.36, 0.69])];
    for (b, row) in table {
        let weights = ClassWeights::mean_one(b).unwrap();
        for (q, expected) in posteriors.into_iter().zip(row) {
            let rho = weights.incentive_ratio(q).unwrap();
            assert!((rho - expected).abs() <= 5.1e-3, "b {b}, q {q}: {rho} for {expected}");
        }
    }
    let weights = ClassWeights::mean_one(0.99).unwrap();
    for (q, expected) in posteriors.into_iter().zip([1.00, 0.34, 0.25, 0.10, 0.04, 0.025]) {
        assert!((weights.incentive_ratio(q).unwrap() - expected).abs() <= 5.1e-3);
    }
}

#[test]
fn a_shift_a_threshold_and_a_loss_by_hand() {
    let weights = ClassWeights::new(1.0, 4.0).unwrap();
    assert_relative_eq!(weights.shift(), 4f64.ln());
    assert_relative_eq!(weights.threshold(), 0.2);
    // 4 * 0.5 / (4 * 0.5 + 0.5).
    assert_relative_eq!(weights.prediction(0.5).unwrap(), 0.8);
    assert_relative_eq!(weights.posterior(0.8).unwrap(), 0.5);
    // p = 1/2 twice: (4 ln 2 + ln 2) / 2.
    let loss = weights.log_loss(&[0.0, 0.0], &[true, false]).unwrap();
    assert_relative_eq!(loss, 2.5 * 2f64.ln());
    // A missed positive, a false alarm, and two that are right.
    let cost = weights.cost(&[-1.0, 1.0, 1.0, -1.0], &[true, false, true, false]).unwrap();
    assert_relative_eq!(cost, 5.0 / 4.0);
    // The weights that balance 10% positives give both classes the same total.
    let balancing = ClassWeights::balancing(0.1).unwrap();
    assert_relative_eq!(0.1 * balancing.positive(), 0.9 * balancing.negative());
}

#[test]
fn the_logistic_function_and_its_integral_are_right_far_out() {
    // Decimal arithmetic of 60 digits.
    for (z, p, area) in [
        (-700.0, 9.859_676_543_759_77e-305, 9.859_676_543_759_77e-305),
        (-40.0, 4.248_354_255_291_589e-18, 4.248_354_255_291_589e-18),
        (-1.5, 0.182_425_523_806_356_34, 0.201_413_277_982_752_46),
        (0.0, 0.5, 2.0_f64.ln()),
        (1.5, 0.817_574_476_193_643_7, 1.701_413_277_982_752_5),
        (40.0, 1.0, 40.0),
        (700.0, 1.0, 700.0),
    ] {
        assert_relative_eq!(sigmoid(z), p, max_relative = 4e-16);
        assert_relative_eq!(softplus(z), area, max_relative = 4e-16);
        assert_eq!((log_loss(z, false), log_loss(-z, true)), (softplus(z), softplus(z)));
    }
    assert_eq!((sigmoid(f64::NEG_INFINITY), sigmoid(f64::INFINITY)), (0.0, 1.0));
    assert_eq!((softplus(f64::NEG_INFINITY), softplus(f64::INFINITY)), (0.0, f64::INFINITY));
    assert!(sigmoid(f64::NAN).is_nan() && softplus(f64::NAN).is_nan());
}

#[test]
fn the_threshold_of_a_cost_matrix_and_a_change_of_base_rate_by_hand() {
    // Unequal costs of mistakes only: w_0 / (w_0 + w_1).
    assert_relative_eq!(cost_threshold([[0.0, 4.0], [1.0, 0.0]]).unwrap(), 0.2);
    // (3 - 1) / (3 - 1 + 10 - 2).
    assert_relative_eq!(cost_threshold([[1.0, 10.0], [3.0, 2.0]]).unwrap(), 0.2);
    let error = cost_threshold([[1.0, 10.0], [1.0, 2.0]]).unwrap_err().to_string();
    assert!(error.starts_with("`costs[1][0] - costs[0][0]` = 0: allowed is"), "{error}");
    // Elkan's form: p' = b' (p - p b) / (b - p b + b' p - b b').
    let (p, b, to) = (0.3, 0.2, 0.6);
    let expected = to * (p - p * b) / (b - p * b + to * p - b * to);
    assert_relative_eq!(at_base_rate(p, b, to).unwrap(), expected, max_relative = 1e-12);
    assert!(at_base_rate(p, 0.0, to).unwrap_err().to_string().contains("`from` = 0"));
}

#[test]
fn numbers_at_the_edge_of_the_format_are_refused_or_right() {
    let weights = ClassWeights::new(1e-100, 1e100).unwrap();
    for q in [0.0, 1e-300, 0.5, 1.0] {
        let p = weights.prediction(q).unwrap();
        assert!((0.0..=1.0).contains(&p), "{q} {p}");
        assert!(weights.incentive_ratio(q).unwrap().is_finite());
        assert!(weights.excess_ratio(&[q, 0.25]).unwrap().is_finite());
    }
    for weight in [f64::NAN, f64::INFINITY, 1e-200, 1e200, -0.0] {
        assert!(ClassWeights::new(1.0, weight).is_err() && ClassWeights::new(weight, 1.0).is_err());
    }
    assert!(ClassWeights::new(1.0, 1e100).unwrap().log_loss(&[-1e300], &[true]).is_err());
    assert!(cost_threshold([[-1e308, 1.0], [1e308, 0.0]]).is_err());
    // However rare a class is, its rate divides nothing.
    assert_relative_eq!(at_base_rate(0.5, 1e-300, 0.5).unwrap(), 1.0, max_relative = 1e-12);
    assert_relative_eq!(at_base_rate(0.5, 0.5, 1e-300).unwrap(), 1e-300, max_relative = 1e-12);

    let wide = [1e308, 1e308];
    assert!(weighted_prediction(&[1e-320, 1e-320], &[1e-10, 1.0 - 1e-10]).is_ok());
    assert!(weighted_prediction(&[1e-320, 1e-320], &[0.5, 0.5]).is_ok());
    assert!(residual_loss(&wide, &[0.5, 0.5]).is_err());
    assert!(residual_curvature(&wide, &[0.5, 0.5]).is_err());
    assert!(prior_adjusted_logits(&[1e-300, 1.0], &[0.0, 0.0], 1e308).is_err());
    assert_eq!(residual_loss(&[3.0], &[1.0]).unwrap().to_bits(), 0.0_f64.to_bits());
}

#[test]
fn isotonic_steps_lie_between_neighbouring_and_between_huge_scores() {
    let (low, high) = (1.0, 1.0_f64.next_up());
    let scores = [[low; 20], [high; 20]].concat();
    let positive: Vec<bool> = (0..40).map(|row| row >= 20).collect();
    let map = Isotonic::fit(&scores, &positive).unwrap();
    assert!(map.probability(low) < 0.1 && map.probability(high) > 0.9);
    let huge = scores.iter().map(|score| if *score == low { 1e308 } else { 1.7e308 });
    let map = Isotonic::fit(&huge.collect::<Vec<f64>>(), &positive).unwrap();
    assert!(map.probability(1e308) < 0.1 && map.probability(1.7e308) > 0.9);
    assert!(map.probability(f64::NAN).is_nan());
}

#[test]
fn arguments_out_of_range_are_named() {
    let text = |error: headwater_evaluation::EvaluationError| error.to_string();
    let error = text(ClassWeights::new(1.0, 0.0).unwrap_err());
    assert_eq!(error, "`positive` = 0: allowed is a number in [1e-100, 1e100]");
    assert!(text(ClassWeights::mean_one(1.0).unwrap_err()).starts_with("`share` = 1"));
    let weights = ClassWeights::mean_one(0.9).unwrap();
    assert!(text(weights.incentive_ratio(1.5).unwrap_err()).starts_with("`q` = 1.5"));
    assert!(text(weights.expected_incentive(&[0.1, -0.1]).unwrap_err()).starts_with("`q[1]`"));
    assert!(text(weights.expected_curvature_ratio(&[0.0, 1.0]).unwrap_err()).contains("q (1 - q)"));
    assert!(weights.log_loss(&[], &[]).is_err() && weights.cost(&[1.0], &[]).is_err());
    assert!(weights.log_loss(&[f64::NAN], &[true]).is_err());
    let error = text(best_action(&[vec![0.0, 0.0], vec![1.0]], &[0.5, 0.5]).unwrap_err());
    assert_eq!(error, "`utilities[1]`: `posterior` has 2 entries but `row` has 1");
    assert!(weighted_prediction(&[1.0, 1.0], &[0.5, 0.6]).is_err());
}

#[test]
fn pooling_by_hand() {
    // With a positive added below and a negative above, by score: (+ -) + - + (+ -). Rates 1/2, then 1/2 (+ -),
    // then 2/3 (+ + -): the first two are equal and pooled.
    let scores = [1.0, 2.0, 3.0, 4.0, 5.0];
    let positive = [false, true, false, true, true];
    let map = Isotonic::fit(&scores, &positive).unwrap();
    assert_eq!(map.steps(), 2);
    for (score, expected) in [(-9.0, 0.5), (3.4, 0.5), (3.6, 2.0 / 3.0), (9.0, 2.0 / 3.0)] {
        assert_relative_eq!(map.probability(score), expected);
    }
    // Equal scores are one block before neighbours are compared: here 1/3 (the added positive among them), then 3/4.
    let scores = [1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0];
    let positive = [false, false, false, true, true, true, true, true];
    let map = Isotonic::fit(&scores, &positive).unwrap();
    // 2/3 at 3, with the added negative, is below 3/4: pooled to 5/7.
    for (score, expected) in [(1.0, 1.0 / 3.0), (2.0, 5.0 / 7.0), (3.0, 5.0 / 7.0)] {
        assert_relative_eq!(map.probability(score), expected);
    }
    let tied = Isotonic::fit(&[0.0, 0.0, 0.0], &[true, false, true]).unwrap();
    assert_eq!((tied.steps(), tied.probability(0.0)), (1, 3.0 / 5.0));
}

#[test]
fn a_wrong_shift_is_a_choosing_loss_and_a_lost_ranking_a_learning_loss() {
    // Posteriors on a grid, each with exactly its share of positives.
    let weights = ClassWeights::mean_one(0.9).unwrap();
    let (mut logits, mut positive) = (Vec::new(), Vec::new());
    for step in 1..20 {
        for at in 0..20 {
            logits.push(logit(f64::from(step) / 20.0).unwrap() + weights.shift());
            positive.push(at < step);
        }
    }
    let scores = |logits: &[f64]| {
        let rows = Scored { logits, positive: &positive };
        decision_scores(weights, rows, rows).unwrap()
    };
    let right = scores(&logits);
    assert!(right.choosing.abs() < 0.02 * right.loss, "{right:?}");
    let unshifted: Vec<f64> = logits.iter().map(|z| z - weights.shift()).collect();
    let wrong = scores(&unshifted);
    assert!(wrong.choosing > 0.2 * right.loss, "{wrong:?}");
    assert_relative_eq!(wrong.learning, right.learning, max_relative = 1e-12);
    assert_relative_eq!(wrong.auc, right.auc);
    let constant = scores(&vec![weights.shift(); logits.len()]);
    assert!(constant.learning > 1.2 * right.learning && constant.auc == 0.5, "{constant:?}");
}

fn weights() -> impl Strategy<Value = ClassWeights> {
    (0.05..5.0f64, 0.05..5.0f64)
        .prop_map(|(n, p)| ClassWeights::new(n, p).expect("positive weights"))
}

proptest! {
    #[test]
    fn the_prediction_minimises_the_weighted_loss_and_comes_back(w in weights(), q in 0.01..0.99f64) {
        let p = w.prediction(q).unwrap();
        prop_assert!((w.posterior(p).unwrap() - q).abs() < 1e-12);
        prop_assert!((sigmoid(logit(q).unwrap() + w.shift()) - p).abs() < 1e-12);
        let expected = |p: f64| -(w.positive() * q * p.ln() + w.negative() * (1.0 - q) * (1.0 - p).ln());
        prop_assert!((expected(p) - w.residual_loss(q).unwrap()).abs() < 1e-10);
        for other in [0.9 * p, p + 0.1 * (1.0 - p)] {
            prop_assert!(expected(other) > expected(p));
        }
        // Acting by the shifted logit is acting by the threshold on q, and by the utilities.
        let utilities = [[0.0, -w.positive()], [-w.negative(), 0.0]];
        let acts = p > 0.5;
        prop_assume!((p - 0.5).abs() > 1e-9);
        prop_assert_eq!(acts, q > w.threshold());
        prop_assert_eq!(acts, best_action(&utilities, &[1.0 - q, q]).unwrap() == 1);
        let by_cost = cost_threshold([[0.0, w.positive()], [w.negative(), 0.0]]).unwrap();
        prop_assert!((by_cost - w.threshold()).abs() < 1e-12);
    }

    #[test]
    fn the_incentive_ratio_is_that_of_second_derivatives(w in weights(), q in 0.05..0.95f64) {
        let even = ClassWeights::new(1.0, 1.0).unwrap();
        let second = |w: ClassWeights| {
            let h = 1e-4;
            let v = |q: f64| w.residual_loss(q).unwrap();
            (v(q + h) - 2.0 * v(q) + v(q - h)) / (h * h)
        };
        let rho = w.incentive_ratio(q).unwrap();
        prop_assert!((second(w) / second(even) - rho).abs() < 1e-3 * rho);
        prop_assert!((even.incentive_ratio(q).unwrap() - 1.0).abs() < 1e-12);
        // In units of the logit: the expected loss around its minimum.
        let loss = |z: f64| {
            let z = z + logit(q).unwrap() + w.shift();
            q * w.positive() * log_loss(z, true) + (1.0 - q) * w.negative() * log_loss(z, false)
        };
        let h = 1e-3;
        let curvature = (loss(h) - 2.0 * loss(0.0) + loss(-h)) / (h * h);
        prop_assert!((curvature - rho * q * (1.0 - q)).abs() < 1e-4 * curvature);
    }

    #[test]
    fn mean_one_weights_reward_no_learning_on_balanced_classes(
        b in 0.01..0.99f64, q in prop::collection::vec(0.0..=1.0f64, 1..20),
    ) {
        // Each posterior with its mirror image: prevalence one half.
        let w = ClassWeights::mean_one(b).unwrap();
        let q: Vec<f64> = q.iter().flat_map(|q| [*q, 1.0 - q]).collect();
        prop_assert!(w.expected_incentive(&q).unwrap() <= 1.0 + 1e-12);
        if let Ok(ratio) = w.expected_curvature_ratio(&q) {
            prop_assert!(ratio <= 1.0 + 1e-12);
        }
    }

    #[test]
    fn the_excess_ratio_is_at_least_one_whatever_the_scale_and_that_of_a_sandwich(
        w in weights(), q in prop::collection::vec(0.02..0.98f64, 1..20), scale in 0.1..10.0f64,
    ) {
        let ratio = w.excess_ratio(&q).unwrap();
        prop_assert!(ratio >= 1.0 - 1e-12);
        let scaled = ClassWeights::new(scale * w.negative(), scale * w.positive()).unwrap();
        prop_assert!((scaled.excess_ratio(&q).unwrap() - ratio).abs() < 1e-9 * ratio);
        // One common shift of all logits is the direction to be learnt: from the losses themselves.
        let (mut hessian, mut variance, mut plain) = (0.0, 0.0, 0.0);
        for q in &q {
            let p = w.prediction(*q).unwrap();
            hessian += (w.positive() * q + w.negative() * (1.0 - q)) * p * (1.0 - p);
            variance += q * (w.positive() * (1.0 - p)).powi(2);
            variance += (1.0 - q) * (w.negative() * p).powi(2);
            plain += q * (1.0 - q);
        }
        let expected = (variance / hessian) / (hessian / plain);
        prop_assert!((ratio - expected).abs() < 1e-9 * expected);
    }

    #[test]
    fn two_classes_are_a_case_of_many(w in weights(), q in 0.05..0.95f64) {
        let (many, posterior) = ([w.negative(), w.positive()], [1.0 - q, q]);
        let p = weighted_prediction(&many, &posterior).unwrap();
        prop_assert!((p[1] - w.prediction(q).unwrap()).abs() < 1e-12);
        let residual = residual_loss(&many, &posterior).unwrap();
        prop_assert!((residual - w.residual_loss(q).unwrap()).abs() < 1e-12);
        let z = adjusted_logits(&many, &[0.0, logit(q).unwrap()]).unwrap();
        prop_assert!((sigmoid(z[1] - z[0]) - p[1]).abs() < 1e-12);
        let priors = [0.3, 0.7];
        let adjusted = prior_adjusted_logits(&priors, &[0.5, 1.5], 1.0).unwrap();
        let inverse = adjusted_logits(&[1.0 / 0.3, 1.0 / 0.7], &[0.5, 1.5]).unwrap();
        for (a, b) in adjusted.iter().zip(&inverse) {
            prop_assert!((a - b).abs() < 1e-12);
        }
        // Along (-1, 1), the direction in which q moves.
        let h = residual_curvature(&many, &posterior).unwrap();
        let along = h[0][0] - h[0][1] - h[1][0] + h[1][1];
        let expected = -w.incentive_ratio(q).unwrap() / (q * (1.0 - q));
        prop_assert!((along - expected).abs() < 1e-9 * expected.abs());
    }

    #[test]
    fn the_curvature_of_three_classes_is_the_numeric_one(
        w in prop::array::uniform3(0.1..4.0f64), a in 0.1..0.5f64, b in 0.1..0.4f64,
        d in prop::array::uniform2(-1.0..1.0f64),
    ) {
        let posterior = |t: f64| [a + t * d[0], b + t * d[1], 1.0 - a - b - t * (d[0] + d[1])];
        let h = residual_curvature(&w, &posterior(0.0)).unwrap();
        let direction = [d[0], d[1], -d[0] - d[1]];
        let along: f64 =
            (0..3).map(|i| (0..3).map(|j| direction[i] * h[i][j] * direction[j]).sum::<f64>()).sum();
        let (v, step) = (|t: f64| residual_loss(&w, &posterior(t)).unwrap(), 1e-4);
        let numeric = (v(step) - 2.0 * v(0.0) + v(-step)) / (step * step);
        prop_assert!((along - numeric).abs() < 1e-3 * (1.0 + along.abs()), "{along} {numeric}");
    }

    #[test]
    fn an_isotonic_map_is_monotone_inside_the_unit_interval_and_no_worse_than_any_constant(
        rows in prop::collection::vec((-3.0..3.0f64, any::<bool>()), 1..60),
    ) {
        let (scores, positive): (Vec<f64>, Vec<bool>) = rows.into_iter().unzip();
        let map = Isotonic::fit(&scores, &positive).unwrap();
        let values: Vec<f64> = (-40..=40).map(|z| map.probability(f64::from(z) / 10.0)).collect();
        prop_assert!(values.iter().all(|p| *p > 0.0 && *p < 1.0) && values.is_sorted());
        // Least squares over the rows and the two that are added.
        let outcome = |p: bool| f64::from(u8::from(p));
        let error = |f: &dyn Fn(f64) -> f64| {
            let low = scores.iter().copied().fold(f64::INFINITY, f64::min);
            let high = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let rows = scores.iter().zip(&positive).map(|(s, p)| (f(*s) - outcome(*p)).powi(2));
            rows.sum::<f64>() + (f(low) - 1.0).powi(2) + f(high).powi(2)
        };
        let fitted = error(&|s| map.probability(s));
        for constant in [0.1, 0.3, 0.5, 0.7, 0.9] {
            prop_assert!(fitted <= error(&|_| constant) + 1e-9);
        }
    }

    #[test]
    fn rows_may_come_in_any_order_and_fitting_what_was_fitted_changes_nothing(
        rows in prop::collection::vec((0..6u8, any::<bool>()), 1..60), by in 0..60usize,
    ) {
        let of = |rows: &[(u8, bool)]| {
            let scores: Vec<f64> = rows.iter().map(|(score, _)| f64::from(*score)).collect();
            let positive: Vec<bool> = rows.iter().map(|(_, positive)| *positive).collect();
            (Isotonic::fit(&scores, &positive).unwrap(), scores, positive)
        };
        let (map, scores, positive) = of(&rows);
        let mut turned = rows.clone();
        turned.rotate_left(by % rows.len());
        prop_assert_eq!(&of(&turned).0, &map);
        let fitted: Vec<f64> = scores.iter().map(|score| map.probability(*score)).collect();
        let again = Isotonic::fit(&fitted, &positive).unwrap();
        for fitted in fitted {
            prop_assert!((again.probability(fitted) - fitted).abs() < 1e-12);
        }
    }

    #[test]
    fn an_increasing_map_changes_neither_auc_nor_learning_loss(
        rows in prop::collection::vec((-3.0..3.0f64, any::<bool>()), 4..60),
        slope in 0.2..5.0f64, offset in -2.0..2.0f64,
    ) {
        let (scores, positive): (Vec<f64>, Vec<bool>) = rows.into_iter().unzip();
        prop_assume!(positive.iter().any(|p| *p) && positive.iter().any(|p| !*p));
        let w = ClassWeights::mean_one(0.8).unwrap();
        let mapped: Vec<f64> = scores.iter().map(|z| slope * z + offset).collect();
        let of = |logits: &[f64]| {
            let rows = Scored { logits, positive: &positive };
            decision_scores(w, rows, rows).unwrap()
        };
        let (before, after) = (of(&scores), of(&mapped));
        prop_assert_eq!(before.auc, after.auc);
        prop_assert!((before.learning - after.learning).abs() < 1e-9);
        prop_assert!((after.learning + after.choosing - after.loss).abs() < 1e-12);
    }
}
