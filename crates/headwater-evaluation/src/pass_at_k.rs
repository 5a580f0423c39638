//! How often k samples of a prompt hold a right answer, or agree on one.
//!
//! All three estimators are exact expectations over the C(n, k) ways of drawing k of the n samples
//! at hand without replacement, and so unbiased for k fresh samples. Draw n ≥ 2k where the value at
//! k matters: at k = n they degenerate to "any right", "all right" and "the majority of this very
//! pool".

use serde::{Deserialize, Serialize};

use crate::error::{EvaluationError, argument, at_least};

mod consensus;

pub use consensus::{MOST_STEPS, MOST_VOTES, cons_at_k};

/// The samples of one prompt, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Samples drawn (n).
    pub samples: usize,
    /// Right ones among them (c).
    pub correct: usize,
}

impl Tally {
    /// Counts a prompt's samples, one flag each.
    #[must_use]
    pub fn of(correct: &[bool]) -> Self {
        Self { samples: correct.len(), correct: correct.iter().filter(|&&c| c).count() }
    }
}

/// pass@k of one prompt: the probability that at least one of k samples is right; in [0, 1].
///
/// 1 - C(n-c, k)/C(n, k), as the product 1 - ∏ⱼ (1 - k/j) over j = n-c+1..n, which never
/// overflows. Source: Chen et al. (2021), arXiv 2107.03374, section 2.1. Not the plug-in
/// `1 - (1 - c/n)^k`, which is biased.
///
/// # Errors
/// `correct > samples`, or k outside 1..=`samples`.
pub fn pass_at_k(samples: usize, correct: usize, k: usize) -> Result<f64, EvaluationError> {
    check_draw(samples, correct, k)?;
    let wrong = samples - correct;
    if wrong < k {
        return Ok(1.0);
    }
    let none: f64 = (wrong + 1..=samples).map(|j| 1.0 - k as f64 / j as f64).product();
    Ok(1.0 - none)
}

/// pass^k of one prompt: the probability that all k samples are right, C(c, k)/C(n, k); in [0, 1].
///
/// The reliability counterpart of pass@k. Source: Yao et al. (2024), arXiv 2406.12045 (tau-bench).
///
/// # Errors
/// `correct > samples`, or k outside 1..=`samples`.
pub fn all_pass_at_k(samples: usize, correct: usize, k: usize) -> Result<f64, EvaluationError> {
    check_draw(samples, correct, k)?;
    if correct < k {
        return Ok(0.0);
    }
    Ok((0..k).map(|i| (correct - i) as f64 / (samples - i) as f64).product())
}

/// pass@k of every prompt, in order: what an interval over prompts is taken of.
///
/// # Errors
/// No prompt, or one for which [`pass_at_k`] fails (k above its sample count, for one), by its
/// index.
pub fn pass_at_k_by_prompt(prompts: &[Tally], k: usize) -> Result<Vec<f64>, EvaluationError> {
    at_least("prompts", prompts.len(), 1)?;
    let value = |(index, tally): (usize, &Tally)| {
        pass_at_k(tally.samples, tally.correct, k).map_err(|error| error.of_item("prompts", index))
    };
    prompts.iter().enumerate().map(value).collect()
}

/// Mean pass@k over prompts, each prompt weighted alike; in [0, 1].
///
/// # Errors
/// As [`pass_at_k_by_prompt`].
pub fn mean_pass_at_k(prompts: &[Tally], k: usize) -> Result<f64, EvaluationError> {
    let values = pass_at_k_by_prompt(prompts, k)?;
    Ok(values.iter().sum::<f64>() / values.len() as f64)
}

fn check_draw(samples: usize, correct: usize, k: usize) -> Result<(), EvaluationError> {
    at_least("samples", samples, 1)?;
    argument(correct <= samples, "correct", correct as f64, "an integer in 0..=samples")?;
    check_k(samples, k)
}

fn check_k(samples: usize, k: usize) -> Result<(), EvaluationError> {
    if (1..=samples).contains(&k) {
        return Ok(());
    }
    Err(EvaluationError::Draw { k, samples })
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;
    use proptest::prelude::*;

    /// Mean of `statistic` over every k-subset of `items`.
    fn over_subsets<T: Copy>(items: &[T], k: usize, statistic: impl Fn(&[T]) -> f64) -> f64 {
        let mut values = Vec::new();
        for mask in 0u32..1 << items.len() {
            if mask.count_ones() as usize == k {
                let chosen: Vec<T> =
                    (0..items.len()).filter(|i| mask >> i & 1 == 1).map(|i| items[i]).collect();
                values.push(statistic(&chosen));
            }
        }
        values.iter().sum::<f64>() / values.len() as f64
    }

    fn vote_share(drawn: &[usize], correct: &[bool]) -> f64 {
        let votes: Vec<usize> =
            (0..correct.len()).map(|a| drawn.iter().filter(|&&d| d == a).count()).collect();
        let most = *votes.iter().max().unwrap();
        let tied: Vec<usize> = (0..votes.len()).filter(|&a| votes[a] == most).collect();
        tied.iter().filter(|&&a| correct[a]).count() as f64 / tied.len() as f64
    }

    #[test]
    fn published_triples() {
        assert_relative_eq!(pass_at_k(8, 6, 1).unwrap(), 0.75, max_relative = 1e-12);
        // 13/14 and 1/2.
        assert_relative_eq!(pass_at_k(8, 3, 4).unwrap(), 13.0 / 14.0, max_relative = 1e-12);
        assert_relative_eq!(pass_at_k(8, 1, 4).unwrap(), 0.5, max_relative = 1e-12);
        let prompts = [Tally { samples: 8, correct: 3 }, Tally::of(&[true, false, false, false])];
        // (13/14 + 1) / 2: with n = k, any right one passes.
        assert_relative_eq!(
            mean_pass_at_k(&prompts, 4).unwrap(),
            27.0 / 28.0,
            max_relative = 1e-12
        );
    }

    #[test]
    fn large_pools_do_not_overflow() {
        // python3: 1 - Fraction(comb(1990, 256), comb(2000, 256)), exact, as float.
        assert_relative_eq!(
            pass_at_k(2000, 10, 256).unwrap(),
            0.746_647_270_226_482_9,
            max_relative = 1e-12
        );
        assert_relative_eq!(pass_at_k(1_000_000, 1, 1).unwrap(), 1e-6, max_relative = 1e-9);
    }

    #[test]
    fn impossible_draws_are_errors() {
        assert!(pass_at_k(0, 0, 1).is_err());
        assert!(pass_at_k(4, 5, 1).is_err());
        assert!(pass_at_k(4, 2, 0).is_err());
        // Which of 164 problems has one sample too few.
        let mut prompts = vec![Tally { samples: 100, correct: 3 }; 164];
        prompts[77].samples = 99;
        assert_eq!(
            mean_pass_at_k(&prompts, 100).unwrap_err().to_string(),
            "`prompts[77]`: `k` = 100: allowed is an integer in 1..=99, the number of samples"
        );
        assert_eq!(pass_at_k_by_prompt(&prompts, 99).unwrap()[77], 1.0);
        assert!(mean_pass_at_k(&[], 1).is_err());
        assert!(cons_at_k(&[2, 1], &[true], 1).is_err());
        assert!(cons_at_k(&[0, 0], &[true, false], 1).is_err());
        assert!(cons_at_k(&[2, 1], &[true, false], 4).is_err());
        let error = cons_at_k(&[usize::MAX, 1], &[true, false], 1).unwrap_err();
        assert!(error.to_string().ends_with("allowed is an integer in 1..=1000000"), "{error}");
    }

    #[test]
    fn the_vote_helps_a_plurality_and_hurts_a_minority() {
        // A right answer with 40% against wrong ones of 30% each gains from votes; at 30% it loses.
        let strong = [102, 77, 77];
        let weak = [77, 102, 77];
        let right = [true, false, false];
        let at = |counts: &[usize], k| cons_at_k(counts, &right, k).unwrap();
        assert!(at(&strong, 64) > at(&strong, 8) && at(&strong, 8) > at(&strong, 1));
        assert!(at(&weak, 64) < at(&weak, 8) && at(&weak, 8) < at(&weak, 1));
        assert_relative_eq!(at(&strong, 256), 1.0, max_relative = 1e-9);
    }

    #[test]
    fn votes_against_exact_fractions() {
        // python3: the definition in whole numbers, comb(count, votes) answer by answer.
        let at = |counts: &[usize], right: &[usize], k| {
            let correct: Vec<bool> = (0..counts.len()).map(|a| right.contains(&a)).collect();
            cons_at_k(counts, &correct, k).unwrap()
        };
        let found = at(&[90, 80, 50, 30, 6], &[1, 3], 128);
        assert_relative_eq!(found, 0.222_443_599_515_611_74, max_relative = 1e-11);
        assert_relative_eq!(at(&[20; 8], &[0], 80), 0.125, max_relative = 1e-11);
        let found = at(&[40, 25, 20, 10, 5, 2, 3, 1], &[1, 4, 7], 33);
        assert_relative_eq!(found, 0.098_086_635_951_327_41, max_relative = 1e-11);
    }

    #[test]
    fn large_votes_are_counted_or_refused_for_their_steps() {
        // All equal: the longest count there is at this size.
        let counts = [64; 32];
        let correct: Vec<bool> = (0..32).map(|a| a < 8).collect();
        assert_relative_eq!(cons_at_k(&counts, &correct, 1024).unwrap(), 0.25, max_relative = 1e-9);
        // Few answers can win a large vote, so a million samples need not be too many.
        let halves = cons_at_k(&[500_000, 500_000], &[true, false], 500_000).unwrap();
        assert_relative_eq!(halves, 0.5, max_relative = 1e-6);
        let error = cons_at_k(&[1000; 1000], &[true; 1000], 500_000).unwrap_err();
        assert!(error.to_string().starts_with("cons@k takes about"), "{error}");
    }

    #[test]
    fn shares_over_all_answers_sum_to_one_in_large_pools() {
        let counts = [400, 250, 200, 100, 50, 20, 3, 1];
        for k in [1, 2, 17, 100] {
            let total: f64 = (0..counts.len())
                .map(|winner| {
                    let correct: Vec<bool> = (0..counts.len()).map(|a| a == winner).collect();
                    cons_at_k(&counts, &correct, k).unwrap()
                })
                .sum();
            assert_relative_eq!(total, 1.0, max_relative = 1e-9);
        }
    }

    proptest! {
        #[test]
        fn pass_equals_enumeration(flags in prop::collection::vec(any::<bool>(), 1..11)) {
            let Tally { samples, correct } = Tally::of(&flags);
            for k in 1..=samples {
                let any = over_subsets(&flags, k, |s| f64::from(u8::from(s.contains(&true))));
                let all = over_subsets(&flags, k, |s| f64::from(u8::from(!s.contains(&false))));
                prop_assert!((pass_at_k(samples, correct, k).unwrap() - any).abs() < 1e-12);
                prop_assert!((all_pass_at_k(samples, correct, k).unwrap() - all).abs() < 1e-12);
            }
        }

        #[test]
        fn cons_equals_enumeration(
            counts in prop::collection::vec(0usize..5, 1..5), flags: [bool; 4],
        ) {
            let samples: Vec<usize> =
                counts.iter().enumerate().flat_map(|(a, &n)| vec![a; n]).collect();
            prop_assume!(!samples.is_empty() && samples.len() <= 13);
            let correct = &flags[..counts.len()];
            for k in 1..=samples.len() {
                let exact = over_subsets(&samples, k, |drawn| vote_share(drawn, correct));
                prop_assert!((cons_at_k(&counts, correct, k).unwrap() - exact).abs() < 1e-11);
            }
        }
    }
}
