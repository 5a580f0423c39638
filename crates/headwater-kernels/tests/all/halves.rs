//! The halves of a decoder block, norm and token scores against plain double-precision code, and
//! their gradients against its finite differences.

use crate::common::{check_gradients, close, dot, double, sets, times, values};
use headwater_kernels::{
    AttentionShape, AttentionWeights, FeedForwardWeights, Rotary, Scored, Tree, attention,
    attention_backward, attention_saving, feed_forward, feed_forward_backward, feed_forward_saving,
    rms_norm, rms_norm_backward, token_scores, token_scores_backward, with_instruction_set,
    with_threads,
};
use proptest::prelude::*;

const EPSILON: f64 = 1e-5;

fn normed(x: &[f64], gain: &[f64]) -> Vec<f64> {
    let rows = x.chunks(gain.len());
    rows.flat_map(|row| {
        let mean = row.iter().map(|v| v * v).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (mean + EPSILON).sqrt();
        row.iter().zip(gain).map(move |(v, g)| v * scale * g)
    })
    .collect()
}

/// Tensors: x, norm, query, key, value, output. Each sequence of a tree by itself, from its first token on.
fn plain_attention(shape: &AttentionShape, trees: &[Tree], tensors: &[Vec<f64>]) -> Vec<f64> {
    let width = shape.width;
    let mut out = Vec::new();
    let mut first = 0;
    for tree in trees {
        let trunk = first..first + tree.trunk;
        let of = |rows: &[usize]| -> Vec<f64> {
            let x = rows.iter().flat_map(|row| &tensors[0][row * width..(row + 1) * width]);
            let own = std::iter::once(x.copied().collect()).chain(tensors[1..].iter().cloned());
            plain_sequence(shape, &own.collect::<Vec<_>>())
        };
        out.extend(of(&trunk.clone().collect::<Vec<_>>()));
        let mut start = trunk.end;
        for rows in &tree.branches {
            let sequence: Vec<_> = trunk.clone().chain(start..start + rows).collect();
            out.extend(&of(&sequence)[tree.trunk * width..]);
            start += rows;
        }
        first = start;
    }
    out
}

/// Attention of one sequence.
fn plain_sequence(shape: &AttentionShape, tensors: &[Vec<f64>]) -> Vec<f64> {
    let width = shape.width;
    let head_width = width / shape.heads;
    let narrow = head_width * shape.key_value_heads;
    let n = normed(&tensors[0], &tensors[1]);
    let turned = |x: Vec<f64>, width: usize| -> Vec<f64> {
        let mut out = x.clone();
        for (row, out) in out.chunks_mut(width).enumerate() {
            for (column, out) in out.iter_mut().enumerate() {
                let (half, within) = (head_width / 2, column % head_width);
                let pair = within % half;
                let angle = row as f64 * 1e4f64.powf(-(pair as f64) / half as f64);
                let (a, b) = (
                    x[row * width + column - within + pair],
                    x[row * width + column - within + pair + half],
                );
                *out = if within < half {
                    a * angle.cos() - b * angle.sin()
                } else {
                    b * angle.cos() + a * angle.sin()
                };
            }
        }
        out
    };
    let query = turned(times(&n, &tensors[2], width), width);
    let key = turned(times(&n, &tensors[3], width), narrow);
    let value = times(&n, &tensors[4], width);
    let tokens = n.len() / width;
    let mut mixed = vec![0.0; n.len()];
    for token in 0..tokens {
        for head in 0..shape.heads {
            let at = head * head_width;
            let shared = head / (shape.heads / shape.key_value_heads) * head_width;
            let score = |other: usize| -> f64 {
                let product = (0..head_width)
                    .map(|c| query[token * width + at + c] * key[other * narrow + shared + c]);
                product.sum::<f64>() / (head_width as f64).sqrt()
            };
            let weights: Vec<f64> = (0..=token).map(|other| score(other).exp()).collect();
            let total: f64 = weights.iter().sum();
            for c in 0..head_width {
                mixed[token * width + at + c] = (0..=token)
                    .zip(&weights)
                    .map(|(other, w)| w / total * value[other * narrow + shared + c])
                    .sum();
            }
        }
    }
    let added = times(&mixed, &tensors[5], width);
    tensors[0].iter().zip(added).map(|(x, y)| x + y).collect()
}

/// Tensors: x, norm, gate, up, down.
fn plain_feed_forward(tensors: &[Vec<f64>]) -> Vec<f64> {
    let width = tensors[1].len();
    let n = normed(&tensors[0], &tensors[1]);
    let (gate, up) = (times(&n, &tensors[2], width), times(&n, &tensors[3], width));
    let active: Vec<f64> = gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
    let added = times(&active, &tensors[4], tensors[2].len() / width);
    tensors[0].iter().zip(added).map(|(x, y)| x + y).collect()
}

/// Log-probabilities of every scored row. Tensors: hidden, embedding.
fn plain_log_probs(
    hidden: &[f64],
    embedding: &[f64],
    width: usize,
    at: &[usize],
    temperature: f64,
) -> Vec<Vec<f64>> {
    let row = |at: &usize| {
        let state = &hidden[at * width..(at + 1) * width];
        let logits: Vec<f64> = embedding
            .chunks(width)
            .map(|e| e.iter().zip(state).map(|(e, s)| e * s).sum::<f64>() / temperature)
            .collect();
        let log_sum = logits.iter().map(|z| z.exp()).sum::<f64>().ln();
        logits.iter().map(|z| z - log_sum).collect()
    };
    at.iter().map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn attention_and_its_gradients(
        trees in prop::collection::vec(
            (0usize..30, prop::collection::vec(0usize..20, 0..4))
                .prop_map(|(trunk, branches)| Tree { trunk, branches }),
            1..12,
        ),
        (heads, key_value_heads) in prop::sample::select(vec![(1, 1), (2, 1), (4, 2), (3, 3)]),
        half in 1usize..10,
        set in sets(),
        threads in 1usize..4,
        seed in 1u64..1000,
    ) {
        let width = heads * 2 * half;
        let shape = AttentionShape { width, heads, key_value_heads, epsilon: EPSILON as f32 };
        let narrow = shape.key_value_width();
        let tokens: usize = trees.iter().map(Tree::rows).sum();
        let sizes = [
            tokens * width, width, width * width, width * narrow, width * narrow, width * width,
        ];
        let tensors: Vec<Vec<f32>> =
            sizes.iter().zip(seed..).map(|(size, seed)| values(*size, seed)).collect();
        let weights = AttentionWeights {
            norm: &tensors[1], query: &tensors[2], key: &tensors[3], value: &tensors[4],
            output: &tensors[5],
        };
        let rotary = Rotary::new(50, half, 1e4);
        let doubles: Vec<Vec<f64>> = tensors.iter().map(|t| double(t)).collect();
        let outer = values(sizes[0], seed + 99);
        let x = &tensors[0];
        let (out, saved_out, dx, dw) = with_instruction_set(set, || with_threads(threads, || {
            let (saved_out, saved) = attention_saving(&shape, &rotary, weights, &trees, x);
            let mut dx = outer.clone();
            let dw = attention_backward(&shape, &rotary, weights, &trees, x, &saved, &mut dx);
            (attention(&shape, &rotary, weights, &trees, x), saved_out, dx, dw)
        }));
        prop_assert_eq!(&out, &saved_out);
        close(&out, &plain_attention(&shape, &trees, &doubles));
        let gradients: [&[f32]; 6] = [&dx, &dw.norm, &dw.query, &dw.key, &dw.value, &dw.output];
        check_gradients(&doubles, &gradients, |t| dot(&plain_attention(&shape, &trees, t), &outer));
    }

    #[test]
    fn feed_forward_and_its_gradients(
        tokens in 1usize..70,
        width in 1usize..40,
        hidden in 1usize..40,
        set in sets(),
        threads in 1usize..4,
        seed in 1u64..1000,
    ) {
        let sizes = [tokens * width, width, width * hidden, width * hidden, hidden * width];
        let tensors: Vec<Vec<f32>> =
            sizes.iter().zip(seed..).map(|(size, seed)| values(*size, seed)).collect();
        let weights = FeedForwardWeights {
            norm: &tensors[1], gate: &tensors[2], up: &tensors[3], down: &tensors[4],
            epsilon: EPSILON as f32,
        };
        let doubles: Vec<Vec<f64>> = tensors.iter().map(|t| double(t)).collect();
        let outer = values(sizes[0], seed + 99);
        let (out, saved_out, dx, dw) = with_instruction_set(set, || with_threads(threads, || {
            let (saved_out, saved) = feed_forward_saving(weights, &tensors[0]);
            let mut dx = outer.clone();
            let dw = feed_forward_backward(weights, &tensors[0], &saved, &mut dx);
            (feed_forward(weights, &tensors[0]), saved_out, dx, dw)
        }));
        prop_assert_eq!(&out, &saved_out);
        close(&out, &plain_feed_forward(&doubles));
        let gradients: [&[f32]; 5] = [&dx, &dw.norm, &dw.gate, &dw.up, &dw.down];
        check_gradients(&doubles, &gradients, |t| dot(&plain_feed_forward(t), &outer));
    }

    #[test]
    fn rms_norm_and_its_gradients(
        rows in 1usize..100, width in 1usize..70, set in sets(), threads in 1usize..4,
        seed in 1u64..1000,
    ) {
        let (x, gain) = (values(rows * width, seed), values(width, seed + 1));
        let outer = values(rows * width, seed + 2);
        let (out, (dx, dgain)) = with_instruction_set(set, || with_threads(threads, || {
            let epsilon = EPSILON as f32;
            (rms_norm(&x, &gain, epsilon), rms_norm_backward(&x, &gain, epsilon, &outer))
        }));
        let doubles = [double(&x), double(&gain)];
        close(&out, &normed(&doubles[0], &doubles[1]));
        check_gradients(&doubles, &[&dx, &dgain], |t| dot(&normed(&t[0], &t[1]), &outer));
    }

    #[test]
    fn token_scores_and_their_gradients(
        tokens in 1usize..40, scored in 1usize..80, width in 1usize..40, vocabulary in 2usize..70,
        temperature in 0.3f32..3.0, entropy: bool, set in sets(), threads in 1usize..4,
        seed in 1u64..1000,
    ) {
        let (hidden, embedding) = (values(tokens * width, seed), values(vocabulary * width, seed + 1));
        let at: Vec<usize> = (0..scored).map(|i| (i * 7 + 3) % tokens).collect();
        let targets: Vec<usize> = (0..scored).map(|i| (i * 5 + 1) % vocabulary).collect();
        let mut outer = values(2 * scored, seed + 2);
        if !entropy {
            outer.iter_mut().skip(1).step_by(2).for_each(|g| *g = 0.0);
        }
        let scores = Scored {
            hidden: &hidden, embedding: &embedding, width, at: &at, temperature,
        };
        let (out, (dhidden, dembedding)) = with_instruction_set(set, || with_threads(threads, || {
            let (out, saved) = token_scores(&scores, &targets);
            (out, token_scores_backward(&scores, &targets, &saved, &outer))
        }));
        let plain = |t: &[Vec<f64>]| -> Vec<f64> {
            let rows = plain_log_probs(&t[0], &t[1], width, &at, f64::from(temperature));
            let pairs = rows.iter().zip(&targets).flat_map(|(row, target)| {
                [row[*target], -row.iter().map(|l| l.exp() * l).sum::<f64>()]
            });
            pairs.collect()
        };
        let doubles = [double(&hidden), double(&embedding)];
        close(&out, &plain(&doubles));
        check_gradients(&doubles, &[&dhidden, &dembedding], |t| dot(&plain(t), &outer));
    }
}

#[test]
fn attention_of_nothing_is_nothing() {
    let shape = AttentionShape { width: 4, heads: 2, key_value_heads: 1, epsilon: 1e-5 };
    let [norm, square, slim] = [4, 16, 8].map(|size| values(size, 1));
    let weights =
        AttentionWeights { norm: &norm, query: &square, key: &slim, value: &slim, output: &square };
    let rotary = Rotary::new(1, 1, 1e4);
    for threads in 1..3 {
        for trees in [vec![], vec![Tree::default()], vec![Tree { trunk: 0, branches: vec![0; 2] }]]
        {
            with_threads(threads, || {
                let (out, saved) = attention_saving(&shape, &rotary, weights, &trees, &[]);
                assert_eq!(
                    (out, attention(&shape, &rotary, weights, &trees, &[])),
                    Default::default()
                );
                let sums =
                    attention_backward(&shape, &rotary, weights, &trees, &[], &saved, &mut []);
                assert!(sums.norm.iter().chain(&sums.query).all(|sum| *sum == 0.0));
            });
        }
    }
}
