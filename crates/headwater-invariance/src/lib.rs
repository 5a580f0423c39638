//! Property tests of a reward against counterfactual edits: changes to a sample that should not be
//! worth anything. Meant for tests; works on any reward, learned ones included.
//!
//! An invariance is one line:
//!
//! ```
//! use headwater_core::{Check, Sample, Score};
//! use headwater_invariance::{OwnedSample, assert_invariant, edits, given};
//! use headwater_rewards::{Extraction, NumericMatchConfig, PercentReading};
//!
//! let reward = NumericMatchConfig {
//!     extraction: Extraction::LastMarker("####".into()),
//!     absolute_tolerance: 0.0,
//!     relative_tolerance: 0.0,
//!     percent: PercentReading::Hundredth,
//! }
//! .check()?;
//! let samples = given([
//!     OwnedSample::new("How many?", "There are 40 and 2.\n#### 42", Some("42")),
//!     OwnedSample::new("How many?", "I would guess so.\n#### 7", Some("42")),
//! ]);
//! assert_invariant(&reward, samples.clone(), edits::flattering_prefix());
//!
//! // Any closure from a sample to a score will do. Asserted, this one would panic with the
//! // smallest pair that gives it away; here the pair is looked at.
//! let charmed =
//!     |s: Sample<'_>| Score::finite(if s.completion.contains("great") { 1.0 } else { 0.0 });
//! let outcome = headwater_invariance::find_violation(
//!     &charmed, samples, edits::flattering_prefix(), Default::default(),
//! )?;
//! let violation = outcome.violation().expect("flattery pays");
//! assert_eq!(violation.gap(), Some(1.0));
//! assert_eq!(violation.original.completion, "");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`given`] and [`prose`] make the samples, which shrink by dropping words of the completion;
//! - [`edits`] holds the edits, each of which shrinks too; [`Edit::new`] makes one from any
//!   proptest strategy;
//! - [`assert_invariant`] and [`find_violation`] are for deterministic rewards: a single pair that
//!   moves the score refutes the invariance, and is shrunk to the smallest;
//! - [`assert_declared_invariances`] tests everything a [`Reward`](headwater_rewards::Reward) declares;
//! - [`mean_gap`] and [`assert_mean_gap_within`] are for noisy rewards, where every pair moves a
//!   little.
//!
//! A test that never applied its edit, in which the reward always abstained, or of a reward that
//! declares nothing has tested nothing, and fails. A reward that fails on a sample before any edit
//! is reported as broken, whatever the edit.
//!
//! Invariants of this crate: no file or network access; randomness and settings are proptest's.
#![forbid(unsafe_code)]

mod check;
mod difference;
mod edit;
pub mod edits;
mod identity;
mod markup;
mod mean_gap;
mod numbers;
mod options;
mod sample;

pub use check::{
    InvarianceConfig, InvarianceReport, Outcome, Violation, assert_declared_invariances,
    assert_invariant, find_violation,
};
pub use edit::{Change, Edit};
pub use mean_gap::{
    MeanGapConfig, MeanGapReport, MeanGapVerdict, assert_mean_gap_within, mean_gap,
};
pub use sample::{OwnedSample, SampleStrategy, given, prose};
