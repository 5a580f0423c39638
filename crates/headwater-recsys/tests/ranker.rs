//! What rankers come to in the loop: acceptance tests on simulated worlds.

use headwater_core::{Check, Streams};
use headwater_recsys::{
    Arm, BiasCurve, ExaminationConfig, LogShape, LoopConfig, NeuralRanker, NeuralRankerConfig,
    PositionConfig, PositionGraph, Propensities, RoundMetrics, ServingPosition, WorldConfig, run,
};

/// The loop in a world from one seed, and the curve learnt of the last rounds.
fn learnt(
    world: WorldConfig,
    position: PositionConfig,
    seed: u64,
) -> (Vec<RoundMetrics>, Option<BiasCurve>) {
    let world = world.check().unwrap();
    let streams = Streams::new(seed);
    let settings = NeuralRankerConfig { position, ..Default::default() }.check().unwrap();
    let shape = LogShape::from(&world);
    let mut ranker = NeuralRanker::new(&settings, shape, &streams.child("ranker", &[]));
    let mut graph = None;
    let loop_settings = LoopConfig::default().check().unwrap();
    let rounds = run(&world, &streams, Arm::Retrained(&mut ranker), &loop_settings, |round| {
        let shown_at: Vec<usize> = round.log.slots().iter().map(|&slot| slot.into()).collect();
        graph = Some(PositionGraph::new(&shown_at, round.log.items(), shape.slots)?);
        Ok(())
    });
    let curve = ranker.bias_curve(&graph.unwrap(), 5).unwrap();
    (rounds.unwrap(), curve)
}

fn true_log_theta(world: &WorldConfig) -> Vec<f64> {
    let examination = world.devices[0].examination.checked(world.slots).unwrap();
    examination.theta().unwrap().iter().map(|theta| theta.ln()).collect()
}

#[test]
fn the_tower_recovers_the_curve_of_world_a() {
    for seed in 1..=3 {
        let tower = PositionConfig::Tower { dropout: 0.1 };
        let (_, curve) = learnt(WorldConfig::a(), tower, seed);
        let error = curve.unwrap().rmse(&true_log_theta(&WorldConfig::a())).unwrap();
        println!("rmse {error}");
        assert!(error < 0.35, "{error}");
    }
}

#[test]
fn where_every_slot_is_examined_no_bias_is_learnt() {
    let mut world = WorldConfig::a();
    world.devices[0].examination = ExaminationConfig::Ultra { exponent: 0.0 };
    let tower = PositionConfig::Tower { dropout: 0.1 };
    for seed in 1..=3 {
        let (_, curve) = learnt(world.clone(), tower, seed);
        let most = curve.unwrap().values().iter().fold(0.0_f64, |most, b| most.max(b.abs()));
        println!("most {most}");
        assert!(most < 0.1, "{most}");
    }
}
