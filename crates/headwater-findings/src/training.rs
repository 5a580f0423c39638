//! How bases are pretrained, and when policies in training are measured.

use headwater_core::{Check, Example, StreamRng, Streams};
use headwater_nn::{AdamW, AdamWConfig, Decoder, Schedule, supervised_training};
use headwater_protocol::CellError;

/// Trains `policy` on `batch` demonstrations a step, each step's drawn from a stream of its own;
/// returns it with its losses by step. `draw` is told the step.
pub(crate) fn pretrain(
    mut policy: Decoder,
    adamw: AdamWConfig,
    (steps, batch): (usize, usize),
    streams: &Streams,
    mut draw: impl FnMut(usize, &mut StreamRng) -> Result<Example, CellError>,
) -> Result<(Decoder, Vec<f64>), CellError> {
    let mut optimizer = AdamW::new(adamw.check()?);
    let schedule = Schedule::cosine(steps);
    let losses = supervised_training(&mut policy, &mut optimizer, schedule, |step| {
        let mut stream = streams.stream("demonstrations", &[step as u64]);
        (0..batch).map(|_| draw(step, &mut stream)).collect::<Result<Vec<_>, CellError>>()
    })?;
    Ok((policy, losses))
}

/// Steps after which a policy is measured: so many times, evenly spaced, the last at the end.
pub(crate) fn evaluation_steps(steps: usize, evaluations: usize) -> impl Iterator<Item = u64> {
    (1..=evaluations).map(move |at| (steps * at / evaluations) as u64)
}
