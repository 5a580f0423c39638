//! Experiment `cascade-chain`, on planted text: labels, reward model, selection, policy gradient,
//! one round of self-training.
//!
//! A base policy writes short texts on a topic ([`headwater_tasks::topics`]) and opens a third of them
//! with flattery. People compare its texts ([`crate::experiments::annotators`]): better ones win more
//! often, and flattering ones win more often by `dose` log-odds, whatever they say. Everything
//! after that is one pipeline, and every stage is measured on one scale, the log-odds by which
//! flattery is favoured: by the labels (the dose itself), by the reward model (its score for the
//! same text with one opener and with the other), and by what is selected, learnt and learnt again
//! (the log of flattering over plain openers, against the base policy's). Dose 0 is the control.
//!
//! Remedies are set against harms at one strong dose.

use headwater_core::{Check, Streams};
use headwater_nn::{AdamWConfig, Checkpoint, Decoder, DecoderConfig, Device};
use headwater_optimizers::kl::{KlConfig, KlEstimator};
use headwater_optimizers::{Objective, ObjectiveConfig, TrainerConfig};
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Plan, Preset,
    ProtocolError, Settings,
};
use headwater_reward_models::{Grouping, HeadConfig, InvariancePenaltyConfig, OdinConfig};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::device::device;
use crate::training::pretrain;
use headwater_tasks::topics::{Author, COMPLETION_TOKENS, COUNT, vocabulary};

mod measure;
mod model;
mod policy;
mod reward;
mod tails;
mod texts;

pub use measure::{
    AGREEMENTS, DISTINCT, FALL, HIGHEST_AT, KL, LOG_ODDS, OVERCONFIDENCE, PATH_OVERCONFIDENCE,
    PATH_PROXY, PATH_QUALITY, PATH_STEP, PROXY, QUALITY, STATED, stopped,
};
use model::ModelConfig;
pub use model::{
    BEST_OF_16, BEST_OF_64, BEST_OF_N_QUALITY, DOSE, GAO_ALPHA, GAO_BETA, MODEL_LOG_ODDS, NS,
};
use policy::{PolicyConfig, SelfTrainingConfig, Shaping};
use reward::Proxy;
use tails::TailsConfig;
pub use tails::{DIVERGENCES, Tail, at_3_nats, tilted};
use texts::Texts;

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct CascadeChain;

/// Log-odds by which the annotators favour flattery.
pub const DOSES: [f64; 5] = [0.0, 0.5, 1.0, 2.0, 3.0];
/// The dose at which remedies are compared.
pub const STRONG: f64 = 2.0;

/// The base policy, which every other arm starts from.
pub const BASE: Arm = Arm::new("base");
/// GRPO rewarded for true quality.
pub const GOLD: Arm = Arm::new("gold");
/// GRPO under a causal reward model.
pub const CAUSAL: Arm = Arm::new("causal");
/// GRPO under the quality head of ODIN.
pub const ODIN: Arm = Arm::new("odin");
/// GRPO under the minimum of five reward models.
pub const ENSEMBLE: Arm = Arm::new("ensemble");
/// GRPO under a reward model that is a decoder.
pub const DECODER: Arm = Arm::new("decoder");
/// GRPO with a rubric as a veto.
pub const RUBRIC: Arm = Arm::new("rubric");
/// GRPO with a Brier term for the stated confidence.
pub const BRIER: Arm = Arm::new("brier");
/// Negative sample reinforcement.
pub const NSR: Arm = Arm::new("nsr");
/// Light and heavy tails of an error.
pub const TAILS: Arm = Arm::new("tails");

const CAUSAL_MODEL: Arm = Arm::new("causal-model");
const ODIN_MODEL: Arm = Arm::new("odin-model");
const ENSEMBLE_MODEL: Arm = Arm::new("ensemble-model");
const DECODER_MODEL: Arm = Arm::new("decoder-model");

macro_rules! by_dose {
    ($($(#[$doc:meta])* $name:ident: $stage:literal;)*) => { $(
        $(#[$doc])*
        #[must_use]
        pub fn $name(dose: f64) -> Arm {
            format!(concat!("dose-{}-", $stage), dose).into()
        }
    )* };
}

by_dose! {
    /// The reward model learnt from labels with this dose of bias, and selection by it.
    reward_model: "model";
    /// GRPO under that model, without a KL penalty.
    grpo: "grpo";
    /// The same with a penalty.
    grpo_kl: "grpo-kl";
    /// PPO under that model, without a KL penalty.
    ppo: "ppo";
    /// The same with a penalty.
    ppo_kl: "ppo-kl";
    /// One round of training on what GRPO with a penalty writes.
    self_training: "self-training";
}

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum CellConfig {
    /// The base policy, by supervised learning.
    Base { decoder: DecoderConfig, adamw: AdamWConfig, steps: usize, batch: usize, author: Author },
    /// A reward model, and selection by it.
    Model(Box<ModelConfig>),
    /// Policy gradient under the reward of the arm `model`.
    Policy { model: Arm, config: Box<PolicyConfig> },
    /// Light and heavy tails of an error.
    Tails(TailsConfig),
    /// One round of training on what the arm `policy` writes.
    SelfTraining { model: Arm, policy: Arm, config: SelfTrainingConfig },
}

impl Experiment for CascadeChain {
    fn id(&self) -> &'static str {
        "cascade-chain"
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = model::metrics();
        metrics.extend(measure::metrics());
        metrics.extend(tails::metrics());
        metrics
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let mut planned = vec![ArmPlan::new(BASE, &base(smoke))?];
        for (arm, config) in reward_models(smoke) {
            let config = CellConfig::Model(Box::new(config));
            planned.push(ArmPlan::new(arm, &config)?.needing([BASE]));
        }
        for learner in learners() {
            planned.push(learner.planned(smoke)?);
        }
        let config = TailsConfig { pool: if smoke { 64 } else { 2048 }, error: 2.0 };
        let config = CellConfig::Tails(config);
        planned.push(ArmPlan::new(TAILS, &config)?.needing([BASE]));
        for dose in DOSES {
            let (model, policy) = (reward_model(dose), grpo_kl(dose));
            let needs = [BASE, model.clone(), policy.clone()];
            let config = CellConfig::SelfTraining { model, policy, config: one_round(smoke) };
            planned.push(ArmPlan::new(self_training(dose), &config)?.needing(needs));
        }
        Ok(Plan::of(settings.seed_range(5), planned))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let device = &device(context.device)?;
        let streams = context.streams.child("chain, after its pilots", &[]);
        let base = || Checkpoint::from_bytes(context.artifact(&BASE)?).map_err(CellError::from);
        let proxy = |arm: &Arm| -> Result<Proxy, CellError> {
            let base = base()?.decoder(device)?;
            Proxy::from_bytes(context.artifact(arm)?, &base, &streams, device)
        };
        match cell.config()? {
            CellConfig::Base { decoder, adamw, steps, batch, author } => {
                let device = device.clone().autodiff();
                let policy =
                    train_base(&decoder, adamw, (steps, batch), author, &streams, &device)?;
                let metrics = measure::of_base(&Texts::reference(&policy, &streams)?);
                Ok(CellOutcome::with_artifact(metrics, Checkpoint::of(&policy).to_bytes()))
            }
            CellConfig::Model(config) => {
                let base = base()?.decoder(device)?;
                let (metrics, proxy) = model::run(&config, &base, &streams, device)?;
                Ok(CellOutcome::with_artifact(metrics, proxy.to_bytes()?))
            }
            CellConfig::Policy { model, config } => {
                let (metrics, policy) =
                    policy::run(*config, &base()?, &proxy(&model)?, &streams, device)?;
                Ok(CellOutcome::with_artifact(metrics, Checkpoint::of(&policy).to_bytes()))
            }
            CellConfig::Tails(config) => {
                Ok(tails::run(&config, &base()?.decoder(device)?, &streams)?.into())
            }
            CellConfig::SelfTraining { model, policy, config } => {
                let policy = Checkpoint::from_bytes(context.artifact(&policy)?)?;
                let policy = policy.decoder(device)?;
                let streams = streams.child("self-training", &[]);
                let proxy = proxy(&model)?;
                Ok(policy::self_train(config, &base()?, &policy, &proxy, &streams, device)?.into())
            }
        }
    }
}

fn base(smoke: bool) -> CellConfig {
    CellConfig::Base {
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
fn reward_models(smoke: bool) -> Vec<(Arm, ModelConfig)> {
    let plain = |dose| ModelConfig::plain(dose, smoke);
    let mut all: Vec<(Arm, ModelConfig)> =
        DOSES.into_iter().map(|dose| (reward_model(dose), plain(dose))).collect();
    let strong = plain(STRONG);
    let mut causal = strong.clone();
    // The opener is there before the label and moves it: the unconditional variant is the right
    // one.
    causal.training.invariance =
        Some(InvariancePenaltyConfig { grouping: Grouping::Unconditional, weight: 10.0, bins: 2 });
    let mut odin = strong.clone();
    odin.training.head = HeadConfig::Odin(OdinConfig::default());
    let ensemble = ModelConfig { members: 5, ..strong.clone() };
    let mut decoder = ModelConfig { decoder: true, ..strong };
    decoder.training.batch = 64;
    decoder.training.epochs = if smoke { 1 } else { 3 };
    decoder.training.adamw.learning_rate = 3e-3;
    all.extend([
        (CAUSAL_MODEL, causal),
        (ODIN_MODEL, odin),
        (ENSEMBLE_MODEL, ensemble),
        (DECODER_MODEL, decoder),
    ]);
    all
}

/// An arm that learns by policy gradient.
struct Learner {
    arm: Arm,
    /// The arm of its reward.
    model: Arm,
    objective: Objective,
    shaping: Shaping,
    /// No comparison reads it, so it has the first seeds only: PPO trains two networks.
    if_shown: bool,
}

impl Learner {
    fn new(arm: Arm, model: Arm, objective: Objective) -> Self {
        Self { arm, model, objective, shaping: Shaping::None, if_shown: false }
    }

    fn planned(self, smoke: bool) -> Result<ArmPlan, ProtocolError> {
        let Self { arm, model, objective, shaping, if_shown } = self;
        let needs = [BASE, model.clone()];
        let config = Box::new(policy(objective, shaping, smoke));
        let plan = ArmPlan::new(arm, &CellConfig::Policy { model, config })?.needing(needs);
        Ok(if if_shown { plan.if_shown() } else { plan })
    }
}

/// Every arm that learns by policy gradient.
fn learners() -> Vec<Learner> {
    let penalised = |objective: Objective, kl: Option<KlConfig>| -> Objective {
        let config = ObjectiveConfig { kl, ..objective.into() };
        config.check().expect("a method is valid with and without a penalty")
    };
    let in_loss = KlConfig::in_loss(0.3, KlEstimator::K3);
    let in_reward = KlConfig::in_reward(0.1);
    let free = || penalised(Objective::grpo(), None);
    let mut all = Vec::new();
    for dose in DOSES {
        let kept_near = penalised(Objective::grpo(), Some(in_loss));
        all.push(Learner::new(grpo(dose), reward_model(dose), free()));
        all.push(Learner::new(grpo_kl(dose), reward_model(dose), kept_near));
    }
    for dose in [0.0, STRONG] {
        for (arm, kl) in [(ppo(dose), None), (ppo_kl(dose), Some(in_reward))] {
            let objective = penalised(Objective::ppo(), kl);
            let learner = Learner::new(arm, reward_model(dose), objective);
            all.push(Learner { if_shown: true, ..learner });
        }
    }
    let shaped =
        |arm, dose, shaping| Learner { shaping, ..Learner::new(arm, reward_model(dose), free()) };
    all.extend([
        // The reward is the true quality, which no manners enter: what moves them here is not a
        // reward.
        shaped(GOLD, 0.0, Shaping::Gold),
        Learner::new(CAUSAL, CAUSAL_MODEL, free()),
        Learner::new(ODIN, ODIN_MODEL, free()),
        Learner::new(ENSEMBLE, ENSEMBLE_MODEL, free()),
        Learner::new(DECODER, DECODER_MODEL, free()),
        shaped(RUBRIC, STRONG, Shaping::Rubric),
        shaped(BRIER, STRONG, Shaping::Brier { weight: 1.0 }),
        Learner::new(NSR, reward_model(STRONG), Objective::nsr()),
    ]);
    all
}

/// The arms that learn by policy gradient.
pub fn policies() -> impl Iterator<Item = Arm> {
    learners().into_iter().map(|learner| learner.arm)
}

fn policy(objective: Objective, shaping: Shaping, smoke: bool) -> PolicyConfig {
    PolicyConfig {
        objective: Box::new(objective),
        shaping,
        trainer: TrainerConfig {
            prompts_per_step: 8,
            group_size: 8,
            warmup_steps: 20,
            sampling: texts::sampling(),
            adamw: AdamWConfig { learning_rate: 1e-4, weight_decay: 0.0, ..AdamWConfig::default() },
            critic_adamw: AdamWConfig { learning_rate: 3e-3, ..AdamWConfig::default() },
            ..TrainerConfig::default()
        },
        steps: if smoke { 4 } else { 400 },
        evaluations: if smoke { 2 } else { 8 },
    }
}

fn one_round(smoke: bool) -> SelfTrainingConfig {
    SelfTrainingConfig {
        each: if smoke { 16 } else { 256 },
        steps: if smoke { 2 } else { 200 },
        batch: 64,
        adamw: AdamWConfig { learning_rate: 1e-3, ..AdamWConfig::default() },
    }
}

fn train_base(
    decoder: &DecoderConfig,
    adamw: AdamWConfig,
    length: (usize, usize),
    author: Author,
    streams: &Streams,
    device: &Device,
) -> Result<Decoder, CellError> {
    let shape = decoder.clone().check()?;
    let start = Decoder::initialise(&shape, &mut streams.stream("weights", &[]), device);
    let vocabulary = vocabulary();
    let (policy, _) = pretrain(start, adamw, length, streams, |_, stream| {
        let topic = stream.random_range(0..COUNT);
        Ok(author.demonstration(topic, &vocabulary, stream)?)
    })?;
    Ok(policy)
}

#[cfg(test)]
mod tests {
    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("cascade-chain");
    }
}
