//! The whole machinery on findings whose truth is known.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::synthetic::{CODE, Planted, Synthetic, claimed, options};
use headwater_protocol::*;

fn run_in(out: &Path, jobs: u8, findings: &[Box<dyn Finding>]) -> Report {
    run(findings, &options(out, jobs), |_| (), |_| ()).unwrap()
}

/// Path within the run directory -> bytes, of everything under `folder`.
fn files(out: &Path, folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![out.join(folder)];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                found.insert(path.strip_prefix(out).unwrap().to_owned(), bytes);
            }
        }
    }
    found
}

/// The words for what happened to each cell, sorted.
fn happenings(out: &Path, finding: Synthetic) -> (Report, Vec<String>) {
    let seen = Mutex::new(Vec::new());
    let report = run(
        &finding.boxed(),
        &options(out, 2),
        |_| (),
        |event| {
            let Event::Cell { arm, seed, what, .. } = event else { return };
            let word = match what {
                Happening::Reused => "reused",
                Happening::Discarded { .. } => "discarded",
                Happening::Started => "started",
                Happening::Finished { .. } => "finished",
                Happening::Failed { .. } => "failed",
                Happening::Skipped { .. } => "skipped",
            };
            seen.lock().unwrap().push(format!("{word} {arm}.{seed}"));
        },
    );
    let mut seen = seen.into_inner().unwrap();
    seen.sort();
    (report.unwrap(), seen)
}

fn verdict_of(planted: Planted) -> Verdict {
    let out = tempfile::tempdir().unwrap();
    let report = run_in(out.path(), 2, &Synthetic { planted, ..Synthetic::default() }.boxed());
    assert!(report.findings[0].defects.is_empty(), "{:?}", report.findings[0].defects);
    report.findings[0].verdict
}

#[test]
fn verdicts_follow_what_is_planted() {
    assert_eq!(verdict_of(Planted { effect: 1.0, leak: 0.0 }), Verdict::Reproduced);
    assert_eq!(verdict_of(Planted { effect: 0.0, leak: 0.0 }), Verdict::NotReproduced);
    assert_eq!(verdict_of(Planted { effect: -1.0, leak: 0.0 }), Verdict::NotReproduced);
    assert_eq!(verdict_of(Planted { effect: 1.0, leak: 1.0 }), Verdict::Invalid);
    assert_eq!(verdict_of(Planted { effect: 0.5, leak: 0.0 }), Verdict::Inconclusive);
}

#[test]
fn one_job_and_many_write_the_same_bytes() {
    let (one, many) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run_in(one.path(), 1, &Synthetic::default().boxed());
    run_in(many.path(), 8, &Synthetic::default().boxed());
    assert_eq!(files(one.path(), "records").len(), 25);
    assert_eq!(files(one.path(), "records"), files(many.path(), "records"));
    assert_eq!(files(one.path(), "artifacts"), files(many.path(), "artifacts"));
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bytes() {
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run_in(whole.path(), 2, &Synthetic::default().boxed());
    run_in(cut.path(), 2, &Synthetic::default().boxed());

    // As a kill may leave it: one record missing, one cut short, one with a flipped digit, a stray
    // partial file, and the artifact of a base cell damaged.
    let records: Vec<PathBuf> = files(cut.path(), "records").into_keys().collect();
    let at = |arm: &str, seed: u64| {
        let start = format!("{arm}.{seed}.");
        let named =
            |path: &&PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(&start);
        cut.path().join(records.iter().find(named).unwrap())
    };
    fs::remove_file(at("plain", 0)).unwrap();
    let bytes = fs::read(at("treated", 1)).unwrap();
    fs::write(at("treated", 1), &bytes[..bytes.len() / 2]).unwrap();
    let text = fs::read_to_string(at("null", 2)).unwrap();
    let point = text.find("\"score\": ").unwrap() + 12;
    let digit = if &text[point..=point] == "5" { "6" } else { "5" };
    fs::write(at("null", 2), format!("{}{digit}{}", &text[..point], &text[point + 1..])).unwrap();
    let partial = at("null", 2).with_extension("json.1.partial");
    fs::write(&partial, "{").unwrap();
    for (path, _) in files(cut.path(), "artifacts") {
        fs::write(cut.path().join(path), "damaged").unwrap();
    }

    let (report, seen) = happenings(cut.path(), Synthetic::default());
    assert!(!partial.exists(), "it is of no run");
    // Only what is missing runs, and of the base cells only those whose artifact is needed for it.
    let finished: Vec<&str> = seen.iter().filter_map(|s| s.strip_prefix("finished ")).collect();
    assert_eq!(finished, ["base.0", "base.1", "base.2", "null.2", "plain.0", "treated.1"]);
    let discarded: Vec<&str> = seen.iter().filter_map(|s| s.strip_prefix("discarded ")).collect();
    assert_eq!(discarded, ["base.0", "base.1", "base.2", "null.2", "treated.1"]);
    assert_eq!(files(whole.path(), "records"), files(cut.path(), "records"));
    assert_eq!(report.findings[0].verdict, Verdict::Reproduced);
}

#[test]
fn a_finished_run_runs_nothing_again_and_another_code_version_everything() {
    let out = tempfile::tempdir().unwrap();
    let finding: Vec<Box<dyn Finding>> = Synthetic::default().boxed();
    run_in(out.path(), 2, &finding);
    let (_, seen) = happenings(out.path(), Synthetic::default());
    assert!(seen.iter().all(|what| what.starts_with("reused ")) && seen.len() == 25, "{seen:?}");

    let mut other = options(out.path(), 2);
    other.build.compiler.push_str("-nightly");
    let started = Mutex::new(0);
    run(
        &finding,
        &other,
        |_| (),
        |event| {
            let is_start = matches!(event, Event::Cell { what: Happening::Started, .. });
            *started.lock().unwrap() += usize::from(is_start);
        },
    )
    .unwrap();
    assert_eq!(*started.lock().unwrap(), 25);
}

#[test]
fn a_cell_that_panics_or_fails_harms_only_what_needs_it() {
    let cases: [(&str, crate::synthetic::Instead, &str); 3] = [
        ("base", || panic!("out of memory"), "panicked: out of memory"),
        ("treated", || Err("no convergence".into()), "no convergence"),
        (
            "treated",
            || Ok(Metrics::new().scalar("score", f64::NAN).into()),
            "metric `score` is NaN, which is not a finite number",
        ),
    ];
    for (arm, instead, reason) in cases {
        let out = tempfile::tempdir().unwrap();
        let finding = Synthetic { sabotage: Some((arm, 1, instead)), ..Synthetic::default() };
        let (report, seen) = happenings(out.path(), finding);
        let finding = &report.findings[0];
        assert!(!report.is_clean());
        assert!(seen.contains(&format!("failed {arm}.1")));
        let failed: Vec<_> = finding.failures.iter().filter(|failure| failure.ran).collect();
        assert_eq!(failed.len(), 1);
        assert_eq!((failed[0].seed, failed[0].reason.as_str()), (1, reason));

        let skipped = seen.iter().filter(|what| what.starts_with("skipped ")).count();
        assert_eq!(skipped, if arm == "base" { 4 } else { 0 });
        // The effect is shown on the seeds that are left, and decides nothing.
        let contrast = &finding.contrasts[0];
        assert_eq!((contrast.n, contrast.lost_seeds.as_slice()), (4, [1].as_slice()));
        assert_eq!(contrast.judgement, Judgement::Undecided);
        assert_eq!(finding.verdict, Verdict::Inconclusive);

        // Without the fault the same command finishes the run.
        let (report, _) = happenings(out.path(), Synthetic::default());
        assert!(report.is_clean());
        assert_eq!(report.findings[0].verdict, Verdict::Reproduced);
    }
}

#[test]
fn an_arm_that_is_not_run_leaves_its_contrasts_out_and_says_so() {
    let out = tempfile::tempdir().unwrap();
    let report =
        run_in(out.path(), 2, &Synthetic { without: &["null"], ..Synthetic::default() }.boxed());
    let finding = &report.findings[0];
    assert_eq!(finding.contrasts.len(), 1);
    assert_eq!(finding.omitted[0].name, "score: null - plain");
    assert_eq!(finding.omitted[0].reason, finding.not_run[0].reason);
    assert_eq!(finding.verdict, Verdict::Inconclusive, "what was planned is not all measured");
    assert!(finding.why.contains("score: null - plain"), "{}", finding.why);
    assert!(report.is_clean());
    let page = fs::read_to_string(out.path().join("report.html")).unwrap();
    assert!(page.contains("data set y not found: docs/data.md says where it comes from"));

    let report =
        run_in(out.path(), 2, &Synthetic { without: &["control"], ..Synthetic::default() }.boxed());
    assert_eq!(report.findings[0].verdict, Verdict::Inconclusive, "no control, no verdict");
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error_and_harms_no_record() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let below = file.join("run");
    let error =
        run(&Synthetic::default().boxed(), &options(&below, 2), |_| (), |_| ()).unwrap_err();
    assert!(matches!(error, ProtocolError::Io { .. }) && !error.is_usage(), "{error}");
    assert!(error.to_string().contains("file"));

    // The disk refuses in the middle of a run: records written before stay.
    let good = out.path().join("good");
    run_in(&good, 2, &Synthetic::default().boxed());
    let before = files(&good, "records");
    let more = Synthetic { id: "more", ..Synthetic::default() };
    fs::write(good.join("records/more"), "in the way").unwrap();
    let error = run(&more.boxed(), &options(&good, 2), |_| (), |_| ()).unwrap_err();
    assert!(error.to_string().contains("more"), "{error}");
    fs::remove_file(good.join("records/more")).unwrap();
    assert_eq!(files(&good, "records"), before);
}

#[test]
fn the_report_renders_again_from_the_records_alone() {
    let out = tempfile::tempdir().unwrap();
    let finding = Synthetic::default().boxed();
    run_in(out.path(), 2, &finding);
    let read = |name: &str| fs::read_to_string(out.path().join(name)).unwrap();
    let (html, json) = (read("report.html"), read("report.json"));
    fs::remove_file(out.path().join("report.html")).unwrap();
    fs::remove_file(out.path().join("report.json")).unwrap();
    render(&finding, out.path(), CODE).unwrap();
    assert_eq!((read("report.html"), read("report.json")), (html, json));

    let strange = [Box::new(Synthetic { id: "other", ..Synthetic::default() }) as Box<dyn Finding>];
    let error = render(&strange, out.path(), CODE).unwrap_err().to_string();
    assert_eq!(error, "the run holds finding `synthetic`, which this build does not know");
}

#[test]
fn figures_and_tables_of_a_part_stand_under_its_heading() {
    let out = tempfile::tempdir().unwrap();
    run_in(out.path(), 2, &Synthetic::default().boxed());
    let page = fs::read_to_string(out.path().join("report.html")).unwrap();
    let order = [
        "<h4>Score over training",
        "<h4>Final score as bars</h4>",
        "<h3 class=\"part\">Where it ends</h3>",
        "<h4>Final score</h4>",
        "<h4>Scores</h4>",
    ];
    let at: Vec<usize> = order.iter().map(|text| page.find(text).unwrap()).collect();
    assert!(at.is_sorted(), "{at:?}");
    assert_eq!(page.matches("Where it ends").count(), 1);
}

#[test]
fn report_json_has_the_published_schema_and_the_page_escapes_every_text() {
    let out = tempfile::tempdir().unwrap();
    run_in(out.path(), 2, &Synthetic::default().boxed());
    let json = fs::read(out.path().join("report.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    for field in [
        "version",
        "preset",
        "code_version",
        "compiler",
        "instructions",
        "device",
        "seconds",
        "seeds_by_hand",
        "findings",
    ] {
        assert!(json.get(field).is_some(), "{field}");
    }
    let finding = &json["findings"][0];
    assert_eq!(finding["verdict"], "reproduced");
    for field in ["id", "claim", "source", "verdict", "contrasts", "controls", "not_run", "seconds"]
    {
        assert!(finding.get(field).is_some(), "{field}");
    }
    let contrast = &finding["contrasts"][0];
    assert_eq!((&contrast["direction"], &contrast["holds"]), (&"increase".into(), &true.into()));
    assert_eq!(contrast["registered"], "before");
    for field in ["name", "effect", "low", "high", "n", "smallest_effect", "p_holm", "published"] {
        assert!(contrast.get(field).is_some(), "{field}");
    }
    for field in ["name", "effect", "low", "high", "n", "vanishes"] {
        assert!(finding["controls"][0].get(field).is_some(), "{field}");
    }

    let page = fs::read_to_string(out.path().join("report.html")).unwrap();
    assert!(page.contains("&lt;b&gt;bold&lt;/b&gt;") && !page.contains("<b>bold"));
    assert!(!page.contains("<steps>") && !page.contains("<normal>"));
    for outside in ["<script", "src=", "@import", "url(", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
    for title in ["Score over training", "Final score</h4>", "Final score as bars</h4>"] {
        let titled = format!("<h4>{title}");
        let mut figures = page.split("<figure>");
        let figure = figures.find(|figure| figure.starts_with(&titled));
        assert!(figure.is_some_and(|figure| figure.contains("<svg ")), "{title}: not drawn");
    }
}

#[test]
fn a_defect_of_the_finding_is_told_apart_from_a_missing_cell() {
    let out = tempfile::tempdir().unwrap();
    let contrasts = || {
        let mut contrasts = claimed();
        contrasts[1].per_seed = |seed| seed.scalar("null", "no such metric");
        contrasts
    };
    let report = run_in(out.path(), 2, &Synthetic { contrasts, ..Synthetic::default() }.boxed());
    let finding = &report.findings[0];
    assert_eq!(finding.verdict, Verdict::Inconclusive);
    assert!(!report.is_clean());
    assert!(finding.defects[0].contains("has no scalar `no such metric`; it has: score"));
}

#[test]
fn a_table_of_an_arm_that_is_not_run_is_left_out_but_one_of_an_unknown_arm_is_a_defect() {
    let report = |tabled: &'static str| {
        let out = tempfile::tempdir().unwrap();
        let finding =
            Synthetic { without: &["null"], tabled: Some(tabled), ..Synthetic::default() };
        run_in(out.path(), 2, &finding.boxed())
    };
    let absent = report("null");
    assert_eq!(absent.findings[0].not_shown, ["tables: arm `null` has no record at seed 0"]);
    assert!(absent.is_clean());
    let unknown = report("nul");
    assert_eq!(unknown.findings[0].defects, ["tables: arm `nul` has no record at seed 0"]);
    assert!(!unknown.is_clean());
}

#[test]
fn two_findings_of_one_name_are_refused() {
    let out = tempfile::tempdir().unwrap();
    let twice: [Box<dyn Finding>; 2] =
        [Box::new(Synthetic::default()), Box::new(Synthetic::default())];
    let error = run(&twice, &options(out.path(), 1), |_| (), |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "the finding `synthetic` is listed twice");
}

#[test]
fn the_page_tells_the_projects_effect_from_the_papers_and_when_a_contrast_was_fixed() {
    let contrasts = || {
        let [first, second] = claimed().try_into().unwrap();
        let published = Some("0.7 nats on their <task>");
        vec![
            Contrast { published, registered: Registered::AfterPilot, ..first },
            Contrast { registered: Registered::PostHoc, attainable: Some(|_| Ok(0.4)), ..second },
        ]
    };
    let page = |contrasts, seeds| {
        let out = tempfile::tempdir().unwrap();
        let mut options = options(out.path(), 2);
        options.settings.seeds = seeds;
        let finding = Synthetic { contrasts, ..Synthetic::default() };
        let report = run(&finding.boxed(), &options, |_| (), |_| ()).unwrap();
        (report, fs::read_to_string(out.path().join("report.html")).unwrap())
    };
    let (report, text) = page(contrasts, None);
    let finding = &report.findings[0];
    assert_eq!(finding.verdict, Verdict::Reproduced, "{}", finding.why);
    assert_eq!(finding.contrasts[1].judgement, Judgement::Undecided);
    for shown in [
        "Effect in the paper",
        "0.7 nats on their &lt;task&gt;",
        "it is not the paper’s effect",
        "after a pilot",
        "post hoc",
        "no room for the effect: at most 0.4 is attainable",
    ] {
        assert!(text.contains(shown), "{shown}");
    }
    let (_, plain) = page(claimed, None);
    assert!(!plain.contains("Effect in the paper") && plain.contains("before any run"));

    let nothing = "Intervals over n = 2 seeds mean nothing";
    assert!(!plain.contains(nothing));
    let (_, pairs) = page(claimed, Some(2));
    // Wherever there are intervals: beside contrasts and controls, under figures and tables.
    let mut places: Vec<usize> = [
        "<th>Contrast</th>",
        "<th>Control</th>",
        "<h4>Score over training",
        "<h4>Final score</h4>",
        "<h4>Final score as bars</h4>",
        "<h4>Scores</h4>",
    ]
    .map(|place| pairs.find(place).unwrap())
    .to_vec();
    places.push(pairs.len());
    places.sort_unstable();
    for ends in places.windows(2) {
        let place = &pairs[ends[0]..ends[1]];
        assert!(place.contains(nothing), "{place}");
    }
    assert!(pairs.contains("fewer than 5 seeds"));
}
