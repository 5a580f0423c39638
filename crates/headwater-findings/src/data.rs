//! Real data sets: where they lie, whether they are what they should be, and readers for them.
//!
//! Sets are looked for in a list of directories and never downloaded. Every file is checked against the
//! size and SHA-256 in [`DATA_SETS`] before a byte of it is used.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::read::GzDecoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};

mod registry;

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
    /// A line that does not hold what it should.
    #[error("{}, line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Its number, from 1, in the uncompressed text.
        line: usize,
        /// What is wrong with it.
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

    /// The 18,311 answers of the set `truthfulqa`, in file order.
    ///
    /// # Errors
    /// As [`DataDir::read`].
    pub fn truthfulqa(&self) -> Result<Vec<Answer>, DataError> {
        let name = "answers_truth_info.jsonl.gz";
        let bytes = self.read("truthfulqa", name)?;
        read_answers(GzDecoder::new(&*bytes), &self.find("truthfulqa")?.join(name))
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

/// One answer to a TruthfulQA question with human labels (Lin, Hilton and Evans 2022).
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The question.
    pub question: String,
    /// The answer.
    pub answer: String,
    /// How often this answer was labelled, 1 or more.
    pub seen: u32,
    /// Share of "true" labels, in [0, 1].
    pub truth: f64,
    /// Share of "informative" labels, in [0, 1].
    pub informative: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerRow {
    q: String,
    a: String,
    n: u32,
    truth: f64,
    info: f64,
}

/// Reads answers from uncompressed JSON lines; `path` is for error messages only.
///
/// # Errors
/// [`DataError::Line`] with file, line and what is wrong, for a line that is not the JSON object it should
/// be or that holds a label outside [0, 1]; also for one that cannot be decompressed.
pub fn read_answers(text: impl Read, path: &Path) -> Result<Vec<Answer>, DataError> {
    let mut answers = Vec::new();
    for (at, line) in BufReader::new(text).lines().enumerate() {
        let bad = |reason| DataError::Line { path: path.to_owned(), line: at + 1, reason };
        let line = line.map_err(|error| match error.kind() {
            ErrorKind::InvalidData => bad(format!("it is not UTF-8: {error}")),
            _ => bad(format!("it cannot be decompressed: {error}")),
        })?;
        let row: AnswerRow = serde_json::from_str(&line).map_err(|error| bad(error.to_string()))?;
        for (name, value) in [("truth", row.truth), ("info", row.info)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(bad(format!("`{name}` is {value}: allowed is a number in [0, 1]")));
            }
        }
        if row.n == 0 {
            return Err(bad("`n` is 0: allowed is 1 or more".to_owned()));
        }
        answers.push(Answer {
            question: row.q,
            answer: row.a,
            seen: row.n,
            truth: row.truth,
            informative: row.info,
        });
    }
    Ok(answers)
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
    fn a_malformed_line_is_named_with_file_and_number() {
        let good = r#"{"q": "Q?", "a": "A.", "n": 2, "truth": 0.5, "info": 1.0}"#;
        let read = |text: String| read_answers(text.as_bytes(), Path::new("set/file.jsonl.gz"));
        let answers = read(format!("{good}\n{good}\n")).unwrap();
        assert_eq!((answers.len(), answers[0].seen, answers[0].informative), (2, 2, 1.0));

        let error = |bad: &str| read(format!("{good}\n{bad}\n{good}\n")).unwrap_err().to_string();
        assert!(error("{\"q\": 1").starts_with("set/file.jsonl.gz, line 2: "));
        assert!(
            error(&good.replace("0.5", "1.5"))
                .ends_with("`truth` is 1.5: allowed is a number in [0, 1]")
        );
        assert!(error(&good.replace("\"n\": 2", "\"n\": 0")).contains("`n` is 0"));
        assert!(error(&good.replace("\"n\"", "\"times\"")).contains("unknown field `times`"));
        assert!(error("").contains("line 2"));
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

    /// Needs the data set beside the checkout; says so and passes where it is not.
    #[test]
    fn the_real_answers_have_the_published_counts() {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
        let answers = match DataDir::new([beside]).truthfulqa() {
            Err(error @ DataError::NotFound { .. }) => return println!("skipped: {error}"),
            other => other.unwrap(),
        };
        let questions: std::collections::HashSet<&str> =
            answers.iter().map(|answer| answer.question.as_str()).collect();
        assert_eq!((answers.len(), questions.len()), (18_311, 817));
        // Counted apart, with labels of 0.5 and above as "yes".
        let count = |truth: bool, informative: bool| {
            let is = |a: &&Answer| (a.truth >= 0.5, a.informative >= 0.5) == (truth, informative);
            answers.iter().filter(is).count()
        };
        let counts =
            [count(true, true), count(true, false), count(false, true), count(false, false)];
        assert_eq!(counts, [4657, 3253, 10_081, 320]);
    }

    #[test]
    fn a_truncated_archive_is_an_error() {
        let truncated: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1];
        let error =
            read_answers(GzDecoder::new(truncated), Path::new("f")).unwrap_err().to_string();
        assert!(error.starts_with("f, line 1: it cannot be decompressed"), "{error}");
    }
}
