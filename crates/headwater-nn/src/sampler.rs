//! Batched sampling with a key-value cache, on the host, from the decoder's own weights.
//!
//! A prompt is read once for all samples of its group; all rows of a chunk advance together; finished rows
//! are dropped. Every row draws from its own stream, named by prompt and sample index, and its logits are
//! the same bits in every company, so what is sampled does not depend on which other rows are in the batch,
//! nor on the number of threads.

use headwater_core::{Check, ConfigError, EOS, StreamRng, Streams, require, require_positive};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use headwater_kernels::{DecoderWeights, in_parts, log_softmax};
use std::ops::Range;

use crate::{Decoder, DecoderShape, NnError};

/// How to sample, unchecked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingConfig {
    /// Most tokens to generate, at least 1.
    pub max_new_tokens: usize,
    /// Divides the logits; a finite number above 0 (for the most likely token set `greedy`).
    /// Ignored when `greedy`. Below 1e-5 the most likely token is taken as by `greedy`: that
    /// differs from drawing on ties only.
    pub temperature: f64,
    /// Keep the smallest set of most likely tokens whose mass reaches this; in (0, 1], 1 keeps all.
    pub top_p: f64,
    /// Keep this many most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Always take the most likely token (the lowest id on a tie).
    pub greedy: bool,
    /// Token after which a completion is finished; `None` always runs to `max_new_tokens`.
    pub stop: Option<u32>,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self {
            max_new_tokens: 16,
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            greedy: false,
            stop: Some(EOS),
        }
    }
}

/// A checked [`SamplingConfig`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sampling(SamplingConfig);

impl std::ops::Deref for Sampling {
    type Target = SamplingConfig;

    fn deref(&self) -> &SamplingConfig {
        &self.0
    }
}

impl Check for SamplingConfig {
    type Checked = Sampling;

    fn check(self) -> Result<Sampling, ConfigError> {
        let config = "SamplingConfig";
        require(self.max_new_tokens > 0, config, "max_new_tokens", 0, "1 or more")?;
        require_positive(config, "temperature", self.temperature)?;
        let top_p = self.top_p;
        require(top_p > 0.0 && top_p <= 1.0, config, "top_p", top_p, "a number in (0, 1]")?;
        Ok(Sampling(self))
    }
}

/// One sampled completion.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// Generated tokens, the stop token included.
    pub tokens: Vec<u32>,
    /// Log-probability of each token under the whole distribution at the sampling temperature (at
    /// temperature 1 when `greedy`): what a trainer recomputes as the new policy's log-probability.
    pub log_probs: Vec<f32>,
    /// Log-probability with which each token was really drawn, after top-k and top-p renormalised (0
    /// where the most likely one is taken, up to rounding). Equal to `log_probs` without
    /// truncation.
    pub behaviour_log_probs: Vec<f32>,
    /// Entropy in nats of the whole distribution each token was drawn from, at the same temperature.
    pub entropies: Vec<f32>,
    /// Whether the stop token was generated.
    pub finished: bool,
}

/// Below this a temperature is taken for its limit (as in vLLM): rounding in the logits outweighs
/// it.
const COLDEST_DRAW: f64 = 1e-5;

/// Rows advanced together: enough to fill the matrix products, few enough to keep the key-value caches small.
const ROWS_PER_CHUNK: usize = 256;

/// Samples `samples_per_prompt` completions of every prompt; result `[prompt][sample]`.
///
/// # Errors
/// An empty prompt, one that leaves no room in the context, a token outside the vocabulary, or
/// logits that are no finite numbers.
pub fn sample(
    decoder: &Decoder,
    prompts: &[Vec<u32>],
    samples_per_prompt: usize,
    sampling: &Sampling,
    streams: &Streams,
) -> Result<Vec<Vec<Completion>>, NnError> {
    let shape = decoder.shape();
    for prompt in prompts {
        check_prompt(prompt, shape)?;
    }
    let host = decoder.on_host();
    let batch = Batch { weights: host.weights(), prompts, samples_per_prompt, sampling, streams };
    let output = batch.weights.output();
    // Rows are (prompt, sample) pairs in prompt-major order; each thread takes a run of them.
    let parts = in_parts(prompts.len() * samples_per_prompt, |part| {
        let chunks = part.clone().step_by(ROWS_PER_CHUNK);
        let chunk = |first: usize| first..part.end.min(first + ROWS_PER_CHUNK);
        let chunks = chunks.map(|first| batch.sample(chunk(first), &output));
        chunks.collect::<Result<Vec<_>, NnError>>()
    });
    let parts = parts.into_iter().collect::<Result<Vec<_>, NnError>>()?;
    let mut completions = parts.into_iter().flatten().flatten();
    Ok(prompts.iter().map(|_| completions.by_ref().take(samples_per_prompt).collect()).collect())
}

fn check_prompt(prompt: &[u32], shape: &DecoderShape) -> Result<(), NnError> {
    if prompt.is_empty() || prompt.len() >= shape.context {
        return Err(NnError::Length {
            what: "prompt",
            length: prompt.len(),
            allowed: format!("1 to {}", shape.context - 1),
        });
    }
    check_tokens(prompt, shape)
}

/// Every token inside the vocabulary.
pub(crate) fn check_tokens(tokens: &[u32], shape: &DecoderShape) -> Result<(), NnError> {
    match tokens.iter().position(|t| *t as usize >= shape.vocabulary) {
        None => Ok(()),
        Some(position) => {
            Err(NnError::Token { token: tokens[position], position, last: shape.vocabulary - 1 })
        }
    }
}

struct Batch<'a> {
    weights: DecoderWeights<'a>,
    prompts: &'a [Vec<u32>],
    samples_per_prompt: usize,
    sampling: &'a Sampling,
    streams: &'a Streams,
}

impl Batch<'_> {
    /// The completions of a run of rows.
    fn sample(&self, rows: Range<usize>, output: &[f32]) -> Result<Vec<Completion>, NnError> {
        let each = self.samples_per_prompt;
        let (first, last) = (rows.start / each, rows.end.div_ceil(each));
        let prompts: Vec<&[u32]> = self.prompts[first..last].iter().map(Vec::as_slice).collect();
        let copies: Vec<usize> = (first..last)
            .map(|prompt| rows.end.min((prompt + 1) * each) - rows.start.max(prompt * each))
            .collect();
        let vocabulary = output.len() / self.weights.shape.width;
        let capacity = prompts.iter().map(|prompt| prompt.len() + self.budget(prompt)).max();
        let capacity = capacity.unwrap_or(0);
        let (mut cache, prompt_logits) = self.weights.prefill(output, &prompts, &copies, capacity);

        let mut states: Vec<RowState> = rows
            .clone()
            .map(|row| {
                let indices = [(row / each) as u64, (row % each) as u64];
                let stream = self.streams.stream("token", &indices);
                RowState::new(stream, self.budget(prompts[row / each - first]))
            })
            .collect();
        let mut active: Vec<usize> = (0..states.len()).collect();
        let mut logits = Vec::with_capacity(states.len() * vocabulary);
        for row in rows.clone() {
            let at = (row / each - first) * vocabulary;
            logits.extend_from_slice(&prompt_logits[at..at + vocabulary]);
        }
        let mut probabilities = vec![0.0; vocabulary];
        let mut tokens = Vec::with_capacity(states.len());
        loop {
            for (logits, row) in logits.chunks_exact_mut(vocabulary).zip(&active) {
                let state = &mut states[*row];
                if !state.draw(logits, &mut probabilities, self.sampling) {
                    let (prompt, sample) = ((rows.start + row) / each, (rows.start + row) % each);
                    let token = state.completion.tokens.len();
                    return Err(NnError::Logits { prompt, sample, token });
                }
            }
            active.retain(|row| !states[*row].is_done());
            if active.is_empty() {
                break;
            }
            tokens.clear();
            tokens.extend(active.iter().map(|row| states[*row].last()));
            logits.truncate(active.len() * vocabulary);
            self.weights.step(output, &mut cache, &active, &tokens, &mut logits);
        }
        Ok(states.into_iter().map(|state| state.completion).collect())
    }

    /// Most tokens a prompt's completion may have: the rest of the context, which is as long as the rotary
    /// tables.
    fn budget(&self, prompt: &[u32]) -> usize {
        self.sampling.max_new_tokens.min(self.weights.rotary.positions() - prompt.len())
    }
}

struct RowState {
    stream: StreamRng,
    completion: Completion,
    budget: usize,
    order: Vec<u32>,
}

impl RowState {
    fn new(stream: StreamRng, budget: usize) -> Self {
        let completion = Completion {
            tokens: Vec::new(),
            log_probs: Vec::new(),
            behaviour_log_probs: Vec::new(),
            entropies: Vec::new(),
            finished: false,
        };
        Self { stream, completion, budget, order: Vec::new() }
    }

    fn is_done(&self) -> bool {
        self.completion.finished || self.completion.tokens.len() == self.budget
    }

    fn last(&self) -> u32 {
        *self.completion.tokens.last().expect("a token was drawn before it is fed back")
    }

    /// Draws one token, unless the logits are no finite numbers; they are overwritten with
    /// log-probabilities.
    fn draw(&mut self, logits: &mut [f32], probabilities: &mut [f32], sampling: &Sampling) -> bool {
        let temperature = if sampling.greedy { 1.0 } else { sampling.temperature };
        let entropy = log_softmax(logits, probabilities, temperature as f32);
        if !entropy.is_finite() {
            return false;
        }
        let (token, kept_mass) = if sampling.greedy || temperature < COLDEST_DRAW {
            let token = most_likely(probabilities);
            (token, probabilities[token])
        } else if sampling.top_k == 0 && sampling.top_p >= 1.0 {
            (self.draw_from_all(probabilities), 1.0)
        } else {
            self.draw_truncated(probabilities, sampling)
        };
        let completion = &mut self.completion;
        completion.tokens.push(token as u32);
        completion.log_probs.push(logits[token]);
        completion.behaviour_log_probs.push(logits[token] - kept_mass.ln());
        completion.entropies.push(entropy);
        completion.finished = sampling.stop == Some(token as u32);
        true
    }

    fn draw_from_all(&mut self, probabilities: &[f32]) -> usize {
        let mut left: f32 = self.stream.random();
        for (token, probability) in probabilities.iter().enumerate() {
            left -= probability;
            if left < 0.0 {
                return token;
            }
        }
        // Rounding can leave a little over: it belongs to the last token that has any probability.
        probabilities.iter().rposition(|p| *p > 0.0).expect("probabilities sum to one")
    }

    /// The token and the mass of the kept set it was drawn from.
    fn draw_truncated(&mut self, probabilities: &[f32], sampling: &Sampling) -> (usize, f32) {
        self.order.clear();
        self.order.extend(0..probabilities.len() as u32);
        // Stable: tokens of equal probability are kept in the order of their ids.
        self.order
            .sort_by(|a, b| probabilities[*b as usize].total_cmp(&probabilities[*a as usize]));
        let most = if sampling.top_k == 0 { probabilities.len() } else { sampling.top_k };
        let mut kept_mass = 0.0f32;
        let mut kept = 0;
        for token in self.order.iter().take(most) {
            kept_mass += probabilities[*token as usize];
            kept += 1;
            if f64::from(kept_mass) >= sampling.top_p {
                break;
            }
        }
        let mut left = self.stream.random::<f32>() * kept_mass;
        for token in &self.order[..kept] {
            left -= probabilities[*token as usize];
            if left < 0.0 {
                return (*token as usize, kept_mass);
            }
        }
        let last = self.order[..kept].iter().rfind(|token| probabilities[**token as usize] > 0.0);
        (*last.expect("the first of the kept has a probability") as usize, kept_mass)
    }
}

fn most_likely(probabilities: &[f32]) -> usize {
    let mut best = 0;
    for (token, probability) in probabilities.iter().enumerate() {
        if *probability > probabilities[best] {
            best = token;
        }
    }
    best
}
