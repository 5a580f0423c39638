//! `data list` and `data verify`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use headwater_findings::data::{DATA_SETS, SetState};

use crate::{Outcome, data_dir};

#[derive(Args)]
pub(crate) struct DataArguments {
    /// What to do
    #[arg(value_enum, default_value = "list")]
    action: Action,
    /// Where data sets lie
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Action {
    /// Name every known set, its licence and source, and whether it is found
    List,
    /// Check size and SHA-256 of every file of every set that is found
    Verify,
}

pub(crate) fn data(arguments: DataArguments) -> anyhow::Result<Outcome> {
    let data = data_dir(arguments.data)?;
    let width = DATA_SETS.iter().map(|set| set.name.len()).max().unwrap_or(0);
    if let Action::List = arguments.action {
        for set in DATA_SETS {
            let place = match data.find(set.name) {
                Ok(path) => path.display().to_string(),
                Err(_) => "not found".to_owned(),
            };
            println!("{:width$}  {place}\n{:width$}  {}", set.name, "", set.content);
            println!("{:width$}  {}; {}", "", set.licence, set.source);
        }
        return Ok(Outcome::Done);
    }
    let mut outcome = Outcome::Done;
    for (set, state) in data.verify() {
        match state {
            SetState::Verified(path) => {
                println!("{:width$}  verified, {}", set.name, path.display())
            }
            // A missing set is a normal state: the arms that need it are reported as not run.
            SetState::NotFound => println!("{:width$}  not found", set.name),
            SetState::Damaged(errors) => {
                outcome = Outcome::Found;
                println!("{:width$}  DAMAGED", set.name);
                errors.iter().for_each(|error| println!("{:width$}  {error}", ""));
            }
        }
    }
    Ok(outcome)
}
