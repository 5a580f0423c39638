//! How a finding is measured: plan, cells, records, verdicts, report.
//!
//! A [`Finding`] states a claim, plans its [`Cell`]s (one arm at one seed), runs one cell at a time, and
//! names its [`Contrast`]s and [`Control`]s in the code, each with when it was fixed. [`run`] does the rest: it runs the
//! cells that have no valid record, judges the records by fixed rules (`docs/protocol.md`), and writes one
//! self-contained report.
//!
//! Invariants:
//! - This crate reads and writes the run directory, and reads the clock for wall times, which stand beside the
//!   records and enter none; it reads no environment, uses no network, draws no random numbers and does not
//!   know the tensor library.
//! - A record is written atomically, is the same bytes on every run whatever the number of workers, and
//!   counts only as long as its key (finding, arm, seed, config, preset, device, code version, compiler,
//!   instruction set, and the keys of the cells it needs) is the one planned.
//! - A cell that fails or panics harms only the cells that need it, and is in the report.
//! - Nothing a finding says enters the report unescaped.
//!
//! ```
//! use headwater_protocol::*;
//! use rand::RngExt;
//!
//! /// Does a loaded die roll higher? Two arms, and a control that compares the fair die with itself.
//! struct LoadedDie;
//!
//! impl Finding for LoadedDie {
//!     fn id(&self) -> &'static str { "loaded-die" }
//!     fn claim(&self) -> &'static str { "A loaded die rolls higher than a fair one." }
//!     fn source(&self) -> &'static str { "Folklore" }
//!     fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
//!         let mut plan = Plan::default();
//!         for seed in settings.seed_range(5) {
//!             plan.cells.push(Cell::new(self.id(), "fair", seed, &0.0)?);
//!             plan.cells.push(Cell::new(self.id(), "loaded", seed, &0.2)?);
//!         }
//!         Ok(plan)
//!     }
//!     fn run(&self, cell: &Cell, workbench: &Workbench) -> Result<Outcome, CellError> {
//!         let load: f64 = cell.config()?;
//!         let mut rolls = workbench.streams.stream("rolls", &[]);
//!         let mut again = workbench.streams.stream("again", &[]);
//!         // A loaded die shows a six with that probability, else what a fair one would.
//!         let roll = |rng: &mut headwater_core::StreamRng| -> f64 {
//!             let fair = (6.0 * rng.random::<f64>()).ceil();
//!             if rng.random::<f64>() < load { 6.0 } else { fair }
//!         };
//!         let mean = |rng: &mut headwater_core::StreamRng| {
//!             (0..1000).map(|_| roll(rng)).sum::<f64>() / 1000.0
//!         };
//!         let metrics = Metrics::new().scalar("mean", mean(&mut rolls));
//!         Ok(metrics.scalar("mean again", mean(&mut again)).into())
//!     }
//!     fn contrasts(&self) -> Vec<Contrast> {
//!         vec![Contrast {
//!             name: "mean: loaded - fair",
//!             direction: Direction::Increase,
//!             smallest_effect: 0.1,
//!             registered: Registered::Before,
//!             published: None,
//!             attainable: None,
//!             per_seed: |seed| seed.difference("mean", "loaded", "fair"),
//!         }]
//!     }
//!     fn controls(&self) -> Vec<Control> {
//!         vec![Control {
//!             name: "mean: fair - fair, rolled again",
//!             margin: 0.5,
//!             per_seed: |seed| Ok(seed.scalar("fair", "mean")? - seed.scalar("fair", "mean again")?),
//!         }]
//!     }
//!     fn figures(&self, records: &Records) -> Result<Vec<Figure>, ProtocolError> {
//!         let arms = ["fair", "loaded"];
//!         let effects = arms.map(|arm| records.effect(arm, "mean"));
//!         let effects = effects.into_iter().collect::<Result<Vec<_>, _>>()?;
//!         let n = records.seeds().len();
//!         Ok(vec![Figure::dots("Mean roll", arms, "eyes", n).by_category("mean", effects)])
//!     }
//!     fn tables(&self, _: &Records) -> Result<Vec<Table>, ProtocolError> { Ok(vec![]) }
//!     fn differs(&self) -> &'static [&'static str] { &[] }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let out = tempfile::tempdir()?;
//! let options = RunOptions {
//!     settings: Settings { preset: Preset::Quick, seeds: None, device: DeviceKind::Flex },
//!     only: vec![],
//!     jobs: 2.try_into()?,
//!     build: Build { code_version: "example".into(), ..Build::default() },
//!     out: out.path().into(),
//! };
//! let report = run(&[Box::new(LoadedDie)], &options, |_| (), |_| ())?;
//! assert_eq!(report.findings[0].verdict, Verdict::Reproduced);
//! assert!(out.path().join("report.html").exists());
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod cell;
mod effect;
mod error;
mod figure;
mod finding;
mod html;
mod manifest;
mod number;
mod records;
mod report;
mod run;
mod schedule;
mod settings;
mod store;
mod svg;
mod table;
mod thinning;
mod verdict;

pub use cell::{Cell, Metrics, Outcome, Plan, Workbench};
pub use effect::Effect;
pub use error::ProtocolError;
pub use figure::{Figure, Point, Scale};
pub use finding::{
    CellError, Contrast, Control, Direction, Finding, NotRun, PerSeed, Registered, by_reason,
};
pub use manifest::{Dropped, Failure};
pub use records::{Records, SeedRecords};
pub use report::{FindingReport, Report, render};
pub use run::{Announcement, CellAhead, RunOptions, run};
pub use schedule::{Event, Happening};
pub use settings::{Build, DeviceKind, Preset, Settings};
pub use store::between_writes;
pub use table::{Table, TableValue};
pub use thinning::arms_read;
pub use verdict::{
    ContrastResult, ControlJudgement, ControlResult, FEWEST_SEEDS, Judgement, Omitted, Verdict,
};
