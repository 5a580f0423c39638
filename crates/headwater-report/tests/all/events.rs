//! What a run tells while it goes on: what is ahead, each verdict once it is known, and when it may
//! be ended.
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::synthetic::{BASE, Synthetic, TREATED, options};
use headwater_protocol::*;
use headwater_report::{Chapter, Report, run};

/// Two findings, the second one without its data.
fn findings() -> Vec<Chapter> {
    let second = Synthetic { id: "second", without: vec![TREATED], ..Synthetic::default() };
    vec![Synthetic::default().chapter(), second.chapter()]
}

/// What was announced, and each verdict as it came.
fn watch(
    findings: &[Chapter],
    options: &RunOptions,
) -> (Report, Vec<Announcement>, Vec<(String, Verdict)>) {
    let mut ahead = Vec::new();
    let verdicts = Mutex::new(Vec::new());
    let announce = |announced: &[Announcement]| ahead = announced.to_vec();
    let report = run(findings, options, announce, |event| {
        if let Event::Judged(finding) = event {
            verdicts.lock().unwrap().push((finding.id.clone(), finding.verdict));
        }
    });
    (report.unwrap(), ahead, verdicts.into_inner().unwrap())
}

#[test]
fn each_verdict_is_told_once_and_is_the_one_of_the_report() {
    let out = tempfile::tempdir().unwrap();
    let nothing = Synthetic { id: "nothing", nothing: true, ..Synthetic::default() };
    let sabotage: crate::synthetic::Instead = || Err("no convergence".into());
    let sabotage = Some((BASE, 1, sabotage));
    let failing = Synthetic { id: "failing", sabotage, ..Synthetic::default() };
    let mut findings = findings();
    findings.extend([nothing.chapter(), failing.chapter()]);
    // The second time every record but the failed cells' is there already.
    for _ in 0..2 {
        let (report, _, mut told) = watch(&findings, &options(out.path(), 3));
        let mut known: Vec<(String, Verdict)> =
            report.findings.iter().map(|f| (f.found.id.clone(), f.found.verdict)).collect();
        told.sort_by_key(|(id, _)| id.clone());
        known.sort_by_key(|(id, _)| id.clone());
        assert_eq!(told, known);
    }
}

#[test]
fn what_is_told_early_holds_the_failures() {
    let out = tempfile::tempdir().unwrap();
    let sabotage: crate::synthetic::Instead = || panic!("out of memory");
    let failing = Synthetic { sabotage: Some((BASE, 1, sabotage)), ..Synthetic::default() };
    let told = Mutex::new(Vec::new());
    let report = run(
        &failing.chapters(),
        &options(out.path(), 2),
        |_| (),
        |event| {
            if let Event::Judged(finding) = event {
                told.lock().unwrap().extend(finding.failures.clone());
            }
        },
    );
    let told = told.into_inner().unwrap();
    assert_eq!(told.iter().filter(|failure| failure.ran).count(), 1);
    assert_eq!(told.len(), 5, "and the four arms that need it");
    assert_eq!(told, report.unwrap().findings[0].found.failures);
}

#[test]
fn what_is_ahead_names_what_is_there_what_it_took_and_what_cannot_be_compared() {
    let out = tempfile::tempdir().unwrap();
    let (_, first, _) = watch(&findings(), &options(out.path(), 2));
    let names: Vec<(&str, usize)> =
        first.iter().map(|ahead| (ahead.finding.as_str(), ahead.cells.len())).collect();
    assert_eq!(names, [("synthetic", 25), ("second", 20)]);
    assert!(
        first.iter().flat_map(|ahead| &ahead.cells).all(|c| !c.is_there && c.seconds.is_none())
    );
    assert_eq!((first[0].comparisons, first[0].omitted), (3, 0));
    assert_eq!((first[1].comparisons, first[1].omitted), (3, 1));
    assert_eq!(first[1].not_run.len(), 1);

    // Other code: nothing is there, but it is known about how long it takes.
    let mut other = options(out.path(), 2);
    other.build.code.workspace.push('1');
    std::fs::write(out.path().join("timings/synthetic/unreadable.json"), "{").unwrap();
    let (_, again, _) = watch(&findings(), &other);
    assert!(
        again.iter().flat_map(|ahead| &ahead.cells).all(|c| !c.is_there && c.seconds.is_some())
    );
    let (_, whole, _) = watch(&findings(), &other);
    assert!(whole.iter().flat_map(|ahead| &ahead.cells).all(|c| c.is_there));

    // Under another preset a cell is another amount of work.
    other.settings.preset = Preset::Full;
    let (_, full, _) = watch(&findings(), &other);
    assert!(full.iter().flat_map(|ahead| &ahead.cells).all(|c| !c.is_there && c.seconds.is_none()));
}

#[test]
fn nothing_is_written_to_a_run_directory_between_writes() {
    let out = tempfile::tempdir().unwrap();
    let inside = out.path().join("run");
    let (begin, begun) = channel();
    std::thread::scope(|scope| {
        let running = between_writes(|| {
            let running = scope.spawn(|| {
                begin.send(()).unwrap();
                run(&Synthetic::default().chapters(), &options(&inside, 2), |_| (), |_| ()).unwrap()
            });
            begun.recv().unwrap();
            std::thread::sleep(Duration::from_millis(100));
            assert!(!inside.join("run.json").exists());
            running
        });
        assert!(running.join().unwrap().is_clean());
    });
    assert!(inside.join("report.html").exists());
}
