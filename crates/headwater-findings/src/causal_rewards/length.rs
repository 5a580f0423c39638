//! Length on real preferences: `hh-rlhf`, where people chose the longer response more often than not for helpfulness, and
//! less often than not for harmlessness.
//!
//! The factor is the number of words of a response, which the model never gets as a number: a linear score of
//! word counts can grow with it. A reward is trained on 80% of one domain and tested on the rest of it (home) and
//! on all of the other (away), where what it learnt of length is wrong. The length was there before the label, so
//! theory has the unconditional variant be the right one, as far as length itself is no quality.
//!
//! Bias is how much more often the longer response is ranked first than people rank it first, and what the same response
//! scores more with a sentence appended that says nothing, or said twice. The same models score `rm-bench`, whose right and
//! wrong answers come in three styles each.

use headwater_core::Streams;
use headwater_evaluation::bias::{
    Cell, ComparedPair, ScoredPair, StyledPrompt, accuracy_by_factor, preference_skew, style_matrix,
};
use headwater_nn::Device;
use headwater_protocol::{
    CellError, Contrast, Control, Direction, Figure, Metrics, ProtocolError, Records, Registered,
    SeedRecords, Table, TableValue,
};
use headwater_reward_models::{Grouping, Preference, Response, words};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::methods::{Method, Trained, Training, responses};
use super::probe::{accuracy, score_pairs, spread, toggle};
use crate::data::DataDir;
use crate::data::hh_rlhf::HelpfulOrHarmless;
use crate::data::rm_bench::Subset;

/// The sets that this part reads.
pub(super) const SETS: &[&str] = &["hh-rlhf", "rm-bench"];

/// What decides a cell's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LengthConfig {
    /// The domain that is trained on.
    home: HelpfulOrHarmless,
    method: Method,
    training: Training,
    /// Pairs of either domain, and prompts of each part of the style matrix, at most.
    most: usize,
}

const HOMES: [(&str, HelpfulOrHarmless); 2] =
    [("helpful", HelpfulOrHarmless::Helpful), ("harmless", HelpfulOrHarmless::Harmless)];

const METHODS: [(&str, Method); 7] = [
    ("vanilla", Method::Vanilla),
    ("conditional", Method::causal(Grouping::Conditional)),
    ("unconditional", Method::causal(Grouping::Unconditional)),
    ("odin", Method::Odin),
    ("augmented", Method::Augmented),
    ("regression", Method::Regression),
    ("permuted", Method::permuted(Grouping::Unconditional)),
];

const SUBSETS: [(&str, Subset); 4] = [
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

fn arm(home: &str, method: &str) -> String {
    format!("hh-{home}-{method}")
}

/// The arms with what decides their results.
pub(super) fn arms(smoke: bool) -> Vec<(String, LengthConfig)> {
    let mut all = Vec::new();
    for (home_name, home) in HOMES {
        for (name, method) in METHODS {
            let config = LengthConfig {
                home,
                method,
                training: Training::real(2048, false, if smoke { 1 } else { 30 }, 3e-3),
                most: if smoke { 100 } else { 3000 },
            };
            all.push((arm(home_name, name), config));
        }
    }
    all
}

/// Trains by the config's method and measures.
pub(super) fn run(
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
    for (place, pairs) in [("home", &at_home), ("away", &abroad)] {
        let sides = accuracy_by_factor(pairs, 0.95)?;
        let skew = preference_skew(&compared(pairs), 0.95)?;
        let of = |cell: Cell| cell.accuracy.map_or(f64::NAN, |accuracy| accuracy.estimate);
        metrics = metrics
            .scalar(format!("{place}/accuracy"), accuracy(pairs))
            .scalar(format!("{place}/accuracy, longer is better"), of(sides.chosen))
            .scalar(format!("{place}/accuracy, shorter is better"), of(sides.rejected))
            .scalar(format!("{place}/longer, people"), skew.human.skew.estimate)
            .scalar(format!("{place}/longer"), skew.model.skew.estimate)
            .scalar(format!("{place}/excess"), skew.excess.estimate)
            .scalar(format!("{place}/excess, size"), skew.excess.estimate.abs());
    }
    let reference = spread(&at_home);
    metrics = metrics
        .scalar(
            "toggle, sentence",
            lengthened(&trained, &held_out, &reference, &|text| {
                EMPTY.map(|sentence| format!("{text} {sentence}")).to_vec()
            })?,
        )
        .scalar(
            "toggle, said twice",
            lengthened(&trained, &held_out, &reference, &|text| vec![format!("{text} {text}")])?,
        );
    for (name, subset) in SUBSETS {
        let prompts = styled(&trained, data, subset, config.most)?;
        let matrix = style_matrix(&prompts, 0.95)?;
        metrics = metrics
            .scalar(format!("{name}/easy"), matrix.easy.estimate)
            .scalar(format!("{name}/normal"), matrix.normal.estimate)
            .scalar(format!("{name}/hard"), matrix.hard.estimate);
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

/// A metric of one method less that of vanilla, trained on `home`.
fn against_vanilla(
    seed: &SeedRecords<'_>,
    metric: &str,
    home: &str,
    method: &str,
) -> Result<f64, ProtocolError> {
    seed.difference(metric, &arm(home, method), &arm(home, "vanilla"))
}

pub(super) fn contrasts() -> Vec<Contrast> {
    let contrast = |name, direction, smallest_effect, per_seed| {
        Contrast::new(name, direction, smallest_effect, Registered::AfterPilot, per_seed)
    };
    vec![
        contrast(
            "helpful to harmless: size of excess preference for the longer, unconditional - vanilla",
            Direction::Decrease,
            0.05,
            |seed| against_vanilla(seed, "away/excess, size", "helpful", "unconditional"),
        ),
        contrast(
            "harmless to helpful: size of excess preference for the longer, unconditional - vanilla",
            Direction::Decrease,
            0.05,
            |seed| against_vanilla(seed, "away/excess, size", "harmless", "unconditional"),
        ),
        contrast(
            "helpful to harmless: accuracy away, unconditional - vanilla",
            Direction::NotBelow,
            0.02,
            |seed| against_vanilla(seed, "away/accuracy", "helpful", "unconditional"),
        ),
        // Away, vanilla is below chance, so that a coin would pass; at home one sees what was given up.
        Contrast {
            registered: Registered::PostHoc,
            ..contrast(
                "helpful: accuracy at home, unconditional - vanilla",
                Direction::NotBelow,
                0.02,
                |seed| against_vanilla(seed, "home/accuracy", "helpful", "unconditional"),
            )
        },
    ]
}

pub(super) fn controls() -> Vec<Control> {
    vec![Control {
        name: "helpful to harmless, permuted factor: excess preference for the longer - vanilla's",
        margin: 0.05,
        per_seed: |seed| against_vanilla(seed, "away/excess", "helpful", "permuted"),
    }]
}

pub(super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let mut figures = Vec::new();
    for (home, _) in HOMES {
        if !records.has_arm(&arm(home, "vanilla")) {
            continue;
        }
        let n = records.metric(&arm(home, "vanilla"), "away/longer").len();
        let title = format!("Length on real pairs, trained on {home}");
        let label = "share of pairs whose longer response is ranked first";
        let mut figure = Figure::dots(title, METHODS.map(|(name, _)| name), label, n)
            .reference("no preference", 0.5);
        for place in ["home", "away"] {
            let people =
                records.effect(&arm(home, "vanilla"), &format!("{place}/longer, people"))?;
            if let Some(people) = people.estimate {
                figure = figure.reference(format!("people, {place}"), people);
            }
            let effects = METHODS
                .map(|(method, _)| records.effect(&arm(home, method), &format!("{place}/longer")));
            figure = figure.by_category(place, effects.into_iter().collect::<Result<Vec<_>, _>>()?);
        }
        figures.push(figure.caption(
            "Home: held-out pairs of the domain that was trained on; away: the other domain. What a method takes away at \
             home it takes from what people do prefer there.",
        ));
    }
    Ok(figures)
}

pub(super) fn tables(records: &Records) -> Vec<Table> {
    let metrics = [
        ("accuracy, home", "home/accuracy"),
        ("accuracy, away", "away/accuracy"),
        ("away, longer is better", "away/accuracy, longer is better"),
        ("away, shorter is better", "away/accuracy, shorter is better"),
        ("P(longer) less people's, home", "home/excess"),
        ("P(longer) less people's, away", "away/excess"),
        ("toggle: empty sentence", "toggle, sentence"),
        ("toggle: said twice", "toggle, said twice"),
    ];
    let mut tables = Vec::new();
    for (home, _) in HOMES {
        let columns = ["method"].into_iter().chain(metrics.map(|(name, _)| name));
        let mut table = Table::new(format!("Length on hh-rlhf, trained on {home}"), columns).note(
            "Toggles in standard deviations of the score within a pair: the same response with a sentence appended that says \
             nothing, and said twice.",
        );
        for (method, _) in METHODS {
            let mut row = vec![TableValue::from(method)];
            row.extend(metrics.map(|(_, metric)| records.value(&arm(home, method), metric)));
            table = table.row(row);
        }
        tables.push(table);
        let columns = ["method", "part", "easy", "normal", "hard"];
        let mut table = Table::new(format!("Styles of rm-bench, trained on {home}"), columns).note(
            "Accuracy where the right answer has more style than the wrong one (easy), as much, and less (hard). A score that \
             pays for length is right on easy pairs and wrong on hard ones, whatever they say. Parts are never pooled: \
             in one the right answer is a refusal and short.",
        );
        for (method, _) in METHODS {
            for (subset, _) in SUBSETS {
                let mut row = vec![TableValue::from(method), TableValue::from(subset)];
                row.extend(
                    ["easy", "normal", "hard"].map(|level| {
                        records.value(&arm(home, method), &format!("{subset}/{level}"))
                    }),
                );
                table = table.row(row);
            }
        }
        tables.push(table);
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_evaluation::bias::Answer;

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
