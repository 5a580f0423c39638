//! `truthfulqa`: answers with human labels of truth and informativeness (Lin, Hilton and Evans
//! 2022, arXiv 2109.07958).

use super::content::Content;
use super::{DataDir, DataError, objects};

/// One answer to a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The question.
    pub question: String,
    /// The answer.
    pub answer: String,
    /// How often this answer was labelled, 1 or more.
    pub seen: u32,
    /// Share of "true" labels, in [0, 1].
    pub truth: f64,
    /// Share of "informative" labels, in [0, 1].
    pub informative: f64,
}

impl DataDir {
    /// The 18,311 answers of the set `truthfulqa`, in file order.
    ///
    /// # Errors
    /// As [`DataDir::read`]; [`DataError::Row`] for a row that is not as it should be.
    pub fn truthfulqa(&self) -> Result<Vec<Answer>, DataError> {
        read(&mut self.open("truthfulqa", "answers_truth_info.jsonl.gz")?)
    }
}

fn read(content: &mut Content) -> Result<Vec<Answer>, DataError> {
    objects::lines(content, &["q", "a", "n", "truth", "info"], |row| {
        Ok(Answer {
            question: row.text("q")?,
            answer: row.text("a")?,
            seen: row.whole("n", 1..=u32::MAX)?,
            truth: row.number("truth", 0.0..=1.0)?,
            informative: row.number("info", 0.0..=1.0)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::content::tests::synthetic;
    use crate::testing::{check_broken, real};

    const FILE: &str = include_str!("../fixtures/truthfulqa/answers_truth_info.jsonl");

    #[test]
    fn the_made_up_file_is_read_value_for_value() {
        let answer = |question: &str, answer: &str, seen, truth, informative| {
            let [question, answer] = [question, answer].map(str::to_owned);
            Answer { question, answer, seen, truth, informative }
        };
        let expected = [
            answer("Is tea wet?", "Yes.", 1, 1.0, 1.0),
            answer("Is tea wet?", "No \"comment\".", 12, 0.5, 0.0),
            answer("Who?", "", u32::MAX, 0.0, 0.25),
        ];
        assert_eq!(read(&mut synthetic(FILE)).unwrap(), expected);
    }

    #[test]
    fn a_broken_file_is_refused_or_read_as_far_as_it_is_right() {
        check_broken(FILE.as_bytes(), read);
    }

    #[test]
    fn a_malformed_line_is_named_with_file_and_number() {
        let good = r#"{"q": "Q?", "a": "A.", "n": 2, "truth": 0.5, "info": 1.0}"#;
        let error = |bad: &str| {
            let text = format!("{good}\n{bad}\n{good}\n");
            read(&mut synthetic(&text)).unwrap_err().to_string()
        };
        assert!(error("{\"q\": 1").starts_with("set/file, line 2: "));
        assert!(
            error(&good.replace("0.5", "1.5"))
                .ends_with("`truth` is 1.5: allowed is a number in [0, 1]")
        );
        assert!(error(&good.replace("\"n\": 2", "\"n\": 0")).contains("`n` is 0"));
        assert!(error(&good.replace("{", "{\"times\": 1, ")).contains("unknown field `times`"));
        assert!(error(&good.replace("\"n\"", "\"times\"")).contains("missing field `n`"));
        assert!(error("").contains("line 2"));
    }

    #[test]
    #[ignore = "real data"]
    fn the_real_answers_have_the_published_counts() {
        let answers = real(DataDir::truthfulqa);
        let questions: HashSet<&str> =
            answers.iter().map(|answer| answer.question.as_str()).collect();
        assert_eq!((answers.len(), questions.len()), (18_311, 817));
        // Counted apart, with labels of 0.5 and above as "yes".
        let count = |truth: bool, informative: bool| {
            let is = |a: &&Answer| (a.truth >= 0.5, a.informative >= 0.5) == (truth, informative);
            answers.iter().filter(is).count()
        };
        let counts =
            [count(true, true), count(true, false), count(false, true), count(false, false)];
        assert_eq!(counts, [4657, 3253, 10_081, 320]);
    }
}
