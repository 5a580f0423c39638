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
/// Columns as the Open Bandit Dataset and its tools call them (`click`, `propensity_score`,
/// `pscore`) are not taken for these: the error says which to rename.
///
/// # Errors
/// A missing or repeated column, a line with another number of cells than the header, or a cell that its column may not hold,
/// each named by line and column; bytes that are no UTF-8; no lines.
pub fn read_bandit(mut reader: impl Read, source_name: &str) -> Result<BanditTable, RecsysError> {
    let row_error =
        |line, reason| RecsysError::Row { source_name: source_name.to_owned(), line, reason };
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(|error| row_error(1, error.to_string()))?;
    if let Err(error) = std::str::from_utf8(&bytes) {
        let line = 1 + newlines(&bytes[..error.valid_up_to()]);
        return Err(row_error(line, "not UTF-8: save the table in that encoding".to_owned()));
    }
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
                reason: format!("{}: allowed is {}", shown(&record[at]), column.allowed),
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

/// A text in backquotes, a long one cut short.
fn shown(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        None => format!("`{text}`"),
        Some((end, _)) => format!("`{}...` ({} characters)", &text[..end], text.chars().count()),
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// What other tools call a column, and what is to be known of one that no log has.
fn hint(missing: &[&'static str], header: &[String]) -> String {
    const OTHERS: [(&str, &[&str]); 2] = [
        (REWARD.name, &["click", "clicks", "clicked"]),
        (PROPENSITY.name, &["propensity_score", "pscore", "action_prob", "logging_prob"]),
    ];
    let mut hint = String::new();
    for column in missing {
        let others = OTHERS.iter().find(|(name, _)| name == column).map_or(&[][..], |(_, o)| *o);
        if let Some(other) = others.iter().find(|other| header.iter().any(|name| name == *other)) {
            hint += &format!("; `{other}` seems to be it: rename it to `{column}`");
        }
        if *column == TARGET.name {
            hint += "; `target` is the probability of the logged action under the policy to be \
                     evaluated, which a log does not have: add it";
        }
    }
    hint
}

/// The line on which a record begins. The parser's own number is that of the empty lines it skipped before.
fn line_of(bytes: &[u8], at: &csv::Position) -> u64 {
    let start = (at.byte() as usize).min(bytes.len());
    let skipped = bytes[start..].iter().take_while(|byte| b"\r\n".contains(byte)).count();
    1 + newlines(&bytes[..start + skipped])
}

/// Column names that an error shows at most.
const MOST_NAMES: usize = 20;

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
            let column = shown(&header[twice]).trim_matches('`').to_owned();
            return Err(RecsysError::Cell { source_name, line: 1, column, reason });
        }
        let find = |name: &str| header.iter().position(|other| other == name);
        let mut needed = vec![REWARD.name, PROPENSITY.name, TARGET.name];
        let model = [MODEL_LOGGED.name, MODEL_TARGET.name];
        let has_model = model.iter().any(|name| find(name).is_some());
        needed.extend(model.iter().filter(|_| has_model));
        let missing: Vec<&str> = needed.into_iter().filter(|name| find(name).is_none()).collect();
        let at = |column: &Column| {
            find(column.name).ok_or_else(|| {
                let quoted = |name: &&str| shown(name);
                let list = |names: &[&str]| names.iter().map(quoted).collect::<Vec<_>>().join(", ");
                let names: Vec<&str> = header.iter().map(String::as_str).collect();
                let first = list(&names[..names.len().min(MOST_NAMES)]);
                let more = names.len().saturating_sub(MOST_NAMES);
                RecsysError::MissingColumn {
                    source_name: source_name.clone(),
                    columns: list(&missing),
                    header: if more > 0 { format!("{first} and {more} more") } else { first },
                    hint: hint(&missing, header),
                }
            })
        };
        let model = match has_model {
            true => Some((at(&MODEL_LOGGED)?, at(&MODEL_TARGET)?)),
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
            reward: at(&REWARD)?,
            propensity: at(&PROPENSITY)?,
            target: at(&TARGET)?,
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
    fn the_open_bandit_datasets_own_columns_are_told_apart_from_what_is_needed() {
        let text = error("timestamp,item_id,position,click,propensity_score\n0,1,1,0,0.1\n");
        for part in [
            "no column `reward`, `propensity`, `target`; the header has `timestamp`, `item_id`",
            "`click` seems to be it: rename it to `reward`",
            "`propensity_score` seems to be it: rename it to `propensity`",
            "`target` is the probability of the logged action under the policy to be evaluated",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let text = error("click,propensity,item_id,position,target\n");
        assert!(
            text.contains("no column `reward`; the header has") && text.contains("`click` seems")
        );
        assert!(!text.contains("add it"), "{text}");
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
        let long = format!("reward,propensity,target\n{},1,1\n", "x".repeat(3000));
        assert_eq!(
            error(&long),
            format!(
                "log.csv, line 2, column `reward`: `{}...` (3000 characters): \
                 allowed is a finite number",
                "x".repeat(40)
            )
        );
        let many: Vec<String> = (0..5000).map(|at| format!("column {at}")).collect();
        let text = error(&many.join(","));
        assert!(text.contains("`column 19` and 4980 more") && text.len() < 900, "{text}");
        let no_text = read_bandit(&b"reward,propensity,target\n1,1,1\n\xff,1,1\n"[..], "log.csv");
        assert!(no_text.unwrap_err().to_string().starts_with("log.csv, line 3: not UTF-8"));
        let blank =
            read_bandit(&b"reward,propensity,target\r\n\r\n1,1,1\r\n\r\n\xff,1,1\r\n"[..], "f");
        assert!(blank.unwrap_err().to_string().starts_with("f, line 5: not UTF-8"));
    }
}
