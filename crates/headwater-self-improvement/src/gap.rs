//! The generation-verification gap (Song et al. 2024, "Mind the Gap", arXiv 2412.02674): what a policy's mean utility gains when
//! its distribution f over answers is reweighted by what a verifier says of them,
//!
//! `f_w(y) ∝ f(y) w(y)`, `gap = E_{f_w} u - E_f u`, `relative gap = gap / (U_max - E_f u)`.
//!
//! For one prompt this is `Cov_f(u, w) / E_f w`; with right and wrong answers only, accuracy a, TPR = E[w | right] and FPR =
//! E[w | wrong], it is `a (1 - a) (TPR - FPR) / E w`, and relative to 1 - a it is `a (TPR - FPR) / E w` (our algebra, tested against the
//! definition). The gap is thus lost in one of two ways: a goes to 0 or 1 prompt by prompt, or TPR comes down to FPR.
//!
//! Weights are 1 and 0 for rejection sampling, `exp(score / beta)` for a KL-regularised update. Where nothing has weight there is no
//! f_w, and the gap is `None`.

use headwater_evaluation::EvaluationError;

use crate::SelfImprovementError;

/// Gap of one prompt, in units of the utility, from each answer's share under the policy (0 or more, not all 0; they need not sum
/// to 1), utility and weight (0 or more). For n samples every share is 1. `None` where no answer of the policy has weight.
///
/// # Errors
/// No answers, lengths that differ, entries that are not finite or out of range.
pub fn gap(
    share: &[f64],
    utility: &[f64],
    weight: &[f64],
) -> Result<Option<f64>, SelfImprovementError> {
    let moments = Moments::of(share, utility, weight)?;
    // The covariance in the place of a difference of means: it keeps its digits where weights are all but equal.
    Ok((moments.weight > 0.0).then(|| moments.covariance / moments.weight))
}

/// The same over what is left to gain, `most - E_f u` with `most` the largest utility possible; `None`, too, where nothing is
/// left, or no more than rounding (1e-12 of `most`).
///
/// # Errors
/// As [`gap`], a `most` that is not finite, and a utility above it.
pub fn relative_gap(
    share: &[f64],
    utility: &[f64],
    weight: &[f64],
    most: f64,
) -> Result<Option<f64>, SelfImprovementError> {
    if !most.is_finite() {
        let allowed = "a finite number";
        return Err(EvaluationError::Argument { argument: "most", value: most, allowed }.into());
    }
    if let Some(index) = utility.iter().position(|u| *u > most) {
        return Err(entry("utility", index, utility[index], "at most the largest utility").into());
    }
    let left = most - Moments::of(share, utility, weight)?.utility;
    let something = left > 1e-12 * most.abs();
    Ok(gap(share, utility, weight)?.filter(|_| something).map(|gap| gap / left))
}

/// Means of utility and weight under the policy, and their covariance.
struct Moments {
    utility: f64,
    weight: f64,
    covariance: f64,
}

impl Moments {
    fn of(share: &[f64], utility: &[f64], weight: &[f64]) -> Result<Self, EvaluationError> {
        for (right, values) in [("utility", utility), ("weight", weight)] {
            same_length(("share", share.len()), (right, values.len()))?;
        }
        let every = |name, values: &[f64], least: f64, allowed| match values
            .iter()
            .position(|v| !v.is_finite() || *v < least)
        {
            Some(index) => Err(entry(name, index, values[index], allowed)),
            None => Ok(()),
        };
        every("share", share, 0.0, "a finite number of 0 or more")?;
        every("utility", utility, f64::NEG_INFINITY, "a finite number")?;
        every("weight", weight, 0.0, "a finite number of 0 or more")?;
        let total: f64 = share.iter().sum();
        if total <= 0.0 {
            let allowed = "above 0";
            return Err(EvaluationError::Argument {
                argument: "sum of share",
                value: total,
                allowed,
            });
        }
        let mean = |of: &dyn Fn(usize) -> f64| {
            share.iter().enumerate().map(|(at, share)| share * of(at)).sum::<f64>() / total
        };
        let [u, w] = [mean(&|at| utility[at]), mean(&|at| weight[at])];
        let covariance = mean(&|at| (utility[at] - u) * (weight[at] - w));
        Ok(Self { utility: u, weight: w, covariance })
    }
}

/// What a verifier says of one prompt's samples, by whether they are right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VerdictRates {
    /// Samples.
    pub samples: usize,
    /// a: share of right samples.
    pub accuracy: f64,
    /// E[w | right]: with verdicts of 1 and 0 the true-positive rate. `None` where no sample is right.
    pub true_positive: Option<f64>,
    /// E[w | wrong]. `None` where no sample is wrong.
    pub false_positive: Option<f64>,
    /// E w.
    pub accepted: f64,
}

impl VerdictRates {
    /// Rates of samples that are `right` or not, with weights of 0 or more.
    ///
    /// # Errors
    /// No samples, lengths that differ, or a weight that is not finite or below 0.
    pub fn of(right: &[bool], weight: &[f64]) -> Result<Self, SelfImprovementError> {
        let share = vec![1.0; right.len()];
        let utility: Vec<f64> = right.iter().map(|right| f64::from(u8::from(*right))).collect();
        let moments = Moments::of(&share, &utility, weight)?;
        let mean_where = |wanted: bool| {
            let of: Vec<f64> = right
                .iter()
                .zip(weight)
                .filter(|(right, _)| **right == wanted)
                .map(|(_, weight)| *weight)
                .collect();
            (!of.is_empty()).then(|| of.iter().sum::<f64>() / of.len() as f64)
        };
        Ok(Self {
            samples: right.len(),
            accuracy: moments.utility,
            true_positive: mean_where(true),
            false_positive: mean_where(false),
            accepted: moments.weight,
        })
    }

    /// `a (1 - a) (TPR - FPR) / E w`. 0 where all samples are right or all are wrong (reweighting changes nothing then);
    /// `None` where nothing is accepted.
    #[must_use]
    pub fn gap(&self) -> Option<f64> {
        let informed = match (self.true_positive, self.false_positive) {
            (Some(right), Some(wrong)) => right - wrong,
            _ => 0.0,
        };
        let gap = || self.accuracy * (1.0 - self.accuracy) * informed / self.accepted;
        (self.accepted > 0.0).then(gap)
    }

    /// `a (TPR - FPR) / E w`; `None`, too, where every sample is right and nothing is left to gain.
    #[must_use]
    pub fn relative_gap(&self) -> Option<f64> {
        self.gap().filter(|_| self.accuracy < 1.0).map(|gap| gap / (1.0 - self.accuracy))
    }
}

/// Mean over those prompts on which something is defined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DefinedMean {
    /// The mean; `None` where it is defined on no prompt.
    pub mean: Option<f64>,
    /// Prompts on which it is defined.
    pub defined: usize,
    /// All prompts. A mean over few of them says little of the others.
    pub prompts: usize,
}

impl DefinedMean {
    /// Of one value, or none, per prompt.
    pub fn of(values: impl IntoIterator<Item = Option<f64>>) -> Self {
        let (mut sum, mut defined, mut prompts) = (0.0, 0, 0);
        for value in values {
            prompts += 1;
            if let Some(value) = value {
                sum += value;
                defined += 1;
            }
        }
        let mean = (defined > 0).then(|| sum / defined as f64);
        Self { mean, defined, prompts }
    }
}

fn entry(
    argument: &'static str,
    index: usize,
    value: f64,
    allowed: &'static str,
) -> EvaluationError {
    EvaluationError::Entry { argument, index, value, allowed }
}

fn same_length(
    (left, left_length): (&'static str, usize),
    (right, right_length): (&'static str, usize),
) -> Result<(), EvaluationError> {
    if left_length == right_length {
        return Ok(());
    }
    Err(EvaluationError::LengthMismatch { left, left_length, right, right_length })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-12 * (1.0 + a.abs())
    }

    proptest! {
        #[test]
        fn the_covariance_is_the_difference_of_means(
            rows in prop::collection::vec((0.01..1.0f64, -3.0..3.0f64, 0.0..2.0f64), 1..12),
        ) {
            let column = |of: fn(&(f64, f64, f64)) -> f64| rows.iter().map(of).collect::<Vec<_>>();
            let (share, u, w) = (column(|r| r.0), column(|r| r.1), column(|r| r.2));
            let total: f64 = share.iter().sum();
            let before: f64 = rows.iter().map(|(f, u, _)| f * u / total).sum();
            let accepted: f64 = rows.iter().map(|(f, _, w)| f * w).sum();
            prop_assume!(accepted > 1e-6);
            let after = rows.iter().map(|(f, u, w)| f * w * u).sum::<f64>() / accepted;
            let gap = gap(&share, &u, &w).unwrap().unwrap();
            prop_assert!((gap - (after - before)).abs() < 1e-11);
            let relative = relative_gap(&share, &u, &w, 4.0).unwrap().unwrap();
            prop_assert!((relative - (after - before) / (4.0 - before)).abs() < 1e-11);
        }

        #[test]
        fn rates_give_the_same_gap_as_the_definition(
            rows in prop::collection::vec((any::<bool>(), 0.0..2.0f64), 1..20), binary: bool,
        ) {
            let right: Vec<bool> = rows.iter().map(|row| row.0).collect();
            let threshold = |w: f64| if binary { f64::from(u8::from(w > 1.0)) } else { w };
            let weight: Vec<f64> = rows.iter().map(|row| threshold(row.1)).collect();
            let utility: Vec<f64> = right.iter().map(|r| f64::from(u8::from(*r))).collect();
            let share = vec![1.0; rows.len()];
            let rates = VerdictRates::of(&right, &weight).unwrap();
            for (a, b) in [
                (rates.gap(), gap(&share, &utility, &weight).unwrap()),
                (rates.relative_gap(), relative_gap(&share, &utility, &weight, 1.0).unwrap()),
            ] {
                prop_assert!(a.zip(b).is_some_and(|(a, b)| close(a, b)) || a == b, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_hand_computed_prompt() {
        // Right 2 of 4; accepted: both right ones and one wrong. E u after = 2/3, before 1/2.
        let rates = VerdictRates::of(&[true, true, false, false], &[1.0, 1.0, 1.0, 0.0]).unwrap();
        assert_eq!((rates.true_positive, rates.false_positive), (Some(1.0), Some(0.5)));
        assert!(close(rates.gap().unwrap(), 1.0 / 6.0));
        assert!(close(rates.relative_gap().unwrap(), 1.0 / 3.0));
    }

    #[test]
    fn what_is_undefined_is_none_and_what_is_senseless_an_error() {
        let none_accepted = VerdictRates::of(&[true, false], &[0.0, 0.0]).unwrap();
        assert_eq!((none_accepted.gap(), none_accepted.relative_gap()), (None, None));
        let all_right = VerdictRates::of(&[true, true], &[1.0, 0.0]).unwrap();
        assert_eq!(all_right.false_positive, None);
        assert_eq!((all_right.gap(), all_right.relative_gap()), (Some(0.0), None));
        let all_wrong = VerdictRates::of(&[false], &[1.0]).unwrap();
        assert_eq!((all_wrong.true_positive, all_wrong.gap()), (None, Some(0.0)));

        assert!(VerdictRates::of(&[], &[]).is_err());
        let says = |share: &[f64], utility: &[f64], weight: &[f64]| {
            gap(share, utility, weight).unwrap_err().to_string()
        };
        assert!(says(&[1.0], &[1.0], &[1.0, 2.0]).contains("`weight` has 2"));
        assert!(says(&[1.0], &[1.0], &[-1.0]).contains("`weight[0]` = -1"));
        assert!(says(&[0.0], &[1.0], &[1.0]).contains("`sum of share` = 0"));
        assert!(relative_gap(&[1.0], &[2.0], &[1.0], 1.0).is_err());
        for most in [f64::NAN, f64::INFINITY] {
            let error = relative_gap(&[1.0], &[2.0], &[1.0], most).unwrap_err().to_string();
            assert!(error.contains(&format!("`most` = {most}")), "{error}");
        }
        // All have the most there is, though their mean is not quite that.
        let none = relative_gap(&[1.0, 1.0, 1.0], &[0.7; 3], &[1.0, 0.0, 0.5], 0.7).unwrap();
        assert_eq!(none, None);
        let none = relative_gap(&[0.1, 0.2, 0.7], &[0.3; 3], &[1.0, 0.0, 0.5], 0.1 + 0.2).unwrap();
        assert_eq!(none, None);

        let mean = DefinedMean::of([Some(1.0), None, Some(3.0)]);
        assert_eq!(mean, DefinedMean { mean: Some(2.0), defined: 2, prompts: 3 });
        assert_eq!(DefinedMean::of([None]).mean, None);
    }
}
