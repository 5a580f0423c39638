//! What the parts measure alike of a trained reward.

use headwater_evaluation::bias::{ScoredPair, toggle_effect};
use headwater_protocol::CellError;
use headwater_reward_models::{Preference, scored_pairs};

use super::methods::{Trained, responses};

/// The preferences, none of them a tie, with their scores.
pub(super) fn score_pairs(
    trained: &Trained,
    preferences: &[Preference],
) -> Result<Vec<ScoredPair>, CellError> {
    let (_, factors) = responses(preferences);
    // First the chosen ones are asked for, then the rejected ones, as `responses` has them.
    let mut asked = 0..;
    scored_pairs(preferences, |texts| {
        let from = asked.next().unwrap_or(0) * texts.len();
        trained.scores(texts, &factors[from..from + texts.len()])
    })
}

/// Share of pairs that are ranked as people ranked them, ties half.
pub(super) fn accuracy(pairs: &[ScoredPair]) -> f64 {
    pairs.iter().map(ScoredPair::right).sum::<f64>() / pairs.len() as f64
}

/// Scores relative to the mean of their pair, to the scale of single scores: what a prompt adds to all of its
/// responses ranks nothing, so the spread that a bias competes with is the one within pairs.
pub(super) fn spread(pairs: &[ScoredPair]) -> Vec<f64> {
    pairs
        .iter()
        .map(|pair| (pair.chosen.score - pair.rejected.score) / std::f64::consts::SQRT_2)
        .flat_map(|difference| [difference, -difference])
        .collect()
}

/// Mean change of the score with the factor against without it, in standard deviations of `reference`.
pub(super) fn toggle(with: &[f64], without: &[f64], reference: &[f64]) -> Result<f64, CellError> {
    let clusters: Vec<usize> = (0..with.len()).collect();
    Ok(toggle_effect(with, without, &clusters, reference, 0.95)?.effect.estimate)
}
