//! Ratings from a round robin: the Bradley-Terry model by Newton's method.

use crate::RewardModelError;

/// Most wins of one candidate over another: beyond, half a win is lost to rounding.
const MOST_WINS: f64 = 1e15;
/// Most steps. From equal ratings a rating moves by about 1 a step until it is near: with the most
/// wins and no loss that takes some 40.
const MOST_STEPS: usize = 1000;
/// Largest step of a rating that may be left.
const TOLERANCE: f64 = 1e-7;
/// Ratings nearer than this are one: what is left between candidates of one record is rounding.
const TIED: f64 = 1e-9;

/// Log-strengths of the candidates under the Bradley-Terry model, mean 0: i beats j with
/// probability `w_i / (w_i + w_j)`, w the exponentials. Times 400 / ln 10 they are on the Elo
/// scale.
///
/// `wins[i][j]` is the number of wins (or votes) of i over j; the diagonal says nothing. Every
/// ordered pair is given half a win more, so that a candidate which won all or none has a finite
/// rating, and candidates that never met are still placed. This is the maximum of the likelihood
/// (Zermelo 1929; Bradley and Terry 1952) by Newton's method, not the order-dependent Elo update.
/// Minorise-maximise (Hunter 2004) has the same maximum and stops short of it where wins are
/// one-sided. Candidates within 1e-9 of each other have one rating.
///
/// # Errors
/// No candidates, rows that do not form a square, a count outside [0, 1e15], or
/// [`RewardModelError::NotConverged`]: counts so unlike that rounding hides the maximum.
pub fn bradley_terry_ratings(wins: &[Vec<f64>]) -> Result<Vec<f64>, RewardModelError> {
    let count = wins.len();
    if count == 0 {
        return Err(RewardModelError::Empty);
    }
    for (member, row) in wins.iter().enumerate() {
        if row.len() != count {
            return Err(RewardModelError::Members { member, found: row.len(), expected: count });
        }
        if let Some(index) = row.iter().position(|wins| !(0.0..=MOST_WINS).contains(wins)) {
            return Err(RewardModelError::Wins { row: member, column: index, value: row[index] });
        }
    }
    let mut ratings = vec![0.0; count];
    let mut last = f64::INFINITY;
    for _ in 0..MOST_STEPS {
        let (gradient, weights) = derivatives(wins, &ratings);
        let step = solve(weights, gradient.clone());
        let size = step.iter().map(|s: &f64| s.abs()).fold(0.0, f64::max);
        // Newton's step shrinks until it is rounding.
        if size == 0.0 || (size <= TOLERANCE && size >= last / 2.0) {
            return Ok(tied(ratings));
        }
        last = size;
        // It may overshoot: halve it until the likelihood no longer falls steeply where it ends.
        let along = |gradient: &[f64]| gradient.iter().zip(&step).map(|(g, s)| g * s).sum::<f64>();
        let slope = along(&gradient);
        let mut scale = 1.0;
        loop {
            let tried = moved(&ratings, &step, scale);
            if size * scale <= TOLERANCE || along(&derivatives(wins, &tried).0) >= -0.5 * slope {
                ratings = tried;
                break;
            }
            scale /= 2.0;
        }
    }
    Err(RewardModelError::NotConverged { steps: MOST_STEPS, step: last })
}

/// Gradient of the log-likelihood, and the weight of every pair in its curvature: -w_ij beside the
/// diagonal, which is minus the sum of the rest of its row.
fn derivatives(wins: &[Vec<f64>], ratings: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
    let count = wins.len();
    let (mut gradient, mut weights) = (vec![0.0; count], vec![vec![0.0; count]; count]);
    for i in 0..count {
        for j in 0..i {
            // Either from the exponential of a number below 0, so that neither loses its digits.
            let odds = (-(ratings[i] - ratings[j]).abs()).exp();
            let (likely, unlikely) = (1.0 / (1.0 + odds), odds / (1.0 + odds));
            let (p, q) =
                if ratings[i] > ratings[j] { (likely, unlikely) } else { (unlikely, likely) };
            let (won, lost) = (wins[i][j] + 0.5, wins[j][i] + 0.5);
            let pull = won * q - lost * p;
            gradient[i] += pull;
            gradient[j] -= pull;
            let weight = (won + lost) * likely * unlikely;
            (weights[i][j], weights[j][i]) = (weight, weight);
        }
    }
    (gradient, weights)
}

/// The x of mean 0 with sum_j w_ij (x_i - x_j) = b_i, for weights above 0 and a b that sums to 0.
///
/// By elimination of one candidate after the other, whose weights go over to the pairs it joins:
/// nothing is subtracted, so weights of any sizes keep their digits.
fn solve(mut weights: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for i in 0..n {
        let own = weights[i].clone();
        let total: f64 = own[i + 1..].iter().sum();
        for j in i + 1..n {
            let share = own[j] / total;
            let joined = weights[j].iter_mut().zip(&own).skip(i + 1);
            joined.for_each(|(weight, own)| *weight += share * own);
            b[j] += share * b[i];
        }
    }
    // The last candidate is held at 0 until the mean is.
    let mut x = vec![0.0; n];
    for i in (0..n.saturating_sub(1)).rev() {
        let rest = || weights[i].iter().zip(&x).skip(i + 1);
        let total: f64 = rest().map(|(weight, _)| weight).sum();
        x[i] = (b[i] + rest().map(|(weight, x)| weight * x).sum::<f64>()) / total;
    }
    let mean = x.iter().sum::<f64>() / n as f64;
    x.iter_mut().for_each(|value| *value -= mean);
    x
}

/// `ratings + scale * step`, of mean 0.
fn moved(ratings: &[f64], step: &[f64], scale: f64) -> Vec<f64> {
    let mut moved: Vec<f64> = ratings.iter().zip(step).map(|(r, s)| r + scale * s).collect();
    let mean = moved.iter().sum::<f64>() / moved.len() as f64;
    moved.iter_mut().for_each(|rating| *rating -= mean);
    moved
}

/// Ratings that differ by rounding made equal: whoever picks by them must see the tie.
fn tied(ratings: Vec<f64>) -> Vec<f64> {
    let mut order: Vec<usize> = (0..ratings.len()).collect();
    order.sort_by(|a, b| ratings[*a].total_cmp(&ratings[*b]));
    let mut equal = ratings.clone();
    for run in order.chunk_by(|a, b| ratings[*b] - ratings[*a] <= TIED) {
        let mean = run.iter().map(|i| ratings[*i]).sum::<f64>() / run.len() as f64;
        run.iter().for_each(|i| equal[*i] = mean);
    }
    equal
}
