//! Cells: the unit of work, of caching and of parallelism. What goes in, what comes out.

use std::collections::{BTreeMap, HashMap, HashSet};

use headwater_core::Streams;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Build, DeviceKind, NotRun, Preset, ProtocolError};

/// One (finding, arm, seed): one deterministic job, one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Id of the finding.
    pub finding: String,
    /// Name of the arm; part of a file name.
    pub arm: String,
    /// The seed; arms are compared at equal seeds.
    pub seed: u64,
    /// Everything that decides the result besides code, seed, device and preset. Data sets enter by
    /// their hash: whatever is not in here does not make a record stale.
    pub config: Value,
    /// Arms of the same finding and seed whose artifacts this cell reads.
    pub needs: Vec<String>,
}

impl Cell {
    /// A cell without needs, its config from any serialisable value.
    ///
    /// # Errors
    /// When the config does not turn into JSON.
    pub fn new(
        finding: &str,
        arm: &str,
        seed: u64,
        config: &impl Serialize,
    ) -> Result<Self, ProtocolError> {
        let config = serde_json::to_value(config)
            .map_err(|source| ProtocolError::Config { arm: arm.to_owned(), source })?;
        Ok(Self { finding: finding.into(), arm: arm.into(), seed, config, needs: Vec::new() })
    }

    /// The same cell with the arms whose artifacts it reads.
    #[must_use]
    pub fn needing(mut self, arms: &[&str]) -> Self {
        self.needs = arms.iter().map(|&arm| arm.to_owned()).collect();
        self
    }

    /// The config as the type it was made from.
    ///
    /// # Errors
    /// When the JSON does not fit the type.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, ProtocolError> {
        T::deserialize(&self.config)
            .map_err(|source| ProtocolError::Config { arm: self.arm.clone(), source })
    }
}

/// All cells of a finding in the order in which they are started, and what cannot be run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The cells; a needed arm stands before those that need it, so that a plan cannot hold a cycle.
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
    /// Checks the plan of `finding` and computes the key of each cell, in plan order.
    ///
    /// The key is the BLAKE3 hash of (finding, arm, seed, config, preset, device, code version, compiler,
    /// instruction set, keys of the cells it needs): change any of them, or anything upstream, and the old
    /// record no longer counts.
    pub(crate) fn keys(
        &self,
        finding: &str,
        conditions: &Conditions,
    ) -> Result<Vec<String>, ProtocolError> {
        check_name(finding, "finding id", finding)?;
        let mut keys = Vec::with_capacity(self.cells.len());
        let mut known: HashMap<(&str, u64), String> = HashMap::new();
        for cell in &self.cells {
            if cell.finding != finding {
                return Err(ProtocolError::ForeignCell {
                    finding: finding.to_owned(),
                    found: cell.finding.clone(),
                });
            }
            check_name(finding, "arm", &cell.arm)?;
            let needed = cell.needs.iter().map(|needs| {
                known.get(&(needs.as_str(), cell.seed)).ok_or_else(|| ProtocolError::UnmetNeed {
                    finding: finding.to_owned(),
                    arm: cell.arm.clone(),
                    seed: cell.seed,
                    needs: needs.clone(),
                })
            });
            let key = cell_key(cell, conditions, &needed.collect::<Result<Vec<_>, _>>()?);
            if known.insert((&cell.arm, cell.seed), key.clone()).is_some() {
                return Err(ProtocolError::DuplicateCell {
                    finding: finding.to_owned(),
                    arm: cell.arm.clone(),
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
        "code_version": conditions.build.code_version,
        "compiler": conditions.build.compiler,
        "instructions": conditions.build.instructions,
        "needs": needs,
    });
    blake3::hash(sorted(&message).to_string().as_bytes()).to_hex().to_string()
}

/// The same JSON with the keys of every object in order.
///
/// Whether `serde_json` keeps insertion order depends on a feature that any crate of a build may turn
/// on; keys and records must not.
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

/// What a cell computes with, beside its config.
#[derive(Debug)]
pub struct Workbench {
    /// Random streams derived from finding and seed *only*: every arm of a seed that asks for the same
    /// name gets the same prompts and the same initialisation.
    pub streams: Streams,
    /// Where to compute.
    pub device: DeviceKind,
    /// How much to compute. Part of the cell's key.
    pub preset: Preset,
    artifacts: BTreeMap<String, Vec<u8>>,
}

impl Workbench {
    /// A workbench as the scheduler makes it; `artifacts` by name of the arm that left them.
    #[must_use]
    pub fn new(
        finding: &str,
        seed: u64,
        device: DeviceKind,
        preset: Preset,
        artifacts: BTreeMap<String, Vec<u8>>,
    ) -> Self {
        let streams = Streams::new(seed).child(finding, &[]);
        Self { streams, device, preset, artifacts }
    }

    /// The artifact that `arm` left at this cell's seed.
    ///
    /// # Errors
    /// When the cell did not declare `arm` in its needs, or the arm left none.
    pub fn artifact(&self, arm: &str) -> Result<&[u8], ProtocolError> {
        self.artifacts.get(arm).map(Vec::as_slice).ok_or_else(|| ProtocolError::NoArtifact {
            arm: arm.to_owned(),
            has: self.artifacts.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        })
    }
}

/// What a cell leaves behind.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Everything measured.
    pub metrics: Metrics,
    /// Bytes for the cells that need this one, e.g. a base checkpoint.
    pub artifact: Option<Vec<u8>>,
}

impl Outcome {
    /// Metrics and bytes for the cells that need this one.
    #[must_use]
    pub fn with_artifact(metrics: Metrics, artifact: Vec<u8>) -> Self {
        Self { metrics, artifact: Some(artifact) }
    }
}

impl From<Metrics> for Outcome {
    fn from(metrics: Metrics) -> Self {
        Self { metrics, artifact: None }
    }
}

/// Named numbers and named series of numbers, all finite, each name used once.
///
/// Building never fails, so that calls chain; [`Metrics::check`], which the scheduler calls before it
/// writes anything, tells what was wrong first.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    pub(crate) scalars: BTreeMap<String, f64>,
    pub(crate) series: BTreeMap<String, Vec<f64>>,
    #[serde(skip)]
    problem: Option<ProtocolError>,
}

impl Metrics {
    /// No metrics yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one number.
    #[must_use]
    pub fn scalar(mut self, name: impl Into<String>, value: f64) -> Self {
        let name = name.into();
        if !value.is_finite() {
            self.note(ProtocolError::NotFinite { metric: name.clone(), value });
        }
        // -0 + 0 is 0: nobody wants to read -0 in a record.
        if self.scalars.insert(name.clone(), value + 0.0).is_some() {
            self.note(ProtocolError::DuplicateMetric(name));
        }
        self
    }

    /// Adds a series of numbers, e.g. one per step or per k.
    #[must_use]
    pub fn series(mut self, name: impl Into<String>, mut values: Vec<f64>) -> Self {
        let name = name.into();
        values.iter_mut().for_each(|value| *value += 0.0);
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let metric = format!("{name}[{at}]");
            self.note(ProtocolError::NotFinite { metric, value: values[at] });
        }
        if self.series.insert(name.clone(), values).is_some() {
            self.note(ProtocolError::DuplicateMetric(name));
        }
        self
    }

    fn note(&mut self, problem: ProtocolError) {
        self.problem.get_or_insert(problem);
    }

    /// The metrics, if all of them are finite and no name was used twice.
    ///
    /// # Errors
    /// The first problem met while building, naming the metric.
    pub fn check(mut self) -> Result<Self, ProtocolError> {
        match self.problem.take() {
            Some(problem) => Err(problem),
            None => Ok(self),
        }
    }
}

/// The seeds of a plan, ascending, each once.
pub(crate) fn seeds_of(seeds: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut seeds: Vec<u64> = seeds.collect::<HashSet<_>>().into_iter().collect();
    seeds.sort_unstable();
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;
    use serde_json::json;

    fn conditions() -> Conditions {
        Conditions { preset: Preset::Quick, device: DeviceKind::Flex, build: Build::default() }
    }

    fn plan() -> Plan {
        let cell = |arm: &str| Cell::new("f", arm, 0, &json!({"b": 1, "a": [1.5]})).unwrap();
        Plan { cells: vec![cell("base"), cell("arm").needing(&["base"])], not_run: vec![] }
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
            built(|build| build.code_version.push('w')),
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
        assert!(refused(|plan| plan.cells[0].finding = "g".into()).contains("finding `g`"));
        // A need is met by the same seed only.
        assert!(refused(|plan| plan.cells[0].seed = 7).contains("seed 0 needs arm `base`"));
    }

    #[test]
    fn metrics_that_are_not_finite_or_recorded_twice_are_named() {
        let problem = |metrics: Metrics| metrics.check().unwrap_err().to_string();
        assert_eq!(
            problem(Metrics::new().scalar("ok", 1.0).scalar("ece", f64::NAN)),
            "metric `ece` is NaN, which is not a finite number"
        );
        assert_eq!(
            problem(Metrics::new().series("reward", vec![0.0, f64::INFINITY])),
            "metric `reward[1]` is inf, which is not a finite number"
        );
        assert_eq!(
            problem(Metrics::new().scalar("a", 1.0).scalar("a", 1.0)),
            "metric `a` is recorded twice in one cell"
        );
        assert!(Metrics::new().scalar("a", 1.0).series("a", vec![]).check().is_ok());
        let zeros = Metrics::new().scalar("a", -0.0).series("b", vec![-0.0, -1.0]);
        let text = serde_json::to_string(&zeros.check().unwrap()).unwrap();
        assert_eq!(text, r#"{"scalars":{"a":0.0},"series":{"b":[0.0,-1.0]}}"#);
    }

    #[test]
    fn streams_depend_on_finding_and_seed_only() {
        let first = |finding: &str, seed, device| -> u64 {
            let workbench = Workbench::new(finding, seed, device, Preset::Smoke, BTreeMap::new());
            workbench.streams.stream("prompts", &[]).random()
        };
        assert_eq!(first("f", 1, DeviceKind::Flex), first("f", 1, DeviceKind::Wgpu));
        assert_ne!(first("f", 1, DeviceKind::Flex), first("f", 2, DeviceKind::Flex));
        assert_ne!(first("f", 1, DeviceKind::Flex), first("g", 1, DeviceKind::Flex));
    }
}
