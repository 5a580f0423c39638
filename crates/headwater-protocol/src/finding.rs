//! What a finding is: its claim, its cells, and the comparisons it commits to before any run.

use serde::{Deserialize, Serialize};

use crate::{
    Cell, Figure, Outcome, Plan, ProtocolError, Records, SeedRecords, Settings, Table, Workbench,
};

/// The error of a cell: anything, so that a finding can use `?` on every crate below it.
pub type CellError = Box<dyn std::error::Error + Send + Sync>;

/// One claim and the experiment that tests it.
///
/// [`contrasts`](Finding::contrasts) and [`controls`](Finding::controls) are constants of the code: a change
/// to them changes the code version, and each contrast states when it was fixed ([`Registered`]).
pub trait Finding: Send + Sync {
    /// Stable name on the command line, in file names and in the report.
    fn id(&self) -> &'static str;

    /// The claim in one sentence, as its source makes it.
    fn claim(&self) -> &'static str;

    /// Who claims it: authors, year, title or identifier.
    fn source(&self) -> &'static str;

    /// Every cell of the run, needed arms before those that need them, and the arms that cannot be run.
    ///
    /// # Errors
    /// When no plan can be made at all. An arm that merely lacks its data set is [`NotRun`], not an error.
    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError>;

    /// Runs one cell: deterministic in (config, seed, device), and on the calling thread only.
    ///
    /// # Errors
    /// Anything; the cell is then reported as failed, and the cells that need it as skipped.
    fn run(&self, cell: &Cell, workbench: &Workbench) -> Result<Outcome, CellError>;

    /// The comparisons that make up the claim; the first stands for it on the report's first page.
    fn contrasts(&self) -> Vec<Contrast>;

    /// The comparisons in which the cause is removed and the effect must vanish.
    fn controls(&self) -> Vec<Control>;

    /// Figures of the records at hand.
    ///
    /// # Errors
    /// When the records lack what a figure shows; the report then says so in its place.
    fn figures(&self, records: &Records) -> Result<Vec<Figure>, ProtocolError>;

    /// Tables of the records at hand.
    ///
    /// # Errors
    /// When the records lack what a table shows; the report then says so in its place.
    fn tables(&self, records: &Records) -> Result<Vec<Table>, ProtocolError>;

    /// What differs from the published experiment, one sentence each.
    fn differs(&self) -> &'static [&'static str];
}

/// Where the claim puts the effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The paired difference is at least the smallest effect that matters.
    Increase,
    /// The paired difference is at most minus the smallest effect that matters.
    Decrease,
    /// The paired difference is above minus the smallest effect (non-inferiority).
    NotBelow,
    /// The paired difference lies within plus or minus the smallest effect (equivalence).
    Unchanged,
}

impl Direction {
    /// The word in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Increase => "increase",
            Self::Decrease => "decrease",
            Self::NotBelow => "not below",
            Self::Unchanged => "unchanged",
        }
    }
}

/// A paired difference for one seed. It fails when an arm has no record at that seed.
pub type PerSeed = fn(&SeedRecords<'_>) -> Result<f64, ProtocolError>;

/// When a contrast, its direction and its smallest effect were fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Registered {
    /// Before any run.
    Before,
    /// Direction or smallest effect were set after a pilot, and before the runs that are reported.
    AfterPilot,
    /// After results were seen: it is shown and judged, and the verdict does not rest on it.
    PostHoc,
}

impl Registered {
    /// The words in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "before any run",
            Self::AfterPilot => "after a pilot",
            Self::PostHoc => "post hoc",
        }
    }

    /// True if the verdict may rest on it.
    #[must_use]
    pub fn counts(self) -> bool {
        self != Self::PostHoc
    }
}

/// A comparison that the claim is about.
#[derive(Debug, Clone, Copy)]
pub struct Contrast {
    /// What is compared, e.g. `ECE: binary - with Brier`.
    pub name: &'static str,
    /// Where the claim puts the difference.
    pub direction: Direction,
    /// The smallest difference of interest, a finite number >= 0, in the metric's own unit. It is this
    /// project's choice, not the paper's: what the paper found is `published`.
    pub smallest_effect: f64,
    /// When direction and smallest effect were fixed.
    pub registered: Registered,
    /// The effect that the source reports, in words and with its setting, where it reports one.
    pub published: Option<&'static str>,
    /// The largest effect that the reference arm leaves room for, as a size whatever the direction (e.g.
    /// `1 - accuracy` for a rise in accuracy), for one seed. Where its mean lies below `smallest_effect`
    /// the contrast is undecided: no outcome could have shown the effect.
    pub attainable: Option<PerSeed>,
    /// The difference for one seed.
    pub per_seed: PerSeed,
}

impl Contrast {
    /// A contrast of which nothing is published and whose room is not limited.
    #[must_use]
    pub const fn new(
        name: &'static str,
        direction: Direction,
        smallest_effect: f64,
        registered: Registered,
        per_seed: PerSeed,
    ) -> Self {
        let (published, attainable) = (None, None);
        Self { name, direction, smallest_effect, registered, published, attainable, per_seed }
    }
}

/// A comparison from which the cause is removed, so that its difference must vanish.
#[derive(Debug, Clone, Copy)]
pub struct Control {
    /// What is compared.
    pub name: &'static str,
    /// How far from 0 still counts as vanished, a finite number >= 0, in the metric's own unit.
    pub margin: f64,
    /// The difference for one seed.
    pub per_seed: PerSeed,
}

/// An arm that this machine or this preset cannot run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotRun {
    /// Name of the arm.
    pub arm: String,
    /// Why, as a sentence for the report.
    pub reason: String,
}

impl NotRun {
    /// An arm and why it is not run; the reason is often an error's text.
    pub fn new(arm: impl Into<String>, reason: impl ToString) -> Self {
        Self { arm: arm.into(), reason: reason.to_string() }
    }
}

/// Reasons in the order of the plan, each with the arms it keeps from running.
#[must_use]
pub fn by_reason(not_run: &[NotRun]) -> Vec<(&str, Vec<&str>)> {
    let mut grouped: Vec<(&str, Vec<&str>)> = Vec::new();
    for NotRun { arm, reason } in not_run {
        match grouped.iter_mut().find(|(known, _)| known == reason) {
            Some((_, arms)) => arms.push(arm),
            None => grouped.push((reason, vec![arm])),
        }
    }
    grouped
}
