//! How often the vote of k samples is won by a right answer.

use super::check_k;
use crate::error::{EvaluationError, argument, same_length};

/// The most samples [`cons_at_k`] takes: it keeps a table of their factorials.
pub const MOST_VOTES: usize = 1_000_000;

/// The most steps [`cons_at_k`] takes, some ten seconds.
pub const MOST_STEPS: f64 = 2e10;

/// cons@k of one prompt: the probability that the majority (plurality) vote of k samples is right.
///
/// `counts[a]` says how often distinct answer a occurs among the n samples, `correct[a]` whether it
/// is right (several may be). Answers tied for most votes share the vote evenly, as if one of them
/// were picked at random. Completions without an extractable answer belong in `counts` as one wrong
/// answer if they may win the vote, and are left out if they abstain: the caller's choice, which
/// changes the number.
///
/// Exact by counting rather than by sampling subsets: Σ over the winning vote count m of the chance
/// that a right answer wins with m. Where 2m > k nobody can have as many, and it is a
/// hypergeometric probability. Below, votes are independent binomials given that their sum is k, so
/// one number per answer and count of votes says it all: answers with fewer than m samples are one
/// of them, and a dynamic programme over the others carries, per (votes cast, answers at m votes),
/// the probability and the expected number of right answers at m. Every term is at least 0, so
/// nothing cancels. Steps: at most k² n, and far fewer where few answers have many samples.
///
/// # Errors
/// No answer, more than [`MOST_VOTES`] samples, lengths that differ, k outside 1..=n, or more than
/// [`MOST_STEPS`] steps.
pub fn cons_at_k(counts: &[usize], correct: &[bool], k: usize) -> Result<f64, EvaluationError> {
    same_length("counts", counts.len(), "correct", correct.len())?;
    let samples = counts.iter().fold(0_usize, |sum, &count| sum.saturating_add(count));
    let allowed = "an integer in 1..=1000000";
    argument((1..=MOST_VOTES).contains(&samples), "sum of counts", samples as f64, allowed)?;
    check_k(samples, k)?;
    let mut answers: Vec<(usize, bool)> =
        counts.iter().copied().zip(correct.iter().copied()).collect();
    answers.sort_unstable();
    // Samples of answers with fewer than `most`, and the answers with as many.
    let (mut first, mut fewer) = (0, 0);
    let mut votes = Vec::new();
    for most in 1..=answers.last().map_or(0, |(count, _)| *count).min(k) {
        while answers[first].0 < most {
            fewer += answers[first].0;
            first += 1;
        }
        // Else k votes cannot be cast without more for one of them.
        if fewer + most * (answers.len() - first) >= k {
            votes.push(Vote { most, fewer, able: &answers[first..] });
        }
    }
    let (steps, most) = (votes.iter().map(|vote| vote.steps(k)).sum(), MOST_STEPS);
    if steps > most {
        let instead = "take a smaller k, or the majority of resampled subsets";
        return Err(EvaluationError::TooManySteps { what: "cons@k", steps, most, instead });
    }
    let draws = Draws::of(samples, k);
    let won: f64 = votes.iter().map(|vote| draws.won(vote)).sum();
    Ok(won.min(1.0))
}

/// A vote won with `most` votes.
struct Vote<'a> {
    most: usize,
    /// Samples of the answers that have fewer than `most`.
    fewer: usize,
    /// The other answers: samples, and whether it is right.
    able: &'a [(usize, bool)],
}

impl Vote<'_> {
    /// Whether only one answer can have as many.
    fn is_alone(&self, k: usize) -> bool {
        2 * self.most > k
    }

    /// One more than the answers that can be tied: as many as there are, or as there are votes for.
    fn width(&self, k: usize) -> usize {
        (k / self.most).min(self.able.len()) + 1
    }

    /// Votes that may have been cast before able answer `at`, at most, and after it, at least: what
    /// the answers to come cannot make up for need not be counted.
    fn cast(&self, k: usize, at: usize) -> (usize, usize) {
        let before = self.fewer.saturating_add(self.most.saturating_mul(at)).min(k);
        let to_come = self.most.saturating_mul(self.able.len() - at - 1);
        (before, k.saturating_sub(to_come))
    }

    fn steps(&self, k: usize) -> f64 {
        if self.is_alone(k) {
            return self.able.len() as f64;
        }
        let counts = (0..self.able.len()).map(|at| {
            let (before, after) = self.cast(k, at);
            (before + 1).min(k + 1 - after) as f64
        });
        let width = self.width(k) as f64;
        width * (self.most as f64 * counts.sum::<f64>() + self.able.len() as f64)
    }
}

/// k draws from all samples.
struct Draws {
    samples: usize,
    k: usize,
    ln_factorial: Vec<f64>,
}

impl Draws {
    fn of(samples: usize, k: usize) -> Self {
        let mut ln_factorial = vec![0.0; samples + 1];
        for i in 1..ln_factorial.len() {
            ln_factorial[i] = ln_factorial[i - 1] + (i as f64).ln();
        }
        Self { samples, k, ln_factorial }
    }

    fn ln_choose(&self, n: usize, k: usize) -> f64 {
        self.ln_factorial[n] - self.ln_factorial[k] - self.ln_factorial[n - k]
    }

    /// The probability that a right answer has `most` votes, of which only one answer can.
    fn won_alone(&self, vote: &Vote<'_>) -> f64 {
        let (most, others) = (vote.most, self.k - vote.most);
        let right =
            vote.able.iter().filter(|(count, right)| *right && self.samples - count >= others);
        let ln = |count: usize| {
            self.ln_choose(count, most) + self.ln_choose(self.samples - count, others)
                - self.ln_choose(self.samples, self.k)
        };
        right.map(|(count, _)| ln(*count).exp()).sum()
    }

    /// Chance of `votes` out of `count` samples where each is drawn by itself, k of all on average.
    fn chance(&self, count: usize, votes: usize) -> f64 {
        // Any probability does, as long as all answers have the same; not 1, which has no
        // logarithm.
        let drawn = self.k as f64 / (self.samples as f64 + 1.0);
        let (yes, no) = (votes as f64 * drawn.ln(), (count - votes) as f64 * (-drawn).ln_1p());
        (self.ln_choose(count, votes) + yes + no).exp()
    }

    /// The same of 0..=`most` votes, as far as there are samples.
    fn chances(&self, count: usize, most: usize) -> Vec<f64> {
        (0..=most.min(count)).map(|votes| self.chance(count, votes)).collect()
    }

    /// The probability that the vote is won by a right answer with exactly as many votes.
    fn won(&self, vote: &Vote<'_>) -> f64 {
        if vote.is_alone(self.k) { self.won_alone(vote) } else { self.won_with(vote) }
    }

    fn won_with(&self, vote: &Vote<'_>) -> f64 {
        let &Vote { most, fewer, able } = vote;
        // [answers at `most`][votes cast]: probability, and expected number of right answers at
        // `most` times it.
        let (width, row) = (vote.width(self.k), self.k + 1);
        let (mut mass, mut right_mass) = (vec![0.0; width * row], vec![0.0; width * row]);
        let first = self.chances(fewer, self.k);
        mass[..first.len()].copy_from_slice(&first);
        let (mut sum, mut right_sum) = (vec![0.0; row], vec![0.0; row]);
        for (at, &(count, right)) in able.iter().enumerate() {
            let votes = self.chances(count, most);
            let (before, after) = vote.cast(self.k, at);
            // From the most tied answers downwards: a row is made of itself and of the one below.
            for tied in (0..=width.min(at + 2) - 1).rev() {
                // Whoever is not at `most` has at least one vote fewer.
                let others = (at + 1).saturating_sub(tied).saturating_mul(most - 1);
                let highest = fewer.saturating_add(tied * most).saturating_add(others).min(self.k);
                let cast = after.max(tied * most)..highest + 1;
                if cast.is_empty() {
                    continue;
                }
                sum[cast.clone()].fill(0.0);
                right_sum[cast.clone()].fill(0.0);
                for (v, &chance) in votes.iter().enumerate() {
                    let at_most = usize::from(v == most);
                    let to = cast.start.max(v)..cast.end.min(before + v + 1);
                    if to.is_empty() || tied < at_most {
                        continue;
                    }
                    let other = (tied - at_most) * row;
                    let from = other + to.start - v..other + to.end - v;
                    add(&mut sum[to.clone()], chance, &mass[from.clone()]);
                    add(&mut right_sum[to.clone()], chance, &right_mass[from.clone()]);
                    if at_most == 1 && right {
                        add(&mut right_sum[to], chance, &mass[from]);
                    }
                }
                let own = tied * row + cast.start..tied * row + cast.end;
                mass[own.clone()].copy_from_slice(&sum[cast.clone()]);
                right_mass[own].copy_from_slice(&right_sum[cast]);
            }
        }
        let shared: f64 =
            (1..width).map(|tied| right_mass[tied * row + self.k] / tied as f64).sum();
        shared / self.chance(self.samples, self.k)
    }
}

/// `to += factor * from`.
fn add(to: &mut [f64], factor: f64, from: &[f64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}
