//! Runs the cells that have no valid record, in parallel across cells, one thread per cell.
//!
//! What is computed does not depend on the number of workers: a cell sees its config, its streams
//! and the artifacts it declared, nothing else.

use std::any::Any;
use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::info_span;

use crate::cell::Conditions;
use crate::records::Record;
use crate::store::{CellName, Found, Store};
use crate::{
    Arm, Cell, CellContext, CellOutcome, Experiment, Failure, FindingResult, Metric, ProtocolError,
};

/// Something that happened in a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// Something happened to a cell.
    Cell {
        /// Id of the finding.
        finding: &'a str,
        /// The arm.
        arm: &'a Arm,
        /// The seed.
        seed: u64,
        /// What happened.
        what: CellEvent,
    },
    /// All cells of a finding have ended, and this is what the run's report will say of it.
    Judged(&'a FindingResult),
}

/// What happened. Every cell ends in exactly one of reused, finished, failed and skipped.
#[derive(Debug, Clone, PartialEq)]
pub enum CellEvent {
    /// A valid record was there already.
    Reused,
    /// A record or artifact was there but cannot be trusted; the cell runs again.
    Discarded {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The cell began.
    Started,
    /// The cell's record is on the disk.
    Finished {
        /// Wall time.
        seconds: f64,
    },
    /// The cell returned an error, panicked, or recorded a metric that is not finite.
    Failed {
        /// The error's text or the panic's message.
        reason: String,
    },
    /// An arm the cell needs failed.
    Skipped {
        /// Which one.
        reason: String,
    },
}

/// A cell ready to be scheduled; `needs` are positions of earlier jobs.
pub(crate) struct Job<'a> {
    pub(crate) experiment: &'a dyn Experiment,
    /// What the experiment may record.
    pub(crate) declared: &'a [Metric],
    pub(crate) cell: &'a Cell,
    pub(crate) key: &'a str,
    pub(crate) needs: Vec<usize>,
}

impl<'a> Job<'a> {
    fn name(&self) -> CellName<'a> {
        let Cell { finding, arm, seed, .. } = self.cell;
        CellName { finding, arm: arm.name(), seed: *seed, key: self.key }
    }

    fn event(&self, what: CellEvent) -> Event<'a> {
        let Cell { finding, arm, seed, .. } = self.cell;
        Event::Cell { finding, arm, seed: *seed, what }
    }
}

/// How a cell ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ending {
    Done { artifact_hash: Option<String> },
    Failed(String),
    Skipped(String),
}

impl Ending {
    /// Why the cell has no record; `None` where it has one.
    fn failure(&self, job: &Job<'_>) -> Option<Failure> {
        let (reason, ran) = match self {
            Self::Done { .. } => return None,
            Self::Failed(reason) => (reason, true),
            Self::Skipped(reason) => (reason, false),
        };
        let Cell { arm, seed, .. } = job.cell;
        Some(Failure { arm: arm.clone(), seed: *seed, reason: reason.clone(), ran })
    }
}

/// Called from the workers' threads.
pub(crate) type OnEvent<'a> = &'a (dyn Fn(&Event<'_>) + Sync);

/// Called once for each finding when its last cell has ended, with its cells that left no record;
/// from the workers' threads.
pub(crate) type OnLast<'a> = &'a (dyn Fn(&str, Vec<Failure>) + Sync);

/// What all cells of a run share.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) store: &'a Store,
    pub(crate) conditions: &'a Conditions,
    pub(crate) on_event: OnEvent<'a>,
    pub(crate) on_last: OnLast<'a>,
}

/// Runs the jobs that `there` has no ending for on `workers` threads.
///
/// A failed cell does not stop the others; a disk that refuses a write does, with what was written
/// intact.
pub(crate) fn execute(
    jobs: &[Job<'_>],
    there: Vec<Option<Ending>>,
    workers: NonZeroUsize,
    around: Surroundings<'_>,
) -> Result<(), ProtocolError> {
    for (job, ending) in jobs.iter().zip(&there) {
        if ending.is_some() {
            (around.on_event)(&job.event(CellEvent::Reused));
        }
    }
    let cells = there.into_iter().map(|e| e.map_or(Status::Waiting, Status::Ended)).collect();
    let board =
        Board { jobs, state: Mutex::new(State { cells, fatal: None }), changed: Condvar::new() };
    let mut findings = HashSet::new();
    for (at, job) in jobs.iter().enumerate() {
        let finding = job.cell.finding;
        if findings.insert(finding)
            && let Some(failures) = board.failures_if_all_ended(&board.lock(), at)
        {
            (around.on_last)(finding, failures);
        }
    }
    std::thread::scope(|scope| {
        for _ in 0..workers.get().min(jobs.len()) {
            scope.spawn(|| work(&board, around));
        }
    });
    let state = board.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    state.fatal.map_or(Ok(()), Err)
}

/// Which cells need not run, judged before anything runs.
pub(crate) fn reusable(
    jobs: &[Job<'_>],
    store: &Store,
    on_event: OnEvent<'_>,
) -> Result<Vec<Option<Ending>>, ProtocolError> {
    let mut endings: Vec<Option<Ending>> = Vec::with_capacity(jobs.len());
    for job in jobs {
        endings.push(match store.read_record(job.name())? {
            Found::Whole(record) => Some(Ending::Done { artifact_hash: record.artifact_hash }),
            Found::Absent => None,
            Found::Damaged(path, reason) => {
                on_event(&job.event(CellEvent::Discarded { path, reason }));
                None
            }
        });
    }
    // Backwards, because a cell that must run again may in turn need an artifact that is gone. The
    // artifact of a cell all of whose dependents are done is not needed, and so not asked for.
    let mut checked = vec![false; jobs.len()];
    for (at, job) in jobs.iter().enumerate().rev() {
        if endings[at].is_some() {
            continue;
        }
        for &need in &job.needs {
            if std::mem::replace(&mut checked[need], true) {
                continue;
            }
            let Some(Ending::Done { artifact_hash: Some(hash) }) = &endings[need] else { continue };
            match store.read_artifact(jobs[need].key, hash) {
                Ok(_) => {}
                Err(ProtocolError::BadArtifact { path, reason }) => {
                    on_event(&jobs[need].event(CellEvent::Discarded { path, reason }));
                    endings[need] = None;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(endings)
}

struct Board<'a> {
    jobs: &'a [Job<'a>],
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    cells: Vec<Status>,
    fatal: Option<ProtocolError>,
}

enum Status {
    Waiting,
    Running,
    Ended(Ending),
}

enum Next {
    /// Run this job; the artifact hashes of its needs, in order.
    Run(usize, Vec<Option<String>>),
    Skip(usize, String),
    Over,
}

impl Board<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the first job in plan order that can start, or that no longer can.
    fn next(&self) -> Next {
        let mut state = self.lock();
        loop {
            if state.fatal.is_some() {
                return Next::Over;
            }
            if let Some(next) = self.first_decided(&mut state) {
                return next;
            }
            if !state.cells.iter().any(|cell| matches!(cell, Status::Waiting)) {
                return Next::Over;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn first_decided(&self, state: &mut State) -> Option<Next> {
        for (at, job) in self.jobs.iter().enumerate() {
            if !matches!(state.cells[at], Status::Waiting) {
                continue;
            }
            let mut hashes = Vec::with_capacity(job.needs.len());
            for &need in &job.needs {
                match &state.cells[need] {
                    Status::Waiting | Status::Running => break,
                    Status::Ended(Ending::Done { artifact_hash }) => {
                        hashes.push(artifact_hash.clone());
                    }
                    Status::Ended(Ending::Failed(_) | Ending::Skipped(_)) => {
                        let arm = &self.jobs[need].cell.arm;
                        state.cells[at] = Status::Running;
                        let reason = format!("it needs arm `{arm}`, which has no record");
                        return Some(Next::Skip(at, reason));
                    }
                }
            }
            if hashes.len() == job.needs.len() {
                state.cells[at] = Status::Running;
                return Some(Next::Run(at, hashes));
            }
        }
        None
    }

    /// Notes how a cell ended, and calls `on_last` if it was the last of its finding.
    fn end(&self, at: usize, ending: Ending, on_last: OnLast<'_>) {
        let failures = {
            let mut state = self.lock();
            state.cells[at] = Status::Ended(ending);
            // Under one lock, so that of two cells that end together only one is the last.
            self.failures_if_all_ended(&state, at)
        };
        self.changed.notify_all();
        if let Some(failures) = failures {
            on_last(self.jobs[at].cell.finding, failures);
        }
    }

    /// The failures of the finding of job `at`, if each of its cells has ended.
    fn failures_if_all_ended(&self, state: &State, at: usize) -> Option<Vec<Failure>> {
        let finding = self.jobs[at].cell.finding;
        let cells = self.jobs.iter().zip(&state.cells);
        let cells = cells.filter(|(job, _)| job.cell.finding == finding);
        let failures = cells.map(|(job, status)| match status {
            Status::Ended(ending) => Some(ending.failure(job)),
            Status::Waiting | Status::Running => None,
        });
        Some(failures.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
    }
}

fn work(board: &Board<'_>, around: Surroundings<'_>) {
    let Surroundings { store, conditions, on_event, on_last } = around;
    loop {
        let (at, hashes) = match board.next() {
            Next::Over => return,
            Next::Skip(at, reason) => {
                on_event(&board.jobs[at].event(CellEvent::Skipped { reason: reason.clone() }));
                board.end(at, Ending::Skipped(reason), on_last);
                continue;
            }
            Next::Run(at, hashes) => (at, hashes),
        };
        let job = &board.jobs[at];
        on_event(&job.event(CellEvent::Started));
        let started = Instant::now();
        let Cell { finding, arm, seed, .. } = job.cell;
        let cell = info_span!("cell", finding, arm = arm.name(), seed);
        let produced = cell.in_scope(|| produce(board.jobs, job, &hashes, store, conditions));
        let seconds = started.elapsed().as_secs_f64();
        let ending = match produced {
            Err(reason) => {
                on_event(&job.event(CellEvent::Failed { reason: reason.clone() }));
                Ending::Failed(reason)
            }
            Ok((record, artifact)) => {
                let written = store.write_cell(job.name(), &record, artifact.as_deref(), seconds);
                if let Err(error) = written {
                    board.lock().fatal.get_or_insert(error);
                    board.changed.notify_all();
                    return;
                }
                on_event(&job.event(CellEvent::Finished { seconds }));
                Ending::Done { artifact_hash: record.artifact_hash }
            }
        };
        board.end(at, ending, on_last);
    }
}

/// Runs one cell and turns whatever it does, a panic included, into a record or a reason.
fn produce(
    jobs: &[Job<'_>],
    job: &Job<'_>,
    hashes: &[Option<String>],
    store: &Store,
    conditions: &Conditions,
) -> Result<(Record, Option<Vec<u8>>), String> {
    let mut artifacts = BTreeMap::new();
    for (&need, hash) in job.needs.iter().zip(hashes) {
        if let Some(hash) = hash {
            let bytes = store.read_artifact(jobs[need].key, hash).map_err(|e| e.to_string())?;
            artifacts.insert(jobs[need].cell.arm.clone(), bytes);
        }
    }
    let Conditions { preset, device, .. } = *conditions;
    let context = CellContext::new(job.cell.finding, job.cell.seed, device, preset, artifacts);
    // A cell owns everything it changes, so nothing half-changed outlives its panic.
    let outcome = catch_unwind(AssertUnwindSafe(|| job.experiment.run(job.cell, &context)))
        .map_err(|panic| format!("panicked: {}", panic_message(&*panic)))?;
    let CellOutcome { metrics, artifact } = outcome.map_err(|error| with_sources(&*error))?;
    let metrics = metrics.check().map_err(|error| error.to_string())?;
    if let Some(name) = metrics.undeclared(job.declared) {
        return Err(format!("`{name}` is recorded and not among the experiment's metrics"));
    }
    let record = Record::new(job.key, job.cell, conditions, artifact.as_deref(), metrics);
    Ok((record, artifact))
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

/// The error's text and, after colons, what it was caused by.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Many errors already end in their cause's text.
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
