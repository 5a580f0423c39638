//! At how many seeds an arm is run.

/// Seeds of arms that contrasts and controls read; [`headwater_protocol::Settings`] decides how many that are.
pub(crate) const ALL_SEEDS: u64 = u64::MAX;

/// Seeds of arms that are only shown.
pub(crate) const SHOWN_SEEDS: u64 = 3;
