//! What a self-improvement loop is rewarded by, and how much of it comes from outside: one interface for all sources.
//!
//! A loop samples a group of answers for every prompt and asks an [`Anchor`] for rewards. Truth is behind an [`Oracle`], which
//! only this module can ask, and which counts: a label is a prompt's right answer, a verdict says of one answer whether it is right. So what an
//! anchor imports is measured and not declared.

use std::cell::Cell;

use headwater_core::{Check, ConfigError, StreamRng, require};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::votes::majority;

/// Answers are small integers: classes, or indices of distinct answers to a prompt.
pub type Answer = usize;

/// Where labels come from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum AnchorConfig {
    /// The majority of the group (SRT, arXiv 2505.21444; TTRL, arXiv 2504.16084): imports nothing.
    Majority,
    /// The majority of answers by somebody else who imports nothing new: a past checkpoint, or a moving average of the policy. The
    /// loop hands those answers in.
    Checkpoint,
    /// Labels drawn at random, the control: no information.
    Chance,
    /// A third party's label for every prompt.
    Judge {
        /// Probability q that the label is right, in [0, 1].
        accuracy: f64,
        /// Correlation ρ of its being right with the majority's being right, in [0, 1], as far as the two accuracies allow. Where
        /// both are wrong it repeats the majority's answer with probability ρ, and else errs uniformly.
        correlation: f64,
    },
    /// The majority, but for a share of the prompts on which it is wrong: a user who sees that gives the right answer.
    Corrections {
        /// In [0, 1].
        share: f64,
    },
    /// A checker that covers a share of all prompts, the same ones always: there an answer is rewarded if it is right, elsewhere if
    /// it is the majority's.
    Tool {
        /// In [0, 1].
        coverage: f64,
    },
    /// Right labels for a random share of the prompts of a step, the majority elsewhere. At 1 it is supervised by gold.
    Gold {
        /// In [0, 1].
        share: f64,
    },
}

/// A checked [`AnchorConfig`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Anchor(AnchorConfig);

impl Check for AnchorConfig {
    type Checked = Anchor;

    fn check(self) -> Result<Anchor, ConfigError> {
        const NAME: &str = "AnchorConfig";
        let in_range = |field, value: f64| {
            require((0.0..=1.0).contains(&value), NAME, field, value, "a number in [0, 1]")
        };
        match self {
            Self::Majority | Self::Checkpoint | Self::Chance => {}
            Self::Judge { accuracy, correlation } => {
                in_range("accuracy", accuracy)?;
                in_range("correlation", correlation)?;
            }
            Self::Corrections { share } | Self::Gold { share } => in_range("share", share)?,
            Self::Tool { coverage } => in_range("coverage", coverage)?,
        }
        Ok(Anchor(self))
    }
}

/// How often truth was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// Right answers given away.
    pub labels: usize,
    /// Answers of which it was said whether they are right.
    pub verdicts: usize,
}

/// Right answers, for those who are entitled to them.
#[derive(Debug)]
pub struct Oracle<'a> {
    truth: &'a [Answer],
    imported: Cell<Imported>,
}

impl<'a> Oracle<'a> {
    /// The right answers of a batch of prompts.
    #[must_use]
    pub fn new(truth: &'a [Answer]) -> Self {
        Self { truth, imported: Cell::default() }
    }

    /// What was asked so far.
    #[must_use]
    pub fn imported(&self) -> Imported {
        self.imported.get()
    }

    fn label(&self, prompt: usize) -> Answer {
        let Imported { labels, verdicts } = self.imported.get();
        self.imported.set(Imported { labels: labels + 1, verdicts });
        self.truth[prompt]
    }

    fn is_right(&self, prompt: usize, answer: Answer) -> bool {
        let Imported { labels, verdicts } = self.imported.get();
        self.imported.set(Imported { labels, verdicts: verdicts + 1 });
        self.truth[prompt] == answer
    }
}

/// One prompt's answers.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    /// Which prompt it is, whatever batch it stands in: a tool covers a prompt or does not.
    pub id: u64,
    /// The policy's answers, one or more.
    pub answers: &'a [Answer],
    /// Those that labels are the majority of: the same, or a checkpoint's.
    pub voters: &'a [Answer],
}

impl Anchor {
    /// Rewards, 1 or 0, of every answer of every group; `classes` is the number of answers there are.
    ///
    /// # Panics
    /// When the oracle does not know as many prompts as there are groups, or a group is empty.
    pub fn rewards(
        &self,
        groups: &[Group<'_>],
        oracle: &Oracle<'_>,
        classes: usize,
        stream: &mut StreamRng,
    ) -> Vec<Vec<f64>> {
        assert_eq!(groups.len(), oracle.truth.len(), "one right answer for every group");
        let first =
            |group: &Group<'_>| *majority(group.voters).expect("a group has answers").answer;
        let majorities: Vec<Answer> = groups.iter().map(first).collect();
        let agree = |answers: &[Answer], label: Answer| -> Vec<f64> {
            answers.iter().map(|answer| f64::from(*answer == label)).collect()
        };
        let judge = match self.0 {
            AnchorConfig::Judge { accuracy, correlation } => {
                // What the judge needs of the majority's errors it sees; the loop does not.
                let right = majorities.iter().zip(oracle.truth).filter(|(a, b)| a == b).count();
                Some(Judge::new(accuracy, correlation, right as f64 / groups.len() as f64))
            }
            _ => None,
        };
        let labelled = |(at, group): (usize, &Group<'_>)| {
            let own = majorities[at];
            match self.0 {
                AnchorConfig::Majority | AnchorConfig::Checkpoint => agree(group.answers, own),
                AnchorConfig::Chance => agree(group.answers, stream.random_range(0..classes)),
                AnchorConfig::Judge { correlation, .. } => {
                    let truth = oracle.label(at);
                    let judge = judge.as_ref().expect("made for this anchor");
                    let label = if stream.random::<f64>() < judge.right[usize::from(own == truth)] {
                        truth
                    } else if own != truth && stream.random::<f64>() < correlation {
                        own
                    } else {
                        (truth + stream.random_range(1..classes)) % classes
                    };
                    agree(group.answers, label)
                }
                AnchorConfig::Corrections { share } => {
                    let corrected = stream.random::<f64>() < share && !oracle.is_right(at, own);
                    agree(group.answers, if corrected { oracle.label(at) } else { own })
                }
                AnchorConfig::Tool { coverage } if is_covered(group.id, coverage) => {
                    let verdict = |answer: &Answer| f64::from(oracle.is_right(at, *answer));
                    group.answers.iter().map(verdict).collect()
                }
                AnchorConfig::Tool { .. } => agree(group.answers, own),
                AnchorConfig::Gold { share } => {
                    let is_labelled = stream.random::<f64>() < share;
                    agree(group.answers, if is_labelled { oracle.label(at) } else { own })
                }
            }
        };
        groups.iter().enumerate().map(labelled).collect()
    }
}

/// Whether a prompt is among the covered ones: its number, well mixed, lies in the lower share.
fn is_covered(id: u64, coverage: f64) -> bool {
    let mixed = (id ^ (id >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((mixed >> 11) as f64) / ((1u64 << 53) as f64) < coverage
}

/// A judge's chances of being right where the majority is wrong, and where it is right.
struct Judge {
    right: [f64; 2],
}

impl Judge {
    /// Two events of probabilities q and m with correlation ρ have P(both) = q m + ρ sqrt(q (1 - q) m (1 - m)), within the bounds
    /// that q and m leave.
    fn new(q: f64, correlation: f64, m: f64) -> Self {
        let spread = (q * (1.0 - q) * m * (1.0 - m)).sqrt();
        // Rounding can put the lower bound above the upper one, 1 + 0.1 - 1 above 0.1.
        let most = q.min(m);
        let both = (q * m + correlation * spread).clamp((q + m - 1.0).clamp(0.0, most), most);
        let given = |joint: f64, mass: f64| if mass > 0.0 { joint / mass } else { q };
        Self { right: [given(q - both, 1.0 - m), given(both, m)] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Streams;

    const CLASSES: usize = 10;

    /// Batches of one prompt each, of which the majority is right in 6 of 10; labels by an anchor, and what was imported.
    fn labels(
        config: AnchorConfig,
        prompts: usize,
    ) -> (Vec<(Answer, Answer, Option<Answer>)>, Imported) {
        let mut stream = Streams::new(7).stream("anchor", &[]);
        let truth: Vec<Answer> = (0..prompts).map(|at| at % CLASSES).collect();
        let all: Vec<Answer> = (0..CLASSES).collect();
        // The policy gives every answer once and its majority twice more.
        let answers: Vec<Vec<Answer>> = truth
            .iter()
            .enumerate()
            .map(|(at, truth)| {
                let own = if (at / CLASSES) % 10 < 6 { *truth } else { (truth + 3) % CLASSES };
                [vec![own, own], all.clone()].concat()
            })
            .collect();
        let groups: Vec<Group<'_>> = answers
            .iter()
            .enumerate()
            .map(|(at, answers)| Group { id: at as u64, answers, voters: answers })
            .collect();
        let oracle = Oracle::new(&truth);
        let anchor = config.check().unwrap();
        let rewards = anchor.rewards(&groups, &oracle, CLASSES, &mut stream);
        let label = |rewards: &[f64]| (0..CLASSES).find(|answer| rewards[2 + answer] == 1.0);
        let rows = truth.iter().zip(&answers).zip(&rewards);
        let rows = rows.map(|((truth, answers), rewards)| (*truth, answers[0], label(rewards)));
        (rows.collect(), oracle.imported())
    }

    fn share(
        rows: &[(Answer, Answer, Option<Answer>)],
        of: impl Fn(Answer, Answer, Option<Answer>) -> bool,
    ) -> f64 {
        rows.iter().filter(|(truth, own, label)| of(*truth, *own, *label)).count() as f64
            / rows.len() as f64
    }

    #[test]
    fn what_imports_nothing_asks_nothing() {
        for config in [AnchorConfig::Majority, AnchorConfig::Checkpoint] {
            let (rows, imported) = labels(config, 1000);
            assert!(rows.iter().all(|(_, own, label)| *label == Some(*own)));
            assert_eq!(imported, Imported::default());
        }
        let (rows, imported) = labels(AnchorConfig::Chance, 4000);
        assert_eq!(imported, Imported::default());
        assert!((share(&rows, |truth, _, label| label == Some(truth)) - 0.1).abs() < 0.02);
    }

    #[test]
    fn a_judge_has_its_accuracy_and_its_correlation_with_the_majority() {
        for (accuracy, correlation) in [(0.7, 0.0), (0.7, 0.6), (0.5, 0.3)] {
            let (rows, imported) = labels(AnchorConfig::Judge { accuracy, correlation }, 20_000);
            assert_eq!(imported, Imported { labels: 20_000, verdicts: 0 });
            let q = share(&rows, |truth, _, label| label == Some(truth));
            assert!((q - accuracy).abs() < 0.015, "{q}");
            let m = share(&rows, |truth, own, _| own == truth);
            let both = share(&rows, |truth, own, label| own == truth && label == Some(truth));
            let found = (both - q * m) / (q * (1.0 - q) * m * (1.0 - m)).sqrt();
            assert!((found - correlation).abs() < 0.03, "{found}");
        }
        // Two of 0.9 and 0.6 cannot be correlated by 1: what is possible is taken.
        // Every accuracy with every share of right majorities, the ends included.
        for (q, m) in (0..=20).flat_map(|q| (0..=20).map(move |m| (q, m))) {
            let (q, m) = (f64::from(q) / 20.0, f64::from(m) / 20.0);
            for correlation in [0.0, 0.5, 1.0] {
                let [wrong, right] = Judge::new(q, correlation, m).right;
                let total = wrong * (1.0 - m) + right * m;
                assert!((total - q).abs() < 1e-12, "{q} {m} {correlation}: {total}");
                assert!([wrong, right].iter().all(|p| (-1e-12..=1.0 + 1e-12).contains(p)));
            }
        }
        let judge = Judge::new(0.9, 1.0, 0.6);
        assert!((judge.right[1] - 1.0).abs() < 1e-12 && (judge.right[0] - 0.75).abs() < 1e-12);
    }

    #[test]
    fn corrections_tool_and_gold_import_what_they_say() {
        let (rows, imported) = labels(AnchorConfig::Corrections { share: 0.5 }, 10_000);
        let wrong: Vec<_> = rows.iter().filter(|(truth, own, _)| truth != own).copied().collect();
        assert!((share(&wrong, |truth, _, label| label == Some(truth)) - 0.5).abs() < 0.03);
        assert!(share(&rows, |truth, own, label| own == truth && label != Some(own)) == 0.0);
        // Half of the prompts are looked at, and those of them that are wrong are put right.
        assert!((imported.verdicts as f64 / 10_000.0 - 0.5).abs() < 0.02);
        assert!((imported.labels as f64 / 10_000.0 - 0.2).abs() < 0.02);

        let (rows, imported) = labels(AnchorConfig::Tool { coverage: 0.3 }, 10_000);
        let right = share(&rows, |truth, _, label| label == Some(truth));
        assert!((right - (0.6 + 0.4 * 0.3)).abs() < 0.02, "{right}");
        assert_eq!((imported.labels, imported.verdicts % 12), (0, 0));

        let (rows, imported) = labels(AnchorConfig::Gold { share: 1.0 }, 1000);
        assert_eq!(share(&rows, |truth, _, label| label == Some(truth)), 1.0);
        assert_eq!(imported.labels, 1000);
        let error = AnchorConfig::Gold { share: 1.2 }.check().unwrap_err().to_string();
        assert!(error.contains("share") && error.contains("1.2"), "{error}");
    }
}
