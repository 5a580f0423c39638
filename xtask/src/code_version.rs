//! What produces the numbers: the code, hashed from the checkout at run time, its compiler, and the
//! instructions that the machine offers.
//!
//! A record is keyed by the code that computes it: the sources of its experiment, of the modules
//! that these use, and of the crates that those use, without comments, docs and tests; with the
//! manifests, the profile, and the locked versions of everything below. Captions, claims, verdict
//! rules and other experiments are not in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use headwater_protocol::{Build, Code};
use headwater_report::Chapter;

mod sources;
mod tokens;

use sources::Sources;

use crate::fingerprint::fingerprint;

/// Everything about this binary and this machine that may change bits.
pub(crate) fn build(workspace: &Path, chapters: &[Chapter]) -> anyhow::Result<Build> {
    let built_from = env!("HEADWATER_FINGERPRINT");
    let now = fingerprint(workspace).context("reading the sources of the checkout")?;
    if format!("{now:x}") != built_from {
        bail!(
            "this program was built from other sources than {} holds now; `cargo xtask` builds it anew",
            workspace.display()
        );
    }
    let experiments = chapters.iter().flat_map(|chapter| &chapter.finding.experiments);
    let ids: BTreeSet<&str> = experiments.map(|experiment| experiment.id()).collect();
    Ok(Build {
        code: Code {
            workspace: code_version(workspace)?,
            experiments: experiment_code(workspace, &ids)?,
        },
        compiler: env!("HEADWATER_COMPILER").to_owned(),
        instructions: instructions(),
    })
}

/// The widest instruction set that the kernels have a variant for and this machine has.
fn instructions() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        if has!("avx2") && has!("fma") {
            let wide = has!("avx512f") && has!("avx512bw") && has!("avx512cd");
            let wide = wide && has!("avx512dq") && has!("avx512vl");
            return if wide { "AVX-512" } else { "AVX2" }.to_owned();
        }
    }
    format!("other ({})", std::env::consts::ARCH)
}

/// By id, the hash of the code that computes an experiment's numbers.
///
/// # Errors
/// When an experiment has no file of its name, or a source cannot be read.
pub(crate) fn experiment_code(
    workspace: &Path,
    ids: &BTreeSet<&str>,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut sources = Sources::of(workspace)?;
    ids.iter().map(|id| Ok(((*id).to_owned(), hash(sources.of_experiment(id)?)))).collect()
}

/// The hash of every `*.rs` and `Cargo.toml` under `crates`, the root `Cargo.toml` and
/// `Cargo.lock`: it names a report's code as a whole.
///
/// `xtask` itself is left out: it computes no number.
pub(crate) fn code_version(workspace: &Path) -> anyhow::Result<String> {
    let is_code =
        |path: &Path| path.extension().is_some_and(|e| e == "rs") || path.ends_with("Cargo.toml");
    let mut files = files_under(&workspace.join("crates"))?;
    files.retain(|path| is_code(path));
    files.extend(["Cargo.toml", "Cargo.lock"].map(|name| workspace.join(name)));
    let mut named = BTreeMap::new();
    for path in files {
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        named.insert(relative(workspace, &path), text);
    }
    Ok(hash(named))
}

/// 16 hex digits of the BLAKE3 hash over the sorted (name, content).
fn hash(named: BTreeMap<String, impl AsRef<[u8]>>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, content) in named {
        // Lengths are part of the message, so that no two trees share an encoding.
        for part in [name.as_bytes(), content.as_ref()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// A path below the workspace, the same on every system: parts joined by `/`.
fn relative(workspace: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(workspace).unwrap_or(path);
    relative.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Every file under a directory, in no particular order.
pub(crate) fn files_under(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let failed = || format!("reading {}", directory.display());
        for entry in fs::read_dir(&directory).with_context(failed)? {
            let entry = entry.with_context(failed)?;
            let path = entry.path();
            if entry.file_type().with_context(failed)?.is_dir() {
                directories.push(path);
            } else {
                files.push(path);
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
