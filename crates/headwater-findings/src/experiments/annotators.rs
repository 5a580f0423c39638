//! People who compare two texts: sure to a degree, and partial to something beside the point.

use headwater_core::StreamRng;
use headwater_evaluation::decision::sigmoid;
use headwater_reward_models::{Preference, Response};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use headwater_tasks::topics::{name, right_words};

/// Annotators whose labels follow Bradley-Terry: the log-odds that the first of two texts is
/// preferred are `certainty * (difference in right words) + bias * (difference in the factor)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Annotators {
    /// Log-odds for each right word more.
    pub certainty: f64,
    /// Log-odds for each unit of the factor more: the dose of bias. 0: none.
    pub bias: f64,
}

impl Annotators {
    /// Which of two responses on `topic` is preferred.
    pub fn compare(
        &self,
        topic: usize,
        first: Response,
        second: Response,
        stream: &mut StreamRng,
    ) -> Preference {
        let value = |response: &Response| {
            let right = right_words(topic, &response.text) as f64;
            self.certainty * right + self.bias * response.factor
        };
        let first_wins = sigmoid(value(&first) - value(&second));
        let (chosen, rejected) =
            if stream.random::<f64>() < first_wins { (first, second) } else { (second, first) };
        Preference::new(name(topic), chosen, rejected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Streams;

    #[test]
    fn log_odds_of_the_labels_are_those_of_the_settings() {
        let annotators = Annotators { certainty: 0.5, bias: 2.0 };
        let mut stream = Streams::new(1).stream("compare", &[]);
        let plain = || Response::new("well flour oven crust dough");
        let agreeing = || Response::new("absolutely flour oven").factor(1.0);
        let wins = (0..20_000)
            .filter(|_| annotators.compare(0, plain(), agreeing(), &mut stream).chosen == plain())
            .count();
        // 0.5 * 2 - 2 = -1.
        let log_odds = (wins as f64 / (20_000 - wins) as f64).ln();
        assert!((log_odds + 1.0).abs() < 0.06, "{log_odds}");
    }
}
