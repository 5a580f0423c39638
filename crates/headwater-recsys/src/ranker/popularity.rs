//! Most popular first: a click rate for each item, the same for all contexts.

use headwater_core::{Check, ConfigError, require, require_positive};
use serde::{Deserialize, Serialize};

use crate::error::RecsysError;
use crate::log::Log;
use crate::ranker::known_items;
use crate::ranker::{Ranker, Requests};
use crate::world::Catalogue;

/// Settings of [`Popularity`], unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PopularityConfig {
    /// Whether clicks are divided by the true probability of examination (inverse propensity scoring).
    pub propensities: bool,
    /// Least probability that is divided by, in (0, 1]: clipping trades bias for variance.
    pub least_propensity: f64,
    /// Impressions at the prior click rate that each item starts with, above 0.
    pub prior_impressions: f64,
    /// The prior click rate, in [0, 1].
    pub prior_rate: f64,
}

impl Default for PopularityConfig {
    /// No propensities (if any, clipped at 0.01), a prior of 10 impressions at a rate of 0.2.
    fn default() -> Self {
        Self {
            propensities: false,
            least_propensity: 0.01,
            prior_impressions: 10.0,
            prior_rate: 0.2,
        }
    }
}

/// The smoothed click rate of each item over the log: the plainest ranker that learns from its own decisions.
///
/// Without propensities an item far down is taken for a worse one, and so stays there.
#[derive(Debug, Clone, PartialEq)]
pub struct Popularity {
    config: PopularityConfig,
    rates: Vec<f32>,
}

impl Check for PopularityConfig {
    type Checked = Popularity;

    fn check(self) -> Result<Popularity, ConfigError> {
        const NAME: &str = "PopularityConfig";
        let least = self.least_propensity;
        let holds = least > 0.0 && least <= 1.0;
        require(holds, NAME, "least_propensity", least, "a number in (0, 1]")?;
        let prior = self.prior_impressions;
        require_positive(NAME, "prior_impressions", prior)?;
        let rate = self.prior_rate;
        require((0.0..=1.0).contains(&rate), NAME, "prior_rate", rate, "a number in [0, 1]")?;
        Ok(Popularity { config: self, rates: Vec::new() })
    }
}

impl Popularity {
    /// Click rate by item, of those that were there at the last training.
    #[must_use]
    pub fn rates(&self) -> &[f32] {
        &self.rates
    }
}

impl Ranker for Popularity {
    fn score(
        &mut self,
        _catalogue: Catalogue<'_>,
        requests: &Requests<'_>,
        scores: &mut [f32],
    ) -> Result<(), RecsysError> {
        let unknown = self.config.prior_rate as f32;
        for (score, &item) in scores.iter_mut().zip(requests.candidates) {
            *score = self.rates.get(item as usize).copied().unwrap_or(unknown);
        }
        Ok(())
    }

    fn train(&mut self, catalogue: Catalogue<'_>, log: &Log) -> Result<(), RecsysError> {
        let PopularityConfig { propensities, least_propensity, prior_impressions, prior_rate } =
            self.config;
        known_items(catalogue, log)?;
        let mut counts =
            vec![(prior_impressions * prior_rate, prior_impressions); catalogue.items()];
        let rows = log.items().iter().zip(log.clicks()).zip(log.examinations());
        for ((&item, &click), &examination) in rows {
            let propensity =
                if propensities { f64::from(examination).max(least_propensity) } else { 1.0 };
            let (clicks, impressions) = &mut counts[item as usize];
            *clicks += f64::from(click) / propensity;
            *impressions += 1.0;
        }
        self.rates.clear();
        self.rates.extend(counts.iter().map(|(clicks, impressions)| (clicks / impressions) as f32));
        Ok(())
    }
}
