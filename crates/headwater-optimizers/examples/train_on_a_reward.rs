//! Trains a tiny policy from scratch on a reward of your own, and prints what each tenth step
//! came to. Change `reward` or `objective`, and see.
//!
//! `cargo run --release -p headwater-optimizers --example train_on_a_reward`
#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use headwater_core::{Check, Prompt, Sample, Score, Streams, Vocabulary};
use headwater_nn::{AdamWConfig, Decoder, DecoderConfig, Device, SamplingConfig};
use headwater_optimizers::{Objective, RewardEnvironment, Trainer, TrainerConfig};

/// The share of letters in a completion that are the prompt's.
fn reward(sample: Sample<'_>) -> Score {
    let letters = sample.completion.chars().count();
    let right = sample.completion.matches(sample.prompt).count();
    Score::finite(right as f64 / letters.max(1) as f64)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (streams, vocabulary) = (Streams::new(1), Vocabulary::characters("abcd"));
    let shape = DecoderConfig {
        vocabulary: vocabulary.size(),
        width: 16,
        layers: 1,
        ..DecoderConfig::default()
    };
    let device = Device::flex().autodiff();
    let mut weights = streams.stream("weights", &[]);
    let policy = Decoder::initialise(&shape.check()?, &mut weights, &device);

    let objective = Objective::grpo();
    let settings = TrainerConfig {
        prompts_per_step: 4,
        sampling: SamplingConfig { max_new_tokens: 4, ..SamplingConfig::default() },
        adamw: AdamWConfig { learning_rate: 1e-2, ..AdamWConfig::default() },
        ..TrainerConfig::default()
    };
    let prompts = |_step: u64, _attempt: u64| -> Vec<Prompt> {
        let letters = ["a", "b", "c", "d"].into_iter();
        let tokens = |letter: &str| vocabulary.id(letter).into_iter().collect();
        letters
            .map(|letter| Prompt { tokens: tokens(letter), text: letter.into(), reference: None })
            .collect()
    };
    let mut environment = RewardEnvironment { reward: &reward, vocabulary: &vocabulary, prompts };

    let mut trainer = Trainer::new(policy, objective, settings.check()?, streams);
    for step in (10..=100).step_by(10) {
        let metrics = trainer.train_until(step, &mut environment)?;
        let last = &metrics[metrics.len() - 1];
        let [reward, entropy, kl] = ["reward", "entropy", "kl"].map(|name| last[name]);
        println!("step {step:3}  reward {reward:.3}  entropy {entropy:.3}  KL {kl:.4}");
    }
    Ok(())
}
