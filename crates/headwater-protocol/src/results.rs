//! From a run directory to what it found: reads the records and judges them.

use std::path::Path;

use serde::Serialize;

use crate::cell::Conditions;
use crate::manifest::{Manifest, PlannedFinding};
use crate::records::Record;
use crate::store::{CellName, Found, Store};
use crate::verdict::{Missing, Scope, judge};
use crate::{
    Arm, Build, Claim, ContrastResult, ControlResult, DeviceKind, Dropped, Failure, Finding,
    NotRun, Omitted, Preset, ProtocolError, Records, Verdict,
};

/// What a run directory holds.
#[derive(Debug)]
pub struct RunResult {
    /// Version of this crate.
    pub version: String,
    /// How much was run.
    pub preset: Preset,
    /// Where the cells computed.
    pub device: DeviceKind,
    /// What computed them.
    pub build: Build,
    /// Wall time of the last command that ran cells.
    pub wall_seconds: f64,
    /// Cells run at a time by that command.
    pub jobs: usize,
    /// Cores of the machine it ran on.
    pub cores: usize,
    /// Findings of an earlier run in this directory that do not belong to this one.
    pub dropped: Vec<Dropped>,
    /// The findings, in the order of the build.
    pub findings: Vec<FindingResult>,
}

/// One finding of a run.
#[derive(Debug, Serialize)]
pub struct FindingResult {
    /// Its id.
    pub id: String,
    /// The claims in one sentence, or the sentences of those that were selected.
    pub claim: String,
    /// Who claims it.
    pub source: String,
    /// Ids of the claims that were selected; empty where the whole finding was.
    pub only: Vec<String>,
    /// Its claims, or those of them that were selected.
    pub claims: Vec<ClaimResult>,
    /// Ids of its experiments.
    pub experiments: Vec<String>,
    /// What the evidence says.
    pub verdict: Verdict,
    /// Why, in plain words.
    pub why: String,
    /// True if the number of seeds was named on the command line and is not the preset's own.
    pub seeds_by_hand: bool,
    /// The comparisons the claims are about.
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
    /// Cells planned.
    pub cells: usize,
    /// Wall time of its cells together, whenever they ran.
    pub seconds: f64,
    /// Name of the contrast that stands for the finding on the first page, measured or not.
    pub first_contrast: Option<String>,
    /// Its records.
    #[serde(skip)]
    pub records: Records,
    #[serde(skip)]
    planned: Vec<(Arm, u64)>,
}

/// One claim of a finding: which of the finding's comparisons test it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClaimResult {
    /// Its id.
    pub id: String,
    /// The sentence.
    pub sentence: String,
    /// Names of its contrasts.
    pub contrasts: Vec<String>,
    /// Names of its controls.
    pub controls: Vec<String>,
}

impl From<&Claim> for ClaimResult {
    fn from(claim: &Claim) -> Self {
        Self {
            id: claim.id.to_owned(),
            sentence: claim.sentence.to_owned(),
            contrasts: claim.contrasts.iter().map(|contrast| contrast.name.clone()).collect(),
            controls: claim.controls.iter().map(|control| control.name.clone()).collect(),
        }
    }
}

impl FindingResult {
    /// What was judged: the finding by its id, or the claims of it that were selected.
    #[must_use]
    pub fn name(&self) -> String {
        let own = |id: &'_ String| id.rsplit('/').next().unwrap_or_default().to_owned();
        match &self.only[..] {
            [] => self.id.clone(),
            [claim] => claim.clone(),
            claims => {
                let claims: Vec<String> = claims.iter().map(own).collect();
                format!("{}/{{{}}}", self.id, claims.join(", "))
            }
        }
    }

    /// True if the error is that of a record which a missing cell would have left: it was not run,
    /// it failed, or the claims that were selected do not need it.
    #[must_use]
    pub fn is_excused(&self, error: &ProtocolError) -> bool {
        let ProtocolError::NoRecord { arm, seed } = error else { return false };
        let planned: Vec<(&Arm, u64)> = self.planned.iter().map(|(arm, at)| (arm, *at)).collect();
        let scope = Scope { planned: &planned, not_run: &self.not_run, smoke: false };
        !self.only.is_empty() || scope.why_missing(arm, *seed) != Missing::Unknown
    }
}

/// What the run directory `out` holds of `findings`, judged by the rules of this build.
///
/// # Errors
/// When the directory holds no run, or a run of findings that are not among `findings`, or cannot
/// be read.
pub fn results(findings: &[&Finding], out: &Path) -> Result<RunResult, ProtocolError> {
    let store = Store::open(out);
    let Manifest { version, conditions, jobs, cores, wall_seconds, findings: planned, dropped } =
        store.read_manifest()?;
    let Conditions { preset, device, build } = conditions;
    let mut results = Vec::with_capacity(planned.len());
    for planned in &planned {
        let finding = findings.iter().find(|finding| finding.id == planned.id);
        let finding = finding.ok_or_else(|| ProtocolError::UnknownFinding(planned.id.clone()))?;
        results.push(result(finding, planned, preset, &store)?);
    }
    let findings = results;
    Ok(RunResult { version, preset, device, build, wall_seconds, jobs, cores, dropped, findings })
}

/// Writes a file beside the records of the run directory `out`, whole or not at all.
///
/// # Errors
/// When the system refuses.
pub fn write_beside(out: &Path, name: &str, text: &str) -> Result<(), ProtocolError> {
    Store::open(out).write(name, text)
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
        let name = CellName {
            finding: &planned.id,
            arm: cell.arm.name(),
            seed: cell.seed,
            key: &cell.key,
        };
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
pub(crate) fn result(
    finding: &Finding,
    planned: &PlannedFinding,
    preset: Preset,
    store: &Store,
) -> Result<FindingResult, ProtocolError> {
    let Left { records, failures, seconds } = read_cells(planned, store)?;
    let cells: Vec<(&Arm, u64)> = planned.cells.iter().map(|cell| (&cell.arm, cell.seed)).collect();
    let smoke = preset == Preset::Smoke;
    let scope = Scope { planned: &cells, not_run: &planned.not_run, smoke };
    let (contrasts, controls) = finding.comparisons(&planned.only);
    let judged = judge(&contrasts, &controls, &records, scope);
    let claims: Vec<ClaimResult> = finding.selected(&planned.only).map(ClaimResult::from).collect();
    let unknown = planned.only.iter().find(|id| claims.iter().all(|claim| claim.id != **id));
    if let Some(id) = unknown {
        return Err(ProtocolError::UnknownFinding(id.clone()));
    }
    let sentences: Vec<&str> = claims.iter().map(|claim| claim.sentence.as_str()).collect();
    let claim = if planned.only.is_empty() { finding.claim.into() } else { sentences.join(" ") };

    let problems = judged.contrasts.iter().map(|c| (&c.name, &c.problem));
    let problems = problems.chain(judged.controls.iter().map(|c| (&c.name, &c.problem)));
    let defects =
        problems.filter_map(|(name, problem)| Some(format!("{name}: {}", problem.as_ref()?)));
    Ok(FindingResult {
        id: planned.id.clone(),
        claim,
        source: finding.source.to_owned(),
        only: planned.only.clone(),
        claims,
        experiments: finding.experiments.iter().map(|e| e.id().to_owned()).collect(),
        verdict: judged.verdict,
        why: judged.why,
        seeds_by_hand: planned.seeds_by_hand,
        first_contrast: contrasts.first().map(|contrast| contrast.name.clone()),
        defects: defects.collect(),
        contrasts: judged.contrasts,
        controls: judged.controls,
        omitted: judged.omitted,
        not_run: planned.not_run.clone(),
        failures,
        cells: planned.cells.len(),
        seconds,
        planned: cells.into_iter().map(|(arm, seed)| (arm.clone(), seed)).collect(),
        records,
    })
}
