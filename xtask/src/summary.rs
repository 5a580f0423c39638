//! What a run found, in a few lines: the report has the rest.

use headwater_protocol::{FindingResult, Judgement, Preset, Registered, Verdict};
use headwater_report::Report;

use crate::words::{counted, listed, shortened};

/// Characters of a failure or defect; the report has all of it.
const LONGEST: usize = 240;

/// How the contrasts that the verdict rests on came out, as on the report's first page.
fn counts(finding: &FindingResult) -> [usize; 3] {
    [Judgement::Holds, Judgement::Refuted, Judgement::Undecided].map(|judgement| {
        let counting = finding.contrasts.iter().filter(|c| c.registered != Registered::PostHoc);
        counting.filter(|contrast| contrast.judgement == judgement).count()
    })
}

/// The same in words.
pub(crate) fn tally(finding: &FindingResult) -> String {
    let [hold, refuted, open] = counts(finding);
    format!("contrasts: {hold} hold, {refuted} refuted, {open} open")
}

/// One line for each finding, what went wrong below it, and what was not run.
pub(crate) fn lines(report: &Report) -> Vec<String> {
    let findings = || report.findings.iter().map(|finding| &finding.found);
    let names = findings().map(|finding| finding.name().len());
    let width = names.max().unwrap_or(0).max("finding".len());
    let row = |name: &str, verdict: &str, [hold, refuted, open]: [&str; 3]| {
        format!("{name:width$}  {verdict:14}  {hold:>4} {refuted:>7} {open:>4}")
    };
    let mut lines = vec![row("finding", "verdict", ["hold", "refuted", "open"])];
    for finding in findings() {
        let counts = counts(finding).map(|count| count.to_string());
        let counts = counts.each_ref().map(String::as_str);
        lines.push(row(&finding.name(), finding.verdict.name(), counts));
        lines.extend(wrong(finding).into_iter().map(|line| format!("  {line}")));
    }
    lines.extend(not_run(report));
    if report.preset == Preset::Smoke {
        lines.push("Smoke checks the machinery: it decides nothing.".to_owned());
    }
    if report.seeds_by_hand {
        lines.push(
            "The number of seeds is not the preset's own: see the report on optional stopping."
                .to_owned(),
        );
    }
    lines
}

/// What somebody should look at.
fn wrong(finding: &FindingResult) -> Vec<String> {
    let mut lines = Vec::new();
    if finding.verdict == Verdict::Invalid {
        lines.push(shortened(&finding.why, LONGEST));
    }
    // Those that failed come before those that were only skipped.
    if let Some(first) = finding.failures.first() {
        let failed = finding.failures.iter().filter(|failure| failure.ran).count();
        let (missing, have) = match finding.failures.len() {
            1 => ("1 cell".to_owned(), "has"),
            many => (format!("{many} cells"), "have"),
        };
        let reason = shortened(&first.reason, LONGEST);
        let (arm, seed) = (&first.arm, first.seed);
        lines.push(format!(
            "{missing} {have} no record, {failed} of them failed; {arm} seed {seed}: {reason}"
        ));
    }
    if let Some(first) = finding.defects.first() {
        let defects = counted(finding.defects.len(), "defect");
        lines.push(format!("{defects}; {}", shortened(first, LONGEST)));
    }
    lines
}

/// One line on what was not run, and how to get the data that it needs.
fn not_run(report: &Report) -> Option<String> {
    let findings = report.findings.iter().map(|finding| &finding.found);
    let some = findings.filter(|finding| !finding.not_run.is_empty());
    let parts: Vec<String> = some
        .map(|finding| match finding.omitted.len() {
            0 => format!("{} of {}", counted(finding.not_run.len(), "arm"), finding.id),
            omitted => format!("{} of {}", counted(omitted, "comparison"), finding.id),
        })
        .collect();
    (!parts.is_empty())
        .then(|| format!("Not run: {}; `cargo xtask data fetch` gets data sets.", listed(&parts)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_protocol::*;
    use headwater_report::Chapter;

    const X: Scalar = Scalar::new("x");

    /// Two arms with the same numbers, and an arm that has no data.
    struct Pair;

    impl Experiment for Pair {
        fn id(&self) -> &'static str {
            "pair"
        }
        fn metrics(&self) -> Vec<Metric> {
            metrics![X]
        }
        fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
            let arms = vec![ArmPlan::new("a", &())?, ArmPlan::new("b", &())?];
            let not_run = vec![NotRun::new("c", "no data")];
            Ok(Plan { not_run, ..Plan::of(settings.seed_range(5), arms) })
        }
        fn run(
            &self,
            cell: &Cell,
            _: &CellContext,
        ) -> Result<headwater_protocol::CellOutcome, CellError> {
            Ok(Metrics::new().scalar(&X, cell.seed as f64).into())
        }
    }

    fn pair() -> Chapter {
        let contrast =
            |arm: &str, registered| Contrast::unchanged(arm, X.of(arm), 9.0).registered(registered);
        let finding = Finding {
            id: "pair",
            claim: "a = b",
            source: "none",
            experiments: vec![Box::new(Pair)],
            claims: vec![],
            further: vec![
                contrast("a", Registered::Before),
                contrast("b", Registered::PostHoc),
                contrast("c", Registered::Before),
            ],
            controls: vec![Control::new("a - b", X.difference("a", "b"), 0.1)],
        };
        Chapter { finding, differs: &[], parts: vec![] }
    }

    fn report() -> Report {
        let out = tempfile::tempdir().unwrap();
        let options = RunOptions {
            settings: Settings { preset: Preset::Quick, seeds: None, device: DeviceKind::Flex },
            only: vec![],
            jobs: 1.try_into().unwrap(),
            build: Build::default(),
            out: out.path().to_owned(),
        };
        headwater_report::run(&[pair()], &options, |_| (), |_| ()).unwrap()
    }

    #[test]
    fn a_finding_has_one_line_and_what_was_not_run_has_one() {
        let mut report = report();
        let heading = "finding  verdict         hold refuted open";
        let pair = "pair     inconclusive       1       0    0";
        let not_run = "Not run: 1 comparison of pair; `cargo xtask data fetch` gets data sets.";
        assert_eq!(lines(&report), [heading, pair, not_run]);
        report.findings[0].found.omitted.clear();
        assert!(lines(&report)[2].starts_with("Not run: 1 arm of pair; "));
        report.findings[0].found.not_run.clear();
        assert_eq!(lines(&report).len(), 2);
        report.preset = Preset::Smoke;
        report.seeds_by_hand = true;
        let shown = lines(&report);
        assert!(shown[2].contains("decides nothing") && shown[3].contains("optional stopping"));
    }

    #[test]
    fn what_somebody_should_look_at_is_below_the_finding() {
        let mut report = report();
        let finding = &mut report.findings[0].found;
        finding.verdict = Verdict::Invalid;
        finding.why = "The control shows an effect.".to_owned();
        let failure = |arm: &str, ran| Failure {
            arm: arm.into(),
            seed: 3,
            reason: "no\nconvergence".to_owned(),
            ran,
        };
        finding.failures = vec![failure("a", true), failure("b", false)];
        finding.defects = vec!["a - b: no metric".to_owned(), "x".repeat(1000)];
        let shown = lines(&report);
        assert_eq!(
            &shown[2..5],
            [
                "  The control shows an effect.",
                "  2 cells have no record, 1 of them failed; a seed 3: no convergence",
                "  2 defects; a - b: no metric",
            ]
        );
    }
}
