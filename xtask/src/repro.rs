//! `repro` and `report`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use headwater_findings::data::DataDir;
use headwater_protocol::{
    DeviceKind, Finding, Preset, Report, RunOptions, Settings, Verdict, by_reason,
};

use crate::progress::Progress;
use crate::{Outcome, Usage, code_version, data_dir};

#[derive(Args)]
pub(crate) struct ReproArguments {
    /// Findings to run; all by default
    findings: Vec<String>,
    /// How much to run: smoke, quick or full
    #[arg(long, default_value = "quick")]
    preset: Preset,
    /// Seeds per arm; by default the preset's
    #[arg(long, value_parser = at_least_one)]
    seeds: Option<NonZeroUsize>,
    /// Cells at a time; by default one per core
    #[arg(long, value_parser = at_least_one)]
    jobs: Option<NonZeroUsize>,
    /// Where to compute: flex, wgpu or cuda
    #[arg(long, default_value = "flex")]
    device: DeviceKind,
    /// The run directory; by default `repro/` and the preset's name
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Where data sets lie, and nowhere else
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct ReportArguments {
    /// The run directory
    directory: PathBuf,
}

fn at_least_one(word: &str) -> Result<NonZeroUsize, String> {
    let number = word.parse().map_err(|_| "allowed is a whole number, at least 1".to_owned())?;
    NonZeroUsize::new(number).ok_or_else(|| "at least 1".to_owned())
}

pub(crate) fn repro(arguments: ReproArguments) -> anyhow::Result<Outcome> {
    check_device(arguments.device)?;
    let data = data_dir(arguments.data)?;
    let findings = headwater_findings::all(data.clone());
    check_names(&findings, &arguments.findings)?;
    let preset = arguments.preset;
    let options = RunOptions {
        settings: Settings {
            preset,
            seeds: arguments.seeds.map(NonZeroUsize::get),
            device: arguments.device,
        },
        only: arguments.findings,
        jobs: match arguments.jobs {
            Some(jobs) => jobs,
            None => std::thread::available_parallelism().context("counting cores")?,
        },
        build: code_version::build(crate::workspace())?,
        out: arguments.out.unwrap_or_else(|| PathBuf::from("repro").join(preset.name())),
    };
    let progress = Progress::start();
    let report = headwater_protocol::run(
        &findings,
        &options,
        |announced| progress.announce(announced),
        |event| progress.show(event),
    );
    progress.finish();
    let report = report.map_err(|error| {
        if error.is_usage() {
            Usage(format!("--out {error}")).into()
        } else {
            anyhow::Error::new(error)
        }
    })?;
    print_summary(&report);
    println!("{}", options.out.join("report.html").display());
    let damaged = data.damaged();
    for file in &damaged {
        eprintln!("warning: damaged data: {file}");
    }
    Ok(if damaged.is_empty() { outcome(&report) } else { Outcome::Found })
}

pub(crate) fn report(arguments: ReportArguments) -> anyhow::Result<Outcome> {
    // Data sets play no part in rendering: what was run is in the directory.
    let findings = headwater_findings::all(DataDir::default());
    let code_version = code_version::code_version(crate::workspace())?;
    let report = headwater_protocol::render(&findings, &arguments.directory, &code_version)?;
    print_summary(&report);
    println!("{}", arguments.directory.join("report.html").display());
    Ok(outcome(&report))
}

/// Refuses a device that this binary cannot compute on, before anything is planned or written.
fn check_device(device: DeviceKind) -> anyhow::Result<()> {
    let devices = headwater_findings::devices();
    if devices.contains(&device) {
        return Ok(());
    }
    let there_are: Vec<&str> = devices.iter().map(|device| device.name()).collect();
    let message = format!(
        "--device {device}: this binary was built without it, the cargo feature `{device}` adds it; there are: {}",
        there_are.join(", ")
    );
    Err(Usage(message).into())
}

/// Refuses names that are no finding's, or that are given twice.
fn check_names(findings: &[Box<dyn Finding>], names: &[String]) -> anyhow::Result<()> {
    let ids: Vec<&str> = findings.iter().map(|finding| finding.id()).collect();
    for (at, name) in names.iter().enumerate() {
        if names[..at].contains(name) {
            return Err(Usage(format!("the finding `{name}` is named twice")).into());
        }
        if !ids.contains(&name.as_str()) {
            let listed = if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
            let message = format!("there is no finding `{name}`; there are: {listed}");
            return Err(Usage(message).into());
        }
    }
    Ok(())
}

fn print_summary(report: &Report) {
    let width = report.findings.iter().map(|finding| finding.id.len()).max().unwrap_or(0);
    for finding in &report.findings {
        println!("{:width$}  {:14}  {}", finding.id, finding.verdict.name(), finding.why);
        let failed = finding.failures.iter().filter(|failure| failure.ran).count();
        let missing = finding.failures.len();
        if missing > 0 {
            println!("{:width$}  {missing} cells have no record, {failed} of them failed", "");
        }
        for defect in &finding.defects {
            println!("{:width$}  defect: {defect}", "");
        }
        for (reason, arms) in by_reason(&finding.not_run) {
            println!("{:width$}  not run, {reason}: {}", "", arms.join(", "));
        }
    }
    if report.preset == Preset::Smoke {
        println!("smoke checks the machinery and decides nothing: every verdict is inconclusive");
    }
    if report.seeds_by_hand {
        println!(
            "the number of seeds is not the preset's own: see the report on optional stopping"
        );
    }
    for dropped in &report.dropped {
        eprintln!("warning: {} is no longer in the report: {}", dropped.finding, dropped.reason);
    }
    if let Some(rendered_by) = &report.rendered_by {
        let ran = &report.code_version;
        eprintln!(
            "warning: the cells were run by code {ran}, the report is made by code {rendered_by}"
        );
    }
}

fn outcome(report: &Report) -> Outcome {
    let invalid = report.findings.iter().any(|finding| finding.verdict == Verdict::Invalid);
    if invalid || !report.is_clean() { Outcome::Found } else { Outcome::Done }
}
