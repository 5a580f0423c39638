//! Writes countdown puzzles with all their right answers as JSON lines, for any trainer.
//!
//! `cargo run -p headwater-tasks --example countdown_jsonl -- COUNT SEED`
#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use headwater_core::Streams;
use headwater_tasks::countdown::{Puzzle, Split};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| {
        argument.parse().map_err(|_| format!("{argument:?}: allowed is a whole number"))
    });
    let count: u64 = arguments.next().unwrap_or(Ok(5))?;
    let seed: u64 = arguments.next().unwrap_or(Ok(1))?;
    let mut stream = Streams::new(seed).stream("puzzles", &[]);
    for _ in 0..count {
        let puzzle = Puzzle::draw(Split::Optimised, &mut stream);
        let answers = puzzle.solutions();
        let quoted: Vec<String> = answers.iter().map(|answer| format!("{answer:?}")).collect();
        println!(r#"{{"prompt": {:?}, "answers": [{}]}}"#, puzzle.text(), quoted.join(", "));
    }
    Ok(())
}
