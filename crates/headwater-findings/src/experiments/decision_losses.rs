//! Experiment `decision-losses`: networks trained on a weighted loss, and on the plain one with the
//! weights applied to their predictions.
//!
//! Weighted training (WT) has the weights w_1 = 2 b and w_0 = 2 (1 - b) in the log loss; ex-post
//! weighting (XP) trains without and adds ln(w_1/w_0) to the logit. Both are stopped by their own
//! validation objective and scored by the same weighted log loss and cost, on census rows, chest
//! X-rays and digits drawn to several prevalences, under Adam and SGD. AUC and the loss left after
//! recalibration say what was learnt; no shift changes them.
//!
//! Some arms have weights 1 and 1, with initial weights and batches of their own; some have
//! permuted labels, where there is nothing to learn and only choosing is left.

use headwater_decisions::{Optimizer, TrainingConfig};
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, NotRun, Plan,
    Preset, ProtocolError, Scalar, Series, Settings, metrics,
};
use serde::{Deserialize, Serialize};

use headwater_data::DataDir;

mod measure;
mod populations;

use measure::Method;
pub use measure::{GROUPS, WEIGHTS};
use populations::{Population, Source};

/// The experiment; it reads three data sets.
#[derive(Debug, Clone)]
pub struct DecisionLosses {
    /// Where the data lies.
    pub data: DataDir,
}

/// The arm of a method on a population under an optimiser.
#[must_use]
pub fn arm(population: &str, optimizer: &str, method: &str) -> Arm {
    format!("{population}.{optimizer}.{method}").into()
}

/// The plain loss: ex-post weighting under all weights.
#[must_use]
pub fn unweighted(population: &str, optimizer: &str) -> Arm {
    arm(population, optimizer, "unweighted")
}

/// The loss under weights.
#[must_use]
pub fn weighted(population: &str, optimizer: &str, weights: &str) -> Arm {
    arm(population, optimizer, &format!("weighted-{weights}"))
}

/// Weights 1 and 1 from initial weights and batches of their own.
#[must_use]
pub fn again(population: &str) -> Arm {
    arm(population, "adam", "again")
}

/// The plain loss at a learning rate times E[rho(q)] under weights.
#[must_use]
pub fn at_rate(weights: &str) -> Arm {
    arm(SHORT, "sgd", &format!("unweighted-rate-{weights}"))
}

/// The plain loss on permuted labels.
#[must_use]
pub fn unweighted_permuted() -> Arm {
    arm("adult-natural", "adam", "unweighted-permuted")
}

/// The loss under b = .90 on permuted labels.
#[must_use]
pub fn weighted_permuted() -> Arm {
    arm("adult-natural", "adam", "weighted-90-permuted")
}

macro_rules! under_weights {
    ($($(#[$doc:meta])* $name:ident, $label:literal;)*) => { $(
        $(#[$doc])*
        #[must_use]
        pub fn $name(weights: &str) -> Scalar {
            Scalar::from(format!("{weights}/{}", stringify!($name))).shown_as($label)
        }
    )* };
}

under_weights! {
    /// Weighted log loss of the test rows.
    loss, "weighted loss";
    /// The part of it that is left after recalibration on other rows.
    learning, "learning";
    /// The rest.
    choosing, "choosing";
    /// Mean cost of the decisions.
    cost, "cost";
    /// Share of rows that the positive action is taken on.
    acts, "acts";
    /// E[rho(q)]: what the weights multiply the reward to learning by.
    incentive, "E[rho(q)]";
    /// The same, rows counted by q(1 - q).
    curvature, "by q(1 - q)";
    /// By how much weighted training's excess loss should be above, where sampling noise is all.
    excess, "excess - 1";
}

/// AUC of the test rows.
pub const AUC: Scalar = Scalar::labelled("auc", "AUC");
/// AUC of the official test split, which is of another origin.
pub const AUC_OFFICIAL: Scalar = Scalar::labelled("official/auc", "AUC, official split");
/// Epoch with the best validation objective of the arm itself.
pub const EPOCH: Scalar = Scalar::labelled("epoch", "stopped");
/// Log loss of the posterior behind the prediction.
pub const LOSS_OF_POSTERIOR: Scalar = Scalar::labelled("posterior/loss", "log loss of posterior");
/// ECE of that posterior.
pub const ECE: Scalar = Scalar::labelled("posterior/ece", "ECE of posterior");
/// Test rows over training rows: how much splits of one set overlap.
pub const TEST_OVER_TRAIN: Scalar = Scalar::new("test rows over training rows");
/// Mean stated posterior in [`GROUPS`] groups of equal size.
pub const STATED: Series = Series::new("posterior/stated");
/// Share of positives in the same groups.
pub const TRUE: Series = Series::new("posterior/true");

/// What decides a cell's result: one network on one population.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    population: Population,
    method: Method,
    training: TrainingConfig,
    /// Networks whose numbers are averaged.
    repeats: usize,
    /// Labels permuted in every part.
    permuted: bool,
    /// Initial weights and batches that no other arm has.
    own_streams: bool,
}

/// A population, by the name that its arms begin with.
pub struct Named {
    /// The name.
    pub name: &'static str,
    source: Source,
    /// Share of positives. Posteriors belong to it, so it is the same in all parts.
    prevalence: f64,
    /// Passes over the training rows, under Adam and under SGD: enough for validation to stop every
    /// arm before the last. SGD needs more, since weights that lower the reward to learning slow it
    /// down.
    epochs: [usize; 2],
}

/// Every population.
pub const POPULATIONS: [Named; 7] = [
    Named { name: "adult-rare", source: Source::Adult, prevalence: 0.05, epochs: [20, 80] },
    Named { name: "adult-natural", source: Source::Adult, prevalence: 0.2408, epochs: [20, 80] },
    Named { name: "adult-balanced", source: Source::Adult, prevalence: 0.5, epochs: [20, 80] },
    // Training that ends long before it has learnt what it could: there the speed of learning
    // decides.
    Named { name: "adult-rare-short", source: Source::Adult, prevalence: 0.05, epochs: [2, 2] },
    Named { name: "xray-balanced", source: Source::Xray, prevalence: 0.5, epochs: [12, 30] },
    Named { name: "xray-frequent", source: Source::Xray, prevalence: 0.9, epochs: [12, 30] },
    Named { name: "digits", source: Source::Digits, prevalence: 0.1, epochs: [20, 20] },
];

/// E[rho(q)] of rare adults by the weights' name, from pilots: what an unweighted arm's learning
/// rate is multiplied by where it is to learn as slowly, or as fast, as under those weights.
const RATES: [(&str, f64); 2] = [("10", 0.2), ("90", 1.45)];

/// The optimisers.
pub const OPTIMIZERS: [&str; 2] = ["adam", "sgd"];

/// The populations trained until validation stops them, which the paper's claim is about; eights
/// among digits are too few to tell anything, and are shown only.
pub const ADULT: [&str; 3] = ["adult-rare", "adult-natural", "adult-balanced"];
/// Those of X-rays.
pub const XRAY: [&str; 2] = ["xray-balanced", "xray-frequent"];

/// The population whose training ends before validation stops it.
pub const SHORT: &str = "adult-rare-short";

/// Where the remedies are tried: the weights counteract the imbalance there.
pub const REMEDIED: [(&str, &str, f64); 2] =
    [("adult-rare", "90", 0.9), ("xray-frequent", "10", 0.1)];

fn population(source: Source, prevalence: f64, smoke: bool) -> Population {
    let sizes = match (smoke, source) {
        (true, _) => [200, 60, 60, 100],
        (false, Source::Adult) => [5000, 2000, 2000, 6000],
        (false, Source::Xray) => [1000, 300, 300, 830],
        (false, Source::Digits) => [700, 300, 300, 400],
    };
    Population { source, prevalence, sizes }
}

/// Networks per arm and split, from initial weights and batches of their own; an arm's numbers are
/// their means. Which batch came last moves the loss of one network by as much as the weights do.
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

/// Every arm with what decides its results.
fn networks(smoke: bool) -> Vec<(Arm, Source, Config)> {
    let mut arms = Vec::new();
    for named in &POPULATIONS {
        for optimizer in OPTIMIZERS {
            let methods = methods(named.name, optimizer);
            arms.extend(methods.into_iter().map(|(name, method, variant)| {
                let mut training = training(named, optimizer, smoke);
                training.learning_rate *= variant.rate;
                let config = Config {
                    population: population(named.source, named.prevalence, smoke),
                    method,
                    training,
                    repeats: if smoke { 1 } else { repeats(named.source) },
                    permuted: variant.permuted,
                    own_streams: variant.own_streams,
                };
                (arm(named.name, optimizer, &name), named.source, config)
            }));
        }
    }
    arms
}

/// What an arm has but its method.
#[derive(Debug, Clone, Copy)]
struct Variant {
    /// What the learning rate is multiplied by.
    rate: f64,
    permuted: bool,
    own_streams: bool,
}

const USUAL: Variant = Variant { rate: 1.0, permuted: false, own_streams: false };

/// The methods that are run on a population under an optimiser.
fn methods(population: &str, optimizer: &str) -> Vec<(String, Method, Variant)> {
    let mut methods = Vec::new();
    let mut add = |name: &str, method, variant| methods.push((name.to_owned(), method, variant));
    if (population, optimizer) == (SHORT, "sgd") {
        for (weights, rate) in RATES {
            let name = format!("unweighted-rate-{weights}");
            add(&name, Method::Unweighted, Variant { rate, ..USUAL });
        }
    }
    add("unweighted", Method::Unweighted, USUAL);
    for (weights, share) in WEIGHTS {
        add(&format!("weighted-{weights}"), Method::Weighted { share }, USUAL);
    }
    if optimizer != "adam" {
        return methods;
    }
    if ADULT.contains(&population) || XRAY.contains(&population) {
        let own_streams = Variant { own_streams: true, ..USUAL };
        add("again", Method::Weighted { share: 0.5 }, own_streams);
    }
    if population == "adult-natural" {
        let permuted = Variant { permuted: true, ..USUAL };
        add("unweighted-permuted", Method::Unweighted, permuted);
        add("weighted-90-permuted", Method::Weighted { share: 0.9 }, permuted);
    }
    for (_, _, share) in REMEDIED.into_iter().filter(|(remedied, ..)| *remedied == population) {
        add("logit-adjusted", Method::LogitAdjusted { share }, USUAL);
        add("decoupled", Method::Decoupled { share }, USUAL);
        add("focal", Method::Focal { share }, USUAL);
    }
    methods
}

impl Experiment for DecisionLosses {
    fn id(&self) -> &'static str {
        "decision-losses"
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = metrics![
            AUC,
            AUC_OFFICIAL,
            EPOCH,
            LOSS_OF_POSTERIOR,
            ECE,
            TEST_OVER_TRAIN,
            STATED,
            TRUE
        ];
        for (weights, _) in WEIGHTS {
            metrics.extend(metrics![
                loss(weights),
                learning(weights),
                choosing(weights),
                cost(weights),
                acts(weights),
                incentive(weights),
                curvature(weights),
                excess(weights),
            ]);
        }
        metrics
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let mut not_run = Vec::new();
        let mut planned = Vec::new();
        for (arm, source, config) in networks(settings.preset == Preset::Smoke) {
            match populations::missing(source, &self.data) {
                Some(reason) => not_run.push(NotRun::new(arm, reason)),
                None => planned.push(ArmPlan::new(arm, &config)?),
            }
        }
        Ok(Plan { not_run, ..Plan::of(settings.seed_range(8), planned) })
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let streams = context.streams.child("splits and networks of the second run", &[]);
        let Config { population, method, training, repeats, permuted, own_streams } =
            cell.config()?;
        let rows = population.rows(&self.data, permuted, &streams)?;
        let name = if own_streams { "training again" } else { "training" };
        let [train, _, _, test] = population.sizes;
        let metrics = measure::run(method, &rows, &training, repeats, &streams.child(name, &[]))?;
        Ok(metrics.scalar(&TEST_OVER_TRAIN, test as f64 / train as f64).into())
    }
}

#[cfg(test)]
mod tests {
    use headwater_protocol::DeviceKind;

    use super::*;

    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("decision-losses");
    }

    #[test]
    #[ignore = "real data"]
    fn its_smoke_run_on_real_data_has_a_report() {
        crate::testing::smoke_with("decision-losses", &crate::testing::real_data());
    }

    #[test]
    fn without_data_what_is_built_in_is_run_and_every_other_arm_is_listed() {
        let experiment = DecisionLosses { data: DataDir::default() };
        let settings = Settings { preset: Preset::Quick, seeds: None, device: DeviceKind::Flex };
        let plan = experiment.plan(&settings).unwrap();
        let count = |arm: &Arm| plan.cells.iter().filter(|cell| cell.arm == *arm).count();
        let digits = |arm: &Arm| arm.name().starts_with("digits");
        assert!(plan.cells.iter().all(|cell| digits(&cell.arm)));
        let arms = networks(false);
        let (run, not_run): (Vec<_>, Vec<_>) = arms.iter().partition(|(arm, ..)| digits(arm));
        assert!(!run.is_empty() && run.iter().all(|(arm, ..)| count(arm) > 0));
        assert_eq!(plan.not_run.len(), not_run.len());
        let reason = "data set adult not found: `cargo xtask data fetch adult` gets it";
        assert_eq!(plan.not_run[0].reason, reason);
    }
}
