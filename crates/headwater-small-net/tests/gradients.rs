//! Every layer from its definition in double precision, and its gradients from finite differences
//! of that.

use headwater_core::{Check, Streams};
use headwater_small_net::{
    Convolution, Initial, Layout, Mlp, SavedConvolution, SavedMlp, SavedSmallNet, SmallNet,
    SmallNetConfig, SmallNetInput,
};
use ndarray::{Array2, ArrayView2};
use proptest::prelude::*;
use rand::RngExt;

/// Numbers in [-1, 1) from a stream.
fn numbers(streams: &Streams, name: &str, shape: (usize, usize)) -> Array2<f32> {
    let mut rng = streams.stream(name, &[]);
    Array2::from_shape_simple_fn(shape, || 2.0 * rng.random::<f32>() - 1.0)
}

/// Parameters of a size at which a ReLU is often on.
fn parameters(streams: &Streams, count: usize) -> Vec<f32> {
    numbers(streams, "parameters", (1, count)).into_raw_vec_and_offset().0
}

fn double(x: ArrayView2<'_, f32>) -> Array2<f64> {
    x.mapv(f64::from)
}

/// Rows through dense layers, from the definition; takes their parameters off the front.
fn dense(
    parameters: &mut &[f64],
    x: &Array2<f64>,
    hidden: &[usize],
    last: Option<usize>,
) -> Array2<f64> {
    let widths = hidden.iter().map(|width| (*width, true));
    let mut x = x.clone();
    for (width, relu) in widths.chain(last.map(|width| (width, false))) {
        let inputs = x.ncols();
        let (weights, rest) = parameters.split_at(inputs * width);
        let (bias, rest) = rest.split_at(width);
        *parameters = rest;
        x = Array2::from_shape_fn((x.nrows(), width), |(row, to)| {
            let sum: f64 =
                (0..inputs).map(|from| x[(row, from)] * weights[from * width + to]).sum();
            let z = sum + bias[to];
            if relu { z.max(0.0) } else { z }
        });
    }
    x
}

/// Images through a convolution, from the definition; takes its parameters off the front.
fn convolved(
    parameters: &mut &[f64],
    images: &Array2<f64>,
    (side, channels, out): (usize, usize, usize),
) -> Array2<f64> {
    let (weights, rest) = parameters.split_at(9 * channels * out);
    let (bias, rest) = rest.split_at(out);
    *parameters = rest;
    let result = side.div_ceil(2);
    Array2::from_shape_fn((images.nrows(), result * result * out), |(image, at)| {
        let (pixel, to) = (at / out, at % out);
        let (y, x) = (pixel / result, pixel % result);
        let mut sum = bias[to];
        for (cell, weights) in weights.chunks(channels * out).enumerate() {
            let (row, column) = (2 * y + cell / 3, 2 * x + cell % 3);
            if (1..=side).contains(&row) && (1..=side).contains(&column) {
                for from in 0..channels {
                    let pixel = ((row - 1) * side + column - 1) * channels + from;
                    sum += images[(image, pixel)] * weights[from * out + to];
                }
            }
        }
        sum.max(0.0)
    })
}

/// Holds `gradient` against differences of `value` along some of its entries.
fn check(gradient: &[f32], value: impl Fn(usize, f64) -> f64) -> Result<(), TestCaseError> {
    let step = 1e-4;
    let mut compared = 0;
    for at in (0..gradient.len()).step_by(1 + gradient.len() / 40) {
        // Along one number the value is linear between kinks, so the slopes on both sides differ
        // where one lies within reach, and there is no derivative to compare with.
        let here = value(at, 0.0);
        let (left, right) = ((here - value(at, -step)) / step, (value(at, step) - here) / step);
        if (left - right).abs() < 1e-6 {
            let own = f64::from(gradient[at]);
            let close = (own - left).abs() < 1e-4 * (1.0 + left.abs());
            prop_assert!(close, "entry {at}: {own}, by differences {left}");
            compared += 1;
        }
    }
    prop_assert!(compared > 0);
    Ok(())
}

fn close(own: ArrayView2<'_, f32>, exact: &Array2<f64>) -> Result<(), TestCaseError> {
    prop_assert_eq!(own.dim(), exact.dim());
    for (own, exact) in own.iter().zip(exact) {
        prop_assert!((f64::from(*own) - exact).abs() < 1e-4, "{own}, exactly {exact}");
    }
    Ok(())
}

fn moved(values: &[f32], at: usize, by: f64) -> Vec<f64> {
    let mut values: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
    values[at] += by;
    values
}

fn weighed(y: &Array2<f64>, dy: &Array2<f32>) -> f64 {
    y.iter().zip(dy).map(|(y, dy)| y * f64::from(*dy)).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn dense_layers(
        inputs in 1..6usize,
        hidden in prop::collection::vec(1..7usize, 0..3),
        outputs in prop::option::of(1..4usize),
        rows in 1..6usize,
        seed: u64,
    ) {
        prop_assume!(!hidden.is_empty() || outputs.is_some());
        let streams = Streams::new(seed);
        let mut layout = Layout::default();
        // It need not lie at the front.
        let before = layout.reserve(3);
        let mlp = Mlp::new(&mut layout, inputs, &hidden, outputs);
        let parameters = parameters(&streams, layout.parameters());
        let x = numbers(&streams, "x", (rows, inputs));
        let dy = numbers(&streams, "dy", (rows, mlp.outputs()));
        let plain = |parameters: &[f64], x: &Array2<f64>| {
            dense(&mut &parameters[before.end..], x, &hidden, outputs)
        };

        let mut saved = SavedMlp::default();
        // Memory of another shape is no hindrance.
        mlp.forward_saving(&parameters, Array2::zeros((rows + 2, inputs)).view(), &mut saved);
        mlp.forward_saving(&parameters, x.view(), &mut saved);
        close(saved.output(), &plain(&moved(&parameters, 0, 0.0), &double(x.view())))?;
        prop_assert_eq!(mlp.forward(&parameters, x.view()), saved.output());
        // Nor is a matrix that lies column by column.
        let turned = x.t().as_standard_layout().into_owned();
        prop_assert_eq!(mlp.forward(&parameters, turned.t()), saved.output());

        let mut gradient = vec![f32::NAN; parameters.len()];
        let mut dx = Array2::from_elem(x.dim(), f32::NAN);
        mlp.backward(&parameters, x.view(), &saved, dy.view(), &mut gradient, Some(dx.view_mut()));
        prop_assert!(gradient[before.clone()].iter().all(|own| own.is_nan()), "not its own");
        let own = &gradient[mlp.range()];
        check(own, |at, by| {
            let moved = moved(&parameters, before.end + at, by);
            weighed(&plain(&moved, &double(x.view())), &dy)
        })?;
        let exact = moved(&parameters, 0, 0.0);
        check(dx.as_slice().unwrap(), |at, by| {
            let x = Array2::from_shape_vec(x.dim(), moved(x.as_slice().unwrap(), at, by)).unwrap();
            weighed(&plain(&exact, &x), &dy)
        })?;
    }

    #[test]
    fn a_convolution(
        shape in (1..8usize, 1..4usize, 1..5usize), images in 1..4usize, seed: u64,
    ) {
        let (side, channels, out) = shape;
        let streams = Streams::new(seed);
        let mut layout = Layout::default();
        let convolution = Convolution::new(&mut layout, side, channels, out);
        let parameters = parameters(&streams, layout.parameters());
        let x = numbers(&streams, "x", (images, convolution.inputs()));
        let dy = numbers(&streams, "dy", (images, convolution.outputs()));
        let plain = |parameters: &[f64], x: &Array2<f64>| convolved(&mut &*parameters, x, shape);

        let mut saved = SavedConvolution::default();
        // Memory used for more images, or for others, is no hindrance.
        let more = numbers(&streams, "more", (images + 1, convolution.inputs()));
        convolution.forward_saving(&parameters, more.view(), &mut saved);
        let other = Convolution::new(&mut Layout::default(), side + 1, channels, out);
        let others = numbers(&streams, "others", (images + 1, other.inputs()));
        if seed % 2 == 0 {
            other.forward_saving(&parameters, others.view(), &mut saved);
        }
        convolution.forward_saving(&parameters, x.view(), &mut saved);
        let exact = moved(&parameters, 0, 0.0);
        close(saved.output(), &plain(&exact, &double(x.view())))?;
        prop_assert_eq!(convolution.forward(&parameters, x.view()), saved.output());

        let mut gradient = vec![f32::NAN; parameters.len()];
        let mut dx = Array2::from_elem(x.dim(), f32::NAN);
        let wanted = Some(dx.view_mut());
        convolution.backward(&parameters, &mut saved, dy.view(), &mut gradient, wanted);
        check(&gradient, |at, by| {
            weighed(&plain(&moved(&parameters, at, by), &double(x.view())), &dy)
        })?;
        check(dx.as_slice().unwrap(), |at, by| {
            let x = Array2::from_shape_vec(x.dim(), moved(x.as_slice().unwrap(), at, by)).unwrap();
            weighed(&plain(&exact, &x), &dy)
        })?;
    }

    #[test]
    fn whole_networks(
        images: bool,
        size in 1..8usize,
        convolutions in prop::collection::vec(1..5usize, 0..4),
        hidden in prop::collection::vec(1..6usize, 0..3),
        outputs in 1..4usize,
        rows in 1..5usize,
        seed: u64,
    ) {
        let input =
            if images { SmallNetInput::Image(size) } else { SmallNetInput::Features(size) };
        let convolutions = if images { convolutions } else { vec![] };
        let streams = Streams::new(seed);
        let (channels, hidden_widths) = (convolutions.clone(), hidden.clone());
        let net: SmallNet =
            SmallNetConfig { input, convolutions, hidden, outputs }.check().unwrap();
        let parameters = parameters(&streams, net.parameters());
        let x = numbers(&streams, "x", (rows, net.inputs()));
        let dy = numbers(&streams, "dy", (rows, outputs));
        let plain = |parameters: &[f64]| {
            let (mut x, mut side, mut from, mut rest) = (double(x.view()), size, 1, parameters);
            for &to in &channels {
                x = convolved(&mut rest, &x, (side, from, to));
                (side, from) = (side.div_ceil(2), to);
            }
            let y = dense(&mut rest, &x, &hidden_widths, Some(outputs));
            assert!(rest.is_empty(), "every parameter is one of a layer");
            y
        };

        let mut saved = SavedSmallNet::default();
        net.forward_saving(&parameters, x.view(), &mut saved);
        close(saved.output(), &plain(&moved(&parameters, 0, 0.0)))?;
        prop_assert_eq!(net.forward(&parameters, x.view()), saved.output());
        let mut gradient = vec![f32::NAN; parameters.len()];
        net.backward(&parameters, x.view(), &mut saved, dy.view(), &mut gradient);
        check(&gradient, |at, by| weighed(&plain(&moved(&parameters, at, by)), &dy))?;

        // The last layer over the representation is the network.
        let seen = net.representation(&parameters, x.view());
        let width = net.representation_width();
        prop_assert_eq!(seen.dim(), (rows, width));
        let mut layout = Layout::default();
        layout.reserve(net.parameters() - (width + 1) * outputs);
        let last = Mlp::new(&mut layout, width, &[], Some(outputs));
        prop_assert_eq!(last.forward(&parameters, seen.view()), saved.output());
        prop_assert_eq!(last.layers()[0].bias.clone(), net.output_bias());
    }
}

#[test]
fn more_rows_than_are_worked_off_together_are_the_same_bits() {
    let streams = Streams::new(1);
    let convolutions = vec![3, 2];
    let input = SmallNetInput::Image(5);
    let net = SmallNetConfig { input, convolutions, hidden: vec![4], outputs: 2 }.check().unwrap();
    let parameters = net.initial(Initial::default(), &mut streams.stream("weights", &[]));
    let x = numbers(&streams, "x", (600, 25));
    let mut saved = SavedSmallNet::default();
    net.forward_saving(&parameters, x.view(), &mut saved);
    assert_eq!(net.forward(&parameters, x.view()), saved.output());
}
