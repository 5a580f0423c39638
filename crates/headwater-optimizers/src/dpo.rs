//! Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290): a loss on pairs of a chosen and a rejected
//! response, without a reward model.
//!
//! Per pair, with the log-probabilities of whole responses under the policy `p` and a fixed reference `r`,
//!
//! `margin = (log p(chosen) - log r(chosen)) - (log p(rejected) - log r(rejected))`
//!
//! `loss = -log sigmoid(beta margin) = log(1 + exp(-beta margin))`.
//!
//! Log-probabilities are summed over tokens, not averaged, as in the paper; its label smoothing and the variants of the
//! link (IPO, hinge) are not here. SPIN (Chen et al. 2024, arXiv 2401.01335) has the same loss with its lambda for
//! beta, data for the chosen side, and the policy of the round before for both rejected side and reference.

use burn::tensor::Tensor;
use burn::tensor::activation::softplus;
use headwater_core::require_positive;

use crate::OptimizerError;

/// Log-probabilities of the two responses of each pair, `[pairs]` each.
#[derive(Debug, Clone)]
pub struct PairLogProbs {
    /// Of the chosen responses.
    pub chosen: Tensor<1>,
    /// Of the rejected responses.
    pub rejected: Tensor<1>,
}

impl PairLogProbs {
    /// How much likelier the chosen response is than the rejected one: the log of the ratio.
    fn contrast(self) -> Tensor<1> {
        self.chosen - self.rejected
    }
}

/// The loss of every pair, `[pairs]`. Gradients flow through `policy` alone. Values are not read back from the device:
/// check the loss.
///
/// # Errors
/// [`OptimizerError::Shape`] for tensors of different lengths, [`OptimizerError::Config`] for a `beta` that is not a
/// finite number above 0.
pub fn dpo_loss(
    policy: PairLogProbs,
    reference: PairLogProbs,
    beta: f64,
) -> Result<Tensor<1>, OptimizerError> {
    require_positive("dpo_loss", "beta", beta)?;
    let expected = policy.chosen.dims();
    for (what, tensor) in [
        ("rejected", &policy.rejected),
        ("reference chosen", &reference.chosen),
        ("reference rejected", &reference.rejected),
    ] {
        if tensor.dims() != expected {
            let (found, expected) = (tensor.dims().into(), expected.into());
            return Err(OptimizerError::Shape { what, found, expected });
        }
    }
    let margin = policy.contrast() - reference.contrast().detach();
    Ok(softplus(margin.mul_scalar(-beta), 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn tensor(values: [f32; 3]) -> Tensor<1> {
        Tensor::from_floats(values, &Device::flex().autodiff())
    }

    fn host(tensor: Tensor<1>) -> Vec<f64> {
        let values = tensor.inner().try_into_vec_as::<f32>().unwrap();
        values.into_iter().map(f64::from).collect()
    }

    fn assert_close(value: f64, expected: f64, within: f64) {
        assert!((value - expected).abs() <= within, "{value} is not {expected}");
    }

    const CHOSEN: [f32; 3] = [-1.0, -2.5, -4.0];
    const REJECTED: [f32; 3] = [-1.0, -1.5, -9.0];

    fn loss(chosen: Tensor<1>, rejected: Tensor<1>, beta: f64) -> Tensor<1> {
        let reference = PairLogProbs {
            chosen: tensor([-1.0, -2.0, -6.0]),
            rejected: tensor([-1.0, -2.0, -3.0]),
        };
        dpo_loss(PairLogProbs { chosen, rejected }, reference, beta).unwrap()
    }

    #[test]
    fn values_are_those_of_an_independent_computation() {
        // python3: [math.log1p(math.exp(-0.5 * m)) for m in (0, -1, 8)].
        let golden = [std::f64::consts::LN_2, 0.974_076_984_180_107_3, 0.018_149_927_917_809_74];
        let loss = host(loss(tensor(CHOSEN), tensor(REJECTED), 0.5));
        for (loss, golden) in loss.iter().zip(golden) {
            assert_close(*loss, golden, 1e-6);
        }
    }

    #[test]
    fn a_policy_that_is_the_reference_loses_log_2_whatever_it_prefers() {
        let same = || PairLogProbs { chosen: tensor(CHOSEN), rejected: tensor(REJECTED) };
        for loss in host(dpo_loss(same(), same(), 3.0).unwrap()) {
            assert_close(loss, 2f64.ln(), 1e-6);
        }
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let beta = 0.7;
        let chosen = tensor(CHOSEN).require_grad();
        let rejected = tensor(REJECTED).require_grad();
        let gradients = loss(chosen.clone(), rejected.clone(), beta).sum().backward();
        let [up, down] = [&chosen, &rejected].map(|side| {
            let gradient = side.grad(&gradients).unwrap().try_into_vec_as::<f32>().unwrap();
            gradient.into_iter().map(f64::from).collect::<Vec<_>>()
        });
        // In double precision, so that the step can be small.
        let exact = |chosen: f64, rejected: f64, at: usize| {
            let reference = [0.0, 0.0, -3.0][at];
            (-beta * (chosen - rejected - reference)).exp().ln_1p()
        };
        for at in 0..3 {
            let (c, r) = (f64::from(CHOSEN[at]), f64::from(REJECTED[at]));
            let step = 1e-5;
            let slope = |f: &dyn Fn(f64) -> f64| (f(step) - f(-step)) / (2.0 * step);
            assert_close(up[at], slope(&|h| exact(c + h, r, at)), 1e-5);
            assert_close(down[at], slope(&|h| exact(c, r + h, at)), 1e-5);
        }
    }

    #[test]
    fn what_cannot_be_compared_is_an_error() {
        let pair = |n: usize| {
            let zeros = || Tensor::<1>::zeros([n], &Device::flex());
            PairLogProbs { chosen: zeros(), rejected: zeros() }
        };
        let error = dpo_loss(pair(2), pair(3), 0.1).unwrap_err();
        assert!(error.to_string().starts_with("tensor reference chosen has shape [3]"), "{error}");
        let error = dpo_loss(pair(2), pair(2), 0.0).unwrap_err();
        assert_eq!(error.to_string(), "dpo_loss.beta = 0: allowed is a finite number above 0");
    }
}
