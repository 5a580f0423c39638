//! Samples that own their text and shrink by dropping words.

use headwater_core::Sample;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;

/// A [`Sample`] that owns its text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OwnedSample {
    /// The text the completion answers.
    pub prompt: String,
    /// The text to be scored.
    pub completion: String,
    /// The reference answer, where the task has one.
    pub reference: Option<String>,
}

impl OwnedSample {
    /// A sample of these texts.
    #[must_use]
    pub fn new(prompt: &str, completion: &str, reference: Option<&str>) -> Self {
        Self {
            prompt: prompt.to_owned(),
            completion: completion.to_owned(),
            reference: reference.map(str::to_owned),
        }
    }

    /// Borrowed, as rewards take it.
    #[must_use]
    pub fn as_sample(&self) -> Sample<'_> {
        Sample {
            prompt: &self.prompt,
            completion: &self.completion,
            reference: self.reference.as_deref(),
        }
    }
}

/// Draws uniformly, with replacement, from the given samples. A drawn sample shrinks by dropping
/// words of its completion, so shrunk completions need not be among the given ones; prompt and
/// reference stay.
///
/// # Panics
/// When there are no samples.
pub fn given(samples: impl IntoIterator<Item = OwnedSample>) -> SampleStrategy {
    let samples: Vec<OwnedSample> = samples.into_iter().collect();
    assert!(!samples.is_empty(), "`given` needs at least one sample to draw from");
    SampleStrategy { samples, generated_words: 0 }
}

/// Completions of 1 to `longest` common English words, drawn uniformly, under a fixed prompt and
/// without a reference: for rewards that judge any text.
///
/// # Panics
/// When `longest` is 0.
#[must_use]
pub fn prose(prompt: &str, longest: usize) -> SampleStrategy {
    assert!(longest > 0, "`prose` needs room for at least one word");
    SampleStrategy { samples: vec![OwnedSample::new(prompt, "", None)], generated_words: longest }
}

const WORDS: [&str; 24] = [
    "the", "answer", "follows", "from", "an", "earlier", "step", "and", "he", "told", "Maria",
    "that", "some", "of", "these", "results", "were", "checked", "twice", "before", "noon", "in",
    "two", "places",
];

/// The strategy behind [`given`] and [`prose`].
#[derive(Debug, Clone)]
pub struct SampleStrategy {
    samples: Vec<OwnedSample>,
    /// The most words to generate in place of the sample's completion; 0 keeps the completion.
    generated_words: usize,
}

impl Strategy for SampleStrategy {
    type Tree = SampleTree;
    type Value = OwnedSample;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let mut sample = self.samples[(0..self.samples.len()).new_tree(runner)?.current()].clone();
        if self.generated_words > 0 {
            let word = proptest::sample::select(&WORDS[..]);
            let words = proptest::collection::vec(word, 1..=self.generated_words);
            sample.completion = words.new_tree(runner)?.current().join(" ");
        }
        Ok(SampleTree::new(sample))
    }
}

/// Shrinks a sample's completion word by word: drops runs of words, half of them first, then ever
/// shorter runs, until no single word can go without losing the failure.
#[derive(Debug, Clone)]
pub struct SampleTree {
    sample: OwnedSample,
    /// The words of the completion, each with the whitespace after it.
    words: Vec<String>,
    /// How many words to drop at a time, and from where.
    run: usize,
    position: usize,
    /// What the last simplification took out at `position`.
    dropped: Vec<String>,
    /// Whether this pass has taken out anything for good.
    progress: bool,
}

impl SampleTree {
    fn new(sample: OwnedSample) -> Self {
        let words: Vec<String> =
            sample.completion.split_inclusive(char::is_whitespace).map(str::to_owned).collect();
        let run = words.len();
        Self { sample, words, run, position: 0, dropped: Vec::new(), progress: false }
    }
}

impl ValueTree for SampleTree {
    type Value = OwnedSample;

    fn current(&self) -> OwnedSample {
        OwnedSample { completion: self.words.concat(), ..self.sample.clone() }
    }

    fn simplify(&mut self) -> bool {
        // Asked to go on from here: what was dropped last was not needed for the failure.
        self.progress |= !self.dropped.is_empty();
        self.dropped.clear();
        if self.position >= self.words.len() {
            // A single word that could not go may be able to after another went: repeat the last
            // pass.
            if self.run > 1 || !self.progress {
                self.run /= 2;
            }
            self.position = 0;
            self.progress = false;
        }
        if self.run == 0 || self.words.is_empty() {
            return false;
        }
        let end = (self.position + self.run).min(self.words.len());
        self.dropped = self.words.drain(self.position..end).collect();
        true
    }

    fn complicate(&mut self) -> bool {
        if self.dropped.is_empty() {
            return false;
        }
        let length = self.dropped.len();
        self.words.splice(self.position..self.position, self.dropped.drain(..));
        self.position += length;
        true
    }
}
