//! Dual learning (DLA, Ai et al. 2018, arXiv 1804.05938): relevance and propensity learn from each other.
//!
//! With f the logits of a list's items, g the values of its places, both through a softmax over the list, and 1 the top
//! of the list, over clicked rows k:
//!
//! ```text
//! rank loss  = - sum_k (e^g_1 / e^g_k) log softmax(f)_k
//! exam loss  = - sum_k (e^f_1 / e^f_k) log softmax(g)_k
//! ```
//!
//! The weights are constants. A list without a click says nothing. The mean is over lists.

use super::{ClickGradients, Shown};

pub(super) fn loss(
    shown: &Shown<'_>,
    logits: &[f32],
    values: &[f32],
    most_weight: f64,
    gradients: &mut ClickGradients<'_>,
) -> f64 {
    let share = 1.0 / shown.lists.len() as f64;
    gradients.logits.fill(0.0);
    let mut sum = 0.0;
    for list in shown.lists {
        let clicks = &shown.clicks[list.clone()];
        if clicks.iter().all(|&click| click == 0.0) {
            continue;
        }
        let (places, f) = (&shown.places[list.clone()], &logits[list.clone()]);
        let relevance = |row: usize| f64::from(f[row]);
        let propensity = |row: usize| f64::from(values[places[row]]);
        sum += share
            * weighted(clicks, most_weight, &relevance, &propensity, |row, slope| {
                gradients.logits[list.start + row] = (share * slope) as f32;
            });
        sum += share
            * weighted(clicks, most_weight, &propensity, &relevance, |row, slope| {
                gradients.values[places[row]] += (share * slope) as f32;
            });
    }
    sum
}

/// - Σ over clicked rows k of e^(other_1 - other_k) log softmax(own)_k, and its slopes in `own`.
fn weighted(
    clicks: &[f32],
    most_weight: f64,
    own: &dyn Fn(usize) -> f64,
    other: &dyn Fn(usize) -> f64,
    mut slope: impl FnMut(usize, f64),
) -> f64 {
    let rows = 0..clicks.len();
    let weight = |row: usize| {
        let weight = (other(0) - other(row)).exp().min(most_weight);
        f64::from(clicks[row]) * weight
    };
    let most = rows.clone().map(own).fold(f64::NEG_INFINITY, f64::max);
    let log_sum = most + rows.clone().map(|row| (own(row) - most).exp()).sum::<f64>().ln();
    let total: f64 = rows.clone().map(weight).sum();
    for row in rows.clone() {
        slope(row, total * (own(row) - log_sum).exp() - weight(row));
    }
    rows.map(|row| weight(row) * (log_sum - own(row))).sum()
}

#[cfg(test)]
mod tests {
    use super::super::ClickLoss;
    use super::super::tests::{LOGITS, VALUES, run};
    use approx::assert_relative_eq;

    /// The two losses by their definitions, weights taken at `at`, of the lists [0, 3) with clicks on rows 0 and 1 and
    /// [3, 6) with clicks on rows 4 and 5.
    fn by_definition(logits: &[f32; 6], values: &[f32; 6], at: (&[f32; 6], &[f32; 6])) -> f64 {
        let one = |own: &[f32; 6], other: &[f32; 6]| {
            let mut sum = 0.0;
            for (start, clicked) in [(0, [0, 1]), (3, [4, 5])] {
                let share = |v: &[f32; 6], row: usize| {
                    let total: f64 = (start..start + 3).map(|row| f64::from(v[row]).exp()).sum();
                    f64::from(v[row]).exp() / total
                };
                for row in clicked {
                    sum -= share(other, start) / share(other, row) * share(own, row).ln();
                }
            }
            sum / 2.0
        };
        one(logits, at.1) + one(values, at.0)
    }

    #[test]
    fn both_losses_and_their_gradients_with_constant_weights() {
        let mut dual = ClickLoss::Dual { most_weight: 1e6 };
        let (loss, gradients) = run(&mut dual, &LOGITS, &VALUES);
        let here = (&LOGITS, &VALUES);
        assert_relative_eq!(loss, by_definition(&LOGITS, &VALUES, here), max_relative = 1e-9);
        const STEP: f32 = 1.0 / 512.0;
        for at in 0..6 {
            for which in 0..2 {
                let moved = |step: f32| {
                    let mut inputs = [LOGITS, VALUES];
                    inputs[which][at] += step;
                    by_definition(&inputs[0], &inputs[1], here)
                };
                let difference = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
                let gradient = f64::from(gradients[which][at]);
                assert_relative_eq!(gradient, difference, epsilon = 2e-5, max_relative = 2e-5);
            }
        }
    }

    #[test]
    fn weights_are_bounded() {
        let mut values = VALUES;
        values[5] = -50.0;
        let (free, _) = run(&mut ClickLoss::Dual { most_weight: 1e30 }, &LOGITS, &values);
        let (bounded, _) = run(&mut ClickLoss::Dual { most_weight: 10.0 }, &LOGITS, &values);
        assert!(free > 1e20 && bounded < 1e3, "{free} {bounded}");
    }
}
