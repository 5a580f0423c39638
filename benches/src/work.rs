//! The pieces of work, each prepared once and then repeated.

use headwater_core::{Check, Example, Group, Prompt, Score, Streams};
use headwater_nn::{
    AdamW, AdamWConfig, Decoder, DecoderConfig, DecoderShape, Device, SamplingConfig, sample,
    supervised_step,
};
use headwater_optimizers::{Environment, Grade, Objective, OptimizerError, Trainer, TrainerConfig};
use headwater_recsys::{
    Exploration, PopularityConfig, Ranker as _, Ranking, Simulator, WorldConfig,
};

/// Tokens a prompt has where something is generated, and tokens generated.
const PROMPT: usize = 16;
const GENERATED: usize = 48;

/// The model of a size: about 0.10, 0.81 and 4.76 million parameters.
fn shape(size: &str) -> DecoderShape {
    let (width, layers, heads, hidden) = match size {
        "t" => (64, 2, 2, 176),
        "s" => (128, 4, 4, 352),
        "m" => (256, 6, 4, 688),
        other => panic!("size `{other}`: allowed are t, s and m"),
    };
    let config = DecoderConfig {
        vocabulary: 32,
        width,
        layers,
        heads,
        key_value_heads: heads,
        hidden,
        context: 65,
        ..DecoderConfig::default()
    };
    config.check().expect("the sizes are valid")
}

fn tokens(count: usize, seed: usize) -> Vec<u32> {
    (0..count).map(|at| ((at * 31 + seed * 17 + at * at) % 29 + 3) as u32).collect()
}

/// One step of the work called `name`.
pub(crate) fn prepare(name: &str, size: &str, batch: usize) -> Box<dyn FnMut()> {
    match name {
        "train-step" => train_step(shape(size), batch),
        "sample" => generate(shape(size), batch),
        "grpo-step" => grpo_step(shape(size), batch),
        "recommend-round" => recommend_round(batch),
        "start-up" => start_up(shape(size)),
        other => panic!(
            "work `{other}`: allowed are train-step, sample, grpo-step, recommend-round and start-up"
        ),
    }
}

fn fresh(shape: &DecoderShape, device: &Device) -> Decoder {
    Decoder::initialise(shape, &mut Streams::new(1).stream("weights", &[]), device)
}

/// Supervised step on sequences of 64 tokens, a loss on every one.
fn train_step(shape: DecoderShape, batch: usize) -> Box<dyn FnMut()> {
    let mut decoder = fresh(&shape, &Device::flex().autodiff());
    let config = AdamWConfig { learning_rate: 1e-3, ..AdamWConfig::default() };
    let mut optimizer = AdamW::new(config.check().expect("valid"));
    let examples: Vec<Example> = (0..batch)
        .map(|row| Example { prompt: tokens(1, row), completion: tokens(64, row + 1) })
        .collect();
    Box::new(move || {
        supervised_step(&mut decoder, &mut optimizer, &examples, 1.0).expect("the examples fit");
    })
}

fn sampling() -> SamplingConfig {
    SamplingConfig { max_new_tokens: GENERATED, stop: None, ..SamplingConfig::default() }
}

/// One completion for each of `batch` different prompts.
fn generate(shape: DecoderShape, batch: usize) -> Box<dyn FnMut()> {
    let decoder = fresh(&shape, &Device::flex());
    let prompts: Vec<Vec<u32>> = (0..batch).map(|row| tokens(PROMPT, row)).collect();
    let sampling = sampling().check().expect("valid");
    Box::new(move || {
        let groups = sample(&decoder, &prompts, 1, &sampling, &Streams::new(2));
        assert_eq!(groups.expect("the prompts fit").len(), batch);
    })
}

/// Rewards the share of even tokens.
struct EvenTokens {
    prompts: usize,
}

impl Environment for EvenTokens {
    type Error = OptimizerError;

    fn prompts(&mut self, step: u64, _attempt: u64) -> Result<Vec<Prompt>, OptimizerError> {
        let row = |row: usize| Prompt {
            tokens: tokens(PROMPT, row + step as usize),
            text: String::new(),
            reference: None,
        };
        Ok((0..self.prompts).map(row).collect())
    }

    fn decode(&self, tokens: &[u32]) -> String {
        tokens.iter().map(|t| char::from(*t as u8 + 32)).collect()
    }

    fn grade(&mut self, groups: &[Group], _step: u64) -> Result<Vec<Grade>, OptimizerError> {
        let completions = groups.iter().flat_map(|group| &group.completions);
        let reward = |text: &String| {
            let even = text.bytes().filter(|byte| byte % 2 == 0).count();
            Grade { reward: Score::Scored(even as f64 / text.len() as f64), correct: None }
        };
        Ok(completions.map(reward).collect())
    }
}

/// A whole on-policy step: rollouts in groups of 8, rewards, reference log-probabilities, update.
fn grpo_step(shape: DecoderShape, batch: usize) -> Box<dyn FnMut()> {
    let config = TrainerConfig {
        prompts_per_step: batch / 8,
        group_size: 8,
        sampling: sampling(),
        ..TrainerConfig::default()
    };
    let decoder = fresh(&shape, &Device::flex().autodiff());
    let settings = config.check().expect("valid");
    let mut trainer = Trainer::new(decoder, Objective::grpo(), settings, Streams::new(3));
    Box::new(move || {
        trainer.step(&mut EvenTokens { prompts: batch / 8 }).expect("the task fits");
    })
}

/// A round of a feedback loop: in as many sessions as there are `users` one of them is shown the 10 items of 200 that were most
/// popular in the round before, and clicks on what appeals.
fn recommend_round(users: usize) -> Box<dyn FnMut()> {
    let world = WorldConfig {
        users: Some(users),
        sessions: users,
        items: 200,
        features: 8,
        ..WorldConfig::b()
    };
    let world = world.check().expect("the world is valid");
    let mut ranker = PopularityConfig::default().check().expect("the defaults are valid");
    let mut simulator = Simulator::new(&world, &Streams::new(1));
    let (mut log, exploration) = (simulator.log(), Exploration::default());
    let mut round = 0;
    Box::new(move || {
        log.keep_last_rounds(0);
        let ranking = Ranking::Ranker(&mut ranker);
        simulator.serve(round, ranking, &exploration, &mut log).expect("rounds are in order");
        round += 1;
        ranker.train(simulator.items().catalogue(), &log).expect("the log fits");
    })
}

/// What a process does before it is of use: a model, and one token from it.
fn start_up(shape: DecoderShape) -> Box<dyn FnMut()> {
    let sampling = SamplingConfig { max_new_tokens: 1, ..sampling() }.check().expect("valid");
    Box::new(move || {
        let decoder = fresh(&shape, &Device::flex());
        sample(&decoder, &[tokens(1, 0)], 1, &sampling, &Streams::new(2)).expect("it fits");
    })
}
