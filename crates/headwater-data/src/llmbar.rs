//! `llmbar`: pairs of which one follows the instruction, and what six language models judged (Zeng
//! et al. 2024, arXiv 2310.07641).

use super::content::Content;
use super::table::Table;
use super::{Better, DataDir, DataError, objects};

/// How a pair was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subset {
    /// From human preferences, filtered for objectivity.
    Natural,
    /// Adversarial: the worse output answers a similar instruction.
    Neighbor,
    /// Adversarial: the worse output answers an instruction that a model wrote.
    GptInst,
    /// Adversarial: the worse output is a model's that was asked to deviate.
    GptOut,
    /// Adversarial: written by hand.
    Manual,
}

/// One pair of outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputPair {
    /// Unique name.
    pub id: String,
    /// How it was made.
    pub subset: Subset,
    /// The instruction.
    pub input: String,
    /// The outputs.
    pub outputs: [String; 2],
    /// The one that follows the instruction.
    pub label: Better,
}

/// The judging model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Judge {
    /// ChatGPT.
    ChatGpt,
    /// ChatGPT of March 2023.
    ChatGpt0301,
    /// Falcon.
    Falcon,
    /// GPT-4.
    Gpt4,
    /// LLaMA 2.
    Llama2,
    /// PaLM 2.
    Palm2,
}

/// What the judge was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Prompting {
    /// A verdict, with general rules of judging.
    Vanilla,
    /// A verdict.
    VanillaNoRules,
    /// An explanation, then a verdict, with rules.
    ChainOfThought,
    /// A score of each output, with rules.
    Rating,
    /// A score of each output.
    RatingNoRules,
}

/// What a judge said of a pair, in the pair's own numbering whatever the order in which it was
/// shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The pair's first output is better.
    First,
    /// The pair's second output is better.
    Second,
    /// Neither could be read from its answer.
    Unparsed,
}

impl From<Better> for Verdict {
    fn from(better: Better) -> Self {
        match better {
            Better::First => Self::First,
            Better::Second => Self::Second,
        }
    }
}

/// What one judge said of one pair, shown in both orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgeDecision {
    /// The pair's name.
    pub id: String,
    /// The judge.
    pub judge: Judge,
    /// What it was asked for.
    pub prompting: Prompting,
    /// The pair's label.
    pub gold: Better,
    /// Its verdict when the first output was shown first.
    pub in_order: Verdict,
    /// Its verdict when the second output was shown first.
    pub swapped: Verdict,
    /// Its scores of the pair's outputs, 0 to 10; only ratings have them, and not all of these.
    pub scores: [Option<u32>; 2],
}

const DECISIONS: Table = Table {
    delimiter: b',',
    quoting: true,
    header: true,
    columns: &[
        "id",
        "judge",
        "prompting",
        "gold",
        "winner_order_ab",
        "winner_order_ba",
        "score_1",
        "score_2",
    ],
};

impl DataDir {
    /// The 419 pairs of the set `llmbar`, in file order.
    ///
    /// # Errors
    /// As [`DataDir::read`]; [`DataError::Row`] for a row that is not as it should be.
    pub fn llmbar(&self) -> Result<Vec<OutputPair>, DataError> {
        read_pairs(&mut self.open("llmbar", "llmbar.jsonl.gz")?)
    }

    /// The 9,218 decisions on these pairs, in file order.
    ///
    /// # Errors
    /// As [`DataDir::llmbar`].
    pub fn llmbar_decisions(&self) -> Result<Vec<JudgeDecision>, DataError> {
        read_decisions(&mut self.open("llmbar", "judge_decisions.csv.gz")?)
    }
}

fn read_pairs(content: &mut Content) -> Result<Vec<OutputPair>, DataError> {
    let subsets = [
        ("Natural", Subset::Natural),
        ("Neighbor", Subset::Neighbor),
        ("GPTInst", Subset::GptInst),
        ("GPTOut", Subset::GptOut),
        ("Manual", Subset::Manual),
    ];
    let fields = ["id", "subset", "input", "output_1", "output_2", "label"];
    objects::lines(content, &fields, |row| {
        Ok(OutputPair {
            id: row.text("id")?,
            subset: row.choice("subset", &subsets)?,
            input: row.text("input")?,
            outputs: [row.text("output_1")?, row.text("output_2")?],
            label: match row.whole("label", 1..=2)? {
                1 => Better::First,
                _ => Better::Second,
            },
        })
    })
}

fn read_decisions(content: &mut Content) -> Result<Vec<JudgeDecision>, DataError> {
    let judges = [
        ("ChatGPT", Judge::ChatGpt),
        ("ChatGPT-0301", Judge::ChatGpt0301),
        ("Falcon", Judge::Falcon),
        ("GPT-4", Judge::Gpt4),
        ("LLaMA2", Judge::Llama2),
        ("PaLM2", Judge::Palm2),
    ];
    let promptings = [
        ("Vanilla", Prompting::Vanilla),
        ("Vanilla_NoRules", Prompting::VanillaNoRules),
        ("CoT", Prompting::ChainOfThought),
        ("Rating", Prompting::Rating),
        ("Rating_NoRules", Prompting::RatingNoRules),
    ];
    let verdicts = [("1", Verdict::First), ("2", Verdict::Second), ("", Verdict::Unparsed)];
    DECISIONS.read(content, |row| {
        let score = |column: &str| row.optional(column, |row, column| row.whole(column, 0..=10));
        Ok(JudgeDecision {
            id: row.filled("id")?,
            judge: row.choice("judge", &judges)?,
            prompting: row.choice("prompting", &promptings)?,
            gold: row.choice("gold", &[("1", Better::First), ("2", Better::Second)])?,
            in_order: row.choice("winner_order_ab", &verdicts)?,
            swapped: row.choice("winner_order_ba", &verdicts)?,
            scores: [score("score_1")?, score("score_2")?],
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::content::tests::synthetic;
    use crate::testing::{check_broken, real};

    const PAIRS_FILE: &str = include_str!("../fixtures/llmbar/llmbar.jsonl");
    const DECISIONS_FILE: &str = include_str!("../fixtures/llmbar/judge_decisions.csv");

    #[test]
    fn the_made_up_files_are_read_value_for_value() {
        use Better::{First, Second};
        let pair = |id: &str, subset, input: &str, outputs: [&str; 2], label| OutputPair {
            id: id.into(),
            subset,
            input: input.into(),
            outputs: outputs.map(str::to_owned),
            label,
        };
        let expected = [
            pair("N-0", Subset::Natural, "Sing.", ["La.", "No."], First),
            pair("B-0", Subset::Neighbor, "Count to 2.", ["1 2", "2 1"], First),
            pair("I-0", Subset::GptInst, "Say a.", ["b", "a"], Second),
            pair("O-0", Subset::GptOut, "Be brief.", ["", "Yes."], Second),
            pair("M-0", Subset::Manual, "Say é.", ["é", "e"], First),
        ];
        assert_eq!(read_pairs(&mut synthetic(PAIRS_FILE)).unwrap(), expected);

        let decision = |id: &str, judge, prompting, gold, [in_order, swapped]: [Verdict; 2]| {
            let id = id.to_owned();
            JudgeDecision { id, judge, prompting, gold, in_order, swapped, scores: [None; 2] }
        };
        let unparsed = Verdict::Unparsed;
        let [one, two] = [First, Second].map(Verdict::from);
        let mut expected = [
            decision("N-0", Judge::ChatGpt, Prompting::Vanilla, First, [one, two]),
            decision("N-0", Judge::ChatGpt0301, Prompting::VanillaNoRules, First, [one, one]),
            decision("I-0", Judge::Falcon, Prompting::ChainOfThought, Second, [unparsed, two]),
            decision("I-0", Judge::Llama2, Prompting::RatingNoRules, Second, [two, two]),
            decision("M-0", Judge::Palm2, Prompting::Vanilla, First, [two, unparsed]),
            decision("M-0", Judge::Gpt4, Prompting::Rating, First, [one, unparsed]),
        ];
        expected[3].scores = [Some(0), Some(10)];
        expected[5].scores = [Some(7), None];
        assert_eq!(read_decisions(&mut synthetic(DECISIONS_FILE)).unwrap(), expected);
    }

    #[test]
    fn a_broken_file_is_refused_or_read_as_far_as_it_is_right() {
        check_broken(PAIRS_FILE.as_bytes(), read_pairs);
        check_broken(DECISIONS_FILE.as_bytes(), read_decisions);
    }

    #[test]
    fn a_malformed_pair_is_named_with_line_and_field() {
        let good = r#"{"id": "M-0", "subset": "Manual", "input": "Do.", "output_1": "a", "output_2": "b", "label": 2}"#;
        let error = |from: &str, to: &str| {
            let text = format!("{good}\n{}\n", good.replace(from, to));
            let error = read_pairs(&mut synthetic(&text)).unwrap_err().to_string();
            error.strip_prefix("set/file, line 2: ").unwrap().to_owned()
        };
        assert!(error("Manual", "Base").starts_with("`subset` is `Base`: allowed is `Natural` or"));
        assert_eq!(error("2}", "3}"), "`label` is 3: allowed is a whole number in [1, 2]");
        assert!(error("\"a\"", "1").starts_with("`output_1` is 1"));
        assert!(error("input", "prompt").starts_with("missing field `input`"));
    }

    #[test]
    fn a_malformed_decision_is_named_with_line_and_field() {
        let good = "M-0,GPT-4,Rating,2,1,,7,";
        let table = |rows: &str| synthetic(&format!("{}\n{rows}\n", DECISIONS.columns.join(",")));
        let error = |bad: &str| {
            let text = format!("{good}\n{bad}");
            let error = read_decisions(&mut table(&text)).unwrap_err().to_string();
            error.strip_prefix("set/file, line 3: ").unwrap().to_owned()
        };
        assert!(error(",GPT-4,Rating,2,1,,7,").starts_with("`id` is empty"));
        assert!(error("M-0,GPT-5,Rating,2,1,,7,").starts_with("`judge` is `GPT-5`"));
        assert!(error("M-0,GPT-4,Swap,2,1,,7,").starts_with("`prompting` is `Swap`"));
        assert!(
            error("M-0,GPT-4,Rating,,1,,7,").starts_with("`gold` is ``: allowed is `1` or `2`")
        );
        assert!(error("M-0,GPT-4,Rating,2,3,,7,").starts_with("`winner_order_ab` is `3`"));
        assert!(error("M-0,GPT-4,Rating,2,1,a,7,").starts_with("`winner_order_ba` is `a`"));
        assert!(error("M-0,GPT-4,Rating,2,1,,11,").starts_with("`score_1` is `11`"));
        assert!(error("M-0,GPT-4,Rating,2,1,,7,x").starts_with("`score_2` is `x`"));
        assert!(error("M-0,GPT-4,Rating,2,1,,7").starts_with("it has 7 fields: allowed is 8"));
    }

    #[test]
    #[ignore = "real data"]
    fn the_real_decisions_have_the_published_accuracies() {
        let pairs = real(DataDir::llmbar);
        let subsets =
            [Subset::Natural, Subset::Neighbor, Subset::GptInst, Subset::GptOut, Subset::Manual];
        let of = |subset| pairs.iter().filter(|pair| pair.subset == subset).count();
        assert_eq!(subsets.map(of), [100, 134, 92, 47, 46]);
        let by_id: HashMap<&str, &OutputPair> =
            pairs.iter().map(|pair| (pair.id.as_str(), pair)).collect();
        assert_eq!(by_id.len(), 419);

        let decisions = real(DataDir::llmbar_decisions);
        assert_eq!(decisions.len(), 9218);
        assert!(
            decisions.iter().all(|decision| by_id[decision.id.as_str()].label == decision.gold)
        );
        let vanilla = |judge: Judge, natural: bool| -> Vec<&JudgeDecision> {
            let is = |decision: &&JudgeDecision| {
                let pair = by_id[decision.id.as_str()];
                decision.judge == judge
                    && decision.prompting == Prompting::Vanilla
                    && (pair.subset == Subset::Natural) == natural
            };
            decisions.iter().filter(is).collect()
        };
        // Over both orders, of the verdicts that could be read.
        let accuracy = |judge: Judge, natural: bool| {
            let rows = vanilla(judge, natural);
            let verdicts = rows.iter().flat_map(|d| [(d.gold, d.in_order), (d.gold, d.swapped)]);
            let read: Vec<(Better, Verdict)> =
                verdicts.filter(|(_, verdict)| *verdict != Verdict::Unparsed).collect();
            let right = read.iter().filter(|(gold, verdict)| *verdict == (*gold).into()).count();
            right as f64 / read.len() as f64
        };
        let published = [
            (Judge::Gpt4, 0.955, 0.810),
            (Judge::ChatGpt, 0.815, 0.270),
            (Judge::Llama2, 0.805, 0.329),
            (Judge::Palm2, 0.847, 0.661),
        ];
        for (judge, natural, adversarial) in published {
            assert!((accuracy(judge, true) - natural).abs() < 5.1e-4, "{judge:?}");
            assert!((accuracy(judge, false) - adversarial).abs() < 5.1e-4, "{judge:?}");
        }
        let published = [
            (Judge::Gpt4, 0.92),
            (Judge::ChatGpt, 0.64),
            (Judge::Llama2, 0.74),
            (Judge::Falcon, 0.38),
        ];
        for (judge, consistent) in published {
            let rows = vanilla(judge, false);
            let same = rows.iter().filter(|row| row.in_order == row.swapped).count();
            assert!((same as f64 / rows.len() as f64 - consistent).abs() < 5.1e-3, "{judge:?}");
        }
    }
}
