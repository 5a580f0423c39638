//! The first page: every finding in one row.

use maud::{Markup, html};

use headwater_protocol::number::{duration, interval};
use headwater_protocol::{
    ContrastResult, ControlJudgement, ControlResult, FindingResult, Judgement, Registered, Verdict,
};

use super::badge;
use crate::Report;

pub(super) fn summary(report: &Report) -> Markup {
    let count = |verdict| report.findings.iter().filter(|f| f.found.verdict == verdict).count();
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
                tbody { @for finding in &report.findings { (row(&finding.found)) } }
            } }
            p.note {
                "A finding is reproduced only if all of its contrasts hold and all of its controls vanish; what was \
                 added after results were seen is not counted here. Cost is on one core."
            }
        }
    }
}

fn row(finding: &FindingResult) -> Markup {
    html! { tr {
        td { a href={ "#" (finding.id) } { (finding.name()) } br; small { (finding.claim) } }
        td { (badge(finding.verdict)) }
        td {
            (contrasts(&finding.contrasts))
            @let missing = finding.omitted.iter().filter(|omitted| omitted.counts).count();
            @if missing > 0 { br; span.open { (missing) " not run, controls included" } }
        }
        td { (controls(&finding.controls)) }
        td { (first(finding)) }
        td.number { (duration(finding.seconds)) }
    } }
}

/// The contrast that stands for the claim.
fn first(finding: &FindingResult) -> Markup {
    let Some(name) = &finding.first_contrast else { return html! { "–" } };
    html! {
        @match finding.contrasts.iter().find(|contrast| contrast.name == *name) {
            Some(first) => {
                @let (class, sign) = mark(first.judgement);
                span class=(class) { (sign) } " " (name) ": "
                span.effect { (interval(first.effect, first.low, first.high)) }
            }
            None => { (name) ": not run" }
        }
    }
}

/// Class and sign of a judgement.
fn mark(judgement: Judgement) -> (&'static str, &'static str) {
    match judgement {
        Judgement::Holds => ("good", "✓"),
        Judgement::Refuted => ("bad", "✕"),
        Judgement::Undecided => ("open", "?"),
    }
}

/// How the contrasts that the verdict rests on came out.
fn contrasts(results: &[ContrastResult]) -> Markup {
    let words = [
        (Judgement::Holds, "hold"),
        (Judgement::Refuted, "refuted"),
        (Judgement::Undecided, "undecided"),
    ];
    tallies(words.map(|(judgement, word)| {
        let counted = results.iter().filter(|result| result.registered != Registered::PostHoc);
        (mark(judgement), counted.filter(|result| result.judgement == judgement).count(), word)
    }))
}

fn controls(results: &[ControlResult]) -> Markup {
    let words = [
        (ControlJudgement::Vanishes, ("good", "✓"), "vanish"),
        (ControlJudgement::Appears, ("bad", "✕"), "appear"),
        (ControlJudgement::Undecided, ("open", "?"), "undecided"),
    ];
    tallies(words.map(|(judgement, mark, word)| {
        (mark, results.iter().filter(|result| result.judgement == judgement).count(), word)
    }))
}

/// Each count above 0 on a line of its own, with its mark before it and its word behind.
fn tallies(counts: [((&str, &str), usize, &str); 3]) -> Markup {
    let some = counts.into_iter().filter(|(_, count, _)| *count > 0);
    html! {
        @for (at, ((class, sign), count, word)) in some.enumerate() {
            @if at > 0 { br; }
            span class=(class) { (sign) " " (count) " " (word) }
        }
    }
}
