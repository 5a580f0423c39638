//! What a part of a claim is judged on, and the interval that belongs to it.

use headwater_evaluation::intervals::{
    clustered_share_difference, resplit_interval, t_interval, wilson_interval,
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
        /// within the budget. A run that ended before the budget was used is neither: it is missing.
        used: Vec<Option<f64>>,
        /// The fixed budget, a finite number > 0 in the same unit.
        budget: f64,
    },
    /// The difference of two such shares on the same seeds, treated - reference, with Newcombe's
    /// interval for pairs (method 10).
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
        let solved = |used: &[Option<f64>], budget: f64| -> Vec<f64> {
            let within = |used: &Option<f64>| used.is_some_and(|used| used <= budget);
            used.iter().map(|used| f64::from(u8::from(within(used)))).collect()
        };
        match self {
            Self::PerSeed(values) => t_interval(values, level),
            Self::Resplits { values, train, test } => {
                resplit_interval(values, *train, *test, level)
            }
            Self::Solved { used, budget } => {
                let solved = solved(used, *budget).iter().sum::<f64>() as usize;
                wilson_interval(solved, used.len(), level)
            }
            Self::SolvedDifference { treated, reference, budget } => {
                let seeds: Vec<usize> = (0..treated.len()).collect();
                let (treated, reference) = (solved(treated, *budget), solved(reference, *budget));
                clustered_share_difference((&treated, &seeds), (&reference, &seeds), level)
            }
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
        let no_interval = || evidence.interval(LEVEL).err().map(|error| error.to_string());
        Self { evidence, reason: barred.or_else(no_interval) }
    }

    /// The interval that is judged; `None` where there is none.
    pub(super) fn at(&self, level: f64) -> Option<Interval> {
        if self.reason.is_some() { None } else { self.evidence.interval(level).ok() }
    }

    pub(super) fn judged<Outcome>(self, name: &str, outcome: Outcome) -> JudgedPart<Outcome> {
        let interval = self.evidence.interval(LEVEL).ok();
        JudgedPart { name: name.to_owned(), interval, outcome, reason: self.reason }
    }
}
