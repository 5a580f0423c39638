//! Experiment `feedback-loop-logged`: real logs of two policies. How far learning concentrates
//! exposure, and what one policy's log says of the other.
//!
//! `open-bandit` has 10,000 recommendations by chance and 10,000 by Bernoulli Thompson sampling for
//! each of three campaigns. Either log is used to estimate what the other policy earns, whose click
//! rate is known from its own log, so that the estimate can be held against it. From the Thompson
//! log the target is exact: every item as likely. From the random log the target is Thompson
//! sampling as it was on average: its shares of items at each position, since the probabilities
//! that it would have had at the time are not logged. It knows nothing of users, so that its mean
//! click rate is that of these shares as far as items are as good at all times.
//!
//! 287 of 60,000 rows were clicked: the intervals are wide, and no contrast rests on them. Nothing
//! is random but the bootstrap, whose intervals are over rows.

use headwater_core::{Check, Streams};
use headwater_evaluation::intervals::{Bootstrap, BootstrapConfig, wilson_interval};
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Estimate, Experiment, Metric, Metrics,
    Plan, Preset, ProtocolError, Scalar, Settings, metrics,
};
use headwater_recsys::metrics::{coverage, effective_items, exposure, gini};
use headwater_recsys::off_policy::{BanditColumns, LoggedBandit, ModelColumns, OffPolicyEstimator};
use serde::{Deserialize, Serialize};

use headwater_data::DataDir;
use headwater_data::open_bandit::{Campaign, LoggedItem, LoggingPolicy};

/// The experiment; it reads `open-bandit`.
#[derive(Debug, Clone)]
pub struct FeedbackLoopLogged {
    /// Where the data lies.
    pub data: DataDir,
}

/// The only arm.
pub const LOGS: Arm = Arm::new("open-bandit");

/// What decides the cell's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LoggedConfig {
    bootstrap: BootstrapConfig,
}

/// The policies, by name.
pub const POLICIES: [(&str, LoggingPolicy); 2] =
    [("random", LoggingPolicy::Random), ("Thompson", LoggingPolicy::Thompson)];

/// Largest weight of the estimators that bound it, and the shrinkage that halves a weight of that
/// size.
const MOST: f64 = 10.0;

/// The estimators of a policy from the other one's log.
pub const ESTIMATORS: [OffPolicyEstimator; 8] = [
    OffPolicyEstimator::Ips,
    OffPolicyEstimator::ClippedIps { most: MOST },
    OffPolicyEstimator::Snips,
    OffPolicyEstimator::Dm,
    OffPolicyEstimator::Dr,
    OffPolicyEstimator::Sndr,
    OffPolicyEstimator::SwitchDr { most: MOST },
    OffPolicyEstimator::DrOs { lambda: MOST * MOST },
];

/// Impressions at the mean click rate that an item's click rate is shrunk by.
const PRIOR: f64 = 100.0;

/// Positions of a page.
pub const POSITIONS: usize = 3;

macro_rules! of_policy {
    ($($(#[$doc:meta])* $name:ident: $type:ident, $metric:literal, $label:literal;)*) => { $(
        $(#[$doc])*
        #[must_use]
        pub fn $name(campaign: Campaign, policy: &str) -> $type {
            $type::from(format!("{}/{policy}/{}", campaign.name(), $metric)).shown_as($label)
        }
    )* };
}

of_policy! {
    /// Click rate in the policy's own log.
    clicked: Estimate, "clicked", "click rate";
    /// Gini coefficient of exposure over all items of the campaign.
    gini_of: Scalar, "gini", "Gini";
    /// Share of items shown.
    coverage_of: Scalar, "coverage", "coverage";
    /// Effective number of items shown.
    effective: Scalar, "effective items", "effective items";
    /// Largest share of exposure of one item.
    largest_share: Scalar, "largest share", "largest share";
    /// Effective sample size of the other policy's log for this one.
    sample_size: Scalar, "effective sample size", "effective sample size";
    /// Largest weight of a row of that log.
    largest_weight: Scalar, "largest weight", "largest weight";
    /// Mean weight of its rows, which should be 1.
    mean_weight: Estimate, "mean weight", "mean weight";
}

/// Click rate of a policy as an estimator tells it from the other one's log.
#[must_use]
pub fn estimated(campaign: Campaign, policy: &str, estimator: OffPolicyEstimator) -> Estimate {
    Estimate::from(format!("{}/{policy}/{}", campaign.name(), estimator.name()))
}

/// The same as a number without an interval. Rows drawn anew with the model held fixed say nothing
/// of an estimate that is the model's alone.
#[must_use]
pub fn modelled(campaign: Campaign, policy: &str) -> Scalar {
    Scalar::from(format!("{}/{policy}/{}", campaign.name(), OffPolicyEstimator::Dm.name()))
}

/// Click rate of the random policy at a position, counted from 0.
#[must_use]
pub fn at_position(position: usize) -> Estimate {
    Estimate::from(format!("position {}", position + 1)).shown_as("click rate")
}

impl Experiment for FeedbackLoopLogged {
    fn id(&self) -> &'static str {
        "feedback-loop-logged"
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics: Vec<Metric> =
            (0..POSITIONS).map(|position| at_position(position).into()).collect();
        for campaign in Campaign::ALL {
            for (policy, _) in POLICIES {
                metrics.extend(metrics![
                    clicked(campaign, policy),
                    gini_of(campaign, policy),
                    coverage_of(campaign, policy),
                    effective(campaign, policy),
                    largest_share(campaign, policy),
                    sample_size(campaign, policy),
                    largest_weight(campaign, policy),
                    mean_weight(campaign, policy),
                    modelled(campaign, policy),
                ]);
                let others = ESTIMATORS.into_iter().filter(|e| *e != OffPolicyEstimator::Dm);
                metrics.extend(others.map(|e| Metric::from(estimated(campaign, policy, e))));
            }
        }
        metrics
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let resamples = if settings.preset == Preset::Smoke { 39 } else { 999 };
        let bootstrap = BootstrapConfig { resamples, ..BootstrapConfig::default() };
        if let Err(missing) = self.data.locate("open-bandit") {
            return Ok(Plan::not_run([LOGS], missing));
        }
        // What was recorded is the same at every seed.
        let seeds = settings.seed_range(10).take(1);
        Ok(Plan::of(seeds, vec![ArmPlan::new(LOGS, &LoggedConfig { bootstrap })?]))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        Ok(measure(&cell.config()?, &self.data, &context.streams)?.into())
    }
}

/// Measures both logs of every campaign.
fn measure(config: &LoggedConfig, data: &DataDir, streams: &Streams) -> Result<Metrics, CellError> {
    let bootstrap = config.bootstrap.check()?;
    let mut metrics = Metrics::new();
    let mut by_position = [(0, 0); POSITIONS];
    for campaign in Campaign::ALL {
        let rows = data.open_bandit(campaign)?;
        let of = |policy| -> Vec<LoggedItem> {
            rows.iter().copied().filter(|row| row.policy == policy).collect()
        };
        let [random, thompson] = POLICIES.map(|(_, policy)| of(policy));
        for row in &random {
            let (clicks, shown) = &mut by_position[usize::from(row.position) - 1];
            *clicks += usize::from(row.click);
            *shown += 1;
        }
        for ((policy, _), log) in POLICIES.iter().zip([&random, &thompson]) {
            metrics = concentration(metrics, campaign, policy, log)?;
        }
        let even = vec![1.0 / campaign.items() as f64; POSITIONS * campaign.items()];
        for (target, log, probabilities) in [
            ("Thompson", &random, shares(&thompson, campaign.items())),
            ("random", &thompson, even),
        ] {
            let streams = streams.child(&format!("{}/{target}", campaign.name()), &[]);
            let of = (campaign, target);
            metrics = evaluation(metrics, of, log, &probabilities, &bootstrap, &streams)?;
        }
    }
    for (position, (clicks, shown)) in by_position.into_iter().enumerate() {
        let rate = wilson_interval(clicks, shown, 0.95)?;
        metrics = metrics.estimate(&at_position(position), &rate);
    }
    Ok(metrics)
}

/// How a policy spread exposure, and how often it was clicked.
fn concentration(
    metrics: Metrics,
    campaign: Campaign,
    policy: &str,
    log: &[LoggedItem],
) -> Result<Metrics, CellError> {
    let items = campaign.items();
    let shown: Vec<u32> = log.iter().map(|row| row.item as u32).collect();
    let exposed = exposure(&shown, None, items)?;
    let largest = exposed.iter().copied().fold(0.0, f64::max) / log.len() as f64;
    let clicks = log.iter().filter(|row| row.click).count();
    Ok(metrics
        .scalar(&gini_of(campaign, policy), gini(&exposed)?)
        .scalar(&coverage_of(campaign, policy), coverage(&shown, items)?)
        .scalar(&effective(campaign, policy), effective_items(&exposed)?)
        .scalar(&largest_share(campaign, policy), largest)
        .estimate(&clicked(campaign, policy), &wilson_interval(clicks, log.len(), 0.95)?))
}

/// How often a log shows each item at each position, positions x items.
fn shares(log: &[LoggedItem], items: usize) -> Vec<f64> {
    let mut counts = vec![0.0; POSITIONS * items];
    for row in log {
        counts[(usize::from(row.position) - 1) * items + row.item] += 1.0;
    }
    for position in counts.chunks_exact_mut(items) {
        let shown: f64 = position.iter().sum();
        position.iter_mut().for_each(|count| *count /= shown.max(1.0));
    }
    counts
}

/// What the log says of a target with these probabilities of items by position.
fn evaluation(
    mut metrics: Metrics,
    (campaign, policy): (Campaign, &str),
    log: &[LoggedItem],
    target: &[f64],
    bootstrap: &Bootstrap,
    streams: &Streams,
) -> Result<Metrics, CellError> {
    let items = target.len() / POSITIONS;
    let wanted = |row: &LoggedItem| &target[(usize::from(row.position) - 1) * items..][..items];
    // Each half is predicted from the other.
    let models = [1, 0].map(|half| click_rates(log.iter().skip(half).step_by(2), items));
    let mut model = ModelColumns::default();
    for (at, row) in log.iter().enumerate() {
        let rates = &models[at % 2];
        model.logged.push(rates[row.item]);
        model.target.push(wanted(row).iter().zip(rates).map(|(p, rate)| p * rate).sum());
    }
    let bandit = LoggedBandit::new(BanditColumns {
        reward: log.iter().map(|row| f64::from(u8::from(row.click))).collect(),
        propensity: log.iter().map(|row| row.propensity).collect(),
        target: log.iter().map(|row| wanted(row)[row.item]).collect(),
        model: Some(model),
        unsupported_mass: None,
        session: None,
    })?;
    let overlap = bandit.overlap()?;
    metrics = metrics
        .scalar(&sample_size(campaign, policy), overlap.effective_sample_size)
        .scalar(&largest_weight(campaign, policy), overlap.largest_weight)
        .estimate(&mean_weight(campaign, policy), &overlap.mean_weight);
    for estimator in ESTIMATORS {
        if estimator == OffPolicyEstimator::Dm {
            metrics = metrics.scalar(&modelled(campaign, policy), estimator.value(&bandit)?);
            continue;
        }
        let mut rng = streams.stream(estimator.name(), &[]);
        let interval = estimator.estimate(&bandit, bootstrap, &mut rng)?;
        metrics = metrics.estimate(&estimated(campaign, policy, estimator), &interval);
    }
    Ok(metrics)
}

/// Click rate of every item, shrunk towards that of all.
fn click_rates<'a>(log: impl Iterator<Item = &'a LoggedItem>, items: usize) -> Vec<f64> {
    let mut counts = vec![(0.0, 0.0); items];
    for row in log {
        let (clicks, shown) = &mut counts[row.item];
        *clicks += f64::from(u8::from(row.click));
        *shown += 1.0;
    }
    let (clicks, shown) =
        counts.iter().fold((0.0, 0.0), |sum: (f64, f64), own| (sum.0 + own.0, sum.1 + own.1));
    let rate = clicks / shown;
    counts.iter().map(|(clicks, shown)| (clicks + PRIOR * rate) / (shown + PRIOR)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "real data"]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke_with("feedback-loop-logged", &crate::testing::real_data());
    }

    #[test]
    fn without_data_the_logs_are_not_run() {
        let experiment = FeedbackLoopLogged { data: DataDir::default() };
        let device = headwater_protocol::DeviceKind::Flex;
        let settings = Settings { preset: Preset::Smoke, seeds: Some(2), device };
        let plan = experiment.plan(&settings).unwrap();
        assert!(plan.cells.is_empty() && plan.not_run[0].arm == LOGS);
        assert!(plan.not_run[0].reason.contains("not found"));
    }

    fn row(item: usize, position: u8, click: bool) -> LoggedItem {
        LoggedItem { policy: LoggingPolicy::Random, item, position, click, propensity: 0.5 }
    }

    #[test]
    fn shares_sum_to_one_at_each_position() {
        let log = [
            row(0, 1, false),
            row(1, 1, false),
            row(1, 1, true),
            row(0, 2, false),
            row(1, 3, false),
        ];
        let third = 1.0 / 3.0;
        assert_eq!(shares(&log, 2), [third, 2.0 * third, 1.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn click_rates_are_shrunk() {
        let log = [row(0, 1, true), row(0, 1, false), row(1, 1, false), row(1, 2, false)];
        let rates = click_rates(log.iter(), 3);
        // Of all, a quarter.
        assert_eq!(rates, [26.0 / 102.0, 25.0 / 102.0, 0.25]);
    }
}
