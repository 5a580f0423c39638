//! `tidy`: the rules of the workspace that no compiler checks.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::code_version::files_under;
use crate::resolution::{self, Metadata};
use crate::{Outcome, workspace};

/// Layers from the bottom up; a crate depends on crates of lower layers only.
const LAYERS: &[&[&str]] = &[
    &["headwater-core"],
    &["headwater-data", "headwater-evaluation", "headwater-rewards", "headwater-kernels"],
    &[
        "headwater-invariance",
        "headwater-tasks",
        "headwater-protocol",
        "headwater-small-net",
        "headwater-nn",
    ],
    &[
        "headwater-report",
        "headwater-reward-models",
        "headwater-optimizers",
        "headwater-decisions",
        "headwater-recsys",
    ],
    &["headwater-self-improvement"],
    &["headwater-findings"],
    &["xtask"],
];

/// Crates that build in seconds because they never reach the tensor library.
const WITHOUT_BURN: &[&str] = &[
    "headwater-core",
    "headwater-data",
    "headwater-evaluation",
    "headwater-rewards",
    "headwater-invariance",
    "headwater-kernels",
    "headwater-tasks",
    "headwater-protocol",
    "headwater-report",
    "headwater-small-net",
    "headwater-decisions",
    "headwater-recsys",
];

/// Longest file.
const MOST_LINES: usize = 500;

/// Longest function without a reason: a comment right above it that begins with `Long:`.
const MOST_FUNCTION_LINES: usize = 80;

/// Checks the whole workspace and prints every violation.
pub(crate) fn tidy() -> anyhow::Result<Outcome> {
    let metadata = resolution::metadata(workspace())?;
    let mut violations = direction(&metadata);
    violations.extend(reaching_burn(&metadata));
    violations.extend(resolution::differences(workspace(), &metadata)?);
    violations.extend(described(&metadata)?);
    let machine_paths = machine_paths();
    for folder in ["benches", "crates", "xtask", "docs"] {
        for path in files_under(&workspace().join(folder))? {
            let name = path.strip_prefix(workspace()).unwrap_or(&path).display().to_string();
            let is_text = [".rs", ".toml", ".md"].iter().any(|end| name.ends_with(end));
            if is_text && !name.split('/').any(|part| part == "target") {
                let text = fs::read_to_string(&path).with_context(|| format!("reading {name}"))?;
                violations.extend(in_text(&name, &text, &machine_paths));
            }
        }
    }
    violations.sort();
    for violation in &violations {
        say!("{violation}");
    }
    if violations.is_empty() {
        say!("tidy");
        return Ok(Outcome::Done);
    }
    say!("{} violations", violations.len());
    Ok(Outcome::Found)
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

fn direction(metadata: &Metadata) -> Vec<String> {
    let mut violations = Vec::new();
    for package in metadata.workspace_packages() {
        let shipped = package.dependencies.iter().filter(|dependency| dependency.ships());
        let names = shipped.map(|dependency| dependency.name.as_str());
        violations.extend(wrong_edges(&package.name, names));
    }
    violations
}

/// Edges from `name` that do not lead to a lower layer. Dev-dependencies are not among them:
/// rewards are tested with what is built on rewards.
fn wrong_edges<'a>(name: &str, dependencies: impl Iterator<Item = &'a str>) -> Vec<String> {
    let Some(own) = layer(name) else {
        return vec![format!("{name}: has no layer; give it one in xtask/src/tidy.rs")];
    };
    dependencies
        .filter(|&other| layer(other).is_some_and(|layer| layer >= own))
        .map(|other| format!("{name}: depends on {other}, which is not in a lower layer"))
        .collect()
}

fn reaching_burn(metadata: &Metadata) -> Vec<String> {
    let reach = |package: &str| metadata.reachable(package).any(|name| name.starts_with("burn"));
    WITHOUT_BURN
        .iter()
        .filter(|package| reach(package))
        .map(|package| format!("{package}: reaches burn, which it must not"))
        .collect()
}

fn described(metadata: &Metadata) -> anyhow::Result<Vec<String>> {
    let mut violations = Vec::new();
    for package in metadata.workspace_packages() {
        if package.description.as_deref().is_none_or(str::is_empty) {
            violations.push(format!("{}: has no description", package.name));
        }
        for target in package.targets.iter().filter(|target| target.is_lib_or_bin()) {
            let path = Path::new(&target.src_path);
            let text =
                fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            if !text.starts_with("//!") {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                violations.push(format!("{}: {name} does not begin with `//!`", package.name));
            }
        }
    }
    Ok(violations)
}

/// What a source file or document must not hold. The words are put together so that this file
/// passes.
fn in_text(name: &str, text: &str, machine_paths: &[String]) -> Vec<String> {
    let mut violations = Vec::new();
    let lines = text.lines().count();
    if lines > MOST_LINES && !name.ends_with(".md") {
        violations.push(format!("{name}: {lines} lines, at most {MOST_LINES} are allowed"));
    }
    let leftovers = [concat!("todo", "!("), concat!("FIX", "ME"), concat!("unimplemented", "!(")];
    if name.ends_with(".rs") {
        violations.extend(long_functions(name, text));
    }
    for (at, line) in text.lines().enumerate() {
        let at = at + 1;
        for word in leftovers.iter().filter(|word| line.contains(**word)) {
            violations.push(format!("{name}:{at}: `{word}` is left over"));
        }
        for path in machine_paths.iter().filter(|path| names_path(line, path)) {
            violations.push(format!("{name}:{at}: names the machine's path `{path}`"));
        }
    }
    violations
}

/// Functions that are long and do not say why. The code is formatted, so a function ends where a
/// brace stands as far in as it began.
fn long_functions(name: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut violations = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let inner = line.trim_start();
        let words: Vec<&str> = inner.split_whitespace().collect();
        let before_fn = words.iter().position(|word| *word == "fn");
        let is_qualifier =
            |word: &&str| ["const", "unsafe", "async"].contains(word) || word.starts_with("pub");
        let is_function = before_fn.is_some_and(|at| words[..at].iter().all(is_qualifier));
        if !is_function || line.ends_with(';') {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - inner.len()]);
        let length = lines[at..].iter().position(|line| *line == end).map_or(0, |back| back + 1);
        let says_why = at > 0 && lines[at - 1].trim_start().starts_with("// Long: ");
        if length > MOST_FUNCTION_LINES && !says_why {
            violations.push(format!(
                "{name}:{}: a function of {length} lines; above {MOST_FUNCTION_LINES} a comment \
                 `// Long: ...` right above it says why",
                at + 1
            ));
        }
    }
    violations
}

/// Where people keep their files, and where this checkout lies.
fn machine_paths() -> Vec<String> {
    let usual = [concat!("/ho", "me/"), concat!("/Us", "ers/")].map(str::to_owned);
    let ancestors = workspace().ancestors().map(|path| format!("{}/", path.display()));
    usual.into_iter().chain(ancestors.filter(|path| path.len() > 2)).collect()
}

/// True if `path` occurs where a path can begin, not inside a longer one such as a URL.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '~')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_that_runs_back_or_sideways_is_named() {
        let edges = |name: &str, on: &[&str]| wrong_edges(name, on.iter().copied());
        assert!(edges("headwater-nn", &["headwater-core", "burn", "headwater-kernels"]).is_empty());
        assert_eq!(edges("headwater-rewards", &["headwater-rewards"]).len(), 1);
        assert_eq!(
            edges("headwater-rewards", &["headwater-findings"]),
            ["headwater-rewards: depends on headwater-findings, which is not in a lower layer"]
        );
        assert_eq!(edges("headwater-rewards", &["headwater-evaluation"]).len(), 1);
        assert!(edges("headwater-other", &[])[0].contains("has no layer"));
    }

    #[test]
    fn a_long_function_says_why() {
        let function = |head: &str, lines: usize| {
            format!(
                "{head}    pub(crate) fn f(\n        x: u8,\n    ) {{\n{}    }}\n",
                "        x;\n".repeat(lines)
            )
        };
        let found = |text: &str| long_functions("a.rs", text);
        assert!(found(&function("", 76)).is_empty());
        assert_eq!(found(&function("", 77)).len(), 1);
        assert!(found(&function("", 77))[0].starts_with("a.rs:1: a function of 81 lines"));
        assert!(found(&function("    // Long: it is a table.\n", 77)).is_empty());
        assert_eq!(found(&format!("{}\n{}", function("", 3), function("", 90))).len(), 1);
    }

    #[test]
    fn leftovers_long_files_and_machine_paths_are_found() {
        let found = in_text("a.rs", &format!("x\n{}()\n", concat!("todo", "!")), &[]);
        assert_eq!(found, [format!("a.rs:2: `{}` is left over", concat!("todo", "!("))]);
        assert_eq!(in_text("a.rs", &"x\n".repeat(501), &[]).len(), 1);
        assert!(in_text("a.md", &"x\n".repeat(501), &[]).is_empty());
        let paths = machine_paths();
        let path = &paths[0];
        assert_eq!(in_text("a.md", &format!("see `{path}me/x`"), &paths).len(), 1);
        assert!(in_text("a.md", &format!("https://example.org{path}page"), &paths).is_empty());
    }
}
