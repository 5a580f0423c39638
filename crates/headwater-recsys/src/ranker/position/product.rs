//! PAL (Guo et al. 2019): `P(click) = P(seen | place) s(z)` with `P(seen | place) = s(a_place)`, log-loss of the product.
//!
//! Multiplying the one factor and dividing the other leaves the product as it is, so P(seen) of each device's first
//! slot is held at 1. That fixes the scale only as far as s(z) is not free to shrink with it: across devices, and
//! where items do not swap slots, scale remains a matter of chance.

use headwater_evaluation::decision::{sigmoid, softplus};

use super::{ClickGradients, Shown};

/// P(seen | place).
pub(super) fn seen(values: &[f32], place: usize, slots: usize) -> f64 {
    if place.is_multiple_of(slots) { 1.0 } else { sigmoid(f64::from(values[place])) }
}

pub(super) fn loss(
    shown: &Shown<'_>,
    logits: &[f32],
    values: &[f32],
    gradients: &mut ClickGradients<'_>,
) -> f64 {
    let share = 1.0 / logits.len() as f64;
    let mut sum = 0.0;
    for (row, &z) in logits.iter().enumerate() {
        let (click, z, place) = (f64::from(shown.clicks[row]), f64::from(z), shown.places[row]);
        let anchored = place.is_multiple_of(shown.slots);
        let a = f64::from(values[place]);
        let (seen, unseen) = if anchored { (1.0, 0.0) } else { (sigmoid(a), sigmoid(-a)) };
        let (clicked, not) = (sigmoid(z), sigmoid(-z));
        // 1 - p as a sum of what is not negative, so that p near 1 costs no digits.
        let (p, rest) = (seen * clicked, unseen + seen * not);
        let log_seen = if anchored { 0.0 } else { -softplus(-a) };
        let log_p = log_seen - softplus(-z);
        // ln(1 - p) at a = ∞ is -softplus(z).
        let log_rest = if anchored { -softplus(z) } else { rest.ln() };
        sum -= share * (click * log_p + (1.0 - click) * log_rest);
        // d log p = 1 - s, d log(1 - p) = -p (1 - s) / (1 - p); of each factor with respect to its own logit.
        let odds = if rest > 0.0 { p / rest } else { 0.0 };
        let slope = |other: f64| share * ((1.0 - click) * odds * other - click * other);
        gradients.logits[row] = match anchored {
            true => (share * (clicked - click)) as f32,
            false => slope(not) as f32,
        };
        if !anchored {
            gradients.values[place] += slope(unseen) as f32;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::ClickLoss;
    use super::super::tests::{CLICKS, LOGITS, VALUES, check_gradients, run};
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn the_product_with_its_anchors() {
        let by_hand: f64 = (0..6)
            .map(|row| {
                let seen = if row % 3 == 0 { 1.0 } else { sigmoid(f64::from(VALUES[row])) };
                let p = seen * sigmoid(f64::from(LOGITS[row]));
                if CLICKS[row] > 0.0 { -p.ln() } else { -(1.0 - p).ln() }
            })
            .sum();
        let (loss, [_, dvalues]) = run(&mut ClickLoss::Product, &LOGITS, &VALUES);
        assert_relative_eq!(loss, by_hand / 6.0, max_relative = 1e-9);
        assert_eq!((dvalues[0], dvalues[3]), (0.0, 0.0));
        check_gradients(&ClickLoss::Product);
    }

    #[test]
    fn far_out_nothing_overflows() {
        for far in [-90.0, 90.0] {
            let (loss, gradients) = run(&mut ClickLoss::Product, &[far; 6], &[far; 6]);
            assert!(loss.is_finite(), "{loss}");
            assert!(gradients.concat().iter().all(|value| value.is_finite()), "{gradients:?}");
        }
    }
}
