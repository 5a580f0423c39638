//! Tables as data.

use crate::number::{fixed, interval};
use crate::{Effect, ProtocolError};

/// One value of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum TableValue {
    /// Words.
    Text(String),
    /// A number with that many digits after the point.
    Number(f64, usize),
    /// A mean over seeds with its 95% t interval.
    Effect(Effect),
    /// Nothing belongs here.
    Absent,
    /// The arm has no record: it was not run, or it failed. From [`crate::Records::value`].
    NoRecord,
    /// The arm has records and they have no such metric, with the text that names it. From
    /// [`crate::Records::value`].
    NoMetric(String),
}

impl From<&str> for TableValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for TableValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Effect> for TableValue {
    fn from(effect: Effect) -> Self {
        Self::Effect(effect)
    }
}

impl TableValue {
    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(value, decimals) => fixed(*value, *decimals),
            Self::Effect(effect) => {
                let (low, high) = effect.interval.unzip();
                interval(effect.estimate, low, high)
            }
            Self::Absent | Self::NoMetric(_) => "–".to_owned(),
            Self::NoRecord => "no record".to_owned(),
        }
    }
}

/// A table of the report.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub(crate) part: String,
    pub(crate) title: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<TableValue>>,
    pub(crate) note: String,
}

impl Table {
    /// An empty table with those column heads.
    pub fn new<S: Into<String>>(
        title: impl Into<String>,
        columns: impl IntoIterator<Item = S>,
    ) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        let part = String::new();
        Self { part, title: title.into(), columns, rows: Vec::new(), note: String::new() }
    }

    /// The part of the finding it belongs to: a heading over its figures and tables.
    #[must_use]
    pub fn part(mut self, part: impl Into<String>) -> Self {
        self.part = part.into();
        self
    }

    /// Adds a row, one value per column.
    #[must_use]
    pub fn row(mut self, values: impl IntoIterator<Item = TableValue>) -> Self {
        self.rows.push(values.into_iter().collect());
        self
    }

    /// A sentence under the table, e.g. the unit.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// One text per column whose metric is missing from every arm that has records: the table asks for
    /// something that no cell measures.
    pub(crate) fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (at, column) in self.columns.iter().enumerate() {
            let values = || self.rows.iter().filter_map(|row| row.get(at));
            let has_some = values().any(|value| {
                matches!(
                    value,
                    TableValue::Effect(_) | TableValue::Number(..) | TableValue::Text(_)
                )
            });
            let lacking = values().find_map(|value| match value {
                TableValue::NoMetric(why) => Some(why),
                _ => None,
            });
            if let Some(why) = lacking.filter(|_| !has_some) {
                let title = &self.title;
                missing.push(format!("table `{title}`, column `{column}`: no arm has it; {why}"));
            }
        }
        missing
    }

    /// Some interval of it is over two seeds.
    /// For each value of a row its n, if another of the table has more; before the row where all of its have the
    /// same.
    pub(crate) fn fewer(&self, row: &[TableValue]) -> Vec<Option<usize>> {
        let n = |value: &TableValue| match value {
            TableValue::Effect(effect) => Some(effect.n),
            _ => None,
        };
        let most = self.rows.iter().flatten().filter_map(n).max();
        let mut fewer: Vec<_> =
            row.iter().map(|value| n(value).filter(|n| Some(*n) < most)).collect();
        let mut all: Vec<_> = row.iter().filter_map(n).collect();
        all.dedup();
        if let ([n], Some(TableValue::Text(_))) = (&all[..], row.first())
            && Some(*n) < most
        {
            fewer.fill(None);
            fewer[0] = Some(*n);
        }
        fewer
    }

    pub(crate) fn has_pairs(&self) -> bool {
        let is_pair = |value: &TableValue| matches!(value, TableValue::Effect(e) if e.n == 2);
        self.rows.iter().flatten().any(is_pair)
    }

    /// Checks that every row has one value per column.
    pub(crate) fn check(&self) -> Result<(), ProtocolError> {
        match self.rows.iter().find(|row| row.len() != self.columns.len()) {
            None => Ok(()),
            Some(row) => Err(ProtocolError::TableRow {
                table: self.title.clone(),
                row: row.first().map(TableValue::text).unwrap_or_default(),
                found: row.len(),
                columns: self.columns.len(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_fewer_seeds_says_so_once_and_a_mixed_one_at_each_value() {
        let over = |n: u32| {
            let values: Vec<f64> = (0..n).map(f64::from).collect();
            TableValue::Effect(Effect::over_seeds(&values).unwrap())
        };
        let table = Table::new("T", ["arm", "x", "y"])
            .row(["all".into(), over(5), over(5)])
            .row(["few".into(), over(3), over(3)])
            .row(["mixed".into(), over(5), over(4)]);
        let fewer: Vec<_> = table.rows.iter().map(|row| table.fewer(row)).collect();
        assert_eq!(fewer[0], [None; 3]);
        assert_eq!(fewer[1], [Some(3), None, None]);
        assert_eq!(fewer[2], [None, None, Some(4)]);
    }

    #[test]
    fn a_metric_that_no_arm_has_is_named_and_an_arm_without_records_excuses_nothing() {
        let effect = || TableValue::Effect(Effect::over_seeds(&[1.0, 2.0, 3.0]).unwrap());
        let no_metric = || TableValue::NoMetric("no scalar `ec`".into());
        let table = Table::new("T", ["arm", "some", "none", "empty"])
            .row(["a".into(), effect(), no_metric(), TableValue::Absent])
            .row(["b".into(), no_metric(), TableValue::NoRecord, TableValue::Absent]);
        assert_eq!(table.missing(), ["table `T`, column `none`: no arm has it; no scalar `ec`"]);
        assert_eq!(table.rows[1][2].text(), "no record");
        // Nothing was measured at all: that is not the table's fault.
        assert!(Table::new("T", ["a"]).row([TableValue::NoRecord]).missing().is_empty());
    }
}
