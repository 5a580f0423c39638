//! The findings: what is claimed, what carries each claim, and how it is shown; one file each.

use headwater_report::Chapter;

use headwater_data::DataDir;

mod calibration;
mod cascade;
mod causal_rewards;
mod critique_plateau;
mod decision_losses;
mod directive_feedback;
mod feedback_loop;
mod negative_reinforcement;
mod reasoning_judges;
mod rubric_gates;
mod self_improvement;

/// Every finding, in the order of the report.
#[must_use]
pub fn all(data: &DataDir) -> Vec<Chapter> {
    vec![
        calibration::chapter(),
        decision_losses::chapter(data),
        negative_reinforcement::chapter(),
        directive_feedback::chapter(),
        critique_plateau::chapter(),
        causal_rewards::chapter(data),
        reasoning_judges::chapter(),
        rubric_gates::chapter(),
        feedback_loop::chapter(data),
        self_improvement::chapter(),
        cascade::chapter(data),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use headwater_protocol::{
        DeviceKind, FEWEST_SEEDS, Finding, Measure, NotRun, Plan, Preset, Settings,
    };

    use super::*;

    fn settings(preset: Preset) -> Settings {
        Settings { preset, seeds: None, device: DeviceKind::Flex }
    }

    fn quick(finding: &Finding) -> Plan {
        finding.plan(&settings(Preset::Quick), &[]).unwrap()
    }

    /// The seeds of every arm that a comparison reads, with the name of what reads it.
    fn seeds_of_arms_read(finding: &Finding, plan: &Plan) -> Vec<(String, String, usize)> {
        let contrasts = finding.contrasts().into_iter().map(|c| (&c.name, &c.measure));
        let controls = finding.controls().into_iter().map(|c| (&c.name, &c.measure));
        let mut found = Vec::new();
        for (name, measure) in contrasts.chain(controls) {
            let name = format!("{}, {name}", finding.id);
            let reads = Measure::reads(measure);
            assert!(!reads.is_empty(), "{name}: reads nothing");
            for arm in reads.iter().map(|read| read.arm()) {
                let seeds = plan.cells.iter().filter(|cell| cell.arm == *arm).count();
                found.push((name.clone(), arm.to_string(), seeds));
            }
        }
        assert!(!found.is_empty(), "{}: compares nothing", finding.id);
        found
    }

    #[test]
    fn without_data_an_arm_that_is_read_has_five_seeds_or_more_or_is_listed_with_its_reason() {
        for Chapter { finding, .. } in all(&DataDir::default()) {
            let plan = quick(&finding);
            for (name, arm, seeds) in seeds_of_arms_read(&finding, &plan) {
                let is_it = |not_run: &&NotRun| not_run.arm.name() == arm;
                match plan.not_run.iter().find(is_it) {
                    None => assert!(seeds >= FEWEST_SEEDS, "{name}: {arm} has {seeds} seeds"),
                    Some(not_run) => {
                        assert_eq!(seeds, 0, "{name}: {arm} is run and listed as not run");
                        let reason = &not_run.reason;
                        assert!(reason.contains("not found"), "{name}: {reason}");
                    }
                }
            }
            assert!(!plan.cells.is_empty(), "{}: runs nothing", finding.id);
        }
    }

    #[test]
    #[ignore = "real data"]
    fn with_data_every_arm_that_is_read_has_five_seeds_or_more() {
        for Chapter { finding, .. } in all(&crate::testing::real_data()) {
            let plan = quick(&finding);
            assert!(plan.not_run.is_empty(), "{}: {:?}", finding.id, plan.not_run);
            for (name, arm, seeds) in seeds_of_arms_read(&finding, &plan) {
                assert!(seeds >= FEWEST_SEEDS, "{name}: {arm} has {seeds} seeds");
            }
        }
    }

    #[test]
    fn every_comparison_figure_and_table_reads_what_its_experiments_provide() {
        for preset in [Preset::Smoke, Preset::Quick, Preset::Full] {
            for chapter in all(&DataDir::default()) {
                chapter.check(&settings(preset)).unwrap();
                chapter.finding.plan(&settings(preset), &[]).unwrap();
            }
        }
    }

    #[test]
    fn a_claim_is_a_sentence_of_its_finding_and_runs_by_itself() {
        for Chapter { finding, .. } in all(&DataDir::default()) {
            for claim in &finding.claims {
                let own = claim.id.strip_prefix(finding.id).and_then(|id| id.strip_prefix('/'));
                assert!(own.is_some_and(|own| !own.is_empty()), "{}", claim.id);
                let sentence = claim.sentence;
                let begins = sentence.starts_with(char::is_uppercase);
                assert!(begins && sentence.ends_with('.'), "{sentence}");
                assert!(!claim.contrasts.is_empty(), "{}", claim.id);
                // No network learns there from what is not there: a fair test has yet to be found.
                let is_bare = claim.id == "feedback-loop/both-needed";
                assert_eq!(claim.controls.is_empty(), is_bare, "{}", claim.id);
                let plan = finding.plan(&settings(Preset::Quick), &[claim.id.into()]).unwrap();
                let whole = quick(&finding).cells.len();
                assert!(plan.cells.len() <= whole, "{}", claim.id);
                assert!(!plan.cells.is_empty() || !plan.not_run.is_empty(), "{}", claim.id);
            }
            let ids: HashSet<&str> = finding.claims.iter().map(|claim| claim.id).collect();
            assert_eq!(ids.len(), finding.claims.len(), "{}", finding.id);
        }
    }
}
