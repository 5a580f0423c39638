//! The training objective: Bradley-Terry and the penalties, as one function of a batch's outputs.

use crate::bottleneck::divergence_from_standard_normal;
use crate::head::HeadConfig;
use crate::invariance::{Grouping, InvariancePenaltyConfig, invariance_penalty};
use crate::odin::{OdinConfig, correlation_penalty, orthogonality_penalty};
use crate::{Preference, bradley_terry};

/// What is minimised.
///
/// Outputs have a row for each input and these columns: the score (scalar head); quality and factor score (two
/// heads); score, means and log-variances of the code (bottleneck).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Objective {
    pub(crate) head: HeadConfig,
    pub(crate) invariance: Option<InvariancePenaltyConfig>,
    pub(crate) paraphrase_weight: f64,
}

/// What the rows of the outputs are: those of the chosen responses, of the rejected ones, of the paraphrases'
/// originals, and of their edits.
pub(crate) struct Batch<'a> {
    pub(crate) preferences: Vec<&'a Preference>,
    pub(crate) paraphrases: usize,
}

/// Values of the objective on a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Losses {
    pub(crate) loss: f64,
    pub(crate) likelihood_loss: f64,
}

/// Values and gradients.
pub(crate) struct Evaluated {
    pub(crate) losses: Losses,
    /// As the outputs.
    pub(crate) of_outputs: Vec<f32>,
    /// As the heads' weights, where the objective depends on them directly.
    pub(crate) of_heads: Option<Vec<f32>>,
}

/// Gradients being collected, `[rows][columns]`.
struct Slopes {
    values: Vec<f64>,
    columns: usize,
}

impl Slopes {
    fn add(&mut self, row: usize, column: usize, slope: f64) {
        self.values[row * self.columns + column] += slope;
    }
}

impl Objective {
    /// Columns of the outputs.
    fn columns(&self) -> usize {
        match &self.head {
            HeadConfig::Scalar => 1,
            HeadConfig::Odin(_) => 2,
            HeadConfig::Bottleneck(config) => 1 + 2 * config.dimensions,
        }
    }

    /// Columns whose sum the likelihood is of: ODIN's factor score takes part in it.
    fn scoring_columns(&self) -> usize {
        if matches!(self.head, HeadConfig::Odin(_)) { 2 } else { 1 }
    }

    /// The objective on preferences. `heads` are the head's weights, `[width][channels]`.
    pub(crate) fn evaluate(&self, outputs: &[f32], heads: &[f32], batch: &Batch<'_>) -> Evaluated {
        let pairs = batch.preferences.len();
        let columns = self.columns();
        let at = |row: usize, column: usize| f64::from(outputs[row * columns + column]);
        let mut slopes = Slopes { values: vec![0.0; outputs.len()], columns };
        let likelihood_loss = self.likelihood(&at, batch, &mut slopes);
        let mut loss = likelihood_loss;
        if let Some(config) = self.invariance.as_ref().filter(|config| config.weight > 0.0) {
            loss += config.weight * invariance(config, &at, batch, &mut slopes);
        }
        if batch.paraphrases > 0 && self.paraphrase_weight > 0.0 {
            let scale = self.paraphrase_weight / batch.paraphrases as f64;
            for edit in 2 * pairs..2 * pairs + batch.paraphrases {
                let difference = at(edit, 0) - at(edit + batch.paraphrases, 0);
                loss += scale * difference * difference;
                slopes.add(edit, 0, 2.0 * scale * difference);
                slopes.add(edit + batch.paraphrases, 0, -2.0 * scale * difference);
            }
        }
        let mut of_heads = None;
        if let HeadConfig::Odin(config) = &self.head {
            let (correlation, cosine, slopes_of_heads) =
                odin(config, &at, heads, batch, &mut slopes);
            loss += config.correlation * correlation;
            loss += config.orthogonality * cosine;
            of_heads = Some(slopes_of_heads);
        }
        loss += self.latent_divergence(outputs, 2 * pairs, &mut slopes);
        Evaluated {
            losses: Losses { loss, likelihood_loss },
            of_outputs: slopes.values.into_iter().map(|slope| slope as f32).collect(),
            of_heads,
        }
    }

    /// The mean Bradley-Terry loss of the pairs; `at` is the output at a row and a column.
    fn likelihood(
        &self,
        at: &impl Fn(usize, usize) -> f64,
        batch: &Batch<'_>,
        slopes: &mut Slopes,
    ) -> f64 {
        let (pairs, scoring) = (batch.preferences.len(), self.scoring_columns());
        let mut sum = 0.0;
        for (row, preference) in batch.preferences.iter().enumerate() {
            let score = |row: usize| (0..scoring).map(|column| at(row, column)).sum::<f64>();
            let difference = score(row) - score(pairs + row);
            let (loss, slope) = bradley_terry(difference, preference.label, preference.margin);
            sum += loss / pairs as f64;
            for column in 0..scoring {
                slopes.add(row, column, slope / pairs as f64);
                slopes.add(pairs + row, column, -slope / pairs as f64);
            }
        }
        sum
    }

    /// The objective on labels of single responses: the likelihood, and a bottleneck's divergence.
    pub(crate) fn evaluate_labels(&self, outputs: &[f32], labels: &[f64]) -> Evaluated {
        let columns = self.columns();
        let mut slopes = Slopes { values: vec![0.0; outputs.len()], columns };
        let (count, scoring) = (labels.len() as f64, self.scoring_columns());
        let mut likelihood_loss = 0.0;
        for (row, label) in labels.iter().enumerate() {
            let scores = &outputs[row * columns..row * columns + scoring];
            let score = scores.iter().map(|score| f64::from(*score)).sum();
            let (loss, slope) = bradley_terry(score, *label, 0.0);
            likelihood_loss += loss / count;
            (0..scoring).for_each(|column| slopes.add(row, column, slope / count));
        }
        let loss = likelihood_loss + self.latent_divergence(outputs, labels.len(), &mut slopes);
        Evaluated {
            losses: Losses { loss, likelihood_loss },
            of_outputs: slopes.values.into_iter().map(|slope| slope as f32).collect(),
            of_heads: None,
        }
    }

    /// A bottleneck's weighted divergence, the mean over the first `rows` of its sum over dimensions.
    fn latent_divergence(&self, outputs: &[f32], rows: usize, slopes: &mut Slopes) -> f64 {
        let HeadConfig::Bottleneck(config) = &self.head else { return 0.0 };
        let scale = config.weight / rows as f64;
        let mut loss = 0.0;
        for row in 0..rows {
            for dimension in 1..=config.dimensions {
                let columns = [dimension, dimension + config.dimensions];
                let [mean, log_variance] =
                    columns.map(|column| f64::from(outputs[row * slopes.columns + column]));
                let (value, slope) = divergence_from_standard_normal(mean, log_variance);
                loss += scale * value;
                slopes.add(row, columns[0], scale * slope[0]);
                slopes.add(row, columns[1], scale * slope[1]);
            }
        }
        loss
    }
}

/// The dependence of the scores on the factor, whose slopes are added with the config's weight.
fn invariance(
    config: &InvariancePenaltyConfig,
    at: &impl Fn(usize, usize) -> f64,
    batch: &Batch<'_>,
    slopes: &mut Slopes,
) -> f64 {
    let pairs = batch.preferences.len();
    // A tie says nothing of which label caused which factor.
    let kept: Vec<usize> = (0..pairs).filter(|pair| !batch.preferences[*pair].is_tie()).collect();
    let half = |pair: &usize| (at(*pair, 0) - at(pairs + pair, 0)) / 2.0;
    // Which side the label prefers, not which field it stands in.
    let preferred = |pair: &usize| u32::from(batch.preferences[*pair].label > 0.5);
    let chosen =
        kept.iter().map(|pair| (&batch.preferences[*pair].chosen, half(pair), preferred(pair)));
    let rejected = kept
        .iter()
        .map(|pair| (&batch.preferences[*pair].rejected, -half(pair), 1 - preferred(pair)));
    let mut rows = (Vec::new(), Vec::new(), Vec::new());
    for (response, score, side) in chosen.chain(rejected) {
        rows.0.push(score);
        rows.1.push(response.factor);
        rows.2.push(match config.grouping {
            Grouping::Unconditional => 0,
            Grouping::Conditional => side,
            Grouping::WithinAnswer => response.answer,
        });
    }
    let (penalty, of_scores) = invariance_penalty(&rows.0, &rows.1, &rows.2, config.bins);
    let (of_chosen, of_rejected) = of_scores.split_at(kept.len());
    for (pair, (chosen, rejected)) in kept.iter().zip(of_chosen.iter().zip(of_rejected)) {
        let slope = config.weight * (chosen - rejected) / 2.0;
        slopes.add(*pair, 0, slope);
        slopes.add(pairs + pair, 0, -slope);
    }
    penalty
}

/// ODIN's two penalties, correlation and orthogonality, and the slopes of the heads' weights; those
/// of the outputs are added with the config's weight.
fn odin(
    config: &OdinConfig,
    at: &impl Fn(usize, usize) -> f64,
    heads: &[f32],
    batch: &Batch<'_>,
    slopes: &mut Slopes,
) -> (f64, f64, Vec<f32>) {
    let pairs = batch.preferences.len();
    let column = |column| (0..2 * pairs).map(|row| at(row, column)).collect::<Vec<f64>>();
    let chosen = batch.preferences.iter().map(|p| p.chosen.factor);
    let rejected = batch.preferences.iter().map(|p| p.rejected.factor);
    let factors: Vec<f64> = chosen.chain(rejected).collect();
    let (correlation, of_scores) = correlation_penalty(&column(0), &column(1), &factors);
    for (column, of_column) in of_scores.iter().enumerate() {
        for (row, slope) in of_column.iter().enumerate() {
            slopes.add(row, column, config.correlation * slope);
        }
    }
    let weights = |column| heads.iter().skip(column).step_by(2).map(|w| f64::from(*w)).collect();
    let (first, second): (Vec<f64>, Vec<f64>) = (weights(0), weights(1));
    let (cosine, [of_first, of_second]) = orthogonality_penalty(&first, &second);
    let both = of_first.iter().zip(&of_second).flat_map(|(a, b)| [*a, *b]);
    let of_heads = both.map(|slope| (config.orthogonality * slope) as f32).collect();
    (correlation, cosine, of_heads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bottleneck::BottleneckConfig;
    use crate::odin::OdinConfig;
    use crate::{Preference, Response};

    fn preferences() -> Vec<Preference> {
        let side = |at: usize, salt: usize| Response::new("").factor(((at * 7 + salt) % 5) as f64);
        let pair = |at| Preference::new("", side(at, 1), side(at, 3));
        let mut all: Vec<Preference> = (0..20).map(pair).collect();
        all[3].label = 0.5;
        all[5].margin = 0.7;
        all
    }

    /// Finite differences of the whole objective, in outputs and in the heads' weights.
    fn check(objective: &Objective) {
        let preferences = preferences();
        let batch = Batch { preferences: preferences.iter().collect(), paraphrases: 3 };
        let noise = |at: usize| (((at * 7919 + 13) % 101) as f32 / 50.0 - 1.0) * 0.9;
        let outputs: Vec<f32> = (0..(40 + 6) * objective.columns()).map(noise).collect();
        let heads: Vec<f32> = (0..12).map(|at| noise(at + 500)).collect();
        let evaluated = objective.evaluate(&outputs, &heads, &batch);
        let value =
            |outputs: &[f32], heads: &[f32]| objective.evaluate(outputs, heads, &batch).losses.loss;
        let numeric = |of_outputs: bool, at: usize| {
            let moved = |by: f32| {
                let (mut outputs, mut heads) = (outputs.clone(), heads.clone());
                if of_outputs {
                    outputs[at] += by
                } else {
                    heads[at] += by
                }
                value(&outputs, &heads)
            };
            (moved(5e-3) - moved(-5e-3)) / 1e-2
        };
        for at in 0..outputs.len() {
            let (got, want) = (f64::from(evaluated.of_outputs[at]), numeric(true, at));
            assert!((got - want).abs() < 2e-3, "output {at}: {got} {want}");
        }
        for (at, got) in evaluated.of_heads.iter().flatten().enumerate() {
            let want = numeric(false, at);
            assert!((f64::from(*got) - want).abs() < 2e-3, "weight {at}: {got} {want}");
        }
    }

    #[test]
    fn gradients_of_every_combination() {
        let plain =
            Objective { head: HeadConfig::Scalar, invariance: None, paraphrase_weight: 0.3 };
        check(&plain);
        check(&Objective { head: HeadConfig::Odin(OdinConfig::default()), ..plain.clone() });
        let bottleneck = BottleneckConfig { dimensions: 2, weight: 0.2 };
        check(&Objective { head: HeadConfig::Bottleneck(bottleneck), ..plain.clone() });
    }

    #[test]
    fn the_invariance_penalty_is_added_with_its_weight_and_leaves_ties_out() {
        let preferences = preferences();
        let batch = Batch { preferences: preferences.iter().collect(), paraphrases: 0 };
        let outputs: Vec<f32> = (0..40).map(|at| ((at * 31 % 17) as f32).sin()).collect();
        let invariance =
            InvariancePenaltyConfig { grouping: Grouping::Conditional, weight: 2.0, bins: 2 };
        let plain =
            Objective { head: HeadConfig::Scalar, invariance: None, paraphrase_weight: 0.0 };
        let with = Objective { invariance: Some(invariance.clone()), ..plain.clone() };
        let losses = |objective: &Objective| objective.evaluate(&outputs, &[], &batch).losses;
        let rows: Vec<usize> = (0..40).filter(|row| row % 20 != 3).collect();
        let relative = |row: &usize| {
            let other = (row + 20) % 40;
            f64::from(outputs[*row] - outputs[other]) / 2.0
        };
        let scores: Vec<f64> = rows.iter().map(relative).collect();
        let factor = |row: &usize| {
            let preference = &preferences[row % 20];
            if *row < 20 { preference.chosen.factor } else { preference.rejected.factor }
        };
        let factors: Vec<f64> = rows.iter().map(factor).collect();
        let groups: Vec<u32> = rows.iter().map(|row| u32::from(*row < 20)).collect();
        let (penalty, _) = invariance_penalty(&scores, &factors, &groups, 2);
        assert!(penalty.abs() > 1e-3);
        let difference = losses(&with).loss - losses(&plain).loss;
        assert!((difference - 2.0 * penalty).abs() < 1e-6);
        // The gradient is the penalty's, through the mean of the pair.
        let (plain_slopes, slopes) =
            [&plain, &with].map(|o| o.evaluate(&outputs, &[], &batch).of_outputs).into();
        let (_, of_scores) = invariance_penalty(&scores, &factors, &groups, 2);
        for (at, pair) in rows.iter().filter(|row| **row < 20).enumerate() {
            let want = 2.0 * (of_scores[at] - of_scores[at + 19]) / 2.0;
            let got = f64::from(slopes[*pair] - plain_slopes[*pair]);
            assert!((got - want).abs() < 1e-6, "{pair}: {got} {want}");
        }
        // A pair that is written the other way round is the same pair.
        let mut turned = preferences.clone();
        let mut turned_outputs = outputs.clone();
        for (at, p) in turned.iter_mut().enumerate() {
            std::mem::swap(&mut p.chosen, &mut p.rejected);
            p.label = 1.0 - p.label;
            turned_outputs.swap(at, at + 20);
        }
        let turned_batch = Batch { preferences: turned.iter().collect(), paraphrases: 0 };
        let again = with.evaluate(&turned_outputs, &[], &turned_batch).losses.loss;
        assert!((again - losses(&with).loss).abs() < 1e-6);
        // What a prompt adds to both of its responses goes by unseen.
        let offset: Vec<f32> = (0..40).map(|row| outputs[row] + (row % 20) as f32).collect();
        let moved = with.evaluate(&offset, &[], &batch).losses.loss;
        assert!((moved - losses(&with).loss).abs() < 1e-5);
        assert_eq!(losses(&with).likelihood_loss, losses(&plain).likelihood_loss);
        let none = Objective {
            invariance: Some(InvariancePenaltyConfig { weight: 0.0, ..invariance }),
            ..plain.clone()
        };
        assert_eq!(losses(&none), losses(&plain));
    }
}
