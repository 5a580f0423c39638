//! Encoders: how a prompt and a response become the vector a head scores.

use std::sync::Arc;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Tensor, TensorData};
use headwater_core::{BOS, Check, Streams};
use headwater_nn::ops::{self, SparseRows, Tree};
use headwater_nn::stories::StoriesTokenizer;
use headwater_nn::{Checkpoint, Decoder, DecoderShape, NnError, pack, unpack};

use crate::{BagOfWords, BagOfWordsConfig, RewardModelError, SparseFeatures, WordVocabulary};

/// Turns texts into vectors. Implement it to put another body under [`crate::RewardModel`].
pub trait Encoder: Module + ModuleDisplay {
    /// A text after the work that does not depend on weights.
    type Input: Clone;

    /// Dimensions of the vectors.
    fn width(&self) -> usize;

    /// Reads a response in the light of its prompt.
    fn input(&self, prompt: &str, response: &str) -> Self::Input;

    /// The inputs' vectors times `weights` `[width, channels]`: `[inputs, channels]`, on the weights' device.
    ///
    /// # Errors
    /// An input that does not fit the body.
    fn project(
        &self,
        inputs: &[&Self::Input],
        weights: Tensor<2>,
    ) -> Result<Tensor<2>, RewardModelError>;

    /// Everything that is needed to rebuild it.
    fn to_bytes(&self) -> Vec<u8>;

    /// An encoder from [`Encoder::to_bytes`]; `device` with autodiff if it is to be trained.
    ///
    /// # Errors
    /// Bytes of another kind of encoder, or truncated ones.
    fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self, RewardModelError>;
}

/// Hashed words without weights of their own: a head on them is a linear model.
#[derive(Module, Debug)]
pub struct HashedWords {
    #[module(skip)]
    bag: BagOfWords,
}

impl HashedWords {
    /// The features of `bag`.
    #[must_use]
    pub fn new(bag: BagOfWords) -> Self {
        Self { bag }
    }
}

impl Encoder for HashedWords {
    type Input = SparseFeatures;

    fn width(&self) -> usize {
        self.bag.config().buckets as usize
    }

    fn input(&self, prompt: &str, response: &str) -> SparseFeatures {
        self.bag.features(prompt, response)
    }

    fn project(
        &self,
        inputs: &[&SparseFeatures],
        weights: Tensor<2>,
    ) -> Result<Tensor<2>, RewardModelError> {
        let rows = SparseRows::new(inputs.iter().map(|input| input.as_slice()));
        Ok(ops::sparse_matmul(rows, weights))
    }

    fn to_bytes(&self) -> Vec<u8> {
        let bag = serde_json::to_vec(self.bag.config()).expect("plain numbers and names");
        pack(&[("hashed words", bag)])
    }

    fn from_bytes(bytes: &[u8], _device: &Device) -> Result<Self, RewardModelError> {
        let malformed = |problem| NnError::Malformed { format: "hashed-words encoder", problem };
        let config: BagOfWordsConfig = serde_json::from_slice(&unpack(bytes, "hashed words")?)
            .map_err(|error| malformed(error.to_string()))?;
        Ok(Self { bag: config.check().map_err(|error| malformed(error.to_string()))? })
    }
}

/// How text becomes tokens.
#[derive(Debug, Clone)]
pub enum Tokens {
    /// Frequent words, prompt and response parted by a separator.
    Words(WordVocabulary),
    /// The byte pairs of the published `stories260K` model: start token, prompt, response.
    Stories(Arc<StoriesTokenizer>),
}

/// A decoder; a text's vector is the hidden state at its last token.
#[derive(Module, Debug)]
pub struct DecoderEncoder {
    body: Decoder,
    #[module(skip)]
    tokens: Tokens,
}

impl DecoderEncoder {
    /// A body with fresh weights on `device`.
    #[must_use]
    pub fn initialise(
        shape: &DecoderShape,
        tokens: Tokens,
        streams: &Streams,
        device: &Device,
    ) -> Self {
        let body = Decoder::initialise(shape, &mut streams.stream("weights", &[]), device);
        Self { body, tokens }
    }

    /// An existing body, say a pretrained one.
    #[must_use]
    pub fn new(body: Decoder, tokens: Tokens) -> Self {
        Self { body, tokens }
    }
}

impl Encoder for DecoderEncoder {
    type Input = Vec<u32>;

    fn width(&self) -> usize {
        self.body.shape().width
    }

    fn input(&self, prompt: &str, response: &str) -> Vec<u32> {
        match &self.tokens {
            Tokens::Words(vocabulary) => vocabulary.encode(prompt, response),
            Tokens::Stories(tokenizer) => {
                // Where both are too long, the prompt loses its start, as words do.
                let mut response = tokenizer.encode(response);
                response.truncate(self.body.shape().context - 1);
                let prompt = tokenizer.encode(prompt);
                let room = (self.body.shape().context - 1 - response.len()).min(prompt.len());
                let mut tokens = vec![BOS];
                tokens.extend(&prompt[prompt.len() - room..]);
                tokens.append(&mut response);
                tokens
            }
        }
    }

    fn project(
        &self,
        inputs: &[&Vec<u32>],
        weights: Tensor<2>,
    ) -> Result<Tensor<2>, RewardModelError> {
        let device = &weights.device();
        let shape = self.body.shape();
        let (mut tokens, mut last) = (Vec::new(), Vec::with_capacity(inputs.len()));
        for input in inputs {
            if input.is_empty() || input.len() > shape.context {
                let allowed = format!("1 to {}", shape.context);
                return Err(NnError::Length { what: "input", length: input.len(), allowed }.into());
            }
            for (position, token) in input.iter().enumerate() {
                if *token as usize >= shape.vocabulary {
                    let last = shape.vocabulary - 1;
                    return Err(NnError::Token { token: *token, position, last }.into());
                }
                tokens.push(i64::from(*token));
            }
            last.push(tokens.len() - 1);
        }
        let trees = inputs.iter().map(|input| Tree::sequence(input.len())).collect();
        let count = tokens.len();
        let tokens = Tensor::from_data(TensorData::new(tokens, [count]), device);
        let hidden = self.body.hidden_at(tokens, &trees, &last);
        Ok(hidden.matmul(weights))
    }

    fn to_bytes(&self) -> Vec<u8> {
        let tokens = match &self.tokens {
            Tokens::Words(vocabulary) => {
                ("words", serde_json::to_vec(vocabulary).expect("words and numbers"))
            }
            Tokens::Stories(tokenizer) => ("stories", tokenizer.to_bytes()),
        };
        pack(&[("body", Checkpoint::of(&self.body).to_bytes()), tokens])
    }

    fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self, RewardModelError> {
        let body = Checkpoint::from_bytes(&unpack(bytes, "body")?)?.decoder(device)?;
        let tokens = match unpack(bytes, "words") {
            Ok(words) => {
                let malformed = |error: serde_json::Error| NnError::Malformed {
                    format: "decoder encoder",
                    problem: error.to_string(),
                };
                Tokens::Words(serde_json::from_slice(&words).map_err(malformed)?)
            }
            Err(_) => {
                let tokenizer = StoriesTokenizer::read(&unpack(bytes, "stories")?)?;
                Tokens::Stories(Arc::new(tokenizer))
            }
        };
        Ok(Self { body, tokens })
    }
}
