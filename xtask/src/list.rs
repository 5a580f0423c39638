//! `list`: findings, their claims, and the experiments that test them.

use clap::Args;
use headwater_protocol::{Cell, DeviceKind, Finding, Preset, Settings};

use crate::words::counted;
use crate::{Outcome, Usage, data_dir};

#[derive(Args)]
pub(crate) struct ListArguments {
    /// Findings to list with their experiments and arms; by default all, with their claims only
    findings: Vec<String>,
}

pub(crate) fn list(arguments: &ListArguments) -> anyhow::Result<Outcome> {
    let data = data_dir(None)?;
    let chapters = headwater_findings::all(&data);
    let findings: Vec<&Finding> = chapters.iter().map(|chapter| &chapter.finding).collect();
    for name in &arguments.findings {
        if findings.iter().all(|finding| finding.id != name) {
            let ids: Vec<&str> = findings.iter().map(|finding| finding.id).collect();
            let there_are = ids.join(", ");
            return Err(Usage(format!("no finding `{name}`; there are: {there_are}")).into());
        }
    }
    for finding in findings {
        let is_named = arguments.findings.iter().any(|name| name == finding.id);
        if is_named || arguments.findings.is_empty() {
            claims(finding);
        }
        if is_named {
            experiments(finding)?;
        }
    }
    Ok(Outcome::Done)
}

fn claims(finding: &Finding) {
    say!("{}: {}", finding.id, finding.claim);
    for claim in &finding.claims {
        let contrasts = counted(claim.contrasts.len(), "contrast");
        let controls = counted(claim.controls.len(), "control");
        say!("  {}: {} ({contrasts}, {controls})", claim.id, claim.sentence);
    }
}

/// Each experiment's file, and its arms with the seeds that each has in the quick preset.
fn experiments(finding: &Finding) -> anyhow::Result<()> {
    let settings = Settings { preset: Preset::Quick, seeds: None, device: DeviceKind::Flex };
    let plan = finding.plan(&settings, &[])?;
    for experiment in &finding.experiments {
        let file = experiment.id().replace('-', "_");
        say!("  {}: crates/headwater-findings/src/experiments/{file}.rs", experiment.id());
        let one_seed = Settings { seeds: Some(1), ..settings };
        for Cell { arm, .. } in experiment.plan(&one_seed)?.cells {
            let seeds = plan.cells.iter().filter(|cell| cell.arm == arm).count();
            say!("    {arm} ({})", counted(seeds, "seed"));
        }
    }
    for not_run in &plan.not_run {
        say!("    {}: not run, {}", not_run.arm, not_run.reason);
    }
    Ok(())
}
