//! Trains a reward model on preferences of your own, probes it for a bias, and scores responses with it.
//!
//!     cargo run -p headwater-reward-models --example train_and_probe -- \
//!         preferences.jsonl [--responses responses.jsonl] [--conditional WEIGHT | --unconditional WEIGHT] \
//!         [--model model.bin]
//!
//! `preferences.jsonl`: {"prompt", "chosen", "rejected"}, optionally "id", "label", "margin", and the factor to be
//! probed and penalised as "chosen_factor" and "rejected_factor" (without them: words of the response).
//! A fifth of the preferences is held out. `responses.jsonl`: {"prompt", "response"}, optionally "id" and "score";
//! every response comes out as a line of JSON with its score. `--model` saves what was trained.

#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use std::error::Error;
use std::fs;

use headwater_core::{Check, Streams};
use headwater_evaluation::bias::{accuracy_by_factor, factor_readout};
use headwater_evaluation::{Interval, baselines::accuracy_above_factor};
use headwater_nn::Device;
use headwater_reward_models::{
    BagOfWordsConfig, Grouping, HashedWords, InvariancePenaltyConfig, Preference, RewardModel,
    RewardModelConfig, Rows, Scaling, read_preferences, read_responses, scored_pairs, words,
};
use rand::seq::SliceRandom;

fn main() {
    if let Err(error) = run(std::env::args().skip(1)) {
        eprintln!("error: {error}");
        std::process::exit(2);
    }
}

#[derive(Default)]
struct Arguments {
    preferences: Option<String>,
    responses: Option<String>,
    model: Option<String>,
    invariance: Option<InvariancePenaltyConfig>,
}

fn arguments(given: impl Iterator<Item = String>) -> Result<Arguments, Box<dyn Error>> {
    let mut given = given;
    let mut arguments = Arguments::default();
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--responses" => arguments.responses = Some(value()?),
            "--model" => arguments.model = Some(value()?),
            "--conditional" | "--unconditional" => {
                let grouping = if argument == "--conditional" {
                    Grouping::Conditional
                } else {
                    Grouping::Unconditional
                };
                let text = value()?;
                let weight = text.parse().map_err(|_| {
                    format!("{argument} {text}: allowed is a finite number of at least 0")
                })?;
                arguments.invariance = Some(InvariancePenaltyConfig { grouping, weight, bins: 4 });
            }
            other if other.starts_with('-') => return Err(format!("unknown option {other}").into()),
            file => arguments.preferences = Some(file.to_owned()),
        }
    }
    Ok(arguments)
}

fn read(path: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    fs::read(path).map_err(|error| format!("cannot read {path}: {error}").into())
}

/// The rows; fields that are ignored are told, for a misspelt one is among them.
fn told<T>(read: Rows<T>, path: &str) -> Vec<T> {
    if !read.ignored.is_empty() {
        println!("{path}: ignored fields: {}", read.ignored.join(", "));
    }
    read.rows
}

fn run(given: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let arguments = arguments(given)?;
    let path = arguments.preferences.ok_or("give a file of preferences")?;
    let mut preferences = told(read_preferences(read(&path)?, &path)?, &path);
    // Read before training: a bad row should not cost the user the training.
    let responses = match &arguments.responses {
        Some(path) => told(read_responses(read(path)?, path)?, path),
        None => Vec::new(),
    };
    if preferences.iter().all(|p| p.chosen.factor == 0.0 && p.rejected.factor == 0.0) {
        println!("all factors are 0 or left out: the factor is the number of words");
        for response in preferences.iter_mut().flat_map(|p| [&mut p.chosen, &mut p.rejected]) {
            response.factor = words(&response.text).len() as f64;
        }
    }

    let streams = Streams::new(1);
    preferences.shuffle(&mut streams.stream("split", &[]));
    let held_out = preferences.split_off(preferences.len() - preferences.len() / 5);
    let bag = BagOfWordsConfig { scaling: Scaling::Counts, ..BagOfWordsConfig::default() };
    // A few hundred steps however few the preferences; the penalty wants large batches.
    let batch: usize = 256;
    let epochs = (300 * batch).div_ceil(preferences.len().max(batch));
    let invariance = arguments.invariance;
    let settings = RewardModelConfig { invariance, epochs, batch, ..RewardModelConfig::default() };
    let (model, epochs) = RewardModel::fit(
        HashedWords::new(bag.check()?),
        &preferences,
        &[],
        &held_out,
        &settings.check()?,
        &streams,
        &Device::flex(),
    )?;
    for (at, epoch) in epochs.iter().enumerate().filter(|(at, _)| at % 30 == 0) {
        println!(
            "epoch {}: loss {:.3}, likelihood {:.3}",
            at + 1,
            epoch.loss,
            epoch.likelihood_loss
        );
    }
    if let Some(path) = &arguments.model {
        fs::write(path, model.to_bytes())
            .map_err(|error| format!("cannot write {path}: {error}"))?;
    }
    let texts: Vec<(&str, &str)> =
        responses.iter().map(|r| (r.prompt.as_str(), r.response.as_str())).collect();
    for (row, score) in responses.iter().zip(model.scores(&texts)?) {
        println!("{}", serde_json::json!({ "id": row.id, "score": score, "recorded": row.score }));
    }
    // Last: what cannot be probed has been trained all the same.
    if let Err(error) = probe(&model, &held_out, &streams) {
        println!("not probed: {error}");
    }
    Ok(())
}

fn probe(
    model: &RewardModel<HashedWords>,
    held_out: &[Preference],
    streams: &Streams,
) -> Result<(), Box<dyn Error>> {
    if held_out.len() < 20 {
        println!("{} preferences held out: too few to probe", held_out.len());
        return Ok(());
    }
    let pairs = scored_pairs(held_out, |texts| model.scores(texts))?;
    let show = |name: &str, interval: Option<Interval>| match interval {
        Some(i) => println!("{name}: {:.3} [{:.3}, {:.3}], n = {}", i.estimate, i.low, i.high, i.n),
        None => println!("{name}: no such pairs"),
    };
    let cells = accuracy_by_factor(&pairs, 0.95)?;
    show("accuracy, the better response has more of the factor", cells.chosen.accuracy);
    show("accuracy, the worse response has more of it", cells.rejected.accuracy);
    show("difference", cells.gap);
    let mut permutations = streams.stream("permutations", &[]);
    let readout = factor_readout(&pairs, 5, 199, 0.95, &mut permutations)?;
    show("correlation of score and factor", Some(readout.overall.correlation));
    let above = accuracy_above_factor(&pairs, 0.95)?;
    show("accuracy above choosing by more of the factor", Some(above.above_more));
    Ok(())
}
