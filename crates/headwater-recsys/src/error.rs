//! The crate's one error, and the argument checks that metrics and estimators share.

use headwater_core::ConfigError;
use headwater_evaluation::EvaluationError;
use headwater_small_net::Diverged;

use crate::log::Head;

/// What can go wrong between a config and an estimate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RecsysError {
    /// A config failed its check.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An argument that no metric or estimate can be computed from.
    #[error(transparent)]
    Argument(#[from] EvaluationError),
    /// Positions between which no item or feature bucket was ever exchanged.
    #[error(
        "the bias of positions is not identified: no more than {shared} items or feature buckets were shown \
         in two of the groups {components:?} (counted from 0); exchange items between them when logging"
    )]
    Unidentified {
        /// Groups of positions; within a group each is connected to every other.
        components: Vec<Vec<usize>>,
        /// The most items shared across two groups, which is fewer than were asked for.
        shared: usize,
    },
    /// A ranker whose scores cannot be sorted by.
    #[error("score {index} of {scores} from the ranker = {value}: allowed is a finite number")]
    Score {
        /// Index in the block: session times candidates, plus candidate.
        index: usize,
        /// Scores in the block.
        scores: usize,
        /// The score.
        value: f32,
    },
    /// A ranker that failed, in its own words.
    #[error("the ranker failed: {reason}")]
    Ranker {
        /// Why.
        reason: String,
    },
    /// A head without labels in the log, or one that the ranker does not have.
    #[error(
        "no labels of {head:?}: enable the head in the ranker, and what it predicts in the world"
    )]
    NoLabels {
        /// The head.
        head: Head,
    },
    /// Training that came to a gradient that is NaN or infinite; the weights are as they were before it.
    #[error(transparent)]
    Diverged(#[from] Diverged),
    /// A round that is served again, or out of order: users would have drifted and items arrived already.
    #[error("round {found} was to be served where round {expected} is next")]
    Round {
        /// The round asked for.
        found: u64,
        /// The round whose turn it is.
        expected: u64,
    },
    /// An estimator that needs a reward model's predictions, and a log without them.
    #[error("{estimator} needs a reward model: columns `model_logged` and `model_target`")]
    NoModel {
        /// The estimator.
        estimator: &'static str,
    },
    /// A self-normalised estimator on a log in which the target takes none of the logged actions.
    #[error(
        "{estimator}: the target policy takes none of the {rows} logged actions, so there is nothing to weight"
    )]
    NoOverlap {
        /// The estimator.
        estimator: &'static str,
        /// Rows of the log.
        rows: usize,
    },
    /// A self-normalised estimate whose interval does not exist: some resamples of the log share no
    /// action with the target.
    #[error(
        "{estimator} = {value}, and too little overlap for an interval: only {shared} of {rows} \
         logged actions are any that the target policy takes"
    )]
    TooLittleOverlap {
        /// The estimator.
        estimator: &'static str,
        /// The estimate.
        value: f64,
        /// Logged actions of a weight above 0.
        shared: usize,
        /// Rows of the log.
        rows: usize,
    },
    /// An estimation by turns that has not come to rest.
    #[error(
        "the propensities have not converged after {turns} turns, the last one changed their \
         logarithms by {change}: items hardly swap places in this log; exchange some when logging"
    )]
    NotConverged {
        /// Turns taken.
        turns: usize,
        /// Largest change of a logarithm in the last one.
        change: f64,
    },
    /// A table without columns that are needed.
    #[error("{source_name}: no column {columns}; the header has {header}{hint}")]
    MissingColumn {
        /// What the table was called by the caller.
        source_name: String,
        /// The columns that are missing, in backquotes.
        columns: String,
        /// The first columns there are.
        header: String,
        /// Which other column may be meant; empty where none is known.
        hint: String,
    },
    /// A cell that cannot be read.
    #[error("{source_name}, line {line}, column `{column}`: {reason}")]
    Cell {
        /// What the table was called by the caller.
        source_name: String,
        /// Line, counted from 1, the header included.
        line: u64,
        /// The column.
        column: String,
        /// What is wrong with the value, and what is allowed.
        reason: String,
    },
    /// A table, or a row of it, that cannot be read.
    #[error("{source_name}, line {line}: {reason}")]
    Row {
        /// What the table was called by the caller.
        source_name: String,
        /// Line, counted from 1, the header included.
        line: u64,
        /// What is wrong.
        reason: String,
    },
}

pub(crate) fn same_length(
    left: &'static str,
    left_length: usize,
    right: &'static str,
    right_length: usize,
) -> Result<(), EvaluationError> {
    if left_length == right_length {
        return Ok(());
    }
    Err(EvaluationError::LengthMismatch { left, left_length, right, right_length })
}

pub(crate) fn at_least(
    argument: &'static str,
    found: usize,
    needed: usize,
) -> Result<(), EvaluationError> {
    if found >= needed {
        return Ok(());
    }
    Err(EvaluationError::TooFew { argument, found, needed })
}

/// Errors at the first entry for which `holds` is false.
pub(crate) fn every(
    argument: &'static str,
    values: impl IntoIterator<Item = f64>,
    allowed: &'static str,
    holds: impl Fn(f64) -> bool,
) -> Result<(), EvaluationError> {
    match values.into_iter().enumerate().find(|&(_, value)| !holds(value)) {
        None => Ok(()),
        Some((index, value)) => Err(EvaluationError::Entry { argument, index, value, allowed }),
    }
}

/// Errors at the first index that is not below `count`.
pub(crate) fn indices_below(
    argument: &'static str,
    indices: &[usize],
    count: usize,
) -> Result<(), EvaluationError> {
    every(
        argument,
        indices.iter().map(|&index| index as f64),
        "an index below the count",
        |index| index < count as f64,
    )
}
