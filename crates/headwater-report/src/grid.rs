//! What a table shows, in values.

use headwater_protocol::Effect;
use headwater_protocol::number::{fixed, interval};

use crate::ReportError;

/// One value of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum GridValue {
    /// Words.
    Text(String),
    /// A number with that many digits after the point.
    Number(f64, usize),
    /// A mean over seeds with its 95% t interval.
    Effect(Effect),
    /// Nothing belongs here.
    Absent,
    /// The arm has no record: it was not run, or it failed.
    NoRecord,
    /// The arm has records and they have no such metric, with the text that names it.
    NoMetric(String),
}

impl From<&str> for GridValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for GridValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Effect> for GridValue {
    fn from(effect: Effect) -> Self {
        Self::Effect(effect)
    }
}

impl GridValue {
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

/// A table in values.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    pub(crate) title: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<GridValue>>,
    pub(crate) note: String,
}

impl Grid {
    /// An empty table with those column heads.
    pub fn new<S: Into<String>>(
        title: impl Into<String>,
        columns: impl IntoIterator<Item = S>,
    ) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        Self { title: title.into(), columns, rows: Vec::new(), note: String::new() }
    }

    /// Adds a row, one value per column.
    #[must_use]
    pub fn row(mut self, values: impl IntoIterator<Item = GridValue>) -> Self {
        self.rows.push(values.into_iter().collect());
        self
    }

    /// A sentence under the table, e.g. the unit.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// One text per column whose metric is missing from every arm that has records: the table asks
    /// for something that no cell measures.
    pub(crate) fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (at, column) in self.columns.iter().enumerate() {
            let values = || self.rows.iter().filter_map(|row| row.get(at));
            let has_some = values().any(|value| {
                matches!(value, GridValue::Effect(_) | GridValue::Number(..) | GridValue::Text(_))
            });
            let lacking = values().find_map(|value| match value {
                GridValue::NoMetric(why) => Some(why),
                _ => None,
            });
            if let Some(why) = lacking.filter(|_| !has_some) {
                let title = &self.title;
                missing.push(format!("table `{title}`, column `{column}`: no arm has it; {why}"));
            }
        }
        missing
    }

    /// For each value of a row its n, if another of the table has more; before the row where all of
    /// its have the same.
    pub(crate) fn fewer(&self, row: &[GridValue]) -> Vec<Option<usize>> {
        let n = |value: &GridValue| match value {
            GridValue::Effect(effect) => Some(effect.n),
            _ => None,
        };
        let most = self.rows.iter().flatten().filter_map(n).max();
        let mut fewer: Vec<_> =
            row.iter().map(|value| n(value).filter(|n| Some(*n) < most)).collect();
        let mut all: Vec<_> = row.iter().filter_map(n).collect();
        all.dedup();
        if let ([n], Some(GridValue::Text(_))) = (&all[..], row.first())
            && Some(*n) < most
        {
            fewer.fill(None);
            fewer[0] = Some(*n);
        }
        fewer
    }

    /// Some interval of it is over two seeds.
    pub(crate) fn has_pairs(&self) -> bool {
        let is_pair = |value: &GridValue| matches!(value, GridValue::Effect(e) if e.n == 2);
        self.rows.iter().flatten().any(is_pair)
    }

    /// Checks that every row has one value per column.
    pub(crate) fn check(&self) -> Result<(), ReportError> {
        match self.rows.iter().find(|row| row.len() != self.columns.len()) {
            None => Ok(()),
            Some(row) => Err(ReportError::TableRow {
                table: self.title.clone(),
                row: row.first().map(GridValue::text).unwrap_or_default(),
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
            GridValue::Effect(Effect::over_seeds(&values).unwrap())
        };
        let table = Grid::new("T", ["arm", "x", "y"])
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
        let effect = || GridValue::Effect(Effect::over_seeds(&[1.0, 2.0, 3.0]).unwrap());
        let no_metric = || GridValue::NoMetric("no scalar `ec`".into());
        let table = Grid::new("T", ["arm", "some", "none", "empty"])
            .row(["a".into(), effect(), no_metric(), GridValue::Absent])
            .row(["b".into(), no_metric(), GridValue::NoRecord, GridValue::Absent]);
        assert_eq!(table.missing(), ["table `T`, column `none`: no arm has it; no scalar `ec`"]);
        assert_eq!(table.rows[1][2].text(), "no record");
        // Nothing was measured at all: that is not the table's fault.
        assert!(Grid::new("T", ["a"]).row([GridValue::NoRecord]).missing().is_empty());
    }
}
