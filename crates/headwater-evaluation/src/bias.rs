//! What does a score pay for that it should not? Probes of reward models and judges for a spurious
//! factor Z: length, a phrase, markup, position.
//!
//! Every probe takes scores or verdicts that somebody else has computed, and returns shares, effects
//! and correlations with intervals. **No single number suffices.** A model that is over-corrected through
//! zero does well on the pairs where the worse answer carries Z and is still biased: only the sign of
//! [`toggle_effect`] shows it. A model that got worse at everything shows less bias in
//! [`accuracy_by_factor`]: read its accuracies too, and
//! [`crate::baselines::accuracy_above_factor`].
//!
//! | question | probe |
//! |---|---|
//! | what does the score pay for Z, all else equal? | [`toggle_effect`] |
//! | where is it right: with Z on the better answer, with Z on the worse? | [`accuracy_by_factor`] |
//! | how much of Z can be read off the score? | [`factor_readout`] |
//! | does it like Z more than people do? | [`preference_skew`] |
//! | is content or style decisive, crossed three by three? | [`style_matrix`] |
//! | does a judge like a position? | [`position_bias`] |
//! | what is a win rate at equal length? | [`length_controlled_win_rates`] |
//!
//! Values that share a prompt are not independent. `prompt` (or `clusters`, `instruction`) names the
//! unit that is, by any number, and intervals are taken over these units. A tie is half a success
//! everywhere.
//!
//! ```
//! use headwater_core::Streams;
//! use headwater_evaluation::{baselines, bias};
//! # use rand::RngExt;
//! # let mut rng = Streams::new(1).stream("texts", &[]);
//! # let pairs: Vec<bias::ScoredPair> = (0..400).map(|prompt| {
//! #     let mut answer = |quality: f64| {
//! #         let factor = f64::from(u8::from(rng.random_bool(0.5)));
//! #         bias::Answer { score: quality + factor + rng.random::<f64>(), factor }
//! #     };
//! #     bias::ScoredPair { prompt, chosen: answer(0.5), rejected: answer(0.0) }
//! # }).collect();
//! # let plain: Vec<f64> = pairs.iter().map(|p| p.chosen.score - p.chosen.factor).collect();
//! # let flattered: Vec<f64> = plain.iter().map(|score| score + 1.0).collect();
//! // Given: `pairs`, scored answers of one prompt each with factor 1 where the answer flatters, and
//! // scores of the same texts `flattered` and `plain`.
//! let prompts: Vec<usize> = (0..plain.len()).collect();
//! let natural: Vec<f64> = pairs.iter().flat_map(|p| [p.chosen.score, p.rejected.score]).collect();
//! let toggle = bias::toggle_effect(&flattered, &plain, &prompts, &natural, 0.95)?;
//! let cells = bias::accuracy_by_factor(&pairs, 0.95)?;
//! let mut permutations = Streams::new(7).stream("permutations", &[]);
//! let readout = bias::factor_readout(&pairs, 10, 199, 0.95, &mut permutations)?;
//! let above = baselines::accuracy_above_factor(&pairs, 0.95)?;
//! // This model pays more than a standard deviation for flattery, and fails where the worse answer flatters.
//! assert!(toggle.effect.low > 1.0 && cells.gap.is_some_and(|gap| gap.low > 0.5));
//! assert!(readout.overall.linear.p < 0.01 && above.above_more.low > 0.0);
//! # Ok::<(), headwater_evaluation::EvaluationError>(())
//! ```

use serde::{Deserialize, Serialize};

use crate::error::{EvaluationError, all_finite, at_least};

mod cells;
mod length_control;
mod position;
mod readout;
mod skew;
mod style;
mod toggle;

pub use cells::{AccuracyByFactor, Cell, accuracy_by_factor};
pub use length_control::{
    Judgement, LengthControl, MOST_RIDGE, ModelWinRate, RIDGE, length_controlled_win_rates,
};
pub use position::{BothOrders, PositionBias, PositionVerdict, position_bias};
pub use readout::{Explained, FactorReadout, Readout, factor_readout};
pub use skew::{ComparedPair, FeaturePreference, PreferenceSkew, preference_skew};
pub use style::{StyleMatrix, StyledPrompt, style_matrix};
pub use toggle::{ToggleEffect, toggle_effect};

/// One answer: what it scored, and how much of the factor it has.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The score under audit.
    pub score: f64,
    /// The factor: 1 and 0 for carried and not, or an amount (length in tokens, number of headings).
    pub factor: f64,
}

/// Two answers to one prompt, the better one first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoredPair {
    /// Names the prompt: pairs of one prompt form a cluster.
    pub prompt: usize,
    /// The better answer, by whatever the audit takes for the truth.
    pub chosen: Answer,
    /// The worse one.
    pub rejected: Answer,
}

impl ScoredPair {
    /// 1 where the score ranks the better answer higher, 1/2 for a tie, 0 otherwise.
    pub fn right(&self) -> f64 {
        win(self.chosen.score, self.rejected.score)
    }

    /// The same for the factor as the score: what "pick the answer with more of it" gets.
    pub(crate) fn right_by_factor(&self) -> f64 {
        win(self.chosen.factor, self.rejected.factor)
    }
}

/// 1 for a win of `first`, 1/2 for a tie, 0 for a loss.
fn win(first: f64, second: f64) -> f64 {
    if first > second {
        1.0
    } else if first < second {
        0.0
    } else {
        0.5
    }
}

pub(crate) fn check_pairs(pairs: &[ScoredPair]) -> Result<(), EvaluationError> {
    at_least("pairs", pairs.len(), 1)?;
    let of = |value: fn(&ScoredPair) -> f64| pairs.iter().map(value).collect::<Vec<f64>>();
    all_finite("chosen.score", &of(|pair| pair.chosen.score))?;
    all_finite("rejected.score", &of(|pair| pair.rejected.score))?;
    all_finite("chosen.factor", &of(|pair| pair.chosen.factor))?;
    all_finite("rejected.factor", &of(|pair| pair.rejected.factor))
}
