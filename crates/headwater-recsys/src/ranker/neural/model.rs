//! The ranker as a function of its weights: how these are laid out, what a row's features are, and its logits.

use std::ops::Range;

use headwater_core::Streams;
use headwater_small_net::Layout;

use super::settings::{LogShape, NeuralRankerSettings};
use crate::log::Head;
use crate::ranker::heads::HeadConfig;
use crate::ranker::network::Network;
use crate::ranker::position::{Adversary, ClickLoss, PositionConfig, ServingPosition};
use crate::world::Catalogue;

/// What does not change in training.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) network: Network,
    pub(super) adversary: Option<Adversary>,
    /// Clicks come first.
    pub(super) heads: Vec<(Head, HeadConfig)>,
    pub(super) shape: LogShape,
    pub(super) embedding: usize,
    /// Where the values of places lie in the parameters; empty where the remedy has none.
    pub(super) values: Range<usize>,
    /// What is served where position is a feature.
    feature: Option<ServingPosition>,
}

/// What does.
#[derive(Debug, Clone)]
pub(super) struct Weights {
    /// Of the network, the adversary, the places, and then item after item its embedding and its bias for each head.
    pub(super) parameters: Vec<f32>,
    /// Embedding and biases of an item that is not known: the mean of those that are.
    unknown: Vec<f32>,
}

impl Model {
    pub(super) fn new(settings: &NeuralRankerSettings, shape: LogShape) -> Self {
        let heads = settings.heads();
        let feature = match settings.position {
            PositionConfig::Feature { serving, .. } => Some(serving),
            _ => None,
        };
        let one_hot = if feature.is_some() { shape.places() } else { 0 };
        let inputs = 3 * shape.features + one_hot + settings.embedding;
        let mut layout = Layout::default();
        let network = Network::new(settings.architecture(), inputs, heads.len(), &mut layout);
        let adversary = match settings.position {
            PositionConfig::Adversarial { lambda } => {
                Some(Adversary::new(&mut layout, network.hidden(), shape.slots, lambda))
            }
            _ => None,
        };
        let loss = ClickLoss::new(&settings.position, shape.places(), shape.slots);
        let values = layout.reserve(if loss.has_values() { shape.places() } else { 0 });
        let embedding = settings.embedding;
        Self { network, adversary, heads, shape, embedding, values, feature }
    }

    /// Fresh weights of the network; everything else starts at 0.
    pub(super) fn fresh(&self, streams: &Streams) -> Weights {
        let mut parameters = self.network.initial(&mut streams.stream("weights", &[]));
        parameters.resize(self.values.end, 0.0);
        Weights { parameters, unknown: vec![0.0; self.item_width()] }
    }

    /// Parameters of an item.
    fn item_width(&self) -> usize {
        self.embedding + self.heads.len()
    }

    /// Where an item lies in the parameters.
    pub(super) fn item(&self, item: u32) -> Range<usize> {
        let start = self.values.end + item as usize * self.item_width();
        start..start + self.item_width()
    }

    /// Makes all of the first `count` items known; those that were not start as an unknown item.
    pub(super) fn admit(&self, weights: &mut Weights, count: usize) {
        while weights.parameters.len() < self.values.end + count * self.item_width() {
            weights.parameters.extend_from_slice(&weights.unknown);
        }
    }

    /// Sets the unknown item to the mean of the known ones.
    pub(super) fn average(&self, weights: &mut Weights) {
        let rows = weights.parameters[self.values.end..].chunks_exact(self.item_width());
        let share = 1.0 / rows.len().max(1) as f32;
        weights.unknown.fill(0.0);
        for row in rows {
            weights.unknown.iter_mut().zip(row).for_each(|(mean, value)| *mean += share * value);
        }
    }

    /// Embedding and biases of an item, known or not.
    fn own<'a>(&self, weights: &'a Weights, item: u32) -> (&'a [f32], &'a [f32]) {
        let row = weights.parameters.get(self.item(item)).unwrap_or(&weights.unknown);
        row.split_at(self.embedding)
    }

    /// Place of a slot on a device.
    pub(super) fn place(&self, slot: u8, device: u8) -> usize {
        usize::from(slot) + self.shape.slots * usize::from(device)
    }

    /// The place a device's requests are scored at, where the network asks for one.
    pub(super) fn serving_place(&self, device: u8) -> Option<usize> {
        let first = self.place(0, device);
        match self.feature? {
            ServingPosition::First => Some(first),
            ServingPosition::Last => Some(first + self.shape.slots - 1),
            ServingPosition::Missing => None,
        }
    }

    /// Appends a row's features, [context, item, context ∘ item, one-hot place, embedding]; without a place, or where
    /// position is no feature, no place is hot.
    pub(super) fn append_features(
        &self,
        weights: &Weights,
        catalogue: Catalogue<'_>,
        context: &[f32],
        item: u32,
        place: Option<usize>,
        x: &mut Vec<f32>,
    ) {
        let at = item as usize * catalogue.width;
        let features = &catalogue.features[at..at + catalogue.width];
        x.extend_from_slice(context);
        x.extend_from_slice(features);
        x.extend(context.iter().zip(features).map(|(context, feature)| context * feature));
        if self.feature.is_some() {
            let start = x.len();
            x.resize(start + self.shape.places(), 0.0);
            if let Some(place) = place {
                x[start + place] = 1.0;
            }
        }
        x.extend_from_slice(self.own(weights, item).0);
    }

    /// Logits of rows without what training adds to them, rows x heads.
    pub(super) fn logits(&self, weights: &Weights, x: &[f32], items: &[u32]) -> Vec<f32> {
        let mut logits = self.network.logits(&weights.parameters, x);
        self.add_biases(weights, &mut logits, items);
        logits
    }

    /// Adds the items' biases to their logits.
    pub(super) fn add_biases(&self, weights: &Weights, logits: &mut [f32], items: &[u32]) {
        for (logits, &item) in logits.chunks_exact_mut(self.heads.len()).zip(items) {
            let biases = self.own(weights, item).1;
            logits.iter_mut().zip(biases).for_each(|(z, bias)| *z += bias);
        }
    }
}
