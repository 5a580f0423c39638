//! `judgebench`: pairs of which one is objectively right, and the scores of five reward models (Tan
//! et al. 2025, arXiv 2410.12784).

use super::content::{Content, FINITE};
use super::table::Table;
use super::{Better, DataDir, DataError, objects};

/// The model that wrote the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Writer {
    /// gpt-4o-2024-05-13, 350 pairs.
    Gpt4o,
    /// claude-3-5-sonnet-20240620, 270 pairs.
    Claude35,
}

/// Two answers of which one is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerPair {
    /// Unique name.
    pub pair_id: String,
    /// The set that the question was taken from.
    pub source: String,
    /// The question.
    pub question: String,
    /// Answers A and B.
    pub responses: [String; 2],
    /// The right one.
    pub label: Better,
}

/// What one reward model gave to the answers of one pair.
#[derive(Debug, Clone, PartialEq)]
pub struct RewardModelScores {
    /// The pair's name, among the pairs of [`Writer::Gpt4o`].
    pub pair_id: String,
    /// The set that the question was taken from.
    pub source: String,
    /// The reward model.
    pub reward_model: String,
    /// Scores of A and B, finite, on the model's own scale.
    pub scores: [f64; 2],
    /// The right answer.
    pub label: Better,
    /// Characters of A and B.
    pub chars: [u32; 2],
}

const LABELS: [(&str, Better); 2] = [("A>B", Better::First), ("B>A", Better::Second)];

const SCORES: Table = Table {
    delimiter: b',',
    quoting: true,
    header: true,
    columns: &[
        "pair_id",
        "source",
        "reward_model",
        "score_A",
        "score_B",
        "label",
        "chars_A",
        "chars_B",
    ],
};

impl DataDir {
    /// The pairs of one writer in the set `judgebench`, in file order.
    ///
    /// # Errors
    /// As [`DataDir::read`]; [`DataError::Row`] for a row that is not as it should be.
    pub fn judgebench(&self, writer: Writer) -> Result<Vec<AnswerPair>, DataError> {
        let (file, model) = match writer {
            Writer::Gpt4o => ("pairs_gpt4o.jsonl.gz", "gpt-4o-2024-05-13"),
            Writer::Claude35 => ("pairs_claude35.jsonl.gz", "claude-3-5-sonnet-20240620"),
        };
        read_pairs(&mut self.open("judgebench", file)?, model)
    }

    /// The 1,750 scores of five reward models on the pairs of [`Writer::Gpt4o`], in file order.
    ///
    /// # Errors
    /// As [`DataDir::judgebench`].
    pub fn judgebench_scores(&self) -> Result<Vec<RewardModelScores>, DataError> {
        read_scores(&mut self.open("judgebench", "rm_scores_gpt4o.csv")?)
    }
}

fn read_pairs(content: &mut Content, model: &str) -> Result<Vec<AnswerPair>, DataError> {
    let fields = [
        "pair_id",
        "original_id",
        "source",
        "question",
        "response_model",
        "response_A",
        "response_B",
        "label",
    ];
    objects::lines(content, &fields, |row| {
        row.choice("response_model", &[(model, ())])?;
        Ok(AnswerPair {
            pair_id: row.text("pair_id")?,
            source: row.text("source")?,
            question: row.text("question")?,
            responses: [row.text("response_A")?, row.text("response_B")?],
            label: row.choice("label", &LABELS)?,
        })
    })
}

fn read_scores(content: &mut Content) -> Result<Vec<RewardModelScores>, DataError> {
    SCORES.read(content, |row| {
        Ok(RewardModelScores {
            pair_id: row.filled("pair_id")?,
            source: row.filled("source")?,
            reward_model: row.filled("reward_model")?,
            scores: [row.number("score_A", FINITE)?, row.number("score_B", FINITE)?],
            label: row.choice("label", &LABELS)?,
            chars: [row.whole("chars_A", 0..=u32::MAX)?, row.whole("chars_B", 0..=u32::MAX)?],
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::content::tests::synthetic;
    use crate::testing::{check_broken, real};

    const PAIRS_FILE: &str = include_str!("../fixtures/judgebench/pairs_gpt4o.jsonl");
    const SCORES_FILE: &str = include_str!("../fixtures/judgebench/rm_scores_gpt4o.csv");
    const MODEL: &str = "gpt-4o-2024-05-13";

    #[test]
    fn the_made_up_files_are_read_value_for_value() {
        let pair = |pair_id: &str, question: &str, responses: [&str; 2], label| AnswerPair {
            pair_id: pair_id.into(),
            source: "made-up".into(),
            question: question.into(),
            responses: responses.map(str::to_owned),
            label,
        };
        let expected = [
            pair("p-1", "1 + 1?", ["2", "3"], Better::First),
            pair("p-2", "2 + 2?", ["5\n", "4"], Better::Second),
        ];
        assert_eq!(read_pairs(&mut synthetic(PAIRS_FILE), MODEL).unwrap(), expected);

        let first = RewardModelScores {
            pair_id: "p-1".into(),
            source: "made-up".into(),
            reward_model: "small-rm".into(),
            scores: [-1.5, 2.0],
            label: Better::First,
            chars: [1, 1],
        };
        let second = RewardModelScores {
            pair_id: "p-2".into(),
            source: "made-up".into(),
            reward_model: "small, newer-rm".into(),
            scores: [0.001, -20.25],
            label: Better::Second,
            chars: [2, 1],
        };
        assert_eq!(read_scores(&mut synthetic(SCORES_FILE)).unwrap(), [first, second]);
    }

    #[test]
    fn a_broken_file_is_refused_or_read_as_far_as_it_is_right() {
        check_broken(PAIRS_FILE.as_bytes(), |content| read_pairs(content, MODEL));
        check_broken(SCORES_FILE.as_bytes(), read_scores);
    }

    #[test]
    fn a_malformed_pair_is_named_with_line_and_field() {
        let good = r#"{"pair_id": "p", "original_id": null, "source": "s", "question": "Q?", "response_model": "m", "response_A": "a", "response_B": "b", "label": "B>A"}"#;
        let error = |from: &str, to: &str| {
            let text = format!("{good}\n{}\n", good.replace(from, to));
            let error = read_pairs(&mut synthetic(&text), "m").unwrap_err().to_string();
            error.strip_prefix("set/file, line 2: ").unwrap().to_owned()
        };
        assert_eq!(error("B>A", "A=B"), "`label` is `A=B`: allowed is `A>B` or `B>A`");
        assert_eq!(error("\"m\"", "\"n\""), "`response_model` is `n`: allowed is `m`");
        assert!(error("\"Q?\"", "[]").starts_with("`question` is an array of 0"));
        assert!(error("original_id", "id").starts_with("missing field `original_id`"));
    }

    #[test]
    fn a_malformed_score_is_named_with_line_and_field() {
        let good = "p,s,rm,-1.5,2,A>B,10,20";
        let table = |rows: &str| synthetic(&format!("{}\n{rows}\n", SCORES.columns.join(",")));
        let error = |from: &str, to: &str| {
            let text = format!("{good}\n{}", good.replacen(from, to, 1));
            let error = read_scores(&mut table(&text)).unwrap_err().to_string();
            error.strip_prefix("set/file, line 3: ").unwrap().to_owned()
        };
        assert_eq!(error("-1.5", "nan"), "`score_A` is `nan`: allowed is a finite number");
        assert!(error(",2,", ",inf,").starts_with("`score_B` is `inf`"));
        assert!(error("A>B", "A").starts_with("`label` is `A`"));
        assert!(error(",20", ",-20").starts_with("`chars_B` is `-20`"));
        assert!(error("rm", "").starts_with("`reward_model` is empty"));
    }

    #[test]
    #[ignore = "real data"]
    fn the_real_scores_have_the_published_accuracies() {
        for (writer, count, first) in [(Writer::Gpt4o, 350, 193), (Writer::Claude35, 270, 143)] {
            let pairs = real(|data| data.judgebench(writer));
            let of = pairs.iter().filter(|pair| pair.label == Better::First).count();
            assert_eq!((pairs.len(), of), (count, first), "{writer:?}");
        }
        let scores = real(DataDir::judgebench_scores);
        assert_eq!(scores.len(), 1750);
        let pairs = real(|data| data.judgebench(Writer::Gpt4o));
        let labels: HashMap<&str, Better> =
            pairs.iter().map(|pair| (pair.pair_id.as_str(), pair.label)).collect();
        assert!(scores.iter().all(|row| labels[row.pair_id.as_str()] == row.label));

        let larger = |first: bool| if first { Better::First } else { Better::Second };
        let right = |row: &&&RewardModelScores| larger(row.scores[0] > row.scores[1]) == row.label;
        let longer = |row: &&RewardModelScores| larger(row.chars[0] > row.chars[1]) == row.label;
        let of = |model: &str| -> Vec<&RewardModelScores> {
            scores.iter().filter(|row| row.reward_model == model).collect()
        };
        let share = |rows: &[&RewardModelScores]| {
            rows.iter().filter(right).count() as f64 / rows.len() as f64
        };
        let published = [
            ("GRM-Gemma-2B-rewardmodel-ft", 0.594),
            ("internlm2-7b-reward", 0.594),
            ("internlm2-20b-reward", 0.634),
            ("Skywork-Reward-Llama-3.1-8B", 0.623),
            ("Skywork-Reward-Gemma-2-27B", 0.643),
        ];
        for (model, accuracy) in published {
            let rows = of(model);
            assert_eq!(rows.len(), 350, "{model}");
            assert!((share(&rows) - accuracy).abs() < 5.1e-4, "{model}: {}", share(&rows));
        }
        let (when_longer, when_shorter): (Vec<_>, Vec<_>) =
            of("Skywork-Reward-Llama-3.1-8B").into_iter().partition(longer);
        assert!((share(&when_longer) - 0.553).abs() < 5.1e-4);
        assert!((share(&when_shorter) - 0.683).abs() < 5.1e-4);
    }
}
