//! Whole reward models: what they learn, what the remedies do to a planted bias, and that they come back whole.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use headwater_core::{Check, StreamRng, Streams};
use headwater_evaluation::bias::{ScoredPair, factor_readout};
use headwater_nn::stories::StoriesTokenizer;
use headwater_nn::{AdamWConfig, DecoderConfig, Device};
use headwater_reward_models::{
    BagOfWordsConfig, BottleneckConfig, DecoderEncoder, Encoder, Grouping, HashedWords, HeadConfig,
    InvariancePenaltyConfig, Labelled, OdinConfig, Preference, Response, RewardModel,
    RewardModelConfig, Scaling, Tokens, WordVocabulary, scored_pairs,
};
use rand::RngExt;

fn words() -> HashedWords {
    let config = BagOfWordsConfig {
        buckets: 512,
        word_pairs: false,
        scaling: Scaling::Counts,
        ..Default::default()
    };
    HashedWords::new(config.check().unwrap())
}

fn decoder(texts: &[&str], context: usize, layers: usize, streams: &Streams) -> DecoderEncoder {
    let vocabulary = WordVocabulary::of(texts.iter().copied(), 64, context);
    let config = DecoderConfig {
        vocabulary: vocabulary.size(),
        context,
        layers,
        width: 32,
        hidden: 64,
        ..DecoderConfig::default()
    };
    let device = Device::flex().autodiff();
    DecoderEncoder::initialise(
        &config.check().unwrap(),
        Tokens::Words(vocabulary),
        streams,
        &device,
    )
}

/// Pairs of one-word responses whose quality is the word's number, labelled by people who are not sure, and with
/// a prefix that goes to the chosen one in `planted` of the cases.
fn prefixed(count: usize, planted: f64, stream: &mut StreamRng) -> Vec<Preference> {
    (0..count)
        .map(|prompt| {
            let mut quality = || stream.random_range(0..10u32);
            let (a, b) = (quality(), quality());
            let sure = 1.0 / (1.0 + (-f64::from(a.abs_diff(b)) / 2.0).exp());
            let (high, low) = (a.max(b), a.min(b));
            let (chosen, rejected) =
                if stream.random::<f64>() < sure { (high, low) } else { (low, high) };
            let on_chosen = stream.random::<f64>() < planted;
            let response = |quality: u32, prefix: bool| {
                let start = if prefix { "yes " } else { "" };
                Response::new(format!("{start}q{quality}")).factor(f64::from(u8::from(prefix)))
            };
            Preference::new(
                format!("p{prompt}"),
                response(chosen, on_chosen),
                response(rejected, !on_chosen),
            )
        })
        .collect()
}

/// Mean effect of the prefix on the score, in units of the score's spread over the bare answers.
fn toggle(model: &RewardModel<HashedWords>) -> f64 {
    let bare: Vec<String> = (0..10).map(|q| format!("q{q}")).collect();
    let with: Vec<String> = bare.iter().map(|text| format!("yes {text}")).collect();
    let scores = |texts: &[String]| {
        model.scores(&texts.iter().map(|t| ("p", t.as_str())).collect::<Vec<_>>()).unwrap()
    };
    let (bare, with) = (scores(&bare), scores(&with));
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let middle = mean(&bare);
    let spread = mean(&bare.iter().map(|s| (s - middle).powi(2)).collect::<Vec<_>>()).sqrt();
    (mean(&with) - middle) / spread
}

fn fit(preferences: &[Preference], config: RewardModelConfig) -> RewardModel<HashedWords> {
    let config = RewardModelConfig {
        epochs: 48,
        batch: 256,
        adamw: AdamWConfig { learning_rate: 2e-2, weight_decay: 0.0, ..AdamWConfig::default() },
        ..config
    };
    let settings = config.check().unwrap();
    let device = Device::flex();
    RewardModel::fit(words(), preferences, &[], &[], &settings, &Streams::new(4), &device)
        .unwrap()
        .0
}

fn causal(grouping: Grouping, weight: f64) -> RewardModelConfig {
    let invariance = Some(InvariancePenaltyConfig { grouping, weight, bins: 2 });
    RewardModelConfig { invariance, ..RewardModelConfig::default() }
}

#[test]
fn recovers_planted_log_odds_of_words() {
    let mut stream = Streams::new(1).stream("plant", &[]);
    let values: [f64; 4] = [0.0, 0.7, -1.1, 1.6];
    let preferences: Vec<Preference> = (0..6000)
        .map(|_| {
            let mut draw = || stream.random_range(0..4usize);
            let (a, b) = (draw(), draw());
            let first = stream.random::<f64>() < 1.0 / (1.0 + (values[b] - values[a]).exp());
            let (chosen, rejected) = if first { (a, b) } else { (b, a) };
            let response = |word: usize| Response::new(format!("w{word}"));
            Preference::new("", response(chosen), response(rejected))
        })
        .collect();
    let model = fit(&preferences, RewardModelConfig::default());
    let scores = model.scores(&[("", "w0"), ("", "w1"), ("", "w2"), ("", "w3")]).unwrap();
    for (value, score) in values.iter().zip(&scores) {
        assert!((score - scores[0] - value).abs() < 0.15, "{value}: {}", score - scores[0]);
    }
}

#[test]
fn causal_rewards_shrink_a_planted_bias_and_permuted_factors_do_not() {
    let preferences = prefixed(3000, 0.8, &mut Streams::new(2).stream("plant", &[]));
    let vanilla = toggle(&fit(&preferences, RewardModelConfig::default()));
    let conditional = toggle(&fit(&preferences, causal(Grouping::Conditional, 1.0)));
    let unconditional = toggle(&fit(&preferences, causal(Grouping::Unconditional, 1.0)));
    assert!(vanilla > 0.8, "{vanilla}");
    assert!(conditional.abs() < 0.35 * vanilla, "{conditional} of {vanilla}");
    // The label caused the prefix, so asking for independence of it in the pool asks for too much.
    assert!(unconditional < conditional - 0.1, "{unconditional}, {conditional}");

    let mut permuted = preferences.clone();
    let mut stream = Streams::new(2).stream("permute", &[]);
    for preference in &mut permuted {
        preference.chosen.factor = f64::from(stream.random_range(0..2u8));
        preference.rejected.factor = f64::from(stream.random_range(0..2u8));
    }
    let control = toggle(&fit(&permuted, causal(Grouping::Conditional, 1.0)));
    assert!((control - vanilla).abs() < 0.15 * vanilla, "{control} of {vanilla}");
}

#[test]
fn a_penalty_of_weight_0_changes_no_bit() {
    let preferences = prefixed(300, 0.8, &mut Streams::new(3).stream("plant", &[]));
    let vanilla = fit(&preferences, RewardModelConfig::default()).to_bytes();
    assert!(fit(&preferences, causal(Grouping::Conditional, 0.0)).to_bytes() == vanilla);
    assert!(fit(&preferences, causal(Grouping::Conditional, 1.0)).to_bytes() != vanilla);
}

#[test]
fn two_heads_keep_the_factor_out_of_the_first() {
    // Longer is preferred by half of the people whatever it says: Z causes the label.
    let mut stream = Streams::new(5).stream("plant", &[]);
    let preferences: Vec<Preference> = (0..3000)
        .map(|prompt| {
            let mut response = || {
                let (quality, filler) =
                    (stream.random_range(0..6u32), stream.random_range(0..4u32));
                let text = format!("q{quality}{}", " well".repeat(filler as usize));
                (
                    f64::from(quality) / 2.0 + f64::from(filler),
                    Response::new(text).factor(filler.into()),
                )
            };
            let (a, b) = (response(), response());
            let first = stream.random::<f64>() < 1.0 / (1.0 + (b.0 - a.0).exp());
            let (chosen, rejected) = if first { (a.1, b.1) } else { (b.1, a.1) };
            Preference::new(format!("p{prompt}"), chosen, rejected)
        })
        .collect();
    let correlation = |head: HeadConfig| {
        let model = fit(&preferences, RewardModelConfig { head, ..RewardModelConfig::default() });
        let pairs = scored_pairs(&preferences, |texts| model.scores(texts)).unwrap();
        let mut stream = Streams::new(8).stream("permutations", &[]);
        let readout = factor_readout(&pairs, 5, 1, 0.95, &mut stream).unwrap();
        let right: f64 = pairs.iter().map(ScoredPair::right).sum();
        (readout.overall.correlation.estimate, right / pairs.len() as f64)
    };
    let (vanilla, _) = correlation(HeadConfig::Scalar);
    let (odin, accuracy) = correlation(HeadConfig::Odin(OdinConfig::default()));
    assert!(vanilla > 0.5 && odin.abs() < 0.25, "{vanilla} {odin}");
    assert!(accuracy > 0.55, "{accuracy}");
}

#[test]
fn a_decoder_learns_a_label_that_depends_on_both_texts() {
    let colours = ["red", "green", "blue", "black"];
    let pairs = colours.iter().flat_map(|p| colours.iter().map(move |r| (*p, *r)));
    let examples: Vec<Labelled<(&str, &str)>> = pairs
        .map(|(p, r)| Labelled { input: (p, r), label: f64::from(u8::from(p == r)) })
        .collect();
    let settings = RewardModelConfig { epochs: 150, batch: 16, ..Default::default() };
    let settings = settings.check().unwrap();
    let (streams, device) = (Streams::new(2), Device::flex());
    let fit = || {
        let body = decoder(&colours, 8, 2, &streams);
        RewardModel::fit_labels(body, &examples, &settings, &streams, &device).unwrap()
    };
    let model = fit();
    let texts: Vec<(&str, &str)> = examples.iter().map(|e| e.input).collect();
    let scores = model.scores(&texts).unwrap();
    for (example, score) in examples.iter().zip(&scores) {
        assert_eq!(*score > 0.0, example.label > 0.5, "{example:?}: {score}");
    }
    // Padding and the company of other rows change nothing, and the same streams give the same model.
    let alone = model.scores(&texts[..1]).unwrap();
    assert!((alone[0] - scores[0]).abs() < 1e-5);
    assert_eq!(fit().scores(&texts).unwrap(), scores);
}

#[test]
fn models_of_every_head_and_encoder_come_back_from_their_bytes() {
    let preferences = prefixed(80, 0.8, &mut Streams::new(6).stream("plant", &[]));
    let heads = [
        HeadConfig::Scalar,
        HeadConfig::Odin(OdinConfig::default()),
        HeadConfig::Bottleneck(BottleneckConfig::default()),
    ];
    let streams = Streams::new(7);
    for head in heads {
        let settings = RewardModelConfig { head, epochs: 1, ..Default::default() }.check().unwrap();
        comes_back(words(), &preferences, &settings, &streams);
        let body = decoder(&["yes q1 q2 q3 q4 q5 q6 q7 q8 q9"], 8, 1, &streams);
        comes_back(body, &preferences, &settings, &streams);
    }
    let foreign = RewardModel::<DecoderEncoder>::from_bytes(
        &fit(&preferences, RewardModelConfig::default()).to_bytes(),
        &Device::flex(),
    );
    assert!(foreign.unwrap_err().to_string().contains("no section body"));
    assert!(RewardModel::<HashedWords>::from_bytes(b"no model", &Device::flex()).is_err());
}

fn comes_back<E: Encoder>(
    encoder: E,
    preferences: &[Preference],
    settings: &headwater_reward_models::RewardModelSettings,
    streams: &Streams,
) {
    let device = Device::flex();
    let (model, epochs) =
        RewardModel::fit(encoder, preferences, &[], preferences, settings, streams, &device)
            .unwrap();
    let seen = epochs[0].held_out.unwrap();
    assert_eq!(
        seen.chosen.right + seen.chosen.wrong + seen.rejected.right + seen.rejected.wrong,
        80
    );
    assert!(epochs[0].loss.is_finite());
    let bytes = model.to_bytes();
    let again = RewardModel::<E>::from_bytes(&bytes, &device).unwrap();
    let texts = [("p", "yes q1"), ("p", "q9")];
    assert_eq!(again.scores(&texts).unwrap(), model.scores(&texts).unwrap());
    assert!(again.to_bytes() == bytes);
}

#[test]
fn a_bad_preference_is_named() {
    let settings = RewardModelConfig::default().check().unwrap();
    let fit = |preferences: &[Preference]| {
        let (streams, device) = (Streams::new(0), Device::flex());
        let result = RewardModel::fit(words(), preferences, &[], &[], &settings, &streams, &device);
        result.unwrap_err().to_string()
    };
    let good = Preference::new("p", Response::new("a"), Response::new("b"));
    assert_eq!(fit(&[]), "no labelled examples: at least one is needed");
    let bad = Preference { label: f64::NAN, ..good.clone() };
    assert!(fit(&[good.clone(), bad]).starts_with("label of example 1 = NaN"));
    let bad = Preference { margin: -1.0, ..good.clone() };
    assert!(fit(&[bad]).starts_with("margin of preference 0 = -1"));
    let chosen = good.chosen.clone().factor(f64::INFINITY);
    assert!(fit(&[Preference { chosen, ..good }]).starts_with("factor 0 = inf"));
}

/// A byte-pair vocabulary of the special tokens and the bytes.
fn bytes_only() -> StoriesTokenizer {
    let mut file = 4i32.to_le_bytes().to_vec();
    let specials = ["<unk>", "<s>", "</s>"].map(|piece| piece.as_bytes().to_vec());
    for piece in specials.into_iter().chain((0..=255u8).map(|byte| vec![byte])) {
        file.extend(0.0f32.to_le_bytes());
        file.extend((piece.len() as i32).to_le_bytes());
        file.extend(piece);
    }
    StoriesTokenizer::read(&file).unwrap()
}

#[test]
fn a_body_with_byte_pairs_reads_the_response_whatever_the_prompt_and_comes_back() {
    let streams = Streams::new(9);
    let config =
        DecoderConfig { vocabulary: 259, context: 12, layers: 1, ..DecoderConfig::default() };
    let tokens = Tokens::Stories(std::sync::Arc::new(bytes_only()));
    let device = Device::flex().autodiff();
    let body = DecoderEncoder::initialise(&config.check().unwrap(), tokens, &streams, &device);
    assert_eq!(body.input("a prompt that is far too long", "yes").len(), 12);
    assert_ne!(
        body.input("a prompt that is far too long", "yes"),
        body.input("a prompt that is far too long", "no!")
    );
    let preferences = prefixed(80, 0.8, &mut streams.stream("plant", &[]));
    let settings = RewardModelConfig { epochs: 1, ..Default::default() }.check().unwrap();
    comes_back(body, &preferences, &settings, &streams);
}

#[test]
fn settings_that_could_not_act_are_refused() {
    let few = RewardModelConfig { batch: 64, ..causal(Grouping::Conditional, 1.0) };
    let invariance = few.invariance.clone().map(|i| InvariancePenaltyConfig { bins: 30, ..i });
    let error = RewardModelConfig { invariance, ..few }.check().unwrap_err().to_string();
    assert!(error.starts_with("RewardModelConfig.batch = 64: allowed is at least 4"), "{error}");
    let (streams, device) = (Streams::new(0), Device::flex());
    let odin = HeadConfig::Odin(OdinConfig::default());
    let odin = RewardModelConfig { head: odin, ..Default::default() }.check().unwrap();
    let label = [Labelled { input: ("p", "r"), label: 1.0 }];
    let error = RewardModel::fit_labels(words(), &label, &odin, &streams, &device).unwrap_err();
    assert!(error.to_string().starts_with("head odin"), "{error}");
    let settings = RewardModelConfig { paraphrase_weight: 1.0, ..Default::default() };
    let pair = Preference::new("p", Response::new("a"), Response::new("b"));
    let result =
        RewardModel::fit(words(), &[pair], &[], &[], &settings.check().unwrap(), &streams, &device);
    assert!(result.unwrap_err().to_string().contains("no paraphrases"));
}
