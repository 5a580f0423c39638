//! Experiment `self-improvement-facts`: a table of random facts, of which a policy cannot verify
//! what it does not know.
//!
//! Keys have random values. One base per seed is shown some keys with their values and the others
//! with a value drawn anew every time, so that it knows the former and guesses the latter; it
//! learns to verify on answers to keys that it knows. A verdict on a guess can be worth nothing, as
//! there is no rule by which a value could be checked: scores must tell right guesses from wrong
//! ones no better than chance, and learning from one's own verdicts must not raise accuracy. With a
//! checker that has the table, the same loop must raise it.
//!
//! This is the row of Natural Questions in Song et al. 2024 (arXiv 2412.02674), whose gap was
//! within 0.01 at accuracies of .065 to .415.

use headwater_core::{Check, Example, Prompt, StreamRng, Streams};
use headwater_evaluation::calibration::auroc;
use headwater_nn::{
    AdamW, AdamWConfig, Checkpoint, Decoder, DecoderConfig, Device, SamplingConfig, Schedule,
    supervised_training,
};
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan,
    Preset, ProtocolError, Scalar, Settings, metrics,
};
use headwater_self_improvement::fit::FitConfig;
use headwater_self_improvement::gap::VerdictRates;
use headwater_self_improvement::rejection::{RejectionConfig, Start, rejection_round};
use headwater_self_improvement::verification::VerificationFormat;
use headwater_self_improvement::{Generations, SelfImprovementError};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::device::device;

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct SelfImprovementFacts;

/// The policy that knows some keys and guesses the others.
pub const BASE: Arm = Arm::new("facts-base");
/// Learns from what it accepts itself.
pub const OWN: Arm = Arm::new("facts-self");
/// Learns from what the table accepts.
pub const TABLE: Arm = Arm::new("facts-gold");

/// Share of right answers to known keys.
pub const ACCURACY_KNOWN: Scalar = Scalar::new("accuracy, known");
/// Share of right ones among answers to unknown keys that are values; not recorded where none is.
pub const ACCURACY_UNKNOWN: Scalar = Scalar::new("accuracy, unknown");
/// Share of answers to unknown keys that are values.
pub const VALUES_UNKNOWN: Scalar = Scalar::new("values, unknown");
/// What accuracy on known keys would gain from keeping accepted answers alone, 0 where none is.
pub const GAP_KNOWN: Scalar = Scalar::new("gap, known");
/// The same of unknown keys.
pub const GAP_UNKNOWN: Scalar = Scalar::new("gap, unknown");
/// How well own scores tell right from wrong values of unknown keys; not recorded where all are
/// right or all are wrong.
pub const AUROC_UNKNOWN: Scalar = Scalar::new("AUROC, unknown");
/// Share of right answers to unknown keys that are accepted; not recorded where none is right.
pub const TPR_UNKNOWN: Scalar = Scalar::new("TPR, unknown");
/// The same of wrong answers.
pub const FPR_UNKNOWN: Scalar = Scalar::new("FPR, unknown");

/// Keys that are known, the first ones, and all. What a policy guesses of one key it always guesses
/// in the end, so that chance averages out over keys alone: of unknown ones there are many.
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

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum FactsConfig {
    /// Training on facts, guesses and verdicts.
    Base {
        decoder: DecoderConfig,
        adamw: AdamWConfig,
        steps: usize,
        /// Known facts and guesses per step.
        facts: usize,
        /// Verdicts per step.
        verdicts: usize,
    },
    /// Rounds of rejection fine-tuning on all keys, by one's own verdicts or by the table.
    Loop { table: bool, rounds: usize, round: RejectionConfig },
}

fn base(smoke: bool) -> FactsConfig {
    FactsConfig::Base {
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
    }
}

fn looped(table: bool, smoke: bool) -> FactsConfig {
    let adamw = AdamWConfig { learning_rate: 2e-3, weight_decay: 0.0, ..AdamWConfig::default() };
    let steps = if smoke { 2 } else { 60 };
    FactsConfig::Loop {
        table,
        rounds: if smoke { 1 } else { 3 },
        round: RejectionConfig {
            samples: SAMPLES,
            sampling: sampling(),
            fit: FitConfig { steps, batch: 128, warmup_steps: 5, adamw },
        },
    }
}

fn sampling() -> SamplingConfig {
    SamplingConfig { max_new_tokens: 1, stop: None, ..SamplingConfig::default() }
}

impl Experiment for SelfImprovementFacts {
    fn id(&self) -> &'static str {
        "self-improvement-facts"
    }

    fn metrics(&self) -> Vec<Metric> {
        metrics![
            ACCURACY_KNOWN,
            ACCURACY_UNKNOWN,
            VALUES_UNKNOWN,
            GAP_KNOWN,
            GAP_UNKNOWN,
            AUROC_UNKNOWN,
            TPR_UNKNOWN,
            FPR_UNKNOWN,
        ]
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let mut planned = vec![ArmPlan::new(BASE, &base(smoke))?.if_shown()];
        for (arm, table) in [(OWN, false), (TABLE, true)] {
            let cell = ArmPlan::new(arm, &looped(table, smoke))?;
            planned.push(cell.needing([BASE]).if_shown());
        }
        Ok(Plan::of(settings.seed_range(8), planned))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        // Drawn anew after controls, step sizes and seeds were changed in view of results.
        let streams = context.streams.child("tasks drawn after the fourth run", &[]);
        let streams = streams.child("facts", &[]);
        let device = device(context.device)?.autodiff();
        let facts = Facts::draw(&streams);
        match cell.config()? {
            FactsConfig::Base { decoder, adamw, steps, facts: shown, verdicts } => {
                let each = (shown, verdicts);
                let policy = imitate(&facts, decoder, adamw, steps, each, &device, &streams)?;
                let metrics = measure(&policy, &facts, &streams)?;
                Ok(CellOutcome::with_artifact(metrics, Checkpoint::of(&policy).to_bytes()))
            }
            FactsConfig::Loop { table, rounds, round } => {
                let base = Checkpoint::from_bytes(context.artifact(&BASE)?)?.decoder(&device)?;
                let policy = reject(&facts, base, table, rounds, round, &streams)?;
                Ok(measure(&policy, &facts, &streams)?.into())
            }
        }
    }
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

    /// A key with its value where it is known, and with a guess where it is not; every other key is
    /// known.
    fn demonstration(&self, stream: &mut StreamRng) -> Example {
        let of = if stream.random::<bool>() { 0..KNOWN } else { KNOWN..KEYS };
        let key = stream.random_range(of);
        let guess = stream.random_range(0..VALUES);
        let value = if Self::is_known(key) { self.0[key as usize] } else { guess };
        Example { prompt: vec![KEY + key], completion: vec![VALUE + value] }
    }

    /// A known key with its own value, with another or with what is no value, and the verdict on
    /// it. A verifier that was never shown what is no value may accept it, and a loop then finds
    /// that.
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

/// Trains new weights on so many demonstrations and verdicts a step.
fn imitate(
    facts: &Facts,
    decoder: DecoderConfig,
    adamw: AdamWConfig,
    steps: usize,
    (demonstrations, verdicts): (usize, usize),
    device: &Device,
    streams: &Streams,
) -> Result<Decoder, CellError> {
    let mut weights = streams.stream("weights", &[]);
    let mut policy = Decoder::initialise(&decoder.check()?, &mut weights, device);
    let mut optimizer = AdamW::new(adamw.check()?);
    let mut stream = streams.stream("demonstrations", &[]);
    supervised_training(&mut policy, &mut optimizer, Schedule::cosine(steps), |_| {
        let shown = (0..demonstrations + verdicts).map(|at| match at < demonstrations {
            true => facts.demonstration(&mut stream),
            false => facts.verdict(&mut stream),
        });
        Ok::<_, CellError>(shown.collect())
    })?;
    Ok(policy)
}

/// Rounds of rejection fine-tuning on all keys, by the policy's own verdicts or by the table.
fn reject(
    facts: &Facts,
    mut policy: Decoder,
    table: bool,
    rounds: usize,
    round: RejectionConfig,
    streams: &Streams,
) -> Result<Decoder, CellError> {
    let settings = round.check()?;
    let filter = |policy: &Decoder, answers: &Generations| -> Result<_, SelfImprovementError> {
        if table {
            return Ok(facts.right(answers));
        }
        let scores = FORMAT.scores(policy, answers.pairs())?;
        Ok(scores.into_iter().map(|score| score >= 0.5).collect())
    };
    for at in 0..rounds as u64 {
        let streams = streams.child("round", &[at]);
        let start = Start::Continue;
        policy =
            rejection_round(&policy, start, &keys(), &filter, None, &settings, &streams)?.policy;
    }
    Ok(policy)
}

/// Accuracy, of unknown keys among answers that are values at all, and the gap of the policy's own
/// verdicts.
fn measure(policy: &Decoder, facts: &Facts, streams: &Streams) -> Result<Metrics, CellError> {
    let (sampling, streams) = (sampling().check()?, streams.child("test", &[]));
    let answers = Generations::sample(policy, &keys(), SAMPLES, &sampling, &streams)?;
    let right = facts.right(&answers);
    let scores = FORMAT.scores(policy, answers.pairs())?;
    let is_value = |token: u32| (VALUE..VALUE + VALUES).contains(&token);
    let of_unknown = answers.pairs().zip(&scores).zip(&right);
    let of_unknown = of_unknown.filter(|(((key, _), _), _)| !Facts::is_known(key[0] - KEY));
    let values = of_unknown.filter(|(((_, answer), _), _)| is_value(answer[0]));
    let (value_scores, value_right): (Vec<f64>, Vec<bool>) =
        values.map(|((_, score), right)| (*score, *right)).unzip();
    let values = value_right.len() as f64;

    let [known, unknown] = sums(&right, &scores)?;
    let keys = [KNOWN, KEYS - KNOWN].map(f64::from);
    let samples = keys.map(|keys| keys * SAMPLES as f64);
    let metrics = Metrics::new()
        .scalar(&ACCURACY_KNOWN, known.right / samples[0])
        .scalar(&VALUES_UNKNOWN, values / samples[1])
        .scalar(&GAP_KNOWN, known.gaps / keys[0])
        .scalar(&GAP_UNKNOWN, unknown.gaps / keys[1]);
    let rates = [
        (ACCURACY_UNKNOWN, unknown.right, values),
        (TPR_UNKNOWN, unknown.right_accepted, unknown.right),
        (FPR_UNKNOWN, unknown.wrong_accepted, samples[1] - unknown.right),
    ];
    let defined = rates.into_iter().filter(|(_, _, of)| *of > 0.0);
    let metrics = defined
        .fold(metrics, |metrics, (metric, accepted, of)| metrics.scalar(&metric, accepted / of));
    // Without a right or without a wrong value there is nothing to tell apart.
    Ok(match auroc(&value_scores, &value_right) {
        Ok(area) => metrics.scalar(&AUROC_UNKNOWN, area),
        Err(_) => metrics,
    })
}

/// Sums over keys.
#[derive(Default)]
struct Sums {
    right: f64,
    gaps: f64,
    right_accepted: f64,
    wrong_accepted: f64,
}

/// Sums over known and over unknown keys.
fn sums(right: &[bool], scores: &[f64]) -> Result<[Sums; 2], CellError> {
    let mut of = [Sums::default(), Sums::default()];
    for (key, (right, scores)) in right.chunks(SAMPLES).zip(scores.chunks(SAMPLES)).enumerate() {
        let accepted: Vec<f64> = scores.iter().map(|s| f64::from(u8::from(*s >= 0.5))).collect();
        let among = |wanted: bool| {
            let of = right.iter().zip(&accepted).filter(|(right, _)| **right == wanted);
            of.map(|(_, accepted)| accepted).sum::<f64>()
        };
        let sums = &mut of[usize::from(!Facts::is_known(key as u32))];
        sums.right += right.iter().filter(|right| **right).count() as f64;
        // Where nothing is accepted nothing is learnt: accuracy gains 0.
        sums.gaps += VerdictRates::of(right, &accepted)?.gap().unwrap_or(0.0);
        sums.right_accepted += among(true);
        sums.wrong_accepted += among(false);
    }
    Ok(of)
}

#[cfg(test)]
mod tests {
    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("self-improvement-facts");
    }
}
