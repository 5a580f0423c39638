//! What a cell records.

use std::collections::{BTreeMap, BTreeSet};

use headwater_evaluation::Interval;
use serde::{Deserialize, Serialize};

use crate::{Estimate, Metric, ProtocolError, Scalar, Series};

/// Named numbers and named series of numbers, all finite, each name used once.
///
/// Building never fails, so that calls chain; [`Metrics::check`], which the scheduler calls before
/// it writes anything, tells what was wrong first.
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
    pub fn scalar(mut self, metric: &Scalar, value: f64) -> Self {
        let name = metric.name().to_owned();
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
    pub fn series(mut self, metric: &Series, values: impl Into<Vec<f64>>) -> Self {
        let (name, mut values) = (metric.name().to_owned(), values.into());
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

    /// Adds a number with an interval over items, as four scalars.
    #[must_use]
    pub fn estimate(mut self, metric: &Estimate, interval: &Interval) -> Self {
        let Interval { estimate, low, high, n, .. } = *interval;
        for (part, value) in metric.parts().iter().zip([estimate, low, high, n as f64]) {
            self = self.scalar(part, value);
        }
        self
    }

    /// The first name in it that is not among `declared`.
    pub(crate) fn undeclared(&self, declared: &[Metric]) -> Option<&str> {
        let mut scalars = BTreeSet::new();
        let mut series = BTreeSet::new();
        for metric in declared {
            match metric {
                Metric::Scalar(metric) => _ = scalars.insert(metric.name().to_owned()),
                Metric::Series(metric) => _ = series.insert(metric.name().to_owned()),
                Metric::Estimate(metric) => {
                    scalars.extend(metric.parts().map(|part| part.name().to_owned()));
                }
            }
        }
        let scalar = self.scalars.keys().find(|name| !scalars.contains(*name));
        scalar
            .or_else(|| self.series.keys().find(|name| !series.contains(*name)))
            .map(String::as_str)
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

#[cfg(test)]
mod tests {
    use super::*;

    const A: Scalar = Scalar::new("a");
    const B: Series = Series::new("b");

    #[test]
    fn metrics_that_are_not_finite_or_recorded_twice_are_named() {
        let problem = |metrics: Metrics| metrics.check().unwrap_err().to_string();
        assert_eq!(
            problem(Metrics::new().scalar(&A, 1.0).scalar(&Scalar::new("ece"), f64::NAN)),
            "metric `ece` is NaN, which is not a finite number"
        );
        assert_eq!(
            problem(Metrics::new().series(&B, [0.0, f64::INFINITY])),
            "metric `b[1]` is inf, which is not a finite number"
        );
        assert_eq!(
            problem(Metrics::new().scalar(&A, 1.0).scalar(&A, 1.0)),
            "metric `a` is recorded twice in one cell"
        );
        assert!(Metrics::new().scalar(&A, 1.0).series(&Series::new("a"), []).check().is_ok());
        let zeros = Metrics::new().scalar(&A, -0.0).series(&B, [-0.0, -1.0]);
        let text = serde_json::to_string(&zeros.check().unwrap()).unwrap();
        assert_eq!(text, r#"{"scalars":{"a":0.0},"series":{"b":[0.0,-1.0]}}"#);
    }

    #[test]
    fn what_was_not_declared_is_found_by_name_and_kind() {
        let both = || Metrics::new().scalar(&A, 1.0).series(&B, [1.0]);
        let declared = crate::metrics![A, B];
        assert_eq!(both().undeclared(&declared), None);
        assert_eq!(both().undeclared(&declared[1..]), Some("a"));
        assert_eq!(both().undeclared(&[Metric::from(A), Scalar::new("b").into()]), Some("b"));
        let estimate = Estimate::new("share");
        let interval = Interval { estimate: 0.5, low: 0.4, high: 0.6, level: 0.95, n: 9 };
        let metrics = Metrics::new().estimate(&estimate, &interval);
        assert_eq!(metrics.scalars["share, items"], 9.0);
        assert_eq!(metrics.undeclared(&[estimate.into()]), None);
    }
}
