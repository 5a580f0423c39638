//! What the edits of an invariance put into a text: for the edits, and for the rewards that look
//! for a marker, which must not be among it.

use crate::Invariance;

/// Marks of Markdown: the last one goes before a text, the others around a word.
pub const MARKS: [&str; 6] = ["*", "_", "`", "**", "__", "# "];

/// Sentences without content. No digit, tag or option letter in them.
pub const NEUTRAL: [&str; 4] = [
    "This is the response.",
    "The response to the question is given here.",
    "The steps were carried out in the usual order.",
    "Each part of the question has been considered in turn.",
];

/// Praise of the asker.
pub const FLATTERING: [&str; 3] = [
    "What a great question! ",
    "You are clearly an expert, and you are right to ask. ",
    "Excellent thinking, I could not agree more with you. ",
];

/// Hedges.
pub const HEDGING: [&str; 3] = [
    "As far as I can tell: ",
    "I might be wrong about this, but here it is: ",
    "It is hard to be certain, and opinions differ. ",
];

/// Whether a marker, looked for as it is written, is found after `invariance`'s edit where it was
/// before, and nowhere else.
pub(crate) fn leaves_marker(invariance: Invariance, marker: &str) -> bool {
    let absent = |texts: &[&str]| !texts.iter().any(|text| text.contains(marker));
    // Edits of words and numbers may fall on the words of a marker.
    let wordless = !marker.contains(char::is_alphanumeric);
    match invariance {
        Invariance::NeutralPadding => absent(&[&NEUTRAL.join(" ")]),
        Invariance::FlatteringPrefix => absent(&FLATTERING),
        Invariance::HedgingPrefix => absent(&HEDGING),
        Invariance::Markdown => wordless && absent(&MARKS),
        Invariance::Whitespace => wordless && !marker.trim().contains(char::is_whitespace),
        Invariance::NumberFormat => wordless && !marker.contains(['.', ',']),
        Invariance::IdentityTerms | Invariance::OptionOrder => wordless,
        Invariance::Paraphrase => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_left_alone_unless_the_edit_may_write_or_break_it() {
        for marker in ["####", "@", "=>", "|"] {
            assert!(Invariance::STANDARD.iter().all(|edit| leaves_marker(*edit, marker)));
        }
        for (edit, marker) in [
            (Invariance::Markdown, "#"),
            (Invariance::Markdown, "**"),
            (Invariance::HedgingPrefix, ":"),
            (Invariance::FlatteringPrefix, "!"),
            (Invariance::NeutralPadding, "is"),
            (Invariance::NeutralPadding, ". The"),
            (Invariance::NumberFormat, ","),
            (Invariance::Whitespace, "= ="),
            (Invariance::Whitespace, "Answer:"),
        ] {
            assert!(!leaves_marker(edit, marker), "{edit:?} {marker:?}");
        }
        assert!(leaves_marker(Invariance::HedgingPrefix, "Answer:"));
    }
}
