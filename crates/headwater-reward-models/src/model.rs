//! The reward model: an encoder with a head, what it is trained on, and how.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use headwater_core::{Check, ConfigError, StreamRng, Streams, require, require_non_negative};
use headwater_evaluation::bias::{AccuracyByFactor, accuracy_by_factor};
use headwater_nn::{
    AdamW, AdamWConfig, AdamWSettings, ModuleGradients, NnError, pack, unpack, unpack_values,
};
use rand::seq::SliceRandom;
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};

use crate::error::check_labels;
use crate::head::{Head, HeadConfig};
use crate::invariance::{InvariancePenaltyConfig, LEAST_IN_BIN};
use crate::objective::{Batch, Objective};
use crate::preference::check;
use crate::{Encoder, Labelled, Preference, RewardModelError, scored_pairs};

/// How to train, unchecked. The default is plain Bradley-Terry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RewardModelConfig {
    /// The head.
    pub head: HeadConfig,
    /// Causal rewards: a penalty on dependence of the score on the factor.
    pub invariance: Option<InvariancePenaltyConfig>,
    /// Weight of the mean squared difference between the scores of a text and its paraphrase, 0 or more
    /// (reWordBench, arXiv 2503.11751).
    pub paraphrase_weight: f64,
    /// Passes over the preferences, at least 1.
    pub epochs: usize,
    /// Preferences per step, at least 1.
    pub batch: usize,
    /// The optimiser; its learning rate falls linearly to 0.
    pub adamw: AdamWConfig,
}

impl Default for RewardModelConfig {
    fn default() -> Self {
        Self {
            head: HeadConfig::Scalar,
            invariance: None,
            paraphrase_weight: 0.0,
            epochs: 3,
            batch: 64,
            adamw: AdamWConfig { learning_rate: 3e-3, ..AdamWConfig::default() },
        }
    }
}

/// A checked [`RewardModelConfig`].
#[derive(Debug, Clone, PartialEq)]
pub struct RewardModelSettings {
    objective: Objective,
    epochs: usize,
    batch: usize,
    adamw: AdamWSettings,
}

impl Check for RewardModelConfig {
    type Checked = RewardModelSettings;

    fn check(self) -> Result<RewardModelSettings, ConfigError> {
        let name = "RewardModelConfig";
        require(self.epochs > 0, name, "epochs", self.epochs, "1 or more")?;
        require(self.batch > 0, name, "batch", self.batch, "1 or more")?;
        let weight = self.paraphrase_weight;
        require_non_negative(name, "paraphrase_weight", weight)?;
        match &self.head {
            HeadConfig::Scalar => {}
            HeadConfig::Odin(config) => config.validate()?,
            HeadConfig::Bottleneck(config) => config.validate()?,
        }
        if let Some(invariance) = &self.invariance {
            invariance.validate()?;
            let enough = self.batch >= invariance.bins * LEAST_IN_BIN;
            let allowed = "at least 4 preferences for each bin of the factor";
            require(enough, name, "batch", self.batch, allowed)?;
        }
        Ok(RewardModelSettings {
            objective: Objective {
                head: self.head,
                invariance: self.invariance,
                paraphrase_weight: weight,
            },
            epochs: self.epochs,
            batch: self.batch,
            adamw: self.adamw.check()?,
        })
    }
}

/// A prompt with a response and the same response said in other words.
#[derive(Debug, Clone, PartialEq)]
pub struct Paraphrase {
    /// The prompt.
    pub prompt: String,
    /// The response.
    pub original: String,
    /// The response in other words.
    pub edited: String,
}

/// What one pass over the preferences ended with.
#[derive(Debug, Clone, PartialEq)]
pub struct Epoch {
    /// Mean loss over the steps, penalties included.
    pub loss: f64,
    /// Mean of the Bradley-Terry part.
    pub likelihood_loss: f64,
    /// Accuracy on the held-out preferences by which side has more of the factor: accuracy and bias together.
    /// `None` where there are none, or too few for an interval.
    pub held_out: Option<AccuracyByFactor>,
}

/// A reward model: scores of responses to prompts, learnt from preferences or from labels.
#[derive(Module, Debug)]
pub struct RewardModel<E: Module> {
    encoder: E,
    head: Head,
}

impl<E: Encoder> RewardModel<E> {
    /// Trains `encoder` under a new head by maximum likelihood of the preferences plus the penalties that
    /// the settings ask for. `encoder` is on a device with autodiff.
    ///
    /// `paraphrases` are gone through in turn, as many a step as there are preferences in it; they are not read where their weight
    /// is 0. `held_out` preferences are scored after each pass. Batches are shuffled by `streams`.
    ///
    /// # Errors
    /// No preferences, a label outside [0, 1], a margin or factor that is not finite, a text the encoder
    /// cannot take, a diverging loss.
    pub fn fit(
        encoder: E,
        preferences: &[Preference],
        paraphrases: &[Paraphrase],
        held_out: &[Preference],
        settings: &RewardModelSettings,
        streams: &Streams,
        device: &Device,
    ) -> Result<(Self, Vec<Epoch>), RewardModelError> {
        check(preferences)?;
        if settings.objective.paraphrase_weight > 0.0 && paraphrases.is_empty() {
            return Err(RewardModelError::NoParaphrases);
        }
        let steps = settings.epochs * preferences.len().div_ceil(settings.batch);
        let mut training = Training::start(encoder, settings, steps, streams, device);
        let read = |prompt: &str, text: &str| training.model.encoder.input(prompt, text);
        let chosen = preferences.iter().map(|p| read(&p.prompt, &p.chosen.text));
        let rejected = preferences.iter().map(|p| read(&p.prompt, &p.rejected.text));
        let (chosen, rejected): (Vec<_>, Vec<_>) = (chosen.collect(), rejected.collect());
        let edits: Vec<[E::Input; 2]> = if settings.objective.paraphrase_weight > 0.0 {
            let edits = paraphrases.iter();
            edits.map(|p| [read(&p.prompt, &p.original), read(&p.prompt, &p.edited)]).collect()
        } else {
            Vec::new()
        };
        let mut next_edit = (0..edits.len()).cycle();
        let mut order: Vec<usize> = (0..preferences.len()).collect();
        let mut epochs = Vec::with_capacity(settings.epochs);
        for epoch in 0..settings.epochs as u64 {
            order.shuffle(&mut streams.stream("order", &[epoch]));
            let (mut loss, mut likelihood_loss, mut steps) = (0.0, 0.0, 0.0);
            for rows in order.chunks(settings.batch) {
                let mut inputs: Vec<&E::Input> = rows.iter().map(|row| &chosen[*row]).collect();
                inputs.extend(rows.iter().map(|row| &rejected[*row]));
                let edits: Vec<&[E::Input; 2]> =
                    next_edit.by_ref().take(rows.len()).map(|edit| &edits[edit]).collect();
                inputs.extend(edits.iter().map(|edit| &edit[0]));
                inputs.extend(edits.iter().map(|edit| &edit[1]));
                let preferences = rows.iter().map(|row| &preferences[*row]).collect();
                let batch = Batch { preferences, paraphrases: edits.len() };
                let values = training.step(&inputs, |outputs, heads| {
                    settings.objective.evaluate(outputs, heads, &batch)
                })?;
                loss += values.loss;
                likelihood_loss += values.likelihood_loss;
                steps += 1.0;
            }
            let held_out = match held_out {
                [] => None,
                held_out => {
                    let pairs = scored_pairs(held_out, |texts| training.model.scores(texts))?;
                    // Ties only, or one prompt only: nothing to report, and no reason to lose the model.
                    accuracy_by_factor(&pairs, 0.95).ok()
                }
            };
            epochs.push(Epoch {
                loss: loss / steps,
                likelihood_loss: likelihood_loss / steps,
                held_out,
            });
        }
        Ok((training.model.valid(), epochs))
    }

    /// Trains by maximum likelihood of labels of single responses, (prompt, response) each: the score is the
    /// log-odds that the label is 1. Penalties of the settings that need pairs do not act.
    ///
    /// # Errors
    /// No examples, a label outside [0, 1], ODIN's head, a text the encoder cannot take, a diverging loss.
    pub fn fit_labels(
        encoder: E,
        examples: &[Labelled<(&str, &str)>],
        settings: &RewardModelSettings,
        streams: &Streams,
        device: &Device,
    ) -> Result<Self, RewardModelError> {
        check_labels(examples.iter().map(|example| example.label))?;
        if matches!(settings.objective.head, HeadConfig::Odin(_)) {
            return Err(RewardModelError::OdinOnLabels);
        }
        let steps = settings.epochs * examples.len().div_ceil(settings.batch);
        let mut training = Training::start(encoder, settings, steps, streams, device);
        let read = |example: &Labelled<(&str, &str)>| {
            training.model.encoder.input(example.input.0, example.input.1)
        };
        let inputs: Vec<E::Input> = examples.iter().map(read).collect();
        let mut order: Vec<usize> = (0..examples.len()).collect();
        for epoch in 0..settings.epochs as u64 {
            order.shuffle(&mut streams.stream("order", &[epoch]));
            for rows in order.chunks(settings.batch) {
                let labels: Vec<f64> = rows.iter().map(|row| examples[*row].label).collect();
                let inputs: Vec<&E::Input> = rows.iter().map(|row| &inputs[*row]).collect();
                training.step(&inputs, |outputs, _| {
                    settings.objective.evaluate_labels(outputs, &labels)
                })?;
            }
        }
        Ok(training.model.valid())
    }

    /// Scores of (prompt, response) texts, in order. Only differences between them carry meaning, unless the
    /// model was trained on labels.
    ///
    /// # Errors
    /// A text the encoder cannot take.
    pub fn scores(&self, texts: &[(&str, &str)]) -> Result<Vec<f64>, RewardModelError> {
        let mut scores = Vec::with_capacity(texts.len());
        for chunk in texts.chunks(256) {
            let inputs: Vec<E::Input> = chunk
                .iter()
                .map(|(prompt, response)| self.encoder.input(prompt, response))
                .collect();
            let inputs: Vec<&E::Input> = inputs.iter().collect();
            let projected = self.encoder.project(&inputs, self.head.weights.val())?;
            let outputs = self.head.outputs(projected, None).narrow(1, 0, 1);
            scores.extend(host(outputs.inner()).into_iter().map(f64::from));
        }
        Ok(scores)
    }

    /// The encoder.
    #[must_use]
    pub fn encoder(&self) -> &E {
        &self.encoder
    }

    /// The model as bytes, for [`RewardModel::from_bytes`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let bytes = |values: Vec<f32>| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let latent = self.head.latent.as_ref().map(|latent| host(latent.val().inner()));
        pack(&[
            ("encoder", self.encoder.to_bytes()),
            ("weights", bytes(host(self.head.weights.val().inner()))),
            ("bias", bytes(host(self.head.bias.val().inner()))),
            ("latent", bytes(latent.unwrap_or_default())),
        ])
    }

    /// A model from [`RewardModel::to_bytes`], on `device`.
    ///
    /// # Errors
    /// Bytes that are no reward model with this kind of encoder.
    pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self, RewardModelError> {
        let values = |name: &str| unpack_values(bytes, name);
        let encoder = E::from_bytes(&unpack(bytes, "encoder")?, device)?;
        let (weights, bias, latent) = (values("weights")?, values("bias")?, values("latent")?);
        let (width, channels, dimensions) = (encoder.width(), bias.len(), latent.len());
        let fits = if dimensions == 0 { channels <= 2 } else { channels == 2 * dimensions };
        if channels == 0 || !fits || weights.len() != width.saturating_mul(channels) {
            let found = [weights.len(), channels, dimensions];
            let problem = format!("head of {found:?} values on an encoder of width {width}");
            return Err(NnError::Malformed { format: "reward model", problem }.into());
        }
        let matrix = |values: Vec<f32>, rows: usize, columns: usize| {
            Param::from_data(TensorData::new(values, [rows, columns]), device)
        };
        let head = Head {
            weights: matrix(weights, width, channels),
            bias: Param::from_data(TensorData::new(bias, [channels]), device),
            latent: (dimensions > 0).then(|| matrix(latent, dimensions, 1)),
        };
        Ok(Self { encoder, head })
    }
}

/// A model between steps.
struct Training<E: Encoder> {
    model: RewardModel<E>,
    optimizer: AdamW,
    /// Steps in all: the learning rate falls linearly to 0 over them, without which a penalty on few members of a
    /// bin leaves its noise in the weights.
    steps: usize,
    noise: StreamRng,
    device: Device,
}

impl<E: Encoder> Training<E> {
    fn start(
        encoder: E,
        settings: &RewardModelSettings,
        steps: usize,
        streams: &Streams,
        device: &Device,
    ) -> Self {
        let device = device.clone().autodiff();
        let config = &settings.objective.head;
        let stream = &mut streams.stream("head", &[]);
        let head = Head::initialise(config, encoder.width(), stream, &device);
        Self {
            model: RewardModel { encoder, head },
            optimizer: AdamW::new(settings.adamw.clone()),
            steps,
            noise: streams.stream("latent noise", &[]),
            device,
        }
    }

    /// One step. `evaluate` gets the outputs (row-major) and the head's weights `[width][channels]`, and
    /// gives the loss with its gradients with respect to both; the graph carries them on from there.
    fn step(
        &mut self,
        inputs: &[&E::Input],
        evaluate: impl FnOnce(&[f32], &[f32]) -> crate::objective::Evaluated,
    ) -> Result<crate::objective::Losses, RewardModelError> {
        let projected = self.model.encoder.project(inputs, self.model.head.weights.val())?;
        let noise = self.model.head.latent.as_ref().map(|latent| {
            let shape = [inputs.len(), latent.val().dims()[0]];
            let normal = Normal::new(0.0f32, 1.0).expect("1 is a deviation");
            let values = (0..shape[0] * shape[1]).map(|_| normal.sample(&mut self.noise));
            Tensor::from_data(TensorData::new(values.collect::<Vec<_>>(), shape), &self.device)
        });
        let outputs = self.model.head.outputs(projected, noise);
        let weights = self.model.head.weights.val();
        let evaluated = evaluate(&host(outputs.clone().inner()), &host(weights.clone().inner()));
        let step = self.optimizer.steps();
        if !evaluated.losses.loss.is_finite() {
            let value = evaluated.losses.loss.to_string();
            return Err(NnError::NotFinite { what: "loss", value, step }.into());
        }
        // A function whose gradient with respect to outputs and weights is the one we were given.
        let slopes = TensorData::new(evaluated.of_outputs, outputs.dims());
        let mut surrogate = (outputs * Tensor::from_data(slopes, &self.device)).sum();
        if let Some(slopes) = evaluated.of_heads {
            let slopes = TensorData::new(slopes, weights.dims());
            surrogate = surrogate + (weights * Tensor::from_data(slopes, &self.device)).sum();
        }
        let gradients = ModuleGradients::of(&surrogate, &self.model);
        let rate = 1.0 - step as f64 / self.steps as f64;
        self.optimizer.step(&mut self.model, gradients, rate)?;
        Ok(evaluated.losses)
    }
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().expect("every float tensor here is f32")
}
