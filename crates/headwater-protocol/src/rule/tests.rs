use super::*;
use crate::FEWEST_SEEDS;
use headwater_evaluation::intervals::t_interval;

const N: usize = 8;
/// d, margin and floor in these tests.
const D: f64 = 1.0;

/// Eight values whose interval of that level is [low, high].
fn values_at(level: f64, low: f64, high: f64) -> Vec<f64> {
    let pattern = [1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0];
    let half = t_interval(&pattern, level).unwrap().half_width();
    pattern.map(|x| (low + high) / 2.0 + x * (high - low) / 2.0 / half).into()
}

fn spanning(low: f64, high: f64) -> Evidence {
    Evidence::PerSeed(values_at(LEVEL, low, high))
}

fn primary(direction: Direction, evidence: Evidence) -> Primary {
    Primary { name: "primary".into(), evidence, direction, smallest_effect: D, room: None }
}

fn negative(evidence: Evidence) -> NegativeControl {
    NegativeControl { name: "negative".into(), evidence, margin: D }
}

fn positive(evidence: Evidence) -> PositiveControl {
    PositiveControl { name: "positive".into(), evidence, floor: D }
}

/// A claim whose controls pass.
fn claim(primaries: Vec<Primary>) -> ClaimEvidence {
    ClaimEvidence {
        seeds: N,
        primaries,
        negative_controls: vec![negative(spanning(-0.5, 0.5))],
        positive_controls: vec![positive(spanning(1.5, 2.0))],
    }
}

fn increase(low: f64, high: f64) -> Primary {
    primary(Direction::Increase, spanning(low, high))
}

fn verdict(claim: &ClaimEvidence) -> ClaimVerdict {
    judge_claim(claim).unwrap().verdict
}

#[test]
fn every_direction_and_boundary() {
    use ClaimVerdict::{Contradicted, Supported, TooSmall, Undecided};
    use Direction::{Decrease, Increase, NotBelow, Unchanged};
    for (direction, low, high, expected) in [
        (Increase, 0.5, 2.0, Supported),
        (Increase, 1.5, 2.0, Supported),
        (Increase, 0.5, 1.0, Supported),
        (Increase, 0.2, 0.9, TooSmall),
        (Increase, -0.5, 0.9, TooSmall),
        (Increase, -0.5, 1.0, Undecided),
        (Increase, -0.5, 1.5, Undecided),
        (Increase, -2.0, -0.5, Contradicted),
        (NotBelow, 2.0, 3.0, Supported),
        (NotBelow, -0.5, 3.0, Supported),
        (NotBelow, -0.9, -0.1, Supported),
        (NotBelow, -1.0, 0.5, Supported),
        (NotBelow, -1.5, 0.5, Undecided),
        (NotBelow, -3.0, -1.0, Undecided),
        (NotBelow, -3.0, -1.2, Contradicted),
        (Unchanged, -1.0, 1.0, Supported),
        (Unchanged, 0.2, 0.5, Supported),
        (Unchanged, 0.5, 1.2, Undecided),
        (Unchanged, -1.2, 0.1, Undecided),
        (Unchanged, 1.0, 2.0, Undecided),
        (Unchanged, -2.0, -1.0, Undecided),
        (Unchanged, 1.2, 2.0, Contradicted),
        (Unchanged, -2.0, -1.2, Contradicted),
    ] {
        let judged = judge_claim(&claim(vec![primary(direction, spanning(low, high))])).unwrap();
        assert_eq!(judged.verdict, expected, "{direction:?} [{low}, {high}]: {}", judged.why);
        if direction == Increase {
            let mirrored = primary(Decrease, spanning(-high, -low));
            assert_eq!(verdict(&claim(vec![mirrored])), expected, "decrease of [{low}, {high}]");
        }
    }
}

#[test]
fn an_interval_that_touches_zero_does_not_exclude_it() {
    let interval = |low, high| Interval { estimate: 0.5, low, high, level: LEVEL, n: N };
    let increase = increase(0.0, 1.0);
    assert!(!supports(&increase, &interval(0.0, 2.0)));
    assert!(supports(&increase, &interval(f64::MIN_POSITIVE, 2.0)));
    assert!(!contradicts(&increase, &interval(-2.0, 0.0)));
    assert!(contradicts(&increase, &interval(-2.0, -f64::MIN_POSITIVE)));
    let decrease = primary(Direction::Decrease, spanning(0.0, 1.0));
    assert!(!supports(&decrease, &interval(-2.0, 0.0)));
    assert!(!contradicts(&decrease, &interval(0.0, 2.0)));
}

#[test]
fn controls_pass_fail_or_stay_open() {
    use ControlOutcome::{Fails, Open, Passes};
    for (low, high, expected) in [
        (-0.5, 0.5, Passes),
        (0.1, 0.5, Passes),
        (-1.0, 1.0, Passes),
        (-1.1, 0.5, Open),
        // It excludes 0, and may yet lie inside the margin.
        (0.9, 1.5, Open),
        (1.0, 2.0, Open),
        (1.1, 2.0, Fails),
    ] {
        for (low, high) in [(low, high), (-high, -low)] {
            let found = judge_negative(&negative(spanning(low, high)), N);
            assert_eq!(found.outcome, expected, "[{low}, {high}]");
            assert!((found.interval.unwrap().low - low).abs() < 1e-12);
        }
    }
    for (low, high, expected) in [
        (1.5, 2.0, Passes),
        (1.0, 2.0, Passes),
        (0.9, 2.0, Open),
        (0.5, 1.0, Open),
        (0.5, 0.9, Fails),
        (-2.0, -1.0, Fails),
    ] {
        let found = judge_positive(&positive(spanning(low, high)), N);
        assert_eq!(found.outcome, expected, "[{low}, {high}]");
    }
    let below_zero = PositiveControl { floor: -1.0, ..positive(spanning(-0.9, 0.0)) };
    assert_eq!(judge_positive(&below_zero, N).outcome, Passes);
}

#[test]
fn the_first_line_that_applies_is_the_verdict() {
    // From the last line of the rule to the first: each change adds what an earlier line asks for.
    let mut claim = claim(vec![increase(0.5, 2.0), increase(-0.5, 1.5)]);
    let judged = judge_claim(&claim).unwrap();
    assert_eq!(judged.verdict, ClaimVerdict::Undecided);
    assert!(
        judged.why.starts_with("Not decided: “primary” (0.50 [−0.50, 1.50])"),
        "{}",
        judged.why
    );

    claim.primaries[1] = increase(0.2, 1.5);
    let judged = judge_claim(&claim).unwrap();
    assert_eq!(judged.verdict, ClaimVerdict::Supported);
    assert!(judged.why.starts_with("As claimed: "), "{}", judged.why);

    claim.primaries[1] = increase(0.1, 0.3);
    let judged = judge_claim(&claim).unwrap();
    assert_eq!(judged.verdict, ClaimVerdict::TooSmall);
    assert!(
        judged.why.ends_with("of the size of interest here, 1, is ruled out."),
        "{}",
        judged.why
    );

    claim.primaries.push(increase(-2.0, -1.5));
    let judged = judge_claim(&claim).unwrap();
    assert_eq!(judged.verdict, ClaimVerdict::Contradicted);
    assert!(judged.why.ends_with("lies below 0, and an increase is claimed."), "{}", judged.why);
    use PrimaryOutcome::{Contradicts, Supports, TooSmall};
    let outcomes: Vec<PrimaryOutcome> = judged.primaries.iter().map(|p| p.outcome).collect();
    assert_eq!(outcomes, [Supports, TooSmall, Contradicts]);

    claim.positive_controls.push(positive(spanning(0.5, 2.0)));
    let judged = judge_claim(&claim).unwrap();
    assert_eq!(judged.verdict, ClaimVerdict::Undecided);
    assert!(judged.why.starts_with("Not passed: “positive”"), "{}", judged.why);
    claim.positive_controls.pop();
    claim.negative_controls.push(negative(spanning(-0.5, 2.0)));
    let judged = judge_claim(&claim).unwrap();
    assert_eq!(judged.verdict, ClaimVerdict::Undecided);
    assert!(judged.why.starts_with("Not passed: “negative”"), "{}", judged.why);

    claim.primaries[0].room = Some(vec![0.9; N]);
    let judged = judge_claim(&claim).unwrap();
    assert_eq!(judged.verdict, ClaimVerdict::NotTestable);
    assert!(
        judged.why.starts_with("The reference leaves room for an effect of 0.9"),
        "{}",
        judged.why
    );

    claim.primaries[0].room = None;
    claim.positive_controls.push(positive(spanning(0.5, 0.9)));
    let judged = judge_claim(&claim).unwrap();
    assert_eq!(judged.verdict, ClaimVerdict::NotTestable);
    assert!(judged.why.contains("lies below its floor of 1"), "{}", judged.why);

    claim.negative_controls.push(negative(spanning(1.5, 2.0)));
    let judged = judge_claim(&claim).unwrap();
    assert_eq!(judged.verdict, ClaimVerdict::Invalid);
    assert!(judged.why.contains("lies beyond its margin of ±1"), "{}", judged.why);
}

#[test]
fn no_room_is_a_mean_below_d() {
    let with_room = |room: Vec<f64>| {
        let mut claim = claim(vec![increase(0.5, 2.0)]);
        claim.primaries[0].room = Some(room);
        judge_claim(&claim).unwrap()
    };
    assert_eq!(with_room(vec![1.0; N]).verdict, ClaimVerdict::Supported);
    assert_eq!(with_room(values_at(LEVEL, 0.5, 1.5)).verdict, ClaimVerdict::Supported);
    assert_eq!(with_room(values_at(LEVEL, 0.4, 1.5)).verdict, ClaimVerdict::NotTestable);
    for room in [vec![0.5; N - 1], vec![f64::NAN; N], vec![]] {
        let judged = with_room(room);
        assert_eq!(judged.verdict, ClaimVerdict::Undecided);
        assert!(judged.primaries[0].reason.is_some());
    }
    // Where the primary was not measured, its room says nothing.
    let mut unmeasured = claim(vec![primary(Direction::Increase, Evidence::Missing("x".into()))]);
    unmeasured.primaries[0].room = Some(vec![0.5; N]);
    assert_eq!(verdict(&unmeasured), ClaimVerdict::Undecided);
}

#[test]
fn contradicted_and_too_small_are_adjusted_by_holm() {
    // At 95% it lies below 0, at 97.5% it does not.
    let weak = || increase(-2.0, -0.01);
    let strong = || primary(Direction::Increase, Evidence::PerSeed(values_at(0.999, -2.0, -0.01)));
    let held = || increase(1.5, 2.0);
    assert_eq!(verdict(&claim(vec![weak()])), ClaimVerdict::Contradicted);
    // Not contradicted by itself any more; below d beyond doubt all the same.
    assert_eq!(verdict(&claim(vec![weak(), held()])), ClaimVerdict::TooSmall);
    assert_eq!(verdict(&claim(vec![strong(), held(), held()])), ClaimVerdict::Contradicted);
    // Holm's second step: once the strong one is rejected, the weak one is tested at 95%.
    let judged = judge_claim(&claim(vec![weak(), strong()])).unwrap();
    assert!(judged.primaries.iter().all(|p| p.outcome == PrimaryOutcome::Contradicts));
    let judged = judge_claim(&claim(vec![weak(), strong(), held()])).unwrap();
    assert_eq!(judged.primaries[0].outcome, PrimaryOutcome::TooSmall);
    // What was not measured makes nothing easier to reject.
    let missing = || primary(Direction::Increase, Evidence::Missing("not run".into()));
    assert_eq!(verdict(&claim(vec![weak(), missing()])), ClaimVerdict::TooSmall);

    // Below d at 95%, not at 97.5%, and above 0.
    let small = || increase(0.2, 0.99);
    assert_eq!(verdict(&claim(vec![small()])), ClaimVerdict::TooSmall);
    assert_eq!(verdict(&claim(vec![small(), held()])), ClaimVerdict::Supported);
    assert_eq!(verdict(&claim(vec![small(), missing()])), ClaimVerdict::Undecided);
    // Only what claims an increase or a decrease can be too small.
    let not_below = primary(Direction::NotBelow, spanning(-0.5, 0.5));
    let unchanged = primary(Direction::Unchanged, spanning(-0.5, 0.5));
    let with_others = claim(vec![small(), not_below, unchanged]);
    assert_eq!(verdict(&with_others), ClaimVerdict::TooSmall);
}

#[test]
fn what_cannot_be_judged_is_open_and_says_why() {
    let mut nan = values_at(LEVEL, 0.5, 2.0);
    nan[2] = f64::NAN;
    let mut infinite = nan.clone();
    infinite[2] = f64::INFINITY;
    let resplits = Evidence::Resplits { values: values_at(LEVEL, 0.5, 2.0), train: 0, test: 1 };
    for (evidence, reason) in [
        (Evidence::Missing("arm `a` was not run".into()), "arm `a` was not run"),
        (Evidence::PerSeed(values_at(LEVEL, 0.5, 2.0)[..7].into()), "7 values of 8 planned seeds"),
        (Evidence::PerSeed([2.0; 9].into()), "9 values of 8 planned seeds"),
        (Evidence::PerSeed(vec![]), "0 values of 8 planned seeds"),
        (Evidence::PerSeed(nan), "value 3 of 8 is not a number that can be"),
        (Evidence::PerSeed(infinite), "value 3 of 8 is not a number that can be"),
        (Evidence::PerSeed([0.3 - 0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2].into()), "no variation"),
        (resplits, "`train` = 0: allowed is an integer above 0"),
    ] {
        let mut tested = claim(vec![primary(Direction::Increase, evidence.clone())]);
        let judged = judge_claim(&tested).unwrap();
        assert_eq!(judged.verdict, ClaimVerdict::Undecided);
        assert!(judged.why.contains(reason), "{}", judged.why);
        assert_eq!(judged.primaries[0].outcome, PrimaryOutcome::Open);
        tested.primaries[0] = increase(0.5, 2.0);
        assert_eq!(verdict(&tested), ClaimVerdict::Supported);
        tested.negative_controls.push(negative(evidence.clone()));
        let judged = judge_claim(&tested).unwrap();
        assert_eq!(judged.verdict, ClaimVerdict::Undecided);
        assert!(judged.why.contains(reason), "{}", judged.why);
        tested.negative_controls.pop();
        tested.positive_controls.push(positive(evidence));
        let judged = judge_claim(&tested).unwrap();
        assert_eq!(judged.verdict, ClaimVerdict::Undecided);
        assert!(judged.why.contains(reason), "{}", judged.why);
    }
}

#[test]
fn few_seeds_decide_nothing() {
    let first = |values: [f64; 5], n: usize| Evidence::PerSeed(values[..n].into());
    let of = |n: usize| ClaimEvidence {
        seeds: n,
        primaries: vec![primary(Direction::Increase, first([2.0, 2.1, 2.0, 2.1, 2.0], n))],
        negative_controls: vec![negative(first([0.0, 0.1, 0.0, 0.1, 0.0], n))],
        positive_controls: vec![positive(first([9.0, 9.1, 9.0, 9.1, 9.0], n))],
    };
    assert_eq!(verdict(&of(5)), ClaimVerdict::Supported);
    for n in 0..5 {
        let judged = judge_claim(&of(n)).unwrap();
        assert_eq!(judged.verdict, ClaimVerdict::Undecided);
        assert!(judged.why.contains("fewer than 5 seeds"), "{}", judged.why);
    }
}

#[test]
fn only_a_control_may_be_exactly_zero() {
    let zero = || Evidence::PerSeed(vec![0.0; N]);
    let mut tested = claim(vec![increase(0.5, 2.0)]);
    tested.negative_controls = vec![negative(zero())];
    assert_eq!(verdict(&tested), ClaimVerdict::Supported);
    // What is only rounding next to the margin is 0.
    tested.negative_controls = vec![negative(Evidence::PerSeed(vec![0.3 - (0.1 + 0.2); N]))];
    assert_eq!(verdict(&tested), ClaimVerdict::Supported);
    // Another constant says nothing of how well it is known, inside the margin or beyond.
    for constant in [0.5, 3.0] {
        tested.negative_controls = vec![negative(Evidence::PerSeed(vec![constant; N]))];
        assert_eq!(verdict(&tested), ClaimVerdict::Undecided);
    }
    let unchanged = claim(vec![primary(Direction::Unchanged, zero())]);
    assert_eq!(verdict(&unchanged), ClaimVerdict::Undecided);
}

#[test]
fn censored_outcomes_are_shares_that_keep_a_width() {
    let (all, none) = (vec![Some(90.0); N], vec![None; N]);
    let share = |used: &[Option<f64>], budget| Evidence::Solved { used: used.into(), budget };
    let interval = |evidence: Evidence| Measured::of(&evidence, N, 1.0).unadjusted().unwrap();
    // statsmodels' and scipy's Wilson interval of 8 of 8: [0.676, 1].
    let found = interval(share(&all, 90.0));
    assert!((found.low - 0.675_592).abs() < 1e-6 && found.high == 1.0, "{found:?}");
    // Solved, but with more than the budget.
    assert_eq!(interval(share(&all, 89.0)).estimate, 0.0);
    assert_eq!(interval(share(&none, 90.0)).estimate, 0.0);

    let difference = |treated: &[Option<f64>], reference: &[Option<f64>]| {
        let (treated, reference) = (treated.into(), reference.into());
        Evidence::SolvedDifference { treated, reference, budget: 90.0 }
    };
    let one = |direction, evidence, smallest_effect| {
        let mut claim = claim(vec![Primary { smallest_effect, ..primary(direction, evidence) }]);
        let floor = 0.5;
        claim.positive_controls = vec![PositiveControl { floor, ..positive(share(&all, 90.0)) }];
        judge_claim(&claim).unwrap()
    };
    let judged = one(Direction::Increase, difference(&all, &none), 0.2);
    assert_eq!(judged.verdict, ClaimVerdict::Supported);
    // All eight pairs differ in one direction, and yet the interval has a width.
    let found = judged.primaries[0].interval.unwrap();
    assert!(found.low > 0.1 && found.low < 0.9 && found.high == 1.0, "{found:?}");
    let judged = one(Direction::Increase, difference(&none, &all), 0.2);
    assert_eq!(judged.verdict, ClaimVerdict::Contradicted);
    // Nobody solves anything: that is not known to be no difference.
    assert_eq!(
        one(Direction::Increase, difference(&none, &none), 0.2).verdict,
        ClaimVerdict::Undecided
    );
    for bad in [f64::NAN, -1.0, f64::INFINITY] {
        let mut used = all.clone();
        used[3] = Some(bad);
        for evidence in [difference(&used, &none), difference(&none, &used), share(&used, 90.0)] {
            let reason = Measured::of(&evidence, N, 1.0).reason.unwrap();
            assert_eq!(reason, "value 4 of 8 is not a number that can be");
        }
    }
    let reason = Measured::of(&difference(&all, &none[1..]), N, 1.0).reason.unwrap();
    assert_eq!(reason, "7 values of 8 planned seeds");
}

#[test]
fn resplits_are_not_independent_seeds() {
    let values = values_at(LEVEL, 0.5, 2.0);
    let independent = claim(vec![primary(Direction::Increase, Evidence::PerSeed(values.clone()))]);
    assert_eq!(verdict(&independent), ClaimVerdict::Supported);
    let resplits = Evidence::Resplits { values, train: 50, test: 50 };
    let judged = judge_claim(&claim(vec![primary(Direction::Increase, resplits)])).unwrap();
    assert_eq!(judged.verdict, ClaimVerdict::Undecided);
    // Eight splits into halves: three times as wide.
    let found = judged.primaries[0].interval.unwrap();
    assert!((found.half_width() - 3.0 * 0.75).abs() < 1e-12, "{found:?}");
}

#[test]
fn a_claim_that_no_rule_can_judge_is_refused() {
    let good = || claim(vec![increase(0.5, 2.0)]);
    let with = |change: &dyn Fn(&mut ClaimEvidence)| {
        let mut claim = good();
        change(&mut claim);
        judge_claim(&claim).unwrap_err().to_string()
    };
    let all = || vec![Some(1.0); N];
    for (error, expected) in [
        (with(&|c| c.primaries.clear()), "number of primaries = 0: allowed is 1 to 3"),
        (
            with(&|c| c.primaries = vec![increase(0.5, 2.0); 4]),
            "number of primaries = 4: allowed is 1 to 3",
        ),
        (
            with(&|c| c.negative_controls.clear()),
            "number of negative controls = 0: allowed is one or more",
        ),
        (
            with(&|c| c.positive_controls.clear()),
            "number of positive controls = 0: allowed is one or more",
        ),
        (
            with(&|c| c.primaries[0].smallest_effect = 0.0),
            "smallest effect of “primary” = 0: allowed is a finite number above 0",
        ),
        (
            with(&|c| c.negative_controls[0].margin = f64::NAN),
            "margin of “negative” = NaN: allowed is a finite number above 0",
        ),
        (
            with(&|c| c.positive_controls[0].floor = f64::INFINITY),
            "floor of “positive” = inf: allowed is a finite number",
        ),
        (
            with(&|c| c.primaries[0].evidence = Evidence::Solved { used: all(), budget: 0.0 }),
            "budget of “primary” = 0: allowed is a finite number above 0",
        ),
        (
            with(&|c| {
                let (treated, reference, budget) = (all(), all(), f64::NAN);
                c.negative_controls[0].evidence =
                    Evidence::SolvedDifference { treated, reference, budget };
            }),
            "budget of “negative” = NaN: allowed is a finite number above 0",
        ),
    ] {
        assert_eq!(error, format!("claim: {expected}"));
    }
    assert_eq!(verdict(&good()), ClaimVerdict::Supported);
}

#[test]
fn a_verdict_is_stored_under_the_words_that_are_shown() {
    use ClaimVerdict::*;
    for verdict in [Invalid, NotTestable, Contradicted, TooSmall, Supported, Undecided] {
        let stored = serde_json::to_value(verdict).unwrap();
        assert_eq!(stored, verdict.name());
        assert_eq!(serde_json::from_value::<ClaimVerdict>(stored).unwrap(), verdict);
    }
}

#[test]
fn the_seeds_that_a_claim_needs() {
    let part = |effect, deviation| DesignPart { effect, deviation, overlap: 0.0 };
    use DesignedEffect::{AboveFloor, Directed, NotBelow, Unchanged};
    let one = |effect, deviation| ClaimDesign { parts: vec![part(effect, deviation)] };
    // Of one part the bound is its own probability. `headwater_evaluation::power` has 13 seeds for
    // one that need not be told from too small, and 16 for a control.
    assert_eq!(one(NotBelow(1.0), 1.0).seeds(0.9).unwrap(), 13);
    assert_eq!(one(AboveFloor(1.0), 1.0).seeds(0.9).unwrap(), 13);
    assert_eq!(one(Unchanged(1.0), 1.0).seeds(0.9).unwrap(), 16);
    assert!((13..=15).contains(&one(Directed(1.0), 1.0).seeds(0.9).unwrap()));
    // scipy 1.17.1, sums of the expressions in `headwater_evaluation::power`'s tests: per primary 1 -
    // power(effect 1, bound 0) + min(inside(effect .5, margin .5), .025/count), and both controls.
    for (count, n, expected) in [
        (1, 10, 0.923_690_535_299_115_7),
        (2, 10, 0.852_317_836_727_597_5),
        (3, 12, 0.901_439_556_552_430_8),
        (3, 40, 0.974_999_985_909_352_9),
    ] {
        let mut parts = vec![part(Directed(1.0), 0.8); count];
        parts.extend([part(Unchanged(1.0), 0.5), part(AboveFloor(1.0), 0.5)]);
        let found = ClaimDesign { parts }.supported(n).unwrap();
        assert!((found - expected).abs() < 1e-9, "{count}, n = {n}: {found}");
    }
    // Never fewer than decide anything.
    assert_eq!(one(NotBelow(1.0), 0.01).seeds(0.9).unwrap(), FEWEST_SEEDS);
    for count in 1..=MOST_PRIMARIES {
        for deviation in [0.4, 0.8, 1.6] {
            let mut parts = vec![part(Directed(1.0), deviation); count];
            parts.extend([part(Unchanged(1.0), deviation), part(AboveFloor(2.0), deviation)]);
            let design = ClaimDesign { parts };
            let n = design.seeds(0.9).unwrap();
            assert!(design.supported(n).unwrap() >= 0.9);
            assert!(n == FEWEST_SEEDS || design.supported(n - 1).unwrap() < 0.9);
        }
    }
    for (found, start) in [
        (ClaimDesign { parts: vec![] }.seeds(0.9), "statistics: `parts` has 0 entries"),
        (
            one(Directed(1.0), 1.0).seeds(1.0),
            "statistics: `power` = 1: allowed is a number in (0, 1)",
        ),
        (
            one(Directed(1.0), 1.0).seeds(0.99),
            "statistics: `power` = 0.99: allowed is a probability",
        ),
        (one(Directed(0.0), 1.0).seeds(0.9), "statistics: `margin` = 0"),
        (one(NotBelow(-1.0), 1.0).seeds(0.9), "statistics: `effect` = -1"),
        (one(AboveFloor(0.0), 1.0).seeds(0.9), "statistics: `effect` = 0"),
        (one(Unchanged(1.0), 0.0).seeds(0.9), "statistics: PairedDesignConfig.deviation = 0"),
    ] {
        let error = found.unwrap_err().to_string();
        assert!(error.starts_with(start), "{error}");
    }
}
