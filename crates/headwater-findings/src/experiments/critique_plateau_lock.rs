//! Experiment `critique-plateau-lock`: how many samples open a combination lock, by what comes back
//! of a failed attempt.
//!
//! A policy is shown how to take marks, and then opens locks that it has not seen
//! ([`headwater_tasks::lock`]), learning nothing between attempts. What is fitted is how samples grow
//! with the number of places.

use headwater_core::{Check, Streams};
use headwater_nn::{
    AdamW, AdamWConfig, Decoder, DecoderConfig, SamplingConfig, Schedule, sample,
    supervised_training,
};
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan,
    Preset, ProtocolError, Scalar, Series, Settings,
};
use serde::{Deserialize, Serialize};

use crate::device::device;
use headwater_tasks::lock::{
    FEEDBACKS, Feedback, LONGEST, PROMPT_TOKENS, SYMBOLS, demonstration, prompt, prompt_after,
    secret, vocabulary,
};

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct CritiquePlateauLock;

/// The only arm: one policy, every kind of feedback.
pub const LOCK: Arm = Arm::new("lock");

/// Numbers of places.
pub const PLACES: std::ops::RangeInclusive<usize> = 2..=LONGEST;
/// Budgets of samples per lock.
pub const BUDGETS: [usize; 5] = [4, 16, 64, 256, 1024];

/// Growth of the logarithm of samples per place, in units of that of the number of symbols.
#[must_use]
pub fn growth(feedback: Feedback) -> Scalar {
    Scalar::from(by("growth per place", feedback))
}

/// Exponent of the number of places.
#[must_use]
pub fn exponent(feedback: Feedback) -> Scalar {
    Scalar::from(by("exponent of length", feedback))
}

/// Mean samples to open a lock of the most places.
#[must_use]
pub fn samples_at_most_places(feedback: Feedback) -> Scalar {
    Scalar::from(by(&format!("samples at {LONGEST}"), feedback))
}

/// Mean samples to open a lock, by places.
#[must_use]
pub fn samples(feedback: Feedback) -> Series {
    Series::from(by("samples", feedback))
}

/// Their logarithms to base 10.
#[must_use]
pub fn log_samples(feedback: Feedback) -> Series {
    Series::from(by("log samples", feedback))
}

/// Share of locks of the most places that are open within each budget.
#[must_use]
pub fn opened(feedback: Feedback) -> Series {
    Series::from(by("opened", feedback))
}

fn by(what: &str, feedback: Feedback) -> String {
    format!("{what}/{}", feedback_name(feedback))
}

/// What records and tables call a kind of feedback.
#[must_use]
pub fn feedback_name(feedback: Feedback) -> &'static str {
    match feedback {
        Feedback::Reward => "reward",
        Feedback::Place => "place",
        Feedback::Correction => "correction",
    }
}

/// A policy that takes marks, and the locks it is tried on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockTest {
    adamw: AdamWConfig,
    steps: usize,
    batch: usize,
    /// Locks per number of places that are opened by reward alone, which takes by far the most
    /// samples.
    reward_locks: usize,
    /// Locks per number of places that are opened by marks.
    marked_locks: usize,
    /// Samples after which a lock is given up.
    most: usize,
}

impl Experiment for CritiquePlateauLock {
    fn id(&self) -> &'static str {
        "critique-plateau-lock"
    }

    fn metrics(&self) -> Vec<Metric> {
        let scalars = [growth, exponent, samples_at_most_places];
        let series = [samples, log_samples, opened];
        let of = |feedback| {
            let scalars = scalars.map(|metric| metric(feedback).into());
            scalars.into_iter().chain(series.map(|metric| metric(feedback).into()))
        };
        FEEDBACKS.into_iter().flat_map(of).collect()
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let test = LockTest {
            adamw: AdamWConfig { learning_rate: 5e-3, ..AdamWConfig::default() },
            steps: if smoke { 4 } else { 900 },
            batch: 32,
            reward_locks: if smoke { 2 } else { 24 },
            marked_locks: if smoke { 2 } else { 256 },
            most: if smoke { 64 } else { 1 << 16 },
        };
        Ok(Plan::of(settings.seed_range(8), vec![ArmPlan::new(LOCK, &test)?.if_shown()]))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        // Everything was tuned on other streams.
        let streams = &context.streams.child("fourth set of data, which no earlier run saw", &[]);
        let test: LockTest = cell.config()?;
        let shape = DecoderConfig {
            vocabulary: vocabulary().size(),
            width: 32,
            layers: 2,
            heads: 4,
            key_value_heads: 4,
            hidden: 64,
            context: PROMPT_TOKENS + LONGEST,
            rotary_base: 100.0,
            ..DecoderConfig::default()
        };
        let device = device(context.device)?.autodiff();
        let mut weights = streams.stream("lock weights", &[]);
        let mut policy = Decoder::initialise(&shape.check()?, &mut weights, &device);
        let mut optimizer = AdamW::new(test.adamw.clone().check()?);
        let schedule = Schedule::cosine(test.steps);
        supervised_training(&mut policy, &mut optimizer, schedule, |step| {
            let mut stream = streams.stream("lock demonstrations", &[step as u64]);
            let shown = (0..test.batch).map(|_| demonstration(&mut stream));
            Ok::<_, CellError>(shown.collect())
        })?;
        let measured = FEEDBACKS.into_iter().try_fold(Metrics::new(), |metrics, feedback| {
            measure(metrics, &policy, &test, feedback, streams)
        });
        Ok(measured?.into())
    }
}

fn measure(
    metrics: Metrics,
    policy: &Decoder,
    test: &LockTest,
    feedback: Feedback,
    streams: &Streams,
) -> Result<Metrics, CellError> {
    let (mut means, mut longest) = (Vec::new(), Vec::new());
    for places in PLACES {
        let samples = search(policy, test, places, feedback, streams)?;
        means.push(samples.iter().sum::<usize>() as f64 / samples.len() as f64);
        longest = samples;
    }
    let open = BUDGETS.map(|budget| {
        longest.iter().filter(|n| **n <= budget).count() as f64 / longest.len() as f64
    });
    let logs: Vec<f64> = means.iter().map(|mean| mean.ln()).collect();
    let places: Vec<f64> = PLACES.map(|places| places as f64).collect();
    let log_places: Vec<f64> = places.iter().map(|places| places.ln()).collect();
    let log_10: Vec<f64> = logs.iter().map(|log| log / 10f64.ln()).collect();
    Ok(metrics
        .scalar(&growth(feedback), slope(&places, &logs) / f64::from(SYMBOLS).ln())
        .scalar(&exponent(feedback), slope(&log_places, &logs))
        .scalar(&samples_at_most_places(feedback), means[means.len() - 1])
        .series(&log_samples(feedback), log_10)
        .series(&samples(feedback), means)
        .series(&opened(feedback), open))
}

/// Samples until each lock opened, the one that opened it included; as many as there may be for one
/// that did not.
fn search(
    policy: &Decoder,
    test: &LockTest,
    places: usize,
    feedback: Feedback,
    streams: &Streams,
) -> Result<Vec<usize>, CellError> {
    // The same locks for every kind of feedback.
    let mut stream = streams.stream("secrets", &[places as u64]);
    let locks = match feedback {
        Feedback::Reward => test.reward_locks,
        Feedback::Place | Feedback::Correction => test.marked_locks,
    };
    let secrets: Vec<Vec<u32>> = (0..locks).map(|_| secret(places, &mut stream)).collect();
    let sampling =
        SamplingConfig { max_new_tokens: places, stop: None, ..SamplingConfig::default() };
    let sampling = sampling.check()?;
    // Where nothing is learnt from a failure, attempts may as well be made many at a time.
    let at_once = if feedback == Feedback::Reward { 64 } else { 1 };
    let mut samples = vec![0; secrets.len()];
    let mut shown: Vec<Vec<u32>> = vec![prompt(places); secrets.len()];
    let mut closed: Vec<usize> = (0..secrets.len()).collect();
    for round in 0.. {
        if closed.is_empty() {
            break;
        }
        let prompts: Vec<Vec<u32>> = closed.iter().map(|lock| shown[*lock].clone()).collect();
        let streams = streams.child("attempts", &[places as u64, feedback as u64, round]);
        let attempts = sample(policy, &prompts, at_once, &sampling, &streams)?;
        let mut still = Vec::new();
        for (lock, attempts) in closed.into_iter().zip(attempts) {
            let opens = attempts.iter().position(|a| a.tokens == secrets[lock]);
            samples[lock] += opens.map_or(at_once, |at| at + 1);
            if opens.is_none() && samples[lock] < test.most {
                let last = &attempts[attempts.len() - 1].tokens;
                shown[lock] = prompt_after(&secrets[lock], last, feedback);
                still.push(lock);
            }
        }
        closed = still;
    }
    Ok(samples)
}

/// The least-squares line through (x, y), at every x.
#[must_use]
pub fn fitted(x: &[f64], y: &[f64]) -> Vec<f64> {
    let (slope, centre_x, centre_y) = (slope(x, y), mean(x), mean(y));
    x.iter().map(|x| centre_y + slope * (x - centre_x)).collect()
}

/// The slope of that line.
fn slope(x: &[f64], y: &[f64]) -> f64 {
    let (centre_x, centre_y) = (mean(x), mean(y));
    let products = x.iter().zip(y).map(|(x, y)| (x - centre_x) * (y - centre_y));
    products.sum::<f64>() / x.iter().map(|x| (x - centre_x).powi(2)).sum::<f64>()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_least_squares_line() {
        assert!((slope(&[2.0, 3.0, 4.0], &[1.0, 3.0, 5.0]) - 2.0).abs() < 1e-12);
        // By hand: x about 0 is -1, 0, 1; products -1 * 0 and 1 * 1, over 2.
        assert!((slope(&[0.0, 1.0, 2.0], &[0.0, 2.0, 1.0]) - 0.5).abs() < 1e-12);
        assert_eq!(fitted(&[0.0, 1.0, 2.0], &[0.0, 2.0, 1.0]), [0.5, 1.0, 1.5]);
    }

    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("critique-plateau-lock");
    }
}
