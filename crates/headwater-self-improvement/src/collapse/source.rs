//! A source of text whose every probability is known: what a language model gets wrong about it is measured, not estimated.
//!
//! Symbols 0 to V - 1 stand in the order of how common they are, and a symbol depends on the two before it: each of them ranks all successors in an
//! order of its own. `p(v | u, w) ∝ (v + 1)^-common · rank_w(v)^-near · rank_u(v)^-far`, ranks from 1: Zipf's law, and two
//! contexts that a model has to attend to. A text is preceded by two symbols 0.

use headwater_core::{Check, ConfigError, StreamRng, Streams, require, require_non_negative};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// A source, unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceConfig {
    /// V, 4 to 512: there are V^3 probabilities.
    pub symbols: usize,
    /// Symbols of a text, at least 1.
    pub length: usize,
    /// Exponent of how common a symbol is, at least 0. All three together are so small that no
    /// probability is 0 in f64: times ln V at most 600.
    pub common: f64,
    /// That of the last symbol's ranks.
    pub near: f64,
    /// That of the symbol before it.
    pub far: f64,
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self { symbols: 64, length: 16, common: 1.5, near: 0.8, far: 0.4 }
    }
}

/// A checked [`SourceConfig`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SourceSettings(SourceConfig);

impl Check for SourceConfig {
    type Checked = SourceSettings;

    fn check(self) -> Result<SourceSettings, ConfigError> {
        const NAME: &str = "SourceConfig";
        let symbols = self.symbols;
        require((4..=512).contains(&symbols), NAME, "symbols", symbols, "4 to 512")?;
        require(self.length >= 1, NAME, "length", self.length, "1 or more")?;
        for (field, exponent) in [("common", self.common), ("near", self.near), ("far", self.far)] {
            require_non_negative(NAME, field, exponent)?;
        }
        let sum = self.common + self.near + self.far;
        let possible = sum * (symbols as f64).ln() <= 600.0;
        let allowed = "at most 600 over the logarithm of symbols, or probabilities would be 0";
        require(possible, NAME, "common + near + far", sum, allowed)?;
        Ok(SourceSettings(self))
    }
}

/// A source with its tables.
#[derive(Debug, Clone)]
pub struct Source {
    symbols: usize,
    length: usize,
    /// Probabilities of the next symbol, `[before the last][last][next]`.
    next: Vec<f64>,
}

/// What precedes every text; it imports nothing.
pub const PROMPT: [u32; 2] = [0, 0];

impl Source {
    /// Ranks from the stream "ranks" of `streams`.
    #[must_use]
    pub fn new(settings: SourceSettings, streams: &Streams) -> Self {
        let SourceConfig { symbols, length, common, near, far } = settings.0;
        let mut stream = streams.stream("ranks", &[]);
        let mut ranks = || -> Vec<Vec<f64>> {
            let mut order: Vec<f64> = (1..=symbols).map(|rank| rank as f64).collect();
            let mut shuffled = || {
                order.shuffle(&mut stream);
                order.clone()
            };
            (0..symbols).map(|_| shuffled()).collect()
        };
        let (last, before) = (ranks(), ranks());
        let mut next = Vec::with_capacity(symbols.pow(3));
        for before in &before {
            for last in &last {
                let weight = |(symbol, (n, f)): (usize, (&f64, &f64))| {
                    ((symbol + 1) as f64).powf(-common) * n.powf(-near) * f.powf(-far)
                };
                let weights: Vec<f64> = last.iter().zip(before).enumerate().map(weight).collect();
                let total: f64 = weights.iter().sum();
                next.extend(weights.iter().map(|weight| weight / total));
            }
        }
        Self { symbols, length, next }
    }

    /// V.
    #[must_use]
    pub fn symbols(&self) -> usize {
        self.symbols
    }

    /// Symbols of a text.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Probabilities of the symbol after `context`, `[symbols]`.
    #[must_use]
    pub fn next(&self, context: [u32; 2]) -> &[f64] {
        let [before, last] = context.map(|symbol| symbol as usize);
        let start = (before * self.symbols + last) * self.symbols;
        &self.next[start..start + self.symbols]
    }

    /// The context of every symbol of a text.
    pub fn contexts<'a>(&self, text: &'a [u32]) -> impl Iterator<Item = [u32; 2]> + 'a {
        text.iter().scan(PROMPT, |context, symbol| {
            let here = *context;
            *context = [here[1], *symbol];
            Some(here)
        })
    }

    /// Mean log-probability of a text's symbols, nats.
    #[must_use]
    pub fn log_prob(&self, text: &[u32]) -> f64 {
        let each = self.contexts(text).zip(text).map(|(c, s)| self.next(c)[*s as usize].ln());
        each.sum::<f64>() / text.len() as f64
    }

    /// Entropy of a text over its length, nats per symbol: exact, over all contexts and how likely they are at each position.
    #[must_use]
    pub fn entropy(&self) -> f64 {
        let pairs = self.symbols * self.symbols;
        let mut likely = vec![0.0; pairs];
        likely[0] = 1.0;
        let mut total = 0.0;
        for _ in 0..self.length {
            let mut after = vec![0.0; pairs];
            for (pair, here) in likely.iter().enumerate().filter(|(_, here)| **here > 0.0) {
                let next = &self.next[pair * self.symbols..(pair + 1) * self.symbols];
                for (symbol, p) in next.iter().enumerate() {
                    total -= here * p * p.ln();
                    after[pair % self.symbols * self.symbols + symbol] += here * p;
                }
            }
            likely = after;
        }
        total / self.length as f64
    }

    /// `rows` texts, `[row][length]`.
    #[must_use]
    pub fn texts(&self, rows: usize, stream: &mut StreamRng) -> Vec<Vec<u32>> {
        (0..rows).map(|_| self.text(stream)).collect()
    }

    fn text(&self, stream: &mut StreamRng) -> Vec<u32> {
        let mut context = PROMPT;
        let symbols = (0..self.length).map(|_| {
            let mut left: f64 = stream.random();
            let drawn = self.next(context).iter().position(|p| {
                left -= p;
                left < 0.0
            });
            // Rounding can leave a little over.
            let symbol = drawn.unwrap_or(self.symbols - 1) as u32;
            context = [context[1], symbol];
            symbol
        });
        symbols.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source::new(SourceConfig::default().check().unwrap(), &Streams::new(3))
    }

    #[test]
    fn probabilities_by_hand_from_the_ranks_they_were_made_of() {
        let config = SourceConfig { symbols: 4, ..SourceConfig::default() };
        let alike = SourceConfig { near: 0.0, far: 0.0, ..config };
        let alike = Source::new(alike.check().unwrap(), &Streams::new(3));
        let weights: Vec<f64> = (1..=4).map(|rank| f64::from(rank).powf(-1.5)).collect();
        for (p, weight) in alike.next([2, 3]).iter().zip(&weights) {
            assert!((p - weight / weights.iter().sum::<f64>()).abs() < 1e-12);
        }
        // Over what is common to all contexts, the last symbol's ranks are a permutation of 1 to 4.
        let near = SourceConfig { far: 0.0, ..config };
        let near = Source::new(near.check().unwrap(), &Streams::new(3));
        let ratios = near.next([2, 3]).iter().zip(&weights).map(|(p, weight)| p / weight);
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_by(|a, b| b.total_cmp(a));
        for (rank, ratio) in ratios.iter().enumerate() {
            let expected = ((rank + 1) as f64).powf(-0.8);
            assert!((ratio / ratios[0] - expected).abs() < 1e-12);
        }
        assert_eq!(near.next([1, 3]), near.next([2, 3]));
        let both = Source::new(config.check().unwrap(), &Streams::new(3));
        assert_ne!(both.next([1, 3]), both.next([2, 3]));
    }

    #[test]
    fn texts_have_the_exact_entropy_within_their_sampling_error() {
        let source = source();
        let texts = source.texts(10_000, &mut Streams::new(4).stream("texts", &[]));
        let surprises: Vec<f64> = texts.iter().map(|text| -source.log_prob(text)).collect();
        let mean = surprises.iter().sum::<f64>() / 10_000.0;
        let variance = surprises.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 9999.0;
        let standard_error = (variance / 10_000.0).sqrt();
        assert!(standard_error < 0.005, "{standard_error}");
        assert!((mean - source.entropy()).abs() < 4.0 * standard_error, "{mean}");
        // Far from the entropy of equal probabilities: that would be another source.
        assert!(source.entropy() < (64f64).ln() - 0.3);
    }

    #[test]
    fn entropy_by_hand_without_exponents() {
        let config = SourceConfig { common: 0.0, near: 0.0, far: 0.0, ..SourceConfig::default() };
        let even = Source::new(config.check().unwrap(), &Streams::new(1));
        assert!((even.entropy() - 64f64.ln()).abs() < 1e-9);
        assert!((even.log_prob(&[3, 1, 4]) + 64f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn bad_configs_are_refused() {
        for symbols in [1 << 20, usize::MAX] {
            assert!(SourceConfig { symbols, ..SourceConfig::default() }.check().is_err());
        }
        // Of 64 symbols the last would have probability 64^-500, which is 0.
        let steep = SourceConfig { common: 500.0, ..SourceConfig::default() }.check().unwrap_err();
        assert!(
            steep.to_string().starts_with("SourceConfig.common + near + far = 501.2"),
            "{steep}"
        );
        let steep = SourceConfig { symbols: 4, common: 430.0, ..SourceConfig::default() };
        let source = Source::new(steep.check().unwrap(), &Streams::new(3));
        assert!(source.next([1, 2]).iter().all(|p| *p > 0.0) && source.entropy().is_finite());
        let few = SourceConfig { symbols: 3, ..SourceConfig::default() };
        let message = few.check().unwrap_err().to_string();
        assert!(message.contains("symbols") && message.contains('3'), "{message}");
        assert!(SourceConfig { far: -1.0, ..SourceConfig::default() }.check().is_err());
        assert!(SourceConfig { length: 0, ..SourceConfig::default() }.check().is_err());
    }
}
