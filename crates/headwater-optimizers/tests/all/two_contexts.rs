//! The same response under two prompts, and what is trained on it, through whole decoders.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use headwater_core::{Check, Streams};
use headwater_nn::{AdamW, AdamWConfig, Decoder, DecoderConfig, Device, ModuleGradients};
use headwater_optimizers::directive::{Hybrid, HybridConfig, Signal, Turn};
use headwater_optimizers::distillation::{Divergence, gaps};
use headwater_optimizers::entropy::EntropyConfig;
use headwater_optimizers::top_k::TopK;
use headwater_optimizers::{Experience, Objective, ObjectiveConfig, OptimizerError, TwoContexts};
use headwater_optimizers::{at_targets, ema_update};

const PROMPTS: [&[u32]; 3] = [&[3, 4, 5], &[6], &[7, 3]];
const HINTED: [&[u32]; 3] = [&[3, 4, 5, 8, 6, 7], &[8, 6], &[7, 3, 8, 3]];
const RESPONSES: [&[u32]; 3] = [&[4, 5], &[3, 3, 7, 2], &[6]];

fn decoder(seed: u64, device: &Device) -> Decoder {
    let config = DecoderConfig { vocabulary: 9, width: 16, layers: 2, ..DecoderConfig::default() };
    let mut stream = Streams::new(seed).stream("weights", &[]);
    let mut weights = Decoder::initialise(&config.clone().check().unwrap(), &mut stream, device);
    // Fresh embeddings are small, which makes every distribution nearly uniform.
    let mut sharper = weights.weights();
    sharper[0].values.iter_mut().for_each(|w| *w *= 40.0);
    weights = Decoder::from_weights(weights.shape(), &sharper, device).unwrap();
    weights
}

fn policy() -> Decoder {
    decoder(1, &Device::flex().autodiff())
}

fn contexts(informed: [&'static [u32]; 3], decoder: &Decoder) -> TwoContexts {
    let rows = (0..3).map(|i| (PROMPTS[i], informed[i], RESPONSES[i]));
    TwoContexts::new(rows, decoder.shape()).unwrap()
}

struct Collect<'a>(&'a ModuleGradients, Vec<f32>);

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = self.0.get::<D>(param.id).expect("every parameter is used");
        self.1.extend(gradient.try_into_vec_as::<f32>().unwrap());
    }
}

fn gradient(policy: &Decoder, loss: Tensor<1>) -> Vec<f32> {
    let gradients = ModuleGradients::of(&loss, policy);
    let mut collect = Collect(&gradients, Vec::new());
    policy.visit(&mut collect);
    collect.1
}

fn signals() -> [Signal; 5] {
    let all = TopK { k: 9, gap_limit: None, ..TopK::personal() };
    [
        Signal::SampledGap { limit: Some(1.0) },
        Signal::Divergence(Divergence::ReverseKl),
        Signal::Divergence(Divergence::ForwardKl),
        Signal::Divergence(Divergence::JensenShannon { beta: 0.3 }),
        Signal::TopK(all),
    ]
}

fn hybrid(signal: Signal, scalar: f64, directive: f64) -> Hybrid {
    let config = HybridConfig::new(signal);
    HybridConfig { scalar_weight: scalar, directive_weight: directive, ..config }.check().unwrap()
}

fn turns<'a>(advantages: &'a [Vec<f64>], informed: [Option<&'a [u32]>; 3]) -> Vec<Turn<'a>> {
    (0..3)
        .map(|i| Turn {
            prompt: PROMPTS[i],
            response: RESPONSES[i],
            advantages: &advantages[i],
            informed: informed[i],
        })
        .collect()
}

fn constant(advantages: [f64; 3]) -> Vec<Vec<f64>> {
    (0..3).map(|i| vec![advantages[i]; RESPONSES[i].len()]).collect()
}

#[track_caller]
fn assert_all_close(found: &[f32], expected: &[f32]) {
    let scale = expected.iter().fold(0.0f32, |most, e| most.max(e.abs()));
    assert!(scale > 1e-3, "nothing to compare");
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() < 1e-5 * scale.max(1.0), "{f} is not {e} (scale {scale})");
    }
}

#[test]
fn an_empty_hint_has_an_advantage_of_exactly_zero() {
    let policy = policy();
    let contexts = contexts(PROMPTS, &policy);
    let (plain, informed) = contexts.log_probs(&policy, &policy, 0.7);
    assert_eq!(plain, informed);
    let advantages = gaps(&informed, &plain, None).unwrap();
    assert!(advantages.iter().flatten().all(|a| *a == 0.0));
    let student = contexts.student(&policy, 0.7).inner().into_data();
    assert_eq!(student, contexts.teacher(&policy, 0.7).into_data());
}

#[test]
fn scores_do_not_depend_on_the_rows_beside_and_agree_with_the_distributions() {
    let policy = policy();
    let together = contexts(HINTED, &policy);
    assert_eq!((together.lengths(), together.width()), (&[2, 4, 1][..], 4));
    let (plain, informed) = together.log_probs(&policy, &policy, 1.0);
    for i in 0..3 {
        let alone = TwoContexts::new([(PROMPTS[i], HINTED[i], RESPONSES[i])], policy.shape());
        let (alone_plain, alone_informed) = alone.unwrap().log_probs(&policy, &policy, 1.0);
        assert_eq!((&plain[i], &informed[i]), (&alone_plain[0], &alone_informed[0]));
        assert_ne!(plain[i], informed[i]);
    }
    let targets = || together.targets(&policy.device());
    let student = together.rows(at_targets(together.student(&policy, 1.0), targets()));
    let teacher = together.rows(at_targets(together.teacher(&policy, 1.0), targets()));
    for (scored, gathered) in [(plain, student), (informed, teacher)] {
        let pairs = scored.iter().flatten().zip(gathered.iter().flatten());
        pairs.for_each(|(s, g)| assert!((s - g).abs() < 1e-5));
    }
    let mask = together.rows(together.mask(&policy.device()));
    assert!(mask.iter().flatten().all(|m| *m == 1.0));
}

#[test]
fn a_row_without_a_hint_has_no_gap_beside_rows_of_its_prompt_that_have_one() {
    let policy = policy();
    let hints = [HINTED[0], PROMPTS[0], HINTED[0]];
    let rows = (0..3).map(|i| (PROMPTS[0], hints[i], RESPONSES[i]));
    let contexts = TwoContexts::new(rows, policy.shape()).unwrap();
    let (plain, informed) = contexts.log_probs(&policy, &policy, 1.0);
    assert_eq!(plain[1], informed[1]);
    assert!(plain[0] != informed[0] && plain[2] != informed[2]);
}

#[test]
fn a_hint_that_changes_nothing_and_no_vote_give_no_loss_and_no_gradient() {
    let policy = policy();
    let silent = constant([0.0; 3]);
    for signal in signals() {
        let turns = turns(&silent, PROMPTS.map(Some));
        let loss = hybrid(signal, 1.0, 1.0).loss(&policy, &policy, &turns).unwrap();
        assert_eq!(loss.clone().into_scalar::<f32>(), 0.0, "{signal:?}");
        assert!(gradient(&policy, loss).iter().all(|g| *g == 0.0), "{signal:?}");
        // And with hints that say something there is one.
        let turns = self::turns(&silent, HINTED.map(Some));
        let loss = hybrid(signal, 1.0, 1.0).loss(&policy, &policy, &turns).unwrap();
        assert!(gradient(&policy, loss).iter().any(|g| g.abs() > 1e-3), "{signal:?}");
    }
}

#[test]
fn equal_rewards_leave_the_directive_gradient_alone() {
    let policy = policy();
    let lengths = RESPONSES.map(<[u32]>::len);
    let equal = Experience::new(&[1.0; 3], 3, &lengths);
    let advantages = Objective::dr_grpo(4).advantages(&equal).unwrap().tokens;
    let ones = constant([1.0; 3]);
    for signal in signals() {
        let of = |advantages, scalar| {
            let turns = turns(advantages, HINTED.map(Some));
            gradient(&policy, hybrid(signal, scalar, 1.0).loss(&policy, &policy, &turns).unwrap())
        };
        assert_eq!(of(&advantages, 1.0), of(&ones, 0.0), "{signal:?}");
        assert_ne!(of(&ones, 1.0), of(&ones, 0.0), "{signal:?}");
    }
}

#[test]
fn both_hybrids_have_the_sum_of_their_parts_gradients() {
    let policy = policy();
    let votes = constant([1.0, -1.0, 0.0]);
    let hints = [Some(HINTED[0]), Some(HINTED[1]), None];
    for signal in signals() {
        let of = |scalar, directive, informed| {
            let turns = turns(&votes, informed);
            let hybrid = hybrid(signal, scalar, directive);
            gradient(&policy, hybrid.loss(&policy, &policy, &turns).unwrap())
        };
        let scalar = of(0.5, 1.0, [None; 3]);
        assert_all_close(&of(0.5, 0.0, hints), &scalar);
        let directive = of(0.0, 2.0, hints);
        let sum: Vec<f32> = scalar.iter().zip(&directive).map(|(s, d)| s + d).collect();
        assert_all_close(&of(0.5, 2.0, hints), &sum);
    }
}

#[test]
fn the_mass_of_a_signal_lies_where_the_distributions_differ() {
    let policy = policy();
    // One row's hint changes nothing.
    let contexts = contexts([HINTED[0], PROMPTS[1], HINTED[2]], &policy);
    let (plain, informed) = contexts.log_probs(&policy, &policy, 1.0);
    let mass = |signal: Signal| signal.mass(&contexts, &policy, &policy, 1.0).unwrap();
    for signal in signals() {
        let mass = mass(signal);
        assert_eq!(mass.iter().map(Vec::len).collect::<Vec<_>>(), [2, 4, 1]);
        assert_eq!(mass[1], [0.0; 4], "{signal:?}");
        assert!([&mass[0], &mass[2]].into_iter().flatten().all(|m| *m > 0.0), "{signal:?}");
    }
    let gaps = mass(Signal::SampledGap { limit: Some(0.5) });
    for (mass, (plain, informed)) in gaps[0].iter().zip(plain[0].iter().zip(&informed[0])) {
        assert!((mass - (informed - plain).abs().min(0.5)).abs() < 1e-5);
    }
    // The forward KL's is twice the total variation distance.
    let [_, _, forward, ..] = signals();
    let exp = |x: Tensor<3>| x.inner().exp().try_into_vec_as::<f32>().unwrap();
    let (student, teacher) =
        (exp(contexts.student(&policy, 1.0)), exp(contexts.teacher(&policy, 1.0)));
    let distance: f32 = (0..9).map(|v| (student[v] - teacher[v]).abs()).sum();
    assert!((mass(forward)[0][0] - f64::from(distance)).abs() < 1e-5);
}

#[test]
fn the_top_k_signal_over_the_whole_vocabulary_has_the_reverse_kl_gradient() {
    let policy = policy();
    let silent = constant([0.0; 3]);
    let of = |signal| {
        let turns = turns(&silent, HINTED.map(Some));
        gradient(&policy, hybrid(signal, 0.0, 1.0).loss(&policy, &policy, &turns).unwrap())
    };
    let [_, reverse, _, _, top_k] = signals();
    assert_all_close(&of(top_k), &of(reverse));
}

#[test]
fn the_gradient_through_a_decoder_is_the_losss_slope() {
    let policy = policy();
    let teacher = decoder(2, &Device::flex());
    let silent = constant([0.0; 3]);
    let turns = turns(&silent, HINTED.map(Some));
    let mut stream = Streams::new(3).stream("direction", &[]);
    for signal in &signals()[1..4] {
        let hybrid = hybrid(*signal, 1.0, 1.0);
        let gradient = gradient(&policy, hybrid.loss(&policy, &teacher, &turns).unwrap());
        let direction: Vec<f32> =
            gradient.iter().map(|_| rand::RngExt::random::<f32>(&mut stream) - 0.5).collect();
        let at = |step: f32| {
            let mut weights = policy.weights();
            let moved = weights.iter_mut().flat_map(|w| &mut w.values).zip(&direction);
            moved.for_each(|(w, d)| *w += step * d);
            let moved = Decoder::from_weights(policy.shape(), &weights, &policy.device()).unwrap();
            let loss = hybrid.loss(&moved, &teacher, &turns).unwrap();
            f64::from(loss.into_scalar::<f32>())
        };
        let slope = (at(2e-3) - at(-2e-3)) / 4e-3;
        let expected: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
        assert!((slope - expected).abs() < 0.02 * expected.abs() + 2e-3, "{slope}, {expected}");
    }
}

#[test]
fn the_policy_learns_to_do_unasked_what_its_hinted_self_does() {
    let silent = constant([0.0; 3]);
    for signal in signals() {
        let mut policy = policy();
        let teacher = policy.valid();
        let settings = AdamWConfig { learning_rate: 3e-3, ..AdamWConfig::default() };
        let mut optimizer = AdamW::new(settings.check().unwrap());
        // What each signal can see of the distance: one token of each distribution, or all.
        let distance = |policy: &Decoder| -> f64 {
            let contexts = contexts(HINTED, policy);
            if matches!(signal, Signal::SampledGap { .. }) {
                let (plain, informed) = contexts.log_probs(policy, &teacher, 1.0);
                let gaps = gaps(&informed, &plain, None).unwrap();
                return gaps.iter().flatten().map(|gap| gap.abs()).sum();
            }
            let (student, teacher) =
                (contexts.student(policy, 1.0), contexts.teacher(&teacher, 1.0));
            let mask = contexts.mask(&policy.device());
            let kl = Divergence::ReverseKl.token_loss(student, teacher, mask).unwrap();
            f64::from(kl.sum().into_scalar::<f32>())
        };
        let before = distance(&policy);
        for _ in 0..60 {
            let turns = turns(&silent, HINTED.map(Some));
            let loss = hybrid(signal, 1.0, 1.0).loss(&policy, &teacher, &turns).unwrap();
            optimizer.minimise(&mut policy, loss, 1.0).unwrap();
        }
        let after = distance(&policy);
        assert!(after < 0.5 * before, "{signal:?}: from {before} to {after}");
    }
}

#[test]
fn a_teacher_follows_frozen_by_a_part_or_at_once() {
    let policy = policy();
    let start = decoder(2, &Device::flex());
    let followed = |rate| {
        let mut teacher = start.clone();
        ema_update(&mut teacher, &policy, rate).unwrap();
        teacher.weights()
    };
    assert_eq!(followed(0.0), start.weights());
    assert_eq!(followed(1.0), policy.weights());
    for (tensor, moved) in followed(0.25).iter().enumerate() {
        let ends = [&start.weights()[tensor], &policy.weights()[tensor]];
        for (i, value) in moved.values.iter().enumerate() {
            assert!((value - (0.75 * ends[0].values[i] + 0.25 * ends[1].values[i])).abs() < 1e-6);
        }
    }
    // Twice at rate r is once at 1 - (1 - r)^2.
    let mut twice = start.clone();
    ema_update(&mut twice, &policy, 0.5).unwrap();
    ema_update(&mut twice, &policy, 0.5).unwrap();
    for (twice, once) in twice.weights().iter().zip(followed(0.75)) {
        twice.values.iter().zip(once.values).for_each(|(t, o)| assert!((t - o).abs() < 1e-5));
    }
    let mut teacher = start.clone();
    let error = ema_update(&mut teacher, &policy, 1.5).unwrap_err().to_string();
    assert_eq!(error, "ema_update.rate = 1.5: allowed is a number in [0, 1]");
    let other = DecoderConfig { vocabulary: 9, width: 32, ..DecoderConfig::default() };
    let mut stream = Streams::new(1).stream("weights", &[]);
    let other = Decoder::initialise(&other.check().unwrap(), &mut stream, &Device::flex());
    assert!(matches!(ema_update(&mut teacher, &other, 0.5), Err(OptimizerError::Model(_))));
    assert_eq!(teacher.weights(), start.weights());
}

#[test]
fn turns_and_configs_that_make_no_sense_are_errors() {
    let policy = policy();
    let hybrid = hybrid(signals()[0], 1.0, 1.0);
    let error = |turns: &[Turn<'_>]| hybrid.loss(&policy, &policy, turns).unwrap_err().to_string();
    assert_eq!(error(&[]), "a hybrid loss needs `turns`, which is None");
    let short = [vec![1.0], vec![0.0; 4], vec![0.0]];
    assert_eq!(error(&turns(&short, [None; 3])), "turns[0].advantages has 1 entries: expected 2");
    let nan = constant([0.0, f64::NAN, 0.0]);
    let expected = "turns[1].advantages[0] = NaN: allowed is a finite number";
    assert_eq!(error(&turns(&nan, [None; 3])), expected);
    let rows = [(PROMPTS[0], &[][..], RESPONSES[0])];
    assert!(matches!(TwoContexts::new(rows, policy.shape()), Err(OptimizerError::Model(_))));

    let config = HybridConfig::new(signals()[0]);
    let error = |config: HybridConfig| config.check().unwrap_err().to_string();
    let allowed = "allowed is a finite number of at least 0";
    let negative = HybridConfig { scalar_weight: -1.0, ..config };
    assert_eq!(error(negative), format!("HybridConfig.scalar_weight = -1: {allowed}"));
    let kl = HybridConfig { objective: Objective::grpo(), ..config };
    assert!(error(kl).starts_with("HybridConfig.objective.kl = true"));
    let entropy = Some(EntropyConfig::constant(0.01));
    let objective = ObjectiveConfig { entropy, ..Objective::binary_rl().config() };
    let bonus = HybridConfig { objective: objective.check().unwrap(), ..config };
    assert!(error(bonus).starts_with("HybridConfig.objective.entropy = 0.01"));
    let beta = Signal::Divergence(Divergence::JensenShannon { beta: 1.0 });
    assert!(error(HybridConfig::new(beta)).starts_with("Divergence.beta = 1: allowed is"));
    let limit = HybridConfig::new(Signal::SampledGap { limit: Some(0.0) });
    assert_eq!(error(limit), "Signal.limit = 0: allowed is a number above 0");
    let top_k = HybridConfig::new(Signal::TopK(TopK { k: 0, ..TopK::personal() }));
    assert_eq!(error(top_k), "TopK.k = 0: allowed is 1 or more");
    let cold = HybridConfig { temperature: 0.0, ..config };
    assert!(error(cold).starts_with("HybridConfig.temperature = 0"));
}
