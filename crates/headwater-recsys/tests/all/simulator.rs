//! What the simulator promises: pairing of arms, true propensities, click rates, and who gains from what.
use headwater_core::{Check, Streams};
use headwater_evaluation::intervals::Bootstrap;
use headwater_recsys::off_policy::{BanditColumns, LoggedBandit, OffPolicyEstimator};
use headwater_recsys::{
    Arm, BiasCurve, Catalogue, DeviceConfig, ExaminationConfig, Exploration, ExplorationConfig,
    Head, Log, LoopConfig, Popularity, PopularityConfig, PositionGraph, Ranker, Ranking,
    RecsysError, Requests, RoundMetrics, SatisfactionConfig, Simulator, WorldConfig, run,
};
use proptest::prelude::*;

fn small() -> WorldConfig {
    WorldConfig { items: 30, sessions: 200, ..WorldConfig::b() }
}

/// A round served by a ranking.
fn served(config: &WorldConfig, seed: u64, ranking: Ranking<'_>, how: &Exploration) -> Log {
    let mut simulator = Simulator::new(&config.clone().check().unwrap(), &Streams::new(seed));
    let mut log = simulator.log();
    simulator.serve(0, ranking, how, &mut log).unwrap();
    log
}

fn exploring(temperature: f64, epsilon: f64, slot: usize) -> Exploration {
    ExplorationConfig { temperature, epsilon, slot }.check().unwrap()
}

fn device(examination: ExaminationConfig) -> DeviceConfig {
    DeviceConfig { share: 1.0, examination, trust: 0.0 }
}

/// Mean of a column where `chosen`.
fn mean(values: &[f32], chosen: impl Fn(usize) -> bool) -> (f64, usize) {
    let chosen: Vec<f64> =
        (0..values.len()).filter(|&row| chosen(row)).map(|row| f64::from(values[row])).collect();
    (chosen.iter().sum::<f64>() / chosen.len() as f64, chosen.len())
}

#[test]
fn what_users_do_does_not_depend_on_what_the_ranker_did_elsewhere() {
    for examination in [ExaminationConfig::Ultra { exponent: 1.0 }, ExaminationConfig::Cascade] {
        let is_cascade = examination == ExaminationConfig::Cascade;
        let satisfaction =
            Some(SatisfactionConfig { dwell_sd: Some(0.5), ..SatisfactionConfig::default() });
        let config = WorldConfig {
            candidates: Some(15),
            devices: vec![device(examination)],
            satisfaction,
            ..small()
        };
        let legacy = served(&config, 1, Ranking::Legacy, &Exploration::default());
        let noisy = served(&config, 1, Ranking::Legacy, &exploring(0.1, 0.3, 4));
        assert_eq!(legacy.contexts(), noisy.contexts());
        let (mut same, mut prefix) = (0, true);
        for row in 0..legacy.len() {
            prefix =
                (prefix || legacy.slots()[row] == 0) && legacy.items()[row] == noisy.items()[row];
            // A cascade also needs the same list above.
            if if is_cascade { prefix } else { legacy.items()[row] == noisy.items()[row] } {
                same += 1;
                for head in [Head::Click, Head::Like, Head::Dwell] {
                    let value = |log: &Log| log.labels(head).unwrap().values[row];
                    assert_eq!(value(&legacy), value(&noisy), "row {row}, {head:?}");
                }
            }
        }
        assert!(same > 200 && same < legacy.len(), "{same}");
    }
}

#[test]
fn click_rates_are_examination_times_attraction() {
    let mut config =
        WorldConfig { quality_sd: 0.0, personalisation: 0.0, sessions: 20_000, ..small() };
    config.devices[0].trust = 0.25;
    config.devices.push(device(ExaminationConfig::Power { exponent: 2.0 }));
    let log = served(&config, 3, Ranking::Legacy, &Exploration::default());
    let attraction = 1.0 / (1.0 + 1.6f64.exp());
    let world = config.check().unwrap();
    for (of, trust) in [(0, 0.25), (1, 0.0)] {
        let theta = world.examination(of).unwrap().theta().unwrap();
        for slot in 0..10u8 {
            let here = |row: usize| {
                log.slots()[row] == slot
                    && usize::from(log.devices()[log.sessions()[row] as usize]) == of
            };
            let (rate, n) = mean(log.clicks(), here);
            let false_clicks = trust / f64::from(slot + 1) * (1.0 - attraction);
            let expected = theta[usize::from(slot)] * (attraction + false_clicks);
            let error = (expected * (1.0 - expected) / n as f64).sqrt();
            assert!(
                (rate - expected).abs() < 4.5 * error,
                "device {of}, slot {slot}: {rate} {expected}"
            );
        }
    }
}

#[test]
fn dividing_clicks_by_logged_examination_gives_attraction_in_every_click_model() {
    let attraction = 1.0 / (1.0 + 0.4f64.exp());
    for examination in [
        ExaminationConfig::Ultra { exponent: 1.0 },
        ExaminationConfig::Cascade,
        ExaminationConfig::DependentClick { continuation: vec![0.6, 0.5, 0.4, 0.3] },
    ] {
        let config = WorldConfig {
            quality_sd: 0.0,
            personalisation: 0.0,
            base_logit: -0.4,
            slots: 4,
            sessions: 20_000,
            devices: vec![device(examination.clone())],
            ..small()
        };
        let log = served(&config, 4, Ranking::Legacy, &Exploration::default());
        for slot in 0..4 {
            let corrected: Vec<f32> = log
                .clicks()
                .iter()
                .zip(log.examinations())
                .map(|(click, p)| if *click > 0.0 { click / p } else { 0.0 })
                .collect();
            let (rate, n) = mean(&corrected, |row| log.slots()[row] == slot);
            // Where the user has surely left there is nothing to divide: what is left is the share still there.
            let (possible, _) = mean(
                &log.examinations().iter().map(|&p| f32::from(p > 0.0)).collect::<Vec<_>>(),
                |row| log.slots()[row] == slot,
            );
            let squares: Vec<f32> = corrected.iter().map(|c| c * c).collect();
            let (square, _) = mean(&squares, |row| log.slots()[row] == slot);
            let error = ((square - rate * rate) / n as f64).sqrt();
            let expected = attraction * possible;
            assert!(
                (rate - expected).abs() < 4.5 * error,
                "{examination:?} {slot}: {rate} {expected}"
            );
        }
    }
}

#[test]
fn inverse_propensities_count_the_candidates() {
    // With full support E[1/p] given what is above is the number of candidates left.
    let config = WorldConfig { candidates: Some(12), slots: 4, sessions: 40_000, ..small() };
    for (how, slots) in [(exploring(1.0, 0.0, 0), 0..4), (exploring(0.0, 0.5, 2), 2..3)] {
        let log = served(&config, 5, Ranking::Legacy, &how);
        let inverse: Vec<f32> = log.propensities().iter().map(|p| 1.0 / p).collect();
        for slot in slots {
            let (value, n) = mean(&inverse, |row| log.slots()[row] == slot);
            let squares: Vec<f32> = inverse.iter().map(|i| i * i).collect();
            let (square, _) = mean(&squares, |row| log.slots()[row] == slot);
            let error = ((square - value * value) / n as f64).sqrt();
            let left = 12.0 - f64::from(slot);
            assert!((value - left).abs() < 4.5 * error, "{how:?} {slot}: {value} {left}");
        }
    }
}

#[test]
fn satisfaction_falls_with_clickbait_that_raises_clicks() {
    let mut config = WorldConfig::conflict(1.0);
    config.quality_sd = 0.0;
    config.sessions = 20_000;
    let mut simulator = Simulator::new(&config.check().unwrap(), &Streams::new(6));
    let mut log = simulator.log();
    let how = Exploration::default();
    simulator.serve(0, Ranking::Random, &how, &mut log).unwrap();
    let bait = simulator.items().clickbait();
    let strong = |row: usize| bait[log.items()[row] as usize] > 0.5;
    let (clicked, _) = mean(log.clicks(), strong);
    let (clicked_weak, _) = mean(log.clicks(), |row| !strong(row));
    assert!(clicked > 1.2 * clicked_weak, "{clicked} {clicked_weak}");
    let likes = log.labels(Head::Like).unwrap();
    let defined = likes.mask.unwrap();
    let (liked, _) = mean(likes.values, |row| defined[row] > 0.0 && strong(row));
    let (liked_weak, _) = mean(likes.values, |row| defined[row] > 0.0 && !strong(row));
    assert!(liked < 0.8 * liked_weak, "{liked} {liked_weak}");
    assert!((0..log.len()).all(|row| defined[row] > 0.0 || likes.values[row] == 0.0));
}

#[test]
fn dwell_follows_the_like_logit_where_likes_are_certain() {
    // So far that the probability of a like is 1 in single precision.
    let satisfaction = SatisfactionConfig {
        intercept: 40.0,
        clickbait_like: 0.0,
        strength: 0.0,
        dwell_sd: Some(0.5),
        ..Default::default()
    };
    let config =
        WorldConfig { quality_sd: 0.0, satisfaction: Some(satisfaction), ..WorldConfig::a() };
    let log = served(&config, 13, Ranking::Legacy, &Exploration::default());
    let dwells = log.labels(Head::Dwell).unwrap();
    let (dwell, n) = mean(dwells.values, |row| dwells.mask.unwrap()[row] > 0.0);
    assert!((dwell - 40.0).abs() < 4.5 * 0.5 / (n as f64).sqrt(), "{dwell}");
    assert_eq!(log.labels(Head::Like).unwrap().values, log.clicks());
}

#[test]
fn the_oracle_is_ideal_and_what_likes_want_is_not_what_clicks_want() {
    let world = WorldConfig::conflict(0.2).check().unwrap();
    let ratios = |ranking| {
        let mut simulator = Simulator::new(&world, &Streams::new(7));
        let mut log = simulator.log();
        let served = simulator.serve(0, ranking, &Exploration::default(), &mut log).unwrap();
        (served.clicks.ratio(), served.likes.unwrap().ratio())
    };
    let clicks = ratios(Ranking::Oracle(Head::Click));
    let likes = ratios(Ranking::Oracle(Head::Like));
    let random = ratios(Ranking::Random);
    assert_eq!((clicks.0, likes.1), (1.0, 1.0));
    assert!(clicks.1 < 0.95 && likes.0 < 0.95, "{clicks:?} {likes:?}");
    assert!(random.0 < clicks.0.min(likes.0) && random.1 < likes.1.min(clicks.1));
}

#[test]
fn on_a_curve_that_rises_no_list_is_better_than_ideal() {
    let theta = vec![0.2, 0.4, 1.0, 0.6, 0.3];
    let world = WorldConfig {
        slots: 5,
        devices: vec![device(ExaminationConfig::Position { theta })],
        ..WorldConfig::a()
    };
    for (ranking, most) in
        [(Ranking::Random, 0.9), (Ranking::Legacy, 0.9), (Ranking::Oracle(Head::Click), 0.999)]
    {
        let mut simulator = Simulator::new(&world.clone().check().unwrap(), &Streams::new(7));
        let mut log = simulator.log();
        let served = simulator.serve(0, ranking, &Exploration::default(), &mut log).unwrap();
        assert!(served.clicks.ratio() < most, "{}", served.clicks.ratio());
        assert!(served.clicks.regret() > 0.0);
    }
}

#[test]
fn more_items_than_indices_are_refused_before_anything_is_served() {
    let world = WorldConfig { arriving_items: usize::MAX, ..small() }.check().unwrap();
    let mut simulator = Simulator::new(&world, &Streams::new(7));
    let (mut log, how) = (simulator.log(), Exploration::default());
    simulator.serve(0, Ranking::Legacy, &how, &mut log).unwrap();
    let rows = log.len();
    for _ in 0..2 {
        let refused = simulator.serve(1, Ranking::Legacy, &how, &mut log).unwrap_err();
        assert!(refused.to_string().contains("at most 2^30"), "{refused}");
    }
    assert_eq!(log.len(), rows);
}

#[test]
fn rounds_are_served_once_and_in_order_and_scores_have_to_be_numbers() {
    struct Broken;
    impl Ranker for Broken {
        fn score(
            &mut self,
            _: Catalogue<'_>,
            requests: &Requests<'_>,
            scores: &mut [f32],
        ) -> Result<(), RecsysError> {
            scores[requests.candidates_per_session()] = f32::NAN;
            Ok(())
        }
        fn train(&mut self, _: Catalogue<'_>, _: &Log) -> Result<(), RecsysError> {
            Err(RecsysError::Ranker { reason: "no data".to_owned() })
        }
    }
    let mut simulator = Simulator::new(&small().check().unwrap(), &Streams::new(8));
    let mut log = simulator.log();
    let how = Exploration::default();
    let error = simulator.serve(1, Ranking::Legacy, &how, &mut log).unwrap_err();
    assert_eq!(error, RecsysError::Round { found: 1, expected: 0 });
    let error =
        simulator.serve(0, Ranking::Legacy, &exploring(0.0, 0.1, 10), &mut log).unwrap_err();
    assert!(error.to_string().contains("ExplorationConfig.slot = 10"), "{error}");
    let error = simulator.serve(0, Ranking::Oracle(Head::Like), &how, &mut log).unwrap_err();
    assert!(error.to_string().contains("Oracle = Like"), "{error}");
    let error = simulator.serve(0, Ranking::Ranker(&mut Broken), &how, &mut log).unwrap_err();
    assert!(matches!(error, RecsysError::Score { index: 30, scores: 6000, .. }), "{error}");
    let settings = LoopConfig::default().check().unwrap();
    let world = small().check().unwrap();
    let error = run(&world, &Streams::new(8), Arm::Retrained(&mut Broken), &settings, |_| Ok(()));
    assert_eq!(error.unwrap_err().to_string(), "the ranker failed: no data");
}

/// Scores items by a number for each.
struct Fixed(Vec<f32>);

impl Ranker for Fixed {
    fn score(
        &mut self,
        _: Catalogue<'_>,
        requests: &Requests<'_>,
        scores: &mut [f32],
    ) -> Result<(), RecsysError> {
        let by_item = requests.candidates.iter().map(|&item| self.0[item as usize]);
        scores.iter_mut().zip(by_item).for_each(|(score, of_item)| *score = of_item);
        Ok(())
    }
    fn train(&mut self, _: Catalogue<'_>, _: &Log) -> Result<(), RecsysError> {
        Ok(())
    }
}

#[test]
fn the_log_of_one_policy_tells_what_another_would_earn() {
    // The top slot, whose logged propensity is that of the action. Logged by the noisy legacy prior; the target
    // goes by quality.
    let config = WorldConfig { sessions: 20_000, ..small() };
    let mut simulator = Simulator::new(&config.clone().check().unwrap(), &Streams::new(12));
    let mut log = simulator.log();
    simulator.serve(0, Ranking::Legacy, &exploring(2.0, 0.0, 0), &mut log).unwrap();
    let quality = simulator.items().quality().to_vec();
    let weight = |&quality: &f32| (f64::from(quality) / 0.5).exp();
    let total: f64 = quality.iter().map(weight).sum();
    let top: Vec<usize> = (0..log.len()).filter(|&row| log.slots()[row] == 0).collect();
    let column =
        |value: &dyn Fn(usize) -> f64| top.iter().map(|&row| value(row)).collect::<Vec<_>>();
    let bandit = LoggedBandit::new(BanditColumns {
        reward: column(&|row| f64::from(log.clicks()[row])),
        propensity: column(&|row| f64::from(log.propensities()[row])),
        target: column(&|row| weight(&quality[log.items()[row] as usize]) / total),
        ..BanditColumns::default()
    })
    .unwrap();
    // Served by the target itself, in the same world.
    let mut target = Fixed(quality.clone());
    let served = served(&config, 12, Ranking::Ranker(&mut target), &exploring(0.5, 0.0, 0));
    let (earned, n) = mean(served.clicks(), |row| served.slots()[row] == 0);
    let error = (earned * (1.0 - earned) / n as f64).sqrt();
    let mut rng = Streams::new(12).stream("bootstrap", &[]);
    for estimator in [OffPolicyEstimator::Ips, OffPolicyEstimator::Snips] {
        let estimate = estimator.estimate(&bandit, &Bootstrap::default(), &mut rng).unwrap();
        let margin = 1.5 * estimate.half_width() + 3.0 * error;
        assert!((estimate.estimate - earned).abs() < margin, "{estimate:?} {earned}");
    }
    let logged = bandit.columns().reward.iter().sum::<f64>() / top.len() as f64;
    assert!(earned - logged > 10.0 * error, "the policies differ: {logged} {earned}");
    assert!(bandit.overlap().unwrap().mean_weight.contains(1.0));
}

/// Metrics of an arm in a world.
fn looped(config: &WorldConfig, seed: u64, arm: Arm<'_>) -> Vec<RoundMetrics> {
    let world = config.clone().check().unwrap();
    let settings = LoopConfig::default().check().unwrap();
    run(&world, &Streams::new(seed), arm, &settings, |_| Ok(())).unwrap()
}

fn popularity(propensities: bool) -> Popularity {
    PopularityConfig { propensities, ..Default::default() }.check().unwrap()
}

#[test]
fn a_frozen_arm_is_flat() {
    // Users are alike: the same scores over the same items give the same order, whoever comes.
    let config = WorldConfig { personalisation: 0.0, ..WorldConfig::b() };
    for seed in 0..3 {
        let frozen = looped(&config, seed, Arm::Frozen(&mut popularity(false)));
        let retrained = looped(&config, seed, Arm::Retrained(&mut popularity(false)));
        assert_eq!(retrained[..2], frozen[..2]);
        for (round, other) in frozen[2..].iter().zip(&retrained[2..]) {
            assert_eq!(round.kendall_tau, Some(1.0));
            let ratio = round.served.clicks.ratio();
            assert!((ratio - frozen[1].served.clicks.ratio()).abs() < 1e-6);
            assert_ne!(round.served, other.served);
        }
    }
}

#[test]
fn known_propensities_pay_and_without_position_bias_they_change_nothing() {
    let mut config = WorldConfig { personalisation: 0.0, ..WorldConfig::a() };
    let last = |config: &WorldConfig, seed, propensities| {
        let rounds = looped(config, seed, Arm::Retrained(&mut popularity(propensities)));
        rounds[5].served.clicks.ratio()
    };
    let gains: Vec<f64> =
        (0..5).map(|seed| last(&config, seed, true) - last(&config, seed, false)).collect();
    assert!(gains.iter().all(|&gain| gain > 0.02), "{gains:?}");
    config.devices = vec![device(ExaminationConfig::Power { exponent: 0.0 })];
    assert_eq!(last(&config, 0, true), last(&config, 0, false));
}

#[test]
fn arms_share_the_first_round_and_chance_spreads_exposure() {
    let config = WorldConfig { users: Some(50), ..small() };
    let random = looped(&config, 9, Arm::Random);
    let oracle = looped(&config, 9, Arm::Oracle(Head::Click));
    let legacy = looped(&config, 9, Arm::Legacy);
    assert!(random[0] == oracle[0] && oracle[0] == legacy[0]);
    assert!(random[5].gini < 0.15 && random[5].gini < oracle[5].gini);
    assert!(random[5].legacy_correlation.unwrap() < 0.5);
    assert!(legacy[5].legacy_correlation.unwrap() > 0.7);
    assert_eq!(oracle[5].served.clicks.ratio(), 1.0);
    assert!(oracle[5].cumulative_regret < random[5].cumulative_regret);
    // Users who are all shown the same consume the same.
    assert!(legacy[5].homogeneity > random[5].homogeneity);
}

#[test]
fn items_that_arrive_are_retrieved_and_shown() {
    let config = WorldConfig { arriving_items: 5, candidates: Some(20), ..small() };
    let world = config.check().unwrap();
    let settings = LoopConfig::default().check().unwrap();
    let mut newest = Vec::new();
    run(&world, &Streams::new(10), Arm::Random, &settings, |round| {
        let rows = round.log.rows_of(round.metrics.round);
        newest.push(*round.log.items()[rows].iter().max().unwrap());
        assert_eq!(round.items.len(), 30 + 5 * round.metrics.round as usize);
        Ok(())
    })
    .unwrap();
    assert_eq!(newest, [29, 34, 39, 44, 49, 54]);
}

/// Jiang et al.'s user: 100 items, 5 shown and all seen, δ = 0.01.
fn drifted(ranking: impl Fn() -> Ranking<'static>, steps: u64, seed: u64) -> f64 {
    let config = WorldConfig {
        items: 100,
        users: Some(1),
        slots: 5,
        sessions: 100,
        base_logit: 0.0,
        quality_sd: 1.0,
        personalisation: 0.0,
        devices: vec![device(ExaminationConfig::Power { exponent: 0.0 })],
        drift: Some(0.01),
        ..WorldConfig::b()
    };
    let mut simulator = Simulator::new(&config.check().unwrap(), &Streams::new(seed));
    let mut log = simulator.log();
    for round in 0..steps / 100 {
        log.keep_last_rounds(0);
        simulator.serve(round, ranking(), &Exploration::default(), &mut log).unwrap();
    }
    simulator.drift()[0]
}

#[test]
fn the_oracle_degenerates_and_chance_hardly() {
    // Every step moves five interests by δ each, so that no ranking can move them further.
    let furthest = |steps: u64| 0.01 * 5f64.sqrt() * steps as f64;
    for seed in 0..5 {
        let oracle = |steps| drifted(|| Ranking::Oracle(Head::Click), steps, seed);
        let [early, middle, late] = [500, 2500, 5000].map(oracle);
        assert!(early < furthest(500) && late < furthest(5000), "{seed}: {early} {late}");
        // Liked more because they were shown: what is shown freezes and is clicked ever more
        // surely, until all five interests rise at nearly every step.
        assert!(middle > 5.0 * early, "{seed}: {early} {middle}");
        assert!(late - middle > 0.9 * furthest(2500), "{seed}: {middle} {late}");
        // Chance shows each item one time in twenty, liked or not.
        for (steps, oracle) in [(500, early), (2500, middle), (5000, late)] {
            let random = drifted(|| Ranking::Random, steps, seed);
            assert!(random > 0.0 && random < 0.2 * oracle, "{seed}, {steps}: {random} {oracle}");
        }
    }
}

#[test]
fn a_bias_curve_is_refused_where_no_item_changes_position() {
    let curve = |how: &Exploration, config: &WorldConfig| {
        let log = served(config, 11, Ranking::Legacy, how);
        let graph = PositionGraph::of_log(&log, 10, 1).unwrap();
        BiasCurve::new(&[0.0; 10], &graph, 3)
    };
    // All items are candidates and nothing is random: each slot has its item.
    let error = curve(&Exploration::default(), &small()).unwrap_err();
    let RecsysError::Unidentified { components, shared } = error else { panic!("{error}") };
    assert_eq!((components.len(), shared), (10, 0));
    // Noise on the scores, or random retrieval, exchange them.
    assert!(curve(&exploring(0.5, 0.0, 0), &small()).is_ok());
    assert!(
        curve(&Exploration::default(), &WorldConfig { candidates: Some(15), ..small() }).is_ok()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_candidate_list_and_log_is_well_formed(
        seed: u64, candidates in 10usize..=30, temperature in 0f64..1.0, epsilon in 0f64..1.0, slot in 0usize..10,
    ) {
        let config = WorldConfig { candidates: Some(candidates), sessions: 300, ..small() };
        let log = served(&config, seed, Ranking::Legacy, &exploring(temperature, epsilon, slot));
        prop_assert_eq!(&log, &served(&config, seed, Ranking::Legacy, &exploring(temperature, epsilon, slot)));
        prop_assert_eq!((log.len(), log.session_count()), (3000, 300));
        for (session, items) in log.items().chunks(10).enumerate() {
            let distinct: std::collections::HashSet<_> = items.iter().collect();
            prop_assert_eq!(distinct.len(), 10);
            prop_assert!(items.iter().all(|&item| item < 30));
            let rows = session * 10..(session + 1) * 10;
            prop_assert!(log.sessions()[rows.clone()].iter().all(|&s| s as usize == session));
            prop_assert_eq!(&log.slots()[rows], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        }
        prop_assert!(log.propensities().iter().all(|&p| p > 0.0 && p <= 1.0));
    }
}
