//! What a run finds in its directory and what it leaves there.
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use crate::synthetic::{CODE, LEVEL, NULL, Synthetic, options};
use headwater_protocol::*;
use headwater_report::{Chapter, Report, render, run};

/// Two findings, `first` and `second`.
fn pair() -> Vec<Chapter> {
    let named = |id| Synthetic { id, ..Synthetic::default() }.chapter();
    vec![named("first"), named("second")]
}

fn only(out: &Path, ids: &[&str]) -> RunOptions {
    let only = ids.iter().map(|&id| id.to_owned()).collect();
    RunOptions { only, ..options(out, 2) }
}

fn ids(report: &Report) -> Vec<&str> {
    report.findings.iter().map(|finding| finding.found.id.as_str()).collect()
}

fn go(options: &RunOptions) -> Report {
    run(&pair(), options, |_| (), |_| ()).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Case K1: a killed run leaves no partial file for ever.
#[test]
fn partial_files_of_killed_runs_go_and_those_of_a_living_one_stay() {
    let out = tempfile::tempdir().unwrap();
    go(&only(out.path(), &["first"]));
    let records = out.path().join("records/first");
    let folders = [records.clone(), out.path().join("timings/first"), out.path().to_owned()];
    let leftovers = folders.map(|folder| folder.join("arm.0.0123456789abcdef.json.12.partial"));
    let own = records.join("notes.partial");
    let living = records.join("arm.1.0123456789abcdef.json.13.partial");
    for path in leftovers.iter().chain([&own, &living]) {
        fs::write(path, "half").unwrap();
    }
    let held = fs::File::options().write(true).open(&living).unwrap();
    held.lock().unwrap();
    go(&only(out.path(), &["first"]));
    assert!(leftovers.iter().all(|path| !path.exists()));
    assert!(own.exists() && living.exists());
    drop(held);
    go(&only(out.path(), &["first"]));
    assert!(own.exists() && !living.exists());
}

#[test]
fn a_run_of_one_finding_keeps_the_others_of_the_same_conditions() {
    let out = tempfile::tempdir().unwrap();
    assert_eq!(ids(&go(&only(out.path(), &["second"]))), ["second"]);
    let report = go(&only(out.path(), &["first"]));
    assert_eq!(ids(&report), ["first", "second"], "in the order of the build");
    assert!(report.dropped.is_empty() && report.is_clean());
    assert_eq!(report.findings[1].found.verdict, Verdict::Reproduced);
    assert_eq!(report.findings[1].found.contrasts[0].n, 5);
    // The kept finding stays when the report is rendered again, and when it is run again.
    assert_eq!(ids(&render(&pair(), out.path(), CODE).unwrap()), ["first", "second"]);
    assert_eq!(ids(&go(&options(out.path(), 2))), ["first", "second"]);

    let error = run(&pair(), &only(out.path(), &["third"]), |_| (), |_| ()).unwrap_err();
    assert!(error.to_string().contains("`third`"), "{error}");
}

#[test]
fn what_a_run_under_other_conditions_left_is_dropped_and_named() {
    type Change = fn(&mut RunOptions);
    let changes: [(Change, &str); 5] = [
        (
            |o| o.build.code.workspace = "f".into(),
            "`second` ran with code 0123456789abcdef, this run has f",
        ),
        (|o| o.build.compiler = "rustc 2".into(), "compiler rustc 1.95.0, this run has rustc 2"),
        (|o| o.build.instructions = "AVX-512".into(), "instruction set AVX2, this run has AVX-512"),
        (|o| o.settings.device = DeviceKind::Wgpu, "device flex, this run has wgpu"),
        (|o| o.settings.preset = Preset::Smoke, "preset quick, this run has smoke"),
    ];
    for (change, reason) in changes {
        let out = tempfile::tempdir().unwrap();
        go(&options(out.path(), 2));
        let mut other = only(out.path(), &["first"]);
        change(&mut other);
        let report = go(&other);
        assert_eq!(ids(&report), ["first"]);
        assert_eq!((report.dropped.len(), report.dropped[0].finding.as_str()), (1, "second"));
        assert!(report.dropped[0].reason.ends_with(reason), "{:?}", report.dropped);
        let page = fs::read_to_string(out.path().join("report.html")).unwrap();
        assert!(page.contains("Not in this report."));
        // It stays named until it is run under the new conditions.
        assert_eq!(go(&other).dropped.len(), 1);
        other.only = vec!["second".into()];
        let report = go(&other);
        assert_eq!((ids(&report), report.dropped.len()), (vec!["first", "second"], 0));
    }
}

#[test]
fn a_directory_that_is_not_a_runs_is_left_as_it_is() {
    let outer = tempfile::tempdir().unwrap();
    let refused = |out: &Path| {
        let error = run(&pair(), &options(out, 2), |_| (), |_| ()).unwrap_err();
        assert!(error.is_usage(), "{error}");
        error.to_string()
    };
    let thesis = outer.path().join("thesis");
    fs::create_dir(&thesis).unwrap();
    fs::write(thesis.join("report.html"), "mine").unwrap();
    assert!(refused(&thesis).contains("it holds `report.html` and no run.json"));
    assert_eq!(names(&thesis), ["report.html"]);
    for text in ["{", "[1]", "{\"findings\": [], \"name\": \"package\"}"] {
        fs::write(thesis.join("run.json"), text).unwrap();
        assert!(refused(&thesis).contains("its run.json is not one of a run"), "{text}");
        assert_eq!(fs::read_to_string(thesis.join("run.json")).unwrap(), text);
    }
    // A wrong type is told without all of the value.
    let long = format!("{{\"jobs\": \"{}\"}}", "x".repeat(5000));
    fs::write(thesis.join("run.json"), long).unwrap();
    let text = refused(&thesis);
    assert!(text.contains("xxx") && text.len() < 600, "{text}");
    assert_eq!(fs::read_to_string(thesis.join("report.html")).unwrap(), "mine");
    assert!(refused(&thesis.join("report.html")).contains("it is a file"));

    // What a kill before the first run.json leaves is ours.
    let killed = outer.path().join("killed");
    fs::create_dir(&killed).unwrap();
    fs::write(killed.join("run.json.12.partial"), "{").unwrap();
    assert_eq!(ids(&go(&options(&killed, 2))), ["first", "second"]);
}

#[test]
fn the_run_of_a_version_with_another_layout_is_replaced_and_named() {
    let out = tempfile::tempdir().unwrap();
    let old = r#"{"version": "0.0.9", "conditions": {}, "findings": [{"id": "second"}, {"id": "first"}]}"#;
    fs::write(out.path().join("run.json"), old).unwrap();
    let report = go(&only(out.path(), &["first"]));
    assert_eq!(ids(&report), ["first"]);
    assert_eq!(report.dropped[0].finding, "second");
    assert!(report.dropped[0].reason.contains("another layout (version 0.0.9)"));
}

#[test]
fn a_directory_in_the_place_of_a_cells_file_is_discarded_when_it_is_empty() {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("records/first");
    go(&options(out.path(), 2));
    let name = names(&folder).into_iter().find(|name| name.starts_with("plain.0.")).unwrap();
    let record = folder.join(&name);
    let before = fs::read(&record).unwrap();
    let become_directory = || {
        fs::remove_file(&record).unwrap();
        fs::create_dir(&record).unwrap();
    };
    become_directory();
    // A report of what is there names it.
    let report = render(&pair(), out.path(), CODE).unwrap();
    assert!(report.findings[0].found.failures[0].reason.ends_with("it is a directory"));

    let discarded = Mutex::new(Vec::new());
    let note = |event: &Event<'_>| {
        if let Event::Cell { what: CellEvent::Discarded { reason, .. }, .. } = event {
            discarded.lock().unwrap().push(reason.clone());
        }
    };
    assert!(run(&pair(), &options(out.path(), 2), |_| (), note).unwrap().is_clean());
    assert_eq!(discarded.into_inner().unwrap(), ["it is a directory"]);
    assert_eq!(fs::read(&record).unwrap(), before);

    // What somebody keeps there is not ours to delete.
    become_directory();
    fs::write(record.join("notes"), "mine").unwrap();
    let error = run(&pair(), &options(out.path(), 2), |_| (), |_| ()).unwrap_err().to_string();
    assert!(error.contains("in the place of the directory") && error.contains(&name), "{error}");
    assert!(record.join("notes").exists());
}

#[test]
fn a_report_by_another_code_names_both_versions() {
    let out = tempfile::tempdir().unwrap();
    assert_eq!(go(&options(out.path(), 2)).rendered_by, None);
    let report = render(&pair(), out.path(), "fedcba").unwrap();
    assert_eq!(
        (report.code_version.as_str(), report.rendered_by.as_deref()),
        (CODE, Some("fedcba"))
    );
    let page = fs::read_to_string(out.path().join("report.html")).unwrap();
    assert!(page.contains("Two versions of the code.") && page.contains("fedcba"));
}

#[test]
fn a_number_of_seeds_that_is_not_the_presets_own_is_in_the_report() {
    for (seeds, by_hand) in [(None, false), (Some(5), false), (Some(6), true), (Some(4), true)] {
        let out = tempfile::tempdir().unwrap();
        let mut options = only(out.path(), &["first"]);
        options.settings.seeds = seeds;
        let report = go(&options);
        assert_eq!(report.seeds_by_hand, by_hand, "{seeds:?}");
        let page = fs::read_to_string(out.path().join("report.html")).unwrap();
        assert_eq!(page.contains("optional stopping"), by_hand, "{seeds:?}");
        if seeds == Some(6) {
            // It is a property of the finding, and stays beside one that has the preset's number.
            let report = go(&only(out.path(), &["second"]));
            assert!(report.seeds_by_hand && !report.findings[1].found.seeds_by_hand);
        }
    }
}

#[test]
fn where_no_arm_can_be_run_every_comparison_is_listed_with_the_reason() {
    let out = tempfile::tempdir().unwrap();
    let finding = Synthetic { nothing: true, ..Synthetic::default() };
    let report = run(&finding.chapters(), &options(out.path(), 2), |_| (), |_| ()).unwrap();
    let finding = &report.findings[0].found;
    assert_eq!((finding.contrasts.len(), finding.controls.len()), (0, 0));
    let omitted: Vec<&str> = finding.omitted.iter().map(|omitted| omitted.name.as_str()).collect();
    assert_eq!(
        omitted,
        ["score: treated - plain", "score: null - plain", "score: control - plain"]
    );
    assert!(finding.omitted.iter().all(|omitted| omitted.reason.contains("data set y not found")));
    assert_eq!(finding.verdict, Verdict::Inconclusive);
    assert_eq!(finding.why, "No contrast could be measured.");
    assert!(report.is_clean(), "{:?}", finding.defects);
    // One reason, stated once.
    let page = fs::read_to_string(out.path().join("report.html")).unwrap();
    assert_eq!(page.matches("data set y not found").count(), 1);
}

#[test]
fn more_seeds_than_anybody_waits_for_are_refused_before_they_are_planned() {
    let out = tempfile::tempdir().unwrap();
    let mut options = options(&out.path().join("run"), 1);
    options.settings.seeds = Some(usize::MAX);
    let error = run(&pair(), &options, |_| (), |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "seeds = 18446744073709551615: allowed are at most 10000");
    assert!(error.is_usage() && !options.out.exists());
}

#[test]
fn a_column_that_no_arm_can_fill_is_a_defect_and_one_without_records_is_not() {
    let report = |finding: Synthetic| {
        let out = tempfile::tempdir().unwrap();
        let report = run(&finding.chapters(), &options(out.path(), 2), |_| (), |_| ()).unwrap();
        report.findings.into_iter().next().unwrap().found.defects
    };
    let defects = report(Synthetic { metric: LEVEL, ..Synthetic::default() });
    assert_eq!(defects.len(), 1, "{defects:?}");
    assert!(defects[0].starts_with("table `Scores`, column `Again`: no arm has it; "));
    assert!(defects[0].contains("has no scalar `level`; it has: score"), "{defects:?}");
    assert!(report(Synthetic { without: vec![NULL], ..Synthetic::default() }).is_empty());
}
