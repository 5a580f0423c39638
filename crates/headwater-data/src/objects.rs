//! JSON objects, one a line or in one array, with typed fields.

use std::io::{self, BufRead, BufReader};
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::DataError;
use super::content::{Content, Place};

/// What `each` makes of every line, each a JSON object with exactly these fields, in file order.
///
/// # Errors
/// [`DataError::Row`] for a line that cannot be decompressed, is no such object or has other
/// fields; the first error of `each`.
pub(super) fn lines<T>(
    content: &mut Content,
    fields: &[&str],
    mut each: impl FnMut(&Object<'_>) -> Result<T, DataError>,
) -> Result<Vec<T>, DataError> {
    let mut rows = Vec::new();
    for (at, line) in BufReader::new(&mut content.text).lines().enumerate() {
        let place = Place::line(&content.path, at + 1);
        let line = line.map_err(|error| place.unreadable(&error))?;
        let value = serde_json::from_str(&line).map_err(|error| place.error(error.to_string()))?;
        rows.push(each(&Object::new(place, value, fields)?)?);
    }
    Ok(rows)
}

/// What `each` makes of every object of the one array that the file is, in file order.
///
/// # Errors
/// As [`lines`], with the number of the object in place of the line; [`DataError::Io`] for a file
/// that cannot be decompressed, [`DataError::Row`] for one that is not an array.
pub(super) fn array<T>(
    content: &mut Content,
    fields: &[&str],
    mut each: impl FnMut(&Object<'_>) -> Result<T, DataError>,
) -> Result<Vec<T>, DataError> {
    let text = io::read_to_string(&mut content.text)
        .map_err(|source| DataError::Io { path: content.path.clone(), source })?;
    let value = serde_json::from_str(&text)
        .map_err(|error| Place::line(&content.path, error.line()).error(error.to_string()))?;
    let Value::Array(values) = value else {
        let found = kind(&value);
        let place = Place::line(&content.path, 1);
        return Err(place.error(format!("the file is {found}: allowed is an array of objects")));
    };
    let mut rows = Vec::new();
    for (at, value) in values.into_iter().enumerate() {
        let place = Place { path: &content.path, unit: "record", number: at + 1 };
        rows.push(each(&Object::new(place, value, fields)?)?);
    }
    Ok(rows)
}

/// One object with the fields that its reader named, no more and no less.
pub(super) struct Object<'a> {
    pub(super) place: Place<'a>,
    fields: Map<String, Value>,
}

impl<'a> Object<'a> {
    fn new(place: Place<'a>, value: Value, expected: &[&str]) -> Result<Self, DataError> {
        let fields = match value {
            Value::Object(fields) => fields,
            other => {
                return Err(
                    place.error(format!("it is {}: allowed is a JSON object", kind(&other)))
                );
            }
        };
        if let Some(missing) = expected.iter().find(|name| !fields.contains_key(**name)) {
            return Err(place.error(format!("missing field `{missing}`")));
        }
        if let Some(unknown) = fields.keys().find(|name| !expected.contains(&name.as_str())) {
            let allowed = expected.join(", ");
            return Err(place.error(format!("unknown field `{unknown}`: allowed are {allowed}")));
        }
        Ok(Self { place, fields })
    }

    fn value(&self, field: &str) -> &Value {
        self.fields.get(field).expect("readers ask for fields that they named")
    }

    pub(super) fn text(&self, field: &str) -> Result<String, DataError> {
        let value = self.value(field);
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| self.place.refuse(field, kind(value), "a text"))
    }

    pub(super) fn texts<const N: usize>(&self, field: &str) -> Result<[String; N], DataError> {
        let value = self.value(field);
        let texts: Option<Vec<String>> = value.as_array().and_then(|values| {
            values.iter().map(|value| value.as_str().map(str::to_owned)).collect()
        });
        texts
            .and_then(|texts| texts.try_into().ok())
            .ok_or_else(|| self.place.refuse(field, kind(value), &format!("an array of {N} texts")))
    }

    pub(super) fn choice<T: Copy>(
        &self,
        field: &str,
        choices: &[(&str, T)],
    ) -> Result<T, DataError> {
        self.place.choice(field, &self.text(field)?, choices)
    }

    pub(super) fn number(
        &self,
        field: &str,
        allowed: RangeInclusive<f64>,
    ) -> Result<f64, DataError> {
        let value = self.value(field);
        self.place.number(field, value.as_f64(), kind(value), allowed)
    }

    pub(super) fn whole(
        &self,
        field: &str,
        allowed: RangeInclusive<u32>,
    ) -> Result<u32, DataError> {
        let value = self.value(field);
        let found = value.as_u64().and_then(|value| value.try_into().ok());
        self.place.whole(field, found, kind(value), allowed)
    }
}

/// A number as it is; of everything else what it is, not what it says.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(text) => format!("a text of {} characters", text.chars().count()),
        Value::Array(values) => format!("an array of {}", values.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tests::synthetic;

    const GOOD: &str = r#"{"name": "a", "both": ["b", "c"], "count": 2}"#;

    fn row(object: &Object<'_>) -> Result<(String, [String; 2], u32), DataError> {
        Ok((object.text("name")?, object.texts("both")?, object.whole("count", 1..=9)?))
    }

    fn error(bad: &str) -> String {
        let text = format!("{GOOD}\n{bad}\n{GOOD}\n");
        let error = lines(&mut synthetic(&text), &["name", "both", "count"], row).unwrap_err();
        error.to_string()
    }

    #[test]
    fn a_line_with_other_fields_or_types_is_named() {
        assert!(error("{").starts_with("set/file, line 2: "));
        assert!(error("").starts_with("set/file, line 2: "));
        assert_eq!(error("[1]"), "set/file, line 2: it is an array of 1: allowed is a JSON object");
        assert_eq!(
            error(&GOOD.replace("count", "times")),
            "set/file, line 2: missing field `count`"
        );
        assert_eq!(
            error(&GOOD.replace("{", r#"{"more": 1, "#)),
            "set/file, line 2: unknown field `more`: allowed are name, both, count"
        );
        assert!(error(&GOOD.replace(r#""a""#, "1")).ends_with("`name` is 1: allowed is a text"));
        assert!(
            error(&GOOD.replace(r#""b", "#, ""))
                .ends_with("`both` is an array of 1: allowed is an array of 2 texts")
        );
        assert!(error(&GOOD.replace(r#""b""#, "null")).contains("`both` is an array of 2"));
        for bad in ["0", "10", "1.5", "-1", r#""x""#] {
            let error = error(&GOOD.replace("2}", &format!("{bad}}}")));
            assert!(error.ends_with("allowed is a whole number in [1, 9]"), "{error}");
        }
    }

    #[test]
    fn an_array_is_read_by_record() {
        let fields = ["name", "both", "count"];
        let read = |text: &str| array(&mut synthetic(text), &fields, row);
        let expected = ("a".to_owned(), ["b".to_owned(), "c".to_owned()], 2);
        assert_eq!(read(&format!("[{GOOD},\n{GOOD}]")).unwrap(), [expected.clone(), expected]);
        let bad = GOOD.replace("2}", "0}");
        assert!(
            read(&format!("[{GOOD}, {bad}]"))
                .unwrap_err()
                .to_string()
                .starts_with("set/file, record 2: `count` is 0")
        );
        assert_eq!(
            read("\"secret\"").unwrap_err().to_string(),
            "set/file, line 1: the file is a text of 6 characters: allowed is an array of objects"
        );
        assert!(
            read(&format!("[{GOOD},\n{GOOD}")).unwrap_err().to_string().contains("file, line 2: ")
        );
    }
}
