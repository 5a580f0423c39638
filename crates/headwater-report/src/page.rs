//! How a finding is shown: its parts, each with figures and tables.

use std::collections::BTreeSet;

use headwater_protocol::{Finding, ProtocolError, Read, Records, Settings};

use crate::{Figure, ReportError, Table};

/// A table or figure as data, or as what a function makes of the records.
enum Source<T> {
    Data(Box<T>),
    Computed(fn(&Records) -> Result<T, ReportError>),
}

impl<T> Source<T> {
    /// What it reads as far as that is known before it is computed.
    fn reads(&self, of: fn(&T) -> BTreeSet<Read>) -> BTreeSet<Read> {
        match self {
            Self::Data(data) => of(data),
            Self::Computed(_) => BTreeSet::new(),
        }
    }
}

/// Figures and tables under one heading.
pub struct Part {
    pub(crate) heading: &'static str,
    figures: Vec<Source<Figure>>,
    tables: Vec<Source<Table>>,
}

impl Part {
    /// Nothing yet; an empty heading is none.
    #[must_use]
    pub fn new(heading: &'static str) -> Self {
        Self { heading, figures: Vec::new(), tables: Vec::new() }
    }

    /// Adds a figure.
    #[must_use]
    pub fn figure(mut self, figure: Figure) -> Self {
        self.figures.push(Source::Data(Box::new(figure)));
        self
    }

    /// Adds figures.
    #[must_use]
    pub fn figures(self, figures: impl IntoIterator<Item = Figure>) -> Self {
        figures.into_iter().fold(self, Self::figure)
    }

    /// Adds a table.
    #[must_use]
    pub fn table(mut self, table: Table) -> Self {
        self.tables.push(Source::Data(Box::new(table)));
        self
    }

    /// Adds tables.
    #[must_use]
    pub fn tables(self, tables: impl IntoIterator<Item = Table>) -> Self {
        tables.into_iter().fold(self, Self::table)
    }

    /// Adds a table that depends on what the records hold.
    #[must_use]
    pub fn computed_table(mut self, of: fn(&Records) -> Result<Table, ReportError>) -> Self {
        self.tables.push(Source::Computed(of));
        self
    }

    /// Kind and title of each figure and table, and what it reads.
    fn reads(&self) -> Vec<(String, BTreeSet<Read>)> {
        let mut all = Vec::new();
        for source in &self.figures {
            if let Source::Data(figure) = source {
                all.push((format!("figure “{}”", figure.title()), figure.reads()));
            }
        }
        for source in &self.tables {
            if let Source::Data(table) = source {
                all.push((format!("table “{}”", table.title()), table.reads()));
            }
        }
        all
    }

    /// Its figures, or why one cannot be had.
    pub(crate) fn each_figure(&self, records: &Records) -> Vec<Result<Figure, ReportError>> {
        self.figures.iter().map(|source| of(source, records)).collect()
    }

    /// Its tables, or why one cannot be had.
    pub(crate) fn each_table(&self, records: &Records) -> Vec<Result<Table, ReportError>> {
        self.tables.iter().map(|source| of(source, records)).collect()
    }
}

fn of<T: Clone>(source: &Source<T>, records: &Records) -> Result<T, ReportError> {
    match source {
        Source::Data(data) => Ok((**data).clone()),
        Source::Computed(compute) => compute(records),
    }
}

/// A finding, and how it is shown.
pub struct Chapter {
    /// What is claimed and run.
    pub finding: Finding,
    /// What differs from the published experiment, one sentence each.
    pub differs: &'static [&'static str],
    /// In the order of the page.
    pub parts: Vec<Part>,
}

impl Chapter {
    /// Checks that everything its figures and tables read is provided by an experiment of its
    /// finding.
    ///
    /// # Errors
    /// [`ProtocolError::UnknownRead`], which names the figure or table and what is misspelt.
    pub fn check(&self, settings: &Settings) -> Result<(), ProtocolError> {
        let known = self.finding.known(settings)?;
        for part in &self.parts {
            for (what, reads) in part.reads() {
                let reader = format!("{}: the {what}", self.finding.id);
                reads.iter().try_for_each(|read| known.check(&reader, read))?;
            }
        }
        Ok(())
    }

    /// Leaves out the comparisons, figures and tables that read what its experiments do not
    /// provide.
    ///
    /// # Errors
    /// When no plan can be made.
    pub fn restrict(&mut self, settings: &Settings) -> Result<(), ProtocolError> {
        let known = self.finding.known(settings)?;
        let is_known =
            |reads: &BTreeSet<Read>| reads.iter().all(|read| known.check("", read).is_ok());
        self.finding.retain(|measures| measures.iter().all(|measure| is_known(&measure.reads())));
        for part in &mut self.parts {
            part.figures.retain(|source| is_known(&source.reads(Figure::reads)));
            part.tables.retain(|source| is_known(&source.reads(Table::reads)));
        }
        Ok(())
    }
}
