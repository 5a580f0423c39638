//! Rewards for being right *and* knowing it: correctness minus a proper scoring loss.
//!
//! Source: "Beyond Binary Rewards: Training LMs to Reason about Their Uncertainty" (RLCR, arXiv
//! 2507.16806). The reward of an answer with outcome c, stated with confidence q, is
//!
//! ```text
//! R = lambda * c - k * S(q, c)
//! ```
//!
//! For a fixed answer with success probability p, a proper S makes q = p the best statement. The
//! best expected reward is then `g(p) = lambda p - k H(p)`, with `H(p) = p S(p,1) + (1-p) S(p,0)`,
//! and by the envelope theorem `g'(p) = lambda - k (S(p,1) - S(p,0))`. Where g falls below g(0), a
//! deliberately wrong answer stated with q = 0 beats the best honest effort: the scheme is
//! *hackable*. g is convex (a maximum of functions linear in p), so this happens for p below a
//! single threshold, and happens at all exactly when g'(0) < 0. With a = lambda / k:
//!
//! | rule | S(0,1) - S(0,0) | hackable iff | below p = |
//! |---|---|---|---|
//! | Brier | 1 | k > lambda | 1 - a |
//! | spherical | 1 | k > lambda | 2 (1 - a) / (2 - a^2) |
//! | logarithmic | L = ln((1-clip)/clip) | k L > lambda | root; 0.6484 for a = 1, clip to 0 |
//!
//! So at lambda = k = 1 Brier and spherical sit exactly on the boundary: not hackable, but with
//! g'(0) = 0 they give almost no incentive to raise a very small p (g(p) = p^2 for Brier, p - 1 +
//! sqrt(p^2 + (1-p)^2) for spherical, which is p^2/2 to second order).

use headwater_core::{Check, ConfigError, Sample, Score, require, require_non_negative};
use serde::{Deserialize, Serialize};

use crate::confidence::ConfidenceFormat;
use crate::error::{RewardError, probability};
use crate::reward::{checked_score, is_near};
use crate::scoring_rules::ScoringRule;
use crate::shaping::TagFormat;
use crate::{Invariance, Range, Reward};

/// Config of a [`Scheme`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchemeConfig {
    /// lambda: what a right answer is worth, finite, at least 0. 0 trains calibration alone.
    pub correct_weight: f64,
    /// S: the scoring rule.
    pub rule: ScoringRule,
    /// k: the weight of its loss, finite, at least 0. 0 is the plain binary reward.
    pub rule_weight: f64,
}

impl SchemeConfig {
    /// RLCR: `c - (q - c)^2`.
    pub const RLCR: Self = Self { correct_weight: 1.0, rule: ScoringRule::Brier, rule_weight: 1.0 };
}

/// A checked `lambda * c - k * S(q, c)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scheme {
    lambda: f64,
    rule: ScoringRule,
    k: f64,
}

impl Check for SchemeConfig {
    type Checked = Scheme;

    fn check(self) -> Result<Scheme, ConfigError> {
        const CONFIG: &str = "SchemeConfig";
        let (lambda, k) = (self.correct_weight, self.rule_weight);
        require_non_negative(CONFIG, "correct_weight", lambda)?;
        require_non_negative(CONFIG, "rule_weight", k)?;
        self.rule.check_clip(CONFIG, "rule.clip")?;
        // Otherwise a missing confidence, which costs the most, would be a failure.
        let finite = (lambda + k * self.rule.loss_unchecked(1.0, false)).is_finite();
        require(finite, CONFIG, "rule_weight", k, "a number with which every reward is finite")?;
        Ok(Scheme { lambda, rule: self.rule, k })
    }
}

impl Scheme {
    /// `lambda * c - k * S(q, c)`.
    ///
    /// # Errors
    /// When `q` is not a probability.
    pub fn reward(&self, q: f64, correct: bool) -> Result<f64, RewardError> {
        Ok(self.reward_unchecked(probability("q", q)?, correct))
    }

    /// The expected reward of stating `q` for an answer that is right with probability `p`.
    ///
    /// # Errors
    /// When `q` or `p` is not a probability.
    pub fn expected_reward(&self, q: f64, p: f64) -> Result<f64, RewardError> {
        let (q, p) = (probability("q", q)?, probability("p", p)?);
        Ok(self.lambda * p - self.k * self.rule.expected_loss_unchecked(q, p))
    }

    /// g(p): the expected reward of an answer that is right with probability `p`, stated with the
    /// best q (which is p).
    ///
    /// # Errors
    /// When `p` is not a probability.
    pub fn best_expected_reward(&self, p: f64) -> Result<f64, RewardError> {
        self.expected_reward(p, p)
    }

    /// g'(p): how much a unit of success probability is worth at `p`. Negative where trying less
    /// hard pays.
    ///
    /// For the clipped logarithmic rule at a clipped p this is the slope of the clipped rule.
    ///
    /// # Errors
    /// When `p` is not a probability.
    pub fn incentive(&self, p: f64) -> Result<f64, RewardError> {
        let p = probability("p", p)?;
        let spread = self.rule.loss_unchecked(p, true) - self.rule.loss_unchecked(p, false);
        Ok(self.lambda - self.k * spread)
    }

    /// Whether there are success probabilities at which a deliberately wrong answer with q = 0
    /// beats the best honest one.
    #[must_use]
    pub fn is_hackable(&self) -> bool {
        self.hackable_below().is_some()
    }

    /// The success probability below which [`Scheme::is_hackable`]'s wrong answer wins, in (0, 1];
    /// `None` when it never does.
    #[must_use]
    pub fn hackable_below(&self) -> Option<f64> {
        // g'(0) >= 0 and g convex: never below g(0). Three times 0.1 is no more than 0.3.
        let spread = self.rule.loss_unchecked(0.0, true) - self.rule.loss_unchecked(0.0, false);
        if self.k * spread <= self.lambda * (1.0 + 1e-12) {
            return None;
        }
        let a = self.lambda / self.k;
        Some(match self.rule {
            ScoringRule::Brier => 1.0 - a,
            ScoringRule::Spherical => 2.0 * (1.0 - a) / (2.0 - a * a),
            ScoringRule::Logarithmic { .. } => self.logarithmic_threshold(),
        })
    }

    /// The root above 0 of the convex g(p) - g(0), by bisection to the last bit; 1 when honesty
    /// never wins.
    fn logarithmic_threshold(&self) -> f64 {
        let at_zero = self.rule.loss_unchecked(0.0, false);
        let gain =
            |p: f64| self.lambda * p - self.k * (self.rule.expected_loss_unchecked(p, p) - at_zero);
        if gain(1.0) <= 0.0 {
            return 1.0;
        }
        let (mut low, mut high) = (0.5_f64, 1.0_f64);
        // g(p) - g(0) < 0 just above 0; halve until the lower end is inside the hackable interval.
        while gain(low) >= 0.0 && low > f64::MIN_POSITIVE {
            high = low;
            low /= 2.0;
        }
        for _ in 0..64 {
            let middle = f64::midpoint(low, high);
            if gain(middle) < 0.0 { low = middle } else { high = middle }
        }
        high
    }

    /// The interval of rewards.
    #[must_use]
    pub fn range(&self) -> Range {
        // Losses rise as the statement moves away from the outcome, so the extremes are at the
        // corners.
        let corners = [(0.0, false), (0.0, true), (1.0, false), (1.0, true)]
            .map(|(q, correct)| self.reward_unchecked(q, correct));
        let low = corners.into_iter().fold(f64::INFINITY, f64::min);
        let high = corners.into_iter().fold(f64::NEG_INFINITY, f64::max);
        Range::spanning(low, high)
    }

    fn reward_unchecked(&self, q: f64, correct: bool) -> f64 {
        let outcome = if correct { self.lambda } else { 0.0 };
        // No negative zero.
        outcome - self.k * self.rule.loss_unchecked(q, correct) + 0.0
    }
}

/// A verifier's verdict on an answer together with its stated confidence.
struct Verdict {
    correct: bool,
    confidence: Option<f64>,
}

/// Asks `verifier` about the part of the completion that holds the answer. The error is the score
/// to return instead.
fn verdict(
    verifier: &dyn Reward,
    format: &ConfidenceFormat,
    sample: Sample<'_>,
) -> Result<Verdict, Score> {
    let statement = format.parse(sample.completion);
    match checked_score(verifier, Sample { completion: statement.answer, ..sample }) {
        Score::Scored(value) if is_near(value, 0.0) || is_near(value, 1.0) => {
            Ok(Verdict { correct: is_near(value, 1.0), confidence: statement.confidence })
        }
        Score::Scored(value) => Err(Score::Failed(format!(
            "`{}` must say 0 or 1 to be calibrated against, and said {value}",
            verifier.name()
        ))),
        other => Err(other),
    }
}

fn require_verifier(composite: &'static str, verifier: &dyn Reward) -> Result<(), RewardError> {
    let range = verifier.range();
    if range.contains(0.0) && range.contains(1.0) {
        return Ok(());
    }
    Err(RewardError::Part {
        composite,
        index: 0,
        part: verifier.name().to_owned(),
        field: "range",
        value: range.to_string(),
        allowed: "a range that holds 0 and 1, the two verdicts",
    })
}

fn verdict_invariances(verifier: &dyn Reward, format: &ConfidenceFormat) -> Vec<Invariance> {
    let mut kept = verifier.invariances().to_vec();
    kept.retain(|invariance| format.keeps(*invariance));
    kept
}

/// The reward `lambda * c - k * S(q, c)` of a completion, c from a verifier and q read from the
/// text.
///
/// A missing or malformed confidence takes the lowest value of the range, so leaving it out never
/// pays. The verifier's abstentions and failures pass through; a verdict other than 0 or 1 (up to
/// 1e-9, which a weighted sum may miss them by) is a failure.
pub struct CalibratedReward {
    verifier: Box<dyn Reward>,
    format: ConfidenceFormat,
    scheme: Scheme,
    invariances: Vec<Invariance>,
}

impl CalibratedReward {
    /// A calibrated reward from a `verifier` that says 0 or 1 about the answer.
    ///
    /// # Errors
    /// A verifier whose declared range does not hold 0 and 1; a malformed format.
    pub fn new(
        verifier: impl Reward + 'static,
        format: ConfidenceFormat,
        scheme: Scheme,
    ) -> Result<Self, RewardError> {
        require_verifier("CalibratedReward", &verifier)?;
        format.require("CalibratedReward")?;
        let invariances = verdict_invariances(&verifier, &format);
        Ok(Self { verifier: Box::new(verifier), format, scheme, invariances })
    }
}

impl Reward for CalibratedReward {
    fn name(&self) -> &str {
        "calibrated"
    }

    fn range(&self) -> Range {
        self.scheme.range()
    }

    fn invariances(&self) -> &[Invariance] {
        &self.invariances
    }

    fn score(&self, sample: Sample<'_>) -> Score {
        match verdict(&*self.verifier, &self.format, sample) {
            Ok(Verdict { correct, confidence: Some(q) }) => {
                Score::finite(self.scheme.reward_unchecked(q, correct))
            }
            Ok(Verdict { confidence: None, .. }) => Score::finite(self.scheme.range().low()),
            Err(score) => score,
        }
    }
}

/// The reward of RLCR's released code, `0.5 f + 0.5 c + 0.5 (1 - (q - c)^2)`, in [0, 1.5], where f
/// = 1 when the completion has the required tags and a readable confidence, and everything is 0
/// when f = 0.
///
/// Where f = 1 this is `1 + R/2` with R of [`SchemeConfig::RLCR`]: the same incentives inside
/// well-formed completions, plus a bonus of 1 for the format before anything is right.
pub struct RlcrCodeReward {
    verifier: Box<dyn Reward>,
    tags: TagFormat,
    format: ConfidenceFormat,
    invariances: Vec<Invariance>,
}

impl RlcrCodeReward {
    /// The code's reward from a `verifier` that says 0 or 1 about the answer.
    ///
    /// # Errors
    /// A verifier whose declared range does not hold 0 and 1; a malformed format.
    pub fn new(
        verifier: impl Reward + 'static,
        tags: TagFormat,
        format: ConfidenceFormat,
    ) -> Result<Self, RewardError> {
        require_verifier("RlcrCodeReward", &verifier)?;
        format.require("RlcrCodeReward")?;
        let mut invariances = verdict_invariances(&verifier, &format);
        invariances.retain(|invariance| tags.invariances().contains(invariance));
        Ok(Self { verifier: Box::new(verifier), tags, format, invariances })
    }
}

impl Reward for RlcrCodeReward {
    fn name(&self) -> &str {
        "rlcr_code"
    }

    fn range(&self) -> Range {
        Range::spanning(0.0, 1.5)
    }

    fn invariances(&self) -> &[Invariance] {
        &self.invariances
    }

    fn score(&self, sample: Sample<'_>) -> Score {
        let verdict = match verdict(&*self.verifier, &self.format, sample) {
            Ok(verdict) => verdict,
            Err(score) => return score,
        };
        let (true, Some(q)) = (self.tags.is_met(sample.completion), verdict.confidence) else {
            return Score::Scored(0.0);
        };
        let correct = f64::from(u8::from(verdict.correct));
        let loss = ScoringRule::Brier.loss_unchecked(q, verdict.correct);
        Score::finite(0.5 + 0.5 * correct + 0.5 * (1.0 - loss))
    }
}
