//! Chains with an operator whose table no prompt shows, and traces that give one entry of it.
//!
//! The prompt `.2.3+4@5+13` is a place for each step, a start, three steps, the start again; the
//! response is the three partial results modulo 8 and the end. Step `+b` adds, `@b` looks up the
//! running result and b in a table. A trace says of one look-up what it should have given: the
//! result stands in that step's place, `.` in the others. Which pair it belongs to stands in chain
//! and response.

use headwater_core::{EOS, Example, StreamRng, Vocabulary};
use rand::RngExt;

/// Numbers are below this.
pub const MODULUS: u32 = 8;
/// Steps of a chain.
pub const STEPS: usize = 3;
/// Tokens of a response: the partial results and the end.
pub const RESPONSE_TOKENS: usize = STEPS + 1;
/// Tokens of prompt and response together.
pub const CONTEXT: usize = STEPS + 1 + STEPS + 1 + RESPONSE_TOKENS;

// Ids in the order of the vocabulary, after its three special tokens.
const NUMBER: u32 = 3;
const STEP: u32 = NUMBER + MODULUS;
const EMPTY: u32 = STEP + 2 * MODULUS;

/// The vocabulary of the task.
#[must_use]
pub fn vocabulary() -> Vocabulary {
    let numbers = (0..MODULUS).map(|n| n.to_string());
    let steps = ["+", "@"].into_iter().flat_map(|op| (0..MODULUS).map(move |n| format!("{op}{n}")));
    Vocabulary::words(numbers.chain(steps).chain([".".to_string()]))
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `+`
    Add,
    /// `@`
    Table,
}

/// One entry of a table: `left @right` is `result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entry {
    /// The running result before the step.
    pub left: u32,
    /// The step's operand.
    pub right: u32,
    /// What comes out.
    pub result: u32,
}

/// For each step the result that stands in the prompt.
pub type Given = [Option<u32>; STEPS];
/// No trace.
pub const NOTHING: Given = [None; STEPS];

/// What one look-up should have given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// The step, from 0 and below [`STEPS`].
    pub step: usize,
    /// The entry that it needed.
    pub entry: Entry,
}

impl Trace {
    /// The trace as it stands in a prompt.
    ///
    /// # Panics
    /// When there is no such step.
    #[must_use]
    pub fn given(&self) -> Given {
        assert!(self.step < STEPS, "step {}: allowed are 0 to {}", self.step, STEPS - 1);
        let mut given = NOTHING;
        given[self.step] = Some(self.entry.result);
        given
    }
}

/// The table of `@`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorTable {
    results: [[u32; MODULUS as usize]; MODULUS as usize],
}

impl OperatorTable {
    /// Every entry drawn independently.
    pub fn draw(stream: &mut StreamRng) -> Self {
        let row = |_| std::array::from_fn(|_| stream.random_range(0..MODULUS));
        Self { results: [(); MODULUS as usize].map(row) }
    }

    /// The entry of a pair of numbers below [`MODULUS`].
    ///
    /// # Panics
    /// When one is not.
    #[must_use]
    pub fn entry(&self, left: u32, right: u32) -> Entry {
        assert!(
            left < MODULUS && right < MODULUS,
            "pair {left}, {right}: allowed is below {MODULUS}"
        );
        Entry { left, right, result: self.results[left as usize][right as usize] }
    }

    /// All entries.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        (0..MODULUS).flat_map(move |left| (0..MODULUS).map(move |right| self.entry(left, right)))
    }
}

/// A chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem {
    start: u32,
    steps: [(Operator, u32); STEPS],
}

impl Problem {
    /// A random chain whose operators are drawn from `operators`.
    ///
    /// # Panics
    /// When there are none.
    pub fn draw(operators: &[Operator], stream: &mut StreamRng) -> Self {
        assert!(!operators.is_empty(), "operators: allowed is one or more");
        let start = stream.random_range(0..MODULUS);
        let steps = std::array::from_fn(|_| {
            (operators[stream.random_range(0..operators.len())], stream.random_range(0..MODULUS))
        });
        Self { start, steps }
    }

    /// A chain of look-ups that starts with the given pair of numbers below [`MODULUS`], the rest
    /// random.
    ///
    /// # Panics
    /// When one is not.
    pub fn starting_with(left: u32, right: u32, stream: &mut StreamRng) -> Self {
        assert!(
            left < MODULUS && right < MODULUS,
            "pair {left}, {right}: allowed is below {MODULUS}"
        );
        let mut problem = Self::draw(&[Operator::Table], stream);
        problem.start = left;
        problem.steps[0].1 = right;
        problem
    }

    /// What the policy reads: for each step the result that a trace gave, if one did, then the
    /// chain.
    #[must_use]
    pub fn prompt(&self, given: Given) -> Vec<u32> {
        let mut tokens = given.map(|result| result.map_or(EMPTY, |r| NUMBER + r)).to_vec();
        tokens.push(NUMBER + self.start);
        tokens.extend(self.steps.map(|(operator, operand)| step_token(operator, operand)));
        // The start stands last, too: it is partial result 0, from which the response goes on.
        tokens.push(NUMBER + self.start);
        tokens
    }

    /// The right response.
    #[must_use]
    pub fn response(&self, table: &OperatorTable) -> Vec<u32> {
        let mut number = self.start;
        let results = self.steps.map(|(operator, operand)| {
            number = apply(operator, number, operand, table);
            NUMBER + number
        });
        results.into_iter().chain([EOS]).collect()
    }

    /// The first step of a response that is wrong, from 0; `None` if it is right.
    #[must_use]
    pub fn first_error(&self, response: &[u32], table: &OperatorTable) -> Option<usize> {
        let right = self.response(table);
        (0..STEPS).find(|step| response.get(*step) != Some(&right[*step]))
    }

    /// What the environment says of a response: the entry that the first wrong step needed. `None`
    /// if nothing is wrong, or the step is no look-up.
    #[must_use]
    pub fn trace(&self, response: &[u32], table: &OperatorTable) -> Option<Trace> {
        let step = self.first_error(response, table)?;
        let (operator, operand) = self.steps[step];
        // Up to there the response is right, and so are its running results.
        let left = if step == 0 { self.start } else { response[step - 1] - NUMBER };
        let entry = table.entry(left, operand);
        (operator == Operator::Table).then_some(Trace { step, entry })
    }

    /// Whether a response looks up that entry's pair at any step, right or wrong.
    #[must_use]
    pub fn touches(&self, response: &[u32], entry: Entry) -> bool {
        let before = std::iter::once(NUMBER + self.start).chain(response.iter().copied());
        before.zip(self.steps).any(|(left, (operator, operand))| {
            operator == Operator::Table && left == NUMBER + entry.left && operand == entry.right
        })
    }

    /// A demonstration of using traces. `@` stands for a table of its own in each; the result of
    /// each look-up is given with probability one half.
    pub fn demonstration(stream: &mut StreamRng) -> Example {
        let operators = [Operator::Add, Operator::Table];
        let (problem, table) = (Self::draw(&operators, stream), OperatorTable::draw(stream));
        let completion = problem.response(&table);
        let given = std::array::from_fn(|step| {
            let is_given = problem.steps[step].0 == Operator::Table && stream.random::<bool>();
            is_given.then(|| completion[step] - NUMBER)
        });
        Example { prompt: problem.prompt(given), completion }
    }
}

fn step_token(operator: Operator, operand: u32) -> u32 {
    STEP + operator as u32 * MODULUS + operand
}

fn apply(operator: Operator, number: u32, operand: u32, table: &OperatorTable) -> u32 {
    match operator {
        Operator::Add => (number + operand) % MODULUS,
        Operator::Table => table.entry(number, operand).result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Streams;

    fn fixed() -> (Problem, OperatorTable) {
        let steps = [(Operator::Add, 4), (Operator::Table, 5), (Operator::Add, 1)];
        // left @right = 3 left + right.
        let row = |left: usize| std::array::from_fn(|right| (3 * left + right) as u32 % MODULUS);
        (Problem { start: 3, steps }, OperatorTable { results: std::array::from_fn(row) })
    }

    #[test]
    fn ids_are_those_of_the_vocabulary() {
        let vocabulary = vocabulary();
        assert_eq!(vocabulary.size() as u32, EMPTY + 1);
        let (problem, table) = fixed();
        assert_eq!(vocabulary.decode(&problem.prompt(NOTHING)), "...3+4@5+13");
        let trace = Trace { step: 1, entry: table.entry(7, 5) };
        assert_eq!(vocabulary.decode(&problem.prompt(trace.given())), ".2.3+4@5+13");
        // 3 + 4 = 7; 7 @ 5 = 26 mod 8 = 2; 2 + 1 = 3.
        assert_eq!(vocabulary.decode(&problem.response(&table)), "723");
        let total = problem.prompt(NOTHING).len() + problem.response(&table).len();
        assert_eq!(total, CONTEXT);
    }

    #[test]
    fn a_trace_gives_the_entry_of_the_first_failing_step() {
        let (problem, table) = fixed();
        let trace = |text: &str| {
            let tokens = vocabulary().encode(text).unwrap();
            (problem.first_error(&tokens, &table), problem.trace(&tokens, &table))
        };
        assert_eq!(trace("723"), (None, None));
        assert_eq!(trace("753"), (Some(1), Some(Trace { step: 1, entry: table.entry(7, 5) })));
        assert_eq!(trace("720"), (Some(2), None));
        assert_eq!(trace(""), (Some(0), None));
        let response = vocabulary().encode("753").unwrap();
        assert!(problem.touches(&response, table.entry(7, 5)));
        // 5 + 1 is no look-up, and 7 @ 6 is another pair.
        assert!(!problem.touches(&response, table.entry(5, 1)));
        assert!(!problem.touches(&response, table.entry(7, 6)));
    }

    #[test]
    fn a_demonstration_obeys_what_is_given_and_gives_half_of_the_look_ups() {
        let mut stream = Streams::new(5).stream("operator", &[]);
        let (mut given, mut look_ups) = (0.0, 0.0);
        for _ in 0..1000 {
            let Example { prompt, completion } = Problem::demonstration(&mut stream);
            for step in 0..STEPS {
                look_ups += f64::from(prompt[STEPS + 1 + step] >= STEP + MODULUS);
                if prompt[step] != EMPTY {
                    given += 1.0;
                    assert_eq!(completion[step], prompt[step], "{prompt:?} {completion:?}");
                }
            }
        }
        // Four standard errors of 1500 and of 3000 draws.
        assert!((given / look_ups - 0.5f64).abs() < 0.052, "{given} of {look_ups}");
        assert!((look_ups / 3000.0 - 0.5f64).abs() < 0.037, "{look_ups}");
    }

    #[test]
    #[should_panic(expected = "step 3: allowed are 0 to 2")]
    fn a_trace_of_no_step_is_refused() {
        let entry = Entry { left: 0, right: 0, result: 0 };
        let _ = Trace { step: STEPS, entry }.given();
    }

    #[test]
    #[should_panic(expected = "pair 8, 0: allowed is below 8")]
    fn an_entry_of_no_pair_is_refused() {
        let _ = fixed().1.entry(MODULUS, 0);
    }

    #[test]
    #[should_panic(expected = "operators: allowed is one or more")]
    fn a_chain_of_no_operators_is_refused() {
        let _ = Problem::draw(&[], &mut Streams::new(1).stream("operator", &[]));
    }
}
