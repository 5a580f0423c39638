//! From a run directory to its report: reads the records, judges them, writes `report.json` and
//! `report.html`. Rendering needs nothing but the directory and the findings' code.

use std::path::Path;

use serde::Serialize;

use crate::manifest::{Manifest, PlannedFinding};
use crate::records::Record;
use crate::store::{CellName, Found, Store};
use crate::verdict::{Missing, Scope, judge};
use crate::{
    ContrastResult, ControlResult, DeviceKind, Dropped, Failure, Figure, Finding, NotRun, Omitted,
    Preset, ProtocolError, Records, Table, Verdict, html, svg,
};

/// A report: the schema of `report.json`.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this crate.
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
    /// True if the number of seeds of some finding was named on the command line and is not the preset's own.
    pub seeds_by_hand: bool,
    /// Findings of an earlier run in this directory that do not belong to this one.
    pub dropped: Vec<Dropped>,
    /// The findings, in the order of the build.
    pub findings: Vec<FindingReport>,
}

impl Report {
    /// True if no verdict is invalid, every cell has its record, and every comparison, figure and table
    /// could be computed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| {
            finding.verdict != Verdict::Invalid
                && finding.failures.is_empty()
                && finding.defects.is_empty()
        })
    }
}

/// One finding of a report.
#[derive(Debug, Serialize)]
pub struct FindingReport {
    /// Its id.
    pub id: String,
    /// The claim.
    pub claim: String,
    /// Who claims it.
    pub source: String,
    /// What the evidence says.
    pub verdict: Verdict,
    /// Why, in plain words.
    pub why: String,
    /// True if the number of seeds was named on the command line and is not the preset's own.
    pub seeds_by_hand: bool,
    /// The comparisons the claim is about.
    pub contrasts: Vec<ContrastResult>,
    /// The negative controls.
    pub controls: Vec<ControlResult>,
    /// Comparisons that read an arm which is not run.
    pub omitted: Vec<Omitted>,
    /// Arms that were not run.
    pub not_run: Vec<NotRun>,
    /// Cells that left no record.
    pub failures: Vec<Failure>,
    /// Comparisons, figures and tables that could not be computed although the records are there.
    pub defects: Vec<String>,
    /// Figures and tables that are left out because they show an arm without records.
    pub not_shown: Vec<String>,
    /// What differs from the published experiment.
    pub differs: Vec<String>,
    /// Cells planned.
    pub cells: usize,
    /// Wall time of its cells together, whenever they ran.
    pub seconds: f64,
    /// Name of the contrast that stands for the claim on the first page, measured or not.
    pub first_contrast: Option<String>,
    #[serde(skip)]
    pub(crate) figures: Vec<(String, Figure)>,
    #[serde(skip)]
    pub(crate) tables: Vec<Table>,
}

/// Renders the report of the run directory `out` from its records, and writes it there. Contrasts, thresholds
/// and rules are those of this build, `code_version`; where another one ran the cells, the report says so.
///
/// # Errors
/// When the directory holds no run, or a run of findings that are not among `findings`, or cannot be
/// read or written.
pub fn render(
    findings: &[Box<dyn Finding>],
    out: &Path,
    code_version: &str,
) -> Result<Report, ProtocolError> {
    let store = Store::open(out);
    let manifest = store.read_manifest()?;
    let mut reports = Vec::with_capacity(manifest.findings.len());
    for planned in &manifest.findings {
        let finding = findings.iter().find(|finding| finding.id() == planned.id);
        let finding = finding.ok_or_else(|| ProtocolError::UnknownFinding(planned.id.clone()))?;
        let preset = manifest.conditions.preset;
        reports.push(report_finding(finding.as_ref(), planned, preset, &store)?);
    }
    let Manifest { version, conditions, jobs, cores, wall_seconds, dropped, .. } = manifest;
    let ran = conditions.build.code_version;
    let report = Report {
        version,
        preset: conditions.preset,
        rendered_by: (ran != code_version).then(|| code_version.to_owned()),
        code_version: ran,
        compiler: conditions.build.compiler,
        instructions: conditions.build.instructions,
        device: conditions.device,
        seconds: reports.iter().map(|finding| finding.seconds).sum(),
        wall_seconds,
        jobs,
        cores,
        seeds_by_hand: reports.iter().any(|finding| finding.seeds_by_hand),
        dropped,
        findings: reports,
    };
    let mut json = serde_json::to_string_pretty(&report).expect("a report is plain JSON data");
    json.push('\n');
    store.write("report.json", &json)?;
    store.write("report.html", &html::page(&report))?;
    Ok(report)
}

/// What a finding's cells left on the disk.
struct Left {
    records: Records,
    /// Cells without a record; those that failed come before those that were only skipped.
    failures: Vec<Failure>,
    seconds: f64,
}

fn read_cells(planned: &PlannedFinding, store: &Store) -> Result<Left, ProtocolError> {
    let mut failures = planned.failures.clone();
    let mut cells = Vec::with_capacity(planned.cells.len());
    let mut seconds = 0.0;
    for cell in &planned.cells {
        let name =
            CellName { finding: &planned.id, arm: &cell.arm, seed: cell.seed, key: &cell.key };
        let missing = match store.read_record(name)? {
            Found::Whole(record) => {
                seconds += store.seconds(name).unwrap_or(0.0);
                let Record { arm, seed, metrics, .. } = *record;
                cells.push((arm, seed, metrics));
                continue;
            }
            Found::Absent => "it has no record yet".to_owned(),
            Found::Damaged(path, reason) => format!("{}: {reason}", path.display()),
        };
        if !failures.iter().any(|known| known.arm == cell.arm && known.seed == cell.seed) {
            let (arm, seed) = (cell.arm.clone(), cell.seed);
            failures.push(Failure { arm, seed, reason: missing, ran: false });
        }
    }
    failures.sort_by_key(|failure| !failure.ran);
    Ok(Left { records: Records::new(cells), failures, seconds })
}

/// Judges one finding from what its cells left.
pub(crate) fn report_finding(
    finding: &dyn Finding,
    planned: &PlannedFinding,
    preset: Preset,
    store: &Store,
) -> Result<FindingReport, ProtocolError> {
    let Left { records, failures, seconds } = read_cells(planned, store)?;
    let cells: Vec<(&str, u64)> =
        planned.cells.iter().map(|cell| (cell.arm.as_str(), cell.seed)).collect();
    let smoke = preset == Preset::Smoke;
    let scope = Scope { planned: &cells, not_run: &planned.not_run, smoke };
    let judged = judge(&finding.contrasts(), &finding.controls(), &records, scope);

    let problems = judged.contrasts.iter().map(|c| (&c.name, &c.problem));
    let problems = problems.chain(judged.controls.iter().map(|c| (&c.name, &c.problem)));
    let mut defects: Vec<String> = problems
        .filter_map(|(name, problem)| Some(format!("{name}: {}", problem.as_ref()?)))
        .collect();
    let Shown { figures, tables, not_shown } = shown(finding, &records, scope, &mut defects);
    Ok(FindingReport {
        id: planned.id.clone(),
        claim: finding.claim().to_owned(),
        source: finding.source().to_owned(),
        verdict: judged.verdict,
        why: judged.why,
        seeds_by_hand: planned.seeds_by_hand,
        first_contrast: finding.contrasts().first().map(|contrast| contrast.name.to_owned()),
        contrasts: judged.contrasts,
        controls: judged.controls,
        omitted: judged.omitted,
        not_run: planned.not_run.clone(),
        failures,
        defects,
        not_shown,
        differs: finding.differs().iter().map(|&text| text.to_owned()).collect(),
        cells: planned.cells.len(),
        seconds,
        figures,
        tables,
    })
}

struct Shown {
    figures: Vec<(String, Figure)>,
    tables: Vec<Table>,
    not_shown: Vec<String>,
}

/// Figures and tables. What a missing cell takes with it is no defect of the finding; anything else is.
fn shown(
    finding: &dyn Finding,
    records: &Records,
    scope: Scope<'_>,
    defects: &mut Vec<String>,
) -> Shown {
    let mut shown = Shown { figures: Vec::new(), tables: Vec::new(), not_shown: Vec::new() };
    if records.seeds().is_empty() {
        shown.not_shown.push("figures and tables: no cell has a record".to_owned());
        return shown;
    }
    let mut unable = |what: &str, error: ProtocolError| {
        let excused = match &error {
            ProtocolError::NoRecord { arm, seed } => {
                scope.why_missing(arm, *seed) != Missing::Unknown
            }
            _ => false,
        };
        let list = if excused { &mut shown.not_shown } else { &mut *defects };
        list.push(format!("{what}: {error}"));
    };
    let figures = finding.figures(records).and_then(|figures| {
        figures.into_iter().map(|figure| Ok((svg::render(&figure)?, figure))).collect()
    });
    match figures {
        Ok(figures) => shown.figures = figures,
        Err(error) => unable("figures", error),
    }
    let tables = finding.tables(records).and_then(|tables| {
        tables.iter().try_for_each(Table::check)?;
        Ok(tables)
    });
    match tables {
        Ok(tables) => {
            defects.extend(tables.iter().flat_map(Table::missing));
            shown.tables = tables;
        }
        Err(error) => unable("tables", error),
    }
    shown
}
