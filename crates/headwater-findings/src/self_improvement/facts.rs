//! A table of random facts: what a policy does not know, it cannot verify.
//!
//! Keys have random values. One base per seed is shown some keys with their values and the others with a value drawn
//! anew every time, so that it knows the former and guesses the latter; it learns to verify on answers to keys that it knows.
//! A verdict on a guess can be worth nothing, as there is no rule by which a value could be checked: scores must tell right
//! guesses from wrong ones no better than chance, and learning from one's own verdicts must not raise accuracy. With a checker
//! that has the table, the same loop must raise it.
//!
//! This is the row of Natural Questions in Song et al. 2024 (arXiv 2412.02674), whose gap was within 0.01 at accuracies of .065 to
//! .415. Both are controls of the whole finding.

use headwater_core::{Check, StreamRng, Streams};
use headwater_evaluation::calibration::auroc;
use headwater_nn::{
    AdamW, AdamWConfig, Checkpoint, Decoder, DecoderConfig, Example, SamplingConfig,
    supervised_step,
};
use headwater_optimizers::Prompt;
use headwater_protocol::{
    CellError, Contrast, Control, Direction, Figure, Metrics, Outcome, ProtocolError, Records,
    Registered, SeedRecords, Table, TableValue, Workbench,
};
use headwater_self_improvement::fit::FitConfig;
use headwater_self_improvement::gap::VerdictRates;
use headwater_self_improvement::rejection::{RejectionConfig, Start, rejection_round};
use headwater_self_improvement::verification::VerificationFormat;
use headwater_self_improvement::{Generations, SelfImprovementError};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::device::device;
use crate::schedule::warmup_then_cosine;

/// Keys that are known, the first ones, and all. What a policy guesses of one key it always guesses in the end, so that chance
/// averages out over keys alone: of unknown ones there are many.
const KNOWN: u32 = 128;
const KEYS: u32 = KNOWN + 512;
const VALUES: u32 = 16;
/// Token ids of the first key and the first value.
const KEY: u32 = 3;
const VALUE: u32 = KEY + KEYS;
const FORMAT: VerificationFormat = VerificationFormat {
    query: VALUE + VALUES,
    right: VALUE + VALUES + 1,
    wrong: VALUE + VALUES + 2,
};
/// Answers per key when measured.
const SAMPLES: usize = 32;

const BASE: &str = "facts-base";
const SELF: &str = "facts-self";
const GOLD: &str = "facts-gold";

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) enum FactsConfig {
    /// Training on facts, guesses and verdicts, so many of each per step.
    Base { decoder: DecoderConfig, adamw: AdamWConfig, steps: usize, facts: usize, verdicts: usize },
    /// Rounds of rejection fine-tuning on all keys, by one's own verdicts or by the table.
    Loop { table: bool, rounds: usize, round: RejectionConfig },
}

impl FactsConfig {
    /// Arms whose artifact the cell starts from.
    pub(super) fn needs(&self) -> &'static [&'static str] {
        match self {
            Self::Base { .. } => &[],
            Self::Loop { .. } => &[BASE],
        }
    }
}

pub(super) fn arms(smoke: bool) -> Vec<(String, FactsConfig)> {
    let base = FactsConfig::Base {
        decoder: DecoderConfig {
            vocabulary: FORMAT.wrong as usize + 1,
            width: 32,
            layers: 2,
            heads: 4,
            key_value_heads: 4,
            hidden: 64,
            // Key, value, query, verdict.
            context: 4,
            ..DecoderConfig::default()
        },
        adamw: AdamWConfig { learning_rate: 5e-3, ..AdamWConfig::default() },
        steps: if smoke { 3 } else { 500 },
        facts: 64,
        verdicts: 64,
    };
    let looped = |table| FactsConfig::Loop {
        table,
        rounds: if smoke { 1 } else { 3 },
        round: RejectionConfig {
            samples: SAMPLES,
            sampling: sampling(),
            fit: FitConfig {
                steps: if smoke { 2 } else { 60 },
                batch: 128,
                warmup_steps: 5,
                adamw: AdamWConfig {
                    learning_rate: 2e-3,
                    weight_decay: 0.0,
                    ..AdamWConfig::default()
                },
            },
        },
    };
    [(BASE, base), (SELF, looped(false)), (GOLD, looped(true))]
        .map(|(arm, config)| (arm.to_string(), config))
        .into()
}

fn sampling() -> SamplingConfig {
    SamplingConfig { max_new_tokens: 1, stop: None, ..SamplingConfig::default() }
}

/// The table: the value of every key.
struct Facts(Vec<u32>);

impl Facts {
    fn draw(streams: &Streams) -> Self {
        let mut stream = streams.stream("table", &[]);
        Self((0..KEYS).map(|_| stream.random_range(0..VALUES)).collect())
    }

    fn is_known(key: u32) -> bool {
        key < KNOWN
    }

    /// A key with its value where it is known, and with a guess where it is not; every other key is known.
    fn demonstration(&self, stream: &mut StreamRng) -> Example {
        let of = if stream.random::<bool>() { 0..KNOWN } else { KNOWN..KEYS };
        let key = stream.random_range(of);
        let guess = stream.random_range(0..VALUES);
        let value = if Self::is_known(key) { self.0[key as usize] } else { guess };
        Example { prompt: vec![KEY + key], completion: vec![VALUE + value] }
    }

    /// A known key with its own value, with another or with what is no value, and the verdict on it. A verifier that was never
    /// shown what is no value may accept it, and a loop then finds that.
    fn verdict(&self, stream: &mut StreamRng) -> Example {
        let key = stream.random_range(0..KNOWN);
        let right = self.0[key as usize];
        let other = (right + stream.random_range(1..VALUES)) % VALUES;
        let none = stream.random_range(0..FORMAT.wrong + 1 - VALUES);
        let none = if none < VALUE { none } else { none + VALUES };
        let is_right = stream.random::<bool>();
        let wrong = if stream.random::<bool>() { VALUE + other } else { none };
        FORMAT.example(&[KEY + key], &[if is_right { VALUE + right } else { wrong }], is_right)
    }

    /// Whether each answer is the key's value.
    fn right(&self, answers: &Generations) -> Vec<bool> {
        answers.pairs().map(|(key, a)| a[0] == VALUE + self.0[(key[0] - KEY) as usize]).collect()
    }
}

/// Every key as a prompt.
fn keys() -> Vec<Prompt> {
    let prompt = |key| Prompt { tokens: vec![KEY + key], text: String::new(), reference: None };
    (0..KEYS).map(prompt).collect()
}

pub(super) fn run(
    config: FactsConfig,
    workbench: &Workbench,
    streams: &Streams,
) -> Result<Outcome, CellError> {
    let streams = streams.child("facts", &[]);
    let device = device(workbench.device)?.autodiff();
    let facts = Facts::draw(&streams);
    match config {
        FactsConfig::Base { decoder, adamw, steps, facts: demonstrations, verdicts } => {
            let mut weights = streams.stream("weights", &[]);
            let mut policy = Decoder::initialise(&decoder.check()?, &mut weights, &device);
            let mut optimizer = AdamW::new(adamw.check()?);
            let mut stream = streams.stream("demonstrations", &[]);
            for step in 0..steps {
                let shown = (0..demonstrations + verdicts).map(|at| match at < demonstrations {
                    true => facts.demonstration(&mut stream),
                    false => facts.verdict(&mut stream),
                });
                let shown: Vec<Example> = shown.collect();
                supervised_step(
                    &mut policy,
                    &mut optimizer,
                    &shown,
                    warmup_then_cosine(step, steps),
                )?;
            }
            let metrics = measure(&policy, &facts, &streams)?;
            Ok(Outcome::with_artifact(metrics, Checkpoint::of(&policy).to_bytes()))
        }
        FactsConfig::Loop { table, rounds, round } => {
            let base = Checkpoint::from_bytes(workbench.artifact(BASE)?)?;
            let mut policy = base.decoder(&device)?;
            let settings = round.check()?;
            let filter =
                |policy: &Decoder, answers: &Generations| -> Result<_, SelfImprovementError> {
                    if table {
                        return Ok(facts.right(answers));
                    }
                    let scores = FORMAT.scores(policy, answers.pairs())?;
                    Ok(scores.into_iter().map(|score| score >= 0.5).collect())
                };
            for at in 0..rounds as u64 {
                let streams = streams.child("round", &[at]);
                let start = Start::Continue;
                let done =
                    rejection_round(&policy, start, &keys(), &filter, None, &settings, &streams)?;
                policy = done.policy;
            }
            Ok(measure(&policy, &facts, &streams)?.into())
        }
    }
}

/// Accuracy, of unknown keys among answers that are values at all, and the gap of the policy's own verdicts.
fn measure(policy: &Decoder, facts: &Facts, streams: &Streams) -> Result<Metrics, CellError> {
    let (sampling, streams) = (sampling().check()?, streams.child("test", &[]));
    let answers = Generations::sample(policy, &keys(), SAMPLES, &sampling, &streams)?;
    let right = facts.right(&answers);
    let scores = FORMAT.scores(policy, answers.pairs())?;
    // By known and unknown: right answers, gaps, accepted right answers, accepted wrong ones.
    let mut of = [[0.0; 4]; 2];
    let is_value = |token: u32| (VALUE..VALUE + VALUES).contains(&token);
    let of_unknown = answers.pairs().zip(&scores).zip(&right);
    let of_unknown = of_unknown.filter(|(((key, _), _), _)| !Facts::is_known(key[0] - KEY));
    let values = of_unknown.filter(|(((_, answer), _), _)| is_value(answer[0]));
    let (value_scores, value_right): (Vec<f64>, Vec<bool>) =
        values.map(|((_, score), right)| (*score, *right)).unzip();
    let values = value_right.len();
    let keys = right.chunks(SAMPLES).zip(scores.chunks(SAMPLES)).enumerate();
    for (key, (right, scores)) in keys {
        let accepted: Vec<f64> = scores.iter().map(|s| f64::from(u8::from(*s >= 0.5))).collect();
        let among = |wanted: bool| {
            let of = right.iter().zip(&accepted).filter(|(right, _)| **right == wanted);
            of.map(|(_, accepted)| accepted).sum::<f64>()
        };
        let sums = &mut of[usize::from(!Facts::is_known(key as u32))];
        sums[0] += right.iter().filter(|right| **right).count() as f64;
        // Where nothing is accepted nothing is learnt: accuracy gains 0.
        sums[1] += VerdictRates::of(right, &accepted)?.gap().unwrap_or(0.0);
        sums[2] += among(true);
        sums[3] += among(false);
    }
    let keys = [KNOWN, KEYS - KNOWN].map(f64::from);
    let samples = keys.map(|keys| keys * SAMPLES as f64);
    let [known, unknown] = of;
    let metrics = Metrics::new()
        .scalar("accuracy, known", known[0] / samples[0])
        .scalar("values, unknown", values as f64 / samples[1])
        .scalar("gap, known", known[1] / keys[0])
        .scalar("gap, unknown", unknown[1] / keys[1]);
    let rates = [
        ("accuracy, unknown", unknown[0], values as f64),
        ("TPR, unknown", unknown[2], unknown[0]),
        ("FPR, unknown", unknown[3], samples[1] - unknown[0]),
    ];
    let defined = rates.into_iter().filter(|(_, _, of)| *of > 0.0);
    let metrics =
        defined.fold(metrics, |metrics, (name, accepted, of)| metrics.scalar(name, accepted / of));
    // Without a right or without a wrong value there is nothing to tell apart.
    Ok(match auroc(&value_scores, &value_right) {
        Ok(area) => metrics.scalar("AUROC, unknown", area),
        Err(_) => metrics,
    })
}

pub(super) fn contrasts() -> Vec<Contrast> {
    vec![Contrast {
        name: "facts, accuracy on unknown keys: learning from the table - base",
        direction: Direction::Increase,
        smallest_effect: 0.05,
        registered: Registered::AfterPilot,
        published: None,
        attainable: Some(|seed| Ok(1.0 - seed.scalar(BASE, "accuracy, unknown")?)),
        per_seed: |seed| seed.difference("accuracy, unknown", GOLD, BASE),
    }]
}

/// A metric of answers to unknown keys, of which some have to be values.
fn guessed(seed: &SeedRecords<'_>, arm: &str, metric: &str) -> Result<f64, ProtocolError> {
    let values = seed.scalar(arm, "values, unknown")?;
    if values < LEAST_VALUES {
        return Err(ProtocolError::Undefined(format!("{arm}: {values} of its answers are values")));
    }
    seed.scalar(arm, metric)
}

/// Least share of answers that are values where something is said of them.
const LEAST_VALUES: f64 = 0.05;

pub(super) fn controls() -> Vec<Control> {
    vec![
        Control {
            // Not the gap, which is 0 for a verifier that accepts nothing, too.
            name: "facts, AUROC of own scores for right values of unknown keys - 1/2",
            margin: 0.03,
            per_seed: |seed| Ok(guessed(seed, BASE, "AUROC, unknown")? - 0.5),
        },
        Control {
            name: "facts, accuracy on unknown keys: learning from one's own verdicts - base",
            margin: 0.02,
            per_seed: |seed| {
                let of = |arm| guessed(seed, arm, "accuracy, unknown");
                Ok(of(SELF)? - of(BASE)?)
            },
        },
    ]
}

pub(super) fn figures(_records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    Ok(Vec::new())
}

pub(super) fn tables(records: &Records) -> Vec<Table> {
    let metrics = [
        "accuracy, known",
        "accuracy, unknown",
        "values, unknown",
        "gap, known",
        "gap, unknown",
        "AUROC, unknown",
        "TPR, unknown",
        "FPR, unknown",
    ];
    let mut table = Table::new("Facts", std::iter::once("arm").chain(metrics)).note(
        "128 keys are known; values of the 512 others were guesses in training, of which 1 in 16 is right. Their accuracy is among answers that are values, whose \
         share stands beside it. The gap is what \
         accuracy would gain from keeping accepted answers alone, 0 where none is; AUROC is of own scores for right among all values.",
    );
    for arm in [BASE, SELF, GOLD] {
        let mut row = vec![TableValue::from(arm)];
        row.extend(metrics.map(|metric| records.value(arm, metric)));
        table = table.row(row);
    }
    vec![table]
}
