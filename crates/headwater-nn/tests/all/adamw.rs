//! AdamW against a sequence computed outside this project.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use headwater_core::Check;
use headwater_nn::{AdamW, AdamWConfig, ModuleGradients};

#[derive(Module, Debug)]
struct Pair {
    a: Param<Tensor<1>>,
    b: Param<Tensor<2>>,
}

/// Loss sum(a^2) + 3 sum(b): gradients 2a and 3. Values from a double-precision computation of
/// m, v, their bias corrections and p <- p (1 - lr wd) - lr m^ / (sqrt(v^) + eps), with all gradients
/// scaled by 1 / max(1, norm / max_norm) (PyTorch's rule, 1e-6 added to the norm).
#[test]
fn three_steps_of_the_reference() {
    let device = Device::flex().autodiff();
    let mut pair = Pair {
        a: Param::from_data([1.0f32, -2.0], &device),
        b: Param::from_data([[0.5f32], [4.0]], &device),
    };
    let config = AdamWConfig {
        learning_rate: 0.1,
        weight_decay: 0.05,
        max_grad_norm: Some(2.0),
        ..AdamWConfig::default()
    };
    let mut optimizer = AdamW::new(config.check().unwrap());
    for row in EXPECTED {
        let loss = pair.a.val().square().sum() + pair.b.val().sum().mul_scalar(3.0);
        let gradients = ModuleGradients::of(&loss, &pair);
        let norm = optimizer.step(&mut pair, gradients, 1.0).unwrap();
        let a: Vec<f32> = pair.a.val().try_into_vec_as().unwrap();
        let b: Vec<f32> = pair.b.val().try_into_vec_as().unwrap();
        for (have, want) in [norm as f32, a[0], a[1], b[0], b[1]].iter().zip(row) {
            assert!((f64::from(*have) - want).abs() < 2e-6, "{have} instead of {want}");
        }
    }
}

const EXPECTED: [[f64; 5]; 3] = [
    [6.164414003, 0.895000002, -1.890000001, 0.397500001, 3.880000001],
    [5.957558227, 0.790798519, -1.780614774, 0.295438113, 3.760525613],
    [5.760538611, 0.687651396, -1.671899418, 0.193763982, 3.641526044],
];
