//! What every reader shares: the text of a checked file, and the errors that name a row of it.
//!
//! No error shows the content of a free text: three sets hold text that belongs in no log.

use std::fmt::Display;
use std::io::{Cursor, ErrorKind, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::{DataDir, DataError};

/// The uncompressed text of a file whose bytes were checked, and its path for errors.
pub(super) struct Content {
    pub(super) text: Box<dyn Read>,
    pub(super) path: PathBuf,
}

impl DataDir {
    /// One file of a set.
    pub(super) fn open(&self, set: &str, file: &str) -> Result<Content, DataError> {
        let text = Box::new(Cursor::new(self.read(set, file)?));
        Ok(Content { text, path: self.path(set, file)? })
    }
}

/// Where a row stands: its file, and its line or its number in an array, from 1.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) path: &'a Path,
    /// `line` or `record`.
    pub(super) unit: &'static str,
    pub(super) number: usize,
}

impl<'a> Place<'a> {
    pub(super) fn line(path: &'a Path, number: usize) -> Self {
        Self { path, unit: "line", number }
    }

    pub(super) fn error(self, reason: impl Into<String>) -> DataError {
        DataError::Row {
            path: self.path.to_owned(),
            unit: self.unit,
            number: self.number,
            reason: reason.into(),
        }
    }

    /// The error of a field that holds what it may not hold.
    pub(super) fn refuse(self, field: &str, value: impl Display, allowed: &str) -> DataError {
        self.error(format!("`{field}` is {value}: allowed is {allowed}"))
    }

    /// The error of a row at which reading itself stopped.
    pub(super) fn unreadable(self, error: &std::io::Error) -> DataError {
        match error.kind() {
            ErrorKind::InvalidData => self.error(format!("it is not UTF-8: {error}")),
            _ => self.error(format!("it cannot be decompressed: {error}")),
        }
    }

    /// What `text` stands for in a field with a closed list of values.
    pub(super) fn choice<T: Copy>(
        self,
        field: &str,
        text: &str,
        choices: &[(&str, T)],
    ) -> Result<T, DataError> {
        let chosen = choices.iter().find(|(name, _)| *name == text);
        chosen.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let names: Vec<String> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
            self.refuse(field, shown(text), &names.join(" or "))
        })
    }

    /// `found` if it is a number within `allowed`, whose bounds are finite.
    pub(super) fn number(
        self,
        field: &str,
        found: Option<f64>,
        shown: impl Display,
        allowed: RangeInclusive<f64>,
    ) -> Result<f64, DataError> {
        found.filter(|value| allowed.contains(value)).ok_or_else(|| {
            let (low, high) = (allowed.start(), allowed.end());
            let allowed = if allowed == FINITE {
                "a finite number".to_owned()
            } else {
                format!("a number in [{low}, {high}]")
            };
            self.refuse(field, shown, &allowed)
        })
    }

    /// `found` if it is a whole number within `allowed`.
    pub(super) fn whole(
        self,
        field: &str,
        found: Option<u32>,
        shown: impl Display,
        allowed: RangeInclusive<u32>,
    ) -> Result<u32, DataError> {
        found.filter(|value| allowed.contains(value)).ok_or_else(|| {
            let (low, high) = (allowed.start(), allowed.end());
            self.refuse(field, shown, &format!("a whole number in [{low}, {high}]"))
        })
    }
}

/// Every number but NaN and the infinities.
pub(super) const FINITE: RangeInclusive<f64> = f64::MIN..=f64::MAX;

/// A short text in backquotes; of a long one, which must be in the wrong field, only the length.
pub(super) fn shown(text: &str) -> String {
    match text.chars().count() {
        0..=24 => format!("`{text}`"),
        length => format!("a text of {length} characters"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `text` as if it were the content of the file `set/file`.
    pub(crate) fn synthetic(text: &str) -> Content {
        Content {
            text: Box::new(Cursor::new(text.as_bytes().to_vec())),
            path: PathBuf::from("set/file"),
        }
    }

    #[test]
    fn a_closed_field_names_what_is_allowed() {
        let place = Place::line(Path::new("set/file"), 7);
        let choices = [("pro", 1), ("anti", 2)];
        assert_eq!(place.choice("kind", "anti", &choices).unwrap(), 2);
        assert_eq!(
            place.choice("kind", "con", &choices).unwrap_err().to_string(),
            "set/file, line 7: `kind` is `con`: allowed is `pro` or `anti`"
        );
        let long = place.choice("kind", &"x".repeat(30), &choices).unwrap_err().to_string();
        assert!(long.contains("`kind` is a text of 30 characters:"), "{long}");
    }

    #[test]
    fn a_number_out_of_range_or_not_finite_is_refused() {
        let place = Place::line(Path::new("set/file"), 7);
        assert_eq!(place.number("p", Some(0.5), 0.5, 0.0..=1.0).unwrap(), 0.5);
        let error = |value: f64, allowed| {
            place.number("p", Some(value), value, allowed).unwrap_err().to_string()
        };
        assert!(error(1.5, 0.0..=1.0).ends_with("`p` is 1.5: allowed is a number in [0, 1]"));
        assert!(error(f64::NAN, 0.0..=1.0).contains("`p` is NaN"));
        assert!(error(f64::INFINITY, FINITE).ends_with("`p` is inf: allowed is a finite number"));
        assert!(place.whole("n", None, "`-1`", 0..=9).is_err());
        assert_eq!(place.whole("n", Some(9), 9, 0..=9).unwrap(), 9);
    }
}
