//! Sizes of a decoder.

use headwater_core::{Check, ConfigError, require};
use headwater_kernels::AttentionShape;
use serde::{Deserialize, Serialize};

/// More than any machine holds.
const MOST_PARAMETERS: usize = 1 << 48;

/// Rotary angles that a decoder may have however small it is.
const LEAST_ANGLES: usize = 1 << 22;

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
    /// Longest sequence, in tokens. Its rotary angles, `context * head width / 2`, are at most
    /// 2^22, or as many as there are parameters.
    pub context: usize,
    /// Base of the rotary frequencies; finite, above 1.
    pub rotary_base: f64,
    /// Added to the mean square in RMS norm; a number of f32's normal range above 0.
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
            self.width > 0 && self.width.is_multiple_of(self.heads.saturating_mul(2)),
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
        require(
            (epsilon as f32).is_normal() && epsilon > 0.0,
            "DecoderConfig",
            "norm_epsilon",
            epsilon,
            "a number from 1.2e-38 to 3.4e38",
        )?;
        let context = self.context;
        let shape = DecoderShape(self);
        let parameters = shape.parameter_count();
        // What sizes a file claims is to be seen before anything is made of that size.
        require(
            parameters <= MOST_PARAMETERS,
            "DecoderConfig",
            "number of parameters",
            parameters,
            "at most 2^48",
        )?;
        require(
            context.saturating_mul(shape.head_width() / 2) <= parameters.max(LEAST_ANGLES),
            "DecoderConfig",
            "context",
            context,
            "so many that context * head width / 2 is at most 2^22 or the number of parameters",
        )?;
        Ok(shape)
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
    pub fn parameters(&self) -> impl Iterator<Item = (String, Vec<usize>)> + '_ {
        let blocks = (0..self.layers).flat_map(|layer| {
            let block = self.block().into_iter();
            block.map(move |(name, shape)| (format!("blocks.{layer}.{name}"), shape))
        });
        let first = ("embedding".to_string(), vec![self.vocabulary, self.width]);
        let last = ("norm".to_string(), vec![self.width]);
        std::iter::once(first).chain(blocks).chain([last])
    }

    /// Name and shape of every parameter of a block.
    fn block(&self) -> [(&'static str, Vec<usize>); 9] {
        let (width, hidden, key_value) = (self.width, self.hidden, self.key_value_width());
        [
            ("attention.norm", vec![width]),
            ("attention.query", vec![width, width]),
            ("attention.key", vec![width, key_value]),
            ("attention.value", vec![width, key_value]),
            ("attention.output", vec![width, width]),
            ("feed_forward.norm", vec![width]),
            ("feed_forward.gate", vec![width, hidden]),
            ("feed_forward.up", vec![width, hidden]),
            ("feed_forward.down", vec![hidden, width]),
        ]
    }

    /// Number of scalar parameters, the largest `usize` where it is larger than that.
    #[must_use]
    pub fn parameter_count(&self) -> usize {
        let product = |shape: &[usize]| shape.iter().fold(1, |n: usize, d| n.saturating_mul(*d));
        let sizes = self.block().map(|(_, shape)| product(&shape));
        let block = sizes.into_iter().fold(0, usize::saturating_add);
        product(&[self.vocabulary, self.width])
            .saturating_add(self.layers.saturating_mul(block))
            .saturating_add(self.width)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_that_of_the_parameters() {
        let config = DecoderConfig { heads: 4, key_value_heads: 2, ..DecoderConfig::default() };
        let shape = config.check().unwrap();
        let sizes = shape.parameters().map(|(_, shape)| shape.iter().product::<usize>());
        assert_eq!(shape.parameter_count(), sizes.sum::<usize>());
    }

    #[test]
    fn claims_that_nothing_could_hold_are_refused_without_holding_them() {
        let refused = |config: DecoderConfig, wanted: &str| {
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("DecoderConfig.{wanted}")), "{error}");
        };
        let fine = DecoderConfig::default();
        refused(DecoderConfig { vocabulary: usize::MAX, ..fine.clone() }, "number of parameters");
        refused(DecoderConfig { hidden: 1 << 60, ..fine.clone() }, "number of parameters");
        refused(DecoderConfig { layers: usize::MAX, ..fine.clone() }, "number of parameters");
        refused(DecoderConfig { heads: usize::MAX, ..fine.clone() }, "width");
        refused(DecoderConfig { context: usize::MAX, ..fine.clone() }, "context");
        refused(DecoderConfig { context: 1 << 20, ..fine.clone() }, "context");
        for epsilon in [0.0, -1e-5, 1e-60, 1e60, f64::NAN, f64::INFINITY] {
            refused(DecoderConfig { norm_epsilon: epsilon, ..fine.clone() }, "norm_epsilon");
        }
        for base in [1.0, f64::NAN, f64::INFINITY] {
            refused(DecoderConfig { rotary_base: base, ..fine.clone() }, "rotary_base");
        }
    }
}
