//! The trainer: it learns, resumes bit for bit, and does not care how a minibatch is cut.

use headwater_core::{Check, Group, Prompt, Sample, Score, Streams, Vocabulary};
use headwater_nn::{AdamWConfig, Checkpoint, Decoder, DecoderConfig, Device, SamplingConfig};
use headwater_optimizers::{
    Environment, Grade, Objective, OptimizerError, RewardEnvironment, Trainer, TrainerConfig,
};

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

/// Asks for tokens to be repeated. `grade` says what is rewarded, of the first so many prompts.
struct Repetition {
    prompts: usize,
    grade: fn(&[Group]) -> Vec<Grade>,
}

impl Environment for Repetition {
    type Error = OptimizerError;

    fn prompts(&mut self, step: u64, attempt: u64) -> Result<Vec<Prompt>, OptimizerError> {
        Ok(prompts(step, attempt)[..self.prompts].to_vec())
    }

    fn decode(&self, tokens: &[u32]) -> String {
        tokens.iter().map(u32::to_string).collect()
    }

    fn grade(&mut self, groups: &[Group], _step: u64) -> Result<Vec<Grade>, OptimizerError> {
        Ok((self.grade)(groups))
    }
}

/// Right iff the completion starts with the prompt's token.
fn repeats(groups: &[Group]) -> Vec<Grade> {
    let samples = groups.iter().flat_map(Group::samples);
    samples
        .map(|sample| {
            let right = sample.completion.starts_with(sample.prompt);
            Grade { reward: Score::Scored(f64::from(u8::from(right))), correct: Some(right) }
        })
        .collect()
}

fn repetition() -> Repetition {
    graded(repeats)
}

fn graded(grade: fn(&[Group]) -> Vec<Grade>) -> Repetition {
    Repetition { prompts: 4, grade }
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
        let steps = trainer.train_until(100, &mut repetition()).unwrap();
        let accuracy: Vec<f64> = steps.iter().map(|metrics| metrics["accuracy"]).collect();
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
        straight.train_until(2, &mut repetition()).unwrap();
        let saved = straight.to_bytes();
        let settings = config().check().unwrap();
        let device = Device::flex().autodiff();
        let mut resumed =
            Trainer::from_bytes(&saved, objective, settings.clone(), Streams::new(7), &device)
                .unwrap();
        assert_eq!(resumed.steps(), 2);
        let rest = straight.train_until(4, &mut repetition()).unwrap();
        assert_eq!(rest.len(), 2);
        assert_eq!(rest, resumed.train_until(4, &mut repetition()).unwrap(), "{name}");
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
            trainer.step(&mut repetition()).unwrap();
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
fn a_failed_grade_stops_the_step_and_leaves_the_policy() {
    let fails = |groups: &[Group]| -> Vec<Grade> {
        let samples = groups.iter().flat_map(Group::samples);
        let reward = || Score::Failed("the judge did not answer".into());
        samples.map(|_| Grade { reward: reward(), correct: None }).collect()
    };
    let mut trainer = trainer(Objective::grpo(), config());
    let error = trainer.step(&mut graded(fails)).unwrap_err();
    assert!(matches!(error, OptimizerError::Unscored { index: 0, .. }), "{error}");
    assert_eq!(Checkpoint::of(trainer.policy()), Checkpoint::of(&policy()));
}

/// A judge that is out at one step.
struct Unreliable {
    repetition: Repetition,
    out_at: u64,
}

#[derive(Debug, PartialEq)]
enum Stopped {
    ByJudge(u64),
    ByTrainer(String),
}

impl From<OptimizerError> for Stopped {
    fn from(error: OptimizerError) -> Self {
        Self::ByTrainer(error.to_string())
    }
}

impl Environment for Unreliable {
    type Error = Stopped;

    fn prompts(&mut self, step: u64, attempt: u64) -> Result<Vec<Prompt>, Stopped> {
        Ok(self.repetition.prompts(step, attempt)?)
    }

    fn decode(&self, tokens: &[u32]) -> String {
        self.repetition.decode(tokens)
    }

    fn grade(&mut self, groups: &[Group], step: u64) -> Result<Vec<Grade>, Stopped> {
        if step == self.out_at {
            return Err(Stopped::ByJudge(step));
        }
        Ok(self.repetition.grade(groups, step)?)
    }
}

#[test]
fn an_environments_own_error_comes_back_and_leaves_the_policy() {
    let mut trainer = trainer(Objective::grpo(), config());
    let mut environment = Unreliable { repetition: repetition(), out_at: 1 };
    trainer.step(&mut environment).unwrap();
    let before = trainer.to_bytes();
    assert_eq!(trainer.train_until(9, &mut environment), Err(Stopped::ByJudge(1)));
    assert!(trainer.to_bytes() == before);
    environment = Unreliable { repetition: graded(|_| Vec::new()), out_at: 2 };
    environment.repetition.prompts = 0;
    let error = trainer.step(&mut environment).unwrap_err();
    assert!(matches!(&error, Stopped::ByTrainer(text) if text.contains("prompts")), "{error:?}");
}

#[test]
fn a_reward_alone_makes_an_environment() {
    let vocabulary = Vocabulary::characters("abcde");
    let asked = |_step: u64, _attempt: u64| -> Vec<Prompt> {
        let prompt = |token| Prompt { tokens: vec![token], text: "?".into(), reference: None };
        (3..7).map(prompt).collect()
    };
    let share_of_a = |sample: Sample<'_>| {
        let letters = sample.completion.len().max(1) as f64;
        Score::Scored(sample.completion.matches('a').count() as f64 / letters)
    };
    let mut environment =
        RewardEnvironment { reward: &share_of_a, vocabulary: &vocabulary, prompts: asked };
    let rewards: Vec<f64> = trainer(Objective::rloo(), config())
        .train_until(60, &mut environment)
        .unwrap()
        .iter()
        .map(|metrics| metrics["reward"])
        .collect();
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    assert!(mean(&rewards[50..]) > mean(&rewards[..5]) + 0.15, "{rewards:?}");
}

/// What `repeats` says of the first two groups; the others are rejected.
fn first_two_groups(groups: &[Group]) -> Vec<Grade> {
    let mut grades = repeats(groups);
    grades[16..].fill(abstention());
    grades
}

fn abstention() -> Grade {
    Grade { reward: Score::Abstained("the gate is closed".into()), correct: None }
}

#[test]
fn rejected_groups_are_counted_and_leave_no_trace_in_the_update() {
    for (name, objective) in objectives() {
        if objective.config().dynamic_sampling {
            continue;
        }
        let (mut gated, mut small) = (trainer(objective, config()), trainer(objective, config()));
        let mut gate = graded(first_two_groups);
        let mut rest = Repetition { prompts: 2, grade: repeats };
        for _ in 0..3 {
            let (gated, small) = (gated.step(&mut gate).unwrap(), small.step(&mut rest).unwrap());
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
    let all = |groups: &[Group]| -> Vec<Grade> {
        groups.iter().flat_map(Group::samples).map(|_| abstention()).collect()
    };
    for (name, objective) in objectives() {
        let mut trainer = trainer(objective, config());
        let metrics = trainer.step(&mut graded(all)).unwrap();
        assert_eq!((metrics["groups"], metrics.contains_key("loss")), (0.0, false), "{name}");
        assert!(metrics["groups_rejected"] >= 4.0, "{name}");
        assert_eq!(trainer.steps(), 1);
        assert_eq!(Checkpoint::of(trainer.policy()), Checkpoint::of(&policy()), "{name}");
    }
    // No prompts at all is a mistake of the environment, not a rejection.
    let mut none = Repetition { prompts: 0, grade: all };
    let error = trainer(Objective::grpo(), config()).step(&mut none).unwrap_err();
    assert!(matches!(error, OptimizerError::Missing { input: "prompts", .. }), "{error}");
}

#[test]
fn an_abstention_inside_a_group_that_is_not_rejected_is_an_error() {
    let one = |groups: &[Group]| -> Vec<Grade> {
        let mut grades = repeats(groups);
        grades[11] = abstention();
        grades
    };
    let error = trainer(Objective::grpo(), config()).step(&mut graded(one)).unwrap_err();
    assert!(matches!(error, OptimizerError::Unscored { index: 11, .. }), "{error}");
}
