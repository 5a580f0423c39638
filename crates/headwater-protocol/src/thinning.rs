//! Fewer seeds for arms that are only shown.

use std::collections::BTreeSet;

use crate::{Contrast, Control, Finding, Metrics, NotRun, PerSeed, Plan, ProtocolError, Records};

/// Arms that `read` reads, whatever their metrics are called: it is asked again with what it missed until it misses
/// nothing. Scalars are 0.5 then, and series rise from 1/64 to 40/64.
///
/// # Errors
/// What `read` returns on such metrics, if that is no value.
pub fn arms_read(read: PerSeed) -> Result<BTreeSet<String>, ProtocolError> {
    let (mut arms, mut scalars, mut series) = (BTreeSet::new(), Vec::new(), Vec::new());
    loop {
        let rising = || (1..=40).map(|at| f64::from(at) / 64.0).collect();
        let metrics = || {
            let with_scalars = scalars
                .iter()
                .fold(Metrics::new(), |metrics, name: &String| metrics.scalar(name.as_str(), 0.5));
            let series = series.iter();
            series.fold(with_scalars, |m, name: &String| m.series(name.as_str(), rising()))
        };
        let records = Records::new(arms.iter().map(|arm: &String| (arm.clone(), 0, metrics())));
        match read(&records.seed(0)) {
            Err(ProtocolError::NoRecord { arm, .. }) => _ = arms.insert(arm),
            Err(ProtocolError::NoMetric { metric, kind: "scalar", .. }) => scalars.push(metric),
            Err(ProtocolError::NoMetric { metric, .. }) => series.push(metric),
            Err(other) => return Err(other),
            Ok(_) => return Ok(arms),
        }
    }
}

/// How many contrasts and controls `finding` has, and how many of them read an arm that is not run.
///
/// One of which it can't be known what it reads counts as if it could be measured.
pub(crate) fn comparisons(finding: &dyn Finding, not_run: &[NotRun]) -> (usize, usize) {
    let contrasts = finding.contrasts().into_iter().map(|c| (c.per_seed, c.attainable));
    let controls = finding.controls().into_iter().map(|c| (c.per_seed, None));
    let (mut all, mut omitted) = (0, 0);
    for (per_seed, attainable) in contrasts.chain(controls) {
        let read = [Some(per_seed), attainable].into_iter().flatten().map(arms_read);
        let read: BTreeSet<String> = read.flatten().flatten().collect();
        all += 1;
        omitted += usize::from(not_run.iter().any(|not_run| read.contains(&not_run.arm)));
    }
    (all, omitted)
}

impl Plan {
    /// Leaves out, but for the first `seeds` seeds, the arms that `may_be_thinned`, that no contrast and no control of
    /// `finding` reads, and that no arm which stays needs: what is only shown is worth less time than what decides.
    ///
    /// # Errors
    /// Those of [`arms_read`]: then it is not known what a comparison reads.
    pub fn thin(
        &mut self,
        finding: &dyn Finding,
        seeds: u64,
        may_be_thinned: impl Fn(&str) -> bool,
    ) -> Result<(), ProtocolError> {
        let all: BTreeSet<u64> = self.cells.iter().map(|cell| cell.seed).collect();
        let first: BTreeSet<u64> = all.into_iter().take(seeds as usize).collect();
        let mut kept = BTreeSet::new();
        for Contrast { per_seed, attainable, .. } in finding.contrasts() {
            kept.extend(arms_read(per_seed)?);
            kept.extend(attainable.map(arms_read).transpose()?.into_iter().flatten());
        }
        for Control { per_seed, .. } in finding.controls() {
            kept.extend(arms_read(per_seed)?);
        }
        // What is needed stands before what needs it.
        for cell in self.cells.iter().rev() {
            if kept.contains(&cell.arm) || !may_be_thinned(&cell.arm) {
                kept.extend(cell.needs.iter().cloned());
            }
        }
        self.cells.retain(|cell| {
            first.contains(&cell.seed) || kept.contains(&cell.arm) || !may_be_thinned(&cell.arm)
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Cell, CellError, Direction, Figure, Outcome, Registered, Settings, Table, Workbench,
    };

    struct Compared;

    impl Finding for Compared {
        fn id(&self) -> &'static str {
            "compared"
        }
        fn claim(&self) -> &'static str {
            "a > b"
        }
        fn source(&self) -> &'static str {
            "none"
        }
        fn plan(&self, _: &Settings) -> Result<Plan, ProtocolError> {
            unreachable!()
        }
        fn run(&self, _: &Cell, _: &Workbench) -> Result<Outcome, CellError> {
            unreachable!()
        }
        fn contrasts(&self) -> Vec<Contrast> {
            vec![Contrast {
                name: "a - b",
                direction: Direction::Increase,
                smallest_effect: 0.1,
                registered: Registered::AfterPilot,
                published: None,
                attainable: Some(|seed| seed.scalar("room", "most")),
                per_seed: |seed| {
                    let last = *seed.series("a", "curve")?.last().expect("a curve has points");
                    Ok(last + seed.scalar("a", "mean")? - seed.scalar("b", "mean")?)
                },
            }]
        }
        fn controls(&self) -> Vec<Control> {
            vec![Control {
                name: "c - a",
                margin: 0.1,
                per_seed: |seed| seed.difference("mean", "c", "a"),
            }]
        }
        fn figures(&self, _: &Records) -> Result<Vec<Figure>, ProtocolError> {
            Ok(vec![])
        }
        fn tables(&self, _: &Records) -> Result<Vec<Table>, ProtocolError> {
            Ok(vec![])
        }
        fn differs(&self) -> &'static [&'static str] {
            &[]
        }
    }

    #[test]
    fn what_is_compared_or_needed_keeps_its_seeds() {
        let mut plan = Plan::default();
        for seed in 4..9 {
            for (arm, needs) in [
                ("bottom", &[][..]),
                ("base", &["bottom"]),
                ("a", &["base"]),
                ("b", &[]),
                ("c", &[]),
                ("room", &[]),
                ("shown base", &[]),
                ("shown", &["base", "shown base"]),
                ("spared base", &[]),
                ("spared", &["spared base"]),
            ] {
                let cell = Cell::new("compared", arm, seed, &()).unwrap();
                plan.cells.push(cell.needing(needs));
            }
        }
        plan.thin(&Compared, 2, |arm| arm != "spared").unwrap();
        let seeds = |arm: &str| {
            let cells = plan.cells.iter().filter(|cell| cell.arm == arm);
            cells.map(|cell| cell.seed).collect::<Vec<_>>()
        };
        for arm in ["bottom", "base", "a", "b", "c", "room", "spared", "spared base"] {
            assert_eq!(seeds(arm), [4, 5, 6, 7, 8], "{arm}");
        }
        for arm in ["shown", "shown base"] {
            assert_eq!(seeds(arm), [4, 5], "{arm}");
        }
    }

    #[test]
    fn a_comparison_is_left_out_if_any_arm_that_it_reads_is_not_run() {
        let omitted = |arms: &[&str]| {
            let not_run: Vec<NotRun> = arms.iter().map(|&arm| NotRun::new(arm, "why")).collect();
            comparisons(&Compared, &not_run)
        };
        assert_eq!(omitted(&[]), (2, 0));
        assert_eq!(omitted(&["shown"]), (2, 0));
        assert_eq!(omitted(&["b"]), (2, 1));
        assert_eq!(omitted(&["room"]), (2, 1));
        assert_eq!(omitted(&["a", "b"]), (2, 2));
    }

    #[test]
    fn a_comparison_that_fails_on_what_it_is_shown_is_no_guess() {
        let fails = |_: &crate::SeedRecords<'_>| Err(ProtocolError::Undefined("never".into()));
        assert!(matches!(arms_read(fails), Err(ProtocolError::Undefined(_))));
    }
}
