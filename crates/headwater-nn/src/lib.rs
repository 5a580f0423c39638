//! The small language models of the laboratory: one Llama-shaped decoder on burn, its tokenizers, a
//! batched KV-cache sampler, AdamW with a global gradient norm, supervised training and checkpoints.
//!
//! - [`Decoder`] is the only model definition. Its forward pass is a few coarse operations ([`ops`]).
//! - [`sample`] is the only way to generate; it runs on the host from the decoder's own weights and
//!   returns the log-probability of every token, so no second pass over the old policy is needed.
//! - [`Checkpoint`] turns weights into safetensors bytes and back; [`stories`] reads the published
//!   `stories260K` model into the same decoder.
//!
//! Invariants: no file or network access (bytes in, bytes out), no clock, no environment, never burn's
//! global random generator: initial weights and sampled tokens come from named streams.
//!
//! ```
//! use headwater_core::{Check, Streams};
//! use headwater_nn::{Decoder, DecoderConfig, Device, SamplingConfig, sample};
//!
//! let shape = DecoderConfig { vocabulary: 11, width: 16, ..DecoderConfig::default() }.check()?;
//! let streams = Streams::new(1);
//! let policy = Decoder::initialise(&shape, &mut streams.stream("weights", &[]), &Device::flex());
//! let sampling = SamplingConfig { max_new_tokens: 4, ..SamplingConfig::default() }.check()?;
//! let groups = sample(&policy, &[vec![1, 5, 6]], 3, &sampling, &streams)?;
//! assert_eq!(groups[0].len(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adamw;
mod checkpoint;
mod decoder;
mod device;
mod error;
mod gradients;
pub mod ops;
mod sampler;
mod shape;
pub mod stories;
mod supervised;
mod weights;

pub use adamw::{AdamW, AdamWConfig, AdamWSettings};
pub use burn::tensor::Device;
pub use checkpoint::{Checkpoint, pack, unpack, unpack_values};
pub use decoder::Decoder;
#[cfg(feature = "cuda")]
pub use device::cuda;
#[cfg(feature = "wgpu")]
pub use device::wgpu;
pub use error::NnError;
pub use gradients::ModuleGradients;
pub use ops::TokenScores;
pub use sampler::{Completion, Sampling, SamplingConfig, sample};
pub use shape::{DecoderConfig, DecoderShape};
pub use supervised::{
    Decay, Schedule, SequenceBatch, supervised_loss, supervised_step, supervised_training,
};
pub use weights::{NamedTensor, named_tensors};
