//! Tables of delimited text, CSV and TSV, row by row with typed fields.

use std::ops::RangeInclusive;

use csv::{ErrorKind, ReaderBuilder, StringRecord, Terminator};

use super::DataError;
use super::content::{Content, Place, shown};

/// How a table is written. Empty lines hold no row; they are passed over.
pub(super) struct Table {
    pub(super) delimiter: u8,
    /// Whether `"` encloses fields, or is a character like any other.
    pub(super) quoting: bool,
    /// Whether the first row names the columns. If so it must name these, in this order.
    pub(super) header: bool,
    pub(super) columns: &'static [&'static str],
}

impl Table {
    /// What `each` makes of every row, in file order.
    ///
    /// # Errors
    /// [`DataError::Row`] for a header that is not the expected one and a row with another number
    /// of fields; the first error of `each`.
    pub(super) fn read<T>(
        &self,
        content: &mut Content,
        mut each: impl FnMut(&TableRow<'_>) -> Result<T, DataError>,
    ) -> Result<Vec<T>, DataError> {
        let mut reader = ReaderBuilder::new()
            .delimiter(self.delimiter)
            .quoting(self.quoting)
            // Lines end in a line feed alone; a carriage return within a text is part of it.
            .terminator(Terminator::Any(b'\n'))
            // Header and row lengths are checked here, so that the errors name the columns.
            .has_headers(false)
            .flexible(true)
            .from_reader(&mut content.text);
        let mut record = StringRecord::new();
        let mut rows = Vec::new();
        let mut header = self.header;
        loop {
            let next = Place::line(&content.path, line(reader.position()));
            let more = reader.read_record(&mut record).map_err(|error| unreadable(error, next))?;
            if !more {
                break;
            }
            let place = Place::line(&content.path, record.position().map_or(next.number, line));
            if header {
                if record != *self.columns {
                    let expected = self.columns.join(", ");
                    return Err(place.error(format!("the columns are not {expected}")));
                }
                header = false;
                continue;
            }
            if record.len() != self.columns.len() {
                let (found, expected) = (record.len(), self.columns.len());
                return Err(place.error(format!("it has {found} fields: allowed is {expected}")));
            }
            rows.push(each(&TableRow { place, columns: self.columns, record: &record })?);
        }
        Ok(rows)
    }
}

fn line(position: &csv::Position) -> usize {
    usize::try_from(position.line()).unwrap_or(usize::MAX)
}

fn unreadable(error: csv::Error, next: Place<'_>) -> DataError {
    let place = Place { number: error.position().map_or(next.number, line), ..next };
    match error.kind() {
        ErrorKind::Io(error) => place.unreadable(error),
        _ => place.error(format!("it is not a row of UTF-8 text: {error}")),
    }
}

/// One row, whose number of fields is the number of columns.
pub(super) struct TableRow<'a> {
    pub(super) place: Place<'a>,
    columns: &'static [&'static str],
    record: &'a StringRecord,
}

impl TableRow<'_> {
    /// The field of `column`, which must be one of the table's.
    pub(super) fn text(&self, column: &str) -> &str {
        let at = self.columns.iter().position(|name| *name == column);
        &self.record[at.expect("readers ask for columns of their table")]
    }

    /// A text that is not empty.
    pub(super) fn filled(&self, column: &str) -> Result<String, DataError> {
        match self.text(column) {
            "" => Err(self.place.refuse(column, "empty", "a text")),
            text => Ok(text.to_owned()),
        }
    }

    pub(super) fn choice<T: Copy>(
        &self,
        column: &str,
        choices: &[(&str, T)],
    ) -> Result<T, DataError> {
        self.place.choice(column, self.text(column), choices)
    }

    pub(super) fn flag(&self, column: &str) -> Result<bool, DataError> {
        self.choice(column, &[("0", false), ("1", true)])
    }

    pub(super) fn number(
        &self,
        column: &str,
        allowed: RangeInclusive<f64>,
    ) -> Result<f64, DataError> {
        let text = self.text(column);
        self.place.number(column, text.parse().ok(), shown(text), allowed)
    }

    pub(super) fn whole(
        &self,
        column: &str,
        allowed: RangeInclusive<u32>,
    ) -> Result<u32, DataError> {
        let text = self.text(column);
        self.place.whole(column, text.parse().ok(), shown(text), allowed)
    }

    /// None if the field is empty, else what `read` makes of it.
    pub(super) fn optional<T>(
        &self,
        column: &str,
        read: impl FnOnce(&Self, &str) -> Result<T, DataError>,
    ) -> Result<Option<T>, DataError> {
        if self.text(column).is_empty() { Ok(None) } else { read(self, column).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tests::synthetic;

    const TABLE: Table =
        Table { delimiter: b'\t', quoting: true, header: true, columns: &["name", "count"] };

    fn read(text: &str) -> Result<Vec<(String, u32)>, String> {
        let row =
            |row: &TableRow<'_>| Ok((row.text("name").to_owned(), row.whole("count", 0..=9)?));
        TABLE.read(&mut synthetic(text), row).map_err(|error| error.to_string())
    }

    #[test]
    fn quoted_fields_may_hold_delimiters_and_line_breaks_and_lines_are_still_right() {
        let good = "name\tcount\n\"a\tb\nc \"\"d\"\"\"\t1\ne\r\t2\n";
        let expected = [("a\tb\nc \"d\"".to_owned(), 1), ("e\r".to_owned(), 2)];
        assert_eq!(read(good).unwrap(), expected);
        assert_eq!(
            read(&format!("{good}f\t10\n")).unwrap_err(),
            "set/file, line 5: `count` is `10`: allowed is a whole number in [0, 9]"
        );
    }

    #[test]
    fn a_wrong_header_and_a_wrong_number_of_fields_are_named() {
        let error = read("name\tnumber\na\t1\n").unwrap_err();
        assert_eq!(error, "set/file, line 1: the columns are not name, count");
        let error = read("name\tcount\na\t1\nb\nc\t2\n").unwrap_err();
        assert_eq!(error, "set/file, line 3: it has 1 fields: allowed is 2");
        assert_eq!(read("name\tcount\n").unwrap(), []);
    }

    #[test]
    fn text_that_is_not_utf8_is_named_with_its_line() {
        let mut content = synthetic("");
        content.text = Box::new(&b"name\tcount\na\t1\n\xff\t2\n"[..]);
        let error = TABLE.read(&mut content, |_| Ok(())).unwrap_err().to_string();
        assert!(error.starts_with("set/file, line 3: it is not a row of UTF-8 text"), "{error}");
    }

    #[test]
    fn a_truncated_archive_is_an_error() {
        let mut content = synthetic("");
        let truncated: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1];
        content.text = Box::new(flate2::read::GzDecoder::new(truncated));
        let error = TABLE.read(&mut content, |_| Ok(())).unwrap_err().to_string();
        assert!(error.starts_with("set/file, line 1: it cannot be decompressed"), "{error}");
    }

    #[test]
    fn without_quoting_a_quotation_mark_is_a_character() {
        let table = Table { delimiter: b'\t', quoting: false, header: false, columns: &["a", "b"] };
        let rows = table.read(&mut synthetic("\"x\t\"\n"), |row| {
            Ok((row.text("a").to_owned(), row.optional("b", |row, b| row.filled(b))?))
        });
        assert_eq!(rows.unwrap(), [("\"x".to_owned(), Some("\"".to_owned()))]);
    }
}
