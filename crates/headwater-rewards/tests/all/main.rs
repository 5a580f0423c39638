//! Every integration test of this crate in one binary.

mod calibrated;
mod composition;
mod forms;
mod reflective;
mod shaping;
mod verifiable;
