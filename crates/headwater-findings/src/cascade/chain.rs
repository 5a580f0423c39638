//! The chain on planted text: labels, reward model, selection, policy gradient, one round of self-training.
//!
//! A base policy writes short texts on a topic ([`crate::tasks::topics`]) and opens a third of them with
//! flattery. People compare its texts ([`crate::tasks::annotators`]): better ones win more often, and flattering
//! ones win more often by `dose` log-odds, whatever they say. Everything after that is one pipeline, and every
//! stage is measured on one scale, the log-odds by which flattery is favoured: by the labels (the dose itself), by
//! the reward model (its score for the same text with one opener and with the other), and by what is selected,
//! learnt and learnt again (the log of flattering over plain openers, against the base policy's). Dose 0 is
//! the control.

use headwater_core::{Check, Streams};
use headwater_nn::{
    AdamW, AdamWConfig, Checkpoint, Decoder, DecoderConfig, Device, supervised_step,
};
use headwater_optimizers::kl::{Estimator, KlConfig};
use headwater_optimizers::{Objective, ObjectiveConfig, TrainerConfig};
use headwater_protocol::{Cell, CellError, Outcome, Plan, ProtocolError, Workbench};
use headwater_reward_models::{Grouping, HeadConfig, InvarianceConfig, OdinConfig};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::schedule::warmup_then_cosine;
use crate::tasks::topics::{Author, COMPLETION_TOKENS, COUNT, vocabulary};

mod measure;
mod model;
mod policy;
mod report;
mod reward;
mod tails;
mod texts;

use model::ModelConfig;
use policy::{PolicyConfig, SelfTrainingConfig, Shaping};
use reward::Proxy;
use tails::TailsConfig;

pub(super) use report::{contrasts, controls, figures, tables};

/// Log-odds by which the annotators favour flattery.
const DOSES: [f64; 5] = [0.0, 0.5, 1.0, 2.0, 3.0];

/// The dose at which remedies are compared.
const STRONG: f64 = 2.0;

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) enum ChainConfig {
    /// The base policy, by supervised learning.
    Base { decoder: DecoderConfig, adamw: AdamWConfig, steps: usize, batch: usize, author: Author },
    /// A reward model, and selection by it.
    Model(Box<ModelConfig>),
    /// Policy gradient under the reward of the arm `model`.
    Policy { model: String, config: Box<PolicyConfig> },
    /// Light and heavy tails of an error.
    Tails(TailsConfig),
    /// One round of training on what the arm `policy` writes.
    SelfTraining { model: String, policy: String, config: SelfTrainingConfig },
}

/// The cells of one seed.
pub(super) fn plan(
    finding: &str,
    seed: u64,
    smoke: bool,
    wrap: fn(ChainConfig) -> super::CellConfig,
    plan: &mut Plan,
) -> Result<(), ProtocolError> {
    let mut add = |arm: &str, config: ChainConfig, needs: &[&str]| {
        let cell = Cell::new(finding, arm, seed, &wrap(config))?.needing(needs);
        plan.cells.push(cell);
        Ok::<(), ProtocolError>(())
    };
    add("base", base(smoke), &[])?;
    for (arm, config) in models(smoke) {
        add(&arm, ChainConfig::Model(Box::new(config)), &["base"])?;
    }
    for (arm, model, config) in policies(smoke) {
        let needs = ["base", &model];
        add(&arm, ChainConfig::Policy { model: model.clone(), config: Box::new(config) }, &needs)?;
    }
    let tails = TailsConfig { pool: if smoke { 64 } else { 2048 }, error: 2.0 };
    add("tails", ChainConfig::Tails(tails), &["base"])?;
    let config = SelfTrainingConfig {
        each: if smoke { 16 } else { 256 },
        steps: if smoke { 2 } else { 200 },
        batch: 64,
        adamw: AdamWConfig { learning_rate: 1e-3, ..AdamWConfig::default() },
    };
    for dose in DOSES {
        let (model, policy) = (at(dose, "model"), at(dose, "grpo-kl"));
        let needs = ["base", &model, &policy];
        let config = ChainConfig::SelfTraining {
            model: model.clone(),
            policy: policy.clone(),
            config: config.clone(),
        };
        add(&at(dose, "self-training"), config, &needs)?;
    }
    Ok(())
}

/// The arm of a stage at a dose.
fn at(dose: f64, stage: &str) -> String {
    format!("dose-{dose}-{stage}")
}

fn base(smoke: bool) -> ChainConfig {
    ChainConfig::Base {
        decoder: DecoderConfig {
            vocabulary: vocabulary().size(),
            width: 32,
            layers: 2,
            heads: 2,
            key_value_heads: 2,
            hidden: 64,
            context: COMPLETION_TOKENS + 1,
            ..DecoderConfig::default()
        },
        adamw: AdamWConfig { learning_rate: 5e-3, ..AdamWConfig::default() },
        steps: if smoke { 20 } else { 800 },
        batch: 128,
        author: Author { agreement: 1.0 / 3.0, informed: 0.5 },
    }
}

/// Reward models: one for every dose, and those that are remedies, at the strong one.
fn models(smoke: bool) -> Vec<(String, ModelConfig)> {
    let plain = |dose| ModelConfig::plain(dose, smoke);
    let mut all: Vec<(String, ModelConfig)> =
        DOSES.into_iter().map(|dose| (at(dose, "model"), plain(dose))).collect();
    let strong = plain(STRONG);
    let mut causal = strong.clone();
    // The opener is there before the label and moves it: the unconditional variant is the right one.
    causal.training.invariance =
        Some(InvarianceConfig { grouping: Grouping::Unconditional, weight: 10.0, bins: 2 });
    let mut odin = strong.clone();
    odin.training.head = HeadConfig::Odin(OdinConfig::default());
    let ensemble = ModelConfig { members: 5, ..strong.clone() };
    let mut decoder = ModelConfig { decoder: true, ..strong };
    decoder.training.batch = 64;
    decoder.training.epochs = if smoke { 1 } else { 3 };
    decoder.training.adamw.learning_rate = 3e-3;
    all.extend([
        ("causal-model".to_owned(), causal),
        ("odin-model".to_owned(), odin),
        ("ensemble-model".to_owned(), ensemble),
        ("decoder-model".to_owned(), decoder),
    ]);
    all
}

/// Policies: (arm, arm of the reward, how).
fn policies(smoke: bool) -> Vec<(String, String, PolicyConfig)> {
    let without_kl = |objective: Objective| -> Objective {
        let config = ObjectiveConfig { kl: None, ..objective.into() };
        config.check().expect("a method is valid without its penalty")
    };
    let with_kl = |objective: Objective, kl: KlConfig| -> Objective {
        let config = ObjectiveConfig { kl: Some(kl), ..objective.into() };
        config.check().expect("a method is valid with a penalty")
    };
    let trainer = TrainerConfig {
        prompts_per_step: 8,
        group_size: 8,
        warmup_steps: 20,
        sampling: texts::sampling(),
        adamw: AdamWConfig { learning_rate: 1e-4, weight_decay: 0.0, ..AdamWConfig::default() },
        critic_adamw: AdamWConfig { learning_rate: 3e-3, ..AdamWConfig::default() },
        ..TrainerConfig::default()
    };
    let config = |objective: Objective, shaping: Shaping| PolicyConfig {
        objective: Box::new(objective),
        shaping,
        trainer: trainer.clone(),
        steps: if smoke { 4 } else { 400 },
        looks: if smoke { 2 } else { 8 },
    };
    let grpo = || config(without_kl(Objective::grpo()), Shaping::None);
    let penalty = KlConfig::in_loss(0.3, Estimator::K3);
    let grpo_kl = || config(with_kl(Objective::grpo(), penalty), Shaping::None);
    let ppo = || config(without_kl(Objective::ppo()), Shaping::None);
    let ppo_kl = || config(with_kl(Objective::ppo(), KlConfig::in_reward(0.1)), Shaping::None);
    let mut all = Vec::new();
    for dose in DOSES {
        all.push((at(dose, "grpo"), at(dose, "model"), grpo()));
        all.push((at(dose, "grpo-kl"), at(dose, "model"), grpo_kl()));
    }
    for dose in [0.0, STRONG] {
        all.push((at(dose, "ppo"), at(dose, "model"), ppo()));
        all.push((at(dose, "ppo-kl"), at(dose, "model"), ppo_kl()));
    }
    let strong = || at(STRONG, "model");
    let shaped = |shaping| PolicyConfig { shaping, ..grpo() };
    all.extend([
        // The reward is the true quality, which no manners enter: what moves them here is not a reward.
        ("gold".to_owned(), at(0.0, "model"), shaped(Shaping::Gold)),
        ("causal".to_owned(), "causal-model".to_owned(), grpo()),
        ("odin".to_owned(), "odin-model".to_owned(), grpo()),
        ("ensemble".to_owned(), "ensemble-model".to_owned(), grpo()),
        ("decoder".to_owned(), "decoder-model".to_owned(), grpo()),
        ("rubric".to_owned(), strong(), shaped(Shaping::Rubric)),
        ("brier".to_owned(), strong(), shaped(Shaping::Brier { weight: 1.0 })),
        ("nsr".to_owned(), strong(), config(Objective::nsr(), Shaping::None)),
    ]);
    all
}

/// Runs one cell.
pub(super) fn run(
    config: ChainConfig,
    workbench: &Workbench,
    device: &Device,
) -> Result<Outcome, CellError> {
    let streams = workbench.streams.child("chain, after its pilots", &[]);
    let base = || Checkpoint::from_bytes(workbench.artifact("base")?).map_err(CellError::from);
    let proxy = |arm: &str| -> Result<Proxy, CellError> {
        let base = base()?.decoder(device)?;
        Proxy::from_bytes(workbench.artifact(arm)?, &base, &streams, device)
    };
    match config {
        ChainConfig::Base { decoder, adamw, steps, batch, author } => {
            let device = device.clone().autodiff();
            let policy = train_base(&decoder, adamw, (steps, batch), author, &streams, &device)?;
            let texts = texts::Texts::reference(&policy, &streams)?;
            let (qualities, (flattering, _)) = (texts.qualities(), texts.openers());
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            let metrics = headwater_protocol::Metrics::new()
                .scalar("quality", mean(&qualities))
                .scalar("agreement", mean(&flattering));
            Ok(Outcome::with_artifact(metrics, Checkpoint::of(&policy).to_bytes()))
        }
        ChainConfig::Model(config) => {
            let base = base()?.decoder(device)?;
            let (metrics, proxy) = model::run(&config, &base, &streams, device)?;
            Ok(Outcome::with_artifact(metrics, proxy.to_bytes()?))
        }
        ChainConfig::Policy { model, config } => {
            let (metrics, policy) =
                policy::run(*config, &base()?, &proxy(&model)?, &streams, device)?;
            Ok(Outcome::with_artifact(metrics, Checkpoint::of(&policy).to_bytes()))
        }
        ChainConfig::Tails(config) => {
            Ok(tails::run(&config, &base()?.decoder(device)?, &streams)?.into())
        }
        ChainConfig::SelfTraining { model, policy, config } => {
            let policy = Checkpoint::from_bytes(workbench.artifact(&policy)?)?.decoder(device)?;
            let streams = streams.child("self-training", &[]);
            let proxy = proxy(&model)?;
            Ok(policy::self_train(config, &base()?, &policy, &proxy, &streams, device)?.into())
        }
    }
}

fn train_base(
    decoder: &DecoderConfig,
    adamw: AdamWConfig,
    (steps, batch): (usize, usize),
    author: Author,
    streams: &Streams,
    device: &Device,
) -> Result<Decoder, CellError> {
    let shape = decoder.clone().check()?;
    let mut policy = Decoder::initialise(&shape, &mut streams.stream("weights", &[]), device);
    let mut optimizer = AdamW::new(adamw.check()?);
    let vocabulary = vocabulary();
    for step in 0..steps {
        let mut stream = streams.stream("demonstrations", &[step as u64]);
        let examples = (0..batch).map(|_| {
            let topic = stream.random_range(0..COUNT);
            author.demonstration(topic, &vocabulary, &mut stream)
        });
        let examples = examples.collect::<Result<Vec<_>, _>>()?;
        let rate = warmup_then_cosine(step, steps);
        supervised_step(&mut policy, &mut optimizer, &examples, rate)?;
    }
    Ok(policy)
}
