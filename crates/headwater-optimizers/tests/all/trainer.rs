//! The trainer: it learns, resumes bit for bit, and does not care how a minibatch is cut.

use headwater_core::{Check, Group, Prompt, Score, Streams};
use headwater_nn::{AdamWConfig, Checkpoint, Decoder, DecoderConfig, Device, SamplingConfig};
use headwater_optimizers::{Objective, OptimizerError, Task, Trainer, TrainerConfig, Verdict};

fn policy() -> Decoder {
    let config = DecoderConfig { vocabulary: 8, width: 16, layers: 1, ..DecoderConfig::default() };
    let shape = config.check().unwrap();
    let mut stream = Streams::new(1).stream("weights", &[]);
    Decoder::initialise(&shape, &mut stream, &Device::flex().autodiff())
}

fn config() -> TrainerConfig {
    TrainerConfig {
        prompts_per_step: 4,
        group_size: 8,
        sampling: SamplingConfig { max_new_tokens: 3, ..SamplingConfig::default() },
        adamw: AdamWConfig { learning_rate: 1e-2, ..AdamWConfig::default() },
        ..TrainerConfig::default()
    }
}

fn prompts(step: u64, attempt: u64) -> Vec<Prompt> {
    let token = |i: u64| 3 + ((step + attempt + i) % 4) as u32;
    let prompt = |i| Prompt { tokens: vec![token(i)], text: token(i).to_string(), reference: None };
    (0..4).map(prompt).collect()
}

fn decode(tokens: &[u32]) -> String {
    tokens.iter().map(u32::to_string).collect()
}

/// Right iff the completion starts with the prompt's token.
fn repeats(groups: &[Group], _step: u64) -> Vec<Verdict> {
    let samples = groups.iter().flat_map(Group::samples);
    samples
        .map(|sample| {
            let right = sample.completion.starts_with(sample.prompt);
            Verdict { reward: Score::Scored(f64::from(u8::from(right))), correct: Some(right) }
        })
        .collect()
}

fn task() -> Task<'static> {
    Task { prompts: &prompts, decode: &decode, grader: &repeats }
}

fn objectives() -> Vec<(&'static str, Objective)> {
    vec![
        ("reinforce", Objective::reinforce()),
        ("rloo", Objective::rloo()),
        ("reinforce++", Objective::reinforce_plus_plus()),
        ("ppo", Objective::ppo()),
        ("grpo", Objective::grpo()),
        ("dr-grpo", Objective::dr_grpo(3)),
        ("dapo", Objective::dapo(8)),
        ("gspo", Objective::gspo()),
        ("cispo", Objective::cispo()),
        ("psr", Objective::psr()),
        ("nsr", Objective::nsr()),
        ("w-reinforce", Objective::weighted_reinforce(0.1).unwrap()),
    ]
}

fn trainer(objective: Objective, config: TrainerConfig) -> Trainer {
    Trainer::new(policy(), objective, config.check().unwrap(), Streams::new(7))
}

#[test]
fn every_objective_learns_to_repeat_the_prompt() {
    for (name, objective) in objectives() {
        let mut trainer = trainer(objective, config());
        let accuracy: Vec<f64> =
            (0..100).map(|_| trainer.step(&task()).unwrap()["accuracy"]).collect();
        let mean = |range: std::ops::Range<usize>| -> f64 {
            accuracy[range.clone()].iter().sum::<f64>() / range.len() as f64
        };
        assert!(mean(90..100) > mean(0..5) + 0.15, "{name}: {} -> {}", mean(0..5), mean(90..100));
    }
}

#[test]
fn a_resumed_trainer_ends_with_the_same_bytes() {
    for (name, objective) in objectives() {
        let config = || TrainerConfig { epochs: 2, minibatches: 2, ..config() };
        let mut straight = trainer(objective, config());
        for _ in 0..2 {
            straight.step(&task()).unwrap();
        }
        let saved = straight.to_bytes();
        let settings = config().check().unwrap();
        let device = Device::flex().autodiff();
        let mut resumed =
            Trainer::from_bytes(&saved, objective, settings.clone(), Streams::new(7), &device)
                .unwrap();
        assert_eq!(resumed.steps(), 2);
        for _ in 0..2 {
            let metrics = (straight.step(&task()).unwrap(), resumed.step(&task()).unwrap());
            assert_eq!(metrics.0, metrics.1, "{name}");
        }
        assert!(straight.to_bytes() == resumed.to_bytes(), "{name}");
        let cut = &saved[..saved.len() / 2];
        assert!(Trainer::from_bytes(cut, objective, settings, Streams::new(7), &device).is_err());
    }
}

#[test]
fn the_gradient_does_not_depend_on_the_micro_batches() {
    for (name, objective) in objectives() {
        let step = |micro_batch: usize| {
            // Without AdamW's division by the gradient's own size: the step is the gradient.
            let adamw = AdamWConfig {
                learning_rate: 1e3,
                epsilon: 1e6,
                weight_decay: 0.0,
                max_grad_norm: None,
                ..AdamWConfig::default()
            };
            let config = TrainerConfig { micro_batch, adamw, ..config() };
            let mut trainer = trainer(objective, config);
            trainer.step(&task()).unwrap();
            Checkpoint::of(trainer.policy())
        };
        let before = Checkpoint::of(&policy());
        let (whole, cut) = (step(1024), step(3));
        let (mut moved, mut apart) = (0.0f32, 0.0f32);
        for (at, tensor) in whole.weights.iter().enumerate() {
            for (i, value) in tensor.values.iter().enumerate() {
                moved = moved.max((value - before.weights[at].values[i]).abs());
                apart = apart.max((value - cut.weights[at].values[i]).abs());
            }
        }
        assert!(moved > 0.0 && apart < 1e-3 * moved, "{name}: moved {moved}, apart {apart}");
    }
}

#[test]
fn a_failed_grader_stops_the_step_and_leaves_the_policy() {
    let fails = |groups: &[Group], _step: u64| -> Vec<Verdict> {
        let samples = groups.iter().flat_map(Group::samples);
        let reward = || Score::Failed("the judge did not answer".into());
        samples.map(|_| Verdict { reward: reward(), correct: None }).collect()
    };
    let mut trainer = trainer(Objective::grpo(), config());
    let task = Task { prompts: &prompts, decode: &decode, grader: &fails };
    let error = trainer.step(&task).unwrap_err();
    assert!(matches!(error, OptimizerError::Unscored { index: 0, .. }), "{error}");
    assert_eq!(Checkpoint::of(trainer.policy()), Checkpoint::of(&policy()));
}

/// What `repeats` says of the first two groups; the others are rejected.
fn first_two_groups(groups: &[Group], step: u64) -> Vec<Verdict> {
    let mut verdicts = repeats(groups, step);
    verdicts[16..].fill(abstention());
    verdicts
}

fn abstention() -> Verdict {
    Verdict { reward: Score::Abstained("the gate is closed".into()), correct: None }
}

#[test]
fn rejected_groups_are_counted_and_leave_no_trace_in_the_update() {
    let two = |step: u64, attempt: u64| prompts(step, attempt)[..2].to_vec();
    for (name, objective) in objectives() {
        if objective.config().dynamic_sampling {
            continue;
        }
        let (mut gated, mut small) = (trainer(objective, config()), trainer(objective, config()));
        let gate = Task { prompts: &prompts, decode: &decode, grader: &first_two_groups };
        let rest = Task { prompts: &two, decode: &decode, grader: &repeats };
        for _ in 0..3 {
            let (gated, small) = (gated.step(&gate).unwrap(), small.step(&rest).unwrap());
            assert_eq!((gated["groups"], gated["groups_rejected"]), (2.0, 2.0), "{name}");
            assert_eq!((small["groups"], small["groups_rejected"]), (2.0, 0.0), "{name}");
            for metric in ["reward", "grad_norm", "num_tokens", "frac_rows_kept"] {
                assert_eq!(gated[metric], small[metric], "{name}: {metric}");
            }
        }
        assert_eq!(Checkpoint::of(gated.policy()), Checkpoint::of(small.policy()), "{name}");
    }
}

#[test]
fn a_batch_that_is_rejected_whole_moves_nothing() {
    let all = |groups: &[Group], _: u64| -> Vec<Verdict> {
        groups.iter().flat_map(Group::samples).map(|_| abstention()).collect()
    };
    for (name, objective) in objectives() {
        let mut trainer = trainer(objective, config());
        let task = Task { prompts: &prompts, decode: &decode, grader: &all };
        let metrics = trainer.step(&task).unwrap();
        assert_eq!((metrics["groups"], metrics.contains_key("loss")), (0.0, false), "{name}");
        assert!(metrics["groups_rejected"] >= 4.0, "{name}");
        assert_eq!(trainer.steps(), 1);
        assert_eq!(Checkpoint::of(trainer.policy()), Checkpoint::of(&policy()), "{name}");
    }
    // No prompts at all is a mistake of the task, not a rejection.
    let none = |_: u64, _: u64| Vec::new();
    let task = Task { prompts: &none, decode: &decode, grader: &all };
    let error = trainer(Objective::grpo(), config()).step(&task).unwrap_err();
    assert!(matches!(error, OptimizerError::Missing { input: "prompts", .. }), "{error}");
}

#[test]
fn an_abstention_inside_a_group_that_is_not_rejected_is_an_error() {
    let one = |groups: &[Group], step: u64| -> Vec<Verdict> {
        let mut verdicts = repeats(groups, step);
        verdicts[11] = abstention();
        verdicts
    };
    let task = Task { prompts: &prompts, decode: &decode, grader: &one };
    let error = trainer(Objective::grpo(), config()).step(&task).unwrap_err();
    assert!(matches!(error, OptimizerError::Unscored { index: 11, .. }), "{error}");
}
