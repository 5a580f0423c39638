//! Length-controlled win rates: planted coefficients are found, and the fit agrees with another one.

use crate::simulation::{NOMINAL, assert_coverage, assert_false_alarms, normal, phi};
use approx::assert_abs_diff_eq;
use headwater_core::StreamRng;
use headwater_evaluation::bias::*;
use headwater_evaluation::{EvaluationError, Interval};
use proptest::prelude::*;

fn sigmoid(eta: f64) -> f64 {
    1.0 / (1.0 + (-eta).exp())
}

/// What is planted: θ of three models, the judge's φ, and ψ of every model.
struct Planted {
    theta: [f64; 3],
    phi: f64,
    psi: f64,
}

/// 150 instructions answered by three models of different verbosity, in random order. Judgements of one
/// instruction are correlated (their uniform draws share a part), which leaves every probability as planted.
fn judged(planted: &Planted, rng: &mut StreamRng) -> (Vec<Judgement>, Vec<f64>) {
    let (mut rows, mut lucks) = (Vec::new(), Vec::new());
    for instruction in 0..150 {
        let luck = normal(rng);
        let difficulty = if instruction % 2 == 0 { 1.0 } else { -1.0 };
        for model in 0..3 {
            let length_difference = 40.0 * (model as f64 + normal(rng));
            rows.push((instruction, model, length_difference, difficulty));
            lucks.push(phi(0.7 * luck + 0.51f64.sqrt() * normal(rng)));
        }
    }
    let mean = rows.iter().map(|r| r.2).sum::<f64>() / rows.len() as f64;
    let squares: f64 = rows.iter().map(|r| (r.2 - mean).powi(2)).sum();
    let deviation = (squares / (rows.len() - 1) as f64).sqrt();
    let judgements = rows.iter().zip(lucks).map(|(row, luck)| {
        let &(instruction, model, length_difference, difficulty) = row;
        let term = planted.phi * (length_difference / deviation).tanh();
        let p = sigmoid(planted.theta[model] + term + planted.psi * difficulty);
        let preference = f64::from(u8::from(luck < p));
        Judgement { instruction, model, preference, length_difference }
    });
    (judgements.collect(), rows.iter().map(|r| r.3).collect())
}

#[test]
fn planted_coefficients_and_win_rates_are_found() {
    let planted = Planted { theta: [0.0, 0.5, -0.5], phi: 0.9, psi: -0.6 };
    let at_equal_length =
        |theta: f64| (sigmoid(theta + planted.psi) + sigmoid(theta - planted.psi)) / 2.0;
    assert_coverage("length", 500, NOMINAL, |rng| {
        let (judgements, difficulty) = judged(&planted, rng);
        let found = length_controlled_win_rates(&judgements, Some(&difficulty), 0.95).unwrap();
        [
            ("phi", found.phi, 0.9),
            ("theta", found.models[1].theta, 0.5),
            ("psi", found.models[1].psi.unwrap(), -0.6),
            ("even model", found.models[0].controlled, 0.5),
            ("better model", found.models[1].controlled, at_equal_length(0.5)),
            ("verbose model", found.models[2].controlled, at_equal_length(-0.5)),
        ]
    });
}

#[test]
fn a_judge_that_ignores_length_raises_no_alarm() {
    let planted = Planted { theta: [0.0, 0.3, -0.3], phi: 0.0, psi: 0.0 };
    assert_false_alarms("length", 800, |rng| {
        let (judgements, _) = judged(&planted, rng);
        let found = length_controlled_win_rates(&judgements, None, 0.95).unwrap();
        [
            ("phi", !found.phi.contains(0.0)),
            ("even model", !found.models[0].controlled.contains(0.5)),
        ]
    });
}

#[test]
fn a_verbose_model_wins_until_length_is_controlled() {
    let (mut raw, mut controlled) = (0.0, 0.0);
    for trial in 0..50 {
        let planted = Planted { theta: [0.0, 0.0, 0.0], phi: 1.5, psi: 0.0 };
        let (judgements, _) = judged(&planted, &mut crate::simulation::stream("verbose", trial));
        let found = length_controlled_win_rates(&judgements, None, 0.95).unwrap();
        raw += found.models[2].raw.estimate / 50.0;
        controlled += found.models[2].controlled.estimate / 50.0;
    }
    assert!(raw > 0.72 && (controlled - 0.5).abs() < 0.03, "{raw} {controlled}");
}

/// Twelve judgements of two models, soft labels among them.
fn twelve() -> (Vec<Judgement>, Vec<f64>) {
    let preference = [1.0, 0.0, 0.7, 1.0, 0.2, 0.0, 1.0, 1.0, 0.0, 0.4, 1.0, 0.0];
    let lengths = [30.0, -12.0, 5.0, 44.0, -3.0, -20.0, 8.0, 61.0, 15.0, -7.0, -2.0, 10.0];
    let judgements = (0..12).map(|i| Judgement {
        instruction: i / 2,
        model: 4 + i % 2,
        preference: preference[i],
        length_difference: lengths[i],
    });
    let difficulty = [0.5, 0.5, -1.0, -1.0, 0.2, 0.2, 1.3, 1.3, -0.4, -0.4, 0.0, 0.0];
    (judgements.collect(), difficulty.to_vec())
}

#[test]
fn the_fit_agrees_with_an_independent_one() {
    let (judgements, difficulty) = twelve();
    let found = length_controlled_win_rates(&judgements, Some(&difficulty), 0.95).unwrap();
    assert_eq!((found.models[0].model, found.models[1].model, found.phi.n), (4, 5, 6));
    let golden = |interval: Interval, (estimate, low, high): (f64, f64, f64)| {
        assert_abs_diff_eq!(interval.estimate, estimate, epsilon = 1e-6);
        assert_abs_diff_eq!(interval.low, low, epsilon = 1e-5);
        assert_abs_diff_eq!(interval.high, high, epsilon = 1e-5);
    };
    golden(found.phi, PHI);
    golden(found.models[0].theta, THETA);
    golden(found.models[1].psi.unwrap(), PSI);
    golden(found.models[0].controlled, CONTROLLED);
}
// Plain Python: Newton's method to a gradient of 1e-16, then the sandwich of the stacked estimating
// equations of the coefficients and of logit(controlled), their derivatives by differences; t₅ = 2.5706.
const PHI: (f64, f64, f64) = (2.306948538, -1.922027061, 6.535924137);
const THETA: (f64, f64, f64) = (0.094864895, -2.881758773, 3.071488562);
const PSI: (f64, f64, f64) = (-0.226133589, -2.804475089, 2.352207911);
const CONTROLLED: (f64, f64, f64) = (0.544471478, 0.074220714, 0.946864313);

#[test]
fn length_that_decides_everything_still_has_a_fit() {
    let judgements: Vec<Judgement> = (0..40)
        .map(|i| {
            let length_difference = f64::from(i) - 19.5;
            let preference = f64::from(u8::from(length_difference > 0.0));
            Judgement { instruction: i as usize, model: 0, preference, length_difference }
        })
        .collect();
    let found = length_controlled_win_rates(&judgements, None, 0.95).unwrap();
    assert!(found.phi.estimate > 5.0 && found.phi.estimate.is_finite());
    assert_abs_diff_eq!(found.models[0].controlled.estimate, 0.5, epsilon = 1e-9);
    // And it is said that the ridge made it.
    assert!(!found.is_identified(), "{}", found.ridge);
}

/// Two models against the reference, 100 judgements each; `length` of a model's judgement.
fn two_models(length: impl Fn(usize, usize) -> f64) -> Vec<Judgement> {
    let row = |i: usize| {
        let (model, at) = (i / 100, i % 100);
        let preference = f64::from(u8::from(at < if model == 0 { 70 } else { 30 }));
        Judgement { instruction: i, model, preference, length_difference: length(model, at) }
    };
    (0..200).map(row).collect()
}

#[test]
fn length_that_cannot_be_told_from_the_models_is_an_error() {
    // One model is always 300 longer and wins 70%, the other 300 shorter and wins 30%: phi = 0
    // gives win rates of 0.7 and 0.3 at equal length, phi = 2 gives 0.338 and 0.662, and both fit
    // alike.
    let judgements = two_models(|model, _| if model == 0 { 300.0 } else { -300.0 });
    let error = length_controlled_win_rates(&judgements, None, 0.95).unwrap_err();
    assert!(error.to_string().starts_with("phi is not identified: within every model"), "{error}");

    // Nor where it goes with the difficulty, which takes up what little varies.
    let difficulty: Vec<f64> = (0..200).map(|i| f64::from(i % 2)).collect();
    let both = two_models(|model, at| if (model, at % 2) == (0, 1) { 300.0 } else { -300.0 });
    let error = length_controlled_win_rates(&both, Some(&difficulty), 0.95).unwrap_err();
    assert!(matches!(error, EvaluationError::Unidentified { .. }), "{error}");
    let of_one_model: Vec<f64> = (0..200).map(|i| f64::from(i >= 100 && i % 3 == 0)).collect();
    let lengths = two_models(|_, at| at as f64);
    let error = length_controlled_win_rates(&lengths, Some(&of_one_model), 0.95).unwrap_err();
    assert!(error.to_string().starts_with("psi of model 0 is not identified"), "{error}");
}

#[test]
fn the_ridges_share_says_how_well_length_is_told_from_the_models() {
    // The models' lengths differ by 600, and within a model by a little more each time.
    let share = |spread: f64| {
        let judgements = two_models(|model, at| {
            let level = if model == 0 { 300.0 } else { -300.0 };
            level + spread * (at % 7) as f64
        });
        let found = length_controlled_win_rates(&judgements, None, 0.95).unwrap();
        let shares = [found.ridge, found.models[0].ridge, found.models[1].ridge];
        assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "{shares:?}");
        assert_eq!(found.is_identified(), found.ridge <= MOST_RIDGE);
        assert_eq!(found.models[0].is_identified(), found.models[0].ridge <= MOST_RIDGE);
        shares
    };
    let shares = [1.0, 10.0, 100.0].map(share);
    assert!(shares.windows(2).all(|pair| pair[1].iter().zip(pair[0]).all(|(a, b)| *a < b)));
    assert!(shares[0][0] > MOST_RIDGE && shares[0][1] > MOST_RIDGE, "{shares:?}");
    assert!(shares[2][0] < MOST_RIDGE && shares[2][1] < MOST_RIDGE, "{shares:?}");

    // A variance of its own, by hand: with one coefficient of curvature c beside the ridge the
    // share is RIDGE / (c + RIDGE), and every other coefficient only adds to it.
    let (judgements, _) = twelve();
    let found = length_controlled_win_rates(&judgements, None, 0.95).unwrap();
    let curvature: f64 = 12.0 / 4.0;
    assert!(found.ridge > RIDGE / (curvature + RIDGE) && found.is_identified(), "{}", found.ridge);
}

#[test]
fn bad_input_is_named() {
    let (good, difficulty) = twelve();
    let with = |change: &dyn Fn(&mut Judgement)| -> Result<LengthControl, EvaluationError> {
        let mut judgements = good.clone();
        judgements.iter_mut().for_each(change);
        length_controlled_win_rates(&judgements, None, 0.95)
    };
    let error = with(&|j| j.preference += 0.5).unwrap_err();
    assert_eq!(error.to_string(), "`preference[0]` = 1.5: allowed is a number in [0, 1]");
    let error = with(&|j| j.length_difference = f64::NAN).unwrap_err();
    assert_eq!(error.to_string(), "`length_difference[0]` = NaN: allowed is a finite number");
    assert_eq!(
        with(&|j| j.length_difference = 3.0).unwrap_err(),
        EvaluationError::Constant { argument: "length_difference", value: 3.0 }
    );
    let error = with(&|j| j.preference = if j.model == 4 { 1.0 } else { 0.3 }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`model[4]`: all 6 entries of `preference` are true: both classes are needed"
    );
    assert!(with(&|j| j.instruction = 1).is_err());
    assert!(length_controlled_win_rates(&[], None, 0.95).is_err());
    assert!(length_controlled_win_rates(&good[..3], None, 0.95).is_err());
    assert!(length_controlled_win_rates(&good, Some(&difficulty[1..]), 0.95).is_err());
    assert!(length_controlled_win_rates(&good, Some(&[1.0; 12]), 0.95).is_err());
    let huge: Vec<f64> = difficulty.iter().map(|d| d * 1e300).collect();
    assert!(length_controlled_win_rates(&good, Some(&huge), 0.95).is_err());
    assert!(length_controlled_win_rates(&good, None, 2.0).is_err());
}

fn close(a: Interval, b: Interval, mirror: f64, about: f64) -> bool {
    let back = |v: f64| if mirror > 0.0 { v } else { 2.0 * about - v };
    let (low, high) = if mirror > 0.0 { (b.low, b.high) } else { (back(b.high), back(b.low)) };
    let far = (a.estimate - back(b.estimate)).abs();
    far.max((a.low - low).abs()).max((a.high - high).abs()) < 1e-6
}

proptest! {
    #[test]
    fn swapping_the_sides_mirrors_and_units_and_order_do_not_matter(
        seed: u64, scale in 0.01f64..100.0,
    ) {
        let planted = Planted { theta: [0.2, 0.5, -0.5], phi: 0.9, psi: 0.0 };
        let (judgements, _) = judged(&planted, &mut crate::simulation::stream("property", seed));
        let fit = |judgements: &[Judgement]| {
            length_controlled_win_rates(judgements, None, 0.95).unwrap()
        };
        let found = fit(&judgements);
        let turned: Vec<Judgement> = judgements
            .iter()
            .rev()
            .map(|j| Judgement { length_difference: scale * j.length_difference, ..*j })
            .collect();
        let turned = fit(&turned);
        prop_assert!(close(turned.phi, found.phi, 1.0, 0.0));
        prop_assert!(close(turned.models[1].controlled, found.models[1].controlled, 1.0, 0.0));
        let swapped: Vec<Judgement> = judgements
            .iter()
            .map(|j| Judgement {
                preference: 1.0 - j.preference,
                length_difference: -j.length_difference,
                ..*j
            })
            .collect();
        let swapped = fit(&swapped);
        prop_assert!(close(swapped.phi, found.phi, 1.0, 0.0));
        prop_assert!(close(swapped.models[0].theta, found.models[0].theta, -1.0, 0.0));
        prop_assert!(close(swapped.models[2].controlled, found.models[2].controlled, -1.0, 0.5));
    }
}
