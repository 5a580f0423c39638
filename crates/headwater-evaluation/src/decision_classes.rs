//! Decisions with any number of classes and actions: the formulas of [`crate::decision`] beyond two classes.
//!
//! `posterior[y]` is the probability of class y, non-negative and summing to 1 within 1e-9; `weights[y]` what a
//! mistake on y weighs.

use crate::decision::probabilities;
use crate::error::{EvaluationError, all_finite, argument, at_least, every, in_range, same_length};

/// p^w, with p^w_y = w_y q_y / sum_j w_j q_j.
///
/// # Errors
/// Lengths that differ, a weight that is not finite and above 0, or a posterior that is no distribution.
pub fn weighted_prediction(
    weights: &[f64],
    posterior: &[f64],
) -> Result<Vec<f64>, EvaluationError> {
    check(weights, posterior)?;
    let (masses, total) = masses(weights, posterior)?;
    Ok(masses.iter().map(|mass| mass / total).collect())
}

/// The residual loss V_w = S ln S - sum_y A_y ln A_y, with A_y = w_y q_y and S their sum, in nats: the lowest
/// expected weighted log loss at this posterior.
///
/// # Errors
/// As [`weighted_prediction`].
pub fn residual_loss(weights: &[f64], posterior: &[f64]) -> Result<f64, EvaluationError> {
    check(weights, posterior)?;
    let (masses, total) = masses(weights, posterior)?;
    let term = |mass: f64| if mass > 0.0 { mass * mass.ln() } else { 0.0 };
    // At least 0 but for rounding.
    let loss = term(total) - masses.iter().map(|mass| term(*mass)).sum::<f64>();
    Ok(in_range("residual loss", "weights", loss)?.max(0.0))
}

/// The Hessian of [`residual_loss`] in the posterior, row by row: w w^T / S - diag(w_y / q_y).
///
/// # Errors
/// As [`weighted_prediction`]; a class of probability 0, where it does not exist.
pub fn residual_curvature(
    weights: &[f64],
    posterior: &[f64],
) -> Result<Vec<Vec<f64>>, EvaluationError> {
    check(weights, posterior)?;
    every("posterior", posterior, "a number above 0", |q| q > 0.0)?;
    let (_, total) = masses(weights, posterior)?;
    let entry = |i: usize, j: usize| {
        let own = if i == j { weights[i] / posterior[i] } else { 0.0 };
        in_range("curvature", "weights", weights[i] * weights[j] / total - own)
    };
    let classes = weights.len();
    (0..classes).map(|i| (0..classes).map(|j| entry(i, j)).collect()).collect()
}

/// z_y + ln w_y: the logits of p^w from those of the posterior.
///
/// # Errors
/// Lengths that differ, a weight that is not finite and above 0, or a logit that is not finite.
pub fn adjusted_logits(weights: &[f64], logits: &[f64]) -> Result<Vec<f64>, EvaluationError> {
    at_least("weights", weights.len(), 1)?;
    same_length("weights", weights.len(), "logits", logits.len())?;
    every("weights", weights, POSITIVE, |w| w > 0.0 && w.is_finite())?;
    all_finite("logits", logits)?;
    Ok(weights.iter().zip(logits).map(|(w, z)| z + w.ln()).collect())
}

/// z_y - tau ln pi_y: logit adjustment after training (Menon et al. 2020, arXiv 2007.07314). At tau = 1 its argmax is
/// that of the balanced error, and it is [`adjusted_logits`] with weights 1/pi_y.
///
/// # Errors
/// As [`adjusted_logits`], with priors for weights; a tau that is not finite.
pub fn prior_adjusted_logits(
    priors: &[f64],
    logits: &[f64],
    tau: f64,
) -> Result<Vec<f64>, EvaluationError> {
    argument(tau.is_finite(), "tau", tau, "a finite number")?;
    at_least("priors", priors.len(), 1)?;
    same_length("priors", priors.len(), "logits", logits.len())?;
    every("priors", priors, "a number in (0, 1]", |p| p > 0.0 && p <= 1.0)?;
    all_finite("logits", logits)?;
    let adjusted = |(p, z): (&f64, &f64)| in_range("adjusted logit", "tau", z - tau * p.ln());
    priors.iter().zip(logits).map(adjusted).collect()
}

/// The action of highest expected utility, argmax_a sum_y q_y u(a, y), the first of equals; `utilities[a][y]`.
///
/// # Errors
/// No action, a row of another length than the posterior, a utility that is not finite, or a posterior that is no
/// distribution.
pub fn best_action<R: AsRef<[f64]>>(
    utilities: &[R],
    posterior: &[f64],
) -> Result<usize, EvaluationError> {
    at_least("utilities", utilities.len(), 1)?;
    distribution(posterior)?;
    let (mut best, mut highest) = (0, f64::NEG_INFINITY);
    for (action, row) in utilities.iter().enumerate() {
        let row = row.as_ref();
        same_length("posterior", posterior.len(), "row", row.len())
            .and_then(|()| all_finite("row", row))
            .map_err(|error| error.of_item("utilities", action))?;
        let expected: f64 = row.iter().zip(posterior).map(|(u, q)| u * q).sum();
        in_range("expected utility", "utilities", expected)?;
        if expected > highest {
            (best, highest) = (action, expected);
        }
    }
    Ok(best)
}

const POSITIVE: &str = "a finite number above 0";

fn check(weights: &[f64], posterior: &[f64]) -> Result<(), EvaluationError> {
    same_length("weights", weights.len(), "posterior", posterior.len())?;
    every("weights", weights, POSITIVE, |w| w > 0.0 && w.is_finite())?;
    distribution(posterior)
}

fn distribution(posterior: &[f64]) -> Result<(), EvaluationError> {
    probabilities("posterior", posterior)?;
    let total: f64 = posterior.iter().sum();
    argument((total - 1.0).abs() <= 1e-9, "sum of the posterior", total, "1 within 1e-9")
}

/// A_y = w_y q_y, and their sum, which is above 0 and finite.
fn masses(weights: &[f64], posterior: &[f64]) -> Result<(Vec<f64>, f64), EvaluationError> {
    let masses: Vec<f64> = weights.iter().zip(posterior).map(|(w, q)| w * q).collect();
    let (argument, what) = ("weights", "sum of weights times posterior");
    let total = in_range(what, argument, masses.iter().sum())?;
    if total > 0.0 {
        return Ok((masses, total));
    }
    Err(EvaluationError::OutOfRange { argument, what, value: total })
}
