//! How many seeds a claim needs.

use headwater_core::Check;
use headwater_evaluation::EvaluationError;
use headwater_evaluation::power::{MOST_SEEDS, PairedDesignConfig};

use super::LEVEL;
use crate::{FEWEST_SEEDS, ProtocolError};

/// A claim as it is planned: its parts, and what a pilot says of their noise.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimDesign {
    /// Primaries and controls, in any order.
    pub parts: Vec<DesignPart>,
}

/// A primary or control as it is planned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DesignPart {
    /// What it is, and the truth that the design assumes.
    pub effect: DesignedEffect,
    /// Standard deviation between seeds in the pilot, a finite number > 0. Of shares of solved
    /// seeds, that of the differences -1, 0 and 1; normal noise is an approximation there.
    pub deviation: f64,
    /// Test rows per training row where the seeds are resplits of one data set, else 0.
    pub overlap: f64,
}

/// What a part is, with the truth at which the claim is to be supported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DesignedEffect {
    /// A primary that claims an increase or a decrease, whose effect is exactly this d.
    Directed(f64),
    /// A primary *not below* of this d: no effect.
    NotBelow(f64),
    /// A primary *unchanged* of this d, or a negative control of this margin: no effect.
    Unchanged(f64),
    /// A positive control that lies this far above its floor.
    AboveFloor(f64),
}

impl ClaimDesign {
    /// A lower bound of the probability that the claim is *supported* with n seeds where the truth
    /// is as designed.
    ///
    /// 1 - Σ P(the part fails), which holds whatever the dependence between the parts (Bonferroni);
    /// a directed primary fails, too, where its interval lies wholly below d. Under normal noise
    /// ([`headwater_evaluation::power`]).
    ///
    /// # Errors
    /// No part, a deviation, distance or overlap that is out of its range, or an n that is not in 2
    /// to [`MOST_SEEDS`].
    pub fn supported(&self, n: usize) -> Result<f64, ProtocolError> {
        if self.parts.is_empty() {
            let (argument, found, needed) = ("parts", 0, 1);
            return Err(EvaluationError::TooFew { argument, found, needed }.into());
        }
        let directed = |part: &&DesignPart| matches!(part.effect, DesignedEffect::Directed(_));
        // Holm's first step, one tail: how often one directed primary is too small by chance.
        let too_small = (1.0 - LEVEL) / 2.0 / self.parts.iter().filter(directed).count() as f64;
        let mut lost = 0.0;
        for part in &self.parts {
            lost += 1.0 - part.passes(n, too_small)?;
        }
        Ok((1.0 - lost).max(0.0))
    }

    /// The fewest seeds, [`FEWEST_SEEDS`] or more, with which the claim is *supported* with at
    /// least probability `power` where every effect is as designed.
    ///
    /// # Errors
    /// As [`ClaimDesign::supported`], a power outside (0, 1), or one that [`MOST_SEEDS`] do not
    /// reach: a directed primary is taken for too small in up to 2.5%, whatever the seeds.
    pub fn seeds(&self, power: f64) -> Result<usize, ProtocolError> {
        let refuse = |allowed| {
            let (argument, value) = ("power", power);
            Err(EvaluationError::Argument { argument, value, allowed }.into())
        };
        if !(power > 0.0 && power < 1.0) {
            return refuse("a number in (0, 1)");
        }
        let (mut low, mut high) = (FEWEST_SEEDS - 1, FEWEST_SEEDS);
        while self.supported(high)? < power {
            if high == MOST_SEEDS {
                return refuse("a probability that at most 10000 seeds reach");
            }
            (low, high) = (high, (2 * high).min(MOST_SEEDS));
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.supported(middle)? < power { low = middle } else { high = middle }
        }
        Ok(high)
    }
}

impl DesignPart {
    /// A lower bound of the probability that the part does what *supported* needs.
    fn passes(&self, n: usize, too_small: f64) -> Result<f64, ProtocolError> {
        let (deviation, overlap) = (self.deviation, self.overlap);
        let design = PairedDesignConfig { deviation, level: LEVEL, overlap };
        let design = design.check().map_err(EvaluationError::from)?;
        let passes = match self.effect {
            // An interval between 0 and d is one within ±d/2 of d/2, from which d is d/2 away.
            DesignedEffect::Directed(d) => {
                let between = design.power_inside(n, d / 2.0, d / 2.0)?;
                design.power(n, d, 0.0)? - between.min(too_small)
            }
            DesignedEffect::NotBelow(d) => positive(d).and(design.power(n, 0.0, -d))?,
            DesignedEffect::Unchanged(margin) => design.power_inside(n, 0.0, margin)?,
            DesignedEffect::AboveFloor(distance) => {
                positive(distance).and(design.power(n, distance, 0.0))?
            }
        };
        Ok(passes)
    }
}

fn positive(value: f64) -> Result<(), EvaluationError> {
    if value > 0.0 {
        return Ok(());
    }
    let (argument, allowed) = ("effect", "a finite number above 0");
    Err(EvaluationError::Argument { argument, value, allowed })
}
