//! Self-play fine-tuning (SPIN; Chen et al. 2024, arXiv 2401.01335): what people wrote is preferred to what the policy of
//! the round before writes.
//!
//! Per (prompt x, human response y), own response y' from iterate t:
//!
//! `loss = log(1 + exp(-lambda [log p(y|x)/p_t(y|x) - log p(y'|x)/p_t(y'|x)]))`
//!
//! which is DPO's loss ([`headwater_optimizers::dpo`]) with lambda for beta and `p_t` as reference. Its expected gradient at
//! `p = p_t` is `-lambda/2 (E_data - E_{p_t}) grad log p`: it is 0 where the policy is the distribution of the data, and that
//! is as far as the method goes. The paper's full text was not at hand; this follows its equation.

use headwater_core::{Example, Prompt, Streams};
use headwater_nn::{Decoder, Sampling};

use crate::fit::FitSettings;
use crate::preference::{Preference, prefer};
use crate::{Generations, SelfImprovementError};

/// One round: `policy` writes one response to the prompt of each demonstration; the policy returned prefers the demonstrations
/// to them. Where its response is the demonstration there is nothing to prefer, and no pair.
///
/// # Errors
/// Demonstrations that do not fit the policy, a `lambda` that is not above 0, a loss that is not finite.
pub fn spin_round(
    policy: &Decoder,
    demonstrations: &[Example],
    sampling: &Sampling,
    lambda: f64,
    settings: &FitSettings,
    streams: &Streams,
) -> Result<Decoder, SelfImprovementError> {
    let prompts: Vec<Prompt> = demonstrations
        .iter()
        .map(|d| Prompt { tokens: d.prompt.clone(), text: String::new(), reference: None })
        .collect();
    let own = Generations::sample(policy, &prompts, 1, sampling, &streams.child("own", &[]))?;
    let pairs: Vec<Preference> = demonstrations
        .iter()
        .zip(own.pairs())
        .filter(|(demonstration, (_, own))| demonstration.completion != *own)
        .map(|(demonstration, (_, own))| Preference {
            prompt: demonstration.prompt.clone(),
            chosen: demonstration.completion.clone(),
            rejected: own.to_vec(),
        })
        .collect();
    prefer(policy, policy, &pairs, lambda, settings, &streams.child("fit", &[]))
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::log_softmax;
    use burn::tensor::{Device, Tensor};
    use headwater_optimizers::dpo::{PairLogProbs, dpo_loss};

    /// Gradient, by logit, of the expected loss at `p = p_t`, over all nine pairs of a data outcome and an own one.
    fn expected_gradient(data: [f64; 3], logits: [f32; 3]) -> Vec<f32> {
        let lambda = 0.8;
        let logits = Tensor::<1>::from_floats(logits, &Device::flex().autodiff()).require_grad();
        let log_probs = log_softmax(logits.clone(), 0);
        let own: Vec<f32> = log_probs.clone().inner().exp().try_into_vec_as().unwrap();
        let pick = |of: usize| log_probs.clone().narrow(0, of, 1);
        let mut expected = Tensor::<1>::zeros([1], &logits.device());
        for (chosen, weight) in data.iter().enumerate() {
            for (rejected, own) in own.iter().enumerate() {
                let pair = || PairLogProbs { chosen: pick(chosen), rejected: pick(rejected) };
                let loss = dpo_loss(pair(), pair(), lambda).unwrap();
                expected = expected + loss.mul_scalar(weight * f64::from(*own));
            }
        }
        let gradients = expected.backward();
        logits.grad(&gradients).unwrap().try_into_vec_as().unwrap()
    }

    #[test]
    fn the_gradient_vanishes_where_the_policy_is_the_data_and_only_there() {
        let data = [0.5f64, 0.3, 0.2];
        let logits = data.map(|p| p.ln() as f32);
        let at_optimum = expected_gradient(data, logits);
        assert!(at_optimum.iter().all(|g| g.abs() < 1e-6), "{at_optimum:?}");
        // Elsewhere it is -lambda / 2 (data - policy), as the gradient of a log-softmax is an indicator minus the policy.
        let elsewhere = expected_gradient(data, [0.0; 3]);
        for (gradient, data) in elsewhere.iter().zip(data) {
            let expected = -0.4 * (data - 1.0 / 3.0);
            assert!((f64::from(*gradient) - expected).abs() < 1e-6, "{elsewhere:?}");
        }
    }
}
