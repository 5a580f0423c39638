//! Every integration test of this crate in one binary.

mod check;
mod edits;
mod mean_gap;
mod shipped;
