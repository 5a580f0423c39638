//! A small text model: the decoder of `headwater-nn` with a scalar head, trained on labels.

use std::collections::HashMap;

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Device, Int, Tensor, TensorData};
use headwater_core::{Check, ConfigError, Streams, require};
use headwater_nn::{
    AdamW, AdamWConfig, AdamWSettings, Decoder, DecoderConfig, DecoderShape, NnError, PAD,
};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::error::check_labels;
use crate::{Labelled, RewardModelError, words};

/// Token for a word the vocabulary does not have.
const UNKNOWN: u32 = 1;
/// Token between prompt and response.
const SEPARATOR: u32 = 2;

/// The most frequent words of a corpus as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordVocabulary {
    ids: HashMap<String, u32>,
    context: usize,
}

impl WordVocabulary {
    /// The words of `texts`, most frequent first (ties in alphabetical order), so that with padding,
    /// unknown and separator there are at most `size` tokens; inputs are cut to `context` tokens.
    #[must_use]
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>, size: usize, context: usize) -> Self {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for text in texts {
            for word in words(text) {
                *counts.entry(word).or_default() += 1;
            }
        }
        let mut ranked: Vec<(String, usize)> = counts.into_iter().collect();
        ranked.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let kept = ranked.into_iter().take(size.saturating_sub(3));
        let ids = kept.zip(3u32..).map(|((word, _), id)| (word, id)).collect();
        Self { ids, context }
    }

    /// Number of tokens.
    #[must_use]
    pub fn size(&self) -> usize {
        self.ids.len() + 3
    }

    /// `prompt`, separator, `response` as tokens, the prompt cut from the front where both are too long.
    #[must_use]
    pub fn encode(&self, prompt: &str, response: &str) -> Vec<u32> {
        let ids = |text: &str| -> Vec<u32> {
            words(text).iter().map(|w| self.ids.get(w).copied().unwrap_or(UNKNOWN)).collect()
        };
        let mut tail = vec![SEPARATOR];
        tail.extend(ids(response));
        tail.truncate(self.context);
        let prompt = ids(prompt);
        let room = (self.context - tail.len()).min(prompt.len());
        let mut tokens = prompt[prompt.len() - room..].to_vec();
        tokens.append(&mut tail);
        tokens
    }
}

/// How to build and train, unchecked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextModelConfig {
    /// The body; its vocabulary is set from the data.
    pub decoder: DecoderConfig,
    /// Passes over the examples, at least 1.
    pub epochs: usize,
    /// Examples per step, at least 1.
    pub batch: usize,
    /// The optimiser.
    pub adamw: AdamWConfig,
}

impl Default for TextModelConfig {
    fn default() -> Self {
        Self {
            decoder: DecoderConfig { layers: 1, ..DecoderConfig::default() },
            epochs: 3,
            batch: 64,
            adamw: AdamWConfig { learning_rate: 3e-3, ..AdamWConfig::default() },
        }
    }
}

/// A checked [`TextModelConfig`].
#[derive(Debug, Clone, PartialEq)]
pub struct TextModelSettings {
    shape: DecoderShape,
    epochs: usize,
    batch: usize,
    adamw: AdamWSettings,
}

impl Check for TextModelConfig {
    type Checked = TextModelSettings;

    fn check(self) -> Result<TextModelSettings, ConfigError> {
        require(self.epochs > 0, "TextModelConfig", "epochs", self.epochs, "1 or more")?;
        require(self.batch > 0, "TextModelConfig", "batch", self.batch, "1 or more")?;
        let (shape, adamw) = (self.decoder.check()?, self.adamw.check()?);
        Ok(TextModelSettings { shape, epochs: self.epochs, batch: self.batch, adamw })
    }
}

/// A decoder whose hidden state at the last token gives a score.
#[derive(Module, Debug)]
pub struct TextModel {
    body: Decoder,
    head: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl TextModel {
    /// A model with random body and a head of zeros, trained by maximum likelihood of the labels.
    ///
    /// # Errors
    /// No examples, a label outside [0, 1], tokens that do not fit the body, a diverging loss.
    pub fn fit(
        examples: &[Labelled<Vec<u32>>],
        settings: &TextModelSettings,
        streams: &Streams,
        device: &Device,
    ) -> Result<Self, RewardModelError> {
        check_labels(examples.iter().map(|example| example.label))?;
        let device = device.clone().autodiff();
        let shape = &settings.shape;
        let zeros = TensorData::new(vec![0.0f32; shape.width], [shape.width, 1]);
        let mut model = Self {
            body: Decoder::initialise(shape, &mut streams.stream("weights", &[]), &device),
            head: Param::from_data(zeros, &device),
            bias: Param::from_data(TensorData::new(vec![0.0f32], [1]), &device),
        };
        let mut optimizer = AdamW::new(settings.adamw.clone());
        let mut order: Vec<usize> = (0..examples.len()).collect();
        for epoch in 0..settings.epochs {
            order.shuffle(&mut streams.stream("order", &[epoch as u64]));
            for batch in order.chunks(settings.batch) {
                let inputs: Vec<&[u32]> =
                    batch.iter().map(|i| examples[*i].input.as_slice()).collect();
                let labels = batch.iter().map(|i| examples[*i].label as f32);
                let labels = TensorData::new(labels.collect::<Vec<_>>(), [batch.len(), 1]);
                let labels: Tensor<2> = Tensor::from_data(labels, &device);
                let scores = model.log_odds(&inputs)?;
                let negative = labels.clone().neg().add_scalar(1.0);
                let likelihood =
                    labels * log_sigmoid(scores.clone()) + negative * log_sigmoid(scores.neg());
                let gradients = likelihood.mean().neg().backward();
                let gradients = GradientsParams::from_grads(gradients, &model);
                optimizer.step(&mut model, gradients, 1.0)?;
            }
        }
        Ok(model.valid())
    }

    /// Scores of token sequences: log-odds that the label is 1.
    ///
    /// # Errors
    /// A sequence that is empty, longer than the context, or holds a token outside the vocabulary.
    pub fn score(&self, inputs: &[&[u32]]) -> Result<Vec<f64>, RewardModelError> {
        let mut scores = Vec::with_capacity(inputs.len());
        for chunk in inputs.chunks(256) {
            let values = self.log_odds(chunk)?.inner().try_into_vec_as::<f32>();
            let values = values.expect("every float tensor here is f32");
            scores.extend(values.into_iter().map(f64::from));
        }
        Ok(scores)
    }

    /// Log-odds `[sequences, 1]` from the hidden state at each sequence's last token.
    fn log_odds(&self, inputs: &[&[u32]]) -> Result<Tensor<2>, RewardModelError> {
        let shape = self.body.shape();
        let positions = inputs.iter().map(|input| input.len()).max().unwrap_or(0);
        let mut tokens = vec![i64::from(PAD); inputs.len() * positions];
        let mut last = Vec::with_capacity(inputs.len());
        for (row, input) in inputs.iter().enumerate() {
            if input.is_empty() || input.len() > shape.context {
                let allowed = format!("1 to {}", shape.context);
                return Err(NnError::Length { what: "input", length: input.len(), allowed }.into());
            }
            for (position, token) in input.iter().enumerate() {
                if *token as usize >= shape.vocabulary {
                    let last = shape.vocabulary - 1;
                    return Err(NnError::Token { token: *token, position, last }.into());
                }
                tokens[row * positions + position] = i64::from(*token);
            }
            last.push((row * positions + input.len() - 1) as i64);
        }
        let device = self.body.device();
        let tokens = TensorData::new(tokens, [inputs.len(), positions]);
        let hidden = self.body.hidden(Tensor::<2, Int>::from_data(tokens, &device));
        let last = Tensor::<1, Int>::from_data(TensorData::new(last, [inputs.len()]), &device);
        let hidden = hidden.reshape([inputs.len() * positions, shape.width]).select(0, last);
        Ok(hidden.matmul(self.head.val()) + self.bias.val().unsqueeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_a_label_that_depends_on_prompt_and_response_together() {
        // Right iff the response repeats the prompt's word: no bag of words over the response can tell.
        let colours = ["red", "green", "blue", "black"];
        let vocabulary = WordVocabulary::of(colours, 16, 8);
        let pairs = colours.iter().flat_map(|p| colours.iter().map(move |r| (*p, *r)));
        let examples: Vec<Labelled<Vec<u32>>> = pairs
            .map(|(p, r)| Labelled {
                input: vocabulary.encode(p, r),
                label: f64::from(u8::from(p == r)),
            })
            .collect();
        let decoder = DecoderConfig {
            vocabulary: vocabulary.size(),
            context: 8,
            layers: 2,
            ..DecoderConfig::default()
        };
        let config =
            TextModelConfig { decoder, epochs: 150, batch: 16, ..TextModelConfig::default() };
        let settings = config.check().unwrap();
        let fit = || TextModel::fit(&examples, &settings, &Streams::new(2), &Device::flex());
        let model = fit().unwrap();
        let inputs: Vec<&[u32]> = examples.iter().map(|e| e.input.as_slice()).collect();
        let scores = model.score(&inputs).unwrap();
        for (example, score) in examples.iter().zip(&scores) {
            assert_eq!(*score > 0.0, example.label > 0.5, "{example:?}: {score}");
        }
        // Padding and the company of other rows change nothing, and the same streams the same model.
        let alone = model.score(&inputs[..1]).unwrap();
        assert!((alone[0] - scores[0]).abs() < 1e-5);
        assert_eq!(fit().unwrap().score(&inputs).unwrap(), scores);
    }

    #[test]
    fn long_inputs_lose_the_start_of_the_prompt_first() {
        let vocabulary = WordVocabulary::of(["a b c d e f"], 16, 5);
        let ids = |text: &str| -> Vec<u32> { vocabulary.encode("", text)[1..].to_vec() };
        assert_eq!(
            vocabulary.encode("a b c d", "e"),
            [&ids("b c d")[..], &[2], &ids("e")].concat()
        );
        assert_eq!(vocabulary.encode("a", "b c d e f").len(), 5);
        assert_eq!(vocabulary.encode("zebra", "a")[0], UNKNOWN);
    }
}
