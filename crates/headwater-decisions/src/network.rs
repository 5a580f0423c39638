//! A small network with one logit: convolutions with stride, then dense layers, all with ReLU between.

use headwater_core::StreamRng;
use headwater_kernels::{Activation, DenseLayer, MlpSaved, mlp, mlp_backward, mlp_saving};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

/// The shape of a [`Network`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Architecture {
    /// Dense layers of these widths between the features and the logit; none is logistic regression.
    Dense {
        /// Widths of the hidden layers.
        hidden: Vec<usize>,
    },
    /// Square images of one channel, row by row, through 3x3 convolutions of stride 2 (zeros around the image), the
    /// last one's result straight to the logit.
    Convolutional {
        /// Pixels along a side.
        side: usize,
        /// Channels of every convolution.
        channels: Vec<usize>,
    },
}

impl Architecture {
    /// Features that it takes, where it says so.
    pub(crate) fn inputs(&self) -> Option<usize> {
        match self {
            Self::Dense { .. } => None,
            Self::Convolutional { side, .. } => Some(side * side),
        }
    }
}

/// Edge of the convolutions' kernels, and how far apart they are placed.
const KERNEL: usize = 3;
const STRIDE: usize = 2;
/// Rows worked off together where nothing is saved: what the patches of a layer fit into a cache.
const CHUNK: usize = 256;

#[derive(Debug, Clone, PartialEq)]
struct Layer {
    /// `[in][out]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
    activation: Activation,
}

impl Layer {
    /// Weights of variance gain/in (He et al. 2015 with gain 2 before a ReLU), bias 0.
    fn initialise(inputs: usize, outputs: usize, last: bool, rng: &mut StreamRng) -> Self {
        let gain = if last { 1.0f32 } else { 2.0 };
        let scale = (gain / inputs as f32).sqrt();
        let draw = |_| scale * <StandardNormal as Distribution<f32>>::sample(&StandardNormal, rng);
        Self {
            weights: (0..inputs * outputs).map(draw).collect(),
            bias: vec![0.0; outputs],
            activation: if last { Activation::Identity } else { Activation::Relu },
        }
    }

    fn borrowed(&self) -> DenseLayer<'_> {
        DenseLayer { weights: &self.weights, bias: &self.bias, activation: self.activation }
    }
}

/// A convolution as a dense layer over patches.
#[derive(Debug, Clone, PartialEq)]
struct Convolution {
    /// Pixels along a side of the input, and its channels.
    side: usize,
    channels: usize,
    /// `[KERNEL * KERNEL * channels][out]`.
    layer: Layer,
}

impl Convolution {
    fn side_of_result(side: usize) -> usize {
        side.div_ceil(STRIDE)
    }

    /// Calls `each` with (index of a patch's pixel, index of the image's pixel, how many lie side by side in both) for
    /// all that lie in the image.
    fn runs(&self, mut each: impl FnMut(usize, usize, usize)) {
        let result = Self::side_of_result(self.side);
        for at in 0..result * result {
            // The kernel's centre is on every second pixel; one row and column of zeros around the image.
            let (top, left) = (at / result * STRIDE, at % result * STRIDE);
            let first = usize::from(left == 0);
            let end = KERNEL.min(self.side + 1 - left);
            for row in 0..KERNEL {
                let y = (top + row).wrapping_sub(1);
                if y < self.side {
                    let to = (at * KERNEL + row) * KERNEL + first;
                    each(to, y * self.side + left + first - 1, end - first);
                }
            }
        }
    }

    /// Patches of every image, `[images * positions][KERNEL * KERNEL * channels]`, from `[images][pixels][channels]`.
    fn patches(&self, images: &[f32]) -> Vec<f32> {
        let (image, channels) = (self.side * self.side * self.channels, self.channels);
        let result = Self::side_of_result(self.side);
        let patches = result * result * KERNEL * KERNEL * channels;
        let mut out = vec![0.0; images.len() / image * patches];
        for (image, out) in images.chunks(image).zip(out.chunks_mut(patches)) {
            self.runs(|to, from, run| {
                let (to, from, run) = (to * channels, from * channels, run * channels);
                out[to..to + run].copy_from_slice(&image[from..from + run]);
            });
        }
        out
    }

    /// The transpose of [`Convolution::patches`]: gradients of the images from those of the patches.
    fn gather(&self, patches: &[f32], images: usize) -> Vec<f32> {
        let (image, channels) = (self.side * self.side * self.channels, self.channels);
        let mut out = vec![0.0; images * image];
        for (out, patches) in out.chunks_mut(image).zip(patches.chunks(patches.len() / images)) {
            self.runs(|from, to, run| {
                let (to, from, run) = (to * channels, from * channels, run * channels);
                for (to, from) in out[to..to + run].iter_mut().zip(&patches[from..]) {
                    *to += from;
                }
            });
        }
        out
    }
}

/// A classifier of rows of features, with one logit.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    convolutions: Vec<Convolution>,
    /// At least one; the last gives the logit.
    dense: Vec<Layer>,
}

/// What the backward pass needs of the forward pass.
pub(crate) struct Saved {
    convolutions: Vec<(Vec<f32>, MlpSaved)>,
    flat: Vec<f32>,
    dense: MlpSaved,
}

impl Network {
    /// A network for rows of `inputs` features with weights from `rng`.
    ///
    /// # Panics
    /// When `inputs` is not what the architecture takes ([`crate::train`] has checked that).
    #[must_use]
    pub fn initialise(architecture: &Architecture, inputs: usize, rng: &mut StreamRng) -> Self {
        if let Some(expected) = architecture.inputs() {
            assert_eq!(inputs, expected, "images as large as the architecture says");
        }
        let (mut convolutions, mut width) = (Vec::new(), inputs);
        let hidden: &[usize] = match architecture {
            Architecture::Dense { hidden } => hidden,
            Architecture::Convolutional { side, channels } => {
                let (mut side, mut from) = (*side, 1);
                for &to in channels {
                    let layer = Layer::initialise(KERNEL * KERNEL * from, to, false, rng);
                    convolutions.push(Convolution { side, channels: from, layer });
                    (side, from) = (Convolution::side_of_result(side), to);
                }
                width = side * side * from;
                &[]
            }
        };
        let mut dense = Vec::new();
        for &outputs in hidden {
            dense.push(Layer::initialise(width, outputs, false, rng));
            width = outputs;
        }
        dense.push(Layer::initialise(width, 1, true, rng));
        Self { convolutions, dense }
    }

    /// Adds to every logit.
    pub(crate) fn shift(&mut self, by: f64) {
        let last = self.dense.last_mut().expect("a layer that gives the logit");
        last.bias[0] += by as f32;
    }

    /// Logits of rows of features.
    ///
    /// # Panics
    /// When the rows are not as wide as the network's input.
    #[must_use]
    pub fn logits(&self, features: &[f32]) -> Vec<f64> {
        let dense: Vec<_> = self.dense.iter().map(Layer::borrowed).collect();
        let run = |flat: &[f32]| mlp(&dense, flat).into_iter().map(f64::from).collect();
        self.in_chunks(features, run)
    }

    /// What the last layer sees of rows of features: `[rows]` of [`Network::representation_width`].
    ///
    /// # Panics
    /// As [`Network::logits`].
    #[must_use]
    pub fn representation(&self, features: &[f32]) -> Vec<f32> {
        let below: Vec<_> =
            self.dense[..self.dense.len() - 1].iter().map(Layer::borrowed).collect();
        let run = |flat: &[f32]| if below.is_empty() { flat.to_vec() } else { mlp(&below, flat) };
        self.in_chunks(features, run)
    }

    /// Numbers per row that the last layer sees.
    #[must_use]
    pub fn representation_width(&self) -> usize {
        self.dense[self.dense.len() - 1].weights.len()
    }

    /// What `run` makes of rows that have passed the convolutions, a chunk of rows at a time.
    fn in_chunks<T>(&self, features: &[f32], run: impl Fn(&[f32]) -> Vec<T>) -> Vec<T> {
        let mut all = Vec::new();
        for rows in features.chunks(CHUNK * self.inputs()) {
            let mut flat = rows.to_vec();
            for convolution in &self.convolutions {
                flat = mlp(&[convolution.layer.borrowed()], &convolution.patches(&flat));
            }
            all.extend(run(&flat));
        }
        all
    }

    fn inputs(&self) -> usize {
        match self.convolutions.first() {
            Some(first) => first.side * first.side * first.channels,
            None => self.dense[0].weights.len() / self.dense[0].bias.len(),
        }
    }

    pub(crate) fn logits_saving(&self, features: &[f32]) -> (Vec<f32>, Saved) {
        let (mut flat, mut convolutions) = (features.to_vec(), Vec::new());
        for convolution in &self.convolutions {
            let patches = convolution.patches(&flat);
            let (result, saved) = mlp_saving(&[convolution.layer.borrowed()], &patches);
            convolutions.push((patches, saved));
            flat = result;
        }
        let layers: Vec<_> = self.dense.iter().map(Layer::borrowed).collect();
        let (logits, dense) = mlp_saving(&layers, &flat);
        (logits, Saved { convolutions, flat, dense })
    }

    /// Gradients of every parameter, in the order of [`Network::parameters`], from those of the logits.
    pub(crate) fn backward(&self, saved: &Saved, gradient: &[f32]) -> Vec<Vec<f32>> {
        let rows = gradient.len();
        let layers: Vec<_> = self.dense.iter().map(Layer::borrowed).collect();
        let mut below = vec![0.0; if self.convolutions.is_empty() { 0 } else { saved.flat.len() }];
        let wanted = if below.is_empty() { None } else { Some(&mut below[..]) };
        let dense = mlp_backward(&layers, &saved.flat, &saved.dense, gradient, wanted);
        let mut convolutions = Vec::new();
        for (at, convolution) in self.convolutions.iter().enumerate().rev() {
            let (patches, layer_kept) = &saved.convolutions[at];
            let mut dpatches = vec![0.0; if at == 0 { 0 } else { patches.len() }];
            let wanted = if at == 0 { None } else { Some(&mut dpatches[..]) };
            let layer = [convolution.layer.borrowed()];
            convolutions.extend(mlp_backward(&layer, patches, layer_kept, &below, wanted));
            if at > 0 {
                below = convolution.gather(&dpatches, rows);
            }
        }
        let gradients = convolutions.into_iter().rev().chain(dense);
        gradients.flat_map(|layer| [layer.weights, layer.bias]).collect()
    }

    /// Every parameter tensor: weights and bias of each layer, from the features to the logit.
    pub(crate) fn parameters(&mut self) -> impl Iterator<Item = &mut Vec<f32>> {
        let convolutions = self.convolutions.iter_mut().map(|convolution| &mut convolution.layer);
        let layers = convolutions.chain(&mut self.dense);
        layers.flat_map(|layer| [&mut layer.weights, &mut layer.bias])
    }
}

#[cfg(test)]
mod tests {
    use headwater_core::Streams;
    use proptest::prelude::*;

    use super::*;

    fn architectures() -> impl Strategy<Value = (Architecture, usize)> {
        let dense = (1..6usize, prop::collection::vec(1..7usize, 0..3))
            .prop_map(|(inputs, hidden)| (Architecture::Dense { hidden }, inputs));
        let convolutional =
            (1..8usize, prop::collection::vec(1..5usize, 1..4)).prop_map(|(side, channels)| {
                (Architecture::Convolutional { side, channels }, side * side)
            });
        prop_oneof![dense, convolutional]
    }

    /// Numbers in [-1, 1) from a stream.
    fn numbers(streams: &Streams, name: &str, count: usize) -> Vec<f32> {
        use rand::RngExt;
        let mut rng = streams.stream(name, &[]);
        (0..count).map(|_| 2.0 * rng.random::<f32>() - 1.0).collect()
    }

    fn network(architecture: &Architecture, inputs: usize, streams: &Streams) -> Network {
        let mut rng = streams.stream("weights", &[]);
        let mut network = Network::initialise(architecture, inputs, &mut rng);
        // Biases that matter.
        for (at, values) in network.parameters().enumerate() {
            for (value, shift) in values.iter_mut().zip(numbers(streams, &at.to_string(), 99)) {
                *value += 0.1 * shift;
            }
        }
        network
    }

    /// The logit of one row, from the definitions and in double precision.
    fn by_definition(network: &Network, row: &[f32]) -> f64 {
        let mut image: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
        for Convolution { side, channels, layer } in &network.convolutions {
            let (result, out) = (side.div_ceil(2), layer.bias.len());
            let mut next = vec![0.0; result * result * out];
            for y in 0..result {
                for x in 0..result {
                    for to in 0..out {
                        let mut sum = f64::from(layer.bias[to]);
                        for (cell, weights) in layer.weights.chunks(channels * out).enumerate() {
                            let (row, column) = (2 * y + cell / 3, 2 * x + cell % 3);
                            if (1..=*side).contains(&row) && (1..=*side).contains(&column) {
                                for from in 0..*channels {
                                    let pixel = ((row - 1) * side + column - 1) * channels + from;
                                    sum += image[pixel] * f64::from(weights[from * out + to]);
                                }
                            }
                        }
                        next[(y * result + x) * out + to] = sum.max(0.0);
                    }
                }
            }
            image = next;
        }
        for layer in &network.dense {
            let out = layer.bias.len();
            let unit = |to: usize| {
                let weights = layer.weights.iter().skip(to).step_by(out);
                let sum: f64 = image.iter().zip(weights).map(|(x, w)| x * f64::from(*w)).sum();
                let sum = sum + f64::from(layer.bias[to]);
                if layer.activation == Activation::Relu { sum.max(0.0) } else { sum }
            };
            image = (0..out).map(unit).collect();
        }
        image[0]
    }

    proptest! {
        #[test]
        fn logits_are_those_of_the_definition_and_gradients_those_of_differences(
            (architecture, inputs) in architectures(), rows in 1..5usize, seed: u64,
        ) {
            let streams = Streams::new(seed);
            let mut network = network(&architecture, inputs, &streams);
            let features = numbers(&streams, "features", rows * inputs);
            let logits = network.logits(&features);
            let (kept_logits, saved) = network.logits_saving(&features);
            for (row, logit) in features.chunks(inputs).zip(&logits) {
                prop_assert!((by_definition(&network, row) - logit).abs() < 1e-4);
            }
            prop_assert!(logits.iter().zip(&kept_logits).all(|(a, b)| (*a - f64::from(*b)).abs() < 1e-5));

            let slopes = numbers(&streams, "slopes", rows);
            let gradients = network.backward(&saved, &slopes);
            let value = |network: &Network| -> f64 {
                let rows = features.chunks(inputs).map(|row| by_definition(network, row));
                rows.zip(&slopes).map(|(z, slope)| z * f64::from(*slope)).sum()
            };
            let shapes: Vec<usize> = network.parameters().map(|values| values.len()).collect();
            prop_assert_eq!(&shapes, &gradients.iter().map(Vec::len).collect::<Vec<_>>());
            let mut compared = 0;
            for (tensor, size) in shapes.into_iter().enumerate() {
                for at in [0, size / 2, size - 1] {
                    let shifted = |by: f32| {
                        let mut moved = network.clone();
                        let values = moved.parameters().nth(tensor).unwrap();
                        values[at] += by;
                        (f64::from(values[at]), value(&moved))
                    };
                    // Along one parameter the value is linear between kinks, so the slopes on both sides differ where one
                    // lies within reach, and there is no derivative to compare with.
                    let here = shifted(0.0);
                    let slope = |(at, value): (f64, f64)| (value - here.1) / (at - here.0);
                    let (left, right) = (slope(shifted(-1e-3)), slope(shifted(1e-3)));
                    if (left - right).abs() < 1e-6 {
                        let gradient = f64::from(gradients[tensor][at]);
                        let close = (gradient - left).abs() < 1e-4 * (1.0 + left.abs());
                        prop_assert!(close, "{gradient} {left}");
                        compared += 1;
                    }
                }
            }
            prop_assert!(compared > 0);
        }
    }

    #[test]
    fn the_last_layer_over_the_representation_is_the_network() {
        let streams = Streams::new(5);
        for (architecture, inputs) in [
            (Architecture::Dense { hidden: vec![4, 3] }, 5),
            (Architecture::Dense { hidden: vec![] }, 5),
            (Architecture::Convolutional { side: 5, channels: vec![2, 3] }, 25),
        ] {
            let network = network(&architecture, inputs, &streams);
            let features = numbers(&streams, "features", 7 * inputs);
            let seen = network.representation(&features);
            assert_eq!(seen.len(), 7 * network.representation_width());
            let last = network.dense.last().unwrap();
            let head = Network { convolutions: vec![], dense: vec![last.clone()] };
            assert_eq!(head.logits(&seen), network.logits(&features));
        }
    }
}
