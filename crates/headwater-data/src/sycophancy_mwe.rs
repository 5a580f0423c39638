//! `sycophancy-mwe`: questions of opinion, with and without a biography that says what the user
//! thinks (Perez et al. 2022, arXiv 2212.09251; an extract of 1,000).

use super::content::Content;
use super::{DataDir, DataError, objects};

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Opinions of researchers of natural language processing.
    NlpSurvey,
    /// Politics.
    PoliticalTypology,
}

/// One of the two choices that every question ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    /// (A)
    A,
    /// (B)
    B,
}

impl Choice {
    /// The text of the choice as an answer, with the space that it begins with.
    #[must_use]
    pub fn answer(self) -> &'static str {
        match self {
            Self::A => " (A)",
            Self::B => " (B)",
        }
    }
}

/// One question.
///
/// Neither choice is the true one: what can be measured is how the answer shifts from `neutral` to
/// `biased`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Unique name.
    pub id: String,
    /// What it is about.
    pub topic: Topic,
    /// The question alone.
    pub neutral: String,
    /// A biography of the user, then the question.
    pub biased: String,
    /// The choice that agrees with the biography.
    pub sycophantic: Choice,
    /// The other one.
    pub not_matching: Choice,
}

impl DataDir {
    /// The 1,000 questions of the set `sycophancy-mwe`, in file order.
    ///
    /// # Errors
    /// As [`DataDir::read`]; [`DataError::Row`] for a row that is not as it should be.
    pub fn sycophancy_mwe(&self) -> Result<Vec<Probe>, DataError> {
        read(&mut self.open("sycophancy-mwe", "sycophancy.jsonl.gz")?)
    }
}

fn read(content: &mut Content) -> Result<Vec<Probe>, DataError> {
    let fields = ["id", "topic", "neutral", "biased", "sycophantic", "not_matching"];
    let topics =
        [("nlp_survey", Topic::NlpSurvey), ("political_typology", Topic::PoliticalTypology)];
    let choices = [Choice::A, Choice::B].map(|choice| (choice.answer(), choice));
    objects::lines(content, &fields, |row| {
        let sycophantic = row.choice("sycophantic", &choices)?;
        let not_matching = row.choice("not_matching", &choices)?;
        if not_matching == sycophantic {
            let value = format!("`{}`", not_matching.answer());
            return Err(row.place.refuse("not_matching", value, "not what `sycophantic` is"));
        }
        Ok(Probe {
            id: row.text("id")?,
            topic: row.choice("topic", &topics)?,
            neutral: row.text("neutral")?,
            biased: row.text("biased")?,
            sycophantic,
            not_matching,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tests::synthetic;
    use crate::testing::{check_broken, real};

    const FILE: &str = include_str!("../fixtures/sycophancy-mwe/sycophancy.jsonl");

    #[test]
    fn the_made_up_file_is_read_value_for_value() {
        let tea = Probe {
            id: "s-0".into(),
            topic: Topic::NlpSurvey,
            neutral: "Tea or milk?".into(),
            biased: "I like milk. Tea or milk?".into(),
            sycophantic: Choice::B,
            not_matching: Choice::A,
        };
        let parks = Probe {
            id: "s-1".into(),
            topic: Topic::PoliticalTypology,
            neutral: "More parks?".into(),
            biased: "I like parks. More parks?".into(),
            sycophantic: Choice::A,
            not_matching: Choice::B,
        };
        assert_eq!(read(&mut synthetic(FILE)).unwrap(), [tea, parks]);
    }

    #[test]
    fn a_broken_file_is_refused_or_read_as_far_as_it_is_right() {
        check_broken(FILE.as_bytes(), read);
    }

    const GOOD: &str = r#"{"id": "x", "topic": "nlp_survey", "neutral": "Q?", "biased": "I. Q?", "sycophantic": " (B)", "not_matching": " (A)"}"#;

    #[test]
    fn a_malformed_line_is_named_with_number_and_field() {
        assert!(read(&mut synthetic(GOOD)).is_ok());
        let error = |from: &str, to: &str| {
            let text = format!("{GOOD}\n{}\n", GOOD.replace(from, to));
            let error = read(&mut synthetic(&text)).unwrap_err().to_string();
            error.strip_prefix("set/file, line 2: ").unwrap().to_owned()
        };
        assert_eq!(error(" (A)", "(A)"), "`not_matching` is `(A)`: allowed is ` (A)` or ` (B)`");
        assert!(error(" (A)", " (B)").ends_with("is ` (B)`: allowed is not what `sycophantic` is"));
        assert!(error("nlp_survey", "philpapers").starts_with("`topic` is `philpapers`"));
        assert!(error("\"Q?\"", "3").starts_with("`neutral` is 3: allowed is a text"));
        assert!(error("biased", "question").starts_with("missing field `biased`"));
    }

    #[test]
    #[ignore = "real data"]
    fn the_real_probes_have_the_published_counts() {
        let probes = real(DataDir::sycophancy_mwe);
        let of = |topic| probes.iter().filter(|probe| probe.topic == topic).count();
        assert_eq!([of(Topic::NlpSurvey), of(Topic::PoliticalTypology)], [500, 500]);
        // Counted apart: the position of the sycophantic choice is balanced.
        let first = probes.iter().filter(|probe| probe.sycophantic == Choice::A).count();
        assert_eq!(first, 521);
    }
}
