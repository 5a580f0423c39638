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

use headwater_core::{Check, ConfigError, StreamRng, require};
use rand::RngExt;
use rand_distr::{Distribution, Exp1};
use serde::{Deserialize, Serialize};

/// How chance enters serving, unchecked. The default is none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExplorationConfig {
    /// Temperature τ of the Gumbel noise, 0 or in [1e-30, 1e30]: the order is that of score + τ
    /// Gumbel. 0 sorts by score.
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
        check_temperature(NAME, "temperature", self.temperature)?;
        let epsilon = self.epsilon;
        require((0.0..=1.0).contains(&epsilon), NAME, "epsilon", epsilon, "a number in [0, 1]")?;
        require(self.slot < 256, NAME, "slot", self.slot, "0 to 255")?;
        Ok(Exploration { config: self })
    }
}

/// 0, or what scores in single precision can be divided and noise be multiplied by.
pub(crate) fn check_temperature(
    config: &'static str,
    field: &'static str,
    value: f64,
) -> Result<(), ConfigError> {
    let holds = value == 0.0 || (1e-30..=1e30).contains(&value);
    require(holds, config, field, value, "0, or a number in [1e-30, 1e30]")
}

/// Below this share of the largest score noise is lost in the rounding of score plus noise.
const COLD: f64 = 1e-3;

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
    cold: Vec<(f64, f64)>,
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
            Some(rng) if temperature < COLD * largest(scores) => {
                self.cold(scores, temperature, rng);
                self.propensities.resize(slots, 0.0);
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

    /// Orders by score/τ + Gumbel in double precision, and where that is rounded to one number, by
    /// the noise: equal scores are told apart by it however cold it is.
    fn cold(&mut self, scores: &[f32], temperature: f64, rng: &mut StreamRng) {
        self.cold.clear();
        self.cold.extend(scores.iter().map(|&score| {
            let exponential: f64 = Exp1.sample(rng);
            let noise = -exponential.ln();
            (f64::from(score) / temperature + noise, noise)
        }));
        let keys = &self.cold;
        self.order.clear();
        self.order.extend(0..scores.len() as u32);
        self.order.sort_unstable_by(|&a, &b| {
            let (a, b) = (keys[a as usize], keys[b as usize]);
            b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1))
        });
    }

    /// P(item | items above) of the first `slots` of the order, in logarithms and from the bottom
    /// upwards, so that no difference of nearly equal sums is taken and nothing underflows;
    /// relative to the best score so far, so that no temperature hides that scores are equal.
    fn plackett_luce(&mut self, scores: &[f32], slots: usize, temperature: f64) {
        let score = |&candidate: &u32| f64::from(scores[candidate as usize]);
        let below = &self.order[slots..];
        let mut best = below.iter().map(score).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = below.iter().map(|c| ((score(c) - best) / temperature).exp()).sum();
        // Logarithm of the sum of exp((score - best)/τ) from here downwards.
        let mut remaining = if below.is_empty() { f64::NEG_INFINITY } else { sum.ln() };
        self.propensities.resize(slots, 0.0);
        for (candidate, propensity) in self.order[..slots].iter().zip(&mut self.propensities).rev()
        {
            let lead = (score(candidate) - best) / temperature;
            let own = if lead > 0.0 {
                best = score(candidate);
                remaining = (remaining - lead).exp().ln_1p();
                -remaining
            } else {
                let (high, low) = (remaining.max(lead), remaining.min(lead));
                remaining = high + (low - high).exp().ln_1p();
                lead - remaining
            };
            // The sum is rounded; a probability is at most 1.
            *propensity = own.exp().min(1.0) as f32;
        }
    }
}

fn largest(scores: &[f32]) -> f64 {
    f64::from(scores.iter().fold(0.0, |most: f32, score| most.max(score.abs())))
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
    fn however_cold_equal_scores_are_drawn_from_alike_and_the_best_comes_first() {
        // In single precision 1 + 1e-9 of noise is 1, and the first of equal scores would always
        // win.
        let scores = [1.0, -3.0, 1.0, -3.0];
        for temperature in [1e-4, 1e-9, 1e-30] {
            let how = exploration(temperature, 0.0, 0);
            let seen = tally(&scores, 3, &how, 4_000);
            let mut orders: Vec<Vec<u32>> = seen.iter().map(|(order, ..)| order.clone()).collect();
            orders.sort();
            assert_eq!(orders, [vec![0, 2, 1], vec![0, 2, 3], vec![2, 0, 1], vec![2, 0, 3]]);
            for (order, probability, frequency) in seen {
                assert_relative_eq!(probability, 0.25, epsilon = 1e-6);
                assert!((frequency - 0.25).abs() < 0.035, "{temperature} {order:?} {frequency}");
            }
        }
        let scores = [f32::MAX, f32::MIN, 0.5, 0.25];
        for (order, probability, _) in tally(&scores, 4, &exploration(1e-30, 0.0, 0), 50) {
            assert_eq!((order, probability), (vec![0, 2, 3, 1], 1.0));
        }
        // And where it is as hot as can be, all orders are alike.
        let hot = tally(&[1.0, -1.0], 2, &exploration(1e30, 0.0, 0), 4_000);
        assert!(hot.iter().all(|(_, p, f)| (p - 0.5).abs() < 1e-6 && (f - 0.5).abs() < 0.04));
        for temperature in [f64::NAN, f64::INFINITY, -1.0, 5e-324, 1e300] {
            let config = ExplorationConfig { temperature, ..ExplorationConfig::default() };
            let text = config.check().unwrap_err().to_string();
            assert!(text.contains("temperature") && text.contains("[1e-30, 1e30]"), "{text}");
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
