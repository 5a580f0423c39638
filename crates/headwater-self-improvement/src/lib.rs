//! Loops in which a policy learns from its own outputs, the anchors that import information into them, and the
//! measures that tell improvement from collapse.
//!
//! - [`anchor`]: where labels come from, and what each source imports; truth is behind an oracle that counts.
//! - [`gap`], [`replicator`], [`votes`]: what a verifier, or a majority, can gain.
//! - [`classifier`]: the smallest loop that collapses, on every anchor.
//! - Loops over a decoder: [`rejection`] (STaR, ReST-EM), [`majority`] (SRT, TTRL), [`self_judging`] by [`preference`] (self-rewarding, and its
//!   temporal variant), [`spin`], [`proposer_solver`]; [`verification`] is the format in which a decoder judges answers, [`fit`] the update of
//!   loops that filter.
//! - [`collapse`]: models trained on their own outputs, and whether data is replaced or accumulated.
//!
//! Invariants: no file or network access, no clock, no environment. Everything random draws from streams handed in. What is undefined (a gap
//! where nothing is kept, a rate over no samples) is `None` or an error, never 0.
#![forbid(unsafe_code)]

pub mod anchor;
pub mod classifier;
pub mod collapse;
mod error;
pub mod fit;
pub mod gap;
mod generations;
pub mod majority;
pub mod preference;
pub mod proposer_solver;
pub mod rejection;
pub mod replicator;
pub mod self_judging;
pub mod spin;
pub mod verification;
pub mod votes;

pub use error::SelfImprovementError;
pub use generations::Generations;
