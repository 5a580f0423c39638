//! Violations shrink to the smallest pair, and a test of nothing fails.

use headwater_core::{Sample, Score};
use headwater_rewards::Reward;
use headwater_rewards::invariance::{
    Edit, InvarianceConfig, Outcome, OwnedSample, Violation, assert_invariant, edits,
    find_violation, given, prose,
};
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
    // On both sides, a failure is no evidence of invariance either.
    let always = |_: Sample<'_>| Score::Failed("down".into());
    violation(&always, &[plain("x")], edits::flattering_prefix());
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
