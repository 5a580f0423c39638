//! Confidence intervals: t, t of resplits, Wilson, studentised bootstrap (plain, paired,
//! clustered), percentile bootstrap, differences of shares.
//!
//! *Paired* comparison is not a function of its own: take [`paired_differences`] (same seed, same
//! prompt) and give them to any interval of a mean. Where observations come in groups that share
//! luck (several samples of one prompt, several prompts of one seed), only
//! [`Bootstrap::clustered_mean`] has the coverage it states. For a share (accuracy, win rate) take
//! [`clustered_share_interval`] and [`clustered_share_difference`], which keep a width near 0 and 1,
//! where the bootstrap has resamples without spread. Repeated splits of one data set share rows:
//! take [`resplit_interval`].
//!
//! Which one: few values (5 seeds) that are roughly symmetric, [`t_interval`]; 15 or more, or
//! skewed, [`Bootstrap::mean`]; a share of successes, [`wilson_interval`]; anything that is not a
//! mean, [`Bootstrap::percentile`].
//!
//! **Zero spread is not certainty.** Intervals of a mean know nothing but the spread of the values,
//! so equal values give an interval of that one value: five seeds that all end at 1.0 are no proof
//! that the sixth will. Where the values are successes, [`wilson_interval`] keeps its width;
//! elsewhere the number of values is all there is to report.

use std::collections::BTreeMap;

use headwater_core::{Check, ConfigError, StreamRng, require};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use crate::error::{EvaluationError, all_finite, argument, at_least, in_range, same_length};

mod clustered;
mod paired_share;

pub use clustered::{
    clustered_mean_interval, clustered_share_difference, clustered_share_interval,
    correlation_interval,
};
pub(crate) use clustered::{linearised, robust_error};
pub use paired_share::paired_share_difference;

/// An estimate with a two-sided confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The point estimate.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Nominal coverage, e.g. 0.95.
    pub level: f64,
    /// Independent units behind it: values, trials, or clusters.
    pub n: usize,
}

impl Interval {
    /// Whether `value` lies within the interval, ends included.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// The interval of values that are all `value`.
    fn point(value: f64, level: f64, n: usize) -> Self {
        Self { estimate: value, low: value, high: value, level, n }
    }

    /// Half the distance between the ends.
    #[must_use]
    pub fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0
    }
}

/// `treated[i] - control[i]`: what paired intervals and tests are taken of.
///
/// # Errors
/// No entry, lengths that differ, NaN or infinity (of a difference that overflows, too).
pub fn paired_differences(treated: &[f64], control: &[f64]) -> Result<Vec<f64>, EvaluationError> {
    at_least("treated", treated.len(), 1)?;
    same_length("treated", treated.len(), "control", control.len())?;
    all_finite("treated", treated)?;
    all_finite("control", control)?;
    let differences: Vec<f64> = treated.iter().zip(control).map(|(t, c)| t - c).collect();
    all_finite("treated - control", &differences)?;
    Ok(differences)
}

/// Student's t interval of a mean: mean ± t_{n-1} s/√n.
///
/// Exact for independent normal values, good for symmetric ones, too short or lopsided for few
/// skewed ones. Equal values, and only these, give an interval of exactly that one value: it says
/// that nothing varied, not that the mean is known.
///
/// # Errors
/// Fewer than two values, NaN or infinity, values so large that their sum or the interval overflows,
/// or a level outside (0, 1).
pub fn t_interval(values: &[f64], level: f64) -> Result<Interval, EvaluationError> {
    mean_interval(values, 1.0, level)
}

/// mean ± `widened` t_{n-1} s/√n.
fn mean_interval(values: &[f64], widened: f64, level: f64) -> Result<Interval, EvaluationError> {
    check_level(level)?;
    at_least("values", values.len(), 2)?;
    all_finite("values", values)?;
    let (mean, standard_error) = mean_and_error(values)?;
    let quantile = student(values.len() - 1).inverse_cdf(0.5 + level / 2.0);
    let reach = widened * (quantile * standard_error);
    let low = in_range("interval", "values", mean - reach)?;
    let high = in_range("interval", "values", mean + reach)?;
    Ok(Interval { estimate: mean, low, high, level, n: values.len() })
}

/// Interval of the mean of paired differences over repeated random splits of one data set into
/// `train` and `test` rows: mean ± t_{n-1} s √(1/n + test/train).
///
/// The splits share rows, so their differences are correlated; [`t_interval`] takes them for
/// independent, and shrinks to nothing with more of them, which is no more data. The term
/// test/train stands for a correlation of test/(train + test) between splits: right where the
/// learners hardly depend on which rows they were trained on, and an approximation elsewhere. Equal
/// values give that one value, as in [`t_interval`]. Source: Nadeau and Bengio (2003), "Inference
/// for the generalization error", the corrected resampled t test.
///
/// # Errors
/// As [`t_interval`], or no row to train on or to test on.
pub fn resplit_interval(
    values: &[f64],
    train: usize,
    test: usize,
    level: f64,
) -> Result<Interval, EvaluationError> {
    argument(train > 0, "train", train as f64, "an integer above 0")?;
    argument(test > 0, "test", test as f64, "an integer above 0")?;
    let overlap = test as f64 / train as f64;
    mean_interval(values, (1.0 + values.len() as f64 * overlap).sqrt(), level)
}

/// Wilson's score interval of a probability, without continuity correction; within [0, 1].
///
/// Inverts the score test: the centre is (p̂ + z²/2n)/(1 + z²/n). Keeps its coverage near 0 and 1
/// and for small n, where p̂ ± z√(p̂(1-p̂)/n) does not. Source: Wilson (1927); Brown, Cai and
/// DasGupta (2001).
///
/// # Errors
/// No trial, more successes than trials, or a level outside (0, 1).
pub fn wilson_interval(
    successes: usize,
    trials: usize,
    level: f64,
) -> Result<Interval, EvaluationError> {
    check_level(level)?;
    at_least("trials", trials, 1)?;
    argument(successes <= trials, "successes", successes as f64, "an integer in 0..=trials")?;
    let p = successes as f64 / trials as f64;
    let (low, high) = wilson(p, trials as f64, level);
    Ok(Interval { estimate: p, low, high, level, n: trials })
}

/// Ends of Wilson's interval for a share `p` of `n` trials; `n` above 0, not necessarily whole.
fn wilson(p: f64, n: f64, level: f64) -> (f64, f64) {
    let z = Normal::standard().inverse_cdf(0.5 + level / 2.0);
    let scale = 1.0 + z * z / n;
    let centre = (p + z * z / (2.0 * n)) / scale;
    let reach = z / scale * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    // At p = 0 and p = 1 an end is exactly 0 or 1; do not leave it to rounding.
    let low = if p == 0.0 { 0.0 } else { (centre - reach).max(0.0) };
    let high = if p == 1.0 { 1.0 } else { (centre + reach).min(1.0) };
    (low, high)
}

/// How a bootstrap is run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapConfig {
    /// Nominal coverage, in (0, 1).
    pub level: f64,
    /// Resamples drawn; at least 2/(1 - level), so that each tail holds one.
    pub resamples: usize,
}

impl Default for BootstrapConfig {
    /// 95% from 1999 resamples (then the ends are order statistics 50 and 1950).
    fn default() -> Self {
        Self { level: 0.95, resamples: 1999 }
    }
}

impl Check for BootstrapConfig {
    type Checked = Bootstrap;

    fn check(self) -> Result<Bootstrap, ConfigError> {
        const NAME: &str = "BootstrapConfig";
        require(in_unit(self.level), NAME, "level", self.level, "a number in (0, 1)")?;
        let enough = (self.resamples as f64 + 1.0) * (1.0 - self.level) / 2.0 >= 1.0;
        let allowed = "an integer of at least 2/(1 - level) - 1 and at most 10000000";
        let holds = enough && self.resamples <= 10_000_000;
        require(holds, NAME, "resamples", self.resamples, allowed)?;
        Ok(Bootstrap { config: self })
    }
}

/// A bootstrap with a valid config; every method draws from the stream it is given.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bootstrap {
    config: BootstrapConfig,
}

/// What is resampled for a mean: a cluster's sum and size (a single value is a cluster of one).
#[derive(Clone, Copy)]
struct Cluster {
    sum: f64,
    size: f64,
}

impl Bootstrap {
    /// Studentised (bootstrap-t) interval of the mean of independent values; of paired differences,
    /// the paired one.
    ///
    /// Resamples t* = (mean* - mean)/se* and reads the interval as mean - t*se, which corrects for
    /// skewness and for the estimated variance: second-order accurate, where the percentile
    /// interval is too short for small n. Source: Efron (1981); Davison and Hinkley (1997), section
    /// 5.2. Equal values give that one value, as in [`t_interval`].
    ///
    /// # Errors
    /// Fewer than two values, NaN or infinity, values too large (or, though unequal, too small) to
    /// be squared, or so many resamples of equal values that the interval would be infinite (3
    /// values, or mostly equal ones): see [`EvaluationError::DegenerateBootstrap`].
    pub fn mean(&self, values: &[f64], rng: &mut StreamRng) -> Result<Interval, EvaluationError> {
        at_least("values", values.len(), 2)?;
        all_finite("values", values)?;
        if let Some(value) = common_value(values) {
            return Ok(Interval::point(value, self.config.level, values.len()));
        }
        let singles: Vec<Cluster> = values.iter().map(|&sum| Cluster { sum, size: 1.0 }).collect();
        self.studentised(&singles, rng)
    }

    /// Studentised interval of the mean over all values where whole clusters are independent, their
    /// members not.
    ///
    /// `clusters[i]` names the cluster of `values[i]`, in any order. Clusters are resampled whole
    /// and studentised by the cluster-robust standard error se² = G/(G-1) Σ_g (Σ_{i in g} (y_i -
    /// ȳ))²/N². Every value weighs alike, so large clusters count for more; average within clusters
    /// first if they should not. Clusters whose means agree (to 1e-12 of the largest value) give
    /// that one value. `n` is the number of clusters: below about 15, expect less than nominal
    /// coverage. Source: Cameron, Gelbach and Miller (2008), pairs cluster bootstrap-t.
    ///
    /// # Errors
    /// Lengths that differ, fewer than two clusters, and as [`Bootstrap::mean`].
    pub fn clustered_mean(
        &self,
        values: &[f64],
        clusters: &[usize],
        rng: &mut StreamRng,
    ) -> Result<Interval, EvaluationError> {
        same_length("values", values.len(), "clusters", clusters.len())?;
        all_finite("values", values)?;
        let clusters = gather(values, clusters);
        at_least("clusters", clusters.len(), 2)?;
        // Sums are rounded, so clusters that agree do so up to rounding.
        let largest = values.iter().map(|v| v.abs()).fold(0.0, f64::max);
        let first = clusters[0].sum / clusters[0].size;
        if clusters.iter().all(|c| (c.sum / c.size - first).abs() <= 1e-12 * largest) {
            let value = common_value(values).unwrap_or(first);
            return Ok(Interval::point(value, self.config.level, clusters.len()));
        }
        self.studentised(&clusters, rng)
    }

    /// Percentile interval of any statistic of `n` independent units (prompts, pairs, seeds).
    ///
    /// `statistic` gets the n indices of a resample, with repetitions, and once 0..n for the
    /// estimate; to keep pairs or clusters together, let an index stand for a whole one.
    /// First-order accurate only, and it does not remove the statistic's bias. Source: Efron
    /// (1979).
    ///
    /// # Errors
    /// n below 2, a statistic that is NaN or infinite, or any error it returns (AUROC of a
    /// one-class resample, for one).
    pub fn percentile(
        &self,
        n: usize,
        mut statistic: impl FnMut(&[usize]) -> Result<f64, EvaluationError>,
        rng: &mut StreamRng,
    ) -> Result<Interval, EvaluationError> {
        at_least("units", n, 2)?;
        let mut indices: Vec<usize> = (0..n).collect();
        let estimate = statistic(&indices)?;
        argument(estimate.is_finite(), "statistic", estimate, "a finite number")?;
        let mut values = Vec::with_capacity(self.config.resamples);
        for _ in 0..self.config.resamples {
            indices.fill_with(|| rng.random_range(0..n));
            let value = statistic(&indices)?;
            argument(value.is_finite(), "statistic", value, "a finite number")?;
            values.push(value);
        }
        let (low, high) = self.ends(values);
        Ok(Interval { estimate, low, high, level: self.config.level, n })
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> BootstrapConfig {
        self.config
    }

    fn studentised(
        &self,
        clusters: &[Cluster],
        rng: &mut StreamRng,
    ) -> Result<Interval, EvaluationError> {
        let level = self.config.level;
        let n = clusters.len();
        let (mean, error) = clustered_mean_and_error(clusters);
        let error = usable_error(mean, error)?;
        let mut degenerate = 0;
        let mut resample = clusters.to_vec();
        let statistics: Vec<f64> = (0..self.config.resamples)
            .map(|_| {
                resample.fill_with(|| clusters[rng.random_range(0..n)]);
                let (resampled, resampled_error) = clustered_mean_and_error(&resample);
                // A resample of one cluster repeated has no spread but for rounding: it stays in
                // its tail, as infinite.
                if resampled_error <= 1e-12 * error {
                    degenerate += 1;
                    return f64::INFINITY.copysign(resampled - mean);
                }
                (resampled - mean) / resampled_error
            })
            .collect();
        let (low, high) = self.ends(statistics);
        if low.is_infinite() || high.is_infinite() {
            let resamples = self.config.resamples;
            return Err(EvaluationError::DegenerateBootstrap {
                argument: "values",
                degenerate,
                resamples,
            });
        }
        let (low, high) = (mean - high * error, mean - low * error);
        in_range("interval", "values", low + high)?;
        Ok(Interval { estimate: mean, low, high, level, n })
    }

    /// The order statistics that cut off (1 - level)/2 on either side: number ⌊(B+1)(1-level)/2⌋
    /// from each end.
    pub(crate) fn ends(&self, mut values: Vec<f64>) -> (f64, f64) {
        values.sort_by(f64::total_cmp);
        let tail = (values.len() as f64 + 1.0) * (1.0 - self.config.level) / 2.0;
        // 1 - 0.95 is a shade above 0.05, and (1 - level) may as well be a shade below: floor with
        // a margin.
        let cut = (tail + 1e-9).floor().max(1.0) as usize;
        (values[cut - 1], values[values.len() - cut])
    }
}

/// Mean and its standard error s/√n (sample variance with n - 1) of two values or more; the error
/// is 0 where all values are equal, and nowhere else.
pub(crate) fn mean_and_error(values: &[f64]) -> Result<(f64, f64), EvaluationError> {
    if let Some(value) = common_value(values) {
        return Ok((value, 0.0));
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let error = |unit: f64| {
        let squares: f64 = values.iter().map(|v| ((v - mean) / unit).powi(2)).sum();
        unit * (squares / (n - 1.0) / n).sqrt()
    };
    let plain = error(1.0);
    if plain > 0.0 && plain.is_finite() {
        return Ok((mean, plain));
    }
    // Too large or too small to be squared: in units of the largest deviation they are neither.
    let largest = values.iter().map(|v| (v - mean).abs()).fold(0.0, f64::max);
    Ok((mean, usable_error(mean, error(largest))?))
}

/// The one value that all are equal to. Compared directly: the mean of three 0.1 is not quite 0.1,
/// so their spread about it is not quite 0.
fn common_value(values: &[f64]) -> Option<f64> {
    let first = *values.first()?;
    values.iter().all(|&value| value == first).then_some(first)
}

/// The standard error of values that are not all equal, unless their squares over- or underflow.
fn usable_error(mean: f64, error: f64) -> Result<f64, EvaluationError> {
    in_range("mean", "values", mean)?;
    if error > 0.0 && error.is_finite() {
        return Ok(error);
    }
    let what = "standard error";
    Err(EvaluationError::OutOfRange { argument: "values", what, value: error })
}

/// Sum and size of every cluster, in ascending order of their names.
fn gather(values: &[f64], clusters: &[usize]) -> Vec<Cluster> {
    let mut sums = BTreeMap::new();
    for (&value, &cluster) in values.iter().zip(clusters) {
        let entry = sums.entry(cluster).or_insert(Cluster { sum: 0.0, size: 0.0 });
        entry.sum += value;
        entry.size += 1.0;
    }
    sums.into_values().collect()
}

fn clustered_mean_and_error(clusters: &[Cluster]) -> (f64, f64) {
    let count = clusters.len() as f64;
    let size: f64 = clusters.iter().map(|c| c.size).sum();
    let mean = clusters.iter().map(|c| c.sum).sum::<f64>() / size;
    let squares: f64 = clusters.iter().map(|c| (c.sum - c.size * mean).powi(2)).sum();
    (mean, (squares * count / (count - 1.0)).sqrt() / size)
}

pub(crate) fn student(degrees: usize) -> StudentsT {
    StudentsT::new(0.0, 1.0, degrees as f64).expect("degrees of freedom are at least 1")
}

fn check_level(level: f64) -> Result<(), EvaluationError> {
    argument(in_unit(level), "level", level, "a number in (0, 1)")
}

/// Whether `value` lies in (0, 1) with half a tail left above it: the last number below 1 has none,
/// and would make every interval infinite.
pub(crate) fn in_unit(value: f64) -> bool {
    value > 0.0 && 0.5 + value / 2.0 < 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn the_cluster_robust_error_by_hand() {
        // Mean 18/6; residual sums 0, -6, 6; se² = 3/2 * 72 / 6². The bootstrap would hide a wrong
        // formula: studentising corrects whatever scale it is given.
        let clusters =
            [(6.0, 2.0), (3.0, 3.0), (9.0, 1.0)].map(|(sum, size)| Cluster { sum, size });
        let (mean, error) = clustered_mean_and_error(&clusters);
        assert_relative_eq!(mean, 3.0);
        assert_relative_eq!(error, 3f64.sqrt(), max_relative = 1e-12);
    }
}
