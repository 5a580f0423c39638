//! The loop in worlds A to D, with every remedy for position bias, and in worlds from which a cause was removed.
//!
//! | world | candidates | what is examined | hard because |
//! |---|---|---|---|
//! | A | 25 of 200, at random | ULTRA's curve | hardly: random retrieval has items swap places |
//! | B | all 100 | ULTRA's curve | what is served again and again is what is known |
//! | C | all 100, little personalisation | θ_k = k^-1.5 | items seldom swap places, and slots fall off steeply |
//! | D | as B | ULTRA's curve and clicks out of trust | clicks are no product of place and relevance |
//!
//! B is also read from the top down to the first click (cascade) or beyond it (dependent clicks), on two devices with curves of
//! their own, by lasting users whose interests drift, and with items that arrive.
//!
//! Controls: in B where every slot is examined no remedy has anything to gain; in A where the first round is served by
//! chance instead of the legacy prior, no arm has anything to remember. That a frozen ranker stays as it is, and that no bias curve
//! is had where every item has its slot, is so by construction: it is shown in a table.

use headwater_protocol::{Contrast, Control, Direction, ProtocolError, Registered, SeedRecords};
use headwater_recsys::{
    ExaminationConfig, ExplorationConfig, LoopConfig, NeuralRankerConfig, PositionConfig,
    Propensities, ServingPosition, WorldConfig,
};

use super::looped::{LoopedConfig, Server};

mod report;

pub(super) use report::{figures, tables};

/// A world with the arms that are run in it.
pub(super) struct Setting {
    /// What the names of its arms begin with.
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    world: fn() -> WorldConfig,
    rounds: usize,
    /// Noise on the legacy prior in the first round, whose spread is 1.
    legacy_temperature: f64,
    pub(super) servers: &'static [&'static str],
}

/// Every world, those of the controls last.
pub(super) const SETTINGS: [Setting; 13] = [
    Setting {
        key: "a",
        title: "World A",
        world: WorldConfig::a,
        rounds: 6,
        legacy_temperature: 0.5,
        servers: &[
            "naive",
            "tower",
            "feature-first",
            "feature-last",
            "feature-missing",
            "adversarial-0.03",
            "adversarial-0.3",
            "pal",
            "ips-known",
            "ips-estimated",
            "dla",
            "em",
            "epsilon-slot",
            "frozen",
            "relevance",
            "random",
            "open-loop",
        ],
    },
    Setting {
        key: "b",
        title: "World B",
        world: WorldConfig::b,
        rounds: 10,
        legacy_temperature: 0.5,
        servers: &[
            "naive",
            "tower",
            "feature-missing",
            "pal",
            "ips-known",
            "ips-estimated",
            "dla",
            "em",
            "epsilon-slot",
            "frozen",
            "relevance",
            "random",
            "oracle",
            "tower-no-dropout",
            "tower-fast",
            "open-loop",
        ],
    },
    Setting {
        key: "c",
        title: "World C",
        world: WorldConfig::c,
        rounds: 10,
        legacy_temperature: 0.5,
        servers: &[
            "naive",
            "tower",
            "feature-missing",
            "pal",
            "ips-known",
            "ips-estimated",
            "dla",
            "em",
            "frozen",
            "relevance",
            "random",
            "tower-no-dropout",
            "tower-fast",
            "ips-known-0.01",
            "open-loop",
        ],
    },
    Setting {
        key: "d",
        title: "World D",
        world: WorldConfig::d,
        rounds: 6,
        legacy_temperature: 0.5,
        servers: &["naive", "tower", "feature-missing", "pal", "ips-known", "em", "frozen"],
    },
    Setting {
        key: "cascade",
        title: "World B, read down to the first click",
        world: || read(ExaminationConfig::Cascade),
        rounds: 6,
        legacy_temperature: 0.5,
        servers: &["naive", "tower", "pal", "em", "random"],
    },
    Setting {
        key: "dependent",
        title: "World B, read on after half of the clicks",
        world: || read(ExaminationConfig::DependentClick { continuation: vec![0.5; 10] }),
        rounds: 6,
        legacy_temperature: 0.5,
        servers: &["naive", "tower", "pal", "em", "random"],
    },
    Setting {
        key: "devices",
        title: "World B on two devices",
        world: two_devices,
        rounds: 6,
        legacy_temperature: 0.5,
        servers: &["naive", "tower", "tower-uncrossed", "pal", "ips-known", "random"],
    },
    Setting {
        key: "drift",
        title: "World B, 300 lasting users whose interests drift",
        world: || WorldConfig { users: Some(300), drift: Some(0.1), ..WorldConfig::b() },
        rounds: 6,
        legacy_temperature: 0.5,
        servers: &["naive", "tower", "frozen", "open-loop", "oracle"],
    },
    Setting {
        key: "arriving",
        title: "World B, 10 items arrive in every round",
        world: || WorldConfig { arriving_items: 10, ..WorldConfig::b() },
        rounds: 6,
        legacy_temperature: 0.5,
        servers: &["naive", "epsilon-slot", "tower", "frozen", "random", "oracle"],
    },
    Setting {
        key: "lasting",
        title: "World B with 300 lasting users",
        world: || WorldConfig { users: Some(300), ..WorldConfig::b() },
        rounds: 6,
        legacy_temperature: 0.5,
        servers: &["naive", "tower", "frozen", "random", "oracle"],
    },
    Setting {
        key: "open",
        title: "World B, every slot examined",
        world: || read(ExaminationConfig::Ultra { exponent: 0.0 }),
        rounds: 6,
        legacy_temperature: 0.5,
        servers: &["naive", "tower", "pal", "ips-estimated", "em"],
    },
    Setting {
        key: "fair",
        title: "World A, first served by chance",
        world: WorldConfig::a,
        rounds: 6,
        legacy_temperature: 1e6,
        servers: &["naive", "tower"],
    },
    Setting {
        key: "fixed",
        title: "World B, every item on its slot",
        world: WorldConfig::b,
        rounds: 2,
        legacy_temperature: 0.0,
        servers: &["frozen-tower"],
    },
];

/// B with another way of reading its lists.
fn read(examination: ExaminationConfig) -> WorldConfig {
    let mut world = WorldConfig::b();
    world.devices[0].examination = examination;
    world
}

/// B, half of whose sessions are on a small screen, where little is seen below the first slots.
fn two_devices() -> WorldConfig {
    let mut world = WorldConfig::b();
    let mut small = world.devices[0].clone();
    small.examination = ExaminationConfig::Power { exponent: 2.0 };
    world.devices.push(small);
    world
}

/// The setting of that key.
pub(super) fn setting(key: &str) -> &'static Setting {
    let found = SETTINGS.iter().find(|setting| setting.key == key);
    found.expect("keys in this finding are those of its settings")
}

/// Name of the arm of a server in a world.
pub(super) fn arm(key: &str, server: &str) -> String {
    format!("{key}-{server}")
}

const TOWER: PositionConfig = PositionConfig::Tower { dropout: 0.1, crossed: true };

/// Who serves under that name.
fn server(name: &str) -> Server {
    let feature = |serving| PositionConfig::Feature { dropout: 0.1, serving };
    let weighted = |propensities, least| PositionConfig::InversePropensity { propensities, least };
    let ranker = |position| NeuralRankerConfig { position, ..NeuralRankerConfig::default() };
    let position = match name {
        "naive" | "epsilon-slot" => PositionConfig::None,
        "tower" => TOWER,
        "tower-no-dropout" => PositionConfig::Tower { dropout: 0.0, crossed: true },
        "tower-uncrossed" => PositionConfig::Tower { dropout: 0.1, crossed: false },
        "tower-fast" => {
            let position = TOWER;
            return Server::Retrained(NeuralRankerConfig { place_rate: 10.0, ..ranker(position) });
        }
        "feature-first" => feature(ServingPosition::First),
        "feature-last" => feature(ServingPosition::Last),
        "feature-missing" => feature(ServingPosition::Missing),
        "adversarial-0.03" => PositionConfig::Adversarial { lambda: 0.03 },
        "adversarial-0.3" => PositionConfig::Adversarial { lambda: 0.3 },
        "pal" => PositionConfig::Product,
        "ips-known" => weighted(Propensities::Known, 0.1),
        "ips-known-0.01" => weighted(Propensities::Known, 0.01),
        "ips-estimated" => weighted(Propensities::Estimated, 0.1),
        "dla" => PositionConfig::DualLearning { most_weight: 100.0 },
        "em" => PositionConfig::RegressionEm { rate: 0.05 },
        "frozen" => return Server::Frozen(ranker(PositionConfig::None)),
        "open-loop" => return Server::OpenLoop(ranker(PositionConfig::None)),
        "frozen-tower" => return Server::Frozen(ranker(TOWER)),
        "relevance" => return Server::Relevance(ranker(PositionConfig::None)),
        "random" => return Server::Random,
        "oracle" => return Server::Oracle,
        other => unreachable!("no server is called `{other}`"),
    };
    Server::Retrained(ranker(position))
}

/// The arms with what decides their results.
pub(super) fn arms(smoke: bool) -> Vec<(String, LoopedConfig)> {
    let mut arms = Vec::new();
    for setting in &SETTINGS {
        let mut world = (setting.world)();
        let mut rounds = setting.rounds;
        if smoke {
            world.sessions = 100;
            rounds = rounds.min(3);
        }
        for &name in setting.servers {
            // A slot in the middle: what is shown at the end is hardly looked at.
            let epsilon = if name == "epsilon-slot" { 0.5 } else { 0.0 };
            let exploration = ExplorationConfig { epsilon, slot: 4, temperature: 0.0 };
            let legacy_temperature = setting.legacy_temperature;
            let rounds =
                LoopConfig { rounds, legacy_temperature, exploration, ..LoopConfig::default() };
            let config = LoopedConfig { world: world.clone(), rounds, server: server(name) };
            arms.push((arm(setting.key, name), config));
        }
    }
    arms
}

/// A metric of one server less that of another, in the same world.
fn against(
    seed: &SeedRecords<'_>,
    metric: &str,
    key: &str,
    [server, other]: [&str; 2],
) -> Result<f64, ProtocolError> {
    seed.difference(metric, &arm(key, server), &arm(key, other))
}

/// The utility ratio, averaged over all rounds but the first.
const UTILITY: &str = "utility, mean";

/// Correlation of exposure with the legacy prior in the last round.
const LEGACY: &str = "legacy, last";

pub(super) fn contrasts() -> Vec<Contrast> {
    use Direction::{Decrease, Increase};
    let contrast = |name, direction, smallest_effect, per_seed| {
        Contrast::new(name, direction, smallest_effect, Registered::AfterPilot, per_seed)
    };
    vec![
        Contrast {
            published: Some("+.24% engagement, live"),
            ..contrast("A, utility: tower - naive", Increase, 0.002, |seed| {
                against(seed, UTILITY, "a", ["tower", "naive"])
            })
        },
        contrast("B, utility: tower - naive", Increase, 0.01, |seed| {
            against(seed, UTILITY, "b", ["tower", "naive"])
        }),
        contrast("D, utility: tower - naive", Increase, 0.01, |seed| {
            against(seed, UTILITY, "d", ["tower", "naive"])
        }),
        contrast("C, utility: known propensities - naive", Increase, 0.02, |seed| {
            against(seed, UTILITY, "c", ["ips-known", "naive"])
        }),
        contrast("C, utility: known propensities - tower", Increase, 0.01, |seed| {
            against(seed, UTILITY, "c", ["ips-known", "tower"])
        }),
        // The paper's direction; the pilot's was the other.
        Contrast {
            published: Some("-.07% engagement, live"),
            ..contrast("A, utility: position as a feature - naive", Decrease, 0.0005, |seed| {
                against(seed, UTILITY, "a", ["feature-missing", "naive"])
            })
        },
        contrast("B, Gini coefficient of exposure: naive - tower", Increase, 0.01, |seed| {
            against(seed, "gini, last", "b", ["naive", "tower"])
        }),
        contrast(
            "A, correlation of exposure with the legacy prior: naive - tower",
            Increase,
            0.02,
            |seed| against(seed, LEGACY, "a", ["naive", "tower"]),
        ),
        // Against a ranker that was trained as often, on as many sessions, of lists that it did not make.
        contrast(
            "A, correlation with the legacy prior: naive in the loop - in an open loop",
            Increase,
            0.02,
            |seed| against(seed, LEGACY, "a", ["naive", "open-loop"]),
        ),
        contrast(
            "B, Gini coefficient of exposure: naive in the loop - in an open loop",
            Increase,
            0.01,
            |seed| against(seed, "gini, last", "b", ["naive", "open-loop"]),
        ),
        contrast("C, utility, last round: known propensities - tower", Increase, 0.01, |seed| {
            against(seed, "utility, last", "c", ["ips-known", "tower"])
        }),
        contrast(
            "C, utility: tower with ten times the rate for places - tower",
            Increase,
            0.01,
            |seed| against(seed, UTILITY, "c", ["tower-fast", "tower"]),
        ),
        contrast("C, utility: tower without position dropout - tower", Increase, 0.01, |seed| {
            against(seed, UTILITY, "c", ["tower-no-dropout", "tower"])
        }),
        contrast("share of its depth that the tower finds: C - B", Decrease, 0.2, |seed| {
            let of = |key| seed.scalar(&arm(key, "tower"), "curve, share of depth");
            Ok(of("c")? - of("b")?)
        }),
        contrast("read to the first click, utility: tower - naive", Increase, 0.005, |seed| {
            against(seed, UTILITY, "cascade", ["tower", "naive"])
        }),
        contrast("two devices, utility: tower - naive", Increase, 0.01, |seed| {
            against(seed, UTILITY, "devices", ["tower", "naive"])
        }),
        Contrast {
            registered: Registered::PostHoc,
            ..contrast(
                "two devices, utility: tower crossed with the device - not crossed",
                Increase,
                0.005,
                |seed| against(seed, UTILITY, "devices", ["tower", "tower-uncrossed"]),
            )
        },
        // A frozen ranker is behind wherever one round is too little to learn from; this is what drift adds to that.
        Contrast {
            registered: Registered::PostHoc,
            ..contrast(
                "utility, last round, naive - frozen: drifting interests - lasting ones",
                Increase,
                0.01,
                |seed| {
                    let of = |key| against(seed, "utility, last", key, ["naive", "frozen"]);
                    Ok(of("drift")? - of("lasting")?)
                },
            )
        },
        Contrast {
            registered: Registered::PostHoc,
            ..contrast(
                "C, utility, last round: tower with ten times the rate - known propensities",
                Increase,
                0.01,
                |seed| against(seed, "utility, last", "c", ["tower-fast", "ips-known"]),
            )
        },
        contrast("exposure of arrived items: epsilon slot - naive", Increase, 0.01, |seed| {
            against(seed, "exposure of arrived, mean", "arriving", ["epsilon-slot", "naive"])
        }),
        contrast(
            "C, RMSE of the bias curve: tower - estimated from swaps",
            Increase,
            0.3,
            |seed| against(seed, "curve, RMSE", "c", ["tower", "ips-estimated"]),
        ),
    ]
}

pub(super) fn controls() -> Vec<Control> {
    vec![
        Control {
            name: "every slot examined, utility: tower - naive",
            margin: 0.005,
            per_seed: |seed| against(seed, UTILITY, "open", ["tower", "naive"]),
        },
        Control {
            name: "every slot examined, utility: PAL - naive",
            margin: 0.01,
            per_seed: |seed| against(seed, UTILITY, "open", ["pal", "naive"]),
        },
        Control {
            name: "every slot examined, utility: estimated propensities - naive",
            margin: 0.01,
            per_seed: |seed| against(seed, UTILITY, "open", ["ips-estimated", "naive"]),
        },
        Control {
            name: "A without the prior, correlation of exposure with it: naive - tower",
            margin: 0.02,
            per_seed: |seed| against(seed, LEGACY, "fair", ["naive", "tower"]),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Check;

    #[test]
    fn every_arm_is_valid_and_has_a_name_of_its_own() {
        for smoke in [true, false] {
            let arms = arms(smoke);
            for (at, (name, config)) in arms.iter().enumerate() {
                assert!(arms[..at].iter().all(|(other, _)| other != name), "{name}");
                config.world.clone().check().unwrap();
                config.rounds.clone().check().unwrap();
            }
        }
    }

    #[test]
    fn within_a_world_arms_differ_in_who_serves_only() {
        for setting in &SETTINGS {
            let own =
                |(name, _): &(String, LoopedConfig)| name.starts_with(&format!("{}-", setting.key));
            let own: Vec<_> =
                arms(false).into_iter().filter(own).map(|(_, config)| config).collect();
            for config in &own {
                assert_eq!(config.world, own[0].world);
                assert_eq!(config.rounds.rounds, own[0].rounds.rounds);
            }
        }
    }
}
