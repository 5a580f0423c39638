//! Records: what a cell measured, as it lies on disk and as findings read it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cell::{Conditions, seeds_of, sorted};
use crate::{Cell, DeviceKind, Effect, Metrics, Preset, ProtocolError, TableValue};

/// The record of one cell.
///
/// It holds nothing that differs between two runs of the same cell: no wall time, no date, no host. So
/// the same cell writes the same bytes, and a test can compare files.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) finding: String,
    pub(crate) arm: String,
    pub(crate) seed: u64,
    pub(crate) preset: Preset,
    pub(crate) device: DeviceKind,
    pub(crate) code_version: String,
    pub(crate) compiler: String,
    pub(crate) instructions: String,
    pub(crate) config: Value,
    pub(crate) needs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) artifact_hash: Option<String>,
    pub(crate) metrics: Metrics,
    /// BLAKE3 of the record without this field: a digit that flipped on disk still parses.
    pub(crate) checksum: String,
}

impl Record {
    pub(crate) fn new(
        key: &str,
        cell: &Cell,
        conditions: &Conditions,
        artifact: Option<&[u8]>,
        metrics: Metrics,
    ) -> Self {
        let mut record = Self {
            key: key.to_owned(),
            finding: cell.finding.clone(),
            arm: cell.arm.clone(),
            seed: cell.seed,
            preset: conditions.preset,
            device: conditions.device,
            code_version: conditions.build.code_version.clone(),
            compiler: conditions.build.compiler.clone(),
            instructions: conditions.build.instructions.clone(),
            config: sorted(&cell.config),
            needs: cell.needs.clone(),
            artifact_hash: artifact.map(|bytes| blake3::hash(bytes).to_hex().to_string()),
            metrics,
            checksum: String::new(),
        };
        record.checksum = record.expected_checksum();
        record
    }

    /// Reads a record and checks that it is whole and that it is the one named `key`.
    pub(crate) fn parse(bytes: &[u8], key: &str) -> Result<Self, String> {
        let record: Self =
            serde_json::from_slice(bytes).map_err(|error| format!("it does not parse: {error}"))?;
        if record.key != key {
            return Err(format!("it is the record of cell {}, not of {key}", record.key));
        }
        if record.checksum != record.expected_checksum() {
            return Err("its content does not match its checksum".to_owned());
        }
        Ok(record)
    }

    /// The text on disk.
    pub(crate) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a record is plain JSON data");
        text.push('\n');
        text
    }

    fn expected_checksum(&self) -> String {
        let mut value = serde_json::to_value(self).expect("a record is plain JSON data");
        value["checksum"] = Value::String(String::new());
        blake3::hash(sorted(&value).to_string().as_bytes()).to_hex().to_string()
    }
}

/// The records of one finding, for its contrasts, figures and tables.
#[derive(Debug, Default)]
pub struct Records {
    /// Per seed, per arm.
    metrics: BTreeMap<u64, BTreeMap<String, Metrics>>,
}

impl Records {
    /// Records from (arm, seed, metrics); a finding's own tests make them up with this.
    pub fn new(cells: impl IntoIterator<Item = (String, u64, Metrics)>) -> Self {
        let mut records = Self::default();
        for (arm, seed, metrics) in cells {
            records.metrics.entry(seed).or_default().insert(arm, metrics);
        }
        records
    }

    /// The seeds with at least one record, ascending.
    #[must_use]
    pub fn seeds(&self) -> Vec<u64> {
        seeds_of(self.metrics.keys().copied())
    }

    /// The arms with at least one record, by name.
    #[must_use]
    pub fn arms(&self) -> Vec<&str> {
        let arms: BTreeSet<&str> =
            self.metrics.values().flat_map(|arms| arms.keys().map(String::as_str)).collect();
        arms.into_iter().collect()
    }

    /// True if `arm` has a record at some seed.
    #[must_use]
    pub fn has_arm(&self, arm: &str) -> bool {
        self.metrics.values().any(|arms| arms.contains_key(arm))
    }

    /// One seed's records; an unknown seed has none.
    #[must_use]
    pub fn seed(&self, seed: u64) -> SeedRecords<'_> {
        SeedRecords { seed, arms: self.metrics.get(&seed) }
    }

    /// A scalar of one arm by seed, ascending; seeds without it are left out.
    #[must_use]
    pub fn metric(&self, arm: &str, name: &str) -> Vec<(u64, f64)> {
        let at = |seed| Some((seed, self.seed(seed).scalar(arm, name).ok()?));
        self.metrics.keys().filter_map(|&seed| at(seed)).collect()
    }

    /// A series of one arm by seed, ascending; seeds without it are left out.
    #[must_use]
    pub fn series(&self, arm: &str, name: &str) -> Vec<(u64, &[f64])> {
        let at = |seed| Some((seed, self.seed(seed).series(arm, name).ok()?));
        self.metrics.keys().filter_map(|&seed| at(seed)).collect()
    }

    /// Mean and 95% t interval over seeds of a scalar.
    ///
    /// # Errors
    /// When no seed of the arm has the scalar.
    pub fn effect(&self, arm: &str, name: &str) -> Result<Effect, ProtocolError> {
        let values: Vec<f64> = self.metric(arm, name).into_iter().map(|(_, value)| value).collect();
        if values.is_empty() {
            return Err(self.absent(arm, "scalar", name));
        }
        Effect::over_seeds(&values)
    }

    /// Mean and 95% t interval over seeds at each position of a series, as far as every seed reaches.
    ///
    /// # Errors
    /// When no seed of the arm has the series.
    pub fn series_effect(&self, arm: &str, name: &str) -> Result<Vec<Effect>, ProtocolError> {
        let series = self.series(arm, name);
        let length = series.iter().map(|(_, values)| values.len()).min();
        let length = length.ok_or_else(|| self.absent(arm, "series", name))?;
        (0..length)
            .map(|at| {
                let values: Vec<f64> = series.iter().map(|(_, values)| values[at]).collect();
                Effect::over_seeds(&values)
            })
            .collect()
    }

    /// [`Records::effect`] as one value of a table, which tells an arm without records from a metric that the
    /// arm's records do not have. A metric that no arm of a table has is reported as a defect.
    #[must_use]
    pub fn value(&self, arm: &str, name: &str) -> TableValue {
        Self::as_value(self.effect(arm, name))
    }

    /// The same of one position of a series, counted from 0.
    #[must_use]
    pub fn value_at(&self, arm: &str, name: &str, at: usize) -> TableValue {
        let effect = self.series_effect(arm, name).and_then(|effects| {
            effects.get(at).copied().ok_or_else(|| {
                let name = format!("{name}[{at}]");
                self.absent(arm, "series", &name)
            })
        });
        Self::as_value(effect)
    }

    fn as_value(effect: Result<Effect, ProtocolError>) -> TableValue {
        match effect {
            Ok(effect) => TableValue::Effect(effect),
            Err(ProtocolError::NoRecord { .. }) => TableValue::NoRecord,
            Err(error) => TableValue::NoMetric(error.to_string()),
        }
    }

    fn absent(&self, arm: &str, kind: &'static str, name: &str) -> ProtocolError {
        let any = self.metrics.keys().copied().find(|&seed| self.seed(seed).metrics(arm).is_ok());
        let seed = any.unwrap_or_default();
        match self.seed(seed).metrics(arm) {
            Ok(metrics) => no_metric(arm, seed, kind, name, metrics),
            Err(error) => error,
        }
    }
}

/// The records of all arms at one seed.
#[derive(Debug, Clone, Copy)]
pub struct SeedRecords<'a> {
    seed: u64,
    arms: Option<&'a BTreeMap<String, Metrics>>,
}

impl<'a> SeedRecords<'a> {
    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A number that `arm` recorded.
    ///
    /// # Errors
    /// [`ProtocolError::NoRecord`] when the arm has no record at this seed, [`ProtocolError::NoMetric`]
    /// when its record has no such scalar.
    pub fn scalar(&self, arm: &str, name: &str) -> Result<f64, ProtocolError> {
        let metrics = self.metrics(arm)?;
        let value = metrics.scalars.get(name).copied();
        value.ok_or_else(|| no_metric(arm, self.seed, "scalar", name, metrics))
    }

    /// A series that `arm` recorded.
    ///
    /// # Errors
    /// As for [`SeedRecords::scalar`].
    pub fn series(&self, arm: &str, name: &str) -> Result<&'a [f64], ProtocolError> {
        let metrics = self.metrics(arm)?;
        let values = metrics.series.get(name).map(Vec::as_slice);
        values.ok_or_else(|| no_metric(arm, self.seed, "series", name, metrics))
    }

    /// `scalar(arm) - scalar(against)`: the paired difference most contrasts are.
    ///
    /// # Errors
    /// As for [`SeedRecords::scalar`].
    pub fn difference(&self, name: &str, arm: &str, against: &str) -> Result<f64, ProtocolError> {
        Ok(self.scalar(arm, name)? - self.scalar(against, name)?)
    }

    fn metrics(&self, arm: &str) -> Result<&'a Metrics, ProtocolError> {
        let metrics = self.arms.and_then(|arms| arms.get(arm));
        metrics.ok_or_else(|| ProtocolError::NoRecord { arm: arm.to_owned(), seed: self.seed })
    }
}

fn no_metric(
    arm: &str,
    seed: u64,
    kind: &'static str,
    metric: &str,
    metrics: &Metrics,
) -> ProtocolError {
    let names: Vec<&str> = match kind {
        "scalar" => metrics.scalars.keys().map(String::as_str).collect(),
        _ => metrics.series.keys().map(String::as_str).collect(),
    };
    let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    ProtocolError::NoMetric { arm: arm.into(), seed, kind, metric: metric.into(), has }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Build;
    use proptest::prelude::*;

    fn record(value: f64) -> Record {
        let cell = Cell::new("f", "a", 3, &serde_json::json!({"z": 1, "b": value})).unwrap();
        let conditions =
            Conditions { preset: Preset::Smoke, device: DeviceKind::Flex, build: Build::default() };
        let metrics = Metrics::new().scalar("m", value).series("s", vec![value, -value]);
        Record::new("k", &cell, &conditions, Some(b"weights"), metrics)
    }

    proptest! {
        #[test]
        fn a_record_survives_the_disk_bit_for_bit(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let text = record(value).to_json();
            let read = Record::parse(text.as_bytes(), "k").unwrap();
            prop_assert_eq!(read.metrics.scalars["m"].to_bits(), value.to_bits());
            prop_assert_eq!(read.to_json(), text);
        }

        #[test]
        fn a_damaged_record_is_never_taken_for_a_whole_one(at in 0usize..10_000, flip in 1u8..128) {
            let mut bytes = record(0.123_456_789).to_json().into_bytes();
            let at = at % bytes.len();
            // White space outside strings carries nothing, so damage to it may pass.
            prop_assume!(!bytes[at].is_ascii_whitespace());
            bytes[at] ^= flip;
            let whole = Record::parse(&bytes, "k");
            prop_assert!(whole.is_err(), "flipped byte {at}");
        }
    }

    #[test]
    fn a_truncated_or_foreign_record_is_refused_with_the_reason() {
        let text = record(1.0).to_json();
        assert!(
            Record::parse(&text.as_bytes()[..text.len() / 2], "k").unwrap_err().contains("parse")
        );
        assert!(
            Record::parse(text.as_bytes(), "other")
                .unwrap_err()
                .contains("of cell k, not of other")
        );
    }

    #[test]
    fn what_is_absent_is_named_beside_what_there_is() {
        let metrics = |value| Metrics::new().scalar("ece", value).series("curve", vec![value, 1.0]);
        let records = Records::new([
            ("a".to_owned(), 0, metrics(1.0)),
            ("a".to_owned(), 1, metrics(3.0)),
            ("b".to_owned(), 1, metrics(2.0)),
        ]);
        assert_eq!(records.metric("a", "ece"), vec![(0, 1.0), (1, 3.0)]);
        assert_eq!(records.arms(), vec!["a", "b"]);
        assert_eq!(records.effect("a", "ece").unwrap().estimate, Some(2.0));
        assert_eq!(records.series_effect("a", "curve").unwrap()[1].interval, Some((1.0, 1.0)));
        assert_eq!(records.seed(1).difference("ece", "a", "b").unwrap(), 1.0);
        assert_eq!(
            records.seed(0).scalar("b", "ece").unwrap_err().to_string(),
            "arm `b` has no record at seed 0"
        );
        assert_eq!(
            records.effect("b", "brier").unwrap_err().to_string(),
            "the record of arm `b`, seed 1 has no scalar `brier`; it has: ece"
        );
        assert_eq!(records.value("a", "ece"), records.effect("a", "ece").unwrap().into());
        assert_eq!(records.value("c", "ece"), TableValue::NoRecord);
        assert!(
            matches!(records.value("a", "brier"), TableValue::NoMetric(why) if why.contains("`brier`"))
        );
        assert!(matches!(records.value_at("a", "curve", 1), TableValue::Effect(_)));
        assert!(
            matches!(records.value_at("a", "curve", 2), TableValue::NoMetric(why) if why.contains("`curve[2]`"))
        );
    }
}
