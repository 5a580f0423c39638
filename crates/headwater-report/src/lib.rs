//! Figures, tables and pages of what a run found.
//!
//! A [`Chapter`] says how a finding is shown: [`Figure`]s and [`Table`]s as data, in [`Part`]s.
//! They name arms and metrics, not numbers; so a misspelt name is found before anything runs, an
//! arm that was not run is left out and named, and how many seeds stand behind a number is counted,
//! not typed. [`run`] runs a build's chapters and writes one self-contained `report.html` and a
//! `report.json`.
//!
//! Nothing that a finding says enters the page unescaped, and the page needs no network.
//!
//! ```
//! use headwater_protocol::{Arm, Metrics, Records, Scalar, Series};
//! use headwater_report::{Along, Figure, Table};
//!
//! const ARMS: [Arm; 2] = [Arm::new("grpo"), Arm::new("ppo")];
//! const QUALITY: Scalar = Scalar::labelled("quality", "true quality");
//! const PATH: Series = Series::new("path/quality");
//!
//! let table = Table::of_arms("Every arm", "arm", ARMS, [QUALITY]);
//! let figure = Figure::lines("Quality on the way", "step", "true quality")
//!     .curves(&PATH, &Along::steps(), ARMS);
//!
//! # let records = Records::new((0..3).flat_map(|seed| ARMS.map(|arm| {
//! #     let metrics = Metrics::new().scalar(&QUALITY, seed as f64);
//! #     (arm, seed, metrics.series(&PATH, [0.0, seed as f64]))
//! # })));
//! let grid = table.grid(&records)?;
//! let svg = headwater_report::draw(&figure.chart(&records)?)?;
//! assert!(svg.starts_with("<svg"));
//! # Ok::<(), headwater_report::ReportError>(())
//! ```
#![forbid(unsafe_code)]

mod chart;
mod error;
mod figure;
mod grid;
mod html;
mod page;
mod report;
mod svg;
mod table;

pub use chart::{Chart, Point, Scale};
pub use error::ReportError;
pub use figure::{Along, ComputeSeries, Figure};
pub use grid::{Grid, GridValue};
pub use page::{Chapter, Part};
pub use report::{FindingReport, Report, render, run};
pub use svg::render as draw;
pub use table::{Column, LabelledArm, Table, Value};
