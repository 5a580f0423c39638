//! `rm-bench`: right and wrong answers in three styles each (Liu et al. 2025, arXiv 2410.16184;
//! without its mathematics).
//!
//! The text is harmful in part: none of it belongs in a test, a log or a report.

use super::content::Content;
use super::{DataDir, DataError, objects};

/// The parts of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subset {
    /// Conversation; the rejected answers hold an error of fact.
    Chat,
    /// Programming; the rejected answers hold a bug.
    Code,
    /// Harmful requests; the rejected answers comply.
    SafetyRefuse,
    /// Harmless requests that sound harmful; the rejected answers refuse.
    SafetyResponse,
}

/// One prompt with three right and three wrong answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StyledAnswers {
    /// The prompt's number, unique within the subset.
    pub id: u32,
    /// The prompt.
    pub prompt: String,
    /// The right answer: concise, detailed, detailed with markdown.
    pub chosen: [String; 3],
    /// The wrong answer in the same styles.
    pub rejected: [String; 3],
}

impl DataDir {
    /// One subset of the set `rm-bench`, in file order: 129, 228, 284 and 157 prompts in the order
    /// of [`Subset`].
    ///
    /// # Errors
    /// As [`DataDir::read`]; [`DataError::Row`] for a record that is not as it should be.
    pub fn rm_bench(&self, subset: Subset) -> Result<Vec<StyledAnswers>, DataError> {
        let file = match subset {
            Subset::Chat => "chat.json.gz",
            Subset::Code => "code.json.gz",
            Subset::SafetyRefuse => "safety-refuse.json.gz",
            Subset::SafetyResponse => "safety-response.json.gz",
        };
        read(&mut self.open("rm-bench", file)?, subset)
    }
}

fn read(content: &mut Content, subset: Subset) -> Result<Vec<StyledAnswers>, DataError> {
    // Where a prompt was taken from and how its answers were made wrong is not kept.
    let fields: &[&str] = match subset {
        Subset::Chat => &["id", "prompt", "chosen", "rejected", "subset", "error", "error_key"],
        Subset::Code => &["id", "prompt", "chosen", "rejected", "subset", "language", "task_id"],
        Subset::SafetyRefuse | Subset::SafetyResponse => {
            &["id", "prompt", "chosen", "rejected", "subset"]
        }
    };
    objects::array(content, fields, |row| {
        Ok(StyledAnswers {
            id: row.whole("id", 0..=u32::MAX)?,
            prompt: row.text("prompt")?,
            chosen: row.texts("chosen")?,
            rejected: row.texts("rejected")?,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::content::tests::synthetic;
    use crate::testing::{check_broken, real};

    const CHAT: &str = include_str!("../fixtures/rm-bench/chat.json");
    const CODE: &str = include_str!("../fixtures/rm-bench/code.json");
    const REFUSE: &str = include_str!("../fixtures/rm-bench/safety-refuse.json");

    #[test]
    fn the_made_up_files_are_read_value_for_value() {
        let item = |id: u32| StyledAnswers {
            id,
            prompt: format!("Question {id}?"),
            chosen: ["a", "b", "# c"].map(str::to_owned),
            rejected: ["d", "", "f"].map(str::to_owned),
        };
        let both = [Subset::SafetyRefuse, Subset::SafetyResponse];
        for (file, subset, ids) in [
            (CHAT, Subset::Chat, [0, 7]),
            (CODE, Subset::Code, [1, 2]),
            (REFUSE, both[0], [3, u32::MAX]),
            (REFUSE, both[1], [3, u32::MAX]),
        ] {
            let items = read(&mut synthetic(file), subset).unwrap();
            assert_eq!(items, ids.map(item), "{subset:?}");
        }
    }

    #[test]
    fn a_broken_file_is_refused_or_read_as_far_as_it_is_right() {
        for (file, subset) in
            [(CHAT, Subset::Chat), (CODE, Subset::Code), (REFUSE, Subset::SafetyRefuse)]
        {
            check_broken(file.as_bytes(), |content| read(content, subset));
        }
    }

    const GOOD: &str = r#"{"id": 4, "subset": "s", "prompt": "Q?", "chosen": ["a", "b", "c"], "rejected": ["d", "e", "f"]}"#;

    #[test]
    fn a_malformed_record_is_named_with_number_and_field() {
        let parse = |text: &str| read(&mut synthetic(text), Subset::SafetyRefuse);
        assert!(parse(&format!("[{GOOD}]")).is_ok());
        let error = |from: &str, to: &str| {
            let text = format!("[{GOOD},\n{}]", GOOD.replace(from, to));
            let error = parse(&text).unwrap_err().to_string();
            error.strip_prefix("set/file, record 2: ").unwrap().to_owned()
        };
        assert!(
            error(", \"c\"", "")
                .ends_with("`chosen` is an array of 2: allowed is an array of 3 texts")
        );
        assert!(error("\"d\"", "1").starts_with("`rejected` is an array of 3"));
        assert!(error("4", "\"4\"").starts_with("`id` is a text of 1 characters"));
        assert!(error("\"Q?\"", "null").starts_with("`prompt` is null"));
        assert_eq!(error("prompt", "question"), "missing field `prompt`");
        assert!(error("\"id\"", "\"error\": 1, \"id\"").starts_with("unknown field `error`"));
        let chat = read(&mut synthetic(&format!("[{GOOD}]")), Subset::Chat).unwrap_err();
        assert_eq!(chat.to_string(), "set/file, record 1: missing field `error`");
    }

    #[test]
    #[ignore = "real data"]
    fn the_real_prompts_have_the_published_counts_and_lengths() {
        // Prompts, and mean words of the right answer in each style.
        let published = [
            (Subset::Chat, 129, [27.0, 236.0, 253.0]),
            (Subset::Code, 228, [225.0, 299.0, 304.0]),
            (Subset::SafetyRefuse, 284, [9.0, 73.0, 226.0]),
            (Subset::SafetyResponse, 157, [36.0, 262.0, 295.0]),
        ];
        for (subset, count, words) in published {
            let items = real(|data| data.rm_bench(subset));
            let ids: HashSet<u32> = items.iter().map(|item| item.id).collect();
            assert_eq!((items.len(), ids.len()), (count, count), "{subset:?}");
            for (style, published) in words.into_iter().enumerate() {
                let total: usize =
                    items.iter().map(|item| item.chosen[style].split_whitespace().count()).sum();
                let mean = total as f64 / count as f64;
                assert_eq!(mean.round(), published, "{subset:?}, style {style}");
            }
        }
    }
}
