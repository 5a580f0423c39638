//! Probes of preferences and verdicts: a bias of known size is planted in a simulated judge and found again.

use crate::simulation::{NOMINAL, assert_coverage, assert_false_alarms, normal, phi, stream};
use approx::assert_abs_diff_eq;
use headwater_core::StreamRng;
use headwater_evaluation::Interval;
use headwater_evaluation::bias::*;
use proptest::prelude::*;
use rand::RngExt;

fn compared(prompt: usize, factor: f64, model: f64, human: f64) -> ComparedPair {
    ComparedPair { prompt, factor, model, human }
}

/// 80 prompts of 1 to 3 counterfactual pairs, the biased text on either side. The model prefers it with
/// probability `model`, people with probability `human`; both more readily on some prompts.
fn counterfactual(model: f64, human: f64, rng: &mut StreamRng) -> Vec<ComparedPair> {
    let mut pairs = Vec::new();
    for prompt in 0..80 {
        let luck = normal(rng);
        for _ in 0..rng.random_range(1..=3) {
            let mut prefers = |p: f64| phi((luck + normal(rng)) / 2f64.sqrt()) < p;
            let (model, human) = (prefers(model), prefers(human));
            let first = rng.random_bool(0.5);
            let side = |biased: bool| f64::from(u8::from(biased == first));
            let factor = if first { 1.0 } else { -1.0 };
            pairs.push(compared(prompt, factor, side(model), side(human)));
        }
    }
    pairs
}

#[test]
fn a_planted_skew_is_found() {
    // Disagreement of two correlated choices has no closed form: counted once, over 160,000 pairs.
    let (mut disagree, mut count) = (0.0, 0.0);
    for trial in 0..1000 {
        for pair in counterfactual(0.7, 0.45, &mut stream("skew truth", trial)) {
            disagree += (pair.model - pair.human).abs();
            count += 1.0;
        }
    }
    assert_coverage("skew", 1000, NOMINAL, |rng| {
        let found = preference_skew(&counterfactual(0.7, 0.45, rng), 0.95).unwrap();
        [
            ("model", found.model.skew, 0.7),
            ("human", found.human.skew, 0.45),
            ("excess", found.excess, 0.25),
            ("miscalibration", found.miscalibration.unwrap(), disagree / count),
            // With a factor of ±1 the correlation is 2 skew - 1.
            ("model's correlation", found.model.correlation.unwrap(), 0.4),
            ("human correlation", found.human.correlation.unwrap(), -0.1),
        ]
    });
    assert_false_alarms("skew", 1000, |rng| {
        let found = preference_skew(&counterfactual(0.5, 0.5, rng), 0.95).unwrap();
        [
            ("skew", !found.model.skew.contains(0.5)),
            ("excess", !found.excess.contains(0.0)),
            ("correlation", !found.model.correlation.unwrap().contains(0.0)),
        ]
    });
}

#[test]
fn skew_by_hand() {
    let pairs = [
        compared(0, 1.0, 1.0, 0.8),
        compared(1, -1.0, 0.0, 0.6),
        compared(2, 2.0, 0.5, 0.2),
        compared(3, -0.5, 0.9, 0.5),
    ];
    let found = preference_skew(&pairs, 0.95).unwrap();
    // Toward the factor: model 1, 1, 1/2, 0; people 1, 0, 0, 1/2.
    assert_eq!((found.model.skew.estimate, found.human.skew.estimate), (0.625, 0.375));
    assert_eq!((found.excess.estimate, found.without_majority), (0.25, 1));
    assert_eq!(found.miscalibration.unwrap().estimate, 0.5);
    // Factors 1, -1, 2, -1/2 against preferences less 1/2: model 1/2, -1/2, 0, 2/5; people 3/10, 1/10,
    // -3/10, 0; about the origin, as mirrored pairs are.
    let model = 0.8 / (6.25f64 * 0.66).sqrt();
    let human = -0.4 / (6.25f64 * 0.19).sqrt();
    assert_abs_diff_eq!(found.model.correlation.unwrap().estimate, model, epsilon = 1e-12);
    assert_abs_diff_eq!(found.human.correlation.unwrap().estimate, human, epsilon = 1e-12);
    let undecided = pairs.map(|pair| ComparedPair { human: 0.5, ..pair });
    let found = preference_skew(&undecided, 0.95).unwrap();
    assert_eq!((found.miscalibration, found.human.correlation), (None, None));
}

/// 120 prompts; style is worth `pay` a step, quality margins are N(0.5, 1) with prompts and answers that
/// differ in what they share.
fn styled(pay: f64, rng: &mut StreamRng) -> Vec<StyledPrompt> {
    (0..120)
        .map(|_| {
            let margin = 0.5 + 0.8 * normal(rng);
            let mut scores = |quality: f64| {
                std::array::from_fn(|style| {
                    quality + pay * style as f64 + 0.6 / 2f64.sqrt() * normal(rng)
                })
            };
            StyledPrompt { chosen: scores(margin), rejected: scores(0.0) }
        })
        .collect()
}

#[test]
fn a_planted_taste_for_style_is_found() {
    for pay in [0.6, -0.6] {
        // A cell's accuracy is Φ(0.5 + pay (i - j)); two of three easy cells are one step apart.
        let one = |steps: f64| phi(0.5 + pay * steps);
        let easy = (2.0 * one(1.0) + one(2.0)) / 3.0;
        let hard = (2.0 * one(-1.0) + one(-2.0)) / 3.0;
        assert_coverage(&format!("style {pay}"), 1000, NOMINAL, |rng| {
            let found = style_matrix(&styled(pay, rng), 0.95).unwrap();
            [
                ("easy", found.easy, easy),
                ("normal", found.normal, one(0.0)),
                ("hard", found.hard, hard),
                ("gap", found.gap, easy - hard),
                ("cell (0, 2)", found.cells[0][2], one(-2.0)),
            ]
        });
    }
    assert_false_alarms("style", 1000, |rng| {
        [("gap", !style_matrix(&styled(0.0, rng), 0.95).unwrap().gap.contains(0.0))]
    });
}

#[test]
fn a_style_matrix_by_hand() {
    let prompts = [
        StyledPrompt { chosen: [1.0, 2.0, 3.0], rejected: [0.5, 1.5, 3.0] },
        StyledPrompt { chosen: [0.0, 0.0, 0.0], rejected: [-1.0, 1.0, 0.0] },
    ];
    let found = style_matrix(&prompts, 0.95).unwrap();
    let cells = found.cells.map(|row| row.map(|cell| cell.estimate));
    assert_eq!(cells, [[1.0, 0.0, 0.25], [1.0, 0.5, 0.25], [1.0, 0.5, 0.5]]);
    assert_abs_diff_eq!(found.easy.estimate, 2.5 / 3.0, epsilon = 1e-12);
    assert_abs_diff_eq!(found.normal.estimate, 2.0 / 3.0, epsilon = 1e-12);
    assert_abs_diff_eq!(found.hard.estimate, 0.5 / 3.0, epsilon = 1e-12);
    assert_abs_diff_eq!(found.overall.estimate, 5.0 / 9.0, epsilon = 1e-12);
    assert_abs_diff_eq!(found.gap.estimate, 2.0 / 3.0, epsilon = 1e-12);
}

/// 100 prompts of one or two pairs. A verdict is the sign of margin + `pull` toward the first + noise, a tie near
/// 0; one in 30 is unparsed.
fn judged(margin: f64, pull: f64, rng: &mut StreamRng) -> Vec<BothOrders> {
    let mut pairs = Vec::new();
    for prompt in 0..100 {
        let ease = 0.7 * normal(rng);
        for _ in 0..1 + prompt % 2 {
            let better = margin + ease + 0.51f64.sqrt() * normal(rng);
            let mut verdict = |for_first: f64| {
                let heard = for_first + pull + normal(rng);
                if rng.random_bool(1.0 / 30.0) {
                    PositionVerdict::Unparsed
                } else if heard.abs() < 0.1 {
                    PositionVerdict::Tie
                } else if heard > 0.0 {
                    PositionVerdict::First
                } else {
                    PositionVerdict::Second
                }
            };
            let (better_first, better_second) = (verdict(better), verdict(-better));
            pairs.push(BothOrders { prompt, better_first, better_second });
        }
    }
    pairs
}

#[test]
fn a_planted_pull_toward_a_position_is_found() {
    for pull in [0.8, -0.3] {
        // In closed form where one verdict is concerned, counted once over 300,000 pairs where two are.
        let heard =
            |mean: f64| (phi((mean - 0.1) / 2f64.sqrt()) + phi((mean + 0.1) / 2f64.sqrt())) / 2.0;
        let first = (heard(0.5 + pull) + heard(pull - 0.5)) / 2.0;
        let mut truth = [0.0; 4];
        for trial in 0..2000 {
            let pairs = judged(0.5, pull, &mut stream("position truth", trial));
            let found = position_bias(&pairs, 0.95).unwrap();
            let shares = [
                found.consistency,
                found.flip_rate,
                found.consistent_accuracy.unwrap(),
                found.averaged_accuracy,
            ];
            (0..4).for_each(|i| truth[i] += shares[i].estimate / 2000.0);
        }
        assert_coverage(&format!("position {pull}"), 1000, NOMINAL, |rng| {
            let found = position_bias(&judged(0.5, pull, rng), 0.95).unwrap();
            [
                ("unparsed", found.unparsed, 1.0 / 30.0),
                ("first", found.first_preference, first),
                ("consistency", found.consistency, truth[0]),
                ("flips", found.flip_rate, truth[1]),
                ("accuracy, consistent", found.consistent_accuracy.unwrap(), truth[2]),
                ("accuracy, averaged", found.averaged_accuracy, truth[3]),
            ]
        });
    }
    assert_false_alarms("position", 1000, |rng| {
        let found = position_bias(&judged(0.5, 0.0, rng), 0.95).unwrap();
        [("first", !found.first_preference.contains(0.5))]
    });
}

#[test]
fn positions_by_hand() {
    use PositionVerdict::{First, Second, Tie, Unparsed};
    let verdicts = [
        (First, Second),
        (First, First),
        (Second, First),
        (Tie, Tie),
        (Tie, Second),
        (First, Unparsed),
        (Unparsed, Unparsed),
    ];
    let pairs: Vec<BothOrders> = (0..7)
        .map(|prompt| {
            let (better_first, better_second) = verdicts[prompt];
            BothOrders { prompt, better_first, better_second }
        })
        .collect();
    let found = position_bias(&pairs, 0.95).unwrap();
    assert_abs_diff_eq!(found.unparsed.estimate, 3.0 / 14.0, epsilon = 1e-12);
    // Five pairs with two verdicts; three consistent, one flip; right 1, 0, 1/2 of the consistent.
    assert_eq!((found.consistency.estimate, found.flip_rate.estimate), (0.6, 0.2));
    assert_abs_diff_eq!(found.first_preference.estimate, 0.55, epsilon = 1e-12);
    assert_eq!(found.consistent_accuracy.unwrap().estimate, 0.5);
    // 1, 1/2, 0, 1/2, 1, 1, 1/2 over all seven.
    assert_abs_diff_eq!(found.averaged_accuracy.estimate, 4.5 / 7.0, epsilon = 1e-12);
    let never = position_bias(&pairs[5..], 0.95).unwrap_err();
    let text = "`pairs with two parsed verdicts` has 0 entries: at least 1 are needed";
    assert_eq!(never.to_string(), text);
    assert_eq!(position_bias(&pairs[1..2], 0.95).unwrap().consistent_accuracy, None);
}

#[test]
fn bad_input_is_named() {
    let good = compared(0, 1.0, 1.0, 0.5);
    let error = preference_skew(&[good, compared(1, 0.0, 1.0, 0.5)], 0.95).unwrap_err();
    assert_eq!(error.to_string(), "`factor[1]` = 0: allowed is a finite number other than 0");
    let error = preference_skew(&[good, compared(1, 1.0, 1.0, f64::NAN)], 0.95).unwrap_err();
    assert_eq!(error.to_string(), "`human[1]` = NaN: allowed is a number in [0, 1]");
    assert!(preference_skew(&[good, compared(1, 1.0, 1.1, 0.5)], 0.95).is_err());
    assert!(preference_skew(&[], 0.95).is_err());
    assert!(preference_skew(&[good], 0.95).is_err(), "a correlation of one prompt");
    let prompt = StyledPrompt { chosen: [0.0; 3], rejected: [0.0, f64::NAN, 0.0] };
    let plain = StyledPrompt { chosen: [0.0; 3], rejected: [0.0; 3] };
    let error = style_matrix(&[plain, prompt], 0.95).unwrap_err();
    assert_eq!(error.to_string(), "`rejected[4]` = NaN: allowed is a finite number");
    assert!(style_matrix(&[], 0.95).is_err() && style_matrix(&[plain], 1.5).is_err());
    assert!(position_bias(&[], 0.95).is_err());
}

fn close(a: Interval, b: Interval, mirror: f64, about: f64) -> bool {
    let back = |v: f64| if mirror > 0.0 { v } else { 2.0 * about - v };
    let (low, high) = if mirror > 0.0 { (b.low, b.high) } else { (back(b.high), back(b.low)) };
    let far = (a.estimate - back(b.estimate)).abs();
    far.max((a.low - low).abs()).max((a.high - high).abs()) < 1e-7
}

proptest! {
    #[test]
    fn sides_and_order_do_not_matter_and_the_factor_mirrors(seed: u64, scale in 0.01f64..50.0) {
        let pairs = counterfactual(0.6, 0.4, &mut stream("skew property", seed));
        let found = preference_skew(&pairs, 0.95).unwrap();
        // The first text may be called the second, pairs may be listed in any order.
        let turned: Vec<ComparedPair> = pairs
            .iter()
            .rev()
            .map(|p| compared(3 * p.prompt, -p.factor, 1.0 - p.model, 1.0 - p.human))
            .collect();
        let same = preference_skew(&turned, 0.95).unwrap();
        prop_assert!(close(same.excess, found.excess, 1.0, 0.0));
        let correlations = |s: &PreferenceSkew| s.model.correlation.unwrap();
        prop_assert!(close(correlations(&same), correlations(&found), 1.0, 0.0));
        // The opposite of the factor, in another unit.
        let opposite: Vec<ComparedPair> =
            pairs.iter().map(|p| ComparedPair { factor: -scale * p.factor, ..*p }).collect();
        let mirrored = preference_skew(&opposite, 0.95).unwrap();
        prop_assert!(close(mirrored.model.skew, found.model.skew, -1.0, 0.5));
        prop_assert!(close(mirrored.excess, found.excess, -1.0, 0.0));
        prop_assert!(close(correlations(&mirrored), correlations(&found), -1.0, 0.0));
        prop_assert!(close(
            mirrored.miscalibration.unwrap(), found.miscalibration.unwrap(), 1.0, 0.0
        ));
    }

    #[test]
    fn the_style_matrix_has_no_unit_and_swaps_with_labels(
        seed: u64, scale in 0.01f64..100.0, shift in -50.0f64..50.0,
    ) {
        let prompts = styled(0.4, &mut stream("style property", seed));
        let line = |scores: [f64; 3]| scores.map(|s| scale * s + shift);
        let scaled: Vec<StyledPrompt> = prompts
            .iter()
            .rev()
            .map(|p| StyledPrompt { chosen: line(p.chosen), rejected: line(p.rejected) })
            .collect();
        let swapped: Vec<StyledPrompt> = prompts
            .iter()
            .map(|p| StyledPrompt { chosen: p.rejected, rejected: p.chosen })
            .collect();
        let found = style_matrix(&prompts, 0.95).unwrap();
        let (scaled, swapped) =
            (style_matrix(&scaled, 0.95).unwrap(), style_matrix(&swapped, 0.95).unwrap());
        prop_assert!(close(scaled.hard, found.hard, 1.0, 0.0));
        prop_assert!(close(scaled.gap, found.gap, 1.0, 0.0));
        prop_assert!(close(swapped.easy, found.hard, -1.0, 0.5));
        prop_assert!(close(swapped.gap, found.gap, 1.0, 0.0));
    }

    #[test]
    fn positions_mirror_when_every_verdict_names_the_other(seed: u64) {
        use PositionVerdict::{First, Second};
        let pairs = judged(0.3, 0.4, &mut stream("position property", seed));
        let other = |verdict| match verdict {
            First => Second,
            Second => First,
            verdict => verdict,
        };
        let mirrored: Vec<BothOrders> = pairs
            .iter()
            .rev()
            .map(|p| BothOrders {
                prompt: p.prompt,
                better_first: other(p.better_first),
                better_second: other(p.better_second),
            })
            .collect();
        let found = position_bias(&pairs, 0.95).unwrap();
        let mirrored = position_bias(&mirrored, 0.95).unwrap();
        prop_assert!(close(mirrored.first_preference, found.first_preference, -1.0, 0.5));
        prop_assert!(close(mirrored.averaged_accuracy, found.averaged_accuracy, -1.0, 0.5));
        prop_assert!(close(mirrored.flip_rate, found.flip_rate, 1.0, 0.0));
        prop_assert!(close(mirrored.consistency, found.consistency, 1.0, 0.0));
    }
}
