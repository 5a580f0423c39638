//! Tables as data: which measures of which arms. [`Table::grid`] fills in the numbers.

use std::collections::BTreeSet;

use headwater_protocol::{
    Arm, Effect, Estimate, Measure, ProtocolError, Read, Records, Scalar, Series,
};

use crate::{Grid, GridValue, ReportError};

/// An arm under the name that a reader sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledArm {
    /// What tables and figures call it.
    pub label: String,
    /// The arm.
    pub arm: Arm,
}

impl From<Arm> for LabelledArm {
    fn from(arm: Arm) -> Self {
        Self { label: arm.to_string(), arm }
    }
}

impl From<&Arm> for LabelledArm {
    fn from(arm: &Arm) -> Self {
        arm.clone().into()
    }
}

impl<S: Into<String>> From<(S, Arm)> for LabelledArm {
    fn from((label, arm): (S, Arm)) -> Self {
        Self { label: label.into(), arm }
    }
}

/// One value of a table before its numbers.
#[derive(Debug, Clone)]
pub enum Value {
    /// Words.
    Text(String),
    /// A number with that many digits after the point.
    Number(f64, usize),
    /// A mean over seeds with its interval.
    Measure(Measure),
    /// The same of what may be absent everywhere without being a defect, e.g. a rate among none.
    Rare(Measure),
    /// The mean over seeds alone, with that many digits after the point.
    Mean(Measure, usize),
    /// A number with its interval over items.
    Estimate(Estimate, Arm),
    /// A mean over seeds that was computed already.
    Effect(Effect),
    /// Nothing belongs here.
    Blank,
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Measure> for Value {
    fn from(measure: Measure) -> Self {
        Self::Measure(measure)
    }
}

impl From<Effect> for Value {
    fn from(effect: Effect) -> Self {
        Self::Effect(effect)
    }
}

impl Value {
    fn reads(&self) -> BTreeSet<Read> {
        match self {
            Self::Measure(measure) | Self::Rare(measure) | Self::Mean(measure, _) => {
                measure.reads()
            }
            // The estimate is recorded under its own name, its interval beside it.
            Self::Estimate(metric, arm) => {
                [Scalar::from(metric.name().to_owned()).read(arm)].into_iter().collect()
            }
            Self::Text(_) | Self::Number(..) | Self::Effect(_) | Self::Blank => BTreeSet::new(),
        }
    }

    fn filled(&self, records: &Records) -> GridValue {
        let or_missing = |found: Result<GridValue, ProtocolError>| match found {
            Ok(value) => value,
            Err(ProtocolError::NoRecord { .. }) => GridValue::NoRecord,
            Err(ProtocolError::Undefined(_)) => GridValue::Absent,
            Err(error) => GridValue::NoMetric(error.to_string()),
        };
        match self {
            Self::Text(text) => GridValue::Text(text.clone()),
            Self::Number(value, decimals) => GridValue::Number(*value, *decimals),
            Self::Measure(measure) => or_missing(records.effect(measure).map(GridValue::Effect)),
            Self::Rare(measure) => match or_missing(records.effect(measure).map(GridValue::Effect))
            {
                GridValue::NoMetric(_) => GridValue::Absent,
                value => value,
            },
            Self::Mean(measure, decimals) => or_missing(records.effect(measure).map(|effect| {
                effect.estimate.map_or(GridValue::Absent, |mean| GridValue::Number(mean, *decimals))
            })),
            Self::Estimate(metric, arm) => {
                or_missing(records.estimate(arm, metric).map(GridValue::Effect))
            }
            Self::Effect(effect) => GridValue::Effect(*effect),
            Self::Blank => GridValue::Absent,
        }
    }
}

/// What a column shows of the arm of its row.
#[derive(Debug, Clone)]
pub struct Column {
    heading: String,
    shows: Shows,
}

#[derive(Debug, Clone)]
enum Shows {
    Scalar(Scalar),
    Rare(Scalar),
    At(Series, usize),
    Last(Series),
    Less(Scalar, Arm),
    Estimate(Estimate),
    Mean(Scalar, usize),
}

impl Column {
    fn new(heading: impl Into<String>, shows: Shows) -> Self {
        Self { heading: heading.into(), shows }
    }

    /// A metric that may be absent everywhere without being a defect, e.g. a rate among none.
    #[must_use]
    pub fn rare(metric: Scalar) -> Self {
        Self::new(metric.label(), Shows::Rare(metric.clone()))
    }

    /// One position of a series, counted from 0.
    #[must_use]
    pub fn at(heading: impl Into<String>, series: &Series, position: usize) -> Self {
        Self::new(heading, Shows::At(series.clone(), position))
    }

    /// The last value of a series.
    #[must_use]
    pub fn last(heading: impl Into<String>, series: &Series) -> Self {
        Self::new(heading, Shows::Last(series.clone()))
    }

    /// A metric less that of another arm, paired by seed.
    #[must_use]
    pub fn less(metric: Scalar, against: impl Into<Arm>) -> Self {
        Self::new(metric.label(), Shows::Less(metric.clone(), against.into()))
    }

    /// The mean over seeds alone, with that many digits after the point.
    #[must_use]
    pub fn mean(metric: Scalar, decimals: usize) -> Self {
        Self::new(metric.label(), Shows::Mean(metric.clone(), decimals))
    }

    /// The same column under another heading.
    #[must_use]
    pub fn headed(mut self, heading: impl Into<String>) -> Self {
        self.heading = heading.into();
        self
    }

    /// What stands over it.
    #[must_use]
    pub fn heading(&self) -> &str {
        &self.heading
    }

    /// Its value in the row of `arm`.
    #[must_use]
    pub fn of(&self, arm: &Arm) -> Value {
        match &self.shows {
            Shows::Scalar(metric) => metric.of(arm).into(),
            Shows::Rare(metric) => Value::Rare(metric.of(arm)),
            Shows::At(series, position) => series.at(*position, arm).into(),
            Shows::Last(series) => series.last(arm).into(),
            Shows::Less(metric, against) => metric.difference(arm, against).into(),
            Shows::Estimate(metric) => Value::Estimate(metric.clone(), arm.clone()),
            Shows::Mean(metric, decimals) => Value::Mean(metric.of(arm), *decimals),
        }
    }
}

impl From<Scalar> for Column {
    fn from(metric: Scalar) -> Self {
        Self::new(metric.label(), Shows::Scalar(metric.clone()))
    }
}

impl From<&Scalar> for Column {
    fn from(metric: &Scalar) -> Self {
        metric.clone().into()
    }
}

impl From<Estimate> for Column {
    fn from(metric: Estimate) -> Self {
        Self::new(metric.label(), Shows::Estimate(metric.clone()))
    }
}

impl From<&Estimate> for Column {
    fn from(metric: &Estimate) -> Self {
        metric.clone().into()
    }
}

/// A table before its numbers.
#[derive(Debug, Clone)]
pub struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
    note: String,
}

impl Table {
    /// An empty table with those column heads.
    pub fn new<S: Into<String>>(
        title: impl Into<String>,
        columns: impl IntoIterator<Item = S>,
    ) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        Self { title: title.into(), columns, rows: Vec::new(), note: String::new() }
    }

    /// One row for each arm, with its label under `head` and then its value in every column.
    pub fn of_arms<A: Into<LabelledArm>, C: Into<Column>>(
        title: impl Into<String>,
        head: impl Into<String>,
        arms: impl IntoIterator<Item = A>,
        columns: impl IntoIterator<Item = C>,
    ) -> Self {
        let columns: Vec<Column> = columns.into_iter().map(Into::into).collect();
        let heads = columns.iter().map(|column| column.heading.clone());
        let mut table = Self::new(title, std::iter::once(head.into()).chain(heads));
        for LabelledArm { label, arm } in arms.into_iter().map(Into::into) {
            let values = columns.iter().map(|column| column.of(&arm));
            table = table.row(std::iter::once(Value::from(label)).chain(values));
        }
        table
    }

    /// Adds a row, one value per column.
    #[must_use]
    pub fn row(mut self, values: impl IntoIterator<Item = Value>) -> Self {
        self.rows.push(values.into_iter().collect());
        self
    }

    /// A sentence under the table, e.g. the unit. Which rows have fewer seeds is said by itself.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// What it is called.
    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    /// Everything it reads.
    pub(crate) fn reads(&self) -> BTreeSet<Read> {
        self.rows.iter().flatten().flat_map(Value::reads).collect()
    }

    /// The table with its numbers.
    ///
    /// # Errors
    /// When a row has another number of values than there are columns.
    pub fn grid(&self, records: &Records) -> Result<Grid, ReportError> {
        let mut grid = Grid::new(&self.title, &self.columns).note(&self.note);
        for row in &self.rows {
            grid = grid.row(row.iter().map(|value| value.filled(records)));
        }
        grid.check()?;
        Ok(grid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_protocol::Metrics;

    const SCORE: Scalar = Scalar::labelled("score", "true score");
    const RATE: Scalar = Scalar::new("rate");
    const CURVE: Series = Series::new("curve");

    fn records() -> Records {
        let cells = ["a", "b"].into_iter().flat_map(|arm| (0..3).map(move |seed| (arm, seed)));
        Records::new(cells.map(|(arm, seed)| {
            let x = if arm == "a" { 1.0 } else { 3.0 } + seed as f64;
            let metrics = Metrics::new().scalar(&SCORE, x).series(&CURVE, [x, 2.0 * x]);
            (arm.into(), seed, metrics)
        }))
    }

    #[test]
    fn columns_are_headed_by_their_labels_and_filled_for_every_arm() {
        let columns = [
            Column::from(SCORE),
            Column::at("second", &CURVE, 1),
            Column::last("last", &CURVE),
            Column::less(SCORE, "b").headed("less b"),
            Column::mean(SCORE, 1).headed("mean"),
            Column::rare(RATE),
        ];
        let arms = [LabelledArm::from(Arm::new("a")), ("the other", Arm::new("b")).into()];
        let table = Table::of_arms("T", "arm", arms, columns).row([Value::from("none")]);
        assert_eq!(table.reads().len(), 6);
        assert!(table.grid(&records()).is_err(), "a short row");
        let mut table = table;
        table.rows.pop();
        let grid = table.grid(&records()).unwrap();
        assert_eq!(grid.columns[..4], ["arm", "true score", "second", "last"]);
        let texts: Vec<Vec<String>> =
            grid.rows.iter().map(|row| row.iter().map(GridValue::text).collect()).collect();
        let [first, second] = &texts[..] else { panic!("two rows") };
        assert_eq!((first[0].as_str(), second[0].as_str()), ("a", "the other"));
        assert!(first[1].starts_with("2.0") && first[2].starts_with("4.0"), "{first:?}");
        assert_eq!(first[2], first[3]);
        assert!(first[4].starts_with("\u{2212}2"), "{first:?}");
        assert_eq!((first[5].as_str(), first[6].as_str()), ("2.0", "\u{2013}"));
        assert!(grid.missing().is_empty());
    }

    #[test]
    fn an_arm_without_records_is_told_from_a_metric_that_is_not_there() {
        let table = Table::new("T", ["arm", "score", "rate"])
            .row(["a".into(), SCORE.of("a").into(), RATE.of("a").into()])
            .row(["c".into(), SCORE.of("c").into(), Value::Blank]);
        let grid = table.grid(&records()).unwrap();
        assert_eq!(grid.rows[1][1], GridValue::NoRecord);
        assert!(matches!(&grid.rows[0][2], GridValue::NoMetric(why) if why.contains("`rate`")));
        assert_eq!(grid.missing().len(), 1);
    }
}
