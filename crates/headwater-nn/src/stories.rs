//! The published `stories260K` model and its 512-token vocabulary (Karpathy, llama2.c, legacy format).

use std::collections::HashMap;

use headwater_core::Check;

use crate::shape::{DecoderConfig, DecoderShape};
use crate::weights::NamedTensor;
use crate::{Checkpoint, NnError};

const MODEL: &str = "llama2.c model";
const TOKENIZER: &str = "llama2.c tokenizer";

/// Reads a llama2.c model (version 0: seven little-endian i32 of header, then f32 arrays) into this
/// crate's decoder.
///
/// Matrices are transposed to `[in, out]`; query and key rows are permuted from interleaved rotary pairs
/// (2i, 2i+1) to the halves (i, i + half) the decoder rotates, which leaves every attention score as it
/// was.
///
/// # Errors
/// A header that is no valid shape, an untied output head, or a length that does not match the header.
pub fn read_model(bytes: &[u8]) -> Result<Checkpoint, NnError> {
    let malformed = |problem: String| NnError::Malformed { format: MODEL, problem };
    let header: Vec<i32> = bytes
        .chunks_exact(4)
        .take(7)
        .map(|w| i32::from_le_bytes([w[0], w[1], w[2], w[3]]))
        .collect();
    if header.len() < 7 {
        return Err(malformed(format!("{} bytes, the header alone has 28", bytes.len())));
    }
    if let Some(at) = header.iter().position(|v| *v <= 0 || *v > 1 << 20) {
        let problem = format!("header field {at} = {}: allowed is 1 to {}", header[at], 1 << 20);
        return Err(malformed(problem));
    }
    let [width, hidden, layers, heads, key_value_heads, vocabulary, context] =
        std::array::from_fn(|i| header[i] as usize);
    let config = DecoderConfig {
        vocabulary,
        width,
        layers,
        heads,
        key_value_heads,
        hidden,
        context,
        rotary_base: 10_000.0,
        norm_epsilon: 1e-5,
    };
    let shape = config.check().map_err(|error| malformed(error.to_string()))?;
    let unused_rotary = context.saturating_mul(shape.head_width());
    let floats = shape.parameter_count().saturating_add(unused_rotary);
    let expected = floats.saturating_mul(4).saturating_add(28);
    if bytes.len() != expected {
        let problem = format!("{} bytes, the header announces {expected}", bytes.len());
        return Err(malformed(problem));
    }
    let floats: Vec<f32> =
        bytes[28..].chunks_exact(4).map(|w| f32::from_le_bytes([w[0], w[1], w[2], w[3]])).collect();
    let weights = arrange(&shape, &floats);
    let decoder = crate::Decoder::from_weights(&shape, &weights, &crate::Device::flex())?;
    Ok(Checkpoint::of(&decoder))
}

/// The file's arrays (each kind stacked over layers) as the decoder's named tensors.
fn arrange(shape: &DecoderShape, floats: &[f32]) -> Vec<NamedTensor> {
    let (width, hidden, key_value) = (shape.width, shape.hidden, shape.key_value_width());
    let mut rest = floats;
    let mut take = |count: usize| {
        let (head, tail) = rest.split_at(count);
        rest = tail;
        head
    };
    let mut tensors = vec![NamedTensor {
        name: "embedding".into(),
        shape: vec![shape.vocabulary, width],
        values: take(shape.vocabulary * width).to_vec(),
    }];
    // (name, inputs, outputs); zero inputs marks a vector. The order is the file's.
    let kinds = [
        ("attention.norm", 0, width),
        ("attention.query", width, width),
        ("attention.key", width, key_value),
        ("attention.value", width, key_value),
        ("attention.output", width, width),
        ("feed_forward.norm", 0, width),
        ("feed_forward.gate", width, hidden),
        ("feed_forward.down", hidden, width),
        ("feed_forward.up", width, hidden),
    ];
    for (kind, inputs, outputs) in kinds {
        for layer in 0..shape.layers {
            let name = format!("blocks.{layer}.{kind}");
            if inputs == 0 {
                let values = take(outputs).to_vec();
                tensors.push(NamedTensor { name, shape: vec![outputs], values });
                continue;
            }
            let rotary = kind == "attention.query" || kind == "attention.key";
            let head_width = rotary.then(|| shape.head_width());
            let values = transpose(take(inputs * outputs), inputs, outputs, head_width);
            tensors.push(NamedTensor { name, shape: vec![inputs, outputs], values });
        }
    }
    tensors.push(NamedTensor {
        name: "norm".into(),
        shape: vec![width],
        values: take(width).to_vec(),
    });
    tensors
}

/// `[out][in]` to `[in][out]`, moving output 2i of a head to i and 2i+1 to i + half where asked.
fn transpose(
    matrix: &[f32],
    inputs: usize,
    outputs: usize,
    rotary_head_width: Option<usize>,
) -> Vec<f32> {
    let mut transposed = vec![0.0; matrix.len()];
    for from in 0..outputs {
        let to = match rotary_head_width {
            None => from,
            Some(head_width) => {
                let (head, within) = (from / head_width, from % head_width);
                head * head_width + within / 2 + (within % 2) * (head_width / 2)
            }
        };
        for input in 0..inputs {
            transposed[input * outputs + to] = matrix[from * inputs + input];
        }
    }
    transposed
}

/// A sentencepiece-style byte-pair vocabulary: the merge of highest score first, bytes as a fallback.
#[derive(Debug, Clone)]
pub struct StoriesTokenizer {
    pieces: Vec<Vec<u8>>,
    scores: Vec<f32>,
    ids: HashMap<Vec<u8>, u32>,
}

/// First of the 256 byte tokens.
const FIRST_BYTE: u32 = 3;

impl StoriesTokenizer {
    /// Reads a llama2.c tokenizer: i32 longest piece, then per token f32 score, i32 length, bytes.
    ///
    /// # Errors
    /// A file that ends inside a token, has a score that is not finite, or has fewer tokens than
    /// the special and byte tokens need.
    pub fn read(bytes: &[u8]) -> Result<Self, NnError> {
        let malformed = |problem: String| NnError::Malformed { format: TOKENIZER, problem };
        let word = |at: usize| -> Option<[u8; 4]> { bytes.get(at..at + 4)?.try_into().ok() };
        let cut = |at: usize| malformed(format!("ends inside a token, at byte {at}"));
        let (mut pieces, mut scores) = (Vec::new(), Vec::new());
        let mut at = 4;
        while at < bytes.len() {
            let score = word(at).map(f32::from_le_bytes).ok_or_else(|| cut(at))?;
            let length = word(at + 4).map(i32::from_le_bytes).ok_or_else(|| cut(at))?;
            let end = usize::try_from(length).ok().and_then(|l| (at + 8).checked_add(l));
            let piece = end.and_then(|end| bytes.get(at + 8..end)).ok_or_else(|| cut(at))?;
            if !score.is_finite() {
                let token = pieces.len();
                return Err(malformed(format!("score {score} of token {token}, at byte {at}")));
            }
            pieces.push(piece.to_vec());
            scores.push(score);
            at += 8 + piece.len();
        }
        if pieces.len() < FIRST_BYTE as usize + 256 {
            return Err(malformed(format!("{} tokens, at least 259 are needed", pieces.len())));
        }
        let mut ids = HashMap::new();
        for (id, piece) in pieces.iter().enumerate() {
            ids.entry(piece.clone()).or_insert(id as u32);
        }
        Ok(Self { pieces, scores, ids })
    }

    /// The bytes that [`StoriesTokenizer::read`] reads.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let longest = self.pieces.iter().map(Vec::len).max().unwrap_or(0);
        let mut bytes = (longest as i32).to_le_bytes().to_vec();
        for (piece, score) in self.pieces.iter().zip(&self.scores) {
            bytes.extend(score.to_le_bytes());
            bytes.extend((piece.len() as i32).to_le_bytes());
            bytes.extend(piece);
        }
        bytes
    }

    /// Number of tokens.
    #[must_use]
    pub fn size(&self) -> usize {
        self.pieces.len()
    }

    /// Token ids of `text` without the start token. As in sentencepiece a space is put before the text.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<u32> {
        if text.is_empty() {
            return Vec::new();
        }
        let mut ids: Vec<u32> = Vec::new();
        for character in std::iter::once(' ').chain(text.chars()) {
            let mut buffer = [0; 4];
            let piece = character.encode_utf8(&mut buffer).as_bytes();
            match self.ids.get(piece) {
                Some(id) => ids.push(*id),
                None => ids.extend(piece.iter().map(|byte| u32::from(*byte) + FIRST_BYTE)),
            }
        }
        while let Some((at, merged)) = self.best_merge(&ids) {
            ids[at] = merged;
            ids.remove(at + 1);
        }
        ids
    }

    /// The adjacent pair whose merge has the highest score (the first one on a tie).
    fn best_merge(&self, ids: &[u32]) -> Option<(usize, u32)> {
        let mut best: Option<(usize, u32)> = None;
        for at in 0..ids.len().saturating_sub(1) {
            let mut pair = self.pieces[ids[at] as usize].clone();
            pair.extend_from_slice(&self.pieces[ids[at + 1] as usize]);
            let Some(merged) = self.ids.get(&pair) else { continue };
            let score = self.scores[*merged as usize];
            if best.is_none_or(|(_, id)| score > self.scores[id as usize]) {
                best = Some((at, *merged));
            }
        }
        best
    }

    /// The text of `ids`; the start and end tokens (1 and 2) are left out, and the space put before the
    /// text by [`StoriesTokenizer::encode`] is taken off again.
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::new();
        for id in ids {
            match self.pieces.get(*id as usize) {
                Some(_) if *id < FIRST_BYTE => {}
                Some(_) if *id < FIRST_BYTE + 256 => bytes.push((*id - FIRST_BYTE) as u8),
                Some(piece) => bytes.extend_from_slice(piece),
                None => {}
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.strip_prefix(' ').map(str::to_string).unwrap_or(text)
    }
}
