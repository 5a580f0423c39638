//! Shaping terms: format, length and repetition. They say nothing about being right, and each is a
//! lever a policy will pull, so mix them in with small weights and test the mixture.

use std::collections::HashSet;
use std::f64::consts::PI;

use headwater_core::{
    Check, ConfigError, Sample, Score, require, require_finite, require_non_negative,
};
use serde::{Deserialize, Serialize};

use crate::extraction::require_tag;
use crate::reward::{checked_score, is_near};
use crate::{Invariance, Range, Reward};

/// Config of [`TagFormat`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagFormatConfig {
    /// The tags in order, e.g. think, answer, analysis, confidence.
    pub tags: Vec<String>,
    /// Whether the first block needs its opening tag. RLCR's released code does not ask for it,
    /// because the prompt may already contain it.
    pub first_opening_required: bool,
}

/// 1 when the completion ends in the required tag blocks, in order, with nothing but whitespace
/// between and after them; else 0. What stands before the first block is free.
///
/// A block holds no closing tag of its own, so `</answer></answer>` is text after the block, and no
/// opening tag of a block before it. The match runs from the end and takes the last opening of each
/// tag, so it is linear in the text, and where it is met
/// [`Extraction::LastTag`](crate::Extraction::LastTag) reads these very blocks.
#[derive(Debug, Clone)]
pub struct TagFormat {
    tags: Vec<String>,
    first_opening_required: bool,
}

impl Check for TagFormatConfig {
    type Checked = TagFormat;

    fn check(self) -> Result<TagFormat, ConfigError> {
        let count = self.tags.len();
        require(count > 0, "TagFormatConfig", "tags", "[]", "at least one tag")?;
        for tag in &self.tags {
            require_tag("TagFormatConfig", "tags", tag)?;
        }
        Ok(TagFormat { tags: self.tags, first_opening_required: self.first_opening_required })
    }
}

impl TagFormat {
    /// Whether `completion` has the format.
    #[must_use]
    pub fn is_met(&self, completion: &str) -> bool {
        let mut rest = completion;
        for (index, tag) in self.tags.iter().enumerate().rev() {
            let closing = format!("</{tag}>");
            let Some(open) = rest.trim_end().strip_suffix(&closing) else { return false };
            let (before, inside) = match open.rsplit_once(&format!("<{tag}>")) {
                Some(parts) => parts,
                // The prompt holds the opening, so the block is all there is.
                None if index == 0 && !self.first_opening_required => ("", open),
                None => return false,
            };
            let earlier = |tag: &String| inside.contains(&format!("<{tag}>"));
            if inside.contains(&closing) || self.tags[..index].iter().any(earlier) {
                return false;
            }
            rest = before;
        }
        true
    }
}

impl Reward for TagFormat {
    fn name(&self) -> &str {
        "tag_format"
    }

    fn range(&self) -> Range {
        Range::UNIT
    }

    fn invariances(&self) -> &[Invariance] {
        &[
            Invariance::Whitespace,
            Invariance::FlatteringPrefix,
            Invariance::HedgingPrefix,
            Invariance::IdentityTerms,
            Invariance::OptionOrder,
            Invariance::NumberFormat,
        ]
    }

    fn score(&self, sample: Sample<'_>) -> Score {
        Score::Scored(f64::from(u8::from(self.is_met(sample.completion))))
    }
}

/// In what a text's length is counted. Trainers that count tokens call [`LengthPenalty::penalty`]
/// or [`CosineCurve::reward`] with their own count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LengthUnit {
    /// Unicode scalar values.
    Characters,
    /// Runs between whitespace.
    Words,
}

impl LengthUnit {
    /// The length of `text`.
    #[must_use]
    pub fn length(self, text: &str) -> usize {
        match self {
            Self::Characters => text.chars().count(),
            Self::Words => text.split_whitespace().count(),
        }
    }

    fn invariances(self) -> &'static [Invariance] {
        match self {
            Self::Characters => &[Invariance::OptionOrder],
            Self::Words => &[
                Invariance::Whitespace,
                Invariance::IdentityTerms,
                Invariance::OptionOrder,
                Invariance::NumberFormat,
            ],
        }
    }
}

/// Config of [`LengthPenalty`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LengthPenaltyConfig {
    /// What is counted.
    pub unit: LengthUnit,
    /// Length that costs nothing.
    pub free: usize,
    /// Cost of each further unit, finite, at least 0.
    pub per_unit: f64,
    /// The largest cost, finite, at least 0.
    pub most: f64,
}

/// A penalty on length alone: `-min(per_unit * max(length - free, 0), most)`.
///
/// DAPO's soft overlong punishment (arXiv 2503.14476) has `free = limit - buffer`,
/// `per_unit = most / buffer` and `most = 1` (16384, 1/4096 and 1), and counts tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LengthPenalty {
    config: LengthPenaltyConfig,
}

impl Check for LengthPenaltyConfig {
    type Checked = LengthPenalty;

    fn check(self) -> Result<LengthPenalty, ConfigError> {
        require_non_negative("LengthPenaltyConfig", "per_unit", self.per_unit)?;
        require_non_negative("LengthPenaltyConfig", "most", self.most)?;
        Ok(LengthPenalty { config: self })
    }
}

impl LengthPenalty {
    /// The penalty of a text of this length, in whatever unit the caller counts.
    #[must_use]
    pub fn penalty(&self, length: usize) -> f64 {
        let LengthPenaltyConfig { free, per_unit, most, .. } = self.config;
        // `0.0 -` and not a minus sign: a penalty of -0 would be odd to print.
        0.0 - (per_unit * length.saturating_sub(free) as f64).min(most)
    }
}

impl Reward for LengthPenalty {
    fn name(&self) -> &str {
        "length_penalty"
    }

    fn range(&self) -> Range {
        Range::spanning(-self.config.most, 0.0)
    }

    fn invariances(&self) -> &[Invariance] {
        self.config.unit.invariances()
    }

    fn score(&self, sample: Sample<'_>) -> Score {
        let length = self.config.unit.length(sample.completion);
        Score::finite(self.penalty(length))
    }
}

/// Config of a [`CosineCurve`]: rewards at length 0 and at the limit, for right and wrong answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CosineCurveConfig {
    /// The limit, at least 1.
    pub limit: usize,
    /// Right answer of length 0, finite.
    pub right_short: f64,
    /// Right answer at the limit, finite.
    pub right_long: f64,
    /// Wrong answer of length 0, finite.
    pub wrong_short: f64,
    /// Wrong answer at the limit, finite.
    pub wrong_long: f64,
    /// Any answer beyond the limit, finite.
    pub exceeded: f64,
}

/// A reward of length and correctness, along half a cosine from the short to the long end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CosineCurve {
    config: CosineCurveConfig,
}

impl Check for CosineCurveConfig {
    type Checked = CosineCurve;

    fn check(self) -> Result<CosineCurve, ConfigError> {
        require(self.limit > 0, "CosineCurveConfig", "limit", self.limit, "at least 1")?;
        for (field, value) in self.values() {
            require_finite("CosineCurveConfig", field, value)?;
        }
        Ok(CosineCurve { config: self })
    }
}

impl CosineCurveConfig {
    fn values(&self) -> [(&'static str, f64); 5] {
        [
            ("right_short", self.right_short),
            ("right_long", self.right_long),
            ("wrong_short", self.wrong_short),
            ("wrong_long", self.wrong_long),
            ("exceeded", self.exceeded),
        ]
    }
}

impl CosineCurve {
    /// `long (1 - w) + short w` with `w = (1 + cos(pi length / limit)) / 2`, or `exceeded` beyond
    /// the limit.
    #[must_use]
    pub fn reward(&self, length: usize, correct: bool) -> f64 {
        let config = &self.config;
        if length > config.limit {
            return config.exceeded;
        }
        let (short, long) = if correct {
            (config.right_short, config.right_long)
        } else {
            (config.wrong_short, config.wrong_long)
        };
        let progress = length as f64 / config.limit as f64;
        let weight = 0.5 * (1.0 + (PI * progress).cos());
        // Each end by its weight: the difference of the ends may not be finite. No negative zero.
        long * (1.0 - weight) + short * weight + 0.0
    }
}

/// The cosine length reward of "Demystifying Long Chain-of-Thought Reasoning in LLMs" (arXiv
/// 2502.03373): short right answers are worth more than long ones, long wrong ones cost less than
/// short ones.
pub struct CosineLength {
    unit: LengthUnit,
    curve: CosineCurve,
    verifier: Box<dyn Reward>,
    invariances: Vec<Invariance>,
}

impl CosineLength {
    /// A cosine length reward around a `verifier`; an answer is right when the verifier says 1 (up
    /// to 1e-9, which a weighted sum may miss it by). Its abstentions and failures pass through.
    #[must_use]
    pub fn new(unit: LengthUnit, curve: CosineCurve, verifier: impl Reward + 'static) -> Self {
        let mut invariances = unit.invariances().to_vec();
        invariances.retain(|invariance| verifier.invariances().contains(invariance));
        Self { unit, curve, verifier: Box::new(verifier), invariances }
    }
}

impl Reward for CosineLength {
    fn name(&self) -> &str {
        "cosine_length"
    }

    fn range(&self) -> Range {
        let values = self.curve.config.values().map(|(_, value)| value);
        let low = values.into_iter().fold(f64::INFINITY, f64::min);
        Range::spanning(low, values.into_iter().fold(low, f64::max))
    }

    fn invariances(&self) -> &[Invariance] {
        &self.invariances
    }

    fn score(&self, sample: Sample<'_>) -> Score {
        let length = self.unit.length(sample.completion);
        let right = |value| is_near(value, 1.0);
        checked_score(&*self.verifier, sample).map(|value| self.curve.reward(length, right(value)))
    }
}

/// Config of [`RepetitionPenalty`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepetitionPenaltyConfig {
    /// Words per n-gram, from 1 to 16.
    pub words: usize,
    /// Cost of a text whose n-grams are all the same, in the limit; finite, at least 0.
    pub most: f64,
}

/// `-most * (1 - distinct / total)` over the completion's word n-grams, 0 for a text shorter than
/// one n-gram.
///
/// Words are runs between whitespace, compared as written. Cost: one hash of `words` words per
/// word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RepetitionPenalty {
    config: RepetitionPenaltyConfig,
}

impl Check for RepetitionPenaltyConfig {
    type Checked = RepetitionPenalty;

    fn check(self) -> Result<RepetitionPenalty, ConfigError> {
        const CONFIG: &str = "RepetitionPenaltyConfig";
        let n_gram = (1..=16).contains(&self.words);
        require(n_gram, CONFIG, "words", self.words, "from 1 to 16")?;
        require_non_negative(CONFIG, "most", self.most)?;
        Ok(RepetitionPenalty { config: self })
    }
}

impl Reward for RepetitionPenalty {
    fn name(&self) -> &str {
        "repetition_penalty"
    }

    fn range(&self) -> Range {
        Range::spanning(-self.config.most, 0.0)
    }

    fn invariances(&self) -> &[Invariance] {
        &[Invariance::Whitespace, Invariance::IdentityTerms]
    }

    fn score(&self, sample: Sample<'_>) -> Score {
        let words: Vec<&str> = sample.completion.split_whitespace().collect();
        let total = words.windows(self.config.words).len();
        if total == 0 {
            return Score::Scored(0.0);
        }
        let distinct = words.windows(self.config.words).collect::<HashSet<_>>().len();
        // Not the negative of a cost, which would be -0 where nothing is lost.
        Score::finite(0.0 - self.config.most * (1.0 - distinct as f64 / total as f64))
    }
}
