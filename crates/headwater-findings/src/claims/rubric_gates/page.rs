//! Figures and tables of the finding.

use headwater_protocol::{Arm, Series};
use headwater_report::{Along, Column, Figure, Part, Scale, Table, Value};

use crate::experiments::rubric_gates_dilution::{
    self as dilution, AREA_BY_OMEGA, LENGTHS, LONGEST, OMEGAS, READINGS, STEPS_TO_80, THOUGHT,
    TRAINED_OMEGAS, WEIGHT_BY_OMEGA, area, learners, trained, weight, with_omega,
};
use crate::experiments::rubric_gates_reports::{
    ACCEPTED, ADDITIVE, CORRECT, CORRELATION, EVALUATION_STEP, EVALUATION_USED, EXPLOITATION,
    FEW_STEPS, GATE, GATE_SILENT, GRADED, JUDGE, MAGIC, MIXED, NEW_CREDIT, NO_ANSWER, PEAK,
    POOR_ADDITIVE, POOR_GATE, POOR_STEPS, QUALITY, R3, R3_ALONE, READS, SHARE_ACCEPTED, STATEMENTS,
    STEPS, Shown, UNFOOLED, USED, arms, at_evaluations,
};

/// What a reader must know of the arms.
const ARMS_IN_WORDS: &str = "rubric: its score is the reward. r3: R3 alone; r3-slow: at a quarter \
     of the learning rate. additive-w: R3 plus w times the rubric's score. gate: R3 in groups that \
     the rubric lets pass. mask: R3 for those completions of a group that the rubric lets pass. \
     Reports on the same held-out requests at every evaluation; rubric, additive-3 and mask are trained \
     for fewer steps.";

pub(super) fn parts() -> Vec<Part> {
    vec![
        Part::new("Gate or reward: the budgeted report")
            .figures(curves())
            .figures(limits())
            .tables(reports()),
        Part::new("Dilution: R3 against means")
            .figures(dilution_figures())
            .tables([areas(), endings()]),
    ]
}

fn ways() -> Vec<Arm> {
    let ways = arms().into_iter().filter(|(_, shown)| *shown == Shown::Way);
    ways.map(|(arm, _)| arm).collect()
}

fn over(title: &str, along: &Series, label: &str, values: &Series, arms: &[Arm]) -> Figure {
    let x = if *along == EVALUATION_STEP { "optimiser steps" } else { "groups used" };
    Figure::lines(title, x, label).curves(values, &Along::Series(along.clone()), arms)
}

/// Every way to use rubric and R3, held-out.
fn curves() -> Vec<Figure> {
    let ranks = "R3 weighs the tokens of the reference that vary most within a group: it ranks a \
                 group, and its level over training says little.";
    let same = "Reports on the same held-out requests at every evaluation. Bases of different seeds \
                start apart, so bands are wide; contrasts compare arms of one seed.";
    let shown = [
        (JUDGE, "Score of the fallible judge", ARMS_IN_WORDS),
        (R3, "R3 (certainty of the reference)", ranks),
        (QUALITY, "True quality Q", same),
        (MAGIC, "P(magic)", same),
    ];
    let by_steps = shown.map(|(metric, title, caption)| {
        let heading = format!("{title}, by steps");
        over(&heading, &EVALUATION_STEP, title, &at_evaluations(&metric), &ways()).caption(caption)
    });
    let quality = at_evaluations(&QUALITY);
    let by_used = over(
        "True quality Q, by groups used",
        &EVALUATION_USED,
        "true quality Q",
        &quality,
        &ways(),
    )
    .caption(
        "The same against groups that gave a gradient. The gate draws further prompts for \
                 rejected groups, up to three batches a step; it falls short of three groups, so \
                 its curve ends early.",
    );
    by_steps.into_iter().chain([by_used]).collect()
}

/// What a gate protects, when it is shut, and what there is without the exploit.
fn limits() -> [Figure; 4] {
    let quality = at_evaluations(&QUALITY);
    [
        over(
            "A gate protects what its rubric names",
            &EVALUATION_USED,
            "true quality Q",
            &quality,
            &[GATE, GATE_SILENT, R3_ALONE],
        )
        .caption(
            "The rubric of gate-silent asks that requested keys are read and not that they are \
             stated: it accepts groups that think until no room is left to answer.",
        ),
        over(
            "Share of groups that pass the gate",
            &EVALUATION_STEP,
            "share of groups accepted",
            &ACCEPTED,
            &[GATE, GATE_SILENT, POOR_GATE],
        )
        .caption("poor-gate starts from a base that hardly reads and hardly states."),
        over(
            "From a poor start",
            &EVALUATION_STEP,
            "score of the judge",
            &at_evaluations(&JUDGE),
            &[POOR_GATE, POOR_ADDITIVE],
        )
        .caption(
            "The dense rubric moves where the gate is shut: it starts from nothing and takes \
             magic.",
        ),
        over(
            "Without the exploit",
            &EVALUATION_STEP,
            "true quality Q",
            &quality,
            &[ADDITIVE, UNFOOLED],
        )
        .caption(
            "The same weight of the rubric under a judge that falls for magic and one that does \
             not.",
        ),
    ]
}

fn reports() -> [Table; 2] {
    let everyone = || arms().into_iter().map(|(arm, _)| arm);
    let at_the_end =
        [JUDGE, R3, QUALITY, CORRECT, MAGIC, NO_ANSWER, READS, STATEMENTS, PEAK].map(Column::from);
    let of_groups = [
        USED.into(),
        GRADED.into(),
        SHARE_ACCEPTED.into(),
        NEW_CREDIT.into(),
        // A rate of new credit is nothing where there is none.
        Column::rare(EXPLOITATION),
        CORRELATION.into(),
        MIXED.into(),
    ];
    [
        Table::of_arms("Reports: every arm at its end", "arm", everyone(), at_the_end).note(
            format!(
                "Held-out requests, temperature 1, means of the last three evaluations. The peak is the \
             highest mean of three evaluations, found on half of the requests and valued on the other \
             half. rubric, additive-3, mask ({FEW_STEPS} steps) and the arms from the poor start \
             ({POOR_STEPS}) are trained for less than the others ({STEPS}).",
            ),
        ),
        Table::of_arms(
            "Reports: groups, and what the advantage says of magic",
            "arm",
            everyone(),
            of_groups,
        )
        .note(
            "New credit: share of the statements asked for that the judge credits and did not at \
             the checkpoint before; four checkpoints. Exploitation rate: of that credit, the share \
             that two honest judges both refuse (of gate-silent they refuse what is read and not \
             stated). The correlation is within used groups that hold reports with and without \
             magic: what a gate conditions on could leak into it.",
        ),
    ]
}

fn dilution_figures() -> [Figure; 3] {
    let (base, lengths) = (dilution::BASE, Along::counts(LENGTHS));
    let mut areas = Figure::lines(
        "What a reward tells of the chain of thought",
        "fillers in the reference",
        "AUC within a group of \"the chain is right\"",
    )
    .x_scale(Scale::Log2)
    .reference("blind", 0.5)
    .caption("Chains of the base, 16 a question, before any training.");
    let mut learning =
        Figure::lines("Learning from references of 64 fillers", "step", "share of chains right")
            .value_range(0.0, 1.0)
            .reference("80%", 0.8)
            .caption("Every fourth step.");
    for (name, _) in READINGS {
        areas = areas.curve(name, &area(name), &lengths, &base);
        let (curve, arm) = (dilution::TRAINING_ACCURACY, trained(name, LONGEST));
        learning = learning.thinned_curve(name, &curve, &Along::steps(), arm, 4);
    }
    let along = Along::places(OMEGAS);
    let omegas = Figure::lines(
        "R3's omega, references of 64 fillers",
        "omega",
        "AUC, weight, accuracy",
    )
    .caption(
        "AUC within a group and weight on the two results, of the base's chains; accuracy at the \
         end of training.",
    )
    .curve("AUC", &AREA_BY_OMEGA, &along, &base)
    .curve("weight on the results", &WEIGHT_BY_OMEGA, &along, &base)
    .points(
        "accuracy after training",
        TRAINED_OMEGAS.map(|omega| (omega, dilution::ACCURACY.of(with_omega(omega)))),
    );
    [areas, omegas, learning]
}

fn areas() -> Table {
    let heads = ["AUC", "weight on results"]
        .into_iter()
        .flat_map(|what| LENGTHS.map(|length| format!("{what}, T = {length}")));
    let heads = ["reward".to_owned()].into_iter().chain(heads);
    READINGS.into_iter().fold(
        Table::new("Diluted references: the base's chains", heads),
        |table, (name, _)| {
            let values = [area(name), weight(name)].into_iter().flat_map(|series| {
                (0..LENGTHS.len()).map(move |at| Value::from(series.at(at, dilution::BASE)))
            });
            table.row([Value::from(name)].into_iter().chain(values))
        },
    )
}

fn endings() -> Table {
    let arms = learners().into_iter().map(|(arm, ..)| arm);
    let columns = [dilution::ACCURACY, STEPS_TO_80, THOUGHT].map(Column::from);
    Table::of_arms("Diluted references: every arm at its end", "arm", arms, columns).note(
        "The number in a name is T. Means over the last fifth of training. Steps to 80%: of eight \
         steps in a row; all steps where it was not reached.",
    )
}
