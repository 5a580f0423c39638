//! Figures and tables of the finding.

use headwater_protocol::{Figure, Point, ProtocolError, Records, Scale, Table, TableValue};

use super::dilution::{LENGTHS, OMEGA, OMEGAS, READINGS};
use super::reports::WINDOWS;
use super::{FILTERED, TRAINED_OMEGAS, trained, with_omega};

/// Arms of the figures.
const ARMS: [&str; 8] =
    ["rubric", "r3", "r3-slow", "additive-0.3", "additive-1", "additive-3", "gate", "mask"];

/// Curves of training, with their titles.
const CURVES: [(&str, &str); 5] = [
    ("judge", "Score of the fallible judge"),
    ("R3", "R3"),
    ("quality", "True quality Q"),
    ("magic", "P(magic)"),
    ("accepted", "Share of groups accepted"),
];

fn curve(
    records: &Records,
    figure: Figure,
    arms: &[&str],
    metric: &str,
    by_used: bool,
) -> Result<Figure, ProtocolError> {
    let mut figure = figure;
    for arm in arms {
        let values = records.series_effect(arm, &format!("training/{metric}"))?;
        let xs: Vec<f64> = if by_used {
            let used = records.series_effect(arm, "training/used groups")?;
            used.iter().map(|effect| effect.estimate.unwrap_or(f64::NAN)).collect()
        } else {
            (0..values.len()).map(|window| (window + 1) as f64 / WINDOWS as f64).collect()
        };
        let points = xs.into_iter().zip(&values);
        figure = figure.series(*arm, points.filter_map(|(x, effect)| Point::measured(x, effect)));
    }
    Ok(figure)
}

pub(super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let n = records.seeds().len();
    let mut figures = Vec::new();
    for (metric, title) in CURVES {
        let by_steps = Figure::lines(format!("{title}, by steps"), "share of steps", title, n)
            .caption("Means over the rollouts of a twenty-fifth of training, those of rejected groups included.");
        figures.push(curve(records, by_steps, &ARMS, metric, false)?);
        let by_used =
            Figure::lines(format!("{title}, by groups used"), "groups used", title, n).caption(
                "The same against groups that gave a gradient. The gate draws further prompts for rejected groups, up to \
                 four batches a step; where it still falls short its curve ends early.",
            );
        figures.push(curve(records, by_used, &ARMS, metric, true)?);
    }
    let silent = Figure::lines(
        "A gate protects what its rubric names",
        "groups used",
        "true quality Q",
        n,
    )
    .caption(
        "The silent rubric asks that requested keys are read and not that they are stated: it accepts groups that \
         think until no room is left to answer.",
    );
    figures.push(curve(records, silent, &["gate", "gate-silent", "r3"], "quality", true)?);
    let poor = Figure::lines(
        "A gate starves from a poor start",
        "share of steps",
        "share of groups accepted",
        n,
    )
    .caption("The poor base hardly reads and hardly states.");
    figures.push(curve(records, poor, &["gate", "poor-gate"], "accepted", false)?);
    let poor = Figure::lines("From a poor start, by steps", "share of steps", "true quality Q", n)
        .caption("The dense rubric moves where the gate is shut.");
    figures.push(curve(records, poor, &["poor-gate", "poor-additive-1"], "quality", false)?);
    let unfooled = Figure::lines("Without the exploit", "share of steps", "true quality Q", n)
        .caption("The same weight of the rubric under a judge that falls for magic and one that does not.");
    figures.push(curve(
        records,
        unfooled,
        &["additive-1", "additive-1-unfooled"],
        "quality",
        false,
    )?);

    let points = |arm: &str, series: &str, at: &[f64]| -> Result<Vec<Point>, ProtocolError> {
        let effects = records.series_effect(arm, series)?;
        let points = at.iter().zip(&effects);
        Ok(points.filter_map(|(x, effect)| Point::measured(*x, effect)).collect())
    };
    let lengths = LENGTHS.map(|length| length as f64);
    let mut areas = Figure::lines(
        "What a reward tells of the chain of thought",
        "fillers in the reference",
        "AUC within a group of \"the chain is right\"",
        n,
    )
    .x_scale(Scale::Log2)
    .reference("blind", 0.5)
    .caption("Chains of the base, 16 a question, before any training.");
    for (name, _) in READINGS {
        areas = areas.series(name, points("dilution-base", &format!("AUC/{name}"), &lengths)?);
    }
    let mut omegas =
        Figure::lines("R3's omega, references of 64 fillers", "omega", "AUC, weight, accuracy", n)
            .caption(
                "AUC within a group and weight on the two results, of the base's chains; accuracy at the end of training.",
            );
    omegas = omegas.series("AUC", points("dilution-base", "AUC/omega", &OMEGAS)?);
    omegas =
        omegas.series("weight on the results", points("dilution-base", "weight/omega", &OMEGAS)?);
    let mut accuracy = Vec::new();
    for omega in TRAINED_OMEGAS {
        accuracy.extend(Point::measured(omega, &records.effect(&with_omega(omega), "accuracy")?));
    }
    figures.push(areas);
    figures.push(omegas.series("accuracy after training", accuracy));
    let mut learning =
        Figure::lines("Learning from references of 64 fillers", "step", "share of chains right", n)
            .value_range(0.0, 1.0)
            .reference("80%", 0.8)
            .caption("Every fourth step.");
    for (name, _) in READINGS {
        let effects = records.series_effect(&trained(name, 64), "training/accuracy")?;
        let points = effects.iter().enumerate().step_by(4);
        let points = points.filter_map(|(step, effect)| Point::measured(step as f64, effect));
        learning = learning.series(name, points);
    }
    figures.push(learning);
    Ok(figures)
}

pub(super) fn tables(records: &Records) -> Result<Vec<Table>, ProtocolError> {
    let scalars = |title: &str, arms: &[String], metrics: &[(&str, &str)]| {
        let mut columns = vec!["arm"];
        columns.extend(metrics.iter().map(|(_, heading)| *heading));
        let mut table = Table::new(title, columns);
        for arm in arms {
            let mut row = vec![TableValue::from(arm.as_str())];
            row.extend(metrics.iter().map(|(metric, _)| records.value(arm, metric)));
            table = table.row(row);
        }
        table
    };
    let mut arms: Vec<String> = ARMS.map(String::from).to_vec();
    arms.extend(
        ["gate-silent", "additive-1-unfooled", "rubric-permuted", "poor-gate", "poor-additive-1"]
            .map(String::from),
    );
    let outcome = scalars(
        "Reports: every arm at its end",
        &arms,
        &[
            ("judge", "judge"),
            ("R3", "R3"),
            ("quality", "Q"),
            ("correct", "requested keys right"),
            ("magic", "P(magic)"),
            ("no answer", "no answer"),
            ("reads", "reads"),
            ("statements", "statements"),
            ("quality at its peak", "Q at its peak"),
        ],
    )
    .note(
        "Held-out requests, temperature 1; the peak is that of training, found on even steps and valued on odd ones. Arms \
         from the poor start run half as many steps.",
    );
    let used = scalars(
        "Reports: groups, and what the advantage says of magic",
        &arms,
        &[
            ("used groups", "groups used"),
            ("graded groups", "groups sampled"),
            ("share accepted", "share accepted"),
            ("exploitation rate", "exploitation rate"),
            ("correlation of advantage and magic", "corr(A, magic)"),
            ("groups with and without magic", "groups with both"),
        ],
    )
    .note(
        "Exploitation rate: of the credit that is new since the checkpoint before, the share that two honest judges both \
         refuse (of `gate-silent` they refuse what is read and not stated); four checkpoints. The correlation is within used \
         groups that hold reports with and without magic: what a gate conditions on could leak into it.",
    );
    let mut names: Vec<String> = Vec::new();
    for fillers in [4, 64] {
        names.extend(READINGS.map(|(name, _)| trained(name, fillers)));
    }
    names.extend(TRAINED_OMEGAS.into_iter().filter(|omega| *omega != OMEGA).map(with_omega));
    names.push(FILTERED.into());
    let dilution = scalars(
        "Diluted references: every arm at its end",
        &names,
        &[
            ("accuracy", "share right"),
            ("steps to 80%", "steps to 80%"),
            ("tokens of thought", "tokens of thought"),
        ],
    )
    .note(
        "The number in a name is T. Means over the last fifth of training. Steps to 80%: of eight steps in a row; all steps \
         where it was not reached.",
    );
    let mut columns = vec!["reward".to_string()];
    columns.extend(LENGTHS.map(|length| format!("AUC, T = {length}")));
    columns.extend(LENGTHS.map(|length| format!("weight on results, T = {length}")));
    let mut areas = Table::new("Diluted references: the base's chains", columns);
    for (name, _) in READINGS {
        let mut row = vec![TableValue::from(name)];
        for series in [format!("AUC/{name}"), format!("weight/{name}")] {
            row.extend((0..LENGTHS.len()).map(|at| records.value_at("dilution-base", &series, at)));
        }
        areas = areas.row(row);
    }
    Ok(vec![outcome, used, areas, dilution])
}
