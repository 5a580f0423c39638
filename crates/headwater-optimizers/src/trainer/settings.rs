//! What a run is made with, but for the method and the environment.

use headwater_core::{Check, ConfigError, require};
use headwater_nn::{AdamWConfig, AdamWSettings, Sampling, SamplingConfig};
use serde::{Deserialize, Serialize};

/// Everything about an on-policy run but the method and the task, unchecked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainerConfig {
    /// Prompts per step, at least 1.
    pub prompts_per_step: usize,
    /// Completions per prompt (G), at least 1.
    pub group_size: usize,
    /// How completions are sampled.
    pub sampling: SamplingConfig,
    /// Passes over a batch of rollouts, at least 1.
    pub epochs: usize,
    /// Minibatches (optimiser steps) per pass, at least 1.
    pub minibatches: usize,
    /// Most sequences in one forward and backward pass, at least 1: memory, not mathematics.
    pub micro_batch: usize,
    /// Steps over which the learning rate rises linearly from 0; 0 for none.
    pub warmup_steps: usize,
    /// Batches of prompts dynamic sampling may draw for one step, at least 1.
    pub generation_batches: usize,
    /// The policy's optimiser.
    pub adamw: AdamWConfig,
    /// The critic's optimiser, where there is a critic.
    pub critic_adamw: AdamWConfig,
}

impl Default for TrainerConfig {
    fn default() -> Self {
        Self {
            prompts_per_step: 32,
            group_size: 8,
            sampling: SamplingConfig::default(),
            epochs: 1,
            minibatches: 1,
            micro_batch: 1024,
            warmup_steps: 0,
            generation_batches: 10,
            adamw: AdamWConfig::default(),
            critic_adamw: AdamWConfig::default(),
        }
    }
}

/// A checked [`TrainerConfig`].
#[derive(Debug, Clone, PartialEq)]
pub struct TrainerSettings {
    pub(super) config: TrainerConfig,
    pub(super) sampling: Sampling,
    pub(super) adamw: AdamWSettings,
    pub(super) critic_adamw: AdamWSettings,
}

impl TrainerSettings {
    /// Whether some update of a step is made on rollouts of an earlier policy, so that a clip can act.
    pub(super) fn is_off_policy(&self) -> bool {
        self.config.epochs > 1 || self.config.minibatches > 1
    }
}

impl Check for TrainerConfig {
    type Checked = TrainerSettings;

    fn check(self) -> Result<TrainerSettings, ConfigError> {
        for (field, value) in [
            ("prompts_per_step", self.prompts_per_step),
            ("group_size", self.group_size),
            ("epochs", self.epochs),
            ("minibatches", self.minibatches),
            ("micro_batch", self.micro_batch),
            ("generation_batches", self.generation_batches),
        ] {
            require(value > 0, "TrainerConfig", field, value, "1 or more")?;
        }
        Ok(TrainerSettings {
            sampling: self.sampling.clone().check()?,
            adamw: self.adamw.clone().check()?,
            critic_adamw: self.critic_adamw.clone().check()?,
            config: self,
        })
    }
}
