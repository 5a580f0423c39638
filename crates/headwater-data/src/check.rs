//! Whether a file is the one this build knows: its content is compared, so that a plain copy and
//! one that was compressed by another program both serve.

use std::borrow::Cow;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::{DataError, DataFile};

/// How every gzip file begins, and no uncompressed file of a known set.
const GZIP: [u8; 2] = [0x1f, 0x8b];

impl DataFile {
    /// Where this file lies in its set's directory: under its name or, if that is not there,
    /// without the ending `.gz`.
    #[must_use]
    pub fn path_in(&self, directory: &Path) -> PathBuf {
        let named = directory.join(self.name);
        match self.name.strip_suffix(".gz").map(|plain| directory.join(plain)) {
            Some(plain) if !named.exists() && plain.exists() => plain,
            _ => named,
        }
    }

    /// The most bytes that this file can have, compressed or not: gzip stores what it cannot
    /// compress, in blocks of some kilobytes with a few bytes around each.
    #[must_use]
    pub fn most_bytes(&self) -> u64 {
        if self.name.ends_with(".gz") { self.bytes + self.bytes / 1000 + 1024 } else { self.bytes }
    }

    /// The content of the file at `path`, uncompressed, after its size and hash were found right.
    ///
    /// # Errors
    /// [`DataError::Io`] for a file that cannot be read, [`DataError::Altered`] for one that is not
    /// this one.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, DataError> {
        let failed = |source| DataError::Io { path: path.to_owned(), source };
        // The size first: a file that is far too large is never read.
        let size = fs::metadata(path).map_err(failed)?.len();
        if size > self.most_bytes() {
            return Err(self.wrong_size(path, format!("{size} bytes")));
        }
        self.check(fs::read(path).map_err(failed)?, path)
    }

    /// The content of a file with these bytes, uncompressed; `path` is for errors.
    pub(super) fn check(
        &self,
        bytes: impl Into<Cow<'static, [u8]>>,
        path: &Path,
    ) -> Result<Vec<u8>, DataError> {
        let mut content = bytes.into();
        if self.name.ends_with(".gz") && content.starts_with(&GZIP) {
            content = self.uncompressed(&content, path)?.into();
        }
        if content.len() as u64 != self.bytes {
            return Err(self.wrong_size(path, format!("{} bytes", content.len())));
        }
        let hash: String =
            Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        if hash != self.sha256 {
            return Err(DataError::Altered {
                path: path.to_owned(),
                found: format!("sha256 {hash}"),
                expected: self.sha256.to_owned(),
            });
        }
        Ok(content.into_owned())
    }

    /// Never more than one byte beyond what is expected, whatever the file says it holds.
    fn uncompressed(&self, bytes: &[u8], path: &Path) -> Result<Vec<u8>, DataError> {
        let mut content = Vec::new();
        let read = MultiGzDecoder::new(bytes).take(self.bytes + 1).read_to_end(&mut content);
        let found = match read {
            Ok(_) if content.len() as u64 <= self.bytes => return Ok(content),
            Ok(_) => format!("more than {} bytes uncompressed", self.bytes),
            Err(error) => format!("it cannot be decompressed ({error})"),
        };
        Err(self.wrong_size(path, found))
    }

    fn wrong_size(&self, path: &Path, found: String) -> DataError {
        DataError::Altered { path: path.to_owned(), found, expected: self.bytes.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const RIGHT: DataFile = DataFile {
        name: "file.gz",
        bytes: 5,
        sha256: "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9",
        origin: None,
    };

    fn gzip(content: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn check(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        RIGHT.check(bytes, Path::new("set/file")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_content_counts_and_not_how_it_is_packed() {
        let two_members = [gzip(b"ri", 9), gzip(b"ght", 1)].concat();
        for bytes in [b"right".to_vec(), gzip(b"right", 0), gzip(b"right", 9), two_members] {
            assert_eq!(check(bytes).unwrap(), b"right");
        }
        for bytes in [b"wrong".to_vec(), gzip(b"wrong", 6)] {
            let error = check(bytes).unwrap_err();
            assert!(error.starts_with("set/file: sha256 8810ad58"), "{error}");
            assert!(error.ends_with(&format!("expected {}", RIGHT.sha256)), "{error}");
        }
        assert_eq!(check(b"righ".to_vec()).unwrap_err(), "set/file: 4 bytes, expected 5");
        assert_eq!(check(gzip(b"righ", 6)).unwrap_err(), "set/file: 4 bytes, expected 5");
    }

    #[test]
    fn a_file_that_unpacks_to_far_too_much_or_not_at_all_is_refused() {
        let bomb = gzip(&vec![0; 10_000_000], 9);
        let expected = "set/file: more than 5 bytes uncompressed, expected 5";
        assert_eq!(check(bomb).unwrap_err(), expected);
        let mut cut = gzip(b"right", 6);
        cut.truncate(cut.len() - 6);
        assert!(check(cut).unwrap_err().contains("it cannot be decompressed"));
        let mut followed = gzip(b"right", 6);
        followed.extend(b"more");
        assert!(check(followed).is_err());
    }

    #[test]
    fn a_file_that_is_far_too_large_is_not_read() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("file.gz");
        // Holes: reading it would take all memory.
        fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = RIGHT.read(&path).unwrap_err().to_string();
        assert!(error.ends_with("file.gz: 1099511627776 bytes, expected 5"), "{error}");
    }

    #[test]
    fn a_plain_copy_serves_under_either_name_and_the_compressed_one_comes_first() {
        let here = tempfile::tempdir().unwrap();
        let path = || RIGHT.path_in(here.path());
        assert!(path().ends_with("file.gz"));
        fs::write(here.path().join("file"), "right").unwrap();
        assert_eq!(RIGHT.read(&path()).unwrap(), b"right");
        fs::write(here.path().join("file.gz"), "right").unwrap();
        assert!(path().ends_with("file.gz"));
        assert_eq!(RIGHT.read(&path()).unwrap(), b"right");
    }
}
