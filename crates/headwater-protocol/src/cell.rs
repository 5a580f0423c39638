//! Cells: the unit of work, of caching and of parallelism; and plans of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Display;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Arm, Build, DeviceKind, NotRun, Preset, ProtocolError};

/// One (finding, arm, seed): one deterministic job, one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Id of the finding; empty until the finding's plan is made.
    pub(crate) finding: &'static str,
    /// Id of the experiment that runs it; empty until then.
    pub(crate) experiment: &'static str,
    /// The arm.
    pub arm: Arm,
    /// The seed; arms are compared at equal seeds.
    pub seed: u64,
    /// Everything that decides the result besides code, seed, device and preset. Data sets enter by
    /// their hash: whatever is not in here does not make a record stale.
    pub config: Value,
    /// Arms of the same experiment and seed whose artifacts this cell reads.
    pub needs: Vec<Arm>,
    /// It may be left out at later seeds where no comparison reads its arm: see [`ArmPlan::if_shown`].
    pub(crate) few_seeds: bool,
}

impl Cell {
    /// The config as the type it was made from.
    ///
    /// # Errors
    /// When the JSON does not fit the type.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, ProtocolError> {
        T::deserialize(&self.config)
            .map_err(|source| ProtocolError::Config { arm: self.arm.to_string(), source })
    }
}

/// An arm of a plan: everything of its cells but the seed.
#[derive(Debug, Clone, PartialEq)]
pub struct ArmPlan {
    arm: Arm,
    config: Value,
    needs: Vec<Arm>,
    few_seeds: bool,
}

impl ArmPlan {
    /// An arm without needs, its config from any serialisable value.
    ///
    /// # Errors
    /// When the config does not turn into JSON.
    pub fn new(arm: impl Into<Arm>, config: &impl Serialize) -> Result<Self, ProtocolError> {
        let arm = arm.into();
        let config = serde_json::to_value(config)
            .map_err(|source| ProtocolError::Config { arm: arm.to_string(), source })?;
        Ok(Self { arm, config, needs: Vec::new(), few_seeds: false })
    }

    /// The same with the arms whose artifacts its cells read.
    #[must_use]
    pub fn needing(mut self, arms: impl IntoIterator<Item = impl Into<Arm>>) -> Self {
        self.needs = arms.into_iter().map(Into::into).collect();
        self
    }

    /// The same, which is run at the first [`SHOWN_SEEDS`] seeds only where the arm is shown and no
    /// comparison reads it: what is only shown is worth less time than what decides.
    #[must_use]
    pub fn if_shown(mut self) -> Self {
        self.few_seeds = true;
        self
    }

    pub(crate) fn at(&self, seed: u64) -> Cell {
        let Self { arm, config, needs, few_seeds } = self.clone();
        Cell { finding: "", experiment: "", arm, seed, config, needs, few_seeds }
    }
}

/// Seeds of arms that are only shown: see [`ArmPlan::if_shown`].
pub const SHOWN_SEEDS: usize = 3;

/// All cells of an experiment, or of a finding, in the order in which they are started, and what
/// cannot be run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The cells; a needed arm stands before those that need it, so that a plan cannot hold a
    /// cycle.
    pub cells: Vec<Cell>,
    /// Arms that are not run, with the reason.
    pub not_run: Vec<NotRun>,
}

/// What decides every cell of a run alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Conditions {
    pub(crate) preset: Preset,
    pub(crate) device: DeviceKind,
    pub(crate) build: Build,
}

impl Plan {
    /// The cells of `arms`, seed by seed.
    #[must_use]
    pub fn of(seeds: impl IntoIterator<Item = u64>, arms: Vec<ArmPlan>) -> Self {
        let cells = seeds.into_iter().flat_map(|seed| arms.iter().map(move |arm| arm.at(seed)));
        Self { cells: cells.collect(), not_run: Vec::new() }
    }

    /// No cell, for one reason.
    #[must_use]
    pub fn not_run(arms: impl IntoIterator<Item = Arm>, reason: impl Display) -> Self {
        let not_run = arms.into_iter().map(|arm| NotRun::new(arm, &reason));
        Self { cells: Vec::new(), not_run: not_run.collect() }
    }

    /// Checks the plan of `finding` and computes the key of each cell, in plan order.
    ///
    /// The key is the BLAKE3 hash of (finding, arm, seed, config, preset, device, the experiment's
    /// code, compiler, instruction set, keys of the cells it needs): change any of them, or
    /// anything upstream, and the old record no longer counts.
    pub(crate) fn keys(
        &self,
        finding: &'static str,
        conditions: &Conditions,
    ) -> Result<Vec<String>, ProtocolError> {
        check_name(finding, "finding id", finding)?;
        let mut keys = Vec::with_capacity(self.cells.len());
        let mut known: HashMap<(&Arm, u64), String> = HashMap::new();
        for cell in &self.cells {
            check_name(finding, "arm", cell.arm.name())?;
            let needed = cell.needs.iter().map(|needs| {
                known.get(&(needs, cell.seed)).ok_or_else(|| ProtocolError::UnmetNeed {
                    finding: finding.to_owned(),
                    arm: cell.arm.to_string(),
                    seed: cell.seed,
                    needs: needs.to_string(),
                })
            });
            let key = cell_key(cell, conditions, &needed.collect::<Result<Vec<_>, _>>()?);
            if known.insert((&cell.arm, cell.seed), key.clone()).is_some() {
                return Err(ProtocolError::DuplicateCell {
                    finding: finding.to_owned(),
                    arm: cell.arm.to_string(),
                    seed: cell.seed,
                });
            }
            keys.push(key);
        }
        Ok(keys)
    }
}

fn check_name(finding: &str, what: &'static str, name: &str) -> Result<(), ProtocolError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+_-.".contains(c);
    let good =
        (1..=80).contains(&name.len()) && !name.starts_with('.') && name.chars().all(allowed);
    if good {
        return Ok(());
    }
    Err(ProtocolError::BadName { finding: finding.to_owned(), what, name: name.to_owned() })
}

fn cell_key(cell: &Cell, conditions: &Conditions, needs: &[&String]) -> String {
    // One JSON text of everything, so that no two different cells share an encoding.
    let message = serde_json::json!({
        "finding": cell.finding,
        "arm": cell.arm,
        "seed": cell.seed,
        "config": sorted(&cell.config),
        "preset": conditions.preset,
        "device": conditions.device,
        "code_version": conditions.build.code.of(cell.experiment),
        "compiler": conditions.build.compiler,
        "instructions": conditions.build.instructions,
        "needs": needs,
    });
    blake3::hash(sorted(&message).to_string().as_bytes()).to_hex().to_string()
}

/// The same JSON with the keys of every object in order.
///
/// Whether `serde_json` keeps insertion order depends on a feature that any crate of a build may
/// turn on; keys and records must not.
pub(crate) fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<&String, Value> =
                map.iter().map(|(name, value)| (name, sorted(value))).collect();
            Value::Object(ordered.into_iter().map(|(name, v)| (name.clone(), v)).collect())
        }
        Value::Array(values) => Value::Array(values.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// The seeds of a plan, ascending, each once.
pub(crate) fn seeds_of(seeds: impl Iterator<Item = u64>) -> Vec<u64> {
    seeds.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn conditions() -> Conditions {
        Conditions { preset: Preset::Quick, device: DeviceKind::Flex, build: Build::default() }
    }

    fn plan() -> Plan {
        let arm = |arm: &str| ArmPlan::new(arm, &json!({"b": 1, "a": [1.5]})).unwrap();
        Plan::of([0], vec![arm("base"), arm("arm").needing(["base"])])
    }

    #[test]
    fn a_plan_goes_seed_by_seed_through_its_arms() {
        let shown = ArmPlan::new("b", &2).unwrap().needing(["a"]).if_shown();
        let plan = Plan::of(4..6, vec![ArmPlan::new("a", &1).unwrap(), shown]);
        let cells: Vec<_> =
            plan.cells.iter().map(|c| (c.arm.name(), c.seed, c.few_seeds)).collect();
        assert_eq!(cells, [("a", 4, false), ("b", 4, true), ("a", 5, false), ("b", 5, true)]);
        assert_eq!(
            (&plan.cells[1].config, &plan.cells[3].needs[..]),
            (&json!(2), &["a".into()][..])
        );
        let none = Plan::not_run(["a", "b"].map(Arm::from), "no data");
        assert!(none.cells.is_empty());
        assert_eq!(none.not_run, ["a", "b"].map(|arm| NotRun::new(arm, "no data")));
    }

    #[test]
    fn a_key_changes_with_everything_that_decides_the_result_and_with_nothing_else() {
        let keys = |plan: &Plan, at: &Conditions| plan.keys("f", at).unwrap();
        let usual = keys(&plan(), &conditions());
        assert_eq!(usual, keys(&plan(), &conditions()));

        let mut reordered = plan();
        reordered.cells[0].config = json!({"a": [1.5], "b": 1});
        assert_eq!(usual, keys(&reordered, &conditions()));

        let mut config = plan();
        config.cells[0].config = json!({"a": [1.5], "b": 2});
        let changed = keys(&config, &conditions());
        assert_ne!(usual[0], changed[0]);
        assert_ne!(usual[1], changed[1], "what is upstream of a cell is part of its key");

        let built = |change: fn(&mut Build)| {
            let mut other = conditions();
            change(&mut other.build);
            other
        };
        for other in [
            Conditions { preset: Preset::Full, ..conditions() },
            Conditions { device: DeviceKind::Wgpu, ..conditions() },
            built(|build| build.code.workspace.push('w')),
            built(|build| _ = build.code.experiments.insert(String::new(), "w".into())),
            built(|build| build.compiler.push('w')),
            built(|build| build.instructions.push('w')),
        ] {
            let changed = keys(&plan(), &other);
            assert!(usual.iter().zip(&changed).all(|(a, b)| a != b));
        }
        let mut seed = plan();
        seed.cells.iter_mut().for_each(|cell| cell.seed = 1);
        assert_ne!(usual, keys(&seed, &conditions()));
    }

    #[test]
    fn a_plan_that_cannot_work_is_refused_with_the_arm_named() {
        let refused = |change: fn(&mut Plan)| {
            let mut plan = plan();
            change(&mut plan);
            plan.keys("f", &conditions()).unwrap_err().to_string()
        };
        assert_eq!(
            refused(|plan| plan.cells.swap(0, 1)),
            "f: arm `arm`, seed 0 needs arm `base`, which the plan does not place before it"
        );
        assert_eq!(
            refused(|plan| plan.cells[1].arm = "base".into()),
            "f: arm `base`, seed 0 is planned twice"
        );
        assert!(refused(|plan| plan.cells[0].arm = "../up".into()).contains("`../up`"));
        // A need is met by the same seed only.
        assert!(refused(|plan| plan.cells[0].seed = 7).contains("seed 0 needs arm `base`"));
    }
}
