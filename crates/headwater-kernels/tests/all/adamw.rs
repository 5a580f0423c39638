//! AdamW against plain double-precision code, also where it is shared out over threads.

use headwater_kernels::{AdamWStep, InstructionSet, adamw, with_instruction_set, with_threads};

#[test]
fn a_step_is_that_of_the_formula_under_every_instruction_set_and_number_of_threads() {
    const COUNT: usize = 50_003;
    let wave = |scale: f32, phase: f32| -> Vec<f32> {
        (0..COUNT).map(|at| scale * (at as f32 * 0.7 + phase).sin()).collect()
    };
    let (values, gradients) = (wave(1.0, 0.0), wave(0.5, 1.0));
    let (first, second) =
        (wave(0.1, 2.0), wave(0.1, 3.0).iter().map(|v| v * v).collect::<Vec<_>>());
    let step = AdamWStep {
        clip: 0.5,
        beta_1: [0.9, 0.1],
        beta_2: [0.999, 0.001],
        keep: 0.99,
        rate: 0.01,
        root_correction: 0.3,
        epsilon: 1e-8,
    };
    for set in [InstructionSet::Detected, InstructionSet::Avx2, InstructionSet::Scalar] {
        let run = |threads: usize| {
            let (mut p, mut m, mut v) = (values.clone(), first.clone(), second.clone());
            with_instruction_set(set, || {
                with_threads(threads, || adamw(step, &mut p, &gradients, &mut m, &mut v));
            });
            (p, m, v)
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(3));
        for at in 0..COUNT {
            let g = 0.5 * f64::from(gradients[at]);
            let m = 0.9 * f64::from(first[at]) + 0.1 * g;
            let v = 0.999 * f64::from(second[at]) + 0.001 * g * g;
            let p = 0.99 * f64::from(values[at]) - 0.01 * m / (v.sqrt() / 0.3 + 1e-8);
            for (have, want) in [(one.0[at], p), (one.1[at], m), (one.2[at], v)] {
                assert!(
                    (f64::from(have) - want).abs() < 1e-5 * want.abs().max(0.1),
                    "{have} {want}"
                );
            }
        }
    }
}
