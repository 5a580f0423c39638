//! The combination lock: samples until it opens, by what comes back of a failed attempt.

use headwater_core::{Check, Streams};
use headwater_nn::{
    AdamW, AdamWConfig, Decoder, DecoderConfig, Device, SamplingConfig, sample, supervised_step,
};
use headwater_protocol::{CellError, Metrics};
use serde::{Deserialize, Serialize};

use crate::schedule::warmup_then_cosine;
use crate::tasks::lock::{
    FEEDBACKS, Feedback, LONGEST, PROMPT_TOKENS, SYMBOLS, demonstration, prompt, prompt_after,
    secret, vocabulary,
};

/// Numbers of places.
pub(super) const PLACES: std::ops::RangeInclusive<usize> = 2..=LONGEST;
/// Budgets of samples per lock.
pub(super) const BUDGETS: [usize; 5] = [4, 16, 64, 256, 1024];

/// A policy that takes marks, and the locks it is tried on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LockTest {
    pub(super) adamw: AdamWConfig,
    pub(super) steps: usize,
    pub(super) batch: usize,
    /// Locks per number of places that are opened by reward alone, which takes by far the most samples.
    pub(super) reward_locks: usize,
    /// Locks per number of places that are opened by marks.
    pub(super) marked_locks: usize,
    /// Samples after which a lock is given up.
    pub(super) most: usize,
}

/// The name of a kind of feedback in metrics.
pub(super) fn name(feedback: Feedback) -> &'static str {
    match feedback {
        Feedback::Reward => "reward",
        Feedback::Place => "place",
        Feedback::Correction => "correction",
    }
}

pub(super) fn measure(
    test: &LockTest,
    device: &Device,
    streams: &Streams,
) -> Result<Metrics, CellError> {
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
    let mut policy =
        Decoder::initialise(&shape.check()?, &mut streams.stream("lock weights", &[]), device);
    let mut optimizer = AdamW::new(test.adamw.clone().check()?);
    for step in 0..test.steps {
        let mut stream = streams.stream("lock demonstrations", &[step as u64]);
        let examples: Vec<_> = (0..test.batch).map(|_| demonstration(&mut stream)).collect();
        let rate = warmup_then_cosine(step, test.steps);
        supervised_step(&mut policy, &mut optimizer, &examples, rate)?;
    }
    let mut metrics = Metrics::new();
    for feedback in FEEDBACKS {
        let (mut means, mut longest) = (Vec::new(), Vec::new());
        for places in PLACES {
            let samples = search(&policy, test, places, feedback, streams)?;
            means.push(samples.iter().sum::<usize>() as f64 / samples.len() as f64);
            longest = samples;
        }
        let opened = BUDGETS.map(|budget| {
            longest.iter().filter(|n| **n <= budget).count() as f64 / longest.len() as f64
        });
        let logs: Vec<f64> = means.iter().map(|mean| mean.ln()).collect();
        let places: Vec<f64> = PLACES.map(|places| places as f64).collect();
        let log_places: Vec<f64> = places.iter().map(|places| places.ln()).collect();
        let name = name(feedback);
        metrics = metrics
            .scalar(
                format!("growth per place/{name}"),
                slope(&places, &logs) / f64::from(SYMBOLS).ln(),
            )
            .scalar(format!("exponent of length/{name}"), slope(&log_places, &logs))
            .scalar(format!("samples at {LONGEST}/{name}"), means[means.len() - 1])
            .series(format!("log samples/{name}"), logs.iter().map(|l| l / 10f64.ln()).collect())
            .series(format!("samples/{name}"), means)
            .series(format!("opened/{name}"), opened.to_vec());
    }
    Ok(metrics)
}

/// Samples until each lock opened, the one that opened it included; as many as there may be for one that did not.
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

/// The slope of a least-squares line.
pub(super) fn slope(x: &[f64], y: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (centre_x, centre_y) = (mean(x), mean(y));
    let products = x.iter().zip(y).map(|(x, y)| (x - centre_x) * (y - centre_y));
    products.sum::<f64>() / x.iter().map(|x| (x - centre_x).powi(2)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_least_squares_line() {
        assert!((slope(&[2.0, 3.0, 4.0], &[1.0, 3.0, 5.0]) - 2.0).abs() < 1e-12);
        // By hand: x about 0 is -1, 0, 1; products -1 * 0 and 1 * 1, over 2.
        assert!((slope(&[0.0, 1.0, 2.0], &[0.0, 2.0, 1.0]) - 0.5).abs() < 1e-12);
    }
}
