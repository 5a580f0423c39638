//! Progress on standard error: one line per cell.

use std::sync::Mutex;

use headwater_protocol::{Announcement, Event, Happening};

/// Shows what happens to cells.
pub(crate) struct Progress {
    done: Mutex<usize>,
}

impl Progress {
    pub(crate) fn start() -> Self {
        Self { done: Mutex::new(0) }
    }
    pub(crate) fn announce(&self, _announced: &[Announcement]) {}
    pub(crate) fn show(&self, event: &Event<'_>) {
        let Event { finding, arm, seed, what } = event;
        if let Happening::Finished { seconds } = what {
            *self.done.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += 1;
            eprintln!("{finding}/{arm} seed {seed}: finished in {seconds:.1} s");
        }
    }
    pub(crate) fn finish(&self) {}
}
