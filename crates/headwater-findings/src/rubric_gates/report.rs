//! Figures and tables of the finding.

use headwater_protocol::{Figure, Point, ProtocolError, Records, Scale, Table, TableValue};

use super::dilution::{LENGTHS, OMEGA, OMEGAS, READINGS};
use super::{FEW_STEPS, FILTERED, POOR_STEPS, STEPS, TRAINED_OMEGAS, trained, with_omega};

/// Arms of the figures.
const ARMS: [&str; 8] =
    ["rubric", "r3", "r3-slow", "additive-0.3", "additive-1", "additive-3", "gate", "mask"];

/// What a reader must know of the arms.
const ARMS_IN_WORDS: &str = "rubric: its score is the reward. r3: R3 alone; r3-slow: at a quarter of the learning rate. \
     additive-w: R3 plus w times the rubric's score. gate: R3 in groups that the rubric lets pass. mask: R3 for those \
     completions of a group that the rubric lets pass. Reports on the same held-out requests at every look; rubric, \
     additive-3 and mask are trained for fewer steps.";

/// Headings of the two parts.
const REPORTS: &str = "Gate or reward: the budgeted report";
const DILUTION: &str = "Dilution: R3 against means";

/// Held-out curves, with their titles.
const CURVES: [(&str, &str); 4] = [
    ("judge", "Score of the fallible judge"),
    ("R3", "R3 (certainty of the reference)"),
    ("quality", "True quality Q"),
    ("magic", "P(magic)"),
];

/// Curves of `series`, or of a held-out metric, over another series.
fn curves(
    records: &Records,
    mut figure: Figure,
    arms: &[&str],
    (over, series): (&str, &str),
) -> Result<Figure, ProtocolError> {
    for arm in arms {
        let values = records.series_effect(arm, series)?;
        let xs = records.series_effect(arm, over)?;
        // What is counted between looks stands at the later one.
        let xs = &xs[xs.len().saturating_sub(values.len())..];
        let points = xs.iter().zip(&values);
        let points = points.filter_map(|(x, effect)| Point::measured(x.estimate?, effect));
        figure = figure.series(*arm, points);
    }
    Ok(figure.part(REPORTS))
}

/// What curves are drawn over.
const STEP: &str = "look/step";
const USED: &str = "look/used groups";

pub(super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let mut figures = of_reports(records)?;
    let of_dilution = of_dilution(records)?.into_iter();
    figures.extend(of_dilution.map(|figure| figure.part(DILUTION)));
    Ok(figures)
}

fn of_reports(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let n = records.seeds().len();
    let mut figures = Vec::new();
    for (metric, title) in CURVES {
        let series = format!("look/{metric}");
        let caption = match metric {
            "judge" => ARMS_IN_WORDS,
            "R3" => {
                "R3 weighs the tokens of the reference that vary most within a group: it ranks a group, and its level over \
                 training says little."
            }
            _ => {
                "Reports on the same held-out requests at every look. Bases of different seeds start apart, so bands are wide; \
                 contrasts compare arms of one seed."
            }
        };
        let by_steps = Figure::lines(format!("{title}, by steps"), "optimiser steps", title, n);
        let by_steps = by_steps.caption(caption);
        figures.push(curves(records, by_steps, &ARMS, (STEP, &series))?);
    }
    let by_used = Figure::lines("True quality Q, by groups used", "groups used", "true quality Q", n)
        .caption(
            "The same against groups that gave a gradient. The gate draws further prompts for rejected groups, up to three \
             batches a step; it falls short of three groups, so its curve ends early.",
        );
    figures.push(curves(records, by_used, &ARMS, (USED, "look/quality"))?);
    let silent = Figure::lines(
        "A gate protects what its rubric names",
        "groups used",
        "true quality Q",
        n,
    )
    .caption(
        "The rubric of gate-silent asks that requested keys are read and not that they are stated: it accepts groups \
         that think until no room is left to answer.",
    );
    figures.push(curves(records, silent, &["gate", "gate-silent", "r3"], (USED, "look/quality"))?);
    let shut = Figure::lines(
        "Share of groups that pass the gate",
        "optimiser steps",
        "share of groups accepted",
        n,
    )
    .caption("poor-gate starts from a base that hardly reads and hardly states.");
    figures.push(curves(records, shut, &["gate", "gate-silent", "poor-gate"], (STEP, "accepted"))?);
    let poor = Figure::lines("From a poor start", "optimiser steps", "score of the judge", n)
        .caption("The dense rubric moves where the gate is shut: it starts from nothing and takes magic.");
    figures.push(curves(records, poor, &["poor-gate", "poor-additive-1"], (STEP, "look/judge"))?);
    let unfooled = Figure::lines("Without the exploit", "optimiser steps", "true quality Q", n)
        .caption("The same weight of the rubric under a judge that falls for magic and one that does not.");
    let pair = ["additive-1", "additive-1-unfooled"];
    figures.push(curves(records, unfooled, &pair, (STEP, "look/quality"))?);
    Ok(figures)
}

fn of_dilution(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let n = records.seeds().len();
    let mut figures = Vec::new();
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
            row.extend(metrics.iter().map(|(metric, _)| {
                // A rate of new credit is nothing where there is none.
                let is_undefined = *metric == "exploitation rate"
                    && records.has_arm(arm)
                    && records.metric(arm, metric).is_empty();
                if is_undefined { TableValue::Absent } else { records.value(arm, metric) }
            }));
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
    .note(format!(
        "Held-out requests, temperature 1, means of the last three looks. The peak is the highest mean of three looks, found on \
         half of the requests and valued on the other half. rubric, additive-3, mask ({FEW_STEPS} steps) and the arms from the \
         poor start ({POOR_STEPS}) are trained for less than the others ({STEPS}).",
    ));
    let used = scalars(
        "Reports: groups, and what the advantage says of magic",
        &arms,
        &[
            ("used groups", "groups used"),
            ("graded groups", "groups sampled"),
            ("share accepted", "share accepted"),
            ("new credit", "new credit"),
            ("exploitation rate", "exploitation rate"),
            ("correlation of advantage and magic", "corr(A, magic)"),
            ("groups with and without magic", "groups with both"),
        ],
    )
    .note(
        "New credit: share of the statements asked for that the judge credits and did not at the checkpoint before; four \
         checkpoints. Exploitation rate: of that credit, the share that two honest judges both refuse (of gate-silent they \
         refuse what is read and not stated). The correlation is within used groups that hold reports with and without magic: \
         what a gate conditions on could leak into it.",
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
    Ok(vec![
        outcome.part(REPORTS),
        used.part(REPORTS),
        areas.part(DILUTION),
        dilution.part(DILUTION),
    ])
}
