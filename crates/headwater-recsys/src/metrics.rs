//! What a feedback loop does to exposure, to users, and to what a click says of a position.

mod calibration;
mod exposure;
mod stability;

pub use calibration::{PositionCalibration, calibration_by_position};
pub use exposure::{
    average_popularity, coverage, effective_items, exposure, gini, normalised_entropy,
    popularity_lift,
};
pub use stability::{amplification, jaccard, kendall_tau, mean_jaccard};
