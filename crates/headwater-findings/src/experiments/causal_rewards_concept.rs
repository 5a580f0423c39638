//! Experiment `causal-rewards-concept`: a concept as the spurious factor. Restaurant reviews
//! (`cebab`), whose sentiment is to be told, and whether they speak of the food.
//!
//! The prompt is the review, the responses are `positive` and `negative`, and the better one is
//! what most raters gave stars for. The training set is biased after Zhou et al. 2023 (arXiv
//! 2311.08648), as Wang et al. take it over: of the training reviews that speak of the food only
//! the positive ones are kept; the others, and all test reviews, stay as they are. In the arm
//! `fair` as many are kept of either kind.
//!
//! The factor belongs to the prompt, which both responses share. Over all responses the score of
//! one cancels that of the other, and only their distance can depend on the factor. Binned within
//! each answer, it is the answer that must not depend on it; but here it should, a little, since
//! the reviews that were kept are the positive ones. Selection by the label calls for independence
//! given answer and label together.
//!
//! Bias is the accuracy on positive test reviews that speak of the food less that on negative ones,
//! and what the human edits that add or remove the food, and leave the stars as they were, move the
//! score.

use headwater_core::Streams;
use headwater_nn::Device;
use headwater_protocol::{
    Arm, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan, Preset,
    ProtocolError, Scalar, Settings, metrics,
};
use headwater_reward_models::{Grouping, Preference, Response};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::causal;
use super::causal::methods::{Method, Trained, Training};
use super::causal::probe::toggle;
use crate::device::device;
use headwater_data::cebab::{Aspect, Concept, Review, edit_pairs};
use headwater_data::{DataDir, Split};

/// The experiment; it reads `cebab`.
#[derive(Debug, Clone)]
pub struct CausalRewardsConcept {
    /// Where the data lies.
    pub data: DataDir,
}

/// What counts as one answer in [`Grouping::WithinAnswer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answers {
    /// The response.
    Response,
    /// The response and whether it is the better one.
    ResponseAndLabel,
}

/// What decides a cell's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConceptConfig {
    /// Whether the negative training reviews that speak of the food are left out.
    biased: bool,
    method: Method,
    answers: Answers,
    training: Training,
    /// Training reviews that speak of the food, and as many that do not, at most.
    each: usize,
}

/// Name, whether the data are biased, method, answers.
pub const METHODS: [(&str, bool, Method, Answers); 7] = [
    ("fair", false, Method::Vanilla, Answers::Response),
    ("vanilla", true, Method::Vanilla, Answers::Response),
    ("conditional", true, Method::causal(Grouping::Conditional), Answers::Response),
    ("unconditional", true, Method::causal(Grouping::Unconditional), Answers::Response),
    ("within-answer", true, Method::causal(Grouping::WithinAnswer), Answers::Response),
    (
        "within-answer-and-label",
        true,
        Method::causal(Grouping::WithinAnswer),
        Answers::ResponseAndLabel,
    ),
    ("permuted", true, Method::permuted(Grouping::WithinAnswer), Answers::Response),
];

/// The responses.
const RESPONSES: [&str; 2] = ["positive", "negative"];

/// The arm of that name.
#[must_use]
pub fn arm(name: &str) -> Arm {
    format!("cebab-{name}").into()
}

/// Accuracy on reviews that do not speak of the food.
pub const WITHOUT: Scalar = Scalar::labelled("accuracy, without", "accuracy without the concept");
/// Accuracy on those that do.
pub const WITH: Scalar = Scalar::labelled("accuracy, with", "with it");
/// Accuracy on the positive ones of these.
pub const WITH_POSITIVE: Scalar = Scalar::labelled("accuracy, with, positive", "with it, positive");
/// Accuracy on the negative ones of these.
pub const WITH_NEGATIVE: Scalar = Scalar::labelled("accuracy, with, negative", "with it, negative");
/// The former less the latter.
pub const BIAS: Scalar = Scalar::new("bias");
/// Its size.
pub const BIAS_SIZE: Scalar = Scalar::new("bias, size");
/// What the edits move the score by, in standard deviations over reviews.
pub const TOGGLE: Scalar = Scalar::labelled("toggle", "toggle by human edits");
/// Edits that this was measured on.
pub const TOGGLED: Scalar = Scalar::new("toggled reviews");

impl Experiment for CausalRewardsConcept {
    fn id(&self) -> &'static str {
        "causal-rewards-concept"
    }

    fn metrics(&self) -> Vec<Metric> {
        metrics![WITHOUT, WITH, WITH_POSITIVE, WITH_NEGATIVE, BIAS, BIAS_SIZE, TOGGLE, TOGGLED]
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let arms = METHODS.map(|(name, biased, method, answers)| {
            let training = Training::real(1 << 14, true, if smoke { 1 } else { 160 }, 3e-2);
            let each = if smoke { 100 } else { 1300 };
            (arm(name), ConceptConfig { biased, method, answers, training, each })
        });
        causal::plan(arms.into(), |_| &["cebab"], &self.data, settings)
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let device = device(context.device)?;
        Ok(measure(&cell.config()?, &self.data, &context.streams, &device)?.into())
    }
}

/// A review of known sentiment that is known to speak of the food or not to.
struct Example<'a> {
    review: &'a Review,
    positive: bool,
    food: bool,
}

impl<'a> Example<'a> {
    /// None where most raters gave three stars or did not agree, or the labellers of the concept
    /// did not.
    fn of(review: &'a Review) -> Option<Self> {
        let positive = match review.review_majority? {
            1 | 2 => false,
            4 | 5 => true,
            _ => return None,
        };
        Some(Self { review, positive, food: speaks_of_food(review)? })
    }

    fn preference(&self, answers: Answers) -> Preference {
        let [right, wrong] = if self.positive { [0, 1] } else { [1, 0] };
        let response = |which: usize, chosen: u32| Response {
            answer: match answers {
                Answers::Response => which as u32,
                Answers::ResponseAndLabel => 2 * which as u32 + chosen,
            },
            ..Response::new(RESPONSES[which]).factor(f64::from(u8::from(self.food)))
        };
        Preference::new(self.review.text.clone(), response(right, 1), response(wrong, 0))
    }
}

fn speaks_of_food(review: &Review) -> Option<bool> {
    match review.aspect(Concept::Food) {
        Aspect::Positive | Aspect::Negative => Some(true),
        Aspect::Unknown => Some(false),
        Aspect::NoMajority | Aspect::Missing => None,
    }
}

/// Trains by the config's method and measures.
fn measure(
    config: &ConceptConfig,
    data: &DataDir,
    streams: &Streams,
    device: &Device,
) -> Result<Metrics, CellError> {
    let streams = streams.child("concept", &[]);
    let (train, test): (Vec<Review>, Vec<Review>) =
        data.cebab()?.into_iter().partition(|review| review.split == Split::Train);
    let mut examples: Vec<Example<'_>> = train.iter().filter_map(Example::of).collect();
    examples.shuffle(&mut streams.stream("order", &[]));
    let keep = |food: bool| {
        let wanted = examples.iter().filter(move |example| example.food == food);
        let kept = wanted.filter(move |example| !(config.biased && food && !example.positive));
        kept.take(config.each).map(|example| example.preference(config.answers))
    };
    let preferences: Vec<Preference> = keep(true).chain(keep(false)).collect();
    let trained =
        Trained::fit(config.method, &config.training, &preferences, &[], &streams, device)?;

    let examples: Vec<Example<'_>> = test.iter().filter_map(Example::of).collect();
    let reviews: Vec<&Review> = examples.iter().map(|example| example.review).collect();
    let lean = leanings(&trained, &reviews)?;
    let accuracy = |held: &dyn Fn(&Example<'_>) -> bool| {
        let kept = examples.iter().zip(&lean).filter(|(example, _)| held(example));
        let right: Vec<f64> = kept.map(|(example, lean)| right(*lean, example.positive)).collect();
        right.iter().sum::<f64>() / right.len() as f64
    };
    let positive = accuracy(&|example| example.food && example.positive);
    let negative = accuracy(&|example| example.food && !example.positive);

    // Edits by which the food comes in or goes out, and the stars stay.
    let mut with: Vec<&Review> = Vec::new();
    let mut without: Vec<&Review> = Vec::new();
    for (original, edit) in edit_pairs(&test, Concept::Food) {
        if edit.review_majority.is_none() || edit.review_majority != original.review_majority {
            continue;
        }
        match (speaks_of_food(original), speaks_of_food(edit)) {
            (Some(true), Some(false)) => {
                with.push(original);
                without.push(edit);
            }
            (Some(false), Some(true)) => {
                with.push(edit);
                without.push(original);
            }
            _ => {}
        }
    }
    let toggle = toggle(&leanings(&trained, &with)?, &leanings(&trained, &without)?, &lean)?;
    Ok(Metrics::new()
        .scalar(&WITHOUT, accuracy(&|example| !example.food))
        .scalar(&WITH, accuracy(&|example| example.food))
        .scalar(&WITH_POSITIVE, positive)
        .scalar(&WITH_NEGATIVE, negative)
        .scalar(&BIAS, positive - negative)
        .scalar(&BIAS_SIZE, (positive - negative).abs())
        .scalar(&TOGGLE, toggle)
        .scalar(&TOGGLED, with.len() as f64))
}

/// How much more `positive` scores as an answer to each review than `negative`.
fn leanings(trained: &Trained, reviews: &[&Review]) -> Result<Vec<f64>, CellError> {
    let scores = |response: &'static str| {
        let texts: Vec<(&str, &str)> =
            reviews.iter().map(|review| (review.text.as_str(), response)).collect();
        let factors = reviews
            .iter()
            .map(|review| f64::from(u8::from(speaks_of_food(review).unwrap_or(false))));
        trained.scores(&texts, &factors.collect::<Vec<f64>>())
    };
    let (positive, negative) = (scores(RESPONSES[0])?, scores(RESPONSES[1])?);
    Ok(positive.iter().zip(&negative).map(|(p, n)| p - n).collect())
}

/// 1 where the leaning has the right sign, 1/2 where it has none.
fn right(lean: f64, positive: bool) -> f64 {
    let lean = if positive { lean } else { -lean };
    if lean == 0.0 { 0.5 } else { f64::from(u8::from(lean > 0.0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "real data"]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke_with("causal-rewards-concept", &crate::testing::real_data());
    }

    #[test]
    fn a_leaning_is_right_by_its_sign() {
        let cases = [(0.1, true, 1.0), (0.1, false, 0.0), (-2.0, false, 1.0), (0.0, true, 0.5)];
        for (lean, positive, expected) in cases {
            assert_eq!(right(lean, positive), expected, "{lean} {positive}");
        }
    }
}
