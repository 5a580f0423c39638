//! One vector for all parameters: where each tensor lies, and what it starts as.

use std::ops::Range;

use headwater_core::StreamRng;
use rand_distr::{Distribution, StandardNormal};

/// Hands out ranges of one vector of parameters, one after another.
///
/// What is laid out in one vector is updated by one call of the optimiser, whatever it belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    length: usize,
}

impl Layout {
    /// The next `count` parameters.
    pub fn reserve(&mut self, count: usize) -> Range<usize> {
        let start = self.length;
        self.length += count;
        start..self.length
    }

    /// Parameters handed out.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.length
    }
}

/// In which precision a normal draw is scaled. The two differ in the last bit of some weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// In f64, then rounded.
    Double,
    /// Rounded, then scaled in f32.
    Single,
}

/// What weights start as: normal with mean 0 and variance gain / inputs of a unit. Biases start at
/// 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Initial {
    /// The gain of layers without activation, at least 0; it is 2 before a ReLU (He et al. 2015).
    pub linear_gain: f64,
    /// Of the draws.
    pub precision: Precision,
}

impl Default for Initial {
    /// Gain 1, in double precision.
    fn default() -> Self {
        Self { linear_gain: 1.0, precision: Precision::Double }
    }
}

impl Initial {
    /// Draws all of `weights` in order, with this variance.
    pub fn fill(&self, weights: &mut [f32], variance: f64, rng: &mut StreamRng) {
        match self.precision {
            Precision::Double => {
                let scale = variance.sqrt();
                weights.fill_with(|| {
                    let normal: f64 = StandardNormal.sample(rng);
                    (scale * normal) as f32
                });
            }
            Precision::Single => {
                let scale = (variance as f32).sqrt();
                weights.fill_with(|| {
                    let normal: f32 = StandardNormal.sample(rng);
                    scale * normal
                });
            }
        }
    }
}
