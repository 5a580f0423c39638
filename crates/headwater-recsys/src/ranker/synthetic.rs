//! Two regression tasks of known relatedness (Ma et al. 2018, 3.1), and training on a stream of them.
//!
//! ```text
//! w_1 = c u_1        w_2 = c (p u_1 + sqrt(1 - p²) u_2)        x ~ N(0, I_d)
//! y_k = w_k·x + sum_j sin(α_j w_k·x + β_j) + ε_k
//! ```
//!
//! with u_1, u_2 orthonormal. p is the cosine of the weights, and so is 1 for one task twice, 0 for tasks that share
//! α and β only. Targets are standardised, by mean and deviation over rows of their own.
//!
//! The paper does not give c, m or the distributions of α and β; see [`SyntheticConfig`] for what stands here.

use headwater_core::{
    Check, ConfigError, StreamRng, Streams, require, require_non_negative, require_positive,
};
use headwater_small_net::{Adam, Layout};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::error::RecsysError;
use crate::ranker::architecture::Architecture;
use crate::ranker::network::{Network, Saved};
use crate::ranker::neural::Dropout;

/// Rows that targets are standardised by, and rows that a network is tested on.
const HELD_OUT: usize = 8_192;

/// Rows a network is tested on at once.
const CHUNK: usize = 512;
/// Stream and number of the rows that decide when to stop.
const VALIDATION: (&str, usize) = ("validation", 4 * CHUNK);

/// Two related tasks and how they are learnt, unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyntheticConfig {
    /// d, at least 2.
    pub dimensions: usize,
    /// p, in [-1, 1].
    pub cosine: f64,
    /// c, above 0.
    pub scale: f64,
    /// m, the number of sines.
    pub sines: usize,
    /// Standard deviation of α_j, at least 0; that of β_j is 1.
    pub frequency: f64,
    /// Standard deviation of ε, at least 0.
    pub noise: f64,
    /// Batches trained on, at least 1.
    pub batches: usize,
    /// Rows in a batch, at least 1.
    pub batch: usize,
    /// Train on so many rows over and over instead of on fresh ones; a multiple of `batch`.
    pub fixed_rows: Option<usize>,
    /// Step size of Adam, above 0.
    pub learning_rate: f64,
}

impl Default for SyntheticConfig {
    /// 100 dimensions, 5 sines, ε of variance 0.01 (the paper's where it gives a number), c = 1; 2,000 batches of 128 fresh
    /// rows at a step size of 0.003.
    fn default() -> Self {
        Self {
            dimensions: 100,
            cosine: 0.0,
            scale: 1.0,
            sines: 5,
            frequency: 1.0,
            noise: 0.1,
            batches: 2_000,
            batch: 128,
            fixed_rows: None,
            learning_rate: 3e-3,
        }
    }
}

/// A checked [`SyntheticConfig`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SyntheticSettings(SyntheticConfig);

impl std::ops::Deref for SyntheticSettings {
    type Target = SyntheticConfig;

    fn deref(&self) -> &SyntheticConfig {
        &self.0
    }
}

impl Check for SyntheticConfig {
    type Checked = SyntheticSettings;

    fn check(self) -> Result<SyntheticSettings, ConfigError> {
        const NAME: &str = "SyntheticConfig";
        let holds = (2..=65_536).contains(&self.dimensions);
        require(holds, NAME, "dimensions", self.dimensions, "2 to 65536")?;
        // Rows are drawn a batch, or all fixed ones, at a time.
        let rows = self.fixed_rows.unwrap_or(0).max(self.batch);
        let holds = rows.saturating_mul(self.dimensions) <= 1 << 30;
        let allowed = "such that rows at a time x dimensions are at most 2^30";
        require(holds, NAME, "batch", self.batch, allowed)?;
        require(self.sines <= 65_536, NAME, "sines", self.sines, "at most 65536")?;
        let cosine = self.cosine;
        require((-1.0..=1.0).contains(&cosine), NAME, "cosine", cosine, "a number in [-1, 1]")?;
        for (field, value) in [("scale", self.scale), ("learning_rate", self.learning_rate)] {
            require_positive(NAME, field, value)?;
        }
        for (field, value) in [("frequency", self.frequency), ("noise", self.noise)] {
            require_non_negative(NAME, field, value)?;
        }
        for (field, value) in [("batches", self.batches), ("batch", self.batch)] {
            require(value > 0, NAME, field, value, "1 or more")?;
        }
        if let Some(rows) = self.fixed_rows {
            let holds = rows > 0 && rows.is_multiple_of(self.batch);
            require(holds, NAME, "fixed_rows", rows, "a multiple of batch, above 0")?;
        }
        Ok(SyntheticSettings(self))
    }
}

/// The two tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticTasks {
    settings: SyntheticSettings,
    /// w_1 and w_2.
    weights: [Vec<f64>; 2],
    /// α_j and β_j.
    sines: Vec<(f64, f64)>,
    /// Mean and deviation of each task's targets.
    moments: [(f64, f64); 2],
}

impl SyntheticTasks {
    /// Tasks drawn from the stream "tasks", standardised by rows from the stream "moments".
    #[must_use]
    pub fn new(settings: &SyntheticSettings, streams: &Streams) -> Self {
        let mut rng = streams.stream("tasks", &[]);
        let mut direction = || -> Vec<f64> {
            (0..settings.dimensions).map(|_| StandardNormal.sample(&mut rng)).collect()
        };
        let [first, mut second] = [direction(), direction()];
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let share = dot(&first, &second) / dot(&first, &first);
        second.iter_mut().zip(&first).for_each(|(value, first)| *value -= share * first);
        let sizes = [&first, &second].map(|u| dot(u, u).sqrt());
        let (p, q) = (settings.cosine, (1.0 - settings.cosine.powi(2)).sqrt());
        let unit = first.iter().zip(&second).map(|(a, b)| (a / sizes[0], b / sizes[1]));
        let weights = [
            unit.clone().map(|(a, _)| settings.scale * a).collect(),
            unit.map(|(a, b)| settings.scale * (p * a + q * b)).collect(),
        ];
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let sines = (0..settings.sines).map(|_| (settings.frequency * normal(), normal()));
        let sines = sines.collect();
        let mut tasks = Self { settings: *settings, weights, sines, moments: [(0.0, 1.0); 2] };
        let (mut x, mut y) = (Vec::new(), Vec::new());
        tasks.draw(HELD_OUT, &mut streams.stream("moments", &[]), &mut x, &mut y);
        tasks.moments = [0, 1].map(|task| {
            let own = || y.iter().skip(task).step_by(2).map(|&y| f64::from(y));
            let mean = own().sum::<f64>() / HELD_OUT as f64;
            let variance = own().map(|y| (y - mean).powi(2)).sum::<f64>() / HELD_OUT as f64;
            (mean, variance.sqrt())
        });
        tasks
    }

    /// Fills `x` with `rows` rows of `dimensions`, and `y` with their standardised targets, rows x 2.
    pub fn draw(&self, rows: usize, rng: &mut StreamRng, x: &mut Vec<f32>, y: &mut Vec<f32>) {
        x.clear();
        x.extend(
            (0..rows * self.settings.dimensions).map(|_| -> f32 { StandardNormal.sample(rng) }),
        );
        y.clear();
        for row in x.chunks_exact(self.settings.dimensions) {
            for (weights, (mean, deviation)) in self.weights.iter().zip(self.moments) {
                let along: f64 = weights.iter().zip(row).map(|(w, &x)| w * f64::from(x)).sum();
                let sines = self.sines.iter().map(|(alpha, beta)| (alpha * along + beta).sin());
                let noise: f64 = StandardNormal.sample(rng);
                let target = along + sines.sum::<f64>() + self.settings.noise * noise;
                y.push(((target - mean) / deviation) as f32);
            }
        }
    }

    /// Trains a network of two outputs and gives each task's mean squared error on rows it has not seen, in units of the
    /// target's variance. Where rows are trained on again and again the weights are those of the pass after which the error on
    /// validation rows was lowest; of a stream, the last.
    ///
    /// Rows come from the streams "batch", "validation" and "test", so architectures trained from the same streams see the same.
    ///
    /// # Errors
    /// [`RecsysError::Diverged`].
    pub fn train(
        &self,
        architecture: &Architecture,
        streams: &Streams,
    ) -> Result<[f64; 2], RecsysError> {
        let settings = &self.settings;
        let mut layout = Layout::default();
        let network = Network::new(architecture, settings.dimensions, 2, &mut layout);
        let mut parameters = network.initial(&mut streams.stream("weights", &[]));
        let mut gradient = vec![0.0; parameters.len()];
        let mut adam = Adam::default();
        let mut dropout = Dropout::new(architecture.gate_dropout, 0.0, streams, 0);
        let (mut x, mut y) = (Vec::new(), Vec::new());
        let (mut saved, mut slopes) = (Saved::default(), Vec::new());
        let different = settings.fixed_rows.map_or(settings.batches, |rows| rows / settings.batch);
        let mut best: Option<(f64, Vec<f32>)> = None;
        for batch in 0..settings.batches {
            let mut rng = streams.stream("batch", &[(batch % different) as u64]);
            self.draw(settings.batch, &mut rng, &mut x, &mut y);
            let mask = dropout.gates(settings.batch * network.mask_width());
            network.logits_saving(&parameters, &x, mask, &mut saved);
            // Mean over rows of the sum over tasks of squared errors.
            let scale = 2.0 / settings.batch as f32;
            slopes.clear();
            slopes.extend(saved.logits.iter().zip(&y).map(|(z, y)| scale * (z - y)));
            network.backward(&parameters, &x, &mut saved, (&slopes, None), &mut gradient, None);
            adam.clipped_step(settings.learning_rate, None, &mut parameters, &gradient)?;
            if settings.fixed_rows.is_some() && (batch + 1) % different == 0 {
                let error: f64 =
                    self.errors(&network, &parameters, VALIDATION, streams).iter().sum();
                if best.as_ref().is_none_or(|(lowest, _)| error < *lowest) {
                    best = Some((error, parameters.clone()));
                }
            }
        }
        let parameters = best.map_or(parameters, |(_, parameters)| parameters);
        Ok(self.errors(&network, &parameters, ("test", HELD_OUT), streams))
    }

    /// Each task's mean squared error on so many rows of a stream.
    fn errors(
        &self,
        network: &Network,
        parameters: &[f32],
        (stream, rows): (&str, usize),
        streams: &Streams,
    ) -> [f64; 2] {
        let (mut x, mut y) = (Vec::new(), Vec::new());
        let mut rng = streams.stream(stream, &[]);
        let mut errors = [0.0; 2];
        for _ in 0..rows / CHUNK {
            self.draw(CHUNK, &mut rng, &mut x, &mut y);
            let outputs = network.logits(parameters, &x);
            for (row, (output, target)) in outputs.iter().zip(&y).enumerate() {
                errors[row % 2] += f64::from(output - target).powi(2) / rows as f64;
            }
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranker::architecture::{NetworkConfig, Sharing};
    use approx::assert_relative_eq;

    #[test]
    fn the_weights_have_the_cosine_and_the_targets_unit_variance() {
        for cosine in [-0.5, 0.0, 0.8, 1.0] {
            let config = SyntheticConfig { cosine, scale: 0.3, ..Default::default() };
            let tasks = SyntheticTasks::new(&config.check().unwrap(), &Streams::new(1));
            let [a, b] = &tasks.weights;
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            assert_relative_eq!(dot(a, a), 0.09, max_relative = 1e-9);
            assert_relative_eq!(dot(b, b), 0.09, max_relative = 1e-9);
            assert_relative_eq!(dot(a, b), 0.09 * cosine, epsilon = 1e-9);
            let (mut x, mut y) = (Vec::new(), Vec::new());
            tasks.draw(20_000, &mut Streams::new(2).stream("x", &[]), &mut x, &mut y);
            let variance = y.iter().map(|y| f64::from(y * y)).sum::<f64>() / y.len() as f64;
            assert!((variance - 1.0).abs() < 0.05, "{variance}");
        }
    }

    #[test]
    fn a_target_by_hand() {
        let config = SyntheticConfig { dimensions: 3, noise: 0.0, ..Default::default() };
        let tasks = SyntheticTasks::new(&config.check().unwrap(), &Streams::new(3));
        let (mut x, mut y) = (Vec::new(), Vec::new());
        tasks.draw(1, &mut Streams::new(4).stream("x", &[]), &mut x, &mut y);
        for (task, weights) in tasks.weights.iter().enumerate() {
            let along: f64 = weights.iter().zip(&x).map(|(w, &x)| w * f64::from(x)).sum();
            let raw = tasks.sines.iter().fold(along, |sum, (a, b)| sum + (a * along + b).sin());
            let (mean, deviation) = tasks.moments[task];
            assert_relative_eq!(f64::from(y[task]), (raw - mean) / deviation, max_relative = 1e-5);
        }
    }

    #[test]
    fn a_linear_task_is_learnt_and_the_same_streams_give_the_same_bits() {
        let config = SyntheticConfig {
            dimensions: 6,
            sines: 0,
            batches: 400,
            learning_rate: 1e-2,
            ..Default::default()
        };
        let tasks = SyntheticTasks::new(&config.check().unwrap(), &Streams::new(5));
        let sharing = Sharing::MultiGate { experts: 3, hidden: vec![8] };
        let network =
            NetworkConfig { bottom: Vec::new(), sharing, tower: vec![4], gate_dropout: 0.1 };
        let network = network.check().unwrap();
        let errors = tasks.train(&network, &Streams::new(6)).unwrap();
        // Of a variance of 1, 0.01 is noise.
        assert!(errors.iter().all(|&error| error < 0.1), "{errors:?}");
        assert_eq!(tasks.train(&network, &Streams::new(6)).unwrap(), errors);
        assert_ne!(tasks.train(&network, &Streams::new(7)).unwrap(), errors);
    }

    #[test]
    fn fixed_rows_come_again() {
        let base = SyntheticConfig { dimensions: 4, batch: 8, batches: 4, ..Default::default() };
        let network = NetworkConfig { gate_dropout: 0.0, ..Default::default() }.check().unwrap();
        let run = |fixed_rows, batches| {
            let config = SyntheticConfig { fixed_rows, batches, ..base };
            let tasks = SyntheticTasks::new(&config.check().unwrap(), &Streams::new(1));
            tasks.train(&network, &Streams::new(2)).unwrap()
        };
        // As many rows as are drawn: the same as a stream. Fewer: not.
        assert_eq!(run(Some(32), 4), run(None, 4));
        assert_ne!(run(Some(16), 4), run(None, 4));
        let config = SyntheticConfig { fixed_rows: Some(12), ..base };
        assert!(config.check().unwrap_err().to_string().contains("fixed_rows = 12"));
    }
}
