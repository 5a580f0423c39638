//! What is measured: held-out questions answered greedily, the probability of right answers, and what critiques rescue.

use std::collections::BTreeMap;

use headwater_core::{Check, Streams};
use headwater_nn::{Decoder, SamplingConfig, SequenceBatch, Vocabulary, sample};
use headwater_optimizers::Prompt;
use headwater_protocol::{CellError, Metrics};

use crate::tasks::misconceptions::{
    Arithmetic, CRITIQUES, Chain, Critique, MARKS_AT, STEPS, Split, tokens, vocabulary,
};

/// The rollouts per question whose refinements are counted: as many as the published method has.
const ATTEMPTS: usize = 7;

/// Held-out questions of one kind.
struct Questions {
    chains: Vec<Chain>,
    prompts: Vec<Prompt>,
}

impl Questions {
    fn draw(arithmetic: &Arithmetic, stuck: bool, count: usize, streams: &Streams) -> Self {
        let vocabulary = vocabulary();
        let mut stream = streams.stream("held-out questions", &[u64::from(stuck)]);
        let chains: Vec<Chain> =
            (0..count).map(|_| arithmetic.question(stuck, Split::HeldOut, &mut stream)).collect();
        let prompts = chains.iter().map(|chain| arithmetic.prompt(chain, &vocabulary)).collect();
        Self { chains, prompts }
    }

    fn tokens(&self) -> Vec<Vec<u32>> {
        self.prompts.iter().map(|prompt| prompt.tokens.clone()).collect()
    }
}

/// The test of one seed.
pub(super) struct Test<'a> {
    arithmetic: &'a Arithmetic,
    vocabulary: Vocabulary,
    stuck: Questions,
    rest: Questions,
    streams: Streams,
}

/// What one look at a policy sees, over held-out questions.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Look {
    /// Greedy accuracy on questions that meet a misconception.
    pub(super) stuck: f64,
    /// Greedy accuracy on the others.
    pub(super) rest: f64,
    /// Mean probability of the right answer to the first kind.
    pub(super) stuck_probability: f64,
    /// To the others.
    pub(super) rest_probability: f64,
    /// Mean log-probability of the right result of the critical step, after right results before it.
    pub(super) critical: f64,
    /// Probability that one of eight answers is right, mean over questions of the first kind.
    pub(super) pass_at_8: f64,
}

impl<'a> Test<'a> {
    pub(super) fn new(arithmetic: &'a Arithmetic, questions: usize, streams: &Streams) -> Self {
        let draw = |stuck| Questions::draw(arithmetic, stuck, questions, streams);
        Self {
            arithmetic,
            vocabulary: vocabulary(),
            stuck: draw(true),
            rest: draw(false),
            streams: streams.child("test", &[]),
        }
    }

    pub(super) fn look(&self, policy: &Decoder) -> Result<Look, CellError> {
        let stuck = self.probabilities(policy, &self.stuck)?;
        let rest = self.probabilities(policy, &self.rest)?;
        let mean = |rows: &[[f64; STEPS]], value: &dyn Fn(f64) -> f64| {
            rows.iter().map(|row| value(row.iter().sum::<f64>())).sum::<f64>() / rows.len() as f64
        };
        let critical = stuck.iter().zip(&self.stuck.chains).map(|(row, chain)| {
            let at = self.arithmetic.misconceptions(chain)[0];
            row[at]
        });
        Ok(Look {
            stuck: self.greedy(policy, &self.stuck)?,
            rest: self.greedy(policy, &self.rest)?,
            stuck_probability: mean(&stuck, &f64::exp),
            rest_probability: mean(&rest, &f64::exp),
            critical: critical.sum::<f64>() / stuck.len() as f64,
            pass_at_8: mean(&stuck, &|log| 1.0 - (1.0 - log.exp()).powi(8)),
        })
    }

    /// Log-probabilities of the right results, each after right ones before it.
    fn probabilities(
        &self,
        policy: &Decoder,
        questions: &Questions,
    ) -> Result<Vec<[f64; STEPS]>, CellError> {
        let right: Vec<[u32; STEPS]> =
            questions.chains.iter().map(|chain| tokens(self.arithmetic.results(chain))).collect();
        let pairs = questions.prompts.iter().zip(&right);
        let pairs = pairs.map(|(prompt, right)| (prompt.tokens.as_slice(), right.as_slice()));
        let rows = SequenceBatch::new(pairs, policy.shape())?.log_probs(policy);
        Ok(rows.iter().map(|row| std::array::from_fn(|at| f64::from(row[at]))).collect())
    }

    fn greedy(&self, policy: &Decoder, questions: &Questions) -> Result<f64, CellError> {
        let sampling = SamplingConfig { greedy: true, ..sampling() }.check()?;
        let answers = sample(policy, &questions.tokens(), 1, &sampling, &self.streams)?;
        let right = answers.iter().zip(&questions.prompts).filter(|(answers, prompt)| {
            Some(self.vocabulary.decode(&answers[0].tokens)) == prompt.reference
        });
        Ok(right.count() as f64 / questions.prompts.len() as f64)
    }

    /// Refines failures on stuck questions, one refinement per failed attempt; returns the share of right refinements
    /// and, of the questions all of whose attempts failed, the share with a right one.
    pub(super) fn rescued(
        &self,
        policy: &Decoder,
        critique: Critique,
        exchanged: bool,
    ) -> Result<(f64, f64), CellError> {
        let sampling = sampling().check()?;
        let questions = &self.stuck;
        let attempts = sample(policy, &questions.tokens(), ATTEMPTS, &sampling, &self.streams)?;
        let right = |tokens: &[u32], prompt: &Prompt| {
            Some(self.vocabulary.decode(tokens)) == prompt.reference
        };
        let stuck: Vec<usize> = (0..attempts.len())
            .filter(|at| !attempts[*at].iter().any(|a| right(&a.tokens, &questions.prompts[*at])))
            .collect();
        let mut prompts = Vec::new();
        for at in &stuck {
            for attempt in &attempts[*at] {
                let chain = &questions.chains[*at];
                prompts.push(self.arithmetic.criticised(chain, &attempt.tokens, critique));
            }
        }
        if exchanged {
            // Those of an attempt at the question half the stuck ones away.
            let marks: Vec<Vec<u32>> = prompts.iter().map(|p| p[MARKS_AT].to_vec()).collect();
            let half = stuck.len() / 2 * ATTEMPTS;
            for (at, prompt) in prompts.iter_mut().enumerate() {
                prompt[MARKS_AT].copy_from_slice(&marks[(at + half) % marks.len()]);
            }
        }
        let streams = self.streams.child("refinements", &[]);
        let refined = sample(policy, &prompts, 1, &sampling, &streams)?;
        let right: Vec<bool> = refined
            .iter()
            .enumerate()
            .map(|(row, answers)| {
                right(&answers[0].tokens, &questions.prompts[stuck[row / ATTEMPTS]])
            })
            .collect();
        let valid = right.iter().filter(|right| **right).count() as f64 / right.len().max(1) as f64;
        let rescued = right.chunks(ATTEMPTS).filter(|rows| rows.contains(&true)).count();
        Ok((valid, rescued as f64 / stuck.len().max(1) as f64))
    }
}

/// Answers have three tokens and no end.
pub(super) fn sampling() -> SamplingConfig {
    SamplingConfig { max_new_tokens: STEPS, stop: None, ..SamplingConfig::default() }
}

/// Looks as series, and the last of them as scalars.
pub(super) fn record(mut metrics: Metrics, looks: &[Look]) -> Metrics {
    let of = |value: fn(&Look) -> f64| looks.iter().map(value).collect::<Vec<f64>>();
    let series = [
        ("stuck", of(|look| look.stuck)),
        ("rest", of(|look| look.rest)),
        ("probability/stuck", of(|look| look.stuck_probability)),
        ("probability/rest", of(|look| look.rest_probability)),
        ("critical", of(|look| look.critical)),
        ("pass@8/stuck", of(|look| look.pass_at_8)),
    ];
    for (name, series) in series {
        if let Some(last) = series.last() {
            metrics = metrics.scalar(name, *last);
        }
        metrics = metrics.series(name, series);
    }
    metrics
}

/// The name of a critique in metrics.
pub(super) fn name(critique: Critique) -> &'static str {
    match critique {
        Critique::Blank => "blank",
        Critique::Indicative => "indicative",
        Critique::FinalResult => "final result",
        Critique::Step => "step",
        Critique::Correction => "correction",
    }
}

/// What every kind of critique rescues, and what it rescues when it is another attempt's.
pub(super) fn rescues(
    mut metrics: Metrics,
    test: &Test<'_>,
    policy: &Decoder,
) -> Result<Metrics, CellError> {
    for critique in CRITIQUES {
        let name = name(critique);
        let (valid, rescued) = test.rescued(policy, critique, false)?;
        let (other_valid, other_rescued) = test.rescued(policy, critique, true)?;
        metrics = metrics
            .scalar(format!("valid/{name}"), valid)
            .scalar(format!("rescued/{name}"), rescued)
            .scalar(format!("exchanged valid/{name}"), other_valid)
            .scalar(format!("exchanged rescued/{name}"), other_rescued);
    }
    Ok(metrics)
}

/// How an arm got there: the change of its probability on stuck questions over the last third (greedy accuracy may stand
/// still to the last question, and what does not vary cannot be judged), how far entropy rose over its first value, the largest fall.
pub(super) fn dynamics(
    metrics: Metrics,
    looks: &[Look],
    curves: &BTreeMap<&'static str, Vec<f64>>,
) -> Metrics {
    let last = looks.len() - 1;
    let last_third =
        looks[last].stuck_probability - looks[looks.len() * 2 / 3 - 1].stuck_probability;
    let entropy = &curves["entropy"];
    let rise = entropy.iter().fold(0.0f64, |most, value| most.max(value - entropy[0]));
    let falls = looks.windows(2).map(|pair| pair[0].rest_probability - pair[1].rest_probability);
    metrics
        .scalar("last third", last_third)
        .scalar("entropy rise", rise)
        .scalar("largest fall", falls.fold(0.0, f64::max))
}
