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
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Plan, Preset,
    ProtocolError, Settings,
};
use headwater_recsys::{
    HeadConfig, LoopConfig, NetworkConfig, NeuralRankerConfig, PositionConfig, Sharing, WorldConfig,
};

use super::looped::{self, LoopedConfig, Server};

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct FeedbackLoopConflict;

/// A ranker, by what it changes in the mixture of experts that all are made from.
#[derive(Debug, Clone, Copy)]
pub struct Who {
    /// The end of its arms' names.
    pub name: &'static str,
    /// Given how many features an item has.
    change: fn(&mut NeuralRankerConfig, usize),
}

/// Experts with a gate for each head.
pub const MMOE: Who = Who { name: "mmoe", change: |_, _| () };
/// One network for both heads, with as many multiplications.
pub const SHARED_BOTTOM: Who = Who {
    name: "shared-bottom",
    change: |config, features| {
        let mixture = config.network.clone().check().expect("widths and experts above 0");
        let inputs = inputs(features, config);
        let cost = mixture.multiplications(inputs, 2).total();
        config.network = (*mixture.shared_bottom_of(cost, inputs, 2)).clone();
    },
};
/// Experts are dropped in this arm only: a shared bottom has none to drop.
pub const GATE_DROPOUT: Who =
    Who { name: "mmoe-gate-dropout", change: |config, _| config.network.gate_dropout = 0.1 };
/// What it learns is the probability of a click that is liked, so that it is served alone.
pub const UNMASKED: Who = Who {
    name: "mmoe-unmasked",
    change: |config, _| {
        config.like = Some(HeadConfig { masked: false, ..HeadConfig::default() });
        config.click = HeadConfig { exponent: 0.0, ..HeadConfig::default() };
    },
};
/// Without the head for satisfaction.
pub const CLICKS_ONLY: Who =
    Who { name: "mmoe-clicks-only", change: |config, _| config.like = None };

/// Every ranker.
pub const RANKERS: [Who; 5] = [SHARED_BOTTOM, MMOE, GATE_DROPOUT, UNMASKED, CLICKS_ONLY];

/// Cosines between what is clicked and what is liked, by the key in names of arms, and the rankers
/// that are run.
pub const COSINES: [(&str, f64, &[Who]); 2] =
    [("related", 1.0, &[SHARED_BOTTOM, MMOE]), ("unrelated", 0.0, &RANKERS)];

/// The arm of a ranker at a cosine.
#[must_use]
pub fn arm(cosine: &str, ranker: Who) -> Arm {
    format!("conflict-{cosine}-{}", ranker.name).into()
}

/// Features of a row: context, item and their product, and the id embedding.
fn inputs(features: usize, ranker: &NeuralRankerConfig) -> usize {
    3 * features + ranker.embedding
}

fn ranker(who: Who, features: usize) -> NeuralRankerConfig {
    let sharing = Sharing::MultiGate { experts: 4, hidden: vec![16] };
    // Gates and experts read a shared hidden layer, as in the ranker's paper.
    let network =
        NetworkConfig { sharing, tower: vec![8], gate_dropout: 0.0, ..NetworkConfig::default() };
    let mut config = NeuralRankerConfig {
        network,
        like: Some(HeadConfig::default()),
        position: PositionConfig::Tower { dropout: 0.1, crossed: true },
        ..NeuralRankerConfig::default()
    };
    (who.change)(&mut config, features);
    config
}

/// The arms with what decides their results.
fn arms(smoke: bool) -> Vec<(Arm, LoopedConfig)> {
    let mut arms = Vec::new();
    for (key, cosine, rankers) in COSINES {
        let sessions = if smoke { 100 } else { 1_500 };
        let world = WorldConfig { sessions, ..WorldConfig::conflict(cosine) };
        for &who in rankers {
            let server = Server::Retrained(ranker(who, world.features));
            let rounds = LoopConfig { rounds: if smoke { 3 } else { 6 }, ..LoopConfig::default() };
            arms.push((arm(key, who), LoopedConfig { world: world.clone(), rounds, server }));
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
        let mut planned = Vec::new();
        for (arm, config) in &arms {
            planned.push(ArmPlan::new(arm, config)?.if_shown());
        }
        Ok(Plan::of(settings.seed_range(10), planned))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        Ok(looped::run(&cell.config()?, &context.streams)?.into())
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
        let cost = |who| {
            let config = ranker(who, 6);
            config.network.clone().check().unwrap().multiplications(inputs(6, &config), 2).total()
        };
        let (mixture, shared) = (cost(MMOE) as f64, cost(SHARED_BOTTOM) as f64);
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
