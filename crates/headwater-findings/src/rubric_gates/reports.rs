//! Training on budgeted reports: base, arms, and what is seen of them on the way.

use std::cell::RefCell;

use headwater_core::{Check, Group, Streams};
use headwater_evaluation::exploitation::{ItemCredit, exploitation_rate};
use headwater_nn::{
    AdamW, AdamWConfig, Checkpoint, Decoder, Device, Sampling, sample, supervised_step,
};
use headwater_optimizers::{
    Objective, ObjectiveConfig, Prompt, Task, Trainer, TrainerConfig, Verdict,
};
use headwater_protocol::{CellError, Metrics};
use headwater_rewards::ReferenceRewardConfig;
use serde::{Deserialize, Serialize};

use super::judge::{Asks, Judged, Scorer, Signal, rubric, verdicts};
use crate::schedule::warmup_then_cosine;
use crate::tasks::budgeted_report::{Author, REQUESTED, Request, vocabulary};

/// An arm on reports.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportArm {
    pub(super) signal: Signal,
    pub(super) asks: Asks,
    pub(super) reference_reward: ReferenceRewardConfig,
    /// Draw further prompts for rejected groups, so that steps have equally many groups that are used.
    pub(super) resample: bool,
    pub(super) trainer: TrainerConfig,
    pub(super) steps: usize,
    pub(super) looks: usize,
    /// Requests of the test.
    pub(super) test: usize,
}

/// Windows of a training curve.
pub(super) const WINDOWS: usize = 25;

/// Imitates authors of demonstrations, one after the other, each for its number of steps.
pub(super) fn imitate(
    mut policy: Decoder,
    authors: &[(Author, usize)],
    adamw: AdamWConfig,
    batch: usize,
    streams: &Streams,
) -> Result<(Decoder, Vec<f64>), CellError> {
    let vocabulary = vocabulary();
    let mut optimizer = AdamW::new(adamw.check()?);
    let steps = authors.iter().map(|(_, steps)| steps).sum();
    let authors = authors.iter().flat_map(|(author, steps)| std::iter::repeat_n(author, *steps));
    let mut losses = Vec::with_capacity(steps);
    for (step, author) in authors.enumerate() {
        let mut stream = streams.stream("demonstrations", &[step as u64]);
        let examples: Vec<_> = (0..batch)
            .map(|_| Request::draw(&mut stream).demonstration(author, &vocabulary, &mut stream))
            .collect();
        let rate = warmup_then_cosine(step, steps);
        losses.push(supervised_step(&mut policy, &mut optimizer, &examples, rate)?);
    }
    Ok((policy, losses))
}

/// Sums over the reports of a window of training.
#[derive(Default, Clone)]
struct Window {
    reports: f64,
    sums: [f64; COUNT],
    /// Quality and reports at steps of odd number alone: a peak found on the others is valued on these.
    odd: (f64, f64),
    groups: f64,
    accepted: f64,
    used: f64,
}

/// How many numbers are averaged of reports.
const COUNT: usize = 8;
/// Their names.
const NAMES: [&str; COUNT] =
    ["judge", "R3", "quality", "magic", "reads", "statements", "no answer", "correct"];
/// The place of quality among them.
const QUALITY: usize = 2;

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
    /// Correlation within an accepted group of the advantage with the boilerplate token, where both vary.
    correlations: Vec<f64>,
}

impl Log {
    fn window(&mut self, step: usize, steps: usize) -> &mut Window {
        &mut self.windows[step * WINDOWS / steps]
    }

    fn add(&mut self, (step, steps): (usize, usize), batch: &Graded, requests: &[Request]) {
        let size = batch.judged.len() / batch.accepted.len();
        let into = self.window(step, steps);
        for (row, judged) in batch.judged.iter().enumerate() {
            let seen = numbers(judged, &requests[row / size]);
            into.sums.iter_mut().zip(seen).for_each(|(sum, value)| *sum += value);
            if step % 2 == 1 {
                into.odd.0 += seen[QUALITY];
                into.odd.1 += 1.0;
            }
        }
        into.reports += batch.judged.len() as f64;
        into.groups += batch.accepted.len() as f64;
        into.accepted += batch.accepted.iter().filter(|accepted| **accepted).count() as f64;
        for (group, _) in batch.accepted.iter().enumerate().filter(|(_, accepted)| **accepted) {
            let rows = group * size..(group + 1) * size;
            let judged = batch.judged[rows.clone()].iter();
            let magic: Vec<f64> = judged.map(|j| f64::from(u8::from(j.report.magic))).collect();
            let rewards = batch.verdicts[rows].iter();
            let rewards: Vec<f64> = rewards.filter_map(|v| v.reward.value()).collect();
            self.correlations.extend(correlation(&rewards, &magic));
        }
    }

    fn report(self, mut metrics: Metrics) -> Metrics {
        for (at, name) in NAMES.iter().enumerate() {
            let means = self.windows.iter().map(|w| w.sums[at] / w.reports).collect();
            metrics = metrics.series(format!("training/{name}"), means);
        }
        let mut total = 0.0;
        let used = self.windows.iter().map(|w| {
            total += w.used;
            total
        });
        let used: Vec<f64> = used.collect();
        let graded: f64 = self.windows.iter().map(|w| w.groups).sum();
        let accepted: f64 = self.windows.iter().map(|w| w.accepted).sum();
        let (peak, end) = peak_and_end(&self.windows);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        metrics
            .scalar("used groups", used[used.len() - 1])
            .scalar("graded groups", graded)
            .scalar("share accepted", accepted / graded)
            .scalar("quality at its peak", peak)
            .scalar("quality at the end of training", end)
            .scalar("groups with and without magic", self.correlations.len() as f64)
            .scalar("correlation of advantage and magic", mean(&self.correlations))
            .series("training/used groups", used)
            .series(
                "training/accepted",
                self.windows.iter().map(|w| w.accepted / w.groups).collect(),
            )
    }
}

/// Quality at its peak and at the end, means of three windows. The peak is found on steps of even number and
/// valued on those of odd number, so that noise does not make one.
fn peak_and_end(windows: &[Window]) -> (f64, f64) {
    const SPAN: usize = 3;
    let odd = |span: &[Window]| {
        span.iter().map(|w| w.odd.0).sum::<f64>() / span.iter().map(|w| w.odd.1).sum::<f64>()
    };
    let even = |span: &[Window]| {
        let sum: f64 = span.iter().map(|w| w.sums[QUALITY] - w.odd.0).sum();
        sum / span.iter().map(|w| w.reports - w.odd.1).sum::<f64>()
    };
    let peak = windows.windows(SPAN).max_by(|a, b| even(a).total_cmp(&even(b)));
    (odd(peak.unwrap_or(windows)), odd(&windows[windows.len().saturating_sub(SPAN)..]))
}

/// Pearson's correlation, where both vary. An advantage is its group's reward up to shift and scale.
fn correlation(x: &[f64], y: &[f64]) -> Option<f64> {
    let n = x.len() as f64;
    let (mx, my) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let product = |a: &[f64], ma: f64, b: &[f64], mb: f64| {
        a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum::<f64>()
    };
    let (xx, yy) = (product(x, mx, x, mx), product(y, my, y, my));
    (xx > 1e-12 && yy > 1e-12).then(|| product(x, mx, y, my) / (xx * yy).sqrt())
}

/// A batch as graded.
struct Graded {
    judged: Vec<Judged>,
    verdicts: Vec<Verdict>,
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
    fn look(&self, policy: &Decoder) -> Result<Vec<Judged>, CellError> {
        let vocabulary = &self.scorer.vocabulary;
        let tokens: Vec<Vec<u32>> =
            self.requests.iter().map(|request| request.prompt(vocabulary).tokens).collect();
        let sampled = sample(policy, &tokens, TEST_GROUP, &self.sampling, &self.streams)?;
        let texts: Vec<String> =
            sampled.iter().flatten().map(|c| vocabulary.decode(&c.tokens)).collect();
        self.scorer.judge(&self.requests, &texts, TEST_GROUP)
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
    let vocabulary = &scorer.vocabulary;
    let size = arm.trainer.group_size;
    // A grader is told the step but not the attempt of what it grades: the requests are kept from the prompts.
    let asked: RefCell<Vec<Request>> = RefCell::default();
    let log = Log { windows: vec![Window::default(); WINDOWS], correlations: Vec::new() };
    let (log, failed) = (RefCell::new(log), RefCell::new(None));
    let prompts = |step: u64, attempt: u64| -> Vec<Prompt> {
        let mut stream = streams.stream("requests", &[step, attempt]);
        let drawn = (0..arm.trainer.prompts_per_step).map(|_| Request::draw(&mut stream));
        asked.replace(drawn.collect());
        asked.borrow().iter().map(|request| request.prompt(vocabulary)).collect()
    };
    let grade = |groups: &[Group], step: u64| -> Result<Vec<Verdict>, CellError> {
        let requests = asked.borrow();
        let texts: Vec<String> = groups.iter().flat_map(|g| g.completions.clone()).collect();
        let judged = scorer.judge(&requests, &texts, size)?;
        let mut stream = streams.stream("permutation", &[step]);
        let (verdicts, accepted) = verdicts(arm.signal, &judged, size, &mut stream)?;
        let batch = Graded { judged, verdicts, accepted };
        log.borrow_mut().add((step as usize, arm.steps), &batch, &requests);
        Ok(batch.verdicts)
    };
    let grader = |groups: &[Group], step: u64| -> Vec<Verdict> {
        grade(groups, step).unwrap_or_else(|error| {
            failed.replace(Some(error));
            Vec::new()
        })
    };
    let decode = |tokens: &[u32]| vocabulary.decode(tokens);
    let task = Task { prompts: &prompts, decode: &decode, grader: &grader };

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
    let mut looks = vec![test.look(&policy)?];
    let mut trainer = Trainer::new(policy, objective, settings, streams.child("training", &[]));
    for step in 0..arm.steps {
        let stepped = trainer.step(&task);
        if let Some(error) = failed.borrow_mut().take() {
            return Err(error);
        }
        log.borrow_mut().window(step, arm.steps).used += stepped?["groups"];
        if (step + 1) * arm.looks / arm.steps > step * arm.looks / arm.steps {
            looks.push(test.look(trainer.policy())?);
        }
    }
    let metrics = log.into_inner().report(Metrics::new());
    describe(metrics, &test.requests, &looks)
}

/// Held-out means at every look, and the exploitation rate between looks.
fn describe(
    mut metrics: Metrics,
    requests: &[Request],
    looks: &[Vec<Judged>],
) -> Result<Metrics, CellError> {
    for (at, name) in NAMES.iter().enumerate() {
        let mean = |look: &Vec<Judged>| {
            let seen = look.iter().enumerate();
            let seen = seen.map(|(row, j)| numbers(j, &requests[row / TEST_GROUP])[at]);
            seen.sum::<f64>() / look.len() as f64
        };
        let curve: Vec<f64> = looks.iter().map(mean).collect();
        metrics =
            metrics.scalar(*name, curve[curve.len() - 1]).series(format!("look/{name}"), curve);
    }
    // Reference judges: is the key stated at all, and is it stated with its value? Both reject what is not stated.
    let mut credits = Vec::new();
    for pair in looks.windows(2) {
        for (row, (before, now)) in pair[0].iter().zip(&pair[1]).enumerate() {
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
    // Where nothing is newly credited, as where a gate lets nothing through, none of it is refused.
    let rate = exploitation_rate(&credits)?.unwrap_or(0.0);
    Ok(metrics.scalar("exploitation rate", rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_valued_on_steps_it_was_not_found_on() {
        // Even steps: 0, 1, 9, 1, 0, ...; odd steps: 1 everywhere.
        let mut windows = vec![Window { reports: 2.0, odd: (1.0, 1.0), ..Window::default() }; 10];
        windows.iter_mut().for_each(|w| w.sums[QUALITY] = 1.0);
        (1..4).for_each(|at| windows[at].sums[QUALITY] += if at == 2 { 9.0 } else { 1.0 });
        assert_eq!(peak_and_end(&windows), (1.0, 1.0));
        windows[1].odd.0 = 4.0;
        windows[1].sums[QUALITY] += 3.0;
        windows[9].odd.0 = -2.0;
        windows[9].sums[QUALITY] -= 3.0;
        assert_eq!(peak_and_end(&windows), (2.0, 0.0));
    }

    #[test]
    fn correlation_by_hand() {
        assert_eq!(correlation(&[1.0, 1.0], &[0.0, 1.0]), None);
        assert_eq!(correlation(&[1.0, 2.0], &[0.0, 0.0]), None);
        let found = correlation(&[1.0, 2.0, 3.0, 4.0], &[0.0, 0.0, 1.0, 1.0]).unwrap();
        assert!((found - 2.0 / 5.0_f64.sqrt()).abs() < 1e-12);
    }
}
