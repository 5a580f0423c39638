//! Advantage estimators against hand-computed vectors, brute force and their invariants.
use headwater_core::Check;
use headwater_optimizers::aggregation::Mode;
use headwater_optimizers::dapo::OverlongPenalty;
use headwater_optimizers::grpo::{GroupRelative, Singleton, Spread};
use headwater_optimizers::kl::KlOrder;
use headwater_optimizers::kl::{KlConfig, KlEstimator};
use headwater_optimizers::ppo::{Clip, generalised_advantages};
use headwater_optimizers::reinforce::Baseline;
use headwater_optimizers::{
    AdvantageEstimator, Experience, Objective, ObjectiveConfig, OptimizerError, PolicyLoss,
    Whitening, reinforce, rloo,
};
use proptest::prelude::*;

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() < 1e-12, "{found:?} is not {expected:?}");
    }
}

fn relative(spread: Spread, epsilon: f64) -> GroupRelative {
    GroupRelative { spread, epsilon, ..GroupRelative::UNBIASED }
}

const ONE_RIGHT: [f64; 4] = [1.0, 0.0, 0.0, 0.0];

#[test]
fn one_right_answer_in_four() {
    let of = |spread| relative(spread, 0.0).advantages(&ONE_RIGHT, 4).unwrap();
    assert_close(&of(Spread::Unbiased), &[1.5, -0.5, -0.5, -0.5]);
    let root = 3.0f64.sqrt();
    assert_close(&of(Spread::Population), &[root, -root / 3.0, -root / 3.0, -root / 3.0]);
    assert_close(&of(Spread::None), &[0.75, -0.25, -0.25, -0.25]);
    let third = -1.0 / 3.0;
    assert_close(&rloo::advantages(&ONE_RIGHT, 4).unwrap(), &[1.0, third, third, third]);
}

#[test]
fn epsilon_is_added_to_the_deviation() {
    // TRL, verl, the authors of Dr. GRPO, OpenRLHF: the unbiased deviation here is 1/2.
    for epsilon in [1e-4, 1e-6, 1e-8, 1e-9] {
        let found = relative(Spread::Unbiased, epsilon).advantages(&ONE_RIGHT, 4).unwrap();
        assert_close(&found[..1], &[0.75 / (0.5 + epsilon)]);
    }
}

#[test]
fn the_batch_deviation_is_shared_by_all_groups() {
    let rewards = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0];
    let found = relative(Spread::Batch, 1e-4).advantages(&rewards, 4).unwrap();
    // Mean 3/8; squared deviations 3 * 25/64 + 5 * 9/64 = 15/8, over 7.
    let divisor = (15.0f64 / 56.0).sqrt() + 1e-4;
    let expected = [0.75, -0.25, -0.25, -0.25, 0.5, 0.5, -0.5, -0.5].map(|a| a / divisor);
    assert_close(&found, &expected);
}

#[test]
fn a_group_of_one_is_refused_or_keeps_its_reward() {
    let strict = GroupRelative::UNBIASED.advantages(&[2.0, 3.0], 1).unwrap_err();
    assert_eq!(strict.to_string(), "grpo needs groups of at least 2 completions: got 1");
    let verl =
        GroupRelative { singleton: Singleton::KeepReward, ..relative(Spread::Unbiased, 1e-6) };
    let found = verl.advantages(&[2.0, 3.0], 1).unwrap();
    assert_close(&found, &[2.0 / (1.0 + 1e-6), 3.0 / (1.0 + 1e-6)]);
    assert!(matches!(rloo::advantages(&[1.0], 1), Err(OptimizerError::SmallGroup { .. })));
}

#[test]
fn reinforce_baselines() {
    let of = |baseline| reinforce::advantages(&[1.0, 0.0, 2.0], baseline).unwrap();
    assert_close(&of(Baseline::None), &[1.0, 0.0, 2.0]);
    assert_close(&of(Baseline::Constant(0.5)), &[0.5, -0.5, 1.5]);
    assert_close(&of(Baseline::BatchMean), &[0.0, -1.0, 1.0]);
}

#[test]
fn normalised_leave_one_out_uses_the_batch_statistics() {
    // RLOO of (1, 0 | 1, 1) is (1, -1, 0, 0): mean 0, unbiased variance 2/3.
    let found = rloo::normalise(&rloo::advantages(&[1.0, 0.0, 1.0, 1.0], 2).unwrap()).unwrap();
    let scaled = 1.0 / ((2.0f64 / 3.0).sqrt() + 1e-4);
    assert_close(&found, &[scaled, -scaled, 0.0, 0.0]);
}

/// A batch of two completions, of 2 tokens and 1, with log-ratios to the reference.
struct WithReference {
    old_logp: Vec<Vec<f64>>,
    reference_logp: Vec<Vec<f64>>,
}

impl WithReference {
    fn new() -> Self {
        // k1 per token: (0.5, -0.25) and (1).
        Self {
            old_logp: vec![vec![-0.5, -1.0], vec![-1.0]],
            reference_logp: vec![vec![-1.0, -0.75], vec![-2.0]],
        }
    }

    fn advantages(&self, advantage: AdvantageEstimator, beta: f64) -> Vec<Vec<f64>> {
        let base = ObjectiveConfig::new(
            advantage,
            PolicyLoss::Clipped(Clip::symmetric(0.2)),
            Mode::TokenMean,
        );
        let kl = Some(KlConfig::in_reward(beta));
        let batch = Experience {
            old_logp: Some(&self.old_logp),
            reference_logp: Some(&self.reference_logp),
            values: Some(&[vec![0.1, 0.2], vec![0.3]]),
            ..Experience::new(&[1.0, 0.0], 2, &[2, 1])
        };
        let objective = ObjectiveConfig { kl, ..base }.check().unwrap();
        objective.advantages(&batch).unwrap().tokens
    }
}

#[test]
fn a_kl_penalty_enters_the_reward_where_each_method_puts_it() {
    let batch = WithReference::new();
    let beta = 0.1;
    let leave = |kl| AdvantageEstimator::LeaveOneOut { kl, normalise: false };
    // TRL: R = (1 - 0.025, -0.1), then each less the other.
    let before = batch.advantages(leave(KlOrder::BeforeBaseline), beta);
    assert_close(&before.concat(), &[1.075, 1.075, -1.075]);
    // OpenRLHF: (1, -1), then minus beta times the penalty still to come.
    let after = batch.advantages(leave(KlOrder::AfterBaseline), beta);
    assert_close(&after.concat(), &[1.0 - 0.025, 1.0 + 0.025, -1.0 - 0.1]);
    let group = batch.advantages(AdvantageEstimator::GroupRelative(GroupRelative::CENTRED), beta);
    assert_close(&group.concat(), &[0.5375, 0.5375, -0.5375]);
}

#[test]
fn reinforce_plus_plus_whitens_returns_to_go_over_tokens() {
    let batch = WithReference::new();
    let of = |group_baseline, whitening, beta| {
        batch
            .advantages(AdvantageEstimator::ReinforcePlusPlus { group_baseline, whitening }, beta)
            .concat()
    };
    // Without penalty: returns (1, 1 | 0), mean 2/3, squared deviations 2/3 in all.
    let (third, added) = (1.0 / 3.0, (1.0f64 / 3.0 + 1e-8).sqrt());
    let expected = [third / added, third / added, -2.0 * third / added];
    assert_close(&of(false, Whitening::UnbiasedAdded, 0.0), &expected);
    let clamped = (2.0f64 / 9.0).sqrt();
    let expected = [third / clamped, third / clamped, -2.0 * third / clamped];
    assert_close(&of(false, Whitening::PopulationClamped, 0.0), &expected);
    // With beta = 1 the returns are (0.75, 1.25 | -1), of mean 1/3.
    let returns = [0.75, 1.25, -1.0];
    let squares: f64 = returns.iter().map(|r| (r - third) * (r - third)).sum();
    let deviation = (squares / 2.0 + 1e-8).sqrt();
    let expected = returns.map(|r| (r - third) / deviation);
    assert_close(&of(false, Whitening::UnbiasedAdded, 1.0), &expected);
    // One group: its mean shifts every return alike, which whitening removes.
    assert_close(&of(true, Whitening::UnbiasedAdded, 1.0), &expected);
}

#[test]
fn group_baseline_removes_the_difference_between_prompts() {
    // Prompt 0 is easy, prompt 1 hard; one token each.
    let rewards = [1.0, 0.8, 0.2, 0.0];
    let run = |objective: Objective| {
        let config = ObjectiveConfig { kl: None, ..objective.config() };
        let batch = Experience::new(&rewards, 2, &[1; 4]);
        config.check().unwrap().advantages(&batch).unwrap().tokens.concat()
    };
    let plain = run(Objective::reinforce_plus_plus());
    let baseline = run(Objective::reinforce_plus_plus_baseline());
    assert!(plain[1] > 0.0 && plain[2] < 0.0);
    assert!((baseline[0] - baseline[2]).abs() < 1e-12 && baseline[1] < 0.0 && baseline[2] > 0.0);
}

#[test]
fn ppo_puts_rewards_less_penalties_through_gae() {
    let batch = WithReference::new();
    let mut critic = Objective::ppo().critic().unwrap();
    critic.whitening = None;
    let tokens = batch.advantages(AdvantageEstimator::Critic(critic), 0.1);
    // gamma = lambda = 1: return-to-go less the value.
    assert_close(&tokens.concat(), &[0.975 - 0.1, 1.025 - 0.2, -0.1 - 0.3]);
    let whitened =
        batch.advantages(AdvantageEstimator::Critic(Objective::ppo().critic().unwrap()), 0.1);
    assert!(whitened.concat().iter().sum::<f64>().abs() < 1e-12);
    // Value targets are not whitened.
    let values = [vec![0.1, 0.2], vec![0.3]];
    let objective = ObjectiveConfig { kl: None, ..Objective::ppo().config() }.check().unwrap();
    let experience =
        Experience { values: Some(&values), ..Experience::new(&[1.0, 0.0], 2, &[2, 1]) };
    let result = objective.advantages(&experience).unwrap();
    assert_close(&result.returns.unwrap().concat(), &[1.0, 1.0, 0.0]);
    let missing = objective.advantages(&Experience::new(&[1.0, 0.0], 2, &[2, 1])).unwrap_err();
    assert_eq!(missing.to_string(), "a critic needs `values`, which is None");
}

#[test]
fn signed_methods_keep_their_own_rows() {
    let rewards = [1.0, 0.0, 0.0, 1.0];
    let run = |objective: Objective| {
        let result = objective.advantages(&Experience::new(&rewards, 2, &[1; 4])).unwrap();
        (result.tokens.concat(), result.keep)
    };
    let right = vec![true, false, false, true];
    let wrong = vec![false, true, true, false];
    assert_eq!(run(Objective::psr()), (vec![1.0, 0.0, 0.0, 1.0], right));
    assert_eq!(run(Objective::nsr()), (vec![0.0, -1.0, -1.0, 0.0], wrong));
    let weighted = run(Objective::weighted_reinforce(0.1).unwrap());
    assert_eq!(weighted, (vec![0.1, -1.0, -1.0, 0.1], vec![true; 4]));
    assert!(Objective::weighted_reinforce(-0.1).is_err());
    // A shaped reward needs the accuracy beside it.
    let shaped = [1.2, 0.1];
    let error = Objective::nsr().advantages(&Experience::new(&shaped, 2, &[1, 1])).unwrap_err();
    assert_eq!(error.to_string(), "accuracy[0] = 1.2: allowed is 0 or 1");
    let batch = Experience { accuracy: Some(&[1.0, 0.0]), ..Experience::new(&shaped, 2, &[1, 1]) };
    assert_eq!(Objective::nsr().advantages(&batch).unwrap().keep, [false, true]);
}

#[test]
fn the_overlong_penalty_falls_from_zero_to_minus_the_factor() {
    let dapo = OverlongPenalty { limit: 20_480, buffer: 4096, factor: 1.0 };
    let found = [0, 16_384, 17_408, 18_432, 20_480, 30_000].map(|length| dapo.penalty(length));
    assert_eq!(found, [0.0, 0.0, -0.25, -0.5, -1.0, -1.0]);
    assert_eq!(OverlongPenalty { factor: 0.5, ..dapo }.penalty(18_432), -0.25);
    assert_eq!(Objective::dapo(20_480).config().overlong, Some(dapo));
}

#[test]
fn the_overlong_penalty_is_added_to_the_reward() {
    // Limit 10, buffer 2: 9 tokens cost 1/2, 10 cost 1.
    let accuracy = [1.0, 0.0, 1.0, 0.0];
    let config = ObjectiveConfig {
        advantage: AdvantageEstimator::GroupRelative(GroupRelative::CENTRED),
        ..Objective::dapo(10).config()
    };
    let batch = Experience::new(&accuracy, 2, &[9, 8, 10, 1]);
    let rows = config.check().unwrap().advantages(&batch).unwrap().tokens;
    assert_close(&[rows[0][0], rows[1][0], rows[2][0], rows[3][0]], &[0.25, -0.25, 0.0, 0.0]);
}

#[test]
fn dynamic_sampling_looks_at_accuracy_and_comes_before_the_statistics() {
    // Group 0 is all wrong, though the reward (a format bonus) differs; group 1 is mixed.
    let (rewards, accuracy) = ([0.2, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0]);
    let lengths = [2, 10, 2, 2];
    let batch = Experience { accuracy: Some(&accuracy), ..Experience::new(&rewards, 2, &lengths) };
    let result = Objective::dapo(10).advantages(&batch).unwrap();
    assert_eq!(result.keep, [false, false, true, true]);
    assert_eq!(result.tokens[1], vec![0.0; 10]);
    // Of the rewards no group is constant.
    assert_eq!(result.constant_groups, 0.0);
    // Lite-PPO's batch deviation is then that of group 1 alone.
    let lite = AdvantageEstimator::GroupRelative(relative(Spread::Batch, 0.0));
    let config =
        ObjectiveConfig { advantage: lite, overlong: None, ..Objective::dapo(10).config() };
    let rows = config.check().unwrap().advantages(&batch).unwrap().tokens;
    assert_close(&rows[2], &[0.5f64.sqrt(); 2]);
    // Nothing left is not an error: the trainer samples more.
    let none = Objective::dapo(10).advantages(&Experience::new(&[1.0, 1.0], 2, &[1, 1])).unwrap();
    assert_eq!((none.keep, none.constant_groups), (vec![false, false], 1.0));
}

#[test]
fn truncated_completions_leave_the_loss_but_not_the_statistics() {
    let config = ObjectiveConfig { mask_truncated: true, ..Objective::dr_grpo(4).config() };
    let objective = config.check().unwrap();
    let batch =
        Experience { truncated: Some(&[false, true]), ..Experience::new(&[1.0, 0.0], 2, &[2, 4]) };
    let result = objective.advantages(&batch).unwrap();
    assert_close(&result.tokens[0], &[0.5, 0.5]);
    assert_eq!((result.lengths, result.keep), (vec![2, 0], vec![true, true]));
    let missing = objective.advantages(&Experience::new(&[1.0, 0.0], 2, &[2, 4]));
    assert!(matches!(missing, Err(OptimizerError::Missing { input: "truncated", .. })));
}

#[test]
fn bad_input_is_named() {
    let objective = Objective::dr_grpo(4);
    let error = |batch: Experience| objective.advantages(&batch).unwrap_err().to_string();
    let nan = [1.0, f64::NAN];
    assert!(error(Experience::new(&nan, 2, &[1, 1])).starts_with("rewards[1] = NaN"));
    let three = error(Experience::new(&[1.0, 0.0, 0.0], 2, &[1, 1, 1]));
    assert!(three.starts_with("3 rewards are not a whole number of groups of 2"));
    assert!(error(Experience::new(&[1.0, 0.0], 0, &[1, 1])).contains("groups of 0"));
    assert_eq!(error(Experience::new(&[1.0, 0.0], 2, &[1])), "lengths has 1 entries: expected 2");
    let rows = [vec![0.0], vec![0.0, f64::INFINITY]];
    let values = Experience { values: Some(&rows), ..Experience::new(&[1.0, 0.0], 2, &[1, 2]) };
    assert!(error(values).starts_with("values[1][1] = inf"));
    let short = Experience { values: Some(&rows), ..Experience::new(&[1.0, 0.0], 2, &[1, 3]) };
    assert_eq!(error(short), "values[1] has 2 entries: expected 3");
    let kl = KlConfig::in_reward(0.1);
    let ragged = kl.estimate_rows(&[vec![0.0]], &[vec![0.0, 0.0]]).unwrap_err();
    assert_eq!(ragged.to_string(), "reference_logp[0] has 2 entries: expected 1");
}

#[test]
fn estimators_other_than_k1_may_enter_the_reward() {
    let k3 = KlConfig { estimator: KlEstimator::K3, ..KlConfig::in_reward(1.0) };
    let config = ObjectiveConfig { kl: Some(k3), ..Objective::reinforce().config() };
    let (old, reference) = ([vec![0.0]], [vec![-1.0]]);
    let batch = Experience {
        old_logp: Some(&old),
        reference_logp: Some(&reference),
        ..Experience::new(&[1.0], 1, &[1])
    };
    let found = config.check().unwrap().advantages(&batch).unwrap().tokens;
    assert_close(&found[0], &[1.0 - (-1.0f64).exp()]);
}

fn batches() -> impl Strategy<Value = (Vec<f64>, usize)> {
    (2usize..7, 1usize..6).prop_flat_map(|(group_size, groups)| {
        (prop::collection::vec(-3.0..3.0f64, group_size * groups), Just(group_size))
    })
}

proptest! {
    #[test]
    fn advantages_sum_to_zero_in_every_group((rewards, group_size) in batches()) {
        for spread in [Spread::Unbiased, Spread::Population, Spread::Batch, Spread::None] {
            let found = relative(spread, 1e-4).advantages(&rewards, group_size).unwrap();
            for group in found.chunks(group_size) {
                prop_assert!(group.iter().sum::<f64>().abs() < 1e-8);
            }
        }
    }

    #[test]
    fn leave_one_out_is_what_its_name_says((rewards, group_size) in batches()) {
        let found = rloo::advantages(&rewards, group_size).unwrap();
        let centred = GroupRelative::CENTRED.advantages(&rewards, group_size).unwrap();
        let scale = group_size as f64 / (group_size as f64 - 1.0);
        for (i, a) in found.iter().enumerate() {
            let start = i / group_size * group_size;
            let others = (start..start + group_size).filter(|&j| j != i).map(|j| rewards[j]);
            let mean = others.sum::<f64>() / (group_size - 1) as f64;
            prop_assert!((a - (rewards[i] - mean)).abs() < 1e-10);
            prop_assert!((a - scale * centred[i]).abs() < 1e-10);
        }
    }

    #[test]
    fn normalised_advantages_do_not_see_an_affine_map_of_the_reward(
        (rewards, group_size) in batches(), scale in 0.1..10.0f64, shift in -5.0..5.0f64,
    ) {
        let mapped: Vec<f64> = rewards.iter().map(|r| scale * r + shift).collect();
        for spread in [Spread::Unbiased, Spread::Population, Spread::Batch] {
            let estimator = relative(spread, 0.0);
            let before = estimator.advantages(&rewards, group_size).unwrap();
            let after = estimator.advantages(&mapped, group_size).unwrap();
            for (b, a) in before.iter().zip(&after) {
                prop_assert!((b - a).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn a_group_without_spread_has_no_advantage(reward in -1e3..1e3f64, group_size in 2usize..9) {
        for epsilon in [0.0, 1e-9] {
            for spread in [Spread::Unbiased, Spread::Population, Spread::Batch, Spread::None] {
                let rewards = vec![reward; group_size];
                let found = relative(spread, epsilon).advantages(&rewards, group_size).unwrap();
                prop_assert_eq!(found, vec![0.0; group_size]);
            }
        }
    }

    #[test]
    fn permuting_groups_permutes_advantages((rewards, group_size) in batches(), turn in 0usize..6) {
        let shift = turn * group_size % rewards.len();
        let mut rotated = rewards.clone();
        rotated.rotate_left(shift);
        let lengths: Vec<usize> = (0..rewards.len()).map(|i| 1 + i % 3).collect();
        let mut rotated_lengths = lengths.clone();
        rotated_lengths.rotate_left(shift);
        for objective in [
            Objective::dr_grpo(4),
            Objective::reinforce(),
            ObjectiveConfig { kl: None, ..Objective::rloo().config() }.check().unwrap(),
            ObjectiveConfig { kl: None, ..Objective::grpo().config() }.check().unwrap(),
        ] {
            let run = |rewards: &[f64], lengths: &[usize]| {
                objective.advantages(&Experience::new(rewards, group_size, lengths)).unwrap().tokens
            };
            let mut expected = run(&rewards, &lengths);
            expected.rotate_left(shift);
            prop_assert_eq!(run(&rotated, &rotated_lengths), expected);
        }
    }

    #[test]
    fn generalised_advantages_are_the_discounted_sum_of_errors(
        rows in prop::collection::vec((-1.0..1.0f64, -1.0..1.0f64), 0..12),
        gamma in 0.0..=1.0f64, lambda in 0.0..=1.0f64,
    ) {
        let (rewards, values): (Vec<f64>, Vec<f64>) = rows.into_iter().unzip();
        let value = |t: usize| values.get(t).copied().unwrap_or(0.0);
        let found = generalised_advantages(&rewards, &values, gamma, lambda);
        for (t, a) in found.iter().enumerate() {
            let brute: f64 = (t..rewards.len())
                .map(|s| {
                    let delta = rewards[s] + gamma * value(s + 1) - value(s);
                    (gamma * lambda).powi((s - t) as i32) * delta
                })
                .sum();
            prop_assert!((a - brute).abs() < 1e-10);
        }
    }
}
