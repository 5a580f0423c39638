//! JSON lines of preferences and responses, checked row by row.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::{Preference, Response, RewardModelError};

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Fields that were left aside, by name; show them to the user, a misspelt one is among them.
    pub ignored: Vec<String>,
}

/// One line of responses: `{"prompt", "response"}`, and optionally `"id"` and a recorded `"score"`.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponseRow {
    /// Name of the row, distinct where given.
    pub id: Option<String>,
    /// The prompt.
    pub prompt: String,
    /// The response, not empty.
    pub response: String,
    /// A score from elsewhere, to be probed beside the model's.
    pub score: Option<f64>,
}

/// Preferences from JSON lines in UTF-8; `source` names the text in errors.
///
/// A line: `{"prompt": text, "chosen": text, "rejected": text}`, and optionally `"id"` (text,
/// distinct), `"label"` (0 to 1, 1 if left out), `"margin"` (0 or more, 0 if left out), and
/// `"chosen_factor"` with `"rejected_factor"` (numbers, both or none; 0 if left out). A null is
/// left out, as exports write it; other fields are ignored, and named in the result.
///
/// # Errors
/// The first row that is no such object, lacks a field, holds a blank response, a label outside [0,
/// 1], a negative margin or a number that is not finite, or repeats an id: with its line.
pub fn read_preferences(
    text: impl AsRef<[u8]>,
    source: &str,
) -> Result<Rows<Preference>, RewardModelError> {
    let mut ids = HashMap::new();
    rows(text.as_ref(), source, |row, line| {
        distinct(&mut ids, row.name("id")?, line)?;
        let (prompt, chosen, rejected) =
            (row.text("prompt")?, row.text("chosen")?, row.text("rejected")?);
        not_blank("chosen", &chosen)?;
        not_blank("rejected", &rejected)?;
        let label = row.number("label")?.unwrap_or(1.0);
        within("label", label, 0.0, 1.0, "a number in [0, 1]")?;
        let margin = row.number("margin")?.unwrap_or(0.0);
        within("margin", margin, 0.0, f64::MAX, "a finite number of at least 0")?;
        if chosen == rejected {
            return Err(
                "`rejected` is the same text as `chosen`: allowed are different ones".into()
            );
        }
        let (of_chosen, of_rejected) =
            (row.number("chosen_factor")?, row.number("rejected_factor")?);
        if of_chosen.is_some() != of_rejected.is_some() {
            let (one, other) = if of_chosen.is_some() {
                ("chosen_factor", "rejected_factor")
            } else {
                ("rejected_factor", "chosen_factor")
            };
            return Err(format!("`{one}` is given and `{other}` is not: allowed are both or none"));
        }
        Ok(Preference {
            prompt,
            chosen: Response::new(chosen).factor(of_chosen.unwrap_or(0.0)),
            rejected: Response::new(rejected).factor(of_rejected.unwrap_or(0.0)),
            label,
            margin,
        })
    })
}

/// Responses from JSON lines in UTF-8; `source` names the text in errors.
///
/// A line: `{"prompt": text, "response": text}`, and optionally `"id"` (text, distinct) and
/// `"score"` (a number). Nulls and other fields as in [`read_preferences`].
///
/// # Errors
/// As [`read_preferences`].
pub fn read_responses(
    text: impl AsRef<[u8]>,
    source: &str,
) -> Result<Rows<ResponseRow>, RewardModelError> {
    let mut ids = HashMap::new();
    rows(text.as_ref(), source, |row, line| {
        let id = row.name("id")?;
        distinct(&mut ids, id.clone(), line)?;
        let (prompt, response) = (row.text("prompt")?, row.text("response")?);
        not_blank("response", &response)?;
        Ok(ResponseRow { id, prompt, response, score: row.number("score")? })
    })
}

/// Every line that is not blank, parsed and checked.
fn rows<T>(
    text: &[u8],
    source: &str,
    mut checked: impl FnMut(&mut Row, usize) -> Result<T, String>,
) -> Result<Rows<T>, RewardModelError> {
    let (mut all, mut ignored) = (Vec::new(), BTreeSet::new());
    // Some editors put a byte-order mark first.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let read = Row::parse(line).and_then(|mut row| {
            let read = checked(&mut row, at + 1)?;
            ignored.extend(row.0.into_iter().map(|(field, _)| field));
            Ok(read)
        });
        all.push(read.map_err(|reason| RewardModelError::Row {
            source_name: source.to_owned(),
            line: at + 1,
            reason,
        })?);
    }
    if all.is_empty() {
        return Err(RewardModelError::NoRows { source_name: source.to_owned() });
    }
    Ok(Rows { rows: all, ignored: ignored.into_iter().collect() })
}

/// The fields of a line that have not been asked for yet.
struct Row(Map<String, Value>);

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Row;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            // A JSON map takes the last of two fields of one name, and says nothing.
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
                let mut fields = Map::new();
                while let Some((field, value)) = map.next_entry::<String, Value>()? {
                    if fields.contains_key(&field) {
                        let field = shown(&Value::String(field));
                        return Err(A::Error::custom(format!("field {field} comes twice")));
                    }
                    fields.insert(field, value);
                }
                Ok(Row(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl Row {
    fn parse(line: &[u8]) -> Result<Self, String> {
        let line = std::str::from_utf8(line)
            .map_err(|error| format!("not UTF-8 from byte {} on", error.valid_up_to() + 1))?;
        if line.trim_start().starts_with('{') {
            return serde_json::from_str(line).map_err(|error| unreadable(line, &error));
        }
        match serde_json::from_str(line) {
            Ok(other) => Err(format!("it is {}: allowed is an object", shown(&other))),
            Err(error) => Err(unreadable(line, &error)),
        }
    }

    /// The field's value, unless it is left out or null.
    fn take(&mut self, field: &str) -> Option<Value> {
        self.0.remove(field).filter(|value| !value.is_null())
    }

    fn name(&mut self, field: &str) -> Result<Option<String>, String> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(format!("`{field}` is {}: allowed is a text", shown(&other))),
        }
    }

    fn text(&mut self, field: &str) -> Result<String, String> {
        match self.0.remove(field) {
            None => Err(format!("missing field `{field}`")),
            Some(Value::String(text)) => Ok(text),
            Some(Value::Array(messages)) if messages.iter().any(|m| m.get("role").is_some()) => {
                Err(format!(
                    "`{field}` is a list of {} messages: allowed is a text; render them by the \
                     model's chat template first",
                    messages.len()
                ))
            }
            Some(other) => Err(format!("`{field}` is {}: allowed is a text", shown(&other))),
        }
    }

    fn number(&mut self, field: &str) -> Result<Option<f64>, String> {
        let Some(value) = self.take(field) else { return Ok(None) };
        let number = value.as_f64().filter(|number| number.is_finite());
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(format!("`{field}` is {}: allowed is a finite number", shown(&value))),
        }
    }
}

/// The first characters of a JSON value; its kind tells enough.
fn shown(value: &Value) -> String {
    const MOST: usize = 40;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        None => text,
        Some((end, _)) => format!("{}... ({} characters)", &text[..end], text.chars().count()),
    }
}

fn unreadable(line: &str, error: &serde_json::Error) -> String {
    // Several languages write these, and JSON has no such numbers.
    let token = ["NaN", "Infinity"].into_iter().find(|token| {
        line.split([':', ',', '}']).any(|part| part.trim().trim_start_matches('-') == *token)
    });
    match token {
        Some(token) if error.is_syntax() => format!("{token}: allowed is a finite number"),
        _ => error.to_string().replace(" at line 1 column", " at column"),
    }
}

fn distinct(
    seen: &mut HashMap<String, usize>,
    id: Option<String>,
    line: usize,
) -> Result<(), String> {
    let Some(id) = id else { return Ok(()) };
    match seen.insert(id.clone(), line) {
        None => Ok(()),
        Some(first) => {
            let id = shown(&Value::String(id));
            Err(format!("`id` is {id}, which line {first} has: ids are distinct"))
        }
    }
}

fn not_blank(field: &str, text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        let text = shown(&Value::String(text.to_owned()));
        return Err(format!("`{field}` is {text}: allowed is a text that is not blank"));
    }
    Ok(())
}

fn within(field: &str, value: f64, low: f64, high: f64, allowed: &str) -> Result<(), String> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(format!("`{field}` is {value}: allowed is {allowed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_rows_are_read() {
        let text = concat!(
            r#"{"prompt": "p", "chosen": "a", "rejected": "b", "chosen_factor": 2, "rejected_factor": 0}"#,
            "\n\n",
            r#"{"id": "x", "prompt": "p", "chosen": "a", "rejected": "b", "label": 0.5}"#,
        );
        let read = read_preferences(text, "pairs.jsonl").unwrap().rows;
        assert_eq!((read[0].chosen.factor, read[0].label, read[1].label), (2.0, 1.0, 0.5));
        let read = read_responses(r#"{"prompt": "", "response": "r", "score": -1}"#, "f").unwrap();
        assert_eq!((read.rows[0].score, read.rows[0].id.as_ref()), (Some(-1.0), None));
        assert!(read.ignored.is_empty());
    }

    #[test]
    fn nulls_are_left_out_and_further_fields_are_named() {
        let text = concat!(
            r#"{"id": null, "prompt": "p", "chosen": "a", "rejected": "b", "label": null, "#,
            r#""margin": null, "chosen_factor": null, "rejected_factor": null, "#,
            r#""score_chosen": 7.5, "source": null}"#,
            "\r\n",
            r#"{"prompt": "p", "chosen": "a", "rejected": "b", "lable": 0, "source": "x"}"#,
        );
        let read = read_preferences(text, "f").unwrap();
        assert_eq!((read.rows[0].label, read.rows[0].margin), (1.0, 0.0));
        assert_eq!(read.ignored, ["lable", "score_chosen", "source"]);
        let response = r#"{"id": null, "prompt": "p", "response": "r", "score": null}"#;
        assert_eq!(read_responses(response, "f").unwrap().rows[0].score, None);

        // Nulls beside what is wrong are not what is blamed.
        let message = |bad: &str| read_preferences(bad, "f").unwrap_err().to_string();
        let bad = concat!(
            r#"{"prompt": "p", "chosen": "a", "rejected": "b", "#,
            r#""chosen_factor": null, "label": "1"}"#,
        );
        assert_eq!(message(bad), "f, line 1: `label` is \"1\": allowed is a finite number");
        let scored = r#"{"id": null, "prompt": "p", "response": "r", "score": "0.7"}"#;
        assert_eq!(
            read_responses(scored, "f").unwrap_err().to_string(),
            "f, line 1: `score` is \"0.7\": allowed is a finite number"
        );
        let message = message(
            r#"{"prompt": "p", "chosen": [{"role": "user", "content": "x"}], "rejected": "b"}"#,
        );
        assert!(
            message.contains("`chosen` is a list of 1 messages: allowed is a text"),
            "{message}"
        );
    }

    #[test]
    fn a_wrong_value_is_cut_short_and_bytes_that_are_no_text_have_a_line() {
        let long = "y".repeat(3000);
        for (bad, wanted) in [
            (
                format!(r#"{{"prompt": "p", "response": "r", "score": "{long}"}}"#),
                "`score` is \"yyy",
            ),
            (format!(r#"{{"prompt": ["{long}"], "response": "r"}}"#), "`prompt` is [\"yyy"),
            (
                format!("{{\"prompt\": \"p\", \"response\": \"{}\"}}", " ".repeat(3000)),
                "`response` is",
            ),
            (format!("\"{long}\""), "it is \"yyy"),
            (format!("[\"{long}\"]"), "allowed is an object"),
        ] {
            let message = read_responses(&bad, "f").unwrap_err().to_string();
            assert!(message.contains(wanted) && message.len() < 150, "{message}");
        }
        let good = r#"{"prompt": "p", "response": "r"}"#;
        let text = [good.as_bytes(), b"\n\n{\"prompt\": \"\xff"].concat();
        assert_eq!(
            read_responses(text, "f").unwrap_err().to_string(),
            "f, line 3: not UTF-8 from byte 13 on"
        );
    }

    #[test]
    fn a_bad_row_is_named_by_file_line_and_field() {
        let good = r#"{"id": "1", "prompt": "p", "response": "r", "score": 0.5}"#;
        let error = |bad: &str| {
            let text = format!("{good}\n{bad}\n");
            read_responses(&text, "rows.jsonl").unwrap_err().to_string()
        };
        let cases = [
            (r#"{"prompt": "p"}"#, "missing field `response`"),
            (r#"{"prompt": "p", "response": " "}"#, "`response` is \" \""),
            (
                r#"{"prompt": "p", "response": "r", "score": NaN}"#,
                "NaN: allowed is a finite number",
            ),
            (r#"{"prompt": "p", "response": "r", "score": 1e999}"#, "number out of range"),
            (good, "`id` is \"1\", which line 1 has"),
            (r#"{"prompt": "p", "response": null}"#, "`response` is null: allowed is a text"),
            (r#"{"id": 5, "prompt": "p", "response": "r"}"#, "`id` is 5: allowed is a text"),
            (r#"{"prompt": "p", "response": "r", "score": "1"}"#, "`score` is \"1\": allowed is"),
            (r#"{"prompt": "#, "EOF while parsing"),
            (r#"{"prompt": "p", "prompt": "q", "response": "r"}"#, "field \"prompt\" comes twice"),
        ];
        for (bad, wanted) in cases {
            let message = error(bad);
            assert!(message.starts_with("rows.jsonl, line 2: "), "{message}");
            assert!(message.contains(wanted), "{message}");
        }
        let pair = r#"{"prompt": "p", "chosen": "a", "rejected": "b", "label": 2}"#;
        let message = read_preferences(pair, "f").unwrap_err().to_string();
        assert_eq!(message, "f, line 1: `label` is 2: allowed is a number in [0, 1]");
        for (bad, wanted) in [
            (r#"{"prompt": "p", "chosen": "a", "rejected": "a"}"#, "the same text as `chosen`"),
            (
                r#"{"prompt": "p", "chosen": "a", "rejected": "b", "chosen_factor": 1}"#,
                "`chosen_factor` is given and `rejected_factor` is not",
            ),
        ] {
            let message = read_preferences(bad, "f").unwrap_err().to_string();
            assert!(message.contains(wanted), "{message}");
        }
        assert_eq!(read_responses("\n", "f").unwrap_err().to_string(), "f: no rows");
    }
}
