//! Real data sets: where they lie, whether they are what they should be, and readers for them.
//!
//! Sets are looked for in a list of directories and never downloaded. Every file is checked against the
//! size and SHA-256 in [`DATA_SETS`] before a byte of it is used. Each reader is a method of [`DataDir`] in a
//! file of its own, with the type of its rows; a row that is not as it should be is an error that names it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

mod content;
mod labels;
mod objects;
mod registry;
mod table;
#[cfg(test)]
pub(crate) mod testing;

pub mod adult;
pub mod alpaca_eval_meta;
pub mod bbq;
pub mod cad_imdb;
pub mod cebab;
pub mod digits_8x8;
pub mod hh_rlhf;
pub mod judgebench;
pub mod llmbar;
pub mod madlibs;
pub mod open_bandit;
pub mod pneumoniamnist;
pub mod rm_bench;
pub mod sycophancy_mwe;
pub mod truthfulqa;
pub mod vader_lexicon;
pub mod winobias;
pub mod winogender;

pub use labels::{Better, Split};
pub use registry::DATA_SETS;

/// A data set as this build knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataSet {
    /// Name, and name of its directory.
    pub name: &'static str,
    /// What it holds, in a few words.
    pub content: &'static str,
    /// Its licence.
    pub licence: &'static str,
    /// Where it comes from; `docs/data.md` says more.
    pub source: &'static str,
    /// The files the readers use.
    pub files: &'static [DataFile],
}

/// One file of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataFile {
    /// Name within the set's directory.
    pub name: &'static str,
    /// Size.
    pub bytes: u64,
    /// SHA-256 of the content, 64 hex digits.
    pub sha256: &'static str,
}

/// Why a data set cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// None of the directories holds the set. An arm that needs it is reported with this text.
    #[error("data set {set} not found: docs/data.md says where it comes from")]
    NotFound {
        /// Name of the set.
        set: String,
    },
    /// A name that is not in [`DATA_SETS`].
    #[error("there is no data set `{0}`; `cargo xtask data list` names those there are")]
    Unknown(String),
    /// A file that is not the one this build knows.
    #[error("{}: {found}, expected {expected}", path.display())]
    Altered {
        /// The file.
        path: PathBuf,
        /// What it has.
        found: String,
        /// What it should have.
        expected: String,
    },
    /// A file that could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A row that does not hold what it should.
    #[error("{}, {unit} {number}: {reason}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// What `number` counts: `line`s of the uncompressed text, or `record`s of an array.
        unit: &'static str,
        /// Where the row begins, from 1.
        number: usize,
        /// What is wrong with it: field, value, what is allowed. The content of free texts is not shown.
        reason: String,
    },
}

/// The directories in which data sets are looked for, in order.
///
/// Clones share the files that were read: a file is checked once, and every cell of a run computes on the
/// bytes that were checked.
#[derive(Debug, Clone, Default)]
pub struct DataDir {
    roots: Vec<PathBuf>,
    checked: Arc<Mutex<Checked>>,
}

#[derive(Debug, Default)]
struct Checked {
    files: HashMap<PathBuf, Arc<[u8]>>,
    damaged: Vec<String>,
}

/// What a check of one data set found.
#[derive(Debug)]
pub enum SetState {
    /// Every file is there and is the one this build knows.
    Verified(PathBuf),
    /// None of the directories holds it.
    NotFound,
    /// It is there, but these files are not as they should be.
    Damaged(Vec<DataError>),
}

impl DataDir {
    /// Data sets under `roots`; a set is taken from the first root that has a directory of its name.
    pub fn new(roots: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { roots: roots.into_iter().collect(), checked: Arc::default() }
    }

    /// The directory of a set, whatever is in it.
    ///
    /// # Errors
    /// [`DataError::Unknown`] for a name that is not in [`DATA_SETS`], [`DataError::NotFound`] where no
    /// root has it.
    pub fn find(&self, set: &str) -> Result<PathBuf, DataError> {
        known(set)?;
        let places = self.roots.iter().map(|root| root.join(set));
        let found = places.into_iter().find(|place| place.is_dir());
        found.ok_or_else(|| DataError::NotFound { set: set.to_owned() })
    }

    /// The directory of a set all of whose files are as they should be: what a plan asks for, so that a
    /// damaged file is told once and before anything runs.
    ///
    /// # Errors
    /// As [`DataDir::find`]; [`DataError::Altered`] and [`DataError::Io`] name the first file that is wrong.
    pub fn locate(&self, set: &str) -> Result<PathBuf, DataError> {
        let directory = self.find(set)?;
        for file in known(set)?.files {
            self.read_once(&directory, file)?;
        }
        Ok(directory)
    }

    /// The content of one file of a set, after its size and hash were found right.
    ///
    /// # Errors
    /// As [`DataDir::locate`], for this file only.
    pub fn read(&self, set: &str, file: &str) -> Result<Arc<[u8]>, DataError> {
        let directory = self.find(set)?;
        let known = known(set)?.files.iter().find(|known| known.name == file);
        let known = known.ok_or_else(|| DataError::Unknown(format!("{set}/{file}")))?;
        self.read_once(&directory, known)
    }

    fn read_once(&self, directory: &Path, file: &DataFile) -> Result<Arc<[u8]>, DataError> {
        let path = directory.join(file.name);
        // Held while reading, so that cells which start together do not all read and hash.
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = checked.files.get(&path) {
            return Ok(bytes.clone());
        }
        let bytes: Arc<[u8]> = match read_checked(&path, file) {
            Ok(bytes) => bytes.into(),
            Err(error) => {
                let text = error.to_string();
                if !checked.damaged.contains(&text) {
                    checked.damaged.push(text);
                }
                return Err(error);
            }
        };
        checked.files.insert(path, bytes.clone());
        Ok(bytes)
    }

    /// Every file that was asked for and is not as it should be, each once.
    #[must_use]
    pub fn damaged(&self) -> Vec<String> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner).damaged.clone()
    }

    /// Checks every file of every set in [`DATA_SETS`].
    #[must_use]
    pub fn verify(&self) -> Vec<(&'static DataSet, SetState)> {
        DATA_SETS.iter().map(|set| (set, self.verify_set(set))).collect()
    }

    fn verify_set(&self, set: &DataSet) -> SetState {
        let Ok(directory) = self.find(set.name) else { return SetState::NotFound };
        let check = |file: &DataFile| read_checked(&directory.join(file.name), file).err();
        let damaged: Vec<DataError> = set.files.iter().filter_map(check).collect();
        if damaged.is_empty() { SetState::Verified(directory) } else { SetState::Damaged(damaged) }
    }
}

fn known(set: &str) -> Result<&'static DataSet, DataError> {
    let found = DATA_SETS.iter().find(|known| known.name == set);
    found.ok_or_else(|| DataError::Unknown(set.to_owned()))
}

fn read_checked(path: &Path, known: &DataFile) -> Result<Vec<u8>, DataError> {
    let failed = |source| DataError::Io { path: path.to_owned(), source };
    let altered =
        |found, expected| Err(DataError::Altered { path: path.to_owned(), found, expected });
    // The size first: a file that is far too large is never read.
    let size = fs::metadata(path).map_err(failed)?.len();
    if size != known.bytes {
        return altered(format!("{size} bytes"), format!("{}", known.bytes));
    }
    let bytes = fs::read(path).map_err(failed)?;
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if hash != known.sha256 {
        return altered(format!("sha256 {hash}"), known.sha256.to_owned());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_well_formed() {
        let names: Vec<&str> = DATA_SETS.iter().map(|set| set.name).collect();
        assert!(names.is_sorted() && names.contains(&"truthfulqa"));
        for file in DATA_SETS.iter().flat_map(|set| set.files) {
            assert!(file.sha256.len() == 64 && file.bytes > 0, "{file:?}");
            assert!(file.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
    }

    #[test]
    fn a_missing_set_has_the_text_of_the_report() {
        let empty = tempfile::tempdir().unwrap();
        let data = DataDir::new([empty.path().to_owned()]);
        assert_eq!(
            data.truthfulqa().unwrap_err().to_string(),
            "data set truthfulqa not found: docs/data.md says where it comes from"
        );
        assert!(data.verify().iter().all(|(_, state)| matches!(state, SetState::NotFound)));
        assert!(matches!(data.find("no-such-set"), Err(DataError::Unknown(_))));
    }

    #[test]
    fn the_first_root_that_has_a_set_wins_and_an_altered_file_is_refused() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let data = DataDir::new([first.path().to_owned(), second.path().to_owned()]);
        let later = second.path().join("truthfulqa");
        fs::create_dir(&later).unwrap();
        assert_eq!(data.find("truthfulqa").unwrap(), later);
        let earlier = first.path().join("truthfulqa");
        fs::create_dir(&earlier).unwrap();
        assert_eq!(data.find("truthfulqa").unwrap(), earlier);

        let file = earlier.join("answers_truth_info.jsonl.gz");
        assert!(data.truthfulqa().unwrap_err().to_string().contains("cannot read"));
        fs::write(&file, "short").unwrap();
        let error = data.truthfulqa().unwrap_err().to_string();
        assert!(
            error.ends_with("answers_truth_info.jsonl.gz: 5 bytes, expected 674495"),
            "{error}"
        );
        fs::write(&file, vec![0; 674_495]).unwrap();
        let error = data.truthfulqa().unwrap_err().to_string();
        assert!(error.contains("sha256 ") && error.contains("expected 35e7400a"), "{error}");
        assert_eq!(data.locate("truthfulqa").unwrap_err().to_string(), error, "a plan is told");
        let damaged = data.verify().into_iter().find(|(set, _)| set.name == "truthfulqa");
        assert!(matches!(damaged, Some((_, SetState::Damaged(errors))) if errors.len() == 2));
    }

    #[test]
    fn a_file_is_read_and_hashed_once() {
        let here = tempfile::tempdir().unwrap();
        let file = here.path().join("file");
        fs::write(&file, "right").unwrap();
        let sha256 = "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9";
        let known = DataFile { name: "file", bytes: 5, sha256 };
        let data = DataDir::new([]);
        assert_eq!(&*data.read_once(here.path(), &known).unwrap(), b"right");
        // What was checked stays what every cell reads, whatever becomes of the file.
        fs::write(&file, "wrong").unwrap();
        assert_eq!(&*data.clone().read_once(here.path(), &known).unwrap(), b"right");
        assert!(data.damaged().is_empty());
        let late = DataDir::new([]);
        for _ in 0..2 {
            assert!(late.read_once(here.path(), &known).is_err());
        }
        assert_eq!(late.clone().damaged().len(), 1, "told once, to every clone");
    }
}
