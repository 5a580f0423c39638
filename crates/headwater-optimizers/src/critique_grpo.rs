//! Critique-GRPO: refinements written under a critique, trained under the plain prompt (arXiv 2506.03106, v6).
//!
//! For a prompt `q`: rollouts `y_1..y_n` of `pi_old(.|q)` with rewards in {0, 1}. Where refinement is due, one
//! refinement of `pi_old(.|q, y_i, c_i)` per rollout, `c_i` the critique of `y_i`; `k` of them are kept, right ones
//! first. With `mu` the mean reward of rollouts and kept refinements together and `A = R - mu`,
//!
//! `loss = -[1/n sum_i sum_t clip_pg(r_t, A_i) + 1/k sum_j sum_t min(rho_t A_j, clip(rho_t, 1 +- eps) A_j)]`,
//!
//! `r_t = pi(y_t|q) / pi_old(y_t|q)`, `rho_t = pi(z_t|q) / (pi(z_t|q) + gamma)`, `gamma = 0.1`: no division by the group's
//! deviation or by length, no KL. Without a refinement it is Dr. GRPO's loss at a constant of 1.
//!
//! **Shaping.** `grad rho = Psi(pi) grad log pi` with `Psi = gamma pi / (pi + gamma)^2`: 1/4, its maximum, at
//! `pi = gamma`; `pi / gamma` for rare tokens, so that they weigh 10 times what they weigh unshaped (`pi`), and less
//! than under maximum likelihood (1); 0 in both limits of `gamma`.
//!
//! **The clip** of the printed formula is on a `rho` that never exceeds `1 / (1 + gamma)`. For `A > 0` it binds nowhere if
//! `eps` is at least 0; for `A < 0` it takes the gradient from every token with `rho < 1 - eps`, that is `pi` below about
//! 0.4: only wrong tokens that the policy is sure of are pushed down.
//!
//! | | this module | paper, v6 | released code (e8f03a2) |
//! |---|---|---|---|
//! | refined | [`Refine`] | prompts on which every rollout failed | every prompt |
//! | clip of `rho` | [`CritiqueGrpoConfig::refinement_clip`] | 0.2 | removed |
//! | divided by the deviation | no | no | yes: the script sets another flag than the trainer reads |
//! | sums | `1/n` and `1/k` | `1/n` and `1/k` | one pooled sum over the longest response |
//! | kept | right ones first, else at random | the same | the first right one, else the best |
//!
//! [`RefinementWeight::ImportanceRatio`] is ICRL's weight (arXiv 2605.15224), which trusts tokens that are plausible
//! without the critique, where the shaping lifts those that are not.

use burn::tensor::Tensor;
use headwater_core::{Check, ConfigError, StreamRng, require, require_positive};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::ppo::{Clip, clipped_surrogate};
use crate::statistics::{centred, require_finite};
use crate::tokens::{EXPONENT_LIMIT, require_shape, zero_padding};
use crate::{OptimizerError, TokenBatch, ppo};

mod trainer;

pub use trainer::{
    Attempt, Critic, CritiqueTrainer, CritiqueTrainerConfig, CritiqueTrainerSettings,
};

/// Which prompts are refined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refine {
    /// None: Dr. GRPO.
    Never,
    /// Those on which every rollout has reward 0 or less (paper, v6).
    StuckPrompts,
    /// Every one (released code); a right attempt is then criticised as right.
    EveryPrompt,
}

/// What a refinement's tokens weigh in its loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RefinementWeight {
    /// `rho = pi / (pi + gamma)` (the method).
    Shaped {
        /// Finite, at least 1.2e-38, below which there is nothing in f32; published 0.1.
        gamma: f64,
    },
    /// `rho = pi`: an importance ratio whose behaviour probability is taken to be 1 (the method without shaping).
    Probability,
    /// `rho = log pi`: every token has weight 1, as in supervised training.
    Likelihood,
    /// `min(pi(z_t|q) / pi_old(z_t|q, y, c), cap)` as a constant before `log pi` (ICRL). A constant, so that tokens at the
    /// cap keep their gradient.
    ImportanceRatio {
        /// Finite, above 0.
        cap: f64,
    },
    /// Not in the loss: a refinement only moves the mean, and with it the rollouts' advantages.
    BaselineOnly,
}

impl RefinementWeight {
    /// The factor before `grad log pi` of a token of probability `probability` in (0, 1] under the plain prompt, and
    /// `behaviour` under the critique.
    #[must_use]
    pub fn gradient_weight(&self, probability: f64, behaviour: f64) -> f64 {
        match *self {
            Self::Shaped { gamma } => gamma * probability / (probability + gamma).powi(2),
            Self::Probability => probability,
            Self::Likelihood => 1.0,
            Self::ImportanceRatio { cap } => (probability / behaviour).min(cap),
            Self::BaselineOnly => 0.0,
        }
    }

    /// `rho` of every token `[n, t]`, tracked for gradients through `logp`; `critique_logp` are the log-probabilities under
    /// the critique, constants.
    fn rho(&self, logp: Tensor<2>, critique_logp: Tensor<2>) -> Tensor<2> {
        match *self {
            Self::Shaped { gamma } => {
                let probability = logp.exp();
                probability.clone() / probability.add_scalar(gamma)
            }
            Self::Probability => logp.exp(),
            Self::Likelihood => logp,
            Self::ImportanceRatio { cap } => {
                let log_ratio = logp.clone().detach() - critique_logp;
                // Capped before the exponential, which can then not overflow.
                log_ratio.clamp_max(cap.ln().min(EXPONENT_LIMIT)).exp() * logp
            }
            // Not a constant, so that there is a graph even where there is nothing else in the loss.
            Self::BaselineOnly => logp.mul_scalar(0.0),
        }
    }
}

/// Critique-GRPO, unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CritiqueGrpoConfig {
    /// Which prompts are refined.
    pub refine: Refine,
    /// Refinements kept per refined prompt (k), at least 1; published 1 with 7 rollouts.
    pub kept: usize,
    /// What their tokens weigh.
    pub weight: RefinementWeight,
    /// Clip of `rho`; `None` is off. Only for weights that are probabilities.
    pub refinement_clip: Option<Clip>,
    /// Clip of the rollouts' ratio.
    pub clip: Clip,
}

impl Default for CritiqueGrpoConfig {
    /// As printed in v6.
    fn default() -> Self {
        Self {
            refine: Refine::StuckPrompts,
            kept: 1,
            weight: RefinementWeight::Shaped { gamma: 0.1 },
            refinement_clip: Some(Clip::symmetric(0.2)),
            clip: Clip::symmetric(0.2),
        }
    }
}

/// A checked [`CritiqueGrpoConfig`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CritiqueGrpo(CritiqueGrpoConfig);

impl Check for CritiqueGrpoConfig {
    type Checked = CritiqueGrpo;

    fn check(self) -> Result<CritiqueGrpo, ConfigError> {
        const CONFIG: &str = "CritiqueGrpoConfig";
        require(self.kept > 0, CONFIG, "kept", self.kept, "1 or more")?;
        let positive = |value: f64, field| require_positive(CONFIG, field, value);
        let bounded = match self.weight {
            RefinementWeight::Shaped { gamma } => {
                // As f32 makes 0 of it, a token of probability 0 would weigh 0 / 0.
                let holds = gamma.is_finite() && gamma >= f64::from(f32::MIN_POSITIVE);
                let allowed = "a finite number of at least 1.2e-38";
                require(holds, CONFIG, "weight.gamma", gamma, allowed).map(|()| true)?
            }
            RefinementWeight::ImportanceRatio { cap } => {
                positive(cap, "weight.cap").map(|()| false)?
            }
            RefinementWeight::Probability => true,
            RefinementWeight::Likelihood | RefinementWeight::BaselineOnly => false,
        };
        require(
            bounded || self.refinement_clip.is_none(),
            CONFIG,
            "refinement_clip",
            "set",
            "none, where the weight is neither shaped nor a probability",
        )?;
        self.refinement_clip.map_or(Ok(()), |clip| clip.validate())?;
        self.clip.validate()?;
        Ok(CritiqueGrpo(self))
    }
}

impl CritiqueGrpo {
    /// The config.
    #[must_use]
    pub fn config(&self) -> CritiqueGrpoConfig {
        self.0
    }

    /// Whether the prompt of these rollout rewards is refined.
    #[must_use]
    pub fn refines(&self, rewards: &[f64]) -> bool {
        match self.0.refine {
            Refine::Never => false,
            Refine::StuckPrompts => rewards.iter().all(|reward| *reward <= 0.0),
            Refine::EveryPrompt => true,
        }
    }

    /// Indices of the refinements to keep, ascending: right ones (reward above 0) first, ties at random.
    #[must_use]
    pub fn choose(&self, rewards: &[f64], stream: &mut StreamRng) -> Vec<usize> {
        let mut order: Vec<usize> = (0..rewards.len()).collect();
        order.shuffle(stream);
        order.sort_by_key(|at| rewards[*at] <= 0.0);
        order.truncate(self.0.kept);
        order.sort_unstable();
        order
    }

    /// The clipped policy gradient of the rollouts, per token `[n, t]`, to be weighted by `1/n` of its group.
    #[must_use]
    pub fn rollout_token_loss(&self, tokens: &TokenBatch) -> Tensor<2> {
        ppo::token_loss(tokens, &self.0.clip, Some(20.0))
    }

    /// The loss of every token of kept refinements, `[n, t]`, 0 on padding, to be weighted by `1/k` of its group:
    /// `logp` under the plain prompt, tracked; `critique_logp` under the critique, by the policy that sampled.
    ///
    /// # Errors
    /// [`OptimizerError::Shape`] when a tensor's shape differs from `logp`'s.
    pub fn refinement_token_loss(
        &self,
        logp: Tensor<2>,
        critique_logp: Tensor<2>,
        advantages: Tensor<2>,
        mask: Tensor<2>,
    ) -> Result<Tensor<2>, OptimizerError> {
        for (what, tensor) in
            [("critique_logp", &critique_logp), ("advantages", &advantages), ("mask", &mask)]
        {
            require_shape(what, tensor, &logp)?;
        }
        let mask = mask.detach();
        let (logp, critique_logp) = (zero_padding(logp, &mask), zero_padding(critique_logp, &mask));
        let rho = self.0.weight.rho(logp, critique_logp.detach());
        let advantages = advantages.detach();
        let loss = match &self.0.refinement_clip {
            Some(clip) => clipped_surrogate(rho, advantages, clip),
            None => (rho * advantages).neg(),
        };
        Ok(zero_padding(loss, &mask))
    }
}

/// Advantages of one prompt's rollouts and of its kept refinements: reward less the mean over both
/// together, exactly 0 where all are alike up to rounding.
///
/// # Errors
/// [`OptimizerError::NotFinite`] for rewards, or advantages of them.
pub fn mixed_advantages(
    rollouts: &[f64],
    refinements: &[f64],
) -> Result<(Vec<f64>, Vec<f64>), OptimizerError> {
    require_finite("rollout rewards", rollouts)?;
    require_finite("refinement rewards", refinements)?;
    let all: Vec<f64> = rollouts.iter().chain(refinements).copied().collect();
    let mut relative = centred(&all);
    require_finite("advantages", &relative)?;
    let of_refinements = relative.split_off(rollouts.len());
    Ok((relative, of_refinements))
}
