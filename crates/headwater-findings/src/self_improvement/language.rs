//! A decoder on its own text: what of its data is real decides whether it drifts from the source, and its tails go first.
//!
//! Control: a round that is trained on new real text only. There is no loop then, and nothing may drift. All rounds of all arms but one
//! take the same number of optimiser steps; where text accumulates they see more of it, each text less often, which is why one
//! arm's steps grow with its text.

use headwater_core::{Check, Streams};
use headwater_nn::Device;
use headwater_protocol::{
    CellError, Contrast, Control, Direction, Figure, Metrics, Point, ProtocolError, Records,
    Registered, SeedRecords, Table, TableValue,
};
use headwater_self_improvement::collapse::DataPolicy;
use headwater_self_improvement::collapse::language::{LanguageConfig as LoopConfig, RoundMeasure};
use headwater_self_improvement::collapse::source::{Source, SourceConfig};
use serde::{Deserialize, Serialize};

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LanguageConfig {
    source: SourceConfig,
    course: LoopConfig,
}

const ROUNDS: usize = 8;

/// Arm, label and loop.
fn courses() -> [(&'static str, &'static str, LoopConfig); 8] {
    let replace = LoopConfig { rounds: ROUNDS, ..LoopConfig::default() };
    let cool = LoopConfig { temperature: 0.8, ..replace };
    let accumulate = LoopConfig { data: DataPolicy::Accumulate, ..replace };
    let in_proportion = LoopConfig { steps_grow: true, ..accumulate };
    let real =
        |share, fresh| LoopConfig { data: DataPolicy::RealShare { share, fresh }, ..replace };
    [
        ("replace", "replaced", replace),
        ("cool", "replaced, temperature 0.8", cool),
        ("accumulate", "accumulated", accumulate),
        ("accumulate-steps", "accumulated, steps in proportion", in_proportion),
        ("real-0.1-kept", "1 of 10 real, the same", real(0.1, false)),
        ("real-0.1-fresh", "1 of 10 real, new", real(0.1, true)),
        ("real-0.5-kept", "half real, the same", real(0.5, false)),
        ("real", "all real, new", real(1.0, true)),
    ]
}

fn arm(course: &str) -> String {
    format!("language-{course}")
}

/// Every arm with what decides its results.
pub(super) fn arms(smoke: bool) -> Vec<(String, LanguageConfig)> {
    let shortened = |course: LoopConfig| {
        if smoke { LoopConfig { steps: 5, rows: 20, test_rows: 8, ..course } } else { course }
    };
    let config =
        |course| LanguageConfig { source: SourceConfig::default(), course: shortened(course) };
    let courses = courses().into_iter();
    courses.map(|(name, _, course)| (arm(name), config(course))).collect()
}

/// Runs one loop.
pub(super) fn run(
    config: &LanguageConfig,
    device: &Device,
    streams: &Streams,
) -> Result<Metrics, CellError> {
    let streams = streams.child("language", &[]);
    let source = Source::new(config.source.check()?, &streams);
    let measures = config.course.check()?.run(&source, device, &streams)?;
    let mut metrics = Metrics::new().scalar("source entropy", source.entropy());
    let measured = |of: fn(&RoundMeasure) -> f64| measures.iter().map(of).collect::<Vec<f64>>();
    for (name, series) in [
        ("excess", measured(|m| m.excess)),
        ("rare", measured(|m| m.rare)),
        ("frequent", measured(|m| m.frequent)),
        ("rare mass", measured(|m| m.rare_mass)),
        ("entropy", measured(|m| m.entropy)),
        ("quality", measured(|m| m.quality)),
    ] {
        metrics = metrics
            .scalar(format!("{name}, first"), series[0])
            .scalar(format!("{name}, middle"), series[ROUNDS / 2 - 1])
            .scalar(format!("{name}, last"), series[ROUNDS - 1])
            .scalar(format!("{name}, second half"), mean(&series[ROUNDS / 2..]))
            .series(name, series);
    }
    Ok(metrics)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// A metric of an arm's last round, less that of an earlier one.
fn since(seed: &SeedRecords<'_>, course: &str, round: &str) -> Result<f64, ProtocolError> {
    let of = |round| seed.scalar(&arm(course), &format!("excess, {round}"));
    Ok(of("last")? - of(round)?)
}

/// The last round's metric of one arm less that of another.
fn between(
    seed: &SeedRecords<'_>,
    metric: &str,
    [course, other]: [&str; 2],
) -> Result<f64, ProtocolError> {
    seed.difference(&format!("{metric}, last"), &arm(course), &arm(other))
}

/// How much more rare symbols have lost than frequent ones, at a `time` of the loop, in an arm less where nothing loops.
fn tail_first(seed: &SeedRecords<'_>, course: &str, time: &str) -> Result<f64, ProtocolError> {
    let of = |course: &str| -> Result<f64, ProtocolError> {
        let arm = arm(course);
        let rare = seed.scalar(&arm, &format!("rare, {time}"))?;
        Ok(rare - seed.scalar(&arm, &format!("frequent, {time}"))?)
    };
    Ok(of(course)? - of("real")?)
}

pub(super) fn contrasts() -> Vec<Contrast> {
    use Direction::{Decrease, Increase, NotBelow, Unchanged};
    let contrast = |name, direction, smallest_effect, per_seed| {
        Contrast::new(name, direction, smallest_effect, Registered::AfterPilot, per_seed)
    };
    vec![
        Contrast {
            published: Some("loss 2.85 to 3.45 in 10 rounds (125M model)"),
            ..contrast("own text: excess, replaced - all real, round 8", Increase, 0.1, |seed| {
                between(seed, "excess", ["replace", "real"])
            })
        },
        contrast("own text: excess, accumulated - replaced, round 8", Decrease, 0.1, |seed| {
            between(seed, "excess", ["accumulate", "replace"])
        }),
        contrast("own text: excess, replaced, round 8 - round 4", Increase, 0.05, |seed| {
            since(seed, "replace", "middle")
        }),
        // The margin tells it from what replacing does.
        contrast("own text: excess, accumulated, round 8 - round 4", Unchanged, 0.05, |seed| {
            since(seed, "accumulate", "middle")
        }),
        Contrast {
            published: Some("loss 2.85 to 2.78 (125M model)"),
            ..contrast("own text: excess, accumulated, round 8 - round 1", NotBelow, 0.02, |seed| {
                since(seed, "accumulate", "first")
            })
        },
        Contrast {
            published: Some("perplexity 20 to 28 without, minor loss with (OPT-125m)"),
            ..contrast(
                "own text: excess, 1 of 10 real and kept - replaced, round 8",
                Decrease,
                0.05,
                |seed| between(seed, "excess", ["real-0.1-kept", "replace"]),
            )
        },
        Contrast {
            published: Some("only new real data keeps quality, kept data delay the loss"),
            ..contrast(
                "own text: excess, 1 of 10 real, new - kept, round 8",
                Decrease,
                0.02,
                |seed| between(seed, "excess", ["real-0.1-fresh", "real-0.1-kept"]),
            )
        },
        contrast(
            "own text: excess, half real and kept - all real, round 8",
            Increase,
            0.02,
            |seed| between(seed, "excess", ["real-0.5-kept", "real"]),
        ),
        Contrast {
            published: Some("tails vanish first"),
            ..contrast(
                "own text: log of what is left, rare - frequent, replaced, rounds 5 to 8",
                Decrease,
                0.1,
                |seed| tail_first(seed, "replace", "second half"),
            )
        },
        contrast(
            "own text: log of what is left, rare - frequent, temperature 0.8, round 4",
            Decrease,
            0.5,
            |seed| tail_first(seed, "cool", "middle"),
        ),
        Contrast {
            published: Some("cherry-picking keeps quality and loses diversity"),
            ..contrast("own text: entropy, temperature 0.8 - 1, round 8", Decrease, 0.5, |seed| {
                between(seed, "entropy", ["cool", "replace"])
            })
        },
        contrast("own text: quality, temperature 0.8 - all real, round 8", NotBelow, 0.1, |seed| {
            between(seed, "quality", ["cool", "real"])
        }),
    ]
}

pub(super) fn controls() -> Vec<Control> {
    vec![Control {
        name: "own text, all real and new: excess, round 8 - round 1",
        margin: 0.05,
        per_seed: |seed| since(seed, "real", "first"),
    }]
}

/// Effects of a series by round.
fn by_round(records: &Records, course: &str, series: &str) -> Result<Vec<Point>, ProtocolError> {
    let effects = records.series_effect(&arm(course), series)?;
    let points = effects.iter().enumerate();
    Ok(points.filter_map(|(at, effect)| Point::measured((at + 1) as f64, effect)).collect())
}

pub(super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let n = records.seeds().len();
    let label = "KL of the source from the model, nats a symbol";
    let mut excess = Figure::lines("A decoder on its own text", "round", label, n)
        .value_range(0.0, 1.0)
        .caption(
            "Each round trains new weights. At temperature 0.8 the line leaves the figure: the table has its end.",
        );
    for (name, label, _) in courses() {
        excess = excess.series(label, by_round(records, name, "excess")?);
    }
    let label = "mean log of the model's probability over the source's";
    let mut tails = Figure::lines("Rare and frequent symbols", "round", label, n)
        .caption("Rare: the least common quarter of the symbols; frequent: the most common one. 0 is the source.");
    for (name, label) in
        [("replace", "replaced"), ("cool", "temperature 0.8"), ("real", "all real")]
    {
        for part in ["rare", "frequent"] {
            tails = tails.series(format!("{label}, {part}"), by_round(records, name, part)?);
        }
    }
    Ok(vec![excess, tails])
}

pub(super) fn tables(records: &Records) -> Vec<Table> {
    let columns = [
        "text",
        "excess, round 1",
        "round 4",
        "round 8",
        "rare, log left",
        "frequent, log left",
        "rare mass, of 1",
        "entropy",
        "quality",
        "source's entropy",
    ];
    let mut table = Table::new("A decoder on its own text", columns).note(
        "Excess: KL of the source from the model, nats a symbol. After round 8: log of the model's probability over the source's, a mean over rare or frequent symbols; the \
         rare symbols' mass over the source's; entropy of the next symbol; quality, the log-probability under the source of what the model writes (the \
         source's own text has minus its entropy).",
    );
    let metrics = [
        "excess, first",
        "excess, middle",
        "excess, last",
        "rare, last",
        "frequent, last",
        "rare mass, last",
        "entropy, last",
        "quality, last",
        "source entropy",
    ];
    for (name, label, _) in courses() {
        let mut row = vec![TableValue::from(label)];
        row.extend(metrics.map(|metric| records.value(&arm(name), metric)));
        table = table.row(row);
    }
    vec![table]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arm_runs_and_has_a_name_of_its_own() {
        let arms = arms(true);
        for (at, (name, config)) in arms.iter().enumerate() {
            assert!(arms[..at].iter().all(|(other, _)| other != name), "{name}");
            let device = Device::flex().autodiff();
            assert!(run(config, &device, &Streams::new(1)).is_ok(), "{name}");
        }
    }
}
