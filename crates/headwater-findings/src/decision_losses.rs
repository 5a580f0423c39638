//! Finding `decision-losses`: putting a decision's costs into the training loss, against training without them and
//! applying them afterwards.
//!
//! Claim (Autor, Caplin, Martin and Marx 2025, "Misaligned by Design: Incentive Failures in Machine Learning", arXiv
//! 2511.07699): a utility-weighted loss makes a classifier choose right and can make it learn less, so that it is
//! better, by the weighted loss and by the utility of decisions, to train on the plain loss and adjust predictions.
//!
//! Weighted training (WT) has the weights w_1 = 2 b and w_0 = 2 (1 - b) in the log loss; ex-post weighting (XP) trains
//! without and adds ln(w_1/w_0) to the logit. Both are stopped by their own validation objective and scored by the same
//! weighted log loss and cost, on census rows and chest X-rays drawn to several prevalences, under Adam and SGD. AUC
//! and the loss left after recalibration say what was learnt; no shift changes them.
//!
//! The theory behind the claim also says when it should fail. The weights multiply the reward to learning at posterior
//! q by rho(q) = w_1 w_0 / (w_1 q + w_0 (1 - q)); so WT should lose where E[rho(q)] is below 1 and win where it is above.
//! Each cell's direction was fixed from E[rho(q)] in a pilot; the paper's blanket claim has contrasts of its own.
//!
//! Controls: a table that can represent the posterior, fitted to the whole population, where the two must coincide;
//! weights 1 and 1, where they are one objective, with initial weights and batches of their own; labels permuted, where
//! there is nothing to learn and only choosing is left.

use headwater_decisions::{Architecture, Optimizer, TrainingConfig};
use headwater_protocol::{
    Cell, CellError, Contrast, Control, Direction, Figure, Finding, NotRun, Outcome, Plan, Preset,
    ProtocolError, Records, Registered, SeedRecords, Settings, Table, Workbench,
};
use serde::{Deserialize, Serialize};

use crate::data::DataDir;

mod measure;
mod populations;
mod report;

use measure::Method;
use populations::{Population, Source};

/// The finding; it reads three data sets, and a table without any.
#[derive(Debug, Clone)]
pub struct DecisionLosses {
    /// Where the data lies.
    pub data: DataDir,
}

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum CellConfig {
    /// One network on one population.
    Network {
        population: Population,
        method: Method,
        training: TrainingConfig,
        /// Labels permuted in every part.
        permuted: bool,
        /// Initial weights and batches that no other arm has.
        own_streams: bool,
    },
    /// Both ways on a table.
    Table { cells: usize, share: f64, training: TrainingConfig },
}

/// The populations: name, source, prevalence. Posteriors belong to the prevalence, so it is the same in all parts.
const POPULATIONS: [(&str, Source, f64); 6] = [
    ("adult-rare", Source::Adult, 0.05),
    ("adult-natural", Source::Adult, 0.2408),
    ("adult-balanced", Source::Adult, 0.5),
    ("xray-balanced", Source::Xray, 0.5),
    ("xray-frequent", Source::Xray, 0.9),
    ("digits", Source::Digits, 0.1),
];

const OPTIMIZERS: [&str; 2] = ["adam", "sgd"];

/// The populations that contrasts are about; eights among digits are too easy to tell anything.
const ADULT: [&str; 3] = ["adult-rare", "adult-natural", "adult-balanced"];
const XRAY: [&str; 2] = ["xray-balanced", "xray-frequent"];

/// Where the remedies are tried: the weights counteract the imbalance there.
const REMEDIED: [(&str, &str, f64); 2] = [("adult-rare", "90", 0.9), ("xray-frequent", "10", 0.1)];

/// Relative differences in loss that matter, by source.
const ADULT_EFFECT: f64 = 0.01;
const XRAY_EFFECT: f64 = 0.05;

fn population(source: Source, prevalence: f64, smoke: bool) -> Population {
    let sizes = match (smoke, source) {
        (true, _) => [200, 60, 60, 100],
        (false, Source::Adult) => [5000, 2000, 2000, 6000],
        (false, Source::Xray) => [1200, 400, 400, 430],
        (false, Source::Digits) => [700, 300, 300, 400],
    };
    Population { source, prevalence, sizes }
}

fn training(source: Source, optimizer: &str, smoke: bool) -> TrainingConfig {
    let (optimizer, learning_rate) = match (optimizer, source) {
        ("adam", _) => (Optimizer::Adam, 2e-3),
        (_, Source::Adult) => (Optimizer::Sgd { momentum: 0.9 }, 0.02),
        (_, Source::Xray | Source::Digits) => (Optimizer::Sgd { momentum: 0.9 }, 0.02),
    };
    let (batch, epochs) = match source {
        Source::Adult => (64, 20),
        Source::Xray | Source::Digits => (32, 20),
    };
    let epochs = if smoke { 2 } else { epochs };
    TrainingConfig { architecture: source.architecture(), optimizer, learning_rate, batch, epochs }
}

/// Every arm on real data with what decides its results: `population.optimiser.method`.
fn networks(smoke: bool) -> Vec<(String, Source, CellConfig)> {
    let mut arms = Vec::new();
    for (name, source, prevalence) in POPULATIONS {
        for optimizer in OPTIMIZERS {
            let mut add = |arm: String, method, permuted, own_streams| {
                let config = CellConfig::Network {
                    population: population(source, prevalence, smoke),
                    method,
                    training: training(source, optimizer, smoke),
                    permuted,
                    own_streams,
                };
                arms.push((format!("{name}.{optimizer}.{arm}"), source, config));
            };
            add("unweighted".into(), Method::Unweighted, false, false);
            for (weights, share) in measure::WEIGHTS {
                add(format!("weighted-{weights}"), Method::Weighted { share }, false, false);
            }
            if optimizer == "adam" && (name == "adult-natural" || name == "xray-balanced") {
                add("again".into(), Method::Weighted { share: 0.5 }, false, true);
            }
            if optimizer == "adam" && name == "adult-natural" {
                add("unweighted-permuted".into(), Method::Unweighted, true, false);
                let method = Method::Weighted { share: 0.9 };
                add("weighted-90-permuted".into(), method, true, false);
            }
            let remedied = REMEDIED.iter().find(|(remedied, _, _)| *remedied == name);
            if let Some((_, _, share)) = remedied.filter(|_| optimizer == "adam") {
                let share = *share;
                add("logit-adjusted".into(), Method::LogitAdjusted { share }, false, false);
                add("decoupled".into(), Method::Decoupled { share }, false, false);
                add("focal".into(), Method::Focal { share }, false, false);
            }
        }
    }
    arms
}

impl Finding for DecisionLosses {
    fn id(&self) -> &'static str {
        "decision-losses"
    }

    fn claim(&self) -> &'static str {
        "A loss that weighs mistakes by their costs makes a classifier learn less: training without the weights and \
         applying them to its predictions serves the same costs better, wherever the weights lower the reward to learning."
    }

    fn source(&self) -> &'static str {
        "Autor, Caplin, Martin and Marx 2025, Misaligned by Design: Incentive Failures in Machine Learning, arXiv 2511.07699"
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let mut plan = Plan::default();
        let mut runnable = Vec::new();
        for (arm, source, config) in networks(smoke) {
            match populations::missing(source, &self.data) {
                Some(reason) => plan.not_run.push(NotRun::new(arm, reason)),
                None => runnable.push((arm, config)),
            }
        }
        let table = CellConfig::Table {
            cells: if smoke { 4 } else { 24 },
            share: 0.9,
            training: TrainingConfig {
                architecture: Architecture::Dense { hidden: Vec::new() },
                learning_rate: 0.05,
                // All rows in one batch: gradient descent on the whole population.
                batch: 1_000_000,
                epochs: if smoke { 20 } else { 600 },
                ..TrainingConfig::default()
            },
        };
        runnable.push(("table".to_owned(), table));
        for seed in settings.seed_range(10) {
            for (arm, config) in &runnable {
                plan.cells.push(Cell::new(self.id(), arm, seed, config)?);
            }
        }
        Ok(plan)
    }

    fn run(&self, cell: &Cell, workbench: &Workbench) -> Result<Outcome, CellError> {
        let streams = workbench.streams.child("pilot", &[]);
        Ok(match cell.config()? {
            CellConfig::Network { population, method, training, permuted, own_streams } => {
                let rows = population.rows(&self.data, permuted, &streams)?;
                let name = if own_streams { "training again" } else { "training" };
                measure::run(method, &rows, &training, &streams.child(name, &[]))?.into()
            }
            CellConfig::Table { cells, share, training } => {
                measure::run_table(cells, share, &training, &streams)?.into()
            }
        })
    }

    fn contrasts(&self) -> Vec<Contrast> {
        contrasts()
    }

    fn controls(&self) -> Vec<Control> {
        vec![
            Control {
                name: "a table fitted to the whole population: weighted loss, WT over XP - 1",
                margin: 0.001,
                per_seed: |seed| {
                    Ok(seed.scalar("table", "weighted")? / seed.scalar("table", "ex post")? - 1.0)
                },
            },
            Control {
                name: "adult, weights 1 and 1: loss, WT over XP - 1",
                margin: ADULT_EFFECT,
                per_seed: |seed| {
                    let arms = ["adult-natural.adam.again", "adult-natural.adam.unweighted"];
                    ratio(seed, "posterior/loss", arms)
                },
            },
            Control {
                name: "x-ray, weights 1 and 1: loss, WT over XP - 1",
                margin: XRAY_EFFECT,
                per_seed: |seed| {
                    let arms = ["xray-balanced.adam.again", "xray-balanced.adam.unweighted"];
                    ratio(seed, "posterior/loss", arms)
                },
            },
            Control {
                name: "adult, labels permuted: weighted loss, WT over XP - 1",
                margin: ADULT_EFFECT,
                per_seed: |seed| {
                    let arms = [
                        "adult-natural.adam.weighted-90-permuted",
                        "adult-natural.adam.unweighted-permuted",
                    ];
                    ratio(seed, "90/loss", arms)
                },
            },
        ]
    }

    fn figures(&self, records: &Records) -> Result<Vec<Figure>, ProtocolError> {
        report::figures(records)
    }

    fn tables(&self, records: &Records) -> Result<Vec<Table>, ProtocolError> {
        Ok(report::tables(records))
    }

    fn differs(&self) -> &'static [&'static str] {
        &[
            "The paper's weights, networks, training budgets and numbers could not be recovered; everything here is this \
             project's choice, so its effect sizes cannot be held against the paper's.",
            "Chest X-rays of 28 x 28 pixels and census rows under networks of a few thousand parameters that train in \
             seconds, instead of full-size X-rays and natural images under deep networks.",
            "Random splits of the official training and validation images (several may be of one child); AUC on the \
             official test split, which is of another origin, is shown beside.",
            "Weights have a mean of 1 over the two classes. The level of E[rho(q)], and so the predicted sign, depends on that \
             convention; the paper's is not known.",
        ]
    }
}

/// Metric of the first arm over that of the second, less 1.
fn ratio(
    seed: &SeedRecords<'_>,
    metric: &str,
    [arm, against]: [&str; 2],
) -> Result<f64, ProtocolError> {
    Ok(seed.scalar(arm, metric)? / seed.scalar(against, metric)? - 1.0)
}

/// WT over XP - 1 of a metric in one cell: `group` is population and optimiser.
fn relative(
    seed: &SeedRecords<'_>,
    group: &str,
    weights: &str,
    metric: &str,
) -> Result<f64, ProtocolError> {
    let arms = [format!("{group}.weighted-{weights}"), format!("{group}.unweighted")];
    ratio(seed, &format!("{weights}/{metric}"), arms.each_ref().map(String::as_str))
}

/// The mean of `of(group, weights)` over all cells of some populations.
fn over_cells(
    populations: &[&str],
    optimizers: &[&str],
    of: impl Fn(&str, &str) -> Result<f64, ProtocolError>,
) -> Result<f64, ProtocolError> {
    let (mut sum, mut count) = (0.0, 0.0);
    for population in populations {
        for optimizer in optimizers {
            for (weights, _) in measure::WEIGHTS {
                sum += of(&format!("{population}.{optimizer}"), weights)?;
                count += 1.0;
            }
        }
    }
    Ok(sum / count)
}

/// WT - XP in AUC.
fn auc(seed: &SeedRecords<'_>, group: &str, weights: &str) -> Result<f64, ProtocolError> {
    let weighted = format!("{group}.weighted-{weights}");
    seed.difference("auc", &weighted, &format!("{group}.unweighted"))
}

/// WT over XP - 1 in loss, counted as positive where it has the sign that E[rho(q)] predicts.
fn as_predicted(seed: &SeedRecords<'_>, group: &str, weights: &str) -> Result<f64, ProtocolError> {
    let incentive = seed.scalar(&format!("{group}.unweighted"), &format!("{weights}/incentive"))?;
    let predicted = if incentive < 1.0 { 1.0 } else { -1.0 };
    Ok(predicted * relative(seed, group, weights, "loss")?)
}

/// The contrast of one cell.
macro_rules! cell {
    ($population:literal, $optimizer:literal, $weights:literal, $direction:ident, $effect:expr) => {
        Contrast::new(
            concat!(
                "weighted loss, WT over XP - 1: ",
                $population,
                ", ",
                $optimizer,
                ", b = .",
                $weights
            ),
            Direction::$direction,
            $effect,
            Registered::AfterPilot,
            |seed| relative(seed, concat!($population, ".", $optimizer), $weights, "loss"),
        )
    };
}

fn contrasts() -> Vec<Contrast> {
    vec![cell!("adult-rare", "adam", "10", Increase, ADULT_EFFECT)]
}
