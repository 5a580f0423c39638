//! The verdict of a claim whose parts are judged.

use super::{
    ClaimEvidence, ClaimVerdict, ControlOutcome, JudgedPart, Primary, PrimaryOutcome, at_least,
};
use crate::Direction;
use crate::number::{interval, short};

/// The first line of the rule that applies, and in plain words why.
pub(super) fn conclude(
    claim: &ClaimEvidence,
    primaries: &[JudgedPart<PrimaryOutcome>],
    negative: &[JudgedPart<ControlOutcome>],
    positive: &[JudgedPart<ControlOutcome>],
) -> (ClaimVerdict, String) {
    let failed = |control: &JudgedPart<ControlOutcome>| control.outcome == ControlOutcome::Fails;
    if let Some(at) = negative.iter().position(failed) {
        let why = format!(
            "With the cause taken away {} lies beyond its margin of ±{}, so what the arms show \
             may have another cause.",
            shown(&negative[at]),
            short(claim.negative_controls[at].margin)
        );
        return (ClaimVerdict::Invalid, why);
    }
    if let Some(at) = positive.iter().position(failed) {
        let why = format!(
            "{} lies below its floor of {}: what the claim is about is not there to be tested.",
            shown(&positive[at]),
            short(claim.positive_controls[at].floor)
        );
        return (ClaimVerdict::NotTestable, why);
    }
    if let Some((primary, room)) = without_room(claim, primaries) {
        let why = format!(
            "The reference leaves room for an effect of {} on “{}”, less than the smallest effect \
             of interest, {}.",
            short(room),
            primary.name,
            short(primary.smallest_effect)
        );
        return (ClaimVerdict::NotTestable, why);
    }
    let open: Vec<String> = positive
        .iter()
        .chain(negative)
        .filter(|control| control.outcome != ControlOutcome::Passes)
        .map(shown)
        .collect();
    if !open.is_empty() {
        return (ClaimVerdict::Undecided, format!("Not passed: {}.", open.join("; ")));
    }
    let find = |outcome| {
        let at = primaries.iter().position(|primary| primary.outcome == outcome)?;
        Some((&primaries[at], &claim.primaries[at]))
    };
    if let Some((judged, primary)) = find(PrimaryOutcome::Contradicts) {
        let d = short(primary.smallest_effect);
        let side = match primary.direction {
            Direction::Increase => "below 0, and an increase is claimed".to_owned(),
            Direction::Decrease => "above 0, and a decrease is claimed".to_owned(),
            Direction::NotBelow => format!("below {}", short(-primary.smallest_effect)),
            Direction::Unchanged => format!("outside ±{d}"),
        };
        return (ClaimVerdict::Contradicted, format!("{} lies {side}.", shown(judged)));
    }
    if let Some((judged, primary)) = find(PrimaryOutcome::TooSmall) {
        let d = short(primary.smallest_effect);
        let why = format!(
            "{}: an effect of the size of interest here, {d}, is ruled out.",
            shown(judged)
        );
        return (ClaimVerdict::TooSmall, why);
    }
    let open: Vec<String> = primaries
        .iter()
        .filter(|primary| primary.outcome == PrimaryOutcome::Open)
        .map(shown)
        .collect();
    if !open.is_empty() {
        return (ClaimVerdict::Undecided, format!("Not decided: {}.", open.join("; ")));
    }
    let all: Vec<String> = primaries.iter().map(shown).collect();
    (ClaimVerdict::Supported, format!("As claimed: {}.", all.join("; ")))
}

/// A primary whose reference leaves less room than d, with that room.
fn without_room<'a>(
    claim: &'a ClaimEvidence,
    judged: &[JudgedPart<PrimaryOutcome>],
) -> Option<(&'a Primary, f64)> {
    claim.primaries.iter().zip(judged).find_map(|(primary, judged)| {
        let room = primary.room.as_ref()?;
        if judged.reason.is_some() {
            return None;
        }
        let mean = room.iter().sum::<f64>() / room.len() as f64;
        (!at_least(mean, primary.smallest_effect)).then_some((primary, mean))
    })
}

/// Name and interval, or why it has none that counts.
fn shown<Outcome>(part: &JudgedPart<Outcome>) -> String {
    let value = match (&part.reason, part.interval) {
        (Some(reason), _) => reason.clone(),
        (None, Some(i)) => interval(Some(i.estimate), Some(i.low), Some(i.high)),
        (None, None) => String::new(),
    };
    format!("“{}” ({value})", part.name)
}
