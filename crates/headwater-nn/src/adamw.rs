//! AdamW with a global gradient norm, over any burn module.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use headwater_core::{Check, ConfigError, require, require_non_negative, require_positive};
use headwater_kernels::{AdamWStep, adamw, sum_of_squares};
use replace_with::replace_with_or_abort;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

use crate::checkpoint::{tensors_from_bytes, tensors_to_bytes};
use crate::ops::host;
use crate::weights::{NamedTensor, host_values};
use crate::{ModuleGradients, NnError};

const STATE: &str = "AdamW state";

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
    /// Added to the root of the second moment; at least 1.2e-38, below which there is nothing in
    /// f32.
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
        const CONFIG: &str = "AdamWConfig";
        require_positive(CONFIG, "learning_rate", self.learning_rate)?;
        for (field, beta) in [("beta_1", self.beta_1), ("beta_2", self.beta_2)] {
            require((0.0..1.0).contains(&beta), CONFIG, field, beta, "a number in [0, 1)")?;
        }
        let epsilon = self.epsilon;
        // As f32 makes 0 of it, a parameter whose gradients were all 0 would become 0 / 0.
        let holds = epsilon.is_finite() && epsilon >= f64::from(f32::MIN_POSITIVE);
        require(holds, CONFIG, "epsilon", epsilon, "a finite number of at least 1.2e-38")?;
        require_non_negative(CONFIG, "weight_decay", self.weight_decay)?;
        if let Some(norm) = self.max_grad_norm {
            require_positive(CONFIG, "max_grad_norm", norm)?;
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
    /// Steps in which the parameter had no gradient.
    skipped: usize,
    first: Tensor<1>,
    second: Tensor<1>,
}

impl Moments {
    /// Those of a parameter before its first step.
    fn none<const D: usize>(parameter: &Tensor<D>) -> Self {
        let size: usize = parameter.dims().iter().product();
        let [first, second] = [(); 2].map(|()| Tensor::zeros([size], &parameter.device()));
        Self { skipped: 0, first, second }
    }
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
    /// A parameter without a gradient (unused in the loss) is skipped, as PyTorch does: it stays as
    /// it is, without decay, and so do its moments and the number of steps their bias is corrected
    /// for.
    ///
    /// # Errors
    /// A rate that is not a finite number of at least 0, or with which a step does not fit into
    /// f32; a gradient norm that is not finite; moments of another module. Module and optimiser are
    /// then as they were.
    pub fn step<M: Module>(
        &mut self,
        module: &mut M,
        mut gradients: ModuleGradients,
        rate: f64,
    ) -> Result<f64, NnError> {
        require_non_negative("AdamW::step", "rate", rate)?;
        let learning_rate = rate * self.settings.learning_rate;
        // The bias correction makes it at most so much larger.
        let largest = learning_rate / (1.0 - self.settings.beta_1);
        let decay = learning_rate * self.settings.weight_decay;
        let holds = largest.max(decay) <= f64::from(f32::MAX);
        require(holds, "AdamW::step", "rate", rate, "a rate whose step fits into f32")?;
        let moments = &self.moments;
        let mut sight = Sight { gradients: &gradients, square: 0.0, moments, seen: 0, fits: true };
        module.visit(&mut sight);
        let fits = sight.fits && (sight.seen == moments.len() || moments.is_empty());
        if !fits {
            let problem = "the module's parameters are not those its moments are of".to_string();
            return Err(NnError::Malformed { format: STATE, problem });
        }
        let norm = sight.square.sqrt();
        if !norm.is_finite() {
            let value = norm.to_string();
            return Err(NnError::NotFinite { what: "gradient norm", value, step: self.steps });
        }
        self.steps += 1;
        let config = &self.settings;
        let clip = config.max_grad_norm.map_or(1.0, |most| (most / (norm + 1e-6)).min(1.0));
        let step = Step { settings: config, steps: self.steps, clip, learning_rate };
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
        // One entry: the order of several would not be the same in every run.
        let mut counts = self.steps.to_string();
        for (index, moments) in self.moments.iter().enumerate().filter(|(_, m)| m.skipped > 0) {
            counts += &format!(" {index}:{}", moments.skipped);
        }
        tensors_to_bytes(&tensors, HashMap::from([("steps".to_string(), counts)]))
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
        let malformed = |problem: String| NnError::Malformed { format: STATE, problem };
        let counts = metadata.get("steps").map_or("", String::as_str);
        let (steps, skipped) = read_counts(counts)
            .ok_or_else(|| malformed(format!("steps = {counts:?} in the metadata")))?;
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let mut moments = Vec::new();
        for (index, pair) in tensors.chunks(2).enumerate() {
            let [first, second] = pair else {
                return Err(malformed("an odd number of moment tensors".into()));
            };
            for (tensor, name) in [(first, "first"), (second, "second")] {
                if tensor.name != format!("{index:05}.{name}") {
                    return Err(malformed(format!(
                        "{} where {index:05}.{name} is due",
                        tensor.name
                    )));
                }
                let square = name == "second";
                let bad = |v: &f32| !v.is_finite() || (square && *v < 0.0);
                if let Some(at) = tensor.values.iter().position(bad) {
                    return Err(malformed(format!(
                        "{}[{at}] = {}",
                        tensor.name, tensor.values[at]
                    )));
                }
            }
            if first.values.len() != second.values.len() {
                return Err(malformed("first and second moments differ in size".into()));
            }
            let skipped = skipped.get(&index).copied().unwrap_or(0);
            let load = |tensor: &NamedTensor| {
                let data = TensorData::new(tensor.values.clone(), [tensor.values.len()]);
                Tensor::from_data(data, &device.clone().without_autodiff())
            };
            moments.push(Moments { skipped, first: load(first), second: load(second) });
        }
        Ok(Self { settings, steps, moments })
    }
}

/// Steps, and those that some parameters have skipped: "steps index:skipped ...".
fn read_counts(text: &str) -> Option<(usize, HashMap<usize, usize>)> {
    let mut words = text.split(' ');
    let steps = words.next()?.parse().ok()?;
    let pair = |word: &str| {
        let (index, skipped) = word.split_once(':')?;
        let skipped: usize = skipped.parse().ok().filter(|skipped| *skipped <= steps)?;
        Some((index.parse().ok()?, skipped))
    };
    Some((steps, words.map(pair).collect::<Option<_>>()?))
}

/// A look at the gradients before anything is changed: their square, and whether the moments are of
/// these parameters.
struct Sight<'a> {
    gradients: &'a ModuleGradients,
    square: f64,
    moments: &'a [Moments],
    seen: usize,
    fits: bool,
}

impl ModuleVisitor for Sight<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(moments) = self.moments.get(self.seen) {
            self.fits &= moments.first.dims()[0] == param.val().dims().iter().product::<usize>();
        }
        self.seen += 1;
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.square += match host::borrow(&gradient) {
                Some(gradient) => sum_of_squares(gradient.values()),
                None => f64::from(gradient.square().sum().into_scalar::<f32>()),
            };
        }
    }
}

/// What a step is for every parameter.
struct Step<'a> {
    settings: &'a AdamWSettings,
    steps: usize,
    clip: f64,
    learning_rate: f64,
}

impl Step<'_> {
    /// The numbers of a parameter's update, its `steps`-th.
    fn of(&self, steps: usize) -> AdamWStep {
        let config = self.settings;
        let correction = |beta: f64| 1.0 - beta.powi(steps as i32);
        AdamWStep {
            clip: self.clip as f32,
            beta_1: [config.beta_1 as f32, (1.0 - config.beta_1) as f32],
            beta_2: [config.beta_2 as f32, (1.0 - config.beta_2) as f32],
            keep: (1.0 - self.learning_rate * config.weight_decay) as f32,
            rate: (self.learning_rate / correction(config.beta_1)) as f32,
            root_correction: correction(config.beta_2).sqrt() as f32,
            epsilon: config.epsilon as f32,
        }
    }
}

/// One step, parameter by parameter in module order.
struct Update<'a> {
    gradients: &'a mut ModuleGradients,
    step: Step<'a>,
    before: std::vec::IntoIter<Moments>,
    after: &'a mut Vec<Moments>,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let gradient = self.gradients.remove::<D>(param.id);
        let before = self.before.next();
        let mut moments = before.unwrap_or_else(|| Moments::none(&param.val().inner()));
        let Some(gradient) = gradient else {
            moments.skipped += 1;
            self.after.push(moments);
            return param;
        };
        let (id, tensor, mapper) = param.consume();
        let dims = tensor.dims();
        let size: usize = dims.iter().product();
        let value = tensor.inner().reshape([size]);
        let gradient = gradient.reshape([size]);
        let step = self.step.of(self.step.steps - moments.skipped);
        let (value, moments) = update(&step, value, &gradient, moments);
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
    Moments { skipped, first, second }: Moments,
) -> (Tensor<1>, Moments) {
    let Some(on_host) = host::borrow(gradient) else {
        let clipped = gradient.clone().mul_scalar(step.clip);
        let first = first.mul_scalar(step.beta_1[0]) + clipped.clone().mul_scalar(step.beta_1[1]);
        let second =
            second.mul_scalar(step.beta_2[0]) + clipped.square().mul_scalar(step.beta_2[1]);
        let root = second.clone().sqrt().div_scalar(step.root_correction);
        let change = first.clone() / root.add_scalar(step.epsilon);
        let value = value.mul_scalar(step.keep) - change.mul_scalar(step.rate);
        return (value, Moments { skipped, first, second });
    };
    let [mut value, mut first, mut second] = [value, first, second].map(host::InPlace::of);
    adamw(*step, value.values(), on_host.values(), first.values(), second.values());
    let [value, first, second] = [value, first, second].map(host::InPlace::tensor);
    (value, Moments { skipped, first, second })
}
