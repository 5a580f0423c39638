//! InfoRM's information bottleneck (Miao et al. 2024, arXiv 2402.09345): the score is read off a noisy latent
//! code whose divergence from a standard normal is penalised.
//!
//! The divergence is taken for each dimension and summed, as in the paper's objective. The authors' code averages
//! mean and log-variance over dimensions first and takes one divergence of the averages, a far weaker penalty.

use headwater_core::{ConfigError, require, require_non_negative};
use serde::{Deserialize, Serialize};

/// Size and strength of the bottleneck.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BottleneckConfig {
    /// Dimensions of the latent code, 1 or more.
    pub dimensions: usize,
    /// Weight of the divergence (beta), 0 or more.
    pub weight: f64,
}

impl Default for BottleneckConfig {
    fn default() -> Self {
        Self { dimensions: 16, weight: 0.1 }
    }
}

impl BottleneckConfig {
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let name = "BottleneckConfig";
        require(self.dimensions > 0, name, "dimensions", self.dimensions, "1 or more")?;
        require_non_negative(name, "weight", self.weight)
    }
}

/// KL(N(mu, sigma^2) || N(0, 1)) of one latent dimension, `(mu^2 + sigma^2 - 1 - log sigma^2) / 2` in nats, and
/// its derivatives with respect to `mean` and `log_variance`.
#[must_use]
pub fn divergence_from_standard_normal(mean: f64, log_variance: f64) -> (f64, [f64; 2]) {
    let variance = log_variance.exp();
    let value = 0.5 * (mean * mean + variance - 1.0 - log_variance);
    (value, [mean, 0.5 * (variance - 1.0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_and_slopes() {
        assert_eq!(divergence_from_standard_normal(0.0, 0.0), (0.0, [0.0, 0.0]));
        let (value, slopes) = divergence_from_standard_normal(1.0, 4.0f64.ln());
        assert!((value - 0.5 * (4.0 - 4.0f64.ln())).abs() < 1e-12);
        assert!((slopes[0] - 1.0).abs() < 1e-12 && (slopes[1] - 1.5).abs() < 1e-12);
    }
}
