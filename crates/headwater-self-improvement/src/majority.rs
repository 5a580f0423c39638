//! Majority-vote rewards: the pseudo-label of a prompt is the answer that most of its own samples give.
//!
//! SRT (Shafayat et al. 2025, arXiv 2505.21444) and TTRL (Zuo et al. 2025, arXiv 2504.16084): per prompt sample a group,
//! reward 1 where the answer is the majority's and 0 elsewhere, then any policy-gradient step. Here it
//! grades in any [`Environment`](headwater_optimizers::Environment), for every objective.

use headwater_core::{Group, Score};
use headwater_optimizers::Grade;

use crate::votes::majority;

/// Grades of each completion: 1 where its answer is its group's majority answer, else 0.
///
/// `extract` reads the answer of a completion and must not look at its format, or else a vote is split between ways
/// of writing one answer. A completion without an answer has no vote and gets 0; in a group without any answer all do. Of
/// answers with as many votes the one of the earliest sample is the majority's; the papers do not say how they break
/// ties.
pub fn graded_by_majority<T: Eq>(
    groups: &[Group],
    extract: impl Fn(&str) -> Option<T>,
) -> Vec<Grade> {
    let graded = groups.iter().flat_map(|group| {
        let answers: Vec<Option<T>> = group.completions.iter().map(|c| extract(c)).collect();
        let votes: Vec<&T> = answers.iter().flatten().collect();
        let label = majority(&votes).map(|vote| *vote.answer);
        let agrees = answers.iter().map(|answer| answer.is_some() && answer.as_ref() == label);
        agrees.collect::<Vec<bool>>()
    });
    let grade =
        |agrees| Grade { reward: Score::Scored(f64::from(u8::from(agrees))), correct: None };
    graded.map(grade).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_optimizers::{Experience, Objective};

    fn rewards(completions: &[&str]) -> Vec<f64> {
        let group = Group {
            prompt: "2+2=".into(),
            reference: None,
            completions: completions.iter().map(|text| text.to_string()).collect(),
        };
        let grades = graded_by_majority(&[group], |text| text.trim().parse::<i64>().ok());
        grades.iter().map(|grade| grade.reward.value().unwrap()).collect()
    }

    #[test]
    fn votes_are_counted_by_answer_and_not_by_its_format() {
        assert_eq!(rewards(&["5", "4", " 4", "04"]), [0.0, 1.0, 1.0, 1.0]);
        assert_eq!(rewards(&["no", "4", "none", "no"]), [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(rewards(&["no", "none"]), [0.0, 0.0]);
    }

    #[test]
    fn of_tied_answers_the_earliest_wins() {
        assert_eq!(rewards(&["7", "4", "4", "7", "5"]), [1.0, 0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn a_group_of_one_mind_has_no_advantage_however_wrong_it_is() {
        for objective in [Objective::grpo(), Objective::dr_grpo(1)] {
            let rewards = rewards(&["5", "5", " 5", "05"]);
            let batch = objective.advantages(&Experience::new(&rewards, 4, &[1; 4])).unwrap();
            assert!(batch.tokens.iter().flatten().all(|advantage| *advantage == 0.0));
        }
    }
}
