//! A long reference of which two tokens depend on the reasoning.
//!
//! The prompt `a1b4c2=` shows three numbers below 5. A chain of thought begins with one to three
//! tokens of its style, `~2~2`, and has two results, `x2` = a + 1 and `y3` = c + 1 modulo 5; it is
//! right when both are. The reference answer has T tokens of filler and the two results, one in the
//! middle and one at the end, each behind a marker.
//!
//! Fillers are synonyms drawn at random. In demonstrations an answer keeps to the style of its
//! chain of thought in half of its fillers, so that how likely a reference's fillers are depends a
//! little on the chain's style and not at all on whether the chain is right.

use headwater_core::{BOS, EOS, Example, Prompt, StreamRng, Vocabulary};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Numbers are taken modulo this prime.
pub const MODULUS: u32 = 5;
/// Styles of a chain of thought, and synonyms of a filler.
pub const STYLES: u32 = 4;
/// Tokens of a prompt: start, three numbers, the sign of equality.
pub const PROMPT_TOKENS: usize = 5;
/// Most tokens of style of a demonstration.
pub const MOST_STYLE: usize = 3;
/// Most tokens of a chain of thought that a policy is given: style, results, `|`, and room for
/// more.
pub const THOUGHT_TOKENS: usize = MOST_STYLE + 7;

// Ids in the order of the vocabulary, after its three special tokens.
const NUMBER: u32 = 3;
const EQUALS: u32 = NUMBER + 3 * MODULUS;
const STYLE: u32 = EQUALS + 1;
const RESULT: [u32; 2] = [STYLE + STYLES, STYLE + STYLES + MODULUS];
/// Ends a chain of thought.
pub const ANSWER: u32 = RESULT[1] + MODULUS;
const FILLER: u32 = ANSWER + 1;
const MARKER: u32 = FILLER + STYLES;

/// The vocabulary of the task.
#[must_use]
pub fn vocabulary() -> Vocabulary {
    let numbered = |name: &'static str, count: u32| (0..count).map(move |n| format!("{name}{n}"));
    let numbers = ["a", "b", "c"].into_iter().flat_map(move |name| numbered(name, MODULUS));
    let words = numbers.chain(["=".to_string()]).chain(numbered("~", STYLES));
    let words = words.chain(numbered("x", MODULUS)).chain(numbered("y", MODULUS));
    let words = words.chain(["|".to_string()]);
    Vocabulary::words(words.chain(numbered("w", STYLES)).chain(["@".to_string()]))
}

/// Tokens of an answer with this many fillers: those, the results, the end.
#[must_use]
pub const fn answer_tokens(fillers: usize) -> usize {
    fillers + 3
}

/// Three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The numbers, each below [`MODULUS`].
    pub numbers: [u32; 3],
}

/// A reference answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// T fillers and markers, and the two results.
    pub tokens: Vec<u32>,
    /// Where the two results stand.
    pub slots: [usize; 2],
}

/// Rates of the author of demonstrations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Author {
    /// Probability of a wrong result, each.
    pub slip: f64,
    /// Probability of no results at all.
    pub skip: f64,
    /// Share of an answer's fillers that keep to the chain's style; the rest is drawn at random.
    pub kept_style: f64,
}

impl Question {
    /// A uniform question.
    #[must_use]
    pub fn draw(stream: &mut StreamRng) -> Self {
        Self { numbers: [0; 3].map(|_| stream.random_range(0..MODULUS)) }
    }

    /// The two results.
    #[must_use]
    pub fn results(&self) -> [u32; 2] {
        let [a, _, c] = self.numbers;
        [(a + 1) % MODULUS, (c + 1) % MODULUS]
    }

    /// What the policy reads.
    #[must_use]
    pub fn prompt(&self, vocabulary: &Vocabulary) -> Prompt {
        let mut tokens = vec![BOS];
        tokens.extend((0..).zip(self.numbers).map(|(at, n)| NUMBER + at * MODULUS + n));
        tokens.push(EQUALS);
        Prompt { text: vocabulary.decode(&tokens), tokens, reference: None }
    }

    /// A reference of `fillers` tokens besides the results (at least 2, the markers among them), in
    /// no style.
    #[must_use]
    pub fn reference(&self, fillers: usize, stream: &mut StreamRng) -> Reference {
        answer(self.results().map(Some), fillers, None, stream)
    }

    /// Whether a chain of thought holds both results and nothing else in their place.
    #[must_use]
    pub fn solved_by(&self, thought: &[u32]) -> bool {
        let written = |at: usize| {
            let mut found = thought.iter().filter_map(|t| {
                let value = t.checked_sub(RESULT[at]).filter(|value| *value < MODULUS);
                value.filter(|_| *t != ANSWER)
            });
            (found.next(), found.next())
        };
        let results = self.results();
        (0..2).all(|at| written(at) == (Some(results[at]), None))
    }

    /// A demonstration: a chain of thought and an answer with its results.
    #[must_use]
    pub fn demonstration(
        &self,
        author: &Author,
        fillers: usize,
        stream: &mut StreamRng,
        vocabulary: &Vocabulary,
    ) -> Example {
        let style = stream.random_range(0..STYLES);
        let mut completion = vec![STYLE + style; stream.random_range(1..=MOST_STYLE)];
        let skipped = stream.random::<f64>() < author.skip;
        let written = self.results().map(|result| {
            let slips = stream.random::<f64>() < author.slip;
            let slip = if slips { stream.random_range(1..MODULUS) } else { 0 };
            (!skipped).then_some((result + slip) % MODULUS)
        });
        let results = (0..2).filter_map(|at| written[at].map(|result| RESULT[at] + result));
        completion.extend(results);
        completion.push(ANSWER);
        // Whoever wrote no results guesses them in the answer.
        let stated = written.map(|w| Some(w.unwrap_or_else(|| stream.random_range(0..MODULUS))));
        completion.extend(answer(stated, fillers, Some((style, author.kept_style)), stream).tokens);
        completion.push(EOS);
        Example { prompt: self.prompt(vocabulary).tokens, completion }
    }
}

fn answer(
    results: [Option<u32>; 2],
    fillers: usize,
    style: Option<(u32, f64)>,
    stream: &mut StreamRng,
) -> Reference {
    let words = fillers.saturating_sub(2);
    let (mut tokens, mut slots) = (Vec::with_capacity(fillers + 2), [0; 2]);
    for at in 0..2 {
        // Half of the words before each result.
        for _ in 0..(words + at) / 2 {
            let kept = style.filter(|(_, kept)| stream.random::<f64>() < *kept);
            tokens.push(FILLER + kept.map_or_else(|| stream.random_range(0..STYLES), |(s, _)| s));
        }
        tokens.push(MARKER);
        slots[at] = tokens.len();
        tokens.extend(results[at].map(|result| RESULT[at] + result));
    }
    Reference { tokens, slots }
}

/// Tokens of a chain of thought before `|`, or all of them.
#[must_use]
pub fn thought(completion: &[u32]) -> &[u32] {
    let end = completion.iter().position(|token| *token == ANSWER || *token == EOS);
    &completion[..end.unwrap_or(completion.len())]
}

/// What a model reads before it says how sure it is of a reference: prompt, chain of thought, `|`.
#[must_use]
pub fn context(prompt: &[u32], thought: &[u32]) -> Vec<u32> {
    [prompt, thought, &[ANSWER]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Streams;

    #[test]
    fn a_reference_has_as_many_fillers_as_asked_for_and_its_results_in_the_slots() {
        let mut stream = Streams::new(1).stream("reference", &[]);
        let question = Question { numbers: [1, 4, 2] };
        assert_eq!(question.results(), [2, 3]);
        assert_eq!(question.prompt(&vocabulary()).text, "a1b4c2=");
        for fillers in [2, 4, 7, 16, 64] {
            let reference = question.reference(fillers, &mut stream);
            assert_eq!(reference.tokens.len(), fillers + 2);
            assert_eq!(
                reference.slots.map(|at| reference.tokens[at]),
                [RESULT[0] + 2, RESULT[1] + 3]
            );
            assert_eq!(reference.slots[1], fillers + 1);
        }
        let reference = question.reference(6, &mut stream);
        let text = vocabulary().decode(&reference.tokens);
        let shape: String = text.chars().filter(|c| !c.is_ascii_digit()).collect();
        assert_eq!(shape, "ww@xww@y");
    }

    #[test]
    fn a_chain_is_right_with_both_results_once() {
        let vocabulary = vocabulary();
        let solved = |text: &str| {
            let tokens = vocabulary.encode(text).unwrap();
            Question { numbers: [1, 4, 2] }.solved_by(thought(&tokens))
        };
        assert!(solved("~1~1x2y3|") && solved("y3x2"));
        for wrong in ["~1x2|", "~1x2y2|", "~1x2x1y3|", "~0|x2y3"] {
            assert!(!solved(wrong), "{wrong}");
        }
        assert_eq!(vocabulary.size(), MARKER as usize + 1);
    }

    #[test]
    fn demonstrations_keep_their_style_and_results_at_the_rates_of_their_author() {
        let vocabulary = vocabulary();
        let mut stream = Streams::new(2).stream("demonstrations", &[]);
        let author = Author { slip: 0.3, skip: 0.2, kept_style: 0.5 };
        let (mut right, mut kept, mut words) = (0, 0, 0);
        let count = 2000;
        for _ in 0..count {
            let question = Question::draw(&mut stream);
            let example = question.demonstration(&author, 16, &mut stream, &vocabulary);
            let thought = thought(&example.completion);
            right += usize::from(question.solved_by(thought));
            let answer = &example.completion[thought.len() + 1..];
            assert_eq!(answer.len(), answer_tokens(16));
            let fillers = answer.iter().filter(|t| (FILLER..MARKER).contains(*t));
            for filler in fillers {
                words += 1;
                kept += usize::from(filler - FILLER == thought[0] - STYLE);
            }
        }
        let share = |part: usize, of: usize| part as f64 / of as f64;
        assert!((share(right, count) - 0.8 * 0.49).abs() < 0.04);
        assert!((share(kept, words) - (0.5 + 0.5 / 4.0)).abs() < 0.02);
    }
}
