//! Every shipped reward: its declared invariances hold, and no text makes it panic or leave its
//! range.

use std::hash::{DefaultHasher, Hash, Hasher};

use headwater_core::{Check, Sample, Score};
use headwater_invariance::{
    InvarianceConfig, Outcome, OwnedSample, assert_declared_invariances, edits, find_violation,
    given,
};
use headwater_rewards::{
    ArithmeticMatchConfig, CalibratedReward, Component, ConfidenceFormat, ConfidencePlace,
    ConfidenceScale, CosineCurveConfig, CosineLength, CountdownConfig, Criterion, ExactMatchConfig,
    ExpressionLimits, Extraction, Invariance, LengthPenaltyConfig, LengthUnit, Mixture,
    Normalisation, NumberUse, NumericMatchConfig, PercentReading, Range, RepetitionPenaltyConfig,
    Requirement, Reward, RlcrCodeReward, Rubric, RubricGate, SchemeConfig, TagFormat,
    TagFormatConfig, WhenClosed, checked_score,
};
use proptest::prelude::*;

fn tag(name: &str) -> Extraction {
    Extraction::LastTag(name.into())
}

fn exact(extraction: Extraction) -> Box<dyn Reward> {
    let normalisation = Normalisation::QUESTION_ANSWERING;
    Box::new(ExactMatchConfig { extraction, normalisation }.check().expect("valid"))
}

fn numeric_match(extraction: Extraction) -> headwater_rewards::NumericMatch {
    NumericMatchConfig {
        extraction,
        absolute_tolerance: 0.0,
        relative_tolerance: 0.0,
        percent: PercentReading::Hundredth,
    }
    .check()
    .expect("valid")
}

fn arithmetic(extraction: Extraction) -> Box<dyn Reward> {
    let limits = ExpressionLimits::default();
    Box::new(ArithmeticMatchConfig { extraction, limits }.check().expect("valid"))
}

fn countdown(extraction: Extraction) -> Box<dyn Reward> {
    let (number_use, limits) = (NumberUse::AtMost, ExpressionLimits::default());
    Box::new(CountdownConfig { extraction, number_use, limits }.check().expect("valid"))
}

fn format(place: ConfidencePlace) -> ConfidenceFormat {
    ConfidenceFormat { place, scale: ConfidenceScale::Unit }
}

fn calibrated(extraction: Extraction, place: ConfidencePlace) -> CalibratedReward {
    let scheme = SchemeConfig::RLCR.check().expect("valid");
    CalibratedReward::new(numeric_match(extraction), format(place), scheme).expect("valid")
}

fn tags(names: &[&str]) -> TagFormat {
    let tags = names.iter().map(|name| (*name).to_owned()).collect();
    TagFormatConfig { tags, first_opening_required: false }.check().expect("valid")
}

fn rlcr_code() -> Box<dyn Reward> {
    let format = format(ConfidencePlace::LastTag("confidence".into()));
    let tags = tags(&["answer", "confidence"]);
    Box::new(RlcrCodeReward::new(numeric_match(tag("answer")), tags, format).expect("valid"))
}

fn length(unit: LengthUnit) -> headwater_rewards::LengthPenalty {
    LengthPenaltyConfig { unit, free: 3, per_unit: 0.01, most: 1.0 }.check().expect("valid")
}

fn cosine_length() -> Box<dyn Reward> {
    let curve = CosineCurveConfig {
        limit: 100,
        right_short: 2.0,
        right_long: 1.0,
        wrong_short: -10.0,
        wrong_long: 0.0,
        exceeded: -10.0,
    };
    let curve = curve.check().expect("valid");
    Box::new(CosineLength::new(LengthUnit::Words, curve, numeric_match(tag("answer"))))
}

fn mixture() -> Box<dyn Reward> {
    let parts = vec![
        Component::new(1.0, numeric_match(tag("answer"))),
        Component::new(0.5, length(LengthUnit::Words)),
    ];
    Box::new(Mixture::new("mixture", parts).expect("valid"))
}

fn rubric() -> Rubric {
    let criteria = vec![
        Criterion::new(1.0, 1.0, tags(&["answer", "confidence"])),
        Criterion::new(0.5, -0.2, length(LengthUnit::Words)),
    ];
    Rubric::new("rubric", criteria).expect("valid")
}

fn rubric_gate() -> Box<dyn Reward> {
    let inner = numeric_match(tag("answer"));
    Box::new(RubricGate::new(rubric(), Requirement::All, WhenClosed::Lowest, inner).expect("valid"))
}

fn repetition() -> Box<dyn Reward> {
    Box::new(RepetitionPenaltyConfig { words: 2, most: 1.0 }.check().expect("valid"))
}

/// Wraps answers into samples whose prompt has options and a term of identity, right and wrong.
fn samples(completions: &[&str], reference: &str) -> Vec<OwnedSample> {
    let prompt = "What did he say to the woman?\nA) yes\nB) no\nC) it depends";
    completions.iter().map(|text| OwnedSample::new(prompt, text, Some(reference))).collect()
}

fn tagged_numbers() -> Vec<OwnedSample> {
    let completions = [
        "She counts. <answer> 1234 </answer> <confidence>0.8</confidence>",
        "She counts. <answer> 1,234 </answer>\n<confidence>75%</confidence>",
        "<answer>99.5</answer><confidence>1</confidence>",
        "He is not sure at all",
    ];
    let mut all = samples(&completions, "1234");
    all.extend(samples(&["<answer>B</answer> <confidence>0.5</confidence>"], "7"));
    all
}

/// Every shipped reward with samples that give each edit it declares something to do.
fn shipped() -> Vec<(Box<dyn Reward>, Extraction, Vec<OwnedSample>)> {
    let whole = Extraction::Whole;
    let words = || samples(&["B", "(C)", "the woman", "A man, he said"], "the woman");
    let letters = || samples(&["<answer>B</answer>", "so <answer>The woman</answer>"], "B");
    let numbers = || samples(&["1234", "1,234.0", "0.5", "two"], "1234");
    let puzzle =
        || samples(&["25 * 40 + 1234", "(1,234 - 25) / 40", "he gave up"], "25 40 1234 = 2234");
    let marked = || samples(&["he thinks\n#### 1234", "#### 5", "none"], "1234");
    // One has no marker: an edit that writes one changes what is read.
    let labelled = || samples(&["he says it is: 1234", "1234", "it is: 7"], "1234");
    let boxed = || samples(&[r"he says \boxed{1234}.", r"\boxed 1234", r"\boxed{7", "12"], "1234");
    // One of each kind of form, right and wrong.
    let forms = || {
        let mut all =
            samples(&["28%", r"28\%", "28 percent", "0.28", r"\$5", "- 5", "0,28"], "28%");
        all.extend(samples(&["3 × 10^3", "3 * 10^3", "3e3", r"3{,}000", "3000 °"], "3000"));
        all.extend(samples(&["3 / 2", r"1\frac{1}{2}", r"\frac 32", "1.5", "1 1/2"], "3/2"));
        all
    };
    let formulas = || {
        let texts = [r"25 \times 40 + 1234", r"\frac{4468}{2}", r"\( 2234 \)", "25 × 40 he"];
        samples(&texts, "2234")
    };
    let compact = || samples(&["1234 @ 0.8", "1,235 @ 0.25", "1234", "he @ 0.5"], "1234");
    let after_marker = || ConfidencePlace::AfterMarker("@".into());
    let in_tag = || ConfidencePlace::LastTag("confidence".into());
    let answer = || tag("answer");
    vec![
        (exact(whole.clone()), whole.clone(), words()),
        (exact(answer()), answer(), letters()),
        (Box::new(numeric_match(whole.clone())), whole.clone(), numbers()),
        (Box::new(numeric_match(whole.clone())), whole.clone(), forms()),
        (arithmetic(whole.clone()), whole.clone(), formulas()),
        (Box::new(numeric_match(answer())), answer(), tagged_numbers()),
        (Box::new(numeric_match(Extraction::LastMarker("####".into()))), whole.clone(), marked()),
        (Box::new(numeric_match(Extraction::LastMarker(":".into()))), whole.clone(), labelled()),
        (Box::new(numeric_match(Extraction::LastMarker("is".into()))), whole.clone(), labelled()),
        (Box::new(numeric_match(Extraction::LastMarker("#".into()))), whole.clone(), marked()),
        (Box::new(numeric_match(Extraction::LastBoxed)), whole.clone(), boxed()),
        (arithmetic(whole.clone()), whole.clone(), samples(&["1200 + 34", "5 / 4", "he"], "1234")),
        (arithmetic(answer()), answer(), tagged_numbers()),
        (countdown(whole.clone()), whole.clone(), puzzle()),
        (Box::new(calibrated(answer(), in_tag())), answer(), tagged_numbers()),
        (Box::new(calibrated(whole.clone(), after_marker())), whole, compact()),
        (rlcr_code(), answer(), tagged_numbers()),
        (Box::new(tags(&["answer", "confidence"])), answer(), tagged_numbers()),
        (Box::new(length(LengthUnit::Words)), answer(), tagged_numbers()),
        (Box::new(length(LengthUnit::Characters)), answer(), tagged_numbers()),
        (cosine_length(), answer(), tagged_numbers()),
        (repetition(), answer(), tagged_numbers()),
        (mixture(), answer(), tagged_numbers()),
        (Box::new(rubric()), answer(), tagged_numbers()),
        (rubric_gate(), answer(), tagged_numbers()),
    ]
}

#[test]
fn every_declared_invariance_of_every_shipped_reward_holds() {
    for (reward, extraction, samples) in shipped() {
        assert!(!reward.invariances().is_empty(), "{} declares nothing", reward.name());
        assert_declared_invariances(&*reward, given(samples), &extraction);
    }
}

#[test]
fn what_is_not_declared_is_not_declared_for_a_reason() {
    let mut reasons = 0;
    for (reward, extraction, samples) in shipped() {
        for invariance in Invariance::STANDARD {
            if reward.invariances().contains(&invariance) {
                continue;
            }
            let edit = edits::standard(invariance, &extraction).unwrap();
            let config = InvarianceConfig::default();
            let outcome = find_violation(&*reward, given(samples.clone()), edit, config).unwrap();
            reasons += usize::from(outcome.violation().is_some());
        }
    }
    // Most undeclared invariances are refuted by these very samples: the declarations are not
    // timid.
    assert!(reasons >= 40, "{reasons}");
}

/// Depends on every byte of the sample and declares that it depends on nothing.
struct Fingerprint;

impl Reward for Fingerprint {
    fn name(&self) -> &str {
        "fingerprint"
    }

    fn range(&self) -> Range {
        Range::UNIT
    }

    fn invariances(&self) -> &[Invariance] {
        &Invariance::STANDARD
    }

    fn score(&self, sample: Sample<'_>) -> Score {
        let mut hasher = DefaultHasher::new();
        (sample.prompt, sample.completion, sample.reference).hash(&mut hasher);
        Score::finite(hasher.finish() as f64 / u64::MAX as f64)
    }
}

#[test]
fn a_reward_that_breaks_its_declarations_is_caught_on_each_of_them() {
    let extraction = tag("answer");
    for invariance in Fingerprint.invariances() {
        let edit = edits::standard(*invariance, &extraction).unwrap();
        let samples = given(tagged_numbers());
        let config = InvarianceConfig::default();
        let outcome = find_violation(&Fingerprint, samples, edit, config).unwrap();
        assert!(matches!(outcome, Outcome::Violated(_)), "{invariance:?}: {outcome:?}");
    }
}

#[test]
#[should_panic(expected = "`fingerprint` moves by")]
fn the_shared_assertion_panics_for_it() {
    assert_declared_invariances(&Fingerprint, given(tagged_numbers()), &tag("answer"));
}

/// A finite value in range, an abstention or a failure: never a panic, never a value out of range.
fn survives(reward: &dyn Reward, completion: &str, reference: &str) {
    for reference in [None, Some("1234"), Some("3 4 = 7"), Some(reference)] {
        let sample = Sample { prompt: completion, completion, reference };
        if let Score::Failed(reason) = checked_score(reward, sample) {
            assert!(!reason.contains("declared range"), "{reason}");
        }
    }
}

#[test]
fn a_million_bytes_of_anything_are_scored() {
    const SIZE: usize = 1_000_000;
    let of = |unit: &str| unit.repeat(SIZE / unit.len());
    let texts = [
        of("("),
        of("-"),
        of("9"),
        of("1,234,"),
        of("1+"),
        of("1/"),
        of("<answer>"),
        of("</answer>"),
        of("<answer>1</answer><confidence>"),
        of(r"\boxed{"),
        of(r"\boxed "),
        of(r"\boxed{}"),
        of(r"\frac{"),
        of(r"\text{"),
        of(r"\left("),
        of(r"\,"),
        of("{"),
        of("$"),
        of("\\"),
        format!("{}5{}", of("{"), of("}")),
        of("<answer>1</answer></answer>"),
        of("}"),
        of("@"),
        of("#### "),
        of(" \n"),
        of("e9"),
        of("é\u{301}🂡\u{200b}"),
        format!("<answer>{}</answer><confidence>{}</confidence>", of("("), of("0")),
        format!("1e{}", of("9")),
    ];
    for (reward, _, _) in shipped() {
        for text in &texts {
            survives(&*reward, text, text);
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_text_is_scored(completion in ".{0,80}", reference in ".{0,20}") {
        for (reward, _, _) in shipped() {
            survives(&*reward, &completion, &reference);
        }
    }

    #[test]
    fn text_near_the_grammars_is_scored(
        completion in concat!(
            r"(</?answer>|</?confidence>|\\(boxed|text|frac)\{|\\[,%$]|[{}]",
            r"|####|@|[0-9(),.%/e*+ -]|−){0,40}",
        ),
    ) {
        for (reward, _, _) in shipped() {
            survives(&*reward, &completion, &completion);
        }
    }

    #[test]
    fn every_edit_survives_arbitrary_text(
        prompt in r"(A\)|B\.|\n|[a-zA-Z0-9é,.: -]){0,30}",
        completion in ".{0,60}", index in 0_usize..8,
    ) {
        let edit = edits::standard(Invariance::STANDARD[index], &Extraction::Whole).unwrap();
        let length = |s: Sample<'_>| Score::finite(s.completion.chars().count() as f64);
        let sample = given([OwnedSample::new(&prompt, &completion, Some(&prompt))]);
        let config = InvarianceConfig { cases: 4, ..InvarianceConfig::default() };
        find_violation(&length, sample, edit, config).unwrap();
    }
}
