//! What the tests of experiments share.

use std::path::Path;

use headwater_data::DataDir;
use headwater_protocol::{Build, DeviceKind, Preset, RunOptions, Settings};
use headwater_report::Chapter;

const SMOKE: Settings =
    Settings { preset: Preset::Smoke, seeds: Some(1), device: DeviceKind::Flex };

/// Runs the smoke plan of one experiment at one seed, and builds what the report shows of it: every
/// cell has a record, and every comparison, figure and table can be computed.
pub(crate) fn smoke(experiment: &str) {
    smoke_with(experiment, &DataDir::default());
}

/// The same with data sets.
pub(crate) fn smoke_with(experiment: &str, data: &DataDir) {
    let chapter = restricted(crate::all(data), experiment);
    let out = tempfile::tempdir().unwrap();
    let options = RunOptions {
        settings: SMOKE,
        only: vec![],
        jobs: 1.try_into().unwrap(),
        build: Build::default(),
        out: out.path().to_owned(),
    };
    let report = headwater_report::run(&[chapter], &options, |_| (), |_| ()).unwrap();
    let finding = &report.findings[0];
    assert!(finding.found.failures.is_empty(), "{:?}", finding.found.failures);
    assert!(finding.found.defects.is_empty(), "{:?}", finding.found.defects);
    assert!(finding.found.cells > 0, "{experiment} has no cell");
}

/// The real data: `$HEADWATER_DATA`, seen from the workspace as `cargo xtask` sees it there, or
/// what lies beside the checkout.
pub(crate) fn real_data() -> DataDir {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = std::env::var_os("HEADWATER_DATA").filter(|value| !value.is_empty());
    DataDir::new([workspace.join(named.unwrap_or_else(|| "../shared/data".into()))])
}

/// The chapter of an experiment's finding, with that experiment only.
fn restricted(chapters: Vec<Chapter>, experiment: &str) -> Chapter {
    let has_it = |chapter: &Chapter| {
        chapter.finding.experiments.iter().any(|known| known.id() == experiment)
    };
    let mut chapter = chapters.into_iter().find(has_it).expect("an experiment of this build");
    chapter.finding.experiments.retain(|known| known.id() == experiment);
    chapter.restrict(&SMOKE).unwrap();
    chapter
}
