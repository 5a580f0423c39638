//! What a grader that never reads the content would score: length and position baselines.
//!
//! A reward model or a judge is worth its accuracy *above these*. A preference set on which "pick
//! the longer" reaches 0.65 teaches length; a judge that agrees with "pick the first" at 0.6 has a
//! position bias.

use serde::{Deserialize, Serialize};

use crate::bias::{ScoredPair, check_pairs};
use crate::error::{EvaluationError, all_finite, at_least, every, in_range, same_length};
use crate::intervals::{
    Interval, clustered_share_difference, clustered_share_interval, t_interval, wilson_interval,
};
use crate::ranks::mid_ranks;

/// A rule that picks a candidate without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentBlindRule {
    /// The longest candidate.
    Longest,
    /// The shortest candidate.
    Shortest,
    /// The candidate shown first.
    First,
    /// The candidate shown last.
    Last,
}

impl ContentBlindRule {
    /// Every rule.
    pub const ALL: [Self; 4] = [Self::Longest, Self::Shortest, Self::First, Self::Last];

    /// Positions picked: one, or all that tie in length.
    fn picks(self, lengths: &[f64]) -> Vec<usize> {
        let all = 0..lengths.len();
        let equal_to = |extreme: f64| all.clone().filter(|&i| lengths[i] == extreme).collect();
        match self {
            Self::Longest => equal_to(lengths.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
            Self::Shortest => equal_to(lengths.iter().copied().fold(f64::INFINITY, f64::min)),
            Self::First => vec![0],
            Self::Last => vec![lengths.len() - 1],
        }
    }
}

/// Two candidates and which one was preferred.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// Length of the candidate shown first, in any one unit (tokens, characters); at least 0.
    pub first_length: f64,
    /// Length of the candidate shown second.
    pub second_length: f64,
    /// Whether the first one was preferred.
    pub first_preferred: bool,
}

/// How often a rule agrees with the preferences.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PairBaseline {
    /// The rule.
    pub rule: ContentBlindRule,
    /// Share of the pairs the rule decides in which it picks the preferred one, with its Wilson
    /// interval. `None` if it decides none.
    pub accuracy: Option<Interval>,
    /// Standard errors above chance, (accuracy - 1/2) √n / (1/2); 0 if it decides none.
    pub z: f64,
    /// Pairs of equal length, which the length rules leave undecided.
    pub undecided: usize,
}

/// Every rule against the preferences of `pairs`.
///
/// First and last are told apart only by the order candidates were shown in; if the preferred one
/// is always stored first, `First` scores 1 and says nothing about a judge.
///
/// # Errors
/// No pair, a length that is negative or not finite, or a level outside (0, 1).
pub fn pair_baselines(pairs: &[Pair], level: f64) -> Result<Vec<PairBaseline>, EvaluationError> {
    at_least("pairs", pairs.len(), 1)?;
    let first: Vec<f64> = pairs.iter().map(|pair| pair.first_length).collect();
    let second: Vec<f64> = pairs.iter().map(|pair| pair.second_length).collect();
    check_lengths("first_length", &first)?;
    check_lengths("second_length", &second)?;
    let baseline = |rule: ContentBlindRule| {
        let (mut decided, mut agreed) = (0usize, 0usize);
        for pair in pairs {
            if let [pick] = rule.picks(&[pair.first_length, pair.second_length])[..] {
                decided += 1;
                agreed += usize::from((pick == 0) == pair.first_preferred);
            }
        }
        let undecided = pairs.len() - decided;
        if decided == 0 {
            return Ok(PairBaseline { rule, accuracy: None, z: 0.0, undecided });
        }
        let accuracy = wilson_interval(agreed, decided, level)?;
        let z = (accuracy.estimate - 0.5) * (decided as f64).sqrt() / 0.5;
        Ok(PairBaseline { rule, accuracy: Some(accuracy), z, undecided })
    };
    ContentBlindRule::ALL.into_iter().map(baseline).collect()
}

/// A model's accuracy beside that of rules that see the factor alone; see [`accuracy_above_factor`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AboveFactor {
    /// Share of pairs whose better answer scores higher.
    pub model: Interval,
    /// Share of pairs whose better answer has more of the factor; of those with less, it is 1 minus this.
    pub more: Interval,
    /// The model minus the rule "more of the factor".
    pub above_more: Interval,
    /// The model minus the rule "less of the factor".
    pub above_less: Interval,
    /// The model minus a constant score, which ties every pair and so has 1/2.
    pub above_constant: Interval,
}

/// Accuracy of a model on scored pairs, minus what picking by the factor alone gets on the same pairs;
/// ties are half right, for the model and for the rules.
///
/// Paired by prompt: intervals are [`clustered_share_interval`] and [`clustered_share_difference`]. A
/// model whose `above_more` does not exclude 0 has not been shown to be better than length (or whatever
/// the factor is), however high its accuracy.
///
/// # Errors
/// No pair, a score or factor that is NaN or infinite, or a level outside (0, 1).
pub fn accuracy_above_factor(
    pairs: &[ScoredPair],
    level: f64,
) -> Result<AboveFactor, EvaluationError> {
    check_pairs(pairs)?;
    let prompts: Vec<usize> = pairs.iter().map(|pair| pair.prompt).collect();
    let right: Vec<f64> = pairs.iter().map(ScoredPair::right).collect();
    let more: Vec<f64> = pairs.iter().map(ScoredPair::right_by_factor).collect();
    let less: Vec<f64> = more.iter().map(|m| 1.0 - m).collect();
    let above =
        |rule: &[f64]| clustered_share_difference((&right, &prompts), (rule, &prompts), level);
    let model = clustered_share_interval(&right, &prompts, level)?;
    // What a constant score gets is known, so only the model's share is uncertain.
    let above_constant = Interval {
        estimate: model.estimate - 0.5,
        low: model.low - 0.5,
        high: model.high - 0.5,
        ..model
    };
    Ok(AboveFactor {
        model,
        more: clustered_share_interval(&more, &prompts, level)?,
        above_more: above(&more)?,
        above_less: above(&less)?,
        above_constant,
    })
}

/// The candidates of one prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Length of each candidate, at least 0, in the order shown.
    pub lengths: Vec<f64>,
    /// Gold score of each (1 and 0 for right and wrong).
    pub gold: Vec<f64>,
}

impl Pool {
    fn check(&self) -> Result<(), EvaluationError> {
        at_least("gold", self.gold.len(), 1)?;
        same_length("lengths", self.lengths.len(), "gold", self.gold.len())?;
        check_lengths("lengths", &self.lengths)?;
        all_finite("gold", &self.gold)
    }
}

/// What a rule's picks are worth against a random pick.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PoolBaseline {
    /// The rule.
    pub rule: ContentBlindRule,
    /// Mean gold of the picked candidate (tied candidates averaged).
    pub gold: f64,
    /// Mean gain over the pool's mean gold, with a t interval over pools.
    pub gain: Interval,
    /// Total gain over its standard deviation under random picks; 0 if no pick could make a
    /// difference.
    pub z: f64,
}

/// Every rule's picks from `pools` (best-of-n without a reward), against a random pick from the
/// same pool.
///
/// Under random picks the gold of t candidates tied in a pool of K has mean equal to the pool's and
/// variance σ²/t (K - t)/(K - 1), σ² the pool's population variance; z adds these up over pools, so
/// it needs no assumption on gold.
///
/// # Errors
/// Fewer than two pools, an empty one, lengths that differ, a length that is negative or not
/// finite, gold that is not finite or too large to be added and squared, or a level outside (0, 1).
pub fn pool_baselines(pools: &[Pool], level: f64) -> Result<Vec<PoolBaseline>, EvaluationError> {
    at_least("pools", pools.len(), 2)?;
    for (index, pool) in pools.iter().enumerate() {
        pool.check().map_err(|error| error.of_item("pools", index))?;
    }
    let baseline = |rule: ContentBlindRule| {
        let (mut picked, mut gains, mut variance) = (0.0, Vec::new(), 0.0);
        for (index, pool) in pools.iter().enumerate() {
            if nearly_equal(&pool.gold) {
                // No pick makes a difference, and what rounding leaves is none.
                picked += pool.gold[0];
                gains.push(0.0);
                continue;
            }
            let size = pool.gold.len() as f64;
            let picks = rule.picks(&pool.lengths);
            let tied = picks.len() as f64;
            let gold = picks.iter().map(|&i| pool.gold[i]).sum::<f64>() / tied;
            let mean = in_range("mean", "gold", pool.gold.iter().sum::<f64>() / size)
                .map_err(|error| error.of_item("pools", index))?;
            let squares: f64 = pool.gold.iter().map(|g| (g - mean).powi(2)).sum();
            picked += gold;
            gains.push(gold - mean);
            if tied < size {
                variance += squares / size / tied * (size - tied) / (size - 1.0);
            }
        }
        in_range("sum", "gold", picked)?;
        in_range("variance", "gold", variance)?;
        let gain = t_interval(&gains, level)?;
        let total: f64 = gains.iter().sum();
        let z = if variance > 0.0 { total / variance.sqrt() } else { 0.0 };
        Ok(PoolBaseline { rule, gold: picked / pools.len() as f64, gain, z })
    };
    ContentBlindRule::ALL.into_iter().map(baseline).collect()
}

/// Pearson's correlation (of score and length, say); in [-1, 1].
///
/// # Errors
/// Fewer than two entries, lengths that differ, NaN or infinity, entries whose sum overflows, or an
/// argument whose entries are all equal.
pub fn pearson(x: &[f64], y: &[f64]) -> Result<f64, EvaluationError> {
    at_least("x", x.len(), 2)?;
    same_length("x", x.len(), "y", y.len())?;
    let x = centred("x", x)?;
    let y = centred("y", y)?;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    Ok((dot(&x, &y) / (dot(&x, &x).sqrt() * dot(&y, &y).sqrt())).clamp(-1.0, 1.0))
}

/// Spearman's rank correlation: Pearson's of the ranks, tied values sharing their mean rank; in
/// [-1, 1].
///
/// # Errors
/// As [`pearson`].
pub fn spearman(x: &[f64], y: &[f64]) -> Result<f64, EvaluationError> {
    all_finite("x", x)?;
    all_finite("y", y)?;
    pearson(&mid_ranks(x), &mid_ranks(y))
}

/// `values` less their mean, in units of the largest distance from it. Values that differ by
/// rounding only (0.1 + 0.2 and 0.3) are all equal: what varies in them is noise.
pub(crate) fn centred(argument: &'static str, values: &[f64]) -> Result<Vec<f64>, EvaluationError> {
    all_finite(argument, values)?;
    if nearly_equal(values) {
        return Err(EvaluationError::Constant { argument, value: values[0] });
    }
    let mean = in_range("mean", argument, values.iter().sum::<f64>() / values.len() as f64)?;
    // A correlation does not depend on the unit: measured in the largest of them, no distance is
    // too large or too small to be squared.
    let largest = values.iter().map(|v| (v - mean).abs()).fold(0.0, f64::max);
    let largest = in_range("spread", argument, largest)?;
    Ok(values.iter().map(|v| (v - mean) / largest).collect())
}

/// Whether values lie within a few roundings of the largest of them, 8 of its last place.
fn nearly_equal(values: &[f64]) -> bool {
    let (low, high) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
    high - low <= 8.0 * f64::EPSILON * low.abs().max(high.abs())
}

fn check_lengths(argument: &'static str, lengths: &[f64]) -> Result<(), EvaluationError> {
    let allowed = "a finite number of at least 0";
    every(argument, lengths, allowed, |length| length >= 0.0 && length.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::{assert_abs_diff_eq, assert_relative_eq};
    use headwater_core::Streams;
    use proptest::prelude::*;
    use rand::RngExt;

    fn pair(first_length: f64, second_length: f64, first_preferred: bool) -> Pair {
        Pair { first_length, second_length, first_preferred }
    }

    #[test]
    fn pair_rules_by_hand() {
        let pairs = [
            pair(9.0, 3.0, true),
            pair(2.0, 5.0, false),
            pair(7.0, 1.0, false),
            pair(4.0, 4.0, true),
        ];
        let found = pair_baselines(&pairs, 0.95).unwrap();
        let accuracy: Vec<f64> = found.iter().map(|b| b.accuracy.unwrap().estimate).collect();
        assert_eq!(accuracy, [2.0 / 3.0, 1.0 / 3.0, 0.5, 0.5]);
        assert_eq!(found.iter().map(|b| b.undecided).collect::<Vec<_>>(), [1, 1, 0, 0]);
        assert_relative_eq!(found[0].z, (1.0 / 6.0) / (0.25f64 / 3.0).sqrt(), max_relative = 1e-12);
        let equal = pair_baselines(&[pair(1.0, 1.0, true)], 0.95).unwrap();
        assert_eq!((equal[0].accuracy, equal[0].undecided), (None, 1));
    }

    #[test]
    fn correlations_against_scipy() {
        let length = [12.0, 3.0, 7.0, 7.0, 20.0, 1.0, 9.0, 7.0];
        let score = [0.4, 0.1, 0.5, 0.2, 3.0, 0.1, -0.2, 0.6];
        // scipy 1.17.1: stats.pearsonr, stats.spearmanr.
        assert_relative_eq!(pearson(&length, &score).unwrap(), PEARSON, max_relative = 1e-12);
        assert_relative_eq!(spearman(&length, &score).unwrap(), SPEARMAN, max_relative = 1e-12);
        assert!(matches!(
            spearman(&[1.0, 2.0], &[3.0, 3.0]),
            Err(EvaluationError::Constant { argument: "y", .. })
        ));
        assert!(spearman(&[1.0, f64::NAN], &[3.0, 4.0]).is_err());
    }
    const PEARSON: f64 = 0.8207738867476668;
    const SPEARMAN: f64 = 0.45406464164827975;

    #[test]
    fn values_that_differ_by_rounding_are_all_equal() {
        let equal = [0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2];
        let y = [1.0, 2.0, 3.0, 4.0];
        let error = pearson(&equal, &y).unwrap_err();
        assert!(matches!(error, EvaluationError::Constant { argument: "x", .. }), "{error}");
        assert!(pearson(&y, &equal.map(|v| -1e300 * v)).is_err());
        assert!(pearson(&y, &equal.map(|v| 1e-300 * v)).is_err());
        assert!(pearson(&[-0.0, 0.0, 0.0, 0.0], &y).is_err());
        // What is near 0 on the scale of the rest, or differs by more, does vary.
        assert!(pearson(&[1.0, 1.0 + 1e-14, 1.0, 1.0], &y).is_ok());
        assert!(pearson(&[-1e-300, 1e-300, 0.0, 0.0], &y).is_ok());
    }

    #[test]
    fn z_is_standard_normal_for_preferences_that_ignore_length_and_position() {
        let mut rng = Streams::new(4).stream("pairs", &[]);
        let mut squares = [0.0; 4];
        let mut pool_squares = [0.0; 4];
        let trials = 1500;
        for _ in 0..trials {
            let pairs: Vec<Pair> = (0..80)
                .map(|_| {
                    pair(rng.random_range(0..9).into(), rng.random_range(0..9).into(), rng.random())
                })
                .collect();
            let pools: Vec<Pool> = (0..60)
                .map(|_| {
                    let size = rng.random_range(1..6);
                    let lengths = (0..size).map(|_| f64::from(rng.random_range(0..4u32))).collect();
                    let gold = (0..size).map(|_| rng.random::<f64>().powi(3)).collect();
                    Pool { lengths, gold }
                })
                .collect();
            let of_pairs = pair_baselines(&pairs, 0.95).unwrap();
            let of_pools = pool_baselines(&pools, 0.95).unwrap();
            for rule in 0..4 {
                squares[rule] += of_pairs[rule].z.powi(2) / f64::from(trials);
                pool_squares[rule] += of_pools[rule].z.powi(2) / f64::from(trials);
            }
        }
        // The mean of 1500 squared standard normals has standard deviation √(2/1500) = 0.037.
        for mean_square in squares.into_iter().chain(pool_squares) {
            assert_abs_diff_eq!(mean_square, 1.0, epsilon = 0.12);
        }
    }

    #[test]
    fn pools_by_hand() {
        let pools = [
            Pool { lengths: vec![1.0, 2.0, 3.0], gold: vec![0.0, 0.0, 1.0] },
            Pool { lengths: vec![5.0, 5.0, 1.0], gold: vec![1.0, 0.0, 0.0] },
            Pool { lengths: vec![2.0, 2.0], gold: vec![0.3, 0.9] },
        ];
        let found = pool_baselines(&pools, 0.95).unwrap();
        // Longest: 1, (1 + 0)/2, 0.6 against pool means 1/3, 1/3, 0.6; variances 2/9, 2/9 / 2 *
        // 1/2, 0.
        assert_relative_eq!(found[0].gold, 2.1 / 3.0, max_relative = 1e-12);
        assert_relative_eq!(
            found[0].gain.estimate,
            (2.0 / 3.0 + 1.0 / 6.0) / 3.0,
            max_relative = 1e-12
        );
        let variance: f64 = 2.0 / 9.0 + 1.0 / 18.0;
        assert_relative_eq!(found[0].z, (5.0 / 6.0) / variance.sqrt(), max_relative = 1e-12);
        assert_relative_eq!(found[3].gold, 1.9 / 3.0, max_relative = 1e-12);
        let uniform = vec![Pool { lengths: vec![1.0, 2.0], gold: vec![0.5, 0.5] }; 2];
        assert_eq!(pool_baselines(&uniform, 0.95).unwrap()[0].z, 0.0);
        // The mean of three times 0.1 is not 0.1.
        let alike = vec![Pool { lengths: vec![1.0, 2.0, 3.0], gold: vec![0.1; 3] }; 100];
        for baseline in pool_baselines(&alike, 0.95).unwrap() {
            assert_eq!((baseline.z, baseline.gain.estimate), (0.0, 0.0));
        }
    }

    #[test]
    fn bad_input_is_named() {
        let error = pair_baselines(&[pair(1.0, -2.0, true)], 0.95).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`second_length[0]` = -2: allowed is a finite number of at least 0"
        );
        assert!(pair_baselines(&[], 0.95).is_err());
        let empty = Pool { lengths: vec![], gold: vec![] };
        assert!(pool_baselines(&[empty.clone(), empty], 0.95).is_err());
        let good = Pool { lengths: vec![1.0], gold: vec![1.0] };
        let bad = Pool { lengths: vec![1.0, f64::NAN], gold: vec![0.0, 1.0] };
        assert_eq!(
            pool_baselines(&[good, bad], 0.95).unwrap_err().to_string(),
            "`pools[1]`: `lengths[1]` = NaN: allowed is a finite number of at least 0"
        );
    }

    #[test]
    fn gold_too_large_to_add_or_square_is_refused_and_correlations_need_no_unit() {
        for gold in [vec![1.7e308, 1.7e308], vec![1e200, -1e200]] {
            let pools = vec![Pool { lengths: vec![1.0, 2.0], gold }; 2];
            let error = pool_baselines(&pools, 0.95).unwrap_err().to_string();
            assert!(error.contains("of `gold` comes to"), "{error}");
        }
        let (x, y) = ([1.0, 2.0, 4.0, 3.0], [0.5, 1.0, 0.0, 2.0]);
        for unit in [1e-300, 1e300] {
            let scaled = x.map(|v| v * unit);
            assert_relative_eq!(
                pearson(&scaled, &y).unwrap(),
                pearson(&x, &y).unwrap(),
                max_relative = 1e-12
            );
        }
        assert!(pearson(&[1.7e308, 1.7e308, 0.0], &[1.0, 2.0, 3.0]).is_err());
        assert!(pearson(&[1.7e308, -1.7e308], &[1.0, 2.0]).is_ok());
    }

    proptest! {
        #[test]
        fn spearman_sees_order_only_and_pearson_lines_only(
            points in prop::collection::vec((-5.0f64..5.0, -5.0f64..5.0), 3..20),
            slope in 0.1f64..4.0,
        ) {
            let (x, y): (Vec<f64>, Vec<f64>) = points.into_iter().unzip();
            let bent: Vec<f64> = y.iter().map(|v| v.exp()).collect();
            let line: Vec<f64> = y.iter().map(|v| 3.0 - slope * v).collect();
            prop_assert!((spearman(&x, &y).unwrap() - spearman(&x, &bent).unwrap()).abs() < 1e-9);
            prop_assert!((pearson(&x, &y).unwrap() + pearson(&x, &line).unwrap()).abs() < 1e-9);
        }
    }
}
