//! The crate's one error type.

use headwater_protocol::ProtocolError;

/// Why a report, a figure or a table could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The run or its records.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// A figure without data, or with data that its scale cannot show.
    #[error("figure `{figure}`: {reason}")]
    Figure {
        /// Title of the figure.
        figure: String,
        /// What is wrong.
        reason: String,
    },
    /// A table row with another number of cells than there are columns.
    #[error("table `{table}`: row `{row}` has {found} values for {columns} columns")]
    TableRow {
        /// Title of the table.
        table: String,
        /// First cell of the row.
        row: String,
        /// Values in the row, its label included.
        found: usize,
        /// Columns of the table.
        columns: usize,
    },
}

impl ReportError {
    /// True if the caller named a directory that no run may write to, or too many seeds; nothing
    /// was written then.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Protocol(error) if error.is_usage())
    }
}
