//! Base and arms on budgeted reports, and what is seen of them on the way.

use headwater_core::{Check, Group, Prompt, Streams};
use headwater_evaluation::baselines::pearson;
use headwater_evaluation::exploitation::{ItemCredit, exploitation_rate};
use headwater_nn::{AdamWConfig, Checkpoint, Decoder, Device, Sampling, sample};
use headwater_optimizers::{
    Environment, Grade, Objective, ObjectiveConfig, Trainer, TrainerConfig,
};
use headwater_protocol::{CellError, Metrics, Scalar};
use headwater_rewards::ReferenceRewardConfig;
use serde::{Deserialize, Serialize};

use super::judge::{Asks, Judged, Scorer, Signal, grades, rubric};
use super::{
    ACCEPTED, CORRECT, CORRELATION, EVALUATION_STEP, EVALUATION_USED, EXPLOITATION, GRADED, JUDGE,
    MAGIC, MIXED, NEW_CREDIT, NO_ANSWER, PEAK, QUALITY, R3, READS, SHARE_ACCEPTED, SMOOTH_USED,
    STATEMENTS, USED, at_evaluations, smoothed,
};
use crate::training::pretrain;
use headwater_tasks::budgeted_report::{Author, REQUESTED, Request, vocabulary};

/// An arm on reports.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportArm {
    pub(super) signal: Signal,
    pub(super) asks: Asks,
    pub(super) reference_reward: ReferenceRewardConfig,
    /// Draw further prompts for rejected groups, so that steps have equally many groups that are
    /// used.
    pub(super) resample: bool,
    pub(super) trainer: TrainerConfig,
    pub(super) steps: usize,
    pub(super) evaluations: usize,
    /// Requests of the test.
    pub(super) test: usize,
}

/// Evaluations that are averaged where a value of a curve is read: two neighbours more than one.
const SPAN: usize = 3;
/// Stretches of training that the exploitation rate compares the ends of.
const CHECKPOINTS: usize = 4;

/// Imitates authors of demonstrations, one after the other, each for its number of steps.
pub(super) fn imitate(
    start: Decoder,
    authors: &[(Author, usize)],
    adamw: AdamWConfig,
    batch: usize,
    streams: &Streams,
) -> Result<(Decoder, Vec<f64>), CellError> {
    let vocabulary = vocabulary();
    let by_step: Vec<&Author> =
        authors.iter().flat_map(|(author, steps)| std::iter::repeat_n(author, *steps)).collect();
    pretrain(start, adamw, (by_step.len(), batch), streams, |step, stream| {
        Ok(Request::draw(stream).demonstration(by_step[step], &vocabulary, stream))
    })
}

/// Groups between two evaluations.
#[derive(Default, Clone)]
struct Window {
    graded: f64,
    accepted: f64,
    used: f64,
}

/// How many numbers are averaged of reports.
const COUNT: usize = 8;
/// Their metrics, in the order of [`numbers`].
pub(super) const NUMBERS: [Scalar; COUNT] =
    [JUDGE, R3, QUALITY, MAGIC, READS, STATEMENTS, NO_ANSWER, CORRECT];

fn numbers(judged: &Judged, request: &Request) -> [f64; COUNT] {
    let flag = |holds: bool| f64::from(u8::from(holds));
    let report = &judged.report;
    [
        judged.dense(),
        judged.r3,
        judged.quality,
        flag(report.magic),
        report.reads as f64,
        report.statements.len() as f64,
        flag(report.statements.is_empty()),
        report.correct(request),
    ]
}

/// Everything that is kept of training as it goes.
struct Log {
    windows: Vec<Window>,
    /// Correlation within an accepted group of the advantage with the boilerplate token, where both
    /// vary.
    correlations: Vec<f64>,
}

impl Log {
    fn window(&mut self, step: usize, steps: usize) -> &mut Window {
        let at = step * self.windows.len() / steps;
        &mut self.windows[at]
    }

    fn add(&mut self, (step, steps): (usize, usize), batch: &Graded) {
        let size = batch.judged.len() / batch.accepted.len();
        let into = self.window(step, steps);
        into.graded += batch.accepted.len() as f64;
        into.accepted += batch.accepted.iter().filter(|accepted| **accepted).count() as f64;
        for (group, _) in batch.accepted.iter().enumerate().filter(|(_, accepted)| **accepted) {
            let rows = group * size..(group + 1) * size;
            let judged = batch.judged[rows.clone()].iter();
            let magic: Vec<f64> = judged.map(|j| f64::from(u8::from(j.report.magic))).collect();
            let rewards = batch.grades[rows].iter();
            let rewards: Vec<f64> = rewards.filter_map(|v| v.reward.value()).collect();
            // An advantage is its group's reward up to shift and scale.
            self.correlations.extend(pearson(&rewards, &magic));
        }
    }

    fn report(self, metrics: Metrics) -> Metrics {
        // At every evaluation, the one before training included.
        let mut used = vec![0.0];
        used.extend(self.windows.iter().scan(0.0, |total, window| {
            *total += window.used;
            Some(*total)
        }));
        let graded: f64 = self.windows.iter().map(|w| w.graded).sum();
        let accepted: f64 = self.windows.iter().map(|w| w.accepted).sum();
        metrics
            .scalar(&USED, used[used.len() - 1])
            .scalar(&GRADED, graded)
            .scalar(&SHARE_ACCEPTED, accepted / graded)
            .scalar(&MIXED, self.correlations.len() as f64)
            .scalar(&CORRELATION, mean(&self.correlations))
            .series(&SMOOTH_USED, smooth(&used))
            .series(&EVALUATION_USED, used)
            .series(
                &ACCEPTED,
                self.windows.iter().map(|w| w.accepted / w.graded).collect::<Vec<f64>>(),
            )
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Means of `SPAN` looks in a row; the last is what a curve ends at.
fn smooth(curve: &[f64]) -> Vec<f64> {
    curve.windows(SPAN.min(curve.len())).map(mean).collect()
}

/// What a curve peaks at, by two curves of the same policies on different requests: where one is
/// highest the other is read, and the other way round, so that noise does not make a peak.
fn peak(halves: [&[f64]; 2]) -> f64 {
    let halves = halves.map(smooth);
    let read = |found: &[f64], valued: &[f64]| {
        let at = (0..found.len()).max_by(|a, b| found[*a].total_cmp(&found[*b]));
        at.map_or(f64::NAN, |at| valued[at])
    };
    f64::midpoint(read(&halves[0], &halves[1]), read(&halves[1], &halves[0]))
}

/// A batch as graded.
struct Graded {
    judged: Vec<Judged>,
    grades: Vec<Grade>,
    accepted: Vec<bool>,
}

/// The held-out requests and how reports on them are judged.
struct Test<'a> {
    requests: Vec<Request>,
    scorer: &'a Scorer<'a>,
    sampling: Sampling,
    streams: Streams,
}

/// Reports per held-out request: R3's weights need a group.
const TEST_GROUP: usize = 4;

impl Test<'_> {
    fn evaluate(&self, policy: &Decoder) -> Result<Vec<Judged>, CellError> {
        let vocabulary = &self.scorer.vocabulary;
        let tokens: Vec<Vec<u32>> =
            self.requests.iter().map(|request| request.prompt(vocabulary).tokens).collect();
        let sampled = sample(policy, &tokens, TEST_GROUP, &self.sampling, &self.streams)?;
        let texts: Vec<String> =
            sampled.iter().flatten().map(|c| vocabulary.decode(&c.tokens)).collect();
        self.scorer.judge(&self.requests, &texts, TEST_GROUP)
    }
}

/// Requests whose reports are judged by a rubric, by a reference, or by both.
struct Asking<'a> {
    arm: &'a ReportArm,
    scorer: &'a Scorer<'a>,
    streams: &'a Streams,
    /// What the last prompts asked for.
    asked: Vec<Request>,
    log: Log,
}

impl Environment for Asking<'_> {
    type Error = CellError;

    fn prompts(&mut self, step: u64, attempt: u64) -> Result<Vec<Prompt>, CellError> {
        let mut stream = self.streams.stream("requests", &[step, attempt]);
        let drawn = (0..self.arm.trainer.prompts_per_step).map(|_| Request::draw(&mut stream));
        self.asked = drawn.collect();
        Ok(self.asked.iter().map(|request| request.prompt(&self.scorer.vocabulary)).collect())
    }

    fn decode(&self, tokens: &[u32]) -> String {
        self.scorer.vocabulary.decode(tokens)
    }

    fn grade(&mut self, groups: &[Group], step: u64) -> Result<Vec<Grade>, CellError> {
        let size = self.arm.trainer.group_size;
        let texts: Vec<String> = groups.iter().flat_map(|g| g.completions.clone()).collect();
        let judged = self.scorer.judge(&self.asked, &texts, size)?;
        let mut stream = self.streams.stream("permutation", &[step]);
        let (grades, accepted) = grades(self.arm.signal, &judged, size, &mut stream)?;
        let batch = Graded { judged, grades, accepted };
        self.log.add((step as usize, self.arm.steps), &batch);
        Ok(batch.grades)
    }
}

/// Trains one arm `from` a policy, R3 under the frozen `reference`, and measures it.
pub(super) fn train(
    arm: &ReportArm,
    from: &Checkpoint,
    reference: &Checkpoint,
    streams: &Streams,
    device: &Device,
) -> Result<Metrics, CellError> {
    let reference = reference.decoder(&device.clone().without_autodiff())?;
    let scorer = Scorer {
        rubric: rubric(arm.asks)?,
        reward: arm.reference_reward.clone().check()?,
        reference: &reference,
        vocabulary: vocabulary(),
    };
    let log = Log { windows: vec![Window::default(); arm.evaluations], correlations: Vec::new() };
    let mut asking = Asking { arm, scorer: &scorer, streams, asked: Vec::new(), log };
    let mut stream = streams.stream("test", &[]);
    let test = Test {
        requests: (0..arm.test).map(|_| Request::draw(&mut stream)).collect(),
        scorer: &scorer,
        sampling: arm.trainer.sampling.clone().check()?,
        streams: streams.child("test", &[]),
    };
    let grpo = Objective::grpo().config();
    let objective = ObjectiveConfig { kl: None, dynamic_sampling: arm.resample, ..grpo }.check()?;
    let settings = arm.trainer.clone().check()?;
    let policy = from.decoder(device)?;
    let mut evaluations = vec![test.evaluate(&policy)?];
    let mut trainer = Trainer::new(policy, objective, settings, streams.child("training", &[]));
    for step in 0..arm.steps {
        let used = trainer.step(&mut asking)?["groups"];
        asking.log.window(step, arm.steps).used += used;
        if (step + 1) * arm.evaluations / arm.steps > step * arm.evaluations / arm.steps {
            evaluations.push(test.evaluate(trainer.policy())?);
        }
    }
    let steps: Vec<f64> = (0..=arm.evaluations)
        .map(|evaluation| (evaluation * arm.steps / arm.evaluations) as f64)
        .collect();
    let metrics = asking.log.report(Metrics::new()).series(&EVALUATION_STEP, steps);
    describe(metrics, &test.requests, &evaluations)
}

/// Held-out means at every evaluation, and the exploitation rate between checkpoints.
fn describe(
    mut metrics: Metrics,
    requests: &[Request],
    evaluations: &[Vec<Judged>],
) -> Result<Metrics, CellError> {
    for (at, metric) in NUMBERS.iter().enumerate() {
        let number =
            |(row, judged): (usize, &Judged)| numbers(judged, &requests[row / TEST_GROUP])[at];
        // Over the requests of even or of odd number.
        let half = |odd: usize| -> Vec<f64> {
            let of_half = |(row, _): &(usize, &Judged)| row / TEST_GROUP % 2 == odd;
            let at_evaluation = |evaluation: &Vec<Judged>| {
                let seen: Vec<f64> =
                    evaluation.iter().enumerate().filter(of_half).map(number).collect();
                mean(&seen)
            };
            evaluations.iter().map(at_evaluation).collect()
        };
        let halves = [half(0), half(1)];
        if *metric == QUALITY {
            metrics = metrics.scalar(&PEAK, peak([&halves[0], &halves[1]]));
        }
        let curve: Vec<f64> =
            halves[0].iter().zip(&halves[1]).map(|(a, b)| f64::midpoint(*a, *b)).collect();
        let smooth = smooth(&curve);
        metrics = metrics
            .scalar(metric, smooth[smooth.len() - 1])
            .series(&at_evaluations(metric), curve)
            .series(&smoothed(metric), smooth);
    }
    // Reference judges: is the key stated at all, and is it stated with its value? Both reject what
    // is not stated.
    let mut credits = Vec::new();
    let checkpoints: Vec<_> =
        evaluations.iter().step_by((evaluations.len() / CHECKPOINTS).max(1)).collect();
    for pair in checkpoints.windows(2) {
        for (row, (before, now)) in pair[0].iter().zip(pair[1]).enumerate() {
            let request = &requests[row / TEST_GROUP];
            let keys = (0..request.requested.len()).filter(|key| request.requested[*key]);
            let credit = |(item, key): (usize, usize)| ItemCredit {
                weight: 1.0 / REQUESTED as f64,
                before: before.items[item],
                now: now.items[item],
                rejected: !now.report.mentions(key) && !now.report.states(key, request.values[key]),
            };
            credits.extend(keys.enumerate().map(credit));
        }
    }
    let fresh = credits.iter().filter(|credit| credit.now && !credit.before).count();
    let metrics = metrics.scalar(&NEW_CREDIT, fresh as f64 / credits.len() as f64);
    // Where nothing is newly credited there is no rate.
    Ok(match exploitation_rate(&credits)? {
        Some(rate) => metrics.scalar(&EXPLOITATION, rate),
        None => metrics,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_valued_on_requests_it_was_not_found_on() {
        let flat = [1.0; 6];
        // A peak that one half alone shows counts for one of the two readings at most.
        assert_eq!(peak([&flat, &[1.0, 1.0, 1.0, 4.0, 4.0, 4.0]]), 2.5);
        let noise = [[9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 9.0]];
        assert_eq!(peak([&noise[0], &noise[1]]), 1.0);
        let both = [0.0, 1.0, 3.0, 5.0, 4.0, 0.0];
        assert_eq!(peak([&both, &both]), 4.0);
        assert_eq!(smooth(&both), [4.0 / 3.0, 3.0, 4.0, 3.0]);
    }
}
