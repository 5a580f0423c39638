//! Public data sets on rewards, preferences and bias, as typed rows of files whose hash is known.
//!
//! Sets are looked for in a list of directories; a small one is built in as well. Nothing here
//! downloads. The content of every file is checked against the size and SHA-256 in [`DATA_SETS`]
//! before a byte of it is used. Each reader is a method of [`DataDir`] in a file of its own, with
//! the type of its rows; a row that is not as it should be is an error that names it.
//!
//! ```
//! use headwater_data::DataDir;
//!
//! // scikit-learn's digits are built in; other sets are read from the directories given.
//! let data = DataDir::new(["data".into()]);
//! let digits = data.digits_8x8()?;
//! assert_eq!(digits.len(), 1797);
//! assert_eq!(digits[0].digit, 0);
//! # Ok::<(), headwater_data::DataError>(())
//! ```
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

mod built_in;
mod check;
mod content;
mod labels;
mod objects;
mod registry;
mod table;
#[cfg(test)]
mod testing;

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
    /// Of a set that is no verbatim copy of what is published: how it is made from that. Only sets
    /// without this can be fetched; their files all have an [`DataFile::origin`].
    pub by_hand: Option<&'static str>,
    /// The files the readers use.
    pub files: &'static [DataFile],
}

/// One file of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataFile {
    /// Name within the set's directory. A file whose name ends in `.gz` may also lie there
    /// uncompressed, under this name or without the ending.
    pub name: &'static str,
    /// Size of the content, uncompressed.
    pub bytes: u64,
    /// SHA-256 of the content, uncompressed: 64 hex digits.
    pub sha256: &'static str,
    /// Where the same content is published, compressed or not.
    pub origin: Option<Origin>,
}

/// Where a file is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In a repository on GitHub.
    GitHub {
        /// Owner and name.
        repository: &'static str,
        /// Abbreviated hash.
        commit: &'static str,
        /// Path within the repository.
        path: &'static str,
    },
    /// In a Python wheel.
    Wheel {
        /// Name of the package.
        package: &'static str,
        /// Version of the package.
        version: &'static str,
        /// Path within the archive.
        path: &'static str,
    },
}

/// Why a data set cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// None of the directories holds the set. An arm that needs it is reported with this text.
    #[error("data set {set} not found: {}", remedy(set))]
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
        /// What is wrong with it: field, value, what is allowed. The content of free texts is not
        /// shown.
        reason: String,
    },
}

/// The directories in which data sets are looked for, in order.
///
/// Clones share the files that were read: a file is checked once, and every cell of a run computes
/// on the bytes that were checked.
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

/// Where a data set was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// This directory has its name, whatever is in it.
    Directory(PathBuf),
    /// No directory has it, and none is needed.
    BuiltIn,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => directory.display().fmt(f),
            Self::BuiltIn => f.write_str("built in"),
        }
    }
}

/// What a check of one data set found.
#[derive(Debug)]
pub enum SetState {
    /// Every file is there and is the one this build knows.
    Verified(Found),
    /// None of the directories holds it.
    NotFound,
    /// It is there, but these files are not as they should be.
    Damaged(Vec<DataError>),
}

impl DataDir {
    /// Data sets under `roots`; a set is taken from the first root that has a directory of its
    /// name, or else from this program, if it is built in.
    pub fn new(roots: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { roots: roots.into_iter().collect(), checked: Arc::default() }
    }

    /// Where a set is, whatever is in it.
    ///
    /// # Errors
    /// [`DataError::Unknown`] for a name that is not in [`DATA_SETS`], [`DataError::NotFound`]
    /// where no root has it and it is not built in.
    pub fn find(&self, set: &str) -> Result<Found, DataError> {
        let known = known(set)?;
        let mut places = self.roots.iter().map(|root| root.join(set));
        if let Some(directory) = places.find(|place| place.is_dir()) {
            return Ok(Found::Directory(directory));
        }
        if known.files.iter().all(|file| built_in::file(set, file.name).is_some()) {
            return Ok(Found::BuiltIn);
        }
        Err(DataError::NotFound { set: set.to_owned() })
    }

    /// Where a set is, all of whose files are as they should be: what a plan asks for, so that a
    /// damaged file is told once and before anything runs.
    ///
    /// # Errors
    /// As [`DataDir::find`]; [`DataError::Altered`] and [`DataError::Io`] name the first file that
    /// is wrong.
    pub fn locate(&self, set: &str) -> Result<Found, DataError> {
        let found = self.find(set)?;
        for file in known(set)?.files {
            self.read_once(&found, set, file)?;
        }
        Ok(found)
    }

    /// The content of one file of a set, uncompressed, after its size and hash were found right.
    ///
    /// # Errors
    /// As [`DataDir::locate`], for this file only.
    pub fn read(&self, set: &str, file: &str) -> Result<Arc<[u8]>, DataError> {
        self.read_once(&self.find(set)?, set, known_file(set, file)?)
    }

    /// The path of one file of a set, for errors that name a row of it.
    fn path(&self, set: &str, file: &str) -> Result<PathBuf, DataError> {
        Ok(path(&self.find(set)?, set, known_file(set, file)?))
    }

    fn read_once(&self, found: &Found, set: &str, file: &DataFile) -> Result<Arc<[u8]>, DataError> {
        let path = path(found, set, file);
        // Held while reading, so that cells which start together do not all read and hash.
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = checked.files.get(&path) {
            return Ok(bytes.clone());
        }
        let bytes: Arc<[u8]> = match read_checked(found, set, file) {
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

    /// Checks every file of a set.
    #[must_use]
    pub fn verify(&self, set: &DataSet) -> SetState {
        let Ok(found) = self.find(set.name) else { return SetState::NotFound };
        let check = |file: &DataFile| read_checked(&found, set.name, file).err();
        let damaged: Vec<DataError> = set.files.iter().filter_map(check).collect();
        if damaged.is_empty() { SetState::Verified(found) } else { SetState::Damaged(damaged) }
    }
}

fn known(set: &str) -> Result<&'static DataSet, DataError> {
    let found = DATA_SETS.iter().find(|known| known.name == set);
    found.ok_or_else(|| DataError::Unknown(set.to_owned()))
}

fn known_file(set: &str, file: &str) -> Result<&'static DataFile, DataError> {
    let found = known(set)?.files.iter().find(|known| known.name == file);
    found.ok_or_else(|| DataError::Unknown(format!("{set}/{file}")))
}

fn remedy(set: &str) -> String {
    match known(set) {
        Ok(DataSet { by_hand: None, .. }) => format!("`cargo xtask data fetch {set}` gets it"),
        _ => "docs/data.md says where it comes from".to_owned(),
    }
}

/// Where a file lies; of one that is built in, what it is called in errors.
fn path(found: &Found, set: &str, file: &DataFile) -> PathBuf {
    match found {
        Found::Directory(directory) => file.path_in(directory),
        Found::BuiltIn => Path::new("built in").join(set).join(file.name),
    }
}

fn read_checked(found: &Found, set: &str, file: &DataFile) -> Result<Vec<u8>, DataError> {
    let path = path(found, set, file);
    match found {
        Found::Directory(_) => file.read(&path),
        Found::BuiltIn => file.check(built_in::file(set, file.name).unwrap_or_default(), &path),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    fn a_set_is_fetched_whole_or_had_by_hand() {
        // Paths go into addresses as they are.
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
        for set in DATA_SETS {
            for file in set.files {
                assert_eq!(file.origin.is_some(), set.by_hand.is_none(), "{}", set.name);
                match file.origin {
                    Some(Origin::GitHub { repository, commit, path }) => {
                        assert_eq!(repository.matches('/').count(), 1, "{file:?}");
                        assert!(commit.len() >= 7, "{file:?}");
                        assert!(commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{file:?}");
                        assert!(path.chars().all(plain), "{file:?}");
                        assert!(file.name.ends_with(".gz") || !path.ends_with(".gz"), "{file:?}");
                    }
                    Some(Origin::Wheel { package, version, path }) => {
                        assert!([package, version, path].iter().all(|part| !part.is_empty()));
                    }
                    None => {}
                }
            }
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
        assert_eq!(
            data.adult().unwrap_err().to_string(),
            "data set adult not found: `cargo xtask data fetch adult` gets it"
        );
        for set in DATA_SETS.iter().filter(|set| set.name != "digits-8x8") {
            assert!(matches!(data.verify(set), SetState::NotFound), "{}", set.name);
        }
        assert!(matches!(data.find("no-such-set"), Err(DataError::Unknown(_))));
    }

    #[test]
    fn what_is_built_in_needs_no_directory_and_a_directory_comes_first() {
        let none = DataDir::default();
        assert_eq!(none.locate("digits-8x8").unwrap(), Found::BuiltIn);
        assert!(matches!(none.verify(known("digits-8x8").unwrap()), SetState::Verified(_)));
        assert_eq!(none.digits_8x8().unwrap().len(), 1797);

        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("digits-8x8");
        fs::create_dir(&directory).unwrap();
        let data = DataDir::new([root.path().to_owned()]);
        assert_eq!(data.find("digits-8x8").unwrap(), Found::Directory(directory));
        assert!(data.locate("digits-8x8").unwrap_err().to_string().contains("cannot read"));
    }

    #[test]
    fn the_first_root_that_has_a_set_wins_and_an_altered_file_is_refused() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let data = DataDir::new([first.path().to_owned(), second.path().to_owned()]);
        let later = second.path().join("truthfulqa");
        fs::create_dir(&later).unwrap();
        assert_eq!(data.find("truthfulqa").unwrap(), Found::Directory(later));
        let earlier = first.path().join("truthfulqa");
        fs::create_dir(&earlier).unwrap();
        assert_eq!(data.find("truthfulqa").unwrap(), Found::Directory(earlier.clone()));

        let file = earlier.join("answers_truth_info.jsonl.gz");
        assert!(data.truthfulqa().unwrap_err().to_string().contains("cannot read"));
        fs::write(&file, "short").unwrap();
        let error = data.truthfulqa().unwrap_err().to_string();
        assert!(
            error.ends_with("answers_truth_info.jsonl.gz: 5 bytes, expected 3033888"),
            "{error}"
        );
        fs::write(&file, vec![0; 3_033_888]).unwrap();
        let error = data.truthfulqa().unwrap_err().to_string();
        assert!(error.contains("sha256 ") && error.contains("expected c6cedc28"), "{error}");
        assert_eq!(data.locate("truthfulqa").unwrap_err().to_string(), error, "a plan is told");
        let damaged = data.verify(known("truthfulqa").unwrap());
        assert!(matches!(damaged, SetState::Damaged(errors) if errors.len() == 2));
    }

    #[test]
    fn a_file_is_read_and_hashed_once() {
        let here = tempfile::tempdir().unwrap();
        let file = here.path().join("file");
        fs::write(&file, "right").unwrap();
        let sha256 = "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9";
        let known = DataFile { name: "file", bytes: 5, sha256, origin: None };
        let place = Found::Directory(here.path().to_owned());
        let data = DataDir::new([]);
        assert_eq!(&*data.read_once(&place, "set", &known).unwrap(), b"right");
        // What was checked stays what every cell reads, whatever becomes of the file.
        fs::write(&file, "wrong").unwrap();
        assert_eq!(&*data.clone().read_once(&place, "set", &known).unwrap(), b"right");
        assert!(data.damaged().is_empty());
        let late = DataDir::new([]);
        for _ in 0..2 {
            assert!(late.read_once(&place, "set", &known).is_err());
        }
        assert_eq!(late.clone().damaged().len(), 1, "told once, to every clone");
    }
}
