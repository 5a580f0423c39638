//! Decisions under unequal costs: what a class-weighted loss asks for, what a posterior adjusted afterwards gives,
//! and how strongly either rewards learning.
//!
//! Two classes, with q the probability of the positive one and w_1, w_0 what a mistake on a positive and on a
//! negative weighs. The weighted log loss of a prediction p is -w_y ln p_y; given q it is lowest at p^w(q), which
//! has p^w_y proportional to w_y q_y. So there are two ways to the same prediction: train on the weighted loss
//! (*weighted training*), or learn q and shift its logit by ln(w_1/w_0) (*ex-post weighting*). With the true q they
//! are the same; what separates them in practice is how well q is learnt (Autor, Caplin, Martin and Marx 2025,
//! "Misaligned by Design", arXiv 2511.07699). For more than two classes see [`crate::decision_classes`].
//!
//! Formulas without a source are derived here, and tested against numeric derivatives and minimisation.

use crate::error::{EvaluationError, all_finite, argument, at_least, every, in_range, same_length};

/// What a mistake weighs on a negative and on a positive: w_0 and w_1, both within [1e-100, 1e100],
/// so that no product of two of them over- or underflows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassWeights {
    negative: f64,
    positive: f64,
}

impl ClassWeights {
    /// The weights w_0 = `negative` and w_1 = `positive`.
    ///
    /// # Errors
    /// A weight that is not within [1e-100, 1e100].
    pub fn new(negative: f64, positive: f64) -> Result<Self, EvaluationError> {
        for (name, weight) in [("negative", negative), ("positive", positive)] {
            let holds = (1e-100..=1e100).contains(&weight);
            argument(holds, name, weight, "a number in [1e-100, 1e100]")?;
        }
        Ok(Self { negative, positive })
    }

    /// Weights of mean one, w_1 = 2 b and w_0 = 2 (1 - b), for b = `share` in (0, 1).
    ///
    /// # Errors
    /// A share outside (0, 1).
    pub fn mean_one(share: f64) -> Result<Self, EvaluationError> {
        argument(share > 0.0 && share < 1.0, "share", share, "a number in (0, 1)")?;
        Self::new(2.0 * (1.0 - share), 2.0 * share)
    }

    /// The weights of mean one that give both classes the same total where a share `prevalence` is positive:
    /// w_y proportional to 1/pi_y. Ex-post weighting with them is the post-hoc logit adjustment of Menon et al.
    /// (2020), arXiv 2007.07314, at tau = 1.
    ///
    /// # Errors
    /// A prevalence outside (0, 1).
    pub fn balancing(prevalence: f64) -> Result<Self, EvaluationError> {
        argument(
            prevalence > 0.0 && prevalence < 1.0,
            "prevalence",
            prevalence,
            "a number in (0, 1)",
        )?;
        Self::mean_one(1.0 - prevalence)
    }

    /// w_0.
    #[must_use]
    pub fn negative(self) -> f64 {
        self.negative
    }

    /// w_1.
    #[must_use]
    pub fn positive(self) -> f64 {
        self.positive
    }

    /// The weight of a row's class.
    #[must_use]
    pub fn of(self, positive: bool) -> f64 {
        if positive { self.positive } else { self.negative }
    }

    /// ln(w_1/w_0): what ex-post weighting adds to the logit of q.
    #[must_use]
    pub fn shift(self) -> f64 {
        (self.positive / self.negative).ln()
    }

    /// w_0 / (w_0 + w_1): the q above which the positive action costs less, w_1 q > w_0 (1 - q). In (0, 1).
    #[must_use]
    pub fn threshold(self) -> f64 {
        self.negative / (self.negative + self.positive)
    }

    /// w_1 q + w_0 (1 - q): the mean weight of a row with posterior q.
    fn mean(self, q: f64) -> f64 {
        self.positive * q + self.negative * (1.0 - q)
    }

    /// p^w(q) = w_1 q / (w_1 q + w_0 (1 - q)): the prediction that minimises the expected weighted log loss.
    ///
    /// # Errors
    /// A posterior outside [0, 1].
    pub fn prediction(self, q: f64) -> Result<f64, EvaluationError> {
        probability("q", q)?;
        Ok(self.positive * q / self.mean(q))
    }

    /// The inverse of [`ClassWeights::prediction`], q = (p/w_1) / (p/w_1 + (1-p)/w_0): the posterior behind what a
    /// model trained on the weighted loss says (the idea of Caplin, Martin and Marx 2022, arXiv 2205.04613).
    ///
    /// # Errors
    /// A prediction outside [0, 1].
    pub fn posterior(self, p: f64) -> Result<f64, EvaluationError> {
        probability("p", p)?;
        let (positive, negative) = (p / self.positive, (1.0 - p) / self.negative);
        Ok(positive / (positive + negative))
    }

    /// The residual loss V_w(q) = (w_1 q + w_0 (1 - q)) H(p^w(q)): the lowest expected weighted log loss at posterior
    /// q, in nats; 0 at q = 0 and 1. H is the entropy.
    ///
    /// # Errors
    /// A posterior outside [0, 1].
    pub fn residual_loss(self, q: f64) -> Result<f64, EvaluationError> {
        let p = self.prediction(q)?;
        let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
        Ok(self.mean(q) * (term(p) + term(1.0 - p)))
    }

    /// rho(q) = w_1 w_0 / (w_1 q + w_0 (1 - q)): what the weights multiply the reward to learning by, at posterior q.
    ///
    /// Splitting a posterior into two near ones lowers the expected residual loss in proportion to its curvature,
    /// V_w''(q) = -rho(q) / (q (1 - q)), which is -1/(q (1 - q)) without weights. In units of the logit the curvature
    /// of the loss is rho(q) q (1 - q), again rho times that without weights.
    ///
    /// # Errors
    /// A posterior outside [0, 1].
    pub fn incentive_ratio(self, q: f64) -> Result<f64, EvaluationError> {
        probability("q", q)?;
        Ok(self.positive * self.negative / self.mean(q))
    }

    /// E\[rho(q)\] over posteriors: above 1 where the weights reward learning more than no weights do, on average.
    ///
    /// With mean-one weights it is at most (1 - pi) w_1 + pi w_0 for prevalence pi, and therefore at most 1 where the
    /// classes are balanced. Under an optimiser that does not feel the scale of the loss (Adam) its level means
    /// nothing, only how rho differs across q.
    ///
    /// # Errors
    /// No posterior, or one outside [0, 1].
    pub fn expected_incentive(self, q: &[f64]) -> Result<f64, EvaluationError> {
        probabilities("q", q)?;
        Ok(q.iter().map(|q| self.positive * self.negative / self.mean(*q)).sum::<f64>()
            / q.len() as f64)
    }

    /// E\[rho(q) q (1 - q)\] / E\[q (1 - q)\]: the same where posteriors count by the curvature of the loss in the
    /// logit, so that rows which are decided beyond doubt count for nothing.
    ///
    /// # Errors
    /// No posterior, one outside [0, 1], or none strictly between.
    pub fn expected_curvature_ratio(self, q: &[f64]) -> Result<f64, EvaluationError> {
        probabilities("q", q)?;
        let curvature: f64 = q.iter().map(|q| q * (1.0 - q)).sum();
        if curvature <= 0.0 {
            return Err(EvaluationError::OutOfRange {
                argument: "q",
                what: "mean of q (1 - q)",
                value: curvature,
            });
        }
        let weighted = |q: &f64| self.positive * self.negative / self.mean(*q) * q * (1.0 - q);
        Ok(q.iter().map(weighted).sum::<f64>() / curvature)
    }

    /// E\[rho^2 c\] E\[c\] / E\[rho c\]^2 with c = q (1 - q), at least 1: by how much more weighted training exceeds the lowest
    /// weighted loss than ex-post weighting does, where nothing but sampling noise keeps either from it.
    ///
    /// For a model that can represent the posterior, is fitted to n rows to the end, and has one direction to be learnt:
    /// the weighted objective has curvature E\[rho c\] and gradient variance E\[rho^2 c\] (the plain one E\[c\] twice), so that
    /// the excess is E\[rho^2 c\]/E\[rho c\]/2n against E\[rho c\]/E\[c\]/2n (the sandwich formula). By Cauchy and Schwarz it is
    /// 1 only where rho does not vary. Unlike [`ClassWeights::expected_incentive`] it does not depend on the scale of
    /// the weights. What can reverse it are a model too small for the posterior and training that is stopped early.
    ///
    /// # Errors
    /// As [`ClassWeights::expected_curvature_ratio`].
    pub fn excess_ratio(self, q: &[f64]) -> Result<f64, EvaluationError> {
        let first = self.expected_curvature_ratio(q)?;
        let curvature: f64 = q.iter().map(|q| q * (1.0 - q)).sum();
        let rho = |q: f64| self.positive * self.negative / self.mean(q);
        let second: f64 = q.iter().map(|q| rho(*q).powi(2) * q * (1.0 - q)).sum();
        Ok(second / curvature / (first * first))
    }

    /// Mean weighted log loss, nats, of predictions whose *logits* are given: -w_y ln p_y, the mean over rows (not
    /// divided by the sum of weights).
    ///
    /// # Errors
    /// No row, lengths that differ, or a logit that is not finite, or so large that the sum of
    /// losses is not.
    pub fn log_loss(self, logits: &[f64], positive: &[bool]) -> Result<f64, EvaluationError> {
        rows(logits, positive)?;
        let loss = |(z, y): (&f64, &bool)| self.of(*y) * log_loss(*z, *y);
        let sum = logits.iter().zip(positive).map(loss).sum::<f64>();
        in_range("mean weighted loss", "logits", sum / logits.len() as f64)
    }

    /// Mean cost of acting: w_1 for a positive that was not acted on, w_0 for a negative that was. `logits` are those
    /// of p^w; the action is taken where they are above 0, which is where q is above [`ClassWeights::threshold`].
    ///
    /// # Errors
    /// As [`ClassWeights::log_loss`].
    pub fn cost(self, logits: &[f64], positive: &[bool]) -> Result<f64, EvaluationError> {
        rows(logits, positive)?;
        let cost = |(z, y): (&f64, &bool)| if (*z > 0.0) == *y { 0.0 } else { self.of(*y) };
        Ok(logits.iter().zip(positive).map(cost).sum::<f64>() / logits.len() as f64)
    }
}

/// -ln of the probability that a `logit` gives to what happened; finite for every finite logit.
#[must_use]
pub fn log_loss(logit: f64, positive: bool) -> f64 {
    softplus(if positive { -logit } else { logit })
}

/// ln(1 + e^z): finite for every finite z, NaN of NaN.
#[must_use]
#[inline]
pub fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

/// 1 / (1 + e^-z), the logistic function: right to the last places on both sides, NaN of NaN.
#[must_use]
#[inline]
pub fn sigmoid(logit: f64) -> f64 {
    if logit >= 0.0 {
        1.0 / (1.0 + (-logit).exp())
    } else {
        let e = logit.exp();
        e / (1.0 + e)
    }
}

/// ln(p / (1 - p)).
///
/// # Errors
/// A probability outside (0, 1).
pub fn logit(p: f64) -> Result<f64, EvaluationError> {
    argument(p > 0.0 && p < 1.0, "p", p, "a number in (0, 1)")?;
    Ok((p / (1.0 - p)).ln())
}

/// Probability of the positive class above which predicting it costs less, for `costs[i][j]` of predicting i where
/// j is true: (c_10 - c_00) / (c_10 - c_00 + c_01 - c_11). Source: Elkan (2001), "The foundations of cost-sensitive
/// learning".
///
/// # Errors
/// A cost that is not finite, costs whose differences are not, or a class whose mistake does not
/// cost more than the right prediction (c_10 > c_00 and c_01 > c_11 are needed).
pub fn cost_threshold(costs: [[f64; 2]; 2]) -> Result<f64, EvaluationError> {
    all_finite("costs", &costs.concat())?;
    let [[c00, c01], [c10, c11]] = costs;
    let allowed = "a number above 0: a mistake costs more than the right prediction";
    argument(c10 > c00, "costs[1][0] - costs[0][0]", c10 - c00, allowed)?;
    argument(c01 > c11, "costs[0][1] - costs[1][1]", c01 - c11, allowed)?;
    in_range("threshold", "costs", (c10 - c00) / (c10 - c00 + c01 - c11))
}

/// The posterior `q`, learnt where a share `from` was positive, where a share `to` is and nothing else differs: its
/// logit shifts by logit(`to`) - logit(`from`). Source: Elkan (2001), Theorem 2, in the form of odds.
///
/// # Errors
/// A posterior outside [0, 1], or a base rate outside (0, 1).
pub fn at_base_rate(q: f64, from: f64, to: f64) -> Result<f64, EvaluationError> {
    for (name, rate) in [("from", from), ("to", to)] {
        argument(rate > 0.0 && rate < 1.0, name, rate, "a number in (0, 1)")?;
    }
    probability("q", q)?;
    // In the form that no rate makes overflow.
    let (positive, negative) = (q * to * (1.0 - from), (1.0 - q) * (1.0 - to) * from);
    Ok(positive / (positive + negative))
}

fn rows(logits: &[f64], positive: &[bool]) -> Result<(), EvaluationError> {
    at_least("logits", logits.len(), 1)?;
    same_length("logits", logits.len(), "positive", positive.len())?;
    all_finite("logits", logits)
}

fn probability(name: &'static str, p: f64) -> Result<(), EvaluationError> {
    argument((0.0..=1.0).contains(&p), name, p, "a number in [0, 1]")
}

pub(crate) fn probabilities(name: &'static str, p: &[f64]) -> Result<(), EvaluationError> {
    at_least(name, p.len(), 1)?;
    every(name, p, "a number in [0, 1]", |p| (0.0..=1.0).contains(&p))
}
