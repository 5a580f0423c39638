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
    use headwater_protocol::{
        DeviceKind, Metrics, PerSeed, Plan, Preset, ProtocolError, Records, Settings,
    };

    /// Whether every arm that `read` reads is planned at a seed, whatever its metrics are called: asked for one, all arms get it. Nothing
    /// where an arm is not run, as its data set is missing.
    fn finds_its_arms(plan: &Plan, seed: u64, read: PerSeed) -> Option<bool> {
        let (mut scalars, mut series) = (Vec::new(), Vec::new());
        loop {
            let metrics = || {
                let rising = || (1..=40).map(|at| f64::from(at) / 64.0).collect();
                let with_scalars = scalars
                    .iter()
                    .fold(Metrics::new(), |m, name: &String| m.scalar(name.as_str(), 0.5));
                let series = series.iter();
                series.fold(with_scalars, |m, name: &String| m.series(name.as_str(), rising()))
            };
            let cells = plan.cells.iter().filter(|cell| cell.seed == seed);
            let records = Records::new(cells.map(|cell| (cell.arm.clone(), seed, metrics())));
            match read(&records.seed(seed)) {
                Err(ProtocolError::NoMetric { metric, kind: "scalar", .. }) => scalars.push(metric),
                Err(ProtocolError::NoMetric { metric, .. }) => series.push(metric),
                Err(ProtocolError::NoRecord { arm, .. }) => {
                    let is_left_out = plan.not_run.iter().any(|not_run| not_run.arm == arm);
                    return (!is_left_out).then_some(false);
                }
                _ => return Some(true),
            }
        }
    }

    #[test]
    fn what_contrasts_and_controls_read_is_run_at_five_seeds_or_more() {
        for finding in all(data::DataDir::default()) {
            let settings =
                Settings { preset: Preset::Quick, seeds: None, device: DeviceKind::Flex };
            let plan = finding.plan(&settings).unwrap();
            let most = plan.cells.iter().map(|cell| cell.seed).max().unwrap();
            let contrasts = finding.contrasts().into_iter().map(|c| (c.name, c.per_seed));
            let controls = finding.controls().into_iter().map(|c| (c.name, c.per_seed));
            let mut compared = 0;
            for (name, read) in contrasts.chain(controls) {
                let seeds: Option<Vec<bool>> =
                    (0..=most).map(|seed| finds_its_arms(&plan, seed, read)).collect();
                let Some(seeds) = seeds else { continue };
                let found = seeds.iter().filter(|found| **found).count();
                assert!(found >= 5, "{}, {name}: {found} seeds", finding.id());
                compared += 1;
            }
            let needs_data = ["decision-losses"].contains(&finding.id());
            assert!(compared > 0 || needs_data, "{}", finding.id());
        }
    }
}
