//! The shallow tower (Zhao et al. 2019): `L = log-loss(c, z + b_place)`, with b held at 0 where the place is missing.
//!
//! Position and device are the tower's only inputs and both are categories, so a bias for each pair is all that a
//! tower can say. It is an additive model of the logit: θ multiplies a probability, and the two agree only where
//! probabilities are small.

use super::{ClickGradients, Shown};
use crate::ranker::heads::log_loss;

pub(super) fn loss(
    shown: &Shown<'_>,
    logits: &[f32],
    values: &[f32],
    gradients: &mut ClickGradients<'_>,
) -> f64 {
    let share = 1.0 / logits.len() as f64;
    let mut sum = 0.0;
    for (row, &z) in logits.iter().enumerate() {
        let (place, missing) = (shown.places[row], shown.missing[row]);
        let bias = if missing { 0.0 } else { f64::from(values[place]) };
        let (loss, slope) = log_loss(f64::from(shown.clicks[row]), f64::from(z) + bias);
        sum += share * loss;
        gradients.logits[row] = (share * slope) as f32;
        if !missing {
            gradients.values[place] += (share * slope) as f32;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::ClickLoss;
    use super::super::tests::{CLICKS, LOGITS, VALUES, check_gradients, run};
    use crate::ranker::heads::sigmoid;
    use approx::assert_relative_eq;

    #[test]
    fn a_bias_is_added_unless_the_place_is_missing() {
        let by_hand: f64 = (0..6)
            .map(|row| {
                let bias = if row == 1 { 0.0 } else { VALUES[row] };
                let p = sigmoid(f64::from(LOGITS[row] + bias));
                if CLICKS[row] > 0.0 { -p.ln() } else { -(1.0 - p).ln() }
            })
            .sum();
        let (loss, [_, dvalues]) = run(&mut ClickLoss::Tower, &LOGITS, &VALUES);
        assert_relative_eq!(loss, by_hand / 6.0, max_relative = 1e-9);
        assert_eq!(dvalues[1], 0.0);
        check_gradients(&ClickLoss::Tower);
    }
}
