//! Identities of the loops over a decoder: what a round must do whatever the policy is.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use headwater_core::{Check, Prompt, Streams};
use headwater_nn::{
    AdamWConfig, Decoder, DecoderConfig, Device, Sampling, SamplingConfig, SequenceBatch,
};
use headwater_self_improvement::fit::{FitConfig, FitSettings};
use headwater_self_improvement::preference::{Preference, prefer};
use headwater_self_improvement::rejection::{
    RejectionConfig, RejectionSettings, Start, rejection_round,
};
use headwater_self_improvement::self_judging::{
    Rejected, SelfJudgingConfig, best_against_worst, self_judging_round,
};
use headwater_self_improvement::spin::spin_round;
use headwater_self_improvement::{Generations, SelfImprovementError};

/// Answers are one token of 3 to 8.
const SAMPLES: usize = 16;

fn sampling() -> SamplingConfig {
    SamplingConfig { max_new_tokens: 1, stop: None, ..SamplingConfig::default() }
}

fn checked_sampling() -> Sampling {
    sampling().check().unwrap()
}

fn fit() -> FitConfig {
    FitConfig {
        steps: 30,
        batch: 32,
        warmup_steps: 3,
        adamw: AdamWConfig { learning_rate: 1e-2, weight_decay: 0.0, ..AdamWConfig::default() },
    }
}

fn checked_fit() -> FitSettings {
    fit().check().unwrap()
}

fn round() -> RejectionSettings {
    RejectionConfig { samples: SAMPLES, sampling: sampling(), fit: fit() }.check().unwrap()
}

fn policy(seed: u64) -> Decoder {
    let config = DecoderConfig { vocabulary: 9, width: 16, context: 4, ..DecoderConfig::default() };
    let mut weights = Streams::new(seed).stream("weights", &[]);
    Decoder::initialise(&config.check().unwrap(), &mut weights, &Device::flex().autodiff())
}

fn prompts() -> Vec<Prompt> {
    let prompt = |token| Prompt { tokens: vec![token], text: String::new(), reference: None };
    (3..9).map(prompt).collect()
}

/// The right answer to a prompt is its own token.
fn gold(_policy: &Decoder, answers: &Generations) -> Result<Vec<bool>, SelfImprovementError> {
    Ok(answers.pairs().map(|(prompt, answer)| answer[0] == prompt[0]).collect())
}

fn accuracy(policy: &Decoder) -> f64 {
    let streams = Streams::new(9);
    let answers =
        Generations::sample(policy, &prompts(), 64, &checked_sampling(), &streams).unwrap();
    let right = gold(policy, &answers).unwrap();
    right.iter().filter(|right| **right).count() as f64 / right.len() as f64
}

fn same(one: &Decoder, other: &Decoder) -> bool {
    let values = |d: &Decoder| d.weights().into_iter().flat_map(|w| w.values).collect::<Vec<_>>();
    values(one) == values(other)
}

#[test]
fn a_filter_that_rejects_all_leaves_what_the_fit_starts_from() {
    let (policy, base) = (policy(1), policy(2));
    let none = |_: &Decoder, answers: &Generations| Ok(vec![false; answers.pairs().count()]);
    for (start, expected) in [(Start::Continue, &policy), (Start::Restart(&base), &base)] {
        let streams = Streams::new(3);
        let done =
            rejection_round(&policy, start, &prompts(), &none, None, &round(), &streams).unwrap();
        assert!(same(&done.policy, expected));
    }
}

#[test]
fn a_filter_that_keeps_all_keeps_the_distribution_it_was_given() {
    let all = |_: &Decoder, answers: &Generations| Ok(vec![true; answers.pairs().count()]);
    let policy = policy(1);
    let done = rejection_round(
        &policy,
        Start::Continue,
        &prompts(),
        &all,
        None,
        &round(),
        &Streams::new(3),
    );
    let done = done.unwrap();
    assert!(done.kept.iter().all(|kept| *kept));
    let right = gold(&policy, &done.generations).unwrap();
    let generated = right.iter().filter(|right| **right).count() as f64 / right.len() as f64;
    // Six answers that are about equally likely; what is fitted are 96 samples of them.
    assert!((accuracy(&done.policy) - generated).abs() < 0.1, "{generated}");
}

#[test]
fn rest_em_with_gold_keeps_right_answers_only_and_learns_them_from_its_base() {
    let (policy, base) = (policy(1), policy(2));
    let before = accuracy(&base);
    let done = rejection_round(
        &policy,
        Start::Restart(&base),
        &prompts(),
        &gold,
        None,
        &round(),
        &Streams::new(3),
    );
    let done = done.unwrap();
    assert_eq!(done.kept, gold(&policy, &done.generations).unwrap());
    assert!(done.kept.contains(&true) && done.kept.contains(&false));
    assert!(accuracy(&done.policy) > before + 0.3, "{before}, {}", accuracy(&done.policy));
}

#[test]
fn rationalisation_is_tried_where_nothing_was_kept_and_learnt_under_the_plain_prompt() {
    let teacher = {
        // A policy that repeats the last token it reads.
        let all: Vec<Prompt> = prompts();
        let examples: Vec<_> = (0..6)
            .flat_map(|first| all.iter().map(move |last| (first, last.clone())))
            .map(|(first, last)| headwater_core::Example {
                prompt: vec![3 + first, last.tokens[0]],
                completion: last.tokens,
            })
            .collect();
        let config = FitConfig { steps: 200, ..fit() };
        let streams = Streams::new(4);
        headwater_self_improvement::fit::fit(
            &policy(1),
            &examples,
            &config.check().unwrap(),
            &streams,
        )
        .unwrap()
    };
    // Keep nothing of the first attempt but for the first prompt, and what is right of the second.
    let calls = std::cell::Cell::new(0);
    let filter = |policy: &Decoder, answers: &Generations| {
        calls.set(calls.get() + 1);
        if calls.get() == 1 {
            let first = |at: usize| at < SAMPLES;
            return Ok((0..answers.pairs().count()).map(first).collect());
        }
        assert_eq!(answers.prompts, prompts()[1..]);
        gold(policy, answers)
    };
    let hint = |prompt: &Prompt| vec![8, prompt.tokens[0]];
    let done = rejection_round(
        &teacher,
        Start::Continue,
        &prompts(),
        &filter,
        Some(&hint),
        &round(),
        &Streams::new(3),
    )
    .unwrap();
    assert_eq!(calls.get(), 2);
    // With the hint the policy is nearly always right.
    assert!(done.rationalised > 4 * SAMPLES, "{} of {}", done.rationalised, 5 * SAMPLES);
    let of_others = Prompt { tokens: vec![7], text: String::new(), reference: None };
    let answers =
        Generations::sample(&done.policy, &[of_others], 64, &checked_sampling(), &Streams::new(5));
    let answers = answers.unwrap();
    let right = answers.pairs().filter(|(_, answer)| answer[0] == 7).count();
    assert!(right > 40, "{right} of 64 without the hint");
}

#[test]
fn equal_scores_prefer_nothing_and_leave_the_policy_as_it_is() {
    let policy = policy(1);
    let judge = |_: &Decoder, answers: &Generations| Ok(vec![0.5; answers.pairs().count()]);
    let config =
        SelfJudgingConfig { samples: SAMPLES, sampling: sampling(), beta: 0.5, fit: fit() };
    for rejected in [Rejected::Current, Rejected::Past(&policy)] {
        let settings = config.clone().check().unwrap();
        let streams = Streams::new(3);
        let (after, pairs) =
            self_judging_round(&policy, rejected, &prompts(), &judge, &settings, &streams).unwrap();
        assert!(pairs.is_empty());
        assert!(same(&after, &policy));
    }
}

#[test]
fn the_best_is_chosen_from_one_side_and_the_worst_rejected_from_the_other() {
    let policy = policy(1);
    let sample = |seed| {
        let streams = Streams::new(seed);
        Generations::sample(&policy, &prompts(), 8, &checked_sampling(), &streams).unwrap()
    };
    let (own, past) = (sample(1), sample(2));
    let scores = |answers: &Generations| -> Vec<f64> {
        answers.pairs().map(|(_, answer)| f64::from(answer[0])).collect()
    };
    let pairs = best_against_worst((&own, &scores(&own)), (&past, &scores(&past))).unwrap();
    assert_eq!(pairs.len(), prompts().len());
    for (at, pair) in pairs.iter().enumerate() {
        let tokens = |group: &[headwater_nn::Completion]| -> Vec<u32> {
            group.iter().map(|completion| completion.tokens[0]).collect()
        };
        let most = tokens(&own.groups[at]).into_iter().max().unwrap();
        let least = tokens(&past.groups[at]).into_iter().min().unwrap();
        assert_eq!((pair.chosen, pair.rejected), (f64::from(most), f64::from(least)));
        assert_eq!(pair.preference.chosen, [most]);
        assert_eq!(pair.preference.rejected, [least]);
    }
    assert!(best_against_worst((&own, &[0.0]), (&past, &scores(&past))).is_err());
    let mut unknown = scores(&own);
    unknown[0] = f64::NAN;
    let error = best_against_worst((&own, &unknown), (&past, &scores(&past))).unwrap_err();
    let wanted = "best_against_worst.scores = NaN: allowed is a finite number";
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn a_preference_makes_the_chosen_likelier_than_the_rejected() {
    let policy = policy(1);
    let pair = |token| Preference { prompt: vec![token], chosen: vec![token], rejected: vec![3] };
    let pairs: Vec<Preference> = (4..9).map(pair).collect();
    let streams = Streams::new(3);
    let after = prefer(&policy, &policy, &pairs, 0.5, &checked_fit(), &streams).unwrap();
    // DPO is about the two sides of a pair, and says nothing about third answers.
    let contrasts = |policy: &Decoder| -> Vec<f32> {
        let log_probs = |side: fn(&Preference) -> &[u32]| {
            let pairs = pairs.iter().map(|pair| (pair.prompt.as_slice(), side(pair)));
            SequenceBatch::new(pairs, policy.shape()).unwrap().log_probs(policy).concat()
        };
        let (chosen, rejected) = (log_probs(|p| &p.chosen), log_probs(|p| &p.rejected));
        chosen.iter().zip(&rejected).map(|(chosen, rejected)| chosen - rejected).collect()
    };
    for (after, before) in contrasts(&after).into_iter().zip(contrasts(&policy)) {
        assert!(after > before + 1.0, "{after} is not far above {before}");
    }
    let untouched = prefer(&policy, &policy, &[], 0.5, &checked_fit(), &streams).unwrap();
    assert!(same(&untouched, &policy));
}

#[test]
fn spin_approaches_its_data() {
    let mut policy = policy(1);
    let before = accuracy(&policy);
    let data: Vec<_> = (0..96)
        .map(|at| 3 + at % 6)
        .map(|token| headwater_core::Example { prompt: vec![token], completion: vec![token] })
        .collect();
    for at in 0..3 {
        let streams = Streams::new(3).child("round", &[at]);
        policy =
            spin_round(&policy, &data, &checked_sampling(), 0.5, &checked_fit(), &streams).unwrap();
    }
    assert!(accuracy(&policy) > before + 0.5, "{before}, {}", accuracy(&policy));
}
