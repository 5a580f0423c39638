//! Exchanging two options of a multiple-choice prompt.

use proptest::sample::Index;

use crate::sample::OwnedSample;
use headwater_rewards::Extraction;

/// An option line of a prompt.
struct OptionLine {
    /// Index of the line.
    line: usize,
    /// Byte offset of the option's text behind its label.
    text: usize,
}

/// The sample with two options exchanged and its letters following; `None` when the prompt has
/// fewer than two options or the completion's answer is not one of their letters.
pub(super) fn swap_options(
    sample: &OwnedSample,
    extraction: &Extraction,
    first: Index,
    second: Index,
) -> Option<OwnedSample> {
    let mut lines: Vec<String> = sample.prompt.split('\n').map(str::to_owned).collect();
    let options = option_lines(&lines);
    if options.len() < 2 {
        return None;
    }
    let first = first.index(options.len());
    // Always another one: counted from the next.
    let second = (first + 1 + second.index(options.len() - 1)) % options.len();

    let answer = extraction.extract(&sample.completion)?;
    letter_in(answer, options.len())?;
    // `answer` is a slice of the completion: its address gives its place.
    let start = answer.as_ptr() as usize - sample.completion.as_ptr() as usize;
    // What is said of an option by its letter would be said of the other one.
    let around = [&sample.completion[..start], &sample.completion[start + answer.len()..]];
    let of_others =
        |option: &OptionLine| speaks_of_others(&lines[option.line][option.text..], options.len());
    let named = |option: usize| around.iter().any(|text| names_letter(text, option));
    if options.iter().any(of_others) || named(first) || named(second) {
        return None;
    }
    let mut completion = sample.completion.clone();
    let renamed = rename(answer, options.len(), first, second);
    completion.replace_range(start..start + answer.len(), &renamed);
    let reference =
        sample.reference.as_deref().map(|text| rename(text, options.len(), first, second));

    let (one, other) = (&options[first], &options[second]);
    let text_of_one = lines[one.line].split_off(one.text);
    let text_of_other = lines[other.line].split_off(other.text);
    lines[one.line].push_str(&text_of_other);
    lines[other.line].push_str(&text_of_one);
    Some(OwnedSample { prompt: lines.join("\n"), completion, reference })
}

/// The lines that begin with the labels A, B, C, ... in order.
fn option_lines(lines: &[String]) -> Vec<OptionLine> {
    let mut options: Vec<OptionLine> = Vec::new();
    for (line, text) in lines.iter().enumerate() {
        let letter = char::from(b'A' + options.len().min(25) as u8);
        let labels = [format!("{letter})"), format!("{letter}."), format!("({letter})")];
        if let Some(label) = labels.iter().find(|label| text.starts_with(label.as_str())) {
            options.push(OptionLine { line, text: label.len() });
        }
        if options.len() == 26 {
            break;
        }
    }
    options
}

/// Whether the text of an option depends on where the others stand.
fn speaks_of_others(text: &str, options: usize) -> bool {
    const POSITIONS: [&str; 8] =
        ["above", "below", "both", "neither", "preceding", "previous", "following", "options"];
    let position = |word: &str| POSITIONS.contains(&word.to_lowercase().as_str());
    words(text).any(|(_, word)| position(word))
        || (0..options).any(|option| names_letter(text, option))
}

/// Whether the letter of `option` stands in `text` as a word, and not as the article `A` or the
/// pronoun `I`.
fn names_letter(text: &str, option: usize) -> bool {
    let letter = char::from(b'A' + option as u8);
    words(text).any(|(start, word)| {
        let (before, after) = (&text[..start], &text[start + word.len()..]);
        let marked = before.ends_with('(') || after.starts_with([')', '.', ':']);
        let before = before.trim_end().to_lowercase();
        let labelled =
            ["option", "options", "answer", "choice"].iter().any(|l| before.ends_with(l));
        word.chars().eq([letter]) && (!matches!(letter, 'A' | 'I') || marked || labelled)
    })
}

/// Runs of letters and digits and where they begin.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

/// The single option letter that `text` consists of, apart from marks around it: its byte offset
/// and the option's index.
fn letter_in(text: &str, options: usize) -> Option<(usize, usize)> {
    let mut letters = text.char_indices().filter(|(_, c)| c.is_alphanumeric());
    let (position, letter) = letters.next()?;
    let index = usize::from(u8::try_from(letter).ok()?.checked_sub(b'A')?);
    (letters.next().is_none() && index < options).then_some((position, index))
}

/// `text` with its letter following the exchange of options `first` and `second`; unchanged when it
/// is not a letter.
fn rename(text: &str, options: usize, first: usize, second: usize) -> String {
    let mut renamed = text.to_owned();
    if let Some((position, index)) = letter_in(text, options) {
        let index = match index {
            _ if index == first => second,
            _ if index == second => first,
            other => other,
        };
        let letter = char::from(b'A' + index as u8).to_string();
        renamed.replace_range(position..=position, &letter);
    }
    renamed
}
