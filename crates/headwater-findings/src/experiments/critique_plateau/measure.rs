//! What is measured: held-out questions answered greedily, the probability of right answers, and
//! what critiques rescue.

use std::collections::BTreeMap;

use headwater_core::{Check, Prompt, Streams, Vocabulary};
use headwater_nn::{Decoder, SamplingConfig, SequenceBatch, sample};
use headwater_protocol::{CellError, Metric, Metrics, Scalar, Series, metrics};

use headwater_tasks::misconceptions::{
    Arithmetic, CRITIQUES, Chain, Critique, MARKS_AT, STEPS, Split, tokens, vocabulary,
};

/// Greedy accuracy on held-out questions that meet a misconception.
pub const STUCK: Scalar = Scalar::labelled("stuck", "accuracy, misconceptions");
/// Greedy accuracy on the others.
pub const REST: Scalar = Scalar::labelled("rest", "accuracy, the rest");
/// Mean probability of the right answer to the first kind.
pub const STUCK_PROBABILITY: Scalar =
    Scalar::labelled("probability/stuck", "probability, misconceptions");
/// Mean probability of the right answer to the others.
pub const REST_PROBABILITY: Scalar = Scalar::labelled("probability/rest", "probability, the rest");
/// Mean log-probability of the right result of the critical step, after right results before it.
pub const CRITICAL: Scalar = Scalar::labelled("critical", "log-probability of the right result");
/// Probability that one of eight answers is right, mean over questions of the first kind.
pub const PASS_8: Scalar = Scalar::labelled("pass@8/stuck", "pass@8, misconceptions");
/// [`STUCK`] by evaluation.
pub const STUCK_BY_EVALUATION: Series = Series::new("stuck");
/// [`REST_PROBABILITY`] by evaluation.
pub const REST_PROBABILITY_BY_EVALUATION: Series = Series::new("probability/rest");
/// Change of [`STUCK_PROBABILITY`] over the last third of an arm's generations: greedy accuracy may
/// stand still to the last question, and what does not vary cannot be judged.
pub const LAST_THIRD: Scalar = Scalar::labelled("last third", "change in the last third");
/// How far entropy rose over its first value.
pub const ENTROPY_RISE: Scalar = Scalar::labelled("entropy rise", "entropy's rise");
/// The largest fall of [`REST_PROBABILITY`] from one look to the next.
pub const LARGEST_FALL: Scalar = Scalar::new("largest fall");

/// What is recorded of evaluations: the last value, and all of them.
type Evaluated = (Scalar, Series, fn(&Evaluation) -> f64);

const EVALUATED: [Evaluated; 6] = [
    (STUCK, STUCK_BY_EVALUATION, |evaluation| evaluation.stuck),
    (REST, Series::new("rest"), |evaluation| evaluation.rest),
    (STUCK_PROBABILITY, Series::new("probability/stuck"), |evaluation| {
        evaluation.stuck_probability
    }),
    (REST_PROBABILITY, REST_PROBABILITY_BY_EVALUATION, |evaluation| evaluation.rest_probability),
    (CRITICAL, Series::new("critical"), |evaluation| evaluation.critical),
    (PASS_8, Series::new("pass@8/stuck"), |evaluation| evaluation.pass_at_8),
];

/// Share of refinements that are right.
#[must_use]
pub fn valid(critique: Critique) -> Scalar {
    by_critique("valid", critique)
}

/// Share of the stuck questions with a right refinement.
#[must_use]
pub fn rescued(critique: Critique) -> Scalar {
    by_critique("rescued", critique)
}

/// [`valid`] under the critique of another attempt.
#[must_use]
pub fn exchanged_valid(critique: Critique) -> Scalar {
    by_critique("exchanged valid", critique)
}

/// [`rescued`] under the critique of another attempt.
#[must_use]
pub fn exchanged_rescued(critique: Critique) -> Scalar {
    by_critique("exchanged rescued", critique)
}

fn by_critique(what: &str, critique: Critique) -> Scalar {
    Scalar::from(format!("{what}/{}", critique_name(critique)))
}

/// What records and tables call a critique.
#[must_use]
pub fn critique_name(critique: Critique) -> &'static str {
    match critique {
        Critique::Blank => "blank",
        Critique::Indicative => "indicative",
        Critique::FinalResult => "final result",
        Critique::Step => "step",
        Critique::Correction => "correction",
    }
}

/// Everything that is measured.
pub(super) fn metrics() -> Vec<Metric> {
    let mut metrics = metrics![LAST_THIRD, ENTROPY_RISE, LARGEST_FALL];
    for (last, all, _) in EVALUATED {
        metrics.extend(metrics![last, all]);
    }
    for critique in CRITIQUES {
        let of = [valid, rescued, exchanged_valid, exchanged_rescued];
        metrics.extend(of.map(|of| Metric::from(of(critique))));
    }
    metrics
}

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

/// What one look at a policy sees, over held-out questions; the metrics say what each is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evaluation {
    stuck: f64,
    rest: f64,
    stuck_probability: f64,
    rest_probability: f64,
    critical: f64,
    pass_at_8: f64,
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

    pub(super) fn evaluate(&self, policy: &Decoder) -> Result<Evaluation, CellError> {
        let stuck = self.probabilities(policy, &self.stuck)?;
        let rest = self.probabilities(policy, &self.rest)?;
        let mean = |rows: &[[f64; STEPS]], value: &dyn Fn(f64) -> f64| {
            rows.iter().map(|row| value(row.iter().sum::<f64>())).sum::<f64>() / rows.len() as f64
        };
        let critical = stuck.iter().zip(&self.stuck.chains).map(|(row, chain)| {
            let at = self.arithmetic.misconceptions(chain)[0];
            row[at]
        });
        Ok(Evaluation {
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

    /// Refines failures on stuck questions, one refinement per failed attempt; returns the share of
    /// right refinements and, of the questions all of whose attempts failed, the share with a right
    /// one.
    fn rescued(
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

/// Evaluations as series, and the last of them as scalars.
pub(super) fn record(mut metrics: Metrics, evaluations: &[Evaluation]) -> Metrics {
    for (last, all, value) in EVALUATED {
        let values: Vec<f64> = evaluations.iter().map(value).collect();
        if let Some(value) = values.last() {
            metrics = metrics.scalar(&last, *value);
        }
        metrics = metrics.series(&all, values);
    }
    metrics
}

/// What every kind of critique rescues, and what it rescues when it is another attempt's.
pub(super) fn rescues(
    mut metrics: Metrics,
    test: &Test<'_>,
    policy: &Decoder,
) -> Result<Metrics, CellError> {
    for critique in CRITIQUES {
        let own = test.rescued(policy, critique, false)?;
        let other = test.rescued(policy, critique, true)?;
        metrics = metrics
            .scalar(&valid(critique), own.0)
            .scalar(&rescued(critique), own.1)
            .scalar(&exchanged_valid(critique), other.0)
            .scalar(&exchanged_rescued(critique), other.1);
    }
    Ok(metrics)
}

/// How an arm got there.
pub(super) fn dynamics(
    metrics: Metrics,
    evaluations: &[Evaluation],
    curves: &BTreeMap<&'static str, Vec<f64>>,
) -> Metrics {
    let last = evaluations.len() - 1;
    let last_third = evaluations[last].stuck_probability
        - evaluations[evaluations.len() * 2 / 3 - 1].stuck_probability;
    let entropy = &curves["entropy"];
    let rise = entropy.iter().fold(0.0f64, |most, value| most.max(value - entropy[0]));
    let falls =
        evaluations.windows(2).map(|pair| pair[0].rest_probability - pair[1].rest_probability);
    metrics
        .scalar(&LAST_THIRD, last_third)
        .scalar(&ENTROPY_RISE, rise)
        .scalar(&LARGEST_FALL, falls.fold(0.0, f64::max))
}
