//! Helpers shared by the tests on tensors.
use burn::tensor::{Device, Tensor};
use headwater_optimizers::{Objective, TokenRows, mask_from_lengths, pad_rows};

/// Log-probabilities, advantages and lengths of a small ragged minibatch.
#[derive(Debug, Clone)]
pub(crate) struct Minibatch {
    pub(crate) logp: TokenRows,
    pub(crate) old_logp: TokenRows,
    pub(crate) reference_logp: TokenRows,
    pub(crate) advantages: TokenRows,
    pub(crate) lengths: Vec<usize>,
}

impl Minibatch {
    /// Four rows of 3, 1, 4 and 2 tokens, one advantage each. Token ratios reach from 0.4 to 2.7
    /// and sequence ratios from 0.5 to 2, so that clips of 0.2 bind on some of every sign and none
    /// is at a kink.
    pub(crate) fn off_policy() -> Self {
        let old_logp = vec![
            vec![-1.0, -0.7, -2.0],
            vec![-1.5],
            vec![-0.3, -0.9, -1.2, -2.5],
            vec![-1.1, -0.6],
        ];
        let log_ratio =
            [vec![0.1, -0.5, 0.9], vec![0.6], vec![-0.9, 0.05, 0.35, -0.15], vec![-0.4, 1.0]];
        let logp = add(&old_logp, &log_ratio);
        let reference_logp = add(
            &logp,
            &[vec![0.3, -0.2, 0.1], vec![-0.7], vec![0.2, 0.5, -0.1, 0.4], vec![0.1, -0.3]],
        );
        let lengths: Vec<usize> = logp.iter().map(Vec::len).collect();
        let per_row = [1.5, -0.5, -1.2, 0.7];
        let advantages = per_row.iter().zip(&lengths).map(|(&a, &t)| vec![a; t]).collect();
        Self { logp, old_logp, reference_logp, advantages, lengths }
    }

    /// The same rows, sampled from the current policy.
    pub(crate) fn on_policy() -> Self {
        let batch = Self::off_policy();
        Self { old_logp: batch.logp.clone(), ..batch }
    }

    /// The rows `range` alone.
    pub(crate) fn rows(&self, range: std::ops::Range<usize>) -> Self {
        Self {
            logp: self.logp[range.clone()].to_vec(),
            old_logp: self.old_logp[range.clone()].to_vec(),
            reference_logp: self.reference_logp[range.clone()].to_vec(),
            advantages: self.advantages[range.clone()].to_vec(),
            lengths: self.lengths[range].to_vec(),
        }
    }
}

fn add(left: &[Vec<f64>], right: &[Vec<f64>]) -> TokenRows {
    left.iter().zip(right).map(|(l, r)| l.iter().zip(r).map(|(l, r)| l + r).collect()).collect()
}

pub(crate) fn device() -> Device {
    Device::flex().autodiff()
}

/// The loss under `weights`, and its gradient with respect to every log-probability (ragged rows).
pub(crate) fn loss_and_gradient(
    objective: &Objective,
    batch: &Minibatch,
    weights: &[Vec<f64>],
) -> (f64, TokenRows) {
    let (device, width) = (device(), 5);
    let tensor = |rows: &[Vec<f64>]| pad_rows(rows, width, &device).unwrap();
    let logp = tensor(&batch.logp).require_grad();
    let reference = objective.needs_reference().then(|| tensor(&batch.reference_logp));
    let mask = mask_from_lengths(&batch.lengths, width, &device).unwrap();
    let token_loss = objective
        .token_loss(
            logp.clone(),
            tensor(&batch.old_logp),
            reference,
            tensor(&batch.advantages),
            mask,
        )
        .unwrap();
    let loss = (token_loss * tensor(weights)).sum();
    let gradient = logp.grad(&loss.backward()).unwrap();
    let gradient = host(gradient)
        .chunks(width)
        .zip(&batch.lengths)
        .map(|(row, &length)| row[..length].to_vec())
        .collect();
    (f64::from(loss.into_scalar::<f32>()), gradient)
}

pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f32>().map(f64::from).collect()
}

#[track_caller]
pub(crate) fn assert_close(found: f64, expected: f64, tolerance: f64) {
    let scale = expected.abs().max(1e-3);
    assert!((found - expected).abs() <= tolerance * scale, "{found} is not {expected}");
}

#[track_caller]
pub(crate) fn assert_rows_close(found: &[Vec<f64>], expected: &[Vec<f64>], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.len(), expected.len());
        found.iter().zip(expected).for_each(|(f, e)| assert_close(*f, *e, tolerance));
    }
}
