//! `bench`: the criterion benches, or the same work beside PyTorch, Hugging Face, TRL and T-RECS.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::{Outcome, Usage, workspace};

#[derive(Args)]
pub(crate) struct BenchArguments {
    /// What to time
    #[arg(value_enum, default_value = "criterion")]
    what: What,
    /// Peers only: times every row is run on each side, in turn
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Peers only: rows whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Peers only: threads on each side
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// This project's kernels, simulator and loops by themselves
    Criterion,
    /// Beside PyTorch, Hugging Face, TRL and T-RECS, in a virtual environment of their own
    Peers,
}

pub(crate) fn bench(arguments: &BenchArguments) -> anyhow::Result<Outcome> {
    match arguments.what {
        What::Criterion => {
            // The profile of tests and of `repro`: what is timed is what runs.
            run(benches("bench").args(["--profile", "dev"]))?;
        }
        What::Peers => peers(arguments)?,
    }
    Ok(Outcome::Done)
}

/// One piece of work, and the engines it is compared with.
struct Row {
    work: &'static str,
    size: &'static str,
    batch: usize,
    engines: &'static [&'static str],
}

impl Row {
    fn name(&self) -> String {
        match self.work {
            "mmd" | "mmoe-step" | "recommend-round" => format!("{} of {}", self.work, self.batch),
            "start-up" => self.work.to_owned(),
            work => format!("{work} {} x {}", parameters(self.size), self.batch),
        }
    }
}

fn parameters(size: &str) -> &'static str {
    match size {
        "t" => "0.1M",
        "s" => "0.8M",
        _ => "4.8M",
    }
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for size in ["t", "s", "m"] {
        for batch in [8, 64] {
            rows.push(Row { work: "train-step", size, batch, engines: &["pytorch"] });
        }
    }
    for size in ["t", "s", "m"] {
        for batch in [8, 64] {
            rows.push(Row { work: "sample", size, batch, engines: &["pytorch", "hf"] });
        }
    }
    for (size, batch) in [("t", 16), ("t", 64), ("s", 16), ("s", 64)] {
        rows.push(Row { work: "grpo-step", size, batch, engines: &["trl", "pytorch"] });
    }
    rows.push(Row { work: "mmd", size: "s", batch: 2048, engines: &["pytorch"] });
    rows.push(Row { work: "mmoe-step", size: "s", batch: 1024, engines: &["pytorch"] });
    rows.push(Row { work: "recommend-round", size: "s", batch: 100, engines: &["t-recs"] });
    rows.push(Row { work: "start-up", size: "s", batch: 1, engines: &["pytorch"] });
    rows
}

/// Times of one side of one row: the median step of every round, and the largest memory of any.
#[derive(Default)]
struct Side {
    medians: Vec<f64>,
    peak_mb: f64,
    versions: Value,
}

fn peers(arguments: &BenchArguments) -> anyhow::Result<()> {
    let rows: Vec<Row> =
        rows().into_iter().filter(|row| row.name().contains(&arguments.only)).collect();
    if rows.is_empty() || arguments.rounds == 0 {
        let message =
            format!("--only {}, --rounds {}: nothing to run", arguments.only, arguments.rounds);
        return Err(Usage(message).into());
    }
    let python = virtual_environment()?;
    run(&mut benches("build"))?;
    let own = benches_target().join("debug").join("headwater-benches");
    let script = workspace().join("benches/peers/peer.py");
    let mut results = Vec::new();
    for row in &rows {
        let mut sides: Vec<(&str, Side)> = vec![("headwater", Side::default())];
        sides.extend(row.engines.iter().map(|engine| (*engine, Side::default())));
        for round in 0..arguments.rounds {
            for (engine, side) in &mut sides {
                eprintln!("{}: {engine}, round {} of {}", row.name(), round + 1, arguments.rounds);
                let mut command = if *engine == "headwater" {
                    Command::new(&own)
                } else {
                    let mut command = Command::new(&python);
                    command.arg(&script);
                    command
                };
                command.args([row.work, "--size", row.size, "--engine", engine]);
                command.args(["--batch", &row.batch.to_string()]);
                command.args(["--threads", &arguments.threads.to_string()]);
                measure(&mut command, row, side)
                    .with_context(|| format!("{} on {engine}", row.name()))?;
            }
        }
        results.push(sides);
    }
    let table = table(&rows, &results);
    let out = target().join("peers");
    fs::create_dir_all(&out)?;
    let json = as_json(&rows, &results, arguments);
    fs::write(out.join("peers.json"), serde_json::to_string_pretty(&json)?)?;
    fs::write(out.join("peers.md"), &table)?;
    println!("{table}");
    println!("written to {} (and peers.json beside it)", out.join("peers.md").display());
    Ok(())
}

/// Runs one side once.
fn measure(command: &mut Command, row: &Row, side: &mut Side) -> anyhow::Result<()> {
    let start = Instant::now();
    let output = command.stderr(Stdio::piped()).output().context("starting it")?;
    let wall = start.elapsed().as_secs_f64() * 1e3;
    if !output.status.success() {
        bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line: Value = serde_json::from_str(text.lines().last().unwrap_or_default())
        .context("its last line is not JSON")?;
    // A whole process, from outside, is the only fair clock of a start.
    let median = if row.work == "start-up" {
        wall
    } else {
        let times = line["milliseconds"].as_array().context("no `milliseconds`")?;
        median(times.iter().filter_map(Value::as_f64).collect()).context("no times")?
    };
    side.medians.push(median);
    side.peak_mb = side.peak_mb.max(line["peak_rss_mb"].as_f64().unwrap_or(0.0));
    side.versions = line["versions"].clone();
    Ok(())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) =
        (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some(0.5 * (low + high))
}

/// Times faster than a peer: the median over rounds of the ratio within the round.
fn ratio(own: &Side, peer: &Side) -> f64 {
    let ratios = own.medians.iter().zip(&peer.medians).map(|(own, peer)| peer / own);
    median(ratios.collect()).unwrap_or(f64::NAN)
}

fn table(rows: &[Row], results: &[Vec<(&str, Side)>]) -> String {
    let mut text = String::from(
        "| work | Headwater, ms | peer | ms | times faster | memory, MiB | peer's, MiB |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for (row, sides) in rows.iter().zip(results) {
        let Some(((_, own), peers)) = sides.split_first() else { continue };
        for (engine, peer) in peers {
            let time = |side: &Side| median(side.medians.clone()).unwrap_or(f64::NAN);
            let _ = writeln!(
                text,
                "| {} | {:.2} | {engine} | {:.2} | **{:.2}** | {:.0} | {:.0} |",
                row.name(),
                time(own),
                time(peer),
                ratio(own, peer),
                own.peak_mb,
                peer.peak_mb
            );
        }
    }
    text
}

fn as_json(rows: &[Row], results: &[Vec<(&str, Side)>], arguments: &BenchArguments) -> Value {
    let rows = rows.iter().zip(results).map(|(row, sides)| {
        let engines = sides.iter().map(|(engine, side)| {
            json!({
                "engine": engine,
                "round_medians_ms": side.medians,
                "peak_rss_mb": side.peak_mb,
                "versions": side.versions,
                "headwater_times_faster": ratio(&sides[0].1, side),
            })
        });
        json!({
            "work": row.work,
            "size": parameters(row.size),
            "batch": row.batch,
            "engines": engines.collect::<Vec<_>>(),
        })
    });
    json!({
        "machine": machine(),
        "rounds": arguments.rounds,
        "threads": arguments.threads,
        "rows": rows.collect::<Vec<_>>(),
    })
}

/// The processor's name and instruction sets, as Linux tells them.
fn machine() -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown").to_owned()
    };
    let flags = field("flags");
    json!({
        "processor": field("model name"),
        "logical_processors": std::thread::available_parallelism().map_or(0, usize::from),
        "avx2": flags.contains(" avx2"),
        "avx512f": flags.contains(" avx512f"),
    })
}

/// Python with the pinned packages: made once, and again when the pins change.
fn virtual_environment() -> anyhow::Result<PathBuf> {
    // What T-RECS says it needs can no longer be installed, and it runs without.
    let lists = [("requirements.txt", None), ("requirements-alone.txt", Some("--no-deps"))];
    let lists = lists.map(|(name, option)| (workspace().join("benches/peers").join(name), option));
    let mut pins = String::new();
    for (file, _) in &lists {
        pins += &fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    }
    let folder = target().join("peers-venv");
    let (python, stamp) = (folder.join("bin/python"), folder.join("installed.txt"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == pins) {
        return Ok(python);
    }
    eprintln!("making a virtual environment in {} (PyTorch is large)", folder.display());
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))
        .context("Python 3.11 or newer with venv is needed for the peers")?;
    for (file, option) in lists {
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(option)
            .arg("-r")
            .arg(file))?;
    }
    fs::write(&stamp, pins)?;
    Ok(python)
}

fn target() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    named.unwrap_or_else(|| workspace().join("target"))
}

/// The benches are a workspace of their own, built beside the main one's files.
fn benches_target() -> PathBuf {
    target().join("benches")
}

fn benches(what: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace().join("benches")).args([what, "--locked", "--target-dir"]);
    command.arg(benches_target());
    command
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_paired_by_round() {
        let side = |medians: &[f64]| Side { medians: medians.to_vec(), ..Side::default() };
        // The machine was twice as slow in the second round, on both sides alike.
        assert_eq!(ratio(&side(&[10.0, 20.0, 10.0]), &side(&[30.0, 60.0, 30.0])), 3.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }
}
