//! Writing one number of a text differently.

use proptest::bool;
use proptest::prelude::any;
use proptest::sample::Index;

use crate::edit::Edit;
use crate::markup::{Layout, Part, ends_in_command};
use crate::sample::OwnedSample;
use headwater_rewards::numeral::{numeral_length, without_grouping};

/// Writes one number of the completion differently: commas between thousands put in or taken out,
/// or a decimal 0 added.
///
/// Only what is a quantity beyond doubt is rewritten. Left alone are numbers
/// - in code, tags and formulas, except for a `\boxed{...}` that holds the number alone;
/// - joined to a letter, digit or mark that makes them part of something longer: words, fractions
///   (`1/2`, `\frac 12`), mixed numbers (`1\frac{1}{2}`), dates, times, versions, ranges, powers,
///   handles, addresses, digits in groups;
/// - that name something instead of counting it: `Python 3.10`, `Chapter 3`, `step 2`, `007`,
///   `[1]`, `(2)`, the `2.` at the start of a line; `5 May`, `in 1987`, `7 pm`.
///
/// Commas are put in and taken out only where no comma next to the number makes it one of a list.
#[must_use]
pub fn number_format() -> Edit {
    Edit::new("number format", (any::<Index>(), bool::ANY), |(which, decimal), sample| {
        let text = &sample.completion;
        let rewritten: Vec<(usize, &str, String)> = free_numerals(text)
            .into_iter()
            .filter_map(|(start, numeral)| {
                let new = match (*decimal, listed(text, start, numeral)) {
                    (true, _) => with_decimal(numeral),
                    (false, true) => return None,
                    (false, false) => regrouped(numeral)?,
                };
                Some((start, numeral, new))
            })
            .collect();
        let (start, old, new) = rewritten.get(which.index(rewritten.len().max(1)))?;
        let (before, after) = (&text[..*start], &text[start + old.len()..]);
        let completion = format!("{before}{new}{after}");
        Some(OwnedSample { completion, ..sample.clone() })
    })
}

fn with_decimal(numeral: &str) -> String {
    if numeral.contains('.') { format!("{numeral}0") } else { format!("{numeral}.0") }
}

/// The numeral with its commas taken out, or put in where it has none and at least four digits in
/// front.
fn regrouped(numeral: &str) -> Option<String> {
    if numeral.contains(',') {
        return Some(without_grouping(numeral));
    }
    let point = numeral.find('.').unwrap_or(numeral.len());
    let (whole, decimals) = numeral.split_at(point);
    if whole.len() < 4 {
        return None;
    }
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    Some(grouped + decimals)
}

/// Whether a comma stands next to the numeral, blanks aside.
fn listed(text: &str, start: usize, numeral: &str) -> bool {
    text[..start].trim_end().ends_with(',')
        || text[start + numeral.len()..].trim_start().starts_with(',')
}

/// The numerals of `text` that are quantities.
fn free_numerals(text: &str) -> Vec<(usize, &str)> {
    let layout = Layout::of(text);
    let mut found = Vec::new();
    let mut position = 0;
    while let Some(offset) = text[position..].find(|c: char| c.is_ascii_digit()) {
        let digit = position + offset;
        // A leading decimal point belongs to the numeral.
        let start = if text[..digit].ends_with('.') { digit - 1 } else { digit };
        let end = start + numeral_length(&text[start..]);
        let numeral =
            Numeral { before: &text[..start], itself: &text[start..end], after: &text[end..] };
        if numeral.is_quantity(layout.at(start)) {
            found.push((start, numeral.itself));
        }
        position = end.max(digit + 1);
    }
    found
}

/// A numeral and the text around it.
struct Numeral<'t> {
    before: &'t str,
    itself: &'t str,
    after: &'t str,
}

impl Numeral<'_> {
    fn is_quantity(&self, part: Part) -> bool {
        let boxed = self.before.ends_with("\\boxed{") && self.after.starts_with('}');
        let standing = match part {
            Part::Prose | Part::Formula if boxed => true,
            // A second point before it makes `...5`; the variation selector makes a picture of it.
            Part::Prose => {
                !self.before.ends_with(['.', '}'])
                    && !ends_in_command(self.before.trim_end())
                    && !["\\,", "\\!"].iter().any(|thin| self.before.ends_with(thin))
                    && !joined(self.before.chars().rev(), "/⁄∕\\#^@=&{[")
                    && !joined(self.after.chars(), "/⁄∕\\^@=&]{\u{fe0f}\u{20e3}")
            }
            _ => false,
        };
        standing
            && !self.is_code_number()
            && !self.is_marker()
            && !self.is_dated()
            && !self.is_label()
    }

    /// Leading zeros, an address, or one of several groups of digits.
    fn is_code_number(&self) -> bool {
        let zeros =
            self.itself.len() > 1 && self.itself.starts_with('0') && !self.itself.starts_with("0.");
        let token = self.before.rsplit(char::is_whitespace).next().unwrap_or("");
        let address = token.contains("://") || token.starts_with("www.");
        let digit = |c: char| c.is_ascii_digit();
        let (left, right) =
            (self.before.trim_end_matches(is_blank), self.after.trim_start_matches(is_blank));
        let grouped = (left.len() < self.before.len() && left.ends_with(digit))
            || (right.len() < self.after.len() && right.starts_with(digit));
        zeros || address || grouped
    }

    /// The number of an item, a note or an argument: `2. `, `(2)`, `[2]`.
    fn is_marker(&self) -> bool {
        if self.before.ends_with('(') && self.after.starts_with(')') {
            return true;
        }
        let line = self.before.rsplit('\n').next().unwrap_or("");
        let opens_line = line.chars().all(|c| is_blank(c) || "#>*-+_(".contains(c));
        let item = self
            .after
            .strip_prefix(['.', ')', ':'])
            .is_some_and(|rest| rest.trim_start_matches(['*', '_']).starts_with(is_blank));
        opens_line && item
    }

    /// A day, a year or an hour.
    fn is_dated(&self) -> bool {
        let (before, after) = (last_words(self.before), first_words(self.after));
        let near = before.iter().chain(&after);
        if near.copied().any(is_month) {
            return true;
        }
        let lower = |word: Option<&&str>| word.map(|word| word.to_lowercase()).unwrap_or_default();
        let (previous, next) = (lower(before.first()), lower(after.first()));
        let four_digits = self.itself.len() == 4
            && self.itself.starts_with(['1', '2'])
            && !self.itself.contains('.');
        is_one_of(HOURS, &next)
            || (four_digits && (is_one_of(YEAR_WORDS, &previous) || is_one_of(ERAS, &next)))
    }

    /// The number behind a name or the name of a part: `Python 3.10`, `chapter 3`.
    fn is_label(&self) -> bool {
        let named = self.before.trim_end_matches(is_blank);
        let named = named.strip_suffix('.').unwrap_or(named);
        let start = named
            .rfind(|c: char| !c.is_alphanumeric())
            .map_or(0, |at| at + named[at..].chars().next().map_or(0, char::len_utf8));
        let word = &named[start..];
        word.starts_with(char::is_uppercase) || is_one_of(LABELS, &word.to_lowercase())
    }
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() && c != '\n'
}

/// Whether the characters next to a numeral, nearest first, join it to something: a letter, digit,
/// underscore or one of `marks`; or a mark that joins what stands on both sides of it, such as a
/// dash, with a letter or digit right behind.
fn joined(mut neighbours: impl Iterator<Item = char>, marks: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    match neighbours.next() {
        Some('-' | '–' | '—' | '−' | '.' | ',' | ':' | '\'' | '’') => {
            neighbours.next().is_some_and(part_of_word)
        }
        Some(character) => part_of_word(character) || marks.contains(character),
        None => false,
    }
}

/// The last two words of the line that `text` ends in, the last one first.
fn last_words(text: &str) -> Vec<&str> {
    let line = text.rsplit('\n').next().unwrap_or("");
    words(line).rev().take(2).collect()
}

/// The first two words of the line that `text` begins with.
fn first_words(text: &str) -> Vec<&str> {
    words(text.split('\n').next().unwrap_or("")).take(2).collect()
}

fn words(line: &str) -> impl DoubleEndedIterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Whether a word is a month, in full or in three letters. With a capital only: most mays are not.
fn is_month(word: &str) -> bool {
    const MONTHS: &str = "January February March April May June July August September October \
                          November December Sept";
    MONTHS.split(' ').any(|month| word == month || word == &month[..3])
}

fn is_one_of(words: &str, word: &str) -> bool {
    words.split(' ').any(|one| one == word)
}

/// Words before a year.
const YEAR_WORDS: &str = "in since until till by before after year years during circa from to \
                          between and early late spring summer winter";

/// Words behind a year.
const ERAS: &str = "ad bc ce bce";

/// Words behind an hour: `7 pm`, `7 a.m.`, `7 o'clock`.
const HOURS: &str = "am pm a p o h";

/// Words whose number is a name.
const LABELS: &str = "version ver v release build step chapter ch section sec sect figure fig \
                      table tab equation eq theorem lemma rule law appendix question problem \
                      exercise example case item part option choice answer line page p pp \
                      paragraph volume vol number no nr room level grade class type phase round \
                      day id code zip port error python java gpt";

#[cfg(test)]
mod tests {
    use super::*;

    fn quantities(text: &str) -> Vec<&str> {
        free_numerals(text).into_iter().map(|(_, numeral)| numeral).collect()
    }

    #[test]
    // Long: a table of texts.
    fn quantities_are_told_from_names() {
        for (text, found) in [
            ("1234 of 5,678.9 and .5", vec!["1234", "5,678.9", ".5"]),
            ("-7, $5, 99.5%, 25*40+3", vec!["7", "5", "99.5", "25", "40", "3"]),
            ("12 - 5 / 4 = 3", vec!["12", "5", "4", "3"]),
            (r"so \boxed{12} and $\boxed{7}$", vec!["12", "7"]),
            ("<answer>12</answer> it is", vec!["12"]),
            ("#### 12", vec!["12"]),
            ("- 12 of them", vec!["12"]),
            ("I have 7.", vec!["7"]),
        ] {
            assert_eq!(quantities(text), found, "{text:?}");
        }
        for text in [
            "`1234`",
            "```\n1234\n```",
            "    1234",
            "<td width=1234>",
            "$x = 1234$",
            "\\[1234\\]",
            "1/2",
            "1 1/2",
            "3⁄4",
            "5/6/2024",
            "2024-01-05",
            "5–10",
            "12:30",
            "3:2",
            "v1.2.3",
            "10.0.0.1",
            "x2",
            "3rd",
            "1e5",
            "1_000",
            "1,23",
            "2^10",
            "a_{12}",
            r"1\frac{1}{2}",
            r"\frac 12",
            r"\frac 1 2",
            r"1\,234",
            "1{,}234",
            "0,123",
            "1\u{202f}234",
            "10⁴",
            "#5",
            "a@5",
            "x=5",
            "5'10",
            "C:\\12",
            "Python 3.10",
            "python 3.10",
            "version 2.0",
            "v. 2",
            "Chapter 3",
            "step 2",
            "No. 5",
            "007",
            "0042",
            "[1]",
            "see (2)",
            "f(7)",
            "1. First",
            "2) then",
            "**3.** so",
            "## 4. Four",
            "https://a.b/c-?1234",
            "5 May",
            "May 5",
            "January 5, 2024",
            "5th of June 1999",
            "Sept 3",
            "in 1987",
            "to 2005",
            "1066 AD",
            "7 pm",
            "7 a.m.",
            "7 o'clock",
            "1 234 567",
            "555 1234",
            "wait...5",
            "5\u{fe0f}\u{20e3}",
        ] {
            assert_eq!(quantities(text), [""; 0], "{text:?}");
        }
    }

    #[test]
    fn a_number_in_a_list_keeps_its_commas() {
        assert!(listed("(1234, 5)", 1, "1234") && listed("5, 1234", 3, "1234"));
        assert!(!listed("1234 apples", 0, "1234"));
    }
}
