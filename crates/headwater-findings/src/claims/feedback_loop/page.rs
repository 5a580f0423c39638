//! Figures and tables of the finding.

use headwater_protocol::ProtocolError;
use headwater_recsys::metrics::amplification;
use headwater_recsys::off_policy::OffPolicyEstimator;
use headwater_report::{Along, Column, Figure, Part, Table, Value};

use crate::experiments::feedback_loop_conflict::{self as conflict, COSINES, RANKERS};
use crate::experiments::feedback_loop_logged::{
    ESTIMATORS, LOGS, POLICIES, at_position, clicked, coverage_of, effective, estimated, gini_of,
    largest_share, largest_weight, mean_weight, modelled, sample_size,
};
use crate::experiments::feedback_loop_mixtures::{self as mixtures, LOG_MSE, MSE, NETWORKS};
use crate::experiments::feedback_loop_worlds::{
    DLA, EM, EPSILON_SLOT, FEATURE_MISSING, FROZEN, FROZEN_TOWER, IPS_ESTIMATED, IPS_KNOWN, NAIVE,
    OPEN_LOOP, ORACLE, PAL, RANDOM, RELEVANCE, SETTINGS, Setting, TOWER, TOWER_FAST,
    TOWER_NO_DROPOUT, Who, arm, setting,
};
use crate::experiments::looped::{
    ARRIVED, CALIBRATION_GIVEN, CALIBRATION_SERVED, CLICK_AUC, COVERAGE, CURVE, CURVE_DEPTH,
    CURVE_RMSE, CURVE_SHARE, ECE_GIVEN, ECE_SERVED, EFFECTIVE_ITEMS, GINI, HOMOGENEITY, IDENTIFIED,
    LEGACY, LIKE_AUC, LIKES, REGRET, TRUE_CURVE, UTILITY, last, mean, slope,
};
use headwater_data::open_bandit::Campaign;

pub(super) fn parts() -> Vec<Part> {
    vec![
        Part::new("The loop in four worlds")
            .figures(measured().map(utility_by_round))
            .figures(["a", "c"].map(curves))
            .figures([head_start(), amplified()])
            .tables(SETTINGS.iter().filter(|setting| setting.key != "fixed").map(world))
            .tables([arrived(), unchanging(), identification(), calibration(), homogeneity()]),
        Part::new("Experts on related and unrelated tasks").figure(experts()).table(errors()),
        Part::new("Clickbait against satisfaction").figure(likes()).table(two_heads()),
        Part::new("Recorded logs")
            .figure(spread())
            .figures([("Thompson", "random"), ("random", "Thompson")].map(from_the_other))
            .tables([own_logs(), estimates(), positions()]),
    ]
}

/// Arms of the figures by round, as far as a world has them.
const BY_ROUND: [Who; 10] =
    [NAIVE, TOWER, FEATURE_MISSING, PAL, IPS_KNOWN, EM, FROZEN, OPEN_LOOP, RELEVANCE, RANDOM];

/// Remedies that learn a bias curve.
const CURVES: [Who; 7] = [TOWER, TOWER_NO_DROPOUT, TOWER_FAST, PAL, IPS_ESTIMATED, DLA, EM];

/// Worlds that are not controls.
fn measured() -> impl Iterator<Item = &'static Setting> {
    ["a", "b", "c", "d"].into_iter().map(setting)
}

/// Those of the servers that a world has.
fn present(setting: &Setting, servers: &[Who]) -> Vec<Who> {
    let is_there = |who: &&Who| setting.servers.iter().any(|other| other.name == who.name);
    servers.iter().filter(is_there).copied().collect()
}

fn utility_by_round(setting: &Setting) -> Figure {
    let title = format!("{}: utility by round", setting.title);
    let arms = present(setting, &BY_ROUND).into_iter().map(|who| (who.name, arm(setting.key, who)));
    Figure::lines(title, "round", "utility over that of the ideal lists")
        .caption(
            "The first round is the legacy prior's, the same in all arms. Relevance: the naive \
             ranker's loop with fresh draws of whether users would click had they looked, a \
             reference and no bound. Open loop: trained as often on what the legacy prior is \
             told.",
        )
        .curves(&UTILITY, &Along::steps(), arms)
}

/// Learnt bias by slot, relative to the first, as far as the log identified it.
fn curves(key: &str) -> Figure {
    let slots = Along::Index { first: 1.0, step: 1.0 };
    let title = format!("{}: learnt bias of the slots", setting(key).title);
    let figure = Figure::lines(title, "slot", "log θ, less that of the first slot")
        .caption(
            "The last curve for which the log connects the slots by items shown on several; \
             without such a log there is none.",
        )
        .curve("truth", &TRUE_CURVE, &slots, arm(key, TOWER))
        .without_intervals();
    present(setting(key), &CURVES).into_iter().fold(figure, |figure, who| {
        figure.curve(who.name, &CURVE, &slots, arm(key, who)).if_recorded()
    })
}

fn head_start() -> Figure {
    let servers = [NAIVE, TOWER, IPS_KNOWN, EPSILON_SLOT, FROZEN, RELEVANCE, ORACLE];
    let label = "correlation of exposure with the legacy prior";
    Figure::lines("World B: what is left of the head start", "round", label)
        .reference("none", 0.0)
        .caption(
            "The prior decides who is shown first and has nothing to do with quality; by chance \
             the two may go together a little in a hundred items, as the oracle shows.",
        )
        .curves(&LEGACY, &Along::steps(), servers.map(|who| (who.name, arm("b", who))))
}

/// Gini coefficient of exposure with retraining, over that without.
fn amplified() -> Figure {
    let label = "Gini coefficient, in the loop over in an open loop";
    let figure = Figure::lines("What retraining makes of concentration", "round", label)
        .reference("as concentrated", 1.0)
        .caption(
            "The naive ranker, retrained on its own lists, over the same ranker retrained as often \
             on what the legacy prior is told. It also learns who is better: concentration alone \
             is no harm.",
        );
    let with_both = measured().filter(|setting| present(setting, &[NAIVE, OPEN_LOOP]).len() == 2);
    with_both.fold(figure, |figure, setting| {
        let reads = [NAIVE, OPEN_LOOP].map(|who| GINI.read(arm(setting.key, who)));
        figure.computed_curve(setting.title, &Along::steps(), reads, |read| {
            amplification(read[0], read[1])
                .map_err(|error| ProtocolError::Undefined(error.to_string()))
        })
    })
}

fn world(setting: &Setting) -> Table {
    let columns = [
        mean(&UTILITY).shown_as("utility"),
        last(&UTILITY).shown_as("last round"),
        last(&REGRET).shown_as("regret"),
        last(&GINI).shown_as("Gini"),
        last(&COVERAGE).shown_as("coverage"),
        last(&EFFECTIVE_ITEMS).shown_as("effective items"),
        last(&LEGACY).shown_as("legacy correlation"),
    ];
    let arms = setting.servers.iter().map(|who| (who.name, arm(setting.key, *who)));
    Table::of_arms(setting.title, "server", arms, columns.map(Column::from)).note(
        "Utility over that of the ideal lists, mean of all rounds but the first; regret in \
         expected clicks, all rounds; the rest in the last round. Exposure counts an impression by \
         how likely it was looked at, and items never shown.",
    )
}

fn arrived() -> Table {
    let setting = setting("arriving");
    let arms = setting.servers.iter().map(|who| (who.name, arm(setting.key, *who)));
    let title = format!("{}: who is shown", setting.title);
    Table::of_arms(title, "server", arms, [Column::from(ARRIVED)]).note(
        "Share of exposure that falls on items that were not there in the first round, mean of all \
         others.",
    )
}

/// What is so by construction, and would be no control.
fn unchanging() -> Table {
    let value = |metric: headwater_protocol::Scalar| Value::from(metric.of(arm("b", FROZEN)));
    Table::new("World B, frozen: change per round", ["utility", "Gini coefficient"])
        .note(
            "A ranker that is not retrained serves every round from the same distribution: both \
             are 0 but for chance.",
        )
        .row([value(slope(&UTILITY)), value(slope(&GINI))])
}

fn identification() -> Table {
    let heads =
        ["world", "remedy", "curves reported", "depth", "true depth", "share of it", "RMSE"];
    let mut table = Table::new("Bias curves, and whether the log identifies them", heads).note(
        "Curves reported: share of trainings whose log connects all slots by five items or more \
         that were shown on both. Depth: log θ of the first slot less that of the last. A log that \
         connects the slots identifies the curve; it does not say that a remedy finds it.",
    );
    for setting in measured() {
        for who in present(setting, &CURVES) {
            let arm = arm(setting.key, who);
            table = table.row([
                setting.title.into(),
                who.name.into(),
                IDENTIFIED.of(&arm).into(),
                CURVE_DEPTH.of(&arm).into(),
                Value::Mean(-TRUE_CURVE.last(&arm), 2),
                CURVE_SHARE.of(&arm).into(),
                CURVE_RMSE.of(&arm).into(),
            ]);
        }
    }
    let identified = IDENTIFIED.of(arm("fixed", FROZEN_TOWER));
    let refused = [(); 4].map(|()| Value::from("refused"));
    let fixed = [setting("fixed").title.into(), "tower".into(), identified.into()];
    table.row(fixed.into_iter().chain(refused))
}

fn calibration() -> Table {
    const SLOTS: [usize; 3] = [0, 4, 9];
    let by_slot = [(CALIBRATION_GIVEN, "place given"), (CALIBRATION_SERVED, "served")]
        .into_iter()
        .flat_map(|(series, what)| {
            SLOTS.map(|slot| Column::at(format!("slot {}, {what}", slot + 1), &series, slot))
        });
    let columns = [ECE_GIVEN, ECE_SERVED].map(Column::from).into_iter().chain(by_slot);
    let without = [FROZEN, RELEVANCE, RANDOM].map(|who| who.name);
    let with_ranker = setting("a").servers.iter().filter(|who| !without.contains(&who.name));
    let arms = with_ranker.map(|who| (who.name, arm("a", *who)));
    Table::of_arms("World A: calibration by slot", "server", arms, columns).note(
        "Mean prediction less click rate in the last round, before it was trained on; errors are \
         means over slots. What is served leaves the place out, so that it should lie above the \
         click rate the further down the more. Dual learning learns an order and no \
         probabilities.",
    )
}

fn homogeneity() -> Table {
    let setting = setting("lasting");
    let heads = ["server", "second round", "last round", "last round, less the oracle's"];
    let title = format!("{}: how alike they become", setting.title);
    let table = Table::new(title, heads).note(
        "Mean Jaccard index of what two users have clicked so far, over the same 800 pairs in \
         every arm.",
    );
    let last = last(&HOMOGENEITY);
    setting.servers.iter().fold(table, |table, &who| {
        let own = arm(setting.key, who);
        let excess = match who.name == ORACLE.name {
            true => Value::Blank,
            false => last.difference(&own, arm(setting.key, ORACLE)).into(),
        };
        let second = HOMOGENEITY.at(1, &own);
        table.row([who.name.into(), second.into(), last.of(&own).into(), excess])
    })
}

fn experts() -> Figure {
    let settings = || mixtures::SETTINGS.iter();
    let titles = settings().map(|setting| setting.title);
    let label = "log MSE, less the shared bottom's";
    let figure = Figure::dots("Experts against a shared bottom", titles, label)
        .reference("as good", 0.0)
        .caption(
            "Left of the line the experts are better. Frequencies of the sines are N(0, 1), hard \
             ones N(0, 2.5²). Test rows are fresh; networks of a seed learn the same tasks.",
        );
    [mixtures::OMOE, mixtures::MMOE].into_iter().fold(figure, |figure, network| {
        let values = settings().enumerate().filter(|(_, s)| s.has(network)).map(|(at, setting)| {
            let [own, bottom] = [network, mixtures::SHARED_BOTTOM]
                .map(|network| mixtures::arm(setting.key, network));
            (at as f64, LOG_MSE.difference(own, bottom))
        });
        figure.points(network.name, values.collect::<Vec<_>>())
    })
}

fn errors() -> Table {
    let heads =
        ["tasks", "draws per seed"].into_iter().chain(NETWORKS.map(|network| network.label));
    let table = Table::new("Mean squared error on fresh rows", heads).note(
        "Geometric mean over the draws of a seed, in units of the targets' variance. Eight experts \
         of 16, towers of 8; the shared bottom has 129 units, for as many multiplications, gates \
         counted. Of rows that come again and again the pass with the lowest error on validation \
         rows.",
    );
    mixtures::SETTINGS.iter().fold(table, |table, setting| {
        let values = NETWORKS.map(|network| match setting.has(network) {
            true => MSE.of(mixtures::arm(setting.key, network)).into(),
            false => Value::Blank,
        });
        let head = [setting.title.into(), Value::Number(setting.draws as f64, 0)];
        table.row(head.into_iter().chain(values))
    })
}

fn likes() -> Figure {
    let label = "expected likes over those of the ideal lists";
    Figure::lines("Likes by round, unrelated tasks", "round", label)
        .caption(
            "What is clicked and what is liked afterwards point in independent directions, and \
             clickbait raises the one and lowers the other.",
        )
        .curves(
            &LIKES,
            &Along::steps(),
            RANKERS.map(|ranker| (ranker.name, conflict::arm("unrelated", ranker))),
        )
}

fn two_heads() -> Table {
    let columns = [
        mean(&LIKES).shown_as("likes"),
        last(&LIKES).shown_as("likes, last round"),
        mean(&UTILITY).shown_as("clicks"),
        CLICK_AUC,
        LIKE_AUC,
        last(&GINI).shown_as("Gini"),
    ]
    .map(Column::from);
    let heads = ["tasks", "ranker"].into_iter().chain(columns.iter().map(Column::heading));
    let mut table = Table::new("Two heads in the loop", heads).note(
        "Likes and clicks are expected ones over those of the ideal lists for either, mean of all \
         rounds but the first. AUC on one log for all arms, of lists by chance, that of likes over \
         clicked impressions. Shared bottom and MMoE have equal multiplications, gates counted.",
    );
    for (cosine, _, rankers) in COSINES {
        for &ranker in rankers {
            let arm = conflict::arm(cosine, ranker);
            let values = columns.iter().map(|column| column.of(&arm));
            table = table.row([cosine.into(), ranker.name.into()].into_iter().chain(values));
        }
    }
    table
}

fn spread() -> Figure {
    let campaigns = Campaign::ALL.map(Campaign::name);
    let title = "Open Bandit: how two policies spread exposure";
    let figure = Figure::bars(title, campaigns, "Gini coefficient of exposure").caption(
        "Logged recommendations of a shop; 0 is an even exposure. What learns from clicks \
         concentrates it tenfold.",
    );
    POLICIES.into_iter().fold(figure, |figure, (policy, _)| {
        let values = Campaign::ALL.map(|campaign| gini_of(campaign, policy).of(LOGS));
        figure.by_category(policy, values).without_intervals()
    })
}

/// Clicks of a policy by its own log, and by that of another.
fn from_the_other((target, log): (&str, &str)) -> Figure {
    let names = ["its own log"].into_iter().chain(ESTIMATORS.iter().map(OffPolicyEstimator::name));
    let title = format!("Open Bandit: clicks of the {target} policy from the {log} log");
    let figure = Figure::dots(title, names, "click rate").caption(
        "Above, the click rate in the policy's own log; below, what the other policy's log says of \
         it, 95% over rows.",
    );
    Campaign::ALL.into_iter().fold(figure, |figure, campaign| {
        let from_log = ESTIMATORS.map(|estimator| estimated(campaign, target, estimator));
        let values = [clicked(campaign, target)].into_iter().chain(from_log);
        figure.by_estimate(campaign.name(), &LOGS, values)
    })
}

fn own_logs() -> Table {
    let heads = [
        "campaign",
        "policy",
        "click rate",
        "Gini",
        "effective items",
        "largest share",
        "coverage",
    ];
    let mut table = Table::new("Open Bandit: two policies in their own logs", heads).note(
        "10,000 recommendations each. Gini and coverage over all items of a campaign; intervals \
         over rows.",
    );
    for campaign in Campaign::ALL {
        for (policy, _) in POLICIES {
            table = table.row([
                campaign.name().into(),
                policy.into(),
                Value::Estimate(clicked(campaign, policy), LOGS),
                Value::Mean(gini_of(campaign, policy).of(LOGS), 2),
                Value::Mean(effective(campaign, policy).of(LOGS), 1),
                Value::Mean(largest_share(campaign, policy).of(LOGS), 2),
                Value::Mean(coverage_of(campaign, policy).of(LOGS), 2),
            ]);
        }
    }
    table
}

fn estimates() -> Table {
    let heads = ["campaign", "target", "its own log"]
        .into_iter()
        .chain(ESTIMATORS.iter().map(OffPolicyEstimator::name))
        .chain(["effective sample size", "mean weight", "largest weight"]);
    let title = "Open Bandit: what one log says of the other policy";
    let mut table = Table::new(title, heads).note(
        "Click rates. Weights are bounded or switched off at 10; the reward model is an item's \
         click rate in the other half of the log, and what it errs by is in no interval. A mean \
         weight whose interval leaves out 1, or an effective sample of a few rows, says that the \
         log does not bear the estimate, however narrow its interval.",
    );
    for campaign in Campaign::ALL {
        for target in ["Thompson", "random"] {
            let own = Value::Estimate(clicked(campaign, target), LOGS);
            let head = [campaign.name().into(), target.into(), own];
            let values = ESTIMATORS.map(|estimator| match estimator {
                OffPolicyEstimator::Dm => Value::Mean(modelled(campaign, target).of(LOGS), 4),
                _ => Value::Estimate(estimated(campaign, target, estimator), LOGS),
            });
            let tail = [
                Value::Mean(sample_size(campaign, target).of(LOGS), 0),
                Value::Estimate(mean_weight(campaign, target), LOGS),
                Value::Mean(largest_weight(campaign, target).of(LOGS), 0),
            ];
            table = table.row(head.into_iter().chain(values).chain(tail));
        }
    }
    table
}

fn positions() -> Table {
    let table = Table::new("Open Bandit: no position effect", ["position", "click rate"]).note(
        "Random policy, three campaigns together. The positions are left, middle and right of a \
         page.",
    );
    ["left", "middle", "right"].into_iter().enumerate().fold(table, |table, (position, name)| {
        table.row([name.into(), Value::Estimate(at_position(position), LOGS)])
    })
}
