//! Expected gradients on a categorical policy, by enumeration of every action.
use crate::common::{assert_close, device, host};
use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use headwater_core::Check;
use headwater_core::Streams;
use headwater_optimizers::kl::{KlConfig, KlEstimator};
use headwater_optimizers::{Objective, ObjectiveConfig};
use rand::RngExt;

const ACTIONS: usize = 5;

fn softmax(logits: &[f64]) -> Vec<f64> {
    let total: f64 = logits.iter().map(|z| z.exp()).sum();
    logits.iter().map(|z| z.exp() / total).collect()
}

fn logits(name: &str, seed: u64) -> Vec<f64> {
    let mut rng = Streams::new(seed).stream(name, &[]);
    (0..ACTIONS).map(|_| 3.0 * rng.random::<f64>() - 1.5).collect()
}

fn column(values: &[f64]) -> Tensor<2> {
    let flat: Vec<f32> = values.iter().map(|v| *v as f32).collect();
    Tensor::<1>::from_data(&flat[..], &device()).reshape([ACTIONS, 1])
}

/// `sum_v q_v grad loss(v)` with respect to the logits: each action is a completion of one token,
/// and its probability under the behaviour policy its weight.
fn expected_gradient(
    objective: &Objective,
    policy: &[f64],
    behaviour: &[f64],
    reference: &[f64],
    advantages: &[f64],
) -> Vec<f64> {
    let logits = column(policy).require_grad();
    let log = |p: Vec<f64>| column(&p.iter().map(|p| p.ln()).collect::<Vec<_>>());
    let loss = objective
        .token_loss(
            log_softmax(logits.clone(), 0),
            log(softmax(behaviour)),
            Some(log(softmax(reference))),
            column(advantages),
            Tensor::ones([ACTIONS, 1], &device()),
        )
        .unwrap();
    let total = (loss * column(&softmax(behaviour))).sum();
    host(logits.grad(&total.backward()).unwrap())
}

fn only_kl(estimator: KlEstimator, importance_weighted: bool) -> Objective {
    let kl = KlConfig { importance_weighted, ..KlConfig::in_loss(1.0, estimator) };
    ObjectiveConfig { kl: Some(kl), ..Objective::dr_grpo(1).config() }.check().unwrap()
}

/// `d KL(pi, ref) / dz_v = pi_v (log(pi_v / ref_v) - KL)`.
fn reverse_kl_gradient(policy: &[f64], reference: &[f64]) -> Vec<f64> {
    let (p, r) = (softmax(policy), softmax(reference));
    let kl: f64 = p.iter().zip(&r).map(|(p, r)| p * (p / r).ln()).sum();
    p.iter().zip(&r).map(|(p, r)| p * ((p / r).ln() - kl)).collect()
}

#[track_caller]
fn assert_all_close(found: &[f64], expected: &[f64]) {
    let scale = expected.iter().fold(0.01f64, |m, e| m.max(e.abs()));
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() < 2e-5 * scale.max(1.0), "{found:?} is not {expected:?}");
    }
}

#[test]
fn on_policy_k2_has_the_reverse_and_k3_the_forward_gradient() {
    for seed in 0..5 {
        let (policy, reference) = (logits("policy", seed), logits("reference", seed));
        let gradient = |estimator| {
            let objective = only_kl(estimator, false);
            expected_gradient(&objective, &policy, &policy, &reference, &[0.0; ACTIONS])
        };
        let reverse = reverse_kl_gradient(&policy, &reference);
        // d KL(ref, pi) / dz_v = pi_v - ref_v.
        let (p, r) = (softmax(&policy), softmax(&reference));
        let forward: Vec<f64> = p.iter().zip(&r).map(|(p, r)| p - r).collect();
        assert_all_close(&gradient(KlEstimator::K2), &reverse);
        assert_all_close(&gradient(KlEstimator::K3), &forward);
        assert_all_close(&gradient(KlEstimator::K3StraightThrough), &reverse);
        assert!(reverse.iter().zip(&forward).any(|(a, b)| (a - b).abs() > 1e-2));
    }
}

#[test]
fn k1_as_a_loss_averages_to_nothing_and_is_refused() {
    let config = |weighted| {
        let kl =
            KlConfig { importance_weighted: weighted, ..KlConfig::in_loss(1.0, KlEstimator::K1) };
        ObjectiveConfig { kl: Some(kl), ..Objective::dr_grpo(1).config() }
    };
    assert!(config(false).check().is_err());
    // Directly: sum_v pi_v d(log pi_v)/dz = 0.
    let policy = logits("policy", 1);
    let z = column(&policy).require_grad();
    let tokens = headwater_optimizers::TokenBatch::new(
        log_softmax(z.clone(), 0),
        column(&policy),
        column(&policy),
        Tensor::ones([ACTIONS, 1], &device()),
    )
    .unwrap();
    let kl = config(false).kl.unwrap();
    let penalty = kl.token_penalty(&tokens, column(&logits("reference", 1)), None).unwrap();
    let expected = (penalty * column(&softmax(&policy))).sum();
    let gradient = host(z.grad(&expected.backward()).unwrap());
    assert!(gradient.iter().all(|g| g.abs() < 1e-6), "{gradient:?}");
}

#[test]
fn importance_weighted_estimators_have_the_reverse_gradient_off_policy_too() {
    for seed in 0..5 {
        let [policy, behaviour, reference] =
            ["policy", "behaviour", "reference"].map(|name| logits(name, seed));
        let reverse = reverse_kl_gradient(&policy, &reference);
        for estimator in [KlEstimator::K1, KlEstimator::K3] {
            let objective = only_kl(estimator, true);
            let gradient =
                expected_gradient(&objective, &policy, &behaviour, &reference, &[0.0; ACTIONS]);
            assert_all_close(&gradient, &reverse);
        }
        let plain = expected_gradient(
            &only_kl(KlEstimator::K2, false),
            &policy,
            &behaviour,
            &reference,
            &[0.0; ACTIONS],
        );
        assert!(plain.iter().zip(&reverse).any(|(a, b)| (a - b).abs() > 1e-2));
    }
}

#[test]
fn the_expected_policy_gradient_is_that_of_the_expected_reward() {
    let rewards = [1.0, 0.0, 0.3, -0.5, 0.8];
    for seed in 0..5 {
        let policy = logits("policy", seed);
        let p = softmax(&policy);
        let mean: f64 = p.iter().zip(rewards).map(|(p, r)| p * r).sum();
        // -d E[R] / dz_v = -pi_v (R_v - E[R]); a baseline changes nothing in expectation.
        let exact: Vec<f64> = p.iter().zip(rewards).map(|(p, r)| -p * (r - mean)).collect();
        for objective in [Objective::reinforce(), Objective::cispo(), Objective::nsr()] {
            for baseline in [0.0, 0.7] {
                let advantages = rewards.map(|r| r - baseline);
                let gradient =
                    expected_gradient(&objective, &policy, &policy, &policy, &advantages);
                assert_all_close(&gradient, &exact);
            }
        }
    }
}

#[test]
fn negative_reinforcement_moves_logits_as_the_ratio_form_says() {
    // One wrong action y with A = -1: the loss' gradient is 1[v = y] - pi_v, without the further
    // factor pi_y of the paper's formula.
    let policy = logits("policy", 3);
    let p = softmax(&policy);
    let wrong = 2;
    let mut advantages = [0.0; ACTIONS];
    advantages[wrong] = -1.0;
    let gradient = expected_gradient(&Objective::nsr(), &policy, &policy, &policy, &advantages);
    for (v, found) in gradient.iter().enumerate() {
        let expected = f64::from(u8::from(v == wrong)) - p[v];
        // The helper weighs each action by its probability.
        assert_close(found / p[wrong], expected, 1e-4);
    }
}
