//! Format, length and repetition.

use approx::assert_abs_diff_eq;
use headwater_core::{Check, Sample, Score};
use headwater_rewards::{
    CosineCurve, CosineCurveConfig, CosineLength, Extraction, LengthPenaltyConfig, LengthUnit,
    RepetitionPenaltyConfig, Reward, TagFormatConfig,
};
use proptest::prelude::*;

fn sample(completion: &str) -> Sample<'_> {
    Sample { prompt: "", completion, reference: None }
}

#[test]
fn the_format_is_met_at_the_end_in_order_with_only_whitespace_between() {
    let config = |first_opening_required| TagFormatConfig {
        tags: vec!["think".into(), "answer".into()],
        first_opening_required,
    };
    let (lax, strict) = (config(false).check().unwrap(), config(true).check().unwrap());
    for (text, met_lax, met_strict) in [
        ("<think>a</think><answer>b</answer>", true, true),
        ("well <think>a</think>\n\n<answer>b</answer> \n", true, true),
        ("a</think><answer>b</answer>", true, false),
        ("<think>a</think> so <answer>b</answer>", false, false),
        ("<think>a</think><answer>b</answer>.", false, false),
        ("<answer>b</answer><think>a</think>", false, false),
        ("<think>a</think><answer>b", false, false),
        ("<answer>b</answer>", false, false),
        ("", false, false),
    ] {
        assert_eq!((lax.is_met(text), strict.is_met(text)), (met_lax, met_strict), "{text}");
    }
    let empty = TagFormatConfig { tags: vec![], first_opening_required: false };
    assert_eq!(empty.check().unwrap_err().field, "tags");
    let markup = TagFormatConfig { tags: vec!["a>".into()], first_opening_required: false };
    assert!(markup.check().is_err());
}

fn length(unit: LengthUnit, free: usize, per_unit: f64, most: f64) -> LengthPenaltyConfig {
    LengthPenaltyConfig { unit, free, per_unit, most }
}

#[test]
fn the_length_penalty_holds_the_published_soft_overlong_punishment() {
    // DAPO: at most 20,480 tokens, of which the last 4,096 are punished.
    let penalty = length(LengthUnit::Words, 16_384, 1.0 / 4_096.0, 1.0).check().unwrap();
    for (length, value) in [
        (0, 0.0),
        (16_384, 0.0),
        (16_385, -1.0 / 4_096.0),
        (17_408, -0.25),
        (18_432, -0.5),
        (20_480, -1.0),
        (30_000, -1.0),
    ] {
        assert_eq!(penalty.penalty(length), value, "{length}");
    }
}

#[test]
fn linear_penalty_is_free_then_linear_then_flat() {
    let words = length(LengthUnit::Words, 2, 0.25, 1.0).check().unwrap();
    let characters = length(LengthUnit::Characters, 2, 0.25, 1.0).check().unwrap();
    assert_eq!(words.score(sample("one two")), Score::Scored(0.0));
    assert_eq!(words.score(sample("one two  three")), Score::Scored(-0.25));
    assert_eq!(characters.score(sample("ééé")), Score::Scored(-0.25));
    assert_eq!(characters.score(sample("one two")), Score::Scored(-1.0));
    for (per_unit, most) in [(-1.0, 1.0), (f64::NAN, 1.0), (1.0, -1.0), (1.0, f64::INFINITY)] {
        assert!(length(LengthUnit::Words, 0, per_unit, most).check().is_err());
    }
}

fn cosine() -> CosineCurve {
    CosineCurveConfig {
        limit: 100,
        right_short: 2.0,
        right_long: 1.0,
        wrong_short: -10.0,
        wrong_long: 0.0,
        exceeded: -10.0,
    }
    .check()
    .expect("valid")
}

#[test]
fn cosine_matches_hand_computed_values() {
    for (length, correct, value) in [
        (0, true, 2.0),
        (25, true, 1.853_553_390_593_273_8),
        (50, true, 1.5),
        (100, true, 1.0),
        (101, true, -10.0),
        (0, false, -10.0),
        (25, false, -8.535_533_905_932_738),
        (100, false, 0.0),
    ] {
        assert_abs_diff_eq!(cosine().reward(length, correct), value, epsilon = 1e-12);
    }
    let abstains = |_: Sample<'_>| Score::Abstained("no reference".into());
    let reward = CosineLength::new(LengthUnit::Words, cosine(), abstains);
    assert!(matches!(reward.score(sample("x")), Score::Abstained(_)));
    let right = |_: Sample<'_>| Score::Scored(1.0);
    let reward = CosineLength::new(LengthUnit::Characters, cosine(), right);
    assert_abs_diff_eq!(
        reward.score(sample(&"x".repeat(50))).value().unwrap(),
        1.5,
        epsilon = 1e-12
    );
}

/// Case S1: what costs nothing is 0 and not -0, in JSON too.
#[test]
fn nothing_lost_is_a_plain_zero() {
    let length = |per_unit, most| {
        LengthPenaltyConfig { unit: LengthUnit::Words, free: 5, per_unit, most }.check().unwrap()
    };
    let repetition = |most| RepetitionPenaltyConfig { words: 2, most }.check().unwrap();
    let all_zero = CosineCurveConfig {
        limit: 9,
        right_short: -0.0,
        right_long: -0.0,
        wrong_short: -0.0,
        wrong_long: -0.0,
        exceeded: 0.0,
    };
    let rewards: [Box<dyn Reward>; 6] = [
        Box::new(length(0.1, 1.0)),
        Box::new(length(0.1, 0.0)),
        Box::new(length(0.0, 1.0)),
        Box::new(repetition(1.0)),
        Box::new(repetition(0.0)),
        Box::new(CosineLength::new(LengthUnit::Words, all_zero.check().unwrap(), repetition(1.0))),
    ];
    for reward in rewards {
        for text in ["", "one", "one two three"] {
            let score = reward.score(sample(text));
            assert_eq!(score.value().map(f64::to_bits), Some(0), "{} {text:?}", reward.name());
            assert_eq!(serde_json::to_string(&score).unwrap(), r#"{"Scored":0.0}"#);
        }
        assert!(!reward.range().to_string().contains("-0]"), "{}", reward.range());
    }
}

#[test]
fn the_cosine_bears_ends_whose_difference_is_not_finite() {
    let config = CosineCurveConfig {
        limit: 100,
        right_short: f64::MAX,
        right_long: f64::MIN,
        wrong_short: 0.0,
        wrong_long: 0.0,
        exceeded: 0.0,
    };
    let curve = config.check().unwrap();
    assert_eq!((curve.reward(0, true), curve.reward(100, true)), (f64::MAX, f64::MIN));
    assert!(curve.reward(50, true).is_finite());
}

#[test]
fn a_verdict_is_one_up_to_the_rounding_of_a_sum() {
    // Ten tenths add up to less than 1.
    let sum: f64 = [0.1; 10].iter().sum();
    assert!(sum < 1.0);
    let verifier = move |_: Sample<'_>| Score::Scored(sum);
    let reward = CosineLength::new(LengthUnit::Words, cosine(), verifier);
    assert_abs_diff_eq!(reward.score(sample("")).value().unwrap(), 2.0, epsilon = 1e-12);
}

#[test]
fn blocks_hold_no_tags_that_another_reader_would_stop_at() {
    let met = |text: &str, first_opening_required| {
        let tags = ["think", "answer", "sure"].map(String::from).to_vec();
        TagFormatConfig { tags, first_opening_required }.check().unwrap().is_met(text)
    };
    for (text, lax, strict) in [
        ("<think>a</think><answer>b</answer><sure>1</sure>", true, true),
        ("<think>I use <answer> tags</think><answer>b</answer><sure>1</sure>", true, true),
        ("<think>a</think> b</think><answer>b</answer><sure>1</sure>", false, false),
        ("a</think> b</think><answer>b</answer><sure>1</sure>", false, false),
        ("a</think><answer>b</answer><sure>1</sure>", true, false),
        ("<think>a</think><answer>b</answer></answer><sure>1</sure>", false, false),
        ("<think>a</think><answer>b</answer><sure><answer>c</answer></sure>", false, false),
        ("<think>a</think><think>a</think><answer>b</answer><sure>1</sure>", true, true),
    ] {
        assert_eq!((met(text, false), met(text, true)), (lax, strict), "{text}");
    }
}

#[test]
fn repetition_counts_distinct_n_grams() {
    let reward = RepetitionPenaltyConfig { words: 2, most: 1.0 }.check().unwrap();
    for (text, value) in [
        ("", 0.0),
        ("one", 0.0),
        ("a b c d", 0.0),
        // Pairs: ab, ba, ab: two distinct of three.
        ("a b a b", -1.0 / 3.0),
        ("a a a a a", -0.75),
    ] {
        assert_abs_diff_eq!(reward.score(sample(text)).value().unwrap(), value, epsilon = 1e-12);
    }
}

proptest! {
    /// Where the format is met, the reader of a tag reads its block, whole.
    #[test]
    fn the_format_agrees_with_the_extraction(
        pieces in prop::collection::vec(prop::sample::select(
            &["<a>", "</a>", "<b>", "</b>", "x", " "][..]), 0..12),
    ) {
        let text = format!("<a>{}</b>", pieces.concat());
        let tags = vec!["a".to_owned(), "b".to_owned()];
        let format = TagFormatConfig { tags, first_opening_required: true }.check().unwrap();
        if format.is_met(&text) {
            let read = |tag: &str| {
                let block = Extraction::LastTag(tag.into()).extract(&text).expect("a block");
                block.replace(' ', "")
            };
            let end = format!("<a>{}</a><b>{}</b>", read("a"), read("b"));
            prop_assert!(text.replace(' ', "").ends_with(&end), "{} {}", text, end);
        }
    }

    #[test]
    fn penalties_and_right_answers_never_pay_for_length(a in 0_usize..200, b in 0_usize..200) {
        let (short, long) = (a.min(b), a.max(b));
        let penalty = length(LengthUnit::Words, 20, 0.01, 1.0).check().unwrap();
        prop_assert!(penalty.penalty(short) >= penalty.penalty(long));
        prop_assert!(penalty.range().contains(penalty.penalty(long)));
        prop_assert!(cosine().reward(short, true) >= cosine().reward(long, true));
    }
}
