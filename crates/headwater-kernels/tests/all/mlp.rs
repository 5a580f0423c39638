//! Dense layers against plain double-precision code, and their gradients against its finite differences.

use crate::common::{check_gradients, close, dot, double, off_grid, on_grid, sets, times, values};
use headwater_kernels::{
    Activation, DenseLayer, MlpSaved, mlp, mlp_backward, mlp_saving, with_instruction_set,
    with_threads,
};
use proptest::prelude::*;

/// erf by its series (Abramowitz & Stegun 7.1.6), whose terms are all of one sign.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / (2.0 * f64::from(n) + 1.0);
        sum += term;
    }
    2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
}

fn plain_activation(activation: Activation, z: f64) -> f64 {
    match activation {
        Activation::Identity => z,
        Activation::Relu => z.max(0.0),
        Activation::Gelu => z * 0.5 * (1.0 + erf(z / 2f64.sqrt())),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (z + 0.044_715 * z.powi(3));
            0.5 * z * (1.0 + inner.tanh())
        }
        Activation::Silu => z / (1.0 + (-z).exp()),
    }
}

/// Tensors: x, then weights and bias of every layer.
fn plain(activations: &[Activation], tensors: &[Vec<f64>]) -> Vec<f64> {
    let mut x = tensors[0].clone();
    for (activation, layer) in activations.iter().zip(tensors[1..].chunks(2)) {
        let (weights, bias) = (&layer[0], &layer[1]);
        let z = times(&x, weights, weights.len() / bias.len());
        let rows = z.chunks(bias.len());
        x = rows
            .flat_map(|row| row.iter().zip(bias))
            .map(|(z, b)| plain_activation(*activation, z + b))
            .collect();
    }
    x
}

fn layers<'a>(activations: &[Activation], tensors: &'a [Vec<f32>]) -> Vec<DenseLayer<'a>> {
    let pairs = activations.iter().zip(tensors[1..].chunks(2));
    pairs
        .map(|(activation, layer)| DenseLayer {
            weights: &layer[0],
            bias: &layer[1],
            activation: *activation,
        })
        .collect()
}

/// [`mlp`], whose result is as wide as the last layer.
fn forward(layers: &[DenseLayer<'_>], x: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::NAN; result_length(layers, x)];
    mlp(layers, x, &mut out);
    out
}

fn result_length(layers: &[DenseLayer<'_>], x: &[f32]) -> usize {
    let inputs = layers[0].weights.len() / layers[0].bias.len();
    x.len() / inputs * layers[layers.len() - 1].bias.len()
}

/// Gradients of every tensor, with that of `x` or without.
fn backward(
    layers: &[DenseLayer<'_>],
    x: &[f32],
    saved: &MlpSaved,
    outer: &[f32],
    dx: Option<&mut [f32]>,
) -> Vec<Vec<f32>> {
    let sizes: Vec<usize> =
        layers.iter().flat_map(|layer| [layer.weights.len(), layer.bias.len()]).collect();
    let mut sums = vec![f32::NAN; sizes.iter().sum()];
    mlp_backward(layers, x, saved, outer, dx, &mut sums);
    let mut rest = sums.as_slice();
    sizes.into_iter().map(|size| rest.split_off(..size).expect("as long as all").to_vec()).collect()
}

/// Up to two layers with a kink or none, then up to two smooth ones, at least one.
fn stacks() -> impl Strategy<Value = Vec<Activation>> {
    use Activation::{Gelu, GeluTanh, Identity, Relu, Silu};
    let first = prop::collection::vec(prop::sample::select(vec![Identity, Relu]), 0..3);
    let then = prop::collection::vec(prop::sample::select(vec![Gelu, GeluTanh, Silu]), 0..3);
    (first, then)
        .prop_map(|(first, then)| [first, then].concat())
        .prop_filter("a layer", |stack| !stack.is_empty())
}

/// Tensors of a stack; the pre-activations of layers with a kink keep a distance of 1/512 from it.
fn tensors(activations: &[Activation], widths: &[usize], rows: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut tensors = vec![on_grid(rows * widths[0], seed, 1.0 / 8.0)];
    for (at, activation) in activations.iter().enumerate() {
        let (inputs, outputs) = (widths[at], widths[at + 1]);
        let seed = seed + 10 * at as u64;
        if matches!(activation, Activation::Identity | Activation::Relu) {
            tensors.push(on_grid(inputs * outputs, seed + 1, 1.0 / 4.0));
            tensors.push(off_grid(outputs, seed + 2, 1.0 / [64.0, 512.0][at]));
        } else {
            let scale = 2.0 / (inputs as f32).sqrt();
            let weights = values(inputs * outputs, seed + 1);
            tensors.push(weights.iter().map(|w| w * scale).collect());
            tensors.push(values(outputs, seed + 2));
        }
    }
    tensors
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn layers_and_their_gradients(
        activations in stacks(),
        widths in prop::collection::vec(1usize..34, 5),
        rows in prop_oneof![7 => 1usize..40, 1 => 190usize..230],
        set in sets(),
        threads in 1usize..4,
        seed in 1u64..1000,
    ) {
        let tensors = tensors(&activations, &widths, rows, seed);
        let layers = layers(&activations, &tensors);
        let x = &tensors[0];
        let outer = values(rows * widths[activations.len()], seed + 99);
        let mut dx = vec![f32::NAN; x.len()];
        let (out, saved_out, dlayers, without_dx) =
            with_instruction_set(set, || with_threads(threads, || {
                let mut saved_out = vec![f32::NAN; outer.len()];
                let saved = mlp_saving(&layers, x, &mut saved_out);
                let dlayers = backward(&layers, x, &saved, &outer, Some(&mut dx));
                let without_dx = backward(&layers, x, &saved, &outer, None);
                (forward(&layers, x), saved_out, dlayers, without_dx)
            }));
        prop_assert_eq!(&out, &saved_out);
        prop_assert_eq!(&dlayers, &without_dx);
        let doubles: Vec<Vec<f64>> = tensors.iter().map(|t| double(t)).collect();
        close(&out, &plain(&activations, &doubles));
        let mut gradients: Vec<&[f32]> = vec![&dx];
        gradients.extend(dlayers.iter().map(Vec::as_slice));
        check_gradients(&doubles, &gradients, |t| dot(&plain(&activations, t), &outer));
    }

    #[test]
    fn activations_are_right_to_the_last_places(set in sets(), shift in 0.0f32..1e-3) {
        use Activation::{Gelu, GeluTanh, Silu};
        let z: Vec<f32> = (-1500..1500).map(|i| i as f32 * 0.01 + shift).collect();
        for activation in [Gelu, GeluTanh, Silu] {
            let layer = [DenseLayer { weights: &[1.0], bias: &[0.0], activation }];
            let y = with_instruction_set(set, || forward(&layer, &z));
            for (z, y) in z.iter().zip(&y) {
                let exact = plain_activation(activation, f64::from(*z));
                let error = (f64::from(*y) - exact).abs();
                prop_assert!(error < 4e-7 * f64::from(z.abs()), "{activation:?}({z}) = {y}, exactly {exact}");
            }
        }
    }
}

#[test]
fn a_kink_may_follow_a_smooth_layer() {
    let activations = [Activation::Gelu, Activation::Relu, Activation::Silu, Activation::Identity];
    let tensors = tensors(&[Activation::Gelu; 4], &[9, 17, 12, 20, 3], 21, 5);
    let (layers, x) = (layers(&activations, &tensors), &tensors[0]);
    let outer = values(21 * 3, 6);
    let mut dx = vec![0.0; x.len()];
    let mut out = vec![f32::NAN; outer.len()];
    let saved = mlp_saving(&layers, x, &mut out);
    let dlayers = backward(&layers, x, &saved, &outer, Some(&mut dx));
    let doubles: Vec<Vec<f64>> = tensors.iter().map(|t| double(t)).collect();
    close(&out, &plain(&activations, &doubles));
    let mut gradients: Vec<&[f32]> = vec![&dx];
    gradients.extend(dlayers.iter().map(Vec::as_slice));
    check_gradients(&doubles, &gradients, |t| dot(&plain(&activations, t), &outer));
}

#[test]
fn what_is_not_a_number_stays_so() {
    use Activation::{Gelu, GeluTanh, Identity, Relu, Silu};
    for activation in [Identity, Relu, Gelu, GeluTanh, Silu] {
        let layer = [DenseLayer { weights: &[1.0, 2.0], bias: &[0.0, 1.0], activation }];
        assert!(forward(&layer, &[f32::NAN]).iter().all(|y| y.is_nan()), "{activation:?}");
    }
}
