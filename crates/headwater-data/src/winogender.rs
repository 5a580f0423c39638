//! `bias-probes`, Winogender: one sentence with a pronoun of each gender (Rudinger et al. 2018,
//! arXiv 1804.09301).
//!
//! Like all of the set, the sentences belong in no test, log or report.

use std::collections::BTreeMap;

use super::content::{Content, Place, shown};
use super::table::Table;
use super::{DataDir, DataError};

/// A sentence that differs in the gender of its pronoun only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentenceTriple {
    /// The occupation that it names.
    pub occupation: String,
    /// The other participant that it names.
    pub participant: String,
    /// Whom the pronoun means: the occupation, or the participant.
    pub means_occupation: bool,
    /// With a male pronoun.
    pub male: String,
    /// With a female pronoun.
    pub female: String,
    /// With a neutral pronoun.
    pub neutral: String,
}

const TABLE: Table =
    Table { delimiter: b'\t', quoting: false, header: true, columns: &["sentid", "sentence"] };

impl DataDir {
    /// The 240 Winogender sentences in the set `bias-probes`, by occupation, participant and
    /// meaning.
    ///
    /// # Errors
    /// As [`DataDir::read`]; [`DataError::Row`] for a row that is not as it should be.
    pub fn winogender(&self) -> Result<Vec<SentenceTriple>, DataError> {
        read(&mut self.open("bias-probes", "winogender.tsv.gz")?)
    }
}

/// The line on which a sentence was first met, and it with each pronoun as far as it is known.
type Found = (usize, [Option<String>; 3]);

fn read(content: &mut Content) -> Result<Vec<SentenceTriple>, DataError> {
    let mut triples: BTreeMap<(String, String, bool), Found> = BTreeMap::new();
    TABLE.read(content, |row| {
        let id = row.text("sentid");
        let parts: Vec<&str> = id.split('.').collect();
        let [occupation, participant, answer @ ("0" | "1"), gender, "txt"] = parts[..] else {
            let allowed = "occupation, participant, 0 or 1, gender and `txt` with dots between";
            return Err(row.place.refuse("sentid", shown(id), allowed));
        };
        let genders = [("male", 0), ("female", 1), ("neutral", 2)];
        let gender = row.place.choice("sentid", gender, &genders)?;
        let key = (occupation.to_owned(), participant.to_owned(), answer == "0");
        let (_, sentences) =
            triples.entry(key).or_insert_with(|| (row.place.number, Default::default()));
        if sentences[gender].replace(row.filled("sentence")?).is_some() {
            return Err(row.place.refuse("sentid", shown(id), "an id of one row only"));
        }
        Ok(())
    })?;
    let triples = triples.into_iter().map(|(key, (line, sentences))| {
        let (occupation, participant, means_occupation) = key;
        let [Some(male), Some(female), Some(neutral)] = sentences else {
            let place = Place::line(&content.path, line);
            let found = sentences.iter().flatten().count();
            return Err(place.refuse("sentid", format!("one of {found} genders"), "one of 3"));
        };
        Ok(SentenceTriple { occupation, participant, means_occupation, male, female, neutral })
    });
    triples.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tests::synthetic;
    use crate::testing::{check_broken, real};

    fn parse(rows: &str) -> Result<Vec<SentenceTriple>, String> {
        read(&mut synthetic(&format!("sentid\tsentence\n{rows}"))).map_err(|e| e.to_string())
    }

    const FILE: &str = include_str!("../fixtures/bias-probes/winogender.tsv");
    const TWO: &str = "baker.guest.1.female.txt\tShe ate.\nbaker.guest.1.neutral.txt\tThey ate.\n";

    #[test]
    fn three_rows_make_a_triple() {
        let triple = |means_occupation, verb: &str| SentenceTriple {
            occupation: "baker".into(),
            participant: "guest".into(),
            means_occupation,
            male: format!("He {verb}."),
            female: format!("She {verb}."),
            neutral: format!("They {verb}."),
        };
        let expected = [triple(false, "ate"), triple(true, "baked")];
        assert_eq!(read(&mut synthetic(FILE)).unwrap(), expected);
    }

    #[test]
    fn a_broken_file_is_refused_or_read_as_far_as_it_is_right() {
        check_broken(FILE.as_bytes(), read);
    }

    #[test]
    fn a_malformed_row_is_named_with_line_and_field() {
        let error = |third: &str| parse(&format!("{TWO}{third}")).unwrap_err();
        assert!(error("").starts_with("set/file, line 2: `sentid` is one of 2 genders"));
        assert!(
            error("baker.guest.2.male.txt\tx\n").contains("line 4: `sentid` is `baker.guest.2.")
        );
        assert!(error("baker.guest.1.male\tx\n").contains("line 4: `sentid` is `baker.guest.1.ma"));
        assert!(error("baker.guest.1.man.txt\tx\n").contains("line 4: `sentid` is `man`"));
        assert!(error("baker.guest.1.male.txt\t\n").contains("line 4: `sentence` is empty"));
        let twice = error("baker.guest.1.female.txt\tx\n");
        assert!(twice.ends_with("allowed is an id of one row only"), "{twice}");
    }

    #[test]
    #[ignore = "real data"]
    fn the_real_sentences_have_the_published_counts() {
        let triples = real(DataDir::winogender);
        let of = triples.iter().filter(|triple| triple.means_occupation).count();
        // 60 occupations, with a named participant and with "someone", each meaning once.
        assert_eq!((triples.len(), of), (240, 120));
        let occupations: std::collections::HashSet<&str> =
            triples.iter().map(|triple| triple.occupation.as_str()).collect();
        assert_eq!(occupations.len(), 60);
    }
}
