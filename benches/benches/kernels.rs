//! Kernels by themselves.
#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};

fn products(_criterion: &mut Criterion) {}

criterion_group!(benches, products);
criterion_main!(benches);
