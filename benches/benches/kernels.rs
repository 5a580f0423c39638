//! The kernels by themselves, on one thread.

#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use headwater_kernels as kernels;
use headwater_kernels::{
    AdamWStep, AttentionShape, AttentionWeights, FeedForwardWeights, Out, Rotary, Scored, Strided,
    Tree,
};

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|at| (at as f32 * 0.7).sin() * 0.1).collect()
}

fn products(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("product");
    for (m, k, n) in [(8, 128, 352), (64, 128, 352), (256, 128, 352), (256, 256, 688)] {
        let (a, b, mut c) = (values(m * k), values(k * n), vec![0.0; m * n]);
        // Elements are multiplications with addition.
        group.throughput(Throughput::Elements((m * k * n) as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("{m}x{k}x{n}")), |bencher| {
            bencher.iter(|| {
                let left = Strided::rows(black_box(&a), k);
                kernels::matmul(&mut c, n, left, black_box(&b), n, (m, k, n), Out::Set);
            });
        });
    }
    group.finish();
}

fn halves(criterion: &mut Criterion) {
    let (sequences, positions, width, hidden) = (16, 64, 128, 352);
    let x = values(sequences * positions * width);
    let [norm, square, wide] = [width, width * width, width * hidden].map(values);
    let shape = AttentionShape { width, heads: 4, key_value_heads: 4, epsilon: 1e-5 };
    let weights = AttentionWeights {
        norm: &norm,
        query: &square,
        key: &square,
        value: &square,
        output: &square,
    };
    let rotary = Rotary::new(positions, 16, 1e4);
    let trees = vec![Tree::sequence(positions); sequences];
    criterion.bench_function("attention, forward and backward, 16 x 64 x 128", |bencher| {
        bencher.iter(|| {
            let (mut out, kept) = kernels::attention_saving(&shape, &rotary, weights, &trees, &x);
            kernels::attention_backward(&shape, &rotary, weights, &trees, &x, &kept, &mut out)
        });
    });
    let weights =
        FeedForwardWeights { norm: &norm, gate: &wide, up: &wide, down: &wide, epsilon: 1e-5 };
    criterion.bench_function("feed-forward, forward and backward, 1024 x 128 x 352", |bencher| {
        bencher.iter(|| {
            let (mut out, kept) = kernels::feed_forward_saving(weights, &x);
            kernels::feed_forward_backward(weights, &x, &kept, &mut out)
        });
    });
}

fn losses(criterion: &mut Criterion) {
    let (tokens, width, vocabulary) = (1024, 128, 512);
    let (hidden, embedding) = (values(tokens * width), values(vocabulary * width));
    let at: Vec<usize> = (0..tokens).collect();
    let targets: Vec<usize> = (0..tokens).map(|token| token * 7 % vocabulary).collect();
    let scored =
        Scored { hidden: &hidden, embedding: &embedding, width, at: &at, temperature: 1.0 };
    criterion.bench_function("token scores, forward and backward, 1024 of 512", |bencher| {
        bencher.iter(|| {
            let (out, kept) = kernels::token_scores(&scored, &targets);
            kernels::token_scores_backward(&scored, &targets, &kept, &out)
        });
    });
}

fn adamw(criterion: &mut Criterion) {
    let count = 1 << 20;
    let (mut value, gradient) = (values(count), values(count));
    let (mut first, mut second) = (vec![0.0; count], vec![0.0; count]);
    let step = AdamWStep {
        clip: 1.0,
        beta_1: [0.9, 0.1],
        beta_2: [0.999, 0.001],
        keep: 1.0,
        rate: 1e-6,
        root_correction: 1.0,
        epsilon: 1e-8,
    };
    criterion.bench_function("AdamW, a million parameters", |bencher| {
        bencher.iter(|| kernels::adamw(step, &mut value, &gradient, &mut first, &mut second));
    });
}

criterion_group!(benches, products, halves, losses, adamw);
criterion_main!(benches);
