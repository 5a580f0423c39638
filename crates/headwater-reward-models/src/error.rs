//! What can go wrong in this crate.

/// Labels or inputs a reward model cannot be made of.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RewardModelError {
    /// Nothing to learn from.
    #[error("no labelled examples: at least one is needed")]
    Empty,
    /// A label that is no probability.
    #[error("label of example {index} = {value}: allowed is a number in [0, 1]")]
    Label {
        /// Index of the example.
        index: usize,
        /// The label.
        value: f64,
    },
    /// A margin that is negative or no number.
    #[error("margin of preference {index} = {value}: allowed is a finite number of at least 0")]
    Margin {
        /// Index of the preference.
        index: usize,
        /// The margin.
        value: f64,
    },
    /// A factor that is no number, or the first of factors that are all alike (up to rounding)
    /// where they have to vary.
    #[error(
        "factor {index} = {value}: allowed are finite numbers, not all alike where they are corrected for"
    )]
    Factor {
        /// Index of the preference or response.
        index: usize,
        /// The factor.
        value: f64,
    },
    /// A weight that is no number.
    #[error("weight = {value}: allowed is a finite number")]
    Weight {
        /// The weight.
        value: f64,
    },
    /// A score that is no number.
    #[error("score {index} = {value}: allowed is a finite number")]
    Score {
        /// Index of the input.
        index: usize,
        /// The score.
        value: f64,
    },
    /// Finite scores that combine to what is none.
    #[error("the members' scores of input {index} combine to {value}, not a finite number")]
    Combined {
        /// Index of the input.
        index: usize,
        /// What they combine to.
        value: f64,
    },
    /// Scores or factors so large or small that a line through them has no slope in f64.
    #[error("slope of the score on the factor = {value}: allowed is a finite number")]
    Slope {
        /// The slope.
        value: f64,
    },
    /// Labels of single responses for a head that learns from pairs.
    #[error(
        "head odin: allowed for labels are scalar and bottleneck; its two scores are told apart by pairs only"
    )]
    OdinOnLabels,
    /// A weight on paraphrases, and none of them.
    #[error("paraphrase_weight is above 0 and there are no paraphrases: at least one is needed")]
    NoParaphrases,
    /// Another number of factors than of scores.
    #[error("{found} factors: expected {expected}, one for each score")]
    Factors {
        /// Factors there are.
        found: usize,
        /// Scores there are.
        expected: usize,
    },
    /// A row of a JSON-lines text.
    #[error("{source_name}, line {line}: {reason}")]
    Row {
        /// What the text is called.
        source_name: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A JSON-lines text without rows.
    #[error("{source_name}: no rows")]
    NoRows {
        /// What the text is called.
        source_name: String,
    },
    /// Members of an ensemble disagree on how many inputs they scored.
    #[error("member {member} has {found} scores: expected {expected}")]
    Members {
        /// Index of the member.
        member: usize,
        /// Scores it has.
        found: usize,
        /// Scores the first member has.
        expected: usize,
    },
    /// The decoder or its optimiser.
    #[error(transparent)]
    Model(#[from] headwater_nn::NnError),
    /// A number of votes, candidates or pairs that nothing can be done with.
    #[error("{name} = {value}: allowed is {allowed}")]
    Argument {
        /// Name of the argument.
        name: &'static str,
        /// Its value.
        value: usize,
        /// The allowed range in words.
        allowed: &'static str,
    },
    /// A maximum that the iteration has not come to.
    #[error(
        "the ratings have not converged after {steps} steps, the last one was {step}: the counts \
         of wins are too unlike"
    )]
    NotConverged {
        /// Steps taken.
        steps: usize,
        /// Largest change of a rating in the last one.
        step: f64,
    },
    /// A count of wins that is none.
    #[error("wins[{row}][{column}] = {value}: allowed is a number in [0, 1e15]")]
    Wins {
        /// Index of the candidate that won.
        row: usize,
        /// Index of the candidate it won over.
        column: usize,
        /// The count.
        value: f64,
    },
}

/// Every label a probability, and at least one.
pub(crate) fn check_labels(labels: impl Iterator<Item = f64>) -> Result<(), RewardModelError> {
    let mut count = 0;
    for (index, value) in labels.enumerate() {
        if !(0.0..=1.0).contains(&value) {
            return Err(RewardModelError::Label { index, value });
        }
        count += 1;
    }
    if count == 0 { Err(RewardModelError::Empty) } else { Ok(()) }
}
