//! Rewards for training language policies.
//!
//! - *Verifiable*: [`ExactMatch`], [`NumericMatch`], [`ArithmeticMatch`], [`Countdown`].
//! - *Calibrated*: correctness minus a proper scoring loss ([`CalibratedReward`]), with the theorem
//!   that tells which such schemes can be hacked ([`Scheme::hackable_below`]).
//! - *Shaping*: [`TagFormat`], [`LengthPenalty`], [`CosineLength`], [`RepetitionPenalty`].
//! - *Composite*: [`Mixture`], and rubrics as a dense score ([`Rubric`]), a gate on completions
//!   ([`RubricGate`]) and a gate on groups ([`GroupGate`]).
//! - *From a reference*: how sure a model is of the reference after a chain of thought, weighed by what
//!   reflects the chain (R3, [`ReferenceReward`]), and which groups are worth a gradient ([`SpreadFilter`]).
//!
//! Every reward declares the edits that do not move it ([`Invariance`]); the crate
//! `headwater-invariance` tests them, for these rewards and for anybody's.
//!
//! Invariants of this crate: no file or network access, no clock, no environment, no randomness.
//! Model text is never executed; parsers are linear or bounded by stated limits, use no backtracking, and no
//! input makes them panic. A reward keeps no state between samples. A missing reference is an
//! abstention and an unreadable one a failure, neither of them a silent 0; malformed *model* output
//! is scored as wrong. Learned rewards are not here.
//!
//! ```
//! use headwater_core::{Check, Group, Score};
//! use headwater_rewards::{
//!     CalibratedReward, ConfidenceFormat, ConfidencePlace, ConfidenceScale, Extraction,
//!     NumericMatchConfig, PercentReading, SchemeConfig, score_group,
//! };
//!
//! // RLCR: correctness minus the Brier loss of the stated confidence. Completions: `42 @ 0.8`.
//! let verifier = NumericMatchConfig {
//!     extraction: Extraction::Whole,
//!     absolute_tolerance: 0.0,
//!     relative_tolerance: 0.0,
//!     percent: PercentReading::Hundredth,
//! };
//! let format = ConfidenceFormat {
//!     place: ConfidencePlace::AfterMarker("@".into()),
//!     scale: ConfidenceScale::Unit,
//! };
//! let reward = CalibratedReward::new(verifier.check()?, format, SchemeConfig::RLCR.check()?)?;
//!
//! let group = Group {
//!     prompt: "6 * 7 =".into(),
//!     reference: Some("42".into()),
//!     completions: ["42 @ 1", "41 @ 0", "41 @ 1", "42"].map(String::from).to_vec(),
//! };
//! let rewards: Vec<_> = score_group(&reward, &group).iter().map(Score::value).collect();
//! // The last one states no confidence, which takes the lowest value.
//! assert_eq!(rewards, [Some(1.0), Some(0.0), Some(-1.0), Some(-1.0)]);
//!
//! // Doubling the Brier weight makes it hackable: where success is less likely than 1/2, garbage
//! // at confidence 0 pays better than trying.
//! let doubled = SchemeConfig { rule_weight: 2.0, ..SchemeConfig::RLCR }.check()?;
//! assert_eq!(doubled.hackable_below(), Some(0.5));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod arithmetic;
mod calibrated;
mod confidence;
mod countdown;
mod decimal;
mod error;
mod extraction;
mod forms;
mod group_filters;
pub mod inserted;
mod latex;
mod mixture;
mod number;
pub mod numeral;
mod rational;
mod reflective;
mod reward;
mod rubric;
mod scoring_rules;
mod shaping;
mod verifiable;

pub use arithmetic::{
    ArithmeticMatch, ArithmeticMatchConfig, Evaluation, ExpressionLimits, evaluate,
};
pub use calibrated::{CalibratedReward, RlcrCodeReward, Scheme, SchemeConfig};
pub use confidence::{ConfidenceFormat, ConfidencePlace, ConfidenceScale, Statement};
pub use countdown::{Countdown, CountdownConfig, CountdownPuzzle, NumberUse};
pub use error::RewardError;
pub use extraction::Extraction;
pub use forms::{FORMS, Form};
pub use group_filters::{
    SpreadFilter, SpreadFilterConfig, informative_prompts, too_hard, top_spread,
};
pub use mixture::{Component, Mixture};
pub use number::{PercentReading, parse_number};
pub use rational::Rational;
pub use reflective::{
    Certainty, ReferenceReward, ReferenceRewardConfig, ReferenceScores, Weighting, length_term,
    less_masked, repair_by_decay,
};
pub use reward::{
    Invariance, Range, Reward, WhenAbstained, check_scores, checked_score, score_batch, score_group,
};
pub use rubric::{
    Criterion, GroupDecision, GroupGate, GroupGateConfig, MetByKind, Presence, Requirement, Rubric,
    RubricGate, WhenClosed,
};
pub use scoring_rules::ScoringRule;
pub use shaping::{
    CosineCurve, CosineCurveConfig, CosineLength, LengthPenalty, LengthPenaltyConfig, LengthUnit,
    RepetitionPenalty, RepetitionPenaltyConfig, TagFormat, TagFormatConfig,
};
pub use verifiable::{
    ExactMatch, ExactMatchConfig, Normalisation, NumericMatch, NumericMatchConfig,
};
