//! How claims are measured: experiments, cells, records, verdicts.
//!
//! An [`Experiment`] plans its [`Cell`]s (one arm at one seed) and runs one cell at a time. A
//! [`Finding`] names experiments and the [`Claim`]s that they test; a claim's [`Contrast`]s and
//! [`Control`]s are constants of the code, each a [`Measure`] of what arms record. [`run`] runs the
//! cells that have no valid record, and [`results()`] judges the records by fixed rules
//! (`docs/protocol.md`). The crate `headwater-report` shows them. [`rule`] is the rule by which a
//! claim by itself is to be judged; no result uses it yet.
//!
//! Invariants:
//! - This crate reads and writes the run directory, and reads the clock for wall times, which stand
//!   beside the records and enter none; it reads no environment, uses no network, draws no random
//!   numbers and does not know the tensor library.
//! - A record is written atomically, is the same bytes on every run whatever the number of workers,
//!   and counts only as long as its key (finding, arm, seed, config, preset, device, the
//!   experiment's code, compiler, instruction set, and the keys of the cells it needs) is the one
//!   planned.
//! - A cell that fails or panics harms only the cells that need it, and is in the results.
//! - An arm or a metric that no experiment provides is refused when a run is planned.
//!
//! ```
//! use headwater_protocol::*;
//! use rand::RngExt;
//!
//! /// Two arms, and a second throw of every die.
//! struct Dice;
//!
//! const FAIR: Arm = Arm::new("fair");
//! const LOADED: Arm = Arm::new("loaded");
//! const MEAN: Scalar = Scalar::labelled("mean", "mean roll (eyes)");
//! const AGAIN: Scalar = Scalar::new("mean again");
//!
//! impl Experiment for Dice {
//!     fn id(&self) -> &'static str { "dice" }
//!     fn metrics(&self) -> Vec<Metric> { metrics![MEAN, AGAIN] }
//!     fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
//!         let arms = vec![ArmPlan::new(FAIR, &0.0)?, ArmPlan::new(LOADED, &0.2)?];
//!         Ok(Plan::of(settings.seed_range(5), arms))
//!     }
//!     fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
//!         let load: f64 = cell.config()?;
//!         let mean = |name: &str| {
//!             let mut rng = context.streams.stream(name, &[]);
//!             // A loaded die shows a six with that probability, else what a fair one would.
//!             let rolls = (0..1000).map(|_| {
//!                 let fair = (6.0 * rng.random::<f64>()).ceil();
//!                 if rng.random::<f64>() < load { 6.0 } else { fair }
//!             });
//!             rolls.sum::<f64>() / 1000.0
//!         };
//!         Ok(Metrics::new().scalar(&MEAN, mean("rolls")).scalar(&AGAIN, mean("again")).into())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let finding = Finding {
//!     id: "loaded-die",
//!     claim: "A loaded die rolls higher than a fair one.",
//!     source: "Folklore",
//!     experiments: vec![Box::new(Dice)],
//!     claims: vec![Claim {
//!         id: "loaded-die/higher",
//!         sentence: "A loaded die rolls higher than a fair one.",
//!         contrasts: vec![Contrast::increase("mean roll", MEAN.difference(LOADED, FAIR), 0.1)],
//!         // The cause is taken away: the same die, thrown twice.
//!         controls: vec![Control::new("fair - fair", MEAN.of(FAIR) - AGAIN.of(FAIR), 0.5)],
//!     }],
//!     further: vec![],
//!     controls: vec![],
//! };
//!
//! let out = tempfile::tempdir()?;
//! let options = RunOptions {
//!     settings: Settings { preset: Preset::Quick, seeds: None, device: DeviceKind::Flex },
//!     only: vec![],
//!     jobs: 2.try_into()?,
//!     build: Build::default(),
//!     out: out.path().into(),
//! };
//! run(&[&finding], &options, |_| (), |_| ())?;
//! let found = &results(&[&finding], out.path())?.findings[0];
//! assert_eq!(found.verdict, Verdict::Reproduced);
//! assert_eq!(found.contrasts[0].formula, "mean of loaded - mean of fair");
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod cell;
mod claim;
mod context;
mod effect;
mod error;
mod experiment;
mod finding;
mod manifest;
mod measure;
mod metrics;
mod names;
pub mod number;
mod records;
mod results;
pub mod rule;
mod run;
mod schedule;
mod settings;
mod store;
mod verdict;

pub use cell::{ArmPlan, Cell, Plan, SHOWN_SEEDS};
pub use claim::{Claim, Contrast, Control, Direction, Registered};
pub use context::{CellContext, CellOutcome};
pub use effect::Effect;
pub use error::ProtocolError;
pub use experiment::{CellError, Experiment, NotRun, by_reason};
pub use finding::{Finding, Known};
pub use manifest::{Dropped, Failure};
pub use measure::{Compute, Measure, Pair, Position, Read};
pub use metrics::Metrics;
pub use names::{Arm, Estimate, Metric, Scalar, Series};
pub use records::{Records, SeedRecords};
pub use results::{ClaimResult, FindingResult, RunResult, results, write_beside};
pub use run::{Announcement, CellAhead, RunOptions, run};
pub use schedule::{CellEvent, Event};
pub use settings::{Build, Code, DeviceKind, Preset, Settings};
pub use store::between_writes;
pub use verdict::{
    ContrastResult, ControlJudgement, ControlResult, FEWEST_SEEDS, Judgement, Omitted, Verdict,
};
