//! What the experiments of `causal-rewards` share: the methods, the probes, and plans of arms that
//! read data sets.

use headwater_protocol::{Arm, Cell, NotRun, Plan, ProtocolError, Settings};
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
    let mut plan = Plan::default();
    let mut runnable = Vec::new();
    for (arm, config) in arms {
        let located = sets(&config).iter().map(|set| data.locate(set));
        match located.collect::<Result<Vec<_>, DataError>>() {
            Ok(_) => runnable.push((arm, config)),
            Err(missing) => plan.not_run.push(NotRun::new(arm, missing)),
        }
    }
    for seed in settings.seed_range(SEEDS) {
        for (arm, config) in &runnable {
            plan.cells.push(Cell::new(arm, seed, config)?);
        }
    }
    Ok(plan)
}
