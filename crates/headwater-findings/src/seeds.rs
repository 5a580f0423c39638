//! At how many seeds an arm is run.

/// Seeds of arms that no contrast and no control reads; how many the others have, each finding says.
pub(crate) const SHOWN_SEEDS: u64 = 3;
