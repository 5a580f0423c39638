//! The edits do what they say, and violations shrink to the smallest pair.

use headwater_core::{Sample, Score};
use headwater_rewards::invariance::{
    Edit, InvarianceConfig, Outcome, OwnedSample, Violation, assert_invariant, edits,
    find_violation, given, prose,
};
use headwater_rewards::{Extraction, Reward};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

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

/// Everything that `edit` makes of one sample, over many draws.
fn variants(edit: &Edit, sample: &OwnedSample) -> Vec<OwnedSample> {
    let mut runner = TestRunner::deterministic();
    let mut found: Vec<OwnedSample> = Vec::new();
    for _ in 0..400 {
        let change = edit.changes().new_tree(&mut runner).expect("no filters").current();
        if let Some(edited) = change.apply(sample)
            && !found.contains(&edited)
        {
            found.push(edited);
        }
    }
    found.sort_by(|a, b| a.completion.cmp(&b.completion));
    found
}

fn completions(edit: &Edit, completion: &str) -> Vec<String> {
    variants(edit, &plain(completion)).into_iter().map(|sample| sample.completion).collect()
}

#[test]
fn numbers_are_rewritten_only_where_they_stand_free() {
    let edit = edits::number_format();
    assert_eq!(completions(&edit, "1234.5 to go"), ["1,234.5 to go", "1234.50 to go"]);
    assert_eq!(completions(&edit, "1,234"), ["1,234.0", "1234"]);
    assert_eq!(completions(&edit, "I have 7."), ["I have 7.0."]);
    assert_eq!(completions(&edit, "-7"), ["-7.0"]);
    assert_eq!(completions(&edit, "1/2"), ["1.0/2", "1/2.0"]);
    for untouched in ["2024-01-05", "v1.2.3", "12:30", "x2", "3rd", "1,23", "1_000", "1e5"] {
        assert_eq!(completions(&edit, untouched), [""; 0], "{untouched}");
    }
}

#[test]
fn whitespace_widens_gaps_and_makes_none() {
    let found = completions(&edits::whitespace(), "a b\nc");
    // Three widths at each of: start, blank, line break, end.
    assert_eq!(found.len(), 12, "{found:?}");
    assert!(found.contains(&"a    b\nc".to_owned()) && found.contains(&"a b\n\nc".to_owned()));
    assert!(found.iter().all(|text| text.split_whitespace().eq(["a", "b", "c"])));
}

#[test]
fn markdown_marks_one_word_or_the_start() {
    let found = completions(&edits::markdown(), "one + two");
    assert!(
        found.contains(&"**one** + two".to_owned()) && found.contains(&"# one + two".to_owned())
    );
    assert!(found.iter().all(|text| !text.contains("*+*") && !text.contains("`+`")));
    assert_eq!(found.len(), 2 * 5 + 1);
}

#[test]
fn identity_terms_change_everywhere_at_once_and_keep_their_case() {
    let sample = OwnedSample::new("Is HE here?", "He, she and the hero.", Some("he"));
    let found = variants(&edits::identity_terms(), &sample);
    let edited = OwnedSample::new("Is SHE here?", "She, he and the hero.", Some("she"));
    assert_eq!(found, [edited]);
    let custom = edits::identity_swap([("Oslo", "Lagos")]);
    assert_eq!(completions(&custom, "oslo, Oslo, OSLO, oSlO"), ["lagos, Lagos, LAGOS, oSlO"]);
}

#[test]
fn options_move_and_letters_follow() {
    let sample =
        OwnedSample::new("Pick.\nA) red\nB) green\nok", "I say <answer>(B)</answer> A", Some("A"));
    let found = variants(&edits::option_order(Extraction::LastTag("answer".into())), &sample);
    let edited =
        OwnedSample::new("Pick.\nA) green\nB) red\nok", "I say <answer>(A)</answer> A", Some("B"));
    assert_eq!(found, [edited]);
    // No letter, no options, a letter beyond them.
    for (prompt, answer) in
        [("Pick.\nA) red\nB) green", "green"), ("Pick.", "A"), ("A) x\nB) y", "C")]
    {
        let sample = OwnedSample::new(prompt, answer, None);
        assert_eq!(variants(&edits::option_order(Extraction::Whole), &sample), []);
    }
    let third = OwnedSample::new("A) x\nB) y\nC) z", "C", None);
    // Three exchanges, two of which move C's text.
    let moved = variants(&edits::option_order(Extraction::Whole), &third);
    assert_eq!(moved.len(), 3);
}

#[test]
fn paraphrases_come_from_the_table_in_both_directions() {
    let edit = edits::paraphrase([("therefore", "so"), ("", "never")]);
    assert_eq!(
        completions(&edit, "so it goes, therefore"),
        ["so it goes, so", "therefore it goes, therefore"]
    );
    assert_eq!(completions(&edit, "nothing"), [""; 0]);
}

proptest! {
    /// An exchange of terms or options undoes itself.
    #[test]
    fn exchanges_are_involutions(text in "(he|She|MAN|woman|John|, | ){0,12}") {
        let edit = edits::identity_terms();
        for edited in variants(&edit, &plain(&text)).into_iter().take(4) {
            prop_assert!(variants(&edit, &edited).contains(&plain(&text)));
        }
    }
}
