//! Every integration test of this crate in one binary.

mod bias_judges;
mod bias_length;
mod bias_scores;
mod calibration;
mod decision;
mod diversity;
mod exploitation;
mod intervals;
mod intervals_clustered;
mod simulation;
