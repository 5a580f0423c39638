//! The decoder, its sampler and its checkpoints held against each other and against finite differences.

use headwater_core::{Check, Example, Streams};
use headwater_kernels::with_threads;
use headwater_nn::{
    AdamW, AdamWConfig, Checkpoint, Decoder, DecoderConfig, DecoderShape, Device, ModuleGradients,
    SamplingConfig, SequenceBatch, named_tensors, sample, supervised_loss, supervised_step,
};
use proptest::prelude::*;

fn shape(heads: usize, key_value_heads: usize, layers: usize) -> DecoderShape {
    let config = DecoderConfig {
        vocabulary: 13,
        width: 8 * heads,
        layers,
        heads,
        key_value_heads,
        hidden: 20,
        context: 24,
        ..DecoderConfig::default()
    };
    config.check().unwrap()
}

fn fresh(shape: &DecoderShape, seed: u64, device: &Device) -> Decoder {
    Decoder::initialise(shape, &mut Streams::new(seed).stream("weights", &[]), device)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The sampler's own forward pass is a second implementation of the model: they must agree on every
    /// token's log-probability and entropy, for single, equal and grouped heads and ragged prompts.
    #[test]
    fn the_sampler_and_the_module_agree(
        (heads, sharing) in prop::sample::select(vec![(1, 1), (2, 1), (4, 2), (4, 4)]),
        layers in 1usize..3,
        prompts in prop::collection::vec(prop::collection::vec(3u32..13, 1..9), 1..5),
        samples in 1usize..4,
        temperature in 0.5f64..2.0,
        seed: u64,
    ) {
        let shape = shape(heads, heads / sharing, layers);
        let decoder = fresh(&shape, seed, &Device::flex());
        let sampling =
            SamplingConfig { max_new_tokens: 7, temperature, ..SamplingConfig::default() };
        let sampling = sampling.check().unwrap();
        let groups =
            sample(&decoder, &prompts, samples, &sampling, &Streams::new(seed)).unwrap();
        prop_assert_eq!(groups.len(), prompts.len());
        for (prompt, group) in prompts.iter().zip(&groups) {
            prop_assert_eq!(group.len(), samples);
            for completion in group {
                let pair = (prompt.as_slice(), completion.tokens.as_slice());
                let batch = SequenceBatch::new([pair], &shape).unwrap();
                let scores = batch.scores(&decoder, temperature);
                let log_probs: Vec<f32> = scores.log_probs.try_into_vec_as().unwrap();
                let all = batch.log_distributions(&decoder, temperature);
                let all: Vec<f32> = all.try_into_vec_as().unwrap();
                let entropies: Vec<f32> = scores.entropy.try_into_vec_as().unwrap();
                for t in 0..completion.tokens.len() {
                    prop_assert!((log_probs[t] - completion.log_probs[t]).abs() < 1e-4);
                    prop_assert!((entropies[t] - completion.entropies[t]).abs() < 1e-4);
                    prop_assert_eq!(completion.log_probs[t], completion.behaviour_log_probs[t]);
                    // The whole distribution sums to 1 and holds the same log-probability.
                    let row = &all[t * shape.vocabulary..(t + 1) * shape.vocabulary];
                    let mass: f32 = row.iter().map(|l| l.exp()).sum();
                    prop_assert!((mass - 1.0).abs() < 1e-5);
                    prop_assert!((row[completion.tokens[t] as usize] - log_probs[t]).abs() < 1e-4);
                }
            }
        }
    }

    /// A row is the same bits whatever other prompts and samples are in the batch, and on however many threads.
    #[test]
    fn a_row_is_the_same_alone_and_in_company(
        seed: u64, samples in 1usize..5, threads in 1usize..4,
        (heads, sharing) in prop::sample::select(vec![(1, 1), (2, 1), (4, 2), (3, 1)]),
    ) {
        let shape = shape(heads, heads / sharing, 2);
        let decoder = fresh(&shape, 3, &Device::flex());
        let prompts = vec![vec![4, 5, 6], vec![7], vec![8, 9, 10, 11, 3, 3, 3, 3, 3]];
        let sampling = SamplingConfig::default().check().unwrap();
        let streams = Streams::new(seed);
        let together = with_threads(threads, || {
            sample(&decoder, &prompts, samples + 1, &sampling, &streams).unwrap()
        });
        let alone = sample(&decoder, &prompts[..1], samples, &sampling, &streams).unwrap();
        prop_assert_eq!(&alone[0][..], &together[0][..samples]);
    }
}

#[test]
fn truncated_sampling_draws_only_from_the_kept_set_and_says_with_what_probability() {
    let shape = shape(2, 2, 1);
    let decoder = fresh(&shape, 5, &Device::flex());
    let base = SamplingConfig { max_new_tokens: 1, stop: None, ..SamplingConfig::default() };
    let draw = |config: SamplingConfig| {
        let sampling = config.check().unwrap();
        sample(&decoder, &[vec![4, 5]], 4000, &sampling, &Streams::new(2)).unwrap().remove(0)
    };
    let top_k = draw(SamplingConfig { top_k: 3, ..base.clone() });
    let mut kept: Vec<u32> = top_k.iter().map(|c| c.tokens[0]).collect();
    kept.sort_unstable();
    kept.dedup();
    assert_eq!(kept.len(), 3);
    for token in &kept {
        let of_token: Vec<_> = top_k.iter().filter(|c| c.tokens[0] == *token).collect();
        let share = of_token.len() as f64 / top_k.len() as f64;
        let stated = f64::from(of_token[0].behaviour_log_probs[0]).exp();
        // Five standard errors of a share of 4000.
        assert!((share - stated).abs() < 5.0 * (stated * (1.0 - stated) / 4000.0).sqrt());
        assert!(of_token[0].behaviour_log_probs[0] > of_token[0].log_probs[0]);
    }
    // A nucleus smaller than the most likely token is greedy sampling.
    let nucleus = draw(SamplingConfig { top_p: 1e-6, ..base.clone() });
    let greedy = draw(SamplingConfig { greedy: true, ..base });
    assert!(nucleus.iter().zip(&greedy).all(|(a, b)| a.tokens == b.tokens));
}

#[test]
fn gradients_match_finite_differences_in_every_parameter_tensor() {
    let shape = shape(2, 1, 2);
    let device = Device::flex().autodiff();
    // Some with a prompt in common, apart from one another.
    let examples = [
        (vec![3, 4, 5], vec![6, 2]),
        (vec![7], vec![8, 9, 10, 2]),
        (vec![3, 4, 5], vec![7, 8, 2]),
        (vec![7], vec![2]),
        (vec![6, 6], vec![2]),
    ];
    let pairs: Vec<(&[u32], &[u32])> =
        examples.iter().map(|(p, c)| (p.as_slice(), c.as_slice())).collect();
    let batch = SequenceBatch::new(pairs, &shape).unwrap();
    let mut decoder = fresh(&shape, 9, &device);
    // A larger embedding than the initial one, so that the loss is curved enough to measure.
    let mut weights = decoder.weights();
    weights[0].values.iter_mut().for_each(|v| *v *= 20.0);
    decoder = Decoder::from_weights(&shape, &weights, &device).unwrap();

    let loss_at = |weights: &[headwater_nn::NamedTensor]| {
        let decoder = Decoder::from_weights(&shape, weights, &Device::flex()).unwrap();
        f64::from(supervised_loss(&decoder, &batch).into_scalar::<f32>())
    };
    // AdamW's first step moves each weight by the sign of its gradient; plain gradients are read from a
    // step with huge epsilon instead: step = rate * gradient / (|gradient| + epsilon).
    let settings = AdamWConfig {
        learning_rate: 1.0,
        epsilon: 1e6,
        weight_decay: 0.0,
        max_grad_norm: None,
        ..AdamWConfig::default()
    };
    let mut optimizer = AdamW::new(settings.check().unwrap());
    let gradients = ModuleGradients::of(&supervised_loss(&decoder, &batch), &decoder);
    let norm = optimizer.step(&mut decoder, gradients, 1e6 * 1e-2).unwrap();
    let stepped = named_tensors(&decoder);
    let mut square = 0.0;
    for (index, tensor) in weights.iter().enumerate() {
        let gradient: Vec<f64> = tensor
            .values
            .iter()
            .zip(&stepped[index].values)
            .map(|(before, after)| f64::from(before - after) / 1e-2)
            .collect();
        square += gradient.iter().map(|g| g * g).sum::<f64>();
        // The derivative along the gradient's own direction exercises every entry of the tensor.
        let length = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        let mut shifted = [weights.clone(), weights.clone()];
        let step = 3e-3;
        for (at, g) in gradient.iter().enumerate() {
            shifted[0][index].values[at] += (step * g / length) as f32;
            shifted[1][index].values[at] -= (step * g / length) as f32;
        }
        let slope = (loss_at(&shifted[0]) - loss_at(&shifted[1])) / (2.0 * step);
        let error = (slope - length).abs() / length;
        assert!(error < 0.02, "{}: slope {slope}, gradient {length}", tensor.name);
    }
    assert!((square.sqrt() / norm - 1.0).abs() < 0.01, "norm {norm}, from the step {square}");
}

#[test]
fn a_checkpoint_survives_bytes_and_refuses_broken_ones() {
    let shape = shape(4, 2, 2);
    let decoder = fresh(&shape, 1, &Device::flex());
    let checkpoint = Checkpoint::of(&decoder);
    let bytes = checkpoint.to_bytes();
    assert_eq!(Checkpoint::from_bytes(&bytes).unwrap(), checkpoint);
    assert_eq!(Checkpoint::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    for length in [0, 7, 40, bytes.len() / 2, bytes.len() - 1] {
        let error = Checkpoint::from_bytes(&bytes[..length]).unwrap_err().to_string();
        assert!(error.starts_with("safetensors checkpoint: "), "{error}");
    }
    let mut weights = checkpoint.weights.clone();
    weights[3].values[5] = f32::NAN;
    let error = Decoder::from_weights(&shape, &weights, &Device::flex()).unwrap_err();
    assert_eq!(error.to_string(), "decoder weights: blocks.0.attention.key[5] = NaN");
}

#[test]
fn adamw_takes_the_steps_of_the_reference_and_resumes_exactly() {
    let shape = shape(2, 2, 1);
    let device = Device::flex().autodiff();
    let examples: Vec<Example> =
        (0..6).map(|i| Example { prompt: vec![3 + i, 4], completion: vec![5 + i, 2] }).collect();
    let settings = || AdamWConfig::default().check().unwrap();
    let mut straight = fresh(&shape, 2, &device);
    let mut optimizer = AdamW::new(settings());
    for _ in 0..3 {
        supervised_step(&mut straight, &mut optimizer, &examples, 1.0).unwrap();
    }
    let saved = (Checkpoint::of(&straight).to_bytes(), optimizer.to_bytes());
    for _ in 0..3 {
        supervised_step(&mut straight, &mut optimizer, &examples, 1.0).unwrap();
    }
    let mut resumed = Checkpoint::from_bytes(&saved.0).unwrap().decoder(&device).unwrap();
    let mut optimizer = AdamW::from_bytes(settings(), &saved.1, &device).unwrap();
    assert_eq!(optimizer.steps(), 3);
    for _ in 0..3 {
        supervised_step(&mut resumed, &mut optimizer, &examples, 1.0).unwrap();
    }
    assert_eq!(Checkpoint::of(&straight).to_bytes(), Checkpoint::of(&resumed).to_bytes());
}

#[test]
fn supervised_training_learns_and_a_wrong_token_is_named() {
    let shape = shape(2, 2, 2);
    let device = Device::flex().autodiff();
    let examples: Vec<Example> =
        (3..13).map(|i| Example { prompt: vec![i], completion: vec![15 - i, 2] }).collect();
    let config = AdamWConfig { learning_rate: 1e-2, ..AdamWConfig::default() };
    let mut optimizer = AdamW::new(config.check().unwrap());
    let mut decoder = fresh(&shape, 4, &device);
    let mut losses = Vec::new();
    for _ in 0..80 {
        losses.push(supervised_step(&mut decoder, &mut optimizer, &examples, 1.0).unwrap());
    }
    assert!(losses[0] > 1.5 && losses[79] < 0.05, "{} -> {}", losses[0], losses[79]);
    let sampling = SamplingConfig { greedy: true, ..SamplingConfig::default() }.check().unwrap();
    let prompts: Vec<Vec<u32>> = examples.iter().map(|e| e.prompt.clone()).collect();
    let groups = sample(&decoder, &prompts, 1, &sampling, &Streams::new(0)).unwrap();
    for (group, example) in groups.iter().zip(&examples) {
        assert_eq!(group[0].tokens, example.completion);
        assert!(group[0].finished);
    }
    let bad = [Example { prompt: vec![3, 99], completion: vec![2] }];
    let error = supervised_step(&mut decoder, &mut optimizer, &bad, 1.0).unwrap_err();
    assert_eq!(error.to_string(), "token 99 at position 1: allowed is 0 to 12");
}

proptest! {
    /// Not a bit of a pair's scores depends on what is beside it, on a prompt in common or on the number of threads.
    #[test]
    fn a_pair_is_the_same_alone_and_beside_others_of_its_prompt(
        prompt in prop::collection::vec(3u32..13, 1..15),
        completions in prop::collection::vec(prop::collection::vec(3u32..13, 1..10), 2..6),
        (heads, sharing) in prop::sample::select(vec![(1, 1), (2, 1), (4, 2), (3, 1)]),
        threads in 1usize..3,
        seed: u64,
    ) {
        let shape = shape(heads, heads / sharing, 2);
        let decoder = fresh(&shape, seed, &Device::flex());
        let pairs: Vec<_> = completions.iter().map(|c| (&prompt[..], &c[..])).collect();
        let together = with_threads(threads, || {
            SequenceBatch::new(pairs.iter().copied(), &shape).unwrap().log_probs(&decoder)
        });
        for (pair, row) in pairs.into_iter().zip(together) {
            let alone = SequenceBatch::new([pair], &shape).unwrap().log_probs(&decoder);
            prop_assert_eq!(&alone[0], &row);
        }
    }
}

#[test]
fn pairs_of_any_length_and_with_prompts_in_common_are_scored_as_each_pair_alone() {
    let shape = shape(2, 1, 2);
    let decoder = fresh(&shape, 6, &Device::flex());
    let pairs: [(&[u32], &[u32]); 6] = [
        (&[3, 4, 5], &[6, 2]),
        (&[7], &[8, 9, 10, 2]),
        (&[3; 9], &[11]),
        (&[7], &[2]),
        (&[3, 4, 5], &[8, 7, 2]),
        (&[7], &[8, 9, 11]),
    ];
    let together = SequenceBatch::new(pairs, &shape).unwrap();
    assert_eq!((together.sequences(), together.width), (6, 4));
    let all: Vec<f32> = together.scores(&decoder, 1.0).log_probs.try_into_vec_as().unwrap();
    for (row, pair) in pairs.into_iter().enumerate() {
        let alone = SequenceBatch::new([pair], &shape).unwrap();
        let scores: Vec<f32> = alone.scores(&decoder, 1.0).log_probs.try_into_vec_as().unwrap();
        for (column, score) in scores.iter().enumerate() {
            assert_eq!(*score, all[row * 4 + column]);
        }
    }
}
