//! The shallow tower (Zhao et al. 2019): `L = log-loss(c, z + b_place)`, with b held at 0 where the place is missing.
//!
//! Position and device are the tower's only inputs and both are categories, so a bias for each pair is all that a
//! tower can say; a tower that is not crossed has one for each slot. It is an additive model of the logit: θ multiplies a probability, and the two agree only where
//! probabilities are small.

use super::{ClickGradients, Shown};
use crate::ranker::heads::log_loss;

/// Whose value is the bias of a place: without crossing, that of its slot on the first device.
fn own(place: usize, slots: usize, crossed: bool) -> usize {
    if crossed { place } else { place % slots }
}

/// What is added to the logit of a click at a place.
pub(super) fn bias(values: &[f32], place: usize, slots: usize, crossed: bool) -> f64 {
    f64::from(values[own(place, slots, crossed)])
}

pub(super) fn loss(
    shown: &Shown<'_>,
    logits: &[f32],
    values: &[f32],
    crossed: bool,
    gradients: &mut ClickGradients<'_>,
) -> f64 {
    let share = 1.0 / logits.len() as f64;
    let mut sum = 0.0;
    for (row, &z) in logits.iter().enumerate() {
        let (place, missing) = (shown.places[row], shown.missing[row]);
        let bias = if missing { 0.0 } else { bias(values, place, shown.slots, crossed) };
        let (loss, slope) = log_loss(f64::from(shown.clicks[row]), f64::from(z) + bias);
        sum += share * loss;
        gradients.logits[row] = (share * slope) as f32;
        if !missing {
            gradients.values[own(place, shown.slots, crossed)] += (share * slope) as f32;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::ClickLoss;
    use super::super::tests::{CLICKS, LOGITS, VALUES, check_gradients, run};
    use approx::assert_relative_eq;
    use headwater_evaluation::decision::sigmoid;

    #[test]
    fn a_bias_is_added_unless_the_place_is_missing() {
        let by_hand: f64 = (0..6)
            .map(|row| {
                let bias = if row == 1 { 0.0 } else { VALUES[row] };
                let p = sigmoid(f64::from(LOGITS[row] + bias));
                if CLICKS[row] > 0.0 { -p.ln() } else { -(1.0 - p).ln() }
            })
            .sum();
        let tower = ClickLoss::Tower { crossed: true };
        let (loss, [_, dvalues]) = run(&mut tower.clone(), &LOGITS, &VALUES);
        assert_relative_eq!(loss, by_hand / 6.0, max_relative = 1e-9);
        assert_eq!(dvalues[1], 0.0);
        check_gradients(&tower);
    }

    #[test]
    fn without_crossing_devices_share_the_bias_of_a_slot() {
        let tower = ClickLoss::Tower { crossed: false };
        // The second device's slots take the values of the first's, whatever their own are.
        let [a, b, c] = [VALUES[0], VALUES[1], VALUES[2]];
        let shared = run(&mut ClickLoss::Tower { crossed: true }, &LOGITS, &[a, b, c, a, b, c]);
        let (loss, [dlogits, dvalues]) = run(&mut tower.clone(), &LOGITS, &VALUES);
        let (shared_loss, [shared_dlogits, by_place]) = shared;
        assert_eq!((loss, dlogits), (shared_loss, shared_dlogits));
        for slot in 0..3 {
            assert_relative_eq!(dvalues[slot], by_place[slot] + by_place[slot + 3]);
            assert_eq!(dvalues[slot + 3], 0.0);
        }
        check_gradients(&tower);
        let curve = tower.log_theta(&VALUES, 3).unwrap();
        assert_eq!(curve[..3], curve[3..]);
    }
}
