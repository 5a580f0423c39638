//! Experiment `causal-rewards-recorded`: judges and reward models that others have run, through the
//! probes that the trained rewards go through.
//!
//! One cell without anything random: the verdicts of six language models on `llmbar` in both
//! orders, the scores of five public reward models on `judgebench`, and what the judge of
//! AlpacaEval 2 said of 58 models, with the lengths of their answers. Intervals are over items
//! (pairs, instructions) and not over seeds. No contrast rests on it.

use std::collections::{BTreeMap, HashMap};

use headwater_evaluation::baselines::{accuracy_above_factor, spearman};
use headwater_evaluation::bias::{
    Answer, BothOrders, Judgement, PositionVerdict, ScoredPair, accuracy_by_factor,
    length_controlled_win_rates, position_bias,
};
use headwater_protocol::{
    Arm, Cell, CellContext, CellError, CellOutcome, Estimate, Experiment, Metric, Metrics, Plan,
    Preset, ProtocolError, Scalar, Settings, metrics,
};
use headwater_reward_models::words;
use serde::{Deserialize, Serialize};

use super::causal;
use headwater_data::llmbar::{Judge, Prompting, Subset, Verdict};
use headwater_data::{Better, DataDir};

/// The experiment; it reads three data sets.
#[derive(Debug, Clone)]
pub struct CausalRewardsRecorded {
    /// Where the data lies.
    pub data: DataDir,
}

/// The only arm.
pub const RECORDED: Arm = Arm::new("recorded");

/// What decides the cell's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordedConfig {
    /// Of AlpacaEval the judgements of every so many instructions are read: 1 for all.
    every: u32,
}

/// The judges, by name.
pub const JUDGES: [(&str, Judge); 6] = [
    ("GPT-4", Judge::Gpt4),
    ("PaLM 2", Judge::Palm2),
    ("ChatGPT", Judge::ChatGpt),
    ("ChatGPT of March 2023", Judge::ChatGpt0301),
    ("LLaMA 2", Judge::Llama2),
    ("Falcon", Judge::Falcon),
];

/// Pairs by how they were made: from people's preferences, or so that the worse output looks
/// better.
pub const KINDS: [&str; 2] = ["natural", "adversarial"];

/// The reward models.
pub const REWARD_MODELS: [&str; 5] = [
    "GRM-Gemma-2B-rewardmodel-ft",
    "internlm2-7b-reward",
    "internlm2-20b-reward",
    "Skywork-Reward-Llama-3.1-8B",
    "Skywork-Reward-Gemma-2-27B",
];

/// Models of AlpacaEval whose answers are to be long or short, and two that were made to please the
/// judge.
pub const MODELS: [&str; 8] = [
    "gpt-3.5-turbo-1106_concise",
    "gpt-3.5-turbo-1106",
    "gpt-3.5-turbo-1106_verbose",
    "alpaca-7b_concise",
    "alpaca-7b",
    "alpaca-7b_verbose",
    "gpt4_gamed",
    "NullModel",
];

/// What is measured of a judge or a reward model: the end of the metric's name, and its label.
pub type What = (&'static str, &'static str);

const ACCURACY: What = ("accuracy", "accuracy");
const LONGER: What = ("longer", "right one is longer");
const SHORTER: What = ("shorter", "right one is shorter");
const GAP: What = ("gap", "gap");
const ABOVE: What = ("above", "accuracy less that of picking the longer");
const CONSISTENCY: What = ("consistency", "the same in both orders");
const FIRST: What = ("first", "prefers the first");

/// What is measured of a reward model.
pub const OF_MODELS: [What; 5] = [ACCURACY, LONGER, SHORTER, GAP, ABOVE];
/// What is measured of a judge.
pub const OF_JUDGES: [What; 7] = [ACCURACY, LONGER, SHORTER, GAP, ABOVE, CONSISTENCY, FIRST];

/// What is measured of a judge on pairs of a kind.
#[must_use]
pub fn of_judge(judge: &str, kind: &str, (what, label): What) -> Estimate {
    Estimate::from(format!("llmbar/{judge}/{kind}/{what}")).shown_as(label)
}

/// What is measured of a reward model.
#[must_use]
pub fn of_reward_model(model: &str, (what, label): What) -> Estimate {
    Estimate::from(format!("judgebench/{model}/{what}")).shown_as(label)
}

/// Log-odds that the judge of AlpacaEval gives to an answer that is much longer.
pub const PHI: Estimate = Estimate::labelled("alpaca-eval/phi", "φ");

/// Mean characters of a model's answers.
#[must_use]
pub fn characters(model: &str) -> Scalar {
    Scalar::from(format!("alpaca-eval/{model}/chars"))
}

/// Win rate of a model.
#[must_use]
pub fn win_rate(model: &str) -> Estimate {
    Estimate::from(format!("alpaca-eval/{model}/raw"))
}

/// Win rate of a model at the reference's length.
#[must_use]
pub fn controlled_win_rate(model: &str) -> Estimate {
    Estimate::from(format!("alpaca-eval/{model}/controlled"))
}

/// Rank correlation of length with published win rates.
pub const SPEARMAN_RAW: Scalar =
    Scalar::labelled("alpaca-eval/spearman, raw", "rank correlation with win rate");
/// The same with published win rates at equal length.
pub const SPEARMAN_CONTROLLED: Scalar = Scalar::labelled(
    "alpaca-eval/spearman, controlled",
    "rank correlation with win rate at equal length",
);

impl Experiment for CausalRewardsRecorded {
    fn id(&self) -> &'static str {
        "causal-rewards-recorded"
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = metrics![PHI, SPEARMAN_RAW, SPEARMAN_CONTROLLED];
        for (judge, _) in JUDGES {
            for kind in KINDS {
                metrics.extend(OF_JUDGES.map(|what| of_judge(judge, kind, what).into()));
            }
        }
        for model in REWARD_MODELS {
            metrics.extend(OF_MODELS.map(|what| of_reward_model(model, what).into()));
        }
        for model in MODELS {
            let rates = metrics![characters(model), win_rate(model), controlled_win_rate(model)];
            metrics.extend(rates);
        }
        metrics
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let every = if settings.preset == Preset::Smoke { 5 } else { 1 };
        let arms = vec![(RECORDED, RecordedConfig { every })];
        let sets = |_: &RecordedConfig| &["llmbar", "judgebench", "alpaca-eval-meta"][..];
        // What was recorded is the same at every seed.
        causal::plan(arms, sets, &self.data, &Settings { seeds: Some(1), ..*settings })
    }

    fn run(&self, cell: &Cell, _: &CellContext) -> Result<CellOutcome, CellError> {
        let RecordedConfig { every } = cell.config()?;
        let metrics = judges(Metrics::new(), &self.data)?;
        let metrics = reward_models(metrics, &self.data)?;
        Ok(alpaca_eval(metrics, every, &self.data)?.into())
    }
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
                // The verdicts where the better output was shown first and where it was shown
                // second.
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
            let named = |what: What| of_judge(name, kind, what);
            metrics = metrics
                .estimate(&named(ACCURACY), &bias.averaged_accuracy)
                .estimate(&named(CONSISTENCY), &bias.consistency)
                .estimate(&named(FIRST), &bias.first_preference);
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

/// Accuracy by which answer is longer, the gap between the two, and what accuracy there is above
/// picking by length.
fn by_length(
    mut metrics: Metrics,
    scored: &[ScoredPair],
    named: &dyn Fn(What) -> Estimate,
) -> Result<Metrics, CellError> {
    let sides = accuracy_by_factor(scored, 0.95)?;
    let above = accuracy_above_factor(scored, 0.95)?;
    let cells = [(LONGER, sides.chosen.accuracy), (SHORTER, sides.rejected.accuracy)];
    for (name, interval) in cells.into_iter().chain([(GAP, sides.gap)]) {
        let interval = interval.ok_or("one side is longer in every pair")?;
        metrics = metrics.estimate(&named(name), &interval);
    }
    Ok(metrics.estimate(&named(ABOVE), &above.above_more))
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
        let named = |what: What| of_reward_model(name, what);
        let above = accuracy_above_factor(&scored, 0.95)?;
        metrics = metrics.estimate(&named(ACCURACY), &above.model);
        metrics = by_length(metrics, &scored, &named)?;
    }
    Ok(metrics)
}

fn alpaca_eval(mut metrics: Metrics, every: u32, data: &DataDir) -> Result<Metrics, CellError> {
    let mut pairs = data.alpaca_eval_pairs()?;
    pairs.retain(|pair| pair.instruction % every == 0);
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
    metrics = metrics.estimate(&PHI, &control.phi);
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
        metrics = metrics
            .scalar(&characters(name), own.iter().sum::<f64>() / own.len() as f64)
            .estimate(&win_rate(name), &model.raw)
            .estimate(&controlled_win_rate(name), &model.controlled);
    }
    let board = data.alpaca_eval_models()?;
    let lengths: Vec<f64> = board.iter().map(|model| f64::from(model.average_length)).collect();
    let raw: Vec<f64> = board.iter().map(|model| model.win_rate).collect();
    let controlled: Vec<f64> = board.iter().map(|model| model.length_controlled_win_rate).collect();
    Ok(metrics
        .scalar(&SPEARMAN_RAW, spearman(&lengths, &raw)?)
        .scalar(&SPEARMAN_CONTROLLED, spearman(&lengths, &controlled)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "real data"]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke_with("causal-rewards-recorded", &crate::testing::real_data());
    }

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
