//! Every integration test of this crate in one binary.

mod adamw;
mod common;
mod halves;
mod mlp;
mod mmoe;
