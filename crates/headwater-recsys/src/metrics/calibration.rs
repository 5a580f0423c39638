//! Calibration by position.

use headwater_evaluation::EvaluationError;
use headwater_evaluation::calibration::ece_equal_width;
use serde::{Deserialize, Serialize};

use crate::error::same_length;

/// What a model says of the impressions on a slot, and what came of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PositionCalibration {
    /// The slot, from 0.
    pub slot: u8,
    /// Impressions.
    pub impressions: usize,
    /// Mean predicted click probability.
    pub predicted: f64,
    /// Click rate.
    pub clicked: f64,
    /// Predicted over clicked; none without a click.
    pub ratio: Option<f64>,
    /// Expected calibration error on the slot, bins of equal width.
    pub ece: f64,
}

/// Calibration on each slot that was shown, from the top downwards.
///
/// A model that is given the position should be calibrated on every slot. The scores that are served, without the
/// position, should *not* be below the top: there they say what a click rate would be if the item were looked at.
///
/// # Errors
/// Lengths that differ, nothing shown, a prediction outside [0, 1], or a number of bins that is 0 or too large.
pub fn calibration_by_position(
    slots: &[u8],
    predictions: &[f64],
    clicks: &[bool],
    bins: usize,
) -> Result<Vec<PositionCalibration>, EvaluationError> {
    same_length("predictions", predictions.len(), "slots", slots.len())?;
    same_length("predictions", predictions.len(), "clicks", clicks.len())?;
    // Checks all of them, and that there are any.
    ece_equal_width(predictions, clicks, bins)?;
    let mut calibrations = Vec::new();
    for slot in 0..=u8::MAX {
        let here =
            || slots.iter().enumerate().filter(|&(_, &other)| other == slot).map(|(at, _)| at);
        let predicted: Vec<f64> = here().map(|at| predictions[at]).collect();
        if predicted.is_empty() {
            continue;
        }
        let happened: Vec<bool> = here().map(|at| clicks[at]).collect();
        let impressions = predicted.len();
        let mean = predicted.iter().sum::<f64>() / impressions as f64;
        let clicked = happened.iter().filter(|&&click| click).count() as f64 / impressions as f64;
        calibrations.push(PositionCalibration {
            slot,
            impressions,
            predicted: mean,
            clicked,
            ratio: (clicked > 0.0).then(|| mean / clicked),
            ece: ece_equal_width(&predicted, &happened, bins)?,
        });
    }
    Ok(calibrations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn by_hand() {
        let slots = [2, 0, 0, 2, 0, 0];
        let predictions = [0.5, 0.25, 0.25, 0.5, 0.25, 0.25];
        let clicks = [false, true, false, false, false, false];
        let [top, low] = calibration_by_position(&slots, &predictions, &clicks, 10).unwrap()[..]
        else {
            panic!("two slots were shown")
        };
        assert_eq!((top.slot, top.impressions, top.ratio, top.ece), (0, 4, Some(1.0), 0.0));
        assert_eq!((low.slot, low.impressions, low.ratio), (2, 2, None));
        assert_relative_eq!(low.ece, 0.5);
    }

    #[test]
    fn errors_name_the_argument() {
        let text = |slots: &[u8], predictions: &[f64]| {
            calibration_by_position(slots, predictions, &[true], 10).unwrap_err().to_string()
        };
        assert!(text(&[0, 1], &[0.5]).contains("`slots` has 2"));
        assert!(text(&[0], &[1.5]).contains("1.5"));
    }
}
