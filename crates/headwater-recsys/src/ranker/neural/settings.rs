//! Settings of the neural ranker, and the shape of what it ranks.

use std::ops::Deref;

use headwater_core::{Check, ConfigError, require, require_positive};
use serde::{Deserialize, Serialize};

use crate::log::{Head, Log};
use crate::ranker::architecture::{Architecture, NetworkConfig};
use crate::ranker::heads::HeadConfig;
use crate::ranker::position::PositionConfig;
use crate::world::{Catalogue, World};

/// Settings of a [`crate::NeuralRanker`], unchecked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NeuralRankerConfig {
    /// The network.
    pub network: NetworkConfig,
    /// Width of an item's id embedding; at 0 an item is its features, and its bias.
    pub embedding: usize,
    /// The click head.
    pub click: HeadConfig,
    /// The like head; left out: none.
    pub like: Option<HeadConfig>,
    /// The dwell head; left out: none.
    pub dwell: Option<HeadConfig>,
    /// What is done about position bias.
    pub position: PositionConfig,
    /// Times the log is gone through at each training, at least 1.
    pub epochs: usize,
    /// Sessions in a batch, at least 1. Lists are never cut.
    pub sessions_per_batch: usize,
    /// Step size of Adam, above 0.
    pub learning_rate: f64,
    /// That of the values that a remedy has for places, relative to the others', above 0.
    pub place_rate: f64,
    /// Largest norm of a gradient, above 0; longer ones are scaled down to it. Left out: no bound.
    pub max_grad_norm: Option<f64>,
    /// Whether a training goes on from where the one before ended. If not, it starts afresh from the same weights.
    pub warm_start: bool,
}

impl Default for NeuralRankerConfig {
    /// One click head, no remedy, 2 epochs in batches of 25 sessions at a step size of 0.002.
    fn default() -> Self {
        Self {
            network: NetworkConfig::default(),
            embedding: 8,
            click: HeadConfig::default(),
            like: None,
            dwell: None,
            position: PositionConfig::None,
            epochs: 2,
            sessions_per_batch: 25,
            learning_rate: 2e-3,
            place_rate: 1.0,
            max_grad_norm: Some(5.0),
            warm_start: true,
        }
    }
}

/// A checked [`NeuralRankerConfig`].
#[derive(Debug, Clone, PartialEq)]
pub struct NeuralRankerSettings {
    config: NeuralRankerConfig,
    architecture: Architecture,
}

impl Deref for NeuralRankerSettings {
    type Target = NeuralRankerConfig;

    fn deref(&self) -> &NeuralRankerConfig {
        &self.config
    }
}

impl NeuralRankerSettings {
    /// The network.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Heads that are there; clicks come first.
    pub(super) fn heads(&self) -> Vec<(Head, HeadConfig)> {
        let others = [(Head::Like, self.like), (Head::Dwell, self.dwell)];
        let others = others.into_iter().filter_map(|(head, config)| Some((head, config?)));
        std::iter::once((Head::Click, self.click)).chain(others).collect()
    }
}

impl Check for NeuralRankerConfig {
    type Checked = NeuralRankerSettings;

    fn check(self) -> Result<NeuralRankerSettings, ConfigError> {
        const NAME: &str = "NeuralRankerConfig";
        let architecture = self.network.clone().check()?;
        self.position.check()?;
        for head in [Some(self.click), self.like, self.dwell].iter().flatten() {
            head.check()?;
        }
        for (field, value) in
            [("epochs", self.epochs), ("sessions_per_batch", self.sessions_per_batch)]
        {
            require(value > 0, NAME, field, value, "1 or more")?;
        }
        let most = ("max_grad_norm", self.max_grad_norm.unwrap_or(1.0));
        let rates = [("learning_rate", self.learning_rate), ("place_rate", self.place_rate)];
        for (field, value) in rates.into_iter().chain([most]) {
            require_positive(NAME, field, value)?;
        }
        for (field, value) in rates {
            // Steps are taken in single precision.
            let holds = (value as f32).is_normal();
            require(holds, NAME, field, value, "a number in [1.2e-38, 3.4e38]")?;
        }
        require(self.embedding <= 4096, NAME, "embedding", self.embedding, "at most 4096")?;
        Ok(NeuralRankerSettings { config: self, architecture })
    }
}

/// The shape of logs and requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogShape {
    /// Features of an item, and as many of a context.
    pub features: usize,
    /// Slots of a list.
    pub slots: usize,
    /// Devices.
    pub devices: usize,
}

impl From<&World> for LogShape {
    fn from(world: &World) -> Self {
        let config = world.config();
        Self { features: config.features, slots: config.slots, devices: config.devices.len() }
    }
}

impl LogShape {
    /// Slots of all devices.
    pub(super) fn places(&self) -> usize {
        self.slots * self.devices
    }

    /// Errors where a catalogue, or contexts of so many sessions, have another width.
    pub(super) fn fits_features(
        &self,
        catalogue: Catalogue<'_>,
        contexts: &[f32],
        sessions: usize,
    ) -> Result<(), ConfigError> {
        let holds = catalogue.width == self.features && contexts.len() == sessions * self.features;
        let allowed = "the width of items and of contexts";
        require(holds, "LogShape", "features", self.features, allowed)
    }

    /// Errors where a log has another shape.
    pub(super) fn fits(&self, catalogue: Catalogue<'_>, log: &Log) -> Result<(), ConfigError> {
        self.fits_features(catalogue, log.contexts(), log.session_count())?;
        for (field, own, found) in
            [("slots", self.slots, log.slots()), ("devices", self.devices, log.devices())]
        {
            let holds = found.iter().all(|&found| usize::from(found) < own);
            require(holds, "LogShape", field, own, "above every index in the log")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_is_read_with_its_defaults() {
        let text = "
            embedding = 4
            like = { exponent = 0.5 }
            [network]
            sharing = { kind = \"multi-gate\", experts = 4, hidden = [16] }
            [position]
            kind = \"product\"
        ";
        let config: NeuralRankerConfig = toml::from_str(text).unwrap();
        assert_eq!(config.position, PositionConfig::Product);
        assert_eq!(config.like, Some(HeadConfig { exponent: 0.5, ..HeadConfig::default() }));
        let again: NeuralRankerConfig = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);
        let heads = config.check().unwrap().heads();
        assert_eq!(
            heads.iter().map(|(head, _)| *head).collect::<Vec<_>>(),
            [Head::Click, Head::Like]
        );
        assert!(toml::from_str::<NeuralRankerConfig>("learning_rates = 1").is_err());
    }

    #[test]
    fn errors_name_the_field() {
        let refused = |config: NeuralRankerConfig| config.check().unwrap_err().to_string();
        let text = refused(NeuralRankerConfig { epochs: 0, ..Default::default() });
        assert!(text.contains("epochs = 0"), "{text}");
        let text = refused(NeuralRankerConfig { learning_rate: f64::NAN, ..Default::default() });
        assert!(text.contains("learning_rate = NaN"), "{text}");
        for rate in [1e-60, 1e60] {
            let text = refused(NeuralRankerConfig { learning_rate: rate, ..Default::default() });
            assert!(text.contains("learning_rate") && text.contains("3.4e38"), "{text}");
            let text = refused(NeuralRankerConfig { place_rate: rate, ..Default::default() });
            assert!(text.contains("place_rate") && text.contains("3.4e38"), "{text}");
        }
        let text = refused(NeuralRankerConfig { embedding: 1 << 40, ..Default::default() });
        assert!(text.contains("embedding = 1099511627776"), "{text}");
        let head = HeadConfig { exponent: 1e300, ..HeadConfig::default() };
        let text = refused(NeuralRankerConfig { click: head, ..Default::default() });
        assert!(text.contains("[-1e6, 1e6]"), "{text}");
        let head = HeadConfig { weight: -1.0, ..HeadConfig::default() };
        let text = refused(NeuralRankerConfig { dwell: Some(head), ..Default::default() });
        assert!(text.contains("weight = -1"), "{text}");
        let position = PositionConfig::Tower { dropout: 2.0, crossed: true };
        let text = refused(NeuralRankerConfig { position, ..Default::default() });
        assert!(text.contains("dropout = 2"), "{text}");
    }
}
