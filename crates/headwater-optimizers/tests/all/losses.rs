//! Policy losses and their gradients, against formulas written down again in f64 and differentiated
//! numerically, and against each other where theory says they agree.
use crate::common::{Minibatch, assert_close, assert_rows_close, device, host, loss_and_gradient};
use burn::tensor::Tensor;
use headwater_core::Check;
use headwater_optimizers::aggregation::Mode;
use headwater_optimizers::cispo::WeightClip;
use headwater_optimizers::gspo::RatioForm;
use headwater_optimizers::kl::{AdaptiveKl, KlClamp, KlConfig, KlEstimator};
use headwater_optimizers::ppo::Clip;
use headwater_optimizers::{Objective, ObjectiveConfig, OptimizerError, PolicyLoss, TokenRows};

const CLIP: Clip = Clip { low: 0.2, high: 0.28, dual: None };
const DUAL: Clip = Clip { low: 0.2, high: 0.28, dual: Some(1.6) };

fn objective(policy: PolicyLoss, mode: Mode) -> Objective {
    let base = Objective::dr_grpo(8).config();
    ObjectiveConfig { policy, aggregation: mode.into(), ..base }.check().unwrap()
}

fn surrogate(ratio: f64, advantage: f64, clip: &Clip) -> f64 {
    let clipped = ratio.min(1.0 + clip.high).max(1.0 - clip.low);
    let loss = f64::max(-advantage * ratio, -advantage * clipped);
    match clip.dual {
        Some(bound) if advantage < 0.0 => loss.min(-advantage * bound),
        _ => loss,
    }
}

/// The loss in f64. `frozen` is what a stop-gradient sees of the log-probabilities.
fn oracle(
    policy: &PolicyLoss,
    batch: &Minibatch,
    logp: &[Vec<f64>],
    frozen: &[Vec<f64>],
    weights: &[Vec<f64>],
) -> f64 {
    let mut total = 0.0;
    for (i, row) in logp.iter().enumerate() {
        let sum = |rows: &[Vec<f64>]| -> f64 {
            rows[i].iter().zip(&batch.old_logp[i]).map(|(p, old)| p - old).sum()
        };
        let length = row.len() as f64;
        for (t, &p) in row.iter().enumerate() {
            let (old, advantage) = (batch.old_logp[i][t], batch.advantages[i][t]);
            let loss = match policy {
                PolicyLoss::Reinforce => -advantage * p,
                PolicyLoss::Clipped(clip) => surrogate((p - old).exp(), advantage, clip),
                PolicyLoss::SequenceClipped(clip) => surrogate(sum(logp).exp(), advantage, clip),
                PolicyLoss::Gspo { clip, form: RatioForm::Sequence } => {
                    surrogate((sum(logp) / length).exp(), advantage, clip)
                }
                PolicyLoss::Gspo { clip, form: RatioForm::Token } => {
                    let held = (sum(frozen) / length).exp();
                    surrogate(held * (p - frozen[i][t]).exp(), advantage, clip)
                }
                PolicyLoss::Cispo(WeightClip::Relative { low, high }) => {
                    let ratio = (frozen[i][t] - old).exp();
                    -ratio.min(1.0 + high).max(1.0 - low) * advantage * p
                }
                PolicyLoss::Cispo(WeightClip::Cap { cap }) => {
                    -(frozen[i][t] - old).exp().min(*cap) * advantage * p
                }
            };
            total += weights[i][t] * loss;
        }
    }
    total
}

fn numerical_gradient(f: impl Fn(&[Vec<f64>]) -> f64, at: &[Vec<f64>]) -> TokenRows {
    const STEP: f64 = 1e-6;
    let shifted = |i: usize, t: usize, by: f64| {
        let mut point = at.to_vec();
        point[i][t] += by;
        f(&point)
    };
    let row = |i: usize| {
        (0..at[i].len())
            .map(|t| (shifted(i, t, STEP) - shifted(i, t, -STEP)) / (2.0 * STEP))
            .collect()
    };
    (0..at.len()).map(row).collect()
}

#[test]
fn every_policy_loss_and_its_gradient_match_the_formula() {
    let by_token = Mode::TokenMean;
    let by_sequence = Mode::SequenceMeanTokenMean;
    let tight = Clip { low: 0.05, high: 0.1, dual: None };
    let cases = [
        (PolicyLoss::Reinforce, by_token),
        (PolicyLoss::Clipped(CLIP), by_token),
        (PolicyLoss::Clipped(DUAL), Mode::SequenceMeanTokenSum),
        (PolicyLoss::SequenceClipped(CLIP), by_sequence),
        (PolicyLoss::SequenceClipped(DUAL), by_sequence),
        (PolicyLoss::Gspo { clip: tight, form: RatioForm::Sequence }, by_sequence),
        (PolicyLoss::Gspo { clip: tight, form: RatioForm::Token }, by_sequence),
        (PolicyLoss::Cispo(WeightClip::Relative { low: 0.2, high: 0.2 }), by_token),
        (PolicyLoss::Cispo(WeightClip::Cap { cap: 2.0 }), by_token),
    ];
    let batch = Minibatch::off_policy();
    for (policy, mode) in cases {
        let objective = objective(policy, mode);
        let weights = objective.token_weights(&batch.lengths);
        let (loss, gradient) = loss_and_gradient(&objective, &batch, &weights);
        let f = |logp: &[Vec<f64>]| oracle(&policy, &batch, logp, &batch.logp, &weights);
        println!("{policy:?}");
        // Losses of both signs cancel, so f32 is held to an absolute error.
        assert!((loss - f(&batch.logp)).abs() < 1e-6);
        assert_rows_close(&gradient, &numerical_gradient(f, &batch.logp), 1e-4);
    }
}

#[test]
fn kl_in_the_loss_matches_the_formula_for_every_estimator() {
    let batch = Minibatch::off_policy();
    let no_policy = Minibatch {
        advantages: batch.lengths.iter().map(|&t| vec![0.0; t]).collect(),
        ..batch.clone()
    };
    let k = |estimator, d: f64| match estimator {
        KlEstimator::K1 => d,
        KlEstimator::K2 => d * d / 2.0,
        KlEstimator::K3 | KlEstimator::K3StraightThrough => (-d).exp() - 1.0 + d,
    };
    for (estimator, weighted) in [
        (KlEstimator::K2, false),
        (KlEstimator::K3, false),
        (KlEstimator::K1, true),
        (KlEstimator::K3, true),
    ] {
        let kl = KlConfig { importance_weighted: weighted, ..KlConfig::in_loss(0.3, estimator) };
        let objective =
            ObjectiveConfig { kl: Some(kl), ..Objective::dapo(8).config() }.check().unwrap();
        let weights = objective.token_weights(&batch.lengths);
        let f = |logp: &[Vec<f64>]| {
            let mut total = 0.0;
            for (i, row) in logp.iter().enumerate() {
                for (t, &p) in row.iter().enumerate() {
                    let ratio = if weighted { (p - batch.old_logp[i][t]).exp() } else { 1.0 };
                    let d = p - batch.reference_logp[i][t];
                    total += weights[i][t] * 0.3 * ratio * k(estimator, d);
                }
            }
            total
        };
        let (loss, gradient) = loss_and_gradient(&objective, &no_policy, &weights);
        assert_close(loss, f(&batch.logp), 1e-4);
        assert_rows_close(&gradient, &numerical_gradient(f, &batch.logp), 1e-3);
    }
}

#[test]
fn straight_through_has_the_value_of_k3_and_the_gradient_of_k2() {
    let batch = Minibatch::off_policy();
    let run = |estimator| {
        let kl = Some(KlConfig::in_loss(1.0, estimator));
        let objective = ObjectiveConfig { kl, ..Objective::dapo(8).config() }.check().unwrap();
        loss_and_gradient(&objective, &batch, &objective.token_weights(&batch.lengths))
    };
    let (value, gradient) = run(KlEstimator::K3StraightThrough);
    assert_close(value, run(KlEstimator::K3).0, 1e-6);
    assert_rows_close(&gradient, &run(KlEstimator::K2).1, 1e-6);
    assert!((value - run(KlEstimator::K2).0).abs() > 1e-3);
}

#[test]
fn gspo_in_plain_and_token_form_has_the_same_loss_and_gradient() {
    let batch = Minibatch::off_policy();
    for clip in [Clip { low: 0.05, high: 0.1, dual: None }, Clip::symmetric(0.9)] {
        let run = |form| {
            let mode = Mode::SequenceMeanTokenMean;
            let objective = objective(PolicyLoss::Gspo { clip, form }, mode);
            loss_and_gradient(&objective, &batch, &objective.token_weights(&batch.lengths))
        };
        let ((plain, gradient), (token, token_gradient)) =
            (run(RatioForm::Sequence), run(RatioForm::Token));
        assert_close(token, plain, 1e-6);
        assert_rows_close(&token_gradient, &gradient, 1e-5);
        assert!(gradient.iter().flatten().any(|g| g.abs() > 0.01));
    }
}

#[test]
fn on_policy_every_loss_has_reinforces_gradient_up_to_aggregation() {
    let batch = Minibatch::on_policy();
    let gradient = |policy, mode: Mode| {
        let objective = objective(policy, mode);
        loss_and_gradient(&objective, &batch, &objective.token_weights(&batch.lengths)).1
    };
    let cispo = PolicyLoss::Cispo(WeightClip::Relative { low: 0.2, high: 0.2 });
    let gspo = |form| PolicyLoss::Gspo { clip: Clip { low: 3e-4, high: 4e-4, dual: None }, form };
    let mean = Mode::SequenceMeanTokenMean;
    let reinforce = gradient(PolicyLoss::Reinforce, mean);
    for policy in
        [PolicyLoss::Clipped(CLIP), cispo, gspo(RatioForm::Sequence), gspo(RatioForm::Token)]
    {
        assert_rows_close(&gradient(policy, mean), &reinforce, 1e-5);
    }
    // The ratio of whole sequences sums over tokens.
    assert_rows_close(
        &gradient(PolicyLoss::SequenceClipped(CLIP), mean),
        &gradient(PolicyLoss::Reinforce, Mode::SequenceMeanTokenSum),
        1e-5,
    );
    // And the common gradient is -A / (N T_i).
    for (i, row) in reinforce.iter().enumerate() {
        let expected = -batch.advantages[i][0] / (4.0 * batch.lengths[i] as f64);
        row.iter().for_each(|g| assert_close(*g, expected, 1e-6));
    }
}

#[test]
fn the_gradient_does_not_depend_on_the_cut_into_micro_batches() {
    let batch = Minibatch::off_policy();
    let cut = |objective: &Objective, size: usize, local: bool| {
        let weights = objective.token_weights(&batch.lengths);
        let mut gradient = TokenRows::new();
        for start in (0..4).step_by(size) {
            let rows = batch.rows(start..start + size);
            let own = objective.token_weights(&rows.lengths);
            let weights = if local { &own[..] } else { &weights[start..start + size] };
            gradient.extend(loss_and_gradient(objective, &rows, weights).1);
        }
        gradient
    };
    for mode in [
        Mode::TokenMean,
        Mode::SequenceMeanTokenMean,
        Mode::SequenceMeanTokenSumNormalised { length: 8.0 },
    ] {
        let objective = objective(PolicyLoss::Clipped(CLIP), mode);
        let whole = cut(&objective, 4, false);
        assert_rows_close(&cut(&objective, 1, false), &whole, 1e-6);
        assert_rows_close(&cut(&objective, 2, false), &whole, 1e-6);
    }
    // A token mean inside each micro-batch, averaged over them, is another gradient.
    let split = |rows| objective(PolicyLoss::Clipped(CLIP), Mode::TokenMeanPerMicroBatch { rows });
    let (one, two) = (cut(&split(1), 4, false), cut(&split(2), 4, false));
    assert!((one[0][0] - two[0][0]).abs() > 1e-3);
    // It is what a trainer gets that weighs each micro-batch by itself: twice the half-batches'
    // mean.
    let local = cut(&objective(PolicyLoss::Clipped(CLIP), Mode::TokenMean), 2, true);
    let halved: TokenRows = local.iter().map(|row| row.iter().map(|g| g / 2.0).collect()).collect();
    assert_rows_close(&two, &halved, 1e-5);
}

/// One token: its loss and gradient at this log-ratio and advantage.
fn one_token(policy: PolicyLoss, log_ratio: f64, advantage: f64) -> (f64, f64) {
    let batch = Minibatch {
        logp: vec![vec![log_ratio - 1.0]],
        old_logp: vec![vec![-1.0]],
        reference_logp: vec![vec![-1.0]],
        advantages: vec![vec![advantage]],
        lengths: vec![1],
    };
    let objective = objective(policy, Mode::SequenceMeanTokenMean);
    let (loss, gradient) = loss_and_gradient(&objective, &batch, &[vec![1.0]]);
    (loss, gradient[0][0])
}

#[test]
fn the_dual_clip_bounds_negative_tokens_and_nothing_else() {
    let dual = PolicyLoss::Clipped(Clip { dual: Some(3.0), ..Clip::symmetric(0.2) });
    let plain = PolicyLoss::Clipped(Clip::symmetric(0.2));
    let five = 5.0f64.ln();
    let (loss, gradient) = one_token(plain, five, -2.0);
    assert_close(loss, 10.0, 1e-5);
    assert_close(gradient, 10.0, 1e-5);
    let (loss, gradient) = one_token(dual, five, -2.0);
    assert_close(loss, 6.0, 1e-5);
    assert_eq!(gradient, 0.0);
    // Positive advantages: PPO's clip alone, stopped above 1.2 and not below 0.8.
    assert_eq!(one_token(dual, five, 2.0), one_token(plain, five, 2.0));
    assert_eq!(one_token(dual, five, 2.0).1, 0.0);
    assert_close(one_token(dual, -five, 2.0).1, -0.4, 1e-5);
    // Negative advantages stop below 0.8.
    assert_eq!(one_token(dual, -five, -2.0).1, 0.0);
}

#[test]
fn cispo_keeps_a_gradient_where_ppo_has_none_and_its_two_clips_agree_where_they_should() {
    let five = 5.0f64.ln();
    let verl = PolicyLoss::Cispo(WeightClip::Relative { low: 0.2, high: 0.2 });
    assert_close(one_token(verl, five, 1.0).1, -1.2, 1e-5);
    assert_close(one_token(verl, -five, 1.0).1, -0.8, 1e-5);
    let cap = PolicyLoss::Cispo(WeightClip::Cap { cap: 5.0 });
    let relative = PolicyLoss::Cispo(WeightClip::Relative { low: 1.0, high: 4.0 });
    for log_ratio in [-3.0, -0.5, 0.7, 2.0] {
        assert_eq!(one_token(cap, log_ratio, 0.5), one_token(relative, log_ratio, 0.5));
    }
    assert_close(one_token(cap, 2.0, 1.0).1, -5.0, 1e-5);
}

#[test]
fn a_limited_log_ratio_stays_finite_and_stops_the_gradient() {
    let (loss, gradient) = one_token(PolicyLoss::Clipped(Clip::symmetric(0.2)), 500.0, -1.0);
    assert_close(loss, 20.0f64.exp(), 1e-5);
    assert_eq!(gradient, 0.0);
    let limit = one_token(PolicyLoss::Clipped(Clip::symmetric(0.2)), 19.0, -1.0);
    assert_close(limit.1, 19.0f64.exp(), 1e-4);
}

#[test]
fn padding_may_hold_infinities_and_nan() {
    let device = device();
    let bad = f32::NEG_INFINITY;
    for objective in [
        Objective::grpo(),
        Objective::gspo(),
        Objective::cispo(),
        Objective::rloo(),
        Objective::reinforce(),
    ] {
        let logp = Tensor::<2>::from_data([[-1.0, bad], [-0.5, -2.0]], &device).require_grad();
        let old = Tensor::<2>::from_data([[-1.0, bad], [-0.5, -2.0]], &device);
        let reference = Tensor::<2>::from_data([[-1.2, f32::NAN], [-0.4, -2.0]], &device);
        let advantages = Tensor::<2>::from_data([[1.0, f32::NAN], [-1.0, -1.0]], &device);
        let mask = Tensor::<2>::from_data([[1.0, 0.0], [1.0, 1.0]], &device);
        let loss =
            objective.token_loss(logp.clone(), old, Some(reference), advantages, mask).unwrap();
        let gradient = host(logp.grad(&loss.clone().sum().backward()).unwrap());
        let loss = host(loss);
        assert_eq!((loss[1], gradient[1]), (0.0, 0.0));
        assert!(loss.iter().chain(&gradient).all(|x| x.is_finite()));
        assert!(gradient[0] != 0.0 && gradient[3] != 0.0);
    }
}

#[test]
fn clip_fractions_count_the_tokens_whose_gradient_is_zero() {
    let batch = Minibatch::off_policy();
    let device = device();
    let tensor = |rows: &TokenRows| headwater_optimizers::pad_rows(rows, 5, &device).unwrap();
    let objective = objective(PolicyLoss::Clipped(CLIP), Mode::TokenMean);
    let mask = headwater_optimizers::mask_from_lengths(&batch.lengths, 5, &device).unwrap();
    let fractions = objective
        .clip_fractions(
            tensor(&batch.logp),
            tensor(&batch.old_logp),
            tensor(&batch.advantages),
            mask,
        )
        .unwrap();
    let weights = objective.token_weights(&batch.lengths);
    let gradient = loss_and_gradient(&objective, &batch, &weights).1;
    let stopped = gradient.iter().flatten().filter(|g| **g == 0.0).count() as f64 / 10.0;
    assert_close(fractions.low + fractions.high, stopped, 1e-6);
    // By hand: log-ratios .9 and 1.0 with A > 0; -.9 with A < 0 (-.15 is inside).
    assert_close(fractions.high, 0.2, 1e-6);
    assert_close(fractions.low, 0.1, 1e-6);
}

#[test]
fn the_value_loss_takes_the_worse_of_clipped_and_plain() {
    let critic = Objective::ppo().critic().unwrap();
    let device = device();
    let tensor = |x: [f32; 3]| Tensor::<2>::from_data([x], &device);
    let values = tensor([1.0, 0.2, -1.0]).require_grad();
    let loss = critic.value_loss(values.clone(), tensor([0.0; 3]), tensor([2.0, 2.0, 2.0]));
    // (clip(1) - 2)^2 = 2.25 > 1; inside the clip; plain 9 > (-0.5 - 2)^2 = 6.25.
    let expected = [1.125, 1.62, 4.5];
    host(loss.clone()).iter().zip(expected).for_each(|(l, e)| assert_close(*l, e, 1e-6));
    let gradient = host(values.grad(&loss.sum().backward()).unwrap());
    gradient.iter().zip([0.0, -1.8, -3.0]).for_each(|(g, e)| assert_close(*g, e, 1e-6));
}

#[test]
fn shapes_and_missing_references_are_errors() {
    let device = device();
    let (a, b) = (Tensor::<2>::zeros([2, 3], &device), Tensor::<2>::zeros([2, 1], &device));
    let loss = |old: &Tensor<2>, reference| {
        let [logp, advantages, mask] = [0; 3].map(|_| a.clone());
        Objective::grpo().token_loss(logp, old.clone(), reference, advantages, mask)
    };
    // A [n, 1] tensor would broadcast without a word.
    let shape = OptimizerError::Shape { what: "old_logp", found: vec![2, 1], expected: vec![2, 3] };
    assert_eq!(loss(&b, None).unwrap_err(), shape);
    let error = loss(&a, None).unwrap_err();
    assert_eq!(error.to_string(), "a KL penalty in the loss needs `reference_logp`, which is None");
    assert!(matches!(loss(&a, Some(b)), Err(OptimizerError::Shape { what: "reference_logp", .. })));
}

#[test]
fn host_estimates_follow_the_definitions_and_limits() {
    let of = |estimator, d| KlConfig { estimator, ..KlConfig::in_reward(1.0) }.estimate(d);
    assert_eq!(of(KlEstimator::K1, -0.5), -0.5);
    assert_eq!(of(KlEstimator::K2, -0.5), 0.125);
    assert_close(of(KlEstimator::K3, -0.5), 0.148_721_270_700_128, 1e-12);
    assert_close(of(KlEstimator::K3, 1e-9), 5e-19, 1e-6);
    let verl = KlConfig { clamp: KlClamp::VERL, ..KlConfig::in_loss(1.0, KlEstimator::K3) };
    assert_eq!(verl.estimate(-50.0), 10.0);
    let limited = KlClamp { log_ratio: Some(2.0), estimate: None };
    let limited = KlConfig { clamp: limited, ..KlConfig::in_reward(1.0) };
    assert_eq!((limited.estimate(5.0), limited.estimate(-5.0)), (2.0, -2.0));
}

#[test]
fn the_kl_controller_moves_towards_its_target_by_limited_steps() {
    let controller = AdaptiveKl { target: 6.0, horizon: 10_000.0 };
    // error clipped to 0.2: 0.2 * (1 + 0.2 * 256 / 10000).
    assert_close(controller.next(0.2, 60.0, 256), 0.201_024, 1e-12);
    assert_close(controller.next(0.2, 0.0, 256), 0.198_976, 1e-12);
    assert_close(controller.next(0.2, 6.6, 256), 0.200_512, 1e-12);
    assert_eq!(controller.next(0.2, 6.0, 256), 0.2);
    assert_eq!(controller.next(0.2, 0.0, 1_000_000), 0.0);
}
