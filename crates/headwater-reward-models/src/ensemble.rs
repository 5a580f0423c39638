//! Ensembles of reward models (Coste et al. 2023, arXiv 2310.02743).

use serde::{Deserialize, Serialize};

use crate::RewardModelError;

/// How the members' scores of one input become one score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Combination {
    /// The mean.
    Mean,
    /// The minimum: worst-case optimisation (WCO).
    Minimum,
    /// The mean less `weight` times the population variance: uncertainty-weighted optimisation (UWO); the
    /// paper's best-of-n weight is 0.5.
    MeanLessVariance {
        /// Weight of the variance.
        weight: f64,
    },
}

/// Combines `members[m][i]`, the score of input i by member m, into one score per input.
///
/// Members should score on one scale: standardise them first if their training does not.
///
/// # Errors
/// No members, members with different numbers of scores, a score or weight that is not finite, or a
/// combination of them that is not.
pub fn combine(
    members: &[Vec<f64>],
    combination: Combination,
) -> Result<Vec<f64>, RewardModelError> {
    let expected = members.first().ok_or(RewardModelError::Empty)?.len();
    if let Some(member) = members.iter().position(|scores| scores.len() != expected) {
        let found = members[member].len();
        return Err(RewardModelError::Members { member, found, expected });
    }
    for scores in members {
        if let Some(index) = scores.iter().position(|score| !score.is_finite()) {
            return Err(RewardModelError::Score { index, value: scores[index] });
        }
    }
    if let Combination::MeanLessVariance { weight } = combination
        && !weight.is_finite()
    {
        return Err(RewardModelError::Weight { value: weight });
    }
    let count = members.len() as f64;
    let combined: Vec<f64> = (0..expected)
        .map(|input| {
            let scores = members.iter().map(|member| member[input]);
            let mean = scores.clone().sum::<f64>() / count;
            match combination {
                Combination::Mean => mean,
                Combination::Minimum => scores.fold(f64::INFINITY, f64::min),
                Combination::MeanLessVariance { weight } => {
                    mean - weight * scores.map(|s| (s - mean).powi(2)).sum::<f64>() / count
                }
            }
        })
        .collect();
    match combined.iter().position(|score| !score.is_finite()) {
        None => Ok(combined),
        Some(index) => Err(RewardModelError::Combined { index, value: combined[index] }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_combinations_of_known_scores() {
        let members = [vec![1.0, 0.0], vec![3.0, 0.0], vec![2.0, 6.0]];
        assert_eq!(combine(&members, Combination::Mean), Ok(vec![2.0, 2.0]));
        assert_eq!(combine(&members, Combination::Minimum), Ok(vec![1.0, 0.0]));
        // Population variances 2/3 and 8.
        let combined = combine(&members, Combination::MeanLessVariance { weight: 0.5 }).unwrap();
        assert!((combined[0] - (2.0 - 1.0 / 3.0)).abs() < 1e-12);
        assert!((combined[1] - (2.0 - 4.0)).abs() < 1e-12);
    }

    #[test]
    fn what_is_no_number_is_named() {
        let two = [vec![1.0], vec![2.0]];
        for weight in [f64::NAN, f64::INFINITY] {
            let error = combine(&two, Combination::MeanLessVariance { weight }).unwrap_err();
            assert_eq!(error.to_string(), format!("weight = {weight}: allowed is a finite number"));
        }
        let far = [vec![0.0, 1e200], vec![1.0, -1e200]];
        let error = combine(&far, Combination::MeanLessVariance { weight: 0.5 }).unwrap_err();
        let wanted = "the members' scores of input 1 combine to -inf, not a finite number";
        assert_eq!(error.to_string(), wanted);
        assert_eq!(combine(&far, Combination::Minimum), Ok(vec![0.0, -1e200]));
    }

    #[test]
    fn members_of_different_length_are_named() {
        let error = combine(&[vec![1.0], vec![]], Combination::Mean).unwrap_err();
        assert_eq!(error.to_string(), "member 1 has 0 scores: expected 1");
    }
}
