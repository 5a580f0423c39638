//! Experiment `feedback-loop-mixtures`: mixtures of experts against a shared bottom, on two tasks
//! of known relatedness.
//!
//! Ma et al. (2018) learn two regression tasks whose weight vectors have cosine p and compare a
//! shared bottom, experts under one gate (OMoE) and experts under a gate for each task (MMoE), at
//! equal numbers of multiplications. Rows are a stream, as they are for a ranker that learns from
//! arriving logs; one setting goes over the same 8,000 rows again and again instead, where the
//! advantage is expected to be gone.

use headwater_core::{Check, Streams};
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan,
    Preset, ProtocolError, Scalar, Settings, metrics,
};
use headwater_recsys::synthetic::{SyntheticConfig, SyntheticTasks};
use headwater_recsys::{Architecture, NetworkConfig, Sharing};
use serde::{Deserialize, Serialize};

/// What decides a cell's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MixtureConfig {
    tasks: SyntheticConfig,
    network: NetworkConfig,
    /// Pairs of tasks that are drawn and learnt; errors are geometric means over them.
    draws: usize,
}

const EXPERTS: usize = 8;
const WIDTH: usize = 16;

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct FeedbackLoopMixtures;

/// Logarithm of the mean squared error on fresh rows, mean over the draws.
pub const LOG_MSE: Scalar = Scalar::new("log MSE");
/// The geometric mean of the error over the draws.
pub const MSE: Scalar = Scalar::new("MSE");

/// A network of the paper's experiment.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    /// The end of its arms' names.
    pub name: &'static str,
    /// What it is called in a table.
    pub label: &'static str,
    architecture: fn() -> Architecture,
}

/// As many multiplications as MMoE, gates counted.
pub const SHARED_BOTTOM: Network = Network {
    name: "shared-bottom",
    label: "shared bottom",
    architecture: || {
        let (mixture, inputs) = ((MMOE.architecture)(), SyntheticConfig::default().dimensions);
        mixture.shared_bottom_of(mixture.multiplications(inputs, 2).total(), inputs, 2)
    },
};
/// Experts under one gate.
pub const OMOE: Network = Network {
    name: "omoe",
    label: "OMoE",
    architecture: || mixture(Sharing::OneGate { experts: EXPERTS, hidden: vec![WIDTH] }),
};
/// Experts under a gate for each task.
pub const MMOE: Network = Network {
    name: "mmoe",
    label: "MMoE",
    architecture: || mixture(Sharing::MultiGate { experts: EXPERTS, hidden: vec![WIDTH] }),
};

/// Every network.
pub const NETWORKS: [Network; 3] = [SHARED_BOTTOM, OMOE, MMOE];

fn mixture(sharing: Sharing) -> Architecture {
    // No gate dropout: it is of the ranker's paper, not of this one.
    let (bottom, tower, gate_dropout) = (Vec::new(), vec![8], 0.0);
    let mixture = NetworkConfig { bottom, sharing, tower, gate_dropout };
    mixture.check().expect("widths and experts above 0")
}

/// A pair of tasks and how it is learnt.
pub struct Setting {
    /// What the names of its arms hold.
    pub key: &'static str,
    /// What tables and figures call it.
    pub title: &'static str,
    cosine: f64,
    /// Standard deviation of the sines' frequencies.
    frequency: f64,
    fresh: bool,
    /// More where errors differ more from draw to draw.
    pub draws: usize,
    /// The networks that are run.
    pub networks: &'static [Network],
}

impl Setting {
    /// Whether a network is run.
    #[must_use]
    pub fn has(&self, network: Network) -> bool {
        self.networks.iter().any(|other| other.name == network.name)
    }
}

/// Every pair of tasks.
pub const SETTINGS: [Setting; 4] = [
    Setting {
        key: "p0-hard",
        title: "p = 0, hard",
        cosine: 0.0,
        frequency: 2.5,
        fresh: true,
        draws: 3,
        networks: &[SHARED_BOTTOM, MMOE],
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
        networks: &[SHARED_BOTTOM, MMOE],
    },
];

/// The arm of a network on a pair of tasks.
#[must_use]
pub fn arm(setting: &str, network: Network) -> Arm {
    format!("synthetic-{setting}-{}", network.name).into()
}

/// The arms with what decides their results.
fn arms(smoke: bool) -> Vec<(Arm, MixtureConfig)> {
    let mut arms = Vec::new();
    for Setting { key, cosine, frequency, fresh, draws, networks, .. } in SETTINGS {
        for &network in networks {
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
            let architecture = (network.architecture)();
            let config = MixtureConfig { tasks, network: (*architecture).clone(), draws };
            arms.push((arm(key, network), config));
        }
    }
    arms
}

impl Experiment for FeedbackLoopMixtures {
    fn id(&self) -> &'static str {
        "feedback-loop-mixtures"
    }

    fn metrics(&self) -> Vec<Metric> {
        metrics![LOG_MSE, MSE]
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
        Ok(learn(&cell.config()?, &context.streams)?.into())
    }
}

/// Learns the tasks.
fn learn(config: &MixtureConfig, streams: &Streams) -> Result<Metrics, CellError> {
    let (settings, network) = (config.tasks.check()?, config.network.clone().check()?);
    let mut logarithms = Vec::new();
    for draw in 0..config.draws as u64 {
        let streams = streams.child("tasks, of the third run", &[draw]);
        let errors = SyntheticTasks::new(&settings, &streams).train(&network, &streams)?;
        logarithms.push((errors[0] / 2.0 + errors[1] / 2.0).ln());
    }
    let mean = logarithms.iter().sum::<f64>() / logarithms.len() as f64;
    Ok(Metrics::new().scalar(&LOG_MSE, mean).scalar(&MSE, mean.exp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("feedback-loop-mixtures");
    }

    #[test]
    fn the_shared_bottom_has_the_papers_width_and_settings_are_valid() {
        let expected = Sharing::SharedBottom { hidden: vec![129] };
        assert_eq!((SHARED_BOTTOM.architecture)().sharing, expected);
        for (name, config) in arms(false) {
            assert!(config.tasks.check().is_ok() && config.network.check().is_ok(), "{name}");
        }
    }

    #[test]
    fn networks_of_a_seed_learn_the_same_tasks() {
        let configs = arms(true);
        let tasks = |name: &Arm| configs.iter().find(|(arm, _)| arm == name).unwrap().1.tasks;
        assert_eq!(tasks(&arm("p0", MMOE)), tasks(&arm("p0", SHARED_BOTTOM)));
        assert_ne!(tasks(&arm("p0", MMOE)), tasks(&arm("p1", MMOE)));
    }
}
