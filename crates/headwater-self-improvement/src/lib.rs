//! Loops in which a policy learns from its own outputs, the anchors that import information into them, and the
//! measures that tell improvement from collapse.
#![forbid(unsafe_code)]

pub mod anchor;
pub mod classifier;
pub mod collapse;
mod error;
pub mod gap;
pub mod replicator;

pub use error::SelfImprovementError;
