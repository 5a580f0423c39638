//! `vader-lexicon`: the sentiment of words, slang and emoticons by ten raters each (Hutto and
//! Gilbert 2014, VADER).

use super::content::Content;
use super::table::Table;
use super::{DataDir, DataError};

/// One token.
#[derive(Debug, Clone, PartialEq)]
pub struct LexiconEntry {
    /// The token. Fourteen stand twice.
    pub token: String,
    /// Mean rating as published, rounded to a tenth, in [-4, 4].
    pub mean: f64,
    /// Standard deviation of the ratings as published, of the ten as the whole population, in [0,
    /// 4].
    pub standard_deviation: f64,
    /// What ten raters gave it, -4 (most negative) to 4 (most positive).
    pub ratings: [i8; 10],
}

const TABLE: Table = Table {
    delimiter: b'\t',
    quoting: false,
    header: false,
    columns: &["token", "mean", "standard deviation", "ratings"],
};

impl DataDir {
    /// The 7,520 entries of the set `vader-lexicon`, in file order.
    ///
    /// # Errors
    /// As [`DataDir::read`]; [`DataError::Row`] for a row that is not as it should be.
    pub fn vader_lexicon(&self) -> Result<Vec<LexiconEntry>, DataError> {
        read(&mut self.open("vader-lexicon", "vader_lexicon.txt.gz")?)
    }
}

fn read(content: &mut Content) -> Result<Vec<LexiconEntry>, DataError> {
    TABLE.read(content, |row| {
        // The list is written as one in JSON.
        let text = row.text("ratings");
        let ratings: Option<[i8; 10]> = serde_json::from_str(text).ok();
        let in_range = |ratings: &[i8; 10]| ratings.iter().all(|rating| (-4..=4).contains(rating));
        let Some(ratings) = ratings.filter(in_range) else {
            let value = format!("`{text}`");
            let allowed = "a list of ten whole numbers from -4 to 4";
            return Err(row.place.refuse("ratings", value, allowed));
        };
        Ok(LexiconEntry {
            token: row.filled("token")?,
            mean: row.number("mean", -4.0..=4.0)?,
            standard_deviation: row.number("standard deviation", 0.0..=4.0)?,
            ratings,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::content::tests::synthetic;
    use crate::testing::{check_broken, real};

    const FILE: &str = include_str!("../fixtures/vader-lexicon/vader_lexicon.txt");

    #[test]
    fn the_made_up_file_is_read_value_for_value() {
        let entry = |token: &str, mean, standard_deviation, ratings| {
            let token = token.to_owned();
            LexiconEntry { token, mean, standard_deviation, ratings }
        };
        let expected = [
            entry("\":-)", 2.5, 0.5, [2, 3, 2, 3, 2, 3, 2, 3, 2, 3]),
            entry("dull", -4.0, 0.0, [-4; 10]),
            entry("new york", 0.4, 1.2, [0, 4, 0, 0, 0, 0, 0, 0, 0, 0]),
        ];
        assert_eq!(read(&mut synthetic(FILE)).unwrap(), expected);
    }

    #[test]
    fn a_broken_file_is_refused_or_read_as_far_as_it_is_right() {
        check_broken(FILE.as_bytes(), read);
    }

    #[test]
    fn a_malformed_row_is_named_with_line_and_field() {
        let good = "\"x\t-0.5\t1.2\t[-1, 0, 0, 0, 0, 0, 0, 0, 0, -4]";
        let error = |from: &str, to: &str| {
            let text = format!("{good}\n{}\n", good.replacen(from, to, 1));
            let error = read(&mut synthetic(&text)).unwrap_err().to_string();
            error.strip_prefix("set/file, line 2: ").unwrap().to_owned()
        };
        assert!(error("\"x", "").starts_with("`token` is empty"));
        assert_eq!(error("-0.5", "5"), "`mean` is `5`: allowed is a number in [-4, 4]");
        assert!(error("1.2", "-1").starts_with("`standard deviation` is `-1`"));
        for (from, to) in [("-4]", "-5]"), ("0, 0,", "0,"), ("-4]", "0.5]"), ("]", "")] {
            let error = error(from, to);
            assert!(error.starts_with("`ratings` is `[-1, 0"), "{error}");
            assert!(error.ends_with("allowed is a list of ten whole numbers from -4 to 4"));
        }
        assert!(error("\t-0.5", "").starts_with("it has 3 fields: allowed is 4"));
    }

    #[test]
    #[ignore = "real data"]
    fn the_real_entries_have_the_published_counts_and_their_means_are_of_their_ratings() {
        let entries = real(DataDir::vader_lexicon);
        let tokens: HashSet<&str> = entries.iter().map(|entry| entry.token.as_str()).collect();
        assert_eq!((entries.len(), tokens.len()), (7520, 7506));
        let mean = |ratings: &[i8; 10]| ratings.iter().copied().map(f64::from).sum::<f64>() / 10.0;
        let other_mean = |entry: &&LexiconEntry| (entry.mean - mean(&entry.ratings)).abs() > 0.051;
        let other_deviation = |entry: &&LexiconEntry| {
            let centre = mean(&entry.ratings);
            let square = |rating: &i8| (f64::from(*rating) - centre).powi(2);
            let variance = entry.ratings.iter().map(square).sum::<f64>() / 10.0;
            (variance.sqrt() - entry.standard_deviation).abs() > 1e-3
        };
        // The published file has one wrong mean and six wrong deviations, by an independent count.
        assert_eq!(entries.iter().filter(other_mean).count(), 1);
        assert_eq!(entries.iter().filter(other_deviation).count(), 6);
    }
}
