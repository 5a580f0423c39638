//! The Bradley-Terry likelihood of a comparison, on scalars with its slope and on tensors.

use burn::tensor::Tensor;
use burn::tensor::activation::log_sigmoid;
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

/// The same on tensors, mean over the pairs `[pairs, 1]`: the first response is preferred, no margin.
#[must_use]
pub fn bradley_terry_loss(chosen: Tensor<2>, rejected: Tensor<2>) -> Tensor<1> {
    log_sigmoid(chosen - rejected).mean().neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
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

    #[test]
    fn scalars_and_tensors_agree_in_values_and_gradients() {
        let device = Device::flex().autodiff();
        let pairs = [(0.5f32, -1.0f32), (-2.0, 3.0), (0.0, 0.0), (9.0, -9.0)];
        let column = |side: fn(&(f32, f32)) -> f32| {
            let rows: Vec<[f32; 1]> = pairs.iter().map(|pair| [side(pair)]).collect();
            Tensor::<2>::from_data(<[[f32; 1]; 4]>::try_from(rows).unwrap(), &device).require_grad()
        };
        let (chosen, rejected) = (column(|pair| pair.0), column(|pair| pair.1));
        let loss = bradley_terry_loss(chosen.clone(), rejected);
        let values = |tensor: Tensor<2>| tensor.try_into_vec_as::<f32>().unwrap();
        let slopes = values(chosen.grad(&loss.backward()).unwrap());
        let scalars = pairs.map(|(a, b)| bradley_terry(f64::from(a) - f64::from(b), 1.0, 0.0));
        let mean = scalars.iter().map(|(loss, _)| loss).sum::<f64>() / 4.0;
        let tensor = loss.inner().try_into_vec_as::<f32>().unwrap()[0];
        assert!((f64::from(tensor) - mean).abs() < 1e-6);
        for (slope, (_, expected)) in slopes.iter().zip(scalars) {
            assert!((f64::from(*slope) - expected / 4.0).abs() < 1e-6, "{slope} {expected}");
        }
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
