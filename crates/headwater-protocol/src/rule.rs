//! The rule by which a claim gets its verdict (`docs/protocol.md`, "The rule for a claim").
//!
//! A claim is one sentence. It has one to three *primaries* (what the sentence is about), one or
//! more *negative controls* (the cause is taken away) and one or more *positive controls* (the
//! method learns at all). d is a primary's smallest effect of interest, [low, high] an interval of
//! 95%. The first line that applies is the verdict:
//!
//! | verdict | when |
//! |---|---|
//! | invalid | a negative control's interval lies wholly beyond its margin |
//! | not testable here | a positive control lies wholly below its floor, or there is no room for d |
//! | undecided | any control has not passed: its interval inside ±margin, or not below the floor |
//! | contradicted | a primary lies beyond 0 on the other side, or beyond d (Holm) |
//! | too small to matter | a primary that claims a change lies wholly below d (Holm) |
//! | supported | every primary excludes 0 as claimed, or lies inside d |
//! | undecided | anything else |
//!
//! 0 is the bound of *increase* and *decrease*, which claim a change, and d that of *not below* and
//! *unchanged*. There is no room for d where the largest effect that the reference leaves room for
//! is below d, on average over seeds.
//!
//! *Supported* needs all primaries and no adjustment (intersection-union test). *Contradicted* and
//! *too small* take any one: each is a family of its own, adjusted by Holm's method. An end that
//! touches d, a margin or a floor has not crossed it; one that touches 0 does not exclude 0.
//!
//! ```
//! use headwater_protocol::rule::*;
//! use headwater_protocol::Direction;
//!
//! let noise = [-0.02, -0.01, 0.0, 0.01, 0.02];
//! let values = |mean: f64| Evidence::PerSeed(noise.map(|x| mean + x).into());
//! let judged = judge_claim(&ClaimEvidence {
//!     seeds: 5,
//!     primaries: vec![Primary {
//!         name: "accuracy, trained - base".into(),
//!         evidence: values(0.1),
//!         direction: Direction::Increase,
//!         smallest_effect: 0.05,
//!         room: None,
//!     }],
//!     negative_controls: vec![NegativeControl {
//!         name: "accuracy, trained on shuffled rewards - base".into(),
//!         evidence: values(0.0),
//!         margin: 0.05,
//!     }],
//!     positive_controls: vec![PositiveControl {
//!         name: "reward, trained - base".into(),
//!         evidence: values(0.4),
//!         floor: 0.1,
//!     }],
//! })?;
//! assert_eq!(judged.verdict, ClaimVerdict::Supported);
//! # Ok::<(), headwater_protocol::ProtocolError>(())
//! ```

use headwater_evaluation::Interval;
use serde::{Deserialize, Serialize};

use crate::effect::ROUNDING;
use crate::{Direction, ProtocolError};

mod conclude;
mod design;
mod evidence;

use conclude::conclude;
pub use design::{ClaimDesign, DesignPart, DesignedEffect};
pub use evidence::Evidence;
use evidence::Measured;

/// Coverage of every interval, before Holm's adjustment.
pub const LEVEL: f64 = 0.95;

/// The most primaries that a claim may have.
pub const MOST_PRIMARIES: usize = 3;

/// All that a claim's verdict rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimEvidence {
    /// Number of seeds that the design planned. A part with another number of values is open: what
    /// is missing may depend on what is measured, and adding seeds until a result pleases makes
    /// every error rate wrong.
    pub seeds: usize,
    /// What the sentence is about, one to [`MOST_PRIMARIES`].
    pub primaries: Vec<Primary>,
    /// Where the cause is taken away, one or more.
    pub negative_controls: Vec<NegativeControl>,
    /// What must be there for the claim to be testable, one or more.
    pub positive_controls: Vec<PositiveControl>,
}

/// A comparison that the claim is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Primary {
    /// What is compared, e.g. `ECE: binary - with Brier`.
    pub name: String,
    /// Its values.
    pub evidence: Evidence,
    /// Where the claim puts the effect: beyond 0 (an inequality with 0), or inside d (*not below*,
    /// *unchanged*).
    pub direction: Direction,
    /// d, the smallest effect of interest, a finite number > 0 in the unit of the values.
    pub smallest_effect: f64,
    /// The largest effect that the reference leaves room for, as a size, one per seed; `None` where
    /// there is no limit. The claim is not testable where its mean is below d.
    pub room: Option<Vec<f64>>,
}

/// A comparison with the cause taken away.
#[derive(Debug, Clone, PartialEq)]
pub struct NegativeControl {
    /// What is compared.
    pub name: String,
    /// Its values.
    pub evidence: Evidence,
    /// How far from 0 still counts as nothing, a finite number > 0 in the unit of the values.
    pub margin: f64,
}

/// What must be there for the claim to be testable: the method learns at all.
#[derive(Debug, Clone, PartialEq)]
pub struct PositiveControl {
    /// What is measured.
    pub name: String,
    /// Its values.
    pub evidence: Evidence,
    /// The least that it has to be, a finite number in the unit of the values.
    pub floor: f64,
}

/// What the evidence says about a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClaimVerdict {
    /// A negative control shows an effect: whatever the primaries show may have another cause.
    #[serde(rename = "invalid")]
    Invalid,
    /// The method does not work here, or there is no room for the effect.
    #[serde(rename = "not testable here")]
    NotTestable,
    /// The effect is on the other side, or beyond what the claim allows.
    #[serde(rename = "contradicted")]
    Contradicted,
    /// An effect of the size of interest is ruled out.
    #[serde(rename = "too small to matter")]
    TooSmall,
    /// Every primary is as claimed.
    #[serde(rename = "supported")]
    Supported,
    /// None of these: more seeds might decide it.
    #[serde(rename = "undecided")]
    Undecided,
}

impl ClaimVerdict {
    /// The words in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotTestable => "not testable here",
            Self::Contradicted => "contradicted",
            Self::TooSmall => "too small to matter",
            Self::Supported => "supported",
            Self::Undecided => "undecided",
        }
    }
}

/// How one primary came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrimaryOutcome {
    /// Beyond 0 on the other side, or beyond d.
    Contradicts,
    /// Wholly below d.
    TooSmall,
    /// As claimed.
    Supports,
    /// None of these.
    Open,
}

/// How one control came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlOutcome {
    /// Inside its margin, or not below its floor.
    Passes,
    /// Wholly beyond its margin, or below its floor.
    Fails,
    /// Neither.
    Open,
}

/// One part of a claim with its interval and outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedPart<Outcome> {
    /// Its name.
    pub name: String,
    /// Its estimate and unadjusted interval; `None` where there is none.
    pub interval: Option<Interval>,
    /// How it came out.
    pub outcome: Outcome,
    /// Why it is open whatever its numbers are; `None` where the numbers are judged.
    pub reason: Option<String>,
}

/// A claim with its verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedClaim {
    /// The verdict.
    pub verdict: ClaimVerdict,
    /// Why, in plain words.
    pub why: String,
    /// The primaries, in the order given.
    pub primaries: Vec<JudgedPart<PrimaryOutcome>>,
    /// The negative controls, in the order given.
    pub negative_controls: Vec<JudgedPart<ControlOutcome>>,
    /// The positive controls, in the order given.
    pub positive_controls: Vec<JudgedPart<ControlOutcome>>,
}

/// Judges a claim. A pure function of what it is given.
///
/// A part is open whatever its numbers are when, in this order: it was not measured; it has another
/// number of values than `seeds`; it has fewer than [`crate::FEWEST_SEEDS`]; a value is not finite;
/// its values are equal up to rounding (nothing varied, which is no measure of how well the value
/// is known). Except that a negative control all of whose values are 0 passes, and that shares of
/// solved seeds keep a width. An open primary stays a member of both Holm families.
///
/// # Errors
/// A claim that is none: no primary or more than [`MOST_PRIMARIES`], no control of either kind, a
/// smallest effect or margin that is not a finite number above 0, a floor that is not finite, or a
/// budget that is not a finite number above 0.
pub fn judge_claim(claim: &ClaimEvidence) -> Result<JudgedClaim, ProtocolError> {
    check(claim)?;
    let seeds = claim.seeds;
    let negative_controls: Vec<_> =
        claim.negative_controls.iter().map(|control| judge_negative(control, seeds)).collect();
    let positive_controls: Vec<_> =
        claim.positive_controls.iter().map(|control| judge_positive(control, seeds)).collect();
    let primaries = judge_primaries(&claim.primaries, seeds);
    let (verdict, why) = conclude(claim, &primaries, &negative_controls, &positive_controls);
    Ok(JudgedClaim { verdict, why, primaries, negative_controls, positive_controls })
}

fn check(claim: &ClaimEvidence) -> Result<(), ProtocolError> {
    let require = |holds: bool, what: String, value: String, allowed| {
        if holds { Ok(()) } else { Err(ProtocolError::BadClaim { what, value, allowed }) }
    };
    let count = |what: &str, found: usize, most: usize, allowed| {
        let holds = (1..=most).contains(&found);
        require(holds, format!("number of {what}"), found.to_string(), allowed)
    };
    count("primaries", claim.primaries.len(), MOST_PRIMARIES, "1 to 3")?;
    let allowed = "one or more";
    count("negative controls", claim.negative_controls.len(), usize::MAX, allowed)?;
    count("positive controls", claim.positive_controls.len(), usize::MAX, allowed)?;

    let positive = |name: &str, what: &str, value: f64| {
        let holds = value.is_finite() && value > 0.0;
        let what = format!("{what} of “{name}”");
        require(holds, what, value.to_string(), "a finite number above 0")
    };
    let budget = |name: &str, evidence: &Evidence| match evidence.budget() {
        Some(budget) => positive(name, "budget", budget),
        None => Ok(()),
    };
    for Primary { name, evidence, smallest_effect, .. } in &claim.primaries {
        positive(name, "smallest effect", *smallest_effect)?;
        budget(name, evidence)?;
    }
    for NegativeControl { name, evidence, margin } in &claim.negative_controls {
        positive(name, "margin", *margin)?;
        budget(name, evidence)?;
    }
    for PositiveControl { name, evidence, floor } in &claim.positive_controls {
        let what = format!("floor of “{name}”");
        require(floor.is_finite(), what, floor.to_string(), "a finite number")?;
        budget(name, evidence)?;
    }
    Ok(())
}

/// `value >= bound`, a bound that is missed by rounding counted as met.
fn at_least(value: f64, bound: f64) -> bool {
    value >= bound - ROUNDING * bound.abs()
}

fn judge_negative(control: &NegativeControl, seeds: usize) -> JudgedPart<ControlOutcome> {
    let margin = control.margin;
    let measured = Measured::of_negative_control(&control.evidence, seeds, margin);
    let outcome = match measured.unadjusted() {
        None => ControlOutcome::Open,
        Some(Interval { low, high, .. }) => {
            if at_least(low, -margin) && at_least(margin, high) {
                ControlOutcome::Passes
            } else if !at_least(margin, low) || !at_least(high, -margin) {
                ControlOutcome::Fails
            } else {
                ControlOutcome::Open
            }
        }
    };
    measured.judged(&control.name, outcome)
}

fn judge_positive(control: &PositiveControl, seeds: usize) -> JudgedPart<ControlOutcome> {
    let floor = control.floor;
    let measured = Measured::of(&control.evidence, seeds, floor.abs());
    let outcome = match measured.unadjusted() {
        Some(Interval { low, .. }) if at_least(low, floor) => ControlOutcome::Passes,
        Some(Interval { high, .. }) if !at_least(high, floor) => ControlOutcome::Fails,
        _ => ControlOutcome::Open,
    };
    measured.judged(&control.name, outcome)
}

fn judge_primaries(primaries: &[Primary], seeds: usize) -> Vec<JudgedPart<PrimaryOutcome>> {
    let measured: Vec<Measured<'_>> = primaries
        .iter()
        .map(|primary| {
            let mut measured = Measured::of(&primary.evidence, seeds, primary.smallest_effect);
            if let Some(room) = &primary.room {
                measured.reason = measured.reason.or_else(|| evidence::unfit(room, seeds));
            }
            measured
        })
        .collect();
    let all: Vec<usize> = (0..primaries.len()).collect();
    let contradicted = holm(all.clone(), &measured, |at, i| contradicts(&primaries[at], i));
    let directed = all.into_iter().filter(|&at| is_directed(primaries[at].direction)).collect();
    let small = holm(directed, &measured, |at, i| is_too_small(&primaries[at], i));
    let outcome = |at: usize| {
        if contradicted.contains(&at) {
            PrimaryOutcome::Contradicts
        } else if small.contains(&at) {
            PrimaryOutcome::TooSmall
        } else if measured[at].unadjusted().is_some_and(|i| supports(&primaries[at], &i)) {
            PrimaryOutcome::Supports
        } else {
            PrimaryOutcome::Open
        }
    };
    let outcomes: Vec<PrimaryOutcome> = (0..primaries.len()).map(outcome).collect();
    let parts = primaries.iter().zip(measured).zip(outcomes);
    parts.map(|((primary, measured), outcome)| measured.judged(&primary.name, outcome)).collect()
}

/// The members of `family` that Holm's method rejects: those whose interval at level 1 - 0.05/m is
/// `beyond`, m the members that are not yet rejected, until no more are. Source: Holm (1979); the
/// same as comparing sorted p values, for any interval that has a test.
fn holm(
    mut family: Vec<usize>,
    measured: &[Measured<'_>],
    beyond: impl Fn(usize, &Interval) -> bool,
) -> Vec<usize> {
    let mut rejected = Vec::new();
    loop {
        let size = family.len();
        let is_beyond = |&at: &usize| {
            let beyond = |interval: Option<Interval>| interval.is_some_and(|i| beyond(at, &i));
            // The adjusted interval contains the other.
            beyond(measured[at].unadjusted()) && beyond(measured[at].adjusted(size))
        };
        let (now, left): (Vec<usize>, Vec<usize>) = family.into_iter().partition(is_beyond);
        rejected.extend(&now);
        family = left;
        if now.is_empty() || family.is_empty() {
            return rejected;
        }
    }
}

/// Whether the claim is an inequality with 0.
fn is_directed(direction: Direction) -> bool {
    matches!(direction, Direction::Increase | Direction::Decrease)
}

/// The ends of the interval, with a claimed decrease turned into an increase.
fn as_claimed(direction: Direction, interval: &Interval) -> (f64, f64) {
    match direction {
        Direction::Decrease => (-interval.high, -interval.low),
        _ => (interval.low, interval.high),
    }
}

fn contradicts(primary: &Primary, interval: &Interval) -> bool {
    let (low, high) = as_claimed(primary.direction, interval);
    let d = primary.smallest_effect;
    match primary.direction {
        Direction::Increase | Direction::Decrease => high < 0.0,
        Direction::NotBelow => !at_least(high, -d),
        Direction::Unchanged => !at_least(high, -d) || !at_least(d, low),
    }
}

fn is_too_small(primary: &Primary, interval: &Interval) -> bool {
    let (_, high) = as_claimed(primary.direction, interval);
    !at_least(high, primary.smallest_effect)
}

fn supports(primary: &Primary, interval: &Interval) -> bool {
    let (low, high) = as_claimed(primary.direction, interval);
    let d = primary.smallest_effect;
    match primary.direction {
        Direction::Increase | Direction::Decrease => low > 0.0,
        Direction::NotBelow => at_least(low, -d),
        Direction::Unchanged => at_least(low, -d) && at_least(d, high),
    }
}

#[cfg(test)]
mod tests;
