//! The findings: one readable file each, composed from the crates below.
//!
//! A finding file reads from top to bottom: claim, arms, control, budget, measurement, verdict rule. It
//! decides nothing at run time that is not in its cells' configs, and reads no data set but through
//! [`data`].
#![forbid(unsafe_code)]

pub mod calibration;
pub mod cascade;
pub mod causal_rewards;
pub mod critique_plateau;
pub mod data;
pub mod decision_losses;
mod device;
pub mod directive_feedback;
pub mod feedback_loop;
pub mod negative_reinforcement;
mod parts;
pub mod reasoning_judges;
mod recorded;
pub mod rubric_gates;
mod schedule;
pub mod self_improvement;
pub mod tasks;

pub use device::devices;
use headwater_protocol::Finding;

/// Every finding, in the order of the report.
#[must_use]
pub fn all(data: data::DataDir) -> Vec<Box<dyn Finding>> {
    vec![
        Box::new(calibration::Calibration),
        Box::new(decision_losses::DecisionLosses { data: data.clone() }),
        Box::new(negative_reinforcement::NegativeReinforcement),
        Box::new(directive_feedback::DirectiveFeedback),
        Box::new(critique_plateau::CritiquePlateau),
        Box::new(causal_rewards::CausalRewards { data: data.clone() }),
        Box::new(reasoning_judges::ReasoningJudges),
        Box::new(rubric_gates::RubricGates),
        Box::new(feedback_loop::FeedbackLoop { data: data.clone() }),
        Box::new(self_improvement::SelfImprovement),
        Box::new(cascade::Cascade { data }),
    ]
}
