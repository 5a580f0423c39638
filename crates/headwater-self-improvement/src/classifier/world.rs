//! The task: prompts whose right answer a fixed random network gives, and a base fitted to a few of them.

use headwater_core::{Check, ConfigError, StreamRng, Streams, require};
use headwater_small_net::SmallNet;
use serde::{Deserialize, Serialize};

use super::policy::{Descent, Policy, network, normal};
use crate::anchor::Answer;

/// The task and the base, unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClassifierWorldConfig {
    /// Inputs, at least 1.
    pub inputs: usize,
    /// Hidden units of the teacher and of the policy, at least 1.
    pub hidden: usize,
    /// Classes, at least 2.
    pub classes: usize,
    /// Labelled examples that the base is fitted to, at least 1.
    pub labelled: usize,
    /// Steps of that fit, all examples in each, at least 1.
    pub fit_steps: usize,
}

impl Default for ClassifierWorldConfig {
    /// 24 inputs, 64 hidden units, 10 classes, 300 labels.
    fn default() -> Self {
        Self { inputs: 24, hidden: 64, classes: 10, labelled: 300, fit_steps: 60 }
    }
}

/// Batches that are drawn at most to find one batch of easy prompts.
const MOST_BATCHES: usize = 1000;

/// A checked [`ClassifierWorldConfig`].
#[derive(Debug, Clone, PartialEq)]
pub struct ClassifierWorldSettings {
    pub(super) config: ClassifierWorldConfig,
    /// Of the policy.
    net: SmallNet,
}

impl Check for ClassifierWorldConfig {
    type Checked = ClassifierWorldSettings;

    fn check(self) -> Result<ClassifierWorldSettings, ConfigError> {
        const NAME: &str = "ClassifierWorldConfig";
        require(self.classes >= 2, NAME, "classes", self.classes, "2 or more")?;
        for (field, value) in [
            ("inputs", self.inputs),
            ("hidden", self.hidden),
            ("labelled", self.labelled),
            ("fit_steps", self.fit_steps),
        ] {
            require(value >= 1, NAME, field, value, "1 or more")?;
        }
        let net = network(self.inputs, self.hidden, self.classes)?;
        Ok(ClassifierWorldSettings { config: self, net })
    }
}

/// The task: prompts, right answers, and a base fitted to a few of them.
#[derive(Debug, Clone)]
pub struct ClassifierWorld {
    pub(super) settings: ClassifierWorldSettings,
    teacher: [Vec<f64>; 2],
    pub(super) base: Policy,
}

/// Prompts with their right answers.
#[derive(Debug, Clone)]
pub struct Prompts {
    pub(super) x: Vec<f32>,
    pub(super) truth: Vec<Answer>,
}

/// `x` times `weights`, `[x][columns]`.
fn times(x: &[f64], weights: &[f64], columns: usize) -> Vec<f64> {
    let mut sums = vec![0.0; columns];
    for (x, row) in x.iter().zip(weights.chunks_exact(columns)) {
        for (sum, weight) in sums.iter_mut().zip(row) {
            *sum += x * weight;
        }
    }
    sums
}

/// Right to the last places of 1; half of the time of a run went into the library's, which is right to those of x.
fn tanh(x: f64) -> f64 {
    1.0 - 2.0 / ((2.0 * x).exp() + 1.0)
}

impl ClassifierWorld {
    /// A task and its base, drawn from `streams`.
    #[must_use]
    pub fn new(settings: ClassifierWorldSettings, streams: &Streams) -> Self {
        let ClassifierWorldConfig { inputs, hidden, classes, labelled, fit_steps } =
            settings.config;
        let mut stream = streams.stream("teacher", &[]);
        let scale = (inputs as f64).sqrt();
        let teacher = [
            (0..inputs * hidden).map(|_| 2.0 * normal(&mut stream) / scale).collect(),
            (0..hidden * classes).map(|_| normal(&mut stream)).collect(),
        ];
        let base = Policy::initialise(settings.net.clone(), &mut streams.stream("weights", &[]));
        let mut world = Self { settings, teacher, base };
        let examples = world.draw(labelled, &mut streams.stream("labelled examples", &[]));
        let mut descent = Descent::new(1e-2, &world.base);
        for _ in 0..fit_steps {
            let mut slopes = world.base.probabilities(&examples.x);
            for (row, truth) in slopes.chunks_exact_mut(classes).zip(&examples.truth) {
                row[*truth] -= 1.0;
                row.iter_mut().for_each(|slope| *slope /= labelled as f64);
            }
            let slopes: Vec<f32> = slopes.into_iter().map(|slope| slope as f32).collect();
            descent.step(&mut world.base, &examples.x, &slopes);
        }
        world
    }

    /// The base.
    #[must_use]
    pub fn base(&self) -> &Policy {
        &self.base
    }

    /// Random prompts.
    #[must_use]
    pub fn draw(&self, count: usize, stream: &mut StreamRng) -> Prompts {
        let ClassifierWorldConfig { inputs, hidden, classes, .. } = self.settings.config;
        let mut prompts = Prompts { x: Vec::with_capacity(count * inputs), truth: Vec::new() };
        for _ in 0..count {
            let x: Vec<f64> = (0..inputs).map(|_| normal(stream)).collect();
            let mut units = times(&x, &self.teacher[0], hidden);
            units.iter_mut().for_each(|unit| *unit = tanh(*unit));
            let scores = times(&units, &self.teacher[1], classes);
            let best = (0..classes).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
            prompts.truth.push(best.expect("two classes or more"));
            prompts.x.extend(x.iter().map(|x| *x as f32));
        }
        prompts
    }

    /// Prompts on which the base is at least so confident.
    ///
    /// # Panics
    /// When hardly any prompt is such a one.
    pub(super) fn draw_easy(&self, count: usize, least: f64, stream: &mut StreamRng) -> Prompts {
        let ClassifierWorldConfig { inputs, classes, .. } = self.settings.config;
        let mut easy = Prompts { x: Vec::new(), truth: Vec::new() };
        let mut drawn_batches = 0;
        while easy.truth.len() < count {
            assert!(
                drawn_batches < MOST_BATCHES,
                "least_confidence {least}: the base is never so confident on {MOST_BATCHES} batches of {count} prompts"
            );
            drawn_batches += 1;
            let drawn = self.draw(count, stream);
            let sure = self.base.probabilities(&drawn.x);
            for (at, row) in sure.chunks_exact(classes).enumerate() {
                let top = row.iter().fold(0.0f64, |top, p| top.max(*p));
                if top >= least && easy.truth.len() < count {
                    easy.x.extend(&drawn.x[at * inputs..(at + 1) * inputs]);
                    easy.truth.push(drawn.truth[at]);
                }
            }
        }
        easy
    }
}
