//! What every Headwater crate shares: named random streams, prompts, samples, groups, scores and
//! checked configs.
//!
//! Invariants: no file or network access, no clock, no environment, no global state, no burn.
//! Everything random in the workspace draws from a [`Streams`] handed in by the caller.
//!
//! ```
//! use headwater_core::{Score, Streams};
//! use rand::RngExt;
//!
//! let streams = Streams::new(7);
//! // The same name and indices give the same numbers, whatever else was drawn before.
//! let a: u64 = streams.stream("rollout", &[3, 1]).random();
//! let _other: u64 = streams.stream("initialise", &[]).random();
//! assert_eq!(a, streams.stream("rollout", &[3, 1]).random::<u64>());
//!
//! // A score that is not a finite number is a failure, never a silent value.
//! assert!(matches!(Score::finite(f64::NAN), Score::Failed(_)));
//! ```
#![forbid(unsafe_code)]

mod config;
mod prompt;
mod sample;
mod score;
mod streams;
mod vocabulary;

pub use config::{
    Check, ConfigError, require, require_finite, require_non_negative, require_positive,
};
pub use prompt::{Example, Prompt};
pub use sample::{Group, Sample};
pub use score::Score;
pub use streams::{StreamRng, Streams};
pub use vocabulary::{BOS, EOS, PAD, Untokenizable, Vocabulary};
