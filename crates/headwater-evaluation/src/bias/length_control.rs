//! Win rates at equal length, by a logistic regression of a judge's preferences.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::decision::sigmoid;
use crate::error::{EvaluationError, all_finite, at_least, every, in_range, same_length};
use crate::intervals::{Interval, clustered_share_interval, linearised, mean_and_error};

/// Weight of the penalty RIDGE/2 Σ β² on every coefficient: a normal prior of deviation 10 on the logit
/// scale. It makes the fit exist where length decides every preference, and moves an estimate
/// of standard error s towards 0 by about s²/100 of itself.
pub const RIDGE: f64 = 0.01;

/// Most of the ridge in an estimate: see [`LengthControl::is_identified`].
pub const MOST_RIDGE: f64 = 0.1;

/// Newton steps at most; the objective is strictly concave, so a handful suffice.
const MOST_STEPS: usize = 200;

/// A column is the others' if less than this share of its square is left without them.
const DEPENDENT: f64 = 1e-12;

/// One model's answer to one instruction, judged against the reference model's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    /// Names the instruction: judgements of one instruction form a cluster.
    pub instruction: usize,
    /// Names the model.
    pub model: usize,
    /// The judge's preference for the model over the reference, in [0, 1]; soft labels are allowed.
    pub preference: f64,
    /// Length of the model's answer minus length of the reference's.
    pub length_difference: f64,
}

/// One model against the reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ModelWinRate {
    /// The model.
    pub model: usize,
    /// θ: log odds of a win at equal length (and difficulty 0).
    pub theta: Interval,
    /// ψ: what a unit of difficulty adds to the log odds. `None` where no difficulty is given.
    pub psi: Option<Interval>,
    /// Mean preference.
    pub raw: Interval,
    /// Win rate at equal length: the mean of 1/(1 + exp(-θ - ψ difficulty)) over its judgements.
    pub controlled: Interval,
    /// The ridge's share in `controlled`, in (0, 1]; see [`ModelWinRate::is_identified`].
    pub ridge: f64,
}

impl ModelWinRate {
    /// Whether the data say more than the ridge does about the win rate at equal length: `ridge`,
    /// the part of its variance under the ridge alone that the data leave, is at most
    /// [`MOST_RIDGE`]. Else do not show `controlled`: where all answers of a model are longer, say,
    /// other ridges give other win rates and fit as well.
    #[must_use]
    pub fn is_identified(&self) -> bool {
        self.ridge <= MOST_RIDGE
    }
}

/// What length is worth to the judge, and the models without it; see
/// [`length_controlled_win_rates`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LengthControl {
    /// φ: log odds for an answer that is much longer; above 0 the judge prefers length.
    pub phi: Interval,
    /// The ridge's share in `phi`, in (0, 1]; see [`LengthControl::is_identified`].
    pub ridge: f64,
    /// Sample standard deviation of the length differences: the unit in which they enter tanh.
    pub length_deviation: f64,
    /// The models, in ascending order of their names.
    pub models: Vec<ModelWinRate>,
}

impl LengthControl {
    /// Whether the data say more than the ridge does about φ: `ridge`, the part of φ's variance
    /// under the ridge alone that the data leave, is at most [`MOST_RIDGE`] (a standard error of
    /// about 3). Not so where length decides every preference, or hardly differs within a model.
    #[must_use]
    pub fn is_identified(&self) -> bool {
        self.ridge <= MOST_RIDGE
    }
}

/// Fits logit P(model wins) = θ_model + φ tanh(Δlength/sd) + ψ_model difficulty, and sets the length
/// term to 0.
///
/// `difficulty[i]`, if given, belongs to the instruction of judgement i, in any unit (the log odds of a
/// weak model's win, say). Maximum likelihood with a small ridge ([`RIDGE`]), by Newton's method; soft
/// labels enter as quasi-likelihood. φ is one for all models, since it is the judge's; fit models in
/// separate calls where it should be theirs. Intervals: cluster-robust sandwich over instructions with
/// the factor G/(G-1) (N-1)/(N-k), t_{G-1}; that of `controlled` on the logit scale, with the sampling
/// of instructions. `raw` is a [`clustered_share_interval`].
///
/// The control removes what length *predicts*, so it also removes what longer answers deserve: φ is
/// bias only where length is no quality. Where length all but decides the preferences, or hardly
/// differs between the answers of a model, φ is held by the ridge and its interval says nothing:
/// see [`LengthControl::is_identified`] and [`ModelWinRate::is_identified`]. Source: Dubois et al.
/// (2024), AlpacaEval 2 LC, arXiv 2404.04475, which has one φ per model and takes the difficulty
/// from a joint fit over models.
///
/// # Errors
/// Fewer than two instructions or than coefficients + 1 judgements, a preference outside [0, 1], a
/// model all of whose preferences are 0 or all 1 (θ has no finite estimate), NaN or infinity,
/// length differences or difficulties that are all equal, lengths that differ, or a level outside
/// (0, 1). [`EvaluationError::Unidentified`] where the answers of every model differ from the
/// reference's by one length (and what the difficulty predicts of it), so that φ cannot be told
/// from the models' θ; or where the difficulty is the same in all judgements of a model.
pub fn length_controlled_win_rates(
    judgements: &[Judgement],
    difficulty: Option<&[f64]>,
    level: f64,
) -> Result<LengthControl, EvaluationError> {
    check(judgements, difficulty)?;
    let of = |value: fn(&Judgement) -> f64| judgements.iter().map(value).collect::<Vec<f64>>();
    let (preference, lengths) = (of(|j| j.preference), of(|j| j.length_difference));
    let instructions: Vec<usize> = judgements.iter().map(|j| j.instruction).collect();
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, judgement) in judgements.iter().enumerate() {
        members.entry(judgement.model).or_default().push(index);
    }
    one_sided(&preference, &members)?;
    let (_, error) = mean_and_error(&lengths)?;
    let length_deviation = error * (lengths.len() as f64).sqrt();
    if length_deviation == 0.0 {
        let argument = "length_difference";
        return Err(EvaluationError::Constant { argument, value: lengths[0] });
    }

    // Columns: φ, then θ of each model, then ψ of each model.
    let models = members.len();
    let columns = 1 + models * if difficulty.is_some() { 2 } else { 1 };
    at_least("judgements", judgements.len(), columns + 1)?;
    let mut rows = vec![vec![0.0; columns]; judgements.len()];
    for (place, indices) in members.values().enumerate() {
        for &i in indices {
            rows[i][0] = (lengths[i] / length_deviation).tanh();
            rows[i][1 + place] = 1.0;
            if let Some(difficulty) = difficulty {
                rows[i][1 + models + place] = difficulty[i];
            }
        }
    }
    identified(&rows, members.keys().copied().zip(members.values().map(Vec::as_slice)))?;
    let fit = Fit::new(&rows, &preference)?;
    let coefficient = |column: usize| {
        let influence: Vec<f64> = fit.influence.iter().map(|row| row[column]).collect();
        linearised(fit.coefficients[column], &influence, &instructions, level)
    };
    let design = Design { rows: &rows, fit: &fit, models, instructions: &instructions };
    let phi = coefficient(0)?;
    let mut win_rates = Vec::with_capacity(models);
    for (place, (&model, indices)) in members.iter().enumerate() {
        let (raw, prompts): (Vec<f64>, Vec<usize>) =
            indices.iter().map(|&i| (preference[i], instructions[i])).unzip();
        let (controlled, ridge) = design.controlled(place, indices, level)?;
        win_rates.push(ModelWinRate {
            model,
            theta: coefficient(1 + place)?,
            psi: difficulty.map(|_| coefficient(1 + models + place)).transpose()?,
            raw: clustered_share_interval(&raw, &prompts, level)?,
            controlled,
            ridge,
        });
    }
    let mut along = vec![0.0; columns];
    along[0] = 1.0;
    Ok(LengthControl { phi, ridge: fit.ridge(&along), length_deviation, models: win_rates })
}

/// The fitted rows, with the instruction that each belongs to.
struct Design<'a> {
    rows: &'a [Vec<f64>],
    fit: &'a Fit,
    models: usize,
    instructions: &'a [usize],
}

impl Design<'_> {
    /// A model's win rate at equal length, from its rows, and how far the ridge moves its logit.
    fn controlled(
        &self,
        place: usize,
        indices: &[usize],
        level: f64,
    ) -> Result<(Interval, f64), EvaluationError> {
        let Self { rows, fit, models, instructions } = *self;
        let (columns, theta, count) = (rows[0].len(), 1 + place, indices.len() as f64);
        let shares: Vec<f64> =
            indices.iter().map(|&i| sigmoid(dot(&rows[i][1..], &fit.coefficients[1..]))).collect();
        let mean = shares.iter().sum::<f64>() / count;
        // Mean of the slopes p(1 - p) along θ and, with the difficulty, along ψ.
        let slope = |column: usize| -> f64 {
            let along = indices.iter().zip(&shares).map(|(&i, p)| p * (1.0 - p) * rows[i][column]);
            along.sum::<f64>() / count
        };
        let mut influence: Vec<f64> =
            fit.influence.iter().map(|row| slope(theta) * row[theta]).collect();
        let psi = theta + models;
        if psi < columns {
            let along = slope(psi);
            influence
                .iter_mut()
                .zip(&fit.influence)
                .for_each(|(sum, row)| *sum += along * row[psi]);
        }
        for (&i, share) in indices.iter().zip(&shares) {
            influence[i] += (share - mean) * rows.len() as f64 / count;
        }
        let room = mean * (1.0 - mean);
        influence.iter_mut().for_each(|value| *value /= room);
        let logit = linearised((mean / (1.0 - mean)).ln(), &influence, instructions, level)?;
        let (low, high) = (sigmoid(logit.low), sigmoid(logit.high));
        let mut along = vec![0.0; columns];
        let own = (theta..columns).step_by(models);
        own.for_each(|column| along[column] = slope(column));
        Ok((Interval { estimate: mean, low, high, ..logit }, fit.ridge(&along)))
    }
}

fn check(judgements: &[Judgement], difficulty: Option<&[f64]>) -> Result<(), EvaluationError> {
    at_least("judgements", judgements.len(), 2)?;
    let of = |value: fn(&Judgement) -> f64| judgements.iter().map(value).collect::<Vec<f64>>();
    let allowed = "a number in [0, 1]";
    every("preference", &of(|j| j.preference), allowed, |p| (0.0..=1.0).contains(&p))?;
    all_finite("length_difference", &of(|j| j.length_difference))?;
    let Some(difficulty) = difficulty else { return Ok(()) };
    same_length("judgements", judgements.len(), "difficulty", difficulty.len())?;
    all_finite("difficulty", difficulty)?;
    if difficulty.iter().all(|d| d == &difficulty[0]) {
        let argument = "difficulty";
        return Err(EvaluationError::Constant { argument, value: difficulty[0] });
    }
    Ok(())
}

/// A model that wins or loses everything has no finite θ.
fn one_sided(
    preference: &[f64],
    members: &BTreeMap<usize, Vec<usize>>,
) -> Result<(), EvaluationError> {
    for (&model, indices) in members {
        for (extreme, value) in [(0.0, false), (1.0, true)] {
            if indices.iter().all(|&i| preference[i] == extreme) {
                let (argument, count) = ("preference", indices.len());
                let error = EvaluationError::OneClass { argument, value, count };
                return Err(error.of_item("model", model));
            }
        }
    }
    Ok(())
}

/// Whether the columns are independent: of every model 1 and, if given, the difficulty, and over
/// all models the length, each less what those before it explain within the model.
fn identified<'a>(
    rows: &[Vec<f64>],
    members: impl ExactSizeIterator<Item = (usize, &'a [usize])>,
) -> Result<(), EvaluationError> {
    let models = members.len();
    let (mut left, mut whole) = (0.0, 0.0);
    for (place, (model, indices)) in members.enumerate() {
        let column = |column: usize| indices.iter().map(|&i| rows[i][column]).collect::<Vec<f64>>();
        let mut length = less_mean(&column(0));
        whole += dot(&column(0), &column(0));
        let psi = 1 + models + place;
        if psi < rows[0].len() {
            let given = column(psi);
            let largest = given.iter().map(|d| d.abs()).fold(f64::MIN_POSITIVE, f64::max);
            let difficulty = less_mean(&given.iter().map(|d| d / largest).collect::<Vec<f64>>());
            let square = dot(&difficulty, &difficulty);
            if square <= DEPENDENT * given.len() as f64 {
                let reason = "all judgements of this model have one difficulty, which cannot be \
                              told from its strength: leave the difficulty or the model out";
                let coefficient = format!("psi of model {model}");
                return Err(EvaluationError::Unidentified { coefficient, reason });
            }
            let slope = dot(&length, &difficulty) / square;
            length.iter_mut().zip(&difficulty).for_each(|(l, d)| *l -= slope * d);
        }
        left += dot(&length, &length);
    }
    if left <= DEPENDENT * whole {
        let reason = "within every model, answers differ from the reference's by one length (or \
                      by what the difficulty predicts), which cannot be told from the models' \
                      strength: add answers of other lengths";
        return Err(EvaluationError::Unidentified { coefficient: "phi".to_owned(), reason });
    }
    Ok(())
}

fn less_mean(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| value - mean).collect()
}

/// Coefficients of a logistic regression, and the influence of every row on each of them, scaled for
/// N - k degrees of freedom.
struct Fit {
    coefficients: Vec<f64>,
    influence: Vec<Vec<f64>>,
    /// Cholesky factor of the negative Hessian at the maximum.
    factor: Vec<Vec<f64>>,
}

impl Fit {
    fn new(rows: &[Vec<f64>], labels: &[f64]) -> Result<Self, EvaluationError> {
        let columns = rows[0].len();
        let mut coefficients = vec![0.0; columns];
        let mut value = objective(rows, labels, &coefficients);
        let mut converged = false;
        for _ in 0..MOST_STEPS {
            let (gradient, factor) = derivatives(rows, labels, &coefficients)?;
            let step = solve(&factor, &gradient);
            // Newton's step overshoots where the logistic is flat: halve it until it climbs. At the top
            // steps change the objective by less than its rounding, which is no descent.
            let floor = value - 1e-12 * (1.0 + value.abs());
            let mut scale = 1.0;
            let tried = loop {
                let tried: Vec<f64> =
                    coefficients.iter().zip(&step).map(|(c, s)| c + scale * s).collect();
                value = objective(rows, labels, &tried);
                if value >= floor || scale < 1e-9 {
                    break tried;
                }
                scale /= 2.0;
            };
            let size = |values: &[f64]| values.iter().map(|v| v.abs()).fold(0.0, f64::max);
            converged = size(&step) <= 1e-9 * (1.0 + size(&coefficients));
            coefficients = tried;
            if converged {
                break;
            }
        }
        if !converged {
            return Err(EvaluationError::NotConverged { steps: MOST_STEPS });
        }
        let (_, factor) = derivatives(rows, labels, &coefficients)?;
        let n = rows.len() as f64;
        let scale = n * ((n - 1.0) / (n - columns as f64)).sqrt();
        let influence = |row: &Vec<f64>, label: &f64| {
            let residual = label - sigmoid(dot(row, &coefficients));
            // With its share of the penalty, so that scores sum to 0.
            let penalty = coefficients.iter().map(|c| RIDGE * c / n);
            let score: Vec<f64> =
                row.iter().zip(penalty).map(|(x, p)| scale * (residual * x - p)).collect();
            solve(&factor, &score)
        };
        let influence = rows.iter().zip(labels).map(|(row, label)| influence(row, label)).collect();
        Ok(Self { coefficients, influence, factor })
    }
}

impl Fit {
    /// The share of the variance of `along`'s product with the coefficients, under the ridge alone,
    /// that the data leave: 1 where they say nothing of it, about 0 where they say it all.
    fn ridge(&self, along: &[f64]) -> f64 {
        RIDGE * dot(along, &solve(&self.factor, along)) / dot(along, along)
    }
}

/// Σ y η - ln(1 + e^η) - RIDGE/2 Σ β².
fn objective(rows: &[Vec<f64>], labels: &[f64], coefficients: &[f64]) -> f64 {
    let fitted = rows.iter().zip(labels).map(|(row, label)| {
        let eta = dot(row, coefficients);
        label * eta - eta.max(0.0) - (-eta.abs()).exp().ln_1p()
    });
    fitted.sum::<f64>() - RIDGE / 2.0 * dot(coefficients, coefficients)
}

/// Gradient of the objective, and the Cholesky factor of its negative Hessian.
fn derivatives(
    rows: &[Vec<f64>],
    labels: &[f64],
    coefficients: &[f64],
) -> Result<(Vec<f64>, Vec<Vec<f64>>), EvaluationError> {
    let columns = coefficients.len();
    let mut gradient: Vec<f64> = coefficients.iter().map(|c| -RIDGE * c).collect();
    let mut hessian = vec![vec![0.0; columns]; columns];
    for (row, label) in rows.iter().zip(labels) {
        let p = sigmoid(dot(row, coefficients));
        for i in 0..columns {
            gradient[i] += (label - p) * row[i];
            for j in 0..=i {
                hessian[i][j] += p * (1.0 - p) * row[i] * row[j];
            }
        }
    }
    for i in 0..columns {
        hessian[i][i] += RIDGE;
        for j in 0..=i {
            let rest: f64 = (0..j).map(|k| hessian[i][k] * hessian[j][k]).sum();
            let left = hessian[i][j] - rest;
            hessian[i][j] = if i == j { left.sqrt() } else { left / hessian[j][j] };
        }
        // With the ridge the matrix is positive definite, unless a difficulty is too large to square;
        // the logarithm is finite for nothing but a finite pivot above 0.
        in_range("logarithm of the curvature", "difficulty", hessian[i][i].ln())?;
    }
    Ok((gradient, hessian))
}

/// Solves L Lᵀ x = b for the lower triangle L.
fn solve(lower: &[Vec<f64>], b: &[f64]) -> Vec<f64> {
    let n = b.len();
    let mut x = b.to_vec();
    for i in 0..n {
        let known: f64 = (0..i).map(|k| lower[i][k] * x[k]).sum();
        x[i] = (x[i] - known) / lower[i][i];
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|k| lower[k][i] * x[k]).sum();
        x[i] = (x[i] - known) / lower[i][i];
    }
    x
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
