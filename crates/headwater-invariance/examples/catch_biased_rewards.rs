//! Three rewards with the biases most often found in reward models, each given away by one line of
//! test.
//!
//! `cargo run --example catch_biased_rewards`
#![allow(clippy::print_stdout)]

use headwater_core::{Sample, Score};
use headwater_invariance::{
    Edit, InvarianceConfig, Outcome, OwnedSample, edits, find_violation, given,
};
use headwater_rewards::{Reward, RewardError};

/// 1 for the right answer, whatever stands around it.
fn correctness(sample: Sample<'_>) -> f64 {
    let right = sample.reference.is_some_and(|answer| sample.completion.contains(answer));
    if right { 1.0 } else { 0.0 }
}

fn unbiased(sample: Sample<'_>) -> Score {
    Score::finite(correctness(sample))
}

fn length_biased(sample: Sample<'_>) -> Score {
    let words = sample.completion.split_whitespace().count();
    Score::finite(correctness(sample) + 0.01 * words as f64)
}

fn flattery_biased(sample: Sample<'_>) -> Score {
    let flattered = ["great", "expert", "excellent"]
        .iter()
        .any(|word| sample.completion.to_lowercase().contains(word));
    Score::finite(correctness(sample) + if flattered { 0.3 } else { 0.0 })
}

/// Pays for emphasis, but only in right answers: a bias that averages over wrong ones would hide.
fn format_biased(sample: Sample<'_>) -> Score {
    let emphasised = sample.completion.contains("**");
    Score::finite(correctness(sample) * if emphasised { 1.2 } else { 1.0 })
}

fn samples() -> [OwnedSample; 3] {
    let ask = |prompt, completion, reference| OwnedSample::new(prompt, completion, Some(reference));
    [
        ask("Capital of Norway?", "The capital of Norway, by the fjord, is Oslo.", "Oslo"),
        ask("Capital of Norway?", "I believe it to be Bergen, in the west.", "Oslo"),
        ask("Who wrote Emma?", "That was Jane Austen, and it appeared in 1815.", "Austen"),
    ]
}

fn audit(name: &str, reward: &impl Reward, edit: Edit) -> Result<(), RewardError> {
    let edit_name = edit.name().to_owned();
    match find_violation(reward, given(samples()), edit, InvarianceConfig::default())? {
        Outcome::Held(report) => {
            println!("{name}: unmoved by `{edit_name}` in {} pairs\n", report.compared);
        }
        Outcome::Violated(found) => {
            println!("{name}: moved by `{edit_name}`: {}", found.difference());
            println!("  original {:?} -> {:?}", found.original.completion, found.before);
            println!("  edited   {:?} -> {:?}", found.edited.completion, found.after);
            println!("  signed gap {:+.3}\n", found.gap().unwrap_or(f64::NAN));
        }
        Outcome::Vacuous(report) => {
            println!("{name}: nothing tested by `{edit_name}`: {report:?}\n")
        }
    }
    Ok(())
}

fn main() -> Result<(), RewardError> {
    audit("length_biased", &length_biased, edits::neutral_padding())?;
    audit("flattery_biased", &flattery_biased, edits::flattering_prefix())?;
    audit("format_biased", &format_biased, edits::markdown())?;
    for edit in [edits::neutral_padding(), edits::flattering_prefix(), edits::markdown()] {
        audit("unbiased", &unbiased, edit)?;
    }
    Ok(())
}
