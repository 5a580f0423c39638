//! Best-of-n selection: what picking the highest proxy of n samples does to gold, and how far it
//! moves the policy.

use serde::{Deserialize, Serialize};

use crate::error::{EvaluationError, all_finite, argument, at_least, every, in_range, same_length};
use crate::ranks::{ascending, ties};

/// Expected scores of the sample with the highest proxy among n.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BestOfN {
    /// Samples chosen from.
    pub n: usize,
    /// Expected proxy score of the chosen one; never falls as n grows.
    pub proxy: f64,
    /// Expected gold score of the chosen one; falls where the proxy is over-optimised.
    pub gold: f64,
}

/// Expected proxy and gold of best-of-n for every n = 1..=N, from one prompt's pool of N scored
/// samples.
///
/// Exact mean over all C(N, n) subsets, so unbiased for n fresh samples: with the pool sorted by
/// proxy, E_n = Σ_i C(i-1, n-1)/C(N, n) gold₍ᵢ₎. Samples tied in proxy share their weight evenly (a
/// random one is picked), so the order of the pool does not matter. Near n = N all of it hangs on
/// the few highest samples: its variance is large and no interval within one pool shows that;
/// average over prompts. Cost O(N²). Source: Nakano et al. (2021), arXiv 2112.09332, appendix;
/// Coste et al. (2023), arXiv 2310.02743, appendix B.
///
/// # Errors
/// An empty pool, lengths that differ, NaN or infinity, or tied gold whose sum overflows.
pub fn best_of_n_curve(proxy: &[f64], gold: &[f64]) -> Result<Vec<BestOfN>, EvaluationError> {
    at_least("proxy", proxy.len(), 1)?;
    same_length("proxy", proxy.len(), "gold", gold.len())?;
    all_finite("proxy", proxy)?;
    all_finite("gold", gold)?;

    let pool = proxy.len();
    let order = ascending(proxy);
    let sorted_proxy: Vec<f64> = order.iter().map(|&i| proxy[i]).collect();
    let mut sorted_gold: Vec<f64> = order.iter().map(|&i| gold[i]).collect();
    for run in ties(proxy, &order) {
        let mean = sorted_gold[run.clone()].iter().sum::<f64>() / run.len() as f64;
        let mean = in_range("mean over tied proxies", "gold", mean)?;
        sorted_gold[run].fill(mean);
    }
    let curve = (1..=pool).map(|n| {
        let mut point = BestOfN { n, proxy: 0.0, gold: 0.0 };
        // C(i-1, n-1)/C(N, n) is n/N at i = N, and a step down multiplies it by (i - n)/(i - 1).
        let mut weight = n as f64 / pool as f64;
        for i in (n..=pool).rev() {
            point.proxy += weight * sorted_proxy[i - 1];
            point.gold += weight * sorted_gold[i - 1];
            if i > 1 {
                weight *= (i - n) as f64 / (i - 1) as f64;
            }
        }
        point
    });
    Ok(curve.collect())
}

/// ln n - (n - 1)/n nats: an **upper bound** on the KL divergence of best-of-n from its base
/// policy.
///
/// Often quoted as the value. It is exact only where ties and atoms vanish, and far too high on
/// small answer spaces, where [`best_of_n_kl`] gives the true number. Source: Stiennon et al.
/// (2020), arXiv 2009.01325; as a bound, Beirami et al. (2024), arXiv 2401.01879.
///
/// # Errors
/// n = 0.
pub fn best_of_n_kl_bound(n: usize) -> Result<f64, EvaluationError> {
    argument(n > 0, "n", n as f64, "an integer above 0")?;
    let n = n as f64;
    Ok(n.ln() - (n - 1.0) / n)
}

/// The exact best-of-n policy on a discrete space: the probability of each outcome being chosen.
///
/// `probability[y]` is the base policy (summing to 1 within 1e-6, rescaled to sum exactly),
/// `reward[y]` the reward that chooses. An outcome set tied at a reward with mass P and mass F
/// below or at it wins with F^n - (F - P)^n, shared in proportion to the base probabilities.
/// Source: Beirami et al. (2024), arXiv 2401.01879, extended to ties.
///
/// # Errors
/// An empty space, lengths that differ, a negative or non-finite probability, a sum that is not 1,
/// a non-finite reward, or n = 0.
pub fn best_of_n_distribution(
    probability: &[f64],
    reward: &[f64],
    n: usize,
) -> Result<Vec<f64>, EvaluationError> {
    let groups = tie_groups(probability, reward, n)?;
    let mut chosen = vec![0.0; probability.len()];
    for group in groups.iter().filter(|group| group.mass > 0.0) {
        for &outcome in &group.members {
            chosen[outcome] = group.chosen * probability[outcome] / group.mass;
        }
    }
    let total: f64 = chosen.iter().sum();
    chosen.iter_mut().for_each(|p| *p /= total);
    Ok(chosen)
}

/// Exact KL(best-of-n ‖ base) in nats on a discrete space with ties; in [0,
/// [`best_of_n_kl_bound`]].
///
/// At most -ln of the mass at the highest reward, however large n: on two equally likely outcomes
/// ln 2, where the bound at n = 16 says 1.84.
///
/// # Errors
/// As [`best_of_n_distribution`].
pub fn best_of_n_kl(probability: &[f64], reward: &[f64], n: usize) -> Result<f64, EvaluationError> {
    let groups = tie_groups(probability, reward, n)?;
    let total: f64 = groups.iter().map(|group| group.mass).sum();
    // Within a group chosen and base masses are proportional, so the sum over outcomes is one over
    // groups.
    let kl: f64 = groups
        .iter()
        .filter(|group| group.chosen > 0.0)
        .map(|group| group.chosen * (group.chosen * total / group.mass).ln())
        .sum();
    Ok(kl.max(0.0))
}

/// Outcomes tied in reward.
struct TieGroup {
    members: Vec<usize>,
    /// Base probability, not rescaled.
    mass: f64,
    /// Probability that the chosen outcome is one of them.
    chosen: f64,
}

fn tie_groups(
    probability: &[f64],
    reward: &[f64],
    n: usize,
) -> Result<Vec<TieGroup>, EvaluationError> {
    at_least("probability", probability.len(), 1)?;
    same_length("probability", probability.len(), "reward", reward.len())?;
    every("probability", probability, "a finite number of at least 0", |p| {
        p >= 0.0 && p.is_finite()
    })?;
    let total: f64 = probability.iter().sum();
    let allowed = "1 within 1e-6";
    argument((total - 1.0).abs() <= 1e-6, "sum of probability", total, allowed)?;
    all_finite("reward", reward)?;
    argument(n > 0, "n", n as f64, "an integer above 0")?;

    let order = ascending(reward);
    let runs = ties(reward, &order);
    let mut groups: Vec<TieGroup> = runs
        .into_iter()
        .map(|run| {
            let members = order[run].to_vec();
            let mass = members.iter().map(|&y| probability[y]).sum();
            TieGroup { members, mass, chosen: 0.0 }
        })
        .collect();
    let mut below_or_at = 0.0;
    for group in &mut groups {
        below_or_at += group.mass;
        if group.mass > 0.0 {
            // F^n - (F - P)^n = F^n (1 - (1 - P/F)^n), in the form that keeps its digits when P is
            // tiny.
            let all_below = n as f64 * (-(group.mass / below_or_at).min(1.0)).ln_1p();
            group.chosen = (below_or_at / total).powf(n as f64) * -all_below.exp_m1();
        }
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::{assert_abs_diff_eq, assert_relative_eq};
    use proptest::prelude::*;

    #[test]
    fn published_example() {
        let curve = best_of_n_curve(&[0.1, 0.5, 0.3, 0.9], &[1.0, 2.0, 0.0, -1.0]).unwrap();
        assert_relative_eq!(curve[1].gold, 1.0 / 6.0, max_relative = 1e-12);
        assert_relative_eq!(curve[0].gold, 0.5, max_relative = 1e-12);
        assert_relative_eq!(curve[3].gold, -1.0, max_relative = 1e-12);
        assert_eq!(curve.iter().map(|p| p.n).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn formula_values() {
        let published = [
            (1, 0.0),
            (2, 0.1931),
            (4, 0.6363),
            (8, 1.2044),
            (16, 1.8351),
            (64, 3.1745),
            (128, 3.8598),
            (256, 4.5491),
            (1000, 5.9088),
            (12_500, 8.4336),
            (60_000, 10.0021),
        ];
        for (n, value) in published {
            assert_abs_diff_eq!(best_of_n_kl_bound(n).unwrap(), value, epsilon = 5.1e-5);
        }
    }

    #[test]
    fn exact_kl_on_small_spaces_is_far_below_the_formula() {
        let kl = |outcomes: usize, n| {
            let probability = vec![1.0 / outcomes as f64; outcomes];
            let reward: Vec<f64> = (0..outcomes).map(|y| y as f64).collect();
            best_of_n_kl(&probability, &reward, n).unwrap()
        };
        assert_abs_diff_eq!(kl(2, 2), 0.1308, epsilon = 5e-5);
        assert_abs_diff_eq!(kl(2, 16), 0.693, epsilon = 5e-4);
        assert_abs_diff_eq!(kl(16, 128), 2.770, epsilon = 5e-4);
        // With vanishing atoms the bound is attained.
        let (fine, bound) = (kl(100_000, 16), best_of_n_kl_bound(16).unwrap());
        assert!(fine <= bound);
        assert_abs_diff_eq!(fine, bound, epsilon = 1e-3);
    }

    #[test]
    fn the_rarest_and_best_outcome_is_not_lost_to_rounding() {
        // Chosen with probability 1 - (1 - 1e-18)^1000 = 1e-15, not 0.
        let chosen = best_of_n_distribution(&[1.0, 1e-18], &[0.0, 1.0], 1000).unwrap();
        assert_relative_eq!(chosen[1], 1e-15, max_relative = 1e-6);
    }

    #[test]
    fn bad_input_is_named() {
        let error = best_of_n_kl(&[0.5, 0.4], &[0.0, 1.0], 2).unwrap_err();
        assert!(error.to_string().starts_with("`sum of probability` = 0.9"), "{error}");
        assert!(best_of_n_kl(&[1.5, -0.5], &[0.0, 1.0], 2).is_err());
        assert!(best_of_n_kl(&[0.5, 0.5], &[0.0, 1.0], 0).is_err());
        assert!(best_of_n_curve(&[0.5, f64::NAN], &[0.0, 1.0]).is_err());
        assert!(best_of_n_curve(&[], &[]).is_err());
        // Tied gold has to be added up; the rest is averaged without ever leaving its range.
        assert!(best_of_n_curve(&[1.0, 1.0], &[1.7e308, 1.7e308]).is_err());
        assert!(best_of_n_curve(&[1.0, 2.0], &[1.7e308, 1.7e308]).is_ok());
    }

    /// Mean over all n-subsets of the mean gold among those tied for the highest proxy.
    fn by_enumeration(proxy: &[f64], gold: &[f64], n: usize) -> f64 {
        let mut picks = Vec::new();
        for mask in 0u32..1 << proxy.len() {
            if mask.count_ones() as usize != n {
                continue;
            }
            let drawn: Vec<usize> = (0..proxy.len()).filter(|i| mask >> i & 1 == 1).collect();
            let best = drawn.iter().map(|&i| proxy[i]).fold(f64::MIN, f64::max);
            let tied: Vec<f64> =
                drawn.iter().filter(|&&i| proxy[i] == best).map(|&i| gold[i]).collect();
            picks.push(tied.iter().sum::<f64>() / tied.len() as f64);
        }
        picks.iter().sum::<f64>() / picks.len() as f64
    }

    proptest! {
        #[test]
        fn the_curve_equals_enumeration(
            pool in prop::collection::vec((0u8..4, -3.0f64..3.0), 1..10),
        ) {
            let (proxy, gold): (Vec<f64>, Vec<f64>) =
                pool.into_iter().map(|(p, g)| (f64::from(p), g)).unzip();
            let curve = best_of_n_curve(&proxy, &gold).unwrap();
            for point in &curve {
                let exact = by_enumeration(&proxy, &gold, point.n);
                prop_assert!((point.gold - exact).abs() < 1e-12);
            }
            prop_assert!(curve.windows(2).all(|w| w[0].proxy <= w[1].proxy + 1e-12));
        }

        #[test]
        fn the_distribution_equals_enumeration_of_all_draws(
            space in prop::collection::vec((1u32..10, 0u8..3), 1..5), n in 1usize..5,
        ) {
            let total: u32 = space.iter().map(|(w, _)| w).sum();
            let probability: Vec<f64> =
                space.iter().map(|(w, _)| f64::from(*w) / f64::from(total)).collect();
            let reward: Vec<f64> = space.iter().map(|(_, r)| f64::from(*r)).collect();
            let mut exact = vec![0.0; space.len()];
            for code in 0..space.len().pow(n as u32) {
                let draws: Vec<usize> =
                    (0..n).map(|d| code / space.len().pow(d as u32) % space.len()).collect();
                let weight: f64 = draws.iter().map(|&y| probability[y]).product();
                let best = draws.iter().map(|&y| reward[y]).fold(f64::MIN, f64::max);
                let tied: Vec<usize> =
                    draws.iter().copied().filter(|&y| reward[y] == best).collect();
                for &y in &tied {
                    exact[y] += weight / tied.len() as f64;
                }
            }
            let chosen = best_of_n_distribution(&probability, &reward, n).unwrap();
            let kl: f64 = exact
                .iter()
                .zip(&probability)
                .filter(|(w, _)| **w > 0.0)
                .map(|(w, p)| w * (w / p).ln())
                .sum();
            for (found, expected) in chosen.iter().zip(&exact) {
                prop_assert!((found - expected).abs() < 1e-12);
            }
            let found = best_of_n_kl(&probability, &reward, n).unwrap();
            prop_assert!((found - kl).abs() < 1e-11);
            prop_assert!(found <= best_of_n_kl_bound(n).unwrap() + 1e-12);
        }
    }
}
