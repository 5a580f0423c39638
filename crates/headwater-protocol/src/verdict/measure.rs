//! From records to one difference per seed, and why one may be missing.

use super::{FEWEST_SEEDS, Omitted, at_least};
use crate::cell::seeds_of;
use crate::effect::common_value;
use crate::number::short;
use crate::{Arm, Effect, Measure, NotRun, ProtocolError, Records};

/// What was planned, to tell why a record is missing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) planned: &'a [(&'a Arm, u64)],
    pub(crate) not_run: &'a [NotRun],
    /// The runs are shortened to check the machinery: whatever they show decides nothing.
    pub(crate) smoke: bool,
}

/// Why an arm has no record at a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The arm is not run on this machine or in this preset.
    NotRun,
    /// Its cell failed, was skipped, or was not reached.
    Lost,
    /// The arm is planned at other seeds only.
    OtherSeeds,
    /// No plan knows the arm: whoever asks for it is mistaken.
    Unknown,
}

impl Scope<'_> {
    /// The planned seeds. Where nothing at all is planned it is one seed without records, so that
    /// asking for a difference still tells which arm it misses.
    fn seeds(&self) -> Vec<u64> {
        let seeds = seeds_of(self.planned.iter().map(|(_, seed)| *seed));
        if seeds.is_empty() { vec![0] } else { seeds }
    }

    pub(crate) fn why_missing(&self, arm: &str, seed: u64) -> Missing {
        let is_it = |planned: &Arm| planned.name() == arm;
        if self.not_run.iter().any(|missing| is_it(&missing.arm)) {
            Missing::NotRun
        } else if self.planned.iter().any(|(planned, at)| is_it(planned) && *at == seed) {
            Missing::Lost
        } else if self.planned.iter().any(|(planned, _)| is_it(planned)) {
            Missing::OtherSeeds
        } else {
            Missing::Unknown
        }
    }

    /// What is left out because `arm` is not run.
    fn omitted(&self, asked: &Asked<'_>, arm: &str) -> Omitted {
        let arm = Arm::from(arm);
        let reason = self.not_run.iter().find(|missing| missing.arm == arm);
        let reason = reason.map(|missing| missing.reason.clone()).unwrap_or_default();
        Omitted { name: asked.name.to_owned(), arm, reason, counts: asked.counts }
    }
}

/// What a contrast and a control have in common.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) name: &'a str,
    /// Smallest effect or margin.
    pub(super) threshold: f64,
    pub(super) measure: &'a Measure,
    pub(super) room: Option<&'a Measure>,
    pub(super) counts: bool,
}

/// A comparison over the seeds that have the records it reads.
pub(super) struct Measured {
    /// One difference per seed; all the same to the last bit where they differ by rounding only.
    pub(super) values: Vec<f64>,
    pub(super) effect: Effect,
    /// Mean over the same seeds of what is attainable.
    pub(super) attainable: Option<f64>,
    pub(super) lost_seeds: Vec<u64>,
    pub(super) problem: Option<String>,
    /// Seeds at which the comparison has no value, and why at the first.
    pub(super) undefined: Vec<(u64, String)>,
    /// Why nothing may be concluded from the numbers, the constant differences of a control
    /// excepted.
    pub(super) barred: Option<String>,
}

impl Measured {
    /// The value that every seed has, if it is the same.
    pub(super) fn constant(&self) -> Option<f64> {
        if self.values.len() < 2 { None } else { common_value(&self.values, 0.0) }
    }
}

/// The effect over the seeds that have the records, or that it is left out.
pub(super) fn measure(
    asked: &Asked<'_>,
    records: &Records,
    scope: Scope<'_>,
) -> Result<Measured, Omitted> {
    let threshold = asked.threshold;
    let (mut values, mut rooms) = (Vec::new(), Vec::new());
    let mut lost_seeds = Vec::new();
    let (mut problem, mut undefined) = (None, Vec::new());
    if !(threshold.is_finite() && threshold >= 0.0) {
        problem = Some(format!("its threshold is {threshold}: allowed is a finite number >= 0"));
    }
    for seed in scope.seeds() {
        let of_seed = records.seed(seed);
        let room = asked.room.map(|room| room.at_seed(&of_seed)).transpose();
        match asked.measure.at_seed(&of_seed).and_then(|value| Ok((value, room?))) {
            Ok((value, room)) if !(value.is_finite() && room.is_none_or(f64::is_finite)) => {
                let (what, value) = if value.is_finite() {
                    ("the attainable effect", room.unwrap_or(value))
                } else {
                    ("the difference", value)
                };
                let text = format!("seed {seed}: {what} is {value}, not a finite number");
                problem.get_or_insert(text);
            }
            // A measure that turns a sign makes -0 of 0.
            Ok((value, room)) => {
                let value = value + 0.0;
                values.push(value);
                rooms.extend(room);
            }
            Err(ProtocolError::NoRecord { arm, seed }) => match scope.why_missing(&arm, seed) {
                Missing::NotRun => return Err(scope.omitted(asked, &arm)),
                Missing::Lost => lost_seeds.push(seed),
                Missing::OtherSeeds => {}
                Missing::Unknown => {
                    problem.get_or_insert(format!("no cell of arm `{arm}` is planned"));
                }
            },
            Err(ProtocolError::Undefined(why)) => undefined.push((seed, why)),
            Err(error) => {
                problem.get_or_insert(format!("seed {seed}: {error}"));
            }
        }
    }
    let unit = if problem.is_none() { threshold } else { 0.0 };
    if values.len() > 1
        && let Some(value) = common_value(&values, unit)
    {
        values.fill(value);
    }
    let effect = Effect::over_seeds(&values).unwrap_or_else(|error| {
        problem.get_or_insert(error.to_string());
        Effect { estimate: None, interval: None, p: None, n: values.len() }
    });
    let attainable = (!rooms.is_empty()).then(|| rooms.iter().sum::<f64>() / rooms.len() as f64);
    if let Some(room) = attainable.filter(|room| !room.is_finite()) {
        problem.get_or_insert(format!("the mean attainable effect is {room}, not a finite number"));
    }
    let mut measured =
        Measured { values, effect, attainable, lost_seeds, problem, undefined, barred: None };
    measured.barred = barred(&measured, threshold, scope.smoke);
    Ok(measured)
}

/// The first reason for which a comparison is undecided whatever its numbers are.
fn barred(measured: &Measured, threshold: f64, smoke: bool) -> Option<String> {
    if let Some(problem) = &measured.problem {
        return Some(problem.clone());
    }
    if !measured.lost_seeds.is_empty() {
        let seeds: Vec<String> = measured.lost_seeds.iter().map(u64::to_string).collect();
        return Some(format!("without seed {}, whose cells left no record", seeds.join(", ")));
    }
    if let Some((_, why)) = measured.undefined.first() {
        let seeds: Vec<String> = measured.undefined.iter().map(|(at, _)| at.to_string()).collect();
        return Some(format!("not defined at seed {}: {why}", seeds.join(", ")));
    }
    if measured.effect.n < FEWEST_SEEDS {
        return Some(format!("fewer than {FEWEST_SEEDS} seeds"));
    }
    if smoke {
        return Some("the smoke preset decides nothing".to_owned());
    }
    let room = measured.attainable.filter(|room| !at_least(*room, threshold))?;
    Some(format!("no room for the effect: at most {} is attainable", short(room)))
}
