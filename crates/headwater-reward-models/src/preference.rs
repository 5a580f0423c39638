//! Preferences between two responses, and pairs made from them that teach which prompt a response answers.

use headwater_core::StreamRng;
use rand::RngExt;

use crate::RewardModelError;
use crate::rounding::alike;

/// One response, with what is known of it beside its text. The model never sees anything but the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The text.
    pub text: String,
    /// The spurious factor Z: a number of words, or 0 and 1 for absent and present.
    pub factor: f64,
    /// Which answer it gives, where responses fall into a few kinds; for [`crate::Grouping::WithinAnswer`].
    pub answer: u32,
}

impl Response {
    /// A response of which nothing but the text is known.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), factor: 0.0, answer: 0 }
    }

    /// The response with the answer it gives.
    #[must_use]
    pub fn answer(self, answer: u32) -> Self {
        Self { answer, ..self }
    }

    /// The response with its factor.
    #[must_use]
    pub fn factor(self, factor: f64) -> Self {
        Self { factor, ..self }
    }
}

/// Two responses to one prompt, compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Preference {
    /// The prompt.
    pub prompt: String,
    /// The response that was preferred.
    pub chosen: Response,
    /// The other one.
    pub rejected: Response,
    /// Probability that `chosen` is preferred, in [0, 1]: 1, or 1/2 for a tie.
    pub label: f64,
    /// By how much the score of the preferred response shall be higher before the loss is satisfied, 0 or more.
    pub margin: f64,
}

impl Preference {
    /// A plain preference: label 1, margin 0.
    #[must_use]
    pub fn new(prompt: impl Into<String>, chosen: Response, rejected: Response) -> Self {
        Self { prompt: prompt.into(), chosen, rejected, label: 1.0, margin: 0.0 }
    }

    /// Whether the label prefers neither side, up to rounding.
    pub(crate) fn is_tie(&self) -> bool {
        alike(self.label, 0.5)
    }
}

/// Every label a probability, every margin and factor finite, and at least one preference.
pub(crate) fn check(preferences: &[Preference]) -> Result<(), RewardModelError> {
    if preferences.is_empty() {
        return Err(RewardModelError::Empty);
    }
    for (index, preference) in preferences.iter().enumerate() {
        if !(0.0..=1.0).contains(&preference.label) {
            return Err(RewardModelError::Label { index, value: preference.label });
        }
        let margin = preference.margin;
        if !(margin.is_finite() && margin >= 0.0) {
            return Err(RewardModelError::Margin { index, value: margin });
        }
        for response in [&preference.chosen, &preference.rejected] {
            if !response.factor.is_finite() {
                return Err(RewardModelError::Factor { index, value: response.factor });
            }
        }
    }
    Ok(())
}

/// How many pairs [`augmented`] adds for each preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Augmentation {
    /// Pairs in which a response to this prompt, preferred or not, beats one written for another prompt.
    pub non_contextual: usize,
    /// Ties between two responses that were both written for other prompts.
    pub neutral: usize,
}

/// The preferences with pairs added after Liu et al. 2024 (Robust Reward Model, arXiv 2409.13156): a model that
/// scores by what does not depend on the prompt gets them wrong, whatever that is, so nothing need be named.
///
/// Other prompts are drawn uniformly among those with another text; with one prompt only, nothing is added. The
/// source leaves open how many pairs of each kind are drawn: `augmentation` says it.
#[must_use]
pub fn augmented(
    preferences: &[Preference],
    augmentation: Augmentation,
    stream: &mut StreamRng,
) -> Vec<Preference> {
    let mut all = preferences.to_vec();
    let Some(first) = preferences.first() else { return all };
    if preferences.iter().all(|preference| preference.prompt == first.prompt) {
        return all;
    }
    let foreign = |own: &Preference, stream: &mut StreamRng| loop {
        let other = &preferences[stream.random_range(0..preferences.len())];
        if other.prompt != own.prompt {
            let either = if stream.random::<bool>() { &other.chosen } else { &other.rejected };
            return either.clone();
        }
    };
    for own in preferences {
        for _ in 0..augmentation.non_contextual {
            let either = if stream.random::<bool>() { &own.chosen } else { &own.rejected };
            let rejected = foreign(own, stream);
            all.push(Preference::new(own.prompt.clone(), either.clone(), rejected));
        }
        for _ in 0..augmentation.neutral {
            let (chosen, rejected) = (foreign(own, stream), foreign(own, stream));
            let pair = Preference::new(own.prompt.clone(), chosen, rejected);
            all.push(Preference { label: 0.5, ..pair });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Streams;

    fn preference(prompt: &str) -> Preference {
        let response = |kind: &str| Response::new(format!("{prompt} {kind}"));
        Preference::new(prompt, response("good"), response("bad"))
    }

    #[test]
    fn added_pairs_are_of_the_two_kinds() {
        let own = [preference("a"), preference("b"), preference("c")];
        let wanted = Augmentation { non_contextual: 2, neutral: 1 };
        let all = augmented(&own, wanted, &mut Streams::new(1).stream("augment", &[]));
        assert_eq!(all.len(), 3 + 3 * 3);
        assert_eq!(all[..3], own);
        for pair in &all[3..] {
            let written_for = |response: &Response| response.text.starts_with(&pair.prompt);
            assert!(!written_for(&pair.rejected));
            assert_eq!(written_for(&pair.chosen), pair.label == 1.0);
        }
        assert_eq!(all.iter().filter(|pair| pair.is_tie()).count(), 3);
        assert!(Preference { label: 1.0 - (0.2 + 0.2 + 0.1), ..preference("a") }.is_tie());
        assert!(Preference { label: 0.15 + 0.35, ..preference("a") }.is_tie());
        assert!(!Preference { label: 0.5001, ..preference("a") }.is_tie());
    }

    #[test]
    fn one_prompt_has_nothing_to_be_mixed_with() {
        let own = [preference("a"), preference("a")];
        let wanted = Augmentation { non_contextual: 1, neutral: 1 };
        assert_eq!(augmented(&own, wanted, &mut Streams::new(1).stream("augment", &[])), own);
    }
}
