//! What produces the numbers: the code, hashed from the checkout at run time, its compiler, and the
//! instructions that the machine offers.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use headwater_protocol::Build;

/// Everything about this binary and this machine that may change bits.
pub(crate) fn build(workspace: &Path) -> anyhow::Result<Build> {
    Ok(Build {
        code_version: code_version(workspace)?,
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

/// 16 hex digits of the BLAKE3 hash over the sorted (path, bytes) of every `*.rs` and `Cargo.toml` under
/// `crates`, the root `Cargo.toml` (features and profile decide bits, too) and `Cargo.lock`.
///
/// `xtask` itself is left out: it computes no number.
pub(crate) fn code_version(workspace: &Path) -> anyhow::Result<String> {
    let is_code =
        |path: &Path| path.extension().is_some_and(|e| e == "rs") || path.ends_with("Cargo.toml");
    let mut files = files_under(&workspace.join("crates"))?;
    files.retain(|path| is_code(path));
    files.extend(["Cargo.toml", "Cargo.lock"].map(|name| workspace.join(name)));
    let mut named = Vec::with_capacity(files.len());
    for path in files {
        let relative = path.strip_prefix(workspace).unwrap_or(&path);
        // The same on every system: parts joined by `/`.
        let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        named.push((parts.join("/"), bytes));
    }
    named.sort();
    let mut hasher = blake3::Hasher::new();
    for (name, bytes) in named {
        // Lengths are part of the message, so that no two trees share an encoding.
        for part in [name.as_bytes(), &bytes] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    Ok(hasher.finalize().to_hex()[..16].to_owned())
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
mod tests {
    use super::*;

    #[test]
    fn the_build_names_compiler_and_instructions() {
        let build = build(crate::workspace()).unwrap();
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
}
