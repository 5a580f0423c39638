//! What the tests of experiments share.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use headwater_data::DataDir;
use headwater_protocol::{Build, DeviceKind, Preset, RunOptions, Settings};
use headwater_report::Chapter;
use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata, Subscriber};

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

/// A subscriber as users have one: by thread, the spans that are open, and every path of them.
#[derive(Default)]
struct Paths {
    names: Mutex<Vec<&'static str>>,
    open: Mutex<HashMap<ThreadId, Vec<&'static str>>>,
    seen: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Subscriber for Paths {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("headwater")
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut names = self.names.lock().unwrap();
        names.push(attributes.metadata().name());
        Id::from_u64(names.len() as u64)
    }

    fn record(&self, _: &Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let fields = event.metadata().fields().iter().map(|field| field.name());
        let what = fields.collect::<Vec<_>>().join(",");
        let open = self.open.lock().unwrap();
        let path = open.get(&thread::current().id()).cloned().unwrap_or_default().join("/");
        *self.seen.lock().unwrap().entry(format!("{path}: {what}")).or_default() += 1;
    }

    fn enter(&self, span: &Id) {
        let name = self.names.lock().unwrap()[span.into_u64() as usize - 1];
        let mut open = self.open.lock().unwrap();
        open.entry(thread::current().id()).or_default().push(name);
    }

    fn exit(&self, _: &Id) {
        self.open.lock().unwrap().entry(thread::current().id()).or_default().pop();
    }
}

#[test]
fn a_subscriber_sees_cells_steps_and_rounds() {
    let paths = Paths::default();
    let seen = paths.seen.clone();
    tracing::subscriber::set_global_default(paths).unwrap();
    smoke("negative-reinforcement");
    smoke("feedback-loop-worlds");
    let seen = seen.lock().unwrap().clone();
    for path in [
        "cell/supervised_step: message,loss",
        "cell/trainer_step: message,reward,entropy,kl,loss,grad_norm",
        "cell/recsys_round: message,sessions",
    ] {
        assert!(seen.get(path).is_some_and(|count| *count > 1), "{path} is not in {seen:?}");
    }
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
