//! What tests of the readers share: the real data, and what becomes of a broken file.
//!
//! A made-up file of every format lies under `fixtures/`, by set and name of the real one, which is
//! compressed where its name in the registry ends in `.gz`.

use std::fmt::Debug;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::content::Content;
use super::{DataDir, DataError};

/// The real data: `$HEADWATER_DATA`, seen from the workspace as `cargo xtask` sees it there, or
/// what lies beside the checkout.
fn real_data() -> DataDir {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = std::env::var_os("HEADWATER_DATA").filter(|value| !value.is_empty());
    DataDir::new([workspace.join(named.unwrap_or_else(|| "../shared/data".into()))])
}

/// What `read` makes of the real data. Such tests are ignored unless asked for; they fail here
/// where the data is not there or is not right.
#[track_caller]
pub(crate) fn real<T>(read: impl FnOnce(&DataDir) -> Result<T, DataError>) -> T {
    read(&real_data()).unwrap_or_else(|error| panic!("{error}"))
}

/// `text` as the content of the file `set/file`, broken wherever it can be: cut short anywhere, one
/// byte changed, and the same of the archive of it. `read` must say so and name the file, or give
/// rows: of a text cut short those of the whole but for the last one, of an archive all of them.
pub(crate) fn check_broken<T: PartialEq + Debug>(
    text: &[u8],
    read: impl Fn(&mut Content) -> Result<Vec<T>, DataError>,
) {
    let path = || PathBuf::from("set/file");
    let plain = |bytes: &[u8]| {
        named(read(&mut Content { text: Box::new(Cursor::new(bytes.to_vec())), path: path() }))
    };
    let packed = |bytes: &[u8]| {
        let unpacked = GzDecoder::new(Cursor::new(bytes.to_vec()));
        named(read(&mut Content { text: Box::new(unpacked), path: path() }))
    };
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    let archive = encoder.finish().unwrap();
    let whole = plain(text).expect("the made-up file is right");
    assert!(whole.len() > 1, "one row shows nothing of the rows before it");
    assert_eq!(packed(&archive).as_ref(), Some(&whole));

    for length in 0..text.len() {
        if let Some(rows) = plain(&text[..length]) {
            let before = rows.len().saturating_sub(1);
            assert!(rows.len() <= whole.len(), "{length} bytes: {rows:?}");
            assert_eq!(rows[..before], whole[..before], "{length} bytes");
        }
    }
    for length in 0..archive.len() {
        assert_eq!(packed(&archive[..length]), None, "{length} bytes of the archive");
    }
    let changed = |bytes: &[u8], at: usize, to: u8| {
        let mut bytes = bytes.to_vec();
        bytes[at] = to;
        bytes
    };
    proptest!(|(at in 0..text.len(), to: u8)| {
        // A line feed in place of a letter may make two rows of one.
        let rows = plain(&changed(text, at, to)).map_or(0, |rows| rows.len());
        prop_assert!(rows <= whole.len() + 1, "{rows} rows");
    });
    proptest!(|(at in 0..archive.len(), to: u8)| {
        if let Some(rows) = packed(&changed(&archive, at, to)) {
            prop_assert_eq!(&rows, &whole);
        }
    });
}

/// The rows; none of a broken file, if its error names it.
fn named<T>(read: Result<Vec<T>, DataError>) -> Option<Vec<T>> {
    read.map_err(|error| assert!(error.to_string().contains("set/file"), "{error}")).ok()
}
