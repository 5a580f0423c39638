//! Self-judging with preference updates: a policy scores its own answers and is trained by DPO to prefer the best to the
//! worst.
//!
//! - **Self-rewarding** (Yuan et al. 2024, arXiv 2401.10020): both sides are the current policy's. There the score is an
//!   additive 0 to 5 rubric written out by the model; here it is the probability of its own verdict `right`
//!   ([`crate::verification`]).
//! - **Temporal self-rewarding** (Wang et al. 2025, arXiv 2508.06026): chosen and rejected improve together, so that the
//!   contrast between them vanishes; the rejected side is therefore always taken from the past (initial) model. Its other
//!   half, chosen answers informed by a future model, is not here.

use headwater_core::{
    Check, ConfigError, Prompt, Streams, require, require_finite, require_positive,
};
use headwater_nn::{Decoder, Sampling, SamplingConfig};
use serde::{Deserialize, Serialize};

use crate::fit::{FitConfig, FitSettings};
use crate::preference::{Preference, prefer};
use crate::{Generations, SelfImprovementError};

/// Scores of every generation, in group-major order.
pub type Judge<'a> = dyn Fn(&Decoder, &Generations) -> Result<Vec<f64>, SelfImprovementError> + 'a;

/// Where the rejected side comes from.
#[derive(Debug, Clone, Copy)]
pub enum Rejected<'a> {
    /// The worst of the current policy's own answers.
    Current,
    /// The worst of as many answers of this past checkpoint, as the current policy judges them.
    Past(&'a Decoder),
}

/// A round, unchecked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelfJudgingConfig {
    /// Answers per prompt, at least 2; with a past checkpoint half of them are its.
    pub samples: usize,
    /// How they are sampled.
    pub sampling: SamplingConfig,
    /// Weight of the margin in DPO, above 0.
    pub beta: f64,
    /// How the policy is updated; a batch counts pairs.
    pub fit: FitConfig,
}

impl Default for SelfJudgingConfig {
    fn default() -> Self {
        Self {
            samples: 16,
            sampling: SamplingConfig::default(),
            beta: 0.1,
            fit: FitConfig::default(),
        }
    }
}

/// A checked [`SelfJudgingConfig`].
#[derive(Debug, Clone, PartialEq)]
pub struct SelfJudgingSettings {
    samples: usize,
    sampling: Sampling,
    beta: f64,
    fit: FitSettings,
}

impl Check for SelfJudgingConfig {
    type Checked = SelfJudgingSettings;

    fn check(self) -> Result<SelfJudgingSettings, ConfigError> {
        const CONFIG: &str = "SelfJudgingConfig";
        let even = self.samples >= 2 && self.samples.is_multiple_of(2);
        require(even, CONFIG, "samples", self.samples, "an even number of 2 or more")?;
        let beta = self.beta;
        require_positive(CONFIG, "beta", beta)?;
        Ok(SelfJudgingSettings {
            samples: self.samples,
            sampling: self.sampling.check()?,
            beta,
            fit: self.fit.check()?,
        })
    }
}

/// A pair with what the judge gave its sides.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgedPair {
    /// The pair.
    pub preference: Preference,
    /// Score of the chosen side.
    pub chosen: f64,
    /// Score of the rejected side.
    pub rejected: f64,
}

/// Of every prompt the best of `best` against the worst of `worst`; of equal scores the earliest. A prompt whose two
/// sides have one score, or are one answer, gives no pair: nothing is preferred there.
///
/// # Errors
/// Numbers of prompts, or of scores and generations, that differ; a score that is not finite.
pub fn best_against_worst(
    (best, best_scores): (&Generations, &[f64]),
    (worst, worst_scores): (&Generations, &[f64]),
) -> Result<Vec<JudgedPair>, SelfImprovementError> {
    const FUNCTION: &str = "best_against_worst";
    let prompts = best.prompts.len();
    require(worst.prompts.len() == prompts, FUNCTION, "prompts", prompts, "those of both sides")?;
    for (generations, scores) in [(best, best_scores), (worst, worst_scores)] {
        let matches = generations.pairs().count() == scores.len();
        require(matches, FUNCTION, "scores", scores.len(), "one per generation")?;
        scores.iter().try_for_each(|score| require_finite(FUNCTION, "scores", *score))?;
    }
    let (mut best_at, mut worst_at) = (0, 0);
    let mut pairs = Vec::new();
    for (at, prompt) in best.prompts.iter().enumerate() {
        let top = extreme(&best.groups[at], &best_scores[best_at..], |a, b| a > b);
        let low = extreme(&worst.groups[at], &worst_scores[worst_at..], |a, b| a < b);
        best_at += best.groups[at].len();
        worst_at += worst.groups[at].len();
        let (Some((top, chosen)), Some((low, rejected))) = (top, low) else { continue };
        if chosen > rejected && top != low {
            let (prompt, top, low) = (prompt.tokens.clone(), top.to_vec(), low.to_vec());
            let preference = Preference { prompt, chosen: top, rejected: low };
            pairs.push(JudgedPair { preference, chosen, rejected });
        }
    }
    Ok(pairs)
}

fn extreme<'a>(
    group: &'a [headwater_nn::Completion],
    scores: &[f64],
    better: impl Fn(f64, f64) -> bool,
) -> Option<(&'a [u32], f64)> {
    let mut found: Option<(&[u32], f64)> = None;
    for (completion, score) in group.iter().zip(scores) {
        if found.is_none_or(|(_, best)| better(*score, best)) {
            found = Some((&completion.tokens, *score));
        }
    }
    found
}

/// One round: `policy` answers `prompts`, `judge` scores, DPO on best against worst with `policy` itself as reference.
/// Returns the policy after it and the pairs it learnt from. Generations are the same in number either way: with a past
/// checkpoint half of each prompt's answers are its.
///
/// # Errors
/// Prompts that do not fit the policy, a judge that fails, a loss that is not finite.
pub fn self_judging_round(
    policy: &Decoder,
    rejected: Rejected<'_>,
    prompts: &[Prompt],
    judge: &Judge<'_>,
    settings: &SelfJudgingSettings,
    streams: &Streams,
) -> Result<(Decoder, Vec<JudgedPair>), SelfImprovementError> {
    let generate = |from: &Decoder, samples: usize, name: &str| {
        Generations::sample(from, prompts, samples, &settings.sampling, &streams.child(name, &[]))
    };
    let judged = |generations: Generations| -> Result<_, SelfImprovementError> {
        let scores = judge(policy, &generations)?;
        Ok((generations, scores))
    };
    let pairs = match rejected {
        Rejected::Current => {
            let (own, scores) = judged(generate(policy, settings.samples, "generations")?)?;
            best_against_worst((&own, &scores), (&own, &scores))?
        }
        Rejected::Past(past) => {
            let half = settings.samples / 2;
            let (own, own_scores) = judged(generate(policy, half, "generations")?)?;
            let (past, past_scores) = judged(generate(past, half, "past generations")?)?;
            best_against_worst((&own, &own_scores), (&past, &past_scores))?
        }
    };
    let preferences: Vec<Preference> = pairs.iter().map(|pair| pair.preference.clone()).collect();
    let streams = streams.child("fit", &[]);
    let policy = prefer(policy, policy, &preferences, settings.beta, &settings.fit, &streams)?;
    Ok((policy, pairs))
}
