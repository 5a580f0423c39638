//! Ratings from a round robin: the Bradley-Terry model by minorise-maximise.

use crate::RewardModelError;

/// Largest change of a log-strength at which the iteration stops.
const TOLERANCE: f64 = 1e-12;
/// Most iterations; a round robin of 16 with the prior below takes some hundred.
const MOST_ITERATIONS: usize = 100_000;

/// Log-strengths of the candidates under the Bradley-Terry model, mean 0: i beats j with probability
/// `w_i / (w_i + w_j)`, w the exponentials. Times 400 / ln 10 they are on the Elo scale.
///
/// `wins[i][j]` is the number of wins (or votes) of i over j. Every ordered pair is given half a win more, so
/// that a candidate which won all or none has a finite rating. This is the maximum of the likelihood by
/// `w_i <- W_i / sum over j of n_ij / (w_i + w_j)` (Hunter 2004, Annals of Statistics 32), not the
/// order-dependent Elo update.
///
/// # Errors
/// No candidates, rows that do not form a square, or a count that is negative or not finite.
pub fn bradley_terry_ratings(wins: &[Vec<f64>]) -> Result<Vec<f64>, RewardModelError> {
    let count = wins.len();
    if count == 0 {
        return Err(RewardModelError::Empty);
    }
    for (member, row) in wins.iter().enumerate() {
        if row.len() != count {
            return Err(RewardModelError::Members { member, found: row.len(), expected: count });
        }
        if let Some(index) = row.iter().position(|wins| !(wins.is_finite() && *wins >= 0.0)) {
            return Err(RewardModelError::Wins { row: member, column: index, value: row[index] });
        }
    }
    let others = |i: usize| (0..count).filter(move |j| *j != i);
    let with_prior = |i: usize, j: usize| wins[i][j] + 0.5;
    let total: Vec<f64> = (0..count).map(|i| others(i).map(|j| with_prior(i, j)).sum()).collect();
    let mut ratings = vec![0.0; count];
    for _ in 0..MOST_ITERATIONS {
        let strengths: Vec<f64> = ratings.iter().map(|rating: &f64| rating.exp()).collect();
        let mut next: Vec<f64> = (0..count)
            .map(|i| {
                let played = |j| with_prior(i, j) + with_prior(j, i);
                let expected: f64 =
                    others(i).map(|j| played(j) / (strengths[i] + strengths[j])).sum();
                // A single candidate plays nobody.
                if count == 1 { 0.0 } else { (total[i] / expected).ln() }
            })
            .collect();
        let mean = next.iter().sum::<f64>() / count as f64;
        next.iter_mut().for_each(|rating| *rating -= mean);
        let change = next.iter().zip(&ratings).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        ratings = next;
        if change < TOLERANCE {
            break;
        }
    }
    Ok(ratings)
}
