//! What a part of a claim is judged on, and the interval that belongs to it.

use headwater_evaluation::intervals::{
    paired_share_difference, resplit_interval, t_interval, wilson_interval,
};
use headwater_evaluation::{EvaluationError, Interval};

use super::{JudgedPart, LEVEL};
use crate::FEWEST_SEEDS;
use crate::effect::common_value;

/// The values of one comparison, one per seed, and with them the kind of interval.
#[derive(Debug, Clone, PartialEq)]
pub enum Evidence {
    /// Independent seeds: paired differences, or for a positive control also plain values. Their
    /// mean, with Student's t interval.
    PerSeed(Vec<f64>),
    /// Repeated splits of one data set, which share rows: their mean, with the interval corrected
    /// for the overlap ([`resplit_interval`]).
    Resplits {
        /// Paired differences, one per split.
        values: Vec<f64>,
        /// Rows that a split trains on.
        train: usize,
        /// Rows that it tests on.
        test: usize,
    },
    /// Outcomes that may not arrive (censored): the share of seeds that are solved within the
    /// budget, with Wilson's interval.
    Solved {
        /// What each seed used until it was solved, a finite number >= 0; `None` if it was not
        /// within the budget. A run that ended before it had used the budget is neither: its seed
        /// is missing.
        used: Vec<Option<f64>>,
        /// The fixed budget, a finite number > 0 in the same unit.
        budget: f64,
    },
    /// The difference of two such shares on the same seeds, treated - reference, with the score
    /// interval for pairs ([`paired_share_difference`]). Below 7 seeds it excludes no 0.
    SolvedDifference {
        /// As [`Evidence::Solved`], under treatment.
        treated: Vec<Option<f64>>,
        /// The same seeds under the reference.
        reference: Vec<Option<f64>>,
        /// The fixed budget of both.
        budget: f64,
    },
    /// Not measured, and why: an arm that was not run, a seed whose cell failed or that has no
    /// value, a preset that decides nothing.
    Missing(String),
}

impl Evidence {
    pub(super) fn budget(&self) -> Option<f64> {
        match self {
            Self::Solved { budget, .. } | Self::SolvedDifference { budget, .. } => Some(*budget),
            _ => None,
        }
    }

    fn interval(&self, level: f64) -> Result<Interval, EvaluationError> {
        let solved = |used: &[Option<f64>], budget: f64| -> Vec<bool> {
            used.iter().map(|used| used.is_some_and(|used| used <= budget)).collect()
        };
        match self {
            Self::PerSeed(values) => t_interval(values, level),
            Self::Resplits { values, train, test } => {
                resplit_interval(values, *train, *test, level)
            }
            Self::Solved { used, budget } => {
                let solved = solved(used, *budget).into_iter().filter(|&solved| solved).count();
                wilson_interval(solved, used.len(), level)
            }
            Self::SolvedDifference { treated, reference, budget } => paired_share_difference(
                &solved(treated, *budget),
                &solved(reference, *budget),
                level,
            ),
            Self::Missing(_) => {
                Err(EvaluationError::TooFew { argument: "values", found: 0, needed: 1 })
            }
        }
    }

    /// Why it is open whatever its numbers are; `unit` is a size that matters.
    fn barred(&self, seeds: usize, unit: f64, zero_counts: bool) -> Option<String> {
        match self {
            Self::Missing(reason) => Some(reason.clone()),
            Self::PerSeed(values) | Self::Resplits { values, .. } => {
                unfit(values, seeds).or_else(|| {
                    let value = common_value(values, unit)?;
                    let counts = zero_counts && value == 0.0;
                    (!counts).then(|| "no variation between seeds".to_owned())
                })
            }
            Self::Solved { used, .. } => unfit(&arrived(used), seeds),
            Self::SolvedDifference { treated, reference, .. } => {
                unfit(&arrived(treated), seeds).or_else(|| unfit(&arrived(reference), seeds))
            }
        }
    }
}

/// What was used, 0 where it was not solved.
fn arrived(used: &[Option<f64>]) -> Vec<f64> {
    // A negative use is as impossible as NaN.
    used.iter().map(|used| used.map_or(0.0, |u| if u < 0.0 { f64::NAN } else { u })).collect()
}

/// Why values, one per seed, cannot be judged: another number of them than planned, too few, or one
/// that is not a finite number.
pub(super) fn unfit(values: &[f64], seeds: usize) -> Option<String> {
    let n = values.len();
    if n != seeds {
        return Some(format!("{n} values of {seeds} planned seeds"));
    }
    if n < FEWEST_SEEDS {
        return Some(format!("fewer than {FEWEST_SEEDS} seeds"));
    }
    let at = values.iter().position(|value| !value.is_finite())?;
    Some(format!("value {} of {n} is not a number that can be", at + 1))
}

/// Evidence, and whether its numbers count.
pub(super) struct Measured<'a> {
    evidence: &'a Evidence,
    /// Why it is open whatever its numbers are.
    pub(super) reason: Option<String>,
    /// Its unadjusted interval, where it has one, whether it counts or not.
    interval: Option<Interval>,
}

impl<'a> Measured<'a> {
    pub(super) fn of(evidence: &'a Evidence, seeds: usize, unit: f64) -> Self {
        Self::checked(evidence, evidence.barred(seeds, unit, false))
    }

    /// The same, with values that are all 0 judged: no effect is what a negative control is for.
    pub(super) fn of_negative_control(evidence: &'a Evidence, seeds: usize, margin: f64) -> Self {
        Self::checked(evidence, evidence.barred(seeds, margin, true))
    }

    fn checked(evidence: &'a Evidence, barred: Option<String>) -> Self {
        match evidence.interval(LEVEL) {
            Ok(interval) => Self { evidence, reason: barred, interval: Some(interval) },
            Err(error) => {
                let reason = Some(barred.unwrap_or_else(|| error.to_string()));
                Self { evidence, reason, interval: None }
            }
        }
    }

    /// The unadjusted interval; `None` where there is none that counts.
    pub(super) fn unadjusted(&self) -> Option<Interval> {
        if self.reason.is_some() { None } else { self.interval }
    }

    /// The interval as one of a family of that size (Bonferroni).
    pub(super) fn adjusted(&self, family: usize) -> Option<Interval> {
        let interval = self.unadjusted()?;
        if family == 1 {
            return Some(interval);
        }
        self.evidence.interval(1.0 - (1.0 - LEVEL) / family as f64).ok()
    }

    pub(super) fn judged<Outcome>(self, name: &str, outcome: Outcome) -> JudgedPart<Outcome> {
        let Self { interval, reason, .. } = self;
        JudgedPart { name: name.to_owned(), interval, outcome, reason }
    }
}
