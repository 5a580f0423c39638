//! Loops in which a policy learns from its own outputs, the anchors that import information into them, and the
//! measures that tell improvement from collapse.
#![forbid(unsafe_code)]

mod error;

pub use error::SelfImprovementError;
