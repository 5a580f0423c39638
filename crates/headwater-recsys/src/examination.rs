//! Which slots of a list a user looks at.
//!
//! The examination hypothesis: a click needs that the slot is examined and that the item attracts. Position-based
//! models examine each slot on its own with probability θ_k; cascade models go from the top downwards and may
//! stop at a click.

use headwater_core::{ConfigError, require, require_non_negative};
use serde::{Deserialize, Serialize};

/// ULTRA's examination probabilities of slots 1 to 10, before the exponent and before θ_1 is made 1.
pub const ULTRA: [f64; 10] = [0.68, 0.61, 0.48, 0.34, 0.28, 0.20, 0.11, 0.10, 0.08, 0.06];

/// Least probability of a slot: logs hold 32 bits, and what nobody ever looks at has no propensity to divide by.
const LEAST: f64 = f32::MIN_POSITIVE as f64;

const NAME: &str = "ExaminationConfig";

/// How slots come to be examined; unchecked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "model", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ExaminationConfig {
    /// Position-based: slot k is examined with probability `theta[k]`, whatever happens elsewhere.
    Position {
        /// One probability in (0, 1] for each slot.
        theta: Vec<f64>,
    },
    /// Position-based with θ_k = (ULTRA_k/ULTRA_1)^exponent: at most 10 slots.
    Ultra {
        /// At least 0; at 0 every slot is examined.
        exponent: f64,
    },
    /// Position-based with θ_k = k^-exponent.
    Power {
        /// At least 0; at 0 every slot is examined.
        exponent: f64,
    },
    /// From the top down to the first click (Craswell et al. 2008).
    Cascade,
    /// Dependent-click model: from the top downwards; after a click on slot k the user goes on with probability
    /// `continuation[k]`, after no click always (Guo et al. 2009).
    DependentClick {
        /// One probability in [0, 1] for each slot; all 0 is the cascade.
        continuation: Vec<f64>,
    },
}

/// A checked [`ExaminationConfig`], one entry per slot.
#[derive(Debug, Clone, PartialEq)]
pub enum Examination {
    /// Probability that the slot is examined.
    Position(Vec<f64>),
    /// Probability of going on after a click on the slot.
    Continuation(Vec<f64>),
}

impl ExaminationConfig {
    /// The curve for lists of `slots`.
    ///
    /// # Errors
    /// A probability out of range, another number of probabilities than of slots, or more slots than ULTRA's
    /// curve has.
    pub fn checked(&self, slots: usize) -> Result<Examination, ConfigError> {
        let probabilities = |field, values: &[f64], least: f64, allowed| {
            let holds = |value: f64| value >= least && value <= 1.0;
            if let Some(at) = values.iter().position(|&value| !holds(value)) {
                require(false, NAME, field, format!("{} at slot {at}", values[at]), allowed)?;
            }
            let count = format!("{} numbers", values.len());
            require(values.len() == slots, NAME, field, count, "one number per slot")
        };
        let curve = |value: f64, base: Vec<f64>| {
            require_non_negative(NAME, "exponent", value)?;
            let theta: Vec<f64> = base.into_iter().map(|base| base.powf(value)).collect();
            let holds = theta.iter().all(|&theta| theta >= LEAST);
            require(holds, NAME, "exponent", value, "one at which no slot's probability vanishes")?;
            Ok(Examination::Position(theta))
        };
        Ok(match self {
            Self::Position { theta } => {
                probabilities("theta", theta, LEAST, "numbers in (0, 1], at least 1.2e-38")?;
                Examination::Position(theta.clone())
            }
            Self::Ultra { exponent: value } => {
                require(slots <= ULTRA.len(), NAME, "model", "ultra", "at most 10 slots")?;
                curve(*value, ULTRA[..slots].iter().map(|theta| theta / ULTRA[0]).collect())?
            }
            Self::Power { exponent: value } => {
                curve(*value, (1..=slots).map(|k| (k as f64).recip()).collect())?
            }
            Self::Cascade => Examination::Continuation(vec![0.0; slots]),
            Self::DependentClick { continuation } => {
                probabilities("continuation", continuation, 0.0, "numbers in [0, 1]")?;
                Examination::Continuation(continuation.clone())
            }
        })
    }
}

impl Examination {
    /// θ by slot where it does not depend on clicks, else none.
    #[must_use]
    pub fn theta(&self) -> Option<&[f64]> {
        match self {
            Self::Position(theta) => Some(theta),
            Self::Continuation(_) => None,
        }
    }

    /// The way of reading under which a list sorted by attraction times worth, best first, has the value that stands for
    /// the best of its candidates: θ sorted, so that the best item is where most look.
    ///
    /// Of position-based models this is the largest value there is. So it is of clicks under a continuation that never
    /// rises (for the cascade the order does not even matter, only what is in the list), and neither of likes under a
    /// continuation nor of clicks under one that rises: there a list may do a little better.
    pub(crate) fn best_first(&self) -> Self {
        let mut sorted = self.clone();
        if let Self::Position(theta) = &mut sorted {
            theta.sort_by(|a, b| b.total_cmp(a));
        }
        sorted
    }

    /// Expected value of a list: Σ_k P(slot k is examined) attraction_k worth_k.
    ///
    /// `list` gives attraction (probability of a click if examined) and worth (value of a click) from the top
    /// downwards.
    pub fn value(&self, list: impl IntoIterator<Item = (f32, f32)>) -> f64 {
        let products = list.into_iter().map(|(attraction, worth)| (f64::from(attraction), worth));
        match self {
            Self::Position(theta) => products
                .zip(theta)
                .map(|((attraction, worth), theta)| theta * attraction * f64::from(worth))
                .sum(),
            Self::Continuation(continuation) => {
                let mut examined = 1.0;
                let mut value = 0.0;
                for ((attraction, worth), goes_on) in products.zip(continuation) {
                    value += examined * attraction * f64::from(worth);
                    examined *= 1.0 - attraction * (1.0 - goes_on);
                }
                value
            }
        }
    }
}

/// One user going down one list: who is examined, and with what probability given the clicks so far.
pub(crate) struct Reader<'a> {
    examination: &'a Examination,
    /// Of a cascade: whether the user is still there, and its probability given the clicks above.
    here: (bool, f64),
}

impl<'a> Reader<'a> {
    pub(crate) fn new(examination: &'a Examination) -> Self {
        Self { examination, here: (true, 1.0) }
    }

    /// Whether the user examines `slot`, and the probability of it; `uniform` belongs to the slot.
    pub(crate) fn examines(&self, slot: usize, uniform: f32) -> (bool, f64) {
        match self.examination {
            Examination::Position(theta) => (f64::from(uniform) < theta[slot], theta[slot]),
            Examination::Continuation(_) => self.here,
        }
    }

    /// What happened on `slot`, where a click on an examined slot had probability `attraction`.
    pub(crate) fn saw(&mut self, slot: usize, clicked: bool, attraction: f64, uniform: f32) {
        let Examination::Continuation(continuation) = self.examination else { return };
        let (here, probability) = self.here;
        self.here = if clicked {
            (f64::from(uniform) < continuation[slot], continuation[slot])
        } else {
            // Bayes: no click speaks for a user who has left.
            let missed = probability * (1.0 - attraction);
            let none = missed + 1.0 - probability;
            (here, if none > 0.0 { missed / none } else { 0.0 })
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn the_curves_by_hand() {
        let ultra = ExaminationConfig::Ultra { exponent: 2.0 }.checked(10).unwrap();
        let theta = ultra.theta().unwrap();
        assert_relative_eq!(theta[0], 1.0);
        assert_relative_eq!(theta[9].ln(), 2.0 * (0.06_f64 / 0.68).ln(), max_relative = 1e-12);
        let power = ExaminationConfig::Power { exponent: 1.5 }.checked(4).unwrap();
        assert_relative_eq!(power.theta().unwrap()[3], 0.125, max_relative = 1e-12);
        assert_eq!(
            ExaminationConfig::Cascade.checked(2).unwrap(),
            ExaminationConfig::DependentClick { continuation: vec![0.0, 0.0] }.checked(2).unwrap()
        );
    }

    #[test]
    fn the_value_of_a_list_by_hand() {
        let list = [(0.5, 1.0), (0.4, 0.5)];
        let position = Examination::Position(vec![1.0, 0.5]);
        assert_relative_eq!(position.value(list), 0.5 + 0.5 * 0.4 * 0.5, max_relative = 1e-6);
        // The second slot is seen unless the first was clicked and the user did not go on.
        let dependent = Examination::Continuation(vec![0.25, 0.0]);
        let second = (1.0 - 0.5 * 0.75) * 0.4 * 0.5;
        assert_relative_eq!(dependent.value(list), 0.5 + second, max_relative = 1e-6);
    }

    #[test]
    fn the_best_of_all_orders_is_read_by_a_sorted_curve() {
        // The middle is looked at most.
        let curve = Examination::Position(vec![0.3, 1.0, 0.6, 0.1]);
        let sorted = [(0.9, 1.0), (0.5, 1.0), (0.4, 1.0), (0.2, 1.0)];
        let mut best = f64::NEG_INFINITY;
        for order in 0..256 {
            let order = [0, 2, 4, 6].map(|shift| (order >> shift) & 3);
            if (0..4).all(|item| order.contains(&item)) {
                best = best.max(curve.value(order.map(|item| sorted[item])));
            }
        }
        assert_relative_eq!(curve.best_first().value(sorted), best, max_relative = 1e-12);
        assert!(curve.value(sorted) < 0.8 * best);
        let falling = ExaminationConfig::Ultra { exponent: 1.0 }.checked(10).unwrap();
        assert_eq!(falling.best_first(), falling);
    }

    #[test]
    fn a_reader_who_may_have_left_after_a_click() {
        let dependent = Examination::Continuation(vec![0.5, 0.5, 0.5]);
        let mut reader = Reader::new(&dependent);
        assert_eq!(reader.examines(0, 0.99), (true, 1.0));
        reader.saw(0, true, 0.8, 0.4);
        assert_eq!(reader.examines(1, 0.99), (true, 0.5));
        reader.saw(1, false, 0.8, 0.0);
        // 0.5 * 0.2 against 0.5 of having left.
        let (here, probability) = reader.examines(2, 0.0);
        assert!(here);
        assert_relative_eq!(probability, 0.1 / 0.6, max_relative = 1e-12);
    }

    #[test]
    fn errors_name_what_is_allowed() {
        let refused =
            |config: ExaminationConfig, slots| config.checked(slots).unwrap_err().to_string();
        let text = refused(ExaminationConfig::Position { theta: vec![1.0, 0.0] }, 2);
        assert!(text.contains("theta = 0 at slot 1") && text.contains("(0, 1]"), "{text}");
        let text = refused(ExaminationConfig::Position { theta: vec![1.0] }, 2);
        assert!(text.contains("one number per slot"), "{text}");
        for exponent in [f64::NAN, -1.0, 200.0] {
            for config in
                [ExaminationConfig::Power { exponent }, ExaminationConfig::Ultra { exponent }]
            {
                let text = refused(config, 10);
                assert!(text.contains(&format!("exponent = {exponent}")), "{text}");
            }
        }
        assert!(
            refused(ExaminationConfig::Ultra { exponent: 1.0 }, 11).contains("at most 10 slots")
        );
    }
}
