//! `bias-probes`, WinoBias: sentences whose pronoun agrees with the stereotype of an occupation, or
//! does not (Zhao et al. 2018, arXiv 1804.06876).
//!
//! The sentences state stereotypes: none of them belongs in a test, a log or a report.

use std::collections::BTreeMap;

use super::content::{Content, Place};
use super::table::Table;
use super::{DataDir, DataError, Split};

/// What it takes to tell whom the pronoun means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SentenceType {
    /// Knowledge of the world.
    Type1,
    /// Syntax alone.
    Type2,
}

/// One sentence, twice: brackets mark the occupation and the pronouns that mean it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentencePair {
    /// What it takes to resolve it.
    pub sentence_type: SentenceType,
    /// `Dev` or `Test`.
    pub split: Split,
    /// Its number within type and split.
    pub number: u32,
    /// The pronouns' gender is the stereotype of the occupation.
    pub pro: String,
    /// It is the other gender.
    pub anti: String,
}

/// A sentence without the brackets that mark it.
#[must_use]
pub fn unmarked(sentence: &str) -> String {
    sentence.replace(['[', ']'], "")
}

const TABLE: Table = Table {
    delimiter: b'\t',
    quoting: false,
    header: true,
    columns: &["kind", "type", "split", "n", "sentence"],
};

impl DataDir {
    /// The 1,584 pairs of WinoBias sentences in the set `bias-probes`, by type, split and number.
    ///
    /// # Errors
    /// As [`DataDir::read`]; [`DataError::Row`] for a row that is not as it should be.
    pub fn winobias(&self) -> Result<Vec<SentencePair>, DataError> {
        read(&mut self.open("bias-probes", "winobias.tsv.gz")?)
    }
}

/// The line on which a pair was first met, and its two sentences as far as they are known.
type Found = (usize, [Option<String>; 2]);

fn read(content: &mut Content) -> Result<Vec<SentencePair>, DataError> {
    let mut pairs: BTreeMap<(SentenceType, Split, u32), Found> = BTreeMap::new();
    TABLE.read(content, |row| {
        let kind = row.choice("kind", &[("pro", 0), ("anti", 1)])?;
        let types = [("type1", SentenceType::Type1), ("type2", SentenceType::Type2)];
        let sentence_type = row.choice("type", &types)?;
        let split = row.choice("split", &[("dev", Split::Dev), ("test", Split::Test)])?;
        let number = row.whole("n", 0..=u32::MAX)?;
        let sentence = row.filled("sentence")?;
        let opened = sentence.matches('[').count();
        if opened < 2 || opened != sentence.matches(']').count() {
            let value = format!("a text with {opened} opening brackets");
            let allowed = "a text with two or more, and as many closing ones";
            return Err(row.place.refuse("sentence", value, allowed));
        }
        let (_, sentences) = pairs
            .entry((sentence_type, split, number))
            .or_insert_with(|| (row.place.number, [None, None]));
        if sentences[kind].replace(sentence).is_some() {
            let allowed = "a number that no other row of this kind, type and split has";
            return Err(row.place.refuse("n", number, allowed));
        }
        Ok(())
    })?;
    let pairs = pairs.into_iter().map(|((sentence_type, split, number), (line, sentences))| {
        let [Some(pro), Some(anti)] = sentences else {
            let place = Place::line(&content.path, line);
            return Err(place.refuse("n", number, "a number with one `pro` and one `anti` row"));
        };
        Ok(SentencePair { sentence_type, split, number, pro, anti })
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tests::synthetic;
    use crate::testing::{check_broken, real};

    fn parse(rows: &str) -> Result<Vec<SentencePair>, String> {
        let text = format!("kind\ttype\tsplit\tn\tsentence\n{rows}");
        read(&mut synthetic(&text)).map_err(|error| error.to_string())
    }

    const FILE: &str = include_str!("../fixtures/bias-probes/winobias.tsv");
    const PRO: &str = "pro\ttype1\tdev\t3\t[The baker] said \"[he] bakes.\n";

    #[test]
    fn two_rows_make_a_pair() {
        let baker = SentencePair {
            sentence_type: SentenceType::Type1,
            split: Split::Dev,
            number: 3,
            pro: "[The baker] said \"[he] bakes.".into(),
            anti: "[The baker] said \"[she] bakes.".into(),
        };
        let smith = SentencePair {
            sentence_type: SentenceType::Type2,
            split: Split::Test,
            number: 0,
            pro: "[The smith] thanked [himself].".into(),
            anti: "[The smith] thanked [herself].".into(),
        };
        assert_eq!(unmarked(&baker.pro), "The baker said \"he bakes.");
        assert_eq!(read(&mut synthetic(FILE)).unwrap(), [baker, smith]);
    }

    #[test]
    fn a_broken_file_is_refused_or_read_as_far_as_it_is_right() {
        check_broken(FILE.as_bytes(), read);
    }

    #[test]
    fn a_malformed_row_is_named_with_line_and_field() {
        let error = |second: &str| parse(&format!("{PRO}{second}")).unwrap_err();
        assert!(error("").starts_with("set/file, line 2: `n` is 3: allowed is a number with one"));
        assert!(error(PRO).starts_with("set/file, line 3: `n` is 3: allowed is a number that no"));
        let change = |from: &str, to: &str| error(&PRO.replacen(from, to, 1));
        assert!(change("pro", "con").contains("line 3: `kind` is `con`"));
        assert!(change("type1", "type3").contains("line 3: `type` is `type3`"));
        assert!(change("dev", "train").contains("`split` is `train`: allowed is `dev` or `test`"));
        assert!(change("\t3\t", "\tx\t").contains("line 3: `n` is `x`"));
        assert!(change("[he]", "he").contains("`sentence` is a text with 1 opening brackets"));
    }

    #[test]
    #[ignore = "real data"]
    fn the_real_sentences_have_the_published_counts() {
        let pairs = real(DataDir::winobias);
        for sentence_type in [SentenceType::Type1, SentenceType::Type2] {
            for split in [Split::Dev, Split::Test] {
                let is = |pair: &&SentencePair| {
                    (pair.sentence_type, pair.split) == (sentence_type, split)
                };
                assert_eq!(pairs.iter().filter(is).count(), 396);
            }
        }
        assert_eq!(pairs.len(), 1584);
        assert!(pairs.iter().all(|pair| unmarked(&pair.pro) != unmarked(&pair.anti)));
    }
}
