//! The parts of a finding: headings of its report, and what is shown under each.

use headwater_protocol::{Figure, ProtocolError, Records, Table};

/// A heading, and the functions that make its figures and tables.
pub(crate) type Part =
    (&'static str, fn(&Records) -> Result<Vec<Figure>, ProtocolError>, fn(&Records) -> Vec<Table>);

/// All figures, each under its heading.
pub(crate) fn figures(parts: &[Part], records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let mut all = Vec::new();
    for (part, figures, _) in parts {
        all.extend(figures(records)?.into_iter().map(|figure| figure.part(*part)));
    }
    Ok(all)
}

/// All tables, each under its heading.
pub(crate) fn tables(parts: &[Part], records: &Records) -> Vec<Table> {
    let of =
        |(part, _, tables): &Part| tables(records).into_iter().map(|t| t.part(*part)).collect();
    parts.iter().flat_map(|part| -> Vec<Table> { of(part) }).collect()
}
