//! How far one finding is.

use std::collections::HashMap;
use std::time::Instant;

use headwater_protocol::{Announcement, CellEvent, Preset};

use super::estimate::{Work, expected};

/// A finding while it runs.
pub(super) struct Track {
    pub(super) finding: String,
    pub(super) cells: usize,
    /// Cells that have ended, those included whose record was there.
    pub(super) done: usize,
    /// Its verdict was shown.
    pub(super) is_judged: bool,
    /// By arm: cells that have not begun, and what one is expected to take in seconds.
    waiting: HashMap<String, (usize, f64)>,
    running: Vec<Running>,
    /// Expected for the cells that were measured, and what they took.
    measured: (f64, f64),
}

struct Running {
    arm: String,
    seed: u64,
    since: Instant,
    expected: f64,
}

impl Track {
    pub(super) fn new(announced: &Announcement, preset: Preset) -> Self {
        let mut waiting: HashMap<String, (usize, f64)> = HashMap::new();
        for cell in announced.cells.iter().filter(|cell| !cell.is_there) {
            let seconds = expected(&announced.finding, cell, preset);
            waiting.entry(cell.arm.to_string()).or_insert((0, seconds)).0 += 1;
        }
        Self {
            finding: announced.finding.clone(),
            cells: announced.cells.len(),
            done: announced.cells.iter().filter(|cell| cell.is_there).count(),
            is_judged: false,
            waiting,
            running: Vec::new(),
            measured: (0.0, 0.0),
        }
    }

    /// Takes note of what happened to a cell.
    pub(super) fn note(&mut self, arm: &str, seed: u64, what: &CellEvent) {
        match what {
            CellEvent::Reused | CellEvent::Discarded { .. } => {}
            CellEvent::Started => {
                let expected = self.begin(arm);
                let (arm, since) = (arm.to_owned(), Instant::now());
                self.running.push(Running { arm, seed, since, expected });
            }
            CellEvent::Skipped { .. } => {
                self.begin(arm);
                self.done += 1;
            }
            CellEvent::Finished { .. } | CellEvent::Failed { .. } => {
                let at = self.running.iter().position(|r| r.arm == arm && r.seed == seed);
                let expected = at.map_or(0.0, |at| self.running.remove(at).expected);
                if let CellEvent::Finished { seconds } = what {
                    self.measured.0 += expected;
                    self.measured.1 += seconds;
                }
                self.done += 1;
            }
        }
    }

    /// Takes a cell from those that wait, and tells what it is expected to take.
    fn begin(&mut self, arm: &str) -> f64 {
        let Some((count, expected)) = self.waiting.get_mut(arm) else { return 0.0 };
        *count = count.saturating_sub(1);
        *expected
    }

    pub(super) fn work(&self) -> Work {
        let (expected, took) = self.measured;
        let mut work = Work { expected, took, ..Work::default() };
        let waiting = self.waiting.values().filter(|(count, _)| *count > 0);
        let left = |running: &Running| {
            (1, (running.expected - running.since.elapsed().as_secs_f64()).max(0.0))
        };
        for (count, seconds) in waiting.copied().chain(self.running.iter().map(left)) {
            work.ahead += count as f64 * seconds;
            work.longest = work.longest.max(seconds);
        }
        work
    }

    pub(super) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// The cells that run now, e.g. `brier seed 3, binary seed 4`.
    pub(super) fn doing(&self) -> String {
        let cells = self.running.iter().map(|cell| format!("{} seed {}", cell.arm, cell.seed));
        cells.collect::<Vec<_>>().join(", ")
    }

    pub(super) fn running(&self) -> usize {
        self.running.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::tests::announced;

    #[test]
    fn a_cell_is_ahead_until_it_has_ended_however_it_ends() {
        let mut track = Track::new(&announced("cascade", 5, 1), Preset::Quick);
        let ahead = |track: &Track| (track.work().ahead / 0.58).round();
        let reason = || "why".to_owned();
        assert_eq!((track.done, ahead(&track)), (1, 4.0));
        track.note("arm", 0, &CellEvent::Reused);
        assert_eq!((track.done, ahead(&track)), (1, 4.0), "it was counted when announced");
        track.note("arm", 1, &CellEvent::Started);
        track.note("arm", 2, &CellEvent::Started);
        assert_eq!((track.running(), track.doing().as_str()), (2, "arm seed 1, arm seed 2"));
        track.note("arm", 1, &CellEvent::Finished { seconds: 3.0 });
        track.note("arm", 2, &CellEvent::Failed { reason: reason() });
        track.note("arm", 3, &CellEvent::Skipped { reason: reason() });
        assert_eq!((track.done, ahead(&track), track.is_running()), (4, 1.0, false));
        let Work { expected, took, longest, .. } = track.work();
        assert_eq!(
            (expected, took, longest),
            (0.58, 3.0, 0.58),
            "only a whole cell is a measurement"
        );
    }
}
