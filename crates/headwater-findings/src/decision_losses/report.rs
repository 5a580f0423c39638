//! Figures and tables of the finding.

use headwater_protocol::{
    Effect, Figure, Point, ProtocolError, Records, SeedRecords, Table, TableValue,
};

use super::contrasts::{auc, logit_adjusted, over_cells, ratio_of, relative};
use super::measure::{GROUPS, WEIGHTS};
use super::{ADULT, OPTIMIZERS, POPULATIONS, REMEDIED, XRAY};

const SHORT: [&str; 1] = ["adult-rare-short"];

/// A number of one cell at one seed: `of(seed, group, weights)`, the group being population and optimiser.
type OfCell = fn(&SeedRecords<'_>, &str, &str) -> Result<f64, ProtocolError>;

/// Mean and interval of a number of one cell over the seeds that have it.
fn over_seeds(
    records: &Records,
    group: &str,
    weights: &str,
    of: OfCell,
) -> Result<Effect, ProtocolError> {
    let seeds = records.seeds();
    let values = seeds.into_iter().filter_map(|seed| of(&records.seed(seed), group, weights).ok());
    Effect::over_seeds(&values.collect::<Vec<f64>>())
}

fn loss(seed: &SeedRecords<'_>, group: &str, weights: &str) -> Result<f64, ProtocolError> {
    relative(seed, group, weights, "loss")
}

fn cost(seed: &SeedRecords<'_>, group: &str, weights: &str) -> Result<f64, ProtocolError> {
    relative(seed, group, weights, "cost")
}

/// The learning part of WT over XP - 1 in loss.
fn learning(seed: &SeedRecords<'_>, group: &str, weights: &str) -> Result<f64, ProtocolError> {
    let (weighted, unweighted) = arms(group, weights);
    let difference = seed.difference(&format!("{weights}/learning"), &weighted, &unweighted)?;
    Ok(difference / seed.scalar(&unweighted, &format!("{weights}/loss"))?)
}

fn arms(group: &str, weights: &str) -> (String, String) {
    (format!("{group}.weighted-{weights}"), format!("{group}.unweighted"))
}

/// Every cell of these populations: its name in figures, population and weights.
fn cells<'a>(populations: &'a [&'a str]) -> impl Iterator<Item = (String, &'a str, &'static str)> {
    populations.iter().flat_map(|population| {
        WEIGHTS.map(|(weights, _)| (format!("{population}, b = .{weights}"), *population, weights))
    })
}

/// True if something was measured of these populations.
fn measured(records: &Records, populations: &[&str]) -> bool {
    populations.iter().any(|population| records.has_arm(&format!("{population}.adam.unweighted")))
}

pub(super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let n = records.seeds().len();
    let mut figures = Vec::new();
    let parts: [(&str, &[&str]); 3] =
        [("adult", &ADULT), ("adult, training cut short", &SHORT), ("x-rays", &XRAY)];
    for (source, populations) in parts {
        if !measured(records, populations) {
            continue;
        }
        let by_cell = |title: &str, label: &str, of: OfCell, caption: &str| {
            let names = cells(populations).map(|(name, _, _)| name);
            let mut figure = Figure::dots(format!("{title}: {source}"), names, label, n)
                .reference("no difference", 0.0)
                .caption(caption);
            for optimizer in OPTIMIZERS {
                let effects = cells(populations).map(|(_, population, weights)| {
                    over_seeds(records, &format!("{population}.{optimizer}"), weights, of)
                });
                let effects = effects.collect::<Result<Vec<_>, _>>()?;
                figure = figure.by_category(optimizer, effects);
            }
            Ok::<Figure, ProtocolError>(figure)
        };
        figures.push(by_cell(
            "Weighted loss, weighted training over ex-post weighting - 1",
            "difference, relative to ex-post weighting",
            loss,
            "To the right: ex-post weighting is better. b above 1/2 weighs mistakes on positives more, below 1/2 those on \
             negatives.",
        )?);
        figures.push(by_cell(
            "AUC, weighted training - unweighted",
            "difference in AUC",
            auc,
            "What was learnt: no shift of a logit, and no recalibration, changes it. To the left: the weighted loss learnt less.",
        )?);
        figures.push(predicted(records, source, populations, n)?);
    }
    let (population, weights, _) = REMEDIED[0];
    if measured(records, &[population]) {
        figures.push(reliability(records, population, weights, n)?);
    }
    Ok(figures)
}

/// Measured against predicted: a point for every cell.
fn predicted(
    records: &Records,
    source: &str,
    populations: &[&str],
    n: usize,
) -> Result<Figure, ProtocolError> {
    let mut figure = Figure::lines(
        format!("Measured difference by E[rho(q)]: {source}"),
        "E[rho(q)]: what the weights multiply the reward to learning by",
        "weighted loss, WT over XP - 1",
        n,
    )
    .reference("no difference", 0.0)
    .caption(
        "WT: weighted training; XP: ex-post weighting. One point for each population and weights, joined in the order of \
         E[rho(q)]. Theory puts them above the line where E[rho(q)] is below 1, and below it where it is above.",
    );
    for optimizer in OPTIMIZERS {
        let mut points = Vec::new();
        for (_, population, weights) in cells(populations) {
            let group = format!("{population}.{optimizer}");
            let unweighted = format!("{group}.unweighted");
            let incentive = records.effect(&unweighted, &format!("{weights}/incentive"))?;
            let difference = over_seeds(records, &group, weights, loss)?;
            points.extend(incentive.estimate.and_then(|x| Point::measured(x, &difference)));
        }
        points.sort_by(|a: &Point, b| a.x.total_cmp(&b.x));
        figure = figure.series(optimizer, points);
    }
    Ok(figure)
}

/// Posteriors said and found, of the arms that ex-post weighting is held against.
fn reliability(
    records: &Records,
    population: &str,
    weights: &str,
    n: usize,
) -> Result<Figure, ProtocolError> {
    let mut figure = Figure::lines(
        format!("Reliability: {population}, adam, b = .{weights}"),
        "posterior behind the prediction",
        "share of positives",
        n,
    )
    .caption(format!(
        "{GROUPS} groups of equal size, from the lowest said. The posterior of an arm with weights in its loss is what is left \
         when they are taken out of its prediction again; that of focal loss was recalibrated."
    ));
    let weighted = format!("weighted-{weights}");
    for method in ["unweighted", &weighted, "logit-adjusted", "decoupled", "focal"] {
        let arm = format!("{population}.adam.{method}");
        let said = records.series_effect(&arm, "posterior/stated")?;
        let seen = records.series_effect(&arm, "posterior/true")?;
        let points = said.iter().zip(&seen);
        let points = points.filter_map(|(said, seen)| Point::measured(said.estimate?, seen));
        figure = figure.series(method, points);
    }
    Ok(figure.series("what is said", [0.0, 1.0].map(|at| Point::bare(at, at))))
}

pub(super) fn tables(records: &Records) -> Vec<Table> {
    vec![
        predictions(records),
        corrected(records),
        signs(records),
        levels(records),
        remedies(records),
        by_construction(records),
        official(records),
    ]
}

/// The claim with intervals that allow for the overlap of splits (Nadeau & Bengio 2003): the variance of a mean over n splits is
/// taken to be (1/n + test rows/training rows) times that of one.
fn corrected(records: &Records) -> Table {
    let columns = ["cells", "loss, WT over XP - 1", "corrected low", "corrected high"];
    let mut table = Table::new("The claim, where splits of one set of rows are not independent", columns).note(
        "Intervals elsewhere say how the comparison varies over splits of these rows, which overlap. The correction is conservative: it \
         widens them by the root of 1 + n times test rows over training rows.",
    );
    for (name, populations) in [("adult", &ADULT[..]), ("x-rays", &XRAY[..])] {
        for (which, optimizers) in [("all", &OPTIMIZERS[..]), ("Adam", &["adam"][..])] {
            let of = |seed| {
                let seed = records.seed(seed);
                let loss = |group: &str, b: &str| relative(&seed, group, b, "loss");
                over_cells(populations, optimizers, loss).ok()
            };
            let values: Vec<f64> = records.seeds().into_iter().filter_map(of).collect();
            let arm = format!("{}.adam.unweighted", populations[0]);
            let shares = records.metric(&arm, "test rows over training rows");
            let share = shares.first().map(|(_, share)| *share);
            let effect = Effect::over_seeds(&values).ok().filter(|effect| effect.n > 0);
            let bounds = effect.as_ref().zip(share).and_then(|(effect, share)| {
                let widened = (1.0 + values.len() as f64 * share).sqrt();
                let (middle, (low, high)) = (effect.estimate?, effect.interval?);
                Some([middle - widened * (middle - low), middle + widened * (high - middle)])
            });
            let bound = |at: usize| {
                bounds.map_or(TableValue::NoRecord, |bounds| TableValue::Number(bounds[at], 4))
            };
            let effect = effect.map_or(TableValue::NoRecord, TableValue::Effect);
            table = table.row([
                TableValue::from(format!("{name}, {which}")),
                effect,
                bound(0),
                bound(1),
            ]);
        }
    }
    table
}

/// What is so by construction, and would be no control.
fn by_construction(records: &Records) -> Table {
    let of = |of: &dyn Fn(&SeedRecords<'_>) -> Result<f64, ProtocolError>| {
        let seeds = records.seeds();
        let values: Vec<f64> =
            seeds.into_iter().filter_map(|seed| of(&records.seed(seed)).ok()).collect();
        match Effect::over_seeds(&values) {
            Ok(effect) if effect.n > 0 => TableValue::Effect(effect),
            _ => TableValue::NoRecord,
        }
    };
    let table = Table::new("What is so by construction", ["arm", "loss over XP - 1"]).note(
        "A table that can represent every posterior, fitted to the whole population; and weights that shift the logit within the loss and \
         weigh no row, which are ex-post weighting once both start at their best constant.",
    );
    let fitted = of(&|seed| ratio_of(seed, "table", ["weighted", "ex post"]));
    let mut table = table.row([TableValue::from("table"), fitted]);
    for (population, weights, _) in REMEDIED {
        let shifted = of(&|seed| logit_adjusted(seed, population, weights));
        table = table.row([TableValue::from(format!("{population}, logit shifted")), shifted]);
    }
    table
}

/// A number of one cell as a value of a table.
fn value(records: &Records, group: &str, weights: &str, of: OfCell) -> TableValue {
    match over_seeds(records, group, weights, of) {
        Ok(effect) if effect.n > 0 => TableValue::Effect(effect),
        _ => TableValue::NoRecord,
    }
}

/// One row for every cell; `row` makes its values after the name, from the group, its weights, and the two arms.
fn by_cell(mut table: Table, row: impl Fn(&str, &str, &str, &str) -> Vec<TableValue>) -> Table {
    for population in POPULATIONS.iter().map(|named| named.name) {
        for optimizer in OPTIMIZERS {
            for (weights, _) in WEIGHTS {
                let group = format!("{population}.{optimizer}");
                let (weighted, unweighted) = arms(&group, weights);
                let name = format!("{population}, {optimizer}, b = .{weights}");
                let values = row(&group, weights, &weighted, &unweighted);
                table = table.row([TableValue::from(name)].into_iter().chain(values));
            }
        }
    }
    table
}

fn predictions(records: &Records) -> Table {
    let columns = [
        "population, optimiser, weights",
        "E[rho(q)]",
        "by q(1 - q)",
        "excess - 1",
        "loss, WT/XP - 1",
        "of it learning",
        "cost, WT/XP - 1",
        "AUC, WT - XP",
    ];
    let table = Table::new("Predicted and measured", columns).note(
        "WT: weighted training; XP: ex-post weighting. E[rho(q)] over recalibrated posteriors of test rows; the next column \
         counts them by q(1 - q). Excess: by how much WT's excess over the lowest loss should be above XP's, relative to it, where \
         sampling noise is all there is. Learning: difference in loss after recalibration, over XP's loss.",
    );
    by_cell(table, |group, weights, _, unweighted| {
        let of = |metric: &str| records.value(unweighted, &format!("{weights}/{metric}"));
        vec![
            of("incentive"),
            of("curvature"),
            of("excess"),
            value(records, group, weights, loss),
            value(records, group, weights, learning),
            value(records, group, weights, cost),
            value(records, group, weights, auc),
        ]
    })
}

fn levels(records: &Records) -> Table {
    let columns = [
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
    let table = Table::new("Weighted training and ex-post weighting", columns).note(
        "Acts: share of rows that the positive action is taken on; near 0 or 1 the decision is degenerate. Stopped: epoch with \
         the best validation objective of the arm itself.",
    );
    by_cell(table, |_, weights, weighted, unweighted| {
        let of = |arm: &str, metric: &str| records.value(arm, &format!("{weights}/{metric}"));
        vec![
            of(weighted, "loss"),
            of(unweighted, "loss"),
            records.value(weighted, "auc"),
            records.value(unweighted, "auc"),
            of(weighted, "acts"),
            of(unweighted, "acts"),
            records.value(weighted, "epoch"),
            records.value(unweighted, "epoch"),
        ]
    })
}

/// In how many cells each rule has the sign of the mean difference.
fn signs(records: &Records) -> Table {
    let columns = [
        "cells",
        "number",
        "by E[rho(q)]",
        "by q(1 - q)",
        "always ex post",
        "WT better",
        "XP better",
    ];
    let mut table = Table::new("Sign of the difference in weighted loss: predicted and measured", columns).note(
        "Cells whose mean difference has the sign that a rule gives it, whatever its interval. E[rho(q)] below 1, by either \
         average, predicts ex-post weighting. WT better, XP better: cells whose 95% interval excludes 0.",
    );
    let parts: [(&str, &[&str]); 4] = [
        ("adult", &ADULT),
        ("adult, cut short", &SHORT),
        ("x-rays", &XRAY),
        ("digits", &["digits"]),
    ];
    for (source, populations) in parts {
        for optimizer in OPTIMIZERS {
            let mut counts = [0usize; 6];
            for (_, population, weights) in cells(populations) {
                let group = format!("{population}.{optimizer}");
                let Ok(difference) = over_seeds(records, &group, weights, loss) else { continue };
                let Some(measured) = difference.estimate else { continue };
                let rule = |metric: &str| {
                    let arm = format!("{group}.unweighted");
                    let effect = records.effect(&arm, &format!("{weights}/{metric}"));
                    effect
                        .ok()
                        .and_then(|effect| effect.estimate)
                        .is_some_and(|ratio| (ratio < 1.0) == (measured > 0.0))
                };
                let (low, high) = difference.interval.unwrap_or((measured, measured));
                let excludes = difference.interval.is_some();
                let holds = [
                    true,
                    rule("incentive"),
                    rule("curvature"),
                    measured > 0.0,
                    excludes && high < 0.0,
                    excludes && low > 0.0,
                ];
                for (count, holds) in counts.iter_mut().zip(holds) {
                    *count += usize::from(holds);
                }
            }
            let mut row = vec![TableValue::from(format!("{source}, {optimizer}"))];
            row.extend(counts.map(|count| {
                if counts[0] == 0 {
                    TableValue::NoRecord
                } else {
                    TableValue::Number(count as f64, 0)
                }
            }));
            table = table.row(row);
        }
    }
    table
}

fn remedies(records: &Records) -> Table {
    let metrics = ["loss", "learning", "choosing", "cost"];
    let mut columns = vec!["arm"];
    columns.extend([
        "weighted loss",
        "learning",
        "choosing",
        "cost",
        "AUC",
        "log loss of posterior",
        "ECE of posterior",
    ]);
    let mut table = Table::new("Other ways to the same weights", columns).note(
        "Weights that counteract the imbalance, Adam. Learning is the loss after recalibration on other rows, choosing the rest; it \
         is below 0 where recalibration cost more than it repaired. The posterior of an arm with weights in its loss is recovered by taking them out of its \
         prediction. Post-hoc logit adjustment is ex-post weighting, with weights 1/prevalence.",
    );
    for (population, weights, _) in REMEDIED {
        let weighted = format!("weighted-{weights}");
        for method in ["unweighted", &weighted, "logit-adjusted", "decoupled", "focal"] {
            let arm = format!("{population}.adam.{method}");
            let name = if method == "unweighted" { "ex post" } else { method };
            let mut row = vec![TableValue::from(format!("{population}, {name}"))];
            row.extend(metrics.map(|metric| records.value(&arm, &format!("{weights}/{metric}"))));
            let others = ["auc", "posterior/loss", "posterior/ece"];
            row.extend(others.map(|metric| records.value(&arm, metric)));
            table = table.row(row);
        }
    }
    table
}

fn official(records: &Records) -> Table {
    let columns = ["population, optimiser", "unweighted", "b = .10", "b = .90"];
    let mut table = Table::new("AUC on the official test split of the X-rays", columns)
        .note("624 images of another origin than those trained on.");
    for population in XRAY {
        for optimizer in OPTIMIZERS {
            let group = format!("{population}.{optimizer}");
            let mut row = vec![TableValue::from(format!("{population}, {optimizer}"))];
            let methods = ["unweighted", "weighted-10", "weighted-90"];
            row.extend(methods.map(|m| records.value(&format!("{group}.{m}"), "official/auc")));
            table = table.row(row);
        }
    }
    table
}
