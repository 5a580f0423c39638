//! Countdown with several right answers: reach a target with four numbers.
//!
//! The prompt `2 3 5 7 = 36` gives four numbers in ascending order and a target; an answer such as
//! `7*5+3-2` is the four numbers, each used once, joined by three of `+ - *` with the usual
//! precedence. There are at most 648 answers to a prompt; puzzles are drawn so that 2 to 12 of them
//! are right. By their numbers they fall into three sets: those demonstrated, those optimised on,
//! and those held out.

use headwater_core::{Example, Prompt, StreamRng, Untokenizable, Vocabulary};
use headwater_rewards::{Countdown, CountdownConfig, ExpressionLimits, Extraction, NumberUse};
use rand::RngExt;
use rand::seq::IteratorRandom;

/// Tokens of every answer: four numbers and three operators.
pub const ANSWER_TOKENS: usize = 7;

/// Largest target.
const MOST: i64 = 60;

/// Right answers of a puzzle: several, and few enough that guessing does not find one.
const RIGHT: std::ops::RangeInclusive<usize> = 2..=12;

const OPERATORS: [char; 3] = ['+', '-', '*'];

/// Four numbers (ascending) and a target that at least one answer reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Puzzle {
    numbers: [i64; 4],
    target: i64,
}

/// Which puzzles to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Two fifths of all numbers: those the base policy sees demonstrated.
    Demonstrated,
    /// Two fifths: those a policy is optimised on.
    Optimised,
    /// The last fifth.
    HeldOut,
}

/// The vocabulary of the task: numbers, operators, and every target as one token.
#[must_use]
pub fn vocabulary() -> Vocabulary {
    let numbers = (1..10).map(|n| n.to_string());
    let operators = OPERATORS.iter().map(char::to_string);
    Vocabulary::words(numbers.chain(operators).chain((0..=MOST).map(target_token)))
}

fn target_token(target: i64) -> String {
    format!("={target}")
}

/// The verifier: 1 for an answer that reaches the target with the given numbers, else 0.
pub fn verifier() -> CountdownConfig {
    CountdownConfig {
        extraction: Extraction::Whole,
        number_use: NumberUse::Exactly,
        limits: ExpressionLimits::default(),
    }
}

impl Puzzle {
    /// A puzzle of `split`: four random numbers, and a random target with a fitting number of right
    /// answers.
    #[must_use]
    pub fn draw(split: Split, stream: &mut StreamRng) -> Self {
        loop {
            let mut numbers: [i64; 4] = std::array::from_fn(|_| stream.random_range(1..10));
            numbers.sort_unstable();
            if split_of(numbers) != split {
                continue;
            }
            let mut right = [0usize; MOST as usize + 1];
            for answer in answers(numbers) {
                if let Some(right) =
                    usize::try_from(answer.value()).ok().and_then(|v| right.get_mut(v))
                {
                    *right += 1;
                }
            }
            // Answers are counted by position: equal numbers give each text as often as they can be
            // swapped.
            let same = repeats(numbers);
            let fits = |target: &i64| RIGHT.contains(&(right[*target as usize] / same));
            if let Some(target) = (0..=MOST).filter(fits).choose(stream) {
                return Self { numbers, target };
            }
        }
    }

    /// The puzzle in the notation of the verifier: `2 3 5 7 = 29`.
    #[must_use]
    pub fn text(&self) -> String {
        let [a, b, c, d] = self.numbers;
        format!("{a} {b} {c} {d} = {}", self.target)
    }

    /// What the policy reads.
    ///
    /// # Errors
    /// Never for this task's own vocabulary.
    pub fn tokens(&self, vocabulary: &Vocabulary) -> Result<Vec<u32>, Untokenizable> {
        let [a, b, c, d] = self.numbers;
        vocabulary.encode(&format!("{a}{b}{c}{d}{}", target_token(self.target)))
    }

    /// The puzzle as a prompt.
    ///
    /// # Errors
    /// Never for this task's own vocabulary.
    pub fn prompt(&self, vocabulary: &Vocabulary) -> Result<Prompt, Untokenizable> {
        let tokens = self.tokens(vocabulary)?;
        Ok(Prompt { tokens, text: self.text(), reference: Some(self.text()) })
    }

    /// Every right answer, each once.
    #[must_use]
    pub fn solutions(&self) -> Vec<String> {
        let right = answers(self.numbers).filter(|answer| answer.value() == self.target);
        let mut texts: Vec<String> = right.map(|answer| answer.text()).collect();
        texts.sort_unstable();
        texts.dedup();
        texts
    }

    /// An imperfect demonstration: the right answer with small numbers first and sums before
    /// products, for an author has one way of writing, or, with probability `slip`, any answer at
    /// random.
    ///
    /// # Errors
    /// Never for this task's own vocabulary.
    pub fn demonstration(
        &self,
        slip: f64,
        vocabulary: &Vocabulary,
        stream: &mut StreamRng,
    ) -> Result<Example, Untokenizable> {
        let answer = if stream.random::<f64>() < slip {
            answers(self.numbers).choose(stream).map(|answer| answer.text())
        } else {
            self.solutions().into_iter().min_by_key(|text| text.replace('*', "~"))
        };
        let answer = answer.expect("a puzzle is made from one of its answers");
        Ok(Example { prompt: self.tokens(vocabulary)?, completion: vocabulary.encode(&answer)? })
    }
}

/// Which set numbers belong to.
fn split_of(numbers: [i64; 4]) -> Split {
    let mixed = numbers.iter().fold(7u64, |mixed, n| {
        mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23) ^ *n as u64
    });
    match (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % 5 {
        0 | 1 => Split::Demonstrated,
        2 | 3 => Split::Optimised,
        _ => Split::HeldOut,
    }
}

/// How many orders of the numbers look alike.
fn repeats(numbers: [i64; 4]) -> usize {
    let count = |number: i64| numbers.iter().filter(|n| **n == number).count();
    let factorial = |n: usize| (1..=n).product::<usize>();
    (1..10).map(|number| factorial(count(number))).product()
}

/// The verifier itself, checked.
///
/// # Errors
/// Never: its config is a constant.
pub fn checked_verifier() -> Result<Countdown, headwater_core::ConfigError> {
    headwater_core::Check::check(verifier())
}

/// Four numbers joined by three operators.
#[derive(Debug, Clone, Copy)]
struct Answer {
    numbers: [i64; 4],
    operators: [char; 3],
}

impl Answer {
    fn value(&self) -> i64 {
        // Products bind first: `sum` holds what is done with, `term` the product still growing.
        let (mut sum, mut term) = (0, self.numbers[0]);
        for (operator, number) in self.operators.into_iter().zip(&self.numbers[1..]) {
            match operator {
                '*' => term *= number,
                '+' => (sum, term) = (sum + term, *number),
                _ => (sum, term) = (sum + term, -number),
            }
        }
        sum + term
    }

    fn text(&self) -> String {
        let ([a, b, c, d], [first, second, third]) = (self.numbers, self.operators);
        format!("{a}{first}{b}{second}{c}{third}{d}")
    }
}

/// Every answer: an order of the numbers (by position) and three operators.
fn answers(numbers: [i64; 4]) -> impl Iterator<Item = Answer> {
    (0..64 * 27).filter_map(move |code| {
        let (i, j, k) = (code % 4, code / 4 % 4, code / 16 % 4);
        let apart = i != j && j != k && i != k;
        apart.then(|| {
            // The four positions sum to 6.
            let order = [i, j, k, 6 - i - j - k];
            let operators = [code / 64 % 3, code / 192 % 3, code / 576].map(|o| OPERATORS[o]);
            Answer { numbers: order.map(|position| numbers[position]), operators }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::{Sample, Score, Streams};
    use headwater_rewards::Reward;

    #[test]
    fn the_verifier_agrees_with_the_generator_on_every_answer() {
        let verifier = checked_verifier().unwrap();
        let mut stream = Streams::new(3).stream("puzzles", &[]);
        for split in [Split::Demonstrated, Split::Optimised, Split::HeldOut] {
            for _ in 0..10 {
                let puzzle = Puzzle::draw(split, &mut stream);
                assert_eq!(split_of(puzzle.numbers), split);
                let text = puzzle.text();
                assert!(RIGHT.contains(&puzzle.solutions().len()), "{text}");
                for answer in answers(puzzle.numbers) {
                    let score = verifier.score(Sample {
                        prompt: &text,
                        completion: &answer.text(),
                        reference: Some(&text),
                    });
                    let right = f64::from(u8::from(answer.value() == puzzle.target));
                    assert_eq!(score, Score::Scored(right), "{text}: {}", answer.text());
                }
            }
        }
    }

    #[test]
    fn the_held_out_set_is_large_and_demonstrations_fit_the_vocabulary() {
        let vocabulary = vocabulary();
        let mut stream = Streams::new(4).stream("puzzles", &[]);
        let puzzles: std::collections::BTreeSet<Puzzle> =
            (0..3000).map(|_| Puzzle::draw(Split::HeldOut, &mut stream)).collect();
        assert!(puzzles.len() > 1000, "{}", puzzles.len());
        for puzzle in puzzles.iter().take(50) {
            for slip in [0.0, 1.0] {
                let example = puzzle.demonstration(slip, &vocabulary, &mut stream).unwrap();
                assert_eq!((example.prompt.len(), example.completion.len()), (5, ANSWER_TOKENS));
            }
        }
    }
}
