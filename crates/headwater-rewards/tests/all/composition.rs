//! Ranges, batches, mixtures, rubrics and gates.

use approx::assert_abs_diff_eq;
use headwater_core::{Check, Group, Sample, Score};
use headwater_rewards::{
    Component, Criterion, GroupDecision, GroupGate, GroupGateConfig, Invariance, MetByKind,
    Mixture, Presence, Range, Requirement, Reward, RewardError, Rubric, RubricGate, WhenClosed,
    check_scores, checked_score, score_batch, score_group,
};
use proptest::prelude::*;

/// Says the number in the completion, abstains on "?" and fails on "!", with any declared range.
struct Says(Range);

impl Reward for Says {
    fn name(&self) -> &str {
        "says"
    }

    fn range(&self) -> Range {
        self.0
    }

    fn invariances(&self) -> &[Invariance] {
        &[Invariance::Whitespace]
    }

    fn score(&self, sample: Sample<'_>) -> Score {
        match sample.completion.trim() {
            "?" => Score::Abstained("asked".into()),
            "!" => Score::Failed("broken".into()),
            number => Score::Scored(number.parse().expect("a number")),
        }
    }
}

/// 1 when the completion contains the word.
fn contains(word: &'static str) -> impl Reward {
    move |sample: Sample<'_>| Score::finite(f64::from(u8::from(sample.completion.contains(word))))
}

fn sample(completion: &str) -> Sample<'_> {
    Sample { prompt: "", completion, reference: None }
}

fn constant(value: f64) -> impl Reward {
    move |_: Sample<'_>| Score::Scored(value)
}

#[test]
fn a_value_outside_the_declared_range_is_a_failure_that_names_it() {
    for (said, ok) in
        [("0", true), ("1", true), ("1.001", false), ("-1", false), ("NaN", false), ("inf", false)]
    {
        match checked_score(&Says(Range::UNIT), sample(said)) {
            Score::Scored(_) => assert!(ok, "{said}"),
            Score::Failed(reason) => {
                assert!(!ok && reason.contains("`says`") && reason.contains(said), "{reason}");
            }
            Score::Abstained(_) => panic!("{said}"),
        }
    }
    assert!(matches!(checked_score(&constant(f64::INFINITY), sample("")), Score::Failed(_)));
    assert!(Range::new(1.0, 0.0).is_err());
    assert!(Range::new(f64::NAN, 0.0).is_err());
}

#[test]
fn batches_are_refused_when_too_many_fail_or_the_count_is_wrong() {
    let reward = Says(Range::UNIT);
    let samples: Vec<Sample<'_>> = ["0", "!", "?", "1"].map(sample).to_vec();
    let error = score_batch(&reward, &samples, 0.0).unwrap_err();
    assert!(matches!(error, RewardError::TooManyFailures { failed: 1, total: 4, index: 1, .. }));
    let scores = score_batch(&reward, &samples, 0.25).unwrap();
    assert_eq!(scores.len(), 4);
    assert!(matches!(scores[1], Score::Failed(_)) && matches!(scores[2], Score::Abstained(_)));

    let short = check_scores("judge", Range::UNIT, 4, vec![Score::Scored(1.0)], 1.0);
    assert!(matches!(short, Err(RewardError::Count { found: 1, expected: 4, .. })));
    let wild = check_scores("judge", Range::UNIT, 1, vec![Score::Scored(9.0)], 1.0).unwrap();
    assert!(matches!(&wild[0], Score::Failed(reason) if reason.contains("judge")));
    assert!(check_scores("judge", Range::UNIT, 0, vec![], f64::NAN).is_err());

    let completions = vec!["1".into(), "0.5".into()];
    let group = Group { prompt: String::new(), reference: None, completions };
    assert_eq!(score_group(&reward, &group), [Score::Scored(1.0), Score::Scored(0.5)]);
}

#[test]
fn a_mixture_weighs_checks_and_names_its_parts() {
    let mixture = Mixture::new(
        "mixture",
        vec![
            Component::new(2.0, Says(Range::UNIT)),
            Component::new(-0.5, Says(Range::new(-1.0, 3.0).unwrap())).or_when_abstained(3.0),
        ],
    )
    .unwrap();
    assert_eq!((mixture.range().low(), mixture.range().high()), (-1.5, 2.5));
    assert_eq!(mixture.invariances(), [Invariance::Whitespace]);
    assert_eq!(mixture.score(sample("1")), Score::Scored(1.5));
    // In the second part's range, not in the first's.
    assert!(matches!(
        mixture.score(sample("3")),
        Score::Failed(reason) if reason.contains("`says`") && reason.contains('3')
    ));
    // The first part has no substitute.
    assert!(
        matches!(mixture.score(sample("?")), Score::Abstained(reason) if reason.contains("asked"))
    );
    assert_eq!(mixture.breakdown(sample("?"))[1], ("says", Score::Scored(3.0)));

    let broken_beats_abstained = Mixture::new(
        "both",
        vec![
            Component::new(1.0, |_: Sample<'_>| Score::Abstained("first".into())),
            Component::new(1.0, |_: Sample<'_>| Score::Failed("second".into())),
        ],
    );
    assert!(matches!(broken_beats_abstained.unwrap().score(sample("")), Score::Failed(_)));
}

#[test]
fn a_boxed_reward_keeps_its_promises_inside_a_composite() {
    let boxed: Box<dyn Reward> = Box::new(Says(Range::UNIT));
    let mixture = Mixture::new("m", vec![Component::new(2.0, boxed)]).unwrap();
    assert_eq!((mixture.range().low(), mixture.range().high()), (0.0, 2.0));
    assert_eq!(mixture.invariances(), [Invariance::Whitespace]);
    assert!(
        matches!(mixture.score(sample("2")), Score::Failed(reason) if reason.contains("`says`"))
    );
}

#[test]
fn a_mixture_refuses_parts_it_cannot_weigh() {
    for weight in [0.0, f64::NAN, f64::INFINITY] {
        let parts = vec![Component::new(weight, Says(Range::UNIT))];
        assert!(matches!(Mixture::new("m", parts), Err(RewardError::Part { field: "weight", .. })));
    }
    assert!(matches!(Mixture::new("m", vec![]), Err(RewardError::NoParts { .. })));
    let outside = Component::new(1.0, Says(Range::UNIT)).or_when_abstained(2.0);
    assert!(Mixture::new("m", vec![outside]).is_err());
}

#[test]
fn weights_too_large_for_their_sum_are_refused_and_named() {
    let part = |weight| Component::new(weight, Says(Range::new(-2.0, 2.0).unwrap()));
    let refused = |parts| match Mixture::new("m", parts) {
        Err(RewardError::Part { field: "weight", index, .. }) => index,
        other => panic!("{:?}", other.map(|m| m.range())),
    };
    assert_eq!(refused(vec![part(f64::MAX)]), 0);
    assert_eq!(refused(vec![part(1.0), part(f64::MAX / 3.0), part(f64::MAX / 3.0)]), 2);
    // A reward without bounds stays one without.
    let unbounded = Mixture::new("m", vec![Component::new(-1e300, constant(1.0))]).unwrap();
    assert_eq!(unbounded.range().to_string(), "[-inf, inf]");
    // No -0 in a range.
    let flipped = Mixture::new("m", vec![Component::new(-1.0, Says(Range::UNIT))]).unwrap();
    assert_eq!(flipped.range().to_string(), "[-1, 0]");

    let heavy = || Criterion::new(f64::MAX, 1.0, contains("x"));
    let error = Rubric::new("r", vec![heavy(), heavy()]).err();
    assert!(
        matches!(error, Some(RewardError::Part { field: "weight", index: 1, .. })),
        "{error:?}"
    );
    for (low, high) in [(f64::INFINITY, f64::INFINITY), (f64::NEG_INFINITY, f64::NEG_INFINITY)] {
        assert!(Range::new(low, high).is_err());
    }
}

#[test]
fn bounds_are_reached_by_what_misses_them_by_rounding_alone() {
    // 0.7 + 0.1 is below 0.8 as it is computed.
    let value = 0.7 + 0.1;
    assert!(value < 0.8);
    let judge = |pass_at| {
        let item = Criterion::new(1.0, pass_at, constant(value));
        let forbidden = Criterion::forbidding(1.0, pass_at, constant(value));
        Rubric::new("r", vec![item, forbidden]).unwrap().judge(sample("")).unwrap()
    };
    assert_eq!(judge(0.8), [true, false]);
    assert_eq!(judge(0.800_000_1), [false, true]);
    // 29 of 100 are a fraction of 0.29, though 0.29 * 100 is below 29.
    let scores = |failed: usize| {
        let of = |i| if i < failed { Score::Failed("x".into()) } else { Score::Scored(0.0) };
        check_scores("judge", Range::UNIT, 100, (0..100).map(of).collect(), 0.29)
    };
    assert!(scores(29).is_ok() && scores(30).is_err());
}

#[test]
fn nothing_met_is_a_plain_zero_and_equal_scores_keep_their_order() {
    let by_kind = rubric().met_by_kind(&[false; 3]).unwrap();
    assert_eq!(by_kind.asked.map(f64::to_bits), Some(0));
    // The first of the best quarter is asked, although its score is -0.
    let config = GroupGateConfig { coverage: 1, top_fraction: 0.25, consistency: 1.0 };
    let met = [vec![false], vec![true], vec![true], vec![true]];
    let decision = config.check().unwrap().decide(&[-0.0, 0.0, -1.0, -1.0], &met).unwrap();
    assert_eq!(decision, GroupDecision::Inconsistent { completion: 0, met: 0.0 });
}

fn rubric() -> Rubric {
    let criteria = vec![
        Criterion::new(1.0, 1.0, contains("alpha")),
        Criterion::new(0.7, 1.0, contains("beta")),
        Criterion::new(0.3, 0.5, contains("gamma")),
    ];
    Rubric::new("letters", criteria).expect("valid")
}

#[test]
fn a_rubric_scores_the_weight_that_is_met() {
    for (text, value) in [("", 0.0), ("alpha", 0.5), ("beta gamma", 0.5), ("alpha beta", 0.85)] {
        assert_abs_diff_eq!(rubric().score(sample(text)).value().unwrap(), value, epsilon = 1e-12);
    }
    assert_eq!(rubric().judge(sample("gamma")), Ok(vec![false, false, true]));
    let zero = Criterion::new(0.0, 1.0, contains("x"));
    assert!(matches!(Rubric::new("r", vec![zero]), Err(RewardError::NoParts { .. })));
    let negative = Criterion::new(-1.0, 1.0, contains("x"));
    assert!(Rubric::new("r", vec![negative]).is_err());
    let unreachable = Criterion::new(1.0, f64::NAN, contains("x"));
    assert!(Rubric::new("r", vec![unreachable]).is_err());
}

#[test]
fn a_gate_lets_the_inner_reward_through_and_pays_nothing_itself() {
    let gate = |requirement, when_closed| {
        RubricGate::new(rubric(), requirement, when_closed, Says2).expect("valid")
    };
    let all = gate(Requirement::All, WhenClosed::Lowest);
    assert_eq!(all.score(sample("alpha beta gamma")), Score::Scored(-0.25));
    assert_eq!(all.score(sample("alpha beta")), Score::Scored(-1.0));
    let part = gate(Requirement::WeightFraction(0.85), WhenClosed::Abstain);
    assert_eq!(part.score(sample("alpha beta")), Score::Scored(-0.25));
    assert!(matches!(part.score(sample("alpha")), Score::Abstained(r) if r.contains("letters")));
    assert_eq!(all.range(), Says2.range());

    for fraction in [0.0, 1.1, f64::NAN] {
        let requirement = Requirement::WeightFraction(fraction);
        assert!(RubricGate::new(rubric(), requirement, WhenClosed::Lowest, Says2).is_err());
    }
    // A veto needs a lowest value to give.
    let unbounded = constant(0.0);
    assert!(RubricGate::new(rubric(), Requirement::All, WhenClosed::Lowest, unbounded).is_err());
}

/// Always -0.25, in [-1, 1].
struct Says2;

impl Reward for Says2 {
    fn name(&self) -> &str {
        "says2"
    }

    fn range(&self) -> Range {
        Range::new(-1.0, 1.0).expect("ordered")
    }

    fn invariances(&self) -> &[Invariance] {
        &[]
    }

    fn score(&self, _: Sample<'_>) -> Score {
        Score::Scored(-0.25)
    }
}

#[test]
fn a_gate_cannot_judge_what_its_rubric_cannot() {
    let criterion = || Criterion::new(1.0, 1.0, Says(Range::UNIT));
    let rubric = Rubric::new("r", vec![criterion()]).unwrap();
    let gate = RubricGate::new(rubric, Requirement::All, WhenClosed::Lowest, Says2).unwrap();
    assert!(matches!(gate.score(sample("!")), Score::Failed(_)));
    assert!(matches!(gate.score(sample("?")), Score::Abstained(_)));
    let lenient = Rubric::new("r", vec![criterion().or_when_abstained(1.0)]).unwrap();
    let gate = RubricGate::new(lenient, Requirement::All, WhenClosed::Lowest, Says2).unwrap();
    assert_eq!(gate.score(sample("?")), Score::Scored(-0.25));
}

#[test]
fn items_that_forbid_are_met_by_absence_and_told_apart() {
    let rubric = Rubric::new(
        "kinds",
        vec![
            Criterion::new(1.0, 0.5, contains("alpha")),
            Criterion::new(3.0, 0.5, contains("beta")),
            Criterion::forbidding(0.8, 0.5, contains("flattery")),
        ],
    )
    .unwrap();
    let kinds: Vec<(f64, Presence)> = rubric.items().collect();
    let (asked, forbidden) = (Presence::Asked, Presence::Forbidden);
    assert_eq!(kinds, [(1.0, asked), (3.0, asked), (0.8, forbidden)]);
    for (text, met, expected) in [
        ("alpha", [true, false, true], (0.25, 1.0)),
        ("alpha beta flattery", [true, true, false], (1.0, 0.0)),
        ("", [false, false, true], (0.0, 1.0)),
    ] {
        let judged = rubric.judge(sample(text)).unwrap();
        assert_eq!(judged, met);
        let by_kind = MetByKind { asked: Some(expected.0), forbidden: Some(expected.1) };
        assert_eq!(rubric.met_by_kind(&judged).unwrap(), by_kind);
        let dense = (4.0 * expected.0 + 0.8 * expected.1) / 4.8;
        assert_abs_diff_eq!(rubric.score(sample(text)).value().unwrap(), dense, epsilon = 1e-12);
    }
    assert!(rubric.met_by_kind(&[true]).is_err());
    let only = Rubric::new("asks", vec![Criterion::new(1.0, 0.5, contains("alpha"))]).unwrap();
    assert_eq!(only.met_by_kind(&[true]).unwrap().forbidden, None);
}

fn group_gate() -> GroupGate {
    GroupGateConfig { coverage: 2, top_fraction: 0.5, consistency: 0.5 }.check().expect("valid")
}

#[test]
fn the_group_gate_asks_for_coverage_and_consistency() {
    let (yes, half, no) = (vec![true, true], vec![true, false], vec![false, false]);
    let decide = |scores: &[f64], met: &[&Vec<bool>]| {
        let met: Vec<Vec<bool>> = met.iter().map(|judged| (*judged).clone()).collect();
        group_gate().decide(scores, &met).expect("valid")
    };
    let scores = [0.9, 0.1, 0.8, 0.2];
    assert_eq!(decide(&scores, &[&yes, &no, &yes, &no]), GroupDecision::Accepted);
    // Only one completion meets the second item.
    let uncovered = GroupDecision::Uncovered { item: 1, met_by: 1 };
    assert_eq!(decide(&scores, &[&yes, &half, &half, &no]), uncovered);
    // Completion 2 is in the top half by score and meets nothing.
    let inconsistent = GroupDecision::Inconsistent { completion: 2, met: 0.0 };
    assert_eq!(decide(&scores, &[&yes, &yes, &no, &no]), inconsistent);

    let gate = group_gate();
    assert!(gate.decide(&[], &[]).is_err());
    assert!(gate.decide(&[1.0], &[vec![]]).is_err());
    assert!(gate.decide(&[1.0, 2.0], std::slice::from_ref(&yes)).is_err());
    assert!(gate.decide(&[1.0, 2.0], &[yes.clone(), vec![true]]).is_err());
    assert!(gate.decide(&[1.0, f64::NAN], &[yes.clone(), yes]).is_err());
}

proptest! {
    /// A gate in front of itself changes nothing.
    #[test]
    fn gates_are_idempotent(text in "(alpha|beta|gamma| ){0,6}") {
        let requirement = Requirement::WeightFraction(0.5);
        let gate = |inner: Box<dyn Fn(Sample<'_>) -> Score + Send + Sync>| {
            RubricGate::new(rubric(), requirement, WhenClosed::Abstain, inner).unwrap()
        };
        let once = gate(Box::new(|_| Score::Scored(0.5)));
        let before = once.score(sample(&text));
        let twice = gate(Box::new(move |sample| once.score(sample)));
        prop_assert_eq!(twice.score(sample(&text)), before);
    }

    #[test]
    fn a_mixture_stays_in_its_range(
        weights in prop::collection::vec(prop_oneof![-3.0_f64..-0.1, 0.1_f64..3.0], 1..5),
        said in 0.0_f64..=1.0,
    ) {
        let parts = weights.iter().map(|w| Component::new(*w, Says(Range::UNIT))).collect();
        let mixture = Mixture::new("m", parts).unwrap();
        let score = mixture.score(sample(&said.to_string())).value().unwrap();
        prop_assert!(mixture.range().contains(score));
        prop_assert!((score - said * weights.iter().sum::<f64>()).abs() < 1e-9);
    }

    /// The decision follows the completions, not their order.
    #[test]
    fn the_group_gate_ignores_the_order_of_the_group(
        rows in prop::collection::vec(prop::collection::vec(prop::bool::ANY, 3), 2..8),
        shift in 0_usize..8,
    ) {
        let scores: Vec<f64> = (0..rows.len()).map(|i| i as f64).collect();
        let accepted = |scores: &[f64], rows: &[Vec<bool>]| {
            group_gate().decide(scores, rows).unwrap() == GroupDecision::Accepted
        };
        let before = accepted(&scores, &rows);
        let (mut rotated_scores, mut rotated_rows) = (scores.clone(), rows.clone());
        rotated_scores.rotate_left(shift % scores.len());
        rotated_rows.rotate_left(shift % scores.len());
        prop_assert_eq!(before, accepted(&rotated_scores, &rotated_rows));
    }
}
