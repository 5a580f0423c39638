//! Training by SGD or Adam with early stopping on the objective itself.

use headwater_core::{Check, ConfigError, Streams, require, require_positive};
use headwater_small_net::{Adam, SavedSmallNet};
use ndarray::{Array2, ArrayView2};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::{Architecture, DecisionError, Examples, Network, Objective};

/// How the weights follow the gradient.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Optimizer {
    /// Gradient descent with momentum: v <- momentum v + g, w <- w - rate v. It feels the scale of
    /// the loss.
    Sgd {
        /// In [0, 1).
        momentum: f64,
    },
    /// Adam (Kingma and Ba 2015) with betas 0.9 and 0.999 and epsilon 1e-8. A loss times a constant
    /// gives the same steps, up to epsilon.
    Adam,
}

/// How a classifier is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// The network.
    pub architecture: Architecture,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// Learning rate at the first step, above 0; it falls linearly to 0 over all steps, so that the
    /// last epochs differ by what was learnt more than by the last batches.
    pub learning_rate: f64,
    /// Rows per step, at least 1; as many as there are is gradient descent.
    pub batch: usize,
    /// Passes over the training rows, at least 1. All are run; the network of the best is returned.
    pub epochs: usize,
}

impl Default for TrainingConfig {
    /// Two hidden layers of 32, Adam at 1e-3, batches of 64, 20 epochs.
    fn default() -> Self {
        Self {
            architecture: Architecture::Dense { hidden: vec![32, 32] },
            optimizer: Optimizer::Adam,
            learning_rate: 1e-3,
            batch: 64,
            epochs: 20,
        }
    }
}

/// A checked [`TrainingConfig`].
#[derive(Debug, Clone, PartialEq)]
pub struct Training(TrainingConfig);

impl Check for TrainingConfig {
    type Checked = Training;

    fn check(self) -> Result<Training, ConfigError> {
        let config = "TrainingConfig";
        // Whatever the number of features, which is not known yet.
        self.architecture.with_inputs(1)?;
        if let Optimizer::Sgd { momentum } = self.optimizer {
            let holds = (0.0..1.0).contains(&momentum);
            require(holds, config, "momentum", momentum, "a number in [0, 1)")?;
        }
        let rate = self.learning_rate;
        require_positive(config, "learning_rate", rate)?;
        // Steps are taken in single precision.
        let holds = (rate as f32).is_normal();
        require(holds, config, "learning_rate", rate, "a number in [1.2e-38, 3.4e38]")?;
        require(self.batch > 0, config, "batch", self.batch, "at least 1")?;
        let allowed = "1 to 1000000";
        require((1..=1_000_000).contains(&self.epochs), config, "epochs", self.epochs, allowed)?;
        Ok(Training(self))
    }
}

impl Training {
    /// Whether rows are features of different kinds, to be standardised, and no pixels.
    pub(crate) fn is_dense(&self) -> bool {
        matches!(self.0.architecture, Architecture::Dense { .. })
    }
}

/// A network and how its training went.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The network after the epoch with the lowest validation objective.
    pub network: Network,
    /// That epoch, from 1.
    pub epoch: usize,
    /// The validation objective after every epoch.
    pub validation: Vec<f64>,
}

/// Trains on `rows` and keeps the network after the epoch whose objective on `validation` is
/// lowest.
///
/// Every arm is thus stopped by its own objective, and starts about the constant that is best for
/// it: else a weighted and an unweighted arm would start at different distances from what they are
/// to learn. Initial weights come from the stream `weights`, the order of the rows from `batches`;
/// arms that share `streams` share both.
///
/// # Errors
/// A parameter of the objective that is none, rows that are not as wide as the architecture says,
/// and an objective that becomes NaN or infinite.
pub fn train(
    rows: &Examples,
    validation: &Examples,
    objective: Objective,
    training: &Training,
    streams: &Streams,
) -> Result<Trained, DecisionError> {
    objective.check()?;
    let config = &training.0;
    let inputs = config.architecture.inputs().unwrap_or(rows.width());
    for width in [rows.width(), validation.width()] {
        if width != inputs {
            return Err(DecisionError::Width { found: width, expected: inputs });
        }
    }
    let shape = config.architecture.with_inputs(inputs)?;
    let mut network = Network::initialise(shape, &mut streams.stream("weights", &[]));
    network.shift(objective.best_constant(rows.prevalence()));
    let steps = config.epochs * rows.rows().div_ceil(config.batch);
    let mut descent = Descent::new(config, steps);
    let mut order: Vec<usize> = (0..rows.rows()).collect();
    let mut curve: Vec<f64> = Vec::new();
    let mut best: Option<(usize, Network)> = None;
    // Memory of a step, used again by the next.
    let (mut x, mut saved) = (Vec::new(), SavedSmallNet::default());
    let mut gradient = vec![0.0; network.parameters.len()];
    for epoch in 0..config.epochs {
        order.sort_unstable();
        order.shuffle(&mut streams.stream("batches", &[epoch as u64]));
        for batch in order.chunks(config.batch) {
            x.clear();
            batch.iter().for_each(|row| x.extend_from_slice(rows.row(*row)));
            let x = ArrayView2::from_shape((batch.len(), inputs), &x).expect("rows of features");
            let Network { shape, parameters } = &mut network;
            shape.forward_saving(parameters, x, &mut saved);
            let share = 1.0 / batch.len() as f64;
            let mut slopes = Array2::zeros((batch.len(), 1));
            for ((slope, z), row) in slopes.iter_mut().zip(saved.output()).zip(batch) {
                let of_row = objective.value_and_slope(f64::from(*z), rows.positive()[*row]).1;
                *slope = (share * of_row) as f32;
            }
            shape.backward(parameters, x, &mut saved, slopes.view(), &mut gradient);
            descent.step(parameters, &gradient);
        }
        let value = mean_objective(objective, &network.logits(validation.features()), validation);
        if !value.is_finite() {
            return Err(DecisionError::Diverged { epoch: epoch + 1, value });
        }
        if curve.iter().all(|before| value < *before) {
            best = Some((epoch + 1, network.clone()));
        }
        curve.push(value);
    }
    let (epoch, network) = best.expect("at least one epoch, whose objective is finite");
    Ok(Trained { network, epoch, validation: curve })
}

/// The mean of an objective over rows with these logits.
#[must_use]
pub fn mean_objective(objective: Objective, logits: &[f64], rows: &Examples) -> f64 {
    let values = logits.iter().zip(rows.positive());
    values.map(|(z, y)| objective.value_and_slope(*z, *y).0).sum::<f64>() / rows.rows() as f64
}

impl Trained {
    /// The same representation under a new last layer, trained on another objective: the decoupling
    /// of Kang et al. (2020), arXiv 1910.09217, with a head trained from new weights (their cRT,
    /// with weights in the place of resampling). Returns the logits of `scored`, a part per
    /// element.
    ///
    /// # Errors
    /// As [`train`]; `training` must have no hidden layer.
    pub fn with_new_head(
        &self,
        [rows, validation]: [&Examples; 2],
        objective: Objective,
        training: &Training,
        streams: &Streams,
        scored: &[&Examples],
    ) -> Result<Vec<Vec<f64>>, DecisionError> {
        let is_linear = training.0.architecture == Architecture::Dense { hidden: Vec::new() };
        let shown = format!("{:?}", training.0.architecture);
        require(is_linear, "TrainingConfig", "architecture", shown, "dense without hidden layers")?;
        let width = self.network.representation_width();
        let seen = |part: &Examples| {
            part.with_features(self.network.representation(part.features()), width)
        };
        let head = train(&seen(rows), &seen(validation), objective, training, streams)?;
        Ok(scored.iter().map(|part| head.network.logits(seen(part).features())).collect())
    }
}

/// An optimiser under a learning rate that falls linearly.
struct Descent {
    memory: Memory,
    /// Learning rate at the first step, and the number of steps over which it falls to 0.
    rate: f64,
    steps: usize,
    taken: usize,
}

enum Memory {
    Sgd { momentum: f32, velocity: Vec<f32> },
    Adam(Adam),
}

impl Descent {
    fn new(config: &TrainingConfig, steps: usize) -> Self {
        let memory = match config.optimizer {
            Optimizer::Sgd { momentum } => {
                Memory::Sgd { momentum: momentum as f32, velocity: Vec::new() }
            }
            Optimizer::Adam => Memory::Adam(Adam::default()),
        };
        Self { memory, rate: config.learning_rate, steps, taken: 0 }
    }

    fn step(&mut self, parameters: &mut [f32], gradient: &[f32]) {
        let rate = self.rate * (1.0 - self.taken as f64 / self.steps as f64);
        self.taken += 1;
        match &mut self.memory {
            Memory::Sgd { momentum, velocity } => {
                velocity.resize(parameters.len(), 0.0);
                let rate = rate as f32;
                let velocities = parameters.iter_mut().zip(velocity).zip(gradient);
                for ((value, velocity), gradient) in velocities {
                    *velocity = *momentum * *velocity + gradient;
                    *value -= rate * *velocity;
                }
            }
            Memory::Adam(adam) => adam.step(rate, parameters, gradient),
        }
    }
}
