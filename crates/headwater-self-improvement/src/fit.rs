//! Maximum likelihood on a fixed set of examples: the update of every loop that filters.

use headwater_core::{Check, ConfigError, Example, Streams, require};
use headwater_nn::{
    AdamW, AdamWConfig, AdamWSettings, Decay, Decoder, Schedule, supervised_training,
};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::SelfImprovementError;

/// How a round's update is made, unchecked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FitConfig {
    /// Optimiser steps, at least 1: the same whatever a filter kept, so that arms are updated equally.
    pub steps: usize,
    /// Examples (or pairs) per step, at least 1.
    pub batch: usize,
    /// Steps over which the learning rate rises linearly from 0, 0 for none; it falls linearly to 0 in any case.
    pub warmup_steps: usize,
    /// The optimiser; its moments start at 0 in every round.
    pub adamw: AdamWConfig,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self { steps: 50, batch: 64, warmup_steps: 5, adamw: AdamWConfig::default() }
    }
}

/// A checked [`FitConfig`].
#[derive(Debug, Clone, PartialEq)]
pub struct FitSettings {
    pub(crate) config: FitConfig,
    pub(crate) adamw: AdamWSettings,
}

impl Check for FitConfig {
    type Checked = FitSettings;

    fn check(self) -> Result<FitSettings, ConfigError> {
        require(self.steps > 0, "FitConfig", "steps", self.steps, "1 or more")?;
        require(self.batch > 0, "FitConfig", "batch", self.batch, "1 or more")?;
        Ok(FitSettings { adamw: self.adamw.clone().check()?, config: self })
    }
}

impl FitSettings {
    /// A linear rise over the warm-up, times a linear fall to 0 over the whole fit. What is left in
    /// the weights of the noise of single batches is what the last steps put there.
    pub(crate) fn schedule(&self) -> Schedule {
        let FitConfig { steps, warmup_steps: warmup, .. } = self.config;
        Schedule { steps, warmup, decay: Decay::Linear }
    }

    /// The indices of each step's batch out of `count`: passes over all of them, each in a random order of its own.
    pub(crate) fn batches(&self, count: usize, streams: &Streams) -> Vec<Vec<usize>> {
        let mut left: Vec<usize> = Vec::new();
        let mut passes = 0..;
        let mut next = || {
            if left.is_empty() {
                left = (0..count).collect();
                left.shuffle(&mut streams.stream("pass", &[passes.next().unwrap_or(0)]));
            }
            left.pop()
        };
        let batch = |_| (0..self.config.batch).map_while(|_| next()).collect();
        (0..self.config.steps).map(batch).collect()
    }
}

/// `start` fitted to `examples` by maximum likelihood on their completions. Without examples it is `start`.
///
/// # Errors
/// Examples that do not fit the decoder, a loss that is not finite.
pub fn fit(
    start: &Decoder,
    examples: &[Example],
    settings: &FitSettings,
    streams: &Streams,
) -> Result<Decoder, SelfImprovementError> {
    let mut policy = start.clone();
    if examples.is_empty() {
        return Ok(policy);
    }
    let mut optimizer = AdamW::new(settings.adamw.clone());
    let batches = settings.batches(examples.len(), streams);
    supervised_training(&mut policy, &mut optimizer, settings.schedule(), |step| {
        let batch = batches[step].iter().map(|at| examples[*at].clone());
        Ok::<_, SelfImprovementError>(batch.collect())
    })?;
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_read_once_a_pass() {
        let config = FitConfig { steps: 6, batch: 5, ..FitConfig::default() };
        let batches = config.check().unwrap().batches(10, &Streams::new(1));
        assert!(batches.iter().all(|batch| batch.len() == 5));
        for pass in batches.concat().chunks(10) {
            let mut pass = pass.to_vec();
            pass.sort_unstable();
            assert_eq!(pass, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(batches[0], batches[2]);
    }

    #[test]
    fn a_fit_without_steps_is_an_error() {
        let error = FitConfig { steps: 0, ..FitConfig::default() }.check().unwrap_err();
        assert_eq!(error.to_string(), "FitConfig.steps = 0: allowed is 1 or more");
    }
}
