//! One run: plan and execute.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::cell::{Conditions, seeds_of};
use crate::manifest::{Failure, Manifest, PlannedCell, PlannedFinding};
use crate::results::result;
use crate::schedule::{Ending, Event, Job, Surroundings, execute, reusable};
use crate::settings::MOST_SEEDS;
use crate::store::Store;
use crate::{Arm, Build, Finding, FindingResult, Metric, NotRun, Plan, ProtocolError, Settings};

/// How and where to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// What the findings plan from.
    pub settings: Settings,
    /// Ids of the findings and claims to run; all findings where it is empty. Of a claim's finding
    /// only what the claim's comparisons read is run.
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
    /// The arm.
    pub arm: Arm,
    /// Its valid record is there already.
    pub is_there: bool,
    /// Mean wall time of cells of this arm that ran in this directory under the same preset and on
    /// the same device, whatever code ran them, in seconds; `None` where there is none.
    pub seconds: Option<f64>,
}

/// Plans the findings and claims asked for, and runs the cells without a valid record.
///
/// `findings` are all that this build has. `announce` is called once, after planning and before
/// the first cell; `on_event` from the workers' threads. The same call again goes on where a
/// killed one stopped. Other findings that the directory holds from a run under the same
/// conditions stay in it; those from a run under other conditions leave it
/// ([`crate::RunResult::dropped`]). [`crate::results()`] reads what there is then.
///
/// # Errors
/// When a plan is not valid, the directory holds something else than a run
/// ([`ProtocolError::is_usage`]), or it cannot be read or written; records written before stay
/// whole. A failed cell is not an error here but in the result: see [`FindingResult::failures`].
pub fn run(
    findings: &[&Finding],
    options: &RunOptions,
    announce: impl FnOnce(&[Announcement]),
    on_event: impl Fn(&Event<'_>) + Sync,
) -> Result<(), ProtocolError> {
    let started = Instant::now();
    let Settings { preset, device, .. } = options.settings;
    let conditions = Conditions { preset, device, build: options.build.clone() };
    let planned = plan(selected(findings, &options.only)?, &options.settings, &conditions)?;
    let declared = declared(&planned);
    let jobs = jobs(&planned, &declared);

    let (store, previous) = Store::create(&options.out)?;
    let ran: Vec<&str> = planned.iter().map(Planned::id).collect();
    let (others, dropped) = previous.beside(&conditions, &ran, findings);
    let mut manifest = Manifest {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        conditions,
        jobs: options.jobs.get(),
        cores: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        wall_seconds: 0.0,
        findings: planned.iter().map(Planned::for_manifest).chain(others).collect(),
        dropped,
    };
    manifest.findings.sort_by_key(|planned| findings.iter().position(|f| f.id == planned.id));
    // Before the first cell, so that a killed run can be reported on.
    store.write_manifest(&manifest)?;
    let there = reusable(&jobs, &store, &on_event)?;
    announce(&announcements(&planned, &there, &store, &options.settings));

    let failures: Mutex<Vec<(String, Vec<Failure>)>> = Mutex::default();
    let judged = |id: &str, failed: Vec<Failure>| {
        if let Some(result) = early_result(findings, &manifest, id, &failed, &store) {
            on_event(&Event::Judged(&result));
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
    store.write_manifest(&manifest)
}

/// The findings that are named or that a named claim is of, in the order of `findings`, each with
/// its claims that are named; without any where the whole finding is.
fn selected<'a>(
    findings: &[&'a Finding],
    only: &[String],
) -> Result<Vec<(&'a Finding, Vec<String>)>, ProtocolError> {
    for (at, finding) in findings.iter().enumerate() {
        if findings[..at].iter().any(|other| other.id == finding.id) {
            return Err(ProtocolError::DuplicateFinding(finding.id.to_owned()));
        }
    }
    let mut selected = Vec::new();
    let mut unknown: Vec<&String> = only.iter().collect();
    for finding in findings {
        let claims = finding.claims.iter().map(|claim| claim.id);
        let claims: Vec<String> =
            only.iter().filter(|name| claims.clone().any(|id| id == *name)).cloned().collect();
        let is_whole = only.is_empty() || only.iter().any(|name| name == finding.id);
        unknown.retain(|name| *name != finding.id && !claims.contains(name));
        match (is_whole, claims.is_empty()) {
            (true, _) => selected.push((*finding, Vec::new())),
            (false, false) => selected.push((*finding, claims)),
            (false, true) => {}
        }
    }
    match unknown.first() {
        Some(name) => Err(ProtocolError::UnknownFinding((*name).clone())),
        None => Ok(selected),
    }
}

struct Planned<'a> {
    finding: &'a Finding,
    /// Of those named; empty where the whole finding is run.
    claims: Vec<String>,
    plan: Plan,
    /// Of the plan's cells, in their order.
    keys: Vec<String>,
    seeds_by_hand: bool,
    code: BTreeMap<String, String>,
}

fn plan<'a>(
    selected: Vec<(&'a Finding, Vec<String>)>,
    settings: &Settings,
    conditions: &Conditions,
) -> Result<Vec<Planned<'a>>, ProtocolError> {
    if let Some(seeds) = settings.seeds.filter(|seeds| *seeds > MOST_SEEDS) {
        return Err(ProtocolError::TooManySeeds(seeds));
    }
    let mut planned: Vec<Planned<'a>> = Vec::with_capacity(selected.len());
    for (finding, claims) in selected {
        let plan = finding.plan(settings, &claims)?;
        let keys = plan.keys(finding.id, conditions)?;
        // Only the experiments know their own number of seeds, so they are asked for that plan as
        // well.
        let seeds = |plan: &Plan| seeds_of(plan.cells.iter().map(|cell| cell.seed));
        let seeds_by_hand = match settings.seeds {
            None => false,
            Some(_) => {
                let own = finding.plan(&Settings { seeds: None, ..*settings }, &claims)?;
                seeds(&plan) != seeds(&own)
            }
        };
        let code = finding.code(&conditions.build.code);
        planned.push(Planned { finding, claims, plan, keys, seeds_by_hand, code });
    }
    Ok(planned)
}

impl Planned<'_> {
    fn id(&self) -> &'static str {
        self.finding.id
    }

    fn for_manifest(&self) -> PlannedFinding {
        let cells = self.plan.cells.iter().zip(&self.keys).map(|(cell, key)| PlannedCell {
            arm: cell.arm.clone(),
            seed: cell.seed,
            key: key.clone(),
        });
        PlannedFinding {
            id: self.id().to_owned(),
            only: self.claims.clone(),
            code: self.code.clone(),
            seeds_by_hand: self.seeds_by_hand,
            cells: cells.collect(),
            not_run: self.plan.not_run.clone(),
            failures: Vec::new(),
        }
    }
}

/// What each experiment may record, by its id.
fn declared(planned: &[Planned<'_>]) -> HashMap<&'static str, Vec<Metric>> {
    let experiments = planned.iter().flat_map(|planned| &planned.finding.experiments);
    experiments.map(|experiment| (experiment.id(), experiment.metrics())).collect()
}

/// All cells of all findings as one list, so that workers stay busy across findings.
fn jobs<'a>(
    planned: &'a [Planned<'a>],
    declared: &'a HashMap<&'static str, Vec<Metric>>,
) -> Vec<Job<'a>> {
    let mut jobs: Vec<Job<'a>> = Vec::new();
    for Planned { finding, plan, keys, .. } in planned {
        let mut positions: HashMap<(&Arm, u64), usize> = HashMap::new();
        for (cell, key) in plan.cells.iter().zip(keys) {
            // Every need is there: `Plan::keys` refuses a plan where it is not.
            let needs = cell.needs.iter().filter_map(|arm| positions.get(&(arm, cell.seed)));
            let needs = needs.copied().collect();
            positions.insert((&cell.arm, cell.seed), jobs.len());
            // A finding's plan is put together of its experiments' cells.
            let mut experiments = finding.experiments.iter().map(|experiment| &**experiment);
            let experiment =
                experiments.find(|e| e.id() == cell.experiment).expect("of the finding");
            let declared = &declared[cell.experiment];
            jobs.push(Job { experiment, declared, cell, key, needs });
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
            seconds: seconds.get(cell.arm.name()).copied(),
        });
        let (comparisons, omitted) = planned.finding.count(&planned.claims, not_run);
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

/// What will be found of a finding whose cells have all ended. `None` where that cannot be told:
/// the result at the end then fails for the same reason, after the other findings' cells.
fn early_result(
    findings: &[&Finding],
    manifest: &Manifest,
    id: &str,
    failures: &[Failure],
    store: &Store,
) -> Option<FindingResult> {
    let finding = findings.iter().find(|finding| finding.id == id)?;
    let planned = manifest.findings.iter().find(|planned| planned.id == id)?;
    let planned = PlannedFinding { failures: failures.to_vec(), ..planned.clone() };
    let result = || result(finding, &planned, manifest.conditions.preset, store);
    // It only reads, so nothing half-changed outlives a panic.
    catch_unwind(AssertUnwindSafe(result)).ok()?.ok()
}
