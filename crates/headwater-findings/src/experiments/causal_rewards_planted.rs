//! Experiment `causal-rewards-planted`: planted text. The causal structure between label and factor
//! is set, so that theory says which variant is right.
//!
//! Texts are those of [`headwater_tasks::topics`]. The factor is how a text opens (flattery or not) or
//! how much padding it ends with. It has no part in quality. Structures:
//!
//! - `label-first`: people compare on quality, then the factor is planted by the label, in 80% of
//!   the pairs on the chosen side. Given the label, factor and quality are independent: the
//!   *conditional* variant asks for what a perfect reward satisfies, the unconditional one for too
//!   much.
//! - `factor-first`: texts have the factor by chance, and it moves the label. Factor and quality
//!   are independent, but not given the label: the *unconditional* variant is right.
//! - `both`: half of the pairs each; neither is exact.

use headwater_core::{StreamRng, Streams};
use headwater_evaluation::best_of_n::best_of_n_curve;
use headwater_evaluation::bias::factor_readout;
use headwater_nn::Device;
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan,
    Preset, ProtocolError, Scalar, Settings, metrics,
};
use headwater_reward_models::{
    BagOfWordsConfig, Grouping, Paraphrase, Preference, Response, Scaling,
};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::causal::SEEDS;
use super::causal::methods::{Method, Tampered, Trained, Training};
use super::causal::probe::{accuracy, score_pairs, sides, spread, toggle};
use crate::device::device;
use crate::experiments::annotators::Annotators;
use headwater_tasks::topics::{AGREEMENT, COUNT, FILLERS, OPENER, content, name, quality};

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct CausalRewardsPlanted;

/// What the factor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// Whether the text opens with flattery: 0 or 1.
    Flattery,
    /// Words of padding at the end: 0 to 8.
    Length,
}

/// What causes what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Structure {
    /// The label plants the factor.
    LabelFirst,
    /// The factor moves the label.
    FactorFirst,
    /// Half of the pairs each.
    Both,
}

/// What decides a cell's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlantedConfig {
    factor: Factor,
    structure: Structure,
    method: Method,
    training: Training,
    /// Pairs to learn from.
    pairs: usize,
    /// Pairs to test on.
    held_out: usize,
    /// Responses for each topic from which best-of-n selects.
    pool: usize,
}

/// The factors, by name.
pub const FACTORS: [(&str, Factor); 2] =
    [("flattery", Factor::Flattery), ("length", Factor::Length)];

/// The structures, by name.
pub const STRUCTURES: [(&str, Structure); 3] = [
    ("label-first", Structure::LabelFirst),
    ("factor-first", Structure::FactorFirst),
    ("both", Structure::Both),
];

/// Weights of the sweep.
pub const WEIGHTS: [f64; 4] = [0.3, 1.0, 3.0, 10.0];

/// Weight at which the variants are compared here: the largest of the sweep, where what a variant
/// asks for is reached.
pub const STRONG: f64 = 10.0;

/// The variants of independence, by name.
pub const VARIANTS: [(&str, Grouping); 2] =
    [("conditional", Grouping::Conditional), ("unconditional", Grouping::Unconditional)];

/// The other methods, by name.
pub const OTHERS: [(&str, Method); 9] = [
    ("vanilla", Method::Vanilla),
    ("odin", Method::Odin),
    ("augmented", Method::Augmented),
    ("regression", Method::Regression),
    ("bottleneck", Method::Bottleneck),
    ("ensemble", Method::Ensemble),
    ("oracle", Method::Oracle),
    ("permuted", causal(Grouping::Conditional, STRONG, Tampered::Permuted)),
    ("wrong-factor", causal(Grouping::Conditional, STRONG, Tampered::Wrong)),
];

const fn causal(grouping: Grouping, weight: f64, tampered: Tampered) -> Method {
    Method::Causal { grouping, weight, tampered }
}

/// Every method that is run on every factor and structure, by name.
#[must_use]
pub fn methods() -> Vec<(String, Method)> {
    let mut all: Vec<_> = OTHERS.map(|(name, method)| (name.to_owned(), method)).into();
    for (name, grouping) in VARIANTS {
        let at = |weight| (variant(name, weight), causal(grouping, weight, Tampered::No));
        all.extend(WEIGHTS.map(at));
    }
    all
}

/// The method of a variant at a weight.
#[must_use]
pub fn variant(name: &str, weight: f64) -> String {
    format!("{name}-{weight}")
}

/// The arm of a method on a factor and a structure.
#[must_use]
pub fn arm(factor: &str, structure: &str, method: &str) -> Arm {
    format!("{factor}-{structure}-{method}").into()
}

/// Score of texts with the factor less that of the same texts without, in standard deviations.
pub const TOGGLE: Scalar = Scalar::labelled("toggle", "toggle effect");
/// Its size.
pub const TOGGLE_SIZE: Scalar = Scalar::new("toggle, size");
/// Accuracy on pairs of fair labels whose factor is by chance.
pub const ACCURACY: Scalar = Scalar::new("accuracy");
/// Accuracy where the worse response has more of the factor.
pub const HARD: Scalar = Scalar::labelled("accuracy, hard", "factor on the worse side");
/// Accuracy where the better response has more of the factor.
pub const EASY: Scalar = Scalar::labelled("accuracy, easy", "factor on the better side");
/// How well the factor can be read from the score.
pub const READ_OUT: Scalar = Scalar::labelled("read-out", "R² of the factor");
/// Factor of the best of n less that of a random response, 0 to 1.
pub const SELECTED_FACTOR: Scalar = Scalar::labelled("selected/factor", "selected: factor");
/// Quality of the best of n less that of a random response.
pub const SELECTED_QUALITY: Scalar = Scalar::labelled("selected/quality", "selected: quality");

impl Experiment for CausalRewardsPlanted {
    fn id(&self) -> &'static str {
        "causal-rewards-planted"
    }

    fn metrics(&self) -> Vec<Metric> {
        metrics![
            TOGGLE,
            TOGGLE_SIZE,
            ACCURACY,
            HARD,
            EASY,
            READ_OUT,
            SELECTED_FACTOR,
            SELECTED_QUALITY
        ]
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let arms = arms(settings.preset == Preset::Smoke);
        let mut planned = Vec::new();
        for (arm, config) in &arms {
            planned.push(ArmPlan::new(arm, config)?.if_shown());
        }
        Ok(Plan::of(settings.seed_range(SEEDS), planned))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let device = device(context.device)?;
        Ok(measure(&cell.config()?, &context.streams, &device)?.into())
    }
}

/// Every method crossed with every factor and structure.
fn arms(smoke: bool) -> Vec<(Arm, PlantedConfig)> {
    let mut all = Vec::new();
    for (factor_name, factor) in FACTORS {
        for (structure_name, structure) in STRUCTURES {
            for (name, method) in methods() {
                let config = PlantedConfig {
                    factor,
                    structure,
                    method,
                    training: training(smoke),
                    pairs: if smoke { 128 } else { 15000 },
                    held_out: if smoke { 64 } else { 1000 },
                    pool: if smoke { 16 } else { 256 },
                };
                all.push((arm(factor_name, structure_name, &name), config));
            }
        }
    }
    all
}

fn training(smoke: bool) -> Training {
    Training {
        words: BagOfWordsConfig {
            buckets: 1 << 15,
            word_pairs: false,
            prompt_pairs: true,
            scaling: Scaling::Counts,
        },
        epochs: if smoke { 1 } else { 12 },
        batch: 1024,
        learning_rate: 3e-2,
        bins: 4,
    }
}

/// Most words of padding.
const MOST_PADDING: u32 = 8;

/// Share of pairs in which the label plants the factor on the chosen side.
const PLANTED: f64 = 0.8;

/// Log-odds of the labels for each right word.
const CERTAINTY: f64 = 1.0;

impl Factor {
    /// A level of the factor by chance.
    fn draw(self, stream: &mut StreamRng) -> f64 {
        match self {
            Self::Flattery => f64::from(stream.random_range(0..=1u32)),
            Self::Length => f64::from(stream.random_range(0..=MOST_PADDING)),
        }
    }

    /// The bias that a biased annotator has for one unit: the same log-odds from end to end, 2.
    fn bias(self) -> f64 {
        match self {
            Self::Flattery => 2.0,
            Self::Length => 2.0 / f64::from(MOST_PADDING),
        }
    }

    /// `body` with the factor at `level`.
    fn written(self, body: &str, level: f64) -> Response {
        let text = match self {
            Self::Flattery if level > 0.5 => format!("{AGREEMENT} {body}"),
            Self::Flattery => format!("{OPENER} {body}"),
            Self::Length => {
                let padding = FILLERS.iter().cycle().take(level as usize);
                let words: Vec<&str> = [OPENER, body].into_iter().chain(padding.copied()).collect();
                words.join(" ")
            }
        };
        Response::new(text).factor(level)
    }

    /// The two ends between which it is toggled.
    fn ends(self) -> [f64; 2] {
        match self {
            Self::Flattery => [0.0, 1.0],
            Self::Length => [0.0, f64::from(MOST_PADDING)],
        }
    }
}

/// One pair to learn from.
fn pair(factor: Factor, structure: Structure, stream: &mut StreamRng) -> Preference {
    let topic = stream.random_range(0..COUNT);
    let [first, second] = [(); 2].map(|()| content(topic, stream).join(" "));
    let label_first = match structure {
        Structure::LabelFirst => true,
        Structure::FactorFirst => false,
        Structure::Both => stream.random(),
    };
    let levels = [factor.draw(stream), factor.draw(stream)];
    if !label_first {
        let annotators = Annotators { certainty: CERTAINTY, bias: factor.bias() };
        let [first, second] =
            [factor.written(&first, levels[0]), factor.written(&second, levels[1])];
        return annotators.compare(topic, first, second, stream);
    }
    let fair = Annotators { certainty: CERTAINTY, bias: 0.0 };
    let labelled = fair.compare(topic, Response::new(first), Response::new(second), stream);
    // Of flattery one side gets all; of padding, one side the more.
    let [less, more] = match factor {
        Factor::Flattery => [0.0, 1.0],
        Factor::Length => [levels[0].min(levels[1]), levels[0].max(levels[1])],
    };
    let on_chosen = stream.random::<f64>() < PLANTED;
    let (chosen, rejected) = if on_chosen { (more, less) } else { (less, more) };
    Preference {
        chosen: factor.written(&labelled.chosen.text, chosen),
        rejected: factor.written(&labelled.rejected.text, rejected),
        ..labelled
    }
}

/// A pair of fair labels whose factors have nothing to do with anything.
fn fair_pair(factor: Factor, stream: &mut StreamRng) -> Preference {
    let topic = stream.random_range(0..COUNT);
    let [first, second] = [(); 2].map(|()| {
        let level = factor.draw(stream);
        factor.written(&content(topic, stream).join(" "), level)
    });
    Annotators { certainty: CERTAINTY, bias: 0.0 }.compare(topic, first, second, stream)
}

/// Trains by the config's method and measures.
fn measure(
    config: &PlantedConfig,
    streams: &Streams,
    device: &Device,
) -> Result<Metrics, CellError> {
    // Data depend on factor and structure, never on the method.
    let streams = streams.child("planted, on data that no pilot saw", &[]);
    let data = streams.child(&format!("{:?} {:?}", config.factor, config.structure), &[]);
    let mut stream = data.stream("pairs", &[]);
    let preferences: Vec<Preference> =
        (0..config.pairs).map(|_| pair(config.factor, config.structure, &mut stream)).collect();
    let mut stream = data.stream("toggled", &[]);
    let toggled: Vec<Paraphrase> = (0..config.pairs)
        .map(|_| {
            let [original, edited, prompt] = toggled_texts(config.factor, &mut stream);
            Paraphrase { prompt, original, edited }
        })
        .collect();
    let trained =
        Trained::fit(config.method, &config.training, &preferences, &toggled, &data, device)?;

    let mut stream = data.stream("held-out pairs", &[]);
    let held_out: Vec<Preference> =
        (0..config.held_out).map(|_| fair_pair(config.factor, &mut stream)).collect();
    let scored = score_pairs(&trained, &held_out)?;
    let [easy, hard] = sides(&scored)?;
    let mut permutations = data.stream("permutations", &[]);
    let readout = factor_readout(&scored, 10, 19, 0.95, &mut permutations)?;

    // The same texts at both ends of the factor.
    let mut stream = data.stream("toggles", &[]);
    let toggles: Vec<[String; 3]> =
        (0..config.held_out).map(|_| toggled_texts(config.factor, &mut stream)).collect();
    let ends = config.factor.ends();
    let at = |end: usize| -> Result<Vec<f64>, CellError> {
        let texts: Vec<(&str, &str)> =
            toggles.iter().map(|t| (t[2].as_str(), t[end].as_str())).collect();
        trained.scores(&texts, &vec![ends[end]; texts.len()])
    };
    let toggle = toggle(&at(1)?, &at(0)?, &spread(&scored))?;
    let metrics = Metrics::new()
        .scalar(&TOGGLE, toggle)
        .scalar(&TOGGLE_SIZE, toggle.abs())
        .scalar(&ACCURACY, accuracy(&scored))
        .scalar(&HARD, hard)
        .scalar(&EASY, easy)
        .scalar(&READ_OUT, readout.overall.linear.adjusted);
    best_of_n(metrics, config, &trained, &data)
}

/// Without the factor, with it, and the prompt.
fn toggled_texts(factor: Factor, stream: &mut StreamRng) -> [String; 3] {
    let topic = stream.random_range(0..COUNT);
    let body = content(topic, stream).join(" ");
    let [without, with] = factor.ends().map(|level| factor.written(&body, level).text);
    [without, with, name(topic).to_owned()]
}

/// Selects from responses that have the factor by chance.
fn best_of_n(
    metrics: Metrics,
    config: &PlantedConfig,
    trained: &Trained,
    data: &Streams,
) -> Result<Metrics, CellError> {
    let mut stream = data.stream("pool", &[]);
    let (mut factor_kept, mut quality_kept) = (0.0, 0.0);
    let largest = config.pool / 4;
    let mut factor_before = 0.0;
    let mut quality_before = 0.0;
    for topic in 0..COUNT {
        let pool: Vec<Response> = (0..config.pool)
            .map(|_| {
                let level = config.factor.draw(&mut stream);
                config.factor.written(&content(topic, &mut stream).join(" "), level)
            })
            .collect();
        let texts: Vec<(&str, &str)> =
            pool.iter().map(|r| (name(topic), r.text.as_str())).collect();
        let factors: Vec<f64> = pool.iter().map(|r| r.factor / config.factor.ends()[1]).collect();
        let raw: Vec<f64> = pool.iter().map(|r| r.factor).collect();
        let scores = trained.scores(&texts, &raw)?;
        let qualities: Vec<f64> = pool.iter().map(|r| quality(topic, &r.text)).collect();
        let (factors, qualities) =
            (best_of_n_curve(&scores, &factors)?, best_of_n_curve(&scores, &qualities)?);
        factor_kept += factors[largest - 1].gold / COUNT as f64;
        factor_before += factors[0].gold / COUNT as f64;
        quality_kept += qualities[largest - 1].gold / COUNT as f64;
        quality_before += qualities[0].gold / COUNT as f64;
    }
    Ok(metrics
        .scalar(&SELECTED_FACTOR, factor_kept - factor_before)
        .scalar(&SELECTED_QUALITY, quality_kept - quality_before))
}

#[cfg(test)]
mod tests {
    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("causal-rewards-planted");
    }
}
