//! Invariance of deterministic rewards: one pair is enough to refute it.

use std::fmt;
use std::mem::discriminant;

use headwater_core::{Score, require, require_non_negative};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::difference::{difference, quoted};
use crate::edit::{Change, Edit};
use crate::edits;
use crate::sample::OwnedSample;
use headwater_rewards::RewardError;
use headwater_rewards::checked_score;
use headwater_rewards::{Extraction, Reward};

/// How hard to look for a violation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InvarianceConfig {
    /// Number of pairs drawn, at least 1.
    pub cases: u32,
    /// Largest gap that is taken for rounding, finite, at least 0. A gap of just as much is, too,
    /// whatever the rounding of the difference.
    pub tolerance: f64,
    /// Seed of the draws; the same seed gives the same pairs.
    pub seed: u64,
}

impl Default for InvarianceConfig {
    /// 256 pairs, tolerance 1e-9, seed 0.
    fn default() -> Self {
        Self { cases: 256, tolerance: 1e-9, seed: 0 }
    }
}

/// What was drawn in a search that found no violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InvarianceReport {
    /// Pairs drawn.
    pub cases: u32,
    /// Pairs whose scores were compared.
    pub compared: u32,
    /// Pairs in which the reward abstained on both sides.
    pub abstained: u32,
    /// Draws in which the edit found nothing to edit.
    pub not_applicable: u32,
}

/// A pair that refutes an invariance, as small as it could be made. Shown, it leaves out the middle
/// of long texts; the fields hold them whole.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Name of the reward.
    pub reward: String,
    /// Name of the edit.
    pub edit: String,
    /// The parameters of the change.
    pub change: Change,
    /// The sample before the edit.
    pub original: OwnedSample,
    /// The sample after the edit.
    pub edited: OwnedSample,
    /// Score before.
    pub before: Score,
    /// Score after.
    pub after: Score,
}

impl Violation {
    /// What the edit inserted, removed or replaced, in words.
    #[must_use]
    pub fn difference(&self) -> String {
        difference(&self.original, &self.edited)
    }

    /// Whether the reward fails on the original already (returns NaN or a value out of its range,
    /// or says so itself). Then the edit is not to blame, and nothing is known about the
    /// invariance.
    #[must_use]
    pub fn reward_is_broken(&self) -> bool {
        matches!(self.before, Score::Failed(_))
    }

    /// The signed gap, edited minus original: positive when the edit pays. `None` unless both sides
    /// were scored.
    #[must_use]
    pub fn gap(&self) -> Option<f64> {
        Some(self.after.value()? - self.before.value()?)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reward, edit, original, edited, before, after, .. } = self;
        let difference = self.difference();
        match (self.gap(), before) {
            (Some(gap), _) => {
                writeln!(f, "`{reward}` moves by {gap:+} under the edit `{edit}`: {difference}")?;
            }
            (None, Score::Failed(reason)) => writeln!(
                f,
                "`{reward}` is broken, whatever the edit: it fails on the original sample \
                 ({reason}). The edit `{edit}`: {difference}"
            )?,
            (None, _) => {
                writeln!(f, "`{reward}` does not survive the edit `{edit}`: {difference}")?;
            }
        }
        for (side, sample, score) in [("original", original, before), ("edited", edited, after)] {
            writeln!(f, "  {side}: {score:?}")?;
            writeln!(f, "    prompt     {}", quoted(&sample.prompt))?;
            writeln!(f, "    completion {}", quoted(&sample.completion))?;
            let reference = sample.reference.as_deref().map_or("none".to_owned(), quoted);
            writeln!(f, "    reference  {reference}")?;
        }
        Ok(())
    }
}

/// What a search for a violation came to.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// No pair moved the score.
    Held(InvarianceReport),
    /// This pair did.
    Violated(Box<Violation>),
    /// No pair could be compared: the edit never applied or the reward always abstained. Nothing
    /// was tested.
    Vacuous(InvarianceReport),
}

impl Outcome {
    /// The violation, if there is one.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        match self {
            Self::Violated(violation) => Some(violation),
            _ => None,
        }
    }
}

/// What comparing one pair came to.
enum Comparison {
    NotApplicable,
    Abstained,
    Same,
    Different(Box<Violation>),
}

/// Whether a smaller violation shows what the first one did: the same kind of scores, and the edit
/// paying where it paid. Otherwise a gap might shrink to a text the reward fails on, and be lost.
fn is_alike(first: &Violation, smaller: &Violation) -> bool {
    let kind = |v: &Violation| (discriminant(&v.before), discriminant(&v.after));
    let pays = |v: &Violation| v.gap().map(|gap| gap > 0.0);
    kind(first) == kind(smaller) && pays(first) == pays(smaller)
}

fn compare(
    reward: &(impl Reward + ?Sized),
    edit: &Edit,
    (original, change): (OwnedSample, Change),
    tolerance: f64,
) -> Comparison {
    let Some(edited) = change.apply(&original) else { return Comparison::NotApplicable };
    let before = checked_score(reward, original.as_sample());
    let after = checked_score(reward, edited.as_sample());
    match (&before, &after) {
        (Score::Scored(a), Score::Scored(b)) if is_within(*a, *b, tolerance) => Comparison::Same,
        (Score::Abstained(_), Score::Abstained(_)) => Comparison::Abstained,
        _ => {
            let (reward, edit) = (reward.name().to_owned(), edit.name().to_owned());
            let violation = Violation { reward, edit, change, original, edited, before, after };
            Comparison::Different(Box::new(violation))
        }
    }
}

/// Whether two scores differ by at most `tolerance`, which the rounding of each may miss by a
/// rounding of its size: 0.4 and 0.3 are within 0.1.
fn is_within(a: f64, b: f64, tolerance: f64) -> bool {
    let rounding = if tolerance > 0.0 { f64::EPSILON * a.abs().max(b.abs()) } else { 0.0 };
    (a - b).abs() <= tolerance + rounding
}

/// Looks for a pair of a sample and its edited self that get different scores, and shrinks it.
///
/// A difference above the tolerance, a failure (or a value outside the declared range) on either
/// side, and an abstention on one side only are violations. Samples shrink by dropping words, edits
/// towards their mildest form, until neither can shrink further, and to violations of the same kind
/// and sign only. Deterministic for a given seed.
///
/// # Errors
/// A config field out of range.
pub fn find_violation(
    reward: &(impl Reward + ?Sized),
    samples: impl Strategy<Value = OwnedSample>,
    edit: Edit,
    config: InvarianceConfig,
) -> Result<Outcome, RewardError> {
    const CONFIG: &str = "InvarianceConfig";
    require(config.cases > 0, CONFIG, "cases", config.cases, "at least 1")?;
    let tolerance = config.tolerance;
    require_non_negative(CONFIG, "tolerance", tolerance)?;

    let mut runner = runner(config.seed);
    let pairs = (samples, edit.changes().clone());
    let mut report = InvarianceReport { cases: config.cases, ..InvarianceReport::default() };
    for _ in 0..config.cases {
        // The only way for a strategy to fail is a filter that rejects everything: as good as not
        // applicable.
        let Ok(mut tree) = pairs.new_tree(&mut runner) else {
            report.not_applicable += 1;
            continue;
        };
        match compare(reward, &edit, tree.current(), tolerance) {
            Comparison::NotApplicable => report.not_applicable += 1,
            Comparison::Abstained => report.abstained += 1,
            Comparison::Same => report.compared += 1,
            Comparison::Different(first) => {
                let kind = first.clone();
                let smallest = shrink(&mut tree, first, |pair| {
                    match compare(reward, &edit, pair, tolerance) {
                        Comparison::Different(smaller) => {
                            is_alike(&kind, &smaller).then_some(smaller)
                        }
                        _ => None,
                    }
                });
                return Ok(Outcome::Violated(smallest));
            }
        }
    }
    Ok(if report.compared > 0 { Outcome::Held(report) } else { Outcome::Vacuous(report) })
}

/// Follows the tree from its `first` violation to its smallest.
fn shrink<T: ValueTree>(
    tree: &mut T,
    first: Box<Violation>,
    violation: impl Fn(T::Value) -> Option<Box<Violation>>,
) -> Box<Violation> {
    /// More than enough for texts of thousands of words; a bound for trees that never end.
    const MOST_STEPS: usize = 50_000;
    let mut smallest = first;
    let mut shrinking = tree.simplify();
    for _ in 0..MOST_STEPS {
        if !shrinking {
            break;
        }
        shrinking = match violation(tree.current()) {
            Some(smaller) => {
                smallest = smaller;
                tree.simplify()
            }
            None => tree.complicate(),
        };
    }
    smallest
}

/// Source of random draws that depends on the seed alone.
pub(super) fn runner(seed: u64) -> TestRunner {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &key))
}

/// Asserts that no edited sample scores differently from its original: [`find_violation`] with 256
/// pairs.
///
/// # Panics
/// With the smallest pair and the signed gap when there is a violation, and when nothing could be
/// compared.
#[track_caller]
pub fn assert_invariant(
    reward: &(impl Reward + ?Sized),
    samples: impl Strategy<Value = OwnedSample>,
    edit: Edit,
) {
    let name = edit.name().to_owned();
    match find_violation(reward, samples, edit, InvarianceConfig::default()) {
        Ok(Outcome::Held(_)) => {}
        Ok(Outcome::Violated(violation)) => panic!("{violation}"),
        Ok(Outcome::Vacuous(report)) => {
            panic!("nothing was tested: `{}` under the edit `{name}`: {report:?}", reward.name())
        }
        Err(error) => panic!("{error}"),
    }
}

/// Asserts every invariance that `reward` declares, with the crate's own edits. A declared
/// [`Invariance::Paraphrase`](headwater_rewards::Invariance::Paraphrase) is not covered: it needs a table, so
/// assert it with [`edits::paraphrase`].
///
/// The samples must give every edit something to do; `extraction` says where an option letter
/// stands.
///
/// # Panics
/// As [`assert_invariant`]; and when the reward declares no invariance, or none but a paraphrase,
/// for then nothing would be tested.
#[track_caller]
pub fn assert_declared_invariances(
    reward: &(impl Reward + ?Sized),
    samples: impl Strategy<Value = OwnedSample> + Clone,
    extraction: &Extraction,
) {
    let declared = reward.invariances();
    let edits: Vec<Edit> =
        declared.iter().filter_map(|declared| edits::standard(*declared, extraction)).collect();
    assert!(
        !edits.is_empty(),
        "nothing was tested: `{}` declares {}",
        reward.name(),
        match declared.first() {
            None => "no invariance; say in `Reward::invariances` what must not move it",
            Some(_) =>
                "paraphrases alone, which need a table: assert them with `edits::paraphrase`",
        }
    );
    for edit in edits {
        assert_invariant(reward, samples.clone(), edit);
    }
}
