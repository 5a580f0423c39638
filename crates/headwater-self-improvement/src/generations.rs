//! What a policy generates for a round: completions of prompts, in tokens and in text.

use headwater_core::{Group, Prompt, Streams};
use headwater_nn::{Completion, Decoder, Sampling, sample};

use crate::SelfImprovementError;

/// Prompts with their completions; what is said of completions is said in group-major order.
#[derive(Debug, Clone)]
pub struct Generations {
    /// The prompts.
    pub prompts: Vec<Prompt>,
    /// The completions of each prompt.
    pub groups: Vec<Vec<Completion>>,
}

impl Generations {
    /// `samples` completions of every prompt.
    ///
    /// # Errors
    /// Prompts that do not fit the policy.
    pub fn sample(
        policy: &Decoder,
        prompts: &[Prompt],
        samples: usize,
        sampling: &Sampling,
        streams: &Streams,
    ) -> Result<Self, SelfImprovementError> {
        let tokens: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.tokens.clone()).collect();
        let groups = sample(policy, &tokens, samples, sampling, streams)?;
        Ok(Self { prompts: prompts.to_vec(), groups })
    }

    /// Tokens of every (prompt, completion), in group-major order.
    pub fn pairs(&self) -> impl Iterator<Item = (&[u32], &[u32])> {
        self.prompts.iter().zip(&self.groups).flat_map(|(prompt, group)| {
            group.iter().map(|completion| (prompt.tokens.as_slice(), completion.tokens.as_slice()))
        })
    }

    /// The same as text, for what reads text: verifiers and vote counts.
    pub fn texts(&self, decode: &dyn Fn(&[u32]) -> String) -> Vec<Group> {
        let groups = self.prompts.iter().zip(&self.groups);
        let group = |(prompt, completions): (&Prompt, &Vec<Completion>)| Group {
            prompt: prompt.text.clone(),
            reference: prompt.reference.clone(),
            completions: completions.iter().map(|c| decode(&c.tokens)).collect(),
        };
        groups.map(group).collect()
    }
}
