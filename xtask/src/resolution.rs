//! What cargo resolves: the workspace's packages, and whether every build of the workspace asks the
//! same of the packages below the tensor library.
//!
//! A feature that one build turns on and another does not makes cargo compile that package, and
//! everything above it, a second time: minutes on two cores.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use serde::Deserialize;

/// The tensor library: what is compared is this package and all it depends on.
const TENSORS: &str = "burn-core";

/// The part of `cargo metadata` that is read here.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    kind: Option<String>,
}

impl Dependency {
    /// False for what only tests need.
    pub(crate) fn ships(&self) -> bool {
        self.kind.as_deref() != Some("dev")
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    kind: Vec<String>,
    pub(crate) src_path: String,
}

impl Target {
    pub(crate) fn is_lib_or_bin(&self) -> bool {
        self.kind.iter().any(|kind| kind == "lib" || kind == "bin")
    }
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    kind: Option<String>,
}

impl Metadata {
    pub(crate) fn workspace_packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Names of all that a package depends on, itself included; what only tests need does not
    /// count.
    pub(crate) fn reachable(&self, package: &str) -> impl Iterator<Item = &str> {
        let edges: HashMap<&str, &[Edge]> =
            self.resolve.nodes.iter().map(|node| (node.id.as_str(), &node.deps[..])).collect();
        let start = self.workspace_packages().find(|candidate| candidate.name == package);
        let mut open: Vec<&str> = start.map(|package| package.id.as_str()).into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                let edges = edges.get(id).copied().unwrap_or_default();
                let ships = |edge: &&Edge| {
                    edge.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev"))
                };
                open.extend(edges.iter().filter(ships).map(|edge| edge.pkg.as_str()));
            }
        }
        let named = self.packages.iter().filter(move |package| seen.contains(package.id.as_str()));
        named.map(|package| package.name.as_str())
    }
}

/// Asks cargo for the workspace's packages and what they depend on.
pub(crate) fn metadata(workspace: &Path) -> anyhow::Result<Metadata> {
    let text = cargo(workspace, &["metadata", "--locked", "--format-version", "1"])?;
    serde_json::from_str(&text).context("reading the answer of `cargo metadata`")
}

/// The features of every package at or below the tensor library, in one build.
type Features = BTreeMap<String, String>;

/// Packages at or below the tensor library that are built with other features by `cargo test
/// --workspace`, or by `cargo test -p` of a crate on it, than by `cargo xtask`.
pub(crate) fn differences(workspace: &Path, metadata: &Metadata) -> anyhow::Result<Vec<String>> {
    let tree = |selected: &[&str]| {
        let common = ["tree", "--locked", "--no-dedupe", "--prefix", "depth"];
        let shown = ["--edges", "normal,build,dev", "--format", "|{p}|{f}"];
        let arguments: Vec<&str> =
            common.into_iter().chain(shown).chain(selected.iter().copied()).collect();
        Ok::<_, anyhow::Error>(features(&cargo(workspace, &arguments)?))
    };
    let first = tree(&["--package", "xtask"])?;
    if first.is_empty() {
        bail!("`{TENSORS}` is not among what `cargo xtask` is built from");
    }
    let mut violations = compare("--workspace", &first, &tree(&["--workspace"])?);
    for package in metadata.workspace_packages().filter(|package| package.name != "xtask") {
        if metadata.reachable(&package.name).any(|name| name == TENSORS) {
            let build = format!("-p {}", package.name);
            violations.extend(compare(&build, &first, &tree(&["--package", &package.name])?));
        }
    }
    Ok(violations)
}

/// Reads a `cargo tree` whose lines are `depth|package version|features`.
fn features(tree: &str) -> Features {
    let mut found = BTreeMap::<String, BTreeSet<&str>>::new();
    let mut tensors_at = None;
    for line in tree.lines() {
        let mut parts = line.split('|');
        let (Some(depth), Some(package), Some(features)) =
            (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let Ok(depth) = depth.parse::<usize>() else { continue };
        if tensors_at.is_some_and(|at| depth <= at) {
            tensors_at = None;
        }
        let mut words = package.split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if tensors_at.is_none() && name == TENSORS {
            tensors_at = Some(depth);
        }
        if tensors_at.is_some() {
            found.entry(format!("{name} {version}")).or_default().insert(features);
        }
    }
    let joined = |sets: BTreeSet<&str>| sets.into_iter().collect::<Vec<_>>().join(" and ");
    found.into_iter().map(|(package, sets)| (package, joined(sets))).collect()
}

fn compare(build: &str, first: &Features, second: &Features) -> Vec<String> {
    let packages: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let absent = "not built".to_owned();
    packages
        .into_iter()
        .filter_map(|package| {
            let [here, there] = [first, second].map(|build| build.get(package).unwrap_or(&absent));
            (here != there).then(|| {
                format!("`cargo test {build}` builds {package} anew: [{there}], for xtask [{here}]")
            })
        })
        .collect()
}

fn cargo(workspace: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program).args(arguments).current_dir(workspace).output();
    let output = output.context("starting cargo")?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`cargo {}` failed: {}", arguments.join(" "), stderr.trim_end());
    }
    String::from_utf8(output.stdout).context("reading what cargo printed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TREE: &str = "0|xtask v0.1.0|\n1|log v0.4.0|std\n1|burn-core v0.22.1|flex,std\n\
                        2|log v0.4.0|\n2|half v2.0.0|std\n1|csv v1.3.0|\n2|half v2.0.0|\n";

    #[test]
    fn features_are_those_at_or_below_the_tensor_library() {
        let features = features(TREE);
        let listed: Vec<_> = features.iter().map(|(p, f)| (p.as_str(), f.as_str())).collect();
        let expected =
            [("burn-core v0.22.1", "flex,std"), ("half v2.0.0", "std"), ("log v0.4.0", "")];
        assert_eq!(listed, expected);
    }

    #[test]
    fn a_difference_names_build_package_and_both_sets() {
        let here = features(TREE);
        assert!(compare("--workspace", &here, &here).is_empty());
        let there = features(&TREE.replace("2|half v2.0.0|std", "2|half v2.0.0|default"));
        assert_eq!(
            compare("--workspace", &here, &there),
            ["`cargo test --workspace` builds half v2.0.0 anew: [default], for xtask [std]"]
        );
        let less = features("0|burn-core v0.22.1|flex,std\n1|half v2.0.0|std\n");
        let found = compare("-p headwater-nn", &here, &less);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("log v0.4.0") && found[0].contains("[not built]"), "{found:?}");
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_a_tree_panic(text in "[0-9a-z|v. \\n]{0,200}") {
            features(&text);
        }
    }
}
