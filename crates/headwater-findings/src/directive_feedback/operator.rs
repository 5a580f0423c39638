//! The unknown operator: interactions in which a trace gives one entry of its table, and what is known without one.

use std::collections::BTreeSet;

use headwater_core::{Check, Streams};
use headwater_nn::{Decoder, SamplingConfig, SequenceBatch, sample};
use headwater_protocol::{CellError, Metrics};
use serde::{Deserialize, Serialize};

use super::learner::{Interaction, Learner, LearnerConfig};
use crate::tasks::operator::{
    Given, MODULUS, NOTHING, Operator, OperatorTable, Problem, RESPONSE_TOKENS, STEPS, Trace,
};

/// Interactions of one arm.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Course {
    pub(super) traces: Traces,
    pub(super) learner: LearnerConfig,
    pub(super) updates: usize,
    /// Problems per update.
    pub(super) problems: usize,
    /// Responses per problem.
    pub(super) group_size: usize,
    /// Updates from look to look.
    pub(super) look_every: usize,
    /// Held-out problems.
    pub(super) test: usize,
}

/// Which trace a failed response is shown with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Traces {
    /// Its own.
    Own,
    /// That of another response of the batch, with an entry that it looks up nowhere.
    Foreign,
}

/// Held-out problems of one seed.
pub(super) struct Test {
    table: OperatorTable,
    /// For every entry, a problem that needs it first.
    entries: Vec<(Problem, Trace)>,
    look_ups: Vec<Problem>,
    sums: Vec<Problem>,
}

/// What is known without a trace: exact expectations over responses at temperature 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Probability that a chain of look-ups is right.
    pub(super) pass: f64,
    /// Entries of 64 of which the policy is sure and right where they are needed, less what guessing would give.
    pub(super) entries: f64,
    /// Probability that a chain of sums and differences, which the base knows, is right.
    pub(super) sums: f64,
}

impl Test {
    pub(super) fn new(table: OperatorTable, problems: usize, streams: &Streams) -> Self {
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

    /// Log-probabilities of the right responses to problems, each read with what a trace gives or without.
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

    pub(super) fn look(&self, policy: &Decoder) -> Result<Look, CellError> {
        Ok(Look {
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
    pub(super) fn obedience(&self, policy: &Decoder) -> Result<f64, CellError> {
        let rows = self.scored(policy, self.entries.iter().map(|(p, trace)| (p, trace.given())))?;
        Ok(rows.iter().map(|row| f64::from(row[0]).exp()).sum::<f64>() / rows.len() as f64)
    }

    pub(super) fn measure(&self, metrics: Metrics, policy: &Decoder) -> Result<Metrics, CellError> {
        let look = self.look(policy)?;
        Ok(metrics
            .scalar("entries", look.entries)
            .scalar("pass", look.pass)
            .scalar("sums", look.sums)
            .scalar("obedience", self.obedience(policy)?))
    }
}

/// Sure answers that are right, less one seventh of those that are wrong: who is sure of one of the eight results
/// whatever is asked gets 0 on average. A policy that collapses onto one result would otherwise know an eighth of any table.
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
pub(super) fn run(base: Decoder, course: &Course, streams: &Streams) -> Result<Metrics, CellError> {
    let table = OperatorTable::draw(&mut streams.stream("table", &[]));
    let test = Test::new(table.clone(), course.test, streams);
    let mut learner = Learner::new(base, course.learner.clone())?;
    let streams = streams.child("operator course", &[]);
    let (mut looks, mut distinct, mut traces, mut passed) = (vec![], BTreeSet::new(), 0, 0.0);
    let (mut seen_by, mut distinct_by) = (vec![], vec![]);
    for update in 0..course.updates {
        if update % course.look_every == 0 {
            looks.push(test.look(learner.policy())?);
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
    looks.push(test.look(learner.policy())?);
    seen_by.push(traces as f64);
    distinct_by.push(distinct.len() as f64);
    let interactions = (course.updates * course.problems * course.group_size) as f64;
    let metrics = Metrics::new()
        .scalar("interactions", interactions)
        .scalar("traces", traces as f64)
        .scalar("distinct entries in traces", distinct.len() as f64)
        .scalar("passed in training", passed / interactions)
        .series("entries by traces", looks.iter().map(|look| look.entries).collect())
        .series("pass by traces", looks.iter().map(|look| look.pass).collect())
        .series("traces seen", seen_by)
        .series("distinct entries seen", distinct_by);
    let metrics = metrics.scalar("teacher obedience", test.obedience(learner.teacher())?);
    test.measure(metrics, learner.policy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_nn::{DecoderConfig, Device};
    use headwater_optimizers::directive::{HybridConfig, Signal};

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
            vocabulary: crate::tasks::operator::vocabulary().size(),
            context: crate::tasks::operator::CONTEXT,
            ..DecoderConfig::default()
        };
        let shape = shape.check().unwrap();
        let mut weights = streams.stream("weights", &[]);
        let policy = Decoder::initialise(&shape, &mut weights, &Device::flex());
        let table = OperatorTable::draw(&mut streams.stream("table", &[]));
        let course = |traces| Course {
            traces,
            learner: LearnerConfig {
                method: HybridConfig::new(Signal::SampledGap { limit: None }),
                teacher_rate: 1.0,
                adamw: headwater_nn::AdamWConfig::default(),
                warmup: 1,
            },
            updates: 1,
            problems: 8,
            group_size: 4,
            look_every: 1,
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
}
