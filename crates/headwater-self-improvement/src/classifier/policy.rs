//! The classifier: one hidden layer, and the optimiser of its weights.

use headwater_core::StreamRng;
use headwater_kernels::{Activation, AdamWStep, DenseLayer, adamw, mlp, mlp_backward, mlp_saving};
use rand_distr::{Distribution, StandardNormal};

/// One hidden layer, all weights in one vector: `[in][hidden]`, `[hidden]`, `[hidden][out]`, `[out]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub(super) shape: [usize; 3],
    pub(super) values: Vec<f32>,
}

impl Policy {
    pub(super) fn initialise(shape: [usize; 3], stream: &mut StreamRng) -> Self {
        let [inputs, hidden, outputs] = shape;
        let mut values = Vec::new();
        for (rows, columns) in [(inputs, hidden), (hidden, outputs)] {
            let scale = (2.0 / rows as f64).sqrt();
            values.extend((0..rows * columns).map(|_| (scale * normal(stream)) as f32));
            values.extend(vec![0.0; columns]);
        }
        Self { shape, values }
    }

    fn layers(&self) -> [DenseLayer<'_>; 2] {
        let [inputs, hidden, outputs] = self.shape;
        let (first, rest) = self.values.split_at(inputs * hidden);
        let (first_bias, rest) = rest.split_at(hidden);
        let (second, second_bias) = rest.split_at(hidden * outputs);
        let layer = |weights, bias, activation| DenseLayer { weights, bias, activation };
        [
            layer(first, first_bias, Activation::Relu),
            layer(second, second_bias, Activation::Identity),
        ]
    }

    /// Probabilities of every class, row by row.
    #[must_use]
    pub fn probabilities(&self, x: &[f32]) -> Vec<f64> {
        softmax(&mlp(&self.layers(), x), self.shape[2])
    }
}

fn softmax(logits: &[f32], classes: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(logits.len());
    for row in logits.chunks_exact(classes) {
        let top = f64::from(row.iter().fold(f32::NEG_INFINITY, |top, z| top.max(*z)));
        let start = out.len();
        out.extend(row.iter().map(|z| (f64::from(*z) - top).exp()));
        let total: f64 = out[start..].iter().sum();
        out[start..].iter_mut().for_each(|p| *p /= total);
    }
    out
}

/// Adam on a policy's weights.
pub(super) struct Adam {
    rate: f64,
    steps: i32,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Adam {
    pub(super) fn new(rate: f64, policy: &Policy) -> Self {
        let zeros = vec![0.0; policy.values.len()];
        Self { rate, steps: 0, first: zeros.clone(), second: zeros }
    }

    /// Down the gradient of the mean over rows whose slopes in the logits are `slopes`.
    pub(super) fn step(&mut self, policy: &mut Policy, x: &[f32], slopes: &[f32]) {
        let layers = policy.layers();
        let (_, kept) = mlp_saving(&layers, x);
        let gradient: Vec<f32> = mlp_backward(&layers, x, &kept, slopes, None)
            .into_iter()
            .flat_map(|layer| [layer.weights, layer.bias].concat())
            .collect();
        self.steps += 1;
        let left = |beta: f64| 1.0 - beta.powi(self.steps);
        let step = AdamWStep {
            clip: 1.0,
            beta_1: [0.9, 0.1],
            beta_2: [0.999, 0.001],
            keep: 1.0,
            rate: (self.rate / left(0.9)) as f32,
            root_correction: left(0.999).sqrt() as f32,
            epsilon: 1e-8,
        };
        adamw(step, &mut policy.values, &gradient, &mut self.first, &mut self.second);
    }
}

pub(super) fn normal(stream: &mut StreamRng) -> f64 {
    StandardNormal.sample(stream)
}
