//! Dense layers.

use std::ops::Range;

use headwater_core::StreamRng;
use headwater_kernels::{Activation, DenseLayer, mlp, mlp_backward, mlp_saving};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::layout::{Initial, Layout};
use crate::rows::{Rows, row_major, row_major_mut};

/// Where a dense layer `y = f(x W + b)` lies in a vector of parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dense {
    /// W, inputs x outputs, row by row.
    pub weights: Range<usize>,
    /// b, one for each output.
    pub bias: Range<usize>,
    /// f.
    pub activation: Activation,
}

impl Dense {
    /// Numbers it takes for each row.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.weights.len() / self.bias.len()
    }

    /// Numbers it gives for each row.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }
}

/// Dense layers, the result of one the input of the next: where they lie in a vector of parameters,
/// weights and bias of the first, then of the next. It holds no weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mlp {
    /// At least one.
    layers: Vec<Dense>,
}

/// What [`Mlp::backward`] needs of [`Mlp::forward_saving`], and the result. Its memory is used
/// again.
#[derive(Debug, Clone, Default)]
pub struct SavedMlp {
    output: Rows,
    layers: Option<headwater_kernels::MlpSaved>,
}

impl SavedMlp {
    /// The result, rows x outputs.
    #[must_use]
    pub fn output(&self) -> ArrayView2<'_, f32> {
        self.output.view()
    }
}

impl Mlp {
    /// ReLU layers of the widths `hidden`, then, if `outputs` is given, a layer without activation,
    /// laid out one after another.
    ///
    /// # Panics
    /// Without a layer, or with a width of 0.
    #[must_use]
    pub fn new(
        layout: &mut Layout,
        inputs: usize,
        hidden: &[usize],
        outputs: Option<usize>,
    ) -> Self {
        let relu = hidden.iter().map(|width| (*width, Activation::Relu));
        let mut below = inputs;
        let layer = |(width, activation)| {
            assert!(
                below > 0 && width > 0,
                "a layer of {below} inputs and {width} outputs: allowed are 1 or more of both"
            );
            let weights = layout.reserve(below * width);
            below = width;
            Dense { weights, bias: layout.reserve(width), activation }
        };
        let layers: Vec<Dense> =
            relu.chain(outputs.map(|width| (width, Activation::Identity))).map(layer).collect();
        assert!(!layers.is_empty(), "0 layers: allowed is at least one");
        Self { layers }
    }

    /// The layers, from the input up; at least one.
    #[must_use]
    pub fn layers(&self) -> &[Dense] {
        &self.layers
    }

    /// Numbers it takes for each row.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.layers[0].inputs()
    }

    /// Numbers it gives for each row.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].outputs()
    }

    /// The layers below the last, if there are any.
    pub(crate) fn hidden(&self) -> Option<Self> {
        let below = &self.layers[..self.layers.len() - 1];
        (!below.is_empty()).then(|| Self { layers: below.to_vec() })
    }

    /// Where all its layers lie.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.layers[0].weights.start..self.layers[self.layers.len() - 1].bias.end
    }

    /// Draws its weights, layer by layer in order, and sets biases to 0.
    ///
    /// # Panics
    /// When `parameters` do not reach as far as the layout.
    pub fn initialise(&self, parameters: &mut [f32], initial: Initial, rng: &mut StreamRng) {
        for layer in &self.layers {
            let gain = if layer.activation == Activation::Relu { 2.0 } else { initial.linear_gain };
            let variance = gain / layer.inputs() as f64;
            initial.fill(&mut parameters[layer.weights.clone()], variance, rng);
            parameters[layer.bias.clone()].fill(0.0);
        }
    }

    /// The result, rows x outputs, for `x`, rows x inputs.
    ///
    /// # Panics
    /// When shapes do not fit.
    #[must_use]
    pub fn forward(&self, parameters: &[f32], x: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut out = Array2::zeros((x.nrows(), self.outputs()));
        let x = row_major("x", x, (None, self.inputs()));
        let rows = out.as_slice_mut().expect("a fresh array lies row by row");
        mlp(&self.borrowed(parameters), &x, rows);
        out
    }

    /// [`Mlp::forward`] into `saved`, with what [`Mlp::backward`] needs.
    ///
    /// # Panics
    /// As [`Mlp::forward`].
    pub fn forward_saving(&self, parameters: &[f32], x: ArrayView2<'_, f32>, saved: &mut SavedMlp) {
        let out = saved.output.resize(x.nrows(), self.outputs());
        let x = row_major("x", x, (None, self.inputs()));
        // What was saved before goes back to the pool that the next buffers are taken from.
        saved.layers = None;
        saved.layers = Some(mlp_saving(&self.borrowed(parameters), &x, out));
    }

    /// Writes the gradient of its parameters to their places in `gradient`, which is laid out as
    /// `parameters`, given that of the result, `dy`, rows x outputs; that of `x` to `dx`, rows x
    /// inputs and row by row in memory, if it is wanted. `parameters` and `x` are those of the
    /// forward pass.
    ///
    /// # Panics
    /// When shapes do not fit, and before [`Mlp::forward_saving`].
    pub fn backward(
        &self,
        parameters: &[f32],
        x: ArrayView2<'_, f32>,
        saved: &SavedMlp,
        dy: ArrayView2<'_, f32>,
        gradient: &mut [f32],
        dx: Option<ArrayViewMut2<'_, f32>>,
    ) {
        let rows = x.nrows();
        let dy = row_major("dy", dy, (Some(rows), self.outputs()));
        let dx = dx.map(|dx| row_major_mut("dx", dx, (rows, self.inputs())));
        let x = row_major("x", x, (None, self.inputs()));
        self.backward_of(parameters, &x, saved, &dy, gradient, dx);
    }

    /// [`Mlp::backward`] on slices.
    pub(crate) fn backward_of(
        &self,
        parameters: &[f32],
        x: &[f32],
        saved: &SavedMlp,
        dy: &[f32],
        gradient: &mut [f32],
        dx: Option<&mut [f32]>,
    ) {
        let layers = saved.layers.as_ref().expect("a forward pass before the backward pass");
        let sums = &mut gradient[self.range()];
        mlp_backward(&self.borrowed(parameters), x, layers, dy, dx, sums);
    }

    fn borrowed<'a>(&self, parameters: &'a [f32]) -> Vec<DenseLayer<'a>> {
        let layer = |layer: &Dense| DenseLayer {
            weights: &parameters[layer.weights.clone()],
            bias: &parameters[layer.bias.clone()],
            activation: layer.activation,
        };
        self.layers.iter().map(layer).collect()
    }
}
