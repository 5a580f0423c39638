//! Runs a feedback loop that a TOML file describes, one line per arm and round.
//!
//!     cargo run -p headwater-recsys --example feedback_loop -- loop.toml [seed]
//!
//! Every table and field may be left out. For instance:
//!
//!     [world]
//!     items = 200
//!     candidates = 25
//!     personalisation = 0.3
//!     users = 500
//!
//!     [[world.devices]]
//!     share = 1.0
//!     examination = { model = "power", exponent = 1.0 }
//!
//!     [loop]
//!     rounds = 8
//!     exploration = { epsilon = 0.1, slot = 9 }
//!
//!     [popularity]
//!     prior_rate = 0.1
//!
//! The ranker is the most popular first, frozen, retrained on clicks as they are, and retrained on clicks over
//! the probability of examination; random and oracle stand beside it.

#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use std::error::Error;
use std::fs;

use headwater_core::{Check, Streams};
use headwater_recsys::{
    Arm, Head, LoopConfig, LoopSettings, PopularityConfig, RoundMetrics, World, WorldConfig,
};
use serde::Deserialize;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    world: WorldConfig,
    #[serde(rename = "loop")]
    feedback: LoopConfig,
    popularity: PopularityConfig,
}

fn main() {
    if let Err(error) = run(std::env::args().skip(1)) {
        eprintln!("error: {error}");
        std::process::exit(2);
    }
}

fn run(mut given: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let path = given.next().ok_or("give a TOML file")?;
    let seed = given.next().unwrap_or_else(|| "1".to_owned());
    let seed = seed.parse().map_err(|_| format!("seed {seed}: allowed is a whole number"))?;
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let config: Config = toml::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
    let world = config.world.check()?;
    let settings = config.feedback.check()?;
    let streams = Streams::new(seed);

    println!("arm round utility regret gini coverage effective legacy tau jaccard");
    let ranker = |propensities| PopularityConfig { propensities, ..config.popularity }.check();
    show("random", Arm::Random, &world, &streams, &settings)?;
    show("oracle", Arm::Oracle(Head::Click), &world, &streams, &settings)?;
    show("frozen", Arm::Frozen(&mut ranker(false)?), &world, &streams, &settings)?;
    show("retrained", Arm::Retrained(&mut ranker(false)?), &world, &streams, &settings)?;
    show("corrected", Arm::Retrained(&mut ranker(true)?), &world, &streams, &settings)
}

fn show(
    name: &str,
    arm: Arm<'_>,
    world: &World,
    streams: &Streams,
    settings: &LoopSettings,
) -> Result<(), Box<dyn Error>> {
    let or_dash = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    for metrics in headwater_recsys::run(world, streams, arm, settings, |_| Ok(()))? {
        let RoundMetrics { round, served, cumulative_regret, gini, coverage, .. } = metrics;
        println!(
            "{name} {round} {:.3} {cumulative_regret:.1} {gini:.3} {coverage:.3} {:.1} {} {} {}",
            served.clicks.ratio(),
            metrics.effective_items,
            or_dash(metrics.legacy_correlation),
            or_dash(metrics.kendall_tau),
            or_dash(metrics.homogeneity),
        );
    }
    Ok(())
}
