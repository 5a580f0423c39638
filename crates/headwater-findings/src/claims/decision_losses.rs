//! Putting a decision's costs into the training loss, against training without them and applying
//! them afterwards.
//!
//! Autor, Caplin, Martin and Marx 2025 (arXiv 2511.07699): a utility-weighted loss makes a
//! classifier choose right and can make it learn less, so that it is better, by the weighted loss
//! and by the utility of decisions, to train on the plain loss and adjust predictions.
//!
//! The theory behind the claim also says when it should fail. The weights multiply the reward to
//! learning at posterior q by rho(q) = w_1 w_0 / (w_1 q + w_0 (1 - q)); so weighted training should
//! lose where E[rho(q)] is below 1 and win where it is above. Each cell's direction was fixed from
//! E[rho(q)] in a pilot; the paper's blanket claim has contrasts of its own.
//!
//! Controls: weights 1 and 1, where the two are one objective; labels permuted, where there is
//! nothing to learn and only choosing is left. WT is weighted training, XP ex-post weighting; a
//! loss is the weighted one. A cell is a population, an optimiser and weights.

use headwater_protocol::{Arm, Claim, Contrast, Control, Direction, Finding, Measure, Scalar};
use headwater_report::Chapter;

use crate::experiments::decision_losses::{
    ADULT, AUC, DecisionLosses, LOSS_OF_POSTERIOR, OPTIMIZERS, SHORT, WEIGHTS, XRAY, again,
    at_rate, cost, incentive, loss, unweighted, unweighted_permuted, weighted, weighted_permuted,
};
use crate::experiments::decision_losses_table::DecisionLossesTable;
use headwater_data::DataDir;

mod page;

/// Relative differences in weighted loss that matter, by source. Networks on X-rays differ more by
/// their initial weights.
const ADULT_EFFECT: f64 = 0.005;
const XRAY_EFFECT: f64 = 0.05;

/// Largest relative difference at which an unweighted arm at another learning rate counts as the
/// weighted one; E[rho(q)] is one number for posteriors that differ.
const SAME_RATE_EFFECT: f64 = 0.02;

/// The finding.
pub(super) fn chapter(data: &DataDir) -> Chapter {
    let networks = DecisionLosses { data: data.clone() };
    Chapter {
        finding: Finding {
            id: "decision-losses",
            claim: "A loss that weighs mistakes by their costs makes a classifier learn less: \
                    training without the weights and applying them to its predictions serves the \
                    same costs better, wherever the weights lower the reward to learning.",
            source: "Autor, Caplin, Martin and Marx 2025, Misaligned by Design: Incentive Failures \
                     in Machine Learning, arXiv 2511.07699",
            experiments: vec![Box::new(networks), Box::new(DecisionLossesTable)],
            claims: vec![adjust_afterwards(), degrades_learning()],
            further: theory(),
            controls: vec![],
        },
        differs: &[
            "The paper's weights, networks, training budgets and numbers could not be recovered; \
             everything here is this project's choice, so its effect sizes cannot be held against \
             the paper's.",
            "Chest X-rays of 28 x 28 pixels and census rows under networks of a few thousand \
             parameters that train in seconds, instead of full-size X-rays and natural images \
             under deep networks.",
            "Random splits of the official training and validation images (several may be of one \
             child, on both sides of a split); AUC on the official test split, which is of another \
             origin, is shown beside.",
            "Seeds are splits of one set of census rows and one of X-rays, which overlap: \
             intervals say how the comparison varies over splits and networks, not over data sets. \
             A table has intervals corrected for the overlap, conservatively.",
            "Weights have a mean of 1 over the two classes. The level of E[rho(q)], and so the \
             predicted sign, depends on that convention; the paper's is not known.",
        ],
        parts: vec![page::part()],
    }
}

/// A metric of one arm over that of another, less 1.
fn ratio(metric: &Scalar, arm: Arm, against: Arm) -> Measure {
    metric.of(arm) / metric.of(against) - 1.0
}

/// A population, an optimiser and weights.
#[derive(Debug, Clone, Copy)]
struct Setting {
    population: &'static str,
    optimizer: &'static str,
    weights: &'static str,
}

impl Setting {
    fn weighted(self) -> Arm {
        weighted(self.population, self.optimizer, self.weights)
    }

    fn unweighted(self) -> Arm {
        unweighted(self.population, self.optimizer)
    }

    /// WT over XP - 1 of a metric under the weights.
    fn relative(self, metric: fn(&str) -> Scalar) -> Measure {
        ratio(&metric(self.weights), self.weighted(), self.unweighted())
    }

    /// WT - XP in AUC.
    fn auc(self) -> Measure {
        AUC.difference(self.weighted(), self.unweighted())
    }

    /// WT over XP - 1 in loss, counted as positive where it has the sign that E[rho(q)] predicts.
    fn as_predicted(self) -> Measure {
        let (metric, plain) = (loss(self.weights), self.unweighted());
        let reads = [
            incentive(self.weights).read(&plain),
            metric.read(self.weighted()),
            metric.read(&plain),
        ];
        Measure::computed("loss, WT over XP - 1, signed as E[rho] predicts", reads, |read| {
            let predicted = if read[0][0] < 1.0 { 1.0 } else { -1.0 };
            Ok(predicted * (read[1][0] / read[2][0] - 1.0))
        })
    }
}

/// Every setting of these populations and optimisers.
fn settings(populations: &[&'static str], optimizers: &[&'static str]) -> Vec<Setting> {
    let of = |population: &'static str| {
        optimizers.iter().flat_map(move |&optimizer| {
            WEIGHTS.map(|(weights, _)| Setting { population, optimizer, weights })
        })
    };
    populations.iter().flat_map(|population| of(population)).collect()
}

/// The mean of a measure over settings.
fn over(
    populations: &[&'static str],
    optimizers: &[&'static str],
    of: impl Fn(Setting) -> Measure,
) -> Measure {
    Measure::mean(settings(populations, optimizers).into_iter().map(of))
}

/// The paper's claim, which makes no exception; then where the scale of the loss is not felt, so
/// that no budget can take it away.
fn adjust_afterwards() -> Claim {
    type Names<'a> = &'a [&'static str];
    let increase = |name, populations: Names<'_>, optimizers: Names<'_>, metric, effect| {
        let measure = over(populations, optimizers, |setting| setting.relative(metric));
        Contrast::increase(name, measure, effect)
    };
    Claim {
        id: "decision-losses/adjust-afterwards",
        sentence: "Plain training, adjusted afterwards, wins on the weighted objective itself.",
        contrasts: vec![
            increase(
                "all adult cells: loss, WT over XP - 1",
                &ADULT,
                &OPTIMIZERS,
                loss,
                ADULT_EFFECT,
            ),
            increase(
                "all x-ray cells: loss, WT over XP - 1",
                &XRAY,
                &OPTIMIZERS,
                loss,
                XRAY_EFFECT,
            ),
            increase(
                "adult cells under Adam: loss, WT over XP - 1",
                &ADULT,
                &["adam"],
                loss,
                ADULT_EFFECT,
            ),
            increase(
                "x-ray cells under Adam: loss, WT over XP - 1",
                &XRAY,
                &["adam"],
                loss,
                XRAY_EFFECT,
            ),
            increase(
                "all adult cells: cost of decisions, WT over XP - 1",
                &ADULT,
                &OPTIMIZERS,
                cost,
                ADULT_EFFECT,
            ),
            increase(
                "all x-ray cells: cost of decisions, WT over XP - 1",
                &XRAY,
                &OPTIMIZERS,
                cost,
                XRAY_EFFECT,
            ),
        ],
        controls: controls(),
    }
}

fn degrades_learning() -> Claim {
    let auc = |name, populations: &[&'static str]| {
        Contrast::decrease(name, over(populations, &OPTIMIZERS, Setting::auc), 0.001)
    };
    Claim {
        id: "decision-losses/degrades-learning",
        sentence: "A weighted loss degrades what is learnt.",
        contrasts: vec![
            auc("all adult cells: AUC, WT - XP", &ADULT),
            auc("all x-ray cells: AUC, WT - XP", &XRAY),
        ],
        controls: controls(),
    }
}

/// The theory: weights that counteract rarity reward learning, weights that add to it punish it.
fn theory() -> Vec<Contrast> {
    use Direction::{Decrease, Increase, Unchanged};
    // Signed by each seed's own E[rho(q)].
    let signed = |name, population, optimizers: &[&'static str]| {
        let measure = over(&[population], optimizers, Setting::as_predicted);
        Contrast::increase(name, measure, ADULT_EFFECT)
    };
    // Is it the reward to learning, or a learning rate? The unweighted arm at its rate times
    // E[rho(q)].
    let rate = |weights| {
        let name = format!(
            "adult-rare-short, sgd, b = .{weights}: loss, WT over XP at the rate times E[rho] - 1"
        );
        let measure = ratio(&loss(weights), weighted(SHORT, "sgd", weights), at_rate(weights));
        Contrast::unchanged(name, measure, SAME_RATE_EFFECT)
    };
    let mut contrasts = vec![
        signed(
            "adult-rare: loss, WT over XP - 1, signed as E[rho] predicts",
            "adult-rare",
            &OPTIMIZERS,
        ),
        signed(
            "adult-rare-short, sgd: loss, WT over XP - 1, signed as E[rho] predicts",
            SHORT,
            &["sgd"],
        ),
        rate("10"),
        rate("90"),
    ];
    // What each setting's loss should do, under b = .10 and .90, follows from E[rho(q)] in the
    // pilot: above 1.1 weighted training is better, below 0.9 ex-post weighting is, between there
    // is no difference. Adam does not feel the level of the loss, so that cut short it should have
    // learnt as much either way.
    for (population, optimizer, directions, effect) in [
        ("adult-rare", "adam", [Increase, Decrease], ADULT_EFFECT),
        ("adult-rare", "sgd", [Increase, Decrease], ADULT_EFFECT),
        (SHORT, "adam", [Unchanged, Unchanged], ADULT_EFFECT),
        (SHORT, "sgd", [Increase, Decrease], ADULT_EFFECT),
        ("adult-natural", "adam", [Increase, Unchanged], ADULT_EFFECT),
        ("adult-natural", "sgd", [Increase, Unchanged], ADULT_EFFECT),
        ("adult-balanced", "adam", [Increase, Increase], ADULT_EFFECT),
        ("adult-balanced", "sgd", [Increase, Increase], ADULT_EFFECT),
        ("xray-balanced", "adam", [Increase, Increase], XRAY_EFFECT),
        ("xray-balanced", "sgd", [Increase, Increase], XRAY_EFFECT),
        ("xray-frequent", "adam", [Decrease, Increase], XRAY_EFFECT),
        ("xray-frequent", "sgd", [Decrease, Increase], XRAY_EFFECT),
    ] {
        for ((weights, _), direction) in WEIGHTS.into_iter().zip(directions) {
            let name = format!("{population}, {optimizer}, b = .{weights}: loss, WT over XP - 1");
            let measure = Setting { population, optimizer, weights }.relative(loss);
            contrasts.push(Contrast::new(name, measure, direction, effect));
        }
    }
    contrasts
}

fn controls() -> Vec<Control> {
    // Networks with weights 1 and 1 and streams of their own over the unweighted ones.
    let once_more = |populations: &[&str]| {
        Measure::mean(populations.iter().map(|population| {
            ratio(&LOSS_OF_POSTERIOR, again(population), unweighted(population, "adam"))
        }))
    };
    vec![
        Control::new(
            "adult, weights 1 and 1: loss, WT over XP - 1",
            once_more(&ADULT),
            ADULT_EFFECT,
        ),
        Control::new(
            "x-rays, weights 1 and 1: loss, WT over XP - 1",
            once_more(&XRAY),
            XRAY_EFFECT,
        ),
        Control::new(
            "adult, labels permuted: loss, WT over XP - 1",
            ratio(&loss("90"), weighted_permuted(), unweighted_permuted()),
            ADULT_EFFECT,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use headwater_protocol::{Metrics, Records};

    use super::*;

    /// Rare adults under one optimiser, with losses of the two ways, and E[rho(q)] under b = .10
    /// and .90.
    fn records(weighted_losses: [f64; 2], plain_losses: [f64; 2]) -> Records {
        let mut cells = Vec::new();
        for optimizer in OPTIMIZERS {
            let mut both =
                Metrics::new().scalar(&incentive("10"), 0.2).scalar(&incentive("90"), 1.5);
            for (at, (weights, _)) in WEIGHTS.into_iter().enumerate() {
                let metrics = Metrics::new().scalar(&loss(weights), weighted_losses[at]);
                cells.push((weighted("adult-rare", optimizer, weights), 0, metrics));
                both = both.scalar(&loss(weights), plain_losses[at]);
            }
            cells.push((unweighted("adult-rare", optimizer), 0, both));
        }
        Records::new(cells)
    }

    #[test]
    fn a_difference_counts_by_the_sign_that_is_predicted() {
        // Worse by 10% where ex-post weighting is predicted, better by 20% where weighted training
        // is.
        let records = records([1.1, 0.8], [1.0, 1.0]);
        let close = |measure: Measure, expected: f64| {
            let found = measure.at_seed(&records.seed(0)).unwrap();
            assert!((found - expected).abs() < 1e-12, "{found}");
        };
        let setting = |optimizer, weights| Setting { population: "adult-rare", optimizer, weights };
        close(setting("adam", "10").relative(loss), 0.1);
        close(setting("sgd", "90").relative(loss), -0.2);
        close(over(&["adult-rare"], &OPTIMIZERS, |setting| setting.relative(loss)), -0.05);
        close(over(&["adult-rare"], &OPTIMIZERS, Setting::as_predicted), 0.15);
    }

    #[test]
    fn names_are_unique_and_every_cell_of_the_claim_has_a_contrast() {
        let finding = chapter(&DataDir::default()).finding;
        let mut names: Vec<&str> = finding.contrasts().iter().map(|c| c.name.as_str()).collect();
        for Setting { population, optimizer, weights } in
            [settings(&ADULT, &OPTIMIZERS), settings(&XRAY, &OPTIMIZERS)].concat()
        {
            let cell = format!("{population}, {optimizer}, b = .{weights}: ");
            assert!(names.iter().any(|name| name.starts_with(&cell)), "{cell}");
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), count), (36, 36));
    }
}
