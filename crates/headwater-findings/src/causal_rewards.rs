//! Finding `causal-rewards`: asking a reward model for independence of a spurious factor takes the bias out of it,
//! if independence is asked for under the right condition.
//!
//! Claim (Wang et al. 2025, "Beyond Reward Hacking: Causal Rewards for LLM Alignment", arXiv 2501.09620): a
//! penalty on the dependence of the reward on length, flattery, concepts or groups removes these biases. Which variant
//! is right depends on what causes what (Veitch et al. 2021, arXiv 2106.00545).
//!
//! [`planted`]: the structure is set, so that the right variant is known before any run; texts with the factor
//! toggled measure the bias exactly. [`methods`] lists what is compared: everything that shares data, encoder,
//! epochs and initialisation and differs in the training objective, the pairs or a correction only. Accuracy and
//! bias are always shown together: a model that got worse is less biased, too.

use headwater_protocol::{
    Cell, CellError, Contrast, Control, Direction, Figure, Finding, Outcome, Plan, Point, Preset,
    ProtocolError, Records, Registered, Scale, SeedRecords, Settings, Table, TableValue, Workbench,
};
use headwater_reward_models::{BagOfWordsConfig, Grouping, Scaling};
use serde::{Deserialize, Serialize};

use crate::data::DataDir;
use crate::device::device;

mod methods;
mod planted;

use methods::{Method, Tampered, Training, WEIGHT, WEIGHTS};
use planted::{Factor, PlantedConfig, Structure};

/// The finding.
#[derive(Debug, Clone)]
pub struct CausalRewards {
    /// Where the data lies.
    pub data: DataDir,
}

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum CellConfig {
    Planted(PlantedConfig),
}

const FACTORS: [(&str, Factor); 2] = [("flattery", Factor::Flattery), ("length", Factor::Length)];

const STRUCTURES: [(&str, Structure); 3] = [
    ("label-first", Structure::LabelFirst),
    ("factor-first", Structure::FactorFirst),
    ("both", Structure::Both),
];

/// Methods that are run on every factor and structure.
fn methods() -> Vec<(String, Method)> {
    let tampered =
        |tampered| Method::Causal { grouping: Grouping::Conditional, weight: WEIGHT, tampered };
    let mut all = vec![
        ("vanilla".to_owned(), Method::Vanilla),
        ("odin".to_owned(), Method::Odin),
        ("augmented".to_owned(), Method::Augmented),
        ("regression".to_owned(), Method::Regression),
        ("bottleneck".to_owned(), Method::Bottleneck),
        ("ensemble".to_owned(), Method::Ensemble),
        ("oracle".to_owned(), Method::Oracle),
        ("permuted".to_owned(), tampered(Tampered::Permuted)),
        ("wrong-factor".to_owned(), tampered(Tampered::Wrong)),
    ];
    for (name, grouping) in VARIANTS {
        for weight in WEIGHTS {
            let method = Method::Causal { grouping, weight, tampered: Tampered::No };
            all.push((format!("{name}-{weight}"), method));
        }
    }
    all
}

const VARIANTS: [(&str, Grouping); 2] =
    [("conditional", Grouping::Conditional), ("unconditional", Grouping::Unconditional)];

/// The arm of a method on a factor and a structure.
fn arm(factor: &str, structure: &str, method: &str) -> String {
    format!("{factor}-{structure}-{method}")
}

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

impl Finding for CausalRewards {
    fn id(&self) -> &'static str {
        "causal-rewards"
    }

    fn claim(&self) -> &'static str {
        "Making a reward independent of a spurious factor takes length, flattery, concept and group bias out of it; \
         which independence is the right one follows from what causes what."
    }

    fn source(&self) -> &'static str {
        "Wang et al. 2025, Beyond Reward Hacking: Causal Rewards for LLM Alignment, arXiv 2501.09620; Veitch et \
         al. 2021, arXiv 2106.00545"
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let training = Training {
            words: BagOfWordsConfig {
                buckets: 1024,
                word_pairs: false,
                prompt_pairs: true,
                scaling: Scaling::Counts,
            },
            epochs: if smoke { 1 } else { 20 },
            batch: 512,
            learning_rate: 3e-2,
            bins: 4,
        };
        let mut plan = Plan::default();
        for seed in settings.seed_range(5) {
            for (factor_name, factor) in FACTORS {
                for (structure_name, structure) in STRUCTURES {
                    for (name, method) in methods() {
                        let config = CellConfig::Planted(PlantedConfig {
                            factor,
                            structure,
                            method,
                            training: training.clone(),
                            pairs: if smoke { 128 } else { 6000 },
                            held_out: if smoke { 64 } else { 1000 },
                            pool: if smoke { 16 } else { 256 },
                        });
                        let arm = arm(factor_name, structure_name, &name);
                        plan.cells.push(Cell::new(self.id(), &arm, seed, &config)?);
                    }
                }
            }
        }
        Ok(plan)
    }

    fn run(&self, cell: &Cell, workbench: &Workbench) -> Result<Outcome, CellError> {
        let device = device(workbench.device)?;
        match cell.config()? {
            CellConfig::Planted(config) => {
                Ok(planted::run(&config, &workbench.streams, &device)?.into())
            }
        }
    }

    fn contrasts(&self) -> Vec<Contrast> {
        let contrast = |name, direction, smallest_effect, per_seed| Contrast {
            name,
            direction,
            smallest_effect,
            registered: Registered::Before,
            published: None,
            attainable: None,
            per_seed,
        };
        use Direction::{Decrease, Increase, NotBelow};
        vec![
            Contrast {
                published: Some(
                    "always flattering: vanilla 92.7%, conditional 19.8% (their table 1)",
                ),
                ..contrast(
                    "flattery, label first: size of toggle effect, conditional - vanilla",
                    Decrease,
                    0.3,
                    |seed| {
                        size_difference(
                            seed,
                            ("flattery", "label-first"),
                            "conditional-3",
                            "vanilla",
                        )
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
                        size_difference(seed, at, "unconditional-3", "conditional-3")
                    },
                )
            },
            contrast(
                "flattery, factor first: size of toggle effect, unconditional - vanilla",
                Decrease,
                0.3,
                |seed| {
                    size_difference(
                        seed,
                        ("flattery", "factor-first"),
                        "unconditional-3",
                        "vanilla",
                    )
                },
            ),
            contrast(
                "flattery, factor first: size of toggle effect, conditional - unconditional",
                Increase,
                0.1,
                |seed| {
                    let at = ("flattery", "factor-first");
                    size_difference(seed, at, "conditional-3", "unconditional-3")
                },
            ),
            contrast(
                "length, label first: size of toggle effect, conditional - vanilla",
                Decrease,
                0.3,
                |seed| size_difference(seed, ("length", "label-first"), "conditional-3", "vanilla"),
            ),
            contrast(
                "length, label first: size of toggle effect, unconditional - conditional",
                Increase,
                0.1,
                |seed| {
                    let at = ("length", "label-first");
                    size_difference(seed, at, "unconditional-3", "conditional-3")
                },
            ),
            contrast(
                "length, factor first: size of toggle effect, unconditional - vanilla",
                Decrease,
                0.3,
                |seed| {
                    size_difference(seed, ("length", "factor-first"), "unconditional-3", "vanilla")
                },
            ),
            contrast(
                "length, factor first: size of toggle effect, conditional - unconditional",
                Increase,
                0.1,
                |seed| {
                    let at = ("length", "factor-first");
                    size_difference(seed, at, "conditional-3", "unconditional-3")
                },
            ),
            contrast(
                "flattery, label first: accuracy on fair pairs, conditional - vanilla",
                NotBelow,
                0.02,
                |seed| {
                    let arm = |method| arm("flattery", "label-first", method);
                    seed.difference("accuracy", &arm("conditional-3"), &arm("vanilla"))
                },
            ),
        ]
    }

    fn controls(&self) -> Vec<Control> {
        vec![
            Control {
                name: "flattery, label first, permuted factor: toggle effect - vanilla's",
                margin: 0.15,
                per_seed: |seed| {
                    difference(seed, ("flattery", "label-first"), "permuted", "vanilla")
                },
            },
            Control {
                name: "flattery, label first, wrong factor: toggle effect - vanilla's",
                margin: 0.15,
                per_seed: |seed| {
                    difference(seed, ("flattery", "label-first"), "wrong-factor", "vanilla")
                },
            },
            Control {
                name: "length, factor first, permuted factor: toggle effect - vanilla's",
                margin: 0.15,
                per_seed: |seed| {
                    difference(seed, ("length", "factor-first"), "permuted", "vanilla")
                },
            },
        ]
    }

    fn figures(&self, records: &Records) -> Result<Vec<Figure>, ProtocolError> {
        let mut figures = Vec::new();
        for (factor, _) in FACTORS {
            let n = records.metric(&arm(factor, "label-first", "vanilla"), "toggle").len();
            let title = format!("{factor}: bias left, by weight of the penalty");
            let mut figure =
                Figure::lines(title, "weight λ", "toggle effect, standard deviations of the score", n)
                    .x_scale(Scale::Log10)
                    .reference("no bias", 0.0)
                    .caption(
                        "The same text with and without the factor. Below 0 the factor is punished: too much was \
                         asked for. Names are structure and variant; vanilla models lie at the left end of their lines' rise.",
                    );
            for (structure, _) in &STRUCTURES[..2] {
                for (variant, _) in VARIANTS {
                    let mut points = Vec::new();
                    for weight in WEIGHTS {
                        let arm = arm(factor, structure, &format!("{variant}-{weight}"));
                        points.extend(Point::measured(weight, &records.effect(&arm, "toggle")?));
                    }
                    figure = figure.series(format!("{structure}, {variant}"), points);
                }
            }
            figures.push(figure);
        }
        let shown = [
            "vanilla",
            "conditional-3",
            "unconditional-3",
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
            let n = records.metric(&arm(factor, "label-first", "vanilla"), "toggle").len();
            let title = format!("{factor}: what every method leaves");
            let mut figure =
                Figure::dots(title, shown, "toggle effect, standard deviations of the score", n)
                    .reference("no bias", 0.0);
            for (structure, _) in STRUCTURES {
                let effects = shown
                    .iter()
                    .map(|method| records.effect(&arm(factor, structure, method), "toggle"));
                figure = figure.by_category(structure, effects.collect::<Result<Vec<_>, _>>()?);
            }
            figures.push(figure);
        }
        Ok(figures)
    }

    fn tables(&self, records: &Records) -> Result<Vec<Table>, ProtocolError> {
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
                     chance. Selected: best of 64 less a random response, in the factor (0 to 1) and in true quality.",
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
        Ok(tables)
    }

    fn differs(&self) -> &'static [&'static str] {
        &[
            "The paper trains language models of 8 billion parameters; here rewards are linear in hashed words, trained by \
             the same objective, which the paper leaves open in kernel, bandwidth, estimator and bins.",
            "The paper's measure of flattery is what a policy writes after PPO; here the reward is probed directly, and \
             selection by it measured.",
        ]
    }
}
