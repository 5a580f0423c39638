//! Hashed bag-of-words features of a response.

use headwater_core::{Check, ConfigError, require};
use serde::{Deserialize, Serialize};

/// A sparse vector: distinct indices in ascending order with their values.
pub type SparseFeatures = Vec<(u32, f32)>;

/// How counts become features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// Scaled to unit Euclidean length: how long a text is cannot be told from them.
    UnitLength,
    /// As they are: a linear score can grow with the length.
    Counts,
}

/// What is counted, unchecked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BagOfWordsConfig {
    /// Dimensions words are hashed into, 1 or more.
    pub buckets: u32,
    /// Whether pairs of adjacent words are counted beside words.
    pub word_pairs: bool,
    /// Whether pairs of a prompt's word and a response's word are counted: what a linear model needs to score a
    /// response by its prompt. Quadratic in the lengths.
    pub prompt_pairs: bool,
    /// What becomes of the counts.
    pub scaling: Scaling,
}

impl Default for BagOfWordsConfig {
    fn default() -> Self {
        Self {
            buckets: 1 << 12,
            word_pairs: true,
            prompt_pairs: false,
            scaling: Scaling::UnitLength,
        }
    }
}

impl Check for BagOfWordsConfig {
    type Checked = BagOfWords;

    fn check(self) -> Result<BagOfWords, ConfigError> {
        let allowed = "1 or more";
        require(self.buckets > 0, "BagOfWordsConfig", "buckets", self.buckets, allowed)?;
        Ok(BagOfWords { config: self })
    }
}

/// Hashed counts of words and word pairs of the *response* (Weinberger et al. 2009, without the sign hash).
///
/// Unless `prompt_pairs` are counted, the prompt enters only through how many words of the response also stand in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BagOfWords {
    config: BagOfWordsConfig,
}

impl BagOfWords {
    /// What is counted.
    #[must_use]
    pub fn config(&self) -> &BagOfWordsConfig {
        &self.config
    }

    /// Features of `response` to `prompt`; empty for a response without words.
    #[must_use]
    pub fn features(&self, prompt: &str, response: &str) -> SparseFeatures {
        let asked: Vec<String> = words(prompt);
        let said: Vec<String> = words(response);
        let mut buckets: Vec<u32> = Vec::with_capacity(3 * said.len());
        for (at, word) in said.iter().enumerate() {
            buckets.push(self.bucket(&["word", word]));
            if let Some(next) = said.get(at + 1).filter(|_| self.config.word_pairs) {
                buckets.push(self.bucket(&["pair", word, next]));
            }
            if self.config.prompt_pairs {
                buckets.extend(asked.iter().map(|asked| self.bucket(&["asked", asked, word])));
            } else if asked.contains(word) {
                buckets.push(self.bucket(&["asked"]));
            }
        }
        buckets.sort_unstable();
        let mut features: SparseFeatures = Vec::with_capacity(buckets.len());
        for bucket in buckets {
            match features.last_mut() {
                Some((last, count)) if *last == bucket => *count += 1.0,
                _ => features.push((bucket, 1.0)),
            }
        }
        if self.config.scaling == Scaling::UnitLength {
            let length = features.iter().map(|(_, v)| v * v).sum::<f32>().sqrt();
            features.iter_mut().for_each(|(_, value)| *value /= length);
        }
        features
    }

    fn bucket(&self, parts: &[&str]) -> u32 {
        // FNV-1a, with a separator that no word contains.
        let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        ((hash ^ (hash >> 32)) % u64::from(self.config.buckets)) as u32
    }
}

/// Lower-case runs of letters, digits and apostrophes.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let cut = |c: char| !(c.is_alphanumeric() || c == '\'');
    lower.split(cut).filter(|word| !word.is_empty()).map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bag(buckets: u32) -> BagOfWords {
        BagOfWordsConfig { buckets, ..BagOfWordsConfig::default() }.check().unwrap()
    }

    proptest! {
        #[test]
        fn features_are_a_unit_vector_of_ascending_indices(prompt: String, response: String) {
            let features = bag(64).features(&prompt, &response);
            prop_assert!(features.windows(2).all(|pair| pair[0].0 < pair[1].0));
            prop_assert!(features.iter().all(|(index, _)| *index < 64));
            let length: f32 = features.iter().map(|(_, v)| v * v).sum();
            prop_assert!(features.is_empty() || (length - 1.0).abs() < 1e-4);
            prop_assert_eq!(features.is_empty(), words(&response).is_empty());
        }

        #[test]
        fn case_and_punctuation_do_not_matter(response in "[a-z]{1,6}( [a-z]{1,6}){0,6}") {
            let bag = bag(1 << 12);
            let edited = format!("  {}!", response.to_uppercase().replace(' ', ", "));
            prop_assert_eq!(bag.features("", &response), bag.features("", &edited));
        }
    }

    #[test]
    fn a_word_of_the_prompt_is_noticed() {
        let bag = bag(1 << 12);
        let shared = bag.features("Who was Caesar?", "Caesar");
        let foreign = bag.features("Who was Brutus?", "Caesar");
        assert_eq!((shared.len(), foreign.len()), (2, 1));
    }

    #[test]
    fn counts_grow_with_the_length_and_prompt_pairs_with_both_texts() {
        let config = BagOfWordsConfig { scaling: Scaling::Counts, ..BagOfWordsConfig::default() };
        let sum = |f: SparseFeatures| f.iter().map(|(_, v)| v).sum::<f32>();
        let counts = config.clone().check().unwrap();
        assert_eq!(sum(counts.features("", "a b")), 3.0);
        assert_eq!(sum(counts.features("", "a b a b")), 7.0);
        let crossed = BagOfWordsConfig { prompt_pairs: true, ..config }.check().unwrap();
        assert_eq!(sum(crossed.features("x y", "a b")), 3.0 + 4.0);
        assert_ne!(crossed.features("x", "a"), crossed.features("y", "a"));
        let error = BagOfWordsConfig { buckets: 0, ..BagOfWordsConfig::default() }.check();
        assert_eq!(
            error.unwrap_err().to_string(),
            "BagOfWordsConfig.buckets = 0: allowed is 1 or more"
        );
    }
}
