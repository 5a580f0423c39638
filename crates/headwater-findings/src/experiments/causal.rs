//! What the experiments of `causal-rewards` share: the methods, the probes, and plans of arms that
//! read data sets.

use headwater_protocol::{Arm, ArmPlan, NotRun, Plan, ProtocolError, Settings};
use serde::Serialize;

use headwater_data::{DataDir, DataError};

pub(super) mod methods;
pub(super) mod probe;

/// Seeds of the quick preset.
pub(super) const SEEDS: usize = 5;

/// Every arm at every seed, but those that lack one of the sets that they read.
pub(super) fn plan<C: Serialize>(
    arms: Vec<(Arm, C)>,
    sets: impl Fn(&C) -> &'static [&'static str],
    data: &DataDir,
    settings: &Settings,
) -> Result<Plan, ProtocolError> {
    let mut not_run = Vec::new();
    let mut planned = Vec::new();
    for (arm, config) in arms {
        let located = sets(&config).iter().map(|set| data.locate(set));
        match located.collect::<Result<Vec<_>, DataError>>() {
            Ok(_) => planned.push(ArmPlan::new(arm, &config)?),
            Err(missing) => not_run.push(NotRun::new(arm, missing)),
        }
    }
    Ok(Plan { not_run, ..Plan::of(settings.seed_range(SEEDS), planned) })
}
