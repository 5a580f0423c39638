//! The edits shipped with the crate, one per [`Invariance`].
//!
//! Each is a claim about what should not matter, and each can be wrong for some reward: a haiku
//! judge may care about whitespace. Choose the ones that hold for yours.
//!
//! What an edit must never do is change what the text says, for then a reward is right to move. So
//! none of them touches code, and each leaves alone whatever it might break, as described there;
//! where nothing is left to edit, it does not apply.

use std::ops::Range;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::edit::Edit;
pub use crate::identity::{GENDER_PAIRS, IDENTITY_PAIRS, identity_swap, identity_terms};
use crate::markup::{
    Layout, Part, begins_block, ends_in_command, lines, list_marker, underlines, without_containers,
};
pub use crate::numbers::number_format;
use crate::options::swap_options;
use crate::sample::OwnedSample;
use headwater_rewards::inserted::{FLATTERING, HEDGING, MARKS, NEUTRAL};
use headwater_rewards::{Extraction, Invariance};

/// The edit of a standard invariance, `None` for [`Invariance::Paraphrase`], which needs a table
/// ([`paraphrase`]).
///
/// `extraction` tells [`option_order`] where the answer's letter stands; the others ignore it.
#[must_use]
pub fn standard(invariance: Invariance, extraction: &Extraction) -> Option<Edit> {
    Some(match invariance {
        Invariance::Whitespace => whitespace(),
        Invariance::Markdown => markdown(),
        Invariance::NeutralPadding => neutral_padding(),
        Invariance::FlatteringPrefix => flattering_prefix(),
        Invariance::HedgingPrefix => hedging_prefix(),
        Invariance::IdentityTerms => identity_terms(),
        Invariance::OptionOrder => option_order(extraction.clone()),
        Invariance::NumberFormat => number_format(),
        Invariance::Paraphrase => return None,
    })
}

fn with_completion(sample: &OwnedSample, completion: String) -> OwnedSample {
    OwnedSample { completion, ..sample.clone() }
}

/// Widens one gap between two words (blanks by blanks, line breaks by line breaks), or adds line
/// breaks at either end of the completion. It never makes or removes a gap, and never turns a blank
/// into a line break.
///
/// Left alone are gaps in code, tags and formulas, tabs, the indentation of a line and what follows
/// its list marker, and the line breaks inside a table or quotation or under a heading.
#[must_use]
pub fn whitespace() -> Edit {
    Edit::new("whitespace", (any::<Index>(), 1..4_usize), |(gap, count), sample| {
        let text = &sample.completion;
        let gaps = gaps(text);
        let (position, space) = gaps[gap.index(gaps.len())];
        let mut completion = text.clone();
        completion.insert_str(position, &space.to_string().repeat(*count));
        Some(with_completion(sample, completion))
    })
}

/// The two ends, and every position just behind a run of whitespace that may be longer, with the
/// character to lengthen it by.
fn gaps(text: &str) -> Vec<(usize, char)> {
    let layout = Layout::of(text);
    let mut gaps = vec![(0, '\n')];
    if !layout.open_at_end {
        gaps.push((text.len(), '\n'));
    }
    let mut previous = "";
    for (start, line) in lines(text) {
        let prose = |position: usize| layout.at(position) == Part::Prose;
        let parts = !layout.code_below_tags && may_part(previous, line);
        if start > 0 && parts && prose(start - 1) {
            gaps.push((start, '\n'));
        }
        previous = line;
        let fixed = line.len() - without_containers(line).len();
        let mut before = None;
        for (offset, character) in line.char_indices() {
            let blank = before.filter(|c: &char| c.is_whitespace() && *c != '\t');
            if let Some(space) = blank
                && !character.is_whitespace()
                && line[..offset].trim_end().len() > fixed
                && prose(start + offset - 1)
            {
                gaps.push((start + offset, space));
            }
            before = Some(character);
        }
    }
    gaps
}

/// Whether a blank line between these two leaves both what they are.
fn may_part(previous: &str, line: &str) -> bool {
    // A table or quotation ends with a blank line, and what a tag or a list item has opened may.
    let held = |line: &str| line.starts_with(['|', '>', '<']) || list_marker(line).is_some();
    let apart = previous.trim().is_empty();
    let alike = list_marker(previous).is_some() && list_marker(line).is_some();
    let free = apart || alike || !(held(previous.trim_start()) || held(line));
    // An indented line belongs to the one above, a line of `===` makes it a heading.
    !line.starts_with(char::is_whitespace)
        && free
        && !underlines(line)
        && !previous.trim_end().ends_with('\\')
}

/// Puts emphasis or code marks around one word, or a heading mark before the completion.
///
/// Words are what stands between blanks and tags and has a letter or digit. Left alone are those in
/// code and formulas, those that hold a mark of Markdown themselves, those right behind a LaTeX
/// command (`\frac 12`), links and list markers; and no
/// word gets a mark that already stands somewhere in the prose, which it might pair up with. A
/// completion that begins with a block (heading, list, table, quotation, code) gets no heading
/// mark.
#[must_use]
pub fn markdown() -> Edit {
    let mark = select(&MARKS[..]);
    Edit::new("markdown", (any::<Index>(), mark), |(word, mark), sample| {
        let text = &sample.completion;
        let layout = Layout::of(text);
        if *mark == "# " {
            // A heading ends with its line. What ran on over the end of it must not, and the next
            // line must not become a block because no paragraph is left for it to continue.
            let ends = |(line, rest): (&str, &str)| {
                let next = rest.split('\n').next().unwrap_or("");
                layout.at(line.len()) == Part::Prose
                    && (next.trim().is_empty() || !begins_block(rest))
            };
            let free = text.split_once('\n').is_none_or(ends)
                && !layout.code_below_tags
                && !begins_block(text);
            return free.then(|| with_completion(sample, format!("# {text}")));
        }
        let taken = |(at, c): (usize, char)| mark.starts_with(c) && layout.at(at) != Part::Code;
        if text.char_indices().any(taken) {
            return None;
        }
        let words = words(text, &layout);
        let Range { start, end } = words.get(word.index(words.len().max(1)))?.clone();
        let (before, chosen, after) = (&text[..start], &text[start..end], &text[end..]);
        Some(with_completion(sample, format!("{before}{mark}{chosen}{mark}{after}")))
    })
}

/// Where the words of the prose are that a mark around changes nothing about.
fn words(text: &str, layout: &Layout) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    for (line_start, line) in lines(text) {
        let first = line_start + list_marker(line).unwrap_or(0);
        let mut start = line_start;
        let mut behind_command = false;
        for token in line.split_inclusive(char::is_whitespace) {
            let token_end = start + token.trim_end().len();
            // Tags part words, code and formulas do not: half a word is no word.
            let mut piece = start;
            for position in start..=token_end {
                if position == token_end || layout.at(position) == Part::Tag {
                    let range = piece..position;
                    // Inside a tag it is empty, and may begin between the bytes of a letter.
                    if first <= piece
                        && piece < position
                        && !behind_command
                        && layout.is_prose(range.clone())
                        && is_markable(&text[range.clone()])
                    {
                        words.push(range);
                    }
                    piece = position + 1;
                }
            }
            behind_command = ends_in_command(token.trim_end());
            start += token.len();
        }
    }
    words
}

/// Whether `word` says something and holds no mark of Markdown, and no address.
fn is_markable(word: &str) -> bool {
    const MARKS: [char; 11] = ['*', '_', '`', '~', '[', ']', '<', '>', '|', '$', '\\'];
    word.contains(char::is_alphanumeric) && !word.contains(MARKS) && !word.contains("://")
}

/// Puts one to four sentences without content before or after the completion, as a paragraph of
/// their own. They contain no digit, tag or option letter. Behind a completion that ends inside a
/// block of code or a formula nothing is put: it would belong to it.
#[must_use]
pub fn neutral_padding() -> Edit {
    let sentence = select(&NEUTRAL[..]);
    let parameters = (prop::bool::ANY, prop::collection::vec(sentence, 1..=4));
    Edit::new("neutral padding", parameters, |(before, sentences), sample| {
        let (padding, text) = (sentences.join(" "), &sample.completion);
        if *before {
            return Some(with_completion(sample, format!("{padding}\n\n{text}")));
        }
        let open = Layout::of(text).open_at_end;
        (!open).then(|| with_completion(sample, format!("{text}\n\n{padding}")))
    })
}

/// Puts praise of the asker before the completion: on its first line, or as a paragraph of its own
/// where the completion begins with a block (heading, list, table, quotation, code).
#[must_use]
pub fn flattering_prefix() -> Edit {
    prefix("flattering prefix", &FLATTERING)
}

/// Puts a hedge before the completion, where [`flattering_prefix`] puts its praise.
#[must_use]
pub fn hedging_prefix() -> Edit {
    prefix("hedging prefix", &HEDGING)
}

fn prefix(name: &str, phrases: &'static [&'static str]) -> Edit {
    Edit::new(name, select(phrases), |phrase, sample| {
        let text = &sample.completion;
        // On the line of a fence, it would turn the block into prose.
        let block = begins_block(text);
        let phrase =
            if block { format!("{}\n\n", phrase.trim_end()) } else { (*phrase).to_owned() };
        Some(with_completion(sample, format!("{phrase}{text}")))
    })
}

/// Exchanges two options of a multiple-choice prompt. Options are lines that begin `A)`, `A.` or
/// `(A)`, lettered from A without gaps. The letter that `extraction` finds in the completion, and
/// the reference when it is one of the letters, follow their options, so the meaning is kept and
/// only the positions change.
///
/// Not exchanged are options of which one speaks of others (`all of the above`, `both A and C`),
/// nor any where the completion names one of the two elsewhere than in its answer (`(B) is wrong`).
#[must_use]
pub fn option_order(extraction: Extraction) -> Edit {
    let parameters = (any::<Index>(), any::<Index>());
    Edit::new("option order", parameters, move |(first, second), sample| {
        swap_options(sample, &extraction, *first, *second)
    })
}

/// Exchanges one phrase of the completion for its counterpart in `table`, in either direction, at
/// its first occurrence: as whole words, in the table's case, in prose and not in code, a tag or a
/// formula.
///
/// The table is the reward author's claim that both phrases of a pair are worth the same.
pub fn paraphrase<S: Into<String>>(table: impl IntoIterator<Item = (S, S)>) -> Edit {
    let pairs: Vec<(String, String)> =
        table.into_iter().map(|(a, b)| (a.into(), b.into())).collect();
    Edit::new("paraphrase", any::<Index>(), move |choice, sample| {
        let text = &sample.completion;
        let layout = Layout::of(text);
        let both = pairs.iter().flat_map(|(a, b)| [(a, b), (b, a)]);
        let applicable: Vec<(usize, &String, &String)> = both
            .filter_map(|(from, to)| Some((phrase_in(text, from, &layout)?, from, to)))
            .collect();
        let (start, from, to) = *applicable.get(choice.index(applicable.len().max(1)))?;
        let mut completion = text.clone();
        completion.replace_range(start..start + from.len(), to);
        Some(with_completion(sample, completion))
    })
}

/// Where `phrase` first stands in the prose as whole words.
fn phrase_in(text: &str, phrase: &str, layout: &Layout) -> Option<usize> {
    if phrase.is_empty() {
        return None;
    }
    // A border inside a word has a letter or digit on both sides.
    let inside_word = |left: Option<char>, right: Option<char>| {
        left.is_some_and(char::is_alphanumeric) && right.is_some_and(char::is_alphanumeric)
    };
    text.match_indices(phrase).map(|(start, _)| start).find(|&start| {
        let end = start + phrase.len();
        let (before, after) = (&text[..start], &text[end..]);
        layout.is_prose(start..end)
            && !inside_word(before.chars().next_back(), phrase.chars().next())
            && !inside_word(phrase.chars().next_back(), after.chars().next())
    })
}
