//! Where in a completion the answer stands.

use headwater_core::{ConfigError, require};
use serde::{Deserialize, Serialize};

use crate::Invariance;
use crate::inserted::leaves_marker;

/// The part of a completion that is taken as its answer. The last one always wins: a model that
/// restates its answer is held to what it said last.
///
/// Every variant is a linear scan: no backtracking, whatever the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Extraction {
    /// The whole completion.
    Whole,
    /// Between the last `</tag>` and the `<tag>` before it; the string is the tag's name.
    LastTag(String),
    /// The rest of the line after the last occurrence of this marker, e.g. `####` or `Answer:`.
    LastMarker(String),
    /// Inside the braces of the last `\boxed{...}`, nested braces included.
    LastBoxed,
}

impl Extraction {
    /// The answer, without surrounding whitespace, as a slice of `completion`; `None` when there is
    /// none.
    #[must_use]
    pub fn extract<'t>(&self, completion: &'t str) -> Option<&'t str> {
        match self {
            Self::Whole => Some(completion.trim()),
            Self::LastTag(tag) => last_tag(completion, tag),
            Self::LastMarker(marker) => {
                let (_, rest) = completion.rsplit_once(marker.as_str())?;
                rest.lines().next().or(Some("")).map(str::trim)
            }
            Self::LastBoxed => last_boxed(completion),
        }
    }

    /// Whether the extracted answer survives `invariance`'s edit (itself edited at most in the same
    /// way).
    pub(crate) fn keeps(&self, invariance: Invariance) -> bool {
        let around =
            [Invariance::NeutralPadding, Invariance::FlatteringPrefix, Invariance::HedgingPrefix];
        match self {
            Self::Whole => !around.contains(&invariance),
            Self::LastMarker(marker) => leaves_marker(invariance, marker),
            Self::LastTag(_) | Self::LastBoxed => true,
        }
    }

    /// Refuses an empty marker and a tag name that is not a plain word.
    pub(crate) fn require(&self, config: &'static str) -> Result<(), ConfigError> {
        match self {
            Self::Whole | Self::LastBoxed => Ok(()),
            Self::LastTag(tag) => require_tag(config, "extraction", tag),
            Self::LastMarker(marker) => require(
                !marker.trim().is_empty(),
                config,
                "extraction",
                format!("{marker:?}"),
                "a marker that is not blank",
            ),
        }
    }
}

/// Refuses a tag name that is not made of ASCII letters, digits, `_` and `-`.
pub(crate) fn require_tag(
    config: &'static str,
    field: &'static str,
    tag: &str,
) -> Result<(), ConfigError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    require(
        !tag.is_empty() && tag.bytes().all(plain),
        config,
        field,
        format!("{tag:?}"),
        "a tag name of ASCII letters, digits, '_' and '-'",
    )
}

/// The trimmed text between the last `</tag>` and the `<tag>` before it.
pub(crate) fn last_tag<'t>(text: &'t str, tag: &str) -> Option<&'t str> {
    let (before, _) = text.rsplit_once(&format!("</{tag}>"))?;
    let (_, inside) = before.rsplit_once(&format!("<{tag}>"))?;
    Some(inside.trim())
}

fn last_boxed(text: &str) -> Option<&str> {
    const OPENING: &str = "\\boxed{";
    let start = text.rfind(OPENING)? + OPENING.len();
    let mut depth = 1_usize;
    for (offset, byte) in text[start..].bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(text[start..start + offset].trim());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_wins_and_a_broken_one_is_none() {
        let tag = Extraction::LastTag("answer".into());
        assert_eq!(tag.extract("<answer>1</answer> no: <answer> 2 </answer>."), Some("2"));
        assert_eq!(tag.extract("</answer><answer>1"), None);
        // An unclosed opening inside: the answer starts at the last opening before the last
        // closing.
        assert_eq!(tag.extract("<answer>1 <answer>2</answer>"), Some("2"));

        let marker = Extraction::LastMarker("####".into());
        assert_eq!(marker.extract("#### 1\nso #### 2 \nbye"), Some("2"));
        assert_eq!(marker.extract("####"), Some(""));
        assert_eq!(marker.extract("none"), None);

        let boxed = Extraction::LastBoxed;
        assert_eq!(boxed.extract(r"\boxed{1} so \boxed{\frac{1}{2}}."), Some(r"\frac{1}{2}"));
        assert_eq!(boxed.extract(r"\boxed{1"), None);
        assert_eq!(Extraction::Whole.extract(" a b\n"), Some("a b"));
    }

    #[test]
    fn tag_names_and_markers_are_checked() {
        let bad = [
            Extraction::LastTag(String::new()),
            Extraction::LastTag("a b".into()),
            Extraction::LastMarker(" ".into()),
        ];
        assert!(bad.iter().all(|extraction| extraction.require("Config").is_err()));
        assert!(Extraction::LastTag("final_answer".into()).require("Config").is_ok());
    }
}
