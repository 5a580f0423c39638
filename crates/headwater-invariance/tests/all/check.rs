//! Violations shrink to the smallest pair and say what they are, and a test of nothing fails.

use headwater_core::{Sample, Score};
use headwater_invariance::{
    Edit, InvarianceConfig, Outcome, OwnedSample, Violation, assert_declared_invariances,
    assert_invariant, edits, find_violation, given, prose,
};
use headwater_rewards::{Extraction, Invariance, Range, Reward};
use proptest::prelude::*;

fn violation(reward: &impl Reward, samples: &[OwnedSample], edit: Edit) -> Box<Violation> {
    let config = InvarianceConfig::default();
    match find_violation(reward, given(samples.to_vec()), edit, config).expect("valid config") {
        Outcome::Violated(violation) => violation,
        other => panic!("not caught: {other:?}"),
    }
}

fn words(sample: Sample<'_>) -> Score {
    Score::finite(sample.completion.split_whitespace().count() as f64)
}

fn plain(completion: &str) -> OwnedSample {
    OwnedSample::new("Why?", completion, None)
}

#[test]
fn violations_shrink_to_the_smallest_pair() {
    let long = plain("first some words and then the needle and a few more words to drop");
    let found = violation(&words, std::slice::from_ref(&long), edits::neutral_padding());
    assert_eq!(found.original.completion, "");
    // The shortest padding: one sentence of four words.
    assert_eq!(found.gap(), Some(4.0));

    // Only pays for flattery in answers that mention both words: they are all that remains.
    let fussy = |sample: Sample<'_>| {
        let text = sample.completion;
        let pays = text.contains("needle") && text.contains("drop") && text.contains("great");
        Score::finite(if pays { -2.0 } else { 0.0 })
    };
    let found = violation(&fussy, &[long], edits::flattering_prefix());
    assert_eq!(found.original.completion, "needle drop");
    assert_eq!(found.edited.completion, "What a great question! needle drop");
    assert_eq!(found.gap(), Some(-2.0));
    let message = found.to_string();
    assert!(
        message.contains("moves by -2") && message.contains("`flattering prefix`"),
        "{message}"
    );
}

#[test]
fn a_word_that_can_only_go_after_a_later_one_goes() {
    // An "if" needs its "then"; only "key" matters.
    let grammatical = |sample: Sample<'_>| {
        let has = |word| sample.completion.contains(word);
        let pays = has("great") && has("key") && (has("then") || !has("if"));
        Score::finite(if pays { 1.0 } else { 0.0 })
    };
    let found = violation(&grammatical, &[plain("then if key")], edits::flattering_prefix());
    assert_eq!(found.original.completion, "key");
}

#[test]
fn failures_and_one_sided_abstentions_are_violations() {
    let flattered = |sample: Sample<'_>| sample.completion.contains("great");
    let fails = move |sample: Sample<'_>| {
        if flattered(sample) { Score::Failed("crash".into()) } else { Score::Scored(0.0) }
    };
    let found = violation(&fails, &[plain("x")], edits::flattering_prefix());
    assert_eq!(found.gap(), None);
    assert!(found.to_string().contains("crash"));
    let abstains = move |sample: Sample<'_>| {
        if flattered(sample) { Score::Abstained("no".into()) } else { Score::Scored(0.0) }
    };
    assert_eq!(violation(&abstains, &[plain("x")], edits::flattering_prefix()).gap(), None);
}

#[test]
fn a_reward_that_fails_without_the_edit_is_what_is_broken() {
    let down = |_: Sample<'_>| Score::Failed("down".into());
    let not_a_number = |_: Sample<'_>| Score::Scored(f64::NAN);
    let broken: [(&dyn Reward, &str); 2] = [(&down, "(down)"), (&not_a_number, "returned NaN")];
    for (reward, reason) in broken {
        let config = InvarianceConfig::default();
        let outcome =
            find_violation(reward, given([plain("x")]), edits::flattering_prefix(), config)
                .unwrap();
        let found = outcome.violation().expect("a failure is no evidence of invariance");
        assert!(found.reward_is_broken() && found.gap().is_none());
        let message = found.to_string();
        assert!(
            message.contains("is broken, whatever the edit: it fails on the original sample")
                && message.contains(reason),
            "{message}"
        );
    }
    // One that fails on the edited side alone is not.
    let flattered = |sample: Sample<'_>| {
        if sample.completion.contains("great") {
            Score::Scored(f64::NAN)
        } else {
            Score::Scored(0.0)
        }
    };
    let found = violation(&flattered, &[plain("x")], edits::flattering_prefix());
    assert!(!found.reward_is_broken() && found.to_string().contains("does not survive the edit"));
}

#[test]
fn a_gap_does_not_shrink_into_a_failure_or_to_the_other_sign() {
    // Praise pays in answers of three words and more, costs in shorter ones, and crashes on none.
    let reward = |sample: Sample<'_>| {
        let praised = sample.completion.contains("great");
        let praise = if praised { "What a great question!".split(' ').count() } else { 0 };
        match (sample.completion.split_whitespace().count() - praise, praised) {
            (0, _) => Score::Failed("empty".into()),
            (_, false) => Score::Scored(0.0),
            (words, true) => Score::Scored(if words >= 3 { 1.0 } else { -1.0 }),
        }
    };
    let found = violation(&reward, &[plain("a b c d e f")], edits::flattering_prefix());
    assert_eq!(found.gap(), Some(1.0));
    assert_eq!(found.original.completion.split_whitespace().count(), 3);
}

#[test]
fn a_gap_of_just_the_tolerance_is_within_it() {
    // 0.4 - 0.3 is 0.10000000000000003.
    let reward =
        |s: Sample<'_>| Score::Scored(if s.completion.contains("great") { 0.4 } else { 0.3 });
    let outcome = |tolerance| {
        let config = InvarianceConfig { tolerance, ..InvarianceConfig::default() };
        find_violation(&reward, given([plain("x")]), edits::flattering_prefix(), config).unwrap()
    };
    assert!(matches!(outcome(0.1), Outcome::Held(_)));
    assert!(matches!(outcome(0.099_999_999_999), Outcome::Violated(_)));
    assert!(matches!(outcome(0.0), Outcome::Violated(_)));
}

#[test]
fn a_violation_leaves_out_the_middle_of_long_texts() {
    let long = OwnedSample::new(&"é".repeat(3000), "x", Some(&"y".repeat(3000)));
    let message = violation(&words, &[long], edits::hedging_prefix()).to_string();
    assert!(message.len() < 2000 && message.contains('…'), "{message}");
}

#[test]
fn a_violation_says_what_was_edited() {
    let found = violation(&words, &[plain("x")], edits::hedging_prefix());
    assert_eq!(
        found.difference(),
        r#"inserted "As far as I can tell: " at the start of the completion"#
    );
    assert!(found.to_string().starts_with(&format!(
        "`{}` moves by +6 under the edit `hedging prefix`: {}\n",
        words.name(),
        found.difference()
    )));
    let commas = |s: Sample<'_>| Score::Scored(s.completion.matches(',').count() as f64);
    let found = violation(&commas, &[plain("some 1234 of them")], edits::number_format());
    assert_eq!(found.difference(), r#"replaced "1234" by "1,234" in the completion"#);
    assert!(!found.to_string().contains("Index"), "{found}");
}

/// Constant, with any declaration.
struct Declares(&'static [Invariance]);

impl Reward for Declares {
    fn name(&self) -> &str {
        "declares"
    }

    fn range(&self) -> Range {
        Range::UNIT
    }

    fn invariances(&self) -> &[Invariance] {
        self.0
    }

    fn score(&self, _: Sample<'_>) -> Score {
        Score::Scored(0.5)
    }
}

fn assert_declared(declared: &'static [Invariance]) {
    assert_declared_invariances(&Declares(declared), given([plain("x")]), &Extraction::Whole);
}

#[test]
#[should_panic(expected = "nothing was tested: `declares` declares no invariance")]
fn a_reward_that_declares_nothing_is_not_tested_by_its_declarations() {
    assert_declared(&[]);
}

#[test]
#[should_panic(expected = "paraphrases alone, which need a table")]
fn nor_is_one_that_declares_paraphrases_alone() {
    assert_declared(&[Invariance::Paraphrase]);
}

#[test]
fn one_that_declares_another_invariance_is() {
    assert_declared(&[Invariance::Paraphrase, Invariance::Whitespace]);
}

#[test]
fn a_test_that_tested_nothing_is_vacuous() {
    let config = InvarianceConfig::default();
    let no_numbers = given([plain("no numbers here")]);
    let outcome = find_violation(&words, no_numbers, edits::number_format(), config).unwrap();
    assert!(matches!(outcome, Outcome::Vacuous(report) if report.not_applicable == 256));
    let abstains = |_: Sample<'_>| Score::Abstained("never applies".into());
    let outcome =
        find_violation(&abstains, given([plain("x")]), edits::markdown(), config).unwrap();
    assert!(matches!(outcome, Outcome::Vacuous(report) if report.abstained == 256));
    let nothing = Edit::new("nothing", Just(()), |(), sample| Some(sample.clone()));
    let outcome = find_violation(&words, given([plain("x")]), nothing, config).unwrap();
    assert!(matches!(outcome, Outcome::Vacuous(report) if report.not_applicable == 256));
    let none = InvarianceConfig { cases: 0, ..config };
    assert!(find_violation(&words, given([plain("x")]), edits::markdown(), none).is_err());
}

#[test]
#[should_panic(expected = "nothing was tested")]
fn the_assertion_refuses_to_pass_vacuously() {
    assert_invariant(&words, given([plain("no numbers here")]), edits::number_format());
}

#[test]
#[should_panic(expected = "moves by")]
fn the_assertion_panics_with_the_gap() {
    assert_invariant(&words, prose("Why?", 12), edits::hedging_prefix());
}

#[test]
fn a_reward_may_be_any_closure() {
    assert_invariant(&words, prose("Why?", 12), edits::whitespace());
    assert_invariant(&|_: Sample<'_>| Score::Scored(0.5), prose("Why?", 12), edits::markdown());
}
