//! Adam on one vector of parameters.

use headwater_core::{Check, ConfigError, require, require_non_negative, require_positive};
use headwater_kernels::{AdamWStep, adamw, sum_of_squares};
use serde::{Deserialize, Serialize};

/// AdamW (Loshchilov & Hutter 2019), unchecked. Without weight decay it is Adam (Kingma & Ba 2015).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamConfig {
    /// Decay of the two moments, in [0, 1).
    pub betas: [f64; 2],
    /// Added to the root of the second moment, in [1.2e-38, 1].
    pub epsilon: f64,
    /// Share of the weights that a step at learning rate 1 would take off, at least 0.
    pub weight_decay: f64,
}

impl Default for AdamConfig {
    /// 0.9, 0.999, 1e-8, no decay.
    fn default() -> Self {
        Self { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// A checked [`AdamConfig`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamSettings(AdamConfig);

impl Check for AdamConfig {
    type Checked = AdamSettings;

    fn check(self) -> Result<AdamSettings, ConfigError> {
        const NAME: &str = "AdamConfig";
        for beta in self.betas {
            require((0.0..1.0).contains(&beta), NAME, "betas", beta, "numbers in [0, 1)")?;
        }
        require_positive(NAME, "epsilon", self.epsilon)?;
        // Steps are taken in single precision.
        let holds = (self.epsilon as f32).is_normal() && self.epsilon <= 1.0;
        require(holds, NAME, "epsilon", self.epsilon, "a number in [1.2e-38, 1]")?;
        require_non_negative(NAME, "weight_decay", self.weight_decay)?;
        Ok(AdamSettings(self))
    }
}

/// A gradient that is NaN or infinite; parameters and memory are as they were before it.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "norm of the gradient = {norm} after {step} steps: allowed is a finite number; lower the \
     learning rate"
)]
pub struct Diverged {
    /// Steps taken until then.
    pub step: u64,
    /// The norm.
    pub norm: f64,
}

/// The optimiser's memory: two numbers for each parameter.
#[derive(Debug, Clone)]
pub struct Adam {
    settings: AdamSettings,
    steps: i32,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Default for Adam {
    /// Of the default [`AdamConfig`].
    fn default() -> Self {
        Self::new(AdamSettings(AdamConfig::default()))
    }
}

impl Adam {
    /// Before the first step.
    #[must_use]
    pub fn new(settings: AdamSettings) -> Self {
        Self { settings, steps: 0, first: Vec::new(), second: Vec::new() }
    }

    /// One step down `gradient`, whose norm is first scaled down to `most` if it is larger.
    /// Parameters that were appended since the last step start with moments of 0.
    ///
    /// # Errors
    /// A norm that is NaN or infinite.
    ///
    /// # Panics
    /// As [`Adam::step`].
    pub fn clipped_step(
        &mut self,
        learning_rate: f64,
        most: Option<f64>,
        parameters: &mut [f32],
        gradient: &[f32],
    ) -> Result<(), Diverged> {
        let norm = sum_of_squares(gradient).sqrt();
        if !norm.is_finite() {
            return Err(Diverged { step: self.steps as u64, norm });
        }
        let clip = most.map_or(1.0, |most| (most / norm.max(most)) as f32);
        self.scaled_step(learning_rate, clip, parameters, gradient);
        Ok(())
    }

    /// One step down `gradient` as it is.
    ///
    /// # Panics
    /// When there is not one gradient for every parameter, or there are fewer parameters than
    /// before.
    pub fn step(&mut self, learning_rate: f64, parameters: &mut [f32], gradient: &[f32]) {
        self.scaled_step(learning_rate, 1.0, parameters, gradient);
    }

    fn scaled_step(
        &mut self,
        learning_rate: f64,
        clip: f32,
        parameters: &mut [f32],
        gradient: &[f32],
    ) {
        let (count, known) = (parameters.len(), self.first.len());
        assert!(
            gradient.len() == count && known <= count,
            "{count} parameters, {} gradients and moments of {known}: allowed are as many \
             gradients as parameters, and no fewer than before",
            gradient.len()
        );
        let AdamConfig { betas, epsilon, weight_decay } = self.settings.0;
        self.steps += 1;
        self.first.resize(count, 0.0);
        self.second.resize(count, 0.0);
        let correction = betas.map(|beta| 1.0 - beta.powi(self.steps));
        let [beta_1, beta_2] = betas.map(|beta| [beta as f32, (1.0 - beta) as f32]);
        let step = AdamWStep {
            clip,
            beta_1,
            beta_2,
            keep: (1.0 - learning_rate * weight_decay) as f32,
            rate: (learning_rate / correction[0]) as f32,
            root_correction: correction[1].sqrt() as f32,
            epsilon: epsilon as f32,
        };
        adamw(step, parameters, gradient, &mut self.first, &mut self.second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn two_steps_by_hand_and_a_parameter_that_comes_later() {
        let mut adam = Adam::default();
        let mut parameters = vec![1.0];
        // Whatever the gradient's size, the first step is the learning rate.
        adam.step(0.1, &mut parameters, &[-3.0]);
        assert_relative_eq!(parameters[0], 1.1, max_relative = 1e-6);
        parameters.push(0.0);
        adam.step(0.1, &mut parameters, &[1.0, 2.0]);
        // m = 0.9 (-0.3) + 0.1 = -0.17, over 0.19; v = 0.999 (0.009) + 0.001, over 1 - 0.999^2.
        let second = (-0.17_f32 / 0.19) / (0.009_991_f32 / 0.001_999).sqrt();
        assert_relative_eq!(parameters[0], 1.1 - 0.1 * second, max_relative = 1e-4);
        let late = (0.2_f32 / 0.19) / (0.004_f32 / 0.001_999).sqrt();
        assert_relative_eq!(parameters[1], -0.1 * late, max_relative = 1e-4);
    }

    #[test]
    fn decay_takes_its_share_of_the_weights_off() {
        let config = AdamConfig { weight_decay: 0.5, ..AdamConfig::default() };
        let mut adam = Adam::new(config.check().unwrap());
        let mut parameters = vec![2.0, -4.0];
        adam.step(0.1, &mut parameters, &[0.0, 1.0]);
        assert_relative_eq!(parameters[0], 2.0 * 0.95, max_relative = 1e-6);
        assert_relative_eq!(parameters[1], -4.0 * 0.95 - 0.1, max_relative = 1e-6);
    }

    #[test]
    fn a_norm_is_scaled_down_and_one_that_is_none_refused() {
        let (mut clipped, mut scaled) = (Adam::default(), Adam::default());
        let (mut a, mut b) = (vec![0.0; 2], vec![0.0; 2]);
        for gradient in [[3.0, 4.0], [0.3, 0.4]] {
            clipped.clipped_step(0.1, Some(1.0), &mut a, &gradient).unwrap();
        }
        for gradient in [[0.6, 0.8], [0.3, 0.4]] {
            scaled.step(0.1, &mut b, &gradient);
        }
        assert_relative_eq!(a[0], b[0], max_relative = 1e-6);
        let before = a.clone();
        for bad in [f32::NAN, f32::INFINITY] {
            let error = clipped.clipped_step(0.1, None, &mut a, &[bad, 0.0]).unwrap_err();
            assert_eq!((error.step, error.norm.is_finite()), (2, false), "{error}");
        }
        assert_eq!(a, before);
        let mut unbounded = Adam::default();
        unbounded.clipped_step(0.1, None, &mut a, &[3e5, -4.0]).unwrap();
        for (own, before) in a.iter().zip(&before) {
            assert_relative_eq!((own - before).abs(), 0.1, max_relative = 1e-5);
        }
    }

    #[test]
    fn a_config_is_refused_by_name() {
        let fine = AdamConfig::default();
        for (config, field) in [
            (AdamConfig { betas: [1.0, 0.9], ..fine }, "betas = 1"),
            (AdamConfig { betas: [0.9, f64::NAN], ..fine }, "betas = NaN"),
            (AdamConfig { epsilon: 0.0, ..fine }, "epsilon = 0"),
            (AdamConfig { epsilon: 1e-60, ..fine }, "epsilon"),
            (AdamConfig { weight_decay: -1.0, ..fine }, "weight_decay = -1"),
        ] {
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("AdamConfig.{field}")), "{error}");
        }
    }

    #[test]
    #[should_panic(expected = "1 parameters, 2 gradients and moments of 0")]
    fn a_gradient_of_another_length_is_refused() {
        Adam::default().step(0.1, &mut [0.0], &[0.0; 2]);
    }
}
