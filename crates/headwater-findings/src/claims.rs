//! The findings: what is claimed, what carries each claim, and how it is shown; one file each.

use headwater_report::Chapter;

use crate::data::DataDir;

mod critique_plateau;
mod directive_feedback;
mod negative_reinforcement;

/// Every finding, in the order of the report.
#[must_use]
pub fn all(data: &DataDir) -> Vec<Chapter> {
    vec![
        negative_reinforcement::chapter(),
        directive_feedback::chapter(),
        critique_plateau::chapter(),
    ]
}
