//! Each judge as the reward of best-of-n: does what it is better at survive selection?

use headwater_core::{StreamRng, Streams};
use headwater_evaluation::best_of_n::best_of_n_curve;
use headwater_protocol::{CellError, Metrics};
use headwater_reward_models::judging::{JudgeChoice, bradley_terry_ratings, knockout, round_robin};
use rand::RngExt;

use super::train::Judge;
use super::{
    BEST_OF_16, BEST_OF_N, BLIND, CALLS, KNOCKOUT, KNOCKOUT_VOTES, MOST, TAGGED, TRAINED,
    TestConfig,
};
use headwater_tasks::chains::{Candidate, Chain, Shown};

/// Probability that the generator slips at a step.
const SLIP: f64 = 0.15;
/// Votes per pair of distinct candidates in the round robin that rates a pool.
const RATING_VOTES: usize = 5;

/// A question with the candidates that a generator gave for it, and what distinct ones there are.
struct Pool {
    chain: Chain,
    candidates: Vec<Candidate>,
    distinct: Vec<Candidate>,
}

impl Pool {
    /// Candidates of a generator that slips at random, and tags at random: in what it writes the
    /// tag tells nothing.
    fn draw(streams: &Streams, at: u64) -> Self {
        let mut stream = streams.stream("pool", &[at]);
        let chain = Chain::draw(*TRAINED.end(), &mut stream);
        let candidates: Vec<Candidate> = (0..MOST)
            .map(|_| {
                let slips = |_, stream: &mut StreamRng| stream.random::<f64>() < SLIP;
                let results = chain.results_with_slips(&mut stream, slips);
                Candidate { answer: results[results.len() - 1], tagged: stream.random() }
            })
            .collect();
        let mut distinct = candidates.clone();
        distinct.sort_unstable();
        distinct.dedup();
        Self { chain, candidates, distinct }
    }

    /// Every ordered pair of distinct candidates, by index.
    fn matches(&self) -> Vec<[usize; 2]> {
        let count = self.distinct.len();
        let pairs = (0..count).flat_map(|first| (0..count).map(move |second| [first, second]));
        pairs.filter(|[first, second]| first != second).collect()
    }

    fn index(&self, candidate: Candidate) -> usize {
        self.distinct
            .binary_search(&candidate)
            .expect("every candidate is one of the distinct ones")
    }
}

/// Gold and tag of the selected, n = 1 to 16, by ratings from a round robin; and of the winner of a
/// knockout.
///
/// Candidates that do not differ are not judged against each other; in a knockout a coin decides
/// between them. Equal candidates have one rating, so a judge whose ratings tell nothing picks from
/// a whole pool one of the *distinct* candidates at random: wrong answers are many, so this is
/// right less often than a candidate taken at random.
pub(super) fn select(
    metrics: Metrics,
    judge: &Judge,
    config: &TestConfig,
    streams: &Streams,
) -> Result<Metrics, CellError> {
    if config.pools == 0 {
        return Ok(metrics);
    }
    let streams = streams.child("best of n", &[]);
    let (mut gold, mut tagged) = (vec![0.0; MOST], vec![0.0; MOST]);
    let mut knocked_out = [0.0; KNOCKOUT_VOTES.len()];
    let (mut calls, mut blind) = (0.0, 0.0);
    for at in 0..config.pools as u64 {
        let pool = Pool::draw(&streams, at);
        let matches = pool.matches();
        let shown: Vec<Shown<'_>> = matches
            .iter()
            .map(|pair| Shown { chain: &pool.chain, candidates: pair.map(|i| pool.distinct[i]) })
            .collect();
        let judged = judge.judge(&shown, RATING_VOTES, false, &streams.child("matches", &[at]))?;
        let said = |pair: [usize; 2], draw: usize| match matches.iter().position(|m| *m == pair) {
            Some(index) => judged[index][draw].preference,
            None => JudgeChoice::Neither,
        };

        let mut order = streams.stream("order of votes", &[at]);
        let wins = round_robin(pool.distinct.len(), RATING_VOTES, &mut { said }, &mut order)?;
        calls += (matches.len() / 2 * RATING_VOTES) as f64;
        let ratings = bradley_terry_ratings(&wins)?;
        let types: Vec<usize> = pool.candidates.iter().map(|c| pool.index(*c)).collect();
        let ratings: Vec<f64> = types.iter().map(|index| ratings[*index]).collect();
        let right = |candidate: &Candidate| f64::from(candidate.answer == pool.chain.answer());
        blind += pool.distinct.iter().map(right).sum::<f64>() / pool.distinct.len() as f64;
        let is_right: Vec<f64> = pool.candidates.iter().map(right).collect();
        let is_tagged: Vec<f64> = pool.candidates.iter().map(|c| f64::from(c.tagged)).collect();
        for (sum, value) in [(&mut gold, &is_right), (&mut tagged, &is_tagged)] {
            for (sum, point) in sum.iter_mut().zip(best_of_n_curve(&ratings, value)?) {
                *sum += point.gold;
            }
        }
        for (sum, votes) in knocked_out.iter_mut().zip(KNOCKOUT_VOTES) {
            let mut say = |pair: [usize; 2], draw: usize| said(pair.map(|i| types[i]), draw);
            *sum += is_right[knockout(MOST, votes, &mut say, &mut order)?.winner];
        }
    }
    let mean = |sum: f64| sum / config.pools as f64;
    let gold: Vec<f64> = gold.into_iter().map(mean).collect();
    Ok(metrics
        .scalar(&BEST_OF_16, gold[MOST - 1])
        .scalar(&BLIND, mean(blind))
        .scalar(&CALLS, mean(calls))
        .series(&BEST_OF_N, gold)
        .series(&TAGGED, tagged.into_iter().map(mean).collect::<Vec<f64>>())
        .series(&KNOCKOUT, knocked_out.map(mean)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_right_as_often_as_its_slips_allow() {
        let streams = Streams::new(2);
        let (pools, mut right, mut tagged) = (1000, 0.0, 0.0);
        for at in 0..pools {
            let pool = Pool::draw(&streams, at);
            let count = pool.distinct.len();
            assert_eq!(pool.matches().len(), count * (count - 1));
            for candidate in &pool.candidates {
                assert_eq!(pool.distinct[pool.index(*candidate)], *candidate);
                right += f64::from(candidate.answer == pool.chain.answer());
                tagged += f64::from(candidate.tagged);
            }
        }
        // A slip goes to each of the four other numbers alike, and later steps only rename them:
        // after k steps the chance to be right is 1/5 + 4/5 (1 - 5/4 SLIP)^k.
        let expected = 0.2 + 0.8 * (1.0 - 1.25 * SLIP).powi(*TRAINED.end() as i32);
        let n = (pools as usize * MOST) as f64;
        for (count, expected) in [(right, expected), (tagged, 0.5)] {
            let error = (expected * (1.0 - expected) / n).sqrt();
            assert!((count / n - expected).abs() < 4.0 * error, "{}, not {expected}", count / n);
        }
    }
}
