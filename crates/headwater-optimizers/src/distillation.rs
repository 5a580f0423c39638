//! Distillation of an informed teacher into a student that lacks the information, token by token.
//!
//! `S` is the student (plain prompt), `T` the teacher (informed prompt, constant), both at one
//! position of a response that the *student* sampled. Two families:
//!
//! - **Sampled token** ([`gaps`]): `A_t = log T(y_t) - log S_old(y_t)`, the negative of a
//!   one-sample reverse KL, as the advantage of an ordinary policy loss. On-policy distillation
//!   (Thinking Machines, 2025) does this with discount 0, OpenClaw-RL (arXiv 2603.10165) with PPO's
//!   clip; with [`PolicyLoss::Reinforce`](crate::PolicyLoss) it is SDPO's token variant. About a
//!   wrong token it says "not this one", never which one instead.
//! - **Full vocabulary** ([`Divergence::token_loss`]): a divergence of the two distributions.
//!
//! | divergence | value at a token | gradient `-sum_v c_v grad log S(v)` with `c_v` |
//! |---|---|---|
//! | reverse KL (SDPO, arXiv 2601.20802) | `KL(S, T)` | `S (log T - log S)` |
//! | forward KL | `KL(T, S)` | `T - S` |
//! | Jensen-Shannon (GKD, arXiv 2306.13649) | `b KL(T, M) + (1 - b) KL(S, M)`, `M = b T + (1 - b) S` | `(1 - b) S log(M / S)` |
//!
//! For the reverse KL `c_v / S(v)` is SDPO's logit-level advantage. The loss is written as `-sum_v c_v log S(v)` with
//! `c` held constant, so that a teacher equal to the student gives a loss and a gradient of exactly
//! 0: the usual form leaves rounding in the gradient, and Adam makes whole steps of it. It is the
//! right gradient for log-probabilities that stay normalised, as `log_softmax` makes them.
//!
//! Where implementations disagree:
//! - GKD's divergence vanishes at both ends (`JSD / b` tends to `KL(T, S)`, `JSD / (1 - b)` to
//!   `KL(S, T)`); its common implementations and SDPO's code jump to the KLs themselves at `b` 0
//!   and 1. Here the KLs are cases of their own and `0 < b < 1`. SDPO's default is `b = 0.5`,
//!   reverse KL for rich feedback.
//! - SDPO keeps 100 tokens and lumps the rest into one: [`with_tail`]. Which tokens those are its
//!   summary does not say; here they are the student's most likely.
//! - The policies here are small, so the default is the whole vocabulary. OpenClaw-RL's second
//!   version keeps 4 tokens without a tail: [`top_k`](crate::top_k).
//! - Off-policy, SDPO multiplies by an importance weight of at most 2:
//!   [`truncated_importance_weights`].
//! - SDPO never shows the teacher the student's own success, and leaves rows without feedback out:
//!   both are the caller's choice of prompts and mask.

use burn::tensor::Tensor;
use headwater_core::{ConfigError, require, require_positive};
use serde::{Deserialize, Serialize};

use crate::statistics::{require_finite, require_length};
use crate::tokens::{EXPONENT_LIMIT, require_shape, zero_padding};
use crate::{OptimizerError, TokenRows};

/// `log T(y) - log S_old(y)` of every sampled token, limited to `[-limit, limit]` if there is a
/// limit: the advantages of on-policy distillation.
///
/// OpenClaw-RL's first version has no limit, its second 1 (personal agents) or 2 (verifiable
/// rewards). Without one, tokens the student thought unlikely dominate; with one, a correction that
/// is one of many values is learnt slowly.
///
/// # Errors
/// Rows that differ in number or length, a log-probability that is not finite, a limit that is not
/// above 0.
pub fn gaps(
    teacher_logp: &[Vec<f64>],
    old_logp: &[Vec<f64>],
    limit: Option<f64>,
) -> Result<TokenRows, OptimizerError> {
    check_limit("gaps", limit)?;
    let limit = limit.unwrap_or(f64::INFINITY);
    pairwise("teacher_logp", teacher_logp, "old_logp", old_logp, |t, s| {
        (t - s).clamp(-limit, limit)
    })
}

/// A divergence of the teacher's distribution from the student's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Divergence {
    /// `KL(S, T)`: seeks one of the teacher's modes.
    ReverseKl,
    /// `KL(T, S)`: covers all of them, and is the only one to push strongly towards tokens the
    /// student has all but ruled out.
    ForwardKl,
    /// GKD's generalised Jensen-Shannon divergence: `M = beta T + (1 - beta) S`.
    JensenShannon {
        /// In (0, 1).
        beta: f64,
    },
}

/// `log M - log S` needs `T / S`, which overflows in f32 beyond a log-ratio of 88; `M` is all
/// teacher long before.
const LOG_RATIO_LIMIT: f64 = 80.0;

impl Divergence {
    /// The coefficients `c` `[n, t, v]` of the table above, from log-probabilities `[n, t, v]`; no
    /// gradient. Above 0 where the teacher wants a token to become more likely.
    #[must_use]
    pub fn signals(&self, student: Tensor<3>, teacher: Tensor<3>) -> Tensor<3> {
        let (student, teacher) = (student.detach(), teacher.detach());
        let probability = student.clone().exp();
        match self {
            Self::ReverseKl => probability * (teacher - student),
            Self::ForwardKl => teacher.exp() - probability,
            Self::JensenShannon { beta } => {
                let log_ratio = limited(teacher - student);
                probability * log_mixture_ratio(log_ratio, *beta).mul_scalar(1.0 - beta)
            }
        }
    }

    /// The divergence at every token, `[n, t]`, 0 on padding: a token loss, to be weighted like any
    /// other. `student` and `teacher` are log-probabilities `[n, t, v]`, `mask` is `[n, t]`;
    /// gradients flow through `student` alone, which must be normalised.
    ///
    /// # Errors
    /// [`OptimizerError::Shape`], [`OptimizerError::Config`] for a `beta` outside (0, 1).
    pub fn token_loss(
        &self,
        student: Tensor<3>,
        teacher: Tensor<3>,
        mask: Tensor<2>,
    ) -> Result<Tensor<2>, OptimizerError> {
        self.validate()?;
        require_distributions("teacher", &teacher, &student, &mask)?;
        let [student, teacher] = [student, teacher.detach()].map(|x| blank_padding(x, &mask));
        let value = self.value(student.clone().detach(), teacher.clone());
        let signals = self.signals(student.clone(), teacher);
        let gradient = (signals * student).sum_dim(2).squeeze_dim::<2>(2).neg();
        Ok(zero_padding(gradient.clone() + (value - gradient.detach()), &mask))
    }

    /// The divergence `[n, t]` of constants.
    fn value(&self, student: Tensor<3>, teacher: Tensor<3>) -> Tensor<2> {
        let log_ratio = teacher.clone() - student.clone();
        let terms = match self {
            Self::ReverseKl => student.exp() * log_ratio.neg(),
            Self::ForwardKl => teacher.exp() * log_ratio,
            Self::JensenShannon { beta } => {
                let log_ratio = limited(log_ratio);
                let mixture = log_mixture_ratio(log_ratio.clone(), *beta);
                let of_teacher = teacher.exp() * (log_ratio - mixture.clone());
                of_teacher.mul_scalar(*beta) - student.exp() * mixture.mul_scalar(1.0 - beta)
            }
        };
        terms.sum_dim(2).squeeze_dim(2)
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let Self::JensenShannon { beta } = *self else { return Ok(()) };
        let allowed = "a number in (0, 1): at the ends the divergence is 0";
        require(beta > 0.0 && beta < 1.0, "Divergence", "beta", beta, allowed)
    }
}

fn limited(log_ratio: Tensor<3>) -> Tensor<3> {
    log_ratio.clamp_max(LOG_RATIO_LIMIT)
}

/// `log(M / S)` from `log(T / S)`, exactly 0 where that is.
fn log_mixture_ratio(log_ratio: Tensor<3>, beta: f64) -> Tensor<3> {
    log_ratio.exp().sub_scalar(1.0).mul_scalar(beta).log1p()
}

/// Both distributions `[n, t, v]` on the student's `k` most likely tokens and one more outcome for
/// all others: `[n, t, k + 1]`, still normalised and still tracked. With `k` of the vocabulary's
/// size or more they are returned as they are. Lumping never makes a divergence larger.
///
/// # Errors
/// [`OptimizerError::Shape`]; [`OptimizerError::Config`] for `k` 0.
pub fn with_tail(
    student: Tensor<3>,
    teacher: Tensor<3>,
    k: usize,
) -> Result<[Tensor<3>; 2], OptimizerError> {
    require(k > 0, "with_tail", "k", k, "1 or more")?;
    require_shape("teacher", &teacher, &student)?;
    let [_, _, vocabulary] = student.dims();
    if k >= vocabulary {
        return Ok([student, teacher]);
    }
    let order = student.clone().detach().argsort_descending(2);
    Ok([student, teacher].map(|distribution| {
        let sorted = distribution.gather(2, order.clone());
        let rest = sorted.clone().narrow(2, k, vocabulary - k);
        let top = rest.clone().detach().max_dim(2);
        let rest = (rest - top.clone()).exp().sum_dim(2).log() + top;
        Tensor::cat(vec![sorted.narrow(2, 0, k), rest], 2)
    }))
}

/// `min(pi / pi_old, cap)` of every sampled token, `[n, t]`, constant: what SDPO multiplies its
/// token losses with when the rollouts are older than the policy (`cap` 2 there). 1 on-policy.
///
/// # Errors
/// [`OptimizerError::Shape`]; [`OptimizerError::Config`] for a `cap` that is not finite and above
/// 0.
pub fn truncated_importance_weights(
    logp: Tensor<2>,
    old_logp: Tensor<2>,
    cap: f64,
) -> Result<Tensor<2>, OptimizerError> {
    require_positive("truncated_importance_weights", "cap", cap)?;
    require_shape("old_logp", &old_logp, &logp)?;
    // Capped before the exponential, which would overflow.
    Ok((logp - old_logp).detach().clamp_max(cap.ln().min(EXPONENT_LIMIT)).exp())
}

pub(crate) fn check_limit(config: &'static str, limit: Option<f64>) -> Result<(), ConfigError> {
    let limit = limit.unwrap_or(f64::INFINITY);
    require(limit > 0.0, config, "limit", limit, "a number above 0")
}

/// `f` of two rows of log-probabilities or advantages, token by token.
pub(crate) fn pairwise(
    left_name: &str,
    left: &[Vec<f64>],
    right_name: &str,
    right: &[Vec<f64>],
    f: impl Fn(f64, f64) -> f64,
) -> Result<TokenRows, OptimizerError> {
    require_length(left_name, left.len(), right.len())?;
    let row = |(i, (left, right)): (usize, (&Vec<f64>, &Vec<f64>))| {
        let name = format!("{left_name}[{i}]");
        require_length(&name, left.len(), right.len())?;
        require_finite(&name, left)?;
        require_finite(&format!("{right_name}[{i}]"), right)?;
        Ok(left.iter().zip(right).map(|(l, r)| f(*l, *r)).collect())
    };
    left.iter().zip(right).enumerate().map(row).collect()
}

/// That `what` has the shape `[n, t, v]` of `student`, and `mask` its first two dimensions.
pub(crate) fn require_distributions(
    what: &'static str,
    distributions: &Tensor<3>,
    student: &Tensor<3>,
    mask: &Tensor<2>,
) -> Result<(), OptimizerError> {
    require_shape(what, distributions, student)?;
    let [n, t, _] = student.dims();
    if mask.dims() == [n, t] {
        return Ok(());
    }
    Err(OptimizerError::Shape { what: "mask", found: mask.dims().into(), expected: vec![n, t] })
}

/// Log-probabilities with 0 on padding, in every distribution alike: whatever stood there can reach
/// no sum.
pub(crate) fn blank_padding(distributions: Tensor<3>, mask: &Tensor<2>) -> Tensor<3> {
    let padding = mask.clone().lower_scalar(0.5).unsqueeze_dim::<3>(2);
    let padding = padding.expand(distributions.dims());
    distributions.mask_fill(padding, 0.0)
}
