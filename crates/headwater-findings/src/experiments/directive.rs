//! What the experiments of `directive-feedback` share: a base trained on demonstrations, the
//! methods, and one update from a batch of interactions, whatever the task.

use headwater_core::{Check, Example, StreamRng, Streams};
use headwater_nn::{AdamW, AdamWConfig, Decoder, DecoderConfig, Device};
use headwater_optimizers::directive::{Hybrid, HybridConfig, Signal, Turn};
use headwater_optimizers::distillation::Divergence;
use headwater_optimizers::{Experience, Objective, ObjectiveConfig, ema_update};
use headwater_protocol::{CellError, Metrics, Series};
use serde::{Deserialize, Serialize};

use crate::training;

/// Cross-entropy of the demonstrations, by step of supervised training.
pub(super) const LOSS: Series = Series::new("training/loss");

/// Supervised training of a base.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pretraining {
    pub(super) decoder: DecoderConfig,
    pub(super) adamw: AdamWConfig,
    pub(super) steps: usize,
    pub(super) batch: usize,
}

/// The shape of every policy.
pub(super) fn decoder(vocabulary: usize, context: usize) -> DecoderConfig {
    DecoderConfig {
        vocabulary,
        width: 48,
        layers: 2,
        heads: 4,
        key_value_heads: 4,
        hidden: 96,
        context,
        rotary_base: 100.0,
        ..DecoderConfig::default()
    }
}

/// Trains a base on demonstrations.
pub(super) fn pretrain(
    config: &Pretraining,
    draw: impl Fn(&mut StreamRng) -> Example,
    streams: &Streams,
    device: &Device,
) -> Result<(Decoder, Metrics), CellError> {
    let mut weights = streams.stream("weights", &[]);
    let start = Decoder::initialise(&config.decoder.clone().check()?, &mut weights, device);
    let length = (config.steps, config.batch);
    let (policy, losses) =
        training::pretrain(start, config.adamw.clone(), length, streams, |_, s| Ok(draw(s)))?;
    Ok((policy, Metrics::new().series(&LOSS, losses)))
}

/// The gap of teacher and policy at the sampled token.
pub(super) const SAMPLED: Signal = Signal::SampledGap { limit: None };
/// The reverse KL over the whole vocabulary.
pub(super) const REVERSE: Signal = Signal::Divergence(Divergence::ReverseKl);

/// GRPO without its penalty: there is no reference here, for any method.
pub(super) fn grpo() -> Objective {
    ObjectiveConfig { kl: None, ..Objective::grpo().config() }
        .try_into()
        .expect("GRPO's other settings do not depend on its penalty")
}

/// Votes only.
pub(super) fn votes_only(objective: Objective) -> HybridConfig {
    HybridConfig { objective, directive_weight: 0.0, ..HybridConfig::new(REVERSE) }
}

/// Hints only; the objective says how tokens are weighted.
pub(super) fn hints_only(signal: Signal) -> HybridConfig {
    HybridConfig { objective: grpo(), scalar_weight: 0.0, ..HybridConfig::new(signal) }
}

/// The full-vocabulary directive loss beside GRPO's.
pub(super) fn hybrid() -> HybridConfig {
    HybridConfig { objective: grpo(), ..HybridConfig::new(REVERSE) }
}

/// One response and what came of it.
#[derive(Debug, Clone)]
pub(super) struct Interaction {
    pub(super) prompt: Vec<u32>,
    pub(super) response: Vec<u32>,
    /// The judge's vote: 1, 0 or -1.
    pub(super) vote: f64,
    /// The prompt with the hint in it, where there was one.
    pub(super) informed: Option<Vec<u32>>,
}

/// How a policy learns from interactions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LearnerConfig {
    pub(super) method: HybridConfig,
    /// Share of its distance to the policy that the teacher goes after every update: 1 the policy
    /// itself, 0 the frozen base.
    pub(super) teacher_rate: f64,
    pub(super) adamw: AdamWConfig,
    /// Updates over which the learning rate rises linearly from 0.
    pub(super) warmup: usize,
}

impl LearnerConfig {
    /// A method with the usual teacher, a moving average (SDPO's).
    pub(super) fn new(method: HybridConfig, learning_rate: f64) -> Self {
        let adamw = AdamWConfig { learning_rate, weight_decay: 0.0, ..AdamWConfig::default() };
        Self { method, teacher_rate: 0.05, adamw, warmup: 20 }
    }
}

/// A policy that learns from interactions.
pub(super) struct Learner {
    policy: Decoder,
    /// `None` where the policy teaches itself.
    teacher: Option<Decoder>,
    optimizer: AdamW,
    hybrid: Hybrid,
    config: LearnerConfig,
    updates: usize,
}

impl Learner {
    pub(super) fn new(base: Decoder, config: LearnerConfig) -> Result<Self, CellError> {
        Ok(Self {
            teacher: (config.teacher_rate < 1.0).then(|| base.clone()),
            policy: base,
            optimizer: AdamW::new(config.adamw.clone().check()?),
            hybrid: config.method.check()?,
            config,
            updates: 0,
        })
    }

    pub(super) fn policy(&self) -> &Decoder {
        &self.policy
    }

    /// Who reads the hints.
    pub(super) fn teacher(&self) -> &Decoder {
        self.teacher.as_ref().unwrap_or(&self.policy)
    }

    /// One step on interactions of the policy as it stands, those of one prompt next to each other
    /// in groups of `group_size`. A batch that tells this method nothing makes no step.
    pub(super) fn update(
        &mut self,
        interactions: &[Interaction],
        group_size: usize,
    ) -> Result<(), CellError> {
        let HybridConfig { objective, scalar_weight, directive_weight, .. } = self.config.method;
        let advantages = scalar_advantages(&objective, interactions, group_size)?;
        let turns: Vec<Turn<'_>> = interactions
            .iter()
            .zip(&advantages)
            .map(|(interaction, advantages)| Turn {
                prompt: &interaction.prompt,
                response: &interaction.response,
                advantages,
                informed: interaction.informed.as_deref().filter(|_| directive_weight > 0.0),
            })
            .collect();
        let rate = ((self.updates + 1) as f64 / self.config.warmup.max(1) as f64).min(1.0);
        self.updates += 1;
        let is_scored = scalar_weight > 0.0 && advantages.iter().flatten().any(|a| *a != 0.0);
        if !is_scored && turns.iter().all(|turn| turn.informed.is_none()) {
            return Ok(());
        }
        let loss = self.hybrid.loss(&self.policy, self.teacher(), &turns)?;
        self.optimizer.minimise(&mut self.policy, loss, rate)?;
        if let Some(teacher) = &mut self.teacher
            && self.config.teacher_rate > 0.0
        {
            ema_update(teacher, &self.policy, self.config.teacher_rate)?;
        }
        Ok(())
    }
}

/// The advantage of every token by the votes alone.
pub(super) fn scalar_advantages(
    objective: &Objective,
    interactions: &[Interaction],
    group_size: usize,
) -> Result<Vec<Vec<f64>>, CellError> {
    let votes: Vec<f64> = interactions.iter().map(|i| i.vote).collect();
    let lengths: Vec<usize> = interactions.iter().map(|i| i.response.len()).collect();
    Ok(objective.advantages(&Experience::new(&votes, group_size, &lengths))?.tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_nn::Checkpoint;
    use headwater_optimizers::top_k::TopK;
    use headwater_tasks::house_style::{CONTEXT, Hint, Request, any_style, vocabulary};

    fn learner(method: HybridConfig) -> Learner {
        let shape = DecoderConfig {
            vocabulary: vocabulary().size(),
            context: CONTEXT,
            ..DecoderConfig::default()
        };
        let mut weights = Streams::new(1).stream("weights", &[]);
        let device = Device::flex().autodiff();
        let base = Decoder::initialise(&shape.check().unwrap(), &mut weights, &device);
        Learner::new(base, LearnerConfig::new(method, 3e-4)).unwrap()
    }

    fn interactions(votes: [f64; 4], hinted: bool) -> Vec<Interaction> {
        let mut stream = Streams::new(2).stream("interactions", &[]);
        let interaction = |vote| {
            let request = Request::draw(&mut stream);
            let hint = Hint { slot: 1, value: 5 };
            Interaction {
                prompt: request.prompt(&[]),
                response: request.response(any_style(&mut stream)),
                vote,
                informed: hinted.then(|| request.prompt(&[hint])),
            }
        };
        votes.map(interaction).to_vec()
    }

    /// What is left of the base after one update.
    fn after(method: HybridConfig, votes: [f64; 4], hinted: bool) -> Vec<u8> {
        let mut learner = learner(method);
        learner.update(&interactions(votes, hinted), 4).unwrap();
        Checkpoint::of(learner.policy()).to_bytes()
    }

    #[test]
    fn every_method_hears_its_own_signals_and_no_others() {
        let votes = votes_only(grpo());
        let untouched = Checkpoint::of(learner(votes).policy()).to_bytes();
        let (equal, mixed) = ([-1.0; 4], [1.0, -1.0, -1.0, 1.0]);
        // A group that agrees tells GRPO nothing, and hints never do.
        assert_eq!(after(votes, equal, true), untouched);
        assert_ne!(after(votes, mixed, false), untouched);
        assert_eq!(after(votes, mixed, true), after(votes, mixed, false));
        // Without a baseline, agreement is a signal, too.
        assert_ne!(after(votes_only(Objective::binary_rl()), equal, false), untouched);
        for signal in [SAMPLED, REVERSE, Signal::TopK(TopK::personal())] {
            let hints = hints_only(signal);
            assert_eq!(after(hints, mixed, false), untouched, "{signal:?}");
            assert_ne!(after(hints, mixed, true), untouched, "{signal:?}");
            assert_eq!(after(hints, mixed, true), after(hints, equal, true), "{signal:?}");
        }
        for both in [hybrid(), HybridConfig::new(SAMPLED)] {
            assert_ne!(after(both, mixed, true), after(both, mixed, false), "{both:?}");
            assert_ne!(after(both, mixed, true), after(both, equal, true), "{both:?}");
        }
        assert_eq!(after(hybrid(), mixed, false), after(votes, mixed, false));
    }
}
