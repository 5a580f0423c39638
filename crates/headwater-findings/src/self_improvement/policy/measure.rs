//! What is measured of a policy between rounds, on held-out questions.

use std::collections::HashMap;

use headwater_core::{Check, Streams};
use headwater_evaluation::pass_at_k::{Tally, mean_pass_at_k};
use headwater_nn::{Completion, Decoder, SequenceBatch};
use headwater_optimizers::Prompt;
use headwater_protocol::{CellError, Metrics};
use headwater_self_improvement::gap::{DefinedMean, gap, relative_gap};
use headwater_self_improvement::{Generations, SelfImprovementError};
use serde::{Deserialize, Serialize};

use super::sampling;
use crate::tasks::countdown::Split;
use crate::tasks::two_sum::{Pair, SIZES, TwoSum, read_answer, right, vocabulary};

/// How much is measured.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct TestConfig {
    pub(super) prompts: usize,
    pub(super) samples: usize,
}

/// The k of pass@k.
pub(super) const KS: [usize; 4] = [1, 4, 16, LARGEST];
pub(super) const LARGEST: usize = 64;

/// Scores in [0, 1] of a policy's answers by whatever verifier a loop uses; at 1/2 and above it accepts.
pub(super) type Scores<'a> =
    dyn Fn(&Decoder, &Generations) -> Result<Vec<f64>, SelfImprovementError> + 'a;

/// The held-out questions of one seed.
pub(super) struct Test {
    questions: Vec<TwoSum>,
    prompts: Vec<Prompt>,
    samples: usize,
    streams: Streams,
}

/// One measurement: metrics by name, those that are defined.
pub(super) struct Look(Vec<(&'static str, Option<f64>)>);

/// Sampled answers to one question: every distinct completion once, with how often it came.
struct Counted {
    generations: Generations,
    counts: Vec<usize>,
}

impl Test {
    pub(super) fn new(config: TestConfig, streams: &Streams) -> Result<Self, CellError> {
        let mut stream = streams.stream("held-out questions", &[]);
        let questions: Vec<TwoSum> =
            (0..config.prompts).map(|_| TwoSum::draw(Split::HeldOut, &mut stream)).collect();
        let prompts = questions.iter().map(TwoSum::prompt).collect();
        Ok(Self {
            questions,
            prompts,
            samples: config.samples,
            streams: streams.child("test", &[]),
        })
    }

    fn sample(&self, policy: &Decoder) -> Result<Counted, CellError> {
        let sampling = sampling().check()?;
        let mut generations =
            Generations::sample(policy, &self.prompts, self.samples, &sampling, &self.streams)?;
        let mut counts = Vec::new();
        for group in &mut generations.groups {
            let mut place: HashMap<Vec<u32>, usize> = HashMap::new();
            let mut distinct: Vec<Completion> = Vec::new();
            let first = counts.len();
            for completion in std::mem::take(group) {
                let at = *place.entry(completion.tokens.clone()).or_insert(distinct.len());
                if at == distinct.len() {
                    distinct.push(completion);
                    counts.push(0);
                }
                counts[first + at] += 1;
            }
            *group = distinct;
        }
        Ok(Counted { generations, counts })
    }

    /// Measures `policy` and the verdicts of `scores` on its answers, and how far it is from `base`.
    pub(super) fn look(
        &self,
        policy: &Decoder,
        base: &Decoder,
        scores: &Scores<'_>,
    ) -> Result<Look, CellError> {
        let Counted { generations, counts } = self.sample(policy)?;
        let vocabulary = vocabulary();
        let texts = generations.texts(&|tokens| vocabulary.decode(tokens));
        let right = right(&texts);
        let scores = scores(policy, &generations)?;
        let under_base = SequenceBatch::new(generations.pairs(), base.shape())?.log_probs(base);
        let drift = generations
            .groups
            .iter()
            .flatten()
            .zip(&under_base)
            .map(|(own, base)| own.log_probs.iter().sum::<f32>() - base.iter().sum::<f32>());
        let drift: Vec<f64> = drift.map(f64::from).collect();

        let mut answers: HashMap<Option<Pair>, usize> = HashMap::new();
        let (mut tallies, mut by_size) = (Vec::new(), [(0.0, 0.0); SIZES.len()]);
        let (mut gaps, mut relative) = (Vec::new(), Vec::new());
        let (mut distinct, mut consensus, mut majority_right) = (0, 0, 0);
        let n = self.samples as f64;
        let mut at = 0;
        for (question, group) in self.questions.iter().zip(&texts) {
            let rows = at..at + group.completions.len();
            at = rows.end;
            let flags = |flag: &dyn Fn(usize) -> bool| -> Vec<f64> {
                rows.clone().map(|row| f64::from(u8::from(flag(row)))).collect()
            };
            let share: Vec<f64> = counts[rows.clone()].iter().map(|count| *count as f64).collect();
            let utility = flags(&|row| right[row]);
            let accepted = flags(&|row| scores[row] >= 0.5);
            // Where nothing is accepted nothing is learnt: accuracy gains 0.
            gaps.push(gap(&share, &utility, &accepted)?.unwrap_or(0.0));
            relative.push(relative_gap(&share, &utility, &accepted, 1.0)?);

            let mut of_question: HashMap<Option<Pair>, (usize, bool)> = HashMap::new();
            let mut correct = 0;
            for (row, text) in rows.clone().zip(&group.completions) {
                let (count, is_right) = (counts[row], right[row]);
                of_question.entry(read_answer(text)).or_insert((0, is_right)).0 += count;
                correct += count * usize::from(is_right);
            }
            tallies.push(Tally { samples: self.samples, correct });
            let accuracy = correct as f64 / n;
            let size = SIZES.iter().position(|size| *size == question.size()).unwrap_or(0);
            by_size[size].0 += accuracy;
            by_size[size].1 += 1.0;
            distinct += of_question.values().filter(|(_, is_right)| *is_right).count();
            // Of answers with as many votes the one that is wrong, for no vote decides between them.
            let majority = of_question.values().max_by_key(|(count, is_right)| (*count, !is_right));
            let (votes, is_right) = majority.copied().unwrap_or_default();
            consensus += votes;
            majority_right += usize::from(is_right);
            for (answer, (count, _)) in of_question {
                *answers.entry(answer).or_default() += count;
            }
        }

        let weighted = |values: &mut dyn Iterator<Item = (usize, f64)>| {
            let (sum, total) = values.fold((0.0, 0.0), |(sum, total), (count, value)| {
                (sum + count as f64 * value, total + count as f64)
            });
            (total > 0.0).then(|| sum / total)
        };
        let rate = |among: bool| {
            let rows = counts.iter().zip(&right).zip(&scores).filter(|((_, r), _)| **r == among);
            weighted(
                &mut rows.map(|((count, _), score)| (*count, f64::from(u8::from(*score >= 0.5)))),
            )
        };
        let mean =
            |values: &[f64]| weighted(&mut counts.iter().copied().zip(values.iter().copied()));
        let prompts = self.prompts.len() as f64;
        let pass = |k: usize| mean_pass_at_k(&tallies, k);
        let size = |at: usize| (by_size[at].1 > 0.0).then(|| by_size[at].0 / by_size[at].1);
        let accuracy = pass(KS[0])?;
        Ok(Look(vec![
            ("pass@1", Some(accuracy)),
            ("pass@4", Some(pass(KS[1])?)),
            ("pass@16", Some(pass(KS[2])?)),
            ("pass@64", Some(pass(KS[3])?)),
            ("gap", Some(gaps.iter().sum::<f64>() / prompts)),
            ("relative gap", DefinedMean::of(relative).mean),
            ("TPR", rate(true)),
            ("FPR", rate(false)),
            ("score - truth", mean(&scores).map(|score| score - accuracy)),
            ("distinct right", Some(distinct as f64 / prompts)),
            ("consensus", Some(consensus as f64 / (prompts * n))),
            ("majority right", Some(majority_right as f64 / prompts)),
            ("top answer", answers.values().max().map(|most| *most as f64 / (prompts * n))),
            ("KL", mean(&drift)),
            ("pass@1, 5 numbers", size(0)),
            ("pass@1, 6 numbers", size(1)),
            ("pass@1, 7 numbers", size(2)),
        ]))
    }
}

impl Look {
    /// The measurement as scalars.
    pub(super) fn report(&self, metrics: Metrics) -> Metrics {
        self.0.iter().fold(metrics, |metrics, (name, value)| match value {
            Some(value) => metrics.scalar(*name, *value),
            None => metrics,
        })
    }
}

/// A loop's measurements: each metric that is defined at all of them as a series that starts at the base, and its last
/// value as a scalar.
pub(super) fn report(looks: &[Look], mut metrics: Metrics) -> Metrics {
    let Some(last) = looks.last() else { return metrics };
    for (at, (name, _)) in last.0.iter().enumerate() {
        let series: Option<Vec<f64>> = looks.iter().map(|look| look.0[at].1).collect();
        if let Some(series) = series {
            metrics = metrics.series(format!("{name}/rounds"), series);
        }
    }
    last.report(metrics)
}
