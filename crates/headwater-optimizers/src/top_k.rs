//! Top-k on-policy distillation with hints chosen by overlap: the directive half of OpenClaw-RL's
//! second version (arXiv 2603.10165v2).
//!
//! At every position, with `S_i` a set of `k` tokens, `T` the teacher under the hint and `pi_old`
//! the policy that sampled:
//!
//! - `w_v = softmax over S_i of log pi_old(v)`, `D_v = clip(log T(v) - log pi_old(v), -C, C)`, `A_v
//!   = D_v w_v`;
//! - `loss = sum over S_i of max(-A_v r_v, -A_v clip(r_v, 1 - low, 1 + high))`, `r_v = pi(v) /
//!   pi_old(v)`: PPO's clip, one ratio for each vocabulary entry. The sampled token itself does not
//!   enter.
//!
//! Published: `k` 4, the student's set, `C` 1 for personal agents and 2 for verifiable rewards,
//! clip 0.2 / 0.28. With the whole vocabulary and no limit, on-policy, the gradient is that of the
//! reverse KL. With the student's few likeliest tokens a correction it hardly ever emits lies
//! outside the set, so probability only moves among likely tokens: small vocabularies should use
//! all of it, or the teacher's set.
//!
//! Of several hints the one whose teacher agrees most with the student is used ([`choose_hints`]).

use burn::tensor::{Bool, Int, Tensor};
use headwater_core::{ConfigError, require};
use serde::{Deserialize, Serialize};

use crate::OptimizerError;
use crate::distillation::{blank_padding, check_limit, require_distributions};
use crate::ppo::{Clip, clipped_surrogate};
use crate::tokens::{ratio, zero_padding};

/// Which tokens of a position enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TopKSubset {
    /// The student's `k` most likely (the published default).
    Student,
    /// The teacher's.
    Teacher,
    /// Those in both; there may be none.
    Intersection,
}

/// A top-k distillation loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopK {
    /// Tokens in a set, at least 1; the vocabulary's size or more is all of it.
    pub k: usize,
    /// Which they are.
    pub subset: TopKSubset,
    /// `C`, nats, above 0.
    pub gap_limit: Option<f64>,
    /// The clip of every entry's ratio.
    pub clip: Clip,
}

impl TopK {
    /// The published settings for personal agents.
    #[must_use]
    pub const fn personal() -> Self {
        let clip = Clip { low: 0.2, high: 0.28, dual: None };
        Self { k: 4, subset: TopKSubset::Student, gap_limit: Some(1.0), clip }
    }

    /// `A_v` of every vocabulary entry, `[n, t, v]`, 0 outside the set, from log-probabilities `[n,
    /// t, v]`; no gradient.
    #[must_use]
    pub fn advantages(&self, old: Tensor<3>, teacher: Tensor<3>) -> Tensor<3> {
        let (old, teacher) = (old.detach(), teacher.detach());
        let members = match self.subset {
            TopKSubset::Student => top(&old, self.k),
            TopKSubset::Teacher => top(&teacher, self.k),
            TopKSubset::Intersection => top(&old, self.k).bool_and(top(&teacher, self.k)),
        };
        let probability = old.clone().exp() * members.float();
        // The floor is for an empty intersection, where every weight is 0.
        let weights = probability.clone() / probability.sum_dim(2).clamp_min(f32::MIN_POSITIVE);
        let gaps = teacher - old;
        let gaps = match self.gap_limit {
            Some(limit) => gaps.clamp(-limit, limit),
            None => gaps,
        };
        gaps * weights
    }

    /// The loss of every token, `[n, t]`, 0 on padding, from log-probabilities `[n, t, v]`: the
    /// current policy's (tracked), those of the policy that sampled (the same, on-policy), the
    /// teacher's. `log_ratio_limit` bounds `|log r|`.
    ///
    /// # Errors
    /// [`OptimizerError::Shape`], [`OptimizerError::Config`].
    pub fn token_loss(
        &self,
        student: Tensor<3>,
        old: Tensor<3>,
        teacher: Tensor<3>,
        mask: Tensor<2>,
        log_ratio_limit: Option<f64>,
    ) -> Result<Tensor<2>, OptimizerError> {
        self.validate()?;
        require_distributions("old", &old, &student, &mask)?;
        require_distributions("teacher", &teacher, &student, &mask)?;
        let [student, old, teacher] =
            [student, old.detach(), teacher.detach()].map(|x| blank_padding(x, &mask));
        let [n, t, v] = student.dims();
        let entries = |x: Tensor<3>| x.reshape([n * t, v]);
        let advantages = entries(self.advantages(old.clone(), teacher));
        let ratio = ratio(entries(student - old), log_ratio_limit);
        let loss = clipped_surrogate(ratio, advantages, &self.clip).sum_dim(1).reshape([n, t]);
        Ok(zero_padding(loss, &mask))
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        require(self.k > 0, "TopK", "k", self.k, "1 or more")?;
        check_limit("TopK", self.gap_limit)?;
        self.clip.validate()
    }
}

/// Over what the overlap is summed before the best hint is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HintChoice {
    /// Over the response: one hint for all its tokens (the published default).
    Sequence,
    /// Not at all: every position has its own.
    Token,
}

/// For every position the hint whose teacher shares most of its `k` most likely tokens with the
/// student's, the first of equals; and the teacher's log-probabilities `[n, t, v]` under it.
///
/// `candidates[h]` are the teacher's log-probabilities under hint `h`, `[n, t, v]`; a row with
/// fewer hints than others repeats one. The choice is `[n, t]`, an index into `candidates`.
///
/// # Errors
/// No candidates, [`OptimizerError::Shape`], [`OptimizerError::Config`] for `k` 0.
pub fn choose_hints(
    old: Tensor<3>,
    candidates: &[Tensor<3>],
    mask: Tensor<2>,
    k: usize,
    choice: HintChoice,
) -> Result<(Tensor<2, Int>, Tensor<3>), OptimizerError> {
    require(k > 0, "choose_hints", "k", k, "1 or more")?;
    let missing = OptimizerError::Missing { input: "candidates", needed_by: "a choice of hints" };
    let mut teacher = candidates.first().ok_or(missing)?.clone().detach();
    let likely = top(&old.clone().detach(), k);
    let overlap = |candidate: &Tensor<3>| -> Result<Tensor<2>, OptimizerError> {
        require_distributions("candidates", candidate, &old, &mask)?;
        let shared = likely.clone().bool_and(top(&candidate.clone().detach(), k)).float();
        let shared = zero_padding(shared.sum_dim(2).squeeze_dim(2), &mask);
        Ok(match choice {
            HintChoice::Token => shared,
            HintChoice::Sequence => {
                let dims = shared.dims();
                shared.sum_dim(1).expand(dims)
            }
        })
    };
    let mut best = overlap(&candidates[0])?;
    let mut chosen = best.zeros_like().int();
    for (hint, candidate) in candidates.iter().enumerate().skip(1) {
        let overlap = overlap(candidate)?;
        let better = overlap.clone().greater(best.clone());
        best = best.mask_where(better.clone(), overlap);
        chosen = chosen.mask_fill(better.clone(), hint as i64);
        let everywhere = better.unsqueeze_dim::<3>(2).expand(teacher.dims());
        teacher = teacher.mask_where(everywhere, candidate.clone().detach());
    }
    Ok((chosen, teacher))
}

/// Membership of the `k` most likely tokens of every position; of equals at the border, some.
fn top(distributions: &Tensor<3>, k: usize) -> Tensor<3, Bool> {
    let rank = distributions.clone().argsort_descending(2).argsort(2);
    rank.lower_scalar(k as i64)
}
