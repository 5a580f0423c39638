//! Rejection fine-tuning: sample, keep what a filter accepts, fit by maximum likelihood.
//!
//! One round of the algorithm of Song et al. 2024 (arXiv 2412.02674), and with other choices two methods known by
//! names of their own:
//!
//! - **ReST-EM** (Singh et al. 2023, arXiv 2312.06585): the filter is a gold verifier, and every round's fit starts
//!   from the base ([`Start::Restart`]), not from the policy that generated.
//! - **STaR** (Zelikman et al. 2022, arXiv 2203.14465): prompts of which nothing was kept are tried again under a prompt
//!   that gives the answer away (rationalisation); what the filter keeps of that is learnt under the plain prompt. It
//!   makes sense for policies that can read the hint, and where a completion is more than the answer hinted at.
//!
//! The fit is the gradient of a reward of 0 or 1 without a baseline: wrong answers push nothing.

use headwater_core::{Check, ConfigError, Example, Prompt, Streams, require};
use headwater_nn::{Decoder, Sampling, SamplingConfig};
use serde::{Deserialize, Serialize};

use crate::fit::{FitConfig, FitSettings, fit};
use crate::{Generations, SelfImprovementError};

/// One verdict per generation, in group-major order, on what the policy given generated: `true` keeps it. A filter
/// that has a verifier of its own does not look at the policy.
pub type Filter<'a> =
    dyn Fn(&Decoder, &Generations) -> Result<Vec<bool>, SelfImprovementError> + 'a;

/// A prompt that gives its answer away: what STaR's rationalisation reads in the place of the plain one.
pub type Hint<'a> = dyn Fn(&Prompt) -> Vec<u32> + 'a;

/// What a round's fit starts from.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// The policy that generated.
    Continue,
    /// This base, in every round.
    Restart(&'a Decoder),
}

/// A round, unchecked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RejectionConfig {
    /// Completions per prompt, at least 1.
    pub samples: usize,
    /// How they are sampled.
    pub sampling: SamplingConfig,
    /// How the policy is fitted to what was kept.
    pub fit: FitConfig,
}

impl Default for RejectionConfig {
    fn default() -> Self {
        Self { samples: 16, sampling: SamplingConfig::default(), fit: FitConfig::default() }
    }
}

/// A checked [`RejectionConfig`].
#[derive(Debug, Clone, PartialEq)]
pub struct RejectionSettings {
    samples: usize,
    sampling: Sampling,
    fit: FitSettings,
}

impl Check for RejectionConfig {
    type Checked = RejectionSettings;

    fn check(self) -> Result<RejectionSettings, ConfigError> {
        require(self.samples > 0, "RejectionConfig", "samples", self.samples, "1 or more")?;
        Ok(RejectionSettings {
            samples: self.samples,
            sampling: self.sampling.check()?,
            fit: self.fit.check()?,
        })
    }
}

/// What a round did.
#[derive(Debug, Clone)]
pub struct RejectionRound {
    /// The policy after the fit; without a kept generation it is what the fit would have started from.
    pub policy: Decoder,
    /// What was generated under the plain prompts.
    pub generations: Generations,
    /// The filter's verdicts on it.
    pub kept: Vec<bool>,
    /// What was kept of the second attempts under hinted prompts.
    pub rationalised: usize,
}

/// One round: `policy` generates for `prompts`, `filter` keeps, a fit follows. With a `hint`, prompts of which nothing
/// was kept are tried again with it; those generations are in addition to the plain ones.
///
/// # Errors
/// Prompts that do not fit the policy, a number of verdicts that is not that of the generations, a filter that fails.
pub fn rejection_round(
    policy: &Decoder,
    start: Start<'_>,
    prompts: &[Prompt],
    filter: &Filter<'_>,
    hint: Option<&Hint<'_>>,
    settings: &RejectionSettings,
    streams: &Streams,
) -> Result<RejectionRound, SelfImprovementError> {
    let generate = |prompts: &[Prompt], name: &str| {
        let (samples, sampling) = (settings.samples, &settings.sampling);
        Generations::sample(policy, prompts, samples, sampling, &streams.child(name, &[]))
    };
    let generations = generate(prompts, "generations")?;
    let kept = verdicts(filter, policy, &generations)?;
    let mut examples = accepted(&generations, &kept);
    let mut rationalised = 0;
    if let Some(hint) = hint {
        let failed = prompts.iter().zip(kept.chunks(settings.samples));
        let failed: Vec<&Prompt> =
            failed.filter(|(_, kept)| !kept.contains(&true)).map(|(prompt, _)| prompt).collect();
        let hinted: Vec<Prompt> =
            failed.iter().map(|plain| Prompt { tokens: hint(plain), ..(*plain).clone() }).collect();
        let mut second = generate(&hinted, "rationalisations")?;
        // What was said with the hint is judged, and learnt, as if it had been said without.
        second.prompts = failed.into_iter().cloned().collect();
        let second = accepted(&second, &verdicts(filter, policy, &second)?);
        rationalised = second.len();
        examples.extend(second);
    }
    let from = match start {
        Start::Continue => policy,
        Start::Restart(base) => base,
    };
    let policy = fit(from, &examples, &settings.fit, &streams.child("fit", &[]))?;
    Ok(RejectionRound { policy, generations, kept, rationalised })
}

fn verdicts(
    filter: &Filter<'_>,
    policy: &Decoder,
    generations: &Generations,
) -> Result<Vec<bool>, SelfImprovementError> {
    let kept = filter(policy, generations)?;
    let expected = generations.pairs().count();
    require(kept.len() == expected, "Filter", "verdicts", kept.len(), "one per generation")?;
    Ok(kept)
}

/// The kept generations as demonstrations.
fn accepted(generations: &Generations, kept: &[bool]) -> Vec<Example> {
    let kept = generations.pairs().zip(kept).filter(|(_, kept)| **kept);
    kept.map(|((prompt, completion), _)| Example {
        prompt: prompt.to_vec(),
        completion: completion.to_vec(),
    })
    .collect()
}
