use super::*;

#[test]
fn the_build_names_compiler_and_instructions() {
    let build = build(crate::workspace(), &[]).unwrap();
    assert!(build.compiler.starts_with("rustc 1."), "{}", build.compiler);
    let known = ["AVX-512", "AVX2", "other ("];
    assert!(known.iter().any(|name| build.instructions.starts_with(name)));
}

#[test]
fn the_version_changes_with_code_and_with_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("Cargo.toml", "[workspace]");
    write("Cargo.lock", "");
    write("crates/a/src/lib.rs", "fn a() {}");
    let version = || code_version(root.path()).unwrap();
    let first = version();
    assert_eq!(first.len(), 16);
    write("crates/a/README.md", "words");
    write("docs/x.rs", "fn unused() {}");
    assert_eq!(version(), first);
    write("crates/a/src/lib.rs", "fn a() { }");
    assert_ne!(version(), first);
    write("crates/a/src/lib.rs", "fn a() {}");
    assert_eq!(version(), first);
    for name in ["crates/b/src/lib.rs", "crates/a/Cargo.toml"] {
        write(name, "");
        assert_ne!(version(), first, "{name}");
        fs::remove_file(root.path().join(name)).unwrap();
    }
    write("Cargo.lock", "version = 4");
    assert_ne!(version(), first);
}

/// A copy of this workspace's code that can be changed.
struct Copy(tempfile::TempDir);

impl Copy {
    fn new() -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        let workspace = crate::workspace();
        let mut files = files_under(&workspace.join("crates")).unwrap();
        files.extend(["Cargo.toml", "Cargo.lock"].map(|name| workspace.join(name)));
        for file in files {
            if file.extension().is_some_and(|end| ["rs", "toml", "lock"].iter().any(|e| end == *e))
            {
                let to = copy.0.path().join(relative(workspace, &file));
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(file, to).unwrap();
            }
        }
        copy
    }

    fn code(&self) -> BTreeMap<String, String> {
        let ids = ["negative-reinforcement", "calibration", "decision-losses"];
        experiment_code(self.0.path(), &BTreeSet::from(ids)).unwrap()
    }

    /// The experiments whose code changes where `from` becomes `to` in a file.
    fn changed(&self, file: &str, from: &str, to: &str) -> Vec<String> {
        let before = self.code();
        let path = self.0.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no `{from}`");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let after = self.code();
        fs::write(&path, text).unwrap();
        before.into_iter().filter(|(id, code)| after[id] != *code).map(|(id, _)| id).collect()
    }
}

const CLAIMS: &str = "crates/headwater-findings/src/claims/negative_reinforcement.rs";
const EXPERIMENT: &str = "crates/headwater-findings/src/experiments/negative_reinforcement.rs";
const TRAINER: &str = "crates/headwater-optimizers/src/trainer/settings.rs";

#[test]
fn what_computes_nothing_reruns_nothing() {
    let copy = Copy::new();
    let verdict = "crates/headwater-protocol/src/verdict.rs";
    for (what, file, from, to) in [
        ("a caption", CLAIMS, "256 samples per puzzle", "So many samples per puzzle"),
        ("a smallest effect", CLAIMS, "0.03)", "0.04)"),
        ("a verdict's level", verdict, "const LEVEL: f64 = 0.05;", "const LEVEL: f64 = 0.01;"),
        ("a comment", EXPERIMENT, "// Many small steps", "// Lots of small steps"),
        ("a docstring below", TRAINER, "/// Prompts per step", "/// The prompts per step"),
        ("a test", EXPERIMENT, "fn its_smoke_run_has_a_report", "fn it_runs"),
        ("white space", EXPERIMENT, "let mut plan", "let  mut  plan"),
    ] {
        assert_eq!(copy.changed(file, from, to), [""; 0], "{what}");
    }
}

#[test]
fn what_computes_reruns_the_experiments_that_it_computes_and_no_others() {
    let copy = Copy::new();
    let calibration = "crates/headwater-findings/src/experiments/calibration.rs";
    let optimised = ["calibration", "negative-reinforcement"];
    let all = ["calibration", "decision-losses", "negative-reinforcement"];
    let streams = "crates/headwater-core/src/streams.rs";
    let context = "crates/headwater-protocol/src/context.rs";
    let countdown = "crates/headwater-tasks/src/countdown.rs";
    for (what, file, from, to, expected) in [
        ("a default", TRAINER, "prompts_per_step: 32", "prompts_per_step: 16", &optimised[..]),
        ("a setting", EXPERIMENT, "hidden: 160", "hidden: 128", &["negative-reinforcement"]),
        ("another experiment", calibration, "hidden: 64", "hidden: 32", &["calibration"]),
        ("a task", countdown, "impl Puzzle {", "impl Puzzle { const X: u8 = 1;", &optimised[1..]),
        ("streams", streams, "impl Streams {", "impl Streams { const X: u8 = 1;", &all),
        ("the context", context, "impl CellContext {", "impl CellContext { const X: u8 = 1;", &all),
        ("the profile", "Cargo.toml", "opt-level = 3", "opt-level = 2", &all),
        (
            "a version",
            "Cargo.lock",
            "name = \"rand\"\nversion = \"",
            "name = \"rand\"\nversion = \"9",
            &all,
        ),
    ] {
        assert_eq!(copy.changed(file, from, to), expected, "{what}");
    }
}

#[test]
fn every_experiment_of_the_build_has_its_sources() {
    let chapters = headwater_findings::all(&Default::default());
    let code = build(crate::workspace(), &chapters).unwrap().code;
    let experiments = chapters.iter().map(|chapter| chapter.finding.experiments.len());
    assert_eq!(code.experiments.len(), experiments.sum::<usize>(), "ids are unique");
    let different: BTreeSet<&String> = code.experiments.values().collect();
    assert_eq!(different.len(), code.experiments.len());
}
