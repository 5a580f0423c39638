//! The run directory: records, artifacts, timings, the manifest and the report. All writes are
//! atomic.
//!
//! ```text
//! run.json                                    what was run, under which conditions
//! records/<finding>/<arm>.<seed>.<key>.json   one per finished cell; the same bytes on every run
//! timings/<finding>/<arm>.<seed>.<key>.json   its wall time, apart because it never repeats
//! artifacts/<key>.bin                         what the cell left for those that need it
//! report.html, report.json
//! ```

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use serde::{Deserialize, Serialize};

use crate::manifest::{Manifest, Previous};
use crate::records::Record;
use crate::{DeviceKind, Preset, ProtocolError};

/// Names a cell's files: finding, arm, seed and key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CellName<'a> {
    pub(crate) finding: &'a str,
    pub(crate) arm: &'a str,
    pub(crate) seed: u64,
    pub(crate) key: &'a str,
}

/// What a look for a record finds.
pub(crate) enum Found {
    Whole(Box<Record>),
    Absent,
    /// A file that cannot be trusted, and why.
    Damaged(PathBuf, String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Timing {
    seconds: f64,
}

/// The part of a record that says under what it ran.
#[derive(Deserialize)]
struct Ran {
    arm: String,
    preset: Preset,
    device: DeviceKind,
}

/// Held for reading while a file is written, for writing while none may be.
static WRITES: RwLock<()> = RwLock::new(());

fn writing() -> RwLockReadGuard<'static, ()> {
    WRITES.read().unwrap_or_else(PoisonError::into_inner)
}

/// Does `then` while no thread of this process writes to a run directory; writes that come up
/// meanwhile wait.
///
/// A program that ends in the middle of a run does so in here, so that it leaves no part of a file
/// behind.
pub fn between_writes<T>(then: impl FnOnce() -> T) -> T {
    let _no_writes = WRITES.write().unwrap_or_else(PoisonError::into_inner);
    then()
}

/// A run directory.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    root: PathBuf,
}

impl Store {
    /// A run directory that is to be written, created where absent, and the run it holds already.
    ///
    /// A directory that holds anything else is refused before a byte is written: it is somebody's.
    pub(crate) fn create(root: &Path) -> Result<(Self, Previous), ProtocolError> {
        if root.is_file() {
            return Err(ProtocolError::OutIsFile(root.to_owned()));
        }
        let store = Self::open(root);
        let refuse = |reason| ProtocolError::NotARunDirectory { path: root.to_owned(), reason };
        let previous = match read(&root.join("run.json"))? {
            Content::Bytes(bytes) => Previous::parse(&bytes).map_err(refuse)?,
            Content::Directory => return Err(refuse("its run.json is a directory".to_owned())),
            Content::Absent => match foreign_entry(root)? {
                None => Previous::None,
                Some(name) => {
                    return Err(refuse(format!("it holds `{name}` and no run.json")));
                }
            },
        };
        fs::create_dir_all(root).map_err(|source| failed("create", root, source))?;
        store.remove_leftovers();
        Ok((store, previous))
    }

    /// Removes the partial files of runs that were killed.
    ///
    /// Best effort: a leftover does no harm. A writer holds its file locked until the rename, so
    /// what cannot be locked belongs to a run that goes on.
    fn remove_leftovers(&self) {
        let entries = |directory: PathBuf| {
            fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
        };
        let folders = ["records", "timings"].map(|name| self.root.join(name));
        let of_cells = folders.into_iter().flat_map(entries).flat_map(entries);
        let others = [self.root.clone(), self.root.join("artifacts")].into_iter().flat_map(entries);
        for path in of_cells.chain(others).filter(|path| is_partial(path)) {
            if let Ok(file) = File::options().write(true).open(&path)
                && file.try_lock().is_ok()
            {
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// A run directory that is there already.
    pub(crate) fn open(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn read_record(&self, cell: CellName<'_>) -> Result<Found, ProtocolError> {
        let path = self.cell_file("records", cell);
        Ok(match read(&path)? {
            Content::Absent => Found::Absent,
            Content::Directory => Found::Damaged(path, "it is a directory".to_owned()),
            Content::Bytes(bytes) => match Record::parse(&bytes, cell.key) {
                Ok(record) => Found::Whole(Box::new(record)),
                Err(reason) => Found::Damaged(path, reason),
            },
        })
    }

    /// Writes what a finished cell leaves. The record comes last: once it is there, all of it is
    /// there.
    pub(crate) fn write_cell(
        &self,
        cell: CellName<'_>,
        record: &Record,
        artifact: Option<&[u8]>,
        seconds: f64,
    ) -> Result<(), ProtocolError> {
        let _writing = writing();
        if let Some(bytes) = artifact {
            replace(&self.artifact_file(cell.key), bytes)?;
        }
        let timing = serde_json::json!(Timing { seconds }).to_string();
        replace(&self.cell_file("timings", cell), timing.as_bytes())?;
        replace(&self.cell_file("records", cell), record.to_json().as_bytes())
    }

    /// The artifact of the cell `key`, if it has the content its record names.
    pub(crate) fn read_artifact(&self, key: &str, hash: &str) -> Result<Vec<u8>, ProtocolError> {
        let path = self.artifact_file(key);
        let bytes = match read(&path)? {
            Content::Bytes(bytes) => bytes,
            Content::Absent => {
                let reason = "it is not there".to_owned();
                return Err(ProtocolError::BadArtifact { path, reason });
            }
            Content::Directory => {
                let reason = "it is a directory".to_owned();
                return Err(ProtocolError::BadArtifact { path, reason });
            }
        };
        let found = blake3::hash(&bytes).to_hex();
        if found.as_str() == hash {
            return Ok(bytes);
        }
        let reason = format!("its hash is {found}, the record names {hash}");
        Err(ProtocolError::BadArtifact { path, reason })
    }

    /// Wall time of the cell when it ran, in seconds; `None` where its timing is lost, which harms
    /// nothing.
    pub(crate) fn seconds(&self, cell: CellName<'_>) -> Option<f64> {
        let bytes = fs::read(self.cell_file("timings", cell)).ok()?;
        serde_json::from_slice::<Timing>(&bytes).ok().map(|timing| timing.seconds)
    }

    pub(crate) fn write_manifest(&self, manifest: &Manifest) -> Result<(), ProtocolError> {
        let text = serde_json::to_string_pretty(manifest).expect("a manifest is plain JSON data");
        self.write("run.json", &text)
    }

    pub(crate) fn read_manifest(&self) -> Result<Manifest, ProtocolError> {
        let path = self.root.join("run.json");
        let bytes = fs::read(&path).map_err(|source| failed("read", &path, source))?;
        serde_json::from_slice(&bytes).map_err(|source| ProtocolError::BadManifest { path, source })
    }

    /// Mean wall time, by arm, of the cells of a finding that runs under this preset and on this
    /// device left here, whatever code ran them; in seconds. What cannot be read is left out.
    pub(crate) fn seconds_by_arm(
        &self,
        finding: &str,
        preset: Preset,
        device: DeviceKind,
    ) -> HashMap<String, f64> {
        let mut all: HashMap<String, Vec<f64>> = HashMap::new();
        let names = fs::read_dir(self.root.join("timings").join(finding));
        for name in names.into_iter().flatten().flatten().map(|entry| entry.file_name()) {
            let file = |folder| fs::read(self.root.join(folder).join(finding).join(&name)).ok();
            let timing = file("timings").and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let ran = file("records").and_then(|bytes| serde_json::from_slice::<Ran>(&bytes).ok());
            let (Some(Timing { seconds }), Some(ran)) = (timing, ran) else { continue };
            if ran.preset == preset && ran.device == device {
                all.entry(ran.arm).or_default().push(seconds);
            }
        }
        let mean = |seconds: &[f64]| seconds.iter().sum::<f64>() / seconds.len() as f64;
        all.into_iter().map(|(arm, seconds)| (arm, mean(&seconds))).collect()
    }

    /// Writes a file at the top of the run directory.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), ProtocolError> {
        let _writing = writing();
        write_atomically(&self.root.join(name), text.as_bytes())
    }

    fn cell_file(&self, folder: &str, cell: CellName<'_>) -> PathBuf {
        // 16 of 64 hex digits name the file; the whole key is inside and checked.
        let short = &cell.key[..16];
        let name = format!("{}.{}.{short}.json", cell.arm, cell.seed);
        self.root.join(folder).join(cell.finding).join(name)
    }

    fn artifact_file(&self, key: &str) -> PathBuf {
        self.root.join("artifacts").join(format!("{key}.bin"))
    }
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> ProtocolError {
    ProtocolError::Io { action, path: path.to_owned(), source }
}

enum Content {
    Bytes(Vec<u8>),
    Directory,
    Absent,
}

fn read(path: &Path) -> Result<Content, ProtocolError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Content::Bytes(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Content::Absent),
        // Asked afterwards, because systems disagree on the error that reading a directory is.
        Err(_) if path.is_dir() => Ok(Content::Directory),
        Err(error) => Err(failed("read", path, error)),
    }
}

/// The first entry of a directory that no killed run can have left: before its `run.json` there are
/// only partial files. `None` also where there is no directory.
fn foreign_entry(root: &Path) -> Result<Option<String>, ProtocolError> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", root, error)),
    };
    let mut foreign: Vec<String> = Vec::new();
    for entry in entries {
        let name = entry.map_err(|source| failed("read", root, source))?.file_name();
        let name = name.to_string_lossy().into_owned();
        let is_ours = name.starts_with("run.json.") && is_partial(Path::new(&name));
        if !is_ours {
            foreign.push(name);
        }
    }
    foreign.sort();
    Ok(foreign.into_iter().next())
}

/// Writes a cell's file. An empty directory in its place goes; one that holds something is an
/// error, because what is in it is not ours to delete.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), ProtocolError> {
    if path.is_dir() {
        fs::remove_dir(path)
            .map_err(|source| failed("put a file in the place of the directory", path, source))?;
    }
    write_atomically(path, bytes)
}

/// Temp file in the same directory, flushed to the disk, renamed, and the directory flushed: after
/// a kill or a power cut at any moment the path holds the old content, the new content or nothing,
/// never a part.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ProtocolError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(|source| failed("create", directory, source))?;
    let mut partial = path.as_os_str().to_owned();
    // The process id keeps two runs over one directory apart; within a run one thread writes a
    // cell.
    partial.push(format!(".{}.partial", std::process::id()));
    let partial = PathBuf::from(partial);
    let rename = |file| {
        fs::rename(&partial, path)?;
        drop(file);
        Ok(())
    };
    let mut written = write_and_flush(&partial, bytes).and_then(rename);
    if written.as_ref().is_err_and(|error: &std::io::Error| error.kind() == ErrorKind::NotFound) {
        // A run that just began took the file for a leftover, before it was locked.
        written = write_and_flush(&partial, bytes).and_then(rename);
    }
    if let Err(source) = written {
        // Best effort: the error that matters is the first one.
        let _ = fs::remove_file(&partial);
        return Err(failed("write", path, source));
    }
    flush_directory(directory).map_err(|source| failed("write", directory, source))
}

/// `<name>.<process>.partial`
fn is_partial(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let process = name.strip_suffix(".partial").and_then(|name| name.rsplit_once('.'));
    process.is_some_and(|(_, id)| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The written file, locked for as long as it is held.
fn write_and_flush(path: &Path, bytes: &[u8]) -> std::io::Result<File> {
    let mut file = File::create(path)?;
    // Some file systems have no locks: there a leftover may be removed that is none, and is
    // written again.
    let _ = file.try_lock();
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(file)
}

/// A rename is on the disk once its directory is; only Unix lets a directory be flushed.
#[cfg(unix)]
fn flush_directory(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn flush_directory(_directory: &Path) -> std::io::Result<()> {
    Ok(())
}
