//! Exit codes and messages of the command line, as a script sees them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

#[path = "command_line/fetch.rs"]
mod fetch;
#[path = "../src/data/loopback.rs"]
#[allow(dead_code, reason = "the tests of the command line ask for less than those of its parts")]
mod loopback;

/// `cargo xtask <arguments>` in `directory`, without the caller's environment in the way.
fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(arguments).current_dir(directory);
    let own = ["HEADWATER_DATA", "HEADWATER_GITHUB_RAW"];
    let proxies =
        ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    own.iter().chain(&proxies).for_each(|name| {
        command.env_remove(name);
    });
    // The folder of caches, on every system.
    let cache = directory.join("cache");
    command.env("XDG_CACHE_HOME", &cache).env("LOCALAPPDATA", &cache).env("HOME", directory);
    command
}

fn xtask(directory: &Path, arguments: &[&str]) -> Output {
    command(directory, arguments).output().unwrap()
}

fn expect(output: &Output, code: i32, words: &[&str]) {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[test]
fn an_unknown_finding_is_a_usage_error_that_lists_what_there_is() {
    let here = tempfile::tempdir().unwrap();
    let output = xtask(here.path(), &["repro", "no-such-finding"]);
    expect(&output, 2, &["there is no finding or claim `no-such-finding`; there are: "]);
    assert!(fs::read_dir(here.path()).unwrap().next().is_none(), "nothing was written");
}

#[test]
fn a_claim_is_run_by_its_name_and_an_unknown_one_is_a_usage_error_that_lists_its_findings() {
    let here = tempfile::tempdir().unwrap();
    let call = |words: &[&str]| {
        let preset = ["--preset", "smoke", "--out", "run"];
        xtask(here.path(), &[&["repro"], words, &preset].concat())
    };
    let unknown = call(&["negative-reinforcement/pass-at-j"]);
    let listed = "there are: negative-reinforcement/pass-at-k, negative-reinforcement/positives";
    expect(&unknown, 2, &["there is no claim `negative-reinforcement/pass-at-j`", listed]);
    let twice = call(&["calibration", "--claim", "calibration"]);
    expect(&twice, 2, &["`calibration` is named twice"]);
    assert!(fs::read_dir(here.path()).unwrap().next().is_none(), "nothing was written");

    let claim = "negative-reinforcement/positives-lose";
    expect(&call(&["--claim", claim]), 0, &[&format!("{claim}  inconclusive")]);
    let records = fs::read_dir(here.path().join("run/records/negative-reinforcement")).unwrap();
    let arms = records.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut arms: Vec<String> = arms.map(|name| name.split('.').next().unwrap().into()).collect();
    arms.sort_unstable();
    arms.dedup();
    assert_eq!(arms, ["base", "nsr", "nsr-permuted", "psr", "psr-permuted"]);
    let page = fs::read_to_string(here.path().join("run/report.html")).unwrap();
    assert!(page.contains(&format!("Only this was run: {claim}.")));
    assert!(page.contains("Not run: w-reinforce, grpo, ppo."), "series without records are named");
}

#[test]
fn findings_are_listed_with_claims_and_one_of_them_with_its_arms() {
    let here = tempfile::tempdir().unwrap();
    let all = xtask(here.path(), &["list"]);
    expect(&all, 0, &["cascade/magnifies: Optimisation finds", "calibration/brier-repairs: "]);
    let one = xtask(here.path(), &["list", "calibration"]);
    let file = "calibration-bandits: crates/headwater-findings/src/experiments/calibration_bandits";
    expect(&one, 0, &["calibration/brier-repairs: ", file, "\n    double-brier (5 seeds)\n"]);
    assert!(!String::from_utf8_lossy(&one.stdout).contains("cascade"));
    expect(&xtask(here.path(), &["list", "calibratoin"]), 2, &["no finding `calibratoin`"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_reader_that_has_gone_is_no_failure_and_a_full_disk_is_one() {
    let list = |output: std::process::Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["data", "list"]).stdout(output).output().unwrap()
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    expect(&list(writer.into()), 0, &[]);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    expect(&list(full.into()), 3, &["cannot write to standard output: "]);
}

#[test]
fn a_bad_preset_device_or_number_is_a_usage_error() {
    let here = tempfile::tempdir().unwrap();
    let call = |arguments: &[&str]| xtask(here.path(), arguments);
    let preset = call(&["repro", "--preset", "fast"]);
    expect(&preset, 2, &["preset `fast` does not exist; there are: smoke, quick, full"]);
    let device = call(&["repro", "--device", "tpu"]);
    expect(&device, 2, &["device `tpu` does not exist; there are: flex, wgpu, cuda"]);
    expect(&call(&["repro", "--seeds", "0"]), 2, &["--seeds", "at least 1"]);
    expect(&call(&["repro", "--seeds", "20000"]), 2, &["--seeds = 20000: allowed are at most"]);
    expect(&call(&["repro", "--jobs", "0"]), 2, &["--jobs", "at least 1"]);
    expect(&call(&["repro", "--jobs", "two"]), 2, &["--jobs", "a whole number, at least 1"]);
    expect(
        &call(&["repro", "--data", "no/such/place"]),
        2,
        &["--data no/such/place: not a directory"],
    );
    expect(&call(&["no-such-command"]), 2, &["no-such-command"]);
    assert!(fs::read_dir(here.path()).unwrap().next().is_none(), "nothing was written");
}

#[test]
fn a_device_that_is_not_built_in_is_refused_before_anything_is_written() {
    let here = tempfile::tempdir().unwrap();
    let built_in = [("wgpu", cfg!(feature = "wgpu")), ("cuda", cfg!(feature = "cuda"))];
    for (device, _) in built_in.into_iter().filter(|(_, built_in)| !built_in) {
        let output = xtask(here.path(), &["repro", "cascade", "--device", device]);
        expect(&output, 2, &[&format!("the cargo feature `{device}` adds it; there are: flex")]);
    }
    assert!(fs::read_dir(here.path()).unwrap().next().is_none(), "nothing was written");
}

#[test]
fn a_named_place_for_data_must_exist_and_the_option_is_used_alone() {
    let outer = tempfile::tempdir().unwrap();
    let here = outer.path().join("checkout");
    fs::create_dir_all(here.join("data/truthfulqa")).unwrap();
    fs::create_dir_all(here.join("named/stories260k")).unwrap();
    fs::create_dir_all(here.join("empty")).unwrap();
    let with = |variable: &str, arguments: &[&str]| {
        command(&here, arguments).env("HEADWATER_DATA", variable).output().unwrap()
    };
    let wrong = with("no/such/place", &["data", "list"]);
    expect(&wrong, 2, &["HEADWATER_DATA no/such/place: not a directory"]);
    let text = |output: Output| {
        expect(&output, 0, &[]);
        String::from_utf8(output.stdout).unwrap()
    };
    // The variable comes before the usual places, and an empty one is none.
    let listed = text(with("named", &["data", "list"]));
    assert!(listed.contains("named/stories260k") && listed.contains("data/truthfulqa"), "{listed}");
    assert!(text(with("", &["data", "list"])).contains("data/truthfulqa"));
    let alone = text(with("named", &["data", "list", "--data", "empty"]));
    assert!(!alone.contains("named/") && !alone.contains("data/truthfulqa"), "{alone}");
    // Not even looked at.
    text(with("no/such/place", &["data", "list", "--data", "empty"]));
}

/// `repro cascade` without its data sets: only what is planted is run.
fn cascade(here: &Path, out: &str) -> Output {
    fs::create_dir_all(here.join("empty")).unwrap();
    xtask(here, &["repro", "cascade", "--preset", "smoke", "--data", "empty", "--out", out])
}

#[test]
fn a_run_whose_data_is_missing_says_what_that_costs_and_how_to_get_it() {
    let here = tempfile::tempdir().unwrap();
    let output = cascade(here.path(), "run");
    expect(&output, 0, &["inconclusive"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let cost = said.lines().find(|line| line.starts_with("  cascade: ")).unwrap();
    assert!(cost.contains(" comparisons, for want of truthfulqa"), "{said}");
    assert!(said.contains("`cargo xtask data fetch` gets them"), "{said}");
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(found.contains("Not run: ") && found.contains(" comparisons of cascade;"), "{found}");
    // Why, and each comparison's name, are in the report.
    let reason = "data set truthfulqa not found";
    let page = fs::read_to_string(here.path().join("run/report.html")).unwrap();
    assert_eq!(page.matches(reason).count(), 1);
    let json = fs::read_to_string(here.path().join("run/report.json")).unwrap();
    assert!(json.contains("\"name\": \"truth, informativeness proxy: best of 16 - best of 1\""));
}

#[test]
fn a_log_has_the_plan_a_line_for_each_cell_and_the_verdict_and_a_finished_run_is_only_reported() {
    let here = tempfile::tempdir().unwrap();
    let first = cascade(here.path(), "run");
    expect(&first, 0, &[]);
    let said = String::from_utf8(first.stderr).unwrap();
    assert!(!said.contains('\u{1b}'), "escape codes are for terminals: {said}");
    let cells = said.lines().filter(|line| line.starts_with('[')).count();
    assert!(said.starts_with("1 finding, preset smoke, device flex, "), "{said}");
    assert!(said.contains(&format!("[{cells}/{cells}] cascade/")), "{said}");
    assert_eq!(said.matches("\ncascade: inconclusive\n").count(), 1, "{said}");
    let found = String::from_utf8(first.stdout).unwrap();
    assert!(
        found.lines().count() < 10 && found.ends_with("The report: run/report.html\n"),
        "{found}"
    );

    let again = cascade(here.path(), "run");
    expect(&again, 0, &[]);
    assert_eq!(String::from_utf8(again.stdout).unwrap(), found);
    let said = String::from_utf8(again.stderr).unwrap();
    let there = format!("{cells} cells have their records in run already: nothing is left to run.");
    assert!(said.contains(&there) && said.contains("\ncascade: inconclusive\n"), "{said}");
    assert!(!said.lines().any(|line| line.starts_with('[')), "{said}");
}

/// Files under a directory whose writing was not ended.
#[cfg(unix)]
fn half_written(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(half_written(&path));
        } else if path.extension().is_some_and(|end| end == "partial") {
            found.push(path);
        }
    }
    found
}

#[cfg(unix)]
#[test]
fn ctrl_c_says_how_to_go_on_leaves_whole_files_and_the_same_command_goes_on() {
    use std::io::{BufRead, BufReader, Read};
    use std::process::Stdio;

    let here = tempfile::tempdir().unwrap();
    fs::create_dir(here.path().join("empty")).unwrap();
    let words = ["repro", "cascade", "--preset", "smoke", "--data", "empty", "--out", "my run"];
    for (signal, code, cells) in [("INT", 130, 3), ("TERM", 143, 6)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(words).current_dir(here.path()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.starts_with('[') || !line.contains(&format!("{cells}/")) {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "the run ended by itself");
        }
        let kill = format!("-{signal}");
        Command::new("kill").args([kill, child.id().to_string()]).status().unwrap();
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{rest}");
        let go_on =
            "To go on: cargo xtask repro cascade --preset smoke --data empty --out 'my run'\n";
        assert!(rest.contains("are done and kept in my run") && rest.ends_with(go_on), "{rest}");
        assert_eq!(half_written(&here.path().join("my run")), [""; 0].map(Path::new));
    }
    let output = xtask(here.path(), &words);
    expect(&output, 0, &[" cells have their records in my run already."]);
    assert!(here.path().join("my run/report.html").exists());
}

#[test]
fn a_damaged_data_file_is_found_when_planning_and_named_as_the_reason() {
    let here = tempfile::tempdir().unwrap();
    let set = here.path().join("empty/truthfulqa");
    fs::create_dir_all(&set).unwrap();
    fs::write(set.join("answers_truth_info.jsonl.gz"), "not what it should be").unwrap();
    let output = cascade(here.path(), "run");
    let reason = "answers_truth_info.jsonl.gz: 21 bytes, expected 3033888";
    expect(&output, 1, &["inconclusive", reason]);
    for text in [&output.stdout, &output.stderr] {
        assert_eq!(String::from_utf8_lossy(text).matches(reason).count(), 1);
    }
    let page = fs::read_to_string(here.path().join("run/report.html")).unwrap();
    assert_eq!(page.matches(reason).count(), 1);
    let records = fs::read_dir(here.path().join("run/records/cascade")).unwrap();
    let names: Vec<String> =
        records.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().any(|name| name.starts_with("dose-0-model")), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("truth-600")), "{names:?}");
}

#[test]
fn a_place_that_is_no_run_directory_is_refused_and_left_alone() {
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("file"), "mine").unwrap();
    expect(&cascade(here.path(), "file"), 2, &["--out file: it is a file"]);
    fs::create_dir(here.path().join("thesis")).unwrap();
    fs::write(here.path().join("thesis/report.html"), "mine").unwrap();
    let refused = cascade(here.path(), "thesis");
    expect(&refused, 2, &["--out thesis: it holds `report.html` and no run.json"]);
    for file in ["file", "thesis/report.html"] {
        assert_eq!(fs::read_to_string(here.path().join(file)).unwrap(), "mine");
    }
    assert_eq!(fs::read_dir(here.path().join("thesis")).unwrap().count(), 1);
}

#[test]
fn a_report_by_another_code_than_the_run_names_both() {
    let here = tempfile::tempdir().unwrap();
    expect(&cascade(here.path(), "run"), 0, &[]);
    expect(&xtask(here.path(), &["report", "run"]), 0, &["report.html"]);
    let manifest = here.path().join("run/run.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let start = text.find("\"workspace\": \"").unwrap() + 14;
    let ours = &text[start..start + 16];
    fs::write(&manifest, text.replace(ours, "0123456789abcdef")).unwrap();
    let output = xtask(here.path(), &["report", "run"]);
    expect(&output, 0, &[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("0123456789abcdef") && errors.contains(ours), "{errors}");
    let page = fs::read_to_string(here.path().join("run/report.html")).unwrap();
    assert!(page.contains("0123456789abcdef") && page.contains(ours));
}

#[test]
fn a_report_of_what_is_no_run_directory_is_a_run_error() {
    let here = tempfile::tempdir().unwrap();
    let nowhere = xtask(here.path(), &["report", "nowhere"]);
    expect(&nowhere, 3, &["cannot read", "run.json"]);
    let text = String::from_utf8_lossy(&nowhere.stderr);
    assert_eq!(text.matches("os error 2").count(), 1, "the system's text is not repeated: {text}");
    fs::write(here.path().join("run.json"), "{").unwrap();
    expect(&xtask(here.path(), &["report", "."]), 3, &["run.json does not parse"]);
}

#[test]
fn a_malformed_data_file_is_named_and_a_missing_set_is_not_an_error() {
    // One level down, so that `../shared/data` lies in the temporary directory as well.
    let outer = tempfile::tempdir().unwrap();
    let here = outer.path().join("checkout");
    fs::create_dir(&here).unwrap();
    expect(&xtask(&here, &["data", "verify"]), 0, &["truthfulqa        not found"]);
    expect(&xtask(&here, &["data", "list"]), 0, &["stories260k", "MIT"]);

    let set = here.join("data/truthfulqa");
    fs::create_dir_all(&set).unwrap();
    fs::write(set.join("answers_truth_info.jsonl.gz"), "not what it should be").unwrap();
    let output = xtask(&here, &["data", "verify"]);
    expect(
        &output,
        1,
        &["DAMAGED", "answers_truth_info.jsonl.gz: 21 bytes, expected 3033888", "mc_task.json.gz"],
    );
}

#[test]
fn the_workspace_keeps_its_own_rules() {
    let here = tempfile::tempdir().unwrap();
    let output = xtask(here.path(), &["tidy"]);
    expect(&output, 0, &["tidy"]);
}
