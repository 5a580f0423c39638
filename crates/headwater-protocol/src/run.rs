//! One run: plan, execute, report.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::cell::{Conditions, seeds_of};
use crate::manifest::{Failure, Manifest, PlannedCell, PlannedFinding};
use crate::report::{Report, render, report_finding};
use crate::schedule::{Ending, Event, Job, Surroundings, execute, reusable};
use crate::settings::MOST_SEEDS;
use crate::store::Store;
use crate::thinning::comparisons;
use crate::{Build, Finding, FindingReport, NotRun, Plan, ProtocolError, Settings};

/// How and where to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// What the findings plan from.
    pub settings: Settings,
    /// Ids of the findings to run; all of them where it is empty.
    pub only: Vec<String>,
    /// Cells at a time.
    pub jobs: NonZeroUsize,
    /// What computes; records of another build do not count.
    pub build: Build,
    /// The run directory.
    pub out: PathBuf,
}

/// A finding of a run before it begins, for progress.
#[derive(Debug, Clone, PartialEq)]
pub struct Announcement {
    /// Id of the finding.
    pub finding: String,
    /// The cells of its plan, in the order in which they are started.
    pub cells: Vec<CellAhead>,
    /// Arms that are not run, with the reason.
    pub not_run: Vec<NotRun>,
    /// Contrasts and controls.
    pub comparisons: usize,
    /// Those of them that read an arm which is not run.
    pub omitted: usize,
}

/// A cell before the run begins.
#[derive(Debug, Clone, PartialEq)]
pub struct CellAhead {
    /// Name of the arm.
    pub arm: String,
    /// Its valid record is there already.
    pub is_there: bool,
    /// Mean wall time of cells of this arm that ran in this directory under the same preset and on
    /// the same device, whatever code ran them, in seconds; `None` where there is none.
    pub seconds: Option<f64>,
}

/// Plans the findings asked for, runs the cells without a valid record, and writes the report.
///
/// `findings` are all that this build has. `announce` is called once, after planning and before
/// the first cell; `on_event` from the workers' threads. The same call again goes on where a
/// killed one stopped. Other findings that the directory holds from a run under the same
/// conditions stay in its report; those from a run under other conditions leave it, and the
/// report says so ([`Report::dropped`]).
///
/// # Errors
/// When a plan is not valid, the directory holds something else than a run
/// ([`ProtocolError::is_usage`]), or it cannot be read or written; records written before stay
/// whole. A failed cell is not an error here but in the report: see [`Report::is_clean`].
pub fn run(
    findings: &[Box<dyn Finding>],
    options: &RunOptions,
    announce: impl FnOnce(&[Announcement]),
    on_event: impl Fn(&Event<'_>) + Sync,
) -> Result<Report, ProtocolError> {
    let started = Instant::now();
    let Settings { preset, device, .. } = options.settings;
    let conditions = Conditions { preset, device, build: options.build.clone() };
    let planned = plan(&selected(findings, &options.only)?, &options.settings, &conditions)?;
    let jobs = jobs(&planned);

    let (store, previous) = Store::create(&options.out)?;
    let ran: Vec<&str> = planned.iter().map(Planned::id).collect();
    let known: Vec<&str> = findings.iter().map(|finding| finding.id()).collect();
    let (others, dropped) = previous.beside(&conditions, &ran, &known);
    let mut manifest = Manifest {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        conditions,
        jobs: options.jobs.get(),
        cores: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        wall_seconds: 0.0,
        findings: planned.iter().map(Planned::for_manifest).chain(others).collect(),
        dropped,
    };
    manifest.findings.sort_by_key(|finding| known.iter().position(|id| *id == finding.id));
    // Before the first cell, so that a killed run can be reported on.
    store.write_manifest(&manifest)?;
    let there = reusable(&jobs, &store, &on_event)?;
    announce(&announcements(&planned, &there, &store, &options.settings));

    let failures: Mutex<Vec<(String, Vec<Failure>)>> = Mutex::default();
    let judged = |id: &str, failed: Vec<Failure>| {
        if let Some(report) = early_report(findings, &manifest, id, &failed, &store) {
            on_event(&Event::Judged(&report));
        }
        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.push((id.to_owned(), failed));
    };
    for planned in planned.iter().filter(|planned| planned.plan.cells.is_empty()) {
        judged(planned.id(), Vec::new());
    }
    let around = Surroundings {
        store: &store,
        conditions: &manifest.conditions,
        on_event: &on_event,
        on_last: &judged,
    };
    execute(&jobs, there, options.jobs, around)?;
    for (id, failed) in failures.into_inner().unwrap_or_else(PoisonError::into_inner) {
        if let Some(finding) = manifest.findings.iter_mut().find(|finding| finding.id == id) {
            finding.failures = failed;
        }
    }
    manifest.wall_seconds = started.elapsed().as_secs_f64();
    store.write_manifest(&manifest)?;
    render(findings, &options.out, &options.build.code_version)
}

/// Those of `findings` that are named, in the order of `findings`.
fn selected<'a>(
    findings: &'a [Box<dyn Finding>],
    only: &[String],
) -> Result<Vec<&'a dyn Finding>, ProtocolError> {
    for (at, finding) in findings.iter().enumerate() {
        if findings[..at].iter().any(|other| other.id() == finding.id()) {
            return Err(ProtocolError::DuplicateFinding(finding.id().to_owned()));
        }
    }
    let is_known = |name: &&String| findings.iter().any(|finding| finding.id() == name.as_str());
    if let Some(unknown) = only.iter().find(|name| !is_known(name)) {
        return Err(ProtocolError::UnknownFinding(unknown.clone()));
    }
    let is_asked = |id: &str| only.is_empty() || only.iter().any(|name| name == id);
    let findings = findings.iter().map(|finding| &**finding);
    Ok(findings.filter(|finding| is_asked(finding.id())).collect())
}

struct Planned<'a> {
    finding: &'a dyn Finding,
    plan: Plan,
    /// Of the plan's cells, in their order.
    keys: Vec<String>,
    seeds_by_hand: bool,
}

fn plan<'a>(
    findings: &[&'a dyn Finding],
    settings: &Settings,
    conditions: &Conditions,
) -> Result<Vec<Planned<'a>>, ProtocolError> {
    if let Some(seeds) = settings.seeds.filter(|seeds| *seeds > MOST_SEEDS) {
        return Err(ProtocolError::TooManySeeds(seeds));
    }
    let mut planned: Vec<Planned<'a>> = Vec::with_capacity(findings.len());
    for &finding in findings {
        let plan = finding.plan(settings)?;
        let keys = plan.keys(finding.id(), conditions)?;
        // Only the finding knows its own number of seeds, so it is asked for its own plan as well.
        let seeds = |plan: &Plan| seeds_of(plan.cells.iter().map(|cell| cell.seed));
        let seeds_by_hand = match settings.seeds {
            None => false,
            Some(_) => {
                seeds(&plan) != seeds(&finding.plan(&Settings { seeds: None, ..*settings })?)
            }
        };
        planned.push(Planned { finding, plan, keys, seeds_by_hand });
    }
    Ok(planned)
}

impl Planned<'_> {
    fn id(&self) -> &'static str {
        self.finding.id()
    }

    fn for_manifest(&self) -> PlannedFinding {
        let cells = self.plan.cells.iter().zip(&self.keys).map(|(cell, key)| PlannedCell {
            arm: cell.arm.clone(),
            seed: cell.seed,
            key: key.clone(),
        });
        PlannedFinding {
            id: self.id().to_owned(),
            seeds_by_hand: self.seeds_by_hand,
            cells: cells.collect(),
            not_run: self.plan.not_run.clone(),
            failures: Vec::new(),
        }
    }
}

/// All cells of all findings as one list, so that workers stay busy across findings.
fn jobs<'a>(planned: &'a [Planned<'a>]) -> Vec<Job<'a>> {
    let mut jobs: Vec<Job<'a>> = Vec::new();
    for Planned { finding, plan, keys, .. } in planned {
        let mut positions: HashMap<(&str, u64), usize> = HashMap::new();
        for (cell, key) in plan.cells.iter().zip(keys) {
            // Every need is there: `Plan::keys` refuses a plan where it is not.
            let needs =
                cell.needs.iter().filter_map(|arm| positions.get(&(arm.as_str(), cell.seed)));
            let needs = needs.copied().collect();
            positions.insert((&cell.arm, cell.seed), jobs.len());
            jobs.push(Job { finding: *finding, cell, key, needs });
        }
    }
    jobs
}

/// What is ahead, finding by finding; `there` are the cells of all of them, in order.
fn announcements(
    planned: &[Planned<'_>],
    there: &[Option<Ending>],
    store: &Store,
    settings: &Settings,
) -> Vec<Announcement> {
    let mut there = there.iter();
    let announce = |planned: &Planned<'_>| {
        let Plan { cells, not_run } = &planned.plan;
        let seconds = store.seconds_by_arm(planned.id(), settings.preset, settings.device);
        let cells = cells.iter().zip(there.by_ref()).map(|(cell, ending)| CellAhead {
            arm: cell.arm.clone(),
            is_there: ending.is_some(),
            seconds: seconds.get(&cell.arm).copied(),
        });
        let (comparisons, omitted) = comparisons(planned.finding, not_run);
        Announcement {
            finding: planned.id().to_owned(),
            cells: cells.collect(),
            not_run: not_run.clone(),
            comparisons,
            omitted,
        }
    };
    planned.iter().map(announce).collect()
}

/// What the report will say of a finding whose cells have all ended. `None` where that cannot be
/// told: the report at the end then fails for the same reason, after the other findings' cells.
fn early_report(
    findings: &[Box<dyn Finding>],
    manifest: &Manifest,
    id: &str,
    failures: &[Failure],
    store: &Store,
) -> Option<FindingReport> {
    let finding = findings.iter().find(|finding| finding.id() == id)?;
    let planned = manifest.findings.iter().find(|planned| planned.id == id)?;
    let planned = PlannedFinding { failures: failures.to_vec(), ..planned.clone() };
    let preset = manifest.conditions.preset;
    let report = || report_finding(&**finding, &planned, preset, store);
    // It only reads, so nothing half-changed outlives a panic.
    catch_unwind(AssertUnwindSafe(report)).ok()?.ok()
}
