//! The crate's one error.

use headwater_core::ConfigError;
use headwater_evaluation::EvaluationError;
use headwater_nn::NnError;
use headwater_optimizers::OptimizerError;

/// What can go wrong between a config and a round of a loop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelfImprovementError {
    /// A config failed its check.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An argument that no measure can be computed from.
    #[error(transparent)]
    Argument(#[from] EvaluationError),
    /// A policy or a batch that the networks cannot use.
    #[error(transparent)]
    Network(#[from] NnError),
    /// A rollout or an update that failed.
    #[error(transparent)]
    Optimizer(#[from] OptimizerError),
}
