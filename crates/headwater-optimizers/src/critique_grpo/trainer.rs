//! The trainer of Critique-GRPO: rollouts, critiques, refinements, one strictly on-policy step.
//!
//! It is a trainer of its own because a step samples twice, the second time under prompts that depend on what came
//! out the first time, and trains what was sampled second under other prompts than it was sampled under.

use burn::module::Module;
use headwater_core::{Check, ConfigError, Prompt, Streams, require};
use headwater_nn::{
    AdamW, AdamWConfig, AdamWSettings, Decoder, Sampling, SamplingConfig, SequenceBatch,
};
use serde::{Deserialize, Serialize};
use tracing::info_span;

use super::{CritiqueGrpo, mixed_advantages};
use crate::rollout::{Environment, Rollouts};
use crate::statistics::require_length;
use crate::step_metrics::{StepMetrics, describe, report};
use crate::{OptimizerError, TokenBatch, TokenRows, mask_from_lengths, pad_rows};

/// A run of [`CritiqueTrainer`] but the objective and the task, unchecked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CritiqueTrainerConfig {
    /// Rollouts per prompt (n), at least 1.
    pub group_size: usize,
    /// How rollouts and refinements are sampled; whole distributions at temperature 1, which is what is trained.
    pub sampling: SamplingConfig,
    /// Steps over which the learning rate rises linearly from 0; 0 for none.
    pub warmup_steps: usize,
    /// The policy's optimiser.
    pub adamw: AdamWConfig,
}

impl Default for CritiqueTrainerConfig {
    fn default() -> Self {
        Self {
            group_size: 7,
            sampling: SamplingConfig::default(),
            warmup_steps: 0,
            adamw: AdamWConfig::default(),
        }
    }
}

/// A checked [`CritiqueTrainerConfig`].
#[derive(Debug, Clone, PartialEq)]
pub struct CritiqueTrainerSettings {
    group_size: usize,
    sampling: Sampling,
    warmup_steps: usize,
    adamw: AdamWSettings,
}

impl Check for CritiqueTrainerConfig {
    type Checked = CritiqueTrainerSettings;

    fn check(self) -> Result<CritiqueTrainerSettings, ConfigError> {
        const CONFIG: &str = "CritiqueTrainerConfig";
        require(self.group_size > 0, CONFIG, "group_size", 0, "1 or more")?;
        let sampling = self.sampling.check()?;
        let whole = sampling.top_k == 0 && sampling.top_p == 1.0 && !sampling.greedy;
        let plain = whole && sampling.temperature == 1.0;
        let allowed = "temperature 1 without truncation: what is sampled is what is trained";
        require(plain, CONFIG, "sampling", format!("{:?}", *sampling), allowed)?;
        Ok(CritiqueTrainerSettings {
            group_size: self.group_size,
            sampling,
            warmup_steps: self.warmup_steps,
            adamw: self.adamw.check()?,
        })
    }
}

/// A rollout that is to be refined.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The question.
    pub prompt: &'a Prompt,
    /// The rollout's tokens.
    pub response: &'a [u32],
    /// Its reward.
    pub reward: f64,
}

/// An environment whose attempts can be criticised.
pub trait Critic: Environment {
    /// Criticises a step's attempts: per attempt, the tokens under which it is to be refined
    /// (question, attempt, critique).
    ///
    /// It sees all attempts of the step, so that controls that exchange critiques need no trainer
    /// of their own.
    ///
    /// # Errors
    /// Whatever the environment cannot do.
    fn criticise(
        &mut self,
        attempts: &[Attempt<'_>],
        step: u64,
    ) -> Result<Vec<Vec<u32>>, Self::Error>;
}

/// A policy in training.
#[derive(Debug)]
pub struct CritiqueTrainer {
    policy: Decoder,
    optimizer: AdamW,
    objective: CritiqueGrpo,
    settings: CritiqueTrainerSettings,
    streams: Streams,
    step: u64,
}

/// What a step has sampled.
struct Sampled {
    rollouts: Rollouts,
    /// The refined prompts, ascending.
    refined: Vec<usize>,
    /// One per rollout of the refined prompts, in their order.
    refinements: Option<Rollouts>,
}

/// What a step trains on, all under the plain prompts: rows with an advantage other than 0.
#[derive(Default)]
struct Rows<'a> {
    pairs: Vec<(&'a [u32], &'a [u32])>,
    /// Under the prompt it was sampled from: the plain one, or the one with the critique.
    sampled_logp: TokenRows,
    advantages: TokenRows,
    weights: TokenRows,
}

impl<'a> Rows<'a> {
    fn push(
        &mut self,
        prompt: &'a [u32],
        from: &'a Rollouts,
        row: usize,
        advantage: f64,
        weight: f64,
    ) {
        // A row whose advantage is 0 adds nothing to the loss, whatever its weight.
        if advantage == 0.0 {
            return;
        }
        let completion = &from.completions[row];
        let length = completion.tokens.len();
        self.pairs.push((prompt, &completion.tokens));
        self.sampled_logp.push(completion.log_probs.iter().map(|l| f64::from(*l)).collect());
        self.advantages.push(vec![advantage; length]);
        self.weights.push(vec![weight; length]);
    }
}

impl CritiqueTrainer {
    /// A trainer at step 0; `policy` on an autodiff device.
    #[must_use]
    pub fn new(
        policy: Decoder,
        objective: CritiqueGrpo,
        settings: CritiqueTrainerSettings,
        streams: Streams,
    ) -> Self {
        let optimizer = AdamW::new(settings.adamw.clone());
        Self { policy, optimizer, objective, settings, streams, step: 0 }
    }

    /// The policy as trained so far.
    #[must_use]
    pub fn policy(&self) -> &Decoder {
        &self.policy
    }

    /// Steps taken so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// One step: sample, grade, have failures criticised, refine, grade, update. Beside the metrics of rollouts:
    /// `generations` (refinements included), `frac_refined` (prompts), `frac_rescued` (of the refined prompts, those with
    /// a right refinement; absent where none was refined), `refinement_accuracy` (likewise), `loss`.
    ///
    /// # Errors
    /// The environment's own error; prompts, critiques or grades that cannot be used, or a loss or
    /// gradient that is not finite. The policy is then as it was before the step.
    pub fn step<C: Critic>(&mut self, environment: &mut C) -> Result<StepMetrics, C::Error> {
        let _span = info_span!("critique_step", step = self.step).entered();
        let sampled = self.sample(environment)?;
        let metrics = self.learn(&sampled)?;
        report(&metrics);
        Ok(metrics)
    }

    /// The update of one step.
    fn learn(
        &mut self,
        Sampled { rollouts, refined, refinements }: &Sampled,
    ) -> Result<StepMetrics, OptimizerError> {
        let group = self.settings.group_size;
        let mut rows = Rows::default();
        let mut refinement_rows = Rows::default();
        for (prompt, rewards) in rollouts.rewards.chunks(group).enumerate() {
            let place = refined.iter().position(|at| *at == prompt);
            let (mut kept, mut kept_rewards) = (Vec::new(), Vec::new());
            if let (Some(place), Some(refinements)) = (place, refinements) {
                let first = place * group;
                let mut stream = self.streams.stream("choice", &[self.step, prompt as u64]);
                let own = &refinements.rewards[first..first + group];
                kept =
                    self.objective.choose(own, &mut stream).iter().map(|at| first + at).collect();
                kept_rewards = kept.iter().map(|at| refinements.rewards[*at]).collect();
            }
            let (advantages, kept_advantages) = mixed_advantages(rewards, &kept_rewards)?;
            let tokens = &rollouts.prompts[prompt].tokens;
            let weight = 1.0 / (rollouts.prompts.len() * group) as f64;
            for (at, advantage) in advantages.iter().enumerate() {
                rows.push(tokens, rollouts, prompt * group + at, *advantage, weight);
            }
            if let Some(refinements) = refinements {
                let weight = 1.0 / (rollouts.prompts.len() * kept.len().max(1)) as f64;
                for (at, advantage) in kept.iter().zip(&kept_advantages) {
                    refinement_rows.push(tokens, refinements, *at, *advantage, weight);
                }
            }
        }
        let mut metrics = describe(rollouts);
        let generated =
            rollouts.rewards.len() + refinements.as_ref().map_or(0, |r| r.rewards.len());
        metrics.insert("generations", generated as f64);
        metrics.insert("frac_refined", refined.len() as f64 / rollouts.prompts.len() as f64);
        if let Some(refinements) = refinements {
            let rescued = refinements.rewards.chunks(group).filter(|r| r.iter().any(|r| *r > 0.0));
            metrics.insert("frac_rescued", rescued.count() as f64 / refined.len() as f64);
            let right = refinements.rewards.iter().sum::<f64>() / refinements.rewards.len() as f64;
            metrics.insert("refinement_accuracy", right);
        }
        let loss = self.update(&rows, &refinement_rows)?;
        metrics.insert("loss", loss);
        self.step += 1;
        Ok(metrics)
    }

    /// Rollouts, and refinements of those prompts that are due.
    fn sample<C: Critic>(&self, environment: &mut C) -> Result<Sampled, C::Error> {
        let (group, step) = (self.settings.group_size, self.step);
        // Dropped before the update, which would have to copy weights that are held elsewhere.
        let policy = self.policy.valid();
        let collect = |environment: &mut C, prompts, group: usize, name: &str| {
            // Named as in `Trainer`, so that without refinements the two sample alike.
            let streams = self.streams.child(name, &[step, 0]);
            let sampling = &self.settings.sampling;
            Rollouts::collect(&policy, environment, prompts, (step, group), sampling, &streams)
        };
        let prompts = environment.prompts(step, 0)?;
        let rollouts = collect(environment, prompts, group, "rollout")?;
        let refined: Vec<usize> = (0..rollouts.prompts.len())
            .filter(|prompt| self.objective.refines(&rollouts.rewards[prompt * group..][..group]))
            .collect();
        let mut refinements = None;
        if !refined.is_empty() {
            let prompts = refinement_prompts(&rollouts, &refined, environment, step)?;
            refinements = Some(collect(environment, prompts, 1, "refinement")?);
        }
        Ok(Sampled { rollouts, refined, refinements })
    }

    /// One optimiser step; none where no row has an advantage, so that equal rewards change nothing.
    fn update(
        &mut self,
        rollouts: &Rows<'_>,
        refinements: &Rows<'_>,
    ) -> Result<f64, OptimizerError> {
        let split = rollouts.pairs.len();
        let pairs = rollouts.pairs.iter().chain(&refinements.pairs).copied();
        let batch = SequenceBatch::new(pairs, self.policy.shape())?;
        if batch.sequences() == 0 {
            return Ok(0.0);
        }
        let (width, device) = (batch.width, self.policy.device());
        let logp = batch.scores(&self.policy, 1.0).log_probs;
        let mut loss = logp.clone().sum().mul_scalar(0.0);
        if split > 0 {
            let padded = |rows: &TokenRows| pad_rows(rows, width, &device);
            let mask = mask_from_lengths(&batch.lengths[..split], width, &device)?;
            let tokens = TokenBatch::new(
                logp.clone().narrow(0, 0, split),
                padded(&rollouts.sampled_logp)?,
                padded(&rollouts.advantages)?,
                mask,
            )?;
            let weights = padded(&rollouts.weights)?;
            loss = loss + (self.objective.rollout_token_loss(&tokens) * weights).sum();
        }
        if batch.sequences() > split {
            let padded = |rows: &TokenRows| pad_rows(rows, width, &device);
            let token_loss = self.objective.refinement_token_loss(
                logp.narrow(0, split, batch.sequences() - split),
                padded(&refinements.sampled_logp)?,
                padded(&refinements.advantages)?,
                mask_from_lengths(&batch.lengths[split..], width, &device)?,
            )?;
            loss = loss + (token_loss * padded(&refinements.weights)?).sum();
        }
        let warmup = self.settings.warmup_steps as f64;
        let rate = if warmup == 0.0 { 1.0 } else { ((self.step + 1) as f64 / warmup).min(1.0) };
        Ok(self.optimizer.minimise(&mut self.policy, loss, rate)?)
    }
}

/// The prompts under which the rollouts of the `refined` prompts are refined; reward and reference are the question's.
fn refinement_prompts<C: Critic>(
    rollouts: &Rollouts,
    refined: &[usize],
    environment: &mut C,
    step: u64,
) -> Result<Vec<Prompt>, C::Error> {
    let group = rollouts.group_size;
    let rows: Vec<usize> = refined.iter().flat_map(|at| at * group..(at + 1) * group).collect();
    let attempts: Vec<Attempt<'_>> = rows
        .iter()
        .map(|row| Attempt {
            prompt: &rollouts.prompts[row / group],
            response: &rollouts.completions[*row].tokens,
            reward: rollouts.rewards[*row],
        })
        .collect();
    let tokens = environment.criticise(&attempts, step)?;
    require_length("critiques", tokens.len(), attempts.len())?;
    let prompt = |(tokens, attempt): (Vec<u32>, &Attempt<'_>)| Prompt {
        tokens,
        text: attempt.prompt.text.clone(),
        reference: attempt.prompt.reference.clone(),
    };
    Ok(tokens.into_iter().zip(&attempts).map(prompt).collect())
}
