//! Chains of modular arithmetic with two candidate answers: a question whose depth is known.
//!
//! A chain starts from a number below 5 and applies 1 to 12 steps, each `+1`, `+2`, `*2` or `*3`
//! modulo 5. The order of the steps matters, so the result cannot be had by adding up what stands
//! there: it takes as many dependent look-ups as the chain has steps. One candidate is the result;
//! the other is what comes out when one step slips. Every step is a bijection modulo 5, so a slip
//! always shows in the end.
//!
//! A candidate may carry a tag, which says nothing about the chain.

use headwater_core::{EOS, Prompt, StreamRng, Vocabulary};
use rand::RngExt;

/// Numbers are taken modulo this prime.
pub const MODULUS: u32 = 5;
/// Steps of the longest chain; shorter ones are filled up with empty slots, so that step t stands
/// in the same distance from partial result t whatever the chain's length.
pub const SLOTS: usize = 12;
/// Tokens that a judge reads: start, slots, two candidates with their tags, the start again.
pub const PROMPT_TOKENS: usize = SLOTS + 6;
/// Most tokens that a judge writes: a partial result per step, the verdict, the end.
pub const COMPLETION_TOKENS: usize = SLOTS + 2;

/// What a step may do.
pub const STEPS: [Step; 4] = [Step::Add(1), Step::Add(2), Step::Multiply(2), Step::Multiply(3)];

// Ids in the order of the vocabulary, after its three special tokens.
const NUMBER: u32 = 3;
const STEP: u32 = NUMBER + MODULUS;
const EMPTY: u32 = STEP + STEPS.len() as u32;
const ANSWER: [u32; 2] = [EMPTY + 1, EMPTY + 1 + MODULUS];
const TAG: [u32; 2] = [ANSWER[1] + MODULUS, ANSWER[1] + MODULUS + 2];
/// Id of the verdict for the first place; the second's is the next, and the last of the vocabulary.
pub const VERDICT: u32 = TAG[1] + 2;

/// The vocabulary of the task.
#[must_use]
pub fn vocabulary() -> Vocabulary {
    let numbers = (0..MODULUS).map(|n| n.to_string());
    let steps = STEPS.iter().map(|step| match step {
        Step::Add(n) => format!("+{n}"),
        Step::Multiply(n) => format!("*{n}"),
    });
    let answers = ["a", "b"].into_iter().flat_map(|c| (0..MODULUS).map(move |n| format!("{c}{n}")));
    let tags = ["a-", "a!", "b-", "b!"].map(String::from);
    let verdicts = ["A", "B"].map(String::from);
    let all = numbers.chain(steps).chain([".".to_string()]);
    Vocabulary::words(all.chain(answers).chain(tags).chain(verdicts))
}

/// One step of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Adds.
    Add(u32),
    /// Multiplies.
    Multiply(u32),
}

impl Step {
    fn apply(self, number: u32) -> u32 {
        match self {
            Self::Add(n) => (number + n) % MODULUS,
            Self::Multiply(n) => (number * n) % MODULUS,
        }
    }
}

/// A start and the steps that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    start: u32,
    /// Indices into [`STEPS`].
    steps: Vec<usize>,
}

impl Chain {
    /// A random chain of `length` steps, 1 to [`SLOTS`].
    ///
    /// # Panics
    /// When `length` is outside that range.
    #[must_use]
    pub fn draw(length: usize, stream: &mut StreamRng) -> Self {
        assert!((1..=SLOTS).contains(&length), "a chain has 1 to {SLOTS} steps, not {length}");
        let start = stream.random_range(0..MODULUS);
        Self { start, steps: (0..length).map(|_| stream.random_range(0..STEPS.len())).collect() }
    }

    /// Steps of the chain.
    #[must_use]
    pub fn length(&self) -> usize {
        self.steps.len()
    }

    /// What comes out after each step; the last is the right answer.
    #[must_use]
    pub fn results(&self) -> Vec<u32> {
        let mut number = self.start;
        let after = |step: &usize| {
            number = STEPS[*step].apply(number);
            number
        };
        self.steps.iter().map(after).collect()
    }

    /// The right answer.
    #[must_use]
    pub fn answer(&self) -> u32 {
        self.steps.iter().fold(self.start, |number, step| STEPS[*step].apply(number))
    }

    /// The partial results of someone who slips to another number after each step for which `slips`
    /// says so, and goes on from there.
    #[must_use]
    pub fn results_with_slips(
        &self,
        stream: &mut StreamRng,
        mut slips: impl FnMut(usize, &mut StreamRng) -> bool,
    ) -> Vec<u32> {
        let mut number = self.start;
        let after = |(at, step): (usize, &usize)| {
            number = STEPS[*step].apply(number);
            if slips(at, stream) {
                number = (number + stream.random_range(1..MODULUS)) % MODULUS;
            }
            number
        };
        self.steps.iter().enumerate().map(after).collect()
    }

    /// A wrong answer: one step, drawn uniformly, slips.
    #[must_use]
    pub fn wrong_answer(&self, stream: &mut StreamRng) -> u32 {
        let slip = stream.random_range(0..self.length());
        let results = self.results_with_slips(stream, |at, _| at == slip);
        results[results.len() - 1]
    }

    /// What a scalar judge reads of one candidate: the chain, the candidate, the start again.
    #[must_use]
    pub fn tokens_with(&self, candidate: Candidate) -> Vec<u32> {
        self.tokens(&[candidate])
    }

    fn tokens(&self, candidates: &[Candidate]) -> Vec<u32> {
        let mut tokens = vec![NUMBER + self.start];
        tokens.extend(self.steps.iter().map(|step| STEP + *step as u32));
        tokens.resize(1 + SLOTS, EMPTY);
        for (place, candidate) in candidates.iter().enumerate() {
            tokens.push(ANSWER[place] + candidate.answer);
            tokens.push(TAG[place] + u32::from(candidate.tagged));
        }
        // The start stands last, too: it is partial result 0, from which a derivation goes on.
        tokens.push(NUMBER + self.start);
        tokens
    }
}

/// A candidate answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Candidate {
    /// The answer, below [`MODULUS`].
    pub answer: u32,
    /// Whether it carries the tag.
    pub tagged: bool,
}

/// A chain with the right candidate and a wrong one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The question.
    pub chain: Chain,
    /// The right candidate, then the wrong one.
    pub candidates: [Candidate; 2],
}

/// How a pair's tags are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tags {
    /// In 15% of the pairs none carries the tag, in 15% both do; in the rest exactly one, the right
    /// candidate with this probability.
    Planted(f64),
    /// Exactly one carries it: the right candidate if true, else the wrong one.
    OnRight(bool),
}

impl Pair {
    /// A random pair on a chain of `length` steps.
    #[must_use]
    pub fn draw(length: usize, tags: Tags, stream: &mut StreamRng) -> Self {
        let chain = Chain::draw(length, stream);
        let (answer, wrong) = (chain.answer(), chain.wrong_answer(stream));
        let tagged = match tags {
            Tags::Planted(_) if stream.random::<f64>() < 0.3 => [stream.random::<bool>(); 2],
            Tags::Planted(share) => {
                let right = stream.random::<f64>() < share;
                [right, !right]
            }
            Tags::OnRight(right) => [right, !right],
        };
        let candidates = [(answer, tagged[0]), (wrong, tagged[1])];
        Self { chain, candidates: candidates.map(|(answer, tagged)| Candidate { answer, tagged }) }
    }

    /// The pair as a judge sees it: the right candidate in place `right`, 0 or 1.
    #[must_use]
    pub fn shown(&self, right: usize) -> Shown<'_> {
        let [good, bad] = self.candidates;
        let candidates = if right == 0 { [good, bad] } else { [bad, good] };
        Shown { chain: &self.chain, candidates }
    }
}

/// Two candidates in the order in which a judge is shown them.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The question.
    pub chain: &'a Chain,
    /// The candidates.
    pub candidates: [Candidate; 2],
}

impl Shown<'_> {
    /// What the judge reads, [`PROMPT_TOKENS`] long.
    #[must_use]
    pub fn tokens(&self) -> Vec<u32> {
        self.chain.tokens(&self.candidates)
    }

    /// The prompt of a judge in training, with the right verdict as its reference.
    #[must_use]
    pub fn prompt(&self, vocabulary: &Vocabulary) -> Prompt {
        let tokens = self.tokens();
        let place = usize::from(self.candidates[0].answer != self.chain.answer());
        let reference = Some(["A", "B"][place].to_string());
        Prompt { text: vocabulary.decode(&tokens), tokens, reference }
    }
}

/// A written judgement: partial results (any, also none), the verdict for place 0 or 1, the end.
#[must_use]
pub fn judgement(results: &[u32], place: usize) -> Vec<u32> {
    let results = results.iter().map(|result| NUMBER + result);
    results.chain([VERDICT + place as u32, EOS]).collect()
}

/// A judgement read back: its partial results and the place it decides for. `None` unless it is
/// numbers, one verdict, and the end.
#[must_use]
pub fn read_judgement(tokens: &[u32]) -> Option<(Vec<u32>, usize)> {
    let [results @ .., verdict, EOS] = tokens else { return None };
    let place = verdict.checked_sub(VERDICT).filter(|place| *place < 2)?;
    let number = |token: &u32| token.checked_sub(NUMBER).filter(|number| *number < MODULUS);
    Some((results.iter().map(number).collect::<Option<_>>()?, place as usize))
}

/// The verdict in a judgement's text: numbers, then `A` or `B`, and nothing else.
#[must_use]
pub fn verdict_text(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    matches!(rest, "A" | "B").then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Streams;

    #[test]
    fn ids_are_those_of_the_vocabulary() {
        let vocabulary = vocabulary();
        assert_eq!(vocabulary.size() as u32, VERDICT + 2);
        let chain = Chain { start: 3, steps: vec![1, 2, 0] };
        assert_eq!(chain.results(), [0, 0, 1]);
        let candidates =
            [Candidate { answer: 1, tagged: false }, Candidate { answer: 0, tagged: true }];
        let shown = Shown { chain: &chain, candidates };
        assert_eq!(vocabulary.decode(&shown.tokens()), "3+2*2+1.........a1a-b0b!3");
        assert_eq!(shown.tokens().len(), PROMPT_TOKENS);
        assert_eq!(shown.prompt(&vocabulary).reference.as_deref(), Some("A"));
        assert_eq!(vocabulary.decode(&chain.tokens_with(candidates[0])), "3+2*2+1.........a1a-3");
        let written = judgement(&chain.results(), 1);
        assert_eq!(vocabulary.decode(&written), "001B");
        assert_eq!(read_judgement(&written), Some((vec![0, 0, 1], 1)));
        assert_eq!(verdict_text("001B"), Some("B"));
    }

    #[test]
    fn a_malformed_judgement_is_none() {
        for tokens in [&[][..], &[EOS], &[NUMBER, EOS], &[VERDICT], &[VERDICT, NUMBER, EOS]] {
            assert_eq!(read_judgement(tokens), None, "{tokens:?}");
        }
        assert_eq!(read_judgement(&[VERDICT, VERDICT, EOS]), None);
        for text in ["", "12", "AB", "A1", "1AA", "a1A"] {
            assert_eq!(verdict_text(text), None, "{text}");
        }
    }

    #[test]
    fn one_slip_never_gives_the_right_answer_and_tags_are_as_planted() {
        let mut stream = Streams::new(1).stream("pairs", &[]);
        let (mut one, mut right, mut slipped) = (0.0, 0.0, [false; MODULUS as usize]);
        for at in 0..4000 {
            let pair = Pair::draw(1 + at % SLOTS, Tags::Planted(0.8), &mut stream);
            let [good, bad] = pair.candidates;
            assert_eq!(good.answer, *pair.chain.results().last().unwrap());
            assert_ne!(good.answer, bad.answer);
            slipped[((bad.answer + MODULUS - good.answer) % MODULUS) as usize] = true;
            if good.tagged != bad.tagged {
                one += 1.0;
                right += f64::from(good.tagged);
            }
        }
        // Three standard errors of the two shares.
        assert!((one / 4000.0 - 0.7f64).abs() < 0.022, "{one}");
        assert!((right / one - 0.8).abs() < 0.023, "{right} of {one}");
        assert!(slipped[1..].iter().all(|seen| *seen) && !slipped[0]);
    }

    #[test]
    fn steps_do_not_commute_and_every_one_is_a_bijection() {
        for step in STEPS {
            let mut reached: Vec<u32> = (0..MODULUS).map(|number| step.apply(number)).collect();
            reached.sort_unstable();
            assert_eq!(reached, (0..MODULUS).collect::<Vec<_>>(), "{step:?}");
        }
        let answer = |steps: [usize; 2]| Chain { start: 3, steps: steps.to_vec() }.answer();
        // (3 + 1) * 2 and 3 * 2 + 1, modulo 5.
        assert_eq!((answer([0, 2]), answer([2, 0])), (3, 2));
    }
}
