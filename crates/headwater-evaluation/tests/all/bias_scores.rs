//! Probes of scores: a bias of known size is planted in simulated scores and found again.

use crate::simulation::{NOMINAL, assert_coverage, assert_false_alarms, normal, phi, stream};
use approx::assert_abs_diff_eq;
use headwater_core::StreamRng;
use headwater_evaluation::baselines::accuracy_above_factor;
use headwater_evaluation::bias::*;
use headwater_evaluation::{EvaluationError, Interval};
use proptest::prelude::*;
use rand::RngExt;
use rand_distr::{Distribution, Exp1};

fn pair(prompt: usize, chosen: (f64, f64), rejected: (f64, f64)) -> ScoredPair {
    let answer = |(score, factor)| Answer { score, factor };
    ScoredPair { prompt, chosen: answer(chosen), rejected: answer(rejected) }
}

/// 50 prompts of 1 to 5 texts, toggled: the toggle is worth `effect` on average, more for some prompts than for
/// others. The reference is exponential: skewed, of deviation 1.
fn toggled(effect: f64, rng: &mut StreamRng) -> (Vec<f64>, Vec<f64>, Vec<usize>, Vec<f64>) {
    let (mut with, mut without, mut prompts) = (Vec::new(), Vec::new(), Vec::new());
    for prompt in 0..50 {
        let taste = 0.8 * normal(rng);
        for _ in 0..rng.random_range(1..=5) {
            let plain = 3.0 * normal(rng);
            without.push(plain);
            with.push(plain + effect + taste + 0.6 * normal(rng));
            prompts.push(prompt);
        }
    }
    let reference = (0..150).map(|_| Exp1.sample(rng)).collect();
    (with, without, prompts, reference)
}

#[test]
fn a_planted_toggle_effect_is_found_with_its_sign() {
    for effect in [2.0, -0.4] {
        assert_coverage(&format!("toggle {effect}"), 1000, NOMINAL, |rng| {
            let (with, without, prompts, reference) = toggled(effect, rng);
            let found = toggle_effect(&with, &without, &prompts, &reference, 0.95).unwrap();
            // The toggle's own deviation is 1.
            [("effect", found.effect, effect), ("raised", found.raised, phi(effect))]
        });
    }
    let mut ignoring = 0;
    assert_false_alarms("no toggle effect", 1000, |rng| {
        let (with, without, prompts, reference) = toggled(0.0, rng);
        let found = toggle_effect(&with, &without, &prompts, &reference, 0.95).unwrap();
        let alone: Vec<usize> = (0..with.len()).collect();
        let plain = toggle_effect(&with, &without, &alone, &reference, 0.95).unwrap();
        ignoring += u32::from(!plain.effect.contains(0.0));
        [("effect", !found.effect.contains(0.0)), ("raised", !found.raised.contains(0.5))]
    });
    assert!(ignoring > 120, "ignoring the prompts, {ignoring} false alarms of 1000");
}

#[test]
fn a_toggle_by_hand() {
    // Differences 1, 3, -1, 1 in two clusters; reference -1, 1, -1, 1 has s² = 4/3, so s = 1.1547.
    let (with, without) = ([1.0, 3.0, 0.0, 2.0], [0.0, 0.0, 1.0, 1.0]);
    let reference = [-1.0, 1.0, -1.0, 1.0];
    let found = toggle_effect(&with, &without, &[0, 0, 1, 1], &reference, 0.95).unwrap();
    let deviation = (4.0f64 / 3.0).sqrt();
    assert_abs_diff_eq!(found.reference_deviation, deviation, epsilon = 1e-12);
    assert_abs_diff_eq!(found.effect.estimate, 1.0 / deviation, epsilon = 1e-12);
    // Residual sums 2 and -2: se² = 2/1 * 8/16 = 1. Kurtosis 9/16, (n-3)/(n-1) = 1/3: var(s)/s² = 11/768.
    let error = (1.0f64 + 11.0 / 768.0).sqrt() / deviation;
    // t with 1 degree of freedom: tan(0.475 π).
    let reach = (0.475 * std::f64::consts::PI).tan() * error;
    assert_abs_diff_eq!(found.effect.high - found.effect.estimate, reach, epsilon = 1e-8);
    assert_eq!((found.raised.estimate, found.lowered.estimate, found.effect.n), (0.75, 0.25, 2));
    let blind = toggle_effect(&with, &with, &[0, 0, 1, 1], &reference, 0.95).unwrap();
    assert_eq!((blind.effect.low, blind.effect.high, blind.raised.estimate), (0.0, 0.0, 0.0));
}

/// 100 prompts of two pairs that share their prompt's difficulty; either answer carries the factor with
/// probability 1/2, which is worth `pay` to the model. Quality margins are N(0.7, 1) plus noise.
fn paid_pairs(pay: f64, rng: &mut StreamRng) -> Vec<ScoredPair> {
    (0..200)
        .scan(0.0, |ease, index| {
            if index % 2 == 0 {
                *ease = 0.8 * normal(rng);
            }
            let mut answer = |quality: f64| {
                let factor = f64::from(u8::from(rng.random_bool(0.5)));
                (quality + pay * factor + 0.6 / 2f64.sqrt() * normal(rng), factor)
            };
            let (chosen, rejected) = (answer(0.7 + *ease), answer(0.0));
            Some(pair(index / 2, chosen, rejected))
        })
        .collect()
}

#[test]
fn accuracies_by_cell_are_those_that_were_planted() {
    for pay in [0.5, -0.5] {
        assert_coverage(&format!("cells {pay}"), 1000, NOMINAL, |rng| {
            let found = accuracy_by_factor(&paid_pairs(pay, rng), 0.95).unwrap();
            let (easy, hard) = (phi(0.7 + pay), phi(0.7 - pay));
            [
                ("chosen", found.chosen.accuracy.unwrap(), easy),
                ("rejected", found.rejected.accuracy.unwrap(), hard),
                ("both", found.both.accuracy.unwrap(), phi(0.7)),
                ("gap", found.gap.unwrap(), easy - hard),
            ]
        });
    }
    assert_false_alarms("cells", 1000, |rng| {
        let found = accuracy_by_factor(&paid_pairs(0.0, rng), 0.95).unwrap();
        [("gap", !found.gap.unwrap().contains(0.0))]
    });
}

#[test]
fn cells_by_hand() {
    let pairs = [
        pair(0, (2.0, 1.0), (1.0, 0.0)),
        pair(1, (2.0, 5.0), (2.0, 4.0)),
        pair(2, (0.0, 0.0), (1.0, 1.0)),
        pair(3, (3.0, 2.0), (1.0, 2.0)),
        pair(4, (3.0, 0.0), (1.0, 0.0)),
        pair(5, (0.0, 0.0), (1.0, 0.0)),
    ];
    let found = accuracy_by_factor(&pairs, 0.95).unwrap();
    let counts = |cell: Cell| (cell.right, cell.wrong, cell.tied, cell.accuracy.unwrap().estimate);
    assert_eq!(counts(found.chosen), (1, 0, 1, 0.75));
    assert_eq!(counts(found.rejected), (0, 1, 0, 0.0));
    assert_eq!(counts(found.both), (1, 0, 0, 1.0));
    assert_eq!(counts(found.neither), (1, 1, 0, 0.5));
    assert_eq!(found.gap.unwrap().estimate, 0.75);
    let empty = accuracy_by_factor(&pairs[..2], 0.95).unwrap();
    assert_eq!((empty.rejected.accuracy, empty.gap), (None, None));
    let above = accuracy_above_factor(&pairs, 0.95).unwrap();
    // Model 1, 1/2, 0, 1, 1, 0; more 1, 1, 0, 1/2, 1/2, 1/2.
    assert_eq!((above.model.estimate, above.more.estimate), (3.5 / 6.0, 3.5 / 6.0));
    assert_abs_diff_eq!(above.above_less.estimate, 1.0 / 6.0, epsilon = 1e-12);
    assert_abs_diff_eq!(above.above_constant.estimate, 0.5 / 6.0, epsilon = 1e-12);
}

/// 120 prompts of one pair; the better answer has more of the factor with probability 0.65, and scores higher
/// with probability `accuracy`, more often where it has more.
fn blind_pairs(accuracy: f64, rng: &mut StreamRng) -> Vec<ScoredPair> {
    (0..120)
        .map(|prompt| {
            let shared = normal(rng);
            let mut right = |p: f64| phi((shared + normal(rng)) / 2f64.sqrt()) < p;
            let side = |right: bool| if right { (1.0, 0.0) } else { (0.0, 1.0) };
            let (scores, factors) = (side(right(accuracy)), side(right(0.65)));
            pair(prompt, (scores.0, factors.0), (scores.1, factors.1))
        })
        .collect()
}

#[test]
fn a_model_that_is_no_better_than_the_factor_is_seen_to_be() {
    assert_coverage("above factor", 1000, NOMINAL, |rng| {
        let found = accuracy_above_factor(&blind_pairs(0.8, rng), 0.95).unwrap();
        [
            ("model - more", found.above_more, 0.15),
            ("model - less", found.above_less, 0.45),
            ("model - constant", found.above_constant, 0.3),
        ]
    });
    assert_false_alarms("not above factor", 1000, |rng| {
        let found = accuracy_above_factor(&blind_pairs(0.65, rng), 0.95).unwrap();
        [("model - more", !found.above_more.contains(0.0))]
    });
}

/// 60 prompts of one or two pairs. Score and factor each have a part in common over the prompt; the factor is
/// `slope` times what the label-free score `r` is worth plus `bend` times its square.
fn readable(slope: f64, bend: f64, label: f64, rng: &mut StreamRng) -> Vec<ScoredPair> {
    let mut pairs = Vec::new();
    for prompt in 0..60 {
        let luck = (0.7 * normal(rng), 0.7 * normal(rng));
        for _ in 0..1 + prompt % 2 {
            let mut answer = |side: f64| {
                let r = luck.0 + 0.51f64.sqrt() * normal(rng);
                let noise = luck.1 + 0.51f64.sqrt() * normal(rng);
                (r + side, slope * r + bend * r * r + noise + label * side)
            };
            pairs.push(pair(prompt, answer(0.5), answer(-0.5)));
        }
    }
    pairs
}

#[test]
fn what_can_be_read_off_is_estimated_without_the_bias_of_small_samples() {
    let mut shares = [0.0; 3];
    assert_coverage("readout", 1000, NOMINAL, |rng| {
        let found = factor_readout(&readable(0.75, 0.0, 0.0, rng), 10, 1, 0.95, rng).unwrap();
        let chosen = found.chosen.unwrap();
        shares[0] += chosen.linear.adjusted / 1000.0;
        shares[1] += chosen.binned.adjusted / 1000.0;
        // Within label, correlation 0.75/1.25 = 0.6. Over all, the score has variance 1.25.
        let overall = 0.75 / (1.25f64 * 1.5625).sqrt();
        [("chosen", chosen.correlation, 0.6), ("overall", found.overall.correlation, overall)]
    });
    for trial in 0..1000 {
        let mut rng = stream("nothing to read", trial);
        let pairs = &readable(0.0, 0.0, 0.0, &mut rng)[..20];
        let found = factor_readout(pairs, 10, 1, 0.95, &mut rng).unwrap();
        shares[2] += found.chosen.unwrap().binned.adjusted / 1000.0;
    }
    assert_abs_diff_eq!(shares[0], 0.36, epsilon = 0.015);
    // Ten bins of a normal score keep most of a line.
    assert!((0.30..0.36).contains(&shares[1]));
    assert_abs_diff_eq!(shares[2], 0.0, epsilon = 0.03);
}

#[test]
fn permutations_raise_few_false_alarms_and_a_bend_is_seen_by_bins_only() {
    assert_false_alarms("readout", 800, |rng| {
        let found = factor_readout(&readable(0.0, 0.0, 0.0, rng), 6, 99, 0.95, rng).unwrap();
        let within = [found.chosen.unwrap(), found.rejected.unwrap()];
        [
            ("overall, line", found.overall.linear.p <= 0.05),
            ("overall, bins", found.overall.binned.p <= 0.05),
            ("chosen, line", within[0].linear.p <= 0.05),
            ("rejected, bins", within[1].binned.p <= 0.05),
        ]
    });
    let (mut linear, mut binned, mut by_label, mut within) = (0, 0, 0, 0);
    for trial in 0..100 {
        let mut rng = stream("bend", trial);
        let bent = readable(0.0, 0.7, 0.0, &mut rng);
        let chosen = factor_readout(&bent, 6, 199, 0.95, &mut rng).unwrap().chosen.unwrap();
        linear += u32::from(chosen.linear.p <= 0.01);
        binned += u32::from(chosen.binned.p <= 0.01);
        // A factor that depends on the label alone can be read off a good score, but not within label.
        let labelled = readable(0.0, 0.0, 1.0, &mut rng);
        let found = factor_readout(&labelled, 6, 199, 0.95, &mut rng).unwrap();
        by_label += u32::from(found.overall.linear.p <= 0.05);
        within += u32::from(found.rejected.unwrap().linear.p <= 0.05);
    }
    assert!(linear < 30 && binned > 90 && by_label > 60 && within < 13);
}

#[test]
fn a_readout_by_hand() {
    // Chosen: scores 1..4, factors 0, 1, 1, 2: r² = 0.9. Rejected: factors all 0.
    let factors = [0.0, 1.0, 1.0, 2.0];
    let pairs: Vec<ScoredPair> =
        (0..4).map(|i| pair(i, (1.0 + i as f64, factors[i]), (i as f64 - 9.0, 0.0))).collect();
    let found = factor_readout(&pairs, 2, 4000, 0.95, &mut stream("hand", 0)).unwrap();
    let chosen = found.chosen.unwrap();
    assert_abs_diff_eq!(chosen.correlation.estimate, 0.9f64.sqrt(), epsilon = 1e-12);
    assert_abs_diff_eq!(chosen.linear.adjusted, 1.0 - 0.1 * 3.0 / 2.0, epsilon = 1e-12);
    // Bins {0, 1} and {1, 2}: between 1 of 2, so η² = 1/2 and adjusted 1/4.
    assert_abs_diff_eq!(chosen.binned.adjusted, 0.25, epsilon = 1e-12);
    // Of the 24 orders of the factors, 4 have 0 and 2 at the ends (the ones change places), and 16 have
    // 0 and 2 in different bins.
    assert_abs_diff_eq!(chosen.linear.p, 4.0 / 24.0, epsilon = 0.02);
    assert_abs_diff_eq!(chosen.binned.p, 16.0 / 24.0, epsilon = 0.025);
    assert_eq!(found.rejected, None);
}

#[test]
fn bad_input_is_named() {
    let natural = [0.0, 1.0, 2.0];
    let error = toggle_effect(&[1.0, f64::NAN], &[0.0, 0.0], &[0, 1], &natural, 0.95).unwrap_err();
    assert_eq!(error.to_string(), "`with[1]` = NaN: allowed is a finite number");
    let constant = toggle_effect(&[1.0, 2.0], &[0.0, 0.0], &[0, 1], &[3.0, 3.0], 0.95);
    let named = EvaluationError::Constant { argument: "reference", value: 3.0 };
    assert_eq!(constant.unwrap_err(), named);
    assert!(toggle_effect(&[1.0, 2.0], &[0.0], &[0, 1], &natural, 0.95).is_err());
    assert!(toggle_effect(&[], &[], &[], &natural, 0.95).is_err());
    assert!(toggle_effect(&[1.0, 2.0], &[0.0, 0.0], &[4, 4], &natural, 0.95).is_err());
    assert!(toggle_effect(&[1e308, 2.0], &[-1e308, 0.0], &[0, 1], &natural, 0.95).is_err());

    let good = pair(0, (1.0, 0.0), (0.0, 1.0));
    let bad = pair(1, (1.0, 0.0), (f64::INFINITY, 1.0));
    let error = accuracy_by_factor(&[good, bad], 0.95).unwrap_err();
    assert_eq!(error.to_string(), "`rejected.score[1]` = inf: allowed is a finite number");
    assert!(accuracy_by_factor(&[], 0.95).is_err());
    assert!(accuracy_by_factor(&[good], 0.0).is_err());
    assert!(accuracy_above_factor(&[bad], 0.95).is_err());
    let mut rng = stream("bad", 0);
    let constant = factor_readout(&[pair(0, (1.0, 0.0), (0.0, 0.0)); 4], 2, 9, 0.95, &mut rng);
    let named = EvaluationError::Constant { argument: "factor", value: 0.0 };
    assert_eq!(constant.unwrap_err(), named);
    let error = factor_readout(&[good; 4], 3, 9, 0.95, &mut rng).unwrap_err();
    let text = "`bins` = 3: allowed is an integer in 2..=(number of pairs)/2";
    assert_eq!(error.to_string(), text);
    assert!(factor_readout(&[good; 4], 2, 0, 0.95, &mut rng).is_err());
}

fn close(a: Interval, b: Interval, sign: f64) -> bool {
    let ends = if sign > 0.0 { (b.low, b.high) } else { (-b.high, -b.low) };
    let far = (a.estimate - sign * b.estimate).abs().max((a.low - ends.0).abs());
    far.max((a.high - ends.1).abs()) < 1e-7
}

proptest! {
    #[test]
    fn the_toggle_effect_has_no_unit_and_changes_sign_with_the_sides(
        seed: u64, scale in 0.01f64..100.0, shift in -50.0f64..50.0,
    ) {
        let mut rng = stream("toggle property", seed);
        let (with, without, prompts, reference) = toggled(0.3, &mut rng);
        let found = toggle_effect(&with, &without, &prompts, &reference, 0.95).unwrap();
        let swapped = toggle_effect(&without, &with, &prompts, &reference, 0.95).unwrap();
        prop_assert!(close(swapped.effect, found.effect, -1.0));
        prop_assert!(close(swapped.raised, found.lowered, 1.0));
        let line = |values: &[f64]| values.iter().map(|v| scale * v + shift).collect::<Vec<f64>>();
        let scaled =
            toggle_effect(&line(&with), &line(&without), &prompts, &line(&reference), 0.95).unwrap();
        prop_assert!(close(scaled.effect, found.effect, 1.0));
        let back = |values: &[f64]| values.iter().rev().copied().collect::<Vec<f64>>();
        let names: Vec<usize> = prompts.iter().rev().map(|p| 7 * p).collect();
        let turned =
            toggle_effect(&back(&with), &back(&without), &names, &back(&reference), 0.95).unwrap();
        prop_assert!(close(turned.effect, found.effect, 1.0));
    }

    #[test]
    fn cells_and_controls_depend_on_the_order_of_scores_only(
        seed: u64, scale in 0.01f64..100.0, shift in -50.0f64..50.0,
    ) {
        let mut rng = stream("cell property", seed);
        let pairs = paid_pairs(0.4, &mut rng);
        let each = |change: &dyn Fn(ScoredPair) -> ScoredPair| -> Vec<ScoredPair> {
            pairs.iter().rev().map(|pair| change(*pair)).collect()
        };
        let scaled = each(&|mut pair| {
            pair.chosen.score = scale * pair.chosen.score + shift;
            pair.rejected.score = scale * pair.rejected.score + shift;
            pair
        });
        let found = accuracy_by_factor(&pairs, 0.95).unwrap();
        let gap = found.gap.unwrap();
        prop_assert!(close(accuracy_by_factor(&scaled, 0.95).unwrap().gap.unwrap(), gap, 1.0));
        let above = accuracy_above_factor(&pairs, 0.95).unwrap();
        let scaled = accuracy_above_factor(&scaled, 0.95).unwrap();
        prop_assert!(close(scaled.above_more, above.above_more, 1.0));
        // Swapping labels keeps the gap and mirrors what lies above a constant; swapping the factor
        // mirrors the gap and exchanges the two rules.
        let relabelled =
            each(&|p| ScoredPair { chosen: p.rejected, rejected: p.chosen, ..p });
        prop_assert!(close(accuracy_by_factor(&relabelled, 0.95).unwrap().gap.unwrap(), gap, 1.0));
        let mirrored = accuracy_above_factor(&relabelled, 0.95).unwrap().above_constant;
        prop_assert!(close(mirrored, above.above_constant, -1.0));
        let opposite = each(&|mut pair| {
            pair.chosen.factor = 1.0 - pair.chosen.factor;
            pair.rejected.factor = 1.0 - pair.rejected.factor;
            pair
        });
        prop_assert!(close(accuracy_by_factor(&opposite, 0.95).unwrap().gap.unwrap(), gap, -1.0));
        let exchanged = accuracy_above_factor(&opposite, 0.95).unwrap();
        prop_assert!(close(exchanged.above_more, above.above_less, 1.0));
    }

    #[test]
    fn readouts_have_no_unit(seed: u64, scale in 0.01f64..100.0, shift in -50.0f64..50.0) {
        let pairs = readable(0.5, 0.1, 0.2, &mut stream("readout property", seed));
        let scaled: Vec<ScoredPair> = pairs
            .iter()
            .map(|p| {
                let line = |a: Answer| Answer { score: scale * a.score + shift, factor: -a.factor };
                ScoredPair { prompt: p.prompt, chosen: line(p.chosen), rejected: line(p.rejected) }
            })
            .collect();
        let read = |pairs: &[ScoredPair]| {
            factor_readout(pairs, 5, 49, 0.95, &mut stream("permutations", seed)).unwrap()
        };
        let (one, other) = (read(&pairs), read(&scaled));
        prop_assert!(close(one.overall.correlation, other.overall.correlation, -1.0));
        prop_assert!((one.overall.binned.adjusted - other.overall.binned.adjusted).abs() < 1e-9);
        prop_assert_eq!(one.overall.linear.p, other.overall.linear.p);
        prop_assert_eq!(one.chosen.unwrap().binned.p, other.chosen.unwrap().binned.p);
    }
}
