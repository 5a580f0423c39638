//! The one model definition: a Llama-shaped decoder (Touvron et al. 2023): RMS norm before each half
//! block, rotary positions, grouped-query attention, SwiGLU, tied input and output embedding.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use headwater_core::StreamRng;
use headwater_kernels::{AttentionWeights, DecoderWeights, FeedForwardWeights, Rotary};
use rand_distr::{Distribution, Normal};
use std::collections::HashMap;
use std::sync::Arc;

use crate::NnError;
use crate::ops::host::HostTensor;
use crate::ops::{self, Attention, FeedForward, TokenScores, Tree};
use crate::shape::DecoderShape;
use crate::weights::{NamedTensor, named_tensors};

/// One decoder block: attention half, then feed-forward half, each with its own norm and residual.
#[derive(Module, Debug)]
pub(crate) struct Block {
    attention: Attention,
    feed_forward: FeedForward,
}

/// A Llama-shaped decoder. Weight matrices are stored `[in, out]`.
#[derive(Module, Debug)]
pub struct Decoder {
    embedding: Param<Tensor<2>>,
    blocks: Vec<Block>,
    norm: Param<Tensor<1>>,
    #[module(skip)]
    shape: DecoderShape,
    #[module(skip)]
    rotary: Arc<Rotary>,
}

impl Decoder {
    /// A decoder with fresh weights drawn from `stream`: normal with standard deviation 0.02 for the
    /// embedding, `1 / sqrt(fan in)` for the projections (divided by `sqrt(2 * layers)` where they write
    /// into the residual stream, as in GPT-2), ones for the norms.
    pub fn initialise(shape: &DecoderShape, stream: &mut StreamRng, device: &Device) -> Self {
        let residual = 1.0 / (2.0 * shape.layers as f64).sqrt();
        let weights = shape.parameters().map(|(name, dims)| {
            let count: usize = dims.iter().product();
            let fan_in = 1.0 / (dims[0] as f64).sqrt();
            let deviation = match name.rsplit('.').next() {
                Some("norm") => None,
                Some("embedding") => Some(0.02),
                Some("output" | "down") => Some(fan_in * residual),
                _ => Some(fan_in),
            };
            let values = match deviation {
                None => vec![1.0; count],
                Some(deviation) => {
                    let normal = Normal::new(0.0, deviation).expect("deviation is finite");
                    (0..count).map(|_| normal.sample(stream) as f32).collect()
                }
            };
            NamedTensor { name, shape: dims, values }
        });
        let weights: Vec<_> = weights.collect();
        Self::from_weights(shape, &weights, device).expect("the weights were made for this shape")
    }

    /// A decoder holding the given weights (any order, matched by name).
    ///
    /// # Errors
    /// A missing, surplus, repeated or wrongly shaped tensor, or a value that is not finite.
    pub fn from_weights(
        shape: &DecoderShape,
        weights: &[NamedTensor],
        device: &Device,
    ) -> Result<Self, NnError> {
        let malformed = |problem| NnError::Malformed { format: "decoder weights", problem };
        let mut by_name = HashMap::with_capacity(weights.len());
        for tensor in weights {
            if by_name.insert(tensor.name.as_str(), tensor).is_some() {
                return Err(malformed(format!("tensor {} twice", tensor.name)));
            }
        }
        // A shape may claim more tensors than there are: the first one missing ends it.
        let mut found = Vec::with_capacity(weights.len());
        for (name, dims) in shape.parameters() {
            let tensor = by_name
                .remove(name.as_str())
                .ok_or_else(|| malformed(format!("missing tensor {name}")))?;
            if tensor.shape != dims || tensor.values.len() != dims.iter().product::<usize>() {
                let (have, count) = (&tensor.shape, tensor.values.len());
                return Err(malformed(format!(
                    "{name} has shape {have:?} and {count} values, expected {dims:?}"
                )));
            }
            if let Some(at) = tensor.values.iter().position(|v| !v.is_finite()) {
                return Err(malformed(format!("{name}[{at}] = {}", tensor.values[at])));
            }
            found.push(tensor);
        }
        // The first in the order given, so that the error is always the same one.
        if let Some(extra) = weights.iter().find(|w| by_name.contains_key(w.name.as_str())) {
            return Err(malformed(format!("unexpected tensor {}", extra.name)));
        }
        // `found` is in module order, so the module can be filled by taking from the front.
        let mut rest = found.into_iter();
        let mut next = || rest.next().expect("one tensor per parameter");
        Ok(Self {
            embedding: matrix(next(), device),
            blocks: (0..shape.layers)
                .map(|_| Block {
                    attention: Attention {
                        norm: vector(next(), device),
                        query: matrix(next(), device),
                        key: matrix(next(), device),
                        value: matrix(next(), device),
                        output: matrix(next(), device),
                    },
                    feed_forward: FeedForward {
                        norm: vector(next(), device),
                        gate: matrix(next(), device),
                        up: matrix(next(), device),
                        down: matrix(next(), device),
                    },
                })
                .collect(),
            norm: vector(next(), device),
            shape: shape.clone(),
            rotary: Arc::new(Rotary::new(shape.context, shape.head_width() / 2, shape.rotary_base)),
        })
    }

    /// The decoder's sizes.
    #[must_use]
    pub fn shape(&self) -> &DecoderShape {
        &self.shape
    }

    /// The device the weights live on (with autodiff when the decoder is trainable).
    #[must_use]
    pub fn device(&self) -> Device {
        self.norm.val().device()
    }

    /// The weights on the host, in module order.
    #[must_use]
    pub fn weights(&self) -> Vec<NamedTensor> {
        named_tensors(self)
    }

    /// Final hidden states (after the last norm), shape `[sequences, positions, width]`.
    ///
    /// `tokens` has shape `[sequences, positions]`. Attention is causal, so padding on the right of a
    /// sequence changes nothing before it.
    pub fn hidden(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [sequences, positions] = tokens.dims();
        let trees = vec![Tree::sequence(positions); sequences].into();
        let every: Vec<_> = (0..sequences * positions).collect();
        let hidden = self.hidden_at(tokens.reshape([every.len()]), &trees, &every);
        hidden.reshape([sequences, positions, self.shape.width])
    }

    /// Final hidden states of some tokens, the rows `at`, in that order: `[rows, width]`.
    ///
    /// `tokens` has shape `[tokens]`, laid out as `trees`; nothing of the last feed-forward half is computed for
    /// tokens that `at` leaves out.
    ///
    /// # Panics
    /// When `trees` have not as many rows as there are tokens, or `at` names a row that is not there.
    pub fn hidden_at(
        &self,
        tokens: Tensor<1, Int>,
        trees: &Arc<[Tree]>,
        at: &[usize],
    ) -> Tensor<2> {
        let (shape, every) = (&self.shape, at.iter().copied().eq(0..tokens.dims()[0]));
        let mut state = ops::embed(self.embedding.val(), tokens);
        for (layer, block) in self.blocks.iter().enumerate() {
            state = ops::attention(state, &block.attention, &self.rotary, trees, shape);
            if layer + 1 == shape.layers && !every {
                let rows: Vec<_> = at.iter().map(|row| *row as i64).collect();
                let rows = TensorData::new(rows, [at.len()]);
                state = state.select(0, Tensor::from_data(rows, &self.device()));
            }
            state = ops::feed_forward(state, &block.feed_forward, shape.norm_epsilon);
        }
        ops::rms_norm(state, self.norm.val(), shape.norm_epsilon)
    }

    /// Next-token logits, shape `[sequences, positions, vocabulary]`.
    pub fn logits(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.read_out(self.hidden(tokens))
    }

    /// Logits of the tokens that follow final hidden states `[sequences, positions, width]`.
    pub(crate) fn read_out(&self, hidden: Tensor<3>) -> Tensor<3> {
        hidden.matmul(self.embedding.val().transpose().unsqueeze())
    }

    /// Log-probability of `targets` `[rows]` and entropy, both at `temperature`, from the final hidden states
    /// that predict them: the rows `at` `[rows]` of `hidden` `[tokens, width]`.
    pub fn score_hidden(
        &self,
        hidden: Tensor<2>,
        at: Tensor<1, Int>,
        targets: Tensor<1, Int>,
        temperature: f64,
    ) -> TokenScores {
        ops::token_scores(hidden, at, self.embedding.val(), targets, temperature)
    }

    /// The weights where the kernels can read them: borrowed on the CPU backend, copied from others.
    pub(crate) fn on_host(&self) -> HostDecoder {
        let vector = |param: &Param<Tensor<1>>| HostTensor::of(&param.val().inner());
        let matrix = |param: &Param<Tensor<2>>| HostTensor::of(&param.val().inner());
        HostDecoder {
            shape: self.shape.clone(),
            rotary: Arc::clone(&self.rotary),
            embedding: matrix(&self.embedding),
            blocks: self
                .blocks
                .iter()
                .map(|Block { attention: a, feed_forward: f }| {
                    let attention = [&a.query, &a.key, &a.value, &a.output].map(matrix);
                    let feed_forward = [&f.gate, &f.up, &f.down].map(matrix);
                    ([vector(&a.norm), vector(&f.norm)], attention, feed_forward)
                })
                .collect(),
            norm: vector(&self.norm),
        }
    }
}

/// A decoder's weights on the host. Drop it before an optimiser step, which would copy what is still held.
pub(crate) struct HostDecoder {
    pub(crate) shape: DecoderShape,
    rotary: Arc<Rotary>,
    embedding: HostTensor,
    /// Norms; query, key, value, output; gate, up, down.
    blocks: Vec<([HostTensor; 2], [HostTensor; 4], [HostTensor; 3])>,
    norm: HostTensor,
}

impl HostDecoder {
    pub(crate) fn weights(&self) -> DecoderWeights<'_> {
        let blocks = self.blocks.iter().map(|(norms, attention, feed_forward)| {
            let [query, key, value, output] = attention.each_ref().map(HostTensor::values);
            let [gate, up, down] = feed_forward.each_ref().map(HostTensor::values);
            let [norm, second_norm] = norms.each_ref().map(HostTensor::values);
            let epsilon = self.shape.norm_epsilon as f32;
            (
                AttentionWeights { norm, query, key, value, output },
                FeedForwardWeights { norm: second_norm, gate, up, down, epsilon },
            )
        });
        DecoderWeights {
            shape: self.shape.attention(),
            rotary: &self.rotary,
            embedding: self.embedding.values(),
            blocks: blocks.collect(),
            norm: self.norm.values(),
        }
    }
}

fn matrix(tensor: &NamedTensor, device: &Device) -> Param<Tensor<2>> {
    Param::from_data(TensorData::new(tensor.values.clone(), tensor.shape.clone()), device)
}

fn vector(tensor: &NamedTensor, device: &Device) -> Param<Tensor<1>> {
    Param::from_data(TensorData::new(tensor.values.clone(), tensor.shape.clone()), device)
}
