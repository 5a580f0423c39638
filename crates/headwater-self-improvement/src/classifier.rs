//! The smallest loop that collapses: a classifier with shared weights, rewarded for agreeing with a label that comes from itself or
//! from an anchor.
//!
//! Prompts are x ~ N(0, I); the right answer is the class that a fixed random network with tanh units gives the highest score. The
//! policy is one hidden layer of ReLU units, first fitted to a few labels. A step samples G answers to each of some prompts, has an
//! [`Anchor`] reward them, and goes up the policy gradient with advantages normalised within each group. Collapse is nothing that is
//! put in: all prompts answered alike is an optimum of agreement, and shared weights are a way there.

use headwater_core::{
    Check, ConfigError, StreamRng, Streams, require, require_non_negative, require_positive,
};
use rand::RngExt;
use serde::{Deserialize, Serialize};

mod policy;
mod world;

pub use policy::Policy;
pub use world::{ClassifierWorld, ClassifierWorldConfig, ClassifierWorldSettings, Prompts};

use policy::Descent;

use crate::anchor::{Anchor, AnchorConfig, Answer, Group, Imported, Oracle};
use crate::votes::majority;

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
pub struct ClassifierLoopConfig {
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

impl Default for ClassifierLoopConfig {
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

/// A checked [`ClassifierLoopConfig`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassifierLoopSettings {
    config: ClassifierLoopConfig,
    anchor: Anchor,
}

impl Check for ClassifierLoopConfig {
    type Checked = ClassifierLoopSettings;

    fn check(self) -> Result<ClassifierLoopSettings, ConfigError> {
        const NAME: &str = "ClassifierLoopConfig";
        let anchor = self.anchor.check()?;
        for (field, value) in
            [("steps", self.steps), ("prompts", self.prompts), ("pool", self.pool.unwrap_or(1))]
        {
            require(value >= 1, NAME, field, value, "1 or more")?;
        }
        require(self.group >= 2, NAME, "group", self.group, "2 or more")?;
        let rate = self.learning_rate;
        require_positive(NAME, "learning_rate", rate)?;
        // The policy is in f32, and Adam's first steps are divided by a tenth.
        let allowed = "a number that f32 can hold, with room for a factor of a thousand";
        for (field, value) in [("learning_rate", rate), ("kl", self.kl), ("entropy", self.entropy)]
        {
            require_non_negative(NAME, field, value)?;
            require(1e3 * value <= f64::from(f32::MAX), NAME, field, value, allowed)?;
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
        Ok(ClassifierLoopSettings { config: self, anchor })
    }
}

/// What is seen of a policy on held-out prompts: exact expectations over its answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
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

/// Evaluates a policy.
#[must_use]
pub fn evaluate(policy: &Policy, base: &Policy, test: &Prompts) -> Evaluation {
    let classes = policy.classes();
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
    Evaluation { accuracy, greedy, pass_at_16, top_share, self_score_excess, kl, gap }
}

/// What a loop was seen to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// Evaluations, the first before any step, at equal distances.
    pub evaluations: Vec<Evaluation>,
    /// Accuracy on a small labelled split at each evaluation, for early stopping; it imports its labels once.
    pub labelled: Vec<f64>,
    /// What the anchor imported.
    pub imported: Imported,
}

/// Runs a loop from the base; `evaluations` of them after the first, and a labelled split of `split` prompts.
///
/// # Panics
/// Without an evaluation, a test prompt or a labelled one, and when hardly any prompt is as easy as the settings ask.
#[must_use]
pub fn run(
    world: &ClassifierWorld,
    settings: &ClassifierLoopSettings,
    evaluations: usize,
    (test, split): (usize, usize),
    streams: &Streams,
) -> Course {
    for (what, count) in
        [("evaluations", evaluations), ("test prompts", test), ("labelled prompts", split)]
    {
        assert!(count >= 1, "{count} {what}: allowed are 1 or more");
    }
    let ClassifierLoopSettings { config, anchor } = settings;
    let classes = world.settings.config.classes;
    let test = world.draw(test, &mut streams.stream("test prompts", &[]));
    let split = world.draw(split, &mut streams.stream("labelled split", &[]));
    let mut policy = world.base.clone();
    let mut average = world.base.clone();
    let mut descent = Descent::new(config.learning_rate, &policy);
    let seen = |policy: &Policy| evaluate(policy, &world.base, &test);
    let judged = |policy: &Policy| evaluate(policy, &world.base, &split).accuracy;
    let mut course = Course {
        evaluations: vec![seen(&policy)],
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
        let draw_all = |p: &[f64], name: &str| -> Vec<Vec<Answer>> {
            let mut stream = streams.stream(name, &[step as u64]);
            p.chunks_exact(classes).map(|p| draw(p, config.group, &mut stream)).collect()
        };
        let p = policy.probabilities(&prompts.x);
        let answers = draw_all(&p, "answers");
        let voters = match config.voters {
            Voters::Policy => answers.clone(),
            Voters::Base => draw_all(&world.base.probabilities(&prompts.x), "voters"),
            Voters::Average { .. } => draw_all(&average.probabilities(&prompts.x), "voters"),
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
        let q = world.base.probabilities(&prompts.x);
        let slopes = slopes([&p, &q], &groups, &rewards, config);
        descent.step(&mut policy, &prompts.x, &slopes);
        if let Voters::Average { rate } = config.voters {
            for (slow, now) in average.values.iter_mut().zip(&policy.values) {
                *slow += rate as f32 * (now - *slow);
            }
        }
        let due = |step: usize| step * evaluations / config.steps;
        if due(step + 1) > due(step) {
            course.evaluations.push(seen(&policy));
            course.labelled.push(judged(&policy));
        }
    }
    course
}

/// What descends for all prompts, in their logits; `p` of the policy and `q` of the base.
fn slopes(
    [p, q]: [&[f64]; 2],
    groups: &[Group<'_>],
    rewards: &[Vec<f64>],
    config: &ClassifierLoopConfig,
) -> Vec<f32> {
    let classes = p.len() / groups.len();
    let mut slopes = vec![0.0f32; p.len()];
    let rows = p.chunks_exact(classes).zip(q.chunks_exact(classes));
    for (at, ((p, q), slopes)) in rows.zip(slopes.chunks_exact_mut(classes)).enumerate() {
        let Group { answers, voters, .. } = groups[at];
        let agreed = majority(voters).expect("a group has answers").share();
        let is_kept = agreed >= config.least_agreement;
        let slope = ascent(p, q, answers, &rewards[at], is_kept, config);
        for (out, value) in slopes.iter_mut().zip(slope) {
            *out = (-value / groups.len() as f64) as f32;
        }
    }
    slopes
}

/// Gradient of one prompt's objective in its logits: the policy gradient of normalised advantages, less the KL penalty, plus the
/// entropy bonus, both exact.
fn ascent(
    p: &[f64],
    q: &[f64],
    answers: &[Answer],
    rewards: &[f64],
    is_kept: bool,
    config: &ClassifierLoopConfig,
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
                // Rounding can leave a little over: it belongs to the last that has a probability.
                .or_else(|| p.iter().rposition(|p| *p > 0.0))
                .unwrap_or(0)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_beyond_f32_are_refused_by_name() {
        let fine = ClassifierLoopConfig::default();
        for bad in [f64::NAN, f64::INFINITY, -1.0, 1e60] {
            for (config, field) in [
                (ClassifierLoopConfig { learning_rate: bad, ..fine }, "learning_rate"),
                (ClassifierLoopConfig { kl: bad, ..fine }, "kl"),
                (ClassifierLoopConfig { entropy: bad, ..fine }, "entropy"),
            ] {
                let error = config.check().unwrap_err().to_string();
                assert!(
                    error.starts_with(&format!("ClassifierLoopConfig.{field} = {bad}")),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn what_has_no_probability_is_never_drawn() {
        // Shares that sum to less than 1, as rounding can leave them, and a last one of 0.
        let mut stream = Streams::new(1).stream("answers", &[]);
        let drawn = draw(&[0.1, 0.1, 0.0], 200, &mut stream);
        assert!(drawn.iter().all(|answer| *answer < 2) && drawn.contains(&1));
    }

    #[test]
    fn the_slope_is_the_gradient_of_the_objective() {
        let config =
            ClassifierLoopConfig { kl: 0.3, entropy: 0.2, ..ClassifierLoopConfig::default() };
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
        let none = ClassifierLoopConfig::default();
        assert_eq!(ascent(&p, &q, &answers, &[1.0; 4], true, &none), [0.0; 3], "all agree");
        assert_eq!(ascent(&p, &q, &answers, &rewards, false, &none), [0.0; 3], "left out");
    }

    #[test]
    fn the_same_streams_give_the_same_course_and_gold_beats_the_base() {
        let streams = Streams::new(4);
        let world =
            ClassifierWorld::new(ClassifierWorldConfig::default().check().unwrap(), &streams);
        let gold = ClassifierLoopConfig {
            anchor: AnchorConfig::Gold { share: 1.0 },
            steps: 150,
            ..ClassifierLoopConfig::default()
        };
        let run = || run(&world, &gold.check().unwrap(), 3, (400, 20), &streams);
        let course = run();
        assert_eq!(course, run());
        assert_eq!(course.evaluations.len(), 4);
        assert!(
            course.evaluations[3].accuracy > course.evaluations[0].accuracy + 0.02,
            "{:?}",
            course.evaluations
        );
        assert_eq!(course.evaluations[0].kl, 0.0);
        assert_eq!(course.imported, Imported { labels: 150 * 64, verdicts: 0 });
    }

    #[test]
    fn a_policy_that_answers_all_alike_is_seen_as_that() {
        let streams = Streams::new(5);
        let world =
            ClassifierWorld::new(ClassifierWorldConfig::default().check().unwrap(), &streams);
        let test = world.draw(500, &mut streams.stream("test", &[]));
        let mut stuck = world.base.clone();
        let last = stuck.values.len() - 10;
        stuck.values[last] = 1e3;
        let seen = evaluate(&stuck, &world.base, &test);
        let share = test.truth.iter().filter(|truth| **truth == 0).count() as f64 / 500.0;
        assert_eq!(seen.top_share, 1.0);
        assert!((seen.accuracy - share).abs() < 1e-9 && (seen.greedy - share).abs() < 1e-9);
        assert!(seen.self_score_excess > 0.7 && seen.gap.abs() < 1e-9);
    }
}
