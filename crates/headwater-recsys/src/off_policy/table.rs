//! Reads a logged bandit from a table of comma-separated values.

use std::collections::HashMap;
use std::io::Read;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::{
    BanditColumns, Column, MODEL_LOGGED, MODEL_TARGET, ModelColumns, PROPENSITY, REWARD, SESSION,
    TARGET, UNSUPPORTED_MASS,
};
use crate::error::RecsysError;

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub struct BanditTable {
    /// The columns that are known.
    pub columns: BanditColumns,
    /// Names of columns that were left aside; show them to the user, a misspelt name is among them.
    pub ignored: Vec<String>,
}

/// Reads a log of decisions: a header, then a line for each.
///
/// | column | | holds |
/// |---|---|---|
/// | `reward` | needed | what the decision earned, e.g. 1 for a click |
/// | `propensity` | needed | probability of the action under the policy that logged it, in (0, 1] |
/// | `target` | needed | probability of the same action under the policy to be evaluated, in [0, 1] |
/// | `model_logged`, `model_target` | both or none | a reward model's prediction for the logged action, and its mean over the target's actions |
/// | `unsupported_mass` | optional | mass of the target on actions the logging policy never takes there, in [0, 1] |
/// | `session` | optional | any text; decisions with the same one share luck |
///
/// The order of columns is free, others are ignored. `source_name` is what errors call the table.
///
/// # Errors
/// A missing or repeated column, a line with another number of cells than the header, or a cell that its column may not hold,
/// each named by line and column; bytes that are no UTF-8; no lines.
pub fn read_bandit(mut reader: impl Read, source_name: &str) -> Result<BanditTable, RecsysError> {
    let row_error =
        |line, reason| RecsysError::Row { source_name: source_name.to_owned(), line, reason };
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(|error| row_error(1, error.to_string()))?;
    let mut reader =
        ReaderBuilder::new().flexible(true).trim(Trim::All).from_reader(bytes.as_slice());
    let unreadable = |error: csv::Error| {
        row_error(error.position().map_or(1, |at| line_of(&bytes, at)), error.to_string())
    };
    let header: Vec<String> =
        reader.headers().map_err(unreadable)?.iter().map(str::to_owned).collect();
    let layout = Layout::new(source_name, &header)?;
    let mut columns = BanditColumns {
        model: layout.model.map(|_| ModelColumns::default()),
        unsupported_mass: layout.unsupported_mass.map(|_| Vec::new()),
        session: layout.session.map(|_| Vec::new()),
        ..BanditColumns::default()
    };
    let mut sessions = HashMap::new();
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(unreadable)? {
        let line = || record.position().map_or(1, |at| line_of(&bytes, at));
        if record.len() != header.len() {
            let (found, expected) = (record.len(), header.len());
            return Err(row_error(line(), format!("{found} cells: the header has {expected}")));
        }
        let cell = |at: usize, column: &Column| match record[at].parse() {
            Ok(value) if (column.holds)(value) => Ok(value),
            _ => Err(RecsysError::Cell {
                source_name: source_name.to_owned(),
                line: line(),
                column: column.name.to_owned(),
                reason: format!("`{}`: allowed is {}", &record[at], column.allowed),
            }),
        };
        columns.reward.push(cell(layout.reward, &REWARD)?);
        columns.propensity.push(cell(layout.propensity, &PROPENSITY)?);
        columns.target.push(cell(layout.target, &TARGET)?);
        if let (Some((logged, target)), Some(model)) = (layout.model, &mut columns.model) {
            model.logged.push(cell(logged, &MODEL_LOGGED)?);
            model.target.push(cell(target, &MODEL_TARGET)?);
        }
        if let (Some(at), Some(mass)) = (layout.unsupported_mass, &mut columns.unsupported_mass) {
            mass.push(cell(at, &UNSUPPORTED_MASS)?);
        }
        if let (Some(at), Some(session)) = (layout.session, &mut columns.session) {
            let next = sessions.len();
            session.push(*sessions.entry(record[at].to_owned()).or_insert(next));
        }
    }
    if columns.reward.is_empty() {
        return Err(row_error(1, "no lines after the header".to_owned()));
    }
    Ok(BanditTable { columns, ignored: layout.ignored })
}

/// The line on which a record begins. The parser's own number is that of the empty lines it skipped before.
fn line_of(bytes: &[u8], at: &csv::Position) -> u64 {
    let start = (at.byte() as usize).min(bytes.len());
    let skipped = bytes[start..].iter().take_while(|byte| b"\r\n".contains(byte)).count();
    1 + bytes[..start + skipped].iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// Where the columns stand.
struct Layout {
    reward: usize,
    propensity: usize,
    target: usize,
    model: Option<(usize, usize)>,
    unsupported_mass: Option<usize>,
    session: Option<usize>,
    ignored: Vec<String>,
}

impl Layout {
    fn new(source_name: &str, header: &[String]) -> Result<Self, RecsysError> {
        let source_name = source_name.to_owned();
        if let Some(twice) = (1..header.len()).find(|&at| header[..at].contains(&header[at])) {
            let reason = "it comes twice in the header".to_owned();
            let column = header[twice].clone();
            return Err(RecsysError::Cell { source_name, line: 1, column, reason });
        }
        let find = |name: &str| header.iter().position(|other| other == name);
        let needed = |column: &'static str| {
            let missing = || RecsysError::MissingColumn {
                source_name: source_name.clone(),
                column,
                header: header.to_vec(),
            };
            find(column).ok_or_else(missing)
        };
        let has_model = [MODEL_LOGGED.name, MODEL_TARGET.name].iter().any(|n| find(n).is_some());
        let model = match has_model {
            true => Some((needed(MODEL_LOGGED.name)?, needed(MODEL_TARGET.name)?)),
            false => None,
        };
        let known = [
            REWARD.name,
            PROPENSITY.name,
            TARGET.name,
            MODEL_LOGGED.name,
            MODEL_TARGET.name,
            UNSUPPORTED_MASS.name,
            SESSION,
        ];
        let unknown = |name: &&String| !known.contains(&name.as_str());
        Ok(Self {
            reward: needed(REWARD.name)?,
            propensity: needed(PROPENSITY.name)?,
            target: needed(TARGET.name)?,
            model,
            unsupported_mass: find(UNSUPPORTED_MASS.name),
            session: find(SESSION),
            ignored: header.iter().filter(unknown).cloned().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BanditTable, RecsysError> {
        read_bandit(text.as_bytes(), "log.csv")
    }

    fn error(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn columns_in_any_order_with_others_between() {
        let table = read(
            "\u{feff}session,target,action,propensity,reward\nb,0.5,x,0.25,1\r\n\"a,1\",0, y ,1,-2.5\nb,1,z,1e-3,0\n",
        )
        .unwrap();
        assert_eq!(table.ignored, ["action"]);
        assert_eq!(table.columns.reward, [1.0, -2.5, 0.0]);
        assert_eq!(table.columns.propensity, [0.25, 1.0, 1e-3]);
        assert_eq!(table.columns.target, [0.5, 0.0, 1.0]);
        assert_eq!(table.columns.session, Some(vec![0, 1, 0]));
        assert_eq!((table.columns.model, table.columns.unsupported_mass), (None, None));
    }

    #[test]
    fn what_is_malformed_is_named_by_line_and_column() {
        assert_eq!(
            error("reward,propensity,target\n1,0.5,0.5\n1,abc,0.5\n"),
            "log.csv, line 3, column `propensity`: `abc`: allowed is a number in (0, 1]"
        );
        assert!(
            error("reward,propensity,target\n1,0,0.5\n")
                .contains("line 2, column `propensity`: `0`")
        );
        assert!(
            error("reward,propensity,target\nNaN,1,0.5\n")
                .contains("line 2, column `reward`: `NaN`")
        );
        assert!(error("reward,propensity,target\n1,1,1.5\n").contains("column `target`: `1.5`"));
        assert!(error("reward,propensity,target\n1,1,\n").contains("column `target`: ``"));
        // Empty lines are skipped, and count.
        let text = "reward,propensity,target\r\n1,1,1\r\n\r\n1,1,2\r\n";
        assert!(error(text).contains("line 4, column `target`"));
        assert_eq!(
            error("reward,propensity,target\n1,1,1\n\n1,1\n"),
            "log.csv, line 4: 2 cells: the header has 3"
        );
        assert!(error("reward,pscore,target\n").contains("no column `propensity`; the header has"));
        assert!(
            error("reward,propensity,target,model_logged\n").contains("no column `model_target`")
        );
        assert!(
            error("reward,reward,propensity,target\n").contains("column `reward`: it comes twice")
        );
        assert!(error("reward,propensity,target\n").contains("no lines"));
        assert!(error("").contains("no column"));
        let no_text = read_bandit(&b"reward,propensity,target\n1,1,1\n\xff,1,1\n"[..], "log.csv");
        assert!(no_text.unwrap_err().to_string().contains("line 3"));
    }
}
