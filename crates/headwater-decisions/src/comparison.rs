//! Weighted training against ex-post weighting on one's own data.

use headwater_core::{Check, ConfigError, Streams, require, require_positive};
use headwater_evaluation::Interval;
use headwater_evaluation::decision::{ClassWeights, sigmoid};
use headwater_evaluation::intervals::t_interval;
use headwater_evaluation::recalibration::{DecisionScores, Isotonic, Scored, decision_scores};
use serde::{Deserialize, Serialize};

use crate::training::train;
use crate::{DecisionError, Examples, Objective, Split, Training, TrainingConfig};

/// What is compared, and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparisonConfig {
    /// What a mistake on a positive weighs, in [1e-100, 1e100] and within a factor of 1e9 of the
    /// other; only their ratio decides the decisions.
    pub positive_weight: f64,
    /// What a mistake on a negative weighs.
    pub negative_weight: f64,
    /// Random splits, each with initial weights and batches of its own; 2 to 100,000. 10 or more
    /// are advised.
    pub seeds: usize,
    /// Shares of the rows to train on, to stop by, and to recalibrate on, each above 0; the rest is scored.
    pub shares: [f64; 3],
    /// How both arms are trained.
    pub training: TrainingConfig,
}

impl Default for ComparisonConfig {
    /// Weights 1 and 1, 10 seeds, half the rows to train on, an eighth each to stop by and to recalibrate on.
    fn default() -> Self {
        Self {
            positive_weight: 1.0,
            negative_weight: 1.0,
            seeds: 10,
            shares: [0.5, 0.125, 0.125],
            training: TrainingConfig::default(),
        }
    }
}

/// A checked [`ComparisonConfig`].
#[derive(Debug, Clone)]
pub struct Comparison {
    weights: ClassWeights,
    seeds: usize,
    shares: [f64; 3],
    training: Training,
}

impl Check for ComparisonConfig {
    type Checked = Comparison;

    fn check(self) -> Result<Comparison, ConfigError> {
        let config = "ComparisonConfig";
        let (positive, negative) = (self.positive_weight, self.negative_weight);
        for (field, weight) in [("positive_weight", positive), ("negative_weight", negative)] {
            require_positive(config, field, weight)?;
            let holds = (1e-100..=1e100).contains(&weight);
            require(holds, config, field, weight, "a number in [1e-100, 1e100]")?;
        }
        // Beyond, the share of one class in the weights is 1 but for a few roundings.
        let holds = (1e-9..=1e9).contains(&(positive / negative));
        let allowed = "1e-9 to 1e9 times negative_weight";
        require(holds, config, "positive_weight", positive, allowed)?;
        let allowed = "2 to 100000: an interval needs two";
        require((2..=100_000).contains(&self.seeds), config, "seeds", self.seeds, allowed)?;
        let holds =
            self.shares.iter().all(|share| *share > 0.0) && self.shares.iter().sum::<f64>() < 1.0;
        let shown = format!("{:?}", self.shares);
        require(holds, config, "shares", shown, "three numbers above 0 whose sum is below 1")?;
        let weights =
            ClassWeights::new(negative, positive).expect("the weights were checked above");
        let training = self.training.check()?;
        Ok(Comparison { weights, seeds: self.seeds, shares: self.shares, training })
    }
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// The weights are in the training loss.
    WeightedTraining,
    /// Trained without them; the logit is shifted by ln(w_1/w_0) afterwards.
    ExPostWeighting,
}

/// Both arms on one split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeedReport {
    /// Weighted training.
    pub weighted: DecisionScores,
    /// Ex-post weighting.
    pub ex_post: DecisionScores,
    /// E\[rho(q)\] over recalibrated posteriors of the test rows, under weights scaled so that the mean of w_1 and w_0
    /// is 1.
    pub incentive: f64,
    /// The same with posteriors counted by q (1 - q); see [`ClassWeights::expected_curvature_ratio`].
    pub curvature_ratio: f64,
    /// The excess of weighted training over that of ex-post weighting where sampling noise is all there is; see
    /// [`ClassWeights::excess_ratio`].
    pub excess_ratio: f64,
}

/// What [`compare`] found. Differences are weighted training less ex-post weighting, paired by split, with their 95%
/// t intervals.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparisonReport {
    /// Split by split.
    pub seeds: Vec<SeedReport>,
    /// Difference in mean weighted log loss, nats.
    pub loss: Interval,
    /// Of which learning: what no recalibration repairs.
    pub learning: Interval,
    /// And choosing: the rest.
    pub choosing: Interval,
    /// Difference in mean cost of decisions.
    pub cost: Interval,
    /// Difference in AUC.
    pub auc: Interval,
    /// Mean over splits of [`SeedReport::incentive`]: the reward to learning under the weights over that without. It acts as a
    /// learning rate under SGD that is cut short; under Adam, and where validation stops training, this project's measurements
    /// found that its being above or below 1 does not tell which arm is better.
    pub incentive: f64,
    /// The arm with the lower weighted log loss, where the interval over splits of these rows excludes 0.
    pub winner: Option<Arm>,
}

/// Trains both arms on every split and says which serves the weights better on rows neither has seen.
///
/// Training takes the weights scaled to a mean of 1, whatever their unit: under SGD a scale would be a learning rate.
/// Features are standardised by the training rows where the architecture is dense. Splits overlap, so the
/// interval speaks for this data set: it says how the comparison varies over splits and initial weights, and is
/// narrower than one over new data sets would be.
///
/// # Errors
/// Too few rows of a class, or a training that fails.
pub fn compare(
    examples: &Examples,
    comparison: &Comparison,
    streams: &Streams,
) -> Result<ComparisonReport, DecisionError> {
    let weights = comparison.weights;
    let mean_one = ClassWeights::mean_one(sigmoid(weights.shift()))?;
    let part = |share: f64| (share * examples.rows() as f64).floor() as usize;
    let [train_rows, validation, calibration] = comparison.shares.map(part);
    let test = examples.rows() - train_rows - validation - calibration;
    let sizes = [train_rows, validation, calibration, test];
    let mut seeds = Vec::with_capacity(comparison.seeds);
    for seed in 0..comparison.seeds {
        let streams = streams.child("split", &[seed as u64]);
        let mut rng = streams.stream("rows", &[]);
        let prevalence = examples.prevalence();
        let split = Split::stratified(examples.positive(), sizes, prevalence, &mut rng)?;
        let examples = if comparison.training.is_dense() {
            examples.standardised(&split.train)
        } else {
            examples.clone()
        };
        let [train_rows, validation, calibration, test] =
            [&split.train, &split.validation, &split.calibration, &split.test]
                .map(|rows| examples.subset(rows));
        let logits = |objective| -> Result<[Vec<f64>; 2], DecisionError> {
            let trained =
                train(&train_rows, &validation, objective, &comparison.training, &streams)?;
            Ok([&calibration, &test].map(|part| trained.network.logits(part.features())))
        };
        let scores = |[on_calibration, on_test]: &[Vec<f64>; 2]| {
            let calibration = Scored { logits: on_calibration, positive: calibration.positive() };
            let test = Scored { logits: on_test, positive: test.positive() };
            decision_scores(weights, calibration, test)
        };
        let weighted = logits(Objective::Weighted(mean_one))?;
        let plain = logits(Objective::plain())?;
        let map = Isotonic::fit(&plain[0], calibration.positive())?;
        let posteriors: Vec<f64> = plain[1].iter().map(|z| map.probability(*z)).collect();
        let shifted = plain.map(|part| part.iter().map(|z| z + weights.shift()).collect());
        seeds.push(SeedReport {
            weighted: scores(&weighted)?,
            ex_post: scores(&shifted)?,
            incentive: mean_one.expected_incentive(&posteriors)?,
            curvature_ratio: mean_one.expected_curvature_ratio(&posteriors)?,
            excess_ratio: mean_one.excess_ratio(&posteriors)?,
        });
    }
    let difference = |score: fn(&DecisionScores) -> f64| {
        let differences: Vec<f64> =
            seeds.iter().map(|seed| score(&seed.weighted) - score(&seed.ex_post)).collect();
        t_interval(&differences, 0.95)
    };
    let loss = difference(|scores| scores.loss)?;
    let incentive = seeds.iter().map(|seed| seed.incentive).sum::<f64>() / seeds.len() as f64;
    let winner = match (loss.low > 0.0, loss.high < 0.0) {
        (true, _) => Some(Arm::ExPostWeighting),
        (_, true) => Some(Arm::WeightedTraining),
        _ => None,
    };
    Ok(ComparisonReport {
        loss,
        learning: difference(|scores| scores.learning)?,
        choosing: difference(|scores| scores.choosing)?,
        cost: difference(|scores| scores.cost)?,
        auc: difference(|scores| scores.auc)?,
        incentive,
        winner,
        seeds,
    })
}
