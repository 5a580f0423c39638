//! Experiment `feedback-loop-conflict`: clickbait against satisfaction. A ranker with two heads in
//! a loop, by how they share the network.
//!
//! World A with clickbait, which raises clicks and lowers what people think of them afterwards. The
//! cosine between what is clicked and what is liked stands for p of the synthetic tasks. All arms
//! have the shallow tower on the click head and serve the product of both heads; satisfaction is
//! defined, and learnt from, after a click only. One arm ignores that, learns the probability of a
//! click that is liked, and serves it alone; one drops experts in training; one has no satisfaction
//! head at all, which is shown and is no contrast: it cannot see what it is measured by.

use headwater_core::Check;
use headwater_protocol::{
    Arm, Cell, CellError, Experiment, Metric, Outcome, Plan, Preset, ProtocolError, Settings,
    Workbench,
};
use headwater_recsys::{
    HeadConfig, LoopConfig, NetworkConfig, NeuralRankerConfig, PositionConfig, Sharing, WorldConfig,
};

use super::looped::{self, LoopedConfig, Server};

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct FeedbackLoopConflict;

/// Every ranker.
pub const RANKERS: [&str; 5] =
    ["shared-bottom", "mmoe", "mmoe-gate-dropout", "mmoe-unmasked", "mmoe-clicks-only"];

/// Cosines between what is clicked and what is liked, by the key in names of arms, and the rankers
/// that are run.
pub const COSINES: [(&str, f64, &[&str]); 2] =
    [("related", 1.0, &["shared-bottom", "mmoe"]), ("unrelated", 0.0, &RANKERS)];

/// The arm of a ranker at a cosine.
#[must_use]
pub fn arm(cosine: &str, ranker: &str) -> Arm {
    format!("conflict-{cosine}-{ranker}").into()
}

/// Features of a row: context, item and their product, and the id embedding.
fn inputs(features: usize, ranker: &NeuralRankerConfig) -> usize {
    3 * features + ranker.embedding
}

fn ranker(name: &str, features: usize) -> NeuralRankerConfig {
    let sharing = Sharing::MultiGate { experts: 4, hidden: vec![16] };
    // Gates and experts read a shared hidden layer, as in the ranker's paper.
    // Experts are dropped in one arm only: a shared bottom has none to drop.
    let gate_dropout = if name == "mmoe-gate-dropout" { 0.1 } else { 0.0 };
    let network =
        NetworkConfig { sharing, tower: vec![8], gate_dropout, ..NetworkConfig::default() };
    let head = HeadConfig::default();
    let mut config = NeuralRankerConfig {
        network,
        like: Some(head),
        position: PositionConfig::Tower { dropout: 0.1, crossed: true },
        ..NeuralRankerConfig::default()
    };
    match name {
        "shared-bottom" => {
            let mixture = config.network.clone().check().expect("widths and experts above 0");
            let inputs = inputs(features, &config);
            let cost = mixture.multiplications(inputs, 2).total();
            config.network = (*mixture.shared_bottom_of(cost, inputs, 2)).clone();
        }
        // What it learns is the probability of a click that is liked, so that it is served alone.
        "mmoe-unmasked" => {
            config.like = Some(HeadConfig { masked: false, ..head });
            config.click = HeadConfig { exponent: 0.0, ..head };
        }
        "mmoe-clicks-only" => config.like = None,
        _ => {}
    }
    config
}

/// The arms with what decides their results.
fn arms(smoke: bool) -> Vec<(Arm, LoopedConfig)> {
    let mut arms = Vec::new();
    for (key, cosine, rankers) in COSINES {
        let sessions = if smoke { 100 } else { 1_500 };
        let world = WorldConfig { sessions, ..WorldConfig::conflict(cosine) };
        for name in rankers {
            let server = Server::Retrained(ranker(name, world.features));
            let rounds = LoopConfig { rounds: if smoke { 3 } else { 6 }, ..LoopConfig::default() };
            arms.push((arm(key, name), LoopedConfig { world: world.clone(), rounds, server }));
        }
    }
    arms
}

impl Experiment for FeedbackLoopConflict {
    fn id(&self) -> &'static str {
        "feedback-loop-conflict"
    }

    fn metrics(&self) -> Vec<Metric> {
        looped::metrics()
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let arms = arms(settings.preset == Preset::Smoke);
        let mut plan = Plan::default();
        for seed in settings.seed_range(10) {
            for (arm, config) in &arms {
                plan.cells.push(Cell::new(arm, seed, config)?.if_shown());
            }
        }
        Ok(plan)
    }

    fn run(&self, cell: &Cell, workbench: &Workbench) -> Result<Outcome, CellError> {
        Ok(looped::run(&cell.config()?, &workbench.streams)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("feedback-loop-conflict");
    }

    #[test]
    fn both_networks_have_as_many_multiplications() {
        let cost = |name| {
            let config = ranker(name, 6);
            config.network.clone().check().unwrap().multiplications(inputs(6, &config), 2).total()
        };
        let (mixture, shared) = (cost("mmoe") as f64, cost("shared-bottom") as f64);
        assert!((shared / mixture - 1.0).abs() < 0.02, "{shared} against {mixture}");
    }

    #[test]
    fn arms_are_valid() {
        for (name, LoopedConfig { world, server, .. }) in arms(false) {
            world.check().unwrap();
            let Server::Retrained(ranker) = server else { panic!("{name} is not retrained") };
            ranker.check().unwrap();
        }
    }
}
