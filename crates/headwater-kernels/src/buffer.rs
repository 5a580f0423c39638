//! Buffers that are used again: a fresh allocation of some megabytes costs more in page faults than the
//! kernel that fills it.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Most bytes of idle buffers a thread keeps; what exceeds it goes back to the allocator.
const MOST_IDLE_BYTES: usize = 512 << 20;

thread_local! {
    static IDLE: RefCell<Idle> = const { RefCell::new(Idle { buffers: Vec::new(), bytes: 0 }) };
}

struct Idle {
    buffers: Vec<Vec<f32>>,
    bytes: usize,
}

/// Floats from the thread's idle buffers; they return there when dropped.
#[derive(Debug)]
pub struct Buffer(Vec<f32>);

impl Buffer {
    /// `length` floats of any value: for results that are written before they are read.
    pub(crate) fn any(length: usize) -> Self {
        let reused = IDLE.with_borrow_mut(|idle| {
            // The smallest that is large enough, and not so large that it would be wasted.
            let fitting = idle.buffers.iter().enumerate().filter(|(_, buffer)| {
                buffer.capacity() >= length && buffer.capacity() <= 2 * length + 1024
            });
            let best = fitting.min_by_key(|(_, buffer)| buffer.capacity()).map(|(at, _)| at);
            best.map(|at| {
                let buffer = idle.buffers.swap_remove(at);
                idle.bytes -= buffer.capacity() * size_of::<f32>();
                buffer
            })
        });
        let mut buffer = reused.unwrap_or_default();
        if buffer.len() < length {
            buffer.resize(length, 0.0);
        } else {
            buffer.truncate(length);
        }
        Self(buffer)
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

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        let bytes = buffer.capacity() * size_of::<f32>();
        // A thread that is ending has no idle list any more.
        let _ = IDLE.try_with(|idle| {
            if let Ok(mut idle) = idle.try_borrow_mut()
                && idle.bytes + bytes <= MOST_IDLE_BYTES
                && bytes > 0
            {
                idle.bytes += bytes;
                idle.buffers.push(buffer);
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
        let second = Buffer::zeros(4000);
        assert_eq!(second.as_ptr(), at);
        assert!(second.iter().all(|v| *v == 0.0));
    }
}
