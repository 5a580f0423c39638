//! Counterfactual invariance by independence: the penalty of causal reward modelling (Wang et al. 2025,
//! arXiv 2501.09620, section 3), made precise where the paper leaves it open.
//!
//! A score that does not react to a spurious factor Z is independent of Z under the right conditioning
//! (Veitch et al. 2021, arXiv 2106.00545): on the label where the label causes Z, on nothing where Z and the
//! label are confounded. The penalty is the sum over pairs of bins of Z of the squared maximum mean
//! discrepancy between the scores in the two bins. It enforces a necessary condition only.
//!
//! Chosen here: scores relative to the mean of their pair; standardised over the batch (the deviation counts as a
//! constant in the gradient), so that a small scale is not rewarded; a Gaussian kernel of bandwidth 1 on them; the
//! unbiased estimator, which may be negative, in time linear in the responses; bins by quantiles within a group, compared if both have [`LEAST_IN_BIN`]
//! members; the mean over pairs of bins, so that a weight means the same for any number of them, and the sum over groups.
//!
//! Why relative to the pair: what a prompt adds to both of its responses costs the likelihood nothing. Pooled scores let
//! training spread the prompts apart until the bins look alike: the deviation doubled and most of the bias stayed. A
//! perfect reward satisfies the relative condition as it does the other, unless the factor of one response goes with how good
//! the other one is.
//!
//! Why not the biased estimator: it is positive where there is no dependence, the more so the fewer the members, and less
//! for scores that lie closer together. At 64 pairs a batch and weight 3 that alone flattened the score: the bias
//! "vanished" as well when the factor had been permuted. With the unbiased one a permuted factor has no gradient on average.
//! Its noise is left: under AdamW that slows what the likelihood can learn, and in batches of a few hundred pairs or
//! fewer it can stop it, so prefer larger ones and hold a permuted factor against every result.

use headwater_core::{ConfigError, require, require_non_negative};
use serde::{Deserialize, Serialize};

use crate::gaussian_sums::GaussianSums;
use crate::rounding::{alike, all_alike};

/// Scores a bin must have in a batch to be compared.
pub const LEAST_IN_BIN: usize = 4;

/// Within which sets of responses the score shall be independent of the factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grouping {
    /// All responses: the paper's unconditional variant.
    Unconditional,
    /// Chosen and rejected ones apart: the paper's conditional variant.
    Conditional,
    /// Responses with the same answer label apart ([`crate::Response::answer`]). For a factor of the prompt,
    /// which both responses share: pooled, a bias that raises one answer and lowers the other cancels.
    WithinAnswer,
}

/// The penalty's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvariancePenaltyConfig {
    /// Where independence is asked for.
    pub grouping: Grouping,
    /// Weight of the penalty (lambda), 0 or more.
    pub weight: f64,
    /// Most bins of the factor, 2 or more; a factor of fewer values has a bin for each.
    pub bins: usize,
}

impl InvariancePenaltyConfig {
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let name = "InvariancePenaltyConfig";
        require_non_negative(name, "weight", self.weight)?;
        require(self.bins >= 2, name, "bins", self.bins, "2 or more")
    }
}

/// The unweighted penalty and its gradient with respect to the scores.
///
/// `factors[i]` is Z of response i and `groups[i]` the set it belongs to; `scores` are relative to their pairs already.
/// Scores that are constant up to rounding have penalty 0.
///
/// # Panics
/// When the three slices differ in length, or `bins` is 0.
#[must_use]
pub fn invariance_penalty(
    scores: &[f64],
    factors: &[f64],
    groups: &[u32],
    bins: usize,
) -> (f64, Vec<f64>) {
    assert!(scores.len() == factors.len() && scores.len() == groups.len(), "one Z and group each");
    assert!(bins > 0, "at least one bin");
    let count = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / count;
    let deviation = (scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / count).sqrt();
    let mut gradient = vec![0.0; scores.len()];
    if deviation == 0.0 || all_alike(scores) {
        return (0.0, gradient);
    }
    let standardised = |at: &usize| (scores[*at] - mean) / deviation;
    let mut penalty = 0.0;
    let mut names: Vec<u32> = groups.to_vec();
    names.sort_unstable();
    names.dedup();
    for group in names {
        let members: Vec<usize> = (0..scores.len()).filter(|i| groups[*i] == group).collect();
        let mut binned = bins_of(&members, factors, bins);
        binned.retain(|bin| bin.len() >= LEAST_IN_BIN);
        let others = binned.len().saturating_sub(1) as f64;
        let weight = 2.0 / (binned.len() as f64 * others).max(1.0);
        let values: Vec<Vec<f64>> =
            binned.iter().map(|bin| bin.iter().map(standardised).collect()).collect();
        let sums: Vec<GaussianSums> = values.iter().map(|v| GaussianSums::new(v)).collect();
        for (own, (bin, values)) in binned.iter().zip(&values).enumerate() {
            let n = bin.len() as f64;
            for (at, score) in bin.iter().zip(values) {
                for (other, sums) in sums.iter().enumerate() {
                    let (sum, slope) = sums.at(*score);
                    let share = if other == own {
                        // Pairs of different members, once for each bin that this one is compared with.
                        let share = weight * others / (n * (n - 1.0));
                        penalty += share * (sum - 1.0);
                        share
                    } else {
                        // A pair between bins is met from both.
                        let share = -weight / (n * binned[other].len() as f64);
                        penalty += share * sum;
                        share
                    };
                    gradient[*at] += 2.0 * share * slope / deviation;
                }
            }
        }
    }
    (penalty, gradient)
}

/// Members sorted into at most `bins` sets by quantiles of their factor; equal factors (up to
/// rounding) stay together.
fn bins_of(members: &[usize], factors: &[f64], bins: usize) -> Vec<Vec<usize>> {
    let mut sorted = members.to_vec();
    sorted.sort_by(|a, b| factors[*a].total_cmp(&factors[*b]));
    let mut runs: Vec<Vec<usize>> = Vec::new();
    for member in sorted {
        match runs.last_mut() {
            Some(run) if alike(factors[run[0]], factors[member]) => run.push(member),
            _ => runs.push(vec![member]),
        }
    }
    if runs.len() <= bins {
        return runs;
    }
    let mut binned: Vec<Vec<usize>> = vec![Vec::new(); bins];
    let mut seen = 0;
    for run in runs {
        // A run goes where its middle lies.
        let middle = seen as f64 + run.len() as f64 / 2.0;
        seen += run.len();
        let bin = (middle / members.len() as f64 * bins as f64) as usize;
        binned[bin.min(bins - 1)].extend(run);
    }
    binned
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The recipe again in double precision, bins given.
    fn slow(scores: &[f64], sets: &[(Vec<usize>, Vec<usize>)], scale: f64) -> f64 {
        let z = |i: &usize| scores[*i] / scale;
        let k = |a: &[usize], b: &[usize]| {
            let pairs = a.iter().flat_map(|i| b.iter().map(move |j| (i, j)));
            let pairs: Vec<_> = pairs.filter(|(i, j)| i != j).collect();
            let sum: f64 = pairs.iter().map(|(i, j)| (-(z(i) - z(j)).powi(2) / 2.0).exp()).sum();
            sum / pairs.len() as f64
        };
        sets.iter().map(|(a, b)| k(a, a) + k(b, b) - 2.0 * k(a, b)).sum()
    }

    fn deviation(scores: &[f64]) -> f64 {
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        let square = scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>();
        (square / scores.len() as f64).sqrt()
    }

    proptest! {
        #[test]
        fn value_and_gradient_of_a_binary_factor(scores in prop::collection::vec(-3.0..3.0f64, 16)) {
            let factors: Vec<f64> = (0..16).map(|i| f64::from(i % 2)).collect();
            let groups: Vec<u32> = (0..16).map(|i| i / 8).collect();
            let set = |group: u32, z: f64| -> Vec<usize> {
                (0..16).filter(|i| groups[*i] == group && factors[*i] == z).collect()
            };
            let sets = [(set(0, 0.0), set(0, 1.0)), (set(1, 0.0), set(1, 1.0))];
            let scale = deviation(&scores);
            let (value, gradient) = invariance_penalty(&scores, &factors, &groups, 2);
            prop_assert!((value - slow(&scores, &sets, scale)).abs() < 1e-12);
            for i in 0..16 {
                let moved = |by: f64| {
                    let mut scores = scores.clone();
                    scores[i] += by;
                    slow(&scores, &sets, scale)
                };
                let numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                prop_assert!((gradient[i] - numeric).abs() < 1e-8, "{i}: {} {numeric}", gradient[i]);
            }
        }

        #[test]
        fn scale_and_shift_of_the_scores_do_not_matter(
            scores in prop::collection::vec(-3.0..3.0f64, 20), scale in 0.1..50.0f64, shift in -9.0..9.0f64,
        ) {
            let factors: Vec<f64> = (0..20).map(f64::from).collect();
            let moved: Vec<f64> = scores.iter().map(|s| scale * s + shift).collect();
            let (value, _) = invariance_penalty(&scores, &factors, &[0; 20], 3);
            let (again, _) = invariance_penalty(&moved, &factors, &[0; 20], 3);
            prop_assert!((value - again).abs() < 1e-10);
        }
    }

    #[test]
    fn a_pooled_dependence_vanishes_within_groups() {
        // The score is the group, and Z goes with the group: dependent pooled, independent within.
        let groups: Vec<u32> = (0..40).map(|i| i % 2).collect();
        let factors: Vec<f64> =
            (0..40).map(|i| f64::from(u32::from(i % 2 == 0) ^ u32::from(i % 5 == 0))).collect();
        let scores: Vec<f64> = groups.iter().map(|g| f64::from(*g)).collect();
        let (pooled, _) = invariance_penalty(&scores, &factors, &[0; 40], 2);
        let (within, gradient) = invariance_penalty(&scores, &factors, &groups, 2);
        assert!(pooled > 0.1 && within.abs() < 1e-12, "{pooled} {within}");
        assert!(gradient.iter().all(|g| g.abs() < 1e-6));
    }

    #[test]
    fn bins_are_quantiles_and_keep_equal_factors_together() {
        let factors: Vec<f64> = vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let binned = bins_of(&(0..12).collect::<Vec<_>>(), &factors, 3);
        assert_eq!(binned.iter().map(Vec::len).collect::<Vec<_>>(), [6, 2, 4]);
        let few = invariance_penalty(&[0.0, 1.0, 5.0], &[0.0, 1.0, 1.0], &[0; 3], 2);
        assert_eq!(few, (0.0, vec![0.0; 3]), "too few to compare");
        let constant = invariance_penalty(&[2.0; 12], &factors, &[0; 12], 2);
        assert_eq!(constant.0, 0.0);
        let residue: Vec<f64> = (0..12).map(|i| if i % 2 == 0 { 0.3 } else { 0.1 + 0.2 }).collect();
        let (penalty, slopes) = invariance_penalty(&residue, &factors, &[0; 12], 2);
        assert_eq!((penalty, slopes), (0.0, vec![0.0; 12]), "equal but for rounding");
        assert_eq!(bins_of(&(0..12).collect::<Vec<_>>(), &residue, 3).len(), 1);
    }
}
