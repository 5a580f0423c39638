//! The network: logits of every task, and gradients, over stacks of dense layers and the mixture of
//! experts.
//!
//! ```text
//! h = bottom(x)        y_t = sum_e g_te(h) expert_e(h)        z_t = tower_t(y_t)
//! ```
//!
//! with `g_t = softmax(h G_t)` (Ma et al. 2018; that gates read the hidden layer and not the wide
//! input is Zhao et al. 2019). All parameters are one vector, so one call of the optimiser updates
//! them.

use std::borrow::Cow;
use std::ops::Range;

use headwater_core::StreamRng;
use headwater_kernels::{ExpertLayer, MmoeSaved, MmoeWeights, mmoe, mmoe_backward, mmoe_saving};
use headwater_small_net::{Initial, Layout, Mlp, SavedMlp};
use ndarray::{ArrayView2, ArrayViewMut2};

use crate::ranker::architecture::{Architecture, Sharing};

/// An architecture laid out in a vector of parameters: bottom, what is shared, towers, gates. It
/// holds no weights.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    inputs: usize,
    bottom: Option<Mlp>,
    shared: Shared,
    /// One for each task.
    towers: Vec<Mlp>,
    /// Width of what experts and gates read.
    hidden: usize,
    /// Width of what a tower reads.
    width: usize,
    /// One past the last of its parameters.
    pub(super) parameters: usize,
}

#[derive(Debug, Clone)]
enum Shared {
    /// Towers read what the bottom gives.
    Nothing,
    Stack(Mlp),
    Experts(Experts),
}

#[derive(Debug, Clone)]
struct Experts {
    experts: usize,
    /// Mixtures in a row: 1, or the number of tasks.
    mixtures: usize,
    /// Weights and biases of all experts, layer by layer.
    layers: Vec<[Range<usize>; 2]>,
    gates: Range<usize>,
}

/// What the backward pass needs of the forward pass, and the logits. Its memory is used again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Saved {
    bottom: SavedMlp,
    stack: SavedMlp,
    experts: Option<(Vec<f32>, MmoeSaved)>,
    /// Of each tower what it reads, where that was gathered, and its layers.
    towers: Vec<(Vec<f32>, SavedMlp)>,
    /// Rows x tasks.
    pub(crate) logits: Vec<f32>,
    down: Down,
}

/// Gradients on the way down.
#[derive(Debug, Clone, Default)]
struct Down {
    /// Of one task's logits.
    z: Vec<f32>,
    /// Of what one tower reads, and of what all of them do.
    tower: Vec<f32>,
    mixed: Vec<f32>,
    hidden: Vec<f32>,
}

/// So many rows of `width`.
pub(super) fn rows(values: &[f32], width: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((values.len() / width, width), values).expect("whole rows")
}

/// [`rows`], to be written.
pub(super) fn rows_mut(values: &mut [f32], width: usize) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((values.len() / width, width), values).expect("whole rows")
}

/// Numbers of a matrix that lies row by row.
pub(super) fn flat(matrix: ArrayView2<'_, f32>) -> &[f32] {
    matrix.to_slice().expect("rows that lie one after another")
}

impl Network {
    /// Laid out from the start of `layout`.
    pub(crate) fn new(
        architecture: &Architecture,
        inputs: usize,
        tasks: usize,
        layout: &mut Layout,
    ) -> Self {
        let bottom = stack(layout, inputs, &architecture.bottom);
        let hidden = architecture.bottom.last().copied().unwrap_or(inputs);
        let (widths, mut shared) = match &architecture.sharing {
            Sharing::SharedBottom { hidden: widths } => {
                (widths, stack(layout, hidden, widths).map_or(Shared::Nothing, Shared::Stack))
            }
            Sharing::OneGate { experts, hidden: widths } => {
                (widths, Shared::Experts(Experts::new(layout, hidden, *experts, 1, widths)))
            }
            Sharing::MultiGate { experts, hidden: widths } => {
                (widths, Shared::Experts(Experts::new(layout, hidden, *experts, tasks, widths)))
            }
        };
        let width = widths.last().copied().unwrap_or(hidden);
        let towers = (0..tasks).map(|_| Mlp::new(layout, width, &architecture.tower, Some(1)));
        let towers = towers.collect();
        if let Shared::Experts(own) = &mut shared {
            own.gates = layout.reserve(hidden * own.mixtures * own.experts);
        }
        Self { inputs, bottom, shared, towers, hidden, width, parameters: layout.parameters() }
    }

    /// Width of what experts and gates read.
    pub(crate) fn hidden(&self) -> usize {
        self.hidden
    }

    /// Entries of a gate mask for each row; 0 without gates.
    pub(crate) fn mask_width(&self) -> usize {
        match &self.shared {
            Shared::Experts(own) => own.mixtures * own.experts,
            _ => 0,
        }
    }

    /// Fresh weights: normal with variance 2 / fan in for ReLU layers (He et al. 2015), 1 / fan in
    /// for outputs and gates; biases are 0.
    pub(crate) fn initial(&self, stream: &mut StreamRng) -> Vec<f32> {
        let mut parameters = vec![0.0; self.parameters];
        let initial = Initial::default();
        if let Some(bottom) = &self.bottom {
            bottom.initialise(&mut parameters, initial, stream);
        }
        match &self.shared {
            Shared::Nothing => {}
            Shared::Stack(stack) => stack.initialise(&mut parameters, initial, stream),
            Shared::Experts(own) => {
                let mut fan_in = self.hidden;
                for [weights, bias] in &own.layers {
                    let variance = 2.0 / fan_in as f64;
                    initial.fill(&mut parameters[weights.clone()], variance, stream);
                    fan_in = bias.len() / own.experts;
                }
            }
        }
        for tower in &self.towers {
            tower.initialise(&mut parameters, initial, stream);
        }
        if let Shared::Experts(own) = &self.shared {
            let gates = &mut parameters[own.gates.clone()];
            initial.fill(gates, 1.0 / self.hidden as f64, stream);
        }
        parameters
    }

    /// Logits, rows x tasks, of `x`, rows x inputs.
    pub(crate) fn logits(&self, parameters: &[f32], x: &[f32]) -> Vec<f32> {
        let x = rows(x, self.inputs);
        let bottom = self.bottom.as_ref().map(|bottom| bottom.forward(parameters, x));
        let hidden = bottom.as_ref().map_or(x, |hidden| hidden.view());
        let mixed = match &self.shared {
            Shared::Nothing => Cow::Borrowed(flat(hidden)),
            Shared::Stack(stack) => {
                Cow::Owned(stack.forward(parameters, hidden).into_raw_vec_and_offset().0)
            }
            Shared::Experts(own) => {
                let layers = own.borrowed(parameters);
                Cow::Owned(mmoe(own.weights(&layers, parameters), flat(hidden), None))
            }
        };
        let tasks = self.towers.len();
        let mut logits = vec![0.0; x.nrows() * tasks];
        let mut gathered = Vec::new();
        for (task, tower) in self.towers.iter().enumerate() {
            let input = self.tower_input(&mixed, task, &mut gathered);
            let z = tower.forward(parameters, rows(input, self.width));
            logits.iter_mut().skip(task).step_by(tasks).zip(z).for_each(|(out, z)| *out = z);
        }
        logits
    }

    /// [`Network::logits`] in training, into `saved`: `mask`, rows x mask width, is false for the
    /// experts that gates drop.
    pub(crate) fn logits_saving(
        &self,
        parameters: &[f32],
        x: &[f32],
        mask: Option<&[bool]>,
        saved: &mut Saved,
    ) {
        let x = rows(x, self.inputs);
        if let Some(own) = &self.bottom {
            own.forward_saving(parameters, x, &mut saved.bottom);
        }
        let Saved { bottom, stack, experts, towers, logits, .. } = saved;
        let hidden = self.bottom.as_ref().map_or(x, |_| bottom.output());
        let mixed = match &self.shared {
            Shared::Nothing => flat(hidden),
            Shared::Stack(own) => {
                own.forward_saving(parameters, hidden, stack);
                flat(stack.output())
            }
            Shared::Experts(own) => {
                // What was saved before goes back to the pool that the next buffers are taken from.
                *experts = None;
                let layers = own.borrowed(parameters);
                let weights = own.weights(&layers, parameters);
                &experts.insert(mmoe_saving(weights, flat(hidden), mask)).0
            }
        };
        let tasks = self.towers.len();
        logits.resize(x.nrows() * tasks, 0.0);
        towers.resize_with(tasks, Default::default);
        for (task, (tower, (gathered, saved))) in self.towers.iter().zip(towers).enumerate() {
            let input = self.tower_input(mixed, task, gathered);
            tower.forward_saving(parameters, rows(input, self.width), saved);
            let z = saved.output();
            logits.iter_mut().skip(task).step_by(tasks).zip(z).for_each(|(out, z)| *out = *z);
        }
    }

    /// What experts and gates have read, rows x hidden; without a bottom `x` itself.
    pub(crate) fn hidden_of<'a>(&self, saved: &'a Saved, x: &'a [f32]) -> &'a [f32] {
        self.bottom.as_ref().map_or(x, |_| flat(saved.bottom.output()))
    }

    /// Writes the gradient of all parameters, and that of `x` to `dx` if it is wanted, given that
    /// of the logits and, optionally, what something else that reads the hidden layer adds to its
    /// gradient.
    pub(crate) fn backward(
        &self,
        parameters: &[f32],
        x: &[f32],
        saved: &mut Saved,
        (dlogits, dhidden): (&[f32], Option<&[f32]>),
        gradient: &mut [f32],
        dx: Option<&mut [f32]>,
    ) {
        let x = rows(x, self.inputs);
        let Saved { bottom, stack, experts, towers, down, .. } = saved;
        let hidden = self.bottom.as_ref().map_or(x, |_| bottom.output());
        let mixed = match (&self.shared, &experts) {
            (Shared::Stack(_), _) => flat(stack.output()),
            (Shared::Experts(_), Some((mixed, _))) => mixed,
            _ => flat(hidden),
        };
        let (width, mixtures, tasks) = (self.width, self.mixtures(), self.towers.len());
        down.mixed.clear();
        down.mixed.resize(mixed.len(), 0.0);
        down.tower.resize(mixed.len() / mixtures, 0.0);
        for (task, (tower, (gathered, layers))) in self.towers.iter().zip(towers).enumerate() {
            let input = if mixtures == 1 { mixed } else { gathered };
            down.z.clear();
            down.z.extend(dlogits.iter().skip(task).step_by(tasks));
            let into = Some(rows_mut(&mut down.tower, width));
            tower.backward(
                parameters,
                rows(input, width),
                layers,
                rows(&down.z, 1),
                gradient,
                into,
            );
            let own = down.mixed.chunks_exact_mut(width).skip(task % mixtures).step_by(mixtures);
            for (sums, row) in own.zip(down.tower.chunks_exact(width)) {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
        }
        // Without a bottom the hidden layer is `x`, whose gradient is seldom wanted.
        let wanted = self.bottom.is_some() || dx.is_some();
        down.hidden.resize(hidden.len(), 0.0);
        match (&self.shared, experts) {
            (Shared::Stack(own), _) => {
                let into = wanted.then(|| rows_mut(&mut down.hidden, self.hidden));
                own.backward(parameters, hidden, stack, rows(&down.mixed, width), gradient, into);
            }
            (Shared::Experts(own), Some((_, saved))) => {
                let into = wanted.then_some(down.hidden.as_mut_slice());
                own.backward(parameters, flat(hidden), saved, &down.mixed, gradient, into);
            }
            _ => std::mem::swap(&mut down.hidden, &mut down.mixed),
        }
        if let Some(more) = dhidden {
            down.hidden.iter_mut().zip(more).for_each(|(sum, value)| *sum += value);
        }
        match &self.bottom {
            None => {
                if let Some(dx) = dx {
                    dx.copy_from_slice(&down.hidden);
                }
            }
            Some(own) => {
                let dy = rows(&down.hidden, self.hidden);
                let dx = dx.map(|dx| rows_mut(dx, self.inputs));
                own.backward(parameters, x, bottom, dy, gradient, dx);
            }
        }
    }

    /// Mixtures of experts in a row: one for all tasks, or one for each.
    fn mixtures(&self) -> usize {
        match &self.shared {
            Shared::Experts(own) => own.mixtures,
            _ => 1,
        }
    }

    /// What the tower of a task reads, rows x width.
    fn tower_input<'a>(
        &self,
        mixed: &'a [f32],
        task: usize,
        gathered: &'a mut Vec<f32>,
    ) -> &'a [f32] {
        match self.mixtures() {
            1 => mixed,
            count => {
                gathered.clear();
                let own = mixed.chunks_exact(self.width).skip(task).step_by(count);
                own.for_each(|row| gathered.extend_from_slice(row));
                gathered
            }
        }
    }
}

/// ReLU layers, if there are any.
fn stack(layout: &mut Layout, inputs: usize, widths: &[usize]) -> Option<Mlp> {
    (!widths.is_empty()).then(|| Mlp::new(layout, inputs, widths, None))
}

impl Experts {
    /// Experts whose gates have no place yet.
    fn new(
        layout: &mut Layout,
        inputs: usize,
        experts: usize,
        mixtures: usize,
        widths: &[usize],
    ) -> Self {
        let mut below = inputs;
        let layer = |width: &usize| {
            let weights = layout.reserve(experts * below * width);
            below = *width;
            [weights, layout.reserve(experts * width)]
        };
        let layers = widths.iter().map(layer).collect();
        Self { experts, mixtures, layers, gates: 0..0 }
    }

    fn borrowed<'a>(&self, parameters: &'a [f32]) -> Vec<ExpertLayer<'a>> {
        let layer = |[weights, bias]: &[Range<usize>; 2]| ExpertLayer {
            weights: &parameters[weights.clone()],
            bias: &parameters[bias.clone()],
        };
        self.layers.iter().map(layer).collect()
    }

    fn weights<'a>(&self, layers: &'a [ExpertLayer<'a>], parameters: &'a [f32]) -> MmoeWeights<'a> {
        let gates = &parameters[self.gates.clone()];
        MmoeWeights { experts: self.experts, layers, gates }
    }

    fn backward(
        &self,
        parameters: &[f32],
        x: &[f32],
        saved: &MmoeSaved,
        dy: &[f32],
        gradient: &mut [f32],
        dx: Option<&mut [f32]>,
    ) {
        let layers = self.borrowed(parameters);
        let sums = mmoe_backward(self.weights(&layers, parameters), x, saved, dy, dx);
        for ([weights, bias], sums) in self.layers.iter().zip(sums.layers) {
            gradient[weights.clone()].copy_from_slice(&sums.weights);
            gradient[bias.clone()].copy_from_slice(&sums.bias);
        }
        gradient[self.gates.clone()].copy_from_slice(&sums.gates);
    }
}

#[cfg(test)]
mod tests;
