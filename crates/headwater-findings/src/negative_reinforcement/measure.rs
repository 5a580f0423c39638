//! What is measured of a policy: pass@k on held-out puzzles, entropy, unique answers, also at equal entropy.

use headwater_core::{Check, Group, Streams};
use headwater_evaluation::diversity::unique_answers;
use headwater_evaluation::pass_at_k::{Tally, mean_pass_at_k};
use headwater_nn::{Completion, Decoder, Sampling, Vocabulary, sample};
use headwater_optimizers::Prompt;
use headwater_protocol::{CellError, Metrics};
use headwater_rewards::checked_score;

use super::{KS, TestConfig, sampling_config};
use crate::tasks::countdown::{Puzzle, Split, checked_verifier, vocabulary};

/// The held-out puzzles of one seed and how they are sampled.
pub(super) struct Test {
    config: TestConfig,
    vocabulary: Vocabulary,
    puzzles: Vec<Prompt>,
    streams: Streams,
}

/// Samples per puzzle for an estimate of the entropy.
const ENTROPY_SAMPLES: usize = 16;

impl Test {
    pub(super) fn new(config: TestConfig, streams: &Streams) -> Result<Self, CellError> {
        let vocabulary = vocabulary();
        let mut stream = streams.stream("held-out puzzles", &[]);
        let puzzles = (0..config.puzzles).map(|_| Puzzle::draw(Split::HeldOut, &mut stream));
        let puzzles = puzzles.map(|puzzle| puzzle.prompt(&vocabulary)).collect::<Result<_, _>>()?;
        Ok(Self { config, vocabulary, puzzles, streams: streams.child("test", &[]) })
    }

    fn sample(
        &self,
        policy: &Decoder,
        samples: usize,
        sampling: &Sampling,
    ) -> Result<Vec<Vec<Completion>>, CellError> {
        let prompts: Vec<Vec<u32>> = self.puzzles.iter().map(|p| p.tokens.clone()).collect();
        Ok(sample(policy, &prompts, samples, sampling, &self.streams)?)
    }

    /// Mean token entropy of `policy` at `temperature`, nats.
    pub(super) fn entropy(&self, policy: &Decoder, temperature: f64) -> Result<f64, CellError> {
        let sampling = sampling_config(temperature).check()?;
        Ok(mean_entropy(&self.sample(policy, ENTROPY_SAMPLES, &sampling)?))
    }

    /// Measures at temperature 1 and, given a `target` entropy, at the temperature that reaches it.
    pub(super) fn measure(
        &self,
        policy: &Decoder,
        target: Option<f64>,
    ) -> Result<Metrics, CellError> {
        let groups = self.sample(policy, self.config.samples, &sampling_config(1.0).check()?)?;
        let mut metrics = self.pass_at_k(Metrics::new(), "", &groups)?;
        metrics = metrics.scalar("entropy", mean_entropy(&groups));
        let unique = groups.iter().map(|group| {
            let answers: Vec<&[u32]> = group.iter().map(|c| c.tokens.as_slice()).collect();
            unique_answers(&answers) as f64
        });
        metrics = metrics.scalar("unique answers", unique.sum::<f64>() / groups.len() as f64);
        if let Some(target) = target {
            let temperature = self.matched_temperature(policy, target)?;
            let groups =
                self.sample(policy, self.config.samples, &sampling_config(temperature).check()?)?;
            metrics = self.pass_at_k(metrics, "matched/", &groups)?;
            metrics = metrics
                .scalar("temperature", temperature)
                .scalar("matched/entropy", mean_entropy(&groups));
        }
        Ok(metrics)
    }

    fn pass_at_k(
        &self,
        metrics: Metrics,
        prefix: &str,
        groups: &[Vec<Completion>],
    ) -> Result<Metrics, CellError> {
        let verifier = checked_verifier()?;
        let mut tallies = Vec::with_capacity(groups.len());
        for (puzzle, group) in self.puzzles.iter().zip(groups) {
            let texts = Group {
                prompt: puzzle.text.clone(),
                reference: puzzle.reference.clone(),
                completions: group.iter().map(|c| self.vocabulary.decode(&c.tokens)).collect(),
            };
            let correct: Vec<bool> =
                texts.samples().map(|s| checked_score(&verifier, s).value() == Some(1.0)).collect();
            tallies.push(Tally::of(&correct));
        }
        let mut curve = Vec::new();
        for k in KS {
            curve.push(mean_pass_at_k(&tallies, k)?);
        }
        let at = |k: usize| KS.iter().position(|other| *other == k).map_or(0.0, |i| curve[i]);
        let metrics = metrics
            .scalar(format!("{prefix}pass@1"), at(1))
            .scalar(format!("{prefix}pass@16"), at(16))
            .scalar(format!("{prefix}pass@256"), at(256));
        Ok(metrics.series(format!("{prefix}pass@k"), curve))
    }

    /// The temperature in [0.1, 10] at which the policy's token entropy is `target`, by bisection
    /// on its logarithm, to 0.3%: each of the ten steps samples anew. Whether it is met,
    /// `matched/entropy` tells beside it.
    fn matched_temperature(&self, policy: &Decoder, target: f64) -> Result<f64, CellError> {
        let (mut low, mut high) = (0.1f64.ln(), 10f64.ln());
        for _ in 0..10 {
            let middle = 0.5 * (low + high);
            if self.entropy(policy, middle.exp())? < target {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok((0.5 * (low + high)).exp())
    }
}

fn mean_entropy(groups: &[Vec<Completion>]) -> f64 {
    let entropies = groups.iter().flatten().flat_map(|completion| &completion.entropies);
    let (sum, count) =
        entropies.fold((0.0, 0usize), |(sum, count), e| (sum + f64::from(*e), count + 1));
    sum / count.max(1) as f64
}
