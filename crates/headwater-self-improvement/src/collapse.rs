//! Model collapse. In models that can be solved: linear regression trained on its own outputs (Gerstgrasser et al. 2024,
//! arXiv 2404.01413), and a Gaussian (Shumailov et al. 2023, arXiv 2305.17493). In one that cannot: a decoder trained on its
//! own text ([`language`]), where the text that was there first has a known distribution ([`source`]).
//!
//! Round 1 is fitted to real rows; every later round to rows whose targets the round before has drawn. With d features x ~ N(0, I),
//! T rows a round and noise σ, the expected squared distance of round n's weights from the truth is `n σ² d/(T - d - 1)` where
//! each round's rows replace those before, and at most `σ² d/(T - d - 1) Σ_{i<=n} i^-2` where they are added to them.

use headwater_core::{Check, ConfigError, StreamRng, Streams, require, require_positive};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

pub mod language;
pub mod source;

/// What a round is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum DataPolicy {
    /// The rows of the round before.
    Replace,
    /// Those of all rounds before.
    Accumulate,
    /// The rows of the round before, but for a share that is real.
    RealShare {
        /// In (0, 1]; of so many rows, rounded.
        share: f64,
        /// Real rows are drawn anew in every round; if not, they are those of the first.
        fresh: bool,
    },
}

/// Rows of a round after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Composition {
    /// Those of the rounds before stay.
    keeps: bool,
    /// New rows by the model of the round before.
    own: usize,
    /// Real ones.
    real: usize,
    /// The round that the real ones were drawn in, from 0.
    drawn: u64,
}

impl DataPolicy {
    fn check(self, config: &'static str) -> Result<(), ConfigError> {
        let Self::RealShare { share, .. } = self else { return Ok(()) };
        require(share > 0.0 && share <= 1.0, config, "share", share, "a number in (0, 1]")
    }

    /// What round `round` (from 0, above 0) is trained on, where a round has `rows`.
    fn composition(self, rows: usize, round: u64) -> Composition {
        match self {
            Self::Replace => Composition { keeps: false, own: rows, real: 0, drawn: 0 },
            Self::Accumulate => Composition { keeps: true, own: rows, real: 0, drawn: 0 },
            Self::RealShare { share, fresh } => {
                let real = (share * rows as f64).round() as usize;
                let drawn = if fresh { round } else { 0 };
                Composition { keeps: false, own: rows - real, real, drawn }
            }
        }
    }
}

/// A loop of regressions, unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegressionConfig {
    /// d, at least 1.
    pub features: usize,
    /// T, above d + 1.
    pub rows: usize,
    /// σ, above 0.
    pub noise: f64,
    /// Rounds, the first included, at least 1.
    pub rounds: usize,
    /// What a round is trained on.
    pub data: DataPolicy,
}

/// A checked [`RegressionConfig`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Regression(RegressionConfig);

impl Check for RegressionConfig {
    type Checked = Regression;

    fn check(self) -> Result<Regression, ConfigError> {
        const NAME: &str = "RegressionConfig";
        require(self.features >= 1, NAME, "features", self.features, "1 or more")?;
        let holds = self.rows > self.features + 1;
        require(holds, NAME, "rows", self.rows, "more than features + 1")?;
        require_positive(NAME, "noise", self.noise)?;
        require(self.rounds >= 1, NAME, "rounds", self.rounds, "1 or more")?;
        self.data.check(NAME)?;
        Ok(Regression(self))
    }
}

/// `σ² d/(T - d - 1)`: the expected error of a model fitted to real rows.
#[must_use]
pub fn first_error(features: usize, rows: usize, noise: f64) -> f64 {
    noise * noise * features as f64 / (rows as f64 - features as f64 - 1.0)
}

impl Regression {
    /// Expected error after `round` rounds (from 1) where rows replace those before, or its bound where they accumulate; `None` where
    /// a share is real.
    #[must_use]
    pub fn theory(&self, round: usize) -> Option<f64> {
        let first = first_error(self.0.features, self.0.rows, self.0.noise);
        match self.0.data {
            DataPolicy::Replace => Some(round as f64 * first),
            DataPolicy::Accumulate => {
                Some(first * (1..=round).map(|i| (i as f64).powi(-2)).sum::<f64>())
            }
            DataPolicy::RealShare { .. } => None,
        }
    }

    /// Squared distance of the weights from the truth after every round.
    #[must_use]
    pub fn run(&self, streams: &Streams) -> Vec<f64> {
        let RegressionConfig { features, rows, data, .. } = self.0;
        let mut truth_stream = streams.stream("truth", &[]);
        let truth: Vec<f64> = (0..features).map(|_| normal(&mut truth_stream)).collect();
        let real = |round: u64, count: usize| {
            self.rows(&truth, count, &mut streams.stream("real rows", &[round]))
        };
        let (mut seen, mut model) = (real(0, rows), truth.clone());
        let mut errors = Vec::with_capacity(self.0.rounds);
        for round in 0..self.0.rounds as u64 {
            if round > 0 {
                let Composition { keeps, own, real: count, drawn } = data.composition(rows, round);
                let own = self.rows(&model, own, &mut streams.stream("own rows", &[round]));
                seen = if keeps { seen.plus(&own) } else { own.plus(&real(drawn, count)) };
            }
            model = seen.solve();
            let error = model.iter().zip(&truth).map(|(a, b)| (a - b).powi(2)).sum();
            errors.push(error);
        }
        errors
    }

    /// Rows with targets by `weights`.
    fn rows(&self, weights: &[f64], count: usize, stream: &mut StreamRng) -> Moments {
        let mut moments = Moments::new(weights.len());
        for _ in 0..count {
            let x: Vec<f64> = weights.iter().map(|_| normal(stream)).collect();
            let y: f64 = x.iter().zip(weights).map(|(x, w)| x * w).sum();
            moments.add(&x, y + self.0.noise * normal(stream));
        }
        moments
    }
}

/// Sums of x xᵀ and x y: all that least squares asks of rows.
#[derive(Debug, Clone)]
struct Moments {
    squares: Vec<Vec<f64>>,
    products: Vec<f64>,
}

impl Moments {
    fn new(features: usize) -> Self {
        Self { squares: vec![vec![0.0; features]; features], products: vec![0.0; features] }
    }

    fn add(&mut self, x: &[f64], y: f64) {
        for (row, (a, product)) in self.squares.iter_mut().zip(x.iter().zip(&mut self.products)) {
            *product += a * y;
            row.iter_mut().zip(x).for_each(|(sum, b)| *sum += a * b);
        }
    }

    fn plus(mut self, other: &Self) -> Self {
        for (row, others) in self.squares.iter_mut().zip(&other.squares) {
            row.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
        }
        self.products.iter_mut().zip(&other.products).for_each(|(sum, other)| *sum += other);
        self
    }

    /// Least squares, by elimination: the matrix is positive definite.
    fn solve(&self) -> Vec<f64> {
        let (mut matrix, mut right) = (self.squares.clone(), self.products.clone());
        let n = right.len();
        for pivot in 0..n {
            let (above, below) = matrix.split_at_mut(pivot + 1);
            for (row, line) in below.iter_mut().enumerate() {
                let factor = line[pivot] / above[pivot][pivot];
                line.iter_mut().zip(&above[pivot]).for_each(|(v, p)| *v -= factor * p);
                right[pivot + 1 + row] -= factor * right[pivot];
            }
        }
        let mut solution = vec![0.0; n];
        for row in (0..n).rev() {
            let known: f64 = (row + 1..n).map(|at| matrix[row][at] * solution[at]).sum();
            solution[row] = (right[row] - known) / matrix[row][row];
        }
        solution
    }
}

/// Variance of a Gaussian that is fitted by maximum likelihood to `rows` of its own draws, round after round, from variance 1; the
/// first entry is that of the first fit. In expectation it is `(1 - 1/rows)^round`.
///
/// # Panics
/// With fewer than 2 rows.
#[must_use]
pub fn gaussian_variances(rows: usize, rounds: usize, stream: &mut StreamRng) -> Vec<f64> {
    assert!(rows >= 2, "{rows} rows: allowed are 2 or more");
    let (mut mean, mut variance) = (0.0f64, 1.0f64);
    (0..rounds)
        .map(|_| {
            let draws: Vec<f64> =
                (0..rows).map(|_| mean + variance.sqrt() * normal(stream)).collect();
            mean = draws.iter().sum::<f64>() / rows as f64;
            variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / rows as f64;
            variance
        })
        .collect()
}

fn normal(stream: &mut StreamRng) -> f64 {
    StandardNormal.sample(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(data: DataPolicy, runs: u64, rounds: usize) -> Vec<(f64, f64)> {
        let config = RegressionConfig { features: 10, rows: 60, noise: 1.0, rounds, data };
        let regression = config.check().unwrap();
        let all: Vec<Vec<f64>> = (0..runs).map(|run| regression.run(&Streams::new(run))).collect();
        (0..rounds)
            .map(|round| {
                let values: Vec<f64> = all.iter().map(|errors| errors[round]).collect();
                let mean = values.iter().sum::<f64>() / runs as f64;
                let variance =
                    values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (runs as f64 - 1.0);
                (mean, (variance / runs as f64).sqrt())
            })
            .collect()
    }

    #[test]
    fn replaced_rows_add_an_error_every_round_and_accumulated_ones_stay_below_the_bound() {
        let first = first_error(10, 60, 1.0);
        for (round, (mean, standard_error)) in
            errors(DataPolicy::Replace, 400, 12).into_iter().enumerate()
        {
            let expected = (round + 1) as f64 * first;
            assert!((mean - expected).abs() < 4.0 * standard_error, "round {round}: {mean}");
            // Sharp enough to tell n from n ± 1 in the first rounds.
            assert!(round > 4 || standard_error < 0.06 * expected);
        }
        let accumulate = errors(DataPolicy::Accumulate, 400, 12);
        let bound: f64 = first * (1..=12).map(|i| f64::from(i).powi(-2)).sum::<f64>();
        let (last, standard_error) = accumulate[11];
        assert!(last < bound + 3.0 * standard_error && last > first, "{last} against {bound}");
        let fresh = DataPolicy::RealShare { share: 1.0, fresh: true };
        for (mean, standard_error) in errors(fresh, 400, 4) {
            assert!((mean - first).abs() < 4.0 * standard_error);
        }
    }

    #[test]
    fn least_squares_by_hand() {
        let mut moments = Moments::new(2);
        for (x, y) in [([1.0, 0.0], 2.0), ([0.0, 1.0], -1.0), ([1.0, 1.0], 1.0)] {
            moments.add(&x, y);
        }
        let solution = moments.solve();
        assert!((solution[0] - 2.0).abs() < 1e-12 && (solution[1] + 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_gaussian_narrows_as_its_formula_says() {
        let (rows, rounds, runs) = (20, 10, 4000);
        let mut sums = vec![0.0; rounds];
        for run in 0..runs {
            let mut stream = Streams::new(run).stream("gaussian", &[]);
            for (sum, v) in sums.iter_mut().zip(gaussian_variances(rows, rounds, &mut stream)) {
                *sum += v / runs as f64;
            }
        }
        for (round, mean) in sums.iter().enumerate() {
            let expected = (1.0f64 - 1.0 / 20.0).powi(round as i32 + 1);
            // The variance of a round's variance is about 2/20 of its square, and rounds add up.
            let standard_error = expected * ((round + 1) as f64 * 0.12 / runs as f64).sqrt();
            assert!((mean - expected).abs() < 5.0 * standard_error, "round {round}: {mean}");
        }
    }
}
