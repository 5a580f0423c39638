//! How long a run takes: what cells took before, corrected by what they take now.

use headwater_protocol::{Announcement, CellAhead, Preset};

/// Mean wall time of a cell in seconds under `smoke`, and under `quick` or `full`, whose cells are
/// of one size. From one seed of every arm on one core with AVX-512; a guess elsewhere, which the
/// first cells correct.
const SECONDS: &[(&str, f64, f64)] = &[
    ("calibration", 0.02, 1.7),
    ("decision-losses", 0.03, 0.25),
    ("negative-reinforcement", 0.06, 3.7),
    ("directive-feedback", 0.01, 0.42),
    ("critique-plateau", 0.04, 0.74),
    ("causal-rewards", 0.02, 0.29),
    ("reasoning-judges", 0.03, 2.6),
    ("rubric-gates", 0.02, 1.2),
    ("feedback-loop", 0.01, 0.22),
    ("self-improvement", 0.05, 0.44),
    ("cascade", 0.06, 0.58),
];

/// A finding that the table does not know.
const UNKNOWN: (f64, f64) = (0.03, 0.6);

/// Seconds of expected work that weigh as much as the work measured so far: a single cell corrects
/// little.
const PRIOR: f64 = 20.0;

/// Expected wall time of a cell of `finding`, in seconds, by the table.
fn by_table(finding: &str, preset: Preset) -> f64 {
    let row = SECONDS.iter().find(|(id, ..)| *id == finding);
    let (smoke, more) = row.map_or(UNKNOWN, |(_, smoke, more)| (*smoke, *more));
    if preset == Preset::Smoke { smoke } else { more }
}

/// Expected wall time of a cell, in seconds: what its arm took before in the run directory, or else
/// the table's.
pub(crate) fn expected(finding: &str, cell: &CellAhead, preset: Preset) -> f64 {
    cell.seconds.unwrap_or_else(|| by_table(finding, preset))
}

/// Cells without a record, and those of them whose time is known from the run directory.
pub(crate) fn known_times(announced: &[Announcement]) -> (usize, usize) {
    let ahead = || announced.iter().flat_map(|finding| &finding.cells).filter(|c| !c.is_there);
    (ahead().count(), ahead().filter(|cell| cell.seconds.is_some()).count())
}

/// The work of one finding, in seconds on one core.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Work {
    /// Expected for the cells that have ended in this run.
    pub(crate) expected: f64,
    /// What they took.
    pub(crate) took: f64,
    /// Expected from now on for the cells that have not ended.
    pub(crate) ahead: f64,
    /// The part of it that is the longest of them, which no second core shortens.
    pub(crate) longest: f64,
}

/// How many times as long as expected cells take, from what they took and what was believed before.
fn pace(work: Work, believed: f64) -> f64 {
    (work.took + PRIOR * believed) / (work.expected + PRIOR)
}

/// Seconds until the last cell of each finding ends, with `jobs` >= 1 cells at a time, started in
/// the order of the findings; 0 where nothing is ahead.
pub(crate) fn left(work: &[Work], jobs: usize) -> Vec<f64> {
    let all = Work {
        expected: work.iter().map(|w| w.expected).sum(),
        took: work.iter().map(|w| w.took).sum(),
        ..Work::default()
    };
    let overall = pace(all, 1.0);
    let mut before = 0.0;
    let one = |work: &Work| {
        let pace = pace(*work, overall);
        before += work.ahead * pace;
        let shared = if work.ahead > 0.0 { before / jobs as f64 } else { 0.0 };
        f64::max(shared, work.longest * pace)
    };
    work.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ahead(ahead: f64) -> Work {
        Work { ahead, longest: ahead.min(1.0), ..Work::default() }
    }

    #[test]
    fn the_table_has_every_finding_once() {
        let findings = headwater_findings::all(&Default::default());
        let ids: Vec<&str> = findings.iter().map(|chapter| chapter.finding.id).collect();
        let listed: Vec<&str> = SECONDS.iter().map(|(id, ..)| *id).collect();
        assert_eq!(listed, ids);
        assert!(SECONDS.iter().all(|(_, smoke, quick)| 0.0 < *smoke && smoke < quick));
    }

    #[test]
    fn what_an_arm_took_here_is_preferred_to_the_table() {
        let cell = |seconds| CellAhead { arm: "a".into(), is_there: false, seconds };
        assert_eq!(expected("calibration", &cell(Some(7.0)), Preset::Quick), 7.0);
        assert_eq!(expected("calibration", &cell(None), Preset::Full), 1.7);
        assert_eq!(expected("calibration", &cell(None), Preset::Smoke), 0.02);
        assert_eq!(expected("new", &cell(None), Preset::Quick), 0.6);
    }

    #[test]
    fn a_finding_waits_for_those_before_it_and_jobs_share_the_work() {
        assert_eq!(left(&[ahead(100.0), ahead(20.0)], 1), [100.0, 120.0]);
        assert_eq!(left(&[ahead(100.0), ahead(20.0)], 4), [25.0, 30.0]);
        assert_eq!(left(&[ahead(0.0), ahead(20.0)], 4), [0.0, 5.0]);
        assert_eq!(left(&[], 2), [0.0; 0]);
        let one_long = Work { ahead: 30.0, longest: 30.0, ..Work::default() };
        assert_eq!(left(&[one_long], 8), [30.0], "a cell runs on one core");
    }

    #[test]
    fn what_cells_take_corrects_the_guess_of_their_finding_and_less_that_of_the_others() {
        let slow = Work { expected: 80.0, took: 240.0, ahead: 100.0, ..Work::default() };
        let [first, second] = left(&[slow, ahead(100.0)], 1)[..] else { panic!() };
        // All: (240 + 20) / 100 = 2.6; the first: (240 + 52) / 100 = 2.92.
        assert!((first - 292.0).abs() < 1e-9 && (second - 552.0).abs() < 1e-9, "{first} {second}");
    }
}
