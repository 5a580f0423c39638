//! The same flaw with light and with heavy tails: true quality plus an error of equal variance,
//! optimised.
//!
//! Where the error is independent of quality and light-tailed, more optimisation finds more
//! quality; where its tail is heavy, the highest scores are those with the largest errors (Kwa,
//! Thomas and Garriga-Alonso 2024, arXiv 2407.14503). Optimisation is exact on a pool of the base's
//! responses: best of n, and the policy that is best under a KL penalty, proportional to `exp(score
//! / beta)`.

use headwater_core::{StreamRng, Streams};
use headwater_evaluation::best_of_n::best_of_n_curve;
use headwater_nn::Decoder;
use headwater_protocol::{CellError, Metric, Metrics, Scalar, Series};
use rand_distr::{Distribution, StandardNormal, StudentT};
use serde::{Deserialize, Serialize};

use super::texts::Texts;
use headwater_tasks::topics::COUNT;

/// What decides the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TailsConfig {
    /// Responses for each topic.
    pub(super) pool: usize,
    /// Standard deviation of the error, in standard deviations of quality.
    pub(super) error: f64,
}

/// Degrees of freedom of the heavy tail: the fewest whole ones with a variance.
const FREEDOM: f64 = 3.0;

/// The n that are reported: powers of 2 up to half of the pool.
fn ns(pool: usize) -> Vec<usize> {
    (0..).map(|power| 1 << power).take_while(|n| 2 * n <= pool).collect()
}

/// The divergences at which the tilted policy is reported, nats.
pub const DIVERGENCES: [f64; 6] = [0.25, 0.5, 1.0, 2.0, 3.0, 4.0];

/// How the error is distributed; its variance is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Normal.
    Light,
    /// Student's t of few degrees of freedom.
    Heavy,
}

impl Tail {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Light, Self::Heavy];

    /// The word in records and figures.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Heavy => "heavy",
        }
    }

    /// One error of variance 1.
    fn draw(self, stream: &mut StreamRng) -> f64 {
        match self {
            Self::Light => StandardNormal.sample(stream),
            Self::Heavy => {
                let heavy = StudentT::new(FREEDOM).expect("its degrees of freedom are above 0");
                heavy.sample(stream) / (FREEDOM / (FREEDOM - 2.0)).sqrt()
            }
        }
    }
}

/// True quality at 3 nats of optimal tilt, less the base's.
#[must_use]
pub fn at_3_nats(tail: Tail) -> Scalar {
    Scalar::from(format!("{}/at 3 nats", tail.name()))
}

/// True quality of the optimal policy, by divergence.
#[must_use]
pub fn tilted(tail: Tail) -> Series {
    Series::from(format!("{}/tilted", tail.name()))
}

fn most_selected(tail: Tail) -> Scalar {
    Scalar::from(format!("{}/most selected", tail.name()))
}

fn best_of_n(tail: Tail) -> Series {
    Series::from(format!("{}/best of n", tail.name()))
}

const SPREAD: Scalar = Scalar::new("quality spread");

/// What is recorded of both tails.
pub(super) fn metrics() -> Vec<Metric> {
    let mut metrics = vec![SPREAD.into()];
    for tail in Tail::ALL {
        metrics.extend([Metric::from(most_selected(tail)), at_3_nats(tail).into()]);
        metrics.extend([Metric::from(best_of_n(tail)), tilted(tail).into()]);
    }
    metrics
}

/// Optimises quality plus an error of either tail.
pub(super) fn run(
    config: &TailsConfig,
    base: &Decoder,
    streams: &Streams,
) -> Result<Metrics, CellError> {
    let texts = Texts::sample(base, config.pool, &streams.child("tails pool", &[]))?;
    let quality = texts.qualities();
    let mean = quality.iter().sum::<f64>() / quality.len() as f64;
    let square = quality.iter().map(|q| (q - mean).powi(2)).sum::<f64>();
    let spread = (square / quality.len() as f64).sqrt();
    let mut metrics = Metrics::new().scalar(&SPREAD, spread);
    for tail in Tail::ALL {
        // The error belongs to the text: the same text has it wherever it comes up.
        let errors = texts.pairs().into_iter().map(|(topic, text)| {
            let mut stream = streams.stream(&format!("error of {topic} {text}"), &[]);
            config.error * spread * tail.draw(&mut stream)
        });
        let scores: Vec<f64> =
            errors.zip(&quality).map(|(error, quality)| quality + error).collect();
        let ns = ns(config.pool);
        let mut selected = vec![0.0; ns.len()];
        let mut optimal = vec![0.0; DIVERGENCES.len()];
        for (scores, quality) in scores.chunks(config.pool).zip(quality.chunks(config.pool)) {
            let curve = best_of_n_curve(scores, quality)?;
            for (selected, n) in selected.iter_mut().zip(&ns) {
                *selected += curve[n - 1].gold / COUNT as f64;
            }
            for (optimal, divergence) in optimal.iter_mut().zip(DIVERGENCES) {
                *optimal += tilted_quality(scores, quality, divergence) / COUNT as f64;
            }
        }
        metrics = metrics
            .scalar(&most_selected(tail), selected[ns.len() - 1] - selected[0])
            .scalar(&at_3_nats(tail), optimal[4] - selected[0])
            .series(&best_of_n(tail), selected)
            .series(&tilted(tail), optimal);
    }
    Ok(metrics)
}

/// Mean quality under weights proportional to `exp(score / beta)`, beta chosen by bisection so that
/// their divergence from equal weights is `divergence` (or as near as the pool allows).
fn tilted_quality(scores: &[f64], quality: &[f64], divergence: f64) -> f64 {
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights = |sharpness: f64| -> Vec<f64> {
        let raw: Vec<f64> = scores.iter().map(|s| ((s - highest) * sharpness).exp()).collect();
        let sum: f64 = raw.iter().sum();
        raw.into_iter().map(|w| w / sum).collect()
    };
    let reached = |weights: &[f64]| -> f64 {
        let positive = weights.iter().filter(|w| **w > 0.0);
        positive.map(|w| w * (w * weights.len() as f64).ln()).sum()
    };
    let (mut low, mut high) = (1e-6f64.ln(), 1e6f64.ln());
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if reached(&weights(middle.exp())) < divergence { low = middle } else { high = middle }
    }
    weights(low.exp()).iter().zip(quality).map(|(w, q)| w * q).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tilt_reaches_its_divergence_and_prefers_what_scores() {
        // Two outcomes; divergence d of weights (w, 1 - w) from one half each.
        let w = 0.8f64;
        let divergence = w * (2.0 * w).ln() + (1.0 - w) * (2.0 * (1.0 - w)).ln();
        let quality = tilted_quality(&[1.0, 0.0], &[1.0, 0.0], divergence);
        assert!((quality - w).abs() < 1e-6, "{quality}");
        // More than a pool can give ends on its best response.
        assert!((tilted_quality(&[1.0, 0.0], &[0.0, 1.0], 9.0)).abs() < 1e-6);
    }
}
