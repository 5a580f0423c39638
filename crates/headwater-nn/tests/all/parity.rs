//! Fused operations against the same operations as ordinary tensor operations: values and gradients agree to
//! 1e-4 relative, for every shape, also where some inputs are constants.
//!
//! Ordinary operations run on the CPU backend; with the feature `wgpu`, on that device instead.

use std::sync::Arc;

use burn::module::Param;
use burn::tensor::{Device, Int, Tensor, TensorData};
use headwater_core::{Check, StreamRng, Streams};
use headwater_kernels::{Rotary, with_threads};
use headwater_nn::ops::{self, Attention, FeedForward, SparseRows, Tree, plain};
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
    fn sparse_matmul(
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
                ops::sparse_matmul(sparse.clone(), weights[0].clone()),
                plain::sparse_matmul(&sparse, weights[1].clone()),
            ],
            [weights]
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
