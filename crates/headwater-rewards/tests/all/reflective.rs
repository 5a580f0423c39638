//! R3: golden values computed apart (NumPy), and every invariance that is claimed.

use approx::assert_abs_diff_eq;
use headwater_core::Check;
use headwater_rewards::{
    Certainty, ReferenceReward, ReferenceRewardConfig, ReferenceScores, RewardError,
    SpreadFilterConfig, Weighting, informative_prompts, length_term, less_masked, repair_by_decay,
    too_hard, top_spread,
};
use proptest::prelude::*;

fn reward(certainty: Certainty, weighting: Weighting) -> ReferenceReward {
    ReferenceRewardConfig { certainty, weighting }.check().expect("valid")
}

fn r3(omega: f64) -> ReferenceReward {
    ReferenceRewardConfig::r3(omega).check().expect("valid")
}

fn logs(probabilities: &[[f64; 5]]) -> Vec<Vec<f64>> {
    probabilities.iter().map(|row| row.map(f64::ln).to_vec()).collect()
}

/// Token 0 is always above 0.85, token 4 always below 0.05, token 1 is the same after every chain.
fn group() -> Vec<Vec<f64>> {
    logs(&[
        [0.90, 0.5, 0.2, 0.30, 0.01],
        [0.95, 0.5, 0.6, 0.35, 0.02],
        [0.90, 0.5, 0.1, 0.45, 0.03],
    ])
}

fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_abs_diff_eq!(found, expected, epsilon = 1e-9);
    }
}

#[test]
fn r3_agrees_with_values_computed_apart() {
    // Population deviations; tokens 0 and 4 are excluded, and of the rest z-scores are taken.
    let scores = r3(2.0).score(&group()).unwrap();
    close(
        &scores.spreads,
        &[0.023570226040, 0.000000000000, 0.216024689947, 0.062360956446, 0.008164965809],
    );
    close(
        &scores.weights,
        &[0.000000000000, 0.008222414067, 0.959293027026, 0.032484558907, 0.000000000000],
    );
    close(&scores.rewards, &[0.205715180111, 0.591056618867, 0.114658561244]);
    // By log-probability the token that is hopeless under every chain has the second largest spread.
    let spread = Weighting::Spread { omega: 1.5, exclude: None };
    let scores: ReferenceScores =
        reward(Certainty::LogProbability, spread).score(&group()).unwrap();
    close(
        &scores.spreads,
        &[0.025487532533, 0.000000000000, 0.737699424660, 0.167107193756, 0.453603342216],
    );
    close(
        &scores.weights,
        &[0.017110003023, 0.014935303873, 0.763704899831, 0.036414935809, 0.167834857464],
    );
    close(&scores.rewards, &[-2.058041376359, -1.096153052807, -2.388250851696]);
}

#[test]
fn repair_by_decay_agrees_with_values_computed_apart() {
    let row: Vec<f64> = [0.9_f64, 0.3, 0.8, 0.7].map(f64::ln).to_vec();
    let repaired = repair_by_decay(&[row], &[1], 0.5).unwrap();
    close(&repaired[0], &[-0.105360515658, -1.203972804326, -0.775783783257, -0.654428374445]);
    assert!(repair_by_decay(&[vec![-1.0]], &[1], 0.5).is_err());
    assert!(repair_by_decay(&[vec![-1.0]], &[0], 0.0).is_err());
}

#[test]
fn sums_means_and_slots_are_what_they_say() {
    let row = |values: &[f64]| values.to_vec();
    let two = vec![row(&[-1.0, -2.0, -3.0]), row(&[-0.5, -2.0, 0.0])];
    let of = |weighting| reward(Certainty::LogProbability, weighting).score(&two).unwrap().rewards;
    close(&of(Weighting::Sum), &[-6.0, -2.5]);
    close(&of(Weighting::Mean), &[-2.0, -2.5 / 3.0]);
    close(&of(Weighting::Slots(vec![0, 2])), &[-2.0, -0.25]);
    let beyond = reward(Certainty::Probability, Weighting::Slots(vec![3])).score(&two);
    assert!(matches!(beyond, Err(RewardError::Count { found: 3, expected: 4, .. })));
}

#[test]
fn a_group_whose_tokens_are_all_excluded_says_nothing() {
    let scores = r3(2.0).score(&logs(&[[0.9, 0.95, 0.99, 0.01, 0.02]; 3])).unwrap();
    close(&scores.weights, &[0.0; 5]);
    close(&scores.rewards, &[0.0; 3]);
}

#[test]
fn what_is_no_group_of_log_probabilities_is_refused() {
    let score = |rows: &[Vec<f64>]| r3(1.0).score(rows);
    assert!(matches!(score(&[]), Err(RewardError::NoParts { .. })));
    assert!(matches!(score(&[vec![]]), Err(RewardError::NoParts { .. })));
    assert!(matches!(score(&[vec![-1.0], vec![-1.0, -1.0]]), Err(RewardError::Count { .. })));
    for bad in [f64::NAN, f64::NEG_INFINITY, 0.5] {
        let error = score(&[vec![-1.0, bad]]).unwrap_err();
        assert!(matches!(error, RewardError::NotALogProbability { index: 1, .. }), "{error}");
    }
    assert!(ReferenceRewardConfig::r3(f64::NAN).check().is_err());
    assert!(ReferenceRewardConfig::r3(-1.0).check().is_err());
    let weighting = Weighting::Spread { omega: 1.0, exclude: Some((0.2, 0.5)) };
    assert!(ReferenceRewardConfig { weighting, ..ReferenceRewardConfig::r3(1.0) }.check().is_err());
}

#[test]
fn edges_of_r3_are_refused_or_finite() {
    let wide = [vec![-1.0, -1e200], vec![-1.0, -1.0]];
    let spread = Weighting::Spread { omega: 1.0, exclude: None };
    let error = reward(Certainty::LogProbability, spread).score(&wide).unwrap_err();
    assert!(matches!(error, RewardError::NotFinite { index: 1, .. }), "{error}");
    // An omega beyond all bounds takes the token of the largest spread.
    let spread = Weighting::Spread { omega: f64::MAX, exclude: None };
    let scores = reward(Certainty::Probability, spread).score(&group()).unwrap();
    close(&scores.weights, &[0.0, 0.0, 1.0, 0.0, 0.0]);
    // Tokens of weight 0 add up to 0 and not to -0.
    let none = Weighting::Spread { omega: 1.0, exclude: Some((0.5, 0.5)) };
    let scores = reward(Certainty::LogProbability, none).score(&[vec![-1.0, -0.1]]).unwrap();
    assert_eq!(scores.rewards[0].to_bits(), 0);
    let baseline = [vec![f64::MIN, f64::MIN]];
    let sum = reward(Certainty::LogProbability, Weighting::Sum).score(&[vec![-1.0, -1.0]]).unwrap();
    assert!(matches!(less_masked(&sum, &baseline), Err(RewardError::NotFinite { .. })));

    let slots = |slots| ReferenceRewardConfig {
        certainty: Certainty::Probability,
        weighting: Weighting::Slots(slots),
    };
    assert_eq!(slots(vec![0, 2, 0]).check().unwrap_err().field, "weighting.slots");
    let last = slots(vec![usize::MAX]).check().unwrap();
    assert!(matches!(last.score(&group()), Err(RewardError::Count { .. })));
    assert!(repair_by_decay(&group(), &[usize::MAX], 1.0).is_err());
    assert!(length_term(f64::MAX, 1, 9).is_err());
    assert!(too_hard(&[vec![1]], 0.5, f64::NAN).is_err());
    assert!(too_hard(&[vec![1, 0]], 0.5, 1.0).is_err());
    assert!(!too_hard(&[vec![usize::MAX; 2], vec![1; 2]], 1.0, 1.0).unwrap());
    assert!(top_spread(&[f64::MAX; 20]).is_err());
    // Of equal prompts the earlier is dropped, also of 0 and -0.
    assert_eq!(informative_prompts(&[0.0, -0.0], 0.5).unwrap(), [false, true]);
    // 0.29 of 100 groups are 29, though 0.29 * 100 is below it.
    let config = SpreadFilterConfig { quantile: 0.29, window: 100, refresh: 100 };
    let mut filter = config.check().unwrap();
    for spread in 0..100 {
        filter.passes(&[f64::from(spread)]).unwrap();
    }
    assert_eq!(filter.threshold(), Some(29.0));
}

#[test]
fn the_length_term_is_symmetric_about_the_reference() {
    assert_abs_diff_eq!(length_term(0.5, 10, 10).unwrap(), 1.0);
    assert_abs_diff_eq!(length_term(0.5, 10, 14).unwrap(), 0.8, epsilon = 1e-12);
    assert_abs_diff_eq!(length_term(0.5, 10, 6).unwrap(), 0.8, epsilon = 1e-12);
    assert!(length_term(0.5, 0, 3).is_err() && length_term(-1.0, 3, 3).is_err());
}

#[test]
fn the_filter_follows_a_quantile_of_recent_groups() {
    let config = SpreadFilterConfig { quantile: 0.5, window: 4, refresh: 2 };
    let mut filter = config.check().unwrap();
    let mut passes = |spread: f64| {
        let passes = filter.passes(&[spread, 0.0]).unwrap();
        (passes, filter.threshold())
    };
    // Nothing is known at first; after two groups the threshold is the upper of them, and so on.
    assert_eq!(passes(0.1), (true, None));
    assert_eq!(passes(0.3), (true, Some(0.3)));
    assert_eq!(passes(0.2), (false, Some(0.3)));
    assert_eq!(passes(0.4), (true, Some(0.3)));
    // The first two leave the window of four: 0.2, 0.4, 0.1, 0.1.
    assert_eq!(passes(0.1), (false, Some(0.3)));
    assert_eq!(passes(0.1), (false, Some(0.2)));
    assert_eq!(top_spread(&[0.1; 10]).unwrap(), 0.1);
    // Two of twelve tokens are a tenth, rounded up.
    let mut spreads = vec![0.0; 12];
    (spreads[3], spreads[7]) = (0.4, 0.2);
    assert_abs_diff_eq!(top_spread(&spreads).unwrap(), 0.3, epsilon = 1e-12);
    assert!(top_spread(&[]).is_err() && top_spread(&[f64::NAN]).is_err());
    for config in [
        SpreadFilterConfig { quantile: 1.0, ..config },
        SpreadFilterConfig { window: 0, ..config },
        SpreadFilterConfig { refresh: 0, ..config },
    ] {
        assert!(config.check().is_err());
    }
}

#[test]
fn prompts_too_hard_and_too_easy_are_told() {
    // The worst half of ranks of the chains: (9, 3) and (2, 2).
    let ranks = [vec![1, 9, 3, 1], vec![1, 2, 2, 1]];
    assert!(!too_hard(&ranks, 0.5, 2.0).unwrap());
    assert!(too_hard(&ranks, 0.5, 1.9).unwrap());
    assert!(too_hard(&ranks[..1], 0.5, 5.0).unwrap() && !too_hard(&ranks[..1], 0.5, 6.0).unwrap());
    assert!(too_hard(&[], 0.5, 1.0).is_err() && too_hard(&ranks, 0.0, 1.0).is_err());
    let keep = informative_prompts(&[0.3, 0.1, 0.2, 0.1], 0.5).unwrap();
    assert_eq!(keep, [true, false, true, false]);
    assert_eq!(informative_prompts(&[0.3, 0.1], 0.4).unwrap(), [true, true]);
    assert!(informative_prompts(&[], 0.1).is_err() && informative_prompts(&[0.1], 1.0).is_err());
}

fn centred(rewards: &[f64]) -> Vec<f64> {
    let mean = rewards.iter().sum::<f64>() / rewards.len() as f64;
    rewards.iter().map(|reward| reward - mean).collect()
}

/// Groups of 2 to 6 chains and 2 to 8 tokens.
fn any_group() -> impl Strategy<Value = Vec<Vec<f64>>> {
    (2_usize..=6, 2_usize..=8).prop_flat_map(|(chains, tokens)| {
        prop::collection::vec(prop::collection::vec(-4.0_f64..0.0, tokens), chains)
    })
}

fn every_weighting() -> Vec<ReferenceReward> {
    let spread = |omega, exclude| Weighting::Spread { omega, exclude };
    let mut all = Vec::new();
    for certainty in [Certainty::Probability, Certainty::LogProbability] {
        for weighting in [
            Weighting::Sum,
            Weighting::Mean,
            Weighting::Slots(vec![1]),
            spread(2.0, None),
            spread(2.0, Some((0.85, 0.05))),
        ] {
            all.push(reward(certainty, weighting));
        }
    }
    all
}

proptest! {
    #[test]
    fn rewards_go_with_their_chains(rows in any_group(), shift in 0_usize..6) {
        for reward in every_weighting() {
            let before = reward.score(&rows).unwrap();
            let mut rotated = rows.clone();
            rotated.rotate_left(shift % rows.len());
            let mut after = reward.score(&rotated).unwrap();
            after.rewards.rotate_right(shift % rows.len());
            close(&after.rewards, &before.rewards);
            close(&after.weights, &before.weights);
        }
    }

    #[test]
    fn weights_of_r3_are_a_distribution_that_rises_with_the_spread(
        rows in any_group(), omega in 0.0_f64..8.0,
    ) {
        for certainty in [Certainty::Probability, Certainty::LogProbability] {
            let weighting = Weighting::Spread { omega, exclude: None };
            let scores = reward(certainty, weighting).score(&rows).unwrap();
            prop_assert!((scores.weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            for (i, j) in (0..rows[0].len()).flat_map(|i| (0..rows[0].len()).map(move |j| (i, j))) {
                if scores.spreads[i] <= scores.spreads[j] {
                    prop_assert!(scores.weights[i] <= scores.weights[j] + 1e-12);
                }
            }
        }
    }

    /// A token that does not depend on the chain has the least weight, whatever its probability.
    #[test]
    fn fillers_without_spread_have_the_least_weight(rows in any_group(), filler in -4.0_f64..0.0) {
        let with: Vec<Vec<f64>> =
            rows.iter().map(|row| [&[filler], row.as_slice()].concat()).collect();
        for certainty in [Certainty::Probability, Certainty::LogProbability] {
            let weighting = Weighting::Spread { omega: 2.0, exclude: None };
            let scores = reward(certainty, weighting).score(&with).unwrap();
            prop_assert!(scores.weights.iter().all(|weight| *weight >= scores.weights[0] - 1e-12));
        }
    }

    #[test]
    fn without_emphasis_r3_is_the_mean(rows in any_group()) {
        for certainty in [Certainty::Probability, Certainty::LogProbability] {
            let flat = Weighting::Spread { omega: 0.0, exclude: None };
            let mean = reward(certainty, Weighting::Mean).score(&rows).unwrap();
            close(&reward(certainty, flat).score(&rows).unwrap().rewards, &mean.rewards);
        }
    }

    /// All chains share one reference, so a sum over its tokens and their mean differ by a factor.
    #[test]
    fn the_sum_ranks_a_group_as_the_mean_does(rows in any_group()) {
        let of = |weighting| reward(Certainty::LogProbability, weighting).score(&rows).unwrap();
        let tokens = rows[0].len() as f64;
        let scaled: Vec<f64> = of(Weighting::Mean).rewards.iter().map(|r| r * tokens).collect();
        close(&of(Weighting::Sum).rewards, &scaled);
    }

    /// A masked baseline that the group shares is no help within the group; chains' own baselines are.
    #[test]
    fn a_shared_masked_baseline_changes_no_centred_reward(
        rows in any_group(), masked in prop::collection::vec(-4.0_f64..0.0, 8),
    ) {
        let weighting = Weighting::Spread { omega: 2.0, exclude: None };
        let scores = reward(Certainty::LogProbability, weighting).score(&rows).unwrap();
        let baseline = vec![masked[..rows[0].len()].to_vec(); rows.len()];
        let shared = less_masked(&scores, &baseline).unwrap();
        close(&centred(&shared), &centred(&scores.rewards));
        // A chain that is as good masked as not has earned nothing.
        close(&less_masked(&scores, &rows).unwrap(), &vec![0.0; rows.len()]);
        prop_assert!(less_masked(&scores, &rows[1..]).is_err());
    }

    #[test]
    fn repair_by_decay_lowers_what_follows_and_spares_the_far_and_the_foreseen(
        rows in any_group(), decay in 0.1_f64..2.0,
    ) {
        let repaired = repair_by_decay(&rows, &[0], decay).unwrap();
        for (row, repaired) in rows.iter().zip(&repaired) {
            prop_assert_eq!(row[0], repaired[0]);
            prop_assert!(row.iter().zip(repaired).all(|(before, after)| after <= before));
        }
        let foreseen: Vec<Vec<f64>> =
            rows.iter().map(|row| [&[0.0], row.as_slice()].concat()).collect();
        let repaired = repair_by_decay(&foreseen, &[0], decay).unwrap();
        repaired.iter().zip(&foreseen).for_each(|(after, before)| close(after, before));
        prop_assert_eq!(repair_by_decay(&rows, &[], decay).unwrap(), rows);
    }
}
