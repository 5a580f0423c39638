//! A batch of a log: its rows, the loss over all heads, and the gradient of everything.

use std::ops::Range;

use headwater_core::{StreamRng, Streams};
use rand::RngExt;

use super::model::{Model, Weights};
use crate::log::{Labels, Log};
use crate::ranker::network::Saved;
use crate::ranker::position::{AdversarySaved, ClickGradients, ClickLoss, Shown};
use crate::world::Catalogue;

/// Rows of a log as training reads them. Its memory is used again.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch {
    /// Features, and their gradients.
    pub(super) x: Vec<f32>,
    dx: Vec<f32>,
    items: Vec<u32>,
    pub(super) places: Vec<usize>,
    pub(super) missing: Vec<bool>,
    /// Rows of each list.
    pub(super) lists: Vec<Range<usize>>,
    rows: Range<usize>,
    /// Of all parameters.
    pub(super) gradient: Vec<f32>,
    saved: Saved,
    adversary: AdversarySaved,
    /// Gradients of the logits, rows x heads.
    dlogits: Vec<f32>,
    /// Logits of clicks, and their gradients.
    clicks: [Vec<f32>; 2],
}

/// What training leaves out by chance.
#[derive(Debug)]
pub(in crate::ranker) struct Dropout {
    gate_rate: f32,
    gate_stream: StreamRng,
    mask: Vec<bool>,
    place_rate: f32,
    place_stream: StreamRng,
}

impl Dropout {
    pub(in crate::ranker) fn new(
        gate_rate: f64,
        place_rate: f64,
        streams: &Streams,
        training: u64,
    ) -> Self {
        Self {
            gate_rate: gate_rate as f32,
            gate_stream: streams.stream("gate dropout", &[training]),
            mask: Vec::new(),
            place_rate: place_rate as f32,
            place_stream: streams.stream("position dropout", &[training]),
        }
    }

    /// Which experts gates keep; none where nothing is ever dropped.
    pub(in crate::ranker) fn gates(&mut self, length: usize) -> Option<&[bool]> {
        let Self { gate_rate, gate_stream, mask, .. } = self;
        if *gate_rate == 0.0 || length == 0 {
            return None;
        }
        mask.clear();
        mask.extend((0..length).map(|_| gate_stream.random::<f32>() >= *gate_rate));
        Some(mask)
    }

    /// Whether the next row's place is missing.
    fn place(&mut self) -> bool {
        self.place_rate > 0.0 && self.place_stream.random::<f32>() < self.place_rate
    }
}

/// Loss of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Loss {
    /// Of all heads.
    pub(super) heads: f64,
    /// Of the adversary, which descends on it while the layers below ascend.
    pub(super) adversary: f64,
}

/// One past the last row of a batch of `sessions` sessions that begins at row `start`.
pub(super) fn batch_end(log: &Log, start: usize, sessions: usize) -> usize {
    let column = &log.sessions()[start..];
    let last = column[0] as usize + sessions;
    start + column.partition_point(|&session| (session as usize) < last)
}

impl Model {
    /// Reads rows of a log, whole lists, into a batch.
    pub(super) fn read(
        &self,
        weights: &Weights,
        catalogue: Catalogue<'_>,
        log: &Log,
        rows: Range<usize>,
        dropout: &mut Dropout,
        batch: &mut Batch,
    ) {
        let Batch { x, items, places, missing, lists, .. } = batch;
        x.clear();
        places.clear();
        missing.clear();
        let width = self.shape.features;
        for row in rows.clone() {
            let session = log.sessions()[row] as usize;
            let context = &log.contexts()[session * width..(session + 1) * width];
            let place = self.place(log.slots()[row], log.devices()[session]);
            let dropped = dropout.place();
            let fed = (!dropped).then_some(place);
            self.append_features(weights, catalogue, context, log.items()[row], fed, x);
            places.push(place);
            missing.push(dropped);
        }
        items.clear();
        items.extend_from_slice(&log.items()[rows.clone()]);
        lists.clear();
        for list in log.sessions()[rows.clone()].chunk_by(|a, b| a == b) {
            let start = lists.last().map_or(0, |list| list.end);
            lists.push(start..start + list.len());
        }
        batch.rows = rows;
    }

    /// Loss of a batch, whose gradient is written to it. `labels` are those of the log, head by head.
    pub(super) fn differentiate(
        &self,
        weights: &Weights,
        log: &Log,
        labels: &[Labels<'_>],
        click_loss: &mut ClickLoss,
        dropout: &mut Dropout,
        batch: &mut Batch,
    ) -> Loss {
        let parameters = &weights.parameters;
        let (rows, tasks) = (batch.items.len(), self.heads.len());
        let gradient = &mut batch.gradient;
        gradient.clear();
        gradient.resize(parameters.len(), 0.0);
        let mask = dropout.gates(rows * self.network.mask_width());
        self.network.logits_saving(parameters, &batch.x, mask, &mut batch.saved);
        self.add_biases(weights, &mut batch.saved.logits, &batch.items);
        let logits = &batch.saved.logits;

        // Clicks, by the remedy's loss.
        let dlogits = &mut batch.dlogits;
        dlogits.clear();
        dlogits.resize(logits.len(), 0.0);
        let mut loss = 0.0;
        {
            let shown = Shown {
                clicks: &labels[0].values[batch.rows.clone()],
                examinations: &log.examinations()[batch.rows.clone()],
                places: &batch.places,
                missing: &batch.missing,
                lists: &batch.lists,
                slots: self.shape.slots,
            };
            let [z, dz] = &mut batch.clicks;
            z.clear();
            z.extend(logits.iter().step_by(tasks));
            dz.clear();
            dz.resize(rows, 0.0);
            let values = &mut gradient[self.values.clone()];
            let mut gradients = ClickGradients { logits: dz, values };
            let own = &parameters[self.values.clone()];
            let weight = self.heads[0].1.weight;
            loss += weight * click_loss.loss(&shown, z, own, &mut gradients);
            let weight = weight as f32;
            gradients.values.iter_mut().for_each(|value| *value *= weight);
            let column = dlogits.iter_mut().step_by(tasks).zip(dz);
            column.for_each(|(out, value)| *out = weight * *value);
        }

        // What follows a click, on rows where it is defined. Means are over all rows, so that a label weighs as much as
        // a click does, however rare it is.
        let share = 1.0 / rows as f64;
        for (task, ((head, config), labels)) in self.heads.iter().zip(labels).enumerate().skip(1) {
            let mask = labels.mask.filter(|_| config.masked).map(|mask| &mask[batch.rows.clone()]);
            for (row, &label) in labels.values[batch.rows.clone()].iter().enumerate() {
                if mask.is_none_or(|mask| mask[row] > 0.0) {
                    let at = row * tasks + task;
                    let (own, slope) = head.loss(f64::from(label), f64::from(logits[at]));
                    loss += share * config.weight * own;
                    dlogits[at] = (share * config.weight * slope) as f32;
                }
            }
        }

        let (adversary, reversed) = match &self.adversary {
            None => (0.0, None),
            Some(adversary) => {
                let (places, saved) = (&batch.places, &mut batch.adversary);
                let hidden = self.network.hidden_of(&batch.saved, &batch.x);
                let loss = adversary.loss(parameters, hidden, places, gradient, saved);
                (loss, Some(saved.down.as_slice()))
            }
        };
        batch.dx.resize(batch.x.len(), 0.0);
        let (down, dx) = ((dlogits.as_slice(), reversed), Some(batch.dx.as_mut_slice()));
        self.network.backward(parameters, &batch.x, &mut batch.saved, down, gradient, dx);
        self.add_item_gradients(batch);
        Loss { heads: loss, adversary }
    }

    /// Adds what a batch's rows say of the embeddings and biases of their items.
    fn add_item_gradients(&self, batch: &mut Batch) {
        let inputs = batch.x.len() / batch.items.len();
        let dlogits = batch.dlogits.chunks_exact(self.heads.len());
        for ((dx, dlogits), &item) in batch.dx.chunks_exact(inputs).zip(dlogits).zip(&batch.items) {
            let own = dx[inputs - self.embedding..].iter().chain(dlogits);
            let sums = batch.gradient[self.item(item)].iter_mut();
            sums.zip(own).for_each(|(sum, value)| *sum += value);
        }
    }
}
