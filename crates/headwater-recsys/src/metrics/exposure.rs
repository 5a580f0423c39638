//! How exposure is spread over items.
//!
//! Exposure is given by item, for *all* items: without those never shown, concentration cannot be seen.

use std::collections::HashSet;

use headwater_evaluation::EvaluationError;
use headwater_evaluation::diversity::entropy;

use crate::error::{at_least, every, same_length};

/// Exposure of each of `items` items: the sum of the weights of its impressions (examination probabilities), or their
/// number without weights.
///
/// # Errors
/// An item that is not below `items`, another number of weights than impressions, or a weight that is negative, NaN or
/// infinite.
pub fn exposure(
    shown: &[u32],
    weights: Option<&[f32]>,
    items: usize,
) -> Result<Vec<f64>, EvaluationError> {
    known("shown", shown, items)?;
    let mut exposure = vec![0.0; items];
    match weights {
        None => shown.iter().for_each(|&item| exposure[item as usize] += 1.0),
        Some(weights) => {
            same_length("shown", shown.len(), "weights", weights.len())?;
            non_negative("weights", weights.iter().map(|&weight| f64::from(weight)))?;
            for (&item, &weight) in shown.iter().zip(weights) {
                exposure[item as usize] += f64::from(weight);
            }
        }
    }
    Ok(exposure)
}

/// Gini coefficient of exposure: Σ_i (2i - n - 1) e_(i) / (n Σ e), e ascending, i from 1; 0 if even, 1 - 1/n if one
/// item has all.
///
/// # Errors
/// No item, exposure that is negative, NaN or infinite, or none at all.
pub fn gini(exposure: &[f64]) -> Result<f64, EvaluationError> {
    let total = total(exposure)?;
    let mut sorted = exposure.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let weighted = |(at, e): (usize, &f64)| (2.0 * (at as f64 + 1.0) - n - 1.0) * (e / total);
    // An even exposure comes to 0 up to rounding, on either side.
    Ok((sorted.iter().enumerate().map(weighted).sum::<f64>() / n).max(0.0))
}

/// Items over which an even exposure would have the same entropy: exp(H), H = -Σ p ln p; in [1, n].
///
/// # Errors
/// As [`gini`].
pub fn effective_items(exposure: &[f64]) -> Result<f64, EvaluationError> {
    Ok(exposure_entropy(exposure)?.exp())
}

/// Entropy of exposure over that of an even one, H/ln n; in [0, 1].
///
/// # Errors
/// As [`gini`], and a single item, whose ln n is 0.
pub fn normalised_entropy(exposure: &[f64]) -> Result<f64, EvaluationError> {
    at_least("exposure", exposure.len(), 2)?;
    Ok(exposure_entropy(exposure)? / (exposure.len() as f64).ln())
}

/// Catalogue coverage: distinct items among those shown, over all items; in [0, 1].
///
/// For coverage@K give the impressions of the top K slots.
///
/// # Errors
/// No items at all, or one shown that is not below `items`.
pub fn coverage(shown: &[u32], items: usize) -> Result<f64, EvaluationError> {
    at_least("items", items, 1)?;
    known("shown", shown, items)?;
    let distinct: HashSet<u32> = shown.iter().copied().collect();
    Ok(distinct.len() as f64 / items as f64)
}

/// Average recommendation popularity (ARP): mean over impressions of the item's popularity, e.g. its clicks in
/// the training log.
///
/// # Errors
/// Nothing shown, an item without a popularity, or a popularity that is negative, NaN or infinite.
pub fn average_popularity(shown: &[u32], popularity: &[f64]) -> Result<f64, EvaluationError> {
    at_least("shown", shown.len(), 1)?;
    known("shown", shown, popularity.len())?;
    non_negative("popularity", popularity.iter().copied())?;
    let sum: f64 = shown.iter().map(|&item| popularity[item as usize]).sum();
    Ok(sum / shown.len() as f64)
}

/// Popularity lift: (ARP of what was recommended - ARP of the profile) / ARP of the profile, where the profile is
/// what users chose by themselves. Above 0 the system is more popularity-minded than its users.
///
/// # Errors
/// As [`average_popularity`], and a profile of items without popularity.
pub fn popularity_lift(
    recommended: &[u32],
    profile: &[u32],
    popularity: &[f64],
) -> Result<f64, EvaluationError> {
    let before = average_popularity(profile, popularity)?;
    if before == 0.0 {
        let (argument, allowed) = ("average popularity of the profile", "a number above 0");
        return Err(EvaluationError::Argument { argument, value: before, allowed });
    }
    Ok((average_popularity(recommended, popularity)? - before) / before)
}

fn exposure_entropy(exposure: &[f64]) -> Result<f64, EvaluationError> {
    let total = total(exposure)?;
    entropy(&exposure.iter().map(|e| e / total).collect::<Vec<_>>())
}

fn total(exposure: &[f64]) -> Result<f64, EvaluationError> {
    at_least("exposure", exposure.len(), 1)?;
    non_negative("exposure", exposure.iter().copied())?;
    let total: f64 = exposure.iter().sum();
    if total > 0.0 && total.is_finite() {
        return Ok(total);
    }
    let (argument, allowed) = ("sum of exposure", "a finite number above 0");
    Err(EvaluationError::Argument { argument, value: total, allowed })
}

fn non_negative(
    argument: &'static str,
    values: impl IntoIterator<Item = f64>,
) -> Result<(), EvaluationError> {
    every(argument, values, "a finite number of at least 0", |v| v.is_finite() && v >= 0.0)
}

fn known(argument: &'static str, shown: &[u32], items: usize) -> Result<(), EvaluationError> {
    let items = items as f64;
    let shown = shown.iter().map(|&item| f64::from(item));
    every(argument, shown, "an index below the number of items", |item| item < items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;
    use proptest::prelude::*;

    #[test]
    fn golden_values() {
        assert_eq!(gini(&[0.0, 0.0, 0.0, 1.0]), Ok(0.75));
        assert_eq!(gini(&[2.0; 5]), Ok(0.0));
        // (-3·1 - 1·2 + 1·3 + 3·4) / (4·10).
        assert_relative_eq!(gini(&[4.0, 1.0, 3.0, 2.0]).unwrap(), 0.25);
        assert_relative_eq!(effective_items(&[1.0, 1.0, 0.0]).unwrap(), 2.0);
        // H(1/2, 1/4, 1/4) = 1.5 ln 2.
        let skewed = normalised_entropy(&[2.0, 1.0, 1.0]).unwrap();
        assert_relative_eq!(skewed, 1.5 * 2f64.ln() / 3f64.ln(), max_relative = 1e-12);
        assert_eq!(coverage(&[0, 3, 3], 4), Ok(0.5));
        assert_eq!(coverage(&[0, 3, 3], 1 << 60), Ok(2.0 / (1_u64 << 60) as f64));
        assert_eq!(exposure(&[2, 0, 2], Some(&[1.0, 0.5, 0.25]), 3), Ok(vec![0.5, 0.0, 1.25]));
        assert_eq!(exposure(&[2, 0, 2], None, 4), Ok(vec![1.0, 0.0, 2.0, 0.0]));
        let popularity = [10.0, 2.0, 0.0];
        assert_eq!(average_popularity(&[0, 1], &popularity), Ok(6.0));
        assert_eq!(popularity_lift(&[0, 1], &[1, 1, 2, 0], &popularity), Ok((6.0 - 3.5) / 3.5));
    }

    #[test]
    fn what_has_no_value_is_an_error() {
        let text = |result: Result<f64, EvaluationError>| result.unwrap_err().to_string();
        assert!(text(gini(&[0.0, 0.0])).contains("sum of exposure"));
        assert!(text(gini(&[1.0, f64::NAN])).contains("`exposure[1]` = NaN"));
        assert!(text(gini(&[])).contains("at least 1"));
        assert!(text(coverage(&[4], 4)).contains("below the number of items"));
        assert!(text(normalised_entropy(&[1.0])).contains("at least 2"));
        assert!(text(popularity_lift(&[0], &[1], &[1.0, 0.0])).contains("profile"));
    }

    proptest! {
        #[test]
        fn gini_knows_neither_order_nor_unit(
            exposure in prop::collection::vec(0.01f64..9.0, 2..30), unit in 0.1f64..10.0,
        ) {
            let n = exposure.len() as f64;
            let here = gini(&exposure).unwrap();
            prop_assert!((0.0..=1.0 - 1.0 / n).contains(&here));
            let mut other: Vec<f64> = exposure.iter().map(|e| e * unit).collect();
            other.reverse();
            prop_assert!((gini(&other).unwrap() - here).abs() < 1e-12);
            // The mean difference of all pairs over twice the mean: an independent definition.
            let pairs: f64 = exposure.iter()
                .flat_map(|a| exposure.iter().map(move |b| (a - b).abs())).sum();
            let expected = pairs / (2.0 * n * exposure.iter().sum::<f64>());
            prop_assert!((here - expected).abs() < 1e-12);
        }

        #[test]
        fn an_item_that_was_never_shown_adds_concentration(
            mut exposure in prop::collection::vec(0.01f64..9.0, 2..30),
        ) {
            let (gini_before, effective) =
                (gini(&exposure).unwrap(), effective_items(&exposure).unwrap());
            exposure.push(0.0);
            prop_assert!(gini(&exposure).unwrap() > gini_before);
            prop_assert!((effective_items(&exposure).unwrap() - effective).abs() < 1e-9);
        }
    }
}
