//! A stack of dense layers: `y = f(x W + b)`, the result of one the input of the next.

use crate::activation::{
    Activation, activate, activate_backward, add_bias, add_bias_and_activate, add_rows,
};
use crate::buffer::{Buffer, zeros};
use crate::matmul::{Into, Strided, product, transpose};
use crate::threads::{cut, cut_wanted, parts, run, split, total_each};

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

/// Gradients of one layer, shaped as the layer.
#[derive(Debug)]
pub struct DenseGradients {
    /// Of the weights.
    pub weights: Vec<f32>,
    /// Of the bias.
    pub bias: Vec<f32>,
}

/// What the backward pass needs of the forward pass, `[rows][out]` of every layer: the result if the activation is
/// piecewise linear, else `x W + b`; nothing of a last layer without activation.
#[derive(Debug)]
pub struct MlpKept {
    layers: Vec<Buffer>,
}

/// The last layer's result, `[rows][out]`, for `x`, `[rows][in]`.
///
/// # Panics
/// When there is no layer, or a layer is not as wide as its input.
#[must_use]
pub fn mlp(layers: &[DenseLayer<'_>], x: &[f32]) -> Vec<f32> {
    run_forward(layers, x, layers.iter().map(|_| Buffer::any(0)).collect()).0
}

/// [`mlp`], keeping what [`mlp_backward`] needs.
///
/// # Panics
/// As [`mlp`].
#[must_use]
pub fn mlp_keeping(layers: &[DenseLayer<'_>], x: &[f32]) -> (Vec<f32>, MlpKept) {
    let rows = row_count(layers, x);
    let kept = layers.iter().enumerate().map(|(at, layer)| {
        let nothing = at + 1 == layers.len() && layer.activation == Activation::Identity;
        Buffer::any(if nothing { 0 } else { rows * layer.outputs() })
    });
    run_forward(layers, x, kept.collect())
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

/// Fills `kept`, of which an empty buffer stands for a layer not kept.
fn run_forward(layers: &[DenseLayer<'_>], x: &[f32], mut kept: Vec<Buffer>) -> (Vec<f32>, MlpKept) {
    let rows = row_count(layers, x);
    let (inputs, outputs) = (layers[0].inputs(), layers[layers.len() - 1].outputs());
    let mut out = zeros(rows * outputs);
    let parts = parts(rows, LEAST_ROWS);
    let mut tasks: Vec<_> = parts
        .iter()
        .zip(cut(&mut out, &parts, outputs))
        .map(|(part, out)| (part, out, Vec::with_capacity(layers.len())))
        .collect();
    for (layer, kept) in layers.iter().zip(&mut kept) {
        let width = if kept.is_empty() { 0 } else { layer.outputs() };
        for (task, kept) in tasks.iter_mut().zip(cut(kept, &parts, width)) {
            task.2.push((kept, width));
        }
    }
    run(tasks, |(part, out, mut kept)| {
        for (chunk, out) in out.chunks_mut(CHUNK * outputs).enumerate() {
            let first = part.start + chunk * CHUNK;
            let rows = out.len() / outputs;
            let kept = kept.iter_mut().map(|(kept, width)| split(kept, rows * *width));
            forward_chunk(layers, &x[first * inputs..(first + rows) * inputs], out, kept);
        }
    });
    (out, MlpKept { layers: kept })
}

fn forward_chunk<'a>(
    layers: &[DenseLayer<'_>],
    x: &[f32],
    out: &mut [f32],
    kept: impl Iterator<Item = &'a mut [f32]>,
) {
    let rows = x.len() / layers[0].inputs();
    let multiply = |out: &mut [f32], layer: &DenseLayer<'_>, input: &[f32]| {
        let (inputs, outputs) = (layer.inputs(), layer.outputs());
        let left = Strided::rows(input, inputs);
        product(out, outputs, left, layer.weights, outputs, (rows, inputs, outputs), Into::Set);
    };
    // The result of the layer before: kept, or in a buffer.
    let (mut kept_input, mut input): (Option<&[f32]>, _) = (Some(x), Buffer::any(0));
    for ((at, layer), kept) in layers.iter().enumerate().zip(kept) {
        let from = kept_input.take().unwrap_or(&input);
        let last = at + 1 == layers.len();
        let mut fresh = Buffer::any(if last { 0 } else { rows * layer.outputs() });
        let result = if last { &mut *out } else { &mut fresh };
        if kept.is_empty() {
            multiply(result, layer, from);
            add_bias_and_activate(layer.activation, result, layer.bias);
        } else {
            multiply(kept, layer, from);
            if layer.activation.is_piecewise_linear() {
                add_bias_and_activate(layer.activation, kept, layer.bias);
                if last {
                    result.copy_from_slice(kept);
                }
                kept_input = Some(kept);
            } else {
                add_bias(kept, layer.bias);
                activate(layer.activation, result, kept);
            }
        }
        input = fresh;
    }
}

/// Gradients of every layer, given that of the result; that of `x` is written to `dx`, if it is wanted.
///
/// # Panics
/// As [`mlp`], and when the gradient is not shaped as the result, or `dx` not as `x`.
#[must_use]
pub fn mlp_backward(
    layers: &[DenseLayer<'_>],
    x: &[f32],
    kept: &MlpKept,
    gradient: &[f32],
    dx: Option<&mut [f32]>,
) -> Vec<DenseGradients> {
    let rows = row_count(layers, x);
    let (inputs, outputs) = (layers[0].inputs(), layers[layers.len() - 1].outputs());
    assert_eq!(gradient.len(), rows * outputs, "a gradient shaped as the result");
    let turned: Vec<Buffer> = layers
        .iter()
        .map(|layer| {
            let mut turned = Buffer::any(layer.weights.len());
            transpose(&mut turned, layer.weights, (layer.inputs(), layer.outputs()));
            turned
        })
        .collect();
    let parts = parts(rows, LEAST_ROWS);
    let tasks = parts.iter().zip(cut_wanted(dx, x, &parts, inputs)).collect();
    let sums = run(tasks, |(part, mut dx)| {
        let mut sums: Vec<_> = layers
            .iter()
            .flat_map(|layer| [zeros(layer.weights.len()), zeros(layer.bias.len())])
            .collect();
        for first in part.clone().step_by(CHUNK) {
            let rows = first..part.end.min(first + CHUNK);
            let at = |width: usize| rows.start * width..rows.end * width;
            let (x, gradient) = (&x[at(inputs)], &gradient[at(outputs)]);
            let kept: Vec<&[f32]> = layers
                .iter()
                .zip(&kept.layers)
                .map(|(layer, kept)| kept.get(at(layer.outputs())).unwrap_or(&[]))
                .collect();
            let dx = dx.as_mut().map(|dx| split(dx, rows.len() * inputs));
            backward_chunk(layers, &turned, x, &kept, gradient, dx, &mut sums);
        }
        sums
    });
    let mut sums = total_each(sums).into_iter();
    let mut next = || sums.next().expect("two tensors of every layer");
    layers.iter().map(|_| DenseGradients { weights: next(), bias: next() }).collect()
}

/// Adds to `sums`, weights and bias of every layer, and writes `dx`.
fn backward_chunk(
    layers: &[DenseLayer<'_>],
    turned: &[Buffer],
    x: &[f32],
    kept: &[&[f32]],
    gradient: &[f32],
    mut dx: Option<&mut [f32]>,
    sums: &mut [Vec<f32>],
) {
    let rows = x.len() / layers[0].inputs();
    let mut dz = Buffer::any(gradient.len());
    dz.copy_from_slice(gradient);
    for (at, layer) in layers.iter().enumerate().rev() {
        let (inputs, outputs) = (layer.inputs(), layer.outputs());
        let [dweights, dbias] = &mut sums[2 * at..2 * at + 2] else { unreachable!("two a layer") };
        if kept[at].is_empty() {
            add_rows(dbias, &dz);
        } else {
            activate_backward(layer.activation, &mut dz, kept[at], dbias);
        }

        let mut again = Buffer::any(0);
        let input = match at.checked_sub(1) {
            None => x,
            Some(below) if layers[below].activation.is_piecewise_linear() => kept[below],
            Some(below) => {
                again = Buffer::any(kept[below].len());
                activate(layers[below].activation, &mut again, kept[below]);
                &again
            }
        };
        let left = Strided::columns(input, inputs);
        product(dweights, outputs, left, &dz, outputs, (inputs, rows, outputs), Into::Add);
        drop(again);

        let mut below = Buffer::any(if at == 0 { 0 } else { rows * inputs });
        let dinput = if at == 0 { dx.take() } else { Some(&mut *below) };
        if let Some(dinput) = dinput {
            let left = Strided::rows(&dz, outputs);
            product(dinput, inputs, left, &turned[at], inputs, (rows, outputs, inputs), Into::Set);
        }
        dz = below;
    }
}
