use headwater_core::Streams;
use proptest::prelude::*;
use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::gap::gap;

/// A distribution over as many answers as there are weights.
fn normalised(shares: &[f64]) -> Vec<f64> {
    let total: f64 = shares.iter().sum();
    shares.iter().map(|share| share / total).collect()
}

proptest! {
    #[test]
    fn rounds_with_a_fixed_verifier_are_the_closed_form(
        rows in prop::collection::vec((0.01..1.0f64, 0.1..2.0f64), 1..10), rounds in 0..12usize,
    ) {
        let start = normalised(&rows.iter().map(|row| row.0).collect::<Vec<_>>());
        let weight: Vec<f64> = rows.iter().map(|row| row.1).collect();
        let mut now = start.clone();
        for _ in 0..rounds {
            now = step(&now, &weight).unwrap().unwrap();
        }
        let closed = after(&start, &weight, rounds as f64).unwrap().unwrap();
        for (a, b) in now.iter().zip(&closed) {
            prop_assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
    }

    #[test]
    fn rounds_of_self_consistency_are_powers_of_the_start(
        shares in prop::collection::vec(0.05..1.0f64, 1..10), rounds in 0..6usize,
    ) {
        let start = normalised(&shares);
        let mut now = start.clone();
        for _ in 0..rounds {
            now = step(&now, &now.clone()).unwrap().unwrap();
        }
        let closed = after(&start, &start, (1u32 << rounds) as f64 - 1.0).unwrap().unwrap();
        for (a, b) in now.iter().zip(&closed) {
            prop_assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
    }

    #[test]
    fn what_a_round_gains_is_the_gap(
        rows in prop::collection::vec((0.01..1.0f64, 0.0..2.0f64, -1.0..1.0f64), 1..10),
    ) {
        let start = normalised(&rows.iter().map(|row| row.0).collect::<Vec<_>>());
        let weight: Vec<f64> = rows.iter().map(|row| row.1).collect();
        let utility: Vec<f64> = rows.iter().map(|row| row.2).collect();
        let value = |p: &[f64]| p.iter().zip(&utility).map(|(p, u)| p * u).sum::<f64>();
        prop_assume!(weight.iter().any(|w| *w > 1e-3));
        let next = step(&start, &weight).unwrap().unwrap();
        let gap = gap(&start, &utility, &weight).unwrap().unwrap();
        prop_assert!((value(&next) - value(&start) - gap).abs() < 1e-12);
    }
}

#[test]
fn nothing_accepted_is_none_and_powers_do_not_underflow() {
    assert_eq!(step(&[0.5, 0.5], &[0.0, 0.0]).unwrap(), None);
    assert_eq!(after(&[0.5, 0.5], &[0.0, 0.0], 1.0).unwrap(), None);
    assert_eq!(after(&[0.5, 0.5], &[0.0, 0.0], 0.0).unwrap(), Some(vec![0.5, 0.5]));
    // Gold removes every wrong answer in one round, and cannot invent a right one.
    assert_eq!(step(&[0.2, 0.8], &[1.0, 0.0]).unwrap(), Some(vec![1.0, 0.0]));
    assert_eq!(step(&[0.0, 1.0], &[1.0, 0.0]).unwrap(), None);
    let far = after(&[0.5, 0.5], &[1e-3, 2e-3], 1e4).unwrap().unwrap();
    assert_eq!(far, [0.0, 1.0]);
    assert!(after(&[1.0], &[1.0], -1.0).is_err() && step(&[1.0], &[]).is_err());
}

const ANSWERS: usize = 40;
const PROMPTS: usize = 2000;
/// Rounds at which it is evaluated.
const AT: [usize; 4] = [0, 1, 3, 8];

/// Prompts whose wrong answers have normal logits of spread 1.2, the right one 0.9 above them with a spread of 1.5 more: mean
/// accuracy 10%, 20% by the mode, 80% in 128 samples.
fn prompts() -> Vec<Vec<f64>> {
    let mut rng = Streams::new(1).stream("prompts", &[]);
    let mut normal = move || -> f64 { StandardNormal.sample(&mut rng) };
    (0..PROMPTS)
        .map(|_| {
            let mut logits: Vec<f64> = (0..ANSWERS).map(|_| 1.2 * normal()).collect();
            logits[0] += 0.9 + 1.5 * normal();
            normalised(&logits.iter().map(|logit| logit.exp()).collect::<Vec<_>>())
        })
        .collect()
}

/// Accuracy, pass@128 and gap, in points, at the rounds of [`AT`]; `weight` of a prompt's distribution and index.
fn rounds(weight: impl Fn(&[f64], usize) -> Vec<f64>) -> Vec<[f64; 3]> {
    let right: Vec<f64> = (0..ANSWERS).map(|y| f64::from(u8::from(y == 0))).collect();
    let mut now = prompts();
    let mut rows = Vec::new();
    for round in 0..=AT[3] {
        let mut sums = [0.0; 3];
        for (at, p) in now.iter_mut().enumerate() {
            let w = weight(p, at);
            let gap = gap(p, &right, &w).unwrap().unwrap();
            for (sum, value) in sums.iter_mut().zip([p[0], 1.0 - (1.0 - p[0]).powi(128), gap]) {
                *sum += 100.0 * value / PROMPTS as f64;
            }
            *p = step(p, &w).unwrap().unwrap();
        }
        if AT.contains(&round) {
            rows.push(sums);
        }
    }
    rows
}

/// Whether one column is higher at every evaluation than at the one before.
fn rises(rows: &[[f64; 3]], column: usize) -> bool {
    rows.windows(2).all(|two| two[0][column] < two[1][column])
}

#[test]
fn self_consistency_gains_for_three_rounds_and_ends_at_the_mode_without_coverage() {
    let rows = rounds(|p, _| p.to_vec());
    let modes = prompts().iter().filter(|p| p[1..].iter().all(|other| *other < p[0])).count();
    let modes = 100.0 * modes as f64 / PROMPTS as f64;
    assert!(rises(&rows, 0), "{rows:?}");
    // Three rounds gain nearly all there is to gain; then the gap is closed.
    assert!(rows[2][0] - rows[0][0] > 0.95 * (modes - rows[0][0]), "{rows:?}");
    assert!(rows[2][2] < 0.05 * rows[0][2], "{rows:?}");
    let [accuracy, coverage, gap] = rows[3];
    assert!((accuracy - modes).abs() < 0.5 && gap < 0.01, "{rows:?}");
    // All mass is on one answer: more samples find no other, though they found most at first.
    assert!(coverage - accuracy < 1.0 && rows[0][1] > 3.0 * coverage, "{rows:?}");
    assert!(rows.windows(2).all(|two| two[1][1] < two[0][1]), "{rows:?}");
}

#[test]
fn fixed_verifiers_raise_coverage_before_they_lower_it_and_chance_changes_nothing() {
    // Weight exp(noise + merit of the right answer), the noise drawn once: systematic errors.
    let verifier = |noise: f64, merit: f64| {
        let mut rng = Streams::new(2).stream("verdicts", &[]);
        let mut weights = vec![vec![0.0; ANSWERS]; PROMPTS];
        for weight in weights.iter_mut().flatten() {
            let normal: f64 = StandardNormal.sample(&mut rng);
            *weight = (noise * normal).exp();
        }
        weights.iter_mut().for_each(|weights| weights[0] *= merit.exp());
        move |_: &[f64], at: usize| weights[at].clone()
    };
    let weak = rounds(verifier(0.35, 0.5));
    assert!(weak[2][1] > weak[0][1] && weak[2][1] > weak[3][1], "{weak:?}");
    assert!(rises(&weak, 0) && weak[3][2] < weak[2][2] && weak[2][2] < weak[0][2], "{weak:?}");

    let strong = rounds(verifier(0.32, 1.0));
    // As much noise and twice the merit: better in everything, and nothing is lost in eight rounds.
    assert!(rises(&strong, 0) && rises(&strong, 1), "{strong:?}");
    assert_eq!(strong[0][..2], weak[0][..2], "the same prompts");
    for (strong, weak) in strong[1..].iter().zip(&weak[1..]) {
        assert!(strong[0] > weak[0] && strong[1] > weak[1] && strong[2] > weak[2]);
    }

    let chance = rounds(|p, _| vec![0.5; p.len()]);
    assert!(chance.iter().all(|row| (row[0] - chance[0][0]).abs() < 1e-9 && row[2] == 0.0));
    let gold = rounds(|p, _| (0..p.len()).map(|y| f64::from(u8::from(y == 0))).collect());
    for (found, all) in gold[1..].iter().flatten().zip([100.0, 100.0, 0.0].iter().cycle()) {
        assert!((found - all).abs() < 1e-9, "{gold:?}");
    }
}

#[test]
fn products_and_powers_beyond_f64_are_those_of_logarithms() {
    let close = |found: Option<Vec<f64>>, wanted: [f64; 2]| {
        let found = found.expect("there is weight");
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    };
    // 1e-400 and 3e-400, and 1e400 and 3e400: neither is a double.
    close(step(&[1e-200, 1e-200], &[1e-200, 3e-200]).unwrap(), [0.25, 0.75]);
    close(step(&[1e200, 1e200], &[1e200, 3e200]).unwrap(), [0.25, 0.75]);
    close(after(&[0.5, 0.5], &[1e300, 1e300], 1e308).unwrap(), [0.5, 0.5]);
    close(after(&[0.5, 0.5], &[1e-300, 1e-200], 1e308).unwrap(), [0.0, 1.0]);
    assert_eq!(step(&[0.5, 0.5], &[0.0, 0.0]).unwrap(), None);
    assert_eq!(step(&[0.0, 1.0], &[1.0, 0.0]).unwrap(), None);
}
