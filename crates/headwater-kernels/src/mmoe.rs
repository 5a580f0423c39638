//! Multi-gate mixture of experts (Ma et al. 2018): every task mixes the same experts by a softmax gate of its own,
//! `y_k = sum over e of softmax(x G_k)_e f_e(x)`. The experts are stacks of ReLU layers of equal shape; a
//! gate is linear in x and has no bias, as in the paper.
//!
//! Gate dropout (Zhao et al. 2019, against gates that settle on few experts): the caller draws which experts a
//! row's gate keeps; the others' shares become 0 and those kept are scaled to sum to 1 again.
//!
//! The experts' columns stand side by side, so the first layer of all of them is one product.

use crate::activation::{Activation, activate_backward, add_bias_and_activate};
use crate::buffer::{Buffer, zeros};
use crate::matmul::{Out, Strided, matmul, transpose};
use crate::mixing::{mix, mix_backward, softmax_kept};
use crate::threads::{cut, cut_wanted, parts, run, split, total_each};

/// Rows worked off together.
const CHUNK: usize = 64;

/// Rows a thread takes at the least.
const LEAST_ROWS: usize = 32;

/// One layer of all experts, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct ExpertLayer<'a> {
    /// Of the first layer `[in][experts][width]`, of the others `[experts][in][width]`.
    pub weights: &'a [f32],
    /// `[experts][width]`.
    pub bias: &'a [f32],
}

/// Weights of a multi-gate mixture of experts, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct MmoeWeights<'a> {
    /// How many experts there are.
    pub experts: usize,
    /// The experts' layers, at least one; the last one's width is that of the result.
    pub layers: &'a [ExpertLayer<'a>],
    /// `[in][tasks][experts]`.
    pub gates: &'a [f32],
}

impl MmoeWeights<'_> {
    fn inputs(&self) -> usize {
        self.layers[0].weights.len() / self.layers[0].bias.len()
    }

    /// `tasks * experts`.
    fn gate_width(&self) -> usize {
        self.gates.len() / self.inputs()
    }

    fn tasks(&self) -> usize {
        self.gate_width() / self.experts
    }

    /// Width of one expert's layer.
    fn width(&self, layer: usize) -> usize {
        self.layers[layer].bias.len() / self.experts
    }

    /// Width of the result.
    fn outputs(&self) -> usize {
        self.width(self.layers.len() - 1)
    }

    /// Rows of `x`, once the shapes have been found to fit.
    fn checked_rows(&self, x: &[f32], keep: Option<&[bool]>) -> usize {
        assert!(!self.layers.is_empty(), "experts of at least one layer");
        let mut inputs = self.inputs();
        for (at, layer) in self.layers.iter().enumerate() {
            let shared = if at == 0 { 1 } else { self.experts };
            assert_eq!(layer.bias.len(), self.experts * self.width(at), "bias of layer {at}");
            let columns = layer.bias.len() / shared;
            assert_eq!(layer.weights.len(), shared * inputs * columns, "weights of layer {at}");
            inputs = self.width(at);
        }
        let tasks = self.tasks();
        let gates = self.inputs() * tasks * self.experts;
        assert!(gates > 0 && self.gates.len() == gates, "weights of gates");
        assert_eq!(x.len() % self.inputs(), 0, "rows as wide as the first layer's input");
        let rows = x.len() / self.inputs();
        if let Some(keep) = keep {
            assert_eq!(keep.len(), rows * self.gate_width(), "a mask shaped as the gates");
        }
        rows
    }
}

/// Gradients of one layer, shaped as the layer.
#[derive(Debug)]
pub struct ExpertGradients {
    /// Of the weights.
    pub weights: Vec<f32>,
    /// Of the bias.
    pub bias: Vec<f32>,
}

/// Gradients of the weights, shaped as the weights.
#[derive(Debug)]
pub struct MmoeGradients {
    /// Of the experts' layers.
    pub layers: Vec<ExpertGradients>,
    /// Of the gates.
    pub gates: Vec<f32>,
}

/// What the backward pass needs of the forward pass.
#[derive(Debug, Clone)]
pub struct MmoeSaved {
    /// Of every layer the result, `[rows][experts][width]`.
    layers: Vec<Buffer>,
    /// `[rows][tasks][experts]`, after dropout.
    gates: Buffer,
}

impl MmoeSaved {
    /// The gates' shares after dropout, `[rows][tasks][experts]`.
    #[must_use]
    pub fn gates(&self) -> &[f32] {
        &self.gates
    }
}

/// `[rows][tasks][width]` of `x`, `[rows][in]`.
///
/// `keep`, `[rows][tasks][experts]`, is false for the experts a gate drops; a gate told to drop all keeps all.
///
/// # Panics
/// When shapes do not fit.
#[must_use]
pub fn mmoe(weights: MmoeWeights<'_>, x: &[f32], keep: Option<&[bool]>) -> Vec<f32> {
    let rows = weights.checked_rows(x, keep);
    let mut out = zeros(rows * weights.tasks() * weights.outputs());
    let parts = parts(rows, LEAST_ROWS);
    let tasks = parts.iter().zip(cut(&mut out, &parts, weights.tasks() * weights.outputs()));
    run(tasks.collect(), |(part, out)| {
        let most = CHUNK.min(part.len());
        let mut layers: Vec<Buffer> =
            weights.layers.iter().map(|layer| Buffer::any(most * layer.bias.len())).collect();
        let mut gates = Buffer::any(most * weights.gate_width());
        for (rows, out) in chunks(weights, part.clone(), out) {
            let count = rows.len();
            let layers = layers.iter_mut().zip(weights.layers);
            let mut own: Vec<_> =
                layers.map(|(layer, of)| &mut layer[..count * of.bias.len()]).collect();
            let gates = &mut gates[..count * weights.gate_width()];
            forward_chunk(weights, rows, x, keep, (&mut own, gates), out);
        }
    });
    out
}

/// [`mmoe`], saving for backward what [`mmoe_backward`] needs.
///
/// # Panics
/// As [`mmoe`].
#[must_use]
pub fn mmoe_saving(
    weights: MmoeWeights<'_>,
    x: &[f32],
    keep: Option<&[bool]>,
) -> (Vec<f32>, MmoeSaved) {
    let rows = weights.checked_rows(x, keep);
    let mut out = zeros(rows * weights.tasks() * weights.outputs());
    let width = |layer: &ExpertLayer<'_>| layer.bias.len();
    let mut saved = MmoeSaved {
        layers: weights.layers.iter().map(|layer| Buffer::any(rows * width(layer))).collect(),
        gates: Buffer::any(rows * weights.gate_width()),
    };
    let parts = parts(rows, LEAST_ROWS);
    let mut tasks: Vec<_> = parts
        .iter()
        .zip(cut(&mut out, &parts, weights.tasks() * weights.outputs()))
        .zip(cut(&mut saved.gates, &parts, weights.gate_width()))
        .map(|((part, out), gates)| (part, out, gates, Vec::new()))
        .collect();
    for (layer, saved) in weights.layers.iter().zip(&mut saved.layers) {
        for (task, saved) in tasks.iter_mut().zip(cut(saved, &parts, width(layer))) {
            task.3.push(saved);
        }
    }
    run(tasks, |(part, out, mut gates, mut layers)| {
        for (rows, out) in chunks(weights, part.clone(), out) {
            let count = rows.len();
            let mut own: Vec<_> = weights
                .layers
                .iter()
                .zip(&mut layers)
                .map(|(layer, saved)| split(saved, count * width(layer)))
                .collect();
            let gates = split(&mut gates, count * weights.gate_width());
            forward_chunk(weights, rows, x, keep, (&mut own, gates), out);
        }
    });
    (out, saved)
}

/// The chunks of a part: their rows, and their piece of a slice of results.
fn chunks<'a>(
    weights: MmoeWeights<'_>,
    part: std::ops::Range<usize>,
    out: &'a mut [f32],
) -> impl Iterator<Item = (std::ops::Range<usize>, &'a mut [f32])> {
    let width = weights.tasks() * weights.outputs();
    out.chunks_mut(CHUNK * width).enumerate().map(move |(chunk, out)| {
        let first = part.start + chunk * CHUNK;
        (first..first + out.len() / width, out)
    })
}

/// Writes layers' results, gates and the mixture of some rows of `x`.
fn forward_chunk(
    weights: MmoeWeights<'_>,
    rows: std::ops::Range<usize>,
    x: &[f32],
    keep: Option<&[bool]>,
    (layers, gates): (&mut [&mut [f32]], &mut [f32]),
    out: &mut [f32],
) {
    let (inputs, gate_width, count) = (weights.inputs(), weights.gate_width(), rows.len());
    let left = Strided::rows(&x[rows.start * inputs..rows.end * inputs], inputs);
    let gating = (count, inputs, gate_width);
    matmul(gates, gate_width, left, weights.gates, gate_width, gating, Out::Set);
    let keep = keep.map(|keep| &keep[rows.start * gate_width..rows.end * gate_width]);
    softmax_kept(gates, keep.unwrap_or(&[]), weights.experts);

    let first = weights.layers[0];
    let all = first.bias.len();
    matmul(layers[0], all, left, first.weights, all, (count, inputs, all), Out::Set);
    for at in 1..layers.len() {
        let (below, above) = layers.split_at_mut(at);
        let (below, above) = (&mut *below[at - 1], &mut *above[0]);
        add_bias_and_activate(Activation::Relu, below, weights.layers[at - 1].bias);
        let (inner, width) = (weights.width(at - 1), weights.width(at));
        let all = weights.experts * width;
        for expert in 0..weights.experts {
            matmul(
                &mut above[expert * width..],
                all,
                Strided::rows(&below[expert * inner..], weights.experts * inner),
                &weights.layers[at].weights[expert * inner * width..],
                width,
                (count, inner, width),
                Out::Set,
            );
        }
    }
    let last = layers.len() - 1;
    mix(out, layers[last], weights.layers[last].bias, gates, weights.experts);
}

/// Gradients of the weights, given that of [`mmoe`]'s result; that of `x` is written to `dx`, if it is wanted.
///
/// # Panics
/// When shapes do not fit.
#[must_use]
pub fn mmoe_backward(
    weights: MmoeWeights<'_>,
    x: &[f32],
    saved: &MmoeSaved,
    gradient: &[f32],
    dx: Option<&mut [f32]>,
) -> MmoeGradients {
    let rows = weights.checked_rows(x, None);
    let (inputs, outputs) = (weights.inputs(), weights.tasks() * weights.outputs());
    assert_eq!(gradient.len(), rows * outputs, "a gradient shaped as the result");
    let turned = Turned::new(weights);
    let parts = parts(rows, LEAST_ROWS);
    let tasks = parts.iter().zip(cut_wanted(dx, x, &parts, inputs)).collect();
    let sums = run(tasks, |(part, mut dx)| {
        let tensors = weights.layers.iter().flat_map(|layer| [layer.weights, layer.bias]);
        let mut sums: Vec<_> =
            tensors.chain([weights.gates]).map(|tensor| zeros(tensor.len())).collect();
        for first in part.clone().step_by(CHUNK) {
            let rows = first..part.end.min(first + CHUNK);
            let at = |width: usize| rows.start * width..rows.end * width;
            let layers: Vec<&[f32]> = weights
                .layers
                .iter()
                .zip(&saved.layers)
                .map(|(layer, saved)| &saved[at(layer.bias.len())])
                .collect();
            let gates = &saved.gates[at(weights.gate_width())];
            let (x, gradient) = (&x[at(inputs)], &gradient[at(outputs)]);
            let dx = dx.as_mut().map(|dx| split(dx, rows.len() * inputs));
            backward_chunk(weights, &turned, x, (&layers, gates), gradient, dx, &mut sums);
        }
        sums
    });
    let mut sums = total_each(sums).into_iter();
    let mut next = || sums.next().expect("two tensors of every layer, and the gates'");
    let layers =
        weights.layers.iter().map(|_| ExpertGradients { weights: next(), bias: next() }).collect();
    MmoeGradients { layers, gates: next() }
}

/// Transposed weights.
struct Turned {
    /// Of the first layer `[experts][width][in]`, of the others the same.
    layers: Vec<Buffer>,
    /// `[tasks][experts][in]`.
    gates: Buffer,
}

impl Turned {
    fn new(weights: MmoeWeights<'_>) -> Self {
        let turn = |out: &mut [f32], matrix: &[f32], inputs: usize| {
            transpose(out, matrix, (inputs, matrix.len() / inputs));
        };
        let layer = |(at, layer): (usize, &ExpertLayer<'_>)| {
            let mut turned = Buffer::any(layer.weights.len());
            if at == 0 {
                turn(&mut turned, layer.weights, weights.inputs());
            } else {
                let size = layer.weights.len() / weights.experts;
                let matrices = layer.weights.chunks_exact(size);
                for (turned, matrix) in turned.chunks_exact_mut(size).zip(matrices) {
                    turn(turned, matrix, weights.width(at - 1));
                }
            }
            turned
        };
        let mut gates = Buffer::any(weights.gates.len());
        turn(&mut gates, weights.gates, weights.inputs());
        Self { layers: weights.layers.iter().enumerate().map(layer).collect(), gates }
    }
}

/// Adds to `sums`, weights and bias of every layer and the gates, and writes `dx`.
fn backward_chunk(
    weights: MmoeWeights<'_>,
    turned: &Turned,
    x: &[f32],
    (layers, gates): (&[&[f32]], &[f32]),
    gradient: &[f32],
    dx: Option<&mut [f32]>,
    sums: &mut [Vec<f32>],
) {
    let (inputs, experts, gate_width) = (weights.inputs(), weights.experts, weights.gate_width());
    let rows = x.len() / inputs;
    let last = layers.len() - 1;
    let mut dz = Buffer::any(layers[last].len());
    let mut dlogits = Buffer::any(gates.len());
    let dbias = &mut sums[2 * last + 1];
    mix_backward(&mut dz, &mut dlogits, dbias, gradient, layers[last], gates, experts);
    for at in (1..layers.len()).rev() {
        let (inner, width) = (weights.width(at - 1), weights.width(at));
        let (all_inner, all) = (experts * inner, experts * width);
        let mut below = Buffer::any(layers[at - 1].len());
        for expert in 0..experts {
            let dz = &dz[expert * width..];
            let weights = expert * inner * width..(expert + 1) * inner * width;
            let left = Strided::columns(&layers[at - 1][expert * inner..], all_inner);
            let dweights = &mut sums[2 * at][weights.clone()];
            matmul(dweights, width, left, dz, all, (inner, rows, width), Out::Add);
            matmul(
                &mut below[expert * inner..],
                all_inner,
                Strided::rows(dz, all),
                &turned.layers[at][weights],
                inner,
                (rows, width, inner),
                Out::Set,
            );
        }
        activate_backward(Activation::Relu, &mut below, layers[at - 1], &mut sums[2 * at - 1]);
        dz = below;
    }
    let all = layers[0].len() / rows;
    let left = Strided::columns(x, inputs);
    matmul(&mut sums[0], all, left, &dz, all, (inputs, rows, all), Out::Add);
    let dgates = &mut sums[2 * layers.len()];
    let gating = (inputs, rows, gate_width);
    matmul(dgates, gate_width, left, &dlogits, gate_width, gating, Out::Add);
    let Some(dx) = dx else { return };
    let left = Strided::rows(&dz, all);
    matmul(dx, inputs, left, &turned.layers[0], inputs, (rows, all, inputs), Out::Set);
    let left = Strided::rows(&dlogits, gate_width);
    matmul(dx, inputs, left, &turned.gates, inputs, (rows, gate_width, inputs), Out::Add);
}
