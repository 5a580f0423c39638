//! How alike users and rounds are, and what retraining makes of a difference.

use std::collections::HashSet;

use headwater_evaluation::EvaluationError;

use crate::error::{at_least, every, indices_below, same_length};

/// Jaccard index |A ∩ B| / |A ∪ B|, in [0, 1]; of two empty sets 0: they share nothing.
#[must_use]
pub fn jaccard(a: &HashSet<u32>, b: &HashSet<u32>) -> f64 {
    let shared = a.intersection(b).count();
    let all = a.len() + b.len() - shared;
    if all == 0 { 0.0 } else { shared as f64 / all as f64 }
}

/// Homogeneity: mean Jaccard index of what two users consumed, over fixed pairs of users.
///
/// Give the same pairs to all arms, else their choice is part of the difference. Source: Chaney, Stewart and Engelhardt
/// (2018), who subtract the value under an ideal recommender.
///
/// # Errors
/// No pair, or one that names a user there is not.
pub fn mean_jaccard(
    consumed: &[HashSet<u32>],
    pairs: &[(usize, usize)],
) -> Result<f64, EvaluationError> {
    at_least("pairs", pairs.len(), 1)?;
    let users: Vec<usize> = pairs.iter().flat_map(|&(a, b)| [a, b]).collect();
    indices_below("users in pairs", &users, consumed.len())?;
    let sum: f64 = pairs.iter().map(|&(a, b)| jaccard(&consumed[a], &consumed[b])).sum();
    Ok(sum / pairs.len() as f64)
}

/// Kendall's τ-b between two top lists, best first, over the items in either; in [-1, 1].
///
/// An item that a list lacks is below all that it has, tied with the others it lacks. For two orders of the same items this is
/// Kendall's τ; two lists without a common item get a negative value.
///
/// # Errors
/// An item twice in a list, fewer than two items in both, or a list that ties all of them (an empty one).
pub fn kendall_tau(first: &[usize], second: &[usize]) -> Result<f64, EvaluationError> {
    for (argument, list) in [("first", first), ("second", second)] {
        let mut seen = HashSet::new();
        if let Some(index) = list.iter().position(|item| !seen.insert(item)) {
            let (value, allowed) = (list[index] as f64, "items of which none comes twice");
            return Err(EvaluationError::Entry { argument, index, value, allowed });
        }
    }
    let mut items: Vec<usize> = first.iter().chain(second).copied().collect();
    items.sort_unstable();
    items.dedup();
    at_least("items in the lists", items.len(), 2)?;
    let rank =
        |list: &[usize], item| list.iter().position(|&other| other == item).unwrap_or(list.len());
    let ranks: Vec<(usize, usize)> =
        items.iter().map(|&item| (rank(first, item), rank(second, item))).collect();
    let (mut agreement, mut untied) = (0.0, [0.0, 0.0]);
    for (at, x) in ranks.iter().enumerate() {
        for y in &ranks[at + 1..] {
            let order = |a: usize, b: usize| f64::from(a.cmp(&b) as i8);
            let (in_first, in_second) = (order(x.0, y.0), order(x.1, y.1));
            agreement += in_first * in_second;
            untied[0] += in_first.abs();
            untied[1] += in_second.abs();
        }
    }
    let scale: f64 = f64::sqrt(untied[0] * untied[1]);
    if scale == 0.0 {
        let (argument, allowed) = ("pairs that a list orders", "a number above 0");
        return Err(EvaluationError::Argument { argument, value: 0.0, allowed });
    }
    Ok(agreement / scale)
}

/// Amplification factor by round: the metric with retraining over the metric of a comparator. Of a model frozen after the first
/// round a departure from 1 is what retraining adds, more training included; of [`crate::Arm::OpenLoop`], trained as often on lists that
/// it did not make, it is what feedback adds.
///
/// # Errors
/// Lengths that differ, a value that is NaN or infinite, or a frozen value of 0.
pub fn amplification(retrained: &[f64], frozen: &[f64]) -> Result<Vec<f64>, EvaluationError> {
    same_length("retrained", retrained.len(), "frozen", frozen.len())?;
    every("retrained", retrained.iter().copied(), "a finite number", f64::is_finite)?;
    every("frozen", frozen.iter().copied(), "a finite number other than 0", |value| {
        value.is_finite() && value != 0.0
    })?;
    Ok(retrained.iter().zip(frozen).map(|(retrained, frozen)| retrained / frozen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;
    use proptest::prelude::*;

    #[test]
    fn golden_values() {
        let set = |items: &[u32]| items.iter().copied().collect::<HashSet<_>>();
        assert_eq!(jaccard(&set(&[1, 2, 3]), &set(&[2, 3, 4])), 0.5);
        assert_eq!(jaccard(&set(&[]), &set(&[])), 0.0);
        let consumed = [set(&[1, 2, 3]), set(&[2, 3, 4]), set(&[9])];
        assert_eq!(mean_jaccard(&consumed, &[(0, 1), (0, 2)]), Ok(0.25));
        // One of six pairs is turned round.
        assert_relative_eq!(kendall_tau(&[0, 1, 2, 3], &[1, 0, 2, 3]).unwrap(), 4.0 / 6.0);
        // {7, 8, 9}: both put 7 first; the pair of 8 and 9 is turned round.
        assert_relative_eq!(kendall_tau(&[7, 8], &[7, 9]).unwrap(), 1.0 / 3.0);
        // {1, 2, 3, 4}: all four pairs across are turned round, those within are tied in one of the lists.
        assert_relative_eq!(kendall_tau(&[1, 2], &[3, 4]).unwrap(), -4.0 / 5.0);
        assert_eq!(amplification(&[2.0, 3.0], &[2.0, 1.5]), Ok(vec![1.0, 2.0]));
    }

    #[test]
    fn what_has_no_value_is_an_error() {
        assert!(kendall_tau(&[1, 1], &[1, 2]).unwrap_err().to_string().contains("first[1]"));
        assert!(kendall_tau(&[1], &[1]).unwrap_err().to_string().contains("at least 2"));
        assert!(kendall_tau(&[1, 2], &[]).unwrap_err().to_string().contains("orders"));
        assert!(mean_jaccard(&[], &[(0, 0)]).is_err() && mean_jaccard(&[], &[]).is_err());
        assert!(amplification(&[1.0], &[0.0]).unwrap_err().to_string().contains("frozen[0]"));
    }

    proptest! {
        #[test]
        fn tau_of_an_order_with_itself_reversed_and_in_other_names(
            items in Just((0usize..9).collect::<Vec<_>>()).prop_shuffle(), shift in 1usize..50,
        ) {
            let reversed: Vec<usize> = items.iter().rev().copied().collect();
            prop_assert_eq!(kendall_tau(&items, &items), Ok(1.0));
            prop_assert_eq!(kendall_tau(&items, &reversed), Ok(-1.0));
            let sorted: Vec<usize> = (0..9).collect();
            let here = kendall_tau(&items, &sorted).unwrap();
            prop_assert_eq!(kendall_tau(&sorted, &items), Ok(here));
            let renamed = |list: &[usize]| list.iter().map(|item| item + shift).collect::<Vec<_>>();
            prop_assert_eq!(kendall_tau(&renamed(&items), &renamed(&sorted)), Ok(here));
        }
    }
}
