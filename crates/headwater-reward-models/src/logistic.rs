//! L2-penalised logistic regression on sparse features.

use headwater_core::{
    Check, ConfigError, StreamRng, require, require_non_negative, require_positive,
};
use headwater_evaluation::decision::sigmoid;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use headwater_nn::NnError;

use crate::error::check_labels;
use crate::{Labelled, RewardModelError, SparseFeatures};

/// How to fit, unchecked. The loss is the mean cross-entropy plus `l2 / 2` times the squared norm
/// of the weights (the intercept is free); AdaGrad (Duchi et al. 2011) steps down it one example at
/// a time.
///
/// `epochs` passes come near the minimum and do not reach it. Where the features separate the
/// labels and `l2` is 0 there is none, and the weights grow with the passes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogisticConfig {
    /// Passes over the examples, at least 1.
    pub epochs: usize,
    /// AdaGrad's step size, above 0.
    pub learning_rate: f64,
    /// Weight of the penalty, 0 or more.
    pub l2: f64,
}

impl Default for LogisticConfig {
    fn default() -> Self {
        Self { epochs: 20, learning_rate: 0.5, l2: 1e-4 }
    }
}

/// A checked [`LogisticConfig`].
#[derive(Debug, Clone, PartialEq)]
pub struct LogisticSettings(LogisticConfig);

impl Check for LogisticConfig {
    type Checked = LogisticSettings;

    fn check(self) -> Result<LogisticSettings, ConfigError> {
        let config = "LogisticConfig";
        require(self.epochs > 0, config, "epochs", self.epochs, "1 or more")?;
        let rate = self.learning_rate;
        require_positive(config, "learning_rate", rate)?;
        require_non_negative(config, "l2", self.l2)?;
        Ok(LogisticSettings(self))
    }
}

/// A fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct Logistic {
    weights: Vec<f64>,
    intercept: f64,
}

impl Logistic {
    /// Fits `examples` whose feature indices lie below `dimensions`; `stream` orders each pass.
    ///
    /// # Errors
    /// No examples, a label outside [0, 1], or weights that a too large learning rate or feature
    /// has driven out of f64.
    ///
    /// # Panics
    /// When a feature index is `dimensions` or more.
    pub fn fit(
        examples: &[Labelled<SparseFeatures>],
        dimensions: usize,
        settings: &LogisticSettings,
        stream: &mut StreamRng,
    ) -> Result<Self, RewardModelError> {
        check_labels(examples.iter().map(|example| example.label))?;
        let LogisticConfig { epochs, learning_rate, l2 } = settings.0;
        let mut model = Self { weights: vec![0.0; dimensions], intercept: 0.0 };
        // Squares start at a small positive number so that the first step is finite.
        let mut squares = vec![1e-8; dimensions];
        let mut intercept_square = 1e-8;
        let mut order: Vec<usize> = (0..examples.len()).collect();
        for _ in 0..epochs {
            order.shuffle(stream);
            for &index in &order {
                let Labelled { input, label } = &examples[index];
                let error = sigmoid(model.score(input)) - label;
                intercept_square += error * error;
                model.intercept -= learning_rate * error / intercept_square.sqrt();
                for &(feature, value) in input {
                    let feature = feature as usize;
                    // The penalty is applied where the feature occurs, as often as it occurs.
                    let gradient = error * f64::from(value) + l2 * model.weights[feature];
                    squares[feature] += gradient * gradient;
                    model.weights[feature] -= learning_rate * gradient / squares[feature].sqrt();
                }
            }
        }
        let weights = model.weights.iter().chain([&model.intercept]);
        if let Some(weight) = weights.copied().find(|weight| !weight.is_finite()) {
            let (value, step) = (weight.to_string(), epochs * examples.len());
            return Err(NnError::NotFinite { what: "weight", value, step }.into());
        }
        Ok(model)
    }

    /// The score: log-odds that the label is 1.
    #[must_use]
    pub fn score(&self, features: &SparseFeatures) -> f64 {
        let product = features.iter().map(|(i, v)| self.weights[*i as usize] * f64::from(*v));
        self.intercept + product.sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Streams;
    use rand::RngExt;

    #[test]
    fn recovers_planted_log_odds() {
        let mut stream = Streams::new(5).stream("plant", &[]);
        let planted = [1.5, -2.0, 0.0];
        let examples: Vec<Labelled<SparseFeatures>> = (0..20_000)
            .map(|_| {
                let feature = stream.random_range(0..3usize);
                let p = sigmoid(0.4 + planted[feature]);
                let label = f64::from(u8::from(stream.random::<f64>() < p));
                Labelled { input: vec![(feature as u32, 1.0)], label }
            })
            .collect();
        let settings = LogisticConfig { l2: 0.0, ..LogisticConfig::default() }.check().unwrap();
        let model = Logistic::fit(&examples, 3, &settings, &mut stream).unwrap();
        for (feature, weight) in planted.iter().enumerate() {
            let score = model.score(&vec![(feature as u32, 1.0)]);
            assert!((score - 0.4 - weight).abs() < 0.15, "{feature}: {score}");
        }
    }

    #[test]
    fn a_label_that_is_no_probability_is_named() {
        let settings = LogisticConfig::default().check().unwrap();
        let mut stream = Streams::new(0).stream("fit", &[]);
        let bad = [Labelled { input: vec![(0, 1.0)], label: f64::NAN }];
        let error = Logistic::fit(&bad, 1, &settings, &mut stream).unwrap_err();
        assert_eq!(error.to_string(), "label of example 0 = NaN: allowed is a number in [0, 1]");
        assert_eq!(Logistic::fit(&[], 1, &settings, &mut stream), Err(RewardModelError::Empty));
    }

    #[test]
    fn a_fit_that_diverges_is_an_error() {
        let config = LogisticConfig { learning_rate: 1e308, ..LogisticConfig::default() };
        let mut stream = Streams::new(0).stream("fit", &[]);
        let examples: Vec<Labelled<SparseFeatures>> =
            [0.0, 1.0, 0.0, 1.0].map(|label| Labelled { input: vec![(0, 1e3)], label }).to_vec();
        let error = Logistic::fit(&examples, 1, &config.check().unwrap(), &mut stream).unwrap_err();
        assert!(error.to_string().starts_with("weight is "), "{error}");
    }
}
