//! Self-improvement without a network: a table of answer distributions, reweighted exactly.
//!
//! One round of improvement with weights w is the replicator step `p(y) <- p(y) w(y) / sum p w` (the update that [`crate::gap`]
//! is defined by). With a verifier that stays as it is, t rounds are `p_t ∝ p_0 w^t`: no table can leave the support of p_0, and the
//! best-weighted answer wins however often it is wrong. With self-consistency the weight is the policy itself, w = p, so that
//! t rounds are `p_t ∝ p_0^(2^t)`: the mode takes all, in a few rounds. A table shares nothing among prompts, so that it
//! cannot show the collapse of a network to one answer for all.

use headwater_evaluation::EvaluationError;

use crate::SelfImprovementError;

/// The distribution after one round with these weights; `None` where no answer of the policy has weight.
///
/// # Errors
/// Lengths that differ, probabilities or weights that are not finite or below 0.
pub fn step(probability: &[f64], weight: &[f64]) -> Result<Option<Vec<f64>>, SelfImprovementError> {
    check(probability, weight)?;
    let product = probability.iter().zip(weight).map(|(p, w)| p * w);
    let product: Vec<f64> = product.collect();
    let total: f64 = product.iter().sum();
    if !total.is_normal() {
        // Nothing has weight, or products have left f64, which logarithms do not.
        return after(probability, weight, 1.0);
    }
    Ok((total > 0.0).then(|| product.iter().map(|p| p / total).collect()))
}

/// The closed form `p_0 w^t / sum p_0 w^t` for a verifier that stays as it is, at any t of 0 or more; `None` as in [`step`].
/// Computed from logarithms about the largest, so that no power underflows.
///
/// # Errors
/// As [`step`], and a t that is not finite or below 0.
pub fn after(
    probability: &[f64],
    weight: &[f64],
    t: f64,
) -> Result<Option<Vec<f64>>, SelfImprovementError> {
    check(probability, weight)?;
    if !(t.is_finite() && t >= 0.0) {
        let allowed = "a finite number of 0 or more";
        return Err(EvaluationError::Argument { argument: "t", value: t, allowed }.into());
    }
    // w^0 is 1 for w = 0, too: before the first round nothing has been rejected.
    let logs_about = |shift: f64| -> Vec<f64> {
        let log = |(p, w): (&f64, &f64)| match (*p, t) {
            (0.0, _) => f64::NEG_INFINITY,
            (p, 0.0) => p.ln(),
            (p, t) => p.ln() + t * (w.ln() - shift),
        };
        probability.iter().zip(weight).map(log).collect()
    };
    let largest = |logs: &[f64]| logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut logs = logs_about(0.0);
    let mut top = largest(&logs);
    let possible = probability.iter().zip(weight).filter(|(p, w)| **p > 0.0 && **w > 0.0);
    let heaviest = possible.map(|(_, w)| w.ln()).fold(f64::NEG_INFINITY, f64::max);
    if !top.is_finite() && heaviest.is_finite() {
        // A power beyond f64 is relative to that of the heaviest.
        logs = logs_about(heaviest);
        top = largest(&logs);
    }
    if top == f64::NEG_INFINITY {
        return Ok(None);
    }
    let raised: Vec<f64> = logs.iter().map(|log| (log - top).exp()).collect();
    let total: f64 = raised.iter().sum();
    Ok(Some(raised.iter().map(|p| p / total).collect()))
}

fn check(probability: &[f64], weight: &[f64]) -> Result<(), EvaluationError> {
    if probability.len() != weight.len() {
        return Err(EvaluationError::LengthMismatch {
            left: "probability",
            left_length: probability.len(),
            right: "weight",
            right_length: weight.len(),
        });
    }
    for (argument, values) in [("probability", probability), ("weight", weight)] {
        if let Some(index) = values.iter().position(|v| !(v.is_finite() && *v >= 0.0)) {
            let (value, allowed) = (values[index], "a finite number of 0 or more");
            return Err(EvaluationError::Entry { argument, index, value, allowed });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
