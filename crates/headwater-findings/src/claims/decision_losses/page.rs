//! Figures and tables of the finding.

use headwater_protocol::{Effect, Measure, Records, Scalar};
use headwater_report::{Along, Column, Figure, Part, ReportError, Table, Value};

use super::{Setting, over, ratio, settings};
use crate::experiments::decision_losses::{
    ADULT, AUC, AUC_OFFICIAL, ECE, EPOCH, GROUPS, LOSS_OF_POSTERIOR, OPTIMIZERS, POPULATIONS,
    REMEDIED, SHORT, STATED, TEST_OVER_TRAIN, TRUE, XRAY, acts, arm, choosing, cost, curvature,
    excess, incentive, learning, loss, unweighted, weighted,
};
use crate::experiments::decision_losses_table::{EX_POST, TABLE, WEIGHTED};

const SOURCES: [(&str, &[&str]); 3] =
    [("adult", &ADULT), ("adult, training cut short", &[SHORT]), ("x-rays", &XRAY)];

pub(super) fn part() -> Part {
    let mut part = Part::new("");
    for (source, populations) in SOURCES {
        part = part.figures([
            by_setting(
                &format!("Weighted loss, weighted training over ex-post weighting - 1: {source}"),
                "difference, relative to ex-post weighting",
                populations,
                |setting| setting.relative(loss),
            )
            .caption(
                "To the right: ex-post weighting is better. b above 1/2 weighs mistakes on \
                 positives more, below 1/2 those on negatives.",
            ),
            by_setting(
                &format!("AUC, weighted training - unweighted: {source}"),
                "difference in AUC",
                populations,
                Setting::auc,
            )
            .caption(
                "What was learnt: no shift of a logit, and no recalibration, changes it. To the \
                 left: the weighted loss learnt less.",
            ),
            predicted(source, populations),
        ]);
    }
    part.figure(reliability())
        .table(predictions())
        .computed_table(corrected)
        .computed_table(signs)
        .tables([levels(), remedies(), by_construction(), official()])
}

/// One row for each population and weights, a series for each optimiser.
fn by_setting(
    title: &str,
    label: &str,
    populations: &[&'static str],
    of: fn(Setting) -> Measure,
) -> Figure {
    let names = settings(populations, &OPTIMIZERS[..1])
        .into_iter()
        .map(|Setting { population, weights, .. }| format!("{population}, b = .{weights}"));
    let figure = Figure::dots(title, names, label).reference("no difference", 0.0);
    OPTIMIZERS.into_iter().fold(figure, |figure, optimizer| {
        figure.by_category(optimizer, settings(populations, &[optimizer]).into_iter().map(of))
    })
}

/// Measured against predicted: a point for every setting.
fn predicted(source: &str, populations: &[&'static str]) -> Figure {
    let figure = Figure::lines(
        format!("Measured difference by E[rho(q)]: {source}"),
        "E[rho(q)]: what the weights multiply the reward to learning by",
        "weighted loss, WT over XP - 1",
    )
    .reference("no difference", 0.0)
    .caption(
        "WT: weighted training; XP: ex-post weighting. One point for each population and weights, \
         joined in the order of E[rho(q)]. Theory puts them above the line where E[rho(q)] is \
         below 1, and below it where it is above.",
    );
    OPTIMIZERS.into_iter().fold(figure, |figure, optimizer| {
        let points = settings(populations, &[optimizer]).into_iter().map(|setting| {
            let incentive = incentive(setting.weights).of(setting.unweighted());
            (incentive, setting.relative(loss))
        });
        figure.points(optimizer, points)
    })
}

/// Arms that ex-post weighting is held against where weights counteract the imbalance.
fn remedied(weights: &str) -> [String; 5] {
    let weighted = format!("weighted-{weights}");
    ["unweighted", &weighted, "logit-adjusted", "decoupled", "focal"].map(str::to_owned)
}

/// Posteriors said and found.
fn reliability() -> Figure {
    let (population, weights, _) = REMEDIED[0];
    let figure = Figure::lines(
        format!("Reliability: {population}, adam, b = .{weights}"),
        "posterior behind the prediction",
        "share of positives",
    )
    .caption(format!(
        "{GROUPS} groups of equal size, from the lowest said. The posterior of an arm with weights \
         in its loss is what is left when they are taken out of its prediction again; that of \
         focal loss was recalibrated."
    ));
    let along = Along::Series(STATED);
    let figure = remedied(weights).into_iter().fold(figure, |figure, method| {
        let arm = arm(population, "adam", &method);
        figure.curve(method, &TRUE, &along, arm)
    });
    figure.points("what is said", [(0.0, 0.0), (1.0, 1.0)])
}

/// Every setting of every population, under its name in tables.
fn named() -> Vec<(String, Setting)> {
    let all = settings(&POPULATIONS.each_ref().map(|named| named.name), &OPTIMIZERS);
    let name = |setting| {
        let Setting { population, optimizer, weights } = setting;
        (format!("{population}, {optimizer}, b = .{weights}"), setting)
    };
    all.into_iter().map(name).collect()
}

/// The learning part of WT over XP - 1 in loss.
fn of_learning(setting: Setting) -> Measure {
    let weights = setting.weights;
    let difference = learning(weights).difference(setting.weighted(), setting.unweighted());
    difference / loss(weights).of(setting.unweighted())
}

fn predictions() -> Table {
    let heads = [
        "population, optimiser, weights",
        "E[rho(q)]",
        "by q(1 - q)",
        "excess - 1",
        "loss, WT/XP - 1",
        "of it learning",
        "cost, WT/XP - 1",
        "AUC, WT - XP",
    ];
    let table = Table::new("Predicted and measured", heads).note(
        "WT: weighted training; XP: ex-post weighting. E[rho(q)] over recalibrated posteriors of \
         test rows; the next column counts them by q(1 - q). Excess: by how much WT's excess over \
         the lowest loss should be above XP's, relative to it, where sampling noise is all there \
         is. Learning: difference in loss after recalibration, over XP's loss.",
    );
    named().into_iter().fold(table, |table, (name, setting)| {
        let of = |metric: fn(&str) -> Scalar| metric(setting.weights).of(setting.unweighted());
        let values = [
            of(incentive),
            of(curvature),
            of(excess),
            setting.relative(loss),
            of_learning(setting),
            setting.relative(cost),
            setting.auc(),
        ];
        table.row([Value::from(name)].into_iter().chain(values.map(Value::from)))
    })
}

/// The claim with intervals that allow for the overlap of splits (Nadeau & Bengio 2003): the
/// variance of a mean over n splits is taken to be (1/n + test rows/training rows) times that of
/// one.
fn corrected(records: &Records) -> Result<Table, ReportError> {
    let heads = ["cells", "loss, WT over XP - 1", "corrected low", "corrected high"];
    let title = "The claim, where splits of one set of rows are not independent";
    let mut table = Table::new(title, heads).note(
        "Intervals elsewhere say how the comparison varies over splits of these rows, which \
         overlap. The correction is conservative: it widens them by the root of 1 + n times test \
         rows over training rows.",
    );
    for (name, populations) in [("adult", &ADULT[..]), ("x-rays", &XRAY[..])] {
        for (which, optimizers) in [("all", &OPTIMIZERS[..]), ("Adam", &["adam"][..])] {
            let measure = over(populations, optimizers, |setting| setting.relative(loss));
            let share = TEST_OVER_TRAIN.of(unweighted(populations[0], "adam"));
            let effect = records.effect(&measure).ok();
            let share = records.by_seed(&share).ok().and_then(|shares| Some(shares.first()?.1));
            let bounds = effect.as_ref().zip(share).and_then(|(effect, share)| {
                let widened = (1.0 + effect.n as f64 * share).sqrt();
                let (middle, (low, high)) = (effect.estimate?, effect.interval?);
                Some([middle - widened * (middle - low), middle + widened * (high - middle)])
            });
            let bound =
                |at: usize| bounds.map_or(Value::Blank, |bounds| Value::Number(bounds[at], 4));
            let name = Value::from(format!("{name}, {which}"));
            table = table.row([name, measure.into(), bound(0), bound(1)]);
        }
    }
    Ok(table)
}

/// In how many settings each rule has the sign of the mean difference.
fn signs(records: &Records) -> Result<Table, ReportError> {
    let heads = [
        "cells",
        "number",
        "by E[rho(q)]",
        "by q(1 - q)",
        "always ex post",
        "WT better",
        "XP better",
    ];
    let title = "Sign of the difference in weighted loss: predicted and measured";
    let mut table = Table::new(title, heads).note(
        "Cells whose mean difference has the sign that a rule gives it, whatever its interval. \
         E[rho(q)] below 1, by either average, predicts ex-post weighting. WT better, XP better: \
         cells whose 95% interval excludes 0.",
    );
    let sources: [(&str, &[&'static str]); 4] = [
        ("adult", &ADULT),
        ("adult, cut short", &[SHORT]),
        ("x-rays", &XRAY),
        ("digits", &["digits"]),
    ];
    for (source, populations) in sources {
        for optimizer in OPTIMIZERS {
            let settings = settings(populations, &[optimizer]).into_iter();
            let held: Vec<[bool; 5]> =
                settings.filter_map(|setting| held(records, setting)).collect();
            let number = |count: usize| match held.len() {
                0 => Value::Blank,
                _ => Value::Number(count as f64, 0),
            };
            let counts = (0..5).map(|rule| held.iter().filter(|held| held[rule]).count());
            let name = Value::from(format!("{source}, {optimizer}"));
            let row = [name, number(held.len())].into_iter();
            table = table.row(row.chain(counts.map(number)));
        }
    }
    Ok(table)
}

/// Whether each rule of the table before holds in a setting; nothing where it was not measured.
fn held(records: &Records, setting: Setting) -> Option<[bool; 5]> {
    let Effect { estimate, interval, .. } = records.effect(&setting.relative(loss)).ok()?;
    let measured = estimate?;
    let rule = |metric: fn(&str) -> Scalar| {
        let ratio = records.effect(&metric(setting.weights).of(setting.unweighted()));
        let ratio = ratio.ok().and_then(|effect| effect.estimate);
        ratio.is_some_and(|ratio| (ratio < 1.0) == (measured > 0.0))
    };
    let excludes = |side: fn((f64, f64)) -> bool| interval.is_some_and(side);
    Some([
        rule(incentive),
        rule(curvature),
        measured > 0.0,
        excludes(|(_, high)| high < 0.0),
        excludes(|(low, _)| low > 0.0),
    ])
}

fn levels() -> Table {
    let heads = [
        "population, optimiser, weights",
        "loss WT",
        "loss XP",
        "AUC WT",
        "AUC XP",
        "acts WT",
        "acts XP",
        "stopped WT",
        "stopped XP",
    ];
    let table = Table::new("Weighted training and ex-post weighting", heads).note(
        "Acts: share of rows that the positive action is taken on; near 0 or 1 the decision is \
         degenerate. Stopped: epoch with the best validation objective of the arm itself.",
    );
    named().into_iter().fold(table, |table, (name, setting)| {
        let metrics = [loss(setting.weights), AUC, acts(setting.weights), EPOCH];
        let values = metrics.iter().flat_map(|metric| {
            [metric.of(setting.weighted()), metric.of(setting.unweighted())].map(Value::from)
        });
        table.row([Value::from(name)].into_iter().chain(values))
    })
}

fn remedies() -> Table {
    let columns = |weights: &str| -> Vec<Column> {
        [loss(weights), learning(weights), choosing(weights), cost(weights)]
            .into_iter()
            .chain([AUC, LOSS_OF_POSTERIOR, ECE])
            .map(Column::from)
            .collect()
    };
    let heads = columns("90").into_iter().map(|column| column.heading().to_owned());
    let mut table =
        Table::new("Other ways to the same weights", ["arm".to_owned()].into_iter().chain(heads))
            .note(
                "Weights that counteract the imbalance, Adam. Learning is the loss after \
                 recalibration on other rows, choosing the rest; it is below 0 where recalibration \
                 cost more than it repaired. The posterior of an arm with weights in its loss is \
                 recovered by taking them out of its prediction. Post-hoc logit adjustment is \
                 ex-post weighting, with weights 1/prevalence.",
            );
    for (population, weights, _) in REMEDIED {
        for method in remedied(weights) {
            let arm = arm(population, "adam", &method);
            let name = if method == "unweighted" { "ex post" } else { &method };
            let name = Value::from(format!("{population}, {name}"));
            let values = columns(weights).into_iter().map(|column| column.of(&arm));
            table = table.row([name].into_iter().chain(values));
        }
    }
    table
}

/// What is so by construction, and would be no control.
fn by_construction() -> Table {
    let fitted = WEIGHTED.of(TABLE) / EX_POST.of(TABLE) - 1.0;
    let table = Table::new("What is so by construction", ["arm", "loss over XP - 1"])
        .note(
            "A table that can represent every posterior, fitted to the whole population; and \
             weights that shift the logit within the loss and weigh no row, which are ex-post \
             weighting once both start at their best constant.",
        )
        .row(["table".into(), fitted.into()]);
    REMEDIED.into_iter().fold(table, |table, (population, weights, _)| {
        let shifted = arm(population, "adam", "logit-adjusted");
        let measure = ratio(&loss(weights), shifted, unweighted(population, "adam"));
        table.row([Value::from(format!("{population}, logit shifted")), measure.into()])
    })
}

fn official() -> Table {
    let heads = ["population, optimiser", "unweighted", "b = .10", "b = .90"];
    let mut table = Table::new("AUC on the official test split of the X-rays", heads)
        .note("624 images of another origin than those trained on.");
    for population in XRAY {
        for optimizer in OPTIMIZERS {
            let arms = [
                unweighted(population, optimizer),
                weighted(population, optimizer, "10"),
                weighted(population, optimizer, "90"),
            ];
            let values = arms.map(|arm| Value::from(AUC_OFFICIAL.of(arm)));
            let name = Value::from(format!("{population}, {optimizer}"));
            table = table.row([name].into_iter().chain(values));
        }
    }
    table
}
