//! `hh-rlhf`: pairs of answers of which a person preferred one (Bai et al. 2022, arXiv 2204.05862).
//!
//! The text is harmful in part: none of it belongs in a test, a log or a report.

use serde::{Deserialize, Serialize};

use super::content::Content;
use super::objects::Object;
use super::{DataDir, DataError, objects};

/// The two domains, with opposite length biases: P(longer is chosen) is 0.60 and 0.44.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HelpfulOrHarmless {
    /// Official test split of `helpful-base`.
    Helpful,
    /// Official test split of `harmless-base`.
    Harmless,
}

/// Two answers to the same dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreferencePair {
    /// The dialogue up to the last `"\n\nAssistant:"`, which is left out.
    pub prompt: String,
    /// The preferred answer: what follows that mark, with the space it begins with.
    pub chosen: String,
    /// The other answer.
    pub rejected: String,
}

/// The usable pairs of one domain, and how many were left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preferences {
    /// Pairs whose answers differ and whose dialogues do not, in file order.
    pub pairs: Vec<PreferencePair>,
    /// Pairs left out because their dialogues differ before the last answer.
    pub different_dialogues: usize,
    /// Pairs left out because both answers are the same text.
    pub identical_answers: usize,
}

impl DataDir {
    /// The pairs of one domain of the set `hh-rlhf`: 2,343 of 2,354 helpful, 2,307 of 2,312
    /// harmless.
    ///
    /// # Errors
    /// As [`DataDir::read`]; [`DataError::Row`] for a row that is not as it should be.
    pub fn hh_rlhf(&self, domain: HelpfulOrHarmless) -> Result<Preferences, DataError> {
        let file = match domain {
            HelpfulOrHarmless::Helpful => "helpful-base.test.jsonl.gz",
            HelpfulOrHarmless::Harmless => "harmless-base.test.jsonl.gz",
        };
        read(&mut self.open("hh-rlhf", file)?)
    }
}

fn read(content: &mut Content) -> Result<Preferences, DataError> {
    let (mut different_dialogues, mut identical_answers) = (0, 0);
    let pairs = objects::lines(content, &["chosen", "rejected"], |row| {
        let (prompt, chosen) = last_answer(row, "chosen")?;
        let (other, rejected) = last_answer(row, "rejected")?;
        if prompt != other {
            different_dialogues += 1;
            return Ok(None);
        }
        if chosen == rejected {
            identical_answers += 1;
            return Ok(None);
        }
        Ok(Some(PreferencePair { prompt, chosen, rejected }))
    })?;
    let pairs = pairs.into_iter().flatten().collect();
    Ok(Preferences { pairs, different_dialogues, identical_answers })
}

/// The dialogue before its last answer, and that answer.
fn last_answer(row: &Object<'_>, field: &str) -> Result<(String, String), DataError> {
    let dialogue = row.text(field)?;
    let parts = dialogue.rsplit_once("\n\nAssistant:");
    let parts = parts.map(|(before, answer)| (before.to_owned(), answer.to_owned()));
    parts.ok_or_else(|| {
        let value = format!("a text of {} characters", dialogue.chars().count());
        row.place.refuse(field, value, r#"a dialogue with a turn "\n\nAssistant:""#)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tests::synthetic;
    use crate::testing::{check_broken, real};

    const FILE: &str = include_str!("../fixtures/hh-rlhf/helpful-base.test.jsonl");

    fn line(chosen: &str, rejected: &str) -> String {
        serde_json::json!({ "chosen": chosen, "rejected": rejected }).to_string() + "\n"
    }

    #[test]
    fn a_pair_is_cut_at_the_last_answer_and_unusable_pairs_are_counted() {
        let pair = |prompt: &str, chosen: &str, rejected: &str| {
            let [prompt, chosen, rejected] = [prompt, chosen, rejected].map(str::to_owned);
            PreferencePair { prompt, chosen, rejected }
        };
        let asked = "\n\nHuman: Tea?\n\nAssistant: Yes.\n\nHuman: Now?";
        let expected = Preferences {
            pairs: vec![
                pair(asked, " At once.", " Later."),
                pair("\n\nHuman: Hello.", "", " Ça va?"),
            ],
            different_dialogues: 1,
            identical_answers: 1,
        };
        assert_eq!(read(&mut synthetic(FILE)).unwrap(), expected);
    }

    #[test]
    fn a_broken_file_is_refused_or_read_as_far_as_it_is_right() {
        check_broken(FILE.as_bytes(), |content| Ok(read(content)?.pairs));
    }

    #[test]
    fn a_dialogue_without_an_answer_is_named_but_not_shown() {
        let good = "\n\nHuman: a\n\nAssistant: b";
        let error = |text: String| read(&mut synthetic(&text)).unwrap_err().to_string();
        assert_eq!(
            error(line(good, good) + &line(good, "\n\nHuman: secret")),
            "set/file, line 2: `rejected` is a text of 15 characters: \
             allowed is a dialogue with a turn \"\\n\\nAssistant:\""
        );
        assert!(error("{\"chosen\": \"\"}\n".into()).contains("missing field `rejected`"));
    }

    #[test]
    #[ignore = "real data"]
    fn the_real_pairs_have_the_published_counts_and_lengths() {
        // Published over all pairs, of which 0.5 % are left out here: hence the tolerances.
        let published = [
            (HelpfulOrHarmless::Helpful, (2343, 9, 2), 0.603, (44.3, 33.6)),
            (HelpfulOrHarmless::Harmless, (2307, 5, 0), 0.438, (30.8, 38.8)),
        ];
        for (domain, counts, longer, words) in published {
            let read = real(|data| data.hh_rlhf(domain));
            let found = (read.pairs.len(), read.different_dialogues, read.identical_answers);
            assert_eq!(found, counts, "{domain:?}");
            let words_of = |text: &str| text.split_whitespace().count() as f64;
            let lengths: Vec<(f64, f64)> = read
                .pairs
                .iter()
                .map(|pair| (words_of(&pair.chosen), words_of(&pair.rejected)))
                .collect();
            let unequal = lengths.iter().filter(|(chosen, rejected)| chosen != rejected).count();
            let chosen_longer = lengths.iter().filter(|(chosen, rejected)| chosen > rejected);
            let share = chosen_longer.count() as f64 / unequal as f64;
            assert!((share - longer).abs() < 0.0015, "{domain:?}: {share}");
            let n = lengths.len() as f64;
            let mean_chosen = lengths.iter().map(|(chosen, _)| chosen).sum::<f64>() / n;
            let mean_rejected = lengths.iter().map(|(_, rejected)| rejected).sum::<f64>() / n;
            assert!((mean_chosen - words.0).abs() < 0.15, "{domain:?}: {mean_chosen}");
            assert!((mean_rejected - words.1).abs() < 0.15, "{domain:?}: {mean_rejected}");
        }
    }
}
