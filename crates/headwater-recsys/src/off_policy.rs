//! Off-policy evaluation: what a target policy would have earned, from a log of another one.
//!
//! For each logged decision the log holds its reward r, the probability π_b with which the logging policy chose the
//! action, and the probability π_e with which the target policy would; w = π_e/π_b. Estimators that use a reward
//! model q̂ also need its prediction for the logged action and its mean over the target's actions. Nothing else of contexts and
//! actions is needed, however many actions there are.
//!
//! No estimator sees what the logging policy never does: look at [`LoggedBandit::overlap`] first. A
//! decision is one action: there are no estimators for slates, whose actions are lists.

mod estimator;
mod table;

pub use estimator::OffPolicyEstimator;
pub use table::{BanditTable, read_bandit};

use headwater_evaluation::intervals::clustered_mean_interval;
use headwater_evaluation::{EvaluationError, Interval};

use crate::error::{RecsysError, at_least, every, indices_below, same_length};

/// A log's columns, unchecked; one entry per decision in each.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BanditColumns {
    /// Reward, finite.
    pub reward: Vec<f64>,
    /// Probability of the action under the logging policy, in (0, 1].
    pub propensity: Vec<f64>,
    /// Probability of the same action under the target policy, in [0, 1].
    pub target: Vec<f64>,
    /// Predictions of a reward model; left out: only estimators without one can be computed.
    pub model: Option<ModelColumns>,
    /// Probability mass the target puts on actions that the logging policy never takes in this context, in [0, 1].
    pub unsupported_mass: Option<Vec<f64>>,
    /// A number for the session (or user) of each decision: decisions of one share luck and are resampled
    /// together. Left out: all are independent.
    pub session: Option<Vec<usize>>,
}

/// Predictions of a reward model that has not been fitted to these rewards (else its errors are too small).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelColumns {
    /// q̂(x, a) of the logged action.
    pub logged: Vec<f64>,
    /// Σ_a π_e(a|x) q̂(x, a).
    pub target: Vec<f64>,
}

/// A column of numbers: its name, and what it may hold.
struct Column {
    name: &'static str,
    allowed: &'static str,
    holds: fn(f64) -> bool,
}

const REWARD: Column = Column { name: "reward", allowed: "a finite number", holds: f64::is_finite };
const PROPENSITY: Column =
    Column { name: "propensity", allowed: "a number in (0, 1]", holds: |p| p > 0.0 && p <= 1.0 };
const TARGET: Column =
    Column { name: "target", allowed: "a number in [0, 1]", holds: |p| (0.0..=1.0).contains(&p) };
const MODEL_LOGGED: Column = Column { name: "model_logged", ..REWARD };
const MODEL_TARGET: Column = Column { name: "model_target", ..REWARD };
const UNSUPPORTED_MASS: Column = Column { name: "unsupported_mass", ..TARGET };
const SESSION: &str = "session";

impl BanditColumns {
    /// The columns of a log whose policies are known in full: `logging`, `target` and `model` are rows x actions.
    ///
    /// # Errors
    /// No actions, lengths that do not fit, an action that is not below `actions`, or a row of probabilities that is
    /// none (sum off 1 by more than 1e-6).
    pub fn of_policies(
        reward: &[f64],
        taken: &[usize],
        actions: usize,
        logging: &[f64],
        target: &[f64],
        model: Option<&[f64]>,
    ) -> Result<Self, RecsysError> {
        at_least("actions", actions, 1)?;
        same_length("reward", reward.len(), "taken", taken.len())?;
        indices_below("taken", taken, actions)?;
        // No table has more cells than there are numbers, so a product that overflows fits none.
        let cells = taken.len().saturating_mul(actions);
        for (name, policy) in [("logging", logging), ("target", target)] {
            same_length("taken x actions", cells, name, policy.len())?;
            every(name, policy.iter().copied(), TARGET.allowed, TARGET.holds)?;
            let sums = policy.chunks_exact(actions).map(|row| row.iter().sum());
            every("sum of a policy's row", sums, "1 within 1e-6", |sum| (sum - 1.0).abs() <= 1e-6)?;
        }
        let of_taken = |table: &[f64]| -> Vec<f64> {
            table.chunks_exact(actions).zip(taken).map(|(row, &action)| row[action]).collect()
        };
        let rows = || target.chunks_exact(actions);
        let mean_under_target = |model: &[f64]| -> Vec<f64> {
            let row = |(target, model): (&[f64], &[f64])| {
                target.iter().zip(model).map(|(p, q)| p * q).sum()
            };
            rows().zip(model.chunks_exact(actions)).map(row).collect()
        };
        let model = match model {
            None => None,
            Some(model) => {
                same_length("taken x actions", cells, "model", model.len())?;
                Some(ModelColumns { logged: of_taken(model), target: mean_under_target(model) })
            }
        };
        let never: Vec<f64> = logging.iter().map(|&p| f64::from(u8::from(p == 0.0))).collect();
        Ok(Self {
            reward: reward.to_vec(),
            propensity: of_taken(logging),
            target: of_taken(target),
            model,
            // A sum of probabilities is rounded.
            unsupported_mass: Some(
                mean_under_target(&never).into_iter().map(|m| m.min(1.0)).collect(),
            ),
            session: None,
        })
    }
}

/// Checked [`BanditColumns`].
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedBandit {
    columns: BanditColumns,
    weights: Vec<f64>,
    /// The independent unit of each row, numbered from 0 without gaps, and how many there are.
    units: Vec<usize>,
    unit_count: usize,
}

/// How far the logging policy covers the target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overlap {
    /// Decisions in the log.
    pub rows: usize,
    /// (Σw)²/Σw²: decisions of the target that the log is worth if all are independent; 0 where it shares none.
    pub effective_sample_size: f64,
    /// Mean of w with a 95% interval, robust to what decisions of a session share where the log has sessions. Its expectation is the mass of the target within the logging policy's support:
    /// an interval below 1 tells of actions never logged, or of propensities reported too large; above 1, too small.
    pub mean_weight: Interval,
    /// 99% of weights are at most this.
    pub weight_99: f64,
    /// The largest weight.
    pub largest_weight: f64,
    /// Share of decisions whose action the target might have taken.
    pub shared: f64,
    /// Mean mass of the target on actions the logging policy never takes, where the log says it.
    pub unsupported_mass: Option<f64>,
}

impl LoggedBandit {
    /// Checks the columns.
    ///
    /// # Errors
    /// Fewer than two rows, columns of different lengths, or a number that its column may not hold: NaN, infinity,
    /// a propensity that is not in (0, 1], or one so small that the weight is infinite.
    pub fn new(columns: BanditColumns) -> Result<Self, RecsysError> {
        let rows = columns.reward.len();
        at_least("reward", rows, 2)?;
        let check = |column: &Column, values: &[f64]| -> Result<(), EvaluationError> {
            same_length("reward", rows, column.name, values.len())?;
            every(column.name, values.iter().copied(), column.allowed, column.holds)
        };
        check(&REWARD, &columns.reward)?;
        check(&PROPENSITY, &columns.propensity)?;
        check(&TARGET, &columns.target)?;
        if let Some(model) = &columns.model {
            check(&MODEL_LOGGED, &model.logged)?;
            check(&MODEL_TARGET, &model.target)?;
        }
        if let Some(mass) = &columns.unsupported_mass {
            check(&UNSUPPORTED_MASS, mass)?;
        }
        let weights: Vec<f64> =
            columns.target.iter().zip(&columns.propensity).map(|(e, b)| e / b).collect();
        every("target / propensity", weights.iter().copied(), REWARD.allowed, f64::is_finite)?;
        let (units, unit_count) = match &columns.session {
            None => ((0..rows).collect(), rows),
            Some(sessions) => {
                same_length("reward", rows, SESSION, sessions.len())?;
                let mut names = sessions.clone();
                names.sort_unstable();
                names.dedup();
                // Every session is one of the names.
                (sessions.iter().map(|s| names.partition_point(|n| n < s)).collect(), names.len())
            }
        };
        Ok(Self { columns, weights, units, unit_count })
    }

    /// The columns.
    #[must_use]
    pub fn columns(&self) -> &BanditColumns {
        &self.columns
    }

    /// w = π_e/π_b by decision.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// How far the logging policy covers the target.
    ///
    /// # Errors
    /// Fewer than two sessions, or weights so large that their squares overflow.
    pub fn overlap(&self) -> Result<Overlap, RecsysError> {
        let rows = self.weights.len();
        at_least("sessions", self.unit_count, 2)?;
        let mean_weight = clustered_mean_interval(&self.weights, &self.units, 0.95)?;
        let sum: f64 = self.weights.iter().sum();
        let squares: f64 = self.weights.iter().map(|w| w * w).sum();
        let mut sorted = self.weights.clone();
        sorted.sort_by(f64::total_cmp);
        let mass = self.columns.unsupported_mass.as_ref();
        Ok(Overlap {
            rows,
            effective_sample_size: if squares > 0.0 { sum * sum / squares } else { 0.0 },
            mean_weight,
            weight_99: sorted[(rows * 99).div_ceil(100) - 1],
            largest_weight: sorted[rows - 1],
            shared: self.weights.iter().filter(|&&w| w > 0.0).count() as f64 / rows as f64,
            unsupported_mass: mass.map(|mass| mass.iter().sum::<f64>() / rows as f64),
        })
    }
}
