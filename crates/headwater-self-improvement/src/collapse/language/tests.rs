//! The loop's measures against sums by hand, what its arms share, and that configs are refused.

use super::*;
use crate::collapse::source::SourceConfig;

fn source() -> Source {
    let config = SourceConfig { symbols: 6, length: 5, ..SourceConfig::default() };
    Source::new(config.check().unwrap(), &Streams::new(1))
}

fn small(data: DataPolicy) -> LanguageConfig {
    LanguageConfig {
        data,
        rows: 16,
        rounds: 3,
        steps: 4,
        batch: 4,
        width: 8,
        test_rows: 8,
        ..LanguageConfig::default()
    }
}

fn run(config: LanguageConfig) -> Vec<RoundMeasure> {
    let device = Device::flex().autodiff();
    config.check().unwrap().run(&source(), &device, &Streams::new(2)).unwrap()
}

#[test]
fn measures_agree_with_scores_of_single_texts() {
    // Cross-entropy by the log-probabilities of sampled symbols is another estimate of the same number.
    let source = source();
    let config = LanguageConfig { test_rows: 3000, ..small(DataPolicy::Replace) };
    let streams = Streams::new(5);
    let texts = source.texts(3000, &mut streams.stream("held-out text", &[]));
    let device = Device::flex().autodiff();
    let model = config.check().unwrap().train(&texts, &source, &device, (0, &streams)).unwrap();
    let seen = measure(&model, &source, &texts, &texts).unwrap();
    let pairs = texts.iter().map(|text| (PROMPT.as_slice(), text.as_slice()));
    let batch = SequenceBatch::new(pairs, model.shape()).unwrap();
    let gaps: Vec<f64> = batch
        .log_probs(&model.valid())
        .iter()
        .zip(&texts)
        .map(|(row, text)| {
            source.log_prob(text) - row.iter().map(|l| f64::from(*l)).sum::<f64>() / 5.0
        })
        .collect();
    let mean = gaps.iter().sum::<f64>() / 3000.0;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 2999.0;
    let standard_error = (variance / 3000.0).sqrt();
    assert!((mean - seen.excess).abs() < 4.0 * standard_error, "{mean} {}", seen.excess);
    assert!(seen.excess > 20.0 * standard_error, "the model is far from the source: {seen:?}");
    // A model that knows nothing spreads evenly: rare successors have too much, frequent ones too little.
    assert!(seen.rare > 0.0 && seen.rare_mass > 1.0 && seen.frequent < 0.0, "{seen:?}");
    let own: f64 = texts.iter().map(|text| source.log_prob(text)).sum::<f64>() / 3000.0;
    assert!((seen.quality - own).abs() < 1e-12);
}

#[test]
fn training_on_real_text_comes_near_the_source() {
    let config = LanguageConfig {
        rows: 400,
        rounds: 1,
        steps: 200,
        width: 16,
        test_rows: 64,
        ..small(DataPolicy::Replace)
    };
    let untrained = run(LanguageConfig { steps: 1, learning_rate: 1e-6, ..config })[0];
    let trained = run(LanguageConfig { batch: 32, ..config })[0];
    assert!(trained.excess < 0.2 * untrained.excess, "{trained:?} {untrained:?}");
}

#[test]
fn all_policies_share_the_first_round_and_only_that() {
    let policies = [
        DataPolicy::Replace,
        DataPolicy::Accumulate,
        DataPolicy::RealShare { share: 0.5, fresh: false },
        DataPolicy::RealShare { share: 0.5, fresh: true },
        DataPolicy::RealShare { share: 1.0, fresh: true },
    ];
    let runs: Vec<_> = policies.map(small).into_iter().map(run).collect();
    for (at, measures) in runs.iter().enumerate() {
        assert_eq!(measures[0], runs[0][0]);
        for other in &runs[..at] {
            assert_ne!(measures[1], other[1]);
        }
    }
    assert_eq!(run(small(DataPolicy::Replace)), runs[0], "the same streams, the same numbers");
}

#[test]
fn compositions_by_hand() {
    let kept = DataPolicy::RealShare { share: 1.0, fresh: false };
    assert_eq!(kept.composition(16, 3), Composition { keeps: false, own: 0, real: 16, drawn: 0 });
    let fresh = DataPolicy::RealShare { share: 0.1, fresh: true };
    assert_eq!(
        fresh.composition(256, 3),
        Composition { keeps: false, own: 230, real: 26, drawn: 3 }
    );
}

#[test]
fn a_low_temperature_writes_likelier_text() {
    let warm = run(LanguageConfig { rows: 400, steps: 60, ..small(DataPolicy::Replace) });
    let cold = LanguageConfig { rows: 400, steps: 60, ..small(DataPolicy::Replace) };
    let cold = run(LanguageConfig { temperature: 0.5, ..cold });
    assert!(cold[0].quality > warm[0].quality);
    assert!(cold[2].entropy < warm[2].entropy);
}

#[test]
fn bad_configs_are_refused() {
    for bad in [
        LanguageConfig { rows: 0, ..small(DataPolicy::Replace) },
        LanguageConfig { width: 6, ..small(DataPolicy::Replace) },
        LanguageConfig { temperature: 0.0, ..small(DataPolicy::Replace) },
        small(DataPolicy::RealShare { share: 0.0, fresh: true }),
    ] {
        assert!(bad.check().is_err(), "{bad:?}");
    }
}
