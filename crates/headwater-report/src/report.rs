//! From a run directory to its report: `report.json` and `report.html`. Rendering needs nothing but
//! the directory and the findings' code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use headwater_protocol::{
    Announcement, DeviceKind, Dropped, Event, Finding, FindingResult, Preset, RunOptions,
    RunResult, Verdict, results, write_beside,
};
use serde::Serialize;

use crate::{Chapter, Chart, Grid, Part, ReportError, html, svg};

/// A report: the schema of `report.json`.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of the protocol.
    pub version: String,
    /// How much was run.
    pub preset: Preset,
    /// Hash of the code that ran.
    pub code_version: String,
    /// Hash of the code that judged the records and wrote this report, where it is another.
    pub rendered_by: Option<String>,
    /// The compiler that built what ran.
    pub compiler: String,
    /// The instruction set of the machine it ran on.
    pub instructions: String,
    /// Where the cells computed.
    pub device: DeviceKind,
    /// Wall time of all cells together, whenever they ran: the cost on one core.
    pub seconds: f64,
    /// Wall time of the last command that ran cells.
    pub wall_seconds: f64,
    /// Cells run at a time by that command.
    pub jobs: usize,
    /// Cores of the machine it ran on.
    pub cores: usize,
    /// True if the number of seeds of some finding was named on the command line and is not the
    /// preset's own.
    pub seeds_by_hand: bool,
    /// Findings of an earlier run in this directory that do not belong to this one.
    pub dropped: Vec<Dropped>,
    /// The findings, in the order of the build.
    pub findings: Vec<FindingReport>,
}

impl Report {
    /// True if no verdict is invalid, every cell has its record, and every comparison, figure and
    /// table could be computed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.iter().map(|finding| &finding.found).all(|found| {
            found.verdict != Verdict::Invalid
                && found.failures.is_empty()
                && found.defects.is_empty()
        })
    }
}

/// One finding of a report.
#[derive(Debug, Serialize)]
pub struct FindingReport {
    /// What was found.
    #[serde(flatten)]
    pub found: FindingResult,
    /// Figures and tables that are left out because they show an arm without records.
    pub not_shown: Vec<String>,
    /// What differs from the published experiment.
    pub differs: Vec<String>,
    #[serde(skip)]
    pub(crate) parts: Vec<Shown>,
}

/// One part of a finding, drawn.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) heading: &'static str,
    pub(crate) figures: Vec<(String, Chart)>,
    pub(crate) tables: Vec<Grid>,
}

/// Plans the findings and claims asked for, runs the cells without a valid record
/// ([`headwater_protocol::run`]), and writes the report ([`render`]).
///
/// # Errors
/// Those of the two, and when a figure or table reads what no experiment provides; nothing was run
/// then.
pub fn run(
    chapters: &[Chapter],
    options: &RunOptions,
    announce: impl FnOnce(&[Announcement]),
    on_event: impl Fn(&Event<'_>) + Sync,
) -> Result<Report, ReportError> {
    for chapter in chapters {
        chapter.check(&options.settings)?;
    }
    let findings: Vec<&Finding> = chapters.iter().map(|chapter| &chapter.finding).collect();
    headwater_protocol::run(&findings, options, announce, on_event)?;
    render(chapters, &options.out, &options.build.code.workspace)
}

/// Renders the report of the run directory `out` from its records, and writes it there.
/// Comparisons, thresholds and rules are those of this build, `code_version`; where another one ran
/// the cells, the report says so.
///
/// # Errors
/// When the directory holds no run, or a run of findings that are not among `chapters`, or cannot
/// be read or written.
pub fn render(chapters: &[Chapter], out: &Path, code_version: &str) -> Result<Report, ReportError> {
    let findings: Vec<&Finding> = chapters.iter().map(|chapter| &chapter.finding).collect();
    let RunResult { version, preset, device, build, wall_seconds, jobs, cores, dropped, findings } =
        results(&findings, out)?;
    let show = |found: FindingResult| {
        let chapter = chapters.iter().find(|chapter| chapter.finding.id == found.id);
        shown(chapter.expect("results are of these findings only"), found)
    };
    let findings: Vec<FindingReport> = findings.into_iter().map(show).collect();
    let ran = build.code.workspace;
    let report = Report {
        version,
        preset,
        rendered_by: (ran != code_version).then(|| code_version.to_owned()),
        code_version: ran,
        compiler: build.compiler,
        instructions: build.instructions,
        device,
        seconds: findings.iter().map(|finding| finding.found.seconds).sum(),
        wall_seconds,
        jobs,
        cores,
        seeds_by_hand: findings.iter().any(|finding| finding.found.seeds_by_hand),
        dropped,
        findings,
    };
    let mut json = serde_json::to_string_pretty(&report).expect("a report is plain JSON data");
    json.push('\n');
    write_beside(out, "report.json", &json)?;
    write_beside(out, "report.html", &html::page(&report))?;
    Ok(report)
}

/// The finding with its figures and tables. What a missing cell takes with it is no defect of the
/// finding; anything else is.
fn shown(chapter: &Chapter, mut found: FindingResult) -> FindingReport {
    let (mut parts, mut not_shown, mut defects) = (Vec::new(), Vec::new(), Vec::new());
    if found.records.seeds().is_empty() {
        not_shown.push("figures and tables: no cell has a record".to_owned());
    } else {
        for part in &chapter.parts {
            // It only reads, so nothing half-changed outlives a panic.
            match catch_unwind(AssertUnwindSafe(|| drawn(part, &found))) {
                Ok((part, left_out, wrong)) => {
                    parts.push(part);
                    not_shown.extend(left_out);
                    defects.extend(wrong);
                }
                Err(_) => defects.push(format!("{}: drawing it panicked", part.heading)),
            }
        }
    }
    found.defects.extend(defects);
    let differs = chapter.differs.iter().map(|&text| text.to_owned()).collect();
    FindingReport { found, not_shown, differs, parts }
}

/// A part with what can be shown of it, what is left out, and what is wrong with it.
fn drawn(part: &Part, found: &FindingResult) -> (Shown, Vec<String>, Vec<String>) {
    let records = &found.records;
    let mut shown = Shown { heading: part.heading, figures: Vec::new(), tables: Vec::new() };
    let (mut left_out, mut wrong) = (Vec::new(), Vec::new());
    let mut unable = |kind: &str, title: &str, error: ReportError| {
        let of = if title.is_empty() { part.heading } else { title };
        let text = format!("{kind} “{of}”: {error}");
        let is_excused = matches!(&error, ReportError::Protocol(e) if found.is_excused(e));
        if is_excused { left_out.push(text) } else { wrong.push(text) }
    };
    for figure in part.each_figure(records) {
        let title = figure.as_ref().map(|figure| figure.title().to_owned()).unwrap_or_default();
        let drawn = figure.and_then(|figure| figure.chart(records));
        match drawn.and_then(|chart| Ok((svg::render(&chart)?, chart))) {
            Ok(drawn) => shown.figures.push(drawn),
            Err(error) => unable("figure", &title, error),
        }
    }
    for table in part.each_table(records) {
        let title = table.as_ref().map(|table| table.title().to_owned()).unwrap_or_default();
        match table.and_then(|table| table.grid(records)) {
            Ok(grid) => shown.tables.push(grid),
            Err(error) => unable("table", &title, error),
        }
    }
    wrong.extend(shown.tables.iter().flat_map(Grid::missing));
    (shown, left_out, wrong)
}
