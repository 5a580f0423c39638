//! Experiment `feedback-loop-worlds`: rounds of serving, logging and retraining in worlds A to D,
//! with every remedy for position bias, and in worlds from which a cause was removed.
//!
//! | world | candidates | what is examined | hard because |
//! |---|---|---|---|
//! | A | 25 of 200, at random | ULTRA's curve | hardly: random retrieval has items swap places |
//! | B | all 100 | ULTRA's curve | what is served again and again is what is known |
//! | C | all 100, little personalisation | θ_k = k^-1.5 | slots are steep and seldom swapped |
//! | D | as B | ULTRA's curve, and trust | clicks are no product of place and relevance |
//!
//! B is also read from the top down to the first click (cascade) or beyond it (dependent clicks),
//! on two devices with curves of their own, by lasting users whose interests drift, and with items
//! that arrive.
//!
//! Controls: in B where every slot is examined no remedy has anything to gain; in A where the first
//! round is served by chance instead of the legacy prior, no arm has anything to remember. That a
//! frozen ranker stays as it is, and that no bias curve is had where every item has its slot, is so
//! by construction: it is shown in a table.

use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Plan, Preset,
    ProtocolError, Settings,
};
use headwater_recsys::{
    ExaminationConfig, ExplorationConfig, LoopConfig, NeuralRankerConfig, PositionConfig,
    Propensities, ServingPosition, WorldConfig,
};

use super::looped::{self, LoopedConfig, Server};

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct FeedbackLoopWorlds;

/// Who serves in an arm.
#[derive(Debug, Clone, Copy)]
pub struct Who {
    /// The end of its arms' names.
    pub name: &'static str,
    /// Probability that one slot in the middle shows any item.
    epsilon: f64,
    server: fn() -> Server,
}

const fn who(name: &'static str, server: fn() -> Server) -> Who {
    Who { name, epsilon: 0.0, server }
}

fn ranker(position: PositionConfig) -> NeuralRankerConfig {
    NeuralRankerConfig { position, ..NeuralRankerConfig::default() }
}

fn retrained(position: PositionConfig) -> Server {
    Server::Retrained(ranker(position))
}

fn feature(serving: ServingPosition) -> Server {
    retrained(PositionConfig::Feature { dropout: 0.1, serving })
}

fn weighted(propensities: Propensities, least: f64) -> Server {
    retrained(PositionConfig::InversePropensity { propensities, least })
}

const CROSSED_TOWER: PositionConfig = PositionConfig::Tower { dropout: 0.1, crossed: true };

/// Takes clicks for relevance.
pub const NAIVE: Who = who("naive", || retrained(PositionConfig::None));
/// Naive, and one slot in the middle shows any item half of the time: what is shown at the end is
/// hardly looked at.
pub const EPSILON_SLOT: Who = Who { name: "epsilon-slot", epsilon: 0.5, ..NAIVE };
/// The shallow tower for position.
pub const TOWER: Who = who("tower", || retrained(CROSSED_TOWER));
/// The tower without position dropout.
pub const TOWER_NO_DROPOUT: Who =
    who("tower-no-dropout", || retrained(PositionConfig::Tower { dropout: 0.0, crossed: true }));
/// The tower whose biases do not depend on the device.
pub const TOWER_UNCROSSED: Who =
    who("tower-uncrossed", || retrained(PositionConfig::Tower { dropout: 0.1, crossed: false }));
/// The tower with ten times the rate for places.
pub const TOWER_FAST: Who = who("tower-fast", || {
    Server::Retrained(NeuralRankerConfig { place_rate: 10.0, ..ranker(CROSSED_TOWER) })
});
/// Position as a feature, set to the first slot when serving.
pub const FEATURE_FIRST: Who = who("feature-first", || feature(ServingPosition::First));
/// Position as a feature, set to the last slot when serving.
pub const FEATURE_LAST: Who = who("feature-last", || feature(ServingPosition::Last));
/// Position as a feature, missing when serving.
pub const FEATURE_MISSING: Who = who("feature-missing", || feature(ServingPosition::Missing));
/// An adversary that must not tell the position.
pub const ADVERSARIAL_WEAK: Who =
    who("adversarial-0.03", || retrained(PositionConfig::Adversarial { lambda: 0.03 }));
/// The same, ten times as strong.
pub const ADVERSARIAL: Who =
    who("adversarial-0.3", || retrained(PositionConfig::Adversarial { lambda: 0.3 }));
/// Examination times relevance.
pub const PAL: Who = who("pal", || retrained(PositionConfig::Product));
/// Inverse propensities, known.
pub const IPS_KNOWN: Who = who("ips-known", || weighted(Propensities::Known, 0.1));
/// The same with larger weights allowed.
pub const IPS_KNOWN_WIDE: Who = who("ips-known-0.01", || weighted(Propensities::Known, 0.01));
/// Inverse propensities, estimated from swaps.
pub const IPS_ESTIMATED: Who = who("ips-estimated", || weighted(Propensities::Estimated, 0.1));
/// The dual learning algorithm.
pub const DLA: Who = who("dla", || retrained(PositionConfig::DualLearning { most_weight: 100.0 }));
/// Regression EM.
pub const EM: Who = who("em", || retrained(PositionConfig::RegressionEm { rate: 0.05 }));
/// Naive, trained on the first round only.
pub const FROZEN: Who = who("frozen", || Server::Frozen(ranker(PositionConfig::None)));
/// Naive, retrained on what the legacy prior is told: as much training without a loop.
pub const OPEN_LOOP: Who = who("open-loop", || Server::OpenLoop(ranker(PositionConfig::None)));
/// The tower, trained on the first round only.
pub const FROZEN_TOWER: Who = who("frozen-tower", || Server::Frozen(ranker(CROSSED_TOWER)));
/// Naive, with fresh draws of whether users would click had they looked.
pub const RELEVANCE: Who = who("relevance", || Server::Relevance(ranker(PositionConfig::None)));
/// Chance.
pub const RANDOM: Who = who("random", || Server::Random);
/// The truth.
pub const ORACLE: Who = who("oracle", || Server::Oracle);

/// A world with the arms that are run in it.
pub struct Setting {
    /// What the names of its arms begin with.
    pub key: &'static str,
    /// What tables and figures call it.
    pub title: &'static str,
    world: fn() -> WorldConfig,
    rounds: usize,
    /// Noise on the legacy prior in the first round, whose spread is 1.
    legacy_temperature: f64,
    /// Who serves in it.
    pub servers: &'static [Who],
}

/// Every world, those of the controls last.
pub const SETTINGS: [Setting; 13] = [
    Setting {
        key: "a",
        title: "World A",
        world: WorldConfig::a,
        rounds: 6,
        legacy_temperature: 0.5,
        servers: &[
            NAIVE,
            TOWER,
            FEATURE_FIRST,
            FEATURE_LAST,
            FEATURE_MISSING,
            ADVERSARIAL_WEAK,
            ADVERSARIAL,
            PAL,
            IPS_KNOWN,
            IPS_ESTIMATED,
            DLA,
            EM,
            EPSILON_SLOT,
            FROZEN,
            RELEVANCE,
            RANDOM,
            OPEN_LOOP,
        ],
    },
    Setting {
        key: "b",
        title: "World B",
        world: WorldConfig::b,
        rounds: 10,
        legacy_temperature: 0.5,
        servers: &[
            NAIVE,
            TOWER,
            FEATURE_MISSING,
            PAL,
            IPS_KNOWN,
            IPS_ESTIMATED,
            DLA,
            EM,
            EPSILON_SLOT,
            FROZEN,
            RELEVANCE,
            RANDOM,
            ORACLE,
            TOWER_NO_DROPOUT,
            TOWER_FAST,
            OPEN_LOOP,
        ],
    },
    Setting {
        key: "c",
        title: "World C",
        world: WorldConfig::c,
        rounds: 10,
        legacy_temperature: 0.5,
        servers: &[
            NAIVE,
            TOWER,
            FEATURE_MISSING,
            PAL,
            IPS_KNOWN,
            IPS_ESTIMATED,
            DLA,
            EM,
            FROZEN,
            RELEVANCE,
            RANDOM,
            TOWER_NO_DROPOUT,
            TOWER_FAST,
            IPS_KNOWN_WIDE,
            OPEN_LOOP,
        ],
    },
    Setting {
        key: "d",
        title: "World D",
        world: WorldConfig::d,
        rounds: 6,
        legacy_temperature: 0.5,
        servers: &[NAIVE, TOWER, FEATURE_MISSING, PAL, IPS_KNOWN, EM, FROZEN],
    },
    Setting {
        key: "cascade",
        title: "World B, read down to the first click",
        world: || read(ExaminationConfig::Cascade),
        rounds: 6,
        legacy_temperature: 0.5,
        servers: &[NAIVE, TOWER, PAL, EM, RANDOM],
    },
    Setting {
        key: "dependent",
        title: "World B, read on after half of the clicks",
        world: || read(ExaminationConfig::DependentClick { continuation: vec![0.5; 10] }),
        rounds: 6,
        legacy_temperature: 0.5,
        servers: &[NAIVE, TOWER, PAL, EM, RANDOM],
    },
    Setting {
        key: "devices",
        title: "World B on two devices",
        world: two_devices,
        rounds: 6,
        legacy_temperature: 0.5,
        servers: &[NAIVE, TOWER, TOWER_UNCROSSED, PAL, IPS_KNOWN, RANDOM],
    },
    Setting {
        key: "drift",
        title: "World B, 300 lasting users whose interests drift",
        world: || WorldConfig { users: Some(300), drift: Some(0.1), ..WorldConfig::b() },
        rounds: 6,
        legacy_temperature: 0.5,
        servers: &[NAIVE, TOWER, FROZEN, OPEN_LOOP, ORACLE],
    },
    Setting {
        key: "arriving",
        title: "World B, 10 items arrive in every round",
        world: || WorldConfig { arriving_items: 10, ..WorldConfig::b() },
        rounds: 6,
        legacy_temperature: 0.5,
        servers: &[NAIVE, EPSILON_SLOT, TOWER, FROZEN, RANDOM, ORACLE],
    },
    Setting {
        key: "lasting",
        title: "World B with 300 lasting users",
        world: || WorldConfig { users: Some(300), ..WorldConfig::b() },
        rounds: 6,
        legacy_temperature: 0.5,
        servers: &[NAIVE, TOWER, FROZEN, RANDOM, ORACLE],
    },
    Setting {
        key: "open",
        title: "World B, every slot examined",
        world: || read(ExaminationConfig::Ultra { exponent: 0.0 }),
        rounds: 6,
        legacy_temperature: 0.5,
        servers: &[NAIVE, TOWER, PAL, IPS_ESTIMATED, EM],
    },
    Setting {
        key: "fair",
        title: "World A, first served by chance",
        world: WorldConfig::a,
        rounds: 6,
        legacy_temperature: 1e6,
        servers: &[NAIVE, TOWER],
    },
    Setting {
        key: "fixed",
        title: "World B, every item on its slot",
        world: WorldConfig::b,
        rounds: 2,
        legacy_temperature: 0.0,
        servers: &[FROZEN_TOWER],
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
///
/// # Panics
/// When there is none.
#[must_use]
pub fn setting(key: &str) -> &'static Setting {
    let found = SETTINGS.iter().find(|setting| setting.key == key);
    found.expect("keys in this finding are those of its settings")
}

/// Name of the arm of a server in a world.
#[must_use]
pub fn arm(key: &str, server: Who) -> Arm {
    format!("{key}-{}", server.name).into()
}

/// The arms with what decides their results.
fn arms(smoke: bool) -> Vec<(Arm, LoopedConfig)> {
    let mut arms = Vec::new();
    for setting in &SETTINGS {
        let mut world = (setting.world)();
        let mut rounds = setting.rounds;
        if smoke {
            world.sessions = 100;
            rounds = rounds.min(3);
        }
        for &who in setting.servers {
            let exploration = ExplorationConfig { epsilon: who.epsilon, slot: 4, temperature: 0.0 };
            let legacy_temperature = setting.legacy_temperature;
            let rounds =
                LoopConfig { rounds, legacy_temperature, exploration, ..LoopConfig::default() };
            let config = LoopedConfig { world: world.clone(), rounds, server: (who.server)() };
            arms.push((arm(setting.key, who), config));
        }
    }
    arms
}

impl Experiment for FeedbackLoopWorlds {
    fn id(&self) -> &'static str {
        "feedback-loop-worlds"
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
    use headwater_core::Check;

    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("feedback-loop-worlds");
    }

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
            let own = |(arm, _): &(Arm, LoopedConfig)| {
                arm.name().starts_with(&format!("{}-", setting.key))
            };
            let own: Vec<_> =
                arms(false).into_iter().filter(own).map(|(_, config)| config).collect();
            for config in &own {
                assert_eq!(config.world, own[0].world);
                assert_eq!(config.rounds.rounds, own[0].rounds.rounds);
            }
        }
    }
}
