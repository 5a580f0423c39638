//! The edits do what they say, and nothing that changes what a text says.

use headwater_invariance::{Edit, OwnedSample, edits};
use headwater_rewards::Extraction;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

fn plain(completion: &str) -> OwnedSample {
    OwnedSample::new("Why?", completion, None)
}

/// Everything that `edit` makes of one sample.
fn variants(edit: &Edit, sample: &OwnedSample) -> Vec<OwnedSample> {
    drawn(edit, sample, 400)
}

/// What `edit` makes of one sample in this many draws, each once.
fn drawn(edit: &Edit, sample: &OwnedSample, draws: usize) -> Vec<OwnedSample> {
    let mut runner = TestRunner::deterministic();
    let mut found: Vec<OwnedSample> = Vec::new();
    for _ in 0..draws {
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

/// The completions of 10 draws.
fn some_completions(edit: &Edit, completion: &str) -> Vec<String> {
    drawn(edit, &plain(completion), 10).into_iter().map(|sample| sample.completion).collect()
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
    assert_eq!(completions(&edit, r"$\boxed{1234}$"), [r"$\boxed{1,234}$", r"$\boxed{1234.0}$"]);
    // In a list a comma would make two of one, or one of two.
    assert_eq!(completions(&edit, "(1234, x)"), ["(1234.0, x)"]);
    for untouched in UNTOUCHABLE {
        assert_eq!(completions(&edit, untouched), [""; 0], "{untouched}");
    }
}

/// Numbers that are no quantities, or stand where nothing may be touched.
const UNTOUCHABLE: [&str; 28] = [
    "2024-01-05",
    "5/6/2024",
    "May 5, 2024",
    "12:30",
    "in 1987",
    "1/2",
    "3 1/2",
    "v1.2.3",
    "Python 3.10",
    "version 2.0",
    "Chapter 3",
    "step 12",
    "No. 5",
    "007",
    "x2",
    "3rd",
    "1,23",
    "1_000",
    "1e5",
    "a_{12}",
    "item [1]",
    "see (2)",
    "`1234 + 1`",
    "``a ` 12``",
    "<td width=12>",
    "<code>12</code>",
    "$x = 1234$",
    "http://a.b?id=1234",
];

/// Words that stand free.
const PROSE: [&str; 6] = ["some", "words,", "(and)", "more.", "é", "then"];

/// Numbers that stand free, and their values.
const NUMBERS: [(&str, f64); 5] =
    [("7", 7.0), ("1234", 1234.0), ("1,234.5", 1234.5), ("0.25", 0.25), ("98765", 98765.0)];

const FENCES: [&str; 4] = [
    "```py\nx = 1234 * y\n```",
    "~~~\nhe 12\n\n```\n~~~",
    "````\n```\nx 12\n````",
    "    indented 1234",
];

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Piece {
    Word(&'static str),
    Number(&'static str),
    Untouchable(&'static str),
    Fence(&'static str),
}

impl Piece {
    fn text(self) -> &'static str {
        match self {
            Self::Word(text) | Self::Number(text) | Self::Untouchable(text) | Self::Fence(text) => {
                text
            }
        }
    }
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let piece = prop_oneof![
        3 => select(&PROSE[..]).prop_map(Piece::Word),
        3 => select(&NUMBERS[..]).prop_map(|(text, _)| Piece::Number(text)),
        2 => select(&UNTOUCHABLE[..]).prop_map(Piece::Untouchable),
        1 => select(&FENCES[..]).prop_map(Piece::Fence),
    ];
    prop::collection::vec(piece, 1..10)
}

/// The pieces as one text, `written` in place of piece `at`: fences in paragraphs of their own, all
/// else with blanks between.
fn join(pieces: &[Piece], at: usize, written: &str) -> String {
    let mut text = String::new();
    for (index, piece) in pieces.iter().enumerate() {
        let block = matches!(piece, Piece::Fence(_))
            || index.checked_sub(1).is_some_and(|before| matches!(pieces[before], Piece::Fence(_)));
        if index > 0 {
            text.push_str(if block { "\n\n" } else { " " });
        }
        text.push_str(if index == at { written } else { piece.text() });
    }
    text
}

fn plain_text(pieces: &[Piece]) -> String {
    join(pieces, usize::MAX, "")
}

proptest! {
    #[test]
    fn number_format_rewrites_one_number_to_the_same_value_and_nothing_else(pieces in pieces()) {
        for edited in some_completions(&edits::number_format(), &plain_text(&pieces)) {
            let explained = pieces.iter().enumerate().any(|(at, piece)| {
                let Piece::Number(text) = *piece else { return false };
                let value = |text: &str| text.replace(',', "").parse::<f64>().unwrap();
                let forms = [
                    text.replace(',', ""),
                    format!("{text}0"),
                    format!("{text}.0"),
                    text.replace("1234", "1,234"),
                    text.replace("98765", "98,765"),
                ];
                forms.iter().any(|form| {
                    form != text && join(&pieces, at, form) == edited && value(form) == value(text)
                })
            });
            prop_assert!(explained, "{edited:?}");
        }
    }

    #[test]
    fn markdown_marks_one_word_or_the_start_and_nothing_else(pieces in pieces()) {
        let text = plain_text(&pieces);
        for edited in some_completions(&edits::markdown(), &text) {
            let heading = edited == format!("# {text}") && !matches!(pieces[0], Piece::Fence(_));
            let explained = heading || pieces.iter().enumerate().any(|(at, piece)| {
                let words = match piece {
                    Piece::Fence(_) => return false,
                    _ => piece.text().split(' ').collect::<Vec<_>>(),
                };
                ["*", "_", "`", "**", "__"].iter().any(|mark| {
                    (0..words.len()).any(|word| {
                        let mut marked = words.clone();
                        let chosen = format!("{mark}{}{mark}", words[word]);
                        marked[word] = &chosen;
                        // The words of a date or a label may be marked, those of code may not.
                        let code = piece.text().starts_with(['`', '<', '$'])
                            || words[word].contains(['[', '_']);
                        !code && join(&pieces, at, &marked.join(" ")) == edited
                    })
                })
            });
            prop_assert!(explained, "{edited:?}");
        }
    }

    #[test]
    fn no_edit_of_the_text_around_touches_code(pieces in pieces()) {
        let text = plain_text(&pieces);
        let code: Vec<&str> = pieces
            .iter()
            .map(|piece| piece.text())
            .filter(|text| text.contains(['`', '~', '<']) || text.starts_with("    "))
            .collect();
        let every = [
            edits::whitespace(), edits::markdown(), edits::neutral_padding(),
            edits::flattering_prefix(), edits::hedging_prefix(), edits::identity_terms(),
            edits::number_format(),
            edits::paraphrase([("some", "a few"), ("x", "y"), ("he", "they")]),
        ];
        for edit in every {
            for edited in some_completions(&edit, &text) {
                let mut rest = edited.as_str();
                for part in &code {
                    let found = rest.find(part);
                    prop_assert!(found.is_some(), "{}: {part:?} in {edited:?}", edit.name());
                    // A fence stays at the start of a line.
                    let at = edited.len() - rest.len() + found.unwrap();
                    let kept = !FENCES.contains(part) || at == 0 || edited[..at].ends_with('\n');
                    prop_assert!(kept, "{}: {edited:?}", edit.name());
                    rest = &rest[found.unwrap() + part.len()..];
                }
            }
        }
    }
}

#[test]
fn whitespace_widens_gaps_and_makes_none() {
    let found = completions(&edits::whitespace(), "a b\nc");
    // Three widths at each of: start, blank, line break, end.
    assert_eq!(found.len(), 12, "{found:?}");
    assert!(found.contains(&"a    b\nc".to_owned()) && found.contains(&"a b\n\nc".to_owned()));
    assert!(found.iter().all(|text| text.split_whitespace().eq(["a", "b", "c"])));
    // Only the ends: each of these gaps says something.
    for text in ["- x", "1. x", "```\na b\n```", "`a b`", "a\tb", "|a|\n|-|", "a\n--", "> a\nb"] {
        let found = completions(&edits::whitespace(), text);
        assert!(found.len() == 6 && found.iter().all(|edited| edited.trim() == text), "{found:?}");
    }
    // An indentation stays what it is.
    let found = completions(&edits::whitespace(), "a\n  b");
    assert!(found.iter().all(|text| text.contains("a\n  b")), "{found:?}");
}

#[test]
fn markdown_marks_one_word_or_the_start() {
    let found = completions(&edits::markdown(), "one + two");
    assert!(
        found.contains(&"**one** + two".to_owned()) && found.contains(&"# one + two".to_owned())
    );
    assert!(found.iter().all(|text| !text.contains("*+*") && !text.contains("`+`")));
    assert_eq!(found.len(), 2 * 5 + 1);
    // Inside tags, but not the tags; and no mark that stands in the text already.
    let found = completions(&edits::markdown(), "<answer>B</answer>");
    assert!(
        found.contains(&"<answer>**B**</answer>".to_owned()) && found.len() == 5 + 1,
        "{found:?}"
    );
    let found = completions(&edits::markdown(), "2 * 3");
    assert!(found.contains(&"_2_ * 3".to_owned()) && found.len() == 2 * 3 + 1, "{found:?}");
    for text in ["```\na\n```", "`a`", "- ", "    a", "$a b$", "[a](b)", "http://a.b", "a_b *c*"] {
        let found = completions(&edits::markdown(), text);
        assert!(found.iter().all(|edited| edited == &format!("# {text}")), "{found:?}");
    }
    // The argument of a command is no word.
    let found = completions(&edits::markdown(), r"\frac 12 or");
    assert!(found.iter().all(|text| text.contains("12") && !text.contains("12*")), "{found:?}");
    for block in ["# a_b*c", "- `a`", "1. `a`", "```\na\n```", "| `a` |", "`a`\n==="] {
        assert_eq!(completions(&edits::markdown(), block), [""; 0]);
    }
}

#[test]
fn text_put_before_or_after_a_block_leaves_it_one() {
    let fence = "```\nx\n```";
    for edit in [edits::flattering_prefix(), edits::hedging_prefix(), edits::neutral_padding()] {
        for text in [fence, "# x", "- x", "1. x", "| x |", "> x", "    x", "<pre>x</pre>"] {
            let found = completions(&edit, text);
            let kept = |edited: &String| {
                edited.ends_with(&format!("\n\n{text}"))
                    || edited.starts_with(&format!("{text}\n\n"))
            };
            assert!(!found.is_empty() && found.iter().all(kept), "{found:?}");
        }
    }
    // Behind a fence that was never closed nothing stands outside of it.
    let found = completions(&edits::neutral_padding(), "see\n```\nx");
    assert!(!found.is_empty() && found.iter().all(|edited| edited.ends_with("x")));
}

#[test]
fn identity_terms_change_everywhere_at_once_and_keep_their_case() {
    let sample = OwnedSample::new("Is HE here?", "He, she and the hero.", Some("he"));
    let found = variants(&edits::identity_terms(), &sample);
    let edited = OwnedSample::new("Is SHE here?", "She, he and the hero.", Some("she"));
    assert_eq!(found, [edited]);
    // All of one gender at once, or not at all where a word has two counterparts.
    let edit = edits::identity_terms();
    let man = "The man said he hurt himself.";
    assert_eq!(completions(&edit, man), ["The woman said she hurt herself."]);
    assert_eq!(completions(&edit, "The man lost his key."), [""; 0]);
    assert_eq!(completions(&edit, "Greg lost his key."), ["Jamal lost his key."]);
    // Not in code, nor in a text that may speak of it.
    assert_eq!(completions(&edit, "The `man` page, man."), [""; 0]);
    assert_eq!(completions(&edit, "<man> and man"), [""; 0]);
    // Other senses.
    assert_eq!(completions(&edit, "A straight white line"), [""; 0]);
    let custom = edits::identity_swap([("Oslo", "Lagos")]);
    assert_eq!(completions(&custom, "oslo, Oslo, OSLO"), ["lagos, Lagos, LAGOS"]);
    assert_eq!(completions(&custom, "oslo, oSlO"), [""; 0]);
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
    // Options that speak of others, and letters named outside of the answer.
    for (prompt, completion) in [
        ("A) x\nB) y\nC) all of the above", "<answer>A</answer>"),
        ("A) x\nB) y\nC) A and B", "<answer>A</answer>"),
        ("A) x\nB) y", "(A) is wrong. <answer>B</answer>"),
        ("A) x\nB) y", "B is right. <answer>B</answer>"),
        ("A) x\nB) y", "Option A it is. <answer>A</answer>"),
    ] {
        let sample = OwnedSample::new(prompt, completion, None);
        assert_eq!(
            variants(&edits::option_order(Extraction::LastTag("answer".into())), &sample),
            []
        );
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
    // Whole words, outside of code.
    assert_eq!(completions(&edit, "also `so` reasons"), [""; 0]);
    assert_eq!(completions(&edit, "also `so`, so"), ["also `so`, therefore"]);
}

proptest! {
    /// An exchange of terms undoes itself.
    #[test]
    fn exchanges_are_involutions(text in "(he|She|MAN|woman|John|, | ){0,12}") {
        let edit = edits::identity_terms();
        for edited in drawn(&edit, &plain(&text), 10) {
            prop_assert_eq!(drawn(&edit, &edited, 10), [plain(&text)]);
        }
    }
}
