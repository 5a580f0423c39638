//! A whole network: convolutions, then dense layers.

use std::ops::Range;

use headwater_core::{Check, ConfigError, StreamRng, require};
use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::convolution::{Convolution, SavedConvolution};
use crate::layout::{Initial, Layout};
use crate::mlp::{Mlp, SavedMlp};
use crate::rows::Rows;

/// Rows worked off together where nothing is saved: what the patches of a layer fit into a cache.
const CHUNK: usize = 256;

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum SmallNetInput {
    /// So many features, 1 to 2^24.
    Features(usize),
    /// A square image of one channel, row by row, of so many pixels along a side, 1 to 4096.
    Image(usize),
}

/// A network, unchecked: convolutions, hidden layers with ReLU, and outputs without activation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmallNetConfig {
    /// What it takes.
    pub input: SmallNetInput,
    /// Channels of each [`Convolution`]; none on features.
    pub convolutions: Vec<usize>,
    /// Widths of the hidden layers; none is a linear model of what the convolutions give.
    pub hidden: Vec<usize>,
    /// Outputs, 1 to 65536.
    pub outputs: usize,
}

/// A checked [`SmallNetConfig`], laid out in one vector of parameters: weights and bias of each
/// layer, from the input up. It holds no weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmallNet {
    convolutions: Vec<Convolution>,
    /// The last layer gives the outputs.
    dense: Mlp,
    parameters: usize,
}

impl Check for SmallNetConfig {
    type Checked = SmallNet;

    fn check(self) -> Result<SmallNet, ConfigError> {
        const NAME: &str = "SmallNetConfig";
        for (field, widths) in [("convolutions", &self.convolutions), ("hidden", &self.hidden)] {
            let allowed = "widths in 1..=65536, at most 64 of them";
            require(widths.len() <= 64, NAME, field, widths.len(), allowed)?;
            let bad = widths.iter().find(|width| !(1..=65_536).contains(*width));
            require(bad.is_none(), NAME, field, bad.unwrap_or(&1), allowed)?;
        }
        let holds = (1..=65_536).contains(&self.outputs);
        require(holds, NAME, "outputs", self.outputs, "1 to 65536")?;
        let mut layout = Layout::default();
        let mut convolutions = Vec::new();
        let width = match self.input {
            SmallNetInput::Features(features) => {
                let holds = (1..=1 << 24).contains(&features);
                require(holds, NAME, "input", features, "1 to 2^24 features")?;
                let count = self.convolutions.len();
                require(count == 0, NAME, "convolutions", count, "none on features")?;
                features
            }
            SmallNetInput::Image(pixels) => {
                let holds = (1..=4096).contains(&pixels);
                require(holds, NAME, "input", pixels, "a side of 1 to 4096 pixels")?;
                let (mut side, mut channels) = (pixels, 1);
                for outputs in self.convolutions {
                    let convolution = Convolution::new(&mut layout, side, channels, outputs);
                    (side, channels) = (convolution.output_side(), outputs);
                    convolutions.push(convolution);
                }
                side * side * channels
            }
        };
        let dense = Mlp::new(&mut layout, width, &self.hidden, Some(self.outputs));
        Ok(SmallNet { convolutions, dense, parameters: layout.parameters() })
    }
}

/// What [`SmallNet::backward`] needs of [`SmallNet::forward_saving`], and the result. Its memory is
/// used again, so that steps of one size allocate nothing that grows with it.
#[derive(Debug, Clone, Default)]
pub struct SavedSmallNet {
    convolutions: Vec<SavedConvolution>,
    dense: SavedMlp,
    /// Gradients of what a layer has read, and of what the layer below it has.
    down: [Rows; 2],
}

impl SavedSmallNet {
    /// The result, rows x outputs.
    #[must_use]
    pub fn output(&self) -> ArrayView2<'_, f32> {
        self.dense.output()
    }
}

impl SmallNet {
    /// Numbers of a row.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.convolutions.first().map_or(self.dense.inputs(), Convolution::inputs)
    }

    /// Outputs for a row.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.dense.outputs()
    }

    /// Length of the vector of parameters.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// Where the biases of the outputs lie.
    #[must_use]
    pub fn output_bias(&self) -> Range<usize> {
        let layers = self.dense.layers();
        layers[layers.len() - 1].bias.clone()
    }

    /// Fresh parameters, drawn layer by layer from the input up.
    #[must_use]
    pub fn initial(&self, initial: Initial, rng: &mut StreamRng) -> Vec<f32> {
        let mut parameters = vec![0.0; self.parameters];
        for convolution in &self.convolutions {
            convolution.initialise(&mut parameters, initial, rng);
        }
        self.dense.initialise(&mut parameters, initial, rng);
        parameters
    }

    /// The result, rows x outputs, for `x`, rows x inputs.
    ///
    /// # Panics
    /// When shapes do not fit.
    #[must_use]
    pub fn forward(&self, parameters: &[f32], x: ArrayView2<'_, f32>) -> Array2<f32> {
        self.in_chunks(x, self.outputs(), |x| {
            let below = self.convolved(parameters, x);
            let below = below.as_ref().map_or(x, |below| below.view());
            self.dense.forward(parameters, below)
        })
    }

    /// What the last layer reads, rows x [`SmallNet::representation_width`], for `x`, rows x
    /// inputs.
    ///
    /// # Panics
    /// When shapes do not fit.
    #[must_use]
    pub fn representation(&self, parameters: &[f32], x: ArrayView2<'_, f32>) -> Array2<f32> {
        let hidden = self.dense.hidden();
        self.in_chunks(x, self.representation_width(), |x| {
            let below = self.convolved(parameters, x);
            let below = below.as_ref().map_or(x, |below| below.view());
            hidden.as_ref().map_or_else(|| below.to_owned(), |own| own.forward(parameters, below))
        })
    }

    /// Numbers for each row that the last layer reads.
    #[must_use]
    pub fn representation_width(&self) -> usize {
        let layers = self.dense.layers();
        layers[layers.len() - 1].inputs()
    }

    /// What `run` makes of some rows at a time.
    fn in_chunks(
        &self,
        x: ArrayView2<'_, f32>,
        width: usize,
        run: impl Fn(ArrayView2<'_, f32>) -> Array2<f32>,
    ) -> Array2<f32> {
        let mut all = Array2::zeros((x.nrows(), width));
        let chunks = x.axis_chunks_iter(Axis(0), CHUNK);
        for (x, mut own) in chunks.zip(all.axis_chunks_iter_mut(Axis(0), CHUNK)) {
            own.assign(&run(x));
        }
        all
    }

    /// What the convolutions make of `x`, if there are any.
    fn convolved(&self, parameters: &[f32], x: ArrayView2<'_, f32>) -> Option<Array2<f32>> {
        let (first, rest) = self.convolutions.split_first()?;
        let images = first.forward(parameters, x);
        Some(rest.iter().fold(images, |images, next| next.forward(parameters, images.view())))
    }

    /// [`SmallNet::forward`] into `saved`, with what [`SmallNet::backward`] needs.
    ///
    /// # Panics
    /// As [`SmallNet::forward`].
    pub fn forward_saving(
        &self,
        parameters: &[f32],
        x: ArrayView2<'_, f32>,
        saved: &mut SavedSmallNet,
    ) {
        let SavedSmallNet { convolutions, dense, .. } = saved;
        convolutions.resize_with(self.convolutions.len(), SavedConvolution::default);
        for (at, convolution) in self.convolutions.iter().enumerate() {
            let (below, own) = convolutions.split_at_mut(at);
            let x = below.last().map_or(x, SavedConvolution::output);
            convolution.forward_saving(parameters, x, &mut own[0]);
        }
        let x = convolutions.last().map_or(x, SavedConvolution::output);
        self.dense.forward_saving(parameters, x, dense);
    }

    /// Writes the gradient of all parameters, laid out as they are, given that of the result, `dy`,
    /// rows x outputs. `parameters` and `x` are those of the forward pass.
    ///
    /// # Panics
    /// When shapes do not fit, and before [`SmallNet::forward_saving`].
    pub fn backward(
        &self,
        parameters: &[f32],
        x: ArrayView2<'_, f32>,
        saved: &mut SavedSmallNet,
        dy: ArrayView2<'_, f32>,
        gradient: &mut [f32],
    ) {
        let SavedSmallNet { convolutions, dense, down: [down, below] } = saved;
        let rows = x.nrows();
        let Some(top) = convolutions.last() else {
            self.dense.backward(parameters, x, dense, dy, gradient, None);
            return;
        };
        down.resize(rows, self.dense.inputs());
        let dx = Some(down.view_mut());
        self.dense.backward(parameters, top.output(), dense, dy, gradient, dx);
        for (at, convolution) in self.convolutions.iter().enumerate().rev() {
            let saved = &mut convolutions[at];
            let dx = (at > 0).then(|| below.resize(rows, convolution.inputs()));
            convolution.backward_of(parameters, saved, down.values(), gradient, dx);
            std::mem::swap(down, below);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine() -> SmallNetConfig {
        let (input, convolutions) = (SmallNetInput::Image(6), vec![2, 3]);
        SmallNetConfig { input, convolutions, hidden: vec![5], outputs: 2 }
    }

    #[test]
    fn a_config_is_refused_by_name() {
        let features = SmallNetInput::Features;
        for (config, shown) in [
            (SmallNetConfig { hidden: vec![3, 0], ..fine() }, "hidden = 0"),
            (SmallNetConfig { hidden: vec![1; 65], ..fine() }, "hidden = 65"),
            (SmallNetConfig { convolutions: vec![1 << 17], ..fine() }, "convolutions = 131072"),
            (SmallNetConfig { outputs: 0, ..fine() }, "outputs = 0"),
            (SmallNetConfig { input: SmallNetInput::Image(0), ..fine() }, "input = 0"),
            (SmallNetConfig { input: SmallNetInput::Image(4097), ..fine() }, "input = 4097"),
            (SmallNetConfig { input: features(0), ..fine() }, "input = 0"),
            (SmallNetConfig { input: features(6), ..fine() }, "convolutions = 2"),
        ] {
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("SmallNetConfig.{shown}: allowed is ")), "{error}");
        }
    }

    #[test]
    fn parameters_are_laid_out_and_drawn_from_the_input_up() {
        let net = fine().check().unwrap();
        // 6 pixels along a side become 3, then 2.
        let tensors = [9 * 2, 2, 9 * 2 * 3, 3, 2 * 2 * 3 * 5, 5, 5 * 2, 2];
        assert_eq!(net.parameters(), tensors.iter().sum::<usize>());
        assert_eq!((net.inputs(), net.outputs(), net.representation_width()), (36, 2, 5));
        assert_eq!(net.output_bias(), net.parameters() - 2..net.parameters());

        use headwater_core::Streams;
        use rand_distr::{Distribution, StandardNormal};
        let stream = || Streams::new(1).stream("weights", &[]);
        let initial = Initial { linear_gain: 3.0, ..Initial::default() };
        let (parameters, mut rng) = (net.initial(initial, &mut stream()), stream());
        let mut rest = parameters.as_slice();
        for (layer, sizes) in tensors.chunks(2).enumerate() {
            let gain: f64 = if layer == 3 { 3.0 } else { 2.0 };
            let scale = (gain / (sizes[0] / sizes[1]) as f64).sqrt();
            for own in rest.split_off(..sizes[0]).unwrap() {
                let normal: f64 = StandardNormal.sample(&mut rng);
                assert_eq!(*own, (scale * normal) as f32);
            }
            assert!(rest.split_off(..sizes[1]).unwrap().iter().all(|bias| *bias == 0.0));
        }
        // In single precision the same draws, but for their last bits.
        let single = Initial { precision: crate::Precision::Single, ..initial };
        let single = net.initial(single, &mut stream());
        assert!(single.iter().zip(&parameters).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs()));
        assert_ne!(single, parameters);
    }

    #[test]
    #[should_panic(expected = "x has 2 rows x 35 columns: allowed are any number of x 36")]
    fn rows_of_another_width_are_refused() {
        let net = fine().check().unwrap();
        let _ = net.forward(&vec![0.0; net.parameters()], Array2::zeros((2, 35)).view());
    }

    #[test]
    #[should_panic(expected = "dy has 3 rows x 2 columns: allowed are 2 x 2")]
    fn a_gradient_of_another_shape_is_refused() {
        let net = fine().check().unwrap();
        let (weights, x) = (vec![0.0; net.parameters()], Array2::zeros((2, 36)));
        let mut saved = SavedSmallNet::default();
        net.forward_saving(&weights, x.view(), &mut saved);
        let (dy, mut gradient) = (Array2::zeros((3, 2)), weights.clone());
        net.backward(&weights, x.view(), &mut saved, dy.view(), &mut gradient);
    }
}
