//! The on-policy trainer: rollouts, rewards, advantages, micro-batches, one optimiser step per minibatch.
//!
//! It holds an [`Objective`] without knowing which method it is. The gradient of a minibatch does not
//! depend on how it is cut into micro-batches, because the token weights are taken over the whole
//! minibatch first. A trainer restored from [`Trainer::to_bytes`] continues bit for bit.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use headwater_core::Streams;
use headwater_nn::{
    AdamW, Checkpoint, Decoder, ModuleGradients, NnError, SequenceBatch, pack, unpack,
};
use rand::seq::SliceRandom;
use tracing::info_span;

mod settings;

pub use settings::{TrainerConfig, TrainerSettings};

use crate::dapo;
use crate::rollout::{Environment, Rollouts};
use crate::step_metrics::{StepMetrics, UpdateSums, describe, report};
use crate::value_model::ValueModel;
use crate::{Advantages, Experience, Objective, Observed, OptimizerError, TokenRows};
use crate::{mask_from_lengths, pad_rows};

/// A policy in training.
#[derive(Debug)]
pub struct Trainer {
    settings: TrainerSettings,
    objective: Objective,
    streams: Streams,
    step: u64,
    policy: Decoder,
    optimizer: AdamW,
    reference: Option<Decoder>,
    critic: Option<(ValueModel, AdamW)>,
}

/// One batch after advantages: what every minibatch is cut from. Rows are those of the rollouts.
struct Batch {
    rollouts: Rollouts,
    advantages: Advantages,
    old_log_probs: TokenRows,
    reference_log_probs: Option<TokenRows>,
    values: Option<TokenRows>,
}

impl Trainer {
    /// A trainer at step 0. `policy` must be on an autodiff device; where the objective needs a reference
    /// it is the policy as given here.
    #[must_use]
    pub fn new(
        policy: Decoder,
        objective: Objective,
        settings: TrainerSettings,
        streams: Streams,
    ) -> Self {
        let critic = objective
            .critic()
            .map(|_| (ValueModel::new(&policy), AdamW::new(settings.critic_adamw.clone())));
        Self {
            reference: objective.needs_reference().then(|| policy.valid()),
            optimizer: AdamW::new(settings.adamw.clone()),
            settings,
            objective,
            streams,
            step: 0,
            policy,
            critic,
        }
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

    /// Everything a resumed run needs, as bytes: policy, reference, critic, optimisers, controllers, step.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kl, entropy, applies) = self.objective.controllers();
        let mut scalars = self.step.to_le_bytes().to_vec();
        scalars.extend(kl.to_le_bytes());
        scalars.extend(entropy.to_le_bytes());
        scalars.push(u8::from(applies));
        let mut sections = vec![
            ("scalars", scalars),
            ("policy", Checkpoint::of(&self.policy).to_bytes()),
            ("optimizer", self.optimizer.to_bytes()),
        ];
        if let Some(reference) = &self.reference {
            sections.push(("reference", Checkpoint::of(reference).to_bytes()));
        }
        if let Some((critic, optimizer)) = &self.critic {
            sections.push(("critic", critic.to_bytes()));
            sections.push(("critic optimizer", optimizer.to_bytes()));
        }
        pack(&sections)
    }

    /// A trainer that goes on from [`Trainer::to_bytes`] exactly as the one that wrote them would have,
    /// given the same objective, settings and streams; `device` with autodiff.
    ///
    /// # Errors
    /// Truncated or foreign bytes, or the state of another kind of objective.
    pub fn from_bytes(
        bytes: &[u8],
        objective: Objective,
        settings: TrainerSettings,
        streams: Streams,
        device: &Device,
    ) -> Result<Self, OptimizerError> {
        let section = |name: &str| unpack(bytes, name);
        let scalars = section("scalars")?;
        let malformed = || NnError::Malformed {
            format: "trainer state",
            problem: format!("section scalars = {scalars:?}, expected 24 bytes and a 0 or 1"),
        };
        let word = |at: usize| -> Result<[u8; 8], NnError> {
            let word = scalars.get(at..at + 8).and_then(|word| word.try_into().ok());
            word.filter(|_| scalars.len() == 25 && scalars[24] <= 1).ok_or_else(malformed)
        };
        let controllers =
            (f64::from_le_bytes(word(8)?), f64::from_le_bytes(word(16)?), scalars[24] == 1);
        let policy = Checkpoint::from_bytes(&section("policy")?)?.decoder(device)?;
        let reference = objective.needs_reference().then(|| -> Result<Decoder, NnError> {
            let inner = device.clone().without_autodiff();
            Checkpoint::from_bytes(&section("reference")?)?.decoder(&inner)
        });
        let critic = objective.critic().map(|_| -> Result<_, NnError> {
            let optimizer = section("critic optimizer")?;
            let settings = settings.critic_adamw.clone();
            let optimizer = AdamW::from_bytes(settings, &optimizer, device)?;
            Ok((ValueModel::from_bytes(&section("critic")?, device)?, optimizer))
        });
        Ok(Self {
            optimizer: AdamW::from_bytes(settings.adamw.clone(), &section("optimizer")?, device)?,
            reference: reference.transpose()?,
            critic: critic.transpose()?,
            objective: objective.with_controllers(controllers)?,
            settings,
            streams,
            step: u64::from_le_bytes(word(0)?),
            policy,
        })
    }

    /// Steps until `steps` have been taken in all; returns the metrics of each.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub fn train_until<E: Environment>(
        &mut self,
        steps: u64,
        environment: &mut E,
    ) -> Result<Vec<StepMetrics>, E::Error> {
        (self.step..steps).map(|_| self.step(environment)).collect()
    }

    /// One step: sample, grade, update. Where every group is rejected the step is taken without an
    /// update, and its metrics are the two counts of groups alone.
    ///
    /// # Errors
    /// The environment's own error; prompts or grades the trainer cannot use, or a loss or gradient
    /// that is not finite. The policy is then as it was after the last minibatch that worked.
    pub fn step<E: Environment>(&mut self, environment: &mut E) -> Result<StepMetrics, E::Error> {
        let _span = info_span!("trainer_step", step = self.step).entered();
        let rollouts = self.collect(environment)?;
        let metrics = self.learn(rollouts)?;
        report(&metrics);
        Ok(metrics)
    }

    /// The updates of one step, from its rollouts.
    fn learn(&mut self, rollouts: Rollouts) -> Result<StepMetrics, OptimizerError> {
        let mut metrics = describe(&rollouts);
        if rollouts.prompts.is_empty() {
            self.step += 1;
            return Ok(metrics);
        }
        let batch = self.prepare(rollouts)?;
        metrics.insert("frac_reward_zero_std", batch.advantages.constant_groups);
        let kl = self.log_divergence(&batch, &mut metrics);
        let entropy = metrics["entropy"];

        let kept: Vec<usize> =
            (0..batch.advantages.keep.len()).filter(|row| batch.advantages.keep[*row]).collect();
        metrics.insert("frac_rows_kept", kept.len() as f64 / batch.advantages.keep.len() as f64);
        let mut updates = UpdateSums::default();
        for epoch in 0..self.settings.config.epochs {
            let mut rows = kept.clone();
            if self.settings.config.minibatches > 1 {
                rows.shuffle(&mut self.streams.stream("minibatches", &[self.step, epoch as u64]));
            }
            let size = rows.len().div_ceil(self.settings.config.minibatches).max(1);
            for minibatch in rows.chunks(size) {
                self.update_policy(&batch, minibatch, &mut updates)?;
                self.update_critic(&batch, minibatch, &mut updates)?;
            }
        }
        updates.report(&mut metrics);
        self.objective.adapt(Observed { kl, entropy, samples: batch.rollouts.rewards.len() });
        self.step += 1;
        Ok(metrics)
    }

    /// Rollouts of one step; with dynamic sampling, only groups that carry a signal.
    fn collect<E: Environment>(&self, environment: &mut E) -> Result<Rollouts, E::Error> {
        let config = &self.settings.config;
        let dynamic = self.objective.config().dynamic_sampling;
        let attempts = if dynamic { config.generation_batches as u64 } else { 1 };
        let policy = self.policy.valid();
        let mut collected: Option<Rollouts> = None;
        for attempt in 0..attempts {
            let prompts = environment.prompts(self.step, attempt)?;
            let mut rollouts = Rollouts::collect(
                &policy,
                environment,
                prompts,
                (self.step, config.group_size),
                &self.settings.sampling,
                &self.streams.child("rollout", &[self.step, attempt]),
            )?;
            // The last attempt is kept whole: a batch without signal is better than none.
            if dynamic && attempt + 1 < attempts {
                let rows = dapo::informative(rollouts.accuracy(), config.group_size)?;
                let groups: Vec<bool> = rows.chunks(config.group_size).map(|g| g[0]).collect();
                rollouts.retain_groups(&groups)?;
            }
            match &mut collected {
                Some(collected) => collected.extend(rollouts)?,
                None => collected = Some(rollouts),
            }
            if let Some(collected) = &mut collected
                && collected.prompts.len() >= config.prompts_per_step
            {
                let keep: Vec<bool> =
                    (0..collected.prompts.len()).map(|g| g < config.prompts_per_step).collect();
                collected.retain_groups(&keep)?;
                break;
            }
        }
        collected
            .filter(|collected| !collected.prompts.is_empty() || collected.rejected > 0)
            .ok_or(OptimizerError::Missing { input: "prompts", needed_by: "a step" }.into())
    }

    fn prepare(&self, rollouts: Rollouts) -> Result<Batch, OptimizerError> {
        let lengths = rollouts.lengths();
        let old_log_probs = rollouts.old_log_probs();
        let temperature = self.settings.sampling.temperature;
        let reference_log_probs = self
            .reference
            .as_ref()
            .map(|reference| {
                self.score_rows(&rollouts, |batch| batch.scores(reference, temperature).log_probs)
            })
            .transpose()?;
        let values = self
            .critic
            .as_ref()
            .map(|(critic, _)| {
                let critic = critic.valid();
                self.score_rows(&rollouts, |batch| critic.values(batch))
            })
            .transpose()?;
        let truncated: Vec<bool> = rollouts.completions.iter().map(|c| !c.finished).collect();
        let advantages = self.objective.advantages(&Experience {
            accuracy: rollouts.accuracy.as_deref(),
            truncated: Some(&truncated),
            old_logp: Some(&old_log_probs),
            reference_logp: reference_log_probs.as_deref(),
            values: values.as_deref(),
            ..Experience::new(&rollouts.rewards, rollouts.group_size, &lengths)
        })?;
        Ok(Batch { rollouts, advantages, old_log_probs, reference_log_probs, values })
    }

    /// Per-token host rows of `score`, in micro-batches.
    fn score_rows(
        &self,
        rollouts: &Rollouts,
        score: impl Fn(&SequenceBatch) -> Tensor<2>,
    ) -> Result<TokenRows, OptimizerError> {
        let rows: Vec<usize> = (0..rollouts.completions.len()).collect();
        let mut scored = TokenRows::with_capacity(rows.len());
        for micro in rows.chunks(self.settings.config.micro_batch) {
            let pairs = micro.iter().map(|row| rollouts.pair(*row));
            let batch = SequenceBatch::new(pairs, self.policy.shape())?;
            let values = host(score(&batch));
            for (row, length) in values.chunks(batch.width).zip(&batch.lengths) {
                scored.push(row[..*length].iter().map(|v| f64::from(*v)).collect());
            }
        }
        Ok(scored)
    }

    /// Logs estimates of KL(policy, reference) and returns the one controllers see (0 without reference).
    fn log_divergence(&self, batch: &Batch, metrics: &mut StepMetrics) -> f64 {
        let Some(reference) = &batch.reference_log_probs else { return 0.0 };
        let rows = batch.old_log_probs.iter().zip(reference);
        let ratios: Vec<f64> = rows
            .flat_map(|(old, reference)| old.iter().zip(reference).map(|(o, r)| o - r))
            .collect();
        let mean = |f: fn(f64) -> f64| {
            ratios.iter().map(|d| f(*d)).sum::<f64>() / ratios.len().max(1) as f64
        };
        let k3 = mean(|d| (-d).exp() - 1.0 + d);
        metrics.insert("kl", k3);
        metrics.insert("kl/k1", mean(|d| d));
        k3
    }

    fn rate(&self) -> f64 {
        let warmup = self.settings.config.warmup_steps as f64;
        if warmup == 0.0 { 1.0 } else { ((self.step + 1) as f64 / warmup).min(1.0) }
    }

    fn update_policy(
        &mut self,
        batch: &Batch,
        minibatch: &[usize],
        updates: &mut UpdateSums,
    ) -> Result<(), OptimizerError> {
        let lengths = select(&batch.advantages.lengths, minibatch);
        let weights = self.objective.token_weights(&lengths);
        let entropy_weights = self.objective.entropy_weights(&lengths);
        let mut gradients = ModuleGradients::none();
        let mut loss_value = 0.0;
        for (chunk, rows) in minibatch.chunks(self.settings.config.micro_batch).enumerate() {
            let at = chunk * self.settings.config.micro_batch;
            let span = at..at + rows.len();
            let sequences = self.sequences(batch, rows)?;
            let (width, device) = (sequences.width, self.policy.device());
            let scores = sequences.scores(&self.policy, self.settings.sampling.temperature);
            let pad = |source: &TokenRows| pad_rows(&select(source, rows), width, &device);
            let old = pad(&batch.old_log_probs)?;
            let advantages = pad(&batch.advantages.tokens)?;
            let mask = mask_from_lengths(&select(&batch.advantages.lengths, rows), width, &device)?;
            let reference = batch.reference_log_probs.as_ref().map(pad).transpose()?;
            if self.settings.is_off_policy() {
                let (log_probs, old) = (scores.log_probs.clone(), old.clone());
                let (advantages, mask) = (advantages.clone(), mask.clone());
                let clips = self.objective.clip_fractions(log_probs, old, advantages, mask)?;
                updates.clip(clips.low, clips.high, rows.len());
            }
            let token_loss =
                self.objective.token_loss(scores.log_probs, old, reference, advantages, mask)?;
            let mut loss = (token_loss * pad_rows(&weights[span.clone()], width, &device)?).sum();
            if let Some(weights) = &entropy_weights {
                loss = loss + (scores.entropy * pad_rows(&weights[span], width, &device)?).sum();
            }
            loss_value += f64::from(host(loss.clone())[0]);
            gradients.add(ModuleGradients::of(&loss, &self.policy), &self.policy);
        }
        finite("loss", loss_value, self.optimizer.steps())?;
        let rate = self.rate();
        let norm = self.optimizer.step(&mut self.policy, gradients, rate)?;
        updates.policy(loss_value, norm);
        Ok(())
    }

    fn update_critic(
        &mut self,
        batch: &Batch,
        minibatch: &[usize],
        updates: &mut UpdateSums,
    ) -> Result<(), OptimizerError> {
        let rate = self.rate();
        let Some(config) = self.objective.critic() else { return Ok(()) };
        let Some((critic, optimizer)) = &self.critic else { return Ok(()) };
        let (Some(values), Some(returns)) = (&batch.values, &batch.advantages.returns) else {
            return Ok(());
        };
        let weights = self.objective.token_weights(&select(&batch.advantages.lengths, minibatch));
        let mut gradients = ModuleGradients::none();
        let mut loss_value = 0.0;
        for (chunk, rows) in minibatch.chunks(self.settings.config.micro_batch).enumerate() {
            let at = chunk * self.settings.config.micro_batch;
            let sequences = self.sequences(batch, rows)?;
            let (width, device) = (sequences.width, self.policy.device());
            let pad = |source: &TokenRows| pad_rows(&select(source, rows), width, &device);
            let loss = config.value_loss(critic.values(&sequences), pad(values)?, pad(returns)?);
            let weights = pad_rows(&weights[at..at + rows.len()], width, &device)?;
            let loss = (loss * weights).sum();
            loss_value += f64::from(host(loss.clone())[0]);
            gradients.add(ModuleGradients::of(&loss, critic), critic);
        }
        finite("value loss", loss_value, optimizer.steps())?;
        if let Some((critic, optimizer)) = &mut self.critic {
            optimizer.step(critic, gradients, rate)?;
        }
        updates.critic(loss_value);
        Ok(())
    }

    fn sequences(&self, batch: &Batch, rows: &[usize]) -> Result<SequenceBatch, OptimizerError> {
        let pairs = rows.iter().map(|row| batch.rollouts.pair(*row));
        Ok(SequenceBatch::new(pairs, self.policy.shape())?)
    }
}

fn finite(what: &'static str, value: f64, step: usize) -> Result<(), OptimizerError> {
    if value.is_finite() {
        return Ok(());
    }
    let value = value.to_string();
    Err(OptimizerError::Model(headwater_nn::NnError::NotFinite { what, value, step }))
}

fn select<T: Clone>(rows: &[T], at: &[usize]) -> Vec<T> {
    at.iter().map(|row| rows[*row].clone()).collect()
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.inner().try_into_vec_as::<f32>().expect("every float tensor here is f32")
}
