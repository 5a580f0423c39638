//! One update from a batch of interactions, whatever the task: what a method makes of votes and hints.

use headwater_core::Check;
use headwater_nn::{AdamW, AdamWConfig, Decoder};
use headwater_optimizers::directive::{Hybrid, HybridConfig, Turn};
use headwater_optimizers::{Experience, Objective, follow};
use headwater_protocol::CellError;
use serde::{Deserialize, Serialize};

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
    /// Share of its distance to the policy that the teacher goes after every update: 1 the policy itself, 0 the
    /// frozen base.
    pub(super) teacher_rate: f64,
    pub(super) adamw: AdamWConfig,
    /// Updates over which the learning rate rises linearly from 0.
    pub(super) warmup: usize,
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

    /// One step on interactions of the policy as it stands, those of one prompt next to each other in groups of
    /// `group_size`. A batch that tells this method nothing makes no step.
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
            follow(teacher, &self.policy, self.config.teacher_rate)?;
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
    use super::super::arms::{Amounts, style_arms};
    use super::*;
    use crate::tasks::house_style::{CONTEXT, Hint, Request, any_style, vocabulary};
    use headwater_core::Streams;
    use headwater_nn::{Checkpoint, DecoderConfig, Device};

    fn learner(arm: &str) -> Learner {
        let arms = style_arms(&Amounts::QUICK);
        let course = arms.into_iter().find(|(name, _)| name == arm).unwrap().1;
        let shape = DecoderConfig {
            vocabulary: vocabulary().size(),
            context: CONTEXT,
            ..DecoderConfig::default()
        };
        let mut weights = Streams::new(1).stream("weights", &[]);
        let device = Device::flex().autodiff();
        let base = Decoder::initialise(&shape.check().unwrap(), &mut weights, &device);
        Learner::new(base, course.learner.unwrap()).unwrap()
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

    /// What is left of an arm's base after one update.
    fn after(arm: &str, votes: [f64; 4], hinted: bool) -> Vec<u8> {
        let mut learner = learner(arm);
        learner.update(&interactions(votes, hinted), 4).unwrap();
        Checkpoint::of(learner.policy()).to_bytes()
    }

    #[test]
    fn every_method_hears_its_own_signals_and_no_others() {
        let untouched = Checkpoint::of(learner("grpo").policy()).to_bytes();
        let (equal, mixed) = ([-1.0; 4], [1.0, -1.0, -1.0, 1.0]);
        // A group that agrees tells GRPO nothing, and hints never do.
        assert_eq!(after("grpo", equal, true), untouched);
        assert_ne!(after("grpo", mixed, false), untouched);
        assert_eq!(after("grpo", mixed, true), after("grpo", mixed, false));
        // Without a baseline, agreement is a signal, too.
        assert_ne!(after("scalar", equal, false), untouched);
        for arm in ["opd-sampled", "opd-reverse", "opd-top4"] {
            assert_eq!(after(arm, mixed, false), untouched, "{arm}");
            assert_ne!(after(arm, mixed, true), untouched, "{arm}");
            assert_eq!(after(arm, mixed, true), after(arm, equal, true), "{arm}");
        }
        for arm in ["hybrid", "hybrid-sum"] {
            assert_ne!(after(arm, mixed, true), after(arm, mixed, false), "{arm}");
            assert_ne!(after(arm, mixed, true), after(arm, equal, true), "{arm}");
        }
        // At the hybrid's learning rate.
        assert_eq!(after("hybrid", mixed, false), after("one.votes.grpo", mixed, false));
    }
}
