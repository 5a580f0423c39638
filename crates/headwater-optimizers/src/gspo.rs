//! GSPO: ratio and clip of whole sequences, at the scale of one token (Zheng et al., arXiv
//! 2507.18071).
//!
//! `s_i = exp(mean_t log-ratio_it)`, `loss_i = max(-A_i s_i, -A_i clip(s_i, 1 - 3e-4, 1 + 4e-4))`,
//! GRPO's advantages, no KL. A sequence is clipped as a whole, and far more tokens are clipped than
//! in GRPO.
//!
//! Implementations: verl and TRL's experimental trainer use the token form `sg[s_i] pi / sg[pi]`:
//! with one advantage per sequence and the sequence mean of token means, its gradient equals the
//! plain form's (any other aggregation would re-weight by length, so the checked config allows no
//! other). verl limits `log s` to 10 from above.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::TokenBatch;
use crate::aggregation::Mode;
use crate::grpo::GroupRelative;
use crate::ppo::{Clip, clipped_surrogate};
use crate::tokens::ratio;
use crate::{AdvantageEstimator, Objective, ObjectiveConfig, PolicyLoss};

/// How the sequence ratio reaches the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RatioForm {
    /// `s_i` itself, repeated over the tokens.
    Sequence,
    /// `sg[s_i] pi_it / sg[pi_it]`: the value of `s_i`, each token's own gradient. Allows
    /// advantages that vary within a sequence.
    Token,
}

/// GSPO's loss per token, `[n, t]`, for [`Mode::SequenceMeanTokenMean`]. `log_ratio_limit` bounds
/// `|log s|`.
#[must_use]
pub fn token_loss(
    tokens: &TokenBatch,
    clip: &Clip,
    form: RatioForm,
    log_ratio_limit: Option<f64>,
) -> Tensor<2> {
    clipped_surrogate(sequence_ratio(tokens, form, log_ratio_limit), tokens.advantages(), clip)
}

/// The length-normalised sequence ratio at every token, `[n, t]`.
pub(crate) fn sequence_ratio(
    tokens: &TokenBatch,
    form: RatioForm,
    log_ratio_limit: Option<f64>,
) -> Tensor<2> {
    let mean = tokens.sequence_log_ratio() / tokens.lengths();
    let mean = mean.expand(tokens.mask().dims());
    let log_ratio = match form {
        RatioForm::Sequence => mean,
        RatioForm::Token => mean.detach() + (tokens.logp() - tokens.logp().detach()),
    };
    ratio(log_ratio, log_ratio_limit)
}

impl Objective {
    /// GSPO in its plain form, clip 3e-4 below and 4e-4 above.
    #[must_use]
    pub fn gspo() -> Self {
        Self::published(ObjectiveConfig {
            log_ratio_limit: Some(10.0),
            ..ObjectiveConfig::new(
                AdvantageEstimator::GroupRelative(GroupRelative::UNBIASED),
                PolicyLoss::Gspo {
                    clip: Clip { low: 3e-4, high: 4e-4, dual: None },
                    form: RatioForm::Sequence,
                },
                Mode::SequenceMeanTokenMean,
            )
        })
    }
}
