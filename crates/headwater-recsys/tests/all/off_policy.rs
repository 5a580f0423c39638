//! The identities that off-policy estimators have to satisfy, and what they do where their assumptions fail.
use approx::assert_relative_eq;
use headwater_core::{StreamRng, Streams};
use headwater_evaluation::intervals::Bootstrap;
use headwater_recsys::RecsysError;
use headwater_recsys::off_policy::{BanditColumns, LoggedBandit, ModelColumns, OffPolicyEstimator};
use proptest::prelude::*;
use rand::RngExt;

const ALL: [OffPolicyEstimator; 8] = [
    OffPolicyEstimator::Ips,
    OffPolicyEstimator::ClippedIps { most: 5.0 },
    OffPolicyEstimator::Snips,
    OffPolicyEstimator::Dm,
    OffPolicyEstimator::Dr,
    OffPolicyEstimator::Sndr,
    OffPolicyEstimator::SwitchDr { most: 5.0 },
    OffPolicyEstimator::DrOs { lambda: 5.0 },
];
const ACTIONS: usize = 5;

fn distribution(rng: &mut StreamRng, sharpness: f64) -> Vec<f64> {
    let weights: Vec<f64> = (0..ACTIONS).map(|_| (sharpness * rng.random::<f64>()).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

/// A contextual bandit with Bernoulli rewards, logged by one policy, and the mean reward of another.
struct Problem {
    reward: Vec<f64>,
    taken: Vec<usize>,
    logging: Vec<f64>,
    target: Vec<f64>,
    truth: Vec<f64>,
    value: f64,
}

fn problem(seed: u64, rows: usize) -> Problem {
    let mut rng = Streams::new(seed).stream("bandit", &[]);
    let mut all = Problem {
        reward: Vec::new(),
        taken: Vec::new(),
        logging: Vec::new(),
        target: Vec::new(),
        truth: Vec::new(),
        value: 0.0,
    };
    for _ in 0..rows {
        let logging = distribution(&mut rng, 2.0);
        let target = distribution(&mut rng, 3.0);
        let truth: Vec<f64> = (0..ACTIONS).map(|_| rng.random::<f64>()).collect();
        let mut uniform: f64 = rng.random();
        let action = logging.iter().position(|p| {
            uniform -= p;
            uniform < 0.0
        });
        let action = action.unwrap_or(ACTIONS - 1);
        all.reward.push(f64::from(u8::from(rng.random::<f64>() < truth[action])));
        all.taken.push(action);
        all.value += target.iter().zip(&truth).map(|(p, q)| p * q).sum::<f64>() / rows as f64;
        all.logging.extend(logging);
        all.target.extend(target);
        all.truth.extend(truth);
    }
    all
}

impl Problem {
    fn columns(&self, model: Option<&[f64]>) -> BanditColumns {
        let Self { reward, taken, logging, target, .. } = self;
        BanditColumns::of_policies(reward, taken, ACTIONS, logging, target, model).unwrap()
    }

    fn log(&self, model: Option<&[f64]>) -> LoggedBandit {
        LoggedBandit::new(self.columns(model)).unwrap()
    }
}

#[test]
fn golden_values() {
    // w = 2, 0.5, 0; residuals 0.5, -1, 1.
    let log = LoggedBandit::new(BanditColumns {
        reward: vec![1.0, 0.0, 2.0],
        propensity: vec![0.25, 1.0, 0.5],
        target: vec![0.5, 0.5, 0.0],
        model: Some(ModelColumns { logged: vec![0.5, 1.0, 1.0], target: vec![0.2, 0.4, 0.6] }),
        ..BanditColumns::default()
    })
    .unwrap();
    let value = |estimator: OffPolicyEstimator| estimator.value(&log).unwrap();
    assert_relative_eq!(value(OffPolicyEstimator::Ips), 2.0 / 3.0);
    assert_relative_eq!(value(OffPolicyEstimator::ClippedIps { most: 1.0 }), 1.0 / 3.0);
    assert_relative_eq!(value(OffPolicyEstimator::Snips), 2.0 / 2.5);
    assert_relative_eq!(value(OffPolicyEstimator::Dm), 0.4, max_relative = 1e-12);
    assert_relative_eq!(value(OffPolicyEstimator::Dr), 0.4 + 0.5 / 3.0);
    assert_relative_eq!(value(OffPolicyEstimator::Sndr), 0.4 + 0.5 / 2.5);
    assert_relative_eq!(
        value(OffPolicyEstimator::SwitchDr { most: 1.0 }),
        0.4 - 0.5 / 3.0,
        max_relative = 1e-12
    );
    // λ = 1: weights 2/5 and 0.5/1.25.
    assert_relative_eq!(
        value(OffPolicyEstimator::DrOs { lambda: 1.0 }),
        0.4 + (0.2 - 0.4) / 3.0,
        max_relative = 1e-12
    );
    let overlap = log.overlap().unwrap();
    assert_relative_eq!(overlap.effective_sample_size, 2.5 * 2.5 / 4.25);
    assert_relative_eq!(overlap.mean_weight.estimate, 2.5 / 3.0);
    assert_relative_eq!(overlap.shared, 2.0 / 3.0);
    assert_eq!((overlap.rows, overlap.largest_weight, overlap.unsupported_mass), (3, 2.0, None));
}

#[test]
fn with_the_true_model_the_doubly_robust_estimate_varies_less() {
    let (mut ips, mut dr) = (Vec::new(), Vec::new());
    for seed in 0..200 {
        let problem = problem(seed, 200);
        let log = problem.log(Some(&problem.truth));
        ips.push(OffPolicyEstimator::Ips.value(&log).unwrap() - problem.value);
        dr.push(OffPolicyEstimator::Dr.value(&log).unwrap() - problem.value);
    }
    let moments = |errors: &[f64]| {
        let n = errors.len() as f64;
        let mean = errors.iter().sum::<f64>() / n;
        (mean, errors.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / (n - 1.0))
    };
    let ((ips_bias, ips_variance), (dr_bias, dr_variance)) = (moments(&ips), moments(&dr));
    assert!(dr_variance < 0.7 * ips_variance, "{dr_variance} {ips_variance}");
    // Both are unbiased: four standard errors.
    assert!(ips_bias.abs() < 4.0 * (ips_variance / 200.0).sqrt(), "{ips_bias}");
    assert!(dr_bias.abs() < 4.0 * (dr_variance / 200.0).sqrt(), "{dr_bias}");
}

#[test]
fn doubly_robust_survives_a_wrong_model_or_wrong_propensities_not_both() {
    let problem = problem(5, 40_000);
    let bias = |columns: BanditColumns, estimator: OffPolicyEstimator| {
        estimator.value(&LoggedBandit::new(columns).unwrap()).unwrap() - problem.value
    };
    let wrong_model: Vec<f64> = problem.truth.iter().map(|q| 0.3 * q).collect();
    let tampered = |model: &[f64]| {
        let mut columns = problem.columns(Some(model));
        columns.propensity.iter_mut().for_each(|p| *p = p.sqrt());
        columns
    };
    assert!(bias(problem.columns(Some(&wrong_model)), OffPolicyEstimator::Dr).abs() < 0.03);
    assert!(bias(problem.columns(Some(&wrong_model)), OffPolicyEstimator::Dm).abs() > 0.05);
    assert!(bias(tampered(&problem.truth), OffPolicyEstimator::Dr).abs() < 0.03);
    assert!(bias(tampered(&problem.truth), OffPolicyEstimator::Ips).abs() > 0.05);
    assert!(bias(tampered(&wrong_model), OffPolicyEstimator::Dr).abs() > 0.05);
}

#[test]
fn actions_that_are_never_logged_are_reported() {
    // Two actions; the second is never logged, and the target takes it 3 times in 4.
    let rows = 400;
    let logging = [1.0, 0.0].repeat(rows);
    let target = [0.25, 0.75].repeat(rows);
    let reward: Vec<f64> = (0..rows).map(|row| (row % 2) as f64).collect();
    let columns =
        BanditColumns::of_policies(&reward, &vec![0; rows], 2, &logging, &target, None).unwrap();
    let overlap = LoggedBandit::new(columns).unwrap().overlap().unwrap();
    assert_eq!(overlap.unsupported_mass, Some(0.75));
    // Without being told, the mean weight says the same.
    assert!(overlap.mean_weight.high < 0.5);
    let none = BanditColumns {
        reward: vec![1.0; 3],
        propensity: vec![0.5; 3],
        target: vec![0.0; 3],
        ..BanditColumns::default()
    };
    let log = LoggedBandit::new(none).unwrap();
    assert_eq!(log.overlap().unwrap().effective_sample_size, 0.0);
    assert_eq!(OffPolicyEstimator::Ips.value(&log), Ok(0.0));
    let refused = OffPolicyEstimator::Snips.value(&log);
    assert_eq!(refused, Err(RecsysError::NoOverlap { estimator: "SNIPS", rows: 3 }));
}

#[test]
fn too_little_overlap_for_an_interval_still_gives_the_value() {
    // 20 decisions, of which the target takes three: a resample without them has no value.
    let mut columns = BanditColumns {
        reward: vec![0.0; 20],
        propensity: vec![0.5; 20],
        target: vec![0.0; 20],
        ..BanditColumns::default()
    };
    columns.target[..3].fill(1.0);
    columns.reward[..2].fill(1.0);
    let log = LoggedBandit::new(columns).unwrap();
    let mut rng = Streams::new(1).stream("bootstrap", &[]);
    let error =
        OffPolicyEstimator::Snips.estimate(&log, &Bootstrap::default(), &mut rng).unwrap_err();
    let value = 2.0 / 3.0;
    let expected = RecsysError::TooLittleOverlap { estimator: "SNIPS", value, shared: 3, rows: 20 };
    assert_eq!(error, expected);
    let text = error.to_string();
    assert!(text.starts_with("SNIPS = 0.6666666666666666, and too little overlap for an interval"));
    // What is not divided by the weights has an interval.
    let ips = OffPolicyEstimator::Ips.estimate(&log, &Bootstrap::default(), &mut rng).unwrap();
    assert_relative_eq!(ips.estimate, 0.2);
}

#[test]
fn weights_at_the_edge_of_the_format_are_refused_or_shrunk() {
    let log = |propensity: f64| {
        LoggedBandit::new(BanditColumns {
            reward: vec![1.0, 0.0],
            propensity: vec![propensity, 1.0],
            target: vec![1.0, 1.0],
            model: Some(ModelColumns { logged: vec![0.0, 0.0], target: vec![0.0, 0.0] }),
            ..BanditColumns::default()
        })
    };
    let error = log(5e-324).unwrap_err().to_string();
    assert_eq!(error, "`target / propensity[0]` = inf: allowed is a finite number");
    // λ w/(w² + λ) at w = 1e300, whose square is no number, is λ/w for a finite λ and w at
    // infinity.
    let huge = log(1e-300).unwrap();
    let shrunk = |lambda: f64| OffPolicyEstimator::DrOs { lambda }.value(&huge).unwrap();
    assert_relative_eq!(shrunk(1.0), 0.5e-300, max_relative = 1e-12);
    assert_eq!(shrunk(0.0), 0.0);
    assert_relative_eq!(shrunk(1e308), 0.5e8, max_relative = 1e-9);
    assert_relative_eq!(shrunk(f64::INFINITY), 0.5e300, max_relative = 1e-12);
}

#[test]
fn the_mean_weight_knows_sessions() {
    let columns = |copies: usize, session: Option<Vec<usize>>| BanditColumns {
        reward: [1.0, 0.0, 1.0, 0.0].repeat(copies),
        propensity: [0.5, 0.25, 1.0, 0.5].repeat(copies),
        target: [0.25, 0.5, 0.75, 0.5].repeat(copies),
        session,
        ..BanditColumns::default()
    };
    let weight = |columns| LoggedBandit::new(columns).unwrap().overlap().unwrap().mean_weight;
    let once = weight(columns(1, None));
    // Three copies of each decision in one session say no more than one, and rows in one session of all say nothing.
    let sessions = weight(columns(3, Some([4, 1, 7, 2].repeat(3))));
    assert_relative_eq!(sessions.low, once.low, max_relative = 1e-12);
    assert_eq!((sessions.n, weight(columns(3, None)).n), (4, 12));
    assert!(weight(columns(3, None)).half_width() < 0.6 * once.half_width());
    let alone = LoggedBandit::new(columns(3, Some(vec![0; 12]))).unwrap().overlap().unwrap_err();
    assert!(alone.to_string().contains("sessions"), "{alone}");
}

#[test]
fn intervals_cover_and_sessions_widen_them() {
    let mut rng = Streams::new(2).stream("bootstrap", &[]);
    let covered = (0..60).filter(|&seed| {
        let problem = problem(seed, 300);
        let log = problem.log(Some(&problem.truth));
        let interval =
            OffPolicyEstimator::Snips.estimate(&log, &Bootstrap::default(), &mut rng).unwrap();
        interval.contains(problem.value)
    });
    // 95% of 60 is 57; below 50 has a probability of 1e-4.
    let covered = covered.count();
    assert!(covered >= 50, "{covered}");

    // Each decision five times over: as one session of five they are worth one.
    let problem = problem(1, 200);
    let repeat = |values: &[f64]| values.iter().flat_map(|&v| [v; 5]).collect::<Vec<_>>();
    let columns = problem.columns(None);
    let mut columns = BanditColumns {
        reward: repeat(&columns.reward),
        propensity: repeat(&columns.propensity),
        target: repeat(&columns.target),
        ..BanditColumns::default()
    };
    let mut width = |columns: &BanditColumns| {
        let log = LoggedBandit::new(columns.clone()).unwrap();
        let interval =
            OffPolicyEstimator::Ips.estimate(&log, &Bootstrap::default(), &mut rng).unwrap();
        (interval.half_width(), interval.n)
    };
    let (alone, n) = width(&columns);
    columns.session = Some((0..1000).map(|row| 7 * (row / 5)).collect());
    let (together, sessions) = width(&columns);
    assert_eq!((n, sessions), (1000, 200));
    assert!((together / alone - 5f64.sqrt()).abs() < 0.3, "{together} {alone}");
}

#[test]
fn errors_name_what_is_wrong() {
    let good = BanditColumns {
        reward: vec![1.0, 0.0],
        propensity: vec![0.5, 0.5],
        target: vec![0.5, 1.0],
        ..BanditColumns::default()
    };
    let refused = |change: &dyn Fn(&mut BanditColumns)| {
        let mut columns = good.clone();
        change(&mut columns);
        LoggedBandit::new(columns).unwrap_err().to_string()
    };
    assert!(refused(&|c| c.propensity[1] = 0.0).contains("`propensity[1]` = 0"));
    assert!(refused(&|c| c.propensity[1] = 1.5).contains("(0, 1]"));
    assert!(refused(&|c| c.reward[0] = f64::NAN).contains("`reward[0]` = NaN"));
    assert!(refused(&|c| c.target[0] = -0.5).contains("`target[0]`"));
    assert!(refused(&|c| c.target.truncate(1)).contains("`target` has 1"));
    assert!(refused(&|c| c.session = Some(vec![0])).contains("`session` has 1"));
    assert!(refused(&|c| c.model = Some(ModelColumns::default())).contains("`model_logged` has 0"));
    let log = LoggedBandit::new(good.clone()).unwrap();
    assert_eq!(OffPolicyEstimator::Dr.value(&log), Err(RecsysError::NoModel { estimator: "DR" }));
    let error = OffPolicyEstimator::ClippedIps { most: -1.0 }.value(&log).unwrap_err().to_string();
    assert!(error.contains("`most` = -1"), "{error}");
    let policies = |logging: &[f64]| {
        BanditColumns::of_policies(&[1.0], &[0], 2, logging, &[0.5, 0.5], None).unwrap_err()
    };
    assert!(policies(&[0.6, 0.6]).to_string().contains("sum of a policy's row"));
    assert!(policies(&[1.0]).to_string().contains("`logging` has 1"));
}

proptest! {
    #[test]
    fn the_logging_policy_is_worth_the_mean_reward(seed: u64) {
        let mut problem = problem(seed, 50);
        problem.target = problem.logging.clone();
        let log = problem.log(Some(&problem.truth));
        let mean = problem.reward.iter().sum::<f64>() / 50.0;
        // Exactly: every weight is 1.
        prop_assert_eq!(OffPolicyEstimator::Ips.value(&log).unwrap(), mean);
        prop_assert_eq!(OffPolicyEstimator::Snips.value(&log).unwrap(), mean);
        prop_assert_eq!(log.overlap().unwrap().effective_sample_size, 50.0);
    }

    #[test]
    fn propensities_reported_twice_too_large_halve_ips_and_leave_snips(seed: u64) {
        let problem = problem(seed, 50);
        let mut columns = problem.columns(None);
        columns.propensity.iter_mut().for_each(|p| *p /= 2.0);
        let half = LoggedBandit::new(columns.clone()).unwrap();
        columns.propensity.iter_mut().for_each(|p| *p *= 2.0);
        let whole = LoggedBandit::new(columns).unwrap();
        let [ips, snips] = [OffPolicyEstimator::Ips, OffPolicyEstimator::Snips]
            .map(|e| (e.value(&half).unwrap(), e.value(&whole).unwrap()));
        prop_assert_eq!(ips.1, ips.0 / 2.0);
        prop_assert!((snips.1 - snips.0).abs() <= 1e-12);
    }

    #[test]
    fn switch_and_shrinkage_run_from_the_direct_method_to_the_doubly_robust(seed: u64) {
        let problem = problem(seed, 50);
        let model: Vec<f64> = problem.truth.iter().map(|q| 0.3 + 0.2 * q).collect();
        let log = problem.log(Some(&model));
        let value = |estimator: OffPolicyEstimator| estimator.value(&log).unwrap();
        let (dm, dr) = (value(OffPolicyEstimator::Dm), value(OffPolicyEstimator::Dr));
        prop_assert_eq!(value(OffPolicyEstimator::SwitchDr { most: 0.0 }), dm);
        prop_assert_eq!(value(OffPolicyEstimator::DrOs { lambda: 0.0 }), dm);
        prop_assert_eq!(value(OffPolicyEstimator::SwitchDr { most: f64::INFINITY }), dr);
        prop_assert_eq!(value(OffPolicyEstimator::DrOs { lambda: f64::INFINITY }), dr);
        prop_assert_eq!(
            value(OffPolicyEstimator::ClippedIps { most: f64::INFINITY }), value(OffPolicyEstimator::Ips)
        );
    }

    #[test]
    fn a_constant_added_to_rewards_and_model_moves_the_self_normalised_by_it(
        seed: u64, constant in -3f64..3.0,
    ) {
        let mut problem = problem(seed, 50);
        let before: Vec<f64> =
            ALL.map(|e| e.value(&problem.log(Some(&problem.truth))).unwrap()).to_vec();
        problem.reward.iter_mut().for_each(|r| *r += constant);
        problem.truth.iter_mut().for_each(|q| *q += constant);
        let log = problem.log(Some(&problem.truth));
        for (estimator, before) in ALL.iter().zip(before) {
            // IPS is the one family that does: its weights do not sum to the number of rows.
            if !matches!(estimator, OffPolicyEstimator::Ips | OffPolicyEstimator::ClippedIps { .. }) {
                prop_assert!((estimator.value(&log).unwrap() - before - constant).abs() < 1e-9);
            }
        }
    }
}
