//! Heads: what is made of an encoder's vectors.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use headwater_core::StreamRng;
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};

use crate::bottleneck::BottleneckConfig;
use crate::odin::OdinConfig;

/// What a head makes of a vector.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadConfig {
    /// One score.
    #[default]
    Scalar,
    /// ODIN: one score for quality, one for the factor; the first is the reward.
    Odin(OdinConfig),
    /// InfoRM: a score read off a noisy latent code; off its mean once trained.
    Bottleneck(BottleneckConfig),
}

impl HeadConfig {
    /// Numbers a head gives for each input: see [`Objective`] for what they are.
    fn channels(&self) -> usize {
        match self {
            Self::Scalar => 1,
            Self::Odin(_) => 2,
            Self::Bottleneck(config) => 2 * config.dimensions,
        }
    }
}

/// A linear map from an encoder's vectors to what the objective needs; the encoder itself applies `weights`.
#[derive(Module, Debug)]
pub(crate) struct Head {
    /// `[width, channels]`.
    pub(crate) weights: Param<Tensor<2>>,
    /// `[channels]`.
    pub(crate) bias: Param<Tensor<1>>,
    /// `[latent dimensions, 1]`, of a bottleneck only.
    pub(crate) latent: Option<Param<Tensor<2>>>,
}

impl Head {
    pub(crate) fn initialise(
        config: &HeadConfig,
        width: usize,
        stream: &mut StreamRng,
        device: &Device,
    ) -> Self {
        let mut normal = |rows: usize, columns: usize, deviation: f64| {
            let normal = Normal::new(0.0, deviation).expect("the deviation is finite");
            let values: Vec<f32> =
                (0..rows * columns).map(|_| normal.sample(stream) as f32).collect();
            Param::from_data(TensorData::new(values, [rows, columns]), device)
        };
        let channels = config.channels();
        // Not zeros: two heads that start alike get the same gradient, and a latent code of zeros none.
        let weights = normal(width, channels, 0.01);
        let latent = match config {
            HeadConfig::Bottleneck(config) => {
                let dimensions = config.dimensions;
                Some(normal(dimensions, 1, 1.0 / (dimensions as f64).sqrt()))
            }
            HeadConfig::Scalar | HeadConfig::Odin(_) => None,
        };
        let zeros = TensorData::new(vec![0.0f32; channels], [channels]);
        Self { weights, bias: Param::from_data(zeros, device), latent }
    }

    /// The objective's outputs from vectors times `weights`; a bottleneck adds `noise` (standard normal, `[inputs, dimensions]`) to its code.
    pub(crate) fn outputs(&self, projected: Tensor<2>, noise: Option<Tensor<2>>) -> Tensor<2> {
        let raw = projected + self.bias.val().unsqueeze();
        let Some(latent) = &self.latent else { return raw };
        let dimensions = latent.val().dims()[0];
        let mean = raw.clone().narrow(1, 0, dimensions);
        let code = match noise {
            None => mean,
            Some(noise) => {
                let log_variance = raw.clone().narrow(1, dimensions, dimensions);
                mean + log_variance.mul_scalar(0.5).exp() * noise
            }
        };
        Tensor::cat(vec![code.matmul(latent.val()), raw], 1)
    }
}
