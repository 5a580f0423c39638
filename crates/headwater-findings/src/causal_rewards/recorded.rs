//! Judges and reward models that others have run, through the probes that the trained rewards go through.
//!
//! One cell without anything random: the verdicts of six language models on `llmbar` in both orders, the scores of five
//! public reward models on `judgebench`, and what the judge of AlpacaEval 2 said of 58 models, with the lengths of their
//! answers. Intervals are over items (pairs, instructions) and not over seeds. No contrast rests on it.

use std::collections::{BTreeMap, HashMap};

use headwater_evaluation::baselines::{accuracy_above_factor, spearman};
use headwater_evaluation::bias::{
    Answer, BothOrders, Judgement, PositionVerdict, ScoredPair, accuracy_by_factor,
    length_controlled_win_rates, position_bias,
};
use headwater_protocol::{CellError, Metrics, Records, Table, TableValue};
use headwater_reward_models::words;
use serde::{Deserialize, Serialize};

use crate::data::llmbar::{Judge, Prompting, Subset, Verdict};
use crate::data::{Better, DataDir};
use crate::recorded::{self, estimate};

/// The sets that this part reads.
pub(super) const SETS: &[&str] = &["llmbar", "judgebench", "alpaca-eval-meta"];

/// The only arm.
pub(super) const ARM: &str = "recorded";

/// What decides the cell's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordedConfig {
    /// Of AlpacaEval the judgements of every so many instructions are read: 1 for all.
    every: u32,
}

/// The arm with what decides its result.
pub(super) fn arms(smoke: bool) -> Vec<(String, RecordedConfig)> {
    vec![(ARM.to_owned(), RecordedConfig { every: if smoke { 5 } else { 1 } })]
}

const JUDGES: [(&str, Judge); 6] = [
    ("GPT-4", Judge::Gpt4),
    ("PaLM 2", Judge::Palm2),
    ("ChatGPT", Judge::ChatGpt),
    ("ChatGPT of March 2023", Judge::ChatGpt0301),
    ("LLaMA 2", Judge::Llama2),
    ("Falcon", Judge::Falcon),
];

/// Pairs by how they were made: from people's preferences, or so that the worse output looks better.
const KINDS: [&str; 2] = ["natural", "adversarial"];

const REWARD_MODELS: [&str; 5] = [
    "GRM-Gemma-2B-rewardmodel-ft",
    "internlm2-7b-reward",
    "internlm2-20b-reward",
    "Skywork-Reward-Llama-3.1-8B",
    "Skywork-Reward-Gemma-2-27B",
];

/// Models of AlpacaEval whose answers are to be long or short, and two that were made to please the judge.
const MODELS: [&str; 8] = [
    "gpt-3.5-turbo-1106_concise",
    "gpt-3.5-turbo-1106",
    "gpt-3.5-turbo-1106_verbose",
    "alpaca-7b_concise",
    "alpaca-7b",
    "alpaca-7b_verbose",
    "gpt4_gamed",
    "NullModel",
];

/// Reads what was recorded and puts it through the probes.
pub(super) fn run(config: &RecordedConfig, data: &DataDir) -> Result<Metrics, CellError> {
    let metrics = judges(Metrics::new(), data)?;
    let metrics = reward_models(metrics, data)?;
    alpaca_eval(metrics, config, data)
}

fn judges(mut metrics: Metrics, data: &DataDir) -> Result<Metrics, CellError> {
    let pairs = data.llmbar()?;
    let numbers: HashMap<&str, usize> =
        pairs.iter().enumerate().map(|(number, pair)| (pair.id.as_str(), number)).collect();
    let decisions = data.llmbar_decisions()?;
    for (name, judge) in JUDGES {
        for kind in KINDS {
            let mut orders = Vec::new();
            let mut scored = Vec::new();
            for decision in &decisions {
                if decision.judge != judge || decision.prompting != Prompting::Vanilla {
                    continue;
                }
                let number = numbers.get(decision.id.as_str());
                let &prompt = number.ok_or("llmbar: a decision on a pair that is not there")?;
                let pair = &pairs[prompt];
                if (pair.subset == Subset::Natural) != (kind == "natural") {
                    continue;
                }
                let (better, worse) = match pair.label {
                    Better::First => (0, 1),
                    Better::Second => (1, 0),
                };
                // The verdicts where the better output was shown first and where it was shown second.
                let (first, second) = match pair.label {
                    Better::First => (decision.in_order, decision.swapped),
                    Better::Second => (decision.swapped, decision.in_order),
                };
                let right = Verdict::from(pair.label);
                orders.push(BothOrders {
                    prompt,
                    better_first: position(first, right, PositionVerdict::First),
                    better_second: position(second, right, PositionVerdict::Second),
                });
                let votes = |wanted: bool| {
                    let named = [first, second].into_iter();
                    let named =
                        named.filter(|v| *v != Verdict::Unparsed && (*v == right) == wanted);
                    named.count() as f64
                };
                let length = |which: usize| words(&pair.outputs[which]).len() as f64;
                scored.push(ScoredPair {
                    prompt,
                    chosen: Answer { score: votes(true), factor: length(better) },
                    rejected: Answer { score: votes(false), factor: length(worse) },
                });
            }
            let bias = position_bias(&orders, 0.95)?;
            let named = |what: &str| format!("llmbar/{name}/{kind}/{what}");
            metrics = estimate(metrics, &named("accuracy"), &bias.averaged_accuracy);
            metrics = estimate(metrics, &named("consistency"), &bias.consistency);
            metrics = estimate(metrics, &named("first"), &bias.first_preference);
            metrics = by_length(metrics, &scored, &named)?;
        }
    }
    Ok(metrics)
}

/// The position that a verdict names, if the right output was shown in the position `of_right`.
fn position(verdict: Verdict, right: Verdict, of_right: PositionVerdict) -> PositionVerdict {
    match (verdict, of_right) {
        (Verdict::Unparsed, _) => PositionVerdict::Unparsed,
        (verdict, of_right) if verdict == right => of_right,
        (_, PositionVerdict::First) => PositionVerdict::Second,
        (_, _) => PositionVerdict::First,
    }
}

/// Accuracy by which answer is longer, the gap between the two, and what accuracy there is above picking by length.
fn by_length(
    mut metrics: Metrics,
    scored: &[ScoredPair],
    named: &dyn Fn(&str) -> String,
) -> Result<Metrics, CellError> {
    let sides = accuracy_by_factor(scored, 0.95)?;
    let above = accuracy_above_factor(scored, 0.95)?;
    let cells = [("longer", sides.chosen.accuracy), ("shorter", sides.rejected.accuracy)];
    for (name, interval) in cells.into_iter().chain([("gap", sides.gap)]) {
        let interval = interval.ok_or("one side is longer in every pair")?;
        metrics = estimate(metrics, &named(name), &interval);
    }
    Ok(estimate(metrics, &named("above"), &above.above_more))
}

fn reward_models(mut metrics: Metrics, data: &DataDir) -> Result<Metrics, CellError> {
    let scores = data.judgebench_scores()?;
    for name in REWARD_MODELS {
        let rows = scores.iter().filter(|row| row.reward_model == name);
        let scored: Vec<ScoredPair> = rows
            .enumerate()
            .map(|(prompt, row)| {
                let [a, b] = [0, 1].map(|which: usize| Answer {
                    score: row.scores[which],
                    factor: f64::from(row.chars[which]),
                });
                let (chosen, rejected) = match row.label {
                    Better::First => (a, b),
                    Better::Second => (b, a),
                };
                ScoredPair { prompt, chosen, rejected }
            })
            .collect();
        let named = |what: &str| format!("judgebench/{name}/{what}");
        metrics =
            estimate(metrics, &named("accuracy"), &accuracy_above_factor(&scored, 0.95)?.model);
        metrics = by_length(metrics, &scored, &named)?;
    }
    Ok(metrics)
}

fn alpaca_eval(
    mut metrics: Metrics,
    config: &RecordedConfig,
    data: &DataDir,
) -> Result<Metrics, CellError> {
    let mut pairs = data.alpaca_eval_pairs()?;
    pairs.retain(|pair| pair.instruction % config.every == 0);
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for pair in &pairs {
        let next = numbers.len();
        numbers.entry(&pair.model).or_insert(next);
    }
    let judgements: Vec<Judgement> = pairs
        .iter()
        .map(|pair| Judgement {
            instruction: pair.instruction as usize,
            model: numbers[pair.model.as_str()],
            preference: pair.model_preferred,
            length_difference: f64::from(pair.chars_model) - f64::from(pair.chars_reference),
        })
        .collect();
    let control = length_controlled_win_rates(&judgements, None, 0.95)?;
    if !control.is_identified() {
        let ridge = control.ridge;
        return Err(format!("alpaca-eval-meta: the ridge's share in φ is {ridge:.2}").into());
    }
    metrics = estimate(metrics, "alpaca-eval/phi", &control.phi);
    for name in MODELS {
        let number = numbers.get(name).ok_or("alpaca-eval-meta: a model is not there")?;
        let model = control.models.iter().find(|model| model.model == *number);
        let model = model.ok_or("every model has a win rate")?;
        if !model.is_identified() {
            let ridge = model.ridge;
            let text = format!("the ridge's share in the win rate of {name} is {ridge:.2}");
            return Err(format!("alpaca-eval-meta: {text}").into());
        }
        let own: Vec<f64> = pairs
            .iter()
            .filter(|pair| pair.model == name)
            .map(|pair| f64::from(pair.chars_model))
            .collect();
        let named = |what: &str| format!("alpaca-eval/{name}/{what}");
        metrics = metrics.scalar(named("chars"), own.iter().sum::<f64>() / own.len() as f64);
        metrics = estimate(metrics, &named("raw"), &model.raw);
        metrics = estimate(metrics, &named("controlled"), &model.controlled);
    }
    let board = data.alpaca_eval_models()?;
    let lengths: Vec<f64> = board.iter().map(|model| f64::from(model.average_length)).collect();
    let raw: Vec<f64> = board.iter().map(|model| model.win_rate).collect();
    let controlled: Vec<f64> = board.iter().map(|model| model.length_controlled_win_rate).collect();
    Ok(metrics
        .scalar("alpaca-eval/spearman, raw", spearman(&lengths, &raw)?)
        .scalar("alpaca-eval/spearman, controlled", spearman(&lengths, &controlled)?))
}

fn value(records: &Records, name: &str) -> TableValue {
    recorded::value(records, ARM, name)
}

fn number(records: &Records, name: &str, decimals: usize) -> TableValue {
    recorded::number(records, ARM, name, decimals)
}

pub(super) fn tables(records: &Records) -> Vec<Table> {
    let by_length = [
        ("accuracy", "accuracy"),
        ("right one is longer", "longer"),
        ("right one is shorter", "shorter"),
        ("gap", "gap"),
        ("accuracy less that of picking the longer", "above"),
    ];
    let orders = [("the same in both orders", "consistency"), ("prefers the first", "first")];
    let columns = ["judge", "pairs"].into_iter();
    let columns = columns.chain(by_length.iter().chain(&orders).map(|(name, _)| *name));
    let mut judges = Table::new("Recorded judges (LLMBar)", columns).note(
        "Language models asked which of two outputs follows the instruction, in both orders; accuracy is of the two verdicts \
         together. Adversarial: the worse output looks better. Intervals are over pairs.",
    );
    for (name, _) in JUDGES {
        for kind in KINDS {
            let mut row = vec![TableValue::from(name), TableValue::from(kind)];
            let metrics = by_length.iter().chain(&orders);
            row.extend(
                metrics.map(|(_, what)| value(records, &format!("llmbar/{name}/{kind}/{what}"))),
            );
            judges = judges.row(row);
        }
    }
    let columns = ["reward model"].into_iter().chain(by_length.map(|(name, _)| name));
    let mut models = Table::new("Recorded reward models (JudgeBench)", columns).note(
        "Public reward models on pairs of answers of which one is objectively right. Intervals are over pairs.",
    );
    for name in REWARD_MODELS {
        let mut row = vec![TableValue::from(name)];
        row.extend(by_length.map(|(_, what)| value(records, &format!("judgebench/{name}/{what}"))));
        models = models.row(row);
    }
    let columns = ["model", "characters", "win rate", "win rate at equal length"];
    let mut alpaca = Table::new("A recorded judge and length (AlpacaEval 2)", columns).note(
        "Preference of GPT-4 Turbo over the reference's answers, and the same predicted for answers of the reference's length. \
         Intervals are over instructions.",
    );
    for name in MODELS {
        let named = |what: &str| format!("alpaca-eval/{name}/{what}");
        let characters = number(records, &named("chars"), 0);
        let [raw, controlled] = ["raw", "controlled"].map(|what| value(records, &named(what)));
        alpaca = alpaca.row([name.into(), characters, raw, controlled]);
    }
    let columns = ["what length is worth", "value"];
    let mut length = Table::new("What length is worth to it", columns).note(
        "φ: log-odds that the judge gives to an answer that is much longer. Correlations: of the mean length of 223 models with \
         their published win rates.",
    );
    length = length.row(["φ".into(), value(records, "alpaca-eval/phi")]);
    for (name, metric) in [
        ("rank correlation with win rate", "alpaca-eval/spearman, raw"),
        ("rank correlation with win rate at equal length", "alpaca-eval/spearman, controlled"),
    ] {
        length = length.row([name.into(), number(records, metric, 2)]);
    }
    vec![judges, models, alpaca, length]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_names_a_position_by_where_the_better_output_was_shown() {
        use PositionVerdict::{First as InFirst, Second as InSecond};
        for right in [Verdict::First, Verdict::Second] {
            let wrong = if right == Verdict::First { Verdict::Second } else { Verdict::First };
            assert_eq!(position(right, right, InFirst), InFirst);
            assert_eq!(position(right, right, InSecond), InSecond);
            assert_eq!(position(wrong, right, InFirst), InSecond);
            assert_eq!(position(wrong, right, InSecond), InFirst);
            assert_eq!(position(Verdict::Unparsed, right, InFirst), PositionVerdict::Unparsed);
        }
    }
}
