//! Proposer and solver in one policy, with a tool as judge: absolute zero in miniature (Zhao et al. 2025, arXiv 2505.03335).
//!
//! A step: the policy proposes tasks; the tool says which are valid, and turns them into prompts; the policy tries each
//! valid task several times; the tool grades the attempts. Both roles are then trained by one policy gradient:
//!
//! - solver: 1 for a right attempt, 0 for a wrong one, minus the mean of its task;
//! - proposer: [`proposer_reward`] of the task's solve rate, 0 for an invalid task, minus the mean of all proposals.
//!
//! Nothing but the tool knows what is valid or right: that is all the information that comes in. The published method
//! proposes code tasks of three kinds, executes them, and normalises advantages by task and role with a baseline for each;
//! here there is one kind and no normalisation by deviation.

use burn::tensor::Tensor;
use headwater_core::{Prompt, Streams, require};
use headwater_nn::{AdamW, Completion, Decoder, Sampling, SequenceBatch, sample};
use headwater_optimizers::pad_rows;

use crate::{Generations, SelfImprovementError};

/// Reward of a proposed task by the share of attempts that solve it, in [0, 1]: `1 - solve_rate`, but 0 for a task that no
/// attempt solves, so that neither what is too easy nor what is too hard pays.
///
/// That the published reward favours intermediate solve rates is known from its abstract; this exact form is from memory and
/// UNVERIFIED.
#[must_use]
pub fn proposer_reward(solve_rate: f64) -> f64 {
    if solve_rate <= 0.0 { 0.0 } else { (1.0 - solve_rate).max(0.0) }
}

/// The task that a prompt and the proposal written to it make; `None` where it is not valid.
pub type Validate<'a> = dyn Fn(&[u32], &[u32]) -> Option<Prompt> + 'a;

/// Whether each attempt is right, in group-major order.
pub type Grade<'a> = dyn Fn(&Generations) -> Vec<bool> + 'a;

/// What the tool can do.
pub struct Tool<'a> {
    /// Validates what is proposed.
    pub validate: &'a Validate<'a>,
    /// Grades what is tried.
    pub grade: &'a Grade<'a>,
}

/// How both roles write.
#[derive(Debug, Clone)]
pub struct Roles {
    /// How proposals are sampled, at temperature 1.
    pub proposing: Sampling,
    /// How attempts are sampled, at temperature 1.
    pub solving: Sampling,
    /// Attempts per valid task, at least 2.
    pub attempts: usize,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProposerSolverStep {
    /// Share of proposals that are valid.
    pub valid: f64,
    /// Mean solve rate of the valid tasks; `None` without any.
    pub solve_rate: Option<f64>,
    /// Mean reward of all proposals.
    pub proposer_reward: f64,
}

/// One step from `prompts` to propose under; `rate` multiplies the optimiser's learning rate.
///
/// # Errors
/// Prompts or tasks that do not fit the policy, fewer than 2 attempts, a number of grades that is not that of the attempts.
pub fn proposer_solver_step(
    policy: &mut Decoder,
    optimizer: &mut AdamW,
    prompts: &[Vec<u32>],
    tool: &Tool<'_>,
    roles: &Roles,
    rate: f64,
    streams: &Streams,
) -> Result<ProposerSolverStep, SelfImprovementError> {
    const FUNCTION: &str = "proposer_solver_step";
    let attempts = roles.attempts;
    require(attempts >= 2, FUNCTION, "attempts", attempts, "2 or more")?;
    require(!prompts.is_empty(), FUNCTION, "prompts", 0, "1 or more")?;
    let proposals = sample(policy, prompts, 1, &roles.proposing, &streams.child("proposals", &[]))?;
    let proposals: Vec<Completion> = proposals.into_iter().flatten().collect();
    let tasks: Vec<Option<Prompt>> =
        prompts.iter().zip(&proposals).map(|(p, c)| (tool.validate)(p, &c.tokens)).collect();
    let valid: Vec<Prompt> = tasks.iter().flatten().cloned().collect();
    let solving = streams.child("attempts", &[]);
    let tried = Generations::sample(policy, &valid, attempts, &roles.solving, &solving)?;
    let grades = (tool.grade)(&tried);
    let expected = valid.len() * attempts;
    require(grades.len() == expected, "Tool", "grades", grades.len(), "one per attempt")?;
    let solve_rates: Vec<f64> = grades
        .chunks(attempts)
        .map(|task| task.iter().filter(|right| **right).count() as f64 / attempts as f64)
        .collect();

    let mut rates = solve_rates.iter();
    let rewards: Vec<f64> = tasks
        .iter()
        .map(|task| task.as_ref().and_then(|_| rates.next()).map_or(0.0, |r| proposer_reward(*r)))
        .collect();
    let mean = rewards.iter().sum::<f64>() / rewards.len() as f64;
    let proposed = prompts.iter().map(Vec::as_slice).zip(&proposals).zip(&rewards).map(
        |((prompt, completion), reward)| (prompt, completion.tokens.as_slice(), reward - mean),
    );
    let solved = tried.pairs().zip(&grades).enumerate().map(|(at, ((prompt, answer), right))| {
        (prompt, answer, f64::from(u8::from(*right)) - solve_rates[at / attempts])
    });
    reinforce(policy, optimizer, proposed, rate)?;
    reinforce(policy, optimizer, solved, rate)?;
    let valid = solve_rates.len();
    Ok(ProposerSolverStep {
        valid: valid as f64 / prompts.len() as f64,
        solve_rate: (valid > 0).then(|| solve_rates.iter().sum::<f64>() / valid as f64),
        proposer_reward: mean,
    })
}

/// One step of REINFORCE on (prompt, completion, advantage); none where no row has an advantage, as Adam would otherwise move
/// on its moments alone.
fn reinforce<'a>(
    policy: &mut Decoder,
    optimizer: &mut AdamW,
    rows: impl Iterator<Item = (&'a [u32], &'a [u32], f64)>,
    rate: f64,
) -> Result<(), SelfImprovementError> {
    let rows: Vec<_> = rows.filter(|(_, _, advantage)| *advantage != 0.0).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let pairs = rows.iter().map(|(prompt, completion, _)| (*prompt, *completion));
    let batch = SequenceBatch::new(pairs, policy.shape())?;
    let weights: Vec<Vec<f64>> = rows
        .iter()
        .map(|(_, completion, advantage)| vec![-advantage / rows.len() as f64; completion.len()])
        .collect();
    let log_probs = batch.scores(policy, 1.0).log_probs;
    let weights = pad_rows(&weights, batch.width, &log_probs.device())?;
    let loss: Tensor<1> = (log_probs * weights).sum();
    optimizer.minimise(policy, loss, rate)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Check;
    use headwater_nn::{AdamWConfig, DecoderConfig, Device, SamplingConfig};

    #[test]
    fn neither_trivial_nor_impossible_tasks_pay() {
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(proposer_reward), [0.0, 0.75, 0.5, 0.0]);
    }

    /// Tokens 3 to 6 propose the task of that token, of which only 5 and 6 are valid; the answer to a task is its token.
    fn run(
        grade: &dyn Fn(&Generations) -> Vec<bool>,
    ) -> (Decoder, Decoder, Vec<ProposerSolverStep>) {
        let config =
            DecoderConfig { vocabulary: 9, width: 16, context: 3, ..DecoderConfig::default() };
        let streams = Streams::new(1);
        let (mut weights, device) = (streams.stream("weights", &[]), Device::flex().autodiff());
        let start = Decoder::initialise(&config.check().unwrap(), &mut weights, &device);
        let adamw =
            AdamWConfig { learning_rate: 1e-2, weight_decay: 0.0, ..AdamWConfig::default() };
        let mut optimizer = AdamW::new(adamw.check().unwrap());
        let one = SamplingConfig { max_new_tokens: 1, stop: None, ..SamplingConfig::default() };
        let one = one.check().unwrap();
        let roles = Roles { proposing: one.clone(), solving: one, attempts: 8 };
        let validate = |_: &[u32], proposal: &[u32]| {
            let task = Prompt { tokens: proposal.to_vec(), text: String::new(), reference: None };
            (5..7).contains(&proposal[0]).then_some(task)
        };
        let tool = Tool { validate: &validate, grade };
        let mut policy = start.clone();
        let prompts = vec![vec![8]; 32];
        let steps = (0..60).map(|at| {
            let streams = streams.child("step", &[at]);
            let policy = &mut policy;
            proposer_solver_step(policy, &mut optimizer, &prompts, &tool, &roles, 1.0, &streams)
                .unwrap()
        });
        let steps: Vec<_> = steps.collect();
        (start, policy, steps)
    }

    #[test]
    fn the_proposer_learns_what_is_valid_and_the_solver_what_is_right() {
        let right = |tried: &Generations| tried.pairs().map(|(p, a)| p[0] == a[0]).collect();
        let (_, _, steps) = run(&right);
        let (first, last) = (steps[0], steps[59]);
        assert!(last.valid > first.valid + 0.3, "{first:?}, {last:?}");
        assert!(last.solve_rate.unwrap() > first.solve_rate.unwrap() + 0.3, "{first:?}, {last:?}");
    }

    #[test]
    fn a_tool_that_solves_nothing_teaches_nothing() {
        let (start, policy, steps) = run(&|tried| vec![false; tried.pairs().count()]);
        let values =
            |d: &Decoder| d.weights().into_iter().flat_map(|w| w.values).collect::<Vec<_>>();
        assert_eq!(values(&start), values(&policy));
        assert!(steps.iter().all(|step| step.proposer_reward == 0.0));
    }
}
