//! What the experiments measure alike of a trained reward.

use headwater_evaluation::Interval;
use headwater_evaluation::bias::{ScoredPair, accuracy_by_factor, toggle_effect};
use headwater_protocol::CellError;
use headwater_reward_models::{Preference, scored_pairs};

use super::methods::{Trained, responses};

/// The preferences, none of them a tie, with their scores.
pub(crate) fn score_pairs(
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
pub(crate) fn accuracy(pairs: &[ScoredPair]) -> f64 {
    pairs.iter().map(ScoredPair::right).sum::<f64>() / pairs.len() as f64
}

/// Accuracy on the pairs whose better response has more of the factor, and on those whose worse one
/// has.
pub(crate) fn sides(pairs: &[ScoredPair]) -> Result<[f64; 2], CellError> {
    let cells = accuracy_by_factor(pairs, 0.95)?;
    let of = |accuracy: Option<Interval>| accuracy.map_or(f64::NAN, |interval| interval.estimate);
    Ok([of(cells.chosen.accuracy), of(cells.rejected.accuracy)])
}

/// Scores relative to the mean of their pair, to the scale of single scores: what a prompt adds to
/// all of its responses ranks nothing, so the spread that a bias competes with is the one within
/// pairs.
pub(crate) fn spread(pairs: &[ScoredPair]) -> Vec<f64> {
    pairs
        .iter()
        .map(|pair| (pair.chosen.score - pair.rejected.score) / std::f64::consts::SQRT_2)
        .flat_map(|difference| [difference, -difference])
        .collect()
}

/// Mean change of the score with the factor against without it, in standard deviations of
/// `reference`.
pub(crate) fn toggle(with: &[f64], without: &[f64], reference: &[f64]) -> Result<f64, CellError> {
    let clusters: Vec<usize> = (0..with.len()).collect();
    Ok(toggle_effect(with, without, &clusters, reference, 0.95)?.effect.estimate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_evaluation::bias::Answer;

    fn pair(chosen: f64, rejected: f64) -> ScoredPair {
        let answer = |score| Answer { score, factor: 0.0 };
        ScoredPair { prompt: 0, chosen: answer(chosen), rejected: answer(rejected) }
    }

    #[test]
    fn what_a_prompt_adds_to_both_responses_is_no_spread() {
        let own = spread(&[pair(1.0, 0.0), pair(0.0, 2.0)]);
        assert_eq!(own, spread(&[pair(101.0, 100.0), pair(-50.0, -48.0)]));
        // Two independent scores of variance 1 differ by a variance of 2.
        assert!((own[0] - 1.0 / 2.0_f64.sqrt()).abs() < 1e-12 && own[0] == -own[1]);
    }

    #[test]
    fn a_tie_is_half_right() {
        assert_eq!(
            accuracy(&[pair(1.0, 0.0), pair(0.0, 1.0), pair(1.0, 1.0), pair(2.0, 0.0)]),
            0.625
        );
    }

    #[test]
    fn a_toggle_is_in_units_of_the_reference() {
        let effect = toggle(&[3.0, 4.0], &[1.0, 0.0], &[-2.0, 2.0, -2.0, 2.0]).unwrap();
        assert!((effect - 3.0 / (16.0_f64 / 3.0).sqrt()).abs() < 1e-12);
    }
}
