//! Adam on one vector of parameters.

use headwater_kernels::{AdamWStep, adamw, sum_of_squares};

use crate::error::RecsysError;

/// Decay of the moments, and what is added to the root of the second (Kingma & Ba 2015).
const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-8;

/// Adam's state. Parameters that are appended later start with moments of 0.
#[derive(Debug, Clone, Default)]
pub(crate) struct Adam {
    steps: i32,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Adam {
    /// One step down `gradient`, whose norm is first scaled down to `most` if it is larger.
    pub(crate) fn step(
        &mut self,
        learning_rate: f64,
        most: Option<f64>,
        parameters: &mut [f32],
        gradient: &[f32],
    ) -> Result<(), RecsysError> {
        let norm = sum_of_squares(gradient).sqrt();
        if !norm.is_finite() {
            return Err(RecsysError::Diverged { step: self.steps as u64, norm });
        }
        self.steps += 1;
        self.first.resize(parameters.len(), 0.0);
        self.second.resize(parameters.len(), 0.0);
        let correction = BETAS.map(|beta| 1.0 - beta.powi(self.steps));
        let decay = BETAS.map(|beta| [beta as f32, (1.0 - beta) as f32]);
        let step = AdamWStep {
            clip: most.map_or(1.0, |most| (most / norm.max(most)) as f32),
            beta_1: decay[0],
            beta_2: decay[1],
            keep: 1.0,
            rate: (learning_rate / correction[0]) as f32,
            root_correction: correction[1].sqrt() as f32,
            epsilon: EPSILON,
        };
        adamw(step, parameters, gradient, &mut self.first, &mut self.second);
        Ok(())
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
        adam.step(0.1, None, &mut parameters, &[-3.0]).unwrap();
        assert_relative_eq!(parameters[0], 1.1, max_relative = 1e-6);
        parameters.push(0.0);
        adam.step(0.1, None, &mut parameters, &[1.0, 2.0]).unwrap();
        // m = 0.9 (-0.3) + 0.1 = -0.17, over 0.19; v = 0.999 (0.009) + 0.001, over 1 - 0.999^2.
        let second = (-0.17_f32 / 0.19) / (0.009_991_f32 / 0.001_999).sqrt();
        assert_relative_eq!(parameters[0], 1.1 - 0.1 * second, max_relative = 1e-4);
        let late = (0.2_f32 / 0.19) / (0.004_f32 / 0.001_999).sqrt();
        assert_relative_eq!(parameters[1], -0.1 * late, max_relative = 1e-4);
    }

    #[test]
    fn a_norm_is_scaled_down_and_one_that_is_none_refused() {
        let (mut clipped, mut scaled) = (Adam::default(), Adam::default());
        let (mut a, mut b) = (vec![0.0; 2], vec![0.0; 2]);
        for gradient in [[3.0, 4.0], [0.3, 0.4]] {
            clipped.step(0.1, Some(1.0), &mut a, &gradient).unwrap();
        }
        for gradient in [[0.6, 0.8], [0.3, 0.4]] {
            scaled.step(0.1, None, &mut b, &gradient).unwrap();
        }
        assert_relative_eq!(a[0], b[0], max_relative = 1e-6);
        let error = clipped.step(0.1, None, &mut a, &[f32::NAN, 0.0]).unwrap_err();
        assert!(matches!(error, RecsysError::Diverged { step: 2, .. }), "{error}");
    }
}
