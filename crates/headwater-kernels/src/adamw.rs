//! One AdamW update in place (Loshchilov & Hutter 2019, in PyTorch's order of operations).

use pulp::Simd;

use crate::simd::{arch, inline};
use crate::threads::{cut, parts, run};

/// The numbers of one update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// Gradients are multiplied by this first: the clip to a global norm.
    pub clip: f32,
    /// Decay of the first moment, and what is left of 1 (taken in double precision).
    pub beta_1: [f32; 2],
    /// Decay of the second moment, and what is left of 1.
    pub beta_2: [f32; 2],
    /// What the weights are multiplied by: `1 - learning rate * weight decay`.
    pub keep: f32,
    /// Learning rate over the first moment's bias correction, `rate / (1 - beta_1^t)`.
    pub rate: f32,
    /// Root of the second moment's bias correction, `sqrt(1 - beta_2^t)`.
    pub root_correction: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
}

/// Updates `values` and both moments from `gradients`.
///
/// # Panics
/// When they are not of one length.
pub fn adamw(
    step: AdamWStep,
    values: &mut [f32],
    gradients: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    assert!(
        values.len() == gradients.len()
            && values.len() == first.len()
            && values.len() == second.len(),
        "one gradient and two moments for every value"
    );
    let parts = parts(values.len(), 1 << 14);
    let moments = cut(first, &parts, 1).into_iter().zip(cut(second, &parts, 1));
    let tasks = parts.iter().zip(cut(values, &parts, 1)).zip(moments).collect();
    run(tasks, |((part, values), (first, second))| {
        adamw_part(step, values, &gradients[part.clone()], first, second);
    });
}

#[pulp::with_simd(adamw_part = arch())]
#[inline(always)]
fn adamw_part_with<'a, S: Simd>(
    simd: S,
    step: AdamWStep,
    values: &'a mut [f32],
    gradients: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
) {
    let splat = inline(
        #[inline(always)]
        |v: f32| simd.splat_f32s(v),
    );
    let [beta_1, new_1] = step.beta_1.map(splat);
    let [beta_2, new_2] = step.beta_2.map(splat);
    let (keep, rate, clip) = (splat(step.keep), splat(-step.rate), splat(step.clip));
    let (correction, epsilon) = (splat(1.0 / step.root_correction), splat(step.epsilon));
    let f = inline(
        #[inline(always)]
        |value: S::f32s, gradient: S::f32s, m: S::f32s, v: S::f32s| {
            let clipped = simd.mul_f32s(gradient, clip);
            let m = simd.mul_add_e_f32s(clipped, new_1, simd.mul_f32s(m, beta_1));
            let square = simd.mul_f32s(clipped, clipped);
            let v = simd.mul_add_e_f32s(square, new_2, simd.mul_f32s(v, beta_2));
            let root = simd.mul_add_e_f32s(simd.sqrt_f32s(v), correction, epsilon);
            let update = simd.div_f32s(m, root);
            (simd.mul_add_e_f32s(update, rate, simd.mul_f32s(value, keep)), m, v)
        },
    );
    let (body, tail) = S::as_mut_simd_f32s(values);
    let (first_body, first_tail) = S::as_mut_simd_f32s(first);
    let (second_body, second_tail) = S::as_mut_simd_f32s(second);
    let (gradients, gradient_tail) = S::as_simd_f32s(gradients);
    let moments = first_body.iter_mut().zip(second_body);
    for ((value, gradient), (m, v)) in body.iter_mut().zip(gradients).zip(moments) {
        (*value, *m, *v) = f(*value, *gradient, *m, *v);
    }
    if !gradient_tail.is_empty() {
        let load = inline(
            #[inline(always)]
            |tail: &[f32]| simd.partial_load_f32s(tail),
        );
        let (value, m, v) = f(load(tail), load(gradient_tail), load(first_tail), load(second_tail));
        simd.partial_store_f32s(tail, value);
        simd.partial_store_f32s(first_tail, m);
        simd.partial_store_f32s(second_tail, v);
    }
}
