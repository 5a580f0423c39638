//! Gates of a mixture of experts, and the mixture itself, fused with the bias and ReLU of the experts' last layer.

use pulp::Simd;

use crate::activation::{relu, where_positive};
use crate::simd::{arch, exp, update};

/// Softmax of every group of `experts` gate logits over those kept; an empty mask keeps all.
#[pulp::with_simd(softmax_kept = arch())]
#[inline(always)]
pub(crate) fn softmax_kept_with<'a, S: Simd>(
    simd: S,
    gates: &'a mut [f32],
    keep: &'a [bool],
    experts: usize,
) {
    let kept = |group: usize| {
        let keep = keep.get(group * experts..(group + 1) * experts).unwrap_or(&[]);
        if keep.contains(&true) { keep } else { &[] }
    };
    for (group, gates) in gates.chunks_exact_mut(experts).enumerate() {
        let keep = kept(group);
        for (gate, keep) in gates.iter_mut().zip(keep) {
            *gate = if *keep { *gate } else { f32::NEG_INFINITY };
        }
        let top = gates.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for gate in gates {
            *gate -= top;
        }
    }
    update(
        simd,
        gates,
        [],
        #[inline(always)]
        |z, []| exp(simd, z),
    );
    for (group, gates) in gates.chunks_exact_mut(experts).enumerate() {
        // exp of -infinity is small, not 0.
        for (gate, keep) in gates.iter_mut().zip(kept(group)) {
            *gate = if *keep { *gate } else { 0.0 };
        }
        let share = 1.0 / gates.iter().sum::<f32>();
        for gate in gates {
            *gate *= share;
        }
    }
}

/// Finishes the last layer, `z = max(z + bias, 0)`, and mixes it: `out[rows][tasks][width]`.
#[pulp::with_simd(mix = arch())]
#[inline(always)]
pub(crate) fn mix_with<'a, S: Simd>(
    simd: S,
    out: &'a mut [f32],
    z: &'a mut [f32],
    bias: &'a [f32],
    gates: &'a [f32],
    experts: usize,
) {
    let width = bias.len() / experts;
    let shares = gates.chunks_exact(gates.len() / (z.len() / bias.len()));
    let tasks = gates.len() / (z.len() / width);
    for ((out, z), gates) in
        out.chunks_exact_mut(tasks * width).zip(z.chunks_exact_mut(bias.len())).zip(shares)
    {
        update(simd, z, [bias], |z, [b]| relu(simd, simd.add_f32s(z, b)));
        for (out, gates) in out.chunks_exact_mut(width).zip(gates.chunks_exact(experts)) {
            weighted_sum(simd, out, z, gates);
        }
    }
}

/// `out = sum of share * y` over y as wide as `out`.
#[inline(always)]
fn weighted_sum<S: Simd>(simd: S, out: &mut [f32], y: &[f32], shares: &[f32]) {
    let width = out.len();
    let (body, tail) = S::as_mut_simd_f32s(out);
    for (at, out) in body.iter_mut().enumerate() {
        let mut sum = simd.splat_f32s(0.0);
        for (share, y) in shares.iter().zip(y.chunks_exact(width)) {
            sum = simd.mul_add_e_f32s(S::as_simd_f32s(y).0[at], simd.splat_f32s(*share), sum);
        }
        *out = sum;
    }
    if !tail.is_empty() {
        let mut sum = simd.splat_f32s(0.0);
        for (share, y) in shares.iter().zip(y.chunks_exact(width)) {
            let last = simd.partial_load_f32s(S::as_simd_f32s(y).1);
            sum = simd.mul_add_e_f32s(last, simd.splat_f32s(*share), sum);
        }
        simd.partial_store_f32s(tail, sum);
    }
}

/// Gradients of the last layer before its ReLU, of the gate logits and, added, of the last bias; `y` is the last
/// layer's result.
///
/// With g the shares and s_e the product of gradient and y_e: dlogit_e = g_e (s_e - sum g s).
#[pulp::with_simd(mix_backward = arch())]
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn mix_backward_with<'a, S: Simd>(
    simd: S,
    dz: &'a mut [f32],
    dlogits: &'a mut [f32],
    dbias: &'a mut [f32],
    gradient: &'a [f32],
    y: &'a [f32],
    gates: &'a [f32],
    experts: usize,
) {
    let width = dbias.len() / experts;
    let rows = y.len() / dbias.len();
    let (gate_width, outputs) = (gates.len() / rows, gradient.len() / rows);
    let outer = gradient.chunks_exact(outputs).zip(gates.chunks_exact(gate_width));
    let inner = dz.chunks_exact_mut(dbias.len()).zip(dlogits.chunks_exact_mut(gate_width));
    let rows = outer.zip(inner).zip(y.chunks_exact(dbias.len()));
    for (((gradient, gates), (dz, dlogits)), y) in rows {
        let tasks = outputs / width;
        let of_task = |task: usize| &gradient[task * width..(task + 1) * width];
        for (expert, (dz, y)) in dz.chunks_exact_mut(width).zip(y.chunks_exact(width)).enumerate() {
            dz.fill(0.0);
            let at = |task: usize| task * experts + expert;
            // Two tasks at once, so that y is read half as often.
            for task in (0..tasks - tasks % 2).step_by(2) {
                let outer = [of_task(task), of_task(task + 1)];
                let shares = [gates[at(task)], gates[at(task + 1)]];
                [dlogits[at(task)], dlogits[at(task + 1)]] = unmix(simd, dz, y, outer, shares);
            }
            if tasks % 2 == 1 {
                let last = at(tasks - 1);
                [dlogits[last]] = unmix(simd, dz, y, [of_task(tasks - 1)], [gates[last]]);
            }
            update(simd, dz, [y], |dz, [y]| where_positive(simd, y, dz));
        }
        update(simd, dbias, [dz], |sum, [dz]| simd.add_f32s(sum, dz));
        for (dlogits, gates) in dlogits.chunks_exact_mut(experts).zip(gates.chunks_exact(experts)) {
            let mean: f32 = dlogits.iter().zip(gates).map(|(along, gate)| along * gate).sum();
            for (along, gate) in dlogits.iter_mut().zip(gates) {
                *along = gate * (*along - mean);
            }
        }
    }
}

/// Adds the sum of share * gradient to `dy`, and returns the scalar products of the gradients and y.
#[inline(always)]
fn unmix<S: Simd, const N: usize>(
    simd: S,
    dy: &mut [f32],
    y: &[f32],
    gradients: [&[f32]; N],
    shares: [f32; N],
) -> [f32; N] {
    let mut products = [simd.splat_f32s(0.0); N];
    let mut step = |mut dy: S::f32s, y: S::f32s, gradients: [S::f32s; N]| {
        for i in 0..N {
            dy = simd.mul_add_e_f32s(gradients[i], simd.splat_f32s(shares[i]), dy);
            products[i] = simd.mul_add_e_f32s(gradients[i], y, products[i]);
        }
        dy
    };
    let ((y, y_tail), parts) = (S::as_simd_f32s(y), gradients.map(S::as_simd_f32s));
    let (dy, dy_tail) = S::as_mut_simd_f32s(dy);
    for (at, (dy, y)) in dy.iter_mut().zip(y).enumerate() {
        *dy = step(*dy, *y, std::array::from_fn(|i| parts[i].0[at]));
    }
    if !dy_tail.is_empty() {
        let load = |tail: &[f32]| simd.partial_load_f32s(tail);
        let last = step(load(dy_tail), load(y_tail), std::array::from_fn(|i| load(parts[i].1)));
        simd.partial_store_f32s(dy_tail, last);
    }
    let mut sums = [0.0; N];
    for (sum, product) in sums.iter_mut().zip(products) {
        *sum = simd.reduce_sum_f32s(product);
    }
    sums
}
