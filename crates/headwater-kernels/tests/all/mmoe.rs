//! The mixture of experts against plain double-precision code, and its gradients against its finite differences.

use crate::common::{
    check_gradients_by, close, dot, double, off_grid, on_grid, sets, times, values,
};
use headwater_kernels::{
    ExpertLayer, MmoeWeights, mmoe, mmoe_backward, mmoe_saving, with_instruction_set, with_threads,
};
use proptest::prelude::*;

#[derive(Debug, Clone, Copy)]
struct Shape {
    rows: usize,
    inputs: usize,
    experts: usize,
    tasks: usize,
}

/// Tensors: x, gates, then weights and bias of every layer.
fn plain(shape: Shape, keep: Option<&[bool]>, tensors: &[Vec<f64>]) -> Vec<f64> {
    let Shape { rows, inputs, experts, tasks } = shape;
    let expert_out = |expert: usize| {
        let mut x = tensors[0].clone();
        for (at, layer) in tensors[2..].chunks(2).enumerate() {
            let (weights, bias) = (&layer[0], &layer[1]);
            let width = bias.len() / experts;
            let own: Vec<f64> = if at == 0 {
                let rows = weights.chunks(bias.len());
                rows.flat_map(|row| row[expert * width..(expert + 1) * width].to_vec()).collect()
            } else {
                let size = weights.len() / experts;
                weights[expert * size..(expert + 1) * size].to_vec()
            };
            let bias = &bias[expert * width..(expert + 1) * width];
            let z = times(&x, &own, own.len() / width);
            let z = z.chunks(width).flat_map(|row| row.iter().zip(bias).map(|(z, b)| z + b));
            x = z.map(|z| z.max(0.0)).collect();
        }
        x
    };
    let outs: Vec<Vec<f64>> = (0..experts).map(expert_out).collect();
    let width = outs[0].len() / rows;
    let logits = times(&tensors[0], &tensors[1], inputs);
    let mut y = Vec::new();
    for group in 0..rows * tasks {
        let own = group * experts..(group + 1) * experts;
        let saved: Vec<bool> = match keep {
            Some(keep) if keep[own.clone()].contains(&true) => keep[own.clone()].to_vec(),
            _ => vec![true; experts],
        };
        let weights: Vec<f64> = logits[own]
            .iter()
            .zip(saved)
            .map(|(z, saved)| if saved { z.exp() } else { 0.0 })
            .collect();
        let total: f64 = weights.iter().sum();
        let row = group / tasks * width;
        y.extend((row..row + width).map(|at| {
            outs.iter().zip(&weights).map(|(out, weight)| weight / total * out[at]).sum::<f64>()
        }));
    }
    y
}

/// Pre-activations keep a distance of 1/4096 from the kink, and are exact in either precision.
fn tensors(shape: Shape, widths: &[usize], seed: u64) -> Vec<Vec<f32>> {
    let Shape { rows, inputs, experts, tasks } = shape;
    let mut tensors =
        vec![on_grid(rows * inputs, seed, 1.0 / 8.0), values(inputs * tasks * experts, seed + 1)];
    let mut below = inputs;
    for (at, width) in widths.iter().enumerate() {
        let seed = seed + 10 * at as u64;
        tensors.push(on_grid(experts * below * width, seed + 2, 1.0 / 4.0));
        tensors.push(off_grid(experts * width, seed + 3, 1.0 / [64.0, 512.0, 4096.0][at]));
        below = *width;
    }
    tensors
}

fn expert_layers(tensors: &[Vec<f32>]) -> Vec<ExpertLayer<'_>> {
    let pairs = tensors[2..].chunks(2);
    pairs.map(|layer| ExpertLayer { weights: &layer[0], bias: &layer[1] }).collect()
}

/// Keeps about two thirds; of every fourth row, nothing.
fn mask(shape: Shape, seed: u64) -> Vec<bool> {
    let group = shape.tasks * shape.experts;
    let draws = values(shape.rows * group, seed);
    draws.iter().enumerate().map(|(at, draw)| at / group % 4 != 3 && *draw < 0.33).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_mixture_and_its_gradients(
        (rows, inputs, experts, tasks) in
            (prop_oneof![4 => 1usize..40, 1 => 60usize..140], 1usize..30, 1usize..6, 1usize..5),
        widths in prop::collection::vec(1usize..30, 1..4),
        masked: bool,
        set in sets(),
        threads in 1usize..4,
        seed in 1u64..1000,
    ) {
        let shape = Shape { rows, inputs, experts, tasks };
        let tensors = tensors(shape, &widths, seed);
        let mask = mask(shape, seed + 98);
        let keep = masked.then_some(&mask[..]);
        let (x, layers) = (&tensors[0], expert_layers(&tensors));
        let weights = MmoeWeights { experts, layers: &layers, gates: &tensors[1] };
        let outer = values(rows * tasks * widths[widths.len() - 1], seed + 99);
        let mut dx = vec![f32::NAN; x.len()];
        let (out, saved_out, saved, gradients, without_dx) =
            with_instruction_set(set, || with_threads(threads, || {
                let (saved_out, saved) = mmoe_saving(weights, x, keep);
                let gradients = mmoe_backward(weights, x, &saved, &outer, Some(&mut dx));
                let without_dx = mmoe_backward(weights, x, &saved, &outer, None);
                (mmoe(weights, x, keep), saved_out, saved, gradients, without_dx)
            }));
        prop_assert_eq!(&out, &saved_out);
        prop_assert_eq!(&gradients.gates, &without_dx.gates);
        prop_assert_eq!(&gradients.layers[0].weights, &without_dx.layers[0].weights);

        for (group, gates) in saved.gates().chunks(experts).enumerate() {
            prop_assert!((gates.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            let dropped = &mask[group * experts..(group + 1) * experts];
            if masked && dropped.contains(&true) {
                prop_assert!(gates.iter().zip(dropped).all(|(gate, saved)| *saved || *gate == 0.0));
            }
        }
        let doubles: Vec<Vec<f64>> = tensors.iter().map(|t| double(t)).collect();
        close(&out, &plain(shape, keep, &doubles));
        let mut slices: Vec<&[f32]> = vec![&dx, &gradients.gates];
        slices.extend(gradients.layers.iter().flat_map(|layer| [&layer.weights[..], &layer.bias]));
        check_gradients_by(1e-7, &doubles, &slices, |t| dot(&plain(shape, keep, t), &outer));
    }
}

#[test]
fn a_gate_told_to_drop_all_keeps_all() {
    let shape = Shape { rows: 7, inputs: 5, experts: 3, tasks: 2 };
    let tensors = tensors(shape, &[6, 4], 3);
    let layers = expert_layers(&tensors);
    let weights = MmoeWeights { experts: 3, layers: &layers, gates: &tensors[1] };
    let (none, all) = ([false; 7 * 2 * 3], [true; 7 * 2 * 3]);
    let plain = mmoe(weights, &tensors[0], None);
    assert_eq!(mmoe(weights, &tensors[0], Some(&none)), plain);
    assert_eq!(mmoe(weights, &tensors[0], Some(&all)), plain);
}

#[test]
fn one_expert_is_the_expert_for_every_task() {
    let shape = Shape { rows: 9, inputs: 5, experts: 1, tasks: 3 };
    let tensors = tensors(shape, &[6], 4);
    let layers = expert_layers(&tensors);
    let weights = MmoeWeights { experts: 1, layers: &layers, gates: &tensors[1] };
    let out = mmoe(weights, &tensors[0], None);
    for row in out.chunks(3 * 6) {
        assert!(row.chunks(6).all(|task| task == &row[..6]));
    }
}

#[test]
fn a_dropped_expert_may_have_the_largest_logit_by_far() {
    let layers = [ExpertLayer { weights: &[1.0, 1.0, 1.0], bias: &[1.0, 2.0, 3.0] }];
    let weights = MmoeWeights { experts: 3, layers: &layers, gates: &[1000.0, -50.0, -50.0] };
    let (out, saved) = mmoe_saving(weights, &[1.0], Some(&[false, true, true]));
    assert_eq!(saved.gates(), [0.0, 0.5, 0.5]);
    assert_eq!(out, [3.5]);
}
