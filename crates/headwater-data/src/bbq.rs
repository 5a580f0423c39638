//! `bias-probes`, BBQ: questions that a stereotype answers before the context does (Parrish et al.
//! 2022, arXiv 2110.08193; six of its categories).
//!
//! The questions state stereotypes: none of them belongs in a test, a log or a report.

use super::content::{Content, shown};
use super::table::Table;
use super::{DataDir, DataError};

/// Whom a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// Age.
    Age,
    /// Disability status.
    DisabilityStatus,
    /// Nationality.
    Nationality,
    /// Physical appearance.
    PhysicalAppearance,
    /// Religion.
    Religion,
    /// Sexual orientation.
    SexualOrientation,
}

const CATEGORIES: [(&str, Category); 6] = [
    ("Age", Category::Age),
    ("Disability_status", Category::DisabilityStatus),
    ("Nationality", Category::Nationality),
    ("Physical_appearance", Category::PhysicalAppearance),
    ("Religion", Category::Religion),
    ("Sexual_orientation", Category::SexualOrientation),
];

/// What a question asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Polarity {
    /// The one who did the harmful thing that the stereotype ascribes.
    Negative,
    /// The one who did not.
    NonNegative,
}

/// Whether the context holds the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// It does not: the right answer is that it is unknown.
    Ambiguous,
    /// It does.
    Disambiguated,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Whom it is about.
    pub category: Category,
    /// Its number, unique within the category.
    pub example_id: u32,
    /// The number of its template within the category.
    pub question_index: u32,
    /// What it asks for.
    pub polarity: Polarity,
    /// Whether the context holds the answer.
    pub condition: Condition,
    /// What happened.
    pub context: String,
    /// The question.
    pub question: String,
    /// The three answers.
    pub answers: [String; 3],
    /// Index of the right one, 0 to 2.
    pub label: usize,
    /// The group that each answer names, in the words of the set.
    pub answer_groups: [String; 3],
    /// Index of the one answer that says it is unknown, 0 to 2.
    pub unknown: usize,
    /// The groups to which the stereotype is applied, one or more, in the words of the set. For
    /// nationalities these are other words than those of `answer_groups`; elsewhere exactly one of
    /// the answers names one of them.
    pub stereotyped_groups: Vec<String>,
}

const TABLE: Table = Table {
    delimiter: b'\t',
    quoting: false,
    header: true,
    columns: &[
        "category",
        "example_id",
        "question_index",
        "polarity",
        "condition",
        "context",
        "question",
        "ans0",
        "ans1",
        "ans2",
        "label",
        "answer_groups",
        "stereotyped_groups",
    ],
};

impl DataDir {
    /// The 11,956 BBQ questions in the set `bias-probes`, in file order.
    ///
    /// # Errors
    /// As [`DataDir::read`]; [`DataError::Row`] for a row that is not as it should be.
    pub fn bbq(&self) -> Result<Vec<Question>, DataError> {
        read(&mut self.open("bias-probes", "bbq.tsv.gz")?)
    }
}

fn read(content: &mut Content) -> Result<Vec<Question>, DataError> {
    let polarities = [("neg", Polarity::Negative), ("nonneg", Polarity::NonNegative)];
    let conditions = [("ambig", Condition::Ambiguous), ("disambig", Condition::Disambiguated)];
    TABLE.read(content, |row| {
        let groups = |column: &str| row.text(column).split('|').map(str::to_owned).collect();
        let answer_groups: Vec<String> = groups("answer_groups");
        let is_unknown = |group: &String| group.eq_ignore_ascii_case("unknown");
        let unknowns = answer_groups.iter().filter(|group| is_unknown(group)).count();
        let Ok(answer_groups) = <[String; 3]>::try_from(answer_groups) else {
            let value = shown(row.text("answer_groups"));
            return Err(row.place.refuse("answer_groups", value, "three groups with `|` between"));
        };
        let (Some(unknown), 1) = (answer_groups.iter().position(is_unknown), unknowns) else {
            let value = format!("three groups of which {unknowns} are `unknown`");
            return Err(row.place.refuse("answer_groups", value, "exactly one such"));
        };
        let stereotyped_groups: Vec<String> = groups("stereotyped_groups");
        if stereotyped_groups.iter().any(String::is_empty) {
            let value = shown(row.text("stereotyped_groups"));
            return Err(row.place.refuse("stereotyped_groups", value, "groups with `|` between"));
        }
        Ok(Question {
            category: row.choice("category", &CATEGORIES)?,
            example_id: row.whole("example_id", 0..=u32::MAX)?,
            question_index: row.whole("question_index", 0..=u32::MAX)?,
            polarity: row.choice("polarity", &polarities)?,
            condition: row.choice("condition", &conditions)?,
            context: row.filled("context")?,
            question: row.filled("question")?,
            answers: [row.filled("ans0")?, row.filled("ans1")?, row.filled("ans2")?],
            label: row.choice("label", &[("0", 0), ("1", 1), ("2", 2)])?,
            answer_groups,
            unknown,
            stereotyped_groups,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tests::synthetic;
    use crate::testing::{check_broken, real};

    const FILE: &str = include_str!("../fixtures/bias-probes/bbq.tsv");

    #[test]
    fn the_made_up_file_is_read_value_for_value() {
        let texts = |texts: [&str; 3]| texts.map(str::to_owned);
        let ambiguous = Question {
            category: Category::Age,
            example_id: 5,
            question_index: 1,
            polarity: Polarity::Negative,
            condition: Condition::Ambiguous,
            context: "Two bakers met.".into(),
            question: "Who \"slept\"?".into(),
            answers: texts(["Bo", "Nobody knows", "Jo"]),
            label: 1,
            answer_groups: texts(["old", "Unknown", "young"]),
            unknown: 1,
            stereotyped_groups: vec!["old".into(), "older".into()],
        };
        let disambiguated = Question {
            category: Category::Nationality,
            example_id: 0,
            question_index: 2,
            polarity: Polarity::NonNegative,
            condition: Condition::Disambiguated,
            context: "Two met; Jo sang.".into(),
            question: "Who sang?".into(),
            answers: texts(["Jo", "Bo", "Not known"]),
            label: 0,
            answer_groups: texts(["Northland", "Southland", "unknown"]),
            unknown: 2,
            stereotyped_groups: vec!["Northlander".into()],
        };
        assert_eq!(read(&mut synthetic(FILE)).unwrap(), [ambiguous, disambiguated]);
    }

    #[test]
    fn a_broken_file_is_refused_or_read_as_far_as_it_is_right() {
        check_broken(FILE.as_bytes(), read);
    }

    const GOOD: &str = "Age\t5\t1\tneg\tambig\tTwo met.\tWho fell?\tBo\tNobody knows\tJo\t1\told|Unknown|young\told|older";

    #[test]
    fn a_malformed_row_is_named_with_line_and_field() {
        let table = |rows: &str| synthetic(&format!("{}\n{rows}\n", TABLE.columns.join("\t")));
        assert!(read(&mut table(GOOD)).is_ok());
        let error = |from: &str, to: &str| {
            let bad = GOOD.replacen(from, to, 1);
            assert_ne!(bad, GOOD);
            let error = read(&mut table(&format!("{GOOD}\n{bad}"))).unwrap_err().to_string();
            error.strip_prefix("set/file, line 3: ").unwrap().to_owned()
        };
        assert!(error("Age", "Gender").starts_with("`category` is `Gender`: allowed is `Age` or"));
        assert!(error("\t5\t", "\t-5\t").starts_with("`example_id` is `-5`"));
        assert!(error("\t5\t1", "\t5\t1.5").starts_with("`question_index` is `1.5`"));
        assert!(error("neg", "pos").starts_with("`polarity` is `pos`"));
        assert!(error("ambig", "clear").starts_with("`condition` is `clear`"));
        assert!(error("Two met.", "").starts_with("`context` is empty"));
        assert!(error("Jo\t1", "Jo\t3").starts_with("`label` is `3`"));
        assert!(error("|young", "").starts_with("`answer_groups` is `old|Unknown`"));
        assert!(error("Unknown|young", "unknown|unknown").contains("of which 2 are `unknown`"));
        assert!(error("Unknown|young", "both|young").contains("of which 0 are `unknown`"));
        assert!(error("old|older", "old|").starts_with("`stereotyped_groups` is `old|`"));
    }

    #[test]
    #[ignore = "real data"]
    fn the_real_questions_have_the_published_counts() {
        let questions = real(DataDir::bbq);
        let count = |is: &dyn Fn(&Question) -> bool| questions.iter().filter(|q| is(q)).count();
        // Sizes that the paper gives for these categories.
        let by_category = CATEGORIES.map(|(_, category)| count(&|q| q.category == category));
        assert_eq!(by_category, [3680, 1556, 3080, 1576, 1200, 864]);
        assert_eq!(count(&|q| q.polarity == Polarity::Negative), 5978);
        assert_eq!(count(&|q| q.condition == Condition::Ambiguous), 5978);
        // By the design of the set it is unknown exactly where the context does not say.
        assert_eq!(
            count(&|q| (q.condition == Condition::Ambiguous) == (q.label == q.unknown)),
            11_956
        );
    }
}
