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
mod seeds;
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

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_protocol::{DeviceKind, FEWEST_SEEDS, Preset, Settings, arms_read};

    #[test]
    fn what_contrasts_and_controls_read_is_run_at_five_seeds_or_more() {
        for finding in all(data::DataDir::default()) {
            let settings =
                Settings { preset: Preset::Quick, seeds: None, device: DeviceKind::Flex };
            let plan = finding.plan(&settings).unwrap();
            let contrasts = finding.contrasts().into_iter().map(|c| (c.name, c.per_seed));
            let controls = finding.controls().into_iter().map(|c| (c.name, c.per_seed));
            let mut compared = 0;
            for (name, read) in contrasts.chain(controls) {
                let arms = arms_read(read).unwrap();
                assert!(!arms.is_empty(), "{}, {name}: reads nothing", finding.id());
                if plan.not_run.iter().any(|not_run| arms.contains(&not_run.arm)) {
                    continue;
                }
                for arm in arms {
                    let seeds = plan.cells.iter().filter(|cell| cell.arm == arm).count();
                    let id = finding.id();
                    assert!(seeds >= FEWEST_SEEDS, "{id}, {name}: {arm} has {seeds} seeds");
                }
                compared += 1;
            }
            let needs_data = ["decision-losses"].contains(&finding.id());
            assert!(compared > 0 || needs_data, "{}", finding.id());
        }
    }
}
