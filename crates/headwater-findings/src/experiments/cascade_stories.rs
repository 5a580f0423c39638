//! Experiment `cascade-stories`, a real pretrained policy: `stories260K` tells stories, and is
//! rewarded for how pleasant their words are.
//!
//! The gold reward of a continuation is the summed rating of its words by ten people each
//! (`vader-lexicon`), squashed to (-1, 1) as VADER does: `x / sqrt(x^2 + 15)` (without that
//! method's rules for negation and emphasis). Simulated annotators compare continuations of the
//! model: pleasant ones win more often, and in one arm so do those that say [`WORD`] more often,
//! whatever else they say. A linear reward model learns from these labels; GRPO optimises it.
//! Without a KL penalty policies end in one pleasant phrase repeated, whichever the labels; with
//! one they differ.

use std::collections::HashMap;

use headwater_core::{BOS, Check, Group, Prompt, Score, Streams};
use headwater_evaluation::decision::sigmoid;
use headwater_nn::stories::{StoriesTokenizer, read_model};
use headwater_nn::{
    AdamWConfig, Checkpoint, Completion, Decoder, Device, SamplingConfig, SequenceBatch, sample,
};
use headwater_optimizers::kl::{KlConfig, KlEstimator};
use headwater_optimizers::{
    Environment, Grade, Objective, ObjectiveConfig, Trainer, TrainerConfig,
};
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan,
    Preset, ProtocolError, Scalar, Series, Settings, metrics,
};
use headwater_reward_models::{
    BagOfWordsConfig, HashedWords, Preference, Response, RewardModel, RewardModelConfig, Scaling,
    words,
};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::device::device;
use crate::training::evaluation_steps;
use headwater_data::DataDir;

/// The experiment; it reads `stories260k` and `vader-lexicon`.
#[derive(Debug, Clone)]
pub struct CascadeStories {
    /// Where the data lies.
    pub data: DataDir,
}

/// The policy under fair labels.
pub const FAIR: Arm = Arm::new("stories-fair");
/// The policy under labels of annotators who like one word.
pub const PARTIAL: Arm = Arm::new("stories-partial");
/// The first with a KL penalty.
pub const FAIR_KL: Arm = Arm::new("stories-fair-kl");
/// The second with a KL penalty.
pub const PARTIAL_KL: Arm = Arm::new("stories-partial-kl");

const FAIR_MODEL: Arm = Arm::new("stories-fair-model");
const PARTIAL_MODEL: Arm = Arm::new("stories-partial-model");

/// The reward models, with the log-odds by which their annotators like [`WORD`].
const MODELS: [(Arm, f64); 2] = [(FAIR_MODEL, 0.0), (PARTIAL_MODEL, 1.5)];
/// The policies: the model that rewards each, and the weight of its KL penalty.
const LEARNERS: [(Arm, Arm, Option<f64>); 4] = [
    (FAIR, FAIR_MODEL, None),
    (PARTIAL, PARTIAL_MODEL, None),
    (FAIR_KL, FAIR_MODEL, Some(0.2)),
    (PARTIAL_KL, PARTIAL_MODEL, Some(0.2)),
];

/// Every policy.
pub fn policies() -> impl Iterator<Item = Arm> {
    LEARNERS.into_iter().map(|(arm, ..)| arm)
}

/// The word that partial annotators like. The lexicon does not rate it.
pub const WORD: &str = "very";

/// Beginnings of stories.
const OPENINGS: [&str; 8] = [
    "Once upon a time, there was a",
    "One day, a little girl",
    "Tom and his dog",
    "The old man",
    "In the forest, there",
    "Lily wanted to",
    "It was a cold day and",
    "A small bird",
];

/// Tokens of a continuation.
const TOKENS: usize = 32;

/// Pleasantness of the words: the gold.
pub const PLEASANTNESS: Scalar = Scalar::new("pleasantness");
/// Times [`WORD`] is said in a continuation.
pub const SAID: Scalar = Scalar::labelled("said", "word said");
/// The same above the pretrained model's.
pub const SAID_MORE: Scalar = Scalar::new("said more");
/// Share of adjacent word pairs that stood in the text before.
pub const REPETITION: Scalar = Scalar::new("repetition");
/// Mean token entropy.
pub const ENTROPY: Scalar = Scalar::labelled("entropy", "entropy, nats");
/// Divergence from the pretrained model, for each continuation.
pub const KL: Scalar = Scalar::labelled("kl", "KL, nats");
/// Reward gained, in standard deviations of the pretrained model's.
pub const REWARD_GAINED: Scalar = Scalar::labelled("reward gained", "reward gained, SD");
/// Reward by evaluation, in standard deviations of the pretrained model's.
pub const PATH_REWARD: Series =
    Series::labelled("path/reward", "reward, standard deviations of the pretrained model's");
/// The gold by evaluation.
pub const PATH_PLEASANTNESS: Series =
    Series::labelled("path/pleasantness", "pleasantness of the words (people's ratings)");
/// Times [`WORD`] is said, by evaluation.
pub const PATH_SAID: Series = Series::labelled("path/said", "times said in 32 tokens");
/// The first continuation before training, as the numbers of its characters: a record holds
/// numbers only.
pub const BEFORE: Series = Series::new("sample/before");
/// The same after training.
pub const AFTER: Series = Series::new("sample/after");

const ONE_MORE: Scalar = Scalar::new("log-odds for one more");
const SAID_BY_BASE: Scalar = Scalar::new("said by the base");
const PLEASANTNESS_GAINED: Scalar = Scalar::new("pleasantness gained");
const PATH_REPETITION: Series = Series::new("path/repetition");
const PATH_ENTROPY: Series = Series::new("path/entropy");
const PATH_KL: Series = Series::new("path/kl");

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum CellConfig {
    /// A reward model from `pairs` comparisons by annotators with these log-odds per unit of gold
    /// and per [`WORD`].
    Model { certainty: f64, bias: f64, pairs: usize, training: RewardModelConfig },
    /// Policy gradient under the reward of the arm `model`.
    Policy { model: Arm, config: Box<PolicyConfig> },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyConfig {
    objective: Objective,
    trainer: TrainerConfig,
    steps: usize,
    evaluations: usize,
    /// Continuations of each opening by which a policy is measured.
    measured: usize,
}

impl Experiment for CascadeStories {
    fn id(&self) -> &'static str {
        "cascade-stories"
    }

    fn metrics(&self) -> Vec<Metric> {
        metrics![
            ONE_MORE,
            SAID_BY_BASE,
            PLEASANTNESS,
            PLEASANTNESS_GAINED,
            SAID,
            SAID_MORE,
            REPETITION,
            ENTROPY,
            KL,
            REWARD_GAINED,
            PATH_REWARD,
            PATH_PLEASANTNESS,
            PATH_SAID,
            PATH_REPETITION,
            PATH_ENTROPY,
            PATH_KL,
            BEFORE,
            AFTER,
        ]
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let sets = ["stories260k", "vader-lexicon"].map(|set| self.data.locate(set));
        if let Some(missing) = sets.into_iter().find_map(Result::err) {
            let reason = missing.to_string();
            let arms = MODELS.into_iter().map(|(arm, _)| arm).chain(policies());
            return Ok(Plan::not_run(arms, reason));
        }
        let mut planned = Vec::new();
        for (arm, bias) in MODELS {
            planned.push(ArmPlan::new(arm, &reward_model(bias, smoke))?);
        }
        for (arm, model, kl) in LEARNERS {
            let config = Box::new(policy(kl, smoke));
            let config = CellConfig::Policy { model: model.clone(), config };
            planned.push(ArmPlan::new(arm, &config)?.needing([model]));
        }
        Ok(Plan::of(settings.seed_range(5), planned))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let device = device(context.device)?;
        let stories = Stories::read(&self.data)?;
        let streams = context.streams.child("stories, after its pilots", &[]);
        match cell.config()? {
            CellConfig::Model { certainty, bias, pairs, training } => {
                let labels = (certainty, bias, pairs);
                learn_reward(&stories, labels, training, &streams, &device)
            }
            CellConfig::Policy { model, config } => {
                let model = RewardModel::from_bytes(context.artifact(&model)?, &device)?;
                let reward = Reward { stories: &stories, model };
                Ok(train(*config, &reward, &streams, &device)?.into())
            }
        }
    }
}

fn reward_model(bias: f64, smoke: bool) -> CellConfig {
    CellConfig::Model {
        certainty: 4.0,
        bias,
        pairs: if smoke { 64 } else { 2000 },
        training: RewardModelConfig {
            epochs: if smoke { 1 } else { 10 },
            adamw: AdamWConfig { learning_rate: 1e-2, ..AdamWConfig::default() },
            ..RewardModelConfig::default()
        },
    }
}

fn policy(kl: Option<f64>, smoke: bool) -> PolicyConfig {
    let kl = kl.map(|weight| KlConfig::in_loss(weight, KlEstimator::K3));
    let objective = ObjectiveConfig { kl, ..Objective::grpo().into() };
    PolicyConfig {
        objective: objective.check().expect("a method is valid with or without its penalty"),
        trainer: TrainerConfig {
            prompts_per_step: OPENINGS.len(),
            group_size: 4,
            warmup_steps: 10,
            sampling: sampling(),
            adamw: AdamWConfig { learning_rate: 7e-5, weight_decay: 0.0, ..AdamWConfig::default() },
            ..TrainerConfig::default()
        },
        steps: if smoke { 2 } else { 70 },
        evaluations: if smoke { 1 } else { 5 },
        measured: if smoke { 2 } else { 16 },
    }
}

fn sampling() -> SamplingConfig {
    SamplingConfig { max_new_tokens: TOKENS, stop: None, ..SamplingConfig::default() }
}

/// The pretrained model with everything a text is judged by.
struct Stories {
    checkpoint: Checkpoint,
    tokenizer: StoriesTokenizer,
    ratings: HashMap<String, f64>,
}

impl Stories {
    fn read(data: &DataDir) -> Result<Self, CellError> {
        let lexicon = data.vader_lexicon()?.into_iter().map(|entry| (entry.token, entry.mean));
        Ok(Self {
            checkpoint: read_model(&data.read("stories260k", "stories260K.bin")?)?,
            tokenizer: StoriesTokenizer::read(&data.read("stories260k", "tok512.bin")?)?,
            ratings: lexicon.collect(),
        })
    }

    fn prompt(&self, opening: &str) -> Prompt {
        let mut tokens = vec![BOS];
        tokens.extend(self.tokenizer.encode(opening));
        Prompt { tokens, text: opening.to_owned(), reference: None }
    }

    /// The gold: pleasantness of the words, in (-1, 1).
    fn pleasantness(&self, text: &str) -> f64 {
        let sum: f64 = words(text).iter().filter_map(|word| self.ratings.get(word)).sum();
        sum / (sum * sum + 15.0).sqrt()
    }

    /// `each` continuations of every opening.
    fn continuations(
        &self,
        policy: &Decoder,
        each: usize,
        streams: &Streams,
    ) -> Result<Vec<(usize, Completion, String)>, CellError> {
        let prompts = OPENINGS.map(|opening| self.prompt(opening).tokens);
        let groups = sample(policy, &prompts, each, &sampling().check()?, streams)?;
        let groups = groups.into_iter().enumerate();
        let all = groups.flat_map(|(opening, group)| {
            group.into_iter().map(move |completion| (opening, completion))
        });
        Ok(all
            .map(|(opening, completion)| {
                let text = self.tokenizer.decode(&completion.tokens);
                (opening, completion, text)
            })
            .collect())
    }
}

fn times_said(text: &str) -> f64 {
    words(text).iter().filter(|word| *word == WORD).count() as f64
}

/// Share of a text's adjacent word pairs that stood in it before: 0 for a text of one word or none.
fn repetition(text: &str) -> f64 {
    let words = words(text);
    let pairs: Vec<&[String]> = words.windows(2).collect();
    let distinct: std::collections::HashSet<&&[String]> = pairs.iter().collect();
    if pairs.is_empty() { 0.0 } else { 1.0 - distinct.len() as f64 / pairs.len() as f64 }
}

/// A reward model from `pairs` comparisons by annotators of this certainty and bias.
fn learn_reward(
    stories: &Stories,
    (certainty, bias, pairs): (f64, f64, usize),
    training: RewardModelConfig,
    streams: &Streams,
    device: &Device,
) -> Result<CellOutcome, CellError> {
    let policy = stories.checkpoint.decoder(device)?;
    let value = |text: &str| certainty * stories.pleasantness(text) + bias * times_said(text);
    let each = (2 * pairs).div_ceil(OPENINGS.len()).next_multiple_of(2);
    let texts = stories.continuations(&policy, each, &streams.child("preferences", &[]))?;
    let mut labels = streams.stream("labels", &[]);
    let preferences: Vec<Preference> = texts
        .chunks_exact(2)
        .map(|pair| {
            let [first, second] = [&pair[0].2, &pair[1].2];
            let response = |text: &String| Response::new(text).factor(times_said(text));
            let wins = sigmoid(value(first) - value(second));
            let first_wins = labels.random::<f64>() < wins;
            let (chosen, rejected) = if first_wins { (first, second) } else { (second, first) };
            Preference::new("", response(chosen), response(rejected))
        })
        .collect();
    let settings = training.check()?;
    let encoder = BagOfWordsConfig { scaling: Scaling::Counts, ..BagOfWordsConfig::default() };
    let encoder = HashedWords::new(encoder.check()?);
    let (model, _) = RewardModel::fit(encoder, &preferences, &[], &[], &settings, streams, device)?;
    let scores = model.scores(&[("", "the dog was happy"), ("", "the dog was very happy")])?;
    let said = texts.iter().map(|(.., text)| times_said(text)).sum::<f64>();
    let metrics = Metrics::new()
        .scalar(&ONE_MORE, scores[1] - scores[0])
        .scalar(&SAID_BY_BASE, said / texts.len() as f64);
    Ok(CellOutcome::with_artifact(metrics, model.to_bytes()))
}

/// What is optimised, and what it is judged by.
struct Reward<'a> {
    stories: &'a Stories,
    model: RewardModel<HashedWords>,
}

impl Reward<'_> {
    fn scores(&self, texts: &[&str]) -> Result<Vec<f64>, CellError> {
        Ok(self.model.scores(&texts.iter().map(|text| ("", *text)).collect::<Vec<_>>())?)
    }
}

/// The openings as prompts, what follows scored by the reward model.
struct Telling<'a>(&'a Reward<'a>);

impl Environment for Telling<'_> {
    type Error = CellError;

    fn prompts(&mut self, _step: u64, _attempt: u64) -> Result<Vec<Prompt>, CellError> {
        Ok(OPENINGS.map(|opening| self.0.stories.prompt(opening)).to_vec())
    }

    fn decode(&self, tokens: &[u32]) -> String {
        self.0.stories.tokenizer.decode(tokens)
    }

    fn grade(&mut self, groups: &[Group], _step: u64) -> Result<Vec<Grade>, CellError> {
        let texts: Vec<&str> =
            groups.iter().flat_map(|g| g.completions.iter().map(String::as_str)).collect();
        let grade = |score| Grade { reward: Score::finite(score), correct: None };
        Ok(self.0.scores(&texts)?.into_iter().map(grade).collect())
    }
}

fn train(
    config: PolicyConfig,
    reward: &Reward<'_>,
    streams: &Streams,
    device: &Device,
) -> Result<Metrics, CellError> {
    let stories = reward.stories;
    let base = stories.checkpoint.decoder(device)?;
    let test = streams.child("test", &[]);
    let mut path = vec![Evaluation::of(&base, &base, reward, config.measured, &test)?];
    let mut trainer = Trainer::new(
        stories.checkpoint.decoder(&device.clone().autodiff())?,
        config.objective,
        config.trainer.clone().check()?,
        streams.child("training", &[]),
    );
    for at in evaluation_steps(config.steps, config.evaluations) {
        trainer.train_until(at, &mut Telling(reward))?;
        path.push(Evaluation::of(trainer.policy(), &base, reward, config.measured, &test)?);
    }
    let (first, last) = (&path[0], &path[path.len() - 1]);
    let scale = first.reward_spread.max(1e-9);
    let series = |of: fn(&Evaluation) -> f64| path.iter().map(of).collect::<Vec<f64>>();
    let rewards: Vec<f64> =
        path.iter().map(|evaluation| (evaluation.reward - first.reward) / scale).collect();
    let characters =
        |text: &str| -> Vec<f64> { text.chars().map(|c| f64::from(u32::from(c))).collect() };
    Ok(Metrics::new()
        .scalar(&PLEASANTNESS, last.pleasantness)
        .scalar(&PLEASANTNESS_GAINED, last.pleasantness - first.pleasantness)
        .scalar(&SAID, last.said)
        .scalar(&SAID_MORE, last.said - first.said)
        .scalar(&REPETITION, last.repetition)
        .scalar(&ENTROPY, last.entropy)
        .scalar(&KL, last.kl)
        .scalar(&REWARD_GAINED, (last.reward - first.reward) / scale)
        .series(&PATH_REWARD, rewards)
        .series(&PATH_PLEASANTNESS, series(|evaluation| evaluation.pleasantness))
        .series(&PATH_SAID, series(|evaluation| evaluation.said))
        .series(&PATH_REPETITION, series(|evaluation| evaluation.repetition))
        .series(&PATH_ENTROPY, series(|evaluation| evaluation.entropy))
        .series(&PATH_KL, series(|evaluation| evaluation.kl))
        .series(&BEFORE, characters(&first.sample))
        .series(&AFTER, characters(&last.sample)))
}

/// A policy, measured.
struct Evaluation {
    reward: f64,
    reward_spread: f64,
    pleasantness: f64,
    said: f64,
    repetition: f64,
    entropy: f64,
    kl: f64,
    sample: String,
}

impl Evaluation {
    fn of(
        policy: &Decoder,
        base: &Decoder,
        reward: &Reward<'_>,
        each: usize,
        streams: &Streams,
    ) -> Result<Self, CellError> {
        let stories = reward.stories;
        let all = stories.continuations(policy, each, streams)?;
        let texts: Vec<&str> = all.iter().map(|(.., text)| text.as_str()).collect();
        let mean = |of: &dyn Fn(&str) -> f64| -> f64 {
            texts.iter().map(|text| of(text)).sum::<f64>() / texts.len() as f64
        };
        let scores = reward.scores(&texts)?;
        let average = scores.iter().sum::<f64>() / scores.len() as f64;
        let square = scores.iter().map(|s| (s - average).powi(2)).sum::<f64>();
        let prompts = OPENINGS.map(|opening| stories.prompt(opening).tokens);
        let rows =
            all.iter().map(|(opening, c, _)| (prompts[*opening].as_slice(), c.tokens.as_slice()));
        let under_base = SequenceBatch::new(rows, base.shape())?.log_probs(base);
        let under_base: f64 = under_base.iter().flatten().map(|l| f64::from(*l)).sum();
        let own = all.iter().flat_map(|(_, c, _)| &c.log_probs).map(|l| f64::from(*l));
        let entropies: Vec<f64> =
            all.iter().flat_map(|(_, c, _)| &c.entropies).map(|e| f64::from(*e)).collect();
        Ok(Self {
            reward: average,
            reward_spread: (square / scores.len() as f64).sqrt(),
            pleasantness: mean(&|text| stories.pleasantness(text)),
            said: mean(&times_said),
            repetition: mean(&repetition),
            entropy: entropies.iter().sum::<f64>() / entropies.len() as f64,
            kl: ((own.sum::<f64>() - under_base) / all.len() as f64).max(0.0),
            sample: format!("{} {}", OPENINGS[0], texts[0]),
        })
    }
}

#[cfg(test)]
mod tests {
    #[test]
    #[ignore = "real data"]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke_with("cascade-stories", &crate::testing::real_data());
    }
}
