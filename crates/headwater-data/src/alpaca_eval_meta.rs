//! `alpaca-eval-meta`: win rates, lengths and judge biases of AlpacaEval 2, numbers only (Dubois et
//! al. 2024, arXiv 2404.04475).

use super::content::Content;
use super::table::Table;
use super::{DataDir, DataError};

/// One answer against the reference's answer to the same instruction, as the weighted GPT-4 Turbo
/// judge sees them.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgedPair {
    /// The model that answers.
    pub model: String,
    /// Index of the instruction, 0 to 804.
    pub instruction: u32,
    /// Characters of the reference's answer (`gpt4_1106_preview`).
    pub chars_reference: u32,
    /// Characters of the model's answer.
    pub chars_model: u32,
    /// List items in the reference's answer.
    pub list_items_reference: u32,
    /// List items in the model's answer.
    pub list_items_model: u32,
    /// Bold passages in the model's answer.
    pub bold_model: u32,
    /// Headers in the model's answer.
    pub headers_model: u32,
    /// Probability that the judge prefers the model's answer, in [0, 1].
    pub model_preferred: f64,
}

/// A model on the leaderboard.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaderboardModel {
    /// Its name, unique.
    pub model: String,
    /// Mean preference over the reference, in percent.
    pub win_rate: f64,
    /// Mean characters of its answers.
    pub average_length: u32,
    /// The win rate that is predicted for answers as long as the reference's, in percent.
    pub length_controlled_win_rate: f64,
}

/// A judge, measured against people on the set of human annotations.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaderboardEvaluator {
    /// Its name, unique. `humans` and `longest` are among them.
    pub evaluator: String,
    /// How often it agrees with what most people prefer, in percent.
    pub human_agreement: f64,
    /// How often its most frequent judgement is not that of most people, in percent.
    pub bias: Option<f64>,
    /// How often it disagrees with itself, in percent.
    pub variance: Option<f64>,
    /// Probability that it prefers the longer answer, in [0, 1].
    pub prefers_longer: f64,
    /// Probability that it prefers the answer with a list, in [0, 1].
    pub prefers_lists: f64,
    /// Probability that it prefers the answer shown first, in [0, 1].
    pub prefers_first: f64,
}

const PAIRS: Table = Table {
    delimiter: b',',
    quoting: true,
    header: true,
    columns: &[
        "model",
        "instr",
        "chars_ref",
        "chars_model",
        "list_items_ref",
        "list_items_model",
        "bold_model",
        "headers_model",
        "p_model_preferred",
    ],
};

// The first column of both leaderboards has no name.
const MODELS: Table = Table {
    delimiter: b',',
    quoting: true,
    header: true,
    columns: &[
        "",
        "win_rate",
        "standard_error",
        "n_wins",
        "n_wins_base",
        "n_draws",
        "n_total",
        "discrete_win_rate",
        "mode",
        "avg_length",
        "length_controlled_winrate",
        "lc_standard_error",
    ],
};

const EVALUATORS: Table = Table {
    delimiter: b',',
    quoting: true,
    header: true,
    columns: &[
        "",
        "Human agreement",
        "Price [$/1000 examples]",
        "Time [seconds/1000 examples]",
        "Spearman corr.",
        "Pearson corr.",
        "Bias",
        "Variance",
        "Proba. prefer longer",
        "Proba. prefer lists",
        "Proba. prefer 1",
        "# parsed",
        "mode",
    ],
};

impl DataDir {
    /// The 46,680 judged pairs of 58 models in the set `alpaca-eval-meta`, in file order.
    ///
    /// # Errors
    /// As [`DataDir::read`]; [`DataError::Row`] for a row that is not as it should be.
    pub fn alpaca_eval_pairs(&self) -> Result<Vec<JudgedPair>, DataError> {
        read_pairs(&mut self.open("alpaca-eval-meta", "pairs_numeric.csv.gz")?)
    }

    /// The 223 models of the leaderboard, in file order.
    ///
    /// # Errors
    /// As [`DataDir::alpaca_eval_pairs`].
    pub fn alpaca_eval_models(&self) -> Result<Vec<LeaderboardModel>, DataError> {
        read_models(&mut self.open("alpaca-eval-meta", "leaderboard_models.csv")?)
    }

    /// The 32 judges of the leaderboard of evaluators, in file order.
    ///
    /// # Errors
    /// As [`DataDir::alpaca_eval_pairs`].
    pub fn alpaca_eval_evaluators(&self) -> Result<Vec<LeaderboardEvaluator>, DataError> {
        read_evaluators(&mut self.open("alpaca-eval-meta", "leaderboard_evaluators.csv")?)
    }
}

fn read_pairs(content: &mut Content) -> Result<Vec<JudgedPair>, DataError> {
    PAIRS.read(content, |row| {
        let count = |column: &str| row.whole(column, 0..=u32::MAX);
        Ok(JudgedPair {
            model: row.filled("model")?,
            instruction: row.whole("instr", 0..=804)?,
            chars_reference: count("chars_ref")?,
            chars_model: count("chars_model")?,
            list_items_reference: count("list_items_ref")?,
            list_items_model: count("list_items_model")?,
            bold_model: count("bold_model")?,
            headers_model: count("headers_model")?,
            model_preferred: row.number("p_model_preferred", 0.0..=1.0)?,
        })
    })
}

fn read_models(content: &mut Content) -> Result<Vec<LeaderboardModel>, DataError> {
    MODELS.read(content, |row| {
        Ok(LeaderboardModel {
            model: row.filled("")?,
            win_rate: row.number("win_rate", 0.0..=100.0)?,
            average_length: row.whole("avg_length", 0..=u32::MAX)?,
            length_controlled_win_rate: row.number("length_controlled_winrate", 0.0..=100.0)?,
        })
    })
}

fn read_evaluators(content: &mut Content) -> Result<Vec<LeaderboardEvaluator>, DataError> {
    EVALUATORS.read(content, |row| {
        let percent = |column: &str| row.number(column, 0.0..=100.0);
        let probability = |column: &str| row.number(column, 0.0..=1.0);
        Ok(LeaderboardEvaluator {
            evaluator: row.filled("")?,
            human_agreement: percent("Human agreement")?,
            bias: row.optional("Bias", |_, column| percent(column))?,
            variance: row.optional("Variance", |_, column| percent(column))?,
            prefers_longer: probability("Proba. prefer longer")?,
            prefers_lists: probability("Proba. prefer lists")?,
            prefers_first: probability("Proba. prefer 1")?,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use headwater_evaluation::baselines::spearman;

    use super::*;
    use crate::content::tests::synthetic;
    use crate::testing::{check_broken, real};

    const PAIRS_FILE: &str = include_str!("../fixtures/alpaca-eval-meta/pairs_numeric.csv");
    const MODELS_FILE: &str = include_str!("../fixtures/alpaca-eval-meta/leaderboard_models.csv");
    const EVALUATORS_FILE: &str =
        include_str!("../fixtures/alpaca-eval-meta/leaderboard_evaluators.csv");

    #[test]
    fn the_made_up_files_are_read_value_for_value() {
        let long_winded = JudgedPair {
            model: "long-winded".into(),
            instruction: 0,
            chars_reference: 100,
            chars_model: u32::MAX,
            list_items_reference: 1,
            list_items_model: 22,
            bold_model: 3,
            headers_model: 4,
            model_preferred: 1.0,
        };
        let terse = JudgedPair {
            model: "terse, but right".into(),
            instruction: 804,
            chars_reference: 2000,
            chars_model: 0,
            list_items_reference: 0,
            list_items_model: 0,
            bold_model: 0,
            headers_model: 0,
            model_preferred: 0.0625,
        };
        assert_eq!(read_pairs(&mut synthetic(PAIRS_FILE)).unwrap(), [long_winded, terse]);

        let model = |model: &str, win_rate, average_length, length_controlled_win_rate| {
            let model = model.to_owned();
            LeaderboardModel { model, win_rate, average_length, length_controlled_win_rate }
        };
        let expected = [model("long-winded", 76.5, 872, 50.25), model("terse", 0.0, 31, 100.0)];
        assert_eq!(read_models(&mut synthetic(MODELS_FILE)).unwrap(), expected);

        let people = LeaderboardEvaluator {
            evaluator: "people".into(),
            human_agreement: 65.5,
            bias: Some(0.0),
            variance: Some(34.25),
            prefers_longer: 0.625,
            prefers_lists: 0.5,
            prefers_first: 0.5,
        };
        let longest = LeaderboardEvaluator {
            evaluator: "the longest".into(),
            human_agreement: 62.0,
            bias: None,
            variance: None,
            prefers_longer: 1.0,
            prefers_lists: 0.0,
            prefers_first: 0.5,
        };
        assert_eq!(read_evaluators(&mut synthetic(EVALUATORS_FILE)).unwrap(), [people, longest]);
    }

    #[test]
    fn a_broken_file_is_refused_or_read_as_far_as_it_is_right() {
        check_broken(PAIRS_FILE.as_bytes(), read_pairs);
        check_broken(MODELS_FILE.as_bytes(), read_models);
        check_broken(EVALUATORS_FILE.as_bytes(), read_evaluators);
    }

    /// The text of a table with these rows.
    fn text(table: &Table, rows: &[&str]) -> Content {
        synthetic(&format!("{}\n{}\n", table.columns.join(","), rows.join("\n")))
    }

    #[test]
    fn a_malformed_pair_is_named_with_line_and_field() {
        let good = "m,3,100,200,1,2,5,6,0.25";
        let error = |bad: &str| {
            let error = read_pairs(&mut text(&PAIRS, &[good, bad])).unwrap_err().to_string();
            error.strip_prefix("set/file, line 3: ").unwrap().to_owned()
        };
        assert!(error(",3,100,200,1,2,5,6,0.25").starts_with("`model` is empty"));
        assert!(error("m,805,100,200,1,2,5,6,0.25").starts_with("`instr` is `805`: allowed is a"));
        assert!(error("m,3,100,-2,1,2,5,6,0.25").starts_with("`chars_model` is `-2`"));
        assert_eq!(
            error("m,3,100,200,1,2,5,6,1.25"),
            "`p_model_preferred` is `1.25`: allowed is a number in [0, 1]"
        );
        assert!(error("m,3,100,200").starts_with("it has 4 fields: allowed is 9"));
    }

    #[test]
    fn a_malformed_leaderboard_is_named_with_line_and_field() {
        let good = "m,76.5,,,,,,,dev,872,86.5,";
        assert!(read_models(&mut text(&MODELS, &[good])).is_ok());
        let error = |bad: &str| read_models(&mut text(&MODELS, &[bad])).unwrap_err().to_string();
        assert!(error("m,176.5,,,,,,,dev,872,86.5,").contains("line 2: `win_rate` is `176.5`"));
        assert!(error("m,76.5,,,,,,,dev,x,86.5,").contains("line 2: `avg_length` is `x`"));

        let good = "j,65.5,1,2,0.9,0.8,,14.5,0.6,0.7,0.5,2592,minimal";
        assert!(read_evaluators(&mut text(&EVALUATORS, &[good])).is_ok());
        let error = |from: &str, to: &str| {
            let bad = good.replacen(from, to, 1);
            read_evaluators(&mut text(&EVALUATORS, &[&bad])).unwrap_err().to_string()
        };
        assert!(error("0.6", "6").contains("line 2: `Proba. prefer longer` is `6`"));
        assert!(
            error(",,", ",x,").ends_with("line 2: `Bias` is `x`: allowed is a number in [0, 100]")
        );
        assert!(error("65.5", "").contains("line 2: `Human agreement` is ``"));
    }

    #[test]
    #[ignore = "real data"]
    fn the_real_numbers_have_the_published_counts_and_values() {
        let pairs = real(DataDir::alpaca_eval_pairs);
        let names: HashSet<&str> = pairs.iter().map(|pair| pair.model.as_str()).collect();
        assert_eq!((pairs.len(), names.len()), (46_680, 58));

        let models = real(DataDir::alpaca_eval_models);
        assert_eq!(models.len(), 223);
        let column = |value: fn(&LeaderboardModel) -> f64| -> Vec<f64> {
            models.iter().map(value).collect()
        };
        let lengths = column(|model| f64::from(model.average_length));
        let win = spearman(&lengths, &column(|model| model.win_rate)).unwrap();
        let controlled = column(|model| model.length_controlled_win_rate);
        let controlled = spearman(&lengths, &controlled).unwrap();
        assert!((win - 0.73).abs() < 5.1e-3 && (controlled - 0.56).abs() < 5.1e-3);
        let model = |name: &str| models.iter().find(|model| model.model == name).unwrap();
        let null = model("NullModel");
        assert_eq!((null.win_rate * 10.0).round(), 769.0);
        assert_eq!((null.length_controlled_win_rate * 10.0).round(), 865.0);
        assert_eq!(null.average_length, 872);
        let concise = model("gpt-3.5-turbo-1106_concise");
        let verbose = model("gpt-3.5-turbo-1106_verbose");
        assert_eq!((concise.average_length, verbose.average_length), (431, 1058));
        let tenths = [concise.win_rate, verbose.win_rate].map(|rate| (rate * 10.0).round());
        assert_eq!(tenths, [74.0, 128.0]);

        let judges = real(DataDir::alpaca_eval_evaluators);
        assert_eq!(judges.len(), 32);
        let judge = |name: &str| judges.iter().find(|judge| judge.evaluator == name).unwrap();
        assert_eq!((judge("humans").human_agreement * 10.0).round(), 657.0);
        assert_eq!((judge("longest").human_agreement * 10.0).round(), 622.0);
        for (name, longer) in [
            ("humans", 0.635),
            ("alpaca_eval_gpt4", 0.683),
            ("weighted_alpaca_eval_gpt4_turbo", 0.605),
        ] {
            // The published values are cut off after three digits.
            assert!((judge(name).prefers_longer - longer).abs() < 1e-3, "{name}");
        }
    }
}
