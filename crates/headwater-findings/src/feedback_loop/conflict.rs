//! Clickbait against satisfaction: a ranker with two heads in a loop, by how they share the network.
//!
//! World A with clickbait, which raises clicks and lowers what people think of them afterwards. The cosine between what is
//! clicked and what is liked stands for p of the synthetic tasks. All arms have the shallow tower on the click head and
//! serve the product of both heads; satisfaction is defined, and learnt from, after a click only. One arm ignores that, learns
//! the probability of a click that is liked, and serves it alone; one drops experts in training; one has no satisfaction head at all, which is
//! shown and is no contrast: it cannot see what it is measured by.

use headwater_core::Check;
use headwater_protocol::{
    Contrast, Direction, Figure, Point, ProtocolError, Records, Registered, SeedRecords, Table,
    TableValue,
};
use headwater_recsys::{
    HeadConfig, LoopConfig, NetworkConfig, NeuralRankerConfig, PositionConfig, Sharing, WorldConfig,
};

use super::looped::{LoopedConfig, Server};

const RANKERS: [&str; 5] =
    ["shared-bottom", "mmoe", "mmoe-gate-dropout", "mmoe-unmasked", "mmoe-clicks-only"];

/// Cosines between what is clicked and what is liked, by the key in names of arms, and the rankers that are run.
const COSINES: [(&str, f64, &[&str]); 2] =
    [("related", 1.0, &["shared-bottom", "mmoe"]), ("unrelated", 0.0, &RANKERS)];

fn arm(cosine: &str, ranker: &str) -> String {
    format!("conflict-{cosine}-{ranker}")
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
pub(super) fn arms(smoke: bool) -> Vec<(String, LoopedConfig)> {
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

/// A metric of one ranker less that of another, at the same cosine.
fn against(
    seed: &SeedRecords<'_>,
    metric: &str,
    cosine: &str,
    [ranker, other]: [&str; 2],
) -> Result<f64, ProtocolError> {
    seed.difference(metric, &arm(cosine, ranker), &arm(cosine, other))
}

pub(super) fn contrasts() -> Vec<Contrast> {
    let contrast = |name, smallest_effect, per_seed| {
        let registered = Registered::AfterPilot;
        Contrast::new(name, Direction::Increase, smallest_effect, registered, per_seed)
    };
    vec![
        Contrast {
            published: Some("+3.07% satisfaction against +1.89% at 6.1M multiplications, live"),
            ..contrast("unrelated tasks, utility in likes: MMoE - shared bottom", 0.005, |seed| {
                against(seed, "likes, mean", "unrelated", ["mmoe", "shared-bottom"])
            })
        },
        contrast("unrelated tasks, AUC of likes: MMoE - shared bottom", 0.005, |seed| {
            against(seed, "like AUC", "unrelated", ["mmoe", "shared-bottom"])
        }),
        contrast("unrelated tasks, utility in likes: MMoE, masked - unmasked", 0.005, |seed| {
            against(seed, "likes, mean", "unrelated", ["mmoe", "mmoe-unmasked"])
        }),
    ]
}

pub(super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let n = records.seeds().len();
    let label = "expected likes over those of the ideal lists";
    let mut figure =
        Figure::lines("Likes by round, unrelated tasks", "round", label, n).caption(
            "What is clicked and what is liked afterwards point in independent directions, and clickbait raises the one and lowers the \
             other.",
        );
    for ranker in RANKERS {
        let effects = records.series_effect(&arm("unrelated", ranker), "likes")?;
        let effects = effects.iter().enumerate();
        let points = effects.filter_map(|(round, effect)| Point::measured(round as f64, effect));
        figure = figure.series(ranker, points);
    }
    Ok(vec![figure])
}

pub(super) fn tables(records: &Records) -> Vec<Table> {
    let metrics = [
        ("likes", "likes, mean"),
        ("likes, last round", "likes, last"),
        ("clicks", "utility, mean"),
        ("click AUC", "click AUC"),
        ("like AUC", "like AUC"),
        ("Gini", "gini, last"),
    ];
    let columns = ["tasks", "ranker"].into_iter().chain(metrics.map(|(heading, _)| heading));
    let mut table = Table::new("Two heads in the loop", columns).note(
        "Likes and clicks are expected ones over those of the ideal lists for either, mean of all rounds but the first. AUC on one log \
         for all arms, of lists by chance, that of likes over clicked impressions. Shared bottom and MMoE have equal multiplications, \
         gates counted.",
    );
    for (cosine, _, rankers) in COSINES {
        for ranker in rankers {
            let mut row = vec![TableValue::from(cosine), TableValue::from(*ranker)];
            row.extend(metrics.map(|(_, metric)| records.value(&arm(cosine, ranker), metric)));
            table = table.row(row);
        }
    }
    vec![table]
}

#[cfg(test)]
mod tests {
    use super::*;

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
