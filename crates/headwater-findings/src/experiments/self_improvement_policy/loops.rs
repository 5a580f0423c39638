//! The loops: who says which of its own answers a policy learns from.

use headwater_core::{Check, Example, Group, Prompt, Sample, Streams, Vocabulary};
use headwater_nn::{AdamW, AdamWConfig, Decoder, SamplingConfig};
use headwater_optimizers::{Environment, Grade, Objective, Trainer, TrainerConfig};
use headwater_protocol::{CellError, Metric, Metrics, Scalar, Series, metrics};
use headwater_self_improvement::fit::FitConfig;
use headwater_self_improvement::majority::graded_by_majority;
use headwater_self_improvement::proposer_solver::{Roles, Tool, proposer_solver_step};
use headwater_self_improvement::rejection::{Hint, RejectionConfig, Start, rejection_round};
use headwater_self_improvement::self_judging::{
    JudgedPair, Rejected, SelfJudgingConfig, self_judging_round,
};
use headwater_self_improvement::spin::spin_round;
use headwater_self_improvement::{Generations, SelfImprovementError};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::measure::{Evaluation, Test, report};
use super::supervised::format;
use headwater_tasks::countdown::Split;
use headwater_tasks::two_sum::{TwoSum, read_answer, right, solves, vocabulary};

/// Share of the answers to plain questions that the filter keeps, by round.
pub const KEPT: Series = Series::labelled("kept/rounds", "kept");
/// Share of all that is learnt which comes from second attempts, by round.
pub const SECOND: Series = Series::labelled("second/rounds", "from second attempts");
/// Attempts of both kinds, by round.
pub const ATTEMPTS: Series = Series::labelled("attempts/rounds", "attempts");
/// Pairs that the last round learnt from.
pub const PAIRS: Scalar = Scalar::new("pairs");
/// Share right of the chosen answers less that of the rejected ones, last round; not recorded
/// without a pair.
pub const CONTRAST: Scalar = Scalar::new("contrast");
/// The same of own scores.
const SCORE_CONTRAST: Scalar = Scalar::new("score contrast");
/// Right answers chosen less right answers rejected, by round; not recorded where one has no pair.
pub const CONTRAST_BY_ROUND: Series =
    Series::labelled("contrast/rounds", "chosen less rejected, right");
/// The same of own scores.
pub const SCORE_CONTRAST_BY_ROUND: Series = Series::labelled("score contrast/rounds", "by score");
/// Share of proposed targets that have an answer, by round.
pub const VALID: Series = Series::labelled("valid/rounds", "valid");
/// That share times the share of right attempts at them, by round.
pub const SOLVED: Series = Series::labelled("solved/rounds", "solved");

/// What loops record besides what evaluations measure.
pub(super) fn metrics() -> Vec<Metric> {
    metrics![
        KEPT,
        SECOND,
        ATTEMPTS,
        PAIRS,
        CONTRAST,
        SCORE_CONTRAST,
        CONTRAST_BY_ROUND,
        SCORE_CONTRAST_BY_ROUND,
        VALID,
        SOLVED,
    ]
}

/// Who verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The policy as it is in this round.
    Own,
    /// The policy as it was at the start.
    Frozen,
    /// A verifier trained apart from it.
    ThirdParty,
    /// Accepts what `Frozen` and `ThirdParty` both accept.
    Both,
    /// The exact checker.
    Tool,
    /// The policy's own verdicts, permuted among the answers of a round.
    Permuted,
}

/// Second attempts at questions of which nothing was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Again {
    /// None.
    No,
    /// As many, at the question as it is.
    Plain,
    /// As many, with as few numbers to choose from as are ever shown (at a question that shows no
    /// more: as it is).
    Hinted,
}

/// What a round consists of.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Loop {
    Rejection(Rejection),
    Majority(Box<Majority>),
    SelfJudging(SelfJudging),
    Spin(Spin),
    ProposerSolver(ProposerSolver),
}

/// Keep what `source` accepts, fit to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rejection {
    pub(super) source: Source,
    /// Whether every fit starts from the base.
    pub(super) restart: bool,
    /// What happens to questions of which nothing was kept.
    pub(super) again: Again,
    pub(super) prompts: usize,
    pub(super) round: RejectionConfig,
}

/// GRPO on agreement with the majority of one's own answers; `steps` make a round.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Majority {
    pub(super) trainer: TrainerConfig,
    pub(super) steps: usize,
    /// Whether every round asks the questions of the first.
    pub(super) fixed: bool,
    /// Whether rewards are permuted among the answers to a question: as many are paid, whatever
    /// they say.
    pub(super) permuted: bool,
}

/// DPO on the best against the worst of one's own answers, by one's own score.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SelfJudging {
    /// Whether the rejected side is always the base's.
    pub(super) temporal: bool,
    pub(super) prompts: usize,
    pub(super) round: SelfJudgingConfig,
}

/// Demonstrations, as imperfect as the base's, preferred to one's own answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spin {
    pub(super) demonstrations: usize,
    pub(super) slip: f64,
    pub(super) lambda: f64,
    pub(super) sampling: SamplingConfig,
    pub(super) fit: FitConfig,
}

/// The policy proposes targets to numbers and solves what the checker finds valid; `steps` make a
/// round.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProposerSolver {
    pub(super) proposals: usize,
    pub(super) attempts: usize,
    pub(super) steps: usize,
    pub(super) sampling: SamplingConfig,
    pub(super) adamw: AdamWConfig,
}

/// Runs `rounds` rounds from `base`, with an evaluation before the first and after each.
pub(super) fn run(
    of: Loop,
    rounds: usize,
    (base, judge): (&Decoder, &Decoder),
    test: &Test,
    streams: &Streams,
) -> Result<Metrics, CellError> {
    // Verdicts are measured of the verifier that the loop asks; where it asks none, and for the
    // tool, which makes no error, of the policy itself.
    let asked = match &of {
        Loop::Rejection(Rejection { source, .. }) if *source != Source::Tool => *source,
        _ => Source::Own,
    };
    let verifiers = Verifiers { base, judge };
    let mut course = Course { rounds, verifiers, asked, test, streams, evaluations: Vec::new() };
    course.evaluate(base)?;
    let metrics = match of {
        Loop::Rejection(of) => of.run(&mut course),
        Loop::Majority(of) => of.run(&mut course),
        Loop::SelfJudging(of) => of.run(&mut course),
        Loop::Spin(of) => of.run(&mut course),
        Loop::ProposerSolver(of) => of.run(&mut course),
    };
    Ok(report(&course.evaluations, metrics?))
}

/// What every loop starts from, and what was seen of it so far.
struct Course<'a> {
    rounds: usize,
    verifiers: Verifiers<'a>,
    /// Whose verdicts are measured.
    asked: Source,
    test: &'a Test,
    streams: &'a Streams,
    evaluations: Vec<Evaluation>,
}

impl Course<'_> {
    fn evaluate(&mut self, policy: &Decoder) -> Result<(), CellError> {
        let (verifiers, asked) = (self.verifiers, self.asked);
        let scores =
            |policy: &Decoder, answers: &Generations| verifiers.scores(asked, policy, answers);
        self.evaluations.push(self.test.evaluate(policy, verifiers.base, &scores)?);
        Ok(())
    }
}

/// The verifiers a loop may ask.
#[derive(Clone, Copy)]
struct Verifiers<'a> {
    base: &'a Decoder,
    judge: &'a Decoder,
}

impl Verifiers<'_> {
    /// Scores of `policy`'s answers, in [0, 1]; the tool says 0 or 1.
    fn scores(
        &self,
        source: Source,
        policy: &Decoder,
        answers: &Generations,
    ) -> Result<Vec<f64>, SelfImprovementError> {
        let by = |verifier: &Decoder| format().scores(verifier, answers.pairs());
        match source {
            Source::Own | Source::Permuted => by(policy),
            Source::Frozen => by(self.base),
            Source::ThirdParty => by(self.judge),
            Source::Both => {
                let pairs = by(self.base)?.into_iter().zip(by(self.judge)?);
                Ok(pairs.map(|(one, other)| f64::min(one, other)).collect())
            }
            Source::Tool => {
                let vocabulary = vocabulary();
                let texts = answers.texts(&|tokens| vocabulary.decode(tokens));
                Ok(right(&texts).into_iter().map(|r| f64::from(u8::from(r))).collect())
            }
        }
    }
}

/// Questions of a round or step.
fn questions(count: usize, at: u64, streams: &Streams) -> Vec<Prompt> {
    let mut stream = streams.stream("questions", &[at]);
    (0..count).map(|_| TwoSum::draw(Split::Optimised, &mut stream).prompt()).collect()
}

/// The question with as few numbers as are ever shown.
fn hinted(plain: &Prompt) -> Vec<u32> {
    let question = plain.reference.as_deref().and_then(TwoSum::parse);
    question.expect("a question is its own reference").easiest().tokens()
}

fn as_it_is(plain: &Prompt) -> Vec<u32> {
    plain.tokens.clone()
}

impl Rejection {
    fn run(self, course: &mut Course<'_>) -> Result<Metrics, CellError> {
        let Self { source, restart, again, prompts, round } = self;
        let samples = round.samples;
        let settings = round.check()?;
        let (verifiers, streams) = (course.verifiers, course.streams);
        let mut policy = verifiers.base.clone();
        let [mut kept, mut second, mut attempts] = [(); 3].map(|()| Vec::new());
        let hint: Option<&Hint<'_>> = match again {
            Again::No => None,
            Again::Plain => Some(&as_it_is),
            Again::Hinted => Some(&hinted),
        };
        for at in 0..course.rounds as u64 {
            let questions = questions(prompts, at, streams);
            let streams = streams.child("round", &[at]);
            let filter = |policy: &Decoder, answers: &Generations| {
                let scores = verifiers.scores(source, policy, answers)?;
                let mut verdicts: Vec<bool> = scores.iter().map(|score| *score >= 0.5).collect();
                if source == Source::Permuted {
                    verdicts.shuffle(&mut streams.stream("permuted verdicts", &[]));
                }
                Ok(verdicts)
            };
            let start = if restart { Start::Restart(verifiers.base) } else { Start::Continue };
            let done =
                rejection_round(&policy, start, &questions, &filter, hint, &settings, &streams)?;
            let accepted = done.kept.iter().filter(|kept| **kept).count();
            kept.push(accepted as f64 / done.kept.len() as f64);
            let learnt = (accepted + done.rationalised).max(1);
            second.push(done.rationalised as f64 / learnt as f64);
            let failed = done.kept.chunks(samples).filter(|group| !group.contains(&true));
            let repeated = if again == Again::No { 0 } else { failed.count() * samples };
            attempts.push((done.kept.len() + repeated) as f64);
            policy = done.policy;
            course.evaluate(&policy)?;
        }
        Ok(Metrics::new().series(&KEPT, kept).series(&SECOND, second).series(&ATTEMPTS, attempts))
    }
}

impl Majority {
    fn run(self, course: &mut Course<'_>) -> Result<Metrics, CellError> {
        let Self { trainer: config, steps, fixed, permuted } = self;
        let streams = course.streams;
        let mut voting =
            Voting { trainer: &config, vocabulary: vocabulary(), steps, fixed, permuted, streams };
        let settings = config.clone().check()?;
        let rollouts = streams.child("training", &[]);
        let base = course.verifiers.base.clone();
        let mut trainer = Trainer::new(base, Objective::grpo(), settings, rollouts);
        for round in 1..=course.rounds {
            trainer.train_until((round * steps) as u64, &mut voting)?;
            course.evaluate(trainer.policy())?;
        }
        Ok(Metrics::new())
    }
}

/// Questions whose answers are right if they are the majority's of their group.
struct Voting<'a> {
    trainer: &'a TrainerConfig,
    vocabulary: Vocabulary,
    /// Steps in a round.
    steps: usize,
    /// Whether every round asks the same questions.
    fixed: bool,
    /// Whether grades are dealt out at random within a group.
    permuted: bool,
    streams: &'a Streams,
}

impl Environment for Voting<'_> {
    type Error = CellError;

    fn prompts(&mut self, step: u64, _attempt: u64) -> Result<Vec<Prompt>, CellError> {
        let at = if self.fixed { step % self.steps as u64 } else { step };
        Ok(questions(self.trainer.prompts_per_step, at, self.streams))
    }

    fn decode(&self, tokens: &[u32]) -> String {
        self.vocabulary.decode(tokens)
    }

    fn grade(&mut self, groups: &[Group], step: u64) -> Result<Vec<Grade>, CellError> {
        let mut grades = graded_by_majority(groups, read_answer);
        if self.permuted {
            let mut stream = self.streams.stream("permuted votes", &[step]);
            let groups = grades.chunks_mut(self.trainer.group_size);
            groups.for_each(|group| group.shuffle(&mut stream));
        }
        Ok(grades)
    }
}

impl SelfJudging {
    fn run(self, course: &mut Course<'_>) -> Result<Metrics, CellError> {
        let Self { temporal, prompts, round } = self;
        let settings = round.check()?;
        let (verifiers, streams) = (course.verifiers, course.streams);
        let judge = |policy: &Decoder, answers: &Generations| {
            verifiers.scores(Source::Own, policy, answers)
        };
        let rejected = if temporal { Rejected::Past(verifiers.base) } else { Rejected::Current };
        let mut policy = verifiers.base.clone();
        let (mut contrasts, mut by_score) = (Vec::new(), Vec::new());
        let mut pairs_at_the_end = 0;
        for at in 0..course.rounds as u64 {
            let questions = questions(prompts, at, streams);
            let streams = streams.child("round", &[at]);
            let (after, pairs) =
                self_judging_round(&policy, rejected, &questions, &judge, &settings, &streams)?;
            pairs_at_the_end = pairs.len();
            contrasts.push(true_contrast(&questions, &pairs));
            let scores: Vec<f64> = pairs.iter().map(|p| p.chosen - p.rejected).collect();
            by_score.push(mean(&scores));
            policy = after;
            course.evaluate(&policy)?;
        }
        // Without a pair in some round there is nothing to show of the course.
        let mut metrics = Metrics::new().scalar(&PAIRS, pairs_at_the_end as f64);
        for (scalar, series, by_round) in [
            (CONTRAST, CONTRAST_BY_ROUND, contrasts),
            (SCORE_CONTRAST, SCORE_CONTRAST_BY_ROUND, by_score),
        ] {
            if let Some(last) = by_round.last().copied().flatten() {
                metrics = metrics.scalar(&scalar, last);
            }
            if let Some(values) = by_round.into_iter().collect::<Option<Vec<f64>>>() {
                metrics = metrics.series(&series, values);
            }
        }
        Ok(metrics)
    }
}

impl Spin {
    fn run(self, course: &mut Course<'_>) -> Result<Metrics, CellError> {
        let Self { demonstrations, slip, lambda, sampling, fit } = self;
        let (sampling, fit) = (sampling.check()?, fit.check()?);
        let mut policy = course.verifiers.base.clone();
        for at in 0..course.rounds as u64 {
            let streams = course.streams.child("spin", &[at]);
            let mut stream = streams.stream("demonstrations", &[]);
            let data: Vec<Example> = (0..demonstrations)
                .map(|_| {
                    let question = TwoSum::draw(Split::Demonstrated, &mut stream);
                    question.demonstration(slip, &mut stream)
                })
                .collect();
            policy = spin_round(&policy, &data, &sampling, lambda, &fit, &streams)?;
            course.evaluate(&policy)?;
        }
        Ok(Metrics::new())
    }
}

/// Steps over which the proposer-solver's learning rate rises.
const WARMUP: f64 = 10.0;

impl ProposerSolver {
    fn run(self, course: &mut Course<'_>) -> Result<Metrics, CellError> {
        let Self { proposals, attempts, steps, sampling, adamw } = self;
        let solving = sampling.clone().check()?;
        let proposing = SamplingConfig { max_new_tokens: 1, ..sampling }.check()?;
        let roles = Roles { proposing, solving, attempts };
        let vocabulary = vocabulary();
        let validate = |numbers: &[u32], target: &[u32]| {
            TwoSum::proposed(numbers, target).map(|question| question.prompt())
        };
        let grade = |tried: &Generations| right(&tried.texts(&|tokens| vocabulary.decode(tokens)));
        let tool = Tool { validate: &validate, grade: &grade };
        let mut optimizer = AdamW::new(adamw.check()?);
        let mut policy = course.verifiers.base.clone();
        let (mut valid, mut solved) = (Vec::new(), Vec::new());
        for at in 0..(course.rounds * steps) as u64 {
            let mut stream = course.streams.stream("numbers", &[at]);
            let numbers: Vec<Vec<u32>> = (0..proposals)
                .map(|_| TwoSum::draw(Split::Optimised, &mut stream).proposal().prompt)
                .collect();
            let rate = f64::min(1.0, (at + 1) as f64 / WARMUP);
            let streams = course.streams.child("proposer and solver", &[at]);
            let step = proposer_solver_step(
                &mut policy,
                &mut optimizer,
                &numbers,
                &tool,
                &roles,
                rate,
                &streams,
            )?;
            valid.push(step.valid);
            solved.push(step.solve_rate.map_or(0.0, |rate| step.valid * rate));
            if (at + 1) % steps as u64 == 0 {
                course.evaluate(&policy)?;
            }
        }
        let by_round = |values: &[f64]| -> Vec<f64> {
            values.chunks(steps).map(|round| round.iter().sum::<f64>() / steps as f64).collect()
        };
        Ok(Metrics::new().series(&VALID, by_round(&valid)).series(&SOLVED, by_round(&solved)))
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Share right of the chosen answers minus that of the rejected ones: what there is in the pairs to
/// learn from.
fn true_contrast(questions: &[Prompt], pairs: &[JudgedPair]) -> Option<f64> {
    let vocabulary = vocabulary();
    let is_right = |pair: &JudgedPair, answer: &[u32]| {
        let question = questions.iter().find(|q| q.tokens == pair.preference.prompt);
        let text = vocabulary.decode(answer);
        let reference = question.and_then(|q| q.reference.as_deref());
        let sample = Sample { prompt: "", completion: &text, reference };
        solves(sample).value().unwrap_or(0.0)
    };
    let differences = pairs.iter().map(|pair| {
        is_right(pair, &pair.preference.chosen) - is_right(pair, &pair.preference.rejected)
    });
    mean(&differences.collect::<Vec<f64>>())
}
