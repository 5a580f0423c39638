//! What is claimed of planted text, and how it is shown.

use headwater_protocol::{
    Contrast, Control, Direction, Effect, Figure, Point, ProtocolError, Records, Registered, Scale,
    SeedRecords, Table, TableValue,
};

use super::super::SHOWN_SEEDS;
use super::super::methods::WEIGHTS;
use super::{FACTORS, STRUCTURES, VARIANTS, arm, methods};

/// Size of the toggle effect of one method less that of another.
fn size_difference(
    seed: &SeedRecords<'_>,
    (factor, structure): (&str, &str),
    method: &str,
    against: &str,
) -> Result<f64, ProtocolError> {
    let (method, against) = (arm(factor, structure, method), arm(factor, structure, against));
    seed.difference("toggle, size", &method, &against)
}

/// Signed toggle effect of one method less that of another.
fn difference(
    seed: &SeedRecords<'_>,
    (factor, structure): (&str, &str),
    method: &str,
    against: &str,
) -> Result<f64, ProtocolError> {
    let (method, against) = (arm(factor, structure, method), arm(factor, structure, against));
    seed.difference("toggle", &method, &against)
}

pub(in super::super) fn contrasts() -> Vec<Contrast> {
    let contrast = |name, direction, smallest_effect, per_seed| {
        Contrast::new(name, direction, smallest_effect, Registered::AfterPilot, per_seed)
    };
    use Direction::{Decrease, Increase, NotBelow};
    vec![
        Contrast {
            published: Some("always flattering: vanilla 92.7%, conditional 19.8% (their table 1)"),
            ..contrast(
                "flattery, label first: size of toggle effect, conditional - vanilla",
                Decrease,
                0.3,
                |seed| {
                    size_difference(seed, ("flattery", "label-first"), "conditional-10", "vanilla")
                },
            )
        },
        Contrast {
            published: Some("always flattering: unconditional 62.6%, conditional 19.8%"),
            ..contrast(
                "flattery, label first: size of toggle effect, unconditional - conditional",
                Increase,
                0.1,
                |seed| {
                    let at = ("flattery", "label-first");
                    size_difference(seed, at, "unconditional-10", "conditional-10")
                },
            )
        },
        contrast(
            "flattery, factor first: size of toggle effect, unconditional - vanilla",
            Decrease,
            0.3,
            |seed| {
                size_difference(seed, ("flattery", "factor-first"), "unconditional-10", "vanilla")
            },
        ),
        contrast(
            "flattery, factor first: size of toggle effect, conditional - unconditional",
            Increase,
            0.1,
            |seed| {
                let at = ("flattery", "factor-first");
                size_difference(seed, at, "conditional-10", "unconditional-10")
            },
        ),
        contrast(
            "length, label first: size of toggle effect, conditional - vanilla",
            Decrease,
            0.3,
            |seed| size_difference(seed, ("length", "label-first"), "conditional-10", "vanilla"),
        ),
        contrast(
            "length, label first: size of toggle effect, unconditional - conditional",
            Increase,
            0.1,
            |seed| {
                let at = ("length", "label-first");
                size_difference(seed, at, "unconditional-10", "conditional-10")
            },
        ),
        contrast(
            "length, factor first: size of toggle effect, unconditional - vanilla",
            Decrease,
            0.3,
            |seed| size_difference(seed, ("length", "factor-first"), "unconditional-10", "vanilla"),
        ),
        contrast(
            "length, factor first: size of toggle effect, conditional - unconditional",
            Increase,
            0.1,
            |seed| {
                let at = ("length", "factor-first");
                size_difference(seed, at, "conditional-10", "unconditional-10")
            },
        ),
        contrast(
            "flattery, label first: accuracy on fair pairs, conditional - vanilla",
            NotBelow,
            0.02,
            |seed| {
                let arm = |method| arm("flattery", "label-first", method);
                seed.difference("accuracy", &arm("conditional-10"), &arm("vanilla"))
            },
        ),
    ]
}

pub(in super::super) fn controls() -> Vec<Control> {
    vec![
        Control {
            name: "flattery, label first, permuted factor: toggle effect - vanilla's",
            margin: 0.15,
            per_seed: |seed| difference(seed, ("flattery", "label-first"), "permuted", "vanilla"),
        },
        Control {
            name: "flattery, label first, wrong factor: toggle effect - vanilla's",
            margin: 0.15,
            per_seed: |seed| {
                difference(seed, ("flattery", "label-first"), "wrong-factor", "vanilla")
            },
        },
        Control {
            name: "flattery, factor first, permuted factor: toggle effect - vanilla's",
            margin: 0.15,
            per_seed: |seed| difference(seed, ("flattery", "factor-first"), "permuted", "vanilla"),
        },
        Control {
            name: "length, label first, permuted factor: toggle effect - vanilla's",
            margin: 0.15,
            per_seed: |seed| difference(seed, ("length", "label-first"), "permuted", "vanilla"),
        },
        Control {
            name: "length, factor first, permuted factor: toggle effect - vanilla's",
            margin: 0.15,
            per_seed: |seed| difference(seed, ("length", "factor-first"), "permuted", "vanilla"),
        },
    ]
}

/// Toggle effects of an arm at the seeds that all arms have: the points of a figure are of the same seeds.
fn shown_seeds(records: &Records, arm: &str) -> impl Iterator<Item = f64> {
    let effects = records.metric(arm, "toggle").into_iter();
    effects.filter(|(seed, _)| *seed < SHOWN_SEEDS).map(|(_, effect)| effect)
}

fn toggle(records: &Records, arm: &str) -> Result<Effect, ProtocolError> {
    Effect::over_seeds(&shown_seeds(records, arm).collect::<Vec<f64>>())
}

pub(in super::super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let mut figures = Vec::new();
    for (factor, _) in FACTORS {
        let n = shown_seeds(records, &arm(factor, "label-first", "vanilla")).count();
        let title = format!("{factor}: bias left, by weight of the penalty");
        let mut figure =
            Figure::lines(title, "weight λ", "toggle effect, standard deviations of the score", n)
                .x_scale(Scale::Log10)
                .reference("no bias", 0.0)
                .caption(
                    "The same text with and without the factor. Below 0 the factor is punished: too much was \
                     asked for. Names are structure and variant. Variants are compared at the largest weight: at smaller ones \
                     the unconditional line under label first is on its way through 0.",
                );
        for (structure, _) in &STRUCTURES[..2] {
            for (variant, _) in VARIANTS {
                let mut points = Vec::new();
                for weight in WEIGHTS {
                    let arm = arm(factor, structure, &format!("{variant}-{weight}"));
                    points.extend(Point::measured(weight, &toggle(records, &arm)?));
                }
                figure = figure.series(format!("{structure}, {variant}"), points);
            }
        }
        figures.push(figure);
    }
    let shown = [
        "vanilla",
        "conditional-10",
        "unconditional-10",
        "odin",
        "augmented",
        "regression",
        "bottleneck",
        "ensemble",
        "oracle",
        "permuted",
        "wrong-factor",
    ];
    for (factor, _) in FACTORS {
        let n = shown_seeds(records, &arm(factor, "label-first", "vanilla")).count();
        let title = format!("{factor}: what every method leaves");
        let mut figure =
            Figure::dots(title, shown, "toggle effect, standard deviations of the score", n)
                .reference("no bias", 0.0);
        for (structure, _) in STRUCTURES {
            let effects =
                shown.iter().map(|method| toggle(records, &arm(factor, structure, method)));
            figure = figure.by_category(structure, effects.collect::<Result<Vec<_>, _>>()?);
        }
        figures.push(figure);
    }
    Ok(figures)
}

pub(in super::super) fn tables(records: &Records) -> Vec<Table> {
    let metrics = [
        ("toggle effect", "toggle"),
        ("accuracy", "accuracy"),
        ("factor on the worse side", "accuracy, hard"),
        ("factor on the better side", "accuracy, easy"),
        ("R² of the factor", "read-out"),
        ("selected: factor", "selected/factor"),
        ("selected: quality", "selected/quality"),
    ];
    let mut tables = Vec::new();
    for (factor, _) in FACTORS {
        for (structure, _) in STRUCTURES {
            let columns = ["method"].into_iter().chain(metrics.map(|(name, _)| name));
            let mut table = Table::new(format!("{factor}, {structure}"), columns).note(
                "Toggle effect in standard deviations of the score. Accuracies on pairs with fair labels whose factor is by \
                 chance. Selected: best of 64 less a random response, in the factor (0 to 1) and in true quality. Methods that no \
                 contrast reads have three seeds.",
            );
            for (method, _) in methods() {
                let arm = arm(factor, structure, &method);
                let mut row = vec![TableValue::from(method.as_str())];
                row.extend(metrics.map(|(_, metric)| records.value(&arm, metric)));
                table = table.row(row);
            }
            tables.push(table);
        }
    }
    tables
}
