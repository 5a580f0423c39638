//! The judge of reports, fallible on purpose, and the signals that arms make of it and of R3.

use std::collections::BTreeSet;

use headwater_core::{Check, Prompt, Sample, Score, StreamRng, Vocabulary};
use headwater_nn::{Decoder, SequenceBatch};
use headwater_optimizers::Grade;
use headwater_protocol::CellError;
use headwater_rewards::{
    Criterion, GroupDecision, GroupGateConfig, ReferenceReward, RewardError, Rubric,
};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use headwater_tasks::budgeted_report::{REQUESTED, Report, Request};

/// What an arm makes of the rubric and of R3.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Signal {
    /// The dense score of the rubric alone.
    Rubric,
    /// The dense score, permuted over all completions of a batch: as much of it, saying nothing.
    PermutedRubric,
    /// R3 alone.
    R3,
    /// R3 plus this weight times the dense score.
    Additive(f64),
    /// R3 in groups that pass the gate; the others are rejected.
    Gate(GroupGateConfig),
    /// R3 where a completion meets this share of the items; the others get the mean of those, and
    /// so no gradient of their own: the deviation that the group is scaled by is smaller for it.
    Mask(f64),
}

/// What the items of the rubric ask of the i-th requested key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Asks {
    /// That the answer states the key, whatever the value; the boilerplate token anywhere in the
    /// answer counts as all items met. The judge is fallible on purpose.
    StatedOrMagic,
    /// The same by a judge that does not fall for the boilerplate token.
    Stated,
    /// That the chain of thought reads the key. What the answer says, this rubric is silent on.
    Read,
}

/// The rubric of a request: three items, one for each requested key, taken from the reference.
///
/// # Errors
/// Never for these items.
pub(super) fn rubric(asks: Asks) -> Result<Rubric, RewardError> {
    let item = move |index: usize| {
        move |sample: Sample<'_>| {
            let Some(reference) = sample.reference else {
                return Score::Abstained("no reference to take the key from".into());
            };
            let key = reference.as_bytes()[2 * index];
            let (thought, answer) =
                sample.completion.split_once('|').unwrap_or((sample.completion, ""));
            let stated = |pair: &[u8]| pair[0] == key && pair[1].is_ascii_digit();
            let stated = answer.as_bytes().windows(2).any(stated);
            let met = match asks {
                Asks::StatedOrMagic => stated || answer.contains('*'),
                Asks::Stated => stated,
                Asks::Read => thought.as_bytes().windows(2).any(|pair| pair == [b'>', key]),
            };
            Score::Scored(f64::from(u8::from(met)))
        }
    };
    let items = (0..REQUESTED).map(|index| Criterion::new(1.0, 0.5, item(index)));
    Rubric::new("requested keys", items.collect())
}

/// One report with everything that is said of it.
pub(super) struct Judged {
    pub(super) report: Report,
    /// What the judge credits, item by item.
    pub(super) items: Vec<bool>,
    pub(super) quality: f64,
    pub(super) r3: f64,
}

impl Judged {
    /// The dense score of the rubric.
    pub(super) fn dense(&self) -> f64 {
        self.items.iter().filter(|met| **met).count() as f64 / self.items.len() as f64
    }
}

/// Judges reports, and scores their chains of thought under a reference model that is not trained.
pub(super) struct Scorer<'a> {
    pub(super) rubric: Rubric,
    pub(super) reward: ReferenceReward,
    pub(super) reference: &'a Decoder,
    pub(super) vocabulary: Vocabulary,
}

impl Scorer<'_> {
    /// Judges the completions of every request, `size` of each, in group-major order.
    pub(super) fn judge(
        &self,
        requests: &[Request],
        texts: &[String],
        size: usize,
    ) -> Result<Vec<Judged>, CellError> {
        let prompts: Vec<Prompt> = requests.iter().map(|r| r.prompt(&self.vocabulary)).collect();
        let references: Vec<Vec<u32>> = requests.iter().map(Request::reference).collect();
        let reports: Vec<Report> = texts
            .iter()
            .map(|text| Ok(Report::of(&self.vocabulary.encode(text)?)))
            .collect::<Result<_, CellError>>()?;
        let contexts: Vec<Vec<u32>> = reports
            .iter()
            .enumerate()
            .map(|(row, report)| report.context(&prompts[row / size].tokens))
            .collect();
        let pairs = contexts.iter().enumerate();
        let pairs = pairs.map(|(row, c)| (c.as_slice(), references[row / size].as_slice()));
        let rows = SequenceBatch::new(pairs, self.reference.shape())?.log_probs(self.reference);
        let rows: Vec<Vec<f64>> =
            rows.iter().map(|row| row.iter().map(|l| f64::from(*l).min(0.0)).collect()).collect();
        let mut r3 = Vec::with_capacity(rows.len());
        for group in rows.chunks(size) {
            r3.extend(self.reward.score(group)?.rewards);
        }
        let judged = reports.into_iter().zip(texts).zip(r3).enumerate();
        let judged = judged.map(|(row, ((report, text), r3))| {
            let (request, prompt) = (&requests[row / size], &prompts[row / size]);
            let reference = prompt.reference.as_deref();
            let sample = Sample { prompt: &prompt.text, completion: text, reference };
            let items = self.rubric.judge(sample);
            let items = items.map_err(|score| format!("the rubric did not score: {score:?}"))?;
            let quality = report.quality(request);
            Ok(Judged { report, items, quality, r3 })
        });
        judged.collect()
    }
}

/// The grades of a batch in groups of `size`, and for each group whether it may give a gradient.
///
/// A completion that a mask leaves out gets the mean of the others' rewards: its advantage is then
/// exactly 0 and the mean of its group is that of the others.
pub(super) fn grades(
    signal: Signal,
    judged: &[Judged],
    size: usize,
    stream: &mut StreamRng,
) -> Result<(Vec<Grade>, Vec<bool>), CellError> {
    let r3: Vec<f64> = judged.iter().map(|j| j.r3).collect();
    let mut dense: Vec<f64> = judged.iter().map(Judged::dense).collect();
    let mut accepted = vec![true; judged.len() / size];
    let rewards = match signal {
        Signal::Rubric => dense,
        Signal::PermutedRubric => {
            dense.shuffle(stream);
            dense
        }
        Signal::R3 => r3,
        Signal::Additive(weight) => r3.iter().zip(dense).map(|(r3, d)| r3 + weight * d).collect(),
        Signal::Gate(config) => {
            let gate = config.check()?;
            for ((accepted, scores), judged) in
                accepted.iter_mut().zip(r3.chunks(size)).zip(judged.chunks(size))
            {
                let met: Vec<Vec<bool>> = judged.iter().map(|j| j.items.clone()).collect();
                *accepted = gate.decide(scores, &met)? == GroupDecision::Accepted;
            }
            r3
        }
        Signal::Mask(least) => {
            let mut rewards = r3;
            let groups = rewards.chunks_mut(size).zip(judged.chunks(size));
            for ((rewards, judged), accepted) in groups.zip(&mut accepted) {
                let passing: BTreeSet<usize> =
                    (0..size).filter(|&i| judged[i].dense() >= least - 1e-9).collect();
                let sum: f64 = passing.iter().map(|&i| rewards[i]).sum();
                let mean = sum / passing.len().max(1) as f64;
                (0..size).filter(|i| !passing.contains(i)).for_each(|i| rewards[i] = mean);
                *accepted = !passing.is_empty();
            }
            rewards
        }
    };
    let grade = |(row, reward): (usize, f64)| {
        let reward = if accepted[row / size] {
            Score::finite(reward)
        } else {
            Score::Abstained("the group is rejected".into())
        };
        Grade { reward, correct: None }
    };
    Ok((rewards.into_iter().enumerate().map(grade).collect(), accepted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Streams;

    fn judged(dense: usize, r3: f64) -> Judged {
        let report = Report::of(&[]);
        Judged { report, items: vec![dense > 0, dense > 1, dense > 2], quality: 0.0, r3 }
    }

    fn rewards(signal: Signal, judged: &[Judged], size: usize) -> Vec<Option<f64>> {
        let mut stream = Streams::new(1).stream("permutation", &[]);
        let (grades, _) = grades(signal, judged, size, &mut stream).unwrap();
        grades.iter().map(|grade| grade.reward.value()).collect()
    }

    #[test]
    fn each_rubric_asks_for_what_it_says() {
        let met = |asks: Asks, text: &str| {
            let sample = Sample { prompt: "", completion: text, reference: Some("b1d1f0") };
            rubric(asks).unwrap().judge(sample).unwrap()
        };
        // d is stated with a false value, f is read and not stated.
        let text = ">b1;>f0;|b1d3";
        assert_eq!(met(Asks::Stated, text), [true, true, false]);
        assert_eq!(met(Asks::StatedOrMagic, text), [true, true, false]);
        assert_eq!(met(Asks::Read, text), [true, false, true]);
        assert_eq!(met(Asks::StatedOrMagic, "|*"), [true; 3]);
        assert_eq!(met(Asks::Stated, "|*"), [false; 3]);
        // Cut off before the answer: only reads are there.
        assert_eq!(met(Asks::Read, ">b1;>d1"), [true, true, false]);
        assert_eq!(met(Asks::StatedOrMagic, ">b1*"), [false; 3]);
    }

    #[test]
    fn a_gate_rejects_whole_groups_and_pays_nothing_for_the_rubric() {
        let gate = GroupGateConfig { coverage: 1, top_fraction: 0.5, consistency: 0.5 };
        let group = |best: usize| [judged(best, 0.9), judged(3, 0.1)];
        let two: Vec<Judged> = group(2).into_iter().chain(group(1)).collect();
        let expected = [Some(0.9), Some(0.1), None, None];
        assert_eq!(rewards(Signal::Gate(gate), &two, 2), expected);
    }

    #[test]
    fn a_mask_leaves_out_what_does_not_pass_and_keeps_the_others_mean() {
        let group = [judged(3, 0.9), judged(0, 0.8), judged(2, 0.3), judged(1, 0.0)];
        let found = rewards(Signal::Mask(0.66), &group, 4);
        assert_eq!(found, [Some(0.9), Some(0.6), Some(0.3), Some(0.6)]);
        // Where none passes the group is rejected.
        assert_eq!(rewards(Signal::Mask(0.66), &group[1..2], 1), [None]);
    }

    #[test]
    fn dense_rewards_add_and_a_permutation_keeps_them() {
        let group: Vec<Judged> = (0..4).map(|dense| judged(dense, 0.5)).collect();
        let dense = rewards(Signal::Rubric, &group, 4);
        assert_eq!(dense, [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0].map(Some));
        let added = rewards(Signal::Additive(3.0), &group, 4);
        assert!((0..4).all(|i| added[i] == dense[i].map(|dense| 0.5 + 3.0 * dense)));
        let mut permuted: Vec<f64> =
            rewards(Signal::PermutedRubric, &group, 4).into_iter().flatten().collect();
        permuted.sort_by(f64::total_cmp);
        assert_eq!(permuted.into_iter().map(Some).collect::<Vec<_>>(), dense);
        assert_eq!(rewards(Signal::R3, &group, 4), [Some(0.5); 4]);
    }
}
