//! What a policy is asked, and what it is shown as an answer, in tokens.

/// A prompt in the two forms it is needed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// What the policy reads.
    pub tokens: Vec<u32>,
    /// What the reward reads.
    pub text: String,
    /// The reference answer, where there is one.
    pub reference: Option<String>,
}

/// One demonstration: the loss is taken on the completion only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Tokens the completion is conditioned on, at least one.
    pub prompt: Vec<u32>,
    /// Tokens to be learnt, at least one (usually ending in the end token).
    pub completion: Vec<u32>,
}
