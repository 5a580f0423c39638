//! The first page: every finding in one row.

use maud::{Markup, html};

use super::badge;
use crate::number::{duration, interval};
use crate::{
    ContrastResult, ControlJudgement, ControlResult, FindingReport, Judgement, Registered, Report,
    Verdict,
};

pub(super) fn summary(report: &Report) -> Markup {
    let count = |verdict| report.findings.iter().filter(|f| f.verdict == verdict).count();
    let verdicts =
        [Verdict::Reproduced, Verdict::NotReproduced, Verdict::Inconclusive, Verdict::Invalid];
    html! {
        section #summary {
            h2 { "Verdicts" }
            p.counts {
                @for verdict in verdicts {
                    @if count(verdict) > 0 { span { (badge(verdict)) " " (count(verdict)) } }
                }
            }
            div.wide tabindex="0" { table {
                thead { tr {
                    th { "Finding" } th { "Verdict" } th { "Contrasts" } th { "Controls" }
                    th { "The first contrast [95% interval]" } th.number { "Cost" }
                } }
                tbody { @for finding in &report.findings { (row(finding)) } }
            } }
            p.note {
                "A finding is reproduced only if all of its contrasts hold and all of its controls vanish; what was \
                 added after results were seen is not counted here. Cost is on one core."
            }
        }
    }
}

fn row(finding: &FindingReport) -> Markup {
    html! { tr {
        td { a href={ "#" (finding.id) } { (finding.id) } br; small { (finding.claim) } }
        td { (badge(finding.verdict)) }
        td { (contrasts(&finding.contrasts)) }
        td { (controls(&finding.controls)) }
        td {
            @if let Some(first) = finding.contrasts.first() {
                (first.name) ": "
                span.effect { (interval(first.effect, first.low, first.high)) }
            } @else { "–" }
        }
        td.number { (duration(finding.seconds)) }
    } }
}

/// How the contrasts that the verdict rests on came out.
fn contrasts(results: &[ContrastResult]) -> Markup {
    let count = |judgement| {
        let counted = results.iter().filter(|result| result.registered != Registered::PostHoc);
        counted.filter(|result| result.judgement == judgement).count()
    };
    let (holds, refuted) = (count(Judgement::Holds), count(Judgement::Refuted));
    let undecided = count(Judgement::Undecided);
    tallies(&[
        ("good", "✓", holds, "hold"),
        ("bad", "✕", refuted, "refuted"),
        ("open", "?", undecided, "undecided"),
    ])
}

fn controls(results: &[ControlResult]) -> Markup {
    let count = |judgement| results.iter().filter(|result| result.judgement == judgement).count();
    let (vanish, appear) = (count(ControlJudgement::Vanishes), count(ControlJudgement::Appears));
    let undecided = count(ControlJudgement::Undecided);
    tallies(&[
        ("good", "✓", vanish, "vanish"),
        ("bad", "✕", appear, "appear"),
        ("open", "?", undecided, "undecided"),
    ])
}

/// Each count above 0 on a line of its own: class, sign, count, word.
fn tallies(counts: &[(&str, &str, usize, &str)]) -> Markup {
    let some = counts.iter().filter(|(_, _, count, _)| *count > 0);
    html! {
        @for (at, (class, sign, count, word)) in some.enumerate() {
            @if at > 0 { br; }
            span class=(class) { (sign) " " (count) " " (word) }
        }
    }
}
