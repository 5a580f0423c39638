//! How varied a policy's outputs are: entropy, n-gram diversity, distinct answers, novelty.
//!
//! Tokens and answers are any `Eq + Hash` type; a sample is anything that lends a slice of tokens
//! (`Vec<u32>`, `&[&str]`). Entropies are in nats. Diversity falls with temperature alone: compare
//! policies at matched entropy, or say at which temperature each was sampled.
//!
//! A sample without tokens is an error wherever tokens are counted: it would pass for a diverse one
//! in [`self_bleu`] and for a certain one in [`sequence_entropy`], and drop out of the rest. Where
//! a policy may stop at once, keep the token it stops with.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use crate::error::{
    EvaluationError, argument, at_least, distribution, every, in_range, same_length,
};

/// Shannon entropy -Σ p ln p of a distribution; in [0, ln K] nats over K outcomes.
///
/// # Errors
/// An empty distribution, a probability outside [0, 1], or a sum off 1 by more than 1e-3 (the slack
/// is for softmax rows in single precision).
pub fn entropy(probability: &[f64]) -> Result<f64, EvaluationError> {
    distribution("probability", probability)?;
    Ok(entropy_of(probability.iter().copied()))
}

/// Token entropy: mean of [`entropy`] over rows, one next-token distribution per generated token;
/// in [0, ln vocabulary].
///
/// The true entropy of each step, at the temperature the rows were computed at. A mean of -log p
/// over sampled tokens is a noisy estimate of it: see [`sequence_entropy`].
///
/// # Errors
/// No rows, or one that is no distribution.
pub fn mean_token_entropy<R: AsRef<[f64]>>(rows: &[R]) -> Result<f64, EvaluationError> {
    at_least("rows", rows.len(), 1)?;
    let of_row = |(index, row): (usize, &R)| {
        entropy(row.as_ref()).map_err(|error| error.of_item("rows", index))
    };
    let total = rows.iter().enumerate().map(of_row).sum::<Result<f64, _>>()?;
    Ok(total / rows.len() as f64)
}

/// Sequence entropy estimate: mean over samples of -Σ_t log p(token t); at least 0, in nats per
/// sequence.
///
/// `log_probabilities[i]` holds the log-probabilities of the tokens of sample i, under the policy
/// that drew it. An unbiased estimate of the entropy over whole sequences; grows with length.
///
/// # Errors
/// No samples, one without tokens, or a log-probability that is positive (beyond 1e-4 of rounding),
/// NaN or infinite.
pub fn sequence_entropy<S: AsRef<[f64]>>(log_probabilities: &[S]) -> Result<f64, EvaluationError> {
    at_least("log_probabilities", log_probabilities.len(), 1)?;
    no_empty_sample(log_probabilities)?;
    let mut total = 0.0;
    for (index, sample) in log_probabilities.iter().enumerate() {
        let sample = sample.as_ref();
        every("log_probabilities", sample, "a finite number of at most 0", |l| {
            l.is_finite() && l <= 1e-4
        })
        .map_err(|error| error.of_item("samples", index))?;
        total -= sample.iter().sum::<f64>();
    }
    // Rounding may have left a certain sequence above probability 1.
    in_range("sum", "log_probabilities", (total / log_probabilities.len() as f64).max(0.0))
}

/// distinct-n: distinct n-grams over all n-grams, pooled over the samples; in (0, 1].
///
/// Falls with the amount of text alone: compare equal token counts, or use
/// [`expectation_adjusted_distinct`]. Source: Li et al. (2016), arXiv 1510.03055. Samples shorter
/// than n hold no n-gram and so count in neither number. Kirk et al. (2023) average n = 1..=5.
///
/// # Errors
/// n = 0, a sample without tokens, or no sample of n tokens or more.
pub fn distinct_n<T: Eq + Hash, S: AsRef<[T]>>(
    samples: &[S],
    n: usize,
) -> Result<f64, EvaluationError> {
    argument(n > 0, "n", n as f64, "an integer above 0")?;
    no_empty_sample(samples)?;
    let mut seen = HashSet::new();
    let mut total = 0;
    for ngram in samples.iter().flat_map(|sample| sample.as_ref().windows(n)) {
        seen.insert(ngram);
        total += 1;
    }
    at_least("n-grams of samples", total, 1)?;
    Ok(seen.len() as f64 / total as f64)
}

/// EAD: distinct tokens over the number expected of a uniform draw, N / (V [1 - ((V-1)/V)^C]);
/// above 0, about 1 for uniform tokens, and at most C/(expected distinct) when none repeats.
///
/// N distinct tokens among C in all, V = `vocabulary`. Removes distinct-1's dependence on length.
/// Source: Liu et al. (2022), arXiv 2202.13587. V is the model's vocabulary, not the number of
/// tokens seen.
///
/// # Errors
/// No sample, one without tokens, or a vocabulary smaller than the number of distinct tokens.
pub fn expectation_adjusted_distinct<T: Eq + Hash, S: AsRef<[T]>>(
    samples: &[S],
    vocabulary: usize,
) -> Result<f64, EvaluationError> {
    at_least("samples", samples.len(), 1)?;
    no_empty_sample(samples)?;
    let total: usize = samples.iter().map(|sample| sample.as_ref().len()).sum();
    let distinct: HashSet<&T> = samples.iter().flat_map(|sample| sample.as_ref()).collect();
    let allowed = "an integer of at least the number of distinct tokens";
    argument(vocabulary >= distinct.len(), "vocabulary", vocabulary as f64, allowed)?;
    let v = vocabulary as f64;
    // V [1 - (1 - 1/V)^C], in the form that keeps its digits for large V; V = 1 gives 1.
    let expected = v * -(total as f64 * (-1.0 / v).ln_1p()).exp_m1();
    Ok(distinct.len() as f64 / expected)
}

/// Longest n-gram [`self_bleu`] matches.
pub const SELF_BLEU_ORDER: usize = 4;

/// Self-BLEU: mean BLEU-4 of each sample with all others as references; in [0, 1], 1 for identical
/// samples. **Lower is more diverse.**
///
/// Uniform weights 1/4 over n = 1..=4, clipped precisions, brevity penalty against the reference
/// closest in length (the shorter of two equally close). Smoothing: a zero count of matches becomes
/// 0.1 (method 1 of Chen and Cherry 2014), except that no unigram in common gives 0; a sample
/// shorter than n tokens counts as one unmatched n-gram. Source: Zhu et
/// al. (2018), arXiv 1802.01886; these are the settings of NLTK's `sentence_bleu` with `method1`.
/// Other weights or smoothing give other numbers: compare within one implementation only. Linear in
/// the total number of tokens.
///
/// # Errors
/// Fewer than two samples, or one without tokens.
pub fn self_bleu<T: Eq + Hash, S: AsRef<[T]>>(samples: &[S]) -> Result<f64, EvaluationError> {
    at_least("samples", samples.len(), 2)?;
    no_empty_sample(samples)?;
    let lengths: Vec<usize> = samples.iter().map(|sample| sample.as_ref().len()).collect();
    let mut log_precision = vec![0.0; samples.len()];
    for n in 1..=SELF_BLEU_ORDER {
        for (sum, precision) in log_precision.iter_mut().zip(clipped_precisions(samples, n)) {
            *sum += precision.ln() / SELF_BLEU_ORDER as f64;
        }
    }
    let total: f64 = log_precision
        .iter()
        .enumerate()
        .map(|(index, log)| brevity_penalty(&lengths, index) * log.exp())
        .sum();
    Ok(total / samples.len() as f64)
}

/// Of each sample, the smoothed share of its n-grams found in another sample at least as often.
fn clipped_precisions<T: Eq + Hash, S: AsRef<[T]>>(samples: &[S], n: usize) -> Vec<f64> {
    let counts: Vec<HashMap<&[T], usize>> = samples
        .iter()
        .map(|sample| {
            let mut counts = HashMap::new();
            for ngram in sample.as_ref().windows(n) {
                *counts.entry(ngram).or_insert(0) += 1;
            }
            counts
        })
        .collect();
    // The highest count of an n-gram among the *others* is its highest count, or its second highest
    // for the sample that has the highest.
    let mut highest: HashMap<&[T], (usize, usize, usize)> = HashMap::new();
    for (index, sample) in counts.iter().enumerate() {
        for (&ngram, &count) in sample {
            let (first, owner, second) = highest.entry(ngram).or_insert((0, index, 0));
            if count > *first {
                (*second, *first, *owner) = (*first, count, index);
            } else {
                *second = count.max(*second);
            }
        }
    }
    let precision = |(index, sample): (usize, &HashMap<&[T], usize>)| {
        let matched: usize = sample
            .iter()
            .map(|(ngram, &count)| {
                let (first, owner, second) = highest[ngram];
                count.min(if owner == index { second } else { first })
            })
            .sum();
        let total = sample.values().sum::<usize>().max(1) as f64;
        match matched {
            0 if n == 1 => 0.0,
            0 => 0.1 / total,
            matched => matched as f64 / total,
        }
    };
    counts.iter().enumerate().map(precision).collect()
}

fn brevity_penalty(lengths: &[usize], index: usize) -> f64 {
    let own = lengths[index];
    let closest = lengths
        .iter()
        .enumerate()
        .filter(|&(other, _)| other != index)
        .map(|(_, &length)| length)
        .min_by_key(|&length| (length.abs_diff(own), length))
        .unwrap_or(own);
    if own >= closest { 1.0 } else { (1.0 - closest as f64 / own as f64).exp() }
}

/// How often each distinct answer occurs, in order of first appearance (what
/// [`crate::pass_at_k::cons_at_k`] takes); nothing for no answers.
#[must_use]
pub fn answer_counts<T: Eq + Hash>(answers: &[T]) -> Vec<usize> {
    let mut position = HashMap::new();
    let mut counts: Vec<usize> = Vec::new();
    for answer in answers {
        let index = *position.entry(answer).or_insert(counts.len());
        if index == counts.len() {
            counts.push(0);
        }
        counts[index] += 1;
    }
    counts
}

/// Number of distinct answers; in 1..=K for K answers, and never falls with K.
///
/// Of no answers it is 0, and no error: a count, which holds for nothing as well.
///
/// On the class labels of [`equivalence_classes`] of k samples this is NoveltyBench's distinct_k.
#[must_use]
pub fn unique_answers<T: Eq + Hash>(answers: &[T]) -> usize {
    answers.iter().collect::<HashSet<_>>().len()
}

/// Entropy of the empirical answer distribution; in [0, ln K] nats for K answers.
///
/// The plug-in estimate: biased low by about (distinct answers - 1)/2K. Compare equal K only.
///
/// # Errors
/// No answers.
pub fn answer_entropy<T: Eq + Hash>(answers: &[T]) -> Result<f64, EvaluationError> {
    at_least("answers", answers.len(), 1)?;
    let total = answers.len() as f64;
    Ok(entropy_of(answer_counts(answers).into_iter().map(|count| count as f64 / total)))
}

/// Partitions samples by a pairwise test: each joins the first class whose first member it is
/// equivalent to, or founds a new one.
///
/// Returns a class label per sample, numbered from 0 in order of appearance. `same` need not be
/// transitive (a learned judge is not), so the result may depend on the order of the samples.
/// Source: Zhang et al. (2025), arXiv 2504.05228 (NoveltyBench), which compares with a random
/// member of each class; the first one is taken here, to need no randomness.
pub fn equivalence_classes<T>(samples: &[T], mut same: impl FnMut(&T, &T) -> bool) -> Vec<usize> {
    let mut founders: Vec<&T> = Vec::new();
    samples
        .iter()
        .map(|sample| match founders.iter().position(|&founder| same(founder, sample)) {
            Some(class) => class,
            None => {
                founders.push(sample);
                founders.len() - 1
            }
        })
        .collect()
}

/// NoveltyBench's utility_k: (1-p)/(1-p^k) Σ_i p^(i-1) novel_i u_i over k samples in the order
/// shown to a user.
///
/// The user goes on to the next sample with probability p = `patience` and gains `utility[i]` only
/// from samples whose class was not seen before. In the range of `utility` for utilities of at
/// least 0; k equal samples of utility u give u(1-p)/(1-p^k). The paper takes p = 0.8 and k = 10.
/// Source: Zhang et al. (2025), arXiv 2504.05228.
///
/// # Errors
/// No samples, lengths that differ, a utility that is not finite, or patience outside (0, 1).
pub fn utility_k<T: Eq + Hash>(
    classes: &[T],
    utility: &[f64],
    patience: f64,
) -> Result<f64, EvaluationError> {
    at_least("classes", classes.len(), 1)?;
    same_length("classes", classes.len(), "utility", utility.len())?;
    crate::error::all_finite("utility", utility)?;
    argument(patience > 0.0 && patience < 1.0, "patience", patience, "a number in (0, 1)")?;
    let mut seen = HashSet::new();
    let (mut total, mut weight, mut weights) = (0.0, 1.0, 0.0);
    for (class, utility) in classes.iter().zip(utility) {
        if seen.insert(class) {
            total += weight * utility;
        }
        weights += weight;
        weight *= patience;
    }
    in_range("utility", "utility", total / weights)
}

/// Errors at the first sample without a token.
fn no_empty_sample<T, S: AsRef<[T]>>(samples: &[S]) -> Result<(), EvaluationError> {
    let lengths: Vec<f64> = samples.iter().map(|sample| sample.as_ref().len() as f64).collect();
    every("number of tokens", &lengths, "at least 1 token in every sample", |length| length > 0.0)
}

fn entropy_of(probability: impl Iterator<Item = f64>) -> f64 {
    let sum: f64 = probability.filter(|&p| p > 0.0).map(|p| p * p.ln()).sum();
    // Not -sum: the entropy of a point mass is 0, not -0.
    0.0 - sum
}
