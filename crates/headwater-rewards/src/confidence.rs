//! Reading a stated confidence out of a completion.

use headwater_core::{ConfigError, require};
use serde::{Deserialize, Serialize};

use crate::Invariance;
use crate::extraction::{last_tag, require_marker, require_tag};
use crate::inserted::leaves_marker;
use crate::number::{PercentReading, parse_number};

/// Where the confidence stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ConfidencePlace {
    /// Inside the last pair of this tag, e.g. `confidence`; the answer is found in the whole
    /// completion.
    LastTag(String),
    /// Everything after the last occurrence of this marker; the answer is what stands before it.
    /// With `@`: `42 @ 0.8`. Short enough for policies that emit a handful of tokens.
    AfterMarker(String),
}

/// How the confidence is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ConfidenceScale {
    /// A number in [0, 1], or a percentage with its sign: `0.8`, `80%`.
    Unit,
    /// A number in [0, 100], with or without the sign: `80`.
    Percent,
    /// A whole number k in `0..levels`, read as `(k + 0.5) / levels`: never exactly 0 or 1, which
    /// bounds the logarithmic rule. `levels` = 101 is the mapping of "On the effectiveness of
    /// reward functions for confidence calibration" (arXiv 2607.04332); at least 2.
    Levels {
        /// Number of levels.
        levels: u32,
    },
}

/// Place and scale of a stated confidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfidenceFormat {
    /// Where it stands.
    pub place: ConfidencePlace,
    /// How it is written.
    pub scale: ConfidenceScale,
}

/// A completion taken apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Statement<'t> {
    /// The text in which the answer is to be looked for.
    pub answer: &'t str,
    /// The stated probability that it is right, in [0, 1]; `None` when missing or malformed.
    pub confidence: Option<f64>,
}

impl ConfidenceFormat {
    /// Takes a completion apart. Numbers outside the scale are malformed, not clamped.
    ///
    /// ```
    /// use headwater_rewards::{ConfidenceFormat, ConfidencePlace, ConfidenceScale};
    ///
    /// let place = ConfidencePlace::AfterMarker("@".into());
    /// let format = ConfidenceFormat { place, scale: ConfidenceScale::Unit };
    /// let statement = format.parse("42 @ 0.8");
    /// assert_eq!((statement.answer, statement.confidence), ("42", Some(0.8)));
    /// assert_eq!(format.parse("42 @ 1.8").confidence, None);
    /// ```
    #[must_use]
    pub fn parse<'t>(&self, completion: &'t str) -> Statement<'t> {
        let (answer, stated) = match &self.place {
            ConfidencePlace::LastTag(tag) => (completion, last_tag(completion, tag)),
            ConfidencePlace::AfterMarker(marker) => match completion.rsplit_once(marker.as_str()) {
                Some((answer, stated)) => (answer.trim(), Some(stated)),
                None => (completion.trim(), None),
            },
        };
        Statement { answer, confidence: stated.and_then(|text| self.scale.read(text)) }
    }

    pub(crate) fn require(&self, config: &'static str) -> Result<(), ConfigError> {
        match &self.place {
            ConfidencePlace::LastTag(tag) => require_tag(config, "confidence.place", tag)?,
            ConfidencePlace::AfterMarker(marker) => {
                require_marker(config, "confidence.place", marker)?;
            }
        }
        let ConfidenceScale::Levels { levels } = self.scale else { return Ok(()) };
        require(levels >= 2, config, "confidence.scale.levels", levels, "at least 2")
    }

    /// Whether the same confidence is read after `invariance`'s edit, and the answer's text is
    /// whole.
    pub(crate) fn keeps(&self, invariance: Invariance) -> bool {
        let levels = matches!(self.scale, ConfidenceScale::Levels { .. });
        match (&self.place, invariance) {
            (_, Invariance::NumberFormat) if levels => false,
            (ConfidencePlace::LastTag(_), _) => true,
            (ConfidencePlace::AfterMarker(_), Invariance::NeutralPadding) => false,
            (ConfidencePlace::AfterMarker(marker), _) => leaves_marker(invariance, marker),
        }
    }
}

impl ConfidenceScale {
    fn read(self, text: &str) -> Option<f64> {
        let value = match self {
            Self::Unit => parse_number(text, PercentReading::Hundredth)?,
            Self::Percent => parse_number(text, PercentReading::Ignored)? / 100.0,
            Self::Levels { levels } => {
                let digits = text.trim_matches(|c: char| c.is_whitespace() || "*_`".contains(c));
                let level: u32 = digits.parse().ok()?;
                (f64::from(level) + 0.5) / f64::from(levels)
            }
        };
        (0.0..=1.0).contains(&value).then_some(value)
    }
}
