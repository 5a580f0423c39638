//! Proper scoring, the boundary theorem, and confidence parsing.

use approx::assert_abs_diff_eq;
use headwater_core::{Check, Sample, Score};
use headwater_rewards::{
    CalibratedReward, ConfidenceFormat, ConfidencePlace, ConfidenceScale, ExactMatchConfig,
    Extraction, Normalisation, Reward, RlcrCodeReward, Scheme, SchemeConfig, ScoringRule,
    TagFormatConfig,
};
use proptest::prelude::*;

const LOG: ScoringRule = ScoringRule::Logarithmic { clip: 1e-6 };
const LOG_202: ScoringRule = ScoringRule::Logarithmic { clip: 1.0 / 202.0 };

fn scheme(correct_weight: f64, rule: ScoringRule, rule_weight: f64) -> Scheme {
    SchemeConfig { correct_weight, rule, rule_weight }.check().expect("valid")
}

#[test]
fn losses_match_hand_computed_values() {
    for (rule, q, correct, loss) in [
        (ScoringRule::Brier, 0.8, true, 0.04),
        (ScoringRule::Brier, 0.8, false, 0.64),
        (ScoringRule::Spherical, 0.8, true, 0.029_857_499_854_668_012),
        (ScoringRule::Spherical, 0.3, true, 0.606_080_701_420_832_3),
        (ScoringRule::Spherical, 1.0, false, 1.0),
        (LOG, 0.5, true, std::f64::consts::LN_2),
        (LOG, 0.0, true, 13.815_510_557_964_274),
    ] {
        assert_abs_diff_eq!(rule.loss(q, correct).unwrap(), loss, epsilon = 1e-9);
    }
    assert!(ScoringRule::Brier.loss(1.01, true).is_err());
    assert!(ScoringRule::Brier.loss(f64::NAN, true).is_err());
    assert!(ScoringRule::Logarithmic { clip: 0.5 }.loss(0.3, true).is_err());
    assert!(ScoringRule::Logarithmic { clip: f64::NAN }.loss(0.3, true).is_err());
}

#[test]
fn rlcr_corner_rewards() {
    let rlcr = SchemeConfig::RLCR.check().unwrap();
    for (q, correct, reward) in
        [(1.0, true, 1.0), (0.0, false, 0.0), (1.0, false, -1.0), (0.0, true, 0.0)]
    {
        assert_eq!(rlcr.reward(q, correct), Ok(reward));
    }
    assert_eq!((rlcr.range().low(), rlcr.range().high()), (-1.0, 1.0));
}

/// The best expected reward by search over a grid of statements, from single rewards alone.
fn best_by_search(scheme: &Scheme, p: f64) -> f64 {
    (0..=1000)
        .map(|step| {
            let q = f64::from(step) / 1000.0;
            let reward = |correct| scheme.reward(q, correct).expect("a probability");
            p * reward(true) + (1.0 - p) * reward(false)
        })
        .fold(f64::NEG_INFINITY, f64::max)
}

#[test]
fn at_weight_one_the_best_brier_reward_is_p_squared() {
    let rlcr = SchemeConfig::RLCR.check().unwrap();
    for step in 0..=100 {
        // The grid of the search holds every such p.
        let p = f64::from(step) / 100.0;
        assert_abs_diff_eq!(best_by_search(&rlcr, p), p * p, epsilon = 1e-12);
        assert_abs_diff_eq!(rlcr.best_expected_reward(p).unwrap(), p * p, epsilon = 1e-12);
    }
    assert_eq!(rlcr.incentive(0.0), Ok(0.0));
    assert_eq!(rlcr.incentive(0.5), Ok(1.0));
}

/// Roots of `lambda p = k H(p)` with the clipped loss, by bisection in another language.
const LOG_THRESHOLD: f64 = 0.648_418_907_130_675_8;
const LOG_2_THRESHOLD: f64 = 0.848_972_503_560_189_2;
const LOG_202_THRESHOLD: f64 = 0.645_328_078_580_601;

#[test]
fn thresholds_match_values_computed_independently() {
    // Divided by ln 202, the logarithmic rule clipped at 1/202 is safe.
    let scale = 1.0 / 202_f64.ln();
    for (name, scheme, threshold) in [
        ("binary", scheme(1.0, LOG, 0.0), None),
        ("Brier 1", scheme(1.0, ScoringRule::Brier, 1.0), None),
        ("Brier 2", scheme(1.0, ScoringRule::Brier, 2.0), Some(0.5)),
        ("Brier 4", scheme(1.0, ScoringRule::Brier, 4.0), Some(0.75)),
        ("Brier alone", scheme(0.0, ScoringRule::Brier, 1.0), Some(1.0)),
        ("spherical 1", scheme(1.0, ScoringRule::Spherical, 1.0), None),
        ("spherical 5/4", scheme(1.0, ScoringRule::Spherical, 1.25), Some(0.294_117_647_058_823_5)),
        ("spherical 2", scheme(1.0, ScoringRule::Spherical, 2.0), Some(0.571_428_571_428_571_4)),
        ("logarithmic 1", scheme(1.0, LOG, 1.0), Some(LOG_THRESHOLD)),
        ("logarithmic 2", scheme(1.0, LOG, 2.0), Some(LOG_2_THRESHOLD)),
        ("logarithmic 1 at 1/202", scheme(1.0, LOG_202, 1.0), Some(LOG_202_THRESHOLD)),
        ("logarithmic 1.2 scaled", scheme(1.0, LOG_202, 1.2 * scale), Some(0.026_706_213_687_551)),
        ("logarithmic scaled", scheme(1.0, LOG_202, scale), None),
        ("logarithmic alone", scheme(0.0, LOG, 1.0), Some(1.0)),
    ] {
        match (scheme.hackable_below(), threshold) {
            (Some(found), Some(wanted)) => assert_abs_diff_eq!(found, wanted, epsilon = 1e-9),
            (found, wanted) => assert_eq!(found, wanted, "{name}"),
        }
        assert_eq!(scheme.is_hackable(), threshold.is_some(), "{name}");
    }
    // The published figure for the unclipped logarithmic rule.
    assert_abs_diff_eq!(LOG_THRESHOLD, 0.6484, epsilon = 1e-4);
}

fn rule() -> impl Strategy<Value = ScoringRule> {
    prop_oneof![
        Just(ScoringRule::Brier),
        Just(ScoringRule::Spherical),
        (1e-6_f64..0.01).prop_map(|clip| ScoringRule::Logarithmic { clip }),
    ]
}

proptest! {
    #[test]
    fn every_rule_is_strictly_proper(rule in rule(), p in 0.01_f64..0.99, q in 0.01_f64..0.99) {
        prop_assume!((p - q).abs() > 1e-3);
        let honest = rule.expected_loss(p, p).unwrap();
        prop_assert!(honest < rule.expected_loss(q, p).unwrap());
    }

    #[test]
    fn losses_rewards_and_best_statements_keep_their_bounds(
        rule in rule(), lambda in 0.0_f64..3.0, k in 0.0_f64..3.0,
        q in 0.0_f64..=1.0, p in 0.0_f64..=1.0,
    ) {
        for correct in [true, false] {
            let loss = rule.loss(q, correct).unwrap();
            prop_assert!((0.0..=rule.worst_loss().unwrap()).contains(&loss));
            let scheme = scheme(lambda, rule, k);
            prop_assert!(scheme.range().contains(scheme.reward(q, correct).unwrap()));
        }
        // No statement beats the true probability.
        let scheme = scheme(lambda, rule, k);
        let best = scheme.best_expected_reward(p).unwrap();
        prop_assert!(scheme.expected_reward(q, p).unwrap() <= best + 1e-12);
    }

    /// The theorem itself: below the threshold the deliberate wrong answer wins, above it honesty
    /// does, searching over statements instead of trusting the closed form.
    #[test]
    fn the_threshold_separates_where_giving_up_wins(
        rule in rule(), lambda in 0.1_f64..2.0, k in 0.1_f64..3.0, p in 0.0_f64..=1.0,
    ) {
        let scheme = scheme(lambda, rule, k);
        let giving_up = scheme.reward(0.0, false).unwrap();
        let threshold = scheme.hackable_below().unwrap_or(0.0);
        prop_assume!((p - threshold).abs() > 0.01 && p > 0.01);
        let best = best_by_search(&scheme, p);
        if p > threshold {
            // The grid may miss the best statement by its spacing.
            prop_assert!(best > giving_up - 1e-3, "{} {}", best, giving_up);
        } else {
            prop_assert!(best < giving_up, "{} {}", best, giving_up);
        }
    }

    /// The two thresholds the scheme is known by: k times Brier below (k - 1)/k, and the
    /// logarithmic rule below 0.648, each checked on both sides by search.
    #[test]
    fn brier_at_weight_k_and_the_logarithm_are_hackable_below_the_known_thresholds(
        k in 1.05_f64..10.0, side in -1.0_f64..1.0,
    ) {
        prop_assume!(side.abs() > 0.05);
        let brier = scheme(1.0, ScoringRule::Brier, k);
        let logarithmic = scheme(1.0, LOG, 1.0);
        prop_assert!((brier.hackable_below().unwrap() - (k - 1.0) / k).abs() < 1e-12);
        for (scheme, threshold) in [(brier, (k - 1.0) / k), (logarithmic, LOG_THRESHOLD)] {
            let room = if side < 0.0 { threshold } else { 1.0 - threshold };
            let p = threshold + side * room;
            let giving_up = scheme.reward(0.0, false).unwrap();
            let best_effort = best_by_search(&scheme, p) - giving_up;
            prop_assert!(p < 1e-3 || (best_effort < 0.0) == (side < 0.0), "{k} {p} {best_effort}");
        }
    }

    /// The envelope theorem: the incentive is the slope of the best expected reward.
    #[test]
    fn the_incentive_is_a_finite_difference(
        rule in rule(), lambda in 0.1_f64..2.0, k in 0.1_f64..3.0, p in 0.02_f64..0.98,
    ) {
        let scheme = scheme(lambda, rule, k);
        let g = |p: f64| scheme.best_expected_reward(p).unwrap();
        let slope = (g(p + 1e-5) - g(p - 1e-5)) / 2e-5;
        prop_assert!((slope - scheme.incentive(p).unwrap()).abs() < 1e-5 * (1.0 + slope.abs()));
    }
}

fn verifier(extraction: Extraction) -> impl Reward {
    ExactMatchConfig { extraction, normalisation: Normalisation::SPACES }.check().expect("valid")
}

fn sample(completion: &str) -> Sample<'_> {
    Sample { prompt: "", completion, reference: Some("42") }
}

fn tagged() -> ConfidenceFormat {
    let place = ConfidencePlace::LastTag("confidence".into());
    ConfidenceFormat { place, scale: ConfidenceScale::Unit }
}

#[test]
fn confidences_are_read_on_their_scale_and_never_clamped() {
    use ConfidenceScale::{Levels, Percent, Unit};
    let levels = Levels { levels: 101 };
    for (scale, text, confidence) in [
        (Unit, "0.8", Some(0.8)),
        (Unit, " **80%** ", Some(0.8)),
        (Unit, "1", Some(1.0)),
        (Unit, "1.01", None),
        (Unit, "-0.1", None),
        (Unit, "nan", None),
        (Unit, "high", None),
        (Unit, "", None),
        (Percent, "80", Some(0.8)),
        (Percent, "80%", Some(0.8)),
        (Percent, "101", None),
        (levels, "0", Some(0.5 / 101.0)),
        (levels, "100", Some(100.5 / 101.0)),
        (levels, "101", None),
        (levels, "3.5", None),
        (levels, "99999999999999999999", None),
    ] {
        let place = ConfidencePlace::LastTag("confidence".into());
        let text = format!("<confidence>{text}</confidence>");
        assert_eq!(ConfidenceFormat { place, scale }.parse(&text).confidence, confidence, "{text}");
    }
}

#[test]
fn the_calibrated_reward_pays_as_the_scheme_says() {
    let scheme = SchemeConfig::RLCR.check().unwrap();
    let reward =
        CalibratedReward::new(verifier(Extraction::LastTag("answer".into())), tagged(), scheme)
            .unwrap();
    let score = |completion: &str| reward.score(sample(completion)).value().unwrap();
    assert_abs_diff_eq!(score("<answer>42</answer><confidence>0.8</confidence>"), 0.96);
    assert_abs_diff_eq!(
        score("<answer>41</answer><confidence>0.8</confidence>"),
        -0.64,
        epsilon = 1e-12
    );
    // No way out of stating a confidence.
    assert_eq!(score("<answer>42</answer>"), -1.0);
    assert_eq!(score("<answer>42</answer><confidence>2</confidence>"), -1.0);
    let without = Sample { reference: None, ..sample("<confidence>1</confidence>") };
    assert!(matches!(reward.score(without), Score::Abstained(_)));
}

#[test]
fn edges_of_schemes_and_formats_are_refused_by_name() {
    let config = |correct_weight, rule, rule_weight| {
        SchemeConfig { correct_weight, rule, rule_weight }.check().map(|_| ()).unwrap_err()
    };
    assert_eq!(config(f64::INFINITY, ScoringRule::Brier, 1.0).field, "correct_weight");
    assert_eq!(config(1.0, ScoringRule::Brier, f64::NAN).field, "rule_weight");
    // 13.8 times as much is not finite, and leaving the confidence out would be a way out.
    assert_eq!(config(1.0, LOG, f64::MAX / 2.0).field, "rule_weight");
    for clip in [0.5, 0.7, 0.0, f64::NAN] {
        let rule = ScoringRule::Logarithmic { clip };
        let error = rule.worst_loss().unwrap_err().to_string();
        assert_eq!(error, format!("ScoringRule.clip = {clip}: allowed is a number in (0, 0.5)"));
    }
    let new = |place, scale| {
        let scheme = SchemeConfig::RLCR.check().unwrap();
        let format = ConfidenceFormat { place, scale };
        let reward = CalibratedReward::new(verifier(Extraction::Whole), format, scheme);
        reward.map(|_| ()).unwrap_err().to_string()
    };
    let blank = new(ConfidencePlace::AfterMarker(" ".into()), ConfidenceScale::Unit);
    assert!(blank.starts_with("CalibratedReward.confidence.place = \" \":"), "{blank}");
    let place = ConfidencePlace::AfterMarker("@".into());
    let levels = new(place, ConfidenceScale::Levels { levels: 1 });
    assert!(levels.starts_with("CalibratedReward.confidence.scale.levels = 1:"), "{levels}");
    let long = new(ConfidencePlace::LastTag("é".repeat(3000)), ConfidenceScale::Unit);
    assert!(long.chars().count() < 200 && long.contains('…'), "{long}");
}

#[test]
fn no_scheme_is_hackable_by_rounding_nor_pays_a_negative_zero() {
    // Three times 0.1 is above 0.3 as it is computed.
    let k = 3.0 * 0.1;
    assert!(k > 0.3);
    for rule in [ScoringRule::Brier, ScoringRule::Spherical] {
        assert_eq!(scheme(0.3, rule, k).hackable_below(), None);
        assert!(scheme(0.3, rule, 0.301).hackable_below().is_some());
    }
    let tiny = ScoringRule::Logarithmic { clip: 1e-300 };
    assert_eq!(tiny.loss(1.0, true).unwrap().to_bits(), 0);
    assert_eq!(scheme(-0.0, ScoringRule::Brier, 0.0).reward(0.5, true).unwrap().to_bits(), 0);
}

#[test]
fn confidences_are_read_in_every_form() {
    let place = ConfidencePlace::AfterMarker("@".into());
    let format = ConfidenceFormat { place, scale: ConfidenceScale::Unit };
    for (text, confidence) in [
        (r"42 @ 80\%", Some(0.8)),
        (r"42 @ $\frac{4}{5}$", Some(0.8)),
        ("42 @ 80 percent", Some(0.8)),
        ("42 @ -0", Some(0.0)),
        ("42 @ 0,8", None),
        ("42 @ 8 0", None),
    ] {
        let read = format.parse(text).confidence;
        assert_eq!(read.map(f64::to_bits), confidence.map(f64::to_bits), "{text}");
    }
}

#[test]
fn a_verifier_that_does_not_say_right_or_wrong_is_refused() {
    let scheme = SchemeConfig::RLCR.check().unwrap();
    let graded = |_: Sample<'_>| Score::Scored(0.4);
    let reward = CalibratedReward::new(graded, tagged(), scheme).unwrap();
    assert!(matches!(reward.score(sample("x")), Score::Failed(reason) if reason.contains("0.4")));
    let penalty = headwater_rewards::RepetitionPenaltyConfig { words: 1, most: 0.5 };
    assert!(CalibratedReward::new(penalty.check().unwrap(), tagged(), scheme).is_err());
}

#[test]
fn the_code_path_is_one_plus_half_the_reward_when_the_format_is_met() {
    let tags = TagFormatConfig {
        tags: ["think", "answer", "analysis", "confidence"].map(String::from).to_vec(),
        first_opening_required: false,
    };
    let verifier = verifier(Extraction::LastTag("answer".into()));
    let reward = RlcrCodeReward::new(verifier, tags.check().unwrap(), tagged()).unwrap();
    let rlcr = SchemeConfig::RLCR.check().unwrap();
    for (answer, correct) in [("42", true), ("41", false)] {
        for q in [0.0, 0.25, 1.0] {
            let text = format!(
                "x</think> <answer>{answer}</answer>\n<analysis>y</analysis>\
                 <confidence>{q}</confidence>"
            );
            let expected = 1.0 + 0.5 * rlcr.reward(q, correct).unwrap();
            assert_abs_diff_eq!(reward.score(sample(&text)).value().unwrap(), expected);
        }
    }
    for malformed in [
        "x</think><answer>42</answer><analysis>y</analysis><confidence>2</confidence>",
        "x</think><answer>42</answer><confidence>1</confidence>",
        "x</think><answer>42</answer><analysis>y</analysis><confidence>1</confidence>.",
        "",
    ] {
        assert_eq!(reward.score(sample(malformed)), Score::Scored(0.0), "{malformed}");
    }
}
