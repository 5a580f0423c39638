//! Aggregation weights, entropy bonus, and objectives as configs.
use headwater_core::Check;
use headwater_optimizers::aggregation::{Aggregation, EmptySequences, Mode};
use headwater_optimizers::entropy::{AdaptiveEntropy, EntropyAggregation, EntropyConfig};
use headwater_optimizers::kl::{AdaptiveKl, KlConfig, KlEstimator, Placement};
use headwater_optimizers::{Objective, ObjectiveConfig, Observed};
use proptest::prelude::*;

fn published() -> Vec<Objective> {
    vec![
        Objective::reinforce(),
        Objective::rloo(),
        Objective::reinforce_plus_plus(),
        Objective::reinforce_plus_plus_baseline(),
        Objective::ppo(),
        Objective::grpo(),
        Objective::dr_grpo(3000),
        Objective::dapo(20_480),
        Objective::gspo(),
        Objective::cispo(),
        Objective::psr(),
        Objective::nsr(),
        Objective::weighted_reinforce(0.1).unwrap(),
    ]
}

#[test]
fn published_methods_are_valid_distinct_and_survive_a_round_trip() {
    let all = published();
    for (i, objective) in all.iter().enumerate() {
        assert_eq!(objective.config().check().as_ref(), Ok(objective));
        let text = serde_json::to_string(objective).unwrap();
        assert_eq!(&serde_json::from_str::<Objective>(&text).unwrap(), objective);
        assert!(all[..i].iter().all(|other| other != objective));
    }
    assert!(Objective::dapo(0).config().check().is_ok());
    assert!(Objective::dr_grpo(0).config().check().is_ok());
}

#[test]
fn a_config_file_is_read_strictly() {
    let minimal = r#"{"advantage": {"group_relative": {"spread": "none", "epsilon": 0.0}},
        "policy": {"clipped": {"low": 0.2, "high": 0.2}},
        "aggregation": {"mode": {"sequence_mean_token_sum_normalised": {"length": 64.0}}}}"#;
    let read: ObjectiveConfig = serde_json::from_str(minimal).unwrap();
    assert_eq!(read, Objective::dr_grpo(64).config());
    let typo = minimal.replace("\"epsilon\"", "\"eps\"");
    assert!(serde_json::from_str::<ObjectiveConfig>(&typo).is_err());
    let invalid = minimal.replace("64.0", "0.0");
    let error = serde_json::from_str::<Objective>(&invalid).unwrap_err().to_string();
    assert!(error.contains("Aggregation.length = 0: allowed is a finite number above 0"));
}

#[test]
fn invalid_configs_name_the_field() {
    let grpo = Objective::grpo().config();
    let error = |config: ObjectiveConfig| config.check().unwrap_err().to_string();
    let k1 = KlConfig::in_loss(0.1, KlEstimator::K1);
    assert!(error(ObjectiveConfig { kl: Some(k1), ..grpo }).starts_with("KlConfig.estimator = k1"));
    let negative = KlConfig::in_reward(-1.0);
    assert!(
        error(ObjectiveConfig { kl: Some(negative), ..grpo }).starts_with("KlConfig.coefficient")
    );
    let token = Mode::TokenMean.into();
    let re_weighted = ObjectiveConfig { aggregation: token, ..Objective::gspo().config() };
    assert!(error(re_weighted).starts_with("ObjectiveConfig.aggregation = TokenMean"));
    let ignored =
        ObjectiveConfig { kl: Some(KlConfig::in_reward(0.1)), ..Objective::nsr().config() };
    assert!(error(ignored).starts_with("ObjectiveConfig.advantage = signed"));
    let limit = ObjectiveConfig { log_ratio_limit: Some(f64::NAN), ..grpo };
    assert!(error(limit).starts_with("ObjectiveConfig.log_ratio_limit = NaN"));
}

#[test]
fn only_methods_with_a_penalty_need_a_reference_and_only_ppo_a_critic() {
    let names: Vec<bool> = published().iter().map(Objective::needs_reference).collect();
    let (yes, no) = (true, false);
    assert_eq!(names, [no, yes, yes, yes, yes, yes, no, no, no, no, no, no, no]);
    let critics = published().iter().filter(|o| o.critic().is_some()).count();
    assert_eq!((critics, Objective::ppo().critic().is_some()), (1, true));
    assert_eq!(Objective::ppo().config().kl.unwrap().placement, Placement::Reward);
}

fn weights(mode: Mode, lengths: &[usize], empty_sequences: EmptySequences) -> Vec<Vec<f64>> {
    Aggregation { mode, empty_sequences }.weights(lengths).unwrap()
}

#[test]
fn weights_of_a_short_and_a_long_sequence() {
    let of = |mode| {
        let rows = weights(mode, &[1, 3], EmptySequences::Excluded);
        assert_eq!((rows[0].len(), rows[1].len()), (1, 3));
        assert!(rows[1].iter().all(|w| *w == rows[1][0]));
        [rows[0][0], rows[1][0]]
    };
    assert_eq!(of(Mode::TokenMean), [0.25, 0.25]);
    assert_eq!(of(Mode::SequenceMeanTokenMean), [0.5, 1.0 / 6.0]);
    assert_eq!(of(Mode::SequenceMeanTokenSum), [0.5, 0.5]);
    assert_eq!(of(Mode::SequenceMeanTokenSumNormalised { length: 10.0 }), [0.05, 0.05]);
    assert_eq!(of(Mode::TokenSum), [1.0, 1.0]);
    assert_eq!(of(Mode::TokenMeanPerMicroBatch { rows: 1 }), [0.5, 1.0 / 6.0]);
    assert_eq!(of(Mode::TokenMeanPerMicroBatch { rows: 2 }), [0.25, 0.25]);
    assert_eq!(of(Mode::TokenMeanPerMicroBatch { rows: 9 }), [0.25, 0.25]);
}

#[test]
fn fully_masked_sequences_count_or_do_not() {
    let lengths = [2, 0, 0, 0];
    let of = |mode, empty| weights(mode, &lengths, empty)[0][0];
    for (mode, excluded, counted) in [
        (Mode::TokenMean, 0.5, 0.5),
        (Mode::SequenceMeanTokenMean, 0.5, 0.125),
        (Mode::SequenceMeanTokenSum, 1.0, 0.25),
        (Mode::TokenMeanPerMicroBatch { rows: 2 }, 0.5, 0.25),
    ] {
        assert_eq!(of(mode, EmptySequences::Excluded), excluded);
        assert_eq!(of(mode, EmptySequences::Counted), counted);
        let silent = weights(mode, &[0, 0], EmptySequences::Excluded);
        assert_eq!(silent, [vec![], vec![]] as [Vec<f64>; 2]);
    }
}

proptest! {
    #[test]
    fn weights_reduce_as_the_definitions_say(
        losses in prop::collection::vec(prop::collection::vec(-2.0..2.0f64, 1..6), 1..7), rows in 1usize..4,
    ) {
        let lengths: Vec<usize> = losses.iter().map(Vec::len).collect();
        let reduce = |mode| -> f64 {
            let weights = weights(mode, &lengths, EmptySequences::Excluded).concat();
            weights.iter().zip(losses.concat()).map(|(w, l)| w * l).sum()
        };
        let n = losses.len() as f64;
        let sum = |row: &Vec<f64>| row.iter().sum::<f64>();
        let mean = |row: &Vec<f64>| sum(row) / row.len() as f64;
        let token_mean = |rows: &[Vec<f64>]| mean(&rows.concat());
        let micro: Vec<f64> = losses.chunks(rows).map(token_mean).collect();
        let length = 7.0;
        for (mode, expected) in [
            (Mode::TokenMean, token_mean(&losses)),
            (Mode::SequenceMeanTokenMean, losses.iter().map(mean).sum::<f64>() / n),
            (Mode::SequenceMeanTokenSum, losses.iter().map(sum).sum::<f64>() / n),
            (
                Mode::SequenceMeanTokenSumNormalised { length },
                losses.iter().map(|row| sum(row) / length).sum::<f64>() / n,
            ),
            (Mode::TokenSum, losses.iter().map(sum).sum()),
            (Mode::TokenMeanPerMicroBatch { rows }, mean(&micro)),
        ] {
            prop_assert!((reduce(mode) - expected).abs() < 1e-12, "{mode:?}");
        }
    }
}

#[test]
fn the_entropy_bonus_is_a_token_mean_or_follows_the_loss() {
    let config = |aggregation| {
        let entropy = EntropyConfig { aggregation, ..EntropyConfig::constant(0.1) };
        ObjectiveConfig {
            aggregation: Mode::SequenceMeanTokenSum.into(),
            entropy: Some(entropy),
            ..Objective::dr_grpo(8).config()
        }
    };
    let weights = |aggregation| {
        config(aggregation).check().unwrap().entropy_weights(&[1, 3]).unwrap().concat()
    };
    assert_eq!(weights(EntropyAggregation::TokenMean), [-0.025; 4]);
    assert_eq!(weights(EntropyAggregation::LikeLoss), [-0.05; 4]);
    assert_eq!(Objective::grpo().entropy_weights(&[1, 3]), None);
}

#[test]
fn controllers_move_the_coefficients_the_objective_uses() {
    let adaptive = AdaptiveEntropy { target: 0.5, step: 0.25, minimum: 0.0, maximum: 0.5 };
    let entropy = EntropyConfig { adaptive: Some(adaptive), ..EntropyConfig::constant(0.0) };
    let kl = KlConfig {
        adaptive: Some(AdaptiveKl { target: 1.0, horizon: 100.0 }),
        ..KlConfig::in_reward(0.1)
    };
    let config =
        ObjectiveConfig { entropy: Some(entropy), kl: Some(kl), ..Objective::dr_grpo(8).config() };
    let mut objective = config.check().unwrap();
    let mut observe = |kl, entropy| {
        objective.adapt(Observed { kl, entropy, samples: 100 });
        (objective.kl_coefficient(), objective.entropy_coefficient())
    };
    // Below the target: raised and applied, up to the maximum.
    let (kl, entropy) = observe(2.0, 0.4);
    assert!((kl - 0.12).abs() < 1e-12 && entropy == 0.25);
    assert_eq!(observe(1.0, 0.5).1, 0.5);
    assert_eq!(observe(1.0, 0.1).1, 0.5);
    // Above it: not applied, and lowered all the same.
    assert_eq!(observe(1.0, 0.9).1, 0.0);
    assert_eq!(observe(1.0, 0.4).1, 0.5);
    assert_eq!(observe(1.0, 0.9).1, 0.0);
    assert_eq!(observe(1.0, 0.9).1, 0.0);
    let (kl, entropy) = observe(0.0, 0.4);
    assert!((kl - 0.096).abs() < 1e-12 && entropy == 0.25);
    assert_eq!(objective.config(), config);
    assert_eq!(AdaptiveEntropy::TRL.next(0.0, 0.1), 0.005);
}
