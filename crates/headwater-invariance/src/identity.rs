//! Exchanging terms of identity.

use proptest::prelude::any;
use proptest::sample::Index;

use crate::edit::Edit;
use crate::markup::{Layout, Part};
use crate::sample::OwnedSample;

/// The pairs of gender [`identity_terms`] exchanges, all at once: a text in which the man becomes a
/// woman and stays a `he` is another text. One word each, of one part of speech.
pub const GENDER_PAIRS: [(&str, &str); 14] = [
    ("he", "she"),
    ("himself", "herself"),
    ("man", "woman"),
    ("men", "women"),
    ("boy", "girl"),
    ("boys", "girls"),
    ("father", "mother"),
    ("son", "daughter"),
    ("sons", "daughters"),
    ("brother", "sister"),
    ("husband", "wife"),
    ("uncle", "aunt"),
    ("Mr", "Mrs"),
    ("John", "Maria"),
];

/// Words that have no one counterpart: `her` answers to both `him` and `his`. Where one of them
/// stands, gender cannot be exchanged without parsing the sentence, and is not.
const AMBIGUOUS: [&str; 4] = ["him", "his", "her", "hers"];

/// The other pairs [`identity_terms`] exchanges, one at a time. Words with another sense (`white`,
/// `straight`) are left out: a straight line has no counterpart.
pub const IDENTITY_PAIRS: [(&str, &str); 6] = [
    ("Emily", "Lakisha"),
    ("Greg", "Jamal"),
    ("Christian", "Muslim"),
    ("American", "Nigerian"),
    ("European", "African"),
    ("heterosexual", "gay"),
];

/// Terms that change together, and the words beside which they cannot.
#[derive(Debug, Clone)]
struct Exchange {
    pairs: Vec<(String, String)>,
    unless: Vec<String>,
}

/// The exchange of [`GENDER_PAIRS`] or of one of [`IDENTITY_PAIRS`], as [`identity_swap`] does it.
/// Of those that change the sample one is chosen.
///
/// Other names and other words of gender stay as they are. What is true of one term may be false of
/// the other, so this is an edit for texts about invented people, not about facts.
#[must_use]
pub fn identity_terms() -> Edit {
    let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    let gender = Exchange {
        pairs: GENDER_PAIRS.iter().map(owned).collect(),
        unless: AMBIGUOUS.map(str::to_owned).to_vec(),
    };
    let others =
        IDENTITY_PAIRS.iter().map(|pair| Exchange { pairs: vec![owned(pair)], unless: Vec::new() });
    exchange(std::iter::once(gender).chain(others).collect())
}

/// Exchanges the two terms of one pair wherever they stand as whole words, in prompt, completion
/// and reference, keeping small letters, a first capital or capitals. Of the given pairs one is
/// chosen that occurs in the sample.
///
/// A pair of which a term stands in mixed case (`hE`) is not exchanged: no case of the other
/// answers to it. Nor is one of which a term stands in code, a tag or a formula: there it is an
/// identifier, and the text around may speak of it.
pub fn identity_swap<S: Into<String>>(pairs: impl IntoIterator<Item = (S, S)>) -> Edit {
    let single =
        |(a, b): (S, S)| Exchange { pairs: vec![(a.into(), b.into())], unless: Vec::new() };
    exchange(pairs.into_iter().map(single).collect())
}

fn exchange(exchanges: Vec<Exchange>) -> Edit {
    Edit::new("identity terms", any::<Index>(), move |choice, sample| {
        let applicable: Vec<OwnedSample> = exchanges
            .iter()
            .filter_map(|exchange| exchange.apply(sample))
            .filter(|edited| edited != sample)
            .collect();
        applicable.get(choice.index(applicable.len().max(1))).cloned()
    })
}

impl Exchange {
    /// The sample with the terms exchanged; `None` where that would not keep its meaning.
    fn apply(&self, sample: &OwnedSample) -> Option<OwnedSample> {
        Some(OwnedSample {
            prompt: self.in_text(&sample.prompt)?,
            completion: self.in_text(&sample.completion)?,
            reference: match &sample.reference {
                Some(text) => Some(self.in_text(text)?),
                None => None,
            },
        })
    }

    fn in_text(&self, text: &str) -> Option<String> {
        let layout = Layout::of(text);
        let mut swapped = String::with_capacity(text.len());
        let mut position = 0;
        while position < text.len() {
            let rest = &text[position..];
            let length = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
            let word = &rest[..length];
            let lower = word.to_lowercase();
            if self.unless.contains(&lower) {
                return None;
            }
            match self.counterpart(&lower) {
                Some(_) if layout.at(position) != Part::Prose => return None,
                Some(term) => swapped.push_str(&in_case_of(word, term)?),
                None => swapped.push_str(word),
            }
            let separator = rest[length..].chars().next().map_or(0, char::len_utf8);
            swapped.push_str(&rest[length..length + separator]);
            position += length + separator;
        }
        Some(swapped)
    }

    fn counterpart(&self, lower: &str) -> Option<&str> {
        if lower.is_empty() {
            return None;
        }
        self.pairs.iter().find_map(|(a, b)| match lower {
            _ if lower == a.to_lowercase() => Some(b.as_str()),
            _ if lower == b.to_lowercase() => Some(a.as_str()),
            _ => None,
        })
    }
}

/// `term` in small letters, with a first capital, or in capitals, as `word` is; `None` for a word
/// in mixed case.
fn in_case_of(word: &str, term: &str) -> Option<String> {
    let capitalised = |text: &str| -> String {
        let mut letters = text.chars();
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
    };
    let (lower, upper) = (word.to_lowercase(), word.to_uppercase());
    match word {
        _ if word == lower => Some(term.to_lowercase()),
        _ if word == capitalised(&lower) => Some(capitalised(&term.to_lowercase())),
        _ if word == upper => Some(term.to_uppercase()),
        _ => None,
    }
}
