//! What a run is about to do, before its first cell.

use std::collections::BTreeSet;

use headwater_data::{DATA_SETS, DataError};
use headwater_protocol::{Announcement, by_reason};

use super::Setup;
use super::estimate::{known_times, left};
use super::track::Track;
use crate::words::{counted, listed, roughly};

/// The plan in lines of at most 60 columns where names allow it, but for sentences, which may be
/// broken.
pub(super) fn lines(announced: &[Announcement], tracks: &[Track], setup: &Setup) -> Vec<String> {
    let Setup { preset, device, jobs, cores, .. } = setup;
    let findings = counted(announced.len(), "finding");
    let mut lines = vec![
        format!("{findings}, preset {preset}, device {device}, {jobs} at a time on {cores} cores"),
        String::new(),
    ];
    lines.extend(table(announced, tracks, *jobs));
    lines.push(String::new());
    lines.extend(where_from(announced, setup));
    lines.extend(without_data(announced));
    if known_times(announced).0 > 0 {
        lines.push("Ctrl-C at any time: the same command goes on where it stopped.".to_owned());
    }
    lines.push(String::new());
    lines
}

/// Cells, cells that are there, and time, finding by finding.
fn table(announced: &[Announcement], tracks: &[Track], jobs: usize) -> Vec<String> {
    let width = announced.iter().map(|a| a.finding.len()).max().unwrap_or(0).max("finding".len());
    let row = |name: &str, cells: &str, there: &str, time: &str| {
        format!("{name:width$}  {cells:>5}  {there:>5}  {time:>10}")
    };
    let time = |seconds: f64| {
        if seconds > 0.0 { format!("~{}", roughly(seconds)) } else { "-".to_owned() }
    };
    let mut lines = vec![row("finding", "cells", "there", "time")];
    for (finding, track) in announced.iter().zip(tracks) {
        let cells = finding.cells.len().to_string();
        let alone = left(&[track.work()], jobs)[0];
        lines.push(row(&finding.finding, &cells, &track.done.to_string(), &time(alone)));
    }
    if tracks.len() > 1 {
        let cells: usize = announced.iter().map(|finding| finding.cells.len()).sum();
        let there: usize = tracks.iter().map(|track| track.done).sum();
        let work: Vec<_> = tracks.iter().map(Track::work).collect();
        let whole = left(&work, jobs).into_iter().fold(0.0, f64::max);
        lines.push(row("all", &cells.to_string(), &there.to_string(), &time(whole)));
    }
    lines
}

/// Where the times come from, and which cells need not run.
fn where_from(announced: &[Announcement], setup: &Setup) -> Vec<String> {
    let out = setup.out.display();
    let (ahead, known) = known_times(announced);
    let there: usize = announced.iter().flat_map(|a| &a.cells).filter(|c| c.is_there).count();
    let mut lines = Vec::new();
    if there > 0 {
        let have = if there == 1 { "has its record" } else { "have their records" };
        let rest = if ahead == 0 { ": nothing is left to run" } else { "" };
        lines.push(format!("{} {have} in {out} already{rest}.", counted(there, "cell")));
    }
    lines.extend(match (ahead, known) {
        (0, _) => None,
        (ahead, known) if known == ahead => {
            Some(format!("The times are those of an earlier run in {out}."))
        }
        (_, 0) => Some(
            "The times are those of another machine: a guess, corrected as cells end.".to_owned(),
        ),
        (ahead, known) => Some(format!(
            "The times are those of an earlier run in {out} for {known} of {ahead} cells, and of \
             another machine for the rest: a guess, corrected as cells end."
        )),
    });
    lines
}

/// What is not run, and how to get what it lacks. Nothing where everything is run.
fn without_data(announced: &[Announcement]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut missing = BTreeSet::new();
    let mut others = Vec::new();
    for finding in announced.iter().filter(|finding| !finding.not_run.is_empty()) {
        let mut sets = Vec::new();
        for (reason, arms) in by_reason(&finding.not_run) {
            match set_not_found(reason) {
                Some(set) => sets.push(set),
                None => others.push(format!(
                    "Not run, {} of {}: {reason}",
                    counted(arms.len(), "arm"),
                    finding.finding
                )),
            }
        }
        if !sets.is_empty() {
            let Announcement { finding, omitted, comparisons, .. } = finding;
            let what = match omitted {
                0 => "arms that no comparison reads".to_owned(),
                _ => format!("{omitted} of {comparisons} comparisons"),
            };
            lines.push(format!("  {finding}: {what}, for want of {}", listed(&sets)));
            missing.extend(sets);
        }
    }
    if !missing.is_empty() {
        let sets = counted(missing.len(), "data set");
        lines.insert(0, format!("{sets} not found. What needs them is not run:"));
        lines.push("  `cargo xtask data fetch` gets them, or says how.".to_owned());
    }
    lines.extend(others);
    lines
}

/// The data set whose absence is this reason for not running an arm.
fn set_not_found(reason: &str) -> Option<&'static str> {
    let is_its = |name: &str| DataError::NotFound { set: name.to_owned() }.to_string() == reason;
    DATA_SETS.iter().map(|set| set.name).find(|name| is_its(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::tests::{announced, setup};
    use headwater_protocol::NotRun;

    fn plan(announced: &[Announcement]) -> Vec<String> {
        let setup = setup();
        let tracks: Vec<_> = announced.iter().map(|a| Track::new(a, setup.preset)).collect();
        lines(announced, &tracks, &setup)
    }

    #[test]
    fn the_plan_says_what_how_much_and_how_long() {
        let shown = plan(&[announced("calibration", 50, 0), announced("cascade", 300, 100)]);
        assert_eq!(
            shown,
            [
                "2 findings, preset quick, device flex, 2 at a time on 4 cores",
                "",
                "finding      cells  there        time",
                "calibration     50      0       ~45 s",
                "cascade        300    100      ~1 min",
                "all            350    100      ~2 min",
                "",
                "100 cells have their records in repro/quick already.",
                "The times are those of another machine: a guess, corrected as cells end.",
                "Ctrl-C at any time: the same command goes on where it stopped.",
                "",
            ]
        );
    }

    #[test]
    fn times_of_an_earlier_run_are_used_and_named() {
        let mut finding = announced("cascade", 4, 0);
        for cell in &mut finding.cells {
            cell.seconds = Some(60.0);
        }
        let shown = plan(std::slice::from_ref(&finding)).join("\n");
        assert!(shown.contains("cascade      4      0      ~2 min"), "{shown}");
        assert!(shown.contains("The times are those of an earlier run in repro/quick."), "{shown}");
        assert!(!shown.contains("\nall "), "one finding needs no sum: {shown}");
        finding.cells[0].seconds = None;
        let shown = plan(&[finding]).join("\n");
        assert!(
            shown.contains("in repro/quick for 3 of 4 cells, and of another machine"),
            "{shown}"
        );
    }

    #[test]
    fn a_finished_run_says_that_nothing_is_left() {
        let shown = plan(&[announced("cascade", 4, 4)]).join("\n");
        assert!(shown.contains("cascade      4      4           -"), "{shown}");
        assert!(
            shown.contains("4 cells have their records in repro/quick already: nothing is left")
        );
        assert!(!shown.contains("The times") && !shown.contains("Ctrl-C"), "{shown}");
    }

    #[test]
    fn missing_data_are_named_with_what_they_cost_and_how_to_get_them() {
        let absent =
            |arm: &str, set: &str| NotRun::new(arm, DataError::NotFound { set: set.to_owned() });
        let mut losses = announced("decision-losses", 0, 0);
        losses.not_run =
            vec![absent("a", "adult"), absent("b", "adult"), absent("c", "digits-8x8")];
        (losses.comparisons, losses.omitted) = (39, 39);
        let mut cascade = announced("cascade", 4, 0);
        cascade.not_run =
            vec![NotRun::new("d", "x.gz: 21 bytes, expected 7"), absent("e", "adult")];
        (cascade.comparisons, cascade.omitted) = (21, 2);
        let shown = plan(&[losses, cascade]).join("\n");
        let expected = "2 data sets not found. What needs them is not run:\n  \
                        decision-losses: 39 of 39 comparisons, for want of adult and digits-8x8\n  \
                        cascade: 2 of 21 comparisons, for want of adult\n  \
                        `cargo xtask data fetch` gets them, or says how.\n\
                        Not run, 1 arm of cascade: x.gz: 21 bytes, expected 7\n";
        assert!(shown.contains(expected), "{shown}");
    }
}
