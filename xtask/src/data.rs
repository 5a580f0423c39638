//! `data list`, `data verify` and `data fetch`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use headwater_data::{DATA_SETS, DataDir, DataFile, DataSet, Found, Origin, SetState};

use crate::{Outcome, Usage, cache_dir, data_dir};
use fetch::Fetcher;
use http::{Http, Problem};

mod fetch;
mod http;
#[cfg(test)]
mod loopback;
mod wheel;

/// Where GitHub serves the files of repositories; the variable names a mirror with the same paths.
const GITHUB_RAW: &str = "https://raw.githubusercontent.com";
const GITHUB_RAW_VARIABLE: &str = "HEADWATER_GITHUB_RAW";

#[derive(Args)]
pub(crate) struct DataArguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// Where data sets lie, and nowhere else; `fetch` puts them there
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Action {
    /// Name every known set, its licence and source, and where it is found or how it is had
    List,
    /// Check size and SHA-256 of every file of every set that is found
    Verify,
    /// Download sets into the user's cache folder, by default all that are not there
    Fetch {
        /// Names of sets
        sets: Vec<String>,
    },
}

pub(crate) fn data(arguments: DataArguments) -> anyhow::Result<Outcome> {
    let data = data_dir(arguments.data.clone())?;
    match arguments.action.unwrap_or(Action::List) {
        Action::List => Ok(list(&data)),
        Action::Verify => Ok(verify(&data)),
        Action::Fetch { sets } => {
            let target = arguments.data.or_else(cache_dir);
            let target = target.context("there is no home folder: --data DIR says where to")?;
            fetch(&data, &target, &sets)
        }
    }
}

fn width() -> usize {
    DATA_SETS.iter().map(|set| set.name.len()).max().unwrap_or(0)
}

/// A larger set is fetched only by its name, bytes.
const MOST_UNASKED: u64 = 50_000_000;

fn list(data: &DataDir) -> Outcome {
    let width = width();
    for set in DATA_SETS {
        let place = match (data.find(set.name), set.by_hand) {
            (Ok(found), _) => found.to_string(),
            (Err(_), None) => format!("not found; `cargo xtask data fetch {}` gets it", set.name),
            (Err(_), Some(how)) => format!("not found; by hand: {how}"),
        };
        say!("{:width$}  {place}\n{:width$}  {}", set.name, "", set.content);
        say!("{:width$}  {}; {}", "", set.licence, set.source);
    }
    Outcome::Done
}

fn verify(data: &DataDir) -> Outcome {
    let width = width();
    let mut outcome = Outcome::Done;
    for set in DATA_SETS {
        match data.verify(set) {
            SetState::Verified(found) => say!("{:width$}  verified, {found}", set.name),
            // A missing set is a normal state: the arms that need it are reported as not run.
            SetState::NotFound => {
                let had = if set.by_hand.is_some() { "by hand" } else { "fetchable" };
                say!("{:width$}  not found, {had}", set.name);
            }
            SetState::Damaged(errors) => {
                outcome = Outcome::Found;
                say!("{:width$}  DAMAGED", set.name);
                errors.iter().for_each(|error| say!("{:width$}  {error}", ""));
            }
        }
    }
    outcome
}

fn fetch(data: &DataDir, target: &Path, names: &[String]) -> anyhow::Result<Outcome> {
    let sets = chosen(names)?;
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let raw = variable(GITHUB_RAW_VARIABLE).unwrap_or_else(|| GITHUB_RAW.to_owned());
    if !["http://", "https://"].iter().any(|scheme| raw.starts_with(scheme)) {
        let message = format!("{GITHUB_RAW_VARIABLE} is `{raw}`: allowed is an http or https URL");
        return Err(Usage(message).into());
    }
    let pythons = wheel::PYTHONS.iter().map(PathBuf::from).collect();
    let fetcher = Fetcher::new(target, &raw, Http::new(&raw, variable)?, pythons)?;
    let mut missing = Vec::new();
    let mut offline = false;
    for set in sets {
        match is_there(data, target, set) {
            Ok(true) => continue,
            Ok(false) => {}
            Err(damage) => {
                eprintln!("{}: damaged, and fetching would not mend it: {damage}", set.name);
                eprintln!("  Mend or remove it first.");
                missing.push(set.name);
                continue;
            }
        }
        if let Some(how) = set.by_hand {
            say!("{}: by hand. {how}. docs/data.md says more.", set.name);
            missing.extend((!names.is_empty()).then_some(set.name));
            continue;
        }
        if offline && set.files.iter().any(is_on_github) {
            say!("{}: not tried, as the server cannot be reached", set.name);
            missing.push(set.name);
            continue;
        }
        if names.is_empty() && bytes(set) > MOST_UNASKED {
            say!("{0}: {1}, only by name: `data fetch {0}`", set.name, size(set));
            continue;
        }
        say!("{}: {}; licence {}; {}", set.name, set.content, set.licence, size(set));
        match fetcher.fetch(set) {
            Ok(directory) => say!("  now in {}", directory.display()),
            Err(failed) => {
                missing.push(set.name);
                offline |= matches!(failed.problem, Problem::Unreachable { .. });
                eprintln!("{}: {}: {}", set.name, failed.file, failed.problem);
                eprintln!("  By hand: its place is {}", failed.place.display());
            }
        }
    }
    if !missing.is_empty() {
        bail!("not fetched: {}", missing.join(", "));
    }
    Ok(Outcome::Done)
}

/// The sets of these names, or all.
fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static DataSet>> {
    if names.is_empty() {
        return Ok(DATA_SETS.iter().collect());
    }
    let by_name = |name: &String| {
        DATA_SETS.iter().find(|set| set.name == name).ok_or_else(|| {
            let all: Vec<&str> = DATA_SETS.iter().map(|set| set.name).collect();
            Usage(format!("there is no data set `{name}`; there are: {}", all.join(", "))).into()
        })
    };
    names.iter().map(by_name).collect()
}

/// Whether a set needs no fetching; says where it is. The error is what is wrong with a damaged set
/// that fetching would not mend, since it lies elsewhere or is made by hand.
fn is_there(data: &DataDir, target: &Path, set: &DataSet) -> Result<bool, String> {
    let errors = match data.verify(set) {
        SetState::NotFound => return Ok(false),
        SetState::Verified(found) => {
            say!("{}: there, {found}", set.name);
            return Ok(true);
        }
        SetState::Damaged(errors) => errors,
    };
    let ours = Found::Directory(target.join(set.name));
    if set.by_hand.is_none() && data.find(set.name).is_ok_and(|found| found == ours) {
        return Ok(false);
    }
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Err(errors.join("; "))
}

fn is_on_github(file: &DataFile) -> bool {
    matches!(file.origin, Some(Origin::GitHub { .. }))
}

fn bytes(set: &DataSet) -> u64 {
    set.files.iter().map(|file| file.bytes).sum()
}

fn size(set: &DataSet) -> String {
    format!("{:.1} MB", bytes(set) as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_documentation_is_the_registry() {
        let path = crate::workspace().join("docs/data.md");
        let text = std::fs::read_to_string(path).unwrap();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| [`")).collect();
        let expected: Vec<String> = DATA_SETS
            .iter()
            .map(|set| {
                let had = match set.by_hand {
                    Some(_) => "by hand",
                    None if DataDir::default().find(set.name).is_ok() => "built in",
                    None => "fetch",
                };
                let DataSet { name, content, licence, .. } = set;
                format!("| [`{name}`](#{name}) | {content} | {licence} | {had} |")
            })
            .collect();
        assert_eq!(rows, expected);
        for set in DATA_SETS {
            assert!(text.contains(&format!("\n## {}\n", set.name)), "{}", set.name);
        }
    }
}
