//! Rewards that compare an answer with a reference: exact match and numeric match.
//!
//! All verifiers (these, [`ArithmeticMatch`](crate::ArithmeticMatch) and
//! [`Countdown`](crate::Countdown)) score 1 for a right answer and 0 for a wrong, missing or
//! malformed one, abstain without a reference, and fail on a reference they cannot read, which is
//! the data's fault and not the policy's.

use headwater_core::{Check, ConfigError, Sample, Score, require, require_non_negative};
use serde::{Deserialize, Serialize};

use crate::extraction::Extraction;
use crate::numeral::{numeral_length, without_grouping};
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
    /// the SQuAD script, under which `-5` equals `5` and `3.14` equals `314`.
    pub drop_punctuation: bool,
    /// Drop the words a, an and the, unless nothing else remains: the option `A` stays an answer.
    /// (The SQuAD script reduces it to nothing, which equals any other empty answer.)
    pub drop_articles: bool,
}

impl Normalisation {
    /// Whitespace only.
    pub const SPACES: Self =
        Self { lower_case: false, drop_punctuation: false, drop_articles: false };

    /// The steps of the SQuAD and HotpotQA evaluation (Rajpurkar et al. 2016), with the two repairs
    /// described at the fields.
    pub const QUESTION_ANSWERING: Self =
        Self { lower_case: true, drop_punctuation: true, drop_articles: true };

    /// `text` in normal form; empty when nothing but dropped parts remain.
    #[must_use]
    pub fn apply(self, text: &str) -> String {
        let mut kept = String::with_capacity(text.len());
        let mut characters = text.chars().peekable();
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
            return Score::Failed(format!("the reference {reference:?} normalises to nothing"));
        }
        let answer = self.config.extraction.extract(sample.completion);
        binary(answer.is_some_and(|answer| self.config.normalisation.apply(answer) == wanted))
    }
}

/// What a percent sign means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PercentReading {
    /// `5%` is 0.05.
    Hundredth,
    /// `5%` is 5: for references given in percent.
    Ignored,
}

/// The longest text, in bytes after trimming, that is read as a number.
const LONGEST_NUMBER: usize = 128;

/// Reads all of `text` as one number; `None` when it is not one, or not finite as `f64`.
///
/// Grammar: `[sign][currency]decimal[exponent][%]` or `[sign]decimal/decimal[%]`, where a decimal
/// is `12`, `1,234.5` or `.5`, a sign is `+`, `-` or `−`, a currency one of `$ € £`, and an
/// exponent `e` with an optional sign and up to three digits. Around it, whitespace, markdown marks
/// (`* _ #` and backticks), currency and a final full stop are ignored. No units, no words, no
/// mixed numbers, no spaces inside. Values are `f64`: whole numbers beyond 2^53 are rounded.
#[must_use]
pub fn parse_number(text: &str, percent: PercentReading) -> Option<f64> {
    let decoration = |c: char| c.is_whitespace() || "*_#`$€£".contains(c);
    let text = text.trim_matches(decoration).trim_end_matches('.').trim_end_matches(decoration);
    if text.len() > LONGEST_NUMBER {
        return None;
    }
    let (negative, rest) = match text.strip_prefix(['-', '−']) {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let rest = rest.strip_prefix(['$', '€', '£']).unwrap_or(rest);
    let (magnitude, rest) = take_decimal(rest)?;
    let (magnitude, rest) = match rest.strip_prefix('/') {
        Some(divisor) => {
            let (divisor, rest) = take_decimal(divisor)?;
            (magnitude / divisor, rest)
        }
        None => take_exponent(magnitude, rest)?,
    };
    let (magnitude, rest) = match (rest.strip_prefix('%'), percent) {
        (Some(rest), PercentReading::Hundredth) => (magnitude / 100.0, rest),
        (Some(rest), PercentReading::Ignored) => (magnitude, rest),
        (None, _) => (magnitude, rest),
    };
    let value = if negative { -magnitude } else { magnitude };
    // A division by zero and an exponent too large end here.
    (rest.is_empty() && value.is_finite()).then_some(value)
}

fn take_decimal(text: &str) -> Option<(f64, &str)> {
    let (numeral, rest) = text.split_at(numeral_length(text));
    // An empty numeral does not parse.
    Some((without_grouping(numeral).parse().ok()?, rest))
}

fn take_exponent(mantissa: f64, text: &str) -> Option<(f64, &str)> {
    let Some(after) = text.strip_prefix(['e', 'E']) else { return Some((mantissa, text)) };
    let sign = usize::from(after.starts_with(['+', '-']));
    let digits = after[sign..].bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=3).contains(&digits) {
        return None;
    }
    let (exponent, rest) = after.split_at(sign + digits);
    // Through the parser, not `powi`: correctly rounded, so `1e-3` is the same number as `0.001`.
    let value = format!("{mantissa}e{exponent}").parse().ok()?;
    Some((value, rest))
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
/// Numbers are read by [`parse_number`]. An answer holding more than one number is wrong: listing
/// candidates never pays.
#[derive(Debug, Clone)]
pub struct NumericMatch {
    config: NumericMatchConfig,
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
        Ok(NumericMatch { config: self, invariances })
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
        let Some(wanted) = parse_number(reference, self.config.percent) else {
            return Score::Failed(format!("the reference {reference:?} is not a number"));
        };
        let answer = self.config.extraction.extract(sample.completion);
        let found = answer.and_then(|answer| parse_number(answer, self.config.percent));
        let tolerance =
            self.config.absolute_tolerance.max(self.config.relative_tolerance * wanted.abs());
        binary(found.is_some_and(|found| (found - wanted).abs() <= tolerance))
    }
}
