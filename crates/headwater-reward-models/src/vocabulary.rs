//! Frequent words as tokens.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::words;

/// Token for a word the vocabulary does not have.
const UNKNOWN: u32 = 1;
/// Token between prompt and response.
const SEPARATOR: u32 = 2;

/// The most frequent words of a corpus as tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordVocabulary {
    /// Sorted, so that equal vocabularies are equal bytes.
    ids: BTreeMap<String, u32>,
    context: usize,
}

impl WordVocabulary {
    /// The words of `texts`, most frequent first (ties in alphabetical order), so that with padding,
    /// unknown and separator there are at most `size` tokens; inputs are cut to `context` tokens.
    #[must_use]
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>, size: usize, context: usize) -> Self {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for text in texts {
            for word in words(text) {
                *counts.entry(word).or_default() += 1;
            }
        }
        let mut ranked: Vec<(String, usize)> = counts.into_iter().collect();
        ranked.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let kept = ranked.into_iter().take(size.saturating_sub(3));
        let ids = kept.zip(3u32..).map(|((word, _), id)| (word, id)).collect();
        Self { ids, context }
    }

    /// Number of tokens.
    #[must_use]
    pub fn size(&self) -> usize {
        self.ids.len() + 3
    }

    /// `prompt`, separator, `response` as tokens, the prompt cut from the front where both are too long.
    #[must_use]
    pub fn encode(&self, prompt: &str, response: &str) -> Vec<u32> {
        let ids = |text: &str| -> Vec<u32> {
            words(text).iter().map(|w| self.ids.get(w).copied().unwrap_or(UNKNOWN)).collect()
        };
        let mut tail = vec![SEPARATOR];
        tail.extend(ids(response));
        tail.truncate(self.context);
        let prompt = ids(prompt);
        let room = (self.context - tail.len()).min(prompt.len());
        let mut tokens = prompt[prompt.len() - room..].to_vec();
        tokens.append(&mut tail);
        tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_inputs_lose_the_start_of_the_prompt_first() {
        let vocabulary = WordVocabulary::of(["a b c d e f"], 16, 5);
        let ids = |text: &str| -> Vec<u32> { vocabulary.encode("", text)[1..].to_vec() };
        assert_eq!(
            vocabulary.encode("a b c d", "e"),
            [&ids("b c d")[..], &[2], &ids("e")].concat()
        );
        assert_eq!(vocabulary.encode("a", "b c d e f").len(), 5);
        assert_eq!(vocabulary.encode("zebra", "a")[0], UNKNOWN);
    }
}
