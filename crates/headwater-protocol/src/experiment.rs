//! What an experiment is: its arms, how one of their cells is run, and what that records.

use serde::{Deserialize, Serialize};

use crate::{Arm, Cell, CellContext, CellOutcome, Metric, Plan, ProtocolError, Settings};

/// The error of a cell: anything, so that an experiment can use `?` on every crate below it.
pub type CellError = Box<dyn std::error::Error + Send + Sync>;

/// Arms, how they are run, and what they record. It knows nothing of what is claimed of
/// them.
pub trait Experiment: Send + Sync {
    /// Stable name, unique in a build: what the code that keys its records is listed under.
    fn id(&self) -> &'static str;

    /// Everything that a cell of it may record; a cell that records something else fails.
    fn metrics(&self) -> Vec<Metric>;

    /// Its cells, needed arms before those that need them, and the arms that cannot be run.
    ///
    /// # Errors
    /// When no plan can be made at all. An arm that merely lacks its data set is [`NotRun`], not an
    /// error.
    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError>;

    /// Runs one cell: deterministic in (config, seed, device), and on the calling thread only.
    ///
    /// # Errors
    /// Anything; the cell is then reported as failed, and the cells that need it as skipped.
    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError>;
}

/// An arm that this machine or this preset cannot run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotRun {
    /// The arm.
    pub arm: Arm,
    /// Why, as a sentence for the report.
    pub reason: String,
}

impl NotRun {
    /// An arm and why it is not run; the reason is often an error's text.
    pub fn new(arm: impl Into<Arm>, reason: impl ToString) -> Self {
        Self { arm: arm.into(), reason: reason.to_string() }
    }
}

/// Reasons in the order of the plan, each with the arms it keeps from running.
#[must_use]
pub fn by_reason(not_run: &[NotRun]) -> Vec<(&str, Vec<&str>)> {
    let mut grouped: Vec<(&str, Vec<&str>)> = Vec::new();
    for NotRun { arm, reason } in not_run {
        match grouped.iter_mut().find(|(known, _)| known == reason) {
            Some((_, arms)) => arms.push(arm.name()),
            None => grouped.push((reason, vec![arm.name()])),
        }
    }
    grouped
}
