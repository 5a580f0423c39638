//! Inputs at the edges of f32 and f64, and what functions assume of their inputs.

use burn::tensor::{Device, Tensor};
use headwater_core::{Check, Prompt};
use headwater_nn::Completion;
use headwater_optimizers::aggregation::{Aggregation, EmptySequences, Mode};
use headwater_optimizers::cispo::WeightClip;
use headwater_optimizers::critique_grpo::{CritiqueGrpoConfig, RefinementWeight, mixed_advantages};
use headwater_optimizers::dapo::informative;
use headwater_optimizers::distillation::truncated_importance_weights;
use headwater_optimizers::dpo::{PairLogProbs, dpo_loss};
use headwater_optimizers::entropy::{AdaptiveEntropy, EntropyConfig};
use headwater_optimizers::grpo::{GroupRelative, Singleton, Spread, fraction_without_signal};
use headwater_optimizers::kl::{AdaptiveKl, KlClamp, KlConfig, KlEstimator, KlOrder};
use headwater_optimizers::ppo::{Clip, Critic};
use headwater_optimizers::psr_nsr::Signed;
use headwater_optimizers::reinforce_plus_plus::centre_on_group;
use headwater_optimizers::{
    AdvantageEstimator, Experience, Objective, ObjectiveConfig, PolicyLoss, Rollouts, TokenBatch,
    Whitening, mask_from_lengths, pad_rows, reinforce_plus_plus, rloo,
};

fn device() -> Device {
    Device::flex().autodiff()
}

fn row(values: &[f32]) -> Tensor<2> {
    Tensor::<1>::from_floats(values, &device()).reshape([1, values.len()])
}

fn host(tensor: Tensor<2>) -> Vec<f32> {
    tensor.inner().try_into_vec_as().unwrap()
}

/// Values and gradients of a penalty at these log-ratios to the reference.
fn penalty(kl: KlConfig, log_ratios: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let logp = row(log_ratios).require_grad();
    let zeros = row(&vec![0.0; log_ratios.len()]);
    let mask = row(&vec![1.0; log_ratios.len()]);
    let tokens = TokenBatch::new(logp.clone(), zeros.clone(), zeros.clone(), mask).unwrap();
    let values = kl.token_penalty(&tokens, zeros, None).unwrap();
    let gradients = values.clone().sum().backward();
    (host(values), host(logp.grad(&gradients).unwrap()))
}

#[test]
fn beyond_a_limit_k3_has_no_gradient_and_never_nan() {
    let k3 = |clamp| KlConfig { clamp, ..KlConfig::in_loss(1.0, KlEstimator::K3) };
    let (values, gradients) = penalty(k3(KlClamp::OPEN_RLHF), &[-119.0, -1e30, -3.0, 0.5]);
    assert_eq!((&values[..3], &gradients[..3]), (&[10.0; 3][..], &[0.0; 3][..]));
    // Within it they are those of the formula.
    assert!((f64::from(values[3]) - ((-0.5f64).exp() - 0.5)).abs() < 1e-6);
    assert!((f64::from(gradients[3]) - (1.0 - (-0.5f64).exp())).abs() < 1e-6);
    for clamp in [
        KlClamp { log_ratio: Some(100.0), estimate: None },
        KlClamp { log_ratio: Some(1e300), estimate: Some(1e300) },
        KlClamp { log_ratio: None, estimate: Some(1e38) },
    ] {
        let (values, gradients) = penalty(k3(clamp), &[-119.0, 119.0]);
        assert!(values.iter().all(|value| value.is_finite()), "{clamp:?}: {values:?}");
        assert_eq!(gradients[0], 0.0, "{clamp:?}");
    }
    // Without any limit nothing is hidden: the loss is not finite, and a trainer says so.
    assert!(penalty(k3(KlClamp::NONE), &[-119.0]).0[0].is_infinite());
}

#[test]
fn straight_through_keeps_the_gradient_of_k2_beyond_its_limits() {
    // verl's k3+: the value of k3, clamped; the gradient of an unclamped (log-ratio)^2 / 2.
    let clamp = KlClamp::VERL;
    let kl = KlConfig { clamp, ..KlConfig::in_loss(1.0, KlEstimator::K3StraightThrough) };
    let log_ratios = [4.6f32, 14.0, -25.5, -30.0, 0.1];
    let (values, gradients) = penalty(kl, &log_ratios);
    assert_eq!(gradients, log_ratios);
    for (value, d) in values.iter().zip(log_ratios) {
        let want = ((-f64::from(d).clamp(-20.0, 20.0)).exp() - 1.0 + f64::from(d)).min(10.0);
        let want = if d == -25.5 || d == -30.0 { 10.0 } else { want };
        assert!((f64::from(*value) - want).abs() < 1e-5, "{d}: {value} {want}");
    }
}

#[test]
fn a_ratio_limit_beyond_f32_is_where_f32_ends() {
    let config =
        ObjectiveConfig { log_ratio_limit: Some(300.0), ..Objective::reinforce().config() };
    for policy in
        [PolicyLoss::Clipped(Clip::symmetric(0.2)), PolicyLoss::Cispo(WeightClip::Cap { cap: 5.0 })]
    {
        let objective = ObjectiveConfig { policy, ..config }.check().unwrap();
        let logp = row(&[-0.5, -0.5]).require_grad();
        let old = row(&[-200.0, -150.0]);
        let loss = objective
            .token_loss(logp.clone(), old, None, row(&[1.0, 0.5]), row(&[1.0, 1.0]))
            .unwrap();
        let gradient = host(logp.grad(&loss.clone().sum().backward()).unwrap());
        assert!(host(loss).iter().chain(&gradient).all(|x| x.is_finite()), "{gradient:?}");
    }
}

/// [0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2]: equal but for the last digit.
const RESIDUE: [f64; 4] = [0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2];

#[test]
fn what_rounding_leaves_is_no_signal() {
    assert_ne!(RESIDUE[0], RESIDUE[1]);
    assert_eq!(fraction_without_signal(&RESIDUE, 4), Ok(1.0));
    assert_eq!(informative(&RESIDUE, 4), Ok(vec![false; 4]));
    for spread in [Spread::Unbiased, Spread::Population, Spread::Batch, Spread::None] {
        let relative = GroupRelative { spread, epsilon: 0.0, ..GroupRelative::UNBIASED };
        assert_eq!(relative.advantages(&RESIDUE, 4), Ok(vec![0.0; 4]), "{spread:?}");
    }
    assert_eq!(rloo::advantages(&RESIDUE, 4), Ok(vec![0.0; 4]));
    assert_eq!(centre_on_group(&RESIDUE, 4), Ok(vec![0.0; 4]));
    assert_eq!(mixed_advantages(&RESIDUE[..3], &RESIDUE[3..]), Ok((vec![0.0; 3], vec![0.0])));
    // A difference that is one counts, however small both are.
    let small = [1e-9, 1e-9, 2e-9, 1e-9];
    assert_eq!(fraction_without_signal(&small, 4), Ok(0.0));
    assert_eq!(informative(&small, 4), Ok(vec![true; 4]));
    assert_eq!(fraction_without_signal(&[0.0, -0.0], 2), Ok(1.0));
}

#[test]
fn rewards_at_the_ends_of_f64_have_the_advantages_of_their_shape() {
    let shape = [1.0, -1.0, -1.0, 1.0, 0.5, -0.25, 0.0, 1.0];
    for spread in [Spread::Unbiased, Spread::Population, Spread::Batch] {
        let relative = GroupRelative { spread, epsilon: 0.0, ..GroupRelative::UNBIASED };
        let wanted = relative.advantages(&shape, 4).unwrap();
        for scale in [1e200, 1e-200, 1e300, 1e-300] {
            let rewards = shape.map(|reward| reward * scale);
            let found = relative.advantages(&rewards, 4).unwrap();
            for (found, wanted) in found.iter().zip(&wanted) {
                assert!((found - wanted).abs() < 1e-12, "{spread:?} {scale}: {found} {wanted}");
            }
        }
    }
    // With the published epsilon, too, a huge reward counts as its sign.
    let huge = GroupRelative::UNBIASED.advantages(&[1e200, -1e200], 2).unwrap();
    assert!((huge[0] - 0.5f64.sqrt()).abs() < 1e-12 && huge[1] == -huge[0], "{huge:?}");
    let normalised = rloo::normalise(&rloo::advantages(&[1e200, -1e200], 2).unwrap()).unwrap();
    assert!((normalised[0] - 0.5f64.sqrt()).abs() < 1e-12, "{normalised:?}");
    for whitening in [Whitening::UnbiasedAdded, Whitening::PopulationClamped] {
        let rows = |scale: f64| vec![vec![scale, -scale], vec![0.5 * scale]];
        let wanted = whitening.apply(rows(1e5)).unwrap().concat();
        let found = whitening.apply(rows(1e200)).unwrap().concat();
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!((found - wanted).abs() < 1e-6, "{whitening:?}: {found} {wanted}");
        }
    }
}

#[test]
fn advantages_that_are_no_numbers_are_errors_that_name_them() {
    let extreme = [f64::MAX, -f64::MAX];
    let says = |error: headwater_optimizers::OptimizerError| error.to_string();
    let relative = GroupRelative { spread: Spread::None, ..GroupRelative::UNBIASED };
    assert!(relative.advantages(&extreme, 2).is_ok());
    let error = says(rloo::advantages(&extreme, 2).unwrap_err());
    assert!(error.starts_with("advantages[0] = inf"), "{error}");
    let alone = GroupRelative {
        spread: Spread::Batch,
        epsilon: 0.0,
        singleton: Singleton::KeepReward,
        ..GroupRelative::UNBIASED
    };
    let error = says(alone.advantages(&[1.0, 1.0], 1).unwrap_err());
    assert!(error.starts_with("advantages[0] = inf"), "{error}");
    let error = says(rloo::normalise(&[f64::NAN, 1.0]).unwrap_err());
    assert!(error.starts_with("advantages[0] = NaN"), "{error}");
    let rows = [vec![0.0, f64::NAN]];
    let error = says(reinforce_plus_plus::advantages(&rows, Whitening::UnbiasedAdded).unwrap_err());
    assert!(error.starts_with("values to whiten[0] = NaN"), "{error}");
    // What fits into f64 and not into the tensors.
    let error = says(pad_rows(&[vec![0.0, 1e200]], 2, &device()).unwrap_err());
    assert_eq!(error, "row 0[1] = 1e200: allowed is a number of at most 3.4e38");
    let error = says(pad_rows(&[vec![f64::INFINITY]], 2, &device()).unwrap_err());
    assert_eq!(error, "row 0[0] = inf: allowed is a finite number");
    assert!(mask_from_lengths(&[1, 2], 2, &device()).is_ok());
}

#[test]
fn groups_of_one_have_no_group_baseline() {
    // Any rewards would be centred to 0, and whitening would blow up what a KL penalty left.
    for rewards in [[1.0, 0.0, 0.5], [0.0, 1.0, 7.0]] {
        let batch = Experience {
            old_logp: Some(&[vec![-1.0], vec![-1.5], vec![-0.2]]),
            reference_logp: Some(&[vec![-1.1], vec![-1.4], vec![-0.3]]),
            ..Experience::new(&rewards, 1, &[1, 1, 1])
        };
        let error = Objective::reinforce_plus_plus_baseline().advantages(&batch).unwrap_err();
        let wanted =
            "reinforce++ with a group baseline needs groups of at least 2 completions: got 1";
        assert_eq!(error.to_string(), wanted);
        assert!(Objective::reinforce_plus_plus().advantages(&batch).is_ok());
    }
}

#[test]
fn a_kl_penalty_is_scaled_up_before_a_groups_statistics_and_not_after_them() {
    let log_ratios = [0.22, 0.05, 0.02, -0.01];
    let old: Vec<Vec<f64>> = log_ratios.iter().map(|d| vec![*d - 1.0]).collect();
    let reference = vec![vec![-1.0]; 4];
    let beta = 0.05;
    let advantages = |kl: KlOrder| {
        let relative = GroupRelative { kl, ..GroupRelative::UNBIASED };
        let config = ObjectiveConfig {
            advantage: AdvantageEstimator::GroupRelative(relative),
            kl: Some(KlConfig::in_reward(beta)),
            ..Objective::dr_grpo(4).config()
        };
        let batch = Experience {
            old_logp: Some(&old),
            reference_logp: Some(&reference),
            ..Experience::new(&[1.0; 4], 4, &[1; 4])
        };
        let result = config.check().unwrap().advantages(&batch).unwrap();
        // Of the rewards as given.
        assert_eq!(result.constant_groups, 1.0);
        result.tokens.concat()
    };
    // The KL's deviation from its mean over its deviation, whatever beta: -1.43 at the first.
    let mean = log_ratios.iter().sum::<f64>() / 4.0;
    let square: f64 = log_ratios.iter().map(|d| (d - mean).powi(2)).sum();
    let divisor = (square / 3.0).sqrt() * beta + 1e-4;
    for (found, d) in advantages(KlOrder::BeforeBaseline).iter().zip(log_ratios) {
        assert!((found - beta * (mean - d) / divisor).abs() < 1e-9, "{found}");
    }
    assert!(advantages(KlOrder::BeforeBaseline)[0] < -1.4);
    // OpenRLHF: 0 of equal rewards, less beta times the KL: -0.011.
    for (found, d) in advantages(KlOrder::AfterBaseline).iter().zip(log_ratios) {
        assert!((found + beta * d).abs() < 1e-12, "{found}");
    }
    // A config file that says nothing of it reads as before.
    let written = r#"{"spread": "unbiased", "epsilon": 1e-4}"#;
    assert_eq!(serde_json::from_str::<GroupRelative>(written).unwrap(), GroupRelative::UNBIASED);
}

#[test]
fn a_kl_estimate_that_overflows_is_named_and_not_the_rewards() {
    let k3 = KlConfig { estimator: KlEstimator::K3, ..KlConfig::in_reward(1.0) };
    let config = ObjectiveConfig { kl: Some(k3), ..Objective::dr_grpo(4).config() };
    let batch = Experience {
        old_logp: Some(&[vec![-1.0], vec![-0.5, -900.0]]),
        reference_logp: Some(&[vec![-1.0], vec![-0.5, -1.0]]),
        ..Experience::new(&[1.0, 0.0], 2, &[1, 2])
    };
    let error = config.check().unwrap().advantages(&batch).unwrap_err().to_string();
    let wanted = "KL estimates of old_logp[1] and reference_logp[1][1] = inf: allowed is a finite";
    assert!(error.starts_with(wanted), "{error}");
    // Limited as verl does, it is a number.
    let verl = Some(KlConfig { clamp: KlClamp::VERL, ..k3 });
    let limited = ObjectiveConfig { kl: verl, ..config }.check().unwrap();
    assert_eq!(limited.advantages(&batch).unwrap().tokens[0], [0.5 * (1.0 + 10.0)]);
    // Weights and penalties that overflow later are named for what they are.
    let heavy = KlConfig { coefficient: 1e308, ..KlConfig::in_reward(1.0) };
    let config = ObjectiveConfig { kl: Some(heavy), ..config };
    let error = config.check().unwrap().advantages(&batch).unwrap_err().to_string();
    assert!(error.starts_with("KL penalty of completion 1[1] = -inf"), "{error}");
}

#[test]
fn controllers_survive_what_is_no_observation() {
    let kl = AdaptiveKl { target: 0.1, horizon: 1e-300 };
    assert_eq!(kl.next(0.2, f64::NAN, 8), 0.2);
    assert!(kl.next(0.2, f64::INFINITY, 8).is_finite());
    assert_eq!(kl.next(0.2, 0.0, 8), 0.0);
    let objective = Objective::grpo();
    assert!(objective.with_controllers((0.1, 0.0, true)).is_ok());
    for (kl, entropy) in [(f64::NAN, 0.0), (-0.1, 0.0), (0.1, f64::INFINITY)] {
        assert!(objective.with_controllers((kl, entropy, true)).is_err());
    }
}

#[test]
fn settings_at_their_edges_are_refused_by_name() {
    let base = Objective::grpo().config();
    let refused = |config: ObjectiveConfig, wanted: &str| {
        let error = config.check().unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{error}");
    };
    for bad in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
        let clamp = KlClamp { log_ratio: Some(bad), estimate: None };
        let kl = KlConfig { clamp, ..KlConfig::in_loss(0.1, KlEstimator::K3) };
        refused(ObjectiveConfig { kl: Some(kl), ..base }, "KlConfig.clamp.log_ratio");
        let clamp = KlClamp { log_ratio: None, estimate: Some(bad) };
        let kl = KlConfig { clamp, ..kl };
        refused(ObjectiveConfig { kl: Some(kl), ..base }, "KlConfig.clamp.estimate");
        let limit = ObjectiveConfig { log_ratio_limit: Some(bad), ..base };
        refused(limit, "ObjectiveConfig.log_ratio_limit");
        let adaptive = AdaptiveEntropy { minimum: f64::NAN, ..AdaptiveEntropy::TRL };
        let entropy = EntropyConfig { adaptive: Some(adaptive), ..EntropyConfig::constant(0.0) };
        refused(
            ObjectiveConfig { entropy: Some(entropy), ..base },
            "AdaptiveEntropy.minimum = NaN",
        );
        let critique = CritiqueGrpoConfig {
            weight: RefinementWeight::Shaped { gamma: bad },
            ..CritiqueGrpoConfig::default()
        };
        assert!(critique.check().is_err());
        assert!(truncated_importance_weights(row(&[0.0]), row(&[0.0]), bad).is_err());
    }
    let gamma = RefinementWeight::Shaped { gamma: 1e-60 };
    assert!(CritiqueGrpoConfig { weight: gamma, ..CritiqueGrpoConfig::default() }.check().is_err());
    // The number as it was given, and not what rounding makes of it.
    let clip = |low, high| ObjectiveConfig {
        policy: PolicyLoss::Cispo(WeightClip::Relative { low, high }),
        ..Objective::cispo().config()
    };
    refused(clip(-0.1, 0.2), "WeightClip.low = -0.1:");
    refused(clip(1.3, 0.2), "WeightClip.low = 1.3:");
    refused(clip(0.2, -1e-20), "WeightClip.high = -0.00000000000000000001:");
}

#[test]
fn caps_beyond_f32_are_where_f32_ends() {
    let weights = truncated_importance_weights(row(&[-0.5]), row(&[-400.0]), 1e300).unwrap();
    assert!(host(weights)[0].is_finite());
}

#[test]
fn dpo_is_linear_far_from_its_margin() {
    let one = |value: f32| Tensor::<1>::from_floats([value], &device());
    for margin in [-1e4f32, 1e4] {
        let chosen = one(margin).require_grad();
        let pair = |chosen| PairLogProbs { chosen, rejected: one(0.0) };
        let loss = dpo_loss(pair(chosen.clone()), pair(one(0.0)), 1.0).unwrap();
        let gradient = chosen.grad(&loss.clone().backward()).unwrap().into_scalar::<f32>();
        let wanted = if margin < 0.0 { (1e4, -1.0) } else { (0.0, 0.0) };
        assert_eq!((loss.inner().into_scalar::<f32>(), gradient), wanted);
    }
}

#[test]
fn weights_of_an_aggregation_that_was_not_checked() {
    let weights =
        |mode| Aggregation { mode, empty_sequences: EmptySequences::Excluded }.weights(&[1, 2]);
    let error = weights(Mode::TokenMeanPerMicroBatch { rows: 0 }).unwrap_err().to_string();
    assert_eq!(error, "Aggregation.rows = 0: allowed is at least 1");
    for length in [0.0, f64::NAN, f64::INFINITY] {
        assert!(weights(Mode::SequenceMeanTokenSumNormalised { length }).is_err());
    }
}

#[test]
fn no_minus_zero_is_made_of_a_weight_of_zero() {
    let (advantages, keep) =
        Signed { positive: 1.0, negative: 0.0 }.advantages(&[1.0, 0.0]).unwrap();
    assert_eq!(keep, [true, false]);
    assert!(advantages.iter().all(|advantage| advantage.is_sign_positive()), "{advantages:?}");
}

#[test]
fn a_critic_wants_values_for_every_row() {
    let AdvantageEstimator::Critic(critic) = Objective::ppo().config().advantage else {
        panic!("ppo has a critic");
    };
    let error = critic.advantages(&[vec![1.0], vec![0.0]], &[vec![0.5]]).unwrap_err();
    assert_eq!(error.to_string(), "values has 1 entries: expected 2");
    let error = critic.advantages(&[vec![f64::MAX]], &[vec![-f64::MAX]]).unwrap_err().to_string();
    assert!(error.starts_with("advantages of completion 0[0] = inf"), "{error}");
    let loose = Critic { gamma: f64::NAN, ..critic };
    assert!(loose.advantages(&[vec![1.0]], &[vec![0.5]]).is_err());
}

/// Groups of two with these rewards.
fn rollouts(rewards: &[f64], accuracy: Option<&[f64]>) -> Rollouts {
    let prompt = Prompt { tokens: vec![3], text: "p".into(), reference: None };
    let completion = Completion {
        tokens: vec![4],
        log_probs: vec![-0.5],
        behaviour_log_probs: vec![-0.5],
        entropies: vec![0.7],
        finished: true,
    };
    Rollouts {
        group_size: 2,
        prompts: vec![prompt; rewards.len() / 2],
        completions: vec![completion; rewards.len()],
        rewards: rewards.to_vec(),
        accuracy: accuracy.map(<[f64]>::to_vec),
        rejected: 0,
    }
}

#[test]
fn rollouts_that_are_joined_keep_what_is_right_of_each() {
    let (graded, plain) = (rollouts(&[0.3, 0.9], Some(&[0.0, 1.0])), rollouts(&[1.0, 0.5], None));
    let joined = |mut first: Rollouts, second: Rollouts| {
        first.extend(second).unwrap();
        assert_eq!(first.accuracy().len(), first.rewards.len());
        first.accuracy().to_vec()
    };
    assert_eq!(joined(graded.clone(), plain.clone()), [0.0, 1.0, 1.0, 0.5]);
    assert_eq!(joined(plain.clone(), graded.clone()), [1.0, 0.5, 0.0, 1.0]);
    // Of a batch of which every group was rejected nothing says what is right.
    assert_eq!(joined(rollouts(&[], None), graded.clone()), [0.0, 1.0]);
    let other = Rollouts { group_size: 1, ..plain };
    let error = graded.clone().extend(other).unwrap_err().to_string();
    assert_eq!(error, "a group has 1 entries: expected 2");
    let error = graded.clone().retain_groups(&[true, false]).unwrap_err().to_string();
    assert_eq!(error, "keep has 2 entries: expected 1");
    let mut kept = graded;
    kept.retain_groups(&[false]).unwrap();
    assert_eq!((kept.prompts.len(), kept.rewards.len(), kept.accuracy().len()), (0, 0, 0));
}
