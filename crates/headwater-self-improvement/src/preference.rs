//! Updates by preference: DPO from a start towards chosen and away from rejected responses.

use burn::tensor::Tensor;
use headwater_core::Streams;
use headwater_nn::{AdamW, Decoder, SequenceBatch};
use headwater_optimizers::dpo::{PairLogProbs, dpo_loss};
use headwater_optimizers::mask_from_lengths;

use crate::SelfImprovementError;
use crate::fit::FitSettings;

/// Two responses to one prompt, as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preference {
    /// What both answer.
    pub prompt: Vec<u32>,
    /// What is to become likelier.
    pub chosen: Vec<u32>,
    /// What is to become less likely.
    pub rejected: Vec<u32>,
}

/// `start` after DPO on `pairs` with `beta`, relative to `reference`; the fit's batch counts pairs. Without pairs it is
/// `start`.
///
/// # Errors
/// Responses that do not fit the decoder, a `beta` that is not above 0, a loss that is not finite.
pub fn prefer(
    start: &Decoder,
    reference: &Decoder,
    pairs: &[Preference],
    beta: f64,
    settings: &FitSettings,
    streams: &Streams,
) -> Result<Decoder, SelfImprovementError> {
    let mut policy = start.clone();
    if pairs.is_empty() {
        return Ok(policy);
    }
    let mut optimizer = AdamW::new(settings.adamw.clone());
    for (step, batch) in settings.batches(pairs.len(), streams).into_iter().enumerate() {
        let batch: Vec<&Preference> = batch.into_iter().map(|at| &pairs[at]).collect();
        let fixed = log_probs(reference, &batch)?;
        let loss = dpo_loss(log_probs(&policy, &batch)?, fixed, beta)?.mean();
        optimizer.minimise(&mut policy, loss, settings.schedule().rate(step))?;
    }
    Ok(policy)
}

/// Log-probabilities of whole responses: one pass over the chosen ones, then the rejected ones.
fn log_probs(
    decoder: &Decoder,
    pairs: &[&Preference],
) -> Result<PairLogProbs, SelfImprovementError> {
    let chosen = pairs.iter().map(|pair| (pair.prompt.as_slice(), pair.chosen.as_slice()));
    let rejected = pairs.iter().map(|pair| (pair.prompt.as_slice(), pair.rejected.as_slice()));
    let batch = SequenceBatch::new(chosen.chain(rejected), decoder.shape())?;
    let tokens = batch.scores(decoder, 1.0).log_probs;
    let mask = mask_from_lengths(&batch.lengths, batch.width, &tokens.device())?;
    let padding = mask.lower_scalar(0.5);
    let sums: Tensor<1> = tokens.mask_fill(padding, 0.0).sum_dim(1).squeeze_dim(1);
    let n = pairs.len();
    let [chosen, rejected] = [0..n, n..2 * n].map(|rows| sums.clone().slice([rows]));
    Ok(PairLogProbs { chosen, rejected })
}
