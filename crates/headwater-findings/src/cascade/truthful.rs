//! Best-of-n on real answers: TruthfulQA (Lin et al. 2022), 817 questions with about 22 answers each, every
//! answer labelled by people for truth and for informativeness.
//!
//! A proxy reward is trained on some questions and selects among n answers to held-out ones, n = 1..16; what people
//! said of the selected answers is the gold. The curve is unbiased over all subsets of a pool. Questions are
//! split by seed.
//!
//! Arms differ in the proxy only: what label it learnt (informativeness, which in these data runs against
//! truth, or truth itself), from how many questions, with how much label noise, alone or as an ensemble, linear or a
//! small text model. Controls: a random proxy, under which nothing may change, and a proxy trained on the
//! gold label of plentiful data, under which gold must not fall back from its peak.

use std::collections::BTreeMap;

use headwater_core::Streams;
use headwater_evaluation::best_of_n::{best_of_n_curve, best_of_n_kl, best_of_n_kl_bound};
use headwater_evaluation::calibration::auroc;
use headwater_evaluation::over_optimization::{Curve, Form, fit};
use headwater_protocol::{
    Cell, CellError, Contrast, Control, DeviceKind, Direction, Figure, Metrics, NotRun, Outcome,
    Plan, Point, ProtocolError, Records, Registered, Scale, SeedRecords, Table, TableValue,
};
use headwater_reward_models::Combination;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::data::DataDir;
use crate::data::truthfulqa::Answer;

mod proxy;

use proxy::proxy_scores;

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
    /// Several of those, each on a bootstrap sample of the questions, combined after standardising.
    Ensemble { members: usize, combination: Combination },
    /// A small decoder with a scalar head.
    Text,
}

/// What decides a cell's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TruthfulConfig {
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

/// The arm that tells whether this part was run.
pub(super) const ARM: &str = "random";

/// Largest n; pools with fewer answers are left out of the test.
const MOST: usize = 16;
/// Hash buckets of the linear proxies.
const BUCKETS: u32 = 1 << 14;
/// Questions held out for selection.
const TEST_QUESTIONS: usize = 200;
/// Questions of the largest budget: all that are not held out.
const PLENTY: usize = 600;

fn arms() -> Vec<(&'static str, TruthfulConfig)> {
    let words = |target, questions, noise| TruthfulConfig {
        proxy: Proxy::Words,
        target,
        questions,
        noise,
        test_questions: TEST_QUESTIONS,
        text_epochs: 5,
    };
    let ensemble = |combination| TruthfulConfig {
        proxy: Proxy::Ensemble { members: 5, combination },
        ..words(Target::Truth, 100, 0.25)
    };
    let text = |target| TruthfulConfig { proxy: Proxy::Text, ..words(target, 400, 0.0) };
    vec![
        (ARM, TruthfulConfig { proxy: Proxy::Random, ..words(Target::Truth, 0, 0.0) }),
        ("info-25", words(Target::Informativeness, 25, 0.0)),
        ("info-100", words(Target::Informativeness, 100, 0.0)),
        ("info-600", words(Target::Informativeness, PLENTY, 0.0)),
        ("truth-25", words(Target::Truth, 25, 0.0)),
        ("truth-100", words(Target::Truth, 100, 0.0)),
        ("truth-600", words(Target::Truth, PLENTY, 0.0)),
        ("truth-100-noise", words(Target::Truth, 100, 0.25)),
        ("ensemble-mean", ensemble(Combination::Mean)),
        ("ensemble-minimum", ensemble(Combination::Minimum)),
        ("ensemble-variance", ensemble(Combination::MeanLessVariance { weight: 0.5 })),
        ("text-info-400", text(Target::Informativeness)),
        ("text-truth-400", text(Target::Truth)),
    ]
}

/// Expected truth of the answer selected from n, less that of a random answer.
fn truth_change(seed: &SeedRecords<'_>, arm: &str, n: usize) -> Result<f64, ProtocolError> {
    let truth = seed.series(arm, "truth")?;
    Ok(truth[n - 1] - truth[0])
}

/// Expected informativeness of the answer the truth proxy selects from `n`, less that from `fewer`.
fn informativeness_change(
    seed: &SeedRecords<'_>,
    n: usize,
    fewer: usize,
) -> Result<f64, ProtocolError> {
    let informative = seed.series("truth-600", "informative")?;
    Ok(informative[n - 1] - informative[fewer - 1])
}

/// Truth at best of 16 under an ensemble, less that under one proxy of the same noisy labels.
fn noisy_gain(seed: &SeedRecords<'_>, arm: &str) -> Result<f64, ProtocolError> {
    Ok(truth_change(seed, arm, 16)? - truth_change(seed, "truth-100-noise", 16)?)
}

/// The cells of one seed.
pub(super) fn plan(
    finding: &str,
    seed: u64,
    smoke: bool,
    wrap: fn(TruthfulConfig) -> super::CellConfig,
    plan: &mut Plan,
) -> Result<(), ProtocolError> {
    for (arm, mut config) in arms() {
        if smoke {
            config.test_questions = 20;
            config.text_epochs = 1;
        }
        plan.cells.push(Cell::new(finding, arm, seed, &wrap(config))?);
    }
    Ok(())
}

/// Every arm as not run, for `reason`.
pub(super) fn not_run(reason: &impl ToString) -> impl Iterator<Item = NotRun> {
    arms().into_iter().map(|(arm, _)| NotRun::new(arm, reason.to_string()))
}

/// Runs one cell.
pub(super) fn run(
    config: &TruthfulConfig,
    data: &DataDir,
    streams: &Streams,
    device: DeviceKind,
) -> Result<Outcome, CellError> {
    let split = Split::new(data.truthfulqa()?, config.test_questions, streams);
    let scores = proxy_scores(config, &split, streams, device)?;
    Ok(measure(&split, &scores)?.into())
}

pub(super) fn contrasts() -> Vec<Contrast> {
    vec![
        Contrast {
            name: "truth, informativeness proxy: best of 16 - best of 1",
            direction: Direction::Decrease,
            smallest_effect: 0.05,
            registered: Registered::Before,
            published: None,
            attainable: None,
            per_seed: |seed| truth_change(seed, "info-600", 16),
        },
        Contrast {
            name: "truth, informativeness proxy: best of 16 - best of 2",
            direction: Direction::Decrease,
            smallest_effect: 0.02,
            registered: Registered::Before,
            published: None,
            attainable: None,
            per_seed: |seed| {
                Ok(truth_change(seed, "info-600", 16)? - truth_change(seed, "info-600", 2)?)
            },
        },
        Contrast {
            name: "truth, informativeness text model: best of 16 - best of 1",
            direction: Direction::Decrease,
            smallest_effect: 0.05,
            registered: Registered::Before,
            published: None,
            attainable: None,
            per_seed: |seed| truth_change(seed, "text-info-400", 16),
        },
        Contrast {
            name: "truth, truth proxy from 25 questions: best of 16 - best of 4",
            direction: Direction::Decrease,
            smallest_effect: 0.02,
            registered: Registered::PostHoc,
            published: Some(
                "gold falls beyond its peak for small proxies (Gao et al., their figure 1)",
            ),
            attainable: None,
            per_seed: |seed| {
                Ok(truth_change(seed, "truth-25", 16)? - truth_change(seed, "truth-25", 4)?)
            },
        },
        Contrast {
            name: "truth at best of 16, noisy labels: minimum of five - single",
            direction: Direction::Increase,
            smallest_effect: 0.03,
            registered: Registered::PostHoc,
            published: Some(
                "up to 75% better than a single proxy under label noise (Coste et al.)",
            ),
            attainable: None,
            per_seed: |seed| noisy_gain(seed, "ensemble-minimum"),
        },
        Contrast {
            name: "truth at best of 16, noisy labels: mean less variance of five - single",
            direction: Direction::Increase,
            smallest_effect: 0.03,
            registered: Registered::PostHoc,
            published: Some("as the minimum (Coste et al.)"),
            attainable: None,
            per_seed: |seed| noisy_gain(seed, "ensemble-variance"),
        },
        Contrast {
            name: "informativeness, truth proxy: best of 16 - best of 1",
            direction: Direction::Decrease,
            smallest_effect: 0.05,
            registered: Registered::PostHoc,
            published: None,
            attainable: None,
            per_seed: |seed| informativeness_change(seed, 16, 1),
        },
        Contrast {
            name: "informativeness, truth proxy: best of 16 - best of 2",
            direction: Direction::Decrease,
            smallest_effect: 0.02,
            registered: Registered::PostHoc,
            published: None,
            attainable: None,
            per_seed: |seed| informativeness_change(seed, 16, 2),
        },
        Contrast {
            name: "truth at best of 16: proxy from 600 questions - from 25",
            direction: Direction::Increase,
            smallest_effect: 0.03,
            registered: Registered::Before,
            published: None,
            attainable: None,
            per_seed: |seed| {
                Ok(truth_change(seed, "truth-600", 16)? - truth_change(seed, "truth-25", 16)?)
            },
        },
    ]
}

pub(super) fn controls() -> Vec<Control> {
    vec![
        Control {
            name: "random proxy: truth, best of 16 - best of 1",
            margin: 0.03,
            per_seed: |seed| truth_change(seed, "random", 16),
        },
        Control {
            name: "gold label, plentiful data: fall of truth from its peak to best of 16",
            margin: 0.03,
            per_seed: |seed| {
                let truth = seed.series("truth-600", "truth")?;
                let peak = truth.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                Ok(truth[MOST - 1] - peak)
            },
        },
    ]
}

pub(super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let n = records.series(ARM, "truth").len();
    let figure = |title: &str, metric: &str, label: &str, arms: &[&str]| {
        let mut figure = Figure::lines(title, "n of best-of-n", label, n).x_scale(Scale::Log2);
        if label.starts_with("share") {
            figure = figure.value_range(0.0, 1.0);
        }
        for arm in arms {
            let effects = records.series_effect(arm, metric)?;
            let points = effects.iter().enumerate();
            let points = points.filter_map(|(at, effect)| Point::measured(at as f64 + 1.0, effect));
            figure = figure.series(*arm, points);
        }
        Ok::<Figure, ProtocolError>(figure)
    };
    let trained = ["random", "info-25", "info-600", "truth-25", "truth-100", "truth-600"];
    let noisy =
        ["truth-100", "truth-100-noise", "ensemble-mean", "ensemble-minimum", "ensemble-variance"];
    Ok(vec![
        figure("Real answers: truth of the selected one", "truth", "share true (people's labels)", &trained)?
            .caption(
                "Arms are named by the label the proxy learnt and the number of labelled questions. Evasive answers \
                 count as true in these data.",
            ),
        figure(
            "Real answers: informativeness of the selected one",
            "informative",
            "share informative (people's labels)",
            &trained,
        )?
        .caption("The same selections, judged by the other label."),
        figure("Real answers: the proxy's own view", "proxy", "proxy score, standard deviations", &trained)?
            .caption("Mean score of the selected answer under the proxy itself, standardised over all held-out answers."),
        figure("Real answers: label noise and ensembles", "truth", "share true (people's labels)", &noisy)?
            .caption("100 labelled questions, a quarter of the labels flipped; five members."),
    ])
}

pub(super) fn tables(records: &Records) -> Result<Vec<Table>, ProtocolError> {
    let columns = [
        "proxy",
        "AUROC, truth",
        "AUROC, informative",
        "truth, n = 1",
        "truth, n = 16",
        "informative, n = 1",
        "informative, n = 16",
        "proxy gain, SD",
        "KL at 16, exact",
        "KL at 16, bound",
        "α of truth",
        "β of truth",
    ];
    let mut table = Table::new("Real answers: every proxy", columns).note(
        "Held-out questions with at least 16 answers. KL in nats between best-of-16 and a uniform draw \
         from the pool, exact on the pool; the bound is ln n - (n-1)/n. α and β: truth fitted as d (α - β d) \
         with d the root of the exact KL (Gao et al.); β > 0 bends it down.",
    );
    let bound = best_of_n_kl_bound(MOST).unwrap_or(f64::NAN);
    for (arm, _) in arms() {
        let at = |metric: &str, n: usize| records.value_at(arm, metric, n - 1);
        let scalar = |metric: &str| records.value(arm, metric);
        table = table.row([
            arm.into(),
            scalar("auroc truth"),
            scalar("auroc informative"),
            at("truth", 1),
            at("truth", MOST),
            at("informative", 1),
            at("informative", MOST),
            at("proxy", MOST),
            scalar("kl exact"),
            TableValue::Number(bound, 3),
            scalar("gao alpha"),
            scalar("gao beta"),
        ]);
    }
    Ok(vec![table])
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
    /// Shuffles the questions by seed; the first `test_questions` with at least [`MOST`] answers are held out.
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

/// Label of an answer under a target, 0 or 1.
fn label(answer: &Answer, target: Target) -> bool {
    match target {
        Target::Truth => answer.truth >= 0.5,
        Target::Informativeness => answer.informative >= 0.5,
    }
}

/// Best-of-n curves averaged over the test questions.
fn measure(split: &Split, scores: &[Vec<f64>]) -> Result<Metrics, CellError> {
    let mut curves: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut kl = vec![0.0; MOST];
    let count = split.test.len() as f64;
    for (pool, proxy) in split.test.iter().zip(scores) {
        let truth: Vec<f64> = pool.answers.iter().map(|a| gold(a, Target::Truth)).collect();
        let informative: Vec<f64> =
            pool.answers.iter().map(|a| gold(a, Target::Informativeness)).collect();
        let truth = best_of_n_curve(proxy, &truth)?;
        let informative = best_of_n_curve(proxy, &informative)?;
        for n in 0..MOST {
            for (name, value) in [
                ("truth", truth[n].gold),
                ("informative", informative[n].gold),
                ("proxy", truth[n].proxy),
            ] {
                curves.entry(name).or_insert_with(|| vec![0.0; MOST])[n] += value / count;
            }
        }
        let uniform = vec![1.0 / proxy.len() as f64; proxy.len()];
        for (n, kl) in (1..).zip(&mut kl) {
            *kl += best_of_n_kl(&uniform, proxy, n)? / count;
        }
    }
    let flat: Vec<f64> = scores.iter().flatten().copied().collect();
    let answers = || split.test.iter().flat_map(|pool| &pool.answers);
    let truth = &curves["truth"];
    let gold = Curve {
        distance: kl.iter().map(|kl| kl.sqrt()).collect(),
        reward: truth.iter().map(|share| share - truth[0]).collect(),
    };
    let gao = fit(Form::BestOfN, &[gold])?;
    let mut metrics = Metrics::new()
        .scalar("kl exact", kl[MOST - 1])
        .scalar("gao alpha", gao.alpha)
        .scalar("gao beta", gao.beta);
    for (name, target) in
        [("auroc truth", Target::Truth), ("auroc informative", Target::Informativeness)]
    {
        let labels: Vec<bool> = answers().map(|answer| label(answer, target)).collect();
        metrics = metrics.scalar(name, auroc(&flat, &labels)?);
    }
    for (name, curve) in curves {
        metrics = metrics.series(name, curve);
    }
    Ok(metrics)
}

/// The gold label as a number.
fn gold(answer: &Answer, target: Target) -> f64 {
    f64::from(u8::from(label(answer, target)))
}
