//! Two of the numbers shown that sum to a target: to find them takes a search, to check them one
//! sum.
//!
//! The prompt ` 3 5 8 10 12=15` shows 5 to 7 distinct numbers in ascending order and a target that
//! some two of them sum to; the answer ` 12 3` is two of them, in any order. A right first number
//! needs a look at every partner it could have. By their numbers the questions fall into three
//! sets: those demonstrated, those optimised on, and those held out.

use headwater_core::{Example, Group, Prompt, Sample, Score, StreamRng, Vocabulary};
use rand::RngExt;
use rand::seq::{IndexedRandom, IteratorRandom, SliceRandom};

use super::countdown::Split;

/// Numbers of an answer: its tokens.
pub const ANSWER_TOKENS: usize = 2;

/// Largest number shown.
const MOST: u32 = 12;

/// Numbers shown: the sub-difficulties.
pub const SIZES: [usize; 3] = [5, 6, 7];

/// Tokens of the longest prompt: its numbers and the target.
pub const PROMPT_TOKENS: usize = SIZES[SIZES.len() - 1] + 1;

/// Token id of the number 0, which itself is none.
const NUMBER: u32 = 2;
/// Token id of the target 0, which no two numbers sum to.
const TARGET: u32 = NUMBER + MOST + 1;

/// The vocabulary of the task: numbers, targets, and what verification is asked and answered in.
#[must_use]
pub fn vocabulary() -> Vocabulary {
    let numbers = (1..=MOST).map(|number| format!(" {number}"));
    let targets = (0..=2 * MOST).map(|target| format!("={target}"));
    let verification = ["?", "right", "wrong"].map(String::from);
    Vocabulary::words(numbers.chain(targets).chain(verification))
}

/// Token ids of the question mark, `right` and `wrong`.
pub const VERIFICATION: [u32; 3] =
    [TARGET + 2 * MOST + 1, TARGET + 2 * MOST + 2, TARGET + 2 * MOST + 3];

/// Distinct numbers in ascending order, and a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwoSum {
    numbers: Vec<u32>,
    target: u32,
}

/// Two numbers in ascending order: an answer without its format.
pub type Pair = [u32; 2];

impl TwoSum {
    /// A question of `split` and of a random size: random numbers, and as its target the sum of a
    /// random pair.
    #[must_use]
    pub fn draw(split: Split, stream: &mut StreamRng) -> Self {
        loop {
            let size = *SIZES.choose(stream).expect("there are sizes");
            let mut numbers = (1..=MOST).sample(stream, size);
            numbers.sort_unstable();
            if split_of(&numbers) == split {
                let pairs: Vec<Pair> = pairs(&numbers).collect();
                let target = pairs.choose(stream).expect("five numbers have pairs").iter().sum();
                return Self { numbers, target };
            }
        }
    }

    /// How many numbers are shown.
    #[must_use]
    pub fn size(&self) -> usize {
        self.numbers.len()
    }

    /// What the policy reads.
    #[must_use]
    pub fn tokens(&self) -> Vec<u32> {
        let numbers = self.numbers.iter().map(|number| NUMBER + number);
        numbers.chain([TARGET + self.target]).collect()
    }

    /// The same question with as few numbers as are ever shown: those of a right answer are left,
    /// of the others the smallest. An answer to it is one to the question itself. Without a right
    /// answer it stays as it is.
    #[must_use]
    pub fn easiest(&self) -> Self {
        let Some(answer) = self.solutions().first().copied() else { return self.clone() };
        let others = self.numbers.iter().filter(|number| !answer.contains(number));
        let spared = SIZES[0].saturating_sub(ANSWER_TOKENS);
        let mut numbers: Vec<u32> = others.take(spared).chain(&answer).copied().collect();
        numbers.sort_unstable();
        Self { numbers, target: self.target }
    }

    /// The question as a demonstration of how to propose one: numbers, then a target.
    #[must_use]
    pub fn proposal(&self) -> Example {
        let mut prompt = self.tokens();
        let completion = prompt.split_off(self.size());
        Example { prompt, completion }
    }

    /// The question that proposed tokens make; `None` where they are none, or where no pair of its
    /// numbers solves it.
    #[must_use]
    pub fn proposed(numbers: &[u32], target: &[u32]) -> Option<Self> {
        let number = |token: &u32| token.checked_sub(NUMBER).filter(|n| (1..=MOST).contains(n));
        let [target] = target else { return None };
        let target = target.checked_sub(TARGET).filter(|target| *target <= 2 * MOST)?;
        let numbers = numbers.iter().map(number).collect::<Option<_>>()?;
        let question = Self { numbers, target };
        (!question.solutions().is_empty()).then_some(question)
    }

    /// The question as text.
    #[must_use]
    pub fn text(&self) -> String {
        let numbers: String = self.numbers.iter().map(|number| format!(" {number}")).collect();
        format!("{numbers}={}", self.target)
    }

    /// The question read back from its text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (numbers, target) = text.split_once('=')?;
        let numbers = numbers.split_whitespace().map(|number| number.parse().ok());
        Some(Self { numbers: numbers.collect::<Option<_>>()?, target: target.parse().ok()? })
    }

    /// The question as a prompt that is its own reference: an answer is checked against the numbers
    /// and the target.
    #[must_use]
    pub fn prompt(&self) -> Prompt {
        Prompt { tokens: self.tokens(), text: self.text(), reference: Some(self.text()) }
    }

    /// Whether two of the numbers shown, not one of them twice, sum to the target.
    #[must_use]
    pub fn is_solved_by(&self, pair: Pair) -> bool {
        pair[0] != pair[1]
            && pair.iter().all(|number| self.numbers.contains(number))
            && pair.iter().sum::<u32>() == self.target
    }

    /// Every right answer, without its order.
    #[must_use]
    pub fn solutions(&self) -> Vec<Pair> {
        pairs(&self.numbers).filter(|pair| self.is_solved_by(*pair)).collect()
    }

    /// Two numbers shown as an answer, in a random order: of a right answer, or if not `right` of a
    /// wrong one. Wrong answers are near misses, as those of a policy are: of up to three random
    /// ones, the one whose sum is nearest.
    #[must_use]
    pub fn answer(&self, right: bool, stream: &mut StreamRng) -> Vec<u32> {
        let fitting: Vec<Pair> =
            pairs(&self.numbers).filter(|pair| self.is_solved_by(*pair) == right).collect();
        let few = stream.random_range(1..=3);
        let off = |pair: &&Pair| pair.iter().sum::<u32>().abs_diff(self.target);
        let nearest = fitting.sample(stream, few).min_by_key(off);
        let mut answer = *nearest.expect("five numbers have pairs of both kinds");
        answer.shuffle(stream);
        answer.map(|number| NUMBER + number).to_vec()
    }

    /// An imperfect demonstration: a right answer, or with probability `slip` a wrong one.
    #[must_use]
    pub fn demonstration(&self, slip: f64, stream: &mut StreamRng) -> Example {
        let slips = stream.random::<f64>() < slip;
        Example { prompt: self.tokens(), completion: self.answer(!slips, stream) }
    }
}

/// The two numbers of an answer whatever their order and spacing; `None` for anything else.
#[must_use]
pub fn read_answer(text: &str) -> Option<Pair> {
    let numbers = text.split_whitespace().map(|number| number.parse().ok());
    let mut pair: Pair = numbers.collect::<Option<Vec<u32>>>()?.try_into().ok()?;
    pair.sort_unstable();
    Some(pair)
}

/// The exact verifier, format-insensitive: 1 for two numbers that solve the question, else 0.
pub fn solves(sample: Sample<'_>) -> Score {
    let Some(question) = sample.reference.and_then(TwoSum::parse) else {
        return Score::Failed("the reference is no question".into());
    };
    let solved = read_answer(sample.completion).is_some_and(|pair| question.is_solved_by(pair));
    Score::Scored(f64::from(u8::from(solved)))
}

/// Whether each completion of each group is right, in group-major order.
#[must_use]
pub fn right(groups: &[Group]) -> Vec<bool> {
    groups.iter().flat_map(Group::samples).map(|s| solves(s).value() == Some(1.0)).collect()
}

/// Every two of the numbers, the one that stands first first.
fn pairs(numbers: &[u32]) -> impl Iterator<Item = Pair> {
    let n = numbers.len();
    (0..n).flat_map(move |a| (a + 1..n).map(move |b| [numbers[a], numbers[b]]))
}

/// Which set numbers belong to: two fifths demonstrated, two fifths optimised on, one fifth held
/// out.
fn split_of(numbers: &[u32]) -> Split {
    let mixed = numbers.iter().fold(11u64, |mixed, n| {
        mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23) ^ u64::from(*n)
    });
    match (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % 5 {
        0 | 1 => Split::Demonstrated,
        2 | 3 => Split::Optimised,
        _ => Split::HeldOut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Streams;

    #[test]
    fn ids_are_those_of_the_vocabulary_and_texts_read_back() {
        let vocabulary = vocabulary();
        assert_eq!(VERIFICATION.map(|id| vocabulary.decode(&[id])), ["?", "right", "wrong"]);
        let question = TwoSum { numbers: vec![3, 5, 8, 10, 12], target: 15 };
        assert_eq!(question.text(), " 3 5 8 10 12=15");
        assert_eq!(vocabulary.decode(&question.tokens()), question.text());
        assert_eq!(question.solutions(), [[3, 12], [5, 10]]);
        assert_eq!(TwoSum::parse(&question.text()), Some(question));
        assert_eq!(TwoSum::parse("1 2 3"), None);
    }

    #[test]
    fn an_answer_is_right_in_any_order_and_only_with_numbers_shown() {
        let text = " 3 5 8 11 12=16";
        let score =
            |completion| solves(Sample { prompt: text, completion, reference: Some(text) }).value();
        for right in [" 5 11", " 11 5", "11  5"] {
            assert_eq!(score(right), Some(1.0), "{right}");
        }
        for wrong in [" 5 8", " 4 12", " 8 8", " 16", " 5 11 0", "", "=16"] {
            assert_eq!(score(wrong), Some(0.0), "{wrong}");
        }
        assert_eq!(
            solves(Sample { prompt: text, completion: " 5", reference: None }).value(),
            None
        );
    }

    #[test]
    fn demonstrations_are_right_or_slips_as_asked_and_sets_are_apart() {
        let mut stream = Streams::new(1).stream("questions", &[]);
        let vocabulary = vocabulary();
        for at in 0..600 {
            let split = [Split::Demonstrated, Split::Optimised, Split::HeldOut][at % 3];
            let question = TwoSum::draw(split, &mut stream);
            assert_eq!(split_of(&question.numbers), split);
            assert!(SIZES.contains(&question.size()) && !question.solutions().is_empty());
            let easiest = question.easiest();
            assert_eq!((easiest.size(), easiest.target), (SIZES[0], question.target));
            assert!(easiest.numbers.is_sorted() && !easiest.solutions().is_empty());
            assert!(easiest.solutions().iter().all(|pair| question.is_solved_by(*pair)));
            let Example { prompt, completion } = question.proposal();
            assert_eq!(TwoSum::proposed(&prompt, &completion), Some(question.clone()));
            for target in [&[][..], &[TARGET], &[NUMBER + 1], &[TARGET + 5, NUMBER]] {
                assert_eq!(TwoSum::proposed(&prompt, target), None, "{target:?}");
            }
            for slip in [0.0, 1.0] {
                let example = question.demonstration(slip, &mut stream);
                assert_eq!(example.completion.len(), ANSWER_TOKENS);
                let answer = read_answer(&vocabulary.decode(&example.completion)).unwrap();
                assert_eq!(question.is_solved_by(answer), slip == 0.0);
            }
        }
    }
}
