//! What a judged finding consists of.

use serde::{Deserialize, Serialize};

use crate::{Arm, Direction, Registered};

/// What the evidence says about a finding's claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// All contrasts hold and all controls vanish.
    #[serde(rename = "reproduced")]
    Reproduced,
    /// A contrast is refuted, and the controls vanish.
    #[serde(rename = "not reproduced")]
    NotReproduced,
    /// Neither: more seeds, or what could not be run, might decide it.
    #[serde(rename = "inconclusive")]
    Inconclusive,
    /// A control shows the effect without its cause.
    #[serde(rename = "invalid")]
    Invalid,
}

impl Verdict {
    /// The word in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reproduced => "reproduced",
            Self::NotReproduced => "not reproduced",
            Self::Inconclusive => "inconclusive",
            Self::Invalid => "invalid",
        }
    }
}

/// How one contrast came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// The effect is there, and large enough.
    Holds,
    /// An effect that matters is ruled out.
    Refuted,
    /// Neither.
    Undecided,
}

/// How one control came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ControlJudgement {
    /// No effect without the cause, within the margin.
    Vanishes,
    /// An effect without the cause.
    Appears,
    /// Neither.
    Undecided,
}

/// A contrast with its effect and judgement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContrastResult {
    /// What is compared.
    pub name: String,
    /// The measure as a formula over arms and metrics.
    pub formula: String,
    /// Mean paired difference; `None` without any seed.
    pub effect: Option<f64>,
    /// Lower end of the 95% interval; `None` with fewer than two seeds.
    pub low: Option<f64>,
    /// Upper end of the 95% interval; `None` with fewer than two seeds.
    pub high: Option<f64>,
    /// Seeds in the estimate.
    pub n: usize,
    /// Where the claim puts the effect.
    pub direction: Direction,
    /// This project's smallest effect of interest.
    pub smallest_effect: f64,
    /// When direction and smallest effect were fixed.
    pub registered: Registered,
    /// The effect that the source reports, in words.
    pub published: Option<String>,
    /// Mean of the largest effect that the reference arm leaves room for, where the contrast states
    /// it.
    pub attainable: Option<f64>,
    /// True if the judgement is [`Judgement::Holds`].
    pub holds: bool,
    /// How it came out.
    pub judgement: Judgement,
    /// Why it is undecided whatever its numbers are; `None` where the numbers are judged.
    pub reason: Option<String>,
    /// Two-sided p value against 0; `None` with fewer than two seeds or without variation between
    /// them.
    pub p: Option<f64>,
    /// The same after Holm's adjustment; `None` also where the direction is not decided by it.
    pub p_holm: Option<f64>,
    /// Two-sided p value against the smallest effect, 1 where the estimate is on the side of the
    /// claim.
    pub p_refute: Option<f64>,
    /// The same after Holm's adjustment over all contrasts of the finding.
    pub p_refute_holm: Option<f64>,
    /// Seeds that are missing because a cell has no record.
    pub lost_seeds: Vec<u64>,
    /// Why the difference could not be computed although the records are there: a defect of the
    /// finding.
    pub problem: Option<String>,
}

/// A control with its effect and judgement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ControlResult {
    /// What is compared.
    pub name: String,
    /// The measure as a formula over arms and metrics.
    pub formula: String,
    /// Mean paired difference; `None` without any seed.
    pub effect: Option<f64>,
    /// Lower end of the 95% interval; `None` with fewer than two seeds.
    pub low: Option<f64>,
    /// Upper end of the 95% interval; `None` with fewer than two seeds.
    pub high: Option<f64>,
    /// Seeds in the estimate.
    pub n: usize,
    /// How far from 0 still counts as vanished.
    pub margin: f64,
    /// True if the judgement is [`ControlJudgement::Vanishes`].
    pub vanishes: bool,
    /// How it came out.
    pub judgement: ControlJudgement,
    /// Why it is undecided whatever its numbers are; `None` where the numbers are judged.
    pub reason: Option<String>,
    /// Seeds that are missing because a cell has no record.
    pub lost_seeds: Vec<u64>,
    /// Why the difference could not be computed although the records are there: a defect of the
    /// finding.
    pub problem: Option<String>,
}

/// A contrast or control that reads an arm which is not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omitted {
    /// Its name.
    pub name: String,
    /// The arm that is not run.
    pub arm: Arm,
    /// Why that arm is not run.
    pub reason: String,
    /// True if `reproduced` needs it: a control, or a contrast that is not post hoc.
    pub counts: bool,
}
