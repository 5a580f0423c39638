//! What rankers come to in the loop: acceptance tests on simulated worlds.
use headwater_core::{Check, Streams};
use headwater_recsys::{
    Arm, At, Catalogue, ExaminationConfig, Head, HeadConfig, Impression, Log, LogShape, LoopConfig,
    NetworkConfig, NeuralRanker, NeuralRankerConfig, PopularityConfig, PositionConfig,
    PositionGraph, Propensities, Ranker, RecsysError, RoundMetrics, ServingPosition, SessionRow,
    Sharing, WorldConfig, run,
};

/// The loop in a world from one seed: its rounds, the ranker, and the graph of the log it was trained on last.
fn looped(
    world: &WorldConfig,
    config: NeuralRankerConfig,
    seed: u64,
) -> (Vec<RoundMetrics>, NeuralRanker, PositionGraph) {
    let world = world.clone().check().unwrap();
    let streams = Streams::new(seed);
    let shape = LogShape::from(&world);
    let mut ranker =
        NeuralRanker::new(&config.check().unwrap(), shape, &streams.child("ranker", &[]));
    let settings = LoopConfig::default().check().unwrap();
    let mut graph = None;
    let rounds = run(&world, &streams, Arm::Retrained(&mut ranker), &settings, |round| {
        graph = Some(PositionGraph::of_log(round.log, shape.slots, shape.devices)?);
        Ok(())
    });
    (rounds.unwrap(), ranker, graph.unwrap())
}

fn remedied(position: PositionConfig) -> NeuralRankerConfig {
    NeuralRankerConfig { position, ..NeuralRankerConfig::default() }
}

const TOWER: PositionConfig = PositionConfig::Tower { dropout: 0.1, crossed: true };

#[test]
fn the_curve_of_world_a_is_recovered() {
    let world = WorldConfig::a();
    let examination = world.devices[0].examination.checked(world.slots).unwrap();
    let truth: Vec<f64> = examination.theta().unwrap().iter().map(|theta| theta.ln()).collect();
    let propensities = Propensities::Estimated;
    for (position, most) in [
        (TOWER, 0.35),
        (PositionConfig::Product, 0.35),
        (PositionConfig::DualLearning { most_weight: 100.0 }, 0.35),
        (PositionConfig::RegressionEm { rate: 0.05 }, 0.35),
        // It takes what personalisation moves up for what is seen.
        (PositionConfig::InversePropensity { propensities, least: 0.1 }, 0.5),
    ] {
        let (_, ranker, graph) = looped(&world, remedied(position), 1);
        let curve = ranker.bias_curve(&graph, 5).unwrap().unwrap();
        let error = curve.rmse(&truth).unwrap();
        assert!(error < most, "{position:?}: {error} {:?}", curve.values());
    }
}

#[test]
fn where_every_slot_is_examined_no_bias_is_learnt() {
    let mut world = WorldConfig { sessions: 5_000, ..WorldConfig::a() };
    world.devices[0].examination = ExaminationConfig::Ultra { exponent: 0.0 };
    for seed in [1, 2] {
        let (_, ranker, graph) = looped(&world, remedied(TOWER), seed);
        let curve = ranker.bias_curve(&graph, 5).unwrap().unwrap();
        let most = curve.values().iter().fold(0.0_f64, |most, bias| most.max(bias.abs()));
        assert!(most < 0.1, "{most}: {:?}", curve.values());
    }
}

#[test]
fn a_curve_that_the_log_does_not_identify_is_refused() {
    let mut log = Log::new(2, false, false);
    for session in 0..50 {
        let context = [1.0, -0.5];
        log.open(&SessionRow { round: 0, user: session, device: 0, context: &context });
        for slot in 0..3 {
            // Every item has its slot.
            let (click, examination) = (f32::from(session % 5 == u32::from(slot)), 1.0);
            let (like, dwell, propensity) = (0.0, 0.0, 1.0);
            let item = u32::from(slot);
            log.record(&Impression { item, slot, click, like, dwell, examination, propensity });
        }
    }
    let features = [0.5, 1.0, -0.5, 0.25, 1.0, -1.0];
    let catalogue = headwater_recsys::Catalogue { features: &features, width: 2 };
    let shape = LogShape { features: 2, slots: 3, devices: 1 };
    let mut ranker = NeuralRanker::new(&remedied(TOWER).check().unwrap(), shape, &Streams::new(1));
    ranker.train(catalogue, &log).unwrap();
    let graph = PositionGraph::of_log(&log, 3, 1).unwrap();
    let error = ranker.bias_curve(&graph, 1).unwrap_err();
    assert!(matches!(error, RecsysError::Unidentified { .. }), "{error}");
    // Nor is one made up where the remedy has none.
    let naive = remedied(PositionConfig::None).check().unwrap();
    let naive = NeuralRanker::new(&naive, shape, &Streams::new(1));
    assert_eq!(naive.bias_curve(&graph, 1), Ok(None));
}

#[test]
fn every_remedy_learns_with_two_devices_and_items_that_arrive() {
    let mut world =
        WorldConfig { items: 60, arriving_items: 10, sessions: 800, ..WorldConfig::a() };
    let mut second = world.devices[0].clone();
    second.examination = ExaminationConfig::Power { exponent: 0.5 };
    world.devices.push(second);
    for position in [
        PositionConfig::None,
        TOWER,
        PositionConfig::Feature { dropout: 0.1, serving: ServingPosition::First },
        PositionConfig::Feature { dropout: 0.1, serving: ServingPosition::Last },
        PositionConfig::Feature { dropout: 0.1, serving: ServingPosition::Missing },
        PositionConfig::Adversarial { lambda: 0.05 },
        PositionConfig::Product,
        PositionConfig::InversePropensity { propensities: Propensities::Known, least: 0.1 },
        PositionConfig::InversePropensity { propensities: Propensities::Estimated, least: 0.1 },
        PositionConfig::DualLearning { most_weight: 100.0 },
        PositionConfig::RegressionEm { rate: 0.05 },
    ] {
        let (rounds, ..) = looped(&world, remedied(position), 3);
        let ratios: Vec<f64> = rounds.iter().map(|round| round.served.clicks.ratio()).collect();
        assert!(ratios[5] > 0.9 && ratios[5] > ratios[0] + 0.2, "{position:?}: {ratios:?}");
    }
}

#[test]
fn a_like_head_serves_likes_where_clicks_do_not() {
    let world = WorldConfig::conflict(0.0);
    let sharing = Sharing::MultiGate { experts: 4, hidden: vec![16] };
    let network = NetworkConfig { sharing, tower: vec![8], ..NetworkConfig::default() };
    let likes = |like| {
        let config = NeuralRankerConfig { like, network: network.clone(), ..remedied(TOWER) };
        let (rounds, ..) = looped(&world, config, 1);
        let last = &rounds[5].served;
        (last.clicks.ratio(), last.likes.unwrap().ratio())
    };
    let (clicks_alone, both) = (likes(None), likes(Some(HeadConfig::default())));
    assert!(both.1 > clicks_alone.1 + 0.05, "{clicks_alone:?} {both:?}");
    assert!(both.0 < clicks_alone.0, "{clicks_alone:?} {both:?}");
}

#[test]
fn a_log_of_items_that_the_catalogue_does_not_have_is_refused() {
    let shape = LogShape { features: 2, slots: 1, devices: 1 };
    let catalogue = Catalogue { features: &[0.0; 6], width: 2 };
    let mut log = Log::new(2, false, false);
    log.open(&SessionRow { round: 0, user: 0, device: 0, context: &[0.0; 2] });
    let impression = Impression {
        item: u32::MAX,
        slot: 0,
        click: 1.0,
        like: 0.0,
        dwell: 0.0,
        examination: 1.0,
        propensity: 1.0,
    };
    log.record(&impression);
    let settings = NeuralRankerConfig::default().check().unwrap();
    let mut neural = NeuralRanker::new(&settings, shape, &Streams::new(1));
    let mut popularity = PopularityConfig::default().check().unwrap();
    let predicted = neural.predict(catalogue, &log, Head::Click, At::Serving).map(|_| ());
    let refused = [popularity.train(catalogue, &log), neural.train(catalogue, &log), predicted];
    for error in refused.map(Result::unwrap_err) {
        let text = error.to_string();
        assert!(text.starts_with("`items of the log[0]` = 4294967295: allowed is"), "{text}");
    }
}
