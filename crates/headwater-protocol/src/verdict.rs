//! From records to a verdict: contrasts and controls, judged by one fixed set of rules.
//!
//! Every difference is taken per seed, so arms are compared on the same prompts and initialisation.
//! Its interval is the 95% t interval over seeds, [low, high]; d is the contrast's smallest effect
//! of interest.
//!
//! | direction | holds | refuted: the t test against d, Holm p < 0.05, on this side |
//! |---|---|---|
//! | increase | estimate >= d, Holm p against 0 < 0.05 and low > 0 | estimate < d |
//! | decrease | -estimate >= d, Holm p against 0 < 0.05 and high < 0 | -estimate < d |
//! | not below | low > -d | estimate < -d |
//! | unchanged | -d <= low and high <= d | estimate > d or estimate < -d, against the nearer end |
//!
//! Otherwise the contrast is undecided. There are two families of Holm's adjustment. To hold: the
//! increase and decrease contrasts, two-sided against 0; the other two directions hold by their
//! interval alone. To be refuted: all contrasts of the finding, two-sided against their d, with p =
//! 1 where the estimate lies on the claim's side. A contrast without a p value takes part with p =
//! 1.
//!
//! A control *vanishes* when its interval lies inside ±margin and *appears* when its interval
//! excludes 0 and its estimate exceeds the margin; otherwise it is undecided.
//!
//! A contrast or control is undecided whatever its numbers are when, in this order: it cannot be
//! computed; it lost a seed to a failed cell (which cells fail may depend on what is measured); it
//! has no value at a seed ([`crate::ProtocolError::Undefined`]); it has fewer than [`FEWEST_SEEDS`]
//! seeds; the preset is `smoke`; the reference arm leaves less room than d; its differences are
//! equal up to rounding. Except that a control all of whose differences are 0 vanishes.
//!
//! The finding is the first of these that applies:
//! - *invalid* when a control appears;
//! - *inconclusive* when no control could be measured;
//! - *reproduced* when every contrast and every control was measured, there is at least one of
//!   each, all contrasts hold and all controls vanish;
//! - *not reproduced* when a contrast is refuted and all measured controls vanish;
//! - *inconclusive* otherwise.
//!
//! Contrasts that were added after results were seen are judged and shown; the verdict is that of
//! the others. A contrast or control that reads an arm which is not run is omitted and listed.

use headwater_evaluation::multiplicity::holm;
use headwater_evaluation::significance::t_test;

use crate::effect::ROUNDING;
use crate::number::{interval, p_value, short};
use crate::{Contrast, Control, Direction, Effect, Records};

mod measure;
mod result;

use measure::{Asked, Measured, measure};
pub(crate) use measure::{Missing, Scope};
pub use result::{ContrastResult, ControlJudgement, ControlResult, Judgement, Omitted, Verdict};

/// With fewer seeds a comparison is undecided.
pub const FEWEST_SEEDS: usize = 5;

/// Level of both families of tests.
const LEVEL: f64 = 0.05;

/// The outcome of a finding.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    pub(crate) contrasts: Vec<ContrastResult>,
    pub(crate) controls: Vec<ControlResult>,
    pub(crate) omitted: Vec<Omitted>,
    pub(crate) verdict: Verdict,
    pub(crate) why: String,
}

/// Judges a finding's records.
pub(crate) fn judge(
    contrasts: &[&Contrast],
    controls: &[&Control],
    records: &Records,
    scope: Scope<'_>,
) -> Judged {
    let mut omitted = Vec::new();
    let mut gather = |asked: Asked<'_>| match measure(&asked, records, scope) {
        Ok(measured) => Some(measured),
        Err(left_out) => {
            omitted.push(left_out);
            None
        }
    };
    let mut measured: Vec<(&Contrast, Measured)> = Vec::with_capacity(contrasts.len());
    for &contrast in contrasts {
        let found = gather(Asked {
            name: &contrast.name,
            threshold: contrast.smallest_effect,
            measure: &contrast.measure,
            room: contrast.room.as_ref(),
            counts: contrast.registered.counts(),
        });
        measured.extend(found.map(|measured| (contrast, measured)));
    }
    let mut control_results = Vec::with_capacity(controls.len());
    for &control in controls {
        let found = gather(Asked {
            name: &control.name,
            threshold: control.margin,
            measure: &control.measure,
            room: None,
            counts: true,
        });
        control_results.extend(found.map(|measured| control_result(control, measured)));
    }

    let p_holm = adjusted(measured.iter().map(|(contrast, measured)| {
        let by_p = matches!(contrast.direction, Direction::Increase | Direction::Decrease);
        by_p.then_some(measured.effect.p)
    }));
    let p_refute: Vec<Option<f64>> = measured.iter().map(|(c, m)| p_refute(c, m)).collect();
    let p_refute_holm = adjusted(p_refute.iter().map(|p| Some(*p)));
    let p_values = p_holm.into_iter().zip(p_refute.into_iter().zip(p_refute_holm));
    let contrasts: Vec<ContrastResult> = measured
        .into_iter()
        .zip(p_values)
        .map(|((contrast, measured), (p_holm, (p_refute, p_refute_holm)))| {
            contrast_result(contrast, measured, PValues { p_holm, p_refute, p_refute_holm })
        })
        .collect();
    let (verdict, why) = conclude(&contrasts, &control_results, &omitted);
    Judged { contrasts, controls: control_results, omitted, verdict, why }
}

/// Holm's adjusted p values over a family. The outer `None` is no member of it; a member without a
/// p value cannot be rejected, and takes part with p = 1 so that it does not make the others easier
/// to reject.
fn adjusted(family: impl Iterator<Item = Option<Option<f64>>>) -> Vec<Option<f64>> {
    let family: Vec<Option<Option<f64>>> = family.collect();
    let given: Vec<f64> = family.iter().flatten().map(|p| p.unwrap_or(1.0)).collect();
    // `holm` refuses an empty list only: a p value of ours is in [0, 1].
    let mut adjusted = holm(&given).unwrap_or_default().into_iter();
    let one = |member: Option<Option<f64>>| {
        let adjusted = member.and_then(|_| adjusted.next());
        member.flatten().and(adjusted)
    };
    family.into_iter().map(one).collect()
}

/// `value >= bound`, a bound that is missed by rounding counted as met: a mean of differences of
/// shares inherits their rounding, and 0.3 - 0.2 is not quite 0.1.
fn at_least(value: f64, bound: f64) -> bool {
    value >= bound - ROUNDING * bound.abs()
}

/// The bound that separates the claim from what contradicts it, nearest to the estimate, and
/// whether the estimate lies beyond it.
fn contradicted(direction: Direction, smallest: f64, estimate: f64) -> (f64, bool) {
    match direction {
        Direction::Increase => (smallest, !at_least(estimate, smallest)),
        Direction::Decrease => (-smallest, !at_least(-estimate, smallest)),
        Direction::NotBelow => (-smallest, !at_least(estimate, -smallest)),
        Direction::Unchanged => {
            let bound = if estimate < 0.0 { -smallest } else { smallest };
            (bound, !at_least(smallest, estimate.abs()))
        }
    }
}

/// Two-sided p value of the t test against the bound, 1 where the estimate is on the claim's side
/// of it.
fn p_refute(contrast: &Contrast, measured: &Measured) -> Option<f64> {
    // Where 0 has no p value, d has none: too few seeds, or no variation between them.
    measured.effect.p?;
    let Contrast { direction, smallest_effect, .. } = *contrast;
    let (bound, beyond) = contradicted(direction, smallest_effect, measured.effect.estimate?);
    if beyond { t_test(&measured.values, bound).ok() } else { Some(1.0) }
}

struct PValues {
    p_holm: Option<f64>,
    p_refute: Option<f64>,
    p_refute_holm: Option<f64>,
}

fn contrast_result(contrast: &Contrast, measured: Measured, p_values: PValues) -> ContrastResult {
    let Contrast { direction, smallest_effect, registered, published, .. } = *contrast;
    let PValues { p_holm, p_refute, p_refute_holm } = p_values;
    let reason = measured.barred.clone().or_else(|| no_variation(&measured));
    let judgement = match reason {
        Some(_) => Judgement::Undecided,
        None => judge_contrast(direction, smallest_effect, &measured.effect, p_holm, p_refute_holm),
    };
    ContrastResult {
        name: contrast.name.clone(),
        formula: contrast.measure.to_string(),
        effect: measured.effect.estimate,
        low: measured.effect.interval.map(|(low, _)| low),
        high: measured.effect.interval.map(|(_, high)| high),
        n: measured.effect.n,
        direction,
        smallest_effect,
        registered,
        published: published.map(str::to_owned),
        attainable: measured.attainable,
        holds: judgement == Judgement::Holds,
        judgement,
        reason,
        p: measured.effect.p,
        p_holm,
        p_refute,
        p_refute_holm,
        lost_seeds: measured.lost_seeds,
        problem: measured.problem,
    }
}

fn control_result(control: &Control, measured: Measured) -> ControlResult {
    let is_zero = measured.constant() == Some(0.0);
    let reason = measured.barred.clone();
    let reason = reason.or_else(|| if is_zero { None } else { no_variation(&measured) });
    let judgement = match reason {
        Some(_) => ControlJudgement::Undecided,
        None => judge_control(control.margin, &measured.effect),
    };
    ControlResult {
        name: control.name.clone(),
        formula: control.measure.to_string(),
        effect: measured.effect.estimate,
        low: measured.effect.interval.map(|(low, _)| low),
        high: measured.effect.interval.map(|(_, high)| high),
        n: measured.effect.n,
        margin: control.margin,
        vanishes: judgement == ControlJudgement::Vanishes,
        judgement,
        reason,
        lost_seeds: measured.lost_seeds,
        problem: measured.problem,
    }
}

fn no_variation(measured: &Measured) -> Option<String> {
    measured.constant().map(|_| "no variation between seeds".to_owned())
}

/// The table at the top of this file, for one contrast.
fn judge_contrast(
    direction: Direction,
    smallest: f64,
    effect: &Effect,
    p_holm: Option<f64>,
    p_refute_holm: Option<f64>,
) -> Judgement {
    let (Some(estimate), Some((low, high))) = (effect.estimate, effect.interval) else {
        return Judgement::Undecided;
    };
    let significant = |p: Option<f64>| p.is_some_and(|p| p < LEVEL);
    let holds = match direction {
        Direction::Increase => at_least(estimate, smallest) && significant(p_holm) && low > 0.0,
        Direction::Decrease => at_least(-estimate, smallest) && significant(p_holm) && high < 0.0,
        Direction::NotBelow => low > -smallest,
        Direction::Unchanged => at_least(low, -smallest) && at_least(smallest, high),
    };
    let (_, beyond) = contradicted(direction, smallest, estimate);
    if holds {
        Judgement::Holds
    } else if beyond && significant(p_refute_holm) {
        Judgement::Refuted
    } else {
        Judgement::Undecided
    }
}

fn judge_control(margin: f64, effect: &Effect) -> ControlJudgement {
    let (Some(estimate), Some((low, high))) = (effect.estimate, effect.interval) else {
        return ControlJudgement::Undecided;
    };
    if at_least(low, -margin) && at_least(margin, high) {
        return ControlJudgement::Vanishes;
    }
    let excludes_zero = low > 0.0 || high < 0.0;
    if excludes_zero && !at_least(margin, estimate.abs()) {
        return ControlJudgement::Appears;
    }
    ControlJudgement::Undecided
}

/// The verdict and, in plain words, why.
fn conclude(
    contrasts: &[ContrastResult],
    controls: &[ControlResult],
    omitted: &[Omitted],
) -> (Verdict, String) {
    if let Some(c) = controls.iter().find(|c| c.judgement == ControlJudgement::Appears) {
        let shown = interval(c.effect, c.low, c.high);
        let why = format!(
            "The control “{}” shows an effect of {shown} with the cause removed (margin ±{}), so nothing \
             can be concluded from the arms.",
            c.name,
            short(c.margin)
        );
        return (Verdict::Invalid, why);
    }
    let counting: Vec<&ContrastResult> =
        contrasts.iter().filter(|c| c.registered.counts()).collect();
    if counting.is_empty() && !contrasts.is_empty() {
        return (Verdict::Inconclusive, "Every measured contrast is post hoc.".to_owned());
    }
    if controls.iter().all(|c| c.n == 0) {
        return (Verdict::Inconclusive, undecided_because(&counting, controls, omitted));
    }
    let all_vanish = controls.iter().all(|c| c.vanishes);
    let all_measured = !omitted.iter().any(|omitted| omitted.counts);
    let all_hold = !counting.is_empty() && counting.iter().all(|c| c.holds);
    if all_measured && all_hold && all_vanish {
        let why = format!(
            "{} and {}.",
            counted(counting.len(), "contrast", "holds", "hold"),
            counted(controls.len(), "control", "vanishes", "vanish").to_lowercase()
        );
        return (Verdict::Reproduced, why);
    }
    let refuted = counting.iter().find(|c| c.judgement == Judgement::Refuted);
    if let Some(refuted) = refuted
        && all_vanish
    {
        return (Verdict::NotReproduced, refuted_because(refuted));
    }
    (Verdict::Inconclusive, undecided_because(&counting, controls, omitted))
}

fn counted(n: usize, noun: &str, one: &str, many: &str) -> String {
    match n {
        1 => format!("The {noun} {one}"),
        2 => format!("Both {noun}s {many}"),
        _ => format!("All {n} {noun}s {many}"),
    }
}

/// Names the smallest effect as what it is: a choice of this project.
fn refuted_because(contrast: &ContrastResult) -> String {
    let ContrastResult { name, effect, low, high, smallest_effect: d, .. } = contrast;
    let side = match contrast.direction {
        Direction::Increase => format!("below {}", short(*d)),
        Direction::Decrease => format!("above {}", short(-d)),
        Direction::NotBelow => format!("below {}", short(-d)),
        Direction::Unchanged => format!("outside ±{}", short(*d)),
    };
    format!(
        "“{name}” is {}, {side}: an effect of the size of interest here ({}, a choice of this project, not \
         the paper’s number) is ruled out, Holm p {}.",
        interval(*effect, *low, *high),
        short(*d),
        p_value(contrast.p_refute_holm)
    )
}

fn undecided_because(
    contrasts: &[&ContrastResult],
    controls: &[ControlResult],
    omitted: &[Omitted],
) -> String {
    if contrasts.iter().all(|c| c.n == 0) {
        return "No contrast could be measured.".to_owned();
    }
    if controls.iter().all(|c| c.n == 0) {
        return "No negative control could be measured.".to_owned();
    }
    let ns = || contrasts.iter().map(|c| c.n).chain(controls.iter().map(|c| c.n));
    if ns().all(|n| n < FEWEST_SEEDS) {
        return format!("Fewer than {FEWEST_SEEDS} seeds decide nothing.");
    }
    let quoted = |names: Vec<&str>| {
        names.iter().map(|name| format!("“{name}”")).collect::<Vec<_>>().join(", ")
    };
    let mut sentences = Vec::new();
    let is = |judgement| move |c: &&&ContrastResult| c.judgement == judgement;
    let names = |judgement| -> Vec<&str> {
        contrasts.iter().filter(is(judgement)).map(|c| c.name.as_str()).collect()
    };
    let open_controls: Vec<&str> =
        controls.iter().filter(|c| !c.vanishes).map(|c| c.name.as_str()).collect();
    let refuted = names(Judgement::Refuted);
    if !refuted.is_empty() {
        sentences.push(format!(
            "Refuted: {}; but that counts only where every measured control vanishes.",
            quoted(refuted)
        ));
    }
    let open: Vec<&str> = names(Judgement::Undecided).into_iter().chain(open_controls).collect();
    if !open.is_empty() {
        sentences.push(format!("The evidence does not decide {}.", quoted(open)));
    }
    let missing: Vec<&str> =
        omitted.iter().filter(|omitted| omitted.counts).map(|o| o.name.as_str()).collect();
    if !missing.is_empty() {
        sentences.push(format!("Not measured: {}.", quoted(missing)));
    }
    sentences.join(" ")
}

#[cfg(test)]
mod tests;
