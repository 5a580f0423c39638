//! Every integration test of this crate in one binary.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod advantages;
mod common;
mod critique_grpo;
mod distillation;
mod exact;
mod extremes;
mod losses;
mod objective;
mod trainer;
mod two_contexts;
