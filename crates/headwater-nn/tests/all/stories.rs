//! The published model reproduces its published text, when it is at hand.

use std::path::PathBuf;

use headwater_core::{Check, Streams};
use headwater_nn::stories::{StoriesTokenizer, read_model};
use headwater_nn::{BOS, Device, EOS, SamplingConfig, sample};

/// Start of the greedy continuation published with the model (llama2.c, doc/stories260K.md).
const PUBLISHED: &str = "Once upon a time, there was a little girl named Lily. She loved to play \
    outside in the park. One day, she saw a big, red ball.";

#[allow(clippy::print_stdout)] // What a test leaves out is said.
fn files() -> Option<(Vec<u8>, Vec<u8>)> {
    let named = std::env::var_os("HEADWATER_DATA").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = named.unwrap_or(beside).join("stories260k");
    let read = |name: &str| std::fs::read(folder.join(name)).ok();
    let found = read("stories260K.bin").zip(read("tok512.bin"));
    if found.is_none() {
        println!("skipped: data set stories260k not found (docs/data.md says where it comes from)");
    }
    found
}

#[test]
fn greedy_text_is_the_published_one() {
    let Some((model, tokenizer)) = files() else { return };
    let decoder = read_model(&model).unwrap().decoder(&Device::flex()).unwrap();
    assert_eq!(decoder.shape().parameter_count(), 260_032);
    let tokenizer = StoriesTokenizer::read(&tokenizer).unwrap();
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
    let Some((model, tokenizer)) = files() else { return };
    let error = read_model(&model[..model.len() - 4]).unwrap_err().to_string();
    assert!(error.contains("the header announces 1056540"), "{error}");
    let error = StoriesTokenizer::read(&tokenizer[..1000]).unwrap_err().to_string();
    assert!(error.contains("ends inside a token"), "{error}");
}
