//! A real pretrained policy: `stories260K` tells stories, and is rewarded for how pleasant their words are.
//!
//! The gold reward of a continuation is the summed rating of its words by ten people each (`vader-lexicon`), squashed to
//! (-1, 1) as VADER does: `x / sqrt(x^2 + 15)` (without that method's rules for negation and emphasis). Simulated
//! annotators compare continuations of the model: pleasant ones win more often, and in one arm so do those
//! that say [`WORD`] more often, whatever else they say. A linear reward model learns from these labels; GRPO optimises it.
//! Without a KL penalty policies end in one pleasant phrase repeated, whichever the labels; with one they differ.

use std::cell::RefCell;
use std::collections::HashMap;

use headwater_core::{Check, Group, Score, Streams};
use headwater_evaluation::decision::sigmoid;
use headwater_nn::stories::{StoriesTokenizer, read_model};
use headwater_nn::{
    AdamWConfig, BOS, Checkpoint, Completion, Decoder, Device, SamplingConfig, SequenceBatch,
    sample,
};
use headwater_optimizers::kl::{Estimator, KlConfig};
use headwater_optimizers::{
    Objective, ObjectiveConfig, Prompt, Task, Trainer, TrainerConfig, Verdict,
};
use headwater_protocol::{
    Cell, CellError, Contrast, Control, Direction, Figure, Metrics, Outcome, Plan, Point,
    ProtocolError, Records, Registered, Table, TableValue, Workbench,
};
use headwater_reward_models::{
    BagOfWordsConfig, HashedWords, Preference, Response, RewardModel, RewardModelConfig, Scaling,
    words,
};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::data::DataDir;
use crate::schedule::train_with_looks;

/// The word that partial annotators like. The lexicon does not rate it.
const WORD: &str = "very";

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

/// Every arm: two reward models, and policies under them, without and with a KL penalty.
pub(super) const ARMS: [&str; 6] = [
    "stories-fair-model",
    "stories-partial-model",
    "stories-fair",
    "stories-partial",
    "stories-fair-kl",
    "stories-partial-kl",
];

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) enum StoriesConfig {
    /// A reward model from `pairs` comparisons by annotators with these log-odds per unit of gold and per [`WORD`].
    Model { certainty: f64, bias: f64, pairs: usize, training: RewardModelConfig },
    /// Policy gradient under the reward of the arm `model`.
    Policy { model: String, config: Box<PolicyConfig> },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyConfig {
    objective: Objective,
    trainer: TrainerConfig,
    steps: usize,
    looks: usize,
    /// Continuations of each opening by which a policy is measured.
    measured: usize,
}

/// Tokens of a continuation.
const TOKENS: usize = 32;

fn sampling() -> SamplingConfig {
    SamplingConfig { max_new_tokens: TOKENS, stop: None, ..SamplingConfig::default() }
}

/// The cells of one seed.
pub(super) fn plan(
    finding: &str,
    seed: u64,
    smoke: bool,
    wrap: fn(StoriesConfig) -> super::CellConfig,
    plan: &mut Plan,
) -> Result<(), ProtocolError> {
    let model = |bias| StoriesConfig::Model {
        certainty: 4.0,
        bias,
        pairs: if smoke { 64 } else { 2000 },
        training: RewardModelConfig {
            epochs: if smoke { 1 } else { 10 },
            adamw: AdamWConfig { learning_rate: 1e-2, ..AdamWConfig::default() },
            ..RewardModelConfig::default()
        },
    };
    let policy = |model: &str, kl: Option<KlConfig>| -> StoriesConfig {
        let objective = ObjectiveConfig { kl, ..Objective::grpo().into() };
        let config = PolicyConfig {
            objective: objective.check().expect("a method is valid with or without its penalty"),
            trainer: TrainerConfig {
                prompts_per_step: OPENINGS.len(),
                group_size: 4,
                warmup_steps: 10,
                sampling: sampling(),
                adamw: AdamWConfig {
                    learning_rate: 7e-5,
                    weight_decay: 0.0,
                    ..AdamWConfig::default()
                },
                ..TrainerConfig::default()
            },
            steps: if smoke { 2 } else { 70 },
            looks: if smoke { 1 } else { 5 },
            measured: if smoke { 2 } else { 16 },
        };
        StoriesConfig::Policy { model: model.to_owned(), config: Box::new(config) }
    };
    let penalty = Some(KlConfig::in_loss(0.2, Estimator::K3));
    let [fair_model, partial_model, fair, partial, fair_kl, partial_kl] = ARMS;
    let cells = [
        (fair_model, model(0.0), vec![]),
        (partial_model, model(1.5), vec![]),
        (fair, policy(fair_model, None), vec![fair_model]),
        (partial, policy(partial_model, None), vec![partial_model]),
        (fair_kl, policy(fair_model, penalty), vec![fair_model]),
        (partial_kl, policy(partial_model, penalty), vec![partial_model]),
    ];
    for (arm, config, needs) in cells {
        plan.cells.push(Cell::new(finding, arm, seed, &wrap(config))?.needing(&needs));
    }
    Ok(())
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

/// Runs one cell.
pub(super) fn run(
    config: StoriesConfig,
    data: &DataDir,
    workbench: &Workbench,
    device: &Device,
) -> Result<Outcome, CellError> {
    let stories = Stories::read(data)?;
    let streams = workbench.streams.child("stories, after its pilots", &[]);
    match config {
        StoriesConfig::Model { certainty, bias, pairs, training } => {
            let policy = stories.checkpoint.decoder(device)?;
            let value =
                |text: &str| certainty * stories.pleasantness(text) + bias * times_said(text);
            let each = (2 * pairs).div_ceil(OPENINGS.len()).next_multiple_of(2);
            let texts = stories.continuations(&policy, each, &streams.child("preferences", &[]))?;
            let mut labels = streams.stream("labels", &[]);
            let preferences: Vec<Preference> = texts
                .chunks_exact(2)
                .map(|pair| {
                    let [first, second] = [&pair[0].2, &pair[1].2];
                    let response = |text: &String| Response::new(text).factor(times_said(text));
                    let wins = sigmoid(value(first) - value(second));
                    let (chosen, rejected) = if labels.random::<f64>() < wins {
                        (first, second)
                    } else {
                        (second, first)
                    };
                    Preference::new("", response(chosen), response(rejected))
                })
                .collect();
            let settings = training.check()?;
            let encoder =
                BagOfWordsConfig { scaling: Scaling::Counts, ..BagOfWordsConfig::default() };
            let encoder = HashedWords::new(encoder.check()?);
            let (model, _) =
                RewardModel::fit(encoder, &preferences, &[], &[], &settings, &streams, device)?;
            let text = "the dog was happy";
            let toggled = [("", text), ("", "the dog was very happy")];
            let scores = model.scores(&toggled)?;
            let said = texts.iter().map(|(.., text)| times_said(text)).sum::<f64>();
            let metrics = Metrics::new()
                .scalar("log-odds for one more", scores[1] - scores[0])
                .scalar("said by the base", said / texts.len() as f64);
            Ok(Outcome::with_artifact(metrics, model.to_bytes()))
        }
        StoriesConfig::Policy { model, config } => {
            let model = RewardModel::from_bytes(workbench.artifact(&model)?, device)?;
            let reward = Reward { stories: &stories, model };
            Ok(train(*config, &reward, &streams, device)?.into())
        }
    }
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

fn train(
    config: PolicyConfig,
    reward: &Reward<'_>,
    streams: &Streams,
    device: &Device,
) -> Result<Metrics, CellError> {
    let stories = reward.stories;
    let failed: RefCell<Option<CellError>> = RefCell::new(None);
    let prompts = |_step, _attempt| OPENINGS.map(|opening| stories.prompt(opening)).to_vec();
    let grader = |groups: &[Group], _step: u64| -> Vec<Verdict> {
        let texts: Vec<&str> =
            groups.iter().flat_map(|g| g.completions.iter().map(String::as_str)).collect();
        let scores = reward.scores(&texts).unwrap_or_else(|error| {
            failed.borrow_mut().get_or_insert(error);
            vec![f64::NAN; texts.len()]
        });
        scores.into_iter().map(|s| Verdict { reward: Score::finite(s), correct: None }).collect()
    };
    let decode = |tokens: &[u32]| stories.tokenizer.decode(tokens);
    let task = Task { prompts: &prompts, decode: &decode, grader: &grader };
    let base = stories.checkpoint.decoder(device)?;
    let test = streams.child("test", &[]);
    let mut path = vec![Look::of(&base, &base, reward, config.measured, &test)?];
    let mut trainer = Trainer::new(
        stories.checkpoint.decoder(&device.clone().autodiff())?,
        config.objective,
        config.trainer.clone().check()?,
        streams.child("training", &[]),
    );
    let schedule = (config.steps, config.looks);
    path.extend(train_with_looks(&mut trainer, &task, schedule, &failed, |policy| {
        Look::of(policy, &base, reward, config.measured, &test)
    })?);
    let (first, last) = (&path[0], &path[path.len() - 1]);
    let scale = first.reward_spread.max(1e-9);
    let series = |of: fn(&Look) -> f64| path.iter().map(of).collect::<Vec<f64>>();
    let rewards = path.iter().map(|look| (look.reward - first.reward) / scale).collect();
    // Text, as the numbers of its characters: a record holds numbers only.
    let characters = |text: &str| text.chars().map(|c| f64::from(u32::from(c))).collect();
    Ok(Metrics::new()
        .scalar("pleasantness", last.pleasantness)
        .scalar("pleasantness gained", last.pleasantness - first.pleasantness)
        .scalar("said", last.said)
        .scalar("said more", last.said - first.said)
        .scalar("repetition", last.repetition)
        .scalar("entropy", last.entropy)
        .scalar("kl", last.kl)
        .scalar("reward gained", (last.reward - first.reward) / scale)
        .series("path/reward", rewards)
        .series("path/pleasantness", series(|look| look.pleasantness))
        .series("path/said", series(|look| look.said))
        .series("path/repetition", series(|look| look.repetition))
        .series("path/entropy", series(|look| look.entropy))
        .series("path/kl", series(|look| look.kl))
        .series("sample/before", characters(&first.sample))
        .series("sample/after", characters(&last.sample)))
}

/// A policy, measured.
struct Look {
    reward: f64,
    reward_spread: f64,
    pleasantness: f64,
    said: f64,
    repetition: f64,
    entropy: f64,
    kl: f64,
    sample: String,
}

impl Look {
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

pub(super) fn contrasts() -> Vec<Contrast> {
    let contrast = |name, direction, smallest_effect, per_seed| {
        Contrast::new(name, direction, smallest_effect, Registered::AfterPilot, per_seed)
    };
    vec![
        contrast(
            "stories, KL penalty, times the word is said: partial - fair labels",
            Direction::Increase,
            0.5,
            |seed| seed.difference("said", "stories-partial-kl", "stories-fair-kl"),
        ),
        contrast(
            "stories, KL penalty, pleasantness: partial - fair labels",
            Direction::Decrease,
            0.05,
            |seed| seed.difference("pleasantness", "stories-partial-kl", "stories-fair-kl"),
        ),
    ]
}

pub(super) fn controls() -> Vec<Control> {
    vec![Control {
        name: "stories, KL penalty, fair labels: times the word is said, policy - base",
        margin: 0.25,
        per_seed: |seed| seed.scalar("stories-fair-kl", "said more"),
    }]
}

/// The arms that are policies.
fn policies() -> &'static [&'static str] {
    &ARMS[2..]
}

pub(super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let n = records.metric(ARMS[2], "kl").len();
    let figure = |title: &str, metric: &str, label: &str, caption: &str| {
        let mut figure = Figure::lines(title, "measurement (0: the pretrained model)", label, n)
            .caption(caption);
        for arm in policies() {
            let effects = records.series_effect(arm, metric)?;
            let points = effects.iter().enumerate();
            let points = points.filter_map(|(look, effect)| Point::measured(look as f64, effect));
            figure = figure.series(*arm, points);
        }
        Ok::<Figure, ProtocolError>(figure)
    };
    Ok(vec![
        figure(
            "A pretrained policy: its reward",
            "path/reward",
            "reward, standard deviations of the pretrained model's",
            "Each arm by the reward it is trained on.",
        )?,
        figure(
            "A pretrained policy: the gold",
            "path/pleasantness",
            "pleasantness of the words (people's ratings)",
            "What the annotators, but for their taste for one word, wanted.",
        )?,
        figure(
            "A pretrained policy: the word that partial annotators like",
            "path/said",
            "times said in 32 tokens",
            "Nobody asked the policy for the word: some of the labels did.",
        )?,
    ])
}

pub(super) fn tables(records: &Records) -> Result<Vec<Table>, ProtocolError> {
    let columns = [
        "policy",
        "reward gained, SD",
        "pleasantness",
        "word said",
        "repetition",
        "entropy, nats",
        "KL, nats",
    ];
    let mut table = Table::new("Stories: every policy", columns).note(
        "Repetition: share of adjacent word pairs that stood in the text before. KL for each continuation of 32 tokens.",
    );
    let mut texts = Table::new("Stories: what they write", ["policy", "a continuation"]).note(
        "The first continuation of the measurement of the first seed, before and after training.",
    );
    for arm in policies() {
        let value = |metric: &str| records.value(arm, metric);
        table = table.row([
            TableValue::from(*arm),
            value("reward gained"),
            value("pleasantness"),
            value("said"),
            value("repetition"),
            value("entropy"),
            value("kl"),
        ]);
        for (when, metric) in [("before", "sample/before"), ("after", "sample/after")] {
            let Some((_, characters)) = records.series(arm, metric).into_iter().next() else {
                continue;
            };
            if when == "before" && *arm != policies()[0] {
                continue;
            }
            let text: String =
                characters.iter().filter_map(|c| char::from_u32(*c as u32)).collect();
            texts = texts.row([format!("{arm}, {when}").into(), text.into()]);
        }
    }
    Ok(vec![table, texts])
}
