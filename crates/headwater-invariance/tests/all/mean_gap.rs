//! The statistical form counts what is independent and keeps its error rates.

use std::sync::Mutex;

use headwater_core::{Sample, Score, Streams};
use headwater_invariance::{
    Edit, MeanGapConfig, MeanGapReport, MeanGapVerdict, OwnedSample, SampleStrategy,
    assert_mean_gap_within, edits, given, mean_gap, prose,
};
use headwater_rewards::{Invariance, Range, Reward};
use proptest::sample::select;
use rand::RngExt;

const ERROR_RATE: f64 = 0.05;

/// A bound of 1.
fn config(draws: u32, seed: u64) -> MeanGapConfig {
    MeanGapConfig { bound: 1.0, error_rate: ERROR_RATE, draws, seed }
}

/// So many distinct samples, other ones for every seed.
fn samples(count: usize, seed: u64) -> SampleStrategy {
    given((0..count).map(|i| OwnedSample::new("Why?", &format!("text {i} of {seed}"), None)))
}

/// Three marks at the end, one drawn.
fn marked() -> Edit {
    Edit::new("mark", select(&["!", "!!", "!!!"][..]), |mark, sample| {
        let completion = format!("{}{mark}", sample.completion);
        Some(OwnedSample { completion, ..sample.clone() })
    })
}

fn is_marked(sample: Sample<'_>) -> bool {
    sample.completion.ends_with('!')
}

/// Scores with fresh normal noise on every call, plus `bias` for marked texts.
fn noisy(seed: u64, noise: f64, bias: f64) -> impl Reward {
    let stream = Mutex::new(Streams::new(seed).stream("noise", &[]));
    move |sample: Sample<'_>| {
        let mut stream = stream.lock().expect("not poisoned");
        // Box and Muller; 1 - u is never 0.
        let (u, v): (f64, f64) = (stream.random(), stream.random());
        let normal = (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        Score::finite(noise * normal + if is_marked(sample) { bias } else { 0.0 })
    }
}

/// A number in (0, 1) that depends on nothing but the text.
fn uniform_of(text: &str) -> f64 {
    1.0 - Streams::new(0).stream(text, &[]).random::<f64>()
}

/// The same score for the same text every time: marked texts get `bias` and a gap of their own,
/// drawn by `gap` from the text without its mark and from the text with it.
fn fixed(bias: f64, gap: fn(&str, &str) -> f64) -> impl Reward {
    move |sample: Sample<'_>| {
        let text = sample.completion;
        let own = || gap(text.trim_end_matches('!'), text);
        Score::finite(if is_marked(sample) { bias + own() } else { 0.0 })
    }
}

/// Normal, in part shared by all marks of one text.
fn normal(text: &str, marked: &str) -> f64 {
    let one = |text: &str| {
        let mut stream = Streams::new(1).stream(text, &[]);
        let (u, v): (f64, f64) = (stream.random(), stream.random());
        (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    };
    0.5 * one(text) + 0.3 * one(marked)
}

/// Exponential with mean 0, the same for all marks of one text.
fn skewed(text: &str, _: &str) -> f64 {
    -uniform_of(text).ln() - 1.0
}

/// How often the verdicts are [`MeanGapVerdict::Within`] and [`MeanGapVerdict::Exceeds`] over many
/// independent measurements.
fn rates(measure: impl Fn(u64) -> MeanGapReport) -> (f64, f64) {
    const RUNS: u64 = 2_000;
    let verdicts: Vec<_> = (0..RUNS).map(|seed| measure(seed).verdict).collect();
    let rate = |verdict| verdicts.iter().filter(|v| **v == verdict).count() as f64 / RUNS as f64;
    (rate(MeanGapVerdict::Within), rate(MeanGapVerdict::Exceeds))
}

/// Four standard errors of a rate of 0.05 over 2,000 runs.
const SLACK: f64 = 0.0195;

#[test]
fn both_error_rates_are_as_stated_on_the_bound_for_noise_of_every_call() {
    for bias in [1.0, -1.0] {
        // Drawn with replacement, so that some samples are seen once and some often.
        let (false_pass, false_alarm) = rates(|seed| {
            let drawn = samples(30, 0);
            mean_gap(&noisy(seed, 0.5, bias), drawn, &marked(), config(40, seed)).unwrap()
        });
        assert!((false_pass - ERROR_RATE).abs() < SLACK, "{false_pass}");
        assert!((false_alarm - ERROR_RATE).abs() < SLACK, "{false_alarm}");
    }
}

#[test]
fn both_error_rates_are_as_stated_on_the_bound_for_gaps_fixed_by_the_text() {
    for bias in [1.0, -1.0] {
        // 12 new samples each time, every pair of them drawn about five times.
        let (false_pass, false_alarm) = rates(|seed| {
            let drawn = samples(12, seed);
            mean_gap(&fixed(bias, normal), drawn, &marked(), config(180, seed)).unwrap()
        });
        assert!((false_pass - ERROR_RATE).abs() < SLACK, "{false_pass}");
        assert!((false_alarm - ERROR_RATE).abs() < SLACK, "{false_alarm}");
    }
}

#[test]
fn skewed_gaps_pass_falsely_about_as_often_as_documented() {
    let (false_pass, _) = rates(|seed| {
        let drawn = samples(20, seed);
        mean_gap(&fixed(1.0, skewed), drawn, &marked(), config(200, seed)).unwrap()
    });
    assert!((0.10..0.15).contains(&false_pass), "{false_pass}");
}

#[test]
fn inside_the_bound_false_alarms_are_rarer_and_enough_samples_pass() {
    // The gap's standard deviation is twice the bound, so 44 samples are (3.3 * 2)^2.
    let noise = 2.0 / 2_f64.sqrt();
    let (pass, false_alarm) = rates(|seed| {
        mean_gap(&noisy(seed, noise, 0.0), prose("Why?", 40), &marked(), config(44, seed)).unwrap()
    });
    assert!(false_alarm < 0.005, "{false_alarm}");
    assert!((0.86..0.93).contains(&pass), "{pass}");
}

#[test]
fn repeats_of_a_pair_are_no_evidence() {
    // One sample under three marks, drawn 3,000 times: three gaps, all known, of one text.
    let report = mean_gap(&fixed(0.0, normal), samples(1, 0), &marked(), config(3_000, 0)).unwrap();
    assert_eq!((report.samples, report.pairs, report.comparisons), (1, 3, 3_000));
    assert_eq!(report.verdict, MeanGapVerdict::Inconclusive);
    assert!(report.high.is_infinite());
    // Nine samples are not enough either, however often they are drawn, nor however small the gap.
    let report =
        mean_gap(&noisy(0, 0.01, 0.0), samples(9, 0), &marked(), config(3_000, 0)).unwrap();
    assert_eq!((report.samples, report.pairs), (9, 27));
    assert_eq!(report.verdict, MeanGapVerdict::Inconclusive);
    // What a deterministic reward says is the same for 3,000 draws as for those that saw each pair.
    let measure = |draws| {
        let report = mean_gap(&fixed(0.0, normal), samples(10, 1), &marked(), config(draws, 5));
        let report = report.unwrap();
        assert_eq!((report.samples, report.pairs), (10, 30));
        (report.low, report.high)
    };
    let ((low, high), (again_low, again_high)) = (measure(400), measure(3_000));
    assert!((low - again_low).abs() < 1e-12 && (high - again_high).abs() < 1e-12);
    // Repeats narrow what a noisy reward says of the same samples.
    let width = |draws| {
        let report = mean_gap(&noisy(1, 1.0, 0.0), samples(10, 1), &marked(), config(draws, 5));
        let report = report.unwrap();
        report.high - report.low
    };
    assert!(width(3_000) < 0.2 * width(60));
}

/// 0.5 unless the text is one of the share that the mark pays for.
struct Rarely(f64);

impl Reward for Rarely {
    fn name(&self) -> &str {
        "rarely"
    }

    fn range(&self) -> Range {
        Range::UNIT
    }

    fn invariances(&self) -> &[Invariance] {
        &[]
    }

    fn score(&self, sample: Sample<'_>) -> Score {
        let pays = uniform_of(sample.completion.trim_end_matches('!')) < self.0;
        Score::finite(if is_marked(sample) && pays { 1.0 } else { 0.0 })
    }
}

#[test]
fn no_spread_is_no_proof() {
    let measure = |reward: &dyn Reward, count, bound, seed| {
        let config = MeanGapConfig { bound, error_rate: ERROR_RATE, draws: 400, seed };
        mean_gap(reward, samples(count, seed), &marked(), config).unwrap()
    };
    // 1 - 0.05^(1/58) = 0.0503 and 1 - 0.05^(1/59) = 0.0495 of a range of 1.
    let never = Rarely(0.0);
    let report = measure(&never, 58, 0.05, 0);
    assert_eq!((report.samples, report.verdict), (58, MeanGapVerdict::Inconclusive));
    assert!((report.high - 0.0503).abs() < 1e-4 && report.low == -report.high);
    assert_eq!(measure(&never, 59, 0.05, 0).verdict, MeanGapVerdict::Within);
    // A reward that pays in 10% of the samples is off by 0.1, and often seen to pay in none of 20.
    let (false_pass, _) = rates(|seed| measure(&Rarely(0.1), 20, 0.099, seed));
    assert!(false_pass <= ERROR_RATE + SLACK, "{false_pass}");
    // Without a range there is no saying how large an unseen gap may be.
    let constant = |_: Sample<'_>| Score::Scored(0.5);
    let report = measure(&constant, 40, 0.05, 0);
    assert_eq!((report.mean, report.verdict), (0.0, MeanGapVerdict::Inconclusive));
}

#[test]
fn a_clear_bias_is_seen_and_signed() {
    let report =
        mean_gap(&noisy(0, 1.0, -3.0), prose("Why?", 40), &marked(), config(50, 0)).unwrap();
    assert_eq!(report.verdict, MeanGapVerdict::Exceeds);
    assert!(report.high < -1.0 && report.low < report.mean && report.mean < report.high);
    assert_eq!((report.samples, report.pairs, report.comparisons), (50, 50, 50));
    assert_eq!((report.broken, report.abstained), (0, 0));
}

#[test]
fn missing_and_broken_pairs_are_counted_not_averaged() {
    let measure = |reward: &dyn Reward, edit: &Edit| {
        mean_gap(reward, samples(20, 0), edit, config(20, 0)).unwrap()
    };
    let abstains = |_: Sample<'_>| Score::Abstained("no".into());
    let report = measure(&abstains, &marked());
    assert_eq!((report.comparisons, report.abstained), (0, 20));
    assert_eq!(report.verdict, MeanGapVerdict::Inconclusive);
    let fails = |_: Sample<'_>| Score::Failed("down".into());
    let report = measure(&fails, &marked());
    assert_eq!((report.broken, report.broken_originals), (20, 20));
    assert_eq!(report.verdict, MeanGapVerdict::Broken);
    let fails_on_marks = |sample: Sample<'_>| {
        if is_marked(sample) { Score::Scored(f64::NAN) } else { Score::Scored(0.0) }
    };
    let report = measure(&fails_on_marks, &marked());
    assert_eq!((report.broken, report.broken_originals), (20, 0));
    let far_apart =
        |sample: Sample<'_>| Score::Scored(if is_marked(sample) { f64::MAX } else { f64::MIN });
    let report = measure(&far_apart, &marked());
    assert_eq!((report.broken, report.verdict), (20, MeanGapVerdict::Broken));
    let report = measure(&abstains, &edits::paraphrase([("absent", "missing")]));
    assert_eq!((report.comparisons, report.not_applicable), (0, 200));
    for bad in [
        MeanGapConfig { error_rate: 0.5, ..config(20, 0) },
        MeanGapConfig { bound: 0.0, ..config(20, 0) },
        config(MeanGapConfig::FEWEST_SAMPLES - 1, 0),
    ] {
        assert!(mean_gap(&fails, samples(20, 0), &marked(), bad).is_err());
    }
}

#[test]
fn an_error_rate_that_nothing_can_meet_decides_nothing() {
    let config = MeanGapConfig { error_rate: 1e-300, ..config(20, 0) };
    let report = mean_gap(&noisy(0, 1.0, 0.0), samples(20, 0), &marked(), config).unwrap();
    assert_eq!((report.high, report.verdict), (f64::INFINITY, MeanGapVerdict::Inconclusive));
}

#[test]
fn the_assertion_passes_for_a_fair_noisy_judge() {
    let judge = noisy(3, 1.0, 0.0);
    let report = assert_mean_gap_within(&judge, prose("Why?", 8), &marked(), config(100, 3));
    assert!(report.low < 0.0 && report.high > 0.0);
}

#[test]
#[should_panic(expected = "not shown to be within 1: it lies in [")]
fn the_assertion_panics_when_nothing_is_shown() {
    assert_mean_gap_within(&noisy(0, 5.0, 0.0), prose("Why?", 8), &marked(), config(12, 0));
}

#[test]
#[should_panic(expected = "1 distinct samples were compared and 10 are needed")]
fn the_assertion_says_when_samples_are_too_few() {
    assert_mean_gap_within(&noisy(0, 0.1, 0.0), samples(1, 0), &marked(), config(100, 0));
}

#[test]
#[should_panic(expected = "the reward is broken whatever the edit: it fails on 20 originals")]
fn the_assertion_tells_a_broken_reward_from_a_harmful_edit() {
    let broken = |_: Sample<'_>| Score::Scored(f64::NAN);
    assert_mean_gap_within(&broken, samples(20, 0), &marked(), config(20, 0));
}
