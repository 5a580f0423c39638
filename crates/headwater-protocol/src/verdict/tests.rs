//! The rules as tables. `tests/rates.rs` beside this file simulates how often they err.

use super::*;
use crate::{Arm, Measure, Metrics, NotRun, ProtocolError, Registered, Scalar};

mod rates;

fn effect(low: f64, high: f64) -> Effect {
    Effect { estimate: Some((low + high) / 2.0), interval: Some((low, high)), p: Some(0.01), n: 5 }
}

#[test]
fn contrasts_are_judged_by_the_table() {
    use Direction::{Decrease, Increase, NotBelow, Unchanged};
    use Judgement::{Holds, Refuted, Undecided};
    // direction, low, high, Holm p against 0, Holm p against d, expected; d is 1.
    let table = [
        (Increase, 0.5, 2.5, 0.01, 1.0, Holds),
        (Increase, 0.5, 2.5, 0.05, 1.0, Undecided), // adjusted away
        (Increase, -0.5, 3.5, 0.01, 1.0, Undecided), // the interval holds 0
        (Increase, 0.1, 1.7, 0.01, 0.3, Undecided), // there, but perhaps too small to matter
        (Increase, 0.1, 0.9, 0.01, 0.01, Refuted),  // there, and too small to matter
        (Increase, 0.1, 0.9, 0.01, 0.05, Undecided), // too small, but adjusted away
        (Increase, -3.0, -1.0, 0.01, 0.01, Refuted), // the other way
        (Increase, 1.1, 2.9, 0.2, 0.01, Undecided), // beyond d on the claim's side refutes nothing
        (Decrease, -2.5, -0.5, 0.01, 1.0, Holds),
        (Decrease, -1.7, -0.1, 0.01, 0.3, Undecided),
        (Decrease, -0.9, 0.3, 0.3, 0.01, Refuted),
        (Decrease, -0.9, 0.3, 0.3, 0.06, Undecided),
        (Decrease, 1.0, 3.0, 0.01, 0.01, Refuted),
        (NotBelow, -0.9, 0.1, 0.9, 1.0, Holds),
        (NotBelow, 5.0, 6.0, 0.9, 1.0, Holds),
        (NotBelow, -1.1, 0.1, 0.9, 1.0, Undecided),
        (NotBelow, -3.0, -1.1, 0.9, 0.01, Refuted),
        (NotBelow, -3.0, -1.1, 0.9, 0.06, Undecided),
        (Unchanged, -0.9, 0.9, 0.9, 1.0, Holds),
        (Unchanged, 0.1, 0.9, 0.001, 1.0, Holds), // significant and irrelevant
        (Unchanged, -0.9, 1.1, 0.9, 1.0, Undecided),
        (Unchanged, 1.1, 2.0, 0.9, 0.01, Refuted),
        (Unchanged, 1.1, 2.0, 0.9, 0.06, Undecided),
        (Unchanged, -2.0, -1.1, 0.9, 0.01, Refuted),
    ];
    for (direction, low, high, p, against, expected) in table {
        let found = judge_contrast(direction, 1.0, &effect(low, high), Some(p), Some(against));
        assert_eq!(found, expected, "{direction:?} [{low}, {high}] p = {p}, against d {against}");
    }
    let one_seed = Effect { estimate: Some(9.0), interval: None, p: None, n: 1 };
    for direction in [Increase, Decrease, NotBelow, Unchanged] {
        assert_eq!(judge_contrast(direction, 1.0, &one_seed, None, None), Undecided);
    }
}

#[test]
fn the_bound_that_refutes_is_the_one_nearest_to_the_estimate() {
    use Direction::{Decrease, Increase, NotBelow, Unchanged};
    let table = [
        (Increase, 0.5, 1.0, true),
        (Increase, 1.5, 1.0, false),
        (Decrease, 0.5, -1.0, true),
        (Decrease, -1.5, -1.0, false),
        (NotBelow, -0.5, -1.0, false),
        (NotBelow, -1.5, -1.0, true),
        (Unchanged, 1.5, 1.0, true),
        (Unchanged, -1.5, -1.0, true),
        (Unchanged, -0.5, -1.0, false),
    ];
    for (direction, estimate, bound, beyond) in table {
        assert_eq!(
            contradicted(direction, 1.0, estimate),
            (bound, beyond),
            "{direction:?} {estimate}"
        );
    }
}

#[test]
fn controls_are_judged_by_the_table() {
    use ControlJudgement::{Appears, Undecided, Vanishes};
    let table = [
        (-0.5, 0.5, Vanishes),
        (0.1, 0.9, Vanishes), // an effect within the margin is none that matters
        (-0.5, 1.5, Undecided),
        (0.1, 1.5, Undecided), // excludes 0, but its estimate is within the margin
        (0.5, 2.5, Appears),
        (-2.5, -0.5, Appears),
        (-0.5, 3.0, Undecided), // beyond the margin, but holds 0
    ];
    for (low, high, expected) in table {
        assert_eq!(judge_control(1.0, &effect(low, high)), expected, "[{low}, {high}]");
    }
}

#[test]
fn a_threshold_missed_by_rounding_is_met() {
    use Direction::{Decrease, Increase, Unchanged};
    // 0.3 - 0.2 is a hair below 0.1, and 0.1 + 0.2 a hair above 0.3.
    let (below, above) = (0.3 - 0.2, 0.1 + 0.2);
    assert!(below < 0.1 && above > 0.3);
    let at = |estimate: f64, reach: f64| Effect {
        estimate: Some(estimate),
        interval: Some((estimate - reach, estimate + reach)),
        p: Some(0.01),
        n: 5,
    };
    let judged = |direction, smallest, effect: &Effect| {
        judge_contrast(direction, smallest, effect, Some(0.01), Some(0.01))
    };
    assert_eq!(judged(Increase, 0.1, &at(below, 0.05)), Judgement::Holds);
    assert_eq!(judged(Decrease, 0.1, &at(-below, 0.05)), Judgement::Holds);
    assert_eq!(judged(Unchanged, 0.3, &at(above, 0.0)), Judgement::Holds);
    assert_eq!(judge_control(0.3, &at(above, 0.0)), ControlJudgement::Vanishes);
    assert_eq!(contradicted(Increase, 0.1, below), (0.1, false));
    // By more than rounding it is missed.
    assert_eq!(judged(Increase, 0.1, &at(0.1 - 1e-9, 0.05)), Judgement::Refuted);
    assert_eq!(judge_control(0.3, &at(0.3 + 1e-9, 0.0)), ControlJudgement::Appears);
}

/// What every arm of these tests records, and the seed it is recorded at.
const M: Scalar = Scalar::new("m");
const SEED: Scalar = Scalar::new("seed");

fn m(arm: &'static str) -> Measure {
    M.of(arm)
}

#[test]
fn a_difference_that_is_no_number_names_its_seed() {
    let of = |contrast: Contrast| {
        let records = records(&[("a", 1.0), ("b", 0.0)], 5);
        let planned: Vec<(&'static str, u64)> =
            (0..5).flat_map(|seed| [("a", seed), ("b", seed)]).collect();
        let judged = judge(&[&contrast], &[], &records, scope(&planned));
        judged.contrasts[0].problem.clone()
    };
    let zero_at_3 = Measure::computed("zero", [SEED.read("a")], |read| {
        Ok(if read[0][0] == 3.0 { 0.0 } else { 1.0 })
    });
    let at_seed_3 = contrast("ratio", (m("a") - m("a")) / zero_at_3);
    let expected = "seed 3: the difference is NaN, not a finite number";
    assert_eq!(of(at_seed_3).as_deref(), Some(expected));
    let without_room = contrast("a", m("a")).room(1.0 / m("b"));
    let expected = "seed 0: the attainable effect is inf, not a finite number";
    assert_eq!(of(without_room).as_deref(), Some(expected));
}

fn contrast(name: &str, measure: Measure) -> Contrast {
    Contrast::increase(name, measure, 0.0).registered(Registered::Before)
}

/// [`judge`] of comparisons that are not kept.
fn judged(
    contrasts: &[Contrast],
    controls: &[Control],
    records: &Records,
    scope: Scope<'_>,
) -> Judged {
    let (contrasts, controls): (Vec<_>, Vec<_>) =
        (contrasts.iter().collect(), controls.iter().collect());
    judge(&contrasts, &controls, records, scope)
}

/// A number that only the seed decides.
fn of_seed(name: &'static str, compute: crate::Compute) -> Measure {
    Measure::computed(name, [SEED.read("up")], compute)
}

fn records(values: &[(&str, f64)], seeds: u64) -> Records {
    let cells = (0..seeds).flat_map(|seed| {
        values.iter().map(move |&(arm, value)| {
            // Not constant over seeds, so that p is above 0.
            let value = value * (1.0 + 0.3 * seed as f64);
            (arm.into(), seed, Metrics::new().scalar(&M, value).scalar(&SEED, seed as f64))
        })
    });
    Records::new(cells)
}

fn scope(planned: &[(&'static str, u64)]) -> Scope<'static> {
    let planned = planned.iter().map(|(arm, seed)| (&*Box::leak(Box::new(Arm::new(arm))), *seed));
    Scope { planned: planned.collect::<Vec<_>>().leak(), not_run: &[], smoke: false }
}

/// All arms of these tests at the first `seeds` seeds.
fn first(seeds: u64) -> Scope<'static> {
    let arms = ["a", "arm", "up", "flat", "down"];
    let cells: Vec<_> = (0..seeds).flat_map(|seed| arms.map(|arm| (arm, seed))).collect();
    scope(&cells)
}

fn control(name: &str, measure: Measure) -> Control {
    Control::new(name, measure, 0.1)
}

fn vanishing() -> Control {
    control("none", 0.0.into())
}

/// Differences that hold 0 and reach beyond any margin of these tests.
fn vague() -> Measure {
    of_seed("vague", |read| Ok(if read[0][0] % 2.0 == 0.0 { 1.0 } else { -0.9 }))
}

#[test]
fn holms_families_are_as_documented() {
    let one = contrast("one", m("a"));
    let equal = Contrast::unchanged("equal", m("a"), 0.5);
    let constant = contrast("constant", 3.0.into());
    let records = records(&[("a", 1.0)], 5);
    let none = vanishing();
    let judged = |contrasts: &[&Contrast]| judge(contrasts, &[&none], &records, first(5)).contrasts;
    let alone = judged(&[&one]);
    let raw = alone[0].p.unwrap();
    assert_eq!(alone[0].p_holm, Some(raw));

    let beside = judged(&[&one, &equal, &one]);
    assert_eq!(beside[0].p_holm, Some(2.0 * raw), "to hold, two of three are tested");
    assert_eq!(beside[1].p_holm, None);
    // To be refuted, all three are: the two that rise are on the claim's side, with p = 1.
    let against = t_test(&[1.0, 1.3, 1.6, 1.9, 2.2], 0.5).unwrap();
    assert_eq!(beside[1].p_refute, Some(against));
    assert_eq!(beside[1].p_refute_holm, Some(3.0 * against));
    assert_eq!((beside[0].p_refute, beside[0].p_refute_holm), (Some(1.0), Some(1.0)));

    let untested = judged(&[&one, &constant]);
    assert_eq!(untested[0].p_holm, Some(2.0 * raw), "what has no p value still counts");
    assert_eq!((untested[1].p_holm, untested[1].p_refute_holm), (None, None));
}

#[test]
fn the_findings_verdict_follows_the_order_of_the_rules() {
    use Verdict::{Inconclusive, Invalid, NotReproduced, Reproduced};
    let records = records(&[("up", 1.0), ("flat", 0.0), ("down", -1.0)], 5);
    let not_run = vec![NotRun::new("absent", "no data")].leak();
    let up = contrast("up", m("up"));
    let down = Contrast::increase("down", m("down"), 0.1);
    let (none, open) = (vanishing(), control("open", vague()));
    let vague = contrast("vague", vague());
    let gone = contrast("gone", m("absent"));
    let late = |contrast: &Contrast| contrast.clone().registered(Registered::PostHoc);
    let [late_up, late_down, late_vague, late_gone] = [&up, &down, &vague, &gone].map(late);
    let piloted = up.clone().registered(Registered::AfterPilot);
    let appears = control("leak", m("up"));
    let absent = control("absent", m("absent"));
    let table: &[(&[&Contrast], &[&Control], Verdict)] = &[
        (&[&up], &[&none], Reproduced),
        (&[&piloted], &[&none], Reproduced),
        (&[&up, &down], &[&none], NotReproduced),
        (&[&up, &vague], &[&none], Inconclusive),
        // A control that is open caps the verdict, one that appears overrules it.
        (&[&up], &[&open], Inconclusive),
        (&[&up], &[&none, &open], Inconclusive),
        (&[&up, &down], &[&none, &open], Inconclusive),
        (&[&up, &down], &[&none, &appears], Invalid),
        (&[&up, &down], &[&absent, &appears], Invalid),
        // Without any control nothing is said, whatever the contrasts are.
        (&[&up], &[], Inconclusive),
        (&[&down], &[], Inconclusive),
        (&[&up], &[&absent], Inconclusive),
        (&[&down], &[&absent], Inconclusive),
        // `reproduced` needs all that was planned, `not reproduced` what could be measured.
        (&[&up, &gone], &[&none], Inconclusive),
        (&[&up], &[&none, &absent], Inconclusive),
        (&[&down, &gone], &[&none], NotReproduced),
        (&[&down], &[&none, &absent], NotReproduced),
        // Post hoc contrasts count towards nothing.
        (&[&late_up], &[&none], Inconclusive),
        (&[&up, &late_down], &[&none], Reproduced),
        (&[&up, &late_vague], &[&none], Reproduced),
        (&[&up, &late_gone], &[&none], Reproduced),
        (&[&vague, &late_down], &[&none], Inconclusive),
        (&[], &[&none], Inconclusive),
    ];
    for (contrasts, controls, expected) in table {
        let scope = Scope { not_run, ..first(5) };
        let found = judge(contrasts, controls, &records, scope);
        let names: Vec<&str> = contrasts.iter().map(|c| c.name.as_str()).collect();
        let against: Vec<&str> = controls.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(found.verdict, *expected, "{names:?}, controls {against:?}: {}", found.why);
    }
}

#[test]
fn the_reason_names_what_is_missing_and_whose_the_smallest_effect_is() {
    let records = records(&[("up", 1.0), ("down", -1.0)], 5);
    let not_run = vec![NotRun::new("absent", "no data")].leak();
    let up = contrast("up", m("up"));
    let down = Contrast::increase("down", m("down"), 0.1);
    let gone = contrast("gone", m("absent"));
    let (none, open) = (vanishing(), control("open", vague()));
    let why = |contrasts: &[&Contrast], controls: &[&Control]| {
        judge(contrasts, controls, &records, Scope { not_run, ..first(5) }).why
    };
    assert_eq!(why(&[&up], &[&none]), "The contrast holds and the control vanishes.");
    assert_eq!(why(&[&up, &gone], &[&none]), "Not measured: “gone”.");
    assert_eq!(why(&[&gone], &[&none]), "No contrast could be measured.");
    assert_eq!(why(&[&up], &[]), "No negative control could be measured.");
    let refuted = why(&[&down], &[&none]);
    assert!(refuted.contains("below 0.1") && refuted.contains("not the paper’s"), "{refuted}");
    let capped = why(&[&down], &[&none, &open]);
    assert!(capped.starts_with("Refuted: “down”; but") && capped.contains("“open”"), "{capped}");
    let late = up.clone().registered(Registered::PostHoc);
    assert_eq!(why(&[&late], &[&none]), "Every measured contrast is post hoc.");
}

#[test]
fn fewer_than_five_seeds_and_the_smoke_preset_decide_nothing() {
    let up = contrast("up", m("up"));
    let appears = control("leak", m("up"));
    let none = vanishing();
    for seeds in 1..=6 {
        let records = records(&[("up", 1.0)], seeds);
        let judged = |control: &Control, smoke| {
            judge(&[&up], &[control], &records, Scope { smoke, ..first(seeds) })
        };
        let enough = seeds >= 5;
        let expected = |verdict| if enough { verdict } else { Verdict::Inconclusive };
        assert_eq!(judged(&none, false).verdict, expected(Verdict::Reproduced), "{seeds}");
        assert_eq!(judged(&appears, false).verdict, expected(Verdict::Invalid), "{seeds}");
        for control in [&none, &appears] {
            assert_eq!(judged(control, true).verdict, Verdict::Inconclusive, "smoke, {seeds}");
        }
        let reason = judged(&none, true).contrasts[0].reason.clone().unwrap();
        let says = if enough { "the smoke preset decides nothing" } else { "fewer than 5 seeds" };
        assert_eq!(reason, says);
        let why = judged(&none, false).why;
        assert_eq!(why.contains("Fewer than 5 seeds"), !enough, "{why}");
    }
}

#[test]
fn equal_differences_decide_nothing_but_a_control_of_zeros_vanishes() {
    use ControlJudgement::{Undecided, Vanishes};
    let dust = of_seed("dust", |read| Ok(if read[0][0] == 0.0 { 0.9 - 0.8 } else { 0.1 }));
    let zero_dust =
        of_seed("dust", |read| Ok(if read[0][0] == 0.0 { 0.3 - (0.1 + 0.2) } else { 0.0 }));
    let varied = records(&[("up", 1.0)], 5);
    let table: &[(Measure, ControlJudgement)] = &[
        (0.0.into(), Vanishes),
        (zero_dust, Vanishes),
        (0.01.into(), Undecided), // within the margin, and yet constant
        (7.0.into(), Undecided),  // far beyond it
        (dust, Undecided),
    ];
    for (at, (measure, expected)) in table.iter().enumerate() {
        let control = Control::new("c", measure.clone(), 0.5);
        for direction in
            [Direction::Increase, Direction::Decrease, Direction::NotBelow, Direction::Unchanged]
        {
            let constant = Contrast::new("constant", measure.clone(), direction, 0.5);
            let found = judge(&[&constant], &[&control], &varied, first(5));
            let (c, k) = (&found.contrasts[0], &found.controls[0]);
            assert_eq!(c.judgement, Judgement::Undecided, "{at} {direction:?}");
            assert_eq!(c.reason.as_deref(), Some("no variation between seeds"));
            assert_eq!((c.low, c.high, c.p), (c.effect, c.effect, None), "one value, no test");
            assert_eq!(k.judgement, *expected, "{at}");
            assert_eq!(k.reason.is_none(), *expected == Vanishes, "{at}");
        }
    }
}

#[test]
fn without_room_for_the_effect_a_contrast_is_undecided() {
    let records = records(&[("up", 1.0), ("down", -1.0)], 5);
    // Room is 1 over the seeds on average: 0, 0.5, 1, 1.5, 2.
    let room = of_seed("room", |read| Ok(read[0][0] * 0.5));
    let table = [(0.9, Judgement::Refuted, None), (1.1, Judgement::Undecided, Some("no room"))];
    for (smallest_effect, judgement, says) in table {
        let down = Contrast::increase("down", m("down"), smallest_effect).room(room.clone());
        let found = judged(&[down], &[vanishing()], &records, first(5));
        let contrast = &found.contrasts[0];
        assert_eq!((contrast.judgement, contrast.attainable), (judgement, Some(1.0)));
        let reason = contrast.reason.as_deref();
        assert!(says.is_none_or(|says| reason.unwrap().starts_with(says)), "{reason:?}");
        assert_eq!(says.is_some(), reason.is_some());
    }
    // What it reads is subject to the same rules as the difference.
    let mistaken = contrast("up", m("up")).room(Scalar::new("n").of("up"));
    let found = judged(&[mistaken], &[vanishing()], &records, first(5));
    assert!(found.contrasts[0].problem.as_ref().unwrap().contains("no scalar `n`"));
}

#[test]
fn a_threshold_that_is_no_threshold_decides_nothing() {
    let records = records(&[("up", 1.0)], 5);
    for threshold in [-1.0, f64::NAN, f64::INFINITY] {
        let bad = Contrast::increase("up", m("up"), threshold);
        let contrast = &judged(&[bad], &[vanishing()], &records, first(5)).contrasts[0];
        assert_eq!((contrast.judgement, contrast.effect), (Judgement::Undecided, Some(1.6)));
        assert!(contrast.problem.as_ref().unwrap().contains(&format!("threshold is {threshold}")));
    }
}

#[test]
fn a_seed_without_a_value_leaves_a_comparison_undecided_and_is_no_defect() {
    let records = records(&[("up", 1.0)], 6);
    let ratio =
        Measure::computed("ratio", [SEED.read("up"), M.read("up")], |read| match read[0][0] {
            2.0 | 4.0 => Err(ProtocolError::Undefined("a ratio to 0".into())),
            _ => Ok(read[1][0]),
        });
    let result = judged(&[contrast("ratio", ratio)], &[vanishing()], &records, first(6));
    let found = &result.contrasts[0];
    assert_eq!((found.judgement, found.n, &found.problem), (Judgement::Undecided, 4, &None));
    assert_eq!(found.reason.as_deref(), Some("not defined at seed 2, 4: a ratio to 0"));
    assert_ne!(result.verdict, Verdict::Reproduced);
}

#[test]
fn a_missing_record_is_told_apart_by_what_was_planned() {
    let records = records(&[("up", 1.0)], 5);
    let judge = |measure: &Measure, planned: &[(&'static str, u64)]| {
        let not_run = vec![NotRun::new("absent", "no data")].leak();
        let scope = Scope { not_run, ..scope(planned) };
        judged(&[contrast("c", measure.clone())], &[vanishing()], &records, scope)
    };
    let up = m("up");
    let planned = [0, 1, 2, 3, 4].map(|seed| ("up", seed));
    let and = |more| [planned.as_slice(), &[more]].concat();

    let beyond = judge(&up, &and(("other", 5)));
    assert_eq!((beyond.contrasts[0].n, beyond.contrasts[0].lost_seeds.len()), (5, 0));
    assert!(beyond.contrasts[0].holds, "a seed at which the arm was never planned is none lost");

    let lost = judge(&up, &and(("up", 5)));
    assert_eq!(
        (lost.contrasts[0].lost_seeds.as_slice(), lost.contrasts[0].holds),
        (&[5][..], false)
    );
    let reason = lost.contrasts[0].reason.as_deref();
    assert_eq!(reason, Some("without seed 5, whose cells left no record"));

    let mistaken = judge(&m("upp"), &planned);
    let problem = mistaken.contrasts[0].problem.as_deref();
    assert_eq!(problem, Some("no cell of arm `upp` is planned"));

    let absent = m("absent");
    // Also where no cell at all is planned.
    for planned in [planned.as_slice(), &[]] {
        let omitted = judge(&absent, planned);
        assert_eq!((omitted.contrasts.len(), omitted.omitted[0].arm.name()), (0, "absent"));
        assert_eq!(omitted.omitted[0].reason, "no data");
        assert_eq!(omitted.why, "No contrast could be measured.");
    }
}
