//! The tables of contrasts and controls.

use maud::{Markup, html};

use headwater_protocol::number::{interval, p_value, short};
use headwater_protocol::{
    ClaimResult, ContrastResult, ControlJudgement, ControlResult, FindingResult, Judgement,
};

use super::forest::forest;
use super::{TWO_SEEDS, wide};

/// The contrasts under the claims that they test, each under the first of them.
fn by_claim(finding: &FindingResult) -> Vec<(Option<&ClaimResult>, Vec<&ContrastResult>)> {
    let first = |contrast: &ContrastResult| {
        finding.claims.iter().position(|claim| claim.contrasts.contains(&contrast.name))
    };
    let of = |claim: Option<usize>| -> Vec<&ContrastResult> {
        finding.contrasts.iter().filter(|contrast| first(contrast) == claim).collect()
    };
    let claims = finding.claims.iter().enumerate();
    let claimed = claims.map(|(at, claim)| (Some(claim), of(Some(at))));
    claimed.chain([(None, of(None))]).filter(|(_, contrasts)| !contrasts.is_empty()).collect()
}

pub(super) fn contrasts(finding: &FindingResult) -> Markup {
    let results = &finding.contrasts;
    let has_published = results.iter().any(|result| result.published.is_some());
    let columns = if has_published { 10 } else { 9 };
    html! {
        (wide(columns, html! {
            thead { tr {
                th { "Contrast" } th { "Outcome" } th.number { "Effect [95% interval]" }
                th { "Beside d" } th.number { "n" } th { "Claimed, with d" }
                @if has_published { th { "Effect in the paper" } }
                th.number { "Holm p against 0" } th.number { "Holm p against d" } th { "Fixed" }
            } }
            @for (claim, results) in by_claim(finding) { tbody {
                @if !finding.claims.is_empty() { tr { th.claimed colspan=(columns) {
                    @match claim {
                        Some(claim) => { (claim.sentence) " " code { (claim.id) } }
                        None => "Further comparisons",
                    }
                } } }
                @for result in results { (contrast(result, has_published)) }
            } }
        }))
        p.note {
            "d is the smallest effect of interest that this project chose; it is not the paper’s effect. “Fixed” \
             says when direction and d were: post hoc contrasts do not enter the verdict. The p value against d \
             is 1 where the effect lies on the claimed side of d. “Beside d”: effect and interval over a line at 0 and \
             dotted ones at -d and d; arrows lead beyond three times d."
            @if results.iter().any(|result| result.n == 2) { " " (TWO_SEEDS) }
        }
    }
}

fn contrast(result: &ContrastResult, has_published: bool) -> Markup {
    html! { tr {
        td title=(result.formula) { (result.name) (because(result.reason.as_deref())) }
        td { @match result.judgement {
            Judgement::Holds => span.good { "✓ holds" },
            Judgement::Refuted => span.bad { "✕ refuted" },
            Judgement::Undecided => span.open { "? undecided" },
        } }
        td.number { (interval(result.effect, result.low, result.high)) }
        td { (forest(result.effect, result.low, result.high, result.smallest_effect)) }
        td.number { (result.n) }
        td {
            (result.direction.name()) br; "d = " (short(result.smallest_effect))
            @if let Some(room) = result.attainable { br; small { "attainable " (short(room)) } }
        }
        @if has_published { td { (result.published.as_deref().unwrap_or("–")) } }
        td.number { (p_value(result.p_holm)) }
        td.number { (p_value(result.p_refute_holm)) }
        td { (result.registered.name()) }
    } }
}

pub(super) fn controls(results: &[ControlResult]) -> Markup {
    html! {
        div.wide tabindex="0" { table {
            thead { tr {
                th { "Control" } th { "Outcome" } th.number { "Effect [95% interval]" }
                th { "Beside the margin" } th.number { "n" }
                th.number { "Margin" }
            } }
            tbody { @for result in results { tr {
                td title=(result.formula) { (result.name) (because(result.reason.as_deref())) }
                td { @match result.judgement {
                    ControlJudgement::Vanishes => span.good { "✓ vanishes" },
                    ControlJudgement::Appears => span.bad { "✕ appears" },
                    ControlJudgement::Undecided => span.open { "? undecided" },
                } }
                td.number { (interval(result.effect, result.low, result.high)) }
                td { (forest(result.effect, result.low, result.high, result.margin)) }
                td.number { (result.n) }
                td.number { "±" (short(result.margin)) }
            } } }
        } }
        @if results.iter().any(|result| result.n == 2) { p.note { (TWO_SEEDS) } }
    }
}

/// Why the comparison is undecided whatever its numbers are.
fn because(reason: Option<&str>) -> Markup {
    html! { @if let Some(reason) = reason { br; small { (reason) } } }
}
