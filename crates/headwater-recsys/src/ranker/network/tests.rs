//! The network against plain double-precision code, and its gradients against finite differences of that code.

use super::*;
use crate::ranker::architecture::NetworkConfig;
use approx::assert_relative_eq;
use headwater_core::{Check, Streams};
use rand::RngExt;

const ROWS: usize = 5;
const INPUTS: usize = 4;
const TASKS: usize = 2;

fn network(bottom: &[usize], sharing: Sharing, tower: &[usize]) -> (NetworkConfig, Network) {
    let (bottom, tower) = (bottom.to_vec(), tower.to_vec());
    let config = NetworkConfig { bottom, sharing, tower, gate_dropout: 0.0 };
    let network = build(&config, TASKS);
    (config, network)
}

fn build(config: &NetworkConfig, tasks: usize) -> Network {
    Network::new(&config.clone().check().unwrap(), INPUTS, tasks, &mut Layout::default())
}

/// Logits in training, and what is saved.
fn saving(
    network: &Network,
    parameters: &[f32],
    x: &[f32],
    mask: Option<&[bool]>,
) -> (Vec<f32>, Saved) {
    let mut saved = Saved::default();
    // Memory used for more rows is no hindrance.
    network.logits_saving(parameters, &uniform(3 * x.len(), "other"), None, &mut saved);
    network.logits_saving(parameters, x, mask, &mut saved);
    (saved.logits.clone(), saved)
}

fn networks() -> Vec<(NetworkConfig, Network)> {
    let hidden = || vec![4, 3];
    vec![
        network(&[6], Sharing::MultiGate { experts: 3, hidden: hidden() }, &[3]),
        network(&[], Sharing::MultiGate { experts: 2, hidden: vec![3] }, &[]),
        network(&[6, 5], Sharing::OneGate { experts: 3, hidden: hidden() }, &[3]),
        network(&[6], Sharing::SharedBottom { hidden: hidden() }, &[3]),
        network(&[6], Sharing::SharedBottom { hidden: Vec::new() }, &[]),
        network(&[], Sharing::SharedBottom { hidden: Vec::new() }, &[3]),
    ]
}

fn uniform(count: usize, name: &str) -> Vec<f32> {
    let mut rng = Streams::new(3).stream(name, &[]);
    (0..count).map(|_| 2.0 * rng.random::<f32>() - 1.0).collect()
}

/// Row 0 keeps all experts, row 1 is told to drop all, the others drop the first.
fn mask(network: &Network) -> Option<Vec<bool>> {
    let Shared::Experts(own) = &network.shared else { return None };
    let width = network.mask_width();
    Some(
        (0..ROWS * width)
            .map(|at| match at / width {
                0 => true,
                1 => false,
                _ => at % own.experts != 0,
            })
            .collect(),
    )
}

/// Takes tensors off the front, as they are documented to lie: bottom, shared, towers, gates.
struct Reader<'a>(&'a [f64]);

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Vec<f64> {
        let (own, rest) = self.0.split_at(count);
        self.0 = rest;
        own.to_vec()
    }

    fn dense(&mut self, x: &[f64], width: usize, relu: bool) -> Vec<f64> {
        let (weights, bias) = (self.take(x.len() * width), self.take(width));
        let z = |out: usize| {
            x.iter().enumerate().fold(bias[out], |sum, (at, x)| sum + x * weights[at * width + out])
        };
        (0..width).map(|out| if relu { z(out).max(0.0) } else { z(out) }).collect()
    }
}

/// Logits of one row.
fn plain(config: &NetworkConfig, parameters: &[f64], x: &[f64], mask: Option<&[bool]>) -> Vec<f64> {
    let mut reader = Reader(parameters);
    let mut hidden = x.to_vec();
    for &width in &config.bottom {
        hidden = reader.dense(&hidden, width, true);
    }
    let (experts, layers) = match &config.sharing {
        Sharing::SharedBottom { hidden } => (1, hidden),
        Sharing::OneGate { experts, hidden } | Sharing::MultiGate { experts, hidden } => {
            (*experts, hidden)
        }
    };
    let mut outs = vec![hidden.clone(); experts];
    for (at, &width) in layers.iter().enumerate() {
        let inputs = outs[0].len();
        let (weights, bias) = (reader.take(experts * inputs * width), reader.take(experts * width));
        for (expert, out) in outs.iter_mut().enumerate() {
            let weight = |from: usize, to: usize| match at {
                // The first layer's columns lie side by side, later layers one after the other.
                0 => weights[(from * experts + expert) * width + to],
                _ => weights[(expert * inputs + from) * width + to],
            };
            let z = |to: usize| {
                let sum: f64 = (0..inputs).map(|from| out[from] * weight(from, to)).sum();
                (sum + bias[expert * width + to]).max(0.0)
            };
            *out = (0..width).map(z).collect();
        }
    }
    // Gates lie last.
    let count = match config.sharing {
        Sharing::SharedBottom { .. } => 0,
        Sharing::OneGate { .. } => 1,
        Sharing::MultiGate { .. } => TASKS,
    };
    let gates = parameters[parameters.len() - hidden.len() * count * experts..].to_vec();
    let mixture = |gate: usize| -> Vec<f64> {
        let own = gate * experts..(gate + 1) * experts;
        let keep = mask.map(|mask| &mask[own.clone()]).filter(|keep| keep.contains(&true));
        let shares: Vec<f64> = (0..experts)
            .map(|expert| {
                let column = own.start + expert;
                let logit = hidden.iter().enumerate();
                let logit: f64 = logit.map(|(h, v)| v * gates[h * count * experts + column]).sum();
                if keep.is_none_or(|keep| keep[expert]) { logit.exp() } else { 0.0 }
            })
            .collect();
        let total: f64 = shares.iter().sum();
        let mix = |at: usize| shares.iter().zip(&outs).map(|(s, out)| s / total * out[at]).sum();
        (0..outs[0].len()).map(mix).collect()
    };
    (0..TASKS)
        .map(|task| {
            let mut y = match count {
                0 => outs[0].clone(),
                1 => mixture(0),
                _ => mixture(task),
            };
            for &width in &config.tower {
                y = reader.dense(&y, width, true);
            }
            reader.dense(&y, 1, false)[0]
        })
        .collect()
}

#[test]
fn values_and_gradients_of_the_whole_network() {
    for (config, network) in networks() {
        let parameters = uniform(network.parameters, "parameters");
        let (x, dlogits) = (uniform(ROWS * INPUTS, "x"), uniform(ROWS * TASKS, "dlogits"));
        let mask = mask(&network);
        let (logits, mut saved) = saving(&network, &parameters, &x, mask.as_deref());
        let (mut gradient, mut dx) = (vec![f32::NAN; parameters.len()], vec![f32::NAN; x.len()]);
        let down = (dlogits.as_slice(), None);
        network.backward(&parameters, &x, &mut saved, down, &mut gradient, Some(&mut dx));

        let mut alone = vec![f32::NAN; parameters.len()];
        network.backward(&parameters, &x, &mut saved, down, &mut alone, None);
        assert_eq!(alone, gradient);

        let all = |parameters: &[f64], x: &[f64]| -> Vec<f64> {
            let row = |row: usize| {
                let width = network.mask_width();
                let mask = mask.as_ref().map(|mask| &mask[row * width..(row + 1) * width]);
                plain(&config, parameters, &x[row * INPUTS..(row + 1) * INPUTS], mask)
            };
            (0..ROWS).flat_map(row).collect()
        };
        let double =
            |values: &[f32]| -> Vec<f64> { values.iter().map(|&v| f64::from(v)).collect() };
        let (p, at) = (double(&parameters), double(&x));
        for (own, plain) in logits.iter().zip(all(&p, &at)) {
            assert_relative_eq!(f64::from(*own), plain, epsilon = 1e-5, max_relative = 1e-5);
        }
        let loss = |p: &[f64], x: &[f64]| -> f64 {
            all(p, x).iter().zip(&dlogits).map(|(z, d)| z * f64::from(*d)).sum()
        };
        let step = 1e-6;
        for (index, own) in gradient.iter().enumerate() {
            let moved = |by: f64| {
                let mut p = p.clone();
                p[index] += by;
                loss(&p, &at)
            };
            let difference = (moved(step) - moved(-step)) / (2.0 * step);
            assert_relative_eq!(f64::from(*own), difference, epsilon = 2e-5, max_relative = 1e-4);
        }
        for (index, own) in dx.iter().enumerate() {
            let moved = |by: f64| {
                let mut x = at.clone();
                x[index] += by;
                loss(&p, &x)
            };
            let difference = (moved(step) - moved(-step)) / (2.0 * step);
            assert_relative_eq!(f64::from(*own), difference, epsilon = 2e-5, max_relative = 1e-4);
        }
    }
}

#[test]
fn what_reads_the_hidden_layer_adds_to_its_gradient() {
    let (_, network) = &networks()[0];
    let parameters = uniform(network.parameters, "parameters");
    let x = uniform(ROWS * INPUTS, "x");
    let (_, mut saved) = saving(network, &parameters, &x, None);
    let dhidden = uniform(ROWS * network.hidden(), "dhidden");
    let zeros = vec![0.0; ROWS * TASKS];
    let mut run = |down: &[f32]| {
        let (mut gradient, mut dx) = (vec![0.0; parameters.len()], vec![0.0; x.len()]);
        network.backward(
            &parameters,
            &x,
            &mut saved,
            (&zeros, Some(down)),
            &mut gradient,
            Some(&mut dx),
        );
        gradient
    };
    // The bottom's bias gets the sum over rows where the unit is on, and nothing above it anything.
    let gradient = run(&dhidden);
    let hidden = network.hidden_of(&saved, &x);
    let bias = network.bottom.as_ref().unwrap().layers()[0].bias.clone();
    for (unit, own) in gradient[bias.clone()].iter().enumerate() {
        let rows = hidden.iter().zip(&dhidden).skip(unit).step_by(network.hidden());
        let sum: f32 = rows.filter(|(h, _)| **h > 0.0).map(|(_, d)| d).sum();
        assert_relative_eq!(*own, sum, epsilon = 1e-6);
    }
    assert!(gradient[bias.end..].iter().all(|&value| value == 0.0));
}

#[test]
fn one_gate_and_one_gate_per_task_are_the_same_with_one_task() {
    let build = |sharing| {
        let config = NetworkConfig { sharing, tower: vec![3], ..NetworkConfig::default() };
        build(&config, 1)
    };
    let (experts, hidden) = (4, vec![5]);
    let one = build(Sharing::OneGate { experts, hidden: hidden.clone() });
    let each = build(Sharing::MultiGate { experts, hidden });
    let x = uniform(ROWS * INPUTS, "x");
    let run = |network: &Network| {
        let parameters = network.initial(&mut Streams::new(1).stream("weights", &[]));
        let (z, mut saved) = saving(network, &parameters, &x, None);
        let (mut gradient, mut dx) = (vec![0.0; parameters.len()], vec![0.0; x.len()]);
        network.backward(&parameters, &x, &mut saved, (&z, None), &mut gradient, Some(&mut dx));
        assert_eq!(network.logits(&parameters, &x), z);
        (z, gradient, dx)
    };
    assert_eq!(run(&one), run(&each));
    assert!(run(&one).1.iter().any(|&value| value != 0.0));
}

#[test]
fn a_gate_that_drops_all_keeps_all_and_others_share_the_rest() {
    let (_, network) = &networks()[0];
    let parameters = uniform(network.parameters, "parameters");
    let x = uniform(INPUTS, "x");
    let run = |mask: &[bool]| saving(network, &parameters, &x, Some(mask)).0;
    let width = network.mask_width();
    assert_eq!(run(&vec![false; width]), network.logits(&parameters, &x));
    // With one expert left its share is 1, so the gate's weights do not matter.
    let only_first: Vec<bool> = (0..width).map(|at| at % 3 == 0).collect();
    let mut other = parameters.clone();
    let Shared::Experts(own) = &network.shared else { panic!("a mixture of experts") };
    other[own.gates.clone()].iter_mut().for_each(|weight| *weight = -*weight + 0.5);
    let changed = saving(network, &other, &x, Some(&only_first)).0;
    for (own, changed) in run(&only_first).iter().zip(changed) {
        assert_relative_eq!(*own, changed, max_relative = 1e-5);
    }
    assert_ne!(network.logits(&other, &x), network.logits(&parameters, &x));
}
