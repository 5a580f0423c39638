//! Trains a network to tell a point in a ring from one outside it, and says how many it gets right
//! on points that it has not seen: `cargo run -p headwater-small-net --example rings`.
#![allow(clippy::print_stdout)]

use headwater_core::{Check, ConfigError, StreamRng, Streams};
use headwater_small_net::{Adam, Initial, SavedSmallNet, SmallNetConfig, SmallNetInput};
use ndarray::{Array2, Axis};
use rand::RngExt;

/// Points of a square, points x 2, and whether each is in the ring (1 or 0), points x 1.
fn points(count: usize, rng: &mut StreamRng) -> (Array2<f32>, Array2<f32>) {
    let x = Array2::from_shape_simple_fn((count, 2), || 4.0 * rng.random::<f32>() - 2.0);
    let radius = x.mapv(|x| x * x).sum_axis(Axis(1)).mapv(f32::sqrt);
    let inside = radius.mapv(|radius| f32::from((0.8..1.6).contains(&radius)));
    (x, inside.insert_axis(Axis(1)))
}

fn main() -> Result<(), ConfigError> {
    let config = SmallNetConfig {
        input: SmallNetInput::Features(2),
        convolutions: Vec::new(),
        hidden: vec![32, 32],
        outputs: 1,
    };
    let net = config.check()?;
    let streams = Streams::new(1);
    let mut weights = net.initial(Initial::default(), &mut streams.stream("weights", &[]));
    let mut gradient = vec![0.0; net.parameters()];
    let (mut adam, mut saved) = (Adam::default(), SavedSmallNet::default());
    let mut rng = streams.stream("points", &[]);
    for step in 0..=2000 {
        let (x, inside) = points(128, &mut rng);
        net.forward_saving(&weights, x.view(), &mut saved);
        // The slope of the mean log loss in the logits.
        let slopes = (saved.output().mapv(|z| 1.0 / (1.0 + (-z).exp())) - inside) / 128.0;
        net.backward(&weights, x.view(), &mut saved, slopes.view(), &mut gradient);
        adam.step(3e-3, &mut weights, &gradient);
        if step % 500 == 0 {
            let (x, inside) = points(2000, &mut streams.stream("unseen points", &[]));
            let logits = net.forward(&weights, x.view());
            let pairs = logits.iter().zip(&inside);
            let right = pairs.filter(|(z, inside)| (**z > 0.0) == (**inside > 0.5)).count();
            println!("step {step}: {:.1}% right", 100.0 * right as f64 / 2000.0);
        }
    }
    Ok(())
}
