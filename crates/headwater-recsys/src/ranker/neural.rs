//! The neural ranker: one network with a tower for each head, trained on logs as they arrive.
//!
//! A row's features are [context c, item f, c ∘ f, id embedding]; each item also has a bias for each head. Embeddings and
//! biases start at 0; an item that arrives later starts at the mean of those there are, and is scored as that mean
//! until then. Position is no feature unless [`crate::PositionConfig::Feature`] makes it one.

mod model;
mod settings;
mod training;

#[cfg(test)]
mod tests;

use headwater_core::Streams;
use headwater_small_net::Adam;

pub use settings::{LogShape, NeuralRankerConfig, NeuralRankerSettings};

use crate::error::RecsysError;
use crate::identifiability::{BiasCurve, PositionGraph};
use crate::log::{Head, Labels, Log};
use crate::ranker::position::ClickLoss;
use crate::ranker::{Ranker, Requests, known_items};
use crate::world::Catalogue;
use model::{Model, Weights};
pub(super) use training::Dropout;
use training::{Batch, batch_end};

/// Rows scored at once: the features and hidden layers of so many stay in the cache.
const CHUNK: usize = 512;

/// What a prediction is told of an impression's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The place it was shown at: clicks are predicted as the model is trained to. Where propensities are known, they are
    /// used; dual learning has no calibrated click probability, and gives s(z).
    Logged,
    /// What is served.
    Serving,
}

/// A multi-task ranker with a remedy for position bias.
///
/// Weights and dropout draw from the streams it was made with: the same logs and the same streams give the same bits.
/// Rankers made from the same streams start alike whatever their remedy, as far as their networks are the same.
#[derive(Debug, Clone)]
pub struct NeuralRanker {
    settings: NeuralRankerSettings,
    streams: Streams,
    model: Model,
    weights: Weights,
    click_loss: ClickLoss,
    adam: Adam,
    trainings: u64,
    batch: Batch,
}

impl NeuralRanker {
    /// A ranker with fresh weights.
    #[must_use]
    pub fn new(settings: &NeuralRankerSettings, shape: LogShape, streams: &Streams) -> Self {
        let model = Model::new(settings, shape);
        Self {
            settings: settings.clone(),
            streams: *streams,
            weights: model.fresh(streams),
            click_loss: ClickLoss::new(&settings.position, shape.places(), shape.slots),
            model,
            adam: Adam::default(),
            trainings: 0,
            batch: Batch::default(),
        }
    }

    /// What was learnt of places (slot + slots × device), if the log it was learnt from identifies it; none where the
    /// remedy learns no curve.
    ///
    /// `graph` is that of the log, and `least_shared` as for [`BiasCurve::new`].
    ///
    /// # Errors
    /// [`RecsysError::Unidentified`], and a graph of another number of places.
    pub fn bias_curve(
        &self,
        graph: &PositionGraph,
        least_shared: usize,
    ) -> Result<Option<BiasCurve>, RecsysError> {
        let values = &self.weights.parameters[self.model.values.clone()];
        let learnt = self.click_loss.log_theta(values, self.model.shape.slots);
        learnt.map(|log_theta| BiasCurve::new(&log_theta, graph, least_shared)).transpose()
    }

    /// What a head predicts for each impression of a log: a probability, or for dwell the logarithm of time.
    ///
    /// # Errors
    /// [`RecsysError::NoLabels`] of a head that the ranker does not have; a log of another shape.
    pub fn predict(
        &self,
        catalogue: Catalogue<'_>,
        log: &Log,
        head: Head,
        at: At,
    ) -> Result<Vec<f32>, RecsysError> {
        let Self { model, weights, .. } = self;
        model.shape.fits(catalogue, log)?;
        known_items(catalogue, log)?;
        let task = model.heads.iter().position(|(own, _)| *own == head);
        let task = task.ok_or(RecsysError::NoLabels { head })?;
        let (width, tasks) = (model.shape.features, model.heads.len());
        let values = &weights.parameters[model.values.clone()];
        let mut x = Vec::new();
        let mut predictions = Vec::with_capacity(log.len());
        for start in (0..log.len()).step_by(CHUNK) {
            let rows = start..log.len().min(start + CHUNK);
            let session = |row: usize| log.sessions()[row] as usize;
            let place = |row: usize| model.place(log.slots()[row], log.devices()[session(row)]);
            let items = &log.items()[rows.clone()];
            x.clear();
            for (row, &item) in rows.clone().zip(items) {
                let context = &log.contexts()[session(row) * width..][..width];
                let fed = match at {
                    At::Logged => Some(place(row)),
                    At::Serving => model.serving_place(log.devices()[session(row)]),
                };
                model.append_features(weights, catalogue, context, item, fed, &mut x);
            }
            let logits = model.logits(weights, &x, items);
            for (row, logits) in rows.zip(logits.chunks_exact(tasks)) {
                let z = f64::from(logits[task]);
                let prediction = if (at, head) == (At::Logged, Head::Click) {
                    let (examination, slots) =
                        (f64::from(log.examinations()[row]), model.shape.slots);
                    self.click_loss.probability(z, place(row), examination, values, slots)
                } else {
                    head.prediction(z)
                };
                predictions.push(prediction as f32);
            }
        }
        Ok(predictions)
    }
}

impl Ranker for NeuralRanker {
    /// The weighted product of the heads, as its logarithm: the sum of exponents times log-factors.
    fn score(
        &mut self,
        catalogue: Catalogue<'_>,
        requests: &Requests<'_>,
        scores: &mut [f32],
    ) -> Result<(), RecsysError> {
        let Self { model, weights, .. } = self;
        model.shape.fits_features(catalogue, requests.contexts, requests.sessions())?;
        let (count, width) = (requests.candidates_per_session(), model.shape.features);
        let mut x = Vec::new();
        for (chunk, scores) in scores.chunks_mut(CHUNK).enumerate() {
            let rows = chunk * CHUNK..chunk * CHUNK + scores.len();
            let items = &requests.candidates[rows.clone()];
            x.clear();
            for (row, &item) in rows.zip(items) {
                let session = row / count;
                let context = &requests.contexts[session * width..][..width];
                let place = model.serving_place(requests.devices[session]);
                model.append_features(weights, catalogue, context, item, place, &mut x);
            }
            let logits = model.logits(weights, &x, items);
            for (score, logits) in scores.iter_mut().zip(logits.chunks_exact(model.heads.len())) {
                let factors = model.heads.iter().zip(logits);
                let factors = factors
                    .map(|((head, config), &z)| config.exponent * head.log_factor(f64::from(z)));
                *score = factors.sum::<f64>() as f32;
            }
        }
        Ok(())
    }

    /// Epochs over the log, batch by batch in the order in which it was served.
    fn train(&mut self, catalogue: Catalogue<'_>, log: &Log) -> Result<(), RecsysError> {
        let Self { settings, model, weights, click_loss, adam, batch, .. } = self;
        model.shape.fits(catalogue, log)?;
        known_items(catalogue, log)?;
        let labels = model.heads.iter();
        let labels =
            labels.map(|&(head, _)| log.labels(head).ok_or(RecsysError::NoLabels { head }));
        let labels: Vec<Labels<'_>> = labels.collect::<Result<_, _>>()?;
        if !settings.warm_start {
            *weights = model.fresh(&self.streams);
            *click_loss =
                ClickLoss::new(&settings.position, model.shape.places(), model.shape.slots);
            *adam = Adam::default();
        }
        model.admit(weights, catalogue.items());
        click_loss.prepare(log, |slot, device| model.place(slot, device))?;
        let gate_rate = settings.architecture().gate_dropout;
        let place_rate = settings.position.dropout();
        let mut dropout = Dropout::new(gate_rate, place_rate, &self.streams, self.trainings);
        // Values of places before a step, which goes further for them if they have a rate of their own.
        let mut before: Vec<f32> = Vec::new();
        for _ in 0..settings.epochs {
            let mut start = 0;
            while start < log.len() {
                let end = batch_end(log, start, settings.sessions_per_batch);
                model.read(weights, catalogue, log, start..end, &mut dropout, batch);
                model.differentiate(weights, log, &labels, click_loss, &mut dropout, batch);
                let (rate, most) = (settings.learning_rate, settings.max_grad_norm);
                before.clear();
                before.extend_from_slice(&weights.parameters[model.values.clone()]);
                adam.clipped_step(rate, most, &mut weights.parameters, &batch.gradient)?;
                if settings.place_rate != 1.0 {
                    let values = weights.parameters[model.values.clone()].iter_mut();
                    for (value, before) in values.zip(&before) {
                        *value = before + settings.place_rate as f32 * (*value - before);
                    }
                }
                start = end;
            }
        }
        model.average(weights);
        self.trainings += 1;
        Ok(())
    }
}
