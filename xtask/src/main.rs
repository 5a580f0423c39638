//! The command line of the workspace: `cargo xtask repro | list | report | data | bench | tidy`.
//!
//! This is the one place that reads the environment and prints. Exit codes: 0 done; 1 a verdict is
//! invalid, a cell failed, or a check found something; 2 usage; 3 the run could not be carried out;
//! 130 and 143 it was ended by Ctrl-C or a termination.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a command line answers on standard output")]

/// A line on standard output. `println!` would panic where nobody reads on, or on a full disk.
macro_rules! say {
    ($($text:tt)*) => { $crate::write_line(format_args!($($text)*)) };
}

mod bench;
mod code_version;
mod data;
mod fingerprint;
mod list;
mod progress;
mod repro;
mod resolution;
mod summary;
mod tidy;
mod words;

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use clap::{Parser, Subcommand};
use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use headwater_data::DataDir;

/// A step makes and drops tensors of some megabytes; the system's allocator gives their pages back
/// each time, and the kernel clears them again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Re-measures published findings about rewards and what optimisation makes of them.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run findings and write their report; the same command again finishes an interrupted run
    Repro(repro::ReproArguments),
    /// List findings and claims; with a finding's name also its experiments and arms
    List(list::ListArguments),
    /// Render a run's report again from its records
    Report(repro::ReportArguments),
    /// Data sets: what is known, whether it is there and unaltered; downloads it
    Data(data::DataArguments),
    /// Time the kernels, or the same work beside PyTorch and TRL
    Bench(bench::BenchArguments),
    /// Check the rules of the workspace: dependency direction, file length, paths, leftovers
    Tidy,
}

/// What a command came to, when it could be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// Something the caller should look at: an invalid verdict, a failed cell, a failed check.
    Found,
}

/// What standard output refused, if anything; a reader that has gone is no failure.
static REFUSED: OnceLock<std::io::Error> = OnceLock::new();

fn write_line(line: fmt::Arguments<'_>) {
    let written = writeln!(std::io::stdout(), "{line}");
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        let _ = REFUSED.set(error);
    }
}

/// A mistake in how the command was called, as opposed to one in carrying it out.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Repro(arguments) => repro::repro(arguments),
        Command::List(arguments) => list::list(&arguments),
        Command::Report(arguments) => repro::report(arguments),
        Command::Data(arguments) => data::data(arguments),
        Command::Bench(arguments) => bench::bench(&arguments),
        Command::Tidy => tidy::tidy(),
    };
    if let Some(error) = REFUSED.get() {
        eprintln!("error: cannot write to standard output: {error}");
        return ExitCode::from(3);
    }
    match done {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Found) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {}", with_causes(&error));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 3 })
        }
    }
}

/// The error's text and, after colons, what it was caused by. Many errors already end in their
/// cause's text.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// The root of the workspace: xtask always runs from a checkout.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Where data sets are looked for: in the `--data` directory and nowhere else if it is given, or
/// else in `$HEADWATER_DATA`, `./data`, `../shared/data`, and the folder into which `data fetch`
/// puts them.
pub(crate) fn data_dir(given: Option<PathBuf>) -> anyhow::Result<DataDir> {
    // Named by the user, so that a slip of the pen must not pass for "no data sets here".
    let named = |what: &str, directory: PathBuf| {
        if directory.is_dir() {
            return Ok(directory);
        }
        Err(Usage(format!("{what} {}: not a directory", directory.display())))
    };
    if let Some(directory) = given {
        return Ok(DataDir::new([named("--data", directory)?]));
    }
    let variable = std::env::var_os("HEADWATER_DATA").filter(|value| !value.is_empty());
    let variable = variable.map(|value| named("HEADWATER_DATA", value.into())).transpose()?;
    let usual = ["data", "../shared/data"].map(PathBuf::from);
    Ok(DataDir::new(variable.into_iter().chain(usual).chain(cache_dir())))
}

/// A folder for data sets among the user's caches; none where the user has no home.
pub(crate) fn cache_dir() -> Option<PathBuf> {
    let folders = choose_native_strategy().ok()?;
    Some(folders.cache_dir().join("headwater").join("data"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_cause_that_the_error_already_states_is_not_repeated() {
        let system = std::io::Error::other("no space");
        let nested = anyhow::Error::new(system).context("cannot write f: no space");
        assert_eq!(with_causes(&nested), "cannot write f: no space");
        let plain: anyhow::Result<()> = Err(std::io::Error::other("no space").into());
        let plain = plain.context("cannot write f").context("the run ended");
        assert_eq!(with_causes(&plain.unwrap_err()), "the run ended: cannot write f: no space");
    }
}
