//! Scores at the edges of f32: tiny and huge temperatures, huge logits. What is right is computed
//! in double precision.

use crate::common::values;
use headwater_kernels::{
    InstructionSet, Scored, log_softmax, rms_norm, rms_norm_backward, token_scores,
    token_scores_backward, with_instruction_set,
};

const SETS: [InstructionSet; 3] =
    [InstructionSet::Detected, InstructionSet::Avx2, InstructionSet::Scalar];

/// Log-probabilities and entropy at a temperature, the largest logit taken off first.
fn exact(logits: &[f32], temperature: f64) -> (Vec<f64>, f64) {
    let top = logits.iter().fold(f32::NEG_INFINITY, |top, z| top.max(*z));
    let scaled: Vec<f64> =
        logits.iter().map(|z| (f64::from(*z) - f64::from(top)) / temperature).collect();
    let log_sum = scaled.iter().map(|z| z.exp()).sum::<f64>().ln();
    let log_probs: Vec<f64> = scaled.iter().map(|z| z - log_sum).collect();
    let terms = log_probs.iter().filter(|l| **l > -700.0).map(|l| -l.exp() * l);
    let entropy = terms.sum();
    (log_probs, entropy)
}

/// Rows of logits spread over about 20.
fn rows(count: usize, vocabulary: usize) -> Vec<Vec<f32>> {
    let row = |at| values(vocabulary, at as u64 + 1).into_iter().map(|v| 10.0 * v).collect();
    (0..count).map(row).collect()
}

#[test]
fn every_temperature_gives_the_exact_distribution() {
    for temperature in [1e-39f64, 1e-30, 1e-9, 1e-8, 1e-5, 1e-3, 1e-2, 0.1, 0.5, 1.0, 30.0, 1e30] {
        for (set, vocabulary) in SETS.iter().flat_map(|set| [2, 7, 16, 33].map(|v| (*set, v))) {
            for logits in rows(40, vocabulary) {
                let (log_probs, entropy) = exact(&logits, temperature);
                let (mut got, mut probabilities) = (logits.clone(), vec![0.0; vocabulary]);
                let found = with_instruction_set(set, || {
                    log_softmax(&mut got, &mut probabilities, temperature as f32)
                });
                assert!((f64::from(found) - entropy).abs() < 2e-5, "{temperature}: {found}");
                assert!((-2e-5..=(vocabulary as f32).ln() + 2e-5).contains(&found));
                for ((want, got), p) in log_probs.iter().zip(&got).zip(&probabilities) {
                    // f32 ends at 3e38, and rounds the temperature itself below 1e-38.
                    let want = want.max(-1e37);
                    if want > -60.0 {
                        assert!((f64::from(*got) - want).abs() < 1e-4, "{temperature}: {got}");
                    } else {
                        assert!(*got < -50.0 && got.is_finite(), "{temperature}: {got} {want}");
                    }
                    assert!((f64::from(*p) - want.exp()).abs() < 1e-4, "{temperature}: {p}");
                }
            }
        }
    }
}

#[test]
fn the_likeliest_has_probability_one_at_tiny_temperatures_and_equals_share_it() {
    for temperature in [0.0f32, 1e-39, 1e-20, 1e-9] {
        let mut logits = [3.0f32, 12.5, -7.0, 12.25];
        let mut probabilities = [0.0; 4];
        let entropy = log_softmax(&mut logits, &mut probabilities, temperature);
        assert_eq!((logits[1], entropy, probabilities), (0.0, 0.0, [0.0, 1.0, 0.0, 0.0]));
        let mut equal = [4.0f32, -1.0, 4.0];
        let mut probabilities = [0.0; 3];
        let entropy = log_softmax(&mut equal, &mut probabilities, temperature);
        assert_eq!((entropy, probabilities), (2f32.ln(), [0.5, 0.0, 0.5]));
        assert_eq!((equal[0], equal[2]), (-(2f32.ln()), -(2f32.ln())));
    }
}

#[test]
fn huge_logits_lose_nothing_either_and_no_number_is_made_of_what_is_none() {
    let mut logits = [1e7f32, 1e7 - 1.0, 1e7 - 2.0, -1e30];
    let (want, entropy) = exact(&logits, 1.0);
    let mut probabilities = [0.0; 4];
    let found = log_softmax(&mut logits, &mut probabilities, 1.0);
    assert!((f64::from(found) - entropy).abs() < 1e-6, "{found} {entropy}");
    for (got, want) in logits.iter().zip(&want[..3]) {
        assert!((f64::from(*got) - want).abs() < 1e-6, "{got} {want}");
    }
    // A masked logit takes no part.
    let mut masked = [0.5f32, f32::NEG_INFINITY, 0.5];
    let entropy = log_softmax(&mut masked, &mut [0.0; 3], 1.0);
    assert_eq!((entropy, masked[1]), (2f32.ln(), f32::NEG_INFINITY));
    for bad in [f32::NAN, f32::INFINITY] {
        let mut logits = [0.0, bad, 1.0];
        assert!(log_softmax(&mut logits, &mut [0.0; 3], 1e-9).is_nan());
    }
}

#[test]
#[should_panic(expected = "temperature -1: allowed is a number above 0")]
fn a_negative_temperature_is_refused() {
    let _ = log_softmax(&mut [1.0, 2.0], &mut [0.0; 2], -1.0);
}

/// One row whose logits are `logits`: a hidden state of 1 and an embedding of width 1.
fn scored<'a>(logits: &'a [f32], temperature: f32) -> Scored<'a> {
    Scored { hidden: &[1.0], embedding: logits, width: 1, at: &[0], temperature }
}

#[test]
fn scores_and_their_gradients_stay_finite_at_tiny_temperatures() {
    let logits = [3.0f32, 12.5, -7.0, 12.25, 0.5];
    for (set, temperature) in SETS.iter().flat_map(|s| [1e-39f32, 1e-20, 1e-8].map(|t| (*s, t))) {
        with_instruction_set(set, || {
            let side = scored(&logits, temperature);
            let (scores, kept) = token_scores(&side, &[1]);
            assert_eq!(scores, [0.0, 0.0], "{set:?} {temperature}");
            // The greedy token is certain, and nothing small moves that.
            let (hidden, embedding) = token_scores_backward(&side, &[1], &kept, &[1.0, 1.0]);
            assert_eq!((hidden, embedding), (vec![0.0], vec![0.0; 5]), "{set:?} {temperature}");
            let (scores, _) = token_scores(&side, &[0]);
            assert!(scores[0].is_finite() && scores[0] < -1e8, "{scores:?}");
        });
    }
}

#[test]
fn a_slope_at_a_small_temperature_is_that_of_double_precision() {
    // Two logits 1e-3 apart at temperature 1e-3: p = sigmoid(1).
    let logits = [5.0f32, 4.999, -3.0];
    let (temperature, outer) = (1e-3f32, [0.7f32, -0.4]);
    let side = scored(&logits, temperature);
    let (scores, kept) = token_scores(&side, &[1]);
    let (log_probs, entropy) = exact(&logits, f64::from(temperature));
    assert!((f64::from(scores[0]) - log_probs[1]).abs() < 1e-6);
    assert!((f64::from(scores[1]) - entropy).abs() < 1e-6);
    let (_, slopes) = token_scores_backward(&side, &[1], &kept, &outer);
    for (at, slope) in slopes.iter().enumerate() {
        let p = log_probs[at].exp();
        let of_log_prob = f64::from(u8::from(at == 1)) - p;
        let of_entropy = if p > 0.0 { -p * (log_probs[at] + entropy) } else { 0.0 };
        let want = (f64::from(outer[0]) * of_log_prob + f64::from(outer[1]) * of_entropy)
            / f64::from(temperature);
        assert!((f64::from(*slope) - want).abs() < 1e-3, "{at}: {slope} {want}");
    }
}

#[test]
fn a_row_whose_squares_leave_f32_is_normed_like_any_other() {
    let (x, gain, outer) = (values(16, 5), values(16, 6), values(16, 7));
    let times = |by: f32| x.iter().map(|x| x * by).collect::<Vec<f32>>();
    for set in SETS {
        with_instruction_set(set, || {
            let small = rms_norm(&times(1e3), &gain, 1e-20);
            let large = rms_norm(&times(1e30), &gain, 1e-20);
            for (small, large) in small.iter().zip(&large) {
                assert!((small - large).abs() < 1e-5, "{small} {large}");
            }
            // The slope falls as the row grows.
            let (small, _) = rms_norm_backward(&times(1e3), &gain, 1e-20, &outer);
            let (large, _) = rms_norm_backward(&times(1e30), &gain, 1e-20, &outer);
            for (small, large) in small.iter().zip(&large) {
                assert!((small * 1e3 - large * 1e30).abs() < 1e-5, "{small} {large}");
            }
        });
    }
    // Equal entries have no slope along themselves, at the end of f32 too.
    for set in SETS {
        with_instruction_set(set, || {
            let (slope, _) = rms_norm_backward(&[3e38; 4], &[1.0; 4], 1e-5, &[1.0; 4]);
            assert!(slope.iter().all(|slope| slope.abs() < 1e-30), "{slope:?}");
        });
    }
    assert!(rms_norm(&[1.0, f32::INFINITY], &[1.0; 2], 1e-5)[1].is_nan());
}

#[test]
fn the_gradient_of_an_entropy_is_finite_where_a_logit_is_minus_infinity() {
    let embedding = [0.0f32, 0.0, -1e30, 0.0, 0.0, -1e30, 0.0, 0.0, 0.0];
    for set in SETS {
        with_instruction_set(set, || {
            let side = Scored { hidden: &[1e30], ..scored(&embedding, 1.0) };
            let (scores, kept) = token_scores(&side, &[0]);
            assert!((scores[1] - 7f32.ln()).abs() < 1e-6, "{set:?} {scores:?}");
            let (hidden, embedding) = token_scores_backward(&side, &[0], &kept, &[0.0, 1.0]);
            assert!(hidden.iter().chain(&embedding).all(|d| d.is_finite()), "{set:?}");
        });
    }
}
