//! The generation-verification gap (Song et al. 2024, arXiv 2412.02674): what a model gains by weighing its own answers with a
//! verifier's scores before it learns from them.
//!
//! With f the distribution of answers, u their utility and w >= 0 what the verifier makes of them, f\[w\] is proportional to f w, and
//! per prompt `gap = E_{f[w]} u - E_f u = Cov_f(u, w) / E_f[w]`. For right and wrong answers, with accuracy a, it is
//! `a (1 - a) (TPR - FPR) / E[w]`: it dies because a goes to 0 or 1, or because the verifier no longer tells right from wrong.

use headwater_evaluation::EvaluationError;

/// One prompt before and after its answers are weighed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gap {
    /// E_f u.
    pub before: f64,
    /// E_{f\[w\]} u.
    pub after: f64,
}

impl Gap {
    /// From the probability, utility and weight of every answer; `None` where no answer has any weight, as nothing is left to
    /// learn from.
    ///
    /// # Errors
    /// Slices of different lengths or none, a probability or weight that is negative or not finite, a utility that is not
    /// finite, probabilities that do not sum to 1 within 1e-6.
    pub fn of(
        probability: &[f64],
        utility: &[f64],
        weight: &[f64],
    ) -> Result<Option<Self>, EvaluationError> {
        for (right, values) in [("utility", utility), ("weight", weight)] {
            if values.len() != probability.len() {
                return Err(EvaluationError::LengthMismatch {
                    left: "probability",
                    left_length: probability.len(),
                    right,
                    right_length: values.len(),
                });
            }
        }
        let at_least_0 = "a finite number of at least 0";
        for (argument, values, least, allowed) in [
            ("probability", probability, 0.0, at_least_0),
            ("weight", weight, 0.0, at_least_0),
            ("utility", utility, f64::NEG_INFINITY, "a finite number"),
        ] {
            let wrong = |value: &f64| !value.is_finite() || *value < least;
            if let Some(index) = values.iter().position(wrong) {
                let value = values[index];
                return Err(EvaluationError::Entry { argument, index, value, allowed });
            }
        }
        let value: f64 = probability.iter().sum();
        if (value - 1.0).abs() > 1e-6 {
            let argument = "sum of probability";
            return Err(EvaluationError::Argument { argument, value, allowed: "1" });
        }
        let (mut before, mut weighed, mut mass) = (0.0, 0.0, 0.0);
        for ((p, u), w) in probability.iter().zip(utility).zip(weight) {
            before += p * u;
            weighed += p * w * u;
            mass += p * w;
        }
        Ok((mass > 0.0).then(|| Self { before, after: weighed / mass }))
    }

    /// The gap.
    #[must_use]
    pub fn absolute(&self) -> f64 {
        self.after - self.before
    }

    /// The share of what was missing to the largest utility; `None` where nothing was.
    #[must_use]
    pub fn relative(&self, largest: f64) -> Option<f64> {
        let missing = largest - self.before;
        (missing > 0.0).then(|| self.absolute() / missing)
    }
}

/// A verifier's verdicts on answers of which it is known whether they are right.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Verdicts {
    /// Right answers.
    pub right: f64,
    /// Right answers that the verifier keeps.
    pub right_kept: f64,
    /// Wrong answers.
    pub wrong: f64,
    /// Wrong answers that it keeps.
    pub wrong_kept: f64,
}

impl Verdicts {
    /// Notes one answer.
    pub fn note(&mut self, is_right: bool, is_kept: bool) {
        let (all, kept) = if is_right {
            (&mut self.right, &mut self.right_kept)
        } else {
            (&mut self.wrong, &mut self.wrong_kept)
        };
        *all += 1.0;
        *kept += f64::from(is_kept);
    }

    /// Share of right answers; `None` without answers.
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        share(self.right, self.right + self.wrong)
    }

    /// Share of right answers that are kept; `None` without right answers.
    #[must_use]
    pub fn true_positive_rate(&self) -> Option<f64> {
        share(self.right_kept, self.right)
    }

    /// Share of wrong answers that are kept; `None` without wrong answers.
    #[must_use]
    pub fn false_positive_rate(&self) -> Option<f64> {
        share(self.wrong_kept, self.wrong)
    }

    /// Accuracy of what is kept less that of all; `None` where nothing is kept.
    #[must_use]
    pub fn gap(&self) -> Option<f64> {
        let after = share(self.right_kept, self.right_kept + self.wrong_kept)?;
        Some(after - self.accuracy()?)
    }
}

fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn by_hand() {
        // Right with 1/4; kept with 0.8 if right and 0.2 if wrong: 0.2 of 0.35.
        let gap = Gap::of(&[0.25, 0.75], &[1.0, 0.0], &[0.8, 0.2]).unwrap().unwrap();
        assert!((gap.after - 0.2 / 0.35).abs() < 1e-15);
        assert!((gap.relative(1.0).unwrap() - gap.absolute() / 0.75).abs() < 1e-15);
        assert_eq!(Gap::of(&[1.0], &[1.0], &[1.0]).unwrap().unwrap().relative(1.0), None);
        assert_eq!(Gap::of(&[0.5, 0.5], &[1.0, 0.0], &[0.0, 0.0]).unwrap(), None);
        let error = Gap::of(&[0.5, 0.4], &[1.0, 0.0], &[1.0, 1.0]).unwrap_err().to_string();
        assert!(error.contains("sum of probability") && error.contains("0.9"), "{error}");
        assert!(Gap::of(&[1.0], &[1.0], &[-1.0]).is_err() && Gap::of(&[], &[], &[]).is_err());
        assert_eq!(Verdicts::default().gap(), None);
    }

    proptest! {
        #[test]
        fn it_is_the_covariance_over_the_mean_weight(
            rows in prop::collection::vec((0.01..1.0f64, -2.0..2.0f64, 0.01..3.0f64), 1..12),
        ) {
            let total: f64 = rows.iter().map(|(p, _, _)| p).sum();
            let p: Vec<f64> = rows.iter().map(|(p, _, _)| p / total).collect();
            let u: Vec<f64> = rows.iter().map(|(_, u, _)| *u).collect();
            let w: Vec<f64> = rows.iter().map(|(_, _, w)| *w).collect();
            let mean = |of: &dyn Fn(usize) -> f64| (0..p.len()).map(|at| p[at] * of(at)).sum::<f64>();
            let covariance = mean(&|at| u[at] * w[at]) - mean(&|at| u[at]) * mean(&|at| w[at]);
            let gap = Gap::of(&p, &u, &w).unwrap().unwrap();
            prop_assert!((gap.absolute() - covariance / mean(&|at| w[at])).abs() < 1e-12);
        }

        #[test]
        fn of_verdicts_it_is_that_of_the_two_rates(
            (right, wrong) in (1u32..50, 1u32..50), (a, b) in (0.0..1.0f64, 0.0..1.0f64),
        ) {
            let kept = |count: u32, share: f64| (f64::from(count) * share).floor();
            let verdicts = Verdicts {
                right: f64::from(right),
                right_kept: kept(right, a),
                wrong: f64::from(wrong),
                wrong_kept: kept(wrong, b) + 1.0,
            };
            let accuracy = verdicts.accuracy().unwrap();
            let (tpr, fpr) =
                (verdicts.true_positive_rate().unwrap(), verdicts.false_positive_rate().unwrap());
            let kept = accuracy * tpr + (1.0 - accuracy) * fpr;
            let expected = accuracy * (1.0 - accuracy) * (tpr - fpr) / kept;
            prop_assert!((verdicts.gap().unwrap() - expected).abs() < 1e-12);
        }
    }
}
