//! Format, length and repetition.

use approx::assert_abs_diff_eq;
use headwater_core::{Check, Sample, Score};
use headwater_rewards::{
    CosineCurve, CosineCurveConfig, CosineLength, LengthPenaltyConfig, LengthUnit,
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
    #[test]
    fn penalties_and_right_answers_never_pay_for_length(a in 0_usize..200, b in 0_usize..200) {
        let (short, long) = (a.min(b), a.max(b));
        let penalty = length(LengthUnit::Words, 20, 0.01, 1.0).check().unwrap();
        prop_assert!(penalty.penalty(short) >= penalty.penalty(long));
        prop_assert!(penalty.range().contains(penalty.penalty(long)));
        prop_assert!(cosine().reward(short, true) >= cosine().reward(long, true));
    }
}
