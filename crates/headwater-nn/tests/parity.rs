//! Fused operations against the same operations as ordinary tensor operations: values and gradients agree to
//! 1e-4 relative, for every shape, also where some inputs are constants.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use burn::module::Param;
use burn::tensor::{Device, Int, Tensor, TensorData};
use headwater_core::{Check, Streams};
use headwater_kernels::{Rotary, with_threads};
use headwater_nn::ops::{self, Attention, FeedForward, plain};
use headwater_nn::{DecoderConfig, DecoderShape};
use proptest::prelude::*;
use rand::RngExt;

/// Tracked tensors of these shapes with values in (-1, 1), the same for the same seed.
struct Draws {
    stream: headwater_core::StreamRng,
    device: Device,
}

impl Draws {
    fn new(seed: u64) -> Self {
        let device = Device::flex().autodiff();
        Self { stream: Streams::new(seed).stream("values", &[]), device }
    }

    fn values<const D: usize>(&mut self, shape: [usize; D]) -> TensorData {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| self.stream.random_range(-1.0..1.0)).collect();
        TensorData::new(values, shape)
    }

    fn leaf<const D: usize>(&mut self, shape: [usize; D]) -> Tensor<D> {
        let values = self.values(shape);
        Tensor::from_data(values, &self.device).require_grad()
    }

    fn integers(&mut self, count: usize, below: usize) -> Tensor<1, Int> {
        let values: Vec<i64> =
            (0..count).map(|_| self.stream.random_range(0..below as i64)).collect();
        Tensor::from_data(TensorData::new(values, [count]), &self.device)
    }
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.inner().try_into_vec_as().unwrap()
}

fn agree(what: &str, fused: &[f32], plain: &[f32]) {
    let top = plain.iter().fold(1e-2f32, |top, v| top.max(v.abs()));
    for (at, (a, b)) in fused.iter().zip(plain).enumerate() {
        assert!((a - b).abs() < 1e-4 * top, "{what}, element {at}: {a} fused, {b} plain");
    }
}

/// Values and gradients of both ways, under the same outer gradient; `leaves` are what gradients are taken of.
macro_rules! compare {
    ($draws:expr, $fused:expr, $plain:expr, [$($leaf:expr),+]) => {{
        let (fused, plain) = ($fused, $plain);
        let outer = $draws.values(plain.dims());
        let outer = Tensor::from_data(outer, &$draws.device);
        agree("value", &host(fused.clone()), &host(plain.clone()));
        let by_fused = (fused * outer.clone()).sum().backward();
        let by_plain = (plain * outer).sum().backward();
        $({
            let name = concat!("gradient of ", stringify!($leaf));
            let (a, b) = ($leaf.grad(&by_fused).unwrap(), $leaf.grad(&by_plain).unwrap());
            agree(name, &host(a), &host(b));
        })+
    }};
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

fn attention_weights(draws: &mut Draws, shape: &DecoderShape) -> Attention {
    let (width, narrow) = (shape.width, shape.key_value_width());
    Attention {
        norm: Param::from_tensor(draws.leaf([width])),
        query: Param::from_tensor(draws.leaf([width, width])),
        key: Param::from_tensor(draws.leaf([width, narrow])),
        value: Param::from_tensor(draws.leaf([width, narrow])),
        output: Param::from_tensor(draws.leaf([width, width])),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn attention(
        sequences in 1usize..4,
        (heads, sharing) in prop::sample::select(vec![(1, 1), (2, 1), (4, 2), (3, 3)]),
        half in 1usize..9,
        threads in 1usize..3,
        seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let shape = shape(heads, heads / sharing, half);
        let weights = attention_weights(&mut draws, &shape);
        let rotary = Arc::new(Rotary::new(shape.context, half, shape.rotary_base));
        // Every length from 1 up is somebody's sequence length.
        let positions = 1 + (seed % 70) as usize;
        let x = draws.leaf([sequences, positions, shape.width]);
        with_threads(threads, || compare!(
            draws,
            ops::attention(x.clone(), &weights, &rotary, &shape),
            plain::attention(x.clone(), &weights, &rotary, &shape),
            [x, weights.norm.val(), weights.query.val(), weights.key.val(), weights.value.val(),
                weights.output.val()]
        ));
    }

    #[test]
    fn feed_forward(
        sequences in 1usize..4, positions in 1usize..20, width in 1usize..40, hidden in 1usize..50,
        seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let weights = FeedForward {
            norm: Param::from_tensor(draws.leaf([width])),
            gate: Param::from_tensor(draws.leaf([width, hidden])),
            up: Param::from_tensor(draws.leaf([width, hidden])),
            down: Param::from_tensor(draws.leaf([hidden, width])),
        };
        let x = draws.leaf([sequences, positions, width]);
        compare!(
            draws,
            ops::feed_forward(x.clone(), &weights, 1e-5),
            plain::feed_forward(x.clone(), &weights, 1e-5),
            [x, weights.norm.val(), weights.gate.val(), weights.up.val(), weights.down.val()]
        );
    }

    #[test]
    fn embedding_and_norm(
        sequences in 1usize..5, positions in 1usize..20, width in 1usize..40,
        vocabulary in 1usize..40, seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let embedding = draws.leaf([vocabulary, width]);
        let tokens = draws.integers(sequences * positions, vocabulary);
        let tokens = tokens.reshape([sequences, positions]);
        compare!(
            draws,
            ops::embed(embedding.clone(), tokens.clone()),
            plain::embed(embedding.clone(), tokens),
            [embedding]
        );
        let x = draws.leaf([sequences, positions, width]);
        let gain = draws.leaf([width]);
        compare!(
            draws,
            ops::rms_norm(x.clone(), gain.clone(), 1e-5),
            plain::rms_norm(x.clone(), gain.clone(), 1e-5),
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
        let (at, targets) = (draws.integers(rows, tokens), draws.integers(rows, vocabulary));
        let both = |scores: ops::TokenScores| Tensor::cat(vec![scores.log_probs, scores.entropy], 0);
        let arguments = || (hidden.clone(), at.clone(), embedding.clone(), targets.clone());
        let fused = {
            let (hidden, at, embedding, targets) = arguments();
            both(ops::token_scores(hidden, at, embedding, targets, temperature))
        };
        let plain = {
            let (hidden, at, embedding, targets) = arguments();
            both(plain::token_scores(hidden, at, embedding, targets, temperature))
        };
        compare!(draws, fused, plain, [hidden, embedding]);
    }

    #[test]
    fn divergence(
        rows in 1usize..40, widths in (1usize..20, 1usize..20), vocabulary in 2usize..40,
        temperature in 0.5f64..2.0, seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let (a, b) = (draws.leaf([rows, widths.0]), draws.leaf([vocabulary, widths.0]));
        let (c, d) = (draws.leaf([rows, widths.1]), draws.leaf([vocabulary, widths.1]));
        let sides = || ([a.clone(), b.clone()], [c.clone(), d.clone()]);
        let ((p, q), (p_again, q_again)) = (sides(), sides());
        compare!(
            draws,
            ops::divergence(p, q, temperature),
            plain::divergence(p_again, q_again, temperature),
            [a, b, c, d]
        );
    }
}

#[test]
fn constants_and_frozen_weights_take_no_part_in_the_backward_pass() {
    let mut draws = Draws::new(5);
    let shape = shape(2, 1, 4);
    let rotary = Arc::new(Rotary::new(8, 4, shape.rotary_base));
    let weights = attention_weights(&mut draws, &shape);
    // x comes from a device without autodiff, one weight is not tracked.
    let values = draws.values([2, 8, shape.width]);
    let x = Tensor::<3>::from_data(values, &Device::flex());
    let frozen = Param::from_tensor(weights.key.val()).set_require_grad(false);
    let weights = Attention { key: frozen, ..weights };
    let out = ops::attention(x.clone(), &weights, &rotary, &shape);
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
    let out = ops::attention(x, &constant, &rotary, &shape);
    assert!(!out.device().is_autodiff());
}
