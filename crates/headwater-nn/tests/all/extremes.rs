//! Inputs at the edges: tiny temperatures, weights out of f32, files and configs that claim what is
//! not there.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use headwater_core::{Check, Streams};
use headwater_nn::ops::{self, plain};
use headwater_nn::stories::{StoriesTokenizer, read_model};
use headwater_nn::{
    AdamW, AdamWConfig, Checkpoint, Decoder, DecoderConfig, ModuleGradients, SamplingConfig,
    SequenceBatch, pack, sample, unpack_values,
};

fn config() -> DecoderConfig {
    DecoderConfig { vocabulary: 24, width: 16, layers: 1, context: 12, ..DecoderConfig::default() }
}

fn fresh(device: &Device) -> Decoder {
    Decoder::initialise(
        &config().check().unwrap(),
        &mut Streams::new(7).stream("weights", &[]),
        device,
    )
}

/// A decoder whose embedding is so many times as large.
fn loud(times: f32) -> Decoder {
    let decoder = fresh(&Device::flex());
    let mut weights = decoder.weights();
    weights[0].values.iter_mut().for_each(|value| *value *= times);
    Decoder::from_weights(decoder.shape(), &weights, &Device::flex()).unwrap()
}

#[test]
fn a_tiny_temperature_draws_the_greedy_token_with_its_exact_scores() {
    // Logits spread over about 20.
    let decoder = loud(60.0);
    let prompts: Vec<Vec<u32>> = (0..64).map(|at| vec![3 + at % 21, 3 + at / 21]).collect();
    let one = SamplingConfig { max_new_tokens: 1, stop: None, ..SamplingConfig::default() };
    let draw = |config: SamplingConfig, samples: usize| {
        let sampling = config.check().unwrap();
        sample(&decoder, &prompts, samples, &sampling, &Streams::new(1)).unwrap()
    };
    let greedy = draw(SamplingConfig { greedy: true, ..one.clone() }, 1);
    for temperature in [1e-300, 1e-45, 1e-39, 1e-9, 1e-8, 1e-5, 1e-4] {
        for (top_p, top_k) in [(1.0, 0), (0.9, 0), (1.0, 5), (0.5, 3)] {
            let config = SamplingConfig { temperature, top_p, top_k, ..one.clone() };
            let groups = draw(config, 50);
            for (group, greedy) in groups.iter().zip(&greedy) {
                for completion in group {
                    assert_eq!(completion.tokens, greedy[0].tokens, "{temperature}");
                    assert_eq!(completion.log_probs, [0.0], "{temperature}");
                    assert_eq!(completion.behaviour_log_probs, [0.0]);
                    assert_eq!(completion.entropies, [0.0]);
                }
            }
        }
    }
}

#[test]
fn equal_logits_at_a_tiny_temperature_are_drawn_as_by_greedy() {
    // Every row of the embedding is the same one: all logits are equal.
    let decoder = fresh(&Device::flex());
    let mut weights = decoder.weights();
    let row = weights[0].values[..16].to_vec();
    weights[0].values = row.repeat(24);
    let decoder = Decoder::from_weights(decoder.shape(), &weights, &Device::flex()).unwrap();
    let sampling = SamplingConfig { max_new_tokens: 3, temperature: 1e-8, ..Default::default() };
    let sampling = SamplingConfig { stop: None, ..sampling }.check().unwrap();
    let group = sample(&decoder, &[vec![4]], 20, &sampling, &Streams::new(1)).unwrap().remove(0);
    for completion in group {
        assert_eq!(completion.tokens, [0; 3]);
        // Of the whole distribution, which the ties share; the token itself was certain.
        for (log_prob, entropy) in completion.log_probs.iter().zip(&completion.entropies) {
            assert!((log_prob + 24f32.ln()).abs() < 1e-6 && (entropy - 24f32.ln()).abs() < 1e-6);
        }
        assert!(completion.behaviour_log_probs.iter().all(|log_prob| log_prob.abs() < 1e-6));
    }
}

#[test]
fn a_trainer_recomputes_what_was_sampled_at_a_tiny_temperature() {
    let decoder = loud(60.0);
    for temperature in [1e-300, 1e-9, 0.03] {
        let config = SamplingConfig { max_new_tokens: 6, temperature, ..Default::default() };
        let sampling = config.check().unwrap();
        let groups = sample(&decoder, &[vec![3, 4]], 4, &sampling, &Streams::new(2)).unwrap();
        for completion in &groups[0] {
            let batch =
                SequenceBatch::new([(&[3, 4][..], &completion.tokens[..])], decoder.shape())
                    .unwrap();
            let scores = batch.scores(&decoder, temperature);
            let log_probs: Vec<f32> = scores.log_probs.try_into_vec_as().unwrap();
            let entropy: Vec<f32> = scores.entropy.try_into_vec_as().unwrap();
            let all: Vec<f32> =
                batch.log_distributions(&decoder, temperature).try_into_vec_as().unwrap();
            for (t, token) in completion.tokens.iter().enumerate() {
                assert!((log_probs[t] - completion.log_probs[t]).abs() < 2e-3, "{temperature}");
                assert!((entropy[t] - completion.entropies[t]).abs() < 2e-3, "{temperature}");
                assert!((all[t * 24 + *token as usize] - log_probs[t]).abs() < 2e-3);
            }
            assert!(all.iter().all(|log_prob| log_prob.is_finite()));
        }
    }
}

/// The plain body is what runs on other devices.
#[test]
fn both_bodies_are_finite_at_tiny_temperatures_and_so_are_their_gradients() {
    let device = Device::flex().autodiff();
    let tensor = |values: &[f32]| {
        Tensor::<1>::from_floats(values, &device).reshape([values.len() / 2, 2]).require_grad()
    };
    for temperature in [1e-300, 1e-39, 1e-9, 1e-3, 0.05] {
        for scores in [ops::token_scores, plain::token_scores] {
            let hidden = tensor(&[1.0, -2.0, 0.5, 4.0]);
            let embedding = tensor(&[3.0, 1.0, -4.0, 2.5, 0.25, -5.0]);
            let rows = Tensor::from_ints([0, 1], &device);
            let targets = Tensor::from_ints([2, 1], &device);
            let found = scores(hidden.clone(), rows, embedding.clone(), targets, temperature);
            let gradients = (found.log_probs.clone() + found.entropy.clone()).sum().backward();
            for tensor in [&hidden, &embedding] {
                let slope: Vec<f32> = tensor.grad(&gradients).unwrap().try_into_vec_as().unwrap();
                assert!(slope.iter().all(|slope| slope.is_finite()), "{temperature}: {slope:?}");
            }
            let log_probs: Vec<f32> = found.log_probs.inner().try_into_vec_as().unwrap();
            let entropy: Vec<f32> = found.entropy.inner().try_into_vec_as().unwrap();
            assert!(entropy.iter().all(|h| (-1e-6..0.7).contains(h)), "{temperature}: {entropy:?}");
            // Logits 1, -9, 10.25 and 5.5, 8, -19.875: the targets are the likeliest.
            assert!(log_probs.iter().all(|l| l.abs() < 1e-6), "{temperature}: {log_probs:?}");
        }
    }
}

#[test]
fn a_policy_that_has_left_f32_is_an_error_and_not_a_panic() {
    let decoder = loud(1.0);
    let mut weights = decoder.weights();
    for tensor in &mut weights {
        tensor.values.iter_mut().for_each(|value| *value *= 1e30);
    }
    let decoder = Decoder::from_weights(decoder.shape(), &weights, &Device::flex()).unwrap();
    for greedy in [false, true] {
        let sampling = SamplingConfig { greedy, ..SamplingConfig::default() }.check().unwrap();
        let error = sample(&decoder, &[vec![3]], 2, &sampling, &Streams::new(1)).unwrap_err();
        let wanted = "the logits of prompt 0, sample 0, token 0 are not finite numbers";
        assert_eq!(error.to_string(), wanted);
    }
}

#[test]
fn sampling_settings_at_their_edges() {
    let refused = |config: SamplingConfig| config.check().unwrap_err().to_string();
    for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = refused(SamplingConfig { temperature, ..Default::default() });
        let wanted = format!("SamplingConfig.temperature = {temperature}: allowed is a finite");
        assert!(error.starts_with(&wanted), "{error}");
    }
    for top_p in [0.0, -0.5, 1.5, f64::NAN] {
        let error = refused(SamplingConfig { top_p, ..Default::default() });
        assert!(error.starts_with("SamplingConfig.top_p"), "{error}");
    }
}

#[derive(Module, Debug)]
struct Pair {
    used: Param<Tensor<1>>,
    unused: Param<Tensor<1>>,
}

fn pair() -> Pair {
    let device = Device::flex().autodiff();
    let param = |value: f32| Param::from_data([value], &device);
    Pair { used: param(1.0), unused: param(1.0) }
}

fn value(param: &Param<Tensor<1>>) -> f64 {
    f64::from(param.val().inner().into_scalar::<f32>())
}

fn optimizer() -> AdamW {
    let config = AdamWConfig {
        learning_rate: 0.1,
        weight_decay: 0.1,
        max_grad_norm: None,
        ..AdamWConfig::default()
    };
    AdamW::new(config.check().unwrap())
}

/// PyTorch 2 skips a parameter whose gradient is None: no decay, no step. Its first step is then
/// one with the bias correction of a first one: p (1 - lr wd) - lr sign(g).
#[test]
fn a_parameter_without_a_gradient_is_skipped_also_across_a_restart() {
    let (mut pair, mut optimizer) = (pair(), optimizer());
    for _ in 0..10 {
        let loss = pair.used.val().square().sum();
        let gradients = ModuleGradients::of(&loss, &pair);
        optimizer.step(&mut pair, gradients, 1.0).unwrap();
    }
    assert_eq!(value(&pair.unused), 1.0);
    assert!(value(&pair.used) < 0.2);
    let settings = AdamWConfig { learning_rate: 0.1, weight_decay: 0.1, ..AdamWConfig::default() };
    let settings = AdamWConfig { max_grad_norm: None, ..settings }.check().unwrap();
    let bytes = optimizer.to_bytes();
    let restored = AdamW::from_bytes(settings, &bytes, &Device::flex()).unwrap();
    assert_eq!(restored.to_bytes(), bytes);
    for mut optimizer in [optimizer, restored] {
        let mut pair = pair.clone();
        let loss = pair.unused.val().sum().mul_scalar(-3.0);
        let gradients = ModuleGradients::of(&loss, &pair);
        optimizer.step(&mut pair, gradients, 1.0).unwrap();
        assert!((value(&pair.unused) - (0.99 + 0.1)).abs() < 1e-6, "{}", value(&pair.unused));
    }
}

#[test]
fn a_rate_that_is_none_changes_nothing() {
    for rate in [f64::NAN, f64::INFINITY, -1.0, 1e60] {
        let (mut pair, mut optimizer) = (pair(), optimizer());
        let loss = pair.used.val().sum() + pair.unused.val().sum();
        let gradients = ModuleGradients::of(&loss, &pair);
        let error = optimizer.step(&mut pair, gradients, rate).unwrap_err().to_string();
        assert!(error.starts_with(&format!("AdamW::step.rate = {rate}")), "{error}");
        assert_eq!((value(&pair.used), value(&pair.unused), optimizer.steps()), (1.0, 1.0, 0));
    }
    // A rate that has fallen to 0 is one.
    let (mut pair, mut optimizer) = (pair(), optimizer());
    let loss = pair.used.val().sum();
    let gradients = ModuleGradients::of(&loss, &pair);
    optimizer.step(&mut pair, gradients, 0.0).unwrap();
    assert_eq!((value(&pair.used), optimizer.steps()), (1.0, 1));
}

#[test]
fn optimiser_settings_at_their_edges() {
    let fine = AdamWConfig::default();
    let refused = |config: AdamWConfig, field: &str| {
        let error = config.check().unwrap_err().to_string();
        assert!(error.starts_with(&format!("AdamWConfig.{field} = ")), "{error}");
    };
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0] {
        refused(AdamWConfig { learning_rate: bad, ..fine.clone() }, "learning_rate");
        refused(AdamWConfig { beta_1: bad, ..fine.clone() }, "beta_1");
        refused(AdamWConfig { beta_2: bad, ..fine.clone() }, "beta_2");
        refused(AdamWConfig { epsilon: bad, ..fine.clone() }, "epsilon");
        refused(AdamWConfig { weight_decay: bad, ..fine.clone() }, "weight_decay");
        refused(AdamWConfig { max_grad_norm: Some(bad), ..fine.clone() }, "max_grad_norm");
    }
    // In f32 this is 0, and a gradient of 0 would become 0 / 0.
    refused(AdamWConfig { epsilon: 1e-60, ..fine.clone() }, "epsilon");
    let least = AdamWConfig { epsilon: 1.2e-38, ..fine }.check().unwrap();
    let (mut pair, mut optimizer) = (pair(), AdamW::new(least));
    let loss = pair.used.val().sum().mul_scalar(0.0);
    let gradients = ModuleGradients::of(&loss, &pair);
    optimizer.step(&mut pair, gradients, 1.0).unwrap();
    assert!((value(&pair.used) - (1.0 - 1e-5)).abs() < 1e-7);
}

#[test]
fn a_state_that_is_none_or_of_another_module_is_refused() {
    let settings = AdamWConfig::default().check().unwrap();
    let (mut pair, mut optimizer) = (pair(), optimizer());
    let loss = pair.used.val().sum();
    let gradients = ModuleGradients::of(&loss, &pair);
    optimizer.step(&mut pair, gradients, 1.0).unwrap();
    let bytes = optimizer.to_bytes();
    // The moments of two numbers are not those of a decoder.
    let mut decoder = fresh(&Device::flex().autodiff());
    let batch = SequenceBatch::new([(&[3][..], &[4][..])], decoder.shape()).unwrap();
    let loss = batch.scores(&decoder, 1.0).log_probs.sum();
    let gradients = ModuleGradients::of(&loss, &decoder);
    let before = decoder.weights();
    let error = optimizer.step(&mut decoder, gradients, 1.0).unwrap_err().to_string();
    assert!(error.contains("are not those its moments are of"), "{error}");
    assert_eq!(decoder.weights(), before);
    let counts = |text: &str| {
        let mut bytes = bytes.clone();
        let at = bytes.windows(7).position(|w| w == b"\"1 1:1\"").unwrap();
        bytes[at + 1..at + 6].copy_from_slice(text.as_bytes());
        AdamW::from_bytes(settings.clone(), &bytes, &Device::flex())
    };
    assert!(counts("1 1:1").is_ok());
    for bad in ["1 1:2", "x 1:1", "1 1 1", "-1  1"] {
        let error = counts(bad).unwrap_err().to_string();
        assert!(error.contains(&format!("steps = {bad:?} in the metadata")), "{error}");
    }
    // A NaN, and a square below 0, in the place of a moment.
    for (bad, at) in [(f32::NAN, 4), (-1.0, 4)] {
        let mut bytes = bytes.clone();
        let end = bytes.len();
        bytes[end - at..].copy_from_slice(&bad.to_le_bytes());
        let error = AdamW::from_bytes(settings.clone(), &bytes, &Device::flex()).unwrap_err();
        assert!(error.to_string().contains(&format!(".second[0] = {bad}")), "{error}");
    }
}

/// A checkpoint's bytes with one number of its config put in the place of another.
fn claiming(bytes: &[u8], field: &str, claim: &str) -> Vec<u8> {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
    let start = header.find(&format!("{field}\\\":")).unwrap() + field.len() + 3;
    let end = start + header[start..].find([',', '}']).unwrap();
    let header = format!("{}{claim}{}", &header[..start], &header[end..]);
    let mut claiming = (header.len() as u64).to_le_bytes().to_vec();
    claiming.extend(header.as_bytes());
    claiming.extend(&bytes[8 + length..]);
    claiming
}

#[test]
fn a_checkpoint_that_claims_more_than_it_holds_is_refused_before_anything_is_made() {
    let bytes = Checkpoint::of(&fresh(&Device::flex())).to_bytes();
    assert!(Checkpoint::from_bytes(&claiming(&bytes, "layers", "1")).is_ok());
    for (field, claim, wanted) in [
        ("layers", "10000000", "missing tensor blocks.1.attention.norm"),
        ("layers", "1000000000000000", "DecoderConfig.number of parameters"),
        ("layers", "18446744073709551615", "DecoderConfig.number of parameters"),
        ("context", "1000000000000", "DecoderConfig.context = 1000000000000"),
        ("hidden", "10000000", "feed_forward.gate has shape"),
        ("vocabulary", "10000000000", "embedding has shape"),
        ("vocabulary", "18446744073709551615", "DecoderConfig.number of parameters"),
        ("heads", "18446744073709551615", "DecoderConfig.width"),
        ("width", "0", "DecoderConfig.width = 0"),
        ("norm_epsilon", "0", "DecoderConfig.norm_epsilon"),
        ("norm_epsilon", "1e999", "number out of range"),
    ] {
        let error = Checkpoint::from_bytes(&claiming(&bytes, field, claim)).unwrap_err();
        assert!(error.to_string().contains(wanted), "{field} {claim}: {error}");
    }
    // A header longer than the file.
    let mut long = bytes.clone();
    long[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(Checkpoint::from_bytes(&long).is_err());
}

#[test]
fn a_model_and_a_tokenizer_that_claim_more_than_they_hold_are_refused() {
    let header = |fields: [i32; 7]| fields.iter().flat_map(|f| f.to_le_bytes()).collect::<Vec<_>>();
    let million = 1 << 20;
    for fields in [
        [64, 172, million, 8, 4, 512, 512],
        [million, million, million, 1, 1, million, 1],
        [million, 2, 2, 1, 1, 2, million],
    ] {
        let error = read_model(&header(fields)).unwrap_err().to_string();
        let claims = ["the header announces", "number of parameters", "context"];
        assert!(claims.iter().any(|claim| error.contains(claim)), "{error}");
    }
    let token = |score: f32, length: i32, piece: &[u8]| {
        [&score.to_le_bytes()[..], &length.to_le_bytes()[..], piece].concat()
    };
    let read = |token: Vec<u8>| StoriesTokenizer::read(&[vec![0; 4], token].concat());
    for bad in [token(0.0, i32::MAX, b"a"), token(0.0, -1, b"a"), token(0.0, 1, b"")] {
        let error = read(bad).unwrap_err().to_string();
        assert!(error.contains("ends inside a token"), "{error}");
    }
    let error = read(token(f32::NAN, 1, b"a")).unwrap_err().to_string();
    assert!(error.contains("score NaN of token 0, at byte 4"), "{error}");
}

#[test]
fn a_section_of_numbers_holds_whole_and_finite_ones() {
    let packed = |bytes: Vec<u8>| pack(&[("head", bytes)]);
    let values = unpack_values(&packed(1.5f32.to_le_bytes().to_vec()), "head").unwrap();
    assert_eq!(values, [1.5]);
    let error = unpack_values(&packed(vec![0; 7]), "head").unwrap_err().to_string();
    assert!(error.contains("section head has 7 bytes, not a multiple of 4"), "{error}");
    let error = unpack_values(&packed(f32::NAN.to_le_bytes().to_vec()), "head").unwrap_err();
    assert!(error.to_string().contains("section head: value 0 = NaN"), "{error}");
}
