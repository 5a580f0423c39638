//! Files of llama2.c: made-up ones against a forward pass of their own, and the published model.

use std::path::Path;

use headwater_core::{BOS, Check, EOS, Streams};
use headwater_nn::stories::{StoriesTokenizer, read_model};
use headwater_nn::{Device, SamplingConfig, SequenceBatch, sample};
use proptest::prelude::*;

/// Start of the greedy continuation published with the model (llama2.c, doc/stories260K.md).
const PUBLISHED: &str = "Once upon a time, there was a little girl named Lily. She loved to play \
    outside in the park. One day, she saw a big, red ball.";

/// A file of the set `stories260k`: in `$HEADWATER_DATA`, seen from the workspace as `cargo xtask`
/// sees it there, or beside the checkout.
fn real(name: &str) -> Vec<u8> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = std::env::var_os("HEADWATER_DATA").filter(|value| !value.is_empty());
    let sets = workspace.join(named.unwrap_or_else(|| "../shared/data".into()));
    let path = sets.join("stories260k").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
#[ignore = "real data"]
fn greedy_text_is_the_published_one() {
    let decoder = read_model(&real("stories260K.bin")).unwrap().decoder(&Device::flex()).unwrap();
    assert_eq!(decoder.shape().parameter_count(), 260_032);
    let tokenizer = StoriesTokenizer::read(&real("tok512.bin")).unwrap();
    let sampling = SamplingConfig { max_new_tokens: 256, greedy: true, ..Default::default() };
    let sampling = sampling.check().unwrap();
    let groups = sample(&decoder, &[vec![BOS]], 1, &sampling, &Streams::new(0)).unwrap();
    let text = tokenizer.decode(&groups[0][0].tokens);
    assert!(text.starts_with(PUBLISHED), "{text}");
    // Token for token: the published text, encoded, is what was generated.
    let published = tokenizer.encode(PUBLISHED);
    assert_eq!(groups[0][0].tokens[..published.len()], published);
    assert!(!groups[0][0].tokens.contains(&EOS) || groups[0][0].finished);
}

const WIDTH: usize = 8;
const HIDDEN: usize = 6;
const LAYERS: usize = 2;
const HEADS: usize = 2;
const KEY_VALUE: usize = 4;
const VOCABULARY: usize = 5;
const CONTEXT: usize = 4;
const HEAD: usize = WIDTH / HEADS;

/// A made-up model of one key and value head for two heads, and its numbers in the file's order.
fn made_up_model() -> (Vec<u8>, Vec<f64>) {
    let block = 2 * WIDTH * WIDTH + 2 * WIDTH * KEY_VALUE + 3 * WIDTH * HIDDEN + 2 * WIDTH;
    let used = VOCABULARY * WIDTH + LAYERS * block + WIDTH;
    let unused_rotary = CONTEXT * HEAD;
    let numbers = (0..used + unused_rotary).map(|at| (at * 7919 % 1009) as f32 / 1009.0 - 0.4);
    let numbers: Vec<f32> = numbers.collect();
    let header = [WIDTH, HIDDEN, LAYERS, HEADS, KEY_VALUE / HEAD, VOCABULARY, CONTEXT];
    let header = header.into_iter().flat_map(|field| (field as i32).to_le_bytes());
    let bytes = header.chain(numbers.iter().flat_map(|number| number.to_le_bytes()));
    (bytes.collect(), numbers.into_iter().map(f64::from).collect())
}

/// Log-probabilities of every next token after each of `tokens`: the forward pass as llama2.c
/// writes it, rotary pairs side by side, in double precision.
fn log_probabilities(numbers: &[f64], tokens: &[u32]) -> Vec<Vec<f64>> {
    let mut rest = numbers;
    let mut take = |count: usize| {
        let (head, tail) = rest.split_at(count);
        rest = tail;
        head
    };
    let embedding = take(VOCABULARY * WIDTH);
    let attention_norm = take(LAYERS * WIDTH);
    let query = take(LAYERS * WIDTH * WIDTH);
    let [key, value] = [0, 1].map(|_| take(LAYERS * WIDTH * KEY_VALUE));
    let output = take(LAYERS * WIDTH * WIDTH);
    let feed_forward_norm = take(LAYERS * WIDTH);
    let [gate, down, up] = [0, 1, 2].map(|_| take(LAYERS * WIDTH * HIDDEN));
    let last_norm = take(WIDTH);

    let normed = |x: &[f64], weight: &[f64]| -> Vec<f64> {
        let square = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        x.iter().zip(weight).map(|(x, w)| w * x / (square + 1e-5).sqrt()).collect()
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let times = |matrices: &[f64], layer: usize, x: &[f64]| -> Vec<f64> {
        let matrix = &matrices[layer * matrices.len() / LAYERS..][..matrices.len() / LAYERS];
        matrix.chunks(x.len()).map(|row| dot(row, x)).collect()
    };
    let rotated = |mut x: Vec<f64>, position: usize| {
        for (at, pair) in x.chunks_mut(2).enumerate() {
            let within = (2 * at % HEAD) as f64 / HEAD as f64;
            let (sin, cos) = (position as f64 / 10_000f64.powf(within)).sin_cos();
            (pair[0], pair[1]) = (pair[0] * cos - pair[1] * sin, pair[0] * sin + pair[1] * cos);
        }
        x
    };
    let softmax = |scores: Vec<f64>| -> Vec<f64> {
        let sum: f64 = scores.iter().map(|score| score.exp()).sum();
        scores.iter().map(|score| score.exp() / sum).collect()
    };

    let row = |token: &u32| embedding[*token as usize * WIDTH..][..WIDTH].to_vec();
    let mut stream: Vec<Vec<f64>> = tokens.iter().map(row).collect();
    for layer in 0..LAYERS {
        let norms = layer * WIDTH..(layer + 1) * WIDTH;
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for (position, x) in stream.iter_mut().enumerate() {
            let read = normed(x, &attention_norm[norms.clone()]);
            keys.push(rotated(times(key, layer, &read), position));
            values.push(times(value, layer, &read));
            let queries = rotated(times(query, layer, &read), position);
            // Both heads look with one key: they differ in their queries.
            let seen = queries.chunks(HEAD).flat_map(|query| {
                let scores = keys.iter().map(|key| dot(query, key) / (HEAD as f64).sqrt());
                let shares = softmax(scores.collect());
                let mean = |at| shares.iter().zip(&values).map(|(p, v)| p * v[at]).sum::<f64>();
                (0..HEAD).map(mean).collect::<Vec<f64>>()
            });
            let added = times(output, layer, &seen.collect::<Vec<f64>>());
            x.iter_mut().zip(added).for_each(|(x, added)| *x += added);
            let read = normed(x, &feed_forward_norm[norms.clone()]);
            let gates = times(gate, layer, &read).into_iter().map(|g| g / (1.0 + (-g).exp()));
            let hidden = gates.zip(times(up, layer, &read)).map(|(gate, up)| gate * up);
            let added = times(down, layer, &hidden.collect::<Vec<f64>>());
            x.iter_mut().zip(added).for_each(|(x, added)| *x += added);
        }
    }
    let log_probabilities = |x: &Vec<f64>| -> Vec<f64> {
        let read = normed(x, last_norm);
        let logits = embedding.chunks(WIDTH).map(|row| dot(row, &read)).collect();
        softmax(logits).into_iter().map(f64::ln).collect()
    };
    stream.iter().map(log_probabilities).collect()
}

#[test]
fn a_made_up_model_scores_as_its_own_forward_pass_does() {
    let (bytes, numbers) = made_up_model();
    let decoder = read_model(&bytes).unwrap().decoder(&Device::flex()).unwrap();
    let (prompt, completion) = ([1], [4, 0, 3]);
    let batch = SequenceBatch::new([(&prompt[..], &completion[..])], decoder.shape()).unwrap();
    let found: Vec<f32> = batch.log_distributions(&decoder, 1.0).try_into_vec_as().unwrap();
    let expected = log_probabilities(&numbers, &[1, 4, 0]);
    assert_eq!(found.len(), expected.len() * VOCABULARY);
    for (found, expected) in found.iter().zip(expected.iter().flatten()) {
        assert!((f64::from(*found) - expected).abs() < 1e-5, "{found}, not {expected}");
    }
    // The three rows differ: position and context are read.
    let apart = |a: usize, b: usize| (expected[a][0] - expected[b][0]).abs();
    assert!(apart(0, 1) > 0.01 && apart(1, 2) > 0.01 && apart(0, 2) > 0.01, "{expected:?}");
}

/// 3 special pieces, 256 bytes, then these with their scores.
const PIECES: [(&str, f32); 5] =
    [(" ", -9.0), ("a", -9.0), ("b", -9.0), ("ab", -2.0), (" a", -1.0)];

fn made_up_tokenizer() -> Vec<u8> {
    let special = ["<unk>", "\n<s>\n", "\n</s>\n"].map(str::to_owned).into_iter();
    let bytes = (0..=255u8).map(|byte| format!("<0x{byte:02X}>"));
    let pieces = special.chain(bytes).map(|piece| (piece, 0.0));
    let pieces = pieces.chain(PIECES.map(|(piece, score)| (piece.to_owned(), score)));
    let mut file = 6i32.to_le_bytes().to_vec();
    for (piece, score) in pieces {
        file.extend(score.to_le_bytes());
        file.extend((piece.len() as i32).to_le_bytes());
        file.extend(piece.as_bytes());
    }
    file
}

#[test]
fn a_made_up_vocabulary_merges_by_score_and_falls_back_on_bytes() {
    let bytes = made_up_tokenizer();
    let tokenizer = StoriesTokenizer::read(&bytes).unwrap();
    assert_eq!((tokenizer.size(), tokenizer.to_bytes()), (264, bytes));
    let [space, b, ab, space_a] = [259, 261, 262, 263];
    // The space and `a` before `a` and `b`, by their scores.
    assert_eq!(tokenizer.encode("ab"), [space_a, b]);
    assert_eq!(tokenizer.encode("bab"), [space, b, ab]);
    assert_eq!(tokenizer.encode("é"), [space, 0xc3 + 3, 0xa9 + 3]);
    assert!(tokenizer.encode("").is_empty());
    assert_eq!(tokenizer.decode(&[BOS, space_a, b, 0xc3 + 3, 0xa9 + 3, space, EOS]), "abé ");
    assert_eq!(tokenizer.decode(&[space, 264]), "", "an id that is none is no text");
}

#[test]
fn broken_files_are_refused() {
    assert_eq!(
        read_model(&[0; 12]).unwrap_err().to_string(),
        "llama2.c model: 12 bytes, the header alone has 28"
    );
    assert_eq!(
        read_model(&[0; 64]).unwrap_err().to_string(),
        "llama2.c model: header field 0 = 0: allowed is 1 to 1048576"
    );
    let (model, _) = made_up_model();
    let announced = format!("the header announces {}", model.len());
    for length in 28..model.len() {
        let error = read_model(&model[..length]).unwrap_err().to_string();
        assert!(error.contains(&announced), "{length} bytes: {error}");
    }
    let vocabulary = made_up_tokenizer();
    let mut whole_tokens = 0;
    for length in 4..vocabulary.len() {
        match StoriesTokenizer::read(&vocabulary[..length]) {
            // The last five pieces are no special ones and no bytes.
            Ok(fewer) => {
                whole_tokens += 1;
                assert!((259..264).contains(&fewer.size()), "{length} bytes");
            }
            Err(error) => {
                let error = error.to_string();
                let named = error.contains("ends inside a token")
                    || error.contains("tokens, at least 259 are needed");
                assert!(named, "{length} bytes: {error}");
            }
        }
    }
    assert_eq!(whole_tokens, PIECES.len());
}

proptest! {
    #[test]
    fn a_changed_byte_is_refused_or_read(at in 0usize..usize::MAX, to: u8) {
        let changed = |mut bytes: Vec<u8>| {
            let at = at % bytes.len();
            bytes[at] = to;
            (at, bytes)
        };
        let (model, _) = made_up_model();
        let whole = read_model(&model).unwrap();
        let (at, model) = changed(model);
        match read_model(&model) {
            Ok(read) => prop_assert!(at >= 28 || read.to_bytes() == whole.to_bytes()),
            // A weight that became NaN or infinite is named with its tensor.
            Err(error) => {
                let error = error.to_string();
                let weight = error.contains("] = NaN") || error.contains("inf");
                prop_assert!(at < 28 || weight, "byte {at}: {error}");
            }
        }
        let whole = StoriesTokenizer::read(&made_up_tokenizer()).unwrap();
        if let Ok(read) = StoriesTokenizer::read(&changed(made_up_tokenizer()).1) {
            // Longer pieces would be fewer.
            prop_assert!(read.size() <= whole.size() + PIECES.len());
        }
    }
}
