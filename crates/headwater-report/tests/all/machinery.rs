//! The whole machinery on findings whose truth is known.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::synthetic::{
    CODE, CONTROL, LEVEL, NULL, Planted, SCORE, Synthetic, TREATED, claimed, options,
};
use headwater_protocol::*;
use headwater_report::{Chapter, Figure, Part, Report, ReportError, Table, render, run};

fn run_in(out: &Path, jobs: u8, findings: &[Chapter]) -> Report {
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
fn events_of(out: &Path, finding: Synthetic) -> (Report, Vec<String>) {
    let seen = Mutex::new(Vec::new());
    let report = run(
        &finding.chapters(),
        &options(out, 2),
        |_| (),
        |event| {
            let Event::Cell { arm, seed, what, .. } = event else { return };
            let word = match what {
                CellEvent::Reused => "reused",
                CellEvent::Discarded { .. } => "discarded",
                CellEvent::Started => "started",
                CellEvent::Finished { .. } => "finished",
                CellEvent::Failed { .. } => "failed",
                CellEvent::Skipped { .. } => "skipped",
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
    let report = run_in(out.path(), 2, &Synthetic { planted, ..Synthetic::default() }.chapters());
    assert!(report.findings[0].found.defects.is_empty(), "{:?}", report.findings[0].found.defects);
    report.findings[0].found.verdict
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
    run_in(one.path(), 1, &Synthetic::default().chapters());
    run_in(many.path(), 8, &Synthetic::default().chapters());
    assert_eq!(files(one.path(), "records").len(), 25);
    assert_eq!(files(one.path(), "records"), files(many.path(), "records"));
    assert_eq!(files(one.path(), "artifacts"), files(many.path(), "artifacts"));
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bytes() {
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run_in(whole.path(), 2, &Synthetic::default().chapters());
    run_in(cut.path(), 2, &Synthetic::default().chapters());

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

    let (report, seen) = events_of(cut.path(), Synthetic::default());
    assert!(!partial.exists(), "it is of no run");
    // Only what is missing runs, and of the base cells only those whose artifact is needed for it.
    let finished: Vec<&str> = seen.iter().filter_map(|s| s.strip_prefix("finished ")).collect();
    assert_eq!(finished, ["base.0", "base.1", "base.2", "null.2", "plain.0", "treated.1"]);
    let discarded: Vec<&str> = seen.iter().filter_map(|s| s.strip_prefix("discarded ")).collect();
    assert_eq!(discarded, ["base.0", "base.1", "base.2", "null.2", "treated.1"]);
    assert_eq!(files(whole.path(), "records"), files(cut.path(), "records"));
    assert_eq!(report.findings[0].found.verdict, Verdict::Reproduced);
}

#[test]
fn a_finished_run_runs_nothing_again_and_another_code_version_everything() {
    let out = tempfile::tempdir().unwrap();
    let finding: Vec<Chapter> = Synthetic::default().chapters();
    run_in(out.path(), 2, &finding);
    let (_, seen) = events_of(out.path(), Synthetic::default());
    assert!(seen.iter().all(|what| what.starts_with("reused ")) && seen.len() == 25, "{seen:?}");

    let mut other = options(out.path(), 2);
    other.build.compiler.push_str("-nightly");
    let started = Mutex::new(0);
    run(
        &finding,
        &other,
        |_| (),
        |event| {
            let is_start = matches!(event, Event::Cell { what: CellEvent::Started, .. });
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
            || Ok(Metrics::new().scalar(&SCORE, f64::NAN).into()),
            "metric `score` is NaN, which is not a finite number",
        ),
    ];
    for (arm, instead, reason) in cases {
        let out = tempfile::tempdir().unwrap();
        let finding =
            Synthetic { sabotage: Some((arm.into(), 1, instead)), ..Synthetic::default() };
        let (report, seen) = events_of(out.path(), finding);
        let finding = &report.findings[0].found;
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
        let (report, _) = events_of(out.path(), Synthetic::default());
        assert!(report.is_clean());
        assert_eq!(report.findings[0].found.verdict, Verdict::Reproduced);
    }
}

#[test]
fn an_arm_that_is_not_run_leaves_its_contrasts_out_and_says_so() {
    let out = tempfile::tempdir().unwrap();
    let report = run_in(
        out.path(),
        2,
        &Synthetic { without: vec![NULL], ..Synthetic::default() }.chapters(),
    );
    let finding = &report.findings[0].found;
    assert_eq!(finding.contrasts.len(), 1);
    assert_eq!(finding.omitted[0].name, "score: null - plain");
    assert_eq!(finding.omitted[0].reason, finding.not_run[0].reason);
    assert_eq!(finding.verdict, Verdict::Inconclusive, "what was planned is not all measured");
    assert!(finding.why.contains("score: null - plain"), "{}", finding.why);
    assert!(report.is_clean());
    let page = fs::read_to_string(out.path().join("report.html")).unwrap();
    assert!(page.contains("data set y not found: docs/data.md says where it comes from"));

    let report = run_in(
        out.path(),
        2,
        &Synthetic { without: vec![CONTROL], ..Synthetic::default() }.chapters(),
    );
    assert_eq!(report.findings[0].found.verdict, Verdict::Inconclusive, "no control, no verdict");
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error_and_harms_no_record() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let below = file.join("run");
    let error =
        run(&Synthetic::default().chapters(), &options(&below, 2), |_| (), |_| ()).unwrap_err();
    assert!(
        matches!(error, ReportError::Protocol(ProtocolError::Io { .. })) && !error.is_usage(),
        "{error}"
    );
    assert!(error.to_string().contains("file"));

    // The disk refuses in the middle of a run: records written before stay.
    let good = out.path().join("good");
    run_in(&good, 2, &Synthetic::default().chapters());
    let before = files(&good, "records");
    let more = Synthetic { id: "more", ..Synthetic::default() };
    fs::write(good.join("records/more"), "in the way").unwrap();
    let error = run(&more.chapters(), &options(&good, 2), |_| (), |_| ()).unwrap_err();
    assert!(error.to_string().contains("more"), "{error}");
    fs::remove_file(good.join("records/more")).unwrap();
    assert_eq!(files(&good, "records"), before);
}

#[test]
fn the_report_renders_again_from_the_records_alone() {
    let out = tempfile::tempdir().unwrap();
    let finding = Synthetic::default().chapters();
    run_in(out.path(), 2, &finding);
    let read = |name: &str| fs::read_to_string(out.path().join(name)).unwrap();
    let (html, json) = (read("report.html"), read("report.json"));
    fs::remove_file(out.path().join("report.html")).unwrap();
    fs::remove_file(out.path().join("report.json")).unwrap();
    render(&finding, out.path(), CODE).unwrap();
    assert_eq!((read("report.html"), read("report.json")), (html, json));

    let strange = [Synthetic { id: "other", ..Synthetic::default() }.chapter()];
    let error = render(&strange, out.path(), CODE).unwrap_err().to_string();
    assert_eq!(error, "there is no finding or claim `synthetic` in this build");
}

#[test]
fn figures_and_tables_of_a_part_stand_under_its_heading() {
    let out = tempfile::tempdir().unwrap();
    run_in(out.path(), 2, &Synthetic::default().chapters());
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
    run_in(out.path(), 2, &Synthetic::default().chapters());
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
        contrasts[1].measure = LEVEL.of(NULL);
        contrasts
    };
    let report = run_in(out.path(), 2, &Synthetic { contrasts, ..Synthetic::default() }.chapters());
    let finding = &report.findings[0].found;
    assert_eq!(finding.verdict, Verdict::Inconclusive);
    assert!(!report.is_clean());
    assert!(finding.defects[0].contains("has no scalar `level`; it has: score"));
}

#[test]
fn what_is_not_run_is_left_out_of_figures_by_name_and_stands_in_tables_as_such() {
    let out = tempfile::tempdir().unwrap();
    let finding = Synthetic { without: vec![NULL], ..Synthetic::default() };
    let report = run_in(out.path(), 2, &finding.chapters());
    assert!(report.is_clean() && report.findings[0].not_shown.len() == 2);
    assert!(report.findings[0].not_shown[0].contains("arm `null` has no record at seed 0"));
    let page = fs::read_to_string(out.path().join("report.html")).unwrap();
    assert!(page.contains("stays there. Not run: null. n = 5 seeds."));
    assert!(page.contains("no record"));
}

#[test]
fn a_misspelt_name_is_refused_before_anything_is_written() {
    let out = tempfile::tempdir().unwrap();
    let refused = |chapter: Chapter| {
        let at = out.path().join("run");
        let error = run(&[chapter], &options(&at, 1), |_| (), |_| ()).unwrap_err().to_string();
        assert!(!at.exists());
        error
    };
    let contrast = |measure: fn() -> Measure| {
        let mut chapter = Synthetic::default().chapter();
        chapter.finding.claims[0].contrasts[0].measure = measure();
        refused(chapter)
    };
    let reader = "synthetic: the comparison “score: treated - plain” reads ";
    assert_eq!(
        contrast(|| SCORE.of("treatd")),
        format!("{reader}arm `treatd`, which no plan of synthetic has")
    );
    assert_eq!(
        contrast(|| Scalar::new("scor").of(TREATED)),
        format!("{reader}scalar `scor` of arm `treated`, which `synthetic` does not record")
    );
    assert!(contrast(|| Series::new("score").last(TREATED)).contains("series `score`"));
    let mut roomless = Synthetic::default().chapter();
    roomless.finding.claims[0].contrasts[0].room = Some(SCORE.of("nobody"));
    assert!(refused(roomless).contains("arm `nobody`"));
    let mut control = Synthetic::default().chapter();
    control.finding.claims[0].controls[0].measure = SCORE.of("controll");
    assert!(refused(control).contains("“score: control - plain” reads arm `controll`"));

    let shown = |part: Part| {
        let mut chapter = Synthetic::default().chapter();
        chapter.parts.push(part);
        refused(chapter)
    };
    let figure = Figure::dots("Dots", ["a"], "v").by_category("s", [SCORE.of("nul")]);
    assert!(shown(Part::new("").figure(figure)).contains("the figure “Dots” reads arm `nul`"));
    let table = Table::of_arms("All", "arm", [NULL], [Scalar::new("scorr")]);
    assert!(shown(Part::new("").table(table)).contains("the table “All” reads scalar `scorr`"));
}

#[test]
fn a_metric_that_was_not_declared_fails_the_cell_that_records_it() {
    let out = tempfile::tempdir().unwrap();
    let instead: crate::synthetic::Instead =
        || Ok(Metrics::new().scalar(&Scalar::new("extra"), 1.0).into());
    let finding = Synthetic { sabotage: Some((NULL, 2, instead)), ..Synthetic::default() };
    let report = run_in(out.path(), 2, &finding.chapters());
    let failure = &report.findings[0].found.failures[0];
    assert_eq!((&failure.arm, failure.seed), (&NULL, 2));
    assert_eq!(failure.reason, "`extra` is recorded and not among the experiment's metrics");
}

#[test]
fn a_claim_by_name_runs_what_it_needs_and_shows_its_comparisons_only() {
    let out = tempfile::tempdir().unwrap();
    let mut options = options(out.path(), 2);
    options.only = vec!["synthetic/stays".into()];
    let chapters = Synthetic::default().chapters();
    let report = run(&chapters, &options, |_| (), |_| ()).unwrap();
    let found = &report.findings[0].found;
    let arms: Vec<String> = found.records.arms().into_iter().map(ToString::to_string).collect();
    assert_eq!(arms, ["base", "control", "null", "plain"], "and not the treated one");
    let names: Vec<&str> = found.contrasts.iter().map(|c| c.name.as_str()).collect();
    assert_eq!((names, found.controls.len()), (vec!["score: null - plain"], 1));
    assert_eq!((found.verdict, found.cells), (Verdict::Reproduced, 20));
    assert!(report.is_clean(), "{:?}", found.defects);
    let page = fs::read_to_string(out.path().join("report.html")).unwrap();
    assert!(page.contains("Only this was run: synthetic/stays."));
    // The records count for the whole finding.
    options.only = vec!["synthetic".into()];
    let report = run(&chapters, &options, |_| (), |_| ()).unwrap();
    assert_eq!(report.findings[0].found.contrasts.len(), 2);
    options.only = vec!["synthetic/nothing".into()];
    let error = run(&chapters, &options, |_| (), |_| ()).unwrap_err().to_string();
    assert!(error.contains("finding or claim `synthetic/nothing`"), "{error}");
}

#[test]
fn two_findings_of_one_name_are_refused() {
    let out = tempfile::tempdir().unwrap();
    let twice: [Chapter; 2] = [Synthetic::default().chapter(), Synthetic::default().chapter()];
    let error = run(&twice, &options(out.path(), 1), |_| (), |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "the finding `synthetic` is listed twice");
}

#[test]
fn the_page_tells_the_projects_effect_from_the_papers_and_when_a_contrast_was_fixed() {
    let contrasts = || {
        let [first, second] = claimed().try_into().unwrap();
        let published = "0.7 nats on their <task>";
        vec![
            first.published(published).registered(Registered::AfterPilot),
            second.registered(Registered::PostHoc).room(0.4.into()),
        ]
    };
    let page = |contrasts, seeds| {
        let out = tempfile::tempdir().unwrap();
        let mut options = options(out.path(), 2);
        options.settings.seeds = seeds;
        let finding = Synthetic { contrasts, ..Synthetic::default() };
        let report = run(&finding.chapters(), &options, |_| (), |_| ()).unwrap();
        (report, fs::read_to_string(out.path().join("report.html")).unwrap())
    };
    let (report, text) = page(contrasts, None);
    let finding = &report.findings[0].found;
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
