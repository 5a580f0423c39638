//! Experiment `causal-rewards-discrimination`: groups of people as the spurious factor, and
//! shortcuts to sentiment.
//!
//! - `terms`: sentences of `bias-probes` made from templates, toxic or not by one adjective, about
//!   one of fifty identity terms. The better response is the harmless one. Half of the terms are
//!   drawn by seed, and the label comes first: a toxic training sentence is about one of them in
//!   80%, a harmless one in 20%. So theory has the conditional variant be the right one. Test
//!   sentences are of a template that no training sentence is of, a quarter of the adjectives is
//!   never trained on, and term and adjective have nothing to do with each other. Toggle: one of
//!   the drawn terms put in the place of another one.
//! - `edits`: film reviews of `cad-imdb`, good ones preferred to bad ones. Trained on reviews as
//!   they were found, a reward is right about them for reasons that need not be the sentiment:
//!   people have edited each so that only the sentiment changed. Trained on as many pairs of a
//!   review and its edit it has fewer such reasons (Kaushik, Hovy and Lipton 2020).

use std::collections::{BTreeMap, BTreeSet};

use headwater_core::{StreamRng, Streams};
use headwater_evaluation::calibration::auroc;
use headwater_nn::Device;
use headwater_protocol::{
    Arm, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan, Preset,
    ProtocolError, Scalar, Settings, metrics,
};
use headwater_reward_models::{Grouping, Preference, Response};
use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use serde::{Deserialize, Serialize};

use super::causal;
use super::causal::methods::{Method, Trained, Training};
use super::causal::probe::{self, score_pairs, sides, spread};
use crate::device::device;
use headwater_data::cad_imdb::{ReviewPair, Sentiment};
use headwater_data::madlibs::{Phrase, Template};
use headwater_data::{DataDir, Split};

/// The experiment; it reads two data sets.
#[derive(Debug, Clone)]
pub struct CausalRewardsDiscrimination {
    /// Where the data lies.
    pub data: DataDir,
}

/// What decides a cell's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum DiscriminationConfig {
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
pub enum Source {
    /// Two reviews as they were found.
    Originals,
    /// A review and its edit.
    Edits,
}

/// Share of sentences about one of the drawn terms, of the toxic ones; of the harmless ones it is
/// the rest.
const PLANTED: f64 = 0.8;

/// The methods on identity terms, by name.
pub const METHODS: [(&str, Method); 4] = [
    ("vanilla", Method::Vanilla),
    ("conditional", Method::causal(Grouping::Conditional)),
    ("unconditional", Method::causal(Grouping::Unconditional)),
    ("permuted", Method::permuted(Grouping::Conditional)),
];

/// What is trained on, by arm.
pub const SOURCES: [(Arm, Source); 2] =
    [(EDITS_ORIGINALS, Source::Originals), (EDITS_PAIRED, Source::Edits)];

/// Film reviews as they were found.
pub const EDITS_ORIGINALS: Arm = Arm::new("edits-originals");
/// Film reviews and their edits.
pub const EDITS_PAIRED: Arm = Arm::new("edits-paired");

/// The arm of a method on identity terms.
#[must_use]
pub fn arm(method: &str) -> Arm {
    format!("terms-{method}").into()
}

/// Score of a sentence about a drawn term less that about another, in standard deviations.
pub const TOGGLE: Scalar = Scalar::labelled("toggle", "toggle effect");
/// Its size.
pub const TOGGLE_SIZE: Scalar = Scalar::new("toggle, size");

/// Adjectives of sentences that were trained on, and those that were held out.
pub const ADJECTIVES: [&str; 2] = ["known", "unseen"];

macro_rules! of_adjectives {
    ($($(#[$doc:meta])* $name:ident, $metric:literal, $label:literal;)*) => { $(
        $(#[$doc])*
        #[must_use]
        pub fn $name(adjectives: &str) -> Scalar {
            Scalar::from(format!("{adjectives}/{}", $metric)).shown_as($label)
        }
    )* };
}

of_adjectives! {
    /// Share of pairs whose harmless sentence scores higher.
    accuracy, "accuracy", "accuracy";
    /// The same where the harmless one is about a drawn term.
    harmless_drawn, "accuracy, harmless about drawn", "harmless one about a drawn term";
    /// The same where the toxic one is about a drawn term.
    toxic_drawn, "accuracy, toxic about drawn", "toxic one about a drawn term";
}

/// Share of pairs of a good and a bad test review that are ranked rightly.
pub const ACCURACY_ORIGINALS: Scalar = Scalar::new("accuracy, originals");
/// The same of their edits.
pub const ACCURACY_EDITS: Scalar = Scalar::new("accuracy, edits");
/// The former less the latter.
pub const LOST: Scalar = Scalar::new("lost");
/// Share of reviews that are ranked rightly against their own edits.
pub const ACCURACY_OWN_EDIT: Scalar =
    Scalar::labelled("accuracy, review against its edit", "review against its own edit");

impl Experiment for CausalRewardsDiscrimination {
    fn id(&self) -> &'static str {
        "causal-rewards-discrimination"
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = metrics![
            TOGGLE,
            TOGGLE_SIZE,
            ACCURACY_ORIGINALS,
            ACCURACY_EDITS,
            LOST,
            ACCURACY_OWN_EDIT
        ];
        for adjectives in ADJECTIVES {
            metrics.extend(metrics![
                accuracy(adjectives),
                harmless_drawn(adjectives),
                toxic_drawn(adjectives),
            ]);
        }
        metrics
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let mut arms: Vec<(Arm, DiscriminationConfig)> =
            METHODS.map(|(name, method)| (arm(name), of_terms(method, smoke))).into();
        arms.extend(SOURCES.map(|(arm, source)| (arm, of_edits(source, smoke))));
        let sets = |config: &DiscriminationConfig| config.sets();
        causal::plan(arms, sets, &self.data, settings)
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let device = device(context.device)?;
        let metrics = match cell.config()? {
            DiscriminationConfig::Terms { method, training, pairs, held_out } => {
                let streams = context.streams.child("terms", &[]);
                let phrases = Phrases::new(self.data.madlibs()?, &streams);
                let mut stream = streams.stream("pairs", &[]);
                let train = &[Template::Being, Template::Name];
                let preferences: Vec<Preference> =
                    (0..pairs).map(|_| phrases.pair(train, false, PLANTED, &mut stream)).collect();
                let trained =
                    Trained::fit(method, &training, &preferences, &[], &streams, &device)?;
                terms(&phrases, &trained, held_out, &streams)
            }
            DiscriminationConfig::Edits { source, training, pairs } => {
                let streams = context.streams.child("edits", &[]);
                edits(source, &training, pairs, &self.data, &streams, &device)
            }
        };
        Ok(metrics?.into())
    }
}

impl DiscriminationConfig {
    fn sets(&self) -> &'static [&'static str] {
        match self {
            Self::Terms { .. } => &["bias-probes"],
            Self::Edits { .. } => &["cad-imdb"],
        }
    }
}

fn of_terms(method: Method, smoke: bool) -> DiscriminationConfig {
    DiscriminationConfig::Terms {
        method,
        training: Training::real(4096, false, if smoke { 1 } else { 16 }, 3e-2),
        pairs: if smoke { 200 } else { 40_000 },
        held_out: if smoke { 100 } else { 1000 },
    }
}

fn of_edits(source: Source, smoke: bool) -> DiscriminationConfig {
    DiscriminationConfig::Edits {
        source,
        training: Training::real(1 << 14, false, if smoke { 1 } else { 30 }, 1e-2),
        pairs: if smoke { 50 } else { 800 },
    }
}

/// The phrases by what they are made of.
struct Phrases {
    /// By template, whether toxic, whether the adjective is held out, whether the term is one of
    /// those drawn.
    by_kind: BTreeMap<(Template, bool, bool, bool), Vec<Phrase>>,
}

impl Phrases {
    fn new(phrases: Vec<Phrase>, streams: &Streams) -> Self {
        // Occupations stand in a template of their own: these are the three with identity terms and
        // adjectives.
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

    /// A harmless sentence preferred to a toxic one of the same template, with adjectives that are
    /// held out or not; the toxic one is about a drawn term with probability `share`, the harmless
    /// one with 1 - `share`.
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
    let toggle = probe::toggle(&at(0)?, &at(1)?, &spread(&known))?;
    let mut metrics = Metrics::new().scalar(&TOGGLE, toggle).scalar(&TOGGLE_SIZE, toggle.abs());
    for (name, pairs) in ADJECTIVES.into_iter().zip([&known, &unseen]) {
        let [harmless, toxic] = sides(pairs)?;
        metrics = metrics
            .scalar(&accuracy(name), probe::accuracy(pairs))
            .scalar(&harmless_drawn(name), harmless)
            .scalar(&toxic_drawn(name), toxic);
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
        .scalar(&ACCURACY_ORIGINALS, of_originals)
        .scalar(&ACCURACY_EDITS, of_edits)
        .scalar(&LOST, of_originals - of_edits)
        .scalar(&ACCURACY_OWN_EDIT, own / test.len() as f64))
}

fn good_and_bad(pair: &ReviewPair) -> [&str; 2] {
    match pair.sentiment {
        Sentiment::Positive => [&pair.original, &pair.edit],
        Sentiment::Negative => [&pair.edit, &pair.original],
    }
}

#[cfg(test)]
mod tests {
    #[test]
    #[ignore = "real data"]
    fn its_smoke_run_has_a_report() {
        let data = crate::testing::real_data();
        crate::testing::smoke_with("causal-rewards-discrimination", &data);
    }
}
