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
    use headwater_protocol::{DeviceKind, FEWEST_SEEDS, Plan, Preset, Settings, arms_read};

    fn quick(finding: &dyn Finding) -> Plan {
        let settings = Settings { preset: Preset::Quick, seeds: None, device: DeviceKind::Flex };
        finding.plan(&settings).unwrap()
    }

    /// The seeds of every arm that a contrast or a control reads, with the name of what reads it.
    fn seeds_of_arms_read(finding: &dyn Finding, plan: &Plan) -> Vec<(String, String, usize)> {
        let contrasts = finding.contrasts().into_iter().map(|c| (c.name, c.per_seed));
        let controls = finding.controls().into_iter().map(|c| (c.name, c.per_seed));
        let mut found = Vec::new();
        for (name, per_seed) in contrasts.chain(controls) {
            let name = format!("{}, {name}", finding.id());
            let arms = arms_read(per_seed).unwrap();
            assert!(!arms.is_empty(), "{name}: reads nothing");
            for arm in arms {
                let seeds = plan.cells.iter().filter(|cell| cell.arm == arm).count();
                found.push((name.clone(), arm, seeds));
            }
        }
        assert!(!found.is_empty(), "{}: compares nothing", finding.id());
        found
    }

    #[test]
    fn without_data_an_arm_that_is_read_has_five_seeds_or_more_or_is_listed_with_its_reason() {
        for finding in all(data::DataDir::default()) {
            let plan = quick(&*finding);
            for (name, arm, seeds) in seeds_of_arms_read(&*finding, &plan) {
                let not_run = plan.not_run.iter().find(|not_run| not_run.arm == arm);
                match not_run {
                    None => assert!(seeds >= FEWEST_SEEDS, "{name}: {arm} has {seeds} seeds"),
                    Some(not_run) => {
                        assert_eq!(seeds, 0, "{name}: {arm} is run and listed as not run");
                        let reason = &not_run.reason;
                        assert!(reason.contains("not found"), "{name}: {reason}");
                    }
                }
            }
            assert!(!plan.cells.is_empty(), "{}: runs nothing", finding.id());
        }
    }

    #[test]
    #[ignore = "real data"]
    fn with_data_every_arm_that_is_read_has_five_seeds_or_more() {
        for finding in all(data::testing::real_data()) {
            let plan = quick(&*finding);
            assert!(plan.not_run.is_empty(), "{}: {:?}", finding.id(), plan.not_run);
            for (name, arm, seeds) in seeds_of_arms_read(&*finding, &plan) {
                assert!(seeds >= FEWEST_SEEDS, "{name}: {arm} has {seeds} seeds");
            }
        }
    }
}
