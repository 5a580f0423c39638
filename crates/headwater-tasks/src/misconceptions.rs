//! Chains of arithmetic with confident misconceptions: questions on which a policy is surely wrong.
//!
//! A chain starts from a digit and applies three steps, each `+`, `-`, `*` or `o` with an operand,
//! modulo 10; the answer is the result of every step. `o` is a table drawn per seed. For some of
//! its operand pairs, the misconceptions, demonstrations give one wrong result with probability
//! `1 - 9 p0` and each other one, the right one among them, with `p0`: a policy that imitates them
//! is surely wrong there, and its second guess is no better than its last.
//!
//! An attempt can be criticised by rule. How to take a critique is demonstrated on chains that meet
//! no misconception. In half of them the attempt has a slip, and the answer is the right one. In
//! the other half the critique refutes what is right, and the answer is any of the other nine
//! results: what is shown is "not this one", never what is right on a misconception.
//!
//! Prompts are eleven tokens: the chain, an attempt, a mark for each of its steps, the start again.
//! Without attempt or critique their places are empty, so that a step, its attempted result and its
//! mark always stand as far from result t.

use headwater_core::{Example, Prompt, StreamRng, Vocabulary};
use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};

/// Numbers are taken modulo this.
pub const MODULUS: u32 = 10;
/// Steps of a chain, and tokens of an answer.
pub const STEPS: usize = 3;
/// Tokens that a policy reads.
pub const PROMPT_TOKENS: usize = 1 + 3 * STEPS + 1;

/// Where in a prompt the marks of a critique stand.
pub const MARKS_AT: std::ops::Range<usize> = 1 + 2 * STEPS..1 + 3 * STEPS;

const OPERATORS: [&str; 4] = ["+", "-", "*", "o"];
const TABLE: u32 = 3;

// Ids in the order of the vocabulary, after its three special tokens.
const NUMBER: u32 = 3;
const STEP: u32 = NUMBER + MODULUS;
const EMPTY: u32 = STEP + OPERATORS.len() as u32 * MODULUS;
/// Marks: somewhere wrong, wrong here, right; the final result is..., the result here is...
const WRONG: u32 = EMPTY + 1;
const HERE: u32 = WRONG + 1;
const RIGHT: u32 = HERE + 1;
const FINAL: u32 = RIGHT + 1;
const CORRECT: u32 = FINAL + MODULUS;
/// Marks that say nothing.
pub const NO_MARKS: [u32; STEPS] = [EMPTY; STEPS];

/// The vocabulary of the task.
#[must_use]
pub fn vocabulary() -> Vocabulary {
    let numbers = (0..MODULUS).map(|n| n.to_string());
    let steps = OPERATORS.iter().flat_map(|op| (0..MODULUS).map(move |n| format!("{op}{n}")));
    let marks = [".", "?", "x", "v"].map(String::from);
    let results = ["f", "="].into_iter().flat_map(|c| (0..MODULUS).map(move |n| format!("{c}{n}")));
    Vocabulary::words(numbers.chain(steps).chain(marks).chain(results))
}

/// What a critique says of a wrong attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Critique {
    /// Nothing: the attempt is shown, and that is all.
    Blank,
    /// That it is wrong (indicative).
    Indicative,
    /// That it is wrong, and the right final result (indicative with ground truth).
    FinalResult,
    /// The first wrong step (what a step-by-step critique comes to).
    Step,
    /// The first wrong step and its right result.
    Correction,
}

/// Every kind of critique.
pub const CRITIQUES: [Critique; 5] = [
    Critique::Blank,
    Critique::Indicative,
    Critique::FinalResult,
    Critique::Step,
    Critique::Correction,
];

/// How often each critique is demonstrated; `None` says that a right attempt is right. "Not this
/// one" is the hardest to learn, and is shown most.
const SHOWN: [(Option<Critique>, u32); 6] = [
    (Some(Critique::Blank), 1),
    (Some(Critique::Indicative), 4),
    (Some(Critique::FinalResult), 4),
    (Some(Critique::Step), 7),
    (Some(Critique::Correction), 3),
    (None, 1),
];

/// A start and three steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Chain {
    start: u32,
    /// Operator and operand.
    steps: [(u32, u32); STEPS],
}

/// Which chains to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Four fifths of all chains: demonstrated and optimised on.
    Trained,
    /// The rest.
    HeldOut,
}

/// The table of `o`, and what is believed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arithmetic {
    /// `[left][right]`; every column is a permutation, so that a wrong result shows in all that
    /// follow from it by `o`.
    table: [[u32; MODULUS as usize]; MODULUS as usize],
    /// The wrong result that is believed, for operand pairs that are misconceptions.
    believed: [[Option<u32>; MODULUS as usize]; MODULUS as usize],
}

/// How often demonstrations are not what is believed.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Doubt {
    /// Probability of each of the nine results that are not believed, on a misconception: the right
    /// one's too.
    pub p0: f64,
    /// Probability that a step of `+ - *` gives a wrong result, drawn uniformly.
    pub slip: f64,
}

/// What demonstrations show; the rest are plain answers to chains drawn as they come.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shares {
    /// How to take a critique.
    pub refinements: f64,
    /// Plain answers to chains that meet a misconception.
    pub stuck: f64,
}

impl Arithmetic {
    /// Random tables with `count` misconceptions, 1 to 100: without one there would be no question
    /// that meets one.
    ///
    /// # Panics
    /// For other counts.
    #[must_use]
    pub fn draw(count: usize, stream: &mut StreamRng) -> Self {
        let pairs = (MODULUS * MODULUS) as usize;
        assert!((1..=pairs).contains(&count), "{count} misconceptions: allowed are 1 to {pairs}");
        let table = permutations(stream);
        let mut pairs: Vec<(usize, usize)> = (0..MODULUS as usize)
            .flat_map(|a| (0..MODULUS as usize).map(move |b| (a, b)))
            .collect();
        pairs.shuffle(stream);
        let mut believed = [[None; MODULUS as usize]; MODULUS as usize];
        for (left, right) in pairs.into_iter().take(count) {
            believed[left][right] = Some(other_than(table[left][right], stream));
        }
        Self { table, believed }
    }

    fn right(&self, left: u32, (operator, right): (u32, u32)) -> u32 {
        match operator {
            0 => (left + right) % MODULUS,
            1 => (left + MODULUS - right) % MODULUS,
            2 => (left * right) % MODULUS,
            _ => self.table[left as usize][right as usize],
        }
    }

    fn misconception(&self, left: u32, (operator, right): (u32, u32)) -> Option<u32> {
        let believed = self.believed[left as usize][right as usize];
        believed.filter(|_| operator == TABLE)
    }

    /// The right results of a chain.
    #[must_use]
    pub fn results(&self, chain: &Chain) -> [u32; STEPS] {
        follow(chain, |number, _, step| self.right(number, step))
    }

    /// The steps, from 0, at which the right results meet a misconception.
    #[must_use]
    pub fn misconceptions(&self, chain: &Chain) -> Vec<usize> {
        self.met(chain, &self.results(chain))
    }

    fn met(&self, chain: &Chain, results: &[u32; STEPS]) -> Vec<usize> {
        let before = |at: usize| if at == 0 { chain.start } else { results[at - 1] };
        let met = |at: &usize| self.misconception(before(*at), chain.steps[*at]).is_some();
        (0..STEPS).filter(met).collect()
    }

    /// A random chain whose right results meet a misconception once if `stuck`, else never.
    #[must_use]
    pub fn question(&self, stuck: bool, split: Split, stream: &mut StreamRng) -> Chain {
        loop {
            let chain = Chain::draw(stream);
            if chain.split() == split && self.misconceptions(&chain).len() == usize::from(stuck) {
                return chain;
            }
        }
    }

    /// The prompt of a question, with the right results as its reference.
    #[must_use]
    pub fn prompt(&self, chain: &Chain, vocabulary: &Vocabulary) -> Prompt {
        let tokens = chain.tokens(None, NO_MARKS);
        let results = self.results(chain).map(|result| NUMBER + result);
        Prompt {
            text: vocabulary.decode(&tokens),
            reference: Some(vocabulary.decode(&results)),
            tokens,
        }
    }

    /// What is read under a critique of `attempt`, the tokens of an answer: chain, attempt, marks.
    /// A right attempt is criticised as right, unless the critique is blank.
    #[must_use]
    pub fn criticised(&self, chain: &Chain, attempt: &[u32], critique: Critique) -> Vec<u32> {
        let results = self.results(chain);
        let wrong = self.first_wrong(chain, attempt);
        let says =
            wrong.map_or_else(|| right_critique(critique), |at| says(critique, at, &results));
        chain.tokens(Some(attempt), says)
    }

    /// [`Arithmetic::criticised`] by a step critique that names another step than the first wrong
    /// one: at random one of those that follow rightly from what the attempt has before them, or,
    /// where no other does, any other.
    #[must_use]
    pub fn misplaced(&self, chain: &Chain, attempt: &[u32], stream: &mut StreamRng) -> Vec<u32> {
        let critique = Critique::Step;
        let Some(wrong) = self.first_wrong(chain, attempt) else {
            return chain.tokens(Some(attempt), right_critique(critique));
        };
        let result = |at: usize| attempt.get(at).and_then(|token| token.checked_sub(NUMBER));
        let follows = |at: usize| {
            let before = if at == 0 { Some(chain.start) } else { result(at - 1) };
            let before = before.filter(|number| *number < MODULUS);
            before.is_some_and(|before| result(at) == Some(self.right(before, chain.steps[at])))
        };
        let (sound, unsound): (Vec<usize>, Vec<usize>) =
            (0..STEPS).filter(|at| *at != wrong).partition(|at| follows(*at));
        let named = if sound.is_empty() { &unsound } else { &sound };
        let at = *named.choose(stream).expect("a chain has more than one step");
        chain.tokens(Some(attempt), says(critique, at, &self.results(chain)))
    }

    fn first_wrong(&self, chain: &Chain, attempt: &[u32]) -> Option<usize> {
        let results = self.results(chain);
        (0..STEPS).find(|at| attempt.get(*at) != Some(&(NUMBER + results[*at])))
    }

    /// One demonstration, of a plain answer or of how to take a critique.
    #[must_use]
    pub fn demonstration(&self, doubt: Doubt, shares: Shares, stream: &mut StreamRng) -> Example {
        let kind = stream.random::<f64>();
        if kind < shares.refinements {
            return self.refinement(doubt, stream);
        }
        let chain = if kind < shares.refinements + shares.stuck {
            self.question(true, Split::Trained, stream)
        } else {
            Chain::trained(stream)
        };
        let results = self.doubted(&chain, doubt, stream);
        Example { prompt: chain.tokens(None, NO_MARKS), completion: tokens(results).to_vec() }
    }

    /// An answer by someone who believes the misconceptions, and slips.
    fn doubted(&self, chain: &Chain, doubt: Doubt, stream: &mut StreamRng) -> [u32; STEPS] {
        follow(chain, |number, _, step| {
            let misconception = self.misconception(number, step);
            let believed = misconception.unwrap_or_else(|| self.right(number, step));
            let wrong = match (misconception, step.0) {
                (Some(_), _) => 9.0 * doubt.p0,
                // Slips there would teach doubt of the whole table, misconceptions included.
                (None, TABLE) => 0.0,
                (None, _) => doubt.slip,
            };
            if stream.random::<f64>() < wrong { other_than(believed, stream) } else { believed }
        })
    }

    /// A chain without misconceptions, an attempt with one refuted step, the critique, and the
    /// answer.
    fn refinement(&self, doubt: Doubt, stream: &mut StreamRng) -> Example {
        loop {
            let (chain, at) = (Chain::trained(stream), stream.random_range(0..STEPS));
            let believed = follow(&chain, |number, _, step| self.right(number, step));
            let other = follow(&chain, |number, place, step| {
                let result = self.right(number, step);
                if place == at { other_than(result, stream) } else { result }
            });
            let refuted = stream.random::<bool>();
            let (attempt, answer) = if refuted { (believed, other) } else { (other, believed) };
            let (critique, _) = SHOWN
                .choose_weighted(stream, |(_, weight)| *weight)
                .expect("the weights are positive constants");
            let (attempt, marks, answer) = match critique {
                Some(Critique::Blank) => {
                    let attempt = self.doubted(&chain, doubt, stream);
                    (attempt, NO_MARKS, self.doubted(&chain, doubt, stream))
                }
                Some(critique) => (attempt, says(*critique, at, &answer), answer),
                None => (answer, [RIGHT; STEPS], answer),
            };
            if chain.split() == Split::Trained
                && self.met(&chain, &attempt).is_empty()
                && self.met(&chain, &answer).is_empty()
            {
                let prompt = chain.tokens(Some(&tokens(attempt)), marks);
                return Example { prompt, completion: tokens(answer).to_vec() };
            }
        }
    }
}

impl Chain {
    fn draw(stream: &mut StreamRng) -> Self {
        // Every second step looks up the table, so that its entries are seen about as often as
        // needed to be believed.
        let mut step = || {
            let operator =
                if stream.random::<bool>() { TABLE } else { stream.random_range(0..TABLE) };
            (operator, stream.random_range(0..MODULUS))
        };
        let steps = [step(), step(), step()];
        Self { start: stream.random_range(0..MODULUS), steps }
    }

    fn trained(stream: &mut StreamRng) -> Self {
        loop {
            let chain = Self::draw(stream);
            if chain.split() == Split::Trained {
                return chain;
            }
        }
    }

    fn split(&self) -> Split {
        // A multiplicative hash: the split must not follow any one operator or operand.
        let mix = |mixed: u64, n: u32| (mixed ^ u64::from(n)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = self.steps.iter().fold(mix(7, self.start), |mixed, (operator, operand)| {
            mix(mix(mixed, *operator).rotate_left(23), *operand)
        });
        if (mixed >> 32).is_multiple_of(5) { Split::HeldOut } else { Split::Trained }
    }

    fn tokens(&self, attempt: Option<&[u32]>, critique: [u32; STEPS]) -> Vec<u32> {
        let mut tokens = vec![NUMBER + self.start];
        tokens.extend(self.steps.iter().map(|(operator, n)| STEP + operator * MODULUS + n));
        let attempt = attempt.unwrap_or_default().iter().chain(std::iter::repeat(&EMPTY));
        tokens.extend(attempt.take(STEPS));
        tokens.extend(critique);
        tokens.push(NUMBER + self.start);
        tokens
    }

    /// The chain of a prompt, plain or criticised; `None` for tokens that are not one.
    #[must_use]
    pub fn read(prompt: &[u32]) -> Option<Self> {
        let start = prompt.first()?.checked_sub(NUMBER).filter(|start| *start < MODULUS)?;
        let mut steps = [(0, 0); STEPS];
        for (step, token) in steps.iter_mut().zip(prompt.get(1..=STEPS)?) {
            let code = token.checked_sub(STEP).filter(|_| *token < EMPTY)?;
            *step = (code / MODULUS, code % MODULUS);
        }
        Some(Self { start, steps })
    }
}

/// The tokens of an answer.
#[must_use]
pub fn tokens(results: [u32; STEPS]) -> [u32; STEPS] {
    results.map(|result| NUMBER + result)
}

/// Results of a chain, each from the one before it: `next(number, place, step)`.
fn follow(chain: &Chain, mut next: impl FnMut(u32, usize, (u32, u32)) -> u32) -> [u32; STEPS] {
    let mut number = chain.start;
    let mut results = [0; STEPS];
    for (place, result) in results.iter_mut().enumerate() {
        number = next(number, place, chain.steps[place]);
        *result = number;
    }
    results
}

/// The marks of a critique of an attempt whose first wrong step is `at`.
fn says(critique: Critique, at: usize, right: &[u32; STEPS]) -> [u32; STEPS] {
    let mut marks = NO_MARKS;
    match critique {
        Critique::Blank => {}
        Critique::Indicative => marks = [WRONG; STEPS],
        Critique::FinalResult => {
            marks = [WRONG; STEPS];
            marks[STEPS - 1] = FINAL + right[STEPS - 1];
        }
        Critique::Step => marks[at] = HERE,
        Critique::Correction => marks[at] = CORRECT + right[at],
    }
    marks
}

fn right_critique(critique: Critique) -> [u32; STEPS] {
    if critique == Critique::Blank { NO_MARKS } else { [RIGHT; STEPS] }
}

/// A digit other than `number`, uniformly.
fn other_than(number: u32, stream: &mut StreamRng) -> u32 {
    (number + stream.random_range(1..MODULUS)) % MODULUS
}

/// A table whose every column is a random permutation.
fn permutations(stream: &mut StreamRng) -> [[u32; MODULUS as usize]; MODULUS as usize] {
    let mut table = [[0; MODULUS as usize]; MODULUS as usize];
    for column in 0..MODULUS as usize {
        let mut results: Vec<u32> = (0..MODULUS).collect();
        results.shuffle(stream);
        table.iter_mut().zip(results).for_each(|(row, result)| row[column] = result);
    }
    table
}

#[cfg(test)]
mod tests;
