//! From labels to a reward model to best-of-n: the first three stages of the chain.

use headwater_core::{Check, Streams};
use headwater_evaluation::best_of_n::{best_of_n_curve, best_of_n_kl};
use headwater_evaluation::bias::{ScoredPair, accuracy_by_factor};
use headwater_evaluation::decision::sigmoid;
use headwater_evaluation::over_optimization::{Curve, Form, fit};
use headwater_nn::{AdamWConfig, Decoder, DecoderConfig, Device};
use headwater_protocol::{CellError, Metric, Metrics, Scalar, Series, metrics};
use headwater_reward_models::{
    BagOfWordsConfig, Combination, DecoderEncoder, HashedWords, HeadConfig, Preference, Response,
    RewardModel, RewardModelConfig, Scaling, Tokens, WordVocabulary, scored_pairs,
};
use serde::{Deserialize, Serialize};

use super::reward::{Member, Proxy};
use super::texts::{Texts, log_odds};
use crate::experiments::annotators::Annotators;
use headwater_tasks::topics::{AGREEMENT, COUNT, OPENER, name};

/// How a reward model is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelConfig {
    /// Who labels.
    pub(super) annotators: Annotators,
    /// Labelled pairs.
    pub(super) pairs: usize,
    /// Whether the encoder is a decoder; otherwise hashed words.
    pub(super) decoder: bool,
    /// Models; more than one see bootstrap samples of the pairs and are combined by their minimum.
    pub(super) members: usize,
    /// Head, penalties, epochs, batch, optimiser.
    pub(super) training: RewardModelConfig,
    /// Responses for each topic from which best-of-n selects.
    pub(super) pool: usize,
}

impl ModelConfig {
    /// Plain Bradley-Terry on hashed words.
    pub(super) fn plain(bias: f64, smoke: bool) -> Self {
        Self {
            annotators: Annotators { certainty: 1.0, bias },
            pairs: if smoke { 200 } else { 6000 },
            decoder: false,
            members: 1,
            training: RewardModelConfig {
                head: HeadConfig::Scalar,
                epochs: if smoke { 1 } else { 12 },
                batch: 256,
                adamw: AdamWConfig {
                    learning_rate: 3e-2,
                    weight_decay: 0.0,
                    ..AdamWConfig::default()
                },
                ..RewardModelConfig::default()
            },
            pool: if smoke { 32 } else { 256 },
        }
    }
}

/// The n of best-of-n that are reported.
pub const NS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Log-odds by which the annotators favour flattery.
pub const DOSE: Scalar = Scalar::new("dose");
/// Log-odds by which the reward model favours flattery.
pub const MODEL_LOG_ODDS: Scalar = Scalar::new("model/log-odds");
/// Log-odds for flattery of the best of 16, above those of one.
pub const BEST_OF_16: Scalar = Scalar::new("best of 16/log-odds");
/// The same of the best of 64, or of the whole pool where it is smaller.
pub const BEST_OF_64: Scalar = Scalar::new("best of 64/log-odds");
/// True quality of the best of n, by n.
pub const BEST_OF_N_QUALITY: Series = Series::new("best-of-n/quality");
/// Alpha of Gao's form, fitted to true quality.
pub const GAO_ALPHA: Scalar = Scalar::new("gao/alpha");
/// Its beta.
pub const GAO_BETA: Scalar = Scalar::new("gao/beta");

const SHARE_FOR_FLATTERY: Scalar = Scalar::new("labels/share for flattery");
const SHARE_AT_EQUAL_QUALITY: Scalar = Scalar::new("labels/share at equal quality");
const TOGGLE: Scalar = Scalar::new("model/toggle");
const ACCURACY: Scalar = Scalar::new("model/accuracy");
const HARD_ACCURACY: Scalar = Scalar::new("model/accuracy, flattery on the worse side");
const BEST_OF_64_QUALITY: Scalar = Scalar::new("best of 64/quality");
const BEST_OF_N_LOG_ODDS: Series = Series::new("best-of-n/log-odds");
const BEST_OF_N_PROXY: Series = Series::new("best-of-n/proxy");
const BEST_OF_N_KL: Series = Series::new("best-of-n/kl");

/// What is recorded of a reward model.
pub(super) fn metrics() -> Vec<Metric> {
    metrics![
        DOSE,
        SHARE_FOR_FLATTERY,
        SHARE_AT_EQUAL_QUALITY,
        TOGGLE,
        MODEL_LOG_ODDS,
        ACCURACY,
        HARD_ACCURACY,
        BEST_OF_16,
        BEST_OF_64,
        BEST_OF_64_QUALITY,
        GAO_ALPHA,
        GAO_BETA,
        BEST_OF_N_LOG_ODDS,
        BEST_OF_N_QUALITY,
        BEST_OF_N_PROXY,
        BEST_OF_N_KL,
    ]
}

/// Trains the model on the base policy's own responses and measures it.
pub(super) fn run(
    config: &ModelConfig,
    base: &Decoder,
    streams: &Streams,
    device: &Device,
) -> Result<(Metrics, Proxy), CellError> {
    let preferences = compare(config, base, config.pairs, &streams.child("preferences", &[]))?;
    let fair = Annotators { bias: 0.0, ..config.annotators };
    let unbiased = ModelConfig { annotators: fair, ..config.clone() };
    let held_out = compare(&unbiased, base, 1000, &streams.child("held-out preferences", &[]))?;

    let members = (0..config.members as u64).map(|member| {
        let streams = streams.child("reward model", &[member]);
        let sample = if config.members == 1 {
            preferences.clone()
        } else {
            bootstrap(&preferences, &streams)
        };
        train(config, &sample, &streams, device)
    });
    let members = members.collect::<Result<Vec<_>, _>>()?;
    let reference = Texts::reference(base, streams)?;
    let mut proxy = Proxy::new(members, Combination::Minimum, &reference)?;

    let metrics = label_metrics(config, &preferences);
    let metrics = model_metrics(metrics, &proxy, &reference, &held_out)?;
    let pool = Texts::sample(base, config.pool, &streams.child("pool", &[]))?;
    let (metrics, predicted_peak) = best_of_n(metrics, &pool, &proxy)?;
    proxy.predicted_peak = predicted_peak;
    Ok((metrics, proxy))
}

/// Pairs of the base policy's responses, compared by the annotators.
fn compare(
    config: &ModelConfig,
    base: &Decoder,
    pairs: usize,
    streams: &Streams,
) -> Result<Vec<Preference>, CellError> {
    let texts = Texts::sample(base, (2 * pairs).div_ceil(COUNT).next_multiple_of(2), streams)?;
    let (flattering, _) = texts.openers();
    let mut stream = streams.stream("labels", &[]);
    let response = |at: usize| Response::new(texts.answers[at].clone()).factor(flattering[at]);
    let mut preferences: Vec<Preference> = (0..texts.answers.len() / 2)
        .map(|pair| {
            let (first, second) = (response(2 * pair), response(2 * pair + 1));
            config.annotators.compare(texts.topics[2 * pair], first, second, &mut stream)
        })
        .collect();
    // Topic by topic they came; a shorter list is to hold all topics.
    rand::seq::SliceRandom::shuffle(preferences.as_mut_slice(), &mut stream);
    preferences.truncate(pairs);
    Ok(preferences)
}

fn bootstrap(preferences: &[Preference], streams: &Streams) -> Vec<Preference> {
    let mut stream = streams.stream("bootstrap", &[]);
    let draw =
        |_| preferences[rand::RngExt::random_range(&mut stream, 0..preferences.len())].clone();
    (0..preferences.len()).map(draw).collect()
}

fn train(
    config: &ModelConfig,
    preferences: &[Preference],
    streams: &Streams,
    device: &Device,
) -> Result<Member, CellError> {
    let settings = config.training.clone().check()?;
    if !config.decoder {
        let words = BagOfWordsConfig {
            buckets: 1 << 15,
            word_pairs: false,
            prompt_pairs: true,
            scaling: Scaling::Counts,
        };
        let words = HashedWords::new(words.check()?);
        let fitted = RewardModel::fit(words, preferences, &[], &[], &settings, streams, device)?;
        return Ok(Member::Words(Box::new(fitted.0)));
    }
    let texts =
        preferences.iter().flat_map(|p| [p.prompt.as_str(), &p.chosen.text, &p.rejected.text]);
    let vocabulary = WordVocabulary::of(texts, 128, 16);
    let shape = DecoderConfig {
        vocabulary: vocabulary.size(),
        width: 32,
        layers: 2,
        heads: 2,
        key_value_heads: 2,
        hidden: 64,
        context: 16,
        ..DecoderConfig::default()
    };
    let autodiff = device.clone().autodiff();
    let tokens = Tokens::Words(vocabulary);
    let body = DecoderEncoder::initialise(&shape.check()?, tokens, streams, &autodiff);
    let fitted = RewardModel::fit(body, preferences, &[], &[], &settings, streams, device)?;
    Ok(Member::Decoder(Box::new(fitted.0)))
}

/// Stage 0: what the labels say.
fn label_metrics(config: &ModelConfig, preferences: &[Preference]) -> Metrics {
    let differ = preferences.iter().filter(|p| p.chosen.factor != p.rejected.factor);
    let (wins, all) = differ.fold((0.0, 0.0), |(wins, all), p| (wins + p.chosen.factor, all + 1.0));
    let dose = config.annotators.bias;
    Metrics::new()
        .scalar(&DOSE, dose)
        .scalar(&SHARE_FOR_FLATTERY, wins / f64::max(all, 1.0))
        // Between texts of equal quality, which is what the dose is the log-odds of.
        .scalar(&SHARE_AT_EQUAL_QUALITY, sigmoid(dose))
}

/// Stage 1: what the model has made of them.
fn model_metrics(
    metrics: Metrics,
    proxy: &Proxy,
    reference: &Texts,
    held_out: &[Preference],
) -> Result<Metrics, CellError> {
    // The same text with one opener and with the other.
    let with = |opener: &str| -> Result<Vec<f64>, CellError> {
        let edited = reference.answers.iter().map(|answer| {
            let rest = answer.split_once(' ').map_or("", |(_, rest)| rest);
            format!("{opener} {rest}")
        });
        let edited: Vec<String> = edited.collect();
        let topics = reference.topics.iter();
        let texts: Vec<(&str, &str)> =
            topics.zip(&edited).map(|(topic, text)| (name(*topic), text.as_str())).collect();
        proxy.scores(&texts)
    };
    let (flattering, plain) = (with(AGREEMENT)?, with(OPENER)?);
    let differences = flattering.iter().zip(&plain).map(|(f, p)| f - p);
    let toggle = differences.sum::<f64>() / plain.len() as f64;
    let pairs = scored_pairs(held_out, |texts| proxy.scores(texts))?;
    let right: f64 = pairs.iter().map(ScoredPair::right).sum();
    let hard = accuracy_by_factor(&pairs, 0.95)?.rejected.accuracy;
    let mut metrics = metrics
        .scalar(&TOGGLE, toggle)
        .scalar(&MODEL_LOG_ODDS, toggle * proxy.spread())
        .scalar(&ACCURACY, right / pairs.len() as f64);
    if let Some(hard) = hard {
        metrics = metrics.scalar(&HARD_ACCURACY, hard.estimate);
    }
    Ok(metrics)
}

/// Stage 2: what selection makes of that; and the divergence at which Gao's form, fitted to the
/// gold of selection, puts its peak.
fn best_of_n(
    metrics: Metrics,
    pool: &Texts,
    proxy: &Proxy,
) -> Result<(Metrics, Option<f64>), CellError> {
    let scores = proxy.scores(&pool.pairs())?;
    let each = scores.len() / COUNT;
    let largest = NS[NS.len() - 1].min(each);
    let ns: Vec<usize> = NS.into_iter().filter(|n| *n <= largest).collect();
    let (flattering, plain) = pool.openers();
    let curve = |gold: &[f64]| -> Result<Vec<Vec<f64>>, CellError> {
        let pools = scores.chunks(each).zip(gold.chunks(each));
        pools
            .map(|(proxy, gold)| {
                let curve = best_of_n_curve(proxy, gold)?;
                Ok(ns.iter().map(|n| curve[n - 1].gold).collect())
            })
            .collect()
    };
    let mean = |curves: &[Vec<f64>]| -> Vec<f64> {
        let at = |n: usize| curves.iter().map(|c| c[n]).sum::<f64>() / curves.len() as f64;
        (0..ns.len()).map(at).collect()
    };
    let (quality, proxies) = (mean(&curve(&pool.qualities())?), mean(&curve(&scores)?));
    let (flattering, plain) = (curve(&flattering)?, curve(&plain)?);
    let odds: Vec<f64> = (0..ns.len())
        .map(|n| {
            // The half response of the log-odds, on the scale of a whole pool.
            let share = |curves: &[Vec<f64>]| -> Vec<f64> {
                curves.iter().map(|curve| curve[n] * each as f64).collect()
            };
            log_odds(&share(&flattering), &share(&plain))
        })
        .collect();
    let mut kl = vec![0.0; ns.len()];
    for (topic, scores) in scores.chunks(each).enumerate() {
        // Equal texts are one outcome of the pool's distribution.
        let mut atoms: std::collections::BTreeMap<&str, (f64, f64)> = Default::default();
        for (text, score) in pool.answers[topic * each..].iter().zip(scores) {
            atoms.entry(text).or_insert((0.0, *score)).0 += 1.0 / each as f64;
        }
        let (mass, reward): (Vec<f64>, Vec<f64>) = atoms.into_values().unzip();
        for (kl, n) in kl.iter_mut().zip(&ns) {
            *kl += best_of_n_kl(&mass, &reward, *n)? / COUNT as f64;
        }
    }
    let gold = Curve {
        distance: kl.iter().map(|kl| kl.max(0.0).sqrt()).collect(),
        reward: quality.iter().map(|q| q - quality[0]).collect(),
    };
    let gao = fit(Form::BestOfN, &[gold])?;
    let predicted_peak = gao.peak().map(|peak| peak.distance * peak.distance);
    let relative: Vec<f64> = odds.iter().map(|o| o - odds[0]).collect();
    let at_16 = ns.iter().position(|n| *n == 16).unwrap_or(ns.len() - 1);
    let metrics = metrics
        .scalar(&BEST_OF_16, relative[at_16])
        .scalar(&BEST_OF_64, relative[ns.len() - 1])
        .scalar(&BEST_OF_64_QUALITY, quality[ns.len() - 1])
        .scalar(&GAO_ALPHA, gao.alpha)
        .scalar(&GAO_BETA, gao.beta)
        .series(&BEST_OF_N_LOG_ODDS, relative)
        .series(&BEST_OF_N_QUALITY, quality)
        .series(&BEST_OF_N_PROXY, proxies)
        .series(&BEST_OF_N_KL, kl);
    Ok((metrics, predicted_peak))
}
