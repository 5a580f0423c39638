//! A small network with one logit: convolutions with stride, then dense layers, all with ReLU
//! between.

use headwater_core::{Check, ConfigError, StreamRng};
use headwater_small_net::{Initial, Precision, SmallNet, SmallNetConfig, SmallNetInput};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

/// The shape of a [`Network`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Architecture {
    /// Dense layers of these widths between the features and the logit; none is logistic
    /// regression.
    Dense {
        /// Widths of the hidden layers.
        hidden: Vec<usize>,
    },
    /// Square images of one channel, row by row, through 3x3 convolutions of stride 2 (zeros around
    /// the image), the last one's result straight to the logit.
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

    /// The network for rows of `inputs` features, or for images.
    pub(crate) fn with_inputs(&self, inputs: usize) -> Result<SmallNet, ConfigError> {
        let (input, convolutions, hidden) = match self.clone() {
            Self::Dense { hidden } => (SmallNetInput::Features(inputs), Vec::new(), hidden),
            Self::Convolutional { side, channels } => {
                (SmallNetInput::Image(side), channels, Vec::new())
            }
        };
        let config = SmallNetConfig { input, convolutions, hidden, outputs: 1 };
        // Named as the field that the caller has set.
        let named =
            |error| ConfigError { config: "TrainingConfig", field: "architecture", ..error };
        config.check().map_err(named)
    }
}

/// A classifier of rows of features, with one logit.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    pub(crate) shape: SmallNet,
    /// Laid out as `shape` says.
    pub(crate) parameters: Vec<f32>,
}

impl Network {
    /// A network with weights from `rng`.
    pub(crate) fn initialise(shape: SmallNet, rng: &mut StreamRng) -> Self {
        let initial = Initial { linear_gain: 1.0, precision: Precision::Single };
        Self { parameters: shape.initial(initial, rng), shape }
    }

    /// Adds to every logit.
    pub(crate) fn shift(&mut self, by: f64) {
        for bias in &mut self.parameters[self.shape.output_bias()] {
            *bias += by as f32;
        }
    }

    /// Logits of rows of features.
    ///
    /// # Panics
    /// When the rows are not as wide as the network's input.
    #[must_use]
    pub fn logits(&self, features: &[f32]) -> Vec<f64> {
        let logits = self.shape.forward(&self.parameters, self.rows(features));
        logits.into_iter().map(f64::from).collect()
    }

    /// What the last layer sees of rows of features: `[rows]` of [`Network::representation_width`].
    ///
    /// # Panics
    /// As [`Network::logits`].
    #[must_use]
    pub fn representation(&self, features: &[f32]) -> Vec<f32> {
        let seen = self.shape.representation(&self.parameters, self.rows(features));
        seen.into_raw_vec_and_offset().0
    }

    /// Numbers per row that the last layer sees.
    #[must_use]
    pub fn representation_width(&self) -> usize {
        self.shape.representation_width()
    }

    fn rows<'a>(&self, features: &'a [f32]) -> ArrayView2<'a, f32> {
        let width = self.shape.inputs();
        ArrayView2::from_shape((features.len() / width, width), features)
            .unwrap_or_else(|_| panic!("{} features: allowed are rows of {width}", features.len()))
    }
}
