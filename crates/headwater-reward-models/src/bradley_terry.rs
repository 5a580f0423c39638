//! The Bradley-Terry likelihood of one comparison, with soft labels, ties and a margin.

use headwater_evaluation::decision::{sigmoid, softplus};

/// Loss and its derivative with respect to `difference`, the score of the first response less that of the
/// second.
///
/// With d the difference, p the label and m the margin, `d' = d - m (2p - 1)` and
/// `loss = -p log s(d') - (1 - p) log s(-d')`, s the logistic function (Bradley and Terry 1952; the margin
/// as in Touvron et al. 2023, Llama 2, equation 2, here scaled so that it vanishes for a tie).
///
/// `label` is the probability that the first response is preferred: 1 for an ordinary pair, 1/2 for a tie,
/// anything in [0, 1]; `margin` is 0 or more. In nats; exact for any finite difference.
#[must_use]
pub fn bradley_terry(difference: f64, label: f64, margin: f64) -> (f64, f64) {
    let shifted = difference - margin * (2.0 * label - 1.0);
    let loss = label * softplus(-shifted) + (1.0 - label) * softplus(shifted);
    (loss, sigmoid(shifted) - label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        // -log s(1), -log s(1 - 0.5), and half of both sides for a tie.
        assert!((bradley_terry(1.0, 1.0, 0.0).0 - 0.313_261_687_518_222_8).abs() < 1e-15);
        assert!((bradley_terry(1.0, 1.0, 0.5).0 - 0.474_076_984_180_106_7).abs() < 1e-15);
        let tie = 0.5 * (0.313_261_687_518_222_8 + 1.313_261_687_518_222_8);
        assert!((bradley_terry(1.0, 0.5, 3.0).0 - tie).abs() < 1e-15);
        assert!((bradley_terry(-1e4, 1.0, 0.0).0 - 1e4).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn gradient_and_symmetry(d in -20.0..20.0f64, p in 0.0..=1.0f64, m in 0.0..2.0f64) {
            let (loss, slope) = bradley_terry(d, p, m);
            let h = 1e-5;
            let numeric = (bradley_terry(d + h, p, m).0 - bradley_terry(d - h, p, m).0) / (2.0 * h);
            prop_assert!((slope - numeric).abs() < 1e-6);
            // Swapping the responses and the label changes nothing.
            let (swapped, opposite) = bradley_terry(-d, 1.0 - p, m);
            prop_assert!((loss - swapped).abs() < 1e-9 && (slope + opposite).abs() < 1e-9);
        }
    }
}
