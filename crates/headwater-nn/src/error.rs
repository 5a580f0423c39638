//! What can go wrong in this crate.

use headwater_core::{ConfigError, Untokenizable};

/// An input this crate cannot work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NnError {
    /// An argument that is checked as a config's field is.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A token id outside the vocabulary.
    #[error("token {token} at position {position}: allowed is 0 to {last}")]
    Token {
        /// The id found.
        token: u32,
        /// Its position in the sequence.
        position: usize,
        /// The largest valid id.
        last: usize,
    },
    /// A sequence longer than the model's context, or empty where a token is needed.
    #[error("{what} has {length} tokens: allowed is {allowed}")]
    Length {
        /// Which sequence.
        what: &'static str,
        /// Its length.
        length: usize,
        /// The allowed range in words.
        allowed: String,
    },
    /// Text that the vocabulary cannot encode.
    #[error(transparent)]
    Untokenizable(#[from] Untokenizable),
    /// Bytes that are not what they should be.
    #[error("{format}: {problem}")]
    Malformed {
        /// The format that was expected.
        format: &'static str,
        /// What is wrong, with the offset or the tensor's name.
        problem: String,
    },
    /// A policy whose logits are no numbers: its weights have grown out of f32.
    #[error("the logits of prompt {prompt}, sample {sample}, token {token} are not finite numbers")]
    Logits {
        /// Index of the prompt.
        prompt: usize,
        /// Index of the sample.
        sample: usize,
        /// Index of the token that was to be drawn.
        token: usize,
    },
    /// A loss or gradient that is not a finite number.
    #[error("{what} is {value}, not a finite number (optimiser step {step})")]
    NotFinite {
        /// The quantity.
        what: &'static str,
        /// Its value as text.
        value: String,
        /// The optimiser's step count.
        step: usize,
    },
}
