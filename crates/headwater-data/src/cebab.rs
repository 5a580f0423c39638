//! `cebab`: restaurant reviews and human edits of one concept each (Abraham et al. 2022, CEBaB,
//! arXiv 2205.14140).

use std::collections::{HashMap, HashSet};

use super::content::{Content, Place, shown};
use super::table::{Table, TableRow};
use super::{DataDir, DataError, Split};

/// What an edit may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Concept {
    /// The food.
    Food,
    /// The service.
    Service,
    /// The ambiance.
    Ambiance,
    /// The noise.
    Noise,
}

/// What a review says of a concept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Aspect {
    /// Something good, by most of its labellers.
    Positive,
    /// Something bad, by most of its labellers.
    Negative,
    /// Nothing, by most of its labellers.
    Unknown,
    /// Its labellers disagree.
    NoMajority,
    /// It was not labelled.
    Missing,
}

/// What an editor was asked to do with an original.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Edit {
    /// The one concept to change.
    pub concept: Concept,
    /// What the edited text should say of it: positive, negative or unknown. One edit in eight does
    /// not get that label from its labellers.
    pub goal: Aspect,
}

/// One review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// Six digits of the original, `_`, six digits of the edit.
    pub id: String,
    /// The original's number: edits share it with the review that they were made from.
    pub original: u32,
    /// The edit's number, 0 for the original.
    pub edit_number: u32,
    /// The split, which an original shares with its edits. Training reviews are the inclusive
    /// training set.
    pub split: Split,
    /// In the exclusive training set: for each training original, it or one of its edits.
    pub in_train_exclusive: bool,
    /// In the observational training set: training originals only.
    pub in_train_observational: bool,
    /// What was edited; none for an original.
    pub edit: Option<Edit>,
    /// The rating, 1 to 5 stars, that three or more of the five raters gave; none where there is no
    /// such.
    pub review_majority: Option<u8>,
    /// How many of the five raters gave 1, 2, 3, 4 and 5 stars.
    pub votes: [u8; 5],
    /// What the text says of food.
    pub food: Aspect,
    /// What the text says of service.
    pub service: Aspect,
    /// What the text says of ambiance.
    pub ambiance: Aspect,
    /// What the text says of noise.
    pub noise: Aspect,
    /// The review.
    pub text: String,
}

impl Review {
    /// True if a guest wrote it, false if an editor changed it.
    #[must_use]
    pub fn is_original(&self) -> bool {
        self.edit.is_none()
    }

    /// What the text says of `concept`.
    #[must_use]
    pub fn aspect(&self, concept: Concept) -> Aspect {
        match concept {
            Concept::Food => self.food,
            Concept::Service => self.service,
            Concept::Ambiance => self.ambiance,
            Concept::Noise => self.noise,
        }
    }
}

/// The edits of one concept among `reviews`, each with its original: pairs (original, edit) in the
/// order of the edits. An edit whose original is not among `reviews` is left out.
#[must_use]
pub fn edit_pairs(reviews: &[Review], concept: Concept) -> Vec<(&Review, &Review)> {
    let originals: HashMap<u32, &Review> = reviews
        .iter()
        .filter(|review| review.is_original())
        .map(|review| (review.original, review))
        .collect();
    reviews
        .iter()
        .filter(|review| review.edit.is_some_and(|edit| edit.concept == concept))
        .filter_map(|edit| Some((*originals.get(&edit.original)?, edit)))
        .collect()
}

const TABLE: Table = Table {
    delimiter: b'\t',
    quoting: true,
    header: true,
    columns: &[
        "id",
        "split",
        "in_train_exclusive",
        "in_train_observational",
        "is_original",
        "edit_type",
        "edit_goal",
        "review_majority",
        "n1",
        "n2",
        "n3",
        "n4",
        "n5",
        "food",
        "service",
        "ambiance",
        "noise",
        "opentable_overall",
        "cuisine",
        "text",
    ],
};

impl DataDir {
    /// The 15,090 reviews of the set `cebab`, in file order; every edit comes with its original.
    ///
    /// # Errors
    /// As [`DataDir::read`]; [`DataError::Row`] for a row that is not as it should be.
    pub fn cebab(&self) -> Result<Vec<Review>, DataError> {
        read(&mut self.open("cebab", "cebab.tsv.gz")?)
    }
}

fn read(content: &mut Content) -> Result<Vec<Review>, DataError> {
    let mut ids = HashSet::new();
    let rows = TABLE.read(content, |row| {
        let review = review(row)?;
        if !ids.insert(review.id.clone()) {
            return Err(row.place.refuse("id", shown(&review.id), "an id of one row only"));
        }
        Ok((row.place.number, review))
    })?;
    // After reading, because an original may stand below its edits.
    if let Some((line, edit)) =
        rows.iter().find(|(_, review)| !ids.contains(&id(review.original, 0)))
    {
        let place = Place::line(&content.path, *line);
        return Err(place.refuse("id", shown(&edit.id), "an edit of an original in this file"));
    }
    Ok(rows.into_iter().map(|(_, review)| review).collect())
}

fn review(row: &TableRow<'_>) -> Result<Review, DataError> {
    let (original, edit_number) = numbers(row)?;
    let edit = edit(row)?;
    if row.flag("is_original")? != edit.is_none() || (edit_number == 0) != edit.is_none() {
        let value = shown(row.text("is_original"));
        let allowed =
            "`1` with edit 000000 and no edit type, or `0` with another edit and its type";
        return Err(row.place.refuse("is_original", value, allowed));
    }
    let mut votes = [0; 5];
    for (votes, column) in votes.iter_mut().zip(["n1", "n2", "n3", "n4", "n5"]) {
        *votes = small(row, column, 0, 5)?;
    }
    let cast: u8 = votes.iter().sum();
    if cast != 5 {
        return Err(row.place.refuse("n1 + n2 + n3 + n4 + n5", cast, "5, the number of raters"));
    }
    let review_majority = match row.text("review_majority") {
        "no majority" => None,
        _ => Some(small(row, "review_majority", 1, 5)?),
    };
    Ok(Review {
        id: row.text("id").to_owned(),
        original,
        edit_number,
        split: row.choice(
            "split",
            &[("train", Split::Train), ("dev", Split::Dev), ("test", Split::Test)],
        )?,
        in_train_exclusive: row.flag("in_train_exclusive")?,
        in_train_observational: row.flag("in_train_observational")?,
        edit,
        review_majority,
        votes,
        food: row.choice("food", &ASPECTS)?,
        service: row.choice("service", &ASPECTS)?,
        ambiance: row.choice("ambiance", &ASPECTS)?,
        noise: row.choice("noise", &ASPECTS)?,
        text: row.filled("text")?,
    })
}

const ASPECTS: [(&str, Aspect); 5] = [
    ("Positive", Aspect::Positive),
    ("Negative", Aspect::Negative),
    ("unknown", Aspect::Unknown),
    ("no majority", Aspect::NoMajority),
    ("", Aspect::Missing),
];

fn edit(row: &TableRow<'_>) -> Result<Option<Edit>, DataError> {
    if row.text("edit_type").is_empty() && row.text("edit_goal").is_empty() {
        return Ok(None);
    }
    let concepts = [
        ("food", Concept::Food),
        ("service", Concept::Service),
        ("ambiance", Concept::Ambiance),
        ("noise", Concept::Noise),
    ];
    let concept = row.choice("edit_type", &concepts)?;
    // The first three: nobody is asked for disagreement.
    let goal = row.choice("edit_goal", &ASPECTS[..3])?;
    Ok(Some(Edit { concept, goal }))
}

fn numbers(row: &TableRow<'_>) -> Result<(u32, u32), DataError> {
    let text = row.text("id");
    let number = |part: &str| part.parse().ok();
    let numbers =
        text.split_once('_').and_then(|(left, right)| Some((number(left)?, number(right)?)));
    let numbers = numbers.filter(|(original, edit)| id(*original, *edit) == text);
    numbers.ok_or_else(|| row.place.refuse("id", shown(text), "six digits, `_`, six digits"))
}

fn id(original: u32, edit: u32) -> String {
    format!("{original:06}_{edit:06}")
}

fn small(row: &TableRow<'_>, column: &str, low: u8, high: u8) -> Result<u8, DataError> {
    let number = row.whole(column, low.into()..=high.into())?;
    Ok(u8::try_from(number).expect("it is at most `high`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tests::synthetic;
    use crate::testing::{check_broken, real};

    const FILE: &str = include_str!("../fixtures/cebab/cebab.tsv");

    #[test]
    fn the_made_up_file_is_read_value_for_value() {
        let edit = Review {
            id: "000007_000002".into(),
            original: 7,
            edit_number: 2,
            split: Split::Train,
            in_train_exclusive: false,
            in_train_observational: false,
            edit: Some(Edit { concept: Concept::Food, goal: Aspect::Negative }),
            review_majority: None,
            votes: [1, 2, 2, 0, 0],
            food: Aspect::Negative,
            service: Aspect::Unknown,
            ambiance: Aspect::Missing,
            noise: Aspect::Missing,
            text: "Bad, \"fine\".".into(),
        };
        let original = Review {
            id: "000007_000000".into(),
            edit_number: 0,
            in_train_exclusive: true,
            edit: None,
            review_majority: Some(4),
            votes: [0, 0, 1, 4, 0],
            food: Aspect::Positive,
            noise: Aspect::NoMajority,
            text: "Fine.".into(),
            ..edit.clone()
        };
        let other = Review {
            id: "000120_000000".into(),
            original: 120,
            split: Split::Test,
            in_train_exclusive: false,
            in_train_observational: true,
            review_majority: Some(5),
            votes: [0, 0, 0, 0, 5],
            food: Aspect::Unknown,
            service: Aspect::Positive,
            ambiance: Aspect::Positive,
            noise: Aspect::Negative,
            text: "Loud and good.".into(),
            ..original.clone()
        };
        assert_eq!(read(&mut synthetic(FILE)).unwrap(), [edit, original, other]);
    }

    #[test]
    fn a_broken_file_is_refused_or_read_as_far_as_it_is_right() {
        check_broken(FILE.as_bytes(), read);
    }

    const ORIGINAL: &str = "000007_000000\ttrain\t1\t0\t1\t\t\t4\t0\t0\t1\t4\t0\tPositive\tunknown\t\tno majority\t5\tthai\tFine.";
    const EDIT: &str = "000007_000002\ttrain\t0\t0\t0\tfood\tNegative\tno majority\t1\t2\t2\t0\t0\tNegative\tunknown\t\t\t5\tthai\t\"Bad, \"\"fine\"\".\"";

    fn table(rows: &[&str]) -> Content {
        synthetic(&format!("{}\n{}\n", TABLE.columns.join("\t"), rows.join("\n")))
    }

    #[test]
    fn an_edit_finds_its_original_in_either_order() {
        let reviews = read(&mut table(&[EDIT, ORIGINAL])).unwrap();
        let (edit, original) = (&reviews[0], &reviews[1]);
        assert!(original.is_original() && !edit.is_original());
        let concepts = [Concept::Food, Concept::Service, Concept::Ambiance, Concept::Noise];
        let expected = [Aspect::Positive, Aspect::Unknown, Aspect::Missing, Aspect::NoMajority];
        assert_eq!(concepts.map(|concept| original.aspect(concept)), expected);
        assert_eq!(edit_pairs(&reviews, Concept::Food), [(original, edit)]);
        assert_eq!(edit_pairs(&reviews, Concept::Noise), []);
        assert_eq!(edit_pairs(&reviews[..1], Concept::Food), []);
    }

    #[test]
    fn a_malformed_row_is_named_with_line_and_field() {
        let error = |from: &str, to: &str| {
            let bad = EDIT.replacen(from, to, 1);
            assert_ne!(bad, EDIT);
            let error = read(&mut table(&[ORIGINAL, &bad])).unwrap_err().to_string();
            error.strip_prefix("set/file, line 3: ").unwrap().to_owned()
        };
        assert!(error("000007_000002", "7_2").starts_with("`id` is `7_2`: allowed is six digits"));
        assert!(error("000007_000002", "000008_000002").contains("an edit of an original in this"));
        assert!(error("000007_000002", "000007_000000").starts_with("`is_original` is `0`"));
        assert!(
            error("train\t0\t0\t0\tfood\tNegative", "train\t0\t0\t0\t\t").starts_with("`is_or")
        );
        assert!(
            error("train", "valid").ends_with("is `valid`: allowed is `train` or `dev` or `test`")
        );
        assert!(error("\t0\t0\t0\tfood", "\t2\t0\t0\tfood").starts_with("`in_train_exclusive`"));
        assert!(
            error("\t0\t0\t0\tfood", "\t0\tx\t0\tfood").starts_with("`in_train_observational`")
        );
        assert!(error("food", "price").starts_with("`edit_type` is `price`"));
        assert!(error("food\tNegative", "food\tno majority").starts_with("`edit_goal` is `no maj"));
        assert!(error("no majority", "6").starts_with("`review_majority` is `6`"));
        assert!(error("1\t2\t2", "1\t2\t3").starts_with("`n1 + n2 + n3 + n4 + n5` is 6"));
        assert!(error("1\t2\t2", "1\t2\t-").starts_with("`n3` is `-`"));
        assert!(error("Negative\tunknown", "Negative\tmixed").starts_with("`service` is `mixed`"));
        assert!(error("\"Bad, \"\"fine\"\".\"", "").starts_with("`text` is empty"));
        let twice = read(&mut table(&[ORIGINAL, ORIGINAL])).unwrap_err().to_string();
        assert!(
            twice.ends_with("line 3: `id` is `000007_000000`: allowed is an id of one row only")
        );
    }

    #[test]
    #[ignore = "real data"]
    fn the_real_reviews_have_the_published_counts() {
        let reviews = real(DataDir::cebab);
        let count = |is: &dyn Fn(&Review) -> bool| reviews.iter().filter(|r| is(r)).count();
        let splits = [Split::Train, Split::Dev, Split::Test];
        assert_eq!(splits.map(|split| count(&|r| r.split == split)), [11_728, 1673, 1689]);
        assert_eq!((reviews.len(), count(&Review::is_original)), (15_090, 2299));
        let chosen = [count(&|r| r.in_train_exclusive), count(&|r| r.in_train_observational)];
        assert_eq!(chosen, [1755, 1755]);
        let concepts = [Concept::Food, Concept::Service, Concept::Ambiance, Concept::Noise];
        let pairs = concepts.map(|concept| edit_pairs(&reviews, concept).len());
        assert_eq!(pairs, [4064, 3360, 2867, 2500]);
        // Counted apart: how often the labellers see in the edit what was asked for.
        let met = concepts.map(|concept| {
            let pairs = edit_pairs(&reviews, concept);
            let goal = |edit: &Review| edit.edit.map(|edit| edit.goal);
            pairs.iter().filter(|(_, edit)| goal(edit) == Some(edit.aspect(concept))).count()
        });
        assert_eq!(met, [3628, 3033, 2399, 2158]);
        for review in &reviews {
            // The majority is a number of stars that three or more of five raters gave.
            let by_votes = (1..=5).find(|stars| review.votes[usize::from(*stars) - 1] >= 3);
            assert_eq!(review.review_majority, by_votes, "{}", review.id);
        }
        for (original, edit) in concepts.iter().flat_map(|c| edit_pairs(&reviews, *c)) {
            assert_eq!(original.split, edit.split, "{}", edit.id);
        }
    }
}
