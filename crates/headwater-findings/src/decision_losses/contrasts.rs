//! What is compared: the paper's claim, the theory behind it, and what must vanish.
//!
//! WT is weighted training, XP ex-post weighting; a loss is the weighted one.

use headwater_protocol::{
    Contrast, Control, Direction, PerSeed, ProtocolError, Registered, SeedRecords,
};

use super::measure::WEIGHTS;
use super::{ADULT, OPTIMIZERS, XRAY};

/// Relative differences in weighted loss that matter, by source. Networks on X-rays differ more by their initial weights.
const ADULT_EFFECT: f64 = 0.005;
const XRAY_EFFECT: f64 = 0.05;

/// Largest relative difference at which an unweighted arm at another learning rate counts as the weighted one; E[rho(q)] is one
/// number for posteriors that differ.
const SAME_RATE_EFFECT: f64 = 0.02;

/// Metric of the first arm over that of the second, less 1.
fn ratio(
    seed: &SeedRecords<'_>,
    metric: &str,
    [arm, against]: [&str; 2],
) -> Result<f64, ProtocolError> {
    Ok(seed.scalar(arm, metric)? / seed.scalar(against, metric)? - 1.0)
}

/// WT over XP - 1 of a metric in one cell: `group` is population and optimiser.
pub(super) fn relative(
    seed: &SeedRecords<'_>,
    group: &str,
    weights: &str,
    metric: &str,
) -> Result<f64, ProtocolError> {
    let arms = [format!("{group}.weighted-{weights}"), format!("{group}.unweighted")];
    ratio(seed, &format!("{weights}/{metric}"), arms.each_ref().map(String::as_str))
}

/// The mean of `of(group, weights)` over all cells of some populations.
pub(super) fn over_cells(
    populations: &[&str],
    optimizers: &[&str],
    of: impl Fn(&str, &str) -> Result<f64, ProtocolError>,
) -> Result<f64, ProtocolError> {
    let (mut sum, mut count) = (0.0, 0.0);
    for population in populations {
        for optimizer in optimizers {
            for (weights, _) in WEIGHTS {
                sum += of(&format!("{population}.{optimizer}"), weights)?;
                count += 1.0;
            }
        }
    }
    Ok(sum / count)
}

/// WT - XP in AUC.
pub(super) fn auc(
    seed: &SeedRecords<'_>,
    group: &str,
    weights: &str,
) -> Result<f64, ProtocolError> {
    let weighted = format!("{group}.weighted-{weights}");
    seed.difference("auc", &weighted, &format!("{group}.unweighted"))
}

/// WT over XP - 1 in loss of rare adults cut short under SGD, the unweighted arm having the learning rate times E[rho(q)].
fn at_rate(seed: &SeedRecords<'_>, weights: &str) -> Result<f64, ProtocolError> {
    let arms =
        ["weighted", "unweighted-rate"].map(|arm| format!("adult-rare-short.sgd.{arm}-{weights}"));
    ratio(seed, &format!("{weights}/loss"), arms.each_ref().map(String::as_str))
}

/// WT over XP - 1 in loss, counted as positive where it has the sign that E[rho(q)] predicts.
fn as_predicted(seed: &SeedRecords<'_>, group: &str, weights: &str) -> Result<f64, ProtocolError> {
    let incentive = seed.scalar(&format!("{group}.unweighted"), &format!("{weights}/incentive"))?;
    let predicted = if incentive < 1.0 { 1.0 } else { -1.0 };
    Ok(predicted * relative(seed, group, weights, "loss")?)
}

/// The contrast of one cell; what it says of the difference follows from E[rho(q)] in the pilot: above 1.1 weighted
/// training is better, below 0.9 ex-post weighting is, between there is no difference.
macro_rules! cell {
    ($population:literal, $optimizer:literal, $weights:literal, $direction:ident, $effect:expr) => {
        Contrast::new(
            concat!($population, ", ", $optimizer, ", b = .", $weights, ": loss, WT over XP - 1"),
            Direction::$direction,
            $effect,
            Registered::AfterPilot,
            |seed| relative(seed, concat!($population, ".", $optimizer), $weights, "loss"),
        )
    };
}

/// A contrast over cells.
fn over(
    name: &'static str,
    direction: Direction,
    smallest_effect: f64,
    per_seed: PerSeed,
) -> Contrast {
    Contrast::new(name, direction, smallest_effect, Registered::AfterPilot, per_seed)
}

pub(super) fn contrasts() -> Vec<Contrast> {
    use Direction::{Decrease, Increase};
    vec![
        // The paper's claim, which makes no exception.
        over("all adult cells: loss, WT over XP - 1", Increase, ADULT_EFFECT, |seed| {
            over_cells(&ADULT, &OPTIMIZERS, |group, b| relative(seed, group, b, "loss"))
        }),
        over("all x-ray cells: loss, WT over XP - 1", Increase, XRAY_EFFECT, |seed| {
            over_cells(&XRAY, &OPTIMIZERS, |group, b| relative(seed, group, b, "loss"))
        }),
        // The same where the scale of the loss is not felt, so that no budget can take it away.
        over("adult cells under Adam: loss, WT over XP - 1", Increase, ADULT_EFFECT, |seed| {
            over_cells(&ADULT, &["adam"], |group, b| relative(seed, group, b, "loss"))
        }),
        over("x-ray cells under Adam: loss, WT over XP - 1", Increase, XRAY_EFFECT, |seed| {
            over_cells(&XRAY, &["adam"], |group, b| relative(seed, group, b, "loss"))
        }),
        over(
            "all adult cells: cost of decisions, WT over XP - 1",
            Increase,
            ADULT_EFFECT,
            |seed| over_cells(&ADULT, &OPTIMIZERS, |group, b| relative(seed, group, b, "cost")),
        ),
        over("all x-ray cells: cost of decisions, WT over XP - 1", Increase, XRAY_EFFECT, |seed| {
            over_cells(&XRAY, &OPTIMIZERS, |group, b| relative(seed, group, b, "cost"))
        }),
        over("all adult cells: AUC, WT - XP", Decrease, 0.001, |seed| {
            over_cells(&ADULT, &OPTIMIZERS, |group, b| auc(seed, group, b))
        }),
        over("all x-ray cells: AUC, WT - XP", Decrease, 0.001, |seed| {
            over_cells(&XRAY, &OPTIMIZERS, |group, b| auc(seed, group, b))
        }),
        // The theory: weights that counteract rarity reward learning, weights that add to it punish it. Signed by each
        // seed's own E[rho(q)].
        over(
            "adult-rare: loss, WT over XP - 1, signed as E[rho] predicts",
            Increase,
            ADULT_EFFECT,
            |seed| {
                over_cells(&["adult-rare"], &OPTIMIZERS, |group, b| as_predicted(seed, group, b))
            },
        ),
        over(
            "adult-rare-short, sgd: loss, WT over XP - 1, signed as E[rho] predicts",
            Increase,
            ADULT_EFFECT,
            |seed| {
                over_cells(&["adult-rare-short"], &["sgd"], |group, b| as_predicted(seed, group, b))
            },
        ),
        // Is it the reward to learning, or a learning rate? The unweighted arm with its rate times E[rho(q)].
        over(
            "adult-rare-short, sgd, b = .10: loss, WT over XP at the rate times E[rho] - 1",
            Direction::Unchanged,
            SAME_RATE_EFFECT,
            |seed| at_rate(seed, "10"),
        ),
        over(
            "adult-rare-short, sgd, b = .90: loss, WT over XP at the rate times E[rho] - 1",
            Direction::Unchanged,
            SAME_RATE_EFFECT,
            |seed| at_rate(seed, "90"),
        ),
        cell!("adult-rare", "adam", "10", Increase, ADULT_EFFECT),
        cell!("adult-rare", "adam", "90", Decrease, ADULT_EFFECT),
        cell!("adult-rare", "sgd", "10", Increase, ADULT_EFFECT),
        cell!("adult-rare", "sgd", "90", Decrease, ADULT_EFFECT),
        // Adam does not feel the level of the loss, so that cut short it should have learnt as much either way.
        cell!("adult-rare-short", "adam", "10", Unchanged, ADULT_EFFECT),
        cell!("adult-rare-short", "adam", "90", Unchanged, ADULT_EFFECT),
        cell!("adult-rare-short", "sgd", "10", Increase, ADULT_EFFECT),
        cell!("adult-rare-short", "sgd", "90", Decrease, ADULT_EFFECT),
        cell!("adult-natural", "adam", "10", Increase, ADULT_EFFECT),
        cell!("adult-natural", "adam", "90", Unchanged, ADULT_EFFECT),
        cell!("adult-natural", "sgd", "10", Increase, ADULT_EFFECT),
        cell!("adult-natural", "sgd", "90", Unchanged, ADULT_EFFECT),
        cell!("adult-balanced", "adam", "10", Increase, ADULT_EFFECT),
        cell!("adult-balanced", "adam", "90", Increase, ADULT_EFFECT),
        cell!("adult-balanced", "sgd", "10", Increase, ADULT_EFFECT),
        cell!("adult-balanced", "sgd", "90", Increase, ADULT_EFFECT),
        cell!("xray-balanced", "adam", "10", Increase, XRAY_EFFECT),
        cell!("xray-balanced", "adam", "90", Increase, XRAY_EFFECT),
        cell!("xray-balanced", "sgd", "10", Increase, XRAY_EFFECT),
        cell!("xray-balanced", "sgd", "90", Increase, XRAY_EFFECT),
        cell!("xray-frequent", "adam", "10", Decrease, XRAY_EFFECT),
        cell!("xray-frequent", "adam", "90", Increase, XRAY_EFFECT),
        cell!("xray-frequent", "sgd", "10", Decrease, XRAY_EFFECT),
        cell!("xray-frequent", "sgd", "90", Increase, XRAY_EFFECT),
    ]
}

/// The loss of networks with weights 1 and 1 and streams of their own over that of the unweighted ones, less 1.
fn again(seed: &SeedRecords<'_>, populations: &[&str]) -> Result<f64, ProtocolError> {
    let mut sum = 0.0;
    for population in populations {
        let arms = [format!("{population}.adam.again"), format!("{population}.adam.unweighted")];
        sum += ratio(seed, "posterior/loss", arms.each_ref().map(String::as_str))?;
    }
    Ok(sum / populations.len() as f64)
}

pub(super) fn controls() -> Vec<Control> {
    vec![
        Control {
            name: "adult, weights 1 and 1: loss, WT over XP - 1",
            margin: ADULT_EFFECT,
            per_seed: |seed| again(seed, &ADULT),
        },
        Control {
            name: "x-rays, weights 1 and 1: loss, WT over XP - 1",
            margin: XRAY_EFFECT,
            per_seed: |seed| again(seed, &XRAY),
        },
        Control {
            name: "adult, labels permuted: loss, WT over XP - 1",
            margin: ADULT_EFFECT,
            per_seed: |seed| {
                let arms = [
                    "adult-natural.adam.weighted-90-permuted",
                    "adult-natural.adam.unweighted-permuted",
                ];
                ratio(seed, "90/loss", arms)
            },
        },
    ]
}

/// The loss of an arm whose weights shift the logit in its loss, over that of ex-post weighting, less 1.
pub(super) fn logit_adjusted(
    seed: &SeedRecords<'_>,
    population: &str,
    weights: &str,
) -> Result<f64, ProtocolError> {
    let arms = ["logit-adjusted", "unweighted"].map(|arm| format!("{population}.adam.{arm}"));
    ratio(seed, &format!("{weights}/loss"), arms.each_ref().map(String::as_str))
}

/// One metric of an arm over another of the same arm, less 1.
pub(super) fn ratio_of(
    seed: &SeedRecords<'_>,
    arm: &str,
    [metric, against]: [&str; 2],
) -> Result<f64, ProtocolError> {
    Ok(seed.scalar(arm, metric)? / seed.scalar(arm, against)? - 1.0)
}

#[cfg(test)]
mod tests {
    use headwater_protocol::{Metrics, Records};

    use super::*;

    /// Rare adults under one optimiser, with losses of the two ways, and E[rho(q)] under b = .10 and .90.
    fn records(weighted: [f64; 2], unweighted: [f64; 2]) -> Records {
        let mut cells = Vec::new();
        for optimizer in OPTIMIZERS {
            let group = format!("adult-rare.{optimizer}");
            let mut both = Metrics::new().scalar("10/incentive", 0.2).scalar("90/incentive", 1.5);
            for (at, (weights, _)) in WEIGHTS.into_iter().enumerate() {
                let name = format!("{weights}/loss");
                let metrics = Metrics::new().scalar(&name, weighted[at]);
                cells.push((format!("{group}.weighted-{weights}"), 0, metrics));
                both = both.scalar(name, unweighted[at]);
            }
            cells.push((format!("{group}.unweighted"), 0, both));
        }
        Records::new(cells)
    }

    #[test]
    fn a_difference_counts_by_the_sign_that_is_predicted() {
        // Worse by 10% where ex-post weighting is predicted, better by 20% where weighted training is.
        let records = records([1.1, 0.8], [1.0, 1.0]);
        let seed = records.seed(0);
        let close =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}");
        close(relative(&seed, "adult-rare.adam", "10", "loss").unwrap(), 0.1);
        close(relative(&seed, "adult-rare.sgd", "90", "loss").unwrap(), -0.2);
        let mean = |of: fn(&SeedRecords<'_>, &str, &str) -> Result<f64, ProtocolError>| {
            over_cells(&["adult-rare"], &OPTIMIZERS, |group, b| of(&seed, group, b)).unwrap()
        };
        close(mean(|seed, group, b| relative(seed, group, b, "loss")), -0.05);
        close(mean(as_predicted), 0.15);
    }

    #[test]
    fn names_are_unique_and_every_cell_of_the_claim_has_a_contrast() {
        let contrasts = contrasts();
        let mut names: Vec<&str> = contrasts.iter().map(|contrast| contrast.name).collect();
        for population in ADULT.iter().chain(&XRAY) {
            for optimizer in OPTIMIZERS {
                for (weights, _) in WEIGHTS {
                    let cell = format!("{population}, {optimizer}, b = .{weights}: ");
                    assert!(names.iter().any(|name| name.starts_with(&cell)), "{cell}");
                }
            }
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
