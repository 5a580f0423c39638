//! Diversity metrics against other implementations and definitions written out in full.

use std::collections::HashMap;

use approx::{assert_abs_diff_eq, assert_relative_eq};
use headwater_core::Streams;
use headwater_evaluation::diversity::*;
use proptest::prelude::*;
use rand::RngExt;

fn sentences() -> Vec<Vec<&'static str>> {
    [
        "the cat sat on the mat today",
        "the cat lay on the mat",
        "a dog sat on the mat by the door",
        "the the the cat",
        "zebra",
        "cat the",
    ]
    .map(|text| text.split(' ').collect())
    .to_vec()
}

#[test]
fn entropies_by_hand() {
    assert_relative_eq!(entropy(&[0.25; 4]).unwrap(), 4f64.ln(), max_relative = 1e-12);
    assert_eq!(entropy(&[0.0, 1.0, 0.0]).unwrap().to_bits(), 0f64.to_bits());
    let rows = [vec![0.5, 0.5], vec![1.0, 0.0]];
    assert_relative_eq!(mean_token_entropy(&rows).unwrap(), 2f64.ln() / 2.0, max_relative = 1e-12);
    // (0.5 + 0.25 + 3) / 2 nats.
    let logs = [vec![-0.5, -0.25, -3.0], vec![0.0]];
    assert_relative_eq!(sequence_entropy(&logs).unwrap(), 1.875, max_relative = 1e-12);
    assert!(entropy(&[0.5, 0.4]).is_err());
    assert!(entropy(&[1.5, -0.5]).is_err());
    assert!(sequence_entropy(&[[0.1]]).is_err());
    assert!(mean_token_entropy::<[f64; 1]>(&[]).is_err());
}

#[test]
fn ngram_counts_by_hand() {
    // 12 distinct of 29 unigrams, 15 distinct of 23 bigrams (counted with python3 sets).
    assert_relative_eq!(distinct_n(&sentences(), 1).unwrap(), 12.0 / 29.0);
    assert_relative_eq!(distinct_n(&sentences(), 2).unwrap(), 15.0 / 23.0);
    // 12 / (50 (1 - (49/50)^29)), python3.
    assert_relative_eq!(
        expectation_adjusted_distinct(&sentences(), 50).unwrap(),
        0.541_292_318_071_738_7,
        max_relative = 1e-12
    );
    assert!(distinct_n(&sentences(), 20).is_err());
    assert!(distinct_n(&sentences(), 0).is_err());
    assert!(expectation_adjusted_distinct(&sentences(), 5).is_err());
}

#[test]
fn expectation_adjustment_removes_the_effect_of_length() {
    // Over uniform tokens EAD has mean exactly 1 at any length; distinct-1 falls with it.
    let mut rng = Streams::new(3).stream("tokens", &[]);
    let trials = 2000;
    let mut mean_of = |length: usize| {
        let (mut adjusted, mut plain) = (0.0, 0.0);
        for _ in 0..trials {
            let sample = [(0..length).map(|_| rng.random_range(0..97u8)).collect::<Vec<_>>()];
            adjusted += expectation_adjusted_distinct(&sample, 97).unwrap() / f64::from(trials);
            plain += distinct_n(&sample, 1).unwrap() / f64::from(trials);
        }
        (adjusted, plain)
    };
    let (short, long) = (mean_of(20), mean_of(400));
    // One sample's EAD has a standard deviation of at most 0.07: four errors of the mean are 0.006.
    assert_abs_diff_eq!(short.0, 1.0, epsilon = 0.006);
    assert_abs_diff_eq!(long.0, 1.0, epsilon = 0.006);
    assert!(long.1 < 0.3 * short.1);
}

#[test]
fn self_bleu_equals_nltk() {
    // nltk 3.10.4: mean of sentence_bleu(others, sample, smoothing_function=method1), whitespace
    // tokens.
    assert_relative_eq!(
        self_bleu(&sentences()).unwrap(),
        0.230_907_019_095_011_77,
        max_relative = 1e-10
    );
    assert_relative_eq!(
        self_bleu(&sentences()[..3]).unwrap(),
        0.339_861_339_637_286_2,
        max_relative = 1e-10
    );
    let same = vec![vec![1, 2, 3, 4, 5]; 3];
    assert_relative_eq!(self_bleu(&same).unwrap(), 1.0, max_relative = 1e-12);
    assert_eq!(self_bleu(&[vec![1, 2, 3, 4], vec![5, 6, 7, 8]]).unwrap(), 0.0);
    assert!(self_bleu(&[vec![1]]).is_err());
}

#[test]
fn no_metric_of_tokens_takes_an_empty_sample() {
    // Each would otherwise be a number: 0, and the value of the other sample alone.
    let samples = [vec![1, 2], vec![]];
    let named = "`number of tokens[1]` = 0: allowed is at least 1 token in every sample";
    assert_eq!(self_bleu(&samples).unwrap_err().to_string(), named);
    assert_eq!(distinct_n(&samples, 1).unwrap_err().to_string(), named);
    assert_eq!(expectation_adjusted_distinct(&samples, 9).unwrap_err().to_string(), named);
    assert_eq!(sequence_entropy(&[vec![-1.0], vec![]]).unwrap_err().to_string(), named);
    assert!(mean_token_entropy(&[vec![1.0], vec![]]).is_err());
    // Nor none at all.
    let none: [Vec<u8>; 0] = [];
    assert!(self_bleu(&none).is_err() && self_bleu::<u8, Vec<u8>>(&[vec![], vec![]]).is_err());
    assert!(distinct_n(&none, 1).is_err() && expectation_adjusted_distinct(&none, 9).is_err());
    assert!(sequence_entropy::<Vec<f64>>(&[]).is_err());
    assert!(utility_k::<u8>(&[], &[], 0.8).is_err());
    // Shorter than n is not empty: it holds no n-gram.
    assert_relative_eq!(distinct_n(&[vec![1, 2, 1, 2], vec![3]], 2).unwrap(), 2.0 / 3.0);
    // A count of nothing is 0.
    assert_eq!((unique_answers::<u8>(&[]), answer_counts::<u8>(&[]).len()), (0, 0));
}

#[test]
fn sums_that_overflow_are_errors() {
    assert!(sequence_entropy(&[[-1e308, -1e308]]).is_err());
    assert!(utility_k(&[0, 1], &[1e308, 1e308], 0.99).is_err());
}

#[test]
fn answers_are_counted_in_order_of_appearance() {
    let answers = ["12", "7", "12", "9", "12", "7"];
    assert_eq!(answer_counts(&answers), [3, 2, 1]);
    assert_eq!(unique_answers(&answers), 3);
    let expected = 0.5 * 2f64.ln() + 3f64.ln() / 3.0 + 6f64.ln() / 6.0;
    assert_relative_eq!(answer_entropy(&answers).unwrap(), expected, max_relative = 1e-12);
    assert!(answer_entropy::<u8>(&[]).is_err());
}

#[test]
fn classes_form_around_their_first_member() {
    // Not transitive: 1 ~ 2 ~ 3 but not 1 ~ 3, so the order decides.
    let near = |a: &i32, b: &i32| (a - b).abs() <= 1;
    assert_eq!(equivalence_classes(&[1, 2, 3, 1], near), [0, 0, 1, 0]);
    assert_eq!(equivalence_classes(&[2, 1, 3], near), [0, 0, 0]);
    assert_eq!(unique_answers(&equivalence_classes(&[1, 2, 3], near)), 2);
}

#[test]
fn utility_counts_novel_samples_at_a_discount() {
    // (1 - .8)/(1 - .8^4) * (5 + 0 + .64 * 3 + 0), python3.
    let found = utility_k(&[0, 0, 1, 1], &[5.0, 9.0, 3.0, 9.0], 0.8).unwrap();
    assert_relative_eq!(found, 0.2 / (1.0 - 0.4096) * 6.92, max_relative = 1e-12);
    // All novel and equally good: their common utility.
    assert_relative_eq!(utility_k(&[0, 1, 2], &[4.0; 3], 0.8).unwrap(), 4.0, max_relative = 1e-12);
    assert!(utility_k(&[0, 1], &[1.0], 0.8).is_err());
    assert!(utility_k(&[0], &[1.0], 1.0).is_err());
    assert!(utility_k(&[0], &[f64::NAN], 0.5).is_err());
}

/// BLEU of one candidate from its definition: reference by reference, n-gram by n-gram.
fn bleu(candidate: &[u8], references: &[&Vec<u8>]) -> f64 {
    let count =
        |text: &[u8], ngram: &[u8]| text.windows(ngram.len()).filter(|w| w == &ngram).count();
    let mut log = 0.0;
    for n in 1..=4 {
        let mut distinct: HashMap<&[u8], usize> = HashMap::new();
        candidate.windows(n).for_each(|ngram| *distinct.entry(ngram).or_default() += 1);
        let matched: usize = distinct
            .iter()
            .map(|(ngram, &own)| {
                let best = references.iter().map(|r| count(r, ngram)).max().unwrap_or(0);
                own.min(best)
            })
            .sum();
        let total = candidate.len().saturating_sub(n - 1).max(1) as f64;
        let matches = if matched == 0 && n > 1 { 0.1 } else { matched as f64 };
        log += (matches / total).ln() / 4.0;
    }
    let own = candidate.len() as f64;
    let mut lengths: Vec<f64> = references.iter().map(|r| r.len() as f64).collect();
    lengths.sort_by(|a, b| (a - own).abs().total_cmp(&(b - own).abs()).then(a.total_cmp(b)));
    let penalty = if own >= lengths[0] { 1.0 } else { (1.0 - lengths[0] / own).exp() };
    penalty * log.exp()
}

proptest! {
    #[test]
    fn self_bleu_equals_its_definition(
        samples in prop::collection::vec(prop::collection::vec(0u8..3, 1..9), 2..6),
    ) {
        let mut total = 0.0;
        for (index, candidate) in samples.iter().enumerate() {
            let others: Vec<&Vec<u8>> =
                samples.iter().enumerate().filter(|(i, _)| *i != index).map(|(_, s)| s).collect();
            total += bleu(candidate, &others);
        }
        let found = self_bleu(&samples).unwrap();
        prop_assert!((found - total / samples.len() as f64).abs() < 1e-12);
    }

    #[test]
    fn diversity_lies_in_its_range(answers in prop::collection::vec(0u8..6, 1..30)) {
        let entropy = answer_entropy(&answers).unwrap();
        let unique = unique_answers(&answers) as f64;
        prop_assert!(entropy >= 0.0 && entropy <= unique.ln() + 1e-12);
        let counts = answer_counts(&answers);
        prop_assert_eq!(counts.iter().sum::<usize>(), answers.len());
        let classes = equivalence_classes(&answers, |a, b| a == b);
        prop_assert_eq!(unique_answers(&classes) as f64, unique);
        let utility: Vec<f64> = answers.iter().map(|&a| f64::from(a)).collect();
        let value = utility_k(&answers, &utility, 0.8).unwrap();
        prop_assert!((0.0..=5.0).contains(&value));
    }
}

#[test]
fn the_sequence_entropy_estimate_is_unbiased_by_enumeration() {
    // Two tokens, the second depends on the first: H = H(first) + mean H(second | first).
    let (first, second) = ([0.3, 0.7], [[0.9, 0.1], [0.5, 0.5]]);
    let mut estimate = 0.0;
    for a in 0..2 {
        for p in second[a] {
            let logs: [f64; 2] = [f64::ln(first[a]), f64::ln(p)];
            estimate += first[a] * p * sequence_entropy(&[logs]).unwrap();
        }
    }
    let exact = entropy(&first).unwrap()
        + (0..2).map(|a| first[a] * entropy(&second[a]).unwrap()).sum::<f64>();
    assert_abs_diff_eq!(estimate, exact, epsilon = 1e-12);
}
