//! What is measured of a policy between rounds, on held-out questions.

use std::collections::HashMap;

use headwater_core::{Check, Prompt, Streams};
use headwater_evaluation::pass_at_k::{Tally, mean_pass_at_k};
use headwater_nn::{Completion, Decoder, SamplingConfig, SequenceBatch};
use headwater_protocol::{CellError, Metric, Metrics, Scalar, Series};
use headwater_self_improvement::gap::{DefinedMean, gap, relative_gap};
use headwater_self_improvement::{Generations, SelfImprovementError};
use serde::{Deserialize, Serialize};

use headwater_tasks::countdown::Split;
use headwater_tasks::two_sum::{
    ANSWER_TOKENS, Pair, SIZES, TwoSum, read_answer, right, vocabulary,
};

/// pass@1, unbiased, as the others are.
pub const PASS_1: Scalar = Scalar::new("pass@1");
/// pass@4.
pub const PASS_4: Scalar = Scalar::new("pass@4");
/// pass@16.
pub const PASS_16: Scalar = Scalar::new("pass@16");
/// pass@64.
pub const PASS_64: Scalar = Scalar::new("pass@64");
/// What accuracy would gain from keeping accepted answers alone, 0 where none is.
pub const GAP: Scalar = Scalar::new("gap");
/// The same over what is left to gain, where something is.
pub const RELATIVE_GAP: Scalar = Scalar::new("relative gap");
/// Share of right answers that are accepted.
pub const TPR: Scalar = Scalar::new("TPR");
/// Share of wrong answers that are accepted.
pub const FPR: Scalar = Scalar::new("FPR");
/// Mean score less the accuracy.
pub const BIAS: Scalar = Scalar::new("score - truth");
/// Distinct right answers to a question.
pub const DISTINCT: Scalar = Scalar::new("distinct right");
/// Mean share of the commonest answer to a question.
pub const CONSENSUS: Scalar = Scalar::new("consensus");
/// Share of questions whose commonest answer is right.
pub const MAJORITY_RIGHT: Scalar = Scalar::new("majority right");
/// Share of the commonest answer over all questions.
pub const TOP_ANSWER: Scalar = Scalar::new("top answer");
/// KL from the base, nats per answer.
pub const KL: Scalar = Scalar::new("KL");
/// pass@1 by how many numbers are shown.
pub const BY_SIZE: [Scalar; SIZES.len()] = [
    Scalar::new("pass@1, 5 numbers"),
    Scalar::new("pass@1, 6 numbers"),
    Scalar::new("pass@1, 7 numbers"),
];

/// What is measured, after every round of a loop; before the first it is of the base.
#[must_use]
pub fn by_round(metric: &Scalar) -> Series {
    format!("{}/rounds", metric.name()).into()
}

/// Everything that an evaluation measures, at the end and by round.
pub(super) fn metrics() -> Vec<Metric> {
    let measured = [
        PASS_1,
        PASS_4,
        PASS_16,
        PASS_64,
        GAP,
        RELATIVE_GAP,
        TPR,
        FPR,
        BIAS,
        DISTINCT,
        CONSENSUS,
        MAJORITY_RIGHT,
        TOP_ANSWER,
        KL,
    ];
    let both = |metric: Scalar| [Metric::from(by_round(&metric)), metric.into()];
    measured.into_iter().chain(BY_SIZE).flat_map(both).collect()
}

/// How much is measured.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestConfig {
    pub(super) prompts: usize,
    pub(super) samples: usize,
}

/// The largest k of pass@k.
pub(super) const LARGEST: usize = 64;

/// Answers have a fixed length and are sampled from the whole distribution.
pub(super) fn sampling() -> SamplingConfig {
    SamplingConfig { max_new_tokens: ANSWER_TOKENS, stop: None, ..SamplingConfig::default() }
}

/// Scores in [0, 1] of a policy's answers by whatever verifier a loop uses; at 1/2 and above it
/// accepts.
pub(super) type Scores<'a> =
    dyn Fn(&Decoder, &Generations) -> Result<Vec<f64>, SelfImprovementError> + 'a;

/// The held-out questions of one seed.
pub(super) struct Test {
    questions: Vec<TwoSum>,
    prompts: Vec<Prompt>,
    samples: usize,
    streams: Streams,
}

/// One measurement: what is defined of it.
pub(super) struct Evaluation(Vec<(Scalar, Option<f64>)>);

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
        let streams = streams.child("test", &[]);
        Ok(Self { questions, prompts, samples: config.samples, streams })
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

    /// Measures `policy` and the verdicts of `scores` on its answers, and how far it is from
    /// `base`.
    pub(super) fn evaluate(
        &self,
        policy: &Decoder,
        base: &Decoder,
        scores: &Scores<'_>,
    ) -> Result<Evaluation, CellError> {
        let Counted { generations, counts } = self.sample(policy)?;
        let vocabulary = vocabulary();
        let texts = generations.texts(&|tokens| vocabulary.decode(tokens));
        let right = right(&texts);
        let scores = scores(policy, &generations)?;
        let drift = drift(&generations, base)?;

        let mut totals = Totals::default();
        let mut at = 0;
        for (question, group) in self.questions.iter().zip(&texts) {
            let rows = at..at + group.completions.len();
            at = rows.end;
            let (right, scores) = (&right[rows.clone()], &scores[rows.clone()]);
            let rows = Rows { texts: &group.completions, counts: &counts[rows], right, scores };
            totals.add(question, &rows, self.samples)?;
        }

        let rate = |among: bool| {
            let rows = counts.iter().zip(&right).zip(&scores).filter(|((_, r), _)| **r == among);
            weighted(rows.map(|((count, _), score)| (*count, f64::from(u8::from(*score >= 0.5)))))
        };
        let mean = |values: &[f64]| weighted(counts.iter().copied().zip(values.iter().copied()));
        let prompts = self.prompts.len() as f64;
        let answers = prompts * self.samples as f64;
        let pass = |k: usize| mean_pass_at_k(&totals.tallies, k);
        let accuracy = pass(1)?;
        let mut evaluation = vec![
            (PASS_1, Some(accuracy)),
            (PASS_4, Some(pass(4)?)),
            (PASS_16, Some(pass(16)?)),
            (PASS_64, Some(pass(LARGEST)?)),
            (GAP, Some(totals.gaps.iter().sum::<f64>() / prompts)),
            (RELATIVE_GAP, DefinedMean::of(totals.relative).mean),
            (TPR, rate(true)),
            (FPR, rate(false)),
            (BIAS, mean(&scores).map(|score| score - accuracy)),
            (DISTINCT, Some(totals.distinct as f64 / prompts)),
            (CONSENSUS, Some(totals.consensus as f64 / answers)),
            (MAJORITY_RIGHT, Some(totals.majority_right as f64 / prompts)),
            (TOP_ANSWER, totals.answers.values().max().map(|most| *most as f64 / answers)),
            (KL, mean(&drift)),
        ];
        let sizes = totals.by_size.map(|(sum, count)| (count > 0.0).then(|| sum / count));
        evaluation.extend(BY_SIZE.into_iter().zip(sizes));
        Ok(Evaluation(evaluation))
    }
}

/// Log-probability of each answer under the policy less that under `base`.
fn drift(generations: &Generations, base: &Decoder) -> Result<Vec<f64>, CellError> {
    let under_base = SequenceBatch::new(generations.pairs(), base.shape())?.log_probs(base);
    let both = generations.groups.iter().flatten().zip(&under_base);
    let drift =
        both.map(|(own, base)| own.log_probs.iter().sum::<f32>() - base.iter().sum::<f32>());
    Ok(drift.map(f64::from).collect())
}

/// Mean of values that count so often; of nothing there is none.
fn weighted(values: impl Iterator<Item = (usize, f64)>) -> Option<f64> {
    let (sum, total) = values.fold((0.0, 0.0), |(sum, total), (count, value)| {
        (sum + count as f64 * value, total + count as f64)
    });
    (total > 0.0).then(|| sum / total)
}

/// The distinct answers to one question.
struct Rows<'a> {
    texts: &'a [String],
    counts: &'a [usize],
    right: &'a [bool],
    scores: &'a [f64],
}

/// What adds up over questions.
#[derive(Default)]
struct Totals {
    tallies: Vec<Tally>,
    /// By how many numbers are shown: sum of accuracies, and how many questions.
    by_size: [(f64, f64); SIZES.len()],
    gaps: Vec<f64>,
    relative: Vec<Option<f64>>,
    distinct: usize,
    consensus: usize,
    majority_right: usize,
    /// How often each answer came, over all questions.
    answers: HashMap<Option<Pair>, usize>,
}

impl Totals {
    fn add(&mut self, question: &TwoSum, rows: &Rows<'_>, samples: usize) -> Result<(), CellError> {
        let flag = |flag: bool| f64::from(u8::from(flag));
        let share: Vec<f64> = rows.counts.iter().map(|count| *count as f64).collect();
        let utility: Vec<f64> = rows.right.iter().map(|right| flag(*right)).collect();
        let accepted: Vec<f64> = rows.scores.iter().map(|score| flag(*score >= 0.5)).collect();
        // Where nothing is accepted nothing is learnt: accuracy gains 0.
        self.gaps.push(gap(&share, &utility, &accepted)?.unwrap_or(0.0));
        self.relative.push(relative_gap(&share, &utility, &accepted, 1.0)?);

        let mut of_question: HashMap<Option<Pair>, (usize, bool)> = HashMap::new();
        let mut correct = 0;
        for ((text, count), is_right) in rows.texts.iter().zip(rows.counts).zip(rows.right) {
            of_question.entry(read_answer(text)).or_insert((0, *is_right)).0 += count;
            correct += count * usize::from(*is_right);
        }
        self.tallies.push(Tally { samples, correct });
        let size = SIZES.iter().position(|size| *size == question.size()).unwrap_or(0);
        self.by_size[size].0 += correct as f64 / samples as f64;
        self.by_size[size].1 += 1.0;
        self.distinct += of_question.values().filter(|(_, is_right)| *is_right).count();
        // Of answers with as many votes the one that is wrong, for no vote decides between them.
        let majority = of_question.values().max_by_key(|(count, is_right)| (*count, !is_right));
        let (votes, is_right) = majority.copied().unwrap_or_default();
        self.consensus += votes;
        self.majority_right += usize::from(is_right);
        for (answer, (count, _)) in of_question {
            *self.answers.entry(answer).or_default() += count;
        }
        Ok(())
    }
}

impl Evaluation {
    /// The measurement as scalars.
    pub(super) fn report(&self, metrics: Metrics) -> Metrics {
        self.0.iter().fold(metrics, |metrics, (metric, value)| match value {
            Some(value) => metrics.scalar(metric, *value),
            None => metrics,
        })
    }
}

/// A loop's measurements: each metric that is defined at all of them as a series that starts at the
/// base, and its last value as a scalar.
pub(super) fn report(evaluations: &[Evaluation], mut metrics: Metrics) -> Metrics {
    let Some(last) = evaluations.last() else { return metrics };
    for (at, (metric, _)) in last.0.iter().enumerate() {
        let series: Option<Vec<f64>> =
            evaluations.iter().map(|evaluation| evaluation.0[at].1).collect();
        if let Some(series) = series {
            metrics = metrics.series(&by_round(metric), series);
        }
    }
    last.report(metrics)
}
