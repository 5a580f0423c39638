//! Lists the known data sets, and which of them lie in a directory with the right content.
//!
//! `cargo run -p headwater-data --example what_is_there -- DIRECTORY`
#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use headwater_data::{DATA_SETS, DataDir, SetState};

fn main() {
    let data = DataDir::new(std::env::args_os().nth(1).map(Into::into));
    for set in DATA_SETS {
        let state = match data.verify(set) {
            SetState::Verified(found) => format!("right ({found})"),
            SetState::NotFound => "not there".to_owned(),
            SetState::Damaged(errors) => errors[0].to_string(),
        };
        println!("{:16} {:70} {state}", set.name, set.content);
    }
}
