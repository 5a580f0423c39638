//! The classifier: one hidden layer, and the optimiser of its weights.

use headwater_core::{Check, ConfigError, StreamRng};
use headwater_small_net::{
    Adam, Initial, Precision, SavedSmallNet, SmallNet, SmallNetConfig, SmallNetInput,
};
use ndarray::ArrayView2;
use rand_distr::{Distribution, StandardNormal};

/// One hidden layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    net: SmallNet,
    /// Laid out as `net` says.
    pub(super) values: Vec<f32>,
}

/// The network of a policy.
pub(super) fn network(
    inputs: usize,
    hidden: usize,
    outputs: usize,
) -> Result<SmallNet, ConfigError> {
    let input = SmallNetInput::Features(inputs);
    SmallNetConfig { input, convolutions: Vec::new(), hidden: vec![hidden], outputs }.check()
}

impl Policy {
    pub(super) fn initialise(net: SmallNet, stream: &mut StreamRng) -> Self {
        let initial = Initial { linear_gain: 2.0, precision: Precision::Double };
        Self { values: net.initial(initial, stream), net }
    }

    /// How many there are.
    pub(super) fn classes(&self) -> usize {
        self.net.outputs()
    }

    /// Probabilities of every class, row by row.
    #[must_use]
    pub fn probabilities(&self, x: &[f32]) -> Vec<f64> {
        let logits = self.net.forward(&self.values, rows(x, self.net.inputs()));
        softmax(logits.as_slice().expect("a result lies row by row"), self.classes())
    }
}

fn rows(values: &[f32], width: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((values.len() / width, width), values).expect("whole rows")
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

/// Adam on a policy's weights, with the memory of a step, which the next uses again.
pub(super) struct Descent {
    rate: f64,
    adam: Adam,
    saved: SavedSmallNet,
    gradient: Vec<f32>,
}

impl Descent {
    pub(super) fn new(rate: f64, policy: &Policy) -> Self {
        let gradient = vec![0.0; policy.values.len()];
        Self { rate, adam: Adam::default(), saved: SavedSmallNet::default(), gradient }
    }

    /// Down the gradient of the mean over rows whose slopes in the logits are `slopes`.
    pub(super) fn step(&mut self, policy: &mut Policy, x: &[f32], slopes: &[f32]) {
        let Policy { net, values } = policy;
        let (x, slopes) = (rows(x, net.inputs()), rows(slopes, net.outputs()));
        net.forward_saving(values, x, &mut self.saved);
        net.backward(values, x, &mut self.saved, slopes, &mut self.gradient);
        self.adam.step(self.rate, values, &self.gradient);
    }
}

pub(super) fn normal(stream: &mut StreamRng) -> f64 {
    StandardNormal.sample(stream)
}
