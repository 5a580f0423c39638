//! Fused operations against the same operations as ordinary tensor operations: values and gradients agree to
//! 1e-4 relative, for every shape, also where some inputs are constants.
//!
//! Ordinary operations run on the CPU backend; with the feature `wgpu`, on that device instead.

use std::sync::Arc;

use burn::module::Param;
use burn::tensor::{Device, Int, Tensor, TensorData};
use headwater_core::{Check, StreamRng, Streams};
use headwater_kernels::{Rotary, with_threads};
use headwater_nn::ops::{
    self, Activation, Attention, FeedForward, MixtureOfExperts, MmdEstimator, SparseRows, Tree,
    plain,
};
use headwater_nn::{DecoderConfig, DecoderShape};
use proptest::prelude::*;
use rand::RngExt;

/// The same values twice: `[0]` for the fused operation, `[1]` for the ordinary ones.
type Twice<T> = [T; 2];

struct Draws {
    stream: StreamRng,
    devices: Twice<Device>,
}

impl Draws {
    fn new(seed: u64) -> Self {
        #[cfg(feature = "wgpu")]
        let other = headwater_nn::wgpu();
        #[cfg(not(feature = "wgpu"))]
        let other = Device::flex();
        let devices = [Device::flex(), other].map(Device::autodiff);
        Self { stream: Streams::new(seed).stream("values", &[]), devices }
    }

    fn values<const D: usize>(&mut self, shape: [usize; D]) -> TensorData {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| self.stream.random_range(-1.0..1.0)).collect();
        TensorData::new(values, shape)
    }

    fn constant<const D: usize>(&mut self, shape: [usize; D]) -> Twice<Tensor<D>> {
        let values = self.values(shape);
        self.devices.each_ref().map(|device| Tensor::from_data(values.clone(), device))
    }

    fn leaf<const D: usize>(&mut self, shape: [usize; D]) -> Twice<Tensor<D>> {
        self.constant(shape).map(Tensor::require_grad)
    }

    fn parameter<const D: usize>(&mut self, shape: [usize; D]) -> Twice<Param<Tensor<D>>> {
        self.constant(shape).map(Param::from_tensor)
    }

    fn integers(&mut self, count: usize, below: usize) -> Twice<Tensor<1, Int>> {
        let values: Vec<i64> =
            (0..count).map(|_| self.stream.random_range(0..below as i64)).collect();
        let values = TensorData::new(values, [count]);
        self.devices.each_ref().map(|device| Tensor::from_data(values.clone(), device))
    }
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.inner().try_into_vec_as().unwrap()
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |top, v| top.max(v.abs()))
}

/// Errors are relative to the tensor's largest value, at least `floor`.
fn agree(what: &str, fused: &[f32], plain: &[f32], floor: f32) {
    assert_eq!(fused.len(), plain.len(), "{what}");
    let top = largest(plain).max(floor);
    for (at, (a, b)) in fused.iter().zip(plain).enumerate() {
        assert!((a - b).abs() < 1e-4 * top, "{what}, element {at}: {a} fused, {b} plain");
    }
}

/// Values and gradients of both ways, under the same outer gradient.
macro_rules! compare {
    ($draws:expr, $results:expr, [$($leaf:expr),+]) => {{
        let [fused, plain] = $results;
        agree("value", &host(fused.clone()), &host(plain.clone()), 1e-2);
        let [outer_fused, outer_plain] = $draws.constant(plain.dims());
        let by_fused = (fused * outer_fused).sum().backward();
        let by_plain = (plain * outer_plain).sum().backward();
        let gradients = vec![$({
            let [a, b] = $leaf;
            let (a, b) = (a.grad(&by_fused).unwrap(), b.grad(&by_plain).unwrap());
            (concat!("gradient of ", stringify!($leaf)), host(a), host(b))
        }),+];
        // A gradient that is exactly 0 (of queries, if there is one position) is as far off as its terms.
        let all = gradients.iter().map(|(_, _, plain)| largest(plain)).fold(0.0, f32::max);
        for (name, fused, plain) in &gradients {
            agree(name, fused, plain, 1e-2 * all.max(1.0));
        }
    }};
}

fn values_of<const D: usize>(parameters: Twice<&Param<Tensor<D>>>) -> Twice<Tensor<D>> {
    parameters.map(Param::val)
}

fn shape(heads: usize, key_value_heads: usize, half: usize) -> DecoderShape {
    let config = DecoderConfig {
        width: heads * 2 * half,
        heads,
        key_value_heads,
        context: 80,
        ..DecoderConfig::default()
    };
    config.check().unwrap()
}

fn attention_weights(draws: &mut Draws, shape: &DecoderShape) -> Twice<Attention> {
    let (width, narrow) = (shape.width, shape.key_value_width());
    let [norm, other_norm] = draws.parameter([width]);
    let [query, other_query] = draws.parameter([width, width]);
    let [key, other_key] = draws.parameter([width, narrow]);
    let [value, other_value] = draws.parameter([width, narrow]);
    let [output, other_output] = draws.parameter([width, width]);
    [
        Attention { norm, query, key, value, output },
        Attention {
            norm: other_norm,
            query: other_query,
            key: other_key,
            value: other_value,
            output: other_output,
        },
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn attention(
        trees in prop::collection::vec(
            // Every length from 1 up.
            (1usize..71, prop::collection::vec(0usize..10, 0..4))
                .prop_map(|(trunk, branches)| Tree { trunk, branches }),
            1..4,
        ),
        (heads, sharing) in prop::sample::select(vec![(1, 1), (2, 1), (4, 2), (3, 3)]),
        half in 1usize..9,
        threads in 1usize..3,
        seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let shape = shape(heads, heads / sharing, half);
        let [a, b] = attention_weights(&mut draws, &shape);
        let rotary = Arc::new(Rotary::new(shape.context, half, shape.rotary_base));
        let x = draws.leaf([trees.iter().map(Tree::rows).sum(), shape.width]);
        let trees = trees.into();
        with_threads(threads, || compare!(
            draws,
            [
                ops::attention(x[0].clone(), &a, &rotary, &trees, &shape),
                plain::attention(x[1].clone(), &b, &rotary, &trees, &shape),
            ],
            [
                x,
                values_of([&a.norm, &b.norm]),
                values_of([&a.query, &b.query]),
                values_of([&a.key, &b.key]),
                values_of([&a.value, &b.value]),
                values_of([&a.output, &b.output])
            ]
        ));
    }

    #[test]
    fn feed_forward(
        tokens in 1usize..60, width in 1usize..40, hidden in 1usize..50, seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let [norm, other_norm] = draws.parameter([width]);
        let [gate, other_gate] = draws.parameter([width, hidden]);
        let [up, other_up] = draws.parameter([width, hidden]);
        let [down, other_down] = draws.parameter([hidden, width]);
        let a = FeedForward { norm, gate, up, down };
        let b = FeedForward { norm: other_norm, gate: other_gate, up: other_up, down: other_down };
        let x = draws.leaf([tokens, width]);
        compare!(
            draws,
            [
                ops::feed_forward(x[0].clone(), &a, 1e-5),
                plain::feed_forward(x[1].clone(), &b, 1e-5),
            ],
            [
                x,
                values_of([&a.norm, &b.norm]),
                values_of([&a.gate, &b.gate]),
                values_of([&a.up, &b.up]),
                values_of([&a.down, &b.down])
            ]
        );
    }

    #[test]
    fn embedding_and_norm(
        tokens in 1usize..80, width in 1usize..40, vocabulary in 1usize..40, seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let embedding = draws.leaf([vocabulary, width]);
        let [some, others] = draws.integers(tokens, vocabulary);
        compare!(
            draws,
            [
                ops::embed(embedding[0].clone(), some),
                plain::embed(embedding[1].clone(), others),
            ],
            [embedding]
        );
        // An epsilon that bounds the condition: one number of 1e-4 by itself has a gradient of nothing but rounding.
        let x = draws.leaf([tokens, width]);
        let gain = draws.leaf([width]);
        compare!(
            draws,
            [
                ops::rms_norm(x[0].clone(), gain[0].clone(), 0.1),
                plain::rms_norm(x[1].clone(), gain[1].clone(), 0.1),
            ],
            [x, gain]
        );
    }

    #[test]
    fn token_scores(
        tokens in 1usize..40, rows in 1usize..60, width in 1usize..40, vocabulary in 2usize..60,
        temperature in 0.3f64..3.0, seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let (hidden, embedding) = (draws.leaf([tokens, width]), draws.leaf([vocabulary, width]));
        let ([at, other_at], [targets, other_targets]) =
            (draws.integers(rows, tokens), draws.integers(rows, vocabulary));
        let both = |scores: ops::TokenScores| Tensor::cat(vec![scores.log_probs, scores.entropy], 0);
        let fused = ops::token_scores(
            hidden[0].clone(), at, embedding[0].clone(), targets, temperature,
        );
        let plain = plain::token_scores(
            hidden[1].clone(), other_at, embedding[1].clone(), other_targets, temperature,
        );
        compare!(draws, [both(fused), both(plain)], [hidden, embedding]);
    }

    #[test]
    fn divergence(
        rows in 1usize..40, widths in (1usize..20, 1usize..20), vocabulary in 2usize..40,
        temperature in 0.5f64..2.0, seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let (a, b) = (draws.leaf([rows, widths.0]), draws.leaf([vocabulary, widths.0]));
        let (c, d) = (draws.leaf([rows, widths.1]), draws.leaf([vocabulary, widths.1]));
        let sides = |at: usize| {
            ([a[at].clone(), b[at].clone()], [c[at].clone(), d[at].clone()])
        };
        let ((p, q), (p_again, q_again)) = (sides(0), sides(1));
        compare!(
            draws,
            [ops::divergence(p, q, temperature), plain::divergence(p_again, q_again, temperature)],
            [a, b, c, d]
        );
    }

    #[test]
    fn dense(
        rows in 1usize..40, inputs in 1usize..40, outputs in 1usize..40, seed: u64,
        activation in prop::sample::select(vec![
            Activation::Identity, Activation::Relu, Activation::Gelu, Activation::GeluTanh,
            Activation::Silu,
        ]),
    ) {
        let mut draws = Draws::new(seed);
        let x = draws.leaf([rows, inputs]);
        let (weights, bias) = (draws.leaf([inputs, outputs]), draws.leaf([outputs]));
        compare!(
            draws,
            [
                ops::dense(x[0].clone(), weights[0].clone(), bias[0].clone(), activation),
                plain::dense(x[1].clone(), weights[1].clone(), bias[1].clone(), activation),
            ],
            [x, weights, bias]
        );
    }

    #[test]
    fn sparse_product(
        rows in 1usize..30, width in 1usize..40, channels in 1usize..5, entries in 0usize..9, seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let weights = draws.leaf([width, channels]);
        let values = draws.values([rows, entries.max(1)]).try_to_vec::<f32>().unwrap();
        let row = |row: usize| -> Vec<(u32, f32)> {
            let at = |entry: usize| (((row * 7 + entry * 3) % width) as u32, values[row + entry]);
            (0..entries.min(values.len() - row)).map(at).collect()
        };
        let all: Vec<Vec<(u32, f32)>> = (0..rows).map(row).collect();
        let sparse = SparseRows::new(all.iter().map(Vec::as_slice));
        compare!(
            draws,
            [
                ops::sparse_product(sparse.clone(), weights[0].clone()),
                plain::sparse_product(&sparse, weights[1].clone()),
            ],
            [weights]
        );
    }

    #[test]
    fn mixture_of_experts(
        rows in 1usize..40, (inputs, hidden, width) in (1usize..20, 1usize..20, 1usize..20),
        experts in 1usize..6, tasks in 1usize..4, dropout: bool, seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let [first, other_first] = draws.parameter([inputs, experts * hidden]);
        let [first_bias, other_first_bias] = draws.parameter([experts * hidden]);
        let [second, other_second] = draws.parameter([experts, hidden, width]);
        let [second_bias, other_second_bias] = draws.parameter([experts * width]);
        let [gates, other_gates] = draws.parameter([inputs, tasks * experts]);
        let a = MixtureOfExperts { first, first_bias, second, second_bias, gates };
        let b = MixtureOfExperts {
            first: other_first,
            first_bias: other_first_bias,
            second: other_second,
            second_bias: other_second_bias,
            gates: other_gates,
        };
        let x = draws.leaf([rows, inputs]);
        let keep = draws.integers(rows * tasks * experts, 2);
        let [keep, other_keep] = keep.map(|keep| {
            dropout.then(|| keep.reshape([rows, tasks, experts]).equal_elem(1))
        });
        compare!(
            draws,
            [
                ops::mixture_of_experts(x[0].clone(), &a, keep),
                plain::mixture_of_experts(x[1].clone(), &b, other_keep),
            ],
            [
                x,
                values_of([&a.first, &b.first]),
                values_of([&a.first_bias, &b.first_bias]),
                values_of([&a.second, &b.second]),
                values_of([&a.second_bias, &b.second_bias]),
                values_of([&a.gates, &b.gates])
            ]
        );
    }

    #[test]
    fn maximum_mean_discrepancy(
        (n, m) in (2usize..50, 2usize..50), width in 1usize..20, unbiased: bool, seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let (x, y) = (draws.leaf([n, width]), draws.leaf([m, width]));
        let estimator = if unbiased { MmdEstimator::Unbiased } else { MmdEstimator::Biased };
        let bandwidths = [0.7, 1.5];
        // A difference of means of order 1 that may be nearly nothing is as far off as they are, so it is not compared
        // relative to itself.
        compare!(
            draws,
            [
                ops::mmd_squared(x[0].clone(), y[0].clone(), &bandwidths, estimator) + 0.1,
                plain::mmd_squared(x[1].clone(), y[1].clone(), &bandwidths, estimator) + 0.1,
            ],
            [x, y]
        );
    }
}

#[test]
fn constants_and_frozen_weights_take_no_part_in_the_backward_pass() {
    let mut draws = Draws::new(5);
    let shape = shape(2, 1, 4);
    let rotary = Arc::new(Rotary::new(8, 4, shape.rotary_base));
    let [weights, _] = attention_weights(&mut draws, &shape);
    // x comes from a device without autodiff, one weight is not tracked.
    let values = draws.values([16, shape.width]);
    let x = Tensor::<2>::from_data(values, &Device::flex());
    let trees = vec![Tree::sequence(8); 2].into();
    let frozen = Param::from_tensor(weights.key.val()).set_require_grad(false);
    let weights = Attention { key: frozen, ..weights };
    let out = ops::attention(x.clone(), &weights, &rotary, &trees, &shape);
    let gradients = out.sum().backward();
    assert!(weights.query.val().grad(&gradients).is_some());
    assert!(weights.key.val().grad(&gradients).is_none());

    // Without anything tracked there is no graph at all.
    let inner = |param: &Param<Tensor<2>>| Param::from_tensor(param.val().inner());
    let constant = Attention {
        norm: Param::from_tensor(weights.norm.val().inner()),
        query: inner(&weights.query),
        key: inner(&weights.key),
        value: inner(&weights.value),
        output: inner(&weights.output),
    };
    let out = ops::attention(x, &constant, &rotary, &trees, &shape);
    assert!(!out.device().is_autodiff());
}

#[test]
fn a_gradient_that_is_not_wanted_is_left_out_and_changes_no_other() {
    let mut draws = Draws::new(6);
    let ([x, _], [y, _]) = (draws.leaf([90, 7]), draws.leaf([70, 7]));
    let [fixed_x, fixed_y] = [&x, &y].map(|sample| sample.clone().inner());
    let mmd = |x: &Tensor<2>, y: &Tensor<2>| {
        ops::mmd_squared(x.clone(), y.clone(), &[1.0], MmdEstimator::Unbiased).backward()
    };
    let of = |sample: &Tensor<2>, gradients: &_| sample.grad(gradients).map(host);
    let both = mmd(&x, &y);
    let (of_x, of_y) = (mmd(&x, &fixed_y), mmd(&fixed_x, &y));
    assert_eq!(of(&x, &of_x), of(&x, &both));
    assert!(of(&y, &of_x).is_none() && of(&x, &of_y).is_none());
    // Its tiles are taken in another order.
    agree("gradient of y", &of(&y, &of_y).unwrap(), &of(&y, &both).unwrap(), 1e-2);

    let ([weights, _], [bias, _]) = (draws.leaf([7, 5]), draws.leaf([5]));
    let dense = |x: &Tensor<2>| {
        ops::dense(x.clone(), weights.clone(), bias.clone(), Activation::Gelu).sum().backward()
    };
    let (with, without) = (dense(&x), dense(&fixed_x));
    assert_eq!(of(&weights, &without), of(&weights, &with));
    assert!(of(&x, &with).is_some() && of(&x, &without).is_none());

    let expert = MixtureOfExperts {
        first: draws.parameter([7, 3 * 4])[0].clone(),
        first_bias: draws.parameter([3 * 4])[0].clone(),
        second: draws.parameter([3, 4, 5])[0].clone(),
        second_bias: draws.parameter([3 * 5])[0].clone(),
        gates: draws.parameter([7, 2 * 3])[0].clone(),
    };
    let mixture =
        |x: &Tensor<2>| ops::mixture_of_experts(x.clone(), &expert, None).sum().backward();
    let (with, without) = (mixture(&x), mixture(&fixed_x));
    assert_eq!(of(&expert.gates.val(), &without), of(&expert.gates.val(), &with));
    assert_eq!(of(&expert.first.val(), &without), of(&expert.first.val(), &with));
    assert!(of(&x, &with).is_some() && of(&x, &without).is_none());
}
