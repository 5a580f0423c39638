//! A stack of dense layers: `y = f(x W + b)`, the result of one the input of the next.

use crate::activation::{
    Activation, activate, activate_backward, add_bias, add_bias_and_activate, add_rows,
};
use crate::buffer::{Buffer, zeros};
use crate::matmul::{Out, Strided, matmul, transpose};
use crate::threads::{add_in_order, cut, cut_wanted, parts, run, split};

/// Rows worked off together.
const CHUNK: usize = 192;

/// Rows a thread takes at the least.
const LEAST_ROWS: usize = 32;

/// One dense layer, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct DenseLayer<'a> {
    /// `[in][out]`.
    pub weights: &'a [f32],
    /// `[out]`.
    pub bias: &'a [f32],
    /// f.
    pub activation: Activation,
}

impl DenseLayer<'_> {
    fn inputs(&self) -> usize {
        self.weights.len() / self.bias.len()
    }

    fn outputs(&self) -> usize {
        self.bias.len()
    }
}

/// What the backward pass needs of the forward pass, `[rows][out]` of every layer: the result if
/// the activation is piecewise linear, else `x W + b`; nothing of a last layer without activation.
#[derive(Debug, Clone)]
pub struct MlpSaved {
    layers: Vec<Buffer>,
}

/// Writes the last layer's result, `[rows][out]`, for `x`, `[rows][in]`.
///
/// # Panics
/// When there is no layer, a layer is not as wide as its input, or `out` is not as long as the
/// result.
pub fn mlp(layers: &[DenseLayer<'_>], x: &[f32], out: &mut [f32]) {
    run_forward(layers, x, layers.iter().map(|_| Buffer::any(0)).collect(), out);
}

/// [`mlp`], saving what [`mlp_backward`] needs.
///
/// # Panics
/// As [`mlp`].
#[must_use]
pub fn mlp_saving(layers: &[DenseLayer<'_>], x: &[f32], out: &mut [f32]) -> MlpSaved {
    let rows = row_count(layers, x);
    let saved = layers.iter().enumerate().map(|(at, layer)| {
        let nothing = at + 1 == layers.len() && layer.activation == Activation::Identity;
        Buffer::any(if nothing { 0 } else { rows * layer.outputs() })
    });
    run_forward(layers, x, saved.collect(), out)
}

fn row_count(layers: &[DenseLayer<'_>], x: &[f32]) -> usize {
    let first = layers.first().expect("a stack of at least one layer");
    for layer in layers {
        assert_eq!(layer.weights.len(), layer.inputs() * layer.outputs(), "weights of a layer");
    }
    let fit = |pair: &[DenseLayer<'_>]| pair[0].outputs() == pair[1].inputs();
    assert!(layers.windows(2).all(fit), "a layer is not as wide as its input");
    assert_eq!(x.len() % first.inputs(), 0, "rows as wide as the first layer's input");
    x.len() / first.inputs()
}

/// Fills `saved`, of which an empty buffer stands for a layer not saved.
fn run_forward(
    layers: &[DenseLayer<'_>],
    x: &[f32],
    mut saved: Vec<Buffer>,
    out: &mut [f32],
) -> MlpSaved {
    let rows = row_count(layers, x);
    let (inputs, outputs) = (layers[0].inputs(), layers[layers.len() - 1].outputs());
    assert_eq!(out.len(), rows * outputs, "as many numbers as the result has");
    let parts = parts(rows, LEAST_ROWS);
    let mut tasks: Vec<_> = parts
        .iter()
        .zip(cut(out, &parts, outputs))
        .map(|(part, out)| (part, out, Vec::with_capacity(layers.len())))
        .collect();
    for (layer, saved) in layers.iter().zip(&mut saved) {
        let width = if saved.is_empty() { 0 } else { layer.outputs() };
        for (task, saved) in tasks.iter_mut().zip(cut(saved, &parts, width)) {
            task.2.push((saved, width));
        }
    }
    run(tasks, |(part, out, mut saved)| {
        for (chunk, out) in out.chunks_mut(CHUNK * outputs).enumerate() {
            let first = part.start + chunk * CHUNK;
            let rows = out.len() / outputs;
            let saved = saved.iter_mut().map(|(saved, width)| split(saved, rows * *width));
            forward_chunk(layers, &x[first * inputs..(first + rows) * inputs], out, saved);
        }
    });
    MlpSaved { layers: saved }
}

fn forward_chunk<'a>(
    layers: &[DenseLayer<'_>],
    x: &[f32],
    out: &mut [f32],
    saved: impl Iterator<Item = &'a mut [f32]>,
) {
    let rows = x.len() / layers[0].inputs();
    let multiply = |out: &mut [f32], layer: &DenseLayer<'_>, input: &[f32]| {
        let (inputs, outputs) = (layer.inputs(), layer.outputs());
        let left = Strided::rows(input, inputs);
        matmul(out, outputs, left, layer.weights, outputs, (rows, inputs, outputs), Out::Set);
    };
    // The result of the layer before: saved, or in a buffer.
    let (mut saved_input, mut input): (Option<&[f32]>, _) = (Some(x), Buffer::any(0));
    for ((at, layer), saved) in layers.iter().enumerate().zip(saved) {
        let from = saved_input.take().unwrap_or(&input);
        let last = at + 1 == layers.len();
        let mut fresh = Buffer::any(if last { 0 } else { rows * layer.outputs() });
        let result = if last { &mut *out } else { &mut fresh };
        if saved.is_empty() {
            multiply(result, layer, from);
            add_bias_and_activate(layer.activation, result, layer.bias);
        } else {
            multiply(saved, layer, from);
            if layer.activation.is_piecewise_linear() {
                add_bias_and_activate(layer.activation, saved, layer.bias);
                if last {
                    result.copy_from_slice(saved);
                }
                saved_input = Some(saved);
            } else {
                add_bias(saved, layer.bias);
                activate(layer.activation, result, saved);
            }
        }
        input = fresh;
    }
}

/// Writes the gradients of every layer to `sums`, weights and bias of the first, then of the next,
/// given that of the result; that of `x` is written to `dx`, if it is wanted.
///
/// # Panics
/// As [`mlp`], and when the gradient is not shaped as the result, `dx` not as `x`, or `sums` not as
/// the layers.
pub fn mlp_backward(
    layers: &[DenseLayer<'_>],
    x: &[f32],
    saved: &MlpSaved,
    gradient: &[f32],
    dx: Option<&mut [f32]>,
    sums: &mut [f32],
) {
    let rows = row_count(layers, x);
    let (inputs, outputs) = (layers[0].inputs(), layers[layers.len() - 1].outputs());
    assert_eq!(gradient.len(), rows * outputs, "a gradient shaped as the result");
    let length: usize = layers.iter().map(|layer| layer.weights.len() + layer.bias.len()).sum();
    assert_eq!(sums.len(), length, "a gradient for every weight and bias");
    let turn = |(at, layer): (usize, &DenseLayer<'_>)| {
        let is_read = at > 0 || dx.is_some();
        let mut turned = Buffer::any(if is_read { layer.weights.len() } else { 0 });
        if is_read {
            transpose(&mut turned, layer.weights, (layer.inputs(), layer.outputs()));
        }
        turned
    };
    let turned: Vec<Buffer> = layers.iter().enumerate().map(turn).collect();
    let parts = parts(rows, LEAST_ROWS);
    sums.fill(0.0);
    let mut further: Vec<Vec<f32>> = parts[1..].iter().map(|_| zeros(length)).collect();
    let all_sums = std::iter::once(&mut *sums).chain(further.iter_mut().map(Vec::as_mut_slice));
    let tasks = parts.iter().zip(cut_wanted(dx, x, &parts, inputs)).zip(all_sums).collect();
    run(tasks, |((part, mut dx), sums)| {
        for first in part.clone().step_by(CHUNK) {
            let rows = first..part.end.min(first + CHUNK);
            let at = |width: usize| rows.start * width..rows.end * width;
            let (x, gradient) = (&x[at(inputs)], &gradient[at(outputs)]);
            let saved: Vec<&[f32]> = layers
                .iter()
                .zip(&saved.layers)
                .map(|(layer, saved)| saved.get(at(layer.outputs())).unwrap_or(&[]))
                .collect();
            let dx = dx.as_mut().map(|dx| split(dx, rows.len() * inputs));
            backward_chunk(layers, &turned, x, &saved, gradient, dx, sums);
        }
    });
    add_in_order(sums, &further);
}

/// Adds to `sums`, weights and bias of every layer, and writes `dx`.
fn backward_chunk(
    layers: &[DenseLayer<'_>],
    turned: &[Buffer],
    x: &[f32],
    saved: &[&[f32]],
    gradient: &[f32],
    mut dx: Option<&mut [f32]>,
    mut sums: &mut [f32],
) {
    let rows = x.len() / layers[0].inputs();
    let mut dz = Buffer::any(gradient.len());
    dz.copy_from_slice(gradient);
    for (at, layer) in layers.iter().enumerate().rev() {
        let (inputs, outputs) = (layer.inputs(), layer.outputs());
        let end = sums.len() - layer.weights.len() - outputs;
        let (below, own) = std::mem::take(&mut sums).split_at_mut(end);
        sums = below;
        let (dweights, dbias) = own.split_at_mut(layer.weights.len());
        if saved[at].is_empty() {
            add_rows(dbias, &dz);
        } else {
            activate_backward(layer.activation, &mut dz, saved[at], dbias);
        }

        let mut again = Buffer::any(0);
        let input = match at.checked_sub(1) {
            None => x,
            Some(below) if layers[below].activation.is_piecewise_linear() => saved[below],
            Some(below) => {
                again = Buffer::any(saved[below].len());
                activate(layers[below].activation, &mut again, saved[below]);
                &again
            }
        };
        let left = Strided::columns(input, inputs);
        matmul(dweights, outputs, left, &dz, outputs, (inputs, rows, outputs), Out::Add);
        drop(again);

        let mut below = Buffer::any(if at == 0 { 0 } else { rows * inputs });
        let dinput = if at == 0 { dx.take() } else { Some(&mut *below) };
        if let Some(dinput) = dinput {
            let left = Strided::rows(&dz, outputs);
            matmul(dinput, inputs, left, &turned[at], inputs, (rows, outputs, inputs), Out::Set);
        }
        dz = below;
    }
}
