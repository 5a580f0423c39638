//! Generated tasks with exact verifiers, for policies small enough to train in seconds.
//!
//! Each module is one task: what is drawn from a named stream, its vocabulary, prompts,
//! demonstrations (imperfect where a base policy is to have something left to learn) and the
//! verifier.
//!
//! ```
//! use headwater_core::{Check, Sample, Score, Streams};
//! use headwater_rewards::Reward;
//! use headwater_tasks::countdown::{Puzzle, Split, verifier};
//!
//! let puzzle = Puzzle::draw(Split::HeldOut, &mut Streams::new(1).stream("puzzle", &[]));
//! let (prompt, verifier) = (puzzle.text(), verifier().check()?);
//! for answer in puzzle.solutions() {
//!     let sample =
//!         Sample { prompt: &prompt, completion: &answer, reference: Some(&prompt) };
//!     assert_eq!(verifier.score(sample), Score::Scored(1.0));
//! }
//! # Ok::<(), headwater_core::ConfigError>(())
//! ```
#![forbid(unsafe_code)]

pub mod budgeted_report;
pub mod chains;
pub mod countdown;
pub mod diluted_reference;
pub mod house_style;
pub mod lock;
pub mod masked_sum;
pub mod misconceptions;
pub mod operator;
pub mod topics;
pub mod two_sum;
