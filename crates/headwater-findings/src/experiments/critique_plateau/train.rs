//! Training: the base by supervision, the arms by Critique-GRPO and its variants, up to a number of
//! generations.

use std::collections::BTreeMap;

use headwater_core::{Check, Group, Prompt, StreamRng, Streams, Vocabulary};
use headwater_nn::{AdamWConfig, Decoder};
use headwater_optimizers::critique_grpo::{Attempt, Critic, CritiqueTrainerConfig};
use headwater_optimizers::{CritiqueGrpoConfig, CritiqueTrainer, Environment, Grade, graded_by};
use headwater_protocol::{CellError, Metric, Series};
use headwater_rewards::{ExactMatch, ExactMatchConfig, Extraction, Normalisation};
use rand::seq::{IndexedRandom, SliceRandom};
use serde::{Deserialize, Serialize};

use crate::training::pretrain;
use headwater_tasks::misconceptions::{
    Arithmetic, Chain, Critique, Doubt, MARKS_AT, NO_MARKS, STEPS, Shares, Split, vocabulary,
};

/// Responses sampled so far, refinements included, by evaluation.
pub const GENERATIONS: Series = Series::new("training/generations so far");
/// Optimiser steps so far, by evaluation.
pub const STEPS_TAKEN: Series = Series::new("training/steps so far");
/// Mean token entropy of the rollouts since the last evaluation, nats.
pub const ENTROPY: Series = Series::new("training/entropy");

/// What the trainer tells of a step, of which means between evaluations are recorded.
const TRAINING: [&str; 14] = [
    "accuracy",
    "completions/clipped_ratio",
    "completions/mean_length",
    "entropy",
    "frac_refined",
    "frac_rescued",
    "generations",
    "groups",
    "groups_rejected",
    "loss",
    "num_tokens",
    "refinement_accuracy",
    "reward",
    "reward_std",
];

/// The metric that training's curve of that name is recorded as.
pub(super) fn training(name: &str) -> Series {
    Series::from(format!("training/{name}"))
}

/// Everything that is recorded of training.
pub(super) fn metrics() -> Vec<Metric> {
    let names = TRAINING.into_iter().map(training);
    names.chain([GENERATIONS, STEPS_TAKEN]).map(Metric::from).collect()
}

/// Supervised training on demonstrations.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Supervision {
    pub(super) steps: usize,
    pub(super) batch: usize,
    pub(super) doubt: Doubt,
    pub(super) shares: Shares,
}

/// Imitates demonstrations; returns the policy and its losses by step.
pub(super) fn imitate(
    start: Decoder,
    adamw: AdamWConfig,
    supervision: &Supervision,
    arithmetic: &Arithmetic,
    streams: &Streams,
) -> Result<(Decoder, Vec<f64>), CellError> {
    let Supervision { steps, batch, doubt, shares } = *supervision;
    pretrain(start, adamw, (steps, batch), streams, |_, stream| {
        Ok(arithmetic.demonstration(doubt, shares, stream))
    })
}

/// What is done to an arm's information, in controls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tamper {
    /// Nothing.
    Nothing,
    /// Every attempt gets the critique of an attempt at another question of the step.
    Exchanged,
    /// Step critiques name a sound step instead of the first wrong one.
    Misplaced,
    /// Verdicts are permuted within a step, those of rollouts and those of refinements.
    Verdicts,
}

/// One arm.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Optimisation {
    pub(super) objective: CritiqueGrpoConfig,
    pub(super) critique: Critique,
    pub(super) tamper: Tamper,
    pub(super) trainer: CritiqueTrainerConfig,
    pub(super) prompts_per_step: usize,
    /// Distinct training prompts.
    pub(super) pool: usize,
    /// Share of them that meet a misconception.
    pub(super) stuck: f64,
    /// Responses sampled in all, refinements included, after which training ends.
    pub(super) generations: usize,
}

/// Trains a fork of the base and lets `evaluate` see it `evaluations` times at equal distances in
/// generations, the last time at the end; returns the means of the training metrics between evaluations.
pub(super) fn optimise(
    base: Decoder,
    optimisation: &Optimisation,
    arithmetic: &Arithmetic,
    streams: &Streams,
    evaluations: usize,
    mut evaluate: impl FnMut(&Decoder) -> Result<(), CellError>,
) -> Result<BTreeMap<&'static str, Vec<f64>>, CellError> {
    let vocabulary = vocabulary();
    let questions = questions(arithmetic, optimisation.pool, optimisation.stuck, streams);
    let pool = questions.iter().map(|chain| arithmetic.prompt(chain, &vocabulary)).collect();
    let verifier = verifier()?;
    let mut lessons = Lessons { optimisation, arithmetic, pool, vocabulary, verifier, streams };
    let mut trainer = CritiqueTrainer::new(
        base,
        optimisation.objective.check()?,
        optimisation.trainer.clone().check()?,
        streams.child("training", &[]),
    );
    let mut curves: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    let mut generations = 0.0;
    for at in 1..=evaluations {
        let mut since: BTreeMap<&'static str, (f64, f64)> = BTreeMap::new();
        while generations < (optimisation.generations * at / evaluations) as f64 {
            let metrics = trainer.step(&mut lessons)?;
            generations += metrics["generations"];
            for (name, value) in metrics {
                let (sum, count) = since.entry(name).or_default();
                (*sum, *count) = (*sum + value, *count + 1.0);
            }
        }
        for (name, (sum, count)) in since {
            curves.entry(name).or_default().push(sum / count);
        }
        curves.entry("generations so far").or_default().push(generations);
        curves.entry("steps so far").or_default().push(trainer.steps() as f64);
        evaluate(trainer.policy())?;
    }
    Ok(curves)
}

/// Questions of a pool, pass after pass, whose failed answers are criticised.
struct Lessons<'a> {
    optimisation: &'a Optimisation,
    arithmetic: &'a Arithmetic,
    pool: Vec<Prompt>,
    vocabulary: Vocabulary,
    verifier: ExactMatch,
    streams: &'a Streams,
}

impl Environment for Lessons<'_> {
    type Error = CellError;

    fn prompts(&mut self, step: u64, _attempt: u64) -> Result<Vec<Prompt>, CellError> {
        let each = self.optimisation.prompts_per_step;
        let batches = self.pool.len() / each;
        let (pass, batch) = (step / batches as u64, step as usize % batches);
        let mut order: Vec<usize> = (0..self.pool.len()).collect();
        order.shuffle(&mut self.streams.stream("order of prompts", &[pass]));
        let chosen = order[batch * each..].iter().take(each);
        Ok(chosen.map(|at| self.pool[*at].clone()).collect())
    }

    fn decode(&self, tokens: &[u32]) -> String {
        self.vocabulary.decode(tokens)
    }

    fn grade(&mut self, groups: &[Group], step: u64) -> Result<Vec<Grade>, CellError> {
        let mut grades = graded_by(&self.verifier, groups);
        if self.optimisation.tamper == Tamper::Verdicts {
            // A step grades twice, batches of different sizes.
            let indices = [step, grades.len() as u64];
            grades.shuffle(&mut self.streams.stream("permuted verdicts", &indices));
        }
        Ok(grades)
    }
}

impl Critic for Lessons<'_> {
    fn criticise(
        &mut self,
        attempts: &[Attempt<'_>],
        step: u64,
    ) -> Result<Vec<Vec<u32>>, CellError> {
        let mut stream = self.streams.stream("tampered critiques", &[step]);
        Ok(critiques(attempts, self.optimisation, self.arithmetic, &mut stream))
    }
}

/// The training questions; a larger pool starts with those of a smaller one.
fn questions(arithmetic: &Arithmetic, pool: usize, share: f64, streams: &Streams) -> Vec<Chain> {
    let mut stream = streams.stream("questions", &[]);
    let stuck = |at: usize| {
        // Spread evenly: as many as the share asks for among the first `at`, for every `at`.
        let before = |at: usize| (at as f64 * share).floor();
        before(at + 1) > before(at)
    };
    (0..pool).map(|at| arithmetic.question(stuck(at), Split::Trained, &mut stream)).collect()
}

/// What each attempt is refined from: the attempt and its critique.
fn critiques(
    attempts: &[Attempt<'_>],
    optimisation: &Optimisation,
    arithmetic: &Arithmetic,
    stream: &mut StreamRng,
) -> Vec<Vec<u32>> {
    let criticised = attempts.iter().map(|attempt| {
        let chain = Chain::read(&attempt.prompt.tokens)
            .expect("every prompt of the pool is made of a chain");
        if optimisation.tamper == Tamper::Misplaced {
            arithmetic.misplaced(&chain, attempt.response, stream)
        } else {
            arithmetic.criticised(&chain, attempt.response, optimisation.critique)
        }
    });
    let mut shown: Vec<Vec<u32>> = criticised.collect();
    if optimisation.tamper == Tamper::Exchanged {
        exchange_critiques(&mut shown, attempts, stream);
    }
    shown
}

/// Gives every attempt the marks of an attempt at another question of the step; none where there is
/// no other.
fn exchange_critiques(shown: &mut [Vec<u32>], attempts: &[Attempt<'_>], stream: &mut StreamRng) {
    let marks: Vec<[u32; STEPS]> =
        shown.iter().map(|tokens| std::array::from_fn(|at| tokens[MARKS_AT.start + at])).collect();
    for (at, tokens) in shown.iter_mut().enumerate() {
        let fits = |other: &usize| attempts[*other].prompt.tokens != attempts[at].prompt.tokens;
        let others: Vec<usize> = (0..marks.len()).filter(fits).collect();
        let chosen = others.choose(stream).map_or(NO_MARKS, |other| marks[*other]);
        tokens[MARKS_AT].copy_from_slice(&chosen);
    }
}

/// 1 for the right results of all steps, else 0.
fn verifier() -> Result<ExactMatch, headwater_core::ConfigError> {
    let normalisation = Normalisation::SPACES;
    ExactMatchConfig { extraction: Extraction::Whole, normalisation }.check()
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_tasks::misconceptions::tokens;

    /// Three attempts at each of two questions, whose first wrong steps are 1, 2, 3 and 1, 1, 2,
    /// with their critiques.
    fn exchanged(seed: u64) -> (Vec<Vec<u32>>, Vec<Vec<u32>>) {
        let (vocabulary, mut stream) = (vocabulary(), Streams::new(1).stream("questions", &[]));
        let arithmetic = Arithmetic::draw(10, &mut stream);
        let chains = [0, 1].map(|_| arithmetic.question(true, Split::Trained, &mut stream));
        let prompts = chains.map(|chain| arithmetic.prompt(&chain, &vocabulary));
        let mut attempts = Vec::new();
        for (question, at) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 0), (1, 1)] {
            let mut results = arithmetic.results(&chains[question]);
            results[at] = (results[at] + 1) % 10;
            attempts.push((question, tokens(results)));
        }
        let attempt = |(question, response): &(usize, [u32; STEPS])| {
            let shown = arithmetic.criticised(&chains[*question], response, Critique::Step);
            (*question, *response, shown)
        };
        let all: Vec<_> = attempts.iter().map(attempt).collect();
        let own: Vec<Vec<u32>> = all.iter().map(|(_, _, shown)| shown.clone()).collect();
        let attempts: Vec<Attempt<'_>> = all
            .iter()
            .map(|(at, response, _)| Attempt { prompt: &prompts[*at], response, reward: 0.0 })
            .collect();
        let mut shown = own.clone();
        let mut stream = Streams::new(seed).stream("exchange", &[]);
        exchange_critiques(&mut shown, &attempts, &mut stream);
        (own, shown)
    }

    #[test]
    fn exchanged_critiques_are_those_of_another_question() {
        let (mut same, mut other) = (0, 0);
        for seed in 0..50 {
            let (own, shown) = exchanged(seed);
            for (at, (own_tokens, tokens)) in own.iter().zip(&shown).enumerate() {
                // Question and attempt stay.
                assert_eq!(own_tokens[..MARKS_AT.start], tokens[..MARKS_AT.start]);
                let others = if at < 3 { 3..6 } else { 0..3 };
                let marks = &tokens[MARKS_AT];
                assert!(own[others].iter().any(|other| other[MARKS_AT] == *marks));
                if own_tokens[MARKS_AT] == *marks { same += 1 } else { other += 1 }
            }
        }
        assert!(same > 0 && other > 0, "at random, some name the right step: {same}, {other}");
    }

    #[test]
    fn the_share_of_stuck_questions_is_kept_and_larger_pools_begin_with_smaller_ones() {
        let streams = Streams::new(2);
        let arithmetic = Arithmetic::draw(12, &mut streams.stream("tables", &[]));
        let draw = |pool| questions(&arithmetic, pool, 0.3, &streams);
        let (small, large) = (draw(40), draw(120));
        assert_eq!(small, large[..40]);
        for (questions, stuck) in [(&small, 12), (&large, 36)] {
            let met = questions.iter().filter(|chain| !arithmetic.misconceptions(chain).is_empty());
            assert_eq!(met.count(), stuck);
        }
    }
}
