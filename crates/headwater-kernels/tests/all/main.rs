//! Every integration test of this crate in one binary.

mod adamw;
mod common;
mod extremes;
mod halves;
mod mlp;
mod mmoe;
