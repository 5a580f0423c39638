//! Judging by comparison, and what more votes buy: majority votes, early stopping, tournaments, ratings.
//!
//! A judge is any `FnMut([first, second], draw) -> JudgeChoice`: it is shown two candidates (by index, in this
//! order) and says which it prefers; `draw` numbers the votes on one pair, so that a table of sampled
//! judgements can serve as a judge. Every vote is taken in an order drawn by a fair coin: a judge that always
//! prefers the first place then has no say on average (Zheng et al. 2023, arXiv 2306.05685).
//!
//! What votes can do is known: with a share p of right votes on a pair, k independent ones are right with the
//! probability [`condorcet`], which tends to 1 where p > 1/2 and to 0 where p < 1/2. Over many pairs the limit
//! is [`voting_ceiling`], however good the mean of p looks.

use headwater_core::StreamRng;
use rand::RngExt;
use rand::seq::SliceRandom;

use crate::RewardModelError;
use crate::rounding::alike;

mod ratings;

pub use ratings::bradley_terry_ratings;

/// What a judge says of the two candidates it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JudgeChoice {
    /// The one shown first.
    First,
    /// The one shown second.
    Second,
    /// None: a tie, or nothing that can be read as a verdict. It counts as a call and as no vote.
    Neither,
}

/// Votes on a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VoteTally {
    /// Votes for the pair's first candidate less votes for its second.
    pub lead: i64,
    /// Judgements asked for.
    pub calls: usize,
}

impl VoteTally {
    /// The candidate of `pair` with more votes; `None` on a tie.
    #[must_use]
    pub fn winner(&self, pair: [usize; 2]) -> Option<usize> {
        match self.lead {
            0 => None,
            lead => Some(pair[usize::from(lead < 0)]),
        }
    }
}

/// Asks once, in an order drawn from `stream`; 1 for a vote for `pair[0]`, -1 for `pair[1]`, 0 for neither.
fn ask<T>(
    pair: [usize; 2],
    draw: usize,
    judge: &mut impl FnMut([usize; 2], usize) -> T,
    stream: &mut StreamRng,
    preference: impl Fn(&T) -> JudgeChoice,
) -> (i64, T) {
    let swapped = stream.random::<bool>();
    let said = judge(if swapped { [pair[1], pair[0]] } else { pair }, draw);
    let vote = match preference(&said) {
        JudgeChoice::Neither => 0,
        JudgeChoice::First => 1,
        JudgeChoice::Second => -1,
    };
    (if swapped { -vote } else { vote }, said)
}

/// `votes` judgements of a pair, each in an order of its own (vote@k). Draws are numbered from 0.
///
/// # Errors
/// No votes.
pub fn vote(
    pair: [usize; 2],
    votes: usize,
    judge: &mut impl FnMut([usize; 2], usize) -> JudgeChoice,
    stream: &mut StreamRng,
) -> Result<VoteTally, RewardModelError> {
    at_least_one("votes", votes)?;
    let lead = (0..votes).map(|draw| ask(pair, draw, judge, stream, |said| *said).0).sum();
    Ok(VoteTally { lead, calls: votes })
}

/// Votes until one candidate leads by `lead`, at most `most` of them.
///
/// With p the share of right votes and no limit this is the gambler's ruin: right with probability
/// `1 / (1 + ((1 - p) / p)^lead)`, Wald's sequential test of p against 1 - p.
///
/// # Errors
/// A lead of 0, or fewer votes allowed than a lead takes.
pub fn sequential_vote(
    pair: [usize; 2],
    lead: usize,
    most: usize,
    judge: &mut impl FnMut([usize; 2], usize) -> JudgeChoice,
    stream: &mut StreamRng,
) -> Result<VoteTally, RewardModelError> {
    at_least_one("lead", lead)?;
    if most < lead {
        let allowed = "at least the lead";
        return Err(RewardModelError::Argument { name: "most", value: most, allowed });
    }
    let mut tally = VoteTally::default();
    while tally.calls < most && tally.lead.unsigned_abs() < lead as u64 {
        tally.lead += ask(pair, tally.calls, judge, stream, |said| *said).0;
        tally.calls += 1;
    }
    Ok(tally)
}

/// `votes` judgements, of which only the `keep` with the highest quality count (Liu et al. 2025, arXiv
/// 2504.02495: a meta reward model filters the judge's traces). Of equal qualities the earlier draw is kept.
///
/// The judge returns its preference with the quality of the judgement, a finite number.
///
/// # Errors
/// None to keep, more than there are votes, or a quality that is not finite.
pub fn filtered_vote(
    pair: [usize; 2],
    votes: usize,
    keep: usize,
    judge: &mut impl FnMut([usize; 2], usize) -> (JudgeChoice, f64),
    stream: &mut StreamRng,
) -> Result<VoteTally, RewardModelError> {
    at_least_one("keep", keep)?;
    if votes < keep {
        let allowed = "at least as many as are kept";
        return Err(RewardModelError::Argument { name: "votes", value: votes, allowed });
    }
    let mut judged: Vec<(i64, f64)> = (0..votes)
        .map(|draw| {
            let (vote, (_, quality)) = ask(pair, draw, judge, stream, |said| said.0);
            (vote, quality)
        })
        .collect();
    if let Some(index) = judged.iter().position(|(_, quality)| !quality.is_finite()) {
        return Err(RewardModelError::Score { index, value: judged[index].1 });
    }
    // Stable: the earlier of two equals stays in front.
    judged.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(VoteTally { lead: judged[..keep].iter().map(|(vote, _)| vote).sum(), calls: votes })
}

/// How a knockout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knockout {
    /// Index of the candidate that is left.
    pub winner: usize,
    /// Judgements asked for: votes per match times (candidates - 1).
    pub calls: usize,
}

/// A knockout among candidates 0 to `candidates - 1` in an order drawn from `stream`, every match decided by
/// `votes` votes and a tie by a coin. The odd one out of a round has a bye, and plays first in the next.
///
/// # Errors
/// No candidates or no votes.
pub fn knockout(
    candidates: usize,
    votes: usize,
    judge: &mut impl FnMut([usize; 2], usize) -> JudgeChoice,
    stream: &mut StreamRng,
) -> Result<Knockout, RewardModelError> {
    at_least_one("candidates", candidates)?;
    at_least_one("votes", votes)?;
    let mut left: Vec<usize> = (0..candidates).collect();
    left.shuffle(stream);
    let mut calls = 0;
    while left.len() > 1 {
        let matches = left.chunks_exact(2);
        let mut next = matches.remainder().to_vec();
        for players in matches {
            let pair = [players[0], players[1]];
            let tally = vote(pair, votes, judge, stream)?;
            calls += tally.calls;
            next.push(match tally.winner(pair) {
                Some(winner) => winner,
                None => pair[usize::from(stream.random::<bool>())],
            });
        }
        left = next;
    }
    Ok(Knockout { winner: left[0], calls })
}

/// Every pair of candidates judged `votes` times: `wins[i][j]` is the number of votes for i over j.
///
/// # Errors
/// No candidates or no votes.
pub fn round_robin(
    candidates: usize,
    votes: usize,
    judge: &mut impl FnMut([usize; 2], usize) -> JudgeChoice,
    stream: &mut StreamRng,
) -> Result<Vec<Vec<f64>>, RewardModelError> {
    at_least_one("candidates", candidates)?;
    at_least_one("votes", votes)?;
    let mut wins = vec![vec![0.0; candidates]; candidates];
    let pairs = (0..candidates).flat_map(|second| (0..second).map(move |first| [first, second]));
    for [first, second] in pairs {
        for draw in 0..votes {
            match ask([first, second], draw, judge, stream, |said| *said).0 {
                0 => {}
                vote if vote > 0 => wins[first][second] += 1.0,
                _ => wins[second][first] += 1.0,
            }
        }
    }
    Ok(wins)
}

/// Probability that a majority of `votes` independent votes is right, each right with probability `right` in
/// [0, 1]; a tie counts one half. For odd k this is `sum over j > k/2 of C(k, j) p^j (1 - p)^(k - j)`.
///
/// # Panics
/// When `right` is no probability.
#[must_use]
pub fn condorcet(right: f64, votes: usize) -> f64 {
    assert!((0.0..=1.0).contains(&right), "{right} is no probability");
    // The distribution of the number of right votes, vote by vote: no factorials, no underflow of p^k.
    let mut chance = vec![0.0; votes + 1];
    chance[0] = 1.0;
    for cast in 0..votes {
        for count in (0..=cast + 1).rev() {
            let one_more = if count > 0 { chance[count - 1] * right } else { 0.0 };
            chance[count] = one_more + chance[count] * (1.0 - right);
        }
    }
    let tie = if votes.is_multiple_of(2) { 0.5 * chance[votes / 2] } else { 0.0 };
    chance[votes / 2 + 1..].iter().sum::<f64>() + tie
}

/// Accuracy that ever more votes tend to, from each pair's probability of a right vote: the share of pairs
/// above 1/2, those at 1/2 (up to rounding) counting half. `None` without pairs.
///
/// # Panics
/// When an entry is no probability.
#[must_use]
pub fn voting_ceiling(right: &[f64]) -> Option<f64> {
    let limit = |p: &f64| {
        assert!((0.0..=1.0).contains(p), "{p} is no probability");
        if alike(*p, 0.5) { 0.5 } else { f64::from(u8::from(*p > 0.5)) }
    };
    (!right.is_empty()).then(|| right.iter().map(limit).sum::<f64>() / right.len() as f64)
}

fn at_least_one(name: &'static str, value: usize) -> Result<(), RewardModelError> {
    if value > 0 {
        return Ok(());
    }
    Err(RewardModelError::Argument { name, value, allowed: "1 or more" })
}

#[cfg(test)]
mod tests;
