//! The smallest loop that collapses: a classifier with shared weights, rewarded for agreeing with a label that comes from itself or
//! from an anchor.
//!
//! Prompts are x ~ N(0, I); the right answer is the class that a fixed random network with tanh units gives the highest score. The
//! policy is one hidden layer of ReLU units, first fitted to a few labels. A step samples G answers to each of some prompts, has an
//! [`Anchor`] reward them, and goes up the policy gradient with advantages normalised within each group. Collapse is nothing that is
//! put in: all prompts answered alike is an optimum of agreement, and shared weights are a way there.

use headwater_core::{Check, ConfigError, StreamRng, Streams, require};
use headwater_kernels::{Activation, AdamWStep, DenseLayer, adamw, mlp, mlp_backward, mlp_keeping};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::anchor::{Anchor, AnchorConfig, Answer, Group, Imported, Oracle, majority};

/// The task and the base, unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorldConfig {
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

impl Default for WorldConfig {
    /// 24 inputs, 64 hidden units, 10 classes, 300 labels.
    fn default() -> Self {
        Self { inputs: 24, hidden: 64, classes: 10, labelled: 300, fit_steps: 60 }
    }
}

/// A checked [`WorldConfig`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WorldSettings(WorldConfig);

impl Check for WorldConfig {
    type Checked = WorldSettings;

    fn check(self) -> Result<WorldSettings, ConfigError> {
        const NAME: &str = "WorldConfig";
        require(self.classes >= 2, NAME, "classes", self.classes, "2 or more")?;
        for (field, value) in [
            ("inputs", self.inputs),
            ("hidden", self.hidden),
            ("labelled", self.labelled),
            ("fit_steps", self.fit_steps),
        ] {
            require(value >= 1, NAME, field, value, "1 or more")?;
        }
        Ok(WorldSettings(self))
    }
}

/// Who votes on labels that are a majority.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Voters {
    /// The policy as it stands: the sampled group.
    Policy,
    /// The base, never updated.
    Base,
    /// A moving average of the policy's weights.
    Average {
        /// Share of its distance to the policy that it goes after every step, in (0, 1].
        rate: f64,
    },
}

/// A loop, unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoopConfig {
    /// What answers are rewarded by.
    pub anchor: AnchorConfig,
    /// Who votes.
    pub voters: Voters,
    /// Steps, at least 1.
    pub steps: usize,
    /// Prompts per step, at least 1.
    pub prompts: usize,
    /// Answers per prompt (G), at least 2.
    pub group: usize,
    /// Step size of Adam, above 0.
    pub learning_rate: f64,
    /// Weight of KL(policy, base), exact, at least 0.
    pub kl: f64,
    /// Weight of the entropy bonus, exact, at least 0.
    pub entropy: f64,
    /// Train on so many prompts again and again instead of on fresh ones; at least 1.
    pub pool: Option<usize>,
    /// Keep only prompts on which at least this share of the voters agrees, in [0, 1].
    pub least_agreement: f64,
    /// Draw only prompts on which the base's highest probability is at least this, in [0, 1): the easy ones.
    pub least_confidence: f64,
}

impl Default for LoopConfig {
    /// Own majority, 1,000 steps of 64 fresh prompts, 16 answers each, at 0.002.
    fn default() -> Self {
        Self {
            anchor: AnchorConfig::Majority,
            voters: Voters::Policy,
            steps: 1000,
            prompts: 64,
            group: 16,
            learning_rate: 2e-3,
            kl: 0.0,
            entropy: 0.0,
            pool: None,
            least_agreement: 0.0,
            least_confidence: 0.0,
        }
    }
}

/// A checked [`LoopConfig`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoopSettings {
    config: LoopConfig,
    anchor: Anchor,
}

impl Check for LoopConfig {
    type Checked = LoopSettings;

    fn check(self) -> Result<LoopSettings, ConfigError> {
        const NAME: &str = "LoopConfig";
        let anchor = self.anchor.check()?;
        for (field, value) in
            [("steps", self.steps), ("prompts", self.prompts), ("pool", self.pool.unwrap_or(1))]
        {
            require(value >= 1, NAME, field, value, "1 or more")?;
        }
        require(self.group >= 2, NAME, "group", self.group, "2 or more")?;
        let rate = self.learning_rate;
        require(
            rate.is_finite() && rate > 0.0,
            NAME,
            "learning_rate",
            rate,
            "a finite number above 0",
        )?;
        for (field, value) in [("kl", self.kl), ("entropy", self.entropy)] {
            let holds = value.is_finite() && value >= 0.0;
            require(holds, NAME, field, value, "a finite number of at least 0")?;
        }
        let agreement = self.least_agreement;
        let holds = (0.0..=1.0).contains(&agreement);
        require(holds, NAME, "least_agreement", agreement, "a number in [0, 1]")?;
        let confidence = self.least_confidence;
        let holds = (0.0..1.0).contains(&confidence);
        require(holds, NAME, "least_confidence", confidence, "a number in [0, 1)")?;
        if let Voters::Average { rate } = self.voters {
            require(rate > 0.0 && rate <= 1.0, NAME, "rate", rate, "a number in (0, 1]")?;
        }
        Ok(LoopSettings { config: self, anchor })
    }
}

/// One hidden layer, all weights in one vector: `[in][hidden]`, `[hidden]`, `[hidden][out]`, `[out]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    shape: [usize; 3],
    values: Vec<f32>,
}

impl Policy {
    fn initialise(shape: [usize; 3], stream: &mut StreamRng) -> Self {
        let [inputs, hidden, outputs] = shape;
        let mut values = Vec::new();
        for (rows, columns) in [(inputs, hidden), (hidden, outputs)] {
            let scale = (2.0 / rows as f64).sqrt();
            values.extend((0..rows * columns).map(|_| (scale * normal(stream)) as f32));
            values.extend(vec![0.0; columns]);
        }
        Self { shape, values }
    }

    fn layers(&self) -> [DenseLayer<'_>; 2] {
        let [inputs, hidden, outputs] = self.shape;
        let (first, rest) = self.values.split_at(inputs * hidden);
        let (first_bias, rest) = rest.split_at(hidden);
        let (second, second_bias) = rest.split_at(hidden * outputs);
        let layer = |weights, bias, activation| DenseLayer { weights, bias, activation };
        [
            layer(first, first_bias, Activation::Relu),
            layer(second, second_bias, Activation::Identity),
        ]
    }

    /// Probabilities of every class, row by row.
    #[must_use]
    pub fn probabilities(&self, x: &[f32]) -> Vec<f64> {
        softmax(&mlp(&self.layers(), x), self.shape[2])
    }
}

fn softmax(logits: &[f32], classes: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(logits.len());
    for row in logits.chunks_exact(classes) {
        let top = f64::from(row.iter().fold(f32::NEG_INFINITY, |top, z| top.max(*z)));
        let start = out.len();
        out.extend(row.iter().map(|z| (f64::from(*z) - top).exp()));
        let total: f64 = out[start..].iter().sum();
        out[start..].iter_mut().for_each(|p| *p /= total);
    }
    out
}

/// Adam on a policy's weights.
struct Adam {
    rate: f64,
    steps: i32,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Adam {
    fn new(rate: f64, policy: &Policy) -> Self {
        let zeros = vec![0.0; policy.values.len()];
        Self { rate, steps: 0, first: zeros.clone(), second: zeros }
    }

    /// Down the gradient of the mean over rows whose slopes in the logits are `slopes`.
    fn step(&mut self, policy: &mut Policy, x: &[f32], slopes: &[f32]) {
        let layers = policy.layers();
        let (_, kept) = mlp_keeping(&layers, x);
        let gradient: Vec<f32> = mlp_backward(&layers, x, &kept, slopes, None)
            .into_iter()
            .flat_map(|layer| [layer.weights, layer.bias].concat())
            .collect();
        self.steps += 1;
        let left = |beta: f64| 1.0 - beta.powi(self.steps);
        let step = AdamWStep {
            clip: 1.0,
            beta_1: [0.9, 0.1],
            beta_2: [0.999, 0.001],
            keep: 1.0,
            rate: (self.rate / left(0.9)) as f32,
            root_correction: left(0.999).sqrt() as f32,
            epsilon: 1e-8,
        };
        adamw(step, &mut policy.values, &gradient, &mut self.first, &mut self.second);
    }
}

/// The task: prompts, right answers, and a base fitted to a few of them.
#[derive(Debug, Clone)]
pub struct World {
    settings: WorldSettings,
    teacher: [Vec<f64>; 2],
    base: Policy,
}

/// Prompts with their right answers.
#[derive(Debug, Clone)]
pub struct Prompts {
    x: Vec<f32>,
    truth: Vec<Answer>,
}

impl World {
    /// A task and its base, drawn from `streams`.
    #[must_use]
    pub fn new(settings: WorldSettings, streams: &Streams) -> Self {
        let WorldConfig { inputs, hidden, classes, labelled, fit_steps } = settings.0;
        let mut stream = streams.stream("teacher", &[]);
        let scale = (inputs as f64).sqrt();
        let teacher = [
            (0..inputs * hidden).map(|_| 2.0 * normal(&mut stream) / scale).collect(),
            (0..hidden * classes).map(|_| normal(&mut stream)).collect(),
        ];
        let shape = [inputs, hidden, classes];
        let base = Policy::initialise(shape, &mut streams.stream("weights", &[]));
        let mut world = Self { settings, teacher, base };
        let examples = world.draw(labelled, &mut streams.stream("labelled examples", &[]));
        let mut adam = Adam::new(1e-2, &world.base);
        for _ in 0..fit_steps {
            let mut slopes = world.base.probabilities(&examples.x);
            for (row, truth) in slopes.chunks_exact_mut(classes).zip(&examples.truth) {
                row[*truth] -= 1.0;
                row.iter_mut().for_each(|slope| *slope /= labelled as f64);
            }
            let slopes: Vec<f32> = slopes.into_iter().map(|slope| slope as f32).collect();
            adam.step(&mut world.base, &examples.x, &slopes);
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
        let WorldConfig { inputs, hidden, classes, .. } = self.settings.0;
        let mut prompts = Prompts { x: Vec::with_capacity(count * inputs), truth: Vec::new() };
        for _ in 0..count {
            let x: Vec<f64> = (0..inputs).map(|_| normal(stream)).collect();
            let unit = |unit: usize| {
                let sum: f64 = x
                    .iter()
                    .enumerate()
                    .map(|(at, x)| x * self.teacher[0][at * hidden + unit])
                    .sum();
                sum.tanh()
            };
            let units: Vec<f64> = (0..hidden).map(unit).collect();
            let score = |class: usize| -> f64 {
                units
                    .iter()
                    .enumerate()
                    .map(|(at, u)| u * self.teacher[1][at * classes + class])
                    .sum()
            };
            let scores: Vec<f64> = (0..classes).map(score).collect();
            let best = (0..classes).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
            prompts.truth.push(best.expect("two classes or more"));
            prompts.x.extend(x.iter().map(|x| *x as f32));
        }
        prompts
    }

    /// Prompts on which the base is at least so confident.
    fn draw_easy(&self, count: usize, least: f64, stream: &mut StreamRng) -> Prompts {
        let WorldConfig { inputs, classes, .. } = self.settings.0;
        let mut easy = Prompts { x: Vec::new(), truth: Vec::new() };
        while easy.truth.len() < count {
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

/// What is seen of a policy on held-out prompts: exact expectations over its answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// Mean probability of the right answer.
    pub accuracy: f64,
    /// Share of prompts whose likeliest answer is right.
    pub greedy: f64,
    /// Probability that one of 16 answers is right.
    pub pass_at_16: f64,
    /// Share of prompts with the most common likeliest answer: 1 where all are answered alike.
    pub top_share: f64,
    /// Mean probability of the likeliest answer, which is what agreement rewards, less the accuracy.
    pub self_score_excess: f64,
    /// KL(policy, base), nats.
    pub kl: f64,
    /// Generation-verification gap where answers verify by their own probability (self-consistency).
    pub gap: f64,
}

/// Looks at a policy.
#[must_use]
pub fn look(policy: &Policy, base: &Policy, test: &Prompts) -> Look {
    let classes = policy.shape[2];
    let (now, then) = (policy.probabilities(&test.x), base.probabilities(&test.x));
    let mut sums = [0.0; 6];
    let mut tops = vec![0usize; classes];
    for ((p, q), truth) in
        now.chunks_exact(classes).zip(then.chunks_exact(classes)).zip(&test.truth)
    {
        let top = (0..classes).max_by(|a, b| p[*a].total_cmp(&p[*b])).expect("two classes or more");
        tops[top] += 1;
        let right = p[*truth];
        let squares: f64 = p.iter().map(|p| p * p).sum();
        let kl: f64 = p
            .iter()
            .zip(q)
            .filter(|(p, _)| **p > 0.0)
            .map(|(p, q)| p * (p / q.max(1e-300)).ln())
            .sum();
        for (sum, value) in sums.iter_mut().zip([
            right,
            f64::from(top == *truth),
            1.0 - (1.0 - right).powi(16),
            p[top] - right,
            kl,
            right * right / squares - right,
        ]) {
            *sum += value / test.truth.len() as f64;
        }
    }
    let most = tops.iter().max().copied().unwrap_or(0);
    let [accuracy, greedy, pass_at_16, self_score_excess, kl, gap] = sums;
    let top_share = most as f64 / test.truth.len() as f64;
    Look { accuracy, greedy, pass_at_16, top_share, self_score_excess, kl, gap }
}

/// What a loop was seen to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// Looks, the first before any step, at equal distances.
    pub looks: Vec<Look>,
    /// Accuracy on a small labelled split at each look, for early stopping; it imports its labels once.
    pub labelled: Vec<f64>,
    /// What the anchor imported.
    pub imported: Imported,
}

/// Runs a loop from the base; `looks` of them after the first, and a labelled split of `split` prompts.
///
/// # Panics
/// Without a look.
#[must_use]
pub fn run(
    world: &World,
    settings: &LoopSettings,
    looks: usize,
    (test, split): (usize, usize),
    streams: &Streams,
) -> Course {
    assert!(looks >= 1, "{looks} looks: allowed are 1 or more");
    let LoopSettings { config, anchor } = settings;
    let classes = world.settings.0.classes;
    let test = world.draw(test, &mut streams.stream("test prompts", &[]));
    let split = world.draw(split.max(1), &mut streams.stream("labelled split", &[]));
    let mut policy = world.base.clone();
    let mut average = world.base.clone();
    let mut adam = Adam::new(config.learning_rate, &policy);
    let seen = |policy: &Policy| look(policy, &world.base, &test);
    let judged = |policy: &Policy| look(policy, &world.base, &split).accuracy;
    let mut course = Course {
        looks: vec![seen(&policy)],
        labelled: vec![judged(&policy)],
        imported: Imported::default(),
    };
    for step in 0..config.steps {
        // Prompts that come again have their own numbers; fresh ones have never been seen.
        let batch =
            config.pool.map_or(step as u64, |pool| (step % pool.div_ceil(config.prompts)) as u64);
        let count = config.pool.map_or(config.prompts, |pool| pool.min(config.prompts));
        let mut stream = streams.stream("prompts", &[batch]);
        let prompts = match config.least_confidence {
            0.0 => world.draw(count, &mut stream),
            least => world.draw_easy(count, least, &mut stream),
        };
        let mut stream = streams.stream("answers", &[step as u64]);
        let p = policy.probabilities(&prompts.x);
        let answers: Vec<Vec<Answer>> =
            p.chunks_exact(classes).map(|p| draw(p, config.group, &mut stream)).collect();
        let voters: Vec<Vec<Answer>> = match config.voters {
            Voters::Policy => answers.clone(),
            Voters::Base | Voters::Average { .. } => {
                let who = if config.voters == Voters::Base { &world.base } else { &average };
                let mut stream = streams.stream("voters", &[step as u64]);
                let p = who.probabilities(&prompts.x);
                p.chunks_exact(classes).map(|p| draw(p, config.group, &mut stream)).collect()
            }
        };
        let groups: Vec<Group<'_>> = answers
            .iter()
            .zip(&voters)
            .enumerate()
            .map(|(at, (answers, voters))| Group {
                id: batch * config.prompts as u64 + at as u64,
                answers,
                voters,
            })
            .collect();
        let oracle = Oracle::new(&prompts.truth);
        let mut labels = streams.stream("anchor", &[step as u64]);
        let rewards = anchor.rewards(&groups, &oracle, classes, &mut labels);
        let imported = oracle.imported();
        course.imported.labels += imported.labels;
        course.imported.verdicts += imported.verdicts;
        let agreed = |voters: &[Answer]| {
            let label = majority(voters);
            voters.iter().filter(|answer| **answer == label).count() as f64 / voters.len() as f64
        };
        let q = world.base.probabilities(&prompts.x);
        let mut slopes = vec![0.0f32; p.len()];
        let rows = p.chunks_exact(classes).zip(q.chunks_exact(classes));
        for (at, ((p, q), slopes)) in rows.zip(slopes.chunks_exact_mut(classes)).enumerate() {
            let is_kept = agreed(&voters[at]) >= config.least_agreement;
            let slope = ascent(p, q, &answers[at], &rewards[at], is_kept, config);
            for (out, value) in slopes.iter_mut().zip(slope) {
                *out = (-value / count as f64) as f32;
            }
        }
        adam.step(&mut policy, &prompts.x, &slopes);
        if let Voters::Average { rate } = config.voters {
            for (slow, now) in average.values.iter_mut().zip(&policy.values) {
                *slow += rate as f32 * (now - *slow);
            }
        }
        let due = |step: usize| step * looks / config.steps;
        if due(step + 1) > due(step) {
            course.looks.push(seen(&policy));
            course.labelled.push(judged(&policy));
        }
    }
    course
}

/// Gradient of one prompt's objective in its logits: the policy gradient of normalised advantages, less the KL penalty, plus the
/// entropy bonus, both exact.
fn ascent(
    p: &[f64],
    q: &[f64],
    answers: &[Answer],
    rewards: &[f64],
    is_kept: bool,
    config: &LoopConfig,
) -> Vec<f64> {
    let n = answers.len() as f64;
    let mean = rewards.iter().sum::<f64>() / n;
    let deviation = (rewards.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / n).sqrt();
    let mut slope = vec![0.0; p.len()];
    if is_kept && deviation > 0.0 {
        // The advantages sum to 0, so that the policy's own share drops out.
        for (answer, reward) in answers.iter().zip(rewards) {
            slope[*answer] += (reward - mean) / deviation / n;
        }
    }
    if config.kl > 0.0 || config.entropy > 0.0 {
        let log = |value: f64| value.max(1e-300).ln();
        let kl: f64 = p.iter().zip(q).map(|(p, q)| p * (log(*p) - log(*q))).sum();
        let entropy: f64 = -p.iter().map(|p| p * log(*p)).sum::<f64>();
        for ((slope, p), q) in slope.iter_mut().zip(p).zip(q) {
            *slope -= config.kl * p * (log(*p) - log(*q) - kl);
            *slope -= config.entropy * p * (log(*p) + entropy);
        }
    }
    slope
}

/// Independent answers.
fn draw(p: &[f64], count: usize, stream: &mut StreamRng) -> Vec<Answer> {
    (0..count)
        .map(|_| {
            let mut left = stream.random::<f64>();
            p.iter()
                .position(|p| {
                    left -= p;
                    left < 0.0
                })
                .unwrap_or(p.len() - 1)
        })
        .collect()
}

fn normal(stream: &mut StreamRng) -> f64 {
    StandardNormal.sample(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_the_gradient_of_the_objective() {
        let config = LoopConfig { kl: 0.3, entropy: 0.2, ..LoopConfig::default() };
        let q = [0.2, 0.5, 0.3];
        let (answers, rewards) = ([0, 1, 1, 2], [1.0, 0.0, 0.0, 1.0]);
        let advantage = [1.0, -1.0, -1.0, 1.0];
        let objective = |z: &[f64]| -> f64 {
            let total: f64 = z.iter().map(|z| z.exp()).sum();
            let p: Vec<f64> = z.iter().map(|z| z.exp() / total).collect();
            let gradient: f64 =
                answers.iter().zip(advantage).map(|(a, adv)| adv * p[*a].ln() / 4.0).sum();
            let kl: f64 = p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum();
            let entropy: f64 = -p.iter().map(|p| p * p.ln()).sum::<f64>();
            gradient - 0.3 * kl + 0.2 * entropy
        };
        let z = [0.1, -0.4, 0.7];
        let total: f64 = z.iter().map(|z: &f64| z.exp()).sum();
        let p: Vec<f64> = z.iter().map(|z| z.exp() / total).collect();
        let slope = ascent(&p, &q, &answers, &rewards, true, &config);
        for at in 0..3 {
            let (mut above, mut below) = (z, z);
            above[at] += 1e-5;
            below[at] -= 1e-5;
            let numeric = (objective(&above) - objective(&below)) / 2e-5;
            assert!((slope[at] - numeric).abs() < 1e-7, "{at}: {} and {numeric}", slope[at]);
        }
        let none = LoopConfig::default();
        assert_eq!(ascent(&p, &q, &answers, &[1.0; 4], true, &none), [0.0; 3], "all agree");
        assert_eq!(ascent(&p, &q, &answers, &rewards, false, &none), [0.0; 3], "left out");
    }

    #[test]
    fn the_same_streams_give_the_same_course_and_gold_beats_the_base() {
        let streams = Streams::new(4);
        let world = World::new(WorldConfig::default().check().unwrap(), &streams);
        let gold = LoopConfig {
            anchor: AnchorConfig::Gold { share: 1.0 },
            steps: 150,
            ..LoopConfig::default()
        };
        let run = || run(&world, &gold.check().unwrap(), 3, (400, 20), &streams);
        let course = run();
        assert_eq!(course, run());
        assert_eq!(course.looks.len(), 4);
        assert!(course.looks[3].accuracy > course.looks[0].accuracy + 0.02, "{:?}", course.looks);
        assert_eq!(course.looks[0].kl, 0.0);
        assert_eq!(course.imported, Imported { labels: 150 * 64, verdicts: 0 });
    }

    #[test]
    fn a_policy_that_answers_all_alike_is_seen_as_that() {
        let streams = Streams::new(5);
        let world = World::new(WorldConfig::default().check().unwrap(), &streams);
        let test = world.draw(500, &mut streams.stream("test", &[]));
        let mut stuck = world.base.clone();
        let last = stuck.values.len() - 10;
        stuck.values[last] = 1e3;
        let seen = look(&stuck, &world.base, &test);
        let share = test.truth.iter().filter(|truth| **truth == 0).count() as f64 / 500.0;
        assert_eq!(seen.top_share, 1.0);
        assert!((seen.accuracy - share).abs() < 1e-9 && (seen.greedy - share).abs() < 1e-9);
        assert!(seen.self_score_excess > 0.7 && seen.gap.abs() < 1e-9);
    }
}
