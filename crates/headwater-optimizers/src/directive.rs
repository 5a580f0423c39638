//! Evaluative and directive feedback in one update: OpenClaw-RL (arXiv 2603.10165).
//!
//! A turn's next state says how good the response was (a vote in {1, 0, -1}, hence a scalar
//! advantage) and, at times, how it should have been (a hint, hence a second prompt to score the
//! same response under). Both versions of the paper, and their parts alone by a weight of 0:
//!
//! - v1 adds *advantages*: `A_t = w_scalar r + w_directive (log T(y_t) - log pi(y_t))`, one clipped
//!   surrogate ([`Signal::SampledGap`]);
//! - v2 adds *losses*: `w_scalar L_scalar + w_directive L_directive` at every token
//!   ([`Signal::TopK`]; with [`Signal::Divergence`] the directive part is SDPO's or GKD's loss).
//!
//! Where the clip does not act (on-policy) the two sums are the same for one signal. They differ in
//! the signal: v2 limits the gap and looks at the four likeliest tokens instead of the sampled one.
//! The versions contradict each other on what hints do alone: second best in v1, worst in v2.
//!
//! Differences from the released code:
//! - Its first version asks a model that is never synchronised for the teacher's log-probabilities:
//!   a frozen teacher in effect. Here the teacher is an argument; [`ema_update`](crate::ema_update) makes
//!   it frozen, moving or current.
//! - A turn with a hint and no vote has `r = 0`, one with a vote and no hint no directive part (v1
//!   gets there by letting the teacher's log-probabilities be the policy's). Turns with neither
//!   should not be given: every turn given counts in the token weights.
//! - How the mean over tokens is taken the text does not say; [`Objective::binary_rl`] takes it in
//!   each response first.
//!
//! ```
//! use headwater_core::{Check, Streams};
//! use headwater_nn::{AdamW, AdamWConfig, Decoder, DecoderConfig, Device};
//! use headwater_optimizers::directive::{HybridConfig, Signal, Turn};
//! use headwater_optimizers::distillation::Divergence;
//!
//! let shape = DecoderConfig { vocabulary: 11, width: 16, ..DecoderConfig::default() }.check()?;
//! let mut stream = Streams::new(1).stream("weights", &[]);
//! let mut policy = Decoder::initialise(&shape, &mut stream, &Device::flex().autodiff());
//! let mut optimizer = AdamW::new(AdamWConfig::default().check()?);
//! let hybrid = HybridConfig::new(Signal::Divergence(Divergence::ReverseKl)).check()?;
//! // Two responses to one prompt: one was only called right, for one a hint says what it lacked.
//! let turn = Turn { prompt: &[3, 4], response: &[5, 2], advantages: &[1.0; 2], informed: None };
//! let hinted = Turn { advantages: &[-1.0; 2], informed: Some(&[3, 4, 8, 6]), ..turn };
//! let loss = hybrid.loss(&policy, &policy, &[turn, hinted])?;
//! optimizer.minimise(&mut policy, loss, 1.0)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use burn::module::Module;
use burn::tensor::Tensor;
use headwater_core::{Check, ConfigError, require, require_non_negative, require_positive};
use headwater_nn::Decoder;
use serde::{Deserialize, Serialize};

use crate::aggregation::Mode;
use crate::distillation::{Divergence, check_limit, gaps, pairwise};
use crate::ppo::Clip;
use crate::reinforce::Baseline;
use crate::statistics::{require_finite, require_length};
use crate::top_k::TopK;
use crate::{AdvantageEstimator, Objective, ObjectiveConfig, PolicyLoss};
use crate::{OptimizerError, TokenRows, TwoContexts, at_targets, pad_rows};

/// One response of the current policy, and what came of it.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    /// What the policy read.
    pub prompt: &'a [u32],
    /// What it sampled, at least one token.
    pub response: &'a [u32],
    /// The scalar advantage of every token of the response, as [`Objective::advantages`] gives
    /// them.
    pub advantages: &'a [f64],
    /// The prompt with the hint in it, where there was one.
    pub informed: Option<&'a [u32]>,
}

/// What is made of a hint.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Signal {
    /// v1: the gap at the sampled token, added to the scalar advantage.
    SampledGap {
        /// Limit on the gap, nats, above 0; v1 has none.
        limit: Option<f64>,
    },
    /// A divergence over the full vocabulary, as a loss beside the scalar one.
    Divergence(Divergence),
    /// v2: top-k distillation, as a loss beside the scalar one.
    TopK(TopK),
}

impl Signal {
    /// How much is said about every token of the responses, at least 0, one row for each: `|A_t|`
    /// for the sampled gap, `sum_v |c_v|` for a divergence ([`Divergence::signals`]), `sum_v |A_v|`
    /// for the top-k loss. A scalar says as much about every token of a response; how well a hint
    /// finds the token it is about is the share of the response's sum that falls on it.
    ///
    /// # Errors
    /// [`OptimizerError::Config`].
    pub fn mass(
        &self,
        contexts: &TwoContexts,
        policy: &Decoder,
        teacher: &Decoder,
        temperature: f64,
    ) -> Result<TokenRows, OptimizerError> {
        self.validate()?;
        let student = contexts.student(&policy.valid(), temperature);
        let teacher = contexts.teacher(teacher, temperature);
        let of_entries = match self {
            Self::SampledGap { limit } => {
                let gaps = sampled_gaps(contexts, student, teacher, *limit)?;
                let absolute = |row: Vec<f64>| row.into_iter().map(f64::abs).collect();
                return Ok(gaps.into_iter().map(absolute).collect());
            }
            Self::Divergence(divergence) => divergence.signals(student, teacher),
            Self::TopK(top_k) => top_k.advantages(student, teacher),
        };
        Ok(contexts.rows(of_entries.abs().sum_dim(2).squeeze_dim(2)))
    }

    fn validate(&self) -> Result<(), ConfigError> {
        match self {
            Self::SampledGap { limit } => check_limit("Signal", *limit),
            Self::Divergence(divergence) => divergence.validate(),
            Self::TopK(top_k) => top_k.validate(),
        }
    }
}

/// An unchecked [`Hybrid`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HybridConfig {
    /// The scalar half, and how token losses are weighted in both halves; without KL penalty and
    /// entropy bonus.
    pub objective: Objective,
    /// The directive half.
    pub signal: Signal,
    /// Weight of the scalar half, at least 0 (1 in both versions).
    pub scalar_weight: f64,
    /// Weight of the directive half, at least 0 (1 in both versions).
    pub directive_weight: f64,
    /// Temperature the responses were sampled at, above 0; log-probabilities are those at this
    /// temperature.
    pub temperature: f64,
}

impl HybridConfig {
    /// Both halves with weight 1, at temperature 1, the scalar one [`Objective::binary_rl`].
    #[must_use]
    pub fn new(signal: Signal) -> Self {
        Self {
            objective: Objective::binary_rl(),
            signal,
            scalar_weight: 1.0,
            directive_weight: 1.0,
            temperature: 1.0,
        }
    }
}

/// A checked [`HybridConfig`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Hybrid(HybridConfig);

impl Check for HybridConfig {
    type Checked = Hybrid;

    fn check(self) -> Result<Hybrid, ConfigError> {
        const CONFIG: &str = "HybridConfig";
        for (field, weight) in
            [("scalar_weight", self.scalar_weight), ("directive_weight", self.directive_weight)]
        {
            require_non_negative(CONFIG, field, weight)?;
        }
        require_positive(CONFIG, "temperature", self.temperature)?;
        let kl = self.objective.needs_reference();
        require(!kl, CONFIG, "objective.kl", kl, "none: there is no reference here")?;
        let bonus = self.objective.entropy_coefficient();
        require(bonus == 0.0, CONFIG, "objective.entropy", bonus, "none: it would not be applied")?;
        self.signal.validate()?;
        Ok(Hybrid(self))
    }
}

impl Hybrid {
    /// The loss of turns sampled by `policy` as it stands, a tensor of one element to be given to
    /// [`AdamW::minimise`](headwater_nn::AdamW::minimise). Hints are read by `teacher`.
    ///
    /// A turn without a hint has no directive part, a turn whose hint changes nothing one that is
    /// exactly 0, and gradients vanish with them.
    ///
    /// # Errors
    /// No turns, advantages that do not match a response or are not finite, turns that do not fit
    /// the decoders.
    pub fn loss(
        &self,
        policy: &Decoder,
        teacher: &Decoder,
        turns: &[Turn<'_>],
    ) -> Result<Tensor<1>, OptimizerError> {
        if turns.is_empty() {
            return Err(OptimizerError::Missing { input: "turns", needed_by: "a hybrid loss" });
        }
        let Self(HybridConfig { objective, signal, temperature, .. }) = self;
        let rows = turns.iter().map(|t| (t.prompt, t.informed.unwrap_or(t.prompt), t.response));
        let contexts = TwoContexts::new(rows, policy.shape())?;
        let device = policy.device();
        let pad = |rows: &TokenRows| pad_rows(rows, contexts.width(), &device);
        let mask = contexts.mask(&device);
        let hinted = turns.iter().map(|t| vec![f64::from(t.informed.is_some()); t.response.len()]);
        let hinted = pad(&hinted.collect())?;

        let student = contexts.student(policy, *temperature);
        let logp = at_targets(student.clone(), contexts.targets(&device));
        let old = logp.clone().detach();
        let mut advantages = self.scalar_advantages(turns)?;
        let teacher = || contexts.teacher(teacher, *temperature);
        let any = self.0.directive_weight > 0.0 && turns.iter().any(|t| t.informed.is_some());
        let directive = match any.then_some(signal) {
            None => None,
            Some(Signal::SampledGap { limit }) => {
                let gaps = sampled_gaps(&contexts, student, teacher(), *limit)?;
                let add = |scalar, gap| scalar + self.0.directive_weight * gap;
                advantages = pairwise("advantages", &advantages, "gaps", &gaps, add)?;
                None
            }
            Some(Signal::Divergence(divergence)) => {
                Some(divergence.token_loss(student, teacher(), hinted)?)
            }
            Some(Signal::TopK(top_k)) => {
                let (old, limit) = (student.clone().detach(), objective.config().log_ratio_limit);
                Some(top_k.token_loss(student, old, teacher(), hinted, limit)?)
            }
        };
        let mut loss = objective.token_loss(logp, old, None, pad(&advantages)?, mask)?;
        if let Some(directive) = directive {
            loss = loss + directive.mul_scalar(self.0.directive_weight);
        }
        Ok((loss * pad(&objective.token_weights(contexts.lengths()))?).sum())
    }

    /// `w_scalar` times the turns' advantages.
    fn scalar_advantages(&self, turns: &[Turn<'_>]) -> Result<TokenRows, OptimizerError> {
        let rows = turns.iter().enumerate().map(|(i, turn)| {
            let (found, expected) = (turn.advantages.len(), turn.response.len());
            let name = format!("turns[{i}].advantages");
            require_length(&name, found, expected)?;
            require_finite(&name, turn.advantages)?;
            Ok(turn.advantages.iter().map(|a| self.0.scalar_weight * a).collect())
        });
        rows.collect()
    }
}

/// [`gaps`] of the responses' tokens, from whole distributions.
fn sampled_gaps(
    contexts: &TwoContexts,
    student: Tensor<3>,
    teacher: Tensor<3>,
    limit: Option<f64>,
) -> Result<TokenRows, OptimizerError> {
    let sampled = |distributions: Tensor<3>| {
        let targets = contexts.targets(&distributions.device());
        contexts.rows(at_targets(distributions, targets))
    };
    gaps(&sampled(teacher), &sampled(student), limit)
}

impl Objective {
    /// OpenClaw-RL's evaluative branch: the vote itself as the advantage of every token, without
    /// group or baseline, under PPO's clip with `[0.8, 1.28]`. Of its KL penalty (k3, 0.02, 0.01 or
    /// 0, as the script has it) there is none here.
    #[must_use]
    pub fn binary_rl() -> Self {
        Self::published(ObjectiveConfig::new(
            AdvantageEstimator::Reinforce { baseline: Baseline::None },
            PolicyLoss::Clipped(Clip { low: 0.2, high: 0.28, dual: None }),
            Mode::SequenceMeanTokenMean,
        ))
    }
}
