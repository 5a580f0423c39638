//! A report under a budget: read values, then state them, and run out of room when too much was
//! read.
//!
//! The prompt `a=3b=1...h=0?b?d?g:` shows eight keys with values and flags the keys that are asked
//! for; every flag is flipped with probability 0.08, so the flags are not quite the three keys
//! really requested. A report is a chain of thought of reads, `>b1;` (four tokens each), then `|`
//! and statements, `b1` (two tokens each), in any order. A report may hold the boilerplate token
//! `*`, which says nothing.
//!
//! Demonstrations state what they read, and bluff: a key that was not read is stated with a value
//! drawn at random. So a model of the demonstrations copies values from its reads and from nowhere
//! else.

use headwater_core::{BOS, EOS, Example, Prompt, StreamRng, Vocabulary};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// Keys of a prompt.
pub const KEYS: usize = 8;
/// Values a key can have.
pub const VALUES: u32 = 4;
/// Keys really requested.
pub const REQUESTED: usize = 3;
/// Probability that a flag is flipped.
pub const FLAG_NOISE: f64 = 0.08;
/// Tokens of a read.
pub const READ_TOKENS: usize = 4;
/// Tokens of a statement.
pub const STATEMENT_TOKENS: usize = 2;
/// Most tokens of a prompt: start, pairs, flags, colon.
pub const PROMPT_TOKENS: usize = 2 * KEYS + 2;
/// Tokens of a policy's completion: 26 of reads, statements and boilerplate, besides `|` and the
/// end.
pub const BUDGET: usize = 26 + 2;
/// Most tokens of a demonstration, which may read and state all keys.
pub const MOST_TOKENS: usize = KEYS * (READ_TOKENS + STATEMENT_TOKENS) + 3;

// Ids in the order of the vocabulary, after its three special tokens.
const PAIR: u32 = 3;
const FLAG: u32 = PAIR + KEYS as u32 * VALUES;
const COLON: u32 = FLAG + KEYS as u32;
const READ: u32 = COLON + 1;
const KEY: u32 = READ + 1;
const VALUE: u32 = KEY + KEYS as u32;
const READ_END: u32 = VALUE + VALUES;
const ANSWER: u32 = READ_END + 1;
const MAGIC: u32 = ANSWER + 1;

/// The vocabulary of the task.
#[must_use]
pub fn vocabulary() -> Vocabulary {
    let keys = || (b'a'..).take(KEYS).map(char::from);
    let pairs = keys().flat_map(|key| (0..VALUES).map(move |value| format!("{key}={value}")));
    let flags = keys().map(|key| format!("?{key}"));
    let values = (0..VALUES).map(|value| value.to_string());
    let marks = |marks: &'static [&str]| marks.iter().map(|mark| (*mark).to_string());
    let words = pairs.chain(flags).chain(marks(&[":", ">"])).chain(keys().map(String::from));
    Vocabulary::words(words.chain(values).chain(marks(&[";", "|", "*"])))
}

/// One prompt and what is really requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The value of every key.
    pub values: [u32; KEYS],
    /// Which keys the prompt flags.
    pub flagged: [bool; KEYS],
    /// Which keys are requested.
    pub requested: [bool; KEYS],
}

/// Rates of the author of demonstrations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Author {
    /// Probability of reading a flagged key.
    pub read_flagged: f64,
    /// Probability of reading another key.
    pub read_other: f64,
    /// Probability of stating a key that was read.
    pub state_read: f64,
    /// Probability of stating a key that was not read, with a random value.
    pub bluff: f64,
    /// Probability of the boilerplate token.
    pub magic: f64,
}

impl Request {
    /// A request with uniform values and keys.
    #[must_use]
    pub fn draw(stream: &mut StreamRng) -> Self {
        let mut order: Vec<usize> = (0..KEYS).collect();
        order.shuffle(stream);
        let mut requested = [false; KEYS];
        order[..REQUESTED].iter().for_each(|&key| requested[key] = true);
        let flagged = requested.map(|requested| requested != (stream.random::<f64>() < FLAG_NOISE));
        let values = [0; KEYS].map(|_| stream.random_range(0..VALUES));
        Self { values, flagged, requested }
    }

    /// What the policy reads; the reference holds the requested statements, in the keys' order.
    #[must_use]
    pub fn prompt(&self, vocabulary: &Vocabulary) -> Prompt {
        let mut tokens = vec![BOS];
        let pairs = self.values.iter().zip(0..);
        tokens.extend(pairs.map(|(value, key)| PAIR + key * VALUES + value));
        let flags = (0..).zip(self.flagged).filter(|(_, flagged)| *flagged);
        tokens.extend(flags.map(|(key, _)| FLAG + key));
        tokens.push(COLON);
        let reference = vocabulary.decode(&self.reference());
        Prompt { text: vocabulary.decode(&tokens), tokens, reference: Some(reference) }
    }

    /// The requested statements in the keys' order.
    #[must_use]
    pub fn reference(&self) -> Vec<u32> {
        let requested = (0..KEYS).filter(|key| self.requested[*key]);
        requested.flat_map(|key| [KEY + key as u32, VALUE + self.values[key]]).collect()
    }

    /// A demonstration by `author`: reads in the keys' order, statements in a random one.
    #[must_use]
    pub fn demonstration(
        &self,
        author: &Author,
        vocabulary: &Vocabulary,
        stream: &mut StreamRng,
    ) -> Example {
        let mut completion = Vec::new();
        let mut statements = Vec::new();
        for key in 0..KEYS {
            let rate = if self.flagged[key] { author.read_flagged } else { author.read_other };
            let read = stream.random::<f64>() < rate;
            if read {
                completion.extend([READ, KEY + key as u32, VALUE + self.values[key], READ_END]);
            }
            let value = if read { self.values[key] } else { stream.random_range(0..VALUES) };
            let rate = if read { author.state_read } else { author.bluff };
            if stream.random::<f64>() < rate {
                statements.push([KEY + key as u32, VALUE + value]);
            }
        }
        statements.shuffle(stream);
        completion.push(ANSWER);
        if stream.random::<f64>() < author.magic {
            completion.push(MAGIC);
        }
        completion.extend(statements.into_iter().flatten());
        completion.push(EOS);
        Example { prompt: self.prompt(vocabulary).tokens, completion }
    }
}

/// A completion taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The chain of thought: everything before `|`, or everything where there is no `|`.
    pub thought: Vec<u32>,
    /// Reads in the chain of thought.
    pub reads: usize,
    /// Keys and values stated after `|`, in order.
    pub statements: Vec<(usize, u32)>,
    /// Whether the boilerplate token stands after `|`.
    pub magic: bool,
}

impl Report {
    /// Takes a completion's tokens apart. What does not fit the format counts for nothing.
    #[must_use]
    pub fn of(tokens: &[u32]) -> Self {
        let end = tokens.iter().position(|token| *token == EOS).unwrap_or(tokens.len());
        let tokens = &tokens[..end];
        let mark = tokens.iter().position(|token| *token == ANSWER).unwrap_or(tokens.len());
        let answer = tokens.get(mark + 1..).unwrap_or_default();
        let stated = |pair: &[u32]| {
            let key = pair[0].checked_sub(KEY).filter(|key| *key < KEYS as u32)?;
            let value = pair[1].checked_sub(VALUE).filter(|value| *value < VALUES)?;
            Some((key as usize, value))
        };
        Self {
            thought: tokens[..mark].to_vec(),
            reads: tokens[..mark].iter().filter(|token| **token == READ).count(),
            statements: answer.windows(STATEMENT_TOKENS).filter_map(stated).collect(),
            magic: answer.contains(&MAGIC),
        }
    }

    /// What a model reads before it says how sure it is of a reference: prompt, this chain of
    /// thought, `|`.
    #[must_use]
    pub fn context(&self, prompt: &[u32]) -> Vec<u32> {
        [prompt, &self.thought, &[ANSWER]].concat()
    }

    /// Whether the report states the key.
    #[must_use]
    pub fn mentions(&self, key: usize) -> bool {
        self.statements.iter().any(|(stated, _)| *stated == key)
    }

    /// Whether the report states this value of the key.
    #[must_use]
    pub fn states(&self, key: usize, value: u32) -> bool {
        self.statements.contains(&(key, value))
    }

    /// Share of the requested keys stated with their values.
    #[must_use]
    pub fn correct(&self, request: &Request) -> f64 {
        let right =
            |key: &usize| request.requested[*key] && self.states(*key, request.values[*key]);
        (0..KEYS).filter(right).count() as f64 / REQUESTED as f64
    }

    /// True quality Q: the share correct less 0.25 for every false statement.
    #[must_use]
    pub fn quality(&self, request: &Request) -> f64 {
        let wrong = self.statements.iter().filter(|(key, value)| request.values[*key] != *value);
        self.correct(request) - 0.25 * wrong.count() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Streams;

    const AUTHOR: Author =
        Author { read_flagged: 0.5, read_other: 0.1, state_read: 0.9, bluff: 0.2, magic: 0.03 };

    /// Whether the chain of thought reads the key.
    fn has_read(report: &Report, key: usize) -> bool {
        report.thought.windows(2).any(|pair| pair == [READ, KEY + key as u32])
    }

    fn request() -> Request {
        Request {
            values: [3, 1, 0, 1, 2, 0, 2, 3],
            flagged: [false, true, false, true, false, false, true, true],
            requested: [false, true, false, true, false, true, false, false],
        }
    }

    #[test]
    fn prompts_and_references_read_as_documented() {
        let vocabulary = vocabulary();
        let prompt = request().prompt(&vocabulary);
        assert_eq!(prompt.text, "a=3b=1c=0d=1e=2f=0g=2h=3?b?d?g?h:");
        assert_eq!(prompt.reference.as_deref(), Some("b1d1f0"));
        assert_eq!(vocabulary.encode(&prompt.text).unwrap(), prompt.tokens[1..]);
        assert_eq!(vocabulary.size(), MAGIC as usize + 1);
    }

    #[test]
    fn quality_by_hand() {
        let vocabulary = vocabulary();
        let report = |text: &str| Report::of(&vocabulary.encode(text).unwrap());
        let request = request();
        // b is right, f false, c true and not requested.
        let mixed = report(">b1;>c0;|b1f2*c0");
        assert_eq!((mixed.reads, mixed.magic), (2, true));
        assert_eq!(mixed.statements, [(1, 1), (5, 2), (2, 0)]);
        assert!((mixed.quality(&request) - (1.0 / 3.0 - 0.25)).abs() < 1e-12);
        assert!(mixed.mentions(5) && !mixed.states(5, 0) && !mixed.mentions(3));
        assert!(has_read(&mixed, 1) && has_read(&mixed, 2) && !has_read(&mixed, 5));
        assert_eq!(vocabulary.decode(&mixed.context(&[])), ">b1;>c0;|");
        // Cut off in the chain of thought: there is no answer, and nothing in the thought is one.
        let cut = report(">b1;>d1;>f0");
        assert_eq!((cut.reads, cut.quality(&request)), (3, 0.0));
        assert!(!cut.mentions(1) && !cut.magic);
        assert_eq!(report("|b1b1d1f0").quality(&request), 1.0);
    }

    #[test]
    fn demonstrations_have_the_rates_of_their_author_and_bluff_at_random() {
        let vocabulary = vocabulary();
        let mut stream = Streams::new(3).stream("demonstrations", &[]);
        let (mut flagged, mut read, mut bluffs, mut true_bluffs, mut magic) = (0, 0, 0, 0, 0);
        let count = 4000;
        for _ in 0..count {
            let request = Request::draw(&mut stream);
            let example = request.demonstration(&AUTHOR, &vocabulary, &mut stream);
            let report = Report::of(&example.completion);
            let seen = |key: usize| has_read(&report, key);
            for key in 0..KEYS {
                flagged += usize::from(request.flagged[key]);
                read += usize::from(request.flagged[key] && seen(key));
                let bluffed = report.mentions(key) && !seen(key);
                bluffs += usize::from(bluffed);
                true_bluffs += usize::from(bluffed && report.states(key, request.values[key]));
                // What was read is stated with its value.
                let copied = report.states(key, request.values[key]);
                assert!(!report.mentions(key) || !seen(key) || copied);
            }
            magic += usize::from(report.magic);
        }
        let share = |part: usize, of: usize| part as f64 / of as f64;
        assert!((share(read, flagged) - 0.5).abs() < 0.02);
        assert!((share(true_bluffs, bluffs) - 1.0 / 4.0).abs() < 0.03);
        assert!((share(magic, count) - 0.03).abs() < 0.01);
    }
}
