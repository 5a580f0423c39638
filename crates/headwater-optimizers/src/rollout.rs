//! Environments, and rollouts in them: completions sampled from a policy, with their grades.

use headwater_core::{Group, Prompt, Score, Streams, Vocabulary, require};
use headwater_nn::{Completion, Decoder, Sampling, sample};
use headwater_rewards::{Reward, checked_score};

use crate::statistics::require_length;
use crate::{OptimizerError, TokenRows};

/// What an environment says of one completion.
#[derive(Debug, Clone, PartialEq)]
pub struct Grade {
    /// The reward to be maximised.
    pub reward: Score,
    /// Whether the completion solves the task, where that is more than `reward` says: the signed
    /// methods take its sign, dynamic sampling its spread. `None`: the reward is the accuracy.
    pub correct: Option<bool>,
}

/// What a policy is trained in: what it is asked, how its tokens read, and what is rewarded.
///
/// [`RewardEnvironment`] makes one of a [`Reward`]. Steps ask for prompts, then for the grades of
/// what was sampled on them.
pub trait Environment {
    /// Why there are no prompts or no grades. Training stops with it.
    type Error: From<OptimizerError>;

    /// Prompts of one batch; asked again with a higher `attempt`, from 0, when dynamic sampling
    /// needs more.
    ///
    /// # Errors
    /// Whatever the environment cannot do.
    fn prompts(&mut self, step: u64, attempt: u64) -> Result<Vec<Prompt>, Self::Error>;

    /// Text of a completion's tokens.
    fn decode(&self, tokens: &[u32]) -> String;

    /// Grades a batch of groups at a trainer step; one grade per completion, in group-major order.
    ///
    /// It sees the whole batch, so that rewards across a group (gates, rankings) and controls that
    /// tamper with grades need no trainer of their own.
    ///
    /// A group all of whose completions are abstained on is *rejected*. It leaves the batch before
    /// any statistic or token weight is taken: it gives no gradient, and no other group's gradient
    /// changes.
    ///
    /// # Errors
    /// Whatever the environment cannot do: a model that fails, text that cannot be read.
    fn grade(&mut self, groups: &[Group], step: u64) -> Result<Vec<Grade>, Self::Error>;
}

/// An environment that scores each completion by itself with a reward.
///
/// `prompts` gives the prompts of a batch from step and attempt.
pub struct RewardEnvironment<'a, P> {
    /// What is rewarded.
    pub reward: &'a dyn Reward,
    /// How tokens read.
    pub vocabulary: &'a Vocabulary,
    /// Arguments: step, attempt.
    pub prompts: P,
}

impl<P: FnMut(u64, u64) -> Vec<Prompt>> Environment for RewardEnvironment<'_, P> {
    type Error = OptimizerError;

    fn prompts(&mut self, step: u64, attempt: u64) -> Result<Vec<Prompt>, OptimizerError> {
        Ok((self.prompts)(step, attempt))
    }

    fn decode(&self, tokens: &[u32]) -> String {
        self.vocabulary.decode(tokens)
    }

    fn grade(&mut self, groups: &[Group], _step: u64) -> Result<Vec<Grade>, OptimizerError> {
        Ok(graded_by(self.reward, groups))
    }
}

/// Grades of each completion by itself: its score, which is the accuracy as well.
pub fn graded_by(reward: &dyn Reward, groups: &[Group]) -> Vec<Grade> {
    let samples = groups.iter().flat_map(Group::samples);
    samples.map(|sample| Grade { reward: checked_score(reward, sample), correct: None }).collect()
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
    /// Groups that were rejected; nothing else is left of them.
    pub rejected: usize,
}

impl Rollouts {
    /// Samples `group_size` completions of each prompt and has the environment grade them.
    ///
    /// # Errors
    /// A group size of 0; prompts that do not fit the policy; a completion that failed to be
    /// graded, or was abstained on in a group that is not rejected (no value is made up for it: an
    /// environment that wants one gives it); grades that do not match the completions in number,
    /// or of which only some say whether the completion is correct; the environment's own error.
    pub fn collect<E: Environment>(
        policy: &Decoder,
        environment: &mut E,
        mut prompts: Vec<Prompt>,
        (step, group_size): (u64, usize),
        sampling: &Sampling,
        streams: &Streams,
    ) -> Result<Self, E::Error> {
        require(group_size > 0, "Rollouts::collect", "group_size", 0, "1 or more")
            .map_err(OptimizerError::from)?;
        let tokens: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.tokens.clone()).collect();
        let sampled =
            sample(policy, &tokens, group_size, sampling, streams).map_err(OptimizerError::from)?;
        let groups: Vec<Group> = prompts
            .iter()
            .zip(&sampled)
            .map(|(prompt, completions)| Group {
                prompt: prompt.text.clone(),
                reference: prompt.reference.clone(),
                completions: completions.iter().map(|c| environment.decode(&c.tokens)).collect(),
            })
            .collect();
        let mut grades = environment.grade(&groups, step)?;
        let mut completions: Vec<Completion> = sampled.into_iter().flatten().collect();
        require_length("grades", grades.len(), completions.len())?;
        let keep = accepted(&grades, group_size)?;
        let mut group = 0..;
        prompts.retain(|_| group.next().is_some_and(|g| keep[g]));
        retain_rows(&mut completions, group_size, &keep);
        retain_rows(&mut grades, group_size, &keep);
        let rewards: Vec<f64> = grades.iter().filter_map(|v| v.reward.value()).collect();
        let accuracy: Vec<f64> = grades.iter().filter_map(|v| v.correct.map(f64::from)).collect();
        if !accuracy.is_empty() {
            let what = "grades that say whether the completion is correct";
            require_length(what, accuracy.len(), grades.len())?;
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

    /// Task accuracy of every completion: the grades', or else the rewards.
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
fn accepted(grades: &[Grade], group_size: usize) -> Result<Vec<bool>, OptimizerError> {
    let abstained = |grade: &Grade| matches!(grade.reward, Score::Abstained(_));
    let groups = grades.chunks(group_size).enumerate().map(|(group, grades)| {
        if grades.iter().all(abstained) {
            return Ok(false);
        }
        match grades.iter().position(|grade| grade.reward.value().is_none()) {
            None => Ok(true),
            Some(at) => {
                let score = grades[at].reward.clone();
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
