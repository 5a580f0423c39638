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
//!     [ranker]
//!     epochs = 2
//!     position = { kind = "tower", dropout = 0.1 }
//!     network.sharing = { kind = "multi-gate", experts = 4, hidden = [16] }
//!
//! The arms: most popular first, frozen, retrained on clicks as they are, and retrained on clicks over the
//! probability of examination; where there is a table `ranker`, that neural ranker, frozen and retrained, and after it
//! the bias curve it has learnt, if its log identifies one. Random and oracle stand beside them.

#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use std::error::Error;
use std::fs;

use headwater_core::{Check, Streams};
use headwater_recsys::{
    Arm, Head, LogShape, LoopConfig, LoopSettings, NeuralRanker, NeuralRankerConfig,
    PopularityConfig, PositionGraph, RoundMetrics, World, WorldConfig,
};
use serde::Deserialize;

/// Items that two slots have to share for their biases to be compared.
const LEAST_SHARED: usize = 5;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    world: WorldConfig,
    #[serde(rename = "loop")]
    feedback: LoopConfig,
    popularity: PopularityConfig,
    ranker: Option<NeuralRankerConfig>,
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
    let bytes = fs::read(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        format!("{path}, line {line}: not UTF-8: save it in that encoding")
    })?;
    let config: Config = toml::from_str(text).map_err(|error| format!("{path}: {error}"))?;
    let world = config.world.check()?;
    let settings = config.feedback.check()?;
    let streams = Streams::new(seed);

    println!("arm round utility regret gini coverage effective legacy tau jaccard");
    let ranker = |propensities| PopularityConfig { propensities, ..config.popularity }.check();
    show("random", Arm::Random, &world, &streams, &settings)?;
    show("oracle", Arm::Oracle(Head::Click), &world, &streams, &settings)?;
    show("frozen", Arm::Frozen(&mut ranker(false)?), &world, &streams, &settings)?;
    show("retrained", Arm::Retrained(&mut ranker(false)?), &world, &streams, &settings)?;
    show("corrected", Arm::Retrained(&mut ranker(true)?), &world, &streams, &settings)?;
    let Some(neural) = config.ranker else { return Ok(()) };
    let (neural, shape) = (neural.check()?, LogShape::from(&world));
    let fresh = || NeuralRanker::new(&neural, shape, &streams.child("ranker", &[]));
    show("neural-frozen", Arm::Frozen(&mut fresh()), &world, &streams, &settings)?;
    let mut ranker = fresh();
    let graph = show("neural", Arm::Retrained(&mut ranker), &world, &streams, &settings)?;
    match ranker.bias_curve(&graph, LEAST_SHARED) {
        Ok(None) => println!("no bias curve: the remedy learns none"),
        Ok(Some(curve)) => println!("bias curve, centred: {:.2?}", curve.values()),
        Err(error) => println!("no bias curve: {error}"),
    }
    Ok(())
}

/// Runs an arm and prints its rounds; gives the graph of the slots in the log it was trained on last.
fn show(
    name: &str,
    arm: Arm<'_>,
    world: &World,
    streams: &Streams,
    settings: &LoopSettings,
) -> Result<PositionGraph, Box<dyn Error>> {
    let LogShape { slots, devices, .. } = LogShape::from(world);
    let mut graph = None;
    let or_dash = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let rounds = headwater_recsys::run(world, streams, arm, settings, |round| {
        graph = Some(PositionGraph::of_log(round.log, slots, devices)?);
        Ok(())
    })?;
    for metrics in rounds {
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
    Ok(graph.expect("a loop has rounds"))
}
