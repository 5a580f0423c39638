//! The ranker's loss and gradient as a whole, and what it does with masks, places, items and streams.

use super::training::Loss;
use super::*;
use crate::ranker::architecture::{NetworkConfig, Sharing};
use crate::ranker::heads::HeadConfig;
use crate::ranker::position::{PositionConfig, Propensities, ServingPosition};
use crate::world::{Items, SatisfactionConfig, World, WorldConfig};
use crate::{Exploration, Impression, Ranking, SessionRow, Simulator};
use approx::assert_relative_eq;
use headwater_core::Check;
use rand::RngExt;

/// Two devices, likes and dwell.
fn world() -> World {
    let mut config = WorldConfig {
        items: 14,
        features: 4,
        candidates: Some(8),
        slots: 5,
        sessions: 60,
        satisfaction: Some(SatisfactionConfig { dwell_sd: Some(0.3), ..Default::default() }),
        ..WorldConfig::b()
    };
    let second = config.devices[0].clone();
    config.devices.push(second);
    config.check().unwrap()
}

fn served(world: &World) -> (Items, Log) {
    let mut simulator = Simulator::new(world, &Streams::new(5));
    let mut log = simulator.log();
    simulator.serve(0, Ranking::Random, &Exploration::noise(0.0), &mut log).unwrap();
    (simulator.items().clone(), log)
}

fn config(position: PositionConfig) -> NeuralRankerConfig {
    let sharing = Sharing::MultiGate { experts: 3, hidden: vec![6] };
    let network = NetworkConfig { bottom: vec![7], sharing, tower: vec![4], gate_dropout: 0.0 };
    let like = Some(HeadConfig { weight: 2.0, exponent: 0.5, ..HeadConfig::default() });
    let dwell = Some(HeadConfig { weight: 0.5, ..HeadConfig::default() });
    let click = HeadConfig { weight: 1.5, ..HeadConfig::default() };
    NeuralRankerConfig { network, embedding: 3, click, like, dwell, position, ..Default::default() }
}

fn ranker(config: NeuralRankerConfig) -> NeuralRanker {
    NeuralRanker::new(&config.check().unwrap(), LogShape::from(&world()), &Streams::new(9))
}

/// Every parameter moved off its start.
fn disturbed(config: NeuralRankerConfig, items: &Items) -> NeuralRanker {
    let mut ranker = ranker(config);
    ranker.model.admit(&mut ranker.weights, items.len());
    let mut rng = Streams::new(11).stream("disturbance", &[]);
    ranker.weights.parameters.iter_mut().for_each(|p| *p += rng.random::<f32>() - 0.5);
    ranker
}

fn labels<'a>(ranker: &NeuralRanker, log: &'a Log) -> Vec<Labels<'a>> {
    ranker.model.heads.iter().map(|(head, _)| log.labels(*head).unwrap()).collect()
}

/// Loss and gradient of the log's first 20 sessions.
fn differentiate(
    ranker: &NeuralRanker,
    items: &Items,
    log: &Log,
    labels: &[Labels<'_>],
) -> (Loss, Vec<f32>) {
    let NeuralRanker { model, weights, settings, .. } = ranker;
    let gate_rate = settings.architecture().gate_dropout;
    let mut dropout = Dropout::new(gate_rate, settings.position.dropout(), &Streams::new(4), 0);
    let mut batch = Batch::default();
    let rows = 0..batch_end(log, 0, 20);
    assert_eq!(rows.len(), 100);
    model.read(weights, items.catalogue(), log, rows, &mut dropout, &mut batch);
    let mut click_loss = ranker.click_loss.clone();
    let loss = model.differentiate(weights, log, labels, &mut click_loss, &mut dropout, &mut batch);
    (loss, batch.gradient)
}

#[test]
fn gradients_through_the_whole_ranker() {
    let (items, log) = served(&world());
    let propensities = Propensities::Known;
    for position in [
        PositionConfig::None,
        PositionConfig::Tower { dropout: 0.3, crossed: false },
        PositionConfig::Feature { dropout: 0.3, serving: ServingPosition::First },
        PositionConfig::Adversarial { lambda: 0.7 },
        PositionConfig::Product,
        PositionConfig::InversePropensity { propensities, least: 0.2 },
    ] {
        let mut config = config(position);
        config.network.gate_dropout = 0.3;
        let ranker = disturbed(config, &items);
        let labels = labels(&ranker, &log);
        let (_, gradient) = differentiate(&ranker, &items, &log, &labels);
        let network = ranker.model.network.parameters;
        let values = ranker.model.values.clone();
        let adversary = network..values.start;
        for section in [0..network, adversary.clone(), values.clone(), values.end..gradient.len()] {
            if section.is_empty() {
                continue;
            }
            let own = &gradient[section.clone()];
            let size = own.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            assert!(size > 1e-4, "{position:?} {section:?}: {size}");
            // Up the gradient, and in a direction of chance.
            let mut rng = Streams::new(12).stream("direction", &[]);
            let chance: Vec<f32> = own.iter().map(|_| rng.random::<f32>() - 0.5).collect();
            for direction in [own.to_vec(), chance] {
                let norm = direction.iter().map(|d| d * d).sum::<f32>().sqrt();
                let step = 1.0 / 512.0;
                let moved = |sign: f32| {
                    let mut ranker = ranker.clone();
                    let parameters = &mut ranker.weights.parameters[section.clone()];
                    let steps = parameters.iter_mut().zip(&direction);
                    steps.for_each(|(p, d)| *p += sign * step * d / norm);
                    differentiate(&ranker, &items, &log, &labels).0
                };
                let (up, down) = (moved(1.0), moved(-1.0));
                let slope = |up: f64, down: f64| (up - down) / f64::from(2.0 * step);
                let expected = if section == adversary {
                    slope(up.adversary, down.adversary)
                } else {
                    let lambda = match position {
                        PositionConfig::Adversarial { lambda } => lambda,
                        _ => 0.0,
                    };
                    slope(up.heads, down.heads) - lambda * slope(up.adversary, down.adversary)
                };
                let along = own.iter().zip(&direction).map(|(g, d)| f64::from(g * d / norm));
                let (along, tolerance) = (along.sum::<f64>(), 0.01 * size + 1e-4);
                let close = (along - expected).abs() < tolerance;
                assert!(close, "{position:?} {section:?}: {along} {expected} of {size}");
            }
        }
    }
}

#[test]
fn a_label_that_is_not_defined_has_no_gradient() {
    let (items, log) = served(&world());
    for masked in [true, false] {
        let head = HeadConfig { masked, ..HeadConfig::default() };
        let mut config = config(PositionConfig::None);
        (config.like, config.dwell) = (Some(head), Some(head));
        let ranker = disturbed(config, &items);
        let labels = labels(&ranker, &log);
        let (loss, gradient) = differentiate(&ranker, &items, &log, &labels);
        // What cannot be known may be anything.
        let clicks = log.clicks();
        let other: Vec<Vec<f32>> = labels[1..]
            .iter()
            .map(|labels| {
                let rows = labels.values.iter().zip(clicks);
                rows.map(|(&value, &click)| if click > 0.0 { value } else { 1.0 }).collect()
            })
            .collect();
        let mut changed = labels.clone();
        for (labels, values) in changed[1..].iter_mut().zip(&other) {
            labels.values = values;
        }
        let with_other = differentiate(&ranker, &items, &log, &changed);
        assert_eq!(with_other == (loss, gradient), masked);
    }
}

/// The log again, every list turned upside down.
fn turned(log: &Log, world: &World) -> Log {
    let width = world.config().features;
    let slots = world.config().slots as u8;
    let mut turned = Log::new(width, true, true);
    let mut open = None;
    let [likes, dwells] = [Head::Like, Head::Dwell].map(|head| log.labels(head).unwrap().values);
    for (row, &session) in log.sessions().iter().enumerate() {
        let at = session as usize;
        if open != Some(at) {
            let context = &log.contexts()[at * width..(at + 1) * width];
            let (user, device) = (log.users()[at], log.devices()[at]);
            turned.open(&SessionRow { round: 0, user, device, context });
            open = Some(at);
        }
        turned.record(&Impression {
            item: log.items()[row],
            slot: slots - 1 - log.slots()[row],
            click: log.clicks()[row],
            like: likes[row],
            dwell: dwells[row],
            examination: log.examinations()[row],
            propensity: 1.0,
        });
    }
    turned
}

#[test]
fn what_is_served_does_not_depend_on_the_logged_position() {
    let world = world();
    let (items, log) = served(&world);
    let turned = turned(&log, &world);
    let catalogue = items.catalogue();
    for position in [
        PositionConfig::Tower { dropout: 0.1, crossed: true },
        PositionConfig::Product,
        PositionConfig::Feature { dropout: 0.1, serving: ServingPosition::Last },
        PositionConfig::Feature { dropout: 0.1, serving: ServingPosition::Missing },
        PositionConfig::RegressionEm { rate: 0.05 },
    ] {
        let mut ranker = ranker(config(position));
        ranker.train(catalogue, &log).unwrap();
        let predict = |log, at| ranker.predict(catalogue, log, Head::Click, at).unwrap();
        assert_eq!(predict(&log, At::Serving), predict(&turned, At::Serving));
        assert_ne!(predict(&log, At::Logged), predict(&turned, At::Logged));
        assert_ne!(predict(&log, At::Logged), predict(&log, At::Serving));
    }
}

#[test]
fn a_place_is_a_feature_where_it_is_asked_for_and_not_missing() {
    let (items, _) = served(&world());
    let serving = ServingPosition::Last;
    let ranker = disturbed(config(PositionConfig::Feature { dropout: 0.1, serving }), &items);
    let NeuralRanker { model, weights, .. } = &ranker;
    let features = |place| {
        let mut x = Vec::new();
        let context = [1.0, 2.0, 3.0, 4.0];
        model.append_features(weights, items.catalogue(), &context, 2, place, &mut x);
        x
    };
    // [context, item, product, 5 slots on 2 devices, embedding].
    let row = features(Some(model.place(3, 1)));
    let item = &items.catalogue().features[8..12];
    assert_eq!(row.len(), 4 + 4 + 4 + 10 + 3);
    assert_eq!(row[4..8], *item);
    assert_eq!(row[11], 4.0 * item[3]);
    let hot: Vec<usize> = (0..10).filter(|at| row[12 + at] == 1.0).collect();
    assert_eq!(hot, [8]);
    assert_eq!(row[22..], weights.parameters[model.item(2)][..3]);
    assert!(features(None)[12..22].iter().all(|&value| value == 0.0));
    assert_eq!(model.serving_place(1), Some(9));
}

#[test]
fn batches_are_whole_sessions_and_dropout_leaves_out_what_it_says() {
    let (items, log) = served(&world());
    let serving = ServingPosition::First;
    let ranker = ranker(config(PositionConfig::Feature { dropout: 0.4, serving }));
    let NeuralRanker { model, weights, .. } = &ranker;
    let mut dropout = Dropout::new(0.25, 0.4, &Streams::new(1), 0);
    let (mut batch, mut start, mut sizes) = (Batch::default(), 0, Vec::new());
    let mut missing = 0;
    while start < log.len() {
        let end = batch_end(&log, start, 25);
        model.read(weights, items.catalogue(), &log, start..end, &mut dropout, &mut batch);
        // 5 slots on 2 devices between 12 features and an embedding of 3.
        for (row, x) in batch.x.chunks_exact(12 + 10 + 3).enumerate() {
            let place = batch.places[row];
            let hot: Vec<usize> = (0..10).filter(|at| x[12 + at] != 0.0).collect();
            assert_eq!(hot, if batch.missing[row] { vec![] } else { vec![place] });
            assert_eq!(place % 5, usize::from(log.slots()[start + row]));
            missing += usize::from(batch.missing[row]);
        }
        assert!(batch.lists.iter().all(|list| list.len() == 5));
        assert_eq!(batch.lists.last().unwrap().end, end - start);
        sizes.push(batch.lists.len());
        start = end;
    }
    assert_eq!(sizes, [25, 25, 10]);
    // 300 rows at 0.4: a standard deviation of 8.5.
    assert!((90..150).contains(&missing), "{missing}");
    let kept = dropout.gates(4_000).unwrap().iter().filter(|&&keep| keep).count();
    assert!((2_890..3_110).contains(&kept), "{kept}");
    assert!(Dropout::new(0.0, 0.4, &Streams::new(1), 0).gates(4).is_none());
}

#[test]
fn items_that_arrive_later_are_scored_as_the_mean_and_start_there() {
    let (items, log) = served(&world());
    let mut ranker = ranker(config(PositionConfig::None));
    ranker.train(items.catalogue(), &log).unwrap();
    let mut features = items.catalogue().features.to_vec();
    features.extend([0.5; 4]);
    let grown = Catalogue { features: &features, width: 4 };
    let context = [0.1, -0.2, 0.3, 0.4];
    let candidates = [14, 3];
    let requests =
        Requests { users: &[0], devices: &[1], contexts: &context, candidates: &candidates };
    let mut scores = [f32::NAN; 2];
    ranker.score(grown, &requests, &mut scores).unwrap();
    assert!(scores.iter().all(|score| score.is_finite()), "{scores:?}");
    let known = &ranker.weights.parameters[ranker.model.values.end..];
    let mean: f32 = known.iter().step_by(6).sum::<f32>() / 14.0;
    let start = ranker.weights.parameters.len();
    ranker.model.admit(&mut ranker.weights, 15);
    assert_relative_eq!(ranker.weights.parameters[start], mean, max_relative = 1e-4);
    // Known now, and scored as before.
    let mut again = [f32::NAN; 2];
    ranker.score(grown, &requests, &mut again).unwrap();
    assert_eq!(scores, again);
}

#[test]
fn the_score_is_the_weighted_product_of_what_the_heads_predict() {
    let (items, log) = served(&world());
    let mut ranker = ranker(config(PositionConfig::Tower { dropout: 0.1, crossed: true }));
    ranker.train(items.catalogue(), &log).unwrap();
    let heads = [Head::Click, Head::Like, Head::Dwell];
    let predicted = heads.map(|head| {
        ranker.predict(items.catalogue(), &log, head, At::Serving).unwrap()[..5].to_vec()
    });
    let requests = Requests {
        users: &log.users()[..1],
        devices: &log.devices()[..1],
        contexts: &log.contexts()[..4],
        candidates: &log.items()[..5],
    };
    let mut scores = [0.0; 5];
    ranker.score(items.catalogue(), &requests, &mut scores).unwrap();
    for (row, score) in scores.iter().enumerate() {
        let product = predicted[0][row] * predicted[1][row].sqrt() * predicted[2][row].exp();
        assert_relative_eq!(score.exp(), product, max_relative = 1e-4);
    }
}

#[test]
fn the_same_streams_give_the_same_bits() {
    let (items, log) = served(&world());
    let propensities = Propensities::Estimated;
    for position in [
        PositionConfig::Tower { dropout: 0.1, crossed: true },
        PositionConfig::InversePropensity { propensities, least: 0.1 },
        PositionConfig::DualLearning { most_weight: 100.0 },
        PositionConfig::RegressionEm { rate: 0.05 },
    ] {
        let trained = |streams: u64, warm_start| {
            let mut config = config(position);
            config.network.gate_dropout = 0.1;
            config.warm_start = warm_start;
            let shape = LogShape::from(&world());
            let streams = Streams::new(streams);
            let mut ranker = NeuralRanker::new(&config.check().unwrap(), shape, &streams);
            for _ in 0..2 {
                ranker.train(items.catalogue(), &log).unwrap();
            }
            ranker.weights.parameters
        };
        let weights = trained(1, true);
        assert_eq!(weights, trained(1, true));
        assert_ne!(weights, trained(2, true));
        assert_ne!(weights, trained(1, false));
    }
}

#[test]
fn a_cold_start_forgets() {
    let (items, log) = served(&world());
    let mut config = config(PositionConfig::Tower { dropout: 0.0, crossed: true });
    config.warm_start = false;
    let mut ranker = ranker(config);
    ranker.train(items.catalogue(), &log).unwrap();
    let once = ranker.weights.parameters.clone();
    ranker.train(items.catalogue(), &log).unwrap();
    assert_eq!(once, ranker.weights.parameters);
}

#[test]
fn errors_say_what_does_not_fit() {
    let world = world();
    let (items, log) = served(&world);
    let catalogue = items.catalogue();
    let bare = Log::new(4, false, false);
    let error = ranker(config(PositionConfig::None)).train(catalogue, &bare).unwrap_err();
    assert_eq!(error, RecsysError::NoLabels { head: Head::Like });
    let config = NeuralRankerConfig { like: None, dwell: None, ..config(PositionConfig::None) };
    let own = ranker(config.clone());
    let error = own.predict(catalogue, &log, Head::Dwell, At::Serving).unwrap_err();
    assert_eq!(error, RecsysError::NoLabels { head: Head::Dwell });
    let settings = config.check().unwrap();
    for (shape, field) in [
        (LogShape { slots: 4, ..LogShape::from(&world) }, "slots = 4"),
        (LogShape { devices: 1, ..LogShape::from(&world) }, "devices = 1"),
        (LogShape { features: 3, ..LogShape::from(&world) }, "features = 3"),
    ] {
        let mut ranker = NeuralRanker::new(&settings, shape, &Streams::new(1));
        let text = ranker.train(catalogue, &log).unwrap_err().to_string();
        assert!(text.contains(field), "{text}");
    }
}
