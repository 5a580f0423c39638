//! Rewards that compare an answer with a reference: exact match and numeric match.
//!
//! All verifiers (these, [`ArithmeticMatch`](crate::ArithmeticMatch) and
//! [`Countdown`](crate::Countdown)) score 1 for a right answer and 0 for a wrong, missing or
//! malformed one, abstain without a reference, and fail on a reference they cannot read, which is
//! the data's fault and not the policy's.

use headwater_core::{Check, ConfigError, Sample, Score, require, require_non_negative};
use serde::{Deserialize, Serialize};

use crate::decimal::Decimal;
use crate::error::shown;
use crate::extraction::Extraction;
use crate::latex::unwrapped;
use crate::number::{Number, PercentReading};
use crate::{Invariance, Range, Reward};

/// 1 or 0.
pub(crate) fn binary(holds: bool) -> Score {
    Score::Scored(f64::from(u8::from(holds)))
}

/// What a comparison tolerates inside the answer and the extraction lets through, plus what may
/// change around an extracted answer.
pub(crate) fn verifier_invariances(
    inside: &[Invariance],
    extraction: &Extraction,
) -> Vec<Invariance> {
    let around =
        [Invariance::NeutralPadding, Invariance::FlatteringPrefix, Invariance::HedgingPrefix];
    inside.iter().chain(&around).copied().filter(|i| extraction.keeps(*i)).collect()
}

/// Which differences in spelling [`ExactMatch`] overlooks, applied to answer and reference alike.
/// Runs of whitespace always count as one space, surrounding whitespace never counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalisation {
    /// Lower-case by Unicode's simple mapping.
    pub lower_case: bool,
    /// Drop ASCII punctuation, except `- . , / :` directly before a digit. That exception is not in
    /// the SQuAD script, under which `-5` equals `5` and `3.14` equals `314`. The typographic minus
    /// (U+2212) counts as `-`.
    pub drop_punctuation: bool,
    /// Drop the words a, an and the, unless nothing else remains: the option `A` stays an answer.
    /// (The SQuAD script reduces it to nothing, which equals any other empty answer.)
    pub drop_articles: bool,
    /// Take the answer out of LaTeX around all of it: formula signs, spacing commands, braces,
    /// `\text{...}` and its like. So `\boxed{\text{(B)}}` holds `(B)`.
    #[serde(default)]
    pub unwrap_latex: bool,
}

impl Normalisation {
    /// Whitespace only.
    pub const SPACES: Self = Self {
        lower_case: false,
        drop_punctuation: false,
        drop_articles: false,
        unwrap_latex: false,
    };

    /// The steps of the SQuAD and HotpotQA evaluation (Rajpurkar et al. 2016), with the repairs
    /// described at the fields, and out of LaTeX.
    pub const QUESTION_ANSWERING: Self =
        Self { lower_case: true, drop_punctuation: true, drop_articles: true, unwrap_latex: true };

    /// `text` in normal form; empty when nothing but dropped parts remain.
    #[must_use]
    pub fn apply(self, text: &str) -> String {
        let text = if self.unwrap_latex { unwrapped(text) } else { text };
        let mut kept = String::with_capacity(text.len());
        let ascii_minus = |c: char| if self.drop_punctuation && c == '−' { '-' } else { c };
        let mut characters = text.chars().map(ascii_minus).peekable();
        while let Some(character) = characters.next() {
            let before_digit = characters.peek().is_some_and(char::is_ascii_digit);
            let kept_mark = before_digit && matches!(character, '-' | '.' | ',' | '/' | ':');
            if self.drop_punctuation && character.is_ascii_punctuation() && !kept_mark {
                continue;
            }
            if self.lower_case {
                kept.extend(character.to_lowercase());
            } else {
                kept.push(character);
            }
        }
        let is_article =
            |word: &&str| ["a", "an", "the"].iter().any(|a| a.eq_ignore_ascii_case(word));
        let words: Vec<&str> = kept.split_whitespace().collect();
        let drop = self.drop_articles && !words.iter().all(is_article);
        let words: Vec<&str> =
            words.into_iter().filter(|word| !(drop && is_article(word))).collect();
        words.join(" ")
    }
}

/// Config of [`ExactMatch`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExactMatchConfig {
    /// Where the answer stands.
    pub extraction: Extraction,
    /// Which differences in spelling do not count.
    pub normalisation: Normalisation,
}

/// 1 when the normalised answer equals the normalised reference, else 0.
///
/// Fails on a reference that normalises to nothing, which would equal every answer that does.
#[derive(Debug, Clone)]
pub struct ExactMatch {
    config: ExactMatchConfig,
    invariances: Vec<Invariance>,
}

impl Check for ExactMatchConfig {
    type Checked = ExactMatch;

    fn check(self) -> Result<ExactMatch, ConfigError> {
        self.extraction.require("ExactMatchConfig")?;
        let mut inside =
            vec![Invariance::Whitespace, Invariance::IdentityTerms, Invariance::OptionOrder];
        if self.normalisation.drop_punctuation {
            inside.push(Invariance::Markdown);
        }
        let invariances = verifier_invariances(&inside, &self.extraction);
        Ok(ExactMatch { config: self, invariances })
    }
}

impl Reward for ExactMatch {
    fn name(&self) -> &str {
        "exact_match"
    }

    fn range(&self) -> Range {
        Range::UNIT
    }

    fn invariances(&self) -> &[Invariance] {
        &self.invariances
    }

    fn score(&self, sample: Sample<'_>) -> Score {
        let Some(reference) = sample.reference else {
            return Score::Abstained("no reference to compare with".into());
        };
        let wanted = self.config.normalisation.apply(reference);
        if wanted.is_empty() {
            let reference = shown(reference);
            return Score::Failed(format!("the reference {reference} normalises to nothing"));
        }
        let answer = self.config.extraction.extract(sample.completion);
        binary(answer.is_some_and(|answer| self.config.normalisation.apply(answer) == wanted))
    }
}

/// Config of [`NumericMatch`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumericMatchConfig {
    /// Where the answer stands.
    pub extraction: Extraction,
    /// Largest accepted absolute difference, finite, at least 0.
    pub absolute_tolerance: f64,
    /// Largest accepted difference as a fraction of the reference's magnitude, in [0, 1).
    pub relative_tolerance: f64,
    /// What a percent sign means, in answer and reference.
    pub percent: PercentReading,
}

/// 1 when `|answer - reference| <= max(absolute, relative * |reference|)`, else 0.
///
/// Numbers are read by [`parse_number`](crate::parse_number) and compared as they were written,
/// with the tolerances as the shortest decimals that stand for them: `0.34` is within 0.01 of
/// `0.33`, and at a tolerance of 0 whole numbers differ however large they are. An answer holding
/// more than one number is wrong: listing candidates never pays.
#[derive(Debug, Clone)]
pub struct NumericMatch {
    config: NumericMatchConfig,
    absolute: Decimal,
    relative: Decimal,
    invariances: Vec<Invariance>,
}

impl Check for NumericMatchConfig {
    type Checked = NumericMatch;

    fn check(self) -> Result<NumericMatch, ConfigError> {
        const CONFIG: &str = "NumericMatchConfig";
        let (absolute, relative) = (self.absolute_tolerance, self.relative_tolerance);
        self.extraction.require(CONFIG)?;
        require_non_negative(CONFIG, "absolute_tolerance", absolute)?;
        let fraction = (0.0..1.0).contains(&relative);
        require(fraction, CONFIG, "relative_tolerance", relative, "a number in [0, 1)")?;
        let inside = [
            Invariance::Whitespace,
            Invariance::Markdown,
            Invariance::IdentityTerms,
            Invariance::NumberFormat,
        ];
        let invariances = verifier_invariances(&inside, &self.extraction);
        let (absolute, relative) = (Decimal::shortest(absolute), Decimal::shortest(relative));
        Ok(NumericMatch { config: self, absolute, relative, invariances })
    }
}

impl Reward for NumericMatch {
    fn name(&self) -> &str {
        "numeric_match"
    }

    fn range(&self) -> Range {
        Range::UNIT
    }

    fn invariances(&self) -> &[Invariance] {
        &self.invariances
    }

    fn score(&self, sample: Sample<'_>) -> Score {
        let Some(reference) = sample.reference else {
            return Score::Abstained("no reference to compare with".into());
        };
        let Some(wanted) = Number::read(reference, self.config.percent) else {
            return Score::Failed(format!("the reference {} is not a number", shown(reference)));
        };
        let answer = self.config.extraction.extract(sample.completion);
        let found = answer.and_then(|answer| Number::read(answer, self.config.percent));
        binary(found.is_some_and(|found| found.is_within(&wanted, &self.absolute, &self.relative)))
    }
}
