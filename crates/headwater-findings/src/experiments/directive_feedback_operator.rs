//! Experiment `directive-feedback-operator`: what votes and error traces teach of an operator whose
//! table no prompt shows.
//!
//! A failed response to a chain of look-ups comes with one entry of the table
//! ([`headwater_tasks::operator`]). The base knows how to use an entry in its prompt, and none of
//! them. Arms fork one base per seed and differ in what they make of votes and traces; in one of
//! them traces are of other problems. What is known is measured without traces.

use std::collections::BTreeSet;

use headwater_core::{Check, Streams};
use headwater_nn::{AdamWConfig, Checkpoint, Decoder, SamplingConfig, SequenceBatch, sample};
use headwater_optimizers::directive::HybridConfig;
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan,
    Preset, ProtocolError, Scalar, Series, Settings, metrics,
};
use serde::{Deserialize, Serialize};

use super::directive::{
    Interaction, LOSS, Learner, LearnerConfig, Pretraining, REVERSE, decoder, grpo, hints_only,
    hybrid, pretrain, votes_only,
};
use crate::device::device;
use headwater_tasks::operator::{
    CONTEXT, Given, MODULUS, NOTHING, Operator, OperatorTable, Problem, RESPONSE_TOKENS, STEPS,
    Trace, vocabulary,
};

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct DirectiveFeedbackOperator;

/// The base, which every other arm is forked from.
pub const BASE: Arm = Arm::new("operator-base");
/// Votes alone.
pub const GRPO: Arm = Arm::new("operator.grpo");
/// Traces alone.
pub const OPD_REVERSE: Arm = Arm::new("operator.opd-reverse");
/// Traces of other problems.
pub const FOREIGN_TRACES: Arm = Arm::new("operator.foreign-traces");

/// An arm that learns from the base.
#[derive(Debug, Clone)]
pub struct Method {
    /// The arm.
    pub arm: Arm,
    /// What tables call it.
    pub label: &'static str,
    method: HybridConfig,
    traces: Traces,
}

/// Every arm that learns from the base.
#[must_use]
pub fn methods() -> [Method; 4] {
    let of = |arm, label, method, traces| Method { arm, label, method, traces };
    let hints = hints_only(REVERSE);
    [
        of(GRPO, "GRPO", votes_only(grpo()), Traces::Own),
        of(OPD_REVERSE, "traces, reverse KL", hints, Traces::Own),
        of(Arm::new("operator.hybrid"), "hybrid", hybrid(), Traces::Own),
        of(FOREIGN_TRACES, "traces of other problems", hints, Traces::Foreign),
    ]
}

/// Entries of 64 of which the policy is sure and right where they are needed, less what guessing
/// would give.
pub const ENTRIES: Scalar = Scalar::labelled("entries", "entries known of 64");
/// Probability that a chain of look-ups is right.
pub const PASS: Scalar = Scalar::labelled("pass", "chains passed without trace");
/// Probability that a chain of sums and differences, which the base knows, is right.
pub const SUMS: Scalar = Scalar::labelled("sums", "additions passed");
/// Probability that a result given for the first step is used.
pub const OBEDIENCE: Scalar = Scalar::labelled("obedience", "uses a trace in the prompt");
/// The same of the teacher.
const TEACHER_OBEDIENCE: Scalar = Scalar::new("teacher obedience");
/// Responses with a reaction.
const INTERACTIONS: Scalar = Scalar::new("interactions");
/// Traces shown.
pub const TRACES: Scalar = Scalar::new("traces");
/// Entries that they showed.
pub const DISTINCT_ENTRIES: Scalar = Scalar::new("distinct entries in traces");
/// Share of the responses in training that were right.
pub const PASSED: Scalar = Scalar::new("passed in training");
/// [`ENTRIES`], by evaluation.
pub const ENTRIES_BY_TRACES: Series = Series::new("entries by traces");
/// [`PASS`], by evaluation.
const PASS_BY_TRACES: Series = Series::new("pass by traces");
/// Traces shown so far, by evaluation.
pub const TRACES_SEEN: Series = Series::new("traces seen");
/// Entries that they showed, by evaluation.
pub const DISTINCT_ENTRIES_SEEN: Series = Series::new("distinct entries seen");

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum CellConfig {
    /// Supervised training of the base.
    OperatorBase { pretraining: Pretraining, test: usize },
    /// Interactions with the environment that gives traces, from the base.
    Operator(Box<Course>),
}

/// Which trace a failed response is shown with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Traces {
    /// Its own.
    Own,
    /// That of another response of the batch, with an entry that it looks up nowhere.
    Foreign,
}

/// Interactions of one arm.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Course {
    traces: Traces,
    learner: LearnerConfig,
    updates: usize,
    /// Problems per update.
    problems: usize,
    /// Responses per problem.
    group_size: usize,
    /// Updates from evaluation to evaluation.
    evaluate_every: usize,
    /// Held-out problems.
    test: usize,
}

impl Experiment for DirectiveFeedbackOperator {
    fn id(&self) -> &'static str {
        "directive-feedback-operator"
    }

    fn metrics(&self) -> Vec<Metric> {
        metrics![
            LOSS,
            ENTRIES,
            PASS,
            SUMS,
            OBEDIENCE,
            TEACHER_OBEDIENCE,
            INTERACTIONS,
            TRACES,
            DISTINCT_ENTRIES,
            PASSED,
            ENTRIES_BY_TRACES,
            PASS_BY_TRACES,
            TRACES_SEEN,
            DISTINCT_ENTRIES_SEEN,
        ]
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let base = base(smoke);
        let mut planned = vec![ArmPlan::new(BASE, &base)?.if_shown()];
        for method in methods() {
            let config = CellConfig::Operator(Box::new(course(&method, smoke)));
            planned.push(ArmPlan::new(method.arm, &config)?.needing([BASE]).if_shown());
        }
        Ok(Plan::of(settings.seed_range(8), planned))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let streams = &context
            .streams
            .child("third set of users and tables, after pilots on the others", &[]);
        let device = device(context.device)?.autodiff();
        match cell.config()? {
            CellConfig::OperatorBase { pretraining, test } => {
                let own = streams.child("operator base", &[]);
                let (policy, metrics) =
                    pretrain(&pretraining, Problem::demonstration, &own, &device)?;
                let table = OperatorTable::draw(&mut streams.stream("table", &[]));
                let metrics = Test::new(table, test, streams).measure(metrics, &policy)?;
                Ok(CellOutcome::with_artifact(metrics, Checkpoint::of(&policy).to_bytes()))
            }
            CellConfig::Operator(course) => {
                let base = Checkpoint::from_bytes(context.artifact(&BASE)?)?;
                Ok(learn(base.decoder(&device)?, &course, streams)?.into())
            }
        }
    }
}

/// Held-out problems.
fn tested(smoke: bool) -> usize {
    if smoke { 16 } else { 128 }
}

fn base(smoke: bool) -> CellConfig {
    CellConfig::OperatorBase {
        pretraining: Pretraining {
            decoder: decoder(vocabulary().size(), CONTEXT),
            adamw: AdamWConfig { learning_rate: 5e-3, ..AdamWConfig::default() },
            steps: if smoke { 4 } else { 900 },
            batch: 64,
        },
        test: tested(smoke),
    }
}

fn course(method: &Method, smoke: bool) -> Course {
    Course {
        traces: method.traces,
        learner: LearnerConfig::new(method.method, 4e-4),
        updates: if smoke { 4 } else { 250 },
        problems: 8,
        group_size: 4,
        evaluate_every: 10,
        test: tested(smoke),
    }
}

/// Held-out problems of one seed.
struct Test {
    table: OperatorTable,
    /// For every entry, a problem that needs it first.
    entries: Vec<(Problem, Trace)>,
    look_ups: Vec<Problem>,
    sums: Vec<Problem>,
}

/// What is known without a trace: exact expectations over responses at temperature 1.
#[derive(Debug, Clone, Copy)]
struct Evaluation {
    entries: f64,
    pass: f64,
    sums: f64,
}

impl Test {
    fn new(table: OperatorTable, problems: usize, streams: &Streams) -> Self {
        let mut stream = streams.stream("held-out problems", &[]);
        let entries = table.entries().map(|entry| {
            (Problem::starting_with(entry.left, entry.right, &mut stream), Trace { step: 0, entry })
        });
        let entries = entries.collect();
        let mut draw = |operators: &[Operator]| {
            (0..problems).map(|_| Problem::draw(operators, &mut stream)).collect()
        };
        let look_ups = draw(&[Operator::Table]);
        let sums = draw(&[Operator::Add]);
        Self { table, entries, look_ups, sums }
    }

    /// Log-probabilities of the right responses to problems, each read with what a trace gives or
    /// without.
    fn scored<'a>(
        &self,
        policy: &Decoder,
        problems: impl IntoIterator<Item = (&'a Problem, Given)>,
    ) -> Result<Vec<Vec<f32>>, CellError> {
        let pairs =
            problems.into_iter().map(|(p, given)| (p.prompt(given), p.response(&self.table)));
        let pairs: Vec<_> = pairs.collect();
        let rows = pairs.iter().map(|(prompt, response)| (prompt.as_slice(), response.as_slice()));
        Ok(SequenceBatch::new(rows, policy.shape())?.log_probs(policy))
    }

    fn pass(&self, policy: &Decoder, problems: &[Problem]) -> Result<f64, CellError> {
        let rows = self.scored(policy, problems.iter().map(|p| (p, NOTHING)))?;
        let right = |row: &Vec<f32>| row[..STEPS].iter().map(|l| f64::from(*l)).sum::<f64>().exp();
        Ok(rows.iter().map(right).sum::<f64>() / problems.len() as f64)
    }

    fn evaluate(&self, policy: &Decoder) -> Result<Evaluation, CellError> {
        Ok(Evaluation {
            entries: self.known(policy)?,
            pass: self.pass(policy, &self.look_ups)?,
            sums: self.pass(policy, &self.sums)?,
        })
    }

    fn known(&self, policy: &Decoder) -> Result<f64, CellError> {
        let pairs = self.entries.iter().map(|(p, _)| (p.prompt(NOTHING), p.response(&self.table)));
        let pairs: Vec<_> = pairs.collect();
        let rows = pairs.iter().map(|(prompt, response)| (prompt.as_slice(), response.as_slice()));
        let batch = SequenceBatch::new(rows, policy.shape())?;
        let distributions = batch.log_distributions(policy, 1.0).inner();
        let [_, width, vocabulary] = distributions.dims();
        let flat = distributions.try_into_vec_as::<f32>().expect("every float tensor is f32");
        let firsts = flat.chunks(width * vocabulary).map(|row| &row[..vocabulary]);
        let sure = firsts.zip(&pairs).filter_map(|(first, (_, response))| {
            let token = first.iter().position(|l| f64::from(*l) > 0.5f64.ln())?;
            Some(token == response[0] as usize)
        });
        Ok(corrected_for_guessing(sure))
    }

    /// Probability that a result given for the first step is used.
    fn obedience(&self, policy: &Decoder) -> Result<f64, CellError> {
        let rows = self.scored(policy, self.entries.iter().map(|(p, trace)| (p, trace.given())))?;
        Ok(rows.iter().map(|row| f64::from(row[0]).exp()).sum::<f64>() / rows.len() as f64)
    }

    fn measure(&self, metrics: Metrics, policy: &Decoder) -> Result<Metrics, CellError> {
        let evaluation = self.evaluate(policy)?;
        Ok(metrics
            .scalar(&ENTRIES, evaluation.entries)
            .scalar(&PASS, evaluation.pass)
            .scalar(&SUMS, evaluation.sums)
            .scalar(&OBEDIENCE, self.obedience(policy)?))
    }
}

/// Sure answers that are right, less one seventh of those that are wrong: who is sure of one of the
/// eight results whatever is asked gets 0 on average. A policy that collapses onto one result would
/// otherwise know an eighth of any table.
fn corrected_for_guessing(sure: impl Iterator<Item = bool>) -> f64 {
    let wrong = 1.0 / f64::from(MODULUS - 1);
    sure.map(|is_right| if is_right { 1.0 } else { -wrong }).sum()
}

/// Responses of `policy` to fresh problems, each with the trace it is shown with.
fn interact(
    policy: &Decoder,
    table: &OperatorTable,
    course: &Course,
    update: u64,
    streams: &Streams,
) -> Result<Vec<(Interaction, Option<Trace>)>, CellError> {
    let mut stream = streams.stream("problems", &[update]);
    let problems: Vec<Problem> =
        (0..course.problems).map(|_| Problem::draw(&[Operator::Table], &mut stream)).collect();
    let read: Vec<Vec<u32>> = problems.iter().map(|problem| problem.prompt(NOTHING)).collect();
    let sampling = SamplingConfig { max_new_tokens: RESPONSE_TOKENS, ..SamplingConfig::default() };
    let streams = streams.child("interactions", &[update]);
    let groups = sample(policy, &read, course.group_size, &sampling.check()?, &streams)?;
    let rows: Vec<(&Problem, Vec<u32>)> = problems
        .iter()
        .zip(groups)
        .flat_map(|(problem, group)| group.into_iter().map(move |c| (problem, c.tokens)))
        .collect();
    let traces: Vec<Option<Trace>> =
        rows.iter().map(|(problem, response)| problem.trace(response, table)).collect();
    let interactions = rows.iter().enumerate().map(|(at, (problem, response))| {
        let trace = traces[at].and_then(|own| match course.traces {
            Traces::Own => Some(own),
            Traces::Foreign => {
                let others = (1..rows.len()).filter_map(|by| traces[(at + by) % rows.len()]);
                others.into_iter().find(|trace| !problem.touches(response, trace.entry))
            }
        });
        let interaction = Interaction {
            prompt: problem.prompt(NOTHING),
            response: response.clone(),
            vote: if problem.first_error(response, table).is_none() { 1.0 } else { -1.0 },
            informed: trace.map(|trace| problem.prompt(trace.given())),
        };
        (interaction, trace)
    });
    Ok(interactions.collect())
}

/// Runs an arm from the base.
fn learn(base: Decoder, course: &Course, streams: &Streams) -> Result<Metrics, CellError> {
    let table = OperatorTable::draw(&mut streams.stream("table", &[]));
    let test = Test::new(table.clone(), course.test, streams);
    let mut learner = Learner::new(base, course.learner.clone())?;
    let streams = streams.child("operator course", &[]);
    let (mut evaluations, mut distinct, mut traces, mut passed) = (vec![], BTreeSet::new(), 0, 0.0);
    let (mut seen_by, mut distinct_by) = (vec![], vec![]);
    for update in 0..course.updates {
        if update % course.evaluate_every == 0 {
            evaluations.push(test.evaluate(learner.policy())?);
            seen_by.push(traces as f64);
            distinct_by.push(distinct.len() as f64);
        }
        let seen = interact(learner.policy(), &table, course, update as u64, &streams)?;
        traces += seen.iter().filter(|(_, trace)| trace.is_some()).count();
        distinct.extend(seen.iter().filter_map(|(_, trace)| trace.map(|trace| trace.entry)));
        passed += seen.iter().filter(|(interaction, _)| interaction.vote > 0.0).count() as f64;
        let interactions: Vec<Interaction> = seen.into_iter().map(|(i, _)| i).collect();
        learner.update(&interactions, course.group_size)?;
    }
    evaluations.push(test.evaluate(learner.policy())?);
    seen_by.push(traces as f64);
    distinct_by.push(distinct.len() as f64);
    let interactions = (course.updates * course.problems * course.group_size) as f64;
    let by_evaluation =
        |value: fn(&Evaluation) -> f64| evaluations.iter().map(value).collect::<Vec<f64>>();
    let metrics = Metrics::new()
        .scalar(&INTERACTIONS, interactions)
        .scalar(&TRACES, traces as f64)
        .scalar(&DISTINCT_ENTRIES, distinct.len() as f64)
        .scalar(&PASSED, passed / interactions)
        .series(&ENTRIES_BY_TRACES, by_evaluation(|evaluation| evaluation.entries))
        .series(&PASS_BY_TRACES, by_evaluation(|evaluation| evaluation.pass))
        .series(&TRACES_SEEN, seen_by)
        .series(&DISTINCT_ENTRIES_SEEN, distinct_by);
    let metrics = metrics.scalar(&TEACHER_OBEDIENCE, test.obedience(learner.teacher())?);
    test.measure(metrics, learner.policy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_nn::{DecoderConfig, Device};

    #[test]
    fn one_result_everywhere_is_no_knowledge() {
        // Eight of 64 right by chance.
        assert!(corrected_for_guessing((0..64).map(|entry| entry % 8 == 0)).abs() < 1e-12);
        assert_eq!(corrected_for_guessing([true; 64].into_iter()), 64.0);
        assert_eq!(corrected_for_guessing(std::iter::empty()), 0.0);
    }

    #[test]
    fn a_foreign_trace_is_true_of_the_table_and_not_of_the_response() {
        let streams = Streams::new(3);
        let shape = DecoderConfig {
            vocabulary: vocabulary().size(),
            context: CONTEXT,
            ..DecoderConfig::default()
        };
        let shape = shape.check().unwrap();
        let mut weights = streams.stream("weights", &[]);
        let policy = Decoder::initialise(&shape, &mut weights, &Device::flex());
        let table = OperatorTable::draw(&mut streams.stream("table", &[]));
        let course = |traces| Course {
            traces,
            learner: LearnerConfig::new(hybrid(), 1e-3),
            updates: 1,
            problems: 8,
            group_size: 4,
            evaluate_every: 1,
            test: 1,
        };
        let seen = |traces| interact(&policy, &table, &course(traces), 0, &streams).unwrap();
        let (own, foreign) = (seen(Traces::Own), seen(Traces::Foreign));
        assert_eq!(own.len(), 32);
        let mut shown = 0;
        for ((a, own), (b, foreign)) in own.iter().zip(&foreign) {
            assert_eq!((&a.response, a.vote), (&b.response, b.vote));
            let Some(trace) = foreign else { continue };
            shown += 1;
            assert_eq!(table.entry(trace.entry.left, trace.entry.right), trace.entry);
            assert_ne!(own.map(|own| own.entry), Some(trace.entry));
        }
        assert!(shown > 16, "{shown}");
    }
    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("directive-feedback-operator");
    }
}
