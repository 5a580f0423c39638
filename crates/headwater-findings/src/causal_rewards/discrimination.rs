//! Groups of people as the spurious factor, and shortcuts to sentiment.
//!
//! - `terms`: sentences of `bias-probes` made from templates, toxic or not by one adjective, about one of fifty identity
//!   terms. The better response is the harmless one. Half of the terms are drawn by seed, and the label comes first: a toxic
//!   training sentence is about one of them in 80%, a harmless one in 20%. So theory has the conditional variant be the
//!   right one. Test sentences are of a template that no training sentence is of, a quarter of the adjectives is never trained on, and term
//!   and adjective have nothing to do with each other. Toggle: one of the drawn terms put in the place of another one.
//! - `edits`: film reviews of `cad-imdb`, good ones preferred to bad ones. Trained on reviews as they were found, a reward is
//!   right about them for reasons that need not be the sentiment: people have edited each so that only the sentiment
//!   changed. Trained on as many pairs of a review and its edit it has fewer such reasons (Kaushik, Hovy and Lipton 2020).

use std::collections::{BTreeMap, BTreeSet};

use headwater_core::{StreamRng, Streams};
use headwater_evaluation::bias::{Cell, accuracy_by_factor};
use headwater_evaluation::calibration::auroc;
use headwater_nn::Device;
use headwater_protocol::{
    CellError, Contrast, Control, Direction, Figure, Metrics, ProtocolError, Records, Registered,
    SeedRecords, Table, TableValue,
};
use headwater_reward_models::{Grouping, Preference, Response};
use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use serde::{Deserialize, Serialize};

use super::methods::{Method, Trained, Training};
use super::probe::{accuracy, score_pairs, spread, toggle};
use crate::data::cad_imdb::{ReviewPair, Sentiment};
use crate::data::madlibs::{Phrase, Template};
use crate::data::{DataDir, Split};

/// What decides a cell's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) enum DiscriminationConfig {
    Terms {
        method: Method,
        training: Training,
        /// Pairs to learn from.
        pairs: usize,
        /// Pairs to test on.
        held_out: usize,
    },
    Edits {
        source: Source,
        training: Training,
        /// Pairs to learn from, at most.
        pairs: usize,
    },
}

/// Where the pairs of reviews come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Source {
    /// Two reviews as they were found.
    Originals,
    /// A review and its edit.
    Edits,
}

/// Share of sentences about one of the drawn terms, of the toxic ones; of the harmless ones it is the rest.
const PLANTED: f64 = 0.8;

const METHODS: [(&str, Method); 4] = [
    ("vanilla", Method::Vanilla),
    ("conditional", Method::causal(Grouping::Conditional)),
    ("unconditional", Method::causal(Grouping::Unconditional)),
    ("permuted", Method::permuted(Grouping::Conditional)),
];

const SOURCES: [(&str, Source); 2] =
    [("edits-originals", Source::Originals), ("edits-paired", Source::Edits)];

fn arm(method: &str) -> String {
    format!("terms-{method}")
}

/// The arms with what decides their results.
pub(super) fn arms(smoke: bool) -> Vec<(String, DiscriminationConfig)> {
    let mut all = Vec::new();
    for (name, method) in METHODS {
        let config = DiscriminationConfig::Terms {
            method,
            training: Training::real(4096, false, if smoke { 1 } else { 16 }, 3e-2),
            pairs: if smoke { 200 } else { 40_000 },
            held_out: if smoke { 100 } else { 1000 },
        };
        all.push((arm(name), config));
    }
    for (name, source) in SOURCES {
        let config = DiscriminationConfig::Edits {
            source,
            training: Training::real(1 << 14, false, if smoke { 1 } else { 30 }, 1e-2),
            pairs: if smoke { 50 } else { 800 },
        };
        all.push((name.to_owned(), config));
    }
    all
}

impl DiscriminationConfig {
    /// The sets that it reads.
    pub(super) fn sets(&self) -> &'static [&'static str] {
        match self {
            Self::Terms { .. } => &["bias-probes"],
            Self::Edits { .. } => &["cad-imdb"],
        }
    }
}

/// Trains by the config's method and measures.
pub(super) fn run(
    config: &DiscriminationConfig,
    data: &DataDir,
    streams: &Streams,
    device: &Device,
) -> Result<Metrics, CellError> {
    match config {
        DiscriminationConfig::Terms { method, training, pairs, held_out } => {
            let streams = streams.child("terms", &[]);
            let phrases = Phrases::new(data.madlibs()?, &streams);
            let mut stream = streams.stream("pairs", &[]);
            let train = &[Template::Being, Template::Name];
            let preferences: Vec<Preference> =
                (0..*pairs).map(|_| phrases.pair(train, false, PLANTED, &mut stream)).collect();
            let trained = Trained::fit(*method, training, &preferences, &[], &streams, device)?;
            terms(&phrases, &trained, *held_out, &streams)
        }
        DiscriminationConfig::Edits { source, training, pairs } => {
            edits(*source, training, *pairs, data, &streams.child("edits", &[]), device)
        }
    }
}

/// The phrases by what they are made of.
struct Phrases {
    /// By template, whether toxic, whether the adjective is held out, whether the term is one of those drawn.
    by_kind: BTreeMap<(Template, bool, bool, bool), Vec<Phrase>>,
}

impl Phrases {
    fn new(phrases: Vec<Phrase>, streams: &Streams) -> Self {
        // Occupations stand in a template of their own: these are the three with identity terms and adjectives.
        let kinds = [Template::Being, Template::Name, Template::YouAre];
        let phrases: Vec<Phrase> =
            phrases.into_iter().filter(|phrase| kinds.contains(&phrase.template)).collect();
        let draw = |all: BTreeSet<String>, share: usize, name: &str| -> BTreeSet<String> {
            let mut all: Vec<String> = all.into_iter().collect();
            all.shuffle(&mut streams.stream(name, &[]));
            all.truncate(all.len() / share);
            all.into_iter().collect()
        };
        let terms = phrases.iter().map(|phrase| phrase.term().to_owned()).collect();
        let drawn = draw(terms, 2, "terms");
        let adjectives = |toxic: bool| {
            let kept = phrases.iter().filter(|phrase| phrase.toxic == toxic);
            kept.map(|phrase| adjective(phrase).to_owned()).collect()
        };
        let mut held_out = draw(adjectives(false), 4, "harmless adjectives");
        held_out.extend(draw(adjectives(true), 4, "toxic adjectives"));
        let mut by_kind: BTreeMap<_, Vec<Phrase>> = BTreeMap::new();
        for phrase in phrases {
            let key = (
                phrase.template,
                phrase.toxic,
                held_out.contains(adjective(&phrase)),
                drawn.contains(phrase.term()),
            );
            by_kind.entry(key).or_default().push(phrase);
        }
        Self { by_kind }
    }

    /// A phrase of a kind, by chance.
    fn draw(
        &self,
        (template, toxic, held_out, drawn): (Template, bool, bool, bool),
        stream: &mut StreamRng,
    ) -> &Phrase {
        let kind = self.by_kind.get(&(template, toxic, held_out, drawn));
        kind.and_then(|phrases| phrases.choose(stream)).expect("the set has phrases of every kind")
    }

    /// A harmless sentence preferred to a toxic one of the same template, with adjectives that are held out or not;
    /// the toxic one is about a drawn term with probability `share`, the harmless one with 1 - `share`.
    fn pair(
        &self,
        templates: &[Template],
        held_out: bool,
        share: f64,
        stream: &mut StreamRng,
    ) -> Preference {
        let template = *templates.choose(stream).expect("there is a template");
        let mut sentence = |toxic: bool| {
            let drawn = stream.random::<f64>() < if toxic { share } else { 1.0 - share };
            let phrase = self.draw((template, toxic, held_out, drawn), stream);
            Response::new(phrase.text.clone()).factor(f64::from(u8::from(drawn)))
        };
        Preference::new("", sentence(false), sentence(true))
    }

    /// Every sentence of a template about a drawn term, and the same about another term by chance.
    fn toggled(&self, template: Template, stream: &mut StreamRng) -> Vec<[&str; 2]> {
        let mut all = Vec::new();
        for toxic in [false, true] {
            for held_out in [false, true] {
                let of = |drawn| self.by_kind.get(&(template, toxic, held_out, drawn));
                let others = of(false).map_or(&[][..], Vec::as_slice);
                for phrase in of(true).into_iter().flatten() {
                    let alike: Vec<&Phrase> =
                        others.iter().filter(|other| other.frame() == phrase.frame()).collect();
                    if let Some(other) = alike.choose(stream) {
                        all.push([phrase.text.as_str(), other.text.as_str()]);
                    }
                }
            }
        }
        all
    }
}

/// In the three templates the adjective is the last word that is not the term.
fn adjective(phrase: &Phrase) -> &str {
    let (before, after) = phrase.frame();
    let rest = if after.trim().is_empty() { before } else { after };
    rest.split_whitespace().next_back().unwrap_or_default()
}

fn terms(
    phrases: &Phrases,
    trained: &Trained,
    held_out: usize,
    streams: &Streams,
) -> Result<Metrics, CellError> {
    let mut stream = streams.stream("held-out pairs", &[]);
    let mut fair = |unseen: bool| {
        let pairs =
            (0..held_out).map(|_| phrases.pair(&[Template::YouAre], unseen, 0.5, &mut stream));
        score_pairs(trained, &pairs.collect::<Vec<Preference>>())
    };
    let (known, unseen) = (fair(false)?, fair(true)?);
    let toggled = phrases.toggled(Template::YouAre, &mut streams.stream("toggles", &[]));
    let at = |which: usize| {
        let texts: Vec<(&str, &str)> = toggled.iter().map(|pair| ("", pair[which])).collect();
        trained.scores(&texts, &vec![1.0 - which as f64; texts.len()])
    };
    let toggle = toggle(&at(0)?, &at(1)?, &spread(&known))?;
    let mut metrics = Metrics::new().scalar("toggle", toggle).scalar("toggle, size", toggle.abs());
    for (name, pairs) in [("known", &known), ("unseen", &unseen)] {
        let sides = accuracy_by_factor(pairs, 0.95)?;
        let of = |cell: Cell| cell.accuracy.map_or(f64::NAN, |accuracy| accuracy.estimate);
        metrics = metrics
            .scalar(format!("{name}/accuracy"), accuracy(pairs))
            .scalar(format!("{name}/accuracy, harmless about drawn"), of(sides.chosen))
            .scalar(format!("{name}/accuracy, toxic about drawn"), of(sides.rejected));
    }
    Ok(metrics)
}

fn edits(
    source: Source,
    training: &Training,
    pairs: usize,
    data: &DataDir,
    streams: &Streams,
    device: &Device,
) -> Result<Metrics, CellError> {
    let mut train = data.cad_imdb(Split::Train)?;
    train.shuffle(&mut streams.stream("order", &[]));
    let good_first =
        |good: &str, bad: &str| Preference::new("", Response::new(good), Response::new(bad));
    let preferences: Vec<Preference> = match source {
        Source::Originals => {
            let of = |sentiment| train.iter().filter(move |pair| pair.sentiment == sentiment);
            let both = of(Sentiment::Positive).zip(of(Sentiment::Negative)).take(pairs);
            both.map(|(good, bad)| good_first(&good.original, &bad.original)).collect()
        }
        Source::Edits => {
            let paired = train.iter().take(pairs).map(|pair| {
                let [good, bad] = good_and_bad(pair);
                good_first(good, bad)
            });
            paired.collect()
        }
    };
    let trained = Trained::fit(Method::Vanilla, training, &preferences, &[], streams, device)?;
    let test = data.cad_imdb(Split::Test)?;
    let scores = |text: fn(&ReviewPair) -> &str| {
        let texts: Vec<(&str, &str)> = test.iter().map(|pair| ("", text(pair))).collect();
        trained.scores(&texts, &vec![0.0; texts.len()])
    };
    let (originals, edited) = (scores(|pair| &pair.original)?, scores(|pair| &pair.edit)?);
    let good: Vec<bool> = test.iter().map(|pair| pair.sentiment == Sentiment::Positive).collect();
    let bad: Vec<bool> = good.iter().map(|good| !good).collect();
    let (of_originals, of_edits) = (auroc(&originals, &good)?, auroc(&edited, &bad)?);
    let own: f64 = (0..test.len())
        .map(|at| {
            let ahead = originals[at] - edited[at];
            if ahead == 0.0 { 0.5 } else { f64::from(u8::from((ahead > 0.0) == good[at])) }
        })
        .sum();
    Ok(Metrics::new()
        .scalar("accuracy, originals", of_originals)
        .scalar("accuracy, edits", of_edits)
        .scalar("lost", of_originals - of_edits)
        .scalar("accuracy, review against its edit", own / test.len() as f64))
}

fn good_and_bad(pair: &ReviewPair) -> [&str; 2] {
    match pair.sentiment {
        Sentiment::Positive => [&pair.original, &pair.edit],
        Sentiment::Negative => [&pair.edit, &pair.original],
    }
}

fn difference(
    seed: &SeedRecords<'_>,
    metric: &str,
    method: &str,
    against: &str,
) -> Result<f64, ProtocolError> {
    seed.difference(metric, &arm(method), &arm(against))
}

pub(super) fn contrasts() -> Vec<Contrast> {
    let contrast = |name, direction, smallest_effect, per_seed| {
        Contrast::new(name, direction, smallest_effect, Registered::AfterPilot, per_seed)
    };
    vec![
        contrast(
            "identity terms: size of toggle effect, conditional - vanilla",
            Direction::Decrease,
            0.3,
            |seed| difference(seed, "toggle, size", "conditional", "vanilla"),
        ),
        contrast(
            "identity terms: size of toggle effect, unconditional - conditional",
            Direction::Increase,
            0.1,
            |seed| difference(seed, "toggle, size", "unconditional", "conditional"),
        ),
        contrast(
            "film reviews: accuracy lost from originals to edits, trained with edits - on originals",
            Direction::Decrease,
            0.1,
            |seed| seed.difference("lost", "edits-paired", "edits-originals"),
        ),
    ]
}

pub(super) fn controls() -> Vec<Control> {
    vec![Control {
        name: "identity terms, permuted factor: toggle effect - vanilla's",
        margin: 0.15,
        per_seed: |seed| difference(seed, "toggle", "permuted", "vanilla"),
    }]
}

pub(super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    if !records.has_arm(&arm("vanilla")) {
        return Ok(Vec::new());
    }
    let n = records.metric(&arm("vanilla"), "toggle").len();
    let effects = METHODS.map(|(name, _)| records.effect(&arm(name), "toggle"));
    let figure = Figure::dots(
        "One group in the place of another",
        METHODS.map(|(name, _)| name),
        "toggle effect, standard deviations of the score",
        n,
    )
    .reference("no bias", 0.0)
    .by_category("toggle", effects.into_iter().collect::<Result<Vec<_>, _>>()?)
    .caption(
        "The same sentence about a term that was planted on toxic sentences in training, against one about another term. Below 0 \
         the group is punished.",
    );
    Ok(vec![figure])
}

pub(super) fn tables(records: &Records) -> Vec<Table> {
    let metrics = [
        ("toggle effect", "toggle"),
        ("accuracy, known adjectives", "known/accuracy"),
        ("harmless one about a drawn term", "known/accuracy, harmless about drawn"),
        ("toxic one about a drawn term", "known/accuracy, toxic about drawn"),
        ("accuracy, unseen adjectives", "unseen/accuracy"),
        ("unseen, harmless one about a drawn term", "unseen/accuracy, harmless about drawn"),
        ("unseen, toxic one about a drawn term", "unseen/accuracy, toxic about drawn"),
    ];
    let columns = ["method"].into_iter().chain(metrics.map(|(name, _)| name));
    let mut terms = Table::new("Identity terms", columns).note(
        "Harmless against toxic sentences of a template that was not trained on; which of them is about a drawn term is by chance. \
         Unseen adjectives tell a word-counting model nothing, so that what it goes by there is the term alone: no bias is \
         one half.",
    );
    for (method, _) in METHODS {
        let mut row = vec![TableValue::from(method)];
        row.extend(metrics.map(|(_, metric)| records.value(&arm(method), metric)));
        terms = terms.row(row);
    }
    let metrics = [
        ("accuracy, originals", "accuracy, originals"),
        ("accuracy, edits", "accuracy, edits"),
        ("lost", "lost"),
        ("review against its own edit", "accuracy, review against its edit"),
    ];
    let columns = ["trained on"].into_iter().chain(metrics.map(|(name, _)| name));
    let mut edits = Table::new("Film reviews and their edits", columns).note(
        "Accuracy: share of all pairs of a good and a bad test review that are ranked rightly. The two rewards are trained on \
         as many pairs.",
    );
    for (name, _) in SOURCES {
        let mut row = vec![TableValue::from(name)];
        row.extend(metrics.map(|(_, metric)| records.value(name, metric)));
        edits = edits.row(row);
    }
    vec![terms, edits]
}
