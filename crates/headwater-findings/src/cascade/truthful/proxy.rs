//! The proxy rewards: how each is trained and how it scores the held-out answers.

use headwater_core::{Check, Streams};
use headwater_nn::DecoderConfig;
use headwater_protocol::{CellError, DeviceKind};
use headwater_reward_models::{
    BagOfWordsConfig, DecoderEncoder, Labelled, Logistic, LogisticConfig, RewardModel,
    RewardModelConfig, Tokens, WordVocabulary, combine,
};
use rand::RngExt;

use super::{BUCKETS, Proxy, Split, TruthfulConfig, label};
use crate::data::truthfulqa::Answer;
use crate::device::device;

/// The proxy's scores of every test answer, pool by pool, standardised over the test set.
pub(super) fn proxy_scores(
    config: &TruthfulConfig,
    split: &Split,
    streams: &Streams,
    kind: DeviceKind,
) -> Result<Vec<Vec<f64>>, CellError> {
    // Labels are noised once per seed, so that every arm with the same noise learns the same labels.
    let mut noise = streams.stream("label noise", &[]);
    let train: Vec<Vec<(&str, &Answer, f64)>> = split
        .train
        .iter()
        .take(config.questions)
        .map(|pool| {
            let labelled = pool.answers.iter().map(|answer| {
                let flip = noise.random::<f64>() < config.noise;
                let label = label(answer, config.target) != flip;
                (pool.question.as_str(), answer, f64::from(u8::from(label)))
            });
            labelled.collect()
        })
        .collect();
    let all: Vec<usize> = (0..train.len()).collect();
    let flat = match &config.proxy {
        Proxy::Random => {
            let mut stream = streams.stream("random proxy", &[]);
            let count = split.test.iter().map(|pool| pool.answers.len()).sum();
            (0..count).map(|_| stream.random::<f64>()).collect()
        }
        Proxy::Words => linear_scores(&train, &all, split, streams, 0)?,
        Proxy::Ensemble { members, combination } => {
            let mut scores = Vec::with_capacity(*members);
            for member in 0..*members as u64 {
                let mut stream = streams.stream("bootstrap", &[member]);
                let sample: Vec<usize> =
                    all.iter().map(|_| stream.random_range(0..train.len())).collect();
                scores.push(standardised(linear_scores(&train, &sample, split, streams, member)?));
            }
            combine(&scores, *combination)?
        }
        Proxy::Text => text_scores(&train, config.text_epochs, split, streams, kind)?,
    };
    let mut rest = standardised(flat).into_iter();
    Ok(split.test.iter().map(|pool| rest.by_ref().take(pool.answers.len()).collect()).collect())
}

type LabelledPool<'a> = Vec<(&'a str, &'a Answer, f64)>;

fn linear_scores(
    train: &[LabelledPool<'_>],
    sample: &[usize],
    split: &Split,
    streams: &Streams,
    member: u64,
) -> Result<Vec<f64>, CellError> {
    let bag = BagOfWordsConfig { buckets: BUCKETS, ..BagOfWordsConfig::default() }.check()?;
    let examples: Vec<Labelled<_>> = sample
        .iter()
        .flat_map(|pool| &train[*pool])
        .map(|(question, answer, label)| Labelled {
            input: bag.features(question, &answer.answer),
            label: *label,
        })
        .collect();
    let mut stream = streams.stream("linear fit", &[member]);
    let config = LogisticConfig::default().check()?;
    let model = Logistic::fit(&examples, BUCKETS as usize, &config, &mut stream)?;
    let test = split.test.iter().flat_map(|pool| pool.answers.iter());
    Ok(test.map(|a| model.score(&bag.features(&a.question, &a.answer))).collect())
}

fn text_scores(
    train: &[LabelledPool<'_>],
    epochs: usize,
    split: &Split,
    streams: &Streams,
    kind: DeviceKind,
) -> Result<Vec<f64>, CellError> {
    let texts = train.iter().flatten().flat_map(|(q, answer, _)| [*q, answer.answer.as_str()]);
    let vocabulary = WordVocabulary::of(texts, 1000, 32);
    let shape = DecoderConfig {
        vocabulary: vocabulary.size(),
        context: 32,
        layers: 1,
        ..DecoderConfig::default()
    }
    .check()?;
    let examples: Vec<Labelled<(&str, &str)>> = train
        .iter()
        .flatten()
        .map(|(question, answer, label)| Labelled {
            input: (*question, answer.answer.as_str()),
            label: *label,
        })
        .collect();
    let streams = streams.child("text model", &[]);
    let device = device(kind)?;
    let body = Tokens::Words(vocabulary);
    let body = DecoderEncoder::initialise(&shape, body, &streams, &device.clone().autodiff());
    let config = RewardModelConfig { epochs, ..RewardModelConfig::default() }.check()?;
    let model = RewardModel::fit_labels(body, &examples, &config, &streams, &device)?;
    let test = split.test.iter().flat_map(|pool| pool.answers.iter());
    let texts: Vec<(&str, &str)> = test.map(|a| (a.question.as_str(), a.answer.as_str())).collect();
    Ok(model.scores(&texts)?)
}

/// Mean 0 and population standard deviation 1; all 0 for constant scores.
fn standardised(scores: Vec<f64>) -> Vec<f64> {
    let count = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / count;
    let deviation = (scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / count).sqrt();
    let scale = if deviation > 0.0 { deviation } else { 1.0 };
    scores.into_iter().map(|score| (score - mean) / scale).collect()
}
