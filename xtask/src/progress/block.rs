//! The bars: one line for each finding that is not judged yet, and one for all.

use super::track::Track;
use crate::words::{cut, roughly};

/// Widest bar.
const WIDEST: usize = 30;

/// Narrowest bar; where there is less room there is none.
const NARROWEST: usize = 4;

/// The lines of the block, each shorter than `columns`, fewer than `rows`. `left` is the time of
/// each track in seconds. Findings that wait are left out first where there are too many.
pub(super) fn lines(
    tracks: &[Track],
    left: &[f64],
    (rows, columns): (usize, usize),
) -> Vec<String> {
    let mut open: Vec<(&Track, f64)> =
        tracks.iter().zip(left.iter().copied()).filter(|(track, _)| !track.is_judged).collect();
    let all_of_it = open.len();
    if all_of_it == 0 {
        return Vec::new();
    }
    let room = rows.saturating_sub(2).max(1);
    if all_of_it > room {
        open.sort_by_key(|(track, _)| !track.is_running());
        open.truncate(room);
    }
    let all = match all_of_it - open.len() {
        0 => "all".to_owned(),
        hidden => format!("all, {hidden} more wait"),
    };
    let names = open.iter().map(|(track, _)| track.finding.len());
    let name = names.max().unwrap_or(0).max(all.len());
    let cells: usize = tracks.iter().map(|track| track.cells).sum();
    let done: usize = tracks.iter().map(|track| track.done).sum();
    let layout = Layout { name, digits: cells.max(1).to_string().len(), columns };
    let mut lines: Vec<String> = open
        .iter()
        .map(|(track, left)| {
            layout.line(&track.finding, track.done, track.cells, *left, &track.doing())
        })
        .collect();
    if tracks.len() > 1 {
        let whole = left.iter().copied().fold(0.0, f64::max);
        lines.push(layout.line(&all, done, cells, whole, ""));
    }
    lines
}

struct Layout {
    name: usize,
    digits: usize,
    columns: usize,
}

impl Layout {
    fn line(&self, name: &str, done: usize, cells: usize, left: f64, note: &str) -> String {
        let Self { name: width, digits, columns } = *self;
        let counts = format!("{done:>digits$}/{cells:<digits$}");
        let left = match (cells - done.min(cells), left) {
            (0, _) => String::new(),
            (_, left) if left < 1.0 => "soon".to_owned(),
            (_, left) => format!("~{} left", roughly(left)),
        };
        // Brackets, and the spaces between the parts.
        let taken = width + 3 + counts.len() + 1 + 14 + 1;
        let bar = columns.saturating_sub(taken + 1).min(WIDEST);
        let bar = if bar < NARROWEST {
            String::new()
        } else {
            format!("[{}] ", filled(done, cells, bar))
        };
        let line = format!("{name:width$} {bar}{counts} {left:<14} {note}");
        // One column stays free: a full line makes some terminals begin another.
        cut(&line, columns.saturating_sub(1)).trim_end().to_owned()
    }
}

/// A bar of `width` characters. It is full only when everything is done.
fn filled(done: usize, cells: usize, width: usize) -> String {
    let full = (done * width).checked_div(cells).unwrap_or(width).min(width);
    format!("{}{}", "#".repeat(full), ".".repeat(width - full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::tests::announced;
    use headwater_protocol::{CellEvent, Preset};

    fn tracks() -> Vec<Track> {
        let names = ["calibration", "negative-reinforcement", "cascade"];
        let track = |name| Track::new(&announced(name, 200, 50), Preset::Quick);
        let mut tracks = Vec::from(names.map(track));
        tracks[1].note("arm", 7, &CellEvent::Started);
        tracks
    }

    #[test]
    fn a_bar_shows_the_share_that_is_done() {
        assert_eq!(filled(0, 9, 10), "..........");
        assert_eq!(filled(8, 9, 10), "########..");
        assert_eq!(filled(9, 9, 10), "##########");
        assert_eq!(filled(0, 0, 4), "####", "nothing was to be done");
    }

    #[test]
    fn every_finding_that_is_open_has_a_line() {
        let mut tracks = tracks();
        let left = [40.0, 700.0, 0.2];
        let shown = lines(&tracks, &left, (24, 100));
        let bar = format!("[{}{}]", "#".repeat(7), ".".repeat(23));
        assert_eq!(
            shown,
            [
                format!("calibration            {bar}  50/200 ~40 s left"),
                format!("negative-reinforcement {bar}  50/200 ~12 min left   arm seed 7"),
                format!("cascade                {bar}  50/200 soon"),
                format!("all                    {bar} 150/600 ~12 min left"),
            ]
        );
        tracks[0].is_judged = true;
        assert_eq!(lines(&tracks, &left, (24, 100)).len(), 3);
        tracks.iter_mut().for_each(|track| track.is_judged = true);
        assert_eq!(lines(&tracks, &left, (24, 100)), [""; 0]);
    }

    #[test]
    fn lines_are_narrower_and_fewer_than_the_terminal() {
        let tracks = tracks();
        for columns in 1..120 {
            for rows in 1..8 {
                let shown = lines(&tracks, &[40.0, 70.0, 9e6], (rows, columns));
                assert!(shown.iter().all(|line| line.len() < columns), "{columns}: {shown:?}");
                assert!(shown.len() < rows.max(3), "{rows}: {shown:?}");
            }
        }
        let shown = lines(&tracks, &[40.0, 70.0, 80.0], (3, 60));
        assert!(shown[0].starts_with("negative-reinforcement [##..."), "what runs: {shown:?}");
        assert!(shown[1].starts_with("all, 2 more wait       [##..."), "{shown:?}");
    }
}
