//! Schedules of the findings' training: learning rates, and looks at a policy on its way.

use std::cell::RefCell;

use headwater_nn::Decoder;
use headwater_optimizers::{Task, Trainer};
use headwater_protocol::CellError;

/// Rate at `step` of `steps`: a linear rise over the first tenth, times a cosine decay from 1 to 0.
pub(crate) fn warmup_then_cosine(step: usize, steps: usize) -> f64 {
    let warmup = (steps / 10).max(1);
    let rise = ((step + 1) as f64 / warmup as f64).min(1.0);
    rise * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos())
}

/// Trains for `steps` and looks at the policy `looks` times, evenly spaced, the last time at the
/// end.
///
/// A grader cannot return an error: one that failed leaves it in `failed`, and training ends with
/// it.
pub(crate) fn train_with_looks<T>(
    trainer: &mut Trainer,
    task: &Task<'_>,
    (steps, looks): (usize, usize),
    failed: &RefCell<Option<CellError>>,
    mut look: impl FnMut(&Decoder) -> Result<T, CellError>,
) -> Result<Vec<T>, CellError> {
    let mut seen = Vec::with_capacity(looks);
    for at in 1..=looks {
        while trainer.steps() < (steps * at / looks) as u64 {
            let stepped = trainer.step(task);
            if let Some(error) = failed.borrow_mut().take() {
                return Err(error);
            }
            stepped?;
        }
        seen.push(look(trainer.policy())?);
    }
    Ok(seen)
}
