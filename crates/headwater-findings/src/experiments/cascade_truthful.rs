//! Experiment `cascade-truthful`, best-of-n on real answers: TruthfulQA (Lin et al. 2022), 817
//! questions with about 22 answers each, every answer labelled by people for truth and for
//! informativeness.
//!
//! A proxy reward is trained on some questions and selects among n answers to held-out ones,
//! n = 1..16; what people said of the selected answers is the gold. The curve is unbiased over all
//! subsets of a pool. Questions are split by seed.
//!
//! Arms differ in the proxy only: what label it learnt (informativeness, which in these data runs
//! against truth, or truth itself), from how many questions, with how much label noise, alone or as
//! an ensemble, linear or a small text model. Controls: a random proxy, under which nothing may
//! change, and a proxy trained on the gold label of plentiful data, under which gold must not fall
//! back from its peak.

use std::collections::BTreeMap;

use headwater_core::{Check, Streams};
use headwater_evaluation::best_of_n::{best_of_n_curve, best_of_n_kl};
use headwater_evaluation::calibration::auroc;
use headwater_evaluation::over_optimization::{Curve, Form, fit};
use headwater_nn::DecoderConfig;
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, DeviceKind, Experiment, Metric,
    Metrics, Plan, Preset, ProtocolError, Scalar, Series, Settings, metrics,
};
use headwater_reward_models::{
    BagOfWordsConfig, Combination, DecoderEncoder, Labelled, Logistic, LogisticConfig, RewardModel,
    RewardModelConfig, Tokens, WordVocabulary, combine,
};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::device::device;
use headwater_data::DataDir;
use headwater_data::truthfulqa::Answer;

/// The experiment; it reads `truthfulqa`.
#[derive(Debug, Clone)]
pub struct CascadeTruthful {
    /// Where the data lies.
    pub data: DataDir,
}

/// Scores drawn at random.
pub const RANDOM: Arm = Arm::new("random");
/// One proxy of truth, from labels a quarter of which is flipped.
pub const NOISY: Arm = Arm::new("truth-100-noise");
/// The mean of five such proxies.
pub const ENSEMBLE_MEAN: Arm = Arm::new("ensemble-mean");
/// Their minimum.
pub const ENSEMBLE_MINIMUM: Arm = Arm::new("ensemble-minimum");
/// Their mean less their variance.
pub const ENSEMBLE_VARIANCE: Arm = Arm::new("ensemble-variance");
/// A small text model of informativeness.
pub const TEXT_INFORMATIVENESS: Arm = Arm::new("text-info-400");
/// A small text model of truth.
pub const TEXT_TRUTH: Arm = Arm::new("text-truth-400");

/// The linear proxy of informativeness from this many labelled questions.
#[must_use]
pub fn informativeness(questions: usize) -> Arm {
    format!("info-{questions}").into()
}

/// The linear proxy of truth from this many labelled questions.
#[must_use]
pub fn truth(questions: usize) -> Arm {
    format!("truth-{questions}").into()
}

/// Largest n; pools with fewer answers are left out of the test.
pub const MOST: usize = 16;
/// Questions of the largest budget: all that are not held out.
pub const PLENTY: usize = 600;
/// Questions held out for selection.
const TEST_QUESTIONS: usize = 200;
/// Hash buckets of the linear proxies.
const BUCKETS: u32 = 1 << 14;

/// Share of selected answers that are true, by n from 1 on.
pub const TRUE: Series = Series::labelled("truth", "share true (people's labels)");
/// Share of selected answers that are informative, by n.
pub const INFORMATIVE: Series =
    Series::labelled("informative", "share informative (people's labels)");
/// Mean score of the selected answer under the proxy itself, by n.
pub const PROXY: Series = Series::labelled("proxy", "proxy score, standard deviations");
/// How well the proxy tells true answers from others.
pub const AUROC_TRUE: Scalar = Scalar::labelled("auroc truth", "AUROC, truth");
/// How well it tells informative answers from others.
pub const AUROC_INFORMATIVE: Scalar = Scalar::labelled("auroc informative", "AUROC, informative");
/// Divergence of the best of [`MOST`] from a uniform draw, nats.
pub const KL: Scalar = Scalar::labelled("kl exact", "KL at 16, exact");
/// Alpha of Gao's form, fitted to truth.
pub const GAO_ALPHA: Scalar = Scalar::labelled("gao alpha", "α of truth");
/// Its beta.
pub const GAO_BETA: Scalar = Scalar::labelled("gao beta", "β of truth");

/// What a proxy is trained to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Target {
    Truth,
    Informativeness,
}

/// How a proxy is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Proxy {
    /// Scores drawn uniformly at random.
    Random,
    /// Logistic regression on hashed words and word pairs.
    Words,
    /// Several of those, each on a bootstrap sample of the questions, combined after
    /// standardising.
    Ensemble { members: usize, combination: Combination },
    /// A small decoder with a scalar head.
    Text,
}

/// What decides a cell's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TruthfulConfig {
    proxy: Proxy,
    target: Target,
    /// Labelled questions the proxy is trained on.
    questions: usize,
    /// Probability that a label is flipped.
    noise: f64,
    /// Held-out questions.
    test_questions: usize,
    /// Passes over the data of the text model.
    text_epochs: usize,
}

/// Every arm: a proxy.
fn proxies(smoke: bool) -> Vec<(Arm, TruthfulConfig)> {
    let words = |target, questions, noise| TruthfulConfig {
        proxy: Proxy::Words,
        target,
        questions,
        noise,
        test_questions: if smoke { 20 } else { TEST_QUESTIONS },
        text_epochs: if smoke { 1 } else { 5 },
    };
    let noisy = || words(Target::Truth, 100, 0.25);
    let ensemble = |combination| {
        let proxy = Proxy::Ensemble { members: 5, combination };
        TruthfulConfig { proxy, ..noisy() }
    };
    let text = |target| TruthfulConfig { proxy: Proxy::Text, ..words(target, 400, 0.0) };
    let of_informativeness =
        |questions| (informativeness(questions), words(Target::Informativeness, questions, 0.0));
    let of_truth = |questions| (truth(questions), words(Target::Truth, questions, 0.0));
    vec![
        (RANDOM, TruthfulConfig { proxy: Proxy::Random, ..words(Target::Truth, 0, 0.0) }),
        of_informativeness(25),
        of_informativeness(100),
        of_informativeness(PLENTY),
        of_truth(25),
        of_truth(100),
        of_truth(PLENTY),
        (NOISY, noisy()),
        (ENSEMBLE_MEAN, ensemble(Combination::Mean)),
        (ENSEMBLE_MINIMUM, ensemble(Combination::Minimum)),
        (ENSEMBLE_VARIANCE, ensemble(Combination::MeanLessVariance { weight: 0.5 })),
        (TEXT_INFORMATIVENESS, text(Target::Informativeness)),
        (TEXT_TRUTH, text(Target::Truth)),
    ]
}

/// Every arm.
pub fn arms() -> impl Iterator<Item = Arm> {
    proxies(false).into_iter().map(|(arm, _)| arm)
}

impl Experiment for CascadeTruthful {
    fn id(&self) -> &'static str {
        "cascade-truthful"
    }

    fn metrics(&self) -> Vec<Metric> {
        metrics![TRUE, INFORMATIVE, PROXY, AUROC_TRUE, AUROC_INFORMATIVE, KL, GAO_ALPHA, GAO_BETA,]
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        if let Err(missing) = self.data.locate("truthfulqa") {
            let reason = missing.to_string();
            return Ok(Plan::not_run(arms(), reason));
        }
        let mut planned = Vec::new();
        for (arm, config) in proxies(settings.preset == Preset::Smoke) {
            planned.push(ArmPlan::new(arm, &config)?);
        }
        Ok(Plan::of(settings.seed_range(10), planned))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let (config, streams) = (cell.config::<TruthfulConfig>()?, &context.streams);
        let split = Split::new(self.data.truthfulqa()?, config.test_questions, streams);
        let scores = proxy_scores(&config, &split, streams, context.device)?;
        Ok(measure(&split, &scores)?.into())
    }
}

/// One question with its answers.
struct Pool {
    question: String,
    answers: Vec<Answer>,
}

/// Questions to learn from and questions to select on.
struct Split {
    train: Vec<Pool>,
    test: Vec<Pool>,
}

impl Split {
    /// Shuffles the questions by seed; the first `test_questions` with at least [`MOST`] answers
    /// are held out.
    fn new(answers: Vec<Answer>, test_questions: usize, streams: &Streams) -> Self {
        let mut by_question: BTreeMap<String, Vec<Answer>> = BTreeMap::new();
        for answer in answers {
            by_question.entry(answer.question.clone()).or_default().push(answer);
        }
        let mut pools: Vec<Pool> =
            by_question.into_iter().map(|(question, answers)| Pool { question, answers }).collect();
        pools.shuffle(&mut streams.stream("split", &[]));
        let (mut train, mut test) = (Vec::new(), Vec::new());
        for pool in pools {
            if test.len() < test_questions && pool.answers.len() >= MOST {
                test.push(pool);
            } else {
                train.push(pool);
            }
        }
        Self { train, test }
    }
}

/// The proxy's scores of every test answer, pool by pool, standardised over the test set.
fn proxy_scores(
    config: &TruthfulConfig,
    split: &Split,
    streams: &Streams,
    kind: DeviceKind,
) -> Result<Vec<Vec<f64>>, CellError> {
    // Labels are noised once per seed, so that every arm with the same noise learns the same
    // labels.
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

/// Label of an answer under a target.
fn label(answer: &Answer, target: Target) -> bool {
    match target {
        Target::Truth => answer.truth >= 0.5,
        Target::Informativeness => answer.informative >= 0.5,
    }
}

/// The gold label as a number.
fn gold(answer: &Answer, target: Target) -> f64 {
    f64::from(u8::from(label(answer, target)))
}

/// Best-of-n curves averaged over the test questions.
fn measure(split: &Split, scores: &[Vec<f64>]) -> Result<Metrics, CellError> {
    let [mut truth, mut informative, mut own, mut kl] = [(); 4].map(|()| vec![0.0; MOST]);
    let count = split.test.len() as f64;
    for (pool, proxy) in split.test.iter().zip(scores) {
        let of = |target| pool.answers.iter().map(|answer| gold(answer, target)).collect();
        let [by_truth, by_informativeness]: [Vec<f64>; 2] =
            [of(Target::Truth), of(Target::Informativeness)];
        let by_truth = best_of_n_curve(proxy, &by_truth)?;
        let by_informativeness = best_of_n_curve(proxy, &by_informativeness)?;
        for n in 0..MOST {
            truth[n] += by_truth[n].gold / count;
            informative[n] += by_informativeness[n].gold / count;
            own[n] += by_truth[n].proxy / count;
        }
        let uniform = vec![1.0 / proxy.len() as f64; proxy.len()];
        for (n, kl) in (1..).zip(&mut kl) {
            *kl += best_of_n_kl(&uniform, proxy, n)? / count;
        }
    }
    let flat: Vec<f64> = scores.iter().flatten().copied().collect();
    let area = |target| {
        let answers = split.test.iter().flat_map(|pool| &pool.answers);
        let labels: Vec<bool> = answers.map(|answer| label(answer, target)).collect();
        auroc(&flat, &labels)
    };
    let curve = Curve {
        distance: kl.iter().map(|kl| kl.sqrt()).collect(),
        reward: truth.iter().map(|share| share - truth[0]).collect(),
    };
    let gao = fit(Form::BestOfN, &[curve])?;
    Ok(Metrics::new()
        .scalar(&KL, kl[MOST - 1])
        .scalar(&GAO_ALPHA, gao.alpha)
        .scalar(&GAO_BETA, gao.beta)
        .scalar(&AUROC_TRUE, area(Target::Truth)?)
        .scalar(&AUROC_INFORMATIVE, area(Target::Informativeness)?)
        .series(&TRUE, truth)
        .series(&INFORMATIVE, informative)
        .series(&PROXY, own))
}

#[cfg(test)]
mod tests {
    #[test]
    #[ignore = "real data"]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke_with("cascade-truthful", &crate::testing::real_data());
    }
}
