//! The crate's one error type.

use std::path::PathBuf;

use crate::settings::MOST_SEEDS;

/// What can go wrong between a plan and its report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A word that names no preset.
    #[error("preset `{0}` does not exist; there are: smoke, quick, full")]
    UnknownPreset(String),
    /// A word that names no device.
    #[error("device `{0}` does not exist; there are: flex, wgpu, cuda")]
    UnknownDevice(String),
    /// More seeds than anybody waits for, each of which would be planned before the first runs.
    #[error("seeds = {0}: allowed are at most {MOST_SEEDS}")]
    TooManySeeds(usize),
    /// Two findings of one run share an id.
    #[error("the finding `{0}` is listed twice")]
    DuplicateFinding(String),
    /// A name that becomes part of a file name holds something else than letters, digits and `+ _ -
    /// .`.
    #[error(
        "{finding}: the {what} `{name}` must be 1 to 80 of the characters a-z, A-Z, 0-9, `+`, `_`, \
         `-`, `.` and must not begin with a dot: it becomes a file name"
    )]
    BadName {
        /// Id of the finding.
        finding: String,
        /// `finding id` or `arm`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The same arm and seed twice in one plan.
    #[error("{finding}: arm `{arm}`, seed {seed} is planned twice")]
    DuplicateCell {
        /// Id of the finding.
        finding: String,
        /// Name of the arm.
        arm: String,
        /// The seed.
        seed: u64,
    },
    /// A cell needs an arm that no earlier cell of the same seed provides.
    #[error(
        "{finding}: arm `{arm}`, seed {seed} needs arm `{needs}`, which the plan does not place before it"
    )]
    UnmetNeed {
        /// Id of the finding.
        finding: String,
        /// Name of the arm that needs.
        arm: String,
        /// The seed.
        seed: u64,
        /// Name of the arm that is needed.
        needs: String,
    },
    /// Something is to be read that no experiment of the finding provides.
    #[error("{reader} reads {what}")]
    UnknownRead {
        /// The comparison, figure or table.
        reader: String,
        /// What is misspelt, and who does not have it.
        what: String,
    },
    /// A finding could not make its plan, e.g. because a data set was altered.
    #[error("{finding}: {source}")]
    Planning {
        /// Id of the finding.
        finding: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A config that does not turn into JSON, or JSON that does not turn into the config.
    #[error("config of arm `{arm}`: {source}")]
    Config {
        /// Name of the arm.
        arm: String,
        /// What serde says.
        source: serde_json::Error,
    },
    /// A metric that is NaN or infinite.
    #[error("metric `{metric}` is {value}, which is not a finite number")]
    NotFinite {
        /// Name of the metric; an element of a series is written `name[index]`.
        metric: String,
        /// The value.
        value: f64,
    },
    /// A metric recorded twice in one cell.
    #[error("metric `{0}` is recorded twice in one cell")]
    DuplicateMetric(String),
    /// No record of an arm at a seed: it was not run, or it failed.
    #[error("arm `{arm}` has no record at seed {seed}")]
    NoRecord {
        /// Name of the arm.
        arm: String,
        /// The seed.
        seed: u64,
    },
    /// A record does not hold a metric of that name and kind.
    #[error("the record of arm `{arm}`, seed {seed} has no {kind} `{metric}`; it has: {has}")]
    NoMetric {
        /// Name of the arm.
        arm: String,
        /// The seed.
        seed: u64,
        /// `scalar` or `series`.
        kind: &'static str,
        /// Name of the metric.
        metric: String,
        /// The names there are.
        has: String,
    },
    /// A cell asked for the artifact of an arm it did not declare in its needs, or that left none.
    #[error("no artifact of arm `{arm}` at hand; at hand: {has}")]
    NoArtifact {
        /// Name of the arm asked for.
        arm: String,
        /// The arms whose artifacts the cell may read.
        has: String,
    },
    /// A seed at which a comparison has no value, e.g. a ratio to 0. The comparison is then
    /// undecided; that is no defect of the finding.
    #[error("{0}")]
    Undefined(String),
    /// An artifact is missing or does not have the content its record names.
    #[error("artifact {}: {reason}", path.display())]
    BadArtifact {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or directory could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, `create`, ...
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// `run.json` is not what this version writes.
    #[error("{} does not parse: {source}", path.display())]
    BadManifest {
        /// The file.
        path: PathBuf,
        /// What serde says.
        source: serde_json::Error,
    },
    /// Two comparisons that differ have one name.
    #[error("{finding}: two comparisons that differ are both called “{name}”")]
    Ambiguous {
        /// The finding.
        finding: &'static str,
        /// The name.
        name: String,
    },
    /// A claim that no rule can judge: too many primaries, no control, a threshold that is none.
    #[error("claim: {what} = {value}: allowed is {allowed}")]
    BadClaim {
        /// What it is about: a number of parts, or a threshold of a part that is named.
        what: String,
        /// Its value.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A run names a finding that this build does not have.
    #[error("there is no finding or claim `{0}` in this build")]
    UnknownFinding(String),
    /// The run directory is a file.
    #[error("{}: it is a file; allowed is a directory, or a path where there is nothing yet", .0.display())]
    OutIsFile(PathBuf),
    /// The run directory holds something else than a run.
    #[error("{}: {reason}; allowed is a run directory, an empty one, or a path where there is nothing yet", path.display())]
    NotARunDirectory {
        /// The directory.
        path: PathBuf,
        /// What is in it.
        reason: String,
    },
    /// An interval or a p value could not be computed.
    #[error("statistics: {0}")]
    Statistics(#[from] headwater_evaluation::EvaluationError),
}

impl ProtocolError {
    /// True if the caller named a directory that no run may write to, or too many seeds; nothing
    /// was written then.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::OutIsFile(_) | Self::NotARunDirectory { .. } | Self::TooManySeeds(_))
    }
}
