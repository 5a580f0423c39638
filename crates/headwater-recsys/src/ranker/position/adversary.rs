//! The adversary: a linear head that tells the slot k from the hidden layer h, `L = -log softmax(h
//! A + a)_k`, while the gradient that h gets from it is multiplied by -λ (gradient reversal, Ganin
//! et al. 2016).

use headwater_small_net::{Layout, Mlp, SavedMlp};

use crate::ranker::network::{flat, rows, rows_mut};

/// The head. Its weights start at 0: its loss is convex in them.
#[derive(Debug, Clone)]
pub(crate) struct Adversary {
    head: Mlp,
    lambda: f64,
}

/// Memory of a step, used again by the next.
#[derive(Debug, Clone, Default)]
pub(crate) struct AdversarySaved {
    head: SavedMlp,
    dlogits: Vec<f32>,
    /// What the loss adds to the gradient of the hidden layer.
    pub(crate) down: Vec<f32>,
}

impl Adversary {
    pub(crate) fn new(layout: &mut Layout, hidden: usize, slots: usize, lambda: f64) -> Self {
        Self { head: Mlp::new(layout, hidden, &[], Some(slots)), lambda }
    }

    /// Mean cross-entropy; writes the gradient of its own parameters, and to `saved.down` what it
    /// adds to that of `hidden`.
    ///
    /// `places` are slots of devices; the device is none of the head's business.
    pub(crate) fn loss(
        &self,
        parameters: &[f32],
        hidden: &[f32],
        places: &[usize],
        gradient: &mut [f32],
        saved: &mut AdversarySaved,
    ) -> f64 {
        let AdversarySaved { head, dlogits, down } = saved;
        let (width, slots) = (self.head.inputs(), self.head.outputs());
        self.head.forward_saving(parameters, rows(hidden, width), head);
        dlogits.clear();
        dlogits.extend_from_slice(flat(head.output()));
        let share = 1.0 / places.len() as f32;
        let mut sum = 0.0;
        for (row, place) in dlogits.chunks_exact_mut(slots).zip(places) {
            let slot = place % slots;
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let own = row[slot] - most;
            row.iter_mut().for_each(|z| *z = (*z - most).exp());
            let total: f32 = row.iter().sum();
            sum += f64::from(total.ln() - own) * f64::from(share);
            row.iter_mut().for_each(|z| *z *= share / total);
            row[slot] -= share;
        }
        down.resize(hidden.len(), 0.0);
        let (dy, dx) = (rows(dlogits, slots), Some(rows_mut(down, width)));
        self.head.backward(parameters, rows(hidden, width), head, dy, gradient, dx);
        down.iter_mut().for_each(|value| *value *= -self.lambda as f32);
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn its_own_gradient_descends_and_the_hidden_one_is_reversed() {
        let mut layout = Layout::default();
        layout.reserve(1);
        let adversary = Adversary::new(&mut layout, 2, 3, 0.5);
        assert_eq!(layout.parameters(), 1 + 6 + 3);
        let parameters: [f32; 10] = [9.0, 0.5, -1.0, 0.25, 0.75, 0.0, -0.5, 0.125, 0.25, -0.75];
        let hidden: [f32; 4] = [1.0, -0.5, 0.25, 2.0];
        // Slot 2 of device 0, and slot 1 of device 1.
        let loss = |parameters: &[f32], hidden: &[f32]| {
            let mut sum = 0.0;
            for (row, slot) in [(0, 2), (1, 1)] {
                let z: Vec<f64> = (0..3)
                    .map(|k| {
                        let weight = |h: usize| f64::from(parameters[1 + 3 * h + k]);
                        let h = |at: usize| f64::from(hidden[2 * row + at]);
                        h(0) * weight(0) + h(1) * weight(1) + f64::from(parameters[7 + k])
                    })
                    .collect();
                let total: f64 = z.iter().map(|z| z.exp()).sum();
                sum -= (z[slot].exp() / total).ln() / 2.0;
            }
            sum
        };
        let mut gradient = [0.0; 10];
        let mut saved = AdversarySaved::default();
        let value = adversary.loss(&parameters, &hidden, &[2, 4], &mut gradient, &mut saved);
        let down = &saved.down;
        assert_relative_eq!(value, loss(&parameters, &hidden), max_relative = 1e-6);
        const STEP: f32 = 1.0 / 256.0;
        for at in 0..10 {
            let moved = |step: f32| {
                let mut parameters = parameters;
                parameters[at] += step;
                loss(&parameters, &hidden)
            };
            let difference = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
            assert_relative_eq!(f64::from(gradient[at]), difference, epsilon = 1e-5);
        }
        for at in 0..4 {
            let moved = |step: f32| {
                let mut hidden = hidden;
                hidden[at] += step;
                loss(&parameters, &hidden)
            };
            let difference = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
            assert_relative_eq!(f64::from(down[at]), -0.5 * difference, epsilon = 1e-5);
        }
    }
}
