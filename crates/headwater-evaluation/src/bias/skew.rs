//! Does a model prefer the factor more than people do?

use serde::{Deserialize, Serialize};

use super::win;
use crate::error::{EvaluationError, at_least, every};
use crate::intervals::{
    Interval, clustered_share_difference, clustered_share_interval, correlation_interval,
};

/// Two texts compared by the model and by people. Which one is called the first does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparedPair {
    /// Names the prompt: pairs of one prompt form a cluster.
    pub prompt: usize,
    /// How much more of the factor the first text has than the second; for a counterfactual pair ±1.
    /// Not 0: such a pair says nothing about the factor.
    pub factor: f64,
    /// The model's preference for the first text, in [0, 1]: 1 and 0 for decided, 1/2 for a tie.
    pub model: f64,
    /// The share of people who prefer the first text, in [0, 1].
    pub human: f64,
}

/// What one party makes of the factor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FeaturePreference {
    /// Skew: share of pairs in which the text with more of the factor is preferred (by more than
    /// half), ties half; 1/2 is indifference.
    pub skew: Interval,
    /// Correlation of the difference in the factor with the preference, every pair taken in both
    /// orders. `None` if all preferences are 1/2.
    pub correlation: Option<Interval>,
}

/// The model's preference for the factor beside that of people; see [`preference_skew`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PreferenceSkew {
    /// The model.
    pub model: FeaturePreference,
    /// People.
    pub human: FeaturePreference,
    /// The model's skew minus that of people, on the same pairs.
    pub excess: Interval,
    /// Miscalibration: share of pairs with a human majority in which the model prefers the other text
    /// (a tie half). `None` where no pair has a majority.
    pub miscalibration: Option<Interval>,
    /// Pairs without a majority, which only `miscalibration` leaves out.
    pub without_majority: usize,
}

/// Skew, miscalibration and correlation with the factor, of a model and of people on the same pairs.
///
/// Both directions of disagreement count in `miscalibration`, so one that is high beside an `excess` of
/// about 0 is noise and not bias. Source: Bharadwaj et al. (2025), "Flattery, Fluff, and Fog", arXiv
/// 2506.05339; there, skew and miscalibration are over counterfactual pairs, and correlations over
/// natural pairs of training data.
///
/// # Errors
/// Fewer than two prompts, a factor that is 0, NaN or infinite, a preference outside [0, 1], or a level
/// outside (0, 1).
pub fn preference_skew(
    pairs: &[ComparedPair],
    level: f64,
) -> Result<PreferenceSkew, EvaluationError> {
    at_least("pairs", pairs.len(), 1)?;
    let of = |value: fn(&ComparedPair) -> f64| pairs.iter().map(value).collect::<Vec<f64>>();
    let allowed = "a finite number other than 0";
    let (factor, model, human) = (of(|p| p.factor), of(|p| p.model), of(|p| p.human));
    every("factor", &factor, allowed, |f| f.is_finite() && f != 0.0)?;
    every("model", &model, "a number in [0, 1]", |m| (0.0..=1.0).contains(&m))?;
    every("human", &human, "a number in [0, 1]", |h| (0.0..=1.0).contains(&h))?;
    let prompts: Vec<usize> = pairs.iter().map(|p| p.prompt).collect();

    // Whether the text with more of the factor wins.
    let toward = |preference: &[f64]| -> Vec<f64> {
        let wins = preference.iter().zip(&factor);
        wins.map(|(p, f)| if *f > 0.0 { win(*p, 0.5) } else { win(0.5, *p) }).collect()
    };
    let (model_wins, human_wins) = (toward(&model), toward(&human));
    let party = |preference: &[f64], wins: &[f64]| -> Result<FeaturePreference, EvaluationError> {
        let decided = preference.iter().any(|p| *p != 0.5);
        Ok(FeaturePreference {
            skew: clustered_share_interval(wins, &prompts, level)?,
            correlation: if decided {
                Some(mirrored_correlation(&factor, preference, &prompts, level)?)
            } else {
                None
            },
        })
    };
    let judged = (0..pairs.len()).filter(|&i| human_wins[i] != 0.5);
    let (disagreement, judged_prompts): (Vec<f64>, Vec<usize>) =
        judged.map(|i| ((model_wins[i] - human_wins[i]).abs(), prompts[i])).unzip();
    let miscalibration = if disagreement.is_empty() {
        None
    } else {
        Some(clustered_share_interval(&disagreement, &judged_prompts, level)?)
    };
    Ok(PreferenceSkew {
        model: party(&model, &model_wins)?,
        human: party(&human, &human_wins)?,
        excess: clustered_share_difference(
            (&model_wins, &prompts),
            (&human_wins, &prompts),
            level,
        )?,
        miscalibration,
        without_majority: pairs.len() - disagreement.len(),
    })
}

/// Correlation of factor and preference with every pair in both orders: which text is called the first
/// cannot matter then, and a factor that always differs by the same amount has a correlation, too.
fn mirrored_correlation(
    factor: &[f64],
    preference: &[f64],
    prompts: &[usize],
    level: f64,
) -> Result<Interval, EvaluationError> {
    let both = |first: &[f64], mirror: fn(f64) -> f64| -> Vec<f64> {
        first.iter().copied().chain(first.iter().map(|v| mirror(*v))).collect()
    };
    let prompts = [prompts, prompts].concat();
    correlation_interval(&both(factor, |f| -f), &both(preference, |p| 1.0 - p), &prompts, level)
}
