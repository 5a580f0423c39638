//! Distillation losses on explicit distributions: golden values, textbook formulas in f64 differentiated
//! numerically, the identities that hold among them, and what must not matter.
use crate::common::{assert_close, device, host};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};
use headwater_core::Streams;
use headwater_optimizers::distillation::{
    Divergence, gaps, truncated_importance_weights, with_tail,
};
use headwater_optimizers::ppo::Clip;
use headwater_optimizers::top_k::{HintChoice, TopK, TopKSubset, choose_hints};
use headwater_optimizers::{Objective, OptimizerError, at_targets};
use proptest::prelude::*;
use rand::RngExt;

const DIVERGENCES: [Divergence; 4] = [
    Divergence::ReverseKl,
    Divergence::ForwardKl,
    Divergence::JensenShannon { beta: 0.5 },
    Divergence::JensenShannon { beta: 0.2 },
];

/// Logits `[n][t][v]`, flat, in f64.
#[derive(Debug, Clone)]
struct Logits {
    values: Vec<f64>,
    dims: [usize; 3],
}

impl Logits {
    fn random(name: &str, seed: u64, dims: [usize; 3], scale: f64) -> Self {
        let mut rng = Streams::new(seed).stream(name, &[]);
        let count = dims.iter().product();
        let values = (0..count).map(|_| scale * (rng.random::<f64>() - 0.5)).collect();
        Self { values, dims }
    }

    fn tensor(&self) -> Tensor<3> {
        let values: Vec<f32> = self.values.iter().map(|v| *v as f32).collect();
        Tensor::from_data(TensorData::new(values, self.dims), &device())
    }

    /// Log-probabilities, one vector for each position.
    fn log_distributions(&self) -> Vec<Vec<f64>> {
        self.values.chunks(self.dims[2]).map(log_softmax_of).collect()
    }
}

fn log_softmax_of(logits: &[f64]) -> Vec<f64> {
    let total = logits.iter().map(|z| z.exp()).sum::<f64>().ln();
    logits.iter().map(|z| z - total).collect()
}

/// Log-probabilities `[1, 1, v]`.
fn distribution(probabilities: &[f64]) -> Tensor<3> {
    let dims = [1, 1, probabilities.len()];
    Logits { values: probabilities.iter().map(|p| p.ln()).collect(), dims }.tensor()
}

fn ones(n: usize, t: usize) -> Tensor<2> {
    Tensor::ones([n, t], &device())
}

fn kl(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum()
}

/// The textbook form, from log-probabilities.
fn divergence(which: Divergence, student: &[f64], teacher: &[f64]) -> f64 {
    match which {
        Divergence::ReverseKl => kl(student, teacher),
        Divergence::ForwardKl => kl(teacher, student),
        Divergence::JensenShannon { beta } => {
            let pairs = student.iter().zip(teacher);
            let mixture: Vec<f64> =
                pairs.map(|(s, t)| (beta * t.exp() + (1.0 - beta) * s.exp()).ln()).collect();
            beta * kl(teacher, &mixture) + (1.0 - beta) * kl(student, &mixture)
        }
    }
}

/// Slopes of `f` in every logit.
fn numerical_gradient(f: impl Fn(&Logits) -> f64, at: &Logits) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let shifted = |i: usize, by: f64| {
        let mut point = at.clone();
        point.values[i] += by;
        f(&point)
    };
    (0..at.values.len()).map(|i| (shifted(i, STEP) - shifted(i, -STEP)) / (2.0 * STEP)).collect()
}

/// Token losses, and the gradient of their sum with respect to the student's logits.
fn run(student: &Logits, loss: impl Fn(Tensor<3>) -> Tensor<2>) -> (Vec<f64>, Vec<f64>) {
    let logits = student.tensor().require_grad();
    let losses = loss(log_softmax(logits.clone(), 2));
    let gradient = logits.grad(&losses.clone().sum().backward()).unwrap();
    (host(losses), host(gradient))
}

#[track_caller]
fn assert_all_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() < tolerance, "{found:?} is not {expected:?}");
    }
}

#[test]
fn divergences_have_their_golden_values() {
    let student = || distribution(&[0.6, 0.3, 0.1]);
    let teacher = || distribution(&[0.1, 0.2, 0.7]);
    let expected = [
        (Divergence::ReverseKl, 1.002_104_199),
        (Divergence::ForwardKl, 1.101_868_136),
        (Divergence::JensenShannon { beta: 0.5 }, 0.230_645_488),
        (Divergence::JensenShannon { beta: 0.2 }, 0.157_391_790),
    ];
    for (which, expected) in expected {
        let loss = which.token_loss(student(), teacher(), ones(1, 1)).unwrap();
        assert_close(host(loss)[0], expected, 1e-5);
    }
    // The two tokens that are not the student's first become one.
    let [student, teacher] = with_tail(student(), teacher(), 1).unwrap();
    let loss = Divergence::ReverseKl.token_loss(student, teacher, ones(1, 1)).unwrap();
    assert_close(host(loss)[0], 0.750_683_595, 1e-5);
}

#[test]
fn divergences_and_their_gradients_match_the_formula_and_ignore_padding() {
    let (dims, scale) = ([2, 3, 5], 4.0);
    for seed in 0..3 {
        let (student, teacher) = (
            Logits::random("student", seed, dims, scale),
            Logits::random("teacher", seed, dims, scale),
        );
        // The last two positions of the second row are padding, and hold what must not be read.
        let mask = || Tensor::<2>::from_data([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]], &device());
        let kept = [0, 1, 2, 3];
        let mut spoilt = log_softmax(teacher.tensor(), 2).try_into_vec_as::<f32>().unwrap();
        spoilt[20] = f32::NAN;
        spoilt[27] = f32::NEG_INFINITY;
        let spoilt = || Tensor::<3>::from_data(TensorData::new(spoilt.clone(), dims), &device());
        let teacher = teacher.log_distributions();
        for which in DIVERGENCES {
            let (losses, gradient) =
                run(&student, |s| which.token_loss(s, spoilt(), mask()).unwrap());
            let of = |logits: &Logits| -> Vec<f64> {
                let student = logits.log_distributions();
                kept.iter().map(|i| divergence(which, &student[*i], &teacher[*i])).collect()
            };
            assert_all_close(&losses[..4], &of(&student), 1e-5);
            assert_eq!(losses[4..], [0.0, 0.0]);
            let expected = numerical_gradient(|logits| of(logits).iter().sum(), &student);
            assert_all_close(&gradient, &expected, 1e-5);
            assert!(gradient[..20].iter().any(|g| g.abs() > 0.01));
            assert!(gradient[20..].iter().all(|g| *g == 0.0));
        }
    }
}

#[test]
fn a_teacher_equal_to_the_student_gives_exactly_nothing() {
    let student = Logits::random("student", 1, [2, 4, 7], 6.0);
    let teacher = || log_softmax(student.tensor(), 2);
    let top_k = |subset| TopK { subset, gap_limit: None, ..TopK::personal() };
    let all_zero = |(losses, gradient): (Vec<f64>, Vec<f64>)| {
        losses.iter().chain(&gradient).all(|x| *x == 0.0)
    };
    for which in DIVERGENCES {
        assert!(all_zero(run(&student, |s| which.token_loss(s, teacher(), ones(2, 4)).unwrap())));
    }
    for subset in [TopKSubset::Student, TopKSubset::Teacher, TopKSubset::Intersection] {
        let loss = |s: Tensor<3>| {
            let old = s.clone().detach();
            top_k(subset).token_loss(s, old, teacher(), ones(2, 4), None).unwrap()
        };
        assert!(all_zero(run(&student, loss)));
    }
}

#[test]
fn on_average_the_sampled_gap_has_the_reverse_kl_gradient() {
    // Every token of a vocabulary of 6 as a response of one token, weighted by its probability.
    let logits = Logits::random("student", 4, [1, 1, 6], 3.0);
    let teacher = Logits::random("teacher", 4, [1, 1, 6], 3.0);
    let (student, of_teacher) =
        (logits.log_distributions().remove(0), teacher.log_distributions().remove(0));
    let column = |row: &[f64]| -> Vec<Vec<f64>> { row.iter().map(|x| vec![*x]).collect() };
    let advantages = gaps(&column(&of_teacher), &column(&student), None).unwrap();
    let pad = |rows: &[Vec<f64>]| headwater_optimizers::pad_rows(rows, 1, &device()).unwrap();
    let weights: Vec<Vec<f64>> = student.iter().map(|p| vec![p.exp()]).collect();
    let sampled = run(&logits, |s| {
        let targets = Tensor::<1, burn::tensor::Int>::arange(0..6, &device()).reshape([6, 1]);
        let logp = at_targets(s.expand([6, 1, 6]), targets);
        let loss = Objective::binary_rl()
            .token_loss(logp, pad(&column(&student)), None, pad(&advantages), ones(6, 1))
            .unwrap();
        loss * pad(&weights)
    });
    let teacher = || log_softmax(teacher.tensor(), 2);
    let whole =
        run(&logits, |s| Divergence::ReverseKl.token_loss(s, teacher(), ones(1, 1)).unwrap());
    assert_all_close(&sampled.1, &whole.1, 1e-5);
    // So has the top-k loss with every token in it and no limit.
    let all = TopK { k: 6, gap_limit: None, ..TopK::personal() };
    let top_k = run(&logits, |s| {
        all.token_loss(s.clone(), s.detach(), teacher(), ones(1, 1), None).unwrap()
    });
    assert_all_close(&top_k.1, &whole.1, 1e-5);
}

#[test]
fn the_top_k_loss_has_its_golden_value() {
    let old = || distribution(&[0.5, 0.3, 0.15, 0.05]);
    let teacher = || distribution(&[0.1, 0.2, 0.3, 0.4]);
    let student = distribution(&[0.3, 0.5, 0.1, 0.1]);
    let two = TopK { k: 2, ..TopK::personal() };
    // log(0.1 / 0.5) is limited to -1, log(0.2 / 0.3) is not; weights 5/8 and 3/8.
    let advantages = host(two.advantages(old(), teacher()));
    assert_all_close(&advantages, &[-0.625, -0.152_049_416, 0.0, 0.0], 1e-6);
    // Ratios 0.6 (clipped to 0.8, as the advantage is negative) and 5/3 (not clipped, for the same reason).
    let loss = two.token_loss(student, old(), teacher(), ones(1, 1), None).unwrap();
    assert_close(host(loss)[0], 0.753_415_693, 1e-5);
    // The teacher's two are the others.
    let teachers = TopK { subset: TopKSubset::Teacher, ..two };
    let advantages = host(teachers.advantages(old(), teacher()));
    assert_all_close(&advantages, &[0.0, 0.0, 0.75 * 2.0f64.ln(), 0.25], 1e-6);
    let shared = TopK { subset: TopKSubset::Intersection, ..two };
    assert!(host(shared.advantages(old(), teacher())).iter().all(|a| *a == 0.0));
}

#[test]
fn the_top_k_gradient_matches_the_formula_off_policy() {
    let dims = [2, 3, 6];
    let [student, old, teacher] =
        ["student", "old", "teacher"].map(|name| Logits::random(name, 2, dims, 3.0));
    let fixed = |logits: &Logits| log_softmax(logits.tensor(), 2);
    let clip = Clip { low: 0.2, high: 0.28, dual: None };
    for subset in [TopKSubset::Student, TopKSubset::Teacher, TopKSubset::Intersection] {
        let top_k = TopK { k: 3, subset, gap_limit: Some(1.0), clip };
        let (losses, gradient) = run(&student, |s| {
            top_k.token_loss(s, fixed(&old), fixed(&teacher), ones(2, 3), Some(20.0)).unwrap()
        });
        let (old, teacher) = (old.log_distributions(), teacher.log_distributions());
        let of = |logits: &Logits| -> Vec<f64> {
            let student = logits.log_distributions();
            (0..6).map(|i| top_k_loss(&top_k, &student[i], &old[i], &teacher[i])).collect()
        };
        assert_all_close(&losses, &of(&student), 1e-5);
        let expected = numerical_gradient(|logits| of(logits).iter().sum(), &student);
        assert_all_close(&gradient, &expected, 1e-4);
        assert!(gradient.iter().any(|g| g.abs() > 0.05));
    }
}

fn top_k_loss(top_k: &TopK, student: &[f64], old: &[f64], teacher: &[f64]) -> f64 {
    let top = |row: &[f64]| -> Vec<bool> {
        row.iter().map(|p| row.iter().filter(|q| *q > p).count() < top_k.k).collect()
    };
    let (of_student, of_teacher) = (top(old), top(teacher));
    let member = |v: usize| match top_k.subset {
        TopKSubset::Student => of_student[v],
        TopKSubset::Teacher => of_teacher[v],
        TopKSubset::Intersection => of_student[v] && of_teacher[v],
    };
    let members: Vec<usize> = (0..old.len()).filter(|v| member(*v)).collect();
    let total: f64 = members.iter().map(|v| old[*v].exp()).sum();
    let entry = |v: &usize| {
        let limit = top_k.gap_limit.unwrap();
        let gap = (teacher[*v] - old[*v]).max(-limit).min(limit);
        let (advantage, ratio) = (gap * old[*v].exp() / total, (student[*v] - old[*v]).exp());
        let clipped = ratio.max(1.0 - top_k.clip.low).min(1.0 + top_k.clip.high);
        (-advantage * ratio).max(-advantage * clipped)
    };
    members.iter().map(entry).sum()
}

#[test]
fn hints_are_chosen_by_overlap_over_the_response_or_at_each_token() {
    // Likely tokens of the student: {0, 1} at the first position, {2, 3} at the second, padding.
    let rows = |pairs: [[usize; 2]; 3]| -> Tensor<3> {
        let mut values = vec![-3.0; 12];
        for (position, pair) in pairs.iter().enumerate() {
            pair.iter().for_each(|v| values[4 * position + v] = -1.0 - 0.1 * *v as f64);
        }
        Logits { values, dims: [1, 3, 4] }.tensor()
    };
    let student = rows([[0, 1], [2, 3], [0, 1]]);
    let candidates = [
        rows([[2, 3], [2, 3], [0, 1]]), // 0 + 2, and 2 on padding
        rows([[0, 1], [1, 3], [2, 3]]), // 2 + 1
        rows([[0, 1], [1, 2], [2, 3]]), // 2 + 1, later
    ];
    let mask = || Tensor::<2>::from_data([[1.0, 1.0, 0.0]], &device());
    let choose = |choice| choose_hints(student.clone(), &candidates, mask(), 2, choice).unwrap();
    let (chosen, teacher) = choose(HintChoice::Sequence);
    assert_eq!(chosen.into_data().iter::<i64>().collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(host(teacher), host(candidates[1].clone()));
    let (chosen, teacher) = choose(HintChoice::Token);
    assert_eq!(chosen.into_data().iter::<i64>().collect::<Vec<_>>(), [1, 0, 0]);
    let position = |of: &Tensor<3>, at: usize| host(of.clone().narrow(1, at, 1));
    assert_eq!(position(&teacher, 0), position(&candidates[1], 0));
    assert_eq!(position(&teacher, 1), position(&candidates[0], 1));

    let none = choose_hints(student.clone(), &[], mask(), 2, HintChoice::Token).unwrap_err();
    assert_eq!(none.to_string(), "a choice of hints needs `candidates`, which is None");
    let short = [candidates[0].clone(), candidates[1].clone().narrow(1, 0, 2)];
    let error = choose_hints(student, &short, mask(), 2, HintChoice::Token).unwrap_err();
    assert!(matches!(error, OptimizerError::Shape { what: "candidates", .. }));
}

#[test]
fn tokens_the_student_has_ruled_out_stay_finite() {
    // Logits 200 apart: in f32 one distribution's probability of the other's token is 0.
    let far = |at: usize| {
        let mut values = vec![0.0; 4];
        values[at] = 200.0;
        Logits { values, dims: [1, 1, 4] }
    };
    let teacher = || log_softmax(far(1).tensor(), 2);
    for which in DIVERGENCES {
        let (losses, gradient) =
            run(&far(0), |s| which.token_loss(s, teacher(), ones(1, 1)).unwrap());
        let expected = match which {
            Divergence::JensenShannon { beta } => {
                -beta * beta.ln() - (1.0 - beta) * (1.0 - beta).ln()
            }
            _ => 200.0,
        };
        assert_close(losses[0], expected, 1e-5);
        assert!(gradient.iter().all(|g| g.is_finite()));
        // Only the forward KL still says what to do.
        let strong = gradient[1] < -0.99;
        assert_eq!(strong, which == Divergence::ForwardKl, "{which:?}: {gradient:?}");
    }
}

#[test]
fn gaps_by_hand() {
    let teacher = vec![vec![-0.5, -4.0], vec![], vec![-1.0]];
    let student = vec![vec![-1.0, -1.0], vec![], vec![-3.5]];
    let free = gaps(&teacher, &student, None).unwrap();
    assert_eq!(free, [vec![0.5, -3.0], vec![], vec![2.5]]);
    let limited = gaps(&teacher, &student, Some(2.0)).unwrap();
    assert_eq!(limited, [vec![0.5, -2.0], vec![], vec![2.0]]);

    let error = |result: Result<Vec<Vec<f64>>, OptimizerError>| result.unwrap_err().to_string();
    let allowed = "allowed is a number above 0";
    assert_eq!(error(gaps(&teacher, &student, Some(-1.0))), format!("gaps.limit = -1: {allowed}"));
    let short = vec![vec![-0.5], vec![], vec![-1.0]];
    let expected = "teacher_logp[0] has 1 entries: expected 2";
    assert_eq!(error(gaps(&short, &student, None)), expected);
    let infinite = vec![vec![-0.5, f64::NEG_INFINITY], vec![], vec![-1.0]];
    let expected = "teacher_logp[0][1] = -inf: allowed is a finite number";
    assert_eq!(error(gaps(&infinite, &student, None)), expected);
}

#[test]
fn importance_weights_are_constants_truncated_from_above() {
    let tensor = |x: [f32; 4]| Tensor::<2>::from_data([x], &device());
    let old = tensor([-1.0, -1.0, -200.0, -1.5]);
    let logp = tensor([-1.0, -2.0, -1.0, -1.0]).require_grad();
    let weights = truncated_importance_weights(logp.clone(), old.clone(), 2.0).unwrap();
    let expected = [1.0, (-1.0f64).exp(), 2.0, 0.5f64.exp()];
    assert_all_close(&host(weights.clone()), &expected, 1e-6);
    let gradients = (weights * logp.clone()).sum().backward();
    assert_all_close(&host(logp.grad(&gradients).unwrap()), &expected, 1e-6);
    assert!(truncated_importance_weights(logp, old, 0.0).is_err());
}

#[test]
fn shapes_that_would_broadcast_are_errors() {
    let a = || Tensor::<3>::zeros([2, 3, 4], &device());
    let error = Divergence::ForwardKl.token_loss(a(), a().narrow(2, 0, 1), ones(2, 3)).unwrap_err();
    assert_eq!(error.to_string(), "tensor teacher has shape [2, 3, 1]: expected [2, 3, 4]");
    let error = Divergence::ForwardKl.token_loss(a(), a(), ones(1, 3)).unwrap_err();
    assert_eq!(error.to_string(), "tensor mask has shape [1, 3]: expected [2, 3]");
    let error = with_tail(a(), a(), 0).unwrap_err();
    assert_eq!(error.to_string(), "with_tail.k = 0: allowed is 1 or more");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn divergences_are_bounded_and_limits_are_the_kls(
        seed in 0u64..1000, scale in 0.1f64..8.0, beta in 0.05f64..0.95,
    ) {
        let student = log_softmax(Logits::random("student", seed, [2, 2, 6], scale).tensor(), 2);
        let teacher = log_softmax(Logits::random("teacher", seed, [2, 2, 6], scale).tensor(), 2);
        let of = |which: Divergence| {
            host(which.token_loss(student.clone(), teacher.clone(), ones(2, 2)).unwrap())
        };
        let (reverse, forward) = (of(Divergence::ReverseKl), of(Divergence::ForwardKl));
        let jensen = of(Divergence::JensenShannon { beta });
        let entropy = -beta * beta.ln() - (1.0 - beta) * (1.0 - beta).ln();
        // Swapping the roles and beta changes nothing.
        let swapped = Divergence::JensenShannon { beta: 1.0 - beta };
        let swapped = host(swapped.token_loss(teacher.clone(), student.clone(), ones(2, 2)).unwrap());
        for i in 0..4 {
            prop_assert!(reverse[i] > -1e-6 && forward[i] > -1e-6 && jensen[i] > -1e-6);
            prop_assert!(jensen[i] < entropy + 1e-5);
            let bound = beta * (1.0 - beta) * (reverse[i] + forward[i]);
            prop_assert!(jensen[i] < bound + 1e-5);
            prop_assert!((jensen[i] - swapped[i]).abs() < 1e-5);
        }
        if scale < 3.0 {
            let near_0 = of(Divergence::JensenShannon { beta: 1e-3 });
            let near_1 = of(Divergence::JensenShannon { beta: 1.0 - 1e-3 });
            for i in 0..4 {
                prop_assert!((near_0[i] / 1e-3 - forward[i]).abs() < 0.05 * forward[i] + 2e-3);
                prop_assert!((near_1[i] / 1e-3 - reverse[i]).abs() < 0.05 * reverse[i] + 2e-3);
            }
        }
    }

    #[test]
    fn lumping_a_tail_never_gains_and_leaves_normalised_tracked_distributions(
        seed in 0u64..1000, k in 1usize..8, which in 0usize..4,
    ) {
        let student = Logits::random("student", seed, [2, 2, 6], 5.0);
        let teacher = || log_softmax(Logits::random("teacher", seed, [2, 2, 6], 5.0).tensor(), 2);
        let which = DIVERGENCES[which];
        let whole = run(&student, |s| which.token_loss(s, teacher(), ones(2, 2)).unwrap());
        let lumped = run(&student, |s| {
            let [s, t] = with_tail(s, teacher(), k).unwrap();
            for x in [&s, &t] {
                let totals = host(x.clone().exp().sum_dim(2));
                assert!(totals.iter().all(|total| (total - 1.0).abs() < 1e-5));
            }
            which.token_loss(s, t, ones(2, 2)).unwrap()
        });
        for (lumped, whole) in lumped.0.iter().zip(&whole.0) {
            prop_assert!(*lumped < whole + 1e-5);
        }
        // One token in the tail is that token; with none the distributions are as they were.
        if k >= 5 {
            assert_all_close(&lumped.0, &whole.0, 1e-5);
            assert_all_close(&lumped.1, &whole.1, 1e-5);
        }
    }

    #[test]
    fn neither_padding_nor_the_cut_into_micro_batches_matters(
        seed in 0u64..1000, which in 0usize..5, cut in 1usize..4, filler in -9.0f64..9.0,
    ) {
        let lengths = [3usize, 1, 2, 3];
        let mask = |rows: std::ops::Range<usize>, width: usize| {
            headwater_optimizers::mask_from_lengths(&lengths[rows], width, &device()).unwrap()
        };
        let [student, old, teacher] = ["student", "old", "teacher"]
            .map(|name| Logits::random(name, seed, [4, 3, 5], 4.0).tensor());
        let losses = |rows: std::ops::Range<usize>, pad: bool| -> Vec<Vec<f64>> {
            let width = if pad { 5 } else { 3 };
            let part = |x: &Tensor<3>| {
                let x = log_softmax(x.clone().narrow(0, rows.start, rows.len()), 2);
                let filler = Tensor::full([rows.len(), 2, 5], filler, &device());
                if pad { Tensor::cat(vec![x, filler], 1) } else { x }
            };
            let (student, old, teacher) = (part(&student), part(&old), part(&teacher));
            let mask = mask(rows.clone(), width);
            let loss = match DIVERGENCES.get(which) {
                Some(which) => which.token_loss(student, teacher, mask),
                None => TopK::personal().token_loss(student, old, teacher, mask, None),
            };
            host(loss.unwrap()).chunks(width).map(|row| row[..3].to_vec()).collect()
        };
        let whole = losses(0..4, false);
        let mut parts = losses(0..cut, true);
        parts.extend(losses(cut..4, true));
        // Token losses are the same; weights are taken over the whole minibatch by the objective.
        for (whole, part) in whole.iter().zip(&parts) {
            assert_all_close(part, whole, 1e-6);
        }
    }
}
