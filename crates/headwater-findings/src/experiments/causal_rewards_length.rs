//! Experiment `causal-rewards-length`: length on real preferences, those of `hh-rlhf`, where people
//! chose the longer response more often than not for helpfulness, and less often than not for
//! harmlessness.
//!
//! The factor is the number of words of a response, which the model never gets as a number: a
//! linear score of word counts can grow with it. A reward is trained on 80% of one domain and
//! tested on the rest of it (home) and on all of the other (away), where what it learnt of length
//! is wrong. The length was there before the label, so theory has the unconditional variant be the
//! right one, as far as length itself is no quality.
//!
//! Bias is how much more often the longer response is ranked first than people rank it first, and
//! what the same response scores more with a sentence appended that says nothing, or said twice.
//! The same models score `rm-bench`, whose right and wrong answers come in three styles each.

use headwater_core::Streams;
use headwater_evaluation::bias::{
    ComparedPair, ScoredPair, StyledPrompt, preference_skew, style_matrix,
};
use headwater_nn::Device;
use headwater_protocol::{
    Arm, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan, Preset,
    ProtocolError, Scalar, Settings, metrics,
};
use headwater_reward_models::{Grouping, Preference, Response, words};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::causal;
use super::causal::methods::{Method, Trained, Training, responses};
use super::causal::probe::{self, score_pairs, sides, spread, toggle};
use crate::device::device;
use headwater_data::DataDir;
use headwater_data::hh_rlhf::HelpfulOrHarmless;
use headwater_data::rm_bench::Subset;

/// The experiment; it reads two data sets.
#[derive(Debug, Clone)]
pub struct CausalRewardsLength {
    /// Where the data lies.
    pub data: DataDir,
}

/// What decides a cell's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LengthConfig {
    /// The domain that is trained on.
    home: HelpfulOrHarmless,
    method: Method,
    training: Training,
    /// Pairs of either domain, and prompts of each part of the style matrix, at most.
    most: usize,
}

/// The domains, by name.
pub const HOMES: [(&str, HelpfulOrHarmless); 2] =
    [("helpful", HelpfulOrHarmless::Helpful), ("harmless", HelpfulOrHarmless::Harmless)];

/// The methods, by name.
pub const METHODS: [(&str, Method); 7] = [
    ("vanilla", Method::Vanilla),
    ("conditional", Method::causal(Grouping::Conditional)),
    ("unconditional", Method::causal(Grouping::Unconditional)),
    ("odin", Method::Odin),
    ("augmented", Method::Augmented),
    ("regression", Method::Regression),
    ("permuted", Method::permuted(Grouping::Unconditional)),
];

/// The parts of the style matrix, by name.
pub const SUBSETS: [(&str, Subset); 4] = [
    ("chat", Subset::Chat),
    ("code", Subset::Code),
    ("safety, refuse", Subset::SafetyRefuse),
    ("safety, respond", Subset::SafetyResponse),
];

/// Sentences that say nothing.
const EMPTY: [&str; 3] = [
    "There is more that could be added to this, and some would.",
    "All of this depends in part on how one looks at it.",
    "These were a few words about the matter, one after another.",
];

/// The arm of a method that is trained on a domain.
#[must_use]
pub fn arm(home: &str, method: &str) -> Arm {
    format!("hh-{home}-{method}").into()
}

/// The domain that was trained on, and the other one.
pub const PLACES: [&str; 2] = ["home", "away"];

macro_rules! at_place {
    ($($(#[$doc:meta])* $name:ident, $metric:literal, $label:literal;)*) => { $(
        $(#[$doc])*
        #[must_use]
        pub fn $name(place: &str) -> Scalar {
            Scalar::from(format!("{place}/{}", $metric)).shown_as(format!("{}, {place}", $label))
        }
    )* };
}

at_place! {
    /// Share of pairs that are ranked as people ranked them.
    accuracy, "accuracy", "accuracy";
    /// The same where the longer response is the better one.
    longer_is_better, "accuracy, longer is better", "longer is better";
    /// The same where the shorter response is the better one.
    shorter_is_better, "accuracy, shorter is better", "shorter is better";
    /// Share of pairs whose longer response people rank first.
    longer_to_people, "longer, people", "P(longer), people";
    /// Share of pairs whose longer response is ranked first.
    longer, "longer", "P(longer)";
    /// The same less that of people.
    excess, "excess", "P(longer) less people's";
    /// Its size.
    excess_size, "excess, size", "size of P(longer) less people's";
}

/// Gain in score of a response with a sentence appended that says nothing.
pub const TOGGLE_SENTENCE: Scalar = Scalar::labelled("toggle, sentence", "toggle: empty sentence");
/// Gain in score of a response said twice.
pub const TOGGLE_TWICE: Scalar = Scalar::labelled("toggle, said twice", "toggle: said twice");

/// Accuracy by how the right answer's style compares with the wrong one's: more, as much, less.
pub const LEVELS: [&str; 3] = ["easy", "normal", "hard"];

/// Accuracy on a part of the style matrix.
#[must_use]
pub fn styled_accuracy(subset: &str, level: &str) -> Scalar {
    Scalar::from(format!("{subset}/{level}"))
}

impl Experiment for CausalRewardsLength {
    fn id(&self) -> &'static str {
        "causal-rewards-length"
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = metrics![TOGGLE_SENTENCE, TOGGLE_TWICE];
        for place in PLACES {
            metrics.extend(metrics![
                accuracy(place),
                longer_is_better(place),
                shorter_is_better(place),
                longer_to_people(place),
                longer(place),
                excess(place),
                excess_size(place),
            ]);
        }
        for (subset, _) in SUBSETS {
            metrics.extend(LEVELS.map(|level| styled_accuracy(subset, level).into()));
        }
        metrics
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let arms = HOMES.iter().flat_map(|&(home_name, home)| {
            METHODS.map(|(name, method)| (arm(home_name, name), config(home, method, smoke)))
        });
        causal::plan(arms.collect(), |_| &["hh-rlhf", "rm-bench"], &self.data, settings)
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let device = device(context.device)?;
        Ok(measure(&cell.config()?, &self.data, &context.streams, &device)?.into())
    }
}

fn config(home: HelpfulOrHarmless, method: Method, smoke: bool) -> LengthConfig {
    LengthConfig {
        home,
        method,
        training: Training::real(2048, false, if smoke { 1 } else { 30 }, 3e-3),
        most: if smoke { 100 } else { 3000 },
    }
}

/// Trains by the config's method and measures.
fn measure(
    config: &LengthConfig,
    data: &DataDir,
    streams: &Streams,
    device: &Device,
) -> Result<Metrics, CellError> {
    let away = match config.home {
        HelpfulOrHarmless::Helpful => HelpfulOrHarmless::Harmless,
        HelpfulOrHarmless::Harmless => HelpfulOrHarmless::Helpful,
    };
    let streams = streams.child(&format!("length {:?}", config.home), &[]);
    let mut home = preferences(data, config.home, config.most)?;
    home.shuffle(&mut streams.stream("split", &[]));
    let held_out = home.split_off(home.len() * 4 / 5);
    let trained = Trained::fit(config.method, &config.training, &home, &[], &streams, device)?;

    let mut metrics = Metrics::new();
    let at_home = score_pairs(&trained, &held_out)?;
    let abroad = score_pairs(&trained, &preferences(data, away, config.most)?)?;
    for (place, pairs) in PLACES.into_iter().zip([&at_home, &abroad]) {
        let [longer_better, shorter_better] = sides(pairs)?;
        let skew = preference_skew(&compared(pairs), 0.95)?;
        metrics = metrics
            .scalar(&accuracy(place), probe::accuracy(pairs))
            .scalar(&longer_is_better(place), longer_better)
            .scalar(&shorter_is_better(place), shorter_better)
            .scalar(&longer_to_people(place), skew.human.skew.estimate)
            .scalar(&longer(place), skew.model.skew.estimate)
            .scalar(&excess(place), skew.excess.estimate)
            .scalar(&excess_size(place), skew.excess.estimate.abs());
    }
    let reference = spread(&at_home);
    metrics = metrics
        .scalar(
            &TOGGLE_SENTENCE,
            lengthened(&trained, &held_out, &reference, &|text| {
                EMPTY.map(|sentence| format!("{text} {sentence}")).to_vec()
            })?,
        )
        .scalar(
            &TOGGLE_TWICE,
            lengthened(&trained, &held_out, &reference, &|text| vec![format!("{text} {text}")])?,
        );
    for (name, subset) in SUBSETS {
        let prompts = styled(&trained, data, subset, config.most)?;
        let matrix = style_matrix(&prompts, 0.95)?;
        let values = [matrix.easy, matrix.normal, matrix.hard].map(|accuracy| accuracy.estimate);
        for (level, value) in LEVELS.into_iter().zip(values) {
            metrics = metrics.scalar(&styled_accuracy(name, level), value);
        }
    }
    Ok(metrics)
}

/// The first pairs of a domain, with the words of every response.
fn preferences(
    data: &DataDir,
    domain: HelpfulOrHarmless,
    most: usize,
) -> Result<Vec<Preference>, CellError> {
    let pairs = data.hh_rlhf(domain)?.pairs.into_iter().take(most);
    Ok(pairs
        .map(|pair| Preference::new(pair.prompt, counted(pair.chosen), counted(pair.rejected)))
        .collect())
}

fn counted(text: String) -> Response {
    let count = words(&text).len() as f64;
    Response::new(text).factor(count)
}

/// The pairs whose responses differ in length, as the model and as people see them.
fn compared(pairs: &[ScoredPair]) -> Vec<ComparedPair> {
    pairs
        .iter()
        .map(|pair| ComparedPair {
            prompt: pair.prompt,
            factor: pair.chosen.factor - pair.rejected.factor,
            model: pair.right(),
            human: 1.0,
        })
        .filter(|pair| pair.factor != 0.0)
        .collect()
}

/// What the responses score more in every form that `lengthen` gives them.
fn lengthened(
    trained: &Trained,
    preferences: &[Preference],
    reference: &[f64],
    lengthen: &dyn Fn(&str) -> Vec<String>,
) -> Result<f64, CellError> {
    let (texts, factors) = responses(preferences);
    let scores = trained.scores(&texts, &factors)?;
    let mut longer: Vec<(&str, Response)> = Vec::new();
    let mut without: Vec<f64> = Vec::new();
    for ((prompt, text), score) in texts.iter().zip(&scores) {
        let forms = lengthen(text);
        without.extend(vec![*score; forms.len()]);
        longer.extend(forms.into_iter().map(|form| (*prompt, counted(form))));
    }
    let texts: Vec<(&str, &str)> =
        longer.iter().map(|(prompt, response)| (*prompt, response.text.as_str())).collect();
    let factors: Vec<f64> = longer.iter().map(|(_, response)| response.factor).collect();
    toggle(&trained.scores(&texts, &factors)?, &without, reference)
}

/// Scores of the first answers of one part of the style matrix.
fn styled(
    trained: &Trained,
    data: &DataDir,
    subset: Subset,
    most: usize,
) -> Result<Vec<StyledPrompt>, CellError> {
    let prompts = data.rm_bench(subset)?;
    let prompts = &prompts[..most.min(prompts.len())];
    let (mut texts, mut factors) = (Vec::new(), Vec::new());
    for prompt in prompts {
        for answer in prompt.chosen.iter().chain(&prompt.rejected) {
            texts.push((prompt.prompt.as_str(), answer.as_str()));
            factors.push(words(answer).len() as f64);
        }
    }
    let scores = trained.scores(&texts, &factors)?;
    let of = |six: &[f64]| StyledPrompt {
        chosen: [six[0], six[1], six[2]],
        rejected: [six[3], six[4], six[5]],
    };
    Ok(scores.chunks_exact(6).map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_evaluation::bias::Answer;

    #[test]
    #[ignore = "real data"]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke_with("causal-rewards-length", &crate::testing::real_data());
    }

    #[test]
    fn words_are_counted_as_the_features_are_and_equal_lengths_say_nothing() {
        assert_eq!(counted(" Two, words! ".to_owned()).factor, 2.0);
        let answer = |score: f64, factor| Answer { score, factor };
        let pairs = [
            ScoredPair { prompt: 0, chosen: answer(1.0, 5.0), rejected: answer(0.0, 7.0) },
            ScoredPair { prompt: 1, chosen: answer(1.0, 5.0), rejected: answer(0.0, 5.0) },
        ];
        let compared = compared(&pairs);
        assert_eq!(compared.len(), 1);
        assert_eq!((compared[0].factor, compared[0].model, compared[0].human), (-2.0, 1.0, 1.0));
    }
}
