//! Sizes of a decoder.

use headwater_core::{Check, ConfigError, require, require_positive};
use headwater_kernels::AttentionShape;
use serde::{Deserialize, Serialize};

/// Sizes of a decoder, unchecked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecoderConfig {
    /// Number of tokens in the vocabulary, at least 2.
    pub vocabulary: usize,
    /// Width of the residual stream; a multiple of `heads` with an even head width.
    pub width: usize,
    /// Number of blocks, at least 1.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub key_value_heads: usize,
    /// Hidden width of the feed-forward half.
    pub hidden: usize,
    /// Longest sequence, in tokens.
    pub context: usize,
    /// Base of the rotary frequencies.
    pub rotary_base: f64,
    /// Added to the mean square in RMS norm.
    pub norm_epsilon: f64,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self {
            vocabulary: 32,
            width: 32,
            layers: 2,
            heads: 2,
            key_value_heads: 2,
            hidden: 96,
            context: 64,
            rotary_base: 10_000.0,
            norm_epsilon: 1e-5,
        }
    }
}

/// A checked [`DecoderConfig`]; reads like the config it came from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecoderShape(DecoderConfig);

impl std::ops::Deref for DecoderShape {
    type Target = DecoderConfig;

    fn deref(&self) -> &DecoderConfig {
        &self.0
    }
}

impl Check for DecoderConfig {
    type Checked = DecoderShape;

    fn check(self) -> Result<DecoderShape, ConfigError> {
        let positive = |value: usize, field, at_least: usize, allowed| {
            require(value >= at_least, "DecoderConfig", field, value, allowed)
        };
        positive(self.vocabulary, "vocabulary", 2, "2 or more")?;
        positive(self.layers, "layers", 1, "1 or more")?;
        positive(self.heads, "heads", 1, "1 or more")?;
        positive(self.hidden, "hidden", 1, "1 or more")?;
        positive(self.context, "context", 1, "1 or more")?;
        require(
            self.width > 0 && self.width.is_multiple_of(2 * self.heads),
            "DecoderConfig",
            "width",
            self.width,
            "a positive multiple of twice the number of heads",
        )?;
        require(
            self.key_value_heads > 0 && self.heads.is_multiple_of(self.key_value_heads),
            "DecoderConfig",
            "key_value_heads",
            self.key_value_heads,
            "a positive divisor of heads",
        )?;
        let base = self.rotary_base;
        require(
            base.is_finite() && base > 1.0,
            "DecoderConfig",
            "rotary_base",
            base,
            "a finite number above 1",
        )?;
        let epsilon = self.norm_epsilon;
        require_positive("DecoderConfig", "norm_epsilon", epsilon)?;
        Ok(DecoderShape(self))
    }
}

impl DecoderShape {
    /// Width of one head.
    #[must_use]
    pub fn head_width(&self) -> usize {
        self.width / self.heads
    }

    /// Width of the keys (and of the values) of all heads together.
    #[must_use]
    pub fn key_value_width(&self) -> usize {
        self.head_width() * self.key_value_heads
    }

    /// Name and shape of every parameter, in module order.
    #[must_use]
    pub fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        let (width, hidden, key_value) = (self.width, self.hidden, self.key_value_width());
        let mut all = vec![("embedding".to_string(), vec![self.vocabulary, width])];
        for layer in 0..self.layers {
            let block: [(&str, Vec<usize>); 9] = [
                ("attention.norm", vec![width]),
                ("attention.query", vec![width, width]),
                ("attention.key", vec![width, key_value]),
                ("attention.value", vec![width, key_value]),
                ("attention.output", vec![width, width]),
                ("feed_forward.norm", vec![width]),
                ("feed_forward.gate", vec![width, hidden]),
                ("feed_forward.up", vec![width, hidden]),
                ("feed_forward.down", vec![hidden, width]),
            ];
            all.extend(block.map(|(name, shape)| (format!("blocks.{layer}.{name}"), shape)));
        }
        all.push(("norm".to_string(), vec![width]));
        all
    }

    /// Number of scalar parameters.
    #[must_use]
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// The same sizes for the kernels.
    pub(crate) fn attention(&self) -> AttentionShape {
        AttentionShape {
            width: self.width,
            heads: self.heads,
            key_value_heads: self.key_value_heads,
            epsilon: self.norm_epsilon as f32,
        }
    }
}
