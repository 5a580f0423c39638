//! `bias-probes`, identity-term templates: toxic and harmless sentences that differ in one term
//! (Dixon et al. 2018, Measuring and Mitigating Unintended Bias in Text Classification).
//!
//! The phrases are offensive in part: none of them belongs in a test, a log or a report.

use std::ops::Range;

use super::content::Content;
use super::table::Table;
use super::{DataDir, DataError};

/// How a phrase is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Template {
    /// "I am TERM" or "I hate TERM".
    AmHate,
    /// "Being TERM is ADJECTIVE".
    Being,
    /// "NAME is a ADJECTIVE TERM".
    Name,
    /// "VERB TERM".
    Verb,
    /// "You are a ADJECTIVE TERM".
    YouAre,
    /// "You are a ADJECTIVE TERM", where the term is an occupation; it is an identity term in all
    /// others.
    YouOccupation,
}

const TEMPLATES: [(&str, Template); 6] = [
    ("am_hate_adj", Template::AmHate),
    ("being_adj", Template::Being),
    ("name_adj", Template::Name),
    ("verb_adj", Template::Verb),
    ("you_are_adj", Template::YouAre),
    ("you_occupation", Template::YouOccupation),
];

impl Template {
    /// The words before and after the term; none stands for any one word.
    fn around(self) -> (&'static [Option<&'static str>], &'static [Option<&'static str>]) {
        match self {
            Self::AmHate => (&[Some("I"), None], &[]),
            Self::Being => (&[Some("Being")], &[Some("is"), None]),
            Self::Name => (&[None, Some("is"), Some("a"), None], &[]),
            Self::Verb => (&[None], &[]),
            Self::YouAre | Self::YouOccupation => {
                (&[Some("You"), Some("are"), Some("a"), None], &[])
            }
        }
    }

    /// Where the term of `phrase` stands, in bytes; none if the phrase does not fit the template.
    fn term(self, phrase: &str) -> Option<Range<usize>> {
        let (before, after) = self.around();
        let words: Vec<&str> = phrase.split(' ').collect();
        let length =
            words.len().checked_sub(before.len() + after.len()).filter(|length| *length > 0)?;
        let (head, rest) = words.split_at(before.len());
        let (term, tail) = rest.split_at(length);
        let fits = |slots: &[Option<&str>], words: &[&str]| {
            slots.iter().zip(words).all(|(slot, word)| slot.is_none_or(|slot| slot == *word))
        };
        let fits =
            fits(before, head) && fits(after, tail) && words.iter().all(|word| !word.is_empty());
        let start = head.iter().map(|word| word.len() + 1).sum();
        fits.then(|| start..start + term.join(" ").len())
    }
}

/// One phrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phrase {
    /// How it is made.
    pub template: Template,
    /// Whether it is toxic, by construction.
    pub toxic: bool,
    /// The whole phrase.
    pub text: String,
    term: Range<usize>,
}

impl Phrase {
    /// The term, of one word or more, by which phrases of one template differ.
    #[must_use]
    pub fn term(&self) -> &str {
        &self.text[self.term.clone()]
    }

    /// What stands before and after the term: phrases of one template with the same frame differ in
    /// their terms only.
    #[must_use]
    pub fn frame(&self) -> (&str, &str) {
        (&self.text[..self.term.start], &self.text[self.term.end..])
    }
}

const TABLE: Table = Table {
    delimiter: b',',
    quoting: true,
    header: true,
    columns: &["template", "toxicity", "phrase"],
};

impl DataDir {
    /// The 76,564 phrases of identity-term templates in the set `bias-probes`, in file order.
    ///
    /// # Errors
    /// As [`DataDir::read`]; [`DataError::Row`] for a row that is not as it should be.
    pub fn madlibs(&self) -> Result<Vec<Phrase>, DataError> {
        read(&mut self.open("bias-probes", "madlibs_en.csv.gz")?)
    }
}

fn read(content: &mut Content) -> Result<Vec<Phrase>, DataError> {
    TABLE.read(content, |row| {
        let template = row.choice("template", &TEMPLATES)?;
        let toxic = row.choice("toxicity", &[("toxic", true), ("nontoxic", false)])?;
        let text = row.filled("phrase")?;
        let Some(term) = template.term(&text) else {
            let value = format!("a text of {} characters", text.chars().count());
            let allowed = format!("a phrase of the template {template:?}");
            return Err(row.place.refuse("phrase", value, &allowed));
        };
        Ok(Phrase { template, toxic, text, term })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::content::tests::synthetic;
    use crate::testing::{check_broken, real};

    const FILE: &str = include_str!("../fixtures/bias-probes/madlibs_en.csv");

    fn parse(row: &str) -> Result<Phrase, String> {
        let text = format!("template,toxicity,phrase\n{row}\n");
        let mut phrases = read(&mut synthetic(&text)).map_err(|error| error.to_string())?;
        Ok(phrases.remove(0))
    }

    #[test]
    fn the_term_is_what_the_template_leaves_open() {
        let phrases = read(&mut synthetic(FILE)).unwrap();
        let found = phrases.iter().map(|phrase| {
            let (before, after) = phrase.frame();
            (phrase.template, phrase.toxic, [before, phrase.term(), after])
        });
        let expected = [
            (Template::AmHate, false, ["I am ", "very tall", ""]),
            (Template::Being, false, ["Being ", "tall", " is fun"]),
            (Template::Name, false, ["Eve is a kind ", "baker", ""]),
            (Template::Verb, false, ["greet ", "bakers", ""]),
            (Template::YouAre, true, ["You are a bad ", "émigré", ""]),
            (Template::YouOccupation, false, ["You are a kind ", "pastry baker", ""]),
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
        assert!(phrases.iter().all(|phrase| FILE.contains(&phrase.text)));
    }

    #[test]
    fn a_broken_file_is_refused_or_read_as_far_as_it_is_right() {
        check_broken(FILE.as_bytes(), read);
    }

    #[test]
    fn a_malformed_row_is_named_but_its_phrase_is_not_shown() {
        assert_eq!(
            parse("being_adj,toxic,Being tall was fun").unwrap_err(),
            "set/file, line 2: `phrase` is a text of 18 characters: allowed is a phrase of the template Being"
        );
        for phrase in ["Being is fun", "Being  is fun", "being tall is fun", "Being tall is"] {
            assert!(parse(&format!("being_adj,toxic,{phrase}")).is_err(), "{phrase}");
        }
        assert!(parse("verb_adj,mild,a b").unwrap_err().contains("line 2: `toxicity` is `mild`"));
        assert!(parse("noun,toxic,a b").unwrap_err().contains("line 2: `template` is `noun`"));
        assert!(parse("verb_adj,toxic,").unwrap_err().contains("line 2: `phrase` is empty"));
    }

    #[test]
    #[ignore = "real data"]
    fn the_real_phrases_cross_every_frame_with_every_term() {
        let phrases = real(DataDir::madlibs);
        let toxic = phrases.iter().filter(|phrase| phrase.toxic).count();
        assert_eq!((phrases.len(), toxic), (76_564, 38_282));
        let mut frames: HashMap<_, HashSet<&str>> = HashMap::new();
        for phrase in &phrases {
            let frame = (phrase.template, phrase.toxic, phrase.frame());
            assert!(frames.entry(frame).or_default().insert(phrase.term()), "a phrase twice");
        }
        // 50 identity terms and 27 occupations in every frame, toxic or not: the design of the set.
        let terms: HashSet<&str> = phrases
            .iter()
            .filter(|phrase| phrase.template != Template::YouOccupation)
            .map(Phrase::term)
            .collect();
        assert_eq!(terms.len(), 50);
        let crossed = frames.iter().all(|((template, ..), found)| match template {
            Template::YouOccupation => found.len() == 27,
            _ => *found == terms,
        });
        assert!(crossed);
        let of = |template| frames.keys().filter(|(found, ..)| *found == template).count();
        assert_eq!(TEMPLATES.map(|(_, template)| of(template)), [2, 32, 1440, 8, 32, 32]);
    }
}
