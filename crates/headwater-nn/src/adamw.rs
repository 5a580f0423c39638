//! AdamW with a global gradient norm, over any burn module.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use headwater_core::{Check, ConfigError, require};
use headwater_kernels::{AdamWStep, adamw, sum_of_squares};
use replace_with::replace_with_or_abort;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

use crate::checkpoint::{tensors_from_bytes, tensors_to_bytes};
use crate::ops::host;
use crate::weights::{NamedTensor, host_values};
use crate::{ModuleGradients, NnError};

/// AdamW (Loshchilov & Hutter 2019) with PyTorch's defaults, and a global-norm clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    /// Step size, above 0.
    pub learning_rate: f64,
    /// Decay of the first moment, in [0, 1).
    pub beta_1: f64,
    /// Decay of the second moment, in [0, 1).
    pub beta_2: f64,
    /// Added to the root of the second moment, above 0.
    pub epsilon: f64,
    /// Decoupled decay: each step multiplies the weights by `1 - learning_rate * weight_decay`.
    pub weight_decay: f64,
    /// Largest norm of all gradients taken together; larger ones are scaled down to it. `None`: no clip.
    pub max_grad_norm: Option<f64>,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            weight_decay: 1e-2,
            max_grad_norm: Some(1.0),
        }
    }
}

/// A checked [`AdamWConfig`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AdamWSettings(AdamWConfig);

impl std::ops::Deref for AdamWSettings {
    type Target = AdamWConfig;

    fn deref(&self) -> &AdamWConfig {
        &self.0
    }
}

impl Check for AdamWConfig {
    type Checked = AdamWSettings;

    fn check(self) -> Result<AdamWSettings, ConfigError> {
        let field = |holds: bool, field, value: f64, allowed| {
            require(holds && value.is_finite(), "AdamWConfig", field, value, allowed)
        };
        let above_0 = "a finite number above 0";
        let decay = "a number in [0, 1)";
        field(self.learning_rate > 0.0, "learning_rate", self.learning_rate, above_0)?;
        field((0.0..1.0).contains(&self.beta_1), "beta_1", self.beta_1, decay)?;
        field((0.0..1.0).contains(&self.beta_2), "beta_2", self.beta_2, decay)?;
        field(self.epsilon > 0.0, "epsilon", self.epsilon, above_0)?;
        field(self.weight_decay >= 0.0, "weight_decay", self.weight_decay, "0 or more")?;
        if let Some(norm) = self.max_grad_norm {
            field(norm > 0.0, "max_grad_norm", norm, above_0)?;
        }
        Ok(AdamWSettings(self))
    }
}

/// The optimiser's state: one pair of moments per parameter, in module order.
#[derive(Debug, Clone)]
pub struct AdamW {
    settings: AdamWSettings,
    steps: usize,
    moments: Vec<Moments>,
}

/// First and second moment of one parameter, flattened, without autodiff.
#[derive(Debug, Clone)]
struct Moments {
    first: Tensor<1>,
    second: Tensor<1>,
}

impl AdamW {
    /// An optimiser that has taken no step.
    #[must_use]
    pub fn new(settings: AdamWSettings) -> Self {
        Self { settings, steps: 0, moments: Vec::new() }
    }

    /// Steps taken so far.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// One update of every parameter of `module` from `gradients`, at `rate` times the configured
    /// learning rate; returns the global gradient norm before clipping.
    ///
    /// Where the weights are on the host and `module` alone holds them, nothing is allocated. A clone of the
    /// module keeps its values, at the price of one copy.
    ///
    /// A parameter without a gradient (unused in the loss) counts as one with gradient zero, so that
    /// moments and parameters stay aligned.
    ///
    /// # Errors
    /// A gradient norm that is not finite; module and optimiser are then as they were.
    pub fn step<M: Module>(
        &mut self,
        module: &mut M,
        mut gradients: ModuleGradients,
        rate: f64,
    ) -> Result<f64, NnError> {
        let mut norm = GradientNorm { gradients: &gradients, square: 0.0 };
        module.visit(&mut norm);
        let norm = norm.square.sqrt();
        if !norm.is_finite() {
            let value = norm.to_string();
            return Err(NnError::NotFinite { what: "gradient norm", value, step: self.steps });
        }
        self.steps += 1;
        let config = &self.settings;
        let clip = config.max_grad_norm.map_or(1.0, |most| (most / (norm + 1e-6)).min(1.0));
        let learning_rate = rate * config.learning_rate;
        let correction = |beta: f64| 1.0 - beta.powi(self.steps as i32);
        let step = AdamWStep {
            clip: clip as f32,
            beta_1: [config.beta_1 as f32, (1.0 - config.beta_1) as f32],
            beta_2: [config.beta_2 as f32, (1.0 - config.beta_2) as f32],
            keep: (1.0 - learning_rate * config.weight_decay) as f32,
            rate: (learning_rate / correction(config.beta_1)) as f32,
            root_correction: correction(config.beta_2).sqrt() as f32,
            epsilon: config.epsilon as f32,
        };
        let before = std::mem::take(&mut self.moments).into_iter();
        let gradients = &mut gradients;
        let mut update = Update { gradients, step, before, after: &mut self.moments };
        replace_with_or_abort(module, |module| module.map(&mut update));
        Ok(norm)
    }

    /// One update of `module` down the gradient of `loss`, a tensor of one element made with it; returns the loss
    /// before the step.
    ///
    /// # Errors
    /// A loss or gradient norm that is not finite; module and optimiser are then as they were.
    pub fn minimise<M: Module>(
        &mut self,
        module: &mut M,
        loss: Tensor<1>,
        rate: f64,
    ) -> Result<f64, NnError> {
        let value = f64::from(loss.clone().inner().into_scalar::<f32>());
        if !value.is_finite() {
            let value = value.to_string();
            return Err(NnError::NotFinite { what: "loss", value, step: self.steps });
        }
        let gradients = ModuleGradients::of(&loss, module);
        self.step(module, gradients, rate)?;
        Ok(value)
    }

    /// The state as safetensors bytes, to continue exactly where this optimiser stands.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut tensors = Vec::new();
        for (index, moments) in self.moments.iter().enumerate() {
            for (name, tensor) in [("first", &moments.first), ("second", &moments.second)] {
                let values = host_values(tensor.clone());
                let name = format!("{index:05}.{name}");
                tensors.push(NamedTensor { name, shape: vec![values.len()], values });
            }
        }
        let steps = HashMap::from([("steps".to_string(), self.steps.to_string())]);
        tensors_to_bytes(&tensors, steps)
    }

    /// An optimiser with the state of [`AdamW::to_bytes`], its moments on `device` (without autodiff).
    ///
    /// # Errors
    /// Bytes that are not such a state.
    pub fn from_bytes(
        settings: AdamWSettings,
        bytes: &[u8],
        device: &burn::tensor::Device,
    ) -> Result<Self, NnError> {
        let (mut tensors, metadata) = tensors_from_bytes(bytes)?;
        let malformed =
            |problem: &str| NnError::Malformed { format: "AdamW state", problem: problem.into() };
        let steps = metadata.get("steps").and_then(|steps| steps.parse().ok());
        let steps = steps.ok_or_else(|| malformed("no step count in the metadata"))?;
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let mut moments = Vec::new();
        for pair in tensors.chunks(2) {
            let [first, second] = pair else {
                return Err(malformed("an odd number of moment tensors"));
            };
            if first.values.len() != second.values.len() {
                return Err(malformed("first and second moments differ in size"));
            }
            let load = |tensor: &NamedTensor| {
                let data = TensorData::new(tensor.values.clone(), [tensor.values.len()]);
                Tensor::from_data(data, &device.clone().without_autodiff())
            };
            moments.push(Moments { first: load(first), second: load(second) });
        }
        Ok(Self { settings, steps, moments })
    }
}

struct GradientNorm<'a> {
    gradients: &'a ModuleGradients,
    square: f64,
}

impl ModuleVisitor for GradientNorm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.square += match host::borrow(&gradient) {
                Some(gradient) => sum_of_squares(gradient.values()),
                None => f64::from(gradient.square().sum().into_scalar::<f32>()),
            };
        }
    }
}

/// One step, parameter by parameter in module order.
struct Update<'a> {
    gradients: &'a mut ModuleGradients,
    step: AdamWStep,
    before: std::vec::IntoIter<Moments>,
    after: &'a mut Vec<Moments>,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let dims = tensor.dims();
        let size: usize = dims.iter().product();
        let value = tensor.inner().reshape([size]);
        let gradient = match self.gradients.remove::<D>(id) {
            Some(gradient) => gradient.reshape([size]),
            None => value.zeros_like(),
        };
        let moments = self
            .before
            .next()
            .unwrap_or_else(|| Moments { first: value.zeros_like(), second: value.zeros_like() });
        let (value, moments) = update(&self.step, value, &gradient, moments);
        self.after.push(moments);
        let tensor = Tensor::from_inner(value.reshape(dims)).require_grad();
        Param::from_mapped_value(id, tensor, mapper)
    }
}

/// The new value and moments: in place where the storage is on the host, else by tensor operations.
fn update(
    step: &AdamWStep,
    value: Tensor<1>,
    gradient: &Tensor<1>,
    Moments { first, second }: Moments,
) -> (Tensor<1>, Moments) {
    let Some(on_host) = host::borrow(gradient) else {
        let clipped = gradient.clone().mul_scalar(step.clip);
        let first = first.mul_scalar(step.beta_1[0]) + clipped.clone().mul_scalar(step.beta_1[1]);
        let second =
            second.mul_scalar(step.beta_2[0]) + clipped.square().mul_scalar(step.beta_2[1]);
        let root = second.clone().sqrt().div_scalar(step.root_correction);
        let change = first.clone() / root.add_scalar(step.epsilon);
        let value = value.mul_scalar(step.keep) - change.mul_scalar(step.rate);
        return (value, Moments { first, second });
    };
    let [mut value, mut first, mut second] = [value, first, second].map(host::InPlace::of);
    adamw(*step, value.values(), on_host.values(), first.values(), second.values());
    let [value, first, second] = [value, first, second].map(host::InPlace::tensor);
    (value, Moments { first, second })
}
