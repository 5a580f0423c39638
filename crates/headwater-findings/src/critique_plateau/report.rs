//! Figures and tables.

use headwater_protocol::{Effect, Figure, Point, ProtocolError, Records, Scale, Table, TableValue};

use super::lock::{self, BUDGETS, PLACES};
use super::{STARTS, arms, measure};
use crate::tasks::lock::FEEDBACKS;
use crate::tasks::misconceptions::CRITIQUES;

/// The arms of the curves.
const MAIN: [&str; 7] = [
    "grpo-8",
    "grpo-16",
    "grpo-8-questions-x8",
    "indicative",
    "final-result",
    "step",
    "correction",
];

/// The variants of the weight.
const WEIGHTS: [&str; 6] =
    ["grpo-8", "step", "step-unshaped", "step-weight-1", "step-importance", "step-baseline-only"];

/// The arms that are run from every base.
const EVERYWHERE: [&str; 4] = ["grpo-8", "step", "step-unshaped", "step-weight-1"];

pub(super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let n = records.seeds().len();
    let curve = |title: &str, arms: &[&str], series: &str, label: &str, caption: &str| {
        let mut figure = Figure::lines(title, "responses sampled, thousands", label, n)
            .value_range(0.0, 1.0)
            .caption(caption);
        for arm in arms {
            let generations = records.series_effect(arm, "training/generations so far")?;
            let effects = records.series_effect(arm, series)?;
            let points = generations.iter().zip(&effects).filter_map(|(generations, effect)| {
                Point::measured(generations.estimate? / 1000.0, effect)
            });
            figure = figure.series(*arm, points);
        }
        Ok::<Figure, ProtocolError>(figure)
    };
    let plateau = curve(
        "Held-out questions that meet a misconception",
        &MAIN,
        "stuck",
        "greedy accuracy",
        "Refinements count as responses. All arms start from 0; no critique is shown when it is measured.",
    )?;
    let rest = curve(
        "Held-out questions that meet none",
        &MAIN,
        "probability/rest",
        "probability of the right answer",
        "Where samples of the base are right often enough, the numeric reward suffices.",
    )?;
    let weights = curve(
        "What a refinement's tokens weigh",
        &WEIGHTS,
        "stuck",
        "greedy accuracy, misconceptions",
        "All under step critiques but GRPO. Shaped is the published method; its weight without shaping is the token's \
         probability; weight 1 is supervised training; importance is the ratio of the probabilities under the plain prompt \
         and under the critique; baseline only leaves refinements out of the loss.",
    )?;

    let mut entropy =
        Figure::lines("Entropy in training", "responses sampled, thousands", "nats", n)
            .caption("Mean token entropy of the rollouts, since the last look.");
    for arm in ["grpo-8", "step", "step-weight-1", "correction", "step-4-4"] {
        let generations = records.series_effect(arm, "training/generations so far")?;
        let effects = records.series_effect(arm, "training/entropy")?;
        let points = generations.iter().zip(&effects);
        entropy = entropy.series(
            arm,
            points.filter_map(|(x, effect)| Point::measured(x.estimate? / 1000.0, effect)),
        );
    }

    let mut window = Figure::lines(
        "The window of initial probability",
        "probability of the right result on a misconception, base",
        "greedy accuracy, misconceptions",
        n,
    )
    .x_scale(Scale::Log10)
    .value_range(0.0, 1.0)
    .caption(
        "Geometric mean over held-out questions of the base's probability of the right result at the critical step. At the end of \
         training, at equal numbers of sampled responses.",
    );
    for arm in EVERYWHERE {
        let mut points = Vec::new();
        for (base, suffix) in by_probability() {
            let probability = records.effect(base, "critical")?.estimate;
            let effect = records.effect(&format!("{arm}{suffix}"), "stuck")?;
            points.extend(probability.and_then(|p| Point::measured(p.exp(), &effect)));
        }
        window = window.series(arm, points);
    }

    let kinds = CRITIQUES.map(measure::name);
    let rescued = |prefix: &str| -> Result<Vec<Effect>, ProtocolError> {
        kinds.iter().map(|kind| records.effect("base", &format!("{prefix}/{kind}"))).collect()
    };
    let rescue = Figure::bars("Stuck questions rescued", kinds, "share rescued", n)
        .value_range(0.0, 1.0)
        .caption(
            "Of the held-out questions on which seven answers of the base all failed: those with a right one among their seven \
             refinements, under the attempt's own critique and under that of an attempt at another question.",
        )
        .by_category("own critique", rescued("rescued")?)
        .by_category("another's", rescued("exchanged rescued")?);

    let mut locks = Figure::lines("Opening a lock", "places", "log10 of mean samples to open it", n)
        .caption(
            "Eight symbols per place. Dots: measured. Fits: reward against 8^L, the others against L, least squares, \
             with exponents in the table.",
        );
    for feedback in FEEDBACKS {
        let name = lock::name(feedback);
        let effects = records.series_effect("lock", &format!("log samples/{name}"))?;
        let points: Vec<(f64, &Effect)> =
            PLACES.map(|places| places as f64).zip(&effects).collect();
        let measured = points.iter().filter_map(|(x, effect)| Point::measured(*x, effect));
        locks = locks.series(name, measured);
        let reward = feedback == FEEDBACKS[0];
        let x: Vec<f64> = points.iter().map(|(x, _)| if reward { *x } else { x.ln() }).collect();
        let y: Vec<f64> = effects.iter().filter_map(|effect| effect.estimate).collect();
        let slope = lock::slope(&x, &y);
        let centre = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let (middle_x, middle_y) = (centre(&x), centre(&y));
        let fitted = points.iter().zip(&x);
        locks = locks.series(
            format!("{name}, fitted"),
            fitted.map(|((places, _), x)| Point::bare(*places, middle_y + slope * (x - middle_x))),
        );
    }
    let arithmetic = [plateau, rest, weights, window, rescue, entropy];
    let arithmetic = arithmetic.map(|figure| figure.part(ARITHMETIC_PART));
    Ok(arithmetic.into_iter().chain([locks.part(LOCK_PART)]).collect())
}

const ARITHMETIC_PART: &str = "Arithmetic with confident misconceptions";
const LOCK_PART: &str = "Combination locks";

/// Bases and the suffixes of their arms, by ascending initial probability.
fn by_probability() -> Vec<(&'static str, &'static str)> {
    let mut starts = STARTS;
    starts.sort_by(|a, b| a.0.total_cmp(&b.0));
    starts.map(|(_, base, suffix)| (base, suffix)).to_vec()
}

pub(super) fn tables(records: &Records) -> Result<Vec<Table>, ProtocolError> {
    let scalars = [
        ("stuck", "accuracy, misconceptions"),
        ("probability/stuck", "probability, misconceptions"),
        ("rest", "accuracy, the rest"),
        ("probability/rest", "probability, the rest"),
    ];
    let series = [("training/steps so far", "steps"), ("training/generations so far", "responses")];
    let mut columns = vec!["arm"];
    columns.extend(scalars.map(|(_, heading)| heading));
    columns.extend(["change in the last third", "entropy's rise", "largest fall"]);
    columns.extend(series.map(|(_, heading)| heading));
    let mut every = Table::new("Every arm from the main base", columns).note(
        "Held-out questions. Entropy's rise is that of its highest mean between two looks over the first; the largest fall is of the \
         probability of right answers to the rest, from one look to the next.",
    );
    for (arm, _) in arms() {
        let mut row = vec![TableValue::from(arm.name)];
        row.extend(scalars.map(|(metric, _)| records.value(arm.name, metric)));
        for metric in ["last third", "entropy rise", "largest fall"] {
            row.push(records.value(arm.name, metric));
        }
        for (metric, _) in series {
            let last = records.series(arm.name, metric).first().map_or(1, |(_, s)| s.len());
            row.push(records.value_at(arm.name, metric, last - 1));
        }
        every = every.row(row);
    }

    let mut columns = vec!["base".to_string()];
    columns.extend(
        ["log-probability of the right result", "pass@8, misconceptions", "probability, the rest"]
            .map(String::from),
    );
    columns.extend(EVERYWHERE.map(|arm| format!("{arm}: accuracy")));
    let mut bases = Table::new("By initial probability", columns).note(
        "The log-probability is at the critical step, after right results before it; pass@8 is 1 - (1 - p)^8 with p the exact \
         probability of the right answer.",
    );
    for (base, suffix) in by_probability() {
        let mut row = vec![TableValue::from(base)];
        for metric in ["critical", "pass@8/stuck", "probability/rest"] {
            row.push(records.value(base, metric));
        }
        row.extend(EVERYWHERE.map(|arm| records.value(&format!("{arm}{suffix}"), "stuck")));
        bases = bases.row(row);
    }

    let columns =
        ["critique", "refinements right", "rescued", "right, another's", "rescued, another's"];
    let mut rescue = Table::new("What a critique rescues", columns).note(
        "The main base, before reinforcement. Published: indicative 2.1% of refinements and 7.1% of questions, with the final \
         answer 2.0% and 6.9%, step by step 36.5% and 55.4%.",
    );
    for critique in CRITIQUES {
        let name = measure::name(critique);
        let value = |prefix: &str| records.value("base", &format!("{prefix}/{name}"));
        rescue = rescue.row([
            TableValue::from(name),
            value("valid"),
            value("rescued"),
            value("exchanged valid"),
            value("exchanged rescued"),
        ]);
    }

    let mut columns: Vec<String> =
        ["feedback", "2 places", "3 places", "4 places"].map(String::from).to_vec();
    columns.extend(["growth per place, in units of ln 8", "exponent of length"].map(String::from));
    columns.extend(BUDGETS.map(|budget| format!("open by {budget}")));
    let mut locks = Table::new("Samples to open a lock", columns).note(
        "Proposition 4.1 has 8^L (growth 1) for reward, 8 L for the first wrong place and L for its symbol (exponent 1). Shares open \
         are of locks with four places.",
    );
    for feedback in FEEDBACKS {
        let name = lock::name(feedback);
        let mut row = vec![TableValue::from(name)];
        row.extend((0..3).map(|at| records.value_at("lock", &format!("samples/{name}"), at)));
        row.push(records.value("lock", &format!("growth per place/{name}")));
        row.push(records.value("lock", &format!("exponent of length/{name}")));
        let opened = format!("opened/{name}");
        row.extend((0..BUDGETS.len()).map(|at| records.value_at("lock", &opened, at)));
        locks = locks.row(row);
    }
    let arithmetic = [every, bases, rescue].map(|table| table.part(ARITHMETIC_PART));
    Ok(arithmetic.into_iter().chain([locks.part(LOCK_PART)]).collect())
}
