//! Every integration test of this crate in one binary.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod directory;
mod events;
mod machinery;
mod synthetic;
