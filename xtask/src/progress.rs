//! Progress on standard error: the plan, then on a terminal a bar for each finding and otherwise a
//! line for each cell, and each verdict once it is known. It also ends the run on Ctrl-C.

mod block;
mod estimate;
mod plan;
mod screen;
mod track;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use console::Style;
use headwater_protocol::{
    Announcement, CellEvent, DeviceKind, Event, FindingResult, Preset, Verdict, between_writes,
};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::summary::tally;
use crate::words::{counted, roughly, shortened, wrapped};
use screen::Screen;
use track::Track;

/// How often the bars are drawn where something happened, and signals are looked for.
const TICK: Duration = Duration::from_millis(100);

/// How often they are drawn where nothing did: the time left goes on.
const AT_LEAST: Duration = Duration::from_secs(1);

/// Characters of an error or of a verdict's reason on the screen; the report has all of it.
const LONGEST: usize = 240;

/// What is known of a run before it is planned.
pub(crate) struct Setup {
    pub(crate) preset: Preset,
    pub(crate) device: DeviceKind,
    pub(crate) jobs: usize,
    pub(crate) cores: usize,
    /// The run directory.
    pub(crate) out: PathBuf,
    /// The command line that does all this once more.
    pub(crate) command: String,
}

/// Shows what happens in a run, from [`Progress::start`] to [`Progress::finish`].
pub(crate) struct Progress {
    shared: Arc<Shared>,
    ticker: JoinHandle<()>,
}

struct Shared {
    state: Mutex<State>,
    /// Told when the run is over.
    over: Condvar,
    /// The signal that asked for an end; 0 until there is one.
    signal: Arc<AtomicUsize>,
}

struct State {
    setup: Setup,
    screen: Screen,
    /// In the order of the run; empty before it is announced.
    tracks: Vec<Track>,
    is_over: bool,
    /// Something happened that the bars do not show yet.
    is_stale: bool,
    drawn: Instant,
}

impl Progress {
    /// Starts showing, and answering to Ctrl-C: the first one waits for the file that is being
    /// written, the second one for nothing.
    ///
    /// # Errors
    /// When the system does not allow it to handle signals.
    pub(crate) fn start(setup: Setup) -> anyhow::Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        let again = Arc::new(AtomicBool::new(false));
        for which in [SIGINT, SIGTERM] {
            // In this order: at the first signal the flag is not up yet.
            flag::register_conditional_shutdown(which, 128 + which, again.clone())
                .and_then(|_| flag::register(which, again.clone()))
                .and_then(|_| flag::register_usize(which, signal.clone(), which as usize))
                .context("handling Ctrl-C")?;
        }
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                setup,
                screen: Screen::of_stderr(),
                tracks: Vec::new(),
                is_over: false,
                is_stale: false,
                drawn: Instant::now(),
            }),
            over: Condvar::new(),
            signal,
        });
        let watched = shared.clone();
        Ok(Self { shared, ticker: std::thread::spawn(move || watched.tick()) })
    }

    /// Shows the plan.
    pub(crate) fn announce(&self, announced: &[Announcement]) {
        let mut state = self.shared.lock();
        let preset = state.setup.preset;
        state.tracks = announced.iter().map(|finding| Track::new(finding, preset)).collect();
        let lines = plan::lines(announced, &state.tracks, &state.setup);
        state.say(&lines);
    }

    /// Shows what happened.
    pub(crate) fn show(&self, event: &Event<'_>) {
        let mut state = self.shared.lock();
        match event {
            Event::Cell { finding, arm, seed, what } => {
                state.cell(finding, arm.name(), *seed, what)
            }
            Event::Judged(finding) => state.judged(finding),
        }
    }

    /// Takes the bars away, and leaves an empty line before what follows.
    pub(crate) fn finish(self) {
        self.shared.lock().is_over = true;
        self.shared.over.notify_all();
        // A thread that panicked has said so.
        let _ = self.ticker.join();
        self.shared.lock().screen.show(&[String::new()], &[]);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the bars up to date and looks for signals, until the run is over.
    fn tick(&self) {
        let mut state = self.lock();
        while !state.is_over {
            state = self.over.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
            let signal = self.signal.load(Ordering::SeqCst);
            if signal != 0 {
                // Not held while waiting: who writes may have something to show first.
                drop(state);
                self.end(signal);
            }
            if state.is_stale || state.drawn.elapsed() >= AT_LEAST {
                state.say(&[]);
            }
        }
    }

    /// Says how to go on, and ends the program as this signal would have done.
    fn end(&self, signal: usize) -> ! {
        between_writes(|| {
            let mut state = self.lock();
            let [kept, go_on] = state.interrupted();
            let width = state.screen.size().map(|(_, columns)| columns);
            let mut lines = wrapped(&kept, width);
            // Whole, so that it can be copied.
            lines.push(go_on);
            state.screen.show(&lines, &[]);
            std::process::exit(128 + signal as i32)
        })
    }
}

impl State {
    /// Shows lines that stay, and the bars as they are now.
    fn say(&mut self, lines: &[String]) {
        let size = self.screen.size();
        let lines: Vec<String> =
            lines.iter().flat_map(|line| wrapped(line, size.map(|(_, columns)| columns))).collect();
        let block =
            size.map_or_else(Vec::new, |size| block::lines(&self.tracks, &self.left(), size));
        self.screen.show(&lines, &block);
        (self.is_stale, self.drawn) = (false, Instant::now());
    }

    /// Seconds until each finding's last cell ends.
    fn left(&self) -> Vec<f64> {
        let work: Vec<_> = self.tracks.iter().map(Track::work).collect();
        estimate::left(&work, self.setup.jobs)
    }

    fn cell(&mut self, finding: &str, arm: &str, seed: u64, what: &CellEvent) {
        if let Some(track) = self.tracks.iter_mut().find(|track| track.finding == finding) {
            track.note(arm, seed, what);
        }
        self.is_stale = true;
        let cell = format!("{finding}/{arm} seed {seed}");
        let line = match what {
            CellEvent::Reused | CellEvent::Started => return,
            // The bars show it.
            CellEvent::Finished { .. } if self.screen.is_terminal() => return,
            CellEvent::Finished { seconds } => format!("{cell}: {seconds:.1} s"),
            CellEvent::Failed { reason } => {
                format!("{cell}: FAILED, {}", shortened(reason, LONGEST))
            }
            CellEvent::Skipped { reason } => format!("{cell}: skipped, {reason}"),
            CellEvent::Discarded { path, reason } => {
                format!("{cell}: {} is not used, {reason}", path.display())
            }
        };
        let line = if self.screen.is_terminal() { line } else { self.numbered(&line) };
        self.say(&[line]);
    }

    /// The line with how far the run is: for a log, which has no bars.
    fn numbered(&self, line: &str) -> String {
        let cells: usize = self.tracks.iter().map(|track| track.cells).sum();
        if cells == 0 {
            return line.to_owned(); // Before the plan.
        }
        let done: usize = self.tracks.iter().map(|track| track.done).sum();
        let left = self.left().into_iter().fold(0.0, f64::max);
        let left = if done < cells { format!(", ~{} left", roughly(left)) } else { String::new() };
        let digits = cells.to_string().len();
        format!("[{done:>digits$}/{cells}] {line}{left}")
    }

    fn judged(&mut self, finding: &FindingResult) {
        if let Some(track) = self.tracks.iter_mut().find(|track| track.finding == finding.id) {
            track.is_judged = true;
        }
        let word = coloured(finding.verdict, self.screen.has_colours());
        // The word stands in a short line: one with colours can't be broken in the right place.
        let lines = [
            format!("{}: {word}", finding.name()),
            format!("  {}. {}", tally(finding), shortened(&finding.why, LONGEST)),
        ];
        self.say(&lines);
    }

    /// What a run that is ended early leaves, and how to go on.
    fn interrupted(&self) -> [String; 2] {
        let Setup { out, command, .. } = &self.setup;
        let go_on = format!("To go on: {command}");
        if self.tracks.is_empty() {
            return ["Ended before the first cell.".to_owned(), go_on];
        }
        let cells: usize = self.tracks.iter().map(|track| track.cells).sum();
        let done: usize = self.tracks.iter().map(|track| track.done).sum();
        let running: usize = self.tracks.iter().map(Track::running).sum();
        let again = match running {
            0 => String::new(),
            1 => "; the one that was running begins again".to_owned(),
            _ => format!("; the {running} that were running begin again"),
        };
        let kept =
            format!("{done} of {} are done and kept in {}", counted(cells, "cell"), out.display());
        [format!("Ended early: {kept}{again}."), go_on]
    }
}

/// The verdict's word, in its colour where there are colours.
fn coloured(verdict: Verdict, has_colours: bool) -> String {
    let style = Style::new().bold().force_styling(has_colours);
    let style = match verdict {
        Verdict::Reproduced => style.green(),
        Verdict::NotReproduced => style.blue(),
        Verdict::Inconclusive => style.yellow(),
        Verdict::Invalid => style.red(),
    };
    style.apply_to(verdict.name()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_protocol::CellAhead;

    pub(super) fn setup() -> Setup {
        Setup {
            preset: Preset::Quick,
            device: DeviceKind::Flex,
            jobs: 2,
            cores: 4,
            out: "repro/quick".into(),
            command: "cargo xtask repro".to_owned(),
        }
    }

    /// A finding of so many cells of one arm, the first of which are there.
    pub(super) fn announced(finding: &str, cells: usize, there: usize) -> Announcement {
        let cell = |at| CellAhead { arm: "arm".into(), is_there: at < there, seconds: None };
        Announcement {
            finding: finding.to_owned(),
            cells: (0..cells).map(cell).collect(),
            not_run: Vec::new(),
            comparisons: 7,
            omitted: 0,
        }
    }

    fn state(announced: &[Announcement]) -> State {
        let tracks = announced.iter().map(|finding| Track::new(finding, Preset::Quick)).collect();
        State {
            setup: setup(),
            screen: Screen::of_stderr(),
            tracks,
            is_over: false,
            is_stale: false,
            drawn: Instant::now(),
        }
    }

    #[test]
    fn a_line_of_a_log_says_how_far_the_run_is() {
        let mut state = state(&[announced("calibration", 60, 0), announced("cascade", 40, 40)]);
        assert_eq!(state.numbered("x"), "[ 40/100] x, ~50 s left");
        for seed in 0..60 {
            state.tracks[0].note("arm", seed, &CellEvent::Started);
            state.tracks[0].note("arm", seed, &CellEvent::Finished { seconds: 1.0 });
        }
        assert_eq!(state.numbered("x"), "[100/100] x");
    }

    #[test]
    fn who_ends_a_run_is_told_what_is_kept_and_how_to_go_on() {
        let mut early = state(&[]);
        early.setup.command = "cargo xtask repro --out 'my run'".to_owned();
        let go_on = "To go on: cargo xtask repro --out 'my run'";
        assert_eq!(early.interrupted(), ["Ended before the first cell.", go_on]);
        let mut state = state(&[announced("cascade", 40, 3)]);
        let first = |state: &State| state.interrupted()[0].clone();
        let kept = "Ended early: 3 of 40 cells are done and kept in repro/quick";
        assert_eq!(first(&state), format!("{kept}."));
        state.tracks[0].note("arm", 5, &CellEvent::Started);
        assert_eq!(first(&state), format!("{kept}; the one that was running begins again."));
        state.tracks[0].note("arm", 6, &CellEvent::Started);
        assert_eq!(first(&state), format!("{kept}; the 2 that were running begin again."));
    }

    #[test]
    fn a_verdict_has_a_colour_only_where_there_are_colours() {
        assert_eq!(coloured(Verdict::Reproduced, false), "reproduced");
        let green = coloured(Verdict::Reproduced, true);
        assert!(green.contains("reproduced") && green.starts_with('\u{1b}'), "{green:?}");
        assert_ne!(
            green.replace("reproduced", ""),
            coloured(Verdict::Invalid, true).replace("invalid", "")
        );
    }
}
