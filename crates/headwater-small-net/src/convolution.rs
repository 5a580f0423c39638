//! A convolution as a dense layer over patches.

use headwater_core::StreamRng;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::layout::{Initial, Layout};
use crate::mlp::{Mlp, SavedMlp};
use crate::rows::{Rows, row_major, row_major_mut};

/// Edge of the kernel, and how far apart it is placed.
const KERNEL: usize = 3;
const STRIDE: usize = 2;

/// A convolution of square images with a 3x3 kernel, stride 2 and a ReLU, its centre on every
/// second pixel, zeros around the image. It holds no weights.
///
/// A row is an image, pixel by pixel, the channels of a pixel side by side. The result is an image
/// of half as many pixels along a side, rounded up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Convolution {
    side: usize,
    channels: usize,
    /// One layer, from a patch, row by row, to the channels of a pixel.
    layer: Mlp,
}

/// What [`Convolution::backward`] needs of [`Convolution::forward_saving`], and the result. Its
/// memory is used again.
#[derive(Debug, Clone, Default)]
pub struct SavedConvolution {
    /// Pixels along a side and channels of the images that `patches` are of.
    of: (usize, usize),
    /// Images x pixels of the result x pixels of the kernel x channels.
    patches: Rows,
    layer: SavedMlp,
    /// The gradient of the patches.
    dpatches: Rows,
}

impl SavedConvolution {
    /// The result, images x outputs.
    #[must_use]
    pub fn output(&self) -> ArrayView2<'_, f32> {
        let pixels = self.of.0.div_ceil(STRIDE).pow(2);
        let out = self.layer.output();
        let shape = (out.nrows() / pixels.max(1), pixels * out.ncols());
        out.into_shape_with_order(shape).expect("as many numbers, row by row")
    }
}

impl Convolution {
    /// From images of `side` x `side` pixels of `channels` to ones of `outputs` channels.
    ///
    /// # Panics
    /// When one of the three is 0.
    #[must_use]
    pub fn new(layout: &mut Layout, side: usize, channels: usize, outputs: usize) -> Self {
        assert!(side > 0, "images of 0 pixels: allowed is a side of 1 or more");
        let layer = Mlp::new(layout, KERNEL * KERNEL * channels, &[outputs], None);
        Self { side, channels, layer }
    }

    /// The dense layer over patches.
    #[must_use]
    pub fn layer(&self) -> &Mlp {
        &self.layer
    }

    /// Numbers of an image.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.side * self.side * self.channels
    }

    /// Numbers of an image of the result.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.pixels() * self.layer.outputs()
    }

    /// Pixels along a side of the result.
    #[must_use]
    pub fn output_side(&self) -> usize {
        self.side.div_ceil(STRIDE)
    }

    /// Pixels of the result, and patches of an image.
    fn pixels(&self) -> usize {
        self.output_side().pow(2)
    }

    /// Draws its weights and sets biases to 0.
    ///
    /// # Panics
    /// When `parameters` do not reach as far as the layout.
    pub fn initialise(&self, parameters: &mut [f32], initial: Initial, rng: &mut StreamRng) {
        self.layer.initialise(parameters, initial, rng);
    }

    /// The result, images x [`Convolution::outputs`], for images x [`Convolution::inputs`].
    ///
    /// # Panics
    /// When shapes do not fit.
    #[must_use]
    pub fn forward(&self, parameters: &[f32], x: ArrayView2<'_, f32>) -> Array2<f32> {
        let (images, mut patches) = (x.nrows(), Rows::default());
        let width = self.pixels() * self.layer.inputs();
        let x = row_major("x", x, (None, self.inputs()));
        self.patches(&x, patches.resize(images, width));
        patches.resize(images * self.pixels(), self.layer.inputs());
        let out = self.layer.forward(parameters, patches.view());
        out.into_shape_with_order((images, self.outputs())).expect("as many numbers, row by row")
    }

    /// [`Convolution::forward`] into `saved`, with what [`Convolution::backward`] needs.
    ///
    /// # Panics
    /// As [`Convolution::forward`].
    pub fn forward_saving(
        &self,
        parameters: &[f32],
        x: ArrayView2<'_, f32>,
        saved: &mut SavedConvolution,
    ) {
        let images = x.nrows();
        let x = row_major("x", x, (None, self.inputs()));
        // Of the same images the same places are outside and hold zeros already.
        if saved.of != (self.side, self.channels) {
            saved.patches.clear();
            saved.of = (self.side, self.channels);
        }
        let patches = saved.patches.resize(images * self.pixels(), self.layer.inputs());
        self.patches(&x, patches);
        self.layer.forward_saving(parameters, saved.patches.view(), &mut saved.layer);
    }

    /// Writes the gradient of its parameters to their places in `gradient`, given that of the
    /// result, `dy`, images x outputs; that of the images to `dx`, images x inputs and row by row
    /// in memory, if it is wanted. `parameters` are those of the forward pass.
    ///
    /// # Panics
    /// When shapes do not fit, and before [`Convolution::forward_saving`].
    pub fn backward(
        &self,
        parameters: &[f32],
        saved: &mut SavedConvolution,
        dy: ArrayView2<'_, f32>,
        gradient: &mut [f32],
        dx: Option<ArrayViewMut2<'_, f32>>,
    ) {
        let images = saved.output().nrows();
        let dy = row_major("dy", dy, (Some(images), self.outputs()));
        let dx = dx.map(|dx| row_major_mut("dx", dx, (images, self.inputs())));
        self.backward_of(parameters, saved, &dy, gradient, dx);
    }

    /// [`Convolution::backward`] on slices.
    pub(crate) fn backward_of(
        &self,
        parameters: &[f32],
        saved: &mut SavedConvolution,
        dy: &[f32],
        gradient: &mut [f32],
        dx: Option<&mut [f32]>,
    ) {
        let SavedConvolution { patches, layer, dpatches, .. } = saved;
        let x = patches.values();
        let Some(dx) = dx else {
            self.layer.backward_of(parameters, x, layer, dy, gradient, None);
            return;
        };
        let down = dpatches.resize(x.len() / self.layer.inputs(), self.layer.inputs());
        self.layer.backward_of(parameters, x, layer, dy, gradient, Some(&mut *down));
        self.gather(down, dx);
    }

    /// Calls `each` with (index of a patch's pixel, index of the image's pixel, how many lie side
    /// by side in both) for all that lie in the image.
    fn runs(&self, mut each: impl FnMut(usize, usize, usize)) {
        let result = self.output_side();
        for at in 0..result * result {
            let (top, left) = (at / result * STRIDE, at % result * STRIDE);
            let first = usize::from(left == 0);
            let end = KERNEL.min(self.side + 1 - left);
            for row in 0..KERNEL {
                let y = (top + row).wrapping_sub(1);
                if y < self.side {
                    let to = (at * KERNEL + row) * KERNEL + first;
                    each(to, y * self.side + left + first - 1, end - first);
                }
            }
        }
    }

    /// Writes what lies in the image of every patch of every image.
    fn patches(&self, images: &[f32], patches: &mut [f32]) {
        let channels = self.channels;
        let own = patches.chunks_exact_mut(self.pixels() * self.layer.inputs());
        for (image, patches) in images.chunks_exact(self.inputs()).zip(own) {
            self.runs(|to, from, run| {
                let (to, from, run) = (to * channels, from * channels, run * channels);
                patches[to..to + run].copy_from_slice(&image[from..from + run]);
            });
        }
    }

    /// The transpose of [`Convolution::patches`]: gradients of the images from those of the
    /// patches.
    fn gather(&self, patches: &[f32], images: &mut [f32]) {
        let channels = self.channels;
        images.fill(0.0);
        let own = patches.chunks_exact(self.pixels() * self.layer.inputs());
        for (image, patches) in images.chunks_exact_mut(self.inputs()).zip(own) {
            self.runs(|from, to, run| {
                let (to, from, run) = (to * channels, from * channels, run * channels);
                for (to, from) in image[to..to + run].iter_mut().zip(&patches[from..]) {
                    *to += from;
                }
            });
        }
    }
}
