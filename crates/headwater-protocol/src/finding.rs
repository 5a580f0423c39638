//! What a finding is: claims of one source, and the experiments that test them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Debug;

use crate::{
    Arm, Claim, Code, Contrast, Control, Experiment, Measure, Metric, NotRun, Plan, ProtocolError,
    Read, SHOWN_SEEDS, Settings,
};

/// Claims that belong together, tested by the same experiments and shown on one page.
pub struct Finding {
    /// Stable name on the command line, in file names and in the report. Its experiments draw their
    /// random streams under it.
    pub id: &'static str,
    /// The claims in one sentence.
    pub claim: &'static str,
    /// Who claims it: authors, year, title or identifier.
    pub source: &'static str,
    /// What is run. No arm is in two of them.
    pub experiments: Vec<Box<dyn Experiment>>,
    /// The sentences of the source with what tests them; the first contrast of the first one stands
    /// for the finding on the report's first page.
    pub claims: Vec<Claim>,
    /// Comparisons that are judged like the others and bear on none of the sentences.
    pub further: Vec<Contrast>,
    /// Controls that belong to no single claim.
    pub controls: Vec<Control>,
}

/// Arms and metrics that an experiment provides.
#[derive(Debug, Default)]
pub struct Known {
    /// The position of the experiment that each arm belongs to.
    arms: BTreeMap<Arm, usize>,
    /// By experiment: its id, and what it records.
    experiments: Vec<(&'static str, Vec<Metric>)>,
}

impl Known {
    /// Checks that an experiment provides the arm and records the metric.
    ///
    /// # Errors
    /// [`ProtocolError::UnknownRead`], which names `reader` and what is misspelt.
    pub fn check(&self, reader: &str, read: &Read) -> Result<(), ProtocolError> {
        let unknown = |what: String| ProtocolError::UnknownRead { reader: reader.to_owned(), what };
        let arm = read.arm();
        let Some(&at) = self.arms.get(arm) else {
            let ids: Vec<&str> = self.experiments.iter().map(|(id, _)| *id).collect();
            return Err(unknown(format!("arm `{arm}`, which no plan of {} has", ids.join(", "))));
        };
        let (id, metrics) = &self.experiments[at];
        let is_it = |metric: &Metric| match (read, metric) {
            (Read::Scalar(read, _) | Read::Rare(read, _), Metric::Scalar(metric)) => {
                read.name() == metric.name()
            }
            (Read::Series(read, _), Metric::Series(metric)) => read.name() == metric.name(),
            (Read::Scalar(read, _), Metric::Estimate(metric)) => {
                metric.parts().iter().any(|part| part.name() == read.name())
            }
            _ => false,
        };
        if metrics.iter().any(is_it) {
            return Ok(());
        }
        let (kind, name) = match read {
            Read::Scalar(metric, _) | Read::Rare(metric, _) => ("scalar", metric.name()),
            Read::Series(metric, _) => ("series", metric.name()),
        };
        Err(unknown(format!("{kind} `{name}` of arm `{arm}`, which `{id}` does not record")))
    }
}

impl Finding {
    /// The comparisons of its claims, each once, and then the further ones.
    #[must_use]
    pub fn contrasts(&self) -> Vec<&Contrast> {
        let claimed = self.claims.iter().flat_map(|claim| &claim.contrasts);
        each_once(claimed.chain(&self.further), |contrast| &contrast.name)
    }

    /// The controls of its claims, each once, and then those of no single claim.
    #[must_use]
    pub fn controls(&self) -> Vec<&Control> {
        let claimed = self.claims.iter().flat_map(|claim| &claim.controls);
        each_once(claimed.chain(&self.controls), |control| &control.name)
    }

    /// Checks that each name means one comparison.
    fn check_names(&self) -> Result<(), ProtocolError> {
        let contrasts = self.claims.iter().flat_map(|claim| &claim.contrasts).chain(&self.further);
        let controls = self.claims.iter().flat_map(|claim| &claim.controls).chain(&self.controls);
        match ambiguous(contrasts, |c| &c.name).or_else(|| ambiguous(controls, |c| &c.name)) {
            None => Ok(()),
            Some(name) => Err(ProtocolError::Ambiguous { finding: self.id, name: name.into() }),
        }
    }

    /// The claims named; all of them where none is.
    pub(crate) fn selected(&self, claims: &[String]) -> impl Iterator<Item = &Claim> {
        let is_named = |claim: &&Claim| claims.is_empty() || claims.iter().any(|id| id == claim.id);
        self.claims.iter().filter(is_named)
    }

    /// The contrasts and controls of the claims named; all of the finding where none is.
    pub(crate) fn comparisons(&self, claims: &[String]) -> (Vec<&Contrast>, Vec<&Control>) {
        if claims.is_empty() {
            return (self.contrasts(), self.controls());
        }
        let contrasts = self.selected(claims).flat_map(|claim| &claim.contrasts);
        let controls = self.selected(claims).flat_map(|claim| &claim.controls);
        (each_once(contrasts, |c| &c.name), each_once(controls, |c| &c.name))
    }

    /// By experiment, the code that its records are keyed by.
    pub(crate) fn code(&self, code: &Code) -> BTreeMap<String, String> {
        let ids = self.experiments.iter().map(|experiment| experiment.id());
        ids.map(|id| (id.to_owned(), code.of(id).to_owned())).collect()
    }

    /// What the comparisons of the claims named read, by name; of the whole finding where none is.
    fn reads(&self, claims: &[String]) -> Vec<(&str, BTreeSet<Read>)> {
        let (contrasts, controls) = self.comparisons(claims);
        let contrasts = contrasts.into_iter().map(|Contrast { name, measure, room, .. }| {
            let mut reads = measure.reads();
            reads.extend(room.iter().flat_map(Measure::reads));
            (name.as_str(), reads)
        });
        let controls = controls.into_iter().map(|c| (c.name.as_str(), c.measure.reads()));
        contrasts.chain(controls).collect()
    }

    /// Keeps the comparisons whose measures are `wanted`.
    pub fn retain(&mut self, wanted: impl Fn(&[&Measure]) -> bool) {
        let contrast = |contrast: &Contrast| {
            let measures: Vec<&Measure> =
                [&contrast.measure].into_iter().chain(&contrast.room).collect();
            wanted(&measures)
        };
        let control = |control: &Control| wanted(&[&control.measure]);
        for claim in &mut self.claims {
            claim.contrasts.retain(contrast);
            claim.controls.retain(control);
        }
        self.further.retain(contrast);
        self.controls.retain(control);
    }

    /// How many comparisons the claims named have, and how many of them read an arm that is not
    /// run.
    pub(crate) fn count(&self, claims: &[String], not_run: &[NotRun]) -> (usize, usize) {
        let reads = self.reads(claims);
        let is_omitted = |read: &Read| not_run.iter().any(|not_run| not_run.arm == *read.arm());
        let omitted = reads.iter().filter(|(_, reads)| reads.iter().any(is_omitted)).count();
        (reads.len(), omitted)
    }

    /// Everything of its experiments, before anything is left out.
    fn whole(&self, settings: &Settings) -> Result<(Plan, Known), ProtocolError> {
        let (mut plan, mut known) = (Plan::default(), Known::default());
        for (at, experiment) in self.experiments.iter().enumerate() {
            let Plan { mut cells, not_run } = experiment.plan(settings)?;
            for cell in &mut cells {
                (cell.finding, cell.experiment) = (self.id, experiment.id());
            }
            let arms = cells.iter().map(|cell| &cell.arm);
            let arms = arms.chain(not_run.iter().map(|not_run| &not_run.arm));
            known.arms.extend(arms.map(|arm| (arm.clone(), at)));
            known.experiments.push((experiment.id(), experiment.metrics()));
            plan.cells.extend(cells);
            plan.not_run.extend(not_run);
        }
        Ok((plan, known))
    }

    /// The arms and metrics that its experiments provide.
    ///
    /// # Errors
    /// Those of [`Experiment::plan`].
    pub fn known(&self, settings: &Settings) -> Result<Known, ProtocolError> {
        // Every seed has the same arms.
        Ok(self.whole(&Settings { seeds: Some(1), ..*settings })?.1)
    }

    /// What a run of the claims named needs; of the whole finding where none is.
    ///
    /// # Errors
    /// Those of [`Experiment::plan`]; when two comparisons that differ have one name, or one reads
    /// an arm that no plan has or a metric that no cell records.
    pub fn plan(&self, settings: &Settings, claims: &[String]) -> Result<Plan, ProtocolError> {
        let (mut plan, known) = self.whole(settings)?;
        for (name, reads) in self.reads(&[]) {
            for read in reads {
                known.check(&format!("{}: the comparison “{name}”", self.id), &read)?;
            }
        }
        self.check_names()?;
        let reads = self.reads(claims).into_iter().flat_map(|(_, reads)| reads);
        let read: BTreeSet<Arm> = reads.map(|read| read.arm().clone()).collect();
        if claims.is_empty() {
            thin(&mut plan, &read);
        } else {
            let needed = with_needs(&plan, |arm| read.contains(arm));
            plan.cells.retain(|cell| needed.contains(&cell.arm));
            plan.not_run.retain(|not_run| read.contains(&not_run.arm));
        }
        Ok(plan)
    }
}

fn each_once<'a, T>(all: impl Iterator<Item = &'a T>, name: fn(&T) -> &String) -> Vec<&'a T> {
    let mut seen = HashSet::new();
    all.filter(|one| seen.insert(name(one))).collect()
}

/// A name that stands for different things; a comparison may be in several claims as it is.
fn ambiguous<'a, T: Debug + 'a>(
    all: impl Iterator<Item = &'a T>,
    name: fn(&T) -> &String,
) -> Option<&'a str> {
    let mut seen: BTreeMap<&str, String> = BTreeMap::new();
    let mut differs = |one: &&'a T| {
        let text = format!("{one:?}");
        *seen.entry(name(*one)).or_insert_with(|| text.clone()) != text
    };
    all.into_iter().find(|one| differs(one)).map(|one| name(one).as_str())
}

/// The arms that are `wanted`, and all that they need.
fn with_needs(plan: &Plan, wanted: impl Fn(&Arm) -> bool) -> BTreeSet<Arm> {
    let mut needed = BTreeSet::new();
    // What is needed stands before what needs it.
    for cell in plan.cells.iter().rev() {
        if wanted(&cell.arm) || needed.contains(&cell.arm) {
            needed.insert(cell.arm.clone());
            needed.extend(cell.needs.iter().cloned());
        }
    }
    needed
}

/// Leaves out, but for the first seeds, the arms that are only shown.
fn thin(plan: &mut Plan, read: &BTreeSet<Arm>) {
    let seeds: BTreeSet<u64> = plan.cells.iter().map(|cell| cell.seed).collect();
    let first: BTreeSet<u64> = seeds.into_iter().take(SHOWN_SEEDS).collect();
    let steady = plan.cells.iter().filter(|cell| !cell.few_seeds);
    let steady: BTreeSet<Arm> = steady.map(|cell| cell.arm.clone()).collect();
    let kept = with_needs(plan, |arm| read.contains(arm) || steady.contains(arm));
    plan.cells.retain(|cell| first.contains(&cell.seed) || kept.contains(&cell.arm));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ArmPlan, Cell, CellContext, CellError, CellOutcome, DeviceKind, Estimate, NotRun, Preset,
        Scalar, Series, metrics,
    };

    const MEAN: Scalar = Scalar::new("mean");
    const CURVE: Series = Series::new("curve");
    const SHARE: Estimate = Estimate::new("share");

    /// Arms with what they need, at five seeds from 4 on; those that begin with an s may be
    /// thinned.
    struct Arms(&'static str, &'static [(&'static str, &'static [&'static str])]);

    impl Experiment for Arms {
        fn id(&self) -> &'static str {
            self.0
        }
        fn metrics(&self) -> Vec<Metric> {
            metrics![MEAN, CURVE, SHARE]
        }
        fn plan(&self, _: &Settings) -> Result<Plan, ProtocolError> {
            let planned = |(arm, needs): &(&str, &[&str])| {
                let plan = ArmPlan::new(*arm, &())?.needing(needs.iter().copied());
                Ok(if arm.starts_with('s') { plan.if_shown() } else { plan })
            };
            let arms = self.1.iter().map(planned).collect::<Result<_, ProtocolError>>()?;
            let not_run = vec![NotRun::new(format!("{}-absent", self.0), "no data")];
            Ok(Plan { not_run, ..Plan::of(4..9, arms) })
        }
        fn run(&self, _: &Cell, _: &CellContext) -> Result<CellOutcome, CellError> {
            unreachable!()
        }
    }

    /// Reads `s-a` and, for its room, `s-room`; the second claim reads `s-c`; the control `b`.
    fn finding() -> Finding {
        let one = Arms(
            "one",
            &[
                ("bottom", &[]),
                ("base", &["bottom"]),
                ("s-a", &["base"]),
                ("s-room", &[]),
                ("s-shown", &[]),
                ("b", &[]),
            ],
        );
        let two = Arms("two", &[("s-c", &[]), ("s-seen", &["s-c"])]);
        let claim = |id, contrast| Claim {
            id,
            sentence: "It is so.",
            contrasts: vec![contrast],
            controls: vec![Control::new("b", MEAN.of("b"), 0.1)],
        };
        let first = Contrast::increase("a", CURVE.last("s-a"), 0.1).room(MEAN.of("s-room"));
        Finding {
            id: "both",
            claim: "All of it.",
            source: "none",
            experiments: vec![Box::new(one), Box::new(two)],
            claims: vec![
                claim("both/first", first),
                claim("both/second", Contrast::increase("c", MEAN.of("s-c"), 0.1)),
            ],
            further: vec![Contrast::increase("absent", MEAN.of("two-absent"), 0.1)],
            controls: vec![],
        }
    }

    const SETTINGS: Settings =
        Settings { preset: Preset::Quick, seeds: None, device: DeviceKind::Flex };

    fn seeds(plan: &Plan, arm: &str) -> Vec<u64> {
        let cells = plan.cells.iter().filter(|cell| cell.arm.name() == arm);
        cells.map(|cell| cell.seed).collect()
    }

    #[test]
    fn a_name_that_stands_for_two_comparisons_is_refused() {
        let settings = Settings { preset: Preset::Quick, seeds: None, device: DeviceKind::Flex };
        let mut twice = finding();
        let first = twice.claims[0].contrasts[0].clone();
        twice.claims[1].contrasts.push(first);
        assert!(twice.plan(&settings, &[]).is_ok(), "one comparison in two claims");
        for change in [
            |finding: &mut Finding| finding.further[0].name = "c".into(),
            |finding: &mut Finding| {
                finding.controls.push(Control::new("b", MEAN.of("b"), 0.2));
            },
        ] {
            let mut finding = finding();
            change(&mut finding);
            let error = finding.plan(&settings, &[]).unwrap_err().to_string();
            assert!(error.starts_with("both: two comparisons that differ are both"), "{error}");
        }
    }

    #[test]
    fn what_is_compared_or_needed_keeps_its_seeds() {
        let plan = finding().plan(&SETTINGS, &[]).unwrap();
        for arm in ["bottom", "base", "s-a", "s-room", "b", "s-c"] {
            assert_eq!(seeds(&plan, arm), [4, 5, 6, 7, 8], "{arm}");
        }
        for arm in ["s-shown", "s-seen"] {
            assert_eq!(seeds(&plan, arm), [4, 5, 6], "{arm}");
        }
        assert!(plan.cells.iter().all(|cell| cell.finding == "both"));
        let of = |arm: &str| plan.cells.iter().find(|cell| cell.arm.name() == arm).unwrap();
        assert_eq!((of("base").experiment, of("s-c").experiment), ("one", "two"));
    }

    #[test]
    fn a_claim_needs_what_it_reads_and_what_that_needs() {
        let arms = |claims: &[&str]| {
            let claims: Vec<String> = claims.iter().map(|&id| id.to_owned()).collect();
            let plan = finding().plan(&SETTINGS, &claims).unwrap();
            let arms: BTreeSet<String> = plan.cells.iter().map(|c| c.arm.to_string()).collect();
            (arms.into_iter().collect::<Vec<_>>().join(" "), plan.not_run.len())
        };
        assert_eq!(arms(&["both/first"]), ("b base bottom s-a s-room".to_owned(), 0));
        assert_eq!(arms(&["both/second"]), ("b s-c".to_owned(), 0));
        let both = arms(&["both/first", "both/second"]);
        assert_eq!(both, ("b base bottom s-a s-c s-room".to_owned(), 0));
    }

    #[test]
    fn comparisons_are_counted_once_and_with_what_is_not_run() {
        let finding = finding();
        let names: Vec<&str> = finding.contrasts().iter().map(|c| c.name.as_str()).collect();
        assert_eq!((names, finding.controls().len()), (vec!["a", "c", "absent"], 1));
        assert_eq!(finding.count(&[], &[]), (4, 0));
        assert_eq!(finding.count(&[], &[NotRun::new("two-absent", "why")]), (4, 1));
        assert_eq!(finding.count(&[], &[NotRun::new("s-room", "why")]), (4, 1));
        assert_eq!(finding.count(&["both/second".into()], &[NotRun::new("b", "why")]), (2, 1));
    }

    #[test]
    fn what_an_experiment_does_not_provide_is_named() {
        let known = finding().known(&SETTINGS).unwrap();
        let check = |read: Read| known.check("it", &read).map_err(|error| error.to_string());
        assert_eq!(check(MEAN.read("s-a")), Ok(()));
        assert_eq!(check(CURVE.read("two-absent")), Ok(()));
        assert_eq!(check(Scalar::new("share, low").read("b")), Ok(()));
        assert_eq!(
            check(MEAN.read("c")).unwrap_err(),
            "it reads arm `c`, which no plan of one, two has"
        );
        assert_eq!(
            check(Scalar::new("curve").read("s-c")).unwrap_err(),
            "it reads scalar `curve` of arm `s-c`, which `two` does not record"
        );
    }
}
