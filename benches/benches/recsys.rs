//! The recommender simulator without a model in the loop, on one thread. Elements are impressions.

#![allow(missing_docs)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use headwater_core::{Check, Streams};
use headwater_recsys::{
    Arm, Exploration, ExplorationConfig, LogShape, LoopConfig, NetworkConfig, NeuralRanker,
    NeuralRankerConfig, PopularityConfig, PositionConfig, Ranking, SatisfactionConfig, Sharing,
    Simulator, WorldConfig, run,
};

fn rounds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("impressions");
    let noise = ExplorationConfig { temperature: 0.5, epsilon: 0.1, slot: 9 };
    let satisfaction = SatisfactionConfig {
        dwell_sd: Some(0.5),
        ..WorldConfig::conflict(0.5).satisfaction.unwrap_or_default()
    };
    let conflict = WorldConfig { satisfaction: Some(satisfaction), ..WorldConfig::a() };
    for (name, config, exploration) in [
        ("world A", WorldConfig::a(), ExplorationConfig::default()),
        ("world A, exploring", WorldConfig::a(), noise),
        ("world B", WorldConfig::b(), ExplorationConfig::default()),
        ("conflict, three heads", conflict, ExplorationConfig::default()),
    ] {
        let world = config.check().expect("the worlds of this project are valid");
        let exploration: Exploration = exploration.check().expect("the noise is valid");
        group.throughput(Throughput::Elements(
            (world.config().sessions * world.config().slots) as u64,
        ));
        let mut simulator = Simulator::new(&world, &Streams::new(1));
        let mut log = simulator.log();
        let mut round = 0;
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                log.keep_last_rounds(0);
                let served = simulator.serve(round, Ranking::Legacy, &exploration, &mut log);
                round += 1;
                served.expect("rounds are served in order")
            });
        });
    }
    group.finish();
}

fn loops(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("loop");
    let world = WorldConfig::a().check().expect("the worlds of this project are valid");
    let settings = LoopConfig::default().check().expect("the defaults are valid");
    // 6 rounds of 25,000 impressions, with metrics.
    group.throughput(Throughput::Elements(150_000));
    group.bench_function("world A, most popular first, 6 retrains", |bencher| {
        bencher.iter(|| {
            let mut ranker = PopularityConfig::default().check().expect("the defaults are valid");
            run(&world, &Streams::new(1), Arm::Retrained(&mut ranker), &settings, |_| Ok(()))
                .expect("scores are numbers")
        });
    });
    let plain = NetworkConfig::default();
    let sharing = Sharing::MultiGate { experts: 4, hidden: vec![16] };
    let mixture = NetworkConfig { sharing, tower: vec![8], ..NetworkConfig::default() };
    for (name, network) in [("tower", plain), ("tower, 4 experts", mixture)] {
        let position = PositionConfig::Tower { dropout: 0.1, crossed: true };
        let config = NeuralRankerConfig { network, position, ..NeuralRankerConfig::default() };
        let ranker = config.check().expect("the ranker is valid");
        let name = format!("world A, neural ranker with a shallow {name}, 6 retrains");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let streams = Streams::new(1);
                let mut ranker = NeuralRanker::new(&ranker, LogShape::from(&world), &streams);
                run(&world, &streams, Arm::Retrained(&mut ranker), &settings, |_| Ok(()))
                    .expect("scores are numbers")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, rounds, loops);
criterion_main!(benches);
