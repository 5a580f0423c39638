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
//! Controls: weights 1 and 1, where the two are one objective, with initial weights and batches of their own; labels permuted, where
//! there is nothing to learn and only choosing is left. That the two coincide on a table fitted to the whole population, and where
//! the weights shift the logit within the loss and weigh no row, is so by construction: it is shown in a table.

use headwater_decisions::{Architecture, Optimizer, TrainingConfig};
use headwater_protocol::{
    Cell, CellError, Contrast, Control, Figure, Finding, NotRun, Outcome, Plan, Preset,
    ProtocolError, Records, Settings, Table, Workbench,
};
use serde::{Deserialize, Serialize};

use crate::data::DataDir;

mod contrasts;
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
        /// Networks whose numbers are averaged.
        repeats: usize,
        /// Labels permuted in every part.
        permuted: bool,
        /// Initial weights and batches that no other arm has.
        own_streams: bool,
    },
    /// Both ways on a table.
    Table { cells: usize, share: f64, training: TrainingConfig },
}

/// A population, by the name that its arms begin with.
struct Named {
    name: &'static str,
    source: Source,
    /// Share of positives. Posteriors belong to it, so it is the same in all parts.
    prevalence: f64,
    /// Passes over the training rows, under Adam and under SGD: enough for validation to stop every arm before the last. SGD
    /// needs more, since weights that lower the reward to learning slow it down.
    epochs: [usize; 2],
}

const POPULATIONS: [Named; 7] = [
    Named { name: "adult-rare", source: Source::Adult, prevalence: 0.05, epochs: [20, 80] },
    Named { name: "adult-natural", source: Source::Adult, prevalence: 0.2408, epochs: [20, 80] },
    Named { name: "adult-balanced", source: Source::Adult, prevalence: 0.5, epochs: [20, 80] },
    // Training that ends long before it has learnt what it could: there the speed of learning decides.
    Named { name: "adult-rare-short", source: Source::Adult, prevalence: 0.05, epochs: [2, 2] },
    Named { name: "xray-balanced", source: Source::Xray, prevalence: 0.5, epochs: [12, 30] },
    Named { name: "xray-frequent", source: Source::Xray, prevalence: 0.9, epochs: [12, 30] },
    Named { name: "digits", source: Source::Digits, prevalence: 0.1, epochs: [20, 20] },
];

/// E[rho(q)] of rare adults by the weights' name, from pilots: what an unweighted arm's learning rate is multiplied by where it
/// is to learn as slowly, or as fast, as under those weights.
const RATES: [(&str, f64); 2] = [("10", 0.2), ("90", 1.45)];

const OPTIMIZERS: [&str; 2] = ["adam", "sgd"];

/// The populations trained until validation stops them, which the paper's claim is about; eights among digits are too few
/// to tell anything, and are shown only.
const ADULT: [&str; 3] = ["adult-rare", "adult-natural", "adult-balanced"];
const XRAY: [&str; 2] = ["xray-balanced", "xray-frequent"];

/// Where the remedies are tried: the weights counteract the imbalance there.
const REMEDIED: [(&str, &str, f64); 2] = [("adult-rare", "90", 0.9), ("xray-frequent", "10", 0.1)];

fn population(source: Source, prevalence: f64, smoke: bool) -> Population {
    let sizes = match (smoke, source) {
        (true, _) => [200, 60, 60, 100],
        (false, Source::Adult) => [5000, 2000, 2000, 6000],
        (false, Source::Xray) => [1000, 300, 300, 830],
        (false, Source::Digits) => [700, 300, 300, 400],
    };
    Population { source, prevalence, sizes }
}

/// Networks per arm and split, from initial weights and batches of their own; an arm's numbers are their means. Which
/// batch came last moves the loss of one network by as much as the weights do.
fn repeats(source: Source) -> usize {
    match source {
        Source::Adult => 3,
        Source::Xray => 2,
        Source::Digits => 1,
    }
}

fn training(named: &Named, optimizer: &str, smoke: bool) -> TrainingConfig {
    let (optimizer, learning_rate) = match (optimizer, named.source) {
        ("adam", Source::Adult) => (Optimizer::Adam, 1e-3),
        ("adam", Source::Xray | Source::Digits) => (Optimizer::Adam, 2e-3),
        _ => (Optimizer::Sgd { momentum: 0.9 }, 0.02),
    };
    let batch = if named.source == Source::Adult { 64 } else { 32 };
    let epochs = if smoke { 2 } else { named.epochs[usize::from(optimizer != Optimizer::Adam)] };
    let architecture = named.source.architecture();
    TrainingConfig { architecture, optimizer, learning_rate, batch, epochs }
}

/// Every arm on real data with what decides its results: `population.optimiser.method`.
fn networks(smoke: bool) -> Vec<(String, Source, CellConfig)> {
    let mut arms = Vec::new();
    for named in &POPULATIONS {
        let (name, source) = (named.name, named.source);
        for optimizer in OPTIMIZERS {
            if (name, optimizer) == ("adult-rare-short", "sgd") {
                for (weights, share) in RATES {
                    let mut training = training(named, optimizer, smoke);
                    training.learning_rate *= share;
                    let config = CellConfig::Network {
                        population: population(source, named.prevalence, smoke),
                        method: Method::Unweighted,
                        training,
                        repeats: if smoke { 1 } else { repeats(source) },
                        permuted: false,
                        own_streams: false,
                    };
                    arms.push((
                        format!("{name}.{optimizer}.unweighted-rate-{weights}"),
                        source,
                        config,
                    ));
                }
            }
            let mut add = |arm: &str, method, permuted, own_streams| {
                let config = CellConfig::Network {
                    population: population(source, named.prevalence, smoke),
                    method,
                    training: training(named, optimizer, smoke),
                    repeats: if smoke { 1 } else { repeats(source) },
                    permuted,
                    own_streams,
                };
                arms.push((format!("{name}.{optimizer}.{arm}"), source, config));
            };
            add("unweighted", Method::Unweighted, false, false);
            for (weights, share) in measure::WEIGHTS {
                add(&format!("weighted-{weights}"), Method::Weighted { share }, false, false);
            }
            if optimizer != "adam" {
                continue;
            }
            if ADULT.contains(&name) || XRAY.contains(&name) {
                add("again", Method::Weighted { share: 0.5 }, false, true);
            }
            if name == "adult-natural" {
                add("unweighted-permuted", Method::Unweighted, true, false);
                add("weighted-90-permuted", Method::Weighted { share: 0.9 }, true, false);
            }
            if let Some((_, _, share)) = REMEDIED.iter().find(|(remedied, _, _)| *remedied == name)
            {
                let share = *share;
                add("logit-adjusted", Method::LogitAdjusted { share }, false, false);
                add("decoupled", Method::Decoupled { share }, false, false);
                add("focal", Method::Focal { share }, false, false);
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
        for seed in settings.seed_range(8) {
            for (arm, config) in &runnable {
                plan.cells.push(Cell::new(self.id(), arm, seed, config)?);
            }
        }
        Ok(plan)
    }

    fn run(&self, cell: &Cell, workbench: &Workbench) -> Result<Outcome, CellError> {
        let streams = workbench.streams.child("splits and networks of the second run", &[]);
        Ok(match cell.config()? {
            CellConfig::Network {
                population,
                method,
                training,
                repeats,
                permuted,
                own_streams,
            } => {
                let rows = population.rows(&self.data, permuted, &streams)?;
                let name = if own_streams { "training again" } else { "training" };
                let [train, _, _, test] = population.sizes;
                measure::run(method, &rows, &training, repeats, &streams.child(name, &[]))?
                    .scalar("test rows over training rows", test as f64 / train as f64)
                    .into()
            }
            CellConfig::Table { cells, share, training } => {
                measure::run_table(cells, share, &training, &streams)?.into()
            }
        })
    }

    fn contrasts(&self) -> Vec<Contrast> {
        contrasts::contrasts()
    }

    fn controls(&self) -> Vec<Control> {
        contrasts::controls()
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
            "Random splits of the official training and validation images (several may be of one child, on both sides of a split); AUC on the \
             official test split, which is of another origin, is shown beside.",
            "Seeds are splits of one set of census rows and one of X-rays, which overlap: intervals say how the comparison varies over splits and \
             networks, not over data sets. A table has intervals corrected for the overlap, conservatively.",
            "Weights have a mean of 1 over the two classes. The level of E[rho(q)], and so the predicted sign, depends on that \
             convention; the paper's is not known.",
        ]
    }
}

#[cfg(test)]
mod tests {
    use headwater_protocol::{DeviceKind, Metrics};

    use super::*;

    #[test]
    fn without_data_the_table_and_what_is_built_in_are_run_and_every_other_arm_is_listed() {
        let finding = DecisionLosses { data: DataDir::default() };
        let settings = Settings { preset: Preset::Quick, seeds: None, device: DeviceKind::Flex };
        let plan = finding.plan(&settings).unwrap();
        let count = |arm: &str| plan.cells.iter().filter(|cell| cell.arm == arm).count();
        assert!(count("table") > 0);
        let digits = |arm: &str| arm.starts_with("digits");
        assert!(plan.cells.iter().all(|cell| cell.arm == "table" || digits(&cell.arm)));
        let arms = networks(false);
        let (run, not_run): (Vec<_>, Vec<_>) = arms.iter().partition(|(arm, ..)| digits(arm));
        assert!(!run.is_empty() && run.iter().all(|(arm, ..)| count(arm) > 0));
        assert_eq!(plan.not_run.len(), not_run.len());
        let reason = "data set adult not found: `cargo xtask data fetch adult` gets it";
        assert_eq!(plan.not_run[0].reason, reason);
    }

    #[test]
    fn every_comparison_figure_and_table_reads_arms_that_are_planned() {
        let cells = networks(false).into_iter().flat_map(|(arm, _, _)| {
            [0u64, 1].map(|seed| {
                // What an arm of its kind records, with numbers that do not matter.
                let mut metrics = Metrics::new()
                    .scalar("official/auc", 0.9)
                    .scalar("test rows over training rows", 1.2);
                for name in ["auc", "epoch", "posterior/loss", "posterior/ece"] {
                    metrics = metrics.scalar(name, 0.5 + seed as f64);
                }
                for (weights, _) in measure::WEIGHTS {
                    let own = arm.ends_with("unweighted") || arm.contains(weights);
                    let other = REMEDIED.iter().any(|(name, of, _)| {
                        arm.starts_with(&format!("{name}.")) && *of == weights
                    });
                    for name in [
                        "loss",
                        "learning",
                        "choosing",
                        "cost",
                        "acts",
                        "incentive",
                        "curvature",
                        "excess",
                    ] {
                        if own || other || arm.contains("permuted") {
                            metrics =
                                metrics.scalar(format!("{weights}/{name}"), 1.5 + seed as f64);
                        }
                    }
                }
                let curve = || vec![0.5; measure::GROUPS];
                metrics =
                    metrics.series("posterior/stated", curve()).series("posterior/true", curve());
                (arm.clone(), seed, metrics)
            })
        });
        let table = Metrics::new().scalar("weighted", 1.0).scalar("ex post", 1.0);
        let records = Records::new(cells.chain([("table".to_owned(), 0, table)]));
        let seed = records.seed(0);
        for contrast in contrasts::contrasts() {
            assert!((contrast.per_seed)(&seed).is_ok(), "{}", contrast.name);
        }
        for control in contrasts::controls() {
            assert!((control.per_seed)(&seed).is_ok(), "{}", control.name);
        }
        // No value of any table is missing, be it for a misspelt arm or a misspelt metric.
        for table in report::tables(&records) {
            let table = format!("{table:?}");
            let missing = table.find("NoRecord").or(table.find("NoMetric"));
            let before = missing.map(|at| &table[at.saturating_sub(200)..at]);
            assert_eq!(before, None, "a value is missing after this");
        }
        let figures = format!("{:?}", report::figures(&records).unwrap());
        for shown in [": adult\"", ": adult, training cut short\"", ": x-rays\"", "Reliability: "] {
            assert!(figures.contains(shown), "{shown}");
        }
        // Nothing but the table: no figure, and no error.
        assert!(report::figures(&Records::default()).unwrap().is_empty());
    }
}
