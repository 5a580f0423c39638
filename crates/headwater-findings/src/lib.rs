//! Experiments and the claims that they test, composed from the crates below.
//!
//! [`experiments`] has one readable file each: arms, run, measures. [`claims`] says for each
//! finding what its source claims, which comparisons of which arms carry that, and what its page
//! shows. Nothing is decided at run time that is not in the cells' configs, and no data set is read
//! but through [`headwater_data`].
#![forbid(unsafe_code)]

pub mod claims;
mod device;
pub mod experiments;
#[cfg(test)]
mod testing;
mod training;

pub use claims::all;
pub use device::devices;
