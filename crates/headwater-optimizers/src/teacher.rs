//! Teachers that follow the policy: current, exponential moving average, frozen.

use headwater_core::require;
use headwater_nn::{Decoder, NnError};

use crate::OptimizerError;

/// Moves every weight of `teacher` by the fraction `rate` of its distance to `policy`'s: `(1 -
/// rate) teacher + rate policy`.
///
/// Called after every update of the policy with rate 0.05 it is SDPO's teacher (arXiv 2601.20802).
/// Rate 0 leaves it frozen: it cannot drift, and what it knows with a hint is all that can be
/// learnt. Rate 1 makes it the policy. SDPO's other choice, a trust region, is not here.
///
/// # Errors
/// A rate outside [0, 1], decoders of different shapes.
pub fn ema_update(
    teacher: &mut Decoder,
    policy: &Decoder,
    rate: f64,
) -> Result<(), OptimizerError> {
    require((0.0..=1.0).contains(&rate), "ema_update", "rate", rate, "a number in [0, 1]")?;
    if teacher.shape() != policy.shape() {
        let problem =
            format!("a teacher of {:?} for a policy of {:?}", teacher.shape(), policy.shape());
        return Err(NnError::Malformed { format: "teacher", problem }.into());
    }
    let (keep, rate) = (1.0 - rate as f32, rate as f32);
    let mut weights = teacher.weights();
    for (to, from) in weights.iter_mut().zip(policy.weights()) {
        let values = to.values.iter_mut().zip(&from.values);
        values.for_each(|(to, from)| *to = keep * *to + rate * from);
    }
    *teacher = Decoder::from_weights(policy.shape(), &weights, &teacher.device())?;
    Ok(())
}
