//! Regression-EM (Wang et al. 2018): a click is an examined place and a relevant item, `P(click) = θ_place r` with
//! `r = s(z)`. Where nothing was clicked,
//!
//! ```text
//! P(examined) = θ (1 - r) / (1 - θ r)        P(relevant) = (1 - θ) r / (1 - θ r)
//! ```
//!
//! and both are 1 where something was. θ moves towards the mean of the one, the network is fitted to the other.
//!
//! Choices: the network's labels are the posteriors themselves where the paper samples 0 or 1 from them (the same gradient in
//! expectation, with less noise); θ moves a step with every batch (an online EM, Cappé & Moulines 2009), for logs
//! arrive; it starts at 1/2 and, on each device's first slot, at 1, where EM leaves it: that fixes the scale.

use headwater_evaluation::decision::sigmoid;

use super::{Shown, labelled};

#[derive(Debug, Clone)]
pub(crate) struct RegressionEm {
    theta: Vec<f64>,
    rate: f64,
    /// Sum and count of the batch's posteriors, by place.
    examined: Vec<(f64, u32)>,
    relevant: Vec<f64>,
}

impl RegressionEm {
    pub(super) fn new(places: usize, slots: usize, rate: f64) -> Self {
        let start = |place: usize| if place.is_multiple_of(slots) { 1.0 } else { 0.5 };
        let theta = (0..places).map(start).collect();
        Self { theta, rate, examined: Vec::new(), relevant: Vec::new() }
    }

    /// P(examined) by place.
    pub(super) fn theta(&self) -> &[f64] {
        &self.theta
    }

    /// One step of both: the log-loss of the posterior relevance, and θ's move towards the posterior examination.
    pub(super) fn loss(&mut self, shown: &Shown<'_>, logits: &[f32], gradient: &mut [f32]) -> f64 {
        self.examined.clear();
        self.examined.resize(self.theta.len(), (0.0, 0));
        self.relevant.clear();
        for (row, &z) in logits.iter().enumerate() {
            let place = shown.places[row];
            let (theta, r, not) =
                (self.theta[place], sigmoid(f64::from(z)), sigmoid(-f64::from(z)));
            // 1 - θ r, from parts that are not negative.
            let no_click = (1.0 - theta) + theta * not;
            let (examined, relevant) = match shown.clicks[row] > 0.0 {
                true => (1.0, 1.0),
                false if no_click > 0.0 => (theta * not / no_click, (1.0 - theta) * r / no_click),
                false => (theta, r),
            };
            self.relevant.push(relevant);
            let (sum, count) = &mut self.examined[place];
            *sum += examined;
            *count += 1;
        }
        for (theta, &(sum, count)) in self.theta.iter_mut().zip(&self.examined) {
            if count > 0 {
                *theta += self.rate * (sum / f64::from(count) - *theta);
            }
        }
        labelled(self.relevant.iter().copied(), logits, gradient)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{CLICKS, LOGITS, shown};
    use super::*;
    use approx::assert_relative_eq;

    /// The posterior from the joint distribution of examination and relevance.
    fn posterior(theta: f64, r: f64, clicked: bool) -> (f64, f64) {
        let (mut total, mut examined, mut relevant) = (0.0, 0.0, 0.0);
        for (e, q) in [(false, false), (false, true), (true, false), (true, true)] {
            let chance_e = if e { theta } else { 1.0 - theta };
            let chance = chance_e * if q { r } else { 1.0 - r };
            if (e && q) == clicked {
                total += chance;
                examined += if e { chance } else { 0.0 };
                relevant += if q { chance } else { 0.0 };
            }
        }
        (examined / total, relevant / total)
    }

    #[test]
    fn one_step_from_the_joint_distribution() {
        let mut em = RegressionEm::new(6, 3, 0.25);
        let before = em.theta().to_vec();
        assert_eq!(before, [1.0, 0.5, 0.5, 1.0, 0.5, 0.5]);
        let mut gradient = [0.0; 6];
        let loss = em.loss(&shown(&CLICKS), &LOGITS, &mut gradient);
        let mut by_hand = 0.0;
        for row in 0..6 {
            let r = sigmoid(f64::from(LOGITS[row]));
            let (examined, relevant) = posterior(before[row], r, CLICKS[row] > 0.0);
            let after = 0.75 * before[row] + 0.25 * examined;
            assert_relative_eq!(em.theta()[row], after, max_relative = 1e-9);
            assert_relative_eq!(f64::from(gradient[row]), (r - relevant) / 6.0, epsilon = 1e-7);
            by_hand -= (relevant * r.ln() + (1.0 - relevant) * (1.0 - r).ln()) / 6.0;
        }
        assert_relative_eq!(loss, by_hand, max_relative = 1e-9);
        assert_eq!((em.theta()[0], em.theta()[3]), (1.0, 1.0));
    }

    #[test]
    fn with_true_relevance_theta_is_found() {
        // 400 rows at place 1 with r = 1/2, of which 60 are clicked: θ = 0.3.
        let clicks: Vec<f32> = (0..400).map(|row| f32::from(row % 20 < 3)).collect();
        let (places, missing) = (vec![1; 400], vec![false; 400]);
        let shown = Shown {
            clicks: &clicks,
            examinations: &[],
            places: &places,
            missing: &missing,
            lists: &[],
            slots: 2,
        };
        let mut em = RegressionEm::new(2, 2, 1.0);
        for _ in 0..100 {
            em.loss(&shown, &[0.0; 400], &mut [0.0; 400]);
        }
        assert_relative_eq!(em.theta()[1], 0.3, max_relative = 1e-6);
    }
}
