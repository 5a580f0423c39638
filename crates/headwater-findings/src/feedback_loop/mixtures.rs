//! Mixtures of experts against a shared bottom, on two tasks of known relatedness.
//!
//! Ma et al. (2018) learn two regression tasks whose weight vectors have cosine p and compare a shared bottom, experts
//! under one gate (OMoE) and experts under a gate for each task (MMoE), at equal numbers of multiplications. Rows are a stream,
//! as they are for a ranker that learns from arriving logs; one setting goes over the same 8,000 rows again and again
//! instead, where the advantage is expected to be gone.

use headwater_core::{Check, Streams};
use headwater_protocol::{
    CellError, Contrast, Direction, Effect, Figure, Metrics, Point, ProtocolError, Records,
    Registered, SeedRecords, Table, TableValue,
};
use headwater_recsys::synthetic::{SyntheticConfig, SyntheticTasks};
use headwater_recsys::{Architecture, NetworkConfig, Sharing};
use serde::{Deserialize, Serialize};

/// What decides a cell's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MixtureConfig {
    tasks: SyntheticConfig,
    network: NetworkConfig,
    /// Pairs of tasks that are drawn and learnt; errors are geometric means over them.
    draws: usize,
}

const EXPERTS: usize = 8;
const WIDTH: usize = 16;

/// The networks of the paper's experiment; the shared bottom has as many multiplications as MMoE, gates counted.
const NETWORKS: [&str; 3] = ["shared-bottom", "omoe", "mmoe"];

fn network(name: &str) -> Architecture {
    let (experts, hidden) = (EXPERTS, vec![WIDTH]);
    let sharing = match name {
        "omoe" => Sharing::OneGate { experts, hidden },
        _ => Sharing::MultiGate { experts, hidden },
    };
    // No gate dropout: it is of the ranker's paper, not of this one.
    let (bottom, tower, gate_dropout) = (Vec::new(), vec![8], 0.0);
    let mixture = NetworkConfig { bottom, sharing, tower, gate_dropout };
    let mixture = mixture.check().expect("widths and experts above 0");
    if name != "shared-bottom" {
        return mixture;
    }
    let inputs = SyntheticConfig::default().dimensions;
    mixture.shared_bottom_of(mixture.multiplications(inputs, 2).total(), inputs, 2)
}

/// A pair of tasks and how it is learnt.
struct Setting {
    key: &'static str,
    title: &'static str,
    cosine: f64,
    /// Standard deviation of the sines' frequencies.
    frequency: f64,
    fresh: bool,
    /// More where errors differ more from draw to draw.
    draws: usize,
    networks: &'static [&'static str],
}

const SETTINGS: [Setting; 4] = [
    Setting {
        key: "p0-hard",
        title: "p = 0, hard",
        cosine: 0.0,
        frequency: 2.5,
        fresh: true,
        draws: 3,
        networks: &["shared-bottom", "mmoe"],
    },
    Setting {
        key: "p0",
        title: "p = 0",
        cosine: 0.0,
        frequency: 1.0,
        fresh: true,
        draws: 2,
        networks: &NETWORKS,
    },
    Setting {
        key: "p1",
        title: "p = 1",
        cosine: 1.0,
        frequency: 1.0,
        fresh: true,
        draws: 1,
        networks: &NETWORKS,
    },
    Setting {
        key: "p0-hard-fixed",
        title: "p = 0, hard, 8,064 rows",
        cosine: 0.0,
        frequency: 2.5,
        fresh: false,
        draws: 1,
        networks: &["shared-bottom", "mmoe"],
    },
];

fn arm(setting: &str, network: &str) -> String {
    format!("synthetic-{setting}-{network}")
}

/// The arms with what decides their results.
pub(super) fn arms(smoke: bool) -> Vec<(String, MixtureConfig)> {
    let mut arms = Vec::new();
    for Setting { key, cosine, frequency, fresh, draws, networks, .. } in SETTINGS {
        for name in networks {
            let tasks = SyntheticConfig {
                cosine,
                frequency,
                // 63 batches of 128, the nearest to 8,000 rows; 12 epochs of them.
                batches: match (smoke, fresh) {
                    (true, _) => 20,
                    (false, true) => 2_000,
                    (false, false) => 12 * 63,
                },
                fixed_rows: (!fresh).then_some(63 * 128),
                ..SyntheticConfig::default()
            };
            let draws = if smoke { 1 } else { draws };
            let config = MixtureConfig { tasks, network: (*network(name)).clone(), draws };
            arms.push((arm(key, name), config));
        }
    }
    arms
}

/// Learns the tasks.
pub(super) fn run(config: &MixtureConfig, streams: &Streams) -> Result<Metrics, CellError> {
    let (settings, network) = (config.tasks.check()?, config.network.clone().check()?);
    let mut logarithms = Vec::new();
    for draw in 0..config.draws as u64 {
        let streams = streams.child("tasks, of the third run", &[draw]);
        let errors = SyntheticTasks::new(&settings, &streams).train(&network, &streams)?;
        logarithms.push((errors[0] / 2.0 + errors[1] / 2.0).ln());
    }
    let mean = logarithms.iter().sum::<f64>() / logarithms.len() as f64;
    Ok(Metrics::new().scalar("log MSE", mean).scalar("MSE", mean.exp()))
}

/// log(MSE of one network / MSE of another).
fn ratio(
    seed: &SeedRecords<'_>,
    setting: &str,
    [network, other]: [&str; 2],
) -> Result<f64, ProtocolError> {
    seed.difference("log MSE", &arm(setting, network), &arm(setting, other))
}

pub(super) fn contrasts() -> Vec<Contrast> {
    use Direction::{Decrease, NotBelow, Unchanged};
    let contrast = |name, direction, smallest_effect, per_seed| {
        Contrast::new(name, direction, smallest_effect, Registered::AfterPilot, per_seed)
    };
    vec![
        contrast(
            "streamed, p = 0, frequencies N(0, 2.5²), log MSE: MMoE - shared bottom",
            Decrease,
            0.1,
            |seed| ratio(seed, "p0-hard", ["mmoe", "shared-bottom"]),
        ),
        contrast(
            "streamed, p = 0, frequencies N(0, 1), log MSE: MMoE - shared bottom",
            Decrease,
            0.1,
            |seed| ratio(seed, "p0", ["mmoe", "shared-bottom"]),
        ),
        contrast("streamed, p = 1, log MSE: MMoE - OMoE", Unchanged, 0.25, |seed| {
            ratio(seed, "p1", ["mmoe", "omoe"])
        }),
        // As the stream's advantage is a decrease: not better by more than this.
        contrast(
            "8,064 rows again and again, log MSE: MMoE - shared bottom",
            NotBelow,
            0.05,
            |seed| ratio(seed, "p0-hard-fixed", ["mmoe", "shared-bottom"]),
        ),
    ]
}

pub(super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let (n, titles) = (records.seeds().len(), SETTINGS.map(|setting| setting.title));
    let label = "log MSE, less the shared bottom's";
    let mut figure = Figure::dots("Experts against a shared bottom", titles, label, n)
        .reference("as good", 0.0)
        .caption(
            "Left of the line the experts are better. Frequencies of the sines are N(0, 1), hard ones N(0, 2.5²). Test rows are fresh; networks of a seed learn the same tasks.",
        );
    for network in ["omoe", "mmoe"] {
        let mut points = Vec::new();
        for (at, setting) in SETTINGS.iter().enumerate() {
            let seeds = records.seeds().into_iter();
            let differences: Vec<f64> = seeds
                .filter_map(|seed| {
                    ratio(&records.seed(seed), setting.key, [network, "shared-bottom"]).ok()
                })
                .collect();
            if !differences.is_empty() {
                points.extend(Point::measured(at as f64, &Effect::over_seeds(&differences)?));
            }
        }
        figure = figure.series(network, points);
    }
    Ok(vec![figure])
}

pub(super) fn tables(records: &Records) -> Vec<Table> {
    let columns = ["tasks", "draws per seed", "shared bottom", "OMoE", "MMoE"];
    let mut table = Table::new("Mean squared error on fresh rows", columns).note(
        "Geometric mean over the draws of a seed, in units of the targets' variance. Eight experts of 16, towers of 8; the shared \
         bottom has 129 units, for as many multiplications, gates counted. Of rows that come again and again the pass with the lowest error on validation rows.",
    );
    for Setting { key, title, draws, networks, .. } in SETTINGS {
        let mut row = vec![TableValue::from(title), TableValue::Number(draws as f64, 0)];
        row.extend(NETWORKS.map(|network| match networks.contains(&network) {
            true => records.value(&arm(key, network), "MSE"),
            false => TableValue::Absent,
        }));
        table = table.row(row);
    }
    vec![table]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shared_bottom_has_the_papers_width_and_settings_are_valid() {
        let expected = Sharing::SharedBottom { hidden: vec![129] };
        assert_eq!(network("shared-bottom").sharing, expected);
        for (name, config) in arms(false) {
            assert!(config.tasks.check().is_ok() && config.network.check().is_ok(), "{name}");
        }
    }

    #[test]
    fn networks_of_a_seed_learn_the_same_tasks() {
        let configs = arms(true);
        let tasks = |name: &str| configs.iter().find(|(arm, _)| arm == name).unwrap().1.tasks;
        assert_eq!(tasks(&arm("p0", "mmoe")), tasks(&arm("p0", "shared-bottom")));
        assert_ne!(tasks(&arm("p0", "mmoe")), tasks(&arm("p1", "mmoe")));
    }
}
