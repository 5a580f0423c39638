//! A network and its training against numbers from plain Python in double precision: loops over the
//! definitions of convolution, layers and AdamW, with gradients by complex steps.

use approx::assert_abs_diff_eq;
use headwater_core::Check;
use headwater_small_net::{Adam, AdamConfig, SavedSmallNet, SmallNetConfig, SmallNetInput};
use ndarray::{Array2, array};

fn close<'a>(own: impl IntoIterator<Item = &'a f32>, expected: &[f64], epsilon: f64) {
    let own: Vec<f64> = own.into_iter().map(|own| f64::from(*own)).collect();
    assert_abs_diff_eq!(own.as_slice(), expected, epsilon = epsilon);
}

#[test]
fn a_convolutional_network_and_five_steps_of_adamw() {
    let config = SmallNetConfig {
        input: SmallNetInput::Image(4),
        convolutions: vec![2, 3],
        hidden: vec![3],
        outputs: 2,
    };
    let net = config.check().unwrap();
    assert_eq!(net.parameters(), 97);
    let mut weights: Vec<f32> =
        (1..=97).map(|at| (0.5 * (1.7 * f64::from(at)).sin()) as f32).collect();
    let x = Array2::from_shape_fn((3, 16), |(row, at)| (0.9 * (16 * row + at) as f64).cos() as f32);
    let targets = array![[1.0_f32, -1.0], [0.5, 0.25], [-0.75, 2.0]];
    close(
        &net.forward(&weights, x.view()),
        &[
            -0.061_990_153,
            0.472_743_51,
            -0.011_051_857,
            0.335_770_552,
            -0.005_104_549,
            0.321_840_951,
        ],
        2e-6,
    );

    let mut gradient = vec![f32::NAN; 97];
    let mut saved = SavedSmallNet::default();
    let adamw = AdamConfig { weight_decay: 0.1, ..AdamConfig::default() };
    let mut adam = Adam::new(adamw.check().unwrap());
    let entries: [usize; 9] = [0, 17, 19, 40, 76, 79, 90, 92, 94];
    for step in 0..5 {
        net.forward_saving(&weights, x.view(), &mut saved);
        // Of half the squared errors.
        let slopes = &saved.output() - &targets;
        net.backward(&weights, x.view(), &mut saved, slopes.view(), &mut gradient);
        if step == 0 {
            let expected = [
                -0.086_693_217,
                -0.371_973_2,
                0.207_916_856,
                0.0,
                0.402_426_611,
                -0.497_252_179,
                0.043_422_948,
                0.0,
                -0.542_373_779,
            ];
            close(entries.iter().map(|at| &gradient[*at]), &expected, 2e-6);
            let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            assert_abs_diff_eq!(norm, 2.282_513_648_016, epsilon = 1e-5);
        }
        adam.clipped_step(0.02, Some(1.0), &mut weights, &gradient).unwrap();
    }
    close(
        &net.forward(&weights, x.view()),
        &[0.134_233_144, 0.420_738_107, 0.126_548_632, 0.385_574_439, 0.096_405_117, 0.435_259_339],
        2e-6,
    );
    let expected = [
        0.586_924_744,
        -0.307_196_806,
        0.237_178_163,
        0.273_333_877,
        -0.456_670_782,
        -0.292_741_492,
        -0.438_584_418,
        0.421_905_615,
        -0.379_095_627,
    ];
    close(entries.iter().map(|at| &weights[*at]), &expected, 5e-6);
}
