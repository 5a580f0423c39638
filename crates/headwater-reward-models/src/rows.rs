//! JSON lines of preferences and responses, checked row by row.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Preference, Response, RewardModelError};

/// One line of preferences: `{"id", "prompt", "chosen", "rejected"}`, and optionally `"label"`, `"margin"`,
/// `"chosen_factor"`, `"rejected_factor"`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreferenceRow {
    id: Option<String>,
    prompt: String,
    chosen: String,
    rejected: String,
    label: Option<f64>,
    margin: Option<f64>,
    chosen_factor: Option<f64>,
    rejected_factor: Option<f64>,
}

/// One line of responses: `{"prompt", "response"}`, and optionally `"id"` and a recorded `"score"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// Preferences from JSON lines; `source` names the text in errors.
///
/// A line: `{"prompt": text, "chosen": text, "rejected": text}`, and optionally `"id"` (text, distinct), `"label"` (0 to 1,
/// 1 if left out), `"margin"` (0 or more, 0 if left out), and `"chosen_factor"` with `"rejected_factor"` (numbers, both or none;
/// 0 if left out).
///
/// # Errors
/// The first row that is no such object, lacks a field or has one too many, holds a blank response, a label outside [0, 1],
/// a negative margin or a number that is not finite, or repeats an id: with its line.
pub fn read_preferences(text: &str, source: &str) -> Result<Vec<Preference>, RewardModelError> {
    let mut ids = HashMap::new();
    rows(text, source, |row: PreferenceRow, line| {
        distinct(&mut ids, row.id.as_ref(), line)?;
        not_blank("chosen", &row.chosen)?;
        not_blank("rejected", &row.rejected)?;
        let label = row.label.unwrap_or(1.0);
        within("label", label, 0.0, 1.0, "a number in [0, 1]")?;
        let margin = row.margin.unwrap_or(0.0);
        within("margin", margin, 0.0, f64::MAX, "a finite number of at least 0")?;
        if row.chosen == row.rejected {
            return Err(
                "`rejected` is the same text as `chosen`: allowed are different ones".into()
            );
        }
        if row.chosen_factor.is_some() != row.rejected_factor.is_some() {
            let (one, other) = if row.chosen_factor.is_some() {
                ("chosen_factor", "rejected_factor")
            } else {
                ("rejected_factor", "chosen_factor")
            };
            return Err(format!("`{one}` is given and `{other}` is not: allowed are both or none"));
        }
        let response = |text: String, name: &str, factor: Option<f64>| {
            let factor = factor.unwrap_or(0.0);
            within(name, factor, f64::MIN, f64::MAX, "a finite number")?;
            Ok::<_, String>(Response::new(text).factor(factor))
        };
        Ok(Preference {
            prompt: row.prompt,
            chosen: response(row.chosen, "chosen_factor", row.chosen_factor)?,
            rejected: response(row.rejected, "rejected_factor", row.rejected_factor)?,
            label,
            margin,
        })
    })
}

/// Responses from JSON lines; `source` names the text in errors.
///
/// A line: `{"prompt": text, "response": text}`, and optionally `"id"` (text, distinct) and `"score"` (a number).
///
/// # Errors
/// As [`read_preferences`].
pub fn read_responses(text: &str, source: &str) -> Result<Vec<ResponseRow>, RewardModelError> {
    let mut ids = HashMap::new();
    rows(text, source, |row: ResponseRow, line| {
        distinct(&mut ids, row.id.as_ref(), line)?;
        not_blank("response", &row.response)?;
        if let Some(score) = row.score {
            within("score", score, f64::MIN, f64::MAX, "a finite number")?;
        }
        Ok(row)
    })
}

/// Every line that is not blank, parsed and checked.
fn rows<R: DeserializeOwned, T>(
    text: &str,
    source: &str,
    mut checked: impl FnMut(R, usize) -> Result<T, String>,
) -> Result<Vec<T>, RewardModelError> {
    let mut all = Vec::new();
    // Some editors put a byte-order mark first.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let row = serde_json::from_str(line).map_err(|error| unreadable(line, &error));
        let row = row.and_then(|row| checked(row, at + 1));
        all.push(row.map_err(|reason| RewardModelError::Row {
            source_name: source.to_owned(),
            line: at + 1,
            reason,
        })?);
    }
    if all.is_empty() {
        return Err(RewardModelError::NoRows { source_name: source.to_owned() });
    }
    Ok(all)
}

fn unreadable(line: &str, error: &serde_json::Error) -> String {
    // Several languages write these, and JSON has no such numbers.
    let token = ["NaN", "Infinity"].into_iter().find(|token| {
        line.split([':', ',', '}']).any(|part| part.trim().trim_start_matches('-') == *token)
    });
    let of_field = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line).ok();
    let wrong = of_field.iter().flatten().find_map(|(field, value)| {
        let text = ["id", "prompt", "chosen", "rejected", "response"].contains(&field.as_str());
        let fits = if text { value.is_string() } else { value.is_number() };
        let allowed = if text { "a text" } else { "a finite number" };
        (!fits && error.is_data()).then(|| format!("`{field}` is {value}: allowed is {allowed}"))
    });
    match token {
        Some(token) if error.is_syntax() => format!("{token}: allowed is a finite number"),
        _ if wrong.is_some() && !error.to_string().contains("field") => wrong.unwrap_or_default(),
        _ => error.to_string().replace(" at line 1 column", " at column"),
    }
}

fn distinct(
    seen: &mut HashMap<String, usize>,
    id: Option<&String>,
    line: usize,
) -> Result<(), String> {
    let Some(id) = id else { return Ok(()) };
    match seen.insert(id.clone(), line) {
        None => Ok(()),
        Some(first) => Err(format!("`id` is {id:?}, which line {first} has: ids are distinct")),
    }
}

fn not_blank(field: &str, text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err(format!("`{field}` is {text:?}: allowed is a text that is not blank"));
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
        let read = read_preferences(text, "pairs.jsonl").unwrap();
        assert_eq!((read[0].chosen.factor, read[0].label, read[1].label), (2.0, 1.0, 0.5));
        let rows = read_responses(r#"{"prompt": "", "response": "r", "score": -1}"#, "f").unwrap();
        assert_eq!((rows[0].score, rows[0].id.as_ref()), (Some(-1.0), None));
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
            (r#"{"prompt": "p", "response": "r", "reward": 1}"#, "unknown field `reward`"),
            (r#"{"prompt": "p", "response": null}"#, "`response` is null: allowed is a text"),
            (r#"{"id": 5, "prompt": "p", "response": "r"}"#, "`id` is 5: allowed is a text"),
            (r#"{"prompt": "p", "response": "r", "score": "1"}"#, "`score` is \"1\": allowed is"),
            (r#"{"prompt": "#, "EOF while parsing"),
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
