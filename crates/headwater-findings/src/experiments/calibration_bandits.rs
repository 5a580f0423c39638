//! Experiment `calibration-bandits`: expected policy gradient on bandits small enough to enumerate.
//!
//! A bandit offers answers that are right with fixed probabilities, one of them never. The policy
//! is tabular: a softmax over answers and, for each answer, a softmax over eleven confidences. The
//! gradient of the expected reward is exact, so nothing here is noise but the initial logits.

use headwater_core::{Check, Streams};
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan,
    Preset, ProtocolError, Scalar, Settings,
};
use headwater_rewards::{Scheme, SchemeConfig};
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};

use super::confidence_rewards::{BINARY, BRIER_ONLY, DOUBLE_BRIER, LOG};
use headwater_tasks::masked_sum::CONFIDENCES;

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct CalibrationBandits;

/// All bandits under all rewards.
pub const BANDITS_ARM: Arm = Arm::new("bandits");

/// Every bandit: its name, and the success probability of each answer.
pub const BANDITS: [(&str, &[f64]); 4] = [
    ("five of 0.2", &[0.2, 0.2, 0.2, 0.2, 0.2, 0.0]),
    ("0.6 and 0.4", &[0.6, 0.4, 0.0]),
    ("0.8 and 0.2", &[0.8, 0.2, 0.0]),
    ("0.95 and 0.05", &[0.95, 0.05, 0.0]),
];

/// Every reward by its name.
pub const SCHEMES: [(&str, SchemeConfig); 5] = [
    ("binary", BINARY),
    ("brier", SchemeConfig::RLCR),
    ("log", LOG),
    ("double-brier", DOUBLE_BRIER),
    ("brier-only", BRIER_ONLY),
];

/// Accuracy at the end.
#[must_use]
pub fn accuracy(bandit: &str, reward: &str) -> Scalar {
    Scalar::from(format!("{bandit}/{reward}/accuracy")).shown_as("accuracy")
}

/// Mean stated confidence at the end.
#[must_use]
pub fn stated(bandit: &str, reward: &str) -> Scalar {
    Scalar::from(format!("{bandit}/{reward}/stated")).shown_as("stated confidence")
}

/// Probability at the end of the answer that is never right.
#[must_use]
pub fn never_right(bandit: &str, reward: &str) -> Scalar {
    let label = "answer that is never right";
    Scalar::from(format!("{bandit}/{reward}/never right")).shown_as(label)
}

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    steps: usize,
    learning_rate: f64,
}

impl Experiment for CalibrationBandits {
    fn id(&self) -> &'static str {
        "calibration-bandits"
    }

    fn metrics(&self) -> Vec<Metric> {
        let pairs = BANDITS.iter().flat_map(|(bandit, _)| SCHEMES.map(|(name, _)| (*bandit, name)));
        let of = |(bandit, name)| {
            [accuracy(bandit, name), stated(bandit, name), never_right(bandit, name)]
        };
        pairs.flat_map(of).map(Metric::from).collect()
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let config = Config { steps: if smoke { 20 } else { 20_000 }, learning_rate: 1.0 };
        Ok(Plan::of(settings.seed_range(5), vec![ArmPlan::new(BANDITS_ARM, &config)?]))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let Config { steps, learning_rate } = cell.config()?;
        let mut metrics = Metrics::new();
        for (bandit, success) in BANDITS {
            for (name, scheme) in SCHEMES {
                let mut policy = Policy::initialise(success.len(), &context.streams);
                let rewards = expected_rewards(success, &scheme.check()?)?;
                for _ in 0..steps {
                    policy.ascend(&rewards, learning_rate);
                }
                let (answers, confidences) = (policy.answers(), policy.confidences());
                let right = answers.iter().zip(success).map(|(pi, p)| pi * p).sum();
                let said = answers.iter().zip(&confidences).map(|(pi, c)| pi * expected(c)).sum();
                metrics = metrics
                    .scalar(&accuracy(bandit, name), right)
                    .scalar(&stated(bandit, name), said)
                    .scalar(&never_right(bandit, name), answers[success.len() - 1]);
            }
        }
        Ok(metrics.into())
    }
}

fn confidence(bin: usize) -> f64 {
    bin as f64 / (CONFIDENCES - 1) as f64
}

fn expected(distribution: &[f64]) -> f64 {
    distribution.iter().enumerate().map(|(bin, p)| p * confidence(bin)).sum()
}

/// Expected reward of every (answer, confidence).
fn expected_rewards(success: &[f64], scheme: &Scheme) -> Result<Vec<Vec<f64>>, CellError> {
    let row = |p: f64| -> Result<Vec<f64>, CellError> {
        let rewards = (0..CONFIDENCES).map(|bin| scheme.expected_reward(confidence(bin), p));
        Ok(rewards.collect::<Result<_, _>>()?)
    };
    success.iter().map(|p| row(*p)).collect()
}

struct Policy {
    answer_logits: Vec<f64>,
    confidence_logits: Vec<Vec<f64>>,
}

impl Policy {
    fn initialise(answers: usize, streams: &Streams) -> Self {
        let mut stream = streams.stream("bandit logits", &[answers as u64]);
        let normal = Normal::new(0.0, 0.1).expect("the deviation is finite");
        let mut draw =
            |count: usize| -> Vec<f64> { (0..count).map(|_| normal.sample(&mut stream)).collect() };
        Self {
            answer_logits: draw(answers),
            confidence_logits: (0..answers).map(|_| draw(CONFIDENCES)).collect(),
        }
    }

    fn answers(&self) -> Vec<f64> {
        softmax(&self.answer_logits)
    }

    fn confidences(&self) -> Vec<Vec<f64>> {
        self.confidence_logits.iter().map(|logits| softmax(logits)).collect()
    }

    /// One step along the exact gradient of the expected reward: for a softmax with values v that
    /// is `pi_i (v_i - sum_j pi_j v_j)`.
    fn ascend(&mut self, rewards: &[Vec<f64>], learning_rate: f64) {
        let (answers, confidences) = (self.answers(), self.confidences());
        let values: Vec<f64> = confidences.iter().zip(rewards).map(|(c, r)| dot(c, r)).collect();
        let mean = dot(&answers, &values);
        for (answer, logit) in self.answer_logits.iter_mut().enumerate() {
            *logit += learning_rate * answers[answer] * (values[answer] - mean);
            for (bin, logit) in self.confidence_logits[answer].iter_mut().enumerate() {
                let gain = rewards[answer][bin] - values[answer];
                *logit += learning_rate * answers[answer] * confidences[answer][bin] * gain;
            }
        }
    }
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|logit| (logit - top).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("calibration-bandits");
    }

    #[test]
    fn the_step_follows_the_gradient_of_the_expected_reward() {
        let success = [0.6, 0.4, 0.0];
        let scheme = SchemeConfig::RLCR.check().unwrap();
        let rewards = expected_rewards(&success, &scheme).unwrap();
        let policy = || Policy::initialise(3, &Streams::new(4));
        let value = |policy: &Policy| {
            let values: Vec<f64> =
                policy.confidences().iter().zip(&rewards).map(|(c, r)| dot(c, r)).collect();
            dot(&policy.answers(), &values)
        };
        let mut stepped = policy();
        stepped.ascend(&rewards, 1.0);
        let start = policy();
        for answer in 0..3 {
            let mut shifted = policy();
            shifted.answer_logits[answer] += 1e-6;
            let slope = (value(&shifted) - value(&start)) / 1e-6;
            let step = stepped.answer_logits[answer] - start.answer_logits[answer];
            assert!((slope - step).abs() < 1e-6, "{slope} {step}");
            let mut shifted = policy();
            shifted.confidence_logits[answer][7] += 1e-6;
            let slope = (value(&shifted) - value(&start)) / 1e-6;
            let step = stepped.confidence_logits[answer][7] - start.confidence_logits[answer][7];
            assert!((slope - step).abs() < 1e-6, "{slope} {step}");
        }
    }
}
