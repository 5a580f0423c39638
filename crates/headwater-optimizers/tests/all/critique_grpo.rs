//! Critique-GRPO: the shaping lemma, its golden values, gradients, identities, and the trainer.

use crate::common::{assert_close, assert_rows_close, device, host};
use burn::tensor::Tensor;
use headwater_core::{Check, Group, Prompt, Sample, Score, Streams};
use headwater_nn::{AdamWConfig, Checkpoint, Decoder, DecoderConfig, SamplingConfig};
use headwater_optimizers::critique_grpo::{
    Attempt, Critic, CritiqueTrainerConfig, Refine, RefinementWeight, mixed_advantages,
};
use headwater_optimizers::ppo::Clip;
use headwater_optimizers::{
    CritiqueGrpo, CritiqueGrpoConfig, CritiqueTrainer, Environment, Grade, Objective,
    OptimizerError, TokenBatch, Trainer, TrainerConfig, mask_from_lengths, pad_rows,
};

const SHAPED: RefinementWeight = RefinementWeight::Shaped { gamma: 0.1 };
const IMPORTANCE: RefinementWeight = RefinementWeight::ImportanceRatio { cap: 2.0 };

fn objective(weight: RefinementWeight, refinement_clip: Option<Clip>) -> CritiqueGrpo {
    CritiqueGrpoConfig { weight, refinement_clip, ..CritiqueGrpoConfig::default() }.check().unwrap()
}

/// Loss and gradient of rows of refinement tokens, each token's loss weighted with 1.
fn refinement_loss(
    objective: &CritiqueGrpo,
    logp: &[Vec<f64>],
    critique_logp: &[Vec<f64>],
    advantages: &[f64],
) -> (f64, Vec<Vec<f64>>) {
    let (device, width) = (device(), 5);
    let lengths: Vec<usize> = logp.iter().map(Vec::len).collect();
    let tensor = |rows: &[Vec<f64>]| -> Tensor<2> { pad_rows(rows, width, &device).unwrap() };
    let tracked = tensor(logp).require_grad();
    let rows: Vec<Vec<f64>> =
        advantages.iter().zip(&lengths).map(|(a, length)| vec![*a; *length]).collect();
    let mask = mask_from_lengths(&lengths, width, &device).unwrap();
    let loss = objective
        .refinement_token_loss(tracked.clone(), tensor(critique_logp), tensor(&rows), mask)
        .unwrap()
        .sum();
    let gradient = host(tracked.grad(&loss.backward()).unwrap());
    let gradient =
        gradient.chunks(width).zip(&lengths).map(|(row, length)| row[..*length].to_vec());
    (f64::from(loss.into_scalar::<f32>()), gradient.collect())
}

/// Rows of probabilities as log-probabilities.
fn logs(rows: &[&[f64]]) -> Vec<Vec<f64>> {
    rows.iter().map(|row| row.iter().map(|p| p.ln()).collect()).collect()
}

#[test]
fn the_shaped_gradient_has_the_published_weights() {
    // methods: pi to Psi at gamma = 0.1, as printed.
    let golden = [
        (1e-4, 0.0010, 5e-5),
        (1e-3, 0.0098, 5e-5),
        (0.01, 0.083, 5e-4),
        (0.1, 0.25, 1e-12),
        (0.5, 0.139, 5e-4),
        (0.9, 0.090, 5e-4),
        (1.0, 0.083, 5e-4),
    ];
    for (probability, psi, rounding) in golden {
        let weight = SHAPED.gradient_weight(probability, 0.5);
        assert!((weight - psi).abs() <= rounding, "{probability}: {weight} is not {psi}");
        // The lemma, on the graph: d rho / d log pi = Psi.
        let (_, gradient) = refinement_loss(
            &objective(SHAPED, None),
            &logs(&[&[probability]]),
            &[vec![-1.0]],
            &[1.0],
        );
        assert_close(-gradient[0][0], weight, 1e-5);
    }
}

#[test]
fn shaping_peaks_at_gamma_with_a_quarter_and_vanishes_in_both_limits() {
    for gamma in [0.01, 0.1, 0.5] {
        let psi = |p: f64| RefinementWeight::Shaped { gamma }.gradient_weight(p, 1.0);
        assert_close(psi(gamma), 0.25, 1e-12);
        for at in 1..100 {
            let probability = f64::from(at) / 100.0;
            assert!(psi(probability) <= 0.25, "{gamma} {probability}");
        }
    }
    let probability: f64 = 0.2;
    for (gamma, limit) in [(1e-6, 1e-6 / probability), (1e6, probability / 1e6)] {
        let weight = RefinementWeight::Shaped { gamma }.gradient_weight(probability, 1.0);
        assert_close(weight / limit, 1.0, 1e-4);
    }
}

#[test]
fn every_weight_is_the_gradient_of_its_loss() {
    let logp = logs(&[&[0.002, 0.3, 0.9], &[0.05], &[0.6, 0.01]]);
    let critique = logs(&[&[0.1, 0.4, 0.3], &[0.9], &[0.2, 0.3]]);
    let advantages = [0.875, -0.125, 0.5];
    let weights = [SHAPED, RefinementWeight::Probability, RefinementWeight::Likelihood, IMPORTANCE];
    for weight in weights {
        let objective = objective(weight, None);
        let (_, gradient) = refinement_loss(&objective, &logp, &critique, &advantages);
        let expected: Vec<Vec<f64>> = (0..3)
            .map(|row| {
                let tokens = logp[row].iter().zip(&critique[row]);
                let weigh = |(l, c): (&f64, &f64)| {
                    -advantages[row] * weight.gradient_weight(l.exp(), c.exp())
                };
                tokens.map(weigh).collect()
            })
            .collect();
        assert_rows_close(&gradient, &expected, 1e-5);
        // The importance ratio's loss is a surrogate: its value is not what its gradient integrates to.
        if weight == IMPORTANCE {
            continue;
        }
        let loss = |logp: &[Vec<f64>]| -> f64 {
            let rho = |l: f64| match weight {
                RefinementWeight::Shaped { gamma } => l.exp() / (l.exp() + gamma),
                RefinementWeight::Probability => l.exp(),
                _ => l,
            };
            let rows = logp.iter().zip(&advantages);
            rows.map(|(row, a)| -a * row.iter().map(|l| rho(*l)).sum::<f64>()).sum()
        };
        for (row, column) in [(0, 0), (0, 2), (1, 0), (2, 1)] {
            let mut moved = [logp.clone(), logp.clone()];
            moved[0][row][column] += 1e-5;
            moved[1][row][column] -= 1e-5;
            let slope = (loss(&moved[0]) - loss(&moved[1])) / 2e-5;
            assert_close(gradient[row][column], slope, 1e-4);
        }
    }
    let (loss, gradient) = refinement_loss(
        &objective(RefinementWeight::BaselineOnly, None),
        &logp,
        &critique,
        &advantages,
    );
    assert_eq!(loss, 0.0);
    assert!(gradient.iter().flatten().all(|g| *g == 0.0));
}

#[test]
fn the_importance_ratio_is_capped_and_a_capped_token_keeps_its_gradient() {
    let (_, gradient) =
        refinement_loss(&objective(IMPORTANCE, None), &logs(&[&[0.9]]), &logs(&[&[0.01]]), &[1.0]);
    assert_close(gradient[0][0], -2.0, 1e-5);
}

#[test]
fn the_printed_clip_frees_wrong_tokens_that_are_not_confident_and_binds_on_no_right_one() {
    let clipped = objective(SHAPED, Some(Clip::symmetric(0.2)));
    let free = objective(SHAPED, None);
    for probability in [0.01, 0.2, 0.39, 0.41, 0.7, 0.99] {
        let gradient = |objective: &CritiqueGrpo, advantage| {
            let logp = logs(&[&[probability]]);
            refinement_loss(objective, &logp, &[vec![-1.0]], &[advantage]).1[0][0]
        };
        assert_close(gradient(&clipped, 0.875), gradient(&free, 0.875), 1e-6);
        // rho = 0.8 at pi = 0.4.
        let expected = if probability < 0.4 { 0.0 } else { gradient(&free, -0.125) };
        assert_close(gradient(&clipped, -0.125), expected, 1e-6);
    }
}

#[test]
fn seven_failures_and_a_rescue_have_the_published_advantages() {
    let (rollouts, refinements) = mixed_advantages(&[0.0; 7], &[1.0]).unwrap();
    assert_eq!((rollouts, refinements), (vec![-0.125; 7], vec![0.875]));
    for reward in [0.0, 1.0, 0.3] {
        let (rollouts, refinements) = mixed_advantages(&[reward; 7], &[reward]).unwrap();
        assert!(rollouts.iter().chain(&refinements).all(|a| *a == 0.0), "exactly, at {reward}");
    }
    assert_eq!(mixed_advantages(&[1.0, 0.0], &[]).unwrap().0, [0.5, -0.5]);
    assert!(mixed_advantages(&[f64::NAN], &[]).is_err());
}

#[test]
fn right_refinements_are_kept_first_and_ties_fall_at_random() {
    let keep = |kept| {
        let config = CritiqueGrpoConfig { kept, ..CritiqueGrpoConfig::default() };
        config.check().unwrap()
    };
    let rewards = [0.0, 1.0, 0.0, 1.0];
    let mut seen = [0; 4];
    for at in 0..200 {
        let mut stream = Streams::new(at).stream("choice", &[]);
        let one = keep(1).choose(&rewards, &mut stream);
        seen[one[0]] += 1;
        assert_eq!(keep(2).choose(&rewards, &mut stream), [1, 3]);
        let three = keep(3).choose(&rewards, &mut stream);
        assert!(three.contains(&1) && three.contains(&3) && three.len() == 3);
        assert_eq!(keep(9).choose(&rewards, &mut stream).len(), 4);
    }
    assert_eq!((seen[0], seen[2]), (0, 0));
    assert!(seen[1] > 60 && seen[3] > 60, "{seen:?}");
}

#[test]
fn which_prompts_are_refined() {
    let refines = |refine, rewards: &[f64]| {
        let config = CritiqueGrpoConfig { refine, ..CritiqueGrpoConfig::default() };
        config.check().unwrap().refines(rewards)
    };
    assert!(!refines(Refine::Never, &[0.0, 0.0]));
    assert!(
        refines(Refine::StuckPrompts, &[0.0, 0.0]) && !refines(Refine::StuckPrompts, &[0.0, 1.0])
    );
    assert!(refines(Refine::EveryPrompt, &[1.0, 1.0]));
}

#[test]
fn configs_out_of_range_are_refused_by_name() {
    let refused = |config: CritiqueGrpoConfig| config.check().unwrap_err().to_string();
    let usual = CritiqueGrpoConfig::default();
    assert!(refused(CritiqueGrpoConfig { kept: 0, ..usual }).contains("kept = 0"));
    let weight = RefinementWeight::Shaped { gamma: 0.0 };
    assert!(refused(CritiqueGrpoConfig { weight, ..usual }).contains("weight.gamma = 0"));
    for weight in [RefinementWeight::Likelihood, IMPORTANCE, RefinementWeight::BaselineOnly] {
        assert!(refused(CritiqueGrpoConfig { weight, ..usual }).contains("refinement_clip"));
    }
    let sampling = SamplingConfig { temperature: 0.7, ..SamplingConfig::default() };
    let config = CritiqueTrainerConfig { sampling, ..CritiqueTrainerConfig::default() };
    assert!(config.check().unwrap_err().to_string().contains("temperature 1"));
}

#[test]
fn the_rollouts_loss_is_that_of_dr_grpo() {
    let device = device();
    let tensor = |rows: &[Vec<f64>]| pad_rows(rows, 3, &device).unwrap();
    let logp = logs(&[&[0.2, 0.5, 0.9], &[0.4, 0.1]]);
    let old = logs(&[&[0.3, 0.3, 0.9], &[0.2, 0.2]]);
    let advantages = [vec![0.5; 3], vec![-0.5; 2]];
    let mask = mask_from_lengths(&[3, 2], 3, &device).unwrap();
    let dr_grpo = Objective::dr_grpo(1)
        .token_loss(tensor(&logp), tensor(&old), None, tensor(&advantages), mask.clone())
        .unwrap();
    let tokens = TokenBatch::new(tensor(&logp), tensor(&old), tensor(&advantages), mask).unwrap();
    let ours = objective(SHAPED, None).rollout_token_loss(&tokens);
    assert_eq!(host(ours), host(dr_grpo));
}

// The trainer, on a task of four questions: repeat the token that is asked for. A critique names it.

fn policy() -> Decoder {
    let config = DecoderConfig { vocabulary: 8, width: 16, layers: 1, ..DecoderConfig::default() };
    let mut stream = Streams::new(1).stream("weights", &[]);
    Decoder::initialise(&config.check().unwrap(), &mut stream, &device())
}

fn sampling() -> SamplingConfig {
    SamplingConfig { max_new_tokens: 2, stop: None, ..SamplingConfig::default() }
}

fn trainer(config: CritiqueGrpoConfig, learning_rate: f64) -> CritiqueTrainer {
    let adamw = AdamWConfig { learning_rate, weight_decay: 0.0, ..AdamWConfig::default() };
    let settings =
        CritiqueTrainerConfig { group_size: 4, sampling: sampling(), warmup_steps: 0, adamw };
    let settings = settings.check().unwrap();
    CritiqueTrainer::new(policy(), config.check().unwrap(), settings, Streams::new(7))
}

fn prompts() -> Vec<Prompt> {
    let prompt =
        |token: u32| Prompt { tokens: vec![token], text: token.to_string(), reference: None };
    (3..7).map(prompt).collect()
}

/// Asks for tokens to be repeated; a critique names the token.
struct Criticised<G> {
    grade: G,
    /// Whether what is graded next are refinements.
    refining: bool,
}

/// `grade` is told whether it grades refinements, and says the reward of the `at`-th completion.
fn criticised<G: Fn(bool, usize, Sample<'_>) -> f64>(grade: G) -> Criticised<G> {
    Criticised { grade, refining: false }
}

impl<G: Fn(bool, usize, Sample<'_>) -> f64> Environment for Criticised<G> {
    type Error = OptimizerError;

    fn prompts(&mut self, _step: u64, _attempt: u64) -> Result<Vec<Prompt>, OptimizerError> {
        Ok(prompts())
    }

    fn decode(&self, tokens: &[u32]) -> String {
        tokens.iter().map(u32::to_string).collect()
    }

    fn grade(&mut self, groups: &[Group], _step: u64) -> Result<Vec<Grade>, OptimizerError> {
        let refining = std::mem::take(&mut self.refining);
        let samples = groups.iter().flat_map(Group::samples).enumerate();
        let reward = |(at, sample)| Score::Scored((self.grade)(refining, at, sample));
        Ok(samples.map(|sample| Grade { reward: reward(sample), correct: None }).collect())
    }
}

impl<G: Fn(bool, usize, Sample<'_>) -> f64> Critic for Criticised<G> {
    fn criticise(
        &mut self,
        attempts: &[Attempt<'_>],
        _step: u64,
    ) -> Result<Vec<Vec<u32>>, OptimizerError> {
        self.refining = true;
        let critique = |a: &Attempt<'_>| vec![a.prompt.tokens[0], a.response[0], a.response[1], 7];
        Ok(attempts.iter().map(critique).collect())
    }
}

#[test]
fn equal_rewards_change_nothing() {
    for reward in [0.0, 1.0] {
        let mut trainer = trainer(CritiqueGrpoConfig::default(), 1e-2);
        let before = Checkpoint::of(trainer.policy()).to_bytes();
        let metrics = trainer.step(&mut criticised(|_, _, _| reward)).unwrap();
        assert_eq!(metrics["loss"], 0.0);
        assert_eq!(metrics["frac_refined"], 1.0 - reward);
        // Four prompts, four rollouts each; where all failed, as many refinements.
        assert_eq!(metrics["generations"], 32.0 - 16.0 * reward);
        assert!(Checkpoint::of(trainer.policy()).to_bytes() == before);
    }
}

#[test]
fn without_refinements_a_step_is_dr_grpos() {
    let config = CritiqueGrpoConfig { refine: Refine::Never, ..CritiqueGrpoConfig::default() };
    // Rewards on every second row, so that groups are mixed.
    let mut halves = criticised(|_, at, _| (at % 2) as f64);
    let mut ours = trainer(config, 1e-3);
    let adamw = AdamWConfig { learning_rate: 1e-3, weight_decay: 0.0, ..AdamWConfig::default() };
    let settings = TrainerConfig {
        prompts_per_step: 4,
        group_size: 4,
        sampling: sampling(),
        adamw,
        ..TrainerConfig::default()
    };
    let mut dr_grpo =
        Trainer::new(policy(), Objective::dr_grpo(1), settings.check().unwrap(), Streams::new(7));
    let before = Checkpoint::of(ours.policy()).to_bytes();
    for _ in 0..3 {
        let (metrics, expected) =
            (ours.step(&mut halves).unwrap(), dr_grpo.step(&mut halves).unwrap());
        assert_eq!(metrics["generations"], 16.0);
        assert_eq!(metrics["entropy"].to_bits(), expected["entropy"].to_bits());
    }
    let after = Checkpoint::of(ours.policy()).to_bytes();
    assert!(after != before);
    assert!(after == Checkpoint::of(dr_grpo.policy()).to_bytes(), "the same policy, bit for bit");
}

#[test]
fn refinements_are_trained_under_the_plain_prompt() {
    // Only refinements are ever right, and only their first tokens matter: what they say must rise under the plain
    // prompt, which none of the refinements was sampled from.
    let mut environment = criticised(|refining, _, sample| {
        f64::from(u8::from(refining && sample.completion.starts_with('5')))
    });
    let probability = |policy: &Decoder| {
        let pairs = [(&[3u32][..], &[5u32][..])];
        let batch = headwater_nn::SequenceBatch::new(pairs, policy.shape()).unwrap();
        f64::from(batch.log_probs(policy)[0][0]).exp()
    };
    let mut change = |weight, clip| {
        let config =
            CritiqueGrpoConfig { weight, refinement_clip: clip, ..CritiqueGrpoConfig::default() };
        let mut trainer = trainer(config, 1e-2);
        let before = probability(trainer.policy());
        for _ in 0..60 {
            trainer.step(&mut environment).unwrap();
        }
        (before, probability(trainer.policy()))
    };
    let (before, shaped) = change(SHAPED, Some(Clip::symmetric(0.2)));
    assert!(before < 0.2 && shaped > 0.6, "{before} to {shaped}");
    // The same refinements, but not in the loss: only the mean moved, which says nothing of what they said.
    let (_, baseline) = change(RefinementWeight::BaselineOnly, None);
    assert!(baseline < 0.3, "{before} to {baseline}");
}

/// Without a critique of anything.
struct Silent(Criticised<fn(bool, usize, Sample<'_>) -> f64>);

impl Environment for Silent {
    type Error = OptimizerError;

    fn prompts(&mut self, step: u64, attempt: u64) -> Result<Vec<Prompt>, OptimizerError> {
        self.0.prompts(step, attempt)
    }

    fn decode(&self, tokens: &[u32]) -> String {
        self.0.decode(tokens)
    }

    fn grade(&mut self, groups: &[Group], step: u64) -> Result<Vec<Grade>, OptimizerError> {
        self.0.grade(groups, step)
    }
}

impl Critic for Silent {
    fn criticise(
        &mut self,
        _attempts: &[Attempt<'_>],
        _step: u64,
    ) -> Result<Vec<Vec<u32>>, OptimizerError> {
        Ok(Vec::new())
    }
}

#[test]
fn critiques_that_do_not_match_the_attempts_are_refused() {
    let mut silent = Silent(criticised(|_, _, _| 0.0));
    let error = trainer(CritiqueGrpoConfig::default(), 1e-2).step(&mut silent).unwrap_err();
    assert!(error.to_string().contains("critiques has 0 entries: expected 16"), "{error}");
}
