//! A batch of scored completions, and the advantages made of it.

use crate::estimator::Estimate;
use crate::statistics::{groups, require_finite, require_length};
use crate::{OptimizerError, TokenRows};

/// What an estimator may look at: `n` completions in group-major order (the completions of prompt
/// 0, then those of prompt 1, ...). All slices have length `n`; rows have one entry per token of
/// the completion.
#[derive(Debug, Clone, Copy)]
pub struct Experience<'a> {
    /// Outcome rewards. What a failed grader is worth is the caller's decision, made before.
    pub rewards: &'a [f64],
    /// Completions per prompt (`G`).
    pub group_size: usize,
    /// Tokens per completion. An empty completion's reward enters the statistics and credits no
    /// token.
    pub lengths: &'a [usize],
    /// Task accuracy, where the reward is shaped by more: the signed methods take its sign, dynamic
    /// sampling its spread. `None`: the rewards are the accuracy.
    pub accuracy: Option<&'a [f64]>,
    /// Which completions were cut off at the token limit. For `mask_truncated`.
    pub truncated: Option<&'a [bool]>,
    /// Log-probabilities under the policy that sampled. For a KL penalty in the reward.
    pub old_logp: Option<&'a [Vec<f64>]>,
    /// Log-probabilities under the reference. For a KL penalty in the reward.
    pub reference_logp: Option<&'a [Vec<f64>]>,
    /// The critic's values of the state before each token. For PPO.
    pub values: Option<&'a [Vec<f64>]>,
}

impl<'a> Experience<'a> {
    /// A batch with nothing but outcome rewards.
    #[must_use]
    pub fn new(rewards: &'a [f64], group_size: usize, lengths: &'a [usize]) -> Self {
        Self {
            rewards,
            group_size,
            lengths,
            accuracy: None,
            truncated: None,
            old_logp: None,
            reference_logp: None,
            values: None,
        }
    }

    /// Task accuracy: the field, or else the rewards.
    #[must_use]
    pub fn accuracy(&self) -> &'a [f64] {
        self.accuracy.unwrap_or(self.rewards)
    }

    pub(crate) fn check(&self) -> Result<(), OptimizerError> {
        groups(self.rewards, self.group_size).map(drop)?;
        require_finite("accuracy", self.accuracy())?;
        let n = self.rewards.len();
        let counts = [
            ("lengths", Some(self.lengths.len())),
            ("accuracy", self.accuracy.map(<[f64]>::len)),
            ("truncated", self.truncated.map(<[bool]>::len)),
        ];
        for (what, found) in counts {
            require_length(what, found.unwrap_or(n), n)?;
        }
        let rows = [
            ("old_logp", self.old_logp),
            ("reference_logp", self.reference_logp),
            ("values", self.values),
        ];
        for (what, rows) in rows {
            let Some(rows) = rows else { continue };
            require_length(what, rows.len(), n)?;
            for (i, (row, &length)) in rows.iter().zip(self.lengths).enumerate() {
                let name = format!("{what}[{i}]");
                require_length(&name, row.len(), length)?;
                require_finite(&name, row)?;
            }
        }
        Ok(())
    }
}

/// Advantages of a batch of `n` completions, ready to be cut into minibatches.
#[derive(Debug, Clone, PartialEq)]
pub struct Advantages {
    /// Advantage of every token; row `i` has the completion's length. 0 in rows not kept.
    pub tokens: TokenRows,
    /// False for rows to *remove* from the batch before the update: they are not counted in any
    /// mean.
    pub keep: Vec<bool>,
    /// Unmasked tokens per completion: its length, or 0 where a truncated completion is masked. A
    /// masked row stays in the batch; whether it counts is the aggregation's `empty_sequences`.
    pub lengths: Vec<usize>,
    /// Value targets, rows as in `tokens`, where there is a critic.
    pub returns: Option<TokenRows>,
    /// Fraction of completions whose group's rewards, as given, were all alike up to rounding. A KL
    /// penalty in the reward, or one on length, may still tell them apart: before the group's
    /// statistics are taken ([`KlOrder`](crate::kl::KlOrder)) it is then the whole signal, scaled
    /// up by a method that divides by the deviation.
    pub constant_groups: f64,
}

impl Advantages {
    /// Writes the estimate of the rows `kept` into the whole batch.
    pub(crate) fn scatter(&mut self, kept: &[usize], estimate: Estimate) {
        for (row, &i) in kept.iter().enumerate() {
            self.keep[i] = estimate.keep[row];
        }
        if let Some(rows) = estimate.returns {
            let returns = self.returns.insert(self.tokens.clone());
            kept.iter().zip(rows).for_each(|(&i, row)| returns[i] = row);
        }
        kept.iter().zip(estimate.tokens).for_each(|(&i, row)| self.tokens[i] = row);
    }
}
