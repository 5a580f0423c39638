//! How much of the factor can be read off the score (Z-probe).

use std::collections::BTreeMap;

use headwater_core::StreamRng;
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::{Answer, ScoredPair, check_pairs};
use crate::baselines::centred;
use crate::error::{EvaluationError, argument};
use crate::intervals::{Interval, correlation_interval};
use crate::ranks::mid_ranks;

/// A share of the factor's variance that the score explains.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// 1 - (1 - R²)(n - 1)/(n - k) for k coefficients: about 0 on average where there is nothing, so it
    /// **may be negative**; at most 1.
    pub adjusted: f64,
    /// Permutation p value of "score and factor are independent", in (0, 1].
    pub p: f64,
}

/// The factor read off the score, over one set of answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Readout {
    /// Pearson's correlation of score and factor, with its sign.
    pub correlation: Interval,
    /// By a line (k = 2): R² is the square of `correlation`.
    pub linear: Explained,
    /// By the mean in each quantile bin of the score (k = the number of bins that are not empty), η²: what
    /// this has above `linear` is not a line.
    pub binned: Explained,
}

/// The factor read off the score, over all answers and within label; see [`factor_readout`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FactorReadout {
    /// Over all answers.
    pub overall: Readout,
    /// Over the better answers. `None` where their scores or factors are all equal.
    pub chosen: Option<Readout>,
    /// Over the worse ones. `None` likewise.
    pub rejected: Option<Readout>,
}

/// How much of the factor's variance the score explains, over all answers and within label.
///
/// Overall, a perfect reward explains what the label and the factor have in common: where better
/// answers carry the factor more often, only the two readouts *within* label should be 0. `bins` bins of
/// the score by mid-rank, which no tie is split over. Both shares are adjusted for k (Ezekiel 1930;
/// Kelley 1935): at n = 20 noise alone has an R² of 0.05 and, in ten bins, an η² of 0.47.
///
/// p is over `permutations` draws that move the factors of a whole prompt to another with as many
/// pairs; overall, a prompt's two sides also change places at random. So answers of one prompt may
/// depend on each other, but prompts must be exchangeable. A prompt that no other has as many pairs as
/// stays where it is: give the same number for each. p = (1 + as extreme)/(1 + permutations).
///
/// # Errors
/// No pair or fewer than two prompts, a score or factor that is NaN or infinite, scores or factors that
/// are all equal, `bins` outside 2..=n/2 for n pairs, no permutations, or a level outside (0, 1).
pub fn factor_readout(
    pairs: &[ScoredPair],
    bins: usize,
    permutations: usize,
    level: f64,
    rng: &mut StreamRng,
) -> Result<FactorReadout, EvaluationError> {
    check_pairs(pairs)?;
    let allowed = "an integer in 2..=(number of pairs)/2";
    argument((2..=pairs.len() / 2).contains(&bins), "bins", bins as f64, allowed)?;
    let allowed = "an integer above 0";
    argument(permutations > 0, "permutations", permutations as f64, allowed)?;
    // All answers, the better ones first: answer i and answer i + pairs.len() are one pair.
    let answers: Vec<Answer> =
        pairs.iter().map(|p| p.chosen).chain(pairs.iter().map(|p| p.rejected)).collect();
    let prompts: Vec<usize> = pairs.iter().chain(pairs).map(|p| p.prompt).collect();
    let n = pairs.len();
    let mut overall = Probe::new(&answers, bins)?;
    let mut within =
        [optional(Probe::new(&answers[..n], bins))?, optional(Probe::new(&answers[n..], bins))?];

    let exchange = Exchange::new(pairs);
    for _ in 0..permutations {
        let source = exchange.draw(rng);
        let swapped = |i: usize, side: bool| source[i].0 + if source[i].1 != side { n } else { 0 };
        overall.permute(&|i| swapped(i % n, i >= n));
        for probe in within.iter_mut().flatten() {
            probe.permute(&|i| source[i].0);
        }
    }
    let [chosen, rejected] = within;
    let finish = |probe: Option<Probe>, answers: &[Answer]| {
        probe.map(|probe| probe.readout(answers, &prompts[..n], permutations, level)).transpose()
    };
    Ok(FactorReadout {
        overall: overall.readout(&answers, &prompts, permutations, level)?,
        chosen: finish(chosen, &answers[..n])?,
        rejected: finish(rejected, &answers[n..])?,
    })
}

/// `None` for entries that are all equal, which within a label is an answer and no mistake.
fn optional(probe: Result<Probe, EvaluationError>) -> Result<Option<Probe>, EvaluationError> {
    match probe {
        Err(EvaluationError::Constant { .. }) => Ok(None),
        probe => probe.map(Some),
    }
}

/// Scores and factors centred and of length 1, so that sums of products are shares of variance.
struct Probe {
    score: Vec<f64>,
    factor: Vec<f64>,
    /// Quantile bin of every score, and the number of answers in each.
    bin: Vec<usize>,
    sizes: Vec<f64>,
    observed: [f64; 2],
    /// Permutations with at least the observed R² and η².
    extreme: [usize; 2],
}

impl Probe {
    fn new(answers: &[Answer], bins: usize) -> Result<Self, EvaluationError> {
        let unit = |argument, of: fn(&Answer) -> f64| -> Result<Vec<f64>, EvaluationError> {
            let values = centred(argument, &answers.iter().map(of).collect::<Vec<f64>>())?;
            let size = values.iter().map(|v| v * v).sum::<f64>().sqrt();
            Ok(values.iter().map(|v| v / size).collect())
        };
        let (score, factor) = (unit("score", |a| a.score)?, unit("factor", |a| a.factor)?);
        let scale = bins as f64 / answers.len() as f64;
        let bin: Vec<usize> =
            mid_ranks(&score).iter().map(|rank| ((rank - 0.5) * scale) as usize).collect();
        let mut sizes = vec![0.0; bins];
        bin.iter().for_each(|&b| sizes[b] += 1.0);
        let mut probe = Self { score, factor, bin, sizes, observed: [0.0; 2], extreme: [0; 2] };
        probe.observed = probe.explained(&|i| i);
        Ok(probe)
    }

    /// R² and η² of the factors that `source` deals out.
    fn explained(&self, source: &dyn Fn(usize) -> usize) -> [f64; 2] {
        let (mut product, mut sums) = (0.0, vec![0.0; self.sizes.len()]);
        for (i, &bin) in self.bin.iter().enumerate() {
            let factor = self.factor[source(i)];
            product += self.score[i] * factor;
            sums[bin] += factor;
        }
        let filled = sums.iter().zip(&self.sizes).filter(|(_, size)| **size > 0.0);
        [product * product, filled.map(|(sum, size)| sum * sum / size).sum()]
    }

    fn permute(&mut self, source: &dyn Fn(usize) -> usize) {
        let permuted = self.explained(source);
        for (kind, share) in permuted.into_iter().enumerate() {
            // Equal in exact arithmetic counts as equal.
            self.extreme[kind] += usize::from(share >= self.observed[kind] - 1e-12);
        }
    }

    fn readout(
        &self,
        answers: &[Answer],
        prompts: &[usize],
        permutations: usize,
        level: f64,
    ) -> Result<Readout, EvaluationError> {
        let of = |value: fn(&Answer) -> f64| answers.iter().map(value).collect::<Vec<f64>>();
        let (score, factor) = (of(|a| a.score), of(|a| a.factor));
        let n = answers.len() as f64;
        let explained = |kind: usize, coefficients: usize| Explained {
            adjusted: 1.0 - (1.0 - self.observed[kind]) * (n - 1.0) / (n - coefficients as f64),
            p: (1 + self.extreme[kind]) as f64 / (1 + permutations) as f64,
        };
        Ok(Readout {
            correlation: correlation_interval(&score, &factor, prompts, level)?,
            linear: explained(0, 2),
            binned: explained(1, self.sizes.iter().filter(|size| **size > 0.0).count()),
        })
    }
}

/// Prompts by their number of pairs: those of one number may be exchanged.
struct Exchange {
    /// For each number, the prompts that have it; for each of these, its pairs.
    groups: Vec<Vec<Vec<usize>>>,
    pairs: usize,
}

impl Exchange {
    fn new(pairs: &[ScoredPair]) -> Self {
        let mut prompts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, pair) in pairs.iter().enumerate() {
            prompts.entry(pair.prompt).or_default().push(index);
        }
        let mut groups: BTreeMap<usize, Vec<Vec<usize>>> = BTreeMap::new();
        for members in prompts.into_values() {
            groups.entry(members.len()).or_default().push(members);
        }
        Self { groups: groups.into_values().collect(), pairs: pairs.len() }
    }

    /// For every pair, the pair whose factors it gets and whether the sides change places.
    fn draw(&self, rng: &mut StreamRng) -> Vec<(usize, bool)> {
        let mut source = vec![(0, false); self.pairs];
        for group in &self.groups {
            let mut order: Vec<usize> = (0..group.len()).collect();
            order.shuffle(rng);
            for (to, from) in group.iter().zip(order) {
                let swap = rng.random();
                for (&to, &from) in to.iter().zip(&group[from]) {
                    source[to] = (from, swap);
                }
            }
        }
        source
    }
}
