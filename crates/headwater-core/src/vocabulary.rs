//! Vocabularies of small policies: one token per character or per word.

/// Padding; never generated in training targets.
pub const PAD: u32 = 0;
/// Start of a sequence.
pub const BOS: u32 = 1;
/// End of a completion.
pub const EOS: u32 = 2;

/// Text that a vocabulary has no token for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no token for {text:?} at byte {byte}")]
pub struct Untokenizable {
    /// The text at the point where no token fits, at most 16 characters.
    pub text: String,
    /// Byte offset of that point.
    pub byte: usize,
}

const SPECIAL: [&str; 3] = ["<pad>", "<bos>", "<eos>"];

/// A fixed list of tokens, after the special [`PAD`], [`BOS`] and [`EOS`] with ids 0, 1 and 2.
///
/// With single-character tokens it is a character tokenizer, with longer ones a word tokenizer: text is
/// cut greedily into the longest tokens that fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    tokens: Vec<String>,
}

impl Vocabulary {
    /// One token per distinct character of `characters`, in order of first appearance.
    #[must_use]
    pub fn characters(characters: &str) -> Self {
        Self::words(characters.chars().map(String::from))
    }

    /// The given tokens in order; empty ones and repeats are dropped.
    #[must_use]
    pub fn words(words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut tokens: Vec<String> = SPECIAL.map(String::from).to_vec();
        for word in words.into_iter().map(Into::into) {
            if !word.is_empty() && !tokens.contains(&word) {
                tokens.push(word);
            }
        }
        Self { tokens }
    }

    /// Number of tokens, special ones included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.tokens.len()
    }

    /// The id of one token, if it is in the vocabulary.
    #[must_use]
    pub fn id(&self, token: &str) -> Option<u32> {
        self.tokens.iter().position(|t| t == token).map(|i| i as u32)
    }

    /// Token ids of `text`, without special tokens.
    ///
    /// # Errors
    /// The first place where no token fits.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Untokenizable> {
        let mut ids = Vec::new();
        let mut byte = 0;
        while byte < text.len() {
            let rest = &text[byte..];
            let longest = (SPECIAL.len()..self.tokens.len())
                .filter(|i| rest.starts_with(&self.tokens[*i]))
                .max_by_key(|i| self.tokens[*i].len());
            let Some(id) = longest else {
                return Err(Untokenizable { text: rest.chars().take(16).collect(), byte });
            };
            ids.push(id as u32);
            byte += self.tokens[id].len();
        }
        Ok(ids)
    }

    /// The text of `ids`; special tokens and unknown ids are left out.
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> String {
        let text =
            |id: &u32| self.tokens.get(*id as usize).filter(|_| *id as usize >= SPECIAL.len());
        ids.iter().filter_map(text).map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_the_longest_token_and_names_what_it_cannot_encode() {
        let vocabulary = Vocabulary::words(["a", "ab", "c"]);
        assert_eq!(vocabulary.encode("abca").unwrap(), [4, 5, 3]);
        assert_eq!(
            vocabulary.encode("ab?c").unwrap_err().to_string(),
            "no token for \"?c\" at byte 2"
        );
        assert_eq!(vocabulary.id("<eos>"), Some(EOS));
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(text in "[0-9+=?]{0,20}") {
            let vocabulary = Vocabulary::characters("0123456789+=?");
            let mut ids = vocabulary.encode(&text).unwrap();
            prop_assert_eq!(ids.len(), text.len());
            ids.insert(0, BOS);
            ids.push(EOS);
            prop_assert_eq!(vocabulary.decode(&ids), text);
        }
    }
}
