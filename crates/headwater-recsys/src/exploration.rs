//! From scores to a list: sorting, with or without chance, and the probability of what came out.
//!
//! Two kinds of chance, which may be combined. *Gumbel noise* on scores divided by a temperature makes the order a
//! draw from the Plackett-Luce model. An *epsilon slot* is filled, with probability ε, by a candidate drawn uniformly
//! from those not shown above it.
//!
//! The propensity logged with an item on slot k is its probability *given the items above it*. It is exact and takes no
//! sampling: Plackett-Luce gives w_i / Σ_{j not above} w_j, of which the epsilon slot is a mixture with 1 over the
//! number not above. The probability of an item on slot k whatever is above has no closed form for k > 1; the
//! product over a list is the probability of the list (what slate estimators weight by), and on slot 0 the two are one.

use headwater_core::{Check, ConfigError, StreamRng, require, require_non_negative};
use rand::RngExt;
use rand_distr::{Distribution, Exp1};
use serde::{Deserialize, Serialize};

/// How chance enters serving, unchecked. The default is none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExplorationConfig {
    /// Temperature τ of the Gumbel noise, at least 0: the order is that of score + τ Gumbel. 0 sorts by score.
    pub temperature: f64,
    /// Probability ε that the epsilon slot is filled at random, in [0, 1].
    pub epsilon: f64,
    /// The epsilon slot, counted from 0.
    pub slot: usize,
}

/// A checked [`ExplorationConfig`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Exploration {
    config: ExplorationConfig,
}

impl Check for ExplorationConfig {
    type Checked = Exploration;

    fn check(self) -> Result<Exploration, ConfigError> {
        const NAME: &str = "ExplorationConfig";
        let temperature = self.temperature;
        require_non_negative(NAME, "temperature", temperature)?;
        let epsilon = self.epsilon;
        require((0.0..=1.0).contains(&epsilon), NAME, "epsilon", epsilon, "a number in [0, 1]")?;
        require(self.slot < 256, NAME, "slot", self.slot, "0 to 255")?;
        Ok(Exploration { config: self })
    }
}

impl Exploration {
    /// Gumbel noise of a temperature that is known to be valid.
    pub(crate) fn noise(temperature: f64) -> Self {
        Self { config: ExplorationConfig { temperature, ..ExplorationConfig::default() } }
    }

    /// Errors where the epsilon slot is none of a list of `slots`: it would silently do nothing.
    pub(crate) fn fits(&self, slots: usize) -> Result<(), ConfigError> {
        let ExplorationConfig { epsilon, slot, .. } = self.config;
        let allowed = "below the number of slots, where epsilon is above 0";
        require(epsilon == 0.0 || slot < slots, "ExplorationConfig", "slot", slot, allowed)
    }

    /// Whether chance has a part in it.
    #[must_use]
    pub fn is_random(&self) -> bool {
        self.config.temperature > 0.0 || self.config.epsilon > 0.0
    }
}

/// Scratch memory of [`Lists::list`], used again for every list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lists {
    keys: Vec<u64>,
    noisy: Vec<f32>,
    order: Vec<u32>,
    propensities: Vec<f32>,
}

/// A list: candidates from the top downwards, by index among the candidates, and the propensity of each.
pub(crate) struct List<'a> {
    pub(crate) order: &'a [u32],
    pub(crate) propensities: &'a [f32],
}

impl Lists {
    /// The `slots` candidates of the highest finite scores, after exploration. Of equal scores the first comes first.
    ///
    /// The epsilon slot is one of the list's ([`Exploration::fits`]). `rng` is used only where exploration is random, and
    /// what is drawn does not depend on the scores but for the rejections at the epsilon slot, which come last.
    pub(crate) fn list(
        &mut self,
        scores: &[f32],
        slots: usize,
        exploration: &Exploration,
        rng: &mut Option<StreamRng>,
    ) -> List<'_> {
        let ExplorationConfig { temperature, epsilon, slot } = exploration.config;
        self.propensities.clear();
        match rng.as_mut().filter(|_| temperature > 0.0) {
            None => {
                top(scores, slots, &mut self.keys, &mut self.order);
                self.propensities.resize(slots, 1.0);
            }
            Some(rng) => {
                self.noisy.clear();
                self.noisy.extend(scores.iter().map(|&score| {
                    // The logarithm of an exponential variable is a Gumbel one, turned round.
                    let exponential: f64 = Exp1.sample(rng);
                    (f64::from(score) - temperature * exponential.ln()) as f32
                }));
                top(&self.noisy, slots, &mut self.keys, &mut self.order);
            }
        }
        let mut best = None;
        if epsilon > 0.0 {
            let rng = rng.as_mut().expect("a random exploration has a stream");
            best = Some(self.order[slot]);
            if rng.random::<f64>() < epsilon {
                // Drawn among all candidates until it is none of those above, so that arms which show different items
                // above mostly draw the same one.
                let at = loop {
                    let candidate = rng.random_range(0..scores.len() as u32);
                    let at = self.order.iter().position(|&other| other == candidate);
                    let at = at.expect("the order holds every candidate");
                    if at >= slot {
                        break at;
                    }
                };
                // Whatever stood between moves down by one; below the list the order has no meaning.
                self.order[slot..=at].rotate_right(1);
            }
        }
        if temperature > 0.0 {
            self.plackett_luce(scores, slots, temperature);
        }
        if let Some(best) = best {
            let uniform = epsilon / (scores.len() - slot) as f64;
            let ranked = match temperature > 0.0 {
                true => f64::from(self.propensities[slot]),
                false => f64::from(u8::from(self.order[slot] == best)),
            };
            self.propensities[slot] = ((1.0 - epsilon) * ranked + uniform) as f32;
        }
        List { order: &self.order[..slots], propensities: &self.propensities }
    }

    /// P(item | items above) of the first `slots` of the order, in logarithms and from the bottom upwards, so that no
    /// difference of nearly equal sums is taken and nothing underflows.
    fn plackett_luce(&mut self, scores: &[f32], slots: usize, temperature: f64) {
        let weight = |&candidate: &u32| f64::from(scores[candidate as usize]) / temperature;
        let below = &self.order[slots..];
        let largest = below.iter().map(weight).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = below.iter().map(|candidate| (weight(candidate) - largest).exp()).sum();
        let mut remaining = if below.is_empty() { f64::NEG_INFINITY } else { largest + sum.ln() };
        self.propensities.resize(slots, 0.0);
        for (candidate, propensity) in self.order[..slots].iter().zip(&mut self.propensities).rev()
        {
            let own = weight(candidate);
            let (high, low) = if own > remaining { (own, remaining) } else { (remaining, own) };
            remaining = high + (low - high).exp().ln_1p();
            // The sum is rounded; a probability is at most 1.
            *propensity = (own - remaining).exp().min(1.0) as f32;
        }
    }
}

/// All candidates in `order`, the `count` of the highest scores first and sorted, ties by index.
pub(crate) fn top(scores: &[f32], count: usize, keys: &mut Vec<u64>, order: &mut Vec<u32>) {
    keys.clear();
    keys.extend(scores.iter().enumerate().map(|(at, &score)| {
        // The bits of a float, turned so that larger scores are smaller integers; -0 counts as 0.
        let bits = (score + 0.0).to_bits();
        let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        u64::from(!ascending) << 32 | at as u64
    }));
    if count < keys.len() {
        keys.select_nth_unstable(count - 1);
    }
    keys[..count].sort_unstable();
    order.clear();
    order.extend(keys.iter().map(|&key| key as u32));
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;
    use headwater_core::Streams;
    use proptest::prelude::*;

    fn exploration(temperature: f64, epsilon: f64, slot: usize) -> Exploration {
        ExplorationConfig { temperature, epsilon, slot }.check().unwrap()
    }

    /// How often each (list, propensities) came up.
    fn tally(
        scores: &[f32],
        slots: usize,
        how: &Exploration,
        draws: u64,
    ) -> Vec<(Vec<u32>, f64, f64)> {
        let mut lists = Lists::default();
        let mut seen: Vec<(Vec<u32>, f64, f64)> = Vec::new();
        for draw in 0..draws {
            let mut rng = Some(Streams::new(3).stream("list", &[draw]));
            let list = lists.list(scores, slots, how, &mut rng);
            let probability = list.propensities.iter().map(|&p| f64::from(p)).product::<f64>();
            match seen.iter_mut().find(|(order, ..)| order == list.order) {
                Some(entry) => entry.2 += 1.0 / draws as f64,
                None => seen.push((list.order.to_vec(), probability, 1.0 / draws as f64)),
            }
        }
        seen
    }

    #[test]
    fn logged_propensities_are_the_frequencies() {
        let scores = [0.5, 0.0, -0.5, 1.0];
        for how in [
            exploration(0.7, 0.0, 0),
            exploration(0.7, 0.4, 1),
            exploration(0.0, 0.4, 0),
            exploration(0.0, 0.6, 1),
        ] {
            let seen = tally(&scores, 2, &how, 40_000);
            let total: f64 = seen.iter().map(|(_, probability, _)| probability).sum();
            assert_relative_eq!(total, 1.0, epsilon = 1e-5);
            for (order, probability, frequency) in seen {
                // Five standard errors of a frequency.
                let margin = 5.0 * (probability * (1.0 - probability) / 40_000.0).sqrt();
                assert!((probability - frequency).abs() < margin, "{how:?} {order:?}");
            }
        }
    }

    #[test]
    fn scores_far_apart_neither_underflow_nor_cancel() {
        let mut lists = Lists::default();
        let mut rng = Some(Streams::new(1).stream("list", &[]));
        let list = lists.list(&[3e4, 0.0, -3e4, -6e4], 3, &exploration(1.0, 0.0, 0), &mut rng);
        assert_eq!((list.order, list.propensities), (&[0, 1, 2][..], &[1.0, 1.0, 1.0][..]));
    }

    proptest! {
        #[test]
        fn without_chance_the_top_is_that_of_a_sort(
            scores in prop::collection::vec(-5i8..5, 1..40), share in 0f64..1.0,
        ) {
            let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
            let slots = 1 + (share * (scores.len() - 1) as f64) as usize;
            let mut expected: Vec<u32> = (0..scores.len() as u32).collect();
            expected.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
            let mut lists = Lists::default();
            let list = lists.list(&scores, slots, &Exploration::default(), &mut None);
            prop_assert_eq!(list.order, &expected[..slots]);
        }

        #[test]
        fn no_candidate_is_shown_twice(seed: u64, slots in 1usize..8, share in 0f64..1.0) {
            let slot = (share * slots as f64) as usize;
            let scores = [0.3, 0.1, 0.3, -2.0, 5.0, 0.0, 1.0, 1.5];
            let mut lists = Lists::default();
            let mut rng = Some(Streams::new(seed).stream("list", &[]));
            let list = lists.list(&scores, slots, &exploration(0.3, 0.8, slot), &mut rng);
            let distinct: std::collections::HashSet<_> = list.order.iter().collect();
            prop_assert_eq!(distinct.len(), slots);
            prop_assert!(list.propensities.iter().all(|&p| p > 0.0 && p <= 1.0));
        }
    }
}
