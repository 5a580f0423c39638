//! `run.json`: what a run set out to do and under which conditions, enough to render its report
//! again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cell::Conditions;
use crate::{Arm, Finding, NotRun};

/// A cell that left no record, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The arm.
    pub arm: Arm,
    /// The seed.
    pub seed: u64,
    /// The error's text, the panic's message, or which needed arm is missing.
    pub reason: String,
    /// True if the cell itself failed, false if it was skipped because an arm it needs has no
    /// record.
    pub ran: bool,
}

/// The run as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) version: String,
    pub(crate) conditions: Conditions,
    pub(crate) jobs: usize,
    pub(crate) cores: usize,
    /// Of the last command that ran cells; 0 while it runs.
    pub(crate) wall_seconds: f64,
    pub(crate) findings: Vec<PlannedFinding>,
    /// What an earlier run left here that is not part of this one.
    pub(crate) dropped: Vec<Dropped>,
}

/// A finding of an earlier run in the same directory that the report no longer shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropped {
    /// Id of the finding.
    pub finding: String,
    /// What differs between its run and this one.
    pub reason: String,
}

/// What `run.json` of a directory says of the run before.
#[derive(Debug)]
pub(crate) enum Previous {
    /// The directory is new or empty.
    None,
    Run(Box<Manifest>),
    /// A run whose `run.json` has another layout: the ids of its findings and the version that
    /// wrote it.
    OtherLayout {
        version: String,
        findings: Vec<String>,
    },
}

impl Previous {
    /// Reads `run.json`; what is no manifest of any version is refused with the reason.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let reason = match serde_json::from_slice::<Manifest>(bytes) {
            Ok(manifest) => return Ok(Self::Run(Box::new(manifest))),
            // A wrong type comes with the value, however long.
            Err(error) => {
                let error: String = error.to_string().chars().take(200).collect();
                format!("its run.json is not one of a run: {error}")
            }
        };
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return Err(reason) };
        let version = value["version"].as_str();
        let findings = value["findings"].as_array().filter(|_| value["conditions"].is_object());
        let (Some(version), Some(findings)) = (version, findings) else { return Err(reason) };
        let ids = findings.iter().filter_map(|finding| finding["id"].as_str());
        let findings = ids.map(str::to_owned).collect();
        Ok(Self::OtherLayout { version: version.to_owned(), findings })
    }

    /// The findings of the run before that stay beside the findings `ran` of this one, and those
    /// that do not and why; `known` are the findings that this build has.
    pub(crate) fn beside(
        self,
        conditions: &Conditions,
        ran: &[&str],
        known: &[&Finding],
    ) -> (Vec<PlannedFinding>, Vec<Dropped>) {
        let is_other = |id: &str| !ran.contains(&id);
        let (others, mut dropped, differences) = match self {
            Self::None => return (Vec::new(), Vec::new()),
            Self::OtherLayout { version, findings } => {
                let reason = format!("its run.json has another layout (version {version})");
                let dropped = findings.into_iter().filter(|id| is_other(id));
                let dropped = dropped.map(|finding| Dropped { finding, reason: reason.clone() });
                return (Vec::new(), dropped.collect());
            }
            Self::Run(before) => {
                let differences = differences(&before.conditions, conditions);
                (before.findings, before.dropped, differences)
            }
        };
        // What the run before had dropped stays so until it is run again, or everything else goes,
        // too.
        dropped.retain(|dropped| differences.is_none() && is_other(&dropped.finding));
        let mut kept = Vec::new();
        for other in others.into_iter().filter(|finding| is_other(&finding.id)) {
            let finding = known.iter().find(|finding| finding.id == other.id);
            let reason = differences.clone().or_else(|| match finding {
                None => Some("this build does not have it".to_owned()),
                Some(finding) => other_code(&other, &finding.code(&conditions.build.code)),
            });
            match reason {
                None => kept.push(other),
                Some(reason) => dropped.push(Dropped { finding: other.id, reason }),
            }
        }
        (kept, dropped)
    }
}

/// What differs between two runs' conditions; `None` if nothing does.
fn differences(before: &Conditions, now: &Conditions) -> Option<String> {
    let differs = [
        ("preset", before.preset.name(), now.preset.name()),
        ("device", before.device.name(), now.device.name()),
        ("compiler", &before.build.compiler, &now.build.compiler),
        ("instruction set", &before.build.instructions, &now.build.instructions),
    ];
    let differs = differs.iter().filter(|(_, before, now)| before != now);
    let texts: Vec<String> = differs
        .map(|(what, before, now)| format!("it ran with {what} {before}, this run has {now}"))
        .collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// Of which experiment the code has changed, if of any.
fn other_code(before: &PlannedFinding, now: &BTreeMap<String, String>) -> Option<String> {
    let changed = now.iter().find(|(experiment, code)| before.code.get(*experiment) != Some(*code));
    changed.map(|(experiment, code)| match before.code.get(experiment) {
        Some(before) => format!("`{experiment}` ran with code {before}, this run has {code}"),
        None => format!("its experiment `{experiment}` did not run"),
    })
}

/// One finding of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlannedFinding {
    pub(crate) id: String,
    /// Ids of the claims that were selected; empty where the whole finding was.
    pub(crate) only: Vec<String>,
    /// By experiment, the code that its records are keyed by.
    pub(crate) code: BTreeMap<String, String>,
    /// The number of seeds was named on the command line and is not the preset's own.
    pub(crate) seeds_by_hand: bool,
    pub(crate) cells: Vec<PlannedCell>,
    pub(crate) not_run: Vec<NotRun>,
    pub(crate) failures: Vec<Failure>,
}

/// One cell of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlannedCell {
    pub(crate) arm: Arm,
    pub(crate) seed: u64,
    pub(crate) key: String,
}
