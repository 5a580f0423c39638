//! The numbers of one trainer step.

use std::collections::BTreeMap;

use tracing::info;

use crate::rollout::Rollouts;

/// Numbers of one step, under TRL's names where the meaning is the same.
pub type StepMetrics = BTreeMap<&'static str, f64>;

/// What can be said of rollouts before any update: of the groups that were not rejected, and how many were. Of
/// a batch without any group left, nothing else.
pub(crate) fn describe(rollouts: &Rollouts) -> StepMetrics {
    let counts =
        [("groups", rollouts.prompts.len() as f64), ("groups_rejected", rollouts.rejected as f64)];
    if rollouts.prompts.is_empty() {
        return BTreeMap::from(counts);
    }
    let n = rollouts.rewards.len() as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / n;
    let reward = mean(&rollouts.rewards);
    let deviations = rollouts.rewards.chunks(rollouts.group_size).map(|group| {
        let size = group.len() as f64;
        let mean = group.iter().sum::<f64>() / size;
        let square: f64 = group.iter().map(|r| (r - mean).powi(2)).sum();
        if size > 1.0 { (square / (size - 1.0)).sqrt() } else { 0.0 }
    });
    let groups = rollouts.prompts.len() as f64;
    let tokens = rollouts.lengths().iter().sum::<usize>() as f64;
    let entropies = rollouts.completions.iter().flat_map(|c| &c.entropies);
    let unfinished = rollouts.completions.iter().filter(|c| !c.finished).count() as f64;
    let mut metrics = BTreeMap::from([
        ("reward", reward),
        ("reward_std", deviations.sum::<f64>() / groups),
        ("accuracy", mean(rollouts.accuracy())),
        ("entropy", entropies.map(|e| f64::from(*e)).sum::<f64>() / tokens),
        ("completions/mean_length", tokens / n),
        ("completions/clipped_ratio", unfinished / n),
        ("num_tokens", tokens),
    ]);
    metrics.extend(counts);
    metrics
}

/// Tells the subscriber, if there is one, what a step came to.
pub(crate) fn report(metrics: &StepMetrics) {
    let [reward, entropy, kl, loss, grad_norm] =
        ["reward", "entropy", "kl", "loss", "grad_norm"].map(|name| metrics.get(name).copied());
    info!(reward, entropy, kl, loss, grad_norm, "step taken");
}

/// Sums over the updates of one step.
#[derive(Default)]
pub(crate) struct UpdateSums {
    updates: f64,
    loss: f64,
    norm: f64,
    value_loss: Option<f64>,
    rows: f64,
    clip_low: f64,
    clip_high: f64,
}

impl UpdateSums {
    pub(crate) fn clip(&mut self, low: f64, high: f64, rows: usize) {
        self.rows += rows as f64;
        self.clip_low += low * rows as f64;
        self.clip_high += high * rows as f64;
    }

    pub(crate) fn policy(&mut self, loss: f64, norm: f64) {
        self.updates += 1.0;
        self.loss += loss;
        self.norm += norm;
    }

    pub(crate) fn critic(&mut self, loss: f64) {
        *self.value_loss.get_or_insert(0.0) += loss;
    }

    pub(crate) fn report(&self, metrics: &mut StepMetrics) {
        let updates = self.updates.max(1.0);
        metrics.insert("updates", self.updates);
        metrics.insert("loss", self.loss / updates);
        metrics.insert("grad_norm", self.norm / updates);
        metrics.insert("clip_ratio/low_mean", self.clip_low / self.rows.max(1.0));
        metrics.insert("clip_ratio/high_mean", self.clip_high / self.rows.max(1.0));
        if let Some(loss) = self.value_loss {
            metrics.insert("loss/value_avg", loss / updates);
        }
    }
}
