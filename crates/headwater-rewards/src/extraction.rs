//! Where in a completion the answer stands.

use headwater_core::{ConfigError, require};
use serde::{Deserialize, Serialize};

use crate::Invariance;
use crate::error::shown;
use crate::inserted::leaves_marker;
use crate::latex::last_boxed;

/// The part of a completion that is taken as its answer. The last one always wins: a model that
/// restates its answer is held to what it said last.
///
/// Every variant is a linear scan: no backtracking, whatever the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Extraction {
    /// The whole completion.
    Whole,
    /// From the last `<tag>` that is closed behind it to the first `</tag>` behind that; the string
    /// is the tag's name. So text after the block does not count, a second closing tag included.
    LastTag(String),
    /// The rest of the line after the last occurrence of this marker, e.g. `####` or `Answer:`. All
    /// of it: words behind a number make it none.
    LastMarker(String),
    /// Inside the braces of the last `\boxed{...}` or `\fbox{...}`, nested braces included and `\{`
    /// and `\}` not counted. Without braces (`\boxed 2`), the rest of its formula or line. A box
    /// that never closes holds nothing, whatever stands in those before it.
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
            Self::LastMarker(marker) => require_marker(config, "extraction", marker),
        }
    }
}

/// Refuses a marker that is empty or blank.
pub(crate) fn require_marker(
    config: &'static str,
    field: &'static str,
    marker: &str,
) -> Result<(), ConfigError> {
    let holds = !marker.trim().is_empty();
    require(holds, config, field, shown(marker), "a marker that is not blank")
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
        shown(tag),
        "a tag name of ASCII letters, digits, '_' and '-'",
    )
}

/// The trimmed text of the last block of this tag: an opening with a closing behind it, up to the
/// first one there.
pub(crate) fn last_tag<'t>(text: &'t str, tag: &str) -> Option<&'t str> {
    let closing = format!("</{tag}>");
    let (before, _) = text.rsplit_once(&closing)?;
    let start = before.rfind(&format!("<{tag}>"))? + tag.len() + 2;
    let (inside, _) = text[start..].split_once(&closing)?;
    Some(inside.trim())
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
        // A doubled closing, with and without text between.
        let doubled = "<reasoning>r</reasoning><answer>333</answer></answer>";
        assert_eq!(tag.extract(doubled), Some("333"));
        assert_eq!(tag.extract("<answer>333\n</answer> so it is.</answer> Bye"), Some("333"));
        assert_eq!(tag.extract("<answer>1</answer><answer>2</answer>3</answer>"), Some("2"));
        assert_eq!(tag.extract("<answer>1</answer> or <answer>2"), Some("1"));

        let marker = Extraction::LastMarker("####".into());
        assert_eq!(marker.extract("#### 1\nso #### 2 \nbye"), Some("2"));
        assert_eq!(marker.extract("####"), Some(""));
        assert_eq!(marker.extract("none"), None);

        let boxed = Extraction::LastBoxed;
        assert_eq!(boxed.extract(r"\boxed{1} so \boxed{\frac{1}{2}}."), Some(r"\frac{1}{2}"));
        for (text, answer) in [
            (r"\boxed 2", Some("2")),
            (r"so $\boxed 2$, done", Some("2")),
            (r"\boxed2.", Some("2.")),
            (r"\boxed {2} apples", Some("2")),
            (r"\fbox{2}", Some("2")),
            (r"\boxed\frac12$", Some(r"\frac12")),
            (r"\boxed \$5\)", Some(r"\$5")),
            (r"{\boxed 2} 3", Some("2")),
            (r"\boxed 2 + 3$ 4", Some("2 + 3")),
            ("\\boxed 2 \nmore", Some("2")),
            (r"\boxed{2}, not \boxedx{3}", Some("2")),
            (r"\boxed{1} or \boxed{2}", Some("2")),
            (r"\boxed{\boxed{2}}", Some("2")),
            (r"\boxed{\text{(B)}}", Some(r"\text{(B)}")),
            (r"\boxed{\left\{ 1, 2 \right.} 3", Some(r"\left\{ 1, 2 \right.")),
            (r"\boxed{\{1\}} }", Some(r"\{1\}")),
            (r"\boxed{1} so \boxed{2", None),
            (r"\boxed{1\}", None),
            (r"\boxed", None),
            ("boxed{1}", None),
        ] {
            assert_eq!(boxed.extract(text), answer, "{text}");
        }
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
