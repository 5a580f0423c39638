//! Records: what a cell measured, as it lies on disk and as findings read it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cell::{Conditions, seeds_of, sorted};
use crate::{
    Arm, Cell, DeviceKind, Effect, Estimate, Measure, Metrics, Preset, ProtocolError, Scalar,
    Series,
};

/// The record of one cell.
///
/// It holds nothing that differs between two runs of the same cell: no wall time, no date, no host.
/// So the same cell writes the same bytes, and a test can compare files.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) finding: String,
    pub(crate) arm: Arm,
    pub(crate) seed: u64,
    pub(crate) preset: Preset,
    pub(crate) device: DeviceKind,
    pub(crate) code_version: String,
    pub(crate) compiler: String,
    pub(crate) instructions: String,
    pub(crate) config: Value,
    pub(crate) needs: Vec<Arm>,
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
            finding: cell.finding.to_owned(),
            arm: cell.arm.clone(),
            seed: cell.seed,
            preset: conditions.preset,
            device: conditions.device,
            code_version: conditions.build.code.of(cell.experiment).to_owned(),
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

/// The records of one finding, for its comparisons, figures and tables.
#[derive(Debug, Default)]
pub struct Records {
    /// Per seed, per arm.
    metrics: BTreeMap<u64, BTreeMap<Arm, Metrics>>,
}

impl Records {
    /// Records from (arm, seed, metrics); a finding's own tests make them up with this.
    pub fn new(cells: impl IntoIterator<Item = (Arm, u64, Metrics)>) -> Self {
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
    pub fn arms(&self) -> Vec<&Arm> {
        let arms: BTreeSet<&Arm> = self.metrics.values().flat_map(BTreeMap::keys).collect();
        arms.into_iter().collect()
    }

    /// One seed's records; an unknown seed has none.
    #[must_use]
    pub fn seed(&self, seed: u64) -> SeedRecords<'_> {
        SeedRecords { seed, arms: self.metrics.get(&seed) }
    }

    /// A series of one arm by seed, ascending; seeds without it are left out.
    #[must_use]
    pub fn series(&self, arm: &Arm, metric: &Series) -> Vec<(u64, &[f64])> {
        let at = |seed| Some((seed, self.seed(seed).series(arm, metric).ok()?));
        self.metrics.keys().filter_map(|&seed| at(seed)).collect()
    }

    /// A measure by seed, ascending; seeds that lack something it reads, and those at which it has
    /// no value, are left out.
    ///
    /// # Errors
    /// When no seed has it: the error at the first seed at which its arms have records, if there is
    /// such a seed.
    pub fn by_seed(&self, measure: &Measure) -> Result<Vec<(u64, f64)>, ProtocolError> {
        let (mut values, mut missing) = (Vec::new(), None);
        for &seed in self.metrics.keys() {
            match measure.at_seed(&self.seed(seed)) {
                Ok(value) => values.push((seed, value)),
                Err(error) => {
                    let no_record = matches!(error, ProtocolError::NoRecord { .. });
                    let had_record = missing
                        .as_ref()
                        .is_some_and(|known| !matches!(known, ProtocolError::NoRecord { .. }));
                    if missing.is_none() || (!no_record && !had_record) {
                        missing = Some(error);
                    }
                }
            }
        }
        match missing {
            Some(error) if values.is_empty() => Err(error),
            _ => Ok(values),
        }
    }

    /// Mean and 95% t interval of a measure over the seeds that have it.
    ///
    /// # Errors
    /// Those of [`Records::by_seed`], and where there is no record at all.
    pub fn effect(&self, measure: &Measure) -> Result<Effect, ProtocolError> {
        let values: Vec<f64> = self.by_seed(measure)?.into_iter().map(|(_, value)| value).collect();
        if values.is_empty() {
            return Err(ProtocolError::Undefined(format!("{measure}: there are no records")));
        }
        Effect::over_seeds(&values)
    }

    /// Mean and 95% t interval over seeds at each position of a series, as far as every seed
    /// reaches.
    ///
    /// # Errors
    /// When no seed of the arm has the series.
    pub fn series_effect(&self, arm: &Arm, metric: &Series) -> Result<Vec<Effect>, ProtocolError> {
        let series: Vec<&[f64]> =
            self.series(arm, metric).into_iter().map(|(_, values)| values).collect();
        let Some(length) = series.iter().map(|values| values.len()).min() else {
            // Asked of one value, to tell an arm without records from a series that it lacks.
            return Err(self
                .by_seed(&metric.first(arm))
                .err()
                .unwrap_or_else(|| ProtocolError::NoRecord { arm: arm.to_string(), seed: 0 }));
        };
        (0..length)
            .map(|at| {
                Effect::over_seeds(&series.iter().map(|values| values[at]).collect::<Vec<_>>())
            })
            .collect()
    }

    /// A number with its interval over items, as the first seed has it: it is the same at all of
    /// them.
    ///
    /// # Errors
    /// When the arm has no record, or its record no such estimate.
    pub fn estimate(&self, arm: &Arm, metric: &Estimate) -> Result<Effect, ProtocolError> {
        let mut parts = [0.0; 4];
        for (part, scalar) in parts.iter_mut().zip(metric.parts()) {
            *part = self.by_seed(&scalar.of(arm))?.first().map_or(0.0, |(_, value)| *value);
        }
        let [estimate, low, high, items] = parts;
        let interval = Some((low, high));
        Ok(Effect { estimate: Some(estimate), interval, p: None, n: items as usize })
    }
}

/// The records of all arms at one seed.
#[derive(Debug, Clone, Copy)]
pub struct SeedRecords<'a> {
    seed: u64,
    arms: Option<&'a BTreeMap<Arm, Metrics>>,
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
    /// [`ProtocolError::NoRecord`] when the arm has no record at this seed,
    /// [`ProtocolError::NoMetric`] when its record has no such scalar.
    pub fn scalar(&self, arm: &Arm, metric: &Scalar) -> Result<f64, ProtocolError> {
        let value = self.metrics(arm)?.scalars.get(metric.name()).copied();
        value.ok_or_else(|| self.lacks(arm, "scalar", metric.name()))
    }

    /// A series that `arm` recorded.
    ///
    /// # Errors
    /// As for [`SeedRecords::scalar`].
    pub fn series(&self, arm: &Arm, metric: &Series) -> Result<&'a [f64], ProtocolError> {
        let values = self.metrics(arm)?.series.get(metric.name()).map(Vec::as_slice);
        values.ok_or_else(|| self.lacks(arm, "series", metric.name()))
    }

    fn metrics(&self, arm: &Arm) -> Result<&'a Metrics, ProtocolError> {
        let metrics = self.arms.and_then(|arms| arms.get(arm));
        metrics.ok_or_else(|| ProtocolError::NoRecord { arm: arm.to_string(), seed: self.seed })
    }

    /// That the record of `arm` does not have something, with what it has of the kind.
    pub(crate) fn lacks(&self, arm: &Arm, kind: &'static str, metric: &str) -> ProtocolError {
        let metrics = match self.metrics(arm) {
            Ok(metrics) => metrics,
            Err(error) => return error,
        };
        let names: Vec<&str> = match kind {
            "scalar" => metrics.scalars.keys().map(String::as_str).collect(),
            _ => metrics.series.keys().map(String::as_str).collect(),
        };
        let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let (arm, metric) = (arm.to_string(), metric.to_owned());
        ProtocolError::NoMetric { arm, seed: self.seed, kind, metric, has }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ArmPlan, Build};
    use proptest::prelude::*;

    fn record(value: f64) -> Record {
        let cell = ArmPlan::new("a", &serde_json::json!({"z": 1, "b": value})).unwrap().at(3);
        let conditions =
            Conditions { preset: Preset::Smoke, device: DeviceKind::Flex, build: Build::default() };
        let metrics = Metrics::new()
            .scalar(&Scalar::new("m"), value)
            .series(&Series::new("s"), [value, -value]);
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
        const ECE: Scalar = Scalar::new("ece");
        const CURVE: Series = Series::new("curve");
        const A: Arm = Arm::new("a");
        const B: Arm = Arm::new("b");
        let metrics = |value| Metrics::new().scalar(&ECE, value).series(&CURVE, [value, 1.0]);
        let records =
            Records::new([(A, 0, metrics(1.0)), (A, 1, metrics(3.0)), (B, 1, metrics(2.0))]);
        assert_eq!(records.by_seed(&ECE.of(A)).unwrap(), [(0, 1.0), (1, 3.0)]);
        assert_eq!(records.by_seed(&ECE.difference(A, B)).unwrap(), [(1, 1.0)]);
        assert_eq!(records.arms(), [&A, &B]);
        assert_eq!(records.effect(&ECE.of(A)).unwrap().estimate, Some(2.0));
        assert_eq!(records.series_effect(&A, &CURVE).unwrap()[1].interval, Some((1.0, 1.0)));
        let message = |measure: Measure| records.effect(&measure).unwrap_err().to_string();
        assert_eq!(message(ECE.of("c")), "arm `c` has no record at seed 0");
        assert_eq!(
            message(Scalar::new("brier").of(B)),
            "the record of arm `b`, seed 1 has no scalar `brier`; it has: ece"
        );
        let error = records.series_effect(&B, &Series::new("path")).unwrap_err().to_string();
        assert_eq!(error, "the record of arm `b`, seed 1 has no series `path`; it has: curve");
        assert!(records.series_effect(&"c".into(), &CURVE).is_err());
        assert!(Records::default().effect(&ECE.of(A)).is_err());
    }

    #[test]
    fn an_estimate_over_items_is_read_back_with_its_interval() {
        const SHARE: Estimate = Estimate::new("share");
        let interval = headwater_evaluation::Interval {
            estimate: 0.5,
            low: 0.4,
            high: 0.6,
            level: 0.95,
            n: 40,
        };
        let arm = Arm::new("a");
        let records = Records::new([(arm.clone(), 0, Metrics::new().estimate(&SHARE, &interval))]);
        let effect = records.estimate(&arm, &SHARE).unwrap();
        assert_eq!((effect.estimate, effect.interval), (Some(0.5), Some((0.4, 0.6))));
        assert_eq!(effect.n, 40);
        assert!(records.estimate(&arm, &Estimate::new("rate")).is_err());
    }
}
