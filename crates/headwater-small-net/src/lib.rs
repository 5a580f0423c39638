//! Small networks that train at tens of microseconds a step without a tensor library: dense layers,
//! convolutions by patches and AdamW over the slice kernels, with all parameters in one vector.
//!
//! - [`SmallNetConfig`]: convolutions, then dense layers, checked once into a [`SmallNet`].
//! - [`Mlp`] and [`Convolution`], laid out by a [`Layout`]: the parts, for networks that are put
//!   together by hand.
//! - [`Adam`]: one step of it updates the whole vector.
//!
//! Networks hold no weights: these are a slice of the caller's, and so is the gradient, which a
//! backward pass writes in the same layout. Matrices are views of `ndarray`, rows x features; what
//! a forward pass saves is memory of the caller's that is used again from step to step.
//!
//! Invariants: no tensor library, no file or network access, no clock. What is random draws from a
//! stream handed in, in the order of the layers. Results are a function of the input's bits, the
//! instruction set and the number of threads (`headwater-kernels`).
//!
//! ```
//! use headwater_core::{Check, Streams};
//! use headwater_small_net::{Adam, Initial, SavedSmallNet, SmallNetConfig, SmallNetInput};
//! use ndarray::array;
//!
//! // Exclusive or, as the sign of one output.
//! let x = array![[0.0_f32, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]];
//! let y = array![[-1.0_f32], [1.0], [1.0], [-1.0]];
//! let config = SmallNetConfig {
//!     input: SmallNetInput::Features(2),
//!     convolutions: vec![],
//!     hidden: vec![16],
//!     outputs: 1,
//! };
//! let net = config.check()?;
//! let mut weights = net.initial(Initial::default(), &mut Streams::new(1).stream("weights", &[]));
//! let (mut gradient, mut saved) = (vec![0.0; net.parameters()], SavedSmallNet::default());
//! let mut adam = Adam::default();
//! for _ in 0..300 {
//!     net.forward_saving(&weights, x.view(), &mut saved);
//!     let slopes = (&saved.output() - &y) / 2.0;
//!     net.backward(&weights, x.view(), &mut saved, slopes.view(), &mut gradient);
//!     adam.step(0.01, &mut weights, &gradient);
//! }
//! let error = (net.forward(&weights, x.view()) - y).mapv(f32::abs);
//! assert!(error.iter().all(|error| *error < 0.1), "{error}");
//! # Ok::<(), headwater_core::ConfigError>(())
//! ```
#![forbid(unsafe_code)]

mod adam;
mod convolution;
mod layout;
mod mlp;
mod network;
mod rows;

pub use adam::{Adam, AdamConfig, AdamSettings, Diverged};
pub use convolution::{Convolution, SavedConvolution};
pub use layout::{Initial, Layout, Precision};
pub use mlp::{Dense, Mlp, SavedMlp};
pub use network::{SavedSmallNet, SmallNet, SmallNetConfig, SmallNetInput};
