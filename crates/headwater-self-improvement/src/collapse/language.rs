//! A decoder trained round after round, the later rounds on text that the rounds before have sampled.
//!
//! Every round trains new weights, as Gerstgrasser et al. 2024 do (Shumailov et al. 2023 fine-tune one pretrained model afresh each
//! round), for the same number of optimiser steps whatever the size of its data. Text is sampled from nothing: no prompt is real.

use burn::module::Module;
use headwater_core::{Check, ConfigError, Example, Streams, require, require_positive};
use headwater_nn::{
    AdamW, AdamWConfig, Decay, Decoder, DecoderConfig, Device, SamplingConfig, Schedule,
    SequenceBatch, sample, supervised_training,
};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::source::{PROMPT, Source};
use super::{Composition, DataPolicy};
use crate::SelfImprovementError;

/// A loop, unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LanguageConfig {
    /// What a round is trained on.
    pub data: DataPolicy,
    /// Texts a round, at least 1.
    pub rows: usize,
    /// Rounds, the first included, at least 1.
    pub rounds: usize,
    /// Optimiser steps of a round, at least 1.
    pub steps: usize,
    /// Those of a round grow with its rows, which they do where rows accumulate: `steps` for each `rows`.
    pub steps_grow: bool,
    /// Texts a step, at least 1, drawn from the round's with replacement.
    pub batch: usize,
    /// Highest rate of AdamW: after a rise over a tenth of the steps it falls to 0 on a line. Above 0.
    pub learning_rate: f64,
    /// At which text is sampled, above 0; below 1 likely symbols are preferred.
    pub temperature: f64,
    /// Width of the decoder, a multiple of 4.
    pub width: usize,
    /// Its blocks, at least 1.
    pub layers: usize,
    /// Texts that a round is measured on, at least 1.
    pub test_rows: usize,
}

impl Default for LanguageConfig {
    fn default() -> Self {
        Self {
            data: DataPolicy::Replace,
            rows: 256,
            rounds: 8,
            steps: 120,
            steps_grow: false,
            batch: 32,
            learning_rate: 2e-2,
            temperature: 1.0,
            width: 24,
            layers: 1,
            test_rows: 256,
        }
    }
}

/// A checked [`LanguageConfig`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LanguageLoop(LanguageConfig);

impl Check for LanguageConfig {
    type Checked = LanguageLoop;

    fn check(self) -> Result<LanguageLoop, ConfigError> {
        const NAME: &str = "LanguageConfig";
        self.data.check(NAME)?;
        for (field, value) in [
            ("rows", self.rows),
            ("rounds", self.rounds),
            ("steps", self.steps),
            ("batch", self.batch),
            ("layers", self.layers),
            ("test_rows", self.test_rows),
        ] {
            require(value >= 1, NAME, field, value, "1 or more")?;
        }
        for (field, value) in
            [("learning_rate", self.learning_rate), ("temperature", self.temperature)]
        {
            require_positive(NAME, field, value)?;
        }
        let holds = self.width > 0 && self.width.is_multiple_of(4);
        require(holds, NAME, "width", self.width, "a positive multiple of 4")?;
        Ok(LanguageLoop(self))
    }
}

/// A round's model against the source. All but the last are means over the contexts of held-out real texts, and exact in each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoundMeasure {
    /// KL of the source from the model, nats a symbol: cross-entropy less the source's entropy. At least 0.
    pub excess: f64,
    /// Mean over the least common quarter of the symbols of `ln(Q/P)`, where Q and P are the model's and the source's mean probability of the
    /// symbol: how much of a tail is left.
    pub rare: f64,
    /// That of the most common quarter.
    pub frequent: f64,
    /// The model's probability of the least common quarter over the source's.
    pub rare_mass: f64,
    /// Entropy of the model's next symbol, nats: its diversity.
    pub entropy: f64,
    /// Mean log-probability under the source of the symbols of the model's own text, nats: its quality, whatever its diversity.
    pub quality: f64,
}

impl LanguageLoop {
    /// Runs the loop on `device` (with autodiff); one measure a round.
    ///
    /// Streams: "initial weights", "batch" and "token" of a round, "real text" of the round it was drawn in, "held-out text". Loops that
    /// differ in data or temperature share them all.
    ///
    /// # Errors
    /// A loss or gradient that is not finite.
    pub fn run(
        &self,
        source: &Source,
        device: &Device,
        streams: &Streams,
    ) -> Result<Vec<RoundMeasure>, SelfImprovementError> {
        let real = |count, round| source.texts(count, &mut streams.stream("real text", &[round]));
        let held_out = source.texts(self.0.test_rows, &mut streams.stream("held-out text", &[]));
        let mut seen = real(self.0.rows, 0);
        let mut measures = Vec::with_capacity(self.0.rounds);
        for round in 0..self.0.rounds as u64 {
            let model = self.train(&seen, source, device, (round, streams))?;
            let mut own = self.sample(&model, source, &streams.child("own text", &[round]))?;
            measures.push(measure(&model, source, &held_out, &own)?);
            let composition = self.0.data.composition(self.0.rows, round + 1);
            let Composition { keeps, own: count, real: real_count, drawn } = composition;
            own.truncate(count);
            if !keeps {
                seen = real(real_count, drawn);
            }
            seen.append(&mut own);
        }
        Ok(measures)
    }

    /// New weights fitted to `texts` by maximum likelihood.
    fn train(
        &self,
        texts: &[Vec<u32>],
        source: &Source,
        device: &Device,
        (round, streams): (u64, &Streams),
    ) -> Result<Decoder, SelfImprovementError> {
        let LanguageConfig { rows, steps, batch, learning_rate, width, layers, .. } = self.0;
        let shape = DecoderConfig {
            vocabulary: source.symbols(),
            width,
            layers,
            hidden: 2 * width,
            context: PROMPT.len() + source.length(),
            ..DecoderConfig::default()
        };
        let mut weights = streams.stream("initial weights", &[round]);
        let mut model = Decoder::initialise(&shape.check()?, &mut weights, device);
        let optimizer = AdamWConfig { learning_rate, ..AdamWConfig::default() };
        let mut optimizer = AdamW::new(optimizer.check()?);
        let steps = if self.0.steps_grow { steps * texts.len() / rows } else { steps };
        let schedule = Schedule { steps, warmup: steps / 10, decay: Decay::Linear };
        let mut stream = streams.stream("batch", &[round]);
        supervised_training(&mut model, &mut optimizer, schedule, |_| {
            let drawn = (0..batch).map(|_| &texts[stream.random_range(0..texts.len())]);
            let example =
                |text: &Vec<u32>| Example { prompt: PROMPT.to_vec(), completion: text.clone() };
            Ok::<_, SelfImprovementError>(drawn.map(example).collect())
        })?;
        Ok(model)
    }

    /// As many texts as a round has.
    fn sample(
        &self,
        model: &Decoder,
        source: &Source,
        streams: &Streams,
    ) -> Result<Vec<Vec<u32>>, SelfImprovementError> {
        let sampling = SamplingConfig {
            max_new_tokens: source.length(),
            temperature: self.0.temperature,
            stop: None,
            ..SamplingConfig::default()
        };
        let groups = sample(model, &[PROMPT.to_vec()], self.0.rows, &sampling.check()?, streams)?;
        Ok(groups.into_iter().flatten().map(|completion| completion.tokens).collect())
    }
}

/// Compares `model` with `source` on real texts, and the source's view of the model's `own` ones.
fn measure(
    model: &Decoder,
    source: &Source,
    held_out: &[Vec<u32>],
    own: &[Vec<u32>],
) -> Result<RoundMeasure, SelfImprovementError> {
    let pairs = held_out.iter().map(|text| (PROMPT.as_slice(), text.as_slice()));
    let batch = SequenceBatch::new(pairs, model.shape())?;
    let log_q = batch.log_distributions(&model.valid(), 1.0);
    let log_q = log_q.try_into_vec_as::<f32>().expect("every float tensor is f32");
    let contexts = held_out.iter().flat_map(|text| source.contexts(text));
    let symbols = source.symbols();
    let (mut p_of, mut q_of) = (vec![0.0; symbols], vec![0.0; symbols]);
    let (mut excess, mut entropy, mut count) = (0.0, 0.0, 0.0);
    for (context, log_q) in contexts.zip(log_q.chunks(symbols)) {
        for (symbol, (p, log_q)) in source.next(context).iter().zip(log_q).enumerate() {
            let log_q = f64::from(*log_q);
            let q = log_q.exp();
            excess += p * (p.ln() - log_q);
            entropy -= q * log_q;
            p_of[symbol] += p;
            q_of[symbol] += q;
        }
        count += 1.0;
    }
    let quarter = symbols / 4;
    let ratios: Vec<f64> = q_of.iter().zip(&p_of).map(|(q, p)| (q / p).ln()).collect();
    let mean = |ratios: &[f64]| ratios.iter().sum::<f64>() / quarter as f64;
    let tail = symbols - quarter..;
    Ok(RoundMeasure {
        excess: excess / count,
        rare: mean(&ratios[tail.clone()]),
        frequent: mean(&ratios[..quarter]),
        rare_mass: q_of[tail.clone()].iter().sum::<f64>() / p_of[tail].iter().sum::<f64>(),
        entropy: entropy / count,
        quality: own.iter().map(|text| source.log_prob(text)).sum::<f64>() / own.len() as f64,
    })
}

#[cfg(test)]
mod tests;
