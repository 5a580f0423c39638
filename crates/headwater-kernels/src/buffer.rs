//! Buffers that are used again: a fresh allocation of some megabytes costs more in page faults than the
//! kernel that fills it.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Most bytes of idle buffers a thread keeps; what exceeds it goes back to the allocator.
const MOST_IDLE_BYTES: usize = 512 << 20;

thread_local! {
    static IDLE: RefCell<Idle> = const { RefCell::new(Idle { sizes: Vec::new(), bytes: 0 }) };
}

struct Idle {
    /// Buffers of each size there is, `sizes[size index]`, each as long as its size.
    sizes: Vec<Vec<Vec<f32>>>,
    bytes: usize,
}

/// Floats from the thread's idle buffers; they return there when dropped.
#[derive(Debug)]
pub struct Buffer {
    /// At least `length`, of one of the sizes of [`size`].
    values: Vec<f32>,
    length: usize,
}

/// Index and value of the smallest size of at least `length`: sizes are eight to the octave, so that an eighth is
/// wasted at most and a buffer is found without a search.
fn size(length: usize) -> (usize, usize) {
    let length = length.max(64);
    let octave = length.ilog2() as usize;
    let step = 1 << (octave - 3);
    let steps = (length - (1 << octave)).div_ceil(step);
    (8 * octave + steps, (1 << octave) + steps * step)
}

impl Buffer {
    /// `length` floats of any value: for results that are written before they are read.
    pub(crate) fn any(length: usize) -> Self {
        let (index, size) = size(length);
        let reused = IDLE.with_borrow_mut(|idle| {
            let reused = idle.sizes.get_mut(index).and_then(Vec::pop);
            idle.bytes -= reused.as_ref().map_or(0, |values| values.len() * size_of::<f32>());
            reused
        });
        Self { values: reused.unwrap_or_else(|| zeros(size)), length }
    }

    /// `length` zeros.
    pub(crate) fn zeros(length: usize) -> Self {
        let mut buffer = Self::any(length);
        buffer.fill(0.0);
        buffer
    }
}

/// `length` zeros for sums that become results.
///
/// Written, not asked of the allocator as zeros: pages that are read before they are written are mapped twice,
/// and the second time interrupts every thread.
pub(crate) fn zeros(length: usize) -> Vec<f32> {
    let mut zeros = Vec::with_capacity(length);
    zeros.resize(length, 0.0);
    zeros
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        let mut own = Self::any(self.length);
        own.copy_from_slice(self);
        own
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        let (index, bytes) = (size(values.len()).0, values.len() * size_of::<f32>());
        // A thread that is ending has no idle list any more.
        let _ = IDLE.try_with(|idle| {
            if let Ok(mut idle) = idle.try_borrow_mut()
                && idle.bytes + bytes <= MOST_IDLE_BYTES
            {
                idle.bytes += bytes;
                if idle.sizes.len() <= index {
                    idle.sizes.resize_with(index + 1, Vec::new);
                }
                idle.sizes[index].push(values);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_used_again_and_zeros_are_zeros() {
        let mut first = Buffer::any(5000);
        first.fill(7.0);
        let at = first.as_ptr();
        drop(first);
        let second = Buffer::zeros(4900);
        assert_eq!((second.as_ptr(), second.len()), (at, 4900));
        assert!(second.iter().all(|v| *v == 0.0));
    }

    #[test]
    fn sizes_are_large_enough_waste_an_eighth_at_most_and_have_an_index_of_their_own() {
        let mut before = (0, 0);
        for length in 0..20_000 {
            let (index, size) = size(length);
            assert!(size >= length && 8 * size <= 9 * length.max(64));
            assert_eq!(super::size(size), (index, size));
            assert!((index, size) == before || (index > before.0 && size > before.1));
            before = (index, size);
        }
    }
}
