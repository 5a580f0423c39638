//! Real logs of two policies: how far learning concentrates exposure, and what one policy's log says of the other.
//!
//! `open-bandit` has 10,000 recommendations by chance and 10,000 by Bernoulli Thompson sampling for each of three
//! campaigns. Either log is used to estimate what the other policy earns, whose click rate is known from its own log, so that the
//! estimate can be held against it. From the Thompson log the target is exact: every item as likely. From the random log the
//! target is Thompson sampling as it was on average: its shares of items at each position, since the probabilities that it
//! would have had at the time are not logged. It knows nothing of users, so that its mean click rate is that of these shares as far
//! as items are as good at all times.
//!
//! 287 of 60,000 rows were clicked: the intervals are wide, and no contrast rests on them. Nothing is random but the
//! bootstrap, whose intervals are over rows.

use headwater_core::{Check, Streams};
use headwater_evaluation::intervals::{Bootstrap, BootstrapConfig, wilson_interval};
use headwater_protocol::{
    CellError, Figure, Metrics, Point, ProtocolError, Records, Table, TableValue,
};
use headwater_recsys::metrics::{coverage, effective_items, exposure, gini};
use headwater_recsys::off_policy::{BanditColumns, Estimator, LoggedBandit, ModelColumns};
use serde::{Deserialize, Serialize};

use crate::data::DataDir;
use crate::data::open_bandit::{Campaign, LoggedItem, LoggingPolicy};
use crate::recorded::{effect, estimate, number, value};

/// The sets that this part reads.
pub(super) const SETS: &[&str] = &["open-bandit"];

/// The only arm.
pub(super) const ARM: &str = "open-bandit";

/// What decides the cell's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoggedConfig {
    bootstrap: BootstrapConfig,
}

/// The arm with what decides its result.
pub(super) fn arms(smoke: bool) -> Vec<(String, LoggedConfig)> {
    let resamples = if smoke { 39 } else { 999 };
    let bootstrap = BootstrapConfig { resamples, ..BootstrapConfig::default() };
    vec![(ARM.to_owned(), LoggedConfig { bootstrap })]
}

const POLICIES: [(&str, LoggingPolicy); 2] =
    [("random", LoggingPolicy::Random), ("Thompson", LoggingPolicy::Thompson)];

/// Largest weight of the estimators that bound it, and the shrinkage that halves a weight of that size.
const MOST: f64 = 10.0;

const ESTIMATORS: [Estimator; 8] = [
    Estimator::Ips,
    Estimator::ClippedIps { most: MOST },
    Estimator::Snips,
    Estimator::Dm,
    Estimator::Dr,
    Estimator::Sndr,
    Estimator::SwitchDr { most: MOST },
    Estimator::DrOs { lambda: MOST * MOST },
];

/// Impressions at the mean click rate that an item's click rate is shrunk by.
const PRIOR: f64 = 100.0;

/// Positions of a page.
const POSITIONS: usize = 3;

/// Measures both logs of every campaign.
pub(super) fn run(
    config: &LoggedConfig,
    data: &DataDir,
    streams: &Streams,
) -> Result<Metrics, CellError> {
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
            let prefix = format!("{}/{policy}", campaign.name());
            metrics = concentration(metrics, &prefix, log, campaign.items())?;
        }
        let even = vec![1.0 / campaign.items() as f64; POSITIONS * campaign.items()];
        for (target, log, probabilities) in [
            ("Thompson", &random, shares(&thompson, campaign.items())),
            ("random", &thompson, even),
        ] {
            let prefix = format!("{}/{target}", campaign.name());
            let streams = streams.child(&prefix, &[]);
            metrics = evaluation(metrics, &prefix, log, &probabilities, &bootstrap, &streams)?;
        }
    }
    for (position, (clicks, shown)) in by_position.into_iter().enumerate() {
        let rate = wilson_interval(clicks, shown, 0.95)?;
        metrics = estimate(metrics, &format!("position {}", position + 1), &rate);
    }
    Ok(metrics)
}

/// How a policy spread exposure, and how often it was clicked.
fn concentration(
    metrics: Metrics,
    prefix: &str,
    log: &[LoggedItem],
    items: usize,
) -> Result<Metrics, CellError> {
    let shown: Vec<u32> = log.iter().map(|row| row.item as u32).collect();
    let exposed = exposure(&shown, None, items)?;
    let largest = exposed.iter().copied().fold(0.0, f64::max) / log.len() as f64;
    let clicks = log.iter().filter(|row| row.click).count();
    let metrics = metrics
        .scalar(format!("{prefix}/gini"), gini(&exposed)?)
        .scalar(format!("{prefix}/coverage"), coverage(&shown, items)?)
        .scalar(format!("{prefix}/effective items"), effective_items(&exposed)?)
        .scalar(format!("{prefix}/largest share"), largest);
    Ok(estimate(metrics, &format!("{prefix}/clicked"), &wilson_interval(clicks, log.len(), 0.95)?))
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
    prefix: &str,
    log: &[LoggedItem],
    target: &[f64],
    bootstrap: &Bootstrap,
    streams: &Streams,
) -> Result<Metrics, CellError> {
    let items = target.len() / POSITIONS;
    let at_position =
        |row: &LoggedItem| &target[(usize::from(row.position) - 1) * items..][..items];
    // Each half is predicted from the other.
    let models = [1, 0].map(|half| click_rates(log.iter().skip(half).step_by(2), items));
    let mut model = ModelColumns::default();
    for (at, row) in log.iter().enumerate() {
        let rates = &models[at % 2];
        model.logged.push(rates[row.item]);
        model.target.push(at_position(row).iter().zip(rates).map(|(p, rate)| p * rate).sum());
    }
    let bandit = LoggedBandit::new(BanditColumns {
        reward: log.iter().map(|row| f64::from(u8::from(row.click))).collect(),
        propensity: log.iter().map(|row| row.propensity).collect(),
        target: log.iter().map(|row| at_position(row)[row.item]).collect(),
        model: Some(model),
        unsupported_mass: None,
        session: None,
    })?;
    let overlap = bandit.overlap()?;
    metrics = metrics
        .scalar(format!("{prefix}/effective sample size"), overlap.effective_sample_size)
        .scalar(format!("{prefix}/largest weight"), overlap.largest_weight);
    metrics = estimate(metrics, &format!("{prefix}/mean weight"), &overlap.mean_weight);
    for estimator in ESTIMATORS {
        let name = format!("{prefix}/{}", estimator.name());
        // Rows drawn anew with the model held fixed say nothing of an estimate that is the model's alone.
        if estimator == Estimator::Dm {
            metrics = metrics.scalar(name, estimator.value(&bandit)?);
            continue;
        }
        let mut rng = streams.stream(estimator.name(), &[]);
        metrics = estimate(metrics, &name, &estimator.estimate(&bandit, bootstrap, &mut rng)?);
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

pub(super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    if !records.has_arm(ARM) {
        return Ok(Vec::new());
    }
    let campaigns = Campaign::ALL.map(Campaign::name);
    let label = "Gini coefficient of exposure";
    let mut gini = Figure::bars("Open Bandit: how two policies spread exposure", campaigns, label, 1)
        .caption("Logged recommendations of a shop; 0 is an even exposure. What learns from clicks concentrates it tenfold.");
    for (policy, _) in POLICIES {
        let points = campaigns.iter().enumerate().filter_map(|(at, campaign)| {
            let name = format!("{campaign}/{policy}/gini");
            Some(Point::bare(at as f64, records.metric(ARM, &name).first()?.1))
        });
        gini = gini.series(policy, points);
    }
    let mut figures = vec![gini];
    for (target, log) in [("Thompson", "random"), ("random", "Thompson")] {
        let names = std::iter::once("its own log").chain(ESTIMATORS.iter().map(Estimator::name));
        let title = format!("Open Bandit: clicks of the {target} policy from the {log} log");
        let mut figure = Figure::dots(title, names, "click rate", 1).caption(
            "Above, the click rate in the policy's own log; below, what the other policy's log says of it, 95% over rows.",
        );
        for campaign in campaigns {
            let prefix = format!("{campaign}/{target}");
            let names = std::iter::once("clicked").chain(ESTIMATORS.iter().map(Estimator::name));
            let points = names.enumerate().filter_map(|(at, name)| {
                let name = format!("{prefix}/{name}");
                let interval = effect(records, ARM, &name).and_then(|effect| effect.interval);
                let (_, y) = *records.metric(ARM, &name).first()?;
                Some(Point { x: at as f64, y, interval, n: None })
            });
            figure = figure.series(campaign, points);
        }
        figures.push(figure);
    }
    Ok(figures)
}

pub(super) fn tables(records: &Records) -> Vec<Table> {
    let columns = [
        "campaign",
        "policy",
        "click rate",
        "Gini",
        "effective items",
        "largest share",
        "coverage",
    ];
    let mut spread = Table::new("Open Bandit: two policies in their own logs", columns).note(
        "10,000 recommendations each. Gini and coverage over all items of a campaign; intervals over rows.",
    );
    for campaign in Campaign::ALL {
        for (policy, _) in POLICIES {
            let named = |what: &str| format!("{}/{policy}/{what}", campaign.name());
            let number = |what: &str, decimals| number(records, ARM, &named(what), decimals);
            spread = spread.row([
                campaign.name().into(),
                policy.into(),
                value(records, ARM, &named("clicked")),
                number("gini", 2),
                number("effective items", 1),
                number("largest share", 2),
                number("coverage", 2),
            ]);
        }
    }
    let mut columns = vec!["campaign", "target", "its own log"];
    columns.extend(ESTIMATORS.iter().map(Estimator::name));
    columns.extend(["effective sample size", "mean weight", "largest weight"]);
    let mut estimates = Table::new("Open Bandit: what one log says of the other policy", columns).note(
        "Click rates. Weights are bounded or switched off at 10; the reward model is an item's click rate in the other half of the log, and \
         what it errs by is in no interval. \
         A mean weight whose interval leaves out 1, or an effective sample of a few rows, says that the log does not bear the estimate, \
         however narrow its interval.",
    );
    for campaign in Campaign::ALL {
        for target in ["Thompson", "random"] {
            let named = |what: &str| format!("{}/{target}/{what}", campaign.name());
            let mut row = vec![TableValue::from(campaign.name()), TableValue::from(target)];
            row.push(value(records, ARM, &named("clicked")));
            row.extend(ESTIMATORS.map(|estimator| match estimator {
                Estimator::Dm => number(records, ARM, &named(estimator.name()), 4),
                _ => value(records, ARM, &named(estimator.name())),
            }));
            row.push(number(records, ARM, &named("effective sample size"), 0));
            row.push(value(records, ARM, &named("mean weight")));
            row.push(number(records, ARM, &named("largest weight"), 0));
            estimates = estimates.row(row);
        }
    }
    let mut positions = Table::new("Open Bandit: no position effect", ["position", "click rate"]).note(
        "Random policy, three campaigns together. The positions are left, middle and right of a page.",
    );
    for (position, name) in ["left", "middle", "right"].into_iter().enumerate() {
        let rate = value(records, ARM, &format!("position {}", position + 1));
        positions = positions.row([name.into(), rate]);
    }
    vec![spread, estimates, positions]
}

#[cfg(test)]
mod tests {
    use super::*;

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
