//! Recommenders that learn from what they have shown: a simulated world of users and items, the loop of serving,
//! logging and retraining in it, what the loop does to exposure and to users, and the evaluation of one
//! policy on the log of another.
//!
//! - [`WorldConfig`]: what is true of items and users, how lists are examined (position-based, cascade, dependent click,
//!   trust bias, by device), what a click is worth afterwards. [`WorldConfig::a`] to [`WorldConfig::d`] and
//!   [`WorldConfig::conflict`] are the worlds measured in this project.
//! - [`Simulator`]: serves rounds of sessions into a [`Log`], a column for each thing, with true propensities.
//! - [`Ranker`]: what is to be plugged in; [`Popularity`] is the plainest. [`run`]: the loop, with an [`Arm`] for
//!   each way of serving, and [`RoundMetrics`].
//! - [`NeuralRanker`]: heads for clicks, likes and dwell on a network that shares a bottom or experts ([`Sharing`]), with one
//!   of the remedies for position bias ([`PositionConfig`]). [`synthetic`]: what sharing is worth where relatedness is known.
//! - [`metrics`], and [`PositionGraph`]: whether a log identifies the bias of positions at all. A [`BiasCurve`] is not
//!   to be had where it does not.
//! - [`off_policy`]: IPS and its clipped, self-normalised and doubly robust kin, with overlap and intervals, from a
//!   table of one's own.
//!
//! Invariants: no file or network access (a table is read from what the caller has opened), no clock, no environment.
//! Everything random draws from a stream handed in, and nothing a user draws depends on what the ranker did, so arms
//! served from the same streams are paired. A ranker sees the [`Catalogue`] and the log, never what is hidden in
//! [`Items`]. Serving allocates nothing per impression. No tensor library: networks run on the slice kernels.
//!
//! ```
//! use headwater_core::{Check, Streams};
//! use headwater_recsys::{Arm, LoopConfig, PopularityConfig, WorldConfig, run};
//!
//! let world = WorldConfig { items: 40, sessions: 300, ..WorldConfig::b() }.check()?;
//! let settings = LoopConfig::default().check()?;
//! let mut naive = PopularityConfig::default().check()?;
//! let mut corrected = PopularityConfig { propensities: true, ..Default::default() }.check()?;
//!
//! let streams = Streams::new(1);
//! let naive = run(&world, &streams, Arm::Retrained(&mut naive), &settings, |_| Ok(()))?;
//! let corrected = run(&world, &streams, Arm::Retrained(&mut corrected), &settings, |_| Ok(()))?;
//! // The first round is the same: the legacy prior serves it.
//! assert_eq!(naive[0], corrected[0]);
//! // Clicks at the top say little of quality unless they are held against how often one looks there.
//! assert!(naive[5].served.clicks.ratio() < corrected[5].served.clicks.ratio());
//! # Ok::<(), headwater_recsys::RecsysError>(())
//! ```
#![forbid(unsafe_code)]

mod error;
mod examination;
mod exploration;
mod feedback;
mod identifiability;
mod log;
pub mod metrics;
pub mod off_policy;
mod ranker;
mod simulator;
mod world;

pub use error::RecsysError;
pub use examination::{Examination, ExaminationConfig, ULTRA};
pub use exploration::{Exploration, ExplorationConfig};
pub use feedback::{Arm, LoopConfig, LoopSettings, Round, RoundMetrics, run};
pub use identifiability::{BiasCurve, PositionGraph, sign_buckets};
pub use log::{Head, Impression, Labels, Log, SessionRow};
pub use ranker::{
    Architecture, At, HeadConfig, LogShape, Multiplications, NetworkConfig, NeuralRanker,
    NeuralRankerConfig, NeuralRankerSettings, Popularity, PopularityConfig, PositionConfig,
    Propensities, Ranker, Requests, ServingPosition, Sharing, swap_propensities, synthetic,
};
pub use simulator::{Ranking, Served, Simulator, Utility};
pub use world::{Catalogue, DeviceConfig, Items, SatisfactionConfig, World, WorldConfig};
