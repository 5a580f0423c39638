//! One run: plan, execute, report.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use crate::cell::{Conditions, seeds_of};
use crate::manifest::{Failure, Manifest, PlannedCell, PlannedFinding};
use crate::report::{Report, render};
use crate::schedule::{Ending, Event, Job, execute};
use crate::settings::MOST_SEEDS;
use crate::store::Store;
use crate::{Build, Finding, Plan, ProtocolError, Settings};

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

/// The cells of a run before it begins, for progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Id of the finding.
    pub finding: String,
    /// Cells in its plan, those with a valid record included.
    pub cells: usize,
}

/// Plans the findings asked for, runs the cells without a valid record, and writes the report.
///
/// `findings` are all that this build has. `announce` is called once after planning; `on_event` from the
/// workers' threads. The same call again goes on where a killed one stopped. Other findings that the
/// directory holds from a run under the same conditions stay in its report; those from a run under other
/// conditions leave it, and the report says so ([`Report::dropped`]).
///
/// # Errors
/// When a plan is not valid, the directory holds something else than a run ([`ProtocolError::is_usage`]), or
/// it cannot be read or written; records written before stay whole. A failed cell is not an error here but in the report: see [`Report::is_clean`].
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
    let announcements: Vec<Announcement> = planned
        .iter()
        .map(|planned| Announcement {
            finding: planned.id().to_owned(),
            cells: planned.plan.cells.len(),
        })
        .collect();
    announce(&announcements);

    let endings = execute(&jobs, &store, &manifest.conditions, options.jobs, &on_event)?;
    let mut endings = jobs.iter().zip(endings);
    for planned in &planned {
        let ended = endings.by_ref().take(planned.plan.cells.len());
        let failures = ended.filter_map(|(job, ending)| failure(job, ending)).collect();
        if let Some(finding) = manifest.findings.iter_mut().find(|f| f.id == planned.id()) {
            finding.failures = failures;
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

fn failure(job: &Job<'_>, ending: Ending) -> Option<Failure> {
    let (reason, ran) = match ending {
        Ending::Done { .. } => return None,
        Ending::Failed(reason) => (reason, true),
        Ending::Skipped(reason) => (reason, false),
    };
    Some(Failure { arm: job.cell.arm.clone(), seed: job.cell.seed, reason, ran })
}
