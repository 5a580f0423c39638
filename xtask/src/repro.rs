//! `repro` and `report`.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use headwater_data::DataDir;
use headwater_protocol::{
    DeviceKind, Finding, Preset, ProtocolError, RunOptions, Settings, Verdict,
};
use headwater_report::{Chapter, Report, ReportError};

use crate::progress::{Progress, Setup};
use crate::{Outcome, Usage, code_version, data_dir, summary, words};

#[derive(Args)]
pub(crate) struct ReproArguments {
    /// Findings and claims to run; all by default. Of a claim's finding only what it needs is run
    #[arg(value_name = "FINDING|CLAIM")]
    names: Vec<String>,
    /// A claim to run, by its name; the same as naming it without the option
    #[arg(long = "claim", value_name = "CLAIM")]
    claims: Vec<String>,
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
    let chapters = headwater_findings::all(&data);
    let only = [arguments.names, arguments.claims].concat();
    check_names(&chapters, &only)?;
    let preset = arguments.preset;
    let cores = std::thread::available_parallelism().context("counting cores")?;
    let options = RunOptions {
        settings: Settings {
            preset,
            seeds: arguments.seeds.map(NonZeroUsize::get),
            device: arguments.device,
        },
        only,
        jobs: arguments.jobs.unwrap_or(cores),
        build: code_version::build(crate::workspace(), &chapters)?,
        out: arguments.out.unwrap_or_else(|| PathBuf::from("repro").join(preset.name())),
    };
    let progress = Progress::start(Setup {
        preset,
        device: arguments.device,
        jobs: options.jobs.get(),
        cores: cores.get(),
        out: options.out.clone(),
        command: this_command(),
    })?;
    let report = headwater_report::run(
        &chapters,
        &options,
        |announced| progress.announce(announced),
        |event| progress.show(event),
    );
    progress.finish();
    let report = report.map_err(|error| match &error {
        ReportError::Protocol(ProtocolError::TooManySeeds(_)) => Usage(format!("--{error}")).into(),
        ReportError::Protocol(inner) if inner.is_usage() => Usage(format!("--out {error}")).into(),
        _ => anyhow::Error::new(error),
    })?;
    let damaged = data.damaged();
    print_summary(&report, &damaged, &options.out);
    Ok(if damaged.is_empty() { outcome(&report) } else { Outcome::Found })
}

/// The command line that started this program, as it is typed.
fn this_command() -> String {
    let arguments = std::env::args_os().skip(1);
    let arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    words::command(["cargo", "xtask"].map(str::to_owned).into_iter().chain(arguments))
}

pub(crate) fn report(arguments: ReportArguments) -> anyhow::Result<Outcome> {
    // Data sets play no part in rendering: what was run is in the directory.
    let chapters = headwater_findings::all(&DataDir::default());
    let code_version = code_version::code_version(crate::workspace())?;
    let report = headwater_report::render(&chapters, &arguments.directory, &code_version)?;
    print_summary(&report, &[], &arguments.directory);
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

/// Refuses names that are no finding's and no claim's, or that are given twice.
fn check_names(chapters: &[Chapter], names: &[String]) -> anyhow::Result<()> {
    for (at, name) in names.iter().enumerate() {
        if names[..at].contains(name) {
            return Err(Usage(format!("`{name}` is named twice")).into());
        }
        let is_known = |finding: &Finding| {
            finding.id == name || finding.claims.iter().any(|claim| claim.id == name)
        };
        if chapters.iter().any(|chapter| is_known(&chapter.finding)) {
            continue;
        }
        // Who misspelt a claim means one of that finding.
        let of = name.split('/').next().unwrap_or(name);
        let finding = chapters.iter().map(|chapter| &chapter.finding).find(|f| f.id == of);
        let (what, there_are): (&str, Vec<&str>) = match finding {
            Some(finding) => ("claim", finding.claims.iter().map(|claim| claim.id).collect()),
            None => {
                ("finding or claim", chapters.iter().map(|chapter| chapter.finding.id).collect())
            }
        };
        let listed = there_are.join(", ");
        let message = format!("there is no {what} `{name}`; there are: {listed}");
        return Err(Usage(format!("{message}; `cargo xtask list` names all claims")).into());
    }
    Ok(())
}

/// Prints what was found, `damaged` data files and where the report is; doubts about the report go
/// to standard error.
fn print_summary(report: &Report, damaged: &[String], out: &Path) {
    for dropped in &report.dropped {
        eprintln!("warning: {} is no longer in the report: {}", dropped.finding, dropped.reason);
    }
    if let Some(rendered_by) = &report.rendered_by {
        let ran = &report.code_version;
        eprintln!(
            "warning: the cells were run by code {ran}, the report is made by code {rendered_by}"
        );
    }
    let mut lines = summary::lines(report);
    lines.extend(damaged.iter().map(|file| format!("Damaged data: {file}")));
    lines.push(format!("The report: {}", out.join("report.html").display()));
    let terminal = console::Term::stdout();
    let width = terminal.size_checked().map(|(_, columns)| usize::from(columns));
    let mut text = String::new();
    for line in lines.iter().flat_map(|line| words::wrapped(line, width)) {
        text.push_str(&line);
        text.push('\n');
    }
    // Who reads no further, `head` for one, makes no failure of the run.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

fn outcome(report: &Report) -> Outcome {
    let invalid = report.findings.iter().any(|finding| finding.found.verdict == Verdict::Invalid);
    if invalid || !report.is_clean() { Outcome::Found } else { Outcome::Done }
}
