//! Rollouts: completions sampled from a policy, in text and tokens, and what a grader says of them.

use headwater_core::{Group, Prompt, Score, Streams, require};
use headwater_nn::{Completion, Decoder, Sampling, sample};
use headwater_rewards::{Reward, checked_score};

use crate::statistics::require_length;
use crate::{OptimizerError, TokenRows};

/// What a grader says of one completion.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The reward to be maximised.
    pub reward: Score,
    /// Whether the completion solves the task, where that is more than `reward` says: the signed methods
    /// take its sign, dynamic sampling its spread. `None`: the reward is the accuracy.
    pub correct: Option<bool>,
}

/// Grades a batch of groups at a trainer step; one verdict per completion, in group-major order.
///
/// It sees the whole batch, so that rewards across a group (gates, rankings) and controls that tamper
/// with verdicts need no trainer of their own.
///
/// A grader *rejects* a group by abstaining on every completion of it. The group then leaves the batch before
/// any statistic or token weight is taken: it gives no gradient, and no other group's gradient changes.
pub type Grader<'a> = dyn Fn(&[Group], u64) -> Vec<Verdict> + 'a;

/// What a trainer needs of a task.
pub struct Task<'a> {
    /// Prompts of one batch; called again with a higher attempt when dynamic sampling needs more.
    /// Arguments: step, attempt.
    pub prompts: &'a dyn Fn(u64, u64) -> Vec<Prompt>,
    /// Text of a completion's tokens.
    pub decode: &'a dyn Fn(&[u32]) -> String,
    /// What is rewarded.
    pub grader: &'a Grader<'a>,
}

/// A grader that scores each completion by itself with `reward`.
pub fn graded_by(reward: &dyn Reward) -> impl Fn(&[Group], u64) -> Vec<Verdict> + '_ {
    move |groups, _step| {
        let samples = groups.iter().flat_map(Group::samples);
        samples
            .map(|sample| Verdict { reward: checked_score(reward, sample), correct: None })
            .collect()
    }
}

/// Sampled and graded completions in group-major order.
#[derive(Debug, Clone)]
pub struct Rollouts {
    /// Completions per prompt.
    pub group_size: usize,
    /// The prompts, one per group.
    pub prompts: Vec<Prompt>,
    /// `prompts.len() * group_size` completions.
    pub completions: Vec<Completion>,
    /// The completions' rewards.
    pub rewards: Vec<f64>,
    /// 1 where the completion is right, else 0; `None` where the rewards are the accuracy.
    pub accuracy: Option<Vec<f64>>,
    /// Groups that the grader rejected; nothing else is left of them.
    pub rejected: usize,
}

impl Rollouts {
    /// Samples `group_size` completions of the prompts the task gives at (step, attempt) and has them
    /// graded.
    ///
    /// # Errors
    /// A group size of 0; prompts that do not fit the policy; a completion that failed to be
    /// graded, or was abstained on in a group that is not rejected (no value is made up for it: a
    /// grader that wants one gives it); verdicts that do not match the completions in number, or of
    /// which only some say whether the completion is correct.
    pub fn collect(
        policy: &Decoder,
        task: &Task<'_>,
        (step, attempt): (u64, u64),
        group_size: usize,
        sampling: &Sampling,
        streams: &Streams,
    ) -> Result<Self, OptimizerError> {
        require(group_size > 0, "Rollouts::collect", "group_size", 0, "1 or more")?;
        let mut prompts = (task.prompts)(step, attempt);
        let tokens: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.tokens.clone()).collect();
        let sampled = sample(policy, &tokens, group_size, sampling, streams)?;
        let groups: Vec<Group> = prompts
            .iter()
            .zip(&sampled)
            .map(|(prompt, completions)| Group {
                prompt: prompt.text.clone(),
                reference: prompt.reference.clone(),
                completions: completions.iter().map(|c| (task.decode)(&c.tokens)).collect(),
            })
            .collect();
        let mut verdicts = (task.grader)(&groups, step);
        let mut completions: Vec<Completion> = sampled.into_iter().flatten().collect();
        if verdicts.len() != completions.len() {
            return Err(OptimizerError::Length {
                what: "verdicts".into(),
                found: verdicts.len(),
                expected: completions.len(),
            });
        }
        let keep = accepted(&verdicts, group_size)?;
        let mut group = 0..;
        prompts.retain(|_| group.next().is_some_and(|g| keep[g]));
        retain_rows(&mut completions, group_size, &keep);
        retain_rows(&mut verdicts, group_size, &keep);
        let rewards: Vec<f64> = verdicts.iter().filter_map(|v| v.reward.value()).collect();
        let accuracy: Vec<f64> = verdicts.iter().filter_map(|v| v.correct.map(f64::from)).collect();
        if !accuracy.is_empty() && accuracy.len() != verdicts.len() {
            return Err(OptimizerError::Length {
                what: "verdicts that say whether the completion is correct".into(),
                found: accuracy.len(),
                expected: verdicts.len(),
            });
        }
        let accuracy = (!accuracy.is_empty()).then_some(accuracy);
        let rejected = keep.iter().filter(|keep| !**keep).count();
        Ok(Self { group_size, prompts, completions, rewards, accuracy, rejected })
    }

    /// Appends the groups of `more`. Where only one of the two says which completions are right,
    /// the rewards of the other are its accuracy, as they were before.
    ///
    /// # Errors
    /// [`OptimizerError::Length`] for groups of another size.
    pub fn extend(&mut self, more: Self) -> Result<(), OptimizerError> {
        require_length("a group", more.group_size, self.group_size)?;
        if self.accuracy.is_some() || more.accuracy.is_some() {
            let accuracy = [self.accuracy(), more.accuracy()].concat();
            self.accuracy = Some(accuracy);
        }
        self.prompts.extend(more.prompts);
        self.completions.extend(more.completions);
        self.rewards.extend(more.rewards);
        self.rejected += more.rejected;
        Ok(())
    }

    /// Keeps the groups (by index) for which `keep` is true.
    ///
    /// # Errors
    /// [`OptimizerError::Length`] unless `keep` has an entry for every group.
    pub fn retain_groups(&mut self, keep: &[bool]) -> Result<(), OptimizerError> {
        require_length("keep", keep.len(), self.prompts.len())?;
        let size = self.group_size;
        let mut group = 0..;
        self.prompts.retain(|_| group.next().is_some_and(|g| keep[g]));
        retain_rows(&mut self.completions, size, keep);
        retain_rows(&mut self.rewards, size, keep);
        if let Some(accuracy) = &mut self.accuracy {
            retain_rows(accuracy, size, keep);
        }
        Ok(())
    }

    /// Task accuracy of every completion: the verdicts', or else the rewards.
    #[must_use]
    pub fn accuracy(&self) -> &[f64] {
        self.accuracy.as_deref().unwrap_or(&self.rewards)
    }

    /// Tokens per completion.
    #[must_use]
    pub fn lengths(&self) -> Vec<usize> {
        self.completions.iter().map(|completion| completion.tokens.len()).collect()
    }

    /// Log-probabilities under the policy that sampled, at the sampling temperature.
    #[must_use]
    pub fn old_log_probs(&self) -> TokenRows {
        let row = |c: &Completion| c.log_probs.iter().map(|l| f64::from(*l)).collect();
        self.completions.iter().map(row).collect()
    }

    /// Prompt and completion tokens of row `row`.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn pair(&self, row: usize) -> (&[u32], &[u32]) {
        (&self.prompts[row / self.group_size].tokens, &self.completions[row].tokens)
    }
}

/// Which groups were not rejected, all of whose completions must have a finite reward.
fn accepted(verdicts: &[Verdict], group_size: usize) -> Result<Vec<bool>, OptimizerError> {
    let abstained = |verdict: &Verdict| matches!(verdict.reward, Score::Abstained(_));
    let groups = verdicts.chunks(group_size).enumerate().map(|(group, verdicts)| {
        if verdicts.iter().all(abstained) {
            return Ok(false);
        }
        match verdicts.iter().position(|verdict| verdict.reward.value().is_none()) {
            None => Ok(true),
            Some(at) => {
                let score = verdicts[at].reward.clone();
                Err(OptimizerError::Unscored { index: group * group_size + at, score })
            }
        }
    });
    groups.collect()
}

fn retain_rows<T>(rows: &mut Vec<T>, group_size: usize, keep: &[bool]) {
    let mut row = 0..;
    rows.retain(|_| row.next().is_some_and(|r: usize| keep[r / group_size]));
}
