//! Policy-gradient objectives for language models on burn: REINFORCE, RLOO, REINFORCE++, PPO, GRPO,
//! Dr. GRPO, DAPO, GSPO, CISPO, PSR, NSR and W-REINFORCE; Critique-GRPO with a trainer of its own.
//!
//! Each method is one file with its equation, its paper, the variant chosen and where TRL, verl and
//! OpenRLHF differ; every such difference is a field of [`ObjectiveConfig`]. A checked
//! [`Objective`] is what a trainer talks to, without knowing which method it holds:
//!
//! 1. [`Objective::advantages`]: rewards of a batch to per-token advantages, on the host in f64;
//! 2. [`Objective::token_weights`]: lengths of a whole minibatch to constant token weights;
//! 3. [`Objective::token_loss`]: log-probabilities to a token loss on the device. The loss is
//!    `sum(weights * token_loss)`, so no gradient depends on how a minibatch was cut up.
//!
//! A [`Trainer`] takes an [`Environment`]: prompts, decoding, grading. [`RewardEnvironment`] makes one of
//! any reward; `examples/train_on_a_reward.rs` is one to start from.
//!
//! Where feedback is more than a number, a response is scored a second time under a prompt that holds it
//! ([`TwoContexts`]). What comes of that are token advantages ([`distillation::gaps`]) and token losses
//! ([`distillation::Divergence`], [`top_k::TopK`]) of the same shapes as above, so that they add to those of
//! an objective; [`directive::Hybrid`] does, in both ways published.
//!
//! Invariants: an objective is a pure function of log-probabilities, advantages and masks; it
//! samples nothing and reads no model. No part of the crate reads a clock, an environment or a
//! file. NaN in host input is an error; tensors are not read back, so the caller of `token_loss`
//! checks the loss.
//!
//! ```
//! use burn::tensor::Device;
//! use headwater_optimizers::{Experience, Objective, mask_from_lengths, pad_rows};
//!
//! # fn main() -> Result<(), headwater_optimizers::OptimizerError> {
//! let objective = Objective::dr_grpo(8);
//! // Two prompts with two completions each; the second prompt was answered right twice.
//! let (rewards, lengths) = ([1.0, 0.0, 1.0, 1.0], [3, 2, 1, 3]);
//! let batch = objective.advantages(&Experience::new(&rewards, 2, &lengths))?;
//! assert_eq!(batch.tokens[0], [0.5, 0.5, 0.5]);
//! assert_eq!(batch.constant_groups, 0.5);
//!
//! let device = Device::flex().autodiff();
//! let logp = pad_rows(&[vec![-1.0; 3], vec![-2.0; 2], vec![-0.5], vec![-1.0; 3]], 3, &device)?
//!     .require_grad();
//! let weights = pad_rows(&objective.token_weights(&batch.lengths), 3, &device)?;
//! let token_loss = objective.token_loss(
//!     logp.clone(),
//!     logp.clone(), // on-policy: sampled by the policy that is being updated
//!     None,         // no reference: Dr. GRPO has no KL penalty
//!     pad_rows(&batch.tokens, 3, &device)?,
//!     mask_from_lengths(&batch.lengths, 3, &device)?,
//! )?;
//! let gradients = (token_loss * weights).sum().backward();
//! assert!(logp.grad(&gradients).is_some());
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod aggregation;
pub mod cispo;
pub mod critique_grpo;
pub mod dapo;
pub mod directive;
pub mod distillation;
pub mod dpo;
pub mod dr_grpo;
pub mod entropy;
mod error;
mod estimator;
mod experience;
pub mod grpo;
pub mod gspo;
pub mod kl;
mod objective;
mod policy_loss;
pub mod ppo;
pub mod psr_nsr;
pub mod reinforce;
pub mod reinforce_plus_plus;
pub mod rloo;
mod rollout;
mod statistics;
mod step_metrics;
mod teacher;
mod tokens;
pub mod top_k;
mod trainer;
mod two_context;
mod value_model;

pub use critique_grpo::{CritiqueGrpo, CritiqueGrpoConfig, CritiqueTrainer};
pub use error::OptimizerError;
pub use estimator::AdvantageEstimator;
pub use experience::{Advantages, Experience};
pub use objective::{Objective, ObjectiveConfig, Observed};
pub use policy_loss::{ClipFractions, PolicyLoss};
pub use rollout::{Environment, Grade, RewardEnvironment, Rollouts, graded_by};
pub use statistics::Whitening;
pub use step_metrics::StepMetrics;
pub use teacher::ema_update;
pub use tokens::{TokenBatch, TokenRows, mask_from_lengths, pad_rows};
pub use trainer::{Trainer, TrainerConfig, TrainerSettings};
pub use two_context::{TwoContexts, at_targets};
pub use value_model::ValueModel;
