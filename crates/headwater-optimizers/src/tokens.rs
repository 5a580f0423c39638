//! Per-token values in their two forms: ragged rows on the host, padded `[n, t]` tensors on the
//! device.
//!
//! Column `j` of a tensor is token `j` of the *completion*; prompts are not part of it. The mask is
//! 1 on completion tokens and 0 on padding, and padding may hold anything, infinities included: it
//! is overwritten before it can meet an arithmetic operation.

use burn::tensor::{Device, Tensor, TensorData};

use crate::OptimizerError;

/// Ragged per-token values: row `i` has one entry per token of completion `i`.
pub type TokenRows = Vec<Vec<f64>>;

/// Rows as an f32 tensor `[n, width]`, padded with 0 on the right.
///
/// # Errors
/// [`OptimizerError::Length`] when a row is longer than `width`; [`OptimizerError::NotFinite`] for
/// NaN and infinity, and [`OptimizerError::TooLarge`] for what is infinite in f32.
pub fn pad_rows(
    rows: &[Vec<f64>],
    width: usize,
    device: &Device,
) -> Result<Tensor<2>, OptimizerError> {
    let mut flat = vec![0.0f32; rows.len() * width];
    for (i, row) in rows.iter().enumerate() {
        if row.len() > width {
            return Err(OptimizerError::Length {
                what: format!("row {i}"),
                found: row.len(),
                expected: width,
            });
        }
        for (index, (to, from)) in flat[i * width..].iter_mut().zip(row).enumerate() {
            *to = *from as f32;
            if !to.is_finite() {
                let (what, value) = (format!("row {i}"), *from);
                return Err(if value.is_finite() {
                    OptimizerError::TooLarge { what, index, value }
                } else {
                    OptimizerError::NotFinite { what, index, value }
                });
            }
        }
    }
    Ok(Tensor::from_data(TensorData::new(flat, [rows.len(), width]), device))
}

/// The mask `[n, width]` of completions with these numbers of tokens: 1 on the first `lengths[i]`
/// columns of row `i`, 0 after them.
///
/// # Errors
/// [`OptimizerError::Length`] when a length exceeds `width`.
pub fn mask_from_lengths(
    lengths: &[usize],
    width: usize,
    device: &Device,
) -> Result<Tensor<2>, OptimizerError> {
    let rows: TokenRows = lengths.iter().map(|&length| vec![1.0; length]).collect();
    pad_rows(&rows, width, device)
}

/// What every policy loss is a pure function of: four tensors `[n, t]` of one shape, on one device.
#[derive(Debug, Clone)]
pub struct TokenBatch {
    logp: Tensor<2>,
    old_logp: Tensor<2>,
    advantages: Tensor<2>,
    mask: Tensor<2>,
}

impl TokenBatch {
    /// Log-probabilities of the sampled tokens under the current policy (nats, tracked for
    /// gradients) and under the policy that sampled them, advantages, and the 0/1 mask. Everything
    /// but `logp` is detached.
    ///
    /// Values are not read back from the device, so NaN is not looked for here: check the loss.
    ///
    /// # Errors
    /// [`OptimizerError::Shape`] when a tensor's shape differs from `logp`'s.
    pub fn new(
        logp: Tensor<2>,
        old_logp: Tensor<2>,
        advantages: Tensor<2>,
        mask: Tensor<2>,
    ) -> Result<Self, OptimizerError> {
        for (what, tensor) in
            [("old_logp", &old_logp), ("advantages", &advantages), ("mask", &mask)]
        {
            require_shape(what, tensor, &logp)?;
        }
        let mask = mask.detach();
        Ok(Self {
            logp: zero_padding(logp, &mask),
            old_logp: zero_padding(old_logp.detach(), &mask),
            advantages: zero_padding(advantages.detach(), &mask),
            mask,
        })
    }

    /// Current log-probabilities, 0 on padding.
    #[must_use]
    pub fn logp(&self) -> Tensor<2> {
        self.logp.clone()
    }

    /// Advantages, 0 on padding.
    #[must_use]
    pub fn advantages(&self) -> Tensor<2> {
        self.advantages.clone()
    }

    /// The 0/1 mask.
    #[must_use]
    pub fn mask(&self) -> Tensor<2> {
        self.mask.clone()
    }

    /// `logp - old_logp` per token, 0 on padding, unlimited.
    #[must_use]
    pub fn log_ratio(&self) -> Tensor<2> {
        self.logp() - self.old_logp.clone()
    }

    /// Sum of the log-ratio over each sequence, `[n, 1]`: the log of the sequences' likelihood
    /// ratio.
    #[must_use]
    pub fn sequence_log_ratio(&self) -> Tensor<2> {
        self.log_ratio().sum_dim(1)
    }

    /// Tokens per sequence, `[n, 1]`, at least 1 so that it can be divided by.
    #[must_use]
    pub fn lengths(&self) -> Tensor<2> {
        self.mask().sum_dim(1).clamp_min(1.0)
    }
}

/// The largest number whose exponential is taken in f32, which ends at 88.7.
pub(crate) const EXPONENT_LIMIT: f64 = 88.0;

/// A limited log-ratio as a ratio. The limit keeps `exp` finite in f32, and is therefore at most
/// [`EXPONENT_LIMIT`]; beyond it the gradient is 0.
pub(crate) fn ratio(log_ratio: Tensor<2>, limit: Option<f64>) -> Tensor<2> {
    match limit {
        Some(limit) => {
            let limit = limit.min(EXPONENT_LIMIT);
            log_ratio.clamp(-limit, limit).exp()
        }
        None => log_ratio.exp(),
    }
}

/// Overwrites padding with 0: a product with the mask would turn an infinity there into NaN.
pub(crate) fn zero_padding(tensor: Tensor<2>, mask: &Tensor<2>) -> Tensor<2> {
    tensor.mask_fill(mask.clone().lower_scalar(0.5), 0.0)
}

pub(crate) fn require_shape<const D: usize>(
    what: &'static str,
    tensor: &Tensor<D>,
    like: &Tensor<D>,
) -> Result<(), OptimizerError> {
    if tensor.dims() == like.dims() {
        return Ok(());
    }
    Err(OptimizerError::Shape { what, found: tensor.dims().into(), expected: like.dims().into() })
}
