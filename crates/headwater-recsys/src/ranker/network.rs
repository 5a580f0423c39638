//! The network: logits of every task, and gradients, over the slice kernels.
//!
//! ```text
//! h = bottom(x)        y_t = sum_e g_te(h) expert_e(h)        z_t = tower_t(y_t)
//! ```
//!
//! with `g_t = softmax(h G_t)` (Ma et al. 2018; that gates read the hidden layer and not the wide input is Zhao et al.
//! 2019). All parameters are one vector, so one call of the optimiser updates them.

use std::borrow::Cow;
use std::ops::Range;

use headwater_core::StreamRng;
use headwater_kernels::{
    Activation, DenseGradients, DenseLayer, ExpertLayer, MlpSaved, MmoeSaved, MmoeWeights, mlp,
    mlp_backward, mlp_saving, mmoe, mmoe_backward, mmoe_saving,
};
use rand_distr::{Distribution, Normal};

use crate::ranker::architecture::{Architecture, Sharing};

/// Where a layer's weights lie in the parameters. An expert layer's weights are those of all experts.
#[derive(Debug, Clone)]
struct Layer {
    weights: Range<usize>,
    bias: Range<usize>,
    /// Inputs of one unit.
    fan_in: usize,
    activation: Activation,
}

/// An architecture laid out in a vector of parameters. It holds no weights.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    inputs: usize,
    tasks: usize,
    bottom: Vec<Layer>,
    /// The shared stack, or the experts where there are gates.
    shared: Vec<Layer>,
    gates: Option<Gates>,
    towers: Vec<Vec<Layer>>,
    /// Width of what experts and gates read.
    hidden: usize,
    /// Width of what a tower reads.
    width: usize,
    parameters: usize,
}

#[derive(Debug, Clone)]
struct Gates {
    experts: usize,
    /// 1, or the number of tasks.
    count: usize,
    weights: Range<usize>,
}

/// What the backward pass needs of the forward pass.
#[derive(Debug)]
pub(crate) struct Saved {
    bottom: Option<(Vec<f32>, MlpSaved)>,
    shared: Option<(Vec<f32>, SharedSaved)>,
    /// Of each tower its input, where it was gathered, and its layers.
    towers: Vec<(Option<Vec<f32>>, MlpSaved)>,
}

#[derive(Debug)]
enum SharedSaved {
    Stack(MlpSaved),
    Experts(MmoeSaved),
}

impl Saved {
    /// What experts and gates have read, `[rows][hidden]`; without a bottom `x` itself.
    pub(crate) fn hidden<'a>(&'a self, x: &'a [f32]) -> &'a [f32] {
        self.bottom.as_ref().map_or(x, |(hidden, _)| hidden)
    }
}

impl Network {
    pub(crate) fn new(architecture: &Architecture, inputs: usize, tasks: usize) -> Self {
        let mut end = 0;
        let mut take = |length: usize| {
            end += length;
            end - length..end
        };
        let mut stack = |inputs: usize, widths: &[usize], copies: usize| -> Vec<Layer> {
            let below = std::iter::once(&inputs).chain(widths);
            let layer = |(&fan_in, &width): (&usize, &usize)| Layer {
                weights: take(copies * fan_in * width),
                bias: take(copies * width),
                fan_in,
                activation: Activation::Relu,
            };
            below.zip(widths).map(layer).collect()
        };
        let bottom = stack(inputs, &architecture.bottom, 1);
        let hidden = architecture.bottom.last().copied().unwrap_or(inputs);
        let (experts, count, layers) = match &architecture.sharing {
            Sharing::SharedBottom { hidden } => (1, 0, hidden),
            Sharing::OneGate { experts, hidden } => (*experts, 1, hidden),
            Sharing::MultiGate { experts, hidden } => (*experts, tasks, hidden),
        };
        let shared = stack(hidden, layers, experts);
        let width = layers.last().copied().unwrap_or(hidden);
        let mut widths = architecture.tower.clone();
        widths.push(1);
        let towers = (0..tasks).map(|_| {
            let mut tower = stack(width, &widths, 1);
            tower.last_mut().expect("the output").activation = Activation::Identity;
            tower
        });
        let towers = towers.collect();
        let gates =
            (count > 0).then(|| Gates { experts, count, weights: take(hidden * count * experts) });
        Self { inputs, tasks, bottom, shared, gates, towers, hidden, width, parameters: end }
    }

    /// How many parameters there are.
    pub(crate) fn parameters(&self) -> usize {
        self.parameters
    }

    /// Width of what experts and gates read.
    pub(crate) fn hidden(&self) -> usize {
        self.hidden
    }

    /// Entries of a gate mask for each row; 0 without gates.
    pub(crate) fn mask_width(&self) -> usize {
        self.gates.as_ref().map_or(0, |gates| gates.count * gates.experts)
    }

    /// Fresh weights: normal with variance 2 / fan in for ReLU layers (He et al. 2015), 1 / fan in for outputs and gates;
    /// biases are 0.
    pub(crate) fn initial(&self, stream: &mut StreamRng) -> Vec<f32> {
        let mut parameters = vec![0.0; self.parameters];
        let mut fill = |range: &Range<usize>, variance: f64| {
            let normal = Normal::new(0.0, variance.sqrt()).expect("a variance is finite");
            parameters[range.clone()].fill_with(|| normal.sample(stream) as f32);
        };
        for layer in self.bottom.iter().chain(&self.shared).chain(self.towers.iter().flatten()) {
            let gain = if layer.activation == Activation::Relu { 2.0 } else { 1.0 };
            fill(&layer.weights, gain / layer.fan_in as f64);
        }
        if let Some(gates) = &self.gates {
            fill(&gates.weights, 1.0 / self.hidden as f64);
        }
        parameters
    }

    /// Logits `[rows][tasks]` of `x` `[rows][inputs]`.
    pub(crate) fn logits(&self, parameters: &[f32], x: &[f32]) -> Vec<f32> {
        let bottom = (!self.bottom.is_empty()).then(|| mlp(&dense(&self.bottom, parameters), x));
        let hidden = bottom.as_deref().unwrap_or(x);
        let shared = (!self.shared.is_empty()).then(|| match &self.gates {
            None => mlp(&dense(&self.shared, parameters), hidden),
            Some(gates) => {
                let experts = experts(&self.shared, parameters);
                mmoe(weights(gates, &experts, parameters), hidden, None)
            }
        });
        let mixed = shared.as_deref().unwrap_or(hidden);
        let mut logits = vec![0.0; x.len() / self.inputs * self.tasks];
        for (task, tower) in self.towers.iter().enumerate() {
            let z = mlp(&dense(tower, parameters), &self.tower_input(mixed, task));
            logits.iter_mut().skip(task).step_by(self.tasks).zip(z).for_each(|(out, z)| *out = z);
        }
        logits
    }

    /// [`Network::logits`] in training: `mask` `[rows][mask width]` is false for the experts that gates drop.
    pub(crate) fn logits_saving(
        &self,
        parameters: &[f32],
        x: &[f32],
        mask: Option<&[bool]>,
    ) -> (Vec<f32>, Saved) {
        let bottom =
            (!self.bottom.is_empty()).then(|| mlp_saving(&dense(&self.bottom, parameters), x));
        let hidden = bottom.as_ref().map_or(x, |(hidden, _)| hidden);
        let shared = (!self.shared.is_empty()).then(|| match &self.gates {
            None => {
                let (out, saved) = mlp_saving(&dense(&self.shared, parameters), hidden);
                (out, SharedSaved::Stack(saved))
            }
            Some(gates) => {
                let experts = experts(&self.shared, parameters);
                let (out, saved) = mmoe_saving(weights(gates, &experts, parameters), hidden, mask);
                (out, SharedSaved::Experts(saved))
            }
        });
        let mixed = shared.as_ref().map_or(hidden, |(mixed, _)| mixed);
        let mut logits = vec![0.0; x.len() / self.inputs * self.tasks];
        let mut towers = Vec::with_capacity(self.tasks);
        for (task, tower) in self.towers.iter().enumerate() {
            let input = self.tower_input(mixed, task);
            let (z, saved) = mlp_saving(&dense(tower, parameters), &input);
            logits.iter_mut().skip(task).step_by(self.tasks).zip(z).for_each(|(out, z)| *out = z);
            let gathered = match input {
                Cow::Borrowed(_) => None,
                Cow::Owned(input) => Some(input),
            };
            towers.push((gathered, saved));
        }
        (logits, Saved { bottom, shared, towers })
    }

    /// Writes the gradient of all parameters, and that of `x` to `dx` if it is wanted, given that of the logits and,
    /// optionally, what something else that reads the hidden layer adds to its gradient.
    pub(crate) fn backward(
        &self,
        parameters: &[f32],
        x: &[f32],
        saved: &Saved,
        (dlogits, dhidden): (&[f32], Option<&[f32]>),
        gradient: &mut [f32],
        dx: Option<&mut [f32]>,
    ) {
        let hidden = saved.hidden(x);
        let mixed = saved.shared.as_ref().map_or(hidden, |(mixed, _)| mixed);
        let mixtures = self.mixtures();
        let mut dmixed = vec![0.0; mixed.len()];
        let mut dinput = vec![0.0; mixed.len() / mixtures];
        for (task, (tower, (gathered, layers))) in self.towers.iter().zip(&saved.towers).enumerate()
        {
            let input = gathered.as_deref().unwrap_or(mixed);
            let dz: Vec<f32> = dlogits.iter().skip(task).step_by(self.tasks).copied().collect();
            let tensors = dense(tower, parameters);
            store(tower, mlp_backward(&tensors, input, layers, &dz, Some(&mut dinput)), gradient);
            let own = dmixed.chunks_exact_mut(self.width).skip(task % mixtures).step_by(mixtures);
            for (sums, row) in own.zip(dinput.chunks_exact(self.width)) {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
        }
        // Without a bottom the hidden layer is `x`, whose gradient is seldom wanted.
        let wanted = saved.bottom.is_some() || dx.is_some();
        let mut down = match (&saved.shared, &self.gates) {
            (Some((_, SharedSaved::Stack(saved))), _) => {
                let mut down = vec![0.0; hidden.len()];
                let tensors = dense(&self.shared, parameters);
                let into = wanted.then_some(down.as_mut_slice());
                let sums = mlp_backward(&tensors, hidden, saved, &dmixed, into);
                store(&self.shared, sums, gradient);
                down
            }
            (Some((_, SharedSaved::Experts(saved))), Some(gates)) => {
                let mut down = vec![0.0; hidden.len()];
                let experts = experts(&self.shared, parameters);
                let weights = weights(gates, &experts, parameters);
                let into = wanted.then_some(down.as_mut_slice());
                let sums = mmoe_backward(weights, hidden, saved, &dmixed, into);
                for (layer, sums) in self.shared.iter().zip(sums.layers) {
                    gradient[layer.weights.clone()].copy_from_slice(&sums.weights);
                    gradient[layer.bias.clone()].copy_from_slice(&sums.bias);
                }
                gradient[gates.weights.clone()].copy_from_slice(&sums.gates);
                down
            }
            _ => dmixed,
        };
        if let Some(more) = dhidden {
            down.iter_mut().zip(more).for_each(|(sum, value)| *sum += value);
        }
        match &saved.bottom {
            None => {
                if let Some(dx) = dx {
                    dx.copy_from_slice(&down);
                }
            }
            Some((_, layers)) => {
                let tensors = dense(&self.bottom, parameters);
                store(&self.bottom, mlp_backward(&tensors, x, layers, &down, dx), gradient);
            }
        }
    }

    /// Mixtures of experts in a row: one for all tasks, or one for each.
    fn mixtures(&self) -> usize {
        self.gates.as_ref().map_or(1, |gates| gates.count)
    }

    /// What the tower of a task reads, `[rows][width]`.
    fn tower_input<'a>(&self, mixed: &'a [f32], task: usize) -> Cow<'a, [f32]> {
        match self.mixtures() {
            1 => Cow::Borrowed(mixed),
            count => {
                let own = mixed.chunks_exact(self.width).skip(task).step_by(count);
                Cow::Owned(own.flatten().copied().collect())
            }
        }
    }
}

fn dense<'a>(stack: &[Layer], parameters: &'a [f32]) -> Vec<DenseLayer<'a>> {
    let layer = |layer: &Layer| DenseLayer {
        weights: &parameters[layer.weights.clone()],
        bias: &parameters[layer.bias.clone()],
        activation: layer.activation,
    };
    stack.iter().map(layer).collect()
}

fn experts<'a>(stack: &[Layer], parameters: &'a [f32]) -> Vec<ExpertLayer<'a>> {
    let layer = |layer: &Layer| ExpertLayer {
        weights: &parameters[layer.weights.clone()],
        bias: &parameters[layer.bias.clone()],
    };
    stack.iter().map(layer).collect()
}

fn weights<'a>(
    gates: &Gates,
    experts: &'a [ExpertLayer<'a>],
    parameters: &'a [f32],
) -> MmoeWeights<'a> {
    let own = &parameters[gates.weights.clone()];
    MmoeWeights { experts: gates.experts, layers: experts, gates: own }
}

fn store(stack: &[Layer], sums: Vec<DenseGradients>, gradient: &mut [f32]) {
    for (layer, sums) in stack.iter().zip(sums) {
        gradient[layer.weights.clone()].copy_from_slice(&sums.weights);
        gradient[layer.bias.clone()].copy_from_slice(&sums.bias);
    }
}

#[cfg(test)]
mod tests;
