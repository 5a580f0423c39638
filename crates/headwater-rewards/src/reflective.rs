//! R3, the reasoning reflection reward: how sure a model is of a *reference* answer after a sampled chain of
//! thought, with the weight on the reference tokens that reflect the reasoning at all (direct reasoning
//! optimisation, DRO, arXiv 2506.13351).
//!
//! For one prompt, G sampled chains c_i are each followed by the same reference y of T tokens, and a model
//! that is not being trained says p_ij = p(y_j | q, c_i, y_<j). Most tokens of y hardly depend on c_i, and
//! their noise swamps the few that do. R3 weighs token j by its spread over the group,
//! sigma_j = std_i(p_ij), and rewards r_i = sum_j w_j p_ij.
//!
//! Which variant: w = softmax_j(omega * zscore_j(sigma)), over the tokens that are not sure (above 0.85) or
//! hopeless (below 0.05) under every chain; w = 0 for those. Probabilities as in the second version of the
//! paper, or log-probabilities as in the first, where rare tokens of style dominate the spread.
//! Two points are this project's reading. The scale: the spread of a probability is at most 1/2, so that
//! softmax(omega * sigma) with the published omega of 1 to 2 would be nearly uniform (a ratio of e at most);
//! spreads are therefore standardised over the tokens first. How the authors scale them is not known.
//! And the first version only says that w increases with sigma; the same w is used for it.

use headwater_core::{Check, ConfigError, require, require_non_negative, require_positive};
use serde::{Deserialize, Serialize};

use crate::RewardError;
use crate::group_filters::finite;

/// What of a reference token is weighed and summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// Its probability (second version).
    Probability,
    /// Its log-probability in nats (first version).
    LogProbability,
}

/// How the reference tokens are weighed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// 1 each: with log-probabilities, the log-likelihood of the reference.
    Sum,
    /// 1/T each. Within a group this ranks as [`Weighting::Sum`] does, all having one reference.
    Mean,
    /// Equal weights, summing to 1, on these tokens alone: an oracle that knows which reflect the reasoning.
    Slots(Vec<usize>),
    /// R3.
    Spread {
        /// omega, finite and at least 0: 0 weighs all tokens alike that are not excluded.
        omega: f64,
        /// (high, low): tokens always above `high` or always below `low` have weight 0; (0.85, 0.05) in
        /// the paper. `None` keeps all.
        exclude: Option<(f64, f64)>,
    },
}

/// Config of [`ReferenceReward`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceRewardConfig {
    /// Probability or log-probability, for the spread and for the sum.
    pub certainty: Certainty,
    /// Weights of the tokens.
    pub weighting: Weighting,
}

impl ReferenceRewardConfig {
    /// R3 of the second version of the paper: probabilities, with its exclusions, at this omega.
    #[must_use]
    pub fn r3(omega: f64) -> Self {
        let weighting = Weighting::Spread { omega, exclude: Some((0.85, 0.05)) };
        Self { certainty: Certainty::Probability, weighting }
    }
}

/// A reward from the certainty of a reference; see the module.
#[derive(Debug, Clone, PartialEq)]
pub struct ReferenceReward(ReferenceRewardConfig);

/// What a [`ReferenceReward`] says of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct ReferenceScores {
    /// One reward per chain, `[G]`.
    pub rewards: Vec<f64>,
    /// Weight of every reference token, `[T]`.
    pub weights: Vec<f64>,
    /// Population standard deviation over the group of every token's certainty, `[T]`.
    pub spreads: Vec<f64>,
}

impl Check for ReferenceRewardConfig {
    type Checked = ReferenceReward;

    fn check(self) -> Result<ReferenceReward, ConfigError> {
        const CONFIG: &str = "ReferenceRewardConfig";
        match &self.weighting {
            Weighting::Sum | Weighting::Mean => {}
            Weighting::Slots(slots) => {
                const FIELD: &str = "weighting.slots";
                require(!slots.is_empty(), CONFIG, FIELD, "[]", "at least one token")?;
                let repeated = (1..slots.len()).find(|&i| slots[..i].contains(&slots[i]));
                let slot = repeated.map_or(0, |i| slots[i]);
                require(repeated.is_none(), CONFIG, FIELD, slot, "each token once")?;
            }
            Weighting::Spread { omega, exclude } => {
                require_non_negative(CONFIG, "weighting.spread.omega", *omega)?;
                if let Some((high, low)) = exclude {
                    let holds = (0.0..=1.0).contains(low) && (*low..=1.0).contains(high);
                    let value = format!("({high}, {low})");
                    let field = "weighting.spread.exclude";
                    require(holds, CONFIG, field, value, "0 <= low <= high <= 1")?;
                }
            }
        }
        Ok(ReferenceReward(self))
    }
}

impl ReferenceReward {
    /// Scores a group from the log-probabilities (nats, at most 0) of the reference's tokens after each chain,
    /// `[G][T]`.
    ///
    /// Weights are those of the group: they depend on who else is in it. Where every token is excluded the
    /// weights are 0, all rewards are alike and the group says nothing.
    ///
    /// # Errors
    /// No chains, no tokens, rows of different lengths, a number that is not a log-probability, a slot
    /// beyond the reference; log-probabilities so low that a spread or a reward is not finite.
    pub fn score(&self, log_probs: &[Vec<f64>]) -> Result<ReferenceScores, RewardError> {
        let tokens = check_rows(log_probs)?;
        let certain: Vec<Vec<f64>> = log_probs
            .iter()
            .map(|row| match self.0.certainty {
                Certainty::Probability => row.iter().map(|l| l.exp()).collect(),
                Certainty::LogProbability => row.clone(),
            })
            .collect();
        let column = |j: usize| certain.iter().map(move |row| row[j]);
        let spreads: Vec<f64> = (0..tokens).map(|j| moments(column(j)).1).collect();
        let weights = match &self.0.weighting {
            Weighting::Sum => vec![1.0; tokens],
            Weighting::Mean => vec![1.0 / tokens as f64; tokens],
            Weighting::Slots(slots) => {
                let mut weights = vec![0.0; tokens];
                for &slot in slots {
                    let found = format!("reference tokens up to slot {slot}");
                    *weights.get_mut(slot).ok_or(RewardError::Count {
                        what: found,
                        found: tokens,
                        expected: slot.saturating_add(1),
                    })? += 1.0 / slots.len() as f64;
                }
                weights
            }
            Weighting::Spread { omega, exclude } => {
                let kept: Vec<usize> = (0..tokens)
                    .filter(|&j| !exclude.is_some_and(|bounds| excluded(log_probs, j, bounds)))
                    .collect();
                emphasis(&spreads, &kept, *omega)
            }
        };
        let reward = |row: &Vec<f64>| weighted(row, &weights);
        let rewards: Vec<f64> = certain.iter().map(reward).collect();
        finite("the spread of the reference token", &spreads)?;
        finite("the reward of the chain", &rewards)?;
        Ok(ReferenceScores { rewards, weights, spreads })
    }
}

/// The weighted sum of a row, never -0.
fn weighted(row: &[f64], weights: &[f64]) -> f64 {
    row.iter().zip(weights).map(|(value, weight)| weight * value).sum::<f64>() + 0.0
}

/// Whether token `j` is above `high` under every chain, or below `low` under every one.
fn excluded(log_probs: &[Vec<f64>], j: usize, (high, low): (f64, f64)) -> bool {
    let mut column = log_probs.iter().map(|row| row[j].exp());
    column.clone().all(|p| p > high) || column.all(|p| p < low)
}

/// softmax(omega * zscore(spread)) over the tokens `kept`, 0 elsewhere; uniform where spreads are all alike.
fn emphasis(spreads: &[f64], kept: &[usize], omega: f64) -> Vec<f64> {
    let (mean, deviation) = moments(kept.iter().map(|&j| spreads[j]));
    // Spreads that differ by rounding alone would be blown up to unit size.
    let largest = kept.iter().map(|&j| spreads[j]).fold(1.0, f64::max);
    let differ = deviation > 1e-12 * largest;
    // An omega beyond all bounds takes the largest spread, and infinity times 0 is no number.
    let scale = if differ { (omega / deviation).min(1e150) } else { 0.0 };
    let logits: Vec<f64> = kept.iter().map(|&j| scale * (spreads[j] - mean)).collect();
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = logits.iter().map(|l| (l - highest).exp()).sum();
    let mut weights = vec![0.0; spreads.len()];
    for (&j, logit) in kept.iter().zip(&logits) {
        weights[j] = (logit - highest).exp() / total;
    }
    weights
}

/// Mean and population standard deviation; zeros without values.
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / n;
    (mean, (values.map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
}

fn check_rows(log_probs: &[Vec<f64>]) -> Result<usize, RewardError> {
    let tokens = log_probs.first().map_or(0, Vec::len);
    if tokens == 0 {
        return Err(RewardError::NoParts { composite: "ReferenceReward" });
    }
    for row in log_probs {
        if row.len() != tokens {
            let what = "reference tokens after a chain".to_owned();
            return Err(RewardError::Count { what, found: row.len(), expected: tokens });
        }
        // Rounding in single precision may end a little above 0.
        if let Some(index) = row.iter().position(|l| !(l.is_finite() && *l <= 1e-4)) {
            let value = row[index];
            return Err(RewardError::NotALogProbability { what: "reference token", index, value });
        }
    }
    Ok(tokens)
}

/// Variant A of the repair of early tokens (first version of the paper): a reference token that reflects
/// the reasoning gives away what follows it, so a bad chain is repaired by the reference itself. Every
/// token after a reflective one k, d tokens later, is multiplied by p_k + (1 - p_k)(1 - exp(-decay * d)): it
/// counts in full again only far behind k, or where the chain had foreseen k.
///
/// `log_probs` are `[G][T]` in nats and so is what is returned; `decay` (gamma) is above 0.
///
/// # Errors
/// As [`ReferenceReward::score`]; a `decay` that is not above 0, a reflective token beyond the reference.
pub fn repair_by_decay(
    log_probs: &[Vec<f64>],
    reflective: &[usize],
    decay: f64,
) -> Result<Vec<Vec<f64>>, RewardError> {
    let tokens = check_rows(log_probs)?;
    require_positive("repair_by_decay", "decay", decay)?;
    if let Some(&beyond) = reflective.iter().find(|k| **k >= tokens) {
        let what = format!("reference tokens up to reflective token {beyond}");
        let expected = beyond.saturating_add(1);
        return Err(RewardError::Count { what, found: tokens, expected });
    }
    let repaired = |row: &Vec<f64>| {
        let value = |j: usize| {
            let earlier = reflective.iter().filter(|&&k| k < j);
            let factors = earlier.map(|&k| {
                let p = row[k].exp().min(1.0);
                (p + (1.0 - p) * -f64::exp_m1(-decay * (j - k) as f64)).ln()
            });
            row[j] + factors.sum::<f64>()
        };
        (0..tokens).map(value).collect()
    };
    Ok(log_probs.iter().map(repaired).collect())
}

/// Variant B of the repair: the reward less the same weighted sum of log-probabilities after a chain that is
/// masked out, `[T]` for a mask that leaves nothing of the chain (then the same for the whole group).
///
/// With one masked baseline for a group this is a constant, so *no group-relative advantage changes*; it
/// only moves rewards of different prompts against each other. It acts within a group where the masked
/// chains differ, e.g. in length: pass each chain's own baseline, `[G][T]`.
///
/// # Errors
/// As [`ReferenceReward::score`], for the baseline; shapes that disagree with `scores`; a
/// difference that is not finite.
pub fn less_masked(
    scores: &ReferenceScores,
    baseline: &[Vec<f64>],
) -> Result<Vec<f64>, RewardError> {
    let count = |what: &str, found, expected| {
        if found == expected {
            return Ok(());
        }
        Err(RewardError::Count { what: what.to_owned(), found, expected })
    };
    count("tokens of the masked baseline", check_rows(baseline)?, scores.weights.len())?;
    count("masked baselines", baseline.len(), scores.rewards.len())?;
    let pairs = scores.rewards.iter().zip(baseline);
    let less: Vec<f64> =
        pairs.map(|(reward, row)| reward - weighted(row, &scores.weights)).collect();
    finite("the reward of the chain", &less)?;
    Ok(less)
}

/// The length term of the first version: 1 - beta * | |y| - |y'| | / |y| for an answer y' of `answer` tokens
/// where the reference y has `reference`. R3 never sees the answer that was generated, which grew verbose.
///
/// # Errors
/// A reference without tokens, or a `beta` that is negative, not finite or so large that the term
/// is not.
pub fn length_term(beta: f64, reference: usize, answer: usize) -> Result<f64, RewardError> {
    require(reference > 0, "length_term", "reference", reference, "at least 1")?;
    require_non_negative("length_term", "beta", beta)?;
    let term = 1.0 - beta * reference.abs_diff(answer) as f64 / reference as f64;
    let allowed = "a number with which the term is finite";
    require(term.is_finite(), "length_term", "beta", beta, allowed)?;
    Ok(term)
}
