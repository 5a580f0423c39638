//! Oracles: closed forms, an independent Newton fit, and simulation.

use headwater_core::{StreamRng, Streams};
use proptest::prelude::*;

use super::*;

fn stream(name: &str) -> StreamRng {
    Streams::new(8).stream(name, &[])
}

/// A judge that names the better (lower) index with probability `right`, whatever the order.
fn noisy(right: f64, mut noise: StreamRng) -> impl FnMut([usize; 2], usize) -> JudgeChoice {
    move |shown, _| {
        let names_better = noise.random::<f64>() < right;
        if names_better == (shown[0] < shown[1]) { JudgeChoice::First } else { JudgeChoice::Second }
    }
}

/// `simulated` within 4 standard errors of `expected`, a share of `n` trials.
fn assert_share(simulated: f64, expected: f64, n: usize, what: &str) {
    let error = (expected * (1.0 - expected) / n as f64).sqrt();
    assert!((simulated - expected).abs() <= 4.0 * error, "{what}: {simulated}, not {expected}");
}

#[test]
fn votes_are_right_as_often_as_condorcet_says() {
    // By hand: 3 p^2 - 2 p^3 for three votes; p^2 + p (1 - p) = p for two, whose ties count half.
    assert!((condorcet(0.7, 3) - 0.784).abs() < 1e-12);
    assert!((condorcet(0.7, 2) - 0.7).abs() < 1e-12);
    assert_eq!((condorcet(1.0, 5), condorcet(0.0, 5), condorcet(0.3, 0)), (1.0, 0.0, 0.5));
    let n = 20_000;
    for (right, votes) in [(0.6, 1), (0.6, 5), (0.45, 9), (0.8, 4)] {
        let (mut judge, mut order) = (noisy(right, stream("noise")), stream("order"));
        let mut credit = 0.0;
        for _ in 0..n {
            let tally = vote([0, 1], votes, &mut judge, &mut order).unwrap();
            assert_eq!(tally.calls, votes);
            credit += tally.winner([0, 1]).map_or(0.5, |winner| f64::from(winner == 0));
        }
        assert_share(credit / n as f64, condorcet(right, votes), n, "votes");
    }
}

#[test]
fn a_judge_of_places_has_no_say() {
    let mut order = stream("order");
    let mut first = |_: [usize; 2], _: usize| JudgeChoice::First;
    let n = 20_000;
    let leads = (0..n).map(|_| vote([0, 1], 1, &mut first, &mut order).unwrap().lead);
    assert_share(leads.filter(|lead| *lead > 0).count() as f64 / n as f64, 0.5, n, "first place");
    // Nor one that never decides: all calls, no lead.
    let mut silent = |_: [usize; 2], _: usize| JudgeChoice::Neither;
    let tally = sequential_vote([0, 1], 2, 9, &mut silent, &mut order).unwrap();
    assert_eq!((tally, tally.winner([0, 1])), (VoteTally { lead: 0, calls: 9 }, None));
}

#[test]
fn stopping_at_a_lead_is_the_gamblers_ruin() {
    let n = 20_000;
    for (right, lead) in [(0.6, 1), (0.6, 3), (0.7, 2), (0.4, 4)] {
        let (mut judge, mut order) = (noisy(right, stream("noise")), stream("order"));
        let (mut won, mut calls, mut squares) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            let tally = sequential_vote([0, 1], lead, 10_000, &mut judge, &mut order).unwrap();
            assert_eq!(tally.lead.unsigned_abs(), lead as u64);
            won += f64::from(tally.winner([0, 1]) == Some(0));
            calls += tally.calls as f64;
            squares += (tally.calls as f64).powi(2);
        }
        let odds: f64 = (1.0 - right) / right;
        let accuracy = 1.0 / (1.0 + odds.powi(lead as i32));
        assert_share(won / n as f64, accuracy, n, "accuracy");
        // Wald: expected votes times drift is the expected position at the end.
        let expected = lead as f64 * (2.0 * accuracy - 1.0) / (2.0 * right - 1.0);
        let mean = calls / n as f64;
        let error = ((squares / n as f64 - mean * mean) / n as f64).sqrt();
        assert!((mean - expected).abs() <= 4.0 * error + 1e-12, "{mean} votes, not {expected}");
    }
    let (mut judge, mut order) = (noisy(0.5, stream("noise")), stream("order"));
    for _ in 0..200 {
        assert!(sequential_vote([0, 1], 4, 6, &mut judge, &mut order).unwrap().calls <= 6);
    }
}

#[test]
fn the_filter_keeps_the_votes_of_highest_quality() {
    // Draw j votes for 0 iff it is even, and has quality j mod 4: of 0..8 the best two are 3 and 7.
    let mut judge = |shown: [usize; 2], draw: usize| {
        let for_first = (shown[0] == 0) == draw.is_multiple_of(2);
        let preference = if for_first { JudgeChoice::First } else { JudgeChoice::Second };
        (preference, (draw % 4) as f64)
    };
    let lead = |keep, judge: &mut _| {
        filtered_vote([0, 1], 8, keep, judge, &mut stream("order")).unwrap().lead
    };
    assert_eq!([2, 3, 4, 8].map(|keep| lead(keep, &mut judge)), [-2, -1, 0, 0]);
}

#[test]
fn the_limit_of_votes_is_the_share_of_pairs_above_one_half() {
    let right = [0.9, 0.6, 0.5, 0.3];
    assert_eq!(voting_ceiling(&right), Some(2.5 / 4.0));
    let many = right.iter().map(|p| condorcet(*p, 2001)).sum::<f64>() / 4.0;
    assert!((many - 2.5 / 4.0).abs() < 1e-6, "{many}");
    assert_eq!(voting_ceiling(&[]), None);
    assert_eq!(voting_ceiling(&[0.1 + 0.4, 0.8 - 0.3, 0.5 + 1e-16]), Some(0.5));
    assert!(std::panic::catch_unwind(|| voting_ceiling(&[f64::NAN])).is_err());
}

#[test]
fn ratings_of_two_are_the_log_odds_of_their_wins() {
    let ratings = bradley_terry_ratings(&[vec![0.0, 7.0], vec![2.0, 0.0]]).unwrap();
    assert!((ratings[0] - ratings[1] - (7.5f64 / 2.5).ln()).abs() < 1e-9, "{ratings:?}");
    assert_eq!(bradley_terry_ratings(&[vec![0.0]]), Ok(vec![0.0]));
}

#[test]
fn one_sided_wins_come_to_the_maximum() {
    // Newton's method to a gradient of 1e-43 with the same prior, in Python with 50 digits.
    let golden = [19.971_226_138_6, 6.561_181_188_7, -6.561_181_188_7, -19.971_226_138_6];
    let mut wins = vec![vec![0.0; 4]; 4];
    (0..3).for_each(|i| wins[i][i + 1] = 1e6);
    for (found, expected) in bradley_terry_ratings(&wins).unwrap().iter().zip(golden) {
        assert!((found - expected).abs() < 1e-8, "{found}, not {expected}");
    }
    // However one-sided, and however long the chain: each beats the next.
    for (count, most) in [(2, 1e15), (4, 1e15), (40, 1e9)] {
        let mut wins = vec![vec![0.0; count]; count];
        (0..count - 1).for_each(|i| wins[i][i + 1] = most);
        let ratings = bradley_terry_ratings(&wins).unwrap();
        assert!(ratings.windows(2).all(|pair| pair[0] > pair[1]), "{ratings:?}");
    }
    assert!(bradley_terry_ratings(&[vec![0.0, 1e300], vec![0.0, 0.0]]).is_err());
}

#[test]
fn few_games_between_pairs_of_very_many_count_all_the_same() {
    // Newton's method in Python with 60 digits.
    let golden = [0.646_746_433_470_6, -0.046_400_747_089_3, -0.902_159_245_353_6];
    let wins = [
        vec![0.0, 1e15, 3.0, 0.0],
        vec![5e14, 0.0, 0.0, 0.0],
        vec![0.0, 0.0, 0.0, 3e14],
        vec![0.0, 0.0, 1e15, 0.0],
    ];
    for (found, expected) in bradley_terry_ratings(&wins).unwrap().iter().zip(golden) {
        assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
    }
}

#[test]
fn candidates_of_one_record_tie_exactly() {
    // 1 and 3 have the same record, and so have 2 and 4, in other places of the table.
    let record = [
        [0.0, 5.0, 3.0, 5.0, 3.0],
        [1.0, 0.0, 4.0, 2.0, 4.0],
        [2.0, 3.0, 0.0, 3.0, 1.0],
        [1.0, 2.0, 4.0, 0.0, 4.0],
        [2.0, 3.0, 1.0, 3.0, 0.0],
    ];
    let ratings = bradley_terry_ratings(&record.map(|row| row.to_vec())).unwrap();
    assert_eq!((ratings[1], ratings[2]), (ratings[3], ratings[4]));
    assert!(ratings[0] > ratings[1] && ratings[1] > ratings[2]);
}

/// Newton's method on the penalised log-likelihood, the last rating held at 0.
fn newton_ratings(wins: &[Vec<f64>]) -> Vec<f64> {
    let n = wins.len();
    let mut ratings = vec![0.0f64; n];
    for _ in 0..100 {
        let (mut gradient, mut hessian) = (vec![0.0; n - 1], vec![vec![0.0; n - 1]; n - 1]);
        for i in 0..n - 1 {
            for j in (0..n).filter(|j| *j != i) {
                let (a, b) = (wins[i][j] + 0.5, wins[j][i] + 0.5);
                let p = 1.0 / (1.0 + (ratings[j] - ratings[i]).exp());
                gradient[i] += a - (a + b) * p;
                hessian[i][i] += (a + b) * p * (1.0 - p);
                if j < n - 1 {
                    hessian[i][j] -= (a + b) * p * (1.0 - p);
                }
            }
        }
        // Gauss-Jordan; the matrix is positive definite.
        for i in 0..n - 1 {
            let pivot = hessian[i][i];
            hessian[i].iter_mut().for_each(|x| *x /= pivot);
            gradient[i] /= pivot;
            let (row, value) = (hessian[i].clone(), gradient[i]);
            for j in (0..n - 1).filter(|j| *j != i) {
                let factor = hessian[j][i];
                hessian[j].iter_mut().zip(&row).for_each(|(x, r)| *x -= factor * r);
                gradient[j] -= factor * value;
            }
        }
        ratings.iter_mut().zip(&gradient).for_each(|(rating, step)| *rating += step);
    }
    let mean = ratings.iter().sum::<f64>() / n as f64;
    ratings.iter().map(|rating| rating - mean).collect()
}

proptest! {
    #[test]
    fn ratings_agree_with_newtons_method(
        wins in (2usize..7).prop_flat_map(|n| prop::collection::vec(prop::collection::vec(0u8..9, n), n)),
    ) {
        let wins: Vec<Vec<f64>> =
            wins.iter().map(|row| row.iter().map(|w| f64::from(*w)).collect()).collect();
        let (found, expected) = (bradley_terry_ratings(&wins).unwrap(), newton_ratings(&wins));
        for (a, b) in found.iter().zip(&expected) {
            prop_assert!((a - b).abs() < 1e-7, "{found:?}, not {expected:?}");
        }
    }

    #[test]
    fn a_transitive_judge_finds_the_best_in_exactly_n_less_1_matches(
        n in 1usize..40, votes in 1usize..6, seed: u64,
    ) {
        let mut order = Streams::new(seed).stream("order", &[]);
        let mut rank: Vec<usize> = (0..n).collect();
        rank.shuffle(&mut order);
        let mut asked = 0;
        let mut judge = |shown: [usize; 2], draw: usize| {
            asked += 1;
            assert!(draw < votes && shown[0] != shown[1]);
            let first = rank[shown[0]] < rank[shown[1]];
            if first { JudgeChoice::First } else { JudgeChoice::Second }
        };
        let end = knockout(n, votes, &mut judge, &mut order).unwrap();
        prop_assert_eq!(rank[end.winner], 0);
        prop_assert_eq!((end.calls, asked), ((n - 1) * votes, (n - 1) * votes));

        // And ratings of its round robin are in its order.
        let mut judge = |shown: [usize; 2], _: usize| {
            if rank[shown[0]] < rank[shown[1]] { JudgeChoice::First } else { JudgeChoice::Second }
        };
        let wins = round_robin(n, votes, &mut judge, &mut order).unwrap();
        let ratings = bradley_terry_ratings(&wins).unwrap();
        for i in 0..n {
            for j in 0..n {
                prop_assert!(rank[i] >= rank[j] || ratings[i] > ratings[j]);
            }
        }
    }
}

#[test]
fn a_tie_is_decided_by_a_coin() {
    let mut silent = |_: [usize; 2], _: usize| JudgeChoice::Neither;
    let (mut order, n) = (stream("order"), 10_000);
    let mut wins = [0.0; 3];
    for _ in 0..n {
        wins[knockout(3, 1, &mut silent, &mut order).unwrap().winner] += 1.0;
    }
    for share in wins.map(|count| count / f64::from(n)) {
        assert_share(share, 1.0 / 3.0, n as usize, "winner of a tie");
    }
}

#[test]
fn what_cannot_be_judged_is_named() {
    let mut judge = |_: [usize; 2], _: usize| JudgeChoice::First;
    let mut order = stream("order");
    let text = |error: RewardModelError| error.to_string();
    assert_eq!(
        text(vote([0, 1], 0, &mut judge, &mut order).unwrap_err()),
        "votes = 0: allowed is 1 or more"
    );
    assert_eq!(
        text(sequential_vote([0, 1], 3, 2, &mut judge, &mut order).unwrap_err()),
        "most = 2: allowed is at least the lead"
    );
    let mut meta = |_: [usize; 2], _: usize| (JudgeChoice::First, 0.0);
    assert_eq!(
        text(filtered_vote([0, 1], 2, 3, &mut meta, &mut order).unwrap_err()),
        "votes = 2: allowed is at least as many as are kept"
    );
    let mut unsure =
        |_: [usize; 2], draw| (JudgeChoice::First, if draw == 1 { f64::NAN } else { 0.0 });
    assert_eq!(
        text(filtered_vote([0, 1], 3, 1, &mut unsure, &mut order).unwrap_err()),
        "score 1 = NaN: allowed is a finite number"
    );
    assert_eq!(
        text(knockout(0, 1, &mut judge, &mut order).unwrap_err()),
        "candidates = 0: allowed is 1 or more"
    );
    assert_eq!(bradley_terry_ratings(&[]), Err(RewardModelError::Empty));
    assert_eq!(
        text(bradley_terry_ratings(&[vec![0.0, -1.0], vec![0.0, 0.0]]).unwrap_err()),
        "wins[0][1] = -1: allowed is a number in [0, 1e15]"
    );
}
