//! Checkpoints: a decoder's shape and weights as safetensors bytes.

use std::collections::HashMap;

use headwater_core::Check;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::shape::{DecoderConfig, DecoderShape};
use crate::weights::NamedTensor;
use crate::{Decoder, Device, NnError};

const FORMAT: &str = "safetensors checkpoint";
const CONFIG_KEY: &str = "headwater_decoder_config";

/// A decoder at rest: everything needed to rebuild it on any device.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The decoder's sizes.
    pub shape: DecoderShape,
    /// Its weights in module order.
    pub weights: Vec<NamedTensor>,
}

impl Checkpoint {
    /// The present state of a decoder.
    #[must_use]
    pub fn of(decoder: &Decoder) -> Self {
        Self { shape: decoder.shape().clone(), weights: decoder.weights() }
    }

    /// The decoder on `device`; on `device.autodiff()` it is trainable.
    ///
    /// # Errors
    /// Weights that do not fit the shape.
    pub fn decoder(&self, device: &Device) -> Result<Decoder, NnError> {
        Decoder::from_weights(&self.shape, &self.weights, device)
    }

    /// Safetensors bytes: the weights as f32, the config in the metadata. Equal checkpoints give equal
    /// bytes.
    ///
    /// # Panics
    /// Never for a checkpoint taken from a decoder: its names are distinct and its shapes fit.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let config = serde_json::to_string(&self.shape).expect("a config is plain numbers");
        tensors_to_bytes(&self.weights, HashMap::from([(CONFIG_KEY.to_string(), config)]))
    }

    /// Reads [`Checkpoint::to_bytes`] back.
    ///
    /// # Errors
    /// Truncated or foreign bytes, a missing or invalid config, tensors that do not fit it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NnError> {
        let (weights, metadata) = tensors_from_bytes(bytes)?;
        let config = metadata
            .get(CONFIG_KEY)
            .ok_or_else(|| malformed(format!("no {CONFIG_KEY} in the metadata")))?;
        let config: DecoderConfig = serde_json::from_str(config)
            .map_err(|error| malformed(format!("{CONFIG_KEY}: {error}")))?;
        let shape = config.check().map_err(|error| malformed(error.to_string()))?;
        // Building it once checks every name, shape and value; module order also fixes the bytes.
        let decoder = Decoder::from_weights(&shape, &weights, &Device::flex())?;
        Ok(Self::of(&decoder))
    }
}

fn malformed(problem: String) -> NnError {
    NnError::Malformed { format: FORMAT, problem }
}

/// Named byte strings in one safetensors file, for states made of several parts.
///
/// # Panics
/// When two sections share a name.
#[must_use]
pub fn pack(sections: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let views = sections.iter().map(|(name, bytes)| {
        let view = TensorView::new(Dtype::U8, vec![bytes.len()], bytes);
        (*name, view.expect("bytes fill their own length"))
    });
    safetensors::serialize(views, None).expect("names are distinct")
}

/// One section of [`pack`].
///
/// # Errors
/// Bytes that are no such file, or that lack the section.
pub fn unpack(bytes: &[u8], name: &str) -> Result<Vec<u8>, NnError> {
    let sections = SafeTensors::deserialize(bytes).map_err(|error| malformed(error.to_string()))?;
    let section = sections.tensor(name).map_err(|_| malformed(format!("no section {name}")))?;
    Ok(section.data().to_vec())
}

/// One section of [`pack`] that holds numbers: little-endian f32, all finite.
///
/// # Errors
/// As [`unpack`]; a section that is not a whole number of them, or holds NaN or infinity.
pub fn unpack_values(bytes: &[u8], name: &str) -> Result<Vec<f32>, NnError> {
    let section = unpack(bytes, name)?;
    let (words, rest) = section.as_chunks::<4>();
    if !rest.is_empty() {
        let problem = format!("section {name} has {} bytes, not a multiple of 4", section.len());
        return Err(malformed(problem));
    }
    let values: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(at) => Err(malformed(format!("section {name}: value {at} = {}", values[at]))),
    }
}

/// Named f32 tensors and string metadata as safetensors bytes.
pub(crate) fn tensors_to_bytes(
    tensors: &[NamedTensor],
    metadata: HashMap<String, String>,
) -> Vec<u8> {
    let raw: Vec<Vec<u8>> =
        tensors.iter().map(|t| t.values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&raw).map(|(tensor, raw)| {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), raw);
        (tensor.name.clone(), view.expect("values fill the shape"))
    });
    safetensors::serialize(views, Some(metadata)).expect("names are distinct")
}

/// The inverse of [`tensors_to_bytes`].
pub(crate) fn tensors_from_bytes(
    bytes: &[u8],
) -> Result<(Vec<NamedTensor>, HashMap<String, String>), NnError> {
    let (_, header) =
        SafeTensors::read_metadata(bytes).map_err(|error| malformed(error.to_string()))?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| malformed(error.to_string()))?;
    let mut named = Vec::new();
    for (name, view) in tensors.tensors() {
        if view.dtype() != Dtype::F32 {
            return Err(malformed(format!("{name} has type {:?}, expected F32", view.dtype())));
        }
        let words = view.data().chunks_exact(4);
        let values = words.map(|w| f32::from_le_bytes([w[0], w[1], w[2], w[3]])).collect();
        named.push(NamedTensor { name, shape: view.shape().to_vec(), values });
    }
    Ok((named, header.metadata().clone().unwrap_or_default()))
}
