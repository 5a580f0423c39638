//! What a policy still needs the context for: importance weights of responses sampled under one
//! prompt and trained under another, and the gap between the two.
//!
//! Both are functions of the sampled tokens' log-probabilities under the two prompts
//! ([`TwoContexts::log_probs`](crate::TwoContexts::log_probs), with the policy as its own teacher).

use crate::distillation::pairwise;
use crate::statistics::mean;
use crate::{OptimizerError, TokenRows};
use headwater_core::require;

/// `w_t = min(pi(y_t | q, y_<t) / pi(y_t | q, c, y_<t), cap)` of every token of a refinement that
/// was sampled with the critique `c` in its prompt and is trained without it (ICRL, arXiv
/// 2605.15224).
///
/// The weight trusts what the plain policy finds plausible already; Critique-GRPO's shaping does
/// the opposite. The cap is the caller's: we found no published value.
///
/// # Errors
/// Rows that differ in number or length, a log-probability that is not finite, a cap that is not
/// above 0.
pub fn icrl_weights(
    plain_logp: &[Vec<f64>],
    informed_logp: &[Vec<f64>],
    cap: f64,
) -> Result<TokenRows, OptimizerError> {
    require(cap > 0.0, "icrl_weights", "cap", cap, "a number above 0")?;
    pairwise("plain_logp", plain_logp, "informed_logp", informed_logp, |plain, informed| {
        (plain - informed).exp().min(cap)
    })
}

/// The self-internalisation gap (arXiv 2605.12474): over responses `o` sampled *with* the rubric in
/// the prompt, the mean of `log pi(o | x) - log pi(o | x, rubric)` per token of each, nats.
///
/// At most 0 in expectation, being a negative KL divergence; it rises towards 0 while the policy
/// learns to do unasked what the rubric asks for. Responses without tokens do not count; without
/// any response it is 0.
///
/// # Errors
/// Rows that differ in number or length, a log-probability that is not finite.
pub fn self_internalisation_gap(
    plain_logp: &[Vec<f64>],
    informed_logp: &[Vec<f64>],
) -> Result<f64, OptimizerError> {
    let gaps = pairwise("plain_logp", plain_logp, "informed_logp", informed_logp, |p, i| p - i)?;
    let gaps: Vec<f64> = gaps.iter().filter(|row| !row.is_empty()).map(|row| mean(row)).collect();
    Ok(mean(&gaps))
}
