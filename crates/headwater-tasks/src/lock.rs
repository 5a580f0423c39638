//! A combination lock: a hidden sequence of symbols, opened by nothing but the whole of it.
//!
//! A secret has 2 to 4 of eight symbols. A failed attempt may come back with a mark at each of its
//! places: right, wrong, or what would be right; after the first wrong place there is none.
//! Demonstrations show how to take marks, for secrets drawn afresh every time: keep what is right,
//! do not repeat what is wrong, guess what is not marked.

use headwater_core::{Example, StreamRng, Vocabulary};
use rand::RngExt;

/// Symbols a place may hold.
pub const SYMBOLS: u32 = 8;
/// Places of the longest secret.
pub const LONGEST: usize = 4;
/// Tokens that a policy reads: an attempt, its marks, the number of places.
pub const PROMPT_TOKENS: usize = 2 * LONGEST + 1;

const SYMBOL: u32 = 3;
const EMPTY: u32 = SYMBOL + SYMBOLS;
const RIGHT: u32 = EMPTY + 1;
const WRONG: u32 = RIGHT + 1;
const CORRECT: u32 = WRONG + 1;
const PLACES: u32 = CORRECT + SYMBOLS;

/// The vocabulary of the task.
#[must_use]
pub fn vocabulary() -> Vocabulary {
    let symbols = (0..SYMBOLS).map(|n| n.to_string());
    let marks = [".", "v", "x"].map(String::from);
    let corrections = (0..SYMBOLS).map(|n| format!("={n}"));
    let places = (2..=LONGEST).map(|places| format!("#{places}"));
    Vocabulary::words(symbols.chain(marks).chain(corrections).chain(places))
}

/// What comes back of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feedback {
    /// That it failed.
    Reward,
    /// The first wrong place.
    Place,
    /// The first wrong place, and its symbol.
    Correction,
}

/// Every kind of feedback, from least to most.
pub const FEEDBACKS: [Feedback; 3] = [Feedback::Reward, Feedback::Place, Feedback::Correction];

/// A secret of `places` symbols, as tokens.
#[must_use]
pub fn secret(places: usize, stream: &mut StreamRng) -> Vec<u32> {
    (0..places).map(|_| SYMBOL + stream.random_range(0..SYMBOLS)).collect()
}

/// What is read before the first attempt, or after one of which nothing is said; `places` are 2 to
/// [`LONGEST`].
///
/// # Panics
/// For other numbers of places.
#[must_use]
pub fn prompt(places: usize) -> Vec<u32> {
    shown(places, &[], &[])
}

/// What is read after `attempt`, which is not the secret; both have as many symbols, 2 to
/// [`LONGEST`].
///
/// # Panics
/// For other lengths.
#[must_use]
pub fn prompt_after(secret: &[u32], attempt: &[u32], feedback: Feedback) -> Vec<u32> {
    let (places, symbols) = (secret.len(), attempt.len());
    assert_eq!(places, symbols, "an attempt of {symbols} symbols at a secret of {places}");
    let wrong = secret.iter().zip(attempt).position(|(right, symbol)| right != symbol);
    let at = wrong.unwrap_or(secret.len());
    let says = match feedback {
        Feedback::Reward => return prompt(secret.len()),
        Feedback::Place => Some(WRONG),
        Feedback::Correction => secret.get(at).map(|symbol| CORRECT + symbol - SYMBOL),
    };
    let marks: Vec<u32> = vec![RIGHT; at].into_iter().chain(says).collect();
    shown(secret.len(), attempt, &marks)
}

fn shown(places: usize, attempt: &[u32], marks: &[u32]) -> Vec<u32> {
    assert!((2..=LONGEST).contains(&places), "{places} places: allowed are 2 to {LONGEST}");
    let padded = |tokens: &[u32]| {
        let mut tokens = tokens.to_vec();
        tokens.resize(LONGEST, EMPTY);
        tokens
    };
    let mut tokens = padded(attempt);
    tokens.extend(padded(marks));
    tokens.push(PLACES + places as u32 - 2);
    tokens
}

/// One demonstration for a secret of its own.
#[must_use]
pub fn demonstration(stream: &mut StreamRng) -> Example {
    let places = stream.random_range(2..=LONGEST);
    let (secret, mut answer) = (secret(places, stream), secret(places, stream));
    let feedback = FEEDBACKS[stream.random_range(0..FEEDBACKS.len())];
    if feedback == Feedback::Reward {
        return Example { prompt: prompt(places), completion: answer };
    }
    // Every place is as likely to be the first wrong one, which it would not be in random attempts.
    let at = stream.random_range(0..places);
    let mut attempt = secret.clone();
    attempt[at] = other_than(secret[at], stream);
    for symbol in &mut attempt[at + 1..] {
        *symbol = SYMBOL + stream.random_range(0..SYMBOLS);
    }
    answer[..at].copy_from_slice(&secret[..at]);
    answer[at] = match feedback {
        Feedback::Correction => secret[at],
        _ => other_than(attempt[at], stream),
    };
    Example { prompt: prompt_after(&secret, &attempt, feedback), completion: answer }
}

fn other_than(symbol: u32, stream: &mut StreamRng) -> u32 {
    SYMBOL + (symbol - SYMBOL + stream.random_range(1..SYMBOLS)) % SYMBOLS
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Streams;

    #[test]
    fn marks_say_what_they_should_and_ids_are_those_of_the_vocabulary() {
        let vocabulary = vocabulary();
        assert_eq!(vocabulary.size(), PLACES as usize + LONGEST - 1);
        let tokens = |symbols: &[u32]| symbols.iter().map(|s| SYMBOL + s).collect::<Vec<_>>();
        let (secret, attempt) = (tokens(&[3, 1, 4]), tokens(&[3, 5, 4]));
        let after = |feedback| vocabulary.decode(&prompt_after(&secret, &attempt, feedback));
        assert_eq!(after(Feedback::Reward), "........#3");
        assert_eq!(after(Feedback::Place), "354.vx..#3");
        assert_eq!(after(Feedback::Correction), "354.v=1..#3");
        assert_eq!(prompt(2).len(), PROMPT_TOKENS);
    }

    #[test]
    fn demonstrations_keep_what_is_right_and_do_not_repeat_what_is_wrong() {
        let mut stream = Streams::new(1).stream("locks", &[]);
        let mut seen = [0; 3];
        for _ in 0..1000 {
            let Example { prompt, completion } = demonstration(&mut stream);
            let marks = &prompt[LONGEST..2 * LONGEST];
            let Some(at) = marks.iter().position(|mark| *mark >= WRONG) else {
                assert_eq!(prompt, super::prompt(completion.len()));
                seen[0] += 1;
                continue;
            };
            assert_eq!(prompt[..at], completion[..at]);
            if marks[at] == WRONG {
                assert_ne!(prompt[at], completion[at]);
                seen[1] += 1;
            } else {
                assert_eq!(marks[at] - CORRECT, completion[at] - SYMBOL);
                assert_ne!(prompt[at], completion[at]);
                seen[2] += 1;
            }
        }
        assert!(seen.iter().all(|count| *count > 250), "{seen:?}");
    }

    #[test]
    fn other_numbers_of_places_are_refused() {
        for places in [0, 1, LONGEST + 1] {
            let panic = std::panic::catch_unwind(|| prompt(places)).unwrap_err();
            let said = panic.downcast_ref::<String>().unwrap();
            assert_eq!(*said, format!("{places} places: allowed are 2 to 4"));
        }
    }
}
