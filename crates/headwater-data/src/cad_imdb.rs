//! `cad-imdb`: film reviews and human edits that turn their sentiment round (Kaushik, Hovy and
//! Lipton 2020, arXiv 1909.12434).

use super::content::{Content, Place};
use super::table::Table;
use super::{DataDir, DataError, Split};

/// What a review says of the film.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sentiment {
    /// It is good.
    Positive,
    /// It is bad.
    Negative,
}

impl Sentiment {
    /// The other one.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Positive => Self::Negative,
            Self::Negative => Self::Positive,
        }
    }
}

/// A review and its edit, which says the opposite and is otherwise as alike as it can be.
///
/// The set does not mark which is which; the first row of a pair is taken for the original. In all
/// three splits the first rows are as long in total as the file in which the authors keep the
/// originals alone, to 0.05 %, and the second rows are not; and of some thirty originals that were
/// looked up, each is a first row.
///
/// One edit in train and one in test has the text of its original, so that one of its labels is
/// wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewPair {
    /// Number that the two rows share, unique within a split.
    pub batch_id: u32,
    /// The split that was read.
    pub split: Split,
    /// The original's sentiment; the edit has the opposite one.
    pub sentiment: Sentiment,
    /// The review as it was found, with its `<br />`.
    pub original: String,
    /// The review as it was edited.
    pub edit: String,
}

const TABLE: Table = Table {
    delimiter: b'\t',
    quoting: true,
    header: true,
    columns: &["Sentiment", "Text", "batch_id"],
};

impl DataDir {
    /// The pairs of one split of the set `cad-imdb`, in file order: 1,707, 245 and 488 in train,
    /// dev and test.
    ///
    /// # Errors
    /// As [`DataDir::read`]; [`DataError::Row`] for a row that is not as it should be.
    pub fn cad_imdb(&self, split: Split) -> Result<Vec<ReviewPair>, DataError> {
        let file = match split {
            Split::Train => "train_paired.tsv.gz",
            Split::Dev => "dev_paired.tsv.gz",
            Split::Test => "test_paired.tsv.gz",
        };
        read(&mut self.open("cad-imdb", file)?, split)
    }
}

fn read(content: &mut Content, split: Split) -> Result<Vec<ReviewPair>, DataError> {
    // The first row of the pair that is being read, with its line.
    let mut first: Option<(usize, u32, Sentiment, String)> = None;
    let pairs = TABLE.read(content, |row| {
        let place = row.place;
        let batch = row.whole("batch_id", 0..=u32::MAX)?;
        let sentiments = [("Positive", Sentiment::Positive), ("Negative", Sentiment::Negative)];
        let sentiment = row.choice("Sentiment", &sentiments)?;
        let text = row.filled("Text")?;
        let Some((_, batch_id, original_sentiment, original)) = first.take() else {
            first = Some((place.number, batch, sentiment, text));
            return Ok(None);
        };
        if batch != batch_id {
            return Err(place.refuse("batch_id", batch, &format!("{batch_id}, of the row above")));
        }
        if sentiment == original_sentiment {
            let allowed = "the opposite of the row above";
            return Err(place.refuse("Sentiment", format!("{sentiment:?}"), allowed));
        }
        Ok(Some(ReviewPair {
            batch_id,
            split,
            sentiment: original_sentiment,
            original,
            edit: text,
        }))
    })?;
    if let Some((line, batch, ..)) = first {
        let place = Place::line(&content.path, line);
        return Err(place.refuse("batch_id", batch, "a number that two rows share"));
    }
    Ok(pairs.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tests::synthetic;
    use crate::testing::{check_broken, real};

    fn parse(rows: &str) -> Result<Vec<ReviewPair>, String> {
        let text = format!("Sentiment\tText\tbatch_id\n{rows}");
        read(&mut synthetic(&text), Split::Dev).map_err(|error| error.to_string())
    }

    const FILE: &str = include_str!("../fixtures/cad-imdb/dev_paired.tsv");

    #[test]
    fn the_first_of_two_rows_is_the_original() {
        let dull = ReviewPair {
            batch_id: 4,
            split: Split::Dev,
            sentiment: Sentiment::Negative,
            original: "Dull.<br />Very.".into(),
            edit: "Not \"dull\" at\nall.".into(),
        };
        let joy = ReviewPair {
            batch_id: 17,
            split: Split::Dev,
            sentiment: Sentiment::Positive,
            original: "A joy.".into(),
            edit: "No joy.".into(),
        };
        assert_eq!(read(&mut synthetic(FILE), Split::Dev).unwrap(), [dull, joy]);
    }

    #[test]
    fn a_broken_file_is_refused_or_read_as_far_as_it_is_right() {
        check_broken(FILE.as_bytes(), |content| read(content, Split::Dev));
    }

    #[test]
    fn a_malformed_row_is_named_with_line_and_field() {
        let error = |second: &str| parse(&format!("Negative\ta\t4\n{second}")).unwrap_err();
        assert_eq!(
            error("Positive\tb\t5\n"),
            "set/file, line 3: `batch_id` is 5: allowed is 4, of the row above"
        );
        assert!(error("Negative\tb\t4\n").starts_with("set/file, line 3: `Sentiment` is Negative"));
        assert!(error("Neutral\tb\t4\n").contains("line 3: `Sentiment` is `Neutral`"));
        assert!(error("Positive\tb\tx\n").contains("line 3: `batch_id` is `x`"));
        assert!(error("Positive\t\t4\n").contains("line 3: `Text` is empty"));
        assert!(error("").contains("line 2: `batch_id` is 4: allowed is a number that two rows"));
    }

    #[test]
    #[ignore = "real data"]
    fn the_real_pairs_have_the_published_counts() {
        // Pairs as published; counted apart, how many of the first rows are positive and
        // negative, and how many edits change nothing.
        let published = [
            (Split::Train, (856, 851), 1),
            (Split::Dev, (123, 122), 0),
            (Split::Test, (245, 243), 1),
        ];
        for (split, counts, unedited) in published {
            let pairs = real(|data| data.cad_imdb(split));
            let positive = |pair: &&ReviewPair| pair.sentiment == Sentiment::Positive;
            let positives = pairs.iter().filter(positive).count();
            assert_eq!((positives, pairs.len() - positives), counts, "{split:?}");
            let same = pairs.iter().filter(|pair| pair.original == pair.edit).count();
            assert_eq!(same, unedited, "{split:?}");
            let ids: std::collections::HashSet<u32> =
                pairs.iter().map(|pair| pair.batch_id).collect();
            assert_eq!(ids.len(), pairs.len());
        }
    }
}
