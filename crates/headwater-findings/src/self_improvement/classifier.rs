//! The classifier's loop under every source of labels, and how strong an anchor has to be.

use headwater_core::{Check, Streams};
use headwater_protocol::{
    CellError, Contrast, Control, Direction, Effect, Figure, Metrics, Point, ProtocolError,
    Records, Registered, SeedRecords, Table, TableValue,
};
use headwater_self_improvement::anchor::AnchorConfig;
use headwater_self_improvement::classifier::{self, Look, LoopConfig, Voters, World, WorldConfig};
use serde::{Deserialize, Serialize};

use crate::seeds::SHOWN_SEEDS;

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClassifierConfig {
    world: WorldConfig,
    course: LoopConfig,
    /// Looks after the first, at equal distances.
    looks: usize,
    /// Held-out prompts, and labelled ones for early stopping.
    test: usize,
    split: usize,
}

const LOOKS: usize = 20;
/// Small steps: Adam moves every weight by about the rate times the root of the steps whatever the reward says, which labels by chance
/// show. At four times the rate that alone costs as much accuracy as half of the collapse.
const RATE: f64 = 5e-4;
const STEPS: usize = 2000;
/// One in a hundred of the labels a supervised run would see of as many prompts as fit a look, rounded up.
const SPLIT: usize = 20;

const ACCURACIES: [f64; 4] = [0.3, 0.5, 0.7, 0.9];
const CORRELATIONS: [f64; 3] = [0.0, 0.4, 0.8];
const SHARES: [f64; 5] = [0.05, 0.1, 0.2, 0.3, 0.5];

fn judge_arm(accuracy: f64, correlation: f64) -> String {
    format!("judge-{accuracy}-{correlation}")
}

/// Every arm with what decides its results.
pub(super) fn arms(smoke: bool) -> Vec<(String, ClassifierConfig)> {
    let steps = if smoke { 40 } else { STEPS };
    let own = LoopConfig { learning_rate: RATE, steps, ..LoopConfig::default() };
    let anchored = |anchor| LoopConfig { anchor, ..own };
    let checkpoint = |voters| LoopConfig { voters, anchor: AnchorConfig::Checkpoint, ..own };
    let judge = |accuracy, correlation| anchored(AnchorConfig::Judge { accuracy, correlation });
    let mut courses = vec![
        ("own-majority".to_string(), own),
        ("group-4".into(), LoopConfig { group: 4, ..own }),
        ("fixed-16".into(), LoopConfig { pool: Some(16), ..own }),
        ("kl-0.3".into(), LoopConfig { kl: 0.3, ..own }),
        ("frozen".into(), checkpoint(Voters::Base)),
        ("chance".into(), anchored(AnchorConfig::Chance)),
        (judge_arm(0.1, 0.0), judge(0.1, 0.0)),
        ("gold".into(), anchored(AnchorConfig::Gold { share: 1.0 })),
        ("gold-0.1".into(), anchored(AnchorConfig::Gold { share: 0.1 })),
        ("moving-average".into(), checkpoint(Voters::Average { rate: 0.005 })),
        ("kl-0.05".into(), LoopConfig { kl: 0.05, ..own }),
        ("entropy-bonus".into(), LoopConfig { entropy: 0.05, ..own }),
        ("agreement-0.6".into(), LoopConfig { least_agreement: 0.6, ..own }),
        ("easy".into(), LoopConfig { least_confidence: 0.6, ..own }),
        ("rate-x4".into(), LoopConfig { learning_rate: 4.0 * RATE, ..own }),
        ("gold-0.3".into(), anchored(AnchorConfig::Gold { share: 0.3 })),
        ("gold-0.6".into(), anchored(AnchorConfig::Gold { share: 0.6 })),
    ];
    for accuracy in ACCURACIES {
        for correlation in CORRELATIONS {
            courses.push((judge_arm(accuracy, correlation), judge(accuracy, correlation)));
        }
    }
    for share in SHARES {
        let corrections = anchored(AnchorConfig::Corrections { share });
        courses.push((format!("corrections-{share}"), corrections));
        courses.push((format!("tool-{share}"), anchored(AnchorConfig::Tool { coverage: share })));
    }
    let config = |course| ClassifierConfig {
        world: WorldConfig { fit_steps: if smoke { 5 } else { 60 }, ..WorldConfig::default() },
        course,
        looks: if smoke { 4 } else { LOOKS },
        test: if smoke { 50 } else { 2000 },
        split: SPLIT,
    };
    courses.into_iter().map(|(arm, course)| (arm, config(course))).collect()
}

/// Runs one loop.
pub(super) fn run(config: &ClassifierConfig, streams: &Streams) -> Result<Metrics, CellError> {
    let world = World::new(config.world.check()?, streams);
    let settings = config.course.check()?;
    let sizes = (config.test, config.split);
    let course = classifier::run(&world, &settings, config.looks, sizes, streams);
    let (first, last) = (course.looks[0], course.looks[config.looks]);
    // Where the labelled split is best, the earliest of equals.
    let best =
        (0..=config.looks).rev().max_by(|a, b| course.labelled[*a].total_cmp(&course.labelled[*b]));
    let stopped = course.looks[best.unwrap_or(0)];
    let mut metrics = Metrics::new()
        .scalar("base accuracy", first.accuracy)
        .scalar("base greedy", first.greedy)
        .scalar("base top share", first.top_share)
        .scalar("accuracy", last.accuracy)
        .scalar("greedy", last.greedy)
        .scalar("pass@16", last.pass_at_16)
        .scalar("top share", last.top_share)
        .scalar("self-score excess", last.self_score_excess)
        .scalar("kl", last.kl)
        .scalar("gap", last.gap)
        .scalar("base gap", first.gap)
        .scalar("best accuracy", course.looks.iter().map(|l| l.accuracy).fold(0.0, f64::max))
        .scalar("early accuracy", course.looks[1].accuracy)
        .scalar("stopped accuracy", stopped.accuracy)
        .scalar("labels", course.imported.labels as f64)
        .scalar("verdicts", course.imported.verdicts as f64);
    let series = |of: fn(&Look) -> f64| course.looks.iter().map(of).collect::<Vec<f64>>();
    metrics = metrics
        .series("accuracy", series(|look| look.accuracy))
        .series("top share", series(|look| look.top_share))
        .series("pass@16", series(|look| look.pass_at_16))
        .series("self-score excess", series(|look| look.self_score_excess));
    Ok(metrics)
}

/// A metric of an arm at the end less that of its base.
fn gain(seed: &SeedRecords<'_>, arm: &str, metric: &str) -> Result<f64, ProtocolError> {
    Ok(seed.scalar(arm, metric)? - seed.scalar(arm, &format!("base {metric}"))?)
}

/// Accuracy of an arm less what the base's likeliest answers have: the level of its own majority.
fn above_cap(seed: &SeedRecords<'_>, arm: &str) -> Result<f64, ProtocolError> {
    Ok(seed.scalar(arm, "accuracy")? - seed.scalar(arm, "base greedy")?)
}

pub(super) fn contrasts() -> Vec<Contrast> {
    use Direction::{Decrease, Increase, NotBelow, Unchanged};
    let contrast = |name, direction, smallest_effect, per_seed| {
        Contrast::new(name, direction, smallest_effect, Registered::AfterPilot, per_seed)
    };
    vec![
        contrast("accuracy, own majority: end - base", Decrease, 0.1, |seed| {
            gain(seed, "own-majority", "accuracy")
        }),
        contrast("top-answer share, own majority: end - base", Increase, 0.2, |seed| {
            gain(seed, "own-majority", "top share")
        }),
        contrast("accuracy: own majority - labels by chance", Decrease, 0.1, |seed| {
            seed.difference("accuracy", "own-majority", "chance")
        }),
        Contrast {
            published: Some("+.05 to +.10 before the collapse (Reasoning Gym tasks)"),
            ..contrast("accuracy, own majority: after 100 steps - base", Increase, 0.01, |seed| {
                let early = seed.scalar("own-majority", "early accuracy")?;
                Ok(early - seed.scalar("own-majority", "base accuracy")?)
            })
        },
        // The paper's two directions that are known not to hold at this size.
        Contrast {
            published: Some("a larger KL coefficient does not prevent the collapse"),
            ..contrast("accuracy: own majority with KL 0.3 - without", Unchanged, 0.05, |seed| {
                seed.difference("accuracy", "kl-0.3", "own-majority")
            })
        },
        Contrast {
            published: Some("fewer rollouts per prompt delay it"),
            ..contrast("accuracy, own majority: groups of 4 - of 16", Increase, 0.02, |seed| {
                seed.difference("accuracy", "group-4", "own-majority")
            })
        },
        Contrast {
            published: Some("no collapse on 30 prompts that come again and again"),
            ..contrast(
                "accuracy, own majority: 16 fixed prompts - fresh ones",
                Increase,
                0.1,
                |seed| seed.difference("accuracy", "fixed-16", "own-majority"),
            )
        },
        contrast(
            "accuracy, frozen checkpoint's labels, less the base's greedy",
            Unchanged,
            0.03,
            |seed| above_cap(seed, "frozen"),
        ),
        contrast(
            "what imports nothing, the best accuracy less the base's greedy",
            Unchanged,
            0.03,
            |seed| {
                let mut best = f64::NEG_INFINITY;
                for arm in ["own-majority", "group-4", "fixed-16", "kl-0.3", "frozen"] {
                    best = best.max(above_cap(seed, arm)?);
                }
                Ok(best)
            },
        ),
        contrast("accuracy: gold - frozen checkpoint", Increase, 0.05, |seed| {
            seed.difference("accuracy", "gold", "frozen")
        }),
        contrast(
            "accuracy: independent judge right in 7 of 10 - frozen checkpoint",
            Increase,
            0.05,
            |seed| seed.difference("accuracy", &judge_arm(0.7, 0.0), "frozen"),
        ),
        contrast(
            "accuracy, users correct 3 of 10 wrong majorities: end - base",
            Increase,
            0.02,
            |seed| gain(seed, "corrections-0.3", "accuracy"),
        ),
        contrast("accuracy, a tool checks 3 of 10 prompts: end - base", Increase, 0.02, |seed| {
            gain(seed, "tool-0.3", "accuracy")
        }),
        contrast("accuracy, 1 of 10 labels of gold: end - base", Decrease, 0.05, |seed| {
            gain(seed, "gold-0.1", "accuracy")
        }),
        Contrast {
            published: Some("early stopping on 1% labels finds the peak"),
            ..contrast(
                "accuracy, own majority: stopped by 20 labels - at the end",
                Increase,
                0.1,
                |seed| {
                    let stopped = seed.scalar("own-majority", "stopped accuracy")?;
                    Ok(stopped - seed.scalar("own-majority", "accuracy")?)
                },
            )
        },
        contrast("accuracy, own majority: stopped by 20 labels - base", NotBelow, 0.02, |seed| {
            let stopped = seed.scalar("own-majority", "stopped accuracy")?;
            Ok(stopped - seed.scalar("own-majority", "base accuracy")?)
        }),
    ]
}

pub(super) fn controls() -> Vec<Control> {
    vec![
        Control {
            name: "labels by chance: top-answer share, end - base",
            margin: 0.05,
            per_seed: |seed| gain(seed, "chance", "top share"),
        },
        // It imports a label for every prompt, and they tell nothing.
        Control {
            name: "a judge right in 1 of 10: accuracy, less that under labels by chance",
            margin: 0.05,
            per_seed: |seed| seed.difference("accuracy", &judge_arm(0.1, 0.0), "chance"),
        },
    ]
}

/// Arm and label of what the first figures show.
const SHOWN: [(&str, &str); 9] = [
    ("own-majority", "own majority"),
    ("kl-0.3", "own majority, KL 0.3"),
    ("fixed-16", "own majority, 16 prompts"),
    ("frozen", "frozen checkpoint"),
    ("chance", "labels by chance"),
    ("judge-0.7-0", "judge, 7 of 10"),
    ("corrections-0.3", "users, 3 of 10"),
    ("gold-0.1", "gold, 1 of 10"),
    ("gold", "gold"),
];

pub(super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let n = records.seeds().len();
    let by_step = |title: &str, label: &str, series: &str, caption: &str| {
        let mut figure =
            Figure::lines(title, "steps", label, n).value_range(0.0, 1.0).caption(caption);
        for (arm, label) in SHOWN {
            let effects = records.series_effect(arm, series)?;
            let per_look = STEPS as f64 / (effects.len().max(2) - 1) as f64;
            let points = effects.iter().enumerate();
            let points =
                points.filter_map(|(at, effect)| Point::measured(at as f64 * per_look, effect));
            figure = figure.series(label, points);
        }
        Ok::<Figure, ProtocolError>(figure)
    };
    let accuracy = by_step(
        "Accuracy by source of labels",
        "probability of the right answer",
        "accuracy",
        "On prompts that no step saw. Everything starts from one base per seed.",
    )?;
    let alike = by_step(
        "How alike prompts are answered",
        "share of prompts with the most common likeliest answer",
        "top share",
        "At 1 all prompts are answered alike, and agreement is perfect.",
    )?;
    let coverage = by_step(
        "Coverage",
        "probability that one of 16 answers is right",
        "pass@16",
        "What the variety of answers is worth: a policy may gain accuracy and lose this.",
    )?;
    Ok(vec![accuracy, alike, coverage, judges(records)?, strengths(records)?])
}

/// Gain over the base of the arm at each place, over the first few seeds that all places have.
fn gains(
    records: &Records,
    places: &[f64],
    arm: impl Fn(f64) -> String,
) -> Result<Vec<Point>, ProtocolError> {
    let mut points = Vec::new();
    for place in places {
        let seeds = records.seeds().into_iter().filter(|seed| *seed < SHOWN_SEEDS);
        let gain = |seed| gain(&records.seed(seed), &arm(*place), "accuracy").ok();
        let effect = Effect::over_seeds(&seeds.filter_map(gain).collect::<Vec<f64>>())?;
        points.extend(Point::measured(*place, &effect));
    }
    Ok(points)
}

fn judges(records: &Records) -> Result<Figure, ProtocolError> {
    let n = records.seeds().len().min(SHOWN_SEEDS as usize);
    let mut figure = Figure::lines(
        "A judge's accuracy and its correlation with the policy's errors",
        "probability that the judge's label is right",
        "accuracy after 2,000 steps, less the base's",
        n,
    )
    .reference("base", 0.0)
    .caption("Above the line the loop improves, below it falls. The base's majority is right in about half of the prompts.");
    for correlation in CORRELATIONS {
        let points = gains(records, &ACCURACIES, |accuracy| judge_arm(accuracy, correlation))?;
        figure = figure.series(format!("correlation {correlation}"), points);
    }
    Ok(figure)
}

fn strengths(records: &Records) -> Result<Figure, ProtocolError> {
    let n = records.seeds().len().min(SHOWN_SEEDS as usize);
    let mut figure = Figure::lines(
        "How much has to be corrected or checked",
        "share of wrong majorities corrected, or of prompts checked",
        "accuracy after 2,000 steps, less the base's",
        n,
    )
    .reference("base", 0.0)
    .caption("Where a line crosses the base's, collapse turns into improvement.");
    for (name, label) in [("corrections", "user corrections"), ("tool", "tool")] {
        let points = gains(records, &SHARES, |share| format!("{name}-{share}"))?;
        figure = figure.series(label, points);
    }
    Ok(figure)
}

pub(super) fn tables(records: &Records) -> Vec<Table> {
    let columns = [
        ("accuracy", "accuracy"),
        ("highest", "best accuracy"),
        ("after 100 steps", "early accuracy"),
        ("stopped by 20 labels", "stopped accuracy"),
        ("greedy", "greedy"),
        ("pass@16", "pass@16"),
        ("top-answer share", "top share"),
        ("self-score less accuracy", "self-score excess"),
        ("KL to base", "kl"),
        ("gap", "gap"),
        ("labels imported", "labels"),
        ("verdicts imported", "verdicts"),
    ];
    let headings = ["arm"].into_iter().chain(columns.map(|(heading, _)| heading));
    let mut table = Table::new("Every arm after 2,000 steps", headings).note(
        "Exact expectations over answers at temperature 1. Gap: what weighing answers by their own probability would gain. A label is a right answer given \
         away, a verdict says of one answer whether it is right. Highest is over looks, and needs the truth to be found. Arms that no contrast needs have three seeds.",
    );
    for (arm, _) in arms(false) {
        let mut row = vec![TableValue::from(arm.as_str())];
        row.extend(columns.map(|(_, metric)| records.value(&arm, metric)));
        table = table.row(row);
    }
    vec![table]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arm_is_valid_has_a_name_of_its_own_and_what_is_shown_exists() {
        let arms = arms(false);
        for (at, (name, config)) in arms.iter().enumerate() {
            assert!(arms[..at].iter().all(|(other, _)| other != name), "{name}");
            assert!(config.course.check().is_ok() && config.world.check().is_ok(), "{name}");
        }
        for (arm, _) in SHOWN {
            assert!(arms.iter().any(|(name, _)| name == arm), "{arm}");
        }
    }

    #[test]
    fn arms_differ_in_one_thing() {
        let arms = arms(false);
        let of = |name: &str| arms.iter().find(|(arm, _)| arm == name).unwrap().1.course;
        let own = of("own-majority");
        assert_eq!(LoopConfig { group: 16, ..of("group-4") }, own);
        assert_eq!(LoopConfig { kl: 0.0, ..of("kl-0.3") }, own);
        assert_eq!(LoopConfig { pool: None, ..of("fixed-16") }, own);
        for arm in ["gold", "chance", "corrections-0.3", "tool-0.3", "judge-0.7-0"] {
            assert_eq!(LoopConfig { anchor: own.anchor, ..of(arm) }, own, "{arm}");
        }
    }
}
