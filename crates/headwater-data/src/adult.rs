//! `adult`: people of the 1994 census and whether they earn above 50,000 dollars (Becker & Kohavi
//! 1996).

use super::content::Content;
use super::table::{Table, TableRow};
use super::{DataDir, DataError};

/// One person. A category is an index into its list of names; `?`, a value that was not given, is
/// one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Years, 17 to 90.
    pub age: u32,
    /// Index into [`WORK_CLASSES`].
    pub work_class: usize,
    /// Level of education, 1 (preschool) to 16 (doctorate).
    pub education: u32,
    /// Index into [`MARITAL_STATUSES`].
    pub marital_status: usize,
    /// Index into [`OCCUPATIONS`].
    pub occupation: usize,
    /// Index into [`RELATIONSHIPS`].
    pub relationship: usize,
    /// Index into [`RACES`].
    pub race: usize,
    /// Index into [`SEXES`].
    pub sex: usize,
    /// Dollars, 99,999 where it is more.
    pub capital_gain: u32,
    /// Dollars.
    pub capital_loss: u32,
    /// 1 to 99.
    pub hours_per_week: u32,
    /// Name of a country, or `?`.
    pub country: String,
    /// Whether the income is above 50,000 dollars a year.
    pub above_50k: bool,
}

/// Kinds of employer.
pub const WORK_CLASSES: [&str; 9] = [
    "Private",
    "Self-emp-not-inc",
    "Local-gov",
    "State-gov",
    "Self-emp-inc",
    "Federal-gov",
    "Without-pay",
    "Never-worked",
    "?",
];

/// Marital statuses.
pub const MARITAL_STATUSES: [&str; 7] = [
    "Married-civ-spouse",
    "Never-married",
    "Divorced",
    "Separated",
    "Widowed",
    "Married-spouse-absent",
    "Married-AF-spouse",
];

/// Occupations.
pub const OCCUPATIONS: [&str; 15] = [
    "Prof-specialty",
    "Craft-repair",
    "Exec-managerial",
    "Adm-clerical",
    "Sales",
    "Other-service",
    "Machine-op-inspct",
    "Transport-moving",
    "Handlers-cleaners",
    "Farming-fishing",
    "Tech-support",
    "Protective-serv",
    "Priv-house-serv",
    "Armed-Forces",
    "?",
];

/// What the person is in the household.
pub const RELATIONSHIPS: [&str; 6] =
    ["Husband", "Not-in-family", "Own-child", "Unmarried", "Wife", "Other-relative"];

/// Races, as the census named them.
pub const RACES: [&str; 5] =
    ["White", "Black", "Asian-Pac-Islander", "Amer-Indian-Eskimo", "Other"];

/// Sexes.
pub const SEXES: [&str; 2] = ["Male", "Female"];

const PEOPLE: Table = Table {
    delimiter: b',',
    quoting: true,
    header: true,
    columns: &[
        "age",
        "workclass",
        "fnlwgt",
        "education",
        "education-num",
        "marital-status",
        "occupation",
        "relationship",
        "race",
        "sex",
        "capital-gain",
        "capital-loss",
        "hours-per-week",
        "native-country",
        "income-per-year",
    ],
};

impl DataDir {
    /// The 32,561 people of the set `adult`, in file order.
    ///
    /// # Errors
    /// As [`DataDir::read`]; [`DataError::Row`] for a row that is not as it should be.
    pub fn adult(&self) -> Result<Vec<Person>, DataError> {
        read(&mut self.open("adult", "adult.csv.gz")?)
    }
}

fn read(content: &mut Content) -> Result<Vec<Person>, DataError> {
    PEOPLE.read(content, |row| {
        Ok(Person {
            age: row.whole("age", 17..=90)?,
            work_class: category(row, "workclass", &WORK_CLASSES)?,
            education: row.whole("education-num", 1..=16)?,
            marital_status: category(row, "marital-status", &MARITAL_STATUSES)?,
            occupation: category(row, "occupation", &OCCUPATIONS)?,
            relationship: category(row, "relationship", &RELATIONSHIPS)?,
            race: category(row, "race", &RACES)?,
            sex: category(row, "sex", &SEXES)?,
            capital_gain: row.whole("capital-gain", 0..=99_999)?,
            capital_loss: row.whole("capital-loss", 0..=99_999)?,
            hours_per_week: row.whole("hours-per-week", 1..=99)?,
            country: row.filled("native-country")?,
            above_50k: row.choice("income-per-year", &[("<=50K", false), (">50K", true)])?,
        })
    })
}

fn category(row: &TableRow<'_>, column: &str, names: &[&str]) -> Result<usize, DataError> {
    let text = row.text(column);
    if let Some(at) = names.iter().position(|name| *name == text) {
        return Ok(at);
    }
    let choices: Vec<(&str, usize)> = names.iter().map(|name| (*name, 0)).collect();
    row.choice(column, &choices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tests::synthetic;
    use crate::testing::{check_broken, real};

    const FILE: &str = include_str!("../fixtures/adult/adult.csv");

    #[test]
    fn the_made_up_file_is_read_value_for_value() {
        let unemployed = Person {
            age: 17,
            work_class: 8,
            education: 7,
            marital_status: 1,
            occupation: 14,
            relationship: 2,
            race: 4,
            sex: 1,
            capital_gain: 0,
            capital_loss: 0,
            hours_per_week: 1,
            country: "?".into(),
            above_50k: false,
        };
        let professor = Person {
            age: 90,
            work_class: 0,
            education: 16,
            marital_status: 0,
            occupation: 0,
            relationship: 0,
            race: 0,
            sex: 0,
            capital_gain: 99_999,
            capital_loss: 0,
            hours_per_week: 99,
            country: "United-States".into(),
            above_50k: true,
        };
        let soldier = Person {
            age: 52,
            work_class: 7,
            education: 1,
            marital_status: 6,
            occupation: 13,
            relationship: 5,
            race: 1,
            sex: 1,
            capital_gain: 0,
            capital_loss: 1902,
            hours_per_week: 40,
            country: "Peru".into(),
            above_50k: false,
        };
        let expected = [unemployed, professor, soldier];
        assert_eq!(read(&mut synthetic(FILE)).unwrap(), expected);
    }

    #[test]
    fn a_broken_file_is_refused_or_read_as_far_as_it_is_right() {
        check_broken(FILE.as_bytes(), read);
    }

    const GOOD: &str = "39,State-gov,77516,Bachelors,13,Never-married,Adm-clerical,Not-in-family,White,Male,2174,0,40,\
                        United-States,<=50K";

    #[test]
    fn a_malformed_row_is_named_with_line_and_column() {
        let text = |second: &str| format!("{}\n{GOOD}\n{second}\n", PEOPLE.columns.join(","));
        assert_eq!(read(&mut synthetic(&text(GOOD))).unwrap().len(), 2);
        let error = |from: &str, to: &str| {
            let bad = text(&GOOD.replacen(from, to, 1));
            let error = read(&mut synthetic(&bad)).unwrap_err().to_string();
            error.strip_prefix("set/file, line 3: ").unwrap().to_owned()
        };
        assert_eq!(error("39", "16"), "`age` is `16`: allowed is a whole number in [17, 90]");
        assert_eq!(
            error("<=50K", "50K"),
            "`income-per-year` is `50K`: allowed is `<=50K` or `>50K`"
        );
        assert_eq!(error("Male", "male"), "`sex` is `male`: allowed is `Male` or `Female`");
        assert!(error("State-gov", "State").starts_with("`workclass` is `State`: allowed is"));
        assert!(error("United-States", "").starts_with("`native-country` is empty"));
        assert!(error(",0,40", ",40").starts_with("it has 14 fields: allowed is 15"));
    }

    #[test]
    #[ignore = "real data"]
    fn the_real_people_have_the_published_counts() {
        let people = real(DataDir::adult);
        let rich = |sex: &str| {
            let of: Vec<&Person> = people.iter().filter(|p| SEXES[p.sex] == sex).collect();
            let above = of.iter().filter(|p| p.above_50k).count();
            (of.len(), (1000.0 * above as f64 / of.len() as f64).round())
        };
        assert_eq!(people.len(), 32_561);
        assert_eq!((rich("Male"), rich("Female")), ((21_790, 306.0), (10_771, 109.0)));
        let missing = people.iter().filter(|p| WORK_CLASSES[p.work_class] == "?").count();
        assert_eq!(missing, 1836);
    }
}
